package lakehouse

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/mirror"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
)

// A table without a key whose whole old rows are sent (REPLICA IDENTITY FULL)
// is mirrored as a multiset: rows that are equal in every column are told apart
// by nothing, and a delete takes exactly one of them. The key index files copy
// n of a row under a hash of the row and n; the copies of a row are numbered
// without gaps.

// rowHasher hashes whole rows. The columns that are null are left out, so that
// a column that is added does not change the hashes of the rows before it.
type rowHasher struct {
	hasher keyindex.Hasher
	buf    []byte
}

// hashRows sets out[i] to the hash of row i, for rows from to len(out). names
// are the columns'; a nil array is a column of nulls.
func (h *rowHasher) hashRows(names []string, cols []arrow.Array, exact exactText, from int, out []keyindex.Hash) error {
	for row := from; row < len(out); row++ {
		b := h.buf[:0]
		for i, c := range cols {
			if c == nil {
				continue
			}
			if c.IsNull(row) {
				if exact == nil {
					continue
				}
				if text, ok := exact(row, i); ok {
					b = appendKeyString(append(appendKeyString(b, names[i]), 'x'), text)
				}
				continue
			}
			var err error
			if b, err = appendKeyValue(appendKeyString(b, names[i]), c, row); err != nil {
				return err
			}
		}
		out[row] = h.hasher.Sum(b)
		h.buf = b
	}
	return nil
}

// copyHash is what copy n of a row is filed under.
func (h *rowHasher) copyHash(row keyindex.Hash, n int) keyindex.Hash {
	if n == 0 {
		return row
	}
	h.buf = binary.AppendUvarint(append(h.buf[:0], row[:]...), uint64(n))
	return h.hasher.Sum(h.buf)
}

// isBag reports whether a relation is mirrored as a multiset.
func isBag(rel *cdc.Relation) bool { return len(rel.Key) == 0 && rel.Identity == cdc.IdentityFull }

// bagColumns are the columns of a table's schema that tell its rows apart: the source's.
func (t *table) bagColumns(schema *tablefmt.Schema) []string {
	var names []string
	for _, f := range schema.Fields {
		if !t.own(f.Name) && !typemap.Dropped(&f) {
			names = append(names, f.Name)
		}
	}
	return names
}

// hashBatch hashes the whole rows of a batch of the relation that the table is
// adapted to.
func (h *rowHasher) hashBatch(t *table, b *cdc.Batch, from int, out []keyindex.Hash) error {
	names := t.bagColumns(t.schema)
	cols, places := make([]arrow.Array, len(names)), make([]int, len(names))
	for i, name := range names {
		places[i] = slices.IndexFunc(b.Relation.Columns, func(c cdc.Column) bool { return c.Name == name })
		if places[i] >= 0 {
			cols[i] = b.Rows.Column(places[i])
		}
	}
	var exact exactText
	if len(b.Exact) > 0 {
		exact = func(row, col int) (string, bool) { return exactAt(b, row, places[col]) }
	}
	return h.hashRows(names, cols, exact, from, out)
}

// hashStored hashes whole rows of the lake.
func (h *rowHasher) hashStored(names []string, rec arrow.RecordBatch, hasExact bool, out []keyindex.Hash) error {
	cols := make([]arrow.Array, len(names))
	for i, name := range names {
		cols[i] = rec.Column(rec.Schema().FieldIndices(name)[0])
	}
	var exact exactText
	if hasExact {
		texts := rec.Column(rec.Schema().FieldIndices(typemap.Exact)[0]).(*array.Map)
		exact = func(row, col int) (string, bool) { return mapText(texts, row, names[col]) }
	}
	return h.hashRows(names, cols, exact, 0, out)
}

// countCopies finds how many copies of each row there are. gone says of a place
// that the row there is deleted.
func (h *rowHasher) countCopies(ctx context.Context, change keyindex.Change, rows []keyindex.Hash, gone func(keyindex.Loc) (bool, error)) (*mirror.Counter, error) {
	count := mirror.NewCounter(len(rows))
	var (
		which  []int
		copies []int
		hashes []keyindex.Hash
		locs   []keyindex.Loc
	)
	for {
		which, copies, hashes = which[:0], copies[:0], hashes[:0]
		for i := range rows {
			if n, ok := count.Next(i); ok {
				which, copies, hashes = append(which, i), append(copies, n), append(hashes, h.copyHash(rows[i], n))
			}
		}
		if len(which) == 0 {
			return count, nil
		}
		locs = append(locs[:0], make([]keyindex.Loc, len(hashes))...)
		if err := change.Lookup(ctx, hashes, locs); err != nil {
			return nil, err
		}
		for k, i := range which {
			there := locs[k] != keyindex.Loc{}
			if there && gone != nil {
				deleted, err := gone(locs[k])
				if err != nil {
					return nil, err
				}
				there = !deleted
			}
			count.Found(i, copies[k], there)
		}
	}
}

