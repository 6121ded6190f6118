package postgres

import (
	"math/big"
	"strings"
)

// clampDecimal stores the decimal of the column that is nearest to the number
// that text prints; NULL for NaN, which is near to none.
func (c *column) clampDecimal(row int, text []byte) {
	s := string(text)
	if s == "NaN" {
		c.setNull(row)
		return
	}
	neg := strings.HasPrefix(s, "-")
	most := pow10[c.precision]
	most.lo-- // a power of ten above 1 is even: no borrow
	if u, ok := nearestUnscaled(strings.TrimPrefix(s, "-"), c.scale); ok && u.less(pow10[c.precision]) {
		c.putDecimal(row, neg && u != uint128{}, u)
		return
	}
	c.putDecimal(row, neg, most)
}

// nearestUnscaled rounds a number to scale digits, halves away from zero as
// PostgreSQL does, and gives it times ten to the scale; not ok for infinity
// and what exceeds 128 bits.
func nearestUnscaled(s string, scale int32) (uint128, bool) {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return uint128{}, false
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
	n := new(big.Int).Lsh(r.Num(), 1)
	n.Add(n, r.Denom())
	n.Quo(n, new(big.Int).Lsh(r.Denom(), 1))
	if n.BitLen() > 128 {
		return uint128{}, false
	}
	low := new(big.Int).And(n, new(big.Int).SetUint64(1<<64-1))
	return uint128{hi: new(big.Int).Rsh(n, 64).Uint64(), lo: low.Uint64()}, true
}
