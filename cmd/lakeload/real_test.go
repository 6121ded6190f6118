package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
	"github.com/lakeload/lakeload/tablefmt/colfile"
)

// realShop is a server with a few tables, and what is typed at it.
type realShop struct {
	t    *testing.T
	dsn  string
	conn *pgx.Conn
	lake string
}

func newRealShop(t *testing.T) *realShop {
	server := pgtest.Start(t, pgserver.Options{Password: "secret word"})
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server.DSN())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(ctx)) })
	s := &realShop{t: t, dsn: server.DSN(), conn: conn, lake: filepath.Join(t.TempDir(), "lake")}
	s.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text, total numeric(10,2), at timestamptz)")
	s.sql("INSERT INTO orders VALUES (1, 'a', 1.50, '2026-01-02 03:04:05.678+00'), (2, '', NULL, 'infinity'), (3, NULL, 3, NULL)")
	s.sql("CREATE TABLE events (what text)")
	s.sql("INSERT INTO events VALUES ('opened'), ('opened')")
	return s
}

func (s *realShop) sql(text string) {
	s.t.Helper()
	_, err := s.conn.Exec(context.Background(), text)
	require.NoError(s.t, err)
}

func (s *realShop) value(sql string) (out string) {
	s.t.Helper()
	require.NoError(s.t, s.conn.QueryRow(context.Background(), sql).Scan(&out))
	return out
}

func (s *realShop) env() map[string]string { return map[string]string{sourceEnv: s.dsn} }

// run runs a command line; want is its exit code.
func (s *realShop) run(want exitCode, args ...string) result {
	s.t.Helper()
	r := lakeload(s.t, s.env(), args...)
	require.Equal(s.t, want, r.code, "lakeload %s\n%s%s", strings.Join(args, " "), r.out, r.err)
	return r
}

// read runs a command that reads the lake.
func (s *realShop) read(args ...string) string {
	s.t.Helper()
	return s.run(exitDone, append(args, "--lake", s.lake)...).out
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}

type epochsJSON struct {
	Epochs []epochJSON `json:"epochs"`
}

func TestCommandsOnARealLake(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL")
	}
	s := newRealShop(t)

	// Preflight: a table without a key, which was named, stops everything.
	r := s.run(exitPreflight, "run", "--lake", s.lake, "--tables", "public.*", "--until-current")
	require.Contains(t, r.err, "replica_identity (public.events)")
	require.Equal(t, "0", s.value("SELECT count(*)::text FROM pg_replication_slots"))
	require.Equal(t, "0", s.value("SELECT count(*)::text FROM pg_publication"))
	require.NoDirExists(t, s.lake, "nothing was changed")
	checked := decode[struct{ Ready bool }](t, s.run(exitPreflight, "check", "--tables", "public.*", "-o", "json").out)
	require.False(t, checked.Ready)
	require.Contains(t, s.run(exitDone, "check", "--tables", "public.orders").out, "ready: ")

	// The first run copies, the second adds what came since.
	r = s.run(exitDone, "run", "--lake", s.lake, "--all", "--until-current")
	require.Contains(t, r.err, "INSERT ONLY")
	events := eventNames(t, r.out)
	require.Equal(t, eventPipelineStarted, events[0])
	require.Equal(t, eventPipelineStopped, events[len(events)-1])
	require.Contains(t, events, eventSnapshotFinished)
	s.sql("UPDATE orders SET note = 'b' WHERE id = 1")
	s.sql("DELETE FROM orders WHERE id = 3")
	s.sql("INSERT INTO events VALUES ('closed')")
	s.run(exitDone, "run", "--lake", s.lake, "--all", "--until-current", "--quiet")

	s.checkRows()
	s.checkResults()
	s.checkTimeTravel()
	s.checkRestore()

	orders := filepath.Join(s.lake, "public", "orders")
	require.Contains(t, s.read("fsck", "public.orders", "--rows"), "public.orders is sound")
	require.True(t, decode[fsckJSON](t, s.run(exitDone, "fsck", orders, "-o", "json").out).Sound)

	// Another slot is another pipeline's.
	require.Contains(t, s.run(exitConflict, "run", "--lake", s.lake, "--all", "--slot", "other").err, "what to do: ")
	// A table's log that cannot be read is damage.
	newest := filepath.Join(orders, "_delta_log", fmt.Sprintf("%020d.json", 1))
	require.NoError(t, os.WriteFile(newest, []byte("{nonsense\n"), 0o600))
	require.Contains(t, s.run(exitDamaged, "cat", orders).err, "what to do: ")
	r = s.run(exitDamaged, "fsck", orders)
	require.Contains(t, r.out, "damaged_commit")
	require.Contains(t, r.err, "what to do: ")
}

