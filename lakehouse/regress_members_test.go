package lakehouse_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/typemap"
)

// Changes of a table that is not in the publication never arrive: who puts it
// back does not bring them back.
func TestATableTakenOutOfThePublicationStopsUntilAResync(t *testing.T) {
	for name, back := range map[string]bool{"put back by the engine": false, "put back by hand": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyless("t"), keyed("u"))
				r.insert("t", 0, 10)
				r.catchUp()
				unpublished(r, back, func() { r.insert("t", 90, 91) })
				for i := range 3 {
					r.insert("t", 91+i, 92+i)
					r.insert("u", i, i+1)
					r.catchUp()
					r.staysStopped("t")
					r.same("u")
				}
				r.mend("t")
				r.insert("t", 100, 105)
				r.catchUp()
				r.same("t", "u")
			})
		})
	}
}

// While the engine runs, too: a resync takes the table up again, puts it into the
// publication if it is not there, and it goes on.
func TestAResyncPutsATableBackIntoThePublication(t *testing.T) {
	for name, back := range map[string]bool{"put back by the engine": false, "put back by hand": true} {
		for _, spec := range []cdctest.TableSpec{keyed("t"), keyless("t")} {
			t.Run(fmt.Sprintf("%s, %d key columns", name, len(spec.Key)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, spec, keyed("u"))
					r.options = func(o *lakehouse.Options) { o.WatchInterval = time.Second }
					r.insert("t", 0, 10)
					stop := r.start()
					settle()
					unpublished(r, back, func() {
						r.insert("t", 90, 91)
						settle()
					})
					settle()
					r.staysStopped("t")
					r.act("t", lakehouse.ActionResync)
					for i := range 3 {
						settle()
						require.Equal(t, lakehouse.PhaseLive, r.state("t").Phase, r.state("t").Reason)
						r.same("t", "u")
						r.insert("t", 100+i, 101+i)
					}
					settle()
					r.same("t")
					require.NoError(t, stop())
					require.Empty(t, r.world.Violations())
				})
			})
		}
	}
}

// A copy by ranges that was begun before its table was taken out of the publication
// lacks what came meanwhile: it begins again.
func TestACopyOfATableTakenOutOfThePublicationBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRangeRig(t)
		r.cutOffCopy(s)
		publish(r, "other")
		r.update("t", 3, "while nobody was told")
		publish(r)
		r.catchUp()
		r.same("t")
	})
}

func TestAStoppedTableTakenOutOfThePublicationIsNotTakenUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.catchUp()
		r.breakShape("t", 1)
		r.catchUp()
		require.False(t, r.state("t").NeedsCopy)
		unpublished(r, true, func() { r.insert("t", 2, 3) })
		r.insert("u", 0, 1)
		r.catchUp()
		r.staysStopped("t")
		r.mend("t")
	})
}

// unpublished takes t out of the publication while f runs.
func unpublished(r *rig, back bool, f func()) {
	r.t.Helper()
	publish(r, "u")
	f()
	if back {
		publish(r)
	}
}

// publish puts the named tables, or all, into the publication, and no others.
func publish(r *rig, tables ...string) {
	r.t.Helper()
	src := r.world.Source(tables...)
	rels, err := src.Tables(r.t.Context())
	require.NoError(r.t, err)
	require.NoError(r.t, src.Publish(r.t.Context(), rels))
	require.NoError(r.t, src.Close())
}

func TestANewTableThatSomebodyElsePublishedIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("u"))
		r.catchUp()
		_, err := r.world.CreateTable(keyed("t"))
		require.NoError(t, err)
		publish(r)
		for i := range 3 {
			r.insert("t", i, i+1)
			r.catchUp()
			require.Empty(t, r.stopped())
			require.Equal(t, lakehouse.PhaseLive, r.state("t").Phase)
			r.same("t")
		}
	})
}

func TestADroppedTableIsDetached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 10)
		r.catchUp()
		held := r.rows(r.mirror("t"))
		require.NoError(t, r.world.DropTable("t"))
		detached(r, held)
	})
}

// detached requires that t is no part of the pipeline any more.
func detached(r *rig, held map[string]int) {
	r.t.Helper()
	for i := range 2 {
		r.insert("u", i, i+1)
		r.catchUp()
		require.Equal(r.t, lakehouse.PhaseDetached, r.state("t").Phase)
		e := r.lastEpoch()
		require.NotContains(r.t, e.Tables, "public.t")
		require.Contains(r.t, e.Tables, "public.u")
		require.Empty(r.t, e.Incomplete)
		require.Equal(r.t, r.world.Head(), r.acknowledged(), "it holds the acknowledgement")
		require.Equal(r.t, held, r.rows(r.mirror("t")), "the lake keeps what it held")
		r.same("u")
	}
}

