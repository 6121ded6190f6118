package sqlexpr

import "strings"

// ast is an expression as it is written.
type ast struct {
	op   string // an operator or function in upper case, or one of those below
	text string // of a literal or a cast's type
	path []string
	args []*ast
}

// What is no operator and no function.
const (
	opColumn = "column"
	opNumber = "number"
	opString = "string"
	opTyped  = "typed" // DATE'...': args[0] is the string, text the type
	opCast   = "cast"
	opCase   = "case" // condition, value, ..., else (nil for none)
	opIsNull = "is null"
	opIsTrue = "is true"
	opFalse  = "is false"
	opIn     = "in" // what, elements

	opBetween = "between" // what, the least, the greatest
)

type parser struct {
	tokens []token
	at     int
	depth  int
}

func parse(text string) (*ast, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.peek().kind != tokEnd {
		return nil, unsupportedf("%q stands where it is not understood", p.peek().text)
	}
	return e, nil
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != tokEnd {
		p.at++
	}
	return t
}

// accept takes a keyword or symbol if it is next.
func (p *parser) accept(what string) bool {
	if p.peek().is(what) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expect(what string) error {
	if !p.accept(what) {
		return unsupportedf("%q is expected before %q", what, p.peek().text)
	}
	return nil
}

func (p *parser) or() (*ast, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, unsupportedf("it nests deeper than %d", maxDepth)
	}
	defer func() { p.depth-- }()
	return p.left(p.and, "OR")
}

func (p *parser) and() (*ast, error) { return p.left(p.not, "AND") }

// left parses operators of one precedence, from left to right.
func (p *parser) left(operand func() (*ast, error), operators ...string) (*ast, error) {
	e, err := operand()
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		op := ""
		for _, o := range operators {
			if op == "" && p.accept(o) {
				op = o
			}
		}
		if op == "" {
			return e, nil
		}
		if n > 10*maxDepth {
			return nil, unsupportedf("it has more than %d operators in a row", 10*maxDepth)
		}
		r, err := operand()
		if err != nil {
			return nil, err
		}
		e = &ast{op: op, args: []*ast{e, r}}
	}
}

func (p *parser) not() (*ast, error) {
	odd, any := false, false
	for p.accept("NOT") || p.accept("!") {
		odd, any = !odd, true
	}
	e, err := p.predicate()
	if err != nil || !any {
		return e, err
	}
	e = &ast{op: "NOT", args: []*ast{e}}
	if !odd {
		e = &ast{op: "NOT", args: []*ast{e}}
	}
	return e, nil
}

// predicate is a comparison with what may stand behind one.
func (p *parser) predicate() (*ast, error) {
	e, err := p.comparison()
	if err != nil {
		return nil, err
	}
	if p.accept("IS") {
		return p.is(e)
	}
	not := p.peek().is("NOT")
	if not {
		p.at++
	}
	switch {
	case p.accept("BETWEEN"):
		e, err = p.between(e)
	case p.accept("IN"):
		e, err = p.in(e)
	case p.accept("LIKE"):
		var pattern *ast
		if pattern, err = p.additive(); err == nil {
			e = &ast{op: "LIKE", args: []*ast{e, pattern}}
		}
	case not:
		return nil, unsupportedf("NOT %s is not known", p.peek().text)
	}
	if err != nil || !not {
		return e, err
	}
	return &ast{op: "NOT", args: []*ast{e}}, nil
}

func (p *parser) is(e *ast) (*ast, error) {
	not := p.accept("NOT")
	switch {
	case p.accept("NULL"):
		e = &ast{op: opIsNull, args: []*ast{e}}
	case p.accept("TRUE"):
		e = &ast{op: opIsTrue, args: []*ast{e}}
	case p.accept("FALSE"):
		e = &ast{op: opFalse, args: []*ast{e}}
	default:
		return nil, unsupportedf("IS %s is not known", p.peek().text)
	}
	if not {
		e = &ast{op: "NOT", args: []*ast{e}}
	}
	return e, nil
}

func (p *parser) between(e *ast) (*ast, error) {
	low, err := p.additive()
	if err != nil {
		return nil, err
	}
	if err := p.expect("AND"); err != nil {
		return nil, err
	}
	high, err := p.additive()
	if err != nil {
		return nil, err
	}
	return &ast{op: opBetween, args: []*ast{e, low, high}}, nil
}

func (p *parser) in(e *ast) (*ast, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	list, err := p.list()
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, unsupportedf("IN has no elements")
	}
	return &ast{op: opIn, args: append([]*ast{e}, list...)}, nil
}

// list parses expressions up to a closing bracket.
func (p *parser) list() (out []*ast, err error) {
	if p.accept(")") {
		return nil, nil
	}
	for {
		e, err := p.or()
		if err != nil {
			return nil, err
		}
		out = append(out, e)
		if p.accept(",") {
			continue
		}
		return out, p.expect(")")
	}
}

func (p *parser) comparison() (*ast, error) {
	return p.left(p.additive, "<=>", "<=", ">=", "<>", "!=", "==", "=", "<", ">")
}

func (p *parser) additive() (*ast, error) { return p.left(p.multiplicative, "+", "-", "||") }

