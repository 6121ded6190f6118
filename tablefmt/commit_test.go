package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func TestCommitAndLoad(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	_, err := Load(ctx, loc)
	require.ErrorIs(t, err, ErrNoTable)

	s := create(t, loc, idSchema)
	tx := Begin(loc, s)
	tx.Add(fakeAdd("a.parquet", 3))
	tx.Add(fakeAdd("b.parquet", 4))
	tx.SetTxn("app", 17)
	tx.SetInfo("WRITE", map[string]any{"mode": "Append", "n": 3})
	tx.SetUserMetadata("hello <you>")
	s1, err := tx.Commit(ctx)
	require.NoError(t, err)
	require.Equal(t, int64(1), s1.Version())
	require.Equal(t, tx.CommitID(), s1.CommitID())
	require.Equal(t, 0, s.NumFiles(), "the older snapshot stays as it was")

	a, ok := s1.File("a.parquet")
	require.True(t, ok)
	v := dv.Inline(dv.New(1))
	with, err := a.WithVector(v)
	require.NoError(t, err)
	require.Contains(t, with.Stats, `"tightBounds":false`)
	b, _ := s1.File("b.parquet")
	tx = Begin(loc, s1)
	tx.Remove(*a.Remove(time.Now().UnixMilli(), true))
	tx.Add(with)
	tx.Remove(*b.Remove(time.Now().UnixMilli(), true))
	s2, err := tx.Commit(ctx)
	require.NoError(t, err)

	for name, got := range map[string]*Snapshot{
		"commit": s2, "load": must(Load(ctx, loc)), "update from 0": must(s.Update(ctx)), "update from 1": must(s1.Update(ctx)),
	} {
		require.Equal(t, int64(2), got.Version(), name)
		require.Equal(t, []string{"a.parquet"}, paths(got), name)
		require.Equal(t, int64(100), got.Size(), name)
		f, _ := got.File("a.parquet")
		require.Equal(t, int64(1), f.Deleted(), name)
		require.Equal(t, tx.CommitID(), got.CommitID(), name)
		n, ok := got.Txn("app")
		require.True(t, ok, name)
		require.Equal(t, int64(17), n, name)
		require.Equal(t, s2.Metadata(), got.Metadata(), name)
		require.Equal(t, s2.Protocol(), got.Protocol(), name)
	}
	require.Equal(t, "hello <you>", must(LoadAt(ctx, loc, 1)).CommitInfo().UserMetadata)
	require.Equal(t, "3", must(LoadAt(ctx, loc, 1)).CommitInfo().OperationParameters["n"])
	_, err = LoadAt(ctx, loc, 3)
	require.ErrorIs(t, err, ErrNoVersion)
	same, err := s2.Update(ctx)
	require.NoError(t, err)
	require.Same(t, s2, same)
	_, err = tx.Commit(ctx)
	require.ErrorIs(t, err, ErrInvalid, "a transaction commits once")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestConcurrentAppends(t *testing.T) {
	const writers, commits = 8, 12
	ctx := context.Background()
	for name, data := range map[string]objstore.Store{"memory": objstore.NewMemory(), "local": must(objstore.NewLocal(t.TempDir()))} {
		t.Run(name, func(t *testing.T) {
			loc := Location{Data: data}
			first := create(t, loc, idSchema)
			var wg sync.WaitGroup
			errs := make([]error, writers)
			for w := range writers {
				wg.Go(func() {
					s := first
					for i := range commits {
						tx := Begin(loc, s)
						tx.Add(fakeAdd(fmt.Sprintf("w%d-%d.parquet", w, i), 1))
						tx.SetTxn(fmt.Sprint("writer ", w), int64(i))
						if s, errs[w] = tx.Commit(ctx); errs[w] != nil {
							return
						}
					}
				})
			}
			wg.Wait()
			require.NoError(t, errors.Join(errs...))
			s, err := Load(ctx, loc)
			require.NoError(t, err)
			require.Equal(t, int64(writers*commits), s.Version())
			require.Equal(t, writers*commits, s.NumFiles())
			history, err := History(ctx, loc, 0)
			require.NoError(t, err)
			ids := map[string]bool{}
			for i, h := range history {
				require.Equal(t, int64(writers*commits-i), h.Version)
				ids[h.Info.TxnID] = true
			}
			require.Len(t, ids, writers*commits+1, "each transaction is one version")
			followed, err := first.Update(ctx)
			require.NoError(t, err)
			require.Equal(t, paths(s), paths(followed))
		})
	}
}

// flaky answers as its hooks say.
type flaky struct {
	objstore.Store
	put func(path string, data []byte) error // nil result: go on
	get func(path string) error
}

func (f *flaky) PutIfAbsent(ctx context.Context, path string, data []byte) error {
	if f.put != nil {
		if err := f.put(path, data); err != nil {
			return err
		}
	}
	return f.Store.PutIfAbsent(ctx, path, data)
}

func (f *flaky) Get(ctx context.Context, path string) ([]byte, error) {
	if f.get != nil {
		if err := f.get(path); err != nil {
			return nil, err
		}
	}
	return f.Store.Get(ctx, path)
}

func TestUnknownOutcome(t *testing.T) { synctest.Test(t, testUnknownOutcome) } // which waits in no time

func testUnknownOutcome(t *testing.T) {
	ctx := context.Background()
	run := func(name string, f func(*testing.T)) {
		t.Log(name)
		f(t)
	}
	unknown := fmt.Errorf("connection reset: %w", objstore.ErrUnknownOutcome)
	commit := func(t *testing.T, set func(f *flaky)) (*flaky, *Snapshot, string, error) {
		log := objstore.NewMemory()
		loc := Location{Data: objstore.NewMemory(), Log: log}
		s := create(t, loc, idSchema)
		f := &flaky{Store: log}
		set(f)
		tx := Begin(Location{Data: loc.Data, Log: f}, s)
		tx.Add(fakeAdd("x.parquet", 1))
		got, err := tx.Commit(ctx)
		return f, got, tx.CommitID(), err
	}
	versions := func(f *flaky) int64 {
		return must(Load(ctx, Location{Data: f.Store, Log: f.Store})).Version()
	}

	run("written, answer lost", func(t *testing.T) {
		f, s, id, err := commit(t, func(f *flaky) {
			f.put = func(path string, data []byte) error {
				f.put = nil
				_ = f.Store.PutIfAbsent(ctx, path, data)
				return unknown
			}
		})
		require.NoError(t, err)
		require.Equal(t, int64(1), s.Version())
		require.Equal(t, id, s.CommitID())
		require.Equal(t, int64(1), versions(f), "not written twice")
	})
	run("written, then exists", func(t *testing.T) { // a retry below us met its own success
		f, s, _, err := commit(t, func(f *flaky) {
			f.put = func(path string, data []byte) error {
				f.put = nil
				_ = f.Store.PutIfAbsent(ctx, path, data)
				return objstore.ErrExists
			}
		})
		require.NoError(t, err)
		require.Equal(t, int64(1), s.Version())
		require.Equal(t, int64(1), versions(f))
	})
	run("not written", func(t *testing.T) {
		f, s, _, err := commit(t, func(f *flaky) {
			n := 0
			f.put = func(string, []byte) error {
				if n++; n <= 2 {
					return unknown
				}
				return nil
			}
		})
		require.NoError(t, err)
		require.Equal(t, int64(1), s.Version())
		require.Equal(t, int64(1), versions(f))
	})
	run("lands late", func(t *testing.T) {
		f, s, _, err := commit(t, func(f *flaky) {
			n := 0
			f.put = func(path string, data []byte) error {
				if n++; n == 2 { // the first request arrives now
					_ = f.Store.PutIfAbsent(ctx, path, data)
				} else if n == 1 {
					return unknown
				}
				return nil
			}
		})
		require.NoError(t, err)
		require.Equal(t, int64(1), s.Version())
		require.Equal(t, int64(1), versions(f), "the late arrival is recognised, not followed")
	})
	run("another won", func(t *testing.T) {
		f, s, _, err := commit(t, func(f *flaky) {
			f.put = func(path string, data []byte) error {
				f.put = nil
				other := Begin(Location{Data: f.Store, Log: f.Store}, must(Load(ctx, Location{Data: f.Store, Log: f.Store})))
				other.Add(fakeAdd("other.parquet", 1))
				must(other.Commit(ctx))
				return unknown
			}
		})
		require.NoError(t, err)
		require.Equal(t, int64(2), s.Version())
		require.Equal(t, []string{"other.parquet", "x.parquet"}, paths(s))
		require.Equal(t, int64(2), versions(f))
	})
	run("never known", func(t *testing.T) {
		_, _, id, err := commit(t, func(f *flaky) {
			f.put = func(string, []byte) error { return unknown }
		})
		var u *UnknownCommitError
		require.ErrorAs(t, err, &u)
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		require.Equal(t, int64(1), u.Version)
		require.Equal(t, id, u.CommitID)
	})
	run("refused after an unknown one", func(t *testing.T) {
		_, _, _, err := commit(t, func(f *flaky) {
			n := 0
			f.put = func(string, []byte) error {
				if n++; n == 1 {
					return unknown
				}
				return errors.New("access denied")
			}
		})
		require.ErrorIs(t, err, ErrOutcomeUnknown, "the first may still land")
	})
	run("refused", func(t *testing.T) {
		_, _, _, err := commit(t, func(f *flaky) {
			f.put = func(string, []byte) error { return errors.New("access denied") }
		})
		require.ErrorContains(t, err, "access denied")
		require.NotErrorIs(t, err, ErrOutcomeUnknown)
	})
}

func TestConflictsAreErrors(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	s := create(t, loc, idSchema)
	tx := Begin(loc, s)
	tx.Add(fakeAdd("a.parquet", 3))
	s, err := tx.Commit(ctx)
	require.NoError(t, err)
	a, _ := s.File("a.parquet")

	mine, theirs := Begin(loc, s), Begin(loc, s)
	theirs.Remove(*a.Remove(1, true))
	theirs.SetInfo("OPTIMIZE", nil)
	mine.Remove(*a.Remove(1, true))
	_, err = theirs.Commit(ctx)
	require.NoError(t, err)
	_, err = mine.Commit(ctx)
	var c *ConflictError
	require.ErrorAs(t, err, &c)
	require.ErrorIs(t, err, ErrConflict)
	require.Equal(t, int64(2), c.Version)
	require.Equal(t, ConflictFile, c.Reason)
	require.Equal(t, "a.parquet", c.Detail)
	require.Equal(t, "OPTIMIZE", c.Winner.Operation)

	again := Begin(loc, nil)
	again.SetProtocol(MirrorProtocol(ProtocolOptions{}))
	again.SetMetadata(&Metadata{SchemaString: idSchema.JSON()})
	_, err = again.Commit(ctx)
	require.ErrorAs(t, err, &c)
	require.Equal(t, ConflictCreated, c.Reason)
}

func TestInCommitTimestamps(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	p := MirrorProtocol(ProtocolOptions{})
	p.WriterFeatures = append(p.WriterFeatures, "inCommitTimestamp")
	tx := Begin(loc, nil)
	tx.SetProtocol(p)
	tx.SetMetadata(&Metadata{SchemaString: idSchema.JSON(), Configuration: map[string]string{PropInCommitTimestamps: "true"}})
	s, err := tx.Commit(ctx)
	require.NoError(t, err)
	last := int64(0)
	var times []time.Time
	for i := range 20 {
		require.Greater(t, *s.CommitInfo().InCommitTimestamp, last)
		last = *s.CommitInfo().InCommitTimestamp
		times = append(times, time.UnixMilli(last))
		tx = Begin(loc, s)
		tx.Add(fakeAdd(fmt.Sprint(i), 1))
		s, err = tx.Commit(ctx)
		require.NoError(t, err)
	}
	for v, at := range times {
		require.Equal(t, int64(v), must(LoadAsOf(ctx, loc, at)).Version())
	}
	_, err = LoadAsOf(ctx, loc, times[0].Add(-time.Millisecond))
	require.ErrorIs(t, err, ErrNoVersion)
	require.Equal(t, int64(20), must(LoadAsOf(ctx, loc, time.Now().Add(time.Hour))).Version())
}
