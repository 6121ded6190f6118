package postgres

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/cdc"
)

func builtin(oid uint32) *typeInfo { return &typeInfo{OID: oid, Kind: 'b'} }

func arrayInfo(elem *typeInfo) typeInfo {
	return typeInfo{OID: 9999, Kind: 'b', Category: 'A', Elem: elem, ElemDelim: ','}
}

// pairInfo is a composite (a int, b text).
func pairInfo() *typeInfo {
	return &typeInfo{OID: 70000, Kind: 'c', Fields: []fieldInfo{{Num: 1, Name: "a", Type: builtin(oidInt4), TypMod: -1}, {Num: 2, Name: "b", Type: builtin(oidText), TypMod: -1}}}
}

func recordBinary(fields ...any) []byte { // oid, value
	out := binary.BigEndian.AppendUint32(nil, uint32(len(fields)/2))
	for i := 0; i < len(fields); i += 2 {
		out = binary.BigEndian.AppendUint32(out, uint32(fields[i].(int)))
		v, _ := fields[i+1].([]byte)
		if v == nil {
			out = binary.BigEndian.AppendUint32(out, math.MaxUint32)
			continue
		}
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(v))), v...)
	}
	return out
}

// stored decodes one value and shows what is stored: the value, or its exact
// text after "exact:".
func stored(t *testing.T, typ columnType, form byte, v []byte) string {
	t.Helper()
	b := build(t, typ, form, []byte(nil), v, nil) // between others, whose slots must stay as they are
	defer b.Release()
	col := b.Rows.Column(0)
	require.True(t, col.IsNull(0) && col.IsNull(2))
	if len(b.Exact) > 0 {
		require.Equal(t, []cdc.Exact{{Row: 1, Text: b.Exact[0].Text}}, b.Exact)
		require.True(t, col.IsNull(1))
		require.Equal(t, 3, col.NullN())
		return "exact:" + b.Exact[0].Text
	}
	if col.IsNull(1) {
		return "null"
	}
	return col.ValueStr(1)
}

// A list holds what has one dimension, counts from 1 and has elements that
// its own type can hold. All else is exact text as a whole, and leaves nothing
// behind in the column.
func TestEdge55WhatAListHolds(t *testing.T) {
	num := &typeInfo{OID: 70001, Kind: 'd', Base: builtin(oidNumeric), BaseTypmod: 6<<16 | 2 + 4}
	for _, c := range []struct {
		elem *typeInfo
		text string
		want string // "": the text is kept as it is
	}{
		{builtin(oidInt4), "{}", "[]"},
		{builtin(oidInt4), "{1,NULL,-3}", "[1,null,-3]"},
		{builtin(oidInt4), "{NULL}", "[null]"},
		{builtin(oidInt4), "{{1,2},{3,4}}", ""},
		{builtin(oidInt4), "[0:1]={5,6}", ""},
		{builtin(oidText), `{a,"",NULL,"NULL","q\"\\","x y","{","}",",",é}`, `["a","",null,"NULL","q\"\\","x y","{","}",",","é"]`},
		{builtin(oidDate), "{2024-01-01,infinity}", ""},
		{builtin(oidDate), `{"0044-03-15 BC"}`, ""},
		{num, "{1.50,NaN}", ""},
		{num, "{1.50,-2.25}", `["1.5","-2.25"]`},
		{builtin(oidBool), "{t,f,NULL}", "[true,false,null]"},
		{builtin(oidInterval), `{"1 day",-00:00:01}`, `["1 day","-00:00:01"]`},
		{builtin(oidFloat8), "{0.1,NaN,-0,Infinity}", `[0.1,"NaN",-0,"+Inf"]`},
		{pairInfo(), `{"(1,\"x\"\" \\\\y\")","(,)",NULL,"(2,\"\")"}`, `[{"a":1,"b":"x\" \\y"},{"a":null,"b":null},null,{"a":2,"b":""}]`},
	} {
		got := stored(t, resolveType(9999, -1, arrayInfo(c.elem)), valueText, []byte(c.text))
		want := c.want
		if want == "" {
			want = "exact:" + c.text
		}
		require.Equal(t, want, got)
	}
	// A column that is declared with two dimensions is text as a whole, also
	// where a domain or an attribute declares it.
	two := arrayInfo(builtin(oidInt4))
	require.Equal(t, arrow.BinaryTypes.String, resolveColumn(9999, -1, 2, two, PolicyExact).arrowType())
	require.Equal(t, arrow.LIST, resolveColumn(9999, -1, 1, two, PolicyExact).arrowType().ID())
	require.Equal(t, arrow.LIST, resolveColumn(9999, -1, 0, two, PolicyExact).arrowType().ID())
	domain := typeInfo{OID: 70002, Kind: 'd', Base: &two, BaseTypmod: -1, BaseDims: 2}
	require.Equal(t, arrow.BinaryTypes.String, resolveColumn(70002, -1, 0, domain, PolicyExact).arrowType())
	box := typeInfo{OID: 1020, Kind: 'b', Elem: builtin(oidBox), ElemDelim: ';'}
	require.Equal(t, `["(1,2),(0,0)","(3,4),(3,4)"]`, stored(t, resolveType(1020, -1, box), valueText, []byte("{(1,2),(0,0);(3,4),(3,4)}")))
}

