package cdctest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/cdc"
)

// Event is one row image or truncate of a chunk, taken out of its columns.
type Event struct {
	Txn      cdc.Txn
	Seq      int64
	Relation *cdc.Relation
	Op       cdc.Op // 0 for a truncate
	Row      Row    // without the columns that are not sent
}

// Events takes a chunk apart, in the order of transactions and of their
// changes, and holds it to its contract: an error says what it breaks. The
// rows stay good after the chunk is released.
func Events(c *cdc.Chunk) ([]Event, error) {
	var events []Event
	last := make(map[uint32]Event)
	for i, item := range c.Items {
		list, err := itemEvents(item)
		if err != nil {
			return nil, fmt.Errorf("item %d (%s): %w", i, item.Relation, err)
		}
		for _, e := range list {
			if l, ok := last[e.Relation.OID]; ok && !follows(l, e) {
				return nil, fmt.Errorf("item %d (%s): %s/%d comes after %s/%d", i, item.Relation, e.Txn.Commit, e.Seq, l.Txn.Commit, l.Seq)
			}
			last[e.Relation.OID] = e
		}
		events = append(events, list...)
	}
	slices.SortStableFunc(events, func(a, b Event) int {
		switch {
		case before(a, b):
			return -1
		case before(b, a):
			return 1
		}
		return 0
	})
	return events, nil
}

func before(a, b Event) bool {
	if a.Txn.Commit != b.Txn.Commit {
		return a.Txn.Commit < b.Txn.Commit
	}
	return a.Seq < b.Seq
}

// follows reports whether b may come after a in one relation. The two images
// of one update may have one number.
func follows(a, b Event) bool {
	return before(a, b) || a.Op == cdc.OpBefore && b.Op == cdc.OpUpdate && a.Txn == b.Txn && a.Seq == b.Seq
}

func itemEvents(item cdc.Item) ([]Event, error) {
	b, t := item.Batch, item.Truncate
	switch {
	case item.Relation == nil:
		return nil, fmt.Errorf("it has no relation")
	case (b == nil) == (t == nil):
		return nil, fmt.Errorf("it is not exactly one of batch and truncate")
	case t != nil:
		return []Event{{Txn: t.Txn, Seq: t.Seq, Relation: item.Relation}}, nil
	case b.Relation != item.Relation:
		return nil, fmt.Errorf("its batch is of another relation")
	}
	if len(b.Txns) == 0 || b.Txns[0].First != 0 {
		return nil, fmt.Errorf("its first row belongs to no transaction")
	}
	if len(b.Seqs) != b.Len() {
		return nil, fmt.Errorf("%d rows have %d sequence numbers", b.Len(), len(b.Seqs))
	}
	events, err := batchEvents(b)
	if err != nil {
		return nil, err
	}
	for i, span := range b.Txns {
		end := b.Len()
		if i+1 < len(b.Txns) {
			end = b.Txns[i+1].First
		}
		if span.First >= end || span.Txn.Commit == 0 {
			return nil, fmt.Errorf("its span %d of transactions (rows %d to %d, commit %s) makes no sense", i, span.First, end, span.Txn.Commit)
		}
		for r := span.First; r < end; r++ {
			events[r].Txn, events[r].Seq = span.Txn, b.Seqs[r]
		}
	}
	return events, nil
}

// batchEvents reads a batch without its transactions, a snapshot's too.
func batchEvents(b *cdc.Batch) ([]Event, error) {
	rel, n := b.Relation, b.Len()
	if n == 0 || int64(n) != b.Rows.NumRows() || int(b.Rows.NumCols()) != len(rel.Columns) {
		return nil, fmt.Errorf("a batch of %d images has %d rows of %d columns, for a relation of %d", n, b.Rows.NumRows(), b.Rows.NumCols(), len(rel.Columns))
	}
	events := make([]Event, n)
	for r := range events {
		events[r] = Event{Relation: rel, Op: b.Ops[r], Row: make(Row, len(rel.Columns))}
		switch b.Ops[r] {
		case cdc.OpBefore:
			if r+1 == n || b.Ops[r+1] != cdc.OpUpdate {
				return nil, fmt.Errorf("the old image in row %d is not followed by its update", r)
			}
		case cdc.OpInsert, cdc.OpUpdate, cdc.OpDelete:
		default:
			return nil, fmt.Errorf("row %d has the operation %q", r, b.Ops[r])
		}
	}
	for i := range rel.Columns {
		column := b.Rows.Column(i)
		if !arrow.TypeEqual(column.DataType(), rel.Columns[i].Type) {
			return nil, fmt.Errorf("column %s is of type %s, and should be of type %s", rel.Columns[i].Name, column.DataType(), rel.Columns[i].Type)
		}
		for r := range events {
			events[r].Row[rel.Columns[i].Name] = valueAt(column, r)
		}
	}
	if b.Unchanged != nil && len(b.Unchanged) != len(rel.Columns) {
		return nil, fmt.Errorf("unchanged values are told for %d columns of %d", len(b.Unchanged), len(rel.Columns))
	}
	for i, rows := range b.Unchanged {
		for j, r := range rows {
			if int(r) >= n || r < 0 || j > 0 && rows[j-1] >= r || b.Ops[r] != cdc.OpUpdate {
				return nil, fmt.Errorf("column %s: row %d cannot be unchanged", rel.Columns[i].Name, r)
			}
			delete(events[r].Row, rel.Columns[i].Name)
		}
	}
	for _, e := range b.Exact {
		events[e.Row].Row[rel.Columns[e.Col].Name] = Exact(e.Text)
	}
	return events, nil
}

