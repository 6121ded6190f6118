package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

func TestEdge17SlotLife(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	s := d.open()
	ctx := testContext(t)
	_, err := s.Slot(ctx)
	require.ErrorIs(t, err, cdc.ErrNoSlot)
	require.NoError(t, s.DropSlot(ctx))
	_, err = s.Stream(ctx, 1)
	require.ErrorIs(t, err, cdc.ErrNoSlot)
	require.True(t, cdc.NeedsResync(err), "a slot that is missing is never a first run")

	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	state, err := s.Slot(ctx)
	require.NoError(t, err)
	require.Equal(t, snap.Point(), state.ConfirmedFlush)
	require.False(t, state.Lost || state.Active)
	require.Equal(t, "reserved", state.WALStatus)
	require.Nil(t, state.SafeWALSize)
	require.NotZero(t, state.Restart)
	require.GreaterOrEqual(t, state.Current, state.ConfirmedFlush)
	_, err = s.CreateSlot(ctx)
	require.ErrorIs(t, err, cdc.ErrSlotExists)
	require.NoError(t, snap.Close())
	require.NoError(t, snap.Close())

	require.NoError(t, s.DropSlot(ctx))
	_, err = s.Slot(ctx)
	require.ErrorIs(t, err, cdc.ErrNoSlot)
}

func TestEdge17SlotOfAnother(t *testing.T) {
	d := newDatabase(t)
	s := d.open()
	ctx := testContext(t)
	name := s.config.Slot
	d.exec("SELECT pg_create_physical_replication_slot('" + name + "')")
	_, err := s.Slot(ctx)
	require.ErrorContains(t, err, "physical")
	require.Error(t, s.DropSlot(ctx), "what is not ours is not dropped")
	d.exec("SELECT pg_drop_replication_slot('" + name + "')")

	d.exec("SELECT pg_create_logical_replication_slot('" + name + "', 'pgoutput', false, true)")
	_, err = s.Slot(ctx)
	require.ErrorContains(t, err, "two-phase")
	d.exec("SELECT pg_drop_replication_slot('" + name + "')")
	held := dial(t, d.dsn)
	mustExec(t, held, "SELECT pg_create_logical_replication_slot('"+name+"', 'pgoutput', true)")
	_, err = s.Slot(ctx)
	require.ErrorContains(t, err, "temporary")
	closeConn(held)
	require.Eventually(t, func() bool { _, err := s.Slot(ctx); return errors.Is(err, cdc.ErrNoSlot) }, 20*time.Second, 20*time.Millisecond)
	d.exec("SELECT pg_create_logical_replication_slot('" + name + "', 'test_decoding')")
	_, err = s.Slot(ctx)
	require.ErrorContains(t, err, "test_decoding")
	require.Error(t, s.DropSlot(ctx))
	d.exec("SELECT pg_drop_replication_slot('" + name + "')")

	elsewhere := newDatabase(t)
	elsewhere.exec("SELECT pg_create_logical_replication_slot('" + name + "', 'pgoutput')")
	_, err = s.Slot(ctx)
	require.ErrorContains(t, err, elsewhere.name)
	require.Error(t, s.DropSlot(ctx))
	elsewhere.exec("SELECT pg_drop_replication_slot('" + name + "')")
}

// The server would begin after what is missing, and say nothing.
func TestEdge06StreamRefusesAGap(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	s := d.open()
	ctx := testContext(t)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Publish(ctx, rels))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	from := snap.Point()
	d.exec("INSERT INTO a VALUES (1)")
	d.exec(fmt.Sprintf("SELECT pg_replication_slot_advance('%s', pg_current_wal_lsn())", s.config.Slot))
	state, err := s.Slot(ctx)
	require.NoError(t, err)
	require.Greater(t, state.ConfirmedFlush, from)
	_, err = s.Stream(ctx, from)
	require.True(t, cdc.NeedsResync(err), "%v", err)
	require.ErrorContains(t, err, from.String())
	require.ErrorContains(t, err, state.ConfirmedFlush.String())

	// Ahead of the server: a restored backup, not a place to wait at.
	_, err = s.Stream(ctx, state.Current+1<<40)
	require.ErrorContains(t, err, "log ends at")
	require.ErrorIs(t, err, cdc.ErrReset)
	require.False(t, cdc.Retryable(err) || cdc.NeedsResync(err))

	stream, err := s.Stream(ctx, state.ConfirmedFlush)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
}

