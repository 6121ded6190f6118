package postgres

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/cdc"
)

// build decodes values, each a row of one column, in one of the two forms.
func build(t require.TestingT, typ columnType, form byte, values ...[]byte) *cdc.Batch {
	rel := &cdc.Relation{Schema: "public", Name: "t", Columns: []cdc.Column{{Name: "v", Type: typ.arrowType()}}}
	b := newBatchBuilder(rel, []columnType{typ}, memory.DefaultAllocator)
	b.beginTxn(cdc.Txn{})
	for i, v := range values {
		var err error
		switch {
		case v == nil:
			b.appendNull(0)
		case form == valueText:
			err = b.appendText(0, v)
		default:
			err = b.appendBinary(0, v)
		}
		require.NoError(t, err, "value %q", v)
		b.endRow(cdc.OpInsert, int64(i))
	}
	return b.finish()
}

// sameValues requires that two batches hold the same bytes.
func sameValues(t require.TestingT, a, b *cdc.Batch, what string) {
	require.Equal(t, a.Exact, b.Exact, what)
	require.Equal(t, a.Len(), b.Len(), what)
	for i := range int(a.Rows.NumCols()) {
		require.True(t, arrow.TypeEqual(a.Rows.Column(i).DataType(), b.Rows.Column(i).DataType()), what)
		sameBuffers(t, a.Rows.Column(i).Data(), b.Rows.Column(i).Data(), what)
	}
}

func sameBuffers(t require.TestingT, a, b arrow.ArrayData, what string) {
	require.Equal(t, a.Len(), b.Len(), what)
	require.Equal(t, a.NullN(), b.NullN(), what)
	x, y := a.Buffers(), b.Buffers()
	require.Equal(t, len(x), len(y), what)
	for k := range x {
		require.Equal(t, x[k] == nil, y[k] == nil, "%s: buffer %d", what, k)
		if x[k] != nil {
			require.Equal(t, append([]byte{}, x[k].Bytes()...), append([]byte{}, y[k].Bytes()...), "%s: buffer %d", what, k)
		}
	}
	require.Equal(t, len(a.Children()), len(b.Children()), what)
	for k := range a.Children() {
		sameBuffers(t, a.Children()[k], b.Children()[k], what)
	}
}

func be(size int, v int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(v))[8-size:]
}

// numericBinary makes numeric's binary form from text, the long way round.
func numericBinary(s string) []byte {
	special := map[string]uint16{"NaN": numericNaN, "Infinity": numericPInf, "-Infinity": numericNInf}
	if sign, ok := special[s]; ok {
		return []byte{0, 0, 0, 0, byte(sign >> 8), byte(sign), 0, 0}
	}
	sign := 0
	if s[0] == '-' {
		sign, s = numericNeg, s[1:]
	}
	whole, frac, _ := strings.Cut(s, ".")
	scale := len(frac)
	whole = strings.Repeat("0", (4-len(whole)%4)%4) + whole
	frac += strings.Repeat("0", (4-len(frac)%4)%4)
	weight := len(whole)/4 - 1
	all := whole + frac
	for strings.HasPrefix(all, "0000") {
		all, weight = all[4:], weight-1
	}
	for strings.HasSuffix(all, "0000") {
		all = all[:len(all)-4]
	}
	if all == "" {
		sign, weight = 0, 0
	}
	w := &msgWriter{}
	w.u16(len(all) / 4)
	w.u16(weight)
	w.u16(sign)
	w.u16(scale)
	for ; all != ""; all = all[4:] {
		n, _ := strconv.Atoi(all[:4])
		w.u16(n)
	}
	return w.b
}

func drawNumeric(t *rapid.T) string {
	s := rapid.StringMatching(`-?(0|[1-9][0-9]{0,42})(\.[0-9]{1,40})?`).Draw(t, "numeric")
	if strings.Trim(s, "-0.") == "" {
		s = strings.TrimPrefix(s, "-") // there is no negative zero
	}
	if rapid.IntRange(0, 30).Draw(t, "special") == 0 {
		return rapid.SampledFrom([]string{"NaN", "Infinity", "-Infinity"}).Draw(t, "which")
	}
	return s
}

