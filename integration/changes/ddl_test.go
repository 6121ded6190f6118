// Package changes holds what the program does when something changes under it: columns, whole transactions of great size, connections and
// the server itself.
package changes

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// followed are changes of a table's columns that the lake follows.
var followed = map[string]string{
	"steady": "update steady set v = v || '!'",
	"added":  "alter table added add w numeric(8,2), add x timestamptz; insert into added values (1001, 'new', 1.25, '2024-01-01'); update added set w = id where id < 3",
	"twice":  "alter table twice add w text; insert into twice values (1001, 'x', 'y'); alter table twice add z text; update twice set z = 'z', w = 'w' where id > 5",
	"inside": "begin; insert into inside values (1001, 'before'); alter table inside add w int; insert into inside values (1002, 'after', 7); commit",
	"looser": "alter table looser alter v set not null, alter v set default 'x', add check (id > 0); create index on looser (v); insert into looser (id) values (1001)",
}

// stopping are changes that stop their table, with what the reason has to name.
var stopping = map[string]struct{ sql, reason string }{
	"dropped":   {"alter table dropped drop v; insert into dropped values (1001)", `"v"`},
	"renamed":   {"alter table renamed rename v to vv; update renamed set vv = 'changed' where id = 1", `"v"`},
	"retyped":   {"alter table retyped alter v type varchar(100); update retyped set v = 'changed' where id = 1", `"v"`},
	"defaulted": {"alter table defaulted add w int default 5; insert into defaulted values (1001, 'x')", `"w"`},
	"rekeyed":   {"alter table rekeyed alter v set default 'x', drop constraint rekeyed_pkey, add primary key (v, id); insert into rekeyed values (1001)", "key"},
}

// TestColumns changes columns while the engine runs: what can be followed is, what cannot stops its table, with a remedy, and no other; the
// server keeps what the stopped tables lack; and a resync heals them.
func TestColumns(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 18))
	var all []string
	for table := range followed {
		all = append(all, table)
	}
	for table := range stopping {
		all = append(all, table)
	}
	for _, table := range all {
		db.Exec(t, "create table "+table+" (id int primary key, v text); insert into "+table+" select i, 'row ' || i from generate_series(1, 10) i")
	}
	pipe := harness.NewPipeline(t, db)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	pipe.Sync(t, e)
	before := map[string][][]string{}
	for table := range stopping {
		var err error
		before[table], err = readers.PGRows(t.Context(), db.DSN, "public", table, nil)
		require.NoError(t, err)
	}
	for _, sql := range followed {
		db.Exec(t, sql)
	}
	pipe.Sync(t, e)
	held := lsn(t, db.LSN(t))
	for table, c := range stopping {
		db.Exec(t, c.sql)
		e.Await("table_stopped", func(ev harness.Event) bool { return ev.Table == "public."+table })
	}
	goOn := func(e *harness.Engine) {
		for range 3 {
			db.Exec(t, followed["steady"])
			epoch := pipe.Sync(t, e)
			require.Len(t, epoch.Incomplete, len(stopping))
		}
	}
	goOn(e)
	stoppedTables(t, pipe, before)
	require.LessOrEqual(t, acknowledged(t, db), held, "the server was told that it may forget what the stopped tables lack")
	e.Stop()

	t.Run("again", func(t *testing.T) {
		e := pipe.Start(t)
		for table := range stopping {
			e.Await("table_stopped", func(ev harness.Event) bool { return ev.Table == "public."+table })
		}
		goOn(e)
		stoppedTables(t, pipe, before)
		e.Stop()
	})
	t.Run("resync", func(t *testing.T) {
		for table := range stopping {
			harness.Call(t, "resync", "public."+table, "--lake", pipe.Lake, "--name", pipe.Name)
		}
		e := pipe.Start(t)
		for _, table := range all {
			db.Exec(t, "insert into "+table+" (id) select 2000 + i from generate_series(1, 5) i", "delete from "+table+" where id = 3")
		}
		epoch := pipe.Sync(t, e)
		require.Empty(t, epoch.Incomplete)
		harness.Await(t, "the acknowledgement", func() (bool, string) {
			at := acknowledged(t, db)
			return at > held, at.String()
		})
		e.Stop()
		pipe.Same(t, readers.DuckDB, all...)
		pipe.Same(t, readers.DeltaRS, all...)
		for name, s := range pipe.Status(t) {
			require.Equal(t, "live", s.Phase, name)
			require.Empty(t, s.Reason)
		}
	})
}

// stoppedTables holds that just the tables that cannot follow have stopped, say why, and show what they showed before.
func stoppedTables(t *testing.T, pipe *harness.Pipeline, before map[string][][]string) {
	t.Helper()
	for name, s := range pipe.Status(t) {
		c, stops := stopping[strings.TrimPrefix(name, "public.")]
		if !stops {
			require.Equal(t, "live", s.Phase, "%s: %s", name, s.Reason)
			continue
		}
		require.Equal(t, "stopped", s.Phase, name)
		require.Contains(t, s.Reason, c.reason, name)
		require.Contains(t, s.Remedy, "resync", name)
	}
	for table := range followed {
		pipe.Same(t, readers.DuckDB, table)
	}
	for table, want := range before {
		got, err := readers.Get(t, readers.DuckDB).Rows(t.Context(), pipe.Path(table), nil, nil)
		require.NoError(t, err)
		require.Empty(t, readers.Diff(got, want), table)
	}
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
