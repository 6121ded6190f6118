package predicate

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// kind is how the values of a column compare.
type kind byte

const (
	kindNone    kind = iota // only IS NULL is defined
	kindInt                 // by Value.n
	kindFloat               // by Value.f; NaN is the greatest
	kindDecimal             // by Value.d
	kindText                // by Value.s, as bytes
	kindBytes               // likewise
	kindBool                // by Value.n, false first
	kindDate                // by Value.n: days since 1970
	kindInstant             // by Value.n: microseconds since 1970 in UTC
	kindLocal               // likewise, of no zone
)

func (k kind) String() string {
	return [...]string{
		"a value that can be compared", "a number", "a number", "a number", "a text", "a text, or bytes as X'00ff'", "TRUE or FALSE", "a date, as '2026-01-31'",
		"a time, as '2026-01-31 12:00:00Z'", "a time without a zone, as '2026-01-31 12:00:00'",
	}[k]
}

// kindOf tells how the values of an Arrow type compare.
func kindOf(t arrow.DataType) kind {
	switch t := t.(type) {
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type:
		return kindInt
	case *arrow.Float32Type, *arrow.Float64Type:
		return kindFloat
	case *arrow.Decimal128Type:
		return kindDecimal
	case *arrow.StringType:
		return kindText
	case *arrow.BinaryType:
		return kindBytes
	case *arrow.BooleanType:
		return kindBool
	case *arrow.Date32Type:
		return kindDate
	case *arrow.TimestampType:
		switch {
		case t.Unit != arrow.Microsecond:
			return kindNone
		case t.TimeZone == "":
			return kindLocal
		}
		return kindInstant
	}
	return kindNone
}

// Value is a value of a column, in the terms of the column's type.
type Value struct {
	n int64
	f float64
	d decimal128.Num
	s string
}

// IntValue is a value of a column of whole numbers, dates (days since 1970),
// times (microseconds since 1970) or booleans (0 and 1).
func IntValue(n int64) Value { return Value{n: n} }

// FloatValue is a value of a column of floats of either size.
func FloatValue(f float64) Value { return Value{f: f} }

// DecimalValue is a value of a column of decimals, of the column's scale.
func DecimalValue(d decimal128.Num) Value { return Value{d: d} }

// TextValue is a value of a column of texts or binary values.
func TextValue(s string) Value { return Value{s: s} }

// compare is the order of two values of a kind.
func (k kind) compare(a, b *Value) int {
	switch k {
	case kindFloat:
		return compareFloats(a.f, b.f)
	case kindDecimal:
		return a.d.Cmp(b.d)
	case kindText, kindBytes:
		return cmp.Compare(a.s, b.s)
	}
	return cmp.Compare(a.n, b.n)
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case a == b:
		return 0
	}
	// One of them is NaN at least. cmp.Compare has it the least of all.
	if math.IsNaN(a) == math.IsNaN(b) {
		return 0
	}
	return -cmp.Compare(a, b)
}

// cut is a literal among the values of a column: at a value or, where the
// column's type does not have it, right above one, or beyond all of them.
type cut struct {
	Value
	above bool
	edge  int8 // -1: below all values, 1: above all
}

// order is the order of a value and the literal.
func (k kind) order(v *Value, l *cut) int {
	if l.edge != 0 {
		return -int(l.edge)
	}
	o := k.compare(v, &l.Value)
	if o == 0 && l.above {
		return -1
	}
	return o
}

// literal places a literal among the values of a type.
func (k kind) literal(l Literal, t arrow.DataType) (cut, error) {
	c, ok := cut{}, false
	quoted := l.Kind == TextLiteral
	number := quoted || l.Kind == NumberLiteral
	switch k {
	case kindInt:
		if number = !quoted && number; number {
			c, ok = cutNumber(l.Text, 0, func(n *big.Int) (Value, bool) { return Value{n: n.Int64()}, n.IsInt64() })
		}
	case kindDecimal:
		if number {
			c, ok = cutNumber(l.Text, t.(*arrow.Decimal128Type).Scale, func(n *big.Int) (Value, bool) {
				if n.BitLen() > 127 {
					return Value{}, false
				}
				return Value{d: decimal128.FromBigInt(n)}, true
			})
		}
	case kindFloat:
		if number {
			c.f, ok = parseFloat(l.Text)
		}
	case kindText, kindBytes:
		c.s, ok = l.Text, quoted || k == kindBytes && l.Kind == BytesLiteral
	case kindBool:
		if ok = l.Kind == BoolLiteral; l.Text == "true" {
			c.n = 1
		}
	case kindDate, kindInstant, kindLocal:
		if quoted {
			c.n, ok = parseMoment(l.Text, layouts[k])
		}
		if k == kindDate {
			c.n /= 86_400_000_000
		}
	}
	if !ok {
		return c, errorf("%s is not %s", l, k)
	}
	return c, nil
}

