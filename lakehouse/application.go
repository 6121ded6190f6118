package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/mirror"
	"github.com/lakeload/lakeload/tablefmt/dv"
)

// application stages one run of batches of one shape in a mirror: reduce to
// the last state of each key; find the old rows and mark them, and meanwhile
// write the new ones.
type application struct {
	m       *mirrorWriter
	ctx     context.Context //nolint:containedctx // lives within one call
	batches []*cdc.Batch

	hashes  [][]keyindex.Hash   // per batch and row
	records []arrow.RecordBatch // per batch, laid out as the table's columns; nil until needed
	locs    []keyindex.Loc      // per entry: where the key was
	soft    []bool              // per entry: whether it was a row that is kept as deleted; nil for none
	entries []keyindex.Entry    // for the index

	out     *stager
	written []run
}

func (a *application) run() error {
	if err := a.reduce(); err != nil {
		return err
	}
	a.out = a.m.newStager(a.ctx)
	defer a.out.abort()
	if err := a.findAndWrite(); err != nil {
		return err
	}
	if err := a.writeRest(); err != nil {
		return err
	}
	if err := a.note(); err != nil {
		return err
	}
	if err := a.out.close(); err != nil {
		return err
	}
	a.see()
	return nil
}

// findAndWrite looks the keys up, marks the rows that go and, meanwhile, writes
// what does not depend on what is found: both take long, and of one table there
// is nothing else to do. What was written for changes that turn out not to fit
// is given up.
func (a *application) findAndWrite() error {
	return both(func() error {
		if err := a.lookup(); err != nil {
			return err
		}
		return a.mark()
	}, a.writeImages)
}

// both does two things at a time. Of two errors it gives the first one's.
func both(first, second func() error) error {
	done := make(chan error, 1)
	go func() { done <- second() }()
	err := first()
	if other := <-done; err == nil {
		err = other
	}
	return err
}

func (a *application) release() {
	for _, r := range a.records {
		if r != nil {
			r.Release()
		}
	}
}

// reduce hashes the keys and finds the last state of each.
func (a *application) reduce() error {
	red := &a.m.red
	red.Reset()
	a.hashes = make([][]keyindex.Hash, len(a.batches))
	for bi, b := range a.batches {
		first := a.m.skipBefore(b)
		hashes := make([]keyindex.Hash, b.Len())
		if err := a.m.hasher.hashRows(keyColumns(b), exactOf(b), first, hashes); err != nil {
			return stopf("report this as a bug of lakeload", "its key cannot be hashed: %v", err)
		}
		a.hashes[bi] = hashes
		if err := a.reduceBatch(red, bi, first); err != nil {
			return a.stop(err)
		}
	}
	return nil
}

