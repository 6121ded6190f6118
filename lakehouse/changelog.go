package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
)

// The operations of a changelog's rows, in its column _op: those of cdc.Op,
// and two that are not images of a changed row.
const (
	opSnapshot = "R" // a row as the initial copy read it
	opTruncate = "T" // the table was emptied, or (_xid 0) is copied again; all source columns are null
)

// changelogWriter appends every change to a table that is never rewritten.
type changelogWriter struct {
	*table
}

func (w *changelogWriter) Apply(ctx context.Context, items []cdc.Item) error {
	var batches []*cdc.Batch
	for i := range items {
		it := &items[i]
		if it.Truncate != nil {
			if it.Truncate.Txn.Commit >= w.past() {
				batches = append(batches, truncateBatch(it.Relation, it.Truncate))
			}
			continue
		}
		if w.skipBefore(it.Batch) < it.Batch.Len() {
			if err := faultError(it.Batch, w.skipBefore(it.Batch)); err != nil {
				return err
			}
			batches = append(batches, it.Batch)
		}
	}
	if len(batches) == 0 {
		return nil
	}
	for len(batches) > 0 {
		n := 1
		for n < len(batches) && batches[n].Relation.SameColumns(batches[0].Relation) {
			n++
		}
		if err := w.adapt(batches[0].Relation); err != nil {
			return err
		}
		if err := w.needExact(batches[:n]); err != nil {
			return err
		}
		if err := w.write(ctx, batches[:n]); err != nil {
			return err
		}
		batches = batches[n:]
	}
	return nil
}

func (w *changelogWriter) follow(_ context.Context, rel *cdc.Relation) error { return w.adapt(rel) }

func (w *changelogWriter) write(ctx context.Context, batches []*cdc.Batch) error {
	out := w.newStager(ctx)
	defer out.abort()
	for _, b := range batches {
		if err := w.adapt(b.Relation); err != nil {
			return err
		}
		rows := rowsFrom(w.skipBefore(b), b.Len())
		rows = slices.DeleteFunc(rows, func(row int32) bool { return b.Ops[row] == opSkipped || b.Ops[row] == opGone })
		if len(rows) == 0 {
			continue
		}
		rec, err := w.record(b, changeColumns(b, ""))
		if err != nil {
			return err
		}
		err = out.write(rec, rows, anywhere)
		rec.Release()
		if err != nil {
			return err
		}
	}
	return out.close()
}

// changeColumns gives the columns that tell of the change itself. A fixed op
// stands in all rows, if it is given.
func changeColumns(b *cdc.Batch, op string) func(f arrow.Field, rows int) arrow.Array {
	return func(f arrow.Field, rows int) arrow.Array {
		switch f.Name {
		case typemap.ColOp:
			return buildStrings(rows, func(i int) string {
				if op != "" {
					return op
				}
				return opName(b.Ops[i])
			})
		case typemap.ColLSN:
			return buildInts(b, func(_ int, t *cdc.Txn) int64 { return int64(t.Commit) })
		case typemap.ColSeq:
			return buildInts(b, func(i int, _ *cdc.Txn) int64 { return b.Seqs[i] })
		case typemap.ColXID:
			return buildInts(b, func(_ int, t *cdc.Txn) int64 { return int64(t.XID) })
		case typemap.ColCommitTime:
			return buildTimes(b)
		default:
			return buildUnchanged(f.Type, b)
		}
	}
}

// opTruncated marks the only row of a batch that stands for a TRUNCATE. It is
// not an operation of the contract: such a batch is made here and stays here.
const opTruncated cdc.Op = 'T'

func opName(op cdc.Op) string {
	switch op {
	case cdc.OpInsert:
		return "I"
	case cdc.OpUpdate:
		return "U"
	case cdc.OpBefore:
		return "B"
	case opTruncated:
		return opTruncate
	case opPlaced:
		return opSnapshot
	default:
		return "D"
	}
}

// eachTxn calls f for every row with its transaction.
func eachTxn(b *cdc.Batch, f func(row int, t *cdc.Txn)) {
	for s := range b.Txns {
		end := b.Len()
		if s+1 < len(b.Txns) {
			end = b.Txns[s+1].First
		}
		for row := b.Txns[s].First; row < end; row++ {
			f(row, &b.Txns[s].Txn)
		}
	}
}

func buildStrings(rows int, value func(i int) string) arrow.Array {
	sb := array.NewStringBuilder(memory.DefaultAllocator)
	defer sb.Release()
	sb.Reserve(rows)
	for i := range rows {
		sb.Append(value(i))
	}
	return sb.NewArray()
}

