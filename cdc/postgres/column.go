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

// layout is how a column's values lie in memory.
type layout uint8

const (
	layoutFixed  layout = iota // width bytes each
	layoutBits                 // booleans
	layoutBytes                // offsets and data
	layoutList                 // offsets into the only child; a map's child is a pair
	layoutStruct               // children of the same length
)

// column is one growing Arrow array. Its slices are the memory of its buffers:
// fixed holds the values of fixed-width types (bits for booleans), offsets and
// data those of strings. Lists and structs have columns of their own below
// them, which make room for each row as it comes.
type column struct {
	columnType
	layout   layout
	width    int // of layoutFixed
	children []column

	valid   []byte
	fixed   []byte
	offsets []int32
	data    []byte // data[:used] is in use
	used    int    // bytes of strings, or elements of lists
	nulls   int
	hint    int // bytes of strings to make room for at first

	// Of a child: its rows, and those for which there is room; and how far it
	// was when the value of the topmost column began.
	n, capacity, rowsHint int
	marked                struct{ n, used, nulls int }

	unchanged []int32
	unescaped []byte // the part of a composed value's text that is being decoded

	validBuf, fixedBuf, dataBuf *memory.Buffer
	mem                         memory.Allocator
}

func newColumn(t columnType) column {
	c := column{columnType: t}
	switch t.kind {
	case kindBool:
		c.layout = layoutBits
	case kindInt16:
		c.width = 2
	case kindInt32, kindFloat32, kindDate:
		c.width = 4
	case kindInt64, kindFloat64, kindTimestamp, kindTimestamptz, kindUint32:
		c.width = 8
	case kindDecimal, kindUint64:
		c.width = 16
	case kindList, kindMultirange, kindVector, kindHalfvec:
		c.layout, c.children = layoutList, []column{newColumn(t.parts[0])}
	case kindHstore:
		c.layout, c.children = layoutList, []column{newPair(t.parts[0], t.parts[1])}
	case kindStruct:
		c.layout = layoutStruct
		for _, p := range t.parts {
			c.children = append(c.children, newColumn(p))
		}
	case kindRange:
		flag := columnType{arrow: arrow.FixedWidthTypes.Boolean, kind: kindBool}
		c.layout = layoutStruct
		for _, p := range []columnType{t.parts[0], t.parts[0], flag, flag, flag} {
			c.children = append(c.children, newColumn(p))
		}
	default:
		c.layout = layoutBytes
	}
	return c
}

// newPair is what a map is a list of.
func newPair(key, value columnType) column {
	typ := arrow.StructOf(arrow.Field{Name: "key", Type: key.arrowType()}, arrow.Field{Name: "value", Type: value.arrowType(), Nullable: true})
	return column{columnType: columnType{arrow: typ, kind: kindStruct}, layout: layoutStruct, children: []column{newColumn(key), newColumn(value)}}
}

// composed reports whether a value may have been put in parts when it turns
// out that it cannot be held.
func (c *column) composed() bool { return len(c.children) > 0 }

// rowWidth is what a row takes at least, for estimates.
func (c *column) rowWidth() int {
	switch c.layout {
	case layoutFixed:
		return c.width
	case layoutBytes, layoutList:
		return 4
	}
	return 1
}

