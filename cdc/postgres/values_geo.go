package postgres

import (
	"encoding/binary"
	"errors"
	"math"
)

// The functions of this file print geometric types, which consist of floats,
// and cube, which does too.

var errShape = errors.New("a shape whose number of points does not fit its length")

// float8At appends the i-th float of v.
func float8At(dst, v []byte, i int) []byte {
	return appendFloat8(dst, math.Float64frombits(binary.BigEndian.Uint64(v[8*i:])))
}

// pointAt appends the i-th point of v.
func pointAt(dst, v []byte, i int) []byte {
	dst = float8At(append(dst, '('), v, 2*i)
	dst = float8At(append(dst, ','), v, 2*i+1)
	return append(dst, ')')
}

// pointsAt appends the points of v, with commas between.
func pointsAt(dst, v []byte) []byte {
	for i := range len(v) / 16 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = pointAt(dst, v, i)
	}
	return dst
}

func textPoint(dst, v []byte) ([]byte, error) {
	if len(v) != 16 {
		return dst, lengthError(len(v), 16)
	}
	return pointAt(dst, v, 0), nil
}

func textLseg(dst, v []byte) ([]byte, error) {
	if len(v) != 32 {
		return dst, lengthError(len(v), 32)
	}
	return append(pointsAt(append(dst, '['), v), ']'), nil
}

func textBox(dst, v []byte) ([]byte, error) {
	if len(v) != 32 {
		return dst, lengthError(len(v), 32)
	}
	return pointsAt(dst, v), nil
}

// textPath prints an open path in brackets and a closed one in parentheses.
func textPath(dst, v []byte) ([]byte, error) {
	if len(v) < 5 {
		return dst, lengthError(len(v), 5)
	}
	if v[0] != 0 {
		return textPolygon(dst, v[1:])
	}
	points, err := countedPoints(v[1:])
	if err != nil {
		return dst, err
	}
	return append(pointsAt(append(dst, '['), points), ']'), nil
}

func textPolygon(dst, v []byte) ([]byte, error) {
	points, err := countedPoints(v)
	if err != nil {
		return dst, err
	}
	return append(pointsAt(append(dst, '('), points), ')'), nil
}

func countedPoints(v []byte) ([]byte, error) {
	if len(v) < 4 {
		return nil, lengthError(len(v), 4)
	}
	n := int(binary.BigEndian.Uint32(v))
	if n < 1 || len(v)-4 != 16*n {
		return nil, errShape
	}
	return v[4:], nil
}

func textLine(dst, v []byte) ([]byte, error) {
	if len(v) != 24 {
		return dst, lengthError(len(v), 24)
	}
	dst = float8At(append(dst, '{'), v, 0)
	dst = float8At(append(dst, ','), v, 1)
	dst = float8At(append(dst, ','), v, 2)
	return append(dst, '}'), nil
}

func textCircle(dst, v []byte) ([]byte, error) {
	if len(v) != 24 {
		return dst, lengthError(len(v), 24)
	}
	dst = pointAt(append(dst, '<'), v, 0)
	dst = float8At(append(dst, ','), v, 2)
	return append(dst, '>'), nil
}

// appendCube prints (1, 2),(3, 4), or (1, 2) where both corners are the same.
func appendCube(dst, v []byte) ([]byte, error) {
	if len(v) < 4 {
		return dst, lengthError(len(v), 4)
	}
	const isPoint = 1 << 31
	header := binary.BigEndian.Uint32(v)
	dims, point := int(header&^uint32(isPoint)), header&isPoint != 0
	v = v[4:]
	corners := 2
	if point {
		corners = 1
	}
	if dims > 100 || len(v) != 8*dims*corners {
		return dst, errShape
	}
	if corners == 2 && sameCorners(v) {
		corners = 1
	}
	for c := range corners {
		if c > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '(')
		for i := range dims {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = float8At(dst, v, c*dims+i)
		}
		dst = append(dst, ')')
	}
	return dst, nil
}

// sameCorners compares as floats: zeros are equal whatever their sign, and NaN
// equals nothing.
func sameCorners(v []byte) bool {
	half := len(v) / 2
	for i := 0; i < half; i += 8 {
		a := math.Float64frombits(binary.BigEndian.Uint64(v[i:]))
		b := math.Float64frombits(binary.BigEndian.Uint64(v[half+i:]))
		if a != b {
			return false
		}
	}
	return true
}
