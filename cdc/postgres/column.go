package postgres

import (
	"errors"
	"math"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// errBatchFull says that a column would outgrow Arrow's 32-bit offsets. It
// cannot happen while chunks are handed over at their limit, as a message of
// the protocol holds less than 1 GB.
var errBatchFull = errors.New("the values of one column in one batch exceed 2 GB")

// column is one growing Arrow array. Its slices are the memory of its buffers:
// fixed holds the values of fixed-width types (bits for booleans), offsets and
// data those of strings.
type column struct {
	columnType
	width   int // bytes of a fixed value; 0 for strings, -1 for booleans
	valid   []byte
	fixed   []byte
	offsets []int32
	data    []byte // data[:used] is in use
	used    int
	nulls   int
	hint    int // bytes of strings to make room for at first

	unchanged []int32

	validBuf, fixedBuf, dataBuf *memory.Buffer
	mem                         memory.Allocator
}

func newColumn(t columnType) column {
	c := column{columnType: t}
	switch t.kind {
	case kindBool:
		c.width = -1
	case kindInt16:
		c.width = 2
	case kindInt32, kindFloat32, kindDate:
		c.width = 4
	case kindInt64, kindFloat64, kindTimestamp, kindTimestamptz:
		c.width = 8
	case kindDecimal:
		c.width = 16
	}
	return c
}

// rowWidth is what a row takes at least, for estimates.
func (c *column) rowWidth() int {
	switch c.width {
	case 0:
		return 4
	case -1:
		return 1
	}
	return c.width
}

// reserve makes room for rows rows.
func (c *column) reserve(mem memory.Allocator, rows int) {
	if c.validBuf == nil {
		c.mem = mem
		c.validBuf = memory.NewResizableBuffer(mem)
		c.fixedBuf = memory.NewResizableBuffer(mem)
	}
	bitmap := (rows + 7) / 8
	c.valid = resizeZero(c.validBuf, len(c.valid), bitmap)
	switch c.width {
	case 0:
		had := len(c.offsets)
		c.fixedBuf.Resize((rows + 1) * 4)
		c.offsets = arrow.Int32Traits.CastFromBytes(c.fixedBuf.Bytes())
		if had == 0 {
			c.offsets[0] = 0
		}
		if c.dataBuf == nil {
			c.dataBuf = memory.NewResizableBuffer(mem)
		}
	case -1:
		c.fixed = resizeZero(c.fixedBuf, len(c.fixed), bitmap)
	default:
		c.fixedBuf.Resize(rows * c.width)
		c.fixed = c.fixedBuf.Bytes()
	}
}

// resizeZero grows a buffer whose new bytes have to be zero, which allocators
// do not promise.
func resizeZero(buf *memory.Buffer, had, size int) []byte {
	buf.Resize(size)
	b := buf.Bytes()
	clear(b[had:])
	return b
}

func (c *column) setValid(row int) { c.valid[row>>3] |= 1 << (row & 7) }

// setNull leaves the row's bit unset and gives its slot a settled content.
func (c *column) setNull(row int) {
	c.nulls++
	switch c.width {
	case 0:
		c.offsets[row+1] = int32(c.used)
	case -1:
	default:
		clear(c.fixed[row*c.width : (row+1)*c.width])
	}
}

// putBytes stores a string's bytes.
func (c *column) putBytes(row int, v []byte) error {
	dst, err := c.extend(row, len(v))
	if err == nil {
		copy(dst, v)
	}
	return err
}

// extend makes the row a string of n bytes, which the caller fills.
func (c *column) extend(row, n int) ([]byte, error) {
	end := c.used + n
	if end > len(c.data) {
		if err := c.growData(end); err != nil {
			return nil, err
		}
	}
	dst := c.data[c.used:end]
	c.used = end
	c.offsets[row+1] = int32(end)
	c.setValid(row)
	return dst, nil
}

// growData makes room for need bytes of strings.
func (c *column) growData(need int) error {
	if need > math.MaxInt32 {
		return errBatchFull
	}
	size := 1 << bits.Len(uint(max(need, 512)-1))
	size = min(max(size, need, c.hint), math.MaxInt32)
	c.dataBuf.Resize(size)
	c.data = c.dataBuf.Bytes()
	return nil
}

// finish makes the array of the first rows rows and gives the buffers away.
func (c *column) finish(rows int) arrow.Array {
	buffers := []*memory.Buffer{nil, c.fixedBuf}
	if c.nulls > 0 {
		c.validBuf.ResizeNoShrink((rows + 7) / 8)
		buffers[0] = c.validBuf
	}
	switch c.width {
	case 0:
		c.fixedBuf.ResizeNoShrink((rows + 1) * 4)
		c.dataBuf.ResizeNoShrink(c.used)
		buffers = append(buffers, c.dataBuf)
	case -1:
		c.fixedBuf.ResizeNoShrink((rows + 7) / 8)
	default:
		c.fixedBuf.ResizeNoShrink(rows * c.width)
	}
	data := array.NewData(c.arrowType(), rows, buffers, nil, c.nulls, 0)
	defer data.Release()
	c.discard()
	return array.MakeFromData(data)
}

// discard gives up the column's own hold on its buffers.
func (c *column) discard() {
	for _, b := range []*memory.Buffer{c.validBuf, c.fixedBuf, c.dataBuf} {
		if b != nil {
			b.Release()
		}
	}
	c.validBuf, c.fixedBuf, c.dataBuf = nil, nil, nil
}
