package variant

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// Builder makes a variant's value: one call of a method that adds a value, or
// an object or array with the values inside in the order of their fields. The
// names of fields are numbers of the metadata's dictionary, which the caller
// has. The zero value is ready. It is used by one goroutine.
//
// Numbers take the least room, as Spark has them: the format does not tell an
// int8 from an int64 of the same value.
type Builder struct {
	buf    []byte
	fields []Field // of all open objects and arrays
}

// Field is a member of an object, or an element of an array.
type Field struct {
	ID    int    // number of the name in the dictionary; 0 in an array
	Name  []byte // as the dictionary has it; nil in an array
	start int
}

// Reset begins a new value, which is appended to dst.
func (b *Builder) Reset(dst []byte) { b.buf, b.fields = dst, b.fields[:0] }

// Bytes is the value made so far, behind what Reset got.
func (b *Builder) Bytes() []byte { return b.buf }

func (b *Builder) head(p primitive) { b.buf = append(b.buf, byte(p)<<2) }

// Null adds the null value.
func (b *Builder) Null() { b.head(primNull) }

// Bool adds a boolean.
func (b *Builder) Bool(v bool) {
	if v {
		b.head(primTrue)
	} else {
		b.head(primFalse)
	}
}

// Int adds an integer.
func (b *Builder) Int(v int64) {
	switch {
	case v == int64(int8(v)):
		b.head(primInt8)
		b.buf = append(b.buf, byte(v))
	case v == int64(int16(v)):
		b.head(primInt16)
		b.buf = binary.LittleEndian.AppendUint16(b.buf, uint16(v))
	case v == int64(int32(v)):
		b.head(primInt32)
		b.buf = binary.LittleEndian.AppendUint32(b.buf, uint32(v))
	default:
		b.int64(primInt64, v)
	}
}

func (b *Builder) int64(p primitive, v int64) {
	b.head(p)
	b.buf = binary.LittleEndian.AppendUint64(b.buf, uint64(v))
}

// Float adds a 4-byte float.
func (b *Builder) Float(v float32) {
	b.head(primFloat)
	b.buf = binary.LittleEndian.AppendUint32(b.buf, math.Float32bits(v))
}

// Double adds an 8-byte float.
func (b *Builder) Double(v float64) { b.int64(primDouble, int64(math.Float64bits(v))) }

// Decimal adds v over ten to the scale, 0 <= scale <= 38.
func (b *Builder) Decimal(v decimal128.Num, scale int) {
	fits := func(digits int) bool {
		return scale <= digits && v.Abs().Less(decimal128.GetScaleMultiplier(digits))
	}
	switch {
	case fits(9):
		b.head(primDecimal4)
		b.buf = binary.LittleEndian.AppendUint32(append(b.buf, byte(scale)), uint32(v.LowBits()))
	case fits(18):
		b.head(primDecimal8)
		b.buf = binary.LittleEndian.AppendUint64(append(b.buf, byte(scale)), v.LowBits())
	default:
		b.head(primDecimal16)
		b.buf = binary.LittleEndian.AppendUint64(append(b.buf, byte(scale)), v.LowBits())
		b.buf = binary.LittleEndian.AppendUint64(b.buf, uint64(v.HighBits()))
	}
}

// Date adds days since 1970-01-01.
func (b *Builder) Date(days int32) {
	b.head(primDate)
	b.buf = binary.LittleEndian.AppendUint32(b.buf, uint32(days))
}

// Time adds a time of the day in microseconds.
func (b *Builder) Time(micros int64) { b.int64(primTime, micros) }

// Timestamp adds microseconds since 1970: of an instant, or of a local time.
func (b *Builder) Timestamp(micros int64, instant bool) {
	if instant {
		b.int64(primTimestamp, micros)
	} else {
		b.int64(primTimestampNTZ, micros)
	}
}

// TimestampNanos adds nanoseconds since 1970: of an instant, or of a local
// time.
func (b *Builder) TimestampNanos(nanos int64, instant bool) {
	if instant {
		b.int64(primTimestampNanos, nanos)
	} else {
		b.int64(primTimestampNTZNanos, nanos)
	}
}

// String adds a text of less than 4 GiB.
func (b *Builder) String(v string) {
	if len(v) < 64 {
		b.buf = append(append(b.buf, byte(len(v))<<2|basicShortString), v...)
		return
	}
	b.head(primString)
	b.buf = append(binary.LittleEndian.AppendUint32(b.buf, uint32(len(v))), v...)
}

