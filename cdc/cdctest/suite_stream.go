package cdctest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

func testOrder(t *testing.T, s *suite) {
	r := s.begin()
	st := s.stream(r.Cut())
	s.fill(5)
	for i := range int64(40) {
		s.exec(
			Op{Kind: UpdateN, Table: "a", ID: i % 5, N: s.model["a"][i%5]["n"].(int64) + i},
			Op{Kind: UpdateN, Table: "b", ID: i % 5, N: s.model["b"][i%5]["n"].(int64) - i})
	}
	marker := s.mark()
	before := r.Cut()
	d := s.drain(st, r, marker)
	s.requireEqual(r)
	require.Equal(t, 42, d.txns)
	require.Greater(t, r.Cut(), before)
	commits := make(map[cdc.LSN]int)
	for _, e := range d.events {
		commits[e.Txn.Commit]++
		require.False(t, e.Txn.Time.IsZero())
		require.NotZero(t, e.Txn.XID)
	}
	require.Len(t, commits, 42)
}

func testOperations(t *testing.T, s *suite) {
	r := s.begin()
	st := s.stream(r.Cut())
	s.exec(Op{Kind: Insert, Table: "a", ID: 1, N: 10, V: "one"}, Op{Kind: Insert, Table: "a", ID: 2, V: ""})
	s.exec(Op{Kind: UpdateN, Table: "a", ID: 1, N: 11})
	s.exec(Op{Kind: UpdateKey, Table: "a", ID: 1, N: 3})
	s.exec(Op{Kind: Delete, Table: "a", ID: 2})
	s.exec(
		Op{Kind: Insert, Table: "b", ID: 1, N: 1}, Op{Kind: UpdateN, Table: "b", ID: 1, N: 2}, Op{Kind: Delete, Table: "b", ID: 1},
		Op{Kind: Insert, Table: "b", ID: 1, N: 3}, Op{Kind: Truncate, Table: "b"}, Op{Kind: Insert, Table: "b", ID: 9, N: 4})
	s.exec(Op{Kind: Truncate, Table: "a"})
	s.exec(Op{Kind: Insert, Table: "a", ID: -5, N: -1 << 63, V: "ünïcode 'quoted' \\ \n\t"})
	d := s.drain(st, r, s.mark())
	s.requireEqual(r)

	var got []string
	for _, e := range d.events {
		if e.Relation.Name != markers {
			op := string(rune(e.Op))
			if e.Op == 0 {
				op = "T"
			}
			got = append(got, fmt.Sprintf("%s%s %v", e.Relation.Name, op, e.Row["id"]))
		}
	}
	require.Equal(t, []string{
		"aI 1", "aI 2", "aU 1", "aB 1", "aU 3", "aD 2",
		"bI 1", "bU 1", "bD 1", "bI 1", "bT <nil>", "bI 9",
		"aT <nil>", "aI -5",
	}, got)
}

// testUnchanged: a value stored out of line that did not change is told to be
// unchanged, never to be NULL, and travels along when the key changes.
func testUnchanged(t *testing.T, s *suite) {
	var big strings.Builder
	for i := range 20_000 { // too varied to compress into a row
		fmt.Fprintf(&big, "%x", i*2654435761%65521)
	}
	s.exec(Op{Kind: Insert, Table: "a", ID: 1, N: 1, V: big.String()}, Op{Kind: Insert, Table: "a", ID: 2, N: 2, V: "small"})
	r := s.begin()
	s.requireEqual(r)
	st := s.stream(r.Cut())
	s.exec(Op{Kind: UpdateN, Table: "a", ID: 1, N: 10}, Op{Kind: UpdateN, Table: "a", ID: 2, N: 20})
	s.exec(Op{Kind: UpdateKey, Table: "a", ID: 1, N: 5})
	s.exec(Op{Kind: UpdateV, Table: "a", ID: 5, V: big.String() + "!"})
	s.exec(Op{Kind: Insert, Table: "a", ID: 6, V: big.String()})
	d := s.drain(st, r, s.mark())
	s.requireEqual(r)
	var sent []bool
	for _, e := range d.events {
		if e.Relation.Name == "a" && e.Op == cdc.OpUpdate {
			_, ok := e.Row["v"]
			sent = append(sent, ok)
		}
	}
	require.Equal(t, []bool{false, true, false, true}, sent, "which updates send v")
}

func testAddedColumn(t *testing.T, s *suite) {
	r := s.begin()
	st := s.stream(r.Cut())
	s.exec(Op{Kind: Insert, Table: "a", ID: 1, N: 1})
	s.exec(Op{Kind: AddColumn, Table: "a", V: "extra"}, Op{Kind: Insert, Table: "a", ID: 2, N: 2})
	s.exec(Op{Kind: UpdateN, Table: "a", ID: 1, N: 3})
	d := s.drain(st, r, s.mark())
	s.requireEqual(r)
	var columns []int
	for _, e := range d.events {
		if e.Relation.Name == "a" {
			columns = append(columns, len(e.Relation.Columns))
		}
	}
	require.Equal(t, []int{3, 4, 4}, columns)
	rels := s.relations()
	require.Equal(t, "extra", rels[0].Columns[3].Name)
}