func (p *parser) multiplicative() (*ast, error) { return p.left(p.unary, "*", "/", "%", "DIV") }

func (p *parser) unary() (*ast, error) {
	minus, signs := false, 0
	for ; p.peek().is("-") || p.peek().is("+"); signs++ {
		minus = minus != p.next().is("-")
	}
	if signs > 1 {
		return nil, unsupportedf("two signs stand beside each other")
	}
	if minus && p.peek().kind == tokNumber {
		return &ast{op: opNumber, text: "-" + p.next().text}, nil
	}
	e, err := p.postfix()
	if err == nil && minus {
		e = &ast{op: "NEGATE", args: []*ast{e}}
	}
	return e, err
}

// postfix is what fields of structs may be taken of: columns alone.
func (p *parser) postfix() (*ast, error) {
	e, err := p.primary()
	if err != nil {
		return nil, err
	}
	for p.peek().is(".") {
		p.at++
		t := p.next()
		if e.op != opColumn || t.kind != tokWord && t.kind != tokQuoted {
			return nil, unsupportedf("a dot stands where it is not understood")
		}
		e.path = append(e.path, t.text)
	}
	return e, nil
}

// typedLiterals are the types whose name before a text makes it a literal.
var typedLiterals = map[string]bool{"DATE": true, "TIMESTAMP": true, "TIMESTAMP_NTZ": true, "TIMESTAMP_LTZ": true}

// reserved words begin what is not known here, or end what is.
var reserved = map[string]bool{
	"AND": true, "OR": true, "NOT": true, "IN": true, "IS": true, "BETWEEN": true, "LIKE": true, "RLIKE": true, "ILIKE": true, "REGEXP": true,
	"WHEN": true, "THEN": true, "ELSE": true, "END": true, "SELECT": true, "EXISTS": true, "INTERVAL": true, "FROM": true, "DISTINCT": true, "ESCAPE": true,
}

func (p *parser) primary() (*ast, error) {
	t := p.next()
	switch t.kind {
	case tokNumber:
		return &ast{op: opNumber, text: t.text}, nil
	case tokString:
		return &ast{op: opString, text: t.text}, nil
	case tokQuoted:
		return &ast{op: opColumn, path: []string{t.text}}, nil
	case tokSymbol:
		if t.text != "(" {
			break
		}
		e, err := p.or()
		if err != nil {
			return nil, err
		}
		if e.op == opColumn { // a field of what is in brackets is not known
			e = &ast{op: opColumn, path: e.path}
		}
		return e, p.expect(")")
	case tokWord:
		return p.word(t.text)
	}
	if t.kind == tokEnd {
		return nil, unsupportedf("it ends too early")
	}
	return nil, unsupportedf("%q stands where it is not understood", t.text)
}

func (p *parser) word(name string) (*ast, error) {
	upper := strings.ToUpper(name)
	switch {
	case upper == "CASE":
		return p.caseOf()
	case upper == "CAST" && p.peek().is("("):
		return p.cast()
	case typedLiterals[upper] && p.peek().kind == tokString:
		return &ast{op: opTyped, text: upper, args: []*ast{{op: opString, text: p.next().text}}}, nil
	case upper == "TRUE" || upper == "FALSE" || upper == "NULL":
		return &ast{op: upper}, nil
	case reserved[upper]:
		return nil, unsupportedf("%s stands where it is not understood", upper)
	case p.accept("("):
		args, err := p.list()
		return &ast{op: upper, args: args}, err
	}
	return &ast{op: opColumn, path: []string{name}}, nil
}

func (p *parser) caseOf() (*ast, error) {
	e := &ast{op: opCase}
	var of *ast
	var err error
	if !p.peek().is("WHEN") {
		if of, err = p.or(); err != nil {
			return nil, err
		}
		if of.op != opColumn { // it is evaluated for each WHEN
			return nil, unsupportedf("CASE compares what is no column")
		}
	}
	for p.accept("WHEN") {
		when, err := p.or()
		if err != nil {
			return nil, err
		}
		if of != nil {
			when = &ast{op: "=", args: []*ast{of, when}}
		}
		if err := p.expect("THEN"); err != nil {
			return nil, err
		}
		then, err := p.or()
		if err != nil {
			return nil, err
		}
		e.args = append(e.args, when, then)
	}
	if len(e.args) == 0 {
		return nil, unsupportedf("CASE has no WHEN")
	}
	last := &ast{op: "NULL"}
	if p.accept("ELSE") {
		if last, err = p.or(); err != nil {
			return nil, err
		}
	}
	e.args = append(e.args, last)
	return e, p.expect("END")
}

func (p *parser) cast() (*ast, error) {
	p.at++
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	if err := p.expect("AS"); err != nil {
		return nil, err
	}
	t := p.next()
	if t.kind != tokWord {
		return nil, unsupportedf("%q is no type", t.text)
	}
	name := strings.ToUpper(t.text)
	if p.accept("(") {
		name += "("
		for !p.peek().is(")") && p.peek().kind != tokEnd {
			name += p.next().text
		}
		name += ")"
		if err := p.expect(")"); err != nil {
			return nil, err
		}
	}
	return &ast{op: opCast, text: name, args: []*ast{e}}, p.expect(")")
}
