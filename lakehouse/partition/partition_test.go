package partition

import (
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Transform{
		"region":               {Column: "region"},
		" month( created_at )": {Func: Month, Column: "created_at"},
		"BUCKET(16, id)":       {Func: Bucket, N: 16, Column: "id"},
		"truncate(4,name)":     {Func: Truncate, N: 4, Column: "name"},
	} {
		got, err := Parse(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
		again, err := Parse(got.String())
		require.NoError(t, err)
		require.Equal(t, want, again)
	}
	for text, want := range map[string]string{
		"":                  "is empty",
		"week(created_at)":  `"week" is not known`,
		"month(4, c)":       "takes a column alone",
		"bucket(id)":        "takes a number from 1",
		"bucket(0, id)":     "takes a number from 1",
		"bucket(x, id)":     "takes a number from 1",
		"month(created_at":  "is no transform",
		"month()":           "is no transform",
		"lower(month(c))":   "is no transform",
		"bucket(16, id, x)": "is no transform",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, want, text)
	}
	_, err := ParseAll([]string{"bucket(4, id)", "region", "bucket(8, id)"})
	require.ErrorContains(t, err, `bucket(4, id) and bucket(8, id) would both be the column "id_bucket"`)
}

func TestResultRefusesUnsuitableTypes(t *testing.T) {
	for text, of := range map[string]tablefmt.Type{
		"x":              tablefmt.Double,
		"month(x)":       tablefmt.Long,
		"day(x)":         tablefmt.Date,
		"hour(x)":        tablefmt.Date,
		"bucket(4, x)":   tablefmt.Float,
		"truncate(4, x)": tablefmt.Date,
		"year(x)":        &tablefmt.Array{Element: tablefmt.Date},
	} {
		tr, err := Parse(text)
		require.NoError(t, err)
		_, err = tr.Result(of)
		require.ErrorContains(t, err, tr.String(), text)
	}
}

func one(t *testing.T, b array.Builder, add func()) arrow.Array {
	t.Helper()
	defer b.Release()
	add()
	return b.NewArray()
}

func text(s string) func(*testing.T) arrow.Array {
	return func(t *testing.T) arrow.Array {
		b := array.NewStringBuilder(memory.DefaultAllocator)
		return one(t, b, func() { b.Append(s) })
	}
}

func instant(us int64) func(*testing.T) arrow.Array {
	return func(t *testing.T) arrow.Array {
		b := array.NewTimestampBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"})
		return one(t, b, func() { b.Append(arrow.Timestamp(us)) })
	}
}

func long(v int64) func(*testing.T) arrow.Array {
	return func(t *testing.T) arrow.Array {
		b := array.NewInt64Builder(memory.DefaultAllocator)
		return one(t, b, func() { b.Append(v) })
	}
}

func decimal(precision, scale int32, s string) func(*testing.T) arrow.Array {
	return func(t *testing.T) arrow.Array {
		n, err := decimal128.FromString(s, precision, scale)
		require.NoError(t, err)
		b := array.NewDecimal128Builder(memory.DefaultAllocator, &arrow.Decimal128Type{Precision: precision, Scale: scale})
		return one(t, b, func() { b.Append(n) })
	}
}

// TestHashIsSparks compares with what Spark 4.1 gives for HASH of these values.
func TestHashIsSparks(t *testing.T) {
	for _, c := range []struct {
		value func(*testing.T) arrow.Array
		want  int32
	}{
		{func(t *testing.T) arrow.Array {
			b := array.NewInt32Builder(memory.DefaultAllocator)
			return one(t, b, func() { b.Append(1) })
		}, -559580957},
		{func(t *testing.T) arrow.Array {
			b := array.NewInt16Builder(memory.DefaultAllocator)
			return one(t, b, func() { b.Append(5) })
		}, 1023896466},
		{func(t *testing.T) arrow.Array {
			b := array.NewBooleanBuilder(memory.DefaultAllocator)
			return one(t, b, func() { b.Append(true) })
		}, -559580957},
		{func(t *testing.T) arrow.Array {
			b := array.NewInt32Builder(memory.DefaultAllocator)
			return one(t, b, func() { b.AppendNull() })
		}, 42},
		{func(t *testing.T) arrow.Array {
			b := array.NewDate32Builder(memory.DefaultAllocator)
			return one(t, b, func() { b.Append(arrow.Date32FromTime(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))) })
		}, -456589419},
		{func(t *testing.T) arrow.Array {
			b := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
			return one(t, b, func() { b.Append([]byte{1, 2, 0xff, 0x80}) })
		}, 1583063879},
		{long(1), -1712319331},
		{long(-1), -939490007},
		{instant(1700000000123456), -1935367823},
		{text("abc"), 1322437556},
		{text("äöüß€x"), 216729325},
		{text(""), 142593372},
		{text("abcdefgh"), -804741815},
		{text("abcdefghi"), -1830117711},
		{decimal(12, 2, "1.50"), -2056712946},
		{decimal(30, 2, "-123456789012345678901.5"), -1536112319},
		{decimal(20, 0, "128"), -544401882},
		{decimal(20, 0, "-1"), 1398487324},
	} {
		a := c.value(t)
		got, err := sparkHash(a, 0)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%s %s", a.DataType(), a.ValueStr(0))
		n, err := Transform{Func: Bucket, N: 16, Column: "c"}.Apply(a)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint((int64(c.want)%16+16)%16), n.ValueStr(0))
	}
}

func TestApply(t *testing.T) {
	for _, c := range []struct {
		by    string
		value func(*testing.T) arrow.Array
		want  string
	}{
		{"year(c)", instant(-1), "1969"},
		{"month(c)", instant(-1), "1969-12"},
		{"day(c)", instant(-1), "1969-12-31"},
		{"hour(c)", instant(-1), "1969-12-31-23"},
		{"hour(c)", instant(0), "1970-01-01-00"},
		{"truncate(4, c)", text("äöüß€x"), "äöüß"},
		{"truncate(4, c)", text("ab"), "ab"},
		{"truncate(4, c)", text(""), "(null)"},
		{"truncate(10, c)", long(-7), "-10"},
		{"truncate(10, c)", long(19), "10"},
		{"truncate(10, c)", long(-9223372036854775808), "-9223372036854775808"},
	} {
		tr, err := Parse(c.by)
		require.NoError(t, err)
		got, err := tr.Apply(c.value(t))
		require.NoError(t, err)
		require.Equal(t, c.want, got.ValueStr(0), c.by)
	}
}
