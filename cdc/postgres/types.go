package postgres

import (
	"github.com/apache/arrow-go/v18/arrow"
)

// typeInfo is what the catalogue says about a type: a row of pg_type and the
// types that it is made of.
type typeInfo struct {
	OID    uint32
	Schema string
	Name   string // typname
	Kind   byte   // typtype: b base, e enum, d domain, c composite, r range, m multirange, p pseudo
	// Category is typcategory ('A' for arrays, 'S' for strings, ...).
	Category byte
	// Base is a domain's base type, which may be a domain too, and BaseTypmod
	// the modifier that the domain gives it (typtypmod).
	Base       *typeInfo
	BaseTypmod int32
	// Elem is the element type of a true array type (the typarray of its
	// element); nil for everything else, fixed-length pseudo-arrays such as
	// point and name included. ElemDelim is the element's typdelim.
	Elem      *typeInfo
	ElemDelim byte
}

// kind says how a column's values are decoded and stored.
type kind uint8

const (
	kindText  kind = iota // string; the binary form, if any, goes through columnType.text
	kindUTF8              // string; the binary form is the text itself
	kindJSONB             // string; the binary form is a version byte and the text
	kindBool
	kindInt16
	kindInt32
	kindInt64
	kindFloat32
	kindFloat64
	kindDecimal
	kindDate
	kindTimestamp
	kindTimestamptz
	kindUUID
	kindBytes
	kindChar // string; "char", a single byte
)

// columnType is how a column of a relation is decoded: into which Arrow type,
// and by which code from PostgreSQL's binary and text forms. The zero value is
// text that can only arrive as text.
type columnType struct {
	arrow arrow.DataType
	kind  kind
	// precision and scale of kindDecimal.
	precision, scale int32
	// text appends the exact text of a binary value of kindText; nil where
	// the binary form cannot be turned into PostgreSQL's text without asking
	// the server.
	text textFunc
}

// textFunc appends to dst what the type's output function prints for the
// value whose binary (send) form is v.
type textFunc func(dst, v []byte) ([]byte, error)

var (
	arrowTimestamp   = &arrow.TimestampType{Unit: arrow.Microsecond}
	arrowTimestamptz = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
)

// arrowType is the type in which the source builds the column.
func (t columnType) arrowType() arrow.DataType {
	if t.arrow == nil {
		return arrow.BinaryTypes.String
	}
	return t.arrow
}

// binaryOK reports whether PostgreSQL's binary form of the column's values can
// be decoded to just what their text form is decoded to. A stream, and a COPY,
// ask for the binary format only if this is so for all of their columns.
func binaryOK(t columnType) bool { return t.kind != kindText || t.text != nil }

// maxDecimalPrecision is the most digits that Delta's decimal holds.
const maxDecimalPrecision = 38

// resolveType decides how a column of type oid with modifier typmod is
// decoded. info describes the type; only what concerns built-in types is known
// without it (its zero value makes any other type plain text). Anything that
// has no type of its own in the lake is PostgreSQL's exact text.
func resolveType(oid uint32, typmod int32, info typeInfo) columnType {
	// A domain is sent as its base type. Its own modifier counts, a column of
	// a domain has none.
	for depth := 0; info.Kind == 'd' && info.Base != nil && depth < 32; depth++ {
		oid, typmod, info = info.Base.OID, info.BaseTypmod, *info.Base
	}
	if t, ok := typedColumn(oid, typmod); ok {
		return t
	}
	t := columnType{arrow: arrow.BinaryTypes.String, kind: kindText}
	switch {
	case utf8Types[oid], info.Kind == 'e', info.Kind == 'b' && info.Name == "citext":
		t.kind = kindUTF8
	case oid == oidNumeric:
		t.text = textNumeric
	case info.Elem != nil:
		t.text = arrayText(*info.Elem, info.ElemDelim)
	default:
		t.text = textFuncs[oid]
	}
	return t
}

// typedColumn gives the types that the lake has too.
func typedColumn(oid uint32, typmod int32) (columnType, bool) {
	switch oid {
	case oidBool:
		return columnType{arrow: arrow.FixedWidthTypes.Boolean, kind: kindBool}, true
	case oidInt2:
		return columnType{arrow: arrow.PrimitiveTypes.Int16, kind: kindInt16}, true
	case oidInt4:
		return columnType{arrow: arrow.PrimitiveTypes.Int32, kind: kindInt32}, true
	case oidInt8:
		return columnType{arrow: arrow.PrimitiveTypes.Int64, kind: kindInt64}, true
	case oidFloat4:
		return columnType{arrow: arrow.PrimitiveTypes.Float32, kind: kindFloat32}, true
	case oidFloat8:
		return columnType{arrow: arrow.PrimitiveTypes.Float64, kind: kindFloat64}, true
	case oidDate:
		return columnType{arrow: arrow.FixedWidthTypes.Date32, kind: kindDate}, true
	case oidTimestamp:
		return columnType{arrow: arrowTimestamp, kind: kindTimestamp}, true
	case oidTimestamptz:
		return columnType{arrow: arrowTimestamptz, kind: kindTimestamptz}, true
	case oidUUID:
		return columnType{arrow: arrow.BinaryTypes.String, kind: kindUUID}, true
	case oidBytea:
		return columnType{arrow: arrow.BinaryTypes.Binary, kind: kindBytes}, true
	case oidChar:
		return columnType{arrow: arrow.BinaryTypes.String, kind: kindChar}, true
	case oidJSONB:
		return columnType{arrow: arrow.BinaryTypes.String, kind: kindJSONB}, true
	case oidNumeric:
		p, s, ok := numericModifier(typmod)
		if !ok || p > maxDecimalPrecision || s < 0 || s > p {
			return columnType{}, false
		}
		return columnType{
			arrow: &arrow.Decimal128Type{Precision: p, Scale: s}, kind: kindDecimal, precision: p, scale: s,
		}, true
	}
	return columnType{}, false
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

// The built-in types' OIDs, which never change.
const (
	oidBool        = 16
	oidBytea       = 17
	oidChar        = 18
	oidName        = 19
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidOID         = 26
	oidTID         = 27
	oidXID         = 28
	oidCID         = 29
	oidJSON        = 114
	oidXML         = 142
	oidCIDR        = 650
	oidFloat4      = 700
	oidFloat8      = 701
	oidUnknown     = 705
	oidMacaddr8    = 774
	oidMacaddr     = 829
	oidInet        = 869
	oidBpchar      = 1042
	oidVarchar     = 1043
	oidDate        = 1082
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidInterval    = 1186
	oidTimetz      = 1266
	oidBit         = 1560
	oidVarbit      = 1562
	oidNumeric     = 1700
	oidUUID        = 2950
	oidJSONB       = 3802
	oidXID8        = 5069
)

// utf8Types are sent as their text. (xml is, as long as the client's encoding
// is UTF8, which every connection of this package asks for.)
var utf8Types = map[uint32]bool{
	oidName: true, oidText: true, oidBpchar: true, oidVarchar: true, oidJSON: true, oidXML: true, oidUnknown: true,
}
