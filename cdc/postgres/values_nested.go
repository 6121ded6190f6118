package postgres

import (
	"encoding/binary"
	"errors"
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

// putComposedText is putTextual for values that are made of others. Text that
// is not UTF-8 is refused as a whole by its parts, or where it is kept.
func (b *batchBuilder) putComposedText(c *column, row int, v []byte) error {
	s := literal{rest: v, buf: c.unescaped[:0]}
	defer func() {
		if c.unescaped = s.buf; cap(c.unescaped) > 1<<20 {
			c.unescaped = nil // a huge value's
		}
	}()
	var err error
	switch c.kind {
	case kindList:
		err = b.readArray(c, row, &s)
	case kindStruct:
		err = b.readRecord(c, row, &s)
	case kindRange:
		err = b.readRange(c, row, &s)
	case kindMultirange:
		err = b.readMultirange(c, row, &s)
	case kindHstore:
		err = b.readHstore(c, row, &s)
	default:
		err = b.readVector(c, row, &s)
	}
	if err == nil && len(s.rest) > 0 {
		err = errFormat
	}
	return err
}

// addRead is add for a part of a text, which may be NULL.
func (b *batchBuilder) addRead(c *column, v []byte, null bool) error {
	if null {
		return b.addPart(c, nil, true)
	}
	return b.add(c, v, (*batchBuilder).putTextual)
}

// readArray reads what array_out prints. Bounds in front, or a second
// dimension, cannot be held.
func (b *batchBuilder) readArray(c *column, row int, s *literal) error {
	if s.peek() == '[' {
		return errUnheld
	}
	if !s.take('{') {
		return errFormat
	}
	if s.take('}') {
		return c.endList(row)
	}
	for {
		if s.peek() == '{' {
			return errUnheld
		}
		elem, quoted, err := s.element(c.delim)
		if err != nil {
			return err
		}
		null := !quoted && string(elem) == "NULL"
		if err := b.addRead(&c.children[0], elem, null); err != nil {
			return err
		}
		if s.take('}') {
			return c.endList(row)
		}
		if !s.take(c.delim) {
			return errFormat
		}
	}
}

// readRecord reads what record_out prints. A value with another number of
// fields, or with one that its type does not print, was made before or after
// the composite was altered: it cannot be held.
func (b *batchBuilder) readRecord(c *column, row int, s *literal) error {
	if !s.take('(') {
		return errFormat
	}
	for i := 0; ; i++ {
		field, quoted, err := s.part(')')
		if err != nil {
			return err
		}
		if i == len(c.parts) {
			return errUnheld
		}
		err = b.addRead(&c.children[i], field, len(field) == 0 && !quoted)
		if errors.Is(err, errFormat) {
			return errUnheld
		}
		if err != nil {
			return err
		}
		if s.take(')') {
			if i+1 < len(c.parts) {
				return errUnheld
			}
			c.setValid(row)
			return nil
		}
		if !s.take(',') {
			return errFormat
		}
	}
}

// readRange reads what range_out prints, and leaves the rest.
func (b *batchBuilder) readRange(c *column, row int, s *literal) error {
	if s.word("empty") {
		return b.putRange(c, row, binaryRange{flags: rangeFlagEmpty}, (*batchBuilder).putTextual)
	}
	var r binaryRange
	switch {
	case s.take('['):
		r.flags |= rangeFlagLowerInc
	case !s.take('('):
		return errFormat
	}
	for i, bound := range []*[]byte{&r.lower, &r.upper} {
		v, quoted, err := s.part(']')
		switch {
		case err != nil:
			return err
		case quoted && i == 0:
			v = append([]byte{}, v...) // the next part overwrites it
		case quoted && v == nil:
			v = []byte{}
		}
		if quoted || len(v) > 0 {
			*bound = v
		}
		if i == 0 && !s.take(',') {
			return errFormat
		}
	}
	switch {
	case s.take(']'):
		r.flags |= rangeFlagUpperInc
	case !s.take(')'):
		return errFormat
	}
	return b.putRange(c, row, r, (*batchBuilder).putTextual)
}

func (b *batchBuilder) readMultirange(c *column, row int, s *literal) error {
	if !s.take('{') {
		return errFormat
	}
	if s.take('}') {
		return c.endList(row)
	}
	k := &c.children[0]
	for {
		k.room()
		b.varBytes++
		if err := b.readRange(k, k.n, s); err != nil {
			return err
		}
		k.n++
		if s.take('}') {
			return c.endList(row)
		}
		if !s.take(',') {
			return errFormat
		}
	}
}

// readHstore reads "key"=>"value", "key"=>NULL.
func (b *batchBuilder) readHstore(c *column, row int, s *literal) error {
	var key []byte
	for first := true; len(s.rest) > 0; first = false {
		if !first && !s.word(", ") {
			return errFormat
		}
		text, err := s.quoted()
		if err != nil || !s.word("=>") {
			return errFormat
		}
		key = append(key[:0], text...) // the value overwrites it
		null := s.word("NULL")
		if !null {
			if text, err = s.quoted(); err != nil {
				return err
			}
		}
		if err := b.addPair(c, key, text, null); err != nil {
			return err
		}
	}
	return c.endList(row)
}

// readVector reads [1,2.5].
func (b *batchBuilder) readVector(c *column, row int, s *literal) error {
	if !s.take('[') {
		return errFormat
	}
	for first := true; !s.take(']'); first = false {
		if !first && !s.take(',') {
			return errFormat
		}
		if err := b.add(&c.children[0], s.until(',', ']'), (*batchBuilder).putTextual); err != nil {
			return err
		}
	}
	return c.endList(row)
}
