package lakehouse

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/mirror"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/dv"
)

// A mirror may keep the rows that its source deletes. With DeleteSoft such a row
// is written once more, as it was last and with _deleted set, and the key index
// goes on to know its place: when the key comes back, the new row takes that
// place. To the source's changes it is a row that is not there. With
// DeleteIgnore nothing tells it from the others.

// outcome is what a batch does with a key.
type outcome int

const (
	outcomeLeave  outcome = iota // nothing
	outcomePlace                 // its last image is written
	outcomeBury                  // its last image is written as deleted
	outcomeRemove                // it goes
)

// places reports whether an entry's final image is placed in the table, wherever
// the key was.
func (m *mirrorWriter) places(e *mirror.Entry) bool {
	return e.Present || m.keep == DeleteIgnore && e.Image
}

func (a *application) outcome(i int) outcome {
	e := &a.m.red.Entries()[i]
	there := a.locs[i] != keyindex.Loc{}
	switch {
	case a.m.places(e):
		return outcomePlace
	case a.m.keep == DeleteIgnore:
		return outcomeLeave
	case a.m.keep != DeleteSoft && there:
		return outcomeRemove
	case a.m.keep == DeleteSoft && (e.Image || there && !a.soft[i]):
		return outcomeBury
	}
	return outcomeLeave
}

// there reports whether the source's row of an entry's key was there, as far as
// the lake tells.
func (a *application) there(i int) bool {
	there := a.locs[i] != keyindex.Loc{}
	switch {
	case a.m.keep == DeleteSoft:
		return there && !a.soft[i]
	case a.m.keep == DeleteIgnore && !a.m.red.Entries()[i].ExpectPresent:
		return false // it may be one that the source has deleted
	}
	return there
}

// findSoft finds out which of the keys' rows are kept as deleted.
func (a *application) findSoft() error {
	if a.m.keep != DeleteSoft {
		return nil
	}
	a.soft = make([]bool, len(a.locs))
	for i, loc := range a.locs {
		if loc == (keyindex.Loc{}) {
			continue
		}
		v, err := a.m.view(a.ctx, loc.File)
		if err == nil {
			err = a.m.lookSoft(a.ctx, v)
		}
		if err != nil {
			return err
		}
		a.soft[i] = v.soft.Contains(uint64(loc.Row))
	}
	return nil
}

