package postgres

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// The signs of numeric's binary format.
const (
	numericPos  = 0x0000
	numericNeg  = 0x4000
	numericNaN  = 0xC000
	numericPInf = 0xD000
	numericNInf = 0xF000
)

// The widest numeric that PostgreSQL makes.
const (
	maxNumericDigits = 131072/4 + 16384/4 + 2 // groups of four digits
	maxNumericScale  = 16383
)

// numericValue is a numeric as it is sent: groups of four decimal digits, the
// first of which counts 10000^weight, and the number of digits to print after
// the point.
type numericValue struct {
	groups []byte // two bytes each, big endian
	weight int
	sign   uint16
	scale  int
}

func parseNumeric(v []byte) (numericValue, error) {
	if len(v) < 8 {
		return numericValue{}, lengthError(len(v), 8)
	}
	n := int(binary.BigEndian.Uint16(v))
	x := numericValue{
		groups: v[8:],
		weight: int(int16(binary.BigEndian.Uint16(v[2:]))),
		sign:   binary.BigEndian.Uint16(v[4:]),
		scale:  int(binary.BigEndian.Uint16(v[6:])),
	}
	if len(x.groups) != 2*n {
		return x, lengthError(len(v), 8+2*n)
	}
	switch x.sign {
	case numericPos, numericNeg:
	case numericNaN, numericPInf, numericNInf:
		return x, nil
	default:
		return x, errors.New("unknown sign in numeric's binary format")
	}
	if n > maxNumericDigits || x.scale > maxNumericScale {
		return x, errors.New("numeric with more digits than PostgreSQL can make")
	}
	for i := 0; i < len(x.groups); i += 2 {
		if binary.BigEndian.Uint16(x.groups[i:]) > 9999 {
			return x, errors.New("a digit above 9999 in numeric's binary format")
		}
	}
	return x, nil
}

// group gives the four digits that count 10000^pos.
func (x *numericValue) group(pos int) uint64 {
	i := 2 * (x.weight - pos)
	if i < 0 || i >= len(x.groups) {
		return 0
	}
	return uint64(binary.BigEndian.Uint16(x.groups[i:]))
}

// textNumeric appends what numeric's output function prints.
func textNumeric(dst, v []byte) ([]byte, error) {
	x, err := parseNumeric(v)
	if err != nil {
		return dst, err
	}
	return x.appendText(dst), nil
}

func (x *numericValue) appendText(dst []byte) []byte {
	switch x.sign {
	case numericNaN:
		return append(dst, "NaN"...)
	case numericPInf:
		return append(dst, "Infinity"...)
	case numericNInf:
		return append(dst, "-Infinity"...)
	case numericNeg:
		dst = append(dst, '-')
	}
	start := len(dst)
	for pos := x.weight; pos >= 0; pos-- {
		dst = appendFour(dst, x.group(pos))
	}
	lead := start
	for lead < len(dst)-1 && dst[lead] == '0' {
		lead++
	}
	dst = append(dst[:start], dst[lead:]...)
	if len(dst) == start {
		dst = append(dst, '0')
	}
	if x.scale == 0 {
		return dst
	}
	dst = append(dst, '.')
	end := len(dst) + x.scale
	for pos := -1; len(dst) < end; pos-- {
		dst = appendFour(dst, x.group(pos))
	}
	return dst[:end]
}

func appendFour(dst []byte, g uint64) []byte {
	return append(dst, byte('0'+g/1000), byte('0'+g/100%10), byte('0'+g/10%10), byte('0'+g%10))
}

// uint128 is the magnitude of a decimal.
type uint128 struct{ hi, lo uint64 }

// mulAdd gives u*m + a; not ok where that exceeds 128 bits.
func (u uint128) mulAdd(m, a uint64) (uint128, bool) {
	over, hi := bits.Mul64(u.hi, m)
	carry, lo := bits.Mul64(u.lo, m)
	lo, c := bits.Add64(lo, a, 0)
	carry += c
	hi, c = bits.Add64(hi, carry, 0)
	return uint128{hi, lo}, over == 0 && c == 0
}

func (u uint128) less(v uint128) bool { return u.hi < v.hi || u.hi == v.hi && u.lo < v.lo }

// pow10 holds 10^0 to 10^38.
var pow10 = func() (p [maxDecimalPrecision + 1]uint128) {
	p[0] = uint128{0, 1}
	for i := 1; i < len(p); i++ {
		p[i], _ = p[i-1].mulAdd(10, 0)
	}
	return p
}()

