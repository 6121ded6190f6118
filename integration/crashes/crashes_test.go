// Package crashes kills the real program at each of its crash points, and at random moments, by real signals, over a real server, and compares
// what it leaves by other people's readers.
package crashes

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// envCrashes is how often each point is crashed at in each mode: once without it, ten times for the table in docs/EXACTLY_ONCE.md.
const envCrashes = "LAKELOAD_CRASHES"

// number gives the number in an environment variable.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, name)
	return n
}

// TestEveryCrashPoint kills the program at every point in every mode, starts it again and compares the lake with the source.
// With LAKELOAD_CRASH_TABLE it writes what it counted into docs/EXACTLY_ONCE.md.
func TestEveryCrashPoint(t *testing.T) {
	harness.Need(t)
	times := int(number(t, envCrashes, 1))
	seed := number(t, "LAKELOAD_SEED", uint64(time.Now().UnixNano()))
	t.Logf("LAKELOAD_SEED=%d", seed)
	count := newTally(times)
	begun := time.Now()
	t.Run("modes", func(t *testing.T) { // a group: it ends when all modes have
		for i, m := range modes {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				crashIn(t, count, &m, rand.New(rand.NewPCG(seed, uint64(i))))
			})
		}
	})
	kills, differences := count.totals()
	t.Logf("%d kills, %d differences, in %v", kills, differences, time.Since(begun).Round(time.Second))
	if os.Getenv(envTable) != "" {
		writeTable(t, count)
	}
}

// inARow is how many kills follow each other at most before source and lake are compared.
const inARow = 7

// crashIn kills the program at every point of a mode that can be reached, and shows that the others are not passed. Some kills follow each
// other before source and lake are compared: a difference counts for each of them.
func crashIn(t *testing.T, count *tally, m *mode, rng *rand.Rand) {
	s := newSite(t, m, rng)
	for round := range count.times {
		for _, points := range rows(m, rng) {
			began := time.Now()
			for _, p := range points {
				s.crash(p)
			}
			killed := time.Now()
			differ := s.compare()
			t.Logf("%s: round %d, %v: killed in %v, compared in %v", m.name, round, points, killed.Sub(began).Round(10*time.Millisecond), time.Since(killed).Round(10*time.Millisecond))
			for _, p := range points {
				count.add(m.name, p, differ)
			}
			if differ != "" {
				t.Fatalf("mode %s: after kills at %v the lake is not the source:\n%s", m.name, points, differ)
			}
		}
	}
	for p := range m.never {
		s.notReached(p)
	}
	s.end()
	count.whole(m.name)
}

