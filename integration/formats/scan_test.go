package formats_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// asked are tests of the columns of the tables below, which mean the same in lakeload, Spark and DuckDB.
var asked = []string{
	"p = 1", "p IS NULL", "p <> 2", "p IN (0, 2)", "n > 150000", "n <= 20000.5", "n BETWEEN 40000 AND 60000", "n IN (1000, 77000, 300000)",
	"g > 40", "g < 3.25", "g = 'NaN'", "g <= 2", "g IS NULL", "d >= 12.505", "d = 3.13", "d < 1.5", "big > 1001234567890123456789.125", "big <= 51234567890123456789.125",
	"big = 991234567890123456789.126", "s LIKE 'aaaa%'", "s LIKE 'b%'", "s > 'A31z1'", "s = 'A31😀8'", "s >= 'A31😀'", "s < 'A31z'", "ts < '1970-01-01 00:00:00Z'",
	"ts >= '1970-01-01 00:00:20.000120Z'", "ts = '1969-12-31 23:58:20.000000Z'", "ts <= '1970-01-01 00:01:39.000199Z'", "local > '1970-01-01 00:00:50.5'", "day = DATE '2026-03-01'",
	"day > DATE '2026-06-01'", "ok = TRUE", "ok IS NULL", "st.n > 100", "st.s LIKE '1%'", "st.n IS NULL", "st IS NULL", "id IS NOT DISTINCT FROM 5", "p IS DISTINCT FROM 1", "id < 30", "id >= 170",
}

func conditionsOf(n int) []string {
	list := slices.Clone(asked)
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	var draw func(depth int) string
	draw = func(depth int) string {
		switch k := r.IntN(4); {
		case depth == 0 || k == 0:
			return asked[r.IntN(len(asked))]
		case k == 1:
			return "NOT (" + draw(depth-1) + ")"
		case k == 2:
			return "(" + draw(depth-1) + " OR " + draw(depth-1) + ")"
		}
		return "(" + draw(depth-1) + " AND " + draw(depth-1) + ")"
	}
	for range n {
		list = append(list, draw(2))
	}
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], "A31", strings.Repeat("a", 31))
	}
	return list
}

// askedRows gives Spark's expressions for the columns, of id.
const askedRows = `SELECT id, IF(id %% 41 = 0, NULL, CAST(id DIV 50 %% 3 AS INT)) p, id * 1000 n, IF(id %% 29 = 0, double('NaN'), CAST(id AS DOUBLE) / 4) g, CAST(id / 8.0 AS DECIMAL(9,2)) d,
	CAST(concat(id, '1234567890123456789.125') AS DECIMAL(38,3)) big,
	IF(id %% 11 = 0, NULL, concat(repeat('a', 31), CASE id %% 4 WHEN 0 THEN '😀' WHEN 1 THEN 'z' WHEN 2 THEN '' ELSE 'ü' END, CAST(id AS STRING))) s,
	timestamp_micros(id * 1000001 - 100000000) ts, CAST(timestamp_micros(id * 1000001) AS TIMESTAMP_NTZ) local, date_add(DATE '2026-01-01', CAST(id AS INT)) day, IF(id %% 5 = 0, NULL, id %% 2 = 0) ok,
	IF(id %% 7 = 0, NULL, named_struct('n', IF(id %% 3 = 0, NULL, id), 's', CAST(id AS STRING))) st FROM range(%d, %d, 1, 1)`

// askOfAll holds what we find of a table against DuckDB, which is asked of a copy of the whole table, so that it skips nothing.
func askOfAll(t *testing.T, path string, list []string) (total tablefmt.ScanCounts) {
	t.Helper()
	duckdb := readers.Get(t, readers.DuckDB)
	require.NoError(t, duckdb.Exec(t.Context(), "CREATE OR REPLACE TEMP TABLE asked AS SELECT * FROM "+readers.DeltaScan(path, nil)))
	s := load(t, path)
	for _, where := range list {
		var counts tablefmt.ScanCounts
		got := ask(t, s, where, &counts)
		want, err := duckdb.SQL(t.Context(), "SELECT id FROM asked WHERE "+where)
		require.NoError(t, err, where)
		requireSameIDs(t, got, want, where)
		total.SkippedByPartition += counts.SkippedByPartition
		total.SkippedByStats += counts.SkippedByStats
		total.RowGroupsSkipped += counts.RowGroupsSkipped
		total.Rows += counts.Rows
	}
	return total
}

