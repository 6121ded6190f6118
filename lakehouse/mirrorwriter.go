package lakehouse

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/mirror"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/dv"
)

// mirrorWriter keeps a table equal to its source: new images are appended in
// new files, and the rows that they replace are marked in deletion vectors.
// Where a row is now, the key index tells.
type mirrorWriter struct {
	*table
	index  keyindex.Index  // nil: rows have no identity, and are only appended
	bag    bool            // the rows' identity is the whole row, see rowHasher
	keep   DeleteMode      // what becomes of rows that the source deletes
	anew   bool            // files are written anew without the rows that go
	change keyindex.Change // of the flush being staged; nil before its first change
	hasher keyHasher
	red    mirror.Reducer
	views  map[keyindex.FileID]*fileView
}

// fileView is a data file as the flush being staged sees it.
type fileView struct {
	add    *tablefmt.AddFile
	staged *stagedFile // nil: the file is in the snapshot
	gone   bool        // the file is in neither
	old    *dv.Bitmap  // rows deleted in the snapshot; nil for none
	dead   *dv.Bitmap  // rows deleted by what is staged; nil for none
	soft   *dv.Bitmap  // rows that are kept as deleted; nil: it was not looked yet
}

func (v *fileView) deleted(row uint32) bool {
	return v.gone || v.old != nil && v.old.Contains(uint64(row)) || v.dead != nil && v.dead.Contains(uint64(row))
}

// kill marks a row as deleted by what is staged.
func (v *fileView) kill(row uint32) {
	if v.dead == nil {
		v.dead = dv.New()
		if v.staged != nil {
			v.staged.dead = v.dead
		}
	}
	v.dead.Add(uint64(row))
}

// maxViews bounds the file views that are kept from one flush to the next.
const maxViews = 4096

func (m *mirrorWriter) Apply(ctx context.Context, items []cdc.Item) error {
	var batches []*cdc.Batch
	flush := func() error {
		for len(batches) > 0 {
			n := 1
			for n < len(batches) && batches[n].Relation.SameColumns(batches[0].Relation) {
				n++
			}
			if err := m.applyBatches(ctx, batches[:n]); err != nil {
				return err
			}
			batches = batches[n:]
		}
		return nil
	}
	for i := range items {
		it := &items[i]
		switch {
		case it.Truncate != nil:
			if it.Truncate.Txn.Commit < m.past() {
				continue
			}
			if err := flush(); err != nil {
				return err
			}
			if err := m.empty(ctx, it.Truncate.Txn.Time); err != nil {
				return err
			}
		case m.skipBefore(it.Batch) < it.Batch.Len():
			if err := faultError(it.Batch, m.skipBefore(it.Batch)); err != nil {
				return err
			}
			batches = append(batches, it.Batch)
		}
	}
	return flush()
}

func (m *mirrorWriter) applyBatches(ctx context.Context, batches []*cdc.Batch) error {
	if err := m.follow(ctx, batches[0].Relation); err != nil {
		return err
	}
	if err := m.needExact(batches); err != nil {
		return err
	}
	if m.index == nil {
		return m.appendRows(ctx, batches)
	}
	if err := m.beginChange(ctx); err != nil {
		return err
	}
	a := application{m: m, ctx: ctx, batches: batches}
	defer a.release()
	if m.bag {
		b := &bagApplication{application: a}
		err := b.run()
		a.records = b.records
		return err
	}
	return a.run()
}

// beginChange begins the index's part of a flush. An index that shows another
// state than the table, because a flush that replaced it was given up, is
// rebuilt.
func (m *mirrorWriter) beginChange(ctx context.Context) error {
	if m.change != nil {
		return nil
	}
	if err := m.fitIndex(ctx); err != nil {
		return err
	}
	m.change = m.index.Change()
	return nil
}

// appendRows stages rows of a table whose rows have no identity.
func (m *mirrorWriter) appendRows(ctx context.Context, batches []*cdc.Batch) error {
	out := m.newStager(ctx)
	defer out.abort()
	for _, b := range batches {
		first := m.skipBefore(b)
		for row := first; row < b.Len(); row++ {
			if b.Ops[row] != cdc.OpInsert {
				return stopf(remedyResync, "a %s arrived for a table without a key", opWord(b.Ops[row]))
			}
		}
		if err := m.adapt(b.Relation); err != nil {
			return err
		}
		rec, err := m.record(b, nil)
		if err != nil {
			return err
		}
		err = out.write(rec, rowsFrom(first, b.Len()), anywhere)
		rec.Release()
		if err != nil {
			return err
		}
	}
	return out.close()
}

// anywhere is for rows of which nobody asks where they are.
func anywhere([]int, place) error { return nil }

func opWord(op cdc.Op) string {
	switch op {
	case cdc.OpInsert:
		return "insert"
	case cdc.OpDelete:
		return "delete"
	default:
		return "update"
	}
}

// truncate empties the table in what is staged. The index begins anew: should
// the flush be given up, it is rebuilt.
func (m *mirrorWriter) truncate(ctx context.Context) error {
	m.truncated, m.staged = true, true
	m.files = nil
	clear(m.views)
	if m.index == nil {
		return nil
	}
	if err := m.freshIndex(ctx); err != nil {
		return err
	}
	m.change = m.index.Change()
	return nil
}

// view is the file of an id as the flush being staged sees it.
func (m *mirrorWriter) view(ctx context.Context, id keyindex.FileID) (*fileView, error) {
	if v, ok := m.views[id]; ok {
		return v, nil
	}
	v := &fileView{}
	path := m.index.Path(id)
	add, ok := m.snap.File(path)
	v.gone = !ok || m.truncated
	if !v.gone {
		var err error
		v.add = add
		if v.old, err = m.snap.DeletionVector(ctx, add); err != nil {
			return nil, fmt.Errorf("reading the deletion vector of %s in %s: %w", path, &m.spec, err)
		}
	}
	m.views[id] = v
	return v, nil
}

