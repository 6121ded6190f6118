package epoch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// FullEvery is how often, in records, a record names every table and not only
// those that changed, so that reading never has to go further back.
const FullEvery = 1000

// ErrTwin says that another session appends to the same record.
var ErrTwin = errors.New("another engine records epochs of this pipeline")

// Log is the record of a pipeline's epochs, a Delta table of its own. It is
// used by one goroutine; what only reads may be called by many while none
// appends.
type Log struct {
	loc     tablefmt.Location
	snap    *tablefmt.Snapshot // nil: nothing is recorded yet
	session string
	written int64     // by this session
	kept    int64     // the record up to which upkeep has been done, or tried
	unsure  string    // the id of a commit of upkeep that may be in the log or not
	fresh   time.Time // when snap was known to be the newest

	last     record           // epoch or idle position
	epoch    Epoch            // the last epoch
	complete map[string]int64 // table -> version at the last epoch
	any      bool             // an epoch is recorded
	time     time.Time        // the running maximum of commit times
}

// Open opens the record of a pipeline for reading, and with a session (any
// text that no other process uses) for appending. An empty session only
// reads. A record that does not exist yet is empty.
func Open(ctx context.Context, lake objstore.Store, pipeline, session string) (*Log, error) {
	l := &Log{loc: tablefmt.Location{Data: objstore.Sub(lake, Path(pipeline))}, session: session, complete: map[string]int64{}}
	snap, err := tablefmt.Load(ctx, l.loc)
	if errors.Is(err, tablefmt.ErrNoTable) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the record of epochs: %w", err)
	}
	l.snap, l.fresh = snap, wallClock()
	files := filesOf(snap)
	last, err := l.lastOf(ctx, files)
	if err != nil {
		return nil, err
	}
	records, err := l.read(ctx, files, fullBefore(last), last)
	if err != nil {
		return nil, err
	}
	// What counts begins at a full one.
	for i := len(records) - 1; i >= 0; i-- {
		if records[i].full {
			records = records[i:]
			break
		}
	}
	for _, r := range records {
		l.take(r)
	}
	return l, nil
}

// Path is where the record of a pipeline lies in the lake.
func Path(pipeline string) string { return "_lakeload/" + pipeline + "/epochs" }

// Last is the last epoch, with every table that it has; false before the first.
func (l *Log) Last() (Epoch, bool) {
	e := l.epoch
	e.Tables = maps.Clone(l.complete)
	return e, l.any
}

// Version is that of one table at the last epoch; false where it has none.
func (l *Log) Version(table string) (version int64, ok bool) {
	version, ok = l.complete[table]
	return version, ok
}

// Position is the greatest position recorded, by an epoch or while idle; zero
// before the first.
func (l *Log) Position() cdc.LSN { return l.last.LSN }

// Snapshot is the record's own table; nil before the first record.
func (l *Log) Snapshot() *tablefmt.Snapshot { return l.snap }

// Record appends an epoch: e.Tables are the versions of all tables that are
// complete at e.LSN. Number, CommitTime (made monotonic) and Recorded are set
// by it. It is durable when Record returns nil.
func (l *Log) Record(ctx context.Context, e Epoch) (Epoch, error) {
	if e.LSN < l.last.LSN {
		return e, fmt.Errorf("recording an epoch: its position %s is before %s, the last one recorded", e.LSN, l.last.LSN)
	}
	e.Number = l.last.Number + 1
	if e.CommitTime.Before(l.time) {
		e.CommitTime = l.time
	}
	r := record{Epoch: e, full: !l.any || l.fullIsNext()}
	if r.full {
		r.Tables = maps.Clone(e.Tables)
	} else {
		r.Tables = map[string]int64{}
		for t, v := range e.Tables {
			if have, ok := l.complete[t]; !ok || have != v {
				r.Tables[t] = v
			}
		}
		for t := range l.complete {
			if _, ok := e.Tables[t]; !ok && !slices.Contains(e.Incomplete, t) {
				r.full, r.Tables = true, maps.Clone(e.Tables) // a table is gone
				break
			}
		}
	}
	err := l.append(ctx, r)
	return l.epoch, err
}

// fullIsNext says that the next record's number is one of those that are full.
func (l *Log) fullIsNext() bool { return (l.last.seq+1)%FullEvery == 0 }

// Idle records a position up to which nothing has changed.
func (l *Log) Idle(ctx context.Context, lsn cdc.LSN) error {
	if lsn <= l.last.LSN {
		return nil
	}
	if l.fullIsNext() { // an epoch like the last one, so that a full record is where one is looked for
		_, err := l.Record(ctx, Epoch{
			LSN: lsn, Timeline: l.epoch.Timeline, CommitTime: l.time, Tables: maps.Clone(l.complete), Incomplete: l.epoch.Incomplete,
		})
		return err
	}
	e := l.last.Epoch
	e.LSN, e.Tables = lsn, nil
	return l.append(ctx, record{Epoch: e, idle: true})
}

// Rebase takes the position to lsn, back or on, without an epoch: the source
// was promoted, and what it had after lsn is not in its history any more, or it
// was taken over by adoption, and its positions are others. Epochs that are
// recorded after it may have lower positions than those before.
func (l *Log) Rebase(ctx context.Context, lsn cdc.LSN, timeline uint32) error {
	if l.last.seq == 0 {
		return nil // there is nothing to go on from
	}
	if l.any && l.fullIsNext() { // see Idle; what the lake shows has not changed
		_, err := l.Record(ctx, Epoch{
			LSN: l.last.LSN, Timeline: l.epoch.Timeline, CommitTime: l.time, Tables: maps.Clone(l.complete), Incomplete: l.epoch.Incomplete,
		})
		if err != nil {
			return err
		}
	}
	e := l.last.Epoch
	e.LSN, e.Timeline, e.Tables = lsn, timeline, nil
	return l.append(ctx, record{Epoch: e, idle: true})
}

