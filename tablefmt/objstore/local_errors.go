package objstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/lakeload/lakeload/internal/osfault"
)

var (
	errIsFolder    = errors.New("a folder has this name")
	errBelowObject = errors.New("a part of the path is an object")
)

// linkError marks that it was link(2) that failed: what is to be done about
// it differs from other calls.
type linkError struct{ err error }

func (e *linkError) Error() string { return e.err.Error() }
func (e *linkError) Unwrap() error { return e.err }

// notThere reports whether an error says that there is no such object. A path
// below an object (ENOTDIR) names nothing either.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// fail says what was being done, and for the errors that an operator can
// mend, how.
func (l *Local) fail(op, p string, err error) error {
	e := &Error{Op: op, Store: l.dir, Path: p, Err: err}
	switch op {
	case "Get", "Open", "Stat":
		if notThere(err) && p != "" {
			e.Err = fmt.Errorf("%w (%w)", ErrNotFound, err)
			return e
		}
	}
	if errors.Is(err, ErrExists) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return e
	}
	var link *linkError
	e.Blocked = osfault.Blocked(err) && !errors.As(err, &link) // no file system learns to make links
	e.Remedy = l.remedy(err)
	return e
}

func (l *Local) remedy(err error) string {
	var link *linkError
	switch {
	case errors.As(err, &link) && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTSUP) ||
		errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EMLINK)):
		return "this file system makes no hard links, without which a commit cannot be atomic: put the lake on a local file system (ext4, xfs, btrfs, apfs) or on an object store"
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Sprintf("the file system of %s is full (of bytes or of inodes): free some space, by lakeload vacuum or otherwise, or move the lake to a larger one; nothing half-written is visible", l.dir)
	case errors.Is(err, syscall.EDQUOT):
		return "the disk quota of this user is used up: raise it, or free some space"
	case errors.Is(err, syscall.EROFS):
		return fmt.Sprintf("the file system of %s is mounted read-only: mount it read-write, or check the kernel's log if it became so after an error", l.dir)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too many files are open: raise the limit (ulimit -n, LimitNOFILE)"
	case errors.Is(err, syscall.EIO):
		return "the disk reports errors: check the kernel's log and the disk before going on"
	case errors.Is(err, syscall.ENAMETOOLONG):
		return "an element of the path is longer than the file system allows (usually 255 bytes): use a shorter name or partition value, or an object store"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("give the user that runs this (uid %d) the right to read and write in %s and all folders below", os.Getuid(), l.dir)
	case errors.Is(err, errIsFolder), errors.Is(err, errBelowObject), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENOTDIR):
		return "an object cannot lie where a folder lies, or below another object: choose another path, or remove what is in the way"
	case strings.Contains(err.Error(), "path escapes"): // os.Root exports no error for it
		return "a symbolic link leads out of the lake's folder, which is not followed: replace it by what it points to, or give that folder as a lake of its own"
	}
	return ""
}
