package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/osfault"
	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/lakehouse/mask"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Engine runs one pipeline: one source, one slot, any number of tables. Run is
// called once; Status may be called at any time by any goroutine.
type Engine struct {
	opt      Options
	identity cdc.Identity
	history  []cdc.Switch // of identity.Timeline
	descent  descent      // of identity from state
	state    *State       // nil: the lake does not know this pipeline yet
	saved    bool         // the state is of our making
	epochs   *epoch.Log
	tables   []*fedTable
	shown    cdc.LSN // the cut that every table that goes on shows
	hold     cdc.LSN // what is acknowledged stays before it; 0: nothing asks for that
	rejoin   bool    // the stream has to go back to where tables are
	unopened cdc.LSN // where the first of the tables is that were copied and are not opened yet; 0: there is none
	watched  cdc.LSN // the watcher waits for this position
	awaited  cdc.LSN // and a copy, before it begins, for this one
	// resting are the tables that stand still where they are, by OID, while they
	// are compared with the source and mended.
	resting map[uint32]cdc.LSN
	tasks   chan *task
	cuts    chan *cutRequest
	// publishing is held by who changes what is in the publication, see alone.
	publishing chan struct{}
	copier     *copier
	keeper     *keeper
	masks      *maskBook
	indexes    *indexPool
	shared     time.Time      // when their memory was divided last
	guests     sync.WaitGroup // calls of others that use the engine's source

	meter  *meter
	alerts alerts
	pulse  chan struct{} // asks the stream's loop whether it turns

	mu      sync.Mutex // guards what follows
	status  Status
	weights map[uint32]int64 // rows that the tables have cost since the guard's last look
	// beside ends when the following of the source does; nil: it is not followed.
	beside   context.Context //nolint:containedctx // of each follow
	repaired map[uint32]*Repaired
}

// Open checks that source and lake belong together, and prepares a pipeline.
// It changes nothing. The caller closes the engine, which closes the source.
func Open(ctx context.Context, opt Options) (*Engine, error) {
	opt.EnsureDefaults()
	if err := opt.Validate(); err != nil {
		return nil, &Error{Op: "reading the options", Kind: KindPreflight, Err: err}
	}
	m := newMeter(time.Now())
	opt.Events = m.listen(opt.Events)
	opt.Lake = objstore.Retry(objstore.Observe(opt.Lake, m.store.called), objstore.RetryPolicy{Notify: func(op, path string, attempt int, err error) {
		m.store.retries.Add(1)
		opt.Log.Warn("the store failed; the call is made again", "op", op, "path", path, "attempt", attempt, "error", err)
	}})
	masks := newMaskBook(opt.Table)
	opt.Source = mask.Wrap(opt.Source, masks.policy)
	e := &Engine{
		opt: opt, masks: masks, indexes: newIndexPool(opt.Memory), meter: m, pulse: make(chan struct{}), tasks: make(chan *task), publishing: make(chan struct{}, 1), cuts: make(chan *cutRequest),
		resting: map[uint32]cdc.LSN{}, repaired: map[uint32]*Repaired{}, descent: descent{same: true},
	}
	st, err := ReadState(ctx, opt.Lake, opt.Name)
	if err != nil && !errors.Is(err, ErrNoState) {
		return nil, err
	}
	if err == nil {
		e.state = st
		e.masks.set(st.Tables)
	}
	if err := e.identify(ctx); err != nil {
		return nil, err
	}
	e.status = Status{Pipeline: opt.Name, Source: e.identity, Slot: opt.Slot}
	if e.state != nil {
		e.status.Tables = slices.Clone(e.state.Tables)
	}
	return e, nil
}

// Run copies the tables that are not in the lake yet, then follows the source
// until ctx ends (nil: what had arrived is flushed), or until it is current if
// the options say so, or until something needs the operator.
//
// A server that is promoted meanwhile is followed to its new timeline, if it
// has all that the lake has.
func (e *Engine) Run(ctx context.Context) error {
	defer e.observe(ctx)()
	for {
		err := e.run(ctx)
		if errors.Is(err, cdc.ErrTimeline) {
			err = e.identifyPatiently(ctx, err)
			if err == nil {
				continue
			}
		}
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return nil
		}
		return e.halted(ctx, err)
	}
}

// identifyPatiently looks at a server that is on another timeline, and waits
// while it cannot be reached.
func (e *Engine) identifyPatiently(ctx context.Context, why error) error {
	e.opt.Log.Warn("the server has changed; who it is now is looked at", "reason", why)
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := e.identify(ctx)
		if !cdc.Retryable(err) {
			return err
		}
		if err := e.pause(ctx, "identifying the source", err, wait); err != nil {
			return err
		}
	}
}

