package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// busyTable makes a table with partitions, vectors, removals, applications
// and domains, and gives its newest snapshot and its tombstones' paths.
func busyTable(t *testing.T, loc Location, commits int) *Snapshot {
	t.Helper()
	ctx := context.Background()
	schema := &Schema{Fields: []Field{{Name: "id", Type: Long, Nullable: true}, {Name: "day", Type: Date, Nullable: true}}}
	tx := Begin(loc, nil)
	o := OptionsFor(schema)
	o.DomainMetadata = true
	tx.SetProtocol(MirrorProtocol(o))
	tx.SetMetadata(&Metadata{
		Name: "busy", SchemaString: schema.JSON(), PartitionColumns: []string{"day"},
		Configuration: map[string]string{PropDeletionVectors: "true", "x": "y"},
	})
	s, err := tx.Commit(ctx)
	require.NoError(t, err)
	return keepBusy(t, s, commits)
}

func keepBusy(t *testing.T, s *Snapshot, commits int) *Snapshot {
	rng := rand.New(rand.NewPCG(1, uint64(s.Version())))
	now := time.Now().UnixMilli()
	for range commits {
		tx := Begin(s.Location(), s)
		n := 0
		for a := range s.Files() {
			if rng.IntN(6) == 0 {
				tx.Remove(*a.Remove(now, true))
				if rng.IntN(2) == 0 {
					with, err := a.WithVector(dv.Inline(dv.New(rng.Uint64N(100), rng.Uint64N(100))))
					require.NoError(t, err)
					if vectorID(with.DeletionVector) != vectorID(a.DeletionVector) {
						tx.Add(with)
					}
				}
			}
			if n++; n > 5 {
				break
			}
		}
		for i := range 3 {
			a := fakeAdd(fmt.Sprintf("f%d-%d-%d", s.Version(), i, rng.IntN(1e9)), 200)
			day := "2024-02-29"
			a.PartitionValues = map[string]*string{"day": &day}
			if i == 0 {
				a.PartitionValues["day"] = nil
				a.Tags = map[string]string{"k": "v"}
				a.ModificationTime = now
			}
			tx.Add(a)
		}
		tx.SetTxn(fmt.Sprint("app", rng.IntN(3)), s.Version())
		tx.SetDomain(fmt.Sprint("d", rng.IntN(3)), fmt.Sprint(s.Version()))
		if rng.IntN(3) == 0 {
			tx.RemoveDomain("d9")
		}
		next, err := tx.Commit(context.Background())
		require.NoError(t, err)
		s = next
	}
	return s
}

// whole gives everything that a snapshot says, but for what a checkpoint
// changes: dataChange and the commitInfo.
func whole(t *testing.T, s *Snapshot) (out []string) {
	t.Helper()
	ddl, err := encodeActions([]Action{{Protocol: s.Protocol()}, {Metadata: s.Metadata()}})
	require.NoError(t, err)
	out = append(out, describe(s.st), string(ddl))
	for _, a := range s.st.files.all() {
		c := *a
		c.DataChange = false
		b, err := encodeActions([]Action{{Add: &c}})
		require.NoError(t, err)
		out = append(out, string(b))
	}
	return out
}

func tombstones(t *testing.T, s *Snapshot) map[fileKey]string {
	t.Helper()
	m := map[fileKey]string{}
	require.NoError(t, s.Tombstones(context.Background(), func(r *RemoveFile) error {
		c := *r
		c.DataChange, c.Tags = false, nil
		k := fileKey{r.Path, vectorID(r.DeletionVector)}
		require.NotContains(t, m, k, "a tombstone twice")
		b, err := encodeActions([]Action{{Remove: &c}})
		require.NoError(t, err)
		m[k] = string(b)
		return nil
	}))
	return m
}

func TestCheckpointEqualsReplay(t *testing.T) {
	ctx := context.Background()
	log := objstore.NewMemory()
	loc := Location{Data: objstore.NewMemory(), Log: log}
	s := busyTable(t, loc, 40)
	for range 3 {
		dead := tombstones(t, s)
		require.NotEmpty(t, dead)
		require.NoError(t, Checkpoint(ctx, s))
		require.Equal(t, s.Version(), getLastCheckpoint(ctx, log).Version)
		require.Equal(t, int64(0), s.CheckpointLoad().Commits)
		require.Positive(t, s.CheckpointLoad().CheckpointBytes)

		got := must(Load(ctx, loc))
		require.Equal(t, whole(t, s), whole(t, got))
		require.Equal(t, s.CommitID(), got.CommitID())
		require.Equal(t, dead, tombstones(t, got), "tombstones survive")

		// Nothing before the checkpoint is needed.
		for v := range s.Version() {
			require.NoError(t, log.Delete(ctx, commitName(v)))
		}
		require.Equal(t, whole(t, s), whole(t, must(Load(ctx, loc))))
		_, err := LoadAt(ctx, loc, s.Version()-1)
		require.ErrorIs(t, err, ErrNoVersion)

		s = keepBusy(t, s, 15)
		got = must(Load(ctx, loc))
		require.Equal(t, whole(t, s), whole(t, got))
		require.Equal(t, int64(15), got.CheckpointLoad().Commits)
		require.Equal(t, s.CheckpointLoad(), got.CheckpointLoad())
	}
}

