package rows

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/tablefmt/variant"
)

var everyType = arrow.NewSchema([]arrow.Field{
	{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "ok", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "f", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "price", Type: &arrow.Decimal128Type{Precision: 38, Scale: 2}, Nullable: true},
	{Name: "name, \"quoted\"", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "raw", Type: arrow.BinaryTypes.Binary, Nullable: true},
	{Name: "day", Type: arrow.FixedWidthTypes.Date32, Nullable: true},
	{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, Nullable: true},
	{Name: "local", Type: &arrow.TimestampType{Unit: arrow.Microsecond}, Nullable: true},
	{Name: "tags", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
	{Name: "exact", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Nullable: true},
	{Name: "s", Type: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int32, Nullable: true}), Nullable: true},
}, nil)

// sample has one row of every type's plain value, one of hard ones, one of nulls.
func sample(t testing.TB) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, everyType)
	defer b.Release()
	at := time.Date(2026, 11, 23, 18, 4, 32, 123456000, time.UTC)
	price, err := decimal128.FromString("-1234567890123456789012345678901234.50", 38, 2)
	require.NoError(t, err)
	row := func(id int64, f float64, name string, raw []byte, when time.Time) {
		b.Field(0).(*array.Int64Builder).Append(id)
		b.Field(1).(*array.BooleanBuilder).Append(id > 0)
		b.Field(2).(*array.Float64Builder).Append(f)
		b.Field(3).(*array.Decimal128Builder).Append(price)
		b.Field(4).(*array.StringBuilder).Append(name)
		b.Field(5).(*array.BinaryBuilder).Append(raw)
		b.Field(6).(*array.Date32Builder).Append(arrow.Date32FromTime(when))
		b.Field(7).(*array.TimestampBuilder).Append(arrow.Timestamp(when.UnixMicro()))
		b.Field(8).(*array.TimestampBuilder).Append(arrow.Timestamp(when.UnixMicro()))
		l := b.Field(9).(*array.ListBuilder)
		l.Append(true)
		l.ValueBuilder().(*array.StringBuilder).Append("a\"b")
		l.ValueBuilder().AppendNull()
		m := b.Field(10).(*array.MapBuilder)
		m.Append(true)
		m.KeyBuilder().(*array.StringBuilder).Append("f")
		m.ItemBuilder().(*array.StringBuilder).Append("NaN")
		s := b.Field(11).(*array.StructBuilder)
		s.Append(true)
		s.FieldBuilder(0).(*array.Int32Builder).Append(7)
	}
	row(1, 0.1, "plain", []byte{0, 0xff}, at)
	row(math.MinInt64, math.NaN(), " <a>, \"b\"\nc\x1b[31m", nil, time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC))
	for i := range everyType.Fields() {
		b.Field(i).AppendNull()
	}
	return b.NewRecordBatch()
}

func written(t testing.TB, make func(*bytes.Buffer) Writer, recs ...arrow.RecordBatch) string {
	var buf bytes.Buffer
	w := make(&buf)
	for _, rec := range recs {
		require.NoError(t, w.Write(rec))
	}
	require.NoError(t, w.Close())
	return buf.String()
}

func TestJSONLines(t *testing.T) {
	out := written(t, func(b *bytes.Buffer) Writer { return JSONLines(b, everyType) }, sample(t))
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	require.Len(t, lines, 3)
	require.Equal(t, `{"id":1,"ok":true,"f":0.1,"price":-1234567890123456789012345678901234.50,"name, \"quoted\"":"plain","raw":"\\x00ff",`+
		`"day":"2026-11-23","at":"2026-11-23T18:04:32.123456+00:00","local":"2026-11-23T18:04:32.123456","tags":["a\"b",null],"exact":{"f":"NaN"},"s":{"x":7}}`, lines[0])
	require.Contains(t, lines[1], `"id":-9223372036854775808,"ok":false,"f":"NaN"`)
	require.Contains(t, lines[1], `"raw":"\\x","day":"0001-01-01","at":"0001-01-01T00:00:00+00:00"`)
	require.Equal(t, `{"id":null,"ok":null,"f":null,"price":null,"name, \"quoted\"":null,"raw":null,"day":null,"at":null,"local":null,"tags":null,"exact":null,"s":null}`, lines[2])
	for _, l := range lines {
		require.True(t, json.Valid([]byte(l)), l)
	}
}

