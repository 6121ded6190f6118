package postgres

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// render writes a stored value as a literal that PostgreSQL reads: the way
// back from the lake, made from nothing but what is stored and the type.
func render(a arrow.Array, i int, typ columnType) string {
	switch a := a.(type) {
	case *array.Boolean:
		return strconv.FormatBool(a.Value(i))
	case *array.Int16:
		return strconv.Itoa(int(a.Value(i)))
	case *array.Int32:
		return strconv.Itoa(int(a.Value(i)))
	case *array.Int64:
		return strconv.FormatInt(a.Value(i), 10)
	case *array.Float32:
		return floatLiteral(float64(a.Value(i)), 32)
	case *array.Float64:
		return floatLiteral(a.Value(i), 64)
	case *array.Decimal128:
		return a.Value(i).ToString(a.DataType().(*arrow.Decimal128Type).Scale)
	case *array.Date32:
		return a.Value(i).ToTime().Format("2006-01-02")
	case *array.Timestamp:
		text := a.Value(i).ToTime(arrow.Microsecond).Format("2006-01-02 15:04:05.999999")
		if typ.kind == kindTimestamptz {
			text += "+00"
		}
		return text
	case *array.String:
		return a.Value(i)
	case *array.Binary:
		if typ.kind == kindWKB {
			return hex.EncodeToString(a.Value(i))
		}
		return `\x` + hex.EncodeToString(a.Value(i))
	case *array.Map:
		return renderMap(a, i)
	case *array.List:
		return renderList(a, i, typ)
	case *array.Struct:
		return renderStruct(a, i, typ)
	}
	panic(fmt.Sprintf("no literal for %s", a.DataType()))
}

func floatLiteral(f float64, size int) string {
	return strings.Replace(strconv.FormatFloat(f, 'g', -1, size), "Inf", "Infinity", 1)
}

func quotedLiteral(s string) string {
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(s) + `"`
}

func renderMap(a *array.Map, i int) string {
	from, to := a.ValueOffsets(i)
	var parts []string
	for j := int(from); j < int(to); j++ {
		value := "NULL"
		if !a.Items().IsNull(j) {
			value = quotedLiteral(a.Items().(*array.String).Value(j))
		}
		parts = append(parts, quotedLiteral(a.Keys().(*array.String).Value(j))+"=>"+value)
	}
	return strings.Join(parts, ", ")
}

func renderList(a *array.List, i int, typ columnType) string {
	from, to := a.ValueOffsets(i)
	var parts []string
	for j := int(from); j < int(to); j++ {
		part := "NULL"
		if !a.ListValues().IsNull(j) {
			part = render(a.ListValues(), j, typ.parts[0])
			if typ.kind == kindList {
				part = quotedLiteral(part)
			}
		}
		parts = append(parts, part)
	}
	switch typ.kind {
	case kindVector, kindHalfvec:
		return "[" + strings.Join(parts, ",") + "]"
	case kindList:
		return "{" + strings.Join(parts, string(typ.delim)) + "}"
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func renderStruct(a *array.Struct, i int, typ columnType) string {
	part := func(j int, typ columnType) string {
		if a.Field(j).IsNull(i) {
			return ""
		}
		return quotedLiteral(render(a.Field(j), i, typ))
	}
	if typ.kind == kindRange {
		flag := func(j int) bool { return a.Field(j).(*array.Boolean).Value(i) }
		if flag(rangeEmpty) {
			return "empty"
		}
		open, shut := "(", ")"
		if flag(rangeLowerInclusive) {
			open = "["
		}
		if flag(rangeUpperInclusive) {
			shut = "]"
		}
		return open + part(rangeLower, typ.parts[0]) + "," + part(rangeUpper, typ.parts[0]) + shut
	}
	var parts []string
	for j := range typ.parts {
		parts = append(parts, part(j, typ.parts[j]))
	}
	return "(" + strings.Join(parts, ",") + ")"
}
