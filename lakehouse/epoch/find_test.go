package epoch

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// writer makes long records quickly: the records of a Log, in files as it would
// have packed them.
type writer struct {
	t       require.TestingT
	lake    objstore.Store
	log     *Log // what is written is taken in by it
	start   time.Time
	every   time.Duration // between two records
	columns int           // of the table; fewer are an older program's
	pending []record
}

func newWriter(t require.TestingT, lake objstore.Store, start time.Time) *writer {
	log, err := Open(context.Background(), lake, "p", "writer")
	require.NoError(t, err)
	return &writer{t: t, lake: lake, log: log, start: start, every: time.Second, columns: arrowSchema.NumFields()}
}

func (w *writer) add(e Epoch, idle bool) {
	l := w.log
	r := record{Epoch: e, idle: idle, full: !l.any || l.fullIsNext()}
	r.seq, r.Number = l.last.seq+1, l.last.Number
	if !idle {
		r.Number++
	}
	if r.CommitTime.Before(l.time) {
		r.CommitTime = l.time
	}
	r.Recorded = w.start.Add(time.Duration(r.seq) * w.every).UTC()
	r.since = l.last.since
	if w.columns < arrowSchema.NumFields() {
		r.since = 0
	} else if !idle && (!l.any || r.LSN < l.epoch.LSN) {
		r.since = r.seq
	}
	l.take(r)
	w.pending = append(w.pending, r)
}

// file writes what is pending as one file.
func (w *writer) file() {
	if len(w.pending) == 0 {
		return
	}
	ctx, l := context.Background(), w.log
	schema := arrow.NewSchema(arrowSchema.Fields()[:w.columns], nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrowSchema)
	defer b.Release()
	if w.columns < arrowSchema.NumFields() { // an older program packed them in any order
		slices.Reverse(w.pending)
	}
	for i := range w.pending {
		w.pending[i].append(b)
	}
	all := b.NewRecordBatch()
	defer all.Release()
	rec := array.NewRecordBatch(schema, all.Columns()[:w.columns], all.NumRows())
	defer rec.Release()
	f, err := tablefmt.NewFileWriter(ctx, l.loc, schema, tablefmt.FileOptions{})
	require.NoError(w.t, err)
	_, err = f.Write(rec)
	require.NoError(w.t, err)
	add, err := f.Close()
	require.NoError(w.t, err)
	t := tablefmt.Begin(l.loc, l.snap)
	if l.snap == nil {
		s, err := tablefmt.SchemaFromArrow(schema)
		require.NoError(w.t, err)
		t.SetProtocol(tablefmt.ChangelogProtocol(tablefmt.OptionsFor(s)))
		t.SetMetadata(&tablefmt.Metadata{SchemaString: s.JSON(), Configuration: map[string]string{"lakeload.kind": "epochs"}})
	} else {
		require.NoError(w.t, describe(t, l.snap))
	}
	t.Add(*add)
	l.snap, err = t.Commit(ctx)
	require.NoError(w.t, err)
	w.pending = w.pending[:0]
}

// naive finds what is meant among all epochs, as it is written in the design.
type naive []Epoch

func (n naive) byTime(t time.Time) int {
	for i := range n {
		if n[i].asOf().After(t) {
			return i - 1
		}
	}
	return len(n) - 1
}

func (n naive) byPosition(lsn cdc.LSN) int {
	for i := len(n) - 1; i >= 0; i-- {
		if n[i].LSN <= lsn {
			return i
		}
		if i > 0 && n[i-1].LSN > n[i].LSN {
			return -1
		}
	}
	return -1
}

// Whatever became of a record (packed, expired, begun by an older program,
// positions that went back), an epoch that is there is found, and one that is
// not is told to have expired or never to have been.
func TestFindingIsWhatReadingAllWouldFind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx, lake := context.Background(), objstore.NewMemory()
		w := newWriter(t, lake, at(0))
		all := randomRecord(t, w)
		l, err := Open(ctx, lake, "p", "s")
		require.NoError(t, err)
		// What is appended by the program itself comes after what an older one left.
		for range rapid.IntRange(0, 3).Draw(t, "appended") {
			_, err := l.Record(ctx, Epoch{LSN: l.Position() + 1, CommitTime: at(l.last.seq), Tables: map[string]int64{"a": 1e6 + l.last.seq}})
			require.NoError(t, err)
			e, _ := l.Last()
			all = append(all, e)
		}
		if rapid.Bool().Draw(t, "expire") {
			require.NoError(t, l.expire(ctx, w.start.Add(time.Duration(rapid.Int64Range(0, l.last.seq).Draw(t, "before"))*w.every)))
		}
		for range rapid.IntRange(0, 5).Draw(t, "packings") {
			l.kept = 0
			require.NoError(t, l.Upkeep(ctx, 0))
		}
		l, err = Open(ctx, lake, "p", "")
		require.NoError(t, err)
		left, err := allOf(ctx, l)
		require.NoError(t, err)
		require.NotEmpty(t, left)
		gone := len(all) - len(left)
		require.Equal(t, tablesOf(all[gone:]), tablesOf(left), "what is left is the end of what was there")
		oldest, err := l.Oldest(ctx)
		require.NoError(t, err)
		require.Equal(t, left[0], oldest)

		check := func(what string, want int, e Epoch, err error) {
			switch {
			case want >= gone:
				require.NoError(t, err, what)
				require.Equal(t, all[want].Number, e.Number, what)
				require.Equal(t, all[want].Tables, e.Tables, what)
			case want >= 0:
				require.ErrorIs(t, err, ErrExpired, "%s: got %v, %d gone, oldest %v", what, e, gone, oldest)
			default:
				require.Error(t, err, what)
			}
		}
		for range 5 {
			n := rapid.IntRange(-1, len(all)+1).Draw(t, "number")
			e, err := l.ByNumber(ctx, int64(n))
			if n < 1 || n > len(all) {
				require.ErrorIs(t, err, ErrNone)
			} else {
				check(fmt.Sprint("epoch ", n), n-1, e, err)
			}
			sec := rapid.Int64Range(-1, l.last.seq+2).Draw(t, "time")
			e, err = l.ByTime(ctx, at(sec))
			// One from before the first commit counts by when it was recorded, which
			// may be later than commits: it is known for as long as it is there.
			want := naive(left).byTime(at(sec)) + gone
			if want < gone {
				want = naive(all).byTime(at(sec))
			}
			check(fmt.Sprint("time ", sec), want, e, err)
			lsn := cdc.LSN(rapid.Int64Range(0, 2*l.last.seq).Draw(t, "lsn"))
			e, err = l.ByPosition(ctx, lsn)
			check(fmt.Sprint("position ", lsn), naive(all).byPosition(lsn), e, err)
		}
	})
}

