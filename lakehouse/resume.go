package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/mask"
	"github.com/lakeload/lakeload/lakehouse/typemap"
)

// resume takes a pipeline up again, and takes in tables that are new.
func (e *Engine) resume(ctx context.Context) error {
	slot, err := e.resumable(ctx)
	if err != nil {
		return err
	}
	tables, err := e.opt.Source.Tables(ctx)
	if err != nil {
		return err
	}
	members, err := e.opt.Source.Published(ctx)
	if err != nil {
		return err
	}
	if tables, err = e.withRenamed(ctx, tables); err != nil {
		return err
	}
	next := e.state.clone()
	next.Session, next.Host = uuid.NewString(), hostname()
	if err := e.crossSwitch(ctx, next); err != nil {
		return err
	}
	next.Source, next.Timelines, next.Halt = e.identity, e.history, nil
	if next.SlotPoint == 0 { // of a lake that is older than this
		next.SlotPoint = slot.ConfirmedFlush
	}
	next.SlotRestart = slot.Restart
	if err := e.checkOptions(next, tables); err != nil {
		return err
	}
	e.reconcile(next, tables, members)
	// What has stopped is recorded before the publication is mended, or the
	// next start would find it whole.
	if err := e.save(ctx, func(s *State) { number := s.number; *s = *next; s.number = number }); err != nil {
		return err
	}
	e.descent = descent{same: true}
	if err := e.takeInAtStart(ctx, tables); err != nil {
		return err
	}
	if err := e.unpublish(ctx, e.state.Tables); err != nil {
		return err
	}
	fed := slices.DeleteFunc(slices.Clone(tables), func(rel *cdc.Relation) bool {
		t := e.state.table(rel.OID)
		return t == nil || t.Phase == PhaseOffered || t.Phase == PhaseDropped
	})
	if !slices.ContainsFunc(fed, func(rel *cdc.Relation) bool { return members[rel.OID] == 0 }) {
		return nil
	}
	states := slices.Clone(e.state.Tables)
	err = e.publish(ctx, fed, states)
	if errors.Is(err, cdc.ErrDenied) {
		err = e.publishEach(ctx, fed, members, states)
	}
	if err != nil {
		return err
	}
	return e.save(ctx, func(s *State) { s.Tables = states })
}

// resumable makes sure that the slot is there, is the lake's, and is ours
// alone. Nothing is written before that: an engine that works would stop at it.
func (e *Engine) resumable(ctx context.Context) (cdc.SlotState, error) {
	if err := e.stillHalted(); err != nil {
		return cdc.SlotState{}, err
	}
	slot, err := e.opt.Source.Slot(ctx)
	if errors.Is(err, cdc.ErrNoSlot) {
		return slot, &Error{
			Op: "resuming the pipeline", Object: e.opt.Name, Kind: KindConflict,
			Err:    lossError{fmt.Errorf("%w: the lake has a position, but the slot %q that it was fed from is gone: changes since may be lost", cdc.ErrNoSlot, e.opt.Slot)},
			Remedy: "find out who dropped the slot; " + remedyAdopt,
		}
	}
	if err == nil {
		err = e.checkSlot(ctx, slot)
	}
	if c, ok := e.opt.Source.(cdc.Claimer); err == nil && ok && slot.Active {
		err = c.Claim(ctx)
	}
	return slot, err
}

// takeInAtStart takes in the tables that are new since the last run.
func (e *Engine) takeInAtStart(ctx context.Context, tables []*cdc.Relation) error {
	fresh := e.fresh(e.state.Tables, tables)
	if len(fresh) == 0 || e.opt.OnNewTable == NewTableIgnore {
		return nil
	}
	states, err := e.takeIn(ctx, slices.Clone(e.state.Tables), tables, fresh, false)
	if err == nil {
		err = e.save(ctx, func(s *State) { s.add(states) })
	}
	if err == nil {
		e.tellFound(states)
	}
	return err
}

// withRenamed adds tables that are followed, and that the patterns do not
// select any more because they are called otherwise now.
func (e *Engine) withRenamed(ctx context.Context, tables []*cdc.Relation) ([]*cdc.Relation, error) {
	source, ok := e.opt.Source.(cdc.Watcher)
	if !ok {
		return tables, nil
	}
	var missing []uint32
	for _, t := range e.state.Tables {
		if t.Followed() && !slices.ContainsFunc(tables, func(rel *cdc.Relation) bool { return rel.OID == t.OID }) {
			missing = append(missing, t.OID)
		}
	}
	if len(missing) == 0 {
		return tables, nil
	}
	looks, err := source.Look(ctx, missing)
	if err != nil {
		return nil, err
	}
	for _, oid := range missing {
		if is, ok := looks[oid]; ok && is.Relation.String() != e.state.table(oid).SourceName() {
			tables = append(tables, is.Relation)
		}
	}
	return tables, nil
}

// publishEach puts new tables into the publication one by one, where not all
// of them may be put there: those are left out, and the others go on.
func (e *Engine) publishEach(ctx context.Context, tables []*cdc.Relation, members map[uint32]uint64, states []TableState) error {
	missing := slices.DeleteFunc(slices.Clone(tables), func(rel *cdc.Relation) bool { return members[rel.OID] != 0 })
	denied, err := e.publishOneByOne(ctx, tables, missing)
	if err != nil {
		return err
	}
	for i := range states {
		if t, why := &states[i], denied[states[i].OID]; why != nil {
			t.detach()
			t.Reason, t.Remedy, t.Since = "it may not be put into the publication: "+why.Error(), hintOf(why), time.Now().UTC()
			e.tellStopped(t)
		}
	}
	return e.noteMembers(ctx, states)
}

