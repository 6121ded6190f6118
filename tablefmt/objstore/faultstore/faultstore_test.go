package faultstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, rules ...Rule) *Store {
	s, err := New(objstore.NewMemory(), rules...)
	require.NoError(t, err)
	return s
}

func paths(t *testing.T, s objstore.Store) []string {
	got := []string{}
	for info, err := range s.List(t.Context(), "", "") {
		require.NoError(t, err)
		got = append(got, info.Path)
	}
	return got
}

func write(s objstore.Store, ctx context.Context, path string) error {
	w, err := s.Create(ctx, path)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write([]byte("data")); err != nil {
		return err
	}
	return w.Close()
}

func TestEveryCallCanFail(t *testing.T) {
	ctx := t.Context()
	calls := map[Op]func(*Store) error{
		OpGet:         func(s *Store) error { _, err := s.Get(ctx, "f/x"); return err },
		OpOpen:        func(s *Store) error { _, err := s.Open(ctx, "f/x"); return err },
		OpStat:        func(s *Store) error { _, err := s.Stat(ctx, "f/x"); return err },
		OpPutIfAbsent: func(s *Store) error { return s.PutIfAbsent(ctx, "f/new", nil) },
		OpPut:         func(s *Store) error { return s.Put(ctx, "f/new", nil) },
		OpDelete:      func(s *Store) error { return s.Delete(ctx, "f/x") },
		OpCreate:      func(s *Store) error { return write(s, ctx, "f/new") },
		OpWrite:       func(s *Store) error { return write(s, ctx, "f/new") },
		OpClose:       func(s *Store) error { return write(s, ctx, "f/new") },
		OpReadAt: func(s *Store) error {
			r, err := s.Open(ctx, "f/x")
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = r.ReadAt(make([]byte, 1), 0)
			return err
		},
		OpList: func(s *Store) (last error) {
			for _, err := range s.List(ctx, "f/", "") {
				last = err
			}
			return last
		},
	}
	for op, call := range calls {
		for do, unknown := range map[Action]bool{Fail: false, SucceedThenFail: writes(op), FailUnknown: op != OpList} {
			s := open(t)
			require.NoError(t, s.inner.Put(ctx, "f/x", []byte("1")))
			require.NoError(t, call(s), "%s without a rule", op)
			require.NoError(t, s.inner.Put(ctx, "f/x", []byte("1")))
			require.NoError(t, s.inner.Delete(ctx, "f/new"))
			own := errors.New("own")
			require.NoError(t, s.SetRules(Rule{Op: op, Path: "f/**", Do: do, Err: own, Transient: true}))
			err := call(s)
			require.ErrorIs(t, err, own, "%s %d", op, do)
			if op != OpWrite { // a failed Write is Close's failure too
				require.True(t, objstore.Retryable(err))
			}
			require.Equal(t, unknown, errors.Is(err, objstore.ErrUnknownOutcome), "%s %d", op, do)
			require.Equal(t, []int{1}, s.Hits())

			done := do == SucceedThenFail && writes(op)
			want := []string{"f/x"}
			switch {
			case done && op == OpDelete:
				want = []string{}
			case done:
				want = []string{"f/new", "f/x"}
			}
			require.Equal(t, want, paths(t, s.inner), "%s %d", op, do)
			require.NoError(t, s.inner.Put(ctx, "f/x", []byte("1")))
			if done && op == OpPutIfAbsent {
				require.ErrorIs(t, call(s), objstore.ErrExists)
			} else {
				require.NoError(t, call(s), "%s: only one call is hit", op)
			}
		}
	}
}

func TestNthAndCount(t *testing.T) {
	s := open(t,
		Rule{Op: OpPut, Path: "_delta_log/*.json", Nth: 2, Count: 2},
		Rule{Op: OpPut, Path: "_delta_log/*", Nth: 5})
	var failed []int
	for i := 1; i <= 7; i++ {
		require.NoError(t, s.Put(t.Context(), "_delta_log/x/0.json", nil), "another folder")
		if s.Put(t.Context(), "_delta_log/0.json", nil) != nil {
			failed = append(failed, i)
		}
	}
	require.Equal(t, []int{2, 3, 5}, failed)
	require.Equal(t, []int{2, 1}, s.Hits())
	require.Equal(t, 14, s.Calls(OpPut))
}

