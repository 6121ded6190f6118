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
	looks, err := e.lookAt(ctx, tables)
	if err != nil {
		return nil, err
	}
	states := make([]TableState, len(tables))
	for i, rel := range tables {
		states[i] = e.newTable(rel)
		states[i].keep(looks)
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
	err = e.save(ctx, func(s *State) {
		s.Phase, s.Source, s.Slot, s.Publication = PipelineCreating, e.identity, e.opt.Slot, e.opt.Publication
		s.Incarnation, s.Session, s.Tables = uuid.NewString(), uuid.NewString(), nil
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
	err = e.save(ctx, func(s *State) { s.Phase, s.Tables = PipelineReady, states })
	if err != nil {
		return nil, errors.Join(err, snap.Close())
	}
	crashpoint.At(crashpoint.SlotReady)
	return snap, nil
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
	slot, err := src.Slot(ctx)
	if errors.Is(err, cdc.ErrNoSlot) {
		return &Error{
			Op: "resuming the pipeline", Object: e.opt.Name, Kind: KindConflict,
			Err:    fmt.Errorf("the lake has a position, but the slot %q that it was fed from is gone: changes since may be lost", e.opt.Slot),
			Remedy: "find out who dropped the slot; then copy all tables again into a new lake folder or under a new --name",
		}
	}
	if err != nil {
		return err
	}
	if slot.Lost {
		return &Error{
			Op: "resuming the pipeline", Object: e.opt.Name, Kind: KindConflict,
			Err:    fmt.Errorf("the server has invalidated the slot %q (wal_status %s): changes are lost", e.opt.Slot, slot.WALStatus),
			Remedy: "raise max_slot_wal_keep_size; drop the slot; then copy all tables again into a new lake folder or under a new --name",
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
	if tables, err = e.withRenamed(ctx, tables); err != nil {
		return err
	}
	next := e.state.clone()
	next.Session = uuid.NewString()
	e.reconcile(next, tables, members)
	// What has stopped is recorded before the publication is mended, or the
	// next start would find it whole.
	if err := e.save(ctx, func(s *State) { s.Session, s.Tables = next.Session, next.Tables }); err != nil {
		return err
	}
	if err := e.takeInAtStart(ctx, tables); err != nil {
		return err
	}
	fed := slices.DeleteFunc(slices.Clone(tables), func(rel *cdc.Relation) bool {
		t := e.state.table(rel.OID)
		return t == nil || t.Phase == PhaseOffered
	})
	if !slices.ContainsFunc(fed, func(rel *cdc.Relation) bool { return members[rel.OID] == 0 }) {
		return nil
	}
	states := slices.Clone(e.state.Tables)
	if err := e.publish(ctx, fed, states); err != nil {
		return err
	}
	return e.save(ctx, func(s *State) { s.Tables = states })
}

// takeInAtStart takes in the tables that are new since the last run.
func (e *Engine) takeInAtStart(ctx context.Context, tables []*cdc.Relation) error {
	fresh := e.fresh(e.state.Tables, tables)
	if len(fresh) == 0 || e.opt.OnNewTable == NewTableIgnore {
		return nil
	}
	states, err := e.takeIn(ctx, slices.Clone(e.state.Tables), tables, fresh)
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
		if t.Phase != PhaseDetached && t.Phase != PhaseOffered && !slices.ContainsFunc(tables, func(rel *cdc.Relation) bool { return rel.OID == t.OID }) {
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
		if t := s.table(rel.OID); t != nil {
			e.renamed(t, rel)
		}
	}
	s.Tables = slices.DeleteFunc(s.Tables, func(t TableState) bool { return t.Phase == PhaseOffered && !selected[t.OID] })
	for i := range s.Tables {
		t := &s.Tables[i]
		was := t.Phase
		switch {
		case t.Phase == PhaseOffered:
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

// renamed takes over what the source calls a table, or does what the policy
// says.
func (e *Engine) renamed(t *TableState, rel *cdc.Relation) {
	action := e.opt.OnSchemaChange.Rename
	if rel.String() == t.SourceName() || t.Phase != PhaseLive || action == typemap.Follow || action == "" {
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

func (t *TableState) detach() {
	t.Phase, t.NeedsCopy, t.StoppedAt = PhaseDetached, false, 0
	t.Reason, t.Remedy = "the source has no such table any more, or it is not selected", "select it again: it is then copied again"
}