func TestCSV(t *testing.T) {
	out := written(t, func(b *bytes.Buffer) Writer { return CSV(b, everyType) }, sample(t))
	records, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	require.NoError(t, err)
	require.Len(t, records, 4)
	require.Equal(t, `name, "quoted"`, records[0][4])
	require.Equal(t, []string{
		"1", "true", "0.1", "-1234567890123456789012345678901234.50", "plain", `\x00ff`, "2026-11-23",
		"2026-11-23T18:04:32.123456+00:00", "2026-11-23T18:04:32.123456", `["a\"b",null]`, `{"f":"NaN"}`, `{"x":7}`,
	}, records[1])
	require.Equal(t, " <a>, \"b\"\nc\x1b[31m", records[2][4])
	require.True(t, strings.HasSuffix(out, "\n,,,,,,,,,,,\n"), "null is nothing at all")
}

func TestCSVTellsEmptyFromNull(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.BinaryTypes.String}, {Name: "b", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).(*array.StringBuilder).Append("")
	b.Field(1).AppendNull()
	require.Equal(t, "a,b\n\"\",\n", written(t, func(w *bytes.Buffer) Writer { return CSV(w, schema) }, b.NewRecordBatch()))
}

// What CSV writes, a reader of RFC 4180 reads back.
func TestCSVQuoting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := rapid.SliceOfN(rapid.StringOf(rapid.SampledFrom([]rune("ab\", \n;'é"))), 2, 5).Draw(t, "fields")
		var line []byte
		for i, f := range fields {
			if i > 0 {
				line = append(line, ',')
			}
			line = appendQuoted(line, []byte(f))
		}
		got, err := csv.NewReader(bytes.NewReader(append(line, '\n'))).Read()
		require.NoError(t, err)
		require.Equal(t, fields, got)
	})
}

func TestTable(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).(*array.Int64Builder).AppendValues([]int64{1, 1000, 3}, []bool{true, true, false})
	b.Field(1).(*array.StringBuilder).AppendValues([]string{"é", "two\nlines\x1b[31m", strings.Repeat("x", 100)}, nil)
	out := written(t, func(w *bytes.Buffer) Writer { return Table(w, schema) }, b.NewRecordBatch())
	require.Equal(t, "  id  name\n"+
		"────  "+strings.Repeat("─", 61)+"\n"+
		"   1  é\n"+
		"1000  two⏎lines·[31m\n"+
		"NULL  "+strings.Repeat("x", 60)+"…\n", out)
	require.Equal(t, "id  name\n──  ────\n", written(t, func(w *bytes.Buffer) Writer { return Table(w, schema) }))
}

func TestTableGoesOnPastTheSample(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range sampleRows + 5 {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
	}
	out := written(t, func(w *bytes.Buffer) Writer { return Table(w, schema) }, b.NewRecordBatch())
	require.Equal(t, sampleRows+5+2, strings.Count(out, "\n"))
}

type broken struct{ error }

func (b broken) Write([]byte) (int, error) { return 0, b.error }

func TestAWriterTellsThatTheStreamBroke(t *testing.T) {
	gone := errors.New("gone")
	for name, w := range map[string]Writer{
		"jsonl": JSONLines(broken{gone}, everyType), "csv": CSV(broken{gone}, everyType), "table": Table(broken{gone}, everyType),
	} {
		_ = w.Write(sample(t))
		require.ErrorIs(t, w.Close(), gone, name)
	}
}

