package colfile

import (
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/lakeload/lakeload/tablefmt/variant"
)

// FieldIDKey is the key of an Arrow field's metadata that holds its Parquet
// field id, in decimal. It is written when present, on nested fields too, and
// set on reading when the file has one. The same key is arrow's convention.
const FieldIDKey = "PARQUET:field_id"

// physical is the form in which values are stored.
type physical uint8

const (
	physBool physical = iota
	physInt32
	physInt64
	physFloat
	physDouble
	physFixed // FIXED_LEN_BYTE_ARRAY
	physBytes // BYTE_ARRAY
	physInt96 // read only
)

var physicalFormat = [...]format.Type{
	physBool: format.Boolean, physInt32: format.Int32, physInt64: format.Int64,
	physFloat: format.Float, physDouble: format.Double,
	physFixed: format.FixedLenByteArray, physBytes: format.ByteArray, physInt96: format.Int96,
}

// size is the width in bytes of values of a fixed-width numeric type, else 0.
func (p physical) size() int {
	switch p {
	case physInt32, physFloat:
		return 4
	case physInt64, physDouble:
		return 8
	case physInt96:
		return 12
	}
	return 0
}

// shape is what a schema node is.
type shape uint8

const (
	shapeLeaf shape = iota
	shapeStruct
	shapeList
	shapeMap
)

// writeNode is a field of the written schema. Its levels are those of a value
// that is present: def counts the optional and repeated ancestors and itself,
// rep the repeated ones.
//
// A column, or a field of a struct, of arrow.Null is not written and has no
// node: Parquet readers take what a file lacks for null.
type writeNode struct {
	name     string
	shape    shape
	optional bool
	def, rep uint8
	children []*writeNode // struct: fields; list: element; map: key, value
	leaf     *leafWriter
	track    *columnTracker // of a list, map or variant: nil, or counts its nulls for Delta
	variant  bool           // a struct of a variant's parts
}

// schemaBuilder turns an Arrow schema into nodes, leaves and the footer's
// schema elements, which are the nodes in depth-first order.
type schemaBuilder struct {
	elements []format.SchemaElement
	leaves   []*leafWriter
	columns  []*columnTracker
	nStats   int // Delta leaf columns met so far
	maxStats int
	statsOf  func(path []string) bool // nil: the first maxStats
}

// maxNesting bounds the depth of written and read schemas: a list has three
// levels, a field of a shredded variant two. It is below the 255 that the level
// arithmetic could do.
const maxNesting = 240

func (b *schemaBuilder) build(schema *arrow.Schema) ([]*writeNode, error) {
	written := writtenFields(schema.Fields())
	if written == 0 && schema.NumFields() > 0 {
		return nil, unsupportedf("a table none of whose columns can be in a file")
	}
	b.elements = append(b.elements, format.SchemaElement{
		Name: "schema", NumChildren: thrift.New(int32(written)),
	})
	nodes := make([]*writeNode, schema.NumFields())
	seen := make(map[string]bool, schema.NumFields())
	for i, f := range schema.Fields() {
		if seen[fileName(&f)] {
			return nil, unsupportedf("two columns are called %q", fileName(&f))
		}
		seen[fileName(&f)] = true
		if f.Type.ID() == arrow.NULL {
			continue
		}
		n, err := b.field(f, nil, 0, 0, true)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		nodes[i] = n
	}
	return nodes, nil
}

// writtenFields counts the fields that are written.
func writtenFields(fields []arrow.Field) (n int) {
	for _, f := range fields {
		if f.Type.ID() != arrow.NULL {
			n++
		}
	}
	return n
}

