package keyindex

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// A run's entries are in blocks of 2048 bytes. What the entries of a block have
// in common is written once, the rest in columns of as many bytes as the block
// needs, all numbers little-endian:
//
//	header   entries u16, bytes of a hash's high half u8, of a file u8, of a
//	         row u8, three bytes zero, the first high half u64, the least file
//	         u32, the least row u32
//	columns  the hashes' high halves, less the first; their low halves, eight
//	         bytes each; the files, less the least; the rows, less the least
//	checksum u64, at the block's end
//
// File 0 says that the key is gone. The hashes of a large run's neighbours
// differ in six bytes and the rows of a data file in three or four, so that an
// entry takes about 19 bytes, and never more than 24. The checksum is seeded by
// the run's own number and the block's place, so that a block of another run, or
// of another place, is damage too.
const (
	blockBytes      = 2048
	blockSumStart   = blockBytes - 8
	blockHeader     = 24
	blockRoom       = blockSumStart - blockHeader
	maxBlockEntries = blockRoom / 8 // of one high half, one file and one row
)

// An entry of a journal is 24 bytes: hash, file, row.
const entryBytes = 24

func putSlot(b []byte, s *slot) {
	binary.BigEndian.PutUint64(b, s.hi)
	binary.BigEndian.PutUint64(b[8:], s.lo)
	binary.LittleEndian.PutUint32(b[16:], s.file)
	binary.LittleEndian.PutUint32(b[20:], s.row)
}

func getSlot(b []byte) slot {
	s := slot{
		hi:   binary.BigEndian.Uint64(b),
		lo:   binary.BigEndian.Uint64(b[8:]),
		file: binary.LittleEndian.Uint32(b[16:]),
		row:  binary.LittleEndian.Uint32(b[20:]),
	}
	if s.file == 0 {
		s.row = goneRow
	}
	return s
}

// blockSum is the checksum of a block at a place in the run with this uid.
func blockSum(b []byte, uid uint64, no uint32) uint64 {
	return xxh3.HashSeed(b[:blockSumStart], uid+uint64(no)*0x9e3779b97f4a7c15)
}

func checkBlock(b []byte, uid uint64, no uint32) bool {
	return binary.LittleEndian.Uint64(b[blockSumStart:]) == blockSum(b, uid, no)
}

// spread is what the entries of a block have in common.
type spread struct {
	first, last      uint64 // high halves
	minFile, maxFile uint32
	minRow, maxRow   uint32
}

// with is the spread with a slot that follows.
func (d spread) with(s *slot) spread {
	return spread{
		first: d.first, last: s.hi,
		minFile: min(d.minFile, s.file), maxFile: max(d.maxFile, s.file),
		minRow: min(d.minRow, s.row), maxRow: max(d.maxRow, s.row),
	}
}

func spreadOf(s *slot) spread { return spread{s.hi, s.hi, s.file, s.file, s.row, s.row} }

func bytesFor(n uint64) int { return (bits.Len64(n) + 7) / 8 }

func (d *spread) widths() (hi, file, row int) {
	return bytesFor(d.last - d.first), bytesFor(uint64(d.maxFile - d.minFile)), bytesFor(uint64(d.maxRow - d.minRow))
}

// entryBytes is what each entry takes.
func (d *spread) entryBytes() int {
	hi, file, row := d.widths()
	return hi + 8 + file + row
}

// encodeBlock writes a block but for its checksum. The slots fit, which their
// spread tells.
func encodeBlock(b []byte, slots []slot, d *spread) {
	hi, file, row := d.widths()
	le := binary.LittleEndian
	clear(b)
	le.PutUint16(b, uint16(len(slots)))
	b[2], b[3], b[4] = byte(hi), byte(file), byte(row)
	le.PutUint64(b[8:], d.first)
	le.PutUint32(b[16:], d.minFile)
	le.PutUint32(b[20:], d.minRow)
	// What eight bytes have too many of is written over by what comes next, and
	// the checksum comes last.
	at := blockHeader
	for i := range slots {
		le.PutUint64(b[at:], slots[i].hi-d.first)
		at += hi
	}
	for i := range slots {
		le.PutUint64(b[at:], slots[i].lo)
		at += 8
	}
	for i := range slots {
		le.PutUint64(b[at:], uint64(slots[i].file-d.minFile))
		at += file
	}
	for i := range slots {
		le.PutUint64(b[at:], uint64(slots[i].row-d.minRow))
		at += row
	}
}

// block is a block to read from.
type block struct {
	b             []byte
	n             int
	hi, file, row int // widths
	los, files    int // where the columns begin
	rows          int
}

// readBlock takes a block apart; false is for one that does not add up.
func readBlock(b []byte) (block, bool) {
	k := block{b: b[:blockBytes], n: int(binary.LittleEndian.Uint16(b)), hi: int(b[2]), file: int(b[3]), row: int(b[4])}
	if k.n == 0 || k.hi > 8 || k.file > 4 || k.row > 4 || k.n*(k.hi+8+k.file+k.row) > blockRoom {
		return block{}, false
	}
	k.los = blockHeader + k.n*k.hi
	k.files = k.los + k.n*8
	k.rows = k.files + k.n*k.file
	return k, true
}

// word reads a number of some bytes. A column never ends within eight bytes of
// the block's end.
func (k *block) word(at, width int) uint64 {
	return binary.LittleEndian.Uint64(k.b[at:at+8]) & (1<<(8*width) - 1)
}

func (k *block) first() uint64 { return binary.LittleEndian.Uint64(k.b[8:]) }

func (k *block) lo(i int) uint64 { return binary.LittleEndian.Uint64(k.b[k.los+8*i:]) }

func (k *block) slot(i int) slot {
	s := slot{
		hi:   k.first() + k.word(blockHeader+i*k.hi, k.hi),
		lo:   k.lo(i),
		file: binary.LittleEndian.Uint32(k.b[16:]) + uint32(k.word(k.files+i*k.file, k.file)),
		row:  binary.LittleEndian.Uint32(k.b[20:]) + uint32(k.word(k.rows+i*k.row, k.row)),
	}
	if s.file == 0 {
		s.row = goneRow
	}
	return s
}

// appendTo appends the block's entries.
func (k *block) appendTo(to []slot) []slot {
	for i := range k.n {
		to = append(to, k.slot(i))
	}
	return to
}

// search finds a key.
func (k *block) search(hi, lo uint64) (slot, bool) {
	first := k.first()
	if hi < first {
		return slot{}, false
	}
	hi -= first
	i, j := 0, k.n
	for i < j {
		m := int(uint(i+j) >> 1)
		switch h := k.word(blockHeader+m*k.hi, k.hi); {
		case h < hi:
			i = m + 1
		case h > hi:
			j = m
		default:
			l := k.lo(m)
			if l == lo {
				return k.slot(m), true
			}
			if l < lo {
				i = m + 1
			} else {
				j = m
			}
		}
	}
	return slot{}, false
}

// unfit wraps ErrUnfit with what was found where.
func unfit(where, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrUnfit, where, fmt.Sprintf(format, args...))
}
