package lakehouse_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
)

// work commits transactions of all sizes and kinds until the function that it
// gives is called.
func (r *rig) work(seed uint64) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	rng := rand.New(rand.NewPCG(seed, 3))
	go func() {
		defer close(done)
		for next := 1000; ; {
			select {
			case <-quit:
				return
			case <-time.After(time.Duration(rng.IntN(100)) * time.Millisecond):
			}
			n := 1 + rng.IntN(3)
			if rng.IntN(20) == 0 {
				n = 100 // more than a chunk
			}
			r.tx(func(tx *cdctest.Tx) error {
				if rng.IntN(40) == 0 {
					return tx.Truncate("other")
				}
				for range n {
					next++
					err := errors.Join(
						tx.Insert("t", cdctest.Row{"id": next, "v": "new"}),
						tx.Insert("other", cdctest.Row{"id": next, "v": "new"}),
						tx.Update("t", cdctest.Row{"id": rng.IntN(10)}, cdctest.Row{"v": "hot " + string(rune('a'+rng.IntN(26)))}))
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
	}()
	return func() { close(quit); <-done }
}

// pointOf gives the consistent point of a snapshot that is taken now.
func (r *rig) pointOf(ctx context.Context) (cdc.LSN, error) {
	src := r.world.Source()
	defer src.Close()
	snap, err := src.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	defer snap.Close()
	return snap.Point(), nil
}

// showsExactly requires that the lake's versions of a cut are the source's
// state at its position.
func (r *rig) showsExactly(cut lakehouse.Cut, tables ...string) {
	r.t.Helper()
	for _, table := range tables {
		version, ok := cut.Tables["public."+table]
		require.True(r.t, ok, "%s is not in %v", table, cut)
		snap, err := tablefmt.LoadAt(r.t.Context(), r.mirror(table), version)
		require.NoError(r.t, err)
		require.Equal(r.t, sourceRows(r.world, table, cut.LSN), lakeRows(r.t, snap), "%s at %s", table, cut.LSN)
	}
}

func TestCutShowsOnePositionExactly(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, keyed("t"), keyless("other"))
			r.insert("t", 0, 20)
			stop := r.start()
			rest := r.work(seed)
			for i := range 10 {
				time.Sleep(time.Duration(seed) * 30 * time.Millisecond)
				cut, err := r.engineNow().Cut(t.Context(), func(ctx context.Context) (cdc.LSN, error) {
					time.Sleep(time.Duration(i) * 40 * time.Millisecond) // a snapshot takes a while, and the source goes on
					return r.pointOf(ctx)
				})
				require.NoError(t, err)
				r.showsExactly(cut, "t", "other")
			}
			rest()
			cut, err := r.engineNow().Cut(t.Context(), r.pointOf) // of a source where nothing happens
			require.NoError(t, err)
			r.showsExactly(cut, "t", "other")
			require.NoError(t, stop())
			r.catchUp()
			r.same("t", "other")
		})
	}
}

func TestCutThatIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyless("other"))
		r.insert("t", 0, 20)
		stop := r.start()
		rest := r.work(1)
		later := func() {
			t.Helper()
			time.Sleep(time.Second)
			cut, err := r.engineNow().Cut(t.Context(), r.pointOf)
			require.NoError(t, err)
			r.showsExactly(cut, "t", "other")
		}
		broken := errors.New("no snapshot")
		_, err := r.engineNow().Cut(t.Context(), func(context.Context) (cdc.LSN, error) { return 0, broken })
		require.ErrorIs(t, err, broken)
		later()

		_, err = r.engineNow().Cut(t.Context(), func(ctx context.Context) (cdc.LSN, error) {
			<-ctx.Done() // it takes for ever
			return 0, ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		later()

		_, err = r.engineNow().Cut(t.Context(), func(context.Context) (cdc.LSN, error) { return 1, nil })
		require.ErrorIs(t, err, lakehouse.ErrNoCut, "a point of long ago")
		later()

		at, err := r.pointOf(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err = r.engineNow().Cut(ctx, func(context.Context) (cdc.LSN, error) { return at + 1<<40, nil })
		cancel()
		require.ErrorIs(t, err, lakehouse.ErrNoCut, "a point that the stream does not reach")
		later()

		went := make(chan error, 1)
		go func() {
			_, err := r.engineNow().Cut(t.Context(), func(ctx context.Context) (cdc.LSN, error) {
				time.Sleep(time.Second)
				return r.pointOf(ctx)
			})
			went <- err
		}()
		time.Sleep(500 * time.Millisecond)
		require.NoError(t, stop(), "the engine is stopped while it is held")
		require.ErrorIs(t, <-went, lakehouse.ErrNoCut)
		rest()
		r.catchUp()
		r.same("t", "other")
	})
}
