package objstore

import (
	"errors"
	"fmt"
)

// Error is what went wrong with a store: what was being done, to what, why it
// failed, and what to do about it. It wraps its cause, so that errors.Is finds
// ErrNotFound and the others.
type Error struct {
	Op    string // "PutIfAbsent"
	Store string // the store's URL
	Path  string // the object's path in the store; empty where the store as a whole is meant
	// Transient says that the same call may succeed later (a time-out, a
	// busy server). See [Retryable].
	Transient bool
	// Blocked says that something outside the program forbids the call (a full
	// disk, a quota, a right, a read-only file system), and that the same call
	// succeeds once somebody has taken that away. See [Blocked].
	Blocked bool
	Remedy  string // what to do, for people; may be empty
	Err     error
}

func (e *Error) Error() string {
	what := e.Store
	if e.Path != "" {
		what += "/" + e.Path
	}
	return fmt.Sprintf("%s %s: %v", e.Op, what, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint is what to do about it, for people; may be empty.
func (e *Error) Hint() string { return e.Remedy }

// Retryable reports whether making the same call again can help. It says
// nothing of whether a write has happened: for that see ErrUnknownOutcome.
func Retryable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Transient
}

// Blocked reports whether the call failed for something outside the program
// that somebody has to take away, after which it succeeds. It does not get
// better by itself, but whoever runs for long waits and asks again.
func Blocked(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Blocked
}
