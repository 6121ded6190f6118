package foreign

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// TestRestoreBesideSpark takes a table back and forth that Spark has written,
// and has Spark go on from there: after each step Spark, delta-rs and DuckDB
// read what Spark read at the version that was restored.
func TestRestoreBesideSpark(t *testing.T) {
	ctx := t.Context()
	spark := readers.Get(t, readers.Spark)
	others := []*readers.Reader{readers.Get(t, readers.DuckDB), readers.Get(t, readers.DeltaRS)}
	path := filepath.Join(t.TempDir(), "t")
	table := readers.SparkTable(path, nil)
	var shown [][][]string // by version
	columns := func() []string {
		rows, err := spark.SQL(ctx, "DESCRIBE "+table)
		require.NoError(t, err)
		var names []string
		for _, r := range rows {
			if r[0] == "" || r[0][0] == '#' { // partitioning and the like
				break
			}
			names = append(names, r[0])
		}
		return names
	}
	read := func() [][]string {
		rows, err := spark.Rows(ctx, path, nil, columns())
		require.NoError(t, err)
		return rows
	}
	spoken := func(statement string) {
		t.Helper()
		require.NoError(t, spark.Exec(ctx, fmt.Sprintf(statement, table)))
		shown = append(shown, read())
	}
	store, err := objstore.NewLocal(path)
	require.NoError(t, err)
	loc := tablefmt.Location{Data: store}
	restored := func(version int) {
		t.Helper()
		then, err := tablefmt.LoadAt(ctx, loc, int64(version))
		require.NoError(t, err)
		s, done, err := tablefmt.Restore(ctx, then, tablefmt.RestoreOptions{})
		require.NoError(t, err)
		require.True(t, done.Changes())
		require.Equal(t, int64(len(shown)), s.Version())
		got := read()
		readers.Same(t, got, shown[version])
		for _, r := range others {
			rows, err := r.Rows(ctx, path, nil, columns())
			require.NoError(t, err, r.Kind())
			readers.Same(t, rows, shown[version])
		}
		shown = append(shown, got)
	}

	spoken("CREATE TABLE %s (id BIGINT, part STRING, v STRING) USING delta PARTITIONED BY (part) TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
	spoken("INSERT INTO %s SELECT id, concat('p', id %% 3), concat('v', id) FROM range(200)")
	spoken("DELETE FROM %s WHERE id %% 7 = 0")
	spoken("UPDATE %s SET v = 'new' WHERE id %% 5 = 0")
	restored(1) // vectors go
	spoken("DELETE FROM %s WHERE id %% 11 = 0")
	restored(3) // others come
	spoken("ALTER TABLE %s ADD COLUMNS (w INT)")
	spoken("INSERT INTO %s VALUES (1000, 'p0', 'x', 7)")
	restored(6) // the column goes
	require.Len(t, columns(), 3)
	restored(8) // and comes back
	spoken("MERGE INTO %s t USING (SELECT 1000 AS id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET w = 8")
	spoken("OPTIMIZE %s")
	restored(2)
	spoken("RESTORE TABLE %s TO VERSION AS OF 8")
	readers.Same(t, shown[len(shown)-1], shown[8])
	history, err := spark.Python(ctx, `result = [[r.operation, r.operationParameters["version"]] for r in spark.sql("DESCRIBE HISTORY " + args).collect() if r.version == 4]`, table)
	require.NoError(t, err)
	require.Equal(t, [][]string{{"RESTORE", "1"}}, history)

	// We read what Spark restored.
	s, err := tablefmt.Load(context.WithoutCancel(ctx), loc)
	require.NoError(t, err)
	require.Equal(t, int64(len(shown)-1), s.Version())
	require.Equal(t, len(shown[8]), rowCount(t, s))

	// Spark has written a checksum of each of its versions.
	report, err := tablefmt.Check(ctx, loc, tablefmt.CheckOptions{Rows: true}, func(f tablefmt.Fault) error {
		t.Error(f)
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, report.Checksums, 5)
	require.Equal(t, len(shown), report.Commits)
	require.Equal(t, int64(len(shown[8])), report.Rows)
}

func rowCount(t *testing.T, s *tablefmt.Snapshot) int {
	t.Helper()
	n := int64(0)
	for f := range s.Files() {
		rows, ok := f.NumRecords()
		require.True(t, ok)
		n += rows - f.Deleted()
	}
	return int(n)
}
