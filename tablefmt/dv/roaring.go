package dv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/RoaringBitmap/roaring/v2"
)

// The 32-bit roaring format (github.com/RoaringBitmap/RoaringFormatSpec).
const (
	cookieNoRuns   = 12346
	cookieRuns     = 12347
	offsetsFrom    = 4    // with runs, offsets are written from so many containers on
	maxArrayValues = 4096 // above, a container is a bitmap
	bitmapBytes    = 8192
)

var errShort = errors.New("it ends within a bucket")

// decodeBucket reads a 32-bit bitmap at the beginning of data, as the last
// bucket of b, and tells its length. The library trusts its input, and its
// own check takes quadratic time in the number of runs, so we look at all
// bytes first.
func (b *Bitmap) decodeBucket(high uint32, data []byte) (int, error) {
	size, err := checkRoaring(data)
	if err != nil {
		return 0, err
	}
	low := roaring.New()
	n, err := low.ReadFrom(bytes.NewReader(data[:size]))
	if err == nil && n != int64(size) {
		err = fmt.Errorf("%d of its %d bytes were read", n, size)
	}
	if err == nil && !low.IsEmpty() { // some writers fill gaps with empty buckets
		b.buckets = append(b.buckets, bucket{high, low})
	}
	return size, err
}

// cursor goes through bytes and stops at their end.
type cursor struct {
	data []byte
	pos  int
}

func (c *cursor) take(n int) ([]byte, bool) {
	if n < 0 || n > len(c.data)-c.pos {
		return nil, false
	}
	b := c.data[c.pos : c.pos+n]
	c.pos += n
	return b, true
}

// checkRoaring gives the length of the bitmap at the beginning of data, or
// why there is none.
func checkRoaring(data []byte) (int, error) {
	c := &cursor{data: data}
	containers, runs, err := checkCookie(c)
	if err != nil {
		return 0, err
	}
	head, ok := c.take(4 * containers)
	if !ok {
		return 0, errShort
	}
	if runs == nil || containers >= offsetsFrom {
		if _, ok := c.take(4 * containers); !ok { // offsets: we go in order anyway
			return 0, errShort
		}
	}
	last := -1
	for i := range containers {
		key := int(binary.LittleEndian.Uint16(head[4*i:]))
		if key <= last {
			return 0, errors.New("the keys of its containers do not ascend")
		}
		last = key
		values := int(binary.LittleEndian.Uint16(head[4*i+2:])) + 1
		switch {
		case runs != nil && runs[i/8]&(1<<(i%8)) != 0:
			err = checkRuns(c, values)
		case values > maxArrayValues:
			err = checkBitmap(c, values)
		default:
			err = checkArray(c, values)
		}
		if err != nil {
			return 0, fmt.Errorf("container %d of %d: %w", i, containers, err)
		}
	}
	return c.pos, nil
}

// checkCookie reads the number of containers, and which of them are runs (one
// bit each; nil if none can be).
func checkCookie(c *cursor) (containers int, runs []byte, err error) {
	b, ok := c.take(4)
	if !ok {
		return 0, nil, errShort
	}
	cookie := binary.LittleEndian.Uint32(b)
	if cookie&0xFFFF == cookieRuns {
		containers = int(cookie>>16) + 1
		if runs, ok = c.take((containers + 7) / 8); !ok {
			return 0, nil, errShort
		}
		return containers, runs, nil
	}
	if cookie != cookieNoRuns {
		return 0, nil, fmt.Errorf("it begins with %d, which is no roaring bitmap", cookie)
	}
	if b, ok = c.take(4); !ok {
		return 0, nil, errShort
	}
	n := binary.LittleEndian.Uint32(b)
	if n > 1<<16 {
		return 0, nil, fmt.Errorf("it claims %d containers, more than there can be", n)
	}
	return int(n), nil, nil
}

func checkArray(c *cursor, values int) error {
	b, ok := c.take(2 * values)
	if !ok {
		return errShort
	}
	for i := 2; i < len(b); i += 2 {
		if binary.LittleEndian.Uint16(b[i:]) <= binary.LittleEndian.Uint16(b[i-2:]) {
			return errors.New("its values do not ascend")
		}
	}
	return nil
}

func checkBitmap(c *cursor, values int) error {
	b, ok := c.take(bitmapBytes)
	if !ok {
		return errShort
	}
	n := 0
	for i := 0; i < len(b); i += 8 {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(b[i:]))
	}
	if n != values {
		return fmt.Errorf("%d bits are set where %d are announced", n, values)
	}
	return nil
}

func checkRuns(c *cursor, values int) error {
	b, ok := c.take(2)
	if !ok {
		return errShort
	}
	if b, ok = c.take(4 * int(binary.LittleEndian.Uint16(b))); !ok {
		return errShort
	}
	n, last := 0, -2
	for ; len(b) > 0; b = b[4:] {
		start := int(binary.LittleEndian.Uint16(b))
		end := start + int(binary.LittleEndian.Uint16(b[2:]))
		// Runs that touch would be one run: no writer makes them, and the
		// library does not expect them.
		if start <= last+1 || end > 0xFFFF {
			return errors.New("its runs do not ascend, overlap, touch, or go beyond its end")
		}
		n, last = n+end-start+1, end
	}
	if n != values {
		return fmt.Errorf("its runs have %d values where %d are announced", n, values)
	}
	return nil
}
