package keyindex

import "context"

// segReader reads a segment from its first entry to its last.
type segReader struct {
	cur slot // the entry it stands at

	g      *segment
	buf    []byte
	blocks []byte // what is read and not used
	next   int    // the block after those
	slots  []slot // of the block at hand
	at     int    // those before it are used
	left   int64  // entries in the blocks not used
}

func newSegReader(g *segment, bufBytes int) *segReader {
	n := min(max(bufBytes/blockBytes, 1), len(g.sec.fences))
	return &segReader{g: g, buf: make([]byte, n*blockBytes), left: g.sec.n}
}

// advance goes to the next entry; false at the end.
func (r *segReader) advance() (bool, error) {
	if r.at == len(r.slots) {
		if ok, err := r.load(); !ok {
			return false, err
		}
	}
	r.cur = r.slots[r.at]
	r.at++
	return true, nil
}

func (r *segReader) load() (bool, error) {
	sec := r.g.sec
	if len(r.blocks) == 0 {
		left := len(sec.fences) - r.next
		if left == 0 {
			return false, nil
		}
		r.blocks = r.buf[:min(left*blockBytes, len(r.buf))]
		if err := r.g.run.readBlocks(r.blocks, sec.first+uint32(r.next)); err != nil {
			return false, err
		}
		r.next += len(r.blocks) / blockBytes
	}
	no := r.next - len(r.blocks)/blockBytes
	b := r.blocks[:blockBytes]
	if err := r.g.run.checkBlock(b, sec.first+uint32(no)); err != nil {
		return false, err
	}
	k, ok := readBlock(b)
	if r.left -= int64(k.n); !ok || r.left < 0 || r.left > 0 && no+1 == len(sec.fences) {
		return false, r.g.run.unfitBlock(sec.first + uint32(no))
	}
	r.blocks = r.blocks[blockBytes:]
	r.slots, r.at = k.appendTo(r.slots[:0]), 0
	return true, nil
}

// eachSlot gives a run's entries to use, section by section.
func eachSlot(r *runFile, bufBytes int, use func(*slot) error) error {
	for _, sec := range r.secs {
		sr := newSegReader(&segment{r, sec}, bufBytes)
		for {
			ok, err := sr.advance()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if err := use(&sr.cur); err != nil {
				return err
			}
		}
	}
	return nil
}

// merger gives the entries of several segments in order, of one hash the
// newest only.
type merger struct {
	heap []mergeSource
	last slot
	any  bool
}

type mergeSource struct {
	r   *segReader
	age int // 0 is the newest
}

func (a *mergeSource) less(b *mergeSource) bool {
	x, y := &a.r.cur, &b.r.cur
	if x.hi != y.hi {
		return x.hi < y.hi
	}
	if x.lo != y.lo {
		return x.lo < y.lo
	}
	return a.age < b.age
}

func newMerger(newestFirst []*segment, bufBytes int) (*merger, error) {
	m := &merger{}
	for age, g := range newestFirst {
		r := newSegReader(g, bufBytes)
		ok, err := r.advance()
		if err != nil {
			return nil, err
		}
		if ok {
			m.heap = append(m.heap, mergeSource{r, age})
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sift(i)
	}
	return m, nil
}

func (m *merger) sift(i int) {
	for {
		c := 2*i + 1
		if c >= len(m.heap) {
			return
		}
		if c+1 < len(m.heap) && m.heap[c+1].less(&m.heap[c]) {
			c++
		}
		if !m.heap[c].less(&m.heap[i]) {
			return
		}
		m.heap[i], m.heap[c] = m.heap[c], m.heap[i]
		i = c
	}
}

// next gives the next entry, nil at the end. It is good until the next call.
func (m *merger) next() (*slot, error) {
	for len(m.heap) > 0 {
		top := m.heap[0].r
		s := top.cur
		ok, err := top.advance()
		if err != nil {
			return nil, err
		}
		if !ok {
			m.heap[0] = m.heap[len(m.heap)-1]
			m.heap = m.heap[:len(m.heap)-1]
		}
		m.sift(0)
		if m.any && s.hi == m.last.hi && s.lo == m.last.lo {
			continue
		}
		m.last, m.any = s, true
		return &m.last, nil
	}
	return nil, nil
}

// mergeInto writes a section that holds what the segments hold. If bottom is
// set there is nothing older, and keys that are gone are left out. pace, if not
// nil, is called every now and then.
func mergeInto(ctx context.Context, w *runWriter, part int, newestFirst []*segment, bottom, filtered bool, bufBytes int, pace func()) error {
	var n int64
	for _, g := range newestFirst {
		n += g.sec.n
	}
	if !filtered {
		n = 0
	}
	m, err := newMerger(newestFirst, bufBytes)
	if err != nil {
		return err
	}
	w.begin(part, n)
	for i := 0; ; i++ {
		if i%4096 == 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if pace != nil {
				pace()
			}
		}
		s, err := m.next()
		if err != nil {
			return err
		}
		if s == nil {
			break
		}
		if bottom && s.gone() {
			continue
		}
		if err := w.add(s); err != nil {
			return err
		}
	}
	return w.end()
}

// writeTable writes a table's entries as the sections of a run.
func writeTable(ctx context.Context, w *runWriter, t *table, parts int, filtered bool) error {
	shift := 64 - partitionBits(parts)
	i := 0
	for p := range parts {
		to := i
		n := int64(0)
		for ; to < len(t.slots) && (t.slots[to].empty() || int(t.slots[to].hi>>shift) == p); to++ {
			if !t.slots[to].empty() {
				n++
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if n == 0 {
			i = to
			continue
		}
		keys := n
		if !filtered {
			keys = 0
		}
		w.begin(p, keys)
		for ; i < to; i++ {
			if s := &t.slots[i]; !s.empty() {
				if err := w.add(s); err != nil {
					return err
				}
			}
		}
		if err := w.end(); err != nil {
			return err
		}
	}
	return nil
}
