package lakehouse_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore/faultstore"
)

// filesOf counts what the log of a table names: data files, and deletion
// vectors, each where it first appears, with their bytes.
func filesOf(t *testing.T, loc tablefmt.Location) (files, fileBytes, vectors, vectorBytes int64) {
	t.Helper()
	newest, err := tablefmt.Load(t.Context(), loc)
	require.NoError(t, err)
	seen := map[string]bool{}
	for v := int64(0); v <= newest.Version(); v++ {
		snap, err := tablefmt.LoadAt(t.Context(), loc, v)
		require.NoError(t, err)
		for add := range snap.Files() {
			if !seen[add.Path] {
				seen[add.Path] = true
				files, fileBytes = files+1, fileBytes+add.Size
			}
			if d := add.DeletionVector; d != nil && !seen[d.UniqueID()+add.Path] {
				seen[d.UniqueID()+add.Path] = true
				vectors, vectorBytes = vectors+1, vectorBytes+int64(d.SizeInBytes)
			}
		}
	}
	return files, fileBytes, vectors, vectorBytes
}

func (r *rig) engineNow() *lakehouse.Engine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running
}

// The figures equal what was done: changes by their kind, files and vectors as
// the logs name them, transactions, keys.
func TestStatsEqualWhatWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"), keyless("log"))
		r.insert("t", 0, 30)
		var rows, batches, txns atomic.Int64
		r.options = func(o *lakehouse.Options) {
			o.Events.BatchCommitted = func(e lakehouse.BatchCommitted) { // the listeners of the program hear it too
				rows.Add(e.Rows)
				batches.Add(1)
				txns.Add(int64(e.Transactions))
			}
		}
		stop := r.start()
		for i := range 10 {
			r.insert("t", 100+10*i, 107+10*i)
			r.update("t", i, "new")
			r.tx(func(tx *cdctest.Tx) error {
				if err := tx.Insert("log", cdctest.Row{"id": i, "v": "x"}); err != nil {
					return err
				}
				return tx.Delete("t", cdctest.Row{"id": 10 + i})
			})
			time.Sleep(300 * time.Millisecond)
		}
		r.insert("u", 0, 4)
		time.Sleep(time.Second)
		r.tx(func(tx *cdctest.Tx) error { return tx.Truncate("u") })
		time.Sleep(40 * time.Second) // the idle position is recorded, the slot was looked at
		s := r.engineNow().Stats()
		require.EqualValues(t, 10*(7+1+2)+4, s.Rows)
		require.EqualValues(t, 10*3+2, s.Transactions)
		require.Equal(t, []int64{rows.Load(), batches.Load(), txns.Load()}, []int64{s.Rows, s.Batches, s.Transactions})
		require.EqualValues(t, s.Batches, s.Freshness.Total())
		require.EqualValues(t, s.Batches, s.Flush.Total())
		require.Equal(t, lakehouse.ActivityStreaming, s.Activity)
		require.Nil(t, s.Trouble)
		require.EqualValues(t, 1, s.Streams)
		require.True(t, s.Status.Streaming)
		require.Equal(t, r.lastEpoch().Number, s.Status.Epoch)
		require.Zero(t, s.InFlight)
		require.Zero(t, s.Writing)
		require.Zero(t, s.Flushing)
		require.Zero(t, s.LagBytes, "all is durable")
		require.NotNil(t, s.Slot)
		require.Equal(t, r.acknowledged(), s.Slot.State.ConfirmedFlush)
		require.Less(t, s.At.Sub(s.Loops.Observer), 2*time.Second)
		require.Less(t, s.At.Sub(s.Loops.Stream), 2*time.Second)
		require.Less(t, 30*time.Second, s.At.Sub(s.LastCommit))
		require.Positive(t, s.Store.Calls["PutIfAbsent"])
		require.Empty(t, s.Store.Failures)
		require.Empty(t, s.Retries)

		require.Len(t, s.Tables, 3)
		tables := map[string]lakehouse.TableStats{}
		for _, st := range s.Tables {
			tables[st.Name] = st
			require.Equal(t, lakehouse.PhaseLive, st.Phase)
			files, fileBytes, vectors, vectorBytes := filesOf(t, r.mirror(st.Name[len("public."):]))
			require.Equal(t, []int64{files, fileBytes}, []int64{st.Files, st.FileBytes}, st.Name)
			require.Equal(t, []int64{vectors, vectorBytes}, []int64{st.Vectors, st.VectorBytes}, st.Name)
		}
		require.Positive(t, tables["public.t"].Vectors)
		kinds := func(name string) []int64 {
			st := tables[name]
			return []int64{st.Inserts, st.Updates, st.Deletes, st.Truncates}
		}
		require.Equal(t, []int64{70, 10, 10, 0}, kinds("public.t"))
		require.Equal(t, []int64{4, 0, 0, 1}, kinds("public.u"))
		require.Equal(t, []int64{10, 0, 0, 0}, kinds("public.log"))
		require.EqualValues(t, 30+70-10, tables["public.t"].Index.Keys)
		require.Positive(t, tables["public.t"].Index.Lookups)
		require.Nil(t, tables["public.log"].Index, "its rows have no identity")

		h := r.engineNow().Status().Health
		require.Len(t, h.Windows, 3)
		require.Equal(t, s.Rows, h.Windows[0].Records)
		require.Equal(t, 1.0, *h.Windows[2].SuccessRate)
		text, err := json.Marshal(h)
		require.NoError(t, err)
		require.Contains(t, string(text), `"windows":[{"seconds":60,"covered_seconds":`)
		require.NoError(t, stop())
		require.Equal(t, lakehouse.ActivityEnded, r.engineNow().Stats().Activity)
	})
}

