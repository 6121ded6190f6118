package lakehouse

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt"
)

type feedRow struct{ id, v int64 }

// feedTable is a table of numbers, and a function that makes a side of it.
func feedTable(t *testing.T, key []string) (*mirrorWriter, func(rows []feedRow) *feedSide) {
	t.Helper()
	x := partitionedTable(t)
	x.parts = nil
	schema := &tablefmt.Schema{Fields: []tablefmt.Field{{Name: "id", Type: tablefmt.Long, Nullable: true}, {Name: "v", Type: tablefmt.Long, Nullable: true}}}
	require.NoError(t, x.setSchema(schema))
	x.key = key
	tx := tablefmt.Begin(x.spec.loc, nil)
	tx.SetProtocol(tablefmt.MirrorProtocol(tablefmt.ProtocolOptions{}))
	tx.SetMetadata(&tablefmt.Metadata{SchemaString: schema.JSON()})
	var err error
	x.snap, err = tx.Commit(t.Context())
	require.NoError(t, err)
	return &mirrorWriter{table: x}, func(rows []feedRow) *feedSide {
		side := &feedSide{snap: x.snap, rows: int64(len(rows))}
		for len(rows) > 0 {
			n := min(len(rows), 70)
			b := array.NewRecordBuilder(memory.DefaultAllocator, x.arrow)
			for _, r := range rows[:n] {
				b.Field(0).(*array.Int64Builder).Append(r.id)
				b.Field(1).(*array.Int64Builder).Append(r.v)
			}
			rows = rows[n:]
			out := x.newStager(t.Context())
			rec := b.NewRecordBatch()
			require.NoError(t, out.write(rec, rowsFrom(0, n), anywhere))
			rec.Release()
			b.Release()
			require.NoError(t, out.finish())
			side.files = append(side.files, feedFile{add: out.done[0].add})
		}
		return side
	}
}

// TestFeedDiff compares random rows, also with keys that are there twice, of
// which so few are held at a time that many rounds are needed, or of which too
// many are to be held at all: what is told always leads from the one to the
// other.
func TestFeedDiff(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var key []string
		if seed%3 > 0 {
			key = []string{"id"}
		}
		m, side := feedTable(t, key)
		rows := func(n int) (out []feedRow) {
			for id := range n {
				for k := 1 + rnd.IntN(20)/19; k > 0; k-- { // one of twenty keys is there twice
					if rnd.IntN(3) > 0 {
						out = append(out, feedRow{int64(id), int64(rnd.IntN(3))})
					}
				}
			}
			rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
			return out
		}
		before, after := rows(rnd.IntN(300)), rows(rnd.IntN(300))
		most, rounds := []int64{7, 40, feedKeysMost}[rnd.IntN(3)], []int64{1000, 1000, 2}[rnd.IntN(3)]
		d := m.newFeedDiff(t.Context())
		old, now := side(before), side(after)
		require.NoError(t, d.run(t.Context(), old, now, most, rounds))
		require.NoError(t, d.out.finish())
		state, types := map[feedRow]int{}, map[string]int{}
		for _, r := range before {
			state[r]++
		}
		told, pre, post := map[feedRow]int{}, map[int64]int{}, map[int64]int{}
		for _, f := range d.out.done {
			schema := &tablefmt.Schema{Fields: append(append([]tablefmt.Field{}, m.schema.Fields...), tablefmt.Field{Name: tablefmt.ColChangeType, Type: tablefmt.String})}
			snap, err := m.snap.WithSchema(schema)
			require.NoError(t, err)
			require.NoError(t, snap.ReadFile(t.Context(), f.add, tablefmt.ReadOptions{}, func(rec arrow.RecordBatch, _ int64) error {
				for i := range int(rec.NumRows()) {
					r := feedRow{rec.Column(0).(*array.Int64).Value(i), rec.Column(1).(*array.Int64).Value(i)}
					what := rec.Column(2).ValueStr(i)
					types[what]++
					by := 1
					switch what {
					case tablefmt.ChangeDelete:
						by = -1
					case tablefmt.ChangePreimage:
						pre[r.id]++
						by = -1
					case tablefmt.ChangePostimage:
						post[r.id]++
					}
					told[r] += by
					if state[r] += by; state[r] == 0 {
						delete(state, r)
					}
				}
				return nil
			}))
		}
		d.close()
		want := map[feedRow]int{}
		for _, r := range after {
			want[r]++
		}
		name := fmt.Sprintf("seed %d: %d and %d rows, %d a time, %v", seed, len(before), len(after), most, types)
		require.Equal(t, want, state, name)
		require.True(t, maps.Equal(pre, post), name)
		if key == nil {
			require.Empty(t, pre, name)
		}
		if few := int64(min(len(before), len(after))); key != nil && few > 50 && (few+most-1)/most <= rounds {
			require.NotEmpty(t, pre, name)
			for id, n := range pre {
				require.Equal(t, 1, n, "%s: key %d", name, id)
			}
		}
	}
}
