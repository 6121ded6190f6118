package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lakeload/lakeload/integration/testbed"
)

// scanner lets DuckDB copy the table into one Parquet file.
const scanner = `
import sys, duckdb, importlib.util
ext = importlib.util.find_spec("duckdb_extension_postgres_scanner").submodule_search_locations[0]
c = duckdb.connect(config={"threads": 2, "allow_unsigned_extensions": "true"})
import glob
c.execute("LOAD '%s'" % glob.glob(ext + "/extensions/*/postgres_scanner.duckdb_extension")[0])
c.execute("ATTACH '%s' AS pg (TYPE postgres, READ_ONLY)" % sys.argv[1])
c.execute("COPY (SELECT * FROM pg.public.bench) TO '%s' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)" % sys.argv[2])
`

// initialCopy measures the copy of a table into a mirror, its key index and
// its epoch included, against DuckDB reading and writing the same rows.
func initialCopy(ctx context.Context, b *bench) ([]pair, error) {
	rows := int64(5_000_000 * b.scale)
	if err := testbed.Venv(); err != nil {
		return nil, err
	}
	dsn, err := b.database(ctx, "copy")
	if err != nil {
		return nil, err
	}
	if err := execute(ctx, dsn, table, fill(1, rows), "VACUUM ANALYZE bench", "CHECKPOINT"); err != nil {
		return nil, err
	}
	var pairs []pair
	for round := range b.rounds {
		file := filepath.Join(b.dir, "peer.parquet")
		peer, err := measure(ctx, rows, testbed.Python(), "-c", scanner, dsn, file)
		if err != nil {
			return nil, err
		}
		slot := fmt.Sprintf("copy%d", round)
		lake := filepath.Join(b.dir, slot)
		ours, err := measure(ctx, rows, b.binary, "run", "--source", dsn, "--lake", lake, "--all", "--slot", slot, "--until-current")
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair{ours, peer})
		_ = os.Remove(file)
		_ = os.RemoveAll(lake)
		if err := execute(ctx, dsn, "SELECT pg_drop_replication_slot('"+slot+"')", "DROP PUBLICATION lakeload_default"); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}
