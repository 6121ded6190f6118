package mirror

import (
	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// Class is what became of the rows that are equal in every column, in a table
// whose rows have no key: which of them it is that goes does not matter.
type Class struct {
	Hash keyindex.Hash // of the whole row
	// Added are images that are there after the changes, in the order in which
	// they came.
	Added []Ref
	// Taken is the number of copies that go from those that the lake has.
	Taken int
	// Last is the image of the last delete that took one; for errors.
	Last Ref
}

// Multiset reduces changes of a table without a key: a delete takes exactly one
// copy. The zero value is ready; it is for one goroutine.
type Multiset struct {
	classes []Class
	index   map[keyindex.Hash]int
	refs    []Ref // room for the first image of many classes
}

// Reset forgets everything.
func (m *Multiset) Reset() {
	m.classes = m.classes[:0]
	clear(m.index)
}

// Classes are the rows touched, in the order of first touch. They are valid
// until the next call.
func (m *Multiset) Classes() []Class { return m.classes }

func (m *Multiset) class(h keyindex.Hash) *Class {
	if m.index == nil {
		m.index = map[keyindex.Hash]int{}
	}
	i, ok := m.index[h]
	if !ok {
		i = len(m.classes)
		m.index[h] = i
		m.classes = append(m.classes, Class{Hash: h})
	}
	return &m.classes[i]
}

// Insert takes the image of a new row.
func (m *Multiset) Insert(h keyindex.Hash, at Ref) {
	c := m.class(h)
	if c.Added == nil {
		if len(m.refs) == cap(m.refs) {
			m.refs = make([]Ref, 0, 1024)
		}
		n := len(m.refs)
		m.refs = m.refs[:n+1]
		c.Added = m.refs[n : n : n+1]
	}
	c.Added = append(c.Added, at)
}

// Delete takes the image of a row that is gone: one that came with these
// changes if there is one, else one that the lake has.
func (m *Multiset) Delete(h keyindex.Hash, at Ref) {
	c := m.class(h)
	if n := len(c.Added); n > 0 {
		c.Added = c.Added[:n-1]
		return
	}
	c.Taken++
	c.Last = at
}

// Check compares what was taken with what the lake has: have(i) copies of the
// rows of class i.
func (m *Multiset) Check(have func(i int) int) error {
	for i := range m.classes {
		c := &m.classes[i]
		if n := have(i); c.Taken > n {
			return &Violation{Op: "delete", Row: c.Last}
		}
	}
	return nil
}

// Counter finds, for many rows at a time, how many copies of each the lake has.
// Copy n of a row is filed under a hash of its own, without gaps, so that a few
// looks tell: 0, 1, 3, 7... until there is none, then halving.
type Counter struct {
	low, high []int // copies below low are there, copy high is not; high -1: not known
}

// NewCounter begins to count copies of n rows.
func NewCounter(n int) *Counter {
	c := &Counter{low: make([]int, n), high: make([]int, n)}
	for i := range c.high {
		c.high[i] = -1
	}
	return c
}

// Next gives the copy of row i to look for next; not ok when its count is
// known.
func (c *Counter) Next(i int) (copy int, ok bool) {
	switch {
	case c.high[i] < 0:
		return max(0, 2*c.low[i]-1), true
	case c.low[i] < c.high[i]:
		return c.low[i] + (c.high[i]-c.low[i])/2, true
	}
	return 0, false
}

// Found tells whether the copy that Next gave is there.
func (c *Counter) Found(i, copy int, there bool) {
	if there {
		c.low[i] = copy + 1
		return
	}
	c.high[i] = copy
}

// Count is the number of copies of row i.
func (c *Counter) Count(i int) int { return c.low[i] }
