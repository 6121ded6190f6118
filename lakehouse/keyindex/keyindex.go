// Package keyindex finds the row of a table that holds a key: it maps a
// 128-bit hash to a location (file, row). It knows hashes and locations only,
// no schema, no table format, no source.
//
// It is a cache on the local disk. What it stands for is the table; it says
// of which version of the table it is a picture ([Stamp]), and whoever opens
// it compares that with the table and rebuilds the index where they differ.
// Damage is found by checksums and leads to [ErrUnfit], never to a wrong
// answer.
package keyindex

import (
	"context"
	"errors"
)

// Hash is the 128-bit keyed hash of a row's key.
type Hash [16]byte

// FileID names a data file within an index; the index keeps the paths.
// NoFile is never given out.
type FileID uint32

// NoFile is the FileID of no file.
const NoFile FileID = 0

// Loc is the place of a row: the physical row number in a data file. The
// zero Loc is no place.
type Loc struct {
	File FileID
	Row  uint32
}

// Entry is a hash with its location. A zero Loc in a write says that the key
// is gone.
type Entry struct {
	Hash Hash
	Loc  Loc
}

// Stamp names the state of the table that an index is a picture of.
type Stamp struct {
	Table   string // the table's id
	Version int64  // the table's version
	Commit  string // an id of that version's commit, so that a restored or rewritten log does not match
}

// ErrUnfit says that an index on the disk is missing, damaged, of another
// format, or a picture of another state. The caller rebuilds it.
var ErrUnfit = errors.New("the key index does not fit the table")

// Index is an open index. Lookup may be called by many goroutines beside one
// that writes; a Change is used by one goroutine, and there is at most one at
// a time. Every implementation keeps this contract.
type Index interface {
	// Stamp is the state of the table that the committed index shows.
	Stamp() Stamp

	// Len is the number of keys, or a close upper estimate of it.
	Len() int64

	// FileID gives the id of a data file, a new one on first sight. Ids stay
	// the same until the file is forgotten.
	FileID(path string) FileID

	// Path is the inverse of FileID; empty for an unknown id.
	Path(id FileID) string

	// Lookup sets locs[i] to where hashes[i] is, or to the zero Loc. The
	// slices have the same length. Hashes may repeat, in any order.
	// It sees committed changes only.
	Lookup(ctx context.Context, hashes []Hash, locs []Loc) error

	// Change begins a set of writes that becomes visible and (as a cache)
	// persistent as a whole.
	Change() Change

	// Forget says that the table does not have this file any more: its id may
	// be dropped. An entry that is left in it keeps the id, which has no path
	// then and never names another file.
	Forget(id FileID)

	// SetMemory changes the budget (see Options.Memory). What is above a smaller
	// one goes to the disk meanwhile; a greater one is made use of by what comes,
	// and brings keys that are on the disk back only when the index is opened
	// again. It may be called at any time by any goroutine.
	SetMemory(bytes int64)

	// Close waits for merges and releases everything. It does not commit.
	Close() error
}

// Change is a set of writes in the making.
type Change interface {
	// Put says where keys are now (or, with a zero Loc, that they are gone).
	// Of several entries for one hash the last put wins. The entries are
	// copied. Memory stays bounded however many are put: what does not fit is
	// sorted and spilled.
	Put(ctx context.Context, entries []Entry) error

	// Lookup is as Index.Lookup, but sees the puts of this change first.
	Lookup(ctx context.Context, hashes []Hash, locs []Loc) error

	// Commit makes the change the index's state, with the new stamp. On an
	// error the index is closed to further use and has to be rebuilt.
	Commit(ctx context.Context, s Stamp) error

	// Rollback forgets the change. After Commit it does nothing.
	Rollback()
}
