package lakehouse

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/crashpoint"
)

// copyAttempts bounds how often, before the stream begins, a table is begun
// again because it was changed (truncated, rewritten) while it was being copied.
const copyAttempts = 5

// copyTables copies, before the stream begins, the tables that are not in the
// lake yet and that are read under one snapshot. snap is the slot's own, if
// the slot was made just now; it is closed. Once some table is live the others
// are copied beside the stream, see copier.
func (e *Engine) copyTables(ctx context.Context, snap cdc.Snapshot) (err error) {
	first := snap != nil
	defer func() {
		if snap != nil {
			err = errors.Join(err, snap.Close())
		}
	}()
	direct := func(ctx context.Context, f func(context.Context) error) error { return f(ctx) }
	for attempt := 1; ; attempt++ {
		todo, err := e.toCopyFirst(ctx)
		if err != nil || len(todo) == 0 {
			return err
		}
		var looks map[uint32]cdc.Look
		if snap == nil {
			if looks, err = e.lookAtIDs(ctx, todo); err != nil {
				return err
			}
			if snap, err = e.opt.Source.Snapshot(ctx); err != nil {
				return err
			}
		}
		changed, err := e.copyUnder(ctx, direct, snap, first, looks, todo)
		if err != nil || len(changed) == 0 {
			return err
		}
		if attempt == copyAttempts { // they are tried again beside the stream, less and less often
			return nil
		}
		if err := snap.Close(); err != nil {
			return err
		}
		snap, first = nil, false
	}
}

// toCopyFirst gives the tables that are to be copied before the stream begins:
// none where one is live already, and its freshness counts.
func (e *Engine) toCopyFirst(ctx context.Context) ([]uint32, error) {
	if err := e.findPublished(ctx); err != nil {
		return nil, err
	}
	var todo []uint32
	for i := range e.state.Tables {
		switch t := &e.state.Tables[i]; t.Phase {
		case PhaseLive:
			return nil, nil
		case PhaseCopying:
			todo = append(todo, t.OID)
		}
	}
	if len(todo) == 0 {
		return nil, nil
	}
	rels, err := e.relations(ctx)
	if err != nil {
		return nil, err
	}
	var whole []uint32
	for _, oid := range todo {
		if rels[oid] == nil {
			if err := e.forget(ctx, oid); err != nil {
				return nil, err
			}
			continue
		}
		if e.state.table(oid).Repair {
			whole = append(whole, oid)
			continue
		}
		ranges, err := e.copier.divide(ctx, rels[oid])
		if err != nil {
			return nil, err
		}
		if ranges == nil {
			whole = append(whole, oid)
		}
	}
	return whole, nil
}

