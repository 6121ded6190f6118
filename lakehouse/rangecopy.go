package lakehouse

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/tablefmt"
)

// rangeCopy is the copy of a table by ranges of its key, beside the stream.
//
// The table's writers work on the copy's log. Readers, on goroutines of the
// copier, read ranges into data files; the flusher takes in what they have
// read, applies the table's changes to it as its gate says, and commits both
// to the copy's log with the position that they have reached. When every range
// is read and the stream has passed all views, the flusher publishes the copy
// as the table's content.
type rangeCopy struct {
	rel    *cdc.Relation
	ranges cdc.KeyRanges
	begun  time.Time

	// readers end with life: the copy is begun again, or the session ends.
	life context.Context //nolint:containedctx // of the goroutines that read for this copy
	stop context.CancelFunc

	mu       sync.Mutex // guards what the readers share with the flusher
	gate     *rangeGate
	finished []*rangeRead // read, and not taken in yet
	low      cdc.LSN      // what was sieved has reached this position
	// Why life has ended: the copy is the table's content, or has to begin
	// again for a reason; neither where the session has ended.
	published bool
	why       error

	targets []rangeTarget // one for each writer, for the readers; never changed

	heldBytes atomic.Int64
	read      atomic.Int64 // rows that the readers have read
	rows      atomic.Int64 // taken in

	// What follows is the flusher's alone.
	held   []cdc.Item // changes that wait for a range to be read
	holds  cdc.Txn    // the transaction that held begins with
	seen   cdc.Txn    // the last transaction of which something was sieved
	hasher keyHasher
}

// rangeTarget is what a reader has to know of a table of the lake.
type rangeTarget struct {
	spec tableSpec
	log  *tablefmt.Snapshot // of the copy, as it was when the copy was taken up
}

// rangeRead is a range that was read into data files.
type rangeRead struct {
	index int
	view  cdc.View
	rows  int64
	outs  []rangeFiles // one for each of the table's writers
}

// rangeFiles are the files of a range in one table of the lake.
type rangeFiles struct {
	files  []*stagedFile
	schema *tablefmt.Schema // that they were written with
	runs   []keyRun
}

// expected is what the copy is to hold, by the source's estimate; 0 for no copy.
func (c *rangeCopy) expected() (rows, bytes int64) {
	if c == nil {
		return 0, 0
	}
	return estimated(func(yield func(cdc.Range) bool) {
		for i := range c.ranges.Len() {
			if !yield(c.ranges.Range(i)) {
				return
			}
		}
	})
}

func newRangeCopy(rel *cdc.Relation, ranges cdc.KeyRanges, at cdc.LSN) *rangeCopy {
	c := &rangeCopy{rel: rel, ranges: ranges, gate: newRangeGate(ranges, at), low: at, begun: time.Now()}
	c.life, c.stop = context.WithCancel(context.Background())
	return c
}

// The marks by which a copy's log tells what was read, among its txn actions:
// the number of a range, or the hash of a key, and the view. Their version is
// the view's horizon.
const (
	markRange = "lakeload.range/"
	markPoint = "lakeload.point/"
)

// restore takes up what the copy's logs tell. They have to tell the same: a
// crash between the commits of two of them leaves the copy of no use.
func (c *rangeCopy) restore(writers []writer) error {
	found := make([]int, len(writers))
	for n, w := range writers {
		for txn := range w.Snapshot().Txns() {
			what, view, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(txn.AppID, markRange), markPoint), "/")
			isRange, isPoint := strings.HasPrefix(txn.AppID, markRange), strings.HasPrefix(txn.AppID, markPoint)
			if !isRange && !isPoint {
				continue
			}
			found[n]++
			v, err := cdc.ParseView(view)
			if err == nil {
				err = c.restoreMark(isRange, what, v)
			}
			if err != nil {
				return fmt.Errorf("the log of the copy of %s has the mark %q: %w: %w", c.rel, txn.AppID, tablefmt.ErrCorrupt, err)
			}
		}
	}
	if slices.ContainsFunc(found, func(n int) bool { return n != c.gate.marks() }) {
		return fmt.Errorf("the logs of the copy of %s tell different ranges: %w", c.rel, cdc.ErrTableChanged)
	}
	return nil
}

func (c *rangeCopy) restoreMark(isRange bool, what string, v cdc.View) error {
	if isRange {
		i, err := strconv.Atoi(what)
		if err != nil || i < 0 || i >= c.ranges.Len() {
			return fmt.Errorf("there is no range %q", what)
		}
		c.gate.done(i, v)
		return nil
	}
	h, err := hex.DecodeString(what)
	if err != nil || len(h) != len(keyindex.Hash{}) {
		return fmt.Errorf("%q is no hash of a key", what)
	}
	c.gate.point(keyindex.Hash(h), v)
	return nil
}

