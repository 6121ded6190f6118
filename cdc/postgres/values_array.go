package postgres

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
)

// maxDimensions is PostgreSQL's limit for arrays.
const maxDimensions = 6

var errArray = errors.New("an array whose dimensions and elements do not fit together")

// binaryArray walks over an array's binary form: the dimensions, then each
// element with its length before it.
type binaryArray struct {
	dims  [maxDimensions]struct{ size, lower int32 }
	ndims int
	elem  uint32 // the elements' type
	total int    // of all elements
	rest  []byte // the elements that are left
}

// parseArray reads the header. There are never more elements than v has room
// for.
func parseArray(v []byte) (a binaryArray, err error) {
	if len(v) < 12 {
		return a, lengthError(len(v), 12)
	}
	n := int(binary.BigEndian.Uint32(v))
	a.elem = binary.BigEndian.Uint32(v[8:])
	v = v[12:]
	if n == 0 && len(v) == 0 || n == 1 && len(v) == 8 && binary.BigEndian.Uint32(v) == 0 {
		return a, nil // an empty int2vector has a dimension of no length
	}
	if n < 1 || n > maxDimensions || len(v) < 8*n {
		return a, errArray
	}
	a.ndims, a.total, a.rest = n, 1, v[8*n:]
	for i := range n {
		size, lower := int32(binary.BigEndian.Uint32(v[8*i:])), int32(binary.BigEndian.Uint32(v[8*i+4:]))
		if size < 1 || int64(lower)+int64(size)-1 > math.MaxInt32 || a.total > len(a.rest)/int(size) {
			return a, errArray // each element takes four bytes at least
		}
		a.dims[i].size, a.dims[i].lower = size, lower
		a.total *= int(size)
	}
	return a, nil
}

// next gives the next element; it is called total times.
func (a *binaryArray) next() (v []byte, null bool, err error) {
	v, a.rest, null, err = nextField(a.rest)
	return v, null, err
}

// end makes sure that nothing is left.
func (a *binaryArray) end() error {
	if len(a.rest) > 0 {
		return errArray
	}
	return nil
}

// flat reports whether the array can be a list of the lake: it is empty, or
// has one dimension that counts from 1.
func (a *binaryArray) flat() bool { return a.ndims == 0 || a.ndims == 1 && a.dims[0].lower == 1 }

var errField = errors.New("a value whose parts do not fit into it")

// nextField reads a length and that many bytes; a length of -1 is NULL.
func nextField(p []byte) (v, rest []byte, null bool, err error) {
	if len(p) < 4 {
		return nil, nil, false, errField
	}
	size := int(int32(binary.BigEndian.Uint32(p)))
	p = p[4:]
	if size == -1 {
		return nil, p, true, nil
	}
	if size < 0 || size > len(p) {
		return nil, nil, false, errField
	}
	return p[:size], p[size:], false, nil
}

// appendArray prints an array's binary form as array_out does.
func appendArray(dst, v []byte, text textFunc, delim byte) ([]byte, error) {
	a, err := parseArray(v)
	if err != nil {
		return dst, err
	}
	if a.ndims == 0 {
		return append(dst, "{}"...), nil
	}
	shifted := false
	for _, d := range a.dims[:a.ndims] {
		shifted = shifted || d.lower != 1
	}
	if shifted {
		for _, d := range a.dims[:a.ndims] {
			dst = strconv.AppendInt(append(dst, '['), int64(d.lower), 10)
			dst = strconv.AppendInt(append(dst, ':'), int64(d.lower)+int64(d.size)-1, 10)
			dst = append(dst, ']')
		}
		dst = append(dst, '=')
	}
	w := arrayPrinter{binaryArray: a, dst: dst, text: text, delim: delim}
	if err := w.dimension(0); err != nil {
		return w.dst, err
	}
	return w.dst, w.end()
}

// arrayPrinter prints one array.
type arrayPrinter struct {
	binaryArray
	dst   []byte
	text  textFunc
	delim byte
}

// dimension prints the elements of one dimension, and those below it.
func (w *arrayPrinter) dimension(depth int) error {
	w.dst = append(w.dst, '{')
	for i := range w.dims[depth].size {
		if i > 0 {
			w.dst = append(w.dst, w.delim)
		}
		var err error
		if depth+1 < w.ndims {
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

func (w *arrayPrinter) element() error {
	v, null, err := w.next()
	if err != nil {
		return err
	}
	if null {
		w.dst = append(w.dst, "NULL"...)
		return nil
	}
	start := len(w.dst)
	if w.dst, err = w.text(w.dst, v); err != nil {
		return err
	}
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
	return enclose(dst, start, escapes, '\\')
}

func equalNull(v []byte) bool {
	return v[0]|32 == 'n' && v[1]|32 == 'u' && v[2]|32 == 'l' && v[3]|32 == 'l'
}

// quotePart puts a field of a composite, or a bound of a range, at dst[start:]
// in quotes where the output functions do. Within quotes a quote and a
// backslash are doubled.
func quotePart(dst []byte, start int, special string) []byte {
	part := dst[start:]
	quote, escapes := len(part) == 0, 0
	for _, ch := range part {
		switch ch {
		case '"', '\\':
			escapes++
			quote = true
		case ',', '(', ')', ' ', '\t', '\n', '\r', '\v', '\f':
			quote = true
		default:
			for i := range len(special) {
				quote = quote || ch == special[i]
			}
		}
	}
	if !quote {
		return dst
	}
	return enclose(dst, start, escapes, 0)
}

// enclose puts dst[start:] in quotes, with escape before each of the given
// number of quotes and backslashes; escape 0 doubles them.
func enclose(dst []byte, start, escapes int, escape byte) []byte {
	n := len(dst)
	for range escapes + 2 {
		dst = append(dst, 0)
	}
	at := len(dst) - 1
	dst[at] = '"'
	for i := n - 1; i >= start; i-- { // from behind, in place
		ch := dst[i]
		at--
		dst[at] = ch
		if ch == '"' || ch == '\\' {
			at--
			if dst[at] = escape; escape == 0 {
				dst[at] = ch
			}
		}
	}
	dst[start] = '"'
	return dst
}
