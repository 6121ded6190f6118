package colfile

import (
	"fmt"
	"io"
	"sync"
)

// Finished pages wait for the end of their row group in blocks of one size,
// which go back to a pool. A chain starts with a small block, so that a file
// of a hundred rows does not take a large one for each of its columns.
const (
	firstBlock = 4 << 10
	nextBlock  = 64 << 10
)

var (
	firstBlocks = sync.Pool{New: func() any { return new([firstBlock]byte) }}
	nextBlocks  = sync.Pool{New: func() any { return new([nextBlock]byte) }}
)

// chain is a sequence of bytes in pooled blocks. The zero value is empty.
type chain struct {
	first *[firstBlock]byte
	next  []*[nextBlock]byte
	size  int64
}

func (c *chain) append(p []byte) {
	if c.first == nil {
		c.first = firstBlocks.Get().(*[firstBlock]byte)
	}
	for len(p) > 0 {
		var room []byte
		if c.size < firstBlock {
			room = c.first[c.size:]
		} else {
			at := c.size - firstBlock
			if int(at/nextBlock) == len(c.next) {
				c.next = append(c.next, nextBlocks.Get().(*[nextBlock]byte))
			}
			room = c.next[at/nextBlock][at%nextBlock:]
		}
		n := copy(room, p)
		c.size += int64(n)
		p = p[n:]
	}
}

// writeTo writes the bytes to w and empties the chain, also when it fails.
func (c *chain) writeTo(w io.Writer) error {
	defer c.reset()
	left := c.size
	for i := -1; left > 0; i++ {
		var b []byte
		if i < 0 {
			b = c.first[:min(left, firstBlock)]
		} else {
			b = c.next[i][:min(left, nextBlock)]
		}
		n, err := w.Write(b)
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return fmt.Errorf("writing %d bytes of pages: %w", len(b), err)
		}
		left -= int64(len(b))
	}
	return nil
}

func (c *chain) reset() {
	if c.first != nil {
		firstBlocks.Put(c.first)
		c.first = nil
	}
	for i, b := range c.next {
		nextBlocks.Put(b)
		c.next[i] = nil
	}
	c.next, c.size = c.next[:0], 0
}

// maxPooledScratch is the size above which grown memory is left to the
// garbage collector instead of a pool.
const maxPooledScratch = 2 << 20
