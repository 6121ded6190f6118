package lakehouse

import (
	"slices"

	"github.com/lakeload/lakeload/cdc"
)

// splitChunk divides a chunk into what is before a cut and what is not. reached
// is false where nothing says yet that the stream has passed the cut: before is
// then the chunk itself, and after nil. Else before ends at the cut exactly, and
// after is what remains, nil for nothing. It takes the chunk over. It is pure.
func splitChunk(c *cdc.Chunk, at cdc.LSN) (before, after *cdc.Chunk, reached bool) {
	reached = c.Cut >= at
	for i := range c.Items {
		reached = reached || rowsBefore(&c.Items[i], at) < itemRows(&c.Items[i])
	}
	if !reached {
		return c, nil, false
	}
	before, after = &cdc.Chunk{Cut: at}, &cdc.Chunk{Cut: max(c.Cut, at), CutTime: c.CutTime, Open: c.Open}
	var ended []cdc.LSN // of transactions that before holds
	all, first := 0, 0
	for i := range c.Items {
		it := &c.Items[i]
		k, n := rowsBefore(it, at), itemRows(it)
		all, first = all+n, first+k
		head, tail := *it, *it
		if it.Batch != nil {
			head.Batch, tail.Batch = sliceBatch(it.Batch, 0, k), sliceBatch(it.Batch, k, n)
		}
		if k > 0 {
			before.Items = append(before.Items, head)
			for _, t := range itemTxns(&head) {
				if ended = append(ended, t.Commit); t.Commit == slices.Max(ended) {
					before.CutTime = t.Time
				}
			}
		} else {
			head.Batch.Release()
		}
		if k < n {
			after.Items = append(after.Items, tail)
		} else {
			tail.Batch.Release()
		}
	}
	c.Release()
	slices.Sort(ended)
	before.Transactions = min(len(slices.Compact(ended)), c.Transactions)
	after.Transactions = c.Transactions - before.Transactions
	if all > 0 {
		before.Bytes = int64(float64(c.Bytes) * float64(first) / float64(all))
	}
	after.Bytes = c.Bytes - before.Bytes
	if len(after.Items) == 0 && after.Cut == at && !after.Open {
		before.CutTime, before.Bytes = c.CutTime, c.Bytes
		return before, nil, true
	}
	return before, after, true
}

// itemRows counts a TRUNCATE as a row.
func itemRows(it *cdc.Item) int {
	if it.Batch == nil {
		return 1
	}
	return it.Batch.Len()
}

// itemTxns are the transactions of an item, in their order.
func itemTxns(it *cdc.Item) (txns []cdc.Txn) {
	if it.Batch == nil {
		return []cdc.Txn{it.Truncate.Txn}
	}
	for _, span := range it.Batch.Txns {
		txns = append(txns, span.Txn)
	}
	return txns
}

// rowsBefore counts the rows of transactions before a cut: they come first.
func rowsBefore(it *cdc.Item, at cdc.LSN) int {
	if it.Batch == nil {
		if it.Truncate.Txn.Commit < at {
			return 1
		}
		return 0
	}
	for _, span := range it.Batch.Txns {
		if span.Txn.Commit >= at {
			return span.First
		}
	}
	return it.Batch.Len()
}
