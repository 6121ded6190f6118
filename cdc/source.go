package cdc

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Identity names the database cluster and database that a source reads.
// SystemID and Database never change for one source; Timeline grows at a
// promotion.
type Identity struct {
	SystemID      string `json:"system_id"`
	Timeline      uint32 `json:"timeline"`
	Database      string `json:"database"`
	ServerVersion int    `json:"server_version"` // server_version_num, as 180006
	// Standby says that the server is one: it shows what it has replayed of
	// its primary's log.
	Standby bool `json:"standby,omitempty"`
	// Started is when the server's process began; zero where it does not say.
	// A server that has not been started again since is on the history that it
	// was on, whatever its timeline is called now.
	Started time.Time `json:"server_started,omitzero"`
}

// Switch is the end of a timeline: from At on the log was continued on the
// next one, by a promotion or a restore. What the old one held after At, if
// anything, is not in the new one's history.
type Switch struct {
	Timeline uint32 `json:"timeline"` // that ended
	At       LSN    `json:"at"`
}

// Source is a database whose tables are copied and then followed. Its methods
// may be called by several goroutines, except that there is at most one
// Stream at a time.
//
// Errors: any method may return an error for which [Retryable] is true (the
// connection broke, the server restarts): the caller waits and calls again.
// [NeedsResync] tells errors after which streaming on would lose changes.
// All others need the operator.
type Source interface {
	// Identify asks the server who it is. Called on every start.
	Identify(ctx context.Context) (Identity, error)

	// Timelines tells the ancestors of the timeline that Identify told, oldest
	// first; none for timeline 1.
	Timelines(ctx context.Context) ([]Switch, error)

	// Tables reads the catalogue: the tables that the source was told to
	// select, in their present shape, ordered by schema and name.
	Tables(ctx context.Context) ([]*Relation, error)

	// Publish makes sure that exactly these tables' changes will be in the
	// stream of a slot created or advanced after it returns. It adds what is
	// missing, and refuses (changing nothing) where what exists is not ours
	// to change.
	Publish(ctx context.Context, tables []*Relation) error

	// Published tells which tables' changes are in the stream, by OID, each
	// with an id of its membership: one that was ended and begun again, so that
	// changes in between are missing, has another. Ids are not zero.
	Published(ctx context.Context) (map[uint32]uint64, error)

	// Slot tells the state of the main slot; ErrNoSlot where there is none.
	Slot(ctx context.Context) (SlotState, error)

	// CreateSlot makes the main slot and gives the snapshot that belongs to
	// it. ErrSlotExists where there is one.
	CreateSlot(ctx context.Context) (Snapshot, error)

	// DropSlot removes the main slot; nil where there is none.
	DropSlot(ctx context.Context) error

	// Snapshot gives a later snapshot with its own consistent point, by means
	// that leave nothing behind on the server (a temporary slot).
	Snapshot(ctx context.Context) (Snapshot, error)

	// Stream delivers every transaction whose commit record ends after from,
	// whole, once, in commit order. It refuses with an error for which
	// NeedsResync is true where the slot cannot give all of them any more.
	// Until the first Ack everything up to from counts as acknowledged.
	Stream(ctx context.Context, from LSN) (Stream, error)

	// Close ends all connections. Streams and snapshots are closed before.
	Close() error
}

// Stream is a running stream. Next is called by one goroutine, Ack by any.
type Stream interface {
	// Next waits for the next chunk, which the caller then owns. After an
	// error the stream is dead; transactions that were not delivered whole
	// have to be forgotten, and a new Stream delivers them again.
	Next(ctx context.Context) (*Chunk, error)

	// Ack says that everything up to the cut lsn is durable. It does not
	// wait; a lower lsn than before is ignored. The source tells the server
	// from a goroutine of its own, also while Next is not being called, and
	// never tells it more than this.
	Ack(lsn LSN)

	// Progress tells the newest position that the server has reported, which
	// may be far ahead of what Next has delivered. For lag in bytes.
	Progress() LSN

	// Close tells the server the last acknowledged position, ends the
	// connection and waits for the stream's goroutines.
	Close() error
}

// Snapshot is a view of all tables at one consistent point. It stays valid
// while a Stream is opened. Plan and Read may be called by many goroutines;
// Read waits for one of a bounded number of connections.
type Snapshot interface {
	// Point is the consistent point C: the snapshot holds exactly the
	// transactions with Txn.Commit < C.
	Point() LSN

	// Plan locks the table against rewrites, checks that the snapshot sees
	// this very table in this very shape (ErrTableChanged otherwise), and
	// divides its rows into ranges. An empty table has no range.
	Plan(ctx context.Context, rel *Relation) ([]Range, error)

	// Read reads one range. emit gets batches of inserts, without Seqs and
	// Txns, and owns them; an error of emit ends Read with that error.
	Read(ctx context.Context, rel *Relation, r Range, emit func(*Batch) error) error

	// Close ends the snapshot's transactions and connections.
	Close() error
}

// NarrowReader is a Snapshot that can leave out rows that its reader would throw
// away.
type NarrowReader interface {
	// ReadWhere is Snapshot.Read of the rows for which a condition holds, in the
	// source's own language: it has to be one that cannot do anything else.
	ReadWhere(ctx context.Context, rel *Relation, r Range, condition string, emit func(*Batch) error) error
}

// Range is a part of a table's rows. Its text is meaningful to the source
// that made it alone, and only under the same snapshot.
type Range struct {
	ID string // unique within the table
	// Rows and Bytes are estimates, for progress; zero is unknown.
	Rows, Bytes int64
}

