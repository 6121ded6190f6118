package postgres

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/cdc"
)

// walked decodes one value by the walk over a tuple.
func walked(typ columnType, form byte, v []byte) (*cdc.Batch, error) {
	rel := &cdc.Relation{Schema: "public", Name: "t", Columns: []cdc.Column{{Name: "v", Type: typ.arrowType()}}}
	b := newBatchBuilder(rel, []columnType{typ}, memory.DefaultAllocator)
	b.beginTxn(cdc.Txn{})
	w := &msgWriter{}
	w.field(form, v)
	rest, err := b.tuple(w.b, cdc.OpInsert, nil)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, errTrailing
	}
	b.endRow(cdc.OpInsert, 0)
	return b.finish(), nil
}

// appended decodes it by appendText or appendBinary.
func appended(typ columnType, form byte, v []byte) (*cdc.Batch, error) {
	rel := &cdc.Relation{Schema: "public", Name: "t", Columns: []cdc.Column{{Name: "v", Type: typ.arrowType()}}}
	b := newBatchBuilder(rel, []columnType{typ}, memory.DefaultAllocator)
	b.beginTxn(cdc.Txn{})
	add := b.appendBinary
	if form == valueText {
		add = b.appendText
	}
	if err := add(0, v); err != nil {
		return nil, err
	}
	b.endRow(cdc.OpInsert, 0)
	return b.finish(), nil
}

// sameEitherWay requires that the walk's short ways lead where the long ones do.
func sameEitherWay(t require.TestingT, typ columnType, form byte, v []byte) {
	what := fmt.Sprintf("kind %d, form %q, %q", typ.kind, form, v)
	a, err := walked(typ, form, v)
	b, err2 := appended(typ, form, v)
	require.Equal(t, err2 == nil, err == nil, "%s: %v, %v", what, err, err2)
	if err != nil {
		require.Equal(t, err2.Error(), err.Error(), what)
		return
	}
	sameValues(t, b, a, what)
}

