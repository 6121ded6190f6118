package cdctest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/lakeload/lakeload/cdc"
)

// Row is a row by column names. A column that is not named is NULL. Values
// are int64 for integers, float64, string, bool, []byte, time.Time (UTC,
// microseconds) for timestamps, string for decimals, and Exact for a value
// that the column's Arrow type cannot hold; nil is NULL. Where a Row is given
// to the package other Go integers do too.
type Row map[string]any

// Exact is the source's text of a value that the column's type cannot hold:
// it travels in cdc.Batch.Exact, and the column is null.
type Exact string

// toastAt is the length in bytes from which a string is stored out of line,
// as in PostgreSQL with incompressible values.
const toastAt = 2000

func outOfLine(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) >= toastAt
	case []byte:
		return len(v) >= toastAt
	}
	return false
}

// normal gives the one Go type that a column's values have.
func normal(c *cdc.Column, v any) (any, error) {
	switch x := v.(type) {
	case nil, Exact:
		return v, nil
	case int:
		v = int64(x)
	case int16:
		v = int64(x)
	case int32:
		v = int64(x)
	case time.Time:
		v = x.UTC().Truncate(time.Microsecond)
	case []byte:
		v = slices.Clone(x)
	}
	if t, is := c.Type.(*arrow.Decimal128Type); is {
		text, _ := v.(string)
		n, err := decimal128.FromString(text, t.Precision, t.Scale)
		if err != nil {
			return nil, fmt.Errorf("column %s of type %s cannot hold the %T %v: %w", c.Name, c.Type, v, v, err)
		}
		return n.ToString(t.Scale), nil
	}
	ok := false
	switch c.Type.ID() {
	case arrow.INT16, arrow.INT32, arrow.INT64:
		_, ok = v.(int64)
	case arrow.FLOAT64:
		_, ok = v.(float64)
	case arrow.STRING:
		_, ok = v.(string)
	case arrow.BOOL:
		_, ok = v.(bool)
	case arrow.BINARY:
		_, ok = v.([]byte)
	case arrow.TIMESTAMP:
		_, ok = v.(time.Time)
	}
	if !ok {
		return nil, fmt.Errorf("column %s of type %s cannot hold the %T %v", c.Name, c.Type, v, v)
	}
	return v, nil
}

// appendValue puts a normal value into a column.
func appendValue(b array.Builder, v any) error {
	switch v := v.(type) {
	case nil, Exact:
		b.AppendNull()
		return nil
	case int64:
		switch b := b.(type) {
		case *array.Int16Builder:
			b.Append(int16(v))
			return nil
		case *array.Int32Builder:
			b.Append(int32(v))
			return nil
		case *array.Int64Builder:
			b.Append(v)
			return nil
		}
	case float64:
		if b, ok := b.(*array.Float64Builder); ok {
			b.Append(v)
			return nil
		}
	case bool:
		if b, ok := b.(*array.BooleanBuilder); ok {
			b.Append(v)
			return nil
		}
	case []byte:
		if b, ok := b.(*array.BinaryBuilder); ok {
			b.Append(v)
			return nil
		}
	case time.Time:
		if b, ok := b.(*array.TimestampBuilder); ok {
			ts, err := arrow.TimestampFromTime(v, b.Type().(*arrow.TimestampType).Unit)
			b.Append(ts)
			return err
		}
	case string:
		switch b := b.(type) {
		case *array.StringBuilder:
			b.Append(v)
			return nil
		case *array.Decimal128Builder:
			t := b.Type().(*arrow.Decimal128Type)
			n, err := decimal128.FromString(v, t.Precision, t.Scale)
			b.Append(n)
			return err
		}
	}
	return fmt.Errorf("a %T does not fit a column of type %s", v, b.Type())
}

// valueAt is the inverse of appendValue.
func valueAt(a arrow.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.Int16:
		return int64(a.Value(i))
	case *array.Int32:
		return int64(a.Value(i))
	case *array.Int64:
		return a.Value(i)
	case *array.Float64:
		return a.Value(i)
	case *array.Boolean:
		return a.Value(i)
	case *array.Binary:
		return slices.Clone(a.Value(i))
	case *array.String:
		return strings.Clone(a.Value(i))
	case *array.Decimal128:
		return a.Value(i).ToString(a.DataType().(*arrow.Decimal128Type).Scale)
	case *array.LargeString:
		return strings.Clone(a.Value(i))
	case *array.Timestamp:
		return a.Value(i).ToTime(a.DataType().(*arrow.TimestampType).Unit)
	}
	return a.ValueStr(i)
}

// text is unambiguous, for keys.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case Exact:
		return "exact " + quote(string(v))
	case string:
		return quote(v)
	case []byte:
		return fmt.Sprintf("%x", v)
	}
	return fmt.Sprint(v)
}

// quote is strconv.Quote, at less cost for what needs no escape.
func quote(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return strconv.Quote(s)
		}
	}
	return `"` + s + `"`
}

// Key is the text under which State files a row of the relation: the values
// of its key, or of all columns where it has none.
func Key(rel *cdc.Relation, row Row) string {
	var parts []string
	if len(rel.Key) > 0 {
		for _, k := range rel.Key {
			parts = append(parts, text(row[rel.Columns[k].Name]))
		}
	} else {
		for i := range rel.Columns {
			parts = append(parts, text(row[rel.Columns[i].Name]))
		}
	}
	return strings.Join(parts, ",")
}
