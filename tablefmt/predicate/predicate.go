// Package predicate says which rows of a table are meant: conditions on columns
// ([Expr]), read from text or made by a program, decided exactly over Arrow
// record batches, and decided as far as that goes for rows of which only bounds
// are known, which is what files are skipped by. It is pure, and knows nothing
// of files.
//
// # Meaning
//
// A condition is yes, no or unknown, as in SQL; rows for which it is yes are
// meant. A test of a null is unknown, but for IS NULL and [NullSafeEqual].
// Values have one order, which is Spark's and PostgreSQL's: texts and binary
// values by their bytes, false before true, NaN equal to itself and greater
// than any other number, -0.0 equal to 0.0. Whole and decimal numbers are
// compared with a literal exactly; floats as doubles, with the double that is
// nearest to the literal. A literal has no type of its own: the column that it
// is compared with says what it is.
package predicate

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Expr is a condition. It is not changed once it is made, and may then be used
// by any number of goroutines.
type Expr struct {
	Op       Op
	Args     []*Expr   // of And and Or: any number; of Not: one
	Column   Column    // of the others
	Literals []Literal // of In: any number; of IsNull: none; of the others: one
}

// Op is what an [Expr] says.
type Op byte

// What there is. An And of nothing is yes, an Or of nothing no.
const (
	And Op = iota
	Or
	Not
	Equal
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
	// NullSafeEqual is Equal, but never unknown: two nulls are equal, and a null
	// and a value are not. (IS NOT DISTINCT FROM)
	NullSafeEqual
	In
	IsNull
	// StartsWith holds for texts and binary values that begin with the literal.
	StartsWith
)

var opNames = [...]string{"AND", "OR", "NOT", "=", "<>", "<", "<=", ">", ">=", "<=>", "IN", "IS NULL", "LIKE"}

// String is the operator as it is written.
func (op Op) String() string { return opNames[op] }

// Name is one step of the way to a column.
type Name struct {
	Text string
	// Exact is false for a name that was written without quotes: where no column
	// has it, one that differs only by case is meant.
	Exact bool
}

// Column is the way to a column: its name, or the names from a struct down to
// a field.
type Column []Name

// Col is a column by its exact names.
func Col(path ...string) Column {
	c := make(Column, len(path))
	for i, name := range path {
		c[i] = Name{name, true}
	}
	return c
}

// String is the column as it is written, names that need it in quotes.
func (c Column) String() string {
	var b strings.Builder
	for i, n := range c {
		if i > 0 {
			b.WriteByte('.')
		}
		if !n.Exact || plain(n.Text) {
			b.WriteString(n.Text)
			continue
		}
		b.WriteString(`"` + strings.ReplaceAll(n.Text, `"`, `""`) + `"`)
	}
	return b.String()
}

// plain reports whether a name can be written without quotes.
func plain(s string) bool {
	for i := range len(s) {
		if !isWord(s[i]) && (i == 0 || !isDigit(s[i]) && s[i] != '$') {
			return false
		}
	}
	return s != "" && !reserved[lower(s)]
}

// LiteralKind is how a literal is written.
type LiteralKind byte

// The kinds.
const (
	NullLiteral   LiteralKind = iota
	NumberLiteral             // 5, -0.25, 1e9; made by a program also NaN, Infinity
	TextLiteral               // 'text', also of dates, times and of NaN and Infinity
	BoolLiteral               // true, false
	BytesLiteral              // X'00ff'; Text has the bytes themselves
)

// Literal is a value to compare with. The zero value is NULL.
type Literal struct {
	Kind LiteralKind
	Text string // without quotes
}

// Null is NULL.
func Null() Literal { return Literal{} }

// Int is a whole number.
func Int(v int64) Literal { return Literal{NumberLiteral, strconv.FormatInt(v, 10)} }

