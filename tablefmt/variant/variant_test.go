package variant

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// made is a value that a Builder makes.
func made(build func(b *Builder)) []byte {
	b := new(Builder)
	build(b)
	return b.Bytes()
}

// metadataOf is a dictionary of names, with offsets of a width.
func metadataOf(width int, names ...string) []byte {
	b := appendUnsigned([]byte{metadataVersion | byte(width-1)<<6}, len(names), width)
	at := 0
	for _, n := range names {
		b = appendUnsigned(b, at, width)
		at += len(n)
	}
	return append(appendUnsigned(b, at, width), strings.Join(names, "")...)
}

func decimal(text string, scale int32) decimal128.Num {
	v, err := decimal128.FromString(text, 38, scale)
	if err != nil {
		panic(err)
	}
	return v
}

func TestJSONOfEveryType(t *testing.T) {
	day := func(y int, m time.Month, d int) int32 {
		return int32(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
	}
	for _, c := range []struct {
		build func(b *Builder)
		want  string
		head  byte // what the value begins with
	}{
		{func(b *Builder) { b.Null() }, `null`, 0},
		{func(b *Builder) { b.Bool(true) }, `true`, 1 << 2},
		{func(b *Builder) { b.Bool(false) }, `false`, 2 << 2},
		{func(b *Builder) { b.Int(-128) }, `-128`, 3 << 2},
		{func(b *Builder) { b.Int(128) }, `128`, 4 << 2},
		{func(b *Builder) { b.Int(-32769) }, `-32769`, 5 << 2},
		{func(b *Builder) { b.Int(math.MinInt64) }, `-9223372036854775808`, 6 << 2},
		{func(b *Builder) { b.Double(1e300) }, `1.0E300`, 7 << 2},
		{func(b *Builder) { b.Double(-2.5e-8) }, `-2.5E-8`, 7 << 2},
		{func(b *Builder) { b.Double(9999999.5) }, `9999999.5`, 7 << 2},
		{func(b *Builder) { b.Double(1e7) }, `1.0E7`, 7 << 2},
		{func(b *Builder) { b.Double(0.001) }, `0.001`, 7 << 2},
		{func(b *Builder) { b.Double(math.Copysign(0, -1)) }, `-0.0`, 7 << 2},
		{func(b *Builder) { b.Double(math.NaN()) }, `"NaN"`, 7 << 2},
		{func(b *Builder) { b.Double(math.Inf(-1)) }, `"-Infinity"`, 7 << 2},
		{func(b *Builder) { b.Float(0.1) }, `0.1`, 14 << 2},
		{func(b *Builder) { b.Float(float32(math.Inf(1))) }, `"Infinity"`, 14 << 2},
		{func(b *Builder) { b.Float(math.SmallestNonzeroFloat32) }, `1.4E-45`, 14 << 2},
		{func(b *Builder) { b.Double(math.SmallestNonzeroFloat64) }, `4.9E-324`, 7 << 2},
		{func(b *Builder) { b.Float(16777216) }, `1.6777216E7`, 14 << 2},
		{func(b *Builder) { b.Decimal(decimal("-1.10", 2), 2) }, `-1.1`, 8 << 2},
		{func(b *Builder) { b.Decimal(decimal("100", 0), 0) }, `100`, 8 << 2},
		{func(b *Builder) { b.Decimal(decimal("0.000", 3), 3) }, `0`, 8 << 2},
		{func(b *Builder) { b.Decimal(decimal("-9999999999.99", 2), 2) }, `-9999999999.99`, 9 << 2},
		{func(b *Builder) { b.Decimal(decimal("0.0000000001", 10), 10) }, `0.0000000001`, 9 << 2},
		{func(b *Builder) { b.Decimal(decimal("-99999999999999999999999999999999999999", 0), 0) }, `-99999999999999999999999999999999999999`, 10 << 2},
		{func(b *Builder) { b.Decimal(decimal("0.00000000000000000000000000000000000001", 38), 38) }, `0.00000000000000000000000000000000000001`, 10 << 2},
		{func(b *Builder) { b.Date(day(2024, 2, 29)) }, `"2024-02-29"`, 11 << 2},
		{func(b *Builder) { b.Date(day(1, 1, 1)) }, `"0001-01-01"`, 11 << 2},
		{func(b *Builder) { b.Date(day(0, 1, 1)) }, `"0000-01-01"`, 11 << 2},
		{func(b *Builder) { b.Date(day(-44, 3, 15)) }, `"-0044-03-15"`, 11 << 2},
		{func(b *Builder) { b.Date(day(10000, 1, 1)) }, `"+10000-01-01"`, 11 << 2},
		{func(b *Builder) { b.Date(math.MaxInt32) }, `"+5881580-07-11"`, 11 << 2},
		{func(b *Builder) { b.Timestamp(-1, true) }, `"1969-12-31 23:59:59.999999+00:00"`, 12 << 2},
		{func(b *Builder) { b.Timestamp(1_500_000, false) }, `"1970-01-01 00:00:01.5"`, 13 << 2},
		{func(b *Builder) { b.Timestamp(math.MinInt64, true) }, `"-290308-12-21 19:59:05.224192+00:00"`, 12 << 2},
		{func(b *Builder) { b.Binary([]byte{0, 255, 16}) }, `"AP8Q"`, 15 << 2},
		{func(b *Builder) { b.String(strings.Repeat("é", 31)) }, `"` + strings.Repeat("é", 31) + `"`, 62<<2 | 1},
		{func(b *Builder) { b.String(strings.Repeat("é", 32)) }, `"` + strings.Repeat("é", 32) + `"`, 16 << 2},
		{func(b *Builder) { b.String("\"\\/\n\r\t\b\f\x01\x1b\x7f\u2028€😀<>&") }, "\"\\\"\\\\/\\n\\r\\t\\b\\f\\u0001\\u001B\x7f\u2028€😀<>&\"", 24<<2 | 1},
		{func(b *Builder) { b.String("\xff") }, "\"\ufffd\"", 1<<2 | 1},
		{func(b *Builder) { b.Time(45_296_789_000) }, `"12:34:56.789"`, 17 << 2},
		{func(b *Builder) { b.TimestampNanos(-1, true) }, `"1969-12-31 23:59:59.999999999+00:00"`, 18 << 2},
		{func(b *Builder) { b.TimestampNanos(1, false) }, `"1970-01-01 00:00:00.000000001"`, 19 << 2},
		{func(b *Builder) { b.UUID([]byte("0123456789abcdef")) }, `"30313233-3435-3637-3839-616263646566"`, 20 << 2},
	} {
		v := made(c.build)
		require.Equal(t, c.head, v[0], c.want)
		got, err := AppendJSON(nil, NullMetadata, v)
		require.NoError(t, err, c.want)
		require.Equal(t, c.want, string(got))
		for n := range v { // each byte of it is needed
			require.ErrorIs(t, Check(NullMetadata, v[:n]), ErrCorrupt, c.want)
		}
	}
}

// TestObjects makes objects and arrays of all widths, out of order.
func TestObjects(t *testing.T) {
	for _, n := range []int{0, 1, 2, 255, 256, 70_000} {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("n%06d", i))
		}
		metadata := metadataOf(4, names...)
		b := new(Builder)
		outer := b.Open()
		b.Element(outer)
		m := b.Open()
		for i := n - 1; i >= 0; i-- {
			b.Member(m, i, []byte(names[i]))
			b.Int(int64(i))
		}
		require.NoError(t, b.CloseObject(m))
		for i := range n {
			b.Element(outer)
			b.Int(int64(i))
		}
		b.CloseArray(outer)
		got, err := AppendJSON(nil, metadata, b.Bytes())
		require.NoError(t, err)
		var back []any
		require.NoError(t, json.Unmarshal(got, &back))
		require.Len(t, back, n+1)
		require.Len(t, back[0], n)
		for i, name := range names {
			require.InDelta(t, i, back[0].(map[string]any)[name], 0)
			require.InDelta(t, i, back[i+1], 0)
		}
		require.True(t, bytes.HasPrefix(got, []byte(`[{`+map[bool]string{true: `"n000000":0`}[n > 0])), "names are in order")
	}
}