// field adds the elements of f below path, whose parent has levels def and
// rep. stats says that no list or map is above.
func (b *schemaBuilder) field(f arrow.Field, path []string, def, rep uint8, stats bool) (*writeNode, error) {
	if len(path) >= maxNesting {
		return nil, unsupportedf("nesting of more than %d levels", maxNesting)
	}
	name := fileName(&f)
	n := &writeNode{name: name, optional: f.Nullable, def: def, rep: rep}
	el := format.SchemaElement{Name: name, RepetitionType: thrift.New(format.Required)}
	if f.Nullable {
		n.def++
		el.RepetitionType.Set(format.Optional)
	}
	var err error
	if el.FieldID, _, err = fieldID(&f); err != nil {
		return nil, err
	}
	path = append(path[:len(path):len(path)], name)
	switch t := f.Type.(type) {
	case *arrow.StructType:
		return n, b.structNode(n, el, t, path, stats)
	case *variant.Type:
		return n, b.variantNode(n, el, path, stats)
	case *arrow.MapType:
		return n, b.mapNode(n, el, t, path, stats)
	case *arrow.ListType:
		return n, b.listNode(n, el, t, path, stats)
	}
	l, err := newLeafType(f.Type, &el)
	if err != nil {
		return nil, err
	}
	b.elements = append(b.elements, el)
	l.path, l.maxDef, l.maxRep, l.nested = path, n.def, n.rep, len(path) > 1
	if stats && b.wantStats(path) {
		l.track = &columnTracker{path: path, typ: f.Type}
		b.columns = append(b.columns, l.track)
	}
	n.leaf = l
	b.leaves = append(b.leaves, l)
	return n, nil
}

// wantStats counts one more of Delta's leaf columns and says whether it is
// among the first that get statistics.
func (b *schemaBuilder) wantStats(path []string) bool {
	if b.statsOf != nil {
		return b.statsOf(path)
	}
	b.nStats++
	return b.maxStats == -1 || b.nStats <= b.maxStats
}

func (b *schemaBuilder) structNode(n *writeNode, el format.SchemaElement, t *arrow.StructType, path []string, stats bool) error {
	written := writtenFields(t.Fields())
	if written == 0 {
		return unsupportedf("struct without fields, which Parquet cannot store")
	}
	n.shape = shapeStruct
	el.NumChildren.Set(int32(written))
	b.elements = append(b.elements, el)
	for _, f := range t.Fields() {
		if f.Type.ID() == arrow.NULL {
			n.children = append(n.children, nil)
			continue
		}
		c, err := b.field(f, path, n.def, n.rep, stats)
		if err != nil {
			return fmt.Errorf("field %q: %w", f.Name, err)
		}
		n.children = append(n.children, c)
	}
	return nil
}

// variantNode adds the two parts of a variant, not shredded. (Variant in
// Parquet) For Delta it is one column.
func (b *schemaBuilder) variantNode(n *writeNode, el format.SchemaElement, path []string, stats bool) error {
	n.shape, n.variant = shapeStruct, true
	el.NumChildren.Set(2)
	el.LogicalType.Value = &format.VariantType{SpecificationVersion: 1}
	b.elements = append(b.elements, el)
	if stats && b.wantStats(path) {
		n.track = &columnTracker{path: path, typ: variant.NewType()}
		b.columns = append(b.columns, n.track)
	}
	for _, name := range []string{variantMetadata, variantValue} {
		c, err := b.field(arrow.Field{Name: name, Type: arrow.BinaryTypes.Binary}, path, n.def, n.rep, false)
		if err != nil {
			return err
		}
		n.children = append(n.children, c)
	}
	return nil
}

// repeatedGroup adds the annotated outer group and the repeated inner one.
func (b *schemaBuilder) repeatedGroup(n *writeNode, el format.SchemaElement, inner string, children int32, path []string, t arrow.DataType, stats bool) {
	el.NumChildren.Set(1)
	b.elements = append(b.elements, el, format.SchemaElement{
		Name: inner, RepetitionType: thrift.New(format.Repeated), NumChildren: thrift.New(children),
	})
	if stats && b.wantStats(path) {
		c := &columnTracker{path: path, typ: t}
		n.track = c
		b.columns = append(b.columns, c)
	}
}

func (b *schemaBuilder) listNode(n *writeNode, el format.SchemaElement, t *arrow.ListType, path []string, stats bool) error {
	n.shape = shapeList
	el.LogicalType.Value = &format.ListType{}
	el.ConvertedType.Set(deprecated.List)
	b.repeatedGroup(n, el, "list", 1, path, t, stats)
	elem := t.ElemField()
	elem.Name = "element"
	c, err := b.field(elem, append(path[:len(path):len(path)], "list"), n.def+1, n.rep+1, false)
	if err != nil {
		return fmt.Errorf("list element: %w", err)
	}
	n.children = []*writeNode{c}
	return nil
}

