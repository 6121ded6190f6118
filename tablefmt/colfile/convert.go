package colfile

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// conversion is what values of a file's physical type need to become values
// of the leaf's Arrow type.
type conversion uint8

const (
	convNone     conversion = iota // the memory is the same
	convInt8                       // INT32 to the low 8 bits
	convInt16                      // INT32 to the low 16 bits
	convUint32                     // INT32 without sign to int64
	convUint64                     // INT64 without sign to decimal(20,0)
	convDec32                      // INT32 to decimal128
	convDec64                      // INT64 to decimal128
	convDecBytes                   // big-endian bytes to decimal128
	convMillis                     // INT64 milliseconds to microseconds
	convNanos                      // INT64 nanoseconds to microseconds, rounded down
	convInt96                      // day and nanoseconds to microseconds, rounded down
	convHalf                       // two bytes to float32
	convFixed                      // FIXED_LEN_BYTE_ARRAY to binary
)

// chooseType maps a column's physical type and annotations to Arrow. What has
// no signed or Delta counterpart is widened: uint8 to int16 and so on, uint64
// to decimal(20,0) as Spark does.
func (l *readLeaf) chooseType(el *format.SchemaElement) error {
	l.plainType()
	switch t := el.LogicalType.Value.(type) {
	case *format.StringType, *format.EnumType, *format.JsonType:
		l.text()
	case *format.DecimalType:
		return l.decimal(t.Precision, t.Scale)
	case *format.DateType:
		l.annotated(physInt32, arrow.FixedWidthTypes.Date32, convNone)
	case *format.TimeType:
		l.time(t.Unit)
	case *format.TimestampType:
		l.timestamp(t.Unit, t.IsAdjustedToUTC)
	case *format.IntType:
		l.integer(int(t.BitWidth), t.IsSigned)
	case *format.Float16Type:
		if l.phys == physFixed && l.width == 2 {
			l.typ, l.conv = arrow.PrimitiveTypes.Float32, convHalf
		}
	case nil:
		return l.converted(el)
	}
	return nil
}

// plainType is the type of a column without annotations.
func (l *readLeaf) plainType() {
	switch l.phys {
	case physBool:
		l.typ = arrow.FixedWidthTypes.Boolean
	case physInt32:
		l.typ = arrow.PrimitiveTypes.Int32
	case physInt64:
		l.typ = arrow.PrimitiveTypes.Int64
	case physFloat:
		l.typ = arrow.PrimitiveTypes.Float32
	case physDouble:
		l.typ = arrow.PrimitiveTypes.Float64
	case physInt96: // only ever used for this
		l.typ, l.conv = utcMicros, convInt96
	case physFixed:
		l.typ, l.conv = arrow.BinaryTypes.Binary, convFixed
	default:
		l.typ = arrow.BinaryTypes.Binary
	}
}

var (
	utcMicros   = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	localMicros = &arrow.TimestampType{Unit: arrow.Microsecond}
)

// annotated sets the type if the physical type is the one the annotation is
// for; other readers ignore it too where it is not.
func (l *readLeaf) annotated(p physical, t arrow.DataType, c conversion) {
	if l.phys == p {
		l.typ, l.conv = t, c
	}
}

func (l *readLeaf) text() { l.annotated(physBytes, arrow.BinaryTypes.String, convNone) }

func (l *readLeaf) integer(bits int, signed bool) {
	switch {
	case bits == 8 && signed:
		l.annotated(physInt32, arrow.PrimitiveTypes.Int8, convInt8)
	case bits == 16 && signed, bits == 8:
		l.annotated(physInt32, arrow.PrimitiveTypes.Int16, convInt16)
	case bits == 32 && !signed:
		l.annotated(physInt32, arrow.PrimitiveTypes.Int64, convUint32)
	case bits == 64 && !signed:
		l.annotated(physInt64, &arrow.Decimal128Type{Precision: 20}, convUint64)
	}
}

func (l *readLeaf) time(unit format.TimeUnit) {
	switch unit.Value.(type) {
	case *format.MilliSeconds:
		l.annotated(physInt32, arrow.FixedWidthTypes.Time32ms, convNone)
	case *format.MicroSeconds:
		l.annotated(physInt64, arrow.FixedWidthTypes.Time64us, convNone)
	case *format.NanoSeconds:
		l.annotated(physInt64, arrow.FixedWidthTypes.Time64ns, convNone)
	}
}

func (l *readLeaf) timestamp(unit format.TimeUnit, utc bool) {
	t := localMicros
	if utc {
		t = utcMicros
	}
	switch unit.Value.(type) {
	case *format.MilliSeconds:
		l.annotated(physInt64, t, convMillis)
	case *format.NanoSeconds:
		l.annotated(physInt64, t, convNanos)
	default:
		l.annotated(physInt64, t, convNone)
	}
}

func (l *readLeaf) decimal(precision, scale int32) error {
	if precision < 1 || precision > 38 || scale < 0 || scale > precision {
		return unsupportedf("column %q is decimal(%d,%d)", l.path, precision, scale)
	}
	t := &arrow.Decimal128Type{Precision: precision, Scale: scale}
	switch l.phys {
	case physInt32:
		l.typ, l.conv = t, convDec32
	case physInt64:
		l.typ, l.conv = t, convDec64
	case physFixed, physBytes:
		l.typ, l.conv = t, convDecBytes
	default:
		return corruptf("column %q is a decimal of type %s", l.path, physicalFormat[l.phys])
	}
	return nil
}

