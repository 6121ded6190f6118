package lakehouse

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

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
