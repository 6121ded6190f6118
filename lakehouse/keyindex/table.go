package keyindex

import "math/bits"

// slot is an entry in memory: the hash as two numbers that compare as the
// hash's bytes do. The zero slot is empty; a key that is gone has no file and
// goneRow.
type slot struct {
	hi, lo    uint64
	file, row uint32
}

const (
	slotBytes = 24
	goneRow   = 1
)

func (s *slot) empty() bool { return s.file == 0 && s.row == 0 }
func (s *slot) gone() bool  { return s.file == 0 }

// loc is where the slot's key is, the zero Loc if it is gone.
func (s *slot) loc() Loc {
	if s.file == 0 {
		return Loc{}
	}
	return Loc{File: FileID(s.file), Row: s.row}
}

// table is an open-addressing hash table that keeps its slots in the order of
// their hashes: a slot's home is its hash scaled to the capacity, and within a
// cluster the slots are sorted. So an absent key costs no more than a present
// one, a sorted walk is a scan, growing is one sequential pass, and nothing
// needs to be sorted before it is written to a run.
//
// Hashes are expected to be evenly spread below the first skip bits. Others
// are kept correctly, at the price of a sorted array's insert.
type table struct {
	slots []slot // more than homes by what clusters at the end need
	homes uint64
	n     int
	skip  uint // leading bits of the hash that are the same for all keys
}

const (
	tableMinHomes = 4 // a set of shards has many that are small
	// A table grows when more than 85 % of its homes are taken: a lookup
	// then looks at four slots on average, of one or two cache lines.
	tableLoadNum, tableLoadDen = 17, 20
)

func (t *table) home(hi uint64) int {
	h, _ := bits.Mul64(hi<<t.skip, t.homes)
	return int(h)
}

// find gives the key's place, or the place where it belongs.
func (t *table) find(hi, lo uint64) (int, bool) {
	if t.homes == 0 {
		return 0, false
	}
	i := t.home(hi)
	for ; i < len(t.slots); i++ {
		s := &t.slots[i]
		if s.hi < hi && !s.empty() {
			continue
		}
		if s.empty() {
			return i, false
		}
		if s.hi > hi || s.lo > lo {
			return i, false
		}
		if s.lo == lo {
			return i, true
		}
	}
	return i, false
}

// get is the key's slot, nil if it has none. It is good until the next write.
func (t *table) get(hi, lo uint64) *slot {
	if i, ok := t.find(hi, lo); ok {
		return &t.slots[i]
	}
	return nil
}

// put sets a key's slot. grow is by how many per cent a full table grows.
func (t *table) put(s slot, grow int) {
	i, ok := t.find(s.hi, s.lo)
	if ok {
		t.slots[i] = s
		return
	}
	if uint64(t.n)*tableLoadDen >= t.homes*tableLoadNum {
		t.resize(max(tableMinHomes, t.homes+max(t.homes*uint64(grow)/100, min(t.homes, 8))))
		i, _ = t.find(s.hi, s.lo)
	}
	t.insertAt(i, s)
}

func (t *table) insertAt(i int, s slot) {
	e := i
	for e < len(t.slots) && !t.slots[e].empty() {
		e++
	}
	if e == len(t.slots) {
		t.slots = append(t.slots, slot{})
	}
	copy(t.slots[i+1:e+1], t.slots[i:e])
	t.slots[i] = s
	t.n++
}

// remove takes a key out.
func (t *table) remove(hi, lo uint64) {
	i, ok := t.find(hi, lo)
	if !ok {
		return
	}
	j := i + 1
	for j < len(t.slots) && !t.slots[j].empty() && t.home(t.slots[j].hi) < j {
		j++
	}
	copy(t.slots[i:j-1], t.slots[i+1:j])
	t.slots[j-1] = slot{}
	t.n--
}

// resize moves everything to a table of so many homes.
func (t *table) resize(homes uint64) {
	old := t.slots
	t.homes = homes
	// A little room past the last home, so that the end's clusters do not
	// make append copy the table.
	size := int(homes) + min(64, int(homes)/8+4)
	t.slots = make([]slot, size, size+min(64, int(homes)/4+4))
	next := 0
	for k := range old {
		if old[k].empty() {
			continue
		}
		at := max(next, t.home(old[k].hi))
		if at == len(t.slots) {
			t.slots = append(t.slots, slot{})
		}
		t.slots[at] = old[k]
		next = at + 1
	}
}

// reset empties the table and keeps its memory.
func (t *table) reset() {
	clear(t.slots)
	t.n = 0
}

// bytes is the memory that the table takes.
func (t *table) bytes() int64 { return int64(cap(t.slots)) * slotBytes }

// tableSet is a table in shards by the first byte of the hash, so that no
// growing step copies more than a 256th of it and it grows by small steps.
// Its keys are those present: it holds no slot for a key that is gone.
type tableSet struct {
	shards [256]table
	n      int64
	size   int64 // bytes
}

func newTableSet() *tableSet {
	s := &tableSet{}
	for i := range s.shards {
		s.shards[i].skip = 8
	}
	return s
}

func (s *tableSet) get(hi, lo uint64) *slot { return s.shards[hi>>56].get(hi, lo) }

// apply puts a slot, or removes the key where the slot says that it is gone.
func (s *tableSet) apply(e slot) {
	t := &s.shards[e.hi>>56]
	n, c := t.n, cap(t.slots)
	if e.gone() {
		t.remove(e.hi, e.lo)
	} else {
		t.put(e, 25)
	}
	s.n += int64(t.n - n)
	s.size += int64(cap(t.slots)-c) * slotBytes
}
