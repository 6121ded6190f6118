package tablefmt

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkExpressions refuses that a column of a mapped table is renamed or
// dropped whose name stands in an expression that every writer has to compute:
// of a generated column, an invariant or a CHECK constraint. Expressions are
// not parsed: where the name stands for something else it is refused too.
func (e evolution) checkExpressions(old *Schema, m *Metadata, s *Schema) error {
	if e.to == MappingNone {
		return nil
	}
	expressions := expressionsOf(m, s)
	if len(expressions) == 0 {
		return nil
	}
	return e.eachLost(old, s, "", func(at, name string) error {
		for what, text := range expressions {
			if mentions(text, name) {
				return invalidf("column %q cannot be renamed or dropped: %s may use it (%s)", at+name, what, text)
			}
		}
		return nil
	})
}

// expressionsOf gives a table's expressions, by what they are for.
func expressionsOf(m *Metadata, s *Schema) map[string]string {
	out := make(map[string]string)
	for key, text := range m.Configuration {
		if strings.HasPrefix(strings.ToLower(key), "delta.constraints.") {
			out["the constraint "+key] = text
		}
	}
	_ = walkStructs(s, "", func(at string, s *Struct) error { // the callback never fails
		for _, f := range s.Fields {
			for _, key := range []string{MetaGenerationExpression, "delta.invariants"} {
				if text, ok := f.Metadata[key].(string); ok {
					out["column "+at+f.Name+" ("+key+")"] = text
				}
			}
		}
		return nil
	})
	return out
}

// eachLost calls fn for each name of the old schema that is not there in the
// new one, or is the name of another column.
func (e evolution) eachLost(old, new *Struct, at string, fn func(at, name string) error) error {
	for i := range old.Fields {
		was := &old.Fields[i]
		is := fieldCalled(new, e.to, e.from.physicalName(was))
		if is == nil || is.Name != was.Name {
			if err := fn(at, was.Name); err != nil {
				return err
			}
			continue
		}
		_, err := compareTypes(was.Type, is.Type, "", func(path string, old, new *Struct) error {
			return e.eachLost(old, new, inner(at+was.Name, path)+".", fn)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mentions reports whether a name stands in an expression as a word of its own,
// without regard to case.
func mentions(expression, name string) bool {
	text, name := strings.ToLower(expression), strings.ToLower(name)
	for from := 0; ; {
		at := strings.Index(text[from:], name)
		if at < 0 {
			return false
		}
		at += from
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		after, _ := utf8.DecodeRuneInString(text[at+len(name):])
		if !inWord(before) && !inWord(after) {
			return true
		}
		from = at + len(name)
	}
}

func inWord(r rune) bool {
	return r == '_' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
