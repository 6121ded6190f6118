package colfile

import (
	"bytes"
	"context"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
)

const fixtureRows = 200

func opt(name string, t arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: t, Nullable: true}
}

func fixtureSchema() *arrow.Schema {
	dec := func(p, s int32) arrow.DataType { return &arrow.Decimal128Type{Precision: p, Scale: s} }
	return arrow.NewSchema([]arrow.Field{
		opt("b", arrow.FixedWidthTypes.Boolean), opt("i8", arrow.PrimitiveTypes.Int8), opt("i16", arrow.PrimitiveTypes.Int16),
		opt("i32", arrow.PrimitiveTypes.Int32), opt("i64", arrow.PrimitiveTypes.Int64),
		opt("f32", arrow.PrimitiveTypes.Float32), opt("f64", arrow.PrimitiveTypes.Float64),
		opt("d9", dec(9, 2)), opt("d18", dec(18, 4)), opt("d38", dec(38, 10)),
		opt("s", arrow.BinaryTypes.String), opt("u", arrow.BinaryTypes.String), opt("bin", arrow.BinaryTypes.Binary),
		opt("date", arrow.FixedWidthTypes.Date32), opt("ts", utcMicros), opt("ntz", localMicros),
		opt("list", arrow.ListOf(arrow.PrimitiveTypes.Int32)),
		opt("st", arrow.StructOf(opt("a", arrow.PrimitiveTypes.Int64), opt("l", arrow.ListOf(arrow.BinaryTypes.String)))),
		opt("m", arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String)),
	}, nil)
}

func scaled(i, digits int64) decimal128.Num {
	n := new(big.Int).Exp(big.NewInt(10), big.NewInt(digits), nil)
	return decimal128.FromBigInt(n.Mul(n, big.NewInt(i)))
}

// fixtureBatch is the table of testdata/make_fixtures.py.
func fixtureBatch() arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, fixtureSchema())
	defer b.Release()
	for i := range int64(fixtureRows) {
		if i%7 == 3 {
			for _, f := range b.Fields() {
				f.AppendNull()
			}
			continue
		}
		us := i*86_400_123_457 - 5_000_000_000_000
		b.Field(0).(*array.BooleanBuilder).Append(i%3 == 0)
		b.Field(1).(*array.Int8Builder).Append(int8(i%256 - 128))
		b.Field(2).(*array.Int16Builder).Append(int16(i*37 - 5000))
		b.Field(3).(*array.Int32Builder).Append(int32(i*7919 - 1_000_000))
		b.Field(4).(*array.Int64Builder).Append(i*1e12 - 5e13)
		b.Field(5).(*array.Float32Builder).Append(float32(i)/4 - 10)
		b.Field(6).(*array.Float64Builder).Append(float64(i)/8 - 10)
		b.Field(7).(*array.Decimal128Builder).Append(decimal128.FromI64(i*1001 - 100_000))
		b.Field(8).(*array.Decimal128Builder).Append(decimal128.FromI64(i*1e15 - 1e17))
		b.Field(9).(*array.Decimal128Builder).Append(scaled(i-100, 34))
		b.Field(10).(*array.StringBuilder).Append(fmt.Sprintf("text %d", i%10))
		b.Field(11).(*array.StringBuilder).Append(fmt.Sprintf("%08x-ä", uint32(i*2654435761)))
		b.Field(12).(*array.BinaryBuilder).Append([]byte{byte(i), 0, 255})
		b.Field(13).(*array.Date32Builder).Append(arrow.Date32(i*100 - 15000))
		b.Field(14).(*array.TimestampBuilder).Append(arrow.Timestamp(us))
		b.Field(15).(*array.TimestampBuilder).Append(arrow.Timestamp(us))
		appendFixtureNested(b, i)
	}
	return b.NewRecordBatch()
}

func appendFixtureNested(b *array.RecordBuilder, i int64) {
	list := b.Field(16).(*array.ListBuilder)
	ints := list.ValueBuilder().(*array.Int32Builder)
	list.Append(true)
	for k := range i % 4 {
		if k == 1 {
			ints.AppendNull()
		} else {
			ints.Append(int32(i + k/2))
		}
	}
	st := b.Field(17).(*array.StructBuilder)
	st.Append(true)
	if i%5 == 0 {
		st.FieldBuilder(0).AppendNull()
	} else {
		st.FieldBuilder(0).(*array.Int64Builder).Append(i)
	}
	texts := st.FieldBuilder(1).(*array.ListBuilder)
	if i%4 == 0 {
		texts.AppendNull()
	} else {
		texts.Append(true)
		for range i % 3 {
			texts.ValueBuilder().(*array.StringBuilder).Append(fmt.Sprint("x", i))
		}
	}
	m := b.Field(18).(*array.MapBuilder)
	m.Append(true)
	for k := range i % 3 {
		m.KeyBuilder().(*array.StringBuilder).Append(fmt.Sprint("k", k))
		if k == 1 {
			m.ItemBuilder().AppendNull()
		} else {
			m.ItemBuilder().(*array.StringBuilder).Append(fmt.Sprint("v", i))
		}
	}
}

