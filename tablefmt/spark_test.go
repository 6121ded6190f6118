package tablefmt

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

// sparkCopy is a copy of such a table that may be written to.
func sparkCopy(t *testing.T, name string) Location {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "spark", name, "delta"))))
	store, err := objstore.NewLocal(dir)
	require.NoError(t, err)
	return Location{Data: store}
}

var sparkTables = []string{"name", "id", "upgraded", "widened", "widened_parts", "widened_preview", "nested_ids"}

// TestSparkTablesAreSound holds every row against the statistics.
func TestSparkTablesAreSound(t *testing.T) {
	for _, name := range sparkTables {
		_, faults := faultsOf(t, sparkTable(t, name), CheckOptions{Rows: true})
		require.Empty(t, faults, name)
	}
}

// TestRestoreOfSparkTables goes back through the life of tables whose columns
// were renamed and widened, to before they were mapped, and forth again.
func TestRestoreOfSparkTables(t *testing.T) {
	ctx := context.Background()
	for _, name := range sparkTables {
		if name == "nested_ids" {
			continue // its Iceberg features are not written here
		}
		loc := sparkCopy(t, name)
		last := must(Load(ctx, loc)).Version()
		rows := map[int64][]string{}
		for v := range last + 1 {
			rows[v] = allRows(t, must(LoadAt(ctx, loc, v)))
		}
		versions := slices.Sorted(maps.Keys(rows))
		slices.Reverse(versions)
		for _, v := range append(versions, last) {
			s, _, err := Restore(ctx, must(LoadAt(ctx, loc, v)), RestoreOptions{})
			require.NoError(t, err, "%s to version %d", name, v)
			require.Equal(t, rows[v], allRows(t, s), "%s at version %d", name, v)
		}
		_, faults := faultsOf(t, loc, CheckOptions{Rows: true})
		require.Empty(t, faults, name)
	}
}

// TestRestoreKeepsTheGreatestID: also where another program's restore lost it.
func TestRestoreKeepsTheGreatestID(t *testing.T) {
	conf := func(id string) *Metadata { return &Metadata{Configuration: map[string]string{PropMaxColumnID: id}} }
	for _, c := range [][3]string{{"5", "3", "5"}, {"3", "5", "5"}, {"", "5", "5"}, {"5", "", "5"}} {
		require.Equal(t, c[2], restoredMetadata(conf(c[0]), conf(c[1])).Property(PropMaxColumnID))
	}
}
