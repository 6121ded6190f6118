package sqlexpr

import (
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
)

// UnsupportedError says that an expression, or its value for one row, cannot be
// told exactly as Spark would.
type UnsupportedError struct {
	Expression string
	Reason     string // what of it, for people
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("the expression (%s) cannot be evaluated exactly: %s", e.Expression, e.Reason)
}

// reason is an UnsupportedError before the expression is known.
type reason struct{ text string }

func (r *reason) Error() string { return r.text }

func unsupportedf(format string, args ...any) error { return &reason{fmt.Sprintf(format, args...)} }

// Expr is a compiled expression. It never changes; any number of goroutines may
// use it.
type Expr struct {
	text string
	root *node
	uses []int
}

// Compile reads an expression over rows of a schema. Names are found without
// regard to case, as Spark does. Every error is an *[UnsupportedError].
func Compile(text string, schema *arrow.Schema) (*Expr, error) {
	e := &Expr{text: text}
	a, err := parse(text)
	if err == nil {
		c := &compiler{schema: schema, uses: map[int]bool{}}
		e.root, err = c.compile(a)
		for i := range schema.NumFields() {
			if c.uses[i] {
				e.uses = append(e.uses, i)
			}
		}
	}
	if err != nil {
		return nil, e.because(err)
	}
	return e, nil
}

// Predicate is Compile for an expression that is to be boolean.
func Predicate(text string, schema *arrow.Schema) (*Expr, error) {
	e, err := Compile(text, schema)
	if err == nil && e.root.typ.kind != kindBool && e.root.typ.kind != kindNull {
		err = e.because(unsupportedf("it is no condition"))
	}
	return e, err
}

func (e *Expr) because(err error) error {
	var r *reason
	if errors.As(err, &r) {
		return &UnsupportedError{Expression: e.text, Reason: r.text}
	}
	return err
}

// String is the expression as it was written.
func (e *Expr) String() string { return e.text }

// Columns are the places in the schema of the columns that the expression uses,
// in order.
func (e *Expr) Columns() []int { return slices.Clone(e.uses) }

// Column is the values of a column in a batch of rows.
type Column struct {
	Values arrow.Array
	// Constant says that Values has one value, which all rows have.
	Constant bool
}

// frame is a row.
type frame struct {
	columns []Column
	row     int
}

// Holds reports whether the expression is true for a row. columns has one entry
// for each column of the schema; those that are not in [Expr.Columns] may be
// zero. isNull says that the value is null, which is not true.
func (e *Expr) Holds(columns []Column, row int) (holds, isNull bool, err error) {
	v, err := e.root.eval(&frame{columns, row})
	if err != nil {
		return false, false, e.because(err)
	}
	return !v.null && v.i != 0, v.null, nil
}
