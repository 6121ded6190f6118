package lakehouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// StateFormat is the version of the state's layout that this program writes.
// An older one is read; a newer one is refused.
const StateFormat = 1

// The phases of a pipeline (I2): while it is creating, the slot is made again
// after a crash; once it is ready, a missing slot is a loss (I6).
const (
	PipelineCreating = "creating"
	PipelineReady    = "ready"
)

// State is what a pipeline remembers in the lake beside its tables. It is
// written as numbered files, put-if-absent, so that of two engines only one
// can take the next step.
type State struct {
	Format   int          `json:"format"`
	Pipeline string       `json:"pipeline"`
	Phase    string       `json:"phase"`
	Source   cdc.Identity `json:"source"`
	Slot     string       `json:"slot"`
	// Publication is the name, or the first of the names, that the slot's
	// stream is opened with.
	Publication string `json:"publication"`
	// Incarnation is minted with the slot; it is a part of every txn appId.
	Incarnation string `json:"incarnation"`
	// Session is minted by every engine that opens the lake.
	Session string `json:"session"`
	// Host is the name of the machine on which it was opened; "" where that is
	// not known.
	Host   string       `json:"host,omitempty"`
	Tables []TableState `json:"tables"`

	// Timelines are the ancestors of Source.Timeline, as the server told them.
	Timelines []cdc.Switch `json:"timelines,omitempty"`
	// SlotPoint is where the slot was made: it cannot be confirmed before it.
	// SlotRestart is its restart position at the last start, which the server
	// stores before it tells it. A slot that is behind either is another one.
	SlotPoint   cdc.LSN `json:"slot_point,omitempty"`
	SlotRestart cdc.LSN `json:"slot_restart,omitempty"`
	// Rebase, if not nil, is where the record of epochs is to go on, before
	// anything is added to it.
	Rebase *Rebase `json:"rebase,omitempty"`
	// Halt says why the pipeline as a whole cannot go on; nil while it can.
	Halt *Halt `json:"halt,omitempty"`
	// Adoptions are the times when somebody has declared another source to be
	// this lake's, oldest first.
	Adoptions []Adoption `json:"adoptions,omitempty"`

	number int64
}

// Rebase is a position that follows from no epoch: after a promotion, or an
// adoption.
type Rebase struct {
	At       cdc.LSN `json:"at"`
	Timeline uint32  `json:"timeline"`
}

// Halt is why a pipeline cannot go on.
type Halt struct {
	Reason string    `json:"reason"`
	Remedy string    `json:"remedy,omitempty"`
	Since  time.Time `json:"since"`
	// Final says that the reason may vanish from sight, but not from the data:
	// only an adoption ends it.
	Final bool `json:"final,omitempty"`
}

// Adoption is somebody's word that a lake goes on with another source.
type Adoption struct {
	Time time.Time    `json:"time"`
	By   string       `json:"by"`
	Note string       `json:"note,omitempty"`
	From cdc.Identity `json:"from"`
	To   cdc.Identity `json:"to"`
	// Continuous is the word that the slot gives every change since Position,
	// at which it was at Slot; else all tables are copied again, or, by Repair,
	// those rows of them that differ.
	Continuous bool    `json:"continuous"`
	Repair     bool    `json:"repair,omitempty"`
	Position   cdc.LSN `json:"lsn"`
	Slot       cdc.LSN `json:"slot_lsn,omitempty"`
}

func (s *State) clone() *State {
	c := *s
	c.Tables = append([]TableState(nil), s.Tables...)
	c.Timelines = append([]cdc.Switch(nil), s.Timelines...)
	c.Adoptions = append([]Adoption(nil), s.Adoptions...)
	return &c
}

// formerly are the sources that the lake was fed from before, by adoption.
func (s *State) formerly() []cdc.Identity {
	var list []cdc.Identity
	for _, a := range s.Adoptions {
		list = append(list, a.From)
	}
	return list
}

// table finds a table by its OID; nil where it is unknown.
func (s *State) table(oid uint32) *TableState {
	for i := range s.Tables {
		if s.Tables[i].OID == oid {
			return &s.Tables[i]
		}
	}
	return nil
}

const ownFolder = "_lakeload"

func stateFolder(pipeline string) string { return ownFolder + "/" + pipeline + "/state/" }

// ErrNoState is what ReadState finds in a lake without the pipeline.
var ErrNoState = errors.New("the lake holds no state of this pipeline")

