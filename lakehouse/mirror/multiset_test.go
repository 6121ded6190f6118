package mirror

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestMultisetEqualsModel plays random histories against counts.
func TestMultisetEqualsModel(t *testing.T) {
	m := &Multiset{}
	rapid.Check(t, func(t *rapid.T) {
		m.Reset()
		const rows = 4
		base, now := map[int]int{}, map[int]int{}
		for k := range rows {
			base[k] = rapid.IntRange(0, 3).Draw(t, "base")
			now[k] = base[k]
		}
		short := false
		for n := range rapid.IntRange(0, 40).Draw(t, "changes") {
			k := rapid.IntRange(0, rows-1).Draw(t, "row")
			at := Ref{Row: int32(n)}
			if rapid.Bool().Draw(t, "insert") {
				m.Insert(key(k), at)
				now[k]++
				continue
			}
			m.Delete(key(k), at)
			if now[k]--; now[k] < 0 {
				short = true
			}
		}
		classOf := func(i int) int { return int(m.Classes()[i].Hash[0]) }
		err := m.Check(func(i int) int { return base[classOf(i)] })
		if short { // a copy that was never there went
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		for i, c := range m.Classes() {
			require.Equal(t, now[classOf(i)], base[classOf(i)]-c.Taken+len(c.Added))
			base[classOf(i)] = now[classOf(i)]
		}
		require.Equal(t, now, base, "a class was left out")
	})
}

func TestCounter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counts := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(0, 100_000)), 1, 5).Draw(t, "counts")
		c := NewCounter(len(counts))
		for i, want := range counts {
			looks := 0
			for {
				n, ok := c.Next(i)
				if !ok {
					break
				}
				looks++
				c.Found(i, n, n < want)
			}
			require.Equal(t, want, c.Count(i))
			require.LessOrEqual(t, looks, 40)
			if want < 2 {
				require.Equal(t, want+1, looks, "the usual counts take no look too many")
			}
		}
	})
}
