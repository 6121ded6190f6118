package tablefmt

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// Arrow gives the schema of the record batches that hold the table's rows: a
// field a column, in the table's order, partition columns included.
// timestamp is arrow's timestamp[us, UTC], timestamp_ntz timestamp[us].
// Lists name their element "element", as the protocol's Parquet files do.
// A type that cannot be read is an *[UnsupportedFeatureError].
func (s *Struct) Arrow() (*arrow.Schema, error) {
	fields, err := arrowFields(s)
	if err != nil {
		return nil, err
	}
	return arrow.NewSchema(fields, nil), nil
}

func arrowFields(s *Struct) ([]arrow.Field, error) {
	fields := make([]arrow.Field, len(s.Fields))
	for i, f := range s.Fields {
		t, err := ArrowType(f.Type)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		fields[i] = arrow.Field{Name: f.Name, Type: t, Nullable: f.Nullable}
	}
	return fields, nil
}

var arrowPrimitives = map[Primitive]arrow.DataType{
	String: arrow.BinaryTypes.String, Binary: arrow.BinaryTypes.Binary,
	Long: arrow.PrimitiveTypes.Int64, Integer: arrow.PrimitiveTypes.Int32,
	Short: arrow.PrimitiveTypes.Int16, Byte: arrow.PrimitiveTypes.Int8,
	Float: arrow.PrimitiveTypes.Float32, Double: arrow.PrimitiveTypes.Float64,
	Boolean: arrow.FixedWidthTypes.Boolean, Date: arrow.FixedWidthTypes.Date32,
	Timestamp:    &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"},
	TimestampNTZ: &arrow.TimestampType{Unit: arrow.Microsecond},
}

// ArrowType gives the Arrow type of a Delta type. A type that cannot be read
// is an *[UnsupportedFeatureError].
func ArrowType(t Type) (arrow.DataType, error) {
	switch t := t.(type) {
	case Primitive:
		if a, ok := arrowPrimitives[t]; ok {
			return a, nil
		}
	case Decimal:
		return &arrow.Decimal128Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}, nil
	case *Struct:
		fields, err := arrowFields(t)
		if err != nil {
			return nil, err
		}
		return arrow.StructOf(fields...), nil
	case *Array:
		e, err := ArrowType(t.Element)
		if err != nil {
			return nil, err
		}
		return arrow.ListOfField(arrow.Field{Name: "element", Type: e, Nullable: t.ContainsNull}), nil
	case *Map:
		k, err := ArrowType(t.Key)
		if err != nil {
			return nil, err
		}
		v, err := ArrowType(t.Value)
		if err != nil {
			return nil, err
		}
		m := arrow.MapOf(k, v)
		m.SetItemNullable(t.ValueContainsNull)
		return m, nil
	}
	return nil, &UnsupportedFeatureError{Feature: fmt.Sprintf("type %q", t)}
}

// SchemaFromArrow gives the Delta schema for columns of Arrow types. Types
// that Delta does not have (unsigned integers, other units of time, ...) are
// an error: a conversion is the caller's choice.
func SchemaFromArrow(a *arrow.Schema) (*Schema, error) {
	fields, err := deltaFields(a.Fields())
	if err != nil {
		return nil, err
	}
	return &Struct{Fields: fields}, nil
}

func deltaFields(in []arrow.Field) ([]Field, error) {
	fields := make([]Field, len(in))
	for i, f := range in {
		t, err := TypeFromArrow(f.Type)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		fields[i] = Field{Name: f.Name, Type: t, Nullable: f.Nullable}
	}
	return fields, nil
}

// TypeFromArrow gives the Delta type for an Arrow type, see
// [SchemaFromArrow].
func TypeFromArrow(t arrow.DataType) (Type, error) {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		if t.Scale < 0 || t.Scale > t.Precision {
			return nil, fmt.Errorf("a decimal of scale %d and precision %d has no Delta type", t.Scale, t.Precision)
		}
		return Decimal{int(t.Precision), int(t.Scale)}, nil
	case *arrow.StructType:
		fields, err := deltaFields(t.Fields())
		if err != nil {
			return nil, err
		}
		return &Struct{Fields: fields}, nil
	case *arrow.MapType: // before lists: a map is laid out as one
		k, err := TypeFromArrow(t.KeyType())
		if err != nil {
			return nil, err
		}
		v, err := TypeFromArrow(t.ItemType())
		if err != nil {
			return nil, err
		}
		return &Map{Key: k, Value: v, ValueContainsNull: t.ItemField().Nullable}, nil
	case *arrow.ListType:
		e, err := TypeFromArrow(t.Elem())
		if err != nil {
			return nil, err
		}
		return &Array{Element: e, ContainsNull: t.ElemField().Nullable}, nil
	}
	for p, a := range arrowPrimitives {
		if arrow.TypeEqual(a, t) {
			return p, nil
		}
	}
	return nil, fmt.Errorf("arrow type %s has no Delta type", t)
}
