package lakehouse_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// An engine lets go of old epochs, and of old versions in the logs of its
// tables, and goes on from what is left, also after a start.
func TestOldEpochsAndVersionsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 5)
		r.options = func(o *lakehouse.Options) {
			o.EpochRetention, o.Checkpoints = time.Hour, tablefmt.CheckpointPolicy{MinCommits: 50}
		}
		id := 10
		work := func(flushes int) {
			stop := r.start()
			for range flushes {
				r.insert("t", id, id+1)
				id++
				time.Sleep(2 * time.Second)
			}
			require.NoError(t, stop())
			require.Empty(t, r.stopped())
		}
		work(1100)
		oldest := func() int64 {
			v, err := tablefmt.OldestVersion(t.Context(), tablefmt.Location{Data: objstore.Sub(r.store, lakehouse.MirrorPath("public", "t"))})
			require.NoError(t, err)
			return v
		}
		lake, err := lakehouse.OpenLake(t.Context(), r.store, "")
		require.NoError(t, err)
		_, err = lake.Epoch(t.Context(), lakehouse.AtEpoch(1))
		require.NoError(t, err, "it is not old enough")
		require.Zero(t, oldest())

		time.Sleep(31 * 24 * time.Hour)
		work(250)
		lake, err = lakehouse.OpenLake(t.Context(), r.store, "")
		require.NoError(t, err)
		_, err = lake.Epoch(t.Context(), lakehouse.AtEpoch(1))
		require.ErrorIs(t, err, lakehouse.ErrExpired)
		require.Greater(t, oldest(), int64(1000))
		r.same("t")
		r.insert("t", 5000, 5010)
		r.catchUp()
		r.same("t")
		require.Empty(t, r.stopped())
		require.Equal(t, []string{"public.t"}, r.copied(), "the first copy was enough")
	})
}