func TestExpiredTombstonesGo(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	s := create(t, loc, idSchema)
	m := s.Metadata().Clone()
	m.Configuration[PropDeletedRetention] = "interval 1 hour"
	tx := Begin(loc, s)
	tx.SetMetadata(m)
	tx.Add(fakeAdd("old", 1))
	tx.Add(fakeAdd("new", 1))
	s = must(tx.Commit(ctx))
	require.Equal(t, time.Hour, s.TombstoneRetention())
	tx = Begin(loc, s)
	for path, age := range map[string]time.Duration{"old": 2 * time.Hour, "new": time.Minute} {
		a, _ := s.File(path)
		tx.Remove(*a.Remove(time.Now().Add(-age).UnixMilli(), true))
	}
	s = must(tx.Commit(ctx))
	require.Len(t, tombstones(t, s), 2)
	require.NoError(t, Checkpoint(ctx, s))
	got := tombstones(t, s)
	require.Len(t, got, 1)
	require.Contains(t, got, fileKey{"new", ""})
}

// TestTombstoneOfReturnedFile: a file that was removed before a checkpoint and
// came back after it is no tombstone, and is one once when it goes again.
func TestTombstoneOfReturnedFile(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	s := create(t, loc, idSchema)
	commit := func(build func(tx *Transaction)) {
		t.Helper()
		tx := Begin(loc, s)
		build(tx)
		next, err := tx.Commit(ctx)
		require.NoError(t, err)
		s = next
	}
	now := time.Now().UnixMilli()
	a := fakeAdd("a", 1)
	commit(func(tx *Transaction) { tx.Add(a) })
	commit(func(tx *Transaction) { tx.Remove(*a.Remove(now, true)) })
	require.NoError(t, Checkpoint(ctx, s))
	require.Len(t, tombstones(t, s), 1)
	commit(func(tx *Transaction) { tx.Add(a) })
	require.Empty(t, tombstones(t, s))
	commit(func(tx *Transaction) { tx.Remove(*a.Remove(now, true)) })
	require.Len(t, tombstones(t, s), 1)
}

