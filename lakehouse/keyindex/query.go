package keyindex

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
)

// query is one of the hashes of a lookup, and where its answer goes.
type query struct {
	hi, lo uint64
	at     int
}

func hashWords(h *Hash) (hi, lo uint64) {
	return binary.BigEndian.Uint64(h[:8]), binary.BigEndian.Uint64(h[8:])
}

func compareQueries(a, b query) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}

// scratch is the memory of one lookup, kept for the next.
type scratch struct {
	qs, sorted []query
	counts     []int32
	bounds     []int // of the partitions' queries
	readers    []blockReader
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// sort orders s.qs by hash: one pass into as many buckets as there are
// queries, which evenly spread hashes fill with one or two each.
func (s *scratch) sort() []query {
	n := len(s.qs)
	if n < 32 {
		slices.SortFunc(s.qs, compareQueries)
		return s.qs
	}
	s.sorted = slices.Grow(s.sorted[:0], n)[:n]
	s.counts = slices.Grow(s.counts[:0], n+1)[:n+1]
	clear(s.counts)
	bucket := func(hi uint64) uint64 {
		b, _ := bits.Mul64(hi, uint64(n))
		return b
	}
	for i := range s.qs {
		s.counts[bucket(s.qs[i].hi)+1]++
	}
	for i := range n {
		s.counts[i+1] += s.counts[i]
	}
	for i := range s.qs {
		b := bucket(s.qs[i].hi)
		s.sorted[s.counts[b]] = s.qs[i]
		s.counts[b]++
	}
	// counts[b] is now the end of bucket b.
	from := int32(0)
	for _, to := range s.counts[:n] {
		sortBucket(s.sorted[from:to])
		from = to
	}
	return s.sorted
}

func sortBucket(qs []query) {
	if len(qs) > 16 {
		slices.SortFunc(qs, compareQueries)
		return
	}
	for i := 1; i < len(qs); i++ {
		for j := i; j > 0 && compareQueries(qs[j], qs[j-1]) < 0; j-- {
			qs[j], qs[j-1] = qs[j-1], qs[j]
		}
	}
}
