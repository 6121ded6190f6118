package postgres

import (
	"bytes"
	"math"
	"math/big"
	"math/bits"
	"strconv"
)

// PostgreSQL prints the shortest digits that read back as the same float, as
// Go does, with one difference: it takes none that lie exactly half-way to the
// next float, though a reader that rounds to even would read them back.
// 9007199254740993 is half-way between two floats, and so are some powers of
// two times odd numbers; see strict.

// appendFloat8 and appendFloat4 print as float8out and float4out do with
// extra_float_digits above 0.
func appendFloat8(dst []byte, f float64) []byte { return appendFloat(dst, f, 64) }

func appendFloat4(dst []byte, f float32) []byte { return appendFloat(dst, float64(f), 32) }

func appendFloat(dst []byte, f float64, size int) []byte {
	switch {
	case f != f:
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	if math.Signbit(f) {
		dst, f = append(dst, '-'), -f
	}
	if f == 0 {
		return append(dst, '0')
	}
	var buf [32]byte
	d := parseDigits(strconv.AppendFloat(buf[:0], f, 'e', -1, size))
	switch {
	case d.halfWay(f, size):
		d = strict(f, size, d)
	case size == 32 && f == 1.0/4096:
		// 0.000244140625 lies in the middle of two shortest forms. Go takes the
		// upper one, PostgreSQL the even one. No other float is known for which
		// they differ: see TestFloatsPrintAsTheServerPrintsThem.
		d.digits--
	}
	limit := 15
	if size == 32 {
		limit = 6
	}
	return d.print(dst, limit)
}

// shortDigits is a decimal number: n digits as an integer, times ten to the
// exp10. The last digit is not zero.
type shortDigits struct {
	digits uint64
	n      int
	exp10  int
}

// parseDigits reads d.ddde±xx, as strconv writes it.
func parseDigits(s []byte) (d shortDigits) {
	mantissa, exponent, _ := bytes.Cut(s, []byte{'e'})
	for i, ch := range mantissa {
		if ch == '.' {
			d.exp10 = i + 1 - len(mantissa)
			continue
		}
		d.digits = d.digits*10 + uint64(ch-'0')
		d.n++
	}
	exp, _ := digits(exponent[1:])
	if exponent[0] == '-' {
		exp = -exp
	}
	d.exp10 += int(exp)
	for d.digits != 0 && d.digits%10 == 0 {
		d.digits /= 10
		d.n--
		d.exp10++
	}
	return d
}

// print writes the number plainly from 1e-4 up to below ten to the limit, else
// with an exponent of two digits at least.
func (d shortDigits) print(dst []byte, limit int) []byte {
	var buf [24]byte
	text := strconv.AppendUint(buf[:0], d.digits, 10)
	exp := d.exp10 + d.n - 1
	if exp < -4 || exp >= limit {
		dst = append(dst, text[0])
		if d.n > 1 {
			dst = append(append(dst, '.'), text[1:]...)
		}
		dst = append(dst, 'e')
		if exp < 0 {
			dst, exp = append(dst, '-'), -exp
		} else {
			dst = append(dst, '+')
		}
		return appendTwo(dst, int64(exp))
	}
	switch {
	case exp < 0:
		dst = append(dst, '0', '.')
		for range -exp - 1 {
			dst = append(dst, '0')
		}
		return append(dst, text...)
	case d.exp10 >= 0:
		dst = append(dst, text...)
		for range d.exp10 {
			dst = append(dst, '0')
		}
		return dst
	}
	dst = append(append(dst, text[:exp+1]...), '.')
	return append(dst, text[exp+1:]...)
}

// parts gives a positive float as mant times two to the exp.
func floatParts(f float64, size int) (mant uint64, exp int, shorter bool) {
	const hidden = 1 << 52
	if size == 32 {
		b := math.Float32bits(float32(f))
		mant, exp = uint64(b&(1<<23-1)), int(b>>23)
		shorter = mant == 0 && exp > 1
		if exp == 0 {
			return mant, -149, false
		}
		return mant | 1<<23, exp - 150, shorter
	}
	b := math.Float64bits(f)
	mant, exp = b&(hidden-1), int(b>>52)
	shorter = mant == 0 && exp > 1
	if exp == 0 {
		return mant, -1074, false
	}
	return mant | hidden, exp - 1075, shorter
}

// halfWay reports whether d lies exactly on a border of the interval of
// numbers that are read as f.
func (d shortDigits) halfWay(f float64, size int) bool {
	mant, exp, shorter := floatParts(f, size)
	if mant&1 != 0 { // the borders belong to its neighbours
		return false
	}
	if shorter && d.is(4*mant-1, exp-2) || !shorter && d.is(2*mant-1, exp-1) {
		return true
	}
	return d.is(2*mant+1, exp-1)
}

// is reports whether d equals odd times two to the exp.
func (d shortDigits) is(odd uint64, exp int) bool {
	twos := bits.TrailingZeros64(d.digits)
	if twos+d.exp10 != exp {
		return false
	}
	a, b, n := d.digits>>twos, odd, d.exp10
	if n < 0 {
		a, b, n = b, a, -n
	}
	for range n { // a times five to the n
		hi, lo := bits.Mul64(a, 5)
		if hi != 0 || lo > b {
			return false
		}
		a = lo
	}
	return a == b
}

// strict finds the shortest digits that lie within the interval and not on its
// border, the nearest of them. It is slow, and hardly ever needed.
func strict(f float64, size int, d shortDigits) shortDigits {
	mant, exp, shorter := floatParts(f, size)
	lower := ratOf(2*mant-1, exp-1)
	if shorter {
		lower = ratOf(4*mant-1, exp-2)
	}
	upper, exact := ratOf(2*mant+1, exp-1), ratOf(mant, exp)
	for n := d.n; ; n++ {
		mid := parseFixed(strconv.AppendFloat(nil, f, 'e', n-1, size))
		var best shortDigits
		var far *big.Rat
		for _, delta := range []int64{0, -1, 1} {
			c := mid
			c.digits = uint64(int64(c.digits) + delta)
			r := c.rat()
			if r.Cmp(lower) <= 0 || r.Cmp(upper) >= 0 {
				continue
			}
			r.Sub(r, exact).Abs(r)
			if far == nil || r.Cmp(far) < 0 {
				best, far = c, r
			}
		}
		if far != nil {
			return best.trim()
		}
	}
}

// parseFixed is parseDigits that keeps the zeros at the end.
func parseFixed(s []byte) shortDigits {
	d := parseDigits(s)
	n := 0
	for _, ch := range s {
		if ch == 'e' {
			break
		}
		if ch != '.' {
			n++
		}
	}
	for d.n < n {
		d.digits *= 10
		d.n++
		d.exp10--
	}
	return d
}

func (d shortDigits) trim() shortDigits {
	d.n = len(strconv.FormatUint(d.digits, 10))
	for d.digits%10 == 0 {
		d.digits /= 10
		d.n--
		d.exp10++
	}
	return d
}

func (d shortDigits) rat() *big.Rat {
	r := new(big.Rat).SetInt(new(big.Int).SetUint64(d.digits))
	p := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(d.exp10, -d.exp10))), nil))
	if d.exp10 < 0 {
		return r.Quo(r, p)
	}
	return r.Mul(r, p)
}

func ratOf(mant uint64, exp int) *big.Rat {
	r := new(big.Rat).SetInt(new(big.Int).SetUint64(mant))
	p := new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), uint(max(exp, -exp))))
	if exp < 0 {
		return r.Quo(r, p)
	}
	return r.Mul(r, p)
}
