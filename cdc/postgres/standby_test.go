package postgres

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/pgserver"
)

// ids are the first column of a batch's rows.
func ids(b *cdc.Batch) []int32 {
	return slices.Clone(b.Rows.Column(0).(*array.Int32).Int32Values())
}

// A standby of 16 or newer is read where that is allowed: publications are
// made on its primary, slots are made though the primary is idle, and each
// snapshot holds exactly the transactions before its point.
func TestEdge22Standby(t *testing.T) {
	p := newServerPair(t, map[string]string{"hot_standby_feedback": "on"})
	_, err := p.primary.SQL(t.Context(), "CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a SELECT generate_series(1, 100)")
	require.NoError(t, err)
	p.caughtUp()
	ctx := testContext(t)
	refusing := p.open(nil, p.standby)
	_, err = refusing.CreateSlot(ctx)
	require.ErrorContains(t, err, "standby")
	require.False(t, cdc.Retryable(err))
	if p.standby.Version() < 16 {
		old := p.open(func(c *Config) { c.AllowStandby = true }, p.standby)
		_, err = old.CreateSlot(ctx)
		require.ErrorContains(t, err, "cannot decode")
		return
	}
	alone := p.open(func(c *Config) { c.AllowStandby = true }, p.standby)
	rels, err := alone.Tables(ctx)
	require.NoError(t, err)
	err = alone.Publish(ctx, rels)
	require.ErrorContains(t, err, "standby")
	var e *cdc.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Remedy, "CREATE PUBLICATION")

	s := p.open(func(c *Config) { c.AllowStandby, c.PrimaryDSN = true, p.config(p.primary).DSN }, p.standby)
	require.NoError(t, s.Publish(ctx, rels))
	members, err := s.Published(ctx)
	require.NoError(t, err)
	require.Len(t, members, 1, "the standby has replayed it")
	require.NoError(t, alone.Publish(ctx, rels), "what is there already needs no primary")

	snap, err := s.CreateSlot(ctx) // the primary is idle
	require.NoError(t, err)
	held := map[cdc.LSN][]int32{}
	read := func(snap cdc.Snapshot) {
		t.Helper()
		copyTable(t, snap, rels[0], func(b *cdc.Batch) { held[snap.Point()] = append(held[snap.Point()], ids(b)...) })
		require.NoError(t, snap.Close())
	}
	read(snap)
	first := snap.Point()
	writing, stop := context.WithCancel(ctx)
	defer stop()
	wrote := make(chan error, 1)
	go func() { wrote <- writeOn(writing, p.primary) }()
	for range 8 {
		later, err := s.Snapshot(ctx)
		require.NoError(t, err)
		read(later)
	}
	stop()
	require.NoError(t, <-wrote)
	p.caughtUp()

	stream, err := s.Stream(ctx, first)
	require.NoError(t, err)
	streamed := map[int32]cdc.LSN{}
	state, err := s.Slot(ctx)
	require.NoError(t, err)
	for cut := cdc.LSN(0); cut < state.Current; {
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		cut = c.Cut
		for _, it := range c.Items {
			for i, span := range it.Batch.Txns {
				end := it.Batch.Len()
				if i+1 < len(it.Batch.Txns) {
					end = it.Batch.Txns[i+1].First
				}
				for _, id := range ids(it.Batch)[span.First:end] {
					streamed[id] = span.Txn.Commit
				}
			}
		}
		c.Release()
	}
	require.NoError(t, stream.Close())
	require.Len(t, held[first], 100)
	require.Greater(t, len(streamed), 10, "hardly anything was written meanwhile")
	for point, got := range held {
		want := slices.Clone(held[first])
		for id, commit := range streamed {
			if commit < point {
				want = append(want, id)
			}
		}
		require.ElementsMatch(t, want, got, "the snapshot at %s", point)
	}
	t.Logf("%d snapshots on a standby of PostgreSQL %d beside %d transactions", len(held), p.standby.Version(), len(streamed))
}

// writeOn inserts one row a transaction until ctx ends.
func writeOn(ctx context.Context, s *pgserver.Server) error {
	for id := 1000; ctx.Err() == nil; id++ {
		if _, err := s.SQL(context.WithoutCancel(ctx), fmt.Sprintf("INSERT INTO a VALUES (%d)", id)); err != nil {
			return err
		}
	}
	return nil
}

// A promotion does not end the stream of the standby: we do, so that the new
// timeline is learned, and everything goes on from where it was.
func TestEdge22PromotedUnderTheStream(t *testing.T) {
	p := newServerPair(t, map[string]string{"hot_standby_feedback": "on"})
	if p.standby.Version() < 16 {
		t.Skip("left out: standbys before PostgreSQL 16 do not decode")
	}
	_, err := p.primary.SQL(t.Context(), "CREATE TABLE a (id int PRIMARY KEY)")
	require.NoError(t, err)
	p.caughtUp()
	ctx := testContext(t)
	s := p.open(func(c *Config) { c.AllowStandby, c.PrimaryDSN = true, p.config(p.primary).DSN }, p.standby)
	before, err := s.Identify(ctx)
	require.NoError(t, err)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Publish(ctx, rels))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	stream, err := s.Stream(ctx, snap.Point())
	require.NoError(t, err)
	p.primary.Kill()
	require.NoError(t, p.standby.Promote(ctx))
	_, err = p.standby.SQL(ctx, "INSERT INTO a VALUES (1)")
	require.NoError(t, err)
	_, err = nextOrError(ctx, stream)
	require.ErrorIs(t, err, cdc.ErrTimeline)
	require.NoError(t, stream.Close())
	after, err := s.Identify(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 2, after.Timeline)
	require.Equal(t, before.Started, after.Started, "it is the same process")
	require.False(t, after.Started.IsZero())
	stream, err = s.Stream(ctx, snap.Point())
	require.NoError(t, err)
	for found := false; !found; {
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		found = len(c.Items) > 0
		c.Release()
	}
	require.NoError(t, stream.Close())
}

