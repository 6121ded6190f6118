package colfile

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/parquet-go/parquet-go/format"

	"github.com/lakeload/lakeload/tablefmt/variant"
)

// A variant lies in a file as a group of its two parts. Where it is shredded,
// the group has a typed_value besides, of whatever type the writer of the file
// found to be frequent, and what is of that type lies there and not in value.
// (VariantShredding.md of the Parquet format) The reader asks for no type: it
// takes the group as the file has it and makes the two parts of it again. The
// metadata stay as they are, for they must have the names of all fields.

// Names of a variant's fields in a file. They are found by name even where
// columns are found by id.
const (
	variantMetadata = "metadata"
	variantValue    = "value"
	variantTyped    = "typed_value"
)

// variantPlan is how variants of a column are made of what the file has.
type variantPlan struct {
	group *arrow.StructType // what is read of the file; metadata are the last field
	root  *shredded
	names nameIDs
}

// shredded is a place where a value may lie, of the group's own or below a
// typed_value.
type shredded struct {
	value, typed int // fields of the group's array; -1: the file has none
	kind         shreddedKind
	leaf         arrow.DataType // of a scalar typed_value
	element      *shredded      // of a list
	fields       []shreddedField
}

type shreddedField struct {
	name int // in variantPlan.names
	*shredded
}

type shreddedKind uint8

const (
	shreddedScalar shreddedKind = iota
	shreddedUUID
	shreddedNanos      // a local time
	shreddedNanosInUTC // an instant
	shreddedList
	shreddedObject
)

// planVariant matches a node with a wanted variant.
func (r *reader) planVariant(n *readNode, want arrow.DataType) (*planNode, error) {
	if n.shape != shapeStruct {
		return nil, unsupportedf("%s in the file read as %s", n.field.Type, want)
	}
	v := &variantPlan{}
	group, root, err := v.place(n)
	if err != nil {
		return nil, err
	}
	v.root = root
	metadata := n.child(variantMetadata)
	if metadata == nil || !isBytes(metadata) {
		return nil, unsupportedf("%s in the file read as %s", n.field.Type, want)
	}
	group.children = append(group.children, metadata)
	group.retype()
	v.group = group.field.Type.(*arrow.StructType)
	defer func(byID bool) { r.opt.ByFieldID = byID }(r.opt.ByFieldID)
	r.opt.ByFieldID = false
	p := &planNode{node: group, typ: want, variant: v, reader: r.leafReader(metadata.leaf)}
	for _, c := range group.children {
		child, err := r.plan(c, c.field.Type)
		if err != nil {
			return nil, err
		}
		p.children = append(p.children, child)
	}
	return p, nil
}

func isBytes(n *readNode) bool { return n.leaf != nil && n.leaf.typ.ID() == arrow.BINARY }

// place finds the value and the typed_value of a group. What it gives is the
// group with these two alone, and with scalars as they are to be read.
func (v *variantPlan) place(n *readNode) (*readNode, *shredded, error) {
	s := &shredded{value: -1, typed: -1}
	group := *n
	group.children = nil
	if c := n.child(variantValue); c != nil {
		if !isBytes(c) {
			return nil, nil, unsupportedf("a variant with a value of type %s", c.field.Type)
		}
		s.value = len(group.children)
		group.children = append(group.children, c)
	}
	if c := n.child(variantTyped); c != nil {
		typed, err := v.typed(s, c)
		if err != nil {
			return nil, nil, err
		}
		s.typed = len(group.children)
		group.children = append(group.children, typed)
	}
	if len(group.children) == 0 {
		return nil, nil, unsupportedf("a variant with neither a value nor a typed_value in the group %q", n.field.Name)
	}
	group.retype()
	return &group, s, nil
}

// retype makes the type of a struct of which fields were taken.
func (n *readNode) retype() {
	fields := make([]arrow.Field, len(n.children))
	for i, c := range n.children {
		fields[i] = c.field
	}
	n.field.Type = arrow.StructOf(fields...)
}

func (v *variantPlan) typed(s *shredded, n *readNode) (*readNode, error) {
	c := *n
	switch n.shape {
	case shapeLeaf:
		leaf := *n.leaf
		c.leaf = &leaf
		if err := s.scalar(&leaf); err != nil {
			return nil, err
		}
		c.field.Type, s.leaf = leaf.typ, leaf.typ
		return &c, nil
	case shapeList:
		s.kind = shreddedList
		if n.children[0].shape != shapeStruct {
			return nil, unsupportedf("a variant's list of %s", n.children[0].field.Type)
		}
		element, place, err := v.place(n.children[0])
		if err != nil {
			return nil, err
		}
		s.element = place
		c.children = []*readNode{element}
		c.field.Type = arrow.ListOfField(element.field)
		return &c, nil
	case shapeStruct:
		s.kind = shreddedObject
		c.children = nil
		for _, f := range n.children {
			if f.shape != shapeStruct {
				return nil, unsupportedf("a variant's field of type %s", f.field.Type)
			}
			group, place, err := v.place(f)
			if err != nil {
				return nil, err
			}
			s.fields = append(s.fields, shreddedField{v.names.number(f.field.Name), place})
			c.children = append(c.children, group)
		}
		c.retype()
		return &c, nil
	}
	return nil, unsupportedf("a variant with a typed_value of type %s", n.field.Type)
}

