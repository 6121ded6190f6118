package cdctest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

func testIdentity(t *testing.T, s *suite) {
	s.attach()
	a, err := s.src.Identify(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, a.SystemID)
	require.NotEmpty(t, a.Database)
	require.NotZero(t, a.Timeline)
	require.NotZero(t, a.ServerVersion)
	b, err := s.handle().Identify(t.Context())
	require.NoError(t, err)
	require.Equal(t, a, b)
}

func testSlot(t *testing.T, s *suite) {
	s.attach()
	_, err := s.src.Slot(t.Context())
	require.ErrorIs(t, err, cdc.ErrNoSlot)
	_, err = s.src.Stream(t.Context(), 0x1000)
	require.ErrorIs(t, err, cdc.ErrNoSlot)
	require.NoError(t, s.src.DropSlot(t.Context()), "there is none")

	sn, err := s.src.CreateSlot(t.Context())
	require.NoError(t, err)
	defer func() { _ = s.src.DropSlot(context.Background()) }()
	state, err := s.src.Slot(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, state.Name)
	require.LessOrEqual(t, state.ConfirmedFlush, sn.Point())
	require.GreaterOrEqual(t, state.Current, sn.Point())
	require.False(t, state.Lost)
	require.False(t, state.Active)
	require.NoError(t, sn.Close())

	_, err = s.src.CreateSlot(t.Context())
	require.ErrorIs(t, err, cdc.ErrSlotExists)
	st := s.stream(sn.Point())
	state, err = s.src.Slot(t.Context())
	require.NoError(t, err)
	require.True(t, state.Active)
	require.NoError(t, st.Close())
	require.NoError(t, s.src.DropSlot(t.Context()))
	_, err = s.src.Slot(t.Context())
	require.ErrorIs(t, err, cdc.ErrNoSlot)
}

// writeBeside commits transactions until stop is called, each of which moves
// the same amount from a to b; the sum of n over both tables never changes.
func (s *suite) writeBeside(rows int64) (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for i := int64(0); ; i++ {
			select {
			case <-done:
				return
			default:
			}
			id := i % rows
			s.exec(
				Op{Kind: UpdateN, Table: "a", ID: id, N: s.model["a"][id]["n"].(int64) - 1},
				Op{Kind: UpdateN, Table: "b", ID: id, N: s.model["b"][id]["n"].(int64) + 1})
			if i%10 == 9 {
				s.exec(Op{Kind: Insert, Table: "a", ID: 1000 + i, N: 5}, Op{Kind: Insert, Table: "b", ID: 1000 + i, N: -5})
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

func (s *suite) fill(rows int64) {
	var ops []Op
	for id := range rows {
		ops = append(ops, Op{Kind: Insert, Table: "a", ID: id, N: 100, V: fmt.Sprint("row ", id)}, Op{Kind: Insert, Table: "b", ID: id, N: -100})
	}
	s.exec(ops...)
}

// requireBalance: every state that a consumer sees at a cut is one that the
// source had.
func requireBalance(t *testing.T, r *Replica) {
	t.Helper()
	sum := int64(0)
	for _, name := range []string{"a", "b"} {
		for _, row := range r.State(name) {
			sum += row["n"].(int64)
		}
	}
	require.Zero(t, sum, "at %s the replica shows half a transaction", r.Cut())
}

// testBoundary: what the slot's snapshot holds and what the stream gives from
// its point on are everything, once, with writers at work all the time.
func testBoundary(t *testing.T, s *suite) {
	s.fill(50)
	stop := s.writeBeside(50)
	r := s.begin()
	requireBalance(t, r)
	st := s.stream(r.Cut()) // the snapshot may go on while it streams, or not
	time.Sleep(20 * time.Millisecond)
	stop()
	s.drain(st, r, s.mark())
	s.requireEqual(r)
}

// testLaterSnapshot: the same holds of each later snapshot and its own point.
func testLaterSnapshot(t *testing.T, s *suite) {
	s.fill(30)
	s.begin()
	state, err := s.src.Slot(t.Context())
	require.NoError(t, err)
	stop := s.writeBeside(30)
	replicas := make([]*Replica, 3)
	for i := range replicas {
		sn, err := s.src.Snapshot(t.Context())
		require.NoError(t, err)
		replicas[i] = s.copy(sn)
		require.NoError(t, sn.Close())
		requireBalance(t, replicas[i])
	}
	stop()
	marker := s.mark()
	d := s.drain(s.stream(state.ConfirmedFlush), nil, marker)
	for _, r := range replicas {
		for _, e := range d.events {
			if e.Txn.Commit < r.Cut() {
				continue // part of the snapshot
			}
			r.pending = append(r.pending, e)
		}
		require.NoError(t, r.Apply(&cdc.Chunk{Cut: d.cuts[len(d.cuts)-1]}))
		s.requireEqual(r)
	}
}

func testChangedTable(t *testing.T, s *suite) {
	s.fill(10)
	s.attach()
	sn, err := s.src.CreateSlot(t.Context())
	require.NoError(t, err)
	defer func() { _ = s.src.DropSlot(context.Background()) }()
	defer sn.Close()
	s.exec(Op{Kind: Truncate, Table: "a"})
	s.exec(Op{Kind: AddColumn, Table: "b", V: "extra"})
	for _, rel := range s.rels {
		ranges, err := sn.Plan(t.Context(), rel)
		if rel.Name == markers {
			require.NoError(t, err)
			require.Empty(t, ranges, "an empty table has no range")
			continue
		}
		require.ErrorIs(t, err, cdc.ErrTableChanged, rel.Name)
	}
}