// A composite whose fields are not those that are believed becomes exact text.
func TestEdge54CompositeOfAnotherShape(t *testing.T) {
	typ := resolveType(70000, -1, *pairInfo())
	require.Equal(t, kindStruct, typ.kind)
	one := be(4, 7)
	for _, c := range []struct{ text, want string }{
		{`(7,x)`, `{"a":7,"b":"x"}`},
		{`(,)`, `{"a":null,"b":null}`},
		{`(7,"")`, `{"a":7,"b":""}`},
		{`(7,a]b)`, `{"a":7,"b":"a]b"}`},
		{`(7)`, "exact:(7)"},
		{`(7,x,)`, "exact:(7,x,)"},
		{`()`, "exact:()"},
		{`(x)`, "exact:(x)"},
		{`(x,7)`, "exact:(x,7)"},
		{`(2024-01-01,7)`, "exact:(2024-01-01,7)"},
	} {
		require.Equal(t, c.want, stored(t, typ, valueText, []byte(c.text)))
	}
	for _, c := range []struct {
		bin  []byte
		want string
	}{
		{recordBinary(oidInt4, one, oidText, []byte("x")), `{"a":7,"b":"x"}`},
		{recordBinary(oidInt4, nil, oidText, []byte("")), `{"a":null,"b":""}`},
		{recordBinary(oidInt4, one), "exact:(7)"},
		{recordBinary(oidInt4, one, oidInt4, one), "exact:(7,7)"},
		{recordBinary(oidText, []byte("x, "), oidInt4, one), `exact:("x, ",7)`},
		{recordBinary(oidInt4, one, oidText, nil, oidFloat8, be(8, int64(math.Float64bits(0.1)))), "exact:(7,,0.1)"},
		{recordBinary(), "exact:()"},
	} {
		require.Equal(t, c.want, stored(t, typ, valueBinary, c.bin))
	}
	// A field of a type that nobody knows can be printed by the server alone.
	b := newBatchBuilder(&cdc.Relation{Columns: []cdc.Column{{Name: "v", Type: typ.arrowType()}}}, []columnType{typ}, memory.DefaultAllocator)
	defer b.discard()
	b.beginTxn(cdc.Txn{})
	err := b.appendBinary(0, recordBinary(oidInt4, one, 80000, one))
	require.ErrorIs(t, err, errNeedsText)
	require.True(t, cdc.Retryable(err))
}

// What no struct of the lake can be called, or would be empty, is text.
func TestEdge54CompositesThatStayText(t *testing.T) {
	named := func(names ...string) typeInfo {
		info := typeInfo{OID: 70000, Kind: 'c'}
		for i, n := range names {
			info.Fields = append(info.Fields, fieldInfo{Num: int16(i + 1), Name: n, Type: builtin(oidInt4), TypMod: -1})
		}
		return info
	}
	for _, info := range []typeInfo{named(), named("a b"), named("a", "A"), named("x=y")} {
		typ := resolveType(70000, -1, info)
		require.Equal(t, arrow.BinaryTypes.String, typ.arrowType())
		require.Empty(t, typ.shape, "text does not depend on the attributes")
		require.True(t, binaryOK(typ))
	}
	require.Equal(t, "()", stored(t, resolveType(70000, -1, named()), valueBinary, recordBinary()))
}

