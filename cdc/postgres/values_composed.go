package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// The functions of this file print composites, ranges and the composed types
// of extensions from their binary forms.

var errRecord = errors.New("a composite whose fields do not fit into it")

// appendRecord prints a composite as record_out does. A composite may have
// changed since parts were looked up; each field therefore is printed by the
// type that the value itself names.
func appendRecord(dst, v []byte, parts []columnType) ([]byte, error) {
	if len(v) < 4 {
		return dst, lengthError(len(v), 4)
	}
	n, rest := int(binary.BigEndian.Uint32(v)), v[4:]
	if n < 0 || n > len(rest)/8 {
		return dst, errRecord
	}
	dst = append(dst, '(')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if len(rest) < 4 {
			return dst, errRecord
		}
		oid := binary.BigEndian.Uint32(rest)
		field, next, null, err := nextField(rest[4:])
		if err != nil {
			return dst, err
		}
		rest = next
		if null {
			continue
		}
		text := fieldText(parts, oid)
		if text == nil {
			return dst, retry(fmt.Errorf("%w: a composite has a field of a type (OID %d) that it did not have", errNeedsText, oid))
		}
		start := len(dst)
		if dst, err = text(dst, field); err != nil {
			return dst, err
		}
		dst = quotePart(dst, start, "")
	}
	if len(rest) > 0 {
		return dst, errRecord
	}
	return append(dst, ')'), nil
}

// fieldText finds the printer of a type among the known fields, and among the
// built-in types; nil where there is none.
func fieldText(parts []columnType, oid uint32) textFunc {
	for i := range parts {
		if parts[i].oid == oid {
			return parts[i].text
		}
	}
	return resolveType(oid, -1, typeInfo{}).text
}

// The flags of a range's binary form.
const (
	rangeFlagEmpty    = 0x01
	rangeFlagLowerInc = 0x02
	rangeFlagUpperInc = 0x04
	rangeFlagLowerInf = 0x08
	rangeFlagUpperInf = 0x10
)

var errRange = errors.New("a range whose flags and bounds do not fit together")

// binaryRange is a range as it is sent.
type binaryRange struct {
	flags        byte
	lower, upper []byte // nil: infinite, or the range is empty
}

func parseRange(v []byte) (r binaryRange, err error) {
	if len(v) < 1 {
		return r, lengthError(0, 1)
	}
	r.flags = v[0]
	rest := v[1:]
	bound := func(infinite byte) (b []byte) {
		if err != nil || r.flags&(rangeFlagEmpty|infinite) != 0 {
			return nil
		}
		var null bool
		if b, rest, null, err = nextField(rest); err == nil && null {
			err = errRange
		}
		if b == nil {
			b = []byte{}
		}
		return b
	}
	r.lower = bound(rangeFlagLowerInf)
	r.upper = bound(rangeFlagUpperInf)
	if err == nil && (len(rest) > 0 || r.flags&^0x9f != 0) {
		err = errRange
	}
	return r, err
}

// appendRange prints a range as range_out does.
func appendRange(dst, v []byte, text textFunc) ([]byte, error) {
	r, err := parseRange(v)
	if err != nil {
		return dst, err
	}
	if r.flags&rangeFlagEmpty != 0 {
		return append(dst, "empty"...), nil
	}
	open, shut := byte('('), byte(')')
	if r.flags&rangeFlagLowerInc != 0 {
		open = '['
	}
	if r.flags&rangeFlagUpperInc != 0 {
		shut = ']'
	}
	dst = append(dst, open)
	for i, b := range [][]byte{r.lower, r.upper} {
		if i > 0 {
			dst = append(dst, ',')
		}
		if b == nil {
			continue
		}
		start := len(dst)
		if dst, err = text(dst, b); err != nil {
			return dst, err
		}
		dst = quotePart(dst, start, "[]")
	}
	return append(dst, shut), nil
}

