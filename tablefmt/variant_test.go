package tablefmt

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
	"github.com/lakeload/lakeload/tablefmt/variant"
)

// variantTables are the tables of testdata/variant, which make.py there made
// with Spark.
var variantTables = []string{"variant", "shredded", "shredded_object", "inferred", "preview", "void", "void_mapped"}

// variantTable is a copy of such a table that may be written to.
func variantTable(t *testing.T, name string) Location {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "variant", name, "delta"))))
	store, err := objstore.NewLocal(dir)
	require.NoError(t, err)
	return Location{Data: store}
}

// linesOf reads a file that may not be there.
func linesOf(t *testing.T, path ...string) (lines []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	require.NoError(t, s.Err())
	return lines
}

// sparkJSON are a table's rows as Spark's to_json has them, in the order of the
// column id.
func sparkJSON(t *testing.T, s *Snapshot) []string {
	t.Helper()
	rows := map[int64]string{}
	var ids []int64
	require.NoError(t, s.Scan(context.Background(), ScanOptions{}, func(rec arrow.RecordBatch) error {
		id := rec.Column(rec.Schema().FieldIndices("id")[0]).(*array.Int64)
		whole := array.RecordToStructArray(rec)
		defer whole.Release()
		for i := range int(rec.NumRows()) {
			ids = append(ids, id.Value(i))
			require.NotContains(t, rows, id.Value(i))
			rows[id.Value(i)] = string(appendSparkJSON(t, nil, whole, i))
		}
		return nil
	}))
	slices.Sort(ids)
	out := []string{}
	for _, id := range ids {
		out = append(out, rows[id])
	}
	return out
}

func appendSparkJSON(t *testing.T, b []byte, a arrow.Array, i int) []byte {
	if a.IsNull(i) || a.DataType().ID() == arrow.NULL {
		return append(b, "null"...)
	}
	switch a := a.(type) {
	case *array.Struct:
		for c, f := range a.DataType().(*arrow.StructType).Fields() {
			b = append(append(b, "{,"[min(c, 1)]), strconv.Quote(f.Name)+":"...)
			b = appendSparkJSON(t, b, a.Field(c), i)
		}
		return append(b, '}')
	case *array.Map:
		b = append(b, '{')
		from, to := a.ValueOffsets(i)
		for j := from; j < to; j++ {
			if j > from {
				b = append(b, ',')
			}
			b = append(b, strconv.Quote(a.Keys().ValueStr(int(j)))+":"...)
			b = appendSparkJSON(t, b, a.Items(), int(j))
		}
		return append(b, '}')
	case *array.List:
		b = append(b, '[')
		from, to := a.ValueOffsets(i)
		for j := from; j < to; j++ {
			if j > from {
				b = append(b, ',')
			}
			b = appendSparkJSON(t, b, a.ListValues(), int(j))
		}
		return append(b, ']')
	case *variant.Array:
		metadata, value := a.Parts(i)
		b, err := variant.AppendJSON(b, metadata, value)
		require.NoError(t, err)
		return b
	case *array.String:
		return append(b, strconv.Quote(a.Value(i))...)
	}
	return append(b, a.ValueStr(i)...)
}

// TestVariantsOfSpark reads the tables that Spark made and compares every row
// with Spark's reading.
func TestVariantsOfSpark(t *testing.T) {
	for _, name := range variantTables {
		t.Run(name, func(t *testing.T) {
			loc := variantTable(t, name)
			want := linesOf(t, "testdata", "variant", name, "expected.jsonl")
			require.NotEmpty(t, want)
			if name == "shredded_object" {
				want = byteOrder(want)
			}
			require.Equal(t, want, sparkJSON(t, must(Load(context.Background(), loc))))
			_, faults := faultsOf(t, loc, CheckOptions{Rows: true})
			require.Empty(t, faults)
		})
	}
}

// byteOrder puts the names of the one object that Spark has in the order of
// UTF-16 into that of the format, in which we put objects together.
func byteOrder(lines []string) []string {
	out := slices.Clone(lines)
	for i, line := range out {
		out[i] = strings.ReplaceAll(line, "\"😀\":2,\"\ufffd\":1", "\"\ufffd\":1,\"😀\":2")
	}
	return out
}

