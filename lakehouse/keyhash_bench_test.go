//go:build unix

package lakehouse

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// uuidTextKeys makes keys of a uuid and a text as the columns that the stream
// gives: the nth key is the same every time.
func uuidTextKeys(keys []uint64) []arrow.Array {
	ids, texts := array.NewStringBuilder(memory.DefaultAllocator), array.NewStringBuilder(memory.DefaultAllocator)
	defer ids.Release()
	defer texts.Release()
	for _, k := range keys {
		rng := rand.NewPCG(k, 99)
		var id uuid.UUID
		for i := range id {
			if i%8 == 0 {
				k = rng.Uint64()
			}
			id[i] = byte(k >> (8 * (i % 8)))
		}
		ids.Append(id.String())
		texts.Append(fmt.Sprintf("order-%d", rng.Uint64()>>24))
	}
	return []arrow.Array{ids.NewArray(), texts.NewArray()}
}

// BenchmarkUUIDTextKeys is the way of a batch of 10,000 new and 10,000 old keys
// of (uuid, text) through hashing and index, in the share of an engine's memory
// that a table alone gets. LAKELOAD_BENCH_KEYS is how many keys are there before
// the first batch.
func BenchmarkUUIDTextKeys(b *testing.B) {
	ctx := b.Context()
	n, err := strconv.ParseUint(os.Getenv("LAKELOAD_BENCH_KEYS"), 10, 64)
	if err != nil {
		n = 1_000_000
	}
	index, err := createIndex(ctx, &tableSpec{indexDir: b.TempDir(), indexMemory: func(int64) int64 { return 512 << 20 / 4 }}, 0)
	require.NoError(b, err)
	defer func() { require.NoError(b, index.Close()) }()
	k := keyHasher{hasher: keyindex.NewHasher([16]byte{7})}

	const size = 20_000
	keys, hashes, locs, entries := make([]uint64, size), make([]keyindex.Hash, size), make([]keyindex.Loc, size), make([]keyindex.Entry, size)
	hash := func(cols []arrow.Array, file keyindex.FileID) {
		require.NoError(b, k.hashRows(cols, nil, 0, hashes[:cols[0].Len()]))
		for i, h := range hashes[:cols[0].Len()] {
			entries[i] = keyindex.Entry{Hash: h, Loc: keyindex.Loc{File: file, Row: uint32(i)}}
		}
	}
	c := index.Change()
	next := uint64(0)
	for next < n {
		keys = keys[:min(size, n-next)]
		for i := range keys {
			keys[i] = next
			next++
		}
		hash(uuidTextKeys(keys), index.FileID(fmt.Sprint("base ", next)))
		require.NoError(b, c.Put(ctx, entries[:len(keys)]))
	}
	require.NoError(b, c.Commit(ctx, keyindex.Stamp{Version: 1}))
	time.Sleep(3 * time.Second) // what is merged after the load

	keys = keys[:size]
	rng := rand.New(rand.NewPCG(1, 2))
	var took []time.Duration
	var hashing time.Duration
	cpu := processTime()
	for b.Loop() {
		b.StopTimer()
		c0 := processTime()
		before := next
		for i := range keys {
			if keys[i] = rng.Uint64N(before); i%2 == 0 {
				keys[i] = next
				next++
			}
		}
		cols := uuidTextKeys(keys)
		cpu += processTime() - c0 // the stream's work, not ours
		b.StartTimer()
		begun := time.Now()
		hash(cols, index.FileID(fmt.Sprint("file ", len(took))))
		hashing += time.Since(begun)
		c := index.Change()
		require.NoError(b, c.Lookup(ctx, hashes, locs))
		require.NoError(b, c.Put(ctx, entries))
		require.NoError(b, c.Commit(ctx, keyindex.Stamp{Version: int64(len(took)) + 2}))
		took = append(took, time.Since(begun))
		for i := range locs {
			if i%2 == 1 && locs[i].File == keyindex.NoFile {
				b.Fatalf("key %d is lost", keys[i])
			}
		}
	}
	cpu = processTime() - cpu
	slices.Sort(took)
	changes := float64(len(took) * size)
	b.ReportMetric(changes/cpu.Seconds(), "changes/cpu-s")
	b.ReportMetric(float64(hashing.Nanoseconds())/changes, "ns/hash")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
}
