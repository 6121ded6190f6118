package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/integration/testbed"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// mergeEnv makes the program be lakeload's side of a merge, a process of its
// own: its value is the lake's folder, the table's rows and those to upsert,
// none of them for making the table.
const mergeEnv = "LAKELOAD_BENCH_MERGE"

// merge measures the upsert of a batch that is in memory into a table of 5
// million rows: the engine, with a source that hands the batch out, until it is
// acknowledged, against delta-rs' merge. The engine has its key index; that is
// the point of it, and part of the memory that is told. It reports each size by
// itself.
func merge(ctx context.Context, b *bench) ([]pair, error) {
	rows := int64(5_000_000 * b.scale)
	if err := testbed.Venv(); err != nil {
		return nil, err
	}
	ours, peers := filepath.Join(b.dir, "merge"), filepath.Join(b.dir, "merge-peer")
	made, err := b.mergeOurs(ctx, ours, rows, 0)
	if err != nil {
		return nil, err
	}
	fmt.Printf("  %d rows copied: %s\n", rows, made)
	if _, err := b.mergePeer(ctx, peers, rows, 0, 0); err != nil {
		return nil, err
	}
	for _, upserts := range []int64{10_000, int64(1_000_000 * b.scale)} {
		var list []pair
		for round := range b.rounds {
			p := pair{}
			if p.ours, err = b.mergeOurs(ctx, ours, rows, upserts); err != nil {
				return nil, err
			}
			if p.peer, err = b.mergePeer(ctx, peers, rows, upserts, int64(round)); err != nil {
				return nil, err
			}
			list = append(list, p)
		}
		fmt.Printf("  %d upserts into %d rows:\n", upserts, rows)
		report(list)
	}
	return nil, nil
}

func (b *bench) mergeOurs(ctx context.Context, dir string, rows, upserts int64) (cost, error) {
	c, err := ourProcess(ctx, fmt.Sprintf("%s=%s,%d,%d", mergeEnv, dir, rows, upserts))
	c.rows = max(upserts, 1)
	return c, err
}

func (b *bench) mergePeer(ctx context.Context, dir string, rows, upserts, seed int64) (cost, error) {
	const script = `
import ctypes, duckdb, gc, resource, sys, time, numpy
from deltalake import DeltaTable, WriterProperties, write_deltalake
codec = WriterProperties(compression="ZSTD", compression_level=1) # as lakeload's
path, rows, upserts, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
made = """SELECT i AS id, i % 100000 AS customer, (['new','paid','packed','sent','back'])[i % 5 + 1] AS status, ((i % 1000000) / 100.0)::decimal(12,2) AS amount,
  (i % 100 + {n})::int AS quantity, i * 0.37::double AS weight, i % 3 = 0 AS paid, to_timestamp(1767225600 + i::bigint) AS created,
  timestamp '2026-01-01' + to_minutes(i) AS updated, date '2026-01-01' + (i % 365)::int AS day,
  printf('%016x-%016x', i::bigint * 7919, i::bigint * 104729) AS code, 'note number ' || i || ' of the bench' AS note FROM {source}"""
c = duckdb.connect()
c.execute("SET enable_progress_bar = false")
c.execute("SET TimeZone = 'UTC'")
if upserts == 0:
    for at in range(0, rows, 1000000):
        write_deltalake(path, c.execute(made.format(n=0, source=f"range({at + 1}, {min(at + 1000000, rows) + 1}) t(i)")).to_arrow_table(), mode="append", writer_properties=codec)
    print(0, 0, 0)
    sys.exit()
ids = numpy.random.default_rng(seed).choice(rows + rows // 4, upserts, replace=False) + 1
batch = c.execute(made.format(n=1, source="(SELECT unnest(?) AS i)"), [ids.tolist()]).to_arrow_table()
gc.collect()
ctypes.CDLL(None).malloc_trim(0)
open("/proc/self/clear_refs", "w").write("5")
u = resource.getrusage(resource.RUSAGE_SELF)
begun, cpu = time.monotonic(), u.ru_utime + u.ru_stime
DeltaTable(path).merge(batch, "t.id = s.id", source_alias="s", target_alias="t", writer_properties=codec).when_matched_update_all().when_not_matched_insert_all().execute()
took = time.monotonic() - begun
u = resource.getrusage(resource.RUSAGE_SELF)
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")][0]
print(took, u.ru_utime + u.ru_stime - cpu, peak)`
	c, err := peerProcess(ctx, script, dir, fmt.Sprint(rows), fmt.Sprint(upserts), fmt.Sprint(seed))
	c.rows = max(upserts, 1)
	return c, err
}

