package sqlexpr

import (
	"math"
	"math/big"
	"strconv"
)

// inRange reports whether an integer is one of a type.
func inRange(i int64, t typ) bool {
	shift := 64 - t.bits()
	return i<<shift>>shift == i
}

// errRange is for what one of Spark's modes refuses and the other one makes
// something else of.
func errRange(t typ) error { return unsupportedf("a value leaves the range of %s", t) }

func floatLiteral(text string, t typ) (*node, error) {
	bits := 64
	if t.kind == kindFloat {
		bits = 32
	}
	f, err := strconv.ParseFloat(text, bits)
	if err != nil || math.IsInf(f, 0) {
		return nil, unsupportedf("%q is no number that is understood", text)
	}
	return constant(t, value{f: f}), nil
}

// arithmetic compiles an operator of numbers.
func arithmetic(op string, a, b *node) (*node, error) {
	x, y := a.typ, b.typ
	refused := unsupportedf("%s %s %s", x, op, y)
	if !x.numeric() || !y.numeric() {
		return nil, refused
	}
	t := typ{kind: max(x.kind, y.kind)}
	both := func(do func(v, w value) (value, error)) *node {
		return &node{typ: t, eval: func(f *frame) (value, error) {
			v, err := a.eval(f)
			if err != nil || v.null {
				return null, err
			}
			w, err := b.eval(f)
			if err != nil || w.null {
				return null, err
			}
			return do(v, w)
		}}
	}
	switch {
	case x.integer() && y.integer():
		if op == "/" {
			t.kind = kindDouble
			break
		}
		if op == "DIV" {
			t.kind = kindLong
		}
		return both(func(v, w value) (value, error) { return integers(op, v.i, w.i, t) }), nil
	case x.kind == kindFloat && y.kind == kindFloat && op != "/" && op != "DIV":
	case x.kind == kindDouble || y.kind == kindDouble:
		t.kind = kindDouble
	case (x.integer() || x.kind == kindDecimal) && (y.integer() || y.kind == kindDecimal):
		var ok bool
		if t, ok = decimalResult(op, digitsOf(a), digitsOf(b)); !ok {
			return nil, refused
		}
		return both(func(v, w value) (value, error) {
			if op == "*" {
				return value{d: new(big.Int).Mul(toDecimal(v, x, x.scale), toDecimal(w, y, y.scale))}, nil
			}
			p, q, d := toDecimal(v, x, t.scale), toDecimal(w, y, t.scale), new(big.Int)
			if op == "-" {
				return value{d: d.Sub(p, q)}, nil
			}
			return value{d: d.Add(p, q)}, nil
		}), nil
	default:
		return nil, refused
	}
	if op == "DIV" || op == "%" {
		return nil, refused
	}
	return both(func(v, w value) (value, error) { return doubles(op, toDouble(v, x), toDouble(w, y), t) }), nil
}

// decimalResult is the type of a result that Spark does not round.
func decimalResult(op string, x, y typ) (typ, bool) {
	t := typ{kind: kindDecimal}
	switch op {
	case "+", "-":
		t.scale = max(x.scale, y.scale)
		t.precision = max(x.precision-x.scale, y.precision-y.scale) + t.scale + 1
	case "*":
		t.scale, t.precision = x.scale+y.scale, x.precision+y.precision+1
	}
	return t, t.precision > 0 && t.precision <= 38
}

func integers(op string, v, w int64, t typ) (value, error) {
	var r int64
	var exact bool
	switch op {
	case "+":
		r = v + w
		exact = (r > v) == (w > 0)
	case "-":
		r = v - w
		exact = (r < v) == (w > 0)
	case "*":
		r = v * w
		exact = v == 0 || r/v == w && (v != -1 || w != math.MinInt64)
	default: // DIV and %
		if w == 0 {
			return null, unsupportedf("a division by zero")
		}
		if op == "%" {
			if w == -1 { // what the processor may not do
				return value{}, nil
			}
			return value{i: v % w}, nil
		}
		r = v / w
		exact = v != math.MinInt64 || w != -1
	}
	if !exact || !inRange(r, t) {
		return null, errRange(t)
	}
	return value{i: r}, nil
}

func doubles(op string, v, w float64, t typ) (value, error) {
	var r float64
	switch op {
	case "+":
		r = v + w
	case "-":
		r = v - w
	case "*":
		r = v * w
	default:
		if w == 0 {
			return null, unsupportedf("a division by zero")
		}
		r = v / w
	}
	if t.kind == kindFloat {
		r = float64(float32(r)) // rounding twice gives what rounding once does, for these operators
	}
	return value{f: r}, nil
}

func negate(n *node) (*node, error) {
	if !n.typ.numeric() {
		return nil, unsupportedf("the negative of %s", n.typ)
	}
	return mapped(n, n.typ, func(v value) (value, error) {
		switch {
		case n.typ.integer():
			if v.i == math.MinInt64 || !inRange(-v.i, n.typ) {
				return null, errRange(n.typ)
			}
			return value{i: -v.i}, nil
		case n.typ.kind == kindDecimal:
			return value{d: new(big.Int).Neg(v.d)}, nil
		}
		return value{f: -v.f}, nil
	}), nil
}

// mapped is a function of one value that gives null for null.
func mapped(n *node, t typ, do func(value) (value, error)) *node {
	return &node{typ: t, eval: func(f *frame) (value, error) {
		v, err := n.eval(f)
		if err != nil || v.null {
			return null, err
		}
		return do(v)
	}}
}
