package colfile

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
)

func TestWriterRefuses(t *testing.T) {
	us := &arrow.TimestampType{Unit: arrow.Nanosecond}
	for name, schema := range map[string]*arrow.Schema{
		"no columns":    schemaOf(),
		"twice":         schemaOf(opt("a", arrow.PrimitiveTypes.Int8), opt("a", arrow.PrimitiveTypes.Int8)),
		"unsigned":      schemaOf(opt("a", arrow.PrimitiveTypes.Uint8)),
		"nanoseconds":   schemaOf(opt("a", us)),
		"empty struct":  schemaOf(opt("a", arrow.StructOf())),
		"inside a list": schemaOf(opt("a", arrow.ListOf(arrow.FixedWidthTypes.Time64us))),
	} {
		_, err := NewWriter(io.Discard, schema, WriterOptions{})
		require.ErrorIs(t, err, ErrUnsupported, name)
	}
	one := schemaOf(opt("a", arrow.PrimitiveTypes.Int8))
	for _, o := range []WriterOptions{{Codec: 9}, {ZstdLevel: 5}, {PageBytes: -1}, {StatsColumns: -3}} {
		_, err := NewWriter(io.Discard, one, o)
		require.ErrorIs(t, err, ErrUnsupported)
	}
	_, err := NewWriter(io.Discard, schemaOf(arrow.Field{
		Name: "a", Type: arrow.PrimitiveTypes.Int8,
		Metadata: arrow.NewMetadata([]string{FieldIDKey}, []string{"x"}),
	}), WriterOptions{})
	require.ErrorContains(t, err, "field id")
}

// TestWriterErrors proves that a wrong batch harms nothing, and that a value
// that cannot be stored makes the file unusable instead of wrong.
func TestWriterErrors(t *testing.T) {
	schema := schemaOf(arrow.Field{Name: "d", Type: &arrow.Decimal128Type{Precision: 4, Scale: 1}})
	good := fromJSON(t, schema, `[{"d":"1.5"}]`)
	w, err := NewWriter(io.Discard, schema, WriterOptions{})
	require.NoError(t, err)
	require.ErrorContains(t, w.Write(fixtureBatch()), "columns")
	require.ErrorContains(t, w.WriteRows(good, []int32{1}), "row 1")
	require.ErrorContains(t, w.WriteRows(good, []int32{-1}), "row -1")
	require.NoError(t, w.Write(good))

	b := array.NewDecimal128Builder(memory.DefaultAllocator, schema.Field(0).Type.(*arrow.Decimal128Type))
	b.Append(decimal128.FromI64(10000))
	bad := array.NewRecordBatch(schema, []arrow.Array{b.NewArray()}, 1)
	require.ErrorIs(t, w.Write(bad), ErrUnsupported)
	require.ErrorIs(t, w.Write(good), ErrClosed)
	_, err = w.Close()
	require.ErrorIs(t, err, ErrUnsupported)
	_, err = w.Close()
	require.ErrorIs(t, err, ErrClosed)

	b.AppendNull()
	w, err = NewWriter(io.Discard, schema, WriterOptions{})
	require.NoError(t, err)
	require.ErrorIs(t, w.Write(array.NewRecordBatch(schema, []arrow.Array{b.NewArray()}, 1)), errNull)
	_, err = w.Close()
	require.ErrorIs(t, err, errNull)
}

// failingWriter fails after so many bytes, or lies about what it wrote.
type failingWriter struct {
	left int
	err  error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return w.left, w.err
	}
	w.left -= len(p)
	return len(p), nil
}

func TestWriterPassesErrorsOn(t *testing.T) {
	rec := fixtureBatch()
	size := len(writeFile(t, rec, WriterOptions{RowGroupRows: 90}))
	full := errors.New("disk full")
	for left := 0; left < size; left += 101 {
		for _, werr := range []error{full, nil} {
			w, err := NewWriter(&failingWriter{left: left, err: werr}, rec.Schema(), WriterOptions{RowGroupRows: 90})
			require.NoError(t, err)
			_ = w.Write(rec)
			_, err = w.Close()
			if werr == nil {
				werr = io.ErrShortWrite
			}
			require.ErrorIs(t, err, werr)
		}
	}
}

