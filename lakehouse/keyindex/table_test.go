package keyindex

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// checkOrder checks that a table holds what the map says, sorted, each key
// where find sees it.
func checkOrder(t require.TestingT, tab *table, want map[query]slot) {
	require.Equal(t, len(want), tab.n)
	var keys []query
	for i := range tab.slots {
		s := tab.slots[i]
		if s.empty() {
			continue
		}
		k := query{hi: s.hi, lo: s.lo}
		require.Equal(t, want[k], s)
		at, ok := tab.find(s.hi, s.lo)
		require.True(t, ok && at == i, "slot %d is found at %d", i, at)
		keys = append(keys, k)
	}
	require.True(t, slices.IsSortedFunc(keys, compareQueries))
	require.Len(t, slices.Collect(maps.Keys(want)), len(keys))
}

func TestTableAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := &table{skip: uint(rapid.SampledFrom([]int{0, 8}).Draw(t, "skip"))}
		want := map[query]slot{}
		// Evenly spread hashes, or all at one end, or at both.
		hi := rapid.SampledFrom([]*rapid.Generator[uint64]{
			rapid.Map(rapid.Uint64(), func(n uint64) uint64 { return benchWord(n) >> tab.skip }),
			rapid.Uint64Range(0, 3),
			rapid.Map(rapid.Uint64Range(0, 3), func(n uint64) uint64 { return ^uint64(0)>>tab.skip - n }),
		}).Draw(t, "spread")
		key := rapid.Custom(func(t *rapid.T) query {
			return query{hi: hi.Draw(t, "hi"), lo: rapid.Uint64Range(0, 40).Draw(t, "lo")}
		})
		grow := rapid.SampledFrom([]int{25, 100}).Draw(t, "grow")
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				for range rapid.IntRange(1, 60).Draw(t, "n") {
					k := key.Draw(t, "key")
					s := slot{k.hi, k.lo, rapid.Uint32Range(0, 2).Draw(t, "file"), goneRow}
					tab.put(s, grow)
					want[k] = s
				}
			},
			"remove": func(t *rapid.T) {
				for range rapid.IntRange(1, 60).Draw(t, "n") {
					k := key.Draw(t, "key")
					tab.remove(k.hi, k.lo)
					delete(want, k)
				}
			},
			"get": func(t *rapid.T) {
				k := key.Draw(t, "key")
				s := tab.get(k.hi, k.lo)
				w, ok := want[k]
				require.Equal(t, ok, s != nil)
				if ok {
					require.Equal(t, w, *s)
				}
			},
			"": func(t *rapid.T) { checkOrder(t, tab, want) },
		})
	})
}

func TestQueriesAreSorted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sc scratch
		bits := rapid.SampledFrom([]uint64{2, 60, ^uint64(0)}).Draw(t, "hashes up to")
		for i := range rapid.IntRange(0, 300).Draw(t, "n") {
			sc.qs = append(sc.qs, query{rapid.Uint64Max(bits).Draw(t, "hi"), rapid.Uint64().Draw(t, "lo"), i})
		}
		want := slices.Clone(sc.qs)
		got := sc.sort()
		require.True(t, slices.IsSortedFunc(got, compareQueries))
		require.ElementsMatch(t, want, got)
	})
}

func TestFilter(t *testing.T) {
	const n = 20_000
	f := make(filter, filterSize(n))
	for k := range uint64(n) {
		f.add(benchWord(k), benchWord(k+1<<40))
	}
	wrong := 0
	for k := range uint64(n) {
		require.True(t, f.mayHave(benchWord(k), benchWord(k+1<<40)), "what was added is never denied")
		if f.mayHave(benchWord(k+n), benchWord(k+n+1<<40)) {
			wrong++
		}
	}
	require.Less(t, wrong, n/40, "of absent keys one in a hundred passes, not one in forty")
}

func TestSectionUpper(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		top := rapid.SampledFrom([]uint64{5, 1 << 62, ^uint64(0)}).Draw(t, "up to")
		s := &section{fences: rapid.SliceOfN(rapid.Uint64Max(top), 1, 80).Draw(t, "fences")}
		slices.Sort(s.fences)
		for _, hi := range append(slices.Clone(s.fences), 0, 1, top, ^uint64(0), rapid.Uint64().Draw(t, "hi")) {
			want := 0
			for _, f := range s.fences {
				if f <= hi {
					want++
				}
			}
			require.Equal(t, want, s.upper(hi, uint(rapid.SampledFrom([]int{0, 4}).Draw(t, "skip"))))
		}
	})
}

// A partition that is fed small runs for ever stays in few runs, rewrites
// each entry a few times only, and holds little that is out of date.
func TestMergesAreBounded(t *testing.T) {
	const small, base = 100, 1_000_000
	sizes := []int64{base}
	var written, flushed int64
	deepest := 0
	for range 20_000 {
		sizes = append([]int64{small}, sizes...)
		flushed += small
		for {
			n, _ := pickMerge(sizes)
			if n == 0 {
				break
			}
			var sum int64
			for _, s := range sizes[:n] {
				sum += s
			}
			written += sum
			if n == len(sizes) {
				sum = base // the keys are those that were there
			}
			sizes = append([]int64{sum}, sizes[n:]...)
		}
		deepest = max(deepest, len(sizes))
		var all int64
		for _, s := range sizes {
			all += s
		}
		require.LessOrEqual(t, all, int64(base+base/4+small))
	}
	amplification := float64(written) / float64(flushed)
	t.Logf("at most %d runs, each entry written %.1f times after its first", deepest, amplification)
	require.LessOrEqual(t, deepest, 20)
	require.LessOrEqual(t, amplification, 12.0)
}

func TestTooManyRunsAreMerged(t *testing.T) {
	sizes := []int64{1}
	for len(sizes) <= maxSegments/2 {
		sizes = append(sizes, sizes[len(sizes)-1]*8)
	}
	n, _ := pickMerge(sizes)
	require.Equal(t, len(sizes)-1, n, "commits wait for merges, so there must be one to wait for")
}
