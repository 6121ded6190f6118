package lakehouse

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// operateWait bounds how long an action waits for its turn between two flushes.
const operateWait = time.Minute

// Act does an action about a table while the engine runs, between two flushes,
// while the other tables go on. It returns when it is recorded, with what is: a
// table that is resumed or copied again then still has its way to go. Any
// goroutine may call it.
func (e *Engine) Act(ctx context.Context, table string, action TableAction) (TableState, error) {
	ctx, cancel := context.WithTimeout(ctx, operateWait)
	defer cancel()
	var is TableState
	absent := false // the stream does not carry it
	if action == ActionResync || action == ActionDrop {
		done, err := e.alone(ctx)
		if err != nil {
			return is, notReached(table, action, err)
		}
		defer done()
	}
	err := e.do(ctx, func(ctx context.Context) (err error) {
		is, absent, err = e.actNow(ctx, table, action)
		return err
	})
	if err == nil && absent {
		is, err = e.takeInAsked(ctx, &is)
	}
	if err == nil && action == ActionDrop {
		err = e.unpublish(ctx, []TableState{is})
	}
	return is, notReached(table, action, err)
}

// notReached makes of the end of the time for an action an error that says why.
func notReached(table string, action TableAction, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &Error{
		Op: "to " + string(action) + " a table", Object: table, Err: errors.New("the engine has not come to it: it makes its first copy, or a flush takes long"),
		Remedy: "ask again later; `lakeload status` shows what it does",
	}
}

// actNow does an action where it can be done between two flushes. absent says
// that the table has to be taken in first, for which the source is asked.
func (e *Engine) actNow(ctx context.Context, table string, action TableAction) (is TableState, absent bool, err error) {
	st := e.state.named(table)
	if st == nil {
		return is, false, e.state.noSuchTable(action, table)
	}
	if action == ActionResync && !st.Followed() {
		return *st, true, nil
	}
	t := e.fed(st.OID)
	next := *st
	changed, err := next.act(action)
	if err != nil || !changed {
		return next, false, err
	}
	if next.Phase == PhasePaused && !next.NeedsCopy || next.Phase == PhaseLive {
		next.StoppedAt = e.standsAt(t, st)
	}
	if err := e.save(ctx, func(s *State) { *s.table(next.OID) = next }); err != nil {
		return next, false, err
	}
	e.replace(ctx, t, &next)
	return next, false, nil
}

// standsAt is the last cut that a table shows, of which t is nil where no stream
// has it yet.
func (e *Engine) standsAt(t *fedTable, st *TableState) cdc.LSN {
	switch {
	case t != nil && t.stopped: // also one that is to go on and that the stream has not gone back for yet
		return t.stoppedAt
	case t != nil:
		return max(e.shown, t.position())
	case st.StoppedAt != 0: // it was copied just now
		return st.StoppedAt
	}
	return e.shown
}

// replace makes what the engine works on follow what is recorded of a table
// now. t is nil for one that no stream has yet.
func (e *Engine) replace(ctx context.Context, t *fedTable, is *TableState) {
	e.copier.abort(is.OID, errCopyEnded)
	if t != nil {
		t.rollback()
		if t.copy != nil {
			t.copy.giveUp(errCopyEnded)
			e.clearCopy(ctx, t.state)
		}
		t.close(e)
		t.state, t.copy, t.resting = *is, nil, false
		delete(e.resting, is.OID)
	}
	leave := func() {
		e.tables = slices.DeleteFunc(e.tables, func(o *fedTable) bool { return o.state.OID == is.OID })
	}
	switch is.Phase {
	case PhasePaused:
		if t == nil {
			t = &fedTable{state: *is}
			e.tables = append(e.tables, t)
		}
		t.stopped, t.stoppedAt = true, is.StoppedAt
	case PhaseLive:
		e.rejoin = true // the stream goes back to where the table is
	case PhaseCopying:
		leave()
		if e.opt.Events.TableResync != nil {
			e.opt.Events.TableResync(TableResync{Table: is.Name(), Reason: "it was asked for"})
		}
		e.copier.look()
	default:
		leave()
	}
}

// clearCopy removes the logs of a copy that nothing goes on with any more. What
// is left of them only takes room.
func (e *Engine) clearCopy(ctx context.Context, st TableState) {
	for _, mode := range st.Modes {
		if err := newCopyLog(e.opt.Lake, e.spec(&st, mode)).clear(ctx); err != nil {
			e.opt.Log.Warn("the log of a copy that was given up could not be removed", "table", st.Name(), "error", err)
		}
	}
}

// takeInAsked takes in a table that the stream does not carry, because somebody
// asks for it.
func (e *Engine) takeInAsked(ctx context.Context, was *TableState) (TableState, error) {
	refuse := func(err error, remedy string) (TableState, error) {
		return *was, &Error{Op: "to resync a table", Object: was.Name(), Err: err, Remedy: remedy}
	}
	selected, err := e.opt.Source.Tables(ctx)
	if err != nil {
		return *was, err
	}
	i := slices.IndexFunc(selected, func(rel *cdc.Relation) bool { return rel.OID == was.OID || rel.String() == was.SourceName() })
	if i < 0 {
		return refuse(errors.New("the source has no such table, or it is not selected"), "select it in the configuration, or with --tables, and start the engine again")
	}
	known, err := e.known(ctx)
	if err != nil {
		return *was, err
	}
	states, err := e.takeIn(ctx, known, selected, selected[i:i+1], true)
	if err != nil {
		return *was, err
	}
	is := states[0]
	if is.Phase != PhaseCopying {
		return refuse(errors.New(is.Reason), is.Remedy)
	}
	is.Generation = was.Generation + 1 // the lake may hold the one before
	err = e.do(ctx, func(ctx context.Context) error {
		return e.save(ctx, func(s *State) {
			s.Tables = slices.DeleteFunc(s.Tables, func(o TableState) bool { return o.OID == was.OID })
			s.add([]TableState{is})
		})
	})
	if err != nil {
		return *was, err
	}
	e.tellFound([]TableState{is})
	e.copier.look()
	return is, nil
}

// unpublish takes tables that were dropped out of the stream, if the source can.
// One that may not be costs what it takes to send its changes and throw them
// away, and nothing else.
func (e *Engine) unpublish(ctx context.Context, known []TableState) error {
	source, ok := e.opt.Source.(cdc.Unpublisher)
	if !ok {
		return nil
	}
	members, err := e.opt.Source.Published(ctx)
	if err != nil {
		return err
	}
	var surplus []uint32
	for i := range known {
		if t := &known[i]; t.Phase == PhaseDropped && members[t.OID] != 0 {
			surplus = append(surplus, t.OID)
		}
	}
	if len(surplus) == 0 {
		return nil
	}
	err = source.Unpublish(ctx, surplus)
	if errors.Is(err, cdc.ErrDenied) {
		e.opt.Log.Warn("a table that was dropped stays in the publication: its changes are sent and thrown away", "error", err, "what_to_do", hintOf(err))
		return nil
	}
	return err
}
