package colfile

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// selection names values of an array: those at pos, or if that is nil the
// ones from lo up to hi. All of them are valid.
type selection struct {
	lo, hi int
	pos    []int32
}

func (s selection) len() int {
	if s.pos != nil {
		return len(s.pos)
	}
	return s.hi - s.lo
}

func (s selection) at(i int) int {
	if s.pos != nil {
		return int(s.pos[i])
	}
	return s.lo + i
}

// scratch is memory that the columns of a Writer use in turn.
type scratch struct {
	i32    []int32
	i64    []int64
	f32    []float32
	f64    []float64
	fixed  []byte
	pos    []int32
	levels []levels // by depth of the shredder
	page   []byte   // a page before compression
	packed []byte   // and after
	header []byte
}

// pick gathers the selected values, or shows them where they are.
func pick[T any](d []T, s selection, buf *[]T) []T {
	if s.pos == nil {
		return d[s.lo:s.hi]
	}
	if cap(*buf) < len(s.pos) {
		*buf = make([]T, max(len(s.pos), 1024))
	}
	out := (*buf)[:len(s.pos)]
	for i, p := range s.pos {
		out[i] = d[p]
	}
	return out
}

// widen gathers the selected values as another integer type.
func widen[T ~int8 | ~int16 | ~int32, U int32 | int64](d []T, s selection, buf *[]U) []U {
	n := s.len()
	if cap(*buf) < n {
		*buf = make([]U, max(n, 1024))
	}
	out := (*buf)[:n]
	if s.pos == nil {
		for i, v := range d[s.lo:s.hi] {
			out[i] = U(v)
		}
		return out
	}
	for i, p := range s.pos {
		out[i] = U(d[p])
	}
	return out
}

// appendValues adds the selected values of arr, whose type the writer has
// checked, to the open page.
func (l *leafWriter) appendValues(arr arrow.Array, sel selection, s *scratch) error {
	switch a := arr.(type) {
	case *array.Boolean:
		l.addBools(a, sel)
	case *array.Int8:
		addNumbers(l, widen(a.Int8Values(), sel, &s.i32), addInts[int32])
	case *array.Int16:
		addNumbers(l, widen(a.Int16Values(), sel, &s.i32), addInts[int32])
	case *array.Int32:
		addNumbers(l, pick(a.Int32Values(), sel, &s.i32), addInts[int32])
	case *array.Date32:
		addNumbers(l, pick(castSlice[int32](a.Date32Values()), sel, &s.i32), addInts[int32])
	case *array.Int64:
		addNumbers(l, pick(a.Int64Values(), sel, &s.i64), addInts[int64])
	case *array.Timestamp:
		addNumbers(l, pick(castSlice[int64](a.TimestampValues()), sel, &s.i64), addInts[int64])
	case *array.Float32:
		addNumbers(l, pick(a.Float32Values(), sel, &s.f32), addFloats[float32])
	case *array.Float64:
		addNumbers(l, pick(a.Float64Values(), sel, &s.f64), addFloats[float64])
	case *array.Decimal128:
		if err := l.addDecimals(a.Values(), sel, s); err != nil {
			return err
		}
	case *array.String:
		l.addBytes(byteArrays(a.Data()), sel, l.track != nil)
	case *array.Binary:
		l.addBytes(byteArrays(a.Data()), sel, false)
	default:
		return unsupportedf("array %T", arr)
	}
	l.nvals += sel.len()
	if l.nvals >= dictSample {
		l.judgeDict()
	}
	return nil
}

// castSlice shows a slice as one of another type of the same size.
func castSlice[U, T any](d []T) []U {
	return unsafe.Slice((*U)(unsafe.Pointer(unsafe.SliceData(d))), len(d))
}

// byteView shows a slice's memory, which is little-endian on all platforms
// that Arrow arrays come from.
func byteView[T any](d []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(d))), len(d)*int(unsafe.Sizeof(t)))
}

type number interface {
	int32 | int64 | float32 | float64
}

// bitsOf is the value's memory as a number.
func bitsOf[T number](v T) uint64 {
	if unsafe.Sizeof(v) == 4 {
		return uint64(*(*uint32)(unsafe.Pointer(&v)))
	}
	return *(*uint64)(unsafe.Pointer(&v))
}