// takeIn stages what the readers have read.
func (c *rangeCopy) takeIn(ctx context.Context, t *fedTable) error {
	c.mu.Lock()
	finished := c.finished
	c.finished = nil
	c.mu.Unlock()
	for _, r := range finished {
		for i, w := range t.writers {
			if err := w.(copying).include(ctx, &r.outs[i], c.mark(r.index, r.view), r.view); err != nil {
				return err
			}
		}
		c.mu.Lock()
		c.gate.done(r.index, r.view)
		c.mu.Unlock()
		c.rows.Add(r.rows)
	}
	return nil
}

func (c *rangeCopy) mark(i int, v cdc.View) string {
	return markRange + strconv.Itoa(i) + "/" + v.String()
}

// copying is what the writers of a table that is being copied can do besides.
type copying interface {
	writer
	// adopt stages files that a reader has written, and the mark that tells of
	// it.
	include(ctx context.Context, in *rangeFiles, mark string, v cdc.View) error
	// note stages a mark alone.
	note(mark string, v cdc.View)
	// move makes the writer go on with the table that its copy was published
	// as.
	move(ctx context.Context, spec tableSpec, snap *tablefmt.Snapshot, cut cdc.LSN) error
}

// apply stages the table's changes as the gate says, those that were held
// before first. cut is the position that items reach.
func (c *rangeCopy) apply(ctx context.Context, t *fedTable, items []cdc.Item, source cdc.KeyReader) error {
	if c.givenUp() {
		return nil
	}
	if err := c.takeIn(ctx, t); err != nil {
		return err
	}
	old := len(c.held)
	all := append(c.held[:old:old], items...)
	out, more, err := c.sieve(ctx, t, all, source)
	if err != nil || out.again {
		return err
	}
	defer releaseItems(more)
	for _, w := range t.writers {
		if err := w.Apply(ctx, append(more[:len(more):len(more)], out.apply...)); err != nil {
			return err
		}
	}
	c.keep(all, old, &out)
	return nil
}

// sieve asks the gate, and reads again the rows that it wants to be inserted
// and that came without all of their values. more are those.
func (c *rangeCopy) sieve(ctx context.Context, t *fedTable, items []cdc.Item, source cdc.KeyReader) (out sieved, more []cdc.Item, err error) {
	if c.otherKey(items) {
		c.giveUp(fmt.Errorf("its key changed: %w", cdc.ErrTableChanged))
		return sieved{again: true}, nil, nil
	}
	for {
		c.mu.Lock()
		out = c.gate.sieve(items, c.hash)
		c.mu.Unlock()
		if out.again {
			releaseItems(more)
			c.giveUp(errEmptied)
			return out, nil, nil
		}
		b, row, txn := incomplete(out.apply)
		if b == nil {
			return out, more, nil
		}
		it, v, err := c.readAgain(ctx, source, b, row, txn)
		if err != nil {
			releaseItems(more)
			return out, nil, err
		}
		more = append(more, it)
		h := c.hash(b, row)
		c.mu.Lock()
		c.gate.point(h, v)
		c.mu.Unlock()
		for _, w := range t.writers {
			w.(copying).note(fmt.Sprintf("%s%x/%s", markPoint, h, v), v)
		}
	}
}

// otherKey reports whether rows are identified by other columns than those that
// the ranges are of: which range they belong to cannot be told.
func (c *rangeCopy) otherKey(items []cdc.Item) bool {
	return slices.ContainsFunc(items, func(it cdc.Item) bool {
		if it.Batch == nil || txnOf(it.Batch, it.Batch.Len()-1).Commit < c.gate.from {
			return false
		}
		rel := it.Batch.Relation
		return len(rel.Key) != len(c.rel.Key) || !slices.EqualFunc(rel.Key, c.rel.Key, func(i, k int) bool {
			a, b := &rel.Columns[i], &c.rel.Columns[k]
			return (a.Name == b.Name || a.ID == b.ID && a.ID != 0) && arrow.TypeEqual(a.Type, b.Type)
		})
	})
}

// incomplete finds a row that is to be inserted without all of its values: it
// moved here, by a change of its key, from a range of which nothing is here.
func incomplete(items []cdc.Item) (b *cdc.Batch, row int, txn cdc.Txn) {
	for _, it := range items {
		for _, rows := range it.Batch.Unchanged {
			for _, r := range rows {
				if it.Batch.Ops[r] == cdc.OpInsert {
					return it.Batch, int(r), txnOf(it.Batch, int(r))
				}
			}
		}
	}
	return nil, 0, txn
}

// readAgain reads the row of a key under a view that holds txn. The item puts
// it in place of whatever the lake has, or takes that out.
func (c *rangeCopy) readAgain(ctx context.Context, source cdc.KeyReader, b *cdc.Batch, row int, txn cdc.Txn) (cdc.Item, cdc.View, error) {
	var found *cdc.Batch
	v, err := c.viewOf(ctx, source, txn, func(r cdc.KeyRead) error {
		return r.Row(ctx, b, row, func(got *cdc.Batch) error {
			found.Release()
			found = got
			return nil
		})
	})
	if err != nil {
		found.Release()
		return cdc.Item{}, v, fmt.Errorf("reading again a row of %s whose key has changed: %w", c.rel, err)
	}
	if found == nil {
		gone := *b
		gone.Rows.Retain()
		gone.Ops = make([]cdc.Op, b.Len())
		gone.Ops[row] = opGone
		return cdc.Item{Relation: b.Relation, Batch: &gone}, v, nil
	}
	found.Relation, found.Ops = b.Relation, []cdc.Op{opPlaced}
	found.Seqs, found.Txns = []int64{b.Seqs[row]}, []cdc.TxnSpan{{Txn: txn}}
	return cdc.Item{Relation: b.Relation, Batch: found}, v, nil
}

