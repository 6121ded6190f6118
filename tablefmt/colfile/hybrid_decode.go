package colfile

import (
	"encoding/binary"
	"math"
)

// hybridReader decodes Parquet's RLE/bit-packing hybrid, as many values at a
// time as are asked for.
type hybridReader struct {
	b     []byte
	width int // bits, 0 to 32

	run    int    // values left of a run-length encoded run
	value  uint32 // its value
	packed int    // values left of a bit-packed run
	acc    uint64 // bits of that run that were loaded and not used
	bits   int    // how many
	end    int    // bytes left of it in b
}

func newHybridReader(b []byte, width int) hybridReader { return hybridReader{b: b, width: width} }

// next begins the next run. There is none left if ok is false.
func (r *hybridReader) next() (ok bool) {
	r.b = r.b[r.end:] // padding of the last group
	r.end, r.acc, r.bits = 0, 0, 0
	head, n := binary.Uvarint(r.b)
	if n <= 0 {
		return false
	}
	b := r.b[n:]
	if head&1 == 1 {
		groups := head >> 1
		if groups == 0 || groups > math.MaxInt32/8 {
			return false
		}
		// A writer may leave out the padding of the last group.
		r.packed, r.end = int(groups)*8, min(int(groups)*r.width, len(b))
		if r.width > 0 {
			r.packed = min(r.packed, r.end*8/r.width)
		}
		r.b = b
		return r.packed > 0
	}
	bytes := (r.width + 7) / 8
	if head>>1 == 0 || head>>1 > math.MaxInt32 || len(b) < bytes {
		return false
	}
	r.run, r.value = int(head>>1), 0
	for i := range bytes {
		r.value |= uint32(b[i]) << (8 * i)
	}
	if r.width < 32 && r.value>>r.width != 0 {
		return false
	}
	r.b = b[bytes:]
	return true
}

// hybridRead decodes len(dst) values; false means that there are not as many,
// or that they are damaged.
func hybridRead[T uint8 | uint32](r *hybridReader, dst []T) bool {
	for len(dst) > 0 {
		switch {
		case r.run > 0:
			n := min(r.run, len(dst))
			v := T(r.value)
			for i := range dst[:n] {
				dst[i] = v
			}
			r.run -= n
			dst = dst[n:]
		case r.packed > 0:
			n := min(r.packed, len(dst))
			unpack(r, dst[:n])
			r.packed -= n
			dst = dst[n:]
		default:
			if !r.next() {
				return false
			}
		}
	}
	return true
}

// unpack takes bit-packed values, which are known to be there.
func unpack[T uint8 | uint32](r *hybridReader, dst []T) {
	mask := uint64(1)<<r.width - 1
	acc, bits, b, end := r.acc, r.bits, r.b, r.end
	for i := range dst {
		for bits < r.width {
			if end >= 4 && bits <= 32 {
				acc |= uint64(binary.LittleEndian.Uint32(b)) << bits
				b, end, bits = b[4:], end-4, bits+32
				continue
			}
			acc |= uint64(b[0]) << bits
			b, end, bits = b[1:], end-1, bits+8
		}
		dst[i] = T(acc & mask)
		acc >>= r.width
		bits -= r.width
	}
	r.acc, r.bits, r.b, r.end = acc, bits, b, end
}
