package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strconv"
)

// maxDimensions is PostgreSQL's limit for arrays.
const maxDimensions = 6

var errArray = errors.New("an array whose dimensions and elements do not fit together")

// arrayText gives the function that prints an array's binary form as array_out
// does; nil where that is not known for the elements.
func arrayText(elem typeInfo, delim byte) textFunc {
	for depth := 0; elem.Kind == 'd' && elem.Base != nil && depth < 32; depth++ {
		elem = *elem.Base
	}
	text := elementText(elem)
	if text == nil {
		return nil
	}
	if delim == 0 {
		delim = ','
	}
	return func(dst, v []byte) ([]byte, error) { return appendArray(dst, v, text, delim) }
}

// elementText gives the function that prints a value of any type, also of
// those that have a type in the lake.
func elementText(t typeInfo) textFunc {
	c := resolveType(t.OID, -1, t)
	switch c.kind {
	case kindText:
		if t.Elem != nil { // no array type has arrays as elements
			return nil
		}
		return c.text
	case kindUTF8:
		return func(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }
	case kindJSONB:
		return func(dst, v []byte) ([]byte, error) {
			if len(v) < 1 || v[0] != 1 {
				return dst, errors.New("unknown version of jsonb's binary format")
			}
			return append(dst, v[1:]...), nil
		}
	case kindBool, kindInt16, kindInt32, kindInt64, kindDate, kindTimestamp, kindTimestamptz, kindUUID:
		return fixedText(c.kind)
	case kindBytes:
		return func(dst, v []byte) ([]byte, error) { return hex.AppendEncode(append(dst, `\x`...), v), nil }
	case kindChar:
		return func(dst, v []byte) ([]byte, error) { return appendCharText(dst, v), nil }
	default: // floats
		return nil
	}
}

// fixedText prints values of a fixed length.
func fixedText(k kind) textFunc {
	size := map[kind]int{
		kindBool: 1, kindInt16: 2, kindInt32: 4, kindDate: 4, kindInt64: 8, kindTimestamp: 8, kindTimestamptz: 8, kindUUID: 16,
	}[k]
	return func(dst, v []byte) ([]byte, error) {
		if len(v) != size {
			return dst, lengthError(len(v), size)
		}
		switch k {
		case kindBool:
			if v[0] != 0 {
				return append(dst, 't'), nil
			}
			return append(dst, 'f'), nil
		case kindInt16:
			return strconv.AppendInt(dst, int64(int16(binary.BigEndian.Uint16(v))), 10), nil
		case kindInt32:
			return strconv.AppendInt(dst, int64(int32(binary.BigEndian.Uint32(v))), 10), nil
		case kindInt64:
			return strconv.AppendInt(dst, int64(binary.BigEndian.Uint64(v)), 10), nil
		case kindDate:
			return appendDate(dst, int32(binary.BigEndian.Uint32(v))), nil
		case kindUUID:
			var text [uuidText]byte
			formatUUID(&text, v)
			return append(dst, text[:]...), nil
		}
		return appendTimestamp(dst, int64(binary.BigEndian.Uint64(v)), k == kindTimestamptz), nil
	}
}

// arrayWalk prints one array.
type arrayWalk struct {
	dst, rest []byte
	dims      []int
	text      textFunc
	delim     byte
}

func appendArray(dst, v []byte, text textFunc, delim byte) ([]byte, error) {
	if len(v) < 12 {
		return dst, lengthError(len(v), 12)
	}
	n := int(binary.BigEndian.Uint32(v))
	v = v[12:]
	if n == 0 && len(v) == 0 {
		return append(dst, "{}"...), nil
	}
	if n < 1 || n > maxDimensions || len(v) < 8*n {
		return dst, errArray
	}
	w := arrayWalk{dst: dst, rest: v[8*n:], dims: make([]int, n), text: text, delim: delim}
	total, shifted := 1, false
	for i := range n {
		size, lower := int32(binary.BigEndian.Uint32(v[8*i:])), int32(binary.BigEndian.Uint32(v[8*i+4:]))
		if size < 1 || int64(lower)+int64(size)-1 > math.MaxInt32 || total > len(w.rest)/int(size) {
			return dst, errArray // each element takes four bytes at least
		}
		w.dims[i] = int(size)
		total *= int(size)
		shifted = shifted || lower != 1
	}
	if shifted {
		for i := range n {
			size, lower := int32(binary.BigEndian.Uint32(v[8*i:])), int32(binary.BigEndian.Uint32(v[8*i+4:]))
			w.dst = strconv.AppendInt(append(w.dst, '['), int64(lower), 10)
			w.dst = strconv.AppendInt(append(w.dst, ':'), int64(lower)+int64(size)-1, 10)
			w.dst = append(w.dst, ']')
		}
		w.dst = append(w.dst, '=')
	}
	if err := w.dimension(0); err != nil {
		return w.dst, err
	}
	if len(w.rest) > 0 {
		return w.dst, errArray
	}
	return w.dst, nil
}

// dimension prints the elements of one dimension, and those below it.
func (w *arrayWalk) dimension(depth int) error {
	w.dst = append(w.dst, '{')
	for i := range w.dims[depth] {
		if i > 0 {
			w.dst = append(w.dst, w.delim)
		}
		var err error
		if depth+1 < len(w.dims) {
			err = w.dimension(depth + 1)
		} else {
			err = w.element()
		}
		if err != nil {
			return err
		}
	}
	w.dst = append(w.dst, '}')
	return nil
}

func (w *arrayWalk) element() error {
	if len(w.rest) < 4 {
		return errArray
	}
	size := int(int32(binary.BigEndian.Uint32(w.rest)))
	w.rest = w.rest[4:]
	if size == -1 {
		w.dst = append(w.dst, "NULL"...)
		return nil
	}
	if size < 0 || size > len(w.rest) {
		return errArray
	}
	start := len(w.dst)
	var err error
	if w.dst, err = w.text(w.dst, w.rest[:size]); err != nil {
		return err
	}
	w.rest = w.rest[size:]
	w.dst = quoteElement(w.dst, start, w.delim)
	return nil
}

// quoteElement puts the element at dst[start:] in quotes where array_out does.
func quoteElement(dst []byte, start int, delim byte) []byte {
	elem := dst[start:]
	quote := len(elem) == 0 || len(elem) == 4 && equalNull(elem)
	escapes := 0
	for _, ch := range elem {
		switch ch {
		case '"', '\\':
			escapes++
			quote = true
		case '{', '}', delim, ' ', '\t', '\n', '\r', '\v', '\f':
			quote = true
		}
	}
	if !quote {
		return dst
	}
	n := len(elem)
	dst = append(dst, make([]byte, escapes+2)...)
	at := len(dst) - 1
	dst[at] = '"'
	for i := start + n - 1; i >= start; i-- { // from behind, in place
		ch := dst[i]
		at--
		dst[at] = ch
		if ch == '"' || ch == '\\' {
			at--
			dst[at] = '\\'
		}
	}
	dst[start] = '"'
	return dst
}

func equalNull(v []byte) bool {
	return v[0]|32 == 'n' && v[1]|32 == 'u' && v[2]|32 == 'l' && v[3]|32 == 'l'
}
