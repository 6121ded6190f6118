package tablefmt

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/colfile"
)

// Statistics that a checkpoint holds as structs alone are the same texts again,
// of all types, and of mapped columns.
func TestTypedStatistics(t *testing.T) {
	ctx := t.Context()
	schema := &Schema{Fields: []Field{
		{Name: "id", Type: Long, Nullable: true},
		{Name: "i", Type: Integer, Nullable: true},
		{Name: "sh", Type: Short, Nullable: true},
		{Name: "b", Type: Byte, Nullable: true},
		{Name: "f", Type: Float, Nullable: true},
		{Name: "d", Type: Double, Nullable: true},
		{Name: "text", Type: String, Nullable: true},
		{Name: "bin", Type: Binary, Nullable: true},
		{Name: "bool", Type: Boolean, Nullable: true},
		{Name: "day", Type: Date, Nullable: true},
		{Name: "at", Type: Timestamp, Nullable: true},
		{Name: "local", Type: TimestampNTZ, Nullable: true},
		{Name: "dec", Type: Decimal{Precision: 38, Scale: 10}, Nullable: true},
		{Name: "s", Nullable: true, Type: &Struct{Fields: []Field{{Name: "x", Type: Long, Nullable: true}, {Name: "l", Nullable: true, Type: &Array{Element: Long}}}}},
		{Name: "l", Nullable: true, Type: &Array{Element: String, ContainsNull: true}},
		{Name: "p", Type: Date, Nullable: true},
	}}
	for _, mode := range []MappingMode{MappingNone, MappingName} {
		for _, texts := range []string{"false", "true"} {
			t.Run(fmt.Sprintf("%s, texts %s", mode, texts), func(t *testing.T) {
				loc := memoryTable()
				tx := Begin(loc, nil)
				o := OptionsFor(schema)
				o.ColumnMapping = mode != MappingNone
				tx.SetProtocol(MirrorProtocol(o))
				md := &Metadata{SchemaString: schema.JSON(), PartitionColumns: []string{"p"}, Configuration: map[string]string{
					PropCheckpointStruct: "true", PropCheckpointStats: texts, PropDeletionVectors: "true",
				}}
				if mode != MappingNone {
					md.Configuration[PropMappingMode] = string(mode)
					require.NoError(t, md.SetSchema(schema))
				}
				tx.SetMetadata(md)
				s := must(tx.Commit(ctx))
				tx = Begin(loc, s)
				for n, day := range []*string{nil, ref("2024-02-29"), ref("0001-01-01"), ref("9999-12-31")} {
					physical, _ := s.PhysicalName("p")
					w := must(s.NewFileWriter(ctx, FileOptions{PartitionValues: map[string]*string{physical: day}}))
					b := array.NewRecordBuilder(memory.DefaultAllocator, s.DataArrow())
					for i := range 3 {
						for c, f := range s.DataArrow().Fields() {
							appendSample(t, b.Field(c), f.Type, n, i)
						}
					}
					_, err := w.Write(b.NewRecordBatch())
					require.NoError(t, err)
					a, err := w.Close()
					require.NoError(t, err)
					tx.Add(*a)
				}
				none := fakeAdd("without statistics", 1)
				none.Stats = ""
				none.PartitionValues = map[string]*string{}
				for k := range must(anyFile(s, tx)).PartitionValues {
					none.PartitionValues[k] = nil
				}
				tx.Add(none)
				s = must(tx.Commit(ctx))
				require.NoError(t, Checkpoint(ctx, s))

				// The typed columns are there, and the texts where they are wanted.
				in := must(loc.log().Open(ctx, checkpointName(s.Version())))
				f := must(colfile.OpenFile(in, in.Size()))
				require.Equal(t, texts == "false", f.NoValues("add", "stats"))
				require.False(t, f.NoValues("add", "stats_parsed", "numRecords"))
				require.NoError(t, in.Close())
				for v := range s.Version() + 1 { // nothing but the checkpoint tells
					require.NoError(t, loc.log().Delete(ctx, commitName(v)))
				}
				read := must(Load(ctx, loc))
				require.Equal(t, s.NumFiles(), read.NumFiles())
				for a := range s.Files() {
					b, ok := read.File(a.Path)
					require.True(t, ok)
					if a.Stats == "" {
						require.Empty(t, b.Stats)
						continue
					}
					require.JSONEq(t, a.Stats, b.Stats)
					require.Equal(t, a.PartitionValues, b.PartitionValues)
				}
				require.Equal(t, scanned(t, s), scanned(t, read))
			})
		}
	}
}

func ref(s string) *string { return &s }

// anyFile is a file that a transaction is to add.
func anyFile(_ *Snapshot, tx *Transaction) (*AddFile, error) { return &tx.adds[0], nil }

