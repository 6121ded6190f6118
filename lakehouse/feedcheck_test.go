package lakehouse_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt"
)

// feedChecked says what checking a table's change feed has seen.
type feedChecked struct {
	versions int // that change rows and have a feed
	told     int // of them, by cdc files
	types    map[string]int
}

// checkFeed holds a table's change feed against its versions: applied to what a
// version shows, what the feed says of the next one gives what that one shows.
// Only versions after one are looked at.
func checkFeed(t *testing.T, loc tablefmt.Location, after int64) feedChecked {
	t.Helper()
	ctx := context.Background()
	c := feedChecked{types: map[string]int{}}
	newest, err := tablefmt.Load(ctx, loc)
	require.NoError(t, err)
	var prev *tablefmt.Snapshot
	for v := after; v <= newest.Version(); v++ {
		snap, err := tablefmt.LoadAt(ctx, loc, v)
		require.NoError(t, err)
		before := prev
		prev = snap
		if before == nil || snap.Property(tablefmt.PropChangeDataFeed) != "true" {
			continue
		}
		actions, err := tablefmt.ReadCommit(ctx, loc, v)
		require.NoError(t, err)
		told := false
		for i := range actions {
			told = told || actions[i].CDC != nil
		}
		var read *tablefmt.Snapshot // nil: a column's type has changed
		if sameTypes(before.Schema(), snap.Schema()) {
			read, err = before.WithSchema(snap.Schema())
			require.NoError(t, err)
		} else {
			// Files that are read in columns of other types tell nothing; unless told
			// there is nothing to tell, as where all of the column's values are null.
			if !told && before.NumFiles() > 0 {
				for i := range actions {
					if a := actions[i].Add; a != nil {
						require.False(t, a.DataChange, "version %d adds %s, and does not tell", v, a.Path)
					}
				}
				as := &tablefmt.Schema{Fields: slices.Clone(snap.Schema().Fields)}
				for i := range as.Fields {
					if was, ok := before.Schema().Field(as.Fields[i].Name); ok {
						as.Fields[i].Type = was.Type
					}
				}
				was, err := before.WithSchema(as)
				require.NoError(t, err)
				require.Equal(t, plainRows(t, was), plainRows(t, snap), "version %d, of which the feed tells nothing", v)
			}
		}
		rows := map[string]int{}
		if read != nil {
			rows = plainRows(t, read)
		}
		n, pre, post := 0, 0, 0
		err = tablefmt.Changes(ctx, loc, tablefmt.ChangeRange{From: v, To: v}, tablefmt.ChangeOptions{Strict: true}, func(rec arrow.RecordBatch) error {
			last := int(rec.NumCols()) - 3
			plain := array.NewRecordBatch(arrow.NewSchema(rec.Schema().Fields()[:last], nil), rec.Columns()[:last], rec.NumRows())
			defer plain.Release()
			for i, row := range recordTexts(plain) {
				what := rec.Column(last).(*array.String).Value(i)
				c.types[strings.Clone(what)]++
				n++
				by := 1
				switch what {
				case tablefmt.ChangePreimage:
					pre, by = pre+1, -1
				case tablefmt.ChangeDelete:
					by = -1
				case tablefmt.ChangePostimage:
					post++
				}
				if rows[row] += by; rows[row] == 0 {
					delete(rows, row)
				}
			}
			return nil
		})
		require.NoError(t, err, "version %d", v)
		require.Equal(t, pre, post, "version %d: each update has two images", v)
		if read != nil {
			if want := plainRows(t, snap); !maps.Equal(want, rows) {
				require.Equal(t, want, rows, "version %d of %s, by its feed (cdc files: %t)", v, loc, told)
			}
		}
		if n > 0 {
			c.versions++
			if told {
				c.told++
			}
		}
	}
	return c
}

// plainRows are a snapshot's rows in all columns.
func plainRows(t *testing.T, snap *tablefmt.Snapshot) map[string]int {
	t.Helper()
	rows := map[string]int{}
	require.NoError(t, snap.Scan(context.Background(), tablefmt.ScanOptions{}, func(rec arrow.RecordBatch) error {
		for _, r := range recordTexts(rec) {
			rows[r]++
		}
		return nil
	}))
	return rows
}

func sameTypes(a, b *tablefmt.Schema) bool {
	for _, f := range a.Fields {
		if other, ok := b.Field(f.Name); ok && other.Type.String() != f.Type.String() {
			return false
		}
	}
	return true
}
