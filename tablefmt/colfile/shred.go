package colfile

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/tablefmt/variant"
)

// levels is one vector of a nested column's way down to its leaves: for each
// entry its position in the array at hand, or -1 where something above is
// null or empty, and its levels so far.
type levels struct {
	pos      []int32
	def, rep []uint8
}

func (v *levels) reset() { v.pos, v.def, v.rep = v.pos[:0], v.def[:0], v.rep[:0] }

func (v *levels) add(pos int32, def, rep uint8) {
	v.pos, v.def, v.rep = append(v.pos, pos), append(v.def, def), append(v.rep, rep)
}

// level gives the vector of a depth, empty.
func (s *scratch) level(depth int) *levels {
	for len(s.levels) <= depth {
		s.levels = append(s.levels, levels{})
	}
	v := &s.levels[depth]
	v.reset()
	return v
}

// writeNested adds rows of a nested column, from the vector at depth.
func (n *writeNode) writeNested(arr arrow.Array, s *scratch, depth int) error {
	if e, ok := arr.(array.ExtensionArray); ok {
		arr = e.Storage()
	}
	switch n.shape {
	case shapeLeaf:
		return n.shredLeaf(arr, s, depth)
	case shapeStruct:
		return n.shredStruct(arr.(*array.Struct), s, depth)
	case shapeList:
		a := arr.(*array.List)
		if err := n.shredList(a, s, depth); err != nil {
			return err
		}
		return n.children[0].named(a.ListValues(), s, depth+1)
	default:
		a := arr.(*array.Map)
		if err := n.shredList(a.List, s, depth); err != nil {
			return err
		}
		if err := n.children[0].named(a.Keys(), s, depth+1); err != nil {
			return err
		}
		return n.children[1].named(a.Items(), s, depth+1)
	}
}

func (n *writeNode) named(arr arrow.Array, s *scratch, depth int) error {
	if err := n.writeNested(arr, s, depth); err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	return nil
}

// present says whether the value at pos is there, and its definition level.
func (n *writeNode) present(arr arrow.Array, nulls bool, pos int32, def uint8) (bool, uint8, error) {
	switch {
	case pos < 0:
		return false, def, nil
	case nulls && arr.IsNull(int(pos)):
		if !n.optional {
			return false, def, errNull
		}
		return false, def, nil
	case n.optional:
		return true, def + 1, nil
	}
	return true, def, nil
}

var errNull = errors.New("null in a column that is not nullable")

func (n *writeNode) shredLeaf(arr arrow.Array, s *scratch, depth int) error {
	l, in := n.leaf, &s.levels[depth]
	nulls := arr.NullN() > 0
	s.pos = s.pos[:0]
	for i, p := range in.pos {
		ok, def, err := n.present(arr, nulls, p, in.def[i])
		if err != nil {
			return err
		}
		if ok {
			s.pos = append(s.pos, p)
		}
		l.defs = append(l.defs, def)
	}
	if l.maxRep > 0 {
		l.reps = append(l.reps, in.rep...)
	}
	l.entries += len(in.pos)
	if s.pos == nil {
		s.pos = []int32{}
	}
	if err := l.appendValues(arr, selection{pos: s.pos}, s); err != nil {
		return err
	}
	if l.pageFull() {
		return l.flushPage(s)
	}
	return nil
}

func (n *writeNode) shredStruct(a *array.Struct, s *scratch, depth int) error {
	out := s.level(depth + 1)
	in := &s.levels[depth] // after level, which may move the vectors
	nulls := a.NullN() > 0
	for i, p := range in.pos {
		ok, def, err := n.present(a, nulls, p, in.def[i])
		if err != nil {
			return err
		}
		if !ok {
			p = -1
			if n.track != nil {
				n.track.nulls++
			}
		} else if n.variant {
			if err := checkVariant(a, int(p)); err != nil {
				return err
			}
		}
		out.add(p, def, in.rep[i])
	}
	for i, c := range n.children {
		if c == nil {
			continue
		}
		if err := c.named(a.Field(i), s, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// checkVariant refuses what no reader could make sense of.
func checkVariant(a *array.Struct, i int) error {
	return variant.Check(a.Field(0).(*array.Binary).Value(i), a.Field(1).(*array.Binary).Value(i))
}

// shredList makes the vector of the elements: one entry each, and one for
// each list that is null or empty.
func (n *writeNode) shredList(a *array.List, s *scratch, depth int) error {
	out := s.level(depth + 1)
	in := &s.levels[depth]
	nulls := a.NullN() > 0
	for i, p := range in.pos {
		ok, def, err := n.present(a, nulls, p, in.def[i])
		if err != nil {
			return err
		}
		if !ok {
			if n.track != nil {
				n.track.nulls++
			}
			out.add(-1, def, in.rep[i])
			continue
		}
		start, end := a.ValueOffsets(int(p))
		if start == end {
			out.add(-1, def, in.rep[i])
			continue
		}
		rep := in.rep[i]
		for e := start; e < end; e++ {
			out.add(int32(e), def+1, rep)
			rep = n.rep + 1
		}
	}
	return nil
}
