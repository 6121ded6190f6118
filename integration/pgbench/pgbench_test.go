// Package pgbench mirrors pgbench's own workload while the program is killed again and again.
package pgbench

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// The size of the test; the environment variables override it.
const (
	scale   = 10
	clients = 8
	seconds = 60 // LAKELOAD_PGBENCH_SECONDS
	kills   = 20 // LAKELOAD_PGBENCH_KILLS
)

var tables = []string{"pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history"}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// TestKills runs pgbench's TPC-B script while the engine is killed by SIGKILL at random moments and started again. In the end all tables
// equal the source, by DuckDB and by delta-rs, and at every epoch of the lake the balances of accounts, tellers and branches and the history
// sum up to the same, as they do after every transaction of the script.
func TestKills(t *testing.T) {
	harness.Need(t)
	length := time.Duration(number(t, "LAKELOAD_PGBENCH_SECONDS", seconds)) * time.Second
	wanted := number(t, "LAKELOAD_PGBENCH_KILLS", kills)
	seed := uint64(number(t, "LAKELOAD_PGBENCH_SEED", int(time.Now().UnixNano())))
	t.Logf("%v, %d kills; seed %d (LAKELOAD_PGBENCH_SEED)", length, wanted, seed)

	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	pgbench(t, db, "-i", "-q", "-s", fmt.Sprint(scale)).wait(t)
	pipe := harness.NewPipeline(t, db, "--freshness", "250ms")
	load := pgbench(t, db, "-c", fmt.Sprint(clients), "-j", "2", "-T", fmt.Sprint(int(length.Seconds())), "-n", "--random-seed", fmt.Sprint(seed%(1<<31)))
	k := killAtRandom(t, pipe, seed, wanted, length)
	said := load.wait(t)
	for line := range strings.Lines(said) {
		if strings.Contains(line, "actually processed") || strings.Contains(line, "tps =") {
			t.Log("pgbench: ", strings.TrimSpace(line))
		}
	}
	t.Logf("%d engines were killed: %d while copying, %d while streaming", k.copying+k.streaming, k.copying, k.streaming)
	require.Equal(t, wanted, k.copying+k.streaming)
	require.Positive(t, k.streaming, "no kill met the stream")

	begun := time.Now()
	pipe.UntilCurrent(t)
	t.Logf("current %v after the workload's end", time.Since(begun).Round(10*time.Millisecond))
	pipe.Same(t, readers.DuckDB, tables...)
	pipe.Same(t, readers.DeltaRS, tables...)
	begun = time.Now()
	whole := harness.SameSums(t, pipe, harness.Sum{Table: "pgbench_accounts", Column: "abalance"}, harness.Sum{Table: "pgbench_branches", Column: "bbalance"},
		harness.Sum{Table: "pgbench_tellers", Column: "tbalance"}, harness.Sum{Table: "pgbench_history", Column: "delta"})
	t.Logf("every epoch was read in %v", time.Since(begun).Round(10*time.Millisecond))
	require.Positive(t, whole)
	require.Equal(t, pipe.DB.Value(t, "select sum(abalance) from pgbench_accounts"), pipe.DB.Value(t, "select sum(delta) from pgbench_history"))
}

type killed struct{ copying, streaming int }

// killAtRandom starts the engine, kills it at random moments of the time given and starts it again.
func killAtRandom(t *testing.T, pipe *harness.Pipeline, seed uint64, n int, length time.Duration) killed {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	moments := make([]time.Duration, n)
	for i := range moments {
		moments[i] = time.Duration(rng.Int64N(int64(length)))
	}
	slices.Sort(moments)
	var k killed
	begun := time.Now()
	e := pipe.Start(t)
	for _, at := range moments {
		if e.Gone(time.Until(begun.Add(at))) {
			t.Fatalf("the engine ended by itself\n%s", e.Log())
		}
		e.Kill()
		if len(e.Events("stream_started")) > 0 {
			k.streaming++
		} else {
			k.copying++
		}
		e = pipe.Start(t)
	}
	e.Await("stream_started", nil)
	if e.Gone(time.Until(begun.Add(length))) {
		t.Fatalf("the engine ended by itself\n%s", e.Log())
	}
	e.Stop()
	return k
}

// bench is a pgbench that runs.
type bench struct {
	cmd *exec.Cmd
	out strings.Builder
}

func pgbench(t *testing.T, db *harness.Database, args ...string) *bench {
	t.Helper()
	path, err := exec.LookPath("pgbench")
	require.NoError(t, err, "pgbench is needed: install PostgreSQL's client programs (Debian: postgresql-contrib or postgresql-15)")
	b := &bench{cmd: exec.Command(path, append(args, db.DSN)...)}
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.out
	require.NoError(t, b.cmd.Start())
	t.Cleanup(func() { _ = b.cmd.Process.Kill() })
	return b
}

func (b *bench) wait(t *testing.T) string {
	t.Helper()
	require.NoError(t, b.cmd.Wait(), "pgbench: %s", b.out.String())
	return b.out.String()
}