// viewOf reads under a view that holds txn, whose commit may not be visible
// yet.
func (c *rangeCopy) viewOf(ctx context.Context, source cdc.KeyReader, txn cdc.Txn, read func(cdc.KeyRead) error) (cdc.View, error) {
	for {
		r, err := source.BeginRead(ctx, c.rel, c.ranges)
		if err != nil {
			return cdc.View{}, err
		}
		v, err := r.View(ctx)
		if err == nil && v.Holds(txn) {
			err = read(r)
			if closeErr := r.Close(); err == nil {
				err = closeErr
			}
			return v, err
		}
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return v, err
		}
		select {
		case <-time.After(unseenPause):
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
}

// unseenPause is the time after which it is looked again for a commit that is
// in the log and not visible.
const unseenPause = 50 * time.Millisecond

// hash is the hash of a row image's key.
func (c *rangeCopy) hash(b *cdc.Batch, row int) keyindex.Hash {
	out := make([]keyindex.Hash, row+1)
	if err := c.hasher.hashRows(keyColumns(b), exactOf(b), row, out); err != nil {
		return keyindex.Hash{} // the writers say so
	}
	return out[row]
}

// keep holds what the gate did not let through. all are old held items, then
// new ones.
func (c *rangeCopy) keep(all []cdc.Item, old int, out *sieved) {
	var held []cdc.Item
	bytes := int64(0)
	for i := out.from; i < len(all); i++ {
		from := 0
		if i == out.from {
			from = out.row
		}
		it := retainItem(all[i], from)
		held = append(held, it)
		bytes += itemBytes(it)
	}
	releaseItems(all[:old])
	if last := lastTxn(all, out); last.Commit != 0 {
		c.seen = last
	}
	c.held, c.holds = held, out.holds
	c.heldBytes.Store(bytes)
	c.mu.Lock()
	c.low = max(c.low, c.seen.Commit)
	c.mu.Unlock()
}

// lastTxn is the last transaction of which something was let through.
func lastTxn(all []cdc.Item, out *sieved) (t cdc.Txn) {
	for i := min(out.from, len(all)-1); i >= 0; i-- {
		it := all[i]
		switch {
		case i == out.from && out.row == 0:
			continue
		case it.Truncate != nil:
			return it.Truncate.Txn
		}
		for _, span := range it.Batch.Txns {
			if i < out.from || span.First < out.row {
				t = span.Txn
			}
		}
		return t
	}
	return t
}

// commitAt is the position that a commit of what is staged shows, where the
// flush has reached cut: all of the table's changes before it are applied, and
// none after. Not ok where a part of a transaction is staged whose rest is
// held.
func (c *rangeCopy) commitAt(cut cdc.LSN) (at cdc.LSN, ok bool) {
	if len(c.held) == 0 {
		return cut, true
	}
	return c.holds.Commit, c.holds.Commit != c.seen.Commit
}

// commit makes what is staged durable in the copy's logs, as far as it is
// whole.
func (c *rangeCopy) commit(ctx context.Context, t *fedTable, cut cdc.LSN) error {
	at, ok := c.commitAt(cut)
	if !ok || c.givenUp() {
		return nil
	}
	for _, w := range t.writers {
		// The stream may have gone back for another table, or for another of the
		// writers; what is before a writer's position it skips.
		if _, err := w.Commit(ctx, max(at, w.Position())); err != nil {
			return err
		}
	}
	crashpoint.At(crashpoint.CopyRangeLogged)
	return nil
}

// ready reports whether the copy is the table's content at cut.
func (c *rangeCopy) ready(cut cdc.LSN) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why == nil && len(c.held) == 0 && len(c.finished) == 0 && c.gate.passed(cut)
}

// awaits is the position that the stream has to reach for the copy to be
// published; 0 while ranges are still to be read.
func (c *rangeCopy) awaits() cdc.LSN {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gate.left > 0 || len(c.finished) > 0 {
		return 0
	}
	return c.gate.horizon
}

// errEmptied says that a table was emptied while it was being copied.
var errEmptied = errors.New("the table was emptied while it was being copied")

// giveUp ends the copy: it has to begin again.
func (c *rangeCopy) giveUp(why error) {
	c.mu.Lock()
	if c.why == nil {
		c.why = why
	}
	c.mu.Unlock()
	c.stop()
}

// givenUp reports whether the copy has to begin again.
func (c *rangeCopy) givenUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why != nil
}

// close ends the readers and lets go of what is held.
func (c *rangeCopy) close() {
	c.stop()
	releaseItems(c.held)
	c.held = nil
	c.heldBytes.Store(0)
}
