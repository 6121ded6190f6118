package verify

import (
	"bytes"
	"slices"
)

// Gathering holds the rows of both sides of some buckets, to tell the keys that
// differ: forty bytes a row. It is used by one goroutine; several are merged.
type Gathering struct {
	want *[buckets]bool
	list []gathered
}

type gathered struct {
	key, row Hash
	left     bool
}

// GatheredBytes is the memory that a row takes.
const GatheredBytes = 40

// NewGathering is for the rows of these buckets.
func NewGathering(list []int) *Gathering {
	g := &Gathering{want: &[buckets]bool{}}
	for _, b := range list {
		g.want[b] = true
	}
	return g
}

// Part gives a gathering for the same buckets, for another goroutine.
func (g *Gathering) Part() *Gathering { return &Gathering{want: g.want} }

// Wants reports whether a row with a key belongs to the buckets.
func (g *Gathering) Wants(key Hash) bool { return g.want[bucketOf(key)] }

// Add takes a row of a side in, if it belongs to the buckets.
func (g *Gathering) Add(left bool, key, row Hash) {
	if g.Wants(key) {
		g.list = append(g.list, gathered{key, row, left})
	}
}

// Merge takes the rows of a part in.
func (g *Gathering) Merge(o *Gathering) { g.list = append(g.list, o.list...) }

// Keys are keys by their hashes.
type Keys map[Hash]struct{}

// Has reports whether a key is among them.
func (k Keys) Has(key Hash) bool {
	_, ok := k[key]
	return ok
}

// Differing gives the keys whose rows are not the same on both sides, as often.
func (g *Gathering) Differing() Keys { return g.differing(false) }

// DifferingOnLeft gives those of them of which the left has rows.
func (g *Gathering) DifferingOnLeft() Keys { return g.differing(true) }

func (g *Gathering) differing(onLeft bool) Keys {
	slices.SortFunc(g.list, func(a, b gathered) int {
		if c := bytes.Compare(a.key[:], b.key[:]); c != 0 {
			return c
		}
		return bytes.Compare(a.row[:], b.row[:])
	})
	keys := Keys{}
	for i := 0; i < len(g.list); {
		key, differs, left := g.list[i].key, false, false
		for i < len(g.list) && g.list[i].key == key {
			row, more := g.list[i].row, 0
			for ; i < len(g.list) && g.list[i].key == key && g.list[i].row == row; i++ {
				if more++; !g.list[i].left {
					more -= 2
				}
				left = left || g.list[i].left
			}
			differs = differs || more != 0
		}
		if differs && (left || !onLeft) {
			keys[key] = struct{}{}
		}
	}
	return keys
}

// Groups divides buckets into groups of which the rows of both sides are no more
// than most, as far as a bucket is not larger by itself.
func Groups(a, b *Digest, list []int, most int64) [][]int {
	var groups [][]int
	rows := most
	for _, i := range list {
		n := int64(0)
		for _, d := range []*Digest{a, b} {
			if d.sums != nil {
				n += int64(d.sums[i].n)
			}
		}
		if rows+n > most {
			groups, rows = append(groups, nil), 0
		}
		rows += n
		groups[len(groups)-1] = append(groups[len(groups)-1], i)
	}
	return groups
}
