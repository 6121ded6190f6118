package lakehouse_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt/objstore/faultstore"
)

// alerted notes the alerts about the source's log.
type alerted struct {
	mu   sync.Mutex
	list []lakehouse.InfrastructureAlert
}

func (a *alerted) severities() (list []lakehouse.AlertSeverity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.list {
		list = append(list, e.Severity)
	}
	return list
}

// guarded lets engines watch over the source's log, with small limits.
func (r *rig) guarded(do ...lakehouse.WALAction) *alerted {
	a, before := &alerted{}, r.options
	r.options = func(o *lakehouse.Options) {
		before(o)
		o.WALGuard = lakehouse.WALGuard{Warn: 10_000, Act: 50_000, Do: do}
		o.Events.InfrastructureAlert = func(e lakehouse.InfrastructureAlert) {
			if e.Kind != lakehouse.AlertWAL {
				return
			}
			r.t.Logf("%s: %s", e.Severity, e.Message)
			a.mu.Lock()
			defer a.mu.Unlock()
			a.list = append(a.list, e)
		}
	}
	return a
}

// passes lets a server write log, and time pass.
func (r *rig) passes(bytes int) {
	r.t.Helper()
	r.world.Advance(bytes)
	r.insertNext("u")
	time.Sleep(20 * time.Second)
	r.world.Checkpoint() // it lets go of what was acknowledged
}

// insertNext adds one row with an id that no other has.
func (r *rig) insertNext(table string) {
	r.t.Helper()
	id := 1000 + count(sourceRows(r.world, table, r.world.Head()))
	r.insert(table, id, id+1)
}

func TestWALGuardLetsGoOfAPausedTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		a := r.guarded(lakehouse.WALDetach, lakehouse.WALRelease)
		r.insert("t", 0, 10)
		stop := r.start()
		is := r.act("t", lakehouse.ActionPause)
		r.passes(20_000)
		require.Equal(t, []lakehouse.AlertSeverity{lakehouse.AlertWarning}, a.severities())
		require.Contains(t, a.list[0].Message, "public.t is paused")
		require.Equal(t, lakehouse.PhasePaused, r.state("t").Phase, "it is warned first")
		r.passes(50_000)
		require.Equal(t, []lakehouse.AlertSeverity{lakehouse.AlertWarning, lakehouse.AlertCritical}, a.severities())
		require.Equal(t, []string{"public.t"}, r.stopped())
		r.staysStopped("t")
		r.acknowledges(is.StoppedAt)
		for range 20 { // the server learns now and then what is acknowledged
			r.passes(10)
		}
		require.Equal(t, lakehouse.AlertResolved, a.severities()[2])
		require.Len(t, a.severities(), 3)
		r.same("u")

		// Only a copy returns it, whatever is tried.
		_, err := r.engineNow().Act(t.Context(), "public.t", lakehouse.ActionResume)
		require.ErrorContains(t, err, "cannot go on from where it is")
		r.update("t", 3, "later")
		r.act("t", lakehouse.ActionResync)
		settle()
		settle()
		r.same("t", "u")
		require.NoError(t, stop())
		require.Empty(t, r.world.Violations())
	})
}

func TestWALGuardEndsALongCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, first := range []bool{true, false} {
			r := newRig(t, keyed("u"))
			begun, resume := make(chan struct{}, 100), make(chan struct{})
			if !first {
				r.insert("u", 0, 10)
				r.catchUp()
			}
			_, err := r.world.CreateTable(keyless("t"))
			require.NoError(t, err)
			r.insert("t", 0, 40)
			r.source = func() cdc.Source { return &slowSnapshots{Source: r.world.Source(), begun: begun, resume: resume} }
			a := r.guarded(lakehouse.WALDetach)
			stop := r.start()
			<-begun
			r.passes(60_000)
			require.Contains(t, a.severities(), lakehouse.AlertCritical)
			require.Equal(t, []string{"public.t"}, r.stopped())
			r.staysStopped("t")
			time.Sleep(time.Minute)
			r.insertNext("u")
			settle()
			r.same("u")
			close(resume)
			r.act("t", lakehouse.ActionResync)
			time.Sleep(time.Minute)
			r.same("t", "u")
			require.NoError(t, stop())
			require.Empty(t, r.world.Violations())
		}
	})
}

func TestWALGuardReleasesTheSlotWhenTheStoreIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 10)
		r.catchUp()
		a := r.guarded(lakehouse.WALDetach, lakehouse.WALRelease)
		faults := r.inject()
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { ended <- r.engine(ctx, false) }()
		time.Sleep(10 * time.Second)
		require.NoError(t, faults.SetRules(faultstore.Rule{Op: faultstore.OpPutIfAbsent, Count: -1, Transient: true}))
		for range 10 {
			select {
			case err := <-ended:
				ended <- err
			default:
				r.passes(20_000)
				time.Sleep(time.Minute)
			}
		}
		err := <-ended
		require.ErrorContains(t, err, "was dropped on purpose")
		require.Equal(t, lakehouse.KindConflict, lakehouse.KindOf(err))
		require.Contains(t, a.severities(), lakehouse.AlertCritical)
		src := r.world.Source()
		_, err = src.Slot(t.Context())
		require.ErrorIs(t, err, cdc.ErrNoSlot)
		require.NoError(t, src.Close())
		require.True(t, slices.Contains(a.severities(), lakehouse.AlertWarning), "it was told before")
	})
}
