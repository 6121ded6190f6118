package colfile

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// planNode is a node of the file together with what is asked of it.
type planNode struct {
	node     *readNode
	typ      arrow.DataType // the result's
	children []*planNode    // as typ has them; nil: not in the file
	reader   *leafReader    // of a leaf below: it tells the structure
	variant  *variantPlan   // of a variant, else nil
}

// assemble builds the array of a node from the batch that its readers hold.
func (p *planNode) assemble() (arrow.Array, error) {
	d, err := p.data()
	if err != nil {
		return nil, err
	}
	defer d.Release()
	return array.MakeFromData(d), nil
}

func (p *planNode) data() (arrow.ArrayData, error) {
	if p.variant != nil {
		d, err := p.variantData()
		if err != nil {
			return nil, fmt.Errorf("variant %q: %w", p.reader.leaf.path, err)
		}
		return d, nil
	}
	switch p.node.shape {
	case shapeLeaf:
		d, err := p.leafData()
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", p.node.leaf.path, err)
		}
		return d, nil
	case shapeStruct:
		return p.structData()
	default:
		return p.listData()
	}
}

// slots finds the node's slots among its levels and which are not null. The
// bitmap is nil if all are.
func (p *planNode) slots() (n, nulls int, bitmap []byte) {
	out, node := &p.reader.out, p.node
	if len(out.defs) == 0 {
		return out.levels, 0, nil
	}
	bitmap = make([]byte, (out.levels+7)/8)
	flat := len(out.reps) == 0
	for i, def := range out.defs {
		if !flat && (out.reps[i] > node.slotRep || def < node.slotDef) {
			continue
		}
		if def >= node.def {
			bitmap[n>>3] |= 1 << (n & 7)
		} else {
			nulls++
		}
		n++
	}
	if nulls == 0 {
		bitmap = nil
	}
	return n, nulls, bitmap
}

func buffer(b []byte) *memory.Buffer {
	if b == nil {
		return nil
	}
	return memory.NewBufferBytes(b)
}

func (p *planNode) leafData() (arrow.ArrayData, error) {
	l, d := p.node.leaf, &p.reader.out
	n, nulls, bitmap := p.slots()
	if n-nulls != d.n {
		return nil, corruptf("%d values for %d slots that are not null", d.n, n-nulls)
	}
	var bufs []*memory.Buffer
	switch {
	case l.phys == physBool:
		bufs = []*memory.Buffer{buffer(bitmap), buffer(packBools(d.fixed, bitmap, n))}
	case l.phys == physBytes && l.conv == convNone:
		bufs = []*memory.Buffer{buffer(bitmap), buffer(byteView(spreadOffsets(d.offsets, bitmap, n))), memory.NewBufferBytes(d.data)}
	case l.conv == convFixed:
		offsets := make([]int32, 1, d.n+1)
		for i := range d.n {
			offsets = append(offsets, int32((i+1)*l.width))
		}
		bufs = []*memory.Buffer{buffer(bitmap), buffer(byteView(spreadOffsets(offsets, bitmap, n))), memory.NewBufferBytes(d.fixed)}
	default:
		vals, err := l.convert(d)
		if err == nil && l.julian != nil {
			vals, err = l.julian.toGregorian(l, vals)
		}
		if err != nil {
			return nil, err
		}
		width := l.typ.(arrow.FixedWidthDataType).Bytes()
		bufs = []*memory.Buffer{buffer(bitmap), memory.NewBufferBytes(spread(vals, bitmap, n, width))}
	}
	data := array.NewData(l.typ, n, bufs, nil, nulls, 0)
	if arrow.TypeEqual(l.typ, p.typ) {
		return data, nil
	}
	defer data.Release()
	return castData(data, p.typ)
}

// packBools makes a bitmap of n slots of bytes that hold one value each.
func packBools(vals, bitmap []byte, n int) []byte {
	out := make([]byte, (n+7)/8)
	k := 0
	for i := range n {
		if bitmap == nil || bitmap[i>>3]>>(i&7)&1 != 0 {
			out[i>>3] |= vals[k] << (i & 7)
			k++
		}
	}
	return out
}