func TestEdge11SlotInUse(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	s, second := d.open(), d.open()
	ctx := testContext(t)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Publish(ctx, rels))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	stream, err := s.Stream(ctx, snap.Point())
	require.NoError(t, err)
	state, err := second.Slot(ctx)
	require.NoError(t, err)
	require.True(t, state.Active)
	require.Positive(t, state.ActivePID)

	_, err = second.Stream(ctx, snap.Point())
	require.True(t, cdc.Retryable(err), "%v", err)
	require.ErrorContains(t, err, fmt.Sprint(state.ActivePID))
	require.ErrorContains(t, err, `"lakeload `+s.config.Slot+`"`, "who holds it")
	require.True(t, cdc.Retryable(second.Claim(ctx)))
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, second.DropSlot(short), context.DeadlineExceeded)

	usurper := d.open(func(c *Config) { c.TakeOver = true })
	require.NoError(t, usurper.Claim(ctx))
	_, err = nextOrError(ctx, stream)
	require.Error(t, err, "the first holder was ended")
	_ = stream.Close()
	taken, err := usurper.Stream(ctx, snap.Point())
	require.NoError(t, err)

	// Who was told to take over, and has lost the slot again, does not take it
	// back: two of them would stop each other for ever.
	other := d.open(func(c *Config) { c.TakeOver = true })
	again, err := other.Stream(ctx, snap.Point())
	require.NoError(t, err)
	_, err = nextOrError(ctx, taken)
	require.True(t, cdc.Retryable(err), "%v", err)
	require.NoError(t, taken.Close())
	_, err = usurper.Stream(ctx, snap.Point())
	require.True(t, cdc.Retryable(err), "%v", err)
	require.True(t, cdc.Retryable(usurper.Claim(ctx)))
	d.exec("CREATE TABLE b (id int PRIMARY KEY)")
	short, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = nextOrError(short, again)
	require.ErrorIs(t, err, context.DeadlineExceeded, "the one that has it goes on")
	require.NoError(t, again.Close())
	require.NoError(t, second.DropSlot(ctx), "free, or so soon")
}

func nextOrError(ctx context.Context, s cdc.Stream) (*cdc.Chunk, error) {
	for {
		chunk, err := s.Next(ctx)
		if err != nil {
			return nil, err
		}
		chunk.Release()
	}
}

