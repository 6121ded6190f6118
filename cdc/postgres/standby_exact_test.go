package postgres

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/internal/pgserver"
)

// Each snapshot of a standby holds exactly the transactions before its point,
// beside writers that update, delete and move rows, so that the primary prunes
// pages all the time. Where the primary does not keep what the standby needs a
// snapshot fails, and is not wrong.
func TestEdge22SnapshotsOnAStandbyAreExact(t *testing.T) {
	for _, feedback := range []string{"on", "off"} {
		t.Run("feedback "+feedback, func(t *testing.T) {
			p := newServerPair(t, map[string]string{"hot_standby_feedback": feedback, "max_standby_streaming_delay": "300ms"})
			if p.standby.Version() < 16 {
				t.Skip("left out: standbys before PostgreSQL 16 do not decode")
			}
			_, err := p.primary.SQL(t.Context(), "CREATE TABLE a (id int PRIMARY KEY, v text) WITH (fillfactor = 50)", "INSERT INTO a SELECT g, 'first' FROM generate_series(1, 300) g")
			require.NoError(t, err)
			p.caughtUp()
			ctx := testContext(t)
			s := p.open(func(c *Config) { c.AllowStandby, c.PrimaryDSN = true, p.config(p.primary).DSN }, p.standby)
			rels, err := s.Tables(ctx)
			require.NoError(t, err)
			require.NoError(t, s.Publish(ctx, rels))
			snap, err := s.CreateSlot(ctx) // nothing is written yet
			require.NoError(t, err)
			held, failed := map[cdc.LSN]map[int32]string{}, 0
			held[snap.Point()], err = wholeTable(snap, rels[0])
			require.NoError(t, err)
			first := snap.Point()
			writing, stop := context.WithCancel(ctx)
			defer stop()
			var wg sync.WaitGroup
			for seed := range 4 {
				wg.Go(func() { churn(writing, t, p.primary, uint64(seed)) })
			}
			for range 15 {
				snap, err := s.Snapshot(ctx)
				if err == nil {
					var rows map[int32]string
					if rows, err = wholeTable(snap, rels[0]); err == nil {
						held[snap.Point()] = rows
					}
				}
				if err != nil {
					require.True(t, cdc.Retryable(err), "%v", err)
					failed++
				}
			}
			stop()
			wg.Wait()
			p.caughtUp()
			events := eventsAfter(t, s, first)
			state := maps.Clone(held[first])
			next := 0
			for _, point := range slices.Sorted(maps.Keys(held)) {
				for ; next < len(events) && events[next].Txn.Commit < point; next++ {
					applyTo(state, events[next])
				}
				require.Equal(t, state, held[point], "the snapshot at %s, after %d changes", point, next)
			}
			t.Logf("%d snapshots, all exact, and %d that failed, beside %d changes on PostgreSQL %d", len(held), failed, len(events), p.standby.Version())
			if feedback == "on" {
				require.Greater(t, len(held), 7)
			}
		})
	}
}

// Replay that waits for the sessions of a snapshot does not wait for one that
// takes the snapshot over meanwhile: what that one reads may lack rows.
func TestEdge22ReaderThatReplayDoesNotWaitFor(t *testing.T) {
	p := newServerPair(t, map[string]string{"hot_standby_feedback": "off", "max_standby_streaming_delay": "5s"})
	if p.standby.Version() < 16 {
		t.Skip("left out: standbys before PostgreSQL 16 do not decode")
	}
	const rows = 100_000
	_, err := p.primary.SQL(t.Context(), "CREATE TABLE a (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = off)",
		fmt.Sprintf("INSERT INTO a SELECT g, repeat(md5(g::text), 6) FROM generate_series(1, %d) g", rows), "VACUUM (FREEZE) a")
	require.NoError(t, err)
	p.caughtUp()
	ctx := testContext(t)
	s := p.open(func(c *Config) { c.AllowStandby, c.PrimaryDSN = true, p.config(p.primary).DSN }, p.standby)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Publish(ctx, rels))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, snap.Close()) }()
	ranges, err := snap.Plan(ctx, rels[0])
	require.NoError(t, err)
	replayWaits := func() bool {
		state, err := p.standby.SQL(ctx, "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'")
		require.NoError(t, err)
		return strings.HasPrefix(state[0][0], "RecoveryConflict")
	}

	// One page alone is pruned: the reader would be waited for by the next.
	_, err = p.primary.SQL(ctx, fmt.Sprintf("DELETE FROM a WHERE id > %d", rows-3), "VACUUM (TRUNCATE off, INDEX_CLEANUP off) a")
	require.NoError(t, err)
	require.Eventually(t, replayWaits, 30*time.Second, 5*time.Millisecond)
	read := 0
	err = snap.Read(ctx, rels[0], ranges[len(ranges)-1], func(b *cdc.Batch) error {
		if read == 0 {
			require.Eventually(t, func() bool { return !replayWaits() }, 30*time.Second, 20*time.Millisecond)
			p.caughtUp()
		}
		read += b.Len()
		b.Release()
		return nil
	})
	require.Less(t, read, rows, "the server gives rows that it has removed: the test tests nothing")
	require.ErrorIs(t, err, cdc.ErrSnapshotLost)
	require.True(t, cdc.Retryable(err))
	_, err = snap.Plan(ctx, rels[0])
	require.ErrorIs(t, err, cdc.ErrSnapshotLost)
}

