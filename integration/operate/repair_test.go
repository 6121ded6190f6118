package operate

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

const keptForRepair = `version: 1
tables:
  - {match: public.parted, partition_by: [month(day)], delete: soft, metadata: [ingestion_timestamp]}
  - {match: public.anew, deletes: rewrite}
`

// TestRepairOfKeptTables has somebody else change a partitioned table that keeps deleted rows, and one that does without deletion vectors. They are
// repaired while the engine runs, and after a lost slot, row by row; DuckDB and delta-rs see what PostgreSQL has.
func TestRepairOfKeptTables(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	tables := []string{"parted", "anew"}
	for _, table := range tables {
		db.Exec(t, "create table "+table+" (id bigint primary key, day date, note text)",
			"insert into "+table+" select i, date '2024-01-20' + i % 40, 'n' || i from generate_series(1, 2000) i")
	}
	config := filepath.Join(t.TempDir(), "lakeload.yaml")
	require.NoError(t, os.WriteFile(config, []byte(keptForRepair), 0o600))
	pipe := harness.NewPipeline(t, db, "-c", config)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	for _, table := range tables {
		db.Exec(t, "delete from "+table+" where id % 100 = 0")
	}
	pipe.Sync(t, e)
	e.Stop()
	for _, table := range tables {
		disturb(t, pipe.Path(table))
	}
	e = pipe.Start(t)
	e.Await("stream_started", nil)
	for table, keys := range map[string]int64{"parted": 5, "anew": 4} {
		require.Equal(t, "stopped", pipe.Status(t)["public."+table].Phase)
		r := ask(t, pipe, "repair", "public."+table)
		require.Equal(t, 0, r.Code, "%s\n%s", r, e.Log())
		var done lakehouse.Repaired
		require.NoError(t, json.Unmarshal([]byte(r.Stdout), &done))
		require.False(t, done.Copied, table)
		require.Equal(t, keys, done.Keys, table)
		db.Exec(t, "update "+table+" set note = 'after' where id in (10, 20, 30, 40, 1999)", "insert into "+table+" values (5000, '2024-02-01', 'back')")
	}
	pipe.Sync(t, e)
	sameAsKept(t, pipe, db)
	e.Stop()

	db.DropSlots(t)
	for _, table := range tables {
		db.Exec(t, "delete from "+table+" where id in (20, 50)", "update "+table+" set day = day + 40 where id = 60", "update "+table+" set id = -id where id = 70")
	}
	r := harness.Do(t, harness.Command(t, "adopt", "-c", config, "--source", pipe.DB.DSN, "--lake", pipe.Lake, "--name", pipe.Name, "--repair", "-y"))
	require.Equal(t, 0, r.Code, "%s", r)
	e = pipe.Start(t)
	for range tables {
		var done lakehouse.Repaired
		event := e.Await("table_repaired", func(e harness.Event) bool { return slices.Contains([]string{"public.parted", "public.anew"}, e.Table) })
		require.NoError(t, json.Unmarshal([]byte(event.Line), &done))
		require.EqualValues(t, 5, done.Keys, done.Table)
	}
	e.Await("stream_started", nil)
	for _, table := range tables {
		db.Exec(t, "update "+table+" set note = 'last' where id in (60, -70)")
	}
	pipe.Sync(t, e)
	sameAsKept(t, pipe, db)
	e.Stop()
}

