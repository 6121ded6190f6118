package changes

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// fedTables are kept in each way that there is, with a change feed.
const fedTables = `
tables:
  - {match: "public.*", change_feed: true}
  - {match: public.parted, partition_by: [k]}
  - {match: public.soft, delete: soft}
  - {match: public.anew, deletes: rewrite}
`

// fedRounds are changes of a table T, a run of the engine each.
var fedRounds = [][]string{
	{"insert into T select i, 'row ' || i, i % 3, i / 4.0, repeat(md5(i::text), 300) from generate_series(1, 60) i"},
	{"insert into T values (100, null, null, null, null), (101, '', 1, 0.5, 'x')"},
	{"update T set v = 'changed' where id % 7 = 0", "delete from T where id in (1, 2, 3, 100)"},
	{
		"update T set id = id + 1000 where id between 10 and 12", "update T set k = 2 where id = 20; update T set k = k + 1 where id = 20",
		"insert into T values (500, 'comes and goes', 0, 0, ''); delete from T where id = 500",
		"update T set v = 'other' where id = 30; update T set v = 'row 30' where id = 30", "delete from T where id = 31; insert into T values (31, 'anew', 1, 1, 'y')",
	},
	{"alter table T add w int default 7", "update T set w = 8 where id = 40", "insert into T values (600, 'wide', 0, 0, 'z', 9)"},
	{"delete from T where id > 40", "update T set n = n + 1 where id < 20"},
	{"truncate T", "insert into T values (1, 'after', 1, 1, 'a', 1)"},
}

const sparkFeed = `
feed = spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", args["from"]).option("endingVersion", args["to"]).load(args["path"])
names = [f"cast({c} as string)" for c in args["columns"]]
rows = feed.selectExpr(*names, "_change_type", "cast(_commit_version as string)", "cast(unix_micros(_commit_timestamp) as string)").collect()
result = [list(r) for r in rows]
`

const deltarsFeed = `
table = pa.table(deltalake.DeltaTable(args["path"]).load_cdf(starting_version=args["from"], ending_version=args["to"]))
text = lambda c: [None if v is None else str(v) for v in c.to_pylist()]
at = table["_commit_timestamp"].cast(pa.timestamp("us")).cast(pa.int64())
columns = [text(table[c]) for c in args["columns"]] + [text(table["_change_type"]), text(table["_commit_version"]), text(at)]
result = [list(r) for r in zip(*columns)]
`

// ourFeed reads changes as Spark gives them.
func ourFeed(t *testing.T, path string, from, to int64, columns []string) (rows [][]string) {
	t.Helper()
	store, err := objstore.NewLocal(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	r := tablefmt.ChangeRange{From: from, To: to}
	err = tablefmt.Changes(t.Context(), tablefmt.Location{Data: store}, r, tablefmt.ChangeOptions{Columns: columns, Strict: true}, func(rec arrow.RecordBatch) error {
		for i := range int(rec.NumRows()) {
			row := make([]string, rec.NumCols())
			for j, c := range rec.Columns() {
				switch a := c.(type) {
				case *array.Timestamp:
					row[j] = strconv.FormatInt(int64(a.Value(i)), 10)
				case *array.Decimal128:
					row[j] = a.Value(i).ToString(a.DataType().(*arrow.Decimal128Type).Scale)
				default:
					row[j] = c.ValueStr(i)
				}
				if c.IsNull(i) {
					row[j] = readers.Null
				}
			}
			rows = append(rows, row)
		}
		return nil
	})
	require.NoError(t, err)
	return rows
}

func newestVersion(t *testing.T, path string) int64 {
	t.Helper()
	store, err := objstore.NewLocal(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	snap, err := tablefmt.Load(t.Context(), tablefmt.Location{Data: store})
	require.NoError(t, err)
	return snap.Version()
}

// TestChangeFeed has Spark and delta-rs read the change feed of mirrors, and
// holds it against what Spark sees in the versions.
func TestChangeFeed(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, pgtest.Version(18)))
	tables := []string{"plain", "parted", "soft", "anew", "bag"}
	for _, table := range tables {
		db.Exec(t, "create table "+table+" (id int primary key, v text, k int, n numeric(10,2), large text)")
		db.Exec(t, "alter table "+table+" alter large set storage external")
	}
	db.Exec(t, "alter table bag drop constraint bag_pkey, replica identity full")
	pipe := harness.NewPipeline(t, db, "-c", configuration(t, fedTables))
	for _, round := range fedRounds {
		for _, table := range tables {
			for _, sql := range round {
				db.Exec(t, strings.ReplaceAll(strings.ReplaceAll(sql, "into T", "into "+table), " T", " "+table))
			}
		}
		pipe.UntilCurrent(t)
	}
	spark, deltars := readers.Get(t, readers.Spark), readers.Get(t, readers.DeltaRS)
	for _, table := range tables {
		path := filepath.Join(pipe.Lake, "public", table)
		columns := []string{"id", "v", "k", "n", "large", "w"}
		if table == "soft" {
			columns = append(columns, "_deleted")
		}
		newest := newestVersion(t, path)
		require.GreaterOrEqual(t, newest, int64(len(fedRounds)-1))
		ask := map[string]any{"path": path, "from": 0, "to": newest, "columns": columns}
		told, err := spark.Python(t.Context(), sparkFeed, ask)
		require.NoError(t, err)
		ours := ourFeed(t, path, 0, newest, columns)
		slices.SortFunc(told, slices.Compare)
		slices.SortFunc(ours, slices.Compare)
		require.Equal(t, told, ours, table)
		kinds := map[string]int{}
		for _, row := range told {
			kinds[row[len(columns)]]++
		}
		t.Logf("%s: %d versions, %v", table, newest+1, kinds)

		// What changed leads from each version to the next, as Spark sees them.
		state := map[string]int{}
		for v := int64(0); v <= newest; v++ {
			for _, row := range told {
				if row[len(columns)+1] != fmt.Sprint(v) {
					continue
				}
				by := 1
				if what := row[len(columns)]; what == "delete" || what == "update_preimage" {
					by = -1
				}
				key := strings.Join(row[:len(columns)], "|")
				if state[key] += by; state[key] == 0 {
					delete(state, key)
				}
			}
			seen := map[string]int{}
			here, err := spark.Python(t.Context(), `
df = spark.read.format("delta").option("versionAsOf", args["version"]).load(args["path"])
result = [list(r) for r in df.selectExpr(*[f"cast({c} as string)" if c in df.columns else "cast(null as string)" for c in args["columns"]]).collect()]
`, map[string]any{"path": path, "version": v, "columns": columns})
			require.NoError(t, err)
			for _, row := range here {
				seen[strings.Join(row, "|")]++
			}
			require.True(t, maps.Equal(seen, state), "%s, version %d: %d rows by the feed, %d in the version", table, v, len(state), len(seen))
		}

		rs, err := deltars.Python(t.Context(), deltarsFeed, ask)
		require.NoError(t, err)
		for _, row := range rs {
			if row[len(columns)-1] == "True" || row[len(columns)-1] == "False" {
				row[len(columns)-1] = strings.ToLower(row[len(columns)-1])
			}
		}
		// It takes a commit's time from what the commit says, Spark from its file.
		timeless := func(rows [][]string) [][]string {
			for i := range rows {
				rows[i] = rows[i][:len(columns)+2]
			}
			slices.SortFunc(rows, slices.Compare)
			return rows
		}
		require.Equal(t, timeless(told), timeless(rs), "%s, as delta-rs tells it", table)
	}
}