// converted maps the annotations of older files.
func (l *readLeaf) converted(el *format.SchemaElement) error {
	if !el.ConvertedType.Valid {
		return nil
	}
	milli, micro := format.TimeUnit{Value: &format.MilliSeconds{}}, format.TimeUnit{Value: &format.MicroSeconds{}}
	switch el.ConvertedType.V {
	case deprecated.UTF8, deprecated.Enum, deprecated.Json:
		l.text()
	case deprecated.Decimal:
		return l.decimal(el.Precision.V, el.Scale.V)
	case deprecated.Date:
		l.annotated(physInt32, arrow.FixedWidthTypes.Date32, convNone)
	case deprecated.TimeMillis:
		l.time(milli)
	case deprecated.TimeMicros:
		l.time(micro)
	case deprecated.TimestampMillis:
		l.timestamp(milli, true)
	case deprecated.TimestampMicros:
		l.timestamp(micro, true)
	case deprecated.Int8:
		l.integer(8, true)
	case deprecated.Int16:
		l.integer(16, true)
	case deprecated.Uint8:
		l.integer(8, false)
	case deprecated.Uint16:
		l.integer(16, false)
	case deprecated.Uint32:
		l.integer(32, false)
	case deprecated.Uint64:
		l.integer(64, false)
	}
	return nil
}

// mapNumbers writes f of each value of src, which is of type T, as a U.
func mapNumbers[T, U any](src []byte, f func(T) U) []byte {
	in := viewAs[T](src)
	out := make([]U, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return byteView(out)
}

// viewAs shows memory as values of another type; it was allocated in words.
func viewAs[T any](b []byte) []T {
	var t T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(t)))
}

// convert gives the n dense values in d in the memory layout of the Arrow
// type.
func (l *readLeaf) convert(d *dense) (vals []byte, err error) {
	switch l.conv {
	case convInt8:
		return mapNumbers(d.fixed, func(v int32) int8 { return int8(v) }), nil
	case convInt16:
		return mapNumbers(d.fixed, func(v int32) int16 { return int16(v) }), nil
	case convUint32:
		return mapNumbers(d.fixed, func(v int32) int64 { return int64(uint32(v)) }), nil
	case convUint64:
		return mapNumbers(d.fixed, func(v int64) decimal128.Num { return decimal128.New(0, uint64(v)) }), nil
	case convDec32:
		return mapNumbers(d.fixed, func(v int32) decimal128.Num { return decimal128.FromI64(int64(v)) }), nil
	case convDec64:
		return mapNumbers(d.fixed, decimal128.FromI64), nil
	case convDecBytes:
		return l.decimalsFromBytes(d)
	case convMillis:
		for _, v := range viewAs[int64](d.fixed) {
			if v > math.MaxInt64/1000 || v < math.MinInt64/1000 {
				return nil, unsupportedf("column %q: %d ms is no timestamp in microseconds", l.path, v)
			}
		}
		return mapNumbers(d.fixed, func(v int64) int64 { return v * 1000 }), nil
	case convNanos:
		return mapNumbers(d.fixed, func(v int64) int64 { return floorDiv(v, 1000) }), nil
	case convInt96:
		return l.timestampsFromInt96(d.fixed)
	case convHalf:
		out := make([]float32, len(d.fixed)/2)
		for i := range out {
			out[i] = float16.FromBits(binary.LittleEndian.Uint16(d.fixed[2*i:])).Float32()
		}
		return byteView(out), nil
	}
	return d.fixed, nil
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// julianEpoch is the Julian day of 1970-01-01.
const julianEpoch = 2440588

func (l *readLeaf) timestampsFromInt96(b []byte) ([]byte, error) {
	out := make([]int64, len(b)/12)
	for i := range out {
		v := b[12*i:]
		nanos := int64(binary.LittleEndian.Uint64(v))
		day := int64(int32(binary.LittleEndian.Uint32(v[8:]))) - julianEpoch
		const micros = 86_400_000_000
		if day > math.MaxInt64/micros-1 || day < math.MinInt64/micros+1 || nanos < 0 || nanos > micros*1000 {
			return nil, unsupportedf("column %q: day %d and %d ns is no timestamp in microseconds", l.path, day, nanos)
		}
		out[i] = day*micros + nanos/1000
	}
	return byteView(out), nil
}

func (l *readLeaf) decimalsFromBytes(d *dense) ([]byte, error) {
	n := d.n
	out := make([]decimal128.Num, n)
	for i := range n {
		var b []byte
		if l.phys == physFixed {
			b = d.fixed[i*l.width : (i+1)*l.width]
		} else {
			b = d.data[d.offsets[i]:d.offsets[i+1]]
		}
		v, ok := decimalFromBigEndian(b)
		if !ok {
			return nil, unsupportedf("column %q: decimal of %d bytes exceeds 128 bits", l.path, len(b))
		}
		out[i] = v
	}
	return byteView(out), nil
}
