package postgres

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// soon reads a range in a time that does not depend on the server's own processes.
func soon(t *testing.T, s *Source, rel *cdc.Relation, k cdc.KeyRanges) cdc.View {
	t.Helper()
	ctx, cancel := context.WithTimeout(testContext(t), 12*time.Second)
	defer cancel()
	r, err := s.BeginRead(ctx, rel, k)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	v, err := r.View(ctx)
	require.NoError(t, err)
	require.NoError(t, r.Range(ctx, 0, func(b *cdc.Batch) error {
		b.Release()
		return nil
	}), "it waits for somebody else to flush the log")
	return v
}

// TestEdge20ReadsOfAQuietServerEnd: what was written without a commit (a
// cleared page, a hint, by a reader that was rolled back or killed) is flushed
// by nobody until the server's own processes come by, up to a quarter of a
// minute later. A read does not wait for them.
func TestEdge20ReadsOfAQuietServerEnd(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (k int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat('x', 80) FROM generate_series(1, 6000) i")
	s := d.open(small)
	rel := table(t, s, "public.t")
	k := divided(t, s, rel)
	readRange(t, s, rel, k, 0, func(*cdc.Batch) {}) // by now it has its connections
	for _, r := range d.exec("SELECT pid FROM pg_stat_activity WHERE backend_type IN ('background writer', 'checkpointer')") {
		pid := int(r.int(0))
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		defer func() { require.NoError(t, syscall.Kill(pid, syscall.SIGCONT)) }()
	}
	for range 3 {
		d.exec("BEGIN")
		d.exec("SELECT pg_logical_emit_message(false, 'test', 'not flushed')")
		d.exec("ROLLBACK")
		view := soon(t, s, rel, k)
		require.GreaterOrEqual(t, d.exec("SELECT pg_current_wal_flush_lsn()")[0].lsn(0), view.Horizon)
	}
}
