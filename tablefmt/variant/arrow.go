package variant

import (
	"fmt"
	"reflect"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// Type is the Arrow type of variants: the extension "arrow.parquet.variant"
// over a struct of the two parts, both binary and not null. It is the same on
// the wire as arrow-go's own, whose arrays decode without checking. NewType
// makes one.
type Type struct{ arrow.ExtensionBase }

// storage is what a Type lies on.
var storage = arrow.StructOf(
	arrow.Field{Name: "metadata", Type: arrow.BinaryTypes.Binary},
	arrow.Field{Name: "value", Type: arrow.BinaryTypes.Binary},
)

// NewType gives the type.
func NewType() *Type { return &Type{arrow.ExtensionBase{Storage: storage}} }

// ArrayType is that of [Array].
func (*Type) ArrayType() reflect.Type { return reflect.TypeFor[Array]() }

// ExtensionName is the name that Arrow gives to variants.
func (*Type) ExtensionName() string { return "arrow.parquet.variant" }

// Serialize gives nothing: the type has no parameters.
func (*Type) Serialize() string { return "" }

// Deserialize makes the type for its storage.
func (*Type) Deserialize(s arrow.DataType, _ string) (arrow.ExtensionType, error) {
	if !arrow.TypeEqual(s, storage) {
		return nil, fmt.Errorf("a variant over %s instead of %s", s, storage)
	}
	return NewType(), nil
}

// ExtensionEquals compares types.
func (t *Type) ExtensionEquals(o arrow.ExtensionType) bool {
	return o.ExtensionName() == t.ExtensionName() && arrow.TypeEqual(o.StorageType(), storage)
}

// String is the type's name for people.
func (*Type) String() string { return "variant" }

// Array holds variants. A value that is null is none at all; the null inside of
// a variant is a value.
type Array struct{ array.ExtensionArrayBase }

// Parts gives the two parts of a value that is not null. They are the array's
// memory.
func (a *Array) Parts(i int) (metadata, value []byte) {
	s := a.Storage().(*array.Struct)
	return s.Field(0).(*array.Binary).Value(i), s.Field(1).(*array.Binary).Value(i)
}

// ValueStr is a value as JSON; of one that is damaged, what is wrong with it.
func (a *Array) ValueStr(i int) string {
	if a.IsNull(i) {
		return array.NullValueStr
	}
	metadata, value := a.Parts(i)
	b, err := AppendJSON(nil, metadata, value)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
