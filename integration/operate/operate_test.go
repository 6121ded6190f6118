// Package operate does to the running program what an operator does: pause, resume, resync, drop, another configuration, a table forgotten
// in a pause.
package operate

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// ask calls a command about the pipeline.
func ask(t *testing.T, pipe *harness.Pipeline, command string, args ...string) harness.Result {
	t.Helper()
	return harness.Do(t, harness.Command(t, append([]string{command, "--lake", pipe.Lake, "--name", pipe.Name, "-o", "json"}, args...)...))
}

// place is what the commands that act on a table tell.
type place struct {
	Table  string `json:"table"`
	Phase  string `json:"phase"`
	Engine bool   `json:"engine"`
}

func act(t *testing.T, pipe *harness.Pipeline, command, table string, args ...string) place {
	t.Helper()
	r := ask(t, pipe, command, append([]string{"public." + table}, args...)...)
	require.Equal(t, 0, r.Code, "%s", r)
	var p place
	require.NoError(t, json.Unmarshal([]byte(r.Stdout), &p), "%s", r)
	require.Equal(t, "public."+table, p.Table)
	return p
}

// fingerprint is what a reader sees in a table.
func fingerprint(t *testing.T, pipe *harness.Pipeline, table string) readers.Fingerprint {
	t.Helper()
	f, err := readers.Get(t, readers.DuckDB).Fingerprint(t.Context(), pipe.Path(table), nil, pipe.Columns(t, table))
	require.NoError(t, err)
	return f
}

func TestTablesAreOperated(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	db.Exec(t, "create table a (id int primary key, v text)", "insert into a select i, 'a' || i from generate_series(1, 5000) i",
		"create table b (id int primary key, v text)", "insert into b select i, 'b' || i from generate_series(1, 5000) i")
	pipe := harness.NewPipeline(t, db)
	e := pipe.Start(t)
	pipe.Sync(t, e)

	require.Equal(t, place{"public.a", "paused", true}, act(t, pipe, "pause", "a"))
	before := fingerprint(t, pipe, "a")
	db.Exec(t, "update a set v = v || '!'", "delete from a where id % 7 = 0", "update b set v = v || '!'")
	pipe.Sync(t, e)
	pipe.Same(t, readers.DuckDB, "b")
	require.Equal(t, before, fingerprint(t, pipe, "a"), "what it shows stays")
	require.Equal(t, []string{"public.a"}, pipe.Last(t).Incomplete)
	require.Equal(t, place{"public.a", "live", true}, act(t, pipe, "resume", "a", "--wait"))
	pipe.Same(t, readers.DuckDB, "a", "b")

	require.Equal(t, place{"public.a", "live", true}, act(t, pipe, "resync", "a", "--wait"))
	db.Exec(t, "update a set v = v || '?' where id < 100")
	pipe.Sync(t, e)
	pipe.Same(t, readers.DuckDB, "a", "b")

	r := ask(t, pipe, "drop", "public.a")
	require.Equal(t, 1, r.Code, "it asks: %s", r)
	require.Contains(t, r.Stderr, "add -y")
	require.Equal(t, place{"public.a", "dropped", true}, act(t, pipe, "drop", "a", "-y"))
	require.Equal(t, "b,lakeload_mark", db.Value(t, "select string_agg(tablename, ',' order by tablename) from pg_publication_tables"))
	before = fingerprint(t, pipe, "a")
	db.Exec(t, "update a set v = 'nobody looks'", "update b set v = v || '.'")
	pipe.Sync(t, e)
	require.Equal(t, before, fingerprint(t, pipe, "a"))
	require.Empty(t, pipe.Last(t).Incomplete)
	e.Stop()

	// All of it without an engine, too: the next one begins with it.
	e = pipe.Start(t)
	pipe.Sync(t, e)
	require.Equal(t, "dropped", pipe.Status(t)["public.a"].Phase)
	e.Stop()
	require.Equal(t, place{"public.a", "copying", false}, act(t, pipe, "resync", "a"))
	require.Equal(t, place{"public.b", "paused", false}, act(t, pipe, "pause", "b"))
	r = ask(t, pipe, "resume", "public.b", "--wait")
	require.Equal(t, 1, r.Code)
	require.Contains(t, r.Stderr, "nothing to wait for")
	db.Exec(t, "delete from b where id < 10")
	e = pipe.Start(t)
	pipe.Sync(t, e)
	pipe.Same(t, readers.DuckDB, "a")
	require.Equal(t, []string{"public.b"}, pipe.Last(t).Incomplete)
	act(t, pipe, "resume", "b", "--wait")
	pipe.Same(t, readers.DuckDB, "a", "b")

	r = ask(t, pipe, "pause", "public.absent")
	require.Equal(t, 1, r.Code)
	require.Contains(t, r.Stderr, "feeds no such table")
	e.Stop()
}