func (e *Engine) run(ctx context.Context) error {
	// Another server may have taken the place of the one before.
	e.shown, e.hold, e.rejoin, e.unopened, e.watched, e.awaited, e.copier = 0, 0, false, 0, 0, 0, newCopier(e)
	ctx, release := context.WithCancelCause(ctx)
	defer release(nil)
	beside, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { (&guard{e: e, release: release}).run(beside) })
	err := e.work(ctx)
	stop()
	watch.Wait()
	if why := (*releaseError)(nil); errors.As(context.Cause(ctx), &why) {
		return e.dropReleased(context.WithoutCancel(ctx), why)
	}
	return err
}

func (e *Engine) work(ctx context.Context) error {
	if err := e.prepare(ctx); err != nil {
		return err
	}
	defer e.closeTables()
	if err := e.reopenPatiently(ctx, retryFirst); err != nil {
		return err
	}
	e.removeOldIndexes()
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := e.firstEpoch(ctx)
		if err == nil {
			return e.follow(ctx)
		}
		if !lakeFails(err) {
			return err
		}
		if err := e.pause(ctx, "recording the first epoch", err, wait); err != nil {
			return err
		}
		if err := e.reopenPatiently(ctx, wait); err != nil {
			return err
		}
	}
}

// reopen loads epochs and tables as they are in the lake.
func (e *Engine) reopen(ctx context.Context) error {
	epochs, err := epoch.Open(ctx, e.opt.Lake, e.opt.Name, e.state.Session)
	if err != nil {
		return &Error{Op: "opening the record of epochs", Object: e.opt.Name, Err: err}
	}
	e.epochs = epochs
	if r := e.state.Rebase; r != nil {
		if err := epochs.Rebase(ctx, r.At, r.Timeline); err != nil {
			return &Error{Op: "taking the record of epochs to " + r.At.String(), Object: e.opt.Name, Err: err}
		}
		if err := e.save(ctx, func(s *State) { s.Rebase = nil }); err != nil {
			return err
		}
	}
	e.divideIndexes()
	if err := e.openTables(ctx); err != nil {
		return err
	}
	e.indexes.share(e.tables)
	e.unopened = 0
	if len(e.tables) == 0 && len(e.copyingTables()) == 0 {
		return e.state.nothingToFollow()
	}
	return nil
}

// nothingToFollow says that a pipeline has no table to follow, and what to do.
func (s *State) nothingToFollow() error {
	dropped := 0
	for i := range s.Tables {
		if s.Tables[i].Phase == PhaseDropped {
			dropped++
		}
	}
	e := &Error{Op: "following the source", Object: s.Pipeline, Kind: KindPreflight, Err: errors.New("no table is left to follow"), Remedy: "select tables with --tables or --all"}
	if dropped > 0 {
		e.Err = fmt.Errorf("%w: %d were dropped by hand", e.Err, dropped)
		e.Remedy = "`lakeload resync TABLE` takes one of them up again; or select others with --tables or --all"
	}
	return e
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
		// A lake that refuses before anything is there is refused itself.
		if err == nil || !cdc.Retryable(err) && (!told || !lakeFails(err)) {
			return err
		}
		if err := e.pause(ctx, "copying", err, wait); err != nil {
			return err
		}
	}
}

// pause tells of a failure that can pass and waits. It ends an engine whose
// place another one has taken meanwhile.
func (e *Engine) pause(ctx context.Context, what string, why error, wait time.Duration) error {
	if err := e.backOff(ctx, what, why, wait); err != nil {
		return err
	}
	return e.superseded(ctx)
}

