package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// maxDecimalPrecision is the most digits that Delta's decimal holds.
const maxDecimalPrecision = 38

// resolveType is resolveColumn for a column that is declared with one
// dimension at most, and of which the configuration says nothing.
func resolveType(oid uint32, typmod int32, info typeInfo) columnType {
	return resolveColumn(oid, typmod, 0, info, PolicyExact)
}

// resolveColumn decides how a column of type oid with modifier typmod is
// decoded. dims is the declared number of array dimensions (attndims), info
// describes the type; only what concerns built-in types is known without it
// (its zero value makes any other type plain text). Anything that has no type
// of its own in the lake is PostgreSQL's exact text. It is pure.
func resolveColumn(oid uint32, typmod int32, dims int, info typeInfo, policy TypePolicy) columnType {
	t := resolve(oid, typmod, dims, info, policy, 0)
	if policy == PolicyText {
		return t.asText()
	}
	if t.hasStruct() {
		t.shape = shapeOf(info)
	}
	return t
}

// hasStruct reports whether values hold composites by their attributes.
func (t columnType) hasStruct() bool {
	return t.kind == kindStruct || slices.ContainsFunc(t.parts, columnType.hasStruct)
}

// resolve is resolveColumn for a type at a depth within another.
func resolve(oid uint32, typmod int32, dims int, info typeInfo, policy TypePolicy, depth int) columnType {
	// A domain is sent as its base type.
	if info.Kind == 'd' && info.Base != nil {
		info, typmod, dims = info.base(typmod, dims)
		oid = info.OID
	}
	t, ok := typedColumn(oid, typmod)
	if !ok {
		t = columnType{arrow: arrow.BinaryTypes.String, kind: kindText, text: textFuncs[oid]}
		switch {
		case depth > maxTypeDepth:
		case utf8Types[oid], info.Kind == 'e':
			t.kind, t.text = kindUTF8, appendSame
		case info.Elem != nil:
			t = listColumn(dims, info, policy, depth)
		case info.Kind == 'c':
			t = structColumn(info, policy, depth)
		case info.Kind == 'r' && info.Sub != nil:
			t = rangeColumn(resolve(info.Sub.OID, -1, 0, *info.Sub, policy, depth+1))
		case info.Kind == 'm' && info.Sub != nil:
			t = multirangeColumn(resolve(info.Sub.OID, -1, 0, *info.Sub, policy, depth+1))
		case info.Extension != "":
			t = extensionColumn(info)
		}
	}
	t.noSend, t.policy = info.NoSend, policy
	return t
}

// asText is the column that holds the exact text of all of t's values.
func (t columnType) asText() columnType {
	switch t.kind {
	case kindUTF8, kindJSONB, kindUUID, kindChar, kindText:
		t.policy = PolicyText
		return t
	}
	return columnType{arrow: arrow.BinaryTypes.String, kind: kindText, text: t.text, noSend: t.noSend, policy: PolicyText}
}

// sends reports whether a value that holds one of t can be sent in binary, and
// printed from there.
func (t columnType) sends() bool { return copyBinary(t) }

func listOf(elem arrow.DataType) arrow.DataType {
	return arrow.ListOfField(arrow.Field{Name: "element", Type: elem, Nullable: true})
}

// listColumn is an array. A column that is declared with more than one
// dimension is text as a whole, so that all of its values look alike.
func listColumn(dims int, info typeInfo, policy TypePolicy, depth int) columnType {
	elem := resolve(info.Elem.OID, -1, 0, *info.Elem, policy, depth+1)
	t := columnType{kind: kindList, parts: []columnType{elem}, delim: info.ElemDelim}
	if t.delim == 0 {
		t.delim = ','
	}
	if elem.sends() {
		text, delim := elem.text, t.delim
		t.text = func(dst, v []byte) ([]byte, error) { return appendArray(dst, v, text, delim) }
	}
	if dims > 1 {
		return t.asText()
	}
	t.arrow = listOf(elem.arrowType())
	return t
}