func eventNames(t *testing.T, lines string) (names []string) {
	for line := range strings.Lines(lines) {
		names = append(names, decode[struct{ Event string }](t, line).Event)
	}
	return names
}

// checkRows holds every format of cat against the source's own JSON.
func (s *realShop) checkRows() {
	t := s.t
	jsonl := s.read("cat", "public.orders", "--format", "jsonl", "--columns", "id,note,total,at")
	require.ElementsMatch(t, []string{
		`{"id":1,"note":"b","total":1.50,"at":"2026-01-02T03:04:05.678+00:00"}`,
		`{"id":2,"note":"","total":null,"at":null}`, // its infinity is in _lakeload_exact
	}, strings.Split(strings.TrimSpace(jsonl), "\n"))
	require.Contains(t, jsonl, s.value("SELECT replace(row_to_json(o)::text, '\": ', '\":') FROM orders o WHERE id = 1"))
	require.Contains(t, s.read("cat", "public.orders", "--format", "jsonl"), `"_lakeload_exact":{"at":"infinity"}`)
	require.Contains(t, s.read("changes", "public.orders", "--format", "jsonl", "--columns", "id,note"), `{"id":1,"note":"b","_change_type":"insert","_commit_version":`)

	csv := strings.Split(strings.TrimSpace(s.read("cat", "public.orders", "--format", "csv", "--columns", "note,id")), "\n")
	require.Equal(t, "note,id", csv[0])
	require.ElementsMatch(t, []string{"b,1", `"",2`}, csv[1:])

	require.Equal(t, 2+1, strings.Count(s.read("cat", "public.orders", "--limit", "1"), "\n"))
	require.Equal(t, 2, strings.Count(s.read("cat", "public.orders", "--limit", "0"), "\n"))
	require.Equal(t, 3, strings.Count(s.read("cat", filepath.Join(s.lake, "public", "events"), "--format", "jsonl"), "\n"))

	parquet := s.read("cat", "public.orders", "--format", "parquet", "--columns", "id")
	require.True(t, strings.HasPrefix(parquet, "PAR1") && strings.HasSuffix(parquet, "PAR1"))
	require.Equal(t, int64(2), parquetRows(t, parquet))

	require.Contains(t, s.run(exitUsage, "cat", "public.orders", "--lake", s.lake, "--columns", "ID").err, `no column "ID"`)
	require.Contains(t, s.run(exitFailed, "cat", "orders", "--lake", s.lake).err, "did you mean public.orders?")
}

