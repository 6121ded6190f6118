package cdc

import (
	"time"

	"github.com/apache/arrow-go/v18/arrow"
)

// Op is what a row image of a batch stands for.
type Op byte

// The row images. An update whose old key or old row is known is two rows:
// OpBefore, directly followed by its OpUpdate.
const (
	OpInsert Op = 'I' // a new row
	OpUpdate Op = 'U' // a row's new image; its key is the same unless an OpBefore precedes it
	OpBefore Op = 'B' // the old image of the OpUpdate that follows
	OpDelete Op = 'D' // the old image of a row that is gone
)

// Txn is a committed transaction of the source.
type Txn struct {
	XID uint32
	// Commit is the position of the commit record's first byte. A transaction
	// is part of everything up to a cut X (the end of some commit record, or
	// the consistent point of a snapshot) exactly when Commit < X.
	Commit LSN
	Time   time.Time // the source's commit time; never used for order
}

// TxnSpan says that the rows of a batch from First on, up to the next span's
// First, belong to Txn.
type TxnSpan struct {
	First int
	Txn   Txn
}

// Exact is a value that its column's type cannot hold: the source's own text
// of it. The column is null in that row.
type Exact struct {
	Row, Col int
	Text     string
}

// Fault says that a table must not follow its source beyond a row: a policy of
// the operator's, or something that the source noticed too late. It concerns
// that table alone.
type Fault struct {
	Row    int
	Reason string // "column \"d\" has the value infinity, which its type in the lake cannot hold"
	Remedy string
	// Column is the column whose value the reason tells; "" where it tells none.
	Column string
	// Resync says that rows handed out before may be wrong, too, so that only a
	// new copy mends the table.
	Resync bool
}

// Batch is a run of row images of one relation, in the order in which the
// source's transactions committed and made them. The receiver owns it and
// calls [Batch.Release] once; it is not safe for use by several goroutines
// that release it, but may be read by many.
type Batch struct {
	Relation *Relation
	// Rows has one column for each of Relation.Columns and one row an image.
	// An OpBefore or OpDelete row has its key columns set, and the others
	// null unless Relation.Identity is IdentityFull.
	Rows arrow.RecordBatch
	Ops  []Op    // one a row
	Seqs []int64 // one a row: its place in its transaction, from 0, counted over all tables
	Txns []TxnSpan
	// Unchanged tells, for each column, the rows whose value the source did
	// not send because it is stored out of line and did not change (TOAST).
	// Nil where there are none; else one slice a column, nil or ascending row
	// numbers. The slot of such a value is null, which means nothing.
	Unchanged [][]int32
	Exact     []Exact // ascending by Row, then Col; nil where there are none
	// Faults are the rows at which the table has to stop, ascending; nil where
	// there are none. A fault in a row that the table shows already means
	// nothing.
	Faults []Fault
}

// Fault gives the first fault at or after a row; nil where there is none.
func (b *Batch) Fault(from int) *Fault {
	for i := range b.Faults {
		if b.Faults[i].Row >= from {
			return &b.Faults[i]
		}
	}
	return nil
}

// Len is the number of row images.
func (b *Batch) Len() int { return len(b.Ops) }

// Release gives the columns' memory back.
func (b *Batch) Release() {
	if b != nil && b.Rows != nil {
		b.Rows.Release()
		b.Rows = nil
	}
}

// Truncate says that a table was emptied.
type Truncate struct {
	Txn             Txn
	Seq             int64
	Cascade         bool
	RestartIdentity bool
}

// Item is what happened to one relation: exactly one of Batch and Truncate is
// set. Items of one relation are in order; between relations only the
// transactions' order counts.
type Item struct {
	Relation *Relation
	Batch    *Batch
	Truncate *Truncate
}

// Chunk is what a stream delivers at a time.
type Chunk struct {
	Items []Item
	// Cut is the end of the last commit record such that it and everything
	// before it has been delivered by this chunk and those before; for an
	// idle stream a position of the server after which nothing relevant has
	// happened yet. It never goes back. Zero only before the first commit.
	Cut LSN
	// CutTime is the commit time that belongs to Cut; zero for an idle position.
	CutTime time.Time
	// Open says that the chunk ends inside a transaction: rows of a commit
	// after Cut have been delivered, and more of them follow.
	Open bool
	// Transactions is the number of transactions that ended in this chunk, those
	// without a change not counted.
	Transactions int
	// Bytes is roughly the memory that the items hold.
	Bytes int64
}

// Release gives back the memory of all batches.
func (c *Chunk) Release() {
	for i := range c.Items {
		c.Items[i].Batch.Release()
	}
}
