package postgres

import "encoding/binary"

// What follows reads values as they usually are, and says no to all others:
// those are for parseNumeric, parseDecimal, parseCivil and their like, which
// take everything and say what is wrong.

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
	if len(v) < 10 {
		return 0, false
	}
	pairs, ok1 := digitPairs(v, 0x2d30302d30303030, 0xff0000ff00000000) // 0000-00-
	d, ok2 := twoDigits(v[8:])
	y, m := uint32(pairs&0xff*100+pairs>>16&0xff), uint32(pairs>>40&0xff)
	if !ok1 || !ok2 || y == 0 || m-1 > 11 || d-1 > 30 {
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
	if !ok || len(v) < 19 || len(v) > 26 || len(v) == 20 || v[10] != ' ' {
		return 0, false
	}
	pairs, ok := digitPairs(v[11:], 0x30303a30303a3030, 0x0000ff0000ff0000) // 00:00:00
	h, m, sec := int64(pairs&0xff), int64(pairs>>24&0xff), int64(pairs>>48&0xff)
	if !ok || h > 23 || m > 59 || sec > 59 {
		return 0, false
	}
	micros = day*microsPerDay + (h*3600+m*60+sec)*microsPerSecond
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

// digitPairs reads the eight bytes at the start of v, which has as many, all at
// a time. pattern has a '0' for each digit and the separators between them, in
// little-endian order, and separators says where those are. Each byte of pairs
// is the number that the digit there makes with the one after it.
func digitPairs(v []byte, pattern, separators uint64) (pairs uint64, ok bool) {
	digits := binary.LittleEndian.Uint64(v) ^ pattern
	wrong := digits&separators | (digits|(digits+0x0606060606060606))&0xf0f0f0f0f0f0f0f0
	return digits*10 + digits>>8, wrong == 0
}

// isASCII reports whether no byte of v has its upper bit set.
func isASCII(v []byte) bool {
	const upper = 0x8080808080808080
	var seen uint64
	for len(v) >= 32 {
		seen |= binary.NativeEndian.Uint64(v) | binary.NativeEndian.Uint64(v[8:]) | binary.NativeEndian.Uint64(v[16:]) | binary.NativeEndian.Uint64(v[24:])
		v = v[32:]
	}
	for len(v) >= 8 {
		seen |= binary.NativeEndian.Uint64(v)
		v = v[8:]
	}
	for _, ch := range v {
		seen |= uint64(ch)
	}
	return seen&upper == 0
}