// loseWAL makes the server write and drop more log than its limit.
func (d *database) loseWAL() {
	d.t.Helper()
	d.exec("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
	d.exec("SELECT pg_reload_conf()")
	d.t.Cleanup(func() {
		d.exec("ALTER SYSTEM RESET max_slot_wal_keep_size")
		d.exec("SELECT pg_reload_conf()")
	})
	for range 4 {
		d.exec("CREATE TABLE IF NOT EXISTS j (v text); INSERT INTO j SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
		d.exec("SELECT pg_switch_wal()")
		d.exec("CHECKPOINT")
	}
}

// A slot that held back too much is lost, and says so before and while a
// stream is opened.
func TestEdge16LostSlot(t *testing.T) {
	d := newDatabase(t)
	s := d.open()
	ctx := testContext(t)
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	d.loseWAL()
	require.Eventually(t, func() bool {
		state, err := s.Slot(ctx)
		require.NoError(t, err)
		return state.Lost
	}, 20*time.Second, 50*time.Millisecond)
	_, err = s.Stream(ctx, snap.Point())
	require.True(t, cdc.NeedsResync(err), "%v", err)
	require.ErrorContains(t, err, "invalidated")
	require.ErrorContains(t, err, "max_slot_wal_keep_size")
	var e *cdc.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Remedy, "raise max_slot_wal_keep_size")
	require.Contains(t, e.Remedy, "lakeload adopt")
	require.NoError(t, s.DropSlot(ctx))
}

// It is found while a stream runs, too: the server ends the session, and the
// next one learns why.
func TestEdge16LostWhileStreaming(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	s := d.open()
	stream := begin(t, d, s)
	from := cdc.LSN(0)
	state, err := s.Slot(testContext(t))
	require.NoError(t, err)
	from = state.ConfirmedFlush
	d.loseWAL() // nothing is acknowledged
	_, err = nextOrError(testContext(t), stream)
	require.Error(t, err)
	_ = stream.Close()
	for cdc.Retryable(err) {
		if stream, err = s.Stream(testContext(t), from); err == nil {
			_, err = nextOrError(testContext(t), stream)
			_ = stream.Close()
		}
	}
	require.True(t, cdc.NeedsResync(err), "%v", err)
	require.ErrorContains(t, err, "max_slot_wal_keep_size")
}

// PostgreSQL 18 invalidates slots that nobody reads, if told to.
func TestEdge16IdleTimeout(t *testing.T) {
	d := newDatabase(t)
	if testServer(t).Version() < 18 {
		t.Skip("left out: PostgreSQL before 18 has no idle_replication_slot_timeout")
	}
	s := d.open()
	ctx := testContext(t)
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	d.exec("ALTER SYSTEM SET idle_replication_slot_timeout = '1s'")
	d.exec("SELECT pg_reload_conf()")
	defer func() {
		d.exec("ALTER SYSTEM RESET idle_replication_slot_timeout")
		d.exec("SELECT pg_reload_conf()")
	}()
	require.Eventually(t, func() bool {
		d.exec("CHECKPOINT")
		state, err := s.Slot(ctx)
		require.NoError(t, err)
		return state.Lost && state.Reason == "idle_timeout"
	}, 30*time.Second, 200*time.Millisecond)
	_, err = s.Stream(ctx, snap.Point())
	require.True(t, cdc.NeedsResync(err), "%v", err)
	require.ErrorContains(t, err, "idle_replication_slot_timeout")
}

// Nothing but a position of the lake's own is a place to begin at.
func TestEdge07StreamNeedsAPosition(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	s := d.open()
	require.NoError(t, begin(t, d, s).Close())
	_, err := s.Stream(testContext(t), 0)
	require.Error(t, err)
	require.False(t, cdc.Retryable(err))
}

// The slot is acknowledged by the caller alone, whatever the server's
// keepalives and our answers to them say.
func TestEdge09OnlyTheCallerAcknowledges(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	s := d.open(func(c *Config) { c.DSN += "&wal_sender_timeout=600ms" })
	stream := begin(t, d, s)
	ctx := testContext(t)
	before, err := s.Slot(ctx)
	require.NoError(t, err)
	d.exec("INSERT INTO a VALUES (1)")
	var cut cdc.LSN
	for cut <= before.ConfirmedFlush {
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		cut = c.Cut
		c.Release()
	}
	reply := func() string {
		rows := d.exec("SELECT reply_time FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = '" + s.config.Slot + "'")
		require.Len(t, rows, 1)
		return rows[0].str(0)
	}
	for range 3 { // answers reach the server, again and again
		last := reply()
		require.Eventually(t, func() bool { return reply() != last }, 30*time.Second, 20*time.Millisecond)
	}
	after, err := s.Slot(ctx)
	require.NoError(t, err)
	require.Equal(t, before.ConfirmedFlush, after.ConfirmedFlush)
	stream.Ack(cut)
	require.Eventually(t, func() bool {
		state, err := s.Slot(ctx)
		require.NoError(t, err)
		return state.ConfirmedFlush == cut
	}, 30*time.Second, 20*time.Millisecond)
	require.NoError(t, stream.Close())
}

// Nothing of ours changes and the rest of the server writes on: the cut moves
// all the same, and with it the slot. No table, row or message is needed.
func TestEdge12And13IdleStreamMovesOn(t *testing.T) {
	d, busy := newDatabase(t), newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	s := d.open(func(c *Config) { c.Heartbeat = -1 })
	stream := begin(t, d, s)
	ctx, cancel := context.WithTimeout(testContext(t), 40*time.Second)
	defer cancel()
	owned := fmt.Sprint(d.exec("SELECT count(*) FROM pg_class"), d.exec("SELECT count(*) FROM pg_publication"))
	busy.exec("CREATE TABLE noise (v text)")
	busy.exec("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
	target := busy.exec("SELECT pg_current_wal_flush_lsn()")[0].lsn(0) // no message of our database
	cut := cdc.LSN(0)
	for cut < target {
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		require.Empty(t, c.Items)
		cut = c.Cut
		stream.Ack(cut)
		c.Release()
	}
	require.Eventually(t, func() bool {
		state, err := s.Slot(ctx)
		require.NoError(t, err)
		return state.ConfirmedFlush >= target
	}, 30*time.Second, 20*time.Millisecond)
	require.NoError(t, stream.Close())

	// Heartbeats need none either, and come back.
	s = d.open(func(c *Config) { c.Heartbeat = 100 * time.Millisecond })
	stream, err := s.Stream(ctx, cut) // the server writes on: it may be past the target
	require.NoError(t, err)
	for s.Stats().LastHeartbeat.IsZero() {
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		require.Empty(t, c.Items)
		stream.Ack(c.Cut)
		c.Release()
	}
	require.Equal(t, owned, fmt.Sprint(d.exec("SELECT count(*) FROM pg_class"), d.exec("SELECT count(*) FROM pg_publication")))
	require.NoError(t, stream.Close())
}
