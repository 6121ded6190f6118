package tablefmt

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/dv"
)

// randomAdd has every field of an add, each of them often as it is where it is
// not set.
func randomAdd(rng *rand.Rand, path string) *AddFile {
	maybe := func() bool { return rng.IntN(2) == 0 }
	text := func() string {
		return []string{"", "a", "ä\x00\xff", strings.Repeat("long ", 200), fmt.Sprint(rng.Uint64())}[rng.IntN(5)]
	}
	number := func() *int64 {
		if maybe() {
			return nil
		}
		n := int64(rng.Uint64() >> rng.IntN(64))
		return &n
	}
	a := &AddFile{
		Path: path, Size: int64(rng.Uint64() >> (1 + rng.IntN(63))), ModificationTime: int64(rng.Uint64()), DataChange: maybe(), Stats: text(), ClusteringProvider: text(),
		BaseRowID: number(), DefaultRowCommitVersion: number(),
	}
	if maybe() {
		a.PartitionValues = map[string]*string{}
		for range rng.IntN(3) {
			v := text()
			a.PartitionValues[[]string{"p", "q", ""}[rng.IntN(3)]] = []*string{nil, &v}[rng.IntN(2)]
		}
	}
	if maybe() {
		a.Tags = map[string]string{}
		for range rng.IntN(3) {
			a.Tags[text()] = text()
		}
	}
	if maybe() {
		a.DeletionVector = &dv.Descriptor{
			StorageType:    []dv.StorageType{dv.Inlined, dv.Relative, dv.Stored, ""}[rng.IntN(4)],
			PathOrInlineDV: text(), SizeInBytes: int32(rng.Uint32()), Cardinality: int64(rng.Uint64()),
		}
		if maybe() {
			offset := int32(rng.Uint32())
			a.DeletionVector.Offset = &offset
		}
	}
	return a
}

// What is packed comes out as it was, every field of it.
func TestFileBlock(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	set := map[string]bool{} // fields that have been set
	for n := range blockFiles + 1 {
		var files []*AddFile
		for i := range n {
			a := randomAdd(rng, fmt.Sprint("path ", i, strings.Repeat("x", rng.IntN(300))))
			if i > 0 && rng.IntN(3) == 0 {
				a.PartitionValues = maps.Clone(files[i-1].PartitionValues)
			}
			files = append(files, a)
			for f := range reflect.TypeFor[AddFile]().NumField() {
				if !reflect.ValueOf(*a).Field(f).IsZero() {
					set[reflect.TypeFor[AddFile]().Field(f).Name] = true
				}
			}
		}
		b := packFiles(files)
		got, err := b.read()
		require.NoError(t, err)
		require.Equal(t, len(files), len(got))
		for i := range files {
			require.Equal(t, files[i], got[i])
		}
		require.Equal(t, got, b.unpack())
	}
	fields := 0
	for f := range reflect.TypeFor[AddFile]().NumField() {
		if reflect.TypeFor[AddFile]().Field(f).IsExported() { // what is not is of files that no snapshot has yet
			fields++
		}
	}
	require.Len(t, set, fields, "a field that is new is to be packed")
}

func TestFileBlockCutShort(t *testing.T) {
	heads := appendHead(nil, randomAdd(rand.New(rand.NewPCG(1, 6)), "path"), new(AddFile))
	for n := range heads {
		u := unpacker{b: heads[:n]}
		u.head(new(AddFile), new(AddFile))
		require.Error(t, u.err)
	}
}

// model is what a set is to hold.
type model map[string]*AddFile

func (m model) require(t *testing.T, s *fileSet) {
	got := maps.Collect(s.all())
	require.Equal(t, len(m), s.len())
	require.Equal(t, len(m), len(got))
	for path, a := range m {
		require.Equal(t, a, got[path])
	}
}