// The shape tells attributes apart by their numbers, and says which values can
// be mistaken.
func TestEdge54ShapesOfComposites(t *testing.T) {
	shape := func(change func(*typeInfo)) string {
		info := pairInfo()
		change(info)
		list := arrayInfo(info)
		return resolveType(list.OID, -1, list).shape
	}
	same := shape(func(*typeInfo) {})
	require.NotEmpty(t, same)
	again := shape(func(i *typeInfo) { i.Fields[0].Num = 3 })
	renamed := shape(func(i *typeInfo) { i.Fields[0].Name = "c" })
	more := shape(func(i *typeInfo) { i.Fields = append(i.Fields, fieldInfo{Num: 3, Name: "c", Type: builtin(oidInt4)}) })
	require.True(t, mistakable(same, again))
	require.True(t, mistakable(same, renamed))
	require.False(t, mistakable(same, more), "the number of fields tells")
	require.False(t, mistakable(same, same))
	require.NotEqual(t, same, more)
	text := resolveColumn(70000, -1, 0, *pairInfo(), PolicyText)
	require.Empty(t, text.shape)
}

func TestEdge54Ranges(t *testing.T) {
	ints := typeInfo{OID: 3904, Kind: 'r', Sub: builtin(oidInt4)}
	dates := typeInfo{OID: 3912, Kind: 'r', Sub: builtin(oidDate)}
	texts := typeInfo{OID: 70005, Kind: 'r', Sub: builtin(oidText)}
	many := typeInfo{OID: 70006, Kind: 'm', Sub: &texts}
	show := func(lower, upper, li, ui, empty string) string {
		return `{"empty":` + empty + `,"lower":` + lower + `,"lower_inclusive":` + li + `,"upper":` + upper + `,"upper_inclusive":` + ui + `}`
	}
	for _, c := range []struct {
		info       typeInfo
		text, want string
	}{
		{ints, "[1,5)", show("1", "5", "true", "false", "false")},
		{ints, "(,5)", show("null", "5", "false", "false", "false")},
		{ints, "(,)", show("null", "null", "false", "false", "false")},
		{ints, "empty", show("null", "null", "false", "false", "true")},
		{dates, "[2024-01-01,)", show(`"2024-01-01"`, "null", "true", "false", "false")},
		{dates, "[2024-01-01,infinity)", "exact:[2024-01-01,infinity)"},
		{texts, `("",")"]`, show(`""`, `")"`, "false", "true", "false")},
		{texts, `["a""\\b",empty)`, show(`"a\"\\b"`, `"empty"`, "true", "false", "false")},
		{many, "{}", "[]"},
		{many, `{[a,b),["c,]",)}`, "[" + show(`"a"`, `"b"`, "true", "false", "false") + "," + show(`"c,]"`, "null", "true", "false", "false") + "]"},
	} {
		require.Equal(t, c.want, stored(t, resolveType(c.info.OID, -1, c.info), valueText, []byte(c.text)), c.text)
	}
}

// TestEdge54WrongComposedText: what PostgreSQL would never print is refused.
func TestEdge54WrongComposedText(t *testing.T) {
	hstore := typeInfo{OID: 70007, Kind: 'b', Extension: "hstore", Name: "hstore"}
	vector := typeInfo{OID: 70008, Kind: 'b', Extension: "vector", Name: "vector"}
	ints := typeInfo{OID: 3904, Kind: 'r', Sub: builtin(oidInt4)}
	for _, c := range []struct {
		info  typeInfo
		texts []string
	}{
		{arrayInfo(builtin(oidInt4)), []string{"", "{", "{1", "{1,", "{,}", "{1}x", "1", "{1 2}", "{null}", `{"1`, "{a}"}},
		{*pairInfo(), []string{"", "(", "(1", "(1,x", `(1,"x)`, "(1,x)y", `(1,x"y")`, `(1,"\x")`}},
		{ints, []string{"", "[1,2", "1,2)", "[1)", "[a,b)", "[1,2)x", "Empty"}},
		{hstore, []string{`"a"`, `"a"=>`, `a=>"b"`, `"a"=>b`, `"a"=>"b",`, `"a"=>"b","c"=>"d"`, `"a"=>NULLx`}},
		{vector, []string{"", "[", "[1", "[1,", "[1,]", "[a]", "[1]x", "{1}"}},
	} {
		typ := resolveType(c.info.OID, -1, c.info)
		for _, s := range c.texts {
			b := newBatchBuilder(&cdc.Relation{Columns: []cdc.Column{{Name: "v", Type: typ.arrowType()}}}, []columnType{typ}, memory.DefaultAllocator)
			b.beginTxn(cdc.Txn{})
			require.Error(t, b.appendText(0, []byte(s)), "%d %q", c.info.OID, s)
			b.discard()
		}
	}
}

