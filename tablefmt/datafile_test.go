package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

var peopleSchema = &Schema{Fields: []Field{
	{Name: "day", Type: Date, Nullable: true},
	{Name: "id", Type: Long, Nullable: true},
	{Name: "name", Type: String, Nullable: true},
	{Name: "kind", Type: String, Nullable: true},
}}

// people makes a batch of peopleSchema's data columns.
func people(t *testing.T, from, n int) arrow.RecordBatch {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		nullable("id", arrow.PrimitiveTypes.Int64), nullable("name", arrow.BinaryTypes.String),
	}, nil))
	defer b.Release()
	for i := from; i < from+n; i++ {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		if i%7 == 0 {
			b.Field(1).AppendNull()
		} else {
			b.Field(1).(*array.StringBuilder).Append(fmt.Sprint("n", i))
		}
	}
	return b.NewRecordBatch()
}

func ptr[T any](v T) *T { return &v }

// writePeople writes people from to from+n into one file.
func writePeople(t *testing.T, s *Snapshot, day, kind *string, from, n int) *AddFile {
	t.Helper()
	w, err := NewFileWriter(context.Background(), s.Location(), s.DataArrow(), FileOptions{
		PartitionValues: map[string]*string{"day": day, "kind": kind}, PartitionColumns: s.PartitionColumns(),
		RowGroupRows: 1000,
	})
	require.NoError(t, err)
	defer w.Abort()
	rec := people(t, from, n)
	first, err := w.Write(rec)
	require.NoError(t, err)
	require.Equal(t, int64(0), first)
	a, err := w.Close()
	require.NoError(t, err)
	require.Equal(t, w.Path(), a.Path)
	return a
}

// scanRows gives the table's rows as text.
func scanRows(t *testing.T, s *Snapshot, o ScanOptions) (rows []string) {
	t.Helper()
	require.NoError(t, s.Scan(context.Background(), o, func(rec arrow.RecordBatch) error {
		rows = append(rows, rowsOf(t, rec)...)
		return nil
	}))
	return rows
}

func TestWriteDeleteAndScan(t *testing.T) {
	ctx := context.Background()
	loc := Location{Data: must(objstore.NewLocal(t.TempDir()))}
	s := create(t, loc, peopleSchema, "day", "kind")
	odd := ptr("a/b %=:ü😈" + strings.Repeat("x", 300))
	day := ptr("2024-02-29")
	tx := Begin(loc, s)
	tx.Add(*writePeople(t, s, day, odd, 0, 3000))
	tx.Add(*writePeople(t, s, nil, nil, 3000, 10))
	s = must(tx.Commit(ctx))
	require.Len(t, scanRows(t, s, ScanOptions{}), 3010)

	// Rows go by a vector that is too large for the log, and by a small one.
	large, small := dv.New(), dv.New(3, 9)
	for i := uint64(0); i < 3000; i += 2 {
		large.Add(i * 7919 % 3000)
	}
	require.Positive(t, large.Cardinality())
	ds, err := WriteDeletionVectors(ctx, loc, []*dv.Bitmap{large, small, large.Clone()})
	require.NoError(t, err)
	require.Equal(t, dv.Relative, ds[0].StorageType)
	require.Equal(t, dv.Inlined, ds[1].StorageType)
	require.Equal(t, ds[0].PathOrInlineDV, ds[2].PathOrInlineDV, "one file for both")
	require.NotEqual(t, ds[0].UniqueID(), ds[2].UniqueID())
	tx = Begin(loc, s)
	for a := range s.Files() {
		d := ds[0]
		if n, _ := a.NumRecords(); n == 10 {
			d = ds[1]
		}
		tx.Remove(*a.Remove(time.Now().UnixMilli(), true))
		tx.Add(must(a.WithVector(d)))
	}
	s = must(tx.Commit(ctx))

	want := map[int]string{}
	for i := range 3010 {
		name, where := fmt.Sprintf("%q", fmt.Sprint("n", i)), fmt.Sprintf("%q kind=%q", "2024-02-29", *odd)
		if i%7 == 0 {
			name = "null"
		}
		gone := large.Contains(uint64(i))
		if i >= 3000 {
			where, gone = "null kind=null", small.Contains(uint64(i-3000))
		}
		day, kind, _ := strings.Cut(where, " kind=")
		if !gone {
			want[i] = fmt.Sprintf("day=%s id=\"%d\" kind=%s name=%s", day, i, kind, name)
		}
	}
	var lines []string
	for _, w := range want {
		lines = append(lines, w)
	}
	for _, got := range []*Snapshot{s, must(Load(ctx, loc))} {
		require.ElementsMatch(t, lines, scanRows(t, got, ScanOptions{}))
		require.ElementsMatch(t, lines, scanRows(t, got, ScanOptions{BatchRows: 37}))
	}
	require.Len(t, scanRows(t, s, ScanOptions{Columns: []string{"kind"}}), len(want), "partition columns alone")

	for a := range s.Files() {
		bitmap, err := s.DeletionVector(ctx, a)
		require.NoError(t, err)
		n, _ := a.NumRecords()
		readAll(t, s, a, bitmap, n)
	}
}

