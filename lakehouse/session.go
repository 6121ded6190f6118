package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 30 * time.Second
	// stopGrace bounds the last flush after Run was asked to stop.
	stopGrace = 30 * time.Second
)

// errRejoin ends a session: a table has been copied beside the stream, which
// has to go back to the point that the copy shows.
var errRejoin = errors.New("the stream goes back to where a copied table is")

// follow streams until it is told to stop, and begins again after failures
// that can pass. Beside the stream the copier, the watcher and the keeper work.
func (e *Engine) follow(ctx context.Context) error {
	beside, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	e.keeper = newKeeper(e)
	keeping, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	others.Go(func() { e.keeper.run(keeping) })
	others.Go(func() {
		if err := e.copier.run(beside); beside.Err() == nil {
			e.copier.failed <- err
		}
	})
	if source, ok := e.opt.Source.(cdc.Watcher); ok {
		w := &watcher{e: e, source: source}
		others.Go(func() { w.run(beside) })
	}
	e.invite(beside)
	defer func() { // what is due is done, so that it is done at all where runs are short
		e.keeper.end()
		grace := time.AfterFunc(stopGrace, giveUp)
		others.Wait()
		grace.Stop()
		giveUp()
	}()
	defer e.guests.Wait()
	defer e.disinvite()
	defer stop()
	return e.sessions(ctx)
}

func (e *Engine) sessions(ctx context.Context) error {
	wait := retryFirst
	for {
		if e.rejoin { // as the last stream ended for, or came to be while none was there
			e.rejoin = false
			if err := e.reopenPatiently(ctx, wait); err != nil {
				return err
			}
		}
		before := e.resumeAt()
		err := e.session(ctx)
		e.undo()
		what, anew := "streaming", false
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errRejoin):
			continue
		case errors.Is(err, keyindex.ErrUnfit), errors.Is(err, errRearranged):
			what, anew = "keeping the key index", true // it is rebuilt
		case errors.Is(err, errKeptOtherwise):
			what, anew = "keeping a table", true // it is opened as it is now
		case lakeFails(err):
			what, anew = "writing to the lake", true // what the failed flush has left is read
		case !cdc.Retryable(err):
			return err
		}
		if e.resumeAt() > before {
			wait = retryFirst
		}
		if err := e.rest(ctx, what, err, wait); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if anew {
			if err := e.reopenPatiently(ctx, wait); err != nil {
				return err
			}
		}
		wait = min(2*wait, retryMost)
	}
}

// undo forgets what the session has staged and not committed.
func (e *Engine) undo() {
	for _, t := range e.tables {
		t.rollback()
		if t.copy == nil || t.copy.givenUp() {
			continue
		}
		restartRangeCopy(t)
	}
}

