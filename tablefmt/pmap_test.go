package tablefmt

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestMapModel compares the map with Go's over random edits, and old versions
// with what they were.
func TestMapModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			m     pmap[int]
			model map[string]int
		}
		all := []version{{pmap[int]{}, map[string]int{}}}
		for range rapid.IntRange(1, 20).Draw(t, "editors") {
			from := all[rapid.IntRange(0, len(all)-1).Draw(t, "from")]
			e, model := from.m.edit(), map[string]int{}
			for k, v := range from.model {
				model[k] = v
			}
			for range rapid.IntRange(0, 60).Draw(t, "edits") {
				k := fmt.Sprint(rapid.IntRange(0, 100).Draw(t, "key"))
				if rapid.Bool().Draw(t, "set") {
					v := rapid.Int().Draw(t, "value")
					e.set(k, v)
					model[k] = v
				} else {
					e.del(k)
					delete(model, k)
				}
			}
			all = append(all, version{e.done(), model})
		}
		for _, v := range all {
			got := map[string]int{}
			for k, x := range v.m.all() {
				got[k] = x
			}
			require.Equal(t, v.model, got)
			require.Equal(t, len(v.model), v.m.len())
			for i := range 101 {
				k := fmt.Sprint(i)
				x, ok := v.m.get(k)
				y, want := v.model[k]
				require.Equal(t, want, ok)
				require.Equal(t, y, x)
			}
		}
	})
}

// TestMapOrder says that the order depends on the keys alone.
func TestMapOrder(t *testing.T) {
	order := func(keys, gone []int) (out []string) {
		e := pmap[int]{}.edit()
		for _, k := range keys {
			e.set(fmt.Sprint(k), k)
		}
		for _, k := range gone {
			e.del(fmt.Sprint(k))
		}
		for k := range e.done().all() {
			out = append(out, k)
		}
		return out
	}
	var up, down, more, gone []int
	for i := range 5000 {
		up, down = append(up, i), append([]int{4999 - i}, down...)
		more, gone = append(more, i, i+100000), append(gone, i+100000)
	}
	slices.Reverse(down)
	require.Equal(t, order(up, nil), order(down, nil))
	require.Equal(t, order(up, nil), order(more, gone))
}

// TestMapHashCollision works on the list below the last level, which only
// keys of the same hash share; no two texts are known to do so.
func TestMapHashCollision(t *testing.T) {
	e := pmap[int]{}.edit()
	var list *pnode[int]
	for i := range 3 {
		list = e.put(list, pmapDepth, 0, pentry[int]{fmt.Sprint(i), -1})
		list = e.put(list, pmapDepth, 0, pentry[int]{fmt.Sprint(i), i})
	}
	require.Equal(t, 3, e.n)
	content := func(n *pnode[int]) map[string]int {
		m := map[string]int{}
		n.walk(func(k string, v int) bool { m[k] = v; return true })
		return m
	}
	require.Equal(t, map[string]int{"0": 0, "1": 1, "2": 2}, content(list))
	f := pmap[int]{}.edit()
	require.Equal(t, map[string]int{"0": 0, "2": 2}, content(f.cut(list, pmapDepth, 0, "1")))
	require.Len(t, content(list), 3, "the old version stays")
	for i := range 3 {
		list = e.cut(list, pmapDepth, 0, fmt.Sprint(i))
	}
	require.Nil(t, list)
}

// TestAdvanceCost: advancing a table by one file costs the same whether
// it has a thousand files or a hundred thousand.
func TestAdvanceCost(t *testing.T) {
	allocs := func(files int) float64 {
		st, err := noState().next(0, must(collectActions([]byte(ddl), 0)), 0)
		require.NoError(t, err)
		var actions []Action
		for i := range files {
			actions = append(actions, Action{Add: &AddFile{Path: fmt.Sprint("f", i), Size: 1}})
		}
		st, err = st.next(1, actions, 0)
		require.NoError(t, err)
		i := 0
		return testing.AllocsPerRun(100, func() {
			i++
			_, err := st.next(2, []Action{{Remove: &RemoveFile{Path: fmt.Sprint("f", i)}}, {Add: &AddFile{Path: fmt.Sprint("g", i)}}}, 0)
			require.NoError(t, err)
		})
	}
	small, large := allocs(1000), allocs(100000)
	require.Less(t, large, 3*small)
}

func BenchmarkAdvance(b *testing.B) {
	for _, files := range []int{1000, 1000000} {
		b.Run(fmt.Sprint(files), func(b *testing.B) {
			st := must(noState().next(0, must(collectActions([]byte(ddl), 0)), 0))
			var actions []Action
			for i := range files {
				actions = append(actions, Action{Add: &AddFile{Path: fmt.Sprint("f", i), Size: 1}})
			}
			st = must(st.next(1, actions, 0))
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				st = must(st.next(st.version+1, []Action{{Remove: &RemoveFile{Path: fmt.Sprint("f", i)}}, {Add: &AddFile{Path: fmt.Sprint("g", i)}}}, 0))
			}
		})
	}
}
