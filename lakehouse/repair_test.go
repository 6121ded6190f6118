package lakehouse_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/where"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// damage makes a mirror of keyed differ in four keys: one row altered, one
// removed, one doubled, one that the source never had.
func (r *rig) damage(table string, more ...func(tx *tablefmt.Transaction)) {
	r.t.Helper()
	schema := must(must(tablefmt.Load(r.t.Context(), r.mirror(table))).Schema().Arrow())
	row := func(id int64, v string) arrow.RecordBatch {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		b.Field(0).(*array.Int64Builder).Append(id)
		b.Field(1).(*array.StringBuilder).Append(v)
		return b.NewRecordBatch()
	}
	r.alterLake(table, func(id int64) []arrow.RecordBatch {
		switch id {
		case 17:
			return []arrow.RecordBatch{row(17, "something else")}
		case 33:
			return []arrow.RecordBatch{}
		case 55:
			return []arrow.RecordBatch{row(55, "v55"), row(55, "v55")}
		case 99:
			return []arrow.RecordBatch{row(99, "v99"), row(5000, "v5000")}
		}
		return nil
	}, "id", more...)
}

// unnoticed makes a change of the lake look like the engine's own, as one would
// that the engine has made by mistake.
func (r *rig) unnoticed(table string) func(tx *tablefmt.Transaction) {
	app := fmt.Sprintf("%s/%d/%d", r.pipeline().Incarnation, r.state(table).OID, r.state(table).Generation)
	at, ok := must(tablefmt.Load(r.t.Context(), r.mirror(table))).Txn(app)
	require.True(r.t, ok)
	return func(tx *tablefmt.Transaction) { tx.SetTxn(app, at) }
}

// settled waits until the engine has caught up, and compares.
func (r *rig) settled(tables ...string) {
	r.t.Helper()
	time.Sleep(time.Minute)
	r.same(tables...)
	require.Empty(r.t, r.world.Violations())
}

// A table that is changed all the time is repaired while the others go on.
func TestRepairUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, auditRigTables...)
		var told []lakehouse.TableRepaired
		r.options = func(o *lakehouse.Options) {
			o.Events.TableRepaired = func(e lakehouse.TableRepaired) { told = append(told, e) }
		}
		r.fillAudited()
		r.catchUp()
		r.copied()
		r.damage("t", r.unnoticed("t"))
		stop := r.start()
		rest := r.work(1)
		time.Sleep(3 * time.Second)
		require.False(t, r.audit("t").Equal)
		done, err := r.engineNow().Repair(t.Context(), "public.t", lakehouse.RepairOptions{})
		require.NoError(t, err)
		require.Equal(t, []lakehouse.TableRepaired{*done}, told)
		require.EqualValues(t, 4, done.Keys)
		require.EqualValues(t, 3, done.Written, "17, 33, and 55 once")
		require.EqualValues(t, 4, done.Removed, "17, twice 55, 5000")
		require.Less(t, done.Bytes, done.TableBytes)
		time.Sleep(3 * time.Second)
		require.True(t, r.audit("t").Equal)
		again, err := r.engineNow().Repair(t.Context(), "public.t", lakehouse.RepairOptions{})
		require.NoError(t, err)
		require.Zero(t, again.Keys)
		require.Zero(t, again.Bytes)
		rest()
		r.settled("t", "wide", "bag")
		r.update("t", 55, "one row")
		r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 33}) })
		r.settled("t", "wide", "bag")
		require.NoError(t, stop())
		require.Empty(t, r.copied())
		require.Empty(t, r.stopped())
		r.insert("t", 5000, 5001) // the index has no row of it
		r.catchUp()
		r.same("t")
	})
}

