package objstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// contents reads a whole store.
func contents(t *testing.T, s objstore.Store) map[string]string {
	t.Helper()
	m := map[string]string{}
	for info, err := range s.List(t.Context(), "", "") {
		require.NoError(t, err)
		data, err := s.Get(t.Context(), info.Path)
		require.NoError(t, err)
		m[info.Path] = string(data)
	}
	return m
}

func TestMemoryCrashed(t *testing.T) {
	m := objstore.NewMemory()
	ctx := t.Context()
	require.NoError(t, m.Put(ctx, "x", []byte("1")))
	r, err := m.Open(ctx, "x")
	require.NoError(t, err)
	w, err := m.Create(ctx, "y")
	require.NoError(t, err)
	m.Crash()
	_, err = m.Get(ctx, "x")
	require.ErrorIs(t, err, objstore.ErrCrashed)
	_, err = m.Open(ctx, "x")
	require.ErrorIs(t, err, objstore.ErrCrashed)
	_, err = m.Stat(ctx, "x")
	require.ErrorIs(t, err, objstore.ErrCrashed)
	_, err = m.Create(ctx, "z")
	require.ErrorIs(t, err, objstore.ErrCrashed)
	_, err = r.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, objstore.ErrCrashed)
	_, err = w.Write([]byte("x"))
	require.ErrorIs(t, err, objstore.ErrCrashed)
	for _, err := range []error{m.Put(ctx, "x", nil), m.PutIfAbsent(ctx, "z", nil), m.Delete(ctx, "x"), w.Close()} {
		require.ErrorIs(t, err, objstore.ErrCrashed)
	}
	for _, err := range m.List(ctx, "", "") {
		require.ErrorIs(t, err, objstore.ErrCrashed)
	}
	require.Equal(t, map[string]string{"x": "1"}, contents(t, m.Survivor(rng(1))))
}

// TestMemorySurvivor: what was acknowledged is always there; a write that was
// under way, where its caller died, is there whole in some survivors and not
// at all in the others, whatever the stage it had reached.
func TestMemorySurvivor(t *testing.T) {
	defer crashpoint.Set(nil)
	ctx := t.Context()
	for _, p := range []crashpoint.Point{crashpoint.StoreTempWritten, crashpoint.StoreSynced, crashpoint.StoreLinked} {
		for op, write := range map[string]func(objstore.Store) error{
			"put":           func(s objstore.Store) error { return s.Put(ctx, "x", []byte("new")) },
			"put if absent": func(s objstore.Store) error { return s.PutIfAbsent(ctx, "x2", []byte("new")) },
			"stream":        func(s objstore.Store) error { return stream(ctx, s, "x", []byte("new")) },
		} {
			seen := map[string]int{}
			for seed := range uint64(40) {
				crashpoint.Set(nil)
				m := objstore.NewMemory()
				require.NoError(t, m.Put(ctx, "x", []byte("old")))
				require.NoError(t, stream(ctx, m, "y", []byte("acknowledged")))
				open, err := m.Create(ctx, "never closed")
				require.NoError(t, err)
				_, err = open.Write([]byte("z"))
				require.NoError(t, err)
				crashpoint.Set(func(at crashpoint.Point) {
					if at == p {
						m.Crash()
					}
				})
				require.ErrorIs(t, write(m), objstore.ErrCrashed)
				crashpoint.Set(nil)
				left := contents(t, m.Survivor(rng(seed)))
				for info, err := range m.Survivor(rng(seed)).List(ctx, "", "") {
					require.NoError(t, err)
					require.WithinDuration(t, time.Now(), info.Modified, time.Hour, info.Path)
				}
				require.Equal(t, left, contents(t, m.Survivor(rng(seed))), "the same rng, another answer")
				require.Equal(t, "acknowledged", left["y"])
				require.NotContains(t, left, "never closed")
				require.Contains(t, []string{"old", "new"}, left["x"])
				if op == "put if absent" {
					require.Equal(t, "old", left["x"])
				}
				seen[fmt.Sprint(left["x"], left["x2"])]++
			}
			require.Len(t, seen, 2, "%s at %s: %v", op, p, seen)
		}
	}
}

