package tablefmt

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// statsRange is what a file's statistics prove of a column of a type: as much
// less than they say as the writers that are about are known to be wrong. rows
// is the number of rows with those that a deletion vector hides, which is what
// the null count is of; wide bounds are fine, so it does not matter whether they
// are tight. (Per-file Statistics)
func statsRange(t Type, nested bool, rows *int64, low, high, nulls json.RawMessage) predicate.Range {
	var r predicate.Range
	switch t.(type) {
	case *Struct, *Array, *Map:
		return r // what is counted of them, writers do not agree on
	}
	if nulls != nil {
		n, err := strconv.ParseInt(string(nulls), 10, 64)
		switch {
		case err != nil || n < 0 || rows != nil && n > *rows:
			return r // damaged
		case n == 0 && !nested:
			r.Nulls = predicate.NoNulls
		case n > 0 && rows != nil && n == *rows:
			if low != nil || high != nil {
				return r // of no values
			}
			r.Nulls = predicate.AllNulls
		}
	}
	if low != nil {
		r.Min, _ = statsBound(t, low, false)
	}
	if high != nil {
		r.Max, r.Prefix = statsBound(t, high, true)
	}
	return r
}

// statsBound reads a bound; nil where it proves nothing. prefix is as in
// predicate.Range.
func statsBound(t Type, raw json.RawMessage, up bool) (v *predicate.Value, prefix bool) {
	if d, ok := t.(Decimal); ok {
		return decimalBound(d, string(raw), up), false
	}
	switch t {
	case Long, Integer, Short, Byte:
		if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
			return new(predicate.IntValue(n)), false
		}
	case Float, Double:
		bits := 64
		if t == Float {
			bits = 32 // the digits are the shortest of that size
		}
		if f, err := strconv.ParseFloat(string(raw), bits); err == nil && !math.IsNaN(f) {
			return new(predicate.FloatValue(f)), false
		}
	case String:
		return textBound(raw, up)
	case Date:
		if at, ok := statsMoment(raw, []string{time.DateOnly}); ok {
			return new(predicate.IntValue(int64(arrow.Date32FromTime(at)))), false
		}
	case Timestamp:
		return timeBound(raw, zonedLayouts, up), false
	case TimestampNTZ:
		return timeBound(raw, localLayouts, up), false
	}
	return nil, false // booleans and binary values have no one way to be written
}

// textBound reads a bound of texts. Least values that are cut stay least values.
// Greatest ones should be given a greater last character when they are cut, to 32
// characters, but not everybody does, or counts what is a character alike; and
// older Delta took U+FFFD for the greatest, which it is in UTF-16 alone, and cut
// characters in two. What is no character any more when it was written, is U+FFFD
// when it is read.
func textBound(raw json.RawMessage, up bool) (v *predicate.Value, prefix bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return nil, false
	}
	bad := strings.IndexRune(s, utf8.RuneError)
	if !up {
		if bad >= 0 {
			s = s[:bad]
		}
		return new(predicate.TextValue(s)), false
	}
	units, whole := 0, len(s) // whole: the bytes of the first 31 units
	for i, r := range s {
		if units <= textUnits-1 {
			whole = i
		}
		units += max(utf16.RuneLen(r), 1)
	}
	switch {
	case bad >= 0:
		s, prefix = s[:min(bad, whole)], true
	case len(s) == textUnits, units == textUnits, utf8.RuneCountInString(s) == textUnits:
		prefix = true
	}
	return new(predicate.TextValue(s)), prefix
}

// textUnits is where texts are cut.
const textUnits = 32

var (
	zonedLayouts = []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07:00"}
	// Some write local times as if they were of UTC.
	localLayouts = []string{"2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05.999999999Z", "2006-01-02 15:04:05.999999999", time.DateOnly}
)

// statsMoment reads a date or a time. Before the Gregorian calendar writers do
// not agree on what a day is called.
func statsMoment(raw json.RawMessage, layouts []string) (time.Time, bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return time.Time{}, false
	}
	for _, l := range layouts {
		if at, err := time.Parse(l, string(raw[1:len(raw)-1])); err == nil {
			return at, !at.Before(gregorian)
		}
	}
	return time.Time{}, false
}

