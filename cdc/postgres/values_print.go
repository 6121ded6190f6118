package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strconv"
)

// The functions of this file print values of types that the lake has too, for
// where they stand in a value that it cannot hold.

var errVersion = errors.New("unknown version of the type's binary format")

// appendSame prints types whose binary form is their text.
func appendSame(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }

// textVersioned prints jsonb and others that are sent as a version and their text.
func textVersioned(dst, v []byte) ([]byte, error) {
	if len(v) < 1 || v[0] != 1 {
		return dst, errVersion
	}
	return append(dst, v[1:]...), nil
}

func textBool(dst, v []byte) ([]byte, error) {
	if len(v) != 1 {
		return dst, lengthError(len(v), 1)
	}
	if v[0] != 0 {
		return append(dst, 't'), nil
	}
	return append(dst, 'f'), nil
}

func textInt(dst, v []byte) ([]byte, error) {
	switch len(v) {
	case 2:
		return strconv.AppendInt(dst, int64(int16(binary.BigEndian.Uint16(v))), 10), nil
	case 4:
		return strconv.AppendInt(dst, int64(int32(binary.BigEndian.Uint32(v))), 10), nil
	case 8:
		return strconv.AppendInt(dst, int64(binary.BigEndian.Uint64(v)), 10), nil
	}
	return dst, lengthError(len(v), 8)
}

func textFloat4(dst, v []byte) ([]byte, error) {
	if len(v) != 4 {
		return dst, lengthError(len(v), 4)
	}
	return appendFloat4(dst, math.Float32frombits(binary.BigEndian.Uint32(v))), nil
}

func textFloat8(dst, v []byte) ([]byte, error) {
	if len(v) != 8 {
		return dst, lengthError(len(v), 8)
	}
	return appendFloat8(dst, math.Float64frombits(binary.BigEndian.Uint64(v))), nil
}

func textDate(dst, v []byte) ([]byte, error) {
	if len(v) != 4 {
		return dst, lengthError(len(v), 4)
	}
	return appendDate(dst, int32(binary.BigEndian.Uint32(v))), nil
}

func textTimestamp(dst, v []byte) ([]byte, error) { return textInstant(dst, v, false) }

func textTimestamptz(dst, v []byte) ([]byte, error) { return textInstant(dst, v, true) }

func textInstant(dst, v []byte, zone bool) ([]byte, error) {
	if len(v) != 8 {
		return dst, lengthError(len(v), 8)
	}
	return appendTimestamp(dst, int64(binary.BigEndian.Uint64(v)), zone), nil
}

func textUUID(dst, v []byte) ([]byte, error) {
	if len(v) != 16 {
		return dst, lengthError(len(v), 16)
	}
	var text [uuidText]byte
	formatUUID(&text, v)
	return append(dst, text[:]...), nil
}

func textBytea(dst, v []byte) ([]byte, error) {
	return hex.AppendEncode(append(dst, `\x`...), v), nil
}

func textChar(dst, v []byte) ([]byte, error) {
	if len(v) != 1 {
		return dst, lengthError(len(v), 1)
	}
	return appendCharText(dst, v), nil
}

// textWKB prints a geometry: its bytes in upper-case hexadecimal.
func textWKB(dst, v []byte) ([]byte, error) {
	const digits = "0123456789ABCDEF"
	for _, x := range v {
		dst = append(dst, digits[x>>4], digits[x&15])
	}
	return dst, nil
}

func textLSN(dst, v []byte) ([]byte, error) {
	if len(v) != 8 {
		return dst, lengthError(len(v), 8)
	}
	return appendHexUpper(append(appendHexUpper(dst, binary.BigEndian.Uint32(v)), '/'), binary.BigEndian.Uint32(v[4:])), nil
}

// appendHexUpper appends a number in hexadecimal, without leading zeros.
func appendHexUpper(dst []byte, n uint32) []byte {
	at := len(dst)
	dst = strconv.AppendUint(dst, uint64(n), 16)
	for i := at; i < len(dst); i++ {
		if dst[i] >= 'a' {
			dst[i] -= 'a' - 'A'
		}
	}
	return dst
}

// textSnapshot prints pg_snapshot: xmin:xmax:xip,xip.
func textSnapshot(dst, v []byte) ([]byte, error) {
	if len(v) < 20 {
		return dst, lengthError(len(v), 20)
	}
	n := int(binary.BigEndian.Uint32(v))
	if len(v) != 20+8*n {
		return dst, lengthError(len(v), 20+8*n)
	}
	v = v[4:]
	for i := range n + 2 {
		if i == 1 || i == 2 {
			dst = append(dst, ':')
		} else if i > 2 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, binary.BigEndian.Uint64(v[8*i:]), 10)
	}
	if n == 0 {
		dst = append(dst, ':')
	}
	return dst, nil
}

// textIntVector prints int2vector and oidvector, which are sent as arrays.
func textIntVector(dst, v []byte) ([]byte, error) {
	a, err := parseArray(v)
	if err != nil {
		return dst, err
	}
	for i := range a.total {
		elem, null, err := a.next()
		if err != nil {
			return dst, err
		}
		if null || len(elem) != 2 && len(elem) != 4 {
			return dst, errArray
		}
		if i > 0 {
			dst = append(dst, ' ')
		}
		if len(elem) == 2 {
			dst = strconv.AppendInt(dst, int64(int16(binary.BigEndian.Uint16(elem))), 10)
		} else {
			dst = strconv.AppendUint(dst, uint64(binary.BigEndian.Uint32(elem)), 10)
		}
	}
	return dst, a.end()
}