func (m *mirrorWriter) Commit(ctx context.Context, cut cdc.LSN) (bool, error) {
	if !m.staged {
		return false, nil
	}
	cdcs, err := m.writeFeed(ctx)
	if err != nil {
		return false, err
	}
	if m.anew {
		if err := m.writeAnew(ctx); err != nil {
			return false, err
		}
	}
	x, err := m.begin(cut, "MERGE")
	if err != nil {
		return false, err
	}
	for i := range cdcs {
		x.AddCDC(cdcs[i])
	}
	now := time.Now().UnixMilli()
	if m.truncated {
		for add := range m.snap.Files() {
			x.Remove(*add.Remove(now, !m.moved))
		}
	}
	touched, err := m.addVectors(ctx, x, now)
	if err != nil {
		return false, err
	}
	for _, f := range m.files {
		if f.dead == nil {
			f.add.DataChange = !m.moved
			x.Add(*f.add)
		}
	}
	snap, err := x.Commit(ctx)
	if err != nil {
		return false, m.commitError(ctx, err)
	}
	if snap.Version() != m.snap.Version()+1 && m.index != nil {
		// Another program has rearranged files, and our commit followed it: the
		// places that the index knows are gone. It catches up when it is needed.
		if m.change != nil {
			m.change.Rollback()
			m.change = nil
		}
		clear(m.views)
		return true, m.committed(snap, cut)
	}
	if err := m.committedIndex(ctx, snap, touched); err != nil {
		return false, err
	}
	return true, m.committed(snap, cut)
}

// marked gives the files with rows that are deleted by what is staged, in order:
// the same changes make the same commit.
func (m *mirrorWriter) marked() []*fileView {
	ids := make([]keyindex.FileID, 0, len(m.views))
	for id, v := range m.views {
		if v.dead != nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	files := make([]*fileView, len(ids))
	for i, id := range ids {
		files[i] = m.views[id]
	}
	return files
}

// addVectors gives every file with newly deleted rows its new deletion
// vector, or takes the file out where no row is left.
func (m *mirrorWriter) addVectors(ctx context.Context, x *tablefmt.Transaction, now int64) ([]*fileView, error) {
	var (
		touched []*fileView
		bitmaps []*dv.Bitmap
		keep    []*tablefmt.AddFile
	)
	for _, v := range m.marked() {
		all := v.dead
		if v.old != nil {
			all = v.old.Clone()
			all.Or(v.dead)
		}
		rows, err := rowsOf(v)
		if err != nil {
			return nil, err
		}
		touched = append(touched, v)
		if v.staged == nil {
			x.Remove(*v.add.Remove(now, !m.moved))
		}
		if all.Cardinality() == uint64(rows) {
			v.old, v.gone = all, true
			continue
		}
		bitmaps, keep = append(bitmaps, all), append(keep, v.add)
		v.old = all
	}
	if len(bitmaps) == 0 {
		return touched, nil
	}
	vectors, err := tablefmt.WriteDeletionVectors(ctx, m.spec.loc, bitmaps)
	if err != nil {
		return nil, fmt.Errorf("writing deletion vectors of %s: %w", &m.spec, err)
	}
	crashpoint.At(crashpoint.VectorsWritten)
	for i, add := range keep {
		with, err := add.WithVector(vectors[i])
		if err != nil {
			return nil, fmt.Errorf("marking deleted rows of %s in %s: %w", add.Path, &m.spec, err)
		}
		with.ModificationTime, with.DataChange = now, !m.moved
		x.Add(with)
		m.spec.meter.marked(int64(vectors[i].SizeInBytes))
	}
	return touched, nil
}

// rowsOf is the number of physical rows of a file.
func rowsOf(v *fileView) (int64, error) {
	if v.staged != nil {
		return v.staged.rows, nil
	}
	n, ok := v.add.NumRecords()
	if !ok {
		return 0, fmt.Errorf("the statistics of %s do not tell its rows: %w", v.add.Path, tablefmt.ErrCorrupt)
	}
	return n, nil
}

// committedIndex makes the key index follow a commit of ours.
func (m *mirrorWriter) committedIndex(ctx context.Context, snap *tablefmt.Snapshot, touched []*fileView) error {
	for _, v := range touched {
		v.dead = nil
	}
	var gone []keyindex.FileID
	for id, v := range m.views {
		if v.gone {
			gone = append(gone, id)
		}
		if v.staged != nil {
			v.staged = nil
		}
		if v.gone || len(m.views) > maxViews {
			delete(m.views, id)
			continue
		}
		if add, ok := snap.File(v.add.Path); ok {
			v.add = add
		} else {
			delete(m.views, id)
		}
	}
	if m.index == nil {
		return nil
	}
	if m.change == nil {
		m.change = m.index.Change()
	}
	err := m.change.Commit(ctx, stampOf(snap))
	m.change = nil
	if err != nil {
		return fmt.Errorf("the key index of %s: %w", &m.spec, err)
	}
	for _, id := range gone {
		m.index.Forget(id)
	}
	crashpoint.At(crashpoint.IndexCommitted)
	return nil
}

func (m *mirrorWriter) Rollback() {
	if m.change != nil {
		m.change.Rollback()
		m.change = nil
	}
	clear(m.views)
	m.forget()
}

func (m *mirrorWriter) Close() error {
	m.Rollback()
	if m.index == nil {
		return nil
	}
	err := m.index.Close()
	m.index = nil
	return err
}