// publishOneByOne publishes those of fresh that may be, and says of the others
// why they may not. tables has them all, and what is published already.
func (e *Engine) publishOneByOne(ctx context.Context, tables, fresh []*cdc.Relation) (denied map[uint32]error, err error) {
	denied = map[uint32]error{}
	in := slices.DeleteFunc(slices.Clone(tables), func(rel *cdc.Relation) bool { return slices.Contains(fresh, rel) })
	for _, rel := range fresh {
		err := e.opt.Source.Publish(ctx, append(slices.Clone(in), rel))
		switch {
		case err == nil:
			in = append(in, rel)
		case errors.Is(err, cdc.ErrDenied):
			denied[rel.OID] = err
		default:
			return nil, err
		}
	}
	return denied, nil
}

// publish puts the tables into the publication, and notes the memberships of
// those that are still to be copied: their copy will hold what was before.
func (e *Engine) publish(ctx context.Context, tables []*cdc.Relation, states []TableState) error {
	if err := e.opt.Source.Publish(ctx, tables); err != nil {
		return err
	}
	return e.noteMembers(ctx, states)
}

func (e *Engine) noteMembers(ctx context.Context, states []TableState) error {
	members, err := e.opt.Source.Published(ctx)
	if err != nil {
		return err
	}
	for i := range states {
		if t := &states[i]; t.Phase == PhaseCopying {
			t.joins(members[t.OID])
		}
	}
	return nil
}

// reconcile compares the tables that the lake is fed with what the source
// selects and publishes now.
func (e *Engine) reconcile(s *State, tables []*cdc.Relation, members map[uint32]uint64) {
	selected := map[uint32]bool{}
	for _, rel := range tables {
		selected[rel.OID] = true
		if t := s.table(rel.OID); t != nil {
			e.renamed(t, rel)
			e.reconfigure(t, rel)
		}
	}
	s.Tables = slices.DeleteFunc(s.Tables, func(t TableState) bool {
		return !selected[t.OID] && (t.Phase == PhaseOffered || t.neverCopied())
	})
	for i := range s.Tables {
		t := &s.Tables[i]
		was := t.Phase
		switch {
		case t.Phase == PhaseOffered, t.Phase == PhaseDropped:
		case !selected[t.OID]:
			t.detach()
		case t.Phase == PhaseDetached && selected[t.OID]:
			t.Phase, t.Reason, t.Remedy = PhaseCopying, "", ""
			t.Generation++
			t.Membership = members[t.OID]
		case (t.Phase == PhaseLive || (t.Phase == PhaseStopped || t.Phase == PhasePaused) && !t.NeedsCopy) && members[t.OID] != t.Membership:
			t.Phase, t.NeedsCopy, t.Remedy = PhaseStopped, true, remedyResync
			t.Reason = "it was taken out of the publication for a time: changes are missing"
		case t.Phase == PhaseCopying && members[t.OID] != 0:
			t.joins(members[t.OID])
		}
		if t.Phase != was {
			t.Since = time.Now().UTC()
			e.opt.Log.Warn("a table's place has changed", "table", t.Name(), "was", was, "is", t.Phase, "reason", t.Reason)
		}
	}
}

// renamed takes over what the source calls a table, or does what the policy
// says.
func (e *Engine) renamed(t *TableState, rel *cdc.Relation) {
	action := e.opt.OnSchemaChange.Rename
	if rel.String() == t.SourceName() || t.Phase != PhaseLive || action == typemap.Follow {
		t.follow(rel)
		return
	}
	if action == typemap.Resync {
		t.Phase = PhaseCopying
		t.Generation++
		return
	}
	t.Phase, t.Remedy = PhaseStopped, remedyResync
	t.Reason = "the source's table is now called " + rel.String()
}

// checkOptions refuses, before anything is changed, what the configuration now
// says otherwise of tables and what they cannot be kept by.
func (e *Engine) checkOptions(s *State, tables []*cdc.Relation) error {
	for _, rel := range tables {
		t := s.table(rel.OID)
		if t == nil || t.Phase == PhaseOffered {
			continue
		}
		want := e.opt.Table(rel)
		next, m := t.move(&want)
		if len(m.notes) == 0 {
			continue
		}
		if err := checkColumns(rel, &next); err != nil {
			return err
		}
	}
	return nil
}

// reconfigure takes over what the configuration says of a table now.
func (e *Engine) reconfigure(t *TableState, rel *cdc.Relation) {
	want := e.wanted(rel)
	was := t.Phase
	m := t.reconfigure(&want, mask.Beneath(rel))
	if m.refused != "" && t.Phase == PhaseStopped {
		e.opt.Log.Error("a table is not followed", "table", t.Name(), "reason", t.Reason, "what_to_do", t.Remedy)
		t.Since = time.Now().UTC()
		e.tellStopped(t)
		return
	}
	if len(m.notes) > 0 {
		e.opt.Log.Warn("a table is kept otherwise from now on", "table", t.Name(), "changes", m.String(), "copied_again", m.resync)
		if t.Phase != was {
			t.Since = time.Now().UTC()
		}
	}
}

func (t *TableState) detach() {
	t.Phase, t.NeedsCopy, t.StoppedAt = PhaseDetached, false, 0
	t.Reason, t.Remedy = "the source has no such table any more, or it is not selected", "select it again: it is then copied again"
}
