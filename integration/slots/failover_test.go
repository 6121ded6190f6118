package slots

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

// The primary dies under a workload and its standby, which keeps the slot, is promoted: the same process goes on by itself, nothing is lost
// and nothing applied twice, and the epochs carry the new timeline.
func TestEdge18FailoverIsFollowed(t *testing.T) {
	for _, version := range []int{17, 18} {
		t.Run(fmt.Sprintf("PostgreSQL %d", version), func(t *testing.T) {
			p := newPair(t, version, "--failover")
			e := p.pipe.Start(t)
			e.Await("stream_started", nil)
			p.pipe.Sync(t, e)
			p.kept()
			p.waitsForStandby()
			p.bank.Run(t, 2, 3*time.Millisecond)
			time.Sleep(time.Second) // of the workload's making
			p.pipe.Sync(t, e)
			p.primary.Kill()
			streams := len(e.Events("stream_started"))
			require.NoError(t, p.standby.Promote(t.Context()))
			promoted := time.Now()
			harness.Await(t, "a new stream", func() (bool, string) {
				require.True(t, e.Running(), e.Log())
				return len(e.Events("stream_started")) > streams, e.Log()
			})
			p.pipe.Sync(t, e)
			t.Logf("current again %v after the promotion", time.Since(promoted).Round(10*time.Millisecond))
			time.Sleep(time.Second)
			p.bank.Stop()
			e.Stop()
			require.Equal(t, 2, status(t, p.pipe).Source.Timeline)
			p.pipe.UntilCurrent(t)
			p.pipe.Same(t, readers.DuckDB, harness.BankTables...)
			require.Positive(t, p.bank.Balanced(t, p.pipe))
			require.Len(t, e.Events("snapshot_finished"), len(harness.BankTables)+1, "nothing was copied again")
		})
	}
}

// A standby that does not keep the slot (PostgreSQL 15 cannot): the loss is told, remembered in the lake, and ended by an adoption.
func TestEdge18FailoverWithoutTheSlot(t *testing.T) {
	p := newPair(t, 15)
	e := p.pipe.Start(t)
	e.Await("stream_started", nil)
	p.pipe.Sync(t, e)
	p.caughtUp()
	p.primary.Kill()
	require.NoError(t, p.standby.Promote(t.Context()))
	require.Equal(t, conflict, e.Wait(), e.Log())
	stopped := e.Events("pipeline_stopped")[0]
	require.Contains(t, stopped.Error, "is gone")
	require.Contains(t, stopped.Remedy, "lakeload adopt")
	s := status(t, p.pipe)
	require.NotNil(t, s.Halt)
	require.False(t, s.Healthy)
	require.Equal(t, failed, harness.Do(t, harness.Command(t, "status", "--lake", p.pipe.Lake, "--name", p.pipe.Name, "--exit-code")).Code)

	p.db.Exec(t, "insert into ledger (account, delta) values (1, 0)")
	shown := adopt(t, p.pipe)
	require.Equal(t, 0, shown.Code, shown)
	require.Contains(t, shown.Stdout, "nothing was changed")
	refused(t, p.pipe, "is gone")
	done := adopt(t, p.pipe, "-y", "--note", "a failover without the slot")
	require.Equal(t, 0, done.Code, done)
	p.pipe.UntilCurrent(t)
	p.pipe.Same(t, readers.DuckDB, harness.BankTables...)
	s = status(t, p.pipe)
	require.Nil(t, s.Halt)
	require.True(t, s.Healthy)
	require.Equal(t, "a failover without the slot", s.Adoptions[0].Note)
	require.Contains(t, s.Adoptions[0].By, "@")
}

