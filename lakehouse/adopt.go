package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/epoch"
)

// AdoptOptions say which lake is to go on with which source. Everything but
// Continuous, By and Note is required.
type AdoptOptions struct {
	Source     cdc.Source
	Engine     Options // Lake, Name, Slot and Publication of it; its Source is not used
	Continuous bool
	// Repair has mirrors compared with the source under the new slot's snapshot,
	// and only the rows that differ written anew.
	Repair bool
	By     string // who says so
	Note   string // what they say
}

// Takeover is what an adoption finds, and what it would do. It is a value:
// nothing is changed before Do.
type Takeover struct {
	Pipeline   string       `json:"pipeline"`
	Continuous bool         `json:"continuous"`
	Was        cdc.Identity `json:"was"`
	Is         cdc.Identity `json:"is"`
	// Timelines are the ancestors of the source's timeline.
	Timelines []cdc.Switch `json:"timelines"`
	// Slot is the pipeline's slot at the source; nil where there is none.
	Slot *cdc.SlotState `json:"slot"`
	// Position is up to where the lake holds everything, Shown the greatest
	// position that any of its tables shows.
	Position cdc.LSN `json:"lsn"`
	Shown    cdc.LSN `json:"shown_lsn"`
	// Tables are the tables that the pipeline feeds; those that the source does
	// not have are missing.
	Tables []AdoptedTable `json:"tables"`
	Halt   *Halt          `json:"halt"` // why the pipeline could not go on, if it says so
	// Notes are what the one who decides should know. Obstacles are why it
	// cannot be done; Remedy is what helps.
	Notes     []string `json:"notes"`
	Obstacles []string `json:"obstacles"`
	Remedy    string   `json:"remedy,omitempty"`

	opt     AdoptOptions
	state   *State
	members map[uint32]uint64
}

// AdoptedTable is a table of the lake as an adoption sees it.
type AdoptedTable struct {
	Name  string     `json:"table"`
	OID   uint32     `json:"oid"`
	Phase TablePhase `json:"phase"`
	Found bool       `json:"found"`
	// Same says that the source's table has the OID that the lake knows.
	Same bool `json:"same"`
	// Copied says that the table is to be copied again; Repaired that only the
	// rows of it are that differ, unless its columns turn out to be others.
	Copied   bool `json:"copied"`
	Repaired bool `json:"repaired"`
}

// PlanAdoption looks at a lake and at the source that it is to go on with. It
// changes nothing.
func PlanAdoption(ctx context.Context, opt AdoptOptions) (*Takeover, error) {
	const op = "taking over the lake"
	o := &opt.Engine
	if opt.Continuous && opt.Repair {
		return nil, &Error{Op: op, Object: o.Name, Kind: KindPreflight, Err: errors.New("what is continuous needs no repair"), Remedy: "say one of the two"}
	}
	o.Source = opt.Source
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, &Error{Op: "reading the options", Kind: KindPreflight, Err: err}
	}
	st, err := ReadState(ctx, o.Lake, o.Name)
	if err != nil {
		return nil, err
	}
	if st.Phase != PipelineReady {
		return nil, &Error{Op: op, Object: o.Name, Err: errors.New("it has not made its first copy yet"), Remedy: "start the engine: it begins anew"}
	}
	t := &Takeover{
		Pipeline: o.Name, Continuous: opt.Continuous, Was: st.Source, Halt: st.Halt, Notes: []string{}, Obstacles: []string{}, Tables: []AdoptedTable{},
		Timelines: []cdc.Switch{}, opt: opt, state: st,
	}
	if t.Is, err = opt.Source.Identify(ctx); err != nil {
		return nil, err
	}
	if t.Is.Timeline != 1 {
		if t.Timelines, err = opt.Source.Timelines(ctx); err != nil {
			return nil, err
		}
	}
	slot, err := opt.Source.Slot(ctx)
	switch {
	case err == nil:
		t.Slot = &slot
	case !errors.Is(err, cdc.ErrNoSlot):
		return nil, err
	}
	if err := t.readLake(ctx); err != nil {
		return nil, err
	}
	if err := t.findTables(ctx); err != nil {
		return nil, err
	}
	t.judge()
	return t, nil
}

func (t *Takeover) readLake(ctx context.Context) error {
	e := &Engine{opt: t.opt.Engine, identity: t.Was, state: t.state}
	epochs, err := epoch.Open(ctx, e.opt.Lake, e.opt.Name, "")
	if err != nil {
		return &Error{Op: "opening the record of epochs", Object: e.opt.Name, Err: err}
	}
	shown, err := e.greatest(ctx, epochs)
	if err != nil {
		return err
	}
	t.Position, t.Shown = epochs.Position(), shown.at
	if r := t.state.Rebase; r != nil {
		t.Position = r.At
	}
	return nil
}

