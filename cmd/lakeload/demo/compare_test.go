package demo

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc/postgres"
	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// mirror brings a lake up to date with the shop.
func (d *demo) mirror(t *testing.T, dsn string) {
	ctx := context.Background()
	source, err := postgres.Open(ctx, postgres.Config{DSN: dsn, Slot: "s", Publication: "p", All: true, Keyless: postgres.KeylessInsertOnly})
	require.NoError(t, err)
	store, err := objstore.NewLocal(d.o.Lake)
	require.NoError(t, err)
	engine, err := lakehouse.Open(ctx, lakehouse.Options{Source: source, Lake: store, Slot: "s", Publication: "p", UntilCurrent: true})
	require.NoError(t, err)
	require.NoError(t, engine.Run(ctx))
	require.NoError(t, engine.Close())
	require.NoError(t, store.Close())
}

// Both ways of comparing find the lake equal, and each row that differs, a
// second copy of the same row included.
func TestComparisonFindsWhatDiffers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL")
	}
	server := pgtest.Start(t, pgserver.Options{})
	ctx := context.Background()
	shop, err := openShop(ctx, server.DSN())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, shop.close(ctx)) })
	rows, err := shop.fill(ctx)
	require.NoError(t, err)
	require.Equal(t, int64(customers+orders+3*orders+1000), rows)
	d := &demo{o: Options{Lake: filepath.Join(t.TempDir(), "lake")}, shop: shop, screen: newScreen(Options{Out: os.Stderr})}
	d.o.ensureDefaults()
	d.mirror(t, server.DSN())

	ways := map[string]func(context.Context) ([]TableComparison, error){"ours": d.compareByOurs}
	if _, by, err := d.compareByDuckDB(ctx); err == nil && by != "" {
		ways[by] = func(ctx context.Context) ([]TableComparison, error) {
			tables, _, err := d.compareByDuckDB(ctx)
			return tables, err
		}
	} else if pgtest.Real() {
		t.Fatalf("DuckDB is not there: %v", err)
	}
	for way, compare := range ways {
		found, err := compare(ctx)
		require.NoError(t, err, way)
		require.Len(t, found, len(tables))
		for _, table := range found {
			require.True(t, table.equal(), "%s: %+v", way, table)
			require.Positive(t, table.SourceRows)
		}
	}

	for _, sql := range []string{
		"UPDATE customers SET balance = balance + 0.01 WHERE id = 7",
		"INSERT INTO events SELECT * FROM events LIMIT 1", // only its number tells
		"DELETE FROM orders WHERE id = 11",
	} {
		_, err := shop.admin.Exec(ctx, sql)
		require.NoError(t, err)
	}
	for way, compare := range ways {
		found, err := compare(ctx)
		require.NoError(t, err, way)
		byName := map[string]TableComparison{}
		for _, table := range found {
			byName[table.Table] = table
		}
		require.Len(t, byName["customers"].OnlySource, 1, way)
		require.Len(t, byName["customers"].OnlyLake, 1, way)
		require.Len(t, byName["events"].OnlySource, 1, way)
		require.Empty(t, byName["events"].OnlyLake, way)
		require.Len(t, byName["orders"].OnlyLake, 1, way)
		lines := byName["order_lines"]
		require.True(t, lines.equal(), way)
	}
	require.ErrorIs(t, d.compare(ctx), ErrDiffers)
}
