package keyindex

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"
)

// A run's entries are in blocks of 2048 bytes: 85 entries of 24 bytes (hash,
// file, row; little-endian numbers; file 0 says that the key is gone), the
// rest of a section's last block zero, then the block's checksum. The
// checksum is seeded by the run's own number and the block's place, so that
// a block of another run, or of another place, is damage too.
const (
	entryBytes    = 24
	blockBytes    = 2048
	blockEntries  = (blockBytes - 8) / entryBytes
	blockSumStart = blockBytes - 8
)

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

// searchBlock finds a key among the first n entries of a block.
func searchBlock(b []byte, n int, hi, lo uint64) (slot, bool) {
	i, j := 0, n
	for i < j {
		m := int(uint(i+j) >> 1)
		e := b[m*entryBytes:]
		h := binary.BigEndian.Uint64(e)
		switch {
		case h < hi:
			i = m + 1
		case h > hi:
			j = m
		default:
			l := binary.BigEndian.Uint64(e[8:])
			if l == lo {
				return getSlot(e), true
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
