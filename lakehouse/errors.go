package lakehouse

import (
	"errors"
	"fmt"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/osfault"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Kind divides the engine's errors by what they mean for a caller.
type Kind int

// The kinds.
const (
	KindFailed    Kind = iota // it did not work; the remedy says what to do
	KindPreflight             // refused before anything was changed
	KindConflict              // somebody else works on the same lake or table
	KindDamaged               // what is in the lake contradicts itself
)

// Error is an error of the engine: what was being done, to what, why it
// failed and what to do.
type Error struct {
	Op     string // "opening the lake"
	Object string // "public.orders"
	Kind   Kind
	Remedy string
	Err    error
}

func (e *Error) Error() string {
	s := e.Op
	if e.Object != "" {
		s += " (" + e.Object + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint is what to do about it; may be empty.
func (e *Error) Hint() string { return e.Remedy }

// KindOf is the kind of the first Error in the chain, else KindFailed.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindFailed
}

// stopError says that one table cannot follow its source any further. It
// stops that table and nothing else.
type stopError struct {
	reason string
	remedy string
	// recopy says that the table has to be copied again, whatever the stream
	// brings: what it holds is not what it held, or changes are missing.
	recopy bool
	// again says that the engine has it copied again by itself.
	again bool
	// repair says that only the rows that differ are copied; asked, that somebody has
	// asked for it.
	repair, asked bool
	// mismatch says that a change does not fit the rows that are there.
	mismatch bool
}

func (e *stopError) Error() string { return e.reason }

func stopf(remedy, format string, args ...any) error {
	return &stopError{reason: fmt.Sprintf(format, args...), remedy: remedy}
}

// mismatchf stops a table that a change does not fit, unless the source says
// why that is.
func mismatchf(format string, args ...any) error {
	return &stopError{reason: fmt.Sprintf(format, args...) + ": the lake's copy is not what the source's was", remedy: remedyResync, mismatch: true}
}

// mustCopy stops a table that only a new copy can mend.
func mustCopy(format string, args ...any) error {
	return &stopError{reason: fmt.Sprintf(format, args...), remedy: remedyResync, recopy: true}
}

// copyAgain has a table copied again; what it holds stays readable until then.
func copyAgain(format string, args ...any) *stopError {
	return &stopError{reason: fmt.Sprintf(format, args...), remedy: remedyResync, recopy: true, again: true}
}

// faultError is a stop for a fault of a batch at or after a row; nil where
// there is none.
func faultError(b *cdc.Batch, from int) error {
	f := b.Fault(from)
	if f == nil {
		return nil
	}
	return &stopError{reason: f.Reason, remedy: f.Remedy, recopy: f.Resync}
}

// lakeFails reports whether an error comes of the lake's store, or the local
// disk, and does not last: it passes by itself, or once somebody has made room
// or given a right.
func lakeFails(err error) bool {
	var source *cdc.Error
	return objstore.Retryable(err) || objstore.Blocked(err) || osfault.Blocked(err) && !errors.As(err, &source)
}

// passes reports whether what failed is to be tried again, after a while.
func passes(err error) bool { return cdc.Retryable(err) || lakeFails(err) }

// errKeptOtherwise says that another program has changed how a table is kept, so
// that the flush has to be made again for the table as it is.
var errKeptOtherwise = errors.New("another program has changed its table's properties")

// errRearranged says that another program has moved rows, but changed none,
// which a flush wanted to mark where they were. The flush is made again from
// the table as it is now.
var errRearranged = errors.New("another program has rearranged its table's files")

// tableFault makes a failure that concerns one table alone stop that table;
// any other error stays as it is.
func tableFault(err error) error {
	var (
		e           *Error
		stop        *stopError
		unsupported *tablefmt.UnsupportedFeatureError
		broken      *tablefmt.ConstraintError
		unknown     *tablefmt.ExpressionError
	)
	switch {
	case err == nil, errors.As(err, &stop):
		return err
	case errors.Is(err, cdc.ErrDenied):
		return unreadable(err)
	case errors.As(err, &e) && e.Kind != KindFailed:
		remedy := e.Remedy
		if remedy == "" {
			remedy = remedyResync
		}
		return &stopError{reason: err.Error(), remedy: remedy, recopy: true}
	case errors.As(err, &broken), errors.As(err, &unknown):
		return &stopError{reason: err.Error(), remedy: remedyConstraint, recopy: true}
	case errors.Is(err, tablefmt.ErrCorrupt), errors.Is(err, tablefmt.ErrInvalid), errors.Is(err, tablefmt.ErrConflict), errors.As(err, &unsupported):
		return &stopError{reason: err.Error(), remedy: remedyResync, recopy: true}
	}
	return err
}

// flushFault makes a failure to stage or to commit what has come for one table,
// which lies in the table and would come again, stop that table. Others stay as they
// are: they pass, have the flush made again, or concern the engine.
func flushFault(err error) error {
	var (
		e           *Error
		unsupported *tablefmt.UnsupportedFeatureError
		broken      *tablefmt.ConstraintError
		unknown     *tablefmt.ExpressionError
	)
	switch {
	case errors.As(err, &e), errors.Is(err, errRearranged), errors.Is(err, errKeptOtherwise), passes(err):
		return err
	case errors.As(err, &broken), errors.As(err, &unknown):
		return &stopError{reason: err.Error(), remedy: remedyRule}
	case errors.As(err, &unsupported), errors.Is(err, tablefmt.ErrInvalid):
		return &stopError{reason: err.Error(), remedy: remedyAsked}
	case errors.Is(err, tablefmt.ErrCorrupt), errors.Is(err, cdc.ErrDenied):
		return tableFault(err)
	case errors.Is(err, cdc.ErrTableUnreadable): // of a copy by ranges, which reads rows again
		return unreadable(err)
	}
	return err
}

// unreadable stops a table that the source does not let one read.
func unreadable(err error) *stopError {
	return &stopError{reason: err.Error(), remedy: hintOf(err), recopy: true}
}

// remedyRule and remedyAsked are for what can be undone in the lake's table: it is at
// the cut that it shows, and the source keeps what comes after.
const (
	remedyRule  = "drop the constraint from the lake's table (ALTER TABLE ... DROP CONSTRAINT), then `lakeload resume SCHEMA.TABLE`; or mend the row in the source and copy the table again: `lakeload resync SCHEMA.TABLE`"
	remedyAsked = "undo what somebody has asked of the lake's table, then `lakeload resume SCHEMA.TABLE`; or copy the table again: `lakeload resync SCHEMA.TABLE`"
)

const remedyConstraint = "drop the constraint from the lake's table (ALTER TABLE ... DROP CONSTRAINT), or mend the row in the source, and copy the table again: `lakeload resync SCHEMA.TABLE`"

const remedyResync = "copy the table again: `lakeload resync SCHEMA.TABLE`; the old content stays readable until the new copy is published"
