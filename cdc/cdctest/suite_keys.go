package cdctest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// TestKeyReader holds a source to the contract of [cdc.KeyReader]. The sources
// of the drivers that open gives have to divide a table of some thousand rows
// of a hundred bytes into more than two ranges.
func TestKeyReader(t *testing.T, open func(t *testing.T) Driver) {
	parts := []struct {
		name string
		test func(*testing.T, *keySuite)
	}{
		{"RangesThenStream", testRangesThenStream},
		{"RangesComeBack", testRangesComeBack},
		{"ChangedTable", testRangesOfChangedTable},
		{"OneRow", testOneRow},
		{"EmitFails", testEmitFails},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			s := &keySuite{suite: &suite{t: t, d: open(t), model: make(map[string]map[int64]Row)}}
			s.table("a")
			s.table("b")
			s.table(markers)
			for from := int64(0); from < keyRows; from += 500 {
				var ops []Op
				for id := from; id < from+500; id++ {
					ops = append(ops, Op{Kind: Insert, Table: "a", ID: 2 * id, N: id, V: strings.Repeat("x", 80)})
				}
				s.exec(ops...)
			}
			s.attach()
			sn, err := s.src.CreateSlot(t.Context())
			require.NoError(t, err)
			s.point = sn.Point()
			require.NoError(t, sn.Close())
			t.Cleanup(func() { _ = s.src.DropSlot(t.Context()) })
			s.reader = s.src.(cdc.KeyReader)
			s.rel = s.rels[0]
			s.ranges, err = s.reader.Divide(t.Context(), s.rel)
			require.NoError(t, err)
			require.NotNil(t, s.ranges)
			require.Greater(t, s.ranges.Len(), 2)
			p.test(t, s)
		})
	}
}

// keyRows is how many rows the table has at first, with even keys.
const keyRows = 4000

type keySuite struct {
	*suite
	reader cdc.KeyReader
	rel    *cdc.Relation
	ranges cdc.KeyRanges
	point  cdc.LSN // of the slot
}

// read gives the rows of a range, and the view under which it was read.
func (s *keySuite) read(ranges cdc.KeyRanges, i int, row func(b *cdc.Batch, row int, e Event)) cdc.View {
	s.t.Helper()
	r, err := s.reader.BeginRead(s.t.Context(), s.rel, ranges)
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, r.Close()) }()
	v, err := r.View(s.t.Context())
	require.NoError(s.t, err)
	again, err := r.View(s.t.Context())
	require.NoError(s.t, err)
	require.Equal(s.t, v, again, "a view is taken once")
	require.NoError(s.t, r.Range(s.t.Context(), i, func(b *cdc.Batch) error {
		defer b.Release()
		events, err := batchEvents(b)
		require.NoError(s.t, err)
		for n, e := range events {
			require.Equal(s.t, cdc.OpInsert, e.Op)
			row(b, n, e)
		}
		return nil
	}))
	return v
}