func requireSameIDs(t *testing.T, got, want [][]string, where string) {
	t.Helper()
	for _, rows := range [][][]string{got, want} {
		slices.SortFunc(rows, slices.Compare)
	}
	if len(got) == 0 && len(want) == 0 {
		return
	}
	require.Equal(t, want, got, where)
}

// ask gives the ids of the rows for which a condition holds.
func ask(t *testing.T, s *tablefmt.Snapshot, where string, counts *tablefmt.ScanCounts) (ids [][]string) {
	t.Helper()
	e, err := predicate.Parse(where)
	require.NoError(t, err, where)
	require.NoError(t, s.Scan(t.Context(), tablefmt.ScanOptions{Columns: []string{"id"}, Where: e, Counts: counts}, func(rec arrow.RecordBatch) error {
		for i := range int(rec.NumRows()) {
			ids = append(ids, []string{text(t, rec.Column(0), i)})
		}
		return nil
	}), where)
	return ids
}

// TestScansOfDeltaRSTables asks of tables that delta-rs wrote, with its statistics, and of a copy that we wrote of one.
func TestScansOfDeltaRSTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	_, err := readers.Get(t, readers.DeltaRS).Python(t.Context(), `
from decimal import Decimal
from datetime import date, datetime, timedelta, timezone
path = args[0]
def column(f, kind, lo, hi):
    return pa.array([f(i) for i in range(lo, hi)], kind)
for lo, hi in [(0, 35), (35, 70), (70, 100), (100, 150), (150, 200)]:
    table = pa.table({
        "id": column(lambda i: i, pa.int64(), lo, hi),
        "p": column(lambda i: None if i % 41 == 0 else i // 50 % 3, pa.int32(), lo, hi),
        "n": column(lambda i: i * 1000, pa.int64(), lo, hi),
        "g": column(lambda i: float("nan") if i % 29 == 0 else i / 4, pa.float64(), lo, hi),
        "d": column(lambda i: (Decimal(i) / 8).quantize(Decimal("0.01")), pa.decimal128(9, 2), lo, hi),
        "big": column(lambda i: Decimal(str(i) + "1234567890123456789.125"), pa.decimal128(38, 3), lo, hi),
        "s": column(lambda i: None if i % 11 == 0 else "a" * 31 + ["\U0001F600", "z", "", "ü"][i % 4] + str(i), pa.string(), lo, hi),
        "ts": column(lambda i: datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=i * 1000001 - 100000000), pa.timestamp("us", "UTC"), lo, hi),
        "local": column(lambda i: datetime(1970, 1, 1) + timedelta(microseconds=i * 1000001), pa.timestamp("us"), lo, hi),
        "day": column(lambda i: date(2026, 1, 1) + timedelta(days=i), pa.date32(), lo, hi),
        "ok": column(lambda i: None if i % 5 == 0 else i % 2 == 0, pa.bool_(), lo, hi),
        "st": column(lambda i: None if i % 7 == 0 else {"n": None if i % 3 == 0 else i, "s": str(i)}, pa.struct([("n", pa.int64()), ("s", pa.string())]), lo, hi),
    })
    deltalake.write_deltalake(path, table, mode="append", partition_by=["p"])
result = []`, []string{path})
	require.NoError(t, err)
	list := conditionsOf(150)
	counts := askOfAll(t, path, list)
	t.Logf("delta-rs: %+v", counts)
	require.Positive(t, counts.SkippedByPartition)
	require.Positive(t, counts.SkippedByStats)

	// The same rows as we write them, with deleted ones.
	theirs := load(t, path)
	ours := filepath.Join(t.TempDir(), "ours")
	store, err := objstore.NewLocal(ours)
	require.NoError(t, err)
	loc := tablefmt.Location{Data: store}
	m := &tablefmt.Metadata{Configuration: map[string]string{tablefmt.PropDeletionVectors: "true"}}
	require.NoError(t, m.SetSchema(theirs.Schema()))
	x := tablefmt.Begin(loc, nil)
	x.SetProtocol(tablefmt.MirrorProtocol(tablefmt.OptionsFor(theirs.Schema())))
	x.SetMetadata(m)
	s := commit(t, x)
	x = tablefmt.Begin(loc, s)
	require.NoError(t, theirs.Scan(t.Context(), tablefmt.ScanOptions{}, func(rec arrow.RecordBatch) error {
		w, err := s.NewFileWriter(t.Context(), tablefmt.FileOptions{RowGroupRows: 9})
		if err != nil {
			return err
		}
		defer w.Abort()
		if _, err := w.Write(array.NewRecordBatch(s.DataArrow(), rec.Columns(), rec.NumRows())); err != nil {
			return err
		}
		a, err := w.Close()
		if err == nil {
			x.Add(*a)
		}
		return err
	}))
	s = commit(t, x)
	deleteFirstRows(t, s)
	counts = askOfAll(t, ours, list)
	t.Logf("ours: %+v", counts)
	require.Positive(t, counts.SkippedByStats)
	require.Positive(t, counts.RowGroupsSkipped)
}