// readAll checks that ReadFile's batches say which rows of the file they are.
func readAll(t *testing.T, s *Snapshot, a *AddFile, deleted *dv.Bitmap, n int64) {
	ctx := context.Background()
	base := int64(-1)
	seen := dv.New()
	require.NoError(t, s.ReadFile(ctx, a, ReadOptions{Columns: []string{"id"}, IncludeDeleted: true, BatchRows: 64}, func(rec arrow.RecordBatch, first int64) error {
		ids := rec.Column(0).(*array.Int64)
		if base < 0 {
			base = ids.Value(0)
		}
		for i := range ids.Len() {
			require.Equal(t, base+first+int64(i), ids.Value(i))
		}
		return nil
	}))
	require.NoError(t, s.ReadFile(ctx, a, ReadOptions{Columns: []string{"id"}, BatchRows: 64}, func(rec arrow.RecordBatch, first int64) error {
		ids := rec.Column(0).(*array.Int64)
		for i := range ids.Len() {
			require.Equal(t, base+first+int64(i), ids.Value(i))
			require.True(t, seen.Add(uint64(first)+uint64(i)))
		}
		return nil
	}))
	all := dv.New()
	all.AddRange(0, uint64(n))
	all.AndNot(deleted)
	require.True(t, all.Equal(seen))
	stop := errors.New("stop")
	require.Equal(t, stop, s.ReadFile(ctx, a, ReadOptions{}, func(arrow.RecordBatch, int64) error { return stop }), "as it is")
}

func TestSchemaEvolution(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	s := create(t, loc, peopleSchema, "day", "kind")
	tx := Begin(loc, s)
	tx.Add(*writePeople(t, s, nil, nil, 1, 2))
	s = must(tx.Commit(ctx))

	wide := &Schema{Fields: append([]Field{}, peopleSchema.Fields...)}
	wide.Fields = append(wide.Fields,
		Field{Name: "tags", Type: &Map{Key: String, Value: Long, ValueContainsNull: true}, Nullable: true},
		Field{Name: "at", Type: &Struct{Fields: []Field{{Name: "x", Type: &Array{Element: Decimal{5, 2}, ContainsNull: true}, Nullable: true}}}, Nullable: true})
	m := s.Metadata().Clone()
	m.SchemaString = wide.JSON()
	tx = Begin(loc, s)
	tx.SetMetadata(m)
	s = must(tx.Commit(ctx))
	rows := scanRows(t, s, ScanOptions{Columns: []string{"tags", "at", "id"}})
	require.ElementsMatch(t, []string{`at=null id="1" tags=null`, `at=null id="2" tags=null`}, rows)

	for name, change := range map[string]func(m *Metadata, s *Schema){
		"id":        func(_ *Metadata, s *Schema) { s.Fields[1].Type = String },
		"required":  func(_ *Metadata, s *Schema) { s.Fields[1].Nullable = false },
		"partition": func(m *Metadata, _ *Schema) { m.PartitionColumns = nil },
		"ID": func(_ *Metadata, s *Schema) {
			s.Fields = append(s.Fields, Field{Name: "ID", Type: Long, Nullable: true})
		},
		"character": func(_ *Metadata, s *Schema) {
			s.Fields = append(s.Fields, Field{Name: "a b", Type: Long, Nullable: true})
		},
		"timestampNtz": func(_ *Metadata, s *Schema) {
			s.Fields = append(s.Fields, Field{Name: "t", Type: TimestampNTZ, Nullable: true})
		},
	} {
		m, c := s.Metadata().Clone(), &Schema{Fields: append([]Field{}, wide.Fields...)}
		change(m, c)
		m.SchemaString = c.JSON()
		tx := Begin(loc, s)
		tx.SetMetadata(m)
		_, err := tx.Commit(ctx)
		require.ErrorIs(t, err, ErrInvalid, name)
		require.ErrorContains(t, err, name)
	}
}

func TestMissingAndDamagedFiles(t *testing.T) {
	ctx := context.Background()
	store := objstore.NewMemory()
	loc := Location{Data: store}
	s := create(t, loc, idSchema)
	w, err := NewFileWriter(ctx, loc, s.DataArrow(), FileOptions{Codec: colfile.Snappy})
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(w.Path(), ".c000.snappy.parquet"), w.Path())
	a, err := w.Close()
	require.NoError(t, err)
	require.Contains(t, a.Stats, `"numRecords":0`)
	tx := Begin(loc, s)
	tx.Add(*a)
	s = must(tx.Commit(ctx))
	require.Empty(t, scanRows(t, s, ScanOptions{}))
	path, err := a.DataPath()
	require.NoError(t, err)
	require.NoError(t, store.Put(ctx, path, []byte("rubbish rubbish")))
	err = s.Scan(ctx, ScanOptions{}, func(arrow.RecordBatch) error { return nil })
	require.ErrorIs(t, err, ErrCorrupt)
	require.NoError(t, store.Delete(ctx, path))
	err = s.Scan(ctx, ScanOptions{}, func(arrow.RecordBatch) error { return nil })
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, path)
	_, err = s.DeletionVector(ctx, &AddFile{Path: "x", DeletionVector: &dv.Descriptor{StorageType: dv.Stored, PathOrInlineDV: "/etc/x"}})
	require.ErrorAs(t, err, new(*OutsideError))
}

