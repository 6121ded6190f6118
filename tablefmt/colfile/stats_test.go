package colfile

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/stretchr/testify/require"
)

// checkStats compares statistics with what the rows of rec say, one value at
// a time.
func checkStats(t tester, rec arrow.RecordBatch, rows []int32, st *Stats) {
	t.Helper()
	for _, c := range st.Columns {
		i := rec.Schema().FieldIndices(c.Path[0])[0]
		nulls := int64(0)
		var lo, hi any
		nan := false
		for _, r := range rows {
			arr, null := arrow.Array(rec.Column(i)), rec.Column(i).IsNull(int(r))
			for _, name := range c.Path[1:] {
				s := arr.(*array.Struct)
				k, _ := s.DataType().(*arrow.StructType).FieldIdx(name)
				arr = s.Field(k)
				null = null || arr.IsNull(int(r))
			}
			if null {
				nulls++
				continue
			}
			v := statValue(arr, int(r))
			if f, ok := v.(float64); ok && math.IsNaN(f) {
				nan = true
			}
			if lo == nil || compareStat(v, lo) < 0 {
				lo = v
			}
			if hi == nil || compareStat(v, hi) > 0 {
				hi = v
			}
		}
		require.Equal(t, nulls, c.NullCount, "nulls of %v", c.Path)
		switch {
		case lo == nil || nan:
			require.Nil(t, c.Min, "min of %v", c.Path)
			require.Nil(t, c.Max, "max of %v", c.Path)
		case c.Type.ID() == arrow.STRING:
			checkStringStats(t, lo.(string), hi.(string), c)
		default:
			require.NotNil(t, c.Min, "min of %v", c.Path)
			require.NotNil(t, c.Max, "max of %v", c.Path)
			require.Zero(t, compareStat(plainStat(c.Min), lo), "min of %v: %v is not %v", c.Path, c.Min, lo)
			require.Zero(t, compareStat(plainStat(c.Max), hi), "max of %v: %v is not %v", c.Path, c.Max, hi)
		}
	}
}

func checkStringStats(t tester, lo, hi string, c ColumnStats) {
	if utf8.ValidString(lo) {
		require.LessOrEqual(t, c.Min.(string), lo)
		require.LessOrEqual(t, utf8.RuneCountInString(c.Min.(string)), 32)
		require.True(t, strings.HasPrefix(lo, c.Min.(string)))
	}
	if utf8.ValidString(hi) && c.Max != nil {
		require.GreaterOrEqual(t, c.Max.(string), hi)
	}
}

// statValue is the value that statistics should have seen; nil for types
// without bounds.
func statValue(a arrow.Array, i int) any {
	switch a := a.(type) {
	case *array.Int8:
		return int64(a.Value(i))
	case *array.Int16:
		return int64(a.Value(i))
	case *array.Int32:
		return int64(a.Value(i))
	case *array.Int64:
		return a.Value(i)
	case *array.Date32:
		return int64(a.Value(i))
	case *array.Timestamp:
		return int64(a.Value(i))
	case *array.Float32:
		return float64(a.Value(i))
	case *array.Float64:
		return a.Value(i)
	case *array.Decimal128:
		return a.Value(i)
	case *array.String:
		return a.Value(i)
	}
	return nil
}

// plainStat gives a bound the type that statValue gives values.
func plainStat(v any) any {
	switch v := v.(type) {
	case arrow.Date32:
		return int64(v)
	case arrow.Timestamp:
		return int64(v)
	case float32:
		return float64(v)
	}
	return v
}

func compareStat(a, b any) int {
	switch a := a.(type) {
	case int64:
		b := b.(int64)
		return map[bool]int{true: -1, false: map[bool]int{true: 0, false: 1}[a == b]}[a < b]
	case float64:
		b := b.(float64)
		return map[bool]int{true: -1, false: map[bool]int{true: 0, false: 1}[a == b]}[a < b]
	case decimal128.Num:
		return a.Cmp(b.(decimal128.Num))
	case string:
		return strings.Compare(a, b.(string))
	}
	return 0
}

func TestTruncate(t *testing.T) {
	p32 := strings.Repeat("é", 32)
	for _, c := range []struct{ in, min, max string }{
		{"", "", ""},
		{"short", "short", "short"},
		{p32, p32, p32},
		{p32 + "a", p32, p32 + "\x7f"},
		{p32 + "\x7e~", p32, p32 + "\x7f"},
		{p32 + "\x7f", p32, p32 + "\U0010ffff"}, // DEL itself is not greater
		{p32 + "ÿ", p32, p32 + "\U0010ffff"},
		{p32 + "\U0010ffffb", p32, p32 + "\U0010ffff\x7f"},
		{p32 + "\U0010ffff", p32, p32 + "\U0010ffff"}, // nothing greater; it is the whole
	} {
		lo, ok := truncateMin([]byte(c.in))
		require.True(t, ok)
		require.Equal(t, c.min, string(lo))
		hi, ok := truncateMax([]byte(c.in))
		require.True(t, ok)
		require.Equal(t, c.max, string(hi))
		require.GreaterOrEqual(t, string(hi), c.in)
	}
	_, ok := truncateMax([]byte(strings.Repeat("\U0010ffff", 200)))
	require.False(t, ok, "there is no greater string of any use")
	_, ok = truncateMin([]byte("a\xffb"))
	require.False(t, ok, "not UTF-8")
	_, ok = truncateMax([]byte(p32 + "\xff"))
	require.False(t, ok, "not UTF-8")
}
