package postgres

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// fuzzTypes are types of all kinds that are made of others, and all that are
// printed from a binary form.
func fuzzTypes() []columnType {
	dates := typeInfo{OID: 3912, Kind: 'r', Sub: builtin(oidDate)}
	texts := typeInfo{OID: 70005, Kind: 'r', Sub: builtin(oidText)}
	num := &typeInfo{OID: 70001, Kind: 'd', Base: builtin(oidNumeric), BaseTypmod: 6<<16 | 2 + 4}
	pairs := arrayInfo(pairInfo())
	deep := typeInfo{OID: 70010, Kind: 'c', Fields: []fieldInfo{
		{Num: 1, Name: "r", Type: &dates, TypMod: -1}, {Num: 2, Name: "p", Type: &pairs, TypMod: -1}, {Num: 3, Name: "n", Type: num, TypMod: -1},
	}}
	infos := []typeInfo{
		arrayInfo(builtin(oidInt4)), arrayInfo(builtin(oidText)), arrayInfo(num), arrayInfo(builtin(oidBytea)), *pairInfo(), pairs, deep, arrayInfo(&deep), dates, texts,
		{OID: 70006, Kind: 'm', Sub: &texts},
		{OID: 70006, Kind: 'm', Sub: &dates},
		{OID: 1020, Kind: 'b', Elem: builtin(oidBox), ElemDelim: ';'},
	}
	for _, name := range [][2]string{{"hstore", "hstore"}, {"vector", "vector"}, {"vector", "halfvec"}, {"vector", "sparsevec"}, {"postgis", "geometry"}, {"cube", "cube"}, {"ltree", "ltree"}} {
		infos = append(infos, typeInfo{OID: 70020, Kind: 'b', Extension: name[0], Name: name[1]})
	}
	for oid := range textFuncs {
		infos = append(infos, *builtin(oid))
	}
	for oid := range typedColumns {
		infos = append(infos, *builtin(oid))
	}
	var types []columnType
	for _, i := range infos {
		for _, policy := range []TypePolicy{PolicyExact, PolicyClamp} {
			types = append(types, resolveColumn(i.OID, -1, 0, i, policy))
		}
	}
	return types
}

// fuzzSeeds are real values in both forms.
var fuzzSeeds = []struct{ text, bin string }{
	{"{1,NULL,3}", "0000000100000001000000170000000300000001000000040000000100000000ffffffff0000000400000003"},
	{`{"a b",NULL,"q\"\\"}`, "000000010000000100000019000000030000000100000003612062ffffffff0000000371225c"},
	{`(1,"x "" \\")`, "000000020000001700000004000000010000001900000005782022205c"},
	{"[2024-01-01,)", "0a0000000400002253"},
	{`{[a,b),("c,","")}`, "00000002" + "0000000b020000000161000000016200" + "0000000c00000000026362"},
	{`"a"=>"1", "b"=>NULL`, "000000020000000161000000013100000001" + "62ffffffff"},
	{"[1,2.5]", "000200003f80000040200000"},
	{"0101000000000000000000F03F0000000000000040", "0101000000000000000000f03f0000000000000040"},
	{"'a':1A,2 'b'", "00000002610000" + "02c0010002620000" + "00"},
	{"'a' & !'b':*", "000000040202020101000162000201000061" + "00"},
	{`("[2024-01-01,2024-02-01)","{""(1,x)""}",1.50)`, "00000003" + "00000f4800000011" + "02000000040000225300000004000022720000270f0000000000"},
	{"((0,0),(1,1))", "0000000200000000000000000000000000000000" + "3ff00000000000003ff0000000000000"},
	{"1.50", "0002000000000002000113880000"},
	{"0044-03-15 BC", "fff4fde9"},
}

// FuzzComposedValues decodes anything as any type, in both forms: it never
// panics, takes memory in proportion to what it is given, and leaves the
// column as if the value had not been there when it cannot be stored.
func FuzzComposedValues(f *testing.F) {
	types := fuzzTypes()
	for i := range types {
		for k, s := range fuzzSeeds {
			if (i+k)%7 != 0 { // the rest is for the fuzzer to find
				continue
			}
			f.Add(i, []byte(s.text), true)
			f.Add(i, unhex(s.bin[:len(s.bin)&^1]), false)
		}
	}
	f.Fuzz(func(t *testing.T, which int, v []byte, text bool) {
		if which < 0 {
			which = -(which + 1)
		}
		typ := types[which%len(types)]
		mem := &liveAllocator{}
		defer func() { require.Zero(t, mem.live, "memory is given back") }()
		b := newBatchBuilder(&cdc.Relation{Columns: []cdc.Column{{Name: "v", Type: typ.arrowType()}}}, []columnType{typ}, mem)
		defer b.discard()
		b.beginTxn(cdc.Txn{})
		before := mem.live
		var err error
		if text {
			err = b.appendText(0, v)
		} else {
			err = b.appendBinary(0, v)
		}
		require.LessOrEqual(t, mem.live-before, 64*len(v)+1<<19, "memory is in proportion; ten bytes of numeric can print 131,072 digits")
		if err != nil {
			return
		}
		b.endRow(cdc.OpInsert, 0)
		b.appendNull(0)
		b.endRow(cdc.OpInsert, 1)
		out := b.finish()
		defer out.Release()
		col := out.Rows.Column(0)
		require.True(t, col.IsNull(1))
		require.Equal(t, col.IsNull(0), len(out.Exact) > 0 || typ.policy == PolicyClamp && col.IsNull(0))
		_ = col.ValueStr(0) // walks over all that is there
		if text && len(out.Exact) == 1 {
			require.Equal(t, string(v), out.Exact[0].Text)
		}
	})
}

// liveAllocator counts the bytes that are not given back.
type liveAllocator struct {
	memory.GoAllocator
	live int
}

func (a *liveAllocator) Allocate(n int) []byte {
	a.live += n
	return a.GoAllocator.Allocate(n)
}

func (a *liveAllocator) Reallocate(n int, b []byte) []byte {
	a.live += n - len(b)
	return a.GoAllocator.Reallocate(n, b)
}

func (a *liveAllocator) Free(b []byte) { a.live -= len(b) }
