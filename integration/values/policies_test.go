package values

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// TestEdge53PoliciesOfColumnsInAConfiguration stops a table at a value that its type cannot hold, while it is copied and while it is
// streamed, and the others go on; under another policy it goes on from where it stopped.
func TestEdge53PoliciesOfColumnsInAConfiguration(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, pgtest.Version(18)))
	db.Exec(t, `create table stops (id int primary key, st date); create table others (id int primary key, am numeric(5,2), doc jsonb, at timestamptz);
		create table uncopied (id int primary key, st date)`,
		`insert into stops values (1, '2024-01-01'); insert into others values (1, 1.5, '{"a":1}', 'infinity'); insert into uncopied values (1, '-infinity')`)
	file := filepath.Join(t.TempDir(), "lakeload.yaml")
	configure := func(policy string) {
		text := "version: 1\ntables:\n  - {match: \"public.*\", types: {st: stop, am: clamp, doc: text, at: stop}}\n" +
			"  - {match: public.others, types: {at: clamp}}\n  - {match: public.stops, types: {st: " + policy + "}}\n"
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	configure("stop")
	pipe := harness.NewPipeline(t, db, "-c", file)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	s := pipe.Status(t)["public.uncopied"]
	require.Equal(t, "stopped", s.Phase)
	require.Contains(t, s.Reason, `column "st" (date) has the value -infinity`)

	db.Exec(t, `insert into stops values (2, '2024-01-02')`)
	pipe.Sync(t, e)
	db.Exec(t, `insert into stops values (3, '2024-01-03'); insert into stops values (4, 'infinity'); insert into others values (2, 'NaN', '[1]', '0044-03-15 00:00+00 BC')`)
	stopped := e.Await("table_stopped", func(ev harness.Event) bool { return ev.Table == "public.stops" })
	require.Contains(t, stopped.Reason, `column "st" (date) has the value infinity`)
	require.Contains(t, stopped.Remedy, "exact or clamp")
	epoch := pipe.Sync(t, e)
	require.ElementsMatch(t, []string{"public.stops", "public.uncopied"}, epoch.Incomplete)
	rows := func(table string, columns ...string) [][]string {
		got, err := readers.Get(t, readers.DuckDB).Rows(t.Context(), pipe.Path(table), nil, columns)
		require.NoError(t, err)
		return got
	}
	require.ElementsMatch(t, [][]string{
		{"1", "1.50", `{"a": 1}`, "9999-12-31 23:59:59.999999Z"}, {"2", readers.Null, "[1]", "0001-01-01 00:00:00.000000Z"},
	}, rows("others", "id", "am", "doc", "at"))
	e.Stop()
	got := rows("stops", "id", "st")
	require.Subset(t, [][]string{{"1", "2024-01-01"}, {"2", "2024-01-02"}, {"3", "2024-01-03"}}, got, "no row that stopped it, nor any after")
	require.NotContains(t, got, []string{"4", readers.Null})

	configure("exact")
	e = pipe.Start(t)
	db.Exec(t, `insert into stops values (5, '2024-01-05')`)
	pipe.Sync(t, e)
	e.Stop()
	require.Equal(t, "live", pipe.Status(t)["public.stops"].Phase)
	require.ElementsMatch(t, [][]string{
		{"1", "2024-01-01", readers.Null},
		{"2", "2024-01-02", readers.Null},
		{"3", "2024-01-03", readers.Null},
		{"4", readers.Null, readers.Map(map[string]string{"st": "infinity"})},
		{"5", "2024-01-05", readers.Null},
	}, rows("stops", "id", "st", "_lakeload_exact"))
}

