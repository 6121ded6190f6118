package keyindex

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

// The expected values are the reference implementation's (vectors_sip128).
func TestHasherReferenceVectors(t *testing.T) {
	var seed [16]byte
	in := make([]byte, 64)
	for i := range in {
		in[i] = byte(i)
	}
	copy(seed[:], in)
	h := NewHasher(seed)
	for n, want := range map[int]string{
		0: "a3817f04ba25a8e66df67214c7550293",
		1: "da87c1d86b99af44347659119b22fc45",
		2: "8177228da4a45dc7fca38bdef60affe4",
		8: "3b62a9ba6258f5610f83e264f31497b4",
	} {
		got := h.Sum(in[:n])
		require.Equal(t, want, hex.EncodeToString(got[:]), "input of %d bytes", n)
	}
	require.NotEqual(t, h.Sum(in[:9]), Hasher{}.Sum(in[:9]), "the seed counts")
}

func TestHasherDoesNotAllocate(t *testing.T) {
	h := NewHasher([16]byte{1})
	b := make([]byte, 37)
	var sink Hash
	require.Zero(t, testing.AllocsPerRun(100, func() { sink = h.Sum(b) }))
	_ = sink
}

func BenchmarkHasher(b *testing.B) {
	h := NewHasher([16]byte{1})
	k := make([]byte, 24)
	b.SetBytes(int64(len(k)))
	for b.Loop() {
		k[0]++
		_ = h.Sum(k)
	}
}