func (a *application) reduceBatch(red *mirror.Reducer, bi, first int) error {
	b, h := a.batches[bi], a.hashes[bi]
	unchanged := unchangedByRow(b)
	for row := first; row < b.Len(); row++ {
		at := mirror.Ref{Batch: int32(bi), Row: int32(row)}
		var err error
		switch b.Ops[row] {
		case opSkipped:
		case opPlaced:
			red.Put(h[row], at)
		case opGone:
			red.Drop(h[row], at)
		case cdc.OpInsert:
			err = red.Insert(h[row], at)
		case cdc.OpDelete:
			err = red.Delete(h[row], at)
		case cdc.OpUpdate:
			if err = keySent(b, unchanged[at.Row]); err == nil {
				err = red.Update(h[row], at, unchanged[at.Row])
			}
		case cdc.OpBefore:
			if row+1 == b.Len() || b.Ops[row+1] != cdc.OpUpdate {
				return errors.New("an old row image came without its new one")
			}
			before := h[row]
			row++
			at.Row++
			if err = keySent(b, unchanged[at.Row]); err == nil {
				err = red.Move(before, h[row], at, unchanged[at.Row])
			}
		default:
			err = fmt.Errorf("an operation that is not known (%q) came", b.Ops[row])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func keySent(b *cdc.Batch, unchanged []int32) error {
	for _, c := range unchanged {
		if b.Relation.IsKey(int(c)) {
			return fmt.Errorf("an update came without the value of the key column %q", b.Relation.Columns[c].Name)
		}
	}
	return nil
}

// unchangedByRow turns the lists of rows per column into lists of columns per
// row; nil where there are none.
func unchangedByRow(b *cdc.Batch) map[int32][]int32 {
	if b.Unchanged == nil {
		return nil
	}
	out := map[int32][]int32{}
	for c, rows := range b.Unchanged {
		for _, r := range rows {
			out[r] = append(out[r], int32(c))
		}
	}
	return out
}

// stop makes what contradicts the mirror stop the table (I5).
func (a *application) stop(err error) error {
	var v *mirror.Violation
	if errors.As(err, &v) {
		where := ""
		if v.Row.Batch >= 0 && int(v.Row.Batch) < len(a.batches) {
			where = ", key " + a.keyText(v.Row)
		}
		return mismatchf("%v%s", v, where)
	}
	return stopf(remedyResync, "%v", err)
}

func (a *application) keyText(at mirror.Ref) string {
	b := a.batches[at.Batch]
	parts := make([]string, len(b.Relation.Key))
	for i, k := range b.Relation.Key {
		parts[i] = b.Relation.Columns[k].Name + "=" + b.Rows.Column(k).ValueStr(int(at.Row))
	}
	return strings.Join(parts, ", ")
}

// lookup finds where the touched keys are, and checks that the changes fit.
func (a *application) lookup() error {
	entries := a.m.red.Entries()
	hashes := make([]keyindex.Hash, len(entries))
	for i := range entries {
		hashes[i] = entries[i].Hash
	}
	a.locs = make([]keyindex.Loc, len(entries))
	if err := a.m.change.Lookup(a.ctx, hashes, a.locs); err != nil {
		return fmt.Errorf("looking up keys of %s: %w", &a.m.spec, err)
	}
	for i, loc := range a.locs {
		if loc == (keyindex.Loc{}) {
			continue
		}
		v, err := a.m.view(a.ctx, loc.File)
		if err != nil {
			return err
		}
		if v.deleted(loc.Row) {
			a.locs[i] = keyindex.Loc{}
		}
	}
	if err := a.findSoft(); err != nil {
		return err
	}
	err := a.m.red.Check(a.there)
	if err != nil {
		return a.stop(err)
	}
	return nil
}

// rowOf says that a row of a batch is the final image of an entry.
type rowOf struct{ row, entry int32 }

// writeImages writes the final images that are complete into new files. It does
// not depend on lookup.
func (a *application) writeImages() error {
	perBatch := make([][]rowOf, len(a.batches))
	red := &a.m.red
	for i := range red.Entries() {
		if e := &red.Entries()[i]; a.m.places(e) && len(red.Fills(i)) == 0 {
			perBatch[e.Final.Batch] = append(perBatch[e.Final.Batch], rowOf{e.Final.Row, int32(i)})
		}
	}
	a.records = make([]arrow.RecordBatch, len(a.batches))
	var rows []int32
	for bi, list := range perBatch {
		if len(list) == 0 {
			continue
		}
		slices.SortFunc(list, func(x, y rowOf) int { return int(x.row) - int(y.row) })
		rows = rows[:0]
		for _, r := range list {
			rows = append(rows, r.row)
		}
		rec, err := a.record(bi)
		if err != nil {
			return err
		}
		err = a.out.write(rec, rows, func(part []int, at place) error {
			a.written = append(a.written, run{at: at, rows: chosen(list, part)})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// writeRest writes the rows that take something of those that are there. Then
// it is known where each row is.
func (a *application) writeRest() error {
	var filled, buried []int32
	for i := range a.m.red.Entries() {
		switch o := a.outcome(i); {
		case o == outcomeBury:
			buried = append(buried, int32(i))
		case o == outcomePlace && len(a.m.red.Fills(i)) > 0:
			filled = append(filled, int32(i))
		}
	}
	if err := a.writeFilled(filled, false); err != nil {
		return err
	}
	if err := a.writeFilled(buried, true); err != nil {
		return err
	}
	return a.out.drain(true)
}

// note tells the index where the rows are now, while the last file becomes
// durable.
func (a *application) note() error {
	return both(func() error {
		a.locate()
		return a.m.change.Put(a.ctx, a.entries)
	}, a.out.finish)
}

// run is a run of rows that were written one after the other.
type run struct {
	at     place
	rows   []rowOf
	buried bool // they are kept as deleted
}

// locate notes for the index where the written rows are.
func (a *application) locate() {
	entries := a.m.red.Entries()
	a.entries = slices.Grow(a.entries, len(entries))
	for _, w := range a.written {
		id := a.m.index.FileID(w.at.path)
		for i, r := range w.rows {
			a.entries = append(a.entries, keyindex.Entry{
				Hash: entries[r.entry].Hash,
				Loc:  keyindex.Loc{File: id, Row: uint32(w.at.first) + uint32(i)},
			})
		}
	}
}

// see makes the flush see the files that were written.
func (a *application) see() {
	for _, f := range a.out.done {
		a.m.views[a.m.index.FileID(f.add.Path)] = &fileView{add: f.add, staged: f, soft: dv.New()}
	}
	for _, w := range a.written {
		if w.buried {
			first := uint64(w.at.first)
			a.m.views[a.m.index.FileID(w.at.path)].soft.AddRange(first, first+uint64(len(w.rows)))
		}
	}
}

// mark marks the rows that were replaced or deleted, and notes for the index
// which keys are gone.
func (a *application) mark() error {
	for i, e := range a.m.red.Entries() {
		o := a.outcome(i)
		if a.locs[i] == (keyindex.Loc{}) || o == outcomeLeave {
			continue
		}
		v, err := a.m.view(a.ctx, a.locs[i].File)
		if err != nil {
			return err
		}
		v.kill(a.locs[i].Row)
		a.m.staged = true
		if o == outcomeRemove {
			a.entries = append(a.entries, keyindex.Entry{Hash: e.Hash})
		}
	}
	return nil
}

// record gives a batch in the table's columns.
func (a *application) record(bi int) (arrow.RecordBatch, error) {
	if a.records[bi] == nil {
		if err := a.m.adapt(a.batches[bi].Relation); err != nil {
			return nil, err
		}
		var err error
		if a.records[bi], err = a.m.record(a.batches[bi], nil); err != nil {
			return nil, err
		}
	}
	return a.records[bi], nil
}
