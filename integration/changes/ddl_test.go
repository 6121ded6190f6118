// Package changes holds what the program does when something changes under it: columns, partitions and tables, whole transactions of great
// size, connections and the server itself.
package changes

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// change is what is done to a table (id int primary key, v text) of ten rows, and what comes of it.
type change struct {
	table, sql string
	now        string // what the source's table is called then, where it is another name
	resync     bool   // it is copied again, without anybody's help
	stops      string // what the reason says for which it stops
	untold     bool   // no change tells of it: the server need not keep any for the table, which is to be copied again
	missing    bool   // the source does not have it any more
	exact      bool   // it has values that stand in the lake as exact texts
}

// changes are those of columns and tables, in the words of the edge cases that they are of.
var changes = map[string][]change{
	"TestEdge42": {
		{table: "steady", sql: "update steady set v = v || '!'"},
		{table: "added", sql: "alter table added add w numeric(8,2), add x timestamptz; insert into added values (1001, 'new', 1.25, '2024-01-01'); update added set w = id where id < 3"},
		{table: "twice", sql: "alter table twice add w text; insert into twice values (1001, 'x', 'y'); alter table twice add z text; update twice set z = 'z', w = 'w' where id > 5"},
		{table: "inside", sql: "begin; insert into inside values (1001, 'before'); alter table inside add w int; insert into inside values (1002, 'after', 7); commit"},
		{table: "looser", sql: "alter table looser alter v set not null, alter v set default 'x', add check (id > 0); create index on looser (v); insert into looser (id) values (1001)"},
		{table: "longer", sql: "alter table longer add w varchar(5) default 'a'; update longer set w = 'b' where id = 1; alter table longer alter w type varchar(50); update longer set w = 'longer than it was' where id = 2"},
		{table: "shorter", sql: "alter table shorter alter v type varchar(100); update shorter set v = 'changed' where id = 1", stops: `"v"`},
		{table: "retyped", sql: "alter table retyped alter v type int using length(v); update retyped set v = 0 where id = 1", stops: `"v"`},
		{table: "rekeyed", sql: "alter table rekeyed alter v set default 'x', drop constraint rekeyed_pkey, add primary key (v, id); insert into rekeyed values (1001)", stops: "key"},
		{table: "dropped", sql: "alter table dropped drop v; insert into dropped values (1001)"},
	},
	"TestEdge43": {
		{table: "defaulted", sql: "alter table defaulted add w int default 5; insert into defaulted values (1001, 'x'); insert into defaulted values (1002, 'y', null)"},
		{table: "quoted", sql: `alter table quoted add w text default E'a "b" \\ {c},\n', add x text[] default '{"a b",NULL,"{}"}', add y bytea default '\x00ff', add z point default '(1,2)'; delete from quoted where id = 1`},
		{table: "odd", sql: "alter table odd add w numeric(8,2) default 'NaN', add x date default 'infinity', add y timestamptz default '0044-03-15 BC', add z jsonb default '{\"a\": [1.50]}'; delete from odd where id = 1", exact: true},
		{table: "of_time", sql: "alter table of_time add w timestamptz default now(), add z date default '2024-01-01'; delete from of_time where id = 1"},
		{table: "each", sql: "alter table each add w uuid default gen_random_uuid(); delete from each where id = 1", resync: true},
		{table: "numbered", sql: "alter table numbered add w bigserial; delete from numbered where id = 1", resync: true},
		{table: "undefaulted", sql: "alter table undefaulted add w uuid default gen_random_uuid(); alter table undefaulted alter w drop default; delete from undefaulted where id = 1", resync: true},
		{table: "later", sql: "alter table later add w int; alter table later alter w set default 7; insert into later values (1001, 'x')"},
		{table: "using_", sql: "alter table using_ alter v type text using upper(v)", stops: "ALTER TABLE", untold: true},
	},
	"TestEdge44": {
		{table: "renamed", sql: "alter table renamed rename v to vv; update renamed set vv = 'changed' where id = 1"},
		{table: "swapped", sql: "alter table swapped add w text default 'w'; alter table swapped rename v to x; alter table swapped rename w to v; alter table swapped rename x to w; update swapped set v = 'changed' where id = 1"},
		{table: "replaced", sql: "alter table replaced drop v, add w text default 'w'; update replaced set w = 'changed' where id = 1"},
		{table: "again", sql: "alter table again drop v; alter table again add v text default 'new'; update again set v = 'changed' where id = 1", resync: true},
		{table: "key_renamed", sql: "alter table key_renamed rename id to key; update key_renamed set v = 'changed' where key = 1; delete from key_renamed where key = 2"},
	},
	"TestEdge45": {
		{table: "moved", sql: "alter table moved rename to moved_on; insert into moved_on values (1001, 'new'); alter table moved_on add w int default 3; delete from moved_on where id = 2", now: "moved_on"},
		{table: "gone", sql: "drop table gone", missing: true},
		{table: "anew", sql: "drop table anew; create table anew (id bigint primary key, other numeric(6,2)); insert into anew values (7, 1.5)"},
		{table: "late", sql: "create table late (id int primary key, v text); insert into late values (1, 'new')"},
	},
}