// SlotState is what the server tells of the main slot.
type SlotState struct {
	Name           string `json:"name"`
	ConfirmedFlush LSN    `json:"confirmed_flush_lsn"`
	Restart        LSN    `json:"restart_lsn"`
	// Current is the server's newest position.
	Current     LSN    `json:"current_lsn"`
	Active      bool   `json:"active"`
	ActivePID   int32  `json:"active_pid,omitempty"`
	WALStatus   string `json:"wal_status"`
	SafeWALSize *int64 `json:"safe_wal_size"` // bytes; nil: no limit is set
	// Lost says that the slot can no longer give all changes; Reason why, as
	// far as the server tells.
	Lost   bool   `json:"lost"`
	Reason string `json:"invalidation_reason,omitempty"`
	// Holder is who reads the slot; nil where nobody does, or where the server
	// does not say who.
	Holder *SlotHolder `json:"holder,omitempty"`
	// Failover and Synced are PostgreSQL 17's: the slot is to be kept on
	// standbys, it was taken over from a primary.
	Failover bool `json:"failover"`
	Synced   bool `json:"synced"`
	// InactiveSince is when the last reader let go; nil where the server does
	// not tell it.
	InactiveSince *time.Time `json:"inactive_since,omitempty"`
}

// SlotHolder is the session that reads a slot.
type SlotHolder struct {
	Application string    `json:"application"`
	Address     string    `json:"address,omitempty"` // "" for a local one
	Since       time.Time `json:"since"`
}

// What a caller of a Source can ask for by errors.Is.
var (
	ErrNoSlot       = errors.New("the replication slot does not exist")
	ErrSlotExists   = errors.New("the replication slot exists already")
	ErrTableChanged = errors.New("the table was changed while it was being copied")
	// ErrTableUnreadable: this table cannot be read (a right is missing, say);
	// others can.
	ErrTableUnreadable = errors.New("the table cannot be read")
	// ErrSnapshotLost: the connection that held the snapshot is gone. Calling
	// the same Snapshot again cannot help; a new one has to be taken.
	ErrSnapshotLost = errors.New("the snapshot is gone with the connection that held it")
	// ErrTimeline: the server was promoted or restored since Identify was
	// called. How far its history is the lake's has to be looked at, by
	// Identify and Timelines, before anything more is read of it.
	ErrTimeline = errors.New("the server is on another timeline")
	// ErrReset: the server's log ends before what was read of it. It was
	// restored from a backup, or another one has taken its place.
	ErrReset = errors.New("the server's log has gone back")
	// ErrDenied: a right is missing.
	ErrDenied = errors.New("the right to do so is missing")
)

// ErrorClass divides errors by what has to happen next.
type ErrorClass int

// The classes. The zero class needs the operator.
const (
	ClassOperator ErrorClass = iota
	ClassRetry               // wait and call again
	ClassResync              // changes are lost to this slot: tables must be copied again
)

// Error is an error of a source: what was being done, to what, why it failed
// and what to do.
type Error struct {
	Op     string // "opening the replication stream"
	Object string // "slot lakeload_shop"
	Class  ErrorClass
	Remedy string
	Err    error
}

func (e *Error) Error() string {
	s := e.Op
	if e.Object != "" {
		s += " (" + e.Object + ")"
	}
	if e.Err != nil {
		s += fmt.Sprintf(": %v", e.Err)
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint is what to do about it, for people; may be empty.
func (e *Error) Hint() string { return e.Remedy }

// Retryable reports whether waiting and calling again can help.
func Retryable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Class == ClassRetry
}

// NeedsResync reports whether changes are lost to the slot.
func NeedsResync(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Class == ClassResync
}

// Severity of a preflight finding.
type Severity string

// The severities: a blocker makes `run` refuse, a warning does not.
const (
	Blocker Severity = "blocker"
	Warning Severity = "warning"
	OK      Severity = "ok"
)

// Finding is one result of looking at a source before it is read: which
// setting, what it is, what is needed, and what mends it.
type Finding struct {
	Check    string   `json:"check"` // stable name, as wal_level
	Object   string   `json:"object,omitempty"`
	Severity Severity `json:"severity"`
	Have     string   `json:"have,omitempty"`
	Need     string   `json:"need,omitempty"`
	Remedy   string   `json:"remedy,omitempty"` // SQL, or a setting
	// Table is the selected table that the finding is about, as schema.table;
	// of a partition the table at the top. "": it is about no one table.
	Table string `json:"table,omitempty"`
}

// Size is a source's estimate of a table.
type Size struct {
	Rows, Bytes int64 // Rows is 0 where it has never been counted
}

// Sizer is a Source that knows about how large its tables are.
type Sizer interface {
	// Sizes gives them by OID; tables that are gone are left out.
	Sizes(ctx context.Context, tables []*Relation) (map[uint32]Size, error)
}

// Unpublisher is a Source that can take tables out of its stream.
type Unpublisher interface {
	// Unpublish makes sure that the changes of tables, by OID, are not sent any
	// more; those that are not sent anyhow are passed over. ErrDenied where the
	// role may not do so: the changes are then sent, and nobody needs them.
	Unpublish(ctx context.Context, tables []uint32) error
}

// Claimer is a Source whose main slot can be held by another program. Claim
// gives nil where nobody holds it, and an error for which Retryable is true
// where somebody does, unless the source was told to end such sessions. It is
// called before anything is written that another engine would stop at.
type Claimer interface {
	Claim(ctx context.Context) error
}

// Hosted is a Source that knows which server it reads. Host is that on which
// the last stream was opened, as it was then.
type Hosted interface {
	Host() Identity
}

// Checker is a Source that can say beforehand what would stand in its way,
// without changing anything.
type Checker interface {
	Check(ctx context.Context) ([]Finding, error)
}
