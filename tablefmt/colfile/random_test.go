package colfile

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawType draws a type that a Writer takes.
func drawType(t *rapid.T, depth int) arrow.DataType {
	kinds := 13
	if depth < 3 {
		kinds = 16
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "type") {
	case 0:
		return arrow.FixedWidthTypes.Boolean
	case 1:
		return arrow.PrimitiveTypes.Int8
	case 2:
		return arrow.PrimitiveTypes.Int16
	case 3:
		return arrow.PrimitiveTypes.Int32
	case 4:
		return arrow.PrimitiveTypes.Int64
	case 5:
		return arrow.PrimitiveTypes.Float32
	case 6:
		return arrow.PrimitiveTypes.Float64
	case 7:
		p := rapid.Int32Range(1, 38).Draw(t, "precision")
		return &arrow.Decimal128Type{Precision: p, Scale: rapid.Int32Range(0, p).Draw(t, "scale")}
	case 8:
		return arrow.BinaryTypes.String
	case 9:
		return arrow.BinaryTypes.Binary
	case 10:
		return arrow.FixedWidthTypes.Date32
	case 11:
		return utcMicros
	case 12:
		return localMicros
	case 13:
		return arrow.ListOfField(drawField(t, "element", depth+1))
	case 14:
		item := drawField(t, "value", depth+1)
		return arrow.MapOfFields(arrow.Field{Name: "key", Type: arrow.BinaryTypes.String}, item)
	default:
		fields := make([]arrow.Field, rapid.IntRange(1, 3).Draw(t, "fields"))
		for i := range fields {
			fields[i] = drawField(t, fmt.Sprintf("f%d", i), depth+1)
		}
		return arrow.StructOf(fields...)
	}
}

func drawField(t *rapid.T, name string, depth int) arrow.Field {
	return arrow.Field{Name: name, Type: drawType(t, depth), Nullable: rapid.IntRange(0, 3).Draw(t, "nullable") > 0}
}

func drawSchema(t *rapid.T) *arrow.Schema {
	fields := make([]arrow.Field, rapid.IntRange(1, 5).Draw(t, "columns"))
	for i := range fields {
		fields[i] = drawField(t, fmt.Sprintf("c%d", i), 0)
	}
	return arrow.NewSchema(fields, nil)
}

// filler fills builders with values of a character: how many distinct ones,
// how often null.
type filler struct {
	r        *rand.Rand
	distinct int64
	nulls    int // in a hundred
}

var extremes = []int64{0, 1, -1, math.MaxInt64, math.MinInt64, math.MaxInt32, math.MinInt32, math.MaxInt16, math.MinInt16, 127, -128}

func (f *filler) int() int64 {
	if f.r.IntN(10) == 0 {
		return extremes[f.r.IntN(len(extremes))]
	}
	return f.r.Int64N(f.distinct) * 7919
}

func (f *filler) float() float64 {
	switch f.r.IntN(12) {
	case 0:
		return math.NaN()
	case 1:
		return math.Copysign(0, -1)
	case 2:
		return 0
	case 3:
		return math.Inf(1 - 2*f.r.IntN(2))
	}
	return float64(f.int())
}

func (f *filler) bytes() []byte {
	switch f.r.IntN(20) {
	case 0:
		return nil
	case 1:
		return bytes.Repeat([]byte{byte(f.r.IntN(256))}, f.r.IntN(3000))
	}
	return fmt.Appendf(nil, "värde %d", f.r.Int64N(f.distinct))
}

func (f *filler) decimal(t *arrow.Decimal128Type) decimal128.Num {
	limit := pow10(t.Precision).Sub(decimal128.FromI64(1))
	switch f.r.IntN(6) {
	case 0:
		return limit
	case 1:
		return limit.Negate()
	}
	n := decimal128.New(int64(f.r.Uint64()>>1), uint64(f.int()))
	_, n = n.Div(limit)
	if f.r.IntN(2) == 0 {
		n = n.Negate()
	}
	return n
}

