package lakehouse

import (
	"errors"
	"fmt"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/epoch"
)

// At says which state of a table is meant. The zero value is the newest.
type At struct {
	kind    atKind
	version int64 // of the table, or the epoch's number
	time    time.Time
	lsn     cdc.LSN
}

type atKind byte

const (
	atNewest atKind = iota
	atVersion
	atTimestamp
	atAsOf
	atLSN
	atEpoch
)

// AtVersion is a version of the table.
func AtVersion(v int64) At { return At{kind: atVersion, version: v} }

// AtTimestamp is the version that was the newest one at t, by the lake's
// clock: Delta's own time travel.
func AtTimestamp(t time.Time) At { return At{kind: atTimestamp, time: t} }

// AsOf is the state that the source had at t, by the source's clock: the last
// epoch that holds no transaction committed after t.
func AsOf(t time.Time) At { return At{kind: atAsOf, time: t} }

// AtLSN is the source's state at a position: the last epoch that is not after
// it. A position that the lake has not reached is refused.
func AtLSN(l cdc.LSN) At { return At{kind: atLSN, lsn: l} }

// AtEpoch is an epoch by its number.
func AtEpoch(n int64) At { return At{kind: atEpoch, version: n} }

// OfSource reports whether an epoch decides, so that every table read at the
// same At shows the same moment of the source.
func (a At) OfSource() bool { return a.kind == atAsOf || a.kind == atLSN || a.kind == atEpoch }

// String says it for people: "LSN 0/1A2B3C8".
func (a At) String() string {
	switch a.kind {
	case atVersion:
		return fmt.Sprintf("version %d", a.version)
	case atTimestamp:
		return "the lake's time " + a.time.Format(time.RFC3339Nano)
	case atAsOf:
		return "the source's time " + a.time.Format(time.RFC3339Nano)
	case atLSN:
		return "LSN " + a.lsn.String()
	case atEpoch:
		return fmt.Sprintf("epoch %d", a.version)
	}
	return "the newest version"
}

// What a reader of a lake can ask for by errors.Is.
var (
	// ErrNoEpoch says that no recorded epoch is the one asked for: the lake
	// begins later, has not got so far, or never had it.
	ErrNoEpoch = errors.New("no such epoch")
	// ErrIncomplete says that the table was being copied or had stopped at
	// that epoch, so that no version of it shows the source's state then.
	ErrIncomplete = errors.New("the table was not complete at that epoch")
	// ErrUnknownTable says that the lake has no such table.
	ErrUnknownTable = errors.New("no such table")
	// ErrNoPipeline says that the lake has no such pipeline, none at all, or
	// several of which one has to be named.
	ErrNoPipeline = errors.New("which pipeline is meant is not clear")
)

// findEpoch gives the epoch that at means. reached is the position up to
// which the lake is known to hold everything, which may be past the last epoch.
func findEpoch(epochs []epoch.Epoch, reached cdc.LSN, at At) (epoch.Epoch, error) {
	if len(epochs) == 0 {
		return epoch.Epoch{}, noEpoch(at, "wait until the initial copy is complete: `lakeload status` shows where it is", "none is recorded yet")
	}
	first, last := epochs[0], epochs[len(epochs)-1]
	found := -1
	switch at.kind {
	case atEpoch:
		for i := range epochs {
			if epochs[i].Number == at.version {
				found = i
			}
		}
	case atLSN:
		if reached = max(reached, last.LSN); at.lsn > reached {
			return epoch.Epoch{}, noEpoch(at, "wait until `lakeload status` shows that position, or ask for an earlier one",
				"the lake has only got to %s", reached)
		}
		found = lastNotBeyond(epochs, at.lsn)
	case atAsOf:
		found = lastNotAfter(epochs, at.time)
	}
	if found < 0 {
		return epoch.Epoch{}, noEpoch(at, "`lakeload epochs` lists them", "the lake has epochs %d (LSN %s, %s) to %d (LSN %s, %s)",
			first.Number, first.LSN, first.CommitTime.Format(time.RFC3339Nano), last.Number, last.LSN, last.CommitTime.Format(time.RFC3339Nano))
	}
	return epochs[found], nil
}

// lastNotAfter gives the index of the last epoch whose running maximum of
// commit times is not after t, -1 for none: the one before the first epoch
// that holds a later transaction. Positions never go back, but commit times
// may (clocks are set, transactions commit side by side), so an epoch further
// on may look early enough and is not. An epoch before the first commit has
// the time at which it was recorded.
func lastNotAfter(epochs []epoch.Epoch, t time.Time) int {
	for i := range epochs {
		at := epochs[i].CommitTime
		if at.IsZero() {
			at = epochs[i].Recorded
		}
		if at.After(t) {
			return i - 1
		}
	}
	return len(epochs) - 1
}

// lastNotBeyond gives the index of the last epoch that is not after lsn, -1 for
// none. Positions go back where the lake was taken over to another source; then
// those of the new one are meant.
func lastNotBeyond(epochs []epoch.Epoch, lsn cdc.LSN) int {
	for i := len(epochs) - 1; i >= 0; i-- {
		if epochs[i].LSN <= lsn {
			return i
		}
		if i > 0 && epochs[i-1].LSN > epochs[i].LSN {
			return -1
		}
	}
	return -1
}

func noEpoch(at At, remedy, format string, args ...any) error {
	return &Error{Op: "finding the lake's state", Object: at.String(), Err: fmt.Errorf("%w: %s", ErrNoEpoch, fmt.Sprintf(format, args...)), Remedy: remedy}
}
