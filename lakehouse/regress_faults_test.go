package lakehouse_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strings"
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

// A changelog is never rewritten, so rows that a copy has put there stay when
// the copy is begun again.
func TestABrokenCopyDoesNotDoubleTheChangelogsSnapshot(t *testing.T) {
	for _, path := range []string{"public/t/_delta_log/*", "public/t_changelog/_delta_log/*"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"))
				r.bothModes()
				r.insert("t", 0, 10)
				faults := r.inject(faultstore.Rule{Op: faultstore.OpPutIfAbsent, Path: path})
				require.ErrorIs(t, r.engine(t.Context(), true), faultstore.ErrInjected)
				require.Equal(t, []int{1}, faults.Hits())
				r.catchUp()
				r.same("t")
				require.Equal(t, 10, count(r.rows(r.changelog("t"))))
			})
		})
	}
}

// inject lets the lake's store fail.
func (r *rig) inject(rules ...faultstore.Rule) *faultstore.Store {
	r.t.Helper()
	s, err := faultstore.New(r.store, rules...)
	require.NoError(r.t, err)
	r.store = s
	return s
}

// passing are the ways in which a store's failure passes: by itself, or once
// somebody has made room.
var passing = map[string]func(*faultstore.Rule){
	"in passing": func(r *faultstore.Rule) { r.Transient = true },
	"refused":    func(r *faultstore.Rule) { r.Blocked = true },
}

func TestAStoreErrorThatPassesDoesNotEndTheEngine(t *testing.T) {
	for name, rule := range map[string]faultstore.Rule{
		"one commit":           {Op: faultstore.OpPutIfAbsent, Path: "public/t/_delta_log/*"},
		"a commit and retries": {Op: faultstore.OpPutIfAbsent, Path: "public/t/_delta_log/*", Count: 12},
		"a data file":          {Op: faultstore.OpClose, Path: "public/t/*.parquet"},
		"an epoch":             {Op: faultstore.OpPutIfAbsent, Path: "_lakeload/default/epochs/**", Count: 7},
		"an answer":            {Op: faultstore.OpPutIfAbsent, Path: "public/t/_delta_log/*", Do: faultstore.SucceedThenFail, Count: 2},
		"everything":           {Count: 100}, // the store is away for a while
	} {
		for how, mark := range passing {
			if how == "refused" && rule.Do == faultstore.SucceedThenFail {
				continue // what was refused has not happened
			}
			t.Run(name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, keyed("t"), keyed("u"))
					faults := r.inject()
					r.insert("t", 0, 10)
					stop := r.start()
					rule := rule
					mark(&rule)
					require.NoError(t, faults.SetRules(rule))
					r.insert("t", 10, 20)
					r.update("t", 3, "changed")
					r.insert("u", 0, 10)
					time.Sleep(40 * time.Minute)
					require.Equal(t, []int{max(rule.Count, 1)}, faults.Hits())
					r.same("t", "u") // by the engine that ran all the time
					require.NoError(t, stop())
					require.Empty(t, r.stopped())
					require.Equal(t, r.world.Head(), r.acknowledged())
				})
			})
		}
	}
}

// A copy goes on when the store can be used again, too, before the stream has
// begun and beside it, under a snapshot and by key ranges.
func TestACopyOutlastsAStoreErrorThatPasses(t *testing.T) {
	rules := map[string]faultstore.Rule{
		"a data file":      {Op: faultstore.OpClose, Path: "public/t/*.parquet", Count: 9},
		"the copy's log":   {Op: faultstore.OpPutIfAbsent, Path: "_lakeload/default/copies/**", Count: 9},
		"the table's log":  {Op: faultstore.OpPutIfAbsent, Path: "public/t/_delta_log/*", Count: 9},
		"everything":       {Count: 200},
		"the first epochs": {Op: faultstore.OpPutIfAbsent, Path: "_lakeload/default/epochs/**", Count: 9},
	}
	for _, byRanges := range []bool{false, true} {
		for name, rule := range rules {
			for how, mark := range passing {
				t.Run(fmt.Sprintf("%s, %s, by ranges %t", name, how, byRanges), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r, _ := newRangeRig(t)
						if !byRanges {
							r = newRig(t, keyed("t"), keyless("other"))
							r.insert("t", 0, 40)
						}
						faults := r.inject()
						rule := rule
						mark(&rule)
						again := name == "everything" // at the very start that refuses the lake itself
						if !again {
							require.NoError(t, faults.SetRules(rule))
						}
						stop := r.start()
						if again {
							_, err := r.engineNow().Act(t.Context(), "public.t", lakehouse.ActionResync)
							require.NoError(t, err)
							require.NoError(t, faults.SetRules(rule))
						}
						r.update("t", 3, "changed")
						time.Sleep(3 * time.Hour)
						require.Equal(t, []int{max(rule.Count, 1)}, faults.Hits())
						r.same("t")
						require.NoError(t, stop())
						require.Empty(t, r.stopped())
						require.Equal(t, lakehouse.PhaseLive, r.state("t").Phase)
					})
				})
			}
		}
	}
}

