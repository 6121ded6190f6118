package lakehouse

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/crashpoint"
)

// copier copies tables beside the stream: those with ranges of keys piece by
// piece, the others under one snapshot, after which the stream has to go back
// to the snapshot's point. It runs as one goroutine with its readers, from the
// beginning of the following to its end; tables and state it touches by tasks.
type copier struct {
	e      *Engine
	source cdc.KeyReader // nil: the source cannot read by key ranges
	wake   chan struct{} // of capacity 1: there may be something to copy
	// divided are the ranges that were found before the stream began.
	divided map[uint32]cdc.KeyRanges
	// undivided are tables that are to be read under a snapshot.
	undivided map[uint32]bool
	busy      atomic.Bool // something is being copied, or was just now
	// begun counts how often in a row a table's copy had to begin again, and
	// due says when it may next.
	begun  map[uint32]int
	due    map[uint32]time.Time
	wait   time.Duration // after what failed last; 0: nothing has since
	failed chan error    // of capacity 1: why it has ended

	mu sync.Mutex // guards reading
	// reading are the tables that are read under a snapshot just now, each with
	// what ends that.
	reading map[uint32]context.CancelCauseFunc
}

func newCopier(e *Engine) *copier {
	c := &copier{e: e, wake: make(chan struct{}, 1), divided: map[uint32]cdc.KeyRanges{}, undivided: map[uint32]bool{}, begun: map[uint32]int{}, due: map[uint32]time.Time{}, failed: make(chan error, 1), reading: map[uint32]context.CancelCauseFunc{}}
	c.source, _ = e.opt.Source.(cdc.KeyReader)
	return c
}

// abort ends the reading of a table under a snapshot, and reports whether it was
// being read: errCopyEnded where it is not to be copied any more, or otherwise;
// a *stopError stops it.
func (c *copier) abort(oid uint32, why error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	stop := c.reading[oid]
	if stop == nil {
		return false
	}
	stop(why)
	return true
}

// reads reports whether a table is being read under a snapshot.
func (c *copier) reads(oid uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reading[oid] != nil
}

