package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/typemap"
)

// NewTablePolicy says what is done about a table that is selected and that the
// lake does not have yet.
type NewTablePolicy string

// The policies.
const (
	NewTableCopy   NewTablePolicy = "copy"   // it is copied and followed
	NewTableAsk    NewTablePolicy = "ask"    // it is shown as offered, until somebody asks for it by a resync
	NewTableIgnore NewTablePolicy = "ignore" // nothing is done
)

// UntoldPolicy says what is done about changes of rows that no stream tells.
// Each is typemap.Stop (the default), Resync, or Keep: the table goes on, and
// is not what the source's is until it is copied again.
type UntoldPolicy struct {
	Partition typemap.Action // a partition was attached with rows, detached, dropped or emptied
	Rewrite   typemap.Action // an ALTER TABLE wrote the rows anew, perhaps with other values
}

func (p UntoldPolicy) of(kind cdc.NoticeKind) typemap.Action {
	action := typemap.Stop
	switch kind {
	case cdc.NoticePartition:
		action = p.Partition
	case cdc.NoticeRewrite:
		action = p.Rewrite
	}
	if action == "" {
		return typemap.Stop
	}
	return action
}

// watcher looks at the source's catalogue now and then, while the stream runs,
// for what the stream does not tell. It is one goroutine; tables and state it
// touches by tasks.
type watcher struct {
	e      *Engine
	source cdc.Watcher
	last   *seen // by the look before; nil before the first
}

// run looks until ctx ends. What fails is tried again: a source that cannot be
// asked is the stream's matter, too.
func (w *watcher) run(ctx context.Context) {
	for {
		select {
		case <-time.After(w.e.opt.WatchInterval):
		case <-ctx.Done():
			return
		}
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.e.opt.Log.Warn("looking at the source's catalogue failed; it is tried again", "error", err)
		}
	}
}

// seen is what one look has found.
type seen struct {
	at      cdc.LSN // where the source's log ended before it
	tables  []*cdc.Relation
	members map[uint32]uint64
	looks   map[uint32]cdc.Look
	notices map[uint32][]cdc.Notice
	copies  map[uint32]cdc.LSN // the CopyPoint of each table that was live
}

func (w *watcher) look(ctx context.Context) error {
	var known []TableState
	err := w.e.do(ctx, func(context.Context) error {
		known = slices.Clone(w.e.state.Tables)
		return nil
	})
	if err != nil {
		return err
	}
	slot, err := w.source.Slot(ctx)
	if err != nil {
		return err
	}
	s := seen{at: slot.Current, notices: map[uint32][]cdc.Notice{}, copies: map[uint32]cdc.LSN{}}
	if s.tables, err = w.source.Tables(ctx); err != nil {
		return err
	}
	if s.members, err = w.source.Published(ctx); err != nil {
		return err
	}
	oids := make([]uint32, len(known))
	for i := range known {
		oids[i] = known[i].OID
	}
	if s.looks, err = w.source.Look(ctx, oids); err != nil {
		return err
	}
	for i := range known {
		t := &known[i]
		if t.Phase == PhaseLive {
			s.copies[t.OID] = t.CopyPoint
		}
		is, ok := s.looks[t.OID]
		if !ok || t.Look == "" || t.Look == is.Text || t.Phase != PhaseLive {
			continue
		}
		if s.notices[t.OID], err = w.source.Compare(ctx, cdc.Look{Text: t.Look, Since: t.LookSince}, is); err != nil {
			return err
		}
	}
	for i := range known {
		if err := w.e.do(ctx, func(ctx context.Context) error { return w.e.noticed(ctx, known[i].OID, &s, w.last) }); err != nil {
			return err
		}
	}
	w.last = &s
	return w.newTables(ctx, known, &s)
}