// TestPartsOfVariants: where Spark did not shred, the bytes are the very ones;
// where it did, and has made others of them, they mean the same to the byte of
// every value: nothing but the numbers of names differs.
func TestPartsOfVariants(t *testing.T) {
	for _, name := range variantTables {
		lines := linesOf(t, "testdata", "variant", name, "parts.jsonl")
		if lines == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			exact := name == "variant" || name == "preview"
			want := map[int64][2][]byte{}
			for _, line := range lines {
				var row [3]any
				require.NoError(t, json.Unmarshal([]byte(line), &row))
				if row[1] != nil {
					want[int64(row[0].(float64))] = [2][]byte{must(hex.DecodeString(row[1].(string))), must(hex.DecodeString(row[2].(string)))}
				}
			}
			s := must(Load(context.Background(), variantTable(t, name)))
			compared := 0
			require.NoError(t, s.Scan(context.Background(), ScanOptions{Columns: []string{"id", "v"}}, func(rec arrow.RecordBatch) error {
				v := rec.Column(1).(*variant.Array)
				for i := range v.Len() {
					id := rec.Column(0).(*array.Int64).Value(i)
					w, ok := want[id]
					require.Equal(t, ok, v.IsValid(i))
					if !ok {
						continue
					}
					compared++
					metadata, value := v.Parts(i)
					if exact {
						require.Equal(t, w, [2][]byte{bytes.Clone(metadata), bytes.Clone(value)}, "id %d", id)
						continue
					}
					require.Equal(t, taggedVariant(t, w[0], w[1]), taggedVariant(t, metadata, value), "id %d", id)
				}
				return nil
			}))
			require.Equal(t, len(want), compared)
		})
	}
}

// taggedVariant is a variant as text that tells the exact bytes of its scalars
// and the names of its fields.
func taggedVariant(t *testing.T, metadata, value []byte) string {
	d, err := variant.ParseMetadata(metadata)
	require.NoError(t, err)
	if value[0]&3 == 2 {
		var parts []string
		require.NoError(t, d.Fields(value, func(_ int, name, v []byte) error {
			parts = append(parts, fmt.Sprintf("%q:%s", name, taggedVariant(t, metadata, v)))
			return nil
		}))
		slices.Sort(parts)
		return fmt.Sprint("{", parts, "}")
	}
	if value[0]&3 == 3 {
		text, err := variant.AppendJSON(nil, metadata, value)
		require.NoError(t, err)
		return string(text) // the bytes of elements may hold numbers of names
	}
	return fmt.Sprintf("%x", value)
}

// TestWritingVariants rewrites tables of Spark's in every way that there is, and
// restores them.
func TestWritingVariants(t *testing.T) {
	ctx := context.Background()
	for _, name := range variantTables {
		t.Run(name, func(t *testing.T) {
			loc := variantTable(t, name)
			s := must(Load(ctx, loc))
			want, first := sparkJSON(t, s), s.Version()
			// All rows into one file.
			x := Begin(loc, s)
			w, err := s.NewFileWriter(ctx, FileOptions{Rearranges: true})
			require.NoError(t, err)
			defer w.Abort()
			for a := range s.Files() {
				require.NoError(t, s.ReadFile(ctx, a, ReadOptions{}, func(rec arrow.RecordBatch, _ int64) error {
					_, err := w.Write(rec)
					return err
				}))
				x.Remove(*a.Remove(time.Now().UnixMilli(), false))
			}
			add, err := w.Close()
			require.NoError(t, err)
			x.Add(*add)
			s, err = x.Commit(ctx)
			require.NoError(t, err)
			require.Equal(t, want, sparkJSON(t, s))
			st, err := add.ParseStats()
			require.NoError(t, err)
			require.NotContains(t, st.MinValues, "v")
			if s.Schema().Index("v") >= 0 && s.Mapping() == MappingNone {
				require.Contains(t, st.NullCount, "v")
			}
			// Its first row goes.
			if s.Property(PropDeletionVectors) == "true" {
				ds, err := WriteDeletionVectors(ctx, loc, []*dv.Bitmap{dv.New(0)})
				require.NoError(t, err)
				with, err := add.WithVector(ds[0])
				require.NoError(t, err)
				x = Begin(loc, s)
				x.Remove(*add.Remove(time.Now().UnixMilli(), true))
				x.Add(with)
				s, err = x.Commit(ctx)
				require.NoError(t, err)
				require.Len(t, sparkJSON(t, s), len(want)-1)
			}
			require.NoError(t, Checkpoint(ctx, s))
			s = must(Load(ctx, loc))
			s, _, err = Restore(ctx, must(LoadAt(ctx, loc, first)), RestoreOptions{})
			require.NoError(t, err)
			require.Equal(t, want, sparkJSON(t, s))
			_, faults := faultsOf(t, loc, CheckOptions{Rows: true})
			require.Empty(t, faults)
		})
	}
}

