package colfile

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/stretchr/testify/require"
)

// fromJSON makes a batch from Arrow's JSON rows.
func fromJSON(t *testing.T, schema *arrow.Schema, rows string) arrow.RecordBatch {
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, bytes.NewReader([]byte(rows)))
	require.NoError(t, err)
	return rec
}

func writeFile(t *testing.T, rec arrow.RecordBatch, opt WriterOptions) []byte {
	var buf bytes.Buffer
	w, err := NewWriter(&buf, rec.Schema(), opt)
	require.NoError(t, err)
	require.NoError(t, w.Write(rec))
	_, err = w.Close()
	require.NoError(t, err)
	return buf.Bytes()
}

func schemaOf(fields ...arrow.Field) *arrow.Schema { return arrow.NewSchema(fields, nil) }

// TestReadByTarget reads a file as a later schema of its table.
func TestReadByTarget(t *testing.T) {
	i8, i16, i32, i64 := arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64
	f32, f64 := arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64
	dec := func(p, s int32) arrow.DataType { return &arrow.Decimal128Type{Precision: p, Scale: s} }
	str, bin, date := arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, arrow.FixedWidthTypes.Date32
	for _, c := range []struct {
		from, to arrow.DataType
		in, want string // one JSON value; want "" is ErrUnsupported
	}{
		{i8, i64, `-5`, `-5`},
		{i16, i32, `-5`, `-5`},
		{i32, i64, `2147483647`, `2147483647`},
		{i64, i8, `127`, `127`},
		{i64, i8, `128`, ``},
		{i64, i32, `-2147483649`, ``},
		{i32, f64, `-7`, `-7`},
		{i64, f64, `1`, ``},
		{f32, f64, `0.5`, `0.5`},
		{f64, f32, `0.5`, ``},
		{i32, dec(12, 2), `-7`, `"-7.00"`},
		{i64, dec(20, 1), `9`, `"9.0"`},
		{i64, dec(3, 1), `100`, ``},
		{dec(5, 2), dec(20, 4), `"-1.23"`, `"-1.2300"`},
		{dec(5, 2), dec(38, 2), `"1.23"`, `"1.23"`},
		{dec(5, 2), dec(5, 1), `"1.20"`, ``},
		{dec(10, 2), dec(5, 2), `"999.99"`, `"999.99"`},
		{dec(10, 2), dec(5, 2), `"1000.00"`, ``},
		{dec(38, 0), dec(38, 10), `"99999999999999999999999999999999999999"`, ``},
		{date, localMicros, `"2024-02-29"`, `"2024-02-29 00:00:00"`},
		{date, utcMicros, `"2024-02-29"`, ``},
		{utcMicros, localMicros, `"2024-02-29 01:02:03Z"`, `"2024-02-29 01:02:03"`},
		{localMicros, utcMicros, `"2024-02-29 01:02:03"`, `"2024-02-29 01:02:03Z"`},
		{bin, str, `"YQ=="`, `"a"`},
		{str, bin, `"a"`, `"YQ=="`},
		{str, i32, `"1"`, ``},
		{i32, str, `1`, ``},
		{arrow.ListOf(i32), arrow.ListOf(i64), `[1, null]`, `[1, null]`},
		{arrow.ListOf(i32), i64, `[1]`, ``},
		{arrow.MapOf(str, i32), arrow.MapOf(str, i64), `[{"key":"a","value":1}]`, `[{"key":"a","value":1}]`},
		{
			arrow.StructOf(opt("a", i32), opt("b", str)), arrow.StructOf(opt("n", f64), opt("b", str), opt("a", i64)),
			`{"a":1,"b":"x"}`, `{"n":null,"b":"x","a":1}`,
		},
		{arrow.StructOf(opt("a", i32)), arrow.StructOf(opt("n", arrow.ListOf(i32))), `{"a":1}`, `{"n":null}`},
	} {
		from, to := schemaOf(opt("x", c.from)), schemaOf(opt("new", arrow.MapOf(str, str)), opt("x", c.to))
		b := writeFile(t, fromJSON(t, from, `[{"x":null},{"x":`+c.in+`},{"x":null}]`), WriterOptions{})
		if c.want != "" {
			want := fromJSON(t, to, `[{"x":null},{"x":`+c.want+`},{"x":null}]`)
			requireRows(t, want, allRows(3), readAll(t, b, ReadOptions{Schema: to}))
			continue
		}
		f, err := OpenFile(bytes.NewReader(b), int64(len(b)))
		require.NoError(t, err)
		err = f.Read(context.Background(), ReadOptions{Schema: to}, func(arrow.RecordBatch, int64) error { return nil })
		require.ErrorIs(t, err, ErrUnsupported, "%s as %s", c.from, c.to)
	}
}

