package colfile

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
)

// within reports whether a value lies between the bounds that there are; known
// tells whether there is one.
func within(a arrow.Array, i int, s *GroupStats) (ok, known bool) {
	if s.Min == nil && s.Max == nil {
		return true, false
	}
	less := func(x, y any) bool {
		switch x := x.(type) {
		case int64:
			return x < y.(int64)
		case float32:
			return x < y.(float32)
		case float64:
			return x < y.(float64)
		case string:
			return x < y.(string)
		case arrow.Date32:
			return x < y.(arrow.Date32)
		case arrow.Timestamp:
			return x < y.(arrow.Timestamp)
		case decimal128.Num:
			return decimalLess(x, y.(decimal128.Num))
		}
		panic(x)
	}
	var v any
	switch a := a.(type) {
	case *array.Int8:
		v = int64(a.Value(i))
	case *array.Int16:
		v = int64(a.Value(i))
	case *array.Int32:
		v = int64(a.Value(i))
	case *array.Int64:
		v = a.Value(i)
	case *array.Float32:
		v = a.Value(i)
	case *array.Float64:
		v = a.Value(i)
	case *array.String:
		v = a.Value(i)
	case *array.Date32:
		v = a.Value(i)
	case *array.Timestamp:
		v = a.Value(i)
	case *array.Decimal128:
		v = a.Value(i)
	default:
		panic(a.DataType())
	}
	return (s.Min == nil || !less(v, s.Min)) && (s.Max == nil || !less(s.Max, v)), true
}

// TestGroupStatsAreTrue holds the bounds of row groups, of files of several
// writers, against the rows, which are read group by group.
func TestGroupStatsAreTrue(t *testing.T) {
	bodies := map[string][]byte{"ours": writeFile(t, fixtureBatch(), WriterOptions{RowGroupRows: 1})}
	for _, name := range fixtureFiles(t) {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		bodies[filepath.Base(name)] = b
	}
	seen, nulls := map[arrow.Type]int{}, 0
	for name, b := range bodies {
		f, err := OpenFile(bytes.NewReader(b), int64(len(b)))
		require.NoError(t, err)
		whole := readAllRows(t, f, ReadOptions{})
		read := int64(0)
		for g := range f.NumRowGroups() {
			part := readAllRows(t, f, ReadOptions{RowGroups: []int{g}})
			require.Equal(t, f.RowGroupRows(g), part.NumRows(), name)
			same := whole.NewSlice(read, read+part.NumRows())
			require.True(t, array.RecordEqual(same, part), "%s, group %d", name, g)
			read += part.NumRows()
			for c, field := range part.Schema().Fields() {
				s, ok := f.GroupStats(g, f.Schema(), false, []string{field.Name})
				if !ok {
					continue
				}
				require.Equal(t, part.NumRows(), s.Rows)
				if s.Nulls >= 0 {
					nulls++
					require.Equal(t, int64(part.Column(c).NullN()), s.Nulls, "%s: %s", name, field.Name)
				}
				for i := range int(part.NumRows()) {
					if part.Column(c).IsNull(i) {
						continue
					}
					ok, known := within(part.Column(c), i, &s)
					require.True(t, ok, "%s: %s: %v of %v to %v", name, field.Name, part.Column(c).ValueStr(i), s.Min, s.Max)
					if known {
						seen[field.Type.ID()]++
					}
				}
			}
		}
		require.Equal(t, whole.NumRows(), read)
	}
	for _, id := range []arrow.Type{arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.FLOAT32, arrow.FLOAT64, arrow.STRING, arrow.DATE32, arrow.TIMESTAMP, arrow.DECIMAL128} {
		require.Positive(t, seen[id], id)
	}
	require.Positive(t, nulls)
}

func readAllRows(t *testing.T, f *File, o ReadOptions) arrow.RecordBatch {
	t.Helper()
	var parts []arrow.RecordBatch
	require.NoError(t, f.Read(context.Background(), o, func(rec arrow.RecordBatch, _ int64) error {
		rec.Retain()
		parts = append(parts, rec)
		return nil
	}))
	if len(parts) == 1 {
		return parts[0]
	}
	schema, cols, rows := f.Schema(), []arrow.Array(nil), int64(0)
	for _, p := range parts {
		rows += p.NumRows()
	}
	for i := range schema.NumFields() {
		var all []arrow.Array
		for _, p := range parts {
			all = append(all, p.Column(i))
		}
		if len(all) == 0 {
			b := array.NewBuilder(memory.DefaultAllocator, schema.Field(i).Type)
			all = append(all, b.NewArray())
		}
		c, err := array.Concatenate(all, memory.DefaultAllocator)
		require.NoError(t, err)
		cols = append(cols, c)
	}
	return array.NewRecordBatch(schema, cols, rows)
}

func TestRowGroupsAskedForWrongly(t *testing.T) {
	b := writeFile(t, fixtureBatch(), WriterOptions{})
	f, err := OpenFile(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	for _, o := range []ReadOptions{{RowGroups: []int{1}}, {RowGroups: []int{-1}}, {RowGroups: []int{0, 0}}, {RowGroups: []int{0}, Rows: []int64{0}}} {
		require.ErrorIs(t, f.Read(context.Background(), o, func(arrow.RecordBatch, int64) error { return nil }), ErrUnsupported)
	}
	require.Zero(t, readAllRows(t, f, ReadOptions{RowGroups: []int{}}).NumRows())
	s, ok := f.GroupStats(0, arrow.NewSchema([]arrow.Field{{Name: "nowhere", Type: arrow.PrimitiveTypes.Int64}}, nil), false, []string{"nowhere"})
	require.True(t, ok)
	require.Equal(t, s.Rows, s.Nulls, "a column that the file does not have")
	require.Nil(t, s.Type)
}