func parquetRows(t *testing.T, file string) (n int64) {
	t.Helper()
	r, err := colfile.OpenFile(strings.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	return r.NumRows()
}

// checkResults looks at what the other commands print.
func (s *realShop) checkResults() {
	t := s.t
	tables := decode[struct{ Tables []tableJSON }](t, s.read("tables", "-o", "json")).Tables
	require.Len(t, tables, 2)
	require.Equal(t, "public.events", tables[0].Name)
	require.True(t, tables[0].InsertOnly)
	require.Equal(t, int64(3), *tables[0].Rows)
	require.Equal(t, int64(2), *tables[1].Rows)
	require.Contains(t, s.read("tables"), "INSERT ONLY")

	d := decode[descriptionJSON](t, s.read("describe", "public.orders", "-o", "json"))
	require.Equal(t, "id", d.Columns[0].Name)
	require.Equal(t, "long", d.Columns[0].Type)
	require.Equal(t, "decimal(10,2)", d.Columns[2].Type)
	require.Equal(t, "default", d.Source.Pipeline)
	require.Contains(t, s.read("describe", "public.orders"), "decimal(10,2)")

	h := decode[struct{ Versions []commitJSON }](t, s.read("history", "public.orders", "-o", "json")).Versions
	require.Equal(t, int64(len(h)-1), h[0].Version, "newest first")
	require.NotEmpty(t, h[0].LSN)
	require.Equal(t, 2, strings.Count(s.read("history", "public.orders", "--limit", "1"), "\n"))

	status := decode[statusJSON](t, s.read("status", "-o", "json"))
	require.Equal(t, "ready", status.Phase)
	require.NotNil(t, status.SlotState, "the source was named")
	require.False(t, status.SlotState.Active)
	require.Contains(t, s.read("status"), "nobody reads it")
	alone := lakeload(t, nil, "status", "--lake", s.lake, "-o", "json")
	require.Nil(t, decode[statusJSON](t, alone.out).SlotState)
	require.Equal(t, healthJSON{}, decode[statusJSON](t, alone.out).Health, "no engine runs")
}

func (s *realShop) checkTimeTravel() {
	t := s.t
	out := s.read("epochs", "-o", "json")
	require.Regexp(t, `^\{"epochs":\[\{"epoch":1,"lsn":"[0-9A-F]+/[0-9A-F]+","commit_time":("[^"]+Z"|null),"tables":\{"public.events":\d+,"public.orders":\d+\}\}`, out)
	epochs := decode[epochsJSON](t, out).Epochs
	require.GreaterOrEqual(t, len(epochs), 2)
	first, last := epochs[0], epochs[len(epochs)-1]
	require.Equal(t, 1+1, strings.Count(s.read("epochs", "--last", "1"), "\n"))

	count := func(flag, value string) int {
		return strings.Count(s.read("cat", "public.orders", "--format", "jsonl", flag, value), "\n")
	}
	require.Equal(t, 3, count("--epoch", "1"))
	require.Equal(t, 3, count("--lsn", first.LSN.String()))
	require.Equal(t, 2, count("--lsn", last.LSN.String()))
	require.Equal(t, 2, count("--as-of", last.CommitTime.Format(time.RFC3339Nano)))
	require.Equal(t, 3, count("--as-of", last.CommitTime.Add(-time.Millisecond).Format(time.RFC3339Nano)))
	require.Equal(t, 3, count("--version", fmt.Sprint(first.Tables["public.orders"])))
	require.Equal(t, 2, count("--timestamp", time.Now().Add(time.Hour).Format(time.RFC3339)))
	require.Contains(t, s.run(exitFailed, "cat", "public.orders", "--lake", s.lake, "--lsn", "FFFF/0").err, "has only got to")
	require.Contains(t, s.run(exitFailed, "cat", "public.orders", "--lake", s.lake, "--epoch", "99").err, "no such epoch")
}

// checkRestore takes a table back that a pipeline feeds: the pipeline notices,
// and a new copy mends it.
func (s *realShop) checkRestore() {
	t := s.t
	count := func() int { return strings.Count(s.read("cat", "public.orders", "--format", "jsonl"), "\n") }
	args := []string{"restore", "public.orders", "--lake", s.lake, "--epoch", "1"}
	require.Contains(t, s.run(exitUsage, "restore", "public.orders", "--lake", s.lake).err, "--version N")
	require.Contains(t, s.run(exitDone, append(args, "--dry-run")...).out, "public.orders would go from version 1 back to what it showed at version 0")
	require.Contains(t, s.run(exitFailed, args...).err, "was not confirmed")
	require.Equal(t, 2, count())

	out := s.run(exitDone, append(args, "-y")...).out
	require.Contains(t, out, "public.orders shows at version 2 what it showed at version 0")
	require.Contains(t, out, "lakeload resync public.orders")
	require.Equal(t, 3, count())
	again := decode[restoreJSON](t, s.run(exitDone, append(args, "-y", "-o", "json")...).out)
	require.Equal(t, restoreJSON{Table: "public.orders", Was: 2, Restored: 0, Version: 2}, again)

	s.sql("INSERT INTO orders VALUES (8, 'after the restore', 1, NULL)")
	require.Contains(t, s.run(exitDone, "run", "--lake", s.lake, "--all", "--until-current").out, "another program changed its rows or its columns in version 2")
	require.Equal(t, 3, count(), "nothing is written into what is not the source's")
	s.run(exitDone, "resync", "public.orders", "--lake", s.lake)
	s.run(exitDone, "run", "--lake", s.lake, "--all", "--until-current", "--quiet")
	require.Equal(t, 3, count(), "rows 1, 2 and 8")
	s.sql("DELETE FROM orders WHERE id = 8")
	s.run(exitDone, "run", "--lake", s.lake, "--all", "--until-current", "--quiet")
	require.Equal(t, 2, count())
}

// process runs lakeload as one of its own.
func (s *realShop) process(out, complaints io.Writer, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), runsAsLakeload+"=1", sourceEnv+"="+s.dsn)
	cmd.Stdout, cmd.Stderr = out, complaints
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

