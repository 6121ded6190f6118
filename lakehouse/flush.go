package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/tablefmt"
)

// parallelTables bounds the tables that one flush works on at a time. A
// commit waits for the store more than it computes.
const parallelTables = 8

// flusher writes batches into the tables, records the epochs and acknowledges
// (I1, I3). It is used by one goroutine.
type flusher struct {
	e      *Engine
	ack    func(cdc.LSN)
	source cdc.KeyReader // nil: no table is copied by key ranges
	staged bool          // a part of an unfinished transaction is staged
	rows   int64         // staged and not committed
	txns   int
	warned map[uint32]bool
}

func (f *flusher) flush(ctx context.Context, b *batch) error {
	begun := time.Now()
	crashpoint.At(crashpoint.FlushBegin)
	runTasks(ctx, b.tasks)
	b.tasks = nil
	idle := b.cut == 0 && !b.open // there were tasks alone
	if idle {
		b.cut = f.e.shown
	}
	f.rows += b.rows
	f.txns += b.transactions
	if err := f.e.noteMasks(ctx); err != nil {
		return err
	}
	if err := f.apply(ctx, b); err != nil {
		return err
	}
	if b.open {
		f.staged = true
		return nil
	}
	versions, err := f.commit(ctx, b.cut)
	if err != nil {
		return err
	}
	f.staged, f.e.shown = false, b.cut
	crashpoint.At(crashpoint.TablesCommitted)
	if err := f.publish(ctx, b.cut, versions); err != nil {
		return err
	}
	number := int64(0)
	if !idle || len(versions) > 0 {
		if number, err = f.record(ctx, b, len(versions) > 0); err != nil {
			return err
		}
	}
	at := min(f.e.resumeAt(), f.e.shown) // the stream may have gone back for a table that does not need it any more
	f.ack(at)
	crashpoint.At(crashpoint.Acknowledged)
	f.tell(b, at, number, versions, begun)
	f.upkeep(ctx)
	return nil
}

