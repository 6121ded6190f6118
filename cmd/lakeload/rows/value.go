// Package rows writes Arrow record batches for people and for other programs:
// as a table of text, JSON lines or CSV. Values look as PostgreSQL's
// row_to_json writes them: numbers with all their digits, times in ISO 8601,
// NaN and infinities as strings, bytes as "\x" and hexadecimal digits. A
// variant is JSON as Spark's to_json writes it, in every format.
package rows

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/tablefmt/variant"
)

const (
	layoutDate      = "2006-01-02"
	layoutTimestamp = "2006-01-02T15:04:05.999999999"
	layoutZone      = "-07:00"
)

// isNull says whether there is no value at i. Arrow's arrays of nulls say of
// none that it is one.
func isNull(a arrow.Array, i int) bool { return a.IsNull(i) || a.DataType().ID() == arrow.NULL }

// appendJSON appends the value at i as JSON.
func appendJSON(b []byte, a arrow.Array, i int) ([]byte, error) {
	if isNull(a, i) {
		return append(b, "null"...), nil
	}
	switch v := a.(type) {
	case *array.List:
		from, to := v.ValueOffsets(i)
		return appendList(b, v.ListValues(), from, to)
	case *array.LargeList:
		from, to := v.ValueOffsets(i)
		return appendList(b, v.ListValues(), from, to)
	case *array.Map:
		return appendMap(b, v, i)
	case *array.Struct:
		return appendStruct(b, v, i)
	case *variant.Array:
		metadata, value := v.Parts(i)
		return variant.AppendJSON(b, metadata, value)
	}
	text, literal, err := scalar(a, i)
	if err != nil {
		return b, err
	}
	if literal {
		return append(b, text...), nil
	}
	return appendString(b, text)
}

// appendText appends the value at i as it looks outside of JSON: strings
// bare, lists and the like as JSON. Nothing for null.
func appendText(b []byte, a arrow.Array, i int) ([]byte, error) {
	if isNull(a, i) {
		return b, nil
	}
	switch a.(type) {
	case *array.List, *array.LargeList, *array.Map, *array.Struct, *variant.Array:
		return appendJSON(b, a, i)
	}
	text, _, err := scalar(a, i)
	return append(b, text...), err
}

// Text is the value at i as it looks outside of JSON, "" for null.
func Text(a arrow.Array, i int) (string, error) {
	b, err := appendText(nil, a, i)
	return string(b), err
}

// scalar gives a value's text, and whether that is a JSON literal as it is.
func scalar(a arrow.Array, i int) (text string, literal bool, err error) {
	switch v := a.(type) {
	case *array.Boolean:
		return strconv.FormatBool(v.Value(i)), true, nil
	case *array.Int8:
		return strconv.FormatInt(int64(v.Value(i)), 10), true, nil
	case *array.Int16:
		return strconv.FormatInt(int64(v.Value(i)), 10), true, nil
	case *array.Int32:
		return strconv.FormatInt(int64(v.Value(i)), 10), true, nil
	case *array.Int64:
		return strconv.FormatInt(v.Value(i), 10), true, nil
	case *array.Float32:
		text, literal = float(float64(v.Value(i)), 32)
		return text, literal, nil
	case *array.Float64:
		text, literal = float(v.Value(i), 64)
		return text, literal, nil
	case *array.Decimal128:
		return v.Value(i).ToString(v.DataType().(*arrow.Decimal128Type).Scale), true, nil
	case *array.String:
		return v.Value(i), false, nil
	case *array.LargeString:
		return v.Value(i), false, nil
	case *array.Binary:
		return `\x` + hex.EncodeToString(v.Value(i)), false, nil
	case *array.LargeBinary:
		return `\x` + hex.EncodeToString(v.Value(i)), false, nil
	case *array.FixedSizeBinary:
		return `\x` + hex.EncodeToString(v.Value(i)), false, nil
	case *array.Date32:
		return v.Value(i).ToTime().Format(layoutDate), false, nil
	case *array.Timestamp:
		return timestamp(v, i), false, nil
	}
	return "", false, fmt.Errorf("values of type %s cannot be written", a.DataType())
}

func timestamp(v *array.Timestamp, i int) string {
	typ := v.DataType().(*arrow.TimestampType)
	t := v.Value(i).ToTime(typ.Unit)
	if typ.TimeZone == "" {
		return t.Format(layoutTimestamp)
	}
	return t.In(time.UTC).Format(layoutTimestamp + layoutZone)
}

func float(f float64, bits int) (text string, literal bool) {
	switch {
	case math.IsNaN(f):
		return "NaN", false
	case math.IsInf(f, 1):
		return "Infinity", false
	case math.IsInf(f, -1):
		return "-Infinity", false
	}
	return strconv.FormatFloat(f, 'g', -1, bits), true
}

func appendString(b []byte, s string) ([]byte, error) {
	text, err := json.Marshal(s)
	return append(b, text...), err
}

func appendList(b []byte, values arrow.Array, from, to int64) (_ []byte, err error) {
	b = append(b, '[')
	for j := from; j < to; j++ {
		if j > from {
			b = append(b, ',')
		}
		if b, err = appendJSON(b, values, int(j)); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

func appendMap(b []byte, m *array.Map, i int) (_ []byte, err error) {
	from, to := m.ValueOffsets(i)
	b = append(b, '{')
	for j := from; j < to; j++ {
		if j > from {
			b = append(b, ',')
		}
		name, err := Text(m.Keys(), int(j))
		if err != nil {
			return b, err
		}
		if b, err = appendString(b, name); err != nil {
			return b, err
		}
		if b, err = appendJSON(append(b, ':'), m.Items(), int(j)); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

func appendStruct(b []byte, s *array.Struct, i int) (_ []byte, err error) {
	fields := s.DataType().(*arrow.StructType).Fields()
	b = append(b, '{')
	for j, f := range fields {
		if j > 0 {
			b = append(b, ',')
		}
		if b, err = appendString(b, f.Name); err != nil {
			return b, err
		}
		if b, err = appendJSON(append(b, ':'), s.Field(j), i); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}