// A flush that fails is not counted, and what is delivered again is counted
// once. What stood in the way is told while it does, and counted.
func TestStatsCountFailuresOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		lake, err := faultstore.New(r.store)
		require.NoError(t, err)
		r.options = func(o *lakehouse.Options) { o.Lake = lake }
		stop := r.start()
		require.NoError(t, lake.SetRules(faultstore.Rule{Op: faultstore.OpPutIfAbsent, Count: -1, Transient: true}))
		r.insert("t", 0, 50)
		time.Sleep(time.Minute)
		s := r.engineNow().Stats()
		for range 600 { // it may just be trying again
			if s.Activity == lakehouse.ActivityWaiting {
				break
			}
			time.Sleep(100 * time.Millisecond)
			s = r.engineNow().Stats()
		}
		require.Equal(t, lakehouse.ActivityWaiting, s.Activity)
		require.Equal(t, "writing to the lake", s.Trouble.What)
		require.Positive(t, s.Trouble.Times)
		require.False(t, s.Status.Streaming)
		require.Zero(t, s.Rows)
		require.Zero(t, s.Tables[0].Inserts)
		require.Positive(t, s.Retries["writing to the lake"])
		require.Positive(t, s.Store.Failures["PutIfAbsent"])
		require.Positive(t, s.Store.Retries)
		require.Positive(t, s.LagBytes)
		require.Less(t, 30*time.Second, s.At.Sub(s.Store.FailingSince))
		w := r.engineNow().Status().Health.Windows[1]
		require.Equal(t, 1.0, *w.ErrorRate)
		require.NoError(t, lake.SetRules())
		time.Sleep(2 * time.Minute)
		s = r.engineNow().Stats()
		require.Equal(t, lakehouse.ActivityStreaming, s.Activity)
		require.Nil(t, s.Trouble)
		require.EqualValues(t, 50, s.Rows)
		require.EqualValues(t, 50, s.Tables[0].Inserts)
		require.Greater(t, s.Streams, int64(1))
		require.Zero(t, s.Store.FailingSince)
		require.NoError(t, stop())
		r.same("t")
	})
}

// figured is a source that keeps figures, as a test sets them.
type figured struct {
	*cdctest.Source
	stats *atomic.Pointer[cdc.StreamStats]
}

func (f *figured) Stats() cdc.StreamStats { return *f.stats.Load() }

// A store that fails for long, and a spool that fills, are told once, and once
// more when that is over.
func TestAlertsAreRaisedAndResolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		lake, err := faultstore.New(r.store)
		require.NoError(t, err)
		var stats atomic.Pointer[cdc.StreamStats]
		stats.Store(&cdc.StreamStats{SpoolLimit: 1000})
		r.source = func() cdc.Source { return &figured{r.world.Source(), &stats} }
		var mu sync.Mutex
		var told []lakehouse.InfrastructureAlert
		r.options = func(o *lakehouse.Options) {
			o.Lake = lake
			o.Events.InfrastructureAlert = func(a lakehouse.InfrastructureAlert) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, a)
			}
		}
		news := func() []lakehouse.InfrastructureAlert {
			mu.Lock()
			defer mu.Unlock()
			out := told
			told = nil
			return out
		}
		fill := func(bytes int64) []lakehouse.InfrastructureAlert {
			stats.Store(&cdc.StreamStats{SpoolLimit: 1000, OnDisk: bytes})
			time.Sleep(5 * time.Second)
			return news()
		}
		stop := r.start()
		require.Empty(t, fill(790))
		alerts := fill(800)
		require.Len(t, alerts, 1)
		require.Equal(t, []any{lakehouse.AlertSpool, lakehouse.AlertWarning, int64(800), int64(1000)}, []any{alerts[0].Kind, alerts[0].Severity, alerts[0].Value, alerts[0].Limit})
		require.NotEmpty(t, alerts[0].Remedy)
		require.Empty(t, fill(900), "it stands")
		require.EqualValues(t, 900, r.engineNow().Stats().Alerts[0].Value)
		require.Empty(t, fill(750), "it does not flutter")
		alerts = fill(600)
		require.Len(t, alerts, 1)
		require.Equal(t, lakehouse.AlertResolved, alerts[0].Severity)
		require.Empty(t, r.engineNow().Stats().Alerts)

		require.NoError(t, lake.SetRules(faultstore.Rule{Op: faultstore.OpCreate, Count: -1, Transient: true}))
		r.insert("t", 0, 5)
		time.Sleep(25 * time.Second)
		require.Empty(t, news(), "it may pass")
		time.Sleep(15 * time.Second)
		alerts = news()
		require.Len(t, alerts, 1)
		require.Equal(t, []any{lakehouse.AlertStore, lakehouse.AlertCritical, int64(30)}, []any{alerts[0].Kind, alerts[0].Severity, alerts[0].Limit})
		require.Greater(t, alerts[0].Value, int64(29))
		require.NoError(t, lake.SetRules())
		time.Sleep(2 * time.Minute)
		alerts = news()
		require.Len(t, alerts, 1)
		require.Equal(t, []any{lakehouse.AlertStore, lakehouse.AlertResolved}, []any{alerts[0].Kind, alerts[0].Severity})
		require.NoError(t, stop())
	})
}

