package predicate

import (
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// Leaf is a column that a [Filter] asks for.
type Leaf struct {
	Path []string // from the top-level column down
	Type arrow.DataType
}

// Filter is a condition on columns that are known. It never changes, and may be
// used by any number of goroutines.
type Filter struct {
	expr    *Expr
	root    *test
	columns []Leaf
}

// test is an Expr with its column and literals in the column's terms.
type test struct {
	op   Op
	args []*test

	at    int // the column
	kind  kind
	null  bool  // the literal, or one of In's, is NULL
	lits  []cut // the others; In's are in order and such as the column can have
	truth [3]Truth
	set   *set // of In, where there are many
}

// Bind finds a condition's columns in a schema. The schema's types are those
// that Delta has. The error is an *[Error].
func Bind(e *Expr, schema *arrow.Schema) (*Filter, error) {
	f := &Filter{expr: e}
	var err error
	if f.root, err = f.bind(e, schema); err != nil {
		return nil, err
	}
	return f, nil
}

// String is the condition.
func (f *Filter) String() string { return f.expr.String() }

// Columns are those that are asked for, each once.
func (f *Filter) Columns() []Leaf { return f.columns }

func (f *Filter) bind(e *Expr, schema *arrow.Schema) (*test, error) {
	t := &test{op: e.Op}
	if e.Op <= Not {
		if e.Op == Not && len(e.Args) != 1 {
			return nil, errorf("NOT of %d conditions", len(e.Args))
		}
		for _, a := range e.Args {
			arg, err := f.bind(a, schema)
			if err != nil {
				return nil, err
			}
			t.args = append(t.args, arg)
		}
		return t, nil
	}
	leaf, err := find(e.Column, schema)
	if err != nil {
		return nil, err
	}
	t.at = slices.IndexFunc(f.columns, func(l Leaf) bool { return slices.Equal(l.Path, leaf.Path) })
	if t.at < 0 {
		t.at, f.columns = len(f.columns), append(f.columns, leaf)
	}
	t.kind = kindOf(leaf.Type)
	if want := 1; e.Op != In {
		if e.Op == IsNull {
			want = 0
		}
		if len(e.Literals) != want {
			return nil, errorf("%s of %d literals", e.Op, len(e.Literals))
		}
	}
	if e.Op == IsNull {
		return t, nil
	}
	if err := t.literals(e, leaf); err != nil {
		return nil, errorf("the column %s is of type %s: %v", e.Column, typeName(leaf.Type), err)
	}
	return t, nil
}

// literals brings an expression's literals into the column's terms.
func (t *test) literals(e *Expr, leaf Leaf) error {
	switch {
	case t.kind == kindNone:
		return errorf("of its values only IS NULL can be asked")
	case e.Op > StartsWith:
		return errorf("there is no operator %d", e.Op)
	case e.Op == StartsWith && t.kind != kindText && t.kind != kindBytes:
		return errorf("only texts are asked for by LIKE")
	}
	for _, l := range e.Literals {
		if l.Kind == NullLiteral {
			t.null = true
			continue
		}
		c, err := t.kind.literal(l, leaf.Type)
		if err != nil {
			return err
		}
		t.lits = append(t.lits, c)
	}
	switch e.Op {
	case Equal, NullSafeEqual:
		t.truth = [3]Truth{No, Yes, No}
	case NotEqual:
		t.truth = [3]Truth{Yes, No, Yes}
	case Less:
		t.truth = [3]Truth{Yes, No, No}
	case LessEqual:
		t.truth = [3]Truth{Yes, Yes, No}
	case Greater:
		t.truth = [3]Truth{No, No, Yes}
	case GreaterEqual:
		t.truth = [3]Truth{No, Yes, Yes}
	case In:
		t.lits = slices.DeleteFunc(t.lits, func(c cut) bool { return c.above || c.edge != 0 })
		slices.SortFunc(t.lits, func(a, b cut) int { return t.kind.compare(&a.Value, &b.Value) })
		if len(t.lits) > fewLiterals {
			t.set = newSet(t.kind, t.lits)
		}
	}
	return nil
}

// find goes the way to a column.
func find(c Column, schema *arrow.Schema) (Leaf, error) {
	if len(c) == 0 {
		return Leaf{}, errorf("a test of no column")
	}
	fields := schema.Fields()
	var leaf Leaf
	for i, name := range c {
		at, err := findField(name, fields)
		if err != nil {
			return leaf, err
		}
		if at < 0 {
			return leaf, errorf("there is no column %s", c[:i+1])
		}
		leaf.Path, leaf.Type = append(leaf.Path, fields[at].Name), fields[at].Type
		if i == len(c)-1 {
			break
		}
		s, ok := leaf.Type.(*arrow.StructType)
		if !ok {
			return leaf, errorf("the column %s is of type %s and has no fields that could be asked for; a name with a point in it is written in double quotes", c[:i+1], typeName(leaf.Type))
		}
		fields = s.Fields()
	}
	return leaf, nil
}

func findField(name Name, fields []arrow.Field) (int, error) {
	at := slices.IndexFunc(fields, func(f arrow.Field) bool { return f.Name == name.Text })
	if at >= 0 || name.Exact {
		return at, nil
	}
	for i := range fields {
		if !strings.EqualFold(fields[i].Name, name.Text) {
			continue
		}
		if at >= 0 {
			return -1, errorf("%q may be the column %q or %q: write it in double quotes", name.Text, fields[at].Name, fields[i].Name)
		}
		at = i
	}
	return at, nil
}

// fewLiterals are compared one after the other, more are looked up in a set.
const fewLiterals = 4

// set holds the literals of In by what they equal.
type set struct {
	ints     map[int64]struct{}
	bits     map[uint64]struct{}
	decimals map[decimal128.Num]struct{}
	texts    map[string]struct{}
}

func newSet(k kind, lits []cut) *set {
	s := &set{ints: map[int64]struct{}{}, bits: map[uint64]struct{}{}, decimals: map[decimal128.Num]struct{}{}, texts: map[string]struct{}{}}
	for i := range lits {
		switch k {
		case kindFloat:
			s.bits[floatBits(lits[i].f)] = struct{}{}
		case kindDecimal:
			s.decimals[lits[i].d] = struct{}{}
		case kindText, kindBytes:
			s.texts[lits[i].s] = struct{}{}
		default:
			s.ints[lits[i].n] = struct{}{}
		}
	}
	return s
}

// floatBits are the same for floats that are equal.
func floatBits(f float64) uint64 {
	switch {
	case f == 0:
		return 0
	case math.IsNaN(f):
		return math.MaxUint64
	}
	return math.Float64bits(f)
}