// wholeTable reads a table under a snapshot, and closes it.
func wholeTable(snap cdc.Snapshot, rel *cdc.Relation) (map[int32]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	rows := map[int32]string{}
	ranges, err := snap.Plan(ctx, rel)
	for _, r := range ranges {
		if err == nil {
			err = snap.Read(ctx, rel, r, func(b *cdc.Batch) error {
				defer b.Release()
				for i, id := range ids(b) {
					rows[id] = b.Rows.Column(1).(*array.String).Value(i)
				}
				return nil
			})
		}
	}
	if closeErr := snap.Close(); err == nil {
		err = closeErr
	}
	return rows, err
}

// churn makes transactions that update, delete, insert and move rows until ctx
// ends.
func churn(ctx context.Context, t *testing.T, s *pgserver.Server, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	for n := 0; ctx.Err() == nil; n++ {
		var sql []string
		for i := range 1 + rng.IntN(4) {
			id := rng.IntN(300)
			switch rng.IntN(6) {
			case 0:
				sql = append(sql, fmt.Sprintf("DELETE FROM a WHERE id = %d", id))
			case 1:
				sql = append(sql, fmt.Sprintf("INSERT INTO a VALUES (%d, 'i%d-%d-%d') ON CONFLICT DO NOTHING", id, seed, n, i))
			case 2:
				sql = append(sql, fmt.Sprintf("UPDATE a SET id = %d WHERE id = %d AND NOT EXISTS (SELECT FROM a WHERE id = %d)", 999-id, id, 999-id))
			case 3:
				sql = append(sql, fmt.Sprintf("SELECT pg_sleep(%f)", rng.Float64()/100))
			default:
				sql = append(sql, fmt.Sprintf("UPDATE a SET v = 'w%d-%d-%d' WHERE id BETWEEN %d AND %d", seed, n, i, id, id+5))
			}
		}
		if _, err := s.SQL(context.WithoutCancel(ctx), strings.Join(sql, ";")); err != nil && ctx.Err() == nil {
			time.Sleep(time.Millisecond) // a deadlock
		}
	}
}

// eventsAfter streams everything that is committed by now.
func eventsAfter(t *testing.T, s *Source, from cdc.LSN) []cdctest.Event {
	t.Helper()
	ctx := testContext(t)
	state, err := s.Slot(ctx)
	require.NoError(t, err)
	stream, err := s.Stream(ctx, from)
	require.NoError(t, err)
	defer func() { require.NoError(t, stream.Close()) }()
	var all []cdctest.Event
	for cut := cdc.LSN(0); cut < state.Current; {
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		events, err := cdctest.Events(c)
		require.NoError(t, err)
		all = append(all, events...)
		cut = c.Cut
		c.Release()
	}
	return all
}

// applyTo applies a change to rows by their id.
func applyTo(rows map[int32]string, e cdctest.Event) {
	id := int32(e.Row["id"].(int64))
	switch e.Op {
	case cdc.OpDelete, cdc.OpBefore:
		delete(rows, id)
	default:
		rows[id] = e.Row["v"].(string)
	}
}
