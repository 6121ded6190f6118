package epoch

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func at(sec int64) time.Time { return time.Unix(sec, 0).UTC() }

func TestRecordAndReadBack(t *testing.T) {
	ctx, lake := context.Background(), objstore.NewMemory()
	l, err := Open(ctx, lake, "p", "s1")
	require.NoError(t, err)
	_, any := l.Last()
	require.False(t, any)

	record := func(l *Log, lsn int, sec int64, tables map[string]int64, incomplete ...string) {
		t.Helper()
		_, err := l.Record(ctx, Epoch{LSN: lsnOf(lsn), Timeline: 1, CommitTime: at(sec), Tables: tables, Incomplete: incomplete})
		require.NoError(t, err)
	}
	record(l, 10, 100, map[string]int64{"a": 0, "b": 0})
	record(l, 20, 90, map[string]int64{"a": 1, "b": 0}) // the source's clock went back
	require.NoError(t, l.Idle(ctx, lsnOf(25)))
	record(l, 30, 120, map[string]int64{"a": 1}, "b") // b has stopped

	l, err = Open(ctx, lake, "p", "s2")
	require.NoError(t, err)
	require.Equal(t, lsnOf(30), l.Position())
	record(l, 40, 130, map[string]int64{"a": 1, "b": 5})
	require.NoError(t, l.Idle(ctx, lsnOf(50)))

	l, err = Open(ctx, lake, "p", "")
	require.NoError(t, err)
	last, any := l.Last()
	require.True(t, any)
	require.Equal(t, int64(4), last.Number)
	require.Equal(t, lsnOf(40), last.LSN, "an idle position is no epoch")
	require.Equal(t, lsnOf(50), l.Position())
	all, err := allOf(ctx, l)
	require.NoError(t, err)
	require.Len(t, all, 4)
	for i, want := range []map[string]int64{{"a": 0, "b": 0}, {"a": 1, "b": 0}, {"a": 1}, {"a": 1, "b": 5}} {
		require.Equal(t, want, all[i].Tables, "epoch %d names every complete table", i+1)
		require.Equal(t, int64(i+1), all[i].Number)
	}
	require.Equal(t, at(100), all[1].CommitTime, "times never go back")
	require.Equal(t, []string{"b"}, all[2].Incomplete)
}

func TestATableThatIsGoneLeavesTheEpochs(t *testing.T) {
	ctx, lake := context.Background(), objstore.NewMemory()
	l, err := Open(ctx, lake, "p", "s")
	require.NoError(t, err)
	for i, tables := range []map[string]int64{{"a": 0, "b": 0}, {"a": 1}} {
		_, err := l.Record(ctx, Epoch{LSN: lsnOf(i + 1), Tables: tables})
		require.NoError(t, err)
	}
	all, err := allOf(ctx, l)
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"a": 1}, all[1].Tables)
}

func TestOfTwoEnginesOneLoses(t *testing.T) {
	ctx, lake := context.Background(), objstore.NewMemory()
	one, err := Open(ctx, lake, "p", "s1")
	require.NoError(t, err)
	_, err = one.Record(ctx, Epoch{LSN: 1, Tables: map[string]int64{"a": 0}})
	require.NoError(t, err)
	two, err := Open(ctx, lake, "p", "s2")
	require.NoError(t, err)
	_, err = two.Record(ctx, Epoch{LSN: 2, Tables: map[string]int64{"a": 1}})
	require.NoError(t, err)
	_, err = one.Record(ctx, Epoch{LSN: 2, Tables: map[string]int64{"a": 1}})
	require.ErrorIs(t, err, ErrTwin)
}

func TestAnEpochNeverGoesBack(t *testing.T) {
	ctx, lake := context.Background(), objstore.NewMemory()
	l, err := Open(ctx, lake, "p", "s")
	require.NoError(t, err)
	_, err = l.Record(ctx, Epoch{LSN: 9, Tables: map[string]int64{"a": 0}})
	require.NoError(t, err)
	_, err = l.Record(ctx, Epoch{LSN: 8, Tables: map[string]int64{"a": 1}})
	require.ErrorContains(t, err, "before 0/9")
	require.NoError(t, l.Idle(ctx, 5), "an older idle position is nothing new")
	require.Equal(t, lsnOf(9), l.Position())
}

