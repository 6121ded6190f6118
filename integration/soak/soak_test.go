// Package soak lets random statements work on a source for a long time, while connections, servers and the program itself are taken away,
// and holds that the lake becomes what the source is each time that the statements rest.
package soak

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// TestMain ignores what toxiproxy leaves of a connection that a toxic has ended while data were on their way, and what it says of its own.
func TestMain(m *testing.M) {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	os.Exit(harness.Main(m, goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run")))
}

// How long the statements work, and how often the lake is compared meanwhile. LAKELOAD_SOAK says another length.
const (
	shortly, shortChecks = time.Minute, 3
	long, longChecks     = 10 * time.Minute, 12
	envLength            = "LAKELOAD_SOAK"
	lookEvery            = 50 * time.Second
)

// configured leaves nothing to a person, and makes small what is large in earnest: copies go by many ranges, transactions go to the disk.
const configured = `
version: 1
source: {watch_interval: 300ms, failover: true}
limits: {memory: 32MiB, copy_range: 32KiB, spool: 1GiB}
on_new_table: copy
on_schema_change: {add: evolve, drop: %s, rename: rename, type: resync, partition: resync, rewrite: resync}
`

// run is one run of the test.
type run struct {
	t                *testing.T
	rng              *rand.Rand // of the faults
	begun            time.Time
	primary, standby *pgserver.Server
	ways             []*way // to the servers, in that order
	load             *load
	pipe             *harness.Pipeline
	engine           *harness.Engine
	engines          []*harness.Engine // all, in order
	keepsColumns     bool              // dropped ones stay in the lake
	promoted         bool
	epochs           int64 // that were looked at: those up to this one

	faults   map[string]int
	looked   int // epochs
	checks   int
	compared int64
}

func (r *run) at() string { return time.Since(r.begun).Round(10 * time.Millisecond).String() }

// fatalf ends the test, and says when it came to that.
func (r *run) fatalf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf(r.at()+": "+format, args...)
}

// TestSoak has pgbench and a generator of rows and DDL work on a primary with a standby, which the program reads through proxies, while
// faults come by a schedule: in the middle the standby is promoted. The seed makes the statements of each writer and the faults; their order
// in time is the machine's.
func TestSoak(t *testing.T) {
	harness.Need(t)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("LAKELOAD_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, "LAKELOAD_SEED")
	}
	length, checks, every := shortly, shortChecks, 600*time.Millisecond
	if harness.Long() {
		length, checks, every = long, longChecks, time.Second
	}
	if text := os.Getenv(envLength); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		require.NoError(t, err, envLength)
		checks, every = max(shortChecks, int(length/lookEvery)), time.Second
	}
	t.Logf("%v; LAKELOAD_SEED=%d is to be given for this one again", length, seed)
	r := start(t, seed)
	r.load.run(seed, every)
	r.begun = time.Now()
	for i := range checks {
		until := r.begun.Add(length * time.Duration(i+1) / time.Duration(checks))
		if i == checks/2 {
			r.promote()
		}
		for time.Until(until) > 0 {
			r.wait(min(time.Until(until), 500*time.Millisecond+time.Duration(r.rng.IntN(2500))*time.Millisecond))
			if time.Until(until) > 0 {
				r.fault()
			}
		}
		paused := time.Now()
		r.equal()
		r.begun = r.begun.Add(time.Since(paused)) // the statements rested
	}
	r.load.end()
	r.engine.Stop()
	r.pipe.UntilCurrent(t)
	if differ, _ := r.differences(); len(differ) > 0 {
		r.fatalf("after the end: %s", strings.Join(differ, "\n"))
	}
	r.report(seed)
}

