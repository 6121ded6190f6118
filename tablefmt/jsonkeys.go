package tablefmt

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// Package json takes a key for a field's whatever its case, and merges what
// stands under a key twice. In a log "Add" is an unknown action and "Path" an
// unknown field, which are to be ignored, and of two that are the same the last
// one counts, as in the other readers. Lines with such keys are few: plainKeys
// finds them, and strictAction reads them.

// actionKeys are the keys of the actions that are known, and of what is in them.
var actionKeys = keysOf(reflect.TypeFor[Action]())

// jsonKeys are the keys of an object by their names; nil for one whose keys are
// free.
type jsonKeys struct {
	known map[string]*jsonKeys
	// folded are the names in lower case: what package json would take for known.
	folded map[string]bool
}

func keysOf(t reflect.Type) *jsonKeys {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	k := &jsonKeys{known: map[string]*jsonKeys{}, folded: map[string]bool{}}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		k.known[name] = keysOf(t.Field(i).Type)
		k.folded[strings.ToLower(name)] = true
	}
	return k
}

// plainKeys reports whether package json reads a line as it is meant: each key
// that is known stands in its own case, and once in its object. Of a line that is
// no JSON either answer will do.
func plainKeys(line []byte) bool {
	const depths, most = 3, 32
	type level struct {
		keys *jsonKeys
		seen [most][]byte
		n    int
	}
	var levels [depths]level
	next := actionKeys // of the object that comes
	depth := 0         // of braces and brackets
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '{', '[':
			if depth < depths {
				levels[depth].keys, levels[depth].n = nil, 0
				if line[i] == '{' {
					levels[depth].keys = next
				}
			}
			depth++
			next = nil
		case '}', ']':
			depth--
			next = nil
			if depth < 0 {
				return true
			}
		case ',':
			next = nil
		case '"':
			end := i + 1 + stringLen(line[i+1:])
			if end >= len(line) {
				return true
			}
			text := line[i+1 : end]
			i = end
			if depth < 1 || depth > depths || levels[depth-1].keys == nil {
				continue
			}
			if !isKey(line[end+1:]) {
				continue
			}
			l := &levels[depth-1]
			for _, s := range l.seen[:l.n] {
				if bytes.Equal(s, text) {
					return false
				}
			}
			inner, known := l.keys.known[string(text)]
			if !known {
				if l.keys.looksKnown(text) {
					return false
				}
				continue
			}
			if l.n == most {
				return false
			}
			l.seen[l.n] = text
			l.n++
			next = inner
		}
	}
	return true
}

// stringLen is the length of a string up to its closing quote, or more than there
// is.
func stringLen(s []byte) int {
	for at := 0; ; {
		n := bytes.IndexByte(s[at:], '"')
		if n < 0 {
			return len(s)
		}
		at += n
		escapes := 0
		for at > escapes && s[at-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return at
		}
		at++
	}
}

// isKey reports whether a colon comes next.
func isKey(rest []byte) bool {
	for _, c := range rest {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c == ':'
		}
	}
	return false
}

// looksKnown reports whether package json may take a key that is not known for
// one that is.
func (k *jsonKeys) looksKnown(key []byte) bool {
	var buf [64]byte
	if len(key) > len(buf) {
		return false // none is as long
	}
	for i, c := range key {
		switch {
		case c >= 0x80 || c == '\\':
			return true // it may fold, or be written otherwise
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return k.folded[string(buf[:len(key)])]
}

// strictJSON gives an object without the keys that are not known, of those that
// are the last, and with whole numbers written as such: some writers have floats
// only, and write 1.0 or 1.7E12.
func strictJSON(data []byte, keys *jsonKeys) (json.RawMessage, error) {
	data = bytes.TrimSpace(data)
	if keys == nil || len(data) == 0 || data[0] != '{' {
		return wholeNumber(data), nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	for name, value := range all {
		inner, known := keys.known[name]
		if !known {
			delete(all, name)
			continue
		}
		strict, err := strictJSON(value, inner)
		if err != nil {
			return nil, err
		}
		all[name] = strict
	}
	return json.Marshal(all)
}

// wholeNumber writes a number without a fraction or an exponent where it is
// whole; everything else stays as it is.
func wholeNumber(data []byte) json.RawMessage {
	if len(data) > 32 || !bytes.ContainsAny(data, ".eE") {
		return data
	}
	f, err := strconv.ParseFloat(string(data), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return data
	}
	return strconv.AppendInt(nil, int64(f), 10)
}

// strictAction reads a line as the other readers do, at some cost.
func strictAction(line []byte) (Action, error) {
	var a Action
	strict, err := strictJSON(line, actionKeys)
	if err == nil {
		err = json.Unmarshal(strict, &a)
	}
	return a, err
}
