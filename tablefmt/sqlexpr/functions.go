package sqlexpr

import (
	"math"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"
)

// functions are those that are known, by name, with the kinds of their
// arguments.
var functions = map[string]struct {
	args    []kind
	compile func(args []*node) (*node, error)
}{
	"LENGTH":           {[]kind{kindString}, length},
	"LEN":              {[]kind{kindString}, length},
	"CHAR_LENGTH":      {[]kind{kindString}, length},
	"CHARACTER_LENGTH": {[]kind{kindString}, length},
	"OCTET_LENGTH": {[]kind{kindString}, func(args []*node) (*node, error) {
		return mapped(args[0], typ{kind: kindInt}, func(v value) (value, error) { return value{i: int64(len(v.s))}, nil }), nil
	}},
	"UPPER":      {[]kind{kindString}, ascii(strings.ToUpper)},
	"UCASE":      {[]kind{kindString}, ascii(strings.ToUpper)},
	"LOWER":      {[]kind{kindString}, ascii(strings.ToLower)},
	"LCASE":      {[]kind{kindString}, ascii(strings.ToLower)},
	"TRIM":       {[]kind{kindString}, text(func(s string) string { return strings.Trim(s, " ") })},
	"LTRIM":      {[]kind{kindString}, text(func(s string) string { return strings.TrimLeft(s, " ") })},
	"RTRIM":      {[]kind{kindString}, text(func(s string) string { return strings.TrimRight(s, " ") })},
	"STARTSWITH": {[]kind{kindString, kindString}, texts(strings.HasPrefix)},
	"ENDSWITH":   {[]kind{kindString, kindString}, texts(strings.HasSuffix)},
	"CONTAINS":   {[]kind{kindString, kindString}, texts(strings.Contains)},
	"YEAR":       {[]kind{kindDate}, datePart(func(t time.Time) int { return t.Year() })},
	"MONTH":      {[]kind{kindDate}, datePart(func(t time.Time) int { return int(t.Month()) })},
	"DAY":        {[]kind{kindDate}, datePart(time.Time.Day)},
	"DAYOFMONTH": {[]kind{kindDate}, datePart(time.Time.Day)},
	"ISNULL":     {nil, func(args []*node) (*node, error) { return one(args, isNull) }},
	"ISNOTNULL":  {nil, func(args []*node) (*node, error) { return one(args, func(n *node) *node { return not(isNull(n)) }) }},
	"ABS":        {nil, abs},
	"COALESCE":   {nil, coalesce},
	"NVL":        {nil, coalesce},
	"IFNULL":     {nil, coalesce},
	"IF":         {nil, func(args []*node) (*node, error) { return three(args) }},
	"CONCAT":     {nil, concat},
	"||":         {nil, concat},
	"SUBSTRING":  {nil, substring},
	"SUBSTR":     {nil, substring},
	"DATE": {nil, func(args []*node) (*node, error) {
		return oneErr(args, func(n *node) (*node, error) { return cast(n, "DATE") })
	}},
}

func function(name string, args []*node) (*node, error) {
	f, ok := functions[name]
	if !ok {
		return nil, unsupportedf("the function %s is not known", strings.ToLower(name))
	}
	if f.args != nil {
		if len(args) != len(f.args) {
			return nil, unsupportedf("the function %s is given %d values", strings.ToLower(name), len(args))
		}
		for i, k := range f.args {
			if args[i].typ.kind != k {
				return nil, unsupportedf("the function %s is given %s", strings.ToLower(name), args[i].typ)
			}
		}
	}
	return f.compile(args)
}

func oneErr(args []*node, do func(*node) (*node, error)) (*node, error) {
	if len(args) != 1 {
		return nil, unsupportedf("a function of one value is given %d", len(args))
	}
	return do(args[0])
}

func one(args []*node, do func(*node) *node) (*node, error) {
	return oneErr(args, func(n *node) (*node, error) { return do(n), nil })
}

func three(args []*node) (*node, error) {
	if len(args) != 3 {
		return nil, unsupportedf("IF is given %d values", len(args))
	}
	return choose(args)
}

func not(n *node) *node {
	return mapped(n, typ{kind: kindBool}, func(v value) (value, error) { return boolean(v.i == 0), nil })
}

func length(args []*node) (*node, error) {
	return mapped(args[0], typ{kind: kindInt}, func(v value) (value, error) {
		if !utf8.ValidString(v.s) {
			return null, unsupportedf("a text is not UTF-8")
		}
		return value{i: int64(utf8.RuneCountInString(v.s))}, nil
	}), nil
}

func text(do func(string) string) func([]*node) (*node, error) {
	return func(args []*node) (*node, error) {
		return mapped(args[0], typ{kind: kindString}, func(v value) (value, error) { return value{s: do(v.s)}, nil }), nil
	}
}

// ascii is a function whose results beyond ASCII depend on tables that differ.
func ascii(do func(string) string) func([]*node) (*node, error) {
	return func(args []*node) (*node, error) {
		return mapped(args[0], typ{kind: kindString}, func(v value) (value, error) {
			for i := range len(v.s) {
				if v.s[i] >= utf8.RuneSelf {
					return null, unsupportedf("upper and lower case of letters beyond ASCII")
				}
			}
			return value{s: do(v.s)}, nil
		}), nil
	}
}

