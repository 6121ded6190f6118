package slots

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver"
)

// The lake is fed from a standby: copied and followed there, also over its restart, while publications are made on the primary; and when that
// standby is promoted its own slot goes on.
func TestEdge22FedFromAStandby(t *testing.T) {
	for _, version := range []int{16, 18} {
		t.Run(fmt.Sprintf("PostgreSQL %d", version), func(t *testing.T) {
			p := newPair(t, version)
			writable := p.db.DSN
			p.bank.Run(t, 2, 3*time.Millisecond)
			reader := &harness.Pipeline{DB: &harness.Database{Server: p.standby, Name: p.db.Name, DSN: p.standby.DSNFor(p.db.Name, pgserver.Superuser)}, Name: p.pipe.Name, Lake: p.pipe.Lake, Args: p.pipe.Args}
			p.caughtUp()
			e := reader.Start(t, "--standby", "--primary="+p.primary.DSNFor(p.db.Name, pgserver.Superuser))
			e.Await("stream_started", nil)
			// Marks are written where one can write; the lake is read by the standby's position.
			marked := &harness.Pipeline{DB: &harness.Database{Server: p.primary, Name: p.db.Name, DSN: writable}, Name: p.pipe.Name, Lake: p.pipe.Lake}
			marked.Sync(t, e)
			streams := len(e.Events("stream_started"))
			harness.Await(t, "the primary to know what the standby needs", func() (bool, string) { // which it is told once a second
				rows, err := p.primary.SQL(t.Context(), "SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical' AND catalog_xmin IS NOT NULL")
				require.NoError(t, err)
				return rows[0][0] == "1", e.Log()
			})
			require.NoError(t, p.standby.Restart(t.Context()))
			harness.Await(t, "a new stream", func() (bool, string) { return len(e.Events("stream_started")) > streams, e.Log() })
			marked.Sync(t, e)
			p.bank.Stop()
			p.caughtUp()
			marked.Sync(t, e)
			marked.Same(t, readers.DuckDB, harness.BankTables...)

			p.primary.Kill()
			require.NoError(t, p.standby.Promote(t.Context()))
			streams = len(e.Events("stream_started"))
			p.bank.Run(t, 1, 3*time.Millisecond)
			marked.Sync(t, e)
			if version == 18 { // else it is stopped before it has noticed
				harness.Await(t, "a stream of the new timeline", func() (bool, string) { return len(e.Events("stream_started")) > streams, e.Log() })
			}
			p.bank.Stop()
			marked.Sync(t, e)
			e.Stop()
			p.db.Exec(t, "insert into log values (22, 'after the promotion')")
			reader.UntilCurrent(t)
			require.Equal(t, 2, status(t, reader).Source.Timeline)
			marked.Same(t, readers.DuckDB, harness.BankTables...)
			require.Positive(t, p.bank.Balanced(t, marked))
		})
	}
}