// reserve makes room for rows rows.
func (c *column) reserve(mem memory.Allocator, rows int) {
	if c.validBuf == nil {
		c.mem = mem
		c.validBuf = memory.NewResizableBuffer(mem)
		c.fixedBuf = memory.NewResizableBuffer(mem)
		for i := range c.children {
			c.children[i].reserve(mem, min(rows, max(c.children[i].rowsHint, 1)))
		}
	}
	bitmap := (rows + 7) / 8
	c.valid = resizeZero(c.validBuf, len(c.valid), bitmap)
	c.capacity = rows
	switch c.layout {
	case layoutBytes, layoutList:
		had := len(c.offsets)
		c.fixedBuf.Resize((rows + 1) * 4)
		c.offsets = arrow.Int32Traits.CastFromBytes(c.fixedBuf.Bytes())
		if had == 0 {
			c.offsets[0] = 0
		}
		if c.dataBuf == nil && c.layout == layoutBytes {
			c.dataBuf = memory.NewResizableBuffer(mem)
		}
	case layoutBits:
		c.fixed = resizeZero(c.fixedBuf, len(c.fixed), bitmap)
	case layoutFixed:
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
	switch c.layout {
	case layoutBytes, layoutList:
		c.offsets[row+1] = int32(c.used)
	case layoutFixed:
		clear(c.fixed[row*c.width : (row+1)*c.width])
	case layoutStruct:
		for i := range c.children {
			c.children[i].addNull()
		}
	}
}

// room makes room for one row more of a child.
func (c *column) room() {
	if c.n == c.capacity {
		c.reserve(c.mem, max(2*c.capacity, c.rowsHint, 8))
	}
}

// addNull puts NULL into a child.
func (c *column) addNull() {
	c.room()
	c.setNull(c.n)
	c.n++
}

// endList completes the row of a list whose elements have been put.
func (c *column) endList(row int) error {
	elem := &c.children[0]
	if elem.n > math.MaxInt32 {
		return errBatchFull
	}
	c.used = elem.n
	c.offsets[row+1] = int32(c.used)
	c.setValid(row)
	return nil
}

// mark remembers how far the columns below are, before a value is put.
func (c *column) mark() {
	for i := range c.children {
		k := &c.children[i]
		k.marked.n, k.marked.used, k.marked.nulls = k.n, k.used, k.nulls
		k.mark()
	}
}

// rollback takes back what was put into the columns below since mark.
func (c *column) rollback() {
	for i := range c.children {
		k := &c.children[i]
		clearBits(k.valid, k.marked.n, k.n)
		if k.layout == layoutBits {
			clearBits(k.fixed, k.marked.n, k.n)
		}
		k.n, k.used, k.nulls = k.marked.n, k.marked.used, k.marked.nulls
		k.rollback()
	}
}

// clearBits clears the bits from <= i <= to, as the value at to may have been
// begun; those behind it are clear.
func clearBits(b []byte, from, to int) {
	for i := from; i <= to && i>>3 < len(b); i++ {
		b[i>>3] &^= 1 << (i & 7)
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

// largeData is where growing by doubling ends: beyond it, a single value is
// most of what the batch will hold, and gets just the room that it needs.
const largeData = 64 << 20

// growData makes room for need bytes of strings.
func (c *column) growData(need int) error {
	if need > math.MaxInt32 {
		return errBatchFull
	}
	size := max(need, len(c.data)+len(c.data)/4) // parts of one value may come by the million
	if need < largeData {
		size = max(1<<bits.Len(uint(max(need, 512)-1)), c.hint)
	}
	c.dataBuf.Resize(min(size, math.MaxInt32))
	c.data = c.dataBuf.Bytes()
	return nil
}

// finish makes the array of the first rows rows and gives the buffers away.
func (c *column) finish(rows int) arrow.Array {
	data := c.finishData(rows)
	defer data.Release()
	return array.MakeFromData(data)
}

func (c *column) finishData(rows int) *array.Data {
	buffers := make([]*memory.Buffer, 1, 3)
	if c.nulls > 0 {
		c.validBuf.ResizeNoShrink((rows + 7) / 8)
		buffers[0] = c.validBuf
	}
	switch c.layout {
	case layoutBytes:
		c.fixedBuf.ResizeNoShrink((rows + 1) * 4)
		c.dataBuf.ResizeNoShrink(c.used)
		buffers = append(buffers, c.fixedBuf, c.dataBuf)
	case layoutList:
		c.fixedBuf.ResizeNoShrink((rows + 1) * 4)
		buffers = append(buffers, c.fixedBuf)
	case layoutBits:
		c.fixedBuf.ResizeNoShrink((rows + 7) / 8)
		buffers = append(buffers, c.fixedBuf)
	case layoutFixed:
		c.fixedBuf.ResizeNoShrink(rows * c.width)
		buffers = append(buffers, c.fixedBuf)
	}
	below := make([]arrow.ArrayData, len(c.children))
	for i := range c.children {
		below[i] = c.children[i].finishData(c.children[i].n)
		defer below[i].Release()
	}
	data := array.NewData(c.arrowType(), rows, buffers, below, c.nulls, 0)
	c.discard()
	return data
}

// discard gives up the column's own hold on its buffers.
func (c *column) discard() {
	for _, b := range []*memory.Buffer{c.validBuf, c.fixedBuf, c.dataBuf} {
		if b != nil {
			b.Release()
		}
	}
	c.validBuf, c.fixedBuf, c.dataBuf = nil, nil, nil
	for i := range c.children {
		c.children[i].discard()
	}
}

// fresh is an empty column like c, which makes room for as much at once.
func (c *column) fresh() column {
	f := newColumn(c.columnType)
	if c.kind == kindStruct && c.parts == nil { // the pair of a map
		f = newPair(c.children[0].columnType, c.children[1].columnType)
	}
	f.inherit(c)
	return f
}

// What is made room for beforehand has bounds: the next batch may also be
// small.
const (
	maxHint     = 8 << 20 // bytes
	maxRowsHint = 64 << 10
)

func (c *column) inherit(old *column) {
	c.hint, c.rowsHint = min(old.used, maxHint), min(old.n, maxRowsHint)
	for i := range c.children {
		c.children[i].inherit(&old.children[i])
	}
}
