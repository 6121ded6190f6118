package tablefmt

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// datFolder is where the published Delta acceptance tests lie, or a skip.
func datFolder(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("LAKELOAD_DAT")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "testdata", "dat")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no Delta acceptance tests at %s (set LAKELOAD_DAT)", dir)
	}
	return dir
}

// TestDeltaAcceptance reads tables that Spark wrote, at each version that the
// tests tell the content of, and compares the rows.
func TestDeltaAcceptance(t *testing.T) {
	dir := datFolder(t)
	tables, err := os.ReadDir(dir)
	require.NoError(t, err)
	cases := 0
	for _, table := range tables {
		versions, err := os.ReadDir(filepath.Join(dir, table.Name(), "expected"))
		require.NoError(t, err)
		for _, v := range versions {
			cases++
			t.Run(table.Name()+"/"+v.Name(), func(t *testing.T) {
				acceptance(t, filepath.Join(dir, table.Name(), "delta"), filepath.Join(dir, table.Name(), "expected", v.Name()))
			})
		}
	}
	require.GreaterOrEqual(t, cases, 19)
}

func acceptance(t *testing.T, table, expected string) {
	ctx := context.Background()
	var want struct {
		Version          int64 `json:"version"`
		MinReaderVersion int   `json:"min_reader_version"`
		MinWriterVersion int   `json:"min_writer_version"`
	}
	data, err := os.ReadFile(filepath.Join(expected, "table_version_metadata.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &want))
	store, err := objstore.NewLocal(table)
	require.NoError(t, err)
	loc := Location{Data: store}
	s, err := LoadAt(ctx, loc, want.Version)
	require.NoError(t, err)
	require.Equal(t, want.Version, s.Version())
	require.Equal(t, want.MinReaderVersion, s.Protocol().MinReaderVersion)
	require.Equal(t, want.MinWriterVersion, s.Protocol().MinWriterVersion)
	if strings.HasSuffix(expected, "latest") {
		require.Equal(t, want.Version, must(Load(ctx, loc)).Version())
	}
	var got []string
	require.NoError(t, s.Scan(ctx, ScanOptions{}, func(rec arrow.RecordBatch) error {
		got = append(got, rowsOf(t, rec)...)
		return nil
	}))
	require.NotEmpty(t, got)
	report, faults := faultsOf(t, loc, CheckOptions{Rows: true})
	require.Empty(t, faults)
	require.GreaterOrEqual(t, report.Version, want.Version)
	require.ElementsMatch(t, parquetRows(t, filepath.Join(expected, "table_content"), s.Arrow()), got)
}

// parquetRows reads all Parquet files of a folder.
func parquetRows(t *testing.T, dir string, schema *arrow.Schema) (rows []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
	require.NoError(t, err)
	for _, name := range files {
		f, err := os.Open(name)
		require.NoError(t, err)
		defer f.Close()
		info, err := f.Stat()
		require.NoError(t, err)
		p, err := colfile.OpenFile(f, info.Size())
		require.NoError(t, err)
		var names []string
		for _, c := range schema.Fields() {
			names = append(names, c.Name)
		}
		require.NoError(t, p.Read(context.Background(), colfile.ReadOptions{Columns: names}, func(rec arrow.RecordBatch, _ int64) error {
			rows = append(rows, rowsOf(t, rec)...)
			return nil
		}))
	}
	return rows
}

// rowsOf prints each row with its columns' names; a null is no empty text.
func rowsOf(t *testing.T, rec arrow.RecordBatch) []string {
	rows := make([]string, rec.NumRows())
	for i := range rows {
		var cells []string
		for c, f := range rec.Schema().Fields() {
			v := "null"
			if a := rec.Column(c); a.IsValid(i) {
				v = fmt.Sprintf("%q", a.ValueStr(i))
			}
			cells = append(cells, f.Name+"="+v)
		}
		slices.Sort(cells)
		rows[i] = strings.Join(cells, " ")
	}
	return rows
}
