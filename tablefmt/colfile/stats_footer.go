package colfile

import (
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/parquet-go/parquet-go/format"
)

// footer sets the row group's bounds as Parquet wants them: PLAIN without a
// length, in the order of the logical type. Strings are cut as Delta's are,
// which the format allows. Nothing is written for binary and booleans.
func (t *columnTracker) footer(s *format.Statistics, l *leafWriter) {
	b := &t.group
	if !b.has {
		return
	}
	switch l.phys {
	case physInt32:
		s.MinValue = binary.LittleEndian.AppendUint32(nil, uint32(b.i64min))
		s.MaxValue = binary.LittleEndian.AppendUint32(nil, uint32(b.i64max))
	case physInt64:
		s.MinValue = binary.LittleEndian.AppendUint64(nil, uint64(b.i64min))
		s.MaxValue = binary.LittleEndian.AppendUint64(nil, uint64(b.i64max))
	case physFloat:
		if lo, hi, ok := b.floats(); ok {
			s.MinValue = binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(lo)))
			s.MaxValue = binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(hi)))
		}
	case physDouble:
		if lo, hi, ok := b.floats(); ok {
			s.MinValue = binary.LittleEndian.AppendUint64(nil, math.Float64bits(lo))
			s.MaxValue = binary.LittleEndian.AppendUint64(nil, math.Float64bits(hi))
		}
	case physFixed:
		s.MinValue = appendBigEndian(nil, b.decMin, l.width)
		s.MaxValue = appendBigEndian(nil, b.decMax, l.width)
	case physBytes:
		if t.typ.ID() != arrow.STRING {
			return
		}
		// Half a pair is of no use to most readers.
		lo, okMin := truncateMin(b.strMin)
		hi, okMax := truncateMax(b.strMax)
		if okMin && okMax {
			s.MinValue = append(make([]byte, 0, len(lo)), lo...)
			s.MaxValue = append(make([]byte, 0, len(hi)), hi...)
		}
	}
}
