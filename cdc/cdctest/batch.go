package cdctest

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
)

// batch is a cdc.Batch in the making.
type batch struct {
	rel   *cdc.Relation
	b     *array.RecordBuilder
	ops   []cdc.Op
	seqs  []int64
	exact []cdc.Exact
	txns  []cdc.TxnSpan
	un    [][]int32
	bytes int64
	err   error
}

func newBatch(alloc memory.Allocator, rel *cdc.Relation) *batch {
	return &batch{rel: rel, b: array.NewRecordBuilder(alloc, rel.Arrow())}
}

// in says of which transaction the rows to come are.
func (b *batch) in(t cdc.Txn) {
	if n := len(b.txns); n == 0 || b.txns[n-1].Txn != t {
		b.txns = append(b.txns, cdc.TxnSpan{First: len(b.ops), Txn: t})
	}
}

// add puts an image; columns named in unchanged are not sent.
func (b *batch) add(op cdc.Op, row Row, unchanged []string, seq int64) {
	keyOnly := (op == cdc.OpBefore || op == cdc.OpDelete) && b.rel.Identity != cdc.IdentityFull
	for i := range b.rel.Columns {
		name := b.rel.Columns[i].Name
		v := row[name]
		switch {
		case keyOnly && !b.rel.IsKey(i):
			v = nil
		case slices.Contains(unchanged, name):
			v = nil
			if b.un == nil {
				b.un = make([][]int32, len(b.rel.Columns))
			}
			b.un[i] = append(b.un[i], int32(len(b.ops)))
		}
		if e, ok := v.(Exact); ok {
			b.exact = append(b.exact, cdc.Exact{Row: len(b.ops), Col: i, Text: string(e)})
		}
		if err := appendValue(b.b.Field(i), v); err != nil && b.err == nil {
			b.err = fmt.Errorf("%s.%s: %w", b.rel, name, err)
		}
		b.bytes += 16
		if s, ok := v.(string); ok {
			b.bytes += int64(len(s))
		}
	}
	b.ops = append(b.ops, op)
	b.seqs = append(b.seqs, seq)
}

// finish gives the batch, which the receiver releases.
func (b *batch) finish() (*cdc.Batch, error) {
	defer b.b.Release()
	if b.err != nil {
		return nil, b.err
	}
	return &cdc.Batch{
		Relation: b.rel, Rows: b.b.NewRecordBatch(), Ops: b.ops, Seqs: b.seqs, Txns: b.txns,
		Unchanged: b.un, Exact: b.exact,
	}, nil
}
