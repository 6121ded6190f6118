package cdctest

import (
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// counting is an allocator that knows how much of what it gave has not come
// back. Arrow's CheckedAllocator besides notes who asked, for every buffer:
// that is a fortieth of what a simulated history costs.
type counting struct {
	memory.GoAllocator

	held atomic.Int64 // bytes
}

func (c *counting) Allocate(size int) []byte {
	c.held.Add(int64(size))
	return c.GoAllocator.Allocate(size)
}

func (c *counting) Reallocate(size int, b []byte) []byte {
	c.held.Add(int64(size - len(b)))
	return c.GoAllocator.Reallocate(size, b)
}

func (c *counting) Free(b []byte) {
	c.held.Add(-int64(len(b)))
	c.GoAllocator.Free(b)
}