// TestNested writes what is nested in what is nested: arrays of composites of
// ranges, and maps, in every format.
func TestNested(t *testing.T) {
	text := arrow.BinaryTypes.String
	bounds := arrow.StructOf(arrow.Field{Name: "lower", Type: arrow.FixedWidthTypes.Date32, Nullable: true}, arrow.Field{Name: "empty", Type: arrow.FixedWidthTypes.Boolean, Nullable: true})
	pair := arrow.StructOf(arrow.Field{Name: "r", Type: bounds, Nullable: true}, arrow.Field{Name: "m", Type: arrow.MapOf(text, text), Nullable: true}, arrow.Field{Name: "f", Type: arrow.PrimitiveTypes.Float64, Nullable: true})
	schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: arrow.ListOf(pair), Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	want := []string{
		`[{"r":{"lower":"2024-02-29","empty":false},"m":{"a\"":null,"":"x"},"f":"NaN"},null,{"r":null,"m":null,"f":-0}]`,
		`[]`, `null`, `[{"r":{"lower":null,"empty":true},"m":{},"f":0.5}]`,
	}
	for _, line := range want {
		if line == `null` {
			b.Field(0).AppendNull()
			continue
		}
		in := strings.NewReplacer(`{"a\"":null,"":"x"}`, `[{"key":"a\"","value":null},{"key":"","value":"x"}]`, `"m":{}`, `"m":[]`).Replace(line)
		require.NoError(t, b.Field(0).UnmarshalJSON([]byte("["+in+"]")), in)
	}
	rec := b.NewRecordBatch()
	out := written(t, func(w *bytes.Buffer) Writer { return JSONLines(w, schema) }, rec)
	var lines []string
	for _, w := range want {
		lines = append(lines, `{"v":`+w+`}`)
	}
	require.Equal(t, strings.Join(lines, "\n")+"\n", out)
	out = written(t, func(w *bytes.Buffer) Writer { return CSV(w, schema) }, rec.NewSlice(1, 4))
	require.Equal(t, "v\n[]\n\n\"[{\"\"r\"\":{\"\"lower\"\":null,\"\"empty\"\":true},\"\"m\"\":{},\"\"f\"\":0.5}]\"\n", out)
	out = written(t, func(w *bytes.Buffer) Writer { return Table(w, schema) }, rec.NewSlice(1, 3))
	require.Equal(t, "v\n────\n[]\nNULL\n", out)
}

// TestVariantsAndNulls: a variant is JSON everywhere, and a column of nothing is
// null in every row.
func TestVariantsAndNulls(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "v", Type: variant.NewType(), Nullable: true},
		{Name: "l", Type: arrow.ListOf(variant.NewType()), Nullable: true},
		{Name: "n", Type: arrow.Null, Nullable: true},
		{Name: "s", Type: arrow.StructOf(arrow.Field{Name: "z", Type: arrow.Null, Nullable: true})},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	add := func(e array.Builder, value []byte) {
		s := e.(*array.ExtensionBuilder).StorageBuilder().(*array.StructBuilder)
		s.Append(true)
		s.FieldBuilder(0).(*array.BinaryBuilder).Append([]byte{1, 1, 0, 1, 'k'})
		s.FieldBuilder(1).(*array.BinaryBuilder).Append(value)
	}
	for _, v := range [][]byte{{2, 1, 0, 0, 2, 12, 5}, {9, 'h', 'i'}, {0}} { // {"k":5}, "hi", null
		add(b.Field(0), v)
		b.Field(1).(*array.ListBuilder).Append(true)
		add(b.Field(1).(*array.ListBuilder).ValueBuilder(), v)
		b.Field(2).AppendNull()
		b.Field(3).(*array.StructBuilder).Append(true)
		b.Field(3).(*array.StructBuilder).FieldBuilder(0).AppendNull()
	}
	b.Field(0).AppendNull()
	b.Field(1).AppendNull()
	b.Field(2).AppendNull()
	b.Field(3).AppendNull()
	rec := b.NewRecordBatch()
	require.Equal(t, `{"v":{"k":5},"l":[{"k":5}],"n":null,"s":{"z":null}}
{"v":"hi","l":["hi"],"n":null,"s":{"z":null}}
{"v":null,"l":[null],"n":null,"s":{"z":null}}
{"v":null,"l":null,"n":null,"s":null}
`, written(t, func(w *bytes.Buffer) Writer { return JSONLines(w, schema) }, rec))
	require.Equal(t, `v,l,n,s
"{""k"":5}","[{""k"":5}]",,"{""z"":null}"
"""hi""","[""hi""]",,"{""z"":null}"
null,[null],,"{""z"":null}"
,,,
`, written(t, func(w *bytes.Buffer) Writer { return CSV(w, schema) }, rec))
	require.Contains(t, written(t, func(w *bytes.Buffer) Writer { return Table(w, schema) }, rec), `{"k":5}  [{"k":5}]  NULL`)
}
