package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/crashpoint"
)

// copyAttempts bounds how often a table is begun again because it was changed
// (truncated, rewritten) while it was being copied.
const copyAttempts = 5

// copyTables copies every table that is not in the lake yet. snap is the
// slot's own snapshot, if the slot was made just now; it is closed.
func (e *Engine) copyTables(ctx context.Context, snap cdc.Snapshot) (err error) {
	first := snap != nil
	defer func() {
		if snap != nil {
			err = errors.Join(err, snap.Close())
		}
	}()
	for attempt := 1; ; attempt++ {
		again, err := e.copyPass(ctx, &snap, first)
		if err != nil || !again {
			return err
		}
		if attempt == copyAttempts {
			return &Error{
				Op: "copying the tables", Err: fmt.Errorf("%w, %d times", cdc.ErrTableChanged, attempt),
				Remedy: "start again when no TRUNCATE, VACUUM FULL, CLUSTER or ALTER TABLE runs on them",
			}
		}
		if err := snap.Close(); err != nil {
			return err
		}
		snap, first = nil, false
	}
}

// copyPass copies what is to be copied under one snapshot. again says that a
// table was changed meanwhile and needs a newer snapshot.
func (e *Engine) copyPass(ctx context.Context, snap *cdc.Snapshot, first bool) (again bool, err error) {
	var todo []uint32
	for i := range e.state.Tables {
		t := &e.state.Tables[i]
		if t.Phase != PhaseCopying {
			continue
		}
		done, err := e.published(ctx, t)
		if err != nil {
			return false, err
		}
		if done { // it crashed between publishing and saying so
			if err := e.setLive(ctx, t.OID); err != nil {
				return false, err
			}
			continue
		}
		todo = append(todo, t.OID)
	}
	if len(todo) == 0 {
		return false, nil
	}
	rels, err := e.relations(ctx)
	if err != nil {
		return false, err
	}
	if todo, err = e.forgetMissing(ctx, todo, rels); err != nil || len(todo) == 0 {
		return false, err
	}
	if !first { // whatever an earlier attempt has left belongs to another generation
		if *snap, err = e.opt.Source.Snapshot(ctx); err != nil {
			return false, err
		}
		err := e.save(ctx, func(s *State) {
			for _, oid := range todo {
				t := s.table(oid)
				t.Generation++
				t.SnapshotTime, t.CopyPoint = time.Now().UTC(), (*snap).Point()
				t.Schema, t.Table = rels[oid].Schema, rels[oid].Name // it may have been renamed
				t.InsertOnly = rels[oid].InsertOnly
			}
		})
		if err != nil {
			return false, err
		}
	}
	for _, oid := range todo {
		err := e.copyOne(ctx, *snap, rels[oid], *e.state.table(oid))
		if errors.Is(err, cdc.ErrTableChanged) {
			e.opt.Log.Warn("a table was changed while it was being copied; it is begun again", "table", e.state.table(oid).Name())
			again = true
			continue
		}
		var stop *stopError
		if err = tableFault(err); errors.As(err, &stop) {
			if err := e.stopCopy(ctx, oid, stop); err != nil {
				return false, err
			}
			continue
		}
		if err != nil {
			return false, err
		}
		if err := e.setLive(ctx, oid); err != nil {
			return false, err
		}
	}
	return again, nil
}

// stopCopy stops a table that cannot be copied; the others go on.
func (e *Engine) stopCopy(ctx context.Context, oid uint32, why *stopError) error {
	err := e.save(ctx, func(s *State) {
		t := s.table(oid)
		t.Phase, t.Reason, t.Remedy, t.NeedsCopy = PhaseStopped, why.reason, why.remedy, true
		t.Since = time.Now().UTC()
	})
	if err != nil {
		return err
	}
	t := e.state.table(oid)
	e.tellStopped(t)
	return nil
}

// forgetMissing takes out tables that are to be copied and that the source
// does not have, or select, any more. One that may have been copied before is
// detached: its generations must not be counted from the beginning when it
// comes back, or what the lake holds of it would be taken for the new copy.
func (e *Engine) forgetMissing(ctx context.Context, todo []uint32, rels map[uint32]*cdc.Relation) ([]uint32, error) {
	missing := func(oid uint32) bool { return rels[oid] == nil }
	if !slices.ContainsFunc(todo, missing) {
		return todo, nil
	}
	err := e.save(ctx, func(s *State) {
		kept := s.Tables[:0]
		for _, t := range s.Tables {
			if t.Phase == PhaseCopying && missing(t.OID) {
				e.opt.Log.Warn("a table that was to be copied is gone from the source, or not selected any more", "table", t.Name())
				if t.Generation == 1 {
					continue
				}
				t.detach()
				t.Since = time.Now().UTC()
			}
			kept = append(kept, t)
		}
		s.Tables = kept
	})
	return slices.DeleteFunc(todo, missing), err
}

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

func (e *Engine) setLive(ctx context.Context, oid uint32) error {
	return e.save(ctx, func(s *State) {
		t := s.table(oid)
		t.Phase, t.Reason, t.Remedy, t.StoppedAt, t.NeedsCopy = PhaseLive, "", "", 0, false
		t.Since = time.Now().UTC()
	})
}

// published reports whether the table's present generation is in the lake, in
// all its modes.
func (e *Engine) published(ctx context.Context, t *TableState) (bool, error) {
	for _, mode := range t.Modes {
		spec := e.spec(t, mode)
		snap, err := loadExisting(ctx, &spec)
		if err != nil {
			return false, err
		}
		if snap == nil {
			return false, nil
		}
		if _, ok := snap.Txn(spec.appID()); !ok {
			return false, nil
		}
	}
	return len(t.Modes) > 0, nil
}

// copyOne copies one table: its ranges in parallel into files, a copy log of
// its own, and one commit that publishes all of it.
func (e *Engine) copyOne(ctx context.Context, snap cdc.Snapshot, rel *cdc.Relation, t TableState) error {
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
	for _, mode := range t.Modes {
		c, err := newCopyTarget(ctx, e.opt.Lake, e.spec(&t, mode), rel, snap.Point())
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
	for _, r := range ranges {
		ev.Rows += r.Rows
		ev.Bytes += r.Bytes
	}
	e.opt.Events.CopyStarted(ev)
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
