package cdc

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestViewText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := View{Xmin: rapid.Uint64Range(3, 1<<40).Draw(t, "xmin")}
		v.Xmax = v.Xmin + rapid.Uint64Range(0, 100).Draw(t, "more")
		v.Horizon = LSN(rapid.Uint64().Draw(t, "horizon"))
		for x := v.Xmin; x < v.Xmax; x++ {
			if rapid.Bool().Draw(t, "running") {
				v.Running = append(v.Running, x)
			}
		}
		back, err := ParseView(v.String())
		require.NoError(t, err)
		require.Equal(t, v, back)
	})
	for _, bad := range []string{"", "1:2", "1:2:@", "1:2:3@0/1", "2:1:@0/1", "1:5:3,2@0/1", "1:5:x@0/1", "1:5:5@0/1", "1:5:@zero"} {
		_, err := ParseView(bad)
		require.Error(t, err, bad)
	}
}

// TestViewHolds compares with the plain meaning, also where the 32 bits of a
// transaction's id have wrapped around.
func TestViewHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SampledFrom([]uint64{1000, 1<<32 - 50, 1 << 32, 5<<32 + 7}).Draw(t, "base")
		v := View{Xmin: base, Xmax: base + 40, Running: []uint64{base, base + 3, base + 39}, Horizon: 5000}
		id := base - 60 + rapid.Uint64Range(0, 160).Draw(t, "id")
		commit := LSN(rapid.Uint64Range(1, 10000).Draw(t, "commit"))
		want := commit < v.Horizon && id < v.Xmax && !slices.Contains(v.Running, id)
		require.Equal(t, want, v.Holds(Txn{XID: uint32(id), Commit: commit}), "%d in %s", id, v)
	})
	var none View
	require.False(t, none.Holds(Txn{XID: 5, Commit: 7}))
}
