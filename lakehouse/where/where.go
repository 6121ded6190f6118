// Package where is a small language of conditions on a row's columns, which has
// one meaning wherever the row is read from: comparisons (=, <>, <, <=, >, >=,
// BETWEEN, IN, IS [NOT] NULL) of columns with literals, AND, OR, NOT. It is a
// part of SQL, with SQL's three truth values, but with rules of order that do
// not depend on a server: texts compare by their bytes, NaN equals itself and is
// greater than any number, as PostgreSQL has it. It is pure.
package where

import (
	"fmt"
	"slices"
	"strings"
)

// Condition is a condition that was read and not yet told what its columns are.
// It never changes, and may be used by many goroutines.
type Condition struct {
	text string
	root *node
}

// node is a condition; op says which fields count.
type node struct {
	op   nodeOp
	args []*node // of and, or (two or more) and not (one)

	column string
	cmp    string    // of compare: "=", "<>", "<", "<=", ">", ">="
	lits   []literal // of compare: one; of in: one or more
	kind   kind      // of the column, once bound
	at     int       // of the column in Filter.columns, once bound
	values []value   // of the literals, once bound
}

type nodeOp byte

const (
	opAnd nodeOp = iota
	opOr
	opNot
	opCompare
	opIn
	opNull // IS NULL
)

// literal is a literal as it was written.
type literal struct {
	text   string // without quotes
	quoted bool
	truth  bool // TRUE or FALSE, text says which
}

func (l literal) String() string {
	if l.quoted {
		return "'" + strings.ReplaceAll(l.text, "'", "''") + "'"
	}
	return l.text
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

// Error is what is wrong with a condition.
type Error struct {
	At   int    // byte of the text, from 0; -1 where no place is meant
	What string // "a literal is expected, as 5 or 'text'"
}

func (e *Error) Error() string {
	if e.At < 0 {
		return e.What
	}
	return fmt.Sprintf("at character %d: %s", e.At+1, e.What)
}
