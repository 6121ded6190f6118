package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
	"github.com/lakeload/lakeload/tablefmt/objstore/faultstore"
)

// TestCommitsUnderFaults lets writers race on a store that loses, delays and
// repeats requests, and compares what each was told with what the log holds:
// told yes, its file is in exactly one version; told no, in none, even after
// all late requests have landed; told nothing, in at most one.
func TestCommitsUnderFaults(t *testing.T) {
	yes, no, unknown := 0, 0, 0
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			y, n, u := faultRound(t, seed)
			yes, no, unknown = yes+y, no+n, unknown+u
		})
	}
	t.Logf("%d committed, %d refused, %d unknown", yes, no, unknown)
	require.Positive(t, yes)
	require.Positive(t, no)
	require.Positive(t, unknown, "the faults were too weak to tell")
}

// outcome is what a writer was told of one transaction.
type outcome struct {
	id, path string
	version  int64
	err      error
}

func faultRound(t *testing.T, seed uint64) (yes, no, unknown int) {
	ctx := context.Background()
	inner := objstore.NewMemory()
	loc := Location{Data: objstore.NewMemory(), Log: inner}
	first := create(t, loc, idSchema)
	rng := rand.New(rand.NewPCG(seed, 7))
	var rules []faultstore.Rule
	for range rng.IntN(12) {
		r := faultstore.Rule{
			Op: faultstore.OpPutIfAbsent, Nth: 1 + rng.IntN(20), Count: 1 + rng.IntN(3),
			Do: []faultstore.Action{faultstore.Fail, faultstore.SucceedThenFail, faultstore.FailUnknown, faultstore.Land}[rng.IntN(4)],
		}
		if rng.IntN(3) == 0 {
			r.Op, r.Do = faultstore.OpGet, faultstore.Fail
		}
		if rng.IntN(8) == 0 {
			r.Count = 30 // long enough that nobody finds out
		}
		rules = append(rules, r)
	}
	store, err := faultstore.New(inner, rules...)
	require.NoError(t, err)

	results := make(chan outcome, 100)
	for w := range 3 {
		go func() {
			s := first
			for i := range 4 {
				tx := Begin(Location{Data: loc.Data, Log: store}, s)
				o := outcome{id: tx.CommitID(), path: fmt.Sprintf("%d-%d", w, i)}
				tx.Add(fakeAdd(o.path, 1))
				next, err := tx.Commit(ctx)
				if o.err = err; err == nil {
					s, o.version = next, next.Version()
				}
				results <- o
			}
		}()
	}
	var all []outcome
	for range 12 {
		all = append(all, <-results)
	}
	store.Land(ctx)

	holds := map[string][]int64{} // path -> versions
	ids := map[int64]string{}
	newest := must(Load(ctx, loc)).Version()
	for v := int64(1); v <= newest; v++ {
		for _, a := range must(ReadCommit(ctx, loc, v)) {
			if a.Add != nil {
				holds[a.Add.Path] = append(holds[a.Add.Path], v)
			}
			if a.CommitInfo != nil {
				ids[v] = a.CommitInfo.TxnID
			}
		}
	}
	for _, o := range all {
		switch {
		case o.err == nil:
			yes++
			require.Equal(t, []int64{o.version}, holds[o.path], "seed %d", seed)
			require.Equal(t, o.id, ids[o.version], "seed %d", seed)
		case errors.Is(o.err, ErrOutcomeUnknown):
			unknown++
			require.LessOrEqual(t, len(holds[o.path]), 1, "seed %d", seed)
		default:
			no++
			require.Empty(t, holds[o.path], "seed %d: %v", seed, o.err)
		}
	}
	return yes, no, unknown
}

func TestV2CheckpointIsRead(t *testing.T) {
	ctx := context.Background()
	log := objstore.NewMemory()
	loc := Location{Data: objstore.NewMemory(), Log: log}
	s := busyTable(t, loc, 8)
	dead := tombstones(t, s)
	require.NoError(t, Checkpoint(ctx, s))
	// Our checkpoint becomes the sidecar of one in JSON.
	side, err := log.Get(ctx, checkpointName(s.Version()))
	require.NoError(t, err)
	require.NoError(t, log.Put(ctx, "_sidecars/a b.parquet", side))
	var actions []Action
	require.NoError(t, s.checkpointActions(ctx, func(a *Action) error {
		if a.Add == nil && a.Remove == nil {
			actions = append(actions, *a)
		}
		return nil
	}))
	body := must(encodeActions(actions))
	body = append(body, `{"checkpointMetadata":{"version":8}}`+"\n"+`{"sidecar":{"path":"a%20b.parquet","sizeInBytes":1,"modificationTime":1}}`+"\n"...)
	name := fmt.Sprintf("%020d.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json", s.Version())
	require.NoError(t, log.Put(ctx, name, body))
	require.NoError(t, log.Delete(ctx, checkpointName(s.Version())))
	for v := range s.Version() {
		require.NoError(t, log.Delete(ctx, commitName(v)))
	}
	got := must(Load(ctx, loc))
	require.Equal(t, whole(t, s), whole(t, got))
	require.Equal(t, dead, tombstones(t, got))

	require.NoError(t, log.Delete(ctx, "_sidecars/a b.parquet"))
	_, err = Load(ctx, loc)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "_sidecars/a b.parquet")
}
