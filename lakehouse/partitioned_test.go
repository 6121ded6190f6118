package lakehouse

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func partitionedTable(t *testing.T) *table {
	t.Helper()
	schema := &tablefmt.Schema{Fields: []tablefmt.Field{
		{Name: "id", Type: tablefmt.Long, Nullable: true}, {Name: "p", Type: tablefmt.Long, Nullable: true}, {Name: "v", Type: tablefmt.String, Nullable: true},
	}}
	x := &table{parts: []string{"p"}, spec: tableSpec{
		loc: tablefmt.Location{Data: objstore.NewMemory()}, targetSize: 1 << 20, holdBytes: 256 << 10,
	}}
	require.NoError(t, x.setSchema(schema))
	return x
}

func partitionedRows(t *testing.T, x *table, first, n, partitions int) arrow.RecordBatch {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, x.arrow)
	defer b.Release()
	for i := first; i < first+n; i++ {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.Int64Builder).Append(int64(i * 7919 % partitions))
		b.Field(2).(*array.StringBuilder).Append(strings.Repeat("x", i%50))
	}
	return b.NewRecordBatch()
}

// TestManyPartitionsStayBounded writes rows of many partitions in no order: what
// is held and open is bounded, and every row is where it was told to be.
func TestManyPartitionsStayBounded(t *testing.T) {
	x := partitionedTable(t)
	var warned []string
	x.spec.warn = func(format string, args ...any) { warned = append(warned, fmt.Sprintf(format, args...)) }
	s := x.newStager(t.Context())
	defer s.abort()
	where := map[int64]place{}
	for first := 0; first < 40_000; first += 500 {
		rec := partitionedRows(t, x, first, 500, 1500)
		err := s.write(rec, rowsFrom(0, 500), func(part []int, at place) error {
			for i, n := range chosen(rowsFrom(0, 500), part) {
				where[int64(first)+int64(n)] = place{at.path, at.first + int64(i)}
			}
			return nil
		})
		rec.Release()
		require.NoError(t, err)
		require.LessOrEqual(t, s.held.bytes, x.spec.holdBytes)
		open := 0
		for _, p := range s.held.order {
			if p.file != nil {
				open++
			}
		}
		require.LessOrEqual(t, open, partitionFiles)
		require.Equal(t, open, s.held.open)
	}
	require.NoError(t, s.close())
	require.Zero(t, s.held.open)
	require.Len(t, warned, 1)
	require.Contains(t, warned[0], "partition_by")
	require.Len(t, where, 40_000)

	tx := tablefmt.Begin(x.spec.loc, nil)
	md := &tablefmt.Metadata{SchemaString: x.schema.JSON(), PartitionColumns: x.parts}
	tx.SetProtocol(protocol(md, x.schema))
	tx.SetMetadata(md)
	for _, f := range x.files {
		tx.Add(*f.add)
	}
	snap, err := tx.Commit(t.Context())
	require.NoError(t, err)
	rows := 0
	for add := range snap.Files() {
		err := snap.ReadFile(t.Context(), add, tablefmt.ReadOptions{}, func(rec arrow.RecordBatch, first int64) error {
			for i := range int(rec.NumRows()) {
				id := rec.Column(0).(*array.Int64).Value(i)
				require.Equal(t, place{add.Path, first + int64(i)}, where[id])
				require.Equal(t, id*7919%1500, rec.Column(1).(*array.Int64).Value(i))
				rows++
			}
			return nil
		})
		require.NoError(t, err)
	}
	require.Equal(t, 40_000, rows)
}

// TestFewRowsOfALargeRecordDoNotHoldIt holds some rows of records that are large.
func TestFewRowsOfALargeRecordDoNotHoldIt(t *testing.T) {
	x := partitionedTable(t)
	rec := partitionedRows(t, x, 0, 10_000, 3)
	defer rec.Release()
	slice := rec.NewSlice(100, 110)
	defer slice.Release()
	require.Greater(t, heldBytes(slice), holdMost*rowBytes(slice))
	s := x.newStager(t.Context())
	defer s.abort()
	require.NoError(t, s.write(slice, rowsFrom(0, 10), anywhere))
	require.NoError(t, s.write(rec, []int32{5, 6, 700}, anywhere))
	for _, p := range s.held.order {
		for _, r := range p.rows {
			require.Less(t, heldBytes(r.rec), int64(4096))
		}
	}
	require.NoError(t, s.close())
	rows := int64(0)
	for _, f := range x.files {
		rows += f.rows
	}
	require.Equal(t, int64(13), rows)
}
