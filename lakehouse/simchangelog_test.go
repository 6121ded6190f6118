package lakehouse_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// change is a row of a changelog whose table has the key "id" and one more column.
type change struct {
	lsn       cdc.LSN
	seq       int64
	op        string
	key       int64
	text      string // as sourceRows has it
	unchanged bool   // the column that is no key was not sent
}

func (c *change) String() string { return fmt.Sprintf("%s %d at %s/%d", c.op, c.key, c.lsn, c.seq) }

// TestAChangelogSaysWhereACopyBegins: rows that went while nobody told of them are
// in no copy, so that what was told before is void, and says so.
func TestAChangelogSaysWhereACopyBegins(t *testing.T) {
	bag := cdctest.TableSpec{Name: "t", Identity: cdc.IdentityFull, Columns: keyed("t").Columns}
	for name, spec := range map[string]cdctest.TableSpec{"by ranges": keyed("t"), "under a snapshot": bag} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, spec, keyed("u"))
				r.options = func(o *lakehouse.Options) {
					o.Table = func(*cdc.Relation) lakehouse.TableOptions {
						return lakehouse.TableOptions{Modes: []lakehouse.Mode{lakehouse.ModeChangelog, lakehouse.ModeMirror}}
					}
				}
				r.insert("t", 0, 3)
				stop := r.start()
				settle()
				marks := func() (n int) {
					for text, rows := range r.rows(r.changelog("t")) {
						if strings.Contains(text, "_op=T;") {
							require.Contains(t, text, "_xid=0;")
							require.Contains(t, text, "_commit_time=NULL;")
							n += rows
						}
					}
					return n
				}
				require.Zero(t, marks(), "the first copy has nothing before it")
				for n := range 3 { // the second and the third find the source as it was
					r.act("t", lakehouse.ActionDrop)
					settle()
					if n == 0 {
						r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 1, "v": "v1"}) })
						settle()
					}
					r.act("t", lakehouse.ActionResync)
					settle()
					r.same("t")
					require.Equal(t, n+1, marks())
				}
				require.NoError(t, stop())
			})
		})
	}
}

// inOrder is the order in which changes are played.
func inOrder(a, b change) int {
	return cmp.Or(cmp.Compare(a.lsn, b.lsn), cmp.Compare(a.seq, b.seq), cmp.Compare(afterBefore(a.op), afterBefore(b.op)))
}

func afterBefore(op string) int {
	if op == "B" {
		return 0
	}
	return 1
}

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
	changes := s.changesOf(snap)
	slices.SortStableFunc(changes, inOrder)
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

func (s *simulation) changesOf(snap *tablefmt.Snapshot) (changes []change) {
	for add := range snap.Files() {
		err := snap.ReadFile(context.Background(), add, tablefmt.ReadOptions{}, func(rec arrow.RecordBatch, _ int64) error {
			column := func(name string) arrow.Array {
				at := rec.Schema().FieldIndices(name)
				require.Len(s.t, at, 1, name)
				return rec.Column(at[0])
			}
			ops, lsns, seqs := column(typemap.ColOp).(*array.String), column(typemap.ColLSN).(*array.Int64), column(typemap.ColSeq).(*array.Int64)
			keys, unchanged := column("id").(*array.Int64), column(typemap.ColUnchanged)
			own := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "id", Type: keys.DataType()}, {Name: "body", Type: arrow.BinaryTypes.String}}, nil),
				[]arrow.Array{keys, column("body")}, rec.NumRows())
			defer own.Release()
			for i, text := range recordTexts(own) {
				c := change{lsn: cdc.LSN(lsns.Value(i)), seq: seqs.Value(i), op: ops.Value(i), text: text, unchanged: unchanged.IsValid(i)}
				if keys.IsValid(i) {
					c.key = keys.Value(i)
				}
				changes = append(changes, c)
			}
			return nil
		})
		require.NoError(s.t, err)
	}
	return changes
}
