package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// oldLake is a lake on disk with one table and 1,100 epochs, of which those
// before the thousandth record have expired; of the last six versions of the
// table, each with a row more, the last three are left.
func oldLake(t *testing.T) (folder string, first time.Time) {
	oldLakeOnce.Do(func() { oldLakeStore, oldLakeFirst = makeOldLake(t) })
	folder = t.TempDir()
	for info, err := range oldLakeStore.List(t.Context(), "", "") {
		require.NoError(t, err)
		data, err := oldLakeStore.Get(t.Context(), info.Path)
		require.NoError(t, err)
		path := filepath.Join(folder, filepath.FromSlash(info.Path))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
	return folder, oldLakeFirst
}

var (
	oldLakeOnce  sync.Once
	oldLakeStore objstore.Store
	oldLakeFirst time.Time
)

func makeOldLake(t *testing.T) (objstore.Store, time.Time) {
	ctx, store := context.Background(), objstore.NewMemory()
	state, err := json.Marshal(&lakehouse.State{
		Format: lakehouse.StateFormat, Pipeline: "shop", Phase: lakehouse.PipelineReady, Slot: "s", Publication: "p",
		Tables: []lakehouse.TableState{{
			OID: 2, Schema: "public", Table: "orders", Phase: lakehouse.PhaseLive, TableOptions: lakehouse.TableOptions{Modes: []lakehouse.Mode{lakehouse.ModeMirror}},
		}},
	})
	require.NoError(t, err)
	require.NoError(t, store.Put(ctx, "_lakeload/shop/state/00000000000000000001.json", state))
	snap := ordersTable(t, store)
	for range 6 {
		snap = oneMore(t, snap)
		if v := snap.Version(); v == 4 || v == 6 {
			require.NoError(t, tablefmt.Checkpoint(ctx, snap))
		}
	}
	_, err = tablefmt.CleanLog(ctx, snap, tablefmt.CleanOptions{Retention: time.Nanosecond})
	require.NoError(t, err)

	log, err := epoch.Open(ctx, store, "shop", "session")
	require.NoError(t, err)
	first := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for n := int64(1); n <= 1100; n++ {
		_, err := log.Record(ctx, epoch.Epoch{
			LSN: cdc.LSN(0x1000 + n), CommitTime: first.Add(time.Duration(n) * time.Minute),
			Tables: map[string]int64{"public.orders": min(6, max(0, n-1090))},
		})
		require.NoError(t, err)
	}
	require.NoError(t, log.Upkeep(ctx, time.Nanosecond)) // packs
	_, err = log.Record(ctx, epoch.Epoch{LSN: 0x2000, CommitTime: first.Add(1101 * time.Minute), Tables: map[string]int64{"public.orders": 6}})
	require.NoError(t, err)
	log, err = epoch.Open(ctx, store, "shop", "session")
	require.NoError(t, err)
	require.NoError(t, log.Upkeep(ctx, time.Nanosecond)) // and expires
	return store, first
}

var ordersSchema = arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)

func ordersTable(t *testing.T, store objstore.Store) *tablefmt.Snapshot {
	s, err := tablefmt.SchemaFromArrow(ordersSchema)
	require.NoError(t, err)
	tx := tablefmt.Begin(tablefmt.Location{Data: objstore.Sub(store, "public/orders")}, nil)
	tx.SetProtocol(tablefmt.ChangelogProtocol(tablefmt.OptionsFor(s)))
	tx.SetMetadata(&tablefmt.Metadata{SchemaString: s.JSON()})
	snap, err := tx.Commit(context.Background())
	require.NoError(t, err)
	return snap
}

// oneMore writes the table anew, with a row more.
func oneMore(t *testing.T, snap *tablefmt.Snapshot) *tablefmt.Snapshot {
	ctx := context.Background()
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	for id := range snap.Version() + 1 {
		b.Append(id)
	}
	rec := array.NewRecordBatch(ordersSchema, []arrow.Array{b.NewArray()}, snap.Version()+1)
	defer rec.Release()
	w, err := tablefmt.NewFileWriter(ctx, snap.Location(), ordersSchema, tablefmt.FileOptions{})
	require.NoError(t, err)
	_, err = w.Write(rec)
	require.NoError(t, err)
	add, err := w.Close()
	require.NoError(t, err)
	tx := tablefmt.Begin(snap.Location(), snap)
	for f := range snap.Files() {
		tx.Remove(*f.Remove(time.Now().UnixMilli(), true))
	}
	tx.Add(*add)
	snap, err = tx.Commit(ctx)
	require.NoError(t, err)
	return snap
}

