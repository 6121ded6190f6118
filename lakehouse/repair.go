package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse/where"
	"github.com/lakeload/lakeload/tablefmt"
)

// RepairOptions say what of a table is repaired. The zero value is all of it.
type RepairOptions struct {
	// Where leaves alone the rows for which it holds neither in the source nor in
	// the lake; nil: all are compared. A table that has stopped is compared whole.
	Where *where.Condition
	// Workers is how many parts of the table are read at a time. Default 2.
	Workers int
}

// ErrNotRepaired says that a table's rows cannot be compared and mended; it can
// be copied again.
var ErrNotRepaired = errors.New("the table cannot be repaired row by row")

// Repair compares a mirror with its source, and writes those rows anew that
// differ, in one commit, while the other tables go on. The table itself stands
// still meanwhile and catches up afterwards; readers see it whole before and
// after. table is its name in the lake.
//
// A table that is live is repaired where it is: see [Engine.Cut]. One that has
// stopped is compared with the source as it is now, and goes on from there; if
// too much of it differs it is copied again, which the result tells. One that has
// stopped because the configuration would show what is masked is not repaired. A
// crash at any moment leaves the table as it was, or repaired.
//
// Errors: ErrUnknownTable, ErrNoCut, ErrNotRepaired, ErrCondition; the source's
// and the store's. It may be called by any goroutine while Run runs.
func (e *Engine) Repair(ctx context.Context, table string, o RepairOptions) (*Repaired, error) {
	const op = "repairing a table"
	var st TableState
	beside, leave, err := e.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(beside, cancel)()
	live := false
	err = e.do(ctx, func(context.Context) error {
		for _, t := range e.state.Tables {
			if t.Name() == table {
				st = t
			}
		}
		t := e.fed(st.OID)
		live = t != nil && !t.stopped && t.copy == nil
		return nil
	})
	if err != nil {
		return nil, &Error{Op: op, Object: table, Err: err, Remedy: "see that the engine is streaming, then try again"}
	}
	switch {
	case st.Table == "":
		return nil, &Error{Op: op, Object: table, Err: ErrUnknownTable, Remedy: "`lakeload tables` lists them, as schema.table"}
	case live:
		return e.repairLive(ctx, beside, &st, o)
	case st.Phase != PhaseStopped:
		return nil, notRepaired(&st, "it is "+string(st.Phase)+", or is being repaired", "wait until it is live: `lakeload status` shows it")
	case st.Refused != nil:
		return nil, notRepaired(&st, "it has stopped: "+st.Reason, st.Remedy)
	case o.Where != nil:
		return nil, notRepaired(&st, "it has stopped, so that its other rows are not up to date either", "repair it without a condition")
	}
	return e.repairStopped(ctx, st.OID)
}

// invite lets others use the engine's source as long as beside lasts.
func (e *Engine) invite(beside context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.beside = beside
}

// disinvite lets nobody in any more.
func (e *Engine) disinvite() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.beside = nil
}

// enter keeps the engine from closing its source before leave is called.
func (e *Engine) enter() (beside context.Context, leave func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.beside == nil {
		return nil, nil, noCut("the pipeline is not streaming", errNotNow)
	}
	e.guests.Add(1)
	return e.beside, e.guests.Done, nil
}

func notRepaired(st *TableState, why, remedy string) error {
	return &Error{Op: "repairing a table", Object: st.Name(), Kind: KindPreflight, Err: fmt.Errorf("%w: %s", ErrNotRepaired, why), Remedy: remedy}
}

// repairLive repairs a table that is live. A session that ends, for a repair just
// before perhaps, is waited out.
func (e *Engine) repairLive(ctx, beside context.Context, st *TableState, o RepairOptions) (*Repaired, error) {
	for n := 1; ; n++ {
		done, err := e.repairResting(ctx, beside, st, o)
		if n == repairTries || !errors.Is(err, ErrNoCut) || !errors.Is(err, errNotNow) {
			return done, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, err
		}
	}
}

const repairTries = 5

