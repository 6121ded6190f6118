package keyindex

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// benchKeys is how many keys are present in the benchmarks; the variable
// KEYINDEX_BENCH_KEYS says otherwise.
func benchKeys() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("KEYINDEX_BENCH_KEYS"), 10, 64); err == nil {
		return n
	}
	return 2_000_000
}

// benchMemory is the budget in bytes of an index in runs; the variable
// KEYINDEX_BENCH_MEMORY says otherwise, in MiB. 128 MiB is the share of an index
// that is alone in an engine of 512 MiB.
func benchMemory() int64 {
	if n, err := strconv.ParseInt(os.Getenv("KEYINDEX_BENCH_MEMORY"), 10, 64); err == nil && n > 0 {
		return n << 20
	}
	return 64 << 20
}

// benchHash is a hash for key n, evenly spread and cheap to make.
func benchHash(n uint64) (h Hash) {
	binary.LittleEndian.PutUint64(h[:8], benchWord(n))
	binary.LittleEndian.PutUint64(h[8:], benchWord(n+1<<40))
	return h
}

func benchWord(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// fill loads n keys in one change.
func fill(b testing.TB, ix Index, n uint64) {
	ctx := context.Background()
	c := ix.Change()
	file := ix.FileID("base")
	batch := make([]Entry, 0, 10_000)
	for k := range n {
		batch = append(batch, Entry{benchHash(k), Loc{file, uint32(k)}})
		if len(batch) == cap(batch) || k == n-1 {
			require.NoError(b, c.Put(ctx, batch))
			batch = batch[:0]
		}
	}
	require.NoError(b, c.Commit(ctx, Stamp{Version: 1}))
}

func dirBytes(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if i, err := d.Info(); err == nil {
				n += i.Size()
			}
		}
		return nil
	})
	return n
}

// settled waits until there is nothing to merge.
func settled(ix *diskIndex) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for ix.usable() == nil {
		busy := ix.flushing || ix.dumping || ix.wantsDump() || ix.frozen != nil || slices.Contains(ix.merging, true)
		for _, p := range ix.view.parts {
			sizes := make([]int64, len(p))
			for i, g := range p {
				sizes[i] = g.sec.n
			}
			n, _ := pickMerge(sizes)
			busy = busy || (n > 0 && ix.keys == nil)
		}
		if !busy {
			ix.trash.empty()
			return
		}
		ix.changed.Wait()
	}
}

// replaced makes a batch of half new keys and half keys that are there.
func replaced(batch []Entry, hs []Hash, next *uint64, file FileID, rnd *rand.Rand) {
	for i := range batch {
		k := *next
		if i%2 == 0 {
			*next++
		} else {
			k = rnd.Uint64N(k)
		}
		hs[i] = benchHash(k)
		batch[i] = Entry{hs[i], Loc{file, uint32(i)}}
	}
}

