package changes

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

const (
	hugeRows   = 600_000
	hugeMemory = "64MiB"
	// hugeResident bounds the process: the budget, and what a Go program with its Parquet buffers and garbage takes beside it. The transaction
	// is larger than that.
	hugeResident = 200 << 20
)

// TestHugeTransaction makes one transaction of many times the memory budget, that changes rows of its own again: it shows whole or not at
// all, and the process stays small.
func TestHugeTransaction(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	db.Exec(t, `create table big (id bigint primary key, a text, b numeric(12,2), c text, n int not null default 0)`, `insert into big select i, 'old', i, null from generate_series(1, 1000) i`)
	pipe := harness.NewPipeline(t, db, "--memory", hugeMemory)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	first := pipe.Sync(t, e)
	small := resident(t, e)

	from := lsn(t, db.LSN(t))
	begun := time.Now()
	db.Exec(t, fmt.Sprintf(`begin;
		insert into big select i, md5(i::text) || md5((i + 1)::text) || md5((i + 2)::text), i, 'note ' || repeat(md5(i::text), 5), 1 from generate_series(1001, %d) i;
		update big set n = n + 1, b = -b where id %% 3 = 0;
		delete from big where id %% 10 = 7;
		update big set n = n + 1 where id %% 30 = 0;
		commit`, hugeRows))
	wrote := time.Since(begun)
	size := int64(lsn(t, db.LSN(t)) - from)
	last := pipe.Sync(t, e)
	applied := time.Since(begun) - wrote
	peak := resident(t, e)
	t.Logf("a transaction of %d MiB of write-ahead log with a budget of %s: written in %v, in the lake %v later; resident %d MiB before it, at most %d MiB",
		size>>20, hugeMemory, wrote.Round(time.Millisecond), applied.Round(time.Millisecond), small>>20, peak>>20)
	require.Greater(t, size, int64(300<<20), "the transaction is too small for what is tested")
	if peak > 0 {
		require.Less(t, peak, int64(hugeResident))
	}
	e.Stop()
	pipe.Same(t, readers.DuckDB, "big")
	pipe.Same(t, readers.DeltaRS, "big")
	whole := db.Value(t, "select count(*) from big")
	for v := first.Tables["public.big"]; v <= last.Tables["public.big"]; v++ {
		rows, err := readers.Get(t, readers.DuckDB).SQL(t.Context(), "select count(*) from "+readers.DeltaScan(pipe.Path("big"), &v))
		require.NoError(t, err)
		require.Contains(t, []string{"1000", whole}, rows[0][0], "version %d shows a part of the transaction", v)
	}
	restarted := pipe.UntilCurrent(t, "--memory", hugeMemory)
	require.Empty(t, restarted.Events("table_stopped"))
	pipe.Same(t, readers.DuckDB, "big")
}

// TestHugeTransactionKilled kills the engine while it applies such a transaction: nothing of it shows, and the next run applies it whole.
func TestHugeTransactionKilled(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	db.Exec(t, `create table big (id bigint primary key, a text)`, `insert into big values (0, 'old')`)
	pipe := harness.NewPipeline(t, db, "--memory", "16MiB")
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	pipe.Sync(t, e)
	files := dataFiles(t, pipe.Path("big"))
	db.Exec(t, `insert into big select i, repeat(md5(i::text), 4) from generate_series(1, 200000) i`)
	harness.Await(t, "a part that is staged", func() (bool, string) { return dataFiles(t, pipe.Path("big")) > files, e.Log() })
	e.Kill()
	rows, err := readers.Get(t, readers.DuckDB).SQL(t.Context(), "select count(*) from "+readers.DeltaScan(pipe.Path("big"), nil))
	require.NoError(t, err)
	require.Contains(t, []string{"1", "200001"}, rows[0][0])
	t.Logf("killed when the lake showed %s rows", rows[0][0])
	pipe.UntilCurrent(t)
	pipe.Same(t, readers.DuckDB, "big")
}

func dataFiles(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	n := 0
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".parquet") {
			n++
		}
	}
	return n
}

// resident is the greatest resident size that a process has had, in bytes; 0 where the system does not tell.
func resident(t *testing.T, e *harness.Engine) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.Pid()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			require.NoError(t, err)
			return kib << 10
		}
	}
	return 0
}
