package lakehouse

import (
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/cdc"
)

// chunkRow is a row of a chunk with all that is told of it.
type chunkRow struct {
	id        int64
	txn       cdc.Txn
	seq       int64
	truncate  bool
	unchanged bool
	exact     string
	fault     string
}

func chunkRows(t require.TestingT, c *cdc.Chunk) (rows []chunkRow) {
	if c == nil {
		return nil
	}
	for _, it := range c.Items {
		if it.Truncate != nil {
			rows = append(rows, chunkRow{txn: it.Truncate.Txn, seq: it.Truncate.Seq, truncate: true})
			continue
		}
		b := it.Batch
		require.EqualValues(t, b.Len(), b.Rows.NumRows())
		require.Len(t, b.Seqs, b.Len())
		first := len(rows)
		for i := range b.Len() {
			rows = append(rows, chunkRow{id: b.Rows.Column(0).(*array.Int64).Value(i), txn: txnOf(b, i), seq: b.Seqs[i]})
		}
		for _, r := range b.Unchanged[0] {
			rows[first+int(r)].unchanged = true
		}
		for _, e := range b.Exact {
			rows[first+e.Row].exact = e.Text
		}
		for _, f := range b.Faults {
			rows[first+f.Row].fault = f.Reason
		}
	}
	return rows
}

// TestSplitChunk divides random chunks everywhere: nothing is lost, doubled or
// moved, what is before the cut is before it, and all memory is given back.
func TestSplitChunk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		rel := &cdc.Relation{OID: 1, Name: "t", Columns: []cdc.Column{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}}
		c := &cdc.Chunk{Bytes: 1000, Open: rapid.Bool().Draw(t, "open")}
		at, next := cdc.LSN(100), int64(0)
		txns := map[cdc.LSN]bool{}
		for range rapid.IntRange(0, 4).Draw(t, "items") {
			if rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
				at += 10
				txns[at] = true
				c.Items = append(c.Items, cdc.Item{Relation: rel, Truncate: &cdc.Truncate{Txn: cdc.Txn{Commit: at, Time: time.Unix(int64(at), 0)}, Seq: next}})
				continue
			}
			b := &cdc.Batch{Relation: rel, Unchanged: make([][]int32, 1)}
			ids := array.NewInt64Builder(mem)
			for row := range rapid.IntRange(1, 6).Draw(t, "rows") {
				if row == 0 || rapid.Bool().Draw(t, "another transaction") {
					if at == 100 || rapid.Bool().Draw(t, "not the same") {
						at += 10
					}
					txns[at] = true
					b.Txns = append(b.Txns, cdc.TxnSpan{First: row, Txn: cdc.Txn{Commit: at, Time: time.Unix(int64(at), 0)}})
				}
				ids.Append(next)
				b.Ops, b.Seqs = append(b.Ops, cdc.OpInsert), append(b.Seqs, next)
				if next++; rapid.Bool().Draw(t, "unchanged") {
					b.Unchanged[0] = append(b.Unchanged[0], int32(row))
				}
				if rapid.Bool().Draw(t, "exact") {
					b.Exact = append(b.Exact, cdc.Exact{Row: row, Text: fmt.Sprint("exact ", next)})
				}
				if rapid.Bool().Draw(t, "fault") {
					b.Faults = append(b.Faults, cdc.Fault{Row: row, Reason: fmt.Sprint("fault ", next)})
				}
			}
			col := ids.NewArray()
			b.Rows = array.NewRecordBatch(rel.Arrow(), []arrow.Array{col}, int64(col.Len()))
			col.Release()
			c.Items = append(c.Items, cdc.Item{Relation: rel, Batch: b})
		}
		c.Transactions = len(txns)
		c.Cut, c.CutTime = at+5, time.Unix(int64(at), 0)
		if c.Open && len(txns) > 0 {
			c.Cut, c.Transactions = at-5, c.Transactions-1
		}
		cut := cdc.LSN(rapid.IntRange(90, int(at)+20).Draw(t, "cut"))
		want, all, txnsAll, bytes, end := chunkRows(t, c), c, c.Transactions, c.Bytes, c.Cut

		before, after, reached := splitChunk(all, cut)
		got := append(chunkRows(t, before), chunkRows(t, after)...)
		require.Equal(t, want, got)
		for _, r := range chunkRows(t, before) {
			require.Less(t, r.txn.Commit, cut)
		}
		require.Equal(t, end >= cut || len(want) > 0 && want[len(want)-1].txn.Commit >= cut, reached)
		if reached {
			require.Equal(t, cut, before.Cut)
			require.False(t, before.Open, "what is before a cut is whole transactions")
			for _, r := range chunkRows(t, after) {
				require.GreaterOrEqual(t, r.txn.Commit, cut)
			}
			transactions, size := before.Transactions, before.Bytes
			if after != nil {
				transactions, size = transactions+after.Transactions, size+after.Bytes
				require.Equal(t, max(end, cut), after.Cut)
				after.Release()
			}
			require.Equal(t, []int64{int64(txnsAll), bytes}, []int64{int64(transactions), size})
		}
		before.Release()
		mem.AssertSize(panics{t}, 0)
	})
}

// panics lets an allocator tell its leaks.
type panics struct{ *rapid.T }

func (p panics) Helper() {}
