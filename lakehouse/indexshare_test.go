package lakehouse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

func TestIndexShares(t *testing.T) {
	const mib = 1 << 20
	sum := func(list []int64) (n int64) {
		for _, v := range list {
			n += v
		}
		return n
	}
	require.Empty(t, indexShares(100*mib, nil))
	require.Equal(t, []int64{100 * mib}, indexShares(100*mib, []int64{5000 * mib}), "no more than there is")
	require.Equal(t, []int64{100 * mib}, indexShares(100*mib, []int64{1}), "room to grow")
	require.Equal(t, []int64{50 * mib, 50 * mib}, indexShares(100*mib, []int64{500 * mib, 5000 * mib}))
	require.Equal(t, []int64{10 * mib, 90 * mib}, indexShares(100*mib, []int64{10 * mib, 5000 * mib}))
	require.Equal(t, []int64{90 * mib, 10 * mib}, indexShares(100*mib, []int64{5000 * mib, 10 * mib}))
	require.Equal(t, []int64{20 * mib, 10 * mib, 70 * mib}, indexShares(100*mib, []int64{20 * mib, 10 * mib, 71 * mib}))

	// One large table among two hundred small ones has nearly everything.
	needs := make([]int64, 200)
	for i := range needs {
		needs[i] = keyindex.MemoryFor(100)
	}
	needs[77] = keyindex.MemoryFor(100_000_000)
	shares := indexShares(128*mib, needs)
	require.EqualValues(t, 128*mib, sum(shares))
	require.Greater(t, shares[77], int64(70*mib))
	require.Equal(t, int64(indexLeast), shares[0])

	// So many tables that each has the least.
	shares = indexShares(16*mib, make([]int64, 1000))
	require.Equal(t, int64(1000*indexLeast), sum(shares))
}

func TestIndexPool(t *testing.T) {
	const mib = 1 << 20
	p := newIndexPool(400 * mib)
	tables := make([]TableState, 4)
	for i := range tables {
		tables[i] = TableState{OID: uint32(i + 1), Phase: PhaseLive, TableOptions: TableOptions{Modes: []Mode{ModeMirror}}}
	}
	tables[2].Phase = PhaseDetached
	tables[3].Modes = []Mode{ModeChangelog}
	dir := t.TempDir()
	p.divide(tables, func(*TableState) string { return dir })
	require.Len(t, p.keys, 2)
	require.EqualValues(t, 50*mib, p.ask(1, 0), "nothing is known")
	require.EqualValues(t, 100*mib-keyindex.MemoryFor(0)-(indexLeast-keyindex.MemoryFor(0)), p.ask(1, 1_000_000_000))
	require.Less(t, p.ask(2, 1000), int64(3*mib))
	require.Greater(t, p.ask(1, 0), int64(97*mib), "what was known stays")
	p.divide(tables, func(*TableState) string { return dir })
	require.EqualValues(t, 1000, p.keys[2])
	p.divide(tables[:1], func(*TableState) string { return dir })
	require.EqualValues(t, 100*mib, p.ask(1, 0), "a table that is gone has none")
}