// structColumn is a composite. One without attributes, or whose attributes'
// names no struct of the lake can have, is text.
func structColumn(info typeInfo, policy TypePolicy, depth int) columnType {
	t := columnType{kind: kindStruct}
	var fields []arrow.Field
	binary, seen, fit := true, map[string]bool{}, len(info.Fields) > 0
	for _, f := range info.Fields {
		part := resolve(f.Type.OID, f.TypMod, f.Dims, *f.Type, policy, depth+1)
		part.oid = f.Type.OID
		binary = binary && part.sends()
		t.parts = append(t.parts, part)
		fields = append(fields, arrow.Field{Name: f.Name, Type: part.arrowType(), Nullable: true})
		low := strings.ToLower(f.Name)
		fit = fit && !seen[low] && !strings.ContainsAny(f.Name, forbiddenInFields)
		seen[low] = true
	}
	if binary {
		parts := t.parts
		t.text = func(dst, v []byte) ([]byte, error) { return appendRecord(dst, v, parts) }
	}
	if !fit {
		return t.asText()
	}
	t.arrow = arrow.StructOf(fields...)
	return t
}

// forbiddenInFields cannot stand in the name of a column or field of the lake.
const forbiddenInFields = " ,;{}()\n\t="

// The fields of a range. A bound that is null is infinite; an empty range has
// neither bound.
const (
	rangeLower = iota
	rangeUpper
	rangeLowerInclusive
	rangeUpperInclusive
	rangeEmpty
)

func rangeColumn(bound columnType) columnType {
	t := columnType{kind: kindRange, parts: []columnType{bound}}
	yes := arrow.FixedWidthTypes.Boolean
	t.arrow = arrow.StructOf(
		arrow.Field{Name: "lower", Type: bound.arrowType(), Nullable: true},
		arrow.Field{Name: "upper", Type: bound.arrowType(), Nullable: true},
		arrow.Field{Name: "lower_inclusive", Type: yes, Nullable: true},
		arrow.Field{Name: "upper_inclusive", Type: yes, Nullable: true},
		arrow.Field{Name: "empty", Type: yes, Nullable: true},
	)
	if bound.sends() {
		t.text = func(dst, v []byte) ([]byte, error) { return appendRange(dst, v, bound.text) }
	}
	return t
}

func multirangeColumn(of columnType) columnType {
	t := columnType{kind: kindMultirange, parts: []columnType{of}, arrow: listOf(of.arrowType())}
	if of.sends() {
		t.text = func(dst, v []byte) ([]byte, error) { return appendMultirange(dst, v, of.text) }
	}
	return t
}

// extensionColumn knows the types of the usual extensions; those of others are
// text, and make a stream come as text.
func extensionColumn(info typeInfo) columnType {
	utf8 := columnType{arrow: arrow.BinaryTypes.String, kind: kindUTF8, text: appendSame}
	text := func(f textFunc) columnType {
		return columnType{arrow: arrow.BinaryTypes.String, kind: kindText, text: f}
	}
	switch info.Extension + "." + info.Name {
	case "citext.citext":
		return utf8
	case "hstore.hstore":
		m := arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String)
		m.SetItemNullable(true)
		part := columnType{arrow: arrow.BinaryTypes.String, kind: kindUTF8, text: appendSame}
		return columnType{arrow: m, kind: kindHstore, text: appendHstore, parts: []columnType{part, part}}
	case "vector.vector", "vector.halfvec":
		t := columnType{kind: kindVector, text: appendVector, parts: []columnType{{arrow: arrow.PrimitiveTypes.Float32, kind: kindFloat32, text: textFloat4}}}
		if info.Name == "halfvec" {
			t.kind, t.text = kindHalfvec, appendHalfvec
		}
		t.arrow = listOf(arrow.PrimitiveTypes.Float32)
		return t
	case "vector.sparsevec":
		return text(appendSparsevec)
	case "postgis.geometry", "postgis.geography":
		return columnType{arrow: arrow.BinaryTypes.Binary, kind: kindWKB, text: textWKB}
	case "ltree.ltree", "ltree.lquery", "ltree.ltxtquery":
		return text(textVersioned)
	case "cube.cube":
		return text(appendCube)
	}
	return text(nil)
}

// typedColumn gives the built-in types that the lake has too.
func typedColumn(oid uint32, typmod int32) (columnType, bool) {
	if oid == oidNumeric {
		p, s, ok := numericModifier(typmod)
		if !ok || p > maxDecimalPrecision || s < 0 || s > p {
			return columnType{}, false
		}
		return columnType{
			arrow: &arrow.Decimal128Type{Precision: p, Scale: s}, kind: kindDecimal, precision: p, scale: s, text: textNumeric,
		}, true
	}
	t, ok := typedColumns[oid]
	return t, ok
}

