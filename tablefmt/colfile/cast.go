package colfile

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// isInt tells the integer types that a file's leaf can have.
func isInt(t arrow.DataType) bool {
	switch t.ID() {
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64:
		return true
	}
	return false
}

// castable reports whether castData can convert from one type to another,
// perhaps depending on the values.
func castable(from, to arrow.DataType) bool {
	if arrow.TypeEqual(from, to) {
		return true
	}
	switch to := to.(type) {
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type:
		return isInt(from)
	case *arrow.Float64Type:
		return from.ID() == arrow.FLOAT32 || isInt(from) && from.ID() != arrow.INT64
	case *arrow.Decimal128Type:
		d, ok := from.(*arrow.Decimal128Type)
		return isInt(from) || ok && to.Scale >= d.Scale
	case *arrow.TimestampType:
		_, ok := from.(*arrow.TimestampType)
		return to.Unit == arrow.Microsecond && (ok || from.ID() == arrow.DATE32 && to.TimeZone == "")
	case *arrow.StringType:
		return from.ID() == arrow.BINARY
	case *arrow.BinaryType:
		return from.ID() == arrow.STRING
	}
	return false
}

// castData converts values for which castable holds. A value that the new
// type cannot hold gives an error that wraps ErrUnsupported.
func castData(d arrow.ArrayData, to arrow.DataType) (arrow.ArrayData, error) {
	bufs := append([]*memory.Buffer(nil), d.Buffers()...)
	if from := d.DataType(); from.ID() != to.ID() || to.ID() == arrow.DECIMAL128 {
		switch to.ID() {
		case arrow.STRING, arrow.BINARY: // the same memory
		default:
			vals, err := castNumbers(d, to)
			if err != nil {
				return nil, err
			}
			bufs[1] = memory.NewBufferBytes(vals)
		}
	}
	return array.NewData(to, d.Len(), bufs, nil, d.NullN(), 0), nil
}

func castNumbers(d arrow.ArrayData, to arrow.DataType) ([]byte, error) {
	vals := d.Buffers()[1].Bytes()
	from := d.DataType()
	switch to := to.(type) {
	case *arrow.Float64Type:
		if from.ID() == arrow.FLOAT32 {
			return mapNumbers(vals, func(v float32) float64 { return float64(v) }), nil
		}
		return mapNumbers(widenInts(from, vals), func(v int64) float64 { return float64(v) }), nil
	case *arrow.TimestampType:
		const micros = 86_400_000_000
		for _, day := range viewAs[int32](vals) {
			if int64(day) > math.MaxInt64/micros || int64(day) < math.MinInt64/micros {
				return nil, unsupportedf("day %d is no timestamp in microseconds", day)
			}
		}
		return mapNumbers(vals, func(v int32) int64 { return int64(v) * micros }), nil
	case *arrow.Decimal128Type:
		scale := to.Scale
		if t, ok := from.(*arrow.Decimal128Type); ok {
			scale -= t.Scale
		} else {
			vals = mapNumbers(widenInts(from, vals), decimal128.FromI64)
		}
		return rescale(viewAs[decimal128.Num](vals), scale, to)
	}
	return narrowInts(widenInts(from, vals), to)
}

// rescale multiplies by ten to the by, which must leave the digits in place.
func rescale(vals []decimal128.Num, by int32, to *arrow.Decimal128Type) ([]byte, error) {
	out := make([]decimal128.Num, len(vals))
	factor := pow10(by)
	limit := pow10(to.Precision)
	// Before multiplying: |v| * 10^by < 10^p iff |v| < 10^(p-by).
	before := decimal128.FromI64(1)
	if to.Precision >= by {
		before = pow10(to.Precision - by)
	}
	for i, v := range vals {
		if !decimalFits(v, before) {
			return nil, unsupportedf("decimal %s read as %s", v.BigInt(), to)
		}
		out[i] = v.Mul(factor)
		if !decimalFits(out[i], limit) {
			return nil, unsupportedf("decimal %s read as %s", v.BigInt(), to)
		}
	}
	return byteView(out), nil
}

// widenInts gives integers of any width as int64.
func widenInts(t arrow.DataType, vals []byte) []byte {
	switch t.ID() {
	case arrow.INT8:
		return mapNumbers(vals, func(v int8) int64 { return int64(v) })
	case arrow.INT16:
		return mapNumbers(vals, func(v int16) int64 { return int64(v) })
	case arrow.INT32:
		return mapNumbers(vals, func(v int32) int64 { return int64(v) })
	}
	return vals
}

// narrowInts gives int64 values as integers of type to, if all of them fit.
func narrowInts(vals []byte, to arrow.DataType) ([]byte, error) {
	bits := to.(arrow.FixedWidthDataType).BitWidth()
	for _, v := range viewAs[int64](vals) {
		if s := 64 - bits; v<<s>>s != v {
			return nil, unsupportedf("integer %d read as %s", v, to)
		}
	}
	switch bits {
	case 8:
		return mapNumbers(vals, func(v int64) int8 { return int8(v) }), nil
	case 16:
		return mapNumbers(vals, func(v int64) int16 { return int16(v) }), nil
	case 32:
		return mapNumbers(vals, func(v int64) int32 { return int32(v) }), nil
	}
	return vals, nil
}
