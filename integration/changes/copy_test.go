package changes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// copySize is how large the table of the tests of copies is: ten million rows in the long run. The small one is read slowly, or there would be
// no time to kill the program while a tenth of it is left.
func copySize() (rows int, limits string) {
	if harness.Long() {
		return 10_000_000, "copy_range: 32MiB"
	}
	return 400_000, "copy_range: 1MiB, copy_rate: 5MiB"
}

// copyPipeline copies by ranges.
func copyPipeline(t *testing.T, db *harness.Database, limits string) *harness.Pipeline {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "lakeload.yaml")
	require.NoError(t, os.WriteFile(conf, []byte("version: 1\nlimits: {"+limits+"}\n"), 0o600))
	return harness.NewPipeline(t, db, "-c", conf)
}

// liveUpdates changes a table (id, v, n) until the function that it gives is called, with keys of rows from 1 to rows.
func liveUpdates(t *testing.T, db *harness.Database, table string, rows int, keyed bool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for seed := range uint64(2) {
		conn, err := pgx.Connect(ctx, db.DSN)
		require.NoError(t, err)
		wg.Go(func() {
			defer func() { _ = conn.Close(context.Background()) }()
			rng := rand.New(rand.NewPCG(seed, 1))
			for i := 0; ctx.Err() == nil; i++ {
				id := 1 + rng.IntN(rows)
				sql := []string{
					fmt.Sprintf("update %s set n = n + 1, v = v || 'x' where id between %d and %d", table, id, id+3),
					fmt.Sprintf("delete from %s where id = %d", table, id),
					fmt.Sprintf("insert into %s (id, v) values (%d, 'new')", table, rows+1+int(seed)+2*i),
					fmt.Sprintf("update %s set id = -id where id = %d", table, id),
				}[rng.IntN(4)]
				if !keyed {
					sql = fmt.Sprintf("insert into %s (id, v) values (%d, 'new')", table, id)
				}
				if _, err := conn.Exec(ctx, sql); err != nil && ctx.Err() == nil {
					t.Errorf("%s: %v", sql, err)
					return
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// TestCopyKilledNearItsEnd kills the copy of a keyed table under live updates when nine tenths are done. The next run reads at most what was
// being read, and what its updates added; the table equals the source.
func TestCopyKilledNearItsEnd(t *testing.T) {
	harness.Need(t)
	rows, limits := copySize()
	db := harness.NewDatabase(t, pgtest.Shared(t, 18))
	db.Exec(t, "create table big (id bigint primary key, v text, n int not null default 0)",
		fmt.Sprintf("insert into big select i, md5(i::text) || md5((-i)::text), 0 from generate_series(1, %d) i", rows), "analyze big")
	pipe := copyPipeline(t, db, limits)
	stop := liveUpdates(t, db, "big", rows, true)
	begun := time.Now()
	e := pipe.Start(t)
	started := e.Await("snapshot_started", func(ev harness.Event) bool { return ev.Table == "public.big" })
	require.Greater(t, started.Ranges, 10)
	e.Await("snapshot_progress", func(ev harness.Event) bool { return ev.Table == "public.big" && ev.Done >= started.Ranges*9/10 })
	e.Kill()
	told := pipe.Status(t)["public.big"]
	require.Equal(t, "copying", told.Phase)
	require.GreaterOrEqual(t, told.Copy.Done, started.Ranges*8/10, "what was read last may not be in the lake yet")
	require.Less(t, told.Copy.Done, told.Copy.Ranges)
	require.Equal(t, started.Ranges, told.Copy.Ranges)
	require.Greater(t, told.Copy.Rows, int64(rows/2))
	last := e.Events("snapshot_progress")
	killed := last[len(last)-1]
	t.Logf("%d of %d ranges, %d rows, in %v", killed.Done, started.Ranges, killed.Rows, time.Since(begun).Round(time.Millisecond))
	begun = time.Now()
	e = pipe.Start(t)
	again := e.Await("snapshot_started", func(ev harness.Event) bool { return ev.Table == "public.big" })
	e.Await("snapshot_finished", func(ev harness.Event) bool { return ev.Table == "public.big" })
	progress := e.Events("snapshot_progress")
	read := progress[len(progress)-1].Rows - again.Rows
	inFlight := int64(rows) - killed.Rows + int64(2*rows/started.Ranges) // two readers, with a range each that was not told yet
	t.Logf("the second run read %d rows (%d ranges were there) in %v", read, again.Done, time.Since(begun).Round(time.Millisecond))
	require.LessOrEqual(t, read, inFlight+int64(rows)/20, "it read again what was there")
	require.Positive(t, read)
	stop()
	pipe.Sync(t, e)
	e.Stop()
	pipe.Same(t, readers.DuckDB, "big")
	require.Equal(t, "live", pipe.Status(t)["public.big"].Phase)
}

// TestCopyWithoutAKeyKilled does so to a table without a key, which begins again and is right.
func TestCopyWithoutAKeyKilled(t *testing.T) {
	harness.Need(t)
	rows, limits := copySize()
	db := harness.NewDatabase(t, pgtest.Shared(t, 18))
	db.Exec(t, "create table big (id bigint, v text, n int not null default 0)",
		fmt.Sprintf("insert into big select i, md5(i::text) || md5((-i)::text), 0 from generate_series(1, %d) i", rows))
	pipe := copyPipeline(t, db, limits)
	stop := liveUpdates(t, db, "big", rows, false)
	e := pipe.Start(t)
	started := e.Await("snapshot_started", func(ev harness.Event) bool { return ev.Table == "public.big" })
	e.Await("snapshot_progress", func(ev harness.Event) bool { return ev.Table == "public.big" && ev.Done >= started.Ranges*9/10 })
	e.Kill()
	e = pipe.Start(t)
	e.Await("snapshot_finished", func(ev harness.Event) bool { return ev.Table == "public.big" })
	stop()
	pipe.Sync(t, e)
	e.Stop()
	pipe.Same(t, readers.DuckDB, "big")
}
