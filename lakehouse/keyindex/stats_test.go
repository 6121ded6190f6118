package keyindex

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What an index tells of itself is what is there.
func TestStats(t *testing.T) {
	ctx := context.Background()
	for name, memory := range map[string]int64{"memory": 64 << 20, "runs": 1} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			i, err := Create(ctx, Options{Dir: dir, Memory: memory, Partitions: 2})
			require.NoError(t, err)
			ix := i.(*diskIndex)
			fill(t, i, 20_000)
			for n := range uint64(40) {
				c := i.Change()
				var es []Entry
				for k := range uint64(500) {
					es = append(es, Entry{benchHash(n*500 + k), Loc{1, uint32(n)}})
				}
				require.NoError(t, c.Put(ctx, es))
				require.NoError(t, c.Commit(ctx, Stamp{Version: int64(n) + 2}))
			}
			settled(ix)
			before := ix.Stats()
			locs := make([]Loc, 3)
			require.NoError(t, i.Lookup(ctx, []Hash{benchHash(1), benchHash(2), benchHash(1 << 40)}, locs))
			s := ix.Stats()
			require.EqualValues(t, 3, s.Lookups-before.Lookups)
			require.Equal(t, i.Len(), s.Keys)
			if name == "runs" {
				require.Positive(t, s.Merges)
				require.Less(t, s.Memory, int64(1<<20))
			} else {
				require.Zero(t, s.Merges)
				require.GreaterOrEqual(t, s.Memory, 20_000*int64(slotBytes))
			}
			manifest, err := os.Stat(filepath.Join(dir, manifestName))
			require.NoError(t, err)
			require.Equal(t, dirBytes(dir)-manifest.Size(), s.Disk, "all but the manifest")
			require.NoError(t, i.Close())
			s = ix.Stats()
			require.Zero(t, s.Keys+s.Memory+s.Disk)
			require.Positive(t, s.Lookups)
		})
	}
}

func TestStatsOfAnIndexInMemory(t *testing.T) {
	i := NewMemory()
	fill(t, i, 100)
	require.NoError(t, i.Lookup(context.Background(), []Hash{benchHash(1)}, make([]Loc, 1)))
	s := i.(Measured).Stats()
	require.EqualValues(t, 100, s.Keys)
	require.EqualValues(t, 1, s.Lookups)
	require.Positive(t, s.Memory)
	require.NoError(t, i.Close())
	require.Zero(t, i.(Measured).Stats().Keys)
}

// MemoryFor is enough for any number of keys, and not much more.
func TestMemoryFor(t *testing.T) {
	s := newTableSet()
	for k := range uint64(300_000) {
		h := benchHash(k)
		hi, lo := hashWords(&h)
		s.apply(slot{hi: hi, lo: lo, file: 1, row: 1})
		need := budget(MemoryFor(s.n)).keysBytes()
		require.LessOrEqual(t, s.size, max(need, minMemory), "%d keys", s.n)
		require.Less(t, need, 3*s.size+minMemory, "%d keys", s.n)
	}
}

// An index whose budget becomes smaller leaves the memory, and one whose budget
// grows makes use of it.
func TestSetMemory(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	i, err := Create(ctx, Options{Dir: dir, Memory: MemoryFor(50_000), Partitions: 2})
	require.NoError(t, err)
	fill(t, i, 50_000)
	ix := i.(*diskIndex)
	settled(ix)
	require.NotNil(t, ix.keys, "MemoryFor is enough")
	i.SetMemory(MemoryFor(50_000) / 8)
	require.Eventually(t, func() bool { return ix.Stats().Memory < MemoryFor(50_000)/8 }, 10*time.Second, time.Millisecond)
	fill(t, i, 50_000)
	settled(ix)
	require.Less(t, ix.Stats().Memory, MemoryFor(50_000)/8)

	small := ix.budget().memtableKeys()
	i.SetMemory(MemoryFor(50_000))
	require.Greater(t, ix.budget().memtableKeys(), 4*small)
	fill(t, i, 50_000)
	require.NoError(t, i.Close())
	i, err = OpenAny(ctx, Options{Dir: dir, Memory: MemoryFor(150_000), Partitions: 2}) // its runs may know a key three times
	require.NoError(t, err)
	require.NotNil(t, i.(*diskIndex).keys, "it comes back when it is opened")
	require.NoError(t, i.Close())
}
