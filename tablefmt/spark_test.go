package tablefmt

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// sparkTable is a table of testdata/spark.
func sparkTable(t *testing.T, name string) Location {
	t.Helper()
	store, err := objstore.NewLocal(filepath.Join("testdata", "spark", name, "delta"))
	require.NoError(t, err)
	return Location{Data: store}
}

// TestSparkTables reads tables that Spark made, mapped and widened ones, at
// each version, and compares the rows with those that Spark read. See
// testdata/spark/make.py.
func TestSparkTables(t *testing.T) {
	tables, err := os.ReadDir(filepath.Join("testdata", "spark"))
	require.NoError(t, err)
	cases := 0
	for _, table := range tables {
		if !table.IsDir() {
			continue
		}
		expected := filepath.Join("testdata", "spark", table.Name(), "expected")
		versions, err := os.ReadDir(expected)
		require.NoError(t, err)
		for _, v := range versions {
			cases++
			t.Run(table.Name()+"/"+v.Name(), func(t *testing.T) {
				version, err := strconv.ParseInt(v.Name(), 10, 64)
				require.NoError(t, err)
				s, err := LoadAt(context.Background(), sparkTable(t, table.Name()), version)
				require.NoError(t, err)
				want := parquetRows(t, filepath.Join(expected, v.Name()), s.Arrow())
				require.ElementsMatch(t, want, scanRows(t, s, ScanOptions{}))
			})
		}
	}
	require.Greater(t, cases, 60)
}
