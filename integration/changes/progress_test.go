package changes

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

const (
	progressMemory = "128MiB"
	// progressResident is what the process may take, whatever the transaction.
	progressResident = 256 << 20
)

// inProgress starts a pipeline of a table whose transactions are taken in progress. Its spool has a folder of its own.
func inProgress(t *testing.T, table string) (*harness.Database, *harness.Pipeline, *harness.Engine) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, pgtest.Version(18)))
	db.Exec(t, "create table big ("+table+")")
	pipe := harness.NewPipeline(t, db, "--memory", progressMemory)
	pipe.Env = append(pipe.Env, "TMPDIR="+t.TempDir())
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	pipe.Sync(t, e)
	return db, pipe, e
}

// caughtUp waits for a transaction that may take long.
func caughtUp(t *testing.T, db *harness.Database, pipe *harness.Pipeline, e *harness.Engine) {
	t.Helper()
	at := lsn(t, db.LSN(t))
	for deadline := time.Now().Add(20 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		require.True(t, e.Running(), e.Log())
		for _, ev := range e.Events("batch_committed") {
			if ev.LSN != "" && lsn(t, ev.LSN) >= at {
				pipe.Sync(t, e)
				return
			}
		}
		db.Exec(t, "update lakeload_mark set n = n + 1")
		require.True(t, time.Now().Before(deadline), e.Log())
	}
}

// TestEdge28MillionsOfRows: one transaction of millions of rows, much larger than what the process may take.
func TestEdge28MillionsOfRows(t *testing.T) {
	rows := 500_000
	if harness.Long() {
		rows = 5_000_000
	}
	db, pipe, e := inProgress(t, "id bigint primary key, a text, b numeric(12,2), c text, n int not null default 0")
	small := resident(t, e)
	from := lsn(t, db.LSN(t))
	begun := time.Now()
	db.Exec(t, fmt.Sprintf("insert into big select i, md5(i::text) || md5((i + 1)::text), i, 'note ' || repeat(md5(i::text), 4), 1 from generate_series(1, %d) i", rows))
	wrote := time.Since(begun)
	size := int64(lsn(t, db.LSN(t)) - from)
	caughtUp(t, db, pipe, e)
	peak := resident(t, e)
	t.Logf("PostgreSQL %d: a transaction of %d rows and %d MiB of log with a budget of %s: written in %v, in the lake %v later; resident %d MiB before it, at most %d MiB",
		pgtest.Version(18), rows, size>>20, progressMemory, wrote.Round(time.Millisecond), (time.Since(begun) - wrote).Round(time.Millisecond), small>>20, peak>>20)
	require.Greater(t, size, int64(128<<20), "it would fit into the budget")
	if peak > 0 {
		require.Less(t, peak, int64(progressResident))
	}
	e.Stop()
	pipe.Same(t, readers.DuckDB, "big")
}

// TestEdge27HundredThousandSavepoints: one transaction of very many savepoints, every other of which is rolled back.
func TestEdge27HundredThousandSavepoints(t *testing.T) {
	savepoints := 20_000
	if harness.Long() {
		savepoints = 100_000
	}
	db, pipe, e := inProgress(t, "id bigint primary key, v text")
	db.Exec(t, "alter database "+db.Name+" set logical_decoding_work_mem = '64kB'", "select pg_terminate_backend(active_pid) from pg_replication_slots where active and database = current_database()")
	pipe.Sync(t, e) // the next stream has the setting
	small := resident(t, e)
	begun := time.Now()
	db.Exec(t, fmt.Sprintf(`do $$ begin
		for i in 1..%d loop
			begin
				insert into big values (i, repeat(md5(i::text), 5));
				if i %% 2 = 0 then raise exception 'no'; end if;
			exception when others then null;
			end;
		end loop; end $$`, savepoints))
	wrote := time.Since(begun)
	caughtUp(t, db, pipe, e)
	peak := resident(t, e)
	t.Logf("PostgreSQL %d: a transaction of %d savepoints, half of them rolled back: written in %v, in the lake %v later; resident %d MiB before it, at most %d MiB",
		pgtest.Version(18), savepoints, wrote.Round(time.Millisecond), (time.Since(begun) - wrote).Round(time.Millisecond), small>>20, peak>>20)
	require.Equal(t, fmt.Sprint(savepoints/2), db.Value(t, "select count(*) from big"))
	if peak > 0 {
		require.Less(t, peak, int64(progressResident))
	}
	e.Stop()
	pipe.Same(t, readers.DuckDB, "big")
}

// TestEdge28KilledWhileSpooling kills the engine while it keeps a transaction in progress on disk: nothing of that is found again, nothing
// lies around, and the next run applies the transaction whole.
func TestEdge28KilledWhileSpooling(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("left out: only Linux tells which files a process has open")
	}
	db, pipe, e := inProgress(t, "id bigint primary key, v text")
	db.Exec(t, "alter database "+db.Name+" set logical_decoding_work_mem = '64kB'", "select pg_terminate_backend(active_pid) from pg_replication_slots where active and database = current_database()")
	pipe.Sync(t, e)
	conn := db.Connect(t)
	exec := func(sql string) {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	exec("begin")
	exec("insert into big select i, repeat(md5(i::text), 10) from generate_series(1, 50000) i")
	harness.Await(t, "a spool on disk", func() (bool, string) { return spoolsOf(t, e.Pid()) > 0, e.Log() })
	e.Kill()
	require.Empty(t, spoolLeftovers(t, pipe), "what was spooled is still there")
	again := pipe.Start(t)
	again.Await("stream_started", nil)
	harness.Await(t, "a spool on disk, once more", func() (bool, string) { return spoolsOf(t, again.Pid()) > 0, again.Log() })
	exec("insert into big values (0, 'last')")
	exec("commit")
	caughtUp(t, db, pipe, again)
	require.Zero(t, spoolsOf(t, again.Pid()), "the spool is given back")
	again.Stop()
	pipe.Same(t, readers.DuckDB, "big")
	require.Empty(t, spoolLeftovers(t, pipe))
}

// spoolsOf counts the spool files that a process has open.
func spoolsOf(t *testing.T, pid int) (n int) {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	require.NoError(t, err)
	for _, e := range entries {
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name()))
		if err == nil && strings.Contains(to, "lakeload-spool-") {
			n++
		}
	}
	return n
}

// spoolLeftovers are the files below the pipeline's folder for temporary files.
func spoolLeftovers(t *testing.T, pipe *harness.Pipeline) (files []string) {
	t.Helper()
	dir := strings.TrimPrefix(pipe.Env[len(pipe.Env)-1], "TMPDIR=")
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	}))
	return files
}