func TestLand(t *testing.T) {
	s := open(t, Rule{Op: OpPutIfAbsent, Do: Land, Count: 2}, Rule{Op: OpGet, Do: Land})
	data := []byte("late")
	for range 2 {
		require.ErrorIs(t, s.PutIfAbsent(t.Context(), "0.json", data), objstore.ErrUnknownOutcome)
	}
	data[0] = 'X' // the request was sent before
	_, err := s.Get(t.Context(), "0.json")
	require.ErrorIs(t, err, ErrInjected)
	_, err = s.Get(t.Context(), "0.json")
	require.ErrorIs(t, err, objstore.ErrNotFound, "not found, and yet:")
	errs := s.Land(t.Context())
	require.Len(t, errs, 2)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], objstore.ErrExists)
	got, err := s.Get(t.Context(), "0.json")
	require.NoError(t, err)
	require.Equal(t, "late", string(got))
	require.Empty(t, s.Land(t.Context()))
}

func TestDelayAndHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		s := open(t, Rule{Op: OpPut, Do: Delay, Wait: time.Hour, Count: -1}, Rule{Op: OpGet, Do: Hold, Until: until, Count: -1},
			Rule{Op: OpList, Do: Delay, Wait: time.Minute})
		start := time.Now()
		require.NoError(t, s.Put(t.Context(), "x", nil))
		require.Equal(t, time.Hour, time.Since(start))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, s.Put(ctx, "y", nil), context.DeadlineExceeded)
		_, err := s.Get(ctx, "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.AfterFunc(time.Minute, func() { close(until) })
		start = time.Now()
		_, err = s.Get(t.Context(), "x")
		require.NoError(t, err)
		require.Equal(t, time.Minute, time.Since(start))
		start = time.Now()
		require.Equal(t, []string{"x"}, paths(t, s))
		require.Equal(t, time.Minute, time.Since(start))
	})
}

func TestShortList(t *testing.T) {
	s := open(t, Rule{Op: OpList, Do: Short, Entries: 2}, Rule{Op: OpList, Nth: 2, Do: Short, Entries: 1, Err: ErrInjected})
	for _, p := range []string{"a", "b", "c"} {
		require.NoError(t, s.Put(t.Context(), p, nil))
	}
	require.Equal(t, []string{"a", "b"}, paths(t, s), "in silence")
	var got []string
	var last error
	for info, err := range s.List(t.Context(), "", "") {
		got, last = append(got, info.Path), err
	}
	require.Equal(t, []string{"a", ""}, got)
	require.ErrorIs(t, last, ErrInjected)
	require.Equal(t, []string{"a", "b", "c"}, paths(t, s))
}

func TestRulesThatMakeNoSense(t *testing.T) {
	for _, r := range []Rule{{Do: Hold}, {Do: 99}, {Do: Short, Op: OpGet}, {Nth: -1}} {
		_, err := New(objstore.NewMemory(), r)
		require.Error(t, err)
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"a", "a", true},
		{"a", "ab", false},
		{"*", "ab", true},
		{"*", "a/b", false},
		{"**", "a/b", true},
		{"*/b", "a/b", true},
		{"a/**", "a/b/c", true},
		{"a/**", "a", false},
		{"**/c", "a/b/c", true},
		{"**c", "c", true},
		{"a*c", "abbc", true},
		{"a*c", "ab/c", false},
		{"a?c", "abc", true},
		{"a?c", "a/c", false},
		{"", "", true},
		{"*", "", true},
	} {
		require.Equal(t, c.want, match(c.pattern, c.path), "%q %q", c.pattern, c.path)
	}
}
