package objstore_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
	"github.com/lakeload/lakeload/tablefmt/objstore/faultstore"
)

// Every call is told once, with its error.
func TestObserveTellsEveryCall(t *testing.T) {
	faulty, err := faultstore.New(objstore.NewMemory(),
		faultstore.Rule{Op: faultstore.OpGet, Nth: 2, Transient: true},
		faultstore.Rule{Op: faultstore.OpWrite, Nth: 2, Transient: true},
		faultstore.Rule{Op: faultstore.OpList, Nth: 2, Transient: true})
	require.NoError(t, err)
	calls, failed := map[string]int{}, map[string]int{}
	s := objstore.Observe(faulty, func(op string, err error) {
		calls[op]++
		if err != nil {
			require.True(t, errors.Is(err, faultstore.ErrInjected) || errors.Is(err, objstore.ErrNotFound) || errors.Is(err, objstore.ErrExists), "%v", err)
			failed[op]++
		}
	})
	ctx := t.Context()
	require.NoError(t, s.Put(ctx, "a", []byte("1")))
	require.NoError(t, s.PutIfAbsent(ctx, "b", nil))
	require.ErrorIs(t, s.PutIfAbsent(ctx, "b", nil), objstore.ErrExists)
	_, err = s.Get(ctx, "a")
	require.NoError(t, err)
	_, err = s.Get(ctx, "a")
	require.ErrorIs(t, err, faultstore.ErrInjected)
	_, err = s.Stat(ctx, "none")
	require.ErrorIs(t, err, objstore.ErrNotFound)
	w, err := s.Create(ctx, "c")
	require.NoError(t, err)
	_, err = w.Write([]byte("x"))
	require.NoError(t, err)
	_, err = w.Write([]byte("y"))
	require.ErrorIs(t, err, faultstore.ErrInjected)
	w.Abort()
	w, err = s.Create(ctx, "c")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	r, err := s.Open(ctx, "a")
	require.NoError(t, err)
	_, err = r.ReadAt(make([]byte, 1), 0)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	for _, err := range s.List(ctx, "", "") {
		require.NoError(t, err)
		break // told, although not all was asked for
	}
	for _, err := range s.List(ctx, "", "") {
		require.ErrorIs(t, err, faultstore.ErrInjected)
	}
	require.NoError(t, s.Delete(ctx, "a"))
	require.Equal(t, map[string]int{
		"Put": 1, "PutIfAbsent": 2, "Get": 2, "Stat": 1, "Create": 2, "Write": 2, "Close": 1, "Open": 1, "ReadAt": 1, "List": 2, "Delete": 1,
	}, calls)
	require.Equal(t, map[string]int{"PutIfAbsent": 1, "Get": 1, "Stat": 1, "Write": 1, "List": 1}, failed)
}
