package dv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrCorrupt says that bytes are no deletion vector, or are a damaged one.
// The rows that it deletes are unknown, so its file cannot be read.
var ErrCorrupt = errors.New("the deletion vector is damaged")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

const (
	// magic begins a vector in the portable format of roaring bitmaps.
	magic = 1681511377
	// nativeMagic begins vectors in a format that the protocol does not
	// describe, though its example of an inline vector is in it.
	nativeMagic = 1681511376
)

// Encode gives the vector's bytes (protocol: "Deletion Vector Format"), which
// are the same for equal sets. b is left as it is.
func Encode(b *Bitmap) []byte {
	var out bytes.Buffer
	var num [8]byte
	out.Write(binary.LittleEndian.AppendUint32(num[:0], magic))
	out.Write(binary.LittleEndian.AppendUint64(num[:0], uint64(len(b.buckets))))
	for _, k := range b.buckets {
		out.Write(binary.LittleEndian.AppendUint32(num[:0], k.high))
		// Runs are what bulk deletes look like. Optimising in place would
		// be a write to a set that others may be reading.
		low := k.low.Clone()
		low.RunOptimize()
		_, _ = low.WriteTo(&out) // a bytes.Buffer takes everything
	}
	return out.Bytes()
}

// Decode is the inverse of Encode, and reads what other writers make. It does
// not keep data. The memory that it takes is bounded by a small multiple of
// len(data). Any error is an ErrCorrupt.
func Decode(data []byte) (*Bitmap, error) {
	if len(data) < 8 {
		return nil, corrupt("it has %d bytes, fewer than its header", len(data))
	}
	switch m := binary.LittleEndian.Uint32(data); m {
	case magic:
		return decodePortable(data[4:])
	case nativeMagic:
		return decodeNative(binary.LittleEndian, data[4:])
	default:
		if binary.BigEndian.Uint32(data) == nativeMagic {
			return decodeNative(binary.BigEndian, data[4:])
		}
		return nil, corrupt("it begins with %d where a deletion vector begins with %d", m, magic)
	}
}

// decodePortable reads the number of buckets, and for each its key and bitmap.
func decodePortable(data []byte) (*Bitmap, error) {
	if len(data) < 8 {
		return nil, corrupt("it ends within its header")
	}
	count := binary.LittleEndian.Uint64(data)
	rest := data[8:]
	b := new(Bitmap)
	last := int64(-1)
	for i := range count {
		if len(rest) < 4 {
			return nil, corrupt("it ends before bucket %d of %d", i, count)
		}
		high := binary.LittleEndian.Uint32(rest)
		if high > MaxRow>>32 {
			return nil, corrupt("the key %#x of bucket %d is above the greatest row number", high, i)
		}
		if int64(high) <= last {
			return nil, corrupt("the keys of its buckets do not ascend")
		}
		last = int64(high)
		size, err := b.decodeBucket(high, rest[4:])
		if err != nil {
			return nil, corrupt("bucket %d of %d: %w", i, count, err)
		}
		rest = rest[4+size:]
	}
	if len(rest) > 0 {
		return nil, corrupt("%d bytes follow its end", len(rest))
	}
	return b, nil
}

// decodeNative reads the number of buckets, whose keys are 0, 1, ..., and for
// each the length of its bitmap and the bitmap.
func decodeNative(order binary.ByteOrder, data []byte) (*Bitmap, error) {
	count := order.Uint32(data)
	rest := data[4:]
	b := new(Bitmap)
	for i := range count {
		if len(rest) < 4 {
			return nil, corrupt("it ends before bucket %d of %d", i, count)
		}
		size := int64(order.Uint32(rest))
		if rest = rest[4:]; size > int64(len(rest)) {
			return nil, corrupt("bucket %d of %d ends beyond its end", i, count)
		}
		n, err := b.decodeBucket(i, rest[:size])
		if err == nil && int64(n) != size {
			err = fmt.Errorf("it has %d bytes where %d are announced", n, size)
		}
		if err != nil {
			return nil, corrupt("bucket %d of %d: %w", i, count, err)
		}
		rest = rest[size:]
	}
	if len(rest) > 0 {
		return nil, corrupt("%d bytes follow its end", len(rest))
	}
	return b, nil
}
