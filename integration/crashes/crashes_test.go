// Package crashes kills the real program at each of its crash points, by real signals, over a real server, and compares what it leaves.
package crashes

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// times is how often each point is crashed at; the simulation in package lakehouse does it ten times each.
const times = 2

// tally counts crashes by point.
type tally struct {
	crashed map[crashpoint.Point]int
	engines int // that were started
}

// TestEveryCrashPoint crashes the program at every point, under a live workload. After each group of points the lake equals the source, and at
// every epoch the books are right.
func TestEveryCrashPoint(t *testing.T) {
	harness.Need(t)
	began := time.Now()
	count := &tally{crashed: map[crashpoint.Point]int{}}
	first, later := split()
	t.Run("copy", func(t *testing.T) {
		for _, p := range first {
			for nth := 1; nth <= times; nth++ {
				t.Run(fmt.Sprintf("%s:%d", p, nth), func(t *testing.T) { crashInCopy(t, count, p, nth) })
			}
		}
	})
	t.Run("stream", func(t *testing.T) { crashInStream(t, count, later) })
	t.Run("count", func(t *testing.T) { // a subtest, so that the others can be run alone
		var table strings.Builder
		total := 0
		for _, p := range crashpoint.All() {
			fmt.Fprintf(&table, "  %-20s %d\n", p, count.crashed[p])
			total += count.crashed[p]
		}
		t.Logf("%d crashes by SIGKILL at %d points, %d engines, %v:\n%s", total, len(crashpoint.All()), count.engines, time.Since(began).Round(time.Second), &table)
		for _, p := range crashpoint.All() {
			require.GreaterOrEqual(t, count.crashed[p], times, "crashes at %s", p)
		}
	})
}

// split parts the points that are passed once, when a pipeline begins, from those that are passed again and again.
func split() (first, later []crashpoint.Point) {
	for _, p := range crashpoint.All() {
		if strings.HasPrefix(string(p), "slot-") || strings.HasPrefix(string(p), "copy-") {
			first = append(first, p)
		} else {
			later = append(later, p)
		}
	}
	return first, later
}

// crashInCopy begins a pipeline of its own and crashes it at the point, then again at the same point if it is passed again.
func crashInCopy(t *testing.T, count *tally, p crashpoint.Point, nth int) {
	db := harness.NewDatabase(t, pgtest.Shared(t, 18))
	bank := harness.NewBank(t, db, uint64(nth))
	pipe := harness.NewPipeline(t, db)
	bank.Run(t, 2, 5*time.Millisecond)
	hit := nth
	if strings.HasPrefix(string(p), "slot-") { // they are passed once in a life
		hit = 1
	}
	crash(t, count, pipe, p, hit)
	e := pipe.Start(t)
	count.engines++
	e.Await("stream_started", nil)
	time.Sleep(200 * time.Millisecond)
	e.Stop()
	bank.Stop()
	compare(t, count, bank, pipe)
}

// crashInStream crashes one pipeline again and again, at all points in a random order.
func crashInStream(t *testing.T, count *tally, points []crashpoint.Point) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	bank := harness.NewBank(t, db, seed)
	pipe := harness.NewPipeline(t, db, "--freshness", "20ms")
	pipe.UntilCurrent(t)
	bank.Run(t, 2, 5*time.Millisecond)
	for range times {
		rng.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
		for _, p := range points {
			if !idle(p) {
				crash(t, count, pipe, p, 1+rng.IntN(4))
			}
		}
	}
	bank.Stop()
	compare(t, count, bank, pipe)
	for _, p := range slices.Repeat([]crashpoint.Point{crashpoint.IdleBefore, crashpoint.IdleAfter}, times) {
		// A run that finds nothing to write records the position at its end.
		db.Exec(t, "select pg_logical_emit_message(false, 'test', 'nothing')", "select pg_switch_wal()")
		crash(t, count, pipe, p, 1, "--until-current")
	}
	pipe.UntilCurrent(t)
	pipe.Same(t, readers.DuckDB, harness.BankTables...)
}

func idle(p crashpoint.Point) bool { return p == crashpoint.IdleBefore || p == crashpoint.IdleAfter }

// crash runs the program until it dies at the nth time that it passes the point.
func crash(t *testing.T, count *tally, pipe *harness.Pipeline, p crashpoint.Point, nth int, more ...string) {
	t.Helper()
	e := pipe.Start(t, append(more, fmt.Sprintf("%s=%s:%d", crashpoint.EnvVar, p, nth))...)
	count.engines++
	e.Wait()
	require.True(t, e.Killed(), "%s:%d: it did not die of the crash", p, nth)
	count.crashed[p]++
}

// compare brings the lake up to the source and compares both, at the end and at every epoch.
func compare(t *testing.T, count *tally, bank *harness.Bank, pipe *harness.Pipeline) {
	t.Helper()
	pipe.UntilCurrent(t)
	count.engines++
	pipe.Same(t, readers.DuckDB, harness.BankTables...)
	require.Positive(t, bank.Balanced(t, pipe))
}