func TestEdge52NumericTextIsBinary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawNumeric(t)
		bin := numericBinary(s)
		text, err := textNumeric(nil, bin)
		require.NoError(t, err)
		require.Equal(t, s, string(text))

		p := rapid.Int32Range(1, 38).Draw(t, "precision")
		scale := rapid.Int32Range(0, p).Draw(t, "scale")
		typ := resolveType(oidNumeric, p<<16|scale+4, typeInfo{})
		require.Equal(t, kindDecimal, typ.kind)
		a, b := build(t, typ, valueBinary, bin), build(t, typ, valueText, []byte(s))
		sameValues(t, a, b, s)

		// The oracle: the value times 10^scale is whole and has at most p digits.
		r, ok := new(big.Rat).SetString(s)
		if ok {
			r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
			limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(p)), nil)
			ok = r.IsInt() && new(big.Int).Abs(r.Num()).Cmp(limit) < 0
		}
		if !ok {
			require.Equal(t, []cdc.Exact{{Text: s}}, a.Exact)
			return
		}
		require.Empty(t, a.Exact)
		require.Equal(t, r.Num().String(), a.Rows.Column(0).(*array.Decimal128).Value(0).BigInt().String())
	})
}

func TestEdge52NumericModifiers(t *testing.T) {
	modifier := func(p, s int32) int32 { return p<<16 | s&0x7ff + 4 }
	for _, c := range []struct {
		typmod int32
		kind   kind
	}{
		{-1, kindText},
		{modifier(38, 38), kindDecimal},
		{modifier(39, 0), kindText},
		{modifier(5, -2), kindText},
		{modifier(2, 5), kindText},
		{modifier(1, 0), kindDecimal},
		{modifier(1000, 1000), kindText},
	} {
		require.Equal(t, c.kind, resolveType(oidNumeric, c.typmod, typeInfo{}).kind, "%d", c.typmod)
	}
}

// pgTime is a timestamp as PostgreSQL prints it, by Go's own calendar.
func pgTime(micros int64, layout, zone string) string {
	u := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	days := micros / microsPerDay // time.Duration does not reach far enough
	u = u.AddDate(0, 0, int(days)).Add(time.Duration(micros%microsPerDay) * time.Microsecond)
	y, suffix := u.Year(), ""
	if y <= 0 {
		y, suffix = 1-y, " BC"
	}
	rest := u.Format(layout)
	if f := u.Nanosecond() / 1000; f > 0 && strings.Contains(layout, "04") {
		rest += "." + strings.TrimRight(fmt.Sprintf("%06d", f), "0")
	}
	return fmt.Sprintf("%04d", y) + rest + zone + suffix
}

func TestEdge53TimeTextIsBinary(t *testing.T) {
	const first, last = -211813488000000000, 9223371331199999999 // PostgreSQL's limits
	rapid.Check(t, func(t *rapid.T) {
		micros := rapid.OneOf(
			rapid.Int64Range(first, last),
			rapid.Int64Range(minMicros-epochMicros-5, minMicros-epochMicros+5),
			rapid.Int64Range(maxMicros-epochMicros-5, maxMicros-epochMicros+5),
			rapid.Int64Range(-5, 5), rapid.Int64Range(0, 1<<50),
		).Draw(t, "micros")
		for _, c := range []struct {
			oid  uint32
			zone string
		}{{oidTimestamp, ""}, {oidTimestamptz, "+00"}} {
			typ := resolveType(c.oid, -1, typeInfo{})
			text := pgTime(micros, "-01-02 15:04:05", c.zone)
			a, b := build(t, typ, valueBinary, be(8, micros)), build(t, typ, valueText, []byte(text))
			sameValues(t, a, b, text)
			in := micros >= minMicros-epochMicros && micros <= maxMicros-epochMicros
			require.Equal(t, in, len(a.Exact) == 0, text)
			if in {
				require.Equal(t, micros+epochMicros, int64(a.Rows.Column(0).(*array.Timestamp).Value(0)))
			} else {
				require.Equal(t, text, a.Exact[0].Text)
			}
		}
		day := rapid.Int64Range(-2451545, 2145031948).Draw(t, "day")
		typ := resolveType(oidDate, -1, typeInfo{})
		y, m, d := civilFromDays(day + epochDays)
		require.Equal(t, day+epochDays, daysFromCivil(y, m, d))
		text := string(appendDate(nil, int32(day)))
		sameValues(t, build(t, typ, valueBinary, be(4, day)), build(t, typ, valueText, []byte(text)), text)
	})
}

