package postgres

import (
	"github.com/apache/arrow-go/v18/arrow"
)

// typeInfo is what the catalogue says about a type: a row of pg_type and the
// types that it is made of. The zero value is a type that is not known.
type typeInfo struct {
	OID    uint32
	Schema string
	Name   string // typname
	Kind   byte   // typtype: b base, e enum, d domain, c composite, r range, m multirange, p pseudo
	// Category is typcategory ('A' for arrays, 'S' for strings, ...).
	Category byte
	// Extension is the extension that the type belongs to, or "".
	Extension string
	// NoSend says that the type has no binary form. pgoutput sends its values
	// as text in a binary stream, too, but an array or a composite of it
	// cannot be sent in binary at all.
	NoSend bool
	// Base is a domain's base type, which may be a domain too, and BaseTypmod
	// and BaseDims what the domain gives it (typtypmod, typndims).
	Base       *typeInfo
	BaseTypmod int32
	BaseDims   int
	// Elem is the element type of a true array type (the typarray of its
	// element); nil for everything else, fixed-length pseudo-arrays such as
	// point and name included. ElemDelim is the element's typdelim.
	Elem      *typeInfo
	ElemDelim byte
	// Sub is a range's subtype, and a multirange's range.
	Sub *typeInfo
	// Fields are a composite's attributes, in order, without those dropped.
	Fields []fieldInfo
}

// fieldInfo is an attribute of a composite type.
type fieldInfo struct {
	Num    int16 // never used again for another attribute
	Name   string
	Type   *typeInfo
	TypMod int32
	Dims   int // attndims
}

// maxTypeDepth bounds how deep types are made of one another, as a guard
// against a catalogue that is damaged.
const maxTypeDepth = 32

// base follows domains to the type that they stand for, and its modifier and
// declared dimensions: a domain's own count, a column of a domain has none.
func (t typeInfo) base(typmod int32, dims int) (typeInfo, int32, int) {
	for depth := 0; t.Kind == 'd' && t.Base != nil && depth < maxTypeDepth; depth++ {
		t, typmod, dims = *t.Base, t.BaseTypmod, t.BaseDims
	}
	return t, typmod, dims
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
	kindChar       // string; "char", a single byte
	kindUint32     // int64; oid, xid, cid
	kindUint64     // decimal(20,0); xid8
	kindWKB        // binary; PostGIS, whose text is the bytes in hexadecimal
	kindList       // list; an array of one dimension, its lower bound 1
	kindStruct     // struct; a composite
	kindRange      // struct of five fields, see rangeFields
	kindMultirange // list of kindRange
	kindHstore     // map of strings
	kindVector     // list of float32; pgvector's vector
	kindHalfvec    // list of float32; pgvector's halfvec
)

// columnType is how a column of a relation, or a part of its values, is
// decoded: into which Arrow type, and by which code from PostgreSQL's binary
// and text forms. The zero value is text that can only arrive as text.
type columnType struct {
	arrow arrow.DataType
	kind  kind
	// precision and scale of kindDecimal.
	precision, scale int32
	// text appends the exact text of a binary value; nil where the binary form
	// cannot be turned into PostgreSQL's text without asking the server.
	text textFunc
	// noSend says that values come as text in a binary stream, too.
	noSend bool
	// policy says what becomes of values that the type cannot hold.
	policy TypePolicy

	// parts are the types that the values are made of: a list's element, a
	// struct's fields, a range's bound, a multirange's range.
	parts []columnType
	oid   uint32 // of a part of a kindStruct: the attribute's type
	delim byte   // of kindList: between elements of the text form
	// shape is cdc.Column.Shape.
	shape string
}

// textFunc appends to dst what the type's output function prints for the
// value whose binary (send) form is v.
type textFunc func(dst, v []byte) ([]byte, error)

var (
	arrowTimestamp   = &arrow.TimestampType{Unit: arrow.Microsecond}
	arrowTimestamptz = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	arrowXID8        = &arrow.Decimal128Type{Precision: 20}
)

// arrowType is the type in which the source builds the column.
func (t columnType) arrowType() arrow.DataType {
	if t.arrow == nil {
		return arrow.BinaryTypes.String
	}
	return t.arrow
}

// binaryOK reports whether the column can be in a stream that is asked for in
// the binary format: what the server then sends is decoded to just what the
// text form is decoded to. A stream is asked for in binary only if this is so
// for all of its columns.
func binaryOK(t columnType) bool { return t.text != nil || t.noSend }

// copyBinary reports the same for a column of a COPY, which sends nothing as
// text by itself.
func copyBinary(t columnType) bool { return t.text != nil && !t.noSend }

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
	oidPoint       = 600
	oidLseg        = 601
	oidPath        = 602
	oidBox         = 603
	oidPolygon     = 604
	oidLine        = 628
	oidCircle      = 718
	oidInt2vector  = 22
	oidOIDvector   = 30
	oidSnapshot    = 2970 // txid_snapshot
	oidPGLSN       = 3220
	oidTSVector    = 3614
	oidTSQuery     = 3615
	oidJSONPath    = 4072
	oidPGSnapshot  = 5038
)

// utf8Types are sent as their text. (xml is, as long as the client's encoding
// is UTF8, which every connection of this package asks for.)
var utf8Types = map[uint32]bool{
	oidName: true, oidText: true, oidBpchar: true, oidVarchar: true, oidJSON: true, oidXML: true, oidUnknown: true,
}
