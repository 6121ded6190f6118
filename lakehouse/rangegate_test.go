package lakehouse

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// intRanges divides numbers.
type intRanges []int64

func (r intRanges) Len() int              { return len(r) + 1 }
func (r intRanges) Range(i int) cdc.Range { return cdc.Range{ID: strconv.Itoa(i)} }
func (r intRanges) Text() string          { return fmt.Sprint([]int64(r)) }

func (r intRanges) Of(b *cdc.Batch, row int) int {
	i, found := slices.BinarySearch(r, b.Rows.Column(0).(*array.Int64).Value(row))
	if found {
		i++
	}
	return i
}

var gateTable = &cdc.Relation{OID: 1, Schema: "public", Name: "t", Columns: []cdc.Column{cdctest.Int64("id")}, Key: []int{0}}

// gateItems reads lines such as "txn 100/7: insert 3, update 12, move 12>25,
// delete 7, truncate": a transaction's commit position and id, and its
// changes. A line is an item, and so is a truncate.
func gateItems(t *testing.T, text string) (items []cdc.Item) {
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		var txn cdc.Txn
		head, changes, ok := strings.Cut(line, ":")
		_, err := fmt.Sscanf(head, "txn %d/%d", &txn.Commit, &txn.XID)
		require.True(t, ok && err == nil, line)
		var b *cdc.Batch
		var ids *array.Int64Builder
		begin := func() {
			ids = array.NewInt64Builder(memory.DefaultAllocator)
			b = &cdc.Batch{Relation: gateTable, Txns: []cdc.TxnSpan{{Txn: txn}}}
		}
		flush := func() {
			if len(b.Ops) > 0 {
				b.Rows = array.NewRecordBatch(gateTable.Arrow(), []arrow.Array{ids.NewArray()}, int64(len(b.Ops)))
				items = append(items, cdc.Item{Relation: gateTable, Batch: b})
			}
			begin()
		}
		begin()
		add := func(op cdc.Op, id string) {
			n, err := strconv.ParseInt(id, 10, 64)
			require.NoError(t, err)
			ids.Append(n)
			b.Ops, b.Seqs = append(b.Ops, op), append(b.Seqs, int64(len(b.Seqs)))
		}
		for _, c := range strings.Split(changes, ",") {
			op, id, _ := strings.Cut(strings.TrimSpace(c), " ")
			switch op {
			case "insert":
				add(cdc.OpInsert, id)
			case "update":
				add(cdc.OpUpdate, id)
			case "delete":
				add(cdc.OpDelete, id)
			case "move":
				from, to, _ := strings.Cut(id, ">")
				add(cdc.OpBefore, from)
				add(cdc.OpUpdate, to)
			case "truncate":
				flush()
				items = append(items, cdc.Item{Relation: gateTable, Truncate: &cdc.Truncate{Txn: txn}})
			default:
				t.Fatalf("what is %q?", c)
			}
		}
		flush()
	}
	return items
}

// TestRangeGate runs testdata/rangegate: what becomes of changes while a table
// is copied by ranges of keys.
func TestRangeGate(t *testing.T) {
	var g *rangeGate
	var held []cdc.Item
	view := func(d *datadriven.TestData) cdc.View {
		var text string
		d.ScanArgs(t, "view", &text)
		ids, horizon, _ := strings.Cut(text, "@")
		v, err := cdc.ParseXIDs(ids)
		require.NoError(t, err)
		n, err := strconv.Atoi(horizon)
		require.NoError(t, err)
		v.Horizon = cdc.LSN(n)
		return v
	}
	number := func(d *datadriven.TestData) (i int) {
		d.ScanArgs(t, "range", &i)
		return i
	}
	hash := func(b *cdc.Batch, row int) (h keyindex.Hash) {
		h[0] = byte(b.Rows.Column(0).(*array.Int64).Value(row))
		return h
	}
	datadriven.RunTest(t, "testdata/rangegate", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "table":
			from := 0
			d.MaybeScanArgs(t, "from", &from)
			g, held = newRangeGate(intRanges{10, 20}, cdc.LSN(from)), nil
		case "open":
			g.open(number(d))
		case "view":
			if !g.accept(number(d), view(d)) {
				g.putBack(number(d))
				return "refused\n"
			}
		case "done":
			g.done(number(d), view(d))
		case "point":
			var id int
			d.ScanArgs(t, "id", &id)
			g.point(keyindex.Hash{byte(id)}, view(d))
		case "changes":
			return sieveText(g, &held, gateItems(t, d.Input), hash)
		case "again":
			return sieveText(g, &held, nil, hash)
		}
		return "ok\n"
	})
}

