package postgres

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/lakeload/lakeload/cdc"
)

// tuple puts the values at the start of p, one for each column, into the row
// that is being made. What the new row of an update leaves out is taken from
// before, if it is there.
//
// This is the walk that every value of a stream takes, so the kinds that are
// frequent, and of a fixed size, are stored right here. They are stored as
// appendBinary and appendText store them: TestTupleIsAppend holds the two
// together.
func (b *batchBuilder) tuple(p []byte, op cdc.Op, before []value) (rest []byte, err error) {
	row := b.n
	for i := range b.cols {
		if len(p) < 5 || p[0] != valueBinary && p[0] != valueText {
			if p, err = b.noValue(i, p, op, before); err != nil {
				return nil, err
			}
			continue
		}
		form, size := p[0], int64(binary.BigEndian.Uint32(p[1:]))
		p = p[5:]
		if size > int64(len(p)) {
			return nil, errShort
		}
		v := p[:size:size]
		p = p[size:]
		c := &b.cols[i]
		if form == valueText {
			if !b.quickText(c, row, v) {
				err = b.appendText(i, v)
			}
		} else if !b.quickBinary(c, row, v) {
			err = b.appendBinary(i, v)
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// quickBinary stores a binary value of a frequent kind, and says whether it
// has: what is not as usual is for appendBinary.
func (b *batchBuilder) quickBinary(c *column, row int, v []byte) bool {
	switch c.kind {
	case kindInt64:
		if len(v) == 8 {
			native.PutUint64(c.fixed[row*8:], binary.BigEndian.Uint64(v))
			c.setValid(row)
			return true
		}
	case kindInt32:
		if len(v) == 4 {
			native.PutUint32(c.fixed[row*4:], binary.BigEndian.Uint32(v))
			c.setValid(row)
			return true
		}
	case kindTimestamp, kindTimestamptz:
		if len(v) == 8 {
			pg := int64(binary.BigEndian.Uint64(v))
			if micros := pg + epochMicros; micros >= minMicros && micros <= maxMicros && pg < math.MaxInt64-epochMicros {
				native.PutUint64(c.fixed[row*8:], uint64(micros))
				c.setValid(row)
				return true
			}
		}
	case kindUTF8:
		return b.quickString(c, row, v)
	case kindBool:
		if len(v) == 1 {
			c.setBool(row, v[0] != 0)
			return true
		}
	case kindDate:
		if len(v) == 4 {
			if day := int64(int32(binary.BigEndian.Uint32(v))) + epochDays; day >= minDay && day <= maxDay {
				native.PutUint32(c.fixed[row*4:], uint32(int32(day)))
				c.setValid(row)
				return true
			}
		}
	case kindFloat64:
		if len(v) == 8 {
			c.setFloat64(row, math.Float64frombits(binary.BigEndian.Uint64(v)))
			return true
		}
	case kindUUID:
		if end := c.used + uuidText; len(v) == 16 && end <= len(c.data) {
			formatUUID((*[uuidText]byte)(c.data[c.used:end]), v)
			b.used(c, row, end)
			return true
		}
	case kindDecimal:
		u, neg, ok := smallNumeric(v, c.scale)
		return ok && c.putDecimal(row, neg, uint128{0, u})
	}
	return false
}

// quickString stores text for which there is room.
func (b *batchBuilder) quickString(c *column, row int, v []byte) bool {
	end := c.used + len(v)
	if end > len(c.data) || !utf8.Valid(v) {
		return false
	}
	copy(c.data[c.used:end], v)
	b.used(c, row, end)
	return true
}

// used notes that the row's string ends there.
func (b *batchBuilder) used(c *column, row, end int) {
	b.varBytes += int64(end - c.used)
	c.used = end
	c.offsets[row+1] = int32(end)
	c.setValid(row)
}

// noValue takes a column that has none: NULL, or one that was left out.
func (b *batchBuilder) noValue(col int, p []byte, op cdc.Op, before []value) (rest []byte, err error) {
	v, rest, err := nextValue(p)
	if err != nil {
		return nil, err
	}
	if v.form == valueUnchanged && before != nil && before[col].data != nil {
		v = before[col]
	}
	switch v.form {
	case valueBinary:
		err = b.appendBinary(col, v.data)
	case valueText:
		err = b.appendText(col, v.data)
	case valueNull:
		b.appendNull(col)
	default:
		if op != cdc.OpUpdate {
			return nil, fmt.Errorf("a row of table %s leaves out column %d, which only the new row of an update can", b.rel, col+1)
		}
		b.appendUnchanged(col)
	}
	return rest, err
}

// smallNumeric reads a binary numeric of at most four groups of digits as a
// number times 10^scale. It says no to all that is larger, has more digits
// after the point, or is not a proper number: that is for parseNumeric.
func smallNumeric(v []byte, scale int32) (u uint64, neg, ok bool) {
	if len(v) < 8 || len(v) > 16 {
		return 0, false, false
	}
	n := int32(binary.BigEndian.Uint16(v))
	weight := int32(int16(binary.BigEndian.Uint16(v[2:])))
	sign := binary.BigEndian.Uint16(v[4:])
	after := (scale + 3) / 4        // groups that the scale needs after the point
	zeros := weight - n + 1 + after // groups that follow the last one there is
	if len(v) != int(8+2*n) || sign != numericPos && sign != numericNeg || zeros < 0 || n+zeros > 4 ||
		binary.BigEndian.Uint16(v[6:]) > maxNumericScale {
		return 0, false, false
	}
	for g := v[8:]; len(g) >= 2; g = g[2:] {
		d := uint64(binary.BigEndian.Uint16(g))
		if d > 9999 {
			return 0, false, false
		}
		u = u*10_000 + d
	}
	for ; zeros > 0; zeros-- {
		u *= 10_000
	}
	if cut := pow10[4*after-scale].lo; cut > 1 {
		if u%cut != 0 {
			return 0, false, false
		}
		u /= cut
	}
	return u, sign == numericNeg, true
}

// quickText is quickBinary for text.
func (b *batchBuilder) quickText(c *column, row int, v []byte) bool {
	switch c.kind {
	case kindUTF8, kindText, kindJSONB:
		return b.quickString(c, row, v)
	case kindUUID:
		return len(v) == uuidText && b.quickString(c, row, v)
	case kindBool:
		if len(v) == 1 && (v[0] == 't' || v[0] == 'f') {
			c.setBool(row, v[0] == 't')
			return true
		}
	case kindInt64:
		if n, ok := smallInt(v); ok {
			native.PutUint64(c.fixed[row*8:], uint64(n))
			c.setValid(row)
			return true
		}
	case kindInt32:
		if n, ok := smallInt(v); ok && int64(int32(n)) == n {
			native.PutUint32(c.fixed[row*4:], uint32(n))
			c.setValid(row)
			return true
		}
	case kindDate:
		if day, ok := usualDate(v); ok && len(v) == 10 {
			native.PutUint32(c.fixed[row*4:], uint32(int32(day)))
			c.setValid(row)
			return true
		}
	case kindTimestamp, kindTimestamptz:
		if micros, ok := usualTimestamp(v, c.kind == kindTimestamptz); ok {
			native.PutUint64(c.fixed[row*8:], uint64(micros))
			c.setValid(row)
			return true
		}
	case kindFloat64:
		if f, ok := smallFloat(v); ok {
			c.setFloat64(row, f)
			return true
		}
	case kindDecimal:
		u, neg, ok := smallDecimal(v, c.scale)
		return ok && c.putDecimal(row, neg, uint128{0, u})
	}
	return false
}

// smallInt reads an integer of at most 18 digits.
func smallInt(v []byte) (n int64, ok bool) {
	neg := len(v) > 0 && v[0] == '-'
	if neg {
		v = v[1:]
	}
	if len(v) == 0 || len(v) > 18 {
		return 0, false
	}
	for _, ch := range v {
		d := ch - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int64(d)
	}
	if neg {
		n = -n
	}
	return n, true
}

// smallDecimal reads a decimal as a number times 10^scale, if that has at most
// 18 digits.
func smallDecimal(v []byte, scale int32) (u uint64, neg, ok bool) {
	u, digits, after, neg, ok := plainDecimal(v)
	missing := int(scale) - after
	if !ok || missing < 0 || digits+missing > 18 {
		return 0, false, false
	}
	return u * pow10[missing].lo, neg, true
}

// smallFloat reads a number of at most 15 digits. It and the power of ten are
// exact as floats, so that their quotient is the float that is nearest to it.
func smallFloat(v []byte) (f float64, ok bool) {
	u, digits, after, neg, ok := plainDecimal(v)
	if !ok || digits > 15 {
		return 0, false
	}
	f = float64(u)
	if after > 0 {
		f /= float64(pow10[after].lo)
	}
	if neg {
		f = -f
	}
	return f, true
}

// plainDecimal reads digits with at most one point between them: their number,
// without the point, how many there are, and how many after it. There may be
// up to 18.
func plainDecimal(v []byte) (u uint64, digits, after int, neg, ok bool) {
	if neg = len(v) > 0 && v[0] == '-'; neg {
		v = v[1:]
	}
	if len(v) == 0 || len(v) > 19 {
		return 0, 0, 0, false, false
	}
	point := -1
	for i, ch := range v {
		if d := ch - '0'; d <= 9 {
			u = u*10 + uint64(d)
		} else if ch == '.' && point < 0 && i > 0 {
			point = i
		} else {
			return 0, 0, 0, false, false
		}
	}
	digits = len(v)
	if point >= 0 {
		digits--
		after = len(v) - 1 - point
		if after == 0 {
			return 0, 0, 0, false, false
		}
	}
	return u, digits, after, neg, digits <= 18
}

// usualDate reads the YYYY-MM-DD at the start of v as days since 1970. The
// years are 1 to 9999.
func usualDate(v []byte) (day int64, ok bool) {
	if len(v) < 10 || v[4] != '-' || v[7] != '-' {
		return 0, false
	}
	y, ok1 := twoDigits(v)
	y2, ok2 := twoDigits(v[2:])
	m, ok3 := twoDigits(v[5:])
	d, ok4 := twoDigits(v[8:])
	y = y*100 + y2
	if !ok1 || !ok2 || !ok3 || !ok4 || y == 0 || m-1 > 11 || d-1 > 30 {
		return 0, false
	}
	// As daysFromCivil, without what only other years need.
	if m <= 2 {
		y--
	}
	return int64(y*365+y/4-y/100+y/400+uint32(daysFromMarch[m-1])+d-1) - 719468, true
}

// daysFromMarch is how many days of a year that begins in March come before
// each month, January first.
var daysFromMarch = [12]uint16{306, 337, 0, 31, 61, 92, 122, 153, 184, 214, 245, 275}

// usualTimestamp reads YYYY-MM-DD HH:MM:SS[.ffffff] as microseconds since 1970,
// with +00 behind it if it has a zone.
func usualTimestamp(v []byte, zone bool) (micros int64, ok bool) {
	if zone {
		n := len(v) - 3
		if n < 0 || v[n] != '+' || v[n+1] != '0' || v[n+2] != '0' {
			return 0, false
		}
		v = v[:n]
	}
	day, ok := usualDate(v)
	if !ok || len(v) < 19 || len(v) > 26 || len(v) == 20 || v[10] != ' ' || v[13] != ':' || v[16] != ':' {
		return 0, false
	}
	h, ok1 := twoDigits(v[11:])
	m, ok2 := twoDigits(v[14:])
	s, ok3 := twoDigits(v[17:])
	if !ok1 || !ok2 || !ok3 || h > 23 || m > 59 || s > 59 {
		return 0, false
	}
	micros = day*microsPerDay + int64(h*3600+m*60+s)*microsPerSecond
	if len(v) == 19 {
		return micros, true
	}
	if v[19] != '.' {
		return 0, false
	}
	var fraction uint32
	for _, ch := range v[20:] {
		d := ch - '0'
		if d > 9 {
			return 0, false
		}
		fraction = fraction*10 + uint32(d)
	}
	return micros + int64(fraction)*int64(pow10[26-len(v)].lo), true
}

// twoDigits reads two digits at the start of v, which has as many.
func twoDigits(v []byte) (n uint32, ok bool) {
	_ = v[1]
	a, b := v[0]-'0', v[1]-'0'
	return uint32(a)*10 + uint32(b), a <= 9 && b <= 9
}