func TestFileSet(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var set fileSet
		m := model{}
		type version struct {
			set fileSet
			m   model
		}
		var then []version
		paths := 1000 + rng.IntN(20_000)
		if seed%2 == 0 { // as a checkpoint is read
			e := set.edit()
			for i := range paths / 2 {
				a := randomAdd(rng, fmt.Sprint(i))
				m[a.Path] = a
				e.load(a)
			}
			require.NoError(t, e.loaded())
			set = e.done()
			m.require(t, &set)
		}
		for round := range 60 {
			e := set.edit()
			gone := rng.IntN(2) == 0
			for range rng.IntN(1 << rng.IntN(12)) {
				path := fmt.Sprint(rng.IntN(paths))
				old := m[path]
				if a, ok := e.get(path); ok {
					require.Equal(t, old, a)
				} else {
					require.Nil(t, old)
				}
				switch {
				case gone && old != nil && rng.IntN(8) == 0: // another logical file of the path
					_, ok := e.del(path, vectorID(old.DeletionVector)+"x")
					require.False(t, ok)
				case gone:
					vector := ""
					if old != nil {
						vector = vectorID(old.DeletionVector)
					}
					size, ok := e.del(path, vector)
					require.Equal(t, old != nil, ok)
					if ok {
						require.Equal(t, old.Size, size)
					}
					delete(m, path)
				default:
					a := randomAdd(rng, path)
					size := e.put(a)
					if old != nil {
						require.Equal(t, old.Size, size)
					} else {
						require.Zero(t, size)
					}
					m[path] = a
				}
			}
			set = e.done()
			require.Equal(t, len(m), set.len())
			require.LessOrEqual(t, set.young.len(), max(youngFiles, set.len()/youngPart))
			require.LessOrEqual(t, set.gone, max(youngFiles, set.len()/4))
			if round%10 == 9 {
				m.require(t, &set)
				then = append(then, version{set, maps.Clone(m)})
			}
		}
		for i, v := range then { // nothing has changed behind them
			v.m.require(t, &v.set)
			last := then[len(then)-1]
			lacks := map[string]*AddFile{}
			for path, a := range v.m {
				if b := last.m[path]; b == nil || vectorID(a.DeletionVector) != vectorID(b.DeletionVector) {
					lacks[path] = a
				}
				require.Equal(t, last.m[path] != nil && vectorID(last.m[path].DeletionVector) == vectorID(a.DeletionVector), last.set.has(path, vectorID(a.DeletionVector)))
			}
			got := map[string]*AddFile{}
			for a := range v.set.minus(&last.set) {
				require.Nil(t, got[a.Path])
				got[a.Path] = a
			}
			require.Equal(t, lacks, got, "what version %d has and the last one lacks", i)
			sizes := 0
			for path, a := range v.m {
				if b := last.m[path]; b != nil && vectorID(a.DeletionVector) == vectorID(b.DeletionVector) && a.Size != b.Size {
					sizes++
				}
			}
			for a, b := range v.set.sized(&last.set) {
				require.Equal(t, v.m[a.Path], a)
				require.Equal(t, last.m[a.Path], b)
				require.NotEqual(t, a.Size, b.Size)
				sizes--
			}
			require.Zero(t, sizes)
		}
	}
}

// A checkpoint that has a path twice is refused, wherever the two are.
func TestFileSetLoadedTwice(t *testing.T) {
	for _, c := range [][2]int{{0, 1}, {0, 700}, {300, 999}, {998, 999}} {
		var set fileSet
		e := set.edit()
		for i := range 1000 {
			if i == c[1] {
				i = c[0]
			}
			e.load(&AddFile{Path: fmt.Sprint("file ", i)})
		}
		require.ErrorContains(t, e.loaded(), fmt.Sprintf(`it holds "file %d" twice`, c[0]))
	}
}

func TestFileIndexFind(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, evenly := range []bool{true, false} {
		var x fileIndex
		for range 5000 {
			h := rng.Uint64()
			if !evenly {
				h >>= rng.IntN(64)
			}
			x.hashes = append(x.hashes, h, h)
		}
		x.hashes = append(x.hashes, 0, 1<<64-1)
		slices.Sort(x.hashes)
		for _, h := range append(slices.Clone(x.hashes), 1, 2, 1<<63, 1<<64-2) {
			from, to := x.find(h)
			first, found := slices.BinarySearch(x.hashes, h)
			require.Equal(t, found, from < to)
			if found {
				require.Equal(t, first, from)
				require.Equal(t, h, x.hashes[to-1])
				require.True(t, to == len(x.hashes) || x.hashes[to] != h)
			}
		}
	}
}

// A file that is packed takes a fraction of what its action takes.
func TestFileSetMemory(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const files = 100_000
	rng := rand.New(rand.NewPCG(7, 8))
	before := heap()
	var set fileSet
	e := set.edit()
	for i := range files {
		e.load(&AddFile{Path: fmt.Sprintf("part-%05d-%016x-%016x.zstd.parquet", i, rng.Uint64(), rng.Uint64()), Size: rng.Int64N(1 << 30), Stats: fmt.Sprintf(
			`{"numRecords":%d,"minValues":{"id":%d,"price":%d.%02d},"maxValues":{"id":%d,"price":%d.%02d},"nullCount":{"id":0,"price":0},"tightBounds":true}`,
			rng.IntN(1e6), rng.IntN(1e9), rng.IntN(1e4), rng.IntN(100), rng.IntN(1e9), rng.IntN(1e4), rng.IntN(100))})
	}
	require.NoError(t, e.loaded())
	set = e.done()
	require.Less(t, (heap()-before)/files, int64(130), "bytes a file")
	require.Equal(t, files, set.len())
}