// rest tells of a failure that can pass, and waits. Tasks are done meanwhile.
func (e *Engine) rest(ctx context.Context, what string, why error, wait time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(e.tellRetrying(what, why, wait))
	defer timer.Stop()
	for {
		select {
		case t := <-e.tasks:
			runTasks(ctx, []*task{t})
		case err := <-e.copier.failed:
			return err
		case <-timer.C:
			return e.superseded(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reopenPatiently reads epochs and tables anew, and waits while the store is
// away, or the source, which is asked for tables that are being copied.
func (e *Engine) reopenPatiently(ctx context.Context, wait time.Duration) error {
	for {
		err := e.reopen(ctx)
		if !passes(err) {
			return err
		}
		wait = min(2*wait, retryMost)
		if err := e.pause(ctx, "reading the lake", err, wait); err != nil {
			return err
		}
	}
}

// session is one stream with its three goroutines: the receiver waits for
// chunks, the session's own gathers them into the next batch, the flusher
// writes the one before. All end before session returns.
type session struct {
	e      *Engine
	stream cdc.Stream
	pace   pace
	target cdc.LSN // UntilCurrent: where to stop; zero for never

	chunks  chan *cdc.Chunk
	failed  chan error // of the receiver
	batches chan *batch
	flushed chan flushResult

	next   *batch    // being filled
	first  time.Time // when the first change of next arrived
	busy   bool      // the flusher works
	staged bool      // a part of an unfinished transaction is staged
	last   flushResult
	given  cdc.LSN // the cut that the flusher has, or had
	hold   holding
}

type flushResult struct {
	staged  bool
	record  bool
	cut     cdc.LSN
	awaits  cdc.LSN // see flusher.awaits
	held    int64   // bytes of changes that wait for a copy
	copying bool    // some table is not published yet
	rejoin  bool    // the stream has to go back
	err     error
}

func (e *Engine) session(ctx context.Context) (err error) {
	from := e.resumeAt()
	s := &session{
		e: e, next: &batch{}, given: from, chunks: make(chan *cdc.Chunk), failed: make(chan error, 1),
		batches: make(chan *batch), flushed: make(chan flushResult, 1),
		pace: pace{freshness: e.opt.Freshness, idle: e.opt.IdleInterval, maxBytes: e.opt.FlushBytes, lastRecord: time.Now()},
	}
	if e.opt.UntilCurrent {
		slot, err := e.opt.Source.Slot(ctx)
		if err != nil {
			return err
		}
		if s.target = slot.Current; from >= s.target && !e.copies() {
			// Nothing is to come: a table that was copied just now is in an epoch.
			_, err := (&flusher{e: e}).record(ctx, &batch{cut: from}, false)
			return err
		}
		s.last.copying = e.copies()
	}
	e.shown = from
	e.recall()
	if s.stream, err = e.openStream(ctx, from); err != nil {
		return err
	}
	if e.opt.Events.StreamStarted != nil {
		e.opt.Events.StreamStarted(StreamStarted{From: from})
	}
	last, _ := e.epochs.Last()
	e.setStatus(func(st *Status) {
		st.Streaming, st.Durable, st.Epoch, st.EpochTime = true, from, last.Number, last.CommitTime
	})

	// The flusher outlives a cancelled ctx, so that what has arrived is flushed.
	work, abort := context.WithCancel(context.WithoutCancel(ctx))
	receive, stopReceiving := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.receive(receive) })
	wg.Go(func() { s.flushLoop(work) })
	letGo := context.AfterFunc(ctx, func() { // the last flush after a stop is bounded
		grace := time.NewTimer(stopGrace)
		defer grace.Stop()
		select {
		case <-grace.C:
			abort()
		case <-work.Done():
		}
	})
	err = s.loop(ctx)
	e.setStatus(func(st *Status) { st.Streaming = false })
	e.meter.streamEnded()
	stopReceiving()
	close(s.batches) // what is being flushed is flushed: its outcome must be known
	wg.Wait()
	letGo()
	abort()
	select {
	case r := <-s.flushed: // of a flush that was under way when the stream failed
		if r.err != nil {
			err = r.err
		}
	default:
	}
	refuseTasks(s.next.tasks)
	s.next.release()
	e.meter.inFlight.Store(0)
	if rest := s.hold.end(Cut{}, noCut("the stream has ended meanwhile", errNotNow)); rest != nil {
		rest.Release()
	}
	if closeErr := s.stream.Close(); err == nil {
		err = closeErr
	}
	return err
}

// receive waits for chunks. It ends with its context or the stream's error.
func (s *session) receive(ctx context.Context) {
	for {
		c, err := s.stream.Next(ctx)
		if err != nil {
			s.failed <- err
			return
		}
		crashpoint.At(crashpoint.ChunkReceived)
		select {
		case s.chunks <- c:
		case <-ctx.Done():
			c.Release()
			s.failed <- ctx.Err()
			return
		}
	}
}

// loop gathers chunks and hands batches over until the stream fails, a flush
// fails, ctx ends or the target is reached.
func (s *session) loop(ctx context.Context) error {
	done := ctx.Done()
	stopping := false
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for {
		if s.target != 0 && s.next.cut >= s.target && !s.next.open && !s.last.copying ||
			s.last.awaits != 0 && s.next.cut >= s.last.awaits {
			s.next.record = true
		}
		if stopping && !s.busy {
			if s.next.open || s.next.empty() && !s.staged && s.next.cut == 0 {
				return nil // an unfinished transaction is delivered again
			}
			s.next.record = true
		}
		var (
			in    <-chan *cdc.Chunk
			out   chan<- *batch
			timer <-chan time.Time
			cuts  <-chan *cutRequest
		)
		if !stopping && s.hold.request == nil {
			cuts = s.e.cuts
		}
		if !stopping && s.hold.receives() && s.next.bytes < s.pace.maxBytes && s.last.held < 2*s.pace.maxBytes {
			in = s.chunks // else the stream waits: backpressure
		}
		if at, ok := s.pace.due(s.next, s.first, s.staged); ok && !s.busy {
			if wait := time.Until(at); wait <= 0 {
				out = s.batches
			} else {
				alarm.Reset(wait)
				timer = alarm.C
			}
		}
		cut := s.next.cut // which is the flusher's once it has the batch
		select {
		case c := <-in:
			s.take(c)
		case out <- s.next:
			s.busy, s.given = true, max(s.given, cut)
			s.pace.lastFlush = time.Now()
			// Inside a transaction until a chunk says otherwise: what is staged of
			// it must not be committed because nothing else has come for a while.
			s.next = &batch{open: s.next.open}
		case r := <-s.flushed:
			s.busy, s.staged, s.last = false, r.staged, r
			if r.err != nil {
				return r.err
			}
			if r.rejoin {
				return errRejoin
			}
			if r.record {
				s.pace.lastRecord = time.Now()
			}
			if s.hold.full && r.cut == s.hold.at && !r.staged {
				cut, err := s.e.cutAt(r.cut)
				if err == nil {
					err = s.hold.reached(ctx, &cut)
				}
				s.release(cut, err)
			}
			if stopping {
				return nil
			}
			if s.target != 0 && r.cut >= s.target && !r.staged && !r.copying {
				if r.record {
					return nil
				}
				s.next.cut, s.next.record = max(s.next.cut, r.cut), true // tables that were copied are in an epoch
			}
		case err := <-s.failed:
			if ctx.Err() == nil {
				return err
			}
		case err := <-s.e.copier.failed:
			return err
		case t := <-s.e.tasks:
			s.next.tasks = append(s.next.tasks, t)
		case r := <-cuts:
			s.hold.begin(r)
		case at := <-s.hold.told():
			s.cutAt(at)
		case <-s.hold.gone():
			s.release(Cut{}, context.Canceled)
		case <-s.e.pulse:
			s.e.setStatus(func(st *Status) { st.Server = s.stream.Progress() })
		case <-timer:
		case <-done:
			stopping, done = true, nil
		}
	}
}

// cutAt takes the point of a cut. Nothing that has arrived is beyond it, or
// it is none.
func (s *session) cutAt(at cdc.LSN) {
	switch so := max(s.next.cut, s.given); {
	case at < so || at == so && s.next.open:
		s.release(Cut{}, noCut("the point "+at.String()+" is in the past", fmt.Errorf("the stream is at %s", so)))
	case at == so: // nothing has to come any more
		s.hold.at, s.hold.full = at, true
		s.next.cut, s.next.record = at, true
	default:
		s.hold.at = at
	}
}

// release ends a cut. What was kept back for it follows.
func (s *session) release(cut Cut, err error) {
	if rest := s.hold.end(cut, err); rest != nil {
		s.take(rest)
	}
}

func (s *session) take(c *cdc.Chunk) {
	if s.next.empty() {
		s.first = time.Now()
	}
	if c = s.hold.split(c); s.hold.full {
		defer func() { s.next.record = true }()
	}
	s.next.add(c)
	s.e.meter.inFlight.Add(c.Bytes)
	s.e.setStatus(func(st *Status) { st.Received, st.Server = max(st.Received, c.Cut), s.stream.Progress() })
}

// flushLoop flushes batches until there are no more.
func (s *session) flushLoop(ctx context.Context) {
	f := &flusher{e: s.e, ack: s.stream.Ack}
	f.source, _ = s.e.opt.Source.(cdc.KeyReader)
	for b := range s.batches {
		s.e.meter.flushes(true)
		r := flushResult{record: !b.open && b.cut != 0}
		if err := f.flush(ctx, b); err != nil {
			r.err = fmt.Errorf("flushing up to %s: %w", b.cut, err)
		}
		// Within a transaction all that was staged would be for nothing.
		r.cut, r.staged, r.rejoin = b.cut, f.staged, s.e.rejoin && !f.staged
		r.awaits, r.held, r.copying = f.awaits(), f.held(), s.e.copies()
		s.e.meter.held.Store(r.held)
		s.e.meter.flushes(false)
		b.release()
		s.e.meter.inFlight.Add(-b.bytes)
		s.flushed <- r
	}
}