// Float is a number, which may be NaN or infinite.
func Float(v float64) Literal {
	switch {
	case math.IsNaN(v):
		return Literal{NumberLiteral, "NaN"}
	case math.IsInf(v, 0):
		return Literal{NumberLiteral, strings.TrimSuffix(strconv.FormatFloat(v, 'g', -1, 64), "Inf") + "Infinity"}
	}
	return Literal{NumberLiteral, strconv.FormatFloat(v, 'g', -1, 64)}
}

// Number is a number of any size by its digits, as "-12.50".
func Number(digits string) Literal { return Literal{NumberLiteral, digits} }

// Text is a text; also a date ("2026-01-31") and a time ("2026-01-31
// 12:00:00.000001", with "Z" or an offset where it is an instant).
func Text(v string) Literal { return Literal{TextLiteral, v} }

// Bool is a boolean.
func Bool(v bool) Literal { return Literal{BoolLiteral, strconv.FormatBool(v)} }

// Bytes is a binary value.
func Bytes(v []byte) Literal { return Literal{BytesLiteral, string(v)} }

// Instant is a time, to the microsecond.
func Instant(v time.Time) Literal {
	return Literal{TextLiteral, v.UTC().Truncate(time.Microsecond).Format("2006-01-02T15:04:05.999999Z")}
}

// String is the literal as it is written.
func (l Literal) String() string {
	switch l.Kind {
	case NullLiteral:
		return "NULL"
	case TextLiteral:
		return "'" + strings.ReplaceAll(l.Text, "'", "''") + "'"
	case BytesLiteral:
		return "X'" + hexOf(l.Text) + "'"
	}
	return l.Text
}

func hexOf(s string) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 2*len(s))
	for i := range len(s) {
		b = append(b, digits[s[i]>>4], digits[s[i]&15])
	}
	return string(b)
}

// AllOf holds where all of them do.
func AllOf(list ...*Expr) *Expr { return &Expr{Op: And, Args: list} }

// AnyOf holds where one of them does.
func AnyOf(list ...*Expr) *Expr { return &Expr{Op: Or, Args: list} }

// Negate is yes where e is no, and unknown where e is.
func Negate(e *Expr) *Expr { return &Expr{Op: Not, Args: []*Expr{e}} }

// Test asks for one column.
func Test(c Column, op Op, literals ...Literal) *Expr {
	return &Expr{Op: op, Column: c, Literals: literals}
}

// Between holds from low to high, both included.
func Between(c Column, low, high Literal) *Expr {
	return AllOf(Test(c, GreaterEqual, low), Test(c, LessEqual, high))
}

// Columns are those that it asks for, as they are written, each once.
func (e *Expr) Columns() []Column {
	var list []Column
	e.each(func(e *Expr) {
		if e.Op > Not && !slices.ContainsFunc(list, func(c Column) bool { return slices.Equal(c, e.Column) }) {
			list = append(list, e.Column)
		}
	})
	return list
}

func (e *Expr) each(f func(*Expr)) {
	f(e)
	for _, a := range e.Args {
		a.each(f)
	}
}

// String writes the condition as [Parse] reads it, as far as it can be written:
// a literal NULL cannot.
func (e *Expr) String() string {
	switch e.Op {
	case Not:
		return "NOT (" + e.Args[0].String() + ")"
	case And, Or:
		parts := make([]string, len(e.Args))
		for i, a := range e.Args {
			parts[i] = "(" + a.String() + ")"
		}
		if len(parts) == 0 {
			return map[Op]string{And: "TRUE", Or: "FALSE"}[e.Op]
		}
		return strings.Join(parts, " "+e.Op.String()+" ")
	case IsNull:
		return e.Column.String() + " IS NULL"
	case In:
		parts := make([]string, len(e.Literals))
		for i, l := range e.Literals {
			parts[i] = l.String()
		}
		return e.Column.String() + " IN (" + strings.Join(parts, ", ") + ")"
	case StartsWith:
		l := e.Literals[0]
		l.Text = escapeLike.Replace(l.Text) + "%"
		return e.Column.String() + " LIKE " + l.String()
	}
	return e.Column.String() + " " + e.Op.String() + " " + e.Literals[0].String()
}

var escapeLike = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`)
