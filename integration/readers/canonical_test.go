package readers

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFloat(t *testing.T) {
	for _, c := range []struct {
		v    float64
		bits int
		want string
	}{
		{0, 64, "0"},
		{math.Copysign(0, -1), 64, "-0"},
		{0.1, 64, "0.1"},
		{float64(float32(0.1)), 32, "0.1"},
		{1e-6, 64, "0.000001"},
		{1.5e-7, 64, "1.5e-7"},
		{1234567890, 64, "1234567890"},
		{1e10, 64, "1e+10"},
		{1.25e100, 64, "1.25e+100"},
		{math.NaN(), 64, "NaN"},
		{math.Inf(1), 64, "Infinity"},
		{math.Inf(-1), 64, "-Infinity"},
	} {
		require.Equal(t, c.want, Float(c.v, c.bits))
	}
}

func TestDiff(t *testing.T) {
	a := [][]string{{"1", "x"}, {"1", "x"}, {"2", Null}}
	require.Empty(t, Diff(a, [][]string{{"2", Null}, {"1", "x"}, {"1", "x"}}))
	d := Diff(a, [][]string{{"1", "x"}, {"2", "NULL"}, {"2", Null}})
	require.Contains(t, d, `1 x "1" | "x"`)
	require.Contains(t, d, `1 x "2" | "NULL"`)
	require.NotContains(t, d, `"2" | NULL`)
	require.NotEqual(t, FingerprintOf([][]string{{"", Null}}), FingerprintOf([][]string{{Null, ""}}))
	require.NotEqual(t, FingerprintOf([][]string{{"a,b"}}), FingerprintOf([][]string{{"a", "b"}}))
}

func TestCopyLines(t *testing.T) {
	var got []string
	w := &lineWriter{line: func(b []byte) error { got = append(got, string(b)); return nil }}
	for _, p := range []string{"a\nb", "c", "\n\nd\n"} {
		_, err := w.Write([]byte(p))
		require.NoError(t, err)
	}
	require.Equal(t, []string{"a", "bc", "", "d"}, got)
	require.Equal(t, "a\tb\\n\n", unescape([]byte(`a\tb\\n\n`)))
	_, err := copyRow([]byte("1\t2"), []uint32{20})
	require.Error(t, err)
	_, err = copyRow([]byte("1"), []uint32{20, 20})
	require.Error(t, err)
}
