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
	ErrNoEpoch = epoch.ErrNone
	// ErrExpired says that the epoch asked for is not recorded any more, or that
	// what the table showed then has been cleaned up since.
	ErrExpired = epoch.ErrExpired
	// ErrIncomplete says that the table was being copied or had stopped at
	// that epoch, so that no version of it shows the source's state then.
	ErrIncomplete = errors.New("the table was not complete at that epoch")
	// ErrUnknownTable says that the lake has no such table.
	ErrUnknownTable = errors.New("no such table")
	// ErrNoPipeline says that the lake has no such pipeline, none at all, or
	// several of which one has to be named.
	ErrNoPipeline = errors.New("which pipeline is meant is not clear")
)
