// Package crashpoint names the places between reading a byte from the source
// and acknowledging it where a crash is worth trying. In production a point
// costs one atomic load.
package crashpoint

import "sync/atomic"

// Point is a named place in the code.
type Point string

// The points, in the order in which one flush passes them.
const (
	SlotCreating     Point = "slot-creating"      // the state says creating, the slot does not exist
	SlotCreated      Point = "slot-created"       // the slot exists, the state still says creating
	SlotReady        Point = "slot-ready"         // the state says ready, nothing is copied
	CopyRangeStaged  Point = "copy-range-staged"  // a range's files are written, its copy-log commit is not
	CopyRangeLogged  Point = "copy-range-logged"  // a range is in the copy log
	CopyBeforeSwap   Point = "copy-before-swap"   // the copy is complete and not published
	CopyAfterSwap    Point = "copy-after-swap"    // the copy is published, no epoch names it
	CopyClearing     Point = "copy-clearing"      // a part of an old copy's log is removed
	ChunkReceived    Point = "chunk-received"     // a chunk came from the source, nothing is done with it
	FlushBegin       Point = "flush-begin"        // a flush has its cut, nothing is written
	DataFileWritten  Point = "data-file-written"  // a data file is durable, no commit names it
	VectorsWritten   Point = "vectors-written"    // deletion vectors are durable, no commit names them
	BeforeCommit     Point = "before-commit"      // all is ready for a table's commit
	AfterCommit      Point = "after-commit"       // a table's commit is durable
	IndexCommitted   Point = "index-committed"    // its key index has followed
	TablesCommitted  Point = "tables-committed"   // all tables of the flush are committed, the epoch is not
	EpochCommitted   Point = "epoch-committed"    // the epoch is durable, nothing is acknowledged
	Acknowledged     Point = "acknowledged"       // the source was told
	IdleBefore       Point = "idle-before"        // an idle position is about to be recorded
	IdleAfter        Point = "idle-after"         // it is recorded and not acknowledged
	CheckpointBefore Point = "checkpoint-before"  // a checkpoint of a log is due
	CheckpointAfter  Point = "checkpoint-written" // it is written, _last_checkpoint does not name it
	StoreTempWritten Point = "store-temp-written" // a local object's temporary file is written, not synced
	StoreSynced      Point = "store-synced"       // it is synced, not linked
	StoreLinked      Point = "store-linked"       // it is linked, its folder is not synced
)

var hook atomic.Pointer[func(Point)]

// At is called where the point is. It does nothing unless a hook is set.
func At(p Point) {
	if h := hook.Load(); h != nil {
		(*h)(p)
	}
}

// Set installs a hook for the whole process, nil for none. The hook may be
// called by many goroutines.
func Set(h func(Point)) {
	if h == nil {
		hook.Store(nil)
		return
	}
	hook.Store(&h)
}
