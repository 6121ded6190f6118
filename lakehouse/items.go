package lakehouse

import (
	"slices"

	"github.com/lakeload/lakeload/cdc"
)

// Operations of row images that are made here and stay here, beside opSkipped
// and opTruncated: a row put in place of whatever has its key, and a key of
// which there is to be no row any more.
const (
	opPlaced cdc.Op = 'P'
	opGone   cdc.Op = 'G'
)

// retainItem gives an item with the rows from one on, which lives on when the
// chunk that it came with is released.
func retainItem(it cdc.Item, from int) cdc.Item {
	if it.Batch == nil {
		return it
	}
	b := sliceBatch(it.Batch, from, it.Batch.Len())
	return cdc.Item{Relation: it.Relation, Batch: b}
}

// sliceBatch gives the rows from..to of a batch. It holds a reference of its
// own to their memory.
func sliceBatch(b *cdc.Batch, from, to int) *cdc.Batch {
	out := &cdc.Batch{Relation: b.Relation, Rows: b.Rows.NewSlice(int64(from), int64(to)), Ops: b.Ops[from:to], Seqs: b.Seqs[from:to]}
	for i, span := range b.Txns {
		if end := i + 1; end < len(b.Txns) && b.Txns[end].First <= from || span.First >= to {
			continue
		}
		out.Txns = append(out.Txns, cdc.TxnSpan{First: max(0, span.First-from), Txn: span.Txn})
	}
	for _, e := range b.Exact {
		if from <= e.Row && e.Row < to {
			e.Row -= from
			out.Exact = append(out.Exact, e)
		}
	}
	for _, f := range b.Faults {
		if from <= f.Row && f.Row < to {
			f.Row -= from
			out.Faults = append(out.Faults, f)
		}
	}
	if b.Unchanged != nil {
		out.Unchanged = make([][]int32, len(b.Unchanged))
		for c, rows := range b.Unchanged {
			i, _ := slices.BinarySearch(rows, int32(from))
			j, _ := slices.BinarySearch(rows, int32(to))
			for _, r := range rows[i:j] {
				out.Unchanged[c] = append(out.Unchanged[c], r-int32(from))
			}
		}
	}
	return out
}

// txnOf is the transaction of a row.
func txnOf(b *cdc.Batch, row int) (t cdc.Txn) {
	for _, span := range b.Txns {
		if span.First > row {
			break
		}
		t = span.Txn
	}
	return t
}

func releaseItems(items []cdc.Item) {
	for i := range items {
		items[i].Batch.Release()
	}
}

// itemBytes is roughly the memory that an item holds.
func itemBytes(it cdc.Item) int64 {
	if it.Batch == nil {
		return 64
	}
	size := int64(it.Batch.Len()) * 16
	for _, c := range it.Batch.Rows.Columns() {
		size += int64(c.Data().SizeInBytes())
	}
	return size
}
