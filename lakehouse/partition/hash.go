package partition

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// seed is that of Spark's hash.
const seed = 42

// buckets gives PMOD(HASH(c), n) as Spark does.
func (t Transform) buckets(in arrow.Array) (arrow.Array, error) {
	b := array.NewInt32Builder(memory.DefaultAllocator)
	defer b.Release()
	b.Reserve(in.Len())
	for i := range in.Len() {
		h, err := sparkHash(in, i)
		if err != nil {
			return nil, err
		}
		n := h % int32(t.N)
		if n < 0 {
			n += int32(t.N)
		}
		b.Append(n)
	}
	return b.NewArray(), nil
}

// sparkHash is Spark's HASH of one value: MurmurHash3 for 32 bits, with the
// last bytes of a text taken one by one.
func sparkHash(in arrow.Array, i int) (int32, error) {
	if in.IsNull(i) {
		return seed, nil
	}
	switch a := in.(type) {
	case *array.Boolean:
		if a.Value(i) {
			return hashInt(1), nil
		}
		return hashInt(0), nil
	case *array.Int8:
		return hashInt(int32(a.Value(i))), nil
	case *array.Int16:
		return hashInt(int32(a.Value(i))), nil
	case *array.Int32:
		return hashInt(a.Value(i)), nil
	case *array.Date32:
		return hashInt(int32(a.Value(i))), nil
	case *array.Int64:
		return hashLong(a.Value(i)), nil
	case *array.Timestamp:
		return hashLong(int64(a.Value(i))), nil
	case *array.String:
		return hashBytes([]byte(a.Value(i))), nil
	case *array.Binary:
		return hashBytes(a.Value(i)), nil
	case *array.Decimal128:
		v := a.Value(i).BigInt()
		if a.DataType().(*arrow.Decimal128Type).Precision <= 18 {
			return hashLong(v.Int64()), nil
		}
		return hashBytes(twosComplement(v)), nil
	}
	return 0, fmt.Errorf("values of type %s have no bucket", in.DataType())
}

func mixK(k uint32) uint32 { return bits.RotateLeft32(k*0xcc9e2d51, 15) * 0x1b873593 }

func mixH(h, k uint32) uint32 { return bits.RotateLeft32(h^k, 13)*5 + 0xe6546b64 }

func finish(h, length uint32) int32 {
	h ^= length
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return int32(h ^ h>>16)
}

func hashInt(v int32) int32 { return finish(mixH(seed, mixK(uint32(v))), 4) }

func hashLong(v int64) int32 {
	return finish(mixH(mixH(seed, mixK(uint32(v))), mixK(uint32(v>>32))), 8)
}

func hashBytes(b []byte) int32 {
	h, n := uint32(seed), uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		h = mixH(h, mixK(binary.LittleEndian.Uint32(b)))
	}
	for _, c := range b {
		h = mixH(h, mixK(uint32(int32(int8(c)))))
	}
	return finish(h, n)
}

// twosComplement gives the shortest big-endian bytes of a number, as Java's
// BigInteger does.
func twosComplement(v *big.Int) []byte {
	if v.Sign() >= 0 {
		b := v.Bytes()
		if len(b) == 0 || b[0]&0x80 != 0 {
			b = append([]byte{0}, b...)
		}
		return b
	}
	n := new(big.Int).Not(v).BitLen()/8 + 1
	b := new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), uint(8*n))).Bytes()
	for len(b) < n {
		b = append([]byte{0}, b...)
	}
	return b
}
