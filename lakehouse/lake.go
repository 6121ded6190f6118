package lakehouse

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Lake reads what a pipeline keeps in a lake, without the source and without
// disturbing a running engine. It shows the pipeline as it was when the Lake
// was opened; tables are read as they are. It may be used by many goroutines.
type Lake struct {
	store objstore.Store
	state *State
	log   *epoch.Log
}

// LakeTable is a table of the lake.
type LakeTable struct {
	// Name is what commands and epochs call it: schema.table, or
	// schema.table_changelog.
	Name string `json:"name"`
	Mode Mode   `json:"mode"`
	// Path is its folder in the lake.
	Path string `json:"path"`
	// State is what the pipeline recorded of the source table that it follows.
	State TableState `json:"state"`
}

// OpenLake opens a pipeline's part of a lake for reading. An empty name means
// the lake's only pipeline; ErrNoPipeline where there is none, or more than
// one to choose from.
func OpenLake(ctx context.Context, store objstore.Store, pipeline string) (*Lake, error) {
	if pipeline == "" {
		var err error
		if pipeline, err = onlyPipeline(ctx, store); err != nil {
			return nil, err
		}
	}
	state, err := ReadState(ctx, store, pipeline)
	if err != nil {
		return nil, err
	}
	log, err := epoch.Open(ctx, store, pipeline, "")
	if err != nil {
		return nil, err
	}
	return &Lake{store: store, state: state, log: log}, nil
}

func onlyPipeline(ctx context.Context, store objstore.Store) (string, error) {
	const op = "opening the lake"
	names, err := Pipelines(ctx, store)
	switch {
	case err != nil:
		return "", err
	case len(names) == 0:
		return "", &Error{
			Op: op, Object: store.URL(), Err: fmt.Errorf("%w: no pipeline has written to it", ErrNoPipeline),
			Remedy: "see that --lake names the folder that `lakeload run` was given",
		}
	case len(names) > 1:
		return "", &Error{
			Op: op, Object: store.URL(), Err: fmt.Errorf("%w: the lake holds %s", ErrNoPipeline, strings.Join(names, ", ")),
			Remedy: "choose one with --name",
		}
	}
	return names[0], nil
}

// State is the pipeline's recorded state. It is shared and must not be changed.
func (l *Lake) State() *State { return l.state }

// Position is the source position up to which the lake holds everything;
// zero before the first epoch.
func (l *Lake) Position() cdc.LSN { return l.log.Position() }

// Epochs gives the newest epochs in their order, each with every table that it
// has: at most so many, or all that there are where newest is 0. It holds a few
// at a time. What it gives is the caller's.
func (l *Lake) Epochs(ctx context.Context, newest int64) iter.Seq2[epoch.Epoch, error] {
	first := int64(1)
	if last, any := l.log.Last(); any && newest > 0 {
		first = max(first, last.Number-newest+1)
	}
	return l.log.From(ctx, first)
}

// Tables lists the tables of the pipeline, by name. A table that is still
// being copied for the first time is among them and has no version yet.
func (l *Lake) Tables() []LakeTable {
	var out []LakeTable
	for _, t := range l.state.Tables {
		for _, m := range t.Modes {
			out = append(out, LakeTable{Name: epochKey(m, &t), Mode: m, Path: tablePath(m, t.Schema, t.Table), State: t})
		}
	}
	slices.SortStableFunc(out, func(a, b LakeTable) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Table finds a table by its name. ErrUnknownTable where there is none.
func (l *Lake) Table(name string) (LakeTable, error) {
	tables := l.Tables()
	for _, t := range tables {
		if t.Name == name {
			return t, nil
		}
	}
	remedy := "`lakeload tables` lists them"
	for _, t := range tables {
		if strings.EqualFold(t.Name, name) || strings.HasSuffix(t.Name, "."+name) {
			remedy = fmt.Sprintf("did you mean %s? %s", t.Name, remedy)
			break
		}
	}
	return LakeTable{}, &Error{Op: "finding a table", Object: name, Err: fmt.Errorf("%w in the lake %s", ErrUnknownTable, l.store.URL()), Remedy: remedy}
}

// Location is where a table lies, for package tablefmt.
func (l *Lake) Location(t LakeTable) tablefmt.Location {
	return tablefmt.Location{Data: objstore.Sub(l.store, t.Path)}
}

// LoadTable gives the snapshot of any Delta table at a state of its own; the
// states of a source are refused, as only a lake knows them.
func LoadTable(ctx context.Context, loc tablefmt.Location, at At) (*tablefmt.Snapshot, error) {
	switch at.kind {
	case atNewest:
		return tablefmt.Load(ctx, loc)
	case atVersion:
		return tablefmt.LoadAt(ctx, loc, at.version)
	case atTimestamp:
		return tablefmt.LoadAsOf(ctx, loc, at.time)
	}
	return nil, &Error{
		Op: "reading the table", Object: loc.String(), Err: fmt.Errorf("%s is a state of a source, and a table alone does not know its source", at),
		Remedy: "name the lake and the table's name in it, or a version or timestamp of the table",
	}
}

// Freshness is how old the source's last transaction in the lake is at now;
// false before there is one.
func (l *Lake) Freshness(now time.Time) (time.Duration, bool) {
	last, any := l.log.Last()
	if !any || last.CommitTime.IsZero() {
		return 0, false
	}
	return now.Sub(last.CommitTime), true
}
