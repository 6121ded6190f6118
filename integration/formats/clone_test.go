package formats_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
)

// TestShallowClone reads a shallow clone that Spark made, whose log names its source's data files and deletion vectors by absolute paths:
// only where the caller allows it, and without ever touching them.
func TestShallowClone(t *testing.T) {
	dir := t.TempDir()
	source, clone := filepath.Join(dir, "a source"), filepath.Join(dir, "clone")
	spark := readers.Get(t, readers.Spark)
	at := func(path string) string { return fmt.Sprintf("delta.`%s`", path) }
	for _, s := range []string{
		"CREATE TABLE " + at(source) + " (id LONG, p STRING) USING delta PARTITIONED BY (p) TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')",
		"INSERT INTO " + at(source) + " SELECT /*+ REPARTITION(1) */ id, IF(id % 2 = 0, 'a b%2F', 'ü:+') FROM range(100)",
		"DELETE FROM " + at(source) + " WHERE id IN (3, 4, 50)",
		"CREATE TABLE " + at(clone) + " SHALLOW CLONE " + at(source),
	} {
		require.NoError(t, spark.Exec(t.Context(), s), s)
	}
	before := tree(t, source)
	scan := func(loc tablefmt.Location) error {
		s, err := tablefmt.Load(t.Context(), loc)
		require.NoError(t, err)
		require.Positive(t, s.NumFiles())
		return s.Scan(t.Context(), tablefmt.ScanOptions{}, func(arrow.RecordBatch) error { return nil })
	}
	var refused *tablefmt.OutsideError
	require.ErrorAs(t, scan(location(t, clone)), &refused)
	require.Contains(t, refused.Path, "a%20source")

	outside, closeOutside, err := tablefmt.LocalOutside(source)
	require.NoError(t, err)
	defer func() { require.NoError(t, closeOutside()) }()
	loc := location(t, clone)
	loc.Outside = outside
	same := func() *tablefmt.Snapshot {
		s, err := tablefmt.Load(t.Context(), loc)
		require.NoError(t, err)
		want, err := spark.Rows(t.Context(), clone, nil, nil)
		require.NoError(t, err)
		readers.Same(t, rows(t, s), want)
		report, err := tablefmt.Check(t.Context(), loc, tablefmt.CheckOptions{Rows: true}, func(f tablefmt.Fault) error { return fmt.Errorf("%s", f) })
		require.NoError(t, err)
		require.Zero(t, report.Outside)
		return s
	}
	require.Len(t, rows(t, same()), 97)
	first := same().Version()

	// Rows of the source's files go by vectors of the clone's own, both by Spark and by us.
	exec := func(s string) { require.NoError(t, spark.Exec(t.Context(), s), s) }
	exec("DELETE FROM " + at(clone) + " WHERE id = 7")
	exec("INSERT INTO " + at(clone) + " VALUES (1000, 'a b%2F')")
	s := same()
	s = deleteFirstRows(t, s)
	same()
	require.NoError(t, tablefmt.Checkpoint(t.Context(), s))
	same()
	then, err := tablefmt.LoadAt(t.Context(), loc, first)
	require.NoError(t, err)
	_, _, err = tablefmt.Restore(t.Context(), then, tablefmt.RestoreOptions{})
	require.NoError(t, err)
	require.Len(t, rows(t, same()), 97)
	require.Equal(t, before, tree(t, source), "the source is as it was")

	report, err := tablefmt.Check(t.Context(), location(t, clone), tablefmt.CheckOptions{}, func(f tablefmt.Fault) error { return fmt.Errorf("%s", f) })
	require.NoError(t, err)
	require.Positive(t, report.Outside)
}

// tree gives the files of a folder, with their sizes and times.
func tree(t *testing.T, dir string) (out []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		out = append(out, fmt.Sprint(path, info.Size(), info.ModTime()))
		return err
	}))
	return out
}
