package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/epoch"
)

// ErrNotOurs says that the source's history is not the lake's: another
// cluster, another branch of its log, or a slot that somebody has made anew.
var ErrNotOurs = errors.New("the source is not the one that the lake was fed from")

const remedyAdopt = "`lakeload adopt` shows what has changed, takes the lake over to this source knowingly, and has all tables copied again, their old content readable until then"

// identify asks the source who it is, and compares that with the lake's state.
// It changes nothing.
func (e *Engine) identify(ctx context.Context) error {
	id, err := e.opt.Source.Identify(ctx)
	if err != nil {
		return err
	}
	now := lineage{timeline: id.Timeline}
	if id.Timeline != 1 {
		if now.history, err = e.opt.Source.Timelines(ctx); err != nil {
			return err
		}
	}
	e.identity, e.history = id, now.history
	if e.state == nil {
		return nil
	}
	return e.checkState(e.state, now)
}

// checkState refuses a lake that was fed from elsewhere (I2, I6).
func (e *Engine) checkState(st *State, now lineage) error {
	bad := func(what, have, want, remedy string) error {
		return &Error{
			Op: "opening the lake", Object: e.opt.Lake.URL(), Kind: KindConflict,
			Err:    fmt.Errorf("%w: pipeline %q was fed from %s %s, and this is %s", ErrNotOurs, e.opt.Name, what, have, want),
			Remedy: remedy,
		}
	}
	other := "name the source that the lake belongs to, or another lake folder, or another pipeline with --name; after a pg_upgrade or a restore: " + remedyAdopt
	switch {
	case st.Source.SystemID != e.identity.SystemID:
		return bad("the database cluster with system identifier", st.Source.SystemID, e.identity.SystemID, other)
	case st.Source.Database != e.identity.Database:
		return bad("database", st.Source.Database, e.identity.Database, other)
	case st.Slot != e.opt.Slot:
		return bad("slot", st.Slot, e.opt.Slot, "give the slot's name that the lake was fed from")
	case st.Publication != e.opt.Publication:
		return bad("publication", st.Publication, e.opt.Publication, "give the publication's name that the lake was fed from")
	}
	if s := st.Source.Started; !s.IsZero() && s.Equal(e.identity.Started) {
		// The very process that the lake was fed from: a standby that was promoted,
		// or whose primary was. What it has sent is in its history.
		e.descent = descent{same: true}
		return nil
	}
	d, err := now.from(lineage{timeline: st.Source.Timeline, history: st.Timelines})
	if err != nil {
		return &Error{
			Op: "opening the lake", Object: e.opt.Lake.URL(), Kind: KindConflict, Err: fmt.Errorf("%w: %w", ErrNotOurs, err),
			Remedy: "connect to the server that took the old one's place; if this is the one that is to be mirrored: " + remedyAdopt,
		}
	}
	e.descent = d
	return nil
}

// reach is the greatest position that an epoch or a table shows, with what
// shows it.
type reach struct {
	at  cdc.LSN
	who []string
}

func (r *reach) add(at cdc.LSN, who string) {
	switch {
	case at == r.at && at != 0:
		r.who = append(r.who, who)
	case at > r.at:
		r.at, r.who = at, []string{who}
	}
}

// greatest looks at the record of epochs and at all tables that are fed. An
// idle position is none of those: it shows nothing.
func (e *Engine) greatest(ctx context.Context, epochs *epoch.Log) (reach, error) {
	var r reach
	if last, any := epochs.Last(); any {
		r.add(last.LSN, fmt.Sprintf("epoch %d", last.Number))
	}
	for i := range e.state.Tables {
		t := &e.state.Tables[i]
		if t.gone() {
			continue
		}
		for _, mode := range t.Modes {
			spec := e.spec(t, mode)
			snap, err := loadExisting(ctx, &spec)
			if err != nil {
				return r, err
			}
			if snap == nil {
				continue
			}
			if cut, ok := snap.Txn(spec.appID()); ok {
				r.add(cdc.LSN(cut), spec.String())
			}
		}
	}
	return r, nil
}