func sieveText(g *rangeGate, held *[]cdc.Item, items []cdc.Item, hash func(*cdc.Batch, int) keyindex.Hash) string {
	all := append(*held, items...)
	out := g.sieve(all, hash)
	if out.again {
		return "the copy begins again\n"
	}
	*held = nil
	for i := out.from; i < len(all); i++ {
		from := 0
		if i == out.from {
			from = out.row
		}
		*held = append(*held, retainItem(all[i], from))
	}
	text := itemsText("apply", out.apply) + itemsText("hold", *held)
	if len(g.dropped) > 0 {
		text += fmt.Sprintf("views have to hold %d transactions\n", len(g.dropped))
	}
	return text
}

func itemsText(what string, items []cdc.Item) string {
	var b strings.Builder
	for _, it := range items {
		if it.Truncate != nil {
			fmt.Fprintf(&b, "%s txn %d: truncate\n", what, it.Truncate.Txn.Commit)
			continue
		}
		var list []string
		for row, op := range it.Batch.Ops {
			if op != opSkipped {
				list = append(list, fmt.Sprintf("%c%d", op, it.Batch.Rows.Column(0).(*array.Int64).Value(row)))
			}
		}
		if len(list) > 0 {
			fmt.Fprintf(&b, "%s txn %d: %s\n", what, it.Batch.Txns[0].Txn.Commit, strings.Join(list, " "))
		}
	}
	return b.String()
}

// A table whose key is another one now cannot be divided as it was: its copy
// begins again, whatever else the key would be taken for.
func TestEdge60AKeyThatChangesWhileRangesAreReadEndsTheCopy(t *testing.T) {
	for name, change := range map[string]func(rel *cdc.Relation){
		"none":    func(rel *cdc.Relation) { rel.Key = nil },
		"another": func(rel *cdc.Relation) { rel.Columns, rel.Key = append(rel.Columns, cdctest.Int64("n")), []int{1} },
		"longer":  func(rel *cdc.Relation) { rel.Columns, rel.Key = append(rel.Columns, cdctest.Int64("n")), []int{0, 1} },
		"retyped": func(rel *cdc.Relation) { rel.Columns = []cdc.Column{cdctest.Text("id")} },
		"the same": func(rel *cdc.Relation) {
			rel.Columns = append(rel.Columns, cdctest.Int64("n"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			rel := *gateTable
			rel.Columns = slices.Clone(rel.Columns)
			change(&rel)
			items := gateItems(t, "txn 100/7: insert 3")
			items[0].Relation, items[0].Batch.Relation = &rel, &rel
			c := newRangeCopy(gateTable, intRanges{10}, 50)
			defer c.close()
			require.NoError(t, c.apply(t.Context(), &fedTable{}, items, nil))
			require.Equal(t, name != "the same", c.givenUp())
			old := gateItems(t, "txn 40/7: insert 3")
			old[0].Relation, old[0].Batch.Relation = &rel, &rel
			before := newRangeCopy(gateTable, intRanges{10}, 50)
			defer before.close()
			require.NoError(t, before.apply(t.Context(), &fedTable{}, old, nil))
			require.False(t, before.givenUp(), "it is before the copy")
		})
	}
}

// Two readers take views at a time: the older one has to hold what was dropped
// before it, also when it is accepted after another that does.
func TestEdge60ViewsAcceptedInAnotherOrder(t *testing.T) {
	hidden := cdc.View{Xmin: 5, Xmax: 6, Running: []uint64{5}, Horizon: 140}
	seen := cdc.View{Xmin: 6, Xmax: 6, Horizon: 150}
	g := newRangeGate(intRanges{10, 20}, 0)
	g.sieve(gateItems(t, "txn 100/5: insert 3, insert 12"), nil)
	g.open(0)
	g.open(1)
	require.True(t, g.accept(1, seen))
	require.False(t, g.accept(0, hidden), "its rows lack an insert that was dropped")
	g.putBack(0)
	g.open(0)
	require.True(t, g.accept(0, seen))
	require.Empty(t, g.dropped, "every view to come holds it")
}
