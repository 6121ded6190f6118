package lakehouse

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// heldBytes is the memory that a record keeps from being freed: a slice keeps
// all of what it is a slice of.
func heldBytes(rec arrow.RecordBatch) int64 {
	n := int64(0)
	for _, c := range rec.Columns() {
		n += int64(c.Data().SizeInBytes())
	}
	return n
}

// rowBytes is about what a record's own rows take.
func rowBytes(rec arrow.RecordBatch) int64 {
	n := int64(0)
	for _, c := range rec.Columns() {
		n += valueBytes(c)
	}
	return n
}

func valueBytes(a arrow.Array) int64 {
	n := int64(a.Len())
	switch a := a.(type) {
	case *array.String:
		return 4*n + int64(len(a.ValueBytes()))
	case *array.Binary:
		return 4*n + int64(len(a.ValueBytes()))
	case array.ListLike: // maps, too
		if n == 0 {
			return 0
		}
		from, _ := a.ValueOffsets(0)
		_, to := a.ValueOffsets(int(n) - 1)
		part := array.NewSlice(a.ListValues(), from, to)
		defer part.Release()
		return 4*n + valueBytes(part)
	case *array.Struct:
		sum := n
		for i := range a.NumField() {
			sum += valueBytes(a.Field(i))
		}
		return sum
	}
	if t, ok := a.DataType().(arrow.FixedWidthDataType); ok {
		return n * int64(max(8, t.BitWidth())) / 8
	}
	return int64(a.Data().SizeInBytes())
}

// copyRows gives rows of a record as a record of their own, which keeps nothing
// else. The caller releases it.
func copyRows(rec arrow.RecordBatch, rows []int32) (arrow.RecordBatch, error) {
	cols := make([]arrow.Array, rec.NumCols())
	defer func() {
		for _, c := range cols {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i, c := range rec.Columns() {
		var pieces []arrow.Array
		for from := 0; from < len(rows); { // rows that stand together are one piece
			end := from + 1
			for end < len(rows) && rows[end] == rows[end-1]+1 {
				end++
			}
			pieces = append(pieces, array.NewSlice(c, int64(rows[from]), int64(rows[end-1])+1))
			from = end
		}
		var err error
		cols[i], err = array.Concatenate(pieces, memory.DefaultAllocator)
		for _, p := range pieces {
			p.Release()
		}
		if err != nil {
			return nil, fmt.Errorf("copying rows: %w", err)
		}
	}
	return array.NewRecordBatch(rec.Schema(), cols, int64(len(rows))), nil
}
