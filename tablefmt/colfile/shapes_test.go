package colfile

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	pqfile "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
	"github.com/stretchr/testify/require"
)

// column is one leaf of a file that arrow-go writes for these tests, level by
// level, so that it can have any shape.
type column struct {
	values   any // a slice of what arrow-go has for the type
	def, rep []int16
}

// shaped writes a file whose columns have these shapes.
func shaped(t *testing.T, root []schema.Node, columns []column, opts ...parquet.WriterProperty) *File {
	t.Helper()
	group, err := schema.NewGroupNode("schema", parquet.Repetitions.Required, root, -1)
	require.NoError(t, err)
	var buf bytes.Buffer
	w := pqfile.NewParquetWriter(&buf, group, pqfile.WithWriterProps(parquet.NewWriterProperties(opts...)))
	g, err := w.AppendRowGroupChecked()
	require.NoError(t, err)
	for _, c := range columns {
		cw, err := g.NextColumn()
		require.NoError(t, err)
		switch cw := cw.(type) {
		case *pqfile.Int32ColumnChunkWriter:
			_, err = cw.WriteBatch(c.values.([]int32), c.def, c.rep)
		case *pqfile.Int64ColumnChunkWriter:
			_, err = cw.WriteBatch(c.values.([]int64), c.def, c.rep)
		case *pqfile.Int96ColumnChunkWriter:
			_, err = cw.WriteBatch(c.values.([]parquet.Int96), c.def, c.rep)
		case *pqfile.ByteArrayColumnChunkWriter:
			_, err = cw.WriteBatch(c.values.([]parquet.ByteArray), c.def, c.rep)
		case *pqfile.FixedLenByteArrayColumnChunkWriter:
			_, err = cw.WriteBatch(c.values.([]parquet.FixedLenByteArray), c.def, c.rep)
		case *pqfile.BooleanColumnChunkWriter:
			_, err = cw.WriteBatch(c.values.([]bool), c.def, c.rep)
		case *pqfile.Float32ColumnChunkWriter:
			_, err = cw.WriteBatch(c.values.([]float32), c.def, c.rep)
		case *pqfile.Float64ColumnChunkWriter:
			_, err = cw.WriteBatch(c.values.([]float64), c.def, c.rep)
		}
		require.NoError(t, err)
		require.NoError(t, cw.Close())
	}
	require.NoError(t, w.Close())
	f, err := OpenFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	require.NoError(t, err)
	return f
}

// columnsAs reads a file as columns of the wanted types, each value as text.
func columnsAs(t *testing.T, f *File, fields ...arrow.Field) (out [][]string) {
	t.Helper()
	out = make([][]string, len(fields))
	err := f.Read(context.Background(), ReadOptions{Schema: arrow.NewSchema(fields, nil)}, func(rec arrow.RecordBatch, _ int64) error {
		for c, col := range rec.Columns() {
			for i := range col.Len() {
				text := col.ValueStr(i)
				if col.DataType().ID() == arrow.TIMESTAMP {
					text = strings.Replace(text, "T", " ", 1)
				}
				out[c] = append(out[c], text)
			}
		}
		return nil
	})
	require.NoError(t, err)
	return out
}

func group(name string, rep parquet.Repetition, converted schema.ConvertedType, fields ...schema.Node) schema.Node {
	return schema.Must(schema.NewGroupNodeConverted(name, rep, fields, converted, -1))
}

func int32Node(name string, rep parquet.Repetition) schema.Node {
	return schema.NewInt32Node(name, rep, -1)
}

