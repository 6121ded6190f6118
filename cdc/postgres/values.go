package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

var (
	errUTF8   = errors.New("the text is not valid UTF-8")
	errFormat = errors.New("not a value that PostgreSQL prints for this type")
)

func lengthError(have, want int) error {
	return fmt.Errorf("the binary value has %d bytes where %d are expected", have, want)
}

// native is the byte order of Arrow arrays in memory.
var native = binary.NativeEndian

// errUnheld says that a value cannot be held by its column's type. It is no
// failure: the value becomes exact text, or what the column's policy says.
var errUnheld = errors.New("the lake's type cannot hold the value")

// appendBinary puts a value that arrived in PostgreSQL's binary format into a
// column of the row that is being made. v is not kept.
func (b *batchBuilder) appendBinary(col int, v []byte) error {
	c := &b.cols[col]
	if c.composed() {
		c.mark()
	}
	err := b.putBinary(c, b.n, v)
	if err == nil {
		return nil
	}
	if errors.Is(err, errUnheld) {
		c.rollback()
		if err = b.exactBinary(col, v); err == nil {
			return nil
		}
	}
	return b.valueError(col, "binary", v, err)
}

// exactBinary puts the exact text of a binary value.
func (b *batchBuilder) exactBinary(col int, v []byte) error {
	c := &b.cols[col]
	if c.text == nil {
		return errNoText
	}
	var err error
	if b.scratch, err = c.text(b.scratch[:0], v); err != nil {
		return err
	}
	if !utf8.Valid(b.scratch) {
		return errUTF8
	}
	b.appendExact(col, string(b.scratch))
	return nil
}

var errNoText = errors.New("no exact text can be made from this type's binary format")

// putBinary decodes a value into the row of a column, which may be a part of
// another. It gives errUnheld where the column's type cannot hold it; what has
// been put into columns below is then taken back by the caller.
func (b *batchBuilder) putBinary(c *column, row int, v []byte) error {
	switch c.kind {
	case kindUTF8:
		return b.putText(c, row, v)
	case kindInt32:
		if len(v) != 4 {
			return lengthError(len(v), 4)
		}
		native.PutUint32(c.fixed[row*4:], binary.BigEndian.Uint32(v))
		c.setValid(row)
	case kindInt64:
		if len(v) != 8 {
			return lengthError(len(v), 8)
		}
		native.PutUint64(c.fixed[row*8:], binary.BigEndian.Uint64(v))
		c.setValid(row)
	case kindTimestamp, kindTimestamptz:
		if len(v) != 8 {
			return lengthError(len(v), 8)
		}
		return c.putTimestamp(row, int64(binary.BigEndian.Uint64(v)))
	case kindDecimal:
		return b.putNumericBinary(c, row, v)
	case kindBytes, kindWKB:
		b.varBytes += int64(len(v))
		return c.putBytes(row, v)
	default:
		return b.putBinaryOther(c, row, v)
	}
	return nil
}

// putBinaryOther is putBinary for the less frequent kinds.
func (b *batchBuilder) putBinaryOther(c *column, row int, v []byte) error {
	switch c.kind {
	case kindBool:
		if len(v) != 1 {
			return lengthError(len(v), 1)
		}
		c.setBool(row, v[0] != 0)
	case kindInt16:
		if len(v) != 2 {
			return lengthError(len(v), 2)
		}
		native.PutUint16(c.fixed[row*2:], binary.BigEndian.Uint16(v))
		c.setValid(row)
	case kindFloat32:
		if len(v) != 4 {
			return lengthError(len(v), 4)
		}
		c.setFloat32(row, math.Float32frombits(binary.BigEndian.Uint32(v)))
	case kindFloat64:
		if len(v) != 8 {
			return lengthError(len(v), 8)
		}
		c.setFloat64(row, math.Float64frombits(binary.BigEndian.Uint64(v)))
	case kindDate:
		if len(v) != 4 {
			return lengthError(len(v), 4)
		}
		return c.putDate(row, int32(binary.BigEndian.Uint32(v)))
	case kindUint32:
		if len(v) != 4 {
			return lengthError(len(v), 4)
		}
		native.PutUint64(c.fixed[row*8:], uint64(binary.BigEndian.Uint32(v)))
		c.setValid(row)
	case kindUint64:
		if len(v) != 8 {
			return lengthError(len(v), 8)
		}
		c.putDecimal(row, false, uint128{lo: binary.BigEndian.Uint64(v)})
	default:
		if c.composed() {
			return b.putComposedBinary(c, row, v)
		}
		return b.putPrinted(c, row, v)
	}
	return nil
}