// Only rows for which the condition holds, on either side, are repaired.
func TestRepairOfSomeRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, auditRigTables...)
		r.fillAudited()
		r.catchUp()
		r.damage("t", r.unnoticed("t"))
		stop := r.start()
		repair := func(text string) (*lakehouse.Repaired, error) {
			r.insert("t", 10_000+len(text), 10_001+len(text)) // passes the point
			time.Sleep(5 * time.Second)
			return r.engineNow().Repair(t.Context(), "public.t", lakehouse.RepairOptions{Where: must(where.Parse(text))})
		}
		require.Zero(t, must(repair("id < 17")).Keys)
		done := must(repair("v = 'something else'"))
		require.EqualValues(t, 1, done.Keys, "which holds in the lake alone")
		require.EqualValues(t, 1, done.Written)
		done = must(repair("id in (33, 34, 35)"))
		require.EqualValues(t, [3]int64{1, 1, 0}, [3]int64{done.Keys, done.Written, done.Removed})
		require.EqualValues(t, 3, done.SourceRows)
		_, err := repair("nope = 1")
		require.ErrorIs(t, err, lakehouse.ErrCondition)
		time.Sleep(5 * time.Second)
		require.Equal(t, 2, len(r.audit("t").Differences))
		require.EqualValues(t, 2, must(repair("id >= 0 and id is not null")).Keys)
		r.settled("t")
		require.NoError(t, stop())
		r.insert("t", 300, 310)
		r.catchUp()
		r.same("t", "wide", "bag")
	})
}

// Tables of every kind that have stopped because somebody has changed them are
// mended, and go on.
func TestRepairOfStoppedTables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, auditRigTables...)
		r.fillAudited()
		r.catchUp()
		r.copied()
		r.damage("t")
		for table, column := range map[string]string{"wide": "b", "bag": "n"} {
			r.alterLake(table, func(id int64) []arrow.RecordBatch {
				if id == 2 {
					return []arrow.RecordBatch{}
				}
				return nil
			}, column)
		}
		stop := r.start()
		require.ElementsMatch(t, []string{"public.t", "public.wide", "public.bag"}, r.stopped())
		r.insert("t", 200, 205)
		r.tx(func(tx *cdctest.Tx) error {
			return errors.Join(
				tx.Update("wide", cdctest.Row{"a": "k5", "b": 5}, cdctest.Row{"d": "7.00"}),
				tx.Delete("bag", cdctest.Row{"n": 1, "d": "1.50"}),
				tx.Insert("bag", cdctest.Row{"n": 7, "d": cdctest.Exact("NaN")}))
		})
		_, err := r.engineNow().Repair(t.Context(), "public.t", lakehouse.RepairOptions{Where: must(where.Parse("id = 17"))})
		require.ErrorIs(t, err, lakehouse.ErrNotRepaired)
		for table, keys := range map[string]int64{"t": 4 + 5, "wide": 2, "bag": 3} {
			done, err := r.engineNow().Repair(t.Context(), "public."+table, lakehouse.RepairOptions{})
			require.NoError(t, err)
			require.Equal(t, keys, done.Keys, table)
			require.False(t, done.Copied)
			require.Equal(t, lakehouse.PhaseLive, r.state(table).Phase)
		}
		require.Len(t, r.copied(), 3, "as copies are told")
		r.insert("t", 205, 210)
		r.tx(func(tx *cdctest.Tx) error { return tx.Delete("bag", cdctest.Row{"n": 1, "d": "1.50"}) })
		r.settled("t", "wide", "bag")
		require.NoError(t, stop())
		r.update("t", 55, "again")
		r.catchUp()
		r.same("t", "wide", "bag")
		require.Empty(t, r.stopped())
	})
}