// A table that the source drops is told to be detached, once.
func TestDetachedTablesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		var mu sync.Mutex
		var told []lakehouse.TableDetached
		r.options = func(o *lakehouse.Options) {
			o.Events.TableDetached = func(e lakehouse.TableDetached) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, e)
			}
		}
		stop := r.start()
		require.NoError(t, r.world.DropTable("u"))
		r.insert("t", 0, 5)
		time.Sleep(time.Minute)
		require.NoError(t, stop())
		r.catchUp()
		require.Len(t, told, 1)
		require.Equal(t, "public.u", told[0].Table)
		require.Contains(t, told[0].Reason, "dropped")
		require.NotEmpty(t, told[0].Remedy)
		phases := map[lakehouse.TablePhase]int{}
		for _, st := range r.engineNow().Stats().Tables {
			phases[st.Phase]++
		}
		require.Equal(t, map[lakehouse.TablePhase]int{lakehouse.PhaseLive: 1, lakehouse.PhaseDetached: 1}, phases)
	})
}

// hangs is a source whose slot cannot be looked at for ever.
type hangs struct {
	*cdctest.Source
	after *atomic.Bool
}

func (h *hangs) Slot(ctx context.Context) (cdc.SlotState, error) {
	if h.after.Load() {
		<-ctx.Done()
		return cdc.SlotState{}, ctx.Err()
	}
	return h.Source.Slot(ctx)
}

// A source that does not answer holds up nothing: the loops turn, what was said
// of the slot is not told any more, and the engine ends when it is told to.
func TestASilentSourceHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		var silent atomic.Bool
		r.source = func() cdc.Source { return &hangs{r.world.Source(), &silent} }
		stop := r.start()
		r.insert("t", 0, 5)
		time.Sleep(20 * time.Second)
		require.NotNil(t, r.engineNow().Stats().Slot)
		silent.Store(true)
		time.Sleep(3 * time.Minute)
		s := r.engineNow().Stats()
		require.Nil(t, s.Slot, "it is old")
		require.Less(t, s.At.Sub(s.Loops.Observer), 3*time.Second)
		require.Less(t, s.At.Sub(s.Loops.Stream), 3*time.Second)
		require.NoError(t, stop())
	})
}

// The progress of a copy beside the stream, and the index that is made by it.
func TestStatsOfACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, cdctest.Options{Seed: 1, MaxRows: 40, KeyRows: 5}, keyed("t"))
		r.insert("t", 0, 100)
		cache := filepath.Join(t.TempDir(), "cache")
		var during []lakehouse.TableStats
		var mu sync.Mutex
		r.options = func(o *lakehouse.Options) {
			o.CacheDir = cache
			o.Events.CopyProgress = func(lakehouse.CopyProgress) {
				mu.Lock()
				defer mu.Unlock()
				during = append(during, r.engineNow().Stats().Tables...)
			}
		}
		stop := r.start()
		require.NoError(t, stop())
		most := slices.MaxFunc(during, func(a, b lakehouse.TableStats) int { return int(a.Copy.Rows - b.Copy.Rows) })
		require.Equal(t, lakehouse.PhaseCopying, most.Phase)
		require.EqualValues(t, 100, most.Copy.Rows)
		require.Equal(t, most.Copy.Ranges, most.Copy.RangesDone)
		require.Greater(t, most.Copy.Ranges, 1)
		s := r.engineNow().Stats().Tables[0]
		require.Equal(t, lakehouse.PhaseLive, s.Phase)
		require.Nil(t, s.Copy)
		require.Positive(t, s.Files)
	})
}
