package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	tables, states, err := e.selected(ctx)
	if err != nil {
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
		s.Incarnation, s.Session, s.Host, s.Tables = uuid.NewString(), uuid.NewString(), hostname(), kept(before, states)
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

// selected reads the tables that a new pipeline has, and refuses, before
// anything is changed, what the lake cannot hold or does not know.
func (e *Engine) selected(ctx context.Context) ([]*cdc.Relation, []TableState, error) {
	tables, err := e.opt.Source.Tables(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(tables) == 0 {
		return nil, nil, &Error{
			Op: "selecting the tables", Kind: KindPreflight, Err: errors.New("no table of the source matches"),
			Remedy: "look at the patterns given, or use --all",
		}
	}
	_, err = e.opt.Source.Slot(ctx)
	switch {
	case err == nil && e.state == nil:
		return nil, nil, &Error{
			Op: "making the replication slot", Object: e.opt.Slot, Kind: KindConflict,
			Err:    fmt.Errorf("%w, and the lake at %s does not know it", cdc.ErrSlotExists, e.opt.Lake.URL()),
			Remedy: "name the lake that it feeds; or another slot with --slot; or, if nothing uses it any more, SELECT pg_drop_replication_slot('" + e.opt.Slot + "')",
		}
	case err != nil && !errors.Is(err, cdc.ErrNoSlot):
		return nil, nil, err
	}
	looks, err := e.lookAt(ctx, tables)
	if err != nil {
		return nil, nil, err
	}
	states := make([]TableState, len(tables))
	for i, rel := range tables {
		states[i] = e.newTable(rel)
		states[i].keepName(e.state)
		states[i].keepRepair(e.state)
		states[i].keep(looks)
		if err := checkColumns(rel, &states[i].TableOptions); err != nil {
			return nil, nil, err
		}
		if err := states[i].checkMasks(rel, e.state); err != nil {
			return nil, nil, err
		}
	}
	return tables, states, e.checkFolders(ctx, states)
}

// keepName keeps the name in the lake of a table that the source had renamed
// before the lake was taken over.
func (t *TableState) keepName(s *State) {
	if s == nil || len(s.Adoptions) == 0 {
		return
	}
	for i := range s.Tables {
		if old := &s.Tables[i]; old.Source != "" && old.Source == t.Name() && !old.gone() {
			t.Source, t.Schema, t.Table = old.Source, old.Schema, old.Table
			return
		}
	}
}

// keepRepair lets a table that is to be repaired after an adoption be repaired, if
// it is to be kept as it was.
func (t *TableState) keepRepair(s *State) {
	if s == nil || len(s.Adoptions) == 0 {
		return
	}
	for i := range s.Tables {
		old := &s.Tables[i]
		if old.Name() != t.Name() || !old.Repair {
			continue
		}
		_, m := old.move(&t.TableOptions)
		t.Repair = !m.resync && old.comparable() && len(t.Modes) == 1
	}
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
		if !old.gone() {
			old.detach()
			old.Since = time.Now().UTC()
		}
		old.OID = 0
		list = append(list, old)
	}
	return list
}

// hostname is what this machine calls itself; "" where it does not say.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

func (e *Engine) newTable(rel *cdc.Relation) TableState {
	options := e.wanted(rel)
	if len(options.Modes) == 0 {
		options.Modes = []Mode{ModeMirror}
	}
	return TableState{
		OID: rel.OID, Schema: rel.Schema, Table: rel.Name, Phase: PhaseCopying,
		TableOptions: options, InsertOnly: rel.InsertOnly, Generation: 1, Since: time.Now().UTC(),
	}
}

// checkColumns refuses a table that has columns which the lake cannot have, or
// that cannot be kept by its options.
func checkColumns(rel *cdc.Relation, o *TableOptions) error {
	for _, mode := range o.Modes {
		if _, err := layOut(rel, mode, o, nil); err != nil {
			return err
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