// TestTupleIsAppend: what the walk over a tuple stores by itself is what the
// general code stores, at every edge of what it takes to be usual.
func TestTupleIsAppend(t *testing.T) {
	names := []string{"bool", "int2", "int4", "int8", "text", "numeric", "numeric(10,2)", "numeric(12,4)", "date", "timestamp", "timestamptz", "uuid", "bytea", "float4", "float8", "jsonb"}
	typeOf := func(name string) columnType {
		k := testTypes[name]
		return resolveType(k.oid, k.typmod, typeInfo{OID: k.oid, Kind: 'b'})
	}
	texts := []string{
		"", "-", "0", "-0", "7", "-7", "007", "+7", "2147483647", "2147483648", "-2147483648", "-2147483649", "999999999999999999", "9223372036854775807",
		"9223372036854775808", "-9223372036854775808", "1.5", "1.", ".5", "-.5", "1..5", "0.00", "0.000", "12345678.99", "123456789.99", "99999999.99", "100000000.00",
		"1.2345", "1.23456", "-0.01", "0.0000000000000000000", "NaN", "Infinity", "-Infinity", "infinity", "-infinity", "1e5", "t", "f", "true",
		"2024-02-29", "2024-13-01", "2024-00-10", "2024-01-32", "0001-01-01", "0000-01-01", "9999-12-31", "10000-01-01", "0044-03-15 BC", "2024-2-29", "2024/02/29", "1970-01-01x",
		"2024-02-29 23:59:59", "2024-02-29 23:59:59.1", "2024-02-29 23:59:59.123456", "2024-02-29 23:59:59.1234567", "2024-02-29 23:59:59.", "2024-02-29 24:00:00", "2024-02-29 23:59:60",
		"2024-02-29 23:59:59+00", "2024-02-29 23:59:59.5+00", "2024-02-29 23:59:59+01", "2024-02-29 23:59:59-00", "2024-02-29 23:59:59+00 BC", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00",
		"294276-12-31 23:59:59.999999+00", "2024-02-29T23:59:59", "2024-02-29 23:60:59", "+00", " 2024-02-29", "1fe01fe0-1fe0-1fe0-1fe0-1fe01fe01fe0", "\\x00ff", "\xff", "{}",
	}
	for _, name := range names {
		for _, v := range texts {
			sameEitherWay(t, typeOf(name), valueText, []byte(v))
		}
	}
	numbers := []string{"0", "1", "-1", "0.01", "-0.01", "0.0001", "0.00001", "9999", "10000", "99999999.99", "100000000.00", "12345678.9999", "1234.5600", "1e0"[:1], "99999999", "123456789012.34", "NaN", "Infinity", "-Infinity", "0.10", "1000000000000000000"}
	for _, name := range names {
		for _, n := range numbers {
			sameEitherWay(t, typeOf(name), valueBinary, numericBinary(n))
		}
		for size := range 18 {
			sameEitherWay(t, typeOf(name), valueBinary, make([]byte, size))
		}
		for _, n := range []int64{0, 1, -1, 1<<63 - 1, -1 << 63, (maxMicros - epochMicros), (maxMicros - epochMicros) + 1, (minMicros - epochMicros), (minMicros - epochMicros) - 1, 1<<63 - 1 - epochMicros, -1<<63 + epochMicros} {
			sameEitherWay(t, typeOf(name), valueBinary, be(8, n))
			sameEitherWay(t, typeOf(name), valueBinary, be(4, n))
		}
	}
	for day := minDay; day <= maxDay; day += 11 {
		text, _ := appendCivil(nil, day)
		got, ok := usualDate(text)
		require.True(t, ok, "%s", text)
		require.Equal(t, day, got, "%s", text)
	}
	rapid.Check(t, func(t *rapid.T) {
		typ := typeOf(rapid.SampledFrom(names).Draw(t, "type"))
		if rapid.Bool().Draw(t, "any precision") {
			p := rapid.Int32Range(1, 38).Draw(t, "precision")
			typ = resolveType(oidNumeric, p<<16|rapid.Int32Range(0, p).Draw(t, "scale")+4, typeInfo{})
		}
		n := drawNumeric(t)
		sameEitherWay(t, typ, valueText, []byte(n))
		sameEitherWay(t, typ, valueBinary, numericBinary(n))
		sameEitherWay(t, typ, valueBinary, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes"))
		sameEitherWay(t, typeOf("float8"), valueText, strconv.AppendFloat(nil, rapid.Float64().Draw(t, "float"), 'g', -1, 64))
		sameEitherWay(t, typeOf("float8"), valueText, []byte(rapid.StringMatching(`-?[0-9]{1,19}(\.[0-9]{1,19})?`).Draw(t, "plain float")))
		sameEitherWay(t, typ, valueText, []byte(rapid.StringMatching(`-?[0-9]{0,20}(\.[0-9]{0,20})?`).Draw(t, "number")))
		sameEitherWay(t, typ, valueText, []byte(rapid.StringMatching(`[0-9]{4,5}-[0-9]{2}-[0-9]{2}( [0-2][0-9]:[0-9]{2}:[0-9]{2}(\.[0-9]{0,7})?(\+0[0-9])?)?`).Draw(t, "time")))
	})
}

// TestIsASCII: one byte anywhere decides.
func TestIsASCII(t *testing.T) {
	for n := range 100 {
		v := []byte(strings.Repeat("x", n))
		require.True(t, isASCII(v))
		for i := range v {
			v[i] = 0x80
			require.False(t, isASCII(v), "%d of %d", i, n)
			v[i] = 'x'
		}
	}
}

// TestUUIDText against the format of the standard library.
func TestUUIDText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid")
		var got [uuidText]byte
		formatUUID(&got, v)
		require.Equal(t, fmt.Sprintf("%x-%x-%x-%x-%x", v[:4], v[4:6], v[6:8], v[8:10], v[10:]), string(got[:]))
	})
}

// FuzzUsual: no value is read in a short way otherwise than in the long one.
func FuzzUsual(f *testing.F) {
	names := []string{"bool", "int4", "int8", "text", "numeric(10,2)", "numeric(12,4)", "date", "timestamp", "timestamptz", "uuid", "float8"}
	for i := range names {
		for _, v := range []string{"2024-02-29 23:59:59.123456+00", "-12345.67", "2024-02-29", "t", "1fe01fe0-1fe0-1fe0-1fe0-1fe01fe01fe0"} {
			f.Add(byte(i), true, []byte(v))
		}
		f.Add(byte(i), false, numericBinary("-12345.67"))
		f.Add(byte(i), false, be(8, 1<<40))
		f.Add(byte(i), false, be(4, 7))
	}
	f.Fuzz(func(t *testing.T, which byte, text bool, v []byte) {
		k := testTypes[names[int(which)%len(names)]]
		form := byte(valueBinary)
		if text {
			form = valueText
		}
		sameEitherWay(t, resolveType(k.oid, k.typmod, typeInfo{OID: k.oid, Kind: 'b'}), form, v)
	})
}
