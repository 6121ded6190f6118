// Package where gives the conditions of package predicate one meaning for the
// rows of a source and of its mirror, wherever they are read from: with the
// source's types, for values that a column of the lake cannot hold, and as SQL
// that saves a server from sending rows. It is pure.
package where

import (
	"slices"

	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// Condition is a condition that was read and not yet told what its columns are.
// It never changes, and may be used by many goroutines.
type Condition struct {
	text string
	root *node
}

// node is a condition; op says which fields count.
type node struct {
	op   predicate.Op
	args []*node // of and, or (two or more) and not (one)

	column string
	lits   []predicate.Literal // of in: one or more; of others: one
	kind   kind                // of the column, once bound
	at     int                 // of the column in Filter.columns, once bound
	values []value             // of the literals, once bound
}

// Error is what is wrong with a condition.
type Error = predicate.Error

// Parse reads a condition, see [predicate.Parse]. Names without quotes are folded
// to lower case, as PostgreSQL does. The error is an *Error.
func Parse(text string) (*Condition, error) {
	e, err := predicate.Parse(text)
	if err != nil {
		return nil, err
	}
	root, err := nodeOf(e)
	if err != nil {
		return nil, err
	}
	return &Condition{text: text, root: root}, nil
}

func nodeOf(e *predicate.Expr) (*node, error) {
	n := &node{op: e.Op, lits: e.Literals}
	for _, a := range e.Args {
		arg, err := nodeOf(a)
		if err != nil {
			return nil, err
		}
		n.args = append(n.args, arg)
	}
	switch len(e.Column) {
	case 0:
	case 1:
		if n.column = e.Column[0].Text; !e.Column[0].Exact {
			n.column = lower(n.column)
		}
	default:
		return nil, &Error{At: -1, What: e.Column.String() + " is a field of a column, and only whole columns can be asked for here; a name with a point in it is written in double quotes"}
	}
	return n, nil
}

// lower folds ASCII, as PostgreSQL does with names in UTF-8.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// String is the text that was read.
func (c *Condition) String() string { return c.text }

// Columns are the columns that it asks for, each once, in their order.
func (c *Condition) Columns() []string {
	var list []string
	c.root.each(func(n *node) {
		if n.column != "" && !slices.Contains(list, n.column) {
			list = append(list, n.column)
		}
	})
	return list
}

func (n *node) each(f func(*node)) {
	f(n)
	for _, a := range n.args {
		a.each(f)
	}
}
