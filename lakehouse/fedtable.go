package lakehouse

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/epoch"
)

// fedTable is a table of the source with what is kept of it in the lake.
type fedTable struct {
	state   TableState
	writers []writer
	modes   []Mode // parallel to writers
	// stopped says that the table follows its source no more; it holds the
	// acknowledgement at stoppedAt, the last cut that it shows.
	stopped   bool
	stoppedAt cdc.LSN
	// harmless are, by mode, versions since the last epoch in which others have
	// changed no rows, as was seen when the table was opened.
	harmless map[Mode]versions
	// resting says that it is stopped only for as long as it is repaired: to the
	// lake's state it is live.
	resting bool
	// copy is the table's copy by key ranges, while it lasts: the writers then
	// work on the copy's logs. Nil for a table that is live or stopped.
	copy *rangeCopy
	// truncates are the transactions that emptied it, as the stream told, and
	// looked says that a look at the catalogue has been kept, all in this run.
	truncates []uint32
	looked    bool
	last      cdc.Txn     // of the changes of this run
	counted   changeCount // what is staged and not committed
}

// epochKey names a table in an epoch.
func epochKey(mode Mode, t *TableState) string {
	if mode == ModeChangelog {
		return t.Name() + "_changelog"
	}
	return t.Name()
}

// openTables opens the writers of all tables that are live. A table that
// cannot be followed is stopped; the others go on.
func (e *Engine) openTables(ctx context.Context) error {
	e.closeTables()
	e.tables = nil
	var last *epoch.Epoch
	if l, any := e.epochs.Last(); any {
		last = &l
	}
	rels, err := e.relationsIf(ctx, len(e.copyingTables()) > 0)
	if err != nil {
		return err
	}
	for i := range e.state.Tables {
		t := &fedTable{state: e.state.Tables[i]}
		if !t.state.Followed() {
			continue
		}
		if t.state.Phase == PhaseCopying { // else the copier begins it
			copying, err := e.resumeRangeCopy(ctx, t.state, rels[t.state.OID])
			if err != nil {
				return err
			}
			if copying != nil {
				e.tables = append(e.tables, copying)
			}
			continue
		}
		e.tables = append(e.tables, t)
		if t.state.Phase == PhasePaused || t.state.Phase == PhaseStopped && (t.state.NeedsCopy || t.state.Refused != nil) {
			if err := e.keepStopped(ctx, t); err != nil {
				return err
			}
			if !t.state.NeedsCopy && t.state.StoppedAt != t.stoppedAt && (t.state.Refused != nil || t.state.StoppedAt != 0) {
				if err := e.noteStoppedAt(ctx, t); err != nil {
					return err
				}
			}
			continue
		}
		err := e.openTable(ctx, t)
		if err == nil {
			err = e.checkVersions(ctx, t, last)
		}
		err = tableFault(err)
		var stop *stopError
		switch {
		case errors.As(err, &stop) && stop.again:
			if err := e.recopyTable(ctx, t, stop); err != nil {
				return err
			}
		case errors.As(err, &stop):
			if err := e.stopUnopened(ctx, t, stop); err != nil {
				return err
			}
		case err != nil:
			return err
		case e.resting[t.state.OID] != 0:
			t.rest(e.resting[t.state.OID])
		case t.state.Phase == PhaseStopped:
			// It is tried again from where it stopped.
			if err := e.restartTable(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// relationsIf asks for the source's tables if somebody needs them.
func (e *Engine) relationsIf(ctx context.Context, needed bool) (map[uint32]*cdc.Relation, error) {
	if !needed {
		return nil, nil
	}
	return e.relations(ctx)
}

// stopUnopened stops a table that cannot even be opened, at the last position
// that is known of it.
func (e *Engine) stopUnopened(ctx context.Context, t *fedTable, why *stopError) error {
	if err := e.keepStopped(ctx, t); err != nil {
		return err
	}
	return e.stopTable(ctx, t, why)
}

// keepStopped lets a table that is not opened hold the acknowledgement at the
// last position that is known of it.
func (e *Engine) keepStopped(ctx context.Context, t *fedTable) error {
	t.stopped, t.stoppedAt = true, t.state.StoppedAt
	switch {
	case t.stoppedAt == 0:
		t.stoppedAt = e.epochs.Position()
	case !t.state.NeedsCopy:
		// It may have gone on from there before it was stopped: what it shows has
		// been acknowledged, and must not be asked for again.
		shown, _, err := e.published(ctx, &t.state)
		var stop *stopError
		if err != nil && !errors.As(tableFault(err), &stop) { // which stops it once more when it is to go on
			return err
		}
		t.stoppedAt = max(t.stoppedAt, shown)
	}
	if t.stoppedAt == 0 {
		slot, err := e.opt.Source.Slot(ctx)
		if err != nil {
			return err
		}
		t.stoppedAt = slot.ConfirmedFlush
	}
	return nil
}

// noteStoppedAt records where a table is that was refused at this start: the
// others go on from here.
func (e *Engine) noteStoppedAt(ctx context.Context, t *fedTable) error {
	return e.save(ctx, func(s *State) {
		st := s.table(t.state.OID)
		st.StoppedAt = t.stoppedAt
		t.state = *st
	})
}

func (e *Engine) openTable(ctx context.Context, t *fedTable) error {
	for _, mode := range t.state.Modes {
		w, err := openWriter(ctx, e.spec(&t.state, mode))
		if err != nil {
			return err
		}
		t.writers, t.modes = append(t.writers, w), append(t.modes, mode)
	}
	return nil
}

func (e *Engine) closeTables() {
	for _, t := range e.tables {
		t.close(e)
	}
}

func (t *fedTable) close(e *Engine) {
	for _, w := range t.writers {
		if err := w.Close(); err != nil {
			// Only the local cache is concerned, which is checked when it is opened.
			e.opt.Log.Warn("closing a table's local cache failed", "table", t.state.Name(), "error", err)
		}
	}
	t.writers, t.modes = nil, nil
	if t.copy != nil {
		t.copy.close()
	}
}

func (t *fedTable) rollback() {
	t.counted = changeCount{}
	for _, w := range t.writers {
		w.Rollback()
	}
}

// position is the least cut that all of the table's writers have reached.
func (t *fedTable) position() cdc.LSN {
	if t.stopped {
		return t.stoppedAt
	}
	p := cdc.LSN(0)
	for i, w := range t.writers {
		if i == 0 || w.Position() < p {
			p = w.Position()
		}
	}
	return p
}

// reached is the greatest cut that any of the table's writers shows.
func (t *fedTable) reached() cdc.LSN {
	p := cdc.LSN(0)
	for _, w := range t.writers {
		p = max(p, w.Position())
	}
	return p
}

// stopTable stops one table (I5): it is recorded, told, and holds the
// acknowledgement at the cut that it shows.
func (e *Engine) stopTable(ctx context.Context, t *fedTable, why *stopError) error {
	t.rollback()
	t.stopped = true
	err := e.save(ctx, func(s *State) {
		st := s.table(t.state.OID)
		st.Phase, st.Reason, st.Remedy, st.NeedsCopy = PhaseStopped, why.reason, why.remedy, why.recopy
		st.StoppedAt = t.stoppedAt
		st.Since = time.Now().UTC()
		t.state = *st
	})
	t.close(e)
	if err != nil {
		return err
	}
	e.tellStopped(&t.state)
	return nil
}

// recopyTable has a table copied again that the stream cannot help: its old
// content stays readable, and stays as it is, until the new copy is published.
func (e *Engine) recopyTable(ctx context.Context, t *fedTable, why *stopError) error {
	t.rollback()
	err := e.save(ctx, func(s *State) {
		st := s.table(t.state.OID)
		st.Phase, st.Reason, st.Remedy, st.NeedsCopy, st.StoppedAt, st.Repair = PhaseCopying, why.reason, "", false, 0, why.repair
		st.Generation++
		st.Since = time.Now().UTC()
		t.state = *st
	})
	t.close(e)
	if err != nil {
		return err
	}
	e.tables = slices.DeleteFunc(e.tables, func(o *fedTable) bool { return o == t })
	if e.opt.Events.TableResync != nil && !why.asked {
		e.opt.Events.TableResync(TableResync{Table: t.state.Name(), Reason: why.reason})
	}
	e.copier.look()
	return nil
}

func (e *Engine) tellStopped(t *TableState) {
	if e.opt.Events.TableStopped != nil {
		e.opt.Events.TableStopped(TableStopped{Table: t.Name(), Reason: t.Reason, Remedy: t.Remedy})
	}
}

// restartTable takes a stopped table up again: the stream begins where it
// stopped, and it stops again if what stopped it is still there.
func (e *Engine) restartTable(ctx context.Context, t *fedTable) error {
	at := t.state.StoppedAt
	err := e.save(ctx, func(s *State) {
		st := s.table(t.state.OID)
		st.Phase, st.Reason, st.Remedy = PhaseLive, "", ""
		st.Since = time.Now().UTC()
		t.state = *st // StoppedAt stays until the table has passed it
	})
	t.state.StoppedAt = at
	return err
}

// recall tells tables what the record of epochs knows of them. The stream may begin
// before the last epoch, for a table that was not in it, and in the middle of what
// a flush has made nothing of for the others: a row that came and went. From there
// on it would be a row that goes and was never there.
func (e *Engine) recall() {
	last, any := e.epochs.Last()
	if !any || e.adoptedSince(last.Recorded) || e.state.Rebase != nil {
		return
	}
	for _, t := range e.tables {
		if t.stopped || t.copy != nil {
			continue
		}
		for i, w := range t.writers {
			v, ok := e.epochs.Version(epochKey(t.modes[i], &t.state))
			if ok && (v == w.Version() || t.harmless[t.modes[i]] == versions{v, w.Version()}) {
				w.knows(e.epochs.Position())
			}
		}
	}
}

// resumeAt is the position from which the stream has to be delivered: every
// table shows everything up to there.
func (e *Engine) resumeAt() cdc.LSN {
	at := e.epochs.Position()
	lower := func(p cdc.LSN) {
		if at == 0 || p < at {
			at = p
		}
	}
	if at == 0 {
		for _, t := range e.tables {
			lower(t.position())
		}
	}
	if at == 0 { // nothing is copied yet
		for _, t := range e.copyingTables() {
			lower(t.CopyPoint)
		}
	}
	for _, t := range e.tables {
		switch {
		case t.stopped && t.state.NeedsCopy: // only a copy helps it, not what the source still has
		case t.stopped:
			lower(t.stoppedAt)
		case t.copy != nil:
			lower(t.position())
		case t.state.StoppedAt != 0:
			lower(max(t.state.StoppedAt, t.position()))
		}
	}
	if e.hold != 0 {
		lower(e.hold)
	}
	if e.unopened != 0 {
		lower(e.unopened)
	}
	return at
}