// TestDamagedVariantNamesItsFile: a value that is damaged is known when it is
// read, by the file that it is in.
func TestDamagedVariantNamesItsFile(t *testing.T) {
	ctx := context.Background()
	loc := variantTable(t, "preview")
	s := must(Load(ctx, loc))
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "v", Type: arrow.StructOf(
			arrow.Field{Name: "metadata", Type: arrow.BinaryTypes.Binary}, arrow.Field{Name: "value", Type: arrow.BinaryTypes.Binary},
		), Nullable: true},
	}, nil))
	b.Field(0).(*array.Int64Builder).Append(1)
	v := b.Field(1).(*array.StructBuilder)
	v.Append(true)
	v.FieldBuilder(0).(*array.BinaryBuilder).Append([]byte{1, 0, 0})
	v.FieldBuilder(1).(*array.BinaryBuilder).Append([]byte{2, 1, 9, 0, 1, 0})
	rec := b.NewRecordBatch()
	w, err := NewFileWriter(ctx, loc, rec.Schema(), FileOptions{})
	require.NoError(t, err)
	defer w.Abort()
	_, err = w.Write(rec)
	require.NoError(t, err)
	add, err := w.Close()
	require.NoError(t, err)
	err = s.ReadFile(ctx, add, ReadOptions{}, func(arrow.RecordBatch, int64) error { return nil })
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorIs(t, err, variant.ErrCorrupt)
	require.ErrorContains(t, err, add.Path)

	// It is not written as what it is not, either.
	own := array.NewRecordBatch(s.DataArrow(), []arrow.Array{
		rec.Column(0),
		array.NewExtensionArrayWithStorage(variant.NewType(), rec.Column(1)),
	}, 1)
	w, err = s.NewFileWriter(ctx, FileOptions{})
	require.NoError(t, err)
	defer w.Abort()
	_, err = w.Write(own)
	require.ErrorIs(t, err, variant.ErrCorrupt)
}

// TestVariantTableOfOurs is made without Spark.
func TestVariantTableOfOurs(t *testing.T) {
	ctx := context.Background()
	store := objstore.NewMemory()
	loc := Location{Data: store}
	schema := &Schema{Fields: []Field{{Name: "id", Type: Long, Nullable: true}, {Name: "v", Type: &Array{Element: Variant, ContainsNull: true}, Nullable: true}}}
	require.True(t, OptionsFor(schema).Variant)
	x := Begin(loc, nil)
	m := &Metadata{ID: "t", Format: Format{Provider: "parquet"}, SchemaString: schema.JSON()}
	x.SetProtocol(ChangelogProtocol(ProtocolOptions{}))
	x.SetMetadata(m)
	_, err := x.Commit(ctx)
	require.ErrorContains(t, err, `"variantType", which its protocol does not list`)
	x = Begin(loc, nil)
	x.SetProtocol(ChangelogProtocol(OptionsFor(schema)))
	x.SetMetadata(m)
	s, err := x.Commit(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"variantType"}, s.Protocol().ReaderFeatures)
	back, err := SchemaFromArrow(s.Arrow())
	require.NoError(t, err)
	require.Equal(t, schema, back)
}

// TestVoidIsRefusedWhereItCannotBe: Parquet has no struct without fields, and
// nothing to tell the lengths of lists of nothing.
func TestVoidIsRefusedWhereItCannotBe(t *testing.T) {
	ctx := context.Background()
	loc := Location{Data: objstore.NewMemory()}
	for _, typ := range []Type{&Array{Element: Void, ContainsNull: true}, &Map{Key: String, Value: Void}, &Struct{Fields: []Field{{Name: "z", Type: Void}}}} {
		schema := &Schema{Fields: []Field{{Name: "id", Type: Long}, {Name: "void_column", Type: typ, Nullable: true}}}
		a, err := schema.Arrow()
		require.NoError(t, err)
		_, err = NewFileWriter(ctx, loc, a, FileOptions{})
		require.ErrorContains(t, err, `"void_column"`)
	}
}

// TestStatisticsOfVariants: bounds of variants, which are texts in z85 of the
// values of paths, say nothing to us and break nothing.
func TestStatisticsOfVariants(t *testing.T) {
	ctx := context.Background()
	loc := variantTable(t, "preview")
	s := must(Load(ctx, loc))
	a := slices.Collect(s.Files())[0]
	with := *a
	with.Stats = strings.Replace(a.Stats, `"minValues":{`, `"minValues":{"v":"0rr910rr91",`, 1)
	with.Stats = strings.Replace(with.Stats, `"maxValues":{`, `"maxValues":{"v":"0rr910rr91",`, 1)
	require.NotEqual(t, a.Stats, with.Stats)
	x := Begin(loc, s)
	x.Remove(*a.Remove(time.Now().UnixMilli(), true))
	s, err := x.Commit(ctx)
	require.NoError(t, err)
	x = Begin(loc, s)
	x.Add(with)
	s, err = x.Commit(ctx)
	require.NoError(t, err)
	require.NoError(t, Checkpoint(ctx, s))
	_, faults := faultsOf(t, loc, CheckOptions{Rows: true})
	require.Empty(t, faults)
	require.Equal(t, linesOf(t, "testdata", "variant", "preview", "expected.jsonl"), sparkJSON(t, must(Load(ctx, loc))))
}