// start starts servers, proxies, load and program.
func start(t *testing.T, seed uint64) *run {
	r := &run{t: t, rng: rand.New(rand.NewPCG(seed, 1<<21)), begun: time.Now(), faults: map[string]int{}}
	folder := t.TempDir()
	if kept := os.Getenv("LAKELOAD_SOAK_KEEP"); kept != "" {
		folder = filepath.Join(kept, strconv.FormatUint(seed, 10))
		require.NoError(t, os.RemoveAll(folder))
		require.NoError(t, os.MkdirAll(folder, 0o755))
	}
	r.primary = pgtest.Start(t, pgserver.Options{Version: pgtest.Version(18), Settings: map[string]string{
		"logical_decoding_work_mem": "64kB", "wal_sender_timeout": "10s", "deadlock_timeout": "200ms",
		"full_page_writes": "off", // the log is to be of what the statements do
	}})
	one := harness.NewDatabase(t, r.primary)
	var err error
	r.standby, err = r.primary.Standby(t.Context(), pgserver.Options{Settings: map[string]string{
		"hot_standby_feedback": "on", "max_standby_streaming_delay": "1s", "sync_replication_slots": "on",
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.standby.Stop(t.Context())) })
	const dsn = "postgres://postgres@%s,%s/%s?sslmode=disable&target_session_attrs=read-write"
	hosts := []any{}
	for i, s := range []*pgserver.Server{r.primary, r.standby} {
		r.ways = append(r.ways, newWay(t, fmt.Sprintf("server %d", i), s.Port()))
		hosts = append(hosts, r.ways[i].address())
	}
	source := fmt.Sprintf(dsn, append(hosts, one.Name)...)
	db := &harness.Database{Server: r.primary, Name: one.Name, DSN: fmt.Sprintf(dsn, fmt.Sprintf("127.0.0.1:%d", r.primary.Port()), fmt.Sprintf("127.0.0.1:%d", r.standby.Port()), one.Name)}
	r.load = newLoad(t, db, folder)
	r.keepsColumns = seed%2 == 0
	config := filepath.Join(folder, "lakeload.yaml")
	drop := map[bool]string{true: "keep", false: "drop"}[r.keepsColumns]
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, configured[1:], drop), 0o600))
	r.pipe = harness.NewPipeline(t, db, "-c", config, "--source", source)
	r.pipe.Lake = filepath.Join(folder, "lake")
	r.startEngine()
	t.Cleanup(func() { r.writeEvents(folder) })
	r.engine.Await("stream_started", nil)
	r.pipe.Sync(t, r.engine)
	r.kept()
	slot, err := r.primary.SQL(t.Context(), "SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'physical'")
	require.NoError(t, err)
	_, err = r.primary.SQL(t.Context(), "ALTER SYSTEM SET synchronized_standby_slots = '"+slot[0][0]+"'", "SELECT pg_reload_conf()")
	require.NoError(t, err)
	return r
}

// startEngine starts the program, perhaps with more arguments and environment variables.
func (r *run) startEngine(more ...string) {
	r.t.Helper()
	r.engine = r.pipe.Start(r.t, more...)
	r.engines = append(r.engines, r.engine)
}

// restartEngine starts the program and waits until it has checked its source: a start that does not reach it ends, as it has to.
func (r *run) restartEngine() {
	r.t.Helper()
	r.startEngine()
	r.engine.Await("pipeline_started", nil)
}

// writeEvents writes what the program told into a file beside the statements.
func (r *run) writeEvents(folder string) {
	var b strings.Builder
	for _, e := range r.engines {
		for _, ev := range e.Events("") {
			b.WriteString(ev.Line + "\n")
		}
		b.WriteString("\n")
	}
	if err := os.WriteFile(filepath.Join(folder, "events.jsonl"), []byte(b.String()), 0o600); err != nil {
		r.t.Error(err)
	}
}

// kept waits until the standby has the slot for good.
func (r *run) kept() {
	r.t.Helper()
	harness.Await(r.t, "the standby keeps the slot", func() (bool, string) {
		r.load.db.Exec(r.t, "update lakeload_mark set n = n + 1") // it looks seldom where nothing happens
		_, err := r.primary.SQL(r.t.Context(), "SELECT pg_log_standby_snapshot()")
		require.NoError(r.t, err)
		rows, err := r.standby.SQL(r.t.Context(), "SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'logical' AND synced AND NOT temporary")
		require.NoError(r.t, err)
		return rows[0][0] == "1", ""
	})
}