func TestAStopReturnsWithinItsGraceThoughTheStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		faults := r.inject()
		r.insert("t", 0, 10)
		stop := r.start()
		never := make(chan struct{})
		require.NoError(t, faults.SetRules(faultstore.Rule{
			Op: faultstore.OpPutIfAbsent, Path: "**/_delta_log/*", Do: faultstore.Hold, Until: never, Count: -1,
		}))
		r.insert("t", 10, 20)
		time.Sleep(time.Second)
		begun := time.Now()
		require.NoError(t, stop())
		require.LessOrEqual(t, time.Since(begun), 31*time.Second)
		require.Equal(t, []int{1}, faults.Hits())
		require.NoError(t, faults.SetRules())
		r.catchUp()
		r.same("t")
	})
}

// A transaction that is staged in parts is in the lake whole or not at all,
// whatever happens between the parts.
func TestEdge04NothingOfAnUnfinishedTransactionIsCommitted(t *testing.T) {
	const rows = 400
	specs := map[string]cdctest.TableSpec{"keyed": keyed("t"), "keyless": keyless("t")}
	for kind, spec := range specs {
		for name, stalled := range map[string]func(r *rig, stall *stalling){
			"a stall": func(r *rig, _ *stalling) { r.catchUp() },
			"a stall and a crash": func(r *rig, stall *stalling) {
				stall.begun = func() { time.AfterFunc(time.Second, r.world.Crash) }
				require.ErrorIs(r.t, r.engine(r.t.Context(), true), cdctest.ErrCrashed)
			},
			"a stop in a file":  stopAfter(5 * time.Millisecond),
			"a stop in a flush": stopAfter(15 * time.Millisecond),
			"a stop after it":   stopAfter(30 * time.Millisecond),
			"a stop in a stall": stopAfter(time.Second),
		} {
			for open := 1; open <= 3; open++ {
				t.Run(fmt.Sprintf("%s, %s, after %d parts", kind, name, open), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := newRig(t, spec)
						r.catchUp()
						r.insert("t", 0, rows)
						r.options = func(o *lakehouse.Options) { o.FlushBytes = 1 } // stages every chunk
						faults := r.inject(faultstore.Rule{Op: faultstore.OpCreate, Do: faultstore.Delay, Wait: 20 * time.Millisecond, Count: -1})
						stall := &stalling{after: open, begun: func() {}}
						r.source = func() cdc.Source { stall.Source = r.world.Source(); return stall }
						stalled(r, stall)
						require.True(t, stall.hit.Load(), "nothing was staged in parts")
						require.Positive(t, faults.Hits()[0])
						r.source = func() cdc.Source { return r.world.Source() }
						r.catchUp()
						require.Empty(t, r.stopped())
						r.same("t")
						wholeVersions(r, rows)
					})
				})
			}
		}
	}
}

func stopAfter(wait time.Duration) func(r *rig, stall *stalling) {
	return func(r *rig, stall *stalling) {
		ctx, cancel := context.WithCancel(r.t.Context())
		defer cancel()
		stall.begun = func() { time.AfterFunc(wait, cancel) }
		require.NoError(r.t, r.engine(ctx, false))
		require.Zero(r.t, count(r.rows(r.mirror("t"))))
	}
}