// randomRecord writes a record and gives its epochs.
func randomRecord(t *rapid.T, w *writer) (all []Epoch) {
	old := rapid.IntRange(0, 3).Draw(t, "old files")
	if old > 0 {
		w.columns = 10
	}
	tables := map[string]int64{"a": 0}
	lsn, commit := cdc.LSN(100), int64(0)
	n := 0
	for i := range old + rapid.IntRange(1, 4).Draw(t, "files") {
		if i == old {
			w.columns = arrowSchema.NumFields()
			if w.log.any { // as the first record of a newer program says
				since, err := w.log.findSince(context.Background())
				require.NoError(t, err)
				w.log.last.since = since
			}
		}
		for range rapid.SampledFrom([]int{1, 2, 99, 300, 700}).Draw(t, "records") {
			n++
			idle := w.log.any && !w.log.fullIsNext() && n%7 == 3
			if n%(300+100*i) == 250 { // the lake is taken over
				lsn = cdc.LSN(rapid.IntRange(1, 2*n).Draw(t, "rebased"))
			} else {
				lsn += cdc.LSN(n % 3)
			}
			if n > 5 {
				commit = max(0, int64(n)-int64(n%11))
			}
			e := Epoch{LSN: lsn, Tables: map[string]int64{"a": tables["a"]}}
			if commit > 0 {
				e.CommitTime = at(commit)
			}
			if !idle {
				tables["a"]++
				e.Tables["a"] = tables["a"]
			}
			w.add(e, idle)
			if !idle {
				e, _ := w.log.Last()
				all = append(all, e)
			}
		}
		w.file()
	}
	return all
}

func tablesOf(epochs []Epoch) (out []string) {
	for _, e := range epochs {
		out = append(out, fmt.Sprint(e.Number, e.LSN, e.CommitTime.UTC(), e.Tables))
	}
	return out
}

// Commit times may go back; as of a time is the last epoch before the running
// maximum passes it, so nothing committed later is ever in it.
func TestEdge36AsOfUsesTheRunningMaximum(t *testing.T) {
	epoch := func(n int64, commit int64) record {
		r := record{Epoch: Epoch{Number: n, LSN: cdc.LSN(n), Recorded: at(1)}, seq: n}
		if commit > 0 {
			r.CommitTime = at(commit)
		}
		return r
	}
	idle := epoch(2, 60)
	idle.idle = true
	records := []record{epoch(1, 0), epoch(2, 10), idle, epoch(3, 5), epoch(4, 20), epoch(5, 15)}
	for sec, want := range map[int64]int64{0: 0, 1: 1, 4: 1, 7: 1, 9: 1, 10: 3, 15: 3, 19: 3, 20: math.MaxInt64, 40: math.MaxInt64} {
		require.Equal(t, want, lastNotAfter(records, at(sec)), sec)
	}
}

func TestAsOfNeverShowsTheFuture(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.Int64Range(1, 50), 1, 20).Draw(t, "times")
		records := make([]record, len(times))
		for i, sec := range times {
			records[i] = record{Epoch: Epoch{Number: int64(i + 1), CommitTime: at(sec)}, seq: int64(i + 1)}
		}
		asked := at(rapid.Int64Range(0, 50).Draw(t, "at"))
		last := min(lastNotAfter(records, asked), int64(len(records)))
		for _, r := range records[:last] {
			require.False(t, r.CommitTime.After(asked), "epoch %d holds a later transaction", r.Number)
		}
		if last < int64(len(records)) {
			require.True(t, records[last].CommitTime.After(asked), "the next epoch would have done, too")
		}
	})
}
