package mask

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// textable reports whether values of a type have a text that can be hashed.
func textable(t arrow.DataType) bool {
	switch t.ID() {
	case arrow.STRING, arrow.BINARY, arrow.BOOL, arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64,
		arrow.FLOAT32, arrow.FLOAT64, arrow.DATE32, arrow.TIMESTAMP, arrow.DECIMAL128:
		return true
	}
	return false
}

// appendText appends the text of a value that is not null: PostgreSQL's own, so
// that a value has one hash whatever the type of the column that holds it; of
// bytes the bytes themselves. It knows the types that textable does.
func appendText(dst []byte, a arrow.Array, row int) []byte {
	switch a := a.(type) {
	case *array.String:
		return append(dst, a.Value(row)...)
	case *array.Binary:
		return append(dst, a.Value(row)...)
	case *array.Boolean:
		if a.Value(row) {
			return append(dst, 't')
		}
		return append(dst, 'f')
	case *array.Int8:
		return strconv.AppendInt(dst, int64(a.Value(row)), 10)
	case *array.Int16:
		return strconv.AppendInt(dst, int64(a.Value(row)), 10)
	case *array.Int32:
		return strconv.AppendInt(dst, int64(a.Value(row)), 10)
	case *array.Int64:
		return strconv.AppendInt(dst, a.Value(row), 10)
	case *array.Float32:
		return appendFloat(dst, float64(a.Value(row)), 32)
	case *array.Float64:
		return appendFloat(dst, a.Value(row), 64)
	case *array.Date32:
		return a.Value(row).ToTime().AppendFormat(dst, time.DateOnly)
	case *array.Timestamp:
		t := a.DataType().(*arrow.TimestampType)
		dst = a.Value(row).ToTime(t.Unit).AppendFormat(dst, "2006-01-02 15:04:05.999999999")
		if t.TimeZone != "" {
			dst = append(dst, "+00"...)
		}
		return dst
	case *array.Decimal128:
		return append(dst, a.Value(row).ToString(a.DataType().(*arrow.Decimal128Type).Scale)...)
	}
	panic(fmt.Sprintf("a value of type %s has no text", a.DataType()))
}

// appendFloat prints as PostgreSQL does: the fewest digits that tell the number
// from its neighbours, with an exponent where there are more than 15 (float8)
// or 6 (float4) before the point, or more than four zeros after it.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	most := 15
	if bits == 32 {
		most = 6
	}
	var scratch [32]byte
	e := strconv.AppendFloat(scratch[:0], f, 'e', -1, bits)
	exp := 0
	for i, c := range e {
		if c == 'e' {
			exp, _ = strconv.Atoi(string(e[i+1:])) // it was printed as one
		}
	}
	if f != 0 && (exp < -4 || exp >= most) {
		return append(dst, e...)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, bits)
}
