package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/tablefmt"
)

// beginRangeCopy makes the logs of a table's copy by key ranges, which begins
// at a position of the stream, and attaches the table.
func (e *Engine) beginRangeCopy(ctx context.Context, t TableState, rel *cdc.Relation, ranges cdc.KeyRanges, at cdc.LSN) (*fedTable, error) {
	for _, mode := range t.Modes {
		spec := e.spec(&t, mode)
		base, err := loadExisting(ctx, &spec)
		if err != nil {
			return nil, err
		}
		schema, md, err := describeCopy(&spec, rel, base)
		if err != nil {
			return nil, err
		}
		md.Configuration[propRanges], md.Configuration[propPieces] = ranges.Text(), strconv.Itoa(ranges.Len())
		md.Configuration[propBegun] = strconv.FormatUint(uint64(at), 10)
		_, err = newCopyLog(e.opt.Lake, spec).begin(ctx, base, md, schema, func(x *tablefmt.Transaction) { x.SetTxn(spec.appID(), int64(at)) })
		if err != nil {
			return nil, err
		}
	}
	return e.attachRangeCopy(ctx, t, rel, ranges)
}

// attachRangeCopy opens the logs of a copy.
func (e *Engine) attachRangeCopy(ctx context.Context, st TableState, rel *cdc.Relation, ranges cdc.KeyRanges) (*fedTable, error) {
	t := &fedTable{state: st}
	for _, mode := range st.Modes {
		spec := e.spec(&st, mode)
		spec.loc = newCopyLog(e.opt.Lake, spec).loc
		w, err := openWriter(ctx, spec)
		if err != nil {
			t.close(e)
			return nil, err
		}
		t.writers, t.modes = append(t.writers, w), append(t.modes, mode)
	}
	t.copy = newRangeCopy(rel, ranges, t.position())
	for i, mode := range st.Modes {
		snap := t.writers[i].Snapshot()
		t.copy.targets = append(t.copy.targets, rangeTarget{spec: e.spec(&st, mode), log: snap})
	}
	t.copy.hasher.hasher = newHasher(t.writers[0].Snapshot().Metadata())
	if err := t.copy.restore(t.writers); err != nil {
		t.close(e)
		return nil, err
	}
	t.copy.count(t.writers)
	return t, nil
}

// count takes the rows that the copy's log shows for those that are there
// already.
func (c *rangeCopy) count(writers []writer) {
	rows := liveRows(writers[0].Snapshot())
	c.read.Store(rows)
	c.rows.Store(rows)
}

// liveRows counts the rows of a table of ours, whose files tell it.
func liveRows(snap *tablefmt.Snapshot) int64 {
	rows := int64(0)
	for add := range snap.Files() {
		n, _ := add.NumRecords()
		if rows += n; add.DeletionVector != nil {
			rows -= add.DeletionVector.Cardinality
		}
	}
	return rows
}

// restartRangeCopy takes up a copy from what its logs tell, after what was
// staged was given up.
func restartRangeCopy(t *fedTable) {
	old := t.copy
	old.close()
	t.copy = newRangeCopy(old.rel, old.ranges, t.position())
	t.copy.targets, t.copy.hasher = old.targets, old.hasher
	if err := t.copy.restore(t.writers); err != nil {
		t.copy.giveUp(err)
	}
	t.copy.count(t.writers)
}

// resumeRangeCopy takes up the copy of a table that an earlier session has
// begun; nil where there is none, or none that can go on. That one is given up
// for good before anything else happens: the table holds the acknowledgement no
// more, so that its logs would be too old if a later session took them up, which
// has other reasons than this one to think that they fit.
func (e *Engine) resumeRangeCopy(ctx context.Context, st TableState, rel *cdc.Relation) (*fedTable, error) {
	var texts []string // one a log that is there
	for _, mode := range st.Modes {
		snap, err := newCopyLog(e.opt.Lake, e.spec(&st, mode)).load(ctx)
		if err != nil {
			return nil, err
		}
		if snap != nil && snap.Property(propRanges) != "" {
			texts = append(texts, snap.Property(propRanges))
		}
	}
	if len(texts) == 0 {
		return nil, nil
	}
	if len(texts) == len(st.Modes) && len(slices.Compact(slices.Clone(texts))) == 1 {
		if t, err := e.restoreRangeCopy(ctx, st, rel, texts[0]); t != nil || err != nil {
			return t, err
		}
	}
	return nil, e.abandonCopy(ctx, st)
}

// abandonCopy makes what there is of a table's copy one of before.
func (e *Engine) abandonCopy(ctx context.Context, st TableState) error {
	err := e.save(ctx, func(s *State) {
		if t := s.table(st.OID); t != nil {
			t.Generation++
		}
	})
	if err != nil {
		return fmt.Errorf("beginning the copy of %s again: %w", st.Name(), err)
	}
	for _, mode := range st.Modes {
		if err := newCopyLog(e.opt.Lake, e.spec(&st, mode)).clear(ctx); err != nil {
			return err
		}
	}
	return nil
}

// restoreRangeCopy takes up a copy from its logs; nil where it cannot go on.
func (e *Engine) restoreRangeCopy(ctx context.Context, st TableState, rel *cdc.Relation, text string) (*fedTable, error) {
	source, ok := e.opt.Source.(cdc.KeyReader)
	if !ok || rel == nil {
		return nil, nil
	}
	ranges, err := source.Restore(ctx, rel, text)
	if err == nil {
		var t *fedTable
		if t, err = e.attachRangeCopy(ctx, st, rel, ranges); err == nil {
			if t.fits(rel) {
				return t, nil
			}
			t.close(e)
			// What is read from now on has other columns than what the stream makes of
			// the copy where it stands.
			err = fmt.Errorf("%w: its columns are not those that its copy was begun with", cdc.ErrTableChanged)
		}
	}
	var stop *stopError
	if errors.Is(err, cdc.ErrTableChanged) || errors.As(err, &stop) || errors.Is(err, tablefmt.ErrCorrupt) {
		e.opt.Log.Warn("a copy that was cut off cannot go on, and begins again", "table", st.Name(), "error", err)
		return nil, nil
	}
	return nil, err
}