func (t *Takeover) findTables(ctx context.Context) error {
	rels, err := t.opt.Source.Tables(ctx)
	if err != nil {
		return err
	}
	if t.members, err = t.opt.Source.Published(ctx); err != nil {
		return err
	}
	for _, st := range t.state.Tables {
		a := AdoptedTable{Name: st.Name(), OID: st.OID, Phase: st.Phase, Copied: !t.Continuous && !st.gone()}
		for _, rel := range rels {
			if rel.String() == st.SourceName() {
				a.Found, a.Same = true, rel.OID == st.OID
				a.Repaired = a.Copied && t.opt.Repair && !rel.InsertOnly && st.comparable()
			}
		}
		a.Copied = a.Copied && !a.Repaired
		t.Tables = append(t.Tables, a)
	}
	return nil
}

// comparable reports whether a table is kept in a way that allows to compare it
// with its source.
func (t *TableState) comparable() bool {
	return slices.Equal(t.Modes, []Mode{ModeMirror}) && (t.Phase == PhaseLive || t.Phase == PhaseStopped || t.Repair)
}

func (t *Takeover) note(format string, args ...any) {
	t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
}

func (t *Takeover) obstacle(format string, args ...any) {
	t.Obstacles = append(t.Obstacles, fmt.Sprintf(format, args...))
}

// judge says what stands in the way. It is pure.
func (t *Takeover) judge() {
	if t.Slot != nil && t.Slot.Active {
		t.obstacle("the slot %s is being read by the server process %d: stop the engine, or whatever reads it", t.Slot.Name, t.Slot.ActivePID)
	}
	if !t.Continuous {
		what := "every table is copied again"
		if t.opt.Repair {
			what = "every mirror is compared with the source as of then, of which only the rows that differ are written anew; a table that cannot be compared is copied again"
		}
		t.note("a new incarnation is begun: the slot is dropped, if there is one, and made anew, and %s; what the lake holds stays readable until then", what)
		for _, a := range t.Tables {
			if !a.Found && a.Phase != PhaseDetached && a.Phase != PhaseDropped {
				t.note("the source has no table %s, or it is not selected: the lake keeps what it holds of it, and follows it no more", a.Name)
			}
		}
		return
	}
	t.judgeHistory()
	t.judgeSlot()
	for i := range t.Tables {
		a := &t.Tables[i]
		switch st := t.state.table(a.OID); {
		case a.Phase == PhaseDetached, a.Phase == PhaseDropped:
		case !a.Found || !a.Same:
			t.obstacle("the source's table %s is not the one that the lake was fed from (OID %d)", a.Name, a.OID)
		case t.members[a.OID] == 0:
			t.obstacle("the table %s is not in the publication: changes of it are missing", a.Name)
		case t.remade() && st.StoppedAt != 0 && st.StoppedAt < t.Position:
			a.Copied = true
			t.note("%s had stopped at %s: what came since is lost with the old slot, and it is copied again", a.Name, st.StoppedAt)
		}
	}
	if len(t.Obstacles) > 0 {
		t.Remedy = "without --continuous a new slot is made and all tables are copied again"
	}
}

// judgeHistory holds the cluster's timelines to what the lake has. Another
// cluster has no history in common.
func (t *Takeover) judgeHistory() {
	if h := t.state.Halt; h != nil {
		t.note("the pipeline was halted at %s: %s", h.Since.Format(time.RFC3339), h.Reason)
	}
	if t.Is.SystemID != t.Was.SystemID {
		t.note("it is another cluster: that it holds what the old one held is the word of whoever adopts")
		return
	}
	d, err := lineage{t.Is.Timeline, t.Timelines}.from(lineage{t.Was.Timeline, t.state.Timelines})
	switch {
	case err != nil:
		t.note("%v; that it holds what the lake has all the same is the word of whoever adopts", err)
	case !d.same && t.Shown > d.at:
		t.obstacle("the lake shows everything before %s, and the lake's timeline %d ended at %s: what came after that the source does not have", t.Shown, t.Was.Timeline, d.at)
	case !d.same:
		t.Position = min(t.Position, d.at)
	}
}

