package sqlexpr

import (
	"strings"
	"unicode/utf8"
)

// Bounds of an expression, so that a hostile one costs little.
const (
	maxText  = 64 << 10 // bytes
	maxDepth = 100      // of nesting
)

type tokenKind uint8

const (
	tokEnd    tokenKind = iota
	tokWord             // an identifier or keyword
	tokQuoted           // an identifier in backquotes
	tokNumber
	tokString
	tokSymbol
)

type token struct {
	kind tokenKind
	text string // of a string or quoted identifier: without quotes
}

// is reports whether the token is a keyword or symbol.
func (t token) is(what string) bool {
	return t.kind == tokSymbol && t.text == what || t.kind == tokWord && strings.EqualFold(t.text, what)
}

// symbols are the operators, longest first.
var symbols = []string{"<=>", "<=", ">=", "<>", "!=", "==", "||", "=", "<", ">", "!", "+", "-", "*", "/", "%", "(", ")", ",", "."}

// lex cuts a text into tokens. What Spark reads in more than one way,
// depending on its version or settings, is refused.
func lex(text string) ([]token, error) {
	if len(text) > maxText {
		return nil, unsupportedf("it is longer than %d bytes", maxText)
	}
	if !utf8.ValidString(text) {
		return nil, unsupportedf("it is not UTF-8")
	}
	var out []token
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '\'':
			s, n, err := lexString(text[i:])
			if err != nil {
				return nil, err
			}
			if len(out) > 0 && out[len(out)-1].kind == tokString {
				return nil, unsupportedf("two texts stand beside each other")
			}
			out, i = append(out, token{tokString, s}), i+n
		case c == '`':
			name, n, ok := lexQuoted(text[i:])
			if !ok {
				return nil, unsupportedf("a backquote is not closed")
			}
			out, i = append(out, token{tokQuoted, name}), i+n
		case c >= '0' && c <= '9' || c == '.' && i+1 < len(text) && digit(text[i+1]) && !afterName(out):
			n := lexNumber(text[i:])
			out, i = append(out, token{tokNumber, text[i : i+n]}), i+n
		case letter(c):
			n := 1
			for i+n < len(text) && (letter(text[i+n]) || digit(text[i+n])) {
				n++
			}
			out, i = append(out, token{tokWord, text[i : i+n]}), i+n
		default:
			s := symbolAt(text[i:])
			if s == "" || strings.HasPrefix(text[i:], "--") || strings.HasPrefix(text[i:], "/*") {
				r, _ := utf8.DecodeRuneInString(text[i:])
				return nil, unsupportedf("%q is not known", r)
			}
			out, i = append(out, token{tokSymbol, s}), i+len(s)
		}
	}
	return append(out, token{}), nil
}

func symbolAt(text string) string {
	for _, s := range symbols {
		if strings.HasPrefix(text, s) {
			return s
		}
	}
	return ""
}

// afterName reports whether a dot would begin a field's name.
func afterName(out []token) bool {
	if len(out) == 0 {
		return false
	}
	k := out[len(out)-1].kind
	return k == tokWord || k == tokQuoted
}

func lexString(text string) (s string, n int, err error) {
	end := strings.IndexByte(text[1:], '\'')
	if end < 0 {
		return "", 0, unsupportedf("a text is not closed")
	}
	s = text[1 : 1+end]
	if strings.Contains(s, `\`) {
		return "", 0, unsupportedf("a text has a backslash")
	}
	if n = end + 2; n < len(text) && text[n] == '\'' {
		return "", 0, unsupportedf("a text has a doubled quote")
	}
	return s, n, nil
}

func lexQuoted(text string) (name string, n int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] != '`' {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == '`' {
			b.WriteByte('`')
			i++
			continue
		}
		return b.String(), i + 1, true
	}
	return "", 0, false
}

// lexNumber gives the length of a number with its exponent and suffix.
func lexNumber(text string) int {
	n := 0
	digits := func() {
		for n < len(text) && digit(text[n]) {
			n++
		}
	}
	digits()
	if n < len(text) && text[n] == '.' {
		n++
		digits()
	}
	if n < len(text) && (text[n] == 'e' || text[n] == 'E') {
		m := n + 1
		if m < len(text) && (text[m] == '+' || text[m] == '-') {
			m++
		}
		if m < len(text) && digit(text[m]) {
			n = m
			digits()
		}
	}
	for n < len(text) && (letter(text[n]) || digit(text[n])) { // a suffix, or what is no number at all
		n++
	}
	return n
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func letter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
