package postgres

import (
	"encoding/binary"
	"math"
)

// putComposedBinary is putBinary for values that are made of others.
func (b *batchBuilder) putComposedBinary(c *column, row int, v []byte) error {
	switch c.kind {
	case kindList:
		return b.putArray(c, row, v)
	case kindStruct:
		return b.putRecord(c, row, v)
	case kindRange:
		r, err := parseRange(v)
		if err != nil {
			return err
		}
		return b.putRange(c, row, r, (*batchBuilder).putBinary)
	case kindMultirange:
		return b.putMultirange(c, row, v)
	case kindHstore:
		return b.putHstore(c, row, v)
	case kindVector:
		return b.putVector(c, row, v, 4)
	}
	return b.putVector(c, row, v, 2)
}

// add puts a part of a value into a child, in the form that put reads.
func (b *batchBuilder) add(c *column, v []byte, put func(*batchBuilder, *column, int, []byte) error) error {
	c.room()
	b.varBytes += int64(c.rowWidth())
	if err := put(b, c, c.n, v); err != nil {
		return err
	}
	c.n++
	return nil
}

// addPart is add for a part that may be NULL.
func (b *batchBuilder) addPart(c *column, v []byte, null bool) error {
	if null {
		b.varBytes += int64(c.rowWidth())
		c.addNull()
		return nil
	}
	return b.add(c, v, (*batchBuilder).putBinary)
}

// putArray stores an array of one dimension that counts from 1.
func (b *batchBuilder) putArray(c *column, row int, v []byte) error {
	a, err := parseArray(v)
	if err != nil {
		return err
	}
	if !a.flat() {
		return errUnheld
	}
	for range a.total {
		elem, null, err := a.next()
		if err != nil {
			return err
		}
		if err := b.addPart(&c.children[0], elem, null); err != nil {
			return err
		}
	}
	if err := a.end(); err != nil {
		return err
	}
	return c.endList(row)
}

// putRecord stores a composite. One whose fields are not those that are
// expected was made before or after its type was altered: it cannot be held.
func (b *batchBuilder) putRecord(c *column, row int, v []byte) error {
	if len(v) < 4 {
		return lengthError(len(v), 4)
	}
	if n := int(binary.BigEndian.Uint32(v)); n != len(c.parts) {
		return errUnheld
	}
	rest := v[4:]
	for i := range c.parts {
		if len(rest) < 4 {
			return errRecord
		}
		if binary.BigEndian.Uint32(rest) != c.parts[i].oid {
			return errUnheld
		}
		field, next, null, err := nextField(rest[4:])
		if err != nil {
			return err
		}
		rest = next
		if err := b.addPart(&c.children[i], field, null); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return errRecord
	}
	c.setValid(row)
	return nil
}

// putRange stores a range whose bounds put can read.
func (b *batchBuilder) putRange(c *column, row int, r binaryRange, put func(*batchBuilder, *column, int, []byte) error) error {
	for i, bound := range [][]byte{r.lower, r.upper} {
		k := &c.children[i]
		if bound == nil {
			k.addNull()
			continue
		}
		nulls := k.nulls
		if err := b.add(k, bound, put); err != nil {
			return err
		}
		if k.nulls > nulls {
			return errUnheld // a bound that is NULL is no bound
		}
	}
	for i, flag := range []byte{rangeFlagLowerInc, rangeFlagUpperInc, rangeFlagEmpty} {
		k := &c.children[rangeLowerInclusive+i]
		k.room()
		k.setBool(k.n, r.flags&flag != 0)
		k.n++
	}
	b.varBytes += 3
	c.setValid(row)
	return nil
}

func (b *batchBuilder) putMultirange(c *column, row int, v []byte) error {
	n, rest, err := countedFields(v)
	if err != nil {
		return err
	}
	for range n {
		one, next, null, err := nextField(rest)
		if err != nil || null {
			return errRange
		}
		rest = next
		if err := b.addPart(&c.children[0], one, false); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return errRange
	}
	return c.endList(row)
}

func (b *batchBuilder) putHstore(c *column, row int, v []byte) error {
	n, rest, err := countedFields(v)
	if err != nil {
		return err
	}
	for range n {
		key, next, null, err := nextField(rest)
		if err != nil || null {
			return errField
		}
		value, next, null, err := nextField(next)
		if err != nil {
			return err
		}
		rest = next
		if err := b.addPair(c, key, value, null); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return errField
	}
	return c.endList(row)
}

// addPair adds a key and its value to a map.
func (b *batchBuilder) addPair(c *column, key, value []byte, null bool) error {
	pair := &c.children[0]
	pair.room()
	if err := b.addPart(&pair.children[0], key, false); err != nil {
		return err
	}
	if err := b.addPart(&pair.children[1], value, null); err != nil {
		return err
	}
	pair.setValid(pair.n)
	pair.n++
	return nil
}

// putVector stores floats of size bytes each.
func (b *batchBuilder) putVector(c *column, row int, v []byte, size int) error {
	v, err := vectorElements(v, size)
	if err != nil {
		return err
	}
	k := &c.children[0]
	for i := 0; i < len(v); i += size {
		k.room()
		if size == 2 {
			k.setFloat32(k.n, halfToFloat(binary.BigEndian.Uint16(v[i:])))
		} else {
			k.setFloat32(k.n, math.Float32frombits(binary.BigEndian.Uint32(v[i:])))
		}
		k.n++
	}
	b.varBytes += int64(len(v) / size * 4)
	return c.endList(row)
}
