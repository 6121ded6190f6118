package lakehouse

import (
	"context"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/typemap"
)

// marking tells in a changelog what a repair of its mirror has changed: rows
// that are so (_op 'R', as a copy reads them), and keys, or whole rows of a table
// without a key, that are not there ('D'). They are of no transaction: _seq is
// that of a copy's rows, _xid 0, and _commit_time null.
type marking struct {
	*changelogWriter
	rel   *cdc.Relation
	point cdc.LSN
	out   *stager
}

func newMarking(ctx context.Context, w *changelogWriter, rel *cdc.Relation, point cdc.LSN) *marking {
	return &marking{changelogWriter: w, rel: rel, point: point, out: w.newStager(ctx)}
}

// change is a batch of n rows of the repair, without columns.
func (k *marking) change(n int) *cdc.Batch {
	b := &cdc.Batch{Relation: k.rel, Ops: make([]cdc.Op, n), Seqs: make([]int64, n), Txns: []cdc.TxnSpan{{Txn: cdc.Txn{Commit: k.point}}}}
	for i := range b.Seqs {
		b.Seqs[i] = seqCopied(&k.spec.state)
	}
	return b
}

// is tells rows as the source has them.
func (k *marking) is(b *cdc.Batch, rows []int32) error {
	if err := k.adapt(b.Relation); err != nil {
		return err
	}
	if err := k.evolve(len(b.Exact) > 0); err != nil {
		return err
	}
	rec, err := k.record(b, changeColumns(k.change(b.Len()), opSnapshot))
	if err != nil {
		return err
	}
	defer rec.Release()
	return k.out.write(rec, rows, anywhere)
}

// evolve adds the column of exact texts.
func (k *marking) evolve(needed bool) error {
	if !needed || k.schema.Index(typemap.Exact) >= 0 {
		return nil
	}
	if err := k.out.finish(); err != nil {
		return err
	}
	return k.addExact()
}

// was tells rows of the mirror that the source does not have: their keys, or the
// whole rows where there are none.
func (k *marking) was(rec arrow.RecordBatch, rows []int32) error {
	if len(rows) == 0 {
		return nil
	}
	if err := k.adapt(k.rel); err != nil {
		return err
	}
	key := keyNames(k.rel)
	if err := k.evolve(rec.Schema().HasField(typemap.Exact)); err != nil {
		return err
	}
	n := int(rec.NumRows())
	own := changeColumns(k.change(n), "D")
	cols := make([]arrow.Array, k.arrow.NumFields())
	defer func() {
		for _, c := range cols {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i, f := range k.arrow.Fields() {
		at := rec.Schema().FieldIndices(f.Name)
		what, added := typemap.Added(&k.schema.Fields[i])
		switch {
		case added && what == f.Name:
			cols[i] = k.addedColumn(f.Name, n)
		case added: // it is derived when all others are there
		case len(at) == 1 && (f.Name == typemap.Exact || len(key) == 0 || slices.Contains(key, f.Name)) && arrow.TypeEqual(rec.Column(at[0]).DataType(), f.Type):
			cols[i] = rec.Column(at[0])
			cols[i].Retain()
		case k.own(f.Name) && f.Name != typemap.Exact:
			cols[i] = own(f, n)
		default:
			cols[i] = array.MakeArrayOfNull(memory.DefaultAllocator, f.Type, n)
		}
	}
	if err := k.derive(cols); err != nil {
		return err
	}
	out := array.NewRecordBatch(k.arrow, cols, int64(n))
	defer out.Release()
	return k.out.write(out, rows, anywhere)
}

func (k *marking) commit(ctx context.Context, point cdc.LSN) error {
	if !k.staged {
		return nil
	}
	x, err := k.begin(point, "WRITE")
	if err != nil {
		return err
	}
	for _, f := range k.files {
		x.Add(*f.add)
	}
	if _, err := x.Commit(ctx); err != nil {
		return k.commitError(ctx, err)
	}
	return nil
}
