package lakehouse

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// A table whose copy was to begin again a little later is paused, or dropped: the
// copier must not wake up for it again and again, without end.
func TestACopyThatIsNotWantedAnyMoreIsNotDue(t *testing.T) {
	e := &Engine{state: &State{Tables: []TableState{{OID: 7, Phase: PhasePaused}, {OID: 8, Phase: PhaseCopying}}}, tasks: make(chan *task)}
	c := newCopier(e)
	c.later(7)
	ctx := t.Context()
	go func() {
		for {
			select {
			case one := <-e.tasks:
				runTasks(ctx, []*task{one})
			case <-ctx.Done():
				return
			}
		}
	}()
	e.copier = c
	c.later(8)
	again, err := c.pass(ctx)
	require.NoError(t, err)
	require.False(t, again)
	require.NotNil(t, c.nextDue(), "the other one still waits")
	require.NoError(t, e.do(ctx, func(context.Context) error { e.state.Tables[1].Phase = PhaseDropped; return nil }))
	_, err = c.pass(ctx)
	require.NoError(t, err)
	require.Nil(t, c.nextDue())
}