// TestEdge42 and those after it change columns and tables while the engine runs: what can be followed is, so that the lake shows what the
// source does, old rows included; what cannot stops its table, with a remedy, and no other, and the server keeps what the table lacks; a
// resync heals it.
func TestEdge42DDLInOrder(t *testing.T) { tryChanges(t, "TestEdge42") }

// TestEdge43AddedWithDefaults adds columns that older rows have values in, of which the stream says nothing.
func TestEdge43AddedWithDefaults(t *testing.T) { tryChanges(t, "TestEdge43") }

// TestEdge44Renamed renames columns, and drops and adds others, which looks the same in the stream.
func TestEdge44Renamed(t *testing.T) { tryChanges(t, "TestEdge44") }

// TestEdge45DroppedAndMadeAnew drops, renames and makes tables, of which the stream says nothing.
func TestEdge45DroppedAndMadeAnew(t *testing.T) { tryChanges(t, "TestEdge45") }

// watching looks at the catalogue often.
const watching = "source: {watch_interval: 300ms}\n"

func tryChanges(t *testing.T, edge string) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, pgtest.Version(18)))
	list := slices.Clone(changes[edge])
	for _, c := range list {
		if c.table != "late" {
			db.Exec(t, "create table "+c.table+" (id int primary key, v text); insert into "+c.table+" select i, 'row ' || i from generate_series(1, 10) i")
		}
	}
	pipe := harness.NewPipeline(t, db, "-c", configuration(t, watching))
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	pipe.Sync(t, e)
	before := map[string][][]string{}
	stops := 0
	for _, c := range list {
		if c.stops == "" {
			db.Exec(t, c.sql)
			continue
		}
		var err error
		before[c.table], err = readers.PGRows(t.Context(), db.DSN, "public", c.table, nil)
		require.NoError(t, err)
		stops++
	}
	for _, c := range list {
		if c.resync {
			e.Await("table_resync", func(ev harness.Event) bool { return ev.Table == "public."+c.table })
		}
		if c.table == "late" || c.table == "anew" {
			e.Await("table_found", func(ev harness.Event) bool { return ev.Table == "public."+c.table })
		}
		if c.resync || c.table == "late" || c.table == "anew" {
			harness.Await(t, "the copy of "+c.table, func() (bool, string) { return pipe.Status(t)["public."+c.table].Phase == "live", e.Log() })
		}
	}
	pipe.Sync(t, e)
	held := lsn(t, db.LSN(t))
	told := false
	for _, c := range list {
		if c.stops != "" {
			// In the transaction that stops the first table, of which the server may
			// tell positions before its end, and after all that it does to the table.
			at := lsn(t, db.Value(t, c.sql+"; select pg_current_wal_insert_lsn()"))
			if !told && !c.untold {
				held, told = at, true
			}
			e.Await("table_stopped", func(ev harness.Event) bool { return ev.Table == "public."+c.table })
		}
	}
	inLake(t, pipe, e, list, before)
	require.Len(t, pipe.Sync(t, e).Incomplete, stops)
	e.Stop()

	e = pipe.Start(t)
	keeps := false
	for _, c := range list {
		if c.stops != "" && !c.untold {
			keeps = true
			e.Await("table_stopped", func(ev harness.Event) bool { return ev.Table == "public."+c.table })
		}
	}
	pipe.Sync(t, e)
	inLake(t, pipe, e, list, before)
	if keeps {
		require.LessOrEqual(t, acknowledged(t, db), held, "the server was told that it may forget what the stopped tables lack")
	}
	e.Stop()
	for i := range list {
		if list[i].stops != "" {
			harness.Call(t, "resync", "public."+list[i].table, "--lake", pipe.Lake, "--name", pipe.Name)
			list[i].stops = ""
		}
	}
	e = pipe.Start(t)
	for _, c := range list {
		if !c.missing {
			db.Exec(t, fmt.Sprintf("delete from %s where %s = 3", c.name(), pipe.Columns(t, c.name())[0]))
		}
	}
	harness.Await(t, "every table", func() (bool, string) { return len(pipe.Sync(t, e).Incomplete) == 0, e.Log() })
	harness.Await(t, "the acknowledgement", func() (bool, string) {
		at := acknowledged(t, db)
		return at > held, at.String()
	})
	inLake(t, pipe, e, list, nil)
	e.Stop()
}

