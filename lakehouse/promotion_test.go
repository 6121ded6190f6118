package lakehouse_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/epoch"
)

func (r *rig) pipeline() *lakehouse.State {
	r.t.Helper()
	st, err := lakehouse.ReadState(r.t.Context(), r.store, "default")
	require.NoError(r.t, err)
	return st
}

func (r *rig) position() cdc.LSN {
	r.t.Helper()
	log, err := epoch.Open(r.t.Context(), r.store, "default", "")
	require.NoError(r.t, err)
	return log.Position()
}

// A promoted standby that has all that the lake has is followed, by an engine
// that is started later and by one that runs.
func TestEdge18PromotionIsFollowed(t *testing.T) {
	for name, running := range map[string]bool{"at the next start": false, "while it runs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"), keyless("u"))
				r.insert("t", 0, 20)
				r.catchUp()
				stop := func() error { return nil }
				if running {
					stop = r.start()
				}
				for n := range 3 { // again and again
					r.insert("t", 100*n+100, 100*n+110)
					r.insert("u", 100*n, 100*n+3)
					if running {
						time.Sleep(10 * time.Second)
					} else {
						r.catchUp()
					}
					require.NoError(t, r.world.Promote(0, true))
					r.insert("t", 100*n+110, 100*n+115)
					r.update("t", 5, "again")
					if running {
						time.Sleep(time.Minute)
					} else {
						r.catchUp()
					}
					r.same("t", "u")
					require.EqualValues(t, n+2, r.lastEpoch().Timeline)
					require.EqualValues(t, n+2, r.pipeline().Source.Timeline)
					require.Len(t, r.pipeline().Timelines, n+1)
				}
				require.NoError(t, stop())
				require.Empty(t, r.world.Violations())
				require.Nil(t, r.pipeline().Halt)
			})
		})
	}
}

// An idle position that the new timeline does not have is given up: what the
// new server wrote there instead is read.
func TestEdge18IdlePositionIsCutBack(t *testing.T) {
	for name, stopped := range map[string]bool{"live": false, "with a table that had stopped": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"), keyed("u"))
				r.insert("t", 0, 5)
				r.catchUp()
				if stopped {
					r.breakShape("u", 1)
					r.catchUp()
				}
				at := r.world.Head()
				r.world.Advance(100_000) // nothing of ours
				r.catchUp()
				idle := r.position()
				require.Greater(t, idle, at)
				require.NoError(t, r.world.Promote(at, true))
				r.insert("t", 5, 10) // before the idle position
				require.Less(t, r.world.Head(), idle)
				r.catchUp()
				r.same("t")
				require.LessOrEqual(t, r.acknowledged(), r.world.Head())
				r.insert("t", 10, 12)
				r.catchUp()
				r.same("t")
				require.EqualValues(t, 2, r.lastEpoch().Timeline)
			})
		})
	}
}

