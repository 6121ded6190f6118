package keyindextest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

func runReopen(t *testing.T, f Factory) {
	ctx := context.Background()
	dir := t.TempDir()
	_, err := f.Open(ctx, filepath.Join(dir, "none"), At(1))
	require.ErrorIs(t, err, keyindex.ErrUnfit)
	_, err = f.Open(ctx, dir, At(1))
	require.ErrorIs(t, err, keyindex.ErrUnfit, "an empty folder")

	ix, err := f.Create(ctx, dir)
	require.NoError(t, err)
	a := ix.FileID("a")
	commit(t, ix, At(1), entry(1, a, 1))
	c := ix.Change()
	require.NoError(t, c.Put(ctx, []keyindex.Entry{entry(1, a, 2)}))
	require.NoError(t, ix.Close(), "with a change in the making")
	c.Rollback()

	for _, s := range []keyindex.Stamp{{}, At(0), At(2), {Table: "u", Version: 1, Commit: "commit-1"}, {Table: "t", Version: 1}} {
		_, err := f.Open(ctx, dir, s)
		require.ErrorIs(t, err, keyindex.ErrUnfit, "%+v", s)
	}
	ix, err = f.Open(ctx, dir, At(1))
	require.NoError(t, err)
	require.Equal(t, keyindex.Loc{File: a, Row: 1}, find(t, ix, 1))
	require.NoError(t, ix.Close())

	ix, err = f.Create(ctx, dir)
	require.NoError(t, err)
	require.Zero(t, find(t, ix, 1), "created anew")
	require.Zero(t, ix.Stamp())
	require.NoError(t, ix.Close())
}

// runDamage damages each file of an index, at many places, in two ways. Such
// an index may refuse to open, or to answer; it may not answer wrongly.
func runDamage(t *testing.T, f Factory) {
	ctx := context.Background()
	dir := t.TempDir()
	ix, err := f.Create(ctx, dir)
	require.NoError(t, err)
	have := map[uint64]keyindex.Loc{}
	for v := range uint64(12) {
		file := ix.FileID(fmt.Sprint("file-", v))
		var es []keyindex.Entry
		for k := v * 150; k < v*150+90+310*(v%2); k++ {
			e := entry(k, file, uint32(v))
			if k%7 == 0 {
				e.Loc = keyindex.Loc{}
			}
			have[k] = e.Loc
			es = append(es, e)
		}
		commit(t, ix, At(int64(v)), es...)
	}
	require.NoError(t, ix.Close())
	whole := Files(t, dir)
	require.NoError(t, CheckState(f, dir, At(11), have))

	caught, harmless := 0, 0
	try := func(name string, b []byte, what string) {
		copied := t.TempDir()
		for n, content := range whole {
			if n == name {
				content = b
			}
			require.NoError(t, os.WriteFile(filepath.Join(copied, n), content, 0o600))
		}
		switch err := CheckState(f, copied, At(11), have); {
		case err == nil:
			harmless++
		case errors.Is(err, keyindex.ErrUnfit):
			caught++
		default:
			t.Fatalf("%s of %s: %v", what, name, err)
		}
	}
	for name, b := range whole {
		for i := 0; i < len(b); i += 1 + len(b)/25 {
			flipped := append([]byte(nil), b...)
			flipped[i] ^= 1 << (i % 8)
			try(name, flipped, fmt.Sprintf("a flipped bit in byte %d", i))
			if i%2 == 0 {
				try(name, b[:i], fmt.Sprintf("a cut at byte %d", i))
			}
		}
		if len(b) > 0 {
			try(name, b[:len(b)-1], "a cut of one byte")
			try(name, append(append([]byte(nil), b...), 0), "an appended byte")
		}
	}
	t.Logf("%d damages caught, %d without effect", caught, harmless)
	require.Greater(t, caught, 4*harmless, "nearly every byte counts")
}

// Files reads the files of a folder.
func Files(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, e := range es {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		require.NoError(t, err)
		files[e.Name()] = b
	}
	return files
}

// CheckState opens the index of a folder at a stamp and compares what it says
// of these keys. It gives the index's own error, or one about a wrong answer.
func CheckState(f Factory, dir string, at keyindex.Stamp, have map[uint64]keyindex.Loc) (err error) {
	ctx := context.Background()
	ix, err := f.Open(ctx, dir, at)
	if err != nil {
		return err
	}
	defer func() {
		if e := ix.Close(); e != nil && err == nil {
			err = e
		}
	}()
	hs := make([]keyindex.Hash, 0, len(have))
	want := make([]keyindex.Loc, 0, len(have))
	for k, l := range have {
		hs = append(hs, Key(k))
		want = append(want, l)
	}
	locs := make([]keyindex.Loc, len(hs))
	if err := ix.Lookup(ctx, hs, locs); err != nil {
		return err
	}
	for i := range locs {
		if locs[i] != want[i] {
			return fmt.Errorf("a wrong answer: %v instead of %v", locs[i], want[i])
		}
	}
	return nil
}
