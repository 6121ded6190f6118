package lakehouse

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

func column[T any, B interface {
	array.Builder
	Append(T)
}](b B, values ...T) arrow.Array {
	for _, v := range values {
		b.Append(v)
	}
	return b.NewArray()
}

func TestKeyHashForms(t *testing.T) {
	mem := memory.DefaultAllocator
	k := keyHasher{hasher: keyindex.NewHasher([16]byte{1})}
	hash := func(exact exactText, cols ...arrow.Array) keyindex.Hash {
		out := make([]keyindex.Hash, 1)
		require.NoError(t, k.hashRows(cols, exact, 0, out))
		return out[0]
	}
	i64 := column(array.NewInt64Builder(mem), int64(7))
	i32 := column(array.NewInt32Builder(mem), int32(7))
	i16 := column(array.NewInt16Builder(mem), int16(7))
	text := func(s string) arrow.Array { return column(array.NewStringBuilder(mem), s) }
	require.Equal(t, hash(nil, i64), hash(nil, i32), "widening a key does not rehash it")
	require.Equal(t, hash(nil, i64), hash(nil, i16))
	require.NotEqual(t, hash(nil, i64), hash(nil, text("7")))
	require.NotEqual(t, hash(nil, text("ab"), text("c")), hash(nil, text("a"), text("bc")), "columns do not run into each other")

	null := array.NewStringBuilder(mem)
	null.AppendNull()
	none := null.NewArray()
	exact := func(s string) exactText { return func(int, int) (string, bool) { return s, true } }
	require.NotEqual(t, hash(exact("infinity"), none), hash(exact("-infinity"), none), "both are null in the column")
	require.NotEqual(t, hash(exact("infinity"), none), hash(nil, none))

	fast := hash(nil, i64)
	slow := hash(func(int, int) (string, bool) { return "", false }, i64)
	require.Equal(t, fast, slow, "the fast path for one bigint gives the same hash")
}

// TestKeyHashOfNestedValues draws pairs of values of a nested type: they hash
// alike if and only if they are the same, also in the middle of an array.
func TestKeyHashOfNestedValues(t *testing.T) {
	text := arrow.BinaryTypes.String
	pair := arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int32, Nullable: true}, arrow.Field{Name: "b", Type: text, Nullable: true})
	types := []arrow.DataType{arrow.ListOf(text), arrow.ListOf(pair), pair, arrow.MapOf(text, text), arrow.ListOf(arrow.ListOf(text))}
	k := keyHasher{hasher: keyindex.NewHasher([16]byte{1})}
	lists := array.NewListBuilder(memory.DefaultAllocator, text)
	require.NoError(t, lists.UnmarshalJSON([]byte(`[["a", null], [null, "a"], ["a"], [], [null], ["n"], ["", "a"]]`)))
	some := make([]keyindex.Hash, lists.Len())
	require.NoError(t, k.hashRows([]arrow.Array{lists.NewArray()}, nil, 0, some))
	for i := range some {
		require.NotContains(t, some[i+1:], some[i], "list %d", i)
	}
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom(types).Draw(t, "type")
		b := array.NewBuilder(memory.DefaultAllocator, typ)
		defer b.Release()
		n := rapid.IntRange(2, 6).Draw(t, "rows")
		for range n {
			drawNested(t, b, false)
		}
		a := b.NewArray()
		defer a.Release()
		first := rapid.IntRange(0, n-1).Draw(t, "first")
		s := array.NewSlice(a, int64(first), int64(n))
		defer s.Release()
		all, some := make([]keyindex.Hash, n), make([]keyindex.Hash, n-first)
		require.NoError(t, k.hashRows([]arrow.Array{a}, nil, 0, all))
		require.NoError(t, k.hashRows([]arrow.Array{s}, nil, 0, some))
		require.Equal(t, all[first:], some, "a slice hashes as what it is a slice of")
		for i := range n {
			for j := range n {
				same := array.SliceEqual(a, int64(i), int64(i+1), a, int64(j), int64(j+1))
				require.Equal(t, same, all[i] == all[j], "%s and %s", a.ValueStr(i), a.ValueStr(j))
			}
		}
	})
}

// drawNested appends a small value, so that equal ones are frequent.
func drawNested(t *rapid.T, b array.Builder, nullable bool) {
	if nullable && rapid.IntRange(0, 3).Draw(t, "null") == 0 {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.StringBuilder:
		b.Append(rapid.SampledFrom([]string{"", "n", "a", "an", "s\x01a"}).Draw(t, "text"))
	case *array.Int32Builder:
		b.Append(rapid.Int32Range(0, 1).Draw(t, "int"))
	case *array.MapBuilder:
		b.Append(true)
		for range rapid.IntRange(0, 2).Draw(t, "pairs") {
			drawNested(t, b.KeyBuilder(), false)
			drawNested(t, b.ItemBuilder(), true)
		}
	case *array.ListBuilder:
		b.Append(true)
		for range rapid.IntRange(0, 2).Draw(t, "elements") {
			drawNested(t, b.ValueBuilder(), true)
		}
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			drawNested(t, b.FieldBuilder(i), true)
		}
	}
}
