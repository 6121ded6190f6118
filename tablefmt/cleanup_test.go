package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// cleaned is a table that gets a commit every ten minutes, which replaces its
// one file, with a checkpoint every few commits.
type cleaned struct {
	t    *testing.T
	data objstore.Store
	loc  Location
	snap *Snapshot
	made []time.Time // of the versions
}

func newCleaned(t *testing.T, properties map[string]string) *cleaned {
	data := objstore.NewMemory()
	c := &cleaned{t: t, data: data, loc: Location{Data: data}}
	tx := Begin(c.loc, nil)
	tx.SetProtocol(MirrorProtocol(ProtocolOptions{}))
	tx.SetMetadata(&Metadata{SchemaString: idSchema.JSON(), Configuration: properties})
	c.snap = must(tx.Commit(t.Context()))
	c.made = []time.Time{time.Now()}
	return c
}

func (c *cleaned) commits(n int, o CleanOptions) (removed int) {
	ctx := c.t.Context()
	for range n {
		time.Sleep(10 * time.Minute)
		tx := Begin(c.loc, c.snap)
		for f := range c.snap.Files() {
			tx.Remove(*f.Remove(time.Now().UnixMilli(), true))
		}
		name := fmt.Sprint(len(c.made))
		require.NoError(c.t, c.data.Put(ctx, name, []byte("rows")))
		tx.Add(fakeAdd(name, 1))
		tx.SetTxn("session "+fmt.Sprint(len(c.made)/10), 1)
		var err error
		c.snap, err = tx.Commit(ctx)
		require.NoError(c.t, err)
		c.made = append(c.made, time.Now())
		_, err = MaybeCheckpoint(ctx, c.snap, CheckpointPolicy{MinCommits: 7})
		require.NoError(c.t, err)
		gone, err := CleanLog(ctx, c.snap, o)
		require.NoError(c.t, err)
		removed += gone
	}
	return removed
}

// check fails unless every version can be read that was the newest one since a
// time, and what is before the oldest is told to be gone.
func (c *cleaned) check(since time.Time) (oldest int64) {
	ctx := c.t.Context()
	oldest = must(OldestVersion(ctx, c.loc))
	for v := range c.made {
		s, err := LoadAt(ctx, c.loc, int64(v))
		if int64(v) < oldest {
			require.ErrorIs(c.t, err, ErrNoVersion)
			require.ErrorIs(c.t, HasVersion(ctx, c.loc, int64(v)), ErrNoVersion)
			next := min(v+1, len(c.made)-1)
			require.True(c.t, c.made[next].Before(since), "version %d was the newest until %s", v, c.made[next])
			continue
		}
		require.NoError(c.t, err)
		require.NoError(c.t, HasVersion(ctx, c.loc, int64(v)))
		require.Equal(c.t, int64(v), s.Version())
		if v > 0 {
			require.Equal(c.t, []string{fmt.Sprint(v)}, paths(s))
		}
	}
	return oldest
}

func (c *cleaned) logLength() (n int) {
	for _, err := range c.loc.log().List(c.t.Context(), "", "") {
		require.NoError(c.t, err)
		n++
	}
	return n
}

func TestCleanLogKeepsWhatTheRetentionAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaned(t, map[string]string{PropLogRetention: "interval 1 day"})
		c.commits(144, CleanOptions{})
		require.Zero(t, c.check(time.Now().Add(-24*time.Hour)), "nothing is as old")
		length := 0
		for range 5 {
			require.Positive(t, c.commits(300, CleanOptions{}))
			require.Positive(t, c.check(time.Now().Add(-24*time.Hour)))
			if length == 0 {
				length = c.logLength()
			}
			require.Less(t, c.logLength(), 144*2, "a day's commits, their checkpoints, and what is about to go")
		}
	})
}

