package lakehouse_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/typemap"
)

// A table that nothing happens to after its columns have changed follows them
// all the same: no change of its own tells of them.
func TestEdge42ColumnsOfAQuietTableAreFollowed(t *testing.T) {
	for name, alter := range map[string]struct {
		do     func(tx *cdctest.Tx) error
		resync bool
	}{
		"added":   {do: func(tx *cdctest.Tx) error { return tx.AddColumn("t", cdctest.Text("n"), "given") }},
		"dropped": {do: func(tx *cdctest.Tx) error { return tx.DropColumn("t", "v") }},
		"renamed": {do: func(tx *cdctest.Tx) error { return tx.RenameColumn("t", "v", "w") }},
		"filled": {
			do: func(tx *cdctest.Tx) error {
				return tx.FillColumn("t", cdctest.Int64("n"), func(r cdctest.Row) any { return r["id"] })
			},
			resync: true,
		},
		"twice": {do: func(tx *cdctest.Tx) error {
			if err := tx.AddColumn("t", cdctest.Text("n"), "given"); err != nil {
				return err
			}
			return tx.AddColumn("t", cdctest.Text("m"), nil)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"), keyed("u"))
				r.policy = typemap.Policy{Drop: typemap.Follow, Type: typemap.Resync}
				r.options = func(o *lakehouse.Options) {
					o.Table = func(*cdc.Relation) lakehouse.TableOptions {
						return lakehouse.TableOptions{Modes: []lakehouse.Mode{lakehouse.ModeMirror, lakehouse.ModeChangelog}}
					}
				}
				r.insert("t", 0, 10)
				stop := r.start()
				r.copied()
				r.tx(alter.do)
				r.insert("u", 0, 3)
				time.Sleep(time.Minute)
				r.same("t", "u")
				if alter.resync {
					require.Equal(t, []string{"public.t"}, r.copied())
				} else {
					require.Empty(t, r.copied())
				}
				r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 3}) })
				time.Sleep(time.Minute)
				r.same("t")
				require.NoError(t, stop())
				r.catchUp()
				r.same("t", "u")
				require.Empty(t, r.stopped())
			})
		})
	}
}

// A table that has stopped and is then dropped is let go, and with it the
// acknowledgement.
func TestEdge45AStoppedTableThatIsDroppedIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 3)
		r.insert("u", 0, 3)
		r.policy.Add = typemap.Stop
		stop := r.start()
		r.breakShape("t", 9)
		r.insert("u", 3, 5)
		time.Sleep(time.Minute)
		require.Equal(t, []string{"public.t"}, r.stopped())
		held := r.acknowledged()
		require.NoError(t, r.world.DropTable("t"))
		r.insert("u", 5, 7)
		time.Sleep(time.Minute)
		require.Equal(t, lakehouse.PhaseDetached, r.state("t").Phase)
		r.insert("u", 7, 9)
		time.Sleep(time.Minute)
		require.NoError(t, stop()) // an idle source may hear of it no earlier
		require.Greater(t, r.acknowledged(), held)
		r.catchUp()
		r.same("u")
		require.Empty(t, r.stopped())
	})
}

// A change that does not fit may be the first to tell of what the source has
// done without a word: the table is not stopped for it where the policy says
// otherwise, however seldom the catalogue is looked at.
func TestEdge46AChangeThatDoesNotFitIsExplainedByTheCatalogue(t *testing.T) {
	for name, action := range map[string]typemap.Action{"resync": typemap.Resync, "stop": typemap.Stop} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, cdctest.TableSpec{Name: "bag", Identity: cdc.IdentityFull, Columns: []cdc.Column{cdctest.Int64("id"), cdctest.Text("v")}}, keyed("u"))
				r.options = func(o *lakehouse.Options) {
					o.OnUntold.Rewrite, o.WatchInterval = action, time.Hour
				}
				r.insert("bag", 0, 5)
				stop := r.start()
				r.tx(func(tx *cdctest.Tx) error {
					return tx.Rewrite("bag", func(row cdctest.Row) cdctest.Row { return cdctest.Row{"id": row["id"], "v": "anew"} })
				})
				r.tx(func(tx *cdctest.Tx) error { return tx.Delete("bag", cdctest.Row{"id": 3, "v": "anew"}) })
				time.Sleep(time.Minute)
				if action == typemap.Stop {
					require.Contains(t, r.state("bag").Reason, "written anew")
					r.staysStopped("bag")
					return
				}
				r.same("bag")
				require.NoError(t, r.world.DropTable("bag"))
				require.NoError(t, stop())
				require.Empty(t, r.stopped())
			})
		})
	}
}

// away is a source whose catalogue cannot be asked for a while.
type away struct {
	*cdctest.Source
	gone *atomic.Bool
}

func (a away) Tables(ctx context.Context) ([]*cdc.Relation, error) {
	if a.gone.Load() {
		return nil, &cdc.Error{Op: "listing the source's tables", Class: cdc.ClassRetry, Err: errors.New("connection refused")}
	}
	return a.Source.Tables(ctx)
}