// The promoted standby lacks what the lake has: the engine stops, and stays stopped however far the server goes on.
func TestEdge20LakeAheadOfThePromotedServer(t *testing.T) {
	p := newPair(t, 18, "--failover")
	e := p.pipe.Start(t)
	e.Await("stream_started", nil)
	p.pipe.Sync(t, e)
	p.kept()
	p.caughtUp()
	require.NoError(t, p.standby.Disconnect(t.Context()))
	p.db.Exec(t, "insert into ledger (account, delta) values (1, 7), (2, -7)")
	p.pipe.Sync(t, e)
	p.primary.Kill()
	require.NoError(t, p.standby.Promote(t.Context()))
	require.Equal(t, conflict, e.Wait(), e.Log())
	require.Contains(t, e.Events("pipeline_stopped")[0].Error, "the lake is ahead")
	for range 3 {
		p.db.Exec(t, "create table if not exists noise (v text)", "insert into noise select repeat('x', 1000) from generate_series(1, 3000)", "select pg_switch_wal()")
		refused(t, p.pipe, "ahead", "lakeload adopt")
	}
	word := adopt(t, p.pipe, "--continuous", "-y")
	require.Equal(t, preflight, word.Code, word)
	require.Contains(t, word.Stdout, "OBSTACLE")
	require.Equal(t, 0, adopt(t, p.pipe, "-y").Code)
	p.pipe.UntilCurrent(t)
	p.pipe.Same(t, readers.DuckDB, harness.BankTables...)
}

// An old primary that comes back under the address is not followed.
func TestEdge19OldPrimaryComesBack(t *testing.T) {
	p := newPair(t, 18, "--failover")
	e := p.pipe.Start(t)
	e.Await("stream_started", nil)
	p.pipe.Sync(t, e)
	p.kept()
	p.caughtUp()
	require.NoError(t, p.primary.Halt(t.Context()))
	require.NoError(t, p.standby.Promote(t.Context()))
	p.pipe.Sync(t, e)
	e.Stop()
	p.pipe.UntilCurrent(t)
	require.NoError(t, p.standby.Halt(t.Context()))
	require.NoError(t, p.primary.Restart(t.Context())) // writable, and first in the list
	refused(t, p.pipe, "does not descend", "connect to the server that took the old one's place")
	require.Nil(t, status(t, p.pipe).Halt, "a wrong address is nothing to remember")
	require.NoError(t, p.primary.Halt(t.Context()))
	require.NoError(t, p.standby.Restart(t.Context()))
	p.db.Exec(t, "insert into ledger (account, delta) values (3, 0)")
	p.pipe.UntilCurrent(t)
	p.pipe.Same(t, readers.DuckDB, harness.BankTables...)
}

// A restored copy of the server's disk, on the same timeline: its log ends before what the lake has, and goes on from there. Also when it has
// passed that position the lake is not continued.
func TestEdge19RestoredFromABackup(t *testing.T) {
	for _, version := range []int{15, 18} {
		t.Run(fmt.Sprintf("PostgreSQL %d", version), func(t *testing.T) {
			harness.Need(t)
			server := pgtest.Start(t, pgserver.Options{Version: version})
			db := harness.NewDatabase(t, server)
			harness.NewBank(t, db, 1)
			pipe := harness.NewPipeline(t, db)
			pipe.UntilCurrent(t)
			require.NoError(t, server.Halt(t.Context()))
			restored, err := server.Clone(t.Context(), pgserver.Options{})
			require.NoError(t, err)
			defer func() { require.NoError(t, restored.Stop(t.Context())) }()
			require.NoError(t, restored.Halt(t.Context()))
			require.NoError(t, server.Restart(t.Context()))
			db.Exec(t, "insert into ledger (account, delta) select 1, 0 from generate_series(1, 2000)")
			pipe.UntilCurrent(t)
			require.NoError(t, server.Halt(t.Context()))
			require.NoError(t, restored.Restart(t.Context()))
			pipe.DB = &harness.Database{Server: restored, Name: db.Name, DSN: restored.DSNFor(db.Name, pgserver.Superuser)}
			refused(t, pipe, "adopt")
			pipe.DB.Exec(t, "insert into ledger (account, delta) select 2, 0 from generate_series(1, 50000)")
			refused(t, pipe, "adopt")
			require.Equal(t, 0, adopt(t, pipe, "-y").Code)
			pipe.UntilCurrent(t)
			pipe.Same(t, readers.DuckDB, harness.BankTables...)
		})
	}
}