func TestTwoFieldsOfOneNameAreRefused(t *testing.T) {
	b := new(Builder)
	m := b.Open()
	for id := range 2 {
		b.Member(m, id, []byte("a"))
		b.Null()
	}
	require.ErrorIs(t, b.CloseObject(m), ErrCorrupt)
}

func TestFields(t *testing.T) {
	d, err := ParseMetadata(metadataOf(1, "b", "a"))
	require.NoError(t, err)
	b := new(Builder)
	m := b.Open()
	b.Member(m, 0, d.Name(0))
	b.String("x")
	b.Member(m, 1, d.Name(1))
	b.Int(300)
	require.NoError(t, b.CloseObject(m))
	var got []string
	require.NoError(t, d.Fields(b.Bytes(), func(id int, name, value []byte) error {
		got = append(got, fmt.Sprintf("%d %s %x", id, name, value))
		return nil
	}))
	require.Equal(t, []string{"1 a 102c01", "0 b 0578"}, got)
	require.ErrorIs(t, d.Fields(NullValue, nil), ErrCorrupt)
}

func TestDamage(t *testing.T) {
	names := metadataOf(1, "a", "b")
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		require.NoError(t, err)
		return b
	}
	for _, c := range []struct{ name, metadata, value string }{
		{"no metadata", "", "00"},
		{"another version", "020000", "00"},
		{"names that are not there", "01ff00", "00"},
		{"more names than bytes", "c1ffffffff00", "00"},
		{"offsets that go back", "0102 00 02 01 6162", "00"},
		{"an offset that is not 0", "0101 01 01 61", "00"},
		{"a name beyond the end", "0101 00 02 61", "00"},
		{"no value", "010000", ""},
		{"a field without a name", "", "02 01 02 00 01 00"},
		{"a field beyond the end", "", "02 01 00 01 01 00"},
		{"values beyond the end", "", "02 01 00 00 09 00"},
		{"more elements than bytes", "", "13 ffffffff 00 00"},
		{"values that share bytes", "", "03 02 00 00 01 00"},
		{"a decimal of scale 39", "", "20 27 00000000"},
		{"a time of a whole day", "", "44 0060ed1d14000000"},
		{"a text beyond the end", "", "40 02000000 61"},
		{"a text of 4 GiB", "", "40 ffffffff 61"},
	} {
		metadata := names
		if c.metadata != "" || c.name == "no metadata" {
			metadata = unhex(c.metadata)
		}
		require.ErrorIs(t, Check(metadata, unhex(c.value)), ErrCorrupt, c.name)
		_, err := AppendJSON(nil, metadata, unhex(c.value))
		require.ErrorIs(t, err, ErrCorrupt, c.name)
	}
	v := []byte{0}
	for range maxDepth + 1 {
		v = append(appendUnsigned(append([]byte{3<<2 | 3}, 1), 0, 4), append(appendUnsigned(nil, len(v), 4), v...)...)
	}
	require.ErrorIs(t, Check(NullMetadata, v), ErrCorrupt)
}

