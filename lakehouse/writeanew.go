package lakehouse

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/tablefmt"
)

// writeAnew writes every file that loses rows in what is staged anew without
// them, for readers that know no deletion vectors. The rows that stay are filed
// in the key index at their new places, where the writer has one.
func (m *mirrorWriter) writeAnew(ctx context.Context) error {
	var ids []keyindex.FileID
	for id, v := range m.views {
		if v.dead != nil && !v.gone {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids) // the same changes make the same commit
	old := m.snap
	if m.evolved { // staged files may have columns that the snapshot lacks
		var err error
		if old, err = old.WithSchema(m.schema); err != nil {
			return err
		}
	}
	out := m.newStager(ctx)
	defer out.abort()
	for _, id := range ids {
		if err := m.writeRest(ctx, old, out, id); err != nil {
			return fmt.Errorf("writing a file of %s anew, without the rows that were deleted: %w", &m.spec, err)
		}
	}
	return out.close()
}

// writeRest writes the rows of a file that stay.
func (m *mirrorWriter) writeRest(ctx context.Context, old *tablefmt.Snapshot, out *stager, id keyindex.FileID) error {
	v := m.views[id]
	all := v.dead.Clone()
	if v.old != nil {
		all.Or(v.old)
	}
	rows, err := rowsOf(v)
	if err != nil {
		return err
	}
	if all.Cardinality() == uint64(rows) {
		return nil // it just goes
	}
	names := m.key
	if m.bag {
		names = m.bagColumns(m.schema)
	}
	err = old.ReadFile(ctx, v.add, tablefmt.ReadOptions{Deleted: all}, func(rec arrow.RecordBatch, first int64) error {
		if m.index == nil {
			return out.write(rec, rowsFrom(0, int(rec.NumRows())), anywhere)
		}
		x := m.newIndexer(m.change, names, m.schema)
		if err := x.hash(rec); err != nil {
			return err
		}
		hashes := x.hashes
		if m.bag {
			if hashes, err = m.copiesAt(ctx, x, id, uint32(first)); err != nil {
				return err
			}
		}
		return out.write(rec, rowsFrom(0, int(rec.NumRows())), func(part []int, at place) error {
			return m.change.Put(ctx, appendEntries(nil, m.index, keyRun{at, chosen(hashes, part)}))
		})
	})
	if err != nil {
		return err
	}
	// Every row of it has gone or has another place.
	for row := range rows {
		if !all.Contains(uint64(row)) {
			v.kill(uint32(row))
		}
	}
	return nil
}

// copiesAt finds, for rows of a table without a key that lie one after the
// other from a place on, the hashes that they are filed under: as which copy of
// the rows that are equal to them.
func (m *mirrorWriter) copiesAt(ctx context.Context, x *indexer, id keyindex.FileID, first uint32) ([]keyindex.Hash, error) {
	left := map[keyindex.Hash]int{} // rows here whose copy is not found yet
	var rows []keyindex.Hash
	for _, h := range x.hashes {
		if left[h]++; left[h] == 1 {
			rows = append(rows, h)
		}
	}
	found := make([]keyindex.Hash, len(x.hashes))
	for n := 0; len(rows) > 0; n++ {
		hashes := make([]keyindex.Hash, len(rows))
		for i, h := range rows {
			hashes[i] = x.rows.copyHash(h, n)
		}
		locs := make([]keyindex.Loc, len(rows))
		if err := m.change.Lookup(ctx, hashes, locs); err != nil {
			return nil, err
		}
		next := rows[:0]
		for i, h := range rows {
			if locs[i] == (keyindex.Loc{}) {
				return nil, mustCopy("a row of it is not in the key index")
			}
			if at := locs[i].Row - first; locs[i].File == id && locs[i].Row >= first && int(at) < len(found) {
				found[at] = hashes[i]
				left[h]--
			}
			if left[h] > 0 {
				next = append(next, h)
			}
		}
		rows = next
	}
	return found, nil
}

// concatenate gives the rows of several records as one.
func concatenate(schema *arrow.Schema, parts []arrow.RecordBatch) (arrow.RecordBatch, error) {
	if len(parts) == 1 {
		parts[0].Retain()
		return parts[0], nil
	}
	cols := make([]arrow.Array, schema.NumFields())
	defer func() {
		for _, c := range cols {
			if c != nil {
				c.Release()
			}
		}
	}()
	rows := int64(0)
	for _, p := range parts {
		rows += p.NumRows()
	}
	for i := range cols {
		pieces := make([]arrow.Array, len(parts))
		for k, p := range parts {
			pieces[k] = p.Column(i)
		}
		var err error
		if cols[i], err = array.Concatenate(pieces, memory.DefaultAllocator); err != nil {
			return nil, fmt.Errorf("putting rows together: %w", err)
		}
	}
	return array.NewRecordBatch(schema, cols, rows), nil
}