// noticed does what has to be done about one table. What the look before told,
// nil for none, is what the lake has once that has come as far.
func (e *Engine) noticed(ctx context.Context, oid uint32, s, before *seen) error {
	st := e.state.table(oid)
	if st == nil || st.Phase == PhaseDetached || st.Phase == PhaseOffered || st.Phase == PhaseStopped {
		return nil
	}
	t := e.fed(oid)
	is, exists := s.looks[oid]
	switch {
	case !exists && e.shown < s.at: // what came before its end is still to be applied
		return nil
	case !exists:
		return e.detach(ctx, oid, "the source has dropped it")
	case t == nil || t.copy != nil || st.Phase != PhaseLive:
		return nil
	case s.members[oid] != st.Membership:
		return e.stopNow(ctx, t, mustCopy("it was taken out of the publication: changes are missing"))
	case is.Relation.String() != st.SourceName() && e.opt.OnSchemaChange.Rename != typemap.Follow && e.opt.OnSchemaChange.Rename != "":
		return nil // its next change says so, in its place
	}
	for _, n := range s.notices[oid] {
		if n.Kind == cdc.NoticeColumns {
			if !t.fits(is.Relation) || !is.Relation.Rewritten(t.sourceFiles()) {
				continue // its next change says so, or has said so
			}
			n.Kind = cdc.NoticeRewrite
		}
		switch e.opt.OnUntold.of(n.Kind) {
		case typemap.Resync:
			return e.recopyTable(ctx, t, copyAgain("%s", n.Text))
		case typemap.Keep:
			e.opt.Log.Warn("a table is not what the source's is any more", "table", st.Name(), "because", n.Text, "what_to_do", remedyResync)
		default:
			return e.stopNow(ctx, t, mustCopy("%s, which no change tells", n.Text))
		}
	}
	if before == nil || e.shown < before.at {
		return nil
	}
	was, looked := before.looks[oid]
	copied, live := before.copies[oid]
	if looked && live && copied == st.CopyPoint {
		return e.keepLook(ctx, t, was)
	}
	return nil
}

// keepLook makes a look the one that later looks are compared with, if the
// lake's table has the columns that it tells of. That is known to be so only
// where the table is no older than the look.
func (e *Engine) keepLook(ctx context.Context, t *fedTable, is cdc.Look) error {
	if !t.fits(is.Relation) {
		return nil
	}
	if is.Text == t.state.Look && t.state.SourceName() == is.Relation.String() {
		t.state.LookSince, e.state.table(t.state.OID).LookSince = is.Since, is.Since // saved with what is next
		return nil
	}
	err := e.save(ctx, func(s *State) {
		st := s.table(t.state.OID)
		st.follow(is.Relation)
		st.seen(is)
		t.state = *st
	})
	for _, w := range t.writers {
		w.seen(&t.state)
	}
	return err
}

// fits reports whether the table in the lake has a relation's columns.
func (t *fedTable) fits(rel *cdc.Relation) bool {
	for _, w := range t.writers {
		if !w.fits(rel) {
			return false
		}
	}
	return true
}

// sourceFiles are those that held the rows when the lake got its columns.
func (t *fedTable) sourceFiles() map[uint32]uint32 {
	for _, w := range t.writers {
		return w.sourceFiles()
	}
	return t.state.Files
}

// fits reports whether rows of a relation fit without a change.
func (t *table) fits(rel *cdc.Relation) bool {
	change, err := typemap.Plan(typemap.Input{Table: t.schema, Own: t.own, Rel: rel, Append: t.spec.mode == ModeChangelog})
	return err == nil && change == nil && slices.Equal(keyNames(rel), t.key)
}

func (t *table) sourceFiles() map[uint32]uint32 { return t.spec.files() }

func (t *table) changes() []string { return t.notes }

// seen takes over what is known of the source's table.
func (t *table) seen(st *TableState) { t.spec.state, t.spec.newer = *st, nil }

// stopNow stops a table between two flushes.
func (e *Engine) stopNow(ctx context.Context, t *fedTable, why error) error {
	var stop *stopError
	if !errors.As(why, &stop) {
		return why
	}
	t.stoppedAt = max(e.shown, t.position())
	return e.stopTable(ctx, t, stop)
}

// detach lets go of a table that the source does not have any more.
func (e *Engine) detach(ctx context.Context, oid uint32, why string) error {
	if t := e.fed(oid); t != nil {
		if t.copy != nil {
			t.copy.giveUp(errCopyEnded)
		}
		t.close(e)
		e.tables = slices.DeleteFunc(e.tables, func(o *fedTable) bool { return o == t })
	}
	return e.save(ctx, func(s *State) {
		t := s.table(oid)
		t.detach()
		t.Reason, t.Since = why, time.Now().UTC()
		e.opt.Log.Warn("a table is not followed any more", "table", t.Name(), "because", why)
	})
}