// publishRangeCopy makes a complete copy the table's content at cut.
func (e *Engine) publishRangeCopy(ctx context.Context, t *fedTable, cut cdc.LSN) error {
	order := make([]int, len(t.writers))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(string(t.modes[b]), string(t.modes[a])) }) // a changelog last, see copyOne
	logs := make([]*copyLog, len(t.writers))
	var version int64
	for _, i := range order {
		spec := e.spec(&t.state, t.modes[i])
		logs[i] = newCopyLog(e.opt.Lake, spec)
		base, err := loadExisting(ctx, &spec)
		if err != nil {
			return err
		}
		if m, ok := t.writers[i].(*mirrorWriter); ok {
			if err := m.carryOver(ctx, base, t.copy.rel); err != nil {
				return err
			}
			if _, err := m.Commit(ctx, cut); err != nil {
				return err
			}
		}
		snap, err := logs[i].swapIn(ctx, base, t.writers[i].Snapshot(), cut)
		if err != nil {
			return err
		}
		if err := t.writers[i].(copying).move(ctx, spec, snap, cut); err != nil {
			return err
		}
		if version == 0 {
			version = snap.Version()
		}
	}
	err := e.save(ctx, func(s *State) {
		st := s.table(t.state.OID)
		st.Phase, st.Reason, st.Remedy, st.StoppedAt, st.NeedsCopy = PhaseLive, "", "", 0, false
		st.CopyPoint, st.Heir, st.Since = cut, false, time.Now().UTC()
		t.state = *st
	})
	if err != nil {
		return err
	}
	for _, l := range logs {
		if err := l.clear(ctx); err != nil {
			return err
		}
	}
	rows, begun := t.copy.rows.Load(), t.copy.begun
	t.copy.mu.Lock()
	t.copy.published = true
	t.copy.mu.Unlock()
	t.copy.close()
	t.copy = nil
	if e.opt.Events.CopyFinished != nil {
		e.opt.Events.CopyFinished(CopyFinished{Table: t.state.Name(), Rows: rows, Elapsed: time.Since(begun), Version: version})
	}
	return nil
}

// copyingTables are the tables whose copies are not published.
func (e *Engine) copyingTables() []TableState {
	var out []TableState
	for _, t := range e.state.Tables {
		if t.Phase == PhaseCopying {
			out = append(out, t)
		}
	}
	return out
}

// copies reports whether something is still being copied, or the stream has
// still to go back for it.
func (e *Engine) copies() bool { return e.copier.busy.Load() || len(e.copyingTables()) > 0 }

// fed finds a table that is attached; nil where it is not.
func (e *Engine) fed(oid uint32) *fedTable {
	for _, t := range e.tables {
		if t.state.OID == oid {
			return t
		}
	}
	return nil
}

// rangeCopyOf gives the copy of a table, which it begins if there is none.
// Nil where the table is not to be copied any more.
func (e *Engine) rangeCopyOf(ctx context.Context, oid uint32, rel *cdc.Relation, ranges cdc.KeyRanges, looks map[uint32]cdc.Look) (*rangeCopy, error) {
	if t := e.fed(oid); t != nil {
		if t.copy == nil || !t.copy.givenUp() {
			return t.copy, nil
		}
		if err := e.dropRangeCopy(ctx, t); err != nil {
			return nil, err
		}
	}
	st := e.state.table(oid)
	if st == nil || st.Phase != PhaseCopying {
		return nil, nil
	}
	until, err := e.toldUntil(ctx, st)
	if err != nil {
		return nil, err
	}
	if until > e.shown {
		e.awaited = until
		return nil, errTooEarly
	}
	err = e.save(ctx, func(s *State) {
		s.table(oid).follow(rel)
		s.table(oid).keep(looks)
	})
	if err != nil {
		return nil, err
	}
	st = e.state.table(oid)
	t, err := e.beginRangeCopy(ctx, *st, rel, ranges, e.shown)
	if err != nil {
		return nil, err
	}
	e.tables = append(e.tables, t)
	return t.copy, nil
}

// copyAgain gives up what there is of a table's copy.
func (e *Engine) copyAgain(ctx context.Context, oid uint32, why error) error {
	e.opt.Log.Warn("the copy of a table begins again", "table", oid, "because", why)
	t := e.fed(oid)
	if t == nil || t.copy == nil {
		return nil
	}
	t.copy.giveUp(why)
	return e.dropRangeCopy(ctx, t)
}

// stopCopying stops a table whose copy cannot go on.
func (e *Engine) stopCopying(ctx context.Context, oid uint32, why *stopError) error {
	if t := e.fed(oid); t != nil && t.copy != nil {
		t.copy.giveUp(why)
		if err := e.dropRangeCopy(ctx, t); err != nil {
			return err
		}
	}
	return e.stopCopy(ctx, oid, why)
}

// dropRangeCopy gives up a table's copy in progress: it begins again as a new
// generation.
func (e *Engine) dropRangeCopy(ctx context.Context, t *fedTable) error {
	e.tables = slices.DeleteFunc(e.tables, func(o *fedTable) bool { return o == t })
	t.close(e)
	return e.abandonCopy(ctx, t.state)
}