func (b *schemaBuilder) mapNode(n *writeNode, el format.SchemaElement, t *arrow.MapType, path []string, stats bool) error {
	n.shape = shapeMap
	el.LogicalType.Value = &format.MapType{}
	el.ConvertedType.Set(deprecated.Map)
	b.repeatedGroup(n, el, "key_value", 2, path, t, stats)
	key, item := t.KeyField(), t.ItemField()
	key.Name, key.Nullable, item.Name = "key", false, "value"
	for _, f := range []arrow.Field{key, item} {
		c, err := b.field(f, append(path[:len(path):len(path)], "key_value"), n.def+1, n.rep+1, false)
		if err != nil {
			return fmt.Errorf("map %s: %w", f.Name, err)
		}
		n.children = append(n.children, c)
	}
	return nil
}

// newLeafType chooses the physical type and annotations for t.
func newLeafType(t arrow.DataType, el *format.SchemaElement) (*leafWriter, error) {
	l := &leafWriter{typ: t}
	switch t := t.(type) {
	case *arrow.BooleanType:
		l.phys = physBool
	case *arrow.Int8Type:
		l.phys = physInt32
		annotate(el, &format.IntType{BitWidth: 8, IsSigned: true}, deprecated.Int8)
	case *arrow.Int16Type:
		l.phys = physInt32
		annotate(el, &format.IntType{BitWidth: 16, IsSigned: true}, deprecated.Int16)
	case *arrow.Int32Type:
		l.phys = physInt32
	case *arrow.Int64Type:
		l.phys = physInt64
	case *arrow.Float32Type:
		l.phys = physFloat
	case *arrow.Float64Type:
		l.phys = physDouble
	case *arrow.StringType:
		l.phys = physBytes
		annotate(el, &format.StringType{}, deprecated.UTF8)
	case *arrow.BinaryType:
		l.phys = physBytes
	case *arrow.Date32Type:
		l.phys = physInt32
		annotate(el, &format.DateType{}, deprecated.Date)
	case *arrow.TimestampType:
		if err := timestampLeaf(l, t, el); err != nil {
			return nil, err
		}
	case *arrow.Decimal128Type:
		if err := decimalLeaf(l, t, el); err != nil {
			return nil, err
		}
	default:
		return nil, unsupportedf("Arrow type %s", t)
	}
	el.Type.Set(physicalFormat[l.phys])
	return l, nil
}

func annotate(el *format.SchemaElement, t format.LogicalTypeValue, c deprecated.ConvertedType) {
	el.LogicalType.Value = t
	el.ConvertedType.Set(c)
}

// timestampLeaf maps a timestamp with a zone, which Arrow stores in UTC
// whatever the zone is, to an instant, and one without to a local time.
func timestampLeaf(l *leafWriter, t *arrow.TimestampType, el *format.SchemaElement) error {
	if t.Unit != arrow.Microsecond {
		return unsupportedf("Arrow type %s (timestamps are microseconds)", t)
	}
	l.phys = physInt64
	el.LogicalType.Value = &format.TimestampType{
		IsAdjustedToUTC: t.TimeZone != "",
		Unit:            format.TimeUnit{Value: &format.MicroSeconds{}},
	}
	if t.TimeZone != "" { // the converted type means an instant
		el.ConvertedType.Set(deprecated.TimestampMicros)
	}
	return nil
}

func decimalLeaf(l *leafWriter, t *arrow.Decimal128Type, el *format.SchemaElement) error {
	if t.Precision < 1 || t.Precision > 38 || t.Scale < 0 || t.Scale > t.Precision {
		return unsupportedf("Arrow type %s", t)
	}
	annotate(el, &format.DecimalType{Precision: t.Precision, Scale: t.Scale}, deprecated.Decimal)
	el.Precision.Set(t.Precision)
	el.Scale.Set(t.Scale)
	switch {
	case t.Precision <= 9:
		l.phys = physInt32
	case t.Precision <= 18:
		l.phys = physInt64
	default:
		l.phys, l.width = physFixed, decimalWidth(t.Precision)
		el.TypeLength.Set(int32(l.width))
	}
	l.decimalMax = pow10(t.Precision)
	return nil
}

// decimalWidth is the least number of bytes that hold p decimal digits and a
// sign, which is what Spark writes: 9 for 19 digits, 16 for 38.
func decimalWidth(p int32) int {
	return int(math.Floor((float64(p)*math.Log2(10)+1)/8)) + 1
}
