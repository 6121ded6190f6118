package cdctest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/cdc"
)

// slot is the main replication slot.
type slot struct {
	confirmed cdc.LSN // what the server believes is acknowledged
	persisted cdc.LSN // what it still believes after a restart
	lost      bool
	stream    *Stream // the one that reads it
}

// Source is a handle of a World: a connection of one process. It implements
// cdc.Source.
type Source struct {
	w     *World
	names []string // of the selected tables; nil for all

	// The rest is guarded by w.mu.
	crashed   bool
	closed    bool
	timeline  uint32 // as Identify told it last
	snapshots []*Snapshot
	reads     []*KeyRead
}

var (
	_ cdc.Source  = (*Source)(nil)
	_ cdc.Claimer = (*Source)(nil)
)

// Source attaches a new handle, which selects the named tables, or all if
// none is named.
func (w *World) Source(tables ...string) *Source {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &Source{w: w, names: tables}
	w.handles = append(w.handles, s)
	return s
}

// enter begins a call; the caller holds w.mu. The fault, if not nil, is to be
// given once the work is done.
func (s *Source) enter(ctx context.Context, op string) (late *Fault, err error) {
	switch {
	case s.crashed:
		return nil, operator(op, ErrCrashed)
	case s.closed:
		s.w.violate("%s was called after Close", op)
		return nil, operator(op, errors.New("the source is closed"))
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", op, context.Cause(ctx))
	}
	f := s.w.fault(op)
	if f == nil || f.After {
		return f, nil
	}
	return nil, f.err(op)
}

// Identify tells who the world is.
func (s *Source) Identify(ctx context.Context) (cdc.Identity, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "Identify")
	if err == nil && late != nil {
		err = late.err("Identify")
	}
	if err != nil {
		return cdc.Identity{}, err
	}
	s.timeline = s.w.o.Identity.Timeline
	return s.w.o.Identity, nil
}

// Timelines tells what Promote has done.
func (s *Source) Timelines(ctx context.Context) ([]cdc.Switch, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "Timelines")
	if err == nil && late != nil {
		err = late.err("Timelines")
	}
	return slices.Clone(s.w.switches), err
}

// Tables gives the selected tables in their present shape.
func (s *Source) Tables(ctx context.Context) ([]*cdc.Relation, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "Tables")
	if err == nil && late != nil {
		err = late.err("Tables")
	}
	if err != nil {
		return nil, err
	}
	var rels []*cdc.Relation
	for _, t := range s.w.tables {
		if t.dropped == 0 && s.selects(t.content.rel) {
			rels = append(rels, s.w.shown(reshaped(t.content.rel)))
		}
	}
	slices.SortFunc(rels, func(a, b *cdc.Relation) int {
		if c := strings.Compare(a.Schema, b.Schema); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return rels, nil
}

func (s *Source) selects(rel *cdc.Relation) bool {
	return s.names == nil || slices.ContainsFunc(s.names, func(n string) bool { return sameName(rel, n) })
}

// Published tells which tables are in the stream, and since when.
func (s *Source) Published(ctx context.Context) (map[uint32]uint64, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "Published")
	if err != nil {
		return nil, err
	}
	out := map[uint32]uint64{}
	for _, t := range s.w.tables {
		if t.dropped == 0 && t.published != 0 {
			out[t.oid] = uint64(t.published)
		}
	}
	if late != nil {
		return nil, late.err("Published")
	}
	return out, nil
}

// Publish puts exactly these tables' changes into the stream from here on.
func (s *Source) Publish(ctx context.Context, rels []*cdc.Relation) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "Publish")
	if err != nil {
		return err
	}
	for _, rel := range rels {
		t := s.w.tableByOID(rel.OID)
		if t == nil || t.dropped != 0 {
			return operator("publishing "+rel.String(), errors.New("there is no such table"))
		}
		noIdentity := rel.Identity == cdc.IdentityNothing || rel.Identity == cdc.IdentityDefault && len(rel.Key) == 0
		if noIdentity && !rel.InsertOnly {
			return operator("publishing "+rel.String(), errors.New("it has no identity: updates and deletes of it would fail"))
		}
	}
	for _, t := range s.w.tables {
		if t.dropped != 0 {
			continue // what happened before is still to be delivered
		}
		named := slices.ContainsFunc(rels, func(r *cdc.Relation) bool { return r.OID == t.oid })
		switch {
		case !named:
			t.published = 0
		case t.published == 0:
			t.published = s.w.head
		}
	}
	if late != nil {
		return late.err("Publish")
	}
	return nil
}