// Binary adds bytes, fewer than 4 GiB.
func (b *Builder) Binary(v []byte) {
	b.head(primBinary)
	b.buf = append(binary.LittleEndian.AppendUint32(b.buf, uint32(len(v))), v...)
}

// UUID adds a UUID of 16 bytes.
func (b *Builder) UUID(v []byte) {
	b.head(primUUID)
	b.buf = append(b.buf, v...)
}

// Value adds a value that is encoded already, with the same metadata.
func (b *Builder) Value(v []byte) { b.buf = append(b.buf, v...) }

// Open begins an object or an array. The mark goes to the method that ends it.
func (b *Builder) Open() Mark { return Mark{at: len(b.buf), fields: len(b.fields)} }

// Mark is where an object or array begins.
type Mark struct{ at, fields int }

// Element begins a value of an array.
func (b *Builder) Element(m Mark) { b.fields = append(b.fields, Field{start: len(b.buf) - m.at}) }

// Member begins a value of an object. name is kept until the object ends.
func (b *Builder) Member(m Mark, id int, name []byte) {
	b.fields = append(b.fields, Field{ID: id, Name: name, start: len(b.buf) - m.at})
}

// CloseArray ends an array.
func (b *Builder) CloseArray(m Mark) {
	elements := b.fields[m.fields:]
	large, size := len(elements) > 255, len(b.buf)-m.at
	width := widthOf(size)
	head := make([]byte, 0, 16+width*(len(elements)+1))
	head = append(head, byte(width-1)<<2|basicArray)
	if large {
		head[0] |= 1 << 4
	}
	head = appendCount(head, len(elements), large)
	for _, e := range elements {
		head = appendUnsigned(head, e.start, width)
	}
	b.close(m, appendUnsigned(head, size, width))
}

// CloseObject ends an object. Two members of the same name are an error.
func (b *Builder) CloseObject(m Mark) error {
	members := b.fields[m.fields:]
	slices.SortFunc(members, func(x, y Field) int { return bytes.Compare(x.Name, y.Name) })
	maxID := 0
	for i, f := range members {
		maxID = max(maxID, f.ID)
		if i > 0 && bytes.Equal(f.Name, members[i-1].Name) {
			return corruptf("two fields of the name %q in an object", f.Name)
		}
	}
	large, size := len(members) > 255, len(b.buf)-m.at
	idWidth, width := widthOf(maxID), widthOf(size)
	head := make([]byte, 0, 16+(idWidth+width)*(len(members)+1))
	head = append(head, byte(idWidth-1)<<4|byte(width-1)<<2|basicObject)
	if large {
		head[0] |= 1 << 6
	}
	head = appendCount(head, len(members), large)
	for _, f := range members {
		head = appendUnsigned(head, f.ID, idWidth)
	}
	for _, f := range members {
		head = appendUnsigned(head, f.start, width)
	}
	b.close(m, appendUnsigned(head, size, width))
	return nil
}

// close puts the head in front of the values.
func (b *Builder) close(m Mark, head []byte) {
	b.buf = slices.Insert(b.buf, m.at, head...)
	b.fields = b.fields[:m.fields]
}

func widthOf(v int) int {
	w := 1
	for v > 255 {
		v >>= 8
		w++
	}
	return w
}

func appendCount(b []byte, n int, large bool) []byte {
	if large {
		return binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return append(b, byte(n))
}

func appendUnsigned(b []byte, v, width int) []byte {
	for range width {
		b = append(b, byte(v))
		v >>= 8
	}
	return b
}

// Fields calls fn for each member of an object, with its value's bytes alone.
// A value that is no object is an error, and so is one that Check refuses.
func (d *Dict) Fields(value []byte, fn func(id int, name, value []byte) error) error {
	if len(value) == 0 || value[0]&3 != basicObject {
		return corruptf("no object where one is to be")
	}
	if _, err := d.size(value, 0); err != nil {
		return err
	}
	c, err := openContainer(value)
	if err != nil {
		return err
	}
	for i := range c.n {
		at := c.offset(i)
		n, err := d.size(c.values[at:c.offset(c.n)], 1)
		if err != nil {
			return err
		}
		if v := c.values[at : at+n]; n == 1 && v[0]&3 == basicPrimitive && primitive(v[0]>>2) >= primitives {
			return ErrUnknownType // where it ends is not known
		}
		if err := fn(c.id(i), d.Name(c.id(i)), c.values[at:at+n]); err != nil {
			return err
		}
	}
	return nil
}

// Check is the package's Check of a value with this dictionary.
func (d *Dict) Check(value []byte) error {
	_, err := d.size(value, 0)
	return err
}
