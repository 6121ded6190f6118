package lakehouse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// TestALookOlderThanATable has the stream go back, and tell a table that is ahead of it
// of changes that it shows: a look that was taken between knows nothing of what the
// table shows since, and its columns are not the table's any more.
func TestALookOlderThanATable(t *testing.T) {
	table := func() *fedTable {
		return &fedTable{writers: []writer{&changelogWriter{table: &table{position: 100}}}}
	}
	look := &seen{from: 50, view: &cdc.View{Xmin: 8, Xmax: 8, Horizon: 50}}
	told := func(at cdc.LSN, xid uint32) []cdc.Item {
		return []cdc.Item{{Truncate: &cdc.Truncate{Txn: cdc.Txn{Commit: at, XID: xid}}}}
	}
	ahead := table()
	require.False(t, ahead.quietSince(look), "it shows what was committed after the look")
	ahead.noteLast(told(40, 7))
	require.False(t, ahead.quietSince(look), "and still does")
	ahead.noteLast(told(100, 9))
	require.False(t, ahead.quietSince(look), "the look has not seen that one")
	ahead.noteLast(told(40, 7))
	require.False(t, ahead.quietSince(look))

	seesIt := &seen{from: 50, view: &cdc.View{Xmin: 8, Xmax: 8, Horizon: 150}}
	last := table()
	require.False(t, last.quietSince(seesIt), "nobody knows what its last change was")
	last.noteLast(told(100, 7))
	require.True(t, last.quietSince(seesIt))
}
