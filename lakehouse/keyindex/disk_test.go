package keyindex

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOptionsValidate(t *testing.T) {
	require.NoError(t, Options{Dir: "d"}.Validate())
	err := Options{Memory: -1, Partitions: 3}.Validate()
	for _, field := range []string{"Dir", "Memory", "Partitions"} {
		require.ErrorContains(t, err, field, "all faults are listed")
	}
	require.Error(t, Options{Dir: "d", Partitions: 512}.Validate())
	_, err = Create(context.Background(), Options{})
	require.Error(t, err)
	_, err = OpenAny(context.Background(), Options{})
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrUnfit)
}

func TestFolderIsLocked(t *testing.T) {
	ctx := context.Background()
	opt := Options{Dir: t.TempDir()}
	ix, err := Create(ctx, opt)
	require.NoError(t, err)
	_, err = OpenAny(ctx, opt)
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrUnfit, "to rebuild it would not help")
	_, err = Create(ctx, opt)
	require.Error(t, err)
	require.NoError(t, ix.Close())
	ix, err = OpenAny(ctx, opt)
	require.NoError(t, err)
	require.NoError(t, ix.Close())
}

// A mirror commits for months. What is on the disk is bounded by what is in
// the index, however often the same keys change and files come and go.
func TestDiskIsBounded(t *testing.T) {
	ctx := context.Background()
	for name, memory := range map[string]int64{"memory": 256 << 10, "runs": 1} {
		t.Run(name, func(t *testing.T) {
			opt := Options{Dir: t.TempDir(), Memory: memory, Partitions: 2}
			i, err := Create(ctx, opt)
			require.NoError(t, err)
			if name == "runs" {
				fill(t, i, 3000)
			}
			var most int64
			for n := range 6000 {
				path := func(n int) string { return fmt.Sprintf("year=2024/month=01/part-%032d.parquet", n) }
				i.Forget(i.FileID(path(n - 3)))
				file := i.FileID(path(n))
				c := i.Change()
				var es []Entry
				for k := range uint64(30) {
					es = append(es, Entry{benchHash(k), Loc{file, uint32(n)}})
				}
				require.NoError(t, c.Put(ctx, es))
				require.NoError(t, c.Commit(ctx, Stamp{Version: int64(n)}))
				if n%500 == 499 {
					settled(i.(*diskIndex))
					most = max(most, dirBytes(opt.Dir))
					require.NoError(t, i.Close())
					i, err = Open(ctx, opt, Stamp{Version: int64(n)})
					require.NoError(t, err)
					locs := make([]Loc, 1)
					require.NoError(t, i.Lookup(ctx, []Hash{benchHash(7)}, locs))
					require.EqualValues(t, n, locs[0].Row)
					require.Equal(t, path(n), i.Path(locs[0].File))
				}
			}
			ix := i.(*diskIndex)
			require.Equal(t, name == "memory", ix.keys != nil)
			t.Logf("at most %d KiB on the disk, of 6000 commits of 30 keys", most>>10)
			require.Less(t, most, int64(1200<<10))
			require.NoError(t, i.Close())
		})
	}
}

// A journal that was written with a large budget is read with a small one.
func TestOpenWithLessMemory(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	i, err := Create(ctx, Options{Dir: dir, Memory: 64 << 20})
	require.NoError(t, err)
	want := map[uint64]Loc{}
	for n := range uint64(30) {
		c := i.Change()
		var es []Entry
		for k := n * 100; k < n*100+500; k++ {
			l := Loc{1, uint32(n)}
			want[k] = l
			es = append(es, Entry{benchHash(k), l})
		}
		i.FileID("file-1")
		require.NoError(t, c.Put(ctx, es))
		require.NoError(t, c.Commit(ctx, Stamp{Version: int64(n)}))
	}
	require.NoError(t, i.Close())
	for _, memory := range []int64{1, 64 << 20, 1, 300 << 10} {
		i, err = Open(ctx, Options{Dir: dir, Memory: memory}, Stamp{Version: 29})
		require.NoError(t, err)
		require.Equal(t, memory > 1, i.(*diskIndex).keys != nil)
		require.NoError(t, sameState(i, want))
		require.NoError(t, i.Close())
	}
}