// TestProjection reads columns by name, and none of them.
func TestProjection(t *testing.T) {
	rec := fixtureBatch()
	b := writeFile(t, rec, WriterOptions{RowGroupRows: 50})
	got := readAll(t, b, ReadOptions{Columns: []string{"st", "i8"}})
	want := array.NewRecordBatch(schemaOf(rec.Schema().Field(17), rec.Schema().Field(1)), []arrow.Array{rec.Column(17), rec.Column(1)}, rec.NumRows())
	requireRows(t, want, allRows(fixtureRows), got)
	rows := int64(0)
	for _, r := range readAll(t, b, ReadOptions{Columns: []string{}}) {
		rows += r.NumRows()
	}
	require.Equal(t, int64(fixtureRows), rows)

	f, err := OpenFile(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	require.Equal(t, 4, f.NumRowGroups())
	fail := errors.New("stop")
	for _, c := range []struct {
		opt  ReadOptions
		want error
	}{
		{ReadOptions{Columns: []string{"I8"}}, ErrUnsupported},
		{ReadOptions{Columns: []string{"i8"}, Schema: rec.Schema()}, ErrUnsupported},
		{ReadOptions{Rows: []int64{3, 3}}, ErrUnsupported},
		{ReadOptions{Rows: []int64{fixtureRows}}, ErrUnsupported},
		{ReadOptions{BatchRows: -1}, ErrUnsupported},
		{ReadOptions{}, fail},
	} {
		require.ErrorIs(t, f.Read(context.Background(), c.opt, func(arrow.RecordBatch, int64) error { return fail }), c.want)
	}
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	err = f.Read(ctx, ReadOptions{BatchRows: 10}, func(arrow.RecordBatch, int64) error {
		calls++
		cancel()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, calls)
}

// editFooter decodes a file's footer, changes it and writes it again.
func editFooter(t *testing.T, b []byte, edit func(*format.FileMetaData)) []byte {
	m := wholeFooter(t, b)
	edit(m)
	footer, err := thrift.Marshal(&thrift.CompactProtocol{}, m)
	require.NoError(t, err)
	n := len(footer)
	out := append(bytes.Clone(b), footer...)
	return append(out, byte(n), byte(n>>8), byte(n>>16), byte(n>>24), 'P', 'A', 'R', '1')
}

// TestLegacyLists reads lists and maps in the forms of older writers, made by
// giving a file's pages another schema with the same levels.
func TestLegacyLists(t *testing.T) {
	req := arrow.ListOfField(arrow.Field{Name: "element", Type: arrow.PrimitiveTypes.Int32})
	rec := fromJSON(t, schemaOf(opt("l", req), opt("after", arrow.BinaryTypes.String)),
		`[{"l":[1,2],"after":"a"},{"l":null},{"l":[],"after":"b"},{"l":[3],"after":"c"}]`)
	b := writeFile(t, rec, WriterOptions{})
	repeated := thrift.New(format.Repeated)
	for name, edit := range map[string]func(s []format.SchemaElement) []format.SchemaElement{
		"repeated primitive": func(s []format.SchemaElement) []format.SchemaElement {
			s[3].RepetitionType, s[3].Name = repeated, "array"
			return append(s[:2], s[3:]...)
		},
		"bag of array_element": func(s []format.SchemaElement) []format.SchemaElement {
			s[2].Name, s[3].Name = "bag", "array_element"
			return s
		},
		"converted type only": func(s []format.SchemaElement) []format.SchemaElement {
			s[1].LogicalType.Value = nil
			return s
		},
	} {
		old := editFooter(t, b, func(m *format.FileMetaData) { m.Schema = edit(m.Schema) })
		requireRows(t, rec, allRows(4), readAll(t, old, ReadOptions{}))
		require.NotEmpty(t, name)
	}

	// A repeated group called array is the element, a struct of one field.
	old := editFooter(t, b, func(m *format.FileMetaData) { m.Schema[2].Name = "array" })
	st := schemaOf(opt("l", arrow.ListOf(arrow.StructOf(opt("element", arrow.PrimitiveTypes.Int32)))))
	want := fromJSON(t, st, `[{"l":[{"element":1},{"element":2}]},{"l":null},{"l":[]},{"l":[{"element":3}]}]`)
	requireRows(t, want, allRows(4), readAll(t, old, ReadOptions{Columns: []string{"l"}}))

	// A repeated field without a list around it is never null, only empty.
	whole := fromJSON(t, schemaOf(arrow.Field{Name: "l", Type: req}), `[{"l":[1,2]},{"l":[]},{"l":[3]}]`)
	old = editFooter(t, writeFile(t, whole, WriterOptions{}), func(m *format.FileMetaData) {
		m.Schema[3].RepetitionType, m.Schema[3].Name = repeated, "l"
		m.Schema = append(m.Schema[:1], m.Schema[3:]...)
	})
	requireRows(t, whole, allRows(3), readAll(t, old, ReadOptions{}))

	kv := fromJSON(t, schemaOf(opt("m", arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String))),
		`[{"m":[{"key":"a","value":"x"},{"key":"b","value":null}]},{"m":null},{"m":[]}]`)
	old = editFooter(t, writeFile(t, kv, WriterOptions{}), func(m *format.FileMetaData) {
		m.Schema[1].LogicalType.Value = nil
		m.Schema[1].ConvertedType.Set(deprecated.MapKeyValue)
		m.Schema[2].Name = "map"
	})
	requireRows(t, kv, allRows(3), readAll(t, old, ReadOptions{}))
}
