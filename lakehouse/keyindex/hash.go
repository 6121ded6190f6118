package keyindex

import (
	"encoding/binary"
	"math/bits"
)

// Hasher makes the hash of a key from the key's canonical bytes. It is
// SipHash-2-4 with 128 bits of output: a pseudorandom function under a secret
// seed, so nobody who can choose keys but does not know the seed can make two
// of them collide, or crowd one part of the index. (A fast seeded hash such
// as xxh3 promises neither, and a collision here would be a wrong row.) Short
// keys cost some tens of nanoseconds.
//
// A Hasher is a value, immutable, and may be used by many goroutines. The
// zero Hasher hashes with the zero seed.
type Hasher struct {
	k0, k1 uint64
}

// NewHasher gives the hasher of a seed. Every index over the same table has to
// use the same seed for as long as it lives; a seed that leaks costs only the
// protection against chosen keys.
func NewHasher(seed [16]byte) Hasher {
	return Hasher{
		k0: binary.LittleEndian.Uint64(seed[:8]),
		k1: binary.LittleEndian.Uint64(seed[8:]),
	}
}

// Sum is the hash of b. It keeps no reference to b and does not allocate.
func (h Hasher) Sum(b []byte) Hash {
	v := sipState{
		v0: h.k0 ^ 0x736f6d6570736575,
		v1: h.k1 ^ 0x646f72616e646f6d ^ 0xee,
		v2: h.k0 ^ 0x6c7967656e657261,
		v3: h.k1 ^ 0x7465646279746573,
	}
	last := uint64(len(b)) << 56
	for len(b) >= 8 {
		v.block(binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	v.block(last)

	var out Hash
	v.v2 ^= 0xee
	v.rounds4()
	binary.LittleEndian.PutUint64(out[:8], v.v0^v.v1^v.v2^v.v3)
	v.v1 ^= 0xdd
	v.rounds4()
	binary.LittleEndian.PutUint64(out[8:], v.v0^v.v1^v.v2^v.v3)
	return out
}

type sipState struct {
	v0, v1, v2, v3 uint64
}

func (s *sipState) block(m uint64) {
	v0, v1, v2, v3 := s.v0, s.v1, s.v2, s.v3^m
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	s.v0, s.v1, s.v2, s.v3 = v0^m, v1, v2, v3
}

func (s *sipState) rounds4() {
	v0, v1, v2, v3 := s.v0, s.v1, s.v2, s.v3
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	s.v0, s.v1, s.v2, s.v3 = v0, v1, v2, v3
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v2 += v3
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v1
	v0 += v3
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