// whileReading gives a context that ends with abort.
func (c *copier) whileReading(ctx context.Context, oid uint32) (context.Context, func()) {
	ctx, stop := context.WithCancelCause(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading[oid] = stop
	return ctx, func() {
		stop(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.reading, oid)
	}
}

// look tells the copier that there may be something to copy.
func (c *copier) look() {
	select {
	case c.wake <- struct{}{}:
	default: // it will look anyhow
	}
}

// run copies what is to be copied until ctx ends. An error ends the engine.
func (c *copier) run(ctx context.Context) error {
	for {
		again, err := c.pass(ctx)
		if err != nil {
			return err
		}
		if again {
			continue
		}
		select {
		case <-c.wake:
		case <-c.nextDue():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// nextDue tells when a table whose copy had to begin again may do so; nil where
// there is none.
func (c *copier) nextDue() <-chan time.Time {
	var first time.Time
	for _, at := range c.due {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(time.Until(first))
}

// later lets a table wait before its copy begins again: one that is altered or
// emptied again and again is not to be read again and again.
func (c *copier) later(oid uint32) {
	wait := min(time.Second<<min(c.begun[oid], 20), beginAgainMost)
	c.begun[oid]++
	c.due[oid] = time.Now().Add(wait)
}

const beginAgainMost = 5 * time.Minute

// pass copies what is to be copied now. again says that something is left.
func (c *copier) pass(ctx context.Context) (again bool, err error) {
	var todo []TableState
	err = c.e.do(ctx, func(context.Context) error {
		todo = c.e.copyingTables()
		c.busy.Store(len(todo) > 0)
		return nil
	})
	if err == nil { // a table that waited to be copied may have been paused, or dropped
		maps.DeleteFunc(c.due, func(oid uint32, _ time.Time) bool {
			return !slices.ContainsFunc(todo, func(t TableState) bool { return t.OID == oid })
		})
	}
	todo = slices.DeleteFunc(todo, func(t TableState) bool {
		at, waits := c.due[t.OID]
		if waits && !time.Now().Before(at) {
			delete(c.due, t.OID)
			waits = false
		}
		return waits
	})
	if err != nil || len(todo) == 0 {
		return false, err
	}
	rels, err := c.e.relations(ctx)
	if err == nil {
		err = c.e.joinStream(ctx, todo, rels)
	}
	if err == nil {
		err = c.tables(ctx, todo, rels)
	}
	if err == nil {
		c.wait = 0
		return true, nil
	}
	if errors.Is(err, errCopyEnded) && ctx.Err() == nil {
		return true, nil
	}
	if ctx.Err() != nil || !passes(err) {
		return false, err
	}
	c.wait = min(max(2*c.wait, retryFirst), retryMost)
	return true, c.e.backOff(ctx, "copying", err, c.wait)
}

// errCopyEnded says that the copy that was worked on is no more: the session
// that had it has ended, or it begins again.
var errCopyEnded = errors.New("the copy was given up")

// tables copies tables: first those under a snapshot, as the stream goes back
// for them.
func (c *copier) tables(ctx context.Context, todo []TableState, rels map[uint32]*cdc.Relation) error {
	var whole []uint32
	for i := range todo {
		t := &todo[i]
		rel := rels[t.OID]
		if rel == nil {
			return c.e.do(ctx, func(ctx context.Context) error { return c.e.forget(ctx, t.OID) })
		}
		if t.Repair {
			whole = append(whole, t.OID)
			continue
		}
		ranges, err := c.divide(ctx, rel)
		if err != nil {
			return c.fault(ctx, t.OID, err)
		}
		if ranges == nil {
			whole = append(whole, t.OID)
		}
	}
	if len(whole) > 0 {
		return c.underSnapshot(ctx, whole)
	}
	for i := range todo {
		if err := c.byRanges(ctx, todo[i].OID, rels[todo[i].OID]); err != nil {
			return c.fault(ctx, todo[i].OID, err)
		}
	}
	return nil
}

// divide gives a table's ranges; nil for one that is read under a snapshot.
func (c *copier) divide(ctx context.Context, rel *cdc.Relation) (cdc.KeyRanges, error) {
	if c.source == nil || c.undivided[rel.OID] {
		return nil, nil
	}
	if ranges := c.divided[rel.OID]; ranges != nil {
		return ranges, nil
	}
	ranges, err := c.source.Divide(ctx, rel)
	if err != nil {
		return nil, err
	}
	if ranges == nil {
		c.undivided[rel.OID] = true
		return nil, nil
	}
	c.divided[rel.OID] = ranges
	return ranges, nil
}

// forgetDivision lets the table be divided anew.
func (c *copier) forgetDivision(oid uint32) {
	delete(c.divided, oid)
	delete(c.undivided, oid)
}

// fault makes an error that concerns one table alone stop that table.
func (c *copier) fault(ctx context.Context, oid uint32, err error) error {
	c.forgetDivision(oid)
	if ctx.Err() != nil || errors.Is(err, errCopyEnded) || passes(err) && !errors.Is(err, cdc.ErrTableChanged) {
		return err
	}
	if errors.Is(err, errEmptied) || errors.Is(err, cdc.ErrTableChanged) {
		c.later(oid)
		return c.e.do(ctx, func(ctx context.Context) error { return c.e.copyAgain(ctx, oid, err) })
	}
	var stop *stopError
	if err = tableFault(err); !errors.As(err, &stop) && errors.Is(err, cdc.ErrTableUnreadable) {
		stop = unreadable(err)
	}
	if stop == nil {
		return err
	}
	return c.e.do(ctx, func(ctx context.Context) error { return c.e.stopCopying(ctx, oid, stop) })
}

// underSnapshot copies tables under a snapshot of their own, beside the
// stream, and lets it go back to the snapshot's point.
func (c *copier) underSnapshot(ctx context.Context, oids []uint32) error {
	e := c.e
	err := e.do(ctx, func(context.Context) error { // what is acknowledged from here on must stay before the point
		e.hold = e.resumeAt()
		return nil
	})
	if err != nil {
		return err
	}
	defer func() { // also when ctx has ended: nobody else may be there to do it then, nor to need it
		_ = e.do(ctx, func(context.Context) error {
			e.hold, e.rejoin = 0, e.rejoin || e.unopened != 0 // of some tables the copies may be whole, whatever became of the others
			return nil
		})
	}()
	looks, err := e.lookAtIDs(ctx, oids)
	if err != nil {
		return err
	}
	var snap cdc.Snapshot
	if snap, err = e.opt.Source.Snapshot(ctx); err != nil {
		return err
	}
	err = e.do(ctx, func(context.Context) error { e.hold = min(e.hold, snap.Point()); return nil })
	var changed []uint32
	if err == nil {
		changed, err = e.copyUnder(ctx, e.do, snap, false, looks, oids)
	}
	if closeErr := snap.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	for _, oid := range oids {
		if !slices.Contains(changed, oid) {
			delete(c.begun, oid)
		}
	}
	for _, oid := range changed {
		c.forgetDivision(oid)
		c.later(oid)
	}
	return nil
}

// byRanges copies a table by its key ranges, and returns when it is published.
func (c *copier) byRanges(ctx context.Context, oid uint32, rel *cdc.Relation) error {
	e := c.e
	looks, err := e.lookAtIDs(ctx, []uint32{oid})
	if err != nil {
		return err
	}
	var rc *rangeCopy
	begin := func(ctx context.Context) (err error) {
		rc, err = e.rangeCopyOf(ctx, oid, rel, c.divided[oid], looks)
		return err
	}
	for err = e.do(ctx, begin); errors.Is(err, errTooEarly); err = e.do(ctx, begin) {
		if err := c.reached(ctx); err != nil {
			return err
		}
	}
	if err != nil || rc == nil {
		return err
	}
	c.tellStarted(rc)
	if err := c.settle(ctx, rc); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for range min(e.opt.CopyWorkers, rc.ranges.Len()) {
		g.Go(func() error { return c.readRanges(gctx, oid, rc) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	select { // the flusher publishes it
	case <-rc.life.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	return c.ended(rc)
}

// ended says why a copy's life has ended: it was published, or has to begin
// again.
func (c *copier) ended(rc *rangeCopy) error {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	switch {
	case rc.published:
		delete(c.begun, rc.rel.OID)
		return nil
	case rc.why != nil:
		return rc.why
	}
	return errCopyEnded
}

func (c *copier) tellStarted(rc *rangeCopy) {
	if c.e.opt.Events.CopyStarted == nil {
		return
	}
	rc.mu.Lock()
	ev := CopyStarted{Table: rc.rel.String(), Point: rc.low, Ranges: rc.ranges.Len(), DoneRows: rc.read.Load(), DoneRanges: rc.ranges.Len() - rc.gate.left}
	rc.mu.Unlock()
	ev.Rows, ev.Bytes = rc.expected()
	c.e.opt.Events.CopyStarted(ev)
}

// settle waits until every transaction that is in progress has ended, so that
// no commit before the copy's beginning is unseen by its views. The changes
// that are dropped meanwhile are forgotten as they become visible.
func (c *copier) settle(ctx context.Context, rc *rangeCopy) error {
	ctx, cancel := c.while(ctx, rc)
	defer cancel()
	settled := make(chan error, 1)
	go func() { settled <- c.source.Settle(ctx) }()
	told := false
	for {
		select {
		case err := <-settled:
			return c.lifeOr(rc, err)
		case <-time.After(settleLook):
			v, err := c.source.Seen(ctx)
			if err != nil {
				continue // Settle says what is wrong
			}
			rc.mu.Lock()
			rc.gate.settled(&v)
			rc.mu.Unlock()
			if who, err := c.source.Running(ctx); err == nil && who != "" && !told {
				told = true
				c.e.opt.Log.Info("the copy of a table waits for transactions to end", "table", rc.rel.String(), "transactions", who)
			}
		}
	}
}

const settleLook = time.Second

// while gives a context that also ends with the copy.
func (c *copier) while(ctx context.Context, rc *rangeCopy) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(rc.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// lifeOr tells that the copy has ended in place of an error that comes of it.
func (c *copier) lifeOr(rc *rangeCopy, err error) error {
	if err != nil && rc.life.Err() != nil {
		return c.ended(rc)
	}
	return err
}

// readRanges is one reader: it reads ranges until there are no more.
func (c *copier) readRanges(ctx context.Context, oid uint32, rc *rangeCopy) error {
	ctx, cancel := c.while(ctx, rc)
	defer cancel()
	for wait := retryFirst; ; {
		more, err := c.readNext(ctx, oid, rc)
		switch {
		case err == nil && !more:
			return nil
		case err == nil:
			wait = retryFirst
			// Only to have a flush take it in soon.
			if err := c.e.do(ctx, func(context.Context) error { return nil }); err != nil {
				return c.lifeOr(rc, err)
			}
		case rc.life.Err() != nil:
			return c.ended(rc)
		case ctx.Err() == nil && passes(err) && !errors.Is(err, cdc.ErrTableChanged):
			if err := c.e.backOff(ctx, "copying "+rc.rel.String(), err, wait); err != nil {
				return c.lifeOr(rc, err)
			}
			wait = min(2*wait, retryMost)
		default:
			return err
		}
	}
}

// readNext reads the next range that nobody reads.
func (c *copier) readNext(ctx context.Context, oid uint32, rc *rangeCopy) (more bool, err error) {
	rc.mu.Lock()
	_, some := rc.gate.next()
	rc.mu.Unlock()
	if !some {
		return false, nil
	}
	r, err := c.source.BeginRead(ctx, rc.rel, rc.ranges)
	if err != nil {
		return true, err
	}
	defer func() {
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
	}()
	// The lock is held: from here to the view it takes no longer than an answer.
	rc.mu.Lock()
	i, some := rc.gate.next()
	low := rc.low
	if some {
		rc.gate.open(i)
	}
	rc.mu.Unlock()
	if !some {
		return false, nil
	}
	v, err := r.View(ctx)
	ok := false
	rc.mu.Lock()
	if err == nil {
		ok = rc.gate.accept(i, v)
	}
	if !ok {
		rc.gate.putBack(i)
	}
	rc.mu.Unlock()
	if err != nil {
		return true, err
	}
	if !ok { // a commit that was dropped is not visible yet
		select {
		case <-time.After(unseenPause):
		case <-ctx.Done():
		}
		return true, ctx.Err()
	}
	read, err := c.readRange(ctx, oid, rc, r, i, v, low)
	rc.mu.Lock()
	if err != nil {
		rc.gate.putBack(i)
	} else {
		rc.finished = append(rc.finished, read)
	}
	done := rc.ranges.Len() - rc.gate.left + len(rc.finished)
	rc.mu.Unlock()
	if err != nil {
		return true, err
	}
	crashpoint.At(crashpoint.CopyRangeStaged)
	if c.e.opt.Events.CopyProgress != nil {
		c.e.opt.Events.CopyProgress(CopyProgress{Table: rc.rel.String(), Rows: rc.read.Add(read.rows), Ranges: done})
	}
	return true, nil
}

// readRange reads a range into data files.
func (c *copier) readRange(ctx context.Context, _ uint32, rc *rangeCopy, r cdc.KeyRead, i int, v cdc.View, low cdc.LSN) (*rangeRead, error) {
	read := &rangeRead{index: i, view: v, outs: make([]rangeFiles, len(rc.targets))}
	outs := make([]*copyOutput, len(rc.targets))
	defer func() {
		for _, o := range outs {
			if o != nil {
				o.stager.abort()
			}
		}
	}()
	for n, t := range rc.targets {
		var err error
		if outs[n], err = newCopyOutput(ctx, t.spec, rc.rel, t.log.Schema(), t.log, low); err != nil {
			return nil, err
		}
	}
	err := r.Range(ctx, i, func(b *cdc.Batch) error {
		defer b.Release()
		if err := faultError(b, 0); err != nil {
			return err
		}
		read.rows += int64(b.Len())
		for n, o := range outs {
			err := o.write(b, func(run keyRun) error {
				run.hashes = slices.Clone(run.hashes)
				read.outs[n].runs = append(read.outs[n].runs, run)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for n, o := range outs {
		if err := o.stager.finish(); err != nil {
			return nil, err
		}
		read.outs[n].files, read.outs[n].schema = o.stager.done, o.table.schema
	}
	return read, nil
}