var gregorian = time.Date(1582, 10, 15, 0, 0, 0, 0, time.UTC)

// timeBound reads a bound of times, which is cut to milliseconds, the greatest
// too, and by some towards 1970 and not downwards. The seconds that offsets had
// once are not written.
func timeBound(raw json.RawMessage, layouts []string, up bool) *predicate.Value {
	at, ok := statsMoment(raw, layouts)
	if _, offset := at.Zone(); !ok || offset != 0 && at.Year() < 1973 {
		return nil
	}
	n := at.UnixMicro()
	if up {
		n += 1000
	} else if n < 0 {
		n -= 1000
	}
	return new(predicate.IntValue(n))
}

// exactDigits are those that a double holds of any decimal number.
const exactDigits = 15

// decimalBound reads a bound of decimals, which some writers compute as doubles:
// where these do not hold all digits, room is left for what they lose.
func decimalBound(t Decimal, s string, up bool) *predicate.Value {
	_, exponent, _ := strings.Cut(strings.ToUpper(s), "E")
	if len(s) > 100 || len(exponent) > 3 || !predicate.IsNumber(s) {
		return nil
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil
	}
	if t.Precision > exactDigits {
		room := new(big.Rat).Mul(r, big.NewRat(1, 1<<49))
		room.Abs(room)
		if !up {
			room.Neg(room)
		}
		r.Add(r, room)
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Scale)), nil)))
	n := new(big.Int).Div(r.Num(), r.Denom()) // rounds down
	if up && !r.IsInt() {
		n.Add(n, big.NewInt(1))
	}
	if n.BitLen() > 127 {
		return nil
	}
	return new(predicate.DecimalValue(decimal128.FromBigInt(n)))
}

// groupRange is what the footer of a Parquet file proves of a column, that has an
// Arrow type in the table, in a row group.
func groupRange(g colfile.GroupStats, want arrow.DataType) predicate.Range {
	var r predicate.Range
	switch g.Nulls {
	case g.Rows:
		if g.Min == nil && g.Max == nil {
			r.Nulls = predicate.AllNulls
		}
		return r
	case 0:
		r.Nulls = predicate.NoNulls
	}
	r.Min, r.Max = groupBound(g.Min, g.Type, want), groupBound(g.Max, g.Type, want)
	return r
}

// groupBound gives a bound of a type as one of a wider type; nil where it is none.
func groupBound(bound any, from, to arrow.DataType) *predicate.Value {
	switch to := to.(type) {
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type:
		if v, ok := bound.(int64); ok {
			return new(predicate.IntValue(v))
		}
	case *arrow.Float32Type, *arrow.Float64Type:
		switch v := bound.(type) {
		case float32:
			return new(predicate.FloatValue(float64(v)))
		case float64:
			return new(predicate.FloatValue(v))
		case int64:
			if v == int64(int32(v)) {
				return new(predicate.FloatValue(float64(v)))
			}
		}
	case *arrow.Decimal128Type:
		n, scale := new(big.Int), to.Scale
		switch v := bound.(type) {
		case int64:
			n.SetInt64(v)
		case decimal128.Num:
			d, ok := from.(*arrow.Decimal128Type)
			if !ok || d.Scale > scale {
				return nil
			}
			n, scale = v.BigInt(), scale-d.Scale
		default:
			return nil
		}
		n.Mul(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
		if n.BitLen() <= 127 {
			return new(predicate.DecimalValue(decimal128.FromBigInt(n)))
		}
	case *arrow.StringType:
		if v, ok := bound.(string); ok {
			return new(predicate.TextValue(v))
		}
	case *arrow.Date32Type:
		if v, ok := bound.(arrow.Date32); ok {
			return new(predicate.IntValue(int64(v)))
		}
	case *arrow.TimestampType:
		const micros = 86_400_000_000
		switch v := bound.(type) {
		case arrow.Timestamp:
			return new(predicate.IntValue(int64(v)))
		case arrow.Date32:
			if n := int64(v); n < math.MaxInt64/micros && n > math.MinInt64/micros {
				return new(predicate.IntValue(n * micros))
			}
		}
	}
	return nil
}
