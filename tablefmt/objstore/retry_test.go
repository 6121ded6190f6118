package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
	"github.com/lakeload/lakeload/tablefmt/objstore/faultstore"
)

func faulty(t *testing.T, p objstore.RetryPolicy, rules ...faultstore.Rule) (*faultstore.Store, objstore.Store) {
	f, err := faultstore.New(objstore.NewMemory(), rules...)
	require.NoError(t, err)
	return f, objstore.Retry(f, p)
}

func TestRetryWaitsAndGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		f, s := faulty(t, objstore.RetryPolicy{Attempts: 4, First: time.Second, Max: 3 * time.Second, Notify: func(op, path string, attempt int, err error) {
			told++
			require.Equal(t, "Get x", op+" "+path)
			require.Equal(t, told, attempt)
		}}, faultstore.Rule{Op: faultstore.OpGet, Count: -1, Transient: true})
		start := time.Now()
		_, err := s.Get(t.Context(), "x")
		require.ErrorIs(t, err, faultstore.ErrInjected)
		require.ErrorContains(t, err, "after 4 attempts")
		require.Equal(t, 4, f.Calls(faultstore.OpGet))
		require.Equal(t, 3, told)
		waited := time.Since(start) // 1 + 2 + 3 seconds, at least half of it
		require.GreaterOrEqual(t, waited, 3*time.Second)
		require.LessOrEqual(t, waited, 6*time.Second)

		told = 0
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start = time.Now()
		_, err = s.Get(ctx, "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, faultstore.ErrInjected, "and why it was waiting")
		require.Equal(t, 100*time.Millisecond, time.Since(start))
	})
}

func TestRetryOnlyWhatIsTransient(t *testing.T) {
	f, s := faulty(t, objstore.RetryPolicy{}, faultstore.Rule{Op: faultstore.OpGet, Count: -1})
	_, err := s.Get(t.Context(), "x")
	require.ErrorIs(t, err, faultstore.ErrInjected)
	require.Equal(t, 1, f.Calls(faultstore.OpGet))
	_, err = s.Stat(t.Context(), "x")
	require.ErrorIs(t, err, objstore.ErrNotFound)
	require.Equal(t, 1, f.Calls(faultstore.OpStat))
}

// TestRetryNeverTurnsOurSuccessIntoALostRace is I11: after an unknown outcome
// "exists" proves nothing, and neither does another error.
func TestRetryNeverTurnsOurSuccessIntoALostRace(t *testing.T) {
	quick := objstore.RetryPolicy{Attempts: 2, First: time.Microsecond}
	put := func(rules ...faultstore.Rule) (objstore.Store, error) {
		_, s := faulty(t, quick, rules...)
		return s, s.PutIfAbsent(t.Context(), "0.json", []byte("mine"))
	}
	const op = faultstore.OpPutIfAbsent

	s, err := put(faultstore.Rule{Op: op, Do: faultstore.SucceedThenFail, Transient: true})
	require.ErrorIs(t, err, objstore.ErrUnknownOutcome)
	require.NotErrorIs(t, err, objstore.ErrExists)
	require.Equal(t, map[string]string{"0.json": "mine"}, contents(t, s))

	_, err = put(faultstore.Rule{Op: op, Do: faultstore.SucceedThenFail, Transient: true}, faultstore.Rule{Op: op, Nth: 2, Err: errors.New("forbidden")})
	require.ErrorIs(t, err, objstore.ErrUnknownOutcome)

	s, err = put(faultstore.Rule{Op: op, Do: faultstore.FailUnknown, Transient: true})
	require.NoError(t, err, "the first was lost, the second written")
	require.Equal(t, map[string]string{"0.json": "mine"}, contents(t, s))

	_, err = put(faultstore.Rule{Op: op, Transient: true}, faultstore.Rule{Op: op, Nth: 2, Err: objstore.ErrExists})
	require.ErrorIs(t, err, objstore.ErrExists, "the first did nothing for sure, so it is a lost race")
	require.NotErrorIs(t, err, objstore.ErrUnknownOutcome)
}

func TestRetryListGoesOn(t *testing.T) {
	f, s := faulty(t, objstore.RetryPolicy{First: time.Microsecond},
		faultstore.Rule{Op: faultstore.OpList, Do: faultstore.Short, Entries: 2, Count: 3, Err: faultstore.ErrInjected, Transient: true})
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprintf("f/%02d", i))
		require.NoError(t, s.Put(t.Context(), want[i], nil))
	}
	var got []string
	for info, err := range s.List(t.Context(), "f/", "") {
		require.NoError(t, err)
		got = append(got, info.Path)
	}
	require.Equal(t, want, got, "all, each once")
	require.Equal(t, 4, f.Calls(faultstore.OpList))
}