// TestOtherZones: the text form is understood whatever zone it is in.
func TestOtherZones(t *testing.T) {
	typ := resolveType(oidTimestamptz, -1, typeInfo{})
	want := build(t, typ, valueText, []byte("2024-01-01 00:00:00+00"))
	for _, s := range []string{"2024-01-01 05:30:00+05:30", "2023-12-31 16:00:00-08", "2024-01-01 00:19:32+00:19:32"} {
		sameValues(t, want, build(t, typ, valueText, []byte(s)), s)
	}
}

func TestScalarsTextIsBinary(t *testing.T) {
	uuid := bytes.Repeat([]byte{0x1f, 0xe0}, 8)
	f4, f8 := func(f float32) []byte { return be(4, int64(math.Float32bits(f))) }, func(f float64) []byte { return be(8, int64(math.Float64bits(f))) }
	negNaN := be(8, int64(math.Float64bits(math.NaN())|1<<63)) // what x86 computes
	for _, c := range []struct {
		oid  uint32
		bin  []byte
		text string
	}{
		{oidBool, []byte{1}, "t"},
		{oidBool, []byte{0}, "f"},
		{oidInt2, be(2, -32768), "-32768"},
		{oidInt2, be(2, 32767), "32767"},
		{oidInt4, be(4, math.MinInt32), "-2147483648"},
		{oidInt4, be(4, math.MaxInt32), "2147483647"},
		{oidInt8, be(8, math.MinInt64), "-9223372036854775808"},
		{oidInt8, be(8, math.MaxInt64), "9223372036854775807"},
		{oidFloat4, f4(0.1), "0.1"},
		{oidFloat4, f4(float32(math.Inf(-1))), "-Infinity"},
		{oidFloat4, f4(3.4028235e+38), "3.4028235e+38"},
		{oidFloat8, f8(math.Copysign(0, -1)), "-0"},
		{oidFloat8, f8(5e-324), "5e-324"},
		{oidFloat8, negNaN, "NaN"},
		{oidFloat8, f8(math.Inf(1)), "Infinity"},
		{oidText, []byte("é\n"), "é\n"},
		{oidText, []byte{}, ""},
		{oidBpchar, []byte("ab  "), "ab  "},
		{oidChar, []byte{'x'}, "x"},
		{oidChar, []byte{0}, ""},
		{oidChar, []byte{0xe9}, `\351`},
		{oidChar, []byte{0xe9}, "\xe9"},
		{oidBytea, []byte{0, 0xff, '\\'}, `\x00ff5c`},
		{oidBytea, []byte{}, `\x`},
		{oidUUID, uuid, "1fe01fe0-1fe0-1fe0-1fe0-1fe01fe01fe0"},
		{oidJSON, []byte(`{"a": 1}`), `{"a": 1}`},
		{oidJSONB, []byte("\x01{\"a\": 1}"), `{"a": 1}`},
		{oidOID, be(4, 4294967295), "4294967295"},
		{oidXID8, be(8, -1), "18446744073709551615"},
		{oidTID, []byte{0, 0, 0, 7, 0, 3}, "(7,3)"},
		{oidTime, be(8, microsPerDay), "24:00:00"},
		{oidTime, be(8, 1), "00:00:00.000001"},
		{oidTime, be(8, 3723_500_000), "01:02:03.5"},
		{oidTimetz, append(be(8, 0), be(4, -19800)...), "00:00:00+05:30"},
		{oidTimetz, append(be(8, 0), be(4, 8*3600)...), "00:00:00-08"},
		{oidTimetz, append(be(8, 0), be(4, -(19*60+32))...), "00:00:00+00:19:32"},
		{oidInterval, make([]byte, 16), "00:00:00"},
		{oidInterval, interval(-14, 3, -3723_000_001), "-1 years -2 mons +3 days -01:02:03.000001"},
		{oidInterval, interval(13, -1, 3600_000_000), "1 year 1 mon -1 days +01:00:00"},
		{oidInterval, interval(0, 0, math.MinInt64), "-2562047788:00:54.775808"},
		{oidInterval, interval(0, 1, 0), "1 day"},
		{oidInterval, interval(math.MaxInt32, math.MaxInt32, math.MaxInt64), "infinity"},
		{oidInet, unhex("02200004c0a80001"), "192.168.0.1"},
		{oidInet, unhex("02180004c0a80001"), "192.168.0.1/24"},
		{oidCIDR, unhex("02200104c0a80001"), "192.168.0.1/32"},
		{oidInet, unhex("03800010" + "20010db8000000000000000000000001"), "2001:db8::1"},
		{oidInet, unhex("03800010" + "00000000000000000000000000000000"), "::"},
		{oidInet, unhex("03800010" + "00000000000000000000000000000001"), "::1"},
		{oidInet, unhex("03800010" + "00000000000000000000ffff01020304"), "::ffff:1.2.3.4"},
		{oidInet, unhex("03800010" + "00000000000000000000000001020304"), "::1.2.3.4"},
		{oidInet, unhex("03400010" + "fe800000000000010000000000000000"), "fe80:0:0:1::/64"},
		{oidMacaddr, unhex("08002b010203"), "08:00:2b:01:02:03"},
		{oidMacaddr8, unhex("08002b0102030405"), "08:00:2b:01:02:03:04:05"},
		{oidBit, unhex("00000009a580"), "101001011"},
		{oidVarbit, unhex("00000000"), ""},
	} {
		typ := resolveType(c.oid, -1, typeInfo{})
		require.True(t, binaryOK(typ), c.text)
		sameValues(t, build(t, typ, valueBinary, c.bin), build(t, typ, valueText, []byte(c.text)), fmt.Sprintf("oid %d %q", c.oid, c.text))
	}
}