func benchBatches(b *testing.B, memory int64) {
	ctx := context.Background()
	dir := b.TempDir()
	n := benchKeys()
	begun, cpu := time.Now(), cpuTime()
	i, err := Create(ctx, Options{Dir: dir, Memory: memory})
	require.NoError(b, err)
	ix := i.(*diskIndex)
	defer func() { require.NoError(b, ix.Close()) }()
	fill(b, ix, n)
	committed := time.Since(begun)
	settled(ix)
	b.Logf("%d keys: committed after %v, settled after %v, %v of CPU, %.2f bytes a key on the disk, in memory %v",
		n, committed, time.Since(begun), cpuTime()-cpu, float64(dirBytes(dir))/float64(n), ix.keys != nil)

	const size = 20_000
	batch, hs, locs := make([]Entry, size), make([]Hash, size), make([]Loc, size)
	rnd := rand.New(rand.NewPCG(1, 2))
	next := n
	var took []batchTimes
	var lookupCPU time.Duration
	var busy, peak uint64
	runtime.GC()
	b.ResetTimer()
	cpu = cpuTime()
	for b.Loop() {
		b.StopTimer()
		c0 := cpuTime()
		replaced(batch, hs, &next, ix.FileID(fmt.Sprint("f", len(took))), rnd)
		cpu += cpuTime() - c0
		b.StartTimer()
		t0, c0 := time.Now(), cpuTime()
		c := ix.Change()
		require.NoError(b, c.Lookup(ctx, hs, locs))
		t1 := time.Now()
		lookupCPU += cpuTime() - c0
		require.NoError(b, c.Put(ctx, batch))
		t2 := time.Now()
		require.NoError(b, c.Commit(ctx, Stamp{Version: int64(next)}))
		took = append(took, batchTimes{time.Since(t0), t1.Sub(t0), t2.Sub(t1), time.Since(t2), cpuTime() - c0})
		if len(took)%32 == 0 {
			var ms runtime.MemStats
			runtime.ReadMemStats(&ms)
			peak = max(peak, ms.HeapInuse)
		}
		busy += size
	}
	b.StopTimer()
	used := cpuTime() - cpu
	settled(ix)
	slices.SortFunc(took, func(a, b batchTimes) int { return cmp.Compare(a.all, b.all) })
	for name, i := range map[string]int{"p50-ms": len(took) / 2, "p99-ms": len(took) * 99 / 100, "max-ms": len(took) - 1} {
		b.ReportMetric(float64(took[i].all.Microseconds())/1000, name)
	}
	for _, t := range took[max(0, len(took)-5):] {
		b.Logf("slow: %v, of it lookup %v, put %v, commit %v", t.all, t.lookup, t.put, t.commit)
	}
	slices.SortFunc(took, func(a, b batchTimes) int { return cmp.Compare(a.cpu, b.cpu) })
	for name, i := range map[string]int{"p50-cpu-ms": len(took) / 2, "p99-cpu-ms": len(took) * 99 / 100, "max-cpu-ms": len(took) - 1} {
		b.ReportMetric(float64(took[i].cpu.Microseconds())/1000, name)
	}
	rss, err := peakRSS()
	require.NoError(b, err)
	disk := dirBytes(dir)
	b.ReportMetric(float64(busy)/used.Seconds(), "changes/cpu-s")
	b.ReportMetric(float64(busy)/b.Elapsed().Seconds(), "changes/s")
	b.ReportMetric(float64(lookupCPU.Nanoseconds())/float64(busy), "cpu-ns/lookup")
	b.ReportMetric(float64(peak)/(1<<20), "heap-MiB")
	b.ReportMetric(float64(rss)/(1<<20), "peak-RSS-MiB")
	b.ReportMetric(float64(disk)/float64(next), "disk-B/key")
	b.ReportMetric(float64(ix.view.deepest()), "runs")

	at := ix.Stamp()
	require.NoError(b, ix.Close())
	begun, cpu = time.Now(), cpuTime()
	i, err = Open(ctx, ix.opt, at)
	require.NoError(b, err)
	b.Logf("opened again after %v, %v of CPU", time.Since(begun), cpuTime()-cpu)
	require.NoError(b, i.Lookup(ctx, hs, locs))
	for i := range hs {
		require.NotZero(b, locs[i], "a key is lost")
	}
	require.NoError(b, i.Close())
}

// batchTimes is what a batch took. cpu is what the whole process used meanwhile,
// merges included: what it tells does not depend on what else the machine does.
type batchTimes struct{ all, lookup, put, commit, cpu time.Duration }

func BenchmarkBatchInMemory(b *testing.B) { benchBatches(b, 4<<30) }
func BenchmarkBatchInRuns(b *testing.B)   { benchBatches(b, benchMemory()) }

func benchSmallCommits(b *testing.B, memory int64) {
	ctx := context.Background()
	i, err := Create(ctx, Options{Dir: b.TempDir(), Memory: memory})
	require.NoError(b, err)
	ix := i.(*diskIndex)
	defer func() { require.NoError(b, ix.Close()) }()
	fill(b, ix, benchKeys())
	settled(ix)
	const size = 100
	batch, hs, locs := make([]Entry, size), make([]Hash, size), make([]Loc, size)
	rnd := rand.New(rand.NewPCG(1, 2))
	next := benchKeys()
	cpu := cpuTime()
	n := 0
	for b.Loop() {
		replaced(batch, hs, &next, ix.FileID(fmt.Sprint("f", n)), rnd)
		c := ix.Change()
		require.NoError(b, c.Lookup(ctx, hs, locs))
		require.NoError(b, c.Put(ctx, batch))
		require.NoError(b, c.Commit(ctx, Stamp{Version: int64(next)}))
		n++
	}
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(n), "cpu-us/commit")
}

func BenchmarkSmallCommitInMemory(b *testing.B) { benchSmallCommits(b, 4<<30) }
func BenchmarkSmallCommitInRuns(b *testing.B)   { benchSmallCommits(b, 64<<20) }