// name is what the source calls the table after the change.
func (c *change) name() string {
	if c.now != "" {
		return c.now
	}
	return c.table
}

// inLake holds that the lake shows what the source does of each table, and of one that has stopped what it showed before, and says why.
func inLake(t *testing.T, pipe *harness.Pipeline, e *harness.Engine, list []change, before map[string][][]string) {
	t.Helper()
	status := pipe.Status(t)
	for _, c := range list {
		s := status["public."+c.table]
		switch {
		case c.missing:
			harness.Await(t, c.table+" to be let go", func() (bool, string) {
				s = pipe.Status(t)["public."+c.table]
				return s.Phase == "detached", e.Log()
			})
		case c.stops != "":
			require.Equal(t, "stopped", s.Phase, c.table)
			require.Contains(t, s.Reason, c.stops, c.table)
			require.Contains(t, s.Remedy, "resync", c.table)
			got, err := readers.Get(t, readers.DuckDB).Rows(t.Context(), pipe.Path(c.table), nil, nil)
			require.NoError(t, err)
			require.Empty(t, readers.Diff(got, before[c.table]), c.table)
		default:
			require.Equal(t, "live", s.Phase, "%s: %s", c.table, s.Reason)
			columns, want := harness.Expected(t, pipe.DB, c.name(), c.exact)
			for _, kind := range []readers.Kind{readers.DuckDB, readers.DeltaRS} {
				got, err := readers.Get(t, kind).Rows(t.Context(), pipe.Path(c.table), nil, columns)
				require.NoError(t, err)
				require.Empty(t, readers.Diff(got, want), "%s in %s", c.table, kind)
			}
		}
	}
}

// configuration writes a lakeload.yaml and gives its path.
func configuration(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lakeload.yaml")
	require.NoError(t, os.WriteFile(path, []byte("version: 1\n"+strings.TrimSpace(text)+"\n"), 0o600))
	return path
}

func lsn(t *testing.T, text string) cdc.LSN {
	t.Helper()
	at, err := cdc.ParseLSN(text)
	require.NoError(t, err)
	return at
}

// acknowledged is up to where the server was told that the lake has everything.
func acknowledged(t *testing.T, db *harness.Database) cdc.LSN {
	t.Helper()
	return lsn(t, db.Value(t, "select confirmed_flush_lsn from pg_replication_slots where database = current_database()"))
}