// A change of many times the budget spills, and what it spilled is merged.
func TestLargeChange(t *testing.T) {
	ctx := context.Background()
	opt := Options{Dir: t.TempDir(), Memory: 1, Partitions: 4}
	i, err := Create(ctx, opt)
	require.NoError(t, err)
	ix := i.(*diskIndex)
	const n = 60_000
	c := i.Change().(*change)
	want := map[uint64]Loc{}
	for k := range uint64(n) {
		key := k % (n * 2 / 3) // a third comes twice
		want[key] = Loc{1, uint32(k)}
		require.NoError(t, c.Put(ctx, []Entry{{benchHash(key), want[key]}}))
		require.LessOrEqual(t, c.table.n, ix.budget().changeKeys())
	}
	require.LessOrEqual(t, len(c.runs), 2*spillWidth+spillWidth, "spilled runs are merged")
	i.FileID("file-1")
	require.NoError(t, c.Commit(ctx, Stamp{Version: 1}))
	settled(ix)
	require.Nil(t, ix.keys)
	require.EqualValues(t, n*2/3, i.Len())
	require.NoError(t, sameState(i, want))
	require.NoError(t, i.Close())
	i, err = Open(ctx, opt, Stamp{Version: 1})
	require.NoError(t, err)
	require.NoError(t, sameState(i, want))
	require.NoError(t, i.Close())
}

func TestDeletedKeysLeaveTheDisk(t *testing.T) {
	ctx := context.Background()
	i, err := Create(ctx, Options{Dir: t.TempDir(), Memory: 1})
	require.NoError(t, err)
	fill(t, i, 20_000)
	c := i.Change()
	for k := range uint64(20_000) {
		require.NoError(t, c.Put(ctx, []Entry{{Hash: benchHash(k)}}))
	}
	require.NoError(t, c.Commit(ctx, Stamp{Version: 2}))
	settled(i.(*diskIndex))
	require.Zero(t, i.Len())
	require.Less(t, dirBytes(i.(*diskIndex).opt.Dir), int64(20_000))
	require.NoError(t, i.Close())
}

// A merge of newer runs alone has to keep saying that a key is gone: an older
// run still holds it.
func TestDeletedKeysStayDeleted(t *testing.T) {
	ctx := context.Background()
	i, err := Create(ctx, Options{Dir: t.TempDir(), Memory: 1, Partitions: 1})
	require.NoError(t, err)
	fill(t, i, 40_000)
	ix := i.(*diskIndex)
	settled(ix)
	base := ix.view.parts[0][0]
	want := map[uint64]Loc{}
	for n := range uint64(20) {
		c := i.Change()
		for k := n * 250; k < n*250+250; k++ {
			want[k] = Loc{}
			require.NoError(t, c.Put(ctx, []Entry{{Hash: benchHash(k)}}))
		}
		require.NoError(t, c.Commit(ctx, Stamp{Version: int64(n)}))
		settled(ix)
		require.NoError(t, sameState(i, want))
	}
	gs := ix.view.parts[0]
	require.Equal(t, base, gs[len(gs)-1], "the oldest run was not merged")
	require.Less(t, len(gs), 9, "the newer ones were")
	require.NoError(t, i.Close())
}

// Large changes that memory can hold grow the journal too, and nothing has to
// come after them for it to be cut.
func TestLargeChangesInMemory(t *testing.T) {
	ctx := context.Background()
	opt := Options{Dir: t.TempDir(), Memory: 4 << 20}
	i, err := Create(ctx, opt)
	require.NoError(t, err)
	ix := i.(*diskIndex)
	for range 9 {
		fill(t, i, 20_000)
	}
	require.Eventually(t, func() bool {
		ix.mu.Lock()
		defer ix.mu.Unlock()
		return ix.oldBytes == 0 && ix.journal.meta.size < 1<<20
	}, 30*time.Second, time.Millisecond)
	require.NotNil(t, ix.keys)
	require.EqualValues(t, 20_000, i.Len())
	require.NoError(t, i.Close())
	i, err = Open(ctx, opt, Stamp{Version: 1})
	require.NoError(t, err)
	require.EqualValues(t, 20_000, i.Len())
	require.NoError(t, i.Close())
}