func texts(do func(a, b string) bool) func([]*node) (*node, error) {
	return func(args []*node) (*node, error) {
		return &node{typ: typ{kind: kindBool}, eval: func(f *frame) (value, error) {
			a, err := args[0].eval(f)
			if err != nil || a.null {
				return null, err
			}
			b, err := args[1].eval(f)
			if err != nil || b.null {
				return null, err
			}
			return boolean(do(a.s, b.s)), nil
		}}, nil
	}
}

func datePart(part func(time.Time) int) func([]*node) (*node, error) {
	return func(args []*node) (*node, error) {
		return mapped(args[0], typ{kind: kindInt}, func(v value) (value, error) {
			return value{i: int64(part(time.Unix(v.i*24*3600, 0).UTC()))}, nil
		}), nil
	}
}

func abs(args []*node) (*node, error) {
	return oneErr(args, func(n *node) (*node, error) {
		minus, err := negate(n)
		if err != nil {
			return nil, err
		}
		zero := value{d: new(big.Int)}
		return &node{typ: n.typ, eval: func(f *frame) (value, error) {
			v, err := n.eval(f)
			switch {
			case err != nil || v.null:
				return null, err
			case n.typ.integer() && v.i >= 0, n.typ.kind == kindDecimal && v.d.Cmp(zero.d) >= 0:
				return v, nil
			case !n.typ.integer() && n.typ.kind != kindDecimal:
				return value{f: math.Abs(v.f)}, nil
			}
			return minus.eval(f)
		}}, nil
	})
}

func coalesce(args []*node) (*node, error) {
	t, err := common(args)
	if err != nil {
		return nil, err
	}
	return &node{typ: t, eval: func(f *frame) (value, error) {
		for _, n := range args {
			if v, err := n.eval(f); err != nil || !v.null {
				return v, err
			}
		}
		return null, nil
	}}, nil
}

// maxResult bounds a text that is made, in bytes.
const maxResult = 16 << 20

func concat(args []*node) (*node, error) {
	for _, n := range args {
		if n.typ.kind != kindString {
			return nil, unsupportedf("%s is joined with texts", n.typ)
		}
	}
	return &node{typ: typ{kind: kindString}, eval: func(f *frame) (value, error) {
		var b strings.Builder
		for _, n := range args {
			v, err := n.eval(f)
			if err != nil || v.null {
				return null, err
			}
			if b.Len()+len(v.s) > maxResult {
				return null, unsupportedf("a text of more than %d bytes", maxResult)
			}
			b.WriteString(v.s)
		}
		return value{s: b.String()}, nil
	}}, nil
}

// substring counts characters from 1, or from the end where the place is
// negative; 0 is as 1.
func substring(args []*node) (*node, error) {
	if len(args) < 2 || len(args) > 3 || args[0].typ.kind != kindString {
		return nil, unsupportedf("substring is not given a text, a place and a length")
	}
	for _, n := range args[1:] {
		if n.literal == nil || !n.typ.integer() || n.literal.i < -maxText || n.literal.i > math.MaxInt32 {
			return nil, unsupportedf("substring with a place or length that is no plain number")
		}
	}
	at, count := args[1].literal.i, int64(math.MaxInt32)
	if len(args) == 3 {
		count = args[2].literal.i
	}
	return mapped(args[0], typ{kind: kindString}, func(v value) (value, error) {
		if !utf8.ValidString(v.s) {
			return null, unsupportedf("a text is not UTF-8")
		}
		runes := []rune(v.s)
		n := int64(len(runes))
		from := max(at-1, 0)
		if at < 0 {
			from = n + at
		}
		to := from + max(count, 0)
		from, to = min(max(from, 0), n), min(max(to, 0), n)
		if from >= to {
			return value{}, nil
		}
		return value{s: string(runes[from:to])}, nil
	}), nil
}

// like compiles a pattern of %, _ and characters that stand for themselves.
func like(n, pattern *node) (*node, error) {
	if n.typ.kind != kindString || pattern.typ.kind != kindString || pattern.literal == nil {
		return nil, unsupportedf("LIKE of %s with a pattern that is no plain text", n.typ)
	}
	p := []rune(pattern.literal.s)
	return mapped(n, typ{kind: kindBool}, func(v value) (value, error) {
		if !utf8.ValidString(v.s) {
			return null, unsupportedf("a text is not UTF-8")
		}
		return boolean(matches([]rune(v.s), p)), nil
	}), nil
}

// matches goes back to the last % alone, so that it takes no more than the
// product of both lengths.
func matches(s, p []rune) bool {
	i, j, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case j < len(p) && p[j] == '%':
			star, from = j, i
			j++
		case j < len(p) && (p[j] == '_' || p[j] == s[i]):
			i, j = i+1, j+1
		case star >= 0:
			from++
			i, j = from, star+1
		default:
			return false
		}
	}
	for j < len(p) && p[j] == '%' {
		j++
	}
	return j == len(p)
}
