package sqlexpr

import (
	"cmp"
	"math/big"
	"strings"
	"time"
)

// comparer orders two values that are not null.
type comparer func(a, b value) int

// comparison compiles a comparison of any operator.
func comparison(op string, a, b *node) (*node, error) {
	c, err := ordering(a, b)
	if err != nil {
		return nil, err
	}
	test := map[string]func(int) bool{
		"=": func(c int) bool { return c == 0 }, "==": func(c int) bool { return c == 0 }, "<=>": func(c int) bool { return c == 0 },
		"<>": func(c int) bool { return c != 0 }, "!=": func(c int) bool { return c != 0 },
		"<": func(c int) bool { return c < 0 }, "<=": func(c int) bool { return c <= 0 },
		">": func(c int) bool { return c > 0 }, ">=": func(c int) bool { return c >= 0 },
	}[op]
	safe := op == "<=>"
	return &node{typ: typ{kind: kindBool}, eval: func(f *frame) (value, error) {
		x, err := a.eval(f)
		if err != nil || x.null && !safe {
			return null, err
		}
		y, err := b.eval(f)
		switch {
		case err != nil:
			return null, err
		case safe && (x.null || y.null):
			return boolean(x.null && y.null), nil
		case y.null:
			return null, nil
		}
		return boolean(test(c(x, y))), nil
	}}, nil
}

func between(args []*node) (*node, error) {
	low, err := ordering(args[0], args[1])
	if err != nil {
		return nil, err
	}
	high, err := ordering(args[0], args[2])
	if err != nil {
		return nil, err
	}
	// What x >= low AND x <= high is, with x evaluated once.
	return &node{typ: typ{kind: kindBool}, eval: func(f *frame) (value, error) {
		var v [3]value
		for i := range v {
			var err error
			if v[i], err = args[i].eval(f); err != nil {
				return null, err
			}
		}
		if v[0].null {
			return null, nil
		}
		below := !v[1].null && low(v[0], v[1]) < 0
		above := !v[2].null && high(v[0], v[2]) > 0
		if !below && !above && (v[1].null || v[2].null) {
			return null, nil
		}
		return boolean(!below && !above), nil
	}}, nil
}

// in compiles IN, whose values are all of one type.
func in(args []*node) (*node, error) {
	var orders []comparer
	for _, e := range args[1:] {
		c, err := ordering(args[0], e)
		if err != nil {
			return nil, err
		}
		same := e.typ == args[0].typ || e.typ.kind == kindNull || e.typ.integer() && args[0].typ.integer() || e.typ.kind == kindDecimal && args[0].typ.kind == kindDecimal
		if !same {
			return nil, unsupportedf("IN compares %s with %s", args[0].typ, e.typ)
		}
		orders = append(orders, c)
	}
	return &node{typ: typ{kind: kindBool}, eval: func(f *frame) (value, error) {
		x, err := args[0].eval(f)
		if err != nil || x.null {
			return null, err
		}
		unknown := false
		for i, c := range orders {
			y, err := args[i+1].eval(f)
			switch {
			case err != nil:
				return null, err
			case y.null:
				unknown = true
			case c(x, y) == 0:
				return boolean(true), nil
			}
		}
		if unknown {
			return null, nil
		}
		return boolean(false), nil
	}}, nil
}

// ordering says how Spark orders values of two types: which of them is turned
// into the other's. A text that stands for a date or time is read here.
func ordering(a, b *node) (comparer, error) {
	for _, p := range [2][2]*node{{a, b}, {b, a}} {
		if err := coerce(p[0], p[1].typ); err != nil {
			return nil, err
		}
	}
	x, y := a.typ, b.typ
	refused := unsupportedf("%s is compared with %s", x, y)
	switch {
	case x.kind == kindOther || y.kind == kindOther:
		return nil, refused
	case x.kind == kindNull || y.kind == kindNull:
		return func(value, value) int { return 0 }, nil // there is nothing to compare
	case x.kind == y.kind && x.kind == kindString:
		return func(a, b value) int { return cmp.Compare(a.s, b.s) }, nil
	case x.kind == y.kind && !x.numeric(), x.integer() && y.integer():
		return func(a, b value) int { return cmp.Compare(a.i, b.i) }, nil
	case x.numeric() && y.numeric():
		return numbers(a, b, refused)
	case x.kind == kindDate && y.kind == kindNTZ:
		return func(a, b value) int { return cmp.Compare(a.i*dayMicros, b.i) }, nil
	case x.kind == kindNTZ && y.kind == kindDate:
		return func(a, b value) int { return cmp.Compare(a.i, b.i*dayMicros) }, nil
	}
	return nil, refused
}

