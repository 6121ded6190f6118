package slots

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
	"github.com/lakeload/lakeload/tablefmt"
)

// zombies are where an engine is stopped: each is a step of a flush that it does when it wakes up.
var zombies = []struct {
	point   crashpoint.Point
	next    string // what it does next
	durable bool   // the flush is in the lake, its epoch too
	always  bool   // else only where tests may take long (LAKELOAD_LONG)
}{
	{crashpoint.FlushBegin, "write the data files", false, false},
	{crashpoint.DataFileWritten, "write the deletion vectors", false, false},
	{crashpoint.VectorsWritten, "commit to a table", false, false},
	{crashpoint.BeforeCommit, "put the commit into a table's log", false, true},
	{crashpoint.StoreSynced, "link an object that others may have made meanwhile", false, false},
	{crashpoint.AfterCommit, "commit to the next table", false, false},
	{crashpoint.TablesCommitted, "record the epoch", false, true},
	{crashpoint.EpochCommitted, "acknowledge", true, true},
	{crashpoint.Acknowledged, "receive what comes next", true, false},
}

// An engine is stopped in the middle of a flush, and another one takes its slot and goes on. When the first wakes up it changes nothing any more,
// says who has its place, and ends; the other one is not disturbed.
func TestEdge11Zombies(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 18))
	bank := harness.NewBank(t, db, 12)
	pipe := harness.NewPipeline(t, db, "--freshness", "20ms")
	pipe.UntilCurrent(t)
	for i, z := range zombies {
		if !z.always && !harness.Long() {
			continue
		}
		t.Run(string(z.point), func(t *testing.T) {
			bank.Run(t, 2, 5*time.Millisecond)
			zombie := pipe.Start(t, fmt.Sprintf("%s=%s:%d:stop", crashpoint.EnvVar, z.point, 2+i))
			harness.Await(t, "it is stopped", func() (bool, string) { return stopped(t, zombie), zombie.Log() })
			heir := pipe.Start(t, "--take-over", "--cache-dir", t.TempDir()) // as on another machine
			heir.Await("stream_started", nil)
			pipe.Sync(t, heir)
			before := len(zombie.Events("batch_committed"))
			zombie.Signal(syscall.SIGCONT)
			require.Equal(t, conflict, zombie.Wait(), "it was about to %s\n%s", z.next, zombie.Log())
			said := zombie.Events("pipeline_stopped")
			require.Len(t, said, 1, zombie.Log())
			require.Contains(t, said[0].Error+" "+said[0].Remedy, "another engine", zombie.Log())
			if z.point == crashpoint.BeforeCommit {
				require.Contains(t, said[0].Error, string(tablefmt.ConflictTxn), "the table's log says so, at once")
			}
			t.Logf("it was about to %s: %s", z.next, said[0].Error)
			if !z.durable { // else it tells late of what it had done
				require.Empty(t, zombie.Events("batch_committed")[before:], zombie.Log())
			}
			require.True(t, heir.Running(), heir.Log())
			pipe.Sync(t, heir)
			bank.Stop()
			heir.Stop()
			pipe.UntilCurrent(t)
			pipe.Same(t, readers.DuckDB, harness.BankTables...)
		})
	}
	require.Positive(t, bank.Balanced(t, pipe))
}

// stopped tells whether a process is.
func stopped(t *testing.T, e *harness.Engine) bool {
	t.Helper()
	if !e.Running() {
		t.Fatalf("it ended instead\n%s", e.Log())
	}
	out, err := exec.Command("ps", "-o", "state=", "-p", fmt.Sprint(e.Pid())).Output()
	require.NoError(t, err)
	return strings.HasPrefix(strings.TrimSpace(string(out)), "T")
}

// A second engine that may not wait ends by itself, with the reason: the state's slot is not its own.
func TestEdge11ASecondEngineWithAnotherSlot(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 18))
	bank := harness.NewBank(t, db, 13)
	pipe := harness.NewPipeline(t, db)
	first := pipe.Start(t)
	first.Await("stream_started", nil)
	bank.Run(t, 2, 5*time.Millisecond)
	owned := func() string {
		return db.Value(t, "select string_agg(slot_name, ',' order by slot_name) from pg_replication_slots where database = current_database()")
	}
	slots := owned()
	second := pipe.Start(t, "--slot", pipe.Name+"_other")
	code := second.Wait()
	said := second.Events("pipeline_stopped")
	t.Logf("exit code %d: %s", code, second.Log())
	require.Equal(t, conflict, code, second.Log())
	require.Len(t, said, 1)
	require.Contains(t, said[0].Error, pipe.Name+"_other")
	require.NotEmpty(t, said[0].Remedy)
	require.Equal(t, slots, owned(), "it made nothing at the server")
	pipe.Sync(t, first)
	bank.Stop()
	first.Stop()
	pipe.UntilCurrent(t)
	pipe.Same(t, readers.DuckDB, harness.BankTables...)
}
