package colfile

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
)

// as is a nullable field that has an id and another name in the file.
func as(name, inFile, id string, t arrow.DataType) arrow.Field {
	return arrow.Field{
		Name: name, Type: t, Nullable: true,
		Metadata: arrow.NewMetadata([]string{FileNameKey, FieldIDKey}, []string{inFile, id}),
	}
}

// mapped is a schema whose columns have the names that suffix gives them, and
// other names in the file.
func mapped(suffix string) *arrow.Schema {
	inner := arrow.StructOf(as("x"+suffix, "c4", "4", arrow.PrimitiveTypes.Int64), as("y"+suffix, "c5", "5", arrow.BinaryTypes.String))
	return arrow.NewSchema([]arrow.Field{
		as("a"+suffix, "c1", "1", arrow.PrimitiveTypes.Int64),
		as("s"+suffix, "c2", "2", inner),
		as("l"+suffix, "c3", "3", arrow.ListOf(inner)),
		as("m"+suffix, "c6", "6", arrow.MapOf(arrow.BinaryTypes.String, inner)),
	}, nil)
}

func writeMapped(t *testing.T, s *arrow.Schema) (*File, *Stats) {
	t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema(s.Fields(), nil),
		bytes.NewReader(fmt.Appendf(nil, `[
			{%[1]q:1,%[2]q:{%[5]q:10,%[6]q:"p"},%[3]q:[{%[5]q:11,%[6]q:"q"},null],%[4]q:[{"key":"k","value":{%[5]q:12,%[6]q:"r"}}]},
			{%[1]q:2,%[2]q:null,%[3]q:null,%[4]q:null}]`,
			s.Field(0).Name, s.Field(1).Name, s.Field(2).Name, s.Field(3).Name,
			s.Field(1).Type.(*arrow.StructType).Field(0).Name, s.Field(1).Type.(*arrow.StructType).Field(1).Name)))
	require.NoError(t, err)
	defer rec.Release()
	var buf bytes.Buffer
	w, err := NewWriter(&buf, s, WriterOptions{})
	require.NoError(t, err)
	require.NoError(t, w.Write(rec))
	st, err := w.Close()
	require.NoError(t, err)
	f, err := OpenFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	require.NoError(t, err)
	return f, st
}

func readText(t *testing.T, f *File, o ReadOptions) (out []string) {
	t.Helper()
	require.NoError(t, f.Read(context.Background(), o, func(rec arrow.RecordBatch, _ int64) error {
		for i := range int(rec.NumRows()) {
			row := ""
			for c, col := range rec.Columns() {
				row += fmt.Sprintf("%s=%s ", rec.ColumnName(c), col.ValueStr(i))
			}
			out = append(out, row)
		}
		return nil
	}))
	return out
}

// TestNamesInFile writes columns under other names and finds them by those, and
// by ids, whatever they are called where they are read.
func TestNamesInFile(t *testing.T) {
	f, st := writeMapped(t, mapped(" old"))
	require.Equal(t, "c1", f.Schema().Field(0).Name)
	var paths []string
	for _, c := range st.Columns {
		paths = append(paths, fmt.Sprint(c.Path))
	}
	require.Equal(t, []string{"[c1]", "[c2 c4]", "[c2 c5]", "[c3]", "[c6]"}, paths)
	want := []string{
		`a new=1 s new={"x new":10,"y new":"p"} l new=[{"x new":11,"y new":"q"},null] m new=[{"key":"k","value":{"x new":12,"y new":"r"}}] `,
		`a new=2 s new=(null) l new=(null) m new=(null) `,
	}
	require.Equal(t, want, readText(t, f, ReadOptions{Schema: mapped(" new")}))
	require.Equal(t, want, readText(t, f, ReadOptions{Schema: mapped(" new"), ByFieldID: true}))

	// Names in the file count for nothing where ids do, and the other way round.
	swapped := arrow.NewSchema([]arrow.Field{
		as("by name", "c1", "99", arrow.PrimitiveTypes.Int64), as("by id", "zz", "1", arrow.PrimitiveTypes.Int64),
		{Name: "c1", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}, nil)
	require.Equal(t, "by name=1 by id=(null) c1=1 ", readText(t, f, ReadOptions{Schema: swapped})[0])
	require.Equal(t, "by name=(null) by id=1 c1=(null) ", readText(t, f, ReadOptions{Schema: swapped, ByFieldID: true})[0])
}

func TestFieldIDsThatAreWrong(t *testing.T) {
	read := func(f *File, s *arrow.Schema) error {
		return f.Read(context.Background(), ReadOptions{Schema: s, ByFieldID: true}, func(arrow.RecordBatch, int64) error { return nil })
	}
	plain := arrow.NewSchema([]arrow.Field{{Name: "c1", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	var buf bytes.Buffer
	w, err := NewWriter(&buf, plain, WriterOptions{})
	require.NoError(t, err)
	_, err = w.Close()
	require.NoError(t, err)
	f, err := OpenFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	require.NoError(t, err)
	require.ErrorIs(t, read(f, mapped("")), ErrNoFieldIDs)

	twins := arrow.NewSchema([]arrow.Field{as("a", "a", "1", arrow.PrimitiveTypes.Int64), as("b", "b", "1", arrow.PrimitiveTypes.Int64)}, nil)
	buf.Reset()
	w, err = NewWriter(&buf, twins, WriterOptions{})
	require.NoError(t, err)
	_, err = w.Close()
	require.NoError(t, err)
	f, err = OpenFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	require.NoError(t, err)
	err = read(f, twins)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, `fields "a" and "b" both have the id 1`)

	twice := arrow.NewSchema([]arrow.Field{as("a", "c", "1", arrow.PrimitiveTypes.Int64), as("b", "c", "2", arrow.PrimitiveTypes.Int64)}, nil)
	_, err = NewWriter(&buf, twice, WriterOptions{})
	require.ErrorContains(t, err, `two columns are called "c"`)
	require.ErrorIs(t, read(f, arrow.NewSchema([]arrow.Field{as("a", "c", "x", arrow.PrimitiveTypes.Int64)}, nil)), ErrUnsupported)
	require.ErrorIs(t, f.Read(context.Background(), ReadOptions{ByFieldID: true}, nil), ErrUnsupported)
}
