package postgres

import (
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// appendText puts a value that arrived as PostgreSQL's text into a column of
// the row that is being made. v is not kept.
func (b *batchBuilder) appendText(col int, v []byte) error {
	c := &b.cols[col]
	if c.composed() {
		c.mark()
	}
	err := b.putTextual(c, b.n, v)
	if err == nil {
		return nil
	}
	if errors.Is(err, errUnheld) {
		c.rollback()
		if utf8.Valid(v) {
			b.appendExact(col, string(v))
			return nil
		}
		err = errUTF8
	}
	return b.valueError(col, "text", v, err)
}

// putTextual is putBinary for PostgreSQL's text.
func (b *batchBuilder) putTextual(c *column, row int, v []byte) error {
	switch c.kind {
	case kindText, kindUTF8, kindJSONB:
		return b.putText(c, row, v)
	case kindInt16:
		n, err := parseInt(v, math.MinInt16, math.MaxInt16)
		if err != nil {
			return err
		}
		native.PutUint16(c.fixed[row*2:], uint16(n))
		c.setValid(row)
	case kindInt32:
		n, err := parseInt(v, math.MinInt32, math.MaxInt32)
		if err != nil {
			return err
		}
		native.PutUint32(c.fixed[row*4:], uint32(n))
		c.setValid(row)
	case kindInt64:
		n, err := parseInt(v, math.MinInt64, math.MaxInt64)
		if err != nil {
			return err
		}
		native.PutUint64(c.fixed[row*8:], uint64(n))
		c.setValid(row)
	case kindDecimal:
		return b.putNumericText(c, row, v)
	case kindTimestamp, kindTimestamptz:
		return c.putTimestampText(row, v)
	default:
		if c.composed() {
			return b.putComposedText(c, row, v)
		}
		return b.putTextualOther(c, row, v)
	}
	return nil
}

// putTextualOther is putTextual for the less frequent kinds.
func (b *batchBuilder) putTextualOther(c *column, row int, v []byte) error {
	switch c.kind {
	case kindBool:
		if len(v) != 1 || v[0] != 't' && v[0] != 'f' {
			return errFormat
		}
		c.setBool(row, v[0] == 't')
	case kindFloat32:
		f, err := parseFloat(v, 32)
		if err != nil {
			return err
		}
		c.setFloat32(row, float32(f))
	case kindFloat64:
		f, err := parseFloat(v, 64)
		if err != nil {
			return err
		}
		c.setFloat64(row, f)
	case kindUint32:
		n, err := parseInt(v, 0, math.MaxUint32)
		if err != nil {
			return err
		}
		native.PutUint64(c.fixed[row*8:], uint64(n))
		c.setValid(row)
	case kindUint64:
		neg, u, fits, err := parseDecimal(v, 0)
		if err != nil || neg || !fits || u.hi != 0 {
			return errFormat
		}
		c.putDecimal(row, false, u)
	case kindDate:
		return c.putDateText(row, v)
	case kindUUID:
		if len(v) != uuidText {
			return errFormat
		}
		return b.putText(c, row, v)
	case kindBytes:
		if len(v) < 2 || v[0] != '\\' || v[1] != 'x' {
			return errFormat
		}
		return b.putHex(c, row, v[2:])
	case kindWKB:
		return b.putHex(c, row, v)
	case kindChar:
		b.scratch = appendCharText(b.scratch[:0], v)
		return b.putText(c, row, b.scratch)
	default:
		return errors.New("unknown kind of column")
	}
	return nil
}

// parseInt reads a decimal integer between lo and hi.
func parseInt(v []byte, lo, hi int64) (int64, error) {
	neg := len(v) > 0 && v[0] == '-'
	digits := v
	if neg {
		digits = v[1:]
	}
	if len(digits) == 0 || len(digits) > 19 {
		return 0, errFormat
	}
	var u uint64
	for _, ch := range digits {
		d := ch - '0'
		if d > 9 {
			return 0, errFormat
		}
		u = u*10 + uint64(d)
	}
	switch {
	case neg && u <= 1<<63:
		if n := -int64(u); n >= lo {
			return n, nil
		}
	case !neg && u <= uint64(hi):
		return int64(u), nil
	}
	return 0, errFormat
}

// parseFloat reads what PostgreSQL prints with extra_float_digits of 1 or
// more, which is exact.
func parseFloat(v []byte, size int) (float64, error) {
	switch string(v) {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	for _, ch := range v { // what Go reads but PostgreSQL never prints
		if (ch < '0' || ch > '9') && ch != '.' && ch != '-' && ch != '+' && ch != 'e' {
			return 0, errFormat
		}
	}
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(v), len(v)), size)
	if err != nil {
		return 0, errFormat
	}
	return f, nil
}

// putHex stores the bytes that hexadecimal digits stand for. (bytea is printed
// so because every connection of this package asks for that.)
func (b *batchBuilder) putHex(c *column, row int, v []byte) error {
	n := hex.DecodedLen(len(v))
	before := c.used
	dst, err := c.extend(row, n)
	if err != nil {
		return err
	}
	if _, err := hex.Decode(dst, v); err != nil {
		c.used = before
		return errFormat
	}
	b.varBytes += int64(n)
	return nil
}

// appendCharText appends the text of a "char" (with the quotes, oid 18), one
// byte of any value, as PostgreSQL 16 and later print it: older servers give
// bytes above 127 as they are, which is not UTF-8.
func appendCharText(dst, v []byte) []byte {
	if len(v) == 1 && v[0] >= 0x80 {
		return append(dst, '\\', '0'+v[0]>>6, '0'+v[0]>>3&7, '0'+v[0]&7)
	}
	if len(v) == 1 && v[0] == 0 {
		return dst
	}
	return append(dst, v...)
}
