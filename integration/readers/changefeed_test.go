package readers_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// sparkHistory are statements of Spark's on a table $T, each of which makes a
// version, so that their changes are told in every way there is: by cdc files,
// by files that came or went, by deletion vectors that grew or shrank, and as
// nothing where rows were only rearranged.
var sparkHistory = []string{
	`CREATE TABLE $T (id BIGINT, v STRING, p STRING) USING delta PARTITIONED BY (p) TBLPROPERTIES (delta.enableChangeDataFeed = true, delta.enableDeletionVectors = $V, delta.enableInCommitTimestamps = $I)`,
	`INSERT INTO $T SELECT /*+ COALESCE(1) */ id, concat('v', id), if(id % 2 = 0, 'a b', NULL) FROM range(0, 40)`,
	`INSERT INTO $T VALUES (100, NULL, 'é/='), (101, '', 'é/=')`,
	`UPDATE $T SET v = 'changed' WHERE id % 5 = 0`,
	`DELETE FROM $T WHERE id IN (1, 2, 3)`,
	`DELETE FROM $T WHERE id IN (4, 5) OR id = 100`,
	`MERGE INTO $T t USING (SELECT id, concat('m', id) v FROM range(8, 12) UNION ALL SELECT 200, 'new') s ON t.id = s.id WHEN MATCHED AND s.id = 11 THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT (id, v, p) VALUES (s.id, s.v, 'a b')`,
	`MERGE INTO $T t USING (SELECT 300 id) s ON t.id = s.id WHEN MATCHED THEN DELETE`,
	`MERGE INTO $T t USING (SELECT 300 id) s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id, v, p) VALUES (s.id, 'merged', NULL)`,
	`OPTIMIZE $T`,
	`RESTORE TABLE $T TO VERSION AS OF 4`,
	`RESTORE TABLE $T TO VERSION AS OF 6`,
	`ALTER TABLE $T ADD COLUMNS (n DECIMAL(10,2))`,
	`UPDATE $T SET n = 1.5, p = 'moved' WHERE id < 10`,
	`DELETE FROM $T WHERE p = 'moved'`,
	`INSERT INTO $T VALUES (400, 'x', 'a b', 2)`,
	`DELETE FROM $T WHERE id > 20`,
	`REORG TABLE $T APPLY (PURGE)`,
	`DELETE FROM $T`,
}

// sparkFeed reads a range of changes with Spark. args: path, from, to, columns.
const sparkFeed = `
feed = spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", args["from"]).option("endingVersion", args["to"]).load(args["path"])
names = [f"cast({c} as string)" for c in args["columns"]]
rows = feed.selectExpr(*names, "_change_type", "cast(_commit_version as string)", "cast(unix_micros(_commit_timestamp) as string)").collect()
result = [list(r) for r in rows]
`

// ourFeed reads the same as text.
func ourFeed(t *testing.T, path string, r tablefmt.ChangeRange, columns []string, strict bool) [][]string {
	t.Helper()
	store, err := objstore.NewLocal(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	var out [][]string
	err = tablefmt.Changes(t.Context(), tablefmt.Location{Data: store}, r, tablefmt.ChangeOptions{Columns: columns, Strict: strict}, func(rec arrow.RecordBatch) error {
		for i := range int(rec.NumRows()) {
			row := make([]string, rec.NumCols())
			for j, c := range rec.Columns() {
				switch {
				case c.IsNull(i):
					row[j] = readers.Null
				case rec.ColumnName(j) == tablefmt.ColCommitTimestamp:
					row[j] = strconv.FormatInt(int64(c.(*array.Timestamp).Value(i)), 10)
				default:
					row[j] = c.ValueStr(i)
				}
				if d, ok := c.(*array.Decimal128); ok && d.IsValid(i) {
					row[j] = d.Value(i).ToString(d.DataType().(*arrow.Decimal128Type).Scale)
				}
			}
			out = append(out, row)
		}
		return nil
	})
	require.NoError(t, err)
	return out
}

func sortRows(rows [][]string) [][]string {
	slices.SortFunc(rows, slices.Compare)
	return rows
}

// TestChangeFeedsOfSpark holds what we tell of the changes of Spark's tables
// against what Spark tells, row by row, with and without deletion vectors.
func TestChangeFeedsOfSpark(t *testing.T) {
	spark := readers.Get(t, readers.Spark)
	for _, vectors := range []bool{true, false} {
		t.Run(fmt.Sprintf("vectors=%t", vectors), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "table")
			fill := strings.NewReplacer("$T", readers.SparkTable(path, nil), "$V", fmt.Sprint(vectors), "$I", fmt.Sprint(!vectors))
			for _, statement := range sparkHistory {
				require.NoError(t, spark.Exec(t.Context(), fill.Replace(statement)), statement)
			}
			store, err := objstore.NewLocal(path)
			require.NoError(t, err)
			history, err := tablefmt.History(t.Context(), tablefmt.Location{Data: store}, 0)
			require.NoError(t, err)
			require.NoError(t, store.Close())
			newest := history[0].Version
			require.GreaterOrEqual(t, newest, int64(14), "the statements made too few versions")
			total, told, derived := 0, 0, 0
			for _, c := range history {
				if c.CDCs > 0 {
					told++
				} else if c.DataChange {
					derived++
				}
			}
			require.Positive(t, told)
			require.Positive(t, derived)
			compare := func(from, to int64, columns ...string) {
				want, err := spark.Python(t.Context(), sparkFeed, map[string]any{"path": path, "from": from, "to": to, "columns": columns})
				require.NoError(t, err)
				got := ourFeed(t, path, tablefmt.ChangeRange{From: from, To: to}, columns, true)
				require.True(t, slices.IsSortedFunc(got, func(a, b []string) int {
					x, _ := strconv.Atoi(a[len(columns)+1])
					y, _ := strconv.Atoi(b[len(columns)+1])
					return x - y
				}))
				require.Equal(t, sortRows(want), sortRows(got), "versions %d to %d", from, to)
				total = max(total, len(got))
			}
			compare(0, newest, "id", "v", "p", "n")
			for v := int64(0); v < newest; v += 5 {
				compare(v, min(v+4, newest), "p", "id")
			}
			t.Logf("%d rows of changes, %d versions told by cdc files, %d derived", total, told, derived)
		})
	}
}