// The source goes away just as the tables are opened anew, because one has been
// copied while another is still to be: that is waited out.
func TestEdge13SourceAwayWhileTablesAreOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, cdctest.Options{Seed: 1, KeyRows: 5}, keyed("t"))
		var gone atomic.Bool
		r.source = func() cdc.Source { return away{r.world.Source(), &gone} }
		r.options = func(o *lakehouse.Options) {
			finished := o.Events.CopyFinished
			o.Events.CopyFinished = func(ev lakehouse.CopyFinished) {
				finished(ev)
				if ev.Table == "public.under" {
					gone.Store(true)
					time.AfterFunc(20*time.Second, func() { gone.Store(false) })
				}
			}
		}
		stop := r.start()
		for _, spec := range []cdctest.TableSpec{keyless("under"), keyed("ranges")} {
			_, err := r.world.CreateTable(spec)
			require.NoError(t, err)
			r.insert(spec.Name, 0, 30)
		}
		time.Sleep(5 * time.Minute)
		r.same("t", "under", "ranges")
		require.NoError(t, stop())
	})
}

// A copy beside the stream is finished just while the stream is away: the next
// one begins where the copy is, not where the other tables are.
func TestEdge58ACopyIsFinishedBetweenTwoStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.options = func(o *lakehouse.Options) {
			o.Events.CopyStarted = func(ev lakehouse.CopyStarted) {
				if ev.Table != "public.late" {
					return
				}
				r.insert("late", 10, 15)
				r.insert("t", 10, 15)
				time.Sleep(time.Second) // they are flushed
				r.world.InjectFault(cdctest.Fault{Op: "Next"})
				r.insert("t", 15, 20)
				time.Sleep(50 * time.Millisecond)
			}
		}
		r.insert("t", 0, 10)
		stop := r.start()
		_, err := r.world.CreateTable(keyless("late"))
		require.NoError(t, err)
		r.insert("late", 0, 10)
		time.Sleep(5 * time.Minute)
		require.NoError(t, stop())
		r.same("t", "late")
		require.Empty(t, r.world.Violations())
		require.Empty(t, r.stopped())
	})
}

// Of two tables that are copied under one snapshot the second cannot be read:
// the first is copied, and nothing of it is let go before the stream has gone
// back for it.
func TestEdge58TheSecondCopyUnderASnapshotFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		failing := 5
		r.options = func(o *lakehouse.Options) {
			finished := o.Events.CopyFinished
			o.Events.CopyFinished = func(ev lakehouse.CopyFinished) {
				finished(ev)
				if ev.Table != "public.one" || failing == 0 {
					return
				}
				r.insert("one", 10, 15)
				r.insert("t", 10, 15)
				for ; failing > 0; failing-- {
					r.world.InjectFault(cdctest.Fault{Op: "Plan"})
				}
			}
		}
		r.insert("t", 0, 10)
		stop := r.start()
		for _, name := range []string{"one", "two"} {
			_, err := r.world.CreateTable(keyless(name))
			require.NoError(t, err)
			r.insert(name, 0, 10)
		}
		for i := range 300 {
			time.Sleep(time.Second)
			r.insert("t", 20+i, 21+i)
		}
		require.NoError(t, stop())
		r.catchUp()
		r.same("t", "one", "two")
		require.Empty(t, r.world.Violations())
		require.Empty(t, r.stopped())
	})
}

// lateSource does something, once, right after a look at tables, before its
// position is asked for.
type lateSource struct {
	*cdctest.Source
	do atomic.Pointer[func()]
}

func (s *lateSource) Look(ctx context.Context, oids []uint32) (map[uint32]cdc.Look, error) {
	looks, err := s.Source.Look(ctx, oids)
	if do := s.do.Swap(nil); do != nil {
		(*do)()
	}
	return looks, err
}

// A look that is older than a change does not take the change's columns back,
// though the position that it is acted upon at is a later one.
func TestEdge42ALookThatIsOlderThanAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 10)
		r.catchUp()
		armed := &atomic.Bool{}
		late := &lateSource{}
		r.source = func() cdc.Source {
			late.Source = r.world.Source()
			return late
		}
		stop := r.start()
		time.Sleep(time.Minute)
		r.copied()
		do := func() {
			armed.Store(true)
			r.tx(func(tx *cdctest.Tx) error { return tx.AddColumn("t", cdctest.Text("n"), nil) })
			r.tx(func(tx *cdctest.Tx) error {
				return tx.Insert("t", cdctest.Row{"id": 1001, "v": "x", "n": "seven"})
			})
		}
		r.tx(func(tx *cdctest.Tx) error { return tx.AddColumn("u", cdctest.Text("n"), nil) }) // so that the look is acted upon
		late.do.Store(&do)
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			if armed.Load() && r.lastEpoch().LSN == r.world.Head() {
				r.same("t")
			}
		}
		require.True(t, armed.Load())
		r.same("t", "u")
		require.Empty(t, r.copied())
		require.NoError(t, stop())
	})
}
