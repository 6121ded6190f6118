package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/integration/testbed"
)

// steady measures a large mirror under random upserts and deletes that arrive
// at a steady rate: how old what a reader sees is, by somebody who looks at the
// table's log from outside; the process' memory; what it writes; and what
// reading the table with DuckDB costs after it, against the same table freshly
// written.
func steady(ctx context.Context, b *bench) ([]pair, error) {
	const rate, perTransaction = 20_000, 100
	rows, changes := int64(10_000_000*b.scale), int64(1_000_000*b.scale)
	if err := testbed.Venv(); err != nil {
		return nil, err
	}
	dsn, err := b.database(ctx, "steady")
	if err != nil {
		return nil, err
	}
	if err := execute(ctx, dsn, table); err != nil {
		return nil, err
	}
	for at := int64(1); at <= rows; at += 1_000_000 {
		if err := execute(ctx, dsn, fill(at, min(at+999_999, rows))); err != nil {
			return nil, err
		}
	}
	if err := execute(ctx, dsn, "CHECKPOINT"); err != nil {
		return nil, err
	}
	lake := filepath.Join(b.dir, "steady")
	log := filepath.Join(lake, "public", "bench", "_delta_log")
	p, err := b.start(ctx, "run", "--source", dsn, "--lake", lake, "--all", "--slot", "steady", "--memory", "512MiB", "--log-format", "json")
	if err != nil {
		return nil, err
	}
	defer p.stop()
	begun := time.Now()
	watch, err := watchLog(ctx, log, p)
	if err != nil {
		return nil, err
	}
	defer watch.stop()
	copied := p.used()
	fmt.Printf("  copied %d rows in %.1f s, %.1f CPU s, %d MiB at most so far\n", rows, time.Since(begun).Seconds(), copied.cpu.Seconds(), copied.rss>>20)

	before, files := p.used(), sizeOf(filepath.Dir(log))
	l := &load{dsn: dsn, rows: rows}
	begun = time.Now()
	if err := l.run(ctx, changes, rate, perTransaction); err != nil {
		return nil, err
	}
	took := time.Since(begun)
	if err := watch.reached(ctx, l.last()); err != nil {
		return nil, err
	}
	after := p.used()
	ages := watch.ages(l.commits)
	if len(ages) == 0 {
		return nil, errors.New("nothing was seen in the table's log")
	}
	at := func(q float64) time.Duration { return ages[min(len(ages)-1, int(q*float64(len(ages))))] }
	fmt.Printf("  %d changes in %.1f s (%.0f a second): freshness p50 %v, p99 %v, greatest %v; %.1f CPU s; %d MiB at most\n", changes, took.Seconds(),
		float64(changes)/took.Seconds(), at(0.5).Round(time.Millisecond), at(0.99).Round(time.Millisecond), ages[len(ages)-1].Round(time.Millisecond),
		(after.cpu - before.cpu).Seconds(), after.rss>>20)
	row, err := query[float64](ctx, dsn, "SELECT avg(pg_column_size(t))::float8 FROM bench t WHERE id % 1000 = 0")
	if err != nil {
		return nil, err
	}
	logical := float64(changes) * row
	grown := sizeOf(filepath.Dir(log))
	fmt.Printf("  written %.0f MB, of which %.0f MB in the table (%d versions, %d files more), for %.0f MB of changed rows: %.2f times as much\n", float64(after.written-before.written)/1e6,
		float64(grown.bytes-files.bytes)/1e6, watch.version()-watch.first, grown.files-files.files, logical/1e6, float64(after.written-before.written)/logical)
	if err := p.end(); err != nil {
		return nil, err
	}

	fresh := filepath.Join(b.dir, "fresh")
	if _, err := measure(ctx, rows, b.binary, "run", "--source", dsn, "--lake", fresh, "--all", "--name", "fresh", "--until-current"); err != nil {
		return nil, err
	}
	want, err := query[string](ctx, dsn, "SELECT count(*) || ' ' || sum(id) || ' ' || sum(quantity)::bigint || ' ' || count(DISTINCT code) FROM bench")
	if err != nil {
		return nil, err
	}
	var pairs []pair
	for range b.rounds {
		var both [2]cost
		for i, table := range []string{filepath.Dir(log), filepath.Join(fresh, "public", "bench")} {
			got := &strings.Builder{}
			if both[i], err = b.duckdb(ctx, got, table); err != nil {
				return nil, err
			}
			if both[i].rows = rows; strings.TrimSpace(got.String()) != want {
				return nil, fmt.Errorf("%s has %q, the source %q", table, strings.TrimSpace(got.String()), want)
			}
		}
		pairs = append(pairs, pair{ours: both[0], peer: both[1]})
	}
	return pairs, nil
}