// Replica is the simplest consumer: it applies whole transactions to tables
// in memory, strictly. What does not fit (a present key inserted, an absent
// one changed) is an error. It is used by one goroutine.
type Replica struct {
	tables  map[string]*content
	pending []Event // of a transaction that is not complete
	cut     cdc.LSN
}

// NewReplica gives a replica of the state at a position: the tables that Load
// puts into it, or empty ones.
func NewReplica(at cdc.LSN) *Replica {
	return &Replica{tables: make(map[string]*content), cut: at}
}

// Cut is the position whose state the replica holds.
func (r *Replica) Cut() cdc.LSN { return r.cut }

// Load puts the rows of a snapshot's batch into the replica. It does not
// release the batch.
func (r *Replica) Load(b *cdc.Batch) error {
	events, err := batchEvents(b)
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Op != cdc.OpInsert {
			return fmt.Errorf("a snapshot of %s gave the operation %q", e.Relation, e.Op)
		}
		if err := r.table(e.Relation).insert(e.Row); err != nil {
			return err
		}
	}
	return nil
}

// Apply applies what a chunk completes and keeps the rest. It does not
// release the chunk.
func (r *Replica) Apply(c *cdc.Chunk) error {
	events, err := Events(c)
	if err != nil {
		return err
	}
	if c.Cut < r.cut {
		return fmt.Errorf("the cut went back from %s to %s", r.cut, c.Cut)
	}
	r.pending = append(r.pending, events...)
	var old Row
	for len(r.pending) > 0 && r.pending[0].Txn.Commit < c.Cut {
		e := r.pending[0]
		if e.Txn.Commit < r.cut {
			return fmt.Errorf("a change of the transaction at %s came after the cut %s", e.Txn.Commit, r.cut)
		}
		if err := r.apply(e, &old); err != nil {
			return fmt.Errorf("at %s/%d: %w", e.Txn.Commit, e.Seq, err)
		}
		r.pending = r.pending[1:]
	}
	if c.Open != (len(r.pending) > 0) {
		return fmt.Errorf("the chunk says %t to being open, with %d changes after its cut %s", c.Open, len(r.pending), c.Cut)
	}
	r.cut = c.Cut
	return nil
}

// Forget drops what is incomplete, as has to be done when a stream has ended.
func (r *Replica) Forget() { r.pending = nil }

// State is the table's rows by their keys, as World.State gives them.
func (r *Replica) State(name string) map[string]Row {
	for _, c := range r.tables {
		if sameName(c.rel, name) {
			return c.byKey()
		}
	}
	return map[string]Row{}
}

func (r *Replica) table(rel *cdc.Relation) *content {
	c := r.tables[rel.String()]
	if c == nil {
		c = newContent(rel)
		r.tables[rel.String()] = c
	}
	if !c.rel.SameShape(rel) {
		// Old rows lack what was added and lose what was dropped.
		shaped := newContent(rel)
		for _, v := range c.rows {
			row := maps.Clone(v.row)
			maps.DeleteFunc(row, func(name string, _ any) bool { return column(rel, name) < 0 })
			for i := range rel.Columns {
				if _, ok := row[rel.Columns[i].Name]; !ok {
					row[rel.Columns[i].Name] = nil
				}
			}
			for range v.n {
				_ = shaped.insert(row) // keys stay as different as they were
			}
		}
		*c = *shaped
	}
	return c
}

// apply applies one event; old carries an old image to its update.
func (r *Replica) apply(e Event, old *Row) error {
	c := r.table(e.Relation)
	switch e.Op {
	case 0:
		clear(c.rows)
		return nil
	case cdc.OpBefore:
		*old = e.Row
		return nil
	case cdc.OpInsert:
		return c.insert(e.Row)
	}
	find := e.Row
	if *old != nil {
		find, *old = *old, nil
	}
	was := c.rows[Key(e.Relation, find)]
	if was == nil {
		return fmt.Errorf("%s: there is no row %s", e.Relation, Key(e.Relation, find))
	}
	row := maps.Clone(was.row)
	if err := c.remove(was.row); err != nil || e.Op == cdc.OpDelete {
		return err
	}
	maps.Copy(row, e.Row) // what was not sent stays
	return c.insert(row)
}
