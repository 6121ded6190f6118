package colfile

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"sync"
)

// The policy of dictionaries. A column begins each row group with one; it is
// given up, for the rest of the group, when
//   - after dictSample values, or at the end of the first page if that comes
//     sooner, more than half of the values are distinct; or
//   - it has dictMaxEntries entries, or its bytes reach the leaf's share.
//
// Measured with BenchmarkWrite, zstd level 1, on two busy CPUs, eight runs of
// each in turn: 52.3 bytes a row and a median of 1.56 million rows a CPU second
// (1.39 to 1.69) with this policy, 53.8 bytes and 1.46 million (1.36 to 1.57)
// without dictionaries. The ranges overlap; the size is the surer gain. Three
// of the twelve columns keep their dictionary. One with 5,000 distinct values
// does not, as its first dictSample values are mostly distinct: a longer trial
// has not been measured.
const (
	dictSample     = 1024
	dictMaxEntries = 1 << 14
	dictMaxBytes   = 256 << 10
	dictMinBytes   = 8 << 10
)

// dictionary numbers the distinct values of a column in a row group. Numbers
// are keyed by their bits, so that -0.0 and each NaN stay what they are.
type dictionary struct {
	table  []uint32 // entry+1 by hash, open addressing; 0 is free
	nums   []uint64 // entries of a numeric type
	data   []byte   // entries of a byte array type, one after the other
	ends   []uint32 // where each of them ends
	hashes []uint32 // of byte array entries, to grow the table and to compare first
	shift  uint     // 64 - log2(len(table))
}

var dictionaries = sync.Pool{New: func() any { return new(dictionary) }}

var dictSeed = maphash.MakeSeed()

const dictFirstTable = 256

func (d *dictionary) reset() {
	if cap(d.table) < dictFirstTable {
		d.table = make([]uint32, dictFirstTable)
	}
	d.table = d.table[:dictFirstTable]
	clear(d.table)
	d.shift = 64 - 8
	d.nums, d.data, d.ends, d.hashes = d.nums[:0], d.data[:0], d.ends[:0], d.hashes[:0]
}

// len is the number of entries; one of the two is always empty.
func (d *dictionary) len() int { return len(d.nums) + len(d.ends) }

const fibonacci = 0x9E3779B97F4A7C15

// number gives v's entry; isNew says that it was not there before.
func (d *dictionary) number(v uint64) (entry uint32, isNew bool) {
	mask := uint64(len(d.table) - 1)
	for h := (v ^ v>>29) * fibonacci >> d.shift; ; h = (h + 1) & mask {
		e := d.table[h&mask]
		if e == 0 {
			d.nums = append(d.nums, v)
			d.table[h&mask] = uint32(len(d.nums))
			if 2*len(d.nums) > len(d.table) {
				d.grow()
			}
			return uint32(len(d.nums) - 1), true
		}
		if d.nums[e-1] == v {
			return e - 1, false
		}
	}
}

// bytes gives v's entry; isNew says that it was not there before.
func (d *dictionary) bytes(v []byte) (entry uint32, isNew bool) {
	full := maphash.Bytes(dictSeed, v)
	mask := uint64(len(d.table) - 1)
	for h := full >> d.shift; ; h = (h + 1) & mask {
		e := d.table[h]
		if e == 0 {
			d.data = append(d.data, v...)
			d.ends = append(d.ends, uint32(len(d.data)))
			d.hashes = append(d.hashes, uint32(full>>32))
			d.table[h] = uint32(len(d.ends))
			if 2*len(d.ends) > len(d.table) {
				d.grow()
			}
			return uint32(len(d.ends) - 1), true
		}
		if d.hashes[e-1] == uint32(full>>32) && bytes.Equal(d.entry(e-1), v) {
			return e - 1, false
		}
	}
}

// entry is the value of a byte array entry.
func (d *dictionary) entry(e uint32) []byte {
	start := uint32(0)
	if e > 0 {
		start = d.ends[e-1]
	}
	return d.data[start:d.ends[e]]
}

// grow doubles the table. It is never larger than 2^17, so the upper 32 bits
// of the hashes are enough to place the entries.
func (d *dictionary) grow() {
	n := 2 * len(d.table)
	if cap(d.table) < n {
		d.table = make([]uint32, n)
	} else {
		d.table = d.table[:n]
		clear(d.table)
	}
	d.shift--
	mask := uint64(n - 1)
	put := func(h uint64, e int) {
		for ; d.table[h] != 0; h = (h + 1) & mask {
		}
		d.table[h] = uint32(e + 1)
	}
	for e, v := range d.nums {
		put((v^v>>29)*fibonacci>>d.shift, e)
	}
	for e, h := range d.hashes {
		put(uint64(h)<<32>>d.shift, e)
	}
}

// appendPlain appends all entries in PLAIN encoding.
func (d *dictionary) appendPlain(dst []byte, l *leafWriter) []byte {
	for _, v := range d.nums {
		dst = appendNumber(dst, v, l.phys.size())
	}
	for e := range d.ends {
		dst = l.appendBytesValue(dst, d.entry(uint32(e)))
	}
	return dst
}

// appendNumber appends the low size bytes, 4 or 8, of v.
func appendNumber(dst []byte, v uint64, size int) []byte {
	if size == 4 {
		return binary.LittleEndian.AppendUint32(dst, uint32(v))
	}
	return binary.LittleEndian.AppendUint64(dst, v)
}
