// Package formats_test holds the tables of Delta's newer features against Spark, which made them or reads what we wrote, and against the
// other readers as far as they can.
package formats_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// makeTable has Spark make a table of tablefmt/testdata/spark/make.py.
func makeTable(t *testing.T, name string) (path string) {
	t.Helper()
	script, err := os.ReadFile(filepath.Join("..", "..", "tablefmt", "testdata", "spark", "make.py"))
	require.NoError(t, err)
	path = filepath.Join(t.TempDir(), name)
	_, err = readers.Get(t, readers.Spark).Python(t.Context(), string(script)+"\nbuild(spark, *args)\n", []string{path, name})
	require.NoError(t, err)
	return path
}

func location(t *testing.T, path string) tablefmt.Location {
	t.Helper()
	store, err := objstore.NewLocal(path)
	require.NoError(t, err)
	return tablefmt.Location{Data: store}
}

func load(t *testing.T, path string) *tablefmt.Snapshot {
	t.Helper()
	s, err := tablefmt.Load(t.Context(), location(t, path))
	require.NoError(t, err)
	return s
}

// rows gives what we read of a table in the canonical form of package readers.
func rows(t *testing.T, s *tablefmt.Snapshot) [][]string {
	t.Helper()
	out := [][]string{}
	require.NoError(t, s.Scan(t.Context(), tablefmt.ScanOptions{}, func(rec arrow.RecordBatch) error {
		for i := range int(rec.NumRows()) {
			row := make([]string, rec.NumCols())
			for c, col := range rec.Columns() {
				row[c] = text(t, col, i)
			}
			out = append(out, row)
		}
		return nil
	}))
	return out
}

func text(t *testing.T, a arrow.Array, i int) string {
	switch v := value(t, a, i).(type) {
	case nil:
		return readers.Null
	case string:
		return v
	default:
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		require.NoError(t, enc.Encode(v))
		return strings.TrimSpace(b.String())
	}
}

// value is a text, nil, or a list or a map of such.
func value(t *testing.T, a arrow.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.Struct:
		m := map[string]any{}
		for c, f := range a.DataType().(*arrow.StructType).Fields() {
			m[f.Name] = value(t, a.Field(c), i)
		}
		return m
	case *array.Map:
		m := map[string]any{}
		from, to := a.ValueOffsets(i)
		for j := from; j < to; j++ {
			m[text(t, a.Keys(), int(j))] = value(t, a.Items(), int(j))
		}
		return m
	case *array.List:
		l := []any{}
		from, to := a.ValueOffsets(i)
		for j := from; j < to; j++ {
			l = append(l, value(t, a.ListValues(), int(j)))
		}
		return l
	case *array.Float32:
		return readers.Float(float64(a.Value(i)), 32)
	case *array.Float64:
		return readers.Float(a.Value(i), 64)
	case *array.Decimal128:
		return a.Value(i).ToString(a.DataType().(*arrow.Decimal128Type).Scale)
	case *array.Timestamp:
		layout := "2006-01-02 15:04:05.000000"
		if a.DataType().(*arrow.TimestampType).TimeZone != "" {
			layout += "Z"
		}
		return time.UnixMicro(int64(a.Value(i))).UTC().Format(layout)
	case *array.Binary:
		return fmt.Sprintf("%x", a.Value(i))
	}
	return a.ValueStr(i)
}

// sameAsSpark compares every version from one on; of many, as a table has that widens a column at a time, every fifth.
func sameAsSpark(t *testing.T, path string, from int64) {
	t.Helper()
	spark := readers.Get(t, readers.Spark)
	loc := location(t, path)
	last := load(t, path)
	step := int64(1)
	if last.Version()-from > 20 {
		step = 5
	}
	for v := from; v <= last.Version(); v += step {
		s, err := tablefmt.LoadAt(t.Context(), loc, v)
		require.NoError(t, err)
		want, err := spark.Rows(t.Context(), path, &v, nil)
		require.NoError(t, err)
		if d := readers.Diff(rows(t, s), want); d != "" {
			t.Fatalf("version %d: %s", v, d)
		}
	}
	got, err := spark.Rows(t.Context(), path, nil, nil)
	require.NoError(t, err)
	readers.Same(t, rows(t, last), got)
}

// exec runs statements in Spark, in which {t} is the table.
func exec(t *testing.T, path string, statements ...string) {
	t.Helper()
	for _, s := range statements {
		require.NoError(t, readers.Get(t, readers.Spark).Exec(t.Context(), strings.ReplaceAll(s, "{t}", readers.SparkTable(path, nil))), s)
	}
}

// tables are the tables of make.py.
var tables = []string{"name", "id", "upgraded", "widened", "widened_parts", "widened_preview", "nested_ids"}

// envAll has all tables made and written to: `make formats`. Without it there are
// few of each kind, since Spark takes minutes for all of them; what it wrote of
// each the tests of tablefmt read in any case.
const envAll = "LAKELOAD_FORMATS"

func wanted(name string, few ...string) bool {
	return os.Getenv(envAll) == "all" || slices.Contains(few, name)
}

// TestReadSparksTables reads what Spark wrote, at every version.
func TestReadSparksTables(t *testing.T) {
	for _, name := range tables {
		if !wanted(name, "widened") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			path := makeTable(t, name)
			sameAsSpark(t, path, 0)
			checkStats(t, load(t, path))
		})
	}
}

// checkStats holds the bounds and counts of integer columns, by our names for them, against the rows of each file.
func checkStats(t *testing.T, s *tablefmt.Snapshot) {
	t.Helper()
	bounds := 0
	for a := range s.Files() {
		st, err := s.FileStats(a)
		require.NoError(t, err)
		if st.NumRecords == nil {
			continue
		}
		for _, f := range s.Arrow().Fields() {
			if f.Type.ID() != arrow.INT64 || st.MinValues[f.Name] == nil {
				continue
			}
			least, most, nulls := columnBounds(t, s, a, f.Name)
			bounds++
			require.Equal(t, strconv.FormatInt(least, 10), string(st.MinValues[f.Name]), f.Name)
			require.Equal(t, strconv.FormatInt(most, 10), string(st.MaxValues[f.Name]), f.Name)
			require.Equal(t, strconv.Itoa(nulls), string(st.NullCount[f.Name]), f.Name)
		}
	}
	require.Positive(t, bounds)
}

func columnBounds(t *testing.T, s *tablefmt.Snapshot, a *tablefmt.AddFile, column string) (least, most int64, nulls int) {
	t.Helper()
	first := true
	o := tablefmt.ReadOptions{Columns: []string{column}, IncludeDeleted: true}
	require.NoError(t, s.ReadFile(context.Background(), a, o, func(rec arrow.RecordBatch, _ int64) error {
		c := rec.Column(0).(*array.Int64)
		for i := range c.Len() {
			if c.IsNull(i) {
				nulls++
				continue
			}
			v := c.Value(i)
			if first {
				least, most, first = v, v, false
			}
			least, most = min(least, v), max(most, v)
		}
		return nil
	}))
	return least, most, nulls
}