// maxExponent bounds the digits of literals, and the numbers that they stand for.
const maxExponent = 400

// cutNumber places a number among those of a scale. fit gives the value, and
// whether there is one, of a number without its point.
func cutNumber(s string, scale int32, fit func(*big.Int) (Value, bool)) (c cut, ok bool) {
	switch lower(strings.TrimSpace(s)) {
	case "nan", "infinity", "+infinity", "inf", "+inf":
		return cut{edge: 1}, true
	case "-infinity", "-inf":
		return cut{edge: -1}, true
	}
	if !IsNumber(s) || len(s) > maxExponent {
		return c, false
	}
	if i := strings.LastIndexAny(s, "eE"); i >= 0 {
		if n, err := strconv.Atoi(s[i+1:]); err != nil || n > maxExponent || n < -maxExponent {
			return c, false
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return c, false
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
	floor := new(big.Int).Div(r.Num(), r.Denom()) // the denominator is positive: Div rounds down
	if c.Value, ok = fit(floor); !ok {
		return cut{edge: int8(floor.Sign())}, true
	}
	c.above = !r.IsInt()
	return c, true
}

// parseFloat reads the nearest double; one that is too great for any is refused.
func parseFloat(s string) (float64, bool) {
	switch lower(strings.TrimSpace(s)) {
	case "nan":
		return math.NaN(), true
	case "infinity", "+infinity", "inf", "+inf":
		return math.Inf(1), true
	case "-infinity", "-inf":
		return math.Inf(-1), true
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && IsNumber(s)
}

var layouts = map[kind][]string{
	kindDate: {"2006-01-02"},
	kindLocal: {
		"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02",
	},
	kindInstant: { // without a zone it is UTC
		"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02T15:04:05Z07:00", "2006-01-02 15:04Z07:00", "2006-01-02 15:04Z07",
		"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02",
	},
}

// parseMoment reads a date or a time, in microseconds since 1970.
func parseMoment(s string, layouts []string) (micros int64, ok bool) {
	for _, l := range layouts {
		if t, err := time.Parse(l, s); err == nil && t.Nanosecond()%1000 == 0 {
			return t.UnixMicro(), true
		}
	}
	return 0, false
}

// typeName is a type for people, in Delta's words where they differ.
func typeName(t arrow.DataType) string {
	switch t.ID() {
	case arrow.STRUCT, arrow.LIST, arrow.MAP:
		return t.Name()
	}
	return fmt.Sprint(t)
}

// ValueAt gives the value of row i of a column, which is not null; ok is false
// for types whose values do not compare.
func ValueAt(a arrow.Array, i int) (v Value, ok bool) {
	switch a := a.(type) {
	case *array.Int64:
		v.n = a.Value(i)
	case *array.Int32:
		v.n = int64(a.Value(i))
	case *array.Int16:
		v.n = int64(a.Value(i))
	case *array.Int8:
		v.n = int64(a.Value(i))
	case *array.Date32:
		v.n = int64(a.Value(i))
	case *array.Timestamp:
		v.n = int64(a.Value(i))
	case *array.Boolean:
		if a.Value(i) {
			v.n = 1
		}
	case *array.Float64:
		v.f = a.Value(i)
	case *array.Float32:
		v.f = float64(a.Value(i))
	case *array.Decimal128:
		v.d = a.Value(i)
	case *array.String:
		v.s = strings.Clone(a.Value(i))
	case *array.Binary:
		v.s = string(a.Value(i))
	default:
		return v, false
	}
	return v, kindOf(a.DataType()) != kindNone
}
