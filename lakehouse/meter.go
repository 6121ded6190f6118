package lakehouse

import (
	"context"
	"errors"
	"io"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// meter keeps an engine's figures. What the engine tells anyhow it hears as a
// listener, see listen; little has to be told it besides. It may be used by
// many goroutines. An engine that only looks has none, and no tables' meters.
type meter struct {
	since time.Time

	// Gauges.
	inFlight, held, writing atomic.Int64

	mu         sync.Mutex // guards what follows
	activity   Activity
	trouble    *Trouble
	observed   time.Time
	streamed   time.Time
	rows, txns int64
	batches    int64
	fresh      Histogram
	flush      Histogram
	lastCommit time.Time
	flushing   time.Time // since when; zero: nothing is flushed
	streams    int64
	slot       *SlotSample
	retries    map[string]int64
	recent     *recent
	tables     map[uint32]*tableMeter
	copies     map[string]*CopyStats // by the source's name of the table

	store storeMeter
}

func newMeter(now time.Time) *meter {
	return &meter{
		since: now, activity: ActivityStarting, fresh: newHistogram(coarse), flush: newHistogram(coarse), recent: newRecent(now),
		retries: map[string]int64{}, tables: map[uint32]*tableMeter{}, copies: map[string]*CopyStats{},
		store: storeMeter{calls: map[string]int64{}, failures: map[string]int64{}, failing: map[string]failing{}},
	}
}

// listen gives listeners that hear what these hear, and the meter first.
func (m *meter) listen(to Events) Events {
	out := to
	out.CopyStarted = heard(m.copyStarted, to.CopyStarted)
	out.CopyProgress = heard(m.copyProgress, to.CopyProgress)
	out.CopyFinished = heard(m.copyFinished, to.CopyFinished)
	out.StreamStarted = heard(m.streamStarted, to.StreamStarted)
	out.BatchCommitted = heard(m.batchCommitted, to.BatchCommitted)
	out.Retrying = heard(m.retrying, to.Retrying)
	return out
}

// heard calls two listeners, of which the second may be nil.
func heard[E any](first, second func(E)) func(E) {
	return func(e E) {
		first(e)
		if second != nil {
			second(e)
		}
	}
}

func (m *meter) copyStarted(e CopyStarted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.copies[e.Table] = &CopyStats{Ranges: e.Ranges, RangesDone: e.DoneRanges, Rows: e.DoneRows, RowsEstimate: e.Rows}
	m.copying()
}

func (m *meter) copyProgress(e CopyProgress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.copies[e.Table]; c != nil { // those of several readers may overtake each other
		c.Rows, c.RangesDone = max(c.Rows, e.Rows), max(c.RangesDone, e.Ranges)
	}
	m.copying()
}

// copying notes that a copy has come further. The caller holds mu.
func (m *meter) copying() {
	if m.activity != ActivityStreaming {
		m.activity, m.trouble = ActivityCopying, nil
	}
}

func (m *meter) copyFinished(e CopyFinished) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.copies, e.Table)
}

func (m *meter) streamStarted(StreamStarted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.streams++
	m.activity, m.trouble, m.streamed = ActivityStreaming, nil, time.Now()
}

// streamEnded notes that nothing streams any more; what comes of it is told by
// whoever goes on.
func (m *meter) streamEnded() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.activity == ActivityStreaming {
		m.activity = ActivityStarting
	}
}

func (m *meter) ended() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.activity = ActivityEnded
}

func (m *meter) batchCommitted(e BatchCommitted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastCommit = time.Now()
	m.rows, m.txns, m.batches = m.rows+e.Rows, m.txns+int64(e.Transactions), m.batches+1
	m.flush.observe(e.Elapsed)
	now := m.recent.at(m.lastCommit)
	now.rows, now.transactions, now.batches = now.rows+e.Rows, now.transactions+int64(e.Transactions), now.batches+1
	if !e.CommitTime.IsZero() { // else nothing was committed at the source: a copy was published
		m.fresh.observe(e.Freshness)
		now.fresh.observe(e.Freshness)
	}
}

