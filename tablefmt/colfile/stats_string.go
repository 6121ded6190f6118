package colfile

import (
	"bytes"
	"unicode/utf8"
)

const (
	// statsChars is the length, in characters, to which Delta's writers cut
	// the bounds of strings.
	statsChars = 32
	// statsCharsMax is how far a maximum may grow in search of a character
	// that has a greater one.
	statsCharsMax = 2 * statsChars
	// strBoundBytes is how much of a string decides its truncated bounds:
	// statsCharsMax characters of at most four bytes, the character after,
	// and one byte more that tells that the string goes on.
	strBoundBytes = (statsCharsMax+1)*utf8.UTFMax + 1
)

// addString takes one value into the bounds. Strings that agree in their
// first strBoundBytes bytes have the same truncated bounds, so only those
// bytes are compared and kept.
func (b *bounds) addString(v []byte) {
	if len(v) > strBoundBytes {
		v = v[:strBoundBytes]
	}
	if !b.has {
		b.has = true
		b.strMin, b.strMax = append(b.strMin[:0], v...), append(b.strMax[:0], v...)
		return
	}
	if bytes.Compare(v, b.strMin) < 0 {
		b.strMin = append(b.strMin[:0], v...)
	} else if bytes.Compare(v, b.strMax) > 0 {
		b.strMax = append(b.strMax[:0], v...)
	}
}

// truncateMin cuts s to statsChars characters, which is a lower bound in
// UTF-8 order. Not ok if that part is not UTF-8, since JSON cannot carry it.
func truncateMin(s []byte) (v []byte, ok bool) {
	n := charBytes(s, statsChars)
	if n < 0 {
		return nil, false
	}
	return s[:n], true
}

// truncateMax gives an upper bound of s: s itself, if it is short, or a
// prefix of at least statsChars characters and a character that is greater
// than the one that followed. That is U+007F where it does, else U+10FFFF,
// as Delta's own writer chooses.
func truncateMax(s []byte) (v []byte, ok bool) {
	n := charBytes(s, statsChars)
	if n < 0 {
		return nil, false
	}
	for chars := statsChars; n < len(s); chars++ {
		r, size := utf8.DecodeRune(s[n:])
		switch {
		case r == utf8.RuneError && size <= 1:
			return nil, false
		case chars > statsCharsMax:
			return nil, false
		case r == utf8.MaxRune: // nothing is greater: keep it and look at the next
			n += size
			continue
		case r < 0x7f:
			return append(s[:n:n], 0x7f), true
		}
		return utf8.AppendRune(s[:n:n], utf8.MaxRune), true
	}
	return s, true
}

// charBytes is the length in bytes of the first chars characters of s, or -1
// if they are not UTF-8.
func charBytes(s []byte, chars int) int {
	n := 0
	for ; chars > 0 && n < len(s); chars-- {
		if s[n] < utf8.RuneSelf {
			n++
			continue
		}
		r, size := utf8.DecodeRune(s[n:])
		if r == utf8.RuneError && size <= 1 {
			return -1
		}
		n += size
	}
	return n
}