func allRows(n int64) []int32 {
	rows := make([]int32, n)
	for i := range rows {
		rows[i] = int32(i)
	}
	return rows
}

func fixtureFiles(t *testing.T) []string {
	files, err := filepath.Glob("testdata/*.parquet")
	require.NoError(t, err)
	require.Len(t, files, 12)
	return files
}

// TestReadsPyarrow reads every fixture, whole and by rows, with the types
// that a Delta table would expect.
func TestReadsPyarrow(t *testing.T) {
	want := fixtureBatch()
	for _, name := range fixtureFiles(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			require.NoError(t, err)
			if filepath.Base(name) == "other-types.parquet" {
				checkOtherTypes(t, b)
				return
			}
			f, err := OpenFile(bytes.NewReader(b), int64(len(b)))
			require.NoError(t, err)
			n := f.Schema().NumFields()
			cols := want.Columns()[:n]
			want := array.NewRecordBatch(arrow.NewSchema(want.Schema().Fields()[:n], nil), cols, want.NumRows())
			if filepath.Base(name) != "int96.parquet" { // which has no local timestamps
				require.NoError(t, sameColumns(want.Schema(), f.Schema()))
			}
			opt := ReadOptions{Schema: want.Schema()}
			requireRows(t, want, allRows(fixtureRows), readAll(t, b, opt))
			opt.Rows = []int64{0, 1, 2, 63, 99, 100, 198, 199}
			requireRows(t, want, []int32{0, 1, 2, 63, 99, 100, 198, 199}, readAll(t, b, opt))
		})
	}
}

// checkOtherTypes checks the types that a Delta table never has, by the text
// of some rows.
func checkOtherTypes(t *testing.T, b []byte) {
	recs := readAll(t, b, ReadOptions{BatchRows: 1000})
	require.Len(t, recs, 1)
	for i, want := range map[string][2]string{
		"u8": {"0", "198"}, "u16": {"65535", "65337"}, "u32": {"4294967295", "4294967097"},
		"u64": {"18446744073709551615", "18446744073709551417"}, "f16": {"0", "49.5"},
		"ms": {"1969-12-31T23:43:20Z", "1969-12-31T23:46:38.198Z"}, "ns": {"1969-12-31T23:59:59.9999", "1970-01-01T00:00:00.000098"},
		"t": {"00:00:00.000000", "00:03:18.000000"}, "fixed": {"AAEC", "xgEC"}, "d5": {"-10", "9.8"},
	} {
		a := recs[0].Column(recs[0].Schema().FieldIndices(i)[0])
		require.Equal(t, want, [2]string{a.ValueStr(0), a.ValueStr(198)}, i)
		require.True(t, a.IsNull(3), i)
	}
}

// TestReadsDeltaAcceptanceTables reads all data files that Spark wrote for
// Delta's acceptance tests, where they are at hand.
func TestReadsDeltaAcceptanceTables(t *testing.T) {
	dir := os.Getenv("LAKELOAD_DAT")
	if dir == "" {
		dir = "../../../shared/testdata/dat"
	}
	n := 0
	_ = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || filepath.Ext(path) != ".parquet" {
			return nil
		}
		r, err := os.Open(path)
		require.NoError(t, err)
		defer r.Close()
		f, err := OpenFile(r, info.Size())
		require.NoError(t, err, path)
		rows := int64(0)
		require.NoError(t, f.Read(context.Background(), ReadOptions{}, func(rec arrow.RecordBatch, first int64) error {
			require.Equal(t, rows, first)
			rows += rec.NumRows()
			return nil
		}), path)
		require.Equal(t, f.NumRows(), rows, path)
		n++
		return nil
	})
	if n == 0 {
		t.Skipf("no acceptance tables in %s; set LAKELOAD_DAT", dir)
	}
	t.Logf("%d files", n)
}
