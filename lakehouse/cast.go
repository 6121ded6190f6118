package lakehouse

import (
	"cmp"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

const microsPerDay = 24 * 60 * 60 * 1_000_000

// castTo gives an array's values as values of a type that holds them all
// ([typemap.Holds]). The caller releases it.
func castTo(a arrow.Array, to arrow.DataType) (arrow.Array, error) {
	if arrow.TypeEqual(a.DataType(), to) {
		a.Retain()
		return a, nil
	}
	out, _, err := castSome(a, to)
	if err != nil {
		out.Release()
		return nil, err
	}
	return out, nil
}

// castSome is castTo where values of the one type need not be values of the
// other: those that are not are null, lost tells of which rows, and why of the
// first of them; nil for none.
func castSome(a arrow.Array, to arrow.DataType) (out arrow.Array, lost []int32, why error) {
	b := array.NewBuilder(memory.DefaultAllocator, to)
	defer b.Release()
	b.Reserve(a.Len())
	for i := range a.Len() {
		if a.IsNull(i) {
			b.AppendNull()
		} else if err := castValue(b, a, i); err != nil {
			b.AppendNull()
			lost, why = append(lost, int32(i)), cmp.Or(why, err)
		}
	}
	return b.NewArray(), lost, why
}

// castValue appends a value, or nothing where it fails.
func castValue(b array.Builder, a arrow.Array, i int) error {
	n, isInt := intAt(a, i)
	switch b := b.(type) {
	case *array.Int32Builder:
		if isInt && int64(int32(n)) == n {
			b.Append(int32(n))
			return nil
		}
	case *array.Int64Builder:
		if isInt {
			b.Append(n)
			return nil
		}
	case *array.Float64Builder:
		if f, ok := a.(*array.Float32); ok {
			b.Append(float64(f.Value(i)))
			return nil
		}
	case *array.TimestampBuilder:
		if d, ok := a.(*array.Date32); ok {
			b.Append(arrow.Timestamp(int64(d.Value(i)) * microsPerDay))
			return nil
		}
	case *array.StringBuilder:
		if d, ok := a.(*array.Decimal128); ok {
			b.Append(d.Value(i).ToString(d.DataType().(*arrow.Decimal128Type).Scale))
			return nil
		}
	case *array.Decimal128Builder:
		to := b.Type().(*arrow.Decimal128Type)
		v, scale := decimal128.FromI64(n), int32(0)
		if d, ok := a.(*array.Decimal128); ok {
			v, scale = d.Value(i), d.DataType().(*arrow.Decimal128Type).Scale
		} else if !isInt {
			break
		}
		// Values are below 10^38 and scales differ by at most 38: the product is
		// judged before it can overflow.
		if more := to.Scale - scale; more >= 0 && v.FitsInPrecision(to.Precision-more) {
			b.Append(v.IncreaseScaleBy(more))
			return nil
		}
	}
	return fmt.Errorf("%s %s is not one of %s, or no cast is known", a.DataType(), a.ValueStr(i), b.Type())
}

func intAt(a arrow.Array, i int) (int64, bool) {
	switch a := a.(type) {
	case *array.Int16:
		return int64(a.Value(i)), true
	case *array.Int32:
		return int64(a.Value(i)), true
	case *array.Int64:
		return a.Value(i), true
	}
	return 0, false
}
