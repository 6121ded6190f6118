package mirror

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

func key(n int) (h keyindex.Hash) {
	h[0], h[8] = byte(n), byte(n*7)
	return h
}

// modelRow is a row with one ordinary and one out-of-line value.
type modelRow struct{ plain, toast int }

// TestReduceEqualsModel plays random histories against a plain map: the last
// states, the expectations and the fills must rebuild the map exactly, and so
// what the rows that are gone were last, and the changes that they went by.
func TestReduceEqualsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const keys = 6
		base := map[int]modelRow{}
		for k := range keys {
			if rapid.Bool().Draw(t, "base") {
				base[k] = modelRow{plain: 1000 + k, toast: 2000 + k}
			}
		}
		now, buried, goneAt := map[int]modelRow{}, map[int]modelRow{}, map[int]Ref{}
		for k, v := range base {
			now[k] = v
		}
		var images []modelRow // toast -1: not sent
		r := &Reducer{}
		for range rapid.IntRange(0, 40).Draw(t, "changes") {
			k := rapid.IntRange(0, keys-1).Draw(t, "key")
			n := len(images)
			at := Ref{Batch: 0, Row: int32(n)}
			if _, there := now[k]; !there {
				row := modelRow{n, n}
				require.NoError(t, r.Insert(key(k), at))
				now[k], images = row, append(images, row)
				continue
			}
			to := rapid.IntRange(0, keys-1).Draw(t, "to")
			if _, taken := now[to]; taken && to != k {
				require.NoError(t, r.Delete(key(k), at))
				buried[k], goneAt[k] = now[k], at
				delete(now, k)
				images = append(images, modelRow{})
				continue
			}
			row := modelRow{n, n}
			var unchanged []int32
			sent := row
			if rapid.Bool().Draw(t, "toast") {
				unchanged, row.toast, sent.toast = []int32{1}, now[k].toast, -1
			}
			require.NoError(t, r.Move(key(k), key(to), at, unchanged))
			buried[k], goneAt[k] = now[k], at
			delete(now, k)
			now[to], images = row, append(images, sent)
		}

		got := map[int]modelRow{}
		for k, v := range base {
			got[k] = v
		}
		number := map[keyindex.Hash]int{}
		for k := range keys {
			number[key(k)] = k
		}
		require.NoError(t, r.Check(func(i int) bool {
			_, ok := base[number[r.Entries()[i].Hash]]
			return ok
		}))
		for i, e := range r.Entries() {
			k := number[e.Hash]
			row := base[k]
			if e.Image {
				row = images[e.Final.Row]
			}
			for _, f := range r.Fills(i) {
				if f.InLake {
					row.toast = base[number[f.Key]].toast
				} else {
					row.toast = images[f.From.Row].toast
				}
			}
			if !e.Present {
				delete(got, k)
				require.Equal(t, buried[k], row)
				require.Equal(t, goneAt[k], e.Gone)
				continue
			}
			got[k] = row
		}
		require.Equal(t, now, got)
	})
}

func TestContradictionsAreViolations(t *testing.T) {
	at := Ref{}
	for name, play := range map[string]func(r *Reducer) error{
		"insert twice":        func(r *Reducer) error { _ = r.Insert(key(1), at); return r.Insert(key(1), at) },
		"update after delete": func(r *Reducer) error { _ = r.Delete(key(1), at); return r.Update(key(1), at, nil) },
		"delete twice":        func(r *Reducer) error { _ = r.Delete(key(1), at); return r.Delete(key(1), at) },
		"move onto a row":     func(r *Reducer) error { _ = r.Insert(key(2), at); return r.Move(key(1), key(2), at, nil) },
		"move what is gone":   func(r *Reducer) error { _ = r.Delete(key(1), at); return r.Move(key(1), key(2), at, nil) },
		"insert of a key that the lake has": func(r *Reducer) error {
			_ = r.Insert(key(1), at)
			return r.Check(func(int) bool { return true })
		},
		"update of a key that the lake lacks": func(r *Reducer) error {
			_ = r.Update(key(1), at, nil)
			return r.Check(func(int) bool { return false })
		},
	} {
		var v *Violation
		require.ErrorAs(t, play(&Reducer{}), &v, name)
	}
}

func BenchmarkReduce(b *testing.B) {
	r := &Reducer{}
	hashes := make([]keyindex.Hash, 20000)
	for i := range hashes {
		hashes[i] = keyindex.Hash{byte(i), byte(i >> 8), 3, 4, 5, 6, 7, 8, byte(i), byte(i >> 8)}
	}
	for b.Loop() {
		r.Reset()
		for i, h := range hashes {
			_ = r.Insert(h, Ref{Row: int32(i)})
		}
	}
	b.ReportMetric(float64(b.N*len(hashes))/b.Elapsed().Seconds(), "rows/s")
}
