package changes

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

const kept = `
defaults: {metadata: [ingestion_timestamp, source_system], source_system: shop-eu}
tables:
  - {match: public.parted, partition_by: [region, month(created_at), bucket(4, id), year(day), truncate(3, note)], mode: [mirror, changelog]}
  - {match: public.soft, partition_by: [month(day)], delete: soft}
  - {match: public.anew, partition_by: [hour(local_at), "truncate(100, id)"], deletes: rewrite}
  - {match: public.ignored, delete: ignore, deletes: rewrite}
`

// keptTables have the same columns. All but parted are kept otherwise than by default in what becomes of rows.
var keptTables = []string{"parted", "soft", "anew", "ignored"}

// TestTablesAreKeptAsAskedFor has partitions, metadata columns, rows that stay when the source deletes them, and rows that go without
// deletion vectors, while the engine is killed again and again. Other people's readers see what PostgreSQL has, and Spark makes of the
// partitions' expressions what the lake has, in any time zone.
func TestTablesAreKeptAsAskedFor(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, pgtest.Version(18)))
	for _, table := range keptTables {
		db.Exec(t, "create table "+table+" (id bigint primary key, region text, day date, created_at timestamptz, local_at timestamp, note text, body text)",
			"insert into "+table+" select i, (array['north', 'south / =%ü', null])[1 + i % 3], date '2023-12-15' + i % 60, timestamptz '2023-12-31 20:00:00+00' + i * interval '7 minutes', "+
				"timestamp '1969-12-31 22:30:00' + i * interval '11 minutes', (array['', 'äöüß', null, 'ab'])[1 + i % 4], repeat(md5(i::text), 100) from generate_series(1, 200) i")
	}
	pipe := harness.NewPipeline(t, db, "-c", configuration(t, kept))
	e := pipe.Start(t)
	rng := rand.New(rand.NewPCG(7, 7))
	for round := range 4 {
		if round > 0 {
			time.Sleep(time.Duration(rng.IntN(700)) * time.Millisecond)
			e.Kill()
			e.Wait()
			e = pipe.Start(t)
		} else {
			e.Await("stream_started", nil)
		}
		for range 15 {
			table := keptTables[rng.IntN(len(keptTables))]
			n := rng.IntN(200)
			db.Exec(t, []string{
				fmt.Sprintf("update %s set region = 'east', created_at = created_at + interval '40 days' where id %% 40 = %d", table, n%40), // body is not sent
				fmt.Sprintf("update %s set note = null, day = null, local_at = null, region = null where id = %d", table, n),
				fmt.Sprintf("delete from %s where id %% 50 = %d", table, n%50),
				fmt.Sprintf("insert into %s values (%d, 'north', '2024-02-29', '9999-12-31 23:59:59+00', '0001-01-01', 'again', 'b') on conflict do nothing", table, n),
				fmt.Sprintf("begin; delete from %[1]s where id = %[2]d; insert into %[1]s values (%[2]d, 'back', null, null, '2030-01-01 05:06:07', 'n', null); commit", table, n),
				fmt.Sprintf("begin; update %[1]s set id = -1 where id = %[2]d; update %[1]s set id = %[2]d where id = %[3]d; update %[1]s set id = %[3]d where id = -1; commit", table, n, 199-n),
			}[rng.IntN(6)])
		}
	}
	pipe.Sync(t, e)
	harness.Call(t, "verify", "-c", pipe.Args[slices.Index(pipe.Args, "-c")+1], "--source", db.DSN, "--lake", pipe.Lake, "--name", pipe.Name)
	e.Stop()

	for _, kind := range []readers.Kind{readers.DuckDB, readers.DeltaRS, readers.Spark} {
		t.Run(string(kind), func(t *testing.T) {
			pipe.Same(t, kind, "anew", "parted")
			columns := pipe.Columns(t, "soft")
			want, err := readers.PGRows(t.Context(), db.DSN, "public", "soft", columns)
			require.NoError(t, err)
			rows, err := readers.Get(t, kind).Rows(t.Context(), pipe.Path("soft"), nil, append(columns[:len(columns):len(columns)], "_deleted", "_deleted_at"))
			require.NoError(t, err)
			var live [][]string
			for _, r := range rows {
				if n := len(columns); r[n] == "false" {
					require.Equal(t, readers.Null, r[n+1])
					live = append(live, r[:n])
				} else {
					require.NotEqual(t, readers.Null, r[n+1])
				}
			}
			readers.Same(t, live, want)
			require.Greater(t, len(rows), len(live), "no row is kept as deleted")

			want, err = readers.PGRows(t.Context(), db.DSN, "public", "ignored", columns)
			require.NoError(t, err)
			got, err := readers.Get(t, kind).Rows(t.Context(), pipe.Path("ignored"), nil, columns)
			require.NoError(t, err)
			ids := map[string]bool{}
			for _, r := range want {
				ids[r[0]] = true
			}
			require.Greater(t, len(got), len(want), "no row is kept")
			readers.Same(t, slices.DeleteFunc(got, func(r []string) bool { return !ids[r[0]] }), want)

			meta, err := readers.Get(t, kind).Rows(t.Context(), pipe.Path("parted"), nil, []string{"_source_system", "_ingestion_timestamp"})
			require.NoError(t, err)
			for _, r := range meta {
				require.Equal(t, "shop-eu", r[0])
				require.NotEqual(t, readers.Null, r[1])
			}
		})
	}
	t.Run("generated", func(t *testing.T) { generated(t, pipe) })
	t.Run("pruned", func(t *testing.T) { pruned(t, pipe) })
}

