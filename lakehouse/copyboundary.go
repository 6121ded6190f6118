package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/tablefmt"
)

// seqCopied is the _seq of the rows of a changelog that a copy or a repair has
// read: before every change at the same position, and after what copies before it
// have read there, as the source may have nothing new to tell between two.
func seqCopied(t *TableState) int64 { return -1_000_000_000 + 2*int64(t.Generation) }

// seqBoundary is the _seq of the row that a changelog gets when its table is
// copied again: after everything of before, and before the rows of the copy.
func seqBoundary(t *TableState) int64 { return seqCopied(t) - 1 }

// addBoundary has the commit that publishes a changelog's copy say that what the
// changelog told before is void, as after a TRUNCATE: rows that went while nobody
// told of them are in no copy. It stands where the copy was begun, as its rows do,
// or after it.
func (c *copyLog) addBoundary(ctx context.Context, x *tablefmt.Transaction, base, copied *tablefmt.Snapshot, cut cdc.LSN) error {
	at := cut
	if text := copied.Property(propBegun); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("publishing the copy of %s: its log says that it was begun at %q: %w", &c.spec, text, tablefmt.ErrCorrupt)
		}
		at = cdc.LSN(n)
	}
	t := &table{spec: c.spec, snap: base, parts: copied.Metadata().PartitionColumns}
	if err := t.setSchema(copied.Schema()); err != nil {
		return err
	}
	t.columns = make([]int, len(t.schema.Fields))
	for i := range t.columns {
		t.columns[i] = -1 // none of the source's has a value
	}
	b := &cdc.Batch{Ops: []cdc.Op{opTruncated}, Seqs: []int64{seqBoundary(&c.spec.state)}, Txns: []cdc.TxnSpan{{Txn: cdc.Txn{Commit: at}}}}
	rec, err := t.record(b, changeColumns(b, ""))
	if err != nil {
		return err
	}
	defer rec.Release()
	out := t.newStager(ctx)
	defer out.abort()
	if err := out.write(rec, []int32{0}, anywhere); err != nil {
		return err
	}
	if err := out.finish(); err != nil {
		return err
	}
	for _, f := range out.done {
		x.Add(*f.add)
	}
	return nil
}

// errTooEarly says that a copy has to wait for the stream, see toldUntil.
var errTooEarly = errors.New("the stream has not come to where the changelog is")

// toldUntil is the position up to which a table's changelog has told of changes; 0
// where it has none. A copy by ranges that began before it would tell of changes
// again that stand before the boundary: after a crash the stream may be behind a
// table, and comes to where it is by itself.
func (e *Engine) toldUntil(ctx context.Context, t *TableState) (until cdc.LSN, err error) {
	if !slices.Contains(t.Modes, ModeChangelog) {
		return 0, nil
	}
	spec := e.spec(t, ModeChangelog)
	snap, err := loadExisting(ctx, &spec)
	if err != nil || snap == nil {
		return 0, err
	}
	for txn := range snap.Txns() { // also of a table of before, whose name and changelog this one has
		if strings.HasPrefix(txn.AppID, spec.incarnation+"/") {
			until = max(until, cdc.LSN(txn.Version))
		}
	}
	return until, nil
}

// reached waits until every table shows what a copy waits for.
func (c *copier) reached(ctx context.Context) error {
	for done := false; !done; {
		select {
		case <-time.After(awaitedPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
		err := c.e.do(ctx, func(context.Context) error {
			done = c.e.shown >= c.e.awaited
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const awaitedPoll = 100 * time.Millisecond
