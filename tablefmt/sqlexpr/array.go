package sqlexpr

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Array gives the expression's values for rows 0 to n as an array of a column's
// type, which the caller releases. A value that is not one of that type is an
// *[UnsupportedError].
func (e *Expr) Array(columns []Column, n int, to arrow.DataType) (arrow.Array, error) {
	assign, err := assignment(e.root.typ, typeOf(to))
	if err != nil {
		return nil, e.because(err)
	}
	b := array.NewBuilder(memory.DefaultAllocator, to)
	defer b.Release()
	f := &frame{columns: columns}
	for f.row = range n {
		v, err := e.root.eval(f)
		if err == nil && !v.null {
			v, err = assign(v)
		}
		if err != nil {
			return nil, e.because(err)
		}
		appendValue(b, v)
	}
	return b.NewArray(), nil
}

func appendValue(b array.Builder, v value) {
	if v.null {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(v.i != 0)
	case *array.Int8Builder:
		b.Append(int8(v.i))
	case *array.Int16Builder:
		b.Append(int16(v.i))
	case *array.Int32Builder:
		b.Append(int32(v.i))
	case *array.Int64Builder:
		b.Append(v.i)
	case *array.Float32Builder:
		b.Append(float32(v.f))
	case *array.Float64Builder:
		b.Append(v.f)
	case *array.StringBuilder:
		b.Append(v.s)
	case *array.Date32Builder:
		b.Append(arrow.Date32(v.i))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(v.i))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromBigInt(v.d))
	default: // assignment lets no other type through
		b.AppendNull()
	}
}