// ReadState reads the newest state of a pipeline.
func ReadState(ctx context.Context, lake objstore.Store, pipeline string) (*State, error) {
	newest := ""
	for info, err := range lake.List(ctx, stateFolder(pipeline), "") {
		if err != nil {
			return nil, &Error{Op: "reading the pipeline's state", Object: lake.URL(), Err: err}
		}
		if strings.HasSuffix(info.Path, ".json") {
			newest = info.Path
		}
	}
	if newest == "" {
		return nil, &Error{
			Op: "reading the pipeline's state", Object: lake.URL(), Err: ErrNoState,
			Remedy: "name the pipeline with --name, or the lake with --lake",
		}
	}
	data, err := lake.Get(ctx, newest)
	if err != nil {
		return nil, &Error{Op: "reading the pipeline's state", Object: newest, Err: err}
	}
	s := &State{}
	number, err1 := strconv.ParseInt(strings.TrimSuffix(path.Base(newest), ".json"), 10, 64)
	err2 := json.Unmarshal(data, s)
	if err := errors.Join(err1, err2); err != nil {
		return nil, &Error{
			Op: "reading the pipeline's state", Object: newest, Kind: KindDamaged, Err: err,
			Remedy: "restore the file from a backup; if only this newest file is damaged, removing it goes back to the state before",
		}
	}
	if s.Format > StateFormat {
		return nil, &Error{
			Op: "reading the pipeline's state", Object: newest, Kind: KindDamaged,
			Err:    fmt.Errorf("it has format %d, this program knows up to %d", s.Format, StateFormat),
			Remedy: "use the newer lakeload that wrote it",
		}
	}
	s.number = number
	return s, nil
}

// saveState writes s as the next state. It fails with KindConflict where
// somebody else did so first.
func saveState(ctx context.Context, lake objstore.Store, s *State) error {
	s.Format = StateFormat
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the pipeline's state: %w", err)
	}
	data = append(data, '\n')
	name := stateName(s.Pipeline, s.number+1)
	err = lake.PutIfAbsent(ctx, name, data)
	if errors.Is(err, objstore.ErrExists) || errors.Is(err, objstore.ErrUnknownOutcome) {
		// It may be our own write, answered late (I11).
		there, getErr := lake.Get(ctx, name)
		switch {
		case getErr == nil && string(there) == string(data):
			err = nil
		case getErr == nil:
			return takenStep(name, "another engine has taken this step")
		}
	}
	if err != nil {
		return &Error{
			Op: "recording the pipeline's state", Object: name, Err: err,
			Remedy: "see that the lake can be written to",
		}
	}
	if err := tidyStates(ctx, lake, s.Pipeline, s.number+1); err != nil {
		return err
	}
	s.number++
	return nil
}

// statesKept is how many states of a pipeline stay, the newest included: what
// was done to it lately can be looked up, and a restart loop leaves no trace
// that grows.
const statesKept = 100

// tidyStates removes the states that are no longer kept, after number was
// written. Since a removed number can be written again, it is a conflict if
// there are newer ones: an engine that slept meanwhile takes no step.
func tidyStates(ctx context.Context, lake objstore.Store, pipeline string, number int64) error {
	var old []string
	newest := ""
	for info, err := range lake.List(ctx, stateFolder(pipeline), "") {
		if err != nil {
			return &Error{Op: "recording the pipeline's state", Object: lake.URL(), Err: err, Remedy: "see that the lake can be listed"}
		}
		if !strings.HasSuffix(info.Path, ".json") {
			continue
		}
		newest = info.Path
		if info.Path <= stateName(pipeline, number-statesKept) {
			old = append(old, info.Path)
		}
	}
	if is := stateName(pipeline, number); newest > is {
		return takenStep(is, "another engine has gone on to "+path.Base(newest))
	}
	for _, p := range old {
		_ = lake.Delete(ctx, p) // who may not remove files goes on all the same; the next state tries again
	}
	return nil
}

func stateName(pipeline string, number int64) string {
	return fmt.Sprintf("%s%020d.json", stateFolder(pipeline), number)
}

// takenStep is the conflict of two engines about a state.
func takenStep(name, why string) error {
	return &Error{
		Op: "recording the pipeline's state", Object: name, Kind: KindConflict, Err: errors.New(why),
		Remedy: "run one engine a pipeline: find the other one that works on this lake and stop it",
	}
}

// Pipelines lists the pipelines that have state in a lake, in order.
func Pipelines(ctx context.Context, lake objstore.Store) ([]string, error) {
	var names []string
	after := ""
	for {
		found := ""
		for info, err := range lake.List(ctx, ownFolder+"/", after) {
			if err != nil {
				return nil, &Error{Op: "listing the lake's pipelines", Object: lake.URL(), Err: err}
			}
			found = info.Path
			break
		}
		if found == "" {
			return names, nil
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(found, ownFolder+"/"), "/")
		names = append(names, name)
		after = ownFolder + "/" + name + "0" // '0' is the byte after '/'
	}
}

// MirrorPath is where the mirror of a source table lies in the lake.
func MirrorPath(schema, table string) string { return folderName(schema) + "/" + folderName(table) }

// ChangelogPath is where the changelog of a source table lies in the lake.
func ChangelogPath(schema, table string) string {
	return folderName(schema) + "/" + folderName(table) + "_changelog"
}

func tablePath(m Mode, schema, table string) string {
	if m == ModeChangelog {
		return ChangelogPath(schema, table)
	}
	return MirrorPath(schema, table)
}

// folderName makes a folder's name of any name that PostgreSQL allows: what a
// path, or a reader of partition folders, could misunderstand is
// percent-encoded, and so is a leading dot or underscore, since such folders
// are hidden or ours.
func folderName(name string) string {
	var b strings.Builder
	for i, r := range name {
		hidden := i == 0 && (r == '.' || r == '_')
		if hidden || r < 0x20 || r == 0x7f || strings.ContainsRune(`/\%:*?"<>|=#&`, r) {
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
