package lakehouse

import (
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// batch is what has arrived and is to be flushed together. It is pure: the
// session fills it, and the flusher empties it.
type batch struct {
	// cut and cutTime are those of the last chunk: everything up to cut is in
	// this batch or was in one before.
	cut     cdc.LSN
	cutTime time.Time
	// open says that the batch ends inside a transaction: it can be staged,
	// but not committed.
	open bool
	// tables has the items of each table, by OID, in order.
	tables map[uint32][]cdc.Item
	chunks []*cdc.Chunk // own the items

	rows         int64
	bytes        int64
	transactions int
	// record says that the position is to be recorded although nothing changed.
	record bool
	// tasks are done before anything else.
	tasks []*task
}

// add takes a chunk into the batch, which owns it from then on.
func (b *batch) add(c *cdc.Chunk) {
	b.cut, b.open = max(b.cut, c.Cut), c.Open
	if !c.CutTime.IsZero() {
		b.cutTime = c.CutTime
	}
	if b.tables == nil {
		b.tables = map[uint32][]cdc.Item{}
	}
	for _, it := range c.Items {
		b.tables[it.Relation.OID] = append(b.tables[it.Relation.OID], it)
		if it.Batch != nil {
			b.rows += int64(it.Batch.Len())
		}
	}
	b.chunks = append(b.chunks, c)
	b.bytes += c.Bytes
	b.transactions += c.Transactions
}

// empty reports whether no change is in the batch.
func (b *batch) empty() bool { return len(b.tables) == 0 }

func (b *batch) release() {
	for _, c := range b.chunks {
		c.Release()
	}
	b.chunks, b.tables = nil, nil
}

// pace decides when a batch is flushed. It is pure; times are given to it.
type pace struct {
	freshness time.Duration
	idle      time.Duration
	maxBytes  int64

	lastFlush  time.Time // when the last flush began
	lastRecord time.Time // when a position was last recorded
}

// gather is how long a flush waits after the first change, so that changes
// that come together are flushed together.
const gather = 2 * time.Millisecond

// due says when the batch is to be handed to the flusher: now, at a later
// time, or (false) not before something else arrives. staged says that a part
// of an unfinished transaction has been staged already.
func (p *pace) due(b *batch, first time.Time, staged bool) (at time.Time, ok bool) {
	switch {
	case len(b.tasks) > 0:
		return time.Time{}, true
	case b.open:
		return time.Time{}, b.bytes >= p.maxBytes // staged in parts, committed at its end
	case !b.empty() && b.bytes >= p.maxBytes, b.record:
		return time.Time{}, true
	case !b.empty() || staged:
		at = p.lastFlush.Add(p.freshness)
		if soonest := first.Add(min(gather, p.freshness)); at.Before(soonest) {
			at = soonest
		}
		return at, true
	case b.cut != 0:
		return p.lastRecord.Add(p.idle), true
	}
	return time.Time{}, false
}
