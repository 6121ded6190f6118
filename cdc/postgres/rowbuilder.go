package postgres

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
)

// minRows is the number of rows for which a builder makes room at first. It is
// small because a chunk may touch thousands of tables.
const minRows = 32

// batchBuilder makes batches of one relation from values as PostgreSQL sends
// them. It is what the stream and COPY have in common: one value becomes the
// same bytes whichever way, and in whichever format, it arrived.
//
// A batch is made by beginTxn, then for each row an append call for every
// column in ascending order and endRow, and finish at the end. After an error
// of an append call the builder can only be dropped by discard. It is not safe
// for concurrent use.
type batchBuilder struct {
	rel    *cdc.Relation
	schema *arrow.Schema
	mem    memory.Allocator
	cols   []column

	n        int // rows that are complete
	capacity int // rows for which there is room in the columns
	hint     int // room to make at first, by what the batches before needed
	rowWidth int // bytes that a row takes without its strings
	varBytes int64
	ops      []cdc.Op
	seqs     []int64
	txns     []cdc.TxnSpan
	exact    []cdc.Exact
	faults   []cdc.Fault
	// anyUnchanged says that some column has unchanged values.
	anyUnchanged bool
	scratch      []byte
}

// newBatchBuilder makes an empty builder for rows of rel, whose columns are
// decoded as cols says. The batches' memory comes from mem.
func newBatchBuilder(rel *cdc.Relation, cols []columnType, mem memory.Allocator) *batchBuilder {
	b := &batchBuilder{rel: rel, schema: rel.Arrow(), mem: mem, cols: make([]column, len(cols)), hint: minRows, rowWidth: 9}
	for i, t := range cols {
		b.cols[i] = newColumn(t)
		b.rowWidth += b.cols[i].rowWidth()
	}
	return b
}

// rows is the number of complete rows since the last finish.
func (b *batchBuilder) rows() int { return b.n }

// bytes is roughly the memory that those rows take.
func (b *batchBuilder) bytes() int64 { return int64(b.n)*int64(b.rowWidth) + b.varBytes }

// beginTxn says that the rows from here on belong to t. It is called before
// the first row of every batch.
func (b *batchBuilder) beginTxn(t cdc.Txn) {
	if b.capacity == 0 {
		b.grow(b.hint)
	}
	if k := len(b.txns); k > 0 && b.txns[k-1].First == b.n {
		b.txns[k-1].Txn = t
		return
	}
	b.txns = append(b.txns, cdc.TxnSpan{First: b.n, Txn: t})
}

// appendNull puts NULL into a column of the row that is being made.
func (b *batchBuilder) appendNull(col int) { b.cols[col].setNull(b.n) }

// appendUnchanged says that the source did not send the column's value
// because it did not change.
func (b *batchBuilder) appendUnchanged(col int) {
	c := &b.cols[col]
	c.setNull(b.n)
	c.unchanged = append(c.unchanged, int32(b.n))
	b.anyUnchanged = true
}

// appendExact puts a value that the column's type cannot hold.
func (b *batchBuilder) appendExact(col int, text string) {
	c := &b.cols[col]
	c.setNull(b.n)
	b.exact = append(b.exact, cdc.Exact{Row: b.n, Col: col, Text: text})
	b.varBytes += int64(len(text)) + 32
	if c.policy == PolicyStop {
		b.faults = append(b.faults, stopFault(b.rel, b.n, col, text))
	}
}

// endRow completes a row.
func (b *batchBuilder) endRow(op cdc.Op, seq int64) {
	if len(b.faults) > 0 && (op == cdc.OpBefore || op == cdc.OpDelete) {
		// The value is on its way out, and its row could not have come in but
		// under another policy.
		for k := len(b.faults); k > 0 && b.faults[k-1].Row == b.n; k-- {
			b.faults = b.faults[:k-1]
		}
	}
	b.ops = append(b.ops, op)
	b.seqs = append(b.seqs, seq)
	b.n++
	if b.n == b.capacity {
		b.grow(2 * b.capacity)
	}
}

// grow makes room for rows rows.
func (b *batchBuilder) grow(rows int) {
	for i := range b.cols {
		b.cols[i].reserve(b.mem, rows)
	}
	if cap(b.ops) < rows {
		b.ops = append(make([]cdc.Op, 0, rows), b.ops...)
		b.seqs = append(make([]int64, 0, rows), b.seqs...)
	}
	b.capacity = rows
}

// finish hands out the complete rows as a batch, which the caller owns, and
// starts the next one. Nil where there is no row.
func (b *batchBuilder) finish() *cdc.Batch {
	if b.n == 0 {
		b.discard()
		return nil
	}
	out := &cdc.Batch{Relation: b.rel, Ops: b.ops, Seqs: b.seqs, Txns: b.txns, Exact: b.exact, Faults: b.faults}
	arrays := make([]arrow.Array, len(b.cols))
	for i := range b.cols {
		arrays[i] = b.cols[i].finish(b.n)
	}
	out.Rows = array.NewRecordBatch(b.schema, arrays, int64(b.n))
	for _, a := range arrays {
		a.Release()
	}
	if b.anyUnchanged {
		out.Unchanged = make([][]int32, len(b.cols))
		for i := range b.cols {
			out.Unchanged[i] = b.cols[i].unchanged
		}
	}
	b.hint = max(minRows, b.n+1)
	b.reset()
	return out
}

// discard drops what has been appended and its memory.
func (b *batchBuilder) discard() {
	for i := range b.cols {
		b.cols[i].discard()
	}
	b.reset()
}

func (b *batchBuilder) reset() {
	for i := range b.cols {
		b.cols[i] = b.cols[i].fresh() // the next batch may well be like this one
	}
	b.n, b.capacity, b.varBytes, b.anyUnchanged = 0, 0, 0, false
	b.ops, b.seqs, b.txns, b.exact, b.faults = nil, nil, nil, nil, nil
	if cap(b.scratch) > 1<<20 {
		b.scratch = nil // a huge value's; the next may be far away
	}
}

// valueError says which column's value could not be decoded.
func (b *batchBuilder) valueError(col int, form string, v []byte, err error) error {
	c := &b.rel.Columns[col]
	return fmt.Errorf("decoding column %q of %s (%s, %d bytes in %s form): %w", c.Name, b.rel, c.SourceType, len(v), form, err)
}
