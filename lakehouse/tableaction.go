package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// TableAction is what an operator asks for about one table.
type TableAction string

// The actions.
const (
	// ActionPause has a table rest: what the lake holds stays readable, and the
	// source keeps everything that comes since. One that is being copied begins
	// its copy again when it is resumed, and the source keeps nothing for it.
	ActionPause TableAction = "pause"
	// ActionResume has a table that was paused, or has stopped, go on from where
	// it is.
	ActionResume TableAction = "resume"
	// ActionResync has a table copied again, or for the first time where it was
	// only offered: what the lake holds stays readable until then.
	ActionResync TableAction = "resync"
	// ActionDrop lets go of a table for good: the lake keeps what it holds. It
	// is taken in again by ActionResync alone.
	ActionDrop TableAction = "drop"
)

// ErrUnknownAction is for an action that is none of these.
var ErrUnknownAction = errors.New("no such action")

// pausedBy and the like are what is recorded as reasons.
const (
	reasonPaused  = "it was paused by hand"
	remedyPaused  = "`lakeload resume SCHEMA.TABLE` lets it go on; the source keeps its log for it until then"
	reasonDropped = "it was dropped by hand: the lake keeps what it held"
	remedyDropped = "`lakeload resync SCHEMA.TABLE` takes it in again"
)

// act changes what is recorded of a table as an action asks. It is pure. A
// table that is as asked for already is left as it is; changed says whether
// anything is different. The error says why it cannot be, with the remedy.
func (t *TableState) act(action TableAction) (changed bool, err error) {
	refuse := func(remedy, format string, args ...any) (bool, error) {
		return false, &Error{Op: "to " + string(action) + " a table", Object: t.Name(), Err: fmt.Errorf(format, args...), Remedy: remedy}
	}
	switch action {
	case ActionPause:
		switch t.Phase {
		case PhasePaused:
			return false, nil
		case PhaseLive:
			t.Phase, t.Reason, t.Remedy = PhasePaused, reasonPaused, remedyPaused
		case PhaseCopying:
			t.Phase, t.Reason, t.Remedy, t.NeedsCopy, t.StoppedAt = PhasePaused, reasonPaused+" while it was being copied", remedyPaused, true, 0
		default:
			return refuse(t.Remedy, "it is %s already: %s", t.Phase, t.Reason)
		}
	case ActionResume:
		switch {
		case t.Phase == PhaseLive, t.Phase == PhaseCopying:
			return false, nil
		case t.Phase == PhasePaused && t.NeedsCopy:
			t.askCopy()
		case t.Phase == PhaseStopped && t.Refused != nil:
			return refuse(t.Remedy, "it may not be kept as the configuration says: %s", t.Reason)
		case t.Phase == PhasePaused, t.Phase == PhaseStopped && !t.NeedsCopy:
			t.Phase, t.Reason, t.Remedy = PhaseLive, "", "" // StoppedAt stays until the table has passed it
		default:
			return refuse("`lakeload resync "+t.Name()+"` has it copied again", "it is %s, and cannot go on from where it is: %s", t.Phase, t.Reason)
		}
	case ActionResync:
		t.askCopy()
	case ActionDrop:
		if t.Phase == PhaseDropped {
			return false, nil
		}
		t.Refused = nil
		t.Phase, t.Reason, t.Remedy, t.NeedsCopy, t.StoppedAt = PhaseDropped, reasonDropped, remedyDropped, false, 0
	default:
		return false, &Error{
			Op: "changing a table's place", Object: t.Name(), Err: fmt.Errorf("%w: %q", ErrUnknownAction, action),
			Remedy: "use pause, resume, resync or drop",
		}
	}
	t.Since = time.Now().UTC()
	return true, nil
}

// named finds a table by its name in the lake, or at the source: of two that
// have had it one after the other, the one that is followed. Nil where there is
// none.
func (s *State) named(name string) *TableState {
	var found *TableState
	for i := range s.Tables {
		t := &s.Tables[i]
		if t.Name() != name && t.SourceName() != name {
			continue
		}
		if found == nil || t.Followed() && !found.Followed() {
			found = t
		}
	}
	return found
}

// noSuchTable says that a pipeline has no such table, and which is near.
func (s *State) noSuchTable(action TableAction, name string) error {
	remedy := "`lakeload tables` lists them, as schema.table"
	for i := range s.Tables {
		if n := s.Tables[i].Name(); strings.EqualFold(n, name) || strings.HasSuffix(n, "."+name) {
			remedy = fmt.Sprintf("did you mean %s? %s", n, remedy)
			break
		}
	}
	return &Error{Op: "to " + string(action) + " a table", Object: name, Err: errors.New("the pipeline feeds no such table"), Remedy: remedy}
}

// ActOnTable does an action while no engine runs: the next one that is started
// finds it done. One that runs nevertheless ends when it notices. It gives what
// is recorded of the table then.
func ActOnTable(ctx context.Context, lake objstore.Store, pipeline, table string, action TableAction) (TableState, error) {
	st, err := ReadState(ctx, lake, pipeline)
	if err != nil {
		return TableState{}, err
	}
	if st.Phase != PipelineReady {
		return TableState{}, &Error{
			Op: "to " + string(action) + " a table", Object: table, Err: errors.New("the pipeline has not made its first copy yet"),
			Remedy: "start the engine: it copies every table",
		}
	}
	t := st.named(table)
	if t == nil {
		return TableState{}, st.noSuchTable(action, table)
	}
	changed, err := t.act(action)
	if err != nil || !changed {
		return *t, err
	}
	if t.Phase == PhasePaused && !t.NeedsCopy && t.StoppedAt == 0 {
		if t.StoppedAt, err = shownBy(ctx, lake, st); err != nil {
			return *t, err
		}
	}
	return *t, saveState(ctx, lake, st)
}

// shownBy is the cut that every live table of a pipeline shows while no engine
// runs.
func shownBy(ctx context.Context, lake objstore.Store, st *State) (cdc.LSN, error) {
	epochs, err := epoch.Open(ctx, lake, st.Pipeline, "")
	if err != nil {
		return 0, &Error{Op: "opening the record of epochs", Object: st.Pipeline, Err: err}
	}
	if epochs.Position() == 0 {
		return 0, &Error{
			Op: "to pause a table", Object: st.Pipeline, Err: errors.New("no epoch is recorded yet: where the table stands is not known"),
			Remedy: "start the engine, and pause the table while it runs",
		}
	}
	return epochs.Position(), nil
}

// Resync is [ActOnTable] with [ActionResync].
func Resync(ctx context.Context, lake objstore.Store, pipeline, table string) error {
	_, err := ActOnTable(ctx, lake, pipeline, table, ActionResync)
	return err
}