// TestListsOfEveryShape reads [[1,2],null,[],[null]] as writers have it, or
// what of it their shape can say. (Lists, backward-compatibility rules)
func TestListsOfEveryShape(t *testing.T) {
	opt, req, rep := parquet.Repetitions.Optional, parquet.Repetitions.Required, parquet.Repetitions.Repeated
	list, none := schema.ConvertedTypes.List, schema.ConvertedTypes.None
	three := column{[]int32{1, 2}, []int16{3, 3, 0, 1, 2}, []int16{0, 1, 0, 0, 0}}
	two := column{[]int32{1, 2}, []int16{2, 2, 0, 1}, []int16{0, 1, 0, 0}}
	bare := column{[]int32{1, 2}, []int16{1, 1, 0}, []int16{0, 1, 0}}
	ints := arrow.ListOf(arrow.PrimitiveTypes.Int32)
	structs := arrow.ListOf(arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int32, Nullable: true}))
	for _, c := range []struct {
		name string
		node schema.Node
		data column
		typ  arrow.DataType
		want string
	}{
		{"the present form", group("l", opt, list, group("list", rep, none, int32Node("element", opt))), three, ints, `[[1,2],(null),[],[null]]`},
		{"arrow's old names", group("l", opt, list, group("list", rep, none, int32Node("item", opt))), three, ints, `[[1,2],(null),[],[null]]`},
		{"Hive and Spark's legacy form", group("l", opt, list, group("bag", rep, none, int32Node("array_element", opt))), three, ints, `[[1,2],(null),[],[null]]`},
		{"any names", group("l", opt, list, group("foo", rep, none, int32Node("bar", opt))), three, ints, `[[1,2],(null),[],[null]]`},
		{"two levels", group("l", opt, list, int32Node("element", rep)), two, ints, `[[1,2],(null),[]]`},
		{"two levels, Avro", group("l", opt, list, int32Node("array", rep)), two, ints, `[[1,2],(null),[]]`},
		{"two levels, a struct called array", group("l", opt, list, group("array", rep, none, int32Node("x", opt))), three, structs, `[[{"x":1},{"x":2}],(null),[],[{"x":null}]]`},
		{"two levels, Thrift", group("l", opt, list, group("l_tuple", rep, none, int32Node("x", req))), two, structs, `[[{"x":1},{"x":2}],(null),[]]`},
		{"a bare repeated field", int32Node("l", rep), bare, ints, `[[1,2],[]]`},
	} {
		f := shaped(t, []schema.Node{c.node}, []column{c.data})
		got := columnsAs(t, f, arrow.Field{Name: "l", Type: c.typ, Nullable: true})
		require.Equal(t, c.want, "["+strings.Join(got[0], ",")+"]", c.name)
	}
}

// TestMapsOfEveryShape reads {7:1,8:null}, null, {} in the forms that there are.
func TestMapsOfEveryShape(t *testing.T) {
	opt, req, rep := parquet.Repetitions.Optional, parquet.Repetitions.Required, parquet.Repetitions.Repeated
	for _, c := range []struct{ annotation, inner, key, value string }{
		{"MAP", "key_value", "key", "value"}, {"MAP", "map", "key", "value"}, {"MAP", "entries", "k", "v"}, {"MAP_KEY_VALUE", "map", "key", "value"},
	} {
		converted := schema.ConvertedTypes.Map
		if c.annotation == "MAP_KEY_VALUE" {
			converted = schema.ConvertedTypes.MapKeyValue
		}
		node := group("m", opt, converted, group(c.inner, rep, schema.ConvertedTypes.None, int32Node(c.key, req), int32Node(c.value, opt)))
		f := shaped(t, []schema.Node{node}, []column{
			{[]int32{7, 8}, []int16{2, 2, 0, 1}, []int16{0, 1, 0, 0}},
			{[]int32{1}, []int16{3, 2, 0, 1}, []int16{0, 1, 0, 0}},
		})
		got := columnsAs(t, f, arrow.Field{Name: "m", Type: arrow.MapOf(arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int32), Nullable: true})
		require.Equal(t, []string{`[{"key":7,"value":1},{"key":8,"value":null}]`, "(null)", `[]`}, got[0], "%v", c)
	}
}

func int96(day uint32, nanos uint64) (v parquet.Int96) {
	for i := range 8 {
		v[i] = byte(nanos >> (8 * i))
	}
	for i := range 4 {
		v[8+i] = byte(day >> (8 * i))
	}
	return v
}

