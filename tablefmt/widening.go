package tablefmt

import (
	"fmt"
	"slices"
)

// PropTypeWidening is the table property that allows types to be widened.
const PropTypeWidening = "delta.enableTypeWidening"

// metaTypeChanges is the key of a column's metadata that holds the types it
// had. (Type Change Metadata)
const metaTypeChanges = "delta.typeChanges"

// typeChange is one step in the life of a column, or of a list's elements or a
// map's keys or values within it.
type typeChange struct {
	path     string // "element", "value.key", ...; "" for the column itself
	from, to Type
}

func (c typeChange) json() map[string]any {
	m := map[string]any{"fromType": c.from.String(), "toType": c.to.String()}
	if c.path != "" {
		m["fieldPath"] = c.path
	}
	return m
}

// widensTypes reports whether a table supports type widening.
func widensTypes(p *Protocol) bool { return p.Has("typeWidening") || p.Has("typeWidening-preview") }

// widening reports whether the protocol lets a column's type turn from one to
// another while files of the old type stay. (Type Widening)
func widening(from, to Type) bool {
	whole := slices.Index(integers, from) // byte, short, integer, long: the narrower first
	if d, ok := to.(Decimal); ok {
		if f, ok := from.(Decimal); ok {
			grown := d.Scale - f.Scale
			return f != d && grown >= 0 && d.Precision-f.Precision >= grown
		}
		digits := 10
		if from == Long {
			digits = 20
		}
		return whole >= 0 && d.Precision-digits >= d.Scale
	}
	switch to {
	case Short, Integer, Long:
		return whole >= 0 && whole < slices.Index(integers, to)
	case Double:
		return from == Float || whole >= 0 && from != Long
	case TimestampNTZ:
		return from == Date
	}
	return false
}

var integers = []Type{Byte, Short, Integer, Long}

// typeChanges parses what a column's metadata says of its former types. An
// unknown type is an *[UnsupportedFeatureError].
func typeChanges(f *Field) ([]typeChange, error) {
	v, ok := f.Metadata[metaTypeChanges]
	if !ok {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is no list", metaTypeChanges)
	}
	out := make([]typeChange, len(list))
	for i, v := range list {
		m, _ := v.(map[string]any)
		path, _ := m["fieldPath"].(string)
		out[i].path = path
		for key, to := range map[string]*Type{"fromType": &out[i].from, "toType": &out[i].to} {
			name, ok := m[key].(string)
			if !ok {
				return nil, fmt.Errorf("entry %d of %s has no %s", i, metaTypeChanges, key)
			}
			t, err := parsePrimitive(name)
			if err != nil {
				return nil, fmt.Errorf("entry %d of %s: %w", i, metaTypeChanges, err)
			}
			*to = t
		}
	}
	return out, nil
}

// checkTypeChanges refuses a table in which a column's type has changed in a
// way that the protocol does not know: its older files may not be readable as
// what the column is now. (Reader Requirements for Type Widening)
func checkTypeChanges(p *Protocol, s *Schema) error {
	if !widensTypes(p) {
		return nil
	}
	return walkStructs(s, "", func(at string, s *Struct) error {
		for i := range s.Fields {
			f := &s.Fields[i]
			changes, err := typeChanges(f)
			if err != nil {
				return fmt.Errorf("column %q: %w", at+f.Name, err)
			}
			for _, c := range changes {
				if c.from != c.to && !widening(c.from, c.to) {
					return &UnsupportedFeatureError{
						Feature: fmt.Sprintf("the type change from %s to %s", c.from, c.to), Detail: fmt.Sprintf("column %q", at+f.Name),
					}
				}
			}
		}
		return nil
	})
}