// Whatever cannot be compared is refused, and whatever goes wrong leaves the
// table as it was, and going on.
func TestRepairThatIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, auditRigTables...)
		broken := &noReading{}
		r.source = func() cdc.Source { broken.Source = r.world.Source(); return broken }
		r.fillAudited()
		r.catchUp()
		r.damage("t", r.unnoticed("t"))
		stop := r.start()
		_, err := r.engineNow().Repair(t.Context(), "public.nope", lakehouse.RepairOptions{})
		require.ErrorIs(t, err, lakehouse.ErrUnknownTable)
		_, err = r.engineNow().Repair(t.Context(), "public.other", lakehouse.RepairOptions{})
		require.ErrorIs(t, err, lakehouse.ErrNotRepaired)
		broken.err = errors.New("no reading today")
		before := must(tablefmt.Load(t.Context(), r.mirror("t"))).Version()
		_, err = r.engineNow().Repair(t.Context(), "public.t", lakehouse.RepairOptions{})
		require.ErrorIs(t, err, broken.err)
		require.Equal(t, before, must(tablefmt.Load(t.Context(), r.mirror("t"))).Version())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		broken.err, broken.waits = nil, true
		_, err = r.engineNow().Repair(ctx, "public.t", lakehouse.RepairOptions{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		broken.waits = false
		r.insert("t", 500, 505)
		time.Sleep(time.Minute)
		require.Equal(t, "public.t", "public."+r.state("t").Table)
		require.Equal(t, lakehouse.PhaseLive, r.state("t").Phase)
		require.Len(t, r.audit("t").Differences, 4, "it goes on, as wrong as it was")
		// The engine is stopped in the middle of one.
		broken.waits = true
		failed := make(chan error, 1)
		wait, giveUp := context.WithTimeout(t.Context(), 5*time.Minute)
		defer giveUp()
		go func() {
			_, err := r.engineNow().Repair(wait, "public.t", lakehouse.RepairOptions{})
			failed <- err
		}()
		time.Sleep(time.Second)
		r.insert("t", 505, 510)
		r.insert("other", 505, 510)
		time.Sleep(10 * time.Second)
		require.Contains(t, r.lastEpoch().Incomplete, "public.t", "the others have gone on")
		require.NoError(t, stop())
		require.Error(t, <-failed)
		broken.waits = false
		stop = r.start()
		require.Len(t, r.audit("t").Differences, 4, "nothing is lost that came meanwhile")
		done, err := r.engineNow().Repair(t.Context(), "public.t", lakehouse.RepairOptions{})
		require.NoError(t, err)
		require.EqualValues(t, 4, done.Keys)
		r.settled("t", "wide", "bag")
		require.NoError(t, stop())
	})
}

// noReading is a source whose snapshots cannot be read at times.
type noReading struct {
	cdc.Source
	err   error
	waits bool
}

type noReadingSnapshot struct {
	cdc.Snapshot
	of *noReading
}

func (s *noReading) Snapshot(ctx context.Context) (cdc.Snapshot, error) {
	snap, err := s.Source.Snapshot(ctx)
	return &noReadingSnapshot{snap, s}, err
}