func (m *meter) retrying(e Retrying) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.retries[retryKind(e.What)]++
	m.recent.at(now).failed++
	if m.activity == ActivityStreaming { // of a copy beside it
		return
	}
	if m.activity == ActivityEnded {
		return
	}
	since, times := now, 1
	if t := m.trouble; t != nil {
		since, times = t.Since, t.Times+1
	}
	m.activity, m.trouble = ActivityWaiting, &Trouble{What: e.What, Err: e.Err, Since: since.UTC(), Times: times}
}

// retryKind is what was being done, without the table that it was done to:
// there are few.
func retryKind(what string) string {
	if strings.HasPrefix(what, "copying ") {
		return "copying"
	}
	return what
}

// flushes notes that a flush begins, or has ended.
func (m *meter) flushes(begins bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.flushing = (time.Time{}); begins {
		m.flushing = time.Now()
	}
}

func (m *meter) sampled(slot cdc.SlotState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.slot = &SlotSample{At: time.Now(), State: slot}
	if slot.Restart != 0 && slot.Current > slot.Restart {
		m.slot.Retained = int64(slot.Current - slot.Restart)
	}
}

// sampledAt is when the slot was last looked at; zero for never.
func (m *meter) sampledAt() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.slot == nil {
		return time.Time{}
	}
	return m.slot.At
}

// turned notes that the observer's loop turns, and the stream's where it did.
func (m *meter) turned(stream bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.observed = now; stream {
		m.streamed = now
	}
}

// slotOld is the age from which on what was said of the slot is not told.
const slotOld = time.Minute

