package osfault

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBlocked(t *testing.T) {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.EACCES, syscall.EPERM} {
		require.True(t, Blocked(fmt.Errorf("writing: %w", &fs.PathError{Op: "write", Path: "f", Err: no})), "%v", no)
	}
	_, err := os.Open(t.TempDir() + "/absent")
	for _, err := range []error{nil, err, syscall.EIO, syscall.EEXIST, fs.ErrClosed} {
		require.False(t, Blocked(err), "%v", err)
	}
}
