package colfile

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// pow10 is 10 to the p, for 0 <= p <= 38.
func pow10(p int32) decimal128.Num {
	n := decimal128.FromI64(1)
	ten := decimal128.FromI64(10)
	for range p {
		n = n.Mul(ten)
	}
	return n
}

// decimalLess compares two decimals of one scale.
func decimalLess(a, b decimal128.Num) bool {
	if a.HighBits() != b.HighBits() {
		return a.HighBits() < b.HighBits()
	}
	return a.LowBits() < b.LowBits()
}

// decimalFits reports whether -limit < n < limit.
func decimalFits(n, limit decimal128.Num) bool {
	return decimalLess(n, limit) && decimalLess(limit.Negate(), n)
}

// appendBigEndian appends the lowest width bytes of n, most significant first.
func appendBigEndian(dst []byte, n decimal128.Num, width int) []byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(n.HighBits()))
	binary.BigEndian.PutUint64(b[8:], n.LowBits())
	return append(dst, b[16-width:]...)
}

// decimalFromBigEndian reads a two's complement number of any length; ok is
// false if it does not fit 128 bits.
func decimalFromBigEndian(b []byte) (n decimal128.Num, ok bool) {
	if len(b) == 0 {
		return n, true
	}
	fill := byte(int8(b[0]) >> 7)
	for len(b) > 16 {
		if b[0] != fill || (b[1]^fill)&0x80 != 0 {
			return n, false
		}
		b = b[1:]
	}
	var w [16]byte
	if fill != 0 {
		for i := range w[:16-len(b)] {
			w[i] = fill
		}
	}
	copy(w[16-len(b):], b)
	return decimal128.New(int64(binary.BigEndian.Uint64(w[:8])), binary.BigEndian.Uint64(w[8:])), true
}