// configure writes the pipeline's configuration.
func configure(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte("version: 1\n"+text), 0o600))
}

func TestAnotherConfiguration(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	for _, table := range []string{"a", "b", "c"} {
		db.Exec(t, "create table "+table+" (id int primary key, v text)", "insert into "+table+" select i, 'x' from generate_series(1, 1000) i", "analyze "+table)
	}
	conf := filepath.Join(t.TempDir(), "lakeload.yaml")
	configure(t, conf, "tables: [{match: [public.a, public.b, public.lakeload_mark]}]\n")
	pipe := harness.NewPipeline(t, db)
	pipe.Args = []string{"-c", conf, "--freshness", "100ms"}
	e := pipe.Start(t)
	pipe.Sync(t, e)

	next := "tables: [{match: [public.b, public.c, public.lakeload_mark]}, {match: public.b, mode: [mirror, changelog]}]\n"
	configure(t, conf, next)
	plan := func() map[string]string {
		r := harness.Call(t, "plan", "--source", db.DSN, "--lake", pipe.Lake, "--name", pipe.Name, "-c", conf, "-o", "json")
		type planned struct {
			Table, Action, Reason string
			Rows, Bytes           int64
		}
		var told struct {
			Changes bool
			Tables  []planned
		}
		require.NoError(t, json.Unmarshal([]byte(r.Stdout), &told), "%s", r)
		actions := map[string]string{}
		for _, p := range told.Tables {
			actions[p.Table] = p.Action
			if p.Action == "copy" {
				require.EqualValues(t, 1000, p.Rows)
				require.Positive(t, p.Bytes)
			}
		}
		require.Equal(t, slices.ContainsFunc(told.Tables, func(p planned) bool { return p.Action != "none" }), told.Changes)
		return actions
	}
	require.Equal(t, map[string]string{"public.a": "detach", "public.b": "resync", "public.c": "copy", "public.lakeload_mark": "none"}, plan())

	// A file that is not right changes nothing.
	reloads := 0
	reload := func() harness.Event {
		e.Signal(syscall.SIGHUP)
		reloads++
		harness.Await(t, "the configuration to be read again", func() (bool, string) { return len(e.Events("configuration_reloaded")) == reloads, e.Log() })
		return e.Events("configuration_reloaded")[reloads-1]
	}
	configure(t, conf, "tabels: []\n")
	require.Contains(t, reload().Error, "tables")
	db.Exec(t, "update a set v = 'y' where id < 10")
	pipe.Sync(t, e)
	pipe.Same(t, readers.DuckDB, "a", "b")
	require.Equal(t, "live", pipe.Status(t)["public.a"].Phase)

	// One that the source refuses is taken back.
	configure(t, conf, "tables: [{match: public.no_such_table}]\n")
	require.Empty(t, reload().Error)
	reloads++
	harness.Await(t, "the refusal", func() (bool, string) { return len(e.Events("configuration_reloaded")) == reloads, e.Log() })
	require.NotEmpty(t, e.Events("configuration_reloaded")[reloads-1].Error)
	db.Exec(t, "update a set v = 'z' where id < 10")
	pipe.Sync(t, e)
	pipe.Same(t, readers.DuckDB, "a", "b")

	configure(t, conf, next)
	require.Empty(t, reload().Error)
	harness.Await(t, "the new tables", func() (bool, string) {
		s := pipe.Status(t)
		return s["public.c"].Phase == "live" && s["public.b"].Phase == "live" && s["public.a"].Phase == "detached", fmt.Sprint(s)
	})
	before := fingerprint(t, pipe, "a")
	db.Exec(t, "update a set v = 'nobody looks'", "update b set v = 'b'", "update c set v = 'c'")
	pipe.Sync(t, e)
	pipe.Same(t, readers.DuckDB, "b", "c")
	require.Equal(t, before, fingerprint(t, pipe, "a"))
	require.DirExists(t, filepath.Join(pipe.Lake, "public", "b_changelog", "_delta_log"))
	require.Equal(t, map[string]string{"public.a": "none", "public.b": "none", "public.c": "none", "public.lakeload_mark": "none"}, plan())
	e.Stop()
}

