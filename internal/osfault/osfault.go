// Package osfault tells what kind of trouble an error of the operating system
// is.
package osfault

import (
	"errors"
	"io/fs"
	"syscall"
)

// Blocked reports whether err comes of something outside the program that
// somebody can take away while it runs, so that the same call then succeeds: a
// full disk, a quota, a right, a read-only file system, too many open files. An
// error of the device itself is none: what it has told before may be wrong.
func Blocked(err error) bool {
	for _, no := range []error{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, fs.ErrPermission,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}