// findPublished finds copies that were published by an engine that crashed
// before it could say so.
func (e *Engine) findPublished(ctx context.Context) error {
	for i := range e.state.Tables {
		t := e.state.Tables[i]
		if t.Phase != PhaseCopying {
			continue
		}
		at, done, err := e.published(ctx, &t)
		if err == nil && done {
			err = e.setLive(ctx, t.OID, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// turn has f done when the engine's tables and state may be touched.
type turn func(ctx context.Context, f func(ctx context.Context) error) error

// copyUnder copies tables under one snapshot; first says that it is the slot's
// own, looks what the catalogue said before it was taken. Tables that were
// changed meanwhile, and need a newer one, are in changed.
func (e *Engine) copyUnder(ctx context.Context, turn turn, snap cdc.Snapshot, first bool, looks map[uint32]cdc.Look, todo []uint32) (changed []uint32, err error) {
	rels, err := e.relations(ctx)
	if err != nil {
		return nil, err
	}
	err = turn(ctx, func(ctx context.Context) error {
		for _, oid := range todo {
			if rels[oid] == nil {
				if err := e.forget(ctx, oid); err != nil {
					return err
				}
			}
		}
		todo = slices.DeleteFunc(slices.Clone(todo), func(oid uint32) bool { return rels[oid] == nil })
		if first || len(todo) == 0 { // whatever an earlier attempt has left belongs to another generation
			return nil
		}
		return e.save(ctx, func(s *State) {
			for _, oid := range todo {
				t := s.table(oid)
				if t == nil || t.Phase != PhaseCopying {
					continue
				}
				t.Generation++
				t.SnapshotTime, t.CopyPoint = time.Now().UTC(), snap.Point()
				t.follow(rels[oid])
				t.keep(looks)
			}
		})
	})
	for _, oid := range todo {
		if err != nil {
			break
		}
		var was bool
		if was, err = e.copyUnderOne(ctx, turn, snap, rels[oid]); was {
			changed = append(changed, oid)
		}
	}
	return changed, err
}

// copyUnderOne copies one table under a snapshot, or stops it; changed says
// that it needs another snapshot.
func (e *Engine) copyUnderOne(ctx context.Context, turn turn, snap cdc.Snapshot, rel *cdc.Relation) (changed bool, err error) {
	var specs []tableSpec
	repair := false
	err = turn(ctx, func(context.Context) error {
		t := e.state.table(rel.OID)
		if t == nil || t.Phase != PhaseCopying { // somebody has asked for something else
			return nil
		}
		repair = t.Repair
		for _, mode := range t.Modes {
			specs = append(specs, e.spec(t, mode))
		}
		return nil
	})
	if err != nil || len(specs) == 0 {
		return false, err
	}
	reading, done := e.copier.whileReading(ctx, rel.OID)
	defer done()
	repaired := false
	if repair {
		repaired, err = e.repairOne(reading, snap, rel, specs)
	}
	if err == nil && !repaired {
		err = e.copyOne(reading, snap, rel, specs)
	}
	cause := context.Cause(reading)
	if errors.Is(cause, errCopyEnded) {
		return false, nil
	}
	if letGo := (*stopError)(nil); errors.As(cause, &letGo) {
		err = letGo
	}
	if errors.Is(err, cdc.ErrTableChanged) {
		e.opt.Log.Warn("a table was changed while it was being copied; it is begun again", "table", rel.String(), "error", err)
		return true, nil
	}
	var stop *stopError
	if err = tableFault(err); errors.As(err, &stop) {
		return false, turn(ctx, func(ctx context.Context) error { return e.stopCopy(ctx, rel.OID, stop) })
	}
	if err != nil {
		return false, err
	}
	return false, turn(ctx, func(ctx context.Context) error {
		if t := e.state.table(rel.OID); t == nil || t.Phase != PhaseCopying || t.Generation != specs[0].state.Generation {
			return nil // it was to be paused, or copied again, just as it was done
		}
		err := e.setLive(ctx, rel.OID, snap.Point())
		if err == nil && (e.unopened == 0 || snap.Point() < e.unopened) {
			e.unopened = snap.Point()
		}
		return err
	})
}

// stopCopy stops a table that cannot be copied; the others go on.
func (e *Engine) stopCopy(ctx context.Context, oid uint32, why *stopError) error {
	if t := e.state.table(oid); t == nil || t.Phase != PhaseCopying {
		return nil // somebody has asked for something else meanwhile
	}
	err := e.save(ctx, func(s *State) {
		t := s.table(oid)
		t.Phase, t.Reason, t.Remedy, t.NeedsCopy, t.StoppedAt, t.Repair = PhaseStopped, why.reason, why.remedy, true, 0, false
		t.Since = time.Now().UTC()
	})
	if err != nil {
		return err
	}
	e.tellStopped(e.state.table(oid))
	return nil
}

// forget takes out a table that is to be copied and that the source does not
// have, or select, any more. One that may have been copied before is detached:
// its generations must not be counted from the beginning when it comes back,
// or what the lake holds of it would be taken for the new copy.
func (e *Engine) forget(ctx context.Context, oid uint32) error {
	return e.save(ctx, func(s *State) {
		if t := s.table(oid); t != nil && t.Phase == PhaseCopying {
			e.opt.Log.Warn("a table that was to be copied is gone from the source, or not selected any more", "table", t.Name())
			s.forget(t)
		}
	})
}

func (s *State) forget(t *TableState) {
	if t.neverCopied() {
		oid := t.OID
		s.Tables = slices.DeleteFunc(s.Tables, func(o TableState) bool { return o.OID == oid })
		return
	}
	t.detach()
	t.Since = time.Now().UTC()
}

// neverCopied reports whether the lake can have nothing of a table yet.
func (t *TableState) neverCopied() bool { return t.Phase == PhaseCopying && t.Generation == 1 }

func (e *Engine) relations(ctx context.Context) (map[uint32]*cdc.Relation, error) {
	tables, err := e.opt.Source.Tables(ctx)
	if err != nil {
		return nil, err
	}
	rels := make(map[uint32]*cdc.Relation, len(tables))
	for _, rel := range tables {
		rels[rel.OID] = rel
	}
	return rels, nil
}

// setLive says that a table's copy is published as of a position. The stream
// goes on from there for it, wherever the others are: StoppedAt says so until
// an epoch includes it.
func (e *Engine) setLive(ctx context.Context, oid uint32, at cdc.LSN) error {
	return e.save(ctx, func(s *State) {
		t := s.table(oid)
		t.Phase, t.Reason, t.Remedy, t.NeedsCopy = PhaseLive, "", "", false
		t.CopyPoint, t.StoppedAt, t.Heir, t.Repair = at, at, false, false
		t.Since = time.Now().UTC()
	})
}

// published reports whether the table's present generation is in the lake, in
// all its modes, and the position that it shows.
func (e *Engine) published(ctx context.Context, t *TableState) (at cdc.LSN, done bool, err error) {
	for i, mode := range t.Modes {
		spec := e.spec(t, mode)
		snap, err := loadExisting(ctx, &spec)
		if err != nil || snap == nil {
			return 0, false, err
		}
		cut, ok := snap.Txn(spec.appID())
		if !ok {
			return 0, false, nil
		}
		if i == 0 || cdc.LSN(cut) < at {
			at = cdc.LSN(cut)
		}
	}
	return at, len(t.Modes) > 0, nil
}

// copyOne copies one table: its ranges in parallel into files, a copy log of
// its own, and one commit that publishes all of it.
func (e *Engine) copyOne(ctx context.Context, snap cdc.Snapshot, rel *cdc.Relation, specs []tableSpec) error {
	begun := time.Now()
	ranges, err := snap.Plan(ctx, rel)
	if err != nil {
		return err
	}
	e.tellCopyStarted(snap.Point(), rel, ranges)
	var targets []*copyTarget
	defer func() {
		for _, c := range targets {
			c.close()
		}
	}()
	expected, _ := estimated(slices.Values(ranges))
	for _, spec := range specs {
		c, err := newCopyTarget(ctx, e.opt.Lake, spec, rel, snap.Point(), expected)
		if err != nil {
			return err
		}
		targets = append(targets, c)
	}
	rows, err := e.copyRanges(ctx, snap, rel, ranges, targets)
	if err != nil {
		return err
	}
	version := int64(0)
	// A changelog is only ever added to: it goes last, so that a copy which is
	// begun again does not put its rows there twice.
	slices.SortStableFunc(targets, func(a, b *copyTarget) int {
		return strings.Compare(string(b.spec.mode), string(a.spec.mode))
	})
	for _, c := range targets {
		if version, err = c.publish(ctx, rows); err != nil {
			return err
		}
	}
	if e.opt.Events.CopyFinished != nil {
		e.opt.Events.CopyFinished(CopyFinished{Table: rel.String(), Rows: rows, Elapsed: time.Since(begun), Version: version})
	}
	return nil
}

func (e *Engine) tellCopyStarted(point cdc.LSN, rel *cdc.Relation, ranges []cdc.Range) {
	if e.opt.Events.CopyStarted == nil {
		return
	}
	ev := CopyStarted{Table: rel.String(), Point: point, Ranges: len(ranges)}
	ev.Rows, ev.Bytes = estimated(slices.Values(ranges))
	e.opt.Events.CopyStarted(ev)
}

// estimated is what the source expects ranges to hold.
func estimated(ranges iter.Seq[cdc.Range]) (rows, bytes int64) {
	for r := range ranges {
		rows += r.Rows
		bytes += r.Bytes
	}
	return rows, bytes
}

// copyRanges reads the ranges by a number of workers, each with files of its
// own, and gives the number of rows.
func (e *Engine) copyRanges(ctx context.Context, snap cdc.Snapshot, rel *cdc.Relation, ranges []cdc.Range, targets []*copyTarget) (int64, error) {
	var (
		rows, done atomic.Int64
		next       atomic.Int64
		tell       sync.Mutex
	)
	g, gctx := errgroup.WithContext(ctx)
	for range min(e.opt.CopyWorkers, len(ranges)) {
		g.Go(func() error {
			w, err := newCopyWorker(gctx, targets)
			if err != nil {
				return err
			}
			defer w.abort()
			for {
				i := int(next.Add(1)) - 1
				if i >= len(ranges) {
					return w.finish()
				}
				err := snap.Read(gctx, rel, ranges[i], func(b *cdc.Batch) error {
					defer b.Release()
					rows.Add(int64(b.Len()))
					return w.write(b)
				})
				if err != nil {
					return err
				}
				crashpoint.At(crashpoint.CopyRangeStaged)
				if err := w.log(); err != nil {
					return err
				}
				if e.opt.Events.CopyProgress != nil {
					tell.Lock()
					e.opt.Events.CopyProgress(CopyProgress{Table: rel.String(), Rows: rows.Load(), Ranges: int(done.Add(1))})
					tell.Unlock()
				}
			}
		})
	}
	err := g.Wait()
	return rows.Load(), err
}
