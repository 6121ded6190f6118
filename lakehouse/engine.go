package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Engine runs one pipeline: one source, one slot, any number of tables. Run is
// called once; Status may be called at any time by any goroutine.
type Engine struct {
	opt      Options
	identity cdc.Identity
	state    *State // nil: the lake does not know this pipeline yet
	epochs   *epoch.Log
	tables   []*fedTable
	shown    cdc.LSN // the cut that every table that goes on shows
	hold     cdc.LSN // what is acknowledged stays before it; 0: nothing asks for that
	rejoin   bool    // the stream has to go back to where tables are
	watched  cdc.LSN // the watcher waits for this position
	tasks    chan *task
	copier   *copier

	mu     sync.Mutex // guards status
	status Status
}

// Open checks that source and lake belong together, and prepares a pipeline.
// It changes nothing. The caller closes the engine, which closes the source.
func Open(ctx context.Context, opt Options) (*Engine, error) {
	opt.EnsureDefaults()
	if err := opt.Validate(); err != nil {
		return nil, &Error{Op: "reading the options", Kind: KindPreflight, Err: err}
	}
	opt.Lake = objstore.Retry(opt.Lake, objstore.RetryPolicy{Notify: func(op, path string, attempt int, err error) {
		opt.Log.Warn("the store failed; the call is made again", "op", op, "path", path, "attempt", attempt, "error", err)
	}})
	e := &Engine{opt: opt, tasks: make(chan *task)}
	e.copier = newCopier(e)
	id, err := opt.Source.Identify(ctx)
	if err != nil {
		return nil, err
	}
	e.identity = id
	st, err := ReadState(ctx, opt.Lake, opt.Name)
	if err != nil && !errors.Is(err, ErrNoState) {
		return nil, err
	}
	if err == nil {
		if err := e.checkState(st); err != nil {
			return nil, err
		}
		e.state = st
	}
	e.status = Status{Pipeline: opt.Name, Source: id, Slot: opt.Slot}
	return e, nil
}

// checkState refuses a lake that was fed from elsewhere (I2, I6).
func (e *Engine) checkState(st *State) error {
	bad := func(what, have, want, remedy string) error {
		return &Error{
			Op: "opening the lake", Object: e.opt.Lake.URL(), Kind: KindConflict,
			Err:    fmt.Errorf("pipeline %q was fed from %s %s, and this is %s", e.opt.Name, what, have, want),
			Remedy: remedy,
		}
	}
	other := "name the source that the lake belongs to, or another lake folder, or another pipeline with --name"
	switch {
	case st.Source.SystemID != e.identity.SystemID:
		return bad("the database cluster with system identifier", st.Source.SystemID, e.identity.SystemID, other)
	case st.Source.Database != e.identity.Database:
		return bad("database", st.Source.Database, e.identity.Database, other)
	case st.Source.Timeline != e.identity.Timeline:
		return bad("timeline", strconv.Itoa(int(st.Source.Timeline)), strconv.Itoa(int(e.identity.Timeline)),
			"the server was promoted or restored, and the slot may not give every change since: copy all tables again, into a new pipeline or a new lake folder")
	case st.Slot != e.opt.Slot:
		return bad("slot", st.Slot, e.opt.Slot, "give the slot's name that the lake was fed from")
	case st.Publication != e.opt.Publication:
		return bad("publication", st.Publication, e.opt.Publication, "give the publication's name that the lake was fed from")
	}
	return nil
}

