package epoch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/compaction"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// FullEvery is how often, in records, a record names every table and not only
// those that changed, so that reading never has to go further back.
const FullEvery = 1000

// ErrTwin says that another session appends to the same record.
var ErrTwin = errors.New("another engine records epochs of this pipeline")

// record is a row of the epoch table: an epoch, or a mere position (Number is
// then that of the epoch before) that lets an idle slot advance.
type record struct {
	Epoch
	seq  int64 // of the row, from 1
	idle bool
	full bool
}

// Log is the record of a pipeline's epochs, a Delta table of its own. It is
// used by one goroutine.
type Log struct {
	loc       tablefmt.Location
	snap      *tablefmt.Snapshot // nil: nothing is recorded yet
	session   string
	written   int64 // by this session
	packAfter int64 // the record before which Pack is not tried again

	last     record           // epoch or idle position
	epoch    Epoch            // the last epoch
	complete map[string]int64 // table -> version at the last epoch
	any      bool             // an epoch is recorded
	time     time.Time        // the running maximum of commit times
}

var arrowSchema = arrow.NewSchema([]arrow.Field{
	{Name: "seq", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "epoch", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "idle", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "full", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "lsn", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "timeline", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "commit_time", Type: arrow.FixedWidthTypes.Timestamp_us, Nullable: true},
	{Name: "tables", Type: arrow.BinaryTypes.String, Nullable: true},     // JSON: table -> version
	{Name: "incomplete", Type: arrow.BinaryTypes.String, Nullable: true}, // JSON: list
	{Name: "recorded", Type: arrow.FixedWidthTypes.Timestamp_us, Nullable: true},
}, nil)

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
	l.snap = snap
	records, err := l.read(ctx, l.sinceFull())
	if err != nil {
		return nil, err
	}
	// A packed file holds older records too: what counts begins at a full one.
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

// sinceFull keeps the files that the last full record and those after it are
// in, as far as the statistics tell; nil keeps all.
func (l *Log) sinceFull() func(*tablefmt.AddFile) bool {
	last, greatest := int64(0), make(map[string]int64, l.snap.NumFiles())
	for f := range l.snap.Files() {
		greatest[f.Path] = greatestSeq(f)
		last = max(last, greatest[f.Path])
	}
	full := last / FullEvery * FullEvery
	if full == 0 {
		return nil
	}
	return func(f *tablefmt.AddFile) bool { return greatest[f.Path] >= full }
}

// greatestSeq is the greatest number of a file's records; that of a file
// without statistics is greater than all.
func greatestSeq(f *tablefmt.AddFile) int64 {
	var stats struct { // less than there is: an engine that opens asks every file
		MaxValues struct {
			Seq *int64 `json:"seq"`
		} `json:"maxValues"`
	}
	if json.Unmarshal([]byte(f.Stats), &stats) == nil && stats.MaxValues.Seq != nil {
		return *stats.MaxValues.Seq
	}
	return math.MaxInt64
}

// Pack rewrites the files of many small records into one, if that is due. It
// keeps opening the record cheap and does nothing else.
func (l *Log) Pack(ctx context.Context) error {
	if l.snap == nil || l.snap.NumFiles() < FullEvery || l.last.seq < l.packAfter {
		return nil
	}
	l.packAfter = l.last.seq + FullEvery/10 // should it fail
	snap, err := compaction.Pack(ctx, l.snap, compaction.PlanPack(l.snap.Files(), compaction.PackOptions{}))
	if err != nil {
		return fmt.Errorf("packing the record of epochs: %w", err)
	}
	l.snap = snap
	return nil
}

// Path is where the record of a pipeline lies in the lake.
func Path(pipeline string) string { return "_lakeload/" + pipeline + "/epochs" }

// Last is the last epoch, with every table that it has; false before the first.
func (l *Log) Last() (Epoch, bool) {
	e := l.epoch
	e.Tables = maps.Clone(l.complete)
	return e, l.any
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
	t := tablefmt.Begin(l.loc, l.snap)
	if l.snap == nil {
		if err := describe(t); err != nil {
			return err
		}
	}
	t.Add(*add)
	l.written++
	t.SetTxn(l.session, l.written)
	t.SetInfo("WRITE", map[string]any{"mode": "Append"})
	t.SetReads(tablefmt.ReadsTable) // of two engines one must lose
	snap, err := t.Commit(ctx)
	if errors.Is(err, tablefmt.ErrConflict) {
		return fmt.Errorf("recording an epoch: %w: %w", ErrTwin, err)
	}
	if err != nil {
		return fmt.Errorf("recording an epoch: %w", err)
	}
	l.snap = snap
	l.take(r)
	return nil
}

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