// What a standby needs is lost where the primary removes it: the slot says so,
// while it is read too, and is not made anew behind the operator's back.
func TestEdge22ConflictWithRecovery(t *testing.T) {
	p := newServerPair(t, map[string]string{"hot_standby_feedback": "off", "max_standby_streaming_delay": "100ms", "primary_slot_name": ""})
	if p.standby.Version() < 16 {
		t.Skip("left out: standbys before PostgreSQL 16 do not decode")
	}
	_, err := p.primary.SQL(t.Context(), "CREATE TABLE a (id int PRIMARY KEY)")
	require.NoError(t, err)
	p.caughtUp()
	ctx := testContext(t)
	s := p.open(func(c *Config) { c.AllowStandby, c.PrimaryDSN = true, p.config(p.primary).DSN }, p.standby)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Publish(ctx, rels))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	stream, err := s.Stream(ctx, snap.Point())
	require.NoError(t, err)
	for range 5 { // rows of the catalogue that the slot's decoding may need
		_, err = p.primary.SQL(ctx, "CREATE TABLE gone (id int)", "DROP TABLE gone", "VACUUM FULL pg_class", "VACUUM pg_attribute", "VACUUM pg_type", "VACUUM pg_depend")
		require.NoError(t, err)
	}
	_, err = nextOrError(ctx, stream)
	require.Error(t, err)
	_ = stream.Close()
	for cdc.Retryable(err) { // the server ends the session first, and tells why by its slot
		if stream, err = s.Stream(ctx, snap.Point()); err == nil {
			_, err = nextOrError(ctx, stream)
			_ = stream.Close()
		}
	}
	require.True(t, cdc.NeedsResync(err), "%v", err)
	require.ErrorContains(t, err, "removed rows of the catalogue")
	var e *cdc.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Remedy, "hot_standby_feedback")
}

// A slot that standbys keep (PostgreSQL 17) survives a promotion; where it was
// not kept, its absence is a loss and no first run.
func TestEdge18PromotedStandby(t *testing.T) {
	testServer(t)
	kept := testServer(t).Version() >= 17
	settings := map[string]string{}
	if kept {
		settings = map[string]string{"hot_standby_feedback": "on", "sync_replication_slots": "on"}
	}
	p := newServerPair(t, settings)
	ctx := testContext(t)
	_, err := p.primary.SQL(ctx, "CREATE TABLE a (id int PRIMARY KEY)")
	require.NoError(t, err)
	s := p.open(nil, p.primary, p.standby)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Publish(ctx, rels))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	require.NoError(t, snap.Close())

	asked := p.open(func(c *Config) { c.Failover = true }, p.primary, p.standby)
	stream, err := asked.Stream(ctx, snap.Point())
	if !kept {
		require.ErrorContains(t, err, "has no such slots")
		require.False(t, cdc.Retryable(err))
		stream, err = s.Stream(ctx, snap.Point())
	}
	require.NoError(t, err)
	state, err := s.Slot(ctx)
	require.NoError(t, err)
	require.Equal(t, kept, state.Failover, "a slot that was made otherwise is made one")

	// The standby has it once something was read from it.
	var cut cdc.LSN
	require.Eventually(t, func() bool {
		_, err := p.primary.SQL(ctx, "INSERT INTO a SELECT coalesce(max(id), 0) + 1 FROM a")
		require.NoError(t, err)
		if kept {
			_, err = p.primary.SQL(ctx, "SELECT pg_log_standby_snapshot()")
			require.NoError(t, err)
		}
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		if len(c.Items) > 0 { // what comes after it need not be on the standby
			cut = c.Cut
			stream.Ack(cut)
		}
		c.Release()
		if !kept {
			return cut > 0
		}
		rows, err := p.standby.SQL(ctx, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'pair' AND synced AND NOT temporary")
		require.NoError(t, err)
		return rows[0][0] == "1"
	}, 60*time.Second, 200*time.Millisecond)
	p.caughtUp()
	if kept { // it is nobody's before the promotion
		reader := p.open(func(c *Config) { c.AllowStandby = true }, p.standby)
		_, err = reader.Slot(ctx)
		require.ErrorContains(t, err, "keeps it in step")
	}
	p.primary.Kill()
	_, err = nextOrError(ctx, stream)
	require.True(t, cdc.Retryable(err), "%v", err)
	_ = stream.Close()
	_, err = s.Stream(ctx, cut)
	require.True(t, cdc.Retryable(err), "there is no primary: %v", err)
	require.NoError(t, p.standby.Promote(ctx))

	_, err = s.Stream(ctx, cut)
	require.ErrorIs(t, err, cdc.ErrTimeline)
	_, err = s.Identify(ctx)
	require.NoError(t, err)
	history, err := s.Timelines(ctx)
	require.NoError(t, err)
	require.Len(t, history, 1)
	require.LessOrEqual(t, cut, history[0].At, "the standby has all that we have")
	stream, err = s.Stream(ctx, cut)
	if !kept {
		require.ErrorIs(t, err, cdc.ErrNoSlot)
		require.True(t, cdc.NeedsResync(err), "%v", err)
		return
	}
	require.NoError(t, err)
	_, err = p.standby.SQL(ctx, "INSERT INTO a VALUES (-1)")
	require.NoError(t, err)
	for found := false; !found; {
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		for _, it := range c.Items {
			found = found || slices.Contains(ids(it.Batch), -1)
		}
		c.Release()
	}
	require.NoError(t, stream.Close())
}
