package keyindex

import (
	"encoding/binary"
	"math/bits"
)

// filter is a Bloom filter in blocks of one cache line: it says for certain
// that a key is not in a run. Ten bits a key let about one in a hundred
// absent keys pass.
type filter []uint64

const (
	filterBitsPerKey = 10
	filterWords      = 8 // a block is 64 bytes
	filterProbes     = 6 // of 9 bits each
)

// filterSize is the length in words of a filter for n keys.
func filterSize(n int64) int {
	return int((n*filterBitsPerKey+511)/512+1) * filterWords
}

// The block comes from the hash's low half, the bits within it from the low
// end of the high half: the high end is the same for neighbours in a run.
func (f filter) block(lo uint64) filter {
	b, _ := bits.Mul64(lo, uint64(len(f)/filterWords))
	return f[b*filterWords : b*filterWords+filterWords]
}

func (f filter) add(hi, lo uint64) {
	b := f.block(lo)
	for range filterProbes {
		b[hi>>6&7] |= 1 << (hi & 63)
		hi >>= 9
	}
}

func (f filter) mayHave(hi, lo uint64) bool {
	b := f.block(lo)
	for range filterProbes {
		if b[hi>>6&7]&(1<<(hi&63)) == 0 {
			return false
		}
		hi >>= 9
	}
	return true
}

func (f filter) appendTo(b []byte) []byte {
	for _, w := range f {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}