// numbers orders numbers of two types, at least one of which is no integer.
func numbers(a, b *node, refused error) (comparer, error) {
	x, y := a.typ, b.typ
	if x.kind == kindFloat && y.integer() || x.integer() && y.kind == kindFloat {
		// Spark's modes turn both into floats or into doubles: it is the same for
		// integers that a float holds.
		if !smallLiteral(a) && !smallLiteral(b) {
			return nil, refused
		}
	}
	if x.kind == kindFloat || y.kind == kindFloat || x.kind == kindDouble || y.kind == kindDouble {
		return func(a, b value) int { return compareDoubles(toDouble(a, x), toDouble(b, y)) }, nil
	}
	if x.integer() && beyondLong(b) || y.integer() && beyondLong(a) {
		return nil, refused // Spark takes this for true or false, for nulls too
	}
	x, y = digitsOf(a), digitsOf(b)
	scale := max(x.scale, y.scale)
	if max(x.precision-x.scale, y.precision-y.scale)+scale > 38 {
		return nil, refused // Spark rounds before it compares
	}
	x, y = a.typ, b.typ
	return func(a, b value) int { return toDecimal(a, x, scale).Cmp(toDecimal(b, y, scale)) }, nil
}

// beyondLong reports whether a literal decimal is none that 64 bits could hold.
func beyondLong(n *node) bool {
	if n.literal == nil || n.typ.kind != kindDecimal || n.literal.null {
		return false
	}
	whole := new(big.Int).Quo(n.literal.d, powers[n.typ.scale])
	return !whole.IsInt64()
}

// digitsOf is the decimal type that Spark takes a number for.
func digitsOf(n *node) typ {
	if !n.typ.integer() {
		return n.typ
	}
	if n.literal != nil {
		d, _ := decimalLiteral(toDecimal(*n.literal, n.typ, 0), 0) // 64 bits always fit
		return d.typ
	}
	return n.typ.digits()
}

func smallLiteral(n *node) bool {
	return n.literal != nil && n.typ.integer() && n.literal.i > -1<<24 && n.literal.i < 1<<24
}

// compareDoubles orders as Spark does: NaN is equal to itself and greater than
// anything, and the zeros are equal.
func compareDoubles(a, b float64) int {
	switch {
	case a == b || a != a && b != b:
		return 0
	case a != a:
		return 1
	case b != b, a < b:
		return -1
	}
	return 1
}

const dayMicros = int64(24 * time.Hour / time.Microsecond)

// coerce turns a literal text into the date or time that it is compared with.
// Other texts are left alone.
func coerce(n *node, to typ) error {
	if n.typ.kind != kindString || to.kind != kindDate && to.kind != kindNTZ && to.kind != kindTimestamp {
		return nil
	}
	if n.literal == nil {
		return unsupportedf("a text is compared with %s", to)
	}
	read, err := typed(strings.ToUpper(kindNames[to.kind]), n.literal.s)
	if err != nil {
		return err
	}
	*n = *read
	return nil
}

// typed reads a text as a date or time, where it can mean but one.
func typed(kindName, text string) (*node, error) {
	k := map[string]kind{"DATE": kindDate, "TIMESTAMP": kindTimestamp, "TIMESTAMP_LTZ": kindTimestamp, "TIMESTAMP_NTZ": kindNTZ}[kindName]
	layouts := map[kind][]string{
		kindDate:      {time.DateOnly},
		kindNTZ:       {time.DateOnly, "2006-01-02 15:04:05.999999", "2006-01-02T15:04:05.999999"},
		kindTimestamp: {"2006-01-02 15:04:05.999999Z07:00", "2006-01-02T15:04:05.999999Z07:00"},
	}[k]
	for _, layout := range layouts {
		at, err := time.Parse(layout, text)
		if err != nil || at.Year() < 1 || len(text) > 6 && strings.Contains(text, ",") || fractions(text) > 6 {
			continue
		}
		v := value{i: at.UnixMicro()}
		if k == kindDate {
			v.i /= dayMicros
			if at.Unix() < 0 {
				v.i = floorDiv(at.UnixMicro(), dayMicros)
			}
		}
		return constant(typ{kind: k}, v), nil
	}
	return nil, unsupportedf("%q is no %s that means the same in every time zone and version", text, kindNames[k])
}

// fractions is how many digits stand behind the seconds' point.
func fractions(text string) int {
	_, part, _ := strings.Cut(text, ".")
	return len(part) - len(strings.TrimLeft(part, "0123456789"))
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
