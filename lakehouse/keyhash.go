package lakehouse

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// keyHasher turns the key columns of rows into hashes. The bytes hashed are a
// canonical form of the stored value, so that a row hashes alike whether it
// comes from the source or is read back from the lake, and integers of every
// width alike, so that widening a key does not rehash it. A value that the
// column cannot hold is hashed by its exact text.
type keyHasher struct {
	hasher keyindex.Hasher
	buf    []byte
}

// exactText finds the exact text of a value that its column cannot hold.
type exactText func(row, keyColumn int) (string, bool)

// hashRows sets out[i] to the hash of row i, for rows from to len(out). cols
// are the key's columns in the key's order.
func (k *keyHasher) hashRows(cols []arrow.Array, exact exactText, from int, out []keyindex.Hash) error {
	if len(cols) == 1 && exact == nil {
		if c, ok := cols[0].(*array.Int64); ok && c.NullN() == 0 {
			return k.hashInt64s(c.Int64Values(), from, out)
		}
	}
	for row := from; row < len(out); row++ {
		b := k.buf[:0]
		for i, c := range cols {
			if c.IsNull(row) {
				text, ok := "", false
				if exact != nil {
					text, ok = exact(row, i)
				}
				if !ok {
					b = append(b, 'n')
					continue
				}
				b = appendKeyString(append(b, 'x'), text)
				continue
			}
			var err error
			if b, err = appendKeyValue(b, c, row); err != nil {
				return err
			}
		}
		out[row] = k.hasher.Sum(b)
		k.buf = b
	}
	return nil
}

func (k *keyHasher) hashInt64s(values []int64, from int, out []keyindex.Hash) error {
	b := append(k.buf[:0], 'i', 0, 0, 0, 0, 0, 0, 0, 0)
	for row := from; row < len(out); row++ {
		binary.BigEndian.PutUint64(b[1:], uint64(values[row]))
		out[row] = k.hasher.Sum(b)
	}
	k.buf = b
	return nil
}

func appendKeyString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendKeyInt(b []byte, tag byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, tag), uint64(v))
}

// appendKeyValue appends a value that is not null. Each form says its own
// length, so that two columns cannot be confused with one.
func appendKeyValue(b []byte, a arrow.Array, row int) ([]byte, error) {
	switch a := a.(type) {
	case *array.Int64:
		return appendKeyInt(b, 'i', a.Value(row)), nil
	case *array.Int32:
		return appendKeyInt(b, 'i', int64(a.Value(row))), nil
	case *array.Int16:
		return appendKeyInt(b, 'i', int64(a.Value(row))), nil
	case *array.Int8:
		return appendKeyInt(b, 'i', int64(a.Value(row))), nil
	case *array.String:
		return appendKeyString(append(b, 's'), a.Value(row)), nil
	case *array.Binary:
		return appendKeyString(append(b, 'b'), string(a.Value(row))), nil
	case *array.Date32:
		return appendKeyInt(b, 'd', int64(a.Value(row))), nil
	case *array.Timestamp:
		return appendKeyInt(b, 't', int64(a.Value(row))), nil
	case *array.Boolean:
		if a.Value(row) {
			return append(b, 'y', 1), nil
		}
		return append(b, 'y', 0), nil
	case *array.Decimal128:
		scale := a.DataType().(*arrow.Decimal128Type).Scale
		return appendKeyString(append(b, 'm'), a.Value(row).ToString(scale)), nil
	case *array.Float64:
		return appendKeyInt(b, 'f', int64(math.Float64bits(a.Value(row)))), nil
	case *array.Float32:
		return appendKeyInt(b, 'f', int64(math.Float64bits(float64(a.Value(row))))), nil
	case *array.Map: // before lists: a map is laid out as one
		from, to := a.ValueOffsets(row)
		return appendKeyParts(append(b, 'p'), from, to, a.Keys(), a.Items())
	case *array.List:
		from, to := a.ValueOffsets(row)
		return appendKeyParts(append(b, 'l'), from, to, a.ListValues())
	case *array.Struct:
		parts := make([]arrow.Array, a.NumField())
		for i := range parts {
			parts[i] = a.Field(i)
		}
		b = binary.AppendUvarint(append(b, 'r'), uint64(len(parts)))
		return appendKeyRow(b, row, parts)
	}
	return nil, fmt.Errorf("hashing a key: no form is defined for values of type %s", a.DataType())
}

// appendKeyParts appends the number of elements and the elements from..to of
// columns of the same length, element by element.
func appendKeyParts(b []byte, from, to int64, parts ...arrow.Array) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(to-from))
	for i := from; i < to; i++ {
		var err error
		if b, err = appendKeyRow(b, int(i), parts); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// appendKeyRow appends a row of several columns, of which some may be null.
func appendKeyRow(b []byte, row int, parts []arrow.Array) ([]byte, error) {
	for _, p := range parts {
		if p.IsNull(row) {
			b = append(b, 'n')
			continue
		}
		var err error
		if b, err = appendKeyValue(b, p, row); err != nil {
			return nil, err
		}
	}
	return b, nil
}