// newTables takes in what is selected and not known yet, as the policy says.
func (w *watcher) newTables(ctx context.Context, known []TableState, s *seen) error {
	if w.e.opt.OnNewTable == NewTableIgnore {
		return nil
	}
	var fresh []*cdc.Relation
	for _, rel := range s.tables {
		if !slices.ContainsFunc(known, func(t TableState) bool { return t.OID == rel.OID }) {
			fresh = append(fresh, rel)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	states, err := w.e.takeIn(ctx, known, s.tables, fresh)
	if err != nil {
		return err
	}
	err = w.e.do(ctx, func(ctx context.Context) error {
		return w.e.save(ctx, func(st *State) { st.add(states) })
	})
	if err != nil {
		return err
	}
	w.e.tellFound(states)
	w.e.copier.look()
	return nil
}

// takeIn makes the states of tables that are new, and publishes those that are
// to be copied. One that cannot be is offered, with the reason.
func (e *Engine) takeIn(ctx context.Context, known []TableState, selected, fresh []*cdc.Relation) ([]TableState, error) {
	looks, err := e.lookAt(ctx, fresh)
	if err != nil {
		return nil, err
	}
	var states []TableState
	var publish []*cdc.Relation
	for _, rel := range fresh {
		t := e.newTable(rel)
		t.keep(looks)
		t.Heir = slices.ContainsFunc(known, func(o TableState) bool { return o.Phase == PhaseDetached && o.Name() == t.Name() })
		err := checkColumns(rel, t.Modes)
		if err == nil {
			err = e.checkFolders(ctx, []TableState{t})
		}
		switch {
		case err != nil:
			t.Phase, t.Reason, t.Remedy = PhaseOffered, err.Error(), hintOf(err)
		case e.opt.OnNewTable == NewTableAsk:
			t.Phase, t.Remedy = PhaseOffered, remedyOffered
		default:
			publish = append(publish, rel)
		}
		states = append(states, t)
	}
	if len(publish) == 0 {
		return states, nil
	}
	wanted := slices.DeleteFunc(slices.Clone(selected), func(rel *cdc.Relation) bool {
		i := slices.IndexFunc(known, func(t TableState) bool { return t.OID == rel.OID })
		return !slices.Contains(publish, rel) && (i < 0 || known[i].Phase == PhaseOffered)
	})
	err = e.opt.Source.Publish(ctx, wanted)
	var members map[uint32]uint64
	if err == nil {
		members, err = e.opt.Source.Published(ctx)
	}
	if cdc.Retryable(err) {
		return nil, err
	}
	for i := range states {
		if t := &states[i]; t.Phase == PhaseCopying {
			if t.Membership = members[t.OID]; err != nil {
				t.Phase, t.Reason, t.Remedy = PhaseOffered, err.Error(), hintOf(err)
			}
		}
	}
	return states, nil
}

const remedyOffered = "`lakeload resync SCHEMA.TABLE` has it copied and followed from the next start on; or exclude it"

// add takes tables in. One that was dropped and made anew takes the place of
// the one that is not followed any more.
func (s *State) add(states []TableState) {
	for _, t := range states {
		s.Tables = slices.DeleteFunc(s.Tables, func(o TableState) bool {
			return o.OID == t.OID || o.Phase == PhaseDetached && o.Name() == t.Name()
		})
		s.Tables = append(s.Tables, t)
	}
}

func (e *Engine) tellFound(states []TableState) {
	for i := range states {
		t := &states[i]
		if e.opt.Events.TableFound != nil {
			e.opt.Events.TableFound(TableFound{Table: t.Name(), Phase: t.Phase, Reason: t.Reason, Remedy: t.Remedy})
		}
	}
}

// hintOf is what an error says is to be done.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// seen takes over what a look tells.
func (t *TableState) seen(is cdc.Look) {
	t.Look, t.LookSince, t.Files, t.Columns = is.Text, is.Since, is.Relation.Files, is.Relation.Dropped
	for i := range is.Relation.Columns {
		t.Columns = max(t.Columns, is.Relation.Columns[i].ID)
	}
}

// lookAt looks at tables, if the source can.
func (e *Engine) lookAt(ctx context.Context, rels []*cdc.Relation) (map[uint32]cdc.Look, error) {
	oids := make([]uint32, len(rels))
	for i, rel := range rels {
		oids[i] = rel.OID
	}
	return e.lookAtIDs(ctx, oids)
}

func (e *Engine) lookAtIDs(ctx context.Context, oids []uint32) (map[uint32]cdc.Look, error) {
	source, ok := e.opt.Source.(cdc.Watcher)
	if !ok {
		return nil, nil
	}
	looks, err := source.Look(ctx, oids)
	if err != nil {
		return nil, fmt.Errorf("looking at the tables: %w", err)
	}
	return looks, nil
}

// keep notes a look at the table that its copy is not older than.
func (t *TableState) keep(looks map[uint32]cdc.Look) {
	if is, ok := looks[t.OID]; ok {
		t.seen(is)
	}
}