// scalar chooses how values of a leaf become values of a variant. (Shredded
// Value Types)
func (s *shredded) scalar(l *readLeaf) error {
	switch t := l.logical.(type) {
	case *format.UUIDType:
		if l.phys == physFixed && l.width == 16 {
			s.kind = shreddedUUID
			return nil
		}
	case *format.TimestampType:
		if _, nanos := t.Unit.Value.(*format.NanoSeconds); nanos && l.phys == physInt64 {
			s.kind = shreddedNanos
			if t.IsAdjustedToUTC {
				s.kind = shreddedNanosInUTC
			}
			l.typ, l.conv, l.julian = arrow.PrimitiveTypes.Int64, convNone, nil
			return nil
		}
	case *format.IntType:
		if !t.IsSigned {
			return unsupportedf("a variant with a typed_value of integers without sign")
		}
	}
	switch l.typ.ID() {
	case arrow.BOOL, arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.FLOAT32, arrow.FLOAT64, arrow.DECIMAL128,
		arrow.DATE32, arrow.TIME64, arrow.TIMESTAMP, arrow.BINARY, arrow.STRING:
		if t, ok := l.typ.(*arrow.Time64Type); ok && t.Unit != arrow.Microsecond {
			break
		}
		return nil
	}
	return unsupportedf("a variant with a typed_value of type %s", l.typ)
}

// nameIDs finds the numbers that names have in the metadata of one row after
// the other, which mostly are the same.
type nameIDs struct {
	names    [][]byte
	of       map[string]int // index in names
	metadata []byte         // that dict and ids are of
	dict     variant.Dict
	ids      []int // by index in names; -1: the dictionary lacks it
}

func (n *nameIDs) number(name string) int {
	if i, ok := n.of[name]; ok {
		return i
	}
	if n.of == nil {
		n.of = make(map[string]int)
	}
	i := len(n.names)
	n.of[name] = i
	n.names = append(n.names, []byte(name))
	return i
}

func (n *nameIDs) set(metadata []byte) error {
	if n.metadata != nil && bytes.Equal(metadata, n.metadata) {
		return nil
	}
	dict, err := variant.ParseMetadata(metadata)
	if err != nil {
		return err
	}
	n.metadata, n.dict = metadata, dict
	if len(n.names) == 0 {
		return nil
	}
	n.ids = n.ids[:0]
	for range n.names {
		n.ids = append(n.ids, -1)
	}
	for i := range dict.Len() {
		if at, ok := n.of[string(dict.Name(i))]; ok && n.ids[at] < 0 {
			n.ids[at] = i
		}
	}
	return nil
}

// variantData builds the variants of the batch that the readers hold. All of
// them are checked, so that what is damaged is known while it is known where it
// is.
func (p *planNode) variantData() (arrow.ArrayData, error) {
	group := &planNode{node: p.node, typ: p.variant.group, children: p.children, reader: p.reader}
	d, err := group.structData()
	if err != nil {
		return nil, err
	}
	defer d.Release()
	a := array.NewStructData(d)
	defer a.Release()
	metadata := a.Field(a.NumField() - 1).(*array.Binary)
	root, names := p.variant.root, &p.variant.names
	whole := root.typed < 0 && a.Field(root.value).NullN() == a.NullN()
	b := variantBuilder{names: names}
	offsets := make([]int32, 1, a.Len()+1)
	var out []byte
	for i := range a.Len() {
		if a.IsValid(i) {
			if metadata.IsNull(i) {
				return nil, corruptf("a variant without metadata")
			}
			if err := names.set(metadata.Value(i)); err != nil {
				return nil, variantError(err)
			}
			if whole {
				if err := names.dict.Check(a.Field(root.value).(*array.Binary).Value(i)); err != nil {
					return nil, variantError(err)
				}
				continue
			}
			b.Reset(out)
			if _, err := b.add(root, a, i, true); err != nil {
				return nil, variantError(err)
			}
			out = b.Bytes()
			if len(out) > math.MaxInt32 {
				return nil, unsupportedf("variants of more than 2 GiB in %d rows", i)
			}
		}
		offsets = append(offsets, int32(len(out)))
	}
	var values arrow.ArrayData
	if whole {
		values = a.Field(root.value).Data()
		values.Retain()
	} else {
		values = array.NewData(arrow.BinaryTypes.Binary, a.Len(),
			[]*memory.Buffer{nil, buffer(byteView(offsets)), memory.NewBufferBytes(out)}, nil, 0, 0)
	}
	defer values.Release()
	children := []arrow.ArrayData{metadata.Data(), values}
	return array.NewData(p.typ, a.Len(), d.Buffers(), children, a.NullN(), 0), nil
}

