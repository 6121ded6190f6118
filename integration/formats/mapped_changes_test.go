package formats_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
)

// feedOf is what we read of a table's change feed: rows as text, without times.
func feedOf(t *testing.T, path string, from, to int64) ([][]string, error) {
	t.Helper()
	out := [][]string{}
	err := tablefmt.Changes(t.Context(), location(t, path), tablefmt.ChangeRange{From: from, To: to}, tablefmt.ChangeOptions{Strict: true}, func(rec arrow.RecordBatch) error {
		for i := range int(rec.NumRows()) {
			row := make([]string, rec.NumCols()-1)
			for c := range row {
				if row[c] = rec.Column(c).ValueStr(i); rec.Column(c).IsNull(i) {
					row[c] = "NULL"
				}
			}
			out = append(out, row)
		}
		return nil
	})
	slices.SortFunc(out, slices.Compare)
	return out, err
}

// TestChangesOfMappedTables reads the change feeds of Spark's tables whose columns
// are mapped: told by cdc files, and derived from files and vectors.
func TestChangesOfMappedTables(t *testing.T) {
	harness.Need(t)
	spark := readers.Get(t, readers.Spark)
	for _, mode := range []string{"name", "id", "upgraded"} {
		for _, vectors := range []bool{true, false} {
			if !wanted(fmt.Sprint(mode, vectors), "idtrue") {
				continue
			}
			t.Run(fmt.Sprintf("%s,vectors=%t", mode, vectors), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "t")
				at := "delta.`" + path + "`"
				mapped := "'delta.columnMapping.mode' = '" + mode + "'"
				first := mapped + ", "
				if mode == "upgraded" {
					first, mapped = "", "'delta.columnMapping.mode' = 'name', 'delta.minReaderVersion' = '2', 'delta.minWriterVersion' = '5'"
				}
				run := func(sql ...string) {
					t.Helper()
					for _, s := range sql {
						require.NoError(t, spark.Exec(t.Context(), s), s)
					}
				}
				run(fmt.Sprintf("create table %s (id int, v string, p string, s struct<a: int, b: string>) using delta partitioned by (p) tblproperties (%s'delta.enableChangeDataFeed' = 'true', 'delta.enableDeletionVectors' = '%t')", at, first, vectors),
					"insert into "+at+" select cast(id as int), 'v' || id, 'p' || (id % 2), named_struct('a', cast(id as int), 'b', null) from range(0, 10, 1, 1)")
				if mode == "upgraded" {
					run("alter table " + at + " set tblproperties (" + mapped + ")")
				}
				run("update "+at+" set v = 'changed' where id in (3, 4)",
					"delete from "+at+" where id = 5",
					"delete from "+at+" where p = 'p1' and id > 7",
					"alter table "+at+" add columns (w double)",
					"insert into "+at+" values (20, 'new', null, null, 1.5), (21, 'new', 'p9', named_struct('a', 1, 'b', 'x'), null)",
					"optimize "+at,
					"delete from "+at+" where id = 20")
				newest := load(t, path).Version()
				ask := map[string]any{"path": path, "from": 0, "to": newest}
				spark := func(from, to int64) [][]string {
					ask["from"], ask["to"] = from, to
					told, err := spark.Python(t.Context(), `
df = spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", args["from"]).option("endingVersion", args["to"]).load(args["path"])
def text(v):
    if v is None: return "NULL"
    if isinstance(v, bool): return str(v).lower()
    if hasattr(v, "asDict"): return "{" + ",".join('"%s":%s' % (k, "null" if x is None else ('"%s"' % x if isinstance(x, str) else x)) for k, x in v.asDict().items()) + "}"
    return str(v)
result = [[text(x) for x in r] for r in df.drop("_commit_timestamp").collect()]
`, ask)
					require.NoError(t, err)
					slices.SortFunc(told, slices.Compare)
					return told
				}
				first0 := int64(0)
				if mode == "upgraded" { // Spark does not read across it
					first0 = 3
				}
				ours, err := feedOf(t, path, first0, newest)
				require.NoError(t, err)
				told := spark(first0, newest)
				require.NotEmpty(t, told)
				require.Equal(t, told, ours)
				whole, err := feedOf(t, path, 0, newest)
				require.NoError(t, err)

				// A column that is renamed is the same one; Spark does not read across
				// that. What was before is as it was, under the new names.
				run("alter table "+at+" rename column v to text", "alter table "+at+" rename column p to part",
					"update "+at+" set text = 'again' where id = 1")
				after := load(t, path).Version()
				across, err := feedOf(t, path, 0, after)
				require.NoError(t, err)
				last := spark(newest+3, after)
				require.Len(t, last, 2)
				want := append(slices.Clone(whole), last...)
				slices.SortFunc(want, slices.Compare)
				require.Equal(t, want, across)

				// One that is dropped is gone, and another one of its name is another.
				run("alter table "+at+" drop column w", "alter table "+at+" add columns (w double)")
				_, err = feedOf(t, path, 0, after+2)
				var changed *tablefmt.SchemaChangedError
				require.True(t, errors.As(err, &changed), "%v", err)
				_, err = feedOf(t, path, after+1, after+2)
				require.NoError(t, err)
			})
		}
	}
}
