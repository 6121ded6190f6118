package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
)

// setup makes slot, publication and state, or finds them as they were left.
// It gives the slot's own snapshot if it has made the slot now, else nil.
func (e *Engine) setup(ctx context.Context) (cdc.Snapshot, error) {
	if e.state == nil || e.state.Phase == PipelineCreating {
		return e.create(ctx)
	}
	return nil, e.resume(ctx)
}

// create begins a pipeline. Until the state says ready, everything is made
// again after a crash: no table has been published yet.
func (e *Engine) create(ctx context.Context) (cdc.Snapshot, error) {
	src := e.opt.Source
	tables, err := src.Tables(ctx)
	if err != nil {
		return nil, err
	}
	if len(tables) == 0 {
		return nil, &Error{
			Op: "selecting the tables", Kind: KindPreflight, Err: errors.New("no table of the source matches"),
			Remedy: "look at the patterns given, or use --all",
		}
	}
	_, err = src.Slot(ctx)
	switch {
	case err == nil && e.state == nil:
		return nil, &Error{
			Op: "making the replication slot", Object: e.opt.Slot, Kind: KindConflict,
			Err:    fmt.Errorf("%w, and the lake at %s does not know it", cdc.ErrSlotExists, e.opt.Lake.URL()),
			Remedy: "name the lake that it feeds; or another slot with --slot; or, if nothing uses it any more, SELECT pg_drop_replication_slot('" + e.opt.Slot + "')",
		}
	case err != nil && !errors.Is(err, cdc.ErrNoSlot):
		return nil, err
	}
	states := make([]TableState, len(tables))
	for i, rel := range tables {
		states[i] = e.newTable(rel)
		if err := checkColumns(rel, states[i].Modes); err != nil {
			return nil, err
		}
	}
	if err := e.checkFolders(ctx, states); err != nil {
		return nil, err
	}
	if e.state == nil {
		e.state = &State{Pipeline: e.opt.Name}
	}
	var before []TableState
	if len(e.state.Adoptions) > 0 {
		before = e.state.Tables
	}
	err = e.save(ctx, func(s *State) {
		s.Phase, s.Source, s.Slot, s.Publication = PipelineCreating, e.identity, e.opt.Slot, e.opt.Publication
		s.Incarnation, s.Session, s.Tables = uuid.NewString(), uuid.NewString(), kept(before, states)
		s.Timelines = e.history
	})
	if err != nil {
		return nil, err
	}
	crashpoint.At(crashpoint.SlotCreating)
	if err := src.DropSlot(ctx); err != nil { // of an attempt that crashed
		return nil, err
	}
	if err := e.publish(ctx, tables, states); err != nil {
		return nil, err
	}
	snap, err := src.CreateSlot(ctx)
	if err != nil {
		return nil, err
	}
	crashpoint.At(crashpoint.SlotCreated)
	now := time.Now().UTC()
	for i := range states {
		states[i].SnapshotTime, states[i].CopyPoint = now, snap.Point()
	}
	err = e.save(ctx, func(s *State) {
		s.Phase, s.Tables = PipelineReady, kept(before, states)
		s.SlotPoint, s.SlotRestart, s.Halt = snap.Point(), 0, nil
		if len(s.Adoptions) > 0 { // positions begin anew
			s.Rebase = &Rebase{At: snap.Point(), Timeline: e.identity.Timeline}
		}
	})
	if err != nil {
		return nil, errors.Join(err, snap.Close())
	}
	crashpoint.At(crashpoint.SlotReady)
	return snap, nil
}

// kept are the tables that are to be copied, and those of before an adoption
// that the source has no more, which the lake keeps as they are. Their OIDs
// were another cluster's and mean nothing now.
func kept(before, now []TableState) []TableState {
	list := slices.Clone(now)
	for _, old := range before {
		if slices.ContainsFunc(now, func(t TableState) bool { return t.Name() == old.Name() }) {
			continue
		}
		if old.Phase != PhaseDetached {
			old.detach()
			old.Since = time.Now().UTC()
		}
		old.OID = 0
		list = append(list, old)
	}
	return list
}