// Epochs reads all epochs, in order, each with every table that it has.
func (l *Log) Epochs(ctx context.Context) ([]Epoch, error) {
	if l.snap == nil {
		return nil, nil
	}
	records, err := l.read(ctx, nil)
	if err != nil {
		return nil, err
	}
	c := &Log{complete: map[string]int64{}}
	var out []Epoch
	for _, r := range records {
		c.take(r)
		if !r.idle {
			e, _ := c.Last()
			out = append(out, e)
		}
	}
	return out, nil
}

func (l *Log) read(ctx context.Context, keep func(*tablefmt.AddFile) bool) ([]record, error) {
	var out []record
	err := l.snap.Scan(ctx, tablefmt.ScanOptions{Keep: keep}, func(rec arrow.RecordBatch) error {
		for i := range int(rec.NumRows()) {
			r, err := fromArrow(rec, i)
			if err != nil {
				return err
			}
			out = append(out, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the record of epochs: %w", err)
	}
	slices.SortFunc(out, func(a, b record) int { return int(a.seq - b.seq) })
	for i := range out {
		if i > 0 && out[i].seq != out[i-1].seq+1 {
			return nil, fmt.Errorf("reading the record of epochs: record %d is followed by %d: %w", out[i-1].seq, out[i].seq, tablefmt.ErrCorrupt)
		}
	}
	return out, nil
}

func describe(t *tablefmt.Transaction) error {
	s, err := tablefmt.SchemaFromArrow(arrowSchema)
	if err != nil {
		return fmt.Errorf("recording the first epoch: %w", err)
	}
	t.SetProtocol(tablefmt.ChangelogProtocol(tablefmt.OptionsFor(s)))
	t.SetMetadata(&tablefmt.Metadata{SchemaString: s.JSON(), Configuration: map[string]string{"lakeload.kind": "epochs"}})
	return nil
}

func (r *record) arrow() arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrowSchema)
	defer b.Release()
	tables, _ := json.Marshal(r.Tables) // a map of numbers always encodes
	incomplete, _ := json.Marshal(r.Incomplete)
	b.Field(0).(*array.Int64Builder).Append(r.seq)
	b.Field(1).(*array.Int64Builder).Append(r.Number)
	b.Field(2).(*array.BooleanBuilder).Append(r.idle)
	b.Field(3).(*array.BooleanBuilder).Append(r.full)
	b.Field(4).(*array.StringBuilder).Append(r.LSN.String())
	b.Field(5).(*array.Int64Builder).Append(int64(r.Timeline))
	appendTime(b.Field(6).(*array.TimestampBuilder), r.CommitTime)
	b.Field(7).(*array.StringBuilder).Append(string(tables))
	b.Field(8).(*array.StringBuilder).Append(string(incomplete))
	appendTime(b.Field(9).(*array.TimestampBuilder), r.Recorded)
	return b.NewRecordBatch()
}

func appendTime(b *array.TimestampBuilder, t time.Time) {
	if t.IsZero() {
		b.AppendNull()
		return
	}
	b.Append(arrow.Timestamp(t.UnixMicro()))
}

func fromArrow(rec arrow.RecordBatch, i int) (record, error) {
	r := record{
		seq:  rec.Column(0).(*array.Int64).Value(i),
		idle: rec.Column(2).(*array.Boolean).Value(i),
		full: rec.Column(3).(*array.Boolean).Value(i),
	}
	r.Number = rec.Column(1).(*array.Int64).Value(i)
	r.Timeline = uint32(rec.Column(5).(*array.Int64).Value(i))
	r.CommitTime = timeAt(rec.Column(6).(*array.Timestamp), i)
	r.Recorded = timeAt(rec.Column(9).(*array.Timestamp), i)
	var err error
	if r.LSN, err = cdc.ParseLSN(rec.Column(4).(*array.String).Value(i)); err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(rec.Column(7).(*array.String).Value(i)), &r.Tables); err != nil {
		return r, fmt.Errorf("epoch %d: its tables: %w", r.Number, err)
	}
	if err := json.Unmarshal([]byte(rec.Column(8).(*array.String).Value(i)), &r.Incomplete); err != nil {
		return r, fmt.Errorf("epoch %d: its incomplete tables: %w", r.Number, err)
	}
	return r, nil
}

func timeAt(a *array.Timestamp, i int) time.Time {
	if a.IsNull(i) {
		return time.Time{}
	}
	return time.UnixMicro(int64(a.Value(i))).UTC()
}
