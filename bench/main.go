// Command bench measures lakeload against a limit or a peer, in one run on
// one machine: what counts is the ratio. `go run ./bench` runs everything;
// `go run ./bench drain`, `decode` or `copy` one of them. It needs what
// `make install` puts on the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lakeload/lakeload/integration/testbed"
	"github.com/lakeload/lakeload/internal/pgserver"
)

type benchmark struct {
	name string
	what string
	run  func(ctx context.Context, b *bench) ([]pair, error)
}

var benchmarks = []benchmark{
	{"drain", "a backlog of inserts drained into Delta, against pg_recvlogical to /dev/null on the same backlog", drain},
	{"decode", "messages of a replication stream decoded into columns, against pglogrepl parsing the same messages; binary and text in turn, by CPU time", decode},
	{"copy", "initial copy of a 12-column table, against DuckDB's PostgreSQL scanner writing the same to Parquet", initialCopy},
	{"steady", "reading a mirror of 10 million rows with DuckDB after a million random upserts and deletes at 20,000 a second, against the same table freshly written", steady},
	{"log", "a table's log opened, its files listed, a commit added, against delta-rs", tableLog},
	{"scan", "two of ten columns of a table of 5 million rows read: all rows, and selective conditions; against DuckDB's delta_scan", tableScan},
	{"merge", "upserts that are in memory, into a mirror of 5 million rows, against delta-rs' merge", merge},
}

func main() {
	run := run
	if what := os.Getenv(mergeEnv); what != "" {
		run = func() error { return mergeProcess(context.Background(), what) }
	}
	if what := os.Getenv(logEnv); what != "" {
		run = func() error { return logProcess(context.Background(), what) }
	}
	if what := os.Getenv(scanEnv); what != "" {
		run = func() error { return scanProcess(context.Background(), what) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:forbidigo // a program of its own
	}
}

// bench is the machine on which all benchmarks of a call run.
type bench struct {
	dir    string
	binary string
	server *pgserver.Server
	rounds int
	scale  float64
}

func run() error {
	rounds := flag.Int("rounds", 3, "how often each pair is measured; medians are told")
	scale := flag.Float64("scale", 1, "share of the full number of rows")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "lakeload-bench-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, binary: filepath.Join(dir, "lakeload"), rounds: *rounds, scale: *scale}
	build := exec.CommandContext(ctx, "go", "build", "-o", b.binary, "./cmd/lakeload")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building lakeload: %w\n%s", err, out)
	}
	b.server, err = pgserver.Start(ctx, pgserver.Options{Settings: map[string]string{
		"shared_buffers": "512MB", "max_wal_size": "20GB", "checkpoint_timeout": "1h", "autovacuum": "off",
	}})
	if err != nil {
		return err
	}
	defer func() { _ = b.server.Stop(context.WithoutCancel(ctx)) }()
	fmt.Printf("%d CPUs, %s, PostgreSQL %d, %s/%s\n", runtime.NumCPU(), runtime.Version(), b.server.Version(), runtime.GOOS, runtime.GOARCH)
	for _, m := range benchmarks {
		if flag.NArg() > 0 && !slices.Contains(flag.Args(), m.name) {
			continue
		}
		fmt.Printf("\n%s: %s\n", m.name, m.what)
		pairs, err := m.run(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if len(pairs) > 0 {
			report(pairs)
		}
	}
	return nil
}

// cost is what one process took.
type cost struct {
	rows int64
	wall time.Duration
	cpu  time.Duration
	rss  int64 // peak, bytes
}

func (c cost) String() string {
	return fmt.Sprintf("%6.2f s  %9.0f rows/s  %6.2f CPU s  %5d MiB", c.wall.Seconds(), float64(c.rows)/c.wall.Seconds(), c.cpu.Seconds(), c.rss>>20)
}

// pair is one round: lakeload, and what it is measured against.
type pair struct{ ours, peer cost }

func (p pair) ratio() float64 { return p.peer.wall.Seconds() / p.ours.wall.Seconds() }

func report(pairs []pair) {
	var ratios []float64
	for i, p := range pairs {
		fmt.Printf("  round %d  lakeload  %s\n           peer      %s\n           ratio of rates %.2f\n", i+1, p.ours, p.peer, p.ratio())
		ratios = append(ratios, p.ratio())
	}
	slices.Sort(ratios)
	fmt.Printf("  median ratio %.2f (least %.2f, greatest %.2f)\n", ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1])
}

// measure runs a command to its end.
func measure(ctx context.Context, rows int64, name string, args ...string) (cost, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out.String())
	}
	c := cost{rows: rows, wall: time.Since(begun), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.rss = u.Maxrss << 10
	}
	return c, nil
}

// ourProcess has this program be lakeload's side, in a process of its own: env
// says what it is to do. It prints what that took.
func ourProcess(ctx context.Context, env string) (cost, error) {
	self, err := os.Executable()
	if err != nil {
		return cost{}, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), env)
	return told("lakeload", cmd)
}

// peerProcess runs a script of Python that prints what its work took.
func peerProcess(ctx context.Context, script string, args ...string) (cost, error) {
	return told("the peer", exec.CommandContext(ctx, testbed.Python(), append([]string{"-c", script}, args...)...))
}

// told runs a command that prints what its work took.
func told(who string, cmd *exec.Cmd) (cost, error) {
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return cost{}, fmt.Errorf("measuring %s: %w\n%s", who, err, stderr.String())
	}
	return parseCost(string(out))
}

// database makes a new database and gives its DSN.
func (b *bench) database(ctx context.Context, name string) (string, error) {
	dsn := b.server.DSNFor("postgres", pgserver.Superuser)
	err := execute(ctx, dsn, "DROP DATABASE IF EXISTS "+name, "CREATE DATABASE "+name)
	return b.server.DSNFor(name, pgserver.Superuser), err
}

func execute(ctx context.Context, dsn string, statements ...string) (err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func query[T any](ctx context.Context, dsn, q string) (v T, err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return v, fmt.Errorf("connecting: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if err := conn.QueryRow(ctx, q).Scan(&v); err != nil {
		return v, fmt.Errorf("%s: %w", q, err)
	}
	return v, nil
}

// table is the table of all benchmarks: 12 columns of the usual types.
const table = `CREATE TABLE bench (id bigint PRIMARY KEY, customer bigint NOT NULL, status text NOT NULL, amount numeric(12,2),
	quantity int, weight double precision, paid boolean, created timestamptz, updated timestamp, day date, code uuid, note text)`

// fill gives the statement that inserts rows first to last.
func fill(first, last int64) string {
	return fmt.Sprintf(`INSERT INTO bench SELECT i, i %% 100000, (array['new','paid','packed','sent','back'])[i %% 5 + 1], (i %% 1000000) / 100.0,
		i %% 100, i * 0.37, i %% 3 = 0, timestamptz '2026-01-01' + i * interval '1 second', timestamp '2026-01-01' + i * interval '1 minute',
		date '2026-01-01' + (i %% 365)::int, md5(i::text)::uuid, 'note number ' || i || ' of the bench' FROM generate_series(%d, %d) i`, first, last)
}
