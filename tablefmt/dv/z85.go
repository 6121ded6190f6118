package dv

import (
	"encoding/binary"
	"fmt"
)

// Z85, the variant of base 85 that the protocol uses (rfc.zeromq.org/spec/32):
// four bytes are five characters, the most significant first.

const z85Alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

// z85Value gives a character's digit; 255 for none.
var z85Value = func() (v [256]byte) {
	for i := range v {
		v[i] = 255
	}
	for i := range len(z85Alphabet) {
		v[z85Alphabet[i]] = byte(i)
	}
	return v
}()

// z85Encode pads with zero bytes to a multiple of four.
func z85Encode(data []byte) string {
	out := make([]byte, 0, (len(data)+3)/4*5)
	for len(data) > 0 {
		var word [4]byte
		n := copy(word[:], data)
		data = data[n:]
		v := binary.BigEndian.Uint32(word[:])
		for _, div := range [5]uint32{85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1} {
			out = append(out, z85Alphabet[v/div%85])
		}
	}
	return string(out)
}

func z85Decode(text string) ([]byte, error) {
	if len(text)%5 != 0 {
		return nil, fmt.Errorf("Z85 text comes in fives, not in %d characters", len(text))
	}
	out := make([]byte, 0, len(text)/5*4)
	for i := 0; i < len(text); i += 5 {
		var v uint64
		for j := i; j < i+5; j++ {
			digit := z85Value[text[j]]
			if digit == 255 {
				return nil, fmt.Errorf("the character %q at %d is not of Z85", text[j], j)
			}
			v = v*85 + uint64(digit)
		}
		if v > 0xFFFFFFFF {
			return nil, fmt.Errorf("the characters %q at %d stand for more than 32 bits", text[i:i+5], i)
		}
		out = binary.BigEndian.AppendUint32(out, uint32(v))
	}
	return out, nil
}
