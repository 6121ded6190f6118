package where

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// Column is a column that a condition may ask for.
type Column struct {
	Name       string
	Type       arrow.DataType // of its values as a source builds them
	SourceType string         // the source's own name of the type
}

// Filter is a condition on columns that are known. It never changes, and may be
// used by many goroutines.
type Filter struct {
	condition *Condition
	root      *node
	columns   []Column // that it asks for
}

// Bind finds a condition's columns. The error is an *Error.
func (c *Condition) Bind(columns []Column) (*Filter, error) {
	f := &Filter{condition: c}
	for _, name := range c.Columns() {
		i := slices.IndexFunc(columns, func(c Column) bool { return c.Name == name })
		if i < 0 {
			return nil, &Error{At: -1, What: fmt.Sprintf("there is no column %q", name)}
		}
		f.columns = append(f.columns, columns[i])
	}
	var err error
	f.root, err = f.bind(c.root)
	return f, err
}

func (f *Filter) bind(n *node) (*node, error) {
	b := *n
	b.args, b.values = nil, nil
	for _, a := range n.args {
		x, err := f.bind(a)
		if err != nil {
			return nil, err
		}
		b.args = append(b.args, x)
	}
	if n.column == "" {
		return &b, nil
	}
	b.at = slices.IndexFunc(f.columns, func(c Column) bool { return c.Name == n.column })
	c := &f.columns[b.at]
	b.kind = kindOf(c)
	if n.op == predicate.IsNull {
		return &b, nil
	}
	if b.kind == kindNone {
		return nil, &Error{At: -1, What: fmt.Sprintf("the column %q is of type %s: of its values only IS NULL can be asked", n.column, typeName(c))}
	}
	if b.kind == kindText && byOrder(n.op) && !ordered(c) {
		return nil, &Error{At: -1, What: fmt.Sprintf("the column %q is of type %s, whose order is another than that of its texts: only =, <>, IN and IS NULL can be asked", n.column, typeName(c))}
	}
	if n.op == predicate.StartsWith && b.kind != kindText {
		return nil, &Error{At: -1, What: fmt.Sprintf("the column %q is of type %s: only texts are asked for by LIKE", n.column, typeName(c))}
	}
	for _, l := range n.lits {
		v, err := parseLiteral(l, b.kind)
		if err != nil {
			return nil, &Error{At: -1, What: fmt.Sprintf("the column %q is of type %s: %v", n.column, typeName(c), err)}
		}
		b.values = append(b.values, v)
	}
	return &b, nil
}

func typeName(c *Column) string {
	if c.SourceType != "" {
		return c.SourceType
	}
	return c.Type.String()
}

// String is the condition's text.
func (f *Filter) String() string { return f.condition.text }

// Columns are those that Rows and Match want, in their order.
func (f *Filter) Columns() []string {
	names := make([]string, len(f.columns))
	for i := range f.columns {
		names[i] = f.columns[i].Name
	}
	return names
}

// truth is one of SQL's three.
type truth byte

const (
	no truth = iota
	unknown
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// Rows are rows of the columns of a filter; a nil array is a column of nulls.
// Exact finds the text of a value that its column cannot hold, which is null
// there; nil where there are none.
type Rows struct {
	Columns []arrow.Array
	Exact   func(row, column int) (string, bool)
}

// Match reports whether the condition holds for a row; false also where it is
// unknown. An error is for a value that cannot be compared.
func (f *Filter) Match(r *Rows, row int) (bool, error) {
	t, err := f.eval(f.root, r, row)
	return t == yes, err
}

func (f *Filter) eval(n *node, r *Rows, row int) (truth, error) {
	switch n.op {
	case predicate.And, predicate.Or:
		result, ends := yes, no
		if n.op == predicate.Or {
			result, ends = no, yes
		}
		for _, a := range n.args {
			t, err := f.eval(a, r, row)
			if err != nil || t == ends {
				return t, err
			}
			if t == unknown {
				result = unknown
			}
		}
		return result, nil
	case predicate.Not:
		t, err := f.eval(n.args[0], r, row)
		return yes - t, err
	}
	var v value
	null, err := f.value(n, r, row, &v)
	if err != nil {
		return no, fmt.Errorf("the condition %q cannot be decided for a row: column %q: %w", f, n.column, err)
	}
	switch {
	case n.op == predicate.IsNull:
		return truthOf(null), nil
	case n.op == predicate.NullSafeEqual:
		return truthOf(!null && compare(n.kind, &v, &n.values[0]) == 0), nil
	case null:
		return unknown, nil
	case n.op == predicate.StartsWith:
		return truthOf(strings.HasPrefix(v.s, n.values[0].s)), nil
	case n.op == predicate.In:
		for i := range n.values {
			if compare(n.kind, &v, &n.values[i]) == 0 {
				return yes, nil
			}
		}
		return no, nil
	}
	return truthOf(holds(n.op, compare(n.kind, &v, &n.values[0]))), nil
}

// byOrder reports whether a test means something only where values have an order.
func byOrder(op predicate.Op) bool {
	switch op {
	case predicate.Equal, predicate.NotEqual, predicate.NullSafeEqual, predicate.In:
		return false
	}
	return true
}

func holds(op predicate.Op, c int) bool {
	switch op {
	case predicate.Equal:
		return c == 0
	case predicate.NotEqual:
		return c != 0
	case predicate.Less:
		return c < 0
	case predicate.LessEqual:
		return c <= 0
	case predicate.Greater:
		return c > 0
	}
	return c >= 0
}

// value reads the value that a test asks for; of IS NULL only whether it is null.
func (f *Filter) value(n *node, r *Rows, row int, into *value) (null bool, err error) {
	a := r.Columns[n.at]
	if a == nil {
		return true, nil
	}
	if a.IsNull(row) {
		text, ok := "", false
		if r.Exact != nil {
			text, ok = r.Exact(row, n.at)
		}
		if !ok || n.op == predicate.IsNull {
			return !ok, nil
		}
		return false, exactValue(n.kind, text, into)
	}
	if n.op == predicate.IsNull {
		return false, nil
	}
	return false, valueAt(n.kind, a, row, into)
}
