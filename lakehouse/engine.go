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

	"github.com/google/uuid"

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

	mu     sync.Mutex // guards status
	status Status
}

// fedTable is a table of the source with what is kept of it in the lake.
type fedTable struct {
	state   TableState
	writers []writer
	modes   []Mode // parallel to writers
	// stopped says that the table follows its source no more; it holds the
	// acknowledgement at stoppedAt, the last cut that it shows.
	stopped   bool
	stoppedAt cdc.LSN
}

// key names a table in an epoch.
func epochKey(mode Mode, t *TableState) string {
	if mode == ModeChangelog {
		return t.Name() + "_changelog"
	}
	return t.Name()
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
	e := &Engine{opt: opt}
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
	if len(e.tables) == 0 {
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
	if e.opt.Events.Retrying != nil {
		e.opt.Events.Retrying(Retrying{What: what, Err: why.Error(), After: wait})
	}
	e.opt.Log.Warn(what+" broke off and is begun again", "error", why, "after", wait)
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// firstEpoch records the state that the initial copy shows, if all tables show
// the same; else the first epoch waits until the stream has passed them all.
func (e *Engine) firstEpoch(ctx context.Context) error {
	if _, any := e.epochs.Last(); any {
		return nil
	}
	first := epoch.Epoch{Timeline: e.identity.Timeline, Tables: map[string]int64{}}
	for _, t := range e.tables {
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
		indexMemory: e.opt.Memory / 4 / int64(max(1, len(e.state.Tables))),
	}
	if e.opt.CacheDir != "" && mode == ModeMirror {
		s.indexDir = filepath.Join(e.indexFolder(), indexName(t))
	}
	return s
}

// openTables opens the writers of all tables that are live. A table that
// cannot be followed is stopped; the others go on.
func (e *Engine) openTables(ctx context.Context) error {
	e.closeTables()
	e.tables = nil
	last, any := e.epochs.Last()
	for i := range e.state.Tables {
		t := &fedTable{state: e.state.Tables[i]}
		if t.state.Phase == PhaseDetached {
			continue
		}
		e.tables = append(e.tables, t)
		if t.state.Phase == PhaseStopped && t.state.NeedsCopy {
			if err := e.keepStopped(ctx, t); err != nil {
				return err
			}
			continue
		}
		if t.state.Phase == PhaseCopying {
			return fmt.Errorf("opening %s: its copy is not published", t.state.Name())
		}
		err := e.openTable(ctx, t)
		if err == nil && any {
			err = e.checkVersions(ctx, t, &last)
		}
		err = tableFault(err)
		var stop *stopError
		switch {
		case errors.As(err, &stop):
			if err := e.stopUnopened(ctx, t, stop); err != nil {
				return err
			}
		case err != nil:
			return err
		case t.state.Phase == PhaseStopped:
			// It is tried again from where it stopped.
			if err := e.restartTable(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// stopUnopened stops a table that cannot even be opened, at the last position
// that is known of it.
func (e *Engine) stopUnopened(ctx context.Context, t *fedTable, why *stopError) error {
	if err := e.keepStopped(ctx, t); err != nil {
		return err
	}
	return e.stopTable(ctx, t, why)
}

// keepStopped lets a table that is not opened hold the acknowledgement at the
// last position that is known of it.
func (e *Engine) keepStopped(ctx context.Context, t *fedTable) error {
	t.stopped, t.stoppedAt = true, t.state.StoppedAt
	if t.stoppedAt == 0 {
		t.stoppedAt = e.epochs.Position()
	}
	if t.stoppedAt == 0 {
		slot, err := e.opt.Source.Slot(ctx)
		if err != nil {
			return err
		}
		t.stoppedAt = slot.ConfirmedFlush
	}
	return nil
}

func (e *Engine) openTable(ctx context.Context, t *fedTable) error {
	for _, mode := range t.state.Modes {
		w, err := openWriter(ctx, e.spec(&t.state, mode))
		if err != nil {
			return err
		}
		t.writers, t.modes = append(t.writers, w), append(t.modes, mode)
	}
	return nil
}

func (e *Engine) closeTables() {
	for _, t := range e.tables {
		t.close(e)
	}
}

func (t *fedTable) close(e *Engine) {
	for _, w := range t.writers {
		if err := w.Close(); err != nil {
			// Only the local cache is concerned, which is checked when it is opened.
			e.opt.Log.Warn("closing a table's local cache failed", "table", t.state.Name(), "error", err)
		}
	}
	t.writers, t.modes = nil, nil
}

func (t *fedTable) rollback() {
	for _, w := range t.writers {
		w.Rollback()
	}
}

// position is the least cut that all of the table's writers have reached.
func (t *fedTable) position() cdc.LSN {
	if t.stopped {
		return t.stoppedAt
	}
	p := cdc.LSN(0)
	for i, w := range t.writers {
		if i == 0 || w.Position() < p {
			p = w.Position()
		}
	}
	return p
}

// reached is the greatest cut that any of the table's writers shows.
func (t *fedTable) reached() cdc.LSN {
	p := cdc.LSN(0)
	for _, w := range t.writers {
		p = max(p, w.Position())
	}
	return p
}

// stopTable stops one table (I5): it is recorded, told, and holds the
// acknowledgement at the cut that it shows.
func (e *Engine) stopTable(ctx context.Context, t *fedTable, why *stopError) error {
	t.rollback()
	t.stopped = true
	err := e.save(ctx, func(s *State) {
		st := s.table(t.state.OID)
		st.Phase, st.Reason, st.Remedy, st.NeedsCopy = PhaseStopped, why.reason, why.remedy, why.recopy
		st.StoppedAt = t.stoppedAt
		st.Since = time.Now().UTC()
		t.state = *st
	})
	t.close(e)
	if err != nil {
		return err
	}
	e.tellStopped(&t.state)
	return nil
}

func (e *Engine) tellStopped(t *TableState) {
	e.opt.Log.Error("a table has stopped", "table", t.Name(), "reason", t.Reason, "remedy", t.Remedy, "at", t.StoppedAt)
	if e.opt.Events.TableStopped != nil {
		e.opt.Events.TableStopped(TableStopped{Table: t.Name(), Reason: t.Reason, Remedy: t.Remedy})
	}
}

// restartTable takes a stopped table up again: the stream begins where it
// stopped, and it stops again if what stopped it is still there.
func (e *Engine) restartTable(ctx context.Context, t *fedTable) error {
	at := t.state.StoppedAt
	err := e.save(ctx, func(s *State) {
		st := s.table(t.state.OID)
		st.Phase, st.Reason, st.Remedy = PhaseLive, "", ""
		st.Since = time.Now().UTC()
		t.state = *st // StoppedAt stays until the table has passed it
	})
	t.state.StoppedAt = at
	return err
}

// resumeAt is the position from which the stream has to be delivered: every
// table shows everything up to there.
func (e *Engine) resumeAt() cdc.LSN {
	at := e.epochs.Position()
	if at == 0 {
		for i, t := range e.tables {
			if p := t.position(); i == 0 || p < at {
				at = p
			}
		}
	}
	for _, t := range e.tables {
		if t.stopped {
			at = min(at, t.stoppedAt)
		} else if t.state.StoppedAt != 0 {
			at = min(at, max(t.state.StoppedAt, t.position()))
		}
	}
	return at
}

func newIncarnation() string { return uuid.NewString() }