func (e *Engine) newTable(rel *cdc.Relation) TableState {
	modes := e.opt.Modes(rel)
	if len(modes) == 0 {
		modes = []Mode{ModeMirror}
	}
	return TableState{
		OID: rel.OID, Schema: rel.Schema, Table: rel.Name, Phase: PhaseCopying,
		Modes: modes, InsertOnly: rel.InsertOnly, Generation: 1, Since: time.Now().UTC(),
	}
}

// checkColumns refuses a table that has columns which the lake cannot have.
func checkColumns(rel *cdc.Relation, modes []Mode) error {
	for _, mode := range modes {
		if _, err := typemap.Schema(rel, ownColumns(mode)...); err != nil {
			return &Error{
				Op: "laying out the lake", Object: rel.String(), Kind: KindPreflight, Err: err,
				Remedy: "exclude the table, or rename the column at the source",
			}
		}
	}
	return nil
}

// ownColumns are the columns that a new table has beside the source's.
func ownColumns(mode Mode) []tablefmt.Field {
	if mode == ModeChangelog {
		return typemap.ChangelogColumns()
	}
	return nil
}

// checkFolders refuses, before anything is changed, tables whose folders in
// the lake are taken.
func (e *Engine) checkFolders(ctx context.Context, tables []TableState) error {
	users := map[string]string{}
	for i := range tables {
		t := &tables[i]
		for _, mode := range t.Modes {
			path := tablePath(mode, t.Schema, t.Table)
			if other, taken := users[path]; taken {
				return &Error{
					Op: "laying out the lake", Object: path, Kind: KindPreflight,
					Err:    fmt.Errorf("both %s and the %s of %s would lie there", other, mode, t.Name()),
					Remedy: "exclude one of the two tables, or keep it in another mode",
				}
			}
			users[path] = string(mode) + " of " + t.Name()
			snap, err := tablefmt.Load(ctx, location(e.opt.Lake, mode, t))
			if errors.Is(err, tablefmt.ErrNoTable) {
				continue
			}
			if err != nil {
				return fmt.Errorf("looking at %s in the lake: %w", path, err)
			}
			spec := tableSpec{pipeline: e.opt.Name, source: e.identity, state: *t, mode: mode, loc: snap.Location()}
			if e.state != nil {
				spec.formerly = e.state.formerly()
			}
			if err := checkOwner(snap, &spec); err != nil {
				return err
			}
		}
	}
	return nil
}

// resume takes a pipeline up again, and takes in tables that are new.
func (e *Engine) resume(ctx context.Context) error {
	src := e.opt.Source
	if err := e.stillHalted(); err != nil {
		return err
	}
	slot, err := src.Slot(ctx)
	if errors.Is(err, cdc.ErrNoSlot) {
		return &Error{
			Op: "resuming the pipeline", Object: e.opt.Name, Kind: KindConflict,
			Err:    lossError{fmt.Errorf("%w: the lake has a position, but the slot %q that it was fed from is gone: changes since may be lost", cdc.ErrNoSlot, e.opt.Slot)},
			Remedy: "find out who dropped the slot; " + remedyAdopt,
		}
	}
	if err != nil {
		return err
	}
	if err := e.checkSlot(ctx, slot); err != nil {
		return err
	}
	if c, ok := src.(cdc.Claimer); ok && slot.Active {
		// Nothing is written before the slot is free: an engine that works would
		// stop at it.
		if err := c.Claim(ctx); err != nil {
			return err
		}
	}
	tables, err := src.Tables(ctx)
	if err != nil {
		return err
	}
	members, err := src.Published(ctx)
	if err != nil {
		return err
	}
	next := e.state.clone()
	next.Session = uuid.NewString()
	if err := e.crossSwitch(ctx, next); err != nil {
		return err
	}
	next.Source, next.Timelines, next.Halt = e.identity, e.history, nil
	if next.SlotPoint == 0 { // of a lake that is older than this
		next.SlotPoint = slot.ConfirmedFlush
	}
	next.SlotRestart = slot.Restart
	e.reconcile(next, tables, members)
	var fresh []TableState
	for _, rel := range tables {
		if next.table(rel.OID) != nil {
			continue
		}
		t := e.newTable(rel)
		t.Membership = members[rel.OID] // not zero if somebody else has published it
		if err := checkColumns(rel, t.Modes); err != nil {
			return err
		}
		fresh = append(fresh, t)
	}
	if err := e.checkFolders(ctx, fresh); err != nil {
		return err
	}
	next.Tables = append(slices.DeleteFunc(next.Tables, func(old TableState) bool { // it has come back
		return old.OID == 0 && slices.ContainsFunc(fresh, func(t TableState) bool { return t.Name() == old.Name() })
	}), fresh...)
	// What has stopped is recorded before the publication is mended, or the
	// next start would find it whole.
	if err := e.save(ctx, func(s *State) { number := s.number; *s = *next; s.number = number }); err != nil {
		return err
	}
	e.descent = descent{same: true}
	if !slices.ContainsFunc(tables, func(rel *cdc.Relation) bool { return members[rel.OID] == 0 }) {
		return nil
	}
	states := slices.Clone(e.state.Tables)
	err = e.publish(ctx, tables, states)
	if errors.Is(err, cdc.ErrDenied) {
		err = e.publishEach(ctx, tables, members, states)
	}
	if err != nil {
		return err
	}
	return e.save(ctx, func(s *State) { s.Tables = states })
}

