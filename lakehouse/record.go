package lakehouse

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/typemap"
)

// record lays the rows of a batch out as the table's columns. The batch must
// be of the relation that the table is adapted to. more gives the columns that
// are neither the source's nor the one of exact texts; it may be nil. The
// caller releases the record.
func (t *table) record(b *cdc.Batch, more func(f arrow.Field, rows int) arrow.Array) (arrow.RecordBatch, error) {
	rows := b.Len()
	cols := make([]arrow.Array, len(t.columns))
	defer func() {
		for _, c := range cols {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i, from := range t.columns {
		what, added := typemap.Added(&t.schema.Fields[i])
		switch name := t.arrow.Field(i).Name; {
		case from >= 0:
			cols[i] = b.Rows.Column(from)
			cols[i].Retain()
		case name == typemap.Exact:
			cols[i] = exactColumn(t.arrow.Field(i).Type.(*arrow.MapType), b)
		case added && what == name:
			cols[i] = t.addedColumn(name, rows)
		case added: // it is derived when all others are there
		case more != nil && t.own(name):
			cols[i] = more(t.arrow.Field(i), rows)
		default:
			cols[i] = array.MakeArrayOfNull(memory.DefaultAllocator, t.arrow.Field(i).Type, rows)
		}
	}
	if err := t.derive(cols); err != nil {
		return nil, err
	}
	return array.NewRecordBatch(t.arrow, cols, int64(rows)), nil
}

// exactColumn gives the map from column to exact text for each row.
func exactColumn(typ *arrow.MapType, b *cdc.Batch) arrow.Array {
	if len(b.Exact) == 0 {
		return array.MakeArrayOfNull(memory.DefaultAllocator, typ, b.Len())
	}
	mb := array.NewMapBuilderWithType(memory.DefaultAllocator, typ)
	defer mb.Release()
	keys, texts := mb.KeyBuilder().(*array.StringBuilder), mb.ItemBuilder().(*array.StringBuilder)
	next := 0
	for row := range b.Len() {
		if next == len(b.Exact) || b.Exact[next].Row != row {
			mb.AppendNull()
			continue
		}
		mb.Append(true)
		for ; next < len(b.Exact) && b.Exact[next].Row == row; next++ {
			keys.Append(b.Relation.Columns[b.Exact[next].Col].Name)
			texts.Append(b.Exact[next].Text)
		}
	}
	return mb.NewArray()
}

// exactOf finds exact texts of a batch by row and key column; nil where the
// batch has none.
func exactOf(b *cdc.Batch) exactText {
	if len(b.Exact) == 0 {
		return nil
	}
	return func(row, keyColumn int) (string, bool) { return exactAt(b, row, b.Relation.Key[keyColumn]) }
}

// exactAt finds the exact text of a value of a batch.
func exactAt(b *cdc.Batch, row, col int) (string, bool) {
	i, ok := slices.BinarySearchFunc(b.Exact, [2]int{row, col}, func(e cdc.Exact, at [2]int) int {
		if e.Row != at[0] {
			return e.Row - at[0]
		}
		return e.Col - at[1]
	})
	if !ok {
		return "", false
	}
	return b.Exact[i].Text, true
}

// keyColumns are the arrays of a batch's key, in the key's order.
func keyColumns(b *cdc.Batch) []arrow.Array {
	cols := make([]arrow.Array, len(b.Relation.Key))
	for i, k := range b.Relation.Key {
		cols[i] = b.Rows.Column(k)
	}
	return cols
}