func (f *filler) append(b array.Builder, field arrow.Field) {
	if field.Nullable && f.r.IntN(100) < f.nulls {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(f.r.IntN(2) == 0)
	case *array.Int8Builder:
		b.Append(int8(f.int()))
	case *array.Int16Builder:
		b.Append(int16(f.int()))
	case *array.Int32Builder:
		b.Append(int32(f.int()))
	case *array.Int64Builder:
		b.Append(f.int())
	case *array.Date32Builder:
		b.Append(arrow.Date32(f.int()))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(f.int()))
	case *array.Float32Builder:
		b.Append(float32(f.float()))
	case *array.Float64Builder:
		b.Append(f.float())
	case *array.Decimal128Builder:
		b.Append(f.decimal(field.Type.(*arrow.Decimal128Type)))
	case *array.StringBuilder:
		b.Append(string(f.bytes()))
	case *array.BinaryBuilder:
		b.Append(f.bytes())
	case *array.ListBuilder:
		b.Append(true)
		for range f.r.IntN(4) {
			f.append(b.ValueBuilder(), field.Type.(*arrow.ListType).ElemField())
		}
	case *array.MapBuilder:
		b.Append(true)
		t := field.Type.(*arrow.MapType)
		for i := range f.r.IntN(4) {
			b.KeyBuilder().(*array.StringBuilder).Append(fmt.Sprint("k", i))
			f.append(b.ItemBuilder(), t.ItemField())
		}
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			f.append(b.FieldBuilder(i), field.Type.(*arrow.StructType).Field(i))
		}
	default:
		panic(fmt.Sprintf("builder %T", b))
	}
}

func (f *filler) batch(schema *arrow.Schema, rows int) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i, field := range schema.Fields() {
		for range rows {
			f.append(b.Field(i), field)
		}
	}
	return b.NewRecordBatch()
}

func drawFiller(t *rapid.T) *filler {
	return &filler{
		r:        rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)),
		distinct: rapid.SampledFrom([]int64{1, 5, 1000, 1 << 40}).Draw(t, "distinct"),
		nulls:    rapid.SampledFrom([]int{0, 1, 50, 100}).Draw(t, "nulls"),
	}
}

// sameValue compares two values by their bits, without arrow's own equality,
// which takes NaN for different or ignores the sign of zero.
func sameValue(a arrow.Array, i int, b arrow.Array, j int) bool {
	if a.IsNull(i) || b.IsNull(j) {
		return a.IsNull(i) && b.IsNull(j)
	}
	switch a := a.(type) {
	case *array.Float32:
		return math.Float32bits(a.Value(i)) == math.Float32bits(b.(*array.Float32).Value(j))
	case *array.Float64:
		return math.Float64bits(a.Value(i)) == math.Float64bits(b.(*array.Float64).Value(j))
	case *array.List:
		return sameList(a, i, b.(*array.List), j)
	case *array.Map:
		b := b.(*array.Map)
		return sameList(a.List, i, b.List, j)
	case *array.Struct:
		b := b.(*array.Struct)
		for k := range a.NumField() {
			if !sameValue(a.Field(k), i, b.Field(k), j) {
				return false
			}
		}
		return true
	}
	return a.ValueStr(i) == b.ValueStr(j)
}

func sameList(a *array.List, i int, b *array.List, j int) bool {
	as, ae := a.ValueOffsets(i)
	bs, be := b.ValueOffsets(j)
	if ae-as != be-bs {
		return false
	}
	for k := range int(ae - as) {
		if !sameValue(a.ListValues(), int(as)+k, b.ListValues(), int(bs)+k) {
			return false
		}
	}
	return true
}

type tester interface {
	require.TestingT
	Helper()
}

