package postgres

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/lakeload/lakeload/cdc"
)

// keyKind is a type of key whose order at the server is reproduced here,
// exactly. Text is among them in the collation "C" alone.
type keyKind uint8

const (
	keyInt keyKind = iota
	keyText
	keyUUID
	keyBytes
	keyDate
	keyTimestamp
	keyTimestamptz
)

// keyKindOf gives the kind for a base type and the Arrow type in which its
// values come; not ok for a type whose order is not known here, or that the
// configuration has stored as something else.
func keyKindOf(oid uint32, in arrow.DataType) (k keyKind, ok bool) {
	switch id := in.ID(); oid {
	case oidInt2, oidInt4, oidInt8, oidOID:
		return keyInt, id == arrow.INT16 || id == arrow.INT32 || id == arrow.INT64
	case oidText, oidVarchar, oidName:
		return keyText, id == arrow.STRING
	case oidUUID:
		return keyUUID, id == arrow.STRING
	case oidBytea:
		return keyBytes, id == arrow.BINARY
	case oidDate:
		return keyDate, id == arrow.DATE32
	case oidTimestamp:
		return keyTimestamp, id == arrow.TIMESTAMP
	case oidTimestamptz:
		return keyTimestamptz, id == arrow.TIMESTAMP
	}
	return 0, false
}

// keyValue is a value of a key's column in a form that can be compared: as
// bytes, or as a number of days, microseconds or units. No value is NULL.
type keyValue struct {
	n int64
	b []byte
}

func (v keyValue) compare(o keyValue) int {
	return cmp.Or(cmp.Compare(v.n, o.n), bytes.Compare(v.b, o.b))
}

func compareKeys(a, b []keyValue) int {
	for i := range a {
		if c := a[i].compare(b[i]); c != 0 {
			return c
		}
	}
	return 0
}

// parseKeyValue reads PostgreSQL's text of a value.
func parseKeyValue(k keyKind, text []byte) (v keyValue, err error) {
	switch k {
	case keyInt:
		v.n, err = strconv.ParseInt(string(text), 10, 64)
	case keyText, keyUUID: // a UUID's digits are in the order of its bytes
		v.b = bytes.Clone(text)
	case keyBytes:
		if len(text) < 2 || string(text[:2]) != `\x` {
			return v, errFormat
		}
		v.b, err = hex.DecodeString(string(text[2:]))
	case keyDate:
		v.n, err = parseDay(text)
	default:
		v.n, err = parseMicros(text, k == keyTimestamptz)
	}
	return v, err
}

// parseDay reads a date's text as days since 1970.
func parseDay(text []byte) (int64, error) {
	if isInfinity(text) {
		return infinite(text), nil
	}
	day, rest, err := parseCivil(text)
	if err == nil && len(rest) > 0 {
		err = errFormat
	}
	return day, err
}

func infinite(text []byte) int64 {
	if text[0] == '-' {
		return math.MinInt64
	}
	return math.MaxInt64
}

// parseMicros reads a timestamp's text as microseconds since 2000: those since
// 1970 would not reach far enough.
func parseMicros(text []byte, zoned bool) (int64, error) {
	if isInfinity(text) {
		return infinite(text), nil
	}
	day, rest, err := parseCivil(text)
	if err != nil || len(rest) < 9 || rest[0] != ' ' {
		return 0, errFormat
	}
	clock, rest, err := parseClock(rest[1:])
	if err != nil {
		return 0, err
	}
	zone := int64(0)
	if zoned {
		if zone, rest, err = parseZone(rest); err != nil {
			return 0, err
		}
	}
	if len(rest) > 0 {
		return 0, errFormat
	}
	return (day-epochDays)*microsPerDay + clock - zone*microsPerSecond, nil
}

// keyValueAt reads the value of a column of a batch. One that the column
// cannot hold is in the batch's exact texts.
func keyValueAt(k keyKind, b *cdc.Batch, col, row int) (keyValue, error) {
	a := b.Rows.Column(col)
	if a.IsNull(row) {
		text, ok := exactAt(b, col, row)
		if !ok {
			return keyValue{}, fmt.Errorf("the key column %q of %s is null", b.Relation.Columns[col].Name, b.Relation)
		}
		return parseKeyValue(k, []byte(text))
	}
	switch a := a.(type) {
	case *array.Int64:
		return keyValue{n: a.Value(row)}, nil
	case *array.Int32:
		return keyValue{n: int64(a.Value(row))}, nil
	case *array.Int16:
		return keyValue{n: int64(a.Value(row))}, nil
	case *array.String:
		return keyValue{b: []byte(a.Value(row))}, nil
	case *array.Binary:
		return keyValue{b: a.Value(row)}, nil
	case *array.Date32:
		return keyValue{n: int64(a.Value(row))}, nil
	case *array.Timestamp:
		return keyValue{n: int64(a.Value(row)) - epochMicros}, nil
	}
	return keyValue{}, fmt.Errorf("the key column %q of %s is a %s, whose order is not known", b.Relation.Columns[col].Name, b.Relation, a.DataType())
}

// exactAt finds the exact text of a value.
func exactAt(b *cdc.Batch, col, row int) (string, bool) {
	i, ok := slices.BinarySearchFunc(b.Exact, [2]int{row, col}, func(e cdc.Exact, at [2]int) int {
		return cmp.Or(cmp.Compare(e.Row, at[0]), cmp.Compare(e.Col, at[1]))
	})
	if !ok {
		return "", false
	}
	return b.Exact[i].Text, true
}

// keyText is PostgreSQL's text of a value of a batch.
func keyTextAt(k keyKind, b *cdc.Batch, col, row int) (string, error) {
	if b.Rows.Column(col).IsNull(row) {
		text, ok := exactAt(b, col, row)
		if !ok {
			return "", fmt.Errorf("the key column %q of %s is null", b.Relation.Columns[col].Name, b.Relation)
		}
		return text, nil
	}
	v, err := keyValueAt(k, b, col, row)
	if err != nil {
		return "", err
	}
	switch k {
	case keyInt:
		return strconv.FormatInt(v.n, 10), nil
	case keyBytes:
		return `\x` + hex.EncodeToString(v.b), nil
	case keyDate:
		return string(appendDate(nil, int32(v.n-epochDays))), nil
	case keyTimestamp, keyTimestamptz:
		return string(appendTimestamp(nil, v.n, k == keyTimestamptz)), nil
	}
	return string(v.b), nil
}