// wholeVersions requires that no version of t ever showed a part of the rows.
func wholeVersions(r *rig, rows int) {
	r.t.Helper()
	newest, err := tablefmt.Load(r.t.Context(), r.mirror("t"))
	require.NoError(r.t, err)
	for v := int64(0); v <= newest.Version(); v++ {
		snap, err := tablefmt.LoadAt(r.t.Context(), r.mirror("t"), v)
		require.NoError(r.t, err)
		require.Contains(r.t, []int{0, rows}, count(lakeRows(r.t, snap)), "version %d", v)
	}
}

// stalling is a source whose stream pauses once inside a transaction.
type stalling struct {
	cdc.Source
	after int    // chunks that end inside a transaction
	begun func() // called when the pause begins
	hit   atomic.Bool
}

type stallingStream struct {
	cdc.Stream
	s    *stalling
	seen int
}

func (s *stalling) Stream(ctx context.Context, from cdc.LSN) (cdc.Stream, error) {
	st, err := s.Source.Stream(ctx, from)
	if err != nil {
		return nil, err
	}
	return &stallingStream{Stream: st, s: s}, nil
}

func (st *stallingStream) Next(ctx context.Context) (*cdc.Chunk, error) {
	if st.seen == st.s.after && st.s.hit.CompareAndSwap(false, true) {
		st.s.begun()
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c, err := st.Stream.Next(ctx)
	if err == nil && c.Open {
		st.seen++
	}
	return c, err
}

// Values that the source did not send are read from the lake. Their rows may
// lie far from one another, and what is between them is not kept; or they may
// be more than fit into memory.
func TestFillsStayWithinABoundOfMemory(t *testing.T) {
	const rows = 1500
	large := strings.Repeat("0123456789abcdef", 4096) // 64 KiB
	for name, c := range map[string]struct {
		updates int
		bound   int64 // bytes
	}{"sparse": {24, 64 << 20}, "dense": {rows, 128 << 20}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, cdctest.TableSpec{Name: "t", Key: []string{"id"}, Columns: []cdc.Column{
				cdctest.Int64("id"), cdctest.Text("v"), cdctest.Text("doc"),
			}})
			r.options = func(o *lakehouse.Options) { o.TargetFileSize = 1 << 30 } // one file
			for id := range rows {
				r.tx(func(tx *cdctest.Tx) error {
					return tx.Insert("t", cdctest.Row{"id": id, "v": "a", "doc": fmt.Sprint(id, large)})
				})
			}
			r.catchUp()
			r.tx(func(tx *cdctest.Tx) error {
				for id := 0; id < rows; id += rows / c.updates {
					if err := tx.Update("t", cdctest.Row{"id": id}, cdctest.Row{"v": "b"}); err != nil {
						return err
					}
				}
				return nil
			})
			before, peak := heapWhile(r.catchUp)
			t.Logf("%d updates of a table of %d MiB: the heap went from %d to %d MiB", c.updates, rows*len(large)>>20, before>>20, peak>>20)
			require.Less(t, int64(peak)-int64(before), c.bound)
			r.same("t")
		})
	}
}

// heapWhile gives the bytes of the heap's objects before f, and the most
// while f runs, with a collector that leaves little garbage.
func heapWhile(f func()) (before, peak uint64) {
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	heap := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	debug.FreeOSMemory()
	before = heap()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			peak = max(peak, heap())
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	f()
	close(stop)
	<-done
	return before, peak
}

func TestKeyIndexesOfOldCopiesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.options = func(o *lakehouse.Options) { o.CacheDir = dir }
		r.insert("t", 0, 10)
		r.catchUp()
		for i := range 3 {
			r.mend("t")
			r.update("t", i, "changed")
			r.catchUp()
			r.same("t")
			require.ElementsMatch(t, []string{indexOf(r.state("t")), indexOf(r.state("u"))}, indexFolders(t, dir))
		}
	})
}

func indexOf(t lakehouse.TableState) string { return fmt.Sprintf("%d-%d", t.OID, t.Generation) }

func indexFolders(t *testing.T, dir string) []string {
	entries, err := os.ReadDir(filepath.Join(dir, "default", "keyindex"))
	require.NoError(t, err)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}
