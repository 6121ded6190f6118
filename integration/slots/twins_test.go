package slots

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// A second engine waits for the slot and disturbs nobody; when the first dies it goes on. One that was told to take over does so once, and the
// other one ends for good: the two do not stop each other for ever.
func TestEdge11TwoEngines(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 18))
	bank := harness.NewBank(t, db, 11)
	pipe := harness.NewPipeline(t, db)
	first := pipe.Start(t)
	first.Await("stream_started", nil)
	bank.Run(t, 2, 5*time.Millisecond)
	second := pipe.Start(t)
	retrying := second.Await("retrying", nil)
	require.Contains(t, retrying.Line, "in use by")
	pipe.Sync(t, first)
	require.True(t, first.Running() && second.Running())
	require.Empty(t, second.Events("stream_started"))
	first.Kill()
	second.Await("stream_started", nil)
	pipe.Sync(t, second)

	third := pipe.Start(t, "--take-over", "--cache-dir", t.TempDir()) // as on another machine
	third.Await("stream_started", nil)
	pipe.Sync(t, third)
	require.Equal(t, conflict, second.Wait(), second.Log())
	require.Contains(t, second.Events("pipeline_stopped")[0].Error, "another engine")
	fourth := pipe.Start(t) // a supervisor starts the loser again: it waits
	fourth.Await("retrying", nil)
	pipe.Sync(t, third)
	require.True(t, third.Running())
	bank.Stop()
	third.Stop()
	fourth.Await("stream_started", nil)
	fourth.Stop()
	pipe.UntilCurrent(t)
	pipe.Same(t, readers.DuckDB, harness.BankTables...)
	require.Positive(t, bank.Balanced(t, pipe))
}
