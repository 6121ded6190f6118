package operate

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// Views of an epoch show that epoch's state in DuckDB and in Spark, whatever the tables show by now; names are as odd as PostgreSQL allows.
func TestViews(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	db.Exec(t, `create schema "Odd's"`, `create table "Odd's"."a b" (id int primary key, v text)`, `insert into "Odd's"."a b" values (1, 'first')`,
		"create table plain (id int primary key, v text)", "insert into plain values (1, 'first')")
	pipe := harness.NewPipeline(t, db)
	e := pipe.Start(t)
	first := pipe.Sync(t, e)
	db.Exec(t, `update "Odd's"."a b" set v = 'second'`, "update plain set v = 'second'", "insert into plain values (2, 'second')")
	pipe.Sync(t, e)
	e.Stop()
	for _, c := range []struct {
		kind   readers.Kind
		engine string
		quote  func(schema, name string) string
	}{
		{readers.DuckDB, "duckdb", func(s, n string) string { return `"` + s + `"."` + strings.ReplaceAll(n, `"`, `""`) + `"` }},
		{readers.Spark, "spark", func(s, n string) string { return "`" + s + "`.`" + n + "`" }},
	} {
		t.Run(c.engine, func(t *testing.T) {
			r := readers.Get(t, c.kind)
			show := func(schema string, args ...string) {
				t.Helper()
				call := ask(t, pipe, "views", append([]string{"--engine", c.engine, "--schema", schema}, args...)...)
				require.Equal(t, 0, call.Code, "%s", call)
				var told struct {
					Epoch int64
					Views []struct{ Table, SQL string }
				}
				require.NoError(t, json.Unmarshal([]byte(call.Stdout), &told))
				require.Len(t, told.Views, 3)
				require.NoError(t, r.Exec(t.Context(), "create schema if not exists "+schema))
				for _, v := range told.Views {
					require.NoError(t, r.Exec(t.Context(), strings.TrimSuffix(v.SQL, ";")), v.SQL)
				}
			}
			odd := "Odd's_a b"
			if c.kind == readers.Spark { // which knows letters, digits and underscores in such names
				odd = "Odd_s_a_b"
			}
			rows := func(schema, name string) string {
				got, err := r.SQL(t.Context(), "select id, v from "+c.quote(schema, name)+" order by id")
				require.NoError(t, err)
				return fmt.Sprint(got)
			}
			show("seen_then", "--epoch", fmt.Sprint(first.Epoch))
			show("seen_now")
			require.Equal(t, "[[1 first]]", rows("seen_then", "public_plain"))
			require.Equal(t, "[[1 second] [2 second]]", rows("seen_now", "public_plain"))
			require.Equal(t, "[[1 first]]", rows("seen_then", odd))
			require.Equal(t, "[[1 second]]", rows("seen_now", odd))
			require.NoError(t, r.Exec(t.Context(), "drop schema seen_then cascade"))
			require.NoError(t, r.Exec(t.Context(), "drop schema seen_now cascade"))
		})
	}
	script := harness.Call(t, "views", "--lake", pipe.Lake, "--name", pipe.Name)
	require.Contains(t, script.Stdout, `CREATE SCHEMA IF NOT EXISTS "Odd's";`)
	require.Contains(t, script.Stdout, `CREATE OR REPLACE VIEW "public"."plain" AS`)
}