// duckdb reads all columns of a table.
func (b *bench) duckdb(ctx context.Context, out *strings.Builder, table string) (cost, error) {
	const script = `
import duckdb, glob, importlib.util, resource, sys, time
ext = importlib.util.find_spec("duckdb_extension_delta").submodule_search_locations[0]
c = duckdb.connect()
c.execute("SET enable_progress_bar = false")
c.execute("LOAD '%s'" % glob.glob(ext + "/extensions/*/delta.duckdb_extension")[0])
begun = time.monotonic()
r = c.execute("""SELECT count(*) || ' ' || sum(id) || ' ' || sum(quantity)::bigint || ' ' || count(DISTINCT code),
  min(customer), min(status), min(amount), min(weight), min(paid), min(created), min(updated), min(day), min(note) FROM delta_scan(?)""", [sys.argv[1]]).fetchone()
took = time.monotonic() - begun
u = resource.getrusage(resource.RUSAGE_SELF)
print(took, u.ru_utime + u.ru_stime, u.ru_maxrss)
print(r[0])`
	cmd := exec.CommandContext(ctx, testbed.Python(), "-c", script, table)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return cost{}, fmt.Errorf("reading %s with DuckDB: %w\n%s", table, err, stderr.String())
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	out.WriteString(rest)
	return parseCost(first)
}

func parseCost(line string) (c cost, err error) {
	var wall, cpu float64
	if _, err = fmt.Sscan(line, &wall, &cpu, &c.rss); err != nil {
		return c, fmt.Errorf("reading %q: %w", line, err)
	}
	c.wall, c.cpu, c.rss = time.Duration(wall*1e9), time.Duration(cpu*1e9), c.rss<<10
	return c, nil
}

// load changes rows of the table at random.
type load struct {
	dsn  string
	rows int64

	mu      sync.Mutex // guards commits
	commits []commit
}

// commit is a point of the source's log that was reached at a time.
type commit struct {
	at  time.Time
	lsn cdc.LSN
}

func (l *load) last() cdc.LSN {
	last := cdc.LSN(0)
	for _, c := range l.commits {
		last = max(last, c.lsn)
	}
	return last
}