// judgeSlot holds the slot to what the lake has.
func (t *Takeover) judgeSlot() {
	s := t.Slot
	switch {
	case s == nil:
		t.obstacle("the source has no slot of this name: changes since the old one are lost")
	case s.Lost:
		t.obstacle("the slot is lost (%s): changes are missing", orElse(s.Reason, s.WALStatus))
	case t.Position == 0:
		t.obstacle("the lake has no position to go on from")
	case max(t.Position, t.Shown) > s.Current:
		t.obstacle("the lake shows everything before %s, and the source's log ends at %s: it has less than the lake", max(t.Position, t.Shown), s.Current)
	case s.ConfirmedFlush <= t.Position:
		t.note("the slot is at %s, the lake at %s: it gives everything that the lake lacks", s.ConfirmedFlush, t.Position)
	case t.remade():
		t.note("the slot was made anew at %s, after the lake's position %s, as pg_upgrade does: it refuses to run unless the old slot had been read to its end, and lets nobody in before the new one is made. "+
			"That nothing was changed in between is the word of whoever adopts", s.ConfirmedFlush, t.Position)
	default:
		t.obstacle("the slot has been acknowledged up to %s, and the lake has only what is before %s: what lies between is lost", s.ConfirmedFlush, t.Position)
	}
	if t.Is.Database != t.Was.Database {
		t.note("the database is called %s now, and was called %s", t.Is.Database, t.Was.Database)
	}
}

// remade tells of what pg_upgrade leaves: another cluster, of a newer version,
// with a slot that was made at its beginning.
func (t *Takeover) remade() bool {
	return t.Slot != nil && t.Slot.ConfirmedFlush > t.Position && t.Is.SystemID != t.Was.SystemID && t.Is.ServerVersion/10000 > t.Was.ServerVersion/10000
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Do records the adoption. The engine is started afterwards, and does the
// rest. It fails with KindPreflight where there are obstacles, and with
// KindConflict where the lake's state has changed since it was looked at.
func (t *Takeover) Do(ctx context.Context) error {
	if len(t.Obstacles) > 0 {
		return &Error{Op: "taking over the lake", Object: t.Pipeline, Kind: KindPreflight, Err: errors.New(t.Obstacles[0]), Remedy: t.Remedy}
	}
	next := t.state.clone()
	now := time.Now().UTC()
	a := Adoption{Time: now, By: t.opt.By, Note: t.opt.Note, From: t.Was, To: t.Is, Continuous: t.Continuous, Repair: t.opt.Repair, Position: t.Position}
	if t.Slot != nil {
		a.Slot = t.Slot.ConfirmedFlush
	}
	next.Adoptions = append(next.Adoptions, a)
	next.Source, next.Timelines, next.Halt, next.Session = t.Is, t.Timelines, nil, uuid.NewString()
	if t.Continuous {
		t.goOn(next, now)
	} else {
		t.beginAnew(next, now)
	}
	return saveState(ctx, t.opt.Engine.Lake, next)
}

// beginAnew lets the engine make everything again, as after a crash in its
// first moments.
func (t *Takeover) beginAnew(next *State, now time.Time) {
	next.Phase, next.Incarnation = PipelineCreating, uuid.NewString()
	next.SlotPoint, next.SlotRestart, next.Rebase = 0, 0, nil
	for i := range next.Tables {
		s := &next.Tables[i]
		if s.gone() {
			continue
		}
		s.Phase, s.Reason, s.Remedy, s.NeedsCopy, s.StoppedAt, s.Since = PhaseCopying, "", "", false, 0, now
		s.Repair = t.Tables[i].Repaired
	}
}

// goOn keeps incarnation and positions.
func (t *Takeover) goOn(next *State, now time.Time) {
	next.SlotRestart = t.Slot.Restart
	if t.remade() {
		next.SlotPoint = t.Slot.ConfirmedFlush
		next.Rebase = &Rebase{At: t.Slot.ConfirmedFlush, Timeline: t.Is.Timeline}
	} else {
		next.SlotPoint = min(next.SlotPoint, t.Slot.ConfirmedFlush)
		next.Rebase = &Rebase{At: t.Position, Timeline: t.Is.Timeline}
	}
	for i, a := range t.Tables {
		s := &next.Tables[i]
		if s.gone() {
			continue
		}
		s.Membership = t.members[s.OID] // a dump and restore of the catalogue gives others
		s.Look, s.LookSince = "", ""    // likewise
		if t.remade() && s.StoppedAt != 0 {
			s.StoppedAt = max(s.StoppedAt, t.Slot.ConfirmedFlush)
		}
		if a.Copied {
			s.Generation++
			s.Phase, s.Reason, s.Remedy, s.NeedsCopy, s.StoppedAt, s.Since = PhaseCopying, "", "", false, 0, now
		}
	}
}