// requireRows checks that got has the rows of want that rows names.
func requireRows(t tester, want arrow.RecordBatch, rows []int32, got []arrow.RecordBatch) {
	t.Helper()
	n := 0
	for _, g := range got {
		for c := range int(g.NumCols()) {
			for r := range int(g.NumRows()) {
				if !sameValue(want.Column(c), int(rows[n+r]), g.Column(c), r) {
					require.Failf(t, "wrong value", "column %d (%s), row %d: want %s, got %s",
						c, g.Schema().Field(c), n+r, want.Column(c).ValueStr(int(rows[n+r])), g.Column(c).ValueStr(r))
				}
			}
		}
		n += int(g.NumRows())
	}
	require.Equal(t, len(rows), n)
}

// readAll reads a file into batches.
func readAll(t tester, b []byte, opt ReadOptions) []arrow.RecordBatch {
	t.Helper()
	f, err := OpenFile(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	var out []arrow.RecordBatch
	next := int64(0)
	require.NoError(t, f.Read(context.Background(), opt, func(rec arrow.RecordBatch, first int64) error {
		require.Equal(t, next, first)
		next += rec.NumRows()
		rec.Retain()
		out = append(out, rec)
		return nil
	}))
	return out
}

func drawOptions(t *rapid.T) WriterOptions {
	return WriterOptions{
		Codec:         rapid.SampledFrom([]Codec{Zstd, Snappy, Gzip, Uncompressed}).Draw(t, "codec"),
		RowGroupRows:  rapid.SampledFrom([]int{0, 1, 100, 1500}).Draw(t, "group rows"),
		RowGroupBytes: rapid.SampledFrom([]int64{0, 1, 50_000}).Draw(t, "group bytes"),
		PageBytes:     rapid.SampledFrom([]int{0, 1}).Draw(t, "page bytes"),
		NoDictionary:  rapid.Bool().Draw(t, "no dictionary"),
		StatsColumns:  rapid.SampledFrom([]int{0, -1, -2, 1}).Draw(t, "stats"),
	}
}

// TestRoundTrip writes random batches, whole, sliced and permuted, and reads
// them back bit by bit, in full and by rows.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		schema, fill, opt := drawSchema(t), drawFiller(t), drawOptions(t)
		n := rapid.SampledFrom([]int{0, 1, 7, 8, 300, 3000}).Draw(t, "rows")
		rec := fill.batch(schema, n)
		if n > 0 { // a slice, whose arrays have offsets
			lo := int64(rapid.IntRange(0, n-1).Draw(t, "lo"))
			rec = rec.NewSlice(lo, int64(n))
			n -= int(lo)
		}
		var want []int32
		var buf bytes.Buffer
		w, err := NewWriter(&buf, schema, opt)
		require.NoError(t, err)
		for range rapid.IntRange(0, 2).Draw(t, "writes") {
			if rapid.Bool().Draw(t, "permuted") && n > 0 {
				rows := make([]int32, fill.r.IntN(2*n))
				for i := range rows {
					rows[i] = int32(fill.r.IntN(n))
				}
				require.NoError(t, w.WriteRows(rec, rows))
				want = append(want, rows...)
			} else {
				require.NoError(t, w.Write(rec))
				for i := range n {
					want = append(want, int32(i))
				}
			}
		}
		require.Equal(t, int64(len(want)), w.Rows())
		st, err := w.Close()
		require.NoError(t, err)
		require.Equal(t, int64(len(want)), st.Rows)
		require.Equal(t, int64(buf.Len()), st.Bytes)

		read := ReadOptions{
			BatchRows:  rapid.SampledFrom([]int{0, 1, 64}).Draw(t, "batch rows"),
			BatchBytes: rapid.SampledFrom([]int{0, 1, 5000}).Draw(t, "batch bytes"),
			ReadAhead:  rapid.SampledFrom([]int{0, 1}).Draw(t, "read ahead"),
		}
		requireRows(t, rec, want, readAll(t, buf.Bytes(), read))
		checkStats(t, rec, want, st)

		read.Rows = []int64{}
		var some []int32
		for i := range want {
			if fill.r.IntN(100) < 10 {
				read.Rows = append(read.Rows, int64(i))
				some = append(some, want[i])
			}
		}
		requireRows(t, rec, some, readAll(t, buf.Bytes(), read))
	})
}