// TestTimesOfEveryUnit: the far past and future, and what is finer than a
// microsecond cut off downwards.
func TestTimesOfEveryUnit(t *testing.T) {
	req := parquet.Repetitions.Required
	stamp := func(name string, unit schema.TimeUnitType, utc bool) schema.Node {
		return schema.Must(schema.NewPrimitiveNodeLogical(name, req, schema.NewTimestampLogicalType(utc, unit), parquet.Types.Int64, 0, -1))
	}
	nodes := []schema.Node{
		schema.NewInt96Node("int96", req, -1),
		stamp("millis", schema.TimeUnitMillis, true), stamp("micros", schema.TimeUnitMicros, false), stamp("nanos", schema.TimeUnitNanos, true),
		stamp("local_millis", schema.TimeUnitMillis, false), stamp("local_nanos", schema.TimeUnitNanos, false),
		schema.Must(schema.NewPrimitiveNodeConverted("old_millis", req, parquet.Types.Int64, schema.ConvertedTypes.TimestampMillis, 0, 0, 0, -1)),
		schema.Must(schema.NewPrimitiveNodeLogical("date", req, schema.DateLogicalType{}, parquet.Types.Int32, 0, -1)),
	}
	f := shaped(t, nodes, []column{
		{values: []parquet.Int96{int96(1721426, 0), int96(2440588, 1999), int96(2440587, 86_399_999_999_999), int96(5373484, 86_399_999_999_999)}},
		{values: []int64{-62135596800000, -1, 1, 253402300799999}},
		{values: []int64{-62135596800000000, -1, 1, 253402300799999999}},
		{values: []int64{math.MinInt64, -1, 1999, math.MaxInt64}},
		{values: []int64{-62135596800000, -1, 1, 253402300799999}},
		{values: []int64{math.MinInt64, -1, 1999, math.MaxInt64}},
		{values: []int64{-62135596800000, -1, 1, 253402300799999}},
		{values: []int32{-719162, -141428, -1, 2932896}},
	})
	utc, local := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, &arrow.TimestampType{Unit: arrow.Microsecond}
	got := columnsAs(t, f,
		arrow.Field{Name: "int96", Type: utc}, arrow.Field{Name: "millis", Type: utc}, arrow.Field{Name: "micros", Type: local}, arrow.Field{Name: "nanos", Type: utc},
		arrow.Field{Name: "local_millis", Type: local}, arrow.Field{Name: "local_nanos", Type: local}, arrow.Field{Name: "old_millis", Type: utc},
		arrow.Field{Name: "date", Type: arrow.FixedWidthTypes.Date32})
	millis := []string{"0001-01-01 00:00:00", "1969-12-31 23:59:59.999", "1970-01-01 00:00:00.001", "9999-12-31 23:59:59.999"}
	nanos := []string{"1677-09-21 00:12:43.145224", "1969-12-31 23:59:59.999999", "1970-01-01 00:00:00.000001", "2262-04-11 23:47:16.854775"}
	zoned := func(in []string) (out []string) {
		for _, s := range in {
			out = append(out, s+"Z")
		}
		return out
	}
	require.Equal(t, [][]string{
		{"0001-01-01 00:00:00Z", "1970-01-01 00:00:00.000001Z", "1969-12-31 23:59:59.999999Z", "9999-12-31 23:59:59.999999Z"},
		zoned(millis),
		{"0001-01-01 00:00:00", "1969-12-31 23:59:59.999999", "1970-01-01 00:00:00.000001", "9999-12-31 23:59:59.999999"},
		zoned(nanos), millis, nanos, zoned(millis),
		{"0001-01-01", "1582-10-14", "1969-12-31", "9999-12-31"},
	}, got)
}

