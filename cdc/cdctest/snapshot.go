package cdctest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/lakeload/lakeload/cdc"
)

// Snapshot is a view of all tables at one point. It implements cdc.Snapshot.
type Snapshot struct {
	src   *Source
	point cdc.LSN
	views map[uint32]*view

	// The rest is guarded by the world's mutex.
	ended  bool
	closed bool
	locked []*table
}

// view is a table as the snapshot sees it.
type view struct {
	rel       *cdc.Relation
	rows      []Row
	rewritten int
	planned   bool
}

var _ cdc.Snapshot = (*Snapshot)(nil)

// snapshot makes one; the caller holds w.mu.
func (s *Source) snapshot() *Snapshot {
	s.w.reveal() // a slot is made when all that were running have ended
	sn := &Snapshot{src: s, point: s.w.head, views: make(map[uint32]*view)}
	for _, t := range s.w.tables {
		if t.dropped == 0 {
			sn.views[t.oid] = &view{rel: t.content.rel, rows: t.content.list(), rewritten: t.rewritten}
		}
	}
	s.snapshots = append(s.snapshots, sn)
	return sn
}

// Point is the consistent point.
func (sn *Snapshot) Point() cdc.LSN { return sn.point }

// enter begins a call; the caller holds w.mu.
func (sn *Snapshot) enter(ctx context.Context, op string, rel *cdc.Relation) (*view, error) {
	late, err := sn.src.enter(ctx, op)
	switch {
	case err != nil:
		return nil, err
	case late != nil:
		return nil, late.err(op) // a lost answer to a question is a fault like any other
	case sn.closed:
		sn.src.w.violate("%s was called after Snapshot.Close", op)
		return nil, operator(op, errors.New("the snapshot is closed"))
	case sn.ended:
		return nil, retryable(op, errConnection)
	}
	v := sn.views[rel.OID]
	t := sn.src.w.tableByOID(rel.OID)
	if v == nil || t == nil || t.dropped != 0 || t.rewritten != v.rewritten ||
		!rel.SameColumns(v.rel) || !rel.SameColumns(t.content.rel) {
		return nil, operator(op+" of "+rel.String(), cdc.ErrTableChanged)
	}
	return v, nil
}

// Plan locks the table and divides its rows into ranges.
func (sn *Snapshot) Plan(ctx context.Context, rel *cdc.Relation) ([]cdc.Range, error) {
	w := sn.src.w
	w.mu.Lock()
	defer w.mu.Unlock()
	v, err := sn.enter(ctx, "Plan", rel)
	if err != nil {
		return nil, err
	}
	if !v.planned {
		v.planned = true
		t := w.tableByOID(rel.OID)
		t.locks++
		sn.locked = append(sn.locked, t)
	}
	var ranges []cdc.Range
	for first := 0; first < len(v.rows); first += w.o.RangeRows {
		n := min(w.o.RangeRows, len(v.rows)-first)
		ranges = append(ranges, cdc.Range{ID: strconv.Itoa(first), Rows: int64(n), Bytes: int64(64 * n)})
	}
	return ranges, nil
}

// Read gives the rows of a range, in batches of a few.
func (sn *Snapshot) Read(ctx context.Context, rel *cdc.Relation, r cdc.Range, emit func(*cdc.Batch) error) error {
	w := sn.src.w
	w.mu.Lock()
	v, err := sn.enter(ctx, "Read", rel)
	if err == nil && !v.planned {
		w.violate("a range of %s was read before Plan", rel)
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}
	first, err := strconv.Atoi(r.ID)
	if err != nil || first < 0 || first >= len(v.rows) || first%w.o.RangeRows != 0 {
		return operator("Read of "+rel.String(), fmt.Errorf("there is no range %q", r.ID))
	}
	rows := v.rows[first:min(first+w.o.RangeRows, len(v.rows))]
	for len(rows) > 0 {
		w.mu.Lock()
		_, err := sn.enter(ctx, "Read", rel)
		n := min(len(rows), 1+w.rng.IntN(w.o.MaxRows))
		w.mu.Unlock()
		if err != nil {
			return err
		}
		b := newBatch(&w.alloc, reshaped(v.rel))
		for _, row := range rows[:n] {
			b.add(cdc.OpInsert, row, nil, int64(len(b.ops)))
		}
		batch, err := b.finish()
		if err != nil {
			return operator("Read of "+rel.String(), err)
		}
		if err := emit(batch); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// Close ends the view and its locks.
func (sn *Snapshot) Close() error {
	sn.src.w.mu.Lock()
	defer sn.src.w.mu.Unlock()
	sn.closed = true
	sn.release()
	return nil
}

func (sn *Snapshot) release() {
	sn.ended = true
	for _, t := range sn.locked {
		t.locks--
	}
	sn.locked = nil
	sn.src.snapshots = slices.DeleteFunc(sn.src.snapshots, func(o *Snapshot) bool { return o == sn })
}