// TestBounds looks at statistics that a random test may not meet.
func TestBounds(t *testing.T) {
	write := func(field arrow.Field, o WriterOptions, fill func(array.Builder)) []ColumnStats {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schemaOf(field))
		fill(b.Field(0))
		w, err := NewWriter(io.Discard, b.Schema(), o)
		require.NoError(t, err)
		require.NoError(t, w.Write(b.NewRecordBatch()))
		st, err := w.Close()
		require.NoError(t, err)
		return st.Columns
	}
	f64 := opt("f", arrow.PrimitiveTypes.Float64)
	for _, zero := range []float64{0, math.Copysign(0, -1)} {
		s := write(f64, WriterOptions{}, func(b array.Builder) { b.(*array.Float64Builder).Append(zero) })[0]
		require.True(t, math.Signbit(s.Min.(float64)), "min of a zero is -0.0")
		require.False(t, math.Signbit(s.Max.(float64)), "max of a zero is +0.0")
	}
	// NaN in one row group takes the bounds from all of the file.
	s := write(f64, WriterOptions{RowGroupRows: 1}, func(b array.Builder) {
		b.(*array.Float64Builder).AppendValues([]float64{1, math.NaN(), 2}, nil)
	})[0]
	require.Nil(t, s.Min)
	require.Nil(t, s.Max)
	long := strings.Repeat("z", 40)
	s = write(opt("s", arrow.BinaryTypes.String), WriterOptions{RowGroupRows: 1}, func(b array.Builder) {
		b.(*array.StringBuilder).AppendValues([]string{"m", "", long, "n"}, nil)
	})[0]
	require.Equal(t, "", s.Min)
	require.Equal(t, long[:32]+"\x7f", s.Max)
	s = write(opt("b", arrow.BinaryTypes.Binary), WriterOptions{}, func(b array.Builder) { b.(*array.BinaryBuilder).Append([]byte("x")) })[0]
	require.Nil(t, s.Min)

	nested := arrow.StructOf(opt("a", arrow.PrimitiveTypes.Int32), opt("l", arrow.ListOf(arrow.PrimitiveTypes.Int32)), opt("b", arrow.PrimitiveTypes.Int32))
	fill := func(b array.Builder) {
		b.AppendNull()
		sb := b.(*array.StructBuilder)
		sb.Append(true)
		sb.FieldBuilder(0).(*array.Int32Builder).Append(5)
		sb.FieldBuilder(1).AppendNull()
		sb.FieldBuilder(2).AppendNull()
	}
	cols := write(opt("st", nested), WriterOptions{StatsColumns: 2}, fill)
	require.Len(t, cols, 2, "a list is one of Delta's leaf columns")
	require.Equal(t, ColumnStats{Path: []string{"st", "a"}, Type: arrow.PrimitiveTypes.Int32, NullCount: 1, Min: int64(5), Max: int64(5)}, cols[0])
	require.Equal(t, []string{"st", "l"}, cols[1].Path)
	require.Equal(t, int64(2), cols[1].NullCount)
	require.Len(t, write(opt("st", nested), WriterOptions{}, fill), 3)
	require.Empty(t, write(opt("st", nested), WriterOptions{StatsColumns: -2}, fill))
}

// TestFieldIDs keeps ids and metadata through a file.
func TestFieldIDs(t *testing.T) {
	id := func(v string) arrow.Metadata { return arrow.NewMetadata([]string{FieldIDKey}, []string{v}) }
	elem := arrow.Field{Name: "element", Type: arrow.PrimitiveTypes.Int8, Nullable: true, Metadata: id("9")}
	schema := schemaOf(arrow.Field{Name: "l", Type: arrow.ListOfField(elem), Nullable: true, Metadata: id("3")})
	b := writeFile(t, fromJSON(t, schema, `[{"l":[1]}]`), WriterOptions{Metadata: map[string]string{"b": "2", "a": "1"}})
	f, err := OpenFile(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	require.True(t, schema.Equal(f.Schema()))
	v, ok := f.Metadata("b")
	require.True(t, ok)
	require.Equal(t, "2", v)
	_, ok = f.Metadata("c")
	require.False(t, ok)
	require.Equal(t, "lakeload version 1", wholeFooter(t, b).CreatedBy)
}

// TestRowGroupsAreBounded writes large and small rows and looks at what the
// writer holds and how the groups come out.
func TestRowGroupsAreBounded(t *testing.T) {
	const limit = 1 << 20
	b := array.NewRecordBuilder(memory.DefaultAllocator, schemaOf(opt("s", arrow.BinaryTypes.String), opt("i", arrow.PrimitiveTypes.Int64)))
	for i := range 300 {
		n := 10
		if i >= 200 {
			n = 200_000
		}
		b.Field(0).(*array.StringBuilder).Append(strings.Repeat(string(rune('a'+i%26)), n))
		b.Field(1).(*array.Int64Builder).Append(int64(i))
	}
	rec := b.NewRecordBatch()
	var buf bytes.Buffer
	w, err := NewWriter(&buf, rec.Schema(), WriterOptions{RowGroupBytes: limit, Codec: Uncompressed})
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, w.Write(rec))
		held := int64(0)
		for _, l := range w.leaves {
			held += l.held()
		}
		require.Less(t, held, int64(limit))
		require.Equal(t, int64(buf.Len())+held, w.Bytes())
	}
	_, err = w.Close()
	require.NoError(t, err)
	f, err := OpenFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	require.NoError(t, err)
	for i := range f.meta.RowGroups {
		require.Less(t, f.meta.RowGroups[i].TotalByteSize, int64(2*limit))
	}
	require.Greater(t, f.NumRowGroups(), 30)
}

// TestSmallFilesAreCheap holds the allocations of a file of 100 rows down.
func TestSmallFilesAreCheap(t *testing.T) {
	rec := orderBatch(100, 1)
	n := testing.AllocsPerRun(50, func() {
		w, err := NewWriter(io.Discard, rec.Schema(), WriterOptions{})
		require.NoError(t, err)
		require.NoError(t, w.Write(rec))
		_, err = w.Close()
		require.NoError(t, err)
	})
	require.Less(t, n, 400.0)
}

// TestNoAllocationPerRow writes rows to an open page.
func TestNoAllocationPerRow(t *testing.T) {
	rec := orderBatch(1000, 1)
	w, err := NewWriter(io.Discard, rec.Schema(), WriterOptions{})
	require.NoError(t, err)
	for range 100 {
		require.NoError(t, w.Write(rec))
	}
	n := testing.AllocsPerRun(100, func() { require.NoError(t, w.Write(rec)) })
	require.Less(t, n, 50.0)
	_, err = w.Close()
	require.NoError(t, err)
}
