package postgres

import "errors"

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
