package changes

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// TestReconnect takes the engine's connections, and the server, away under a workload: the same process goes on by itself each time, and
// source and lake are equal in the end.
func TestReconnect(t *testing.T) {
	harness.Need(t)
	for _, version := range []int{15, 18} {
		t.Run(fmt.Sprintf("PostgreSQL %d", version), func(t *testing.T) {
			s := pgtest.Start(t, pgserver.Options{Version: version})
			db := harness.NewDatabase(t, s)
			bank := harness.NewBank(t, db, uint64(version))
			pipe := harness.NewPipeline(t, db)
			e := pipe.Start(t)
			e.Await("stream_started", nil)
			bank.Run(t, 2, 3*time.Millisecond)
			for _, c := range []struct {
				name string
				do   func()
			}{
				{"the walsender was ended", func() { endWalsender(t, db) }},
				{"all connections were ended", func() {
					db.Value(t, "select count(pg_terminate_backend(pid)) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()")
				}},
				{"the server was restarted", func() { require.NoError(t, s.Restart(t.Context())) }},
				{"the server crashed", func() { s.Kill(); require.NoError(t, s.Restart(t.Context())) }},
				{"the server was away for a while", func() { s.Kill(); time.Sleep(3 * time.Second); require.NoError(t, s.Restart(t.Context())) }},
			} {
				time.Sleep(500 * time.Millisecond)
				streams := len(e.Events("stream_started"))
				begun := time.Now()
				c.do()
				took := time.Since(begun)
				harness.Await(t, "a new stream after "+c.name, func() (bool, string) {
					require.True(t, e.Running(), e.Log())
					return len(e.Events("stream_started")) > streams, e.Log()
				})
				pipe.Sync(t, e)
				t.Logf("%s (%v): current again %v after that", c.name, took.Round(10*time.Millisecond), (time.Since(begun) - took).Round(10*time.Millisecond))
			}
			bank.Stop()
			e.Stop()
			pipe.UntilCurrent(t)
			pipe.Same(t, readers.DuckDB, harness.BankTables...)
			require.Positive(t, bank.Balanced(t, pipe))
			require.Positive(t, bank.Transactions())
		})
	}
}

func endWalsender(t *testing.T, db *harness.Database) {
	t.Helper()
	harness.Await(t, "the walsender", func() (bool, string) {
		return db.Value(t, "select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database() and active") == "t", ""
	})
}
