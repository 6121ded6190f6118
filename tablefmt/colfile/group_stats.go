package colfile

import (
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// GroupStats is what the footer says of a column in one row group.
type GroupStats struct {
	// Type is the column's in the file, nil where the file does not have it.
	Type  arrow.DataType
	Rows  int64
	Nulls int64 // rows without a value; -1 where it is not known
	// Min and Max bound the values from below and above, as in [ColumnStats];
	// each is nil where nothing is known. Max of a string may be longer or greater
	// than any value. Bounds of floats say nothing of NaN.
	Min, Max any
}

// GroupStats gives what is known of the column at path, from a top-level field of
// schema down through structs, in a row group, without reading more of the file.
// Columns are found as by ReadOptions.Schema and ByFieldID; one that is not there
// is null in every row. ok is false where nothing is known. Bounds whose order
// the format did not define when they were written are left out.
func (f *File) GroupStats(group int, schema *arrow.Schema, byID bool, path []string) (s GroupStats, ok bool) {
	g := &f.meta.RowGroups[group]
	s = GroupStats{Rows: g.NumRows, Nulls: -1}
	at := schema.FieldIndices(path[0])
	if len(at) == 0 || byID && f.checkIDs() != nil {
		return s, false // reading tells what is wrong
	}
	field := schema.Field(at[0])
	n, err := f.root.match(&field, byID)
	for _, name := range path[1:] {
		if n == nil || err != nil {
			break
		}
		t, isStruct := field.Type.(*arrow.StructType)
		if !isStruct || n.shape != shapeStruct {
			return s, false
		}
		i, found := t.FieldIdx(name)
		if !found {
			return s, false
		}
		field = t.Field(i)
		n, err = n.match(&field, byID)
	}
	switch {
	case err != nil:
		return s, false
	case n == nil:
		s.Nulls = s.Rows
		return s, true
	case n.leaf == nil || n.leaf.maxRep > 0:
		return s, false
	}
	l := n.leaf
	s.Type = l.typ
	m := &g.Columns[l.index].MetaData
	// What counts as a null of a struct's field, writers do not agree on.
	if m.Statistics.NullCount <= s.Rows && l.maxDef <= 1 && len(path) == 1 {
		s.Nulls = m.Statistics.NullCount
	}
	if l.index < len(f.meta.ColumnOrders) && f.meta.ColumnOrders[l.index].Value != nil {
		s.Min, s.Max = l.bound(m.Statistics.MinValue), l.bound(m.Statistics.MaxValue)
	}
	return s, true
}

// NoValues reports whether the footer says that no row of the file has a value in
// the column at path, from the top down through structs: there is no such column,
// or it is null everywhere.
func (f *File) NoValues(path ...string) bool {
	n := f.root
	for _, name := range path {
		if n = n.child(name); n == nil {
			return true
		}
	}
	if n.leaf == nil {
		return false
	}
	for i := range f.meta.RowGroups {
		m := &f.meta.RowGroups[i].Columns[n.leaf.index].MetaData
		if m.NumValues > 0 && m.Statistics.NullCount < m.NumValues {
			return false
		}
	}
	return true
}

// bound reads a bound of a leaf's values, nil for none.
func (l *readLeaf) bound(b []byte) any {
	if b == nil {
		return nil
	}
	switch l.phys {
	case physInt32:
		if len(b) == 4 {
			return l.intBound(int64(int32(binary.LittleEndian.Uint32(b))))
		}
	case physInt64:
		if len(b) == 8 {
			return l.intBound(int64(binary.LittleEndian.Uint64(b)))
		}
	case physFloat:
		if len(b) == 4 {
			if v := math.Float32frombits(binary.LittleEndian.Uint32(b)); !math.IsNaN(float64(v)) {
				return v
			}
		}
	case physDouble:
		if len(b) == 8 {
			if v := math.Float64frombits(binary.LittleEndian.Uint64(b)); !math.IsNaN(v) {
				return v
			}
		}
	case physFixed:
		if l.conv == convDecBytes && len(b) == l.width {
			if v, ok := decimalFromBigEndian(b); ok {
				return v
			}
		}
	case physBytes:
		if l.conv == convNone && l.typ.ID() == arrow.STRING {
			return string(b)
		}
	}
	return nil
}

// intBound is a bound of INT32 or INT64 in the terms of the leaf's type.
func (l *readLeaf) intBound(v int64) any {
	switch l.conv {
	case convNone, convInt8, convInt16:
	case convDec32, convDec64:
		return decimal128.FromI64(v)
	case convMillis:
		if v > math.MaxInt64/1000 || v < math.MinInt64/1000 {
			return nil
		}
		v *= 1000
	case convNanos:
		v = floorDiv(v, 1000)
	default:
		return nil
	}
	switch l.typ.ID() {
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64:
		return v
	case arrow.DATE32:
		return arrow.Date32(v)
	case arrow.TIMESTAMP:
		return arrow.Timestamp(v)
	}
	return nil
}
