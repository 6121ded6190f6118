package lakehouse

import (
	"math"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
)

// A value that the other type does not have is an error, and not another value.
func TestCastLosesNothing(t *testing.T) {
	long := func(values ...int64) arrow.Array {
		b := array.NewInt64Builder(memory.DefaultAllocator)
		defer b.Release()
		b.AppendNull()
		b.AppendValues(values, nil)
		return b.NewArray()
	}
	decimal := func(typ arrow.DataType, text string) arrow.Array {
		b := array.NewBuilder(memory.DefaultAllocator, typ)
		defer b.Release()
		b.AppendNull()
		require.NoError(t, b.AppendValueFromString(text))
		return b.NewArray()
	}
	dec := func(p, s int32) arrow.DataType { return &arrow.Decimal128Type{Precision: p, Scale: s} }
	for _, c := range []struct {
		from arrow.Array
		to   arrow.DataType
		want string // "" is lost
	}{
		{long(math.MaxInt32), arrow.PrimitiveTypes.Int32, "2147483647"},
		{long(math.MaxInt32 + 1), arrow.PrimitiveTypes.Int32, ""},
		{long(math.MinInt32 - 1), arrow.PrimitiveTypes.Int32, ""},
		{long(math.MaxInt64), dec(20, 1), "9223372036854775807.0"},
		{long(999), dec(4, 1), "999.0"},
		{long(1000), dec(4, 1), ""},
		{decimal(dec(4, 2), "99.99"), dec(6, 3), "99.990"},
		{decimal(dec(4, 2), "99.99"), dec(4, 3), ""},
		{decimal(dec(4, 2), "99.99"), dec(4, 1), ""},
		{decimal(dec(38, 0), "99999999999999999999999999999999999999"), dec(38, 38), ""},
		{decimal(arrow.BinaryTypes.String, "7"), arrow.PrimitiveTypes.Int64, ""},
	} {
		out, lost, _ := castSome(c.from, c.to)
		require.True(t, out.IsNull(0))
		if exact, err := castTo(c.from, c.to); c.want == "" {
			require.Error(t, err, "%s to %s", c.from, c.to)
			require.Equal(t, []int32{1}, lost)
			require.True(t, out.IsNull(1))
		} else {
			require.NoError(t, err)
			require.Nil(t, lost)
			text := out.ValueStr(1)
			if d, ok := out.(*array.Decimal128); ok {
				text = d.Value(1).ToString(d.DataType().(*arrow.Decimal128Type).Scale)
			}
			require.Equal(t, c.want, text)
			require.True(t, array.Equal(exact, out))
		}
	}
}