func TestWhatHasExpiredIsToldSo(t *testing.T) {
	lake, first := oldLake(t)
	at := func(n int) string { return first.Add(time.Duration(n) * time.Minute).Format(time.RFC3339) }
	run := func(args ...string) result { return lakeload(t, nil, append(args, "--lake", lake)...) }

	// Epochs that are recorded and can be read, by each way of naming them.
	for _, moment := range [][]string{{"--epoch", "1094"}, {"--lsn", "0/1446"}, {"--as-of", at(1094)}} {
		r := run(append([]string{"cat", "public.orders", "--format", "csv"}, moment...)...)
		require.Equal(t, exitDone, r.code, "%v: %s", moment, r.err)
		require.Equal(t, 1+4, strings.Count(r.out, "\n"), "%v", moment)
		r = run(append([]string{"views", "-o", "json"}, moment...)...)
		require.Equal(t, exitDone, r.code, "%v: %s", moment, r.err)
		require.Equal(t, int64(1094), decode[viewsJSON](t, r.out).Epoch)
	}
	// Epochs that are recorded and whose version of the table is gone.
	for _, moment := range [][]string{{"--epoch", "1093"}, {"--lsn", "0/1445"}, {"--as-of", at(1000)}} {
		for _, command := range []string{"cat public.orders", "views"} {
			r := run(append(strings.Fields(command), moment...)...)
			require.Equal(t, exitFailed, r.code, "%s %v: %s", command, moment, r.err)
			require.Contains(t, r.err, "reading the table (public.orders): the epoch has expired: epoch 10")
			require.Contains(t, r.err, "no such version of the table")
			require.Contains(t, r.err, "the oldest epoch that the table can be read at is 1094 (LSN 0/1446, "+at(1094)+")")
			require.Empty(t, r.out)
		}
	}
	// Epochs that are not recorded any more.
	for _, moment := range [][]string{{"--epoch", "1"}, {"--epoch", "999"}, {"--lsn", "0/1001"}, {"--as-of", at(5)}} {
		for _, command := range []string{"cat public.orders", "views"} {
			r := run(append(strings.Fields(command), moment...)...)
			require.Equal(t, exitFailed, r.code, "%s %v: %s", command, moment, r.err)
			require.Contains(t, r.err, "the epoch has expired: the oldest that the lake still has is epoch 1000 (LSN 0/13E8, "+at(1000)+")")
			require.Contains(t, r.err, "epochs: {keep: ...}")
		}
	}
	// Epochs that never were.
	for _, moment := range [][]string{{"--epoch", "0"}, {"--epoch", "1102"}, {"--lsn", "0/2001"}} {
		r := run(append([]string{"cat", "public.orders"}, moment...)...)
		require.Equal(t, exitFailed, r.code)
		require.Contains(t, r.err, "no such epoch")
	}
	// What is of now is as ever.
	for _, command := range []string{"status", "tables", "describe public.orders", "history public.orders", "views", "cat public.orders"} {
		r := run(strings.Fields(command)...)
		require.Equal(t, exitDone, r.code, "%s: %s", command, r.err)
	}
}

// A vacuum that somebody else has made takes files away that older versions have.
func TestAnEpochWhoseFilesAreGoneHasExpired(t *testing.T) {
	lake, _ := oldLake(t)
	snap, err := tablefmt.LoadAt(context.Background(), tablefmt.Location{Data: mustLocal(t, filepath.Join(lake, "public", "orders"))}, 4)
	require.NoError(t, err)
	for f := range snap.Files() {
		require.NoError(t, os.Remove(filepath.Join(lake, "public", "orders", f.Path)))
	}
	r := lakeload(t, nil, "cat", "public.orders", "--lake", lake, "--epoch", "1094")
	require.Equal(t, exitFailed, r.code, r.err)
	require.Contains(t, r.err, "the epoch has expired: epoch 1094: a file of version 4 is gone")
	require.Contains(t, r.err, "delta.deletedFileRetentionDuration")

	newest, err := tablefmt.Load(context.Background(), snap.Location())
	require.NoError(t, err)
	for f := range newest.Files() {
		require.NoError(t, os.Remove(filepath.Join(lake, "public", "orders", f.Path)))
	}
	r = lakeload(t, nil, "cat", "public.orders", "--lake", lake, "--epoch", "1101")
	require.Equal(t, exitDamaged, r.code, "what is missing now is damage")
}

func mustLocal(t *testing.T, folder string) *objstore.Local {
	store, err := objstore.NewLocal(folder)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func TestEpochsListsTheNewest(t *testing.T) {
	lake, _ := oldLake(t)
	list := func(args ...string) (numbers []int64) {
		r := lakeload(t, nil, append([]string{"epochs", "--lake", lake}, args...)...)
		require.Equal(t, exitDone, r.code, r.err)
		if strings.HasPrefix(r.out, "{") {
			require.True(t, strings.HasSuffix(r.out, "]}\n"))
			for _, e := range decode[struct{ Epochs []epochJSON }](t, r.out).Epochs {
				numbers = append(numbers, e.Epoch)
				require.Len(t, e.Tables, 1)
			}
			return numbers
		}
		for line := range strings.Lines(r.out) {
			var n int64
			if _, err := fmt.Sscan(line, &n); err == nil {
				numbers = append(numbers, n)
			}
		}
		return numbers
	}
	for _, o := range []string{"table", "json"} {
		for _, n := range []string{"--limit=3", "--last=3"} {
			require.Equal(t, []int64{1099, 1100, 1101}, list("-o", o, n))
		}
		require.Len(t, list("-o", o), 102)
		require.Len(t, list("-o", o, "--all"), 102)
		require.Len(t, list("-o", o, "--limit=0"), 102)
		require.Len(t, list("-o", o, "--limit=5000"), 102)
	}
	r := lakeload(t, nil, "epochs", "--lake", lake, "--all", "--limit", "3")
	require.Equal(t, exitUsage, r.code)
}