// write changes a table until it is stopped: rows come, go, change, and move
// between ranges.
func (s *keySuite) write() (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		rng := rand.New(rand.NewPCG(1, 2))
		rows := s.model["a"]
		for i := int64(0); ; i++ {
			select {
			case <-done:
				return
			default:
			}
			id, to := rng.Int64N(2*keyRows), 2*rng.Int64N(keyRows)+1
			_, there := rows[id]
			_, taken := rows[to]
			switch {
			case !there && id%2 == 1:
				s.exec(Op{Kind: Insert, Table: "a", ID: id, N: i, V: "new"})
			case !there:
			case i%3 == 0 && !taken:
				s.exec(Op{Kind: UpdateKey, Table: "a", ID: id, N: to})
			case i%7 == 0:
				s.exec(Op{Kind: Delete, Table: "a", ID: id})
			default:
				s.exec(Op{Kind: UpdateN, Table: "a", ID: id, N: -i}, Op{Kind: Insert, Table: "b", ID: i})
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// testRangesThenStream: what each range's view holds and what the stream gives
// of other transactions is everything, once, with a writer at work.
func testRangesThenStream(t *testing.T, s *keySuite) {
	stop := s.write()
	require.NoError(t, s.reader.Settle(t.Context()))
	got := make(map[int64]Row)
	views := make([]cdc.View, s.ranges.Len())
	for i := range views {
		views[i] = s.read(s.ranges, i, func(b *cdc.Batch, row int, e Event) {
			require.Equal(t, i, s.ranges.Of(b, row), "a row of another range")
			id := e.Row["id"].(int64)
			require.Nil(t, got[id], "row %d comes twice", id)
			got[id] = e.Row
		})
		require.NotZero(t, views[i].Horizon)
	}
	stop()
	marker := s.mark()
	seen, err := s.reader.Seen(t.Context())
	require.NoError(t, err)
	st := s.stream(s.point)
	held, applied := 0, 0
	for done := false; !done; {
		c := s.next(st)
		of := make(map[int64]int) // the range of each key
		for _, item := range c.Items {
			if item.Batch == nil || item.Relation.OID != s.rel.OID {
				continue
			}
			events, err := batchEvents(item.Batch)
			require.NoError(t, err)
			for row, e := range events {
				of[e.Row["id"].(int64)] = s.ranges.Of(item.Batch, row)
			}
		}
		events, err := Events(c)
		require.NoError(t, err)
		c.Release()
		for i, e := range events {
			if e.Relation.Name == markers {
				done = done || e.Row["id"] == marker
				require.True(t, seen.Holds(e.Txn), "what is committed is seen")
			}
			if e.Relation.OID != s.rel.OID {
				continue
			}
			if views[of[e.Row["id"].(int64)]].Holds(e.Txn) {
				held++
				continue
			}
			applied++
			id := e.Row["id"].(int64)
			switch e.Op {
			case cdc.OpInsert:
				require.Nil(t, got[id], "row %d is inserted, and was read", id)
				got[id] = e.Row
			case cdc.OpUpdate:
				row := maps.Clone(e.Row)
				for name, v := range got[id] {
					if _, sent := row[name]; !sent {
						row[name] = v
					}
				}
				got[id] = row
			case cdc.OpDelete:
				delete(got, id)
			case cdc.OpBefore:
				require.Less(t, i+1, len(events), "an old key without its row")
				require.NotEqual(t, id, events[i+1].Row["id"])
				delete(got, id)
			}
		}
	}
	require.Positive(t, held, "nothing was changed before its range was read")
	require.Positive(t, applied, "nothing was changed afterwards")
	t.Logf("of the changes %d were read, and %d streamed", held, applied)
	require.Equal(t, s.model["a"], got)
}

// testRangesComeBack: ranges are the same when they are made of their text, and
// another handle may do so.
func testRangesComeBack(t *testing.T, s *keySuite) {
	later := s.handle().(cdc.KeyReader)
	rels, err := later.Tables(t.Context())
	require.NoError(t, err)
	again, err := later.Restore(t.Context(), rels[0], s.ranges.Text())
	require.NoError(t, err)
	require.Equal(t, s.ranges.Len(), again.Len())
	require.Equal(t, s.ranges.Text(), again.Text())
	count := 0
	for i := range again.Len() {
		require.Equal(t, s.ranges.Range(i), again.Range(i))
		s.read(s.ranges, i, func(b *cdc.Batch, row int, _ Event) {
			require.Equal(t, i, again.Of(b, row))
			count++
		})
	}
	require.Equal(t, keyRows, count)
	_, err = later.Restore(t.Context(), rels[0], "no ranges")
	require.Error(t, err)
}

// testRangesOfChangedTable: what was emptied or has other columns is not read
// by the ranges that it had.
func testRangesOfChangedTable(t *testing.T, s *keySuite) {
	for _, op := range []Op{{Kind: Truncate, Table: "a"}, {Kind: AddColumn, Table: "a", V: "more"}} {
		s.exec(op)
		r, err := s.reader.BeginRead(t.Context(), s.rel, s.ranges)
		if err == nil {
			_, err = r.View(t.Context())
			require.NoError(t, r.Close())
		}
		require.ErrorIs(t, err, cdc.ErrTableChanged, "%s", op.Kind)
	}
}

// testOneRow: a row is found by the key of any image of it, as the read sees
// it.
func testOneRow(t *testing.T, s *keySuite) {
	st := s.stream(s.point)
	s.exec(Op{Kind: UpdateN, Table: "a", ID: 10, N: 77})
	s.exec(Op{Kind: Delete, Table: "a", ID: 20})
	var images []*cdc.Chunk
	for n := 0; n < 2; {
		c := s.next(st)
		events, err := Events(c)
		require.NoError(t, err)
		n += len(events)
		images = append(images, c)
	}
	require.NoError(t, s.reader.Settle(t.Context()))
	s.exec(Op{Kind: UpdateN, Table: "a", ID: 10, N: 78})
	r, err := s.reader.BeginRead(t.Context(), s.rel, s.ranges)
	require.NoError(t, err)
	_, err = r.View(t.Context())
	require.NoError(t, err)
	s.exec(Op{Kind: UpdateN, Table: "a", ID: 10, N: 79})
	var found []string
	for _, c := range images {
		for _, item := range c.Items {
			for row := range item.Batch.Len() {
				require.NoError(t, r.Row(t.Context(), item.Batch, row, func(b *cdc.Batch) error {
					defer b.Release()
					events, err := batchEvents(b)
					for _, e := range events {
						found = append(found, fmt.Sprint(e.Row["id"], " ", e.Row["n"]))
					}
					return err
				}))
			}
		}
		c.Release()
	}
	require.Equal(t, []string{"10 78"}, found, "the row as the view has it, and none for the key that is gone")
	require.NoError(t, r.Close())
}

// testEmitFails: the caller's refusal ends the read, and is handed back; the
// reader is of use afterwards.
func testEmitFails(t *testing.T, s *keySuite) {
	full := errors.New("there is no room")
	r, err := s.reader.BeginRead(t.Context(), s.rel, s.ranges)
	require.NoError(t, err)
	_, err = r.View(t.Context())
	require.NoError(t, err)
	err = r.Range(t.Context(), 0, func(b *cdc.Batch) error {
		b.Release()
		return full
	})
	require.ErrorIs(t, err, full)
	require.NoError(t, r.Close())
	rows := 0
	s.read(s.ranges, 0, func(*cdc.Batch, int, Event) { rows++ })
	require.Positive(t, rows)
}
