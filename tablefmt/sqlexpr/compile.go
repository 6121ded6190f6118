package sqlexpr

import (
	"math/big"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// node is a compiled expression of a type.
type node struct {
	typ     typ
	literal *value // what it always is; nil: that depends on the row
	eval    func(*frame) (value, error)
}

func constant(t typ, v value) *node {
	return &node{typ: t, literal: &v, eval: func(*frame) (value, error) { return v, nil }}
}

type compiler struct {
	schema *arrow.Schema
	uses   map[int]bool
}

func (c *compiler) all(list []*ast) ([]*node, error) {
	out := make([]*node, len(list))
	for i, a := range list {
		var err error
		if out[i], err = c.compile(a); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *compiler) compile(a *ast) (*node, error) {
	switch a.op {
	case opColumn:
		return c.column(a.path)
	case opNumber:
		return number(a.text)
	case opString:
		return constant(typ{kind: kindString}, value{s: a.text}), nil
	case opTyped:
		return typed(a.text, a.args[0].text)
	case "TRUE", "FALSE":
		return constant(typ{kind: kindBool}, boolean(a.op == "TRUE")), nil
	case "NULL":
		return constant(typ{}, null), nil
	}
	args, err := c.all(a.args)
	if err != nil {
		return nil, err
	}
	switch a.op {
	case "AND", "OR", "NOT", opIsTrue, opFalse:
		return logic(a.op, args)
	case opIsNull:
		return isNull(args[0]), nil
	case "=", "==", "<>", "!=", "<", "<=", ">", ">=", "<=>":
		return comparison(a.op, args[0], args[1])
	case opBetween:
		return between(args)
	case opIn:
		return in(args)
	case "+", "-", "*", "/", "%", "DIV":
		return arithmetic(a.op, args[0], args[1])
	case "NEGATE":
		return negate(args[0])
	case "LIKE":
		return like(args[0], args[1])
	case opCast:
		return cast(args[0], a.text)
	case opCase:
		return choose(args)
	}
	return function(a.op, args)
}

// column finds a column, or a field within one. A name that several have but
// for case is refused.
func (c *compiler) column(path []string) (*node, error) {
	at, err := fieldCalled(c.schema.Fields(), path[0])
	if err != nil {
		return nil, err
	}
	c.uses[at] = true
	t := c.schema.Field(at).Type
	var steps []int
	for _, name := range path[1:] {
		st, ok := t.(*arrow.StructType)
		if !ok {
			return nil, unsupportedf("%q is no field", strings.Join(path, "."))
		}
		step, err := fieldCalled(st.Fields(), name)
		if err != nil {
			return nil, err
		}
		steps, t = append(steps, step), st.Field(step).Type
	}
	return &node{typ: typeOf(t), eval: func(f *frame) (value, error) {
		col, row := f.columns[at], f.row
		if col.Constant {
			row = 0
		}
		a := col.Values
		for _, step := range steps {
			if a.IsNull(row) {
				return null, nil
			}
			a = a.(*array.Struct).Field(step)
		}
		return valueAt(a, row), nil
	}}, nil
}

func fieldCalled(fields []arrow.Field, name string) (int, error) {
	found := -1
	for i := range fields {
		if !strings.EqualFold(fields[i].Name, name) {
			continue
		}
		if found >= 0 {
			return 0, unsupportedf("several columns are called %q but for case", name)
		}
		found = i
	}
	if found < 0 {
		return 0, unsupportedf("there is no column %q", name)
	}
	return found, nil
}

// number reads a number as Spark types it.
func number(text string) (*node, error) {
	body, kindOf := strings.ToUpper(text), typ{}
	for _, s := range []struct {
		suffix string
		kind   kind
	}{{"BD", kindDecimal}, {"L", kindLong}, {"S", kindShort}, {"Y", kindByte}, {"D", kindDouble}, {"F", kindFloat}} {
		if rest, ok := strings.CutSuffix(body, s.suffix); ok {
			body, kindOf.kind = rest, s.kind
			break
		}
	}
	plain := strings.Trim(body, "-0123456789") == ""
	switch {
	case kindOf.kind == kindNull && strings.Contains(body, "E"):
		kindOf.kind = kindDouble
	case kindOf.kind == kindNull && !plain:
		kindOf.kind = kindDecimal
	}
	if kindOf.kind == kindDouble || kindOf.kind == kindFloat {
		return floatLiteral(body, kindOf)
	}
	d, scale, ok := decimalText(body)
	if !ok {
		return nil, unsupportedf("%q is no number that is understood", text)
	}
	if kindOf.kind == kindDecimal {
		return decimalLiteral(d, scale)
	}
	if !plain {
		return nil, unsupportedf("%q is no integer", text)
	}
	for _, k := range []kind{kindByte, kindShort, kindInt, kindLong} {
		t := typ{kind: k}
		if (k == kindOf.kind || kindOf.kind == kindNull && k >= kindInt) && d.IsInt64() && inRange(d.Int64(), t) {
			return constant(t, value{i: d.Int64()}), nil
		}
	}
	if kindOf.kind != kindNull {
		return nil, unsupportedf("%q is out of its range", text)
	}
	return decimalLiteral(d, 0)
}

func decimalLiteral(d *big.Int, scale int) (*node, error) {
	digits := len(new(big.Int).Abs(d).String())
	t := typ{kindDecimal, max(digits, scale, 1), scale}
	if t.precision > 38 {
		return nil, unsupportedf("a number has more than 38 digits")
	}
	return constant(t, value{d: d}), nil
}

// decimalText reads digits with a point.
func decimalText(text string) (d *big.Int, scale int, ok bool) {
	whole, part, _ := strings.Cut(text, ".")
	if len(text) > 80 || strings.Trim(strings.TrimPrefix(whole, "-"), "0123456789") != "" || strings.Trim(part, "0123456789") != "" {
		return nil, 0, false
	}
	d, ok = new(big.Int).SetString(whole+part, 10)
	return d, len(part), ok
}

func isNull(n *node) *node {
	return &node{typ: typ{kind: kindBool}, eval: func(f *frame) (value, error) {
		v, err := n.eval(f)
		return boolean(v.null), err
	}}
}

// logic is three-valued. What the left side decides is not asked of the right.
func logic(op string, args []*node) (*node, error) {
	for _, n := range args {
		if n.typ.kind != kindBool && n.typ.kind != kindNull {
			return nil, unsupportedf("%s of %s", op, n.typ)
		}
	}
	out := &node{typ: typ{kind: kindBool}}
	switch a := args[0]; op {
	case "NOT":
		out.eval = func(f *frame) (value, error) {
			v, err := a.eval(f)
			if err != nil || v.null {
				return null, err
			}
			return boolean(v.i == 0), nil
		}
	case opIsTrue, opFalse:
		want := op == opIsTrue
		out.eval = func(f *frame) (value, error) {
			v, err := a.eval(f)
			return boolean(!v.null && (v.i != 0) == want), err
		}
	default:
		b, decides := args[1], op == "OR"
		out.eval = func(f *frame) (value, error) {
			x, err := a.eval(f)
			if err != nil || !x.null && (x.i != 0) == decides {
				return x, err
			}
			y, err := b.eval(f)
			switch {
			case err != nil:
				return null, err
			case !y.null && (y.i != 0) == decides:
				return y, nil
			case x.null || y.null:
				return null, nil
			}
			return boolean(!decides), nil
		}
	}
	return out, nil
}

// choose is CASE: the first value whose condition is true.
func choose(args []*node) (*node, error) {
	var values []*node
	for i := 0; i+1 < len(args); i += 2 {
		if k := args[i].typ.kind; k != kindBool && k != kindNull {
			return nil, unsupportedf("a condition is %s", args[i].typ)
		}
		values = append(values, args[i+1])
	}
	t, err := common(append(values, args[len(args)-1]))
	if err != nil {
		return nil, err
	}
	return &node{typ: t, eval: func(f *frame) (value, error) {
		for i := 0; i+1 < len(args); i += 2 {
			v, err := args[i].eval(f)
			if err != nil {
				return null, err
			}
			if !v.null && v.i != 0 {
				return args[i+1].eval(f)
			}
		}
		return args[len(args)-1].eval(f)
	}}, nil
}

// common is the type of values that may stand for one another as they are:
// the same, or integers of several widths.
func common(nodes []*node) (t typ, err error) {
	for _, n := range nodes {
		switch {
		case n.typ.kind == kindNull || n.typ == t:
		case t.kind == kindNull:
			t = n.typ
		case t.integer() && n.typ.integer():
			t.kind = max(t.kind, n.typ.kind)
		default:
			return t, unsupportedf("%s and %s stand for one another", t, n.typ)
		}
	}
	if t.kind == kindOther {
		return t, unsupportedf("a value of a type that is not understood is used")
	}
	return t, nil
}
