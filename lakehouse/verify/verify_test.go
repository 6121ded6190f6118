package verify

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// hashOf gives a hash that is spread evenly.
func hashOf(n uint64) (h Hash) {
	r := rand.New(rand.NewPCG(n, 1))
	for i := range h {
		h[i] = byte(r.Uint32())
	}
	return h
}

// TestWhatDiffers compares random sets of rows with what a map says of them.
func TestWhatDiffers(t *testing.T) {
	type entry struct{ key, row uint64 }
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.Custom(func(t *rapid.T) entry {
			return entry{rapid.Uint64Range(0, 20).Draw(t, "key"), rapid.Uint64Range(100, 103).Draw(t, "row")}
		})
		same := rapid.SliceOf(gen).Draw(t, "same")
		left := append(append([]entry(nil), same...), rapid.SliceOfN(gen, 0, 3).Draw(t, "left")...)
		right := append(append([]entry(nil), same...), rapid.SliceOfN(gen, 0, 3).Draw(t, "right")...)
		rand.Shuffle(len(right), func(i, j int) { right[i], right[j] = right[j], right[i] })

		surplus := map[entry]int{}
		var a, b, part Digest
		for i, e := range left {
			surplus[e]++
			d := &a
			if i%2 == 1 {
				d = &part
			}
			d.Add(hashOf(e.key), hashOf(e.row))
		}
		a.Merge(&part)
		for _, e := range right {
			surplus[e]--
			b.Add(hashOf(e.key), hashOf(e.row))
		}
		require.EqualValues(t, len(left), a.Rows())
		require.EqualValues(t, len(right), b.Rows())
		keys := map[Hash]bool{}
		for e, n := range surplus {
			if n != 0 {
				keys[hashOf(e.key)] = true
			}
		}
		differ := Differ(&a, &b)
		want := map[int]bool{}
		for k := range keys {
			want[bucketOf(k)] = true
		}
		got := map[int]bool{}
		for _, i := range differ {
			got[i] = true
		}
		require.Equal(t, want, got)

		f := NewFinder(differ)
		for _, e := range left {
			if f.Wants(hashOf(e.key)) {
				f.Left(hashOf(e.key), hashOf(e.row))
			}
		}
		for _, e := range right {
			if f.Wants(hashOf(e.key)) {
				f.Right(hashOf(e.key), hashOf(e.row))
			}
		}
		gather := NewGathering(differ)
		for i, e := range left {
			p := gather.Part()
			p.Add(true, hashOf(e.key), hashOf(e.row))
			if i%2 == 0 {
				p.Add(false, hashOf(1_000), hashOf(1)) // of another bucket, unless that one differs
				p.Add(true, hashOf(1_000), hashOf(1))
			}
			gather.Merge(p)
		}
		for _, e := range right {
			gather.Add(false, hashOf(e.key), hashOf(e.row))
		}
		differing := gather.Differing()
		require.Len(t, differing, len(keys))
		for k := range keys {
			require.True(t, differing.Has(k))
		}
		most := rapid.Int64Range(1, 10).Draw(t, "most")
		var again []int
		for _, group := range Groups(&a, &b, differ, most) {
			rows := int64(0)
			for _, e := range append(append([]entry(nil), left...), right...) {
				for _, i := range group {
					if bucketOf(hashOf(e.key)) == i {
						rows++
					}
				}
			}
			require.True(t, rows <= most || len(group) == 1)
			again = append(again, group...)
		}
		require.Equal(t, differ, again)

		found := map[Hash]bool{}
		for _, k := range f.Keys() {
			found[k] = true
		}
		require.Equal(t, keys, found)
		for e, n := range surplus {
			require.Equal(t, n, f.Surplus(hashOf(e.key), hashOf(e.row)))
		}
	})
}
