package lakehouse_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/internal/crashpoint"
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

// played plays the changelog of a keyed table, whose every row has to say something
// new: the rows that there are then, and how many boundaries there were.
func (r *rig) played(table string) (rows map[string]int, boundaries int) {
	r.t.Helper()
	is := map[int64]string{}
	changes := changesOf(r.t, r.load(r.changelog(table)), "v")
	for i := range changes {
		c := &changes[i]
		_, there := is[c.key]
		switch c.op {
		case "T":
			clear(is)
			boundaries++
		case "B", "D":
			require.True(r.t, there, "there is no such row: %s", c)
			if c.op == "D" {
				delete(is, c.key)
			}
		case "U":
			require.True(r.t, there, "there is no such row: %s", c)
			require.False(r.t, c.unchanged, "%s", c)
			is[c.key] = c.text
		default:
			require.False(r.t, there, "the row is there already: %s", c)
			is[c.key] = c.text
		}
	}
	rows = map[string]int{}
	for _, text := range is {
		rows[text]++
	}
	return rows, boundaries
}

// TestAChangelogSaysWhereACopyBegins: rows that went while nobody told of them are
// in no copy, so that what was told before is void, and says so.
func TestAChangelogSaysWhereACopyBegins(t *testing.T) {
	for name, spec := range map[string]cdctest.TableSpec{"by ranges": keyed("t"), "under a snapshot": bag("t")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, spec, keyed("u"))
				r.bothModes()
				r.insert("t", 0, 3)
				stop := r.start()
				settle()
				same := func(copies int) {
					r.same("t")
					rows, boundaries := r.played("t")
					require.Equal(t, r.rows(r.mirror("t")), rows, "the changelog, played")
					require.Equal(t, copies-1, boundaries, "the first copy has nothing before it")
					for text := range r.rows(r.changelog("t")) {
						if strings.Contains(text, "_op=T;") {
							require.Contains(t, text, "_xid=0;")
							require.Contains(t, text, "_commit_time=NULL;")
						}
					}
				}
				same(1)
				for n := range 3 { // the second and the third find the source as it was, and stand where the first does
					r.act("t", lakehouse.ActionDrop)
					settle()
					if n == 0 {
						r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 1, "v": "v1"}) })
						settle()
					}
					r.act("t", lakehouse.ActionResync)
					settle()
					same(n + 2)
				}
				require.NoError(t, stop())
			})
		})
	}
}

// TestACopyBeginsWhereItsChangelogIs: a changelog may be ahead of the stream after a
// crash. A copy that began before it would tell once more what stands before the
// boundary, of rows that are not there any more.
func TestACopyBeginsWhereItsChangelogIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRangeRig(t)
		r.bothModes()
		r.catchUp()
		store, ok := r.store.(*objstore.Memory)
		require.True(t, ok)
		shown := r.lastEpoch().LSN
		var commits atomic.Int32
		crashpoint.Set(func(p crashpoint.Point) {
			if p == crashpoint.AfterCommit {
				commits.Add(1)
			}
			if p == crashpoint.TablesCommitted && commits.Load() > 0 {
				r.world.Crash()
				store.Crash()
			}
		})
		defer crashpoint.Set(nil)
		r.insert("t", 50, 53)
		r.update("t", 2, "changed")
		require.Error(t, r.engine(t.Context(), true))
		crashpoint.Set(nil)
		r.store = store.Survivor(rand.New(rand.NewPCG(1, 1)))
		require.Equal(t, shown, r.lastEpoch().LSN, "the stream goes on from there")
		told, _ := r.played("t")
		require.Equal(t, sourceRows(r.world, "t", r.world.Head()), told, "and the changelog is ahead of it")
		r.resync("t")
		s.late.Store(true)
		time.AfterFunc(time.Minute, func() { s.late.Store(false) })
		r.catchUp()
		r.same("t")
		rows, boundaries := r.played("t")
		require.Equal(t, r.rows(r.mirror("t")), rows)
		require.Equal(t, 1, boundaries)
	})
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

// changesOf reads a changelog, in the order in which changes are played; value is
// the column that is no key.
func changesOf(t *testing.T, snap *tablefmt.Snapshot, value string) (changes []change) {
	t.Helper()
	for add := range snap.Files() {
		err := snap.ReadFile(context.Background(), add, tablefmt.ReadOptions{}, func(rec arrow.RecordBatch, _ int64) error {
			column := func(name string) arrow.Array {
				at := rec.Schema().FieldIndices(name)
				require.Len(t, at, 1, name)
				return rec.Column(at[0])
			}
			ops, lsns, seqs := column(typemap.ColOp).(*array.String), column(typemap.ColLSN).(*array.Int64), column(typemap.ColSeq).(*array.Int64)
			keys, unchanged := column("id").(*array.Int64), column(typemap.ColUnchanged)
			own := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "id", Type: keys.DataType()}, {Name: value, Type: arrow.BinaryTypes.String}}, nil),
				[]arrow.Array{keys, column(value)}, rec.NumRows())
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
		require.NoError(t, err)
	}
	slices.SortStableFunc(changes, inOrder)
	return changes
}