// Two pipelines feed one lake, each its own tables: neither is in the other's way, and a table that one feeds the other does not take.
func TestTwoPipelinesInOneLake(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	db.Exec(t, "create table a (id int primary key, v text)", "create table b (id int primary key, v text)")
	one := harness.NewPipeline(t, db, "--tables", "public.a,public.lakeload_mark")
	two := &harness.Pipeline{DB: db, Name: db.Name + "_two", Lake: one.Lake, Args: []string{"--tables", "public.b", "--freshness", "100ms"}}
	e1, e2 := one.Start(t), two.Start(t)
	for i := range 20 {
		db.Exec(t, fmt.Sprintf("insert into a select i, 'v' from generate_series(%d, %d) i", i*100, i*100+99), fmt.Sprintf("insert into b select i, 'v' from generate_series(%d, %d) i", i*100, i*100+99))
		if i == 10 {
			e1.Kill()
			e1 = one.Start(t)
		}
	}
	one.Sync(t, e1)
	want := db.LSN(t)
	harness.Await(t, "the second pipeline", func() (bool, string) {
		db.Exec(t, "update b set v = 'w' where id = 1")
		epochs := two.Epochs(t, 1)
		return len(epochs) == 1 && epochs[0].LSN.String() > want, e2.Log()
	})
	e2.Stop()
	one.Same(t, readers.DuckDB, "a", "b")
	for _, command := range []string{"status", "epochs", "tables"} {
		r := harness.Do(t, harness.Command(t, command, "--lake", one.Lake))
		require.NotEqual(t, 0, r.Code)
		require.Contains(t, r.Stderr, "choose one with --name")
	}
	greedy := &harness.Pipeline{DB: db, Name: two.Name, Lake: one.Lake, Args: []string{"--tables", "public.a,public.b"}}
	e2 = greedy.Start(t)
	harness.Await(t, "the refusal", func() (bool, string) { return greedy.Status(t)["public.a"].Phase == "offered", e2.Log() })
	require.Contains(t, greedy.Status(t)["public.a"].Reason, "belongs to pipeline")
	e2.Stop()
	e1.Stop()
}

// A table is forgotten in a pause: before the server gives the slot up, the guard lets go of it, and the others go on.
func TestAForgottenPause(t *testing.T) {
	harness.Need(t)
	for _, version := range []int{15, 18} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			server := pgtest.Start(t, pgserver.Options{Version: version, Settings: map[string]string{
				"max_slot_wal_keep_size": "256MB", "wal_keep_size": "0", "min_wal_size": "32MB", "max_wal_size": "64MB",
			}})
			db := harness.NewDatabase(t, server)
			db.Exec(t, "create table a (id int primary key, v text)", "insert into a values (1, 'x')", "create table b (id int primary key, v text)")
			conf := filepath.Join(t.TempDir(), "lakeload.yaml")
			configure(t, conf, "wal_guard: {do: [detach_largest, release_slot]}\n")
			pipe := harness.NewPipeline(t, db, "-c", conf)
			e := pipe.Start(t)
			pipe.Sync(t, e)
			act(t, pipe, "pause", "a")
			n := 0
			harness.Await(t, "the guard", func() (bool, string) {
				n++
				if n < 40 { // about 10 MB a time: more than the server keeps
					db.Exec(t, "truncate b", fmt.Sprintf("insert into b select i, repeat('%d', 1000) from generate_series(1, 8000) i", n%10), "checkpoint")
				}
				time.Sleep(time.Second)
				return len(e.Events("table_stopped")) > 0, e.Log()
			})
			kinds := ""
			for _, ev := range e.Events("infrastructure_alert") {
				kinds += ev.Severity + " "
			}
			require.True(t, strings.HasPrefix(kinds, "warning critical"), kinds)
			stopped := pipe.Status(t)["public.a"]
			require.Equal(t, "stopped", stopped.Phase)
			require.Contains(t, stopped.Reason, "is paused")
			require.Contains(t, stopped.Remedy, "resync")
			require.NotEqual(t, "lost", db.Value(t, "select wal_status from pg_replication_slots where slot_name like 'lakeload%' and not temporary"))
			db.Exec(t, "update a set v = 'y'")
			pipe.Sync(t, e)
			pipe.Same(t, readers.DuckDB, "b")
			act(t, pipe, "resync", "a", "--wait")
			pipe.Sync(t, e)
			pipe.Same(t, readers.DuckDB, "a", "b")
			e.Stop()
		})
	}
}