// putPrinted stores the text of a binary value.
func (b *batchBuilder) putPrinted(c *column, row int, v []byte) error {
	switch c.kind {
	case kindUUID:
		if len(v) != 16 {
			return lengthError(len(v), 16)
		}
		b.varBytes += uuidText
		dst, err := c.extend(row, uuidText)
		if err == nil {
			formatUUID((*[uuidText]byte)(dst), v)
		}
		return err
	case kindChar:
		if len(v) != 1 {
			return lengthError(len(v), 1)
		}
		b.scratch = appendCharText(b.scratch[:0], v)
		return b.putText(c, row, b.scratch)
	case kindJSONB:
		if len(v) < 1 || v[0] != 1 {
			return errVersion
		}
		return b.putText(c, row, v[1:])
	case kindText:
		if c.text == nil {
			return errNoText
		}
		var err error
		if b.scratch, err = c.text(b.scratch[:0], v); err != nil {
			return err
		}
		return b.putText(c, row, b.scratch)
	}
	return fmt.Errorf("unknown kind %d of column", c.kind)
}

// putText stores text, which must be UTF-8.
func (b *batchBuilder) putText(c *column, row int, v []byte) error {
	if !utf8.Valid(v) {
		return errUTF8
	}
	b.varBytes += int64(len(v))
	return c.putBytes(row, v)
}

func (c *column) setBool(row int, v bool) {
	if v {
		c.fixed[row>>3] |= 1 << (row & 7)
	}
	c.setValid(row)
}

// setFloat32 and setFloat64 store every NaN as the one that its text gives.
func (c *column) setFloat32(row int, f float32) {
	if f != f {
		f = float32(math.NaN())
	}
	native.PutUint32(c.fixed[row*4:], math.Float32bits(f))
	c.setValid(row)
}

func (c *column) setFloat64(row int, f float64) {
	if f != f {
		f = math.NaN()
	}
	native.PutUint64(c.fixed[row*8:], math.Float64bits(f))
	c.setValid(row)
}

const hexDigits = "0123456789abcdef"

// uuidText is the length of a UUID's text.
const uuidText = 36

// formatUUID writes the text of a UUID of 16 bytes.
func formatUUID(dst *[uuidText]byte, v []byte) {
	_ = v[15]
	putHex(dst[0:8], v[0:4])
	dst[8] = '-'
	mid := [8]byte{}
	putHex(mid[:], v[4:8])
	copy(dst[9:13], mid[:4])
	dst[13] = '-'
	copy(dst[14:18], mid[4:])
	dst[18] = '-'
	putHex(mid[:], v[8:12])
	copy(dst[19:23], mid[:4])
	dst[23] = '-'
	copy(dst[24:28], mid[4:])
	putHex(dst[28:36], v[12:16])
}

// putHex writes the eight digits of four bytes, all at a time: each digit in a
// byte of its own, and 'a'-'0'-10 more for those above 9.
func putHex(dst, v []byte) {
	x := uint64(binary.BigEndian.Uint32(v))
	x = (x<<16 | x) & 0x0000ffff0000ffff
	x = (x<<8 | x) & 0x00ff00ff00ff00ff
	x = (x<<4 | x) & 0x0f0f0f0f0f0f0f0f
	above := (x + 0x0606060606060606) >> 4 & 0x0101010101010101
	binary.BigEndian.PutUint64(dst, x+0x3030303030303030+above*('a'-'0'-10))
}
