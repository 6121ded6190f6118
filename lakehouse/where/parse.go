package where

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	maxText  = 64 << 10
	maxDepth = 100
)

// Parse reads a condition. The error is an *Error.
func Parse(text string) (*Condition, error) {
	if len(text) > maxText {
		return nil, &Error{-1, fmt.Sprintf("the condition has more than %d bytes", maxText)}
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return nil, &Error{-1, "the condition is no text in UTF-8"}
	}
	tokens, err := scan(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	root, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokEnd {
		return nil, &Error{t.at, fmt.Sprintf("the condition should end here, or go on with AND or OR, but there is %q", t.text)}
	}
	return &Condition{text: text, root: root}, nil
}

type tokenKind byte

const (
	tokEnd    tokenKind = iota
	tokWord             // text is folded to lower case
	tokName             // in double quotes; text is without them
	tokText             // in single quotes; text is without them
	tokNumber           // with its sign
	tokSign             // = <> < <= > >= ( ) ,
)

type token struct {
	kind tokenKind
	text string
	at   int
}

func scan(s string) ([]token, error) {
	var list []token
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case c == '\'' || c == '"':
			text, n, ok := quoted(s[i:])
			if !ok {
				return nil, &Error{i, "a quote is not closed"}
			}
			kind := tokText
			if c == '"' {
				kind = tokName
				if text == "" {
					return nil, &Error{i, "a column has no empty name"}
				}
			}
			list = append(list, token{kind, text, i})
			i += n
		case isDigit(c) || (c == '-' || c == '+' || c == '.') && i+1 < len(s) && (isDigit(s[i+1]) || s[i+1] == '.'):
			n := numberLength(s[i:])
			if n == 0 || i+n < len(s) && isWord(s[i+n]) {
				return nil, &Error{i, "this is no number, as 5, -0.25 or 1e9"}
			}
			list = append(list, token{tokNumber, s[i : i+n], i})
			i += n
		case isWord(c):
			n := 1
			for i+n < len(s) && (isWord(s[i+n]) || isDigit(s[i+n]) || s[i+n] == '$') {
				n++
			}
			list = append(list, token{tokWord, lower(s[i : i+n]), i})
			i += n
		default:
			n := 0
			for _, sign := range []string{"<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", ","} {
				if strings.HasPrefix(s[i:], sign) {
					n = len(sign)
					if sign == "!=" {
						sign = "<>"
					}
					list = append(list, token{tokSign, sign, i})
					break
				}
			}
			if n == 0 {
				r, _ := utf8.DecodeRuneInString(s[i:])
				return nil, &Error{i, fmt.Sprintf("%q means nothing here", r)}
			}
			i += n
		}
	}
	return append(list, token{tokEnd, "the end", len(s)}), nil
}