// appendMultirange prints a multirange as multirange_out does.
func appendMultirange(dst, v []byte, text textFunc) ([]byte, error) {
	n, rest, err := countedFields(v)
	if err != nil {
		return dst, err
	}
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		var one []byte
		var null bool
		if one, rest, null, err = nextField(rest); err != nil || null {
			return dst, errRange
		}
		if dst, err = text(dst, one); err != nil {
			return dst, err
		}
	}
	if len(rest) > 0 {
		return dst, errRange
	}
	return append(dst, '}'), nil
}

// countedFields reads a number of fields, which have at least four bytes each.
func countedFields(v []byte) (n int, rest []byte, err error) {
	if len(v) < 4 {
		return 0, nil, lengthError(len(v), 4)
	}
	n, rest = int(binary.BigEndian.Uint32(v)), v[4:]
	if n < 0 || n > len(rest)/4 {
		return 0, nil, errField
	}
	return n, rest, nil
}

// appendHstore prints an hstore: "key"=>"value", "key"=>NULL.
func appendHstore(dst, v []byte) ([]byte, error) {
	n, rest, err := countedFields(v)
	if err != nil {
		return dst, err
	}
	for i := range n {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		var part []byte
		var null bool
		if part, rest, null, err = nextField(rest); err != nil || null {
			return dst, errField
		}
		dst = append(appendEscaped(dst, part), "=>"...)
		if part, rest, null, err = nextField(rest); err != nil {
			return dst, err
		}
		if null {
			dst = append(dst, "NULL"...)
		} else {
			dst = appendEscaped(dst, part)
		}
	}
	if len(rest) > 0 {
		return dst, errField
	}
	return dst, nil
}

// appendEscaped appends v in quotes, with a backslash before quotes and backslashes.
func appendEscaped(dst, v []byte) []byte {
	dst = append(dst, '"')
	for _, ch := range v {
		if ch == '"' || ch == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, ch)
	}
	return append(dst, '"')
}

// vectorElements gives what follows the header of a vector: a number of
// dimensions, two unused bytes, and size bytes each.
func vectorElements(v []byte, size int) ([]byte, error) {
	if len(v) < 4 {
		return nil, lengthError(len(v), 4)
	}
	if want := 4 + size*int(binary.BigEndian.Uint16(v)); len(v) != want {
		return nil, lengthError(len(v), want)
	}
	return v[4:], nil
}

func appendVector(dst, v []byte) ([]byte, error) {
	v, err := vectorElements(v, 4)
	if err != nil {
		return dst, err
	}
	dst = append(dst, '[')
	for i := 0; i < len(v); i += 4 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFloat4(dst, math.Float32frombits(binary.BigEndian.Uint32(v[i:])))
	}
	return append(dst, ']'), nil
}

func appendHalfvec(dst, v []byte) ([]byte, error) {
	v, err := vectorElements(v, 2)
	if err != nil {
		return dst, err
	}
	dst = append(dst, '[')
	for i := 0; i < len(v); i += 2 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFloat4(dst, halfToFloat(binary.BigEndian.Uint16(v[i:])))
	}
	return append(dst, ']'), nil
}

// halfToFloat widens a float of 16 bits, which is exact.
func halfToFloat(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, int(h>>10&31), uint32(h&0x3ff)
	switch exp {
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	case 0:
		f := float32(frac) / (1 << 24)
		if sign != 0 {
			f = -f
			if frac == 0 {
				f = float32(math.Copysign(0, -1))
			}
		}
		return f
	}
	return math.Float32frombits(sign | uint32(exp+112)<<23 | frac<<13)
}

// appendSparsevec prints {index:value,...}/dimensions.
func appendSparsevec(dst, v []byte) ([]byte, error) {
	if len(v) < 12 {
		return dst, lengthError(len(v), 12)
	}
	dims, n := binary.BigEndian.Uint32(v), int(binary.BigEndian.Uint32(v[4:]))
	v = v[12:]
	if n < 0 || len(v) != 8*n {
		return dst, errField
	}
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(binary.BigEndian.Uint32(v[4*i:]))+1, 10)
		dst = appendFloat4(append(dst, ':'), math.Float32frombits(binary.BigEndian.Uint32(v[4*(n+i):])))
	}
	return strconv.AppendUint(append(dst, "}/"...), uint64(dims), 10), nil
}