// Unpublish takes tables out of the stream from here on.
func (s *Source) Unpublish(ctx context.Context, oids []uint32) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "Unpublish")
	if err != nil {
		return err
	}
	for _, t := range s.w.tables {
		if slices.Contains(oids, t.oid) {
			t.published = 0
		}
	}
	if late != nil {
		return late.err("Unpublish")
	}
	return nil
}

// Slot tells the state of the slot.
func (s *Source) Slot(ctx context.Context) (cdc.SlotState, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "Slot")
	if err == nil && late != nil {
		err = late.err("Slot")
	}
	if err != nil {
		return cdc.SlotState{}, err
	}
	sl := s.w.slot
	if sl == nil {
		return cdc.SlotState{}, operator("reading the slot", cdc.ErrNoSlot)
	}
	state := cdc.SlotState{
		Name: "lakeload", ConfirmedFlush: sl.confirmed, Restart: sl.persisted, Current: s.w.head,
		Active: sl.stream != nil, WALStatus: "reserved", Lost: sl.lost,
	}
	if state.Active {
		state.ActivePID = 4711
	}
	if sl.lost {
		state.WALStatus = "lost"
	}
	return state, nil
}

// Claim makes sure that no other handle reads the slot.
func (s *Source) Claim(ctx context.Context) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "Claim")
	if err == nil && late != nil {
		err = late.err("Claim")
	}
	if err != nil {
		return err
	}
	if sl := s.w.slot; sl != nil && sl.stream != nil && sl.stream.src != s {
		return retryable("claiming the slot", errors.New("another process reads it"))
	}
	return nil
}

// CreateSlot makes the slot, and its snapshot.
func (s *Source) CreateSlot(ctx context.Context) (cdc.Snapshot, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "CreateSlot")
	if err != nil {
		return nil, err
	}
	if s.w.slot != nil {
		return nil, operator("creating the slot", cdc.ErrSlotExists)
	}
	s.w.slot = &slot{confirmed: s.w.head, persisted: s.w.head}
	if late != nil {
		return nil, late.err("CreateSlot")
	}
	return s.snapshot(), nil
}

// DropSlot removes the slot.
func (s *Source) DropSlot(ctx context.Context) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "DropSlot")
	if err != nil {
		return err
	}
	if s.w.slot != nil && s.w.slot.stream != nil {
		return operator("dropping the slot", errors.New("it is active"))
	}
	s.w.slot = nil
	if late != nil {
		return late.err("DropSlot")
	}
	return nil
}

// Snapshot gives a view of the present.
func (s *Source) Snapshot(ctx context.Context) (cdc.Snapshot, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "Snapshot")
	if err != nil {
		return nil, err
	}
	if late != nil {
		return nil, late.err("Snapshot")
	}
	return s.snapshot(), nil
}

// Close ends the handle.
func (s *Source) Close() error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.crashed || s.closed {
		return nil
	}
	s.closed = true
	if sl := s.w.slot; sl != nil && sl.stream != nil && sl.stream.src == s {
		s.w.violate("a source was closed before its stream")
		sl.stream.end(operator("reading the stream", errors.New("the source is closed")), true)
	}
	if n := len(s.snapshots) + len(s.reads); n > 0 {
		s.w.violate("a source was closed before %d of its snapshots and reads", n)
		s.release()
	}
	return nil
}

// release ends all snapshots and reads of the handle.
func (s *Source) release() {
	for len(s.reads) > 0 {
		s.reads[0].release()
	}
	for len(s.snapshots) > 0 {
		s.snapshots[0].release()
	}
}
