package lakehouse_test

import (
	"context"
	"maps"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// checkChangelog plays the changelog of the table that has one: it may tell of no
// change twice, of none to a row that is not there, and of none too few, which shows
// in the rows that there are then. They are compared with the source's after every
// change since the last copy was published, and at the end. It is left out where
// masks say something of the table: rows of several configurations are in one
// changelog then.
func (s *simulation) checkChangelog() {
	const table = "audit"
	for i := range s.masks {
		if len(s.masks[i].columns[table]) > 0 {
			return
		}
	}
	loc := tablefmt.Location{Data: objstore.Sub(s.store, lakehouse.ChangelogPath("public", table))}
	snap, err := tablefmt.Load(context.Background(), loc)
	require.NoError(s.t, err)
	changes := changesOf(s.t, snap, "body")
	rows, seen := map[int64]string{}, map[string]bool{}
	copied := 0 // changes until the last that a copy, or a repair, has told
	for i := range changes {
		if changes[i].seq < 0 {
			copied = i + 1
		}
	}
	published := s.copyPoint(table) // a row that a copy reads may be newer than the position at which it stands
	compare := func(at cdc.LSN) {
		got := map[string]int{}
		for _, text := range rows {
			got[text]++
		}
		if want := sourceRows(s.world, table, at); !maps.Equal(want, got) {
			require.Equal(s.t, want, got, "the changelog, played up to %s", at)
		}
	}
	for i := range changes {
		c := &changes[i]
		if i > copied && changes[i-1].lsn != c.lsn && changes[i-1].lsn >= published {
			compare(changes[i-1].lsn + 1)
		}
		require.False(s.t, seen[c.String()] && (c.seq >= 0 || s.damaged == nil), "the change is there twice: %s", c)
		seen[c.String()] = true
		text, there := rows[c.key]
		switch c.op {
		case "T":
			clear(rows)
		case "B":
			require.True(s.t, there, "there is no such row: %s", c)
		case "D": // what a repair takes out may be what somebody else has put into the mirror
			require.True(s.t, there || c.seq < 0 && s.damaged != nil, "there is no such row: %s", c)
			delete(rows, c.key)
		case "U":
			require.True(s.t, there, "there is no such row: %s", c)
			if !c.unchanged {
				text = c.text
			}
			rows[c.key] = text
		default:
			require.True(s.t, !there || c.op == "R" && s.damaged != nil, "the row is there already: %s", c) // a repair says what the row is
			rows[c.key] = c.text
		}
	}
	compare(s.world.Head())
}

// copyPoint is the position at which the table's last copy was published.
func (s *simulation) copyPoint(table string) cdc.LSN {
	st, err := lakehouse.ReadState(context.Background(), s.store, "default")
	require.NoError(s.t, err)
	for i := range st.Tables {
		if st.Tables[i].Table == table {
			return st.Tables[i].CopyPoint
		}
	}
	s.t.Fatalf("there is no table %s", table)
	return 0
}