// testBigTransaction: one transaction of many rows, with a small one beside.
func testBigTransaction(t *testing.T, s *suite) {
	r := s.begin()
	st := s.stream(r.Cut())
	const rows = 5000
	var ops []Op
	for id := range int64(rows) {
		ops = append(ops, Op{Kind: Insert, Table: "ab"[id%2 : id%2+1], ID: id, N: id, V: strings.Repeat("x", int(id%50))})
	}
	s.exec(ops...)
	s.exec(Op{Kind: UpdateN, Table: "a", ID: 0, N: -1})
	d := s.drain(st, r, s.mark())
	s.requireEqual(r)
	require.Equal(t, 3, d.txns)
	require.Len(t, d.events, rows+2)
}

// testAgain: what was not acknowledged comes again, the same.
func testAgain(t *testing.T, s *suite) {
	r := s.begin()
	s.fill(10)
	for i := range int64(10) {
		s.exec(Op{Kind: UpdateN, Table: "a", ID: i, N: i}, Op{Kind: Delete, Table: "b", ID: i})
	}
	marker := s.mark()
	from := r.Cut()
	var first []Event
	for round := range 3 {
		st := s.stream(from)
		if round == 1 { // give up in the middle
			s.next(st).Release()
			require.NoError(t, st.Close())
			continue
		}
		d := s.drain(st, nil, marker)
		require.NoError(t, st.Close())
		if round == 0 {
			first = d.events
			continue
		}
		require.Equal(t, len(first), len(d.events))
		for i := range first {
			a, b := first[i], d.events[i]
			require.True(t, a.Relation.SameShape(b.Relation))
			require.Equal(t, a.Txn, b.Txn)
			require.Equal(t, a.Seq, b.Seq)
			require.Equal(t, a.Op, b.Op)
			require.Equal(t, a.Row, b.Row)
		}
	}
}

// testFrom: from every cut the rest is delivered, whole, and nothing of what
// came before.
func testFrom(t *testing.T, s *suite) {
	r := s.begin()
	s.fill(3)
	for i := range int64(12) {
		s.exec(Op{Kind: UpdateN, Table: "a", ID: i % 3, N: i}, Op{Kind: UpdateN, Table: "b", ID: i % 3, N: -i})
	}
	marker := s.mark()
	st := s.stream(r.Cut())
	all := s.drain(st, nil, marker)
	require.NoError(t, st.Close())
	last := cdc.LSN(0)
	for _, cut := range all.cuts {
		if cut == last || cut >= all.cuts[len(all.cuts)-1] {
			continue
		}
		last = cut
		st := s.stream(cut)
		d := s.drain(st, nil, marker)
		require.NoError(t, st.Close())
		var want []string
		for _, e := range all.events {
			if e.Txn.Commit >= cut {
				want = append(want, fmt.Sprint(e.Txn.Commit, e.Seq))
			}
		}
		var got []string
		for _, e := range d.events {
			got = append(got, fmt.Sprint(e.Txn.Commit, e.Seq))
		}
		require.Equal(t, want, got, "from %s", cut)
	}
}

// testAck: what was acknowledged when a stream is closed reaches the slot,
// and no more than that.
func testAck(t *testing.T, s *suite) {
	r := s.begin()
	s.fill(3)
	first := s.mark()
	st := s.stream(r.Cut())
	s.drain(st, r, first)
	durable := r.Cut()
	st.Ack(durable)
	st.Ack(durable - 1) // lower: ignored
	s.exec(Op{Kind: UpdateN, Table: "a", ID: 1, N: 7})
	s.drain(st, r, s.mark())
	require.NoError(t, st.Close())
	state, err := s.src.Slot(t.Context())
	require.NoError(t, err)
	require.Equal(t, durable, state.ConfirmedFlush)

	st = s.stream(durable)
	d := s.drain(st, nil, s.marker)
	require.Len(t, d.events, 2, "what was delivered and not acknowledged")
}

// testBelowSlot: a stream from before what was acknowledged cannot be given,
// and must not be given with a gap.
func testBelowSlot(t *testing.T, s *suite) {
	r := s.begin()
	from := r.Cut()
	s.fill(3)
	st := s.stream(from)
	s.drain(st, r, s.mark())
	st.Ack(r.Cut())
	require.NoError(t, st.Close())
	_, err := s.src.Stream(t.Context(), from)
	require.Error(t, err)
	require.True(t, cdc.NeedsResync(err), "%v", err)
	require.False(t, cdc.Retryable(err))
}

// testIdle: where nothing of concern happens the cut moves on all the same,
// so that the server need not keep its log.
func testIdle(t *testing.T, s *suite) {
	r := s.begin()
	st := s.stream(r.Cut())
	s.drain(st, r, s.mark())
	s.d.Idle(t)
	before := r.Cut()
	for r.Cut() == before {
		c := s.next(st)
		require.Empty(t, c.Items)
		require.NoError(t, r.Apply(c))
		c.Release()
	}
	st.Ack(r.Cut())
	s.exec(Op{Kind: Insert, Table: "a", ID: 1})
	s.drain(st, r, s.mark())
	s.requireEqual(r)
	require.NoError(t, st.Close())
}

func testCancel(t *testing.T, s *suite) {
	r := s.begin()
	st := s.stream(r.Cut())
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(50*time.Millisecond, cancel)
	defer timer.Stop()
	for {
		c, err := st.Next(ctx)
		if err == nil {
			require.Empty(t, c.Items) // idle positions
			continue
		}
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, cdc.Retryable(err) && errors.Is(err, context.Canceled), "the caller has ended it: there is nothing to retry")
		break
	}
	_, err := s.src.Tables(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.src.Stream(ctx, r.Cut())
	require.ErrorIs(t, err, context.Canceled)
}
