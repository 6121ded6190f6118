package tablefmt

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func compactedName(from, to int64) string { return fmt.Sprintf("%020d.%020d.compacted.json", from, to) }

// compact writes a log compaction file by the protocol's rules, kept simple: of
// each key the last action stays.
func compact(t *testing.T, log objstore.Store, from, to int64) {
	t.Helper()
	ctx := context.Background()
	last := map[string]Action{}
	var order []string
	for v := from; v <= to; v++ {
		data, err := log.Get(ctx, commitName(v))
		require.NoError(t, err)
		actions := must(collectActions(data, v))
		// Removes first: a commit's order has no meaning.
		for _, removes := range []bool{true, false} {
			for _, a := range actions {
				if (a.Remove != nil) != removes {
					continue
				}
				key := ""
				switch {
				case a.Remove != nil:
					key = "file " + a.Remove.Path + " " + vectorID(a.Remove.DeletionVector)
				case a.Add != nil:
					key = "file " + a.Add.Path + " " + vectorID(a.Add.DeletionVector)
				case a.Protocol != nil:
					key = "protocol"
				case a.Metadata != nil:
					key = "metadata"
				case a.Txn != nil:
					key = "txn " + a.Txn.AppID
				case a.Domain != nil:
					key = "domain " + a.Domain.Domain
				default:
					continue
				}
				if _, ok := last[key]; !ok {
					order = append(order, key)
				}
				last[key] = a
			}
		}
	}
	rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var out []Action
	for _, key := range order {
		out = append(out, last[key])
	}
	require.NoError(t, log.Put(ctx, compactedName(from, to), must(encodeActions(out))))
}

func TestPlanCompactions(t *testing.T) {
	for _, c := range []struct {
		files string // commits 0 to 9 are there; "4-6" is a compaction
		base  int64
		end   int64
		want  string
	}{
		{"", -1, 9, ""},
		{"4-6", -1, 9, "4-6"},
		{"4-6", 3, 6, "4-6"},
		{"4-6", 4, 9, ""}, // it begins in the checkpoint
		{"4-6", 3, 5, ""}, // it goes beyond what is asked for
		{"0-3 4-6", -1, 9, "0-3 4-6"},
		{"0-3 2-8 4-6", -1, 9, "2-8"},
		{"0-3 2-6 4-9", -1, 9, "0-3 4-9"},
		{"0-4 0-9 5-9", -1, 9, "0-9"},
		{"0-4 0-9 5-9", -1, 8, "0-4"},
		{"1-2 3-4 5-6 2-7", 0, 9, "2-7"},
		{"1-9", 8, 9, ""},
	} {
		var files []logFile
		for v := range int64(10) {
			files = append(files, parseLogName(commitName(v)))
		}
		for _, f := range strings.Fields(c.files) {
			var from, to int64
			_, err := fmt.Sscanf(f, "%d-%d", &from, &to)
			require.NoError(t, err)
			files = append(files, parseLogName(compactedName(from, to)))
		}
		var got []string
		for _, s := range planCompactions(files, c.base, c.end) {
			got = append(got, fmt.Sprintf("%d-%d", s.from, s.to))
			require.Equal(t, compactedName(s.from, s.to), s.name)
		}
		require.Equal(t, c.want, strings.Join(got, " "), "%s from %d to %d", c.files, c.base, c.end)
	}
}

// countGets gives a location whose reads are counted.
func countGets(loc Location) (Location, *atomic.Int64) {
	n := new(atomic.Int64)
	return Location{Data: objstore.Observe(loc.Data, func(op string, _ error) {
		if op == "Get" {
			n.Add(1)
		}
	})}, n
}

// TestCompactions reads every version of a busy table with and without
// compactions, which begin and end anywhere.
func TestCompactions(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		loc := memoryTable()
		s := busyTable(t, loc, 8+rng.IntN(10))
		if rng.IntN(2) == 0 {
			require.NoError(t, Checkpoint(ctx, s))
		}
		s = keepBusy(t, s, 20)
		want := map[int64][]string{}
		for v := range s.Version() + 1 {
			want[v] = whole(t, must(LoadAt(ctx, loc, v)))
		}
		load := must(Load(ctx, loc)).CheckpointLoad().Commits
		_, faults := faultsOf(t, loc, CheckOptions{})
		files := len(faults) // the data files are made up
		for range 1 + rng.IntN(6) {
			from := rng.Int64N(s.Version())
			compact(t, loc.log(), from, from+1+rng.Int64N(s.Version()-from))
		}
		for v := range s.Version() + 1 {
			require.Equal(t, want[v], whole(t, must(LoadAt(ctx, loc, v))), "seed %d, version %d", seed, v)
		}
		require.Equal(t, load, must(Load(ctx, loc)).CheckpointLoad().Commits)
		require.Equal(t, want[s.Version()], whole(t, must(must(LoadAt(ctx, loc, 3)).Update(ctx))), "following far")
		report, faults := faultsOf(t, loc, CheckOptions{})
		require.Len(t, faults, files)
		require.Positive(t, report.Compactions)
	}
}

