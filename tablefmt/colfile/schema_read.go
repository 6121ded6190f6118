package colfile

import (
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// readNode is a field of a file's schema. A slot is a place where a value of
// the node may be: a row for a top-level column, an element of the list above.
type readNode struct {
	field            arrow.Field
	shape            shape
	def              uint8 // level of a value that is not null
	slotDef, slotRep uint8 // levels at which a slot exists, and begins
	children         []*readNode
	leaf             *readLeaf // shapeLeaf
	id               int32     // the field id, 0 for none
}

// readLeaf is a leaf column of a file.
type readLeaf struct {
	index          int // among the file's leaves
	path           string
	phys           physical
	width          int // of physFixed
	typ            arrow.DataType
	conv           conversion // from the physical type to typ
	julian         *julian    // nil: the values are by the Gregorian calendar
	logical        any        // the *format.XType of its annotation, nil for none
	maxDef, maxRep uint8
}

// firstLeaf is any leaf below n: all of them tell n's structure.
func (n *readNode) firstLeaf() *readLeaf {
	for n.leaf == nil {
		n = n.children[0]
	}
	return n.leaf
}

// schemaReader takes schema elements in depth-first order.
type schemaReader struct {
	elements []format.SchemaElement
	at       int
	leaves   []*readLeaf
}

func (f *File) bindSchema() error {
	if len(f.meta.Schema) == 0 {
		return corruptf("no schema")
	}
	r := schemaReader{elements: f.meta.Schema, at: 1}
	root := &readNode{shape: shapeStruct}
	n := int(f.meta.Schema[0].NumChildren.V)
	fields := make([]arrow.Field, 0, min(max(n, 0), len(f.meta.Schema)))
	for range n {
		c, err := r.node("", 0, 0, 1)
		if err != nil {
			return err
		}
		root.children = append(root.children, c)
		fields = append(fields, c.field)
	}
	if r.at != len(r.elements) {
		return corruptf("%d schema elements are left over", len(r.elements)-r.at)
	}
	if len(r.leaves) == 0 && len(f.meta.RowGroups) > 0 {
		return unsupportedf("Parquet file with row groups and without columns")
	}
	f.root, f.leaves, f.fields = root, r.leaves, fields
	calendar := julianOf(f.meta.KeyValueMetadata)
	for _, l := range f.leaves {
		if calendar.applies(l) {
			l.julian = &calendar
		}
	}
	return nil
}

// take gives the next element.
func (r *schemaReader) take(depth int) (*format.SchemaElement, error) {
	if r.at >= len(r.elements) {
		return nil, corruptf("schema ends early")
	}
	if depth > maxNesting {
		return nil, corruptf("schema of more than %d levels", maxNesting)
	}
	r.at++
	return &r.elements[r.at-1], nil
}

// node reads the next field, which has slots at levels def and rep. A field
// that is repeated without saying so is a list of required elements.
func (r *schemaReader) node(path string, def, rep uint8, depth int) (*readNode, error) {
	el, err := r.take(depth)
	if err != nil {
		return nil, err
	}
	if el.RepetitionType.V != format.Repeated {
		return r.body(el, path, def, rep, depth)
	}
	elem, err := r.body(el, path, def+1, rep+1, depth)
	if err != nil {
		return nil, err
	}
	return listOf(el.Name, elem, def, def, rep), nil
}

func listOf(name string, elem *readNode, def, slotDef, slotRep uint8) *readNode {
	f := elem.field
	f.Name = "element"
	return &readNode{
		field: arrow.Field{Name: name, Type: arrow.ListOfField(f)},
		shape: shapeList, def: def, slotDef: slotDef, slotRep: slotRep, children: []*readNode{elem},
	}
}

// body reads a field whose repetition, if it is repeated, is dealt with.
func (r *schemaReader) body(el *format.SchemaElement, path string, slotDef, slotRep uint8, depth int) (*readNode, error) {
	n := &readNode{slotDef: slotDef, slotRep: slotRep, def: slotDef}
	n.field.Name = el.Name
	if el.RepetitionType.V == format.Optional {
		n.field.Nullable = true
		n.def++
	}
	if path != "" {
		path += "."
	}
	if path += el.Name; len(path) > maxPath { // or a footer's few bytes could ask for gigabytes
		path = "..." + path[len(path)-maxPath:]
	}
	var err error
	switch {
	case !el.NumChildren.Valid || el.NumChildren.V == 0 && el.Type.Valid:
		err = r.leafBody(n, el, path)
	case isList(el):
		err = r.listBody(n, el, path, depth)
	case isMap(el):
		err = r.mapBody(n, el, path, depth)
	default:
		err = r.structBody(n, el, path, depth)
	}
	if err != nil {
		return nil, err
	}
	if n.id = el.FieldID; n.id != 0 {
		n.field.Metadata = arrow.NewMetadata([]string{FieldIDKey}, []string{strconv.Itoa(int(el.FieldID))})
	}
	return n, nil
}

func isList(el *format.SchemaElement) bool {
	_, ok := el.LogicalType.Value.(*format.ListType)
	return ok || el.ConvertedType.Valid && el.ConvertedType.V == deprecated.List
}

func isMap(el *format.SchemaElement) bool {
	_, ok := el.LogicalType.Value.(*format.MapType)
	return ok || el.ConvertedType.Valid && (el.ConvertedType.V == deprecated.Map || el.ConvertedType.V == deprecated.MapKeyValue)
}

func (r *schemaReader) structBody(n *readNode, el *format.SchemaElement, path string, depth int) error {
	n.shape = shapeStruct
	if el.NumChildren.V <= 0 {
		return corruptf("column %q has neither a type nor fields", path)
	}
	var fields []arrow.Field
	for range int(el.NumChildren.V) {
		c, err := r.node(path, n.def, n.slotRep, depth+1)
		if err != nil {
			return err
		}
		n.children = append(n.children, c)
		fields = append(fields, c.field)
	}
	n.field.Type = arrow.StructOf(fields...)
	// Slots of a struct's fields are the struct's own.
	for _, c := range n.children {
		c.inheritSlots(n.slotDef)
	}
	return nil
}

// inheritSlots lowers the level at which a field of a struct has slots to
// the struct's: in Arrow a null struct has a place in each of its fields.
func (n *readNode) inheritSlots(slotDef uint8) {
	n.slotDef = slotDef
	if n.shape == shapeStruct {
		for _, c := range n.children {
			c.inheritSlots(slotDef)
		}
	}
}

// listBody reads an annotated list: the repeated field below is the element
// itself in the older two-level forms, and a wrapper of it in the present one.
func (r *schemaReader) listBody(n *readNode, el *format.SchemaElement, path string, depth int) error {
	if el.NumChildren.V != 1 {
		return corruptf("list %q of %d fields", path, el.NumChildren.V)
	}
	rep, err := r.take(depth + 1)
	if err != nil {
		return err
	}
	if rep.RepetitionType.V != format.Repeated {
		return corruptf("list %q without a repeated field", path)
	}
	n.shape = shapeList
	var elem *readNode
	wrapper := rep.NumChildren.V == 1 && !isList(rep) && !isMap(rep) &&
		rep.Name != "array" && rep.Name != el.Name+"_tuple" &&
		r.at < len(r.elements) && r.elements[r.at].RepetitionType.V != format.Repeated
	if wrapper {
		elem, err = r.node(path+"."+rep.Name, n.def+1, n.slotRep+1, depth+2)
	} else {
		elem, err = r.body(rep, path, n.def+1, n.slotRep+1, depth+1)
	}
	if err != nil {
		return err
	}
	n.children = []*readNode{elem}
	n.field.Type = listOf("", elem, 0, 0, 0).field.Type
	return nil
}

func (r *schemaReader) mapBody(n *readNode, el *format.SchemaElement, path string, depth int) error {
	if el.NumChildren.V != 1 {
		return corruptf("map %q of %d fields", path, el.NumChildren.V)
	}
	kv, err := r.take(depth + 1)
	if err != nil {
		return err
	}
	if kv.RepetitionType.V != format.Repeated || kv.NumChildren.V != 2 {
		return unsupportedf("map %q without a repeated pair", path)
	}
	n.shape = shapeMap
	for range 2 {
		c, err := r.node(path+"."+kv.Name, n.def+1, n.slotRep+1, depth+2)
		if err != nil {
			return err
		}
		n.children = append(n.children, c)
	}
	key, item := n.children[0].field, n.children[1].field
	t := arrow.MapOfFields(
		arrow.Field{Name: "key", Type: key.Type, Metadata: key.Metadata},
		arrow.Field{Name: "value", Type: item.Type, Nullable: item.Nullable, Metadata: item.Metadata})
	n.field.Type = t
	return nil
}

func (r *schemaReader) leafBody(n *readNode, el *format.SchemaElement, path string) error {
	l := &readLeaf{index: len(r.leaves), path: path, maxDef: n.def, maxRep: n.slotRep, logical: el.LogicalType.Value}
	switch {
	case !el.Type.Valid:
		return corruptf("column %q without a type", path)
	case el.Type.V == format.FixedLenByteArray:
		l.phys, l.width = physFixed, int(el.TypeLength.V)
		if l.width <= 0 || l.width > maxFixedWidth {
			return corruptf("column %q has values of %d bytes", path, l.width)
		}
	default:
		for p, t := range physicalFormat {
			if t == el.Type.V {
				l.phys = physical(p)
			}
		}
		if physicalFormat[l.phys] != el.Type.V {
			return corruptf("column %q has type %d", path, el.Type.V)
		}
	}
	if err := l.chooseType(el); err != nil {
		return err
	}
	n.field.Type, n.leaf = l.typ, l
	r.leaves = append(r.leaves, l)
	return nil
}

// maxPath bounds the path of a column in messages.
const maxPath = 1000

// maxFixedWidth is the longest FIXED_LEN_BYTE_ARRAY that is taken for real.
const maxFixedWidth = 1 << 20