// lookSoft finds a file's rows that are kept as deleted.
func (m *mirrorWriter) lookSoft(ctx context.Context, v *fileView) error {
	if v.soft != nil {
		return nil
	}
	soft := dv.New()
	if !noneDeleted(v.add) {
		opt := tablefmt.ReadOptions{Columns: []string{typemap.ColDeleted}, IncludeDeleted: true}
		err := m.snap.ReadFile(ctx, v.add, opt, func(rec arrow.RecordBatch, first int64) error {
			col := rec.Column(0).(*array.Boolean)
			for i := range col.Len() {
				if col.IsValid(i) && col.Value(i) {
					soft.Add(uint64(first) + uint64(i))
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading which rows of %s are kept as deleted: %w", &m.spec, err)
		}
	}
	v.soft = soft
	return nil
}

// noneDeleted reports whether a file's statistics say that none of its rows is
// kept as deleted: _deleted_at is null in all of them.
func noneDeleted(add *tablefmt.AddFile) bool {
	st, err := add.ParseStats()
	if err != nil || st.NumRecords == nil {
		return false
	}
	var nulls int64
	return json.Unmarshal(st.NullCount[typemap.ColDeletedAt], &nulls) == nil && nulls == *st.NumRecords
}

// bury makes columns of rows say that the rows are deleted, by the changes of
// their entries. What was there is released.
func (a *application) bury(cols []arrow.Array, filled []int32) {
	at := make([]time.Time, len(filled))
	for i, e := range filled {
		gone := a.m.red.Entries()[e].Gone
		at[i] = txnOf(a.batches[gone.Batch], int(gone.Row)).Time
	}
	for c, made := range a.m.deletedColumns(len(filled), func(i int) time.Time { return at[i] }) {
		if cols[c] != nil {
			cols[c].Release()
		}
		cols[c] = made
	}
}

// deletedColumns are those of rows that are now deleted, by their places.
func (t *table) deletedColumns(rows int, at func(i int) time.Time) map[int]arrow.Array {
	by := map[int]arrow.Array{}
	for i := range t.schema.Fields {
		f := &t.schema.Fields[i]
		if what, added := typemap.Added(f); !added || what != f.Name {
			continue
		}
		switch f.Name {
		case typemap.ColDeleted:
			by[i] = repeatBool(true, rows)
		case typemap.ColDeletedAt:
			by[i] = buildInstants(rows, at)
		default:
			by[i] = t.addedColumn(f.Name, rows)
		}
	}
	return by
}

// gone gives stored rows, in whatever of the table's columns they have, as they
// are when what is staged deletes all of them.
func (t *table) gone(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	n := int(rec.NumRows())
	cols := make([]arrow.Array, t.arrow.NumFields())
	defer func() {
		for _, c := range cols {
			if c != nil {
				c.Release()
			}
		}
	}()
	at := t.flushTime()
	deleted := t.deletedColumns(n, func(int) time.Time { return at })
	for i, f := range t.arrow.Fields() {
		in := rec.Schema().FieldIndices(f.Name)
		switch {
		case deleted[i] != nil:
			cols[i] = deleted[i]
		case len(in) == 1:
			cols[i] = rec.Column(in[0])
			cols[i].Retain()
		default: // what is staged has added it
			cols[i] = array.MakeArrayOfNull(memory.DefaultAllocator, f.Type, n)
		}
	}
	if err := t.derive(cols); err != nil {
		return nil, err
	}
	return array.NewRecordBatch(t.arrow, cols, int64(n)), nil
}

// empty does what a TRUNCATE at the source asks for.
func (m *mirrorWriter) empty(ctx context.Context, at time.Time) error {
	switch m.keep {
	case DeleteIgnore:
		return nil
	case DeleteSoft:
		return m.buryAll(ctx, at)
	}
	return m.truncate(ctx)
}

// buryAll stages all rows as deleted; those that are so already stay as they
// are.
func (m *mirrorWriter) buryAll(ctx context.Context, at time.Time) error {
	files, err := m.oldFiles(ctx, "it was emptied")
	if err != nil {
		return err
	}
	old := m.snap
	if m.evolved {
		if old, err = old.WithSchema(m.schema); err != nil {
			return err
		}
	}
	if err := m.truncate(ctx); err != nil { // the index begins anew, too
		return err
	}
	m.rewrote = true
	err = m.rewriteRows(ctx, old, files, func(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
		return m.buried(rec, at)
	})
	if err != nil {
		return fmt.Errorf("keeping the rows of %s as deleted: %w", &m.spec, err)
	}
	return nil
}

// buried gives rows as they are when all of them are deleted at a time.
func (t *table) buried(rec arrow.RecordBatch, at time.Time) (arrow.RecordBatch, error) {
	was := rec.Column(t.schema.Index(typemap.ColDeleted)).(*array.Boolean)
	parts := make([]arrow.RecordBatch, 0, 2)
	defer func() {
		for _, p := range parts {
			p.Release()
		}
	}()
	n := int(rec.NumRows())
	for from := 0; from < n; { // runs of rows that were deleted, and of rows that were not
		end, gone := from+1, was.IsValid(from) && was.Value(from)
		for end < n && gone == (was.IsValid(end) && was.Value(end)) {
			end++
		}
		part := rec.NewSlice(int64(from), int64(end))
		if !gone {
			live := part
			part = replaceColumns(live, t.deletedColumns(end-from, func(int) time.Time { return at }))
			live.Release()
		}
		parts = append(parts, part)
		from = end
	}
	return concatenate(rec.Schema(), parts)
}