// putDecimal stores a decimal of the column's scale, if the column's precision
// has room for it.
func (c *column) putDecimal(row int, neg bool, u uint128) bool {
	if !u.less(pow10[c.precision]) {
		return false
	}
	if neg {
		var borrow uint64
		u.lo, borrow = bits.Sub64(0, u.lo, 0)
		u.hi, _ = bits.Sub64(0, u.hi, borrow)
	}
	if littleEndian {
		native.PutUint64(c.fixed[row*16:], u.lo)
		native.PutUint64(c.fixed[row*16+8:], u.hi)
	} else {
		native.PutUint64(c.fixed[row*16:], u.hi)
		native.PutUint64(c.fixed[row*16+8:], u.lo)
	}
	c.setValid(row)
	return true
}

var littleEndian = native.Uint16([]byte{1, 0}) == 1

// putNumericBinary stores a binary numeric as decimal.
func (b *batchBuilder) putNumericBinary(c *column, row int, v []byte) error {
	x, err := parseNumeric(v)
	if err != nil {
		return err
	}
	if u, ok := x.unscaled(int(c.scale)); ok && c.putDecimal(row, x.sign == numericNeg, u) {
		return nil
	}
	if c.policy != PolicyClamp {
		return errUnheld
	}
	b.scratch = x.appendText(b.scratch[:0])
	c.clampDecimal(row, b.scratch)
	return nil
}

// unscaled gives the magnitude times 10^scale; not ok for what is no number,
// has digits beyond the scale, or is far too large.
func (x *numericValue) unscaled(scale int) (u uint128, ok bool) {
	if x.sign != numericPos && x.sign != numericNeg {
		return u, false
	}
	ok = true
	for pos := x.weight; pos >= 0 && ok; pos-- {
		u, ok = u.mulAdd(10000, x.group(pos))
	}
	pos := -1
	for left := scale; left > 0 && ok; left -= 4 {
		g, take := x.group(pos), min(left, 4)
		cut := pow10[4-take].lo
		if g%cut != 0 {
			return u, false
		}
		u, ok = u.mulAdd(pow10[take].lo, g/cut)
		pos--
	}
	return u, ok && !x.nonZeroFrom(pos)
}

// nonZeroFrom reports whether a digit other than zero stands at 10000^pos or
// further right.
func (x *numericValue) nonZeroFrom(pos int) bool {
	for i := max(0, 2*(x.weight-pos)); i < len(x.groups); i++ {
		if x.groups[i] != 0 {
			return true
		}
	}
	return false
}

// putNumericText is putNumericBinary for what numeric's output function prints.
func (b *batchBuilder) putNumericText(c *column, row int, v []byte) error {
	neg, u, fits, err := parseDecimal(v, int(c.scale))
	if err != nil {
		return err
	}
	if fits && c.putDecimal(row, neg, u) {
		return nil
	}
	if c.policy != PolicyClamp {
		return errUnheld
	}
	c.clampDecimal(row, v)
	return nil
}

// parseDecimal reads the text of a numeric as a magnitude times 10^scale. It
// does not fit where that is no whole number or exceeds 128 bits.
func parseDecimal(v []byte, scale int) (neg bool, u uint128, fits bool, err error) {
	switch string(v) {
	case "NaN", "Infinity", "-Infinity":
		return false, u, false, nil
	}
	if len(v) > 0 && v[0] == '-' {
		neg, v = true, v[1:]
	}
	fits = true
	digits, fraction := 0, -1 // -1: before the point
	for _, ch := range v {
		if ch == '.' && fraction < 0 && digits > 0 {
			fraction = 0
			continue
		}
		d := ch - '0'
		if d > 9 {
			return neg, u, false, errFormat
		}
		digits++
		if fraction >= 0 {
			fraction++
		}
		var ok bool
		switch {
		case !fits:
		case fraction > scale:
			fits = d == 0
		default:
			u, ok = u.mulAdd(10, uint64(d))
			fits = ok
		}
	}
	if digits == 0 || fraction == 0 {
		return neg, u, false, errFormat
	}
	for i := max(fraction, 0); i < scale && fits; i++ {
		u, fits = u.mulAdd(10, 0)
	}
	return neg, u, fits, nil
}
