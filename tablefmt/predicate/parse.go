package predicate

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	maxText  = 64 << 10
	maxDepth = 100
)

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

func errorf(format string, args ...any) *Error { return &Error{-1, fmt.Sprintf(format, args...)} }

// Parse reads a condition, a part of SQL: =, <>, !=, <, <=, >, >=, <=>, IS [NOT]
// DISTINCT FROM, [NOT] BETWEEN, [NOT] IN, IS [NOT] NULL and [NOT] LIKE 'prefix%'
// of a column with literals, AND, OR, NOT and parentheses. A column is a name,
// or names with points between them for a field of a struct; in double quotes
// it may be any text. Literals are 5, -0.25, 1e9, 'text', X'00ff', TRUE, FALSE,
// and 'texts' that stand for dates, times, NaN and Infinity, before which DATE or
// TIMESTAMP may be written. The error is an *[Error].
func Parse(text string) (*Expr, error) {
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
	return root, nil
}

type tokenKind byte

const (
	tokEnd tokenKind = iota
	tokWord
	tokName   // in double quotes; text is without them
	tokText   // in single quotes; text is without them
	tokBytes  // X'00ff'; text is the bytes
	tokNumber // with its sign
	tokSign   // = <> < <= > >= <=> ( ) , .
)

type token struct {
	kind tokenKind
	text string
	at   int
	word string // of tokWord: text in lower case
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
			list = append(list, token{kind: kind, text: text, at: i})
			i += n
		case isDigit(c) || (c == '-' || c == '+' || c == '.') && i+1 < len(s) && (isDigit(s[i+1]) || s[i+1] == '.'):
			n := numberLength(s[i:])
			if n == 0 || i+n < len(s) && isWord(s[i+n]) {
				return nil, &Error{i, "this is no number, as 5, -0.25 or 1e9"}
			}
			list = append(list, token{kind: tokNumber, text: s[i : i+n], at: i})
			i += n
		case c|0x20 == 'x' && i+1 < len(s) && s[i+1] == '\'':
			text, n, ok := quoted(s[i+1:])
			b, err := hex.DecodeString(text)
			if !ok || err != nil {
				return nil, &Error{i, "bytes are written with two digits each, as X'00ff'"}
			}
			list = append(list, token{kind: tokBytes, text: string(b), at: i})
			i += n + 1
		case isWord(c):
			n := 1
			for i+n < len(s) && (isWord(s[i+n]) || isDigit(s[i+n]) || s[i+n] == '$') {
				n++
			}
			list = append(list, token{tokWord, s[i : i+n], i, lower(s[i : i+n])})
			i += n
		default:
			n := 0
			for _, sign := range []string{"<=>", "<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", ",", "."} {
				if strings.HasPrefix(s[i:], sign) {
					n = len(sign)
					if sign == "!=" {
						sign = "<>"
					}
					list = append(list, token{kind: tokSign, text: sign, at: i})
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
	return append(list, token{kind: tokEnd, text: "the end", at: len(s)}), nil
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
	if t := p.peek(); t.kind != tokWord || t.word != w {
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

func (p *parser) or(depth int) (*Expr, error) { return p.list(depth, "or", Or, p.and) }

func (p *parser) and(depth int) (*Expr, error) { return p.list(depth, "and", And, p.not) }

func (p *parser) list(depth int, word string, op Op, one func(int) (*Expr, error)) (*Expr, error) {
	first, err := one(depth)
	if err != nil {
		return nil, err
	}
	all := []*Expr{first}
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
	return &Expr{Op: op, Args: all}, nil
}

func (p *parser) not(depth int) (*Expr, error) {
	if depth > maxDepth {
		return nil, &Error{p.peek().at, fmt.Sprintf("the condition is nested more than %d deep", maxDepth)}
	}
	if p.word("not") {
		n, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return Negate(n), nil
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
func (p *parser) test() (*Expr, error) {
	c, err := p.column()
	if err != nil {
		return nil, err
	}
	if p.word("is") {
		return p.is(c)
	}
	negated := p.word("not")
	var e *Expr
	switch {
	case p.word("between"):
		e, err = p.between(c)
	case p.word("in"):
		e, err = p.in(c)
	case p.word("like"):
		e, err = p.like(c)
	case negated:
		return nil, &Error{p.peek().at, "NOT is followed by IN, BETWEEN or LIKE here"}
	default:
		return p.compare(c)
	}
	if err != nil || !negated {
		return e, err
	}
	return Negate(e), nil
}

func (p *parser) column() (Column, error) {
	var c Column
	for {
		t := p.take()
		if t.kind != tokName && (t.kind != tokWord || len(c) == 0 && reserved[t.word]) {
			return nil, &Error{t.at, fmt.Sprintf("a column is expected, and there is %q: compare a column with a literal, as in status = 'open'", t.text)}
		}
		c = append(c, Name{t.text, t.kind == tokName})
		if !p.sign(".") {
			return c, nil
		}
		if len(c) > maxDepth {
			return nil, &Error{t.at, fmt.Sprintf("a column is not nested more than %d deep", maxDepth)}
		}
	}
}

func (p *parser) compare(c Column) (*Expr, error) {
	t := p.take()
	var op Op
	for op = Equal; op <= NullSafeEqual; op++ {
		if t.kind == tokSign && t.text == op.String() {
			break
		}
	}
	if op > NullSafeEqual {
		return nil, &Error{t.at, fmt.Sprintf("%q is no comparison: =, <>, <, <=, >, >=, BETWEEN, IN, LIKE and IS NULL are", t.text)}
	}
	lit, err := p.literal()
	if err != nil {
		return nil, err
	}
	return Test(c, op, lit), nil
}

func (p *parser) is(c Column) (*Expr, error) {
	negated := p.word("not")
	e := Test(c, IsNull)
	switch {
	case p.word("null"):
	case p.word("distinct"):
		if !p.word("from") {
			return nil, &Error{p.peek().at, "IS DISTINCT is followed by FROM"}
		}
		lit, err := p.literal()
		if err != nil {
			return nil, err
		}
		e, negated = Test(c, NullSafeEqual, lit), !negated
	default:
		return nil, &Error{p.peek().at, "IS is followed by NULL or NOT NULL, or by [NOT] DISTINCT FROM"}
	}
	if negated {
		e = Negate(e)
	}
	return e, nil
}

func (p *parser) between(c Column) (*Expr, error) {
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
	return Between(c, low, high), nil
}

func (p *parser) in(c Column) (*Expr, error) {
	if !p.sign("(") {
		return nil, &Error{p.peek().at, "IN is followed by literals in parentheses"}
	}
	e := Test(c, In)
	for {
		lit, err := p.literal()
		if err != nil {
			return nil, err
		}
		e.Literals = append(e.Literals, lit)
		if p.sign(",") {
			continue
		}
		if !p.sign(")") {
			return nil, &Error{p.peek().at, "a comma, or the end of the list, is expected"}
		}
		return e, nil
	}
}

// like reads a pattern that is a prefix, or the whole of a text. A backslash
// takes the meaning of %, _ and of itself.
func (p *parser) like(c Column) (*Expr, error) {
	t := p.take()
	if t.kind != tokText {
		return nil, &Error{t.at, "LIKE is followed by a pattern in quotes, as 'prefix%'"}
	}
	var b strings.Builder
	for i := 0; i < len(t.text); i++ {
		switch c2 := t.text[i]; {
		case c2 == '\\' && i+1 < len(t.text) && strings.IndexByte(`\%_`, t.text[i+1]) >= 0:
			i++
			b.WriteByte(t.text[i])
		case c2 == '%' && i == len(t.text)-1:
			return Test(c, StartsWith, Text(b.String())), nil
		case c2 == '%' || c2 == '_' || c2 == '\\':
			return nil, &Error{t.at, `of patterns only 'prefix%' is known, with \%, \_ and \\ for the signs themselves`}
		default:
			b.WriteByte(c2)
		}
	}
	return Test(c, Equal, Text(b.String())), nil
}

func (p *parser) literal() (Literal, error) {
	t := p.take()
	if t.kind == tokWord && (t.word == "date" || t.word == "timestamp" || t.word == "timestamptz" || t.word == "timestamp_ntz") && p.peek().kind == tokText {
		t = p.take()
	}
	switch {
	case t.kind == tokText:
		return Text(t.text), nil
	case t.kind == tokBytes:
		return Literal{BytesLiteral, t.text}, nil
	case t.kind == tokNumber:
		return Number(t.text), nil
	case t.kind == tokWord && (t.word == "true" || t.word == "false"):
		return Bool(t.word == "true"), nil
	case t.kind == tokWord && t.word == "null":
		return Literal{}, &Error{t.at, "nothing equals NULL: say IS NULL or IS NOT NULL"}
	default:
		return Literal{}, &Error{t.at, fmt.Sprintf("a literal is expected, as 5 or 'text', and there is %q", t.text)}
	}
}

// IsNumber reports whether a text is a number as a literal is, with its sign:
// 5, -0.25, 1e9.
func IsNumber(s string) bool { return s != "" && numberLength(s) == len(s) }
