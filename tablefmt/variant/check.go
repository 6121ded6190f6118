package variant

import "encoding/binary"

// Check says whether two parts are a variant: every value in it is where it
// should be and complete, and every field of an object has a name. Values must
// not share bytes, so that the work is in proportion to the length. Not looked
// at are the order and uniqueness of an object's names (Spark sorts them by
// UTF-16, and not by bytes as the format wants) and whether texts are UTF-8.
// Bytes between and after values are let be, as other readers do. Types of a
// later version of the format are let be too.
func Check(metadata, value []byte) error {
	d, err := ParseMetadata(metadata)
	if err != nil {
		return err
	}
	_, err = d.size(value, 0)
	return err
}

// container is an object or an array: its parts as they lie in the bytes.
type container struct {
	n       int
	ids     []byte // nil for an array
	idWidth int
	offsets []byte
	width   int // of an offset
	values  []byte
	head    int // bytes in front of the values
}

// openContainer reads the head of an object or array, b being all bytes from
// its first on.
func openContainer(b []byte) (c container, err error) {
	head, object := b[0]>>2, b[0]&3 == basicObject
	c.width = int(head&3) + 1
	large := head>>2&1 != 0
	if object {
		c.idWidth = int(head>>2&3) + 1
		large = head>>4&1 != 0
	}
	count := 1
	if large {
		count = 4
	}
	if len(b) < 1+count {
		return c, corruptf("object or array of %d bytes", len(b))
	}
	c.n = unsigned(b[1 : 1+count])
	rest := b[1+count:]
	if need := c.n*(c.idWidth+c.width) + c.width; len(rest) < need {
		return c, corruptf("object or array of %d values in %d bytes", c.n, len(b))
	}
	if object {
		c.ids, rest = rest[:c.n*c.idWidth], rest[c.n*c.idWidth:]
	}
	c.offsets, c.values = rest[:(c.n+1)*c.width], rest[(c.n+1)*c.width:]
	c.head = len(b) - len(c.values)
	return c, nil
}

func (c *container) id(i int) int     { return unsigned(c.ids[i*c.idWidth : (i+1)*c.idWidth]) }
func (c *container) offset(i int) int { return unsigned(c.offsets[i*c.width : (i+1)*c.width]) }

// size checks the value that b begins with and tells its length.
func (d *Dict) size(b []byte, depth int) (int, error) {
	if len(b) == 0 {
		return 0, corruptf("no value")
	}
	if depth > maxDepth {
		return 0, corruptf("values lie in each other deeper than %d", maxDepth)
	}
	switch b[0] & 3 {
	case basicShortString:
		if n := 1 + int(b[0]>>2); n <= len(b) {
			return n, nil
		}
		return 0, corruptf("text of %d bytes in %d", b[0]>>2, len(b)-1)
	case basicPrimitive:
		return primitiveSize(b)
	}
	c, err := openContainer(b)
	if err != nil {
		return 0, err
	}
	// The end of the values as the head has it, which must hold all of them.
	total := c.offset(c.n)
	if total > len(c.values) {
		return 0, corruptf("values of %d bytes in %d", total, len(c.values))
	}
	sum := 0
	for i := range c.n {
		if c.ids != nil && c.id(i) >= d.n {
			return 0, corruptf("field with the name %d of %d", c.id(i), d.n)
		}
		at := c.offset(i)
		if at >= total {
			return 0, corruptf("value at %d of %d", at, total)
		}
		n, err := d.size(c.values[at:total], depth+1)
		if err != nil {
			return 0, err
		}
		if sum += n; sum > total {
			return 0, corruptf("values that share bytes")
		}
	}
	return c.head + total, nil
}

func primitiveSize(b []byte) (int, error) {
	p := primitive(b[0] >> 2)
	if p >= primitives {
		return 1, nil // of a length that cannot be known
	}
	n := 1 + primitiveBytes[p]
	if len(b) < n {
		return 0, corruptf("value of type %d in %d bytes", p, len(b))
	}
	switch p {
	case primBinary, primString:
		size := int(binary.LittleEndian.Uint32(b[1:]))
		if size > len(b)-n {
			return 0, corruptf("text of %d bytes in %d", size, len(b)-n)
		}
		n += size
	case primDecimal4, primDecimal8, primDecimal16:
		if b[1] > maxScale {
			return 0, corruptf("decimal of scale %d", b[1])
		}
	case primTime:
		if t := binary.LittleEndian.Uint64(b[1:]); t >= microsOfDay {
			return 0, corruptf("time of %d µs", t)
		}
	}
	return n, nil
}