// rows deals the points of a mode out, in a random order. One that needs a new pipeline is the first of its row.
func rows(m *mode, rng *rand.Rand) [][]crashpoint.Point {
	var first, later []crashpoint.Point
	for _, p := range crashpoint.All() {
		switch {
		case m.never[p] != "":
		case slotPoint(p):
			first = append(first, p)
		default:
			later = append(later, p)
		}
	}
	for _, list := range [][]crashpoint.Point{first, later} {
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	var dealt [][]crashpoint.Point
	for n := max(len(first), (len(first)+len(later)+inARow-1)/inARow); len(dealt) < n; {
		var row []crashpoint.Point
		if len(first) > 0 {
			row, first = append(row, first[0]), first[1:]
		}
		left := n - len(dealt)
		take := (len(later) + left - 1) / left
		if len(row) > 0 {
			take = min(take, inARow-1)
		}
		row, later = append(row, later[:take]...), later[take:]
		dealt = append(dealt, row)
	}
	return dealt
}

// site is a pipeline of a mode, in a database of its own, that is killed again and again.
type site struct {
	t    *testing.T
	mode *mode
	rng  *rand.Rand
	db   *harness.Database
	bank *harness.Bank
	pipe *harness.Pipeline // of the present; it is begun anew for points that are passed once in its life
	made int               // pipelines and tables, to give them names

	settled cdc.LSN  // up to there the pipeline copied, and streams what comes after
	copied  []string // the tables that were to be copied since the last comparison
}

func newSite(t *testing.T, m *mode, rng *rand.Rand) *site {
	t.Helper()
	s := &site{t: t, mode: m, rng: rng, db: harness.NewDatabase(t, pgtest.Shared(t, 18))}
	// Transactions of some size are sent while they are in progress.
	s.db.Exec(t, "alter database "+s.db.Name+" set logical_decoding_work_mem = '64kB'")
	s.bank = harness.NewBank(t, s.db, rng.Uint64())
	s.db.Exec(t, audited, m.tables)
	s.begin()
	s.settle()
	return s
}

// audited notes each change of an account by a row of another table.
const audited = `
create table audit (n bigint generated always as identity primary key, op text not null);
create function audit() returns trigger language plpgsql as $$ begin
	insert into audit (op) values (case when tg_op = 'UPDATE' and old.id <> new.id then 'M' else left(tg_op, 1) end); return null; end $$;
create trigger audit after insert or update or delete on accounts for each row execute function audit()`

// begin begins a pipeline, in the place of the one before it.
func (s *site) begin() {
	s.t.Helper()
	s.db.DropSlots(s.t)
	s.made++
	if s.pipe != nil {
		s.db.Exec(s.t, "drop publication if exists lakeload_"+s.pipe.Name, "drop table lakeload_mark")
	}
	s.pipe = harness.NewPipeline(s.t, s.db, "-c", s.mode.config(s.t, ""), "--freshness", "10ms")
	s.pipe.Name = fmt.Sprintf("%s_%d", s.db.Name, s.made)
}

// crash runs the program until it dies at the point while the mode's work goes on.
func (s *site) crash(p crashpoint.Point) {
	s.t.Helper()
	if slotPoint(p) {
		s.begin()
	}
	hit := 1 + s.rng.IntN(3)
	if slotPoint(p) || copyPoint(p) || idle(p) {
		hit = 1
	}
	args := []string{"-c", s.mode.config(s.t, s.mode.rate(p))}
	var end func()
	if idle(p) && !s.mode.copies {
		s.pipe.UntilCurrent(s.t)
		// A run that finds nothing to write records the position at its end.
		s.db.Exec(s.t, "select pg_logical_emit_message(false, 'test', 'nothing')", "select pg_switch_wal()")
		end = s.mode.quiet(s)
		args = append(args, "--until-current")
	} else {
		if copyPoint(p) && !s.mode.copies {
			s.newCopied(keyed, few)
		}
		end = s.mode.work(s, p)
		if !idle(p) {
			s.bank.Run(s.t, 2, 10*time.Millisecond)
		}
	}
	e := s.kill(p, hit, args...)
	if s.mode.copies && !ends(p) {
		copied := "public." + s.copied[len(s.copied)-1]
		done := slices.ContainsFunc(e.Events("snapshot_finished"), func(ev harness.Event) bool { return ev.Table == copied })
		require.False(s.t, done, "%s:%d: the copy was over when the program was killed\n%s", p, hit, e.Log())
	}
	end()
	s.bank.Stop()
	if slotPoint(p) {
		s.settle() // a table that comes later is copied beside the stream
	}
}

// settle has a new pipeline copy what there is.
func (s *site) settle() {
	s.t.Helper()
	s.pipe.UntilCurrent(s.t)
	at, err := cdc.ParseLSN(s.db.LSN(s.t))
	require.NoError(s.t, err)
	s.settled = at
}

// compare brings the lake up to the source and says how they differ. Tables that were there to be copied go afterwards.
func (s *site) compare() (differ string) {
	s.t.Helper()
	s.pipe.UntilCurrent(s.t)
	differ = s.differ()
	for _, table := range s.copied {
		s.db.Exec(s.t, "drop table "+table)
	}
	s.copied = nil
	return differ
}

// kill runs the program until it dies at the nth time that it passes the point.
func (s *site) kill(p crashpoint.Point, nth int, more ...string) *harness.Engine {
	s.t.Helper()
	e := s.pipe.Start(s.t, append(more, fmt.Sprintf("%s=%s:%d", crashpoint.EnvVar, p, nth))...)
	e.Wait()
	require.True(s.t, e.Killed(), "%s:%d: it did not die of the crash\n%s", p, nth, e.Log())
	return e
}

// notReached runs the program under the mode's work and fails the test if it passes a point of which the mode says that it does not.
func (s *site) notReached(p crashpoint.Point) {
	s.t.Helper()
	end := s.mode.work(s, p)
	s.bank.Run(s.t, 2, 10*time.Millisecond)
	e := s.pipe.Start(s.t, fmt.Sprintf("%s=%s:1", crashpoint.EnvVar, p))
	e.Await("stream_started", nil)
	s.pipe.Sync(s.t, e)
	end()
	s.bank.Stop()
	e.Stop()
}

// end compares a last time, by another reader too, and at every epoch.
func (s *site) end() {
	s.t.Helper()
	s.pipe.UntilCurrent(s.t)
	require.Empty(s.t, s.differ())
	if s.mode.mirrors {
		s.pipe.Same(s.t, readers.DeltaRS, harness.BankTables...)
		require.Positive(s.t, s.bank.Balanced(s.t, s.pipe))
	}
}

// tally counts kills and differences by mode and point.
type tally struct {
	times int

	mu    sync.Mutex // guards what follows
	cells map[cell]outcome
	ended map[string]bool // modes that have come to their end
}

type cell struct {
	mode  string
	point crashpoint.Point
}

type outcome struct{ kills, differences int }

func newTally(times int) *tally {
	return &tally{times: times, cells: map[cell]outcome{}, ended: map[string]bool{}}
}

func (c *tally) add(mode string, p crashpoint.Point, differ string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.cells[cell{mode, p}]
	o.kills++
	if differ != "" {
		o.differences++
	}
	c.cells[cell{mode, p}] = o
}

// whole notes that a mode has come to its end.
func (c *tally) whole(mode string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[mode] = true
}

func (c *tally) totals() (kills, differences int) {
	for _, o := range c.cells {
		kills += o.kills
		differences += o.differences
	}
	return kills, differences
}