// After a promotion or an adoption the positions go on from another place, back
// or forth, wherever in the record that is.
func TestEdge18RebaseGoesBack(t *testing.T) {
	ctx := context.Background()
	for _, before := range []int{0, 1, 5, FullEvery - 2, FullEvery - 1, FullEvery} {
		lake := objstore.NewMemory()
		l, err := Open(ctx, lake, "p", "s")
		require.NoError(t, err)
		for i := 1; i <= before; i++ {
			if i%2 == 0 {
				require.NoError(t, l.Idle(ctx, lsnOf(10*i)))
				continue
			}
			_, err = l.Record(ctx, Epoch{LSN: lsnOf(10 * i), Timeline: 1, Tables: map[string]int64{"a": int64(i)}})
			require.NoError(t, err)
		}
		was, any := l.Last()
		require.NoError(t, l.Rebase(ctx, 5, 2))
		if before == 0 {
			require.Zero(t, l.Position(), "nothing is recorded, nothing to go on from")
			continue
		}
		require.Equal(t, lsnOf(5), l.Position())
		for range 2 {
			reopened, err := Open(ctx, lake, "p", "t")
			require.NoError(t, err)
			require.Equal(t, lsnOf(5), reopened.Position(), "after %d records", before)
			last, ok := reopened.Last()
			require.Equal(t, any, ok)
			require.Equal(t, was.Tables, last.Tables)
			l = reopened
		}
		_, err = l.Record(ctx, Epoch{LSN: 7, Timeline: 2, Tables: map[string]int64{"a": 77}})
		require.NoError(t, err)
		reopened, err := Open(ctx, lake, "p", "")
		require.NoError(t, err)
		epochs, err := allOf(ctx, reopened)
		require.NoError(t, err)
		for i, e := range epochs {
			require.EqualValues(t, i+1, e.Number)
		}
		last := epochs[len(epochs)-1]
		require.Equal(t, lsnOf(7), last.LSN)
		require.EqualValues(t, 2, last.Timeline)
		require.Equal(t, map[string]int64{"a": 77}, last.Tables)
		found, err := reopened.ByPosition(ctx, 8)
		require.NoError(t, err)
		require.Equal(t, last, found)
	}
}

func TestPositionsAreThoseOfTheSourceThatThereIs(t *testing.T) {
	ctx := context.Background()
	l, err := Open(ctx, objstore.NewMemory(), "p", "s")
	require.NoError(t, err)
	for i, lsn := range []cdc.LSN{1, 100, 60, 70} {
		if lsn == 60 {
			require.NoError(t, l.Rebase(ctx, 50, 2))
		}
		_, err := l.Record(ctx, Epoch{LSN: lsn, Tables: map[string]int64{"a": int64(i)}})
		require.NoError(t, err)
	}
	for lsn, want := range map[cdc.LSN]int64{60: 3, 69: 3, 70: 4, 100: 4} {
		e, err := l.ByPosition(ctx, lsn)
		require.NoError(t, err)
		require.Equal(t, want, e.Number, lsn)
	}
	_, err = l.ByPosition(ctx, 55)
	require.ErrorIs(t, err, ErrNone)
}

func lsnOf(n int) cdc.LSN { return cdc.LSN(n) }

func TestALongRecordIsPackedAndOpenedFromItsLastFullRecord(t *testing.T) {
	ctx, lake := context.Background(), objstore.NewMemory()
	l, err := Open(ctx, lake, "p", "s")
	require.NoError(t, err)
	const records = 2*FullEvery + 37
	for i := 1; i <= records; i++ {
		if i%3 == 2 || i == FullEvery {
			require.NoError(t, l.Idle(ctx, lsnOf(i)))
		} else {
			_, err := l.Record(ctx, Epoch{LSN: lsnOf(i), CommitTime: at(int64(i)), Tables: map[string]int64{"a": int64(i), "b": int64(i / 500)}})
			require.NoError(t, err)
		}
		require.NoError(t, l.Upkeep(ctx, 0))
	}
	require.Less(t, l.Snapshot().NumFiles(), 40+3)
	want, _ := l.Last()
	wantAll, err := allOf(ctx, l)
	require.NoError(t, err)

	opened, err := Open(ctx, lake, "p", "")
	require.NoError(t, err)
	got, _ := opened.Last()
	require.Equal(t, want, got)
	require.Equal(t, lsnOf(records), opened.Position())
	all, err := allOf(ctx, opened)
	require.NoError(t, err)
	require.Equal(t, wantAll, all)
	for i, e := range all {
		require.Equal(t, int64(i+1), e.Number)
	}
}
