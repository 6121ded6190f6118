package values

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cmd/lakeload/demo"
	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// print is the fingerprint of a table at the source, and the lake's version that has to have it.
type print struct {
	version int64
	want    readers.Fingerprint
}

// TestAllReadersSeeTheShop holds that every reader sees all rows of the demo's tables, values included, now and at an earlier version.
func TestAllReadersSeeTheShop(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 18))
	db.Exec(t, demo.Shop()...)
	pipe := harness.NewPipeline(t, db)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	columns := map[string][]string{}
	for _, table := range demo.Tables() {
		columns[table] = pipe.Columns(t, table)
	}
	look := func() map[string]print {
		epoch := pipe.Sync(t, e)
		out := map[string]print{}
		for _, table := range demo.Tables() {
			f, err := readers.PGFingerprint(t.Context(), db.DSN, "public", table, columns[table])
			require.NoError(t, err)
			version, ok := epoch.Tables["public."+table]
			require.True(t, ok, table)
			out[table] = print{version, f}
		}
		return out
	}
	db.Exec(t,
		"update orders set status = 'back', updated_at = now() where id % 7 = 0", // notes stored out of line are not sent again
		"delete from order_lines where order_id % 11 = 0",
		"update customers set id = id + 100000 where id % 13 = 0",
		"insert into events (kind, payload) select 'again', jsonb_build_object('n', i) from generate_series(1, 500) i",
	)
	earlier := look()
	db.Exec(t,
		"delete from orders where id % 5 = 0",
		"update order_lines set price = price * 2 where line = 2",
		"update customers set balance = -balance, city = null where vip",
		"insert into events (kind) values ('closed')",
	)
	latest := look()
	e.Stop()
	for _, kind := range readers.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			r := readers.Get(t, kind)
			for _, table := range demo.Tables() {
				require.NotEqual(t, earlier[table].want, latest[table].want, "%s was changed in between", table)
				got, err := r.Fingerprint(t.Context(), pipe.Path(table), nil, columns[table])
				require.NoError(t, err)
				require.Equal(t, latest[table].want, got, "%s now", table)
				version := earlier[table].version
				got, err = r.Fingerprint(t.Context(), pipe.Path(table), &version, columns[table])
				require.NoError(t, err)
				require.Equal(t, earlier[table].want, got, "%s at version %d", table, version)
			}
		})
	}
}