// What the lake shows and the promoted server never had: the lake is ahead,
// and nothing goes on before somebody decides. Time does not heal it.
func TestEdge20LakeAheadOfTheSource(t *testing.T) {
	for name, running := range map[string]bool{"at the next start": false, "while it runs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"), keyed("u"))
				r.insert("t", 0, 5)
				r.insert("u", 0, 5)
				r.catchUp()
				at := r.world.Head()
				stop := func() error { return r.engine(t.Context(), true) }
				if running {
					stop = r.start()
				}
				r.insert("u", 5, 6) // seen by the lake, lost by the failover
				if running {
					time.Sleep(10 * time.Second)
				} else {
					r.catchUp()
				}
				require.NoError(t, r.world.Promote(at, true))
				r.insert("t", 5, 10)
				before := r.rows(r.mirror("t"))
				if running {
					time.Sleep(time.Minute)
				}
				err := stop()
				require.ErrorIs(t, err, lakehouse.ErrNotOurs)
				require.Equal(t, lakehouse.KindConflict, lakehouse.KindOf(err))
				require.ErrorContains(t, err, "the lake is ahead: ")
				require.ErrorContains(t, err, "public.u")
				require.NotContains(t, err.Error(), "public.t,")
				require.Equal(t, before, r.rows(r.mirror("t")), "it has changed nothing")

				for n := range 3 { // however far the server goes on
					r.insert("t", 100*n+100, 100*n+150)
					r.world.Advance(1 << 20)
					err = r.engine(t.Context(), true)
					require.Equal(t, lakehouse.KindConflict, lakehouse.KindOf(err), "%v", err)
					require.ErrorContains(t, err, "ahead")
				}
				halt := r.pipeline().Halt
				require.NotNil(t, halt)
				require.True(t, halt.Final)
				require.Contains(t, halt.Remedy, "lakeload adopt")

				takeover, err := r.plan(true)
				require.NoError(t, err)
				require.NotEmpty(t, takeover.Obstacles, "no word makes it continuous")
				require.Error(t, takeover.Do(t.Context()))
				takeover, err = r.plan(false)
				require.NoError(t, err)
				require.NoError(t, takeover.Do(t.Context()))
				r.catchUp()
				r.same("t", "u")
				require.Nil(t, r.pipeline().Halt)
				require.Greater(t, r.lastEpoch().Timeline, uint32(1))
			})
		})
	}
}

// plan looks at an adoption of the world as it is.
func (r *rig) plan(continuous bool) (*lakehouse.Takeover, error) {
	r.t.Helper()
	src := r.world.Source()
	r.t.Cleanup(func() { _ = src.Close() })
	return lakehouse.PlanAdoption(r.t.Context(), lakehouse.AdoptOptions{
		Source: src, Continuous: continuous, By: "the test", Note: "a reason",
		Engine: lakehouse.Options{Lake: r.store, Slot: "s", Publication: "p"},
	})
}

// A standby without the slot, or a slot that somebody has made after the
// promotion, is a loss.
func TestEdge18PromotionWithoutTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 5)
		r.catchUp()
		require.NoError(t, r.world.Promote(0, false))
		err := r.engine(t.Context(), true)
		require.ErrorIs(t, err, cdc.ErrNoSlot)
		require.Equal(t, lakehouse.KindConflict, lakehouse.KindOf(err))
		require.NotNil(t, r.pipeline().Halt)
		require.False(t, r.pipeline().Halt.Final)

		r.insert("t", 5, 10)
		makeSlot(r)
		err = r.engine(t.Context(), true)
		require.Equal(t, lakehouse.KindConflict, lakehouse.KindOf(err))
		require.ErrorContains(t, err, "somebody has read it, or has made it anew")
		require.Equal(t, count(sourceRows(r.world, "t", r.world.Head()))-5, count(r.rows(r.mirror("t"))), "nothing was skipped, and nothing applied")
	})
}

// makeSlot makes the slot behind the engine's back.
func makeSlot(r *rig) {
	r.t.Helper()
	src := r.world.Source()
	snap, err := src.CreateSlot(r.t.Context())
	require.NoError(r.t, err)
	require.NoError(r.t, snap.Close())
	require.NoError(r.t, src.Close())
}

// A position of the lake means nothing to a slot that was made anew: neither
// is it skipped to, nor does the lake begin again.
func TestEdge08SlotMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 5)
		r.catchUp()
		r.world.RemoveSlot()
		r.insert("t", 5, 10)
		makeSlot(r)
		r.insert("t", 10, 15)
		before := r.rows(r.mirror("t"))
		for range 2 {
			err := r.engine(t.Context(), true)
			require.Equal(t, lakehouse.KindConflict, lakehouse.KindOf(err))
			require.ErrorContains(t, err, "acknowledged up to")
		}
		require.Equal(t, before, r.rows(r.mirror("t")))
		require.Empty(t, r.copied()[1:], "copied once, at the beginning")
	})
}