// backOff does so for what works beside the stream, and must not touch the
// state.
func (e *Engine) backOff(ctx context.Context, what string, why error, wait time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case <-time.After(e.tellRetrying(what, why, wait)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tellRetrying tells of a failure that can pass, and gives the wait after it. It
// varies, so that many engines do not come back at once.
func (e *Engine) tellRetrying(what string, why error, wait time.Duration) time.Duration {
	wait = wait/2 + rand.N(wait)
	remedy := hintOf(why)
	if remedy == "" && osfault.Blocked(why) {
		remedy = "make room on the local disk, or give the right that is missing; it goes on by itself then"
	}
	if e.opt.Events.Retrying != nil {
		e.opt.Events.Retrying(Retrying{What: what, Err: why.Error(), After: wait, Remedy: remedy})
	}
	args := []any{"error", why, "after", wait}
	if remedy != "" {
		args = append(args, "what_to_do", remedy)
	}
	e.opt.Log.Warn(what+" broke off and is begun again", args...)
	return wait
}

// superseded reports whether another engine has taken this one's place. One that
// has written nothing yet waits for another's slot: it goes on from what that
// one has recorded meanwhile. A lake that cannot be read just now says nothing.
func (e *Engine) superseded(ctx context.Context) error {
	if e.state == nil || e.state.number == 0 {
		return nil
	}
	newest, err := ReadState(ctx, e.opt.Lake, e.opt.Name)
	switch {
	case err != nil || newest.number == e.state.number:
		return nil
	case !e.saved && newest.Session == e.state.Session:
		e.state = newest
		e.masks.set(newest.Tables)
		return nil
	}
	return &Error{
		Op: "going on with the pipeline", Object: e.opt.Name, Kind: KindConflict,
		Err:    fmt.Errorf("another engine has taken it over (session %s)", newest.Session),
		Remedy: "run one engine a pipeline: find the other one that works on this lake and stop it",
	}
}

// firstEpoch records the state that the initial copy shows, if all tables show
// the same; else the first epoch waits until the stream has passed them all.
func (e *Engine) firstEpoch(ctx context.Context) error {
	if last, any := e.epochs.Last(); any && !e.adoptedSince(last.Recorded) {
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

// adoptedSince reports whether the lake was taken over to another source, and
// copied again, after a time.
func (e *Engine) adoptedSince(t time.Time) bool {
	n := len(e.state.Adoptions)
	return n > 0 && !e.state.Adoptions[n-1].Continuous && !e.state.Adoptions[n-1].Time.Before(t)
}

// Status is the engine's account of itself.
func (e *Engine) Status() Status {
	s := e.statusNow()
	s.Health = e.health()
	return s
}

// Streaming reports whether changes are being followed.
func (e *Engine) Streaming() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status.Streaming
}

func (e *Engine) statusNow() Status {
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
	for oid, columns := range e.masks.learned() {
		if t := next.table(oid); t != nil {
			t.Masks = columns
		}
	}
	change(next)
	if err := saveState(ctx, e.opt.Lake, next); err != nil {
		return err
	}
	was := e.state
	e.state, e.saved = next, true
	e.masks.set(next.Tables)
	e.divideIndexes()
	e.setStatus(func(s *Status) { s.Tables = slices.Clone(next.Tables) })
	e.tellDetached(was, next)
	return nil
}

// divideIndexes says among which tables the memory for indexes is divided.
func (e *Engine) divideIndexes() {
	e.indexes.divide(e.state.Tables, func(t *TableState) string { return filepath.Join(e.indexFolder(), indexName(t)) })
}

// tellDetached tells of the tables that a change of the state has detached.
func (e *Engine) tellDetached(was, is *State) {
	for i := range is.Tables {
		t := &is.Tables[i]
		before := was.table(t.OID)
		if !t.gone() || before != nil && before.gone() || e.opt.Events.TableDetached == nil {
			continue
		}
		e.opt.Events.TableDetached(TableDetached{Table: t.Name(), Reason: t.Reason, Remedy: t.Remedy})
	}
}

// spec says how a table is kept in the lake.
func (e *Engine) spec(t *TableState, mode Mode) tableSpec {
	oid := t.OID
	s := tableSpec{
		pipeline: e.opt.Name, incarnation: e.state.Incarnation, source: e.identity, formerly: e.state.formerly(),
		state: *t, mode: mode, loc: location(e.opt.Lake, mode, t),
		targetSize:  e.opt.TargetFileSize,
		heal:        e.opt.OnLakeChange == typemap.Resync,
		holdBytes:   e.opt.FlushBytes / 2,
		warn:        func(format string, args ...any) { e.opt.Log.Warn(fmt.Sprintf(format, args...)) },
		policy:      e.opt.OnSchemaChange,
		indexing:    e.opt.Events.IndexProgress,
		meter:       e.meter.table(t.OID),
		indexMemory: func(rows int64) int64 { return e.indexes.ask(oid, rows) },
	}
	if e.masks != nil {
		s.masks = e.masks.policy
	}
	if e.opt.CacheDir != "" && mode == ModeMirror {
		s.indexDir = filepath.Join(e.indexFolder(), indexName(t))
	}
	return s
}