// TestMemoryOnePutIfAbsentSurvives: of several under way at most one is left.
func TestMemoryOnePutIfAbsentSurvives(t *testing.T) {
	defer crashpoint.Set(nil)
	m := objstore.NewMemory()
	var nested func()
	depth := 0
	crashpoint.Set(func(at crashpoint.Point) {
		if at != crashpoint.StoreTempWritten {
			return
		}
		if depth++; depth == 3 {
			m.Crash()
			return
		}
		nested()
	})
	nested = func() { _ = m.PutIfAbsent(t.Context(), "x", []byte{byte('a' + depth)}) }
	nested()
	crashpoint.Set(nil)
	seen := map[string]bool{}
	for seed := range uint64(50) {
		seen[contents(t, m.Survivor(rng(seed)))["x"]] = true
	}
	require.Equal(t, map[string]bool{"": true, "a": true, "b": true, "c": true}, seen)
}

// TestMemoryLateWriteLoses: what was acknowledged meanwhile is not overwritten
// by a PutIfAbsent whose caller died.
func TestMemoryLateWriteLoses(t *testing.T) {
	defer crashpoint.Set(nil)
	m := objstore.NewMemory()
	crashpoint.Set(func(at crashpoint.Point) {
		crashpoint.Set(nil)
		require.NoError(t, m.PutIfAbsent(t.Context(), "x", []byte("acknowledged")))
		m.Crash()
	})
	require.ErrorIs(t, m.PutIfAbsent(t.Context(), "x", []byte("late")), objstore.ErrCrashed)
	for seed := range uint64(20) {
		require.Equal(t, map[string]string{"x": "acknowledged"}, contents(t, m.Survivor(rng(seed))))
	}
}

func TestMemoryDeletesMayBeUndone(t *testing.T) {
	m := objstore.NewMemory()
	require.NoError(t, m.Put(t.Context(), "x", []byte("1")))
	require.NoError(t, m.Delete(t.Context(), "x"))
	require.Empty(t, contents(t, m))
	seen := map[string]bool{}
	for seed := range uint64(20) {
		seen[contents(t, m.Survivor(rng(seed)))["x"]] = true
	}
	require.Equal(t, map[string]bool{"": true, "1": true}, seen)

	require.NoError(t, m.Put(t.Context(), "x", []byte("2")))
	for seed := range uint64(20) {
		require.Equal(t, "2", contents(t, m.Survivor(rng(seed)))["x"], "a later write is what counts")
	}
}

// commitThenFile is the order of a program that forgets to sync: the data
// file is closed, and the commit that names it is put. Whether a crash can
// then leave a commit without its file is what LoseUnsynced makes visible.
func commitThenFile(t *testing.T, o objstore.MemoryOptions) (torn, cut int) {
	for seed := range uint64(60) {
		m := objstore.OpenMemory(o)
		require.NoError(t, stream(t.Context(), m, "part-0.parquet", []byte("rows")))
		require.NoError(t, m.PutIfAbsent(t.Context(), "_delta_log/0.json", []byte("add part-0.parquet")))
		require.Equal(t, "rows", contents(t, m)["part-0.parquet"], "visible all the same")
		m.Crash()
		left := contents(t, m.Survivor(rng(seed)))
		require.Contains(t, left, "_delta_log/0.json", "a put is always synced")
		switch data, there := left["part-0.parquet"]; {
		case !there:
			torn++
		case data != "rows":
			cut++
		}
	}
	return torn, cut
}

func TestMemoryLoseUnsynced(t *testing.T) {
	torn, cut := commitThenFile(t, objstore.MemoryOptions{})
	require.Zero(t, torn+cut, "a store that keeps its contract loses nothing")
	torn, cut = commitThenFile(t, objstore.MemoryOptions{LoseUnsynced: true})
	require.Positive(t, torn)
	require.Positive(t, cut)
}

func TestSubRefusesItsOwnPath(t *testing.T) {
	s := objstore.Sub(objstore.NewMemory(), "../up")
	var pe *objstore.PathError
	require.True(t, errors.As(s.Put(t.Context(), "x", nil), &pe))
	for _, err := range s.List(t.Context(), "", "") {
		require.True(t, errors.As(err, &pe))
	}
	m := objstore.NewMemory()
	require.Same(t, m, objstore.Sub(m, "").(*objstore.Memory))
	require.NoError(t, objstore.Sub(m, "a/b").Put(t.Context(), "x", []byte("1")))
	require.Equal(t, map[string]string{"a/b/x": "1"}, contents(t, m))
	info, err := objstore.Sub(m, "a").Stat(t.Context(), "b/x")
	require.NoError(t, err)
	require.Equal(t, "b/x", info.Path)
	l, err := objstore.NewLocal("/some/where")
	require.NoError(t, err)
	require.Equal(t, "/some/where/a/b", objstore.Sub(l, "a/b").URL())
}
