package tablefmt

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// FormatPartitionValue gives the text of row i of a as the protocol writes
// partition values, nil for null. (Partition Value Serialization) Instants
// are written in UTC with "T" and "Z", which no reader's time zone changes.
// An empty text or binary value is refused: every reader takes it for null.
// So is a binary value that is not UTF-8, which the log's JSON cannot hold.
func FormatPartitionValue(a arrow.Array, i int) (*string, error) {
	if a.IsNull(i) {
		return nil, nil
	}
	var s string
	switch a := a.(type) {
	case *array.String:
		s = strings.Clone(a.Value(i))
	case *array.Binary:
		s = string(a.Value(i))
	case *array.Int64:
		s = strconv.FormatInt(a.Value(i), 10)
	case *array.Int32:
		s = strconv.FormatInt(int64(a.Value(i)), 10)
	case *array.Int16:
		s = strconv.FormatInt(int64(a.Value(i)), 10)
	case *array.Int8:
		s = strconv.FormatInt(int64(a.Value(i)), 10)
	case *array.Float32:
		s = formatFloat(float64(a.Value(i)), 32)
	case *array.Float64:
		s = formatFloat(a.Value(i), 64)
	case *array.Boolean:
		s = strconv.FormatBool(a.Value(i))
	case *array.Date32:
		t := a.Value(i).ToTime()
		if t.Year() < 1 || t.Year() > 9999 {
			return nil, invalidf("date %s cannot be a partition value: its year is not of four digits", t.Format(time.DateOnly))
		}
		s = t.Format(time.DateOnly)
	case *array.Timestamp:
		return formatTimestamp(a, i)
	case *array.Decimal128:
		s = a.Value(i).ToString(a.DataType().(*arrow.Decimal128Type).Scale)
	default:
		return nil, invalidf("a column of type %s cannot partition a table", a.DataType())
	}
	if s == "" {
		return nil, invalidf("an empty text cannot be a partition value: readers take it for null; partition by a derived column")
	}
	if !utf8.ValidString(s) {
		return nil, invalidf("bytes that are not UTF-8 cannot be a partition value")
	}
	return &s, nil
}

func formatTimestamp(a *array.Timestamp, i int) (*string, error) {
	typ := a.DataType().(*arrow.TimestampType)
	if typ.Unit != arrow.Microsecond {
		return nil, invalidf("timestamps are in microseconds, not %s", typ.Unit)
	}
	t := time.UnixMicro(int64(a.Value(i))).UTC()
	if t.Year() < 1 || t.Year() > 9999 {
		return nil, invalidf("timestamp %s cannot be a partition value: its year is not of four digits", t)
	}
	layout := "2006-01-02 15:04:05.000000"
	if typ.TimeZone != "" {
		layout = "2006-01-02T15:04:05.000000Z"
	}
	s := t.Format(layout)
	return &s, nil
}

// formatFloat writes a number in Java's words, which Spark reads.
func formatFloat(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

// partitionAppender parses a partition value once and gives a function that
// appends it n times to a builder of the type's Arrow type. Null, and ” for
// any type, is null.
func partitionAppender(t Type, value *string) (func(b array.Builder, n int), error) {
	if value == nil || *value == "" {
		return func(b array.Builder, n int) { b.AppendNulls(n) }, nil
	}
	add, err := partitionValue(t, *value)
	if err != nil {
		return nil, fmt.Errorf("%q is no partition value of type %s: %w", *value, t, err)
	}
	return func(b array.Builder, n int) {
		for range n {
			add(b)
		}
	}, nil
}

func partitionValue(t Type, v string) (func(array.Builder), error) {
	if t != String && t != Binary {
		v = strings.TrimSpace(v)
	}
	if d, ok := t.(Decimal); ok {
		return decimalValue(d, v)
	}
	switch t {
	case String:
		return func(b array.Builder) { b.(*array.StringBuilder).Append(v) }, nil
	case Binary:
		return func(b array.Builder) { b.(*array.BinaryBuilder).AppendString(v) }, nil
	case Long:
		x, err := strconv.ParseInt(v, 10, 64)
		return func(b array.Builder) { b.(*array.Int64Builder).Append(x) }, err
	case Integer:
		x, err := strconv.ParseInt(v, 10, 32)
		return func(b array.Builder) { b.(*array.Int32Builder).Append(int32(x)) }, err
	case Short:
		x, err := strconv.ParseInt(v, 10, 16)
		return func(b array.Builder) { b.(*array.Int16Builder).Append(int16(x)) }, err
	case Byte:
		x, err := strconv.ParseInt(v, 10, 8)
		return func(b array.Builder) { b.(*array.Int8Builder).Append(int8(x)) }, err
	case Float:
		x, err := strconv.ParseFloat(v, 32)
		return func(b array.Builder) { b.(*array.Float32Builder).Append(float32(x)) }, err
	case Double:
		x, err := strconv.ParseFloat(v, 64)
		return func(b array.Builder) { b.(*array.Float64Builder).Append(x) }, err
	case Boolean:
		x, err := parseBoolean(v)
		return func(b array.Builder) { b.(*array.BooleanBuilder).Append(x) }, err
	case Date:
		x, err := parseDate(v)
		return func(b array.Builder) { b.(*array.Date32Builder).Append(arrow.Date32(x.Unix() / 86400)) }, err
	case Timestamp, TimestampNTZ:
		x, err := parseTimestamp(v, t == TimestampNTZ)
		return func(b array.Builder) { b.(*array.TimestampBuilder).Append(arrow.Timestamp(x.UnixMicro())) }, err
	}
	return nil, fmt.Errorf("a column of this type cannot partition a table")
}

// parseBoolean reads the words that Spark takes for one.
func parseBoolean(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true", "t", "yes", "y", "1":
		return true, nil
	case "false", "f", "no", "n", "0":
		return false, nil
	}
	return false, errors.New("it is no boolean")
}

func decimalValue(t Decimal, v string) (func(array.Builder), error) {
	// Java writes 0 of scale 18 as 0E-18; longer exponents fit no decimal and
	// would cost much memory.
	_, exponent, _ := strings.Cut(strings.ToUpper(v), "E")
	r, ok := new(big.Rat), false
	if len(v) <= 100 && len(exponent) <= 3 && !strings.ContainsAny(v, "/_xXpPbBoO") {
		r, ok = r.SetString(v)
	}
	if !ok {
		return nil, fmt.Errorf("it is no decimal number")
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Scale)), nil)))
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Precision)), nil)
	if !r.IsInt() || r.Num().CmpAbs(limit) >= 0 {
		return nil, fmt.Errorf("it does not fit")
	}
	x := decimal128.FromBigInt(r.Num())
	return func(b array.Builder) { b.(*array.Decimal128Builder).Append(x) }, nil
}