// repairResting lets a table rest at a cut, compares it with a snapshot of the
// source there, commits what differs as of the cut, and lets it go on.
func (e *Engine) repairResting(ctx, beside context.Context, st *TableState, o RepairOptions) (_ *Repaired, err error) {
	rels, err := e.relations(ctx)
	if err != nil {
		return nil, err
	}
	rel := rels[st.OID]
	if rel == nil {
		return nil, notRepaired(st, "the source has no such table, or it is not selected", "")
	}
	var snap cdc.Snapshot
	var specs []tableSpec
	_, err = e.cut(ctx, func(ctx context.Context) (at cdc.LSN, err error) {
		if snap, err = e.opt.Source.Snapshot(ctx); err != nil {
			return 0, err
		}
		return snap.Point(), nil
	}, func(ctx context.Context, cut *Cut) (err error) {
		specs, err = e.letRest(ctx, st.OID, cut.LSN)
		return err
	})
	if snap != nil {
		defer func() {
			if closeErr := snap.Close(); err == nil && closeErr != nil {
				e.opt.Log.Warn("closing the snapshot of a repair failed", "table", st.Name(), "error", closeErr)
			}
		}()
	}
	if err != nil && snap == nil {
		return nil, err // it does not rest
	}
	var x *mending
	if err == nil {
		if x, err = e.mendLive(ctx, snap, rel, specs, o); x != nil {
			defer x.abort()
		}
	}
	// Whatever has become of it, the table has to go on.
	var done *Repaired
	taskErr := e.do(beside, func(ctx context.Context) (failed error) {
		if e.resting[st.OID] != snap.Point() {
			if err != nil {
				return nil // the cut was given up before
			}
			return notRepaired(st, "it was paused, dropped, stopped or copied meanwhile", "look at `lakeload status`, then try again")
		}
		delete(e.resting, st.OID)
		e.rejoin = true
		t := e.fed(st.OID)
		switch {
		case err != nil:
			return nil
		case t == nil || !t.resting:
			return notRepaired(st, "it was dropped, stopped or copied meanwhile", "look at `lakeload status`, then try again")
		case x.done.Keys == 0 && (o.Where != nil || x.Lake.Version() == t.mirrorVersion()):
			done, x.done.Version = &x.done, x.Lake.Version()
			return nil
		}
		done, failed = x.commit(ctx, o.Where == nil)
		return failed
	})
	if err = errors.Join(err, taskErr); err != nil {
		return nil, err
	}
	e.tellRepaired(done)
	return done, nil
}

// mirrorVersion is the version of the table's mirror that the engine knows.
func (t *fedTable) mirrorVersion() int64 {
	for i, w := range t.writers {
		if t.modes[i] == ModeMirror {
			return w.Version()
		}
	}
	return -1
}

// letRest stops a table at a cut that it shows. That the stream has to begin
// there again is recorded before anything later is.
func (e *Engine) letRest(ctx context.Context, oid uint32, at cdc.LSN) ([]tableSpec, error) {
	t := e.fed(oid)
	if t == nil || t.stopped || t.copy != nil || t.state.StoppedAt != 0 {
		return nil, noCut("the table is not live any more, or catches up", errNotNow)
	}
	err := e.save(ctx, func(s *State) {
		st := s.table(oid)
		st.StoppedAt = at
		t.state = *st
	})
	if err != nil {
		return nil, err
	}
	t.rollback()
	t.rest(at)
	e.resting[oid] = at
	var specs []tableSpec
	for _, mode := range t.modes {
		specs = append(specs, e.spec(&t.state, mode))
	}
	return specs, nil
}

func (t *fedTable) rest(at cdc.LSN) { t.stopped, t.resting, t.stoppedAt = true, true, at }

// mendLive stages what differs of a table that rests.
func (e *Engine) mendLive(ctx context.Context, snap cdc.Snapshot, rel *cdc.Relation, specs []tableSpec, o RepairOptions) (*mending, error) {
	spec := mirrorSpec(specs)
	if spec == nil {
		return nil, notRepaired(&specs[0].state, "it is kept as a changelog only, which is not to equal the source", "")
	}
	base, err := loadExisting(ctx, spec)
	if err != nil {
		return nil, err
	}
	if why := mendable(rel, base, spec); why != "" {
		return nil, notRepaired(&spec.state, why, "have it copied again: `lakeload resync "+spec.state.Name()+"`")
	}
	x, err := newMending(ctx, &Audit{Relation: rel, Source: snap, Lake: base, Where: o.Where, Workers: o.Workers}, *spec, e.opt.Memory/4)
	if err != nil {
		return nil, err
	}
	for _, s := range specs {
		if s.mode != ModeChangelog {
			continue
		}
		t, err := openTable(ctx, s)
		if err != nil {
			return x, err
		}
		t.begun = x.m.begun
		x.mark = newMarking(ctx, &changelogWriter{table: t}, rel, snap.Point())
	}
	err = x.stage(ctx)
	switch {
	case errors.Is(err, errTooDifferent):
		err = notRepaired(&spec.state, err.Error(), "have it copied again: `lakeload resync "+spec.state.Name()+"`")
	case errors.Is(err, cdc.ErrTableChanged):
		err = &Error{Op: "repairing a table", Object: spec.state.Name(), Err: err, Remedy: "try again"}
	}
	return x, err
}

