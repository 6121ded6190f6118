package where

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// kind is how the values of a column compare.
type kind byte

const (
	kindNone  kind = iota // only IS NULL is defined
	kindInt               // by value.n
	kindFloat             // by value.f; NaN is the greatest
	kindExact             // numeric: by value.edge, then value.r
	kindText              // by value.s, as bytes
	kindBool              // by value.n, false first
	kindDate              // by value.edge, then value.n: days since 1970
	kindTime              // by value.edge, then value.n: microseconds since 1970, of no zone
	kindZoned             // likewise, of UTC
)

// value is a value of one kind.
type value struct {
	n    int64
	f    float64
	s    string
	r    *big.Rat
	edge int8 // -1, 1: beyond all others; 2: NaN, beyond even those
}

func (k kind) String() string {
	return [...]string{
		"a value that has no order here", "a whole number", "a number", "a number", "a text", "TRUE or FALSE", "a date, as '2026-01-31'",
		"a time without a zone, as '2026-01-31 12:00:00'", "a time with a zone, as '2026-01-31 12:00:00+00'",
	}[k]
}

// kindOf tells how the values of a column compare.
func kindOf(c *Column) kind {
	numeric := strings.HasPrefix(c.SourceType, "numeric")
	switch t := c.Type.(type) {
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type:
		return kindInt
	case *arrow.Float32Type, *arrow.Float64Type:
		return kindFloat
	case *arrow.Decimal128Type:
		return kindExact
	case *arrow.StringType:
		if numeric {
			return kindExact
		}
		return kindText
	case *arrow.BooleanType:
		return kindBool
	case *arrow.Date32Type:
		return kindDate
	case *arrow.TimestampType:
		switch {
		case t.Unit != arrow.Microsecond:
			return kindNone
		case t.TimeZone == "":
			return kindTime
		}
		return kindZoned
	}
	return kindNone
}

// ordered reports whether a column's texts have an order that means anything to
// whoever knows its type.
func ordered(c *Column) bool {
	switch name, _, _ := strings.Cut(c.SourceType, "("); name {
	case "", "text", "character varying", "varchar", "character", "bpchar", "name", "uuid":
		return true
	}
	return false
}

func compare(k kind, a, b *value) int {
	switch k {
	case kindFloat:
		switch x, y := math.IsNaN(a.f), math.IsNaN(b.f); {
		case x && y:
			return 0
		case x:
			return 1
		case y:
			return -1
		}
		return cmp.Compare(a.f, b.f)
	case kindText:
		return cmp.Compare(a.s, b.s)
	case kindExact:
		if a.edge != 0 || b.edge != 0 {
			return cmp.Compare(a.edge, b.edge)
		}
		return a.r.Cmp(b.r)
	}
	return cmp.Or(cmp.Compare(a.edge, b.edge), cmp.Compare(a.n, b.n))
}

// maxExponent bounds the numbers that a literal, or an exact text, may stand for.
const maxExponent = 20_000

// parseNumber reads a number, or one of those beyond all numbers.
func parseNumber(s string) (value, bool) {
	switch lower(strings.TrimSpace(s)) {
	case "nan":
		return value{edge: 2}, true
	case "infinity", "+infinity", "inf", "+inf":
		return value{edge: 1}, true
	case "-infinity", "-inf":
		return value{edge: -1}, true
	}
	if !predicate.IsNumber(s) {
		return value{}, false
	}
	if i := strings.LastIndexAny(s, "eE"); i >= 0 {
		if n, err := strconv.Atoi(s[i+1:]); err != nil || n > maxExponent || n < -maxExponent {
			return value{}, false
		}
	}
	r, ok := new(big.Rat).SetString(s)
	return value{r: r}, ok
}

// parseMoment reads a date or a time; micros is since 1970.
func parseMoment(s string, layouts ...string) (micros int64, ok bool) {
	for _, l := range layouts {
		if t, err := time.Parse(l, s); err == nil && t.Nanosecond()%1000 == 0 {
			return t.UnixMicro(), true
		}
	}
	return 0, false
}

func parseEdge(s string) (value, bool) {
	switch lower(s) {
	case "infinity":
		return value{edge: 1}, true
	case "-infinity":
		return value{edge: -1}, true
	}
	return value{}, false
}