// crossSwitch takes the state over to the server's timeline, if that is
// another one than the lake's (I2): what the lake shows has to be in its
// history; an idle position later than that is cut back.
func (e *Engine) crossSwitch(ctx context.Context, next *State) error {
	if e.descent.same {
		return nil
	}
	at := e.descent.at
	epochs, err := epoch.Open(ctx, e.opt.Lake, e.opt.Name, "")
	if err != nil {
		return &Error{Op: "opening the record of epochs", Object: e.opt.Name, Err: err}
	}
	r, err := e.greatest(ctx, epochs)
	if err != nil {
		return err
	}
	if r.at > at {
		slices.Sort(r.who)
		return &Error{
			Op: "following the source to timeline " + fmt.Sprint(e.identity.Timeline), Object: e.opt.Name, Kind: KindConflict,
			Err: finalError{fmt.Errorf("%w: the lake is ahead: %s show everything before %s, and timeline %d ended at %s; what came after that the server does not have",
				ErrNotOurs, strings.Join(r.who, ", "), r.at, e.state.Source.Timeline, at)},
			Remedy: "the promoted server had not got everything (see synchronized_standby_slots); if it is to be mirrored as it is: " + remedyAdopt,
		}
	}
	if epochs.Position() > at {
		next.Rebase = &Rebase{At: at, Timeline: e.identity.Timeline}
	}
	for i := range next.Tables {
		t := &next.Tables[i]
		t.StoppedAt = min(t.StoppedAt, at)
		if t.Phase == PhaseCopying {
			// What was copied may not be in the server's history, and ids of
			// transactions, by which ranges of keys are joined with the stream, may be
			// in use for other ones.
			t.Generation++
		}
	}
	e.opt.Log.Warn("the server is on another timeline, and has all that the lake has",
		"was", e.state.Source.Timeline, "is", e.identity.Timeline, "ended_at", at, "lake_at", r.at)
	return nil
}

// checkSlot refuses a slot that cannot be the one that the lake was fed from.
func (e *Engine) checkSlot(ctx context.Context, slot cdc.SlotState) error {
	bad := func(err error) error {
		return &Error{Op: "resuming the pipeline", Object: e.opt.Name, Kind: KindConflict, Err: err, Remedy: remedyAdopt}
	}
	loss := func(format string, args ...any) error { return bad(lossError{fmt.Errorf(format, args...)}) }
	final := func(format string, args ...any) error { return bad(finalError{fmt.Errorf(format, args...)}) }
	st := e.state
	switch {
	case slot.Lost:
		return loss("the server has invalidated the slot %q (wal_status %s%s): changes are lost", e.opt.Slot, slot.WALStatus, orReason(slot.Reason))
	case slot.ConfirmedFlush != 0 && slot.ConfirmedFlush < st.SlotPoint:
		return final("%w: the slot %q is at %s, before %s, where the lake's slot was made: the server was restored from a backup, or the slot is another one",
			ErrNotOurs, e.opt.Slot, slot.ConfirmedFlush, st.SlotPoint)
	case e.descent.same && slot.Restart != 0 && slot.Restart < st.SlotRestart:
		return final("%w: the slot %q needs the log from %s on, and had let go of what is before %s: the server was restored from a backup, or the slot is another one",
			ErrNotOurs, e.opt.Slot, slot.Restart, st.SlotRestart)
	}
	epochs, err := epoch.Open(ctx, e.opt.Lake, e.opt.Name, "")
	if err != nil {
		return &Error{Op: "opening the record of epochs", Object: e.opt.Name, Err: err}
	}
	// Before anything is copied; the stream is held to it again, table by table.
	at := epochs.Position()
	if st.Rebase != nil {
		at = st.Rebase.At
	}
	if !e.descent.same {
		at = min(at, e.descent.at)
	}
	if slot.Current != 0 && at > slot.Current {
		why := fmt.Errorf("%w: the lake has everything before %s, but the server's log ends at %s", cdc.ErrReset, at, slot.Current)
		if e.identity.Standby { // it replays what it has, and is not there yet
			return &cdc.Error{Op: "resuming the pipeline", Object: e.opt.Name, Class: cdc.ClassRetry, Err: why}
		}
		return bad(finalError{fmt.Errorf("%w: it was restored from a backup, or another server has taken its place", why)})
	}
	if at != 0 && slot.ConfirmedFlush > at {
		return loss("the slot %q has been acknowledged up to %s, but the lake has only what is before %s: somebody has read it, or has made it anew, and what lies between cannot be had any more",
			e.opt.Slot, slot.ConfirmedFlush, at)
	}
	return nil
}

func orReason(reason string) string {
	if reason == "" {
		return ""
	}
	return ", " + reason
}

// openStream opens the stream. On which process of a server it was opened is
// recorded before anything of it is used: if that process is promoted later,
// what it has sent is in its history all the same.
func (e *Engine) openStream(ctx context.Context, from cdc.LSN) (cdc.Stream, error) {
	stream, err := e.opt.Source.Stream(ctx, from)
	if err != nil {
		return nil, err
	}
	h, ok := e.opt.Source.(cdc.Hosted)
	if !ok {
		return stream, nil
	}
	if host := h.Host(); !host.Started.Equal(e.state.Source.Started) {
		err = e.save(ctx, func(s *State) { s.Source.Started, s.Source.Standby = host.Started, host.Standby })
	}
	if err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	return stream, nil
}
