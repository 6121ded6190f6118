package formats_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
)

// TestTypedStatistics: a table whose checkpoints hold statistics as structs alone,
// as many do that were made by a hosted Spark. Spark's are read, and Spark goes on
// from ours.
func TestTypedStatistics(t *testing.T) {
	harness.Need(t)
	path := filepath.Join(t.TempDir(), "t")
	exec(t, path, `create table {t} (id bigint, v string, n decimal(20,4), day date, at timestamp, s struct<x: int>, p int) using delta partitioned by (p)
		tblproperties ('delta.checkpoint.writeStatsAsStruct' = 'true', 'delta.checkpoint.writeStatsAsJson' = 'false', 'delta.checkpointInterval' = '2')`,
		"insert into {t} select id, 'v' || id, id / 3, date_add(date'2024-01-01', cast(id as int)), timestamp_micros(id * 86400123456), named_struct('x', cast(id as int)), cast(id % 2 as int) from range(0, 20, 1, 1)",
		"insert into {t} values (100, null, null, null, null, named_struct('x', 5), null)")
	loc := location(t, path)
	require.FileExists(t, filepath.Join(path, "_delta_log", "00000000000000000002.checkpoint.parquet"))
	told := map[string]string{}
	for v := range int64(3) {
		actions, err := tablefmt.ReadCommit(t.Context(), loc, v)
		require.NoError(t, err)
		for _, a := range actions {
			if a.Add != nil {
				told[a.Add.Path] = a.Add.Stats
			}
		}
		require.NoError(t, os.Remove(filepath.Join(path, "_delta_log", fmt.Sprintf("%020d.json", v)))) // so that the checkpoint alone tells
	}
	same := func(s *tablefmt.Snapshot) {
		t.Helper()
		for a := range s.Files() {
			require.JSONEq(t, told[a.Path], a.Stats)
			delete(told, a.Path)
		}
		require.Empty(t, told)
	}
	same(load(t, path))

	s := appendCopies(t, load(t, path), "day")
	require.NoError(t, tablefmt.Checkpoint(t.Context(), s))
	for a := range s.Files() {
		told[a.Path] = a.Stats
	}
	spark := readers.Get(t, readers.Spark)
	got, err := spark.Rows(t.Context(), path, nil, nil)
	require.NoError(t, err)
	readers.Same(t, rows(t, s), got)
	for _, where := range []string{"id = 7", "day > date'2024-01-15'", "n between 1 and 2", "v is null", "s.x = 3 and p = 1", "at < timestamp'1970-01-05'"} {
		n, err := spark.SQL(t.Context(), "select count(*) from "+readers.SparkTable(path, nil)+" where "+where)
		require.NoError(t, err)
		all, err := spark.SQL(t.Context(), "select sum(case when "+where+" then 1 else 0 end) from "+readers.SparkTable(path, nil))
		require.NoError(t, err)
		require.Equal(t, all[0][0], n[0][0], where)
		require.NotEqual(t, "0", n[0][0], where)
	}
	same(load(t, path))
	exec(t, path, "delete from {t} where id = 100")
	got, err = spark.Rows(t.Context(), path, nil, nil)
	require.NoError(t, err)
	readers.Same(t, rows(t, load(t, path)), got)
}
