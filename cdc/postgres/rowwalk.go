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
	if end > len(c.data) || !isASCII(v) && !utf8.Valid(v) {
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