var typedColumns = map[uint32]columnType{
	oidBool:        {arrow: arrow.FixedWidthTypes.Boolean, kind: kindBool, text: textBool},
	oidInt2:        {arrow: arrow.PrimitiveTypes.Int16, kind: kindInt16, text: textInt},
	oidInt4:        {arrow: arrow.PrimitiveTypes.Int32, kind: kindInt32, text: textInt},
	oidInt8:        {arrow: arrow.PrimitiveTypes.Int64, kind: kindInt64, text: textInt},
	oidFloat4:      {arrow: arrow.PrimitiveTypes.Float32, kind: kindFloat32, text: textFloat4},
	oidFloat8:      {arrow: arrow.PrimitiveTypes.Float64, kind: kindFloat64, text: textFloat8},
	oidDate:        {arrow: arrow.FixedWidthTypes.Date32, kind: kindDate, text: textDate},
	oidTimestamp:   {arrow: arrowTimestamp, kind: kindTimestamp, text: textTimestamp},
	oidTimestamptz: {arrow: arrowTimestamptz, kind: kindTimestamptz, text: textTimestamptz},
	oidUUID:        {arrow: arrow.BinaryTypes.String, kind: kindUUID, text: textUUID},
	oidBytea:       {arrow: arrow.BinaryTypes.Binary, kind: kindBytes, text: textBytea},
	oidChar:        {arrow: arrow.BinaryTypes.String, kind: kindChar, text: textChar},
	oidJSONB:       {arrow: arrow.BinaryTypes.String, kind: kindJSONB, text: textVersioned},
	oidOID:         {arrow: arrow.PrimitiveTypes.Int64, kind: kindUint32, text: textUint32},
	oidXID:         {arrow: arrow.PrimitiveTypes.Int64, kind: kindUint32, text: textUint32},
	oidCID:         {arrow: arrow.PrimitiveTypes.Int64, kind: kindUint32, text: textUint32},
	oidXID8:        {arrow: arrowXID8, kind: kindUint64, precision: 20, text: textUint64},
}

// numericModifier reads numeric's typmod; not ok where none was declared.
// Since PostgreSQL 15 the scale is eleven signed bits.
func numericModifier(typmod int32) (precision, scale int32, ok bool) {
	if typmod < 4 {
		return 0, 0, false
	}
	m := typmod - 4
	return m >> 16 & 0xffff, (m&0x7ff ^ 1024) - 1024, true
}

// shapeOf gives [cdc.Column.Shape]: the composites within a type, by the
// numbers, names and types of their attributes. The numbers tell an attribute
// that was dropped and added again from one that stayed. Before the colon
// stand the numbers of fields: see mistakable.
func shapeOf(info typeInfo) string {
	var fields, all strings.Builder
	writeShape(&fields, &all, info, 0)
	sum := sha256.Sum256([]byte(all.String()))
	return fields.String() + ":" + hex.EncodeToString(sum[:8])
}

func writeShape(fields, all *strings.Builder, t typeInfo, depth int) {
	if depth > maxTypeDepth {
		return
	}
	if t.Kind == 'c' {
		fmt.Fprintf(fields, "/%d", len(t.Fields))
		fmt.Fprintf(all, "(%d", t.OID)
		for _, f := range t.Fields {
			fmt.Fprintf(all, " %d %q %d %d %d", f.Num, f.Name, f.Type.OID, f.TypMod, f.Dims)
		}
		all.WriteByte(')')
	}
	for _, in := range []*typeInfo{t.Base, t.Elem, t.Sub} {
		if in != nil {
			writeShape(fields, all, *in, depth+1)
		}
	}
	for _, f := range t.Fields {
		writeShape(fields, all, *f.Type, depth+1)
	}
}

// mistakable reports whether a value of one shape can be taken for one of
// another: the composites have as many fields as before, but other ones.
func mistakable(a, b string) bool {
	if a == b || a == "" || b == "" {
		return false
	}
	x, _, _ := strings.Cut(a, ":")
	y, _, _ := strings.Cut(b, ":")
	return x == y
}