// variantError makes errors of variants errors of the file.
func variantError(err error) error {
	switch {
	case errors.Is(err, variant.ErrCorrupt):
		return corruptf("%w", err)
	case errors.Is(err, variant.ErrUnknownType):
		return unsupportedf("%w", err)
	}
	return err
}

// variantBuilder makes one variant after the other.
type variantBuilder struct {
	variant.Builder
	names *nameIDs
}

// add adds the value that lies at row i of a group. Where there is none, it adds
// the null value if one is needed, and else nothing.
func (b *variantBuilder) add(s *shredded, group *array.Struct, i int, needed bool) (there bool, err error) {
	var value []byte // nil: none
	if s.value >= 0 && group.Field(s.value).IsValid(i) {
		value = group.Field(s.value).(*array.Binary).Value(i)
	}
	typed := s.typed >= 0 && group.Field(s.typed).IsValid(i)
	switch {
	case !typed && value != nil:
		if err := b.names.dict.Check(value); err != nil {
			return false, err
		}
		b.Value(value)
		return true, nil
	case !typed:
		if needed {
			b.Null()
		}
		return needed, nil
	case s.kind == shreddedObject:
		return true, b.object(s, group.Field(s.typed).(*array.Struct), i, value)
	case value != nil:
		return false, corruptf("a variant with both a value and a typed_value that is no object")
	case s.kind == shreddedList:
		l := group.Field(s.typed).(*array.List)
		elements := l.ListValues().(*array.Struct)
		m := b.Open()
		from, to := l.ValueOffsets(i)
		for j := from; j < to; j++ {
			b.Element(m)
			if _, err := b.add(s.element, elements, int(j), true); err != nil {
				return false, err
			}
		}
		b.CloseArray(m)
		return true, nil
	}
	return true, b.typed(s, group.Field(s.typed), i)
}

// object adds an object of its shredded fields and the others, which are in
// the object rest, if any.
func (b *variantBuilder) object(s *shredded, fields *array.Struct, i int, rest []byte) error {
	m := b.Open()
	for c, f := range s.fields {
		group := fields.Field(c).(*array.Struct)
		if group.IsNull(i) {
			continue // as if neither were there
		}
		id := b.names.ids[f.name]
		if id < 0 {
			if f.missing(group, i) {
				continue
			}
			return corruptf("a variant's field %q is not in its metadata", b.names.names[f.name])
		}
		if f.missing(group, i) {
			continue
		}
		b.Member(m, id, b.names.names[f.name])
		if _, err := b.add(f.shredded, group, i, true); err != nil {
			return fmt.Errorf("field %q: %w", b.names.names[f.name], err)
		}
	}
	if rest != nil {
		err := b.names.dict.Fields(rest, func(id int, name, value []byte) error {
			b.Member(m, id, name)
			b.Value(value)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return b.CloseObject(m)
}

// missing reports whether a group has neither a value nor a typed one.
func (s *shredded) missing(group *array.Struct, i int) bool {
	return (s.value < 0 || group.Field(s.value).IsNull(i)) && (s.typed < 0 || group.Field(s.typed).IsNull(i))
}

// typed adds a scalar. (Encoding types)
func (b *variantBuilder) typed(s *shredded, arr arrow.Array, i int) error {
	switch s.kind {
	case shreddedUUID:
		b.UUID(arr.(*array.Binary).Value(i))
		return nil
	case shreddedNanos, shreddedNanosInUTC:
		b.TimestampNanos(arr.(*array.Int64).Value(i), s.kind == shreddedNanosInUTC)
		return nil
	}
	switch a := arr.(type) {
	case *array.Boolean:
		b.Bool(a.Value(i))
	case *array.Int8:
		b.Int(int64(a.Value(i)))
	case *array.Int16:
		b.Int(int64(a.Value(i)))
	case *array.Int32:
		b.Int(int64(a.Value(i)))
	case *array.Int64:
		b.Int(a.Value(i))
	case *array.Float32:
		b.Float(a.Value(i))
	case *array.Float64:
		b.Double(a.Value(i))
	case *array.Decimal128:
		return b.decimal(a, i)
	case *array.Date32:
		b.Date(int32(a.Value(i)))
	case *array.Time64:
		if t := int64(a.Value(i)); t < 0 || t >= 86_400_000_000 {
			return corruptf("a time of %d µs", t)
		}
		b.Time(int64(a.Value(i)))
	case *array.Timestamp:
		b.Timestamp(int64(a.Value(i)), s.leaf.(*arrow.TimestampType).TimeZone != "")
	case *array.Binary:
		b.Binary(a.Value(i))
	case *array.String:
		b.String(a.Value(i))
	}
	return nil
}

func (b *variantBuilder) decimal(a *array.Decimal128, i int) error {
	t := a.DataType().(*arrow.Decimal128Type)
	v := a.Value(i)
	if !decimalFits(v, decimal128.GetScaleMultiplier(int(t.Precision))) {
		return corruptf("decimal %s of type %s", v.BigInt(), t)
	}
	b.Decimal(v, int(t.Scale))
	return nil
}
