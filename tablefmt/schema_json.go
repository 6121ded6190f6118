package tablefmt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxTypeDepth bounds how deep types may nest, so that a hostile schema
// cannot exhaust the stack.
const maxTypeDepth = 100

// ParseSchema reads a schema in the protocol's JSON form. Names are not
// checked, see [Struct.CheckNames]. An unknown type is an
// *[UnsupportedFeatureError].
func ParseSchema(s string) (*Schema, error) {
	t, err := parseType([]byte(s), 0)
	if err != nil {
		return nil, fmt.Errorf("reading a schema: %w", err)
	}
	st, ok := t.(*Struct)
	if !ok {
		return nil, fmt.Errorf("reading a schema: it is a %s, not a struct", t)
	}
	return st, nil
}

// JSON gives the schema in the protocol's form.
func (s *Struct) JSON() string {
	return string(appendType(nil, s))
}

type typeJSON struct {
	Type              string          `json:"type"`
	Fields            []fieldJSON     `json:"fields"`
	ElementType       json.RawMessage `json:"elementType"`
	ContainsNull      bool            `json:"containsNull"`
	KeyType           json.RawMessage `json:"keyType"`
	ValueType         json.RawMessage `json:"valueType"`
	ValueContainsNull bool            `json:"valueContainsNull"`
}

type fieldJSON struct {
	Name     string          `json:"name"`
	Type     json.RawMessage `json:"type"`
	Nullable bool            `json:"nullable"`
	Metadata json.RawMessage `json:"metadata"`
}

func parseType(raw json.RawMessage, depth int) (Type, error) {
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("types nest deeper than %d", maxTypeDepth)
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil, errors.New("a type is missing")
	}
	if raw[0] == '"' {
		if p := Primitive(bytes.Trim(raw, `"`)); primitives[p] && len(raw) == len(p)+2 {
			return p, nil // a name that needs no unescaping
		}
		var name string
		if err := json.Unmarshal(raw, &name); err != nil {
			return nil, err
		}
		return parsePrimitive(name)
	}
	var t typeJSON
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, err
	}
	switch t.Type {
	case "struct":
		return parseFields(t.Fields, depth)
	case "array":
		e, err := parseType(t.ElementType, depth+1)
		if err != nil {
			return nil, err
		}
		return &Array{Element: e, ContainsNull: t.ContainsNull}, nil
	case "map":
		k, err := parseType(t.KeyType, depth+1)
		if err != nil {
			return nil, err
		}
		v, err := parseType(t.ValueType, depth+1)
		if err != nil {
			return nil, err
		}
		return &Map{Key: k, Value: v, ValueContainsNull: t.ValueContainsNull}, nil
	}
	return parsePrimitive(t.Type) // {"type":"variant"}, and unknown ones
}

func parseFields(fields []fieldJSON, depth int) (Type, error) {
	st := &Struct{Fields: make([]Field, len(fields))}
	for i, f := range fields {
		ft, err := parseType(f.Type, depth+1)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		st.Fields[i] = Field{Name: f.Name, Type: ft, Nullable: f.Nullable}
		if len(f.Metadata) == 0 || string(f.Metadata) == "{}" {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(f.Metadata))
		dec.UseNumber() // ids and identity marks may not pass through a float
		var m map[string]any
		if err := dec.Decode(&m); err != nil {
			return nil, fmt.Errorf("metadata of column %q: %w", f.Name, err)
		}
		if len(m) > 0 {
			st.Fields[i].Metadata = m
		}
	}
	return st, nil
}

func parsePrimitive(name string) (Type, error) {
	if primitives[Primitive(name)] {
		return Primitive(name), nil
	}
	if name == "decimal" { // Spark's short form
		return Decimal{Precision: 10}, nil
	}
	if args, ok := strings.CutPrefix(name, "decimal("); ok && strings.HasSuffix(args, ")") {
		p, s, _ := strings.Cut(strings.TrimSuffix(args, ")"), ",")
		precision, err1 := strconv.Atoi(strings.TrimSpace(p))
		scale, err2 := strconv.Atoi(strings.TrimSpace(s))
		if err1 != nil || err2 != nil || precision < 1 || precision > 38 || scale < 0 || scale > precision {
			return nil, fmt.Errorf("%q is no decimal type", name)
		}
		return Decimal{precision, scale}, nil
	}
	return nil, &UnsupportedFeatureError{Feature: "type " + strconv.Quote(name)}
}

// appendType writes a type with the keys in Spark's order.
func appendType(b []byte, t Type) []byte {
	switch t := t.(type) {
	case *Struct:
		b = append(b, `{"type":"struct","fields":[`...)
		for i, f := range t.Fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"name":`...)
			b = appendJSON(b, f.Name)
			b = append(b, `,"type":`...)
			b = appendType(b, f.Type)
			b = append(b, `,"nullable":`...)
			b = strconv.AppendBool(b, f.Nullable)
			b = append(b, `,"metadata":`...)
			if len(f.Metadata) == 0 {
				b = append(b, '{', '}')
			} else {
				b = appendJSON(b, f.Metadata)
			}
			b = append(b, '}')
		}
		return append(b, ']', '}')
	case *Array:
		b = append(b, `{"type":"array","elementType":`...)
		b = appendType(b, t.Element)
		b = append(b, `,"containsNull":`...)
		b = strconv.AppendBool(b, t.ContainsNull)
		return append(b, '}')
	case *Map:
		b = append(b, `{"type":"map","keyType":`...)
		b = appendType(b, t.Key)
		b = append(b, `,"valueType":`...)
		b = appendType(b, t.Value)
		b = append(b, `,"valueContainsNull":`...)
		b = strconv.AppendBool(b, t.ValueContainsNull)
		return append(b, '}')
	}
	return appendJSON(b, t.String())
}

// appendJSON adds a string or a column's metadata. What cannot be JSON (a
// caller put a channel into a column's metadata) becomes null.
func appendJSON(b []byte, v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return append(b, "null"...)
	}
	return append(b, bytes.TrimRight(buf.Bytes(), "\n")...)
}
