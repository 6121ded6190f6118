package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lakeload/lakeload/integration/testbed"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// logEnv makes the program be lakeload's side of a measurement of the table
// format's log: "open", "commit" or "checkpoint", and the table's folder.
const logEnv = "LAKELOAD_BENCH_LOG"

// tableLog measures what the log of a table costs who opens it, lists its files
// and adds a commit, against delta-rs. The files are not there: nobody reads
// them.
func tableLog(ctx context.Context, b *bench) ([]pair, error) {
	if err := testbed.Venv(); err != nil {
		return nil, err
	}
	commits := int64(10_000 * b.scale)
	for _, c := range []struct {
		what            string
		op              string
		commits, adds   int64 // adds of each commit
		checkpoint, new bool
	}{
		{"open and list: %d commits of one file, no checkpoint", "open", commits, 1, false, true},
		{"open and list: the same, with a checkpoint", "open", commits, 1, true, false},
		{"one more commit, the table opened before it: %d files", "commit", commits, 1, true, false},
		{"open and list: %d commits of a thousand files each, with a checkpoint", "open", int64(300 * b.scale), 1000, true, true},
		{"open and write a checkpoint: %d commits of a thousand files each", "checkpoint", int64(1000 * b.scale), 1000, true, true},
	} {
		if strings.Contains(c.what, "%d") {
			c.what = fmt.Sprintf(c.what, c.commits)
		}
		ours, peers := filepath.Join(b.dir, "log"), filepath.Join(b.dir, "log-peer")
		for _, dir := range []string{ours, peers} {
			if err := makeLog(ctx, dir, c.commits, c.adds, c.new, c.checkpoint); err != nil {
				return nil, err
			}
		}
		var list []pair
		for range b.rounds {
			var p pair
			var err error
			if p.ours, err = ourProcess(ctx, fmt.Sprintf("%s=%s,%s", logEnv, c.op, ours)); err != nil {
				return nil, err
			}
			if p.peer, err = logPeer(ctx, peers, c.op); err != nil {
				return nil, err
			}
			p.ours.rows, p.peer.rows = c.commits*c.adds, c.commits*c.adds
			list = append(list, p)
		}
		fmt.Printf("  %s:\n", c.what)
		report(list)
	}
	return nil, nil
}

const logStats = `{"numRecords":1000,"minValues":{"id":%d,"customer":17,"amount":0.25,"created":"2026-01-01T00:00:00.000Z","note":"note number 1 of the bench"},` +
	`"maxValues":{"id":%d,"customer":99999,"amount":9999.75,"created":"2026-12-31T23:59:59.000Z","note":"note number 999999 of the bench"},` +
	`"nullCount":{"id":0,"customer":0,"amount":0,"created":0,"note":0},"tightBounds":true}`

// makeLog makes a table of commits, or adds a checkpoint to the one that is
// there.
func makeLog(ctx context.Context, dir string, commits, adds int64, anew, checkpoint bool) error {
	if anew {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("making a table: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("making a table: %w", err)
	}
	store, err := objstore.NewLocal(dir)
	if err != nil {
		return err
	}
	loc := tablefmt.Location{Data: store}
	s, err := tablefmt.Load(ctx, loc)
	if errors.Is(err, tablefmt.ErrNoTable) {
		s, err = makeCommits(ctx, loc, commits, adds)
	}
	if err != nil || !checkpoint {
		return err
	}
	return tablefmt.Checkpoint(ctx, s)
}

func makeCommits(ctx context.Context, loc tablefmt.Location, commits, adds int64) (*tablefmt.Snapshot, error) {
	tx := tablefmt.Begin(loc, nil)
	schema := &tablefmt.Schema{Fields: []tablefmt.Field{
		{Name: "id", Type: tablefmt.Long, Nullable: true},
		{Name: "customer", Type: tablefmt.Long, Nullable: true},
		{Name: "amount", Type: tablefmt.Double, Nullable: true},
		{Name: "created", Type: tablefmt.Timestamp, Nullable: true},
		{Name: "note", Type: tablefmt.String, Nullable: true},
	}}
	tx.SetProtocol(&tablefmt.Protocol{MinReaderVersion: 1, MinWriterVersion: 2})
	tx.SetMetadata(&tablefmt.Metadata{SchemaString: schema.JSON()})
	s, err := tx.Commit(ctx)
	for v := int64(0); v < commits && err == nil; v++ {
		tx := tablefmt.Begin(loc, s)
		for i := range adds {
			n := (v*adds + i) * 1000
			tx.Add(tablefmt.AddFile{
				Path: fmt.Sprintf("part-00000-%08x-0000-4000-8000-%012x.c000.zstd.parquet", v, i), Size: 40_000 + i, DataChange: true, ModificationTime: 1_767_225_600_000 + v,
				Stats: fmt.Sprintf(logStats, n, n+999),
			})
		}
		s, err = tx.Commit(ctx)
	}
	return s, err
}

// logProcess is lakeload's side.
func logProcess(ctx context.Context, what string) error {
	op, dir, _ := strings.Cut(what, ",")
	store, err := objstore.NewLocal(dir)
	if err != nil {
		return err
	}
	begun, cpu := time.Now(), cpuTime() // before the table is opened, but for "commit"
	s, err := tablefmt.Load(ctx, tablefmt.Location{Data: store})
	if err != nil {
		return err
	}
	switch op {
	case "open":
		n, size := 0, int64(0)
		for f := range s.Files() {
			n, size = n+len(f.Path), size+f.Size
		}
		if n == 0 || size != s.Size() {
			return errors.New("the table has no files")
		}
	case "checkpoint":
		if err := tablefmt.Checkpoint(ctx, s); err != nil {
			return err
		}
	case "commit":
		begun, cpu = time.Now(), cpuTime()
		tx := tablefmt.Begin(s.Location(), s)
		tx.Add(tablefmt.AddFile{Path: fmt.Sprintf("more-%d.parquet", time.Now().UnixNano()), Size: 1, DataChange: true, Stats: fmt.Sprintf(logStats, 1, 2)})
		if _, err := tx.Commit(ctx); err != nil {
			return err
		}
	}
	took, spent := time.Since(begun), cpuTime()-cpu
	peak, err := peakKiB()
	if err != nil {
		return err
	}
	fmt.Println(took.Seconds(), spent.Seconds(), peak)
	return nil
}

func logPeer(ctx context.Context, dir, op string) (cost, error) {
	const script = `
import resource, sys, time
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
op, path = sys.argv[1], sys.argv[2]
def used():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime
begun, cpu = time.monotonic(), used()
t = DeltaTable(path)
if op == "open":
    assert sum(len(f) for f in t.file_uris()) > 0
elif op == "checkpoint":
    t.create_checkpoint()
else:
    row = pa.table({"id": pa.array([1], pa.int64())})
    begun, cpu = time.monotonic(), used()
    write_deltalake(t, row, mode="append", schema_mode="merge")
took, spent = time.monotonic() - begun, used() - cpu
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")][0]
print(took, spent, peak)`
	return peerProcess(ctx, script, op, dir)
}