// TestNestedValuesLeaveNoMemory fills, rolls back and finishes nested columns
// over dirty memory: what could not be held leaves neither bits nor bytes.
func TestEdge55NestedNullsAndGrowth(t *testing.T) {
	mem := memory.NewCheckedAllocator(&dirtyAllocator{})
	defer mem.AssertSize(t, 0)
	bools := arrayInfo(builtin(oidBool))
	info := typeInfo{OID: 70009, Kind: 'c', Fields: []fieldInfo{
		{Num: 1, Name: "l", Type: &bools, TypMod: -1}, {Num: 2, Name: "d", Type: builtin(oidDate), TypMod: -1}, {Num: 3, Name: "t", Type: builtin(oidText), TypMod: -1},
	}}
	list := arrayInfo(&info)
	typ := resolveType(list.OID, -1, list)
	rapid.Check(t, func(t *rapid.T) {
		b := newBatchBuilder(&cdc.Relation{Columns: []cdc.Column{{Name: "v", Type: typ.arrowType()}}}, []columnType{typ}, mem)
		clean := newBatchBuilder(b.rel, []columnType{typ}, memory.DefaultAllocator)
		for range 2 {
			b.beginTxn(cdc.Txn{})
			clean.beginTxn(cdc.Txn{})
			for range rapid.IntRange(1, 100).Draw(t, "rows") {
				n := rapid.IntRange(0, 20).Draw(t, "n")
				const good, bad = `"(\"{t,f,t}\",2024-01-01,x)"`, `"(\"{t,t,t}\",infinity,x)"`
				elems := strings.Repeat(good+",", n)
				if rapid.Bool().Draw(t, "nulls") {
					elems = strings.Repeat(`NULL,"(,,)",`, n)
				}
				switch rapid.IntRange(0, 2).Draw(t, "what") {
				case 0:
					b.appendNull(0)
					clean.appendNull(0)
				case 1: // begun, and taken back
					text := "{" + elems + bad + "}"
					require.NoError(t, b.appendText(0, []byte(text)))
					clean.appendExact(0, text)
				default:
					text := []byte("{" + strings.TrimSuffix(elems, ",") + "}")
					require.NoError(t, b.appendText(0, text), "%s", text)
					require.NoError(t, clean.appendText(0, text))
				}
				b.endRow(cdc.OpInsert, 0)
				clean.endRow(cdc.OpInsert, 0)
			}
			x, y := b.finish(), clean.finish()
			sameValues(t, x, y, "taken back")
			x.Release()
			y.Release()
		}
	})
}

// Text that is not UTF-8 is refused wherever it stands, in both forms; also
// in a value that is kept as exact text.
func TestEdge56InvalidUTF8IsRefused(t *testing.T) {
	text := builtin(oidText)
	hstore := typeInfo{OID: 70007, Kind: 'b', Extension: "hstore", Name: "hstore"}
	bad := []byte("\xff")
	for _, c := range []struct {
		info typeInfo
		text string
		bin  []byte
	}{
		{*text, "\xff", bad},
		{arrayInfo(text), "{\xff}", arrayBinary([]int{1}, 1, bad)},
		{arrayInfo(text), "{{\xff}}", arrayBinary([]int{1, 1}, 1, bad)},
		{*pairInfo(), "(1,\xff)", recordBinary(oidInt4, be(4, 1), oidText, bad)},
		{*pairInfo(), "(\xff)", recordBinary(oidText, bad)},
		{hstore, "\"\xff\"=>NULL", append(be(4, 1), append(be(4, 1), 0xff, 0xff, 0xff, 0xff, 0xff)...)},
		{hstore, "\"a\"=>\"\xff\"", append(be(4, 1), append(be(4, 1), 'a', 0, 0, 0, 1, 0xff)...)},
	} {
		typ := resolveType(c.info.OID, -1, c.info)
		b := newBatchBuilder(&cdc.Relation{Columns: []cdc.Column{{Name: "v", Type: typ.arrowType()}}}, []columnType{typ}, memory.DefaultAllocator)
		b.beginTxn(cdc.Txn{})
		require.ErrorIs(t, b.appendText(0, []byte(c.text)), errUTF8, "%q", c.text)
		require.ErrorIs(t, b.appendBinary(0, c.bin), errUTF8, "%q", c.text)
		b.discard()
	}
}