func TestATableNoLongerSelectedIsDetachedAndCopiedWhenItComesBack(t *testing.T) {
	// The table may be in any state when it goes.
	for name, before := range map[string]func(r *rig){
		"live":           func(*rig) {},
		"stopped":        func(r *rig) { r.breakShape("t", 50); r.catchUp() },
		"to be copied":   func(r *rig) { r.resync("t") },
		"must be mended": func(r *rig) { removeFiles(r, "t"); r.catchUp() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"), keyed("u"))
				r.insert("t", 0, 10)
				r.catchUp()
				before(r)
				held := r.rows(r.mirror("t"))
				r.source = func() cdc.Source { return r.world.Source("u") }
				r.copied()
				detached(r, held)
				require.Empty(t, r.copied())
				r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 3}) })
				r.source = func() cdc.Source { return r.world.Source() }
				for i := range 2 {
					r.insert("u", 10+i, 11+i)
					r.catchUp()
					require.Equal(t, lakehouse.PhaseLive, r.state("t").Phase)
					r.same("t", "u")
					r.update("t", 4, "changed")
				}
				require.Equal(t, []string{"public.t"}, r.copied(), "copied once")
				require.Contains(t, r.lastEpoch().Tables, "public.t")
			})
		})
	}
}

// A renamed table is the same table: it goes on in its folder, whatever it is
// called, also over a restart and a resync.
func TestEdge45ARenamedTableIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 10)
		r.catchUp()
		same := func() {
			t.Helper()
			require.Equal(t, sourceRows(r.world, "renamed", r.world.Head()), r.rows(r.mirror("t")))
			require.Empty(t, r.stopped())
			require.Contains(t, r.lastEpoch().Tables, "public.t")
			require.Empty(t, r.lastEpoch().Incomplete)
		}
		r.tx(func(tx *cdctest.Tx) error { return tx.RenameTable("t", "renamed") })
		r.insert("renamed", 10, 20)
		r.catchUp()
		same()
		r.update("renamed", 5, "changed")
		r.catchUp()
		same()
		require.Equal(t, "public.renamed", r.state("t").SourceName())
		r.resync("t")
		r.insert("renamed", 30, 31)
		r.catchUp()
		same()
		r.insert("renamed", 40, 41)
		r.catchUp()
		same()
	})
}

func TestEdge45ARenamedTableStopsIfThePolicySaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.policy.Rename = typemap.Stop
		r.insert("t", 0, 10)
		r.catchUp()
		old := r.rows(r.mirror("t"))
		r.tx(func(tx *cdctest.Tx) error { return tx.RenameTable("t", "renamed") })
		r.insert("renamed", 10, 20)
		r.insert("u", 0, 1)
		r.catchUp()
		require.Equal(t, []string{"public.t"}, r.stopped())
		require.Equal(t, old, r.rows(r.mirror("t")))
		r.same("u")
	})
}

func TestAChangelogWhoseColumnChangedItsTypeFailsItsResyncAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.options = func(o *lakehouse.Options) {
			o.Table = func(rel *cdc.Relation) lakehouse.TableOptions {
				if rel.Name == "t" {
					return lakehouse.TableOptions{Modes: []lakehouse.Mode{lakehouse.ModeChangelog}}
				}
				return lakehouse.TableOptions{Modes: []lakehouse.Mode{lakehouse.ModeMirror}}
			}
		}
		r.insert("t", 0, 10)
		r.catchUp()
		held := r.rows(r.changelog("t"))
		r.tx(func(tx *cdctest.Tx) error {
			return errors.Join(tx.DropColumn("t", "v"), tx.AddColumn("t", cdctest.Int64("v"), nil),
				tx.Insert("t", cdctest.Row{"id": 100, "v": 8}))
		})
		r.catchUp()
		require.Equal(t, []string{"public.t"}, r.stopped())
		r.resync("t")
		for i := range 3 {
			r.insert("u", i, i+1)
			r.catchUp()
			r.staysStopped("t")
			r.same("u")
			require.Equal(t, []string{"public.t"}, r.lastEpoch().Incomplete)
		}
		require.Equal(t, held, r.rows(r.changelog("t")), "what was there stays readable")
	})
}