// run makes n changes at a rate, in transactions of size of them.
func (l *load) run(ctx context.Context, n, rate, size int64) error {
	const workers = 2
	work := make(chan int)
	g, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		g.Go(func() error {
			conn, err := pgx.Connect(ctx, l.dsn)
			if err != nil {
				return fmt.Errorf("connecting: %w", err)
			}
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			r := rand.New(rand.NewPCG(7, uint64(w)))
			for i := range work {
				if err := l.transaction(ctx, conn, r, i, int(size), w); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(work)
		begun := time.Now()
		for i := range n / size {
			time.Sleep(time.Until(begun.Add(time.Duration(i * size * int64(time.Second) / rate))))
			select {
			case work <- int(i):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}

// transaction upserts four times as many rows as it deletes. The workers have
// rows of their own.
func (l *load) transaction(ctx context.Context, conn *pgx.Conn, r *rand.Rand, i, size, worker int) error {
	ids := make([]int64, 0, size)
	for len(ids) < size {
		id := (1+r.Int64N(l.rows+l.rows/10))/2*2 + int64(worker)
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	sql := `INSERT INTO bench SELECT i, i % 100000, 'paid', (i % 1000000) / 100.0, $2::int, i * 0.37, i % 3 = 0, timestamptz '2026-01-01' + i * interval '1 second', clock_timestamp()::timestamp,
		date '2026-01-01' + (i % 365)::int, md5(i::text)::uuid, 'note number ' || i || ' changed by ' || $2::int FROM unnest($1::bigint[]) i
		ON CONFLICT (id) DO UPDATE SET status = 'paid', quantity = excluded.quantity, updated = excluded.updated, note = excluded.note`
	args := []any{ids, i % 100}
	if i%5 == 4 {
		sql, args = "DELETE FROM bench WHERE id = ANY ($1)", args[:1]
	}
	if _, err := conn.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("changing rows: %w", err)
	}
	at := time.Now()
	var lsn string
	if err := conn.QueryRow(ctx, "SELECT pg_current_wal_insert_lsn()::text").Scan(&lsn); err != nil {
		return fmt.Errorf("asking for the log's end: %w", err)
	}
	parsed, err := cdc.ParseLSN(lsn)
	l.mu.Lock()
	l.commits = append(l.commits, commit{at, parsed})
	l.mu.Unlock()
	return err
}

// logWatch looks at a table's log from outside: which position it shows, from
// when on.
type logWatch struct {
	dir    string
	first  int64
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex // guards what follows
	next int64
	seen []commit
}

// watchLog waits for the table to be there.
func watchLog(ctx context.Context, dir string, p *process) (*logWatch, error) {
	for {
		if names, _ := filepath.Glob(filepath.Join(dir, "*.json")); len(names) > 0 {
			last, _, _ := strings.Cut(filepath.Base(names[len(names)-1]), ".")
			n, err := strconv.ParseInt(last, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("the log has %s: %w", last, err)
			}
			w := &logWatch{dir: dir, first: n, next: n, done: make(chan struct{})}
			ctx, w.cancel = context.WithCancel(ctx)
			go w.run(ctx)
			return w, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-p.exited:
			return nil, p.fault()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (w *logWatch) stop() {
	w.cancel()
	<-w.done
}

func (w *logWatch) version() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next - 1
}

func (w *logWatch) run(ctx context.Context) {
	defer close(w.done)
	for ctx.Err() == nil {
		data, err := os.ReadFile(filepath.Join(w.dir, fmt.Sprintf("%020d.json", w.next)))
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		c := commit{at: time.Now()}
		for line := range bytes.Lines(data) {
			var a struct {
				Txn *struct {
					Version int64 `json:"version"`
				} `json:"txn"`
			}
			if json.Unmarshal(line, &a) == nil && a.Txn != nil {
				c.lsn = max(c.lsn, cdc.LSN(a.Txn.Version))
			}
		}
		w.mu.Lock()
		w.next++
		w.seen = append(w.seen, c)
		w.mu.Unlock()
	}
}

// reached waits until the table shows a position.
func (w *logWatch) reached(ctx context.Context, lsn cdc.LSN) error {
	// The server's own records may lie behind the last commit, and nothing of the table's.
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		w.mu.Lock()
		n := len(w.seen)
		there := n > 0 && (w.seen[n-1].lsn >= lsn || time.Since(w.seen[n-1].at) > 5*time.Second)
		w.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.New("the table does not come as far as the source")
}

// ages gives for each commit how long it took until the table showed it,
// ascending. A commit is taken for shown by the first version that reaches the
// end of the log behind it, which is not before it is.
func (w *logWatch) ages(commits []commit) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []time.Duration
	for _, c := range commits {
		i := slices.IndexFunc(w.seen, func(s commit) bool { return s.lsn >= c.lsn })
		if i < 0 { // of the last ones: nothing of the table's came behind them
			i = len(w.seen) - 1
		}
		list = append(list, w.seen[i].at.Sub(c.at))
	}
	slices.Sort(list)
	return list
}

// process is a program that runs beside the benchmark.
type process struct {
	cmd    *exec.Cmd
	out    bytes.Buffer
	exited chan struct{}
	err    error // once exited
}

func (b *bench) start(ctx context.Context, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, b.binary, args...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting lakeload: %w", err)
	}
	go func() {
		defer close(p.exited)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.exited
}

// end has it end in order.
func (p *process) end() error {
	p.stop()
	if p.err != nil {
		return p.fault()
	}
	return nil
}

func (p *process) fault() error {
	text := p.out.String()
	return fmt.Errorf("lakeload has ended: %w\n%s", p.err, text[max(0, len(text)-4000):])
}

// used is what a process has taken so far.
type used struct {
	cpu     time.Duration
	rss     int64 // peak, bytes
	written int64 // bytes handed to the system, whether they have reached the disk or not
}

func (p *process) used() (u used) {
	const ticks = 100 // a second, on every Linux
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	stat, _ := os.ReadFile(dir + "stat")
	if fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(fields) > 12 {
		for _, f := range fields[11:13] {
			n, _ := strconv.ParseInt(f, 10, 64)
			u.cpu += time.Duration(n) * time.Second / ticks
		}
	}
	number := func(file, name string) (n int64) {
		text, _ := os.ReadFile(dir + file)
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, name+":"); ok {
				_, _ = fmt.Sscan(rest, &n)
			}
		}
		return n
	}
	u.rss, u.written = number("status", "VmHWM")<<10, number("io", "wchar")
	return u
}

type folder struct{ files, bytes int64 }

func sizeOf(dir string) (f folder) {
	_ = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			f.files++
			f.bytes += info.Size()
		}
		return nil
	})
	return f
}
