package postgres

import (
	"encoding/binary"
	"errors"
	"strconv"
)

// textFuncs turn the binary forms of built-in types that stay text into that
// text. A type that is missing here makes a stream use the text format: money,
// which depends on the locale, and names of objects, which need the catalogue.
var textFuncs = map[uint32]textFunc{
	oidNumeric:    textNumeric,
	oidTID:        textTID,
	oidTime:       textTime,
	oidTimetz:     textTimetz,
	oidInterval:   textInterval,
	oidInet:       textInet,
	oidCIDR:       textInet,
	oidMacaddr:    textMacaddr,
	oidMacaddr8:   textMacaddr,
	oidBit:        textBit,
	oidVarbit:     textBit,
	oidPGLSN:      textLSN,
	oidSnapshot:   textSnapshot,
	oidPGSnapshot: textSnapshot,
	oidJSONPath:   textVersioned,
	oidInt2vector: textIntVector,
	oidOIDvector:  textIntVector,
	oidPoint:      textPoint,
	oidLseg:       textLseg,
	oidBox:        textBox,
	oidPath:       textPath,
	oidPolygon:    textPolygon,
	oidLine:       textLine,
	oidCircle:     textCircle,
	oidTSVector:   textTSVector,
	oidTSQuery:    textTSQuery,
}

func textUint32(dst, v []byte) ([]byte, error) {
	if len(v) != 4 {
		return dst, lengthError(len(v), 4)
	}
	return strconv.AppendUint(dst, uint64(binary.BigEndian.Uint32(v)), 10), nil
}

func textUint64(dst, v []byte) ([]byte, error) {
	if len(v) != 8 {
		return dst, lengthError(len(v), 8)
	}
	return strconv.AppendUint(dst, binary.BigEndian.Uint64(v), 10), nil
}

func textTID(dst, v []byte) ([]byte, error) {
	if len(v) != 6 {
		return dst, lengthError(len(v), 6)
	}
	dst = strconv.AppendUint(append(dst, '('), uint64(binary.BigEndian.Uint32(v)), 10)
	dst = strconv.AppendUint(append(dst, ','), uint64(binary.BigEndian.Uint16(v[4:])), 10)
	return append(dst, ')'), nil
}

func textMacaddr(dst, v []byte) ([]byte, error) {
	if len(v) != 6 && len(v) != 8 {
		return dst, lengthError(len(v), 6)
	}
	for i, x := range v {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = append(dst, hexDigits[x>>4], hexDigits[x&15])
	}
	return dst, nil
}

func textBit(dst, v []byte) ([]byte, error) {
	if len(v) < 4 {
		return dst, lengthError(len(v), 4)
	}
	n, raw := int(int32(binary.BigEndian.Uint32(v))), v[4:]
	if n < 0 || len(raw) != (n+7)/8 {
		return dst, errors.New("a bit string whose length and bytes differ")
	}
	for i := range n {
		dst = append(dst, '0'+raw[i>>3]>>(7-i&7)&1)
	}
	return dst, nil
}

// The address families of inet's binary format.
const (
	familyIPv4 = 2
	familyIPv6 = 3
)

// textInet prints inet and cidr. The binary form says which it is: cidr always
// shows its mask, inet only one that is shorter than the address.
func textInet(dst, v []byte) ([]byte, error) {
	if len(v) < 4 || int(v[3]) != len(v)-4 {
		return dst, errors.New("a network address whose length and bytes differ")
	}
	family, mask, cidr, addr := v[0], v[1], v[2] != 0, v[4:]
	switch {
	case family == familyIPv4 && len(addr) == 4 && mask <= 32:
		dst = appendIPv4(dst, addr)
	case family == familyIPv6 && len(addr) == 16 && mask <= 128:
		dst = appendIPv6(dst, addr)
	default:
		return dst, errors.New("a network address of an unknown family, or with a mask longer than itself")
	}
	if cidr || int(mask) != 8*len(addr) {
		dst = strconv.AppendUint(append(dst, '/'), uint64(mask), 10)
	}
	return dst, nil
}

func appendIPv4(dst, a []byte) []byte {
	for i, x := range a {
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = strconv.AppendUint(dst, uint64(x), 10)
	}
	return dst
}

// appendIPv6 prints as PostgreSQL does, which is not quite as others do: the
// longest run of at least two zero words becomes "::", and IPv4 addresses
// within are shown as such.
func appendIPv6(dst, a []byte) []byte {
	var words [8]uint16
	for i := range words {
		words[i] = binary.BigEndian.Uint16(a[2*i:])
	}
	base, length := longestZeros(words)
	for i := 0; i < 8; i++ {
		if i >= base && i < base+length {
			if i == base {
				dst = append(dst, ':')
			}
			continue
		}
		if i > 0 {
			dst = append(dst, ':')
		}
		if i == 6 && base == 0 && (length == 6 || length == 7 && words[7] != 1 || length == 5 && words[5] == 0xffff) {
			return appendIPv4(dst, a[12:])
		}
		dst = strconv.AppendUint(dst, uint64(words[i]), 16)
	}
	if length > 0 && base+length == 8 {
		dst = append(dst, ':')
	}
	return dst
}

// longestZeros finds the first longest run of two or more zero words.
func longestZeros(words [8]uint16) (base, length int) {
	base = -1
	for i := 0; i < 8; {
		n := 0
		for i+n < 8 && words[i+n] == 0 {
			n++
		}
		if n > 1 && n > length {
			base, length = i, n
		}
		i += n + 1
	}
	return base, length
}