// spreadOffsets gives null slots a length of zero.
func spreadOffsets(offsets []int32, bitmap []byte, n int) []int32 {
	if bitmap == nil && len(offsets) == n+1 {
		return offsets
	}
	out := make([]int32, n+1)
	k := 0
	for i := range n {
		if bitmap != nil && bitmap[i>>3]>>(i&7)&1 != 0 {
			k++
		}
		if len(offsets) > 0 {
			out[i+1] = offsets[k]
		}
	}
	return out
}

// spread puts dense values of width bytes into their slots, nulls are zero.
func spread(vals, bitmap []byte, n, width int) []byte {
	if bitmap == nil {
		return vals
	}
	switch width {
	case 4:
		return byteView(spreadNumbers(viewAs[uint32](vals), bitmap, n))
	case 8:
		return byteView(spreadNumbers(viewAs[uint64](vals), bitmap, n))
	}
	out := byteView(make([]uint64, (n*width+7)/8))[:n*width]
	k := 0
	for i := range n {
		if bitmap[i>>3]>>(i&7)&1 != 0 {
			copy(out[i*width:(i+1)*width], vals[k*width:])
			k++
		}
	}
	return out
}

func spreadNumbers[T uint32 | uint64](vals []T, bitmap []byte, n int) []T {
	out := make([]T, n)
	k := 0
	for i := range out {
		if bitmap[i>>3]>>(i&7)&1 != 0 {
			out[i] = vals[k]
			k++
		}
	}
	return out
}

func (p *planNode) structData() (arrow.ArrayData, error) {
	n, nulls, bitmap := p.slots()
	t := p.typ.(*arrow.StructType)
	children := make([]arrow.ArrayData, len(p.children))
	defer releaseData(children)
	for i, c := range p.children {
		if c == nil {
			a := array.MakeArrayOfNull(memory.DefaultAllocator, t.Field(i).Type, n)
			a.Data().Retain()
			children[i] = a.Data()
			a.Release()
			continue
		}
		d, err := c.data()
		if err != nil {
			return nil, err
		}
		children[i] = d
		if d.Len() != n {
			return nil, corruptf("field %q has %d slots and its struct %d", t.Field(i).Name, d.Len(), n)
		}
	}
	return array.NewData(t, n, []*memory.Buffer{buffer(bitmap)}, children, nulls, 0), nil
}

func releaseData(ds []arrow.ArrayData) {
	for _, d := range ds {
		if d != nil {
			d.Release()
		}
	}
}

// listData builds a list or a map.
func (p *planNode) listData() (arrow.ArrayData, error) {
	n, nulls, bitmap := p.slots()
	offsets, total := p.lengths(n)
	children := make([]arrow.ArrayData, len(p.children))
	defer releaseData(children)
	for i, c := range p.children {
		d, err := c.data()
		if err != nil {
			return nil, err
		}
		children[i] = d
		if d.Len() != total {
			return nil, corruptf("lists of %d elements with %d values", total, d.Len())
		}
	}
	bufs := []*memory.Buffer{buffer(bitmap), memory.NewBufferBytes(offsets)}
	m, ok := p.typ.(*arrow.MapType)
	if !ok {
		return array.NewData(p.typ, n, bufs, children, nulls, 0), nil
	}
	if children[0].NullN() > 0 {
		return nil, corruptf("map with a null key")
	}
	entries := array.NewData(m.Elem(), total, []*memory.Buffer{nil}, children, 0, 0)
	defer entries.Release()
	return array.NewData(m, n, bufs, []arrow.ArrayData{entries}, nulls, 0), nil
}

// lengths makes the offsets of n lists from the levels of their elements.
func (p *planNode) lengths(n int) (offsets []byte, total int) {
	out, node := &p.reader.out, p.node
	offsets = make([]byte, 0, 4*(n+1))
	for i, def := range out.defs {
		rep := out.reps[i]
		if rep <= node.slotRep && def >= node.slotDef {
			offsets = binary.LittleEndian.AppendUint32(offsets, uint32(total))
		}
		if rep <= node.slotRep+1 && def > node.def {
			total++
		}
	}
	return binary.LittleEndian.AppendUint32(offsets, uint32(total)), total
}