// A commit whose time is wrong, as that of a machine which began in 1970, makes
// nothing older than it is.
func TestCleanLogByAWrongClock(t *testing.T) {
	now := time.Now()
	list := func(wrong int64) func(func(objstore.Info, error) bool) {
		return func(yield func(objstore.Info, error) bool) {
			for v := range int64(20) {
				at := now.Add(time.Duration(v-20) * time.Hour)
				if v == wrong {
					at = time.Time{}
				}
				if v%5 == 0 && !yield(objstore.Info{Path: checkpointName(v), Modified: at}, nil) || !yield(objstore.Info{Path: commitName(v), Modified: at}, nil) {
					return
				}
			}
		}
	}
	for _, wrong := range []int64{-1, 10} {
		old, n, err := planCleanup(list(wrong), 20, now.Add(-12*time.Hour)) // version 8's time
		require.NoError(t, err)
		require.Equal(t, 24, n)
		require.Len(t, old, 6, "what is before version 5")
	}
	old, _, err := planCleanup(list(0), 20, now.Add(-21*time.Hour))
	require.NoError(t, err)
	require.Empty(t, old)
}

func TestCleanLogKeepsWhatItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaned(t, map[string]string{PropLogRetention: "interval 1 hour"})
		c.commits(100, CleanOptions{Before: 40})
		oldest := c.check(c.made[40])
		require.Positive(t, oldest)
		require.LessOrEqual(t, oldest, int64(40))
	})
	synctest.Test(t, func(t *testing.T) {
		c := newCleaned(t, map[string]string{PropLogRetention: "interval 1 hour", PropLogCleanup: "False"})
		require.Zero(t, c.commits(100, CleanOptions{}))
		require.Zero(t, c.check(time.Time{}))
	})
}

// A table that asks of writers what we do not know is not cleaned.
func TestCleanLogChecksTheProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaned(t, map[string]string{PropLogRetention: "interval 1 hour"})
		c.commits(60, CleanOptions{Before: 1})
		time.Sleep(1000 * time.Hour)
		line := `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors","vacuumProtocolCheck"],"writerFeatures":["deletionVectors","vacuumProtocolCheck","ofTheFuture"]}}`
		require.NoError(t, c.data.Put(t.Context(), "_delta_log/"+commitName(c.snap.Version()+1), []byte(line)))
		c.snap = must(Load(t.Context(), c.loc))
		c.snap.st.tail.mark.written()
		_, err := CleanLog(t.Context(), c.snap, CleanOptions{Files: true})
		var unsupported *UnsupportedFeatureError
		require.ErrorAs(t, err, &unsupported)
		require.Contains(t, unsupported.Feature, "ofTheFuture")
		require.Zero(t, must(OldestVersion(t.Context(), c.loc)), "nothing has gone")
	})
}

// Where everything is old, two checkpoints stay to begin at.
func TestCleanLogLeavesTwoCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaned(t, map[string]string{PropLogRetention: "interval 1 hour"})
		c.commits(60, CleanOptions{Before: 1})
		time.Sleep(100 * time.Hour)
		c.snap = must(Load(t.Context(), c.loc))
		c.snap.st.tail.mark.written()
		require.Positive(t, must(CleanLog(t.Context(), c.snap, CleanOptions{})))
		require.NoError(t, c.data.Delete(t.Context(), "_delta_log/"+checkpointName(must(newestCheckpoint(t.Context(), c.loc)))))
		require.Equal(t, c.snap.Version(), must(Load(t.Context(), c.loc)).Version(), "one of them is lost")
	})
}

func newestCheckpoint(ctx context.Context, loc Location) (int64, error) {
	files, err := listLog(ctx, loc.log(), 0)
	return completeCheckpoints(files)[0][0].version, err
}

// The data files of what is gone go too, those of what can be read stay.
func TestCleanLogRemovesFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaned(t, map[string]string{PropLogRetention: "interval 1 hour", PropDeletedRetention: "interval 3 hours"})
		c.commits(200, CleanOptions{Files: true})
		oldest := c.check(time.Now().Add(-3 * time.Hour))
		require.Positive(t, oldest)
		for v := 1; v < len(c.made); v++ {
			_, err := c.data.Stat(t.Context(), fmt.Sprint(v))
			if int64(v) >= oldest {
				require.NoError(t, err, v)
			} else if int64(v) < oldest-1 {
				require.ErrorIs(t, err, objstore.ErrNotFound, v)
			}
		}
	})
}

func TestCleanLogSparesAFileThatWasAddedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaned(t, map[string]string{PropLogRetention: "interval 1 hour", PropDeletedRetention: "interval 1 hour"})
		c.commits(30, CleanOptions{Before: 1})
		tx := Begin(c.loc, c.snap)
		tx.Add(fakeAdd("5", 1)) // as RESTORE does
		must(tx.Commit(t.Context()))
		c.snap = must(Load(t.Context(), c.loc))
		c.snap.st.tail.mark.written()
		require.Positive(t, must(CleanLog(t.Context(), c.snap, CleanOptions{Files: true})))
		must(c.data.Stat(t.Context(), "5"))
		_, err := c.data.Stat(t.Context(), "4")
		require.ErrorIs(t, err, objstore.ErrNotFound)
	})
}

// dying fails all deletes after some.
type dying struct {
	objstore.Store
	left atomic.Int64
}

var errDead = errors.New("dead")

func (d *dying) Delete(ctx context.Context, path string) error {
	if d.left.Add(-1) < 0 {
		return errDead
	}
	return d.Store.Delete(ctx, path)
}

// A cleaning that is cut off anywhere leaves a log that can be read, and the
// next one goes on.
func TestCleanLogCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaned(t, map[string]string{PropLogRetention: "interval 1 hour"})
		c.commits(60, CleanOptions{Before: 1})
		cut := 0
		for left := 0; ; left++ {
			log := &dying{Store: c.loc.log()}
			log.left.Store(int64(left))
			s := must(Load(t.Context(), Location{Data: c.data, Log: log}))
			s.st.tail.mark.written()
			_, err := CleanLog(t.Context(), s, CleanOptions{})
			newest := must(Load(t.Context(), c.loc))
			require.Equal(t, c.snap.Version(), newest.Version())
			require.Equal(t, paths(c.snap), paths(newest))
			for v := must(OldestVersion(t.Context(), c.loc)); v <= c.snap.Version(); v++ {
				must(LoadAt(t.Context(), c.loc, v))
			}
			if err == nil {
				break
			}
			require.ErrorIs(t, err, errDead)
			cut++
		}
		require.Greater(t, cut, 5)
		c.check(time.Now().Add(-time.Hour))
	})
	synctest.Test(t, func(t *testing.T) { // and the same process, too
		c := newCleaned(t, map[string]string{PropLogRetention: "interval 1 hour"})
		c.commits(60, CleanOptions{Before: 1})
		log := &dying{Store: c.loc.log()}
		s := must(Load(t.Context(), Location{Data: c.data, Log: log}))
		s.st.tail.mark.written()
		_, err := CleanLog(t.Context(), s, CleanOptions{})
		require.ErrorIs(t, err, errDead)
		log.left.Store(1000)
		s.st.tail.mark.written()
		require.Greater(t, must(CleanLog(t.Context(), s, CleanOptions{})), 40)
	})
}

// Sessions that are long over leave the table's state.
func TestCheckpointsForgetApplications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaned(t, map[string]string{PropForgetTxns: "interval 1 day"})
		c.commits(1000, CleanOptions{})
		n := 0
		for x := range must(Load(t.Context(), c.loc)).Txns() {
			require.Greater(t, *x.LastUpdated, time.Now().Add(-27*time.Hour).UnixMilli())
			n++
		}
		require.Greater(t, n, 14)
	})
}

// A checkpoint of a table that this process knows does not list its log, which
// may be long.
func TestCheckpointDoesNotListTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaned(t, nil)
		c.commits(3, CleanOptions{})
		old := c.snap
		c.commits(17, CleanOptions{})
		require.NoError(t, old.Tombstones(t.Context(), func(r *RemoveFile) error {
			require.Contains(t, []string{"1", "2"}, r.Path, "not those of the checkpoint that its followers have")
			return nil
		}))
		listed := 0
		c.loc.Log = objstore.Observe(c.loc.log(), func(op string, _ error) {
			if op == "List" {
				listed++
			}
		})
		c.snap = must(Load(t.Context(), c.loc))
		require.Equal(t, 1, listed)
		removed := func(s *Snapshot) (n int) {
			require.NoError(t, s.Tombstones(t.Context(), func(*RemoveFile) error { n++; return nil }))
			return n
		}
		require.Equal(t, 19, removed(c.snap))
		require.Equal(t, 1, listed)
		require.NoError(t, c.loc.Log.Delete(t.Context(), checkpointName(must(newestCheckpoint(t.Context(), c.loc)))))
		require.Equal(t, 19, removed(c.snap), "where that checkpoint is gone, another one is found")
	})
}
