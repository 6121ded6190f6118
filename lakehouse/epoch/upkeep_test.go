package epoch

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
	"github.com/lakeload/lakeload/tablefmt/objstore/faultstore"
)

// grow records epochs, a minute apart, with the upkeep that an engine does.
func grow(t testing.TB, l *Log, n int, keep time.Duration) {
	for range n {
		time.Sleep(time.Minute)
		_, err := l.Record(context.Background(), Epoch{LSN: l.Position() + 10, CommitTime: time.Now(), Tables: map[string]int64{"a": l.last.seq}})
		require.NoError(t, err)
		tend(t, l, keep)
	}
}

func tend(t testing.TB, l *Log, keep time.Duration) {
	require.NoError(t, l.Upkeep(context.Background(), keep))
	_, err := tablefmt.MaybeCheckpoint(context.Background(), l.Snapshot(), tablefmt.CheckpointPolicy{})
	require.NoError(t, err)
	_, err = tablefmt.CleanLog(context.Background(), l.Snapshot(), tablefmt.CleanOptions{Files: true})
	require.NoError(t, err)
}

func objects(t testing.TB, lake objstore.Store) (n int) {
	for _, err := range lake.List(context.Background(), "", "") {
		require.NoError(t, err)
		n++
	}
	return n
}

// What is older than it is kept goes, numbers and all else go on, and nothing
// grows that was not asked to be kept.
func TestOldEpochsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, lake := t.Context(), objstore.NewMemory()
		l, err := Open(ctx, lake, "p", "s")
		require.NoError(t, err)
		const keep = 24 * time.Hour // 1,440 records
		most := 0
		for day := range 4 {
			grow(t, l, 1440, keep)
			if day == 2 {
				most = objects(t, lake)
			}
		}
		require.LessOrEqual(t, objects(t, lake), most*3/2, "objects")
		opened, err := Open(ctx, lake, "p", "")
		require.NoError(t, err)
		all, err := allOf(ctx, opened)
		require.NoError(t, err)
		require.Equal(t, int64(4*1440), all[len(all)-1].Number)
		require.True(t, all[0].Recorded.Before(time.Now().Add(-keep)), "none has gone too early")
		require.Less(t, len(all), 1440+2*FullEvery, "nor stays for long")
		for i, e := range all {
			require.Equal(t, all[0].Number+int64(i), e.Number)
			require.Equal(t, map[string]int64{"a": e.Number - 1}, e.Tables)
		}
		before := all[0].Number - 1
		_, err = opened.ByNumber(ctx, before)
		require.ErrorIs(t, err, ErrExpired)
		_, err = opened.ByPosition(ctx, cdc.LSN(10*before))
		require.ErrorIs(t, err, ErrExpired)
		_, err = opened.ByTime(ctx, all[0].CommitTime.Add(-time.Second))
		require.ErrorIs(t, err, ErrExpired)
		_, err = opened.ByNumber(ctx, 0)
		require.ErrorIs(t, err, ErrNone)

		time.Sleep(100 * keep) // it stood still: the last epoch stays
		l, err = Open(ctx, lake, "p", "t")
		require.NoError(t, err)
		tend(t, l, keep)
		last, any := l.Last()
		require.True(t, any)
		require.Equal(t, all[len(all)-1], last)
		grow(t, l, 150, keep)
		e, err := l.ByNumber(ctx, last.Number)
		require.NoError(t, err)
		require.Equal(t, last.Tables, e.Tables)
	})
}

func TestEpochsAreKeptForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := Open(t.Context(), objstore.NewMemory(), "p", "s")
		require.NoError(t, err)
		grow(t, l, FullEvery+100, -1)
		time.Sleep(10000 * time.Hour)
		grow(t, l, 200, -1)
		oldest, err := l.Oldest(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(1), oldest.Number)
	})
}