func TestDamagedCheckpoints(t *testing.T) {
	ctx := context.Background()
	for name, damage := range map[string]func(log objstore.Store, last int64){
		"hint is no JSON":       func(log objstore.Store, _ int64) { _ = log.Put(ctx, lastCheckpointName, []byte("{")) },
		"hint is gone":          func(log objstore.Store, _ int64) { _ = log.Delete(ctx, lastCheckpointName) },
		"hint is of the future": func(log objstore.Store, _ int64) { _ = log.Put(ctx, lastCheckpointName, []byte(`{"version":999}`)) },
		"hint is stale": func(log objstore.Store, _ int64) {
			_ = log.Put(ctx, lastCheckpointName, []byte(`{"version":5}`))
			_ = log.Delete(ctx, checkpointName(5))
		},
		"checkpoint is gone": func(log objstore.Store, last int64) { _ = log.Delete(ctx, checkpointName(last)) },
		"checkpoint is cut": func(log objstore.Store, last int64) {
			data, _ := log.Get(ctx, checkpointName(last))
			_ = log.Put(ctx, checkpointName(last), data[:len(data)/2])
		},
		"checkpoint is rubbish": func(log objstore.Store, last int64) {
			_ = log.Put(ctx, checkpointName(last), []byte(strings.Repeat("PAR1", 100)))
		},
		"parts are missing": func(log objstore.Store, last int64) {
			_ = log.Put(ctx, fmt.Sprintf("%020d.checkpoint.0000000001.0000000002.parquet", last+1), []byte("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := objstore.NewMemory()
			loc := Location{Data: objstore.NewMemory(), Log: log}
			s := busyTable(t, loc, 10)
			require.NoError(t, Checkpoint(ctx, s))
			last := s.Version()
			s = keepBusy(t, s, 3)
			damage(log, last)
			got, err := Load(ctx, loc)
			require.NoError(t, err)
			require.Equal(t, whole(t, s), whole(t, got))
			removed := tombstones(t, s)
			require.NotEmpty(t, removed)
			mine := errors.New("mine")
			require.ErrorIs(t, got.Tombstones(ctx, func(*RemoveFile) error { return mine }), mine, "not what is wrong with the log")
			require.NoError(t, Checkpoint(ctx, got), "a new one takes its place")
			for v := range got.Version() {
				_ = log.Delete(ctx, commitName(v))
			}
			again, err := Load(ctx, loc)
			require.NoError(t, err)
			require.Equal(t, whole(t, s), whole(t, again))
			require.Equal(t, removed, tombstones(t, again))
			told := 0
			require.NoError(t, again.Tombstones(ctx, func(*RemoveFile) error { told++; return nil }))
			require.Equal(t, len(removed), told, "none is told twice")
		})
	}
	t.Run("nothing to fall back to", func(t *testing.T) {
		log := objstore.NewMemory()
		loc := Location{Data: objstore.NewMemory(), Log: log}
		s := busyTable(t, loc, 3)
		require.NoError(t, Checkpoint(ctx, s))
		require.NoError(t, log.Delete(ctx, commitName(1)))
		require.NoError(t, log.Put(ctx, checkpointName(3), []byte("rubbish, rubbish, rubbish")))
		_, err := Load(ctx, loc)
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, checkpointName(3))
	})
	t.Run("gap", func(t *testing.T) {
		log := objstore.NewMemory()
		loc := Location{Data: objstore.NewMemory(), Log: log}
		busyTable(t, loc, 5)
		require.NoError(t, log.Delete(ctx, commitName(3)))
		_, err := Load(ctx, loc)
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, commitName(3))
		require.Equal(t, int64(2), must(LoadAt(ctx, loc, 2)).Version())
	})
}

func TestUpdateAcrossCleanup(t *testing.T) {
	ctx := context.Background()
	log := objstore.NewMemory()
	loc := Location{Data: objstore.NewMemory(), Log: log}
	old := busyTable(t, loc, 5)
	s := keepBusy(t, old, 20)
	require.Equal(t, whole(t, s), whole(t, must(old.Update(ctx))), "far behind")
	require.NoError(t, Checkpoint(ctx, s))
	for v := range s.Version() {
		require.NoError(t, log.Delete(ctx, commitName(v)))
	}
	got := must(old.Update(ctx))
	require.Equal(t, whole(t, s), whole(t, got), "the commits after it are gone")
}

func TestCheckpointPolicy(t *testing.T) {
	const mb = 1 << 20
	p := CheckpointPolicy{}
	require.False(t, p.Due(CheckpointLoad{Commits: 99, CommitBytes: mb}))
	require.True(t, p.Due(CheckpointLoad{Commits: 100}))
	require.False(t, p.Due(CheckpointLoad{Commits: 1000, CommitBytes: mb, CheckpointBytes: 1000 * mb}))
	require.True(t, p.Due(CheckpointLoad{Commits: 1000, CommitBytes: 500 * mb, CheckpointBytes: 1000 * mb}))
	require.True(t, p.Due(CheckpointLoad{Commits: 8000, CommitBytes: mb, CheckpointBytes: 1000 * mb}), "requests cost too")
	require.False(t, p.Due(CheckpointLoad{Commits: 300, CommitBytes: mb / 2, CheckpointBytes: 4 * mb}), "and so does writing")
	require.True(t, p.Due(CheckpointLoad{Commits: 410, CommitBytes: mb / 2, CheckpointBytes: 4 * mb}))
	require.True(t, p.Due(CheckpointLoad{Commits: 100, CommitBytes: 2 * mb, CheckpointBytes: 4 * mb}), "commits that are as large are not read for nothing")

	ctx := context.Background()
	loc := memoryTable()
	s := busyTable(t, loc, 9)
	p = CheckpointPolicy{MinCommits: 11}
	did, err := MaybeCheckpoint(ctx, s, p)
	require.NoError(t, err)
	require.False(t, did)
	s = keepBusy(t, s, 1)
	twin := must(Load(ctx, loc))
	did, err = MaybeCheckpoint(ctx, s, p)
	require.NoError(t, err)
	require.True(t, did)
	did, err = MaybeCheckpoint(ctx, s, p)
	require.NoError(t, err)
	require.False(t, did)
	did, err = MaybeCheckpoint(ctx, twin, p)
	require.NoError(t, err)
	require.False(t, did, "another process wrote it")
}
