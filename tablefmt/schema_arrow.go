package tablefmt

import (
	"fmt"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/variant"
)

// Arrow gives the schema of the record batches that hold the table's rows: a
// field a column, in the table's order, partition columns included.
// timestamp is arrow's timestamp[us, UTC], timestamp_ntz timestamp[us].
// Lists name their element "element", as the protocol's Parquet files do.
// variant is variant.Type, and void is arrow's null. A type that cannot be read is an *[UnsupportedFeatureError].
func (s *Struct) Arrow() (*arrow.Schema, error) { return MappingNone.arrow(s) }

// arrow is Struct.Arrow with what a mode of column mapping finds the columns
// by in the fields' metadata: names in files and field ids, as package colfile
// wants them.
func (mode MappingMode) arrow(s *Struct) (*arrow.Schema, error) {
	fields, err := mode.arrowFields(s)
	if err != nil {
		return nil, err
	}
	return arrow.NewSchema(fields, nil), nil
}

func (mode MappingMode) arrowFields(s *Struct) ([]arrow.Field, error) {
	fields := make([]arrow.Field, len(s.Fields))
	for i := range s.Fields {
		f := &s.Fields[i]
		in := inside{mode: mode}
		out := arrow.Field{Name: f.Name, Nullable: f.Nullable}
		if mode != MappingNone {
			in.ids, in.path = nestedIDs(f), mode.physicalName(f)
			keys, values := []string{colfile.FileNameKey}, []string{in.path}
			if id, ok := columnID(f); ok {
				keys, values = append(keys, colfile.FieldIDKey), append(values, strconv.Itoa(int(id)))
			}
			out.Metadata = arrow.NewMetadata(keys, values)
		}
		var err error
		if out.Type, err = in.arrowType(f.Type); err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		fields[i] = out
	}
	return fields, nil
}

// inside is a place within a column: the ids of what is there without being a
// column itself, by path.
type inside struct {
	mode MappingMode
	ids  map[string]any
	path string
}

// of is a place one step further in, and the metadata of what is there.
func (in inside) of(step string) (inside, arrow.Metadata) {
	in.path += "." + step
	if id, ok := idOf(in.ids[in.path]); ok {
		return in, arrow.NewMetadata([]string{colfile.FieldIDKey}, []string{strconv.Itoa(int(id))})
	}
	return in, arrow.Metadata{}
}

var arrowPrimitives = map[Primitive]arrow.DataType{
	String: arrow.BinaryTypes.String, Binary: arrow.BinaryTypes.Binary,
	Long: arrow.PrimitiveTypes.Int64, Integer: arrow.PrimitiveTypes.Int32,
	Short: arrow.PrimitiveTypes.Int16, Byte: arrow.PrimitiveTypes.Int8,
	Float: arrow.PrimitiveTypes.Float32, Double: arrow.PrimitiveTypes.Float64,
	Boolean: arrow.FixedWidthTypes.Boolean, Date: arrow.FixedWidthTypes.Date32,
	Timestamp:    &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"},
	TimestampNTZ: &arrow.TimestampType{Unit: arrow.Microsecond},
	Variant:      variant.NewType(), Void: arrow.Null,
}

// ArrowType gives the Arrow type of a Delta type. A type that cannot be read
// is an *[UnsupportedFeatureError].
func ArrowType(t Type) (arrow.DataType, error) { return inside{mode: MappingNone}.arrowType(t) }

func (in inside) arrowType(t Type) (arrow.DataType, error) {
	switch t := t.(type) {
	case Primitive:
		if a, ok := arrowPrimitives[t]; ok {
			return a, nil
		}
	case Decimal:
		return &arrow.Decimal128Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}, nil
	case *Struct:
		fields, err := in.mode.arrowFields(t)
		if err != nil {
			return nil, err
		}
		return arrow.StructOf(fields...), nil
	case *Array:
		element, meta := in.of("element")
		e, err := element.arrowType(t.Element)
		if err != nil {
			return nil, err
		}
		return arrow.ListOfField(arrow.Field{Name: "element", Type: e, Nullable: t.ContainsNull, Metadata: meta}), nil
	case *Map:
		key, keyMeta := in.of("key")
		k, err := key.arrowType(t.Key)
		if err != nil {
			return nil, err
		}
		value, valueMeta := in.of("value")
		v, err := value.arrowType(t.Value)
		if err != nil {
			return nil, err
		}
		m := arrow.MapOfWithMetadata(k, keyMeta, v, valueMeta)
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