// TestDecimalsOfEveryForm: the four physical types, wider than they need to be.
func TestDecimalsOfEveryForm(t *testing.T) {
	req := parquet.Repetitions.Required
	dec := func(name string, phys parquet.Type, width, precision int32) schema.Node {
		return schema.Must(schema.NewPrimitiveNodeLogical(name, req, schema.NewDecimalLogicalType(precision, 2), phys, int(width), -1))
	}
	f := shaped(t, []schema.Node{
		dec("i32", parquet.Types.Int32, 0, 9), dec("i64", parquet.Types.Int64, 0, 18),
		dec("fixed", parquet.Types.FixedLenByteArray, 16, 38), dec("long", parquet.Types.FixedLenByteArray, 20, 38), dec("bytes", parquet.Types.ByteArray, 0, 20),
	}, []column{
		{values: []int32{-12345, 999999999}},
		{values: []int64{-12345, 999999999999999999}},
		{values: []parquet.FixedLenByteArray{append(bytes.Repeat([]byte{0xff}, 14), 0xcf, 0xc7), append(make([]byte, 14), 0x30, 0x39)}},
		{values: []parquet.FixedLenByteArray{append(bytes.Repeat([]byte{0xff}, 18), 0xcf, 0xc7), append(make([]byte, 18), 0x30, 0x39)}},
		{values: []parquet.ByteArray{{0xcf, 0xc7}, {0, 0, 0x30, 0x39}}},
	})
	for i, got := range columnsAs(t, f,
		arrow.Field{Name: "i32", Type: &arrow.Decimal128Type{Precision: 12, Scale: 3}}, arrow.Field{Name: "i64", Type: &arrow.Decimal128Type{Precision: 18, Scale: 2}},
		arrow.Field{Name: "fixed", Type: &arrow.Decimal128Type{Precision: 38, Scale: 2}}, arrow.Field{Name: "long", Type: &arrow.Decimal128Type{Precision: 38, Scale: 2}},
		arrow.Field{Name: "bytes", Type: &arrow.Decimal128Type{Precision: 20, Scale: 2}}) {
		require.Equal(t, []string{
			[]string{"-123.45", "-123.45", "-123.45", "-123.45", "-123.45"}[i],
			[]string{"9999999.99", "9999999999999999.99", "123.45", "123.45", "123.45"}[i],
		}, got)
	}
}

// TestDictionariesOfEveryType: with dictionary pages and without.
func TestDictionariesOfEveryType(t *testing.T) {
	req := parquet.Repetitions.Required
	for _, dict := range []bool{true, false} {
		const n = 1000
		var i32 []int32
		var i64 []int64
		var f32 []float32
		var f64 []float64
		var i96 []parquet.Int96
		var text []parquet.ByteArray
		var fixed []parquet.FixedLenByteArray
		var bools []bool
		want := make([][]string, 8)
		for i := range n {
			k := i % 7
			i32, i64, f32, f64 = append(i32, int32(k)), append(i64, int64(k)), append(f32, float32(k)/2), append(f64, float64(k)/2)
			i96, text = append(i96, int96(2440588, uint64(k)*1000)), append(text, parquet.ByteArray(strings.Repeat("x", k)))
			fixed, bools = append(fixed, parquet.FixedLenByteArray{byte(k), 1}), append(bools, k == 3)
			for c, v := range []string{
				fmt.Sprint(k), fmt.Sprint(k), fmt.Sprint(float32(k) / 2), fmt.Sprint(float64(k) / 2),
				strings.TrimSuffix(fmt.Sprintf("1970-01-01 00:00:00.00000%dZ", k), map[bool]string{true: ".000000Z"}[k == 0]) + map[bool]string{true: "Z"}[k == 0],
				strings.Repeat("x", k), string([]byte{byte(k), 1}), fmt.Sprint(k == 3),
			} {
				want[c] = append(want[c], v)
			}
		}
		f := shaped(t, []schema.Node{
			int32Node("i32", req), schema.NewInt64Node("i64", req, -1), schema.NewFloat32Node("f32", req, -1), schema.NewFloat64Node("f64", req, -1),
			schema.NewInt96Node("i96", req, -1), schema.NewByteArrayNode("text", req, -1), schema.NewFixedLenByteArrayNode("fixed", req, 2, -1), schema.NewBooleanNode("bools", req, -1),
		}, []column{{values: i32}, {values: i64}, {values: f32}, {values: f64}, {values: i96}, {values: text}, {values: fixed}, {values: bools}},
			parquet.WithDictionaryDefault(dict), parquet.WithDataPageSize(256))
		var got [8][]string
		utc := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
		fields := []arrow.Field{
			{Name: "i32", Type: arrow.PrimitiveTypes.Int32},
			{Name: "i64", Type: arrow.PrimitiveTypes.Int64},
			{Name: "f32", Type: arrow.PrimitiveTypes.Float32},
			{Name: "f64", Type: arrow.PrimitiveTypes.Float64},
			{Name: "i96", Type: utc},
			{Name: "text", Type: arrow.BinaryTypes.String},
			{Name: "fixed", Type: arrow.BinaryTypes.String},
			{Name: "bools", Type: arrow.FixedWidthTypes.Boolean},
		}
		copy(got[:], columnsAs(t, f, fields...))
		require.Equal(t, want, got[:], "dictionary: %t", dict)
	}
}