// Run copies the tables that are not in the lake yet, then follows the source
// until ctx ends (nil: what had arrived is flushed), or until it is current if
// the options say so, or until something needs the operator.
func (e *Engine) Run(ctx context.Context) error {
	err := e.run(ctx)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

func (e *Engine) run(ctx context.Context) error {
	if err := e.prepare(ctx); err != nil {
		return err
	}
	defer e.closeTables()
	if err := e.reopen(ctx); err != nil {
		return err
	}
	e.removeOldIndexes()
	if err := e.firstEpoch(ctx); err != nil {
		return err
	}
	return e.follow(ctx)
}

// reopen loads epochs and tables as they are in the lake.
func (e *Engine) reopen(ctx context.Context) error {
	epochs, err := epoch.Open(ctx, e.opt.Lake, e.opt.Name, e.state.Session)
	if err != nil {
		return &Error{Op: "opening the record of epochs", Object: e.opt.Name, Err: err}
	}
	e.epochs = epochs
	if err := e.openTables(ctx); err != nil {
		return err
	}
	if len(e.tables) == 0 && len(e.copyingTables()) == 0 {
		return &Error{
			Op: "following the source", Object: e.opt.Name, Kind: KindPreflight, Err: errors.New("no table is left to follow"),
			Remedy: "select tables with --tables or --all",
		}
	}
	return nil
}

// prepare brings the pipeline to where it can stream: slot, publication and
// state are there, and every table is copied. Failures that can pass are
// waited out.
func (e *Engine) prepare(ctx context.Context) error {
	told := false
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		snap, err := e.setup(ctx)
		if err == nil {
			if !told && e.opt.Events.PipelineStarted != nil {
				e.opt.Events.PipelineStarted(PipelineStarted{Pipeline: e.opt.Name, Source: e.identity, Tables: len(e.state.Tables)})
			}
			told = true
			err = e.copyTables(ctx, snap)
		}
		if err == nil || !cdc.Retryable(err) {
			return err
		}
		if err := e.pause(ctx, "copying", err, wait); err != nil {
			return err
		}
	}
}

// pause tells of a failure that can pass and waits.
func (e *Engine) pause(ctx context.Context, what string, why error, wait time.Duration) error {
	e.tellRetrying(what, why, wait)
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Engine) tellRetrying(what string, why error, wait time.Duration) {
	if e.opt.Events.Retrying != nil {
		e.opt.Events.Retrying(Retrying{What: what, Err: why.Error(), After: wait})
	}
	e.opt.Log.Warn(what+" broke off and is begun again", "error", why, "after", wait)
}

// firstEpoch records the state that the initial copy shows, if all tables show
// the same; else the first epoch waits until the stream has passed them all.
func (e *Engine) firstEpoch(ctx context.Context) error {
	if _, any := e.epochs.Last(); any {
		return nil
	}
	first := epoch.Epoch{Timeline: e.identity.Timeline, Tables: map[string]int64{}}
	for _, t := range e.copyingTables() {
		first.Incomplete = append(first.Incomplete, t.Name())
	}
	for _, t := range e.tables {
		if t.copy != nil {
			continue
		}
		if t.stopped || t.position() != t.reached() || first.LSN != 0 && first.LSN != t.position() {
			return nil
		}
		first.LSN = t.position()
		if t.state.SnapshotTime.After(first.CommitTime) {
			first.CommitTime = t.state.SnapshotTime
		}
		for i, w := range t.writers {
			first.Tables[epochKey(t.modes[i], &t.state)] = w.Version()
		}
	}
	if len(first.Tables) == 0 {
		return nil
	}
	if _, err := e.epochs.Record(ctx, first); err != nil {
		return &Error{Op: "recording the first epoch", Object: e.opt.Name, Err: err}
	}
	return nil
}

// Status is the engine's account of itself.
func (e *Engine) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.status
	s.Tables = slices.Clone(s.Tables)
	return s
}

func (e *Engine) setStatus(f func(s *Status)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.status)
}

// Close closes the source. Run must have returned.
func (e *Engine) Close() error { return e.opt.Source.Close() }

// save records a change of the state; on an error the state is as before.
func (e *Engine) save(ctx context.Context, change func(s *State)) error {
	next := e.state.clone()
	change(next)
	if err := saveState(ctx, e.opt.Lake, next); err != nil {
		return err
	}
	e.state = next
	e.setStatus(func(s *Status) { s.Tables = slices.Clone(next.Tables) })
	return nil
}

// spec says how a table is kept in the lake.
func (e *Engine) spec(t *TableState, mode Mode) tableSpec {
	s := tableSpec{
		pipeline: e.opt.Name, incarnation: e.state.Incarnation, source: e.identity,
		state: *t, mode: mode, loc: location(e.opt.Lake, mode, t),
		targetSize:  e.opt.TargetFileSize,
		policy:      e.opt.OnSchemaChange,
		indexMemory: e.opt.Memory / 4 / int64(max(1, len(e.state.Tables))),
	}
	if e.opt.CacheDir != "" && mode == ModeMirror {
		s.indexDir = filepath.Join(e.indexFolder(), indexName(t))
	}
	return s
}
