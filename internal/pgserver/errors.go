package pgserver

import (
	"errors"
	"strings"
)

// Error is what every function of this package returns: what was being done, to what, why it failed and what to do about it.
type Error struct {
	// Op is what was being done, such as "start PostgreSQL".
	Op string
	// Path is the file, folder or address that it was done to.
	Path string
	// Hint is what to do about it.
	Hint string
	// Err is why it failed.
	Err error
}

// Error gives all of it in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Path != "" {
		b.WriteString(" " + e.Path)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrNotFound is the cause when no server of the wanted version is on the machine and none may be fetched.
var ErrNotFound = errors.New("no such PostgreSQL here")

func failed(op, path string, err error, hint string) error {
	return &Error{Op: op, Path: path, Hint: hint, Err: err}
}
