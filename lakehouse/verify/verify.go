// Package verify finds where two sets of rows differ, in memory that does not
// grow with them: first by sums over buckets, then by the rows of the buckets
// that differ. It is pure, and knows rows by their hashes only.
package verify

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Hash is 128 bits of a key, or of a whole row, made with one secret seed on
// both sides, so that nobody can choose rows that cancel each other out.
type Hash [16]byte

// buckets is how many a digest has: of ten million rows some hundred and fifty
// share one.
const buckets = Buckets

// Buckets is how many buckets a digest has.
const Buckets = 1 << 16

func bucketOf(key Hash) int { return int(binary.BigEndian.Uint16(key[:])) }

// Digest is what a set of rows comes to: for each bucket of keys their number
// and the sum of the rows' hashes, so that the order does not count. The same
// row twice is not the same as once. The zero value is of no rows. It is used
// by one goroutine.
type Digest struct {
	rows int64
	sums []sum
}

// sum is of hashes modulo 2^128, and their number.
type sum struct{ n, lo, hi uint64 }

func (s *sum) add(n, lo, hi uint64) {
	var carry uint64
	s.n += n
	s.lo, carry = bits.Add64(s.lo, lo, 0)
	s.hi, _ = bits.Add64(s.hi, hi, carry)
}

// Add takes a row in.
func (d *Digest) Add(key, row Hash) {
	if d.sums == nil {
		d.sums = make([]sum, buckets)
	}
	d.rows++
	d.sums[bucketOf(key)].add(1, binary.LittleEndian.Uint64(row[:8]), binary.LittleEndian.Uint64(row[8:]))
}

// Merge takes the rows of another digest in.
func (d *Digest) Merge(o *Digest) {
	if o.sums == nil {
		return
	}
	if d.sums == nil {
		d.sums = make([]sum, buckets)
	}
	d.rows += o.rows
	for i, s := range o.sums {
		d.sums[i].add(s.n, s.lo, s.hi)
	}
}

// Rows is the number of rows.
func (d *Digest) Rows() int64 { return d.rows }

// Differ gives the buckets in which two digests differ, in order.
func Differ(a, b *Digest) []int {
	var list []int
	for i := range buckets {
		var x, y sum
		if a.sums != nil {
			x = a.sums[i]
		}
		if b.sums != nil {
			y = b.sums[i]
		}
		if x != y {
			list = append(list, i)
		}
	}
	return list
}

// Finder finds the keys that differ in some buckets. Each side's rows of these
// buckets are given to it, and it remembers their hashes: memory is that of two
// times their number.
type Finder struct {
	want map[int]bool
	keys map[Hash]map[Hash]int // key -> row -> how often on the left more than on the right
	left map[Hash]bool         // keys of which the left has a row
}

// NewFinder is for rows of these buckets.
func NewFinder(buckets []int) *Finder {
	f := &Finder{want: map[int]bool{}, keys: map[Hash]map[Hash]int{}, left: map[Hash]bool{}}
	for _, b := range buckets {
		f.want[b] = true
	}
	return f
}

// Wants reports whether a row with a key belongs to the buckets. It may be
// called by many goroutines.
func (f *Finder) Wants(key Hash) bool { return f.want[bucketOf(key)] }

// Left and Right take a row of a side in.
func (f *Finder) Left(key, row Hash) {
	f.left[key] = true
	f.count(key, row, 1)
}

// Right is Left of the other side.
func (f *Finder) Right(key, row Hash) { f.count(key, row, -1) }

func (f *Finder) count(key, row Hash, n int) {
	rows := f.keys[key]
	if rows == nil {
		rows = map[Hash]int{}
		f.keys[key] = rows
	}
	if rows[row] += n; rows[row] == 0 {
		delete(rows, row)
	}
}

// Keys gives the keys whose rows differ, in order.
func (f *Finder) Keys() []Hash {
	var list []Hash
	for k, rows := range f.keys {
		if len(rows) > 0 {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b Hash) int { return slices.Compare(a[:], b[:]) })
	return list
}

// Surplus tells how often a row is on the left more than on the right; negative
// for the other way.
func (f *Finder) Surplus(key, row Hash) int { return f.keys[key][row] }

// OnLeft reports whether the left has a row of a key.
func (f *Finder) OnLeft(key Hash) bool { return f.left[key] }
