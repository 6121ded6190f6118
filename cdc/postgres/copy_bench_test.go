package postgres

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/lakeload/lakeload/cdc"
)

// benchTable has 12 columns of the usual types.
func benchTable(rows int) string {
	return fmt.Sprintf(`CREATE TABLE bench (
		id bigint PRIMARY KEY, customer int, status smallint, paid bool, price numeric(12,2), weight float8,
		created timestamptz, shipped date, code uuid, name text, note varchar(100), tags jsonb);
		INSERT INTO bench SELECT g, g %% 100000, g %% 7, g %% 2 = 0, (g %% 1000000) / 100.0, g * 0.37,
			'2020-01-01'::timestamptz + g * interval '13 seconds', '2020-01-01'::date + g %% 2000, md5(g::text)::uuid,
			'customer number ' || g %% 1000, CASE WHEN g %% 3 = 0 THEN repeat('n', g %% 40) END, '{"a": 1, "b": [2, 3]}'
		FROM generate_series(1, %d) g`, rows)
}

// BenchmarkCopy reads a table of LAKELOAD_BENCH_ROWS rows (200,000) into
// batches, by 1 and by 2 connections.
func BenchmarkCopy(b *testing.B) {
	rows := 200_000
	if n, err := strconv.Atoi(os.Getenv("LAKELOAD_BENCH_ROWS")); err == nil {
		rows = n
	}
	d := newDatabase(b)
	d.exec(benchTable(rows))
	d.exec("VACUUM ANALYZE bench")
	for _, connections := range []int{1, 2} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			s := d.open(func(c *Config) { c.Connections = connections })
			rel := table(b, s, "public.bench")
			snap, err := s.Snapshot(testContext(b))
			require.NoError(b, err)
			defer func() { require.NoError(b, snap.Close()) }()
			ranges, err := snap.Plan(testContext(b), rel)
			require.NoError(b, err)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				var total atomic.Int64
				g, ctx := errgroup.WithContext(testContext(b))
				g.SetLimit(connections)
				for _, r := range ranges {
					g.Go(func() error {
						return snap.Read(ctx, rel, r, func(batch *cdc.Batch) error {
							total.Add(int64(batch.Len()))
							batch.Release()
							return nil
						})
					})
				}
				require.NoError(b, g.Wait())
				require.EqualValues(b, rows, total.Load())
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