// A server whose slot is from before the lake's slot was made, on the same
// timeline: a restored snapshot of its disk.
func TestEdge19SlotFromBeforeItWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.world.Advance(100_000)
		r.insert("t", 0, 5)
		r.catchUp()
		r.source = func() cdc.Source { return &oldSlot{Source: r.world.Source(), back: 50_000} }
		err := r.engine(t.Context(), true)
		require.ErrorIs(t, err, lakehouse.ErrNotOurs)
		require.ErrorContains(t, err, "restored from a backup")
		r.source = func() cdc.Source { return r.world.Source() }
		err = r.engine(t.Context(), true)
		require.ErrorContains(t, err, "it was halted", "what was seen once is not forgotten")
	})
}

// A server whose log ends before what the lake has, on the same timeline, is a
// restored one, also for an engine that is to stop where the server is.
func TestEdge19ServerEndsBeforeTheLake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 5)
		r.catchUp()
		at := r.world.Head()
		r.insert("t", 5, 10)
		r.catchUp()
		id := cdc.Identity{SystemID: "7000000000000000001", Timeline: 1, Database: "world", ServerVersion: 180000}
		require.NoError(t, r.world.Promote(at, true))
		r.world.SetIdentity(id) // it says nothing of it
		r.source = func() cdc.Source { return &oldSlot{Source: r.world.Source()} }
		for range 3 {
			err := r.engine(t.Context(), true)
			require.Equal(t, lakehouse.KindConflict, lakehouse.KindOf(err))
			require.ErrorContains(t, err, "log has gone back")
			r.insert("t", 1000+int(r.world.Head()), 1100+int(r.world.Head())) // it goes on beyond the lake
		}
	})
}

// oldSlot tells of a slot that is further back.
type oldSlot struct {
	*cdctest.Source
	back cdc.LSN
}

func (s *oldSlot) Slot(ctx context.Context) (cdc.SlotState, error) {
	state, err := s.Source.Slot(ctx)
	state.ConfirmedFlush -= s.back
	state.Restart -= s.back
	return state, err
}

// Random histories of commits, idle times, crashes and promotions: as long as
// the new server has what the lake shows, the lake follows it, and equals it.
func TestEdge18RandomPromotions(t *testing.T) {
	cutBack := 0
	for seed := range 40 {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 18))
			r := newRig(t, keyed("t"), keyless("u"))
			r.insert("t", 0, 5)
			r.catchUp()
			r.insert("t", 5, 6)
			r.catchUp()
			id, branched := 100, cdc.LSN(0)
			for range 30 {
				switch rng.IntN(9) {
				case 0, 1, 2:
					r.insert("t", id, id+1+rng.IntN(20))
					id += 20
				case 3:
					r.insert("u", id, id+rng.IntN(5)+1)
				case 4:
					if rng.IntN(3) > 0 {
						r.catchUp()
					}
					r.world.Advance(1 + rng.IntN(1<<12))
					if rng.IntN(3) > 0 {
						r.catchUp() // the idle position is recorded
					}
				case 5:
					r.world.RestartServer()
				case 6:
					r.world.InjectFault(cdctest.Fault{Op: []string{"Next", "Stream", "Slot", "Tables", "Published"}[rng.IntN(5)], Nth: 1 + rng.IntN(3), After: rng.IntN(2) == 0})
					_ = r.engine(t.Context(), true) // it may end early, or not meet the fault at all
				case 7:
					r.catchUp()
					r.same("t", "u")
				case 8: // the standby has what the lake shows, and perhaps some of what came later
					shown, ends := r.lastEpoch().LSN, []cdc.LSN{0}
					for _, c := range r.world.Log() {
						if c.End >= max(shown, branched) {
							ends = append(ends, c.End)
						}
					}
					at := ends[rng.IntN(len(ends))]
					if at != 0 && r.position() > at {
						cutBack++
					}
					require.NoError(t, r.world.Promote(at, true))
					branched = r.world.Head()
				}
			}
			r.catchUp()
			r.same("t", "u")
			require.Empty(t, r.world.Violations(), "seed %d", seed)
		})
	}
	require.Greater(t, cutBack, 10, "idle positions that the new server does not have")
}