// wait lets time pass, in which the program has to live.
func (r *run) wait(d time.Duration) {
	r.t.Helper()
	if r.engine.Gone(d) {
		r.fatalf("the program ended by itself\n%s", r.engine.Log())
	}
	if r.t.Failed() {
		r.t.FailNow()
	}
}

// current is the server that is written to.
func (r *run) current() *pgserver.Server {
	if r.promoted {
		return r.standby
	}
	return r.primary
}

// promote ends the primary and makes the standby one.
func (r *run) promote() {
	r.t.Helper()
	r.kept()
	how := "the standby is promoted after a crash"
	if r.rng.IntN(2) == 0 {
		how = "the standby is promoted after a shutdown"
		require.NoError(r.t, r.primary.Halt(r.t.Context()))
	} else {
		r.primary.Kill()
	}
	r.count(how)
	require.NoError(r.t, r.standby.Promote(r.t.Context()))
	r.promoted = true
	r.load.db.Server = r.standby
}

func (r *run) count(fault string) {
	r.t.Logf("%s: %s", r.at(), fault)
	r.load.log.add("fault", "-- "+fault)
	r.faults[fault]++
}

// fault takes something away, for a while.
func (r *run) fault() {
	r.t.Helper()
	way := r.ways[0]
	if r.promoted {
		way = r.ways[1]
	}
	toxics := []struct{ name, kind, stream, attributes string }{
		{"slow answers", "latency", "downstream", `"latency": 150, "jitter": 100`},
		{"slow questions", "latency", "upstream", `"latency": 150, "jitter": 100`},
		{"little bandwidth", "bandwidth", "downstream", `"rate": 60`},
		{"small pieces", "slicer", "downstream", `"average_size": 200, "size_variation": 100, "delay": 10`},
		{"silence from the server", "timeout", "downstream", `"timeout": 0`},
		{"silence to the server", "timeout", "upstream", `"timeout": 0`},
		{"resets", "reset_peer", "downstream", `"timeout": 0`},
		{"resets after a while", "reset_peer", "upstream", `"timeout": 300`},
		{"an end after some data", "limit_data", "downstream", `"bytes": 30000`},
	}
	n := r.rng.IntN(len(toxics) + 12)
	if n < len(toxics) {
		x := toxics[n]
		r.count(x.name)
		way.toxic(x.kind, x.stream, x.attributes)
		r.wait(time.Duration(300+r.rng.IntN(1500)) * time.Millisecond)
		way.clean()
		return
	}
	switch n - len(toxics) {
	case 0, 1:
		r.count("the connections are cut")
		way.cut()
		r.wait(time.Duration(r.rng.IntN(1000)) * time.Millisecond)
		way.mend()
	case 2:
		r.count("the server is restarted")
		require.NoError(r.t, r.current().Restart(r.t.Context()))
	case 3:
		r.count("the server crashes")
		r.current().Kill()
		require.NoError(r.t, r.current().Restart(r.t.Context()))
	case 4:
		r.count("the standby is restarted")
		if r.promoted {
			return
		}
		require.NoError(r.t, r.standby.Restart(r.t.Context()))
	case 5, 6, 7:
		r.storeFault()
	case 8:
		r.count("the program is stopped and started")
		r.engine.Stop()
		r.restartEngine()
	default:
		r.count("the program is killed and started")
		r.engine.Kill()
		r.restartEngine()
	}
}

// report says what the run did.
func (r *run) report(seed uint64) {
	r.t.Logf("LAKELOAD_SEED=%d: %v; %d statements, %d transactions and %d of pgbench, %d that failed; %d comparisons of %d rows, %d epochs looked at", seed, time.Since(r.begun).Round(time.Second),
		r.load.log.count, r.load.transactions.Load(), r.load.benched.Load(), r.load.failed.Load(), r.checks, r.compared, r.looked)
	for _, list := range []map[string]int{r.load.altered, r.faults} {
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(list)) {
			parts = append(parts, fmt.Sprintf("%s %d", name, list[name]))
		}
		r.t.Log(strings.Join(parts, ", "))
	}
}
