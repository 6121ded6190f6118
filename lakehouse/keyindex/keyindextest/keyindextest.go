// Package keyindextest is the conformance suite of [keyindex.Index]: whoever
// implements it runs this in its tests.
package keyindextest

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// Factory makes the indexes under test. The suite closes each before it makes
// another one in the same folder.
type Factory struct {
	// Create makes an empty index in a folder that exists, in the place of
	// one that may be there.
	Create func(ctx context.Context, dir string) (keyindex.Index, error)

	// Open opens the index of a folder at a stamp. Nil for an implementation
	// that does not outlive its process: what is about that is left out.
	Open func(ctx context.Context, dir string, want keyindex.Stamp) (keyindex.Index, error)
}

// Run runs the suite.
func Run(t *testing.T, f Factory) {
	t.Run("Contract", func(t *testing.T) { runContract(t, f) })
	t.Run("Files", func(t *testing.T) { runFiles(t, f) })
	t.Run("Readers", func(t *testing.T) { runReaders(t, f) })
	t.Run("Model", func(t *testing.T) { runModel(t, f) })
	if f.Open != nil {
		t.Run("Reopen", func(t *testing.T) { runReopen(t, f) })
		t.Run("Damage", func(t *testing.T) { runDamage(t, f) })
	}
}

// Key gives the hash of a number: spread like those of real keys, and from
// 1<<62 on all alike but for their ends, as no hasher would make them.
func Key(n uint64) keyindex.Hash {
	if n >= 1<<62 {
		var h keyindex.Hash
		h[0] = 0xff
		binary.BigEndian.PutUint64(h[8:], n)
		return h
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return keyindex.NewHasher([16]byte{1, 2, 3}).Sum(b[:])
}

// At is the stamp of version n.
func At(n int64) keyindex.Stamp {
	return keyindex.Stamp{Table: "t", Version: n, Commit: fmt.Sprint("commit-", n)}
}

func entry(n uint64, file keyindex.FileID, row uint32) keyindex.Entry {
	return keyindex.Entry{Hash: Key(n), Loc: keyindex.Loc{File: file, Row: row}}
}

type lookuper interface {
	Lookup(ctx context.Context, hashes []keyindex.Hash, locs []keyindex.Loc) error
}

// find looks up one key.
func find(t testing.TB, ix lookuper, n uint64) keyindex.Loc {
	t.Helper()
	locs := []keyindex.Loc{{File: 77, Row: 77}} // must be overwritten
	require.NoError(t, ix.Lookup(context.Background(), []keyindex.Hash{Key(n)}, locs))
	return locs[0]
}

func commit(t testing.TB, ix keyindex.Index, s keyindex.Stamp, entries ...keyindex.Entry) {
	t.Helper()
	c := ix.Change()
	require.NoError(t, c.Put(context.Background(), entries))
	require.NoError(t, c.Commit(context.Background(), s))
}

func runContract(t *testing.T, f Factory) {
	ctx := context.Background()
	ix, err := f.Create(ctx, t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, ix.Close()) }()

	require.Zero(t, ix.Stamp())
	require.Zero(t, ix.Len())
	require.Zero(t, find(t, ix, 1))
	require.NoError(t, ix.Lookup(ctx, nil, nil))
	require.Error(t, ix.Lookup(ctx, make([]keyindex.Hash, 2), make([]keyindex.Loc, 1)), "lengths differ")

	a := ix.FileID("a")
	c := ix.Change()
	require.NoError(t, c.Put(ctx, []keyindex.Entry{entry(1, a, 10), entry(2, a, 0), entry(1, a, 11)}))
	require.Equal(t, keyindex.Loc{File: a, Row: 11}, find(t, c, 1), "a change sees its own puts, the last first")
	require.Equal(t, keyindex.Loc{File: a}, find(t, c, 2), "row 0 is a row")
	require.Zero(t, find(t, ix, 1), "nobody else sees them")
	require.Error(t, ix.Change().Put(ctx, []keyindex.Entry{entry(9, a, 9)}), "one change at a time")
	ix.Change().Rollback()
	require.NoError(t, c.Put(ctx, nil), "another change's end is not this one's")
	require.NoError(t, c.Commit(ctx, At(1)))
	c.Rollback()
	require.Error(t, c.Put(ctx, nil), "a change is over after its commit")
	require.Equal(t, At(1), ix.Stamp())
	require.EqualValues(t, 2, ix.Len())
	require.Equal(t, keyindex.Loc{File: a, Row: 11}, find(t, ix, 1))

	c = ix.Change()
	require.NoError(t, c.Put(ctx, []keyindex.Entry{{Hash: Key(1)}, entry(3, a, 3), entry(2, keyindex.NoFile, 5)}))
	require.Zero(t, find(t, c, 1), "gone within the change")
	require.Zero(t, find(t, c, 2), "no file is no place, whatever the row")
	locs := make([]keyindex.Loc, 4)
	require.NoError(t, c.Lookup(ctx, []keyindex.Hash{Key(3), Key(1), Key(4), Key(3)}, locs))
	require.Equal(t, []keyindex.Loc{{File: a, Row: 3}, {}, {}, {File: a, Row: 3}}, locs, "hashes may repeat")
	c.Rollback()
	c.Rollback()
	require.Equal(t, keyindex.Loc{File: a, Row: 11}, find(t, ix, 1), "rolled back")
	require.Equal(t, At(1), ix.Stamp())

	commit(t, ix, At(2), keyindex.Entry{Hash: Key(1)})
	require.Zero(t, find(t, ix, 1))
	commit(t, ix, At(3))
	require.Equal(t, At(3), ix.Stamp(), "a commit without entries")
	commit(t, ix, At(3), entry(5, a, 5))
	require.Equal(t, keyindex.Loc{File: a, Row: 5}, find(t, ix, 5), "a commit at the same stamp")

	stopped, stop := context.WithCancel(ctx)
	stop()
	require.ErrorIs(t, ix.Lookup(stopped, []keyindex.Hash{Key(1)}, locs[:1]), context.Canceled)
	c = ix.Change()
	require.ErrorIs(t, c.Put(stopped, []keyindex.Entry{entry(1, a, 1)}), context.Canceled)
	c.Rollback()
	runClosed(t, f)
}