// parseLiteral reads a literal as a value of a kind.
func parseLiteral(l predicate.Literal, k kind) (v value, err error) {
	ok := false
	quoted, number := l.Kind == predicate.TextLiteral, l.Kind == predicate.NumberLiteral
	switch k {
	case kindInt:
		if number {
			v.n, err = strconv.ParseInt(strings.TrimPrefix(l.Text, "+"), 10, 64)
			ok = err == nil
		}
	case kindFloat:
		if v, ok = parseNumber(l.Text); ok && (number || quoted) {
			switch v.edge {
			case 2:
				v.f = math.NaN()
			case 1, -1:
				v.f = math.Inf(int(v.edge))
			default:
				v.f, err = strconv.ParseFloat(l.Text, 64)
				ok = err == nil
			}
		}
	case kindExact:
		if v, ok = parseNumber(l.Text); ok {
			ok = number || quoted
		}
	case kindText:
		v, ok = value{s: l.Text}, quoted
	case kindBool:
		if ok = l.Kind == predicate.BoolLiteral; l.Text == "true" {
			v.n = 1
		}
	case kindDate, kindTime, kindZoned:
		if v, ok = parseEdge(l.Text); !ok && quoted {
			v.n, ok = parseMoment(l.Text, layouts[k]...)
			if k == kindDate {
				v.n = floorDiv(v.n, 86_400_000_000)
			}
		}
		ok = ok && quoted
	}
	if !ok {
		return v, &Error{At: -1, What: fmt.Sprintf("%s is not %s", l, k)}
	}
	return v, nil
}

var layouts = map[kind][]string{
	kindDate:  {"2006-01-02"},
	kindTime:  {"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"},
	kindZoned: {"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02T15:04:05Z07:00", "2006-01-02 15:04Z07:00", "2006-01-02 15:04Z07"},
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// valueAt reads a value that is not null from a column, whose type may be another
// than the one that the kind was found for, as a lake may hold wider ones.
func valueAt(k kind, a arrow.Array, row int, into *value) error {
	*into = value{}
	ok := false
	switch a := a.(type) {
	case *array.Int64:
		ok = into.setInt(k, a.Value(row))
	case *array.Int32:
		ok = into.setInt(k, int64(a.Value(row)))
	case *array.Int16:
		ok = into.setInt(k, int64(a.Value(row)))
	case *array.Int8:
		ok = into.setInt(k, int64(a.Value(row)))
	case *array.Float64:
		into.f, ok = a.Value(row), k == kindFloat
	case *array.Float32:
		into.f, ok = float64(a.Value(row)), k == kindFloat
	case *array.Boolean:
		if ok = k == kindBool; a.Value(row) {
			into.n = 1
		}
	case *array.Date32:
		into.n, ok = int64(a.Value(row)), k == kindDate
	case *array.Timestamp:
		into.n, ok = int64(a.Value(row)), kindOf(&Column{Type: a.DataType()}) == k
	case *array.Decimal128:
		d, scale := a.Value(row), a.DataType().(*arrow.Decimal128Type).Scale
		into.r = new(big.Rat).SetFrac(d.BigInt(), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
		ok = k == kindExact
	case *array.String:
		if k == kindExact {
			return exactValue(k, a.Value(row), into)
		}
		into.s, ok = a.Value(row), k == kindText
	}
	if !ok {
		return fmt.Errorf("its values are of type %s, which cannot be compared as %s", a.DataType(), k)
	}
	return nil
}

func (v *value) setInt(k kind, n int64) bool {
	switch k {
	case kindInt:
		v.n = n
	case kindFloat:
		v.f = float64(n)
	case kindExact:
		v.r = new(big.Rat).SetInt64(n)
	default:
		return false
	}
	return true
}

// exactValue reads a value that its column cannot hold from its text.
func exactValue(k kind, text string, into *value) error {
	ok := false
	switch k {
	case kindExact:
		*into, ok = parseNumber(text)
	case kindDate, kindTime, kindZoned:
		*into, ok = parseEdge(text)
	}
	if !ok {
		return fmt.Errorf("it holds %s, which cannot be compared here", bytes.ToValidUTF8([]byte(text[:min(len(text), 100)]), []byte("?")))
	}
	return nil
}