// TestSharedBytesCostNothing: arrays whose elements are all the same array, and
// so on, say little and would take for ever to print.
func TestSharedBytesCostNothing(t *testing.T) {
	v := []byte{0}
	for range 60 {
		head := []byte{3<<2 | 3, 100}
		for range 100 {
			head = appendUnsigned(head, 0, 4)
		}
		v = append(appendUnsigned(head, len(v), 4), v...)
	}
	began := time.Now()
	require.ErrorIs(t, Check(NullMetadata, v), ErrCorrupt)
	require.Less(t, time.Since(began), 5*time.Second)
}

func TestTypesOfTheFuture(t *testing.T) {
	future := []byte{21 << 2, 1, 2, 3}
	require.NoError(t, Check(NullMetadata, future))
	_, err := AppendJSON(nil, NullMetadata, future)
	require.ErrorIs(t, err, ErrUnknownType)
	require.NotErrorIs(t, err, ErrCorrupt)
}

func TestArray(t *testing.T) {
	b := array.NewExtensionBuilder(memory.DefaultAllocator, NewType())
	s := b.StorageBuilder().(*array.StructBuilder)
	for _, v := range [][]byte{{3 << 2, 7}, nil, {1 << 2}, {3 << 2}} {
		if v == nil {
			s.AppendNull()
			continue
		}
		s.Append(true)
		s.FieldBuilder(0).(*array.BinaryBuilder).Append(NullMetadata)
		s.FieldBuilder(1).(*array.BinaryBuilder).Append(v)
	}
	a := b.NewArray().(*Array)
	require.Equal(t, "7", a.ValueStr(0))
	require.Equal(t, "(null)", a.ValueStr(1))
	require.Contains(t, a.ValueStr(3), "damaged variant")
	part := array.NewSlice(a, 2, 3).(*Array)
	require.Equal(t, "true", part.ValueStr(0))
	both, err := array.Concatenate([]arrow.Array{part, a}, memory.DefaultAllocator)
	require.NoError(t, err)
	require.Equal(t, "true", both.(*Array).ValueStr(0))
	require.Equal(t, "7", both.(*Array).ValueStr(1))
	require.True(t, both.IsNull(2))
}

