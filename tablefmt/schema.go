package tablefmt

import (
	"fmt"
	"strings"
)

// Type is a Delta data type: a [Primitive], [Decimal], *[Struct], *[Array] or
// *[Map]. Values are immutable. (Schema Serialization Format)
type Type interface {
	fmt.Stringer
	isType()
}

// Primitive is a type without parameters, by its name in the protocol.
type Primitive string

// The primitive types.
const (
	String       Primitive = "string"
	Long         Primitive = "long"    // 8 bytes
	Integer      Primitive = "integer" // 4 bytes
	Short        Primitive = "short"   // 2 bytes
	Byte         Primitive = "byte"    // 1 byte, signed
	Float        Primitive = "float"
	Double       Primitive = "double"
	Boolean      Primitive = "boolean"
	Binary       Primitive = "binary"
	Date         Primitive = "date"
	Timestamp    Primitive = "timestamp"     // microseconds, an instant
	TimestampNTZ Primitive = "timestamp_ntz" // microseconds, a local date and time
	// Void is the type of a column that is null in every row and in no file.
	// The protocol does not have it; Spark's tables do.
	Void    Primitive = "void"
	Variant Primitive = "variant" // any value, see package variant
)

var primitives = map[Primitive]bool{
	String: true, Long: true, Integer: true, Short: true, Byte: true, Float: true, Double: true, Boolean: true,
	Binary: true, Date: true, Timestamp: true, TimestampNTZ: true, Void: true, Variant: true,
}

// Decimal is a signed number of Precision digits, Scale of them after the
// point: 0 <= Scale <= Precision, 1 <= Precision <= 38.
type Decimal struct{ Precision, Scale int }

// Struct is a list of fields; the type of a table is one.
type Struct struct{ Fields []Field }

// Array is a list of elements.
type Array struct {
	Element      Type
	ContainsNull bool
}

// Map goes from keys, never null, to values.
type Map struct {
	Key, Value        Type
	ValueContainsNull bool
}

// Field is a column or a struct's member.
type Field struct {
	Name     string
	Type     Type
	Nullable bool
	// Metadata holds what the table says of the column, as decoded from JSON
	// with numbers as json.Number; nil for nothing. It is shared and must not
	// be changed. (Column Metadata)
	Metadata map[string]any
}

// Schema is a table's type.
type Schema = Struct

func (Primitive) isType() {}
func (Decimal) isType()   {}
func (*Struct) isType()   {}
func (*Array) isType()    {}
func (*Map) isType()      {}

// String is the type's name in the protocol.
func (p Primitive) String() string { return string(p) }

// String is the type's name in the protocol.
func (d Decimal) String() string { return fmt.Sprintf("decimal(%d,%d)", d.Precision, d.Scale) }

// String is for people, in Spark's way: struct<a:long,b:string>.
func (s *Struct) String() string {
	parts := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		parts[i] = f.Name + ":" + f.Type.String()
	}
	return "struct<" + strings.Join(parts, ",") + ">"
}

// String is for people, in Spark's way: array<long>.
func (a *Array) String() string { return "array<" + a.Element.String() + ">" }

// String is for people, in Spark's way: map<string,long>.
func (m *Map) String() string { return "map<" + m.Key.String() + "," + m.Value.String() + ">" }

// Index is the place of the field of that exact name, -1 where there is none.
func (s *Struct) Index(name string) int {
	for i := range s.Fields {
		if s.Fields[i].Name == name {
			return i
		}
	}
	return -1
}

// Field gives the field of that exact name.
func (s *Struct) Field(name string) (Field, bool) {
	if i := s.Index(name); i >= 0 {
		return s.Fields[i], true
	}
	return Field{}, false
}

// forbiddenInNames cannot stand in a column's name unless column mapping is
// on, because Parquet and Spark gave them a meaning once.
const forbiddenInNames = " ,;{}()\n\t="

// CheckNames says whether a table may have this schema: names are not empty,
// unique without regard to case at each level, and (unless mapped, which says
// that column mapping is on) free of characters that the format forbids.
func (s *Struct) CheckNames(mapped bool) error {
	return walkStructs(s, "", func(at string, s *Struct) error {
		seen := make(map[string]string, len(s.Fields))
		for _, f := range s.Fields {
			name := at + f.Name
			if f.Name == "" {
				return fmt.Errorf("a column in %q has no name", strings.TrimSuffix(at, "."))
			}
			low := strings.ToLower(f.Name)
			if other, ok := seen[low]; ok {
				return fmt.Errorf("columns %q and %q have the same name but for case", at+other, name)
			}
			seen[low] = f.Name
			if !mapped && strings.ContainsAny(f.Name, forbiddenInNames) {
				return fmt.Errorf("column %q has one of the characters %q in its name", name, forbiddenInNames)
			}
		}
		return nil
	})
}

// has reports whether a type occurs at any depth.
func (s *Struct) has(want Type) bool {
	found := false
	_ = walkTypes(s, "", func(_ string, t Type) error { // the callback never fails
		found = found || t == want
		return nil
	})
	return found
}

// walkStructs calls fn for s and each struct within, with the path to it
// ("a.b.", "" for the top).
func walkStructs(s *Struct, at string, fn func(string, *Struct) error) error {
	if err := fn(at, s); err != nil {
		return err
	}
	return walkTypes(s, at, func(at string, t Type) error {
		if s, ok := t.(*Struct); ok {
			return fn(at+".", s)
		}
		return nil
	})
}

// walkTypes calls fn for every type within s, outer ones first, with the path
// to it.
func walkTypes(s *Struct, at string, fn func(string, Type) error) error {
	var walk func(at string, t Type) error
	walk = func(at string, t Type) error {
		if err := fn(at, t); err != nil {
			return err
		}
		switch t := t.(type) {
		case *Struct:
			for _, f := range t.Fields {
				if err := walk(at+"."+f.Name, f.Type); err != nil {
					return err
				}
			}
		case *Array:
			return walk(at+".element", t.Element)
		case *Map:
			if err := walk(at+".key", t.Key); err != nil {
				return err
			}
			return walk(at+".value", t.Value)
		}
		return nil
	}
	for _, f := range s.Fields {
		if err := walk(at+f.Name, f.Type); err != nil {
			return err
		}
	}
	return nil
}