func runClosed(t *testing.T, f Factory) {
	ctx := context.Background()
	ix, err := f.Create(ctx, t.TempDir())
	require.NoError(t, err)
	c := ix.Change()
	require.NoError(t, c.Put(ctx, []keyindex.Entry{entry(1, ix.FileID("a"), 1)}))
	require.NoError(t, ix.Close())
	require.NoError(t, ix.Close(), "twice is once")
	require.Error(t, ix.Lookup(ctx, []keyindex.Hash{Key(1)}, make([]keyindex.Loc, 1)))
	require.Error(t, c.Put(ctx, []keyindex.Entry{entry(1, 1, 1)}))
	require.Error(t, c.Commit(ctx, At(1)))
	c.Rollback()
}

func runFiles(t *testing.T, f Factory) {
	ctx := context.Background()
	dir := t.TempDir()
	ix, err := f.Create(ctx, dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, ix.Close()) }()
	a, b := ix.FileID("a"), ix.FileID("b")
	require.NotEqual(t, keyindex.NoFile, a)
	require.NotEqual(t, a, b)
	require.Equal(t, a, ix.FileID("a"))
	require.Equal(t, "b", ix.Path(b))
	require.Empty(t, ix.Path(keyindex.NoFile))
	require.Empty(t, ix.Path(b+1))
	ix.Forget(a)
	ix.Forget(a)
	ix.Forget(b + 1)
	require.Empty(t, ix.Path(a))
	a2 := ix.FileID("a")
	require.NotContains(t, []keyindex.FileID{a, b}, a2, "an id names one file for ever")
	ix.Forget(a2)
	ix.Forget(ix.FileID("back"))
	back := ix.FileID("back")
	commit(t, ix, At(1))
	if f.Open == nil {
		return
	}
	for round := range int64(3) {
		require.NoError(t, ix.Close())
		ix, err = f.Open(ctx, dir, At(1+round))
		require.NoError(t, err)
		require.Equal(t, b, ix.FileID("b"))
		require.Empty(t, ix.Path(a2))
		require.Equal(t, back, ix.FileID("back"), "forgotten once, and known again since")
		c := ix.FileID(fmt.Sprint("c", round))
		require.Greater(t, c, a2, "ids of forgotten files are not given again")
		commit(t, ix, At(2+round))
		require.Equal(t, c, ix.FileID(fmt.Sprint("c", round)))
	}
}
