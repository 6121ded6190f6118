package colfile

import "encoding/binary"

// maxDeltaBlock is the greatest block of DELTA_BINARY_PACKED that is taken
// for real; writers use 128.
const maxDeltaBlock = 1 << 16

// decodeDelta decodes DELTA_BINARY_PACKED, at most limit values, and returns
// what follows. Arithmetic wraps, as the encoding wants; for 32-bit columns
// the caller takes the low half.
func decodeDelta(dst []int64, b []byte, limit int) (vals []int64, rest []byte, err error) {
	block, n1 := binary.Uvarint(b)
	minis, n2 := binary.Uvarint(b[max(n1, 0):])
	if n1 <= 0 || n2 <= 0 {
		return nil, nil, corruptf("delta encoding without a header")
	}
	b = b[n1+n2:]
	total, n1 := binary.Uvarint(b)
	first, n2 := binary.Varint(b[max(n1, 0):])
	if n1 <= 0 || n2 <= 0 {
		return nil, nil, corruptf("delta encoding without a header")
	}
	b = b[n1+n2:]
	if block == 0 || block > maxDeltaBlock || minis == 0 || block%minis != 0 || block/minis%8 != 0 {
		return nil, nil, corruptf("delta blocks of %d values in %d parts", block, minis)
	}
	if total > uint64(limit) {
		return nil, nil, corruptf("delta encoding of %d values where %d are expected", total, limit)
	}
	if total == 0 {
		return dst[:0], b, nil
	}
	dst = append(dst[:0], first)
	per := int(block / minis)
	for left := int(total) - 1; left > 0; {
		minDelta, n := binary.Varint(b)
		if n <= 0 || len(b)-n < int(minis) {
			return nil, nil, corruptf("delta encoding ends with %d values missing", left)
		}
		widths := b[n : n+int(minis)]
		b = b[n+int(minis):]
		for _, w := range widths {
			if left == 0 {
				break // the rest of the widths means nothing
			}
			size := per * int(w) / 8
			if w > 64 {
				return nil, nil, corruptf("delta encoding of %d bits", w)
			}
			k := min(per, left)
			part := b[:min(size, len(b))]
			if len(part)*8 < k*int(w) {
				return nil, nil, corruptf("delta encoding ends with %d values missing", left)
			}
			dst = appendDeltas(dst, part, int(w), k, minDelta)
			b = b[len(part):]
			left -= k
		}
	}
	return dst, b, nil
}

// appendDeltas appends k values that differ from the one before by minDelta
// and w bits of b, which holds k times w bits.
func appendDeltas(dst []int64, b []byte, w, k int, minDelta int64) []int64 {
	last := dst[len(dst)-1]
	mask := uint64(1)<<w - 1 // all ones for 64
	for i := range k {
		at, shift := i*w>>3, i*w&7
		v := uint64(0)
		if at+8 <= len(b) {
			v = binary.LittleEndian.Uint64(b[at:]) >> shift
		} else {
			for j, c := range b[min(at, len(b)):] {
				v |= uint64(c) << (8 * j)
			}
			v >>= shift
		}
		if shift+w > 64 {
			v |= uint64(b[at+8]) << (64 - shift)
		}
		last += minDelta + int64(v&mask)
		dst = append(dst, last)
	}
	return dst
}

// decodeDeltaLengths decodes DELTA_LENGTH_BYTE_ARRAY into values that stay in
// b's memory: their ends, relative to data.
func decodeDeltaLengths(b []byte, limit int) (ends []int64, data []byte, err error) {
	ends, data, err = decodeDelta(nil, b, limit)
	if err != nil {
		return nil, nil, err
	}
	at := int64(0)
	for i, n := range ends {
		if n = int64(int32(n)); n < 0 || n > int64(len(data))-at {
			return nil, nil, corruptf("value of %d bytes where %d are left", n, int64(len(data))-at)
		}
		at += n
		ends[i] = at
	}
	return ends, data, nil
}

// maxFrontCoded bounds what a page of DELTA_BYTE_ARRAY may expand to, which
// its size does not.
const maxFrontCoded = 1 << 30

// decodeFrontCoded decodes DELTA_BYTE_ARRAY: values that share a prefix with
// the one before.
func decodeFrontCoded(b []byte, limit int) (ends []int64, data []byte, err error) {
	prefixes, b, err := decodeDelta(nil, b, limit)
	if err != nil {
		return nil, nil, err
	}
	ends, suffixes, err := decodeDeltaLengths(b, limit)
	if err != nil {
		return nil, nil, err
	}
	if len(prefixes) != len(ends) {
		return nil, nil, corruptf("%d prefixes of %d values", len(prefixes), len(ends))
	}
	size, last := int64(0), int64(0)
	for i, p := range prefixes {
		if p = int64(int32(p)); p < 0 || p > last {
			return nil, nil, corruptf("prefix of %d bytes of a value of %d", p, last)
		}
		start := int64(0)
		if i > 0 {
			start = ends[i-1]
		}
		last = p + ends[i] - start
		if size += last; size > maxFrontCoded {
			return nil, nil, corruptf("page of more than %d bytes of values", maxFrontCoded)
		}
	}
	data = make([]byte, 0, size)
	prev, from := 0, int64(0)
	for i, p := range prefixes {
		start := len(data)
		data = append(data, data[prev:prev+int(int32(p))]...)
		data = append(data, suffixes[from:ends[i]]...)
		from, prev = ends[i], start
		ends[i] = int64(len(data))
	}
	return ends, data, nil
}
