// Package dv holds deletion vectors: sets of row numbers of a data file that
// are logically deleted, and their bytes in files and in the log, as the Delta
// protocol says ("Deletion Vectors", "Deletion Vector Format").
//
// The package does no input or output of its own and starts no goroutine.
package dv

import (
	"iter"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// MaxRow is the greatest row number that the format can hold.
const MaxRow = 1<<63 - 1

// Bitmap is a set of row numbers, counted from 0 in the physical order of a
// data file. The zero value is an empty set. Methods that do not change it may
// be called by many goroutines at once.
type Bitmap struct {
	// buckets are ascending by high; none is empty.
	buckets []bucket
}

// bucket holds the rows whose upper 32 bits are high.
type bucket struct {
	high uint32
	low  *roaring.Bitmap
}

// New gives a set of some rows.
func New(rows ...uint64) *Bitmap {
	b := new(Bitmap)
	b.AddMany(rows)
	return b
}

func (b *Bitmap) find(high uint32) (int, bool) {
	return slices.BinarySearchFunc(b.buckets, high, func(k bucket, h uint32) int {
		switch {
		case k.high < h:
			return -1
		case k.high > h:
			return 1
		}
		return 0
	})
}

// at gives the bucket of the rows with these upper bits, making it if needed.
func (b *Bitmap) at(high uint32) *roaring.Bitmap {
	i, ok := b.find(high)
	if !ok {
		b.buckets = slices.Insert(b.buckets, i, bucket{high, roaring.New()})
	}
	return b.buckets[i].low
}

// Add puts a row into the set and reports whether it is new there. A row
// beyond MaxRow is a mistake of the program, not of its data: it panics.
func (b *Bitmap) Add(row uint64) bool {
	return b.at(high(row)).CheckedAdd(uint32(row))
}

// AddMany puts rows into the set, in any order; ascending ones are fastest.
// The slice is not kept. A row beyond MaxRow panics as for Add.
func (b *Bitmap) AddMany(rows []uint64) {
	var low [512]uint32
	for len(rows) > 0 {
		h, n := high(rows[0]), 0
		for n < len(rows) && n < len(low) && rows[n]>>32 == uint64(h) {
			low[n] = uint32(rows[n])
			n++
		}
		b.at(h).AddMany(low[:n])
		rows = rows[n:]
	}
}

// AddRange puts the rows from, from+1, ... up to but without to into the set.
func (b *Bitmap) AddRange(from, to uint64) {
	for from < to {
		h := high(from)
		end := min(to, (uint64(h)+1)<<32)
		b.at(h).AddRange(from-uint64(h)<<32, end-uint64(h)<<32)
		from = end
	}
}

func high(row uint64) uint32 {
	if row > MaxRow {
		panic("dv: a row number beyond 2^63-1")
	}
	return uint32(row >> 32)
}

// Contains reports whether a row is in the set.
func (b *Bitmap) Contains(row uint64) bool {
	if row > MaxRow {
		return false
	}
	i, ok := b.find(uint32(row >> 32))
	return ok && b.buckets[i].low.Contains(uint32(row))
}

// Cardinality is the number of rows in the set.
func (b *Bitmap) Cardinality() uint64 {
	var n uint64
	for _, k := range b.buckets {
		n += k.low.GetCardinality()
	}
	return n
}

// IsEmpty reports whether no row is in the set.
func (b *Bitmap) IsEmpty() bool { return len(b.buckets) == 0 }

// Last is the greatest row in the set; false if there is none.
func (b *Bitmap) Last() (uint64, bool) {
	if b.IsEmpty() {
		return 0, false
	}
	k := b.buckets[len(b.buckets)-1]
	return uint64(k.high)<<32 | uint64(k.low.Maximum()), true
}

// All gives the rows in ascending order. The set must not change meanwhile.
func (b *Bitmap) All() iter.Seq[uint64] { return b.Rows(0, MaxRow+1) }

// Rows gives those rows of the set that are at least from and below to, in
// ascending order: what a scan needs for one batch of a file. The set must
// not change meanwhile.
func (b *Bitmap) Rows(from, to uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		if from >= to || from > MaxRow {
			return
		}
		start, _ := b.find(uint32(from >> 32))
		for _, k := range b.buckets[start:] {
			base := uint64(k.high) << 32
			if base >= to {
				return
			}
			it := k.low.Iterator()
			if from > base {
				it.AdvanceIfNeeded(uint32(from - base))
			}
			for it.HasNext() {
				row := base | uint64(it.Next())
				if row >= to || !yield(row) {
					return
				}
			}
		}
	}
}

// Iterate calls f for each row in ascending order until it gives false.
func (b *Bitmap) Iterate(f func(row uint64) bool) { b.All()(f) }

// Or puts all rows of o into b. It leaves o as it is, and shares nothing with
// it afterwards.
func (b *Bitmap) Or(o *Bitmap) {
	if b == o {
		return
	}
	for _, k := range o.buckets {
		if i, ok := b.find(k.high); ok {
			b.buckets[i].low.Or(k.low)
		} else {
			b.buckets = slices.Insert(b.buckets, i, bucket{k.high, k.low.Clone()})
		}
	}
}

// AndNot takes all rows of o out of b, and leaves o as it is.
func (b *Bitmap) AndNot(o *Bitmap) {
	if b == o {
		b.buckets = nil
		return
	}
	for _, k := range o.buckets {
		if i, ok := b.find(k.high); ok {
			b.buckets[i].low.AndNot(k.low)
		}
	}
	b.buckets = slices.DeleteFunc(b.buckets, func(k bucket) bool { return k.low.IsEmpty() })
}

// Clone gives a copy that shares nothing with b.
func (b *Bitmap) Clone() *Bitmap {
	c := &Bitmap{buckets: make([]bucket, len(b.buckets))}
	for i, k := range b.buckets {
		c.buckets[i] = bucket{k.high, k.low.Clone()}
	}
	return c
}

// Equal reports whether both sets have the same rows.
func (b *Bitmap) Equal(o *Bitmap) bool {
	return slices.EqualFunc(b.buckets, o.buckets, func(x, y bucket) bool {
		return x.high == y.high && x.low.Equals(y.low)
	})
}
