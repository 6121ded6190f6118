package colfile

import (
	"encoding/binary"
	"math/bits"
)

// appendHybrid encodes values of at most width bits (0 < width <= 32) in
// Parquet's RLE/bit-packing hybrid. Runs of at least eight equal values are
// run-length encoded, the others packed in groups of eight.
func appendHybrid[T uint8 | uint32](dst []byte, src []T, width int) []byte {
	packed := 0 // src[packed:i] waits to be bit-packed, a multiple of 8 values
	for i := 0; i < len(src); {
		run := 1
		for v := src[i]; i+run < len(src) && src[i+run] == v; run++ {
		}
		if run < 8 {
			i += min(8, len(src)-i)
			// Keep whole groups together; the run may begin inside of one.
			continue
		}
		dst = appendPacked(dst, src[packed:i], width)
		dst = appendRun(dst, uint64(src[i]), run, width)
		i += run
		packed = i
	}
	return appendPacked(dst, src[packed:], width)
}

// appendRun appends one run-length encoded run.
func appendRun(dst []byte, v uint64, n, width int) []byte {
	dst = binary.AppendUvarint(dst, uint64(n)<<1)
	for range (width + 7) / 8 {
		dst = append(dst, byte(v))
		v >>= 8
	}
	return dst
}

// appendPacked appends one bit-packed run, the last group filled with zeros,
// which is allowed at the end of the encoding only: callers pass a multiple
// of eight values elsewhere.
func appendPacked[T uint8 | uint32](dst []byte, src []T, width int) []byte {
	if len(src) == 0 {
		return dst
	}
	groups := (len(src) + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	end := len(dst) + groups*width
	var acc uint64
	n := 0
	for _, v := range src {
		acc |= uint64(v) << n
		n += width
		for n >= 32 {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(acc))
			acc >>= 32
			n -= 32
		}
	}
	for n > 0 {
		dst = append(dst, byte(acc))
		acc >>= 8
		n -= 8
	}
	for len(dst) < end {
		dst = append(dst, 0)
	}
	return dst
}

// appendBitmapLevels encodes n definition levels of 0 or 1 that are the bits
// of bitmap, which is how the bit-packed encoding has them anyway.
func appendBitmapLevels(dst []byte, bitmap []byte, n int) []byte {
	groups := (n + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	return append(dst, bitmap[:groups]...)
}

// bitWidth is the number of bits for values up to limit.
func bitWidth(limit int) int { return bits.Len(uint(limit)) }