func TestAbortLeavesNothing(t *testing.T) {
	ctx := context.Background()
	store := objstore.NewMemory()
	w, err := NewFileWriter(ctx, Location{Data: store}, arrow.NewSchema([]arrow.Field{nullable("id", arrow.PrimitiveTypes.Int64)}, nil), FileOptions{})
	require.NoError(t, err)
	w.Abort()
	w.Abort()
	for info, err := range store.List(ctx, "", "") {
		t.Fatal(info, err)
	}
}

func TestStatsJSON(t *testing.T) {
	us, ntz := arrowPrimitives[Timestamp], arrowPrimitives[TimestampNTZ]
	col := func(name string, typ arrow.DataType, min, max any, nulls int64) colfile.ColumnStats {
		return colfile.ColumnStats{Path: strings.Split(name, "."), Type: typ, Min: min, Max: max, NullCount: nulls}
	}
	at := func(s string) arrow.Timestamp {
		return arrow.Timestamp(must(time.Parse(time.RFC3339Nano, s)).UnixMicro())
	}
	st := &colfile.Stats{Rows: 9, Columns: []colfile.ColumnStats{
		col("i", arrow.PrimitiveTypes.Int32, int64(-3), int64(7), 1),
		col("f", arrow.PrimitiveTypes.Float64, -0.5, 1e300, 0),
		col("whole", arrow.PrimitiveTypes.Float32, float32(1), float32(16777216), 0),
		col("inf", arrow.PrimitiveTypes.Float64, -1.5, math.Inf(1), 0),
		col("d", &arrow.Decimal128Type{Precision: 10, Scale: 2}, decimal128.FromI64(-5), decimal128.FromI64(12345), 0),
		col("s.a", arrow.BinaryTypes.String, `a"<`, "b\u2028", 0),
		col("s.b.c", arrow.FixedWidthTypes.Date32, arrow.Date32(0), arrow.Date32(19782), 2),
		col("s.b.none", arrow.FixedWidthTypes.Boolean, nil, nil, 9),
		col("t", us, at("2024-02-29T01:02:03.123456Z"), at("2024-02-29T01:02:03.123456Z"), 0),
		col("old", us, at("1960-01-01T00:00:00.000001Z"), at("1960-01-01T00:00:00.000001Z"), 0),
		col("n", ntz, at("2024-02-29T01:02:03Z"), at("2024-12-31T23:59:59.9999Z"), 0),
		col("far", us, arrow.Timestamp(math.MinInt64), arrow.Timestamp(math.MaxInt64), 0),
		col("list", arrow.ListOf(arrow.PrimitiveTypes.Int32), nil, nil, 4),
	}}
	require.Equal(t, `{"numRecords":9,`+
		`"minValues":{"i":-3,"f":-0.5,"whole":1.0,"inf":-1.5,"d":-0.05,"s":{"a":"a\"<","b":{"c":"1970-01-01"}},"t":"2024-02-29T01:02:03.123Z","old":"1960-01-01T00:00:00.000Z","n":"2024-02-29T01:02:03.000"},`+
		`"maxValues":{"i":7,"f":1e+300,"whole":1.6777216e+07,"d":123.45,"s":{"a":"b\u2028","b":{"c":"2024-02-29"}},"t":"2024-02-29T01:02:03.124Z","old":"1960-01-01T00:00:00.001Z","n":"2025-01-01T00:00:00.000"},`+
		`"nullCount":{"i":1,"f":0,"whole":0,"inf":0,"d":0,"s":{"a":0,"b":{"c":2,"none":9}},"t":0,"old":0,"n":0,"far":0,"list":4},`+
		`"tightBounds":true}`, statsJSON(st))

	a := AddFile{Stats: statsJSON(st)}
	n, ok := a.NumRecords()
	require.True(t, ok)
	require.Equal(t, int64(9), n)
	foreign := AddFile{Stats: `{"minValues":{"x":12345678901234567890.5},"numRecords": 12 }`}
	n, ok = foreign.NumRecords()
	require.True(t, ok)
	require.Equal(t, int64(12), n)
	with, err := foreign.WithVector(dv.Inline(dv.New(1)))
	require.NoError(t, err)
	require.Equal(t, `{"numRecords":12,"minValues":{"x":12345678901234567890.5},"tightBounds":false}`, with.Stats)
	for _, stats := range []string{"", "{", `{"numRecords":-1}`, `{"numRecords":"x"}`, `{"numRecords":`} {
		_, ok = (&AddFile{Stats: stats}).NumRecords()
		require.False(t, ok, stats)
		_, err = (&AddFile{Stats: stats}).WithVector(dv.Inline(dv.New(1)))
		require.Error(t, err, stats)
	}
}
