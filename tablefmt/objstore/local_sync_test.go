//go:build linux

package objstore_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

const syncDirEnv = "OBJSTORE_TEST_SYNC_DIR"

// TestSyncChild is the process that TestLocalSyncs watches.
func TestSyncChild(t *testing.T) {
	dir := os.Getenv(syncDirEnv)
	if dir == "" {
		t.Skip("it is run by TestLocalSyncs")
	}
	l, err := objstore.NewLocal(dir)
	require.NoError(t, err)
	require.NoError(t, l.PutIfAbsent(t.Context(), "t/log/0", []byte("data")))
	require.NoError(t, stream(t.Context(), l, "t/log/1", []byte("data")))
}

// TestLocalSyncs looks at the system calls: the file is synced before it has
// its name, its folder after, and each new folder's parent before.
func TestLocalSyncs(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	dir := filepath.Join(t.TempDir(), "new", "lake")
	log := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "-y", "-e", "trace=fsync,linkat,renameat,renameat2", "-o", log, os.Args[0], "-test.run=^TestSyncChild$")
	cmd.Env = append(os.Environ(), syncDirEnv+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("strace does not run here: %v: %s", err, out)
	}
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	var calls []string
	handle := regexp.MustCompile(`(fsync|linkat|renameat2?)\(\d+<([^>]*)>`)
	for line := range strings.Lines(string(text)) {
		if m := handle.FindStringSubmatch(line); m != nil && strings.Contains(m[2], filepath.Dir(filepath.Dir(dir))) {
			what := strings.TrimPrefix(m[2], filepath.Dir(filepath.Dir(dir)))
			if strings.Contains(what, objstore.TempPrefix) {
				what = "temp"
			}
			calls = append(calls, strings.TrimRight(m[1], "2")+" "+what)
		}
	}
	want := []string{
		"fsync /new", "fsync ", // the store's own folder, and its parent
		"fsync /new/lake/t", "fsync /new/lake", // the object's folders
		"fsync temp", "linkat /new/lake/t/log", "fsync /new/lake/t/log",
		"fsync temp", "renameat /new/lake/t/log", "fsync /new/lake/t/log", // nothing twice
	}
	require.Equal(t, want, slices.Collect(slices.Values(calls)))
}