func buildInts(b *cdc.Batch, value func(row int, t *cdc.Txn) int64) arrow.Array {
	ib := array.NewInt64Builder(memory.DefaultAllocator)
	defer ib.Release()
	ib.Reserve(b.Len())
	eachTxn(b, func(row int, t *cdc.Txn) { ib.UnsafeAppend(value(row, t)) })
	return ib.NewArray()
}

func buildTimes(b *cdc.Batch) arrow.Array {
	tb := array.NewTimestampBuilder(memory.DefaultAllocator, arrow.FixedWidthTypes.Timestamp_us.(*arrow.TimestampType))
	defer tb.Release()
	tb.Reserve(b.Len())
	eachTxn(b, func(_ int, t *cdc.Txn) {
		if t.Time.IsZero() {
			tb.AppendNull()
			return
		}
		tb.UnsafeAppend(arrow.Timestamp(t.Time.UnixMicro()))
	})
	return tb.NewArray()
}

func buildUnchanged(typ arrow.DataType, b *cdc.Batch) arrow.Array {
	if b.Unchanged == nil {
		return array.MakeArrayOfNull(memory.DefaultAllocator, typ, b.Len())
	}
	names := make(map[int32][]string)
	for c, rows := range b.Unchanged {
		for _, r := range rows {
			names[r] = append(names[r], b.Relation.Columns[c].Name)
		}
	}
	lb := array.NewListBuilderWithField(memory.DefaultAllocator, typ.(*arrow.ListType).ElemField())
	defer lb.Release()
	values := lb.ValueBuilder().(*array.StringBuilder)
	for row := range int32(b.Len()) {
		if len(names[row]) == 0 {
			lb.AppendNull()
			continue
		}
		lb.Append(true)
		for _, n := range names[row] {
			values.Append(n)
		}
	}
	return lb.NewArray()
}

// truncateBatch is one row, all null, that stands for a TRUNCATE.
func truncateBatch(rel *cdc.Relation, t *cdc.Truncate) *cdc.Batch {
	schema := rel.Arrow()
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rb.Release()
	for _, f := range rb.Fields() {
		f.AppendNull()
	}
	return &cdc.Batch{
		Relation: rel, Rows: rb.NewRecordBatch(),
		Ops: []cdc.Op{opTruncated}, Seqs: []int64{t.Seq}, Txns: []cdc.TxnSpan{{Txn: t.Txn}},
	}
}

func (w *changelogWriter) Commit(ctx context.Context, cut cdc.LSN) (bool, error) {
	if !w.staged {
		return false, nil
	}
	x, err := w.begin(cut, "WRITE")
	if err != nil {
		return false, err
	}
	for _, f := range w.files {
		x.Add(*f.add)
	}
	snap, err := x.Commit(ctx)
	if err != nil {
		return false, w.commitError(ctx, err)
	}
	return true, w.committed(snap, cut)
}

func (w *changelogWriter) Rollback() { w.forget() }

func (w *changelogWriter) Close() error { return nil }

// commitError says what a failed commit of a fed table means (I4).
func (t *table) commitError(ctx context.Context, err error) error {
	var c *tablefmt.ConflictError
	switch {
	case !errors.As(err, &c):
		return fmt.Errorf("committing to %s: %w", &t.spec, err)
	case c.Reason == tablefmt.ConflictTxn:
		return &Error{
			Op: "committing to a table of the lake", Object: t.spec.String(), Kind: KindConflict, Err: err,
			Remedy: "another engine feeds the same pipeline: find it and stop it",
		}
	}
	return t.overtaken(ctx, c)
}

// overtaken says what it means that another commit was faster: the flush is made again
// on the table as it is now, where it has changed no rows and no columns, and the
// commits after it are judged then.
func (t *table) overtaken(ctx context.Context, c *tablefmt.ConflictError) error {
	actions, err := tablefmt.ReadCommit(ctx, t.spec.loc, c.Version)
	kept := false
	if err == nil {
		if ours(actions, t.spec.appPrefix()) {
			return fmt.Errorf("committing to %s: %w: %w", &t.spec, errRearranged, c)
		}
		kept, err = onlyKeeps(ctx, &t.spec, c.Version, actions)
	}
	switch {
	case kept:
		return fmt.Errorf("committing to %s: %w: %w", &t.spec, errKeptOtherwise, c)
	case err != nil && passes(err):
		return fmt.Errorf("committing to %s: another program was faster: %w", &t.spec, err)
	}
	return t.spec.foreign("another program wrote to its table: committing to %s: %v", &t.spec, c)
}