func TestRunEndsInOrderOnASignal(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL")
	}
	s := newRealShop(t)
	var out, complaints safeBuffer
	cmd := s.process(&out, &complaints, "run", "--lake", s.lake, "--all", "--freshness", "1h")
	require.Eventually(t, func() bool { return strings.Contains(out.text(), eventStreamStarted) }, time.Minute, 20*time.Millisecond, "%s", &complaints)
	s.sql("INSERT INTO orders VALUES (7, 'not flushed before the signal', 1, now())")
	time.Sleep(500 * time.Millisecond) // it has arrived; the next flush is an hour away
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), "%s", &complaints)
	events := eventNames(t, out.text())
	require.Equal(t, eventPipelineStopped, events[len(events)-1])
	require.Contains(t, s.read("cat", "public.orders", "--format", "jsonl"), "not flushed before the signal")
	require.Empty(t, s.value("SELECT coalesce(max(active_pid)::text, '') FROM pg_replication_slots"))
}

func TestRunDiesAtACrashPointAndGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL")
	}
	s := newRealShop(t)
	t.Setenv("LAKELOAD_CRASHPOINT", "copy-before-swap")
	var out, complaints safeBuffer
	err := s.process(&out, &complaints, "run", "--lake", s.lake, "--all", "--until-current").Wait()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "%v %s", err, &complaints)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
	t.Setenv("LAKELOAD_CRASHPOINT", "")
	s.run(exitDone, "run", "--lake", s.lake, "--all", "--until-current")
	require.Equal(t, 3, strings.Count(s.read("cat", "public.orders", "--format", "jsonl"), "\n"))
}

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a quarter of a minute")
	}
	pgtest.Start(t, pgserver.Options{}) // skips where there is no server
	lake := filepath.Join(t.TempDir(), "lake")
	var out, told bytes.Buffer
	own, err := os.MkdirTemp("", "lakeload-test-") // what the demo leaves there is told from what other tests make
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(own)) })
	require.NoError(t, os.Chmod(own, 0o755)) // the server's user enters it
	t.Setenv("TMPDIR", own)
	t.Setenv(runsAsLakeload, "1") // for the engines that the demo starts
	c := &console{
		out: &out, err: &told, getenv: os.LookupEnv, now: time.Now,
		executable: func() (string, error) { return os.Args[0], nil },
	}
	code := execute(context.Background(), c, []string{"demo", "--lake", lake, "--live", "2s", "-o", "json"})
	require.Equal(t, exitDone, code, told.String())
	type demoResult struct {
		Lake      string
		Tables    []struct{ Source_rows, Lake_rows int64 }
		Big       int64 `json:"big_transaction_rows"`
		BigBytes  int64 `json:"big_transaction_bytes"`
		Epochs    int64
		Freshness struct{ Samples int }
	}
	r := decode[demoResult](t, out.String())
	require.Equal(t, lake, r.Lake)
	require.Len(t, r.Tables, 4)
	require.Greater(t, r.BigBytes, int64(3*64<<10), "more than three times the decoding memory")
	require.Greater(t, r.Epochs, int64(3))
	require.Positive(t, r.Freshness.Samples)
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "lakeload-demo-*"))
	require.NoError(t, err)
	require.Empty(t, left)
	require.Contains(t, told.String(), "equal row by row")

	again := execute(context.Background(), c, []string{"demo", "--lake", lake})
	require.Equal(t, exitFailed, again, "it does not write into a lake that is there")
}
