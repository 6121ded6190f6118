package tablefmt

import (
	"iter"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// pmap is an immutable map from strings: a hash trie of 32 ways whose changed
// paths are copied, so that a snapshot of a million files is advanced at the
// cost of the files that changed, and older snapshots stay as they are.
//
// Changes are made through an editor, which copies a node once and then
// changes its own copy. The zero pmap is empty.
type pmap[V any] struct {
	root *pnode[V]
	n    int
}

// pnode is a node of the trie: bit i of kids or leaves says that slot i holds
// a node or an entry. At the depth where the hash is used up, entries stand
// in a list, in entries alone.
type pnode[V any] struct {
	owner   *powner // whose editor may change it in place
	kids    uint32
	leaves  uint32
	nodes   []*pnode[V]
	entries []pentry[V]
}

type pentry[V any] struct {
	key string
	val V
}

const (
	pmapBits  = 5
	pmapDepth = 13 // levels that 64 bits of hash fill
)

func (m pmap[V]) len() int { return m.n }

func (m pmap[V]) get(key string) (v V, ok bool) {
	h := xxh3.HashString(key)
	n := m.root
	for depth := 0; n != nil; depth++ {
		if depth == pmapDepth {
			for i := range n.entries {
				if n.entries[i].key == key {
					return n.entries[i].val, true
				}
			}
			return v, false
		}
		bit := uint32(1) << (h & 31)
		h >>= pmapBits
		if n.leaves&bit != 0 {
			e := &n.entries[bits.OnesCount32(n.leaves&(bit-1))]
			if e.key == key {
				return e.val, true
			}
			return v, false
		}
		if n.kids&bit == 0 {
			return v, false
		}
		n = n.nodes[bits.OnesCount32(n.kids&(bit-1))]
	}
	return v, false
}

// all gives the entries in an order that depends on the keys alone.
func (m pmap[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) { m.root.walk(yield) }
}

func (n *pnode[V]) walk(yield func(string, V) bool) bool {
	if n == nil {
		return true
	}
	if n.leaves == 0 && n.kids == 0 {
		for i := range n.entries {
			if !yield(n.entries[i].key, n.entries[i].val) {
				return false
			}
		}
		return true
	}
	leaf, kid := 0, 0
	for set := n.leaves | n.kids; set != 0; set &= set - 1 {
		bit := set & -set
		if n.leaves&bit != 0 {
			if !yield(n.entries[leaf].key, n.entries[leaf].val) {
				return false
			}
			leaf++
			continue
		}
		if !n.nodes[kid].walk(yield) {
			return false
		}
		kid++
	}
	return true
}

// powner is the identity of an editor. Nodes hold it and not the editor, which
// would keep its whole version of the map in memory.
type powner struct{ _ byte }

// peditor changes a copy of a map. It is used by one goroutine and not after
// done.
type peditor[V any] struct {
	owner *powner
	root  *pnode[V]
	n     int
}

func (m pmap[V]) edit() *peditor[V] { return &peditor[V]{owner: new(powner), root: m.root, n: m.n} }

// done gives the changed map.
func (e *peditor[V]) done() pmap[V] { return pmap[V]{root: e.root, n: e.n} }

func (e *peditor[V]) get(key string) (V, bool) { return e.done().get(key) }

// own gives a node that this editor may change.
func (e *peditor[V]) own(n *pnode[V]) *pnode[V] {
	if n == nil {
		return &pnode[V]{owner: e.owner}
	}
	if n.owner == e.owner {
		return n
	}
	c := &pnode[V]{owner: e.owner, kids: n.kids, leaves: n.leaves}
	c.nodes = append(make([]*pnode[V], 0, len(n.nodes)+1), n.nodes...)
	c.entries = append(make([]pentry[V], 0, len(n.entries)+1), n.entries...)
	return c
}

func (e *peditor[V]) set(key string, v V) {
	e.root = e.put(e.root, 0, xxh3.HashString(key), pentry[V]{key, v})
}

func (e *peditor[V]) put(n *pnode[V], depth int, h uint64, entry pentry[V]) *pnode[V] {
	n = e.own(n)
	if depth == pmapDepth {
		for i := range n.entries {
			if n.entries[i].key == entry.key {
				n.entries[i] = entry
				return n
			}
		}
		n.entries = append(n.entries, entry)
		e.n++
		return n
	}
	bit := uint32(1) << (h & 31)
	leaf, kid := bits.OnesCount32(n.leaves&(bit-1)), bits.OnesCount32(n.kids&(bit-1))
	switch {
	case n.kids&bit != 0:
		n.nodes[kid] = e.put(n.nodes[kid], depth+1, h>>pmapBits, entry)
	case n.leaves&bit == 0:
		n.leaves |= bit
		n.entries = insertAt(n.entries, leaf, entry)
		e.n++
	case n.entries[leaf].key == entry.key:
		n.entries[leaf] = entry
	default: // two keys in one slot go one level down
		old := n.entries[leaf]
		oldHash := xxh3.HashString(old.key) >> (pmapBits * (depth + 1))
		child := e.put(nil, depth+1, oldHash, old)
		e.n-- // old was counted already
		child = e.put(child, depth+1, h>>pmapBits, entry)
		n.leaves &^= bit
		n.entries = removeAt(n.entries, leaf)
		n.kids |= bit
		n.nodes = insertAt(n.nodes, kid, child)
	}
	return n
}

func (e *peditor[V]) del(key string) {
	if _, ok := e.get(key); ok { // so that nothing is copied for an absent key
		e.root = e.cut(e.root, 0, xxh3.HashString(key), key)
		e.n--
	}
}

// cut removes a key that is there; it gives nil for a node left empty.
func (e *peditor[V]) cut(n *pnode[V], depth int, h uint64, key string) *pnode[V] {
	n = e.own(n)
	if depth == pmapDepth {
		for i := range n.entries {
			if n.entries[i].key == key {
				n.entries = removeAt(n.entries, i)
				break
			}
		}
	} else if bit := uint32(1) << (h & 31); n.leaves&bit != 0 {
		n.entries = removeAt(n.entries, bits.OnesCount32(n.leaves&(bit-1)))
		n.leaves &^= bit
	} else {
		kid := bits.OnesCount32(n.kids & (bit - 1))
		if child := e.cut(n.nodes[kid], depth+1, h>>pmapBits, key); child != nil {
			n.nodes[kid] = child
		} else {
			n.nodes = removeAt(n.nodes, kid)
			n.kids &^= bit
		}
	}
	if len(n.entries) == 0 && len(n.nodes) == 0 {
		return nil
	}
	return n
}

func insertAt[T any](s []T, i int, v T) []T {
	var zero T
	s = append(s, zero)
	copy(s[i+1:], s[i:])
	s[i] = v
	return s
}

func removeAt[T any](s []T, i int) []T {
	var zero T
	copy(s[i:], s[i+1:])
	s[len(s)-1] = zero // lets the value go
	return s[:len(s)-1]
}