func interval(months, days int32, micros int64) []byte {
	return append(append(be(8, micros), be(4, int64(days))...), be(4, int64(months))...)
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// arrayBinary makes an array's binary form; nil is NULL.
func arrayBinary(dims []int, lower int, elems ...[]byte) []byte {
	w := &msgWriter{}
	w.u32(uint32(len(dims)))
	w.u32(0)
	w.u32(0)
	for _, d := range dims {
		w.u32(uint32(d))
		w.u32(uint32(lower))
	}
	for _, e := range elems {
		if e == nil {
			w.u32(math.MaxUint32)
			continue
		}
		w.u32(uint32(len(e)))
		w.b = append(w.b, e...)
	}
	return w.b
}

func TestEdge55ArraysTextIsBinary(t *testing.T) {
	text, ints := typeInfo{OID: oidText, Kind: 'b'}, typeInfo{OID: oidInt4, Kind: 'b'}
	s := func(v string) []byte { return []byte(v) }
	for _, c := range []struct {
		elem typeInfo
		bin  []byte
		want string
	}{
		{text, arrayBinary(nil, 1), "{}"},
		{text, arrayBinary([]int{8}, 1, s("a"), s(""), nil, s("null"), s(`q"\`), s("x y"), s("{,}"), s("é")), `{a,"",NULL,"null","q\"\\","x y","{,}",é}`},
		{ints, arrayBinary([]int{2, 2}, 1, be(4, 1), be(4, 2), nil, be(4, -4)), "{{1,2},{NULL,-4}}"},
		{ints, arrayBinary([]int{2}, 0, be(4, 1), be(4, 2)), "[0:1]={1,2}"},
		{typeInfo{OID: oidBytea, Kind: 'b'}, arrayBinary([]int{1}, 1, s("\x01")), `{"\\x01"}`},
		{typeInfo{OID: oidNumeric, Kind: 'b'}, arrayBinary([]int{2}, 1, numericBinary("1.50"), numericBinary("NaN")), "{1.50,NaN}"},
		{typeInfo{OID: oidBool, Kind: 'b'}, arrayBinary([]int{2}, 1, []byte{1}, []byte{0}), "{t,f}"},
		{typeInfo{OID: oidTimestamp, Kind: 'b'}, arrayBinary([]int{1}, 1, be(8, 0)), `{"2000-01-01 00:00:00"}`},
		{typeInfo{OID: 70000, Kind: 'e'}, arrayBinary([]int{1}, 1, s("sad")), "{sad}"},
		{typeInfo{OID: 70001, Kind: 'd', Base: &ints}, arrayBinary([]int{1}, 1, be(4, 5)), "{5}"},
	} {
		typ := resolveType(9999, -1, typeInfo{Kind: 'b', Category: 'A', Elem: &c.elem, ElemDelim: ','})
		require.True(t, binaryOK(typ))
		sameValues(t, build(t, typ, valueBinary, c.bin), build(t, typ, valueText, []byte(c.want)), c.want)
	}
	for _, elem := range []typeInfo{{OID: 790, Kind: 'b'}, {OID: 70000, Kind: 'b'}, {OID: oidInt4, Kind: 'b', NoSend: true}} {
		require.False(t, binaryOK(resolveType(9999, -1, typeInfo{Kind: 'b', Category: 'A', Elem: &elem})), "%d", elem.OID)
	}
}

func TestDomains(t *testing.T) {
	numeric := typeInfo{OID: oidNumeric, Kind: 'b'}
	price := typeInfo{OID: 70000, Kind: 'd', Base: &numeric, BaseTypmod: 10<<16 | 2 + 4}
	list := typeInfo{OID: 70001, Kind: 'd', Base: &price, BaseTypmod: -1}
	typ := resolveType(70001, -1, list)
	require.Equal(t, kindDecimal, typ.kind)
	require.Equal(t, int32(2), typ.scale)
	require.False(t, binaryOK(resolveType(80000, -1, typeInfo{Kind: 'b', Extension: "unknown", Name: "t"})))
	require.True(t, binaryOK(resolveType(80000, -1, typeInfo{Kind: 'b', NoSend: true})), "it is sent as text")
	require.False(t, binaryOK(resolveType(80000, -1, typeInfo{})))
	require.True(t, binaryOK(resolveType(80000, -1, typeInfo{Kind: 'e'})))
}

// TestWrongText: what PostgreSQL would never print is refused, not guessed.
func TestWrongText(t *testing.T) {
	for oid, texts := range map[uint32][]string{
		oidBool: {"", "true", "1"}, oidInt2: {"32768", "-32769", "", "-", "+1", "1.0", " 1"}, oidInt4: {"2147483648"},
		oidInt8:   {"9223372036854775808", "-9223372036854775809", "99999999999999999999"},
		oidFloat8: {"", "nan", "inf", "0x1p4", "1_0", "1e999", "Inf"}, oidDate: {"", "2024-1-1", "24-01-01", "2024-13-01", "2024-01-01x", "-2024-01-01"},
		oidTimestamp: {"2024-01-01", "2024-01-01 00:00", "2024-01-01 00:00:00+00", "2024-01-01 00:00:00.", "999999-01-01 00:00:00"}, oidUUID: {"x"},
		oidBytea: {"", "abc", `\x0`, `\xzz`}, oidTimestamptz: {"2024-01-01 00:00:00", "2024-01-01 00:00:00+", "2024-01-01 00:00:00+0"},
	} {
		for _, s := range texts {
			typ := resolveType(oid, -1, typeInfo{})
			b := newBatchBuilder(&cdc.Relation{Columns: []cdc.Column{{Name: "v", Type: typ.arrowType()}}}, []columnType{typ}, memory.DefaultAllocator)
			b.beginTxn(cdc.Txn{})
			require.Error(t, b.appendText(0, []byte(s)), "oid %d %q", oid, s)
		}
	}
	for _, s := range []string{"", "-", ".5", "1.", "1..2", "1e5", "--1", "nan"} {
		_, _, _, err := parseDecimal([]byte(s), 2)
		require.Error(t, err, s)
	}
}

// dirtyAllocator gives memory that is not zero, as it may.
type dirtyAllocator struct{ memory.GoAllocator }

func (a *dirtyAllocator) Allocate(n int) []byte {
	return bytes.Repeat([]byte{0xff}, n)
}

func (a *dirtyAllocator) Reallocate(n int, b []byte) []byte {
	return append(b[:min(n, len(b)):min(n, len(b))], bytes.Repeat([]byte{0xff}, max(0, n-len(b)))...)
}

func TestNullsAndGrowth(t *testing.T) {
	mem := memory.NewCheckedAllocator(&dirtyAllocator{})
	defer mem.AssertSize(t, 0)
	types := []columnType{resolveType(oidInt4, -1, typeInfo{}), resolveType(oidText, -1, typeInfo{}), resolveType(oidBool, -1, typeInfo{})}
	rel := &cdc.Relation{Columns: []cdc.Column{{Name: "i", Type: types[0].arrowType()}, {Name: "t", Type: types[1].arrowType()}, {Name: "b", Type: types[2].arrowType()}}}
	b := newBatchBuilder(rel, types, mem)
	for round := range 2 {
		b.beginTxn(cdc.Txn{XID: 1})
		b.beginTxn(cdc.Txn{XID: 2}) // a transaction without rows leaves no span
		for i := range 1000 {
			if i%3 == 0 {
				b.appendNull(0)
				b.appendUnchanged(1)
				b.appendNull(2)
			} else {
				require.NoError(t, b.appendText(0, []byte(strconv.Itoa(i))))
				require.NoError(t, b.appendBinary(1, []byte(strings.Repeat("x", i%50))))
				require.NoError(t, b.appendBinary(2, []byte{byte(i % 2)}))
			}
			b.endRow(cdc.OpInsert, int64(i))
		}
		require.Greater(t, b.bytes(), int64(1000*20))
		out := b.finish()
		require.Equal(t, []cdc.TxnSpan{{First: 0, Txn: cdc.Txn{XID: 2}}}, out.Txns, "round %d", round)
		for i := range 1000 {
			null := i%3 == 0
			require.Equal(t, null, out.Rows.Column(0).IsNull(i))
			require.Equal(t, null, out.Rows.Column(1).IsNull(i))
			if !null {
				require.Equal(t, int32(i), out.Rows.Column(0).(*array.Int32).Value(i))
				require.Len(t, out.Rows.Column(1).(*array.String).Value(i), i%50)
				require.Equal(t, i%2 == 1, out.Rows.Column(2).(*array.Boolean).Value(i))
			}
		}
		require.Len(t, out.Unchanged[1], 334)
		require.Nil(t, out.Unchanged[0])
		require.Equal(t, 334, out.Rows.Column(0).NullN())
		out.Release()
	}
	require.Nil(t, b.finish())
}
