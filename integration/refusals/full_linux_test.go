package refusals

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// full makes the folder a disk of its own without any space left. The test is left out where that is not allowed.
func full(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.Mkdir(dir, 0o755))
	if err := syscall.Mount("lakeload-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("left out: a disk that is full: mounting a small one: %v (root may)", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	f, err := os.Create(filepath.Join(dir, "filler"))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	require.True(t, errors.Is(err, syscall.ENOSPC), "%v", err)
}
