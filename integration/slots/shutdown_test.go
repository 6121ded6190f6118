package slots

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// The store hangs in the middle of a commit, and the server is shut down (fast): it is not held up for what cannot be acknowledged.
func TestI9FastShutdownWhileTheStoreHangs(t *testing.T) {
	harness.Need(t)
	for version, point := range map[int]string{15: "before-commit", 18: "data-file-written"} {
		t.Run(fmt.Sprintf("PostgreSQL %d, %s", version, point), func(t *testing.T) {
			s := pgtest.Start(t, pgserver.Options{Version: version})
			db := harness.NewDatabase(t, s)
			db.Exec(t, "create table a (id int primary key, v text)")
			pipe := harness.NewPipeline(t, db)
			pipe.UntilCurrent(t)
			e := pipe.Start(t, "LAKELOAD_CRASHPOINT="+point+":1:hang")
			e.Await("stream_started", nil)
			db.Exec(t, "insert into a select g, repeat('x', 500) from generate_series(1, 20000) g")
			time.Sleep(time.Second) // it is received, and hangs
			require.Empty(t, e.Events("batch_committed"), e.Log())
			// Its own patience with walsenders is wal_sender_timeout, a minute; a server that was held up would be ended hard by then.
			ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
			defer cancel()
			begun := time.Now()
			require.NoError(t, s.Halt(ctx), "the shutdown was held up")
			t.Logf("the server was down after %v", time.Since(begun).Round(10*time.Millisecond))
			require.True(t, e.Running(), e.Log())
			e.Kill()
			require.NoError(t, s.Restart(t.Context()))
			pipe.UntilCurrent(t)
			pipe.Same(t, readers.DuckDB, "a")
		})
	}
}

// Nothing of ours changes, and another database of the cluster is busy: the slot follows all the same, by idle positions that are recorded in
// the lake, and keeps no log back.
func TestEdge12IdlePipelineBesideABusyDatabase(t *testing.T) {
	harness.Need(t)
	s := pgtest.Start(t, pgserver.Options{Version: 18})
	db, busy := harness.NewDatabase(t, s), harness.NewDatabase(t, s)
	db.Exec(t, "create table a (id int primary key)", "insert into a values (1)")
	busy.Exec(t, "create table noise (v text)")
	pipe := harness.NewPipeline(t, db)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	pipe.Sync(t, e)
	owned := db.Owned(t)
	busy.Exec(t, "insert into noise select repeat('x', 1000) from generate_series(1, 30000)")
	target, err := cdc.ParseLSN(db.LSN(t))
	require.NoError(t, err)
	commits := len(e.Events("batch_committed"))
	harness.Await(t, "the slot has passed "+target.String(), func() (bool, string) { // every 30 s, see Options.IdleInterval
		at, err := cdc.ParseLSN(db.Value(t, "select confirmed_flush_lsn from pg_replication_slots where database = current_database()"))
		require.NoError(t, err)
		return at >= target, e.Log()
	})
	require.Len(t, e.Events("batch_committed"), commits, "nothing of ours was changed for it")
	require.Equal(t, owned[:20], db.Owned(t)[:20])
	restart, err := cdc.ParseLSN(db.Value(t, "select restart_lsn from pg_replication_slots where database = current_database()"))
	require.NoError(t, err)
	t.Logf("the slot's restart position is %d bytes behind", target-min(target, restart))
	e.Stop()
	pipe.UntilCurrent(t)
	pipe.Same(t, readers.DuckDB, "a")
}
