package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// guard looks at the slot now and then, warns of the log that the source has to
// keep for it, and acts before it is too much. It is one goroutine, and runs
// also while the first copy is made.
type guard struct {
	e       *Engine
	release context.CancelCauseFunc // ends the engine's work, for the slot to be dropped

	confirmed cdc.LSN   // what was acknowledged at the last look
	since     time.Time // when that was so first, or there was nothing to acknowledge
	level     walLevel  // that was told
	failed    map[WALAction]bool
	acted     time.Time
}

const (
	// guardTurn bounds how long letting go of a table waits for its turn.
	guardTurn = 20 * time.Second
	// guardPatience is how long something that was done has to help before the
	// next thing is done.
	guardPatience = time.Minute
)

// releaseError ends an engine whose slot is to be dropped.
type releaseError struct{ why string }

func (e *releaseError) Error() string { return e.why }

func (g *guard) run(ctx context.Context) {
	g.since, g.failed = time.Now(), map[WALAction]bool{}
	for {
		select {
		case <-time.After(g.e.opt.WALGuard.Interval):
		case <-ctx.Done():
			return
		}
		slot, err := g.e.opt.Source.Slot(ctx)
		if err != nil {
			continue // the stream's matter, too; or there is none yet
		}
		g.look(ctx, &slot)
	}
}

func (g *guard) look(ctx context.Context, slot *cdc.SlotState) {
	if slot.ConfirmedFlush != g.confirmed || slot.ConfirmedFlush >= slot.Current {
		g.confirmed, g.since = slot.ConfirmedFlush, time.Now()
	}
	s := g.e.walSight(slot)
	s.still = time.Since(g.since)
	v := g.e.opt.WALGuard.judge(s)
	if v.level < g.level {
		clear(g.failed)
	}
	if v.level == walAct && time.Since(g.acted) >= guardPatience {
		if done := g.act(ctx, s, &v); done {
			g.level = v.level
			return
		}
	}
	if v.level == g.level {
		return
	}
	g.level = v.level
	switch v.level {
	case walFine:
		g.e.resolve(InfrastructureAlert{Kind: AlertWAL, Message: "the source keeps no more log than is right", Value: v.value, Limit: v.limit})
	default:
		g.e.alertWAL(AlertWarning, &v, v.text+": "+s.why(), "`lakeload status --source ...` tells who holds it; resume or drop what is paused, mend the store, or give the server more room")
	}
}

// act does the next thing that may help; false where nothing is left.
func (g *guard) act(ctx context.Context, s *walSight, v *walVerdict) bool {
	for {
		action, h := g.e.opt.WALGuard.choose(s, g.failed)
		switch action {
		case WALDetach:
			err := g.e.letGo(ctx, h, v.text)
			if ctx.Err() != nil {
				return false
			}
			if err != nil {
				g.failed[action] = true
				g.e.opt.Log.Warn("a table could not be let go of", "table", h.name, "error", err)
				continue
			}
			g.acted = time.Now()
			g.e.alertWAL(AlertCritical, v, v.text+": "+h.name+" "+h.what+", and was let go of", "`lakeload resync "+h.name+"` copies it again")
			return true
		case WALRelease:
			why := v.text + ": " + s.why()
			g.e.alertWAL(AlertCritical, v, why+"; the slot is dropped, so that the source is safe", remedyAdopt)
			g.release(&releaseError{why})
			return true
		}
		return false
	}
}

func (e *Engine) alertWAL(severity AlertSeverity, v *walVerdict, message, remedy string) {
	e.alert(InfrastructureAlert{Kind: AlertWAL, Severity: severity, Message: message, Remedy: remedy, Value: v.value, Limit: v.limit})
}

// walSight tells who may have the source keep its log. It does not wait for the
// engine, which may be busy with just what keeps it.
func (e *Engine) walSight(slot *cdc.SlotState) *walSight {
	s := &walSight{
		held:    int64(slot.Current - min(slot.Current, slot.Restart)),
		unacked: int64(slot.Current - min(slot.Current, slot.ConfirmedFlush)),
		safe:    slot.SafeWALSize,
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.status.Tables {
		t := &e.status.Tables[i]
		h := walHolder{oid: t.OID, name: t.Name(), at: t.StoppedAt, weight: e.weights[t.OID]}
		switch {
		case t.Phase == PhasePaused && !t.NeedsCopy:
			h.what = "is paused"
			s.holders = append(s.holders, h)
		case t.Phase == PhaseStopped && !t.NeedsCopy:
			h.what = "has stopped"
			s.holders = append(s.holders, h)
		case t.Phase == PhaseCopying && e.copier.reads(t.OID):
			h.what, h.at = "is being copied under a snapshot", t.CopyPoint
			s.holders = append(s.holders, h)
		case t.Phase == PhaseLive:
			s.live = append(s.live, h)
		}
	}
	clear(e.weights)
	return s
}

// weigh counts what the tables of a batch cost.
func (e *Engine) weigh(b *batch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.weights == nil {
		e.weights = map[uint32]int64{}
	}
	for oid, items := range b.tables {
		for i := range items {
			if items[i].Batch != nil {
				e.weights[oid] += int64(items[i].Batch.Len())
			}
		}
	}
}

// letGo gives a table up that has the source keep its log: only a new copy
// returns it (I5). One that is read under a snapshot is stopped by who reads it.
func (e *Engine) letGo(ctx context.Context, h *walHolder, why string) error {
	stop := &stopError{reason: why + ": it was let go of, as it " + h.what, remedy: remedyResync, recopy: true}
	if h.what == "" {
		stop.reason = why + ": it was let go of, as it costs most"
	}
	if e.copier.abort(h.oid, stop) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, guardTurn)
	defer cancel()
	return e.do(ctx, func(ctx context.Context) error {
		st := e.state.table(h.oid)
		if st == nil || !st.Followed() {
			return errors.New("it is not followed any more")
		}
		next := *st
		next.Phase, next.Reason, next.Remedy, next.NeedsCopy, next.StoppedAt = PhaseStopped, stop.reason, stop.remedy, true, 0
		next.Since = time.Now().UTC()
		if err := e.save(ctx, func(s *State) { *s.table(h.oid) = next }); err != nil {
			return err
		}
		e.replace(ctx, e.fed(h.oid), &next)
		e.tellStopped(&next)
		return nil
	})
}

// dropReleased drops the slot on purpose, and says what that costs.
func (e *Engine) dropReleased(ctx context.Context, why *releaseError) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := e.opt.Source.DropSlot(ctx)
	for wait := retryFirst; err != nil && ctx.Err() == nil; wait = min(2*wait, retryMost) { // its last reader may still be on its way out
		if waited := e.backOff(ctx, "dropping the slot", err, wait); waited != nil {
			break
		}
		err = e.opt.Source.DropSlot(ctx)
	}
	if err != nil {
		return &Error{
			Op: "dropping the slot, so that the source does not run full", Object: e.opt.Slot, Err: fmt.Errorf("%w (%s)", err, why.why),
			Remedy: "drop it by hand: SELECT pg_drop_replication_slot('" + e.opt.Slot + "')",
		}
	}
	return &Error{
		Op: "following the source", Object: e.opt.Name, Kind: KindConflict,
		Err:    lossError{fmt.Errorf("the slot %s was dropped on purpose: %s", e.opt.Slot, why.why)},
		Remedy: remedyAdopt,
	}
}
