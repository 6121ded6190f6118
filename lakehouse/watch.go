package lakehouse

import (
	"cmp"
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
// for what the stream does not tell. What it finds is acted upon once the lake
// has all that came before the look. It is one goroutine; tables and state it
// touches by tasks.
type watcher struct {
	e       *Engine
	source  cdc.Watcher
	pending *seen // waits for the lake
}

// pendingLook is how often it is asked whether the lake has come as far as a
// look, at most.
const pendingLook = time.Second

// run looks until ctx ends. What fails is tried again: a source that cannot be
// asked is the stream's matter, too.
func (w *watcher) run(ctx context.Context) {
	for {
		wait := w.e.opt.WatchInterval
		if w.pending != nil {
			wait = min(wait, pendingLook)
		}
		select {
		case <-time.After(wait):
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
	from, at cdc.LSN   // where the source's log ended before and after it
	view     *cdc.View // of which transactions it knew, at least; nil where the source does not tell
	known    []TableState
	tables   []*cdc.Relation
	members  map[uint32]uint64
	looks    map[uint32]cdc.Look
	notices  map[uint32][]cdc.Notice
}

func (w *watcher) look(ctx context.Context) error {
	if w.pending != nil {
		if done, err := w.act(ctx, w.pending); err != nil || !done {
			return err
		}
		w.pending = nil
	}
	s := &seen{notices: map[uint32][]cdc.Notice{}}
	var err error
	if s.known, err = w.e.known(ctx); err != nil {
		return err
	}
	if s.tables, err = w.source.Tables(ctx); err != nil {
		return err
	}
	if s.members, err = w.source.Published(ctx); err != nil {
		return err
	}
	oids := make([]uint32, len(s.known))
	for i := range s.known {
		oids[i] = s.known[i].OID
	}
	if err = w.before(ctx, s); err != nil {
		return err
	}
	if s.looks, err = w.source.Look(ctx, oids); err != nil {
		return err
	}
	slot, err := w.source.Slot(ctx)
	if err != nil {
		return err
	}
	w.e.meter.sampled(slot)
	s.at = slot.Current
	for i := range s.known {
		t := &s.known[i]
		is, ok := s.looks[t.OID]
		if !ok || t.Look == "" || t.Look == is.Text || t.Phase != PhaseLive {
			continue
		}
		if s.notices[t.OID], err = w.source.Compare(ctx, cdc.Look{Text: t.Look, Since: t.LookSince}, is); err != nil {
			return err
		}
	}
	err = w.e.do(ctx, func(context.Context) error {
		for i := range s.known {
			if t := &s.known[i]; t.Followed() && s.changed(t) {
				w.pending, w.e.watched = s, s.at
			} else if st := w.e.state.table(t.OID); st != nil && st.Look == s.looks[t.OID].Text {
				w.e.since(st, s.looks[t.OID].Since)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.newTables(ctx, s)
}

// before notes what a look that comes next will know at least. A standby's
// position tells it: what it has replayed is visible there.
func (w *watcher) before(ctx context.Context, s *seen) error {
	slot, err := w.source.Slot(ctx)
	if err != nil {
		return err
	}
	s.from = slot.Current
	source, ok := w.source.(cdc.KeyReader)
	if !ok || w.e.identity.Standby {
		return nil
	}
	v, err := source.Seen(ctx)
	s.view = &v
	return err
}

// changed reports whether a table is not what is known of it.
func (s *seen) changed(t *TableState) bool {
	is, exists := s.looks[t.OID]
	return !exists || t.Phase == PhaseLive &&
		(s.members[t.OID] != t.Membership || is.Text != t.Look || is.Relation.String() != t.SourceName())
}

// act does what has to be done about a look, if the lake has come as far.
func (w *watcher) act(ctx context.Context, s *seen) (done bool, err error) {
	err = w.e.do(ctx, func(context.Context) error {
		done = w.e.shown >= s.at
		return nil
	})
	for i := range s.known {
		if err != nil || !done {
			break
		}
		err = w.e.do(ctx, func(ctx context.Context) error { return w.e.noticed(ctx, &s.known[i], s) })
	}
	return done, err
}

// noticed does what has to be done about a table that was known when it was
// looked at.
func (e *Engine) noticed(ctx context.Context, known *TableState, s *seen) error {
	st := e.state.table(known.OID)
	if st == nil || !st.Followed() {
		return nil
	}
	t := e.fed(known.OID)
	is, exists := s.looks[known.OID]
	switch {
	case !exists:
		return e.detach(ctx, known.OID, "the source has dropped it")
	case t == nil || t.copy != nil || t.resting || st.Phase != PhaseLive || known.Phase != PhaseLive || st.CopyPoint != known.CopyPoint || st.Generation != known.Generation:
		return nil // it was copied since
	case s.members[known.OID] != st.Membership:
		return e.stopNow(ctx, t, mustCopy("it was taken out of the publication: changes are missing"))
	case is.Relation.String() != st.SourceName() && e.opt.OnSchemaChange.Rename != typemap.Follow:
		return nil // its next change says so, in its place
	}
	for _, n := range s.notices[known.OID] {
		switch {
		case n.Kind == cdc.NoticeColumns && (!t.fits(is.Relation) || !is.Relation.Rewritten(t.sourceFiles())):
			continue // its next change says so, or has said so
		case n.Kind == cdc.NoticeColumns:
			n.Kind = cdc.NoticeRewrite
		case t.emptied(&n):
			continue
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
	if t.quietSince(s) && !t.fits(is.Relation) {
		return e.followLook(ctx, t, is.Relation)
	}
	return e.keepLook(ctx, t, is)
}

// quietSince reports whether a look has seen everything that has been applied to
// the table: what is new in the look is then still to come. A change that was
// committed before the look may have been invisible to it for all that.
func (t *fedTable) quietSince(s *seen) bool {
	switch {
	case slices.ContainsFunc(t.writers, func(w writer) bool { return w.pending() }):
		return false
	case s.view != nil && t.last != cdc.Txn{}:
		return s.view.Holds(t.last)
	}
	return t.reached() <= s.from
}

// followLook gives a table the columns that a look has found. A table to which
// nothing happens would else wait for them until its next change. The look is
// not kept before the columns are there: a crash may come between.
func (e *Engine) followLook(ctx context.Context, t *fedTable, rel *cdc.Relation) error {
	for _, w := range t.writers {
		err := w.follow(ctx, rel)
		var stop *stopError
		switch {
		case err == nil:
		case !errors.As(err, &stop):
			return err
		case stop.again:
			return e.recopyTable(ctx, t, stop)
		default:
			return e.stopNow(ctx, t, stop)
		}
	}
	return nil
}

// emptied reports whether a notice tells of a TRUNCATE that the stream has told
// of, too. What came before this run is not known: there a table is believed to
// have been emptied as a whole, whose partitions all were.
func (t *fedTable) emptied(n *cdc.Notice) bool {
	return n.Emptied && (slices.Contains(t.truncates, n.XID) || n.Whole && !t.looked)
}

// mismatched does what has to be done about a table that a change did not fit.
// What the source has changed without a word the next look would find, and the
// change came before it: what a look says now decides. It is ahead of the
// table, so that what it finds the stream may still tell of; but only a copy
// helps the table, and that may as well begin now.
func (e *Engine) mismatched(ctx context.Context, t *fedTable, why *stopError) error {
	source, ok := e.opt.Source.(cdc.Watcher)
	if !ok || t.state.Look == "" {
		return e.stopNow(ctx, t, why)
	}
	looks, err := source.Look(ctx, []uint32{t.state.OID})
	if err != nil {
		return err
	}
	is, exists := looks[t.state.OID]
	if !exists {
		return e.detach(ctx, t.state.OID, "the source has dropped it")
	}
	notices, err := source.Compare(ctx, cdc.Look{Text: t.state.Look, Since: t.state.LookSince}, is)
	if err != nil {
		return err
	}
	for _, n := range notices {
		if n.Kind == cdc.NoticeColumns {
			n.Kind = cdc.NoticeRewrite
		}
		switch e.opt.OnUntold.of(n.Kind) {
		case typemap.Resync:
			return e.recopyTable(ctx, t, copyAgain("%s", n.Text))
		case typemap.Stop:
			return e.stopNow(ctx, t, mustCopy("%s, which no change tells", n.Text))
		}
	}
	// What rows came or went with may be gone from the catalogue's view: rows of
	// a partition that have been changed since it was attached look like others.
	p := e.opt.OnUntold
	if is.Text != t.state.Look && p.of(cdc.NoticePartition) == typemap.Resync && p.of(cdc.NoticeRewrite) == typemap.Resync {
		return e.recopyTable(ctx, t, copyAgain("%s, and it has been altered meanwhile", why.reason))
	}
	return e.stopNow(ctx, t, why)
}

// noteLast remembers the last transaction among a table's changes. What comes once
// more, because the stream went back, is not the last that the table shows.
func (t *fedTable) noteLast(items []cdc.Item) {
	if len(items) == 0 {
		return
	}
	last := t.last
	switch it := &items[len(items)-1]; {
	case it.Truncate != nil:
		last = it.Truncate.Txn
	case it.Batch.Len() > 0:
		last = txnOf(it.Batch, it.Batch.Len()-1)
	}
	if last.Commit >= t.reached() {
		t.last = last
	}
}

// truncatesMost bounds the TRUNCATEs that are remembered.
const truncatesMost = 1000

// truncated remembers the TRUNCATEs among a table's changes.
func (t *fedTable) truncated(items []cdc.Item) {
	for i := range items {
		if tr := items[i].Truncate; tr != nil {
			t.truncates = append(t.truncates, tr.Txn.XID)
		}
	}
	t.truncates = t.truncates[max(0, len(t.truncates)-truncatesMost):]
}

// keepLook makes a look the one that later looks are compared with, if the
// lake's table has the columns that it tells of. That is known to be so only
// where the table is no older than the look.
func (e *Engine) keepLook(ctx context.Context, t *fedTable, is cdc.Look) error {
	if !t.fits(is.Relation) {
		return nil
	}
	if is.Text == t.state.Look && t.state.SourceName() == is.Relation.String() {
		e.since(e.state.table(t.state.OID), is.Since)
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
	t.looked = true
	return err
}

// since says that a look was like the one before. That is saved with what is
// next.
func (e *Engine) since(st *TableState, since string) {
	st.LookSince = since
	if t := e.fed(st.OID); t != nil {
		t.state.LookSince = since
	}
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

func (t *table) pending() bool { return t.staged }

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

// withdraw takes back what was offered and is not there, or not selected, any
// more.
func (w *watcher) withdraw(ctx context.Context, s *seen) error {
	gone := func(t TableState) bool {
		return t.Phase == PhaseOffered && !slices.ContainsFunc(s.tables, func(rel *cdc.Relation) bool { return rel.OID == t.OID })
	}
	if !slices.ContainsFunc(s.known, gone) {
		return nil
	}
	return w.e.do(ctx, func(ctx context.Context) error {
		return w.e.save(ctx, func(st *State) { st.Tables = slices.DeleteFunc(st.Tables, gone) })
	})
}

// newTables takes in what is selected and not known yet, as the policy says.
func (w *watcher) newTables(ctx context.Context, s *seen) error {
	if err := w.withdraw(ctx, s); err != nil || w.e.opt.OnNewTable == NewTableIgnore {
		return err
	}
	if len(w.fresh(s, s.known)) == 0 {
		return nil
	}
	done, err := w.e.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	known, err := w.e.known(ctx) // an operator may have done something since the look
	if err != nil {
		return err
	}
	fresh := w.fresh(s, known)
	if len(fresh) == 0 {
		return nil
	}
	states, err := w.e.takeIn(ctx, known, s.tables, fresh, false)
	if err != nil {
		return err
	}
	states = slices.DeleteFunc(states, func(t TableState) bool { // nothing is new
		return slices.ContainsFunc(known, func(o TableState) bool { return o.OID == t.OID && o.Phase == t.Phase && o.Reason == t.Reason })
	})
	if len(states) == 0 {
		return nil
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

// fresh are the tables that a look has found, and that are to be taken in.
func (w *watcher) fresh(s *seen, known []TableState) []*cdc.Relation {
	return slices.DeleteFunc(w.e.fresh(known, s.tables), func(rel *cdc.Relation) bool {
		return slices.ContainsFunc(known, func(t TableState) bool { // it has the name of one that is to be let go first
			_, exists := s.looks[t.OID]
			return !exists && t.OID != rel.OID && !t.gone() && t.Name() == rel.String()
		})
	})
}

// known are the tables as they are recorded now. Any goroutine but the engine's own may ask.
func (e *Engine) known(ctx context.Context) (tables []TableState, err error) {
	err = e.do(ctx, func(context.Context) error {
		tables = slices.Clone(e.state.Tables)
		return nil
	})
	return tables, err
}

// fresh are the selected tables that are not known, and those that could not be
// taken in before.
func (e *Engine) fresh(known []TableState, selected []*cdc.Relation) []*cdc.Relation {
	return slices.DeleteFunc(slices.Clone(selected), func(rel *cdc.Relation) bool {
		i := slices.IndexFunc(known, func(t TableState) bool { return t.OID == rel.OID })
		return i >= 0 && (known[i].Phase != PhaseOffered || e.opt.OnNewTable != NewTableCopy) ||
			slices.ContainsFunc(known, func(t TableState) bool { return t.Phase == PhaseDropped && t.Name() == rel.String() })
	})
}

// takeIn makes the states of tables that are new, and publishes those that are
// to be copied. One that cannot be is offered, with the reason; so is any that
// nobody has asked for, if the policy wants somebody to.
func (e *Engine) takeIn(ctx context.Context, known []TableState, selected, fresh []*cdc.Relation, asked bool) ([]TableState, error) {
	looks, err := e.lookAt(ctx, fresh)
	if err != nil {
		return nil, err
	}
	var states []TableState
	var publish []*cdc.Relation
	for _, rel := range fresh {
		t := e.newTable(rel)
		t.keep(looks)
		t.Heir = slices.ContainsFunc(known, func(o TableState) bool { return o.gone() && o.Name() == t.Name() })
		err := checkColumns(rel, &t.TableOptions)
		if err == nil {
			err = t.checkMasks(rel, e.state)
		}
		if err == nil {
			err = e.checkFolders(ctx, []TableState{t})
		}
		switch {
		case err != nil:
			t.Phase, t.Reason, t.Remedy = PhaseOffered, err.Error(), hintOf(err)
		case e.opt.OnNewTable == NewTableAsk && !asked:
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
		return !slices.Contains(publish, rel) && (i < 0 || known[i].Phase == PhaseOffered || known[i].Phase == PhaseDropped)
	})
	var denied map[uint32]error
	err = e.opt.Source.Publish(ctx, wanted)
	if errors.Is(err, cdc.ErrDenied) { // perhaps not all of them
		denied, err = e.publishOneByOne(ctx, wanted, publish)
	}
	var members map[uint32]uint64
	if err == nil {
		members, err = e.opt.Source.Published(ctx)
	}
	if cdc.Retryable(err) {
		return nil, err
	}
	for i := range states {
		if t := &states[i]; t.Phase == PhaseCopying {
			t.Membership = members[t.OID]
			if why := cmp.Or(denied[t.OID], err); why != nil {
				t.Phase, t.Reason, t.Remedy = PhaseOffered, why.Error(), hintOf(why)
			}
		}
	}
	return states, nil
}

const remedyOffered = "`lakeload resync SCHEMA.TABLE` has it copied and followed; or exclude it"

// add takes tables in. One that was dropped and made anew takes the place of
// the one that is not followed any more.
func (s *State) add(states []TableState) {
	for _, t := range states {
		s.Tables = slices.DeleteFunc(s.Tables, func(o TableState) bool {
			return o.OID == t.OID || o.gone() && o.Name() == t.Name()
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