func (s *noReadingSnapshot) Read(ctx context.Context, rel *cdc.Relation, r cdc.Range, emit func(*cdc.Batch) error) error {
	for s.of.waits {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.of.err != nil {
		return s.of.err
	}
	return s.Snapshot.Read(ctx, rel, r, emit)
}

// What a repair has changed of a mirror its changelog tells.
func TestRepairIsInTheChangelog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), auditRigTables[3])
		r.options = func(o *lakehouse.Options) {
			o.Table = func(*cdc.Relation) lakehouse.TableOptions {
				return lakehouse.TableOptions{Modes: []lakehouse.Mode{lakehouse.ModeMirror, lakehouse.ModeChangelog}}
			}
		}
		r.insert("t", 0, 100)
		r.tx(func(tx *cdctest.Tx) error {
			return errors.Join(tx.Insert("bag", cdctest.Row{"n": 1, "d": "1.50"}), tx.Insert("bag", cdctest.Row{"n": 1, "d": "1.50"}), tx.Insert("bag", cdctest.Row{"n": 2, "d": cdctest.Exact("NaN")}))
		})
		r.catchUp()
		r.damage("t", r.unnoticed("t"))
		taken := 0
		r.alterLake("bag", func(n int64) []arrow.RecordBatch {
			if taken++; n == 1 && taken <= 2 {
				return []arrow.RecordBatch{}
			}
			return nil
		}, "n", r.unnoticed("bag"))
		stop := r.start()
		r.insert("t", 200, 201)
		time.Sleep(5 * time.Second)
		before := count(r.rows(r.changelog("t")))
		done := must(r.engineNow().Repair(t.Context(), "public.t", lakehouse.RepairOptions{}))
		require.EqualValues(t, 4, done.Keys)
		bag := must(r.engineNow().Repair(t.Context(), "public.bag", lakehouse.RepairOptions{}))
		require.Positive(t, bag.Keys)
		r.insert("t", 100, 105)
		r.settled("t", "bag")
		marks, seq := map[string]int{}, -1_000_000_000+2*r.state("t").Generation
		for text, n := range r.rows(r.changelog("t")) {
			for id, v := range map[int]string{17: "v17", 33: "v33", 55: "v55"} {
				if text == fmt.Sprintf("_commit_time=NULL;_lsn=%d;_op=R;_seq=%d;_unchanged=NULL;_xid=0;id=%d;v=%s;", done.LSN, seq, id, v) {
					marks[fmt.Sprint(id)] += n
				}
			}
			if text == fmt.Sprintf("_commit_time=NULL;_lsn=%d;_op=D;_seq=%d;_unchanged=NULL;_xid=0;id=5000;v=NULL;", done.LSN, seq) {
				marks["5000"] += n
			}
		}
		require.Equal(t, map[string]int{"17": 1, "33": 1, "55": 1, "5000": 1}, marks)
		require.Equal(t, before+4+5, count(r.rows(r.changelog("t"))))
		require.NoError(t, stop())
		r.update("t", 17, "x")
		r.catchUp()
		r.same("t", "bag")
	})
}

// After a lost slot the tables are compared with the new one's snapshot: what is
// equal stays in its files, whatever the engine is stopped in the middle of.
func TestAdoptionRepairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, auditRigTables...)
		var told map[string]lakehouse.TableRepaired
		r.options = func(o *lakehouse.Options) {
			o.Events.TableRepaired = func(e lakehouse.TableRepaired) { told[e.Table] = e }
		}
		r.fillAudited()
		r.catchUp()
		for range 3 {
			told = map[string]lakehouse.TableRepaired{}
			r.copied()
			was := r.pipeline()
			files := map[string]bool{}
			for add := range must(tablefmt.Load(t.Context(), r.mirror("t"))).Files() {
				files[add.Path] = true
			}
			r.world.RemoveSlot()
			n := 1000 * (len(was.Adoptions) + 1)
			r.insert("t", n, n+5)
			r.update("t", 7, fmt.Sprint("while it was lost ", n))
			r.tx(func(tx *cdctest.Tx) error {
				return errors.Join(
					tx.Delete("t", cdctest.Row{"id": 50 + len(was.Adoptions)}),
					tx.Update("t", cdctest.Row{"id": 10 + len(was.Adoptions)}, cdctest.Row{"id": n + 100}),
					tx.Insert("bag", cdctest.Row{"n": n, "d": "1.50"}))
			})
			require.Error(t, r.engine(t.Context(), true))
			plan, err := r.planRepair()
			require.NoError(t, err)
			for _, table := range plan.Tables {
				require.Equal(t, table.Name != "public.other", table.Repaired, table.Name)
				require.NotEqual(t, table.Copied, table.Repaired)
			}
			require.NoError(t, plan.Do(t.Context()))
			r.catchUp()
			r.same("t", "wide", "bag", "other")
			require.ElementsMatch(t, []string{"public.t", "public.wide", "public.bag", "public.other"}, r.copied())
			require.Len(t, told, 3)
			require.EqualValues(t, 5+1+1+2, told["public.t"].Keys)
			require.Zero(t, told["public.wide"].Keys)
			require.EqualValues(t, 1, told["public.bag"].Keys)
			kept := 0
			for add := range must(tablefmt.Load(t.Context(), r.mirror("t"))).Files() {
				if files[add.Path] {
					kept++
				}
			}
			require.Equal(t, len(files), kept, "no file that was there was rewritten")
			require.NotEqual(t, was.Incarnation, r.pipeline().Incarnation)
			require.False(t, r.state("t").Repair)
			r.tx(func(tx *cdctest.Tx) error { // in one file, which the next repair does not empty
				err := tx.Update("t", cdctest.Row{"id": 7}, cdctest.Row{"v": "after"})
				for i := n + 200; i < n+210; i++ {
					err = errors.Join(err, tx.Insert("t", cdctest.Row{"id": i, "v": fmt.Sprint("row ", i)}))
				}
				return err
			})
			r.catchUp()
			r.same("t", "wide", "bag", "other")
			require.Empty(t, r.stopped())
		}
	})
}