// FuzzCheck: whatever the bytes, there is an error or a text that is JSON.
func FuzzCheck(f *testing.F) {
	f.Add(NullMetadata, NullValue)
	f.Add(metadataOf(1, "a", "b"), []byte{2, 2, 0, 1, 0, 2, 4, 12, 1, 5, 'x'})
	f.Add(metadataOf(2, "a"), []byte{3, 1, 0, 2, 12, 1})
	f.Fuzz(func(t *testing.T, metadata, value []byte) {
		err := Check(metadata, value)
		text, printing := AppendJSON(nil, metadata, value)
		switch {
		case err != nil:
			require.ErrorIs(t, err, ErrCorrupt)
			require.Error(t, printing)
		case printing != nil:
			require.ErrorIs(t, printing, ErrUnknownType)
		case !json.Valid(text):
			t.Fatalf("%x %x is printed as %s", metadata, value, text)
		}
		if d, err := ParseMetadata(metadata); err == nil {
			err := d.Fields(value, func(int, []byte, []byte) error { return nil })
			require.True(t, err == nil || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnknownType))
		}
	})
}

// TestDamagedValues changes bytes of sound values: never a panic.
func TestDamagedValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		metadata := metadataOf(1, "a", "bb", "")
		b := new(Builder)
		var build func(depth int)
		build = func(depth int) {
			switch k := rapid.IntRange(0, 6).Draw(t, "kind"); {
			case k == 0 && depth < 4:
				m := b.Open()
				for range rapid.IntRange(0, 4).Draw(t, "n") {
					b.Element(m)
					build(depth + 1)
				}
				b.CloseArray(m)
			case k == 1 && depth < 4:
				m := b.Open()
				for i, name := range []string{"a", "bb", ""} {
					b.Member(m, i, []byte(name))
					build(depth + 1)
				}
				require.NoError(t, b.CloseObject(m))
			case k == 2:
				b.String(rapid.String().Draw(t, "text"))
			case k == 3:
				b.Decimal(decimal128.FromI64(rapid.Int64().Draw(t, "digits")), rapid.IntRange(0, 38).Draw(t, "scale"))
			case k == 4:
				b.Double(rapid.Float64().Draw(t, "float"))
			default:
				b.Int(rapid.Int64().Draw(t, "int"))
			}
		}
		build(0)
		v := b.Bytes()
		text, err := AppendJSON(nil, metadata, v)
		require.NoError(t, err)
		require.True(t, json.Valid(text), "%s", text)
		v[rapid.IntRange(0, len(v)-1).Draw(t, "at")] ^= byte(1 << rapid.IntRange(0, 7).Draw(t, "bit"))
		if Check(metadata, v) == nil {
			if text, err := AppendJSON(nil, metadata, v); err == nil {
				require.True(t, json.Valid(text), "%s", text)
			}
		}
	})
}