// TestNamesThatDifferByCase: Delta's names do not differ by case, so a file may
// have them in another.
func TestNamesThatDifferByCase(t *testing.T) {
	req := parquet.Repetitions.Required
	f := shaped(t, []schema.Node{int32Node("ID", req), group("S", req, schema.ConvertedTypes.None, int32Node("Inner", req)), int32Node("extra", req)},
		[]column{{values: []int32{1}}, {values: []int32{2}}, {values: []int32{3}}})
	s := arrow.StructOf(arrow.Field{Name: "iNNER", Type: arrow.PrimitiveTypes.Int32, Nullable: true}, arrow.Field{Name: "none", Type: arrow.PrimitiveTypes.Int32, Nullable: true})
	got := columnsAs(t, f, arrow.Field{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "s", Type: s, Nullable: true},
		arrow.Field{Name: "missing", Type: arrow.BinaryTypes.String, Nullable: true})
	require.Equal(t, [][]string{{"1"}, {`{"iNNER":2,"none":null}`}, {"(null)"}}, got)

	f = shaped(t, []schema.Node{int32Node("ID", req), int32Node("Id", req)}, []column{{values: []int32{1}}, {values: []int32{2}}})
	require.Equal(t, [][]string{{"2"}}, columnsAs(t, f, arrow.Field{Name: "Id", Type: arrow.PrimitiveTypes.Int32}))
	err := f.Read(context.Background(), ReadOptions{Schema: arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int32}}, nil)},
		func(arrow.RecordBatch, int64) error { return nil })
	require.ErrorContains(t, err, `"ID" and "Id"`)
}

// TestFilesWithoutRows, also with row groups of none.
func TestFilesWithoutRows(t *testing.T) {
	f := shaped(t, []schema.Node{int32Node("id", parquet.Repetitions.Optional)}, []column{{[]int32{}, []int16{}, nil}})
	require.Zero(t, f.NumRows())
	require.Equal(t, [][]string{nil}, columnsAs(t, f, arrow.Field{Name: "id", Type: arrow.PrimitiveTypes.Int32, Nullable: true}))
}

// TestDeepNesting writes and reads lists in lists as deep as can be.
func TestDeepNesting(t *testing.T) {
	typ := arrow.DataType(arrow.PrimitiveTypes.Int32)
	text := "7"
	for range 75 {
		typ, text = arrow.ListOf(typ), "["+text+"]"
	}
	s := arrow.NewSchema([]arrow.Field{{Name: "l", Type: typ, Nullable: true}}, nil)
	rec, _, err := array.RecordFromJSON(nil, s, strings.NewReader(`[{"l":`+text+`},{"l":null},{"l":[[]]}]`))
	require.NoError(t, err)
	var buf bytes.Buffer
	w, err := NewWriter(&buf, s, WriterOptions{})
	require.NoError(t, err)
	require.NoError(t, w.Write(rec))
	_, err = w.Close()
	require.NoError(t, err)
	f, err := OpenFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	require.NoError(t, err)
	require.Equal(t, [][]string{{text, "(null)", "[[]]"}}, columnsAs(t, f, s.Field(0)))
}
