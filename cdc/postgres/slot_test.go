package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

func TestSlotLife(t *testing.T) {
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

func TestSlotOfAnother(t *testing.T) {
	d := newDatabase(t)
	s := d.open()
	ctx := testContext(t)
	name := s.config.Slot
	d.exec("SELECT pg_create_physical_replication_slot('" + name + "')")
	_, err := s.Slot(ctx)
	require.ErrorContains(t, err, "physical")
	require.Error(t, s.DropSlot(ctx), "what is not ours is not dropped")
	d.exec("SELECT pg_drop_replication_slot('" + name + "')")

	elsewhere := newDatabase(t)
	elsewhere.exec("SELECT pg_create_logical_replication_slot('" + name + "', 'pgoutput')")
	_, err = s.Slot(ctx)
	require.ErrorContains(t, err, elsewhere.name)
	require.Error(t, s.DropSlot(ctx))
	elsewhere.exec("SELECT pg_drop_replication_slot('" + name + "')")
}

// The server would begin after what is missing, and say nothing.
func TestStreamRefusesAGap(t *testing.T) {
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
	require.False(t, cdc.Retryable(err) || cdc.NeedsResync(err))

	stream, err := s.Stream(ctx, state.ConfirmedFlush)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
}

func TestSlotInUse(t *testing.T) {
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
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, second.DropSlot(short), context.DeadlineExceeded)

	usurper := d.open(func(c *Config) { c.TakeOver = true })
	taken, err := usurper.Stream(ctx, snap.Point())
	require.NoError(t, err)
	_, err = nextOrError(ctx, stream)
	require.Error(t, err, "the first holder was ended")
	_ = stream.Close()
	require.NoError(t, taken.Close())
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

// A slot that held back too much is lost, and says so before and while a
// stream is opened.
func TestLostSlot(t *testing.T) {
	d := newDatabase(t)
	s := d.open()
	ctx := testContext(t)
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	defer d.exec("SELECT pg_reload_conf()")
	defer d.exec("ALTER SYSTEM RESET max_slot_wal_keep_size")
	d.exec("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
	d.exec("SELECT pg_reload_conf()")
	for range 4 {
		d.exec("CREATE TABLE IF NOT EXISTS j (v text); INSERT INTO j SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
		d.exec("SELECT pg_switch_wal()")
		d.exec("CHECKPOINT")
	}
	require.Eventually(t, func() bool {
		state, err := s.Slot(ctx)
		require.NoError(t, err)
		return state.Lost
	}, 20*time.Second, 50*time.Millisecond)
	_, err = s.Stream(ctx, snap.Point())
	require.True(t, cdc.NeedsResync(err), "%v", err)
	require.True(t, strings.Contains(err.Error(), "invalidated"), "%v", err)
	require.NoError(t, s.DropSlot(ctx))
}
