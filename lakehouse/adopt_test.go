package lakehouse_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
)

// newer is the identity of the cluster that pg_upgrade makes of the world's.
func newer() cdc.Identity {
	return cdc.Identity{SystemID: "7000000000000000002", Timeline: 1, Database: "world", ServerVersion: 190000}
}

// After a pg_upgrade: another cluster, the slot made anew after everything was
// read. By somebody's word the lake goes on, and copies nothing.
func TestEdge21UpgradeIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 20)
		r.catchUp()
		r.copied()
		was := r.pipeline()
		r.world.RemoveSlot()
		r.world.Advance(1 << 24)
		r.world.SetIdentity(newer())
		makeSlot(r)
		r.insert("t", 20, 25)

		err := r.engine(t.Context(), true)
		require.Equal(t, lakehouse.KindConflict, lakehouse.KindOf(err))
		require.ErrorContains(t, err, "system identifier")
		plan, err := r.plan(true)
		require.NoError(t, err)
		require.Empty(t, plan.Obstacles)
		require.Contains(t, plan.Notes[1], "as pg_upgrade does")
		require.Nil(t, plan.Halt, "a wrong address is nothing that the lake would have to remember")
		require.Equal(t, was, r.pipeline(), "a plan changes nothing")
		require.NoError(t, plan.Do(t.Context()))
		require.Error(t, plan.Do(t.Context()), "the state has moved on")

		for range 2 {
			r.catchUp()
			r.same("t", "u")
			r.insert("t", len(r.rows(r.mirror("t"))), len(r.rows(r.mirror("t")))+3)
		}
		require.Empty(t, r.copied(), "nothing was copied")
		st := r.pipeline()
		require.Equal(t, was.Incarnation, st.Incarnation)
		require.Equal(t, newer(), st.Source)
		require.Len(t, st.Adoptions, 1)
		a := st.Adoptions[0]
		require.Equal(t, was.Source, a.From)
		require.True(t, a.Continuous)
		require.Equal(t, "the test", a.By)
		require.Equal(t, "a reason", a.Note)
		require.Less(t, a.Position, a.Slot)
		r.mend("t") // and a table can be copied again
	})
}

// What does not fit is no upgrade, whatever is said.
func TestEdge21WhatIsNotContinuous(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(r *rig)
		says    string
	}{
		"no slot": {func(r *rig) { r.world.RemoveSlot() }, "no slot of this name"},
		"lost":    {func(r *rig) { r.world.LoseSlot() }, "slot is lost"},
		"made anew on the same cluster": {func(r *rig) {
			r.world.RemoveSlot()
			r.insert("t", 100, 101)
			makeSlot(r)
			r.world.SetIdentity(cdc.Identity{SystemID: "7000000000000000001", Timeline: 1, Database: "world", ServerVersion: 180000})
		}, "what lies between is lost"},
		"made anew on another cluster of the same version": {func(r *rig) {
			r.world.RemoveSlot()
			r.insert("t", 100, 101)
			makeSlot(r)
			id := newer()
			id.ServerVersion = 180000
			r.world.SetIdentity(id)
		}, "what lies between is lost"},
		"less than the lake": {func(r *rig) {
			r.insert("t", 100, 101)
			r.catchUp()
			require.NoError(r.t, r.world.Promote(r.world.Log()[0].End, true))
			r.world.SetIdentity(newer())
		}, "less than the lake"},
		"not in the publication": {func(r *rig) { publish(r, "u") }, "not in the publication"},
		"another table": {func(r *rig) {
			require.NoError(r.t, r.world.DropTable("t"))
			_, err := r.world.CreateTable(keyed("t"))
			require.NoError(r.t, err)
		}, "not the one that the lake was fed from"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"), keyed("u"))
				r.insert("t", 0, 5)
				r.catchUp()
				c.happens(r)
				before := r.pipeline()
				plan, err := r.plan(true)
				require.NoError(t, err)
				require.NotEmpty(t, plan.Obstacles)
				require.Contains(t, plan.Obstacles[0], c.says)
				require.Equal(t, lakehouse.KindPreflight, lakehouse.KindOf(plan.Do(t.Context())))
				require.Equal(t, before, r.pipeline())
			})
		})
	}
}

