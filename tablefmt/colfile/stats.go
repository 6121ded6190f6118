package colfile

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// Stats describes a finished file.
type Stats struct {
	Rows  int64
	Bytes int64 // the file's size
	// Columns has one entry for each leaf column with statistics, in schema
	// order: see WriterOptions.StatsColumns. A list or map is one entry, with
	// a null count only; nothing inside of it has one.
	Columns []ColumnStats
}

// ColumnStats is what the whole file holds of one column.
type ColumnStats struct {
	// Path is the column's name, or the names from the top-level struct down
	// to the field.
	Path []string
	Type arrow.DataType
	// NullCount counts the rows without a value, those in which a struct
	// above is null included.
	NullCount int64
	// Min and Max bound the column's values from below and above. Their Go
	// types follow Type: int64 for all integers, float32, float64,
	// decimal128.Num of the type's scale, arrow.Date32, arrow.Timestamp (of
	// full resolution), string. Both are nil where the column has no value,
	// for booleans, binary, lists and maps, and for floats if one of the
	// values is NaN. A zero of a float is -0.0 in Min and +0.0 in Max.
	//
	// They are exact except for strings: Min of a string is cut to 32
	// characters; Max, where longer, is cut and given a greater last
	// character as Delta's own writer does. Either is nil if the string is
	// not UTF-8, and Max if there is no such character.
	Min, Max any
}

// columnTracker gathers a column's statistics: for the open row group, which
// go into the Parquet footer, and for the file, which Delta gets. Only one
// kind of bounds is used, according to the physical type.
type columnTracker struct {
	path []string
	typ  arrow.DataType

	nulls int64 // of the file
	group bounds
	file  bounds
}

// bounds are a minimum and a maximum of one physical type. Without a value
// (has is false) the others mean nothing.
type bounds struct {
	has            bool
	nan            bool
	i64min, i64max int64
	f64min, f64max float64
	decMin, decMax decimal128.Num
	strMin, strMax []byte // cut to strBoundBytes
}

// endGroup merges the row group's bounds into the file's and starts anew.
func (t *columnTracker) endGroup() {
	g, f := &t.group, &t.file
	f.nan = f.nan || g.nan
	if g.has {
		if !f.has {
			minBuf, maxBuf := f.strMin, f.strMax
			nan := f.nan
			*f = *g
			f.nan = nan
			f.strMin = append(minBuf[:0], g.strMin...)
			f.strMax = append(maxBuf[:0], g.strMax...)
		} else {
			f.i64min, f.i64max = min(f.i64min, g.i64min), max(f.i64max, g.i64max)
			f.f64min, f.f64max = min(f.f64min, g.f64min), max(f.f64max, g.f64max)
			if decimalLess(g.decMin, f.decMin) {
				f.decMin = g.decMin
			}
			if decimalLess(f.decMax, g.decMax) {
				f.decMax = g.decMax
			}
			f.addString(g.strMin)
			f.addString(g.strMax)
		}
	}
	g.has, g.nan = false, false
}

func addInts[T int32 | int64](b *bounds, d []T) {
	if len(d) == 0 {
		return
	}
	lo, hi := d[0], d[0]
	for _, v := range d[1:] {
		lo, hi = min(lo, v), max(hi, v)
	}
	if b.has {
		b.i64min, b.i64max = min(b.i64min, int64(lo)), max(b.i64max, int64(hi))
	} else {
		b.has, b.i64min, b.i64max = true, int64(lo), int64(hi)
	}
}

func addFloats[T float32 | float64](b *bounds, d []T) {
	if len(d) == 0 {
		return
	}
	lo, hi := d[0], d[0]
	for _, v := range d {
		// Not min and max, which are slow with NaN and zeros; a comparison
		// with NaN is false, so NaN is looked for by itself.
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
		if v != v {
			b.nan = true
		}
	}
	if b.nan {
		return
	}
	if b.has {
		b.f64min, b.f64max = min(b.f64min, float64(lo)), max(b.f64max, float64(hi))
	} else {
		b.has, b.f64min, b.f64max = true, float64(lo), float64(hi)
	}
}

func (b *bounds) addDecimal(n decimal128.Num) {
	if !b.has {
		b.has, b.decMin, b.decMax = true, n, n
		return
	}
	if decimalLess(n, b.decMin) {
		b.decMin = n
	}
	if decimalLess(b.decMax, n) {
		b.decMax = n
	}
}

// floats are the bounds of a float column, with the sign that makes a zero
// bound true of both zeros; ok is false if there are none.
func (b *bounds) floats() (lo, hi float64, ok bool) {
	if !b.has || b.nan {
		return 0, 0, false
	}
	lo, hi = b.f64min, b.f64max
	if lo == 0 {
		lo = math.Copysign(0, -1)
	}
	if hi == 0 {
		hi = 0
	}
	return lo, hi, true
}

// stats are the file's statistics of the column.
func (t *columnTracker) stats() ColumnStats {
	s := ColumnStats{Path: t.path, Type: t.typ, NullCount: t.nulls}
	b := &t.file
	if !b.has {
		return s
	}
	switch t.typ.ID() {
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64:
		s.Min, s.Max = b.i64min, b.i64max
	case arrow.DATE32:
		s.Min, s.Max = arrow.Date32(b.i64min), arrow.Date32(b.i64max)
	case arrow.TIMESTAMP:
		s.Min, s.Max = arrow.Timestamp(b.i64min), arrow.Timestamp(b.i64max)
	case arrow.FLOAT32:
		if lo, hi, ok := b.floats(); ok {
			s.Min, s.Max = float32(lo), float32(hi)
		}
	case arrow.FLOAT64:
		if lo, hi, ok := b.floats(); ok {
			s.Min, s.Max = lo, hi
		}
	case arrow.DECIMAL128:
		s.Min, s.Max = b.decimals(t.typ.(*arrow.Decimal128Type))
	case arrow.STRING:
		if v, ok := truncateMin(b.strMin); ok {
			s.Min = string(v)
		}
		if v, ok := truncateMax(b.strMax); ok {
			s.Max = string(v)
		}
	}
	return s
}

// decimals gives the bounds of a decimal column; the ones stored as INT32 or
// INT64 are gathered as integers.
func (b *bounds) decimals(t *arrow.Decimal128Type) (lo, hi decimal128.Num) {
	if t.Precision <= 18 {
		return decimal128.FromI64(b.i64min), decimal128.FromI64(b.i64max)
	}
	return b.decMin, b.decMax
}
