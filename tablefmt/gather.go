package tablefmt

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// gather makes an array of n values out of spans of one. Those of simple types
// are copied span by span; for others, which are rare, arrow's own way through an
// array a span does.
func gather(a arrow.Array, spans []span, n int) (arrow.Array, error) {
	var bufs []*memory.Buffer
	d := a.Data()
	switch t := a.DataType().(type) {
	case *arrow.BooleanType:
		bufs = []*memory.Buffer{nil, gatherBits(d.Buffers()[1].Bytes(), d.Offset(), spans, n)}
	case *arrow.StringType, *arrow.BinaryType:
		bufs = gatherBytes(a, spans, n)
	case arrow.FixedWidthDataType:
		width := int64(t.Bytes())
		out, in := make([]byte, 0, int64(n)*width), d.Buffers()[1].Bytes()[int64(d.Offset())*width:]
		for _, s := range spans {
			out = append(out, in[s.from*width:s.to*width]...)
		}
		bufs = []*memory.Buffer{nil, memory.NewBufferBytes(out)}
	default:
		return gatherAny(a, spans)
	}
	nulls := 0
	if a.NullN() > 0 {
		bufs[0] = gatherBits(a.NullBitmapBytes(), d.Offset(), spans, n)
		nulls = n - bitutil.CountSetBits(bufs[0].Bytes(), 0, n)
	}
	data := array.NewData(a.DataType(), n, bufs, nil, nulls, 0)
	defer data.Release()
	return array.MakeFromData(data), nil
}

func gatherBits(in []byte, offset int, spans []span, n int) *memory.Buffer {
	out, at := make([]byte, bitutil.BytesForBits(int64(n))), 0
	for _, s := range spans {
		k := int(s.to - s.from)
		if k == 1 {
			bitutil.SetBitTo(out, at, bitutil.BitIsSet(in, offset+int(s.from)))
		} else {
			bitutil.CopyBitmap(in, offset+int(s.from), k, out, at)
		}
		at += k
	}
	return memory.NewBufferBytes(out)
}

// gatherBytes gives offsets and bytes of a column of texts or binary values.
func gatherBytes(a arrow.Array, spans []span, n int) []*memory.Buffer {
	var offsets []int32 // of a's rows, into bytes
	var bytes []byte
	switch a := a.(type) {
	case *array.String:
		offsets = a.ValueOffsets()
	case *array.Binary:
		offsets = a.ValueOffsets()
	}
	if b := a.Data().Buffers()[2]; b != nil {
		bytes = b.Bytes()
	}
	size := 0
	for _, s := range spans {
		size += int(offsets[s.to] - offsets[s.from])
	}
	out, values := make([]int32, 1, n+1), make([]byte, 0, size)
	for _, s := range spans {
		shift := int32(len(values)) - offsets[s.from]
		values = append(values, bytes[offsets[s.from]:offsets[s.to]]...)
		for i := s.from + 1; i <= s.to; i++ {
			out = append(out, offsets[i]+shift)
		}
	}
	return []*memory.Buffer{nil, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(out)), memory.NewBufferBytes(values)}
}

func gatherAny(a arrow.Array, spans []span) (arrow.Array, error) {
	parts := make([]arrow.Array, len(spans))
	for i, s := range spans {
		parts[i] = array.NewSlice(a, s.from, s.to)
	}
	out, err := array.Concatenate(parts, memory.DefaultAllocator)
	for _, p := range parts {
		p.Release()
	}
	return out, err
}