// addNumbers adds values of a numeric type, with stats for their bounds.
func addNumbers[T number](l *leafWriter, d []T, stats func(*bounds, []T)) {
	if l.dict != nil {
		d = d[addToDict(l, d, stats):]
	}
	if l.track != nil {
		stats(&l.track.group, d)
	}
	l.vals = append(l.vals, byteView(d)...)
}

// addToDict adds values until the dictionary is full, and tells how many.
// Statistics need to see new entries only.
func addToDict[T number](l *leafWriter, d []T, stats func(*bounds, []T)) int {
	limit := min(dictMaxEntries, l.dictBytes/8)
	for i, v := range d {
		e, isNew := l.dict.number(bitsOf(v))
		l.idx = append(l.idx, e)
		if !isNew {
			continue
		}
		if l.track != nil {
			stats(&l.track.group, d[i:i+1])
		}
		if l.dict.len() >= limit {
			l.giveUpDict()
			return i + 1
		}
	}
	return len(d)
}

func (l *leafWriter) addBools(a *array.Boolean, sel selection) {
	n := sel.len()
	for i := range n {
		if l.bits&7 == 0 {
			l.vals = append(l.vals, 0)
		}
		if a.Value(sel.at(i)) {
			l.vals[l.bits>>3] |= 1 << (l.bits & 7)
		}
		l.bits++
	}
}

// addDecimals stores a decimal as its precision asks. A value of more digits
// than that would be another value when read, so it is refused.
func (l *leafWriter) addDecimals(d []decimal128.Num, sel selection, s *scratch) error {
	n := sel.len()
	for i := range n {
		if v := d[sel.at(i)]; !decimalFits(v, l.decimalMax) {
			return unsupportedf("decimal %s in a column of type %s", v.BigInt(), l.typ)
		}
	}
	switch l.phys {
	case physInt32:
		s.i32 = reserveNumbers(s.i32, n)
		for i := range n {
			s.i32[i] = int32(d[sel.at(i)].LowBits())
		}
		addNumbers(l, s.i32, addInts[int32])
	case physInt64:
		s.i64 = reserveNumbers(s.i64, n)
		for i := range n {
			s.i64[i] = int64(d[sel.at(i)].LowBits())
		}
		addNumbers(l, s.i64, addInts[int64])
	default:
		for i := range n {
			v := d[sel.at(i)]
			s.fixed = appendBigEndian(s.fixed[:0], v, l.width)
			isNew := l.addValue(s.fixed)
			if isNew && l.track != nil {
				l.track.group.addDecimal(v)
			}
		}
	}
	return nil
}

func reserveNumbers[T any](b []T, n int) []T {
	if cap(b) < n {
		return make([]T, n, max(n, 1024))
	}
	return b[:n]
}

// addValue adds one value of a byte array type; isNew says that the
// statistics may not have seen it.
func (l *leafWriter) addValue(v []byte) (isNew bool) {
	if l.dict != nil && len(v) >= l.dictBytes {
		l.giveUpDict()
	}
	if l.dict == nil {
		l.vals = l.appendBytesValue(l.vals, v)
		return true
	}
	e, isNew := l.dict.bytes(v)
	l.idx = append(l.idx, e)
	if isNew && (len(l.dict.data) >= l.dictBytes || l.dict.len() >= dictMaxEntries) {
		l.giveUpDict()
	}
	return isNew
}

// byteArray is the memory of a string or binary array.
type byteArray struct {
	offsets []int32
	data    []byte
}

func byteArrays(d arrow.ArrayData) byteArray {
	var b byteArray
	bufs := d.Buffers()
	if d.Len() > 0 {
		b.offsets = arrow.Int32Traits.CastFromBytes(bufs[1].Bytes())[d.Offset() : d.Offset()+d.Len()+1]
	}
	if bufs[2] != nil {
		b.data = bufs[2].Bytes()
	}
	return b
}

func (b byteArray) value(i int) []byte { return b.data[b.offsets[i]:b.offsets[i+1]] }

func (l *leafWriter) addBytes(b byteArray, sel selection, stats bool) {
	for i, n := 0, sel.len(); i < n; i++ {
		v := b.value(sel.at(i))
		if l.addValue(v) && stats {
			l.track.group.addString(v)
		}
	}
}
