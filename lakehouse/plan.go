package lakehouse

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/mask"
)

// PlanAction is what a run would do about a table at its start.
type PlanAction string

// The actions.
const (
	PlanNone   PlanAction = "none"   // it goes on as it is
	PlanCopy   PlanAction = "copy"   // it is new, and copied
	PlanResync PlanAction = "resync" // it is copied again
	PlanRetry  PlanAction = "retry"  // it has stopped, and is tried again from where it stopped
	PlanStop   PlanAction = "stop"   // it is followed no more, until somebody does something
	PlanDetach PlanAction = "detach" // it is let go of; the lake keeps what it holds
	PlanOffer  PlanAction = "offer"  // it is shown, and not taken in until somebody asks for it
	PlanAlter  PlanAction = "alter"  // it goes on, kept otherwise than before
)

// PlannedTable is a table with what would be done about it.
type PlannedTable struct {
	Table  string     `json:"table"`
	Action PlanAction `json:"action"`
	Phase  TablePhase `json:"phase,omitempty"` // as it is recorded; empty where it is new
	Reason string     `json:"reason,omitempty"`
	Remedy string     `json:"remedy,omitempty"`
	// Rows and Bytes are the source's estimates of what would be read; 0 where it
	// has none, or nothing is.
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"`
}

// Plan says what a run with these options would do about each table at its
// start, in the order of their names. It changes nothing, neither at the source
// nor in the lake. The engine may be running.
func Plan(ctx context.Context, opt Options) ([]PlannedTable, error) {
	opt.EnsureDefaults()
	if err := opt.Validate(); err != nil {
		return nil, &Error{Op: "reading the options", Kind: KindPreflight, Err: err}
	}
	opt.Log = slog.New(slog.DiscardHandler) // nothing happens
	masks := newMaskBook(opt.Table)
	opt.Source = mask.Wrap(opt.Source, masks.policy)
	e := &Engine{opt: opt, masks: masks, descent: descent{same: true}}
	st, err := ReadState(ctx, opt.Lake, opt.Name)
	if err != nil && !errors.Is(err, ErrNoState) {
		return nil, err
	}
	e.state = st
	if st != nil {
		masks.set(st.Tables)
	}
	if err := e.identify(ctx); err != nil {
		return nil, err
	}
	tables, err := opt.Source.Tables(ctx)
	if err != nil {
		return nil, err
	}
	var list []PlannedTable
	before, after := []TableState{}, []TableState{}
	if st != nil && st.Phase == PipelineReady {
		members, err := opt.Source.Published(ctx)
		if err != nil {
			return nil, err
		}
		if tables, err = e.withRenamed(ctx, tables); err != nil {
			return nil, err
		}
		before = slices.Clone(st.Tables)
		next := st.clone()
		e.reconcile(next, tables, members)
		after = next.Tables
	}
	for _, was := range before {
		list = append(list, was.planned(after))
	}
	for _, rel := range e.fresh(after, tables) {
		if i := slices.IndexFunc(list, func(p PlannedTable) bool { return p.Table == rel.String() }); i >= 0 && list[i].Phase == PhaseOffered {
			list = slices.Delete(list, i, i+1) // it could not be taken in before
		}
		list = append(list, e.plannedNew(rel))
	}
	if err := e.sizes(ctx, list, tables); err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b PlannedTable) int {
		switch {
		case a.Table < b.Table:
			return -1
		case a.Table > b.Table:
			return 1
		}
		return 0
	})
	return list, nil
}

// planned compares a table with what becomes of it. It is pure.
func (t *TableState) planned(after []TableState) PlannedTable {
	p := PlannedTable{Table: t.Name(), Action: PlanNone, Phase: t.Phase, Reason: t.Reason, Remedy: t.Remedy}
	i := slices.IndexFunc(after, func(o TableState) bool { return o.OID == t.OID })
	if i < 0 {
		p.Action, p.Reason, p.Remedy = PlanDetach, "it was offered, and is not selected any more", ""
		return p
	}
	next := &after[i]
	if next.Phase != t.Phase || next.Generation != t.Generation {
		p.Reason, p.Remedy = next.Reason, next.Remedy
	}
	switch {
	case next.Phase == PhaseCopying && t.Phase == PhaseCopying && t.Generation == 1:
		p.Action, p.Reason = PlanCopy, "its copy is begun, or goes on"
	case next.Phase == PhaseCopying:
		p.Action = PlanResync
		if t.Phase == PhaseCopying && p.Reason == "" {
			p.Reason = "its copy goes on"
		}
		if t.Phase == PhaseDetached {
			p.Reason = "it is selected again"
		}
	case next.Phase != t.Phase && next.Phase == PhaseStopped:
		p.Action = PlanStop
	case next.Phase != t.Phase && next.gone():
		p.Action = PlanDetach
	case next.Phase == PhaseStopped && !next.NeedsCopy:
		p.Action = PlanRetry
	case next.Phase == PhaseOffered:
		p.Action = PlanOffer
	default:
		if _, m := t.move(&next.TableOptions); len(m.notes) > 0 {
			p.Action, p.Reason = PlanAlter, m.String()
		}
	}
	return p
}

// plannedNew says what would be done about a table that the lake does not have.
func (e *Engine) plannedNew(rel *cdc.Relation) PlannedTable {
	p := PlannedTable{Table: rel.String(), Action: PlanCopy, Reason: "the lake does not have it"}
	t := e.newTable(rel)
	known := e.state != nil && e.state.Phase == PipelineReady
	switch err := checkColumns(rel, &t.TableOptions); {
	case err != nil:
		p.Action, p.Reason, p.Remedy = PlanOffer, err.Error(), hintOf(err)
	case known && e.opt.OnNewTable == NewTableAsk:
		p.Action, p.Remedy = PlanOffer, remedyOffered
	case known && e.opt.OnNewTable == NewTableIgnore:
		p.Action, p.Reason = PlanNone, "it is new, and new tables are ignored"
	}
	return p
}

// sizes fills in how much would be read, if the source can tell.
func (e *Engine) sizes(ctx context.Context, list []PlannedTable, tables []*cdc.Relation) error {
	source, ok := e.opt.Source.(cdc.Sizer)
	if !ok {
		return nil
	}
	var read []*cdc.Relation
	at := map[uint32]*PlannedTable{}
	for i := range list {
		p := &list[i]
		if p.Action != PlanCopy && p.Action != PlanResync {
			continue
		}
		for _, rel := range tables {
			name := rel.String()
			if e.state != nil {
				if t := e.state.table(rel.OID); t != nil {
					name = t.Name()
				}
			}
			if name == p.Table {
				read, at[rel.OID] = append(read, rel), p
			}
		}
	}
	if len(read) == 0 {
		return nil
	}
	sizes, err := source.Sizes(ctx, read)
	if err != nil {
		return err
	}
	for oid, size := range sizes {
		at[oid].Rows, at[oid].Bytes = size.Rows, size.Bytes
	}
	return nil
}