func (l *Log) append(ctx context.Context, r record) error {
	r.seq = l.last.seq + 1
	if err := l.setSince(ctx, &r); err != nil {
		return err
	}
	r.Recorded = time.Now().UTC().Truncate(time.Microsecond)
	r.CommitTime = r.CommitTime.UTC().Truncate(time.Microsecond)
	w, err := tablefmt.NewFileWriter(ctx, l.loc, arrowSchema, tablefmt.FileOptions{})
	if err != nil {
		return fmt.Errorf("recording an epoch: %w", err)
	}
	defer w.Abort()
	rec := r.arrow()
	defer rec.Release()
	if _, err := w.Write(rec); err != nil {
		return fmt.Errorf("recording an epoch: %w", err)
	}
	add, err := w.Close()
	if err != nil {
		return fmt.Errorf("recording an epoch: %w", err)
	}
	snap, err := l.commit(ctx, add)
	var lost *tablefmt.ConflictError
	if errors.As(err, &lost) && l.unsure != "" && lost.Winner != nil && lost.Winner.TxnID == l.unsure {
		// It was our own upkeep, whose answer had been lost.
		if l.snap, err = tablefmt.LoadAt(ctx, l.loc, lost.Version); err == nil {
			snap, err = l.commit(ctx, add)
		}
	}
	if errors.Is(err, tablefmt.ErrConflict) {
		return fmt.Errorf("recording an epoch: %w: %w", ErrTwin, err)
	}
	if err != nil {
		return fmt.Errorf("recording an epoch: %w", err)
	}
	if err := l.checkNewest(ctx, snap); err != nil {
		return err
	}
	l.snap, l.unsure, l.fresh = snap, "", wallClock()
	l.take(r)
	return nil
}

// staleAfter is how long nobody else's commits can have been cleaned away: half
// of how long they stay.
const staleAfter = 30 * time.Minute

// checkNewest looks whether a commit is the newest, if so much time has passed
// since the one before that the place in the log which it has taken may be one
// that had been another's and was cleaned: as when the machine was asleep, and
// another engine has long been at work.
func (l *Log) checkNewest(ctx context.Context, snap *tablefmt.Snapshot) error {
	if wallClock().Sub(l.fresh) < staleAfter {
		return nil
	}
	newest, err := tablefmt.Load(ctx, l.loc)
	if err != nil {
		return fmt.Errorf("recording an epoch: looking whether it is the last: %w", err)
	}
	if newest.Version() != snap.Version() || newest.CommitID() != snap.CommitID() {
		return fmt.Errorf("recording an epoch: %w: the record is at version %d, and this engine was at %d", ErrTwin, newest.Version(), snap.Version())
	}
	return nil
}

// wallClock is a time that goes on while the machine sleeps, which the
// monotonic clock does not.
func wallClock() time.Time { return time.Now().Round(0) }

func (l *Log) commit(ctx context.Context, add *tablefmt.AddFile) (*tablefmt.Snapshot, error) {
	t := tablefmt.Begin(l.loc, l.snap)
	if err := describe(t, l.snap); err != nil {
		return nil, err
	}
	t.Add(*add)
	l.written++
	t.SetTxn(l.session, l.written)
	t.SetInfo("WRITE", map[string]any{"mode": "Append"})
	t.SetReads(tablefmt.ReadsTable) // of two engines one must lose
	t.SetCommitID(uuid.NewString())
	return t.Commit(ctx)
}

// setSince says from where on the positions before r have not gone back.
func (l *Log) setSince(ctx context.Context, r *record) error {
	r.since = l.last.since
	switch {
	case !r.idle && (!l.any || r.LSN < l.epoch.LSN):
		r.since = r.seq
	case r.since == 0 && l.any: // the last record is an older program's
		since, err := l.findSince(ctx)
		if err != nil {
			return fmt.Errorf("recording an epoch: %w", err)
		}
		r.since = since
	}
	return nil
}

// take takes in the next record.
func (l *Log) take(r record) {
	if r.full {
		clear(l.complete)
	}
	if !r.idle {
		for t, v := range r.Tables {
			l.complete[t] = v
		}
		for _, t := range r.Incomplete {
			delete(l.complete, t)
		}
		l.any, l.epoch = true, r.Epoch
	}
	if r.CommitTime.After(l.time) {
		l.time = r.CommitTime
	}
	l.last = r
}

// The record is read by programs that open it for a moment, and grows by several
// files a record: what is gone from it stays for an hour.
var properties = map[string]string{
	"lakeload.kind":               "epochs",
	tablefmt.PropLogRetention:     "interval 1 hour",
	tablefmt.PropDeletedRetention: "interval 1 hour",
	tablefmt.PropForgetTxns:       "interval 1 day", // there is a txn for each session
}

// describe makes the table, or brings that of an older program up to date.
func describe(t *tablefmt.Transaction, snap *tablefmt.Snapshot) error {
	if snap != nil {
		if _, ok := snap.Schema().Field("since"); ok {
			return nil
		}
	}
	s, err := tablefmt.SchemaFromArrow(arrowSchema)
	if err != nil {
		return fmt.Errorf("describing the record of epochs: %w", err)
	}
	m := &tablefmt.Metadata{}
	if snap == nil {
		t.SetProtocol(tablefmt.ChangelogProtocol(tablefmt.OptionsFor(s)))
	} else {
		m = snap.Metadata().Clone()
	}
	m.SchemaString, m.Configuration = s.JSON(), maps.Clone(properties)
	t.SetMetadata(m)
	return nil
}