// each calls do for every table that goes on, several at a time. A *stopError
// stops the table that it is of.
func (f *flusher) each(ctx context.Context, do func(ctx context.Context, t *fedTable) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelTables)
	var (
		mu      sync.Mutex
		stopped []func() error
	)
	for _, t := range f.e.tables {
		if t.stopped {
			continue
		}
		g.Go(func() error {
			f.e.meter.writing.Add(1)
			defer f.e.meter.writing.Add(-1)
			err := flushFault(t.behind(gctx, do(gctx, t)))
			var stop *stopError
			if !errors.As(err, &stop) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			stopped = append(stopped, func() error {
				if t.copy != nil { // it begins again, and stops if that does not help
					t.rollback()
					t.copy.giveUp(fmt.Errorf("%w: %w", cdc.ErrTableChanged, stop))
					return nil
				}
				if stop.again {
					return f.e.recopyTable(ctx, t, stop)
				}
				if stop.mismatch {
					return f.e.mismatched(ctx, t, stop)
				}
				return f.e.stopNow(ctx, t, stop)
			})
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, s := range stopped {
		if err := s(); err != nil {
			return err
		}
	}
	return nil
}

// behind has a flush made again that failed for a file which somebody may have removed
// since: the table as it is now may do without it.
func (t *fedTable) behind(ctx context.Context, err error) error {
	if !errors.Is(err, tablefmt.ErrCorrupt) || t.copy != nil {
		return err
	}
	for _, w := range t.writers {
		now, newErr := w.Snapshot().Update(ctx)
		switch {
		case newErr != nil && passes(newErr):
			return newErr
		case newErr == nil && now.Version() > w.Version():
			return fmt.Errorf("%w: %w", errRearranged, err)
		}
	}
	return err
}

// apply stages the batch's changes.
func (f *flusher) apply(ctx context.Context, b *batch) error {
	f.warnUnknown(b)
	f.e.weigh(b)
	return f.each(ctx, func(ctx context.Context, t *fedTable) error {
		items := b.tables[t.state.OID]
		t.noteLast(items)
		t.truncated(items)
		if t.copy != nil {
			return t.copy.apply(ctx, t, items, f.source)
		}
		if len(items) == 0 {
			return nil
		}
		t.counted.add(items, t.position())
		for _, w := range t.writers {
			if err := w.Apply(ctx, items); err != nil {
				return err
			}
		}
		return nil
	})
}

// warnUnknown tells once of each table that the stream delivers and the lake
// does not hold: somebody put it into the publication. It is copied when the
// engine starts again and the table is selected, so nothing is lost.
func (f *flusher) warnUnknown(b *batch) {
	for oid, items := range b.tables {
		if f.e.state.table(oid) != nil || f.warned[oid] {
			continue
		}
		if f.warned == nil {
			f.warned = map[uint32]bool{}
		}
		f.warned[oid] = true
		f.e.opt.Log.Warn("changes arrive for a table that is not in the lake; it will be copied at the next start, if it is selected",
			"table", items[0].Relation.String())
	}
}

// commit publishes what is staged, and gives the new versions.
func (f *flusher) commit(ctx context.Context, cut cdc.LSN) (map[string]int64, error) {
	versions := map[string]int64{}
	var mu sync.Mutex
	err := f.each(ctx, func(ctx context.Context, t *fedTable) error {
		if t.copy != nil {
			return t.copy.commit(ctx, t, cut)
		}
		for i, w := range t.writers {
			columns := w.changes()
			changed, err := w.Commit(ctx, cut)
			if err != nil {
				return err
			}
			if changed && len(columns) > 0 && f.e.opt.Events.TableChanged != nil {
				f.e.opt.Events.TableChanged(TableChanged{Table: t.state.Name(), Mode: t.modes[i], Changes: columns, LSN: cut, Version: w.Version()})
			}
			if changed {
				mu.Lock()
				versions[epochKey(t.modes[i], &t.state)] = w.Version()
				mu.Unlock()
			}
		}
		f.e.meter.table(t.state.OID).applied(t.counted)
		t.counted = changeCount{}
		return nil
	})
	return versions, err
}

// publish makes the copies that are complete their tables' content.
func (f *flusher) publish(ctx context.Context, cut cdc.LSN, versions map[string]int64) error {
	for _, t := range slices.Clone(f.e.tables) { // one that cannot be published leaves them
		if t.copy == nil || !t.copy.ready(cut) || t.reached() > cut {
			continue
		}
		err := tableFault(f.e.publishRangeCopy(ctx, t, cut))
		var stop *stopError
		if errors.As(err, &stop) {
			t.rollback()
			if err = f.e.stopCopying(ctx, t.state.OID, stop); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		for i, w := range t.writers {
			versions[epochKey(t.modes[i], &t.state)] = w.Version()
		}
	}
	return nil
}

// awaits is the least position at which a copy can be begun or published, or a look at
// the source's catalogue acted upon; 0 where none waits for the stream alone.
func (f *flusher) awaits() (at cdc.LSN) {
	for _, p := range []cdc.LSN{f.e.watched, f.e.awaited} {
		if p > f.e.shown && (at == 0 || p < at) {
			at = p
		}
	}
	for _, t := range f.e.tables {
		if t.copy == nil {
			continue
		}
		if p := t.copy.awaits(); p != 0 {
			if p = max(p, t.reached()); at == 0 || p < at {
				at = p
			}
		}
	}
	return at
}

// held is the memory of changes that wait for ranges to be read.
func (f *flusher) held() (bytes int64) {
	for _, t := range f.e.tables {
		if t.copy != nil {
			bytes += t.copy.heldBytes.Load()
		}
	}
	return bytes
}

// record records the cut: as an epoch if anything changed, else as an idle
// position, and not at all while some table shows more than the cut (I1).
func (f *flusher) record(ctx context.Context, b *batch, changed bool) (int64, error) {
	e := f.e
	if b.cut < e.epochs.Position() {
		return 0, nil // a table that had stopped catches up
	}
	now := epoch.Epoch{LSN: b.cut, Timeline: e.identity.Timeline, CommitTime: b.cutTime, Tables: map[string]int64{}}
	complete := map[uint32]bool{}
	for _, t := range e.tables {
		if t.stopped || t.copy != nil {
			continue
		}
		complete[t.state.OID] = true
		if t.reached() > b.cut {
			return 0, nil
		}
		for i, w := range t.writers {
			now.Tables[epochKey(t.modes[i], &t.state)] = w.Version()
		}
	}
	for _, t := range e.state.Tables {
		if t.Followed() && !complete[t.OID] {
			now.Incomplete = append(now.Incomplete, t.Name())
		}
	}
	if len(now.Tables) == 0 {
		return 0, nil // nothing is copied yet
	}
	last, any := e.epochs.Last()
	if any && !changed && sameTables(last.Tables, now.Tables) {
		crashpoint.At(crashpoint.IdleBefore)
		if err := e.epochs.Idle(ctx, b.cut); err != nil {
			return 0, err
		}
		crashpoint.At(crashpoint.IdleAfter)
		return last.Number, f.passed(ctx)
	}
	recorded, err := e.epochs.Record(ctx, now)
	if err != nil {
		return 0, err
	}
	crashpoint.At(crashpoint.EpochCommitted)
	return recorded.Number, f.passed(ctx)
}

func sameTables(a, b map[string]int64) bool {
	if len(a) != len(b) {
		return false
	}
	for t, v := range a {
		if w, ok := b[t]; !ok || w != v {
			return false
		}
	}
	return true
}

// passed forgets where tables had stopped that have caught up with the rest.
func (f *flusher) passed(ctx context.Context) error {
	var past []*fedTable
	for _, t := range f.e.tables {
		if !t.stopped && t.copy == nil && t.state.StoppedAt != 0 {
			past = append(past, t)
		}
	}
	if len(past) == 0 {
		return nil
	}
	err := f.e.save(ctx, func(s *State) {
		for _, t := range past {
			s.table(t.state.OID).StoppedAt = 0
		}
	})
	if err != nil {
		return err
	}
	for _, t := range past {
		t.state.StoppedAt = 0
	}
	return nil
}

func (f *flusher) tell(b *batch, at cdc.LSN, number int64, versions map[string]int64, begun time.Time) {
	rows, txns := f.rows, f.txns
	f.rows, f.txns = 0, 0
	now := time.Now()
	f.e.setStatus(func(s *Status) {
		s.Durable, s.Rows = at, s.Rows+rows
		if number != 0 {
			s.Epoch = number
		}
		if !b.cutTime.IsZero() {
			s.EpochTime = b.cutTime
		}
	})
	if f.e.opt.Events.BatchCommitted == nil || len(versions) == 0 {
		return
	}
	fresh := time.Duration(0) // of what no transaction has brought
	if !b.cutTime.IsZero() {
		// The source's clock is not ours: it may say that the change is still to come.
		fresh = max(0, now.Sub(b.cutTime))
	}
	f.e.opt.Events.BatchCommitted(BatchCommitted{
		Epoch: number, LSN: b.cut, CommitTime: b.cutTime, Transactions: txns, Rows: rows,
		Tables: versions, Elapsed: now.Sub(begun), Freshness: fresh,
	})
}