// publishEach puts new tables into the publication one by one, where not all
// of them may be put there: those are left out, and the others go on.
func (e *Engine) publishEach(ctx context.Context, tables []*cdc.Relation, members map[uint32]uint64, states []TableState) error {
	var in []*cdc.Relation
	for _, rel := range tables {
		if members[rel.OID] != 0 {
			in = append(in, rel)
		}
	}
	for _, rel := range tables {
		if members[rel.OID] != 0 {
			continue
		}
		err := e.publish(ctx, append(slices.Clone(in), rel), states)
		if err == nil {
			in = append(in, rel)
			continue
		}
		if !errors.Is(err, cdc.ErrDenied) {
			return err
		}
		i := slices.IndexFunc(states, func(t TableState) bool { return t.OID == rel.OID })
		t := &states[i]
		t.detach()
		t.Reason, t.Remedy, t.Since = "it may not be put into the publication: "+err.Error(), hintOf(err), time.Now().UTC()
		e.tellStopped(t)
	}
	return nil
}

// publish puts the tables into the publication, and notes the memberships of
// those that are still to be copied: their copy will hold what was before.
func (e *Engine) publish(ctx context.Context, tables []*cdc.Relation, states []TableState) error {
	if err := e.opt.Source.Publish(ctx, tables); err != nil {
		return err
	}
	members, err := e.opt.Source.Published(ctx)
	if err != nil {
		return err
	}
	for i := range states {
		if t := &states[i]; t.Phase == PhaseCopying {
			t.Membership = members[t.OID]
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
	}
	for i := range s.Tables {
		t := &s.Tables[i]
		was := t.Phase
		switch {
		case t.Phase != PhaseCopying && !selected[t.OID]:
			t.detach()
		case t.Phase == PhaseDetached && selected[t.OID]:
			t.Phase, t.Reason, t.Remedy = PhaseCopying, "", ""
			t.Generation++
			t.Membership = members[t.OID]
		case (t.Phase == PhaseLive || t.Phase == PhaseStopped && !t.NeedsCopy) && members[t.OID] != t.Membership:
			t.Phase, t.NeedsCopy, t.Remedy = PhaseStopped, true, remedyResync
			t.Reason = "it was taken out of the publication for a time: changes are missing"
		case t.Phase == PhaseCopying && members[t.OID] != 0:
			t.Membership = members[t.OID] // whatever was before, the copy will hold it
		}
		if t.Phase != was {
			t.Since = time.Now().UTC()
			e.opt.Log.Warn("a table's place has changed", "table", t.Name(), "was", was, "is", t.Phase, "reason", t.Reason)
		}
	}
}

func (t *TableState) detach() {
	t.Phase, t.NeedsCopy, t.StoppedAt = PhaseDetached, false, 0
	t.Reason, t.Remedy = "the source has no such table any more, or it is not selected", "select it again: it is then copied again"
}
