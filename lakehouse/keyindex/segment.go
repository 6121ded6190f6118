package keyindex

import (
	"math/bits"
	"slices"
)

// segment is a partition's part of a run.
type segment struct {
	run *runFile
	sec *section
}

const (
	maxReadBlocks = 64 // of one read of a lookup
	maxReadGap    = 2  // blocks that are read for nothing rather than read twice
)

// upper is the number of blocks whose first hash is at most hi, by
// interpolation: a section's hashes are spread evenly over its partition,
// which is what is left of the hash after skip bits.
func (s *section) upper(hi uint64, skip uint) int {
	f := s.fences
	g0, _ := bits.Mul64(hi<<skip, uint64(len(f)))
	g := int(g0)
	lo, up := 0, len(f)
	if f[g] <= hi {
		lo = g + 1
		for step := 2; g+step < up; step *= 2 {
			if f[g+step] > hi {
				up = g + step
				break
			}
			lo = g + step + 1
		}
	} else {
		up = g
		for step := 2; g-step >= lo; step *= 2 {
			if f[g-step] <= hi {
				lo = g - step + 1
				break
			}
			up = g - step
		}
	}
	for lo < up {
		m := int(uint(lo+up) >> 1)
		if f[m] <= hi {
			lo = m + 1
		} else {
			up = m
		}
	}
	return lo
}

// candidate is a query that may be answered by blocks lo to hi of a section.
type candidate struct {
	q      int
	lo, hi int32
}

// blockReader reads the blocks that a batch of sorted queries needs, in one
// direction, near ones together.
type blockReader struct {
	cands    []candidate
	buf      []byte
	from, to int    // blocks in buf
	checked  uint64 // of them, those whose checksum was found right
}

// lookup answers what the segment can of the sorted queries, and gives the
// others, at the front of the same array.
func (r *blockReader) lookup(g *segment, skip uint, pend []query, locs []Loc) ([]query, error) {
	r.find(g.sec, skip, pend)
	r.from, r.to = 0, 0
	if len(r.cands) == 0 {
		return pend, nil
	}
	rest := pend[:0]
	next := 0
	for i := range r.cands {
		c := &r.cands[i]
		rest = append(rest, pend[next:c.q]...)
		next = c.q + 1
		q := pend[c.q]
		s, ok, err := r.search(g, i, q)
		if err != nil {
			return nil, err
		}
		if ok {
			locs[q.at] = s.loc()
		} else {
			rest = append(rest, q)
		}
	}
	return append(rest, pend[next:]...), nil
}

// find collects the queries that the section may answer.
func (r *blockReader) find(s *section, skip uint, pend []query) {
	r.cands = r.cands[:0]
	for i := range pend {
		q := &pend[i]
		if s.filter != nil && !s.filter.mayHave(q.hi, q.lo) {
			continue
		}
		hi := s.upper(q.hi, skip) - 1
		if hi < 0 {
			continue
		}
		// A block that begins with the same eight bytes may not be the first
		// that holds such a hash.
		lo := hi
		for lo > 0 && s.fences[lo] == q.hi {
			lo--
		}
		r.cands = append(r.cands, candidate{q: i, lo: int32(lo), hi: int32(hi)})
	}
}

func (r *blockReader) search(g *segment, i int, q query) (slot, bool, error) {
	c := r.cands[i]
	for b := int(c.hi); b >= int(c.lo); b-- {
		block, err := r.block(g, i, b)
		if err != nil {
			return slot{}, false, err
		}
		k, ok := readBlock(block)
		if !ok {
			return slot{}, false, g.run.unfitBlock(g.sec.first + uint32(b))
		}
		if s, ok := k.search(q.hi, q.lo); ok {
			return s, true, nil
		}
	}
	return slot{}, false, nil
}

// block gives a block of the section, read with those that candidates from i
// on need if they are near.
func (r *blockReader) block(g *segment, i, b int) ([]byte, error) {
	if b < r.from || b >= r.to {
		if err := r.fill(g, i, b); err != nil {
			return nil, err
		}
	}
	k := b - r.from
	block := r.buf[k*blockBytes : (k+1)*blockBytes]
	if r.checked>>k&1 == 0 {
		if err := g.run.checkBlock(block, g.sec.first+uint32(b)); err != nil {
			return nil, err
		}
		r.checked |= 1 << k
	}
	return block, nil
}

func (r *blockReader) fill(g *segment, i, b int) error {
	from, to := b, b+1
	if c := r.cands[i]; int(c.hi)-int(c.lo) < maxReadBlocks {
		from, to = int(c.lo), int(c.hi)+1
	}
	for _, c := range r.cands[i+1:] {
		if int(c.lo) > to+maxReadGap || int(c.hi)+1-from > maxReadBlocks {
			break
		}
		to = max(to, int(c.hi)+1)
	}
	n := (to - from) * blockBytes
	r.buf = slices.Grow(r.buf[:0], n)[:n]
	r.from, r.to, r.checked = 0, 0, 0
	if err := g.run.readBlocks(r.buf, g.sec.first+uint32(from)); err != nil {
		return err
	}
	r.from, r.to = from, to
	return nil
}