// put files rows that lie one after the other from a place on, as further
// copies of what is there.
func (h *rowHasher) put(ctx context.Context, change keyindex.Change, rows []keyindex.Hash, loc func(i int) keyindex.Loc) error {
	first := make(map[keyindex.Hash]int, len(rows)) // of a row: its place in distinct
	var distinct []keyindex.Hash
	for _, r := range rows {
		if _, ok := first[r]; !ok {
			first[r] = len(distinct)
			distinct = append(distinct, r)
		}
	}
	count, err := h.countCopies(ctx, change, distinct, nil)
	if err != nil {
		return err
	}
	more := make([]int, len(distinct))
	entries := make([]keyindex.Entry, 0, len(rows))
	for i, r := range rows {
		if l := loc(i); l != (keyindex.Loc{}) {
			k := first[r]
			entries = append(entries, keyindex.Entry{Hash: h.copyHash(r, count.Count(k)+more[k]), Loc: l})
			more[k]++
		}
	}
	return change.Put(ctx, entries)
}

// bagApplication stages one run of batches of one shape in a mirror without a
// key.
type bagApplication struct {
	application
	bag  mirror.Multiset
	have *mirror.Counter // by class
	rows rowHasher
}

func (a *bagApplication) run() error {
	if err := a.reduce(); err != nil {
		return err
	}
	classes := a.bag.Classes()
	hashes := make([]keyindex.Hash, len(classes))
	for i := range classes {
		hashes[i] = classes[i].Hash
	}
	var err error
	a.have, err = a.rows.countCopies(a.ctx, a.m.change, hashes, func(l keyindex.Loc) (bool, error) {
		v, err := a.m.view(a.ctx, l.File)
		return err == nil && v.deleted(l.Row), err
	})
	if err != nil {
		return fmt.Errorf("looking up rows of %s: %w", &a.m.spec, err)
	}
	if err := a.bag.Check(a.have.Count); err != nil {
		return mismatchf("%v", err)
	}
	if err := a.take(); err != nil {
		return err
	}
	if err := a.add(); err != nil {
		return err
	}
	return a.m.change.Put(a.ctx, a.entries)
}

func (a *bagApplication) reduce() error {
	a.rows.hasher = a.m.hasher.hasher
	for bi, b := range a.batches {
		from := a.m.skipBefore(b)
		hashes := make([]keyindex.Hash, b.Len())
		if err := a.rows.hashBatch(a.m.table, b, from, hashes); err != nil {
			return stopf("report this as a bug of lakeload", "its rows cannot be hashed: %v", err)
		}
		for row := from; row < b.Len(); row++ {
			at := mirror.Ref{Batch: int32(bi), Row: int32(row)}
			switch op := b.Ops[row]; {
			case op == opSkipped:
			case op == cdc.OpInsert, op == cdc.OpUpdate && row > from && b.Ops[row-1] == cdc.OpBefore:
				a.bag.Insert(hashes[row], at)
			case op == cdc.OpDelete, op == cdc.OpBefore:
				a.bag.Delete(hashes[row], at)
			default:
				return stopf(remedyResync, "an update came without the old row, for a table without a key")
			}
		}
		for c, rows := range b.Unchanged {
			if len(rows) > 0 {
				return stopf(remedyResync, "the value of column %q was not sent, for a table without a key", b.Relation.Columns[c].Name)
			}
		}
	}
	return nil
}

// take marks the copies that go, the last ones of each row.
func (a *bagApplication) take() error {
	var hashes []keyindex.Hash
	for i, c := range a.bag.Classes() {
		for n := range c.Taken {
			hashes = append(hashes, a.rows.copyHash(c.Hash, a.have.Count(i)-1-n))
		}
	}
	locs := make([]keyindex.Loc, len(hashes))
	if err := a.m.change.Lookup(a.ctx, hashes, locs); err != nil {
		return fmt.Errorf("looking up rows of %s: %w", &a.m.spec, err)
	}
	for i, l := range locs {
		v, err := a.m.view(a.ctx, l.File)
		if err != nil {
			return err
		}
		v.kill(l.Row)
		a.m.staged = true
		a.entries = append(a.entries, keyindex.Entry{Hash: hashes[i]})
	}
	return nil
}

// add writes the rows that came, and files them as further copies.
func (a *bagApplication) add() error {
	type added struct {
		row  int32
		hash keyindex.Hash
	}
	perBatch := make([][]added, len(a.batches))
	for i, c := range a.bag.Classes() {
		for n, at := range c.Added {
			h := a.rows.copyHash(c.Hash, a.have.Count(i)-c.Taken+n)
			perBatch[at.Batch] = append(perBatch[at.Batch], added{at.Row, h})
		}
	}
	a.records = make([]arrow.RecordBatch, len(a.batches))
	out := a.m.newStager(a.ctx)
	defer out.abort()
	var runs []keyRun
	for bi, list := range perBatch {
		if len(list) == 0 {
			continue
		}
		slices.SortFunc(list, func(x, y added) int { return int(x.row) - int(y.row) })
		rows, hashes := make([]int32, len(list)), make([]keyindex.Hash, len(list))
		for i, x := range list {
			rows[i], hashes[i] = x.row, x.hash
		}
		rec, err := a.record(bi)
		if err != nil {
			return err
		}
		err = out.write(rec, rows, func(part []int, at place) error {
			runs = append(runs, keyRun{at, chosen(hashes, part)})
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := out.close(); err != nil {
		return err
	}
	for _, f := range out.done {
		a.m.views[a.m.index.FileID(f.add.Path)] = &fileView{add: f.add, staged: f}
	}
	for _, run := range runs {
		a.entries = appendEntries(a.entries, a.m.index, run)
	}
	return nil
}
