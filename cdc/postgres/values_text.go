package postgres

import (
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"unsafe"
)

// appendText puts a value that arrived as PostgreSQL's text into a column of
// the row that is being made. v is not kept.
func (b *batchBuilder) appendText(col int, v []byte) error {
	c, row := &b.cols[col], b.n
	var err error
	switch c.kind {
	case kindText, kindUTF8, kindJSONB:
		return b.putText(col, v)
	case kindInt16:
		var n int64
		if n, err = parseInt(v, math.MinInt16, math.MaxInt16); err == nil {
			native.PutUint16(c.fixed[row*2:], uint16(n))
			c.setValid(row)
		}
	case kindInt32:
		var n int64
		if n, err = parseInt(v, math.MinInt32, math.MaxInt32); err == nil {
			native.PutUint32(c.fixed[row*4:], uint32(n))
			c.setValid(row)
		}
	case kindInt64:
		var n int64
		if n, err = parseInt(v, math.MinInt64, math.MaxInt64); err == nil {
			native.PutUint64(c.fixed[row*8:], uint64(n))
			c.setValid(row)
		}
	case kindDecimal:
		err = b.putNumericText(col, v)
	case kindTimestamp, kindTimestamptz:
		err = b.putTimestampText(col, v)
	default:
		err = b.appendTextOther(col, v)
	}
	if err != nil {
		return b.valueError(col, "text", v, err)
	}
	return nil
}

// appendTextOther is appendText for the less frequent kinds.
func (b *batchBuilder) appendTextOther(col int, v []byte) error {
	c, row := &b.cols[col], b.n
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
	case kindDate:
		return b.putDateText(col, v)
	case kindUUID:
		if len(v) != 36 {
			return errFormat
		}
		return b.putText(col, v)
	case kindBytes:
		return b.putByteaText(col, v)
	case kindChar:
		b.scratch = appendCharText(b.scratch[:0], v)
		return b.putText(col, b.scratch)
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

// putByteaText stores bytea of the hex output format, which every connection
// of this package asks for.
func (b *batchBuilder) putByteaText(col int, v []byte) error {
	if len(v) < 2 || v[0] != '\\' || v[1] != 'x' {
		return errFormat
	}
	n := hex.DecodedLen(len(v) - 2)
	if cap(b.scratch) < n {
		b.scratch = make([]byte, n)
	}
	b.scratch = b.scratch[:n]
	if _, err := hex.Decode(b.scratch, v[2:]); err != nil {
		return errFormat
	}
	b.varBytes += int64(n)
	return b.cols[col].putBytes(b.n, b.scratch)
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
