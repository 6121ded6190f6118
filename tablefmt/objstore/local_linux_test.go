//go:build linux

package objstore_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
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
	require.Equal(t, want, calls)
}

// TestLocalFullDisk fills a small file system.
func TestLocalFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting needs more rights than this test has: %v", err)
	}
	defer func() { require.NoError(t, syscall.Unmount(dir, 0)) }()
	l, err := objstore.NewLocal(dir)
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, l.Put(t.Context(), "f/small", []byte("x")))
	big := make([]byte, 2<<20)
	for op, err := range map[string]error{
		"put":    l.PutIfAbsent(t.Context(), "f/big", big),
		"stream": stream(t.Context(), l, "f/big", big),
	} {
		require.ErrorIs(t, err, syscall.ENOSPC, op)
		require.Contains(t, hint(err), "is full", op)
	}
	require.Equal(t, []string{"f/small"}, files(t, dir), "nothing half-written stays")
	require.NoError(t, l.Put(t.Context(), "f/again", []byte("x")))
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	err = l.Put(t.Context(), "f/more", nil)
	require.ErrorIs(t, err, syscall.EROFS)
	require.Contains(t, hint(err), "read-only")
}