// A lake is taken over to a cluster that has nothing to do with the old one:
// other positions, other OIDs. All is copied again, and what the lake held is
// readable until then.
func TestEdge21AnotherClusterIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("gone"), keyless("k"))
		r.world.Advance(1 << 30)
		r.insert("t", 0, 20)
		r.insert("k", 0, 5)
		r.catchUp()
		was, old := r.pipeline(), r.lastEpoch()
		first := r.world.Head()

		other := cdctest.NewWorld(cdctest.Options{Seed: 2, Identity: newer()})
		for _, s := range []cdctest.TableSpec{keyed("new"), keyless("k"), keyed("t")} { // other OIDs
			_, err := other.CreateTable(s)
			require.NoError(t, err)
		}
		r.world = other
		r.insert("t", 500, 510)
		plan, err := r.plan(false)
		require.NoError(t, err)
		require.Empty(t, plan.Obstacles)
		require.Nil(t, plan.Slot)
		require.NoError(t, plan.Do(t.Context()))
		lake, err := lakehouse.OpenLake(t.Context(), r.store, "")
		require.NoError(t, err)
		table, err := lake.Table("public.t")
		require.NoError(t, err)
		snap, _, err := lake.Load(t.Context(), table, lakehouse.AtLSN(first))
		require.NoError(t, err)
		require.Len(t, lakeRows(t, snap), 20, "readable until it is copied again")

		time.Sleep(time.Second)
		r.copied()
		r.catchUp()
		require.ElementsMatch(t, []string{"public.t", "public.k", "public.new"}, r.copied())
		r.same("t", "k", "new")
		st := r.pipeline()
		require.NotEqual(t, was.Incarnation, st.Incarnation)
		require.Equal(t, lakehouse.PhaseDetached, r.state("gone").Phase)
		now := r.lastEpoch()
		require.Greater(t, now.Number, old.Number)
		require.Less(t, now.LSN, old.LSN, "the new cluster's positions are lower")
		require.NotContains(t, now.Tables, "public.gone")

		r.insert("t", 510, 520)
		r.insert("k", 0, 5)
		r.catchUp()
		r.catchUp()
		r.same("t", "k", "new")
		lake, err = lakehouse.OpenLake(t.Context(), r.store, "")
		require.NoError(t, err)
		e, err := lake.Epoch(t.Context(), lakehouse.AtLSN(now.LSN))
		require.NoError(t, err)
		require.Equal(t, now.Number, e.Number, "positions are those of the source that there is")
		_, err = lake.Epoch(t.Context(), lakehouse.AtLSN(1))
		require.ErrorIs(t, err, lakehouse.ErrNoEpoch)
		e, err = lake.Epoch(t.Context(), lakehouse.AtEpoch(old.Number))
		require.NoError(t, err)
		require.Equal(t, old.LSN, e.LSN)

		_, err = other.CreateTable(keyed("gone")) // a table of that name comes back
		require.NoError(t, err)
		r.insert("gone", 7, 9)
		r.catchUp()
		r.insert("gone", 9, 11)
		r.catchUp()
		r.same("t", "k", "new", "gone")
		require.Equal(t, lakehouse.PhaseLive, r.state("gone").Phase)
	})
}

// An adoption that is cut off anywhere is finished by the next start.
func TestEdge21AdoptionSurvivesCrashes(t *testing.T) {
	for _, op := range []string{"Tables", "DropSlot", "Publish", "Published", "CreateSlot"} {
		for _, after := range []bool{false, true} {
			t.Run(op, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, keyed("t"))
					r.insert("t", 0, 20)
					r.catchUp()
					r.world.RemoveSlot()
					r.world.SetIdentity(newer())
					plan, err := r.plan(false)
					require.NoError(t, err)
					require.NoError(t, plan.Do(t.Context()))
					r.world.InjectFault(cdctest.Fault{Op: op, After: after, Err: cdctest.ErrCrashed})
					require.ErrorIs(t, r.engine(t.Context(), true), cdctest.ErrCrashed)
					r.insert("t", 20, 30)
					r.catchUp()
					r.same("t")
				})
			})
		}
	}
}

// A second engine waits until the first has let go of the slot, and writes
// nothing before: the first would end of it.
func TestEdge11TheSecondEngineWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 5)
		stop := r.start()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		second := make(chan error, 1)
		session := r.pipeline().Session
		go func() { second <- r.engine(ctx, false) }()
		time.Sleep(5 * time.Minute)
		r.insert("t", 5, 7) // the first records that its copy is in an epoch, which is no taking over
		time.Sleep(5 * time.Minute)
		before := r.pipeline()
		require.Equal(t, session, before.Session)
		r.insert("t", 7, 10)
		time.Sleep(time.Minute)
		require.Equal(t, before, r.pipeline())
		r.same("t")
		require.NoError(t, stop(), "the first has noticed nothing")
		r.insert("t", 10, 15)
		time.Sleep(5 * time.Minute)
		r.same("t")
		cancel()
		require.NoError(t, <-second)
		require.Empty(t, r.world.Violations())
	})
}

// An engine whose place another one has taken ends, instead of waiting for
// ever for the slot that it lost.
func TestEdge11TheOneThatWasReplacedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 5)
		stop := r.start()
		require.NoError(t, lakehouse.Resync(t.Context(), r.store, "default", "public.t")) // as another engine would write
		r.world.RestartServer()
		time.Sleep(time.Minute)
		err := stop()
		require.Equal(t, lakehouse.KindConflict, lakehouse.KindOf(err))
		require.ErrorContains(t, err, "another engine has taken it over")
		r.catchUp()
		r.same("t")
	})
}
