package keyindex

import (
	"cmp"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What is written to a run is read from it again, whatever the hashes, files and
// rows have in common, in blocks as full as they can be.
func TestBlocksHoldWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		top := rapid.SampledFrom([]uint64{0, 3, 1 << 20, 1 << 45, ^uint64(0)}).Draw(t, "high halves up to")
		file := rapid.Uint32Range(0, rapid.SampledFrom([]uint32{0, 3, 300, ^uint32(0)}).Draw(t, "files up to"))
		row := rapid.Uint32Range(0, rapid.SampledFrom([]uint32{0, 90, 70_000, ^uint32(0)}).Draw(t, "rows up to"))
		slots := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) slot {
			s := slot{rapid.Uint64Max(top).Draw(t, "hi"), rapid.Uint64().Draw(t, "lo"), file.Draw(t, "file"), row.Draw(t, "row")}
			if s.file == 0 {
				s.row = goneRow
			}
			return s
		}), 1, 700, func(s slot) [2]uint64 { return [2]uint64{s.hi, s.lo} }).Draw(t, "slots")
		slices.SortFunc(slots, func(a, b slot) int { return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo)) })

		path := filepath.Join(dir, "run")
		w, err := newRunWriter(path, 1, 77, 8<<10, false, newTrash(slog.Default()))
		require.NoError(t, err)
		w.begin(0, 0)
		for i := range slots {
			require.NoError(t, w.add(&slots[i]))
		}
		require.NoError(t, w.end())
		r, err := w.finish()
		require.NoError(t, err)
		defer func() { require.NoError(t, r.release()) }()

		var got []slot
		require.NoError(t, eachSlot(r, 8<<10, func(s *slot) error { got = append(got, *s); return nil }))
		require.Equal(t, slots, got)
		require.LessOrEqual(t, len(r.secs[0].fences), (len(slots)+blockRoom/entryBytes-1)/(blockRoom/entryBytes), "no entry takes more than 24 bytes")

		var br blockReader
		qs, locs := make([]query, len(slots)), make([]Loc, len(slots))
		for i, s := range slots {
			qs[i] = query{s.hi, s.lo, i}
		}
		rest, err := br.lookup(&segment{r, r.secs[0]}, 0, qs, locs)
		require.NoError(t, err)
		require.Empty(t, rest)
		for i := range slots {
			require.Equal(t, slots[i].loc(), locs[i])
		}
		absent := []query{{top, 1, 0}, {top / 2, 2, 0}, {0, 0, 0}}
		slices.SortFunc(absent, compareQueries)
		absent = slices.DeleteFunc(absent, func(q query) bool {
			return slices.ContainsFunc(slots, func(s slot) bool { return s.hi == q.hi && s.lo == q.lo })
		})
		rest, err = br.lookup(&segment{r, r.secs[0]}, 0, slices.Clone(absent), locs)
		require.NoError(t, err)
		require.Equal(t, absent, rest)
	})
}

// A section that says another number of entries than its blocks hold is damage.
func TestEntriesAreCounted(t *testing.T) {
	for _, by := range []int64{-1, 1} {
		w, err := newRunWriter(filepath.Join(t.TempDir(), "run"), 1, 77, 8<<10, false, newTrash(slog.Default()))
		require.NoError(t, err)
		w.begin(0, 0)
		for i := range uint64(300) {
			require.NoError(t, w.add(&slot{i << 40, i, 1, 1}))
		}
		require.NoError(t, w.end())
		r, err := w.finish()
		require.NoError(t, err)
		r.secs[0].n += by
		err = eachSlot(r, 8<<10, func(*slot) error { return nil })
		require.ErrorIs(t, err, ErrUnfit)
		require.NoError(t, r.release())
	}
}