// TestEdge54AlteredCompositeStopsItsTable: a composite gains an attribute while the program runs. Nothing is lost or put into another
// field, and the table stops when the new shape is told, with the remedy that mends it.
func TestEdge54AlteredCompositeStopsItsTable(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, pgtest.Version(18)))
	db.Exec(t, `create type pair as (a int, b text); create table t (id int primary key, v pair); insert into t values (1, (1, 'x'))`)
	pipe := harness.NewPipeline(t, db)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	db.Exec(t, `insert into t values (0, null)`)
	pipe.Sync(t, e)
	db.Exec(t, `alter type pair add attribute c int`, `insert into t values (2, (2, 'y', 3))`)
	pipe.Sync(t, e)
	got, err := readers.Get(t, readers.DuckDB).Rows(t.Context(), pipe.Path("t"), nil, []string{"id", "v", "_lakeload_exact"})
	require.NoError(t, err)
	require.ElementsMatch(t, [][]string{{"0", readers.Null, readers.Null}, {"1", `{"a":"1","b":"x"}`, readers.Null}, {"2", readers.Null, readers.Map(map[string]string{"v": "(2,y,3)"})}}, got)
	db.Exec(t, `alter table t add n int`, `insert into t values (3, (3, 'z', 4), 5)`)
	stopped := e.Await("table_stopped", func(ev harness.Event) bool { return ev.Table == "public.t" })
	require.Contains(t, stopped.Reason, `column "v": its type public.pair is now stored as struct<a:integer,b:string,c:integer>, and was as struct<a:integer,b:string>`)
	e.Stop()
	harness.Call(t, "resync", "--lake", pipe.Lake, "--name", pipe.Name, "public.t")
	e = pipe.Start(t)
	db.Exec(t, `insert into t values (4, null, 6)`)
	pipe.Sync(t, e)
	e.Stop()
	columns, want := harness.Expected(t, db, "t", false)
	got, err = readers.Get(t, readers.DuckDB).Rows(t.Context(), pipe.Path("t"), nil, columns)
	require.NoError(t, err)
	readers.Same(t, got, want)
}

// TestEdge50TablesWithoutColumns: a table of no columns, and one that loses its last and gets another, have as many rows as the source's.
func TestEdge50TablesWithoutColumns(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, pgtest.Version(18)))
	db.Exec(t, `create table none (); alter table none replica identity full`, `insert into none default values`, `insert into none default values`,
		`create table inserts ()`, `insert into inserts default values`,
		`create table loses (v int); alter table loses replica identity full; insert into loses values (1), (2), (2)`,
		`create table empty ()`)
	conf := filepath.Join(t.TempDir(), "lakeload.yaml")
	require.NoError(t, os.WriteFile(conf, []byte("version: 1\nkeyless: insert-only\non_schema_change: {drop: drop, add: evolve}\n"), 0o600))
	pipe := harness.NewPipeline(t, db, "-c", conf)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	rows := func(table string, want int) {
		t.Helper()
		pipe.Sync(t, e)
		got, err := readers.Get(t, readers.DuckDB).Rows(t.Context(), pipe.Path(table), nil, nil)
		require.NoError(t, err)
		require.Len(t, got, want, table)
	}
	rows("none", 2)
	rows("inserts", 1)
	rows("loses", 3)
	rows("empty", 0)
	db.Exec(t, `insert into none default values`, `insert into inserts default values`, `alter table loses drop v`, `insert into loses default values`, `insert into empty default values`)
	rows("none", 3)
	rows("inserts", 2)
	rows("loses", 4)
	db.Exec(t, `delete from none where ctid = (select min(ctid) from none)`, `delete from loses where ctid = (select min(ctid) from loses)`)
	rows("none", 2)
	rows("loses", 3)
	db.Exec(t, `alter table loses add w int`, `insert into loses values (7)`, `update loses set w = 8 where w is null and ctid = (select min(ctid) from loses)`)
	rows("loses", 4)
	e.Stop()
	columns, want := harness.Expected(t, db, "loses", false)
	got, err := readers.Get(t, readers.DuckDB).Rows(t.Context(), pipe.Path("loses"), nil, columns)
	require.NoError(t, err)
	readers.Same(t, got, want)
}
