package lakehouse_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
)

// skewed is a source whose clock is set back and forth.
type skewed struct {
	*cdctest.Source
	by func() time.Duration
}

func (s *skewed) Stream(ctx context.Context, from cdc.LSN) (cdc.Stream, error) {
	stream, err := s.Source.Stream(ctx, from)
	if err != nil {
		return nil, err
	}
	return &skewedStream{stream, s.by}, nil
}

type skewedStream struct {
	cdc.Stream
	by func() time.Duration
}

func (s *skewedStream) Next(ctx context.Context) (*cdc.Chunk, error) {
	c, err := s.Stream.Next(ctx)
	if err == nil && !c.CutTime.IsZero() {
		c.CutTime = c.CutTime.Add(s.by())
	}
	return c, err
}

// Commit times may go back, and may lie in our future: nothing is ordered by
// them, no lag is negative, and as-of-time shows no later transaction.
func TestEdge36ClockGoesBackAndForth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 5)
		offsets, n := []time.Duration{time.Hour, -2 * time.Hour, 3 * time.Hour, -time.Minute, 0}, 0
		r.source = func() cdc.Source {
			return &skewed{r.world.Source(), func() time.Duration { n++; return offsets[n%len(offsets)] }}
		}
		var mu sync.Mutex
		fresh := []time.Duration{}
		r.options = func(o *lakehouse.Options) {
			o.Events.BatchCommitted = func(e lakehouse.BatchCommitted) {
				mu.Lock()
				defer mu.Unlock()
				fresh = append(fresh, e.Freshness)
			}
		}
		stop := r.start()
		for i := range 12 {
			r.insert("t", 10*i+10, 10*i+15)
			time.Sleep(time.Second)
		}
		require.NoError(t, stop())
		r.same("t")
		require.NotEmpty(t, fresh)
		for _, f := range fresh {
			require.GreaterOrEqual(t, f, time.Duration(0))
		}
		epochs := epochsOf(t, r.store)
		for i := 1; i < len(epochs); i++ {
			require.Greater(t, epochs[i].LSN, epochs[i-1].LSN, "epochs are in the order of positions")
			require.False(t, epochs[i].CommitTime.Before(epochs[i-1].CommitTime), "their times are a running maximum")
		}
	})
}