// quoted reads what stands in quotes, a doubled one being one, and how long it
// is with them.
func quoted(s string) (text string, n int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != s[0] {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == s[0] {
			b.WriteByte(s[0])
			i++
			continue
		}
		return b.String(), i + 1, true
	}
	return "", 0, false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWord(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80 }

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

// numberLength is how much of the beginning is a number; 0 for none.
func numberLength(s string) int {
	i, digits := 0, 0
	if s[0] == '-' || s[0] == '+' {
		i++
	}
	for ; i < len(s) && isDigit(s[i]); i++ {
		digits++
	}
	if i < len(s) && s[i] == '.' {
		for i++; i < len(s) && isDigit(s[i]); i++ {
			digits++
		}
	}
	if digits == 0 {
		return 0
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		j := i + 1
		if j < len(s) && (s[j] == '-' || s[j] == '+') {
			j++
		}
		if j < len(s) && isDigit(s[j]) {
			for ; j < len(s) && isDigit(s[j]); j++ {
			}
			i = j
		}
	}
	return i
}

type parser struct {
	tokens []token
	next   int
}

func (p *parser) peek() token { return p.tokens[p.next] }

func (p *parser) take() token {
	t := p.tokens[p.next]
	if t.kind != tokEnd {
		p.next++
	}
	return t
}

// word takes a word, if it is the next.
func (p *parser) word(w string) bool {
	if t := p.peek(); t.kind != tokWord || t.text != w {
		return false
	}
	p.next++
	return true
}

func (p *parser) sign(s string) bool {
	if t := p.peek(); t.kind != tokSign || t.text != s {
		return false
	}
	p.next++
	return true
}

func (p *parser) or(depth int) (*node, error) { return p.list(depth, "or", opOr, p.and) }

func (p *parser) and(depth int) (*node, error) { return p.list(depth, "and", opAnd, p.not) }

func (p *parser) list(depth int, word string, op nodeOp, one func(int) (*node, error)) (*node, error) {
	first, err := one(depth)
	if err != nil {
		return nil, err
	}
	all := []*node{first}
	for p.word(word) {
		n, err := one(depth)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	if len(all) == 1 {
		return first, nil
	}
	return &node{op: op, args: all}, nil
}

func (p *parser) not(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, &Error{p.peek().at, fmt.Sprintf("the condition is nested more than %d deep", maxDepth)}
	}
	if p.word("not") {
		n, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return &node{op: opNot, args: []*node{n}}, nil
	}
	if p.sign("(") {
		n, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if !p.sign(")") {
			return nil, &Error{p.peek().at, "a parenthesis should be closed here"}
		}
		return n, nil
	}
	return p.test()
}

// reserved are the words that are no columns unless they are quoted.
var reserved = map[string]bool{
	"and": true, "or": true, "not": true, "in": true, "is": true, "null": true, "between": true, "true": true, "false": true, "like": true,
}

// test reads what is said of one column.
func (p *parser) test() (*node, error) {
	t := p.take()
	if t.kind != tokName && (t.kind != tokWord || reserved[t.text]) {
		return nil, &Error{t.at, fmt.Sprintf("a column is expected, and there is %q: compare a column with a literal, as in status = 'open'", t.text)}
	}
	n := &node{column: t.text}
	if p.word("is") {
		negated := p.word("not")
		if !p.word("null") {
			return nil, &Error{p.peek().at, "IS is followed by NULL or NOT NULL"}
		}
		n.op = opNull
		return negate(n, negated), nil
	}
	negated := p.word("not")
	switch {
	case p.word("between"):
		low, err := p.literal()
		if err != nil {
			return nil, err
		}
		if !p.word("and") {
			return nil, &Error{p.peek().at, "BETWEEN needs two literals with AND between them"}
		}
		high, err := p.literal()
		if err != nil {
			return nil, err
		}
		return negate(&node{op: opAnd, args: []*node{
			{op: opCompare, column: n.column, cmp: ">=", lits: []literal{low}},
			{op: opCompare, column: n.column, cmp: "<=", lits: []literal{high}},
		}}, negated), nil
	case p.word("in"):
		return p.in(n, negated)
	case negated:
		return nil, &Error{p.peek().at, "NOT is followed by IN or BETWEEN here"}
	}
	op := p.take()
	if op.kind != tokSign || strings.ContainsAny(op.text, "(),") {
		return nil, &Error{op.at, fmt.Sprintf("%q is no comparison: =, <>, <, <=, >, >=, BETWEEN, IN and IS NULL are", op.text)}
	}
	lit, err := p.literal()
	if err != nil {
		return nil, err
	}
	n.op, n.cmp, n.lits = opCompare, op.text, []literal{lit}
	return n, nil
}

func (p *parser) in(n *node, negated bool) (*node, error) {
	n.op = opIn
	if !p.sign("(") {
		return nil, &Error{p.peek().at, "IN is followed by literals in parentheses"}
	}
	for {
		lit, err := p.literal()
		if err != nil {
			return nil, err
		}
		n.lits = append(n.lits, lit)
		if p.sign(",") {
			continue
		}
		if !p.sign(")") {
			return nil, &Error{p.peek().at, "a comma, or the end of the list, is expected"}
		}
		return negate(n, negated), nil
	}
}

func negate(n *node, really bool) *node {
	if !really {
		return n
	}
	return &node{op: opNot, args: []*node{n}}
}

func (p *parser) literal() (literal, error) {
	switch t := p.take(); {
	case t.kind == tokText:
		return literal{text: t.text, quoted: true}, nil
	case t.kind == tokNumber:
		return literal{text: t.text}, nil
	case t.kind == tokWord && (t.text == "true" || t.text == "false"):
		return literal{text: t.text, truth: true}, nil
	case t.kind == tokWord && t.text == "null":
		return literal{}, &Error{t.at, "nothing equals NULL: say IS NULL or IS NOT NULL"}
	default:
		return literal{}, &Error{t.at, fmt.Sprintf("a literal is expected, as 5 or 'text', and there is %q", t.text)}
	}
}