// Whatever upkeep does, of two engines one loses with its next record: packing
// and expiring do not rest on what is recorded, and must not let a twin's record
// pass for our own.
func TestUpkeepLeavesATwinToBeFound(t *testing.T) {
	for name, keep := range map[string]time.Duration{"packing": -1, "expiring": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, lake := t.Context(), objstore.NewMemory()
				one, err := Open(ctx, lake, "p", "one")
				require.NoError(t, err)
				grow(t, one, 1250, -1)
				for range 60 { // so that there is something to pack
					_, err := one.Record(ctx, Epoch{LSN: one.Position() + 10, Tables: map[string]int64{"a": one.last.seq}})
					require.NoError(t, err)
				}
				two, err := Open(ctx, lake, "p", "two")
				require.NoError(t, err)
				_, err = two.Record(ctx, Epoch{LSN: two.Position() + 1, Tables: map[string]int64{"a": 1}})
				require.NoError(t, err)
				one.kept = 0
				_ = one.Upkeep(ctx, keep) // it may see the twin, and may not
				_, err = one.Record(ctx, Epoch{LSN: one.Position() + 1, Tables: map[string]int64{"a": 2}})
				require.ErrorIs(t, err, ErrTwin)
				// And the twin, which knows nothing of that upkeep, goes on or loses, but
				// nothing stands twice in the record.
				_, err = two.Record(ctx, Epoch{LSN: two.Position() + 1, Tables: map[string]int64{"a": 3}})
				if err != nil {
					require.ErrorIs(t, err, ErrTwin)
				}
				opened, err := Open(ctx, lake, "p", "")
				require.NoError(t, err)
				_, err = allOf(ctx, opened)
				require.NoError(t, err)
			})
		})
	}
}

// An engine that slept for hours, while another one went on and what it did then
// was cleaned away, does not find its place in the log taken: it is told all the
// same.
func TestAnEngineThatSleptIsFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, lake := t.Context(), objstore.NewMemory()
		one, err := Open(ctx, lake, "p", "one")
		require.NoError(t, err)
		grow(t, one, 20, -1)
		two, err := Open(ctx, lake, "p", "two")
		require.NoError(t, err)
		grow(t, two, 600, -1)
		_, err = tablefmt.ReadCommit(ctx, one.loc, one.Snapshot().Version()+1)
		require.ErrorIs(t, err, tablefmt.ErrNoVersion, "the place is free")
		_, err = one.Record(ctx, Epoch{LSN: one.Position() + 1, Tables: map[string]int64{"a": 2}})
		require.ErrorIs(t, err, ErrTwin)
		grow(t, two, 200, -1)
		opened, err := Open(ctx, lake, "p", "")
		require.NoError(t, err)
		want, _ := two.Last()
		last, _ := opened.Last()
		require.Equal(t, want, last)
		_, err = tablefmt.ReadCommit(ctx, one.loc, one.Snapshot().Version()+1)
		require.ErrorIs(t, err, tablefmt.ErrNoVersion, "what it has left is cleaned away")
	})
}

// An expiry whose answer was lost is recognised as ours: there is no twin.
func TestExpiryWhoseAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, inner := t.Context(), objstore.NewMemory()
		lake, err := faultstore.New(inner)
		require.NoError(t, err)
		l, err := Open(ctx, lake, "p", "s")
		require.NoError(t, err)
		grow(t, l, 1150, -1)
		time.Sleep(1000 * time.Hour)
		require.NoError(t, lake.SetRules(
			faultstore.Rule{Op: faultstore.OpPutIfAbsent, Do: faultstore.SucceedThenFail},
			faultstore.Rule{Op: faultstore.OpPutIfAbsent, Do: faultstore.FailUnknown, Nth: 2, Count: -1},
			faultstore.Rule{Op: faultstore.OpGet, Path: "**.json", Count: -1},
		))
		l.kept = 0
		require.ErrorIs(t, l.Upkeep(ctx, time.Hour), tablefmt.ErrOutcomeUnknown)
		require.NoError(t, lake.SetRules())
		_, err = l.Record(ctx, Epoch{LSN: l.Position() + 1, Tables: map[string]int64{"a": 2}})
		require.NoError(t, err)
		opened, err := Open(ctx, inner, "p", "")
		require.NoError(t, err)
		want, _ := l.Last()
		last, _ := opened.Last()
		require.Equal(t, want, last)
		all, err := allOf(ctx, opened)
		require.NoError(t, err)
		require.Equal(t, int64(FullEvery), all[0].Number)
	})
}

// dying makes some more calls that change something, and fails all others.
type dying struct {
	objstore.Store
	left int
}

var errDead = errors.New("dead")

func (d *dying) dead() bool {
	d.left--
	return d.left < 0
}

func (d *dying) PutIfAbsent(ctx context.Context, path string, data []byte) error {
	if d.dead() {
		return errDead
	}
	return d.Store.PutIfAbsent(ctx, path, data)
}

func (d *dying) Put(ctx context.Context, path string, data []byte) error {
	if d.dead() {
		return errDead
	}
	return d.Store.Put(ctx, path, data)
}