func (r *rig) planRepair() (*lakehouse.Takeover, error) {
	src := r.world.Source()
	r.t.Cleanup(func() { _ = src.Close() })
	return lakehouse.PlanAdoption(r.t.Context(), lakehouse.AdoptOptions{
		Source: src, Repair: true, By: "the test", Engine: lakehouse.Options{Lake: r.store, Slot: "s", Publication: "p"},
	})
}

// An adoption that repairs is cut off at every point that it passes; whatever is
// left, the next start ends with the source's rows, and goes on.
func TestAdoptionRepairsAfterCrashes(t *testing.T) {
	crashes := 0
	for _, p := range []crashpoint.Point{
		crashpoint.SlotCreating, crashpoint.SlotCreated, crashpoint.SlotReady, crashpoint.DataFileWritten, crashpoint.VectorsWritten,
		crashpoint.CopyBeforeSwap, crashpoint.BeforeCommit, crashpoint.AfterCommit, crashpoint.CopyAfterSwap, crashpoint.CopyClearing, crashpoint.EpochCommitted,
	} {
		for nth := 1; nth <= 4; nth++ {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, auditRigTables...)
				r.fillAudited()
				r.catchUp()
				r.world.RemoveSlot()
				r.insert("t", 1000, 1005)
				r.update("t", 7, "while it was lost")
				r.tx(func(tx *cdctest.Tx) error {
					return errors.Join(
						tx.Delete("t", cdctest.Row{"id": 50}), tx.Update("t", cdctest.Row{"id": 10}, cdctest.Row{"id": 2000}),
						tx.Delete("wide", cdctest.Row{"a": "k1", "b": 1}),
						tx.Insert("bag", cdctest.Row{"n": 1, "d": "1.50"}), tx.Delete("bag", cdctest.Row{"n": 1, "d": "1.50"}), tx.Delete("bag", cdctest.Row{"n": 0}))
				})
				plan, err := r.planRepair()
				require.NoError(t, err)
				require.NoError(t, plan.Do(t.Context()))
				store := r.store.(*objstore.Memory)
				var mu sync.Mutex
				crash, crashed := crashAt(p, nth), false
				crashpoint.Set(func(at crashpoint.Point) {
					mu.Lock()
					defer mu.Unlock()
					if crash(at) {
						crashed = true
						r.world.Crash()
						store.Crash()
					}
				})
				err = r.engine(t.Context(), true)
				crashpoint.Set(nil)
				if crashed {
					crashes++
					require.Error(t, err)
					r.store = store.Survivor(rand.New(rand.NewPCG(uint64(nth), 1)))
				} else {
					require.NoError(t, err)
				}
				r.insert("t", 3000, 3003) // also if the slot is there already
				r.update("t", 7, "after the crash")
				r.catchUp()
				r.same("t", "wide", "bag", "other")
				r.update("t", 2000, "and on")
				r.catchUp()
				r.same("t")
				require.Empty(t, r.stopped(), "%s %d", p, nth)
			})
		}
	}
	require.Greater(t, crashes, 20)
}