// appendSample appends a value that differs from file to file: the greatest and
// the least, none, and what lies between.
func appendSample(t *testing.T, b array.Builder, typ arrow.DataType, file, row int) {
	t.Helper()
	if row == 1 || file == 0 {
		b.AppendNull()
		return
	}
	n := int64(file*100 + row)
	switch b := b.(type) {
	case *array.Int64Builder:
		b.Append(math.MaxInt64 - n)
	case *array.Int32Builder:
		b.Append(int32(math.MinInt32 + n))
	case *array.Int16Builder:
		b.Append(int16(-n))
	case *array.Int8Builder:
		b.Append(int8(n % 100))
	case *array.Float32Builder:
		b.Append(float32(n) / 3)
	case *array.Float64Builder:
		b.Append(float64(n) / 7)
	case *array.StringBuilder:
		b.Append([]string{"", "", "ü\"\\\n\u0000<>", "a long text, of which statistics keep the beginning"}[file])
	case *array.BinaryBuilder:
		b.Append([]byte{byte(n)})
	case *array.BooleanBuilder:
		b.Append(row == 0)
	case *array.Date32Builder:
		b.Append(arrow.Date32(n - 719162))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(-n*1_000_000_000_123 + 1))
	case *array.Decimal128Builder:
		require.NoError(t, b.AppendValueFromString(fmt.Sprintf("-1234567890123456789012345678.%010d", n)))
	case *array.StructBuilder:
		b.Append(true)
		for i, f := range typ.(*arrow.StructType).Fields() {
			appendSample(t, b.FieldBuilder(i), f.Type, file, row)
		}
	case *array.ListBuilder:
		b.Append(true)
	default:
		t.Fatalf("no sample of %s", typ)
	}
}

func scanned(t *testing.T, s *Snapshot) []string {
	t.Helper()
	var rows []string
	for a := range s.Files() {
		if a.Path == "without statistics" { // and without rows
			continue
		}
		require.NoError(t, s.ReadFile(t.Context(), a, ReadOptions{}, func(rec arrow.RecordBatch, _ int64) error {
			for i := range int(rec.NumRows()) {
				row := ""
				for _, c := range rec.Columns() {
					row += c.ValueStr(i) + "|"
				}
				rows = append(rows, row)
			}
			return nil
		}))
	}
	slices.Sort(rows)
	return rows
}

// What is no value of its column's type in somebody's statistics is no bound in
// the typed ones, and the rest of them stay.
func TestTypedStatisticsOfOthers(t *testing.T) {
	ctx, loc := t.Context(), memoryTable()
	schema := &Schema{Fields: []Field{{Name: "i", Type: Integer, Nullable: true}, {Name: "dec", Type: Decimal{Precision: 10, Scale: 2}, Nullable: true}, {Name: "day", Type: Date, Nullable: true}}}
	tx := Begin(loc, nil)
	tx.SetProtocol(MirrorProtocol(OptionsFor(schema)))
	tx.SetMetadata(&Metadata{SchemaString: schema.JSON(), Configuration: map[string]string{PropCheckpointStruct: "true", PropCheckpointStats: "false"}})
	for name, text := range map[string]string{
		"good":    `{"numRecords":2,"minValues":{"i":-5,"dec":1.25,"day":"2024-02-29"},"maxValues":{"i":5,"dec":99,"day":"2024-03-01"},"nullCount":{"i":0,"dec":1,"day":0}}`,
		"bad":     `{"numRecords":2,"minValues":{"i":99999999999,"dec":1.333,"day":"yesterday","other":1},"maxValues":{"i":"x","dec":null,"day":5},"nullCount":{"i":0}}`,
		"nothing": `{}`,
	} {
		a := fakeAdd(name, 1)
		a.Stats = text
		tx.Add(a)
	}
	s := must(tx.Commit(ctx))
	require.NoError(t, Checkpoint(ctx, s))
	require.NoError(t, loc.log().Delete(ctx, commitName(0)))
	read := must(Load(ctx, loc))
	for name, want := range map[string]string{
		"good":    `{"numRecords":2,"minValues":{"i":-5,"dec":1.25,"day":"2024-02-29"},"maxValues":{"i":5,"dec":99.00,"day":"2024-03-01"},"nullCount":{"i":0,"dec":1,"day":0}}`,
		"bad":     `{"numRecords":2,"minValues":{},"maxValues":{},"nullCount":{"i":0}}`,
		"nothing": `{"minValues":{},"maxValues":{},"nullCount":{}}`,
	} {
		a, ok := read.File(name)
		require.True(t, ok)
		require.JSONEq(t, want, a.Stats, name)
		require.True(t, json.Valid([]byte(a.Stats)))
	}
}
