package mask

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// MinSalt is the least length of a salt, in bytes.
const MinSalt = 16

// Salt is the secret key of hashes. However it is printed, it does not show.
type Salt struct{ key []byte }

// NewSalt makes a salt of what a file holds; line ends at its end do not count.
func NewSalt(text []byte) (*Salt, error) {
	text = bytes.TrimRight(text, "\r\n")
	if len(text) < MinSalt {
		return nil, fmt.Errorf("the salt has %d bytes, and needs at least %d: `openssl rand -hex 32` makes one", len(text), MinSalt)
	}
	return &Salt{key: bytes.Clone(text)}, nil
}

// Throwaway makes a salt that nobody knows, for values that nobody is to see.
func Throwaway() *Salt {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return &Salt{key: key}
}

// Mark tells a salt from others without telling anything else of it. That of no
// salt is "".
func (s *Salt) Mark() string {
	if s == nil {
		return ""
	}
	h := s.mac()
	_, _ = io.WriteString(h, "lakeload: the mark of a salt") // never fails
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (s *Salt) mac() hash.Hash { return hmac.New(sha256.New, s.key) }

// Format implements [fmt.Formatter].
func (*Salt) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(a salt)") }

// MarshalText implements [encoding.TextMarshaler].
func (*Salt) MarshalText() ([]byte, error) { return []byte("(a salt)"), nil }

// hashText is how long a hash is: 128 bits in hexadecimal.
const hashText = 32

// hasher hashes values, one after the other, without allocating. It is used by
// one goroutine.
type hasher struct {
	mac hash.Hash
	sum [sha256.Size]byte
	hex [hashText]byte
}

func newHasher(s *Salt) *hasher { return &hasher{mac: s.mac()} }

// of gives the hash of a value's text, valid until the next call.
func (h *hasher) of(text []byte) []byte {
	h.mac.Reset()
	_, _ = h.mac.Write(text) // never fails
	hex.Encode(h.hex[:], h.mac.Sum(h.sum[:0])[:hashText/2])
	return h.hex[:]
}