// disturb changes a table as another program would: 10 is altered, 20 removed, 30 doubled, 40 lies in the last partition, and 5000 is one that
// the source never had.
func disturb(t *testing.T, path string) {
	t.Helper()
	ctx := t.Context()
	store, err := objstore.NewLocal(path)
	require.NoError(t, err)
	defer store.Close()
	loc := tablefmt.Location{Data: store}
	snap, err := tablefmt.Load(ctx, loc)
	require.NoError(t, err)
	parts := snap.PartitionColumns()
	var data []string // columns that stand in the files
	for _, f := range snap.Schema().Fields {
		if !slices.Contains(parts, f.Name) {
			data = append(data, f.Name)
		}
	}
	tx := tablefmt.Begin(loc, snap)
	var moved arrow.RecordBatch
	last := ""
	for add := range snap.Files() {
		for _, v := range add.PartitionValues {
			last = max(last, *v)
		}
	}
	var writers []*tablefmt.FileWriter
	var end *tablefmt.FileWriter // of the last partition
	for add := range snap.Files() {
		var w *tablefmt.FileWriter
		err := snap.ReadFile(ctx, add, tablefmt.ReadOptions{Columns: data}, func(rec arrow.RecordBatch, _ int64) error {
			if w == nil {
				if w, err = tablefmt.NewFileWriter(ctx, loc, rec.Schema(), tablefmt.FileOptions{PartitionColumns: parts, PartitionValues: add.PartitionValues}); err != nil {
					return err
				}
				writers = append(writers, w)
				if slices.ContainsFunc(slices.Collect(maps.Values(add.PartitionValues)), func(v *string) bool { return *v == last }) || len(parts) == 0 {
					end = w
				}
			}
			ids := rec.Column(0).(*array.Int64)
			for i := range rec.NumRows() {
				row := rec.NewSlice(i, i+1)
				rows := []arrow.RecordBatch{row}
				switch ids.Value(int(i)) {
				case 10:
					rows[0] = withColumn(row, 2, func(b array.Builder) { b.(*array.StringBuilder).Append("altered") })
				case 20:
					rows = nil
				case 30:
					rows = append(rows, row)
				case 40:
					moved, rows = row, nil
				case 1999:
					rows = append(rows, withColumn(row, 0, func(b array.Builder) { b.(*array.Int64Builder).Append(5000) }))
				}
				for _, row := range rows {
					if _, err := w.Write(row); err != nil {
						return err
					}
				}
			}
			return nil
		})
		require.NoError(t, err)
		tx.Remove(*add.Remove(time.Now().UnixMilli(), true))
	}
	_, err = end.Write(moved)
	require.NoError(t, err)
	for _, w := range writers {
		add, err := w.Close()
		require.NoError(t, err)
		tx.Add(*add)
	}
	tx.SetInfo("WRITE", nil)
	_, err = tx.Commit(ctx)
	require.NoError(t, err)
}

// withColumn is a row with another value of a column.
func withColumn(row arrow.RecordBatch, at int, value func(b array.Builder)) arrow.RecordBatch {
	b := array.NewBuilder(memory.DefaultAllocator, row.Column(at).DataType())
	defer b.Release()
	value(b)
	cols := slices.Clone(row.Columns())
	cols[at] = b.NewArray()
	return array.NewRecordBatch(row.Schema(), cols, 1)
}

// sameAsKept requires that readers and verify find what the source has, and that each row is there once, in its partition.
func sameAsKept(t *testing.T, pipe *harness.Pipeline, db *harness.Database) {
	t.Helper()
	harness.Call(t, "verify", "--source", db.DSN, "--lake", pipe.Lake, "--name", pipe.Name)
	for _, kind := range []readers.Kind{readers.DuckDB, readers.DeltaRS} {
		pipe.Same(t, kind, "anew")
		want, err := readers.PGRows(t.Context(), db.DSN, "public", "parted", []string{"id", "day", "note"})
		require.NoError(t, err)
		rows, err := readers.Get(t, kind).Rows(t.Context(), pipe.Path("parted"), nil, []string{"id", "day", "note", "_deleted", "_deleted_at", "day_month"})
		require.NoError(t, err)
		seen := map[string]bool{}
		var live [][]string
		for _, r := range rows {
			require.False(t, seen[r[0]], "two rows of %s", r[0])
			seen[r[0]] = true
			require.Equal(t, r[1][:7], r[5], "the partition of %s", r[0])
			require.Equal(t, r[3] == "true", r[4] != readers.Null, "when %s was deleted", r[0])
			if r[3] == "false" {
				live = append(live, r[:3])
			}
		}
		readers.Same(t, live, want)
		require.Greater(t, len(rows), len(live), "no row is kept as deleted")
	}
	store, err := objstore.NewLocal(pipe.Path("anew"))
	require.NoError(t, err)
	defer store.Close()
	snap, err := tablefmt.Load(t.Context(), tablefmt.Location{Data: store})
	require.NoError(t, err)
	require.Equal(t, 1, snap.Protocol().MinReaderVersion)
	for add := range snap.Files() {
		require.Nil(t, add.DeletionVector)
	}
}