// TestScansOfSparksTables asks of a table that Spark wrote, with its statistics, partitions and deletion vectors; columns by mapped names too.
func TestScansOfSparksTables(t *testing.T) {
	spark := readers.Get(t, readers.Spark)
	for mode, n := range map[string]int{"none": 100, "name": 40} {
		if !wanted(mode, "none") {
			continue
		}
		path := filepath.Join(t.TempDir(), mode)
		for i, span := range [][2]int{{0, 35}, {35, 100}, {100, 200}} {
			verb := "INSERT INTO " + readers.SparkTable(path, nil)
			if i == 0 {
				verb = fmt.Sprintf("CREATE TABLE %s USING delta PARTITIONED BY (p) TBLPROPERTIES ('delta.enableDeletionVectors'='true', 'delta.columnMapping.mode'='%s') AS", readers.SparkTable(path, nil), mode)
			}
			require.NoError(t, spark.Exec(t.Context(), verb+" "+fmt.Sprintf(askedRows, span[0], span[1])))
		}
		exec(t, path, "DELETE FROM {t} WHERE id % 10 = 3")
		list := conditionsOf(n)
		// One statement for all of them: each would take Spark seconds.
		columns := make([]string, len(list))
		for i, where := range list {
			columns[i] = fmt.Sprintf("IF(%s, '1', '0') c%d", where, i)
		}
		answers, err := spark.SQL(t.Context(), "SELECT id, "+strings.Join(columns, ", ")+" FROM "+readers.SparkTable(path, nil))
		require.NoError(t, err)
		s := load(t, path)
		var total tablefmt.ScanCounts
		for i, where := range list {
			var want [][]string
			for _, row := range answers {
				if row[i+1] == "1" {
					want = append(want, row[:1])
				}
			}
			var counts tablefmt.ScanCounts
			requireSameIDs(t, ask(t, s, where, &counts), want, where)
			total.SkippedByPartition += counts.SkippedByPartition
			total.SkippedByStats += counts.SkippedByStats
			total.Rows += counts.Rows
		}
		t.Logf("%s: %+v", mode, total)
		require.Positive(t, total.SkippedByPartition)
		require.Positive(t, total.SkippedByStats)
		if mode == "none" {
			askOfAll(t, path, conditionsOf(150)) // DuckDB does not read partition columns by mapped names
		}
	}
}
