package tablefmt

import (
	"errors"
	"fmt"
)

// What a caller can ask for by errors.Is.
var (
	// ErrNoTable says that there is no Delta log at the location.
	ErrNoTable = errors.New("no Delta table")

	// ErrNoVersion says that the table exists but not at the version or time
	// asked for: it was never reached, or log cleanup has removed it.
	ErrNoVersion = errors.New("no such version of the table")

	// ErrCorrupt says that the log or a file that it names breaks the rules
	// of the format. The error's text names the file and, where known, the
	// version.
	ErrCorrupt = errors.New("the table is damaged")

	// ErrConflict says that another writer's commit cannot stand beside ours.
	// The error is a *[ConflictError].
	ErrConflict = errors.New("another commit got in the way")

	// ErrOutcomeUnknown says that a commit may or may not have become a
	// version of the table. The error is an *[UnknownCommitError].
	ErrOutcomeUnknown = errors.New("it is unknown whether the commit succeeded")

	// ErrInvalid says that what was asked for breaks the protocol or the
	// table's own properties; nothing was written.
	ErrInvalid = errors.New("not allowed on this table")
)

// corruptError is an ErrCorrupt with its place.
type corruptError struct {
	file    string // in the log or the table's folder
	version int64  // -1 where there is none
	err     error
}

func (e *corruptError) Error() string {
	if e.version < 0 {
		return fmt.Sprintf("%v: %s: %v", ErrCorrupt, e.file, e.err)
	}
	return fmt.Sprintf("%v: %s (version %d): %v", ErrCorrupt, e.file, e.version, e.err)
}

func (e *corruptError) Unwrap() []error { return []error{ErrCorrupt, e.err} }

// corrupt makes an ErrCorrupt out of err. An err that is one already is given
// back, and one that says that a feature is unsupported keeps its class.
func corrupt(file string, version int64, err error) error {
	var unsupported *UnsupportedFeatureError
	switch {
	case errors.Is(err, ErrCorrupt):
		return err
	case errors.As(err, &unsupported) && version >= 0:
		return fmt.Errorf("%s (version %d): %w", file, version, err)
	case errors.As(err, &unsupported):
		return fmt.Errorf("%s: %w", file, err)
	}
	return &corruptError{file: file, version: version, err: err}
}

// unfound is the error of a file whose place is not to be found. One that is
// there, but not for us, is no damage.
func unfound(file string, err error) error {
	var outside *OutsideError
	if errors.As(err, &outside) {
		return err
	}
	return corrupt(file, -1, err)
}

// ConflictError says why a transaction cannot follow a version that another
// writer committed first. errors.Is(err, ErrConflict) holds. Nothing of the
// transaction is in the table.
type ConflictError struct {
	Version int64          // the version that won
	Reason  ConflictReason // what the two have in common
	Detail  string         // the path, application or domain that both touch
	Winner  *CommitInfo    // who won, nil where the winner did not say
}

func (e *ConflictError) Error() string {
	s := fmt.Sprintf("%v: version %d: %s", ErrConflict, e.Version, e.Reason)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Winner != nil && e.Winner.Operation != "" {
		s += " (by " + e.Winner.Operation
		if e.Winner.EngineInfo != "" {
			s += " of " + e.Winner.EngineInfo
		}
		s += ")"
	}
	return s
}

// Is makes errors.Is(err, ErrConflict) hold.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// UnknownCommitError says that the outcome of a commit could not be found
// out: the write's answer was lost and reading the version back failed or
// found nothing, which proves nothing. errors.Is(err, ErrOutcomeUnknown)
// holds. To resolve it later, load the table: if Version's commit id is
// CommitID the commit is there. Its files must be left to vacuum.
type UnknownCommitError struct {
	Version  int64
	CommitID string
	Err      error // the last error of the write or of reading it back
}

func (e *UnknownCommitError) Error() string {
	return fmt.Sprintf("%v: version %d, commit id %s: %v", ErrOutcomeUnknown, e.Version, e.CommitID, e.Err)
}

// Is makes errors.Is(err, ErrOutcomeUnknown) hold.
func (e *UnknownCommitError) Is(target error) bool { return target == ErrOutcomeUnknown }

// Unwrap gives the last error of the write or of reading it back.
func (e *UnknownCommitError) Unwrap() error { return e.Err }

// invalidf makes an ErrInvalid.
func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}

// MissingFilesError says that files which a version needs are not there any
// more: vacuum removes what is older than the table's retention.
type MissingFilesError struct {
	Paths []string // in the table's folder, in order
}

func (e *MissingFilesError) Error() string {
	s := fmt.Sprintf("%s is not there any more", e.Paths[0])
	if more := len(e.Paths) - 1; more > 0 {
		s = fmt.Sprintf("%s and %d more files that it needs are not there any more", e.Paths[0], more)
	}
	return s + ": vacuum removes files that have left the table longer than its retention ago"
}