func (m *meter) stats(now time.Time) Stats {
	s := Stats{
		At: now, Since: m.since, InFlight: m.inFlight.Load(), Held: m.held.Load(), Writing: int(m.writing.Load()), Store: m.store.stats(now),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Activity = m.activity
	if t := m.trouble; t != nil {
		copied := *t
		s.Trouble = &copied
	}
	s.Loops.Observer, s.Loops.Stream = m.observed, m.streamed
	s.Rows, s.Transactions, s.Batches, s.Streams = m.rows, m.txns, m.batches, m.streams
	s.Freshness, s.Flush, s.LastCommit = m.fresh.clone(), m.flush.clone(), m.lastCommit
	s.Flushing = m.flushing
	if m.slot != nil && now.Sub(m.slot.At) <= slotOld {
		copied := *m.slot
		s.Slot = &copied
	}
	s.Retries = maps.Clone(m.retries)
	return s
}

func (m *meter) windows(now time.Time) []Window {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Window
	for _, d := range windowLengths {
		out = append(out, m.recent.over(now, d))
	}
	return out
}

// table is the meter of a table.
func (m *meter) table(oid uint32) *tableMeter {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tables[oid]
	if t == nil {
		t = &tableMeter{}
		m.tables[oid] = t
	}
	return t
}

func (m *meter) tableStats(st *TableState) TableStats {
	s := TableStats{Name: st.Name(), Phase: st.Phase}
	m.mu.Lock()
	t := m.tables[st.OID]
	if c := m.copies[st.SourceName()]; c != nil && st.Phase == PhaseCopying {
		copied := *c
		s.Copy = &copied
	}
	m.mu.Unlock()
	if t != nil {
		t.fill(&s)
	}
	return s
}

// changeCount counts changes by what they do.
type changeCount struct{ inserts, updates, deletes, truncates int64 }

// add counts the changes of a table from a position on: what comes before it is
// in the table already.
func (c *changeCount) add(items []cdc.Item, from cdc.LSN) {
	for i := range items {
		it := &items[i]
		if it.Truncate != nil {
			if it.Truncate.Txn.Commit >= from {
				c.truncates++
			}
			continue
		}
		first := it.Batch.Len()
		for _, span := range it.Batch.Txns {
			if span.Txn.Commit >= from {
				first = span.First
				break
			}
		}
		for _, op := range it.Batch.Ops[first:] {
			switch op {
			case cdc.OpInsert:
				c.inserts++
			case cdc.OpUpdate:
				c.updates++
			case cdc.OpDelete:
				c.deletes++
			}
		}
	}
}

// tableMeter keeps a table's figures, whatever becomes of its writers. A nil one
// keeps none.
type tableMeter struct {
	inserts, updates, deletes, truncates   atomic.Int64
	files, fileBytes, vectors, vectorBytes atomic.Int64

	mu    sync.Mutex        // guards what follows
	index keyindex.Measured // that was opened last; it may be closed
	past  keyindex.Stats    // what those before it have counted
}

// applied counts changes that are durable.
func (t *tableMeter) applied(c changeCount) {
	t.inserts.Add(c.inserts)
	t.updates.Add(c.updates)
	t.deletes.Add(c.deletes)
	t.truncates.Add(c.truncates)
}

// wrote counts a data file.
func (t *tableMeter) wrote(bytes int64) {
	if t != nil {
		t.files.Add(1)
		t.fileBytes.Add(bytes)
	}
}

// marked counts a deletion vector.
func (t *tableMeter) marked(bytes int64) {
	if t != nil {
		t.vectors.Add(1)
		t.vectorBytes.Add(bytes)
	}
}

// indexed notes that an index is the table's from now on.
func (t *tableMeter) indexed(index keyindex.Index) {
	m, ok := index.(keyindex.Measured)
	if t == nil || !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.index != nil {
		was := t.index.Stats()
		t.past.Lookups += was.Lookups
		t.past.Merges += was.Merges
	}
	t.index = m
}

func (t *tableMeter) fill(s *TableStats) {
	s.Inserts, s.Updates, s.Deletes, s.Truncates = t.inserts.Load(), t.updates.Load(), t.deletes.Load(), t.truncates.Load()
	s.Files, s.FileBytes, s.Vectors, s.VectorBytes = t.files.Load(), t.fileBytes.Load(), t.vectors.Load(), t.vectorBytes.Load()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.index != nil {
		index := t.index.Stats()
		index.Lookups += t.past.Lookups
		index.Merges += t.past.Merges
		s.Index = &index
	}
}

// storeMeter hears of every call of the lake's store, see [objstore.Observe].
type storeMeter struct {
	retries atomic.Int64

	mu              sync.Mutex // guards what follows
	calls, failures map[string]int64
	failing         map[string]failing // by the call's name; those whose last call has not failed are missing
}

// failing is since when all calls of a name have failed, when one last did, and
// why.
type failing struct {
	since, last time.Time
	why         error
}

// failureOld is the age from which on a failure says nothing of now: a call that
// is needed is made again sooner, see retryMost.
const failureOld = 2 * time.Minute

// called notes a call that has ended.
func (s *storeMeter) called(op string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op]++
	switch {
	case storeFailed(err):
		s.failures[op]++
		now := time.Now()
		f := s.failing[op]
		if f.last.IsZero() || now.Sub(f.last) > failureOld {
			f.since = now
		}
		f.last, f.why = now, err
		s.failing[op] = f
	case !errors.Is(err, context.Canceled): // who was told to stop has learned nothing
		delete(s.failing, op)
	}
}

// storeFailed tells a store that fails from one that answers no.
func storeFailed(err error) bool {
	switch {
	case err == nil:
		return false
	case objstore.Retryable(err):
		return true
	}
	for _, answer := range []error{objstore.ErrNotFound, objstore.ErrExists, io.EOF, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, answer) {
			return false
		}
	}
	return true
}

func (s *storeMeter) stats(now time.Time) StoreStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := StoreStats{Calls: maps.Clone(s.calls), Failures: maps.Clone(s.failures), Retries: s.retries.Load()}
	for _, f := range s.failing {
		if now.Sub(f.last) <= failureOld && (out.FailingSince.IsZero() || f.since.Before(out.FailingSince)) {
			out.FailingSince = f.since
		}
	}
	return out
}

// blocked is what forbids the store's use, until somebody takes it away; nil for
// nothing.
func (s *storeMeter) blocked(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.failing {
		if objstore.Blocked(f.why) && now.Sub(f.last) <= failureOld {
			return f.why
		}
	}
	return nil
}

// lasted is how long the store has been failing; 0: it is not.
func (s *storeMeter) lasted(now time.Time) time.Duration {
	if since := s.stats(now).FailingSince; !since.IsZero() {
		return max(1, now.Sub(since))
	}
	return 0
}