func mirrorSpec(specs []tableSpec) *tableSpec {
	for i := range specs {
		if specs[i].mode == ModeMirror {
			return &specs[i]
		}
	}
	return nil
}

// repairStopped has the copier repair a table that has stopped, and waits.
func (e *Engine) repairStopped(ctx context.Context, oid uint32) (*Repaired, error) {
	var st TableState
	err := e.do(ctx, func(ctx context.Context) error {
		t := e.fed(oid)
		if t == nil || !t.stopped || t.resting || e.state.table(oid).Refused != nil {
			return errNotStopped
		}
		e.mu.Lock()
		delete(e.repaired, oid)
		e.mu.Unlock()
		why := copyAgain("it is repaired")
		why.repair, why.asked = true, true
		err := e.recopyTable(ctx, t, why)
		st = *e.state.table(oid)
		return err
	})
	if errors.Is(err, errNotStopped) {
		return nil, &Error{Op: "repairing a table", Object: fmt.Sprint(oid), Err: err, Remedy: "try again"}
	}
	if err != nil {
		return nil, err
	}
	for {
		var done *Repaired
		err := e.do(ctx, func(context.Context) error {
			now := e.state.table(oid)
			switch {
			case now == nil || now.Generation < st.Generation || now.Phase == PhaseDetached:
				return notRepaired(&st, "it is not followed any more", "")
			case now.Phase == PhaseStopped:
				return notRepaired(&st, now.Reason, now.Remedy)
			case now.Phase == PhaseLive:
				e.mu.Lock()
				done = e.repaired[oid]
				e.mu.Unlock()
				if done == nil {
					done = &Repaired{Table: st.Name(), LSN: now.CopyPoint, Copied: true}
				}
			}
			return nil
		})
		if err != nil || done != nil {
			return done, err
		}
		select {
		case <-time.After(repairLook):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

var errNotStopped = errors.New("the table has gone on meanwhile")

const repairLook = 200 * time.Millisecond

// repairOne mends a table under a snapshot as a copy of it would be made: the
// table's old content stays until the commit, which carries the new generation.
// done is false for a table that has to be copied instead.
func (e *Engine) repairOne(ctx context.Context, snap cdc.Snapshot, rel *cdc.Relation, specs []tableSpec) (done bool, err error) {
	spec := &specs[0]
	instead := func(why string) (bool, error) {
		e.opt.Log.Warn("a table is copied again, and not repaired", "table", spec.state.Name(), "because", why)
		return false, nil
	}
	if len(specs) != 1 || spec.mode != ModeMirror {
		return instead("it has a changelog, which gets a snapshot of it")
	}
	base, err := loadExisting(ctx, spec)
	if err != nil {
		return false, err
	}
	if why := mendable(rel, base, spec); why != "" {
		return instead(why)
	}
	begun := time.Now()
	x, err := newMending(ctx, &Audit{Relation: rel, Source: snap, Lake: base, Workers: e.opt.CopyWorkers}, *spec, e.opt.Memory/4)
	if err != nil {
		return false, err
	}
	defer x.abort()
	e.tellCopyStarted(snap.Point(), rel, x.ranges)
	if err := x.stage(ctx); errors.Is(err, errTooDifferent) || errors.Is(err, tablefmt.ErrCorrupt) {
		return instead(err.Error())
	} else if err != nil {
		return false, err
	}
	crashpoint.At(crashpoint.CopyBeforeSwap)
	result, err := x.commit(ctx, true)
	var conflict *tablefmt.ConflictError
	if errors.As(err, &conflict) && conflict.Reason != tablefmt.ConflictTxn {
		err = fmt.Errorf("%w: %w", cdc.ErrTableChanged, err) // it is begun again
	}
	if err != nil {
		return false, err
	}
	crashpoint.At(crashpoint.CopyAfterSwap)
	e.mu.Lock()
	e.repaired[rel.OID] = result
	e.mu.Unlock()
	e.tellRepaired(result)
	if e.opt.Events.CopyFinished != nil {
		e.opt.Events.CopyFinished(CopyFinished{Table: rel.String(), Rows: result.SourceRows, Elapsed: time.Since(begun), Version: result.Version})
	}
	return true, nil
}

func (e *Engine) tellRepaired(r *Repaired) {
	if e.opt.Events.TableRepaired != nil {
		e.opt.Events.TableRepaired(*r)
	}
}