func (d *dying) Create(ctx context.Context, path string) (objstore.Writer, error) {
	if d.dead() {
		return nil, errDead
	}
	return d.Store.Create(ctx, path)
}

func (d *dying) Delete(ctx context.Context, path string) error {
	if d.dead() {
		return errDead
	}
	return d.Store.Delete(ctx, path)
}

// Upkeep that is cut off at any write leaves a record that can be read, and that
// the next engine goes on with.
func TestUpkeepCutOffAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, lake := t.Context(), objstore.NewMemory()
		l, err := Open(ctx, lake, "p", "s")
		require.NoError(t, err)
		grow(t, l, FullEvery+150, -1)
		cuts := 0
		for n := 0; ; n++ {
			time.Sleep(3 * time.Hour)
			dead := &dying{Store: lake, left: math.MaxInt}
			l, err := Open(ctx, dead, "p", "s")
			require.NoError(t, err)
			before, _ := l.Last()
			_, err = l.Record(ctx, Epoch{LSN: l.Position() + 10, CommitTime: time.Now(), Tables: map[string]int64{"a": l.last.seq}})
			require.NoError(t, err)
			dead.left = n
			l.kept = 0
			err = errors.Join(l.Upkeep(ctx, 24*time.Hour), tablefmt.Checkpoint(ctx, l.Snapshot()))
			_, cleaned := tablefmt.CleanLog(ctx, l.Snapshot(), tablefmt.CleanOptions{Files: true})

			opened, openErr := Open(ctx, lake, "p", "")
			require.NoError(t, openErr)
			last, _ := opened.Last()
			require.Equal(t, before.Number+1, last.Number)
			all, readErr := allOf(ctx, opened)
			require.NoError(t, readErr)
			for i, e := range all {
				require.Equal(t, all[0].Number+int64(i), e.Number)
				require.Equal(t, e.Number-1, e.Tables["a"])
			}
			if err == nil && cleaned == nil {
				break
			}
			cuts++
		}
		require.Greater(t, cuts, 3)
	})
}

func TestPackedFilesBeginAtFullRecords(t *testing.T) {
	w := newWriter(t, objstore.NewMemory(), at(0))
	for i := range 18*FullEvery + 5 {
		w.add(Epoch{LSN: cdc.LSN(i), Tables: map[string]int64{"a": int64(i)}}, false)
		if (i+1)%500 == 499 {
			w.file()
		}
	}
	w.file()
	l := w.log
	for l.kept = 0; l.kept == 0; {
		require.NoError(t, l.Upkeep(t.Context(), 0))
	}
	var begins []int64
	for _, f := range filesOf(l.Snapshot()) {
		require.Equal(t, f.seq.max-f.seq.min+1, f.rows)
		begins = append(begins, f.seq.min)
	}
	require.Equal(t, []int64{1, 8 * FullEvery, 16 * FullEvery, 17 * FullEvery}, begins[:4])
}

func TestARecordOfAnOlderProgramIsTakenOver(t *testing.T) {
	ctx, lake := t.Context(), objstore.NewMemory()
	w := newWriter(t, lake, at(0))
	w.columns = 10
	for i := range 50 {
		w.add(Epoch{LSN: cdc.LSN(1000 + i), Tables: map[string]int64{"a": int64(i)}}, false)
	}
	for i := range 50 { // the lake was taken over
		w.add(Epoch{LSN: cdc.LSN(10 + i), Tables: map[string]int64{"a": int64(50 + i)}}, false)
	}
	w.file()
	l, err := Open(ctx, lake, "p", "s")
	require.NoError(t, err)
	for range 3 {
		_, err := l.Record(ctx, Epoch{LSN: l.Position() + 1, Tables: map[string]int64{"a": l.last.seq}})
		require.NoError(t, err)
	}
	require.Equal(t, int64(51), l.last.since)
	require.Equal(t, "interval 1 hour", l.Snapshot().Property(tablefmt.PropLogRetention))
	require.True(t, strings.Contains(l.Snapshot().Metadata().SchemaString, `"position"`))
	for lsn, want := range map[cdc.LSN]int64{10: 51, 59: 100, 61: 102, 500: 103} {
		e, err := l.ByPosition(ctx, lsn)
		require.NoError(t, err)
		require.Equal(t, want, e.Number)
	}
	_, err = l.ByPosition(ctx, 9)
	require.ErrorIs(t, err, ErrNone)
}