// TestCompactionsSpareReads: they are read in place of commits, and the last
// commit for what it says of itself.
func TestCompactionsSpareReads(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	s := busyTable(t, loc, 30)
	compact(t, loc.log(), 0, 9)
	compact(t, loc.log(), 10, 30)
	watched, reads := countGets(loc)
	got := must(Load(ctx, watched))
	require.Equal(t, 1+2+1, int(reads.Load()), "_last_checkpoint, two compactions, the last commit")
	require.Equal(t, whole(t, s), whole(t, got))
	require.NotEmpty(t, got.CommitID())
	require.Equal(t, s.CommitID(), got.CommitID())
	reads.Store(0)
	require.Equal(t, int64(12), must(LoadAt(ctx, watched, 12)).Version())
	require.Equal(t, 1+1+3, int(reads.Load()))
}

func TestDamagedCompactions(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	s := busyTable(t, loc, 12)
	name := compactedName(2, 9)
	compact(t, loc.log(), 2, 9)
	whole1 := must(loc.log().Get(ctx, name))
	for what, data := range map[string][]byte{
		"empty": nil, "cut": whole1[:len(whole1)/2], "no text": bytes.Repeat([]byte{0xff}, 100), "an unknown action": []byte("{\"x\":{}}\n"),
		"twice": append(bytes.Clone(whole1), whole1...),
		"another vector, not removed": []byte(`{"add":{"path":"` + must(LoadAt(ctx, loc, 1)).anyPath() +
			`","partitionValues":{"day":null},"size":1,"modificationTime":1,"dataChange":true,"deletionVector":{"storageType":"i","pathOrInlineDv":"v1","sizeInBytes":2,"cardinality":3}}}`),
		"of another reader": []byte(`{"protocol":{"minReaderVersion":9,"minWriterVersion":9}}`),
	} {
		require.NoError(t, loc.log().Put(ctx, name, data))
		require.Equal(t, whole(t, s), whole(t, must(Load(ctx, loc))), what)
		_, faults := faultsOf(t, loc, CheckOptions{})
		require.Contains(t, strings.Join(faults, "\n"), "wrong_compaction _delta_log/"+name+" 9: ", what)
	}
}

func (s *Snapshot) anyPath() string {
	for a := range s.Files() {
		return a.Path
	}
	return ""
}

// TestCompactionsWithoutExpiredTombstones: writers leave out of a compaction what
// has expired, and yet the file may be one that an earlier version added.
func TestCompactionsWithoutExpiredTombstones(t *testing.T) {
	for _, c := range []struct {
		retention string
		wait      time.Duration
		used      bool
	}{
		{"", 0, true},
		{"", 6 * 24 * time.Hour, true},
		{"", 8 * 24 * time.Hour, false},
		{"interval 0 seconds", 0, false},
		{"interval 2 hours", time.Hour, true},
		{"interval 2 hours", 2 * time.Hour, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			loc := memoryTable()
			tx := Begin(loc, nil)
			tx.SetProtocol(MirrorProtocol(ProtocolOptions{}))
			tx.SetMetadata(&Metadata{SchemaString: idSchema.JSON(), Configuration: map[string]string{PropDeletedRetention: c.retention}})
			s := must(tx.Commit(ctx))
			for v := range 6 {
				tx := Begin(loc, s)
				for a := range s.Files() {
					tx.Remove(*a.Remove(time.Now().UnixMilli(), true))
				}
				tx.Add(fakeAdd(fmt.Sprint(v), 1))
				s = must(tx.Commit(ctx))
			}
			time.Sleep(c.wait)
			kept := []Action{}
			for _, a := range must(ReadCommit(ctx, loc, 5)) {
				if a.Add != nil {
					kept = append(kept, a)
				}
			}
			for _, a := range must(ReadCommit(ctx, loc, 4)) {
				if a.Remove != nil && c.used { // else it has expired, as far as its writer knows
					kept = append(kept, a)
				}
			}
			require.NoError(t, loc.log().Put(ctx, compactedName(4, 5), must(encodeActions(kept))))
			watched, reads := countGets(loc)
			require.Equal(t, []string{"5"}, paths(must(Load(ctx, watched))))
			want := 1 + 4 + 1 + 2 + 1
			if c.used {
				want -= 2
			}
			require.Equal(t, want, int(reads.Load()), "%q %s", c.retention, c.wait)
		})
	}
}

// TestStagedCommitsAreNotRead: only a catalog knows which of them are commits, and
// a table that it manages is refused.
func TestStagedCommitsAreNotRead(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	s := busyTable(t, loc, 3)
	data := must(loc.log().Get(ctx, commitName(3)))
	for _, name := range []string{
		"_staged_commits/00000000000000000004.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json",
		"_commits/00000000000000000004.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json",
		"00000000000000000004.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json",
		"00000000000000000004.00000000000000000009.compacted.json", // of commits that are not there
	} {
		require.NoError(t, loc.log().Put(ctx, name, data))
	}
	require.Equal(t, whole(t, s), whole(t, must(Load(ctx, loc))))
	same, err := s.Update(ctx)
	require.NoError(t, err)
	require.Same(t, s, same)
	report, _ := faultsOf(t, loc, CheckOptions{})
	require.Equal(t, int64(3), report.Version)

	for _, feature := range []string{"catalogManaged", "catalogOwned-preview"} {
		loc := memoryTable()
		managed := strings.ReplaceAll(ddl, "deletionVectors", feature)
		require.NoError(t, loc.log().Put(ctx, commitName(0), []byte(managed)))
		_, err := Load(ctx, loc)
		var unsupported *UnsupportedFeatureError
		require.ErrorAs(t, err, &unsupported)
		require.Contains(t, unsupported.Feature, feature)
		require.ErrorContains(t, err, commitName(0))
	}
}