// generated lets Spark compute every derived column, and insert into a copy of a table.
func generated(t *testing.T, pipe *harness.Pipeline) {
	spark := readers.Get(t, readers.Spark)
	ask := func(query string) [][]string {
		t.Helper()
		rows, err := spark.SQL(t.Context(), query)
		require.NoError(t, err)
		return rows
	}
	checked := 0
	for _, zone := range []string{"UTC", "America/New_York", "Asia/Kolkata"} {
		require.NoError(t, spark.Exec(t.Context(), "set spark.sql.session.timeZone = "+zone))
		for _, table := range keptTables {
			store, err := objstore.NewLocal(pipe.Path(table))
			require.NoError(t, err)
			snap, err := tablefmt.Load(t.Context(), tablefmt.Location{Data: store})
			require.NoError(t, err)
			var wrong []string
			for _, f := range snap.Schema().Fields {
				if expr, ok := f.Metadata[tablefmt.MetaGenerationExpression].(string); ok {
					wrong = append(wrong, fmt.Sprintf("count_if(not (nullif(cast(%s as string), '') <=> cast(%s as string))) as %[2]s", expr, f.Name))
				}
			}
			if checked += len(wrong); len(wrong) > 0 {
				counts := ask("select " + strings.Join(wrong, ", ") + " from delta.`" + pipe.Path(table) + "`")
				require.Equal(t, slices.Repeat([]string{"0"}, len(wrong)), counts[0], "rows that Spark disagrees about, of %s in %s: %s", table, zone, wrong)
			}
		}
		if zone == "UTC" {
			continue // an insert there proves less
		}
		folder := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, os.CopyFS(folder, os.DirFS(pipe.Path("parted"))))
		require.NoError(t, spark.Exec(t.Context(), fmt.Sprintf("insert into delta.`%s` (id, region, day, created_at, note) values (9999, 'new', date'2024-05-01', timestamp'2024-05-31 23:30:00Z', 'äöüß')", folder)))
		require.Equal(t, [][]string{{"2024-05", "2024", "äöü"}}, ask(fmt.Sprintf("select created_at_month, cast(day_year as string), note_trunc from delta.`%s` where id = 9999", folder)))
	}
	require.Equal(t, 3*7, checked)
	require.NoError(t, spark.Exec(t.Context(), "set spark.sql.session.timeZone = UTC"))
	detail, err := spark.Python(t.Context(), "result = spark.sql(f'describe detail delta.`{args}`').selectExpr("+
		"\"array_join(partitionColumns, ',')\", \"cast(minReaderVersion as string)\", \"array_join(tableFeatures, ',')\").toArrow()", pipe.Path("anew"))
	require.NoError(t, err)
	require.Equal(t, []string{"local_at_hour,id_trunc", "3"}, detail[0][:2], "reader version 3 is for timestamp_ntz alone")
	require.NotContains(t, detail[0][2], "deletionVectors")
	require.Contains(t, detail[0][2], "generatedColumns")
}

// pruned asks Spark how it would read a part of a table.
func pruned(t *testing.T, pipe *harness.Pipeline) {
	plan, err := readers.Get(t, readers.Spark).SQL(t.Context(), "explain select * from delta.`"+pipe.Path("soft")+"` where day = date'2024-01-03'")
	require.NoError(t, err)
	_, filters, ok := strings.Cut(plan[0][0], "PartitionFilters: [")
	require.True(t, ok, plan[0][0])
	require.Contains(t, strings.SplitN(filters, "]", 2)[0], "day_month", plan[0][0])

	plan, err = readers.Get(t, readers.Spark).SQL(t.Context(), "explain select * from delta.`"+pipe.Path("parted")+"` where note = 'äöüß' and created_at_month = '2024-01'")
	require.NoError(t, err)
	_, filters, _ = strings.Cut(plan[0][0], "PartitionFilters: [")
	filters, _, _ = strings.Cut(filters, "PushedFilters")
	require.Contains(t, filters, "note_trunc", plan[0][0])
	require.Contains(t, filters, "created_at_month", plan[0][0])
}