// mergeProcess is lakeload's side: it prints what the upserts took.
func mergeProcess(ctx context.Context, what string) (err error) {
	parts := strings.Split(what, ",")
	if len(parts) != 3 {
		return fmt.Errorf("%s is %q", mergeEnv, what)
	}
	rows, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w", mergeEnv, err)
	}
	upserts, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w", mergeEnv, err)
	}
	const budget = 128 << 20
	debug.SetMemoryLimit(budget + budget/2 + 48<<20) // as the program sets it for --memory 128MiB
	store, err := objstore.NewLocal(parts[0])
	if err != nil {
		return err
	}
	at, made := cdc.LSN(1000), false
	if lake, err := lakehouse.OpenLake(ctx, store, ""); err == nil {
		made = true
		snap, err := loadBench(ctx, lake)
		if err != nil {
			return err
		}
		for txn := range snap.Txns() {
			at = max(at, cdc.LSN(txn.Version))
		}
	}
	source := newMemorySource(rows, at, made)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	streaming := make(chan struct{}, 1)
	engine, err := lakehouse.Open(ctx, lakehouse.Options{
		Source: source, Lake: store, CacheDir: parts[0] + ".cache", Slot: "bench", Publication: "bench", Freshness: 50 * time.Millisecond, Memory: budget,
		Events: lakehouse.Events{StreamStarted: func(lakehouse.StreamStarted) { streaming <- struct{}{} }},
	})
	if err != nil {
		return err
	}
	begun, cpu := time.Now(), cpuTime()
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	select {
	case <-streaming:
	case err := <-ended:
		return errors.Join(errors.New("the engine has ended"), err)
	}
	if upserts > 0 {
		chunks, end := source.transaction(randomIDs(rows, upserts, uint64(at)), rows)
		time.Sleep(time.Second) // what is done at the start is over
		debug.FreeOSMemory()
		if err := forgetPeak(); err != nil {
			return err
		}
		begun, cpu = time.Now(), cpuTime()
		for i := range chunks {
			source.chunks <- chunks[i]
			chunks[i] = nil // it is the engine's
		}
		for acked := cdc.LSN(0); acked < end; {
			select {
			case acked = <-source.acked:
			case err := <-ended:
				return errors.Join(errors.New("the engine has ended"), err)
			}
		}
	}
	took, spent := time.Since(begun), cpuTime()-cpu
	peak, err := peakKiB()
	if err != nil {
		return err
	}
	fmt.Println(took.Seconds(), spent.Seconds(), peak)
	stop()
	if err := <-ended; err != nil {
		return err
	}
	return errors.Join(engine.Close(), checkMerged(context.WithoutCancel(ctx), store, upserts))
}

// forgetPeak lets peakKiB begin anew: what making the batch took is not the
// merge's. It is Linux's.
func forgetPeak() error {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return fmt.Errorf("forgetting the peak of memory: %w", err)
	}
	return nil
}

// peakKiB is the most memory that this process has had resident since.
func peakKiB() (kib int64, err error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("reading the peak of memory: %w", err)
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	if _, err := fmt.Sscan(after, &kib); err != nil {
		return 0, fmt.Errorf("reading the peak of memory: %w", err)
	}
	return kib, nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// randomIDs gives distinct ids of rows, of which a fifth are new.
func randomIDs(rows, n int64, seed uint64) []int64 {
	r := rand.New(rand.NewPCG(1, seed))
	seen := make(map[int64]bool, n)
	list := make([]int64, 0, n)
	for int64(len(list)) < n {
		id := 1 + r.Int64N(rows+rows/4)
		if id > rows { // each round has new ones of its own
			id = rows + 1 + int64(seed)<<24 + int64(len(list))
		}
		if !seen[id] {
			seen[id] = true
			list = append(list, id)
		}
	}
	return list
}

// checkMerged makes sure that every key is there once.
func checkMerged(ctx context.Context, store objstore.Store, upserts int64) error {
	if upserts == 0 {
		return nil
	}
	lake, err := lakehouse.OpenLake(ctx, store, "")
	if err != nil {
		return err
	}
	snap, err := loadBench(ctx, lake)
	if err != nil {
		return err
	}
	seen, rows := map[int64]struct{}{}, int64(0)
	err = snap.Scan(ctx, tablefmt.ScanOptions{Columns: []string{"id"}}, func(rec arrow.RecordBatch) error {
		ids := rec.Column(0).(interface{ Value(i int) int64 })
		for i := range int(rec.NumRows()) {
			seen[ids.Value(i)] = struct{}{}
			rows++
		}
		return nil
	})
	if err == nil && int64(len(seen)) != rows {
		err = fmt.Errorf("of %d rows %d have keys of their own", rows, len(seen))
	}
	return err
}

func loadBench(ctx context.Context, lake *lakehouse.Lake) (*tablefmt.Snapshot, error) {
	table, err := lake.Table("public.bench")
	if err != nil {
		return nil, err
	}
	snap, _, err := lake.Load(ctx, table, lakehouse.At{})
	return snap, err
}
