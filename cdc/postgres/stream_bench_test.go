package postgres

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkStream reads a backlog of transactions of a thousand rows from a
// server. What it costs us counts: the server is slower than we are.
func BenchmarkStream(b *testing.B) {
	d := newDatabase(b)
	d.exec("CREATE TABLE t (id bigint PRIMARY KEY, customer bigint, status text, amount numeric(12,2), created timestamptz, code uuid, note text)")
	s := d.open()
	rels, err := s.Tables(b.Context())
	require.NoError(b, err)
	require.NoError(b, s.Publish(b.Context(), rels))
	snap, err := s.CreateSlot(b.Context())
	require.NoError(b, err)
	from := snap.Point()
	require.NoError(b, snap.Close())
	const rows = 400_000
	for i := 0; i < rows; i += 1000 {
		d.exec(fmt.Sprintf("INSERT INTO t SELECT i, i %% 1000, 'new', i / 100.0, now(), md5(i::text)::uuid, 'note number ' || i || ' of the bench, with some more text' FROM generate_series(%d, %d) i", i+1, i+1000))
	}
	end := d.now()
	for b.Loop() {
		stream, err := s.Stream(b.Context(), from)
		require.NoError(b, err)
		used, n := cpuTime(), 0
		for cut := from; cut < end; {
			c, err := stream.Next(b.Context())
			require.NoError(b, err)
			cut = c.Cut
			for _, it := range c.Items {
				n += it.Batch.Len()
			}
			c.Release()
		}
		b.ReportMetric(float64(n)/(cpuTime()-used).Seconds()/1e6, "Mrows/cpu-s")
		require.NoError(b, stream.Close())
		require.Equal(b, rows, n)
	}
}
