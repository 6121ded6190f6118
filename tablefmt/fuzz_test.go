package tablefmt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Every decoder of foreign bytes has a target here, or in dv and colfile, where
// theirs are. None may panic, take memory beyond a bound that grows with the
// input, or give an error of no kind; what is accepted is the same after it was
// written and read again. Seeds lie in testdata/fuzz, too: what was found once.

// bounded runs what reads size bytes, and holds what it allocates in all against
// a bound.
func bounded(t *testing.T, size, per int, read func()) {
	t.Helper()
	const fixed = 1 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	read()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > uint64(fixed+per*size) {
		t.Fatalf("%d bytes allocated for %d", n, size)
	}
}

func classified(t *testing.T, err error) {
	t.Helper()
	var unsupported *UnsupportedFeatureError
	if !errors.Is(err, ErrCorrupt) && !errors.As(err, &unsupported) {
		t.Fatalf("an error of no kind: %v", err)
	}
	if strings.Contains(err.Error(), "panic") {
		t.Fatalf("a panic: %v", err)
	}
}

var lineSeeds = []string{
	ddl, oldProtocol, idMetadata, bareMetadata,
	`{"add":{"path":"a%20b","partitionValues":{"x":null},"size":1,"stats":"{\"numRecords\":3}","deletionVector":{"storageType":"u","pathOrInlineDv":"ab^-aqEH.-t@S}K{vb[*k^","offset":4,"sizeInBytes":40,"cardinality":6}}}`,
	`{"commitInfo":{"operation":3,"operationParameters":[],"txnId":"x"}}` + "\n\n" + `{"txn":{"appId":"a","version":-1}}`,
	`{"remove":{"path":"x"},"add":{"path":"y"}}`, `{"Add":{"path":"x"},"add":{"PATH":"y","path":"z","path":"z2","size":1.0}}`,
	`{"add":{"path":"x","\u0053ize":3,"size":2.5e1,"deletionVector":{"offset":1.0,"Offset":2}}}`, `{"add":[{"path":"x"}]}`, `{"add":{"path":"\\\"","path2":"}{"}}`,
	`{"domainMetadata":{"domain":"d","configuration":"{}","removed":false}}`, `{"cdc":{"path":"_change_data/x","size":1}}`,
}

func FuzzLogLines(f *testing.F) {
	for _, s := range lineSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var actions []Action
		var err error
		bounded(t, len(data), 400, func() { actions, err = collectActions(data, 3) })
		if err != nil {
			classified(t, err)
			return
		}
		// What was understood can be written and is understood again.
		out := must(encodeActions(actions))
		again, err := collectActions(out, 3)
		require.NoError(t, err)
		require.Equal(t, string(out), string(must(encodeActions(again))))
		st, err := fuzzState().next(3, actions, 0)
		if err != nil {
			classified(t, err)
			return
		}
		for _, a := range st.files.all() {
			_, err := parsePath(a.Path)
			require.NoError(t, err)
			_, _ = a.NumRecords()
		}
	})
}

func fuzzState() *state {
	return &state{version: 2, protocol: &Protocol{MinReaderVersion: 1, MinWriterVersion: 2}, metadata: &Metadata{}, schema: idSchema, tail: newTail()}
}

// FuzzPlainKeys: where it says that package json reads a line as it is meant, the
// strict way reads the same.
func FuzzPlainKeys(f *testing.F) {
	for _, s := range lineSeeds {
		for l := range strings.SplitSeq(s, "\n") {
			f.Add([]byte(l))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var quick Action
		if !plainKeys(line) || json.Unmarshal(line, &quick) != nil {
			return
		}
		strict, err := strictAction(line)
		require.NoError(t, err)
		require.True(t, reflect.DeepEqual(quick, strict), "%+v %+v", quick, strict)
	})
}

func FuzzCompacted(f *testing.F) {
	for _, s := range lineSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var st *state
		var err error
		bounded(t, len(data), 400, func() { st, err = fuzzState().compacted(compaction{name: compactedName(3, 7), from: 3, to: 7}, data) })
		if err != nil {
			classified(t, err)
			return
		}
		require.Equal(t, int64(7), st.version)
	})
}

// loadFuzzed loads a log of one file, which is damaged or not.
func loadFuzzed(t *testing.T, name string, data []byte, per int) {
	t.Helper()
	ctx := context.Background()
	loc := memoryTable()
	require.NoError(t, loc.log().Put(ctx, name, data))
	var s *Snapshot
	var err error
	bounded(t, len(data), per, func() { s, err = Load(ctx, loc) })
	if err != nil {
		classified(t, err)
		if !strings.Contains(err.Error(), "_sidecars/") {
			require.ErrorContains(t, err, name)
		}
		return
	}
	if s.NumFiles() > 1000 {
		return
	}
	if err := Checkpoint(ctx, s); err == nil {
		again, err := Load(ctx, loc)
		require.NoError(t, err)
		require.Equal(t, whole(t, s), whole(t, again))
	}
}

// checkpointSeeds are checkpoints that we and Spark wrote.
func checkpointSeeds(t testing.TB) (out [][]byte) {
	for _, pattern := range []string{"golden/*/delta/_delta_log/*checkpoint*.parquet", "spark/*/delta/_delta_log/*checkpoint*.parquet"} {
		names, err := filepath.Glob(filepath.Join("testdata", pattern))
		require.NoError(t, err)
		for _, name := range names {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			out = append(out, data)
		}
	}
	return out
}

func ourCheckpoint(t *testing.T) []byte {
	loc := memoryTable()
	s := busyTable(t, loc, 5)
	require.NoError(t, Checkpoint(context.Background(), s))
	return must(loc.log().Get(context.Background(), checkpointName(s.Version())))
}

// perParquet is what each byte of a Parquet file may cost: what a page of a few
// bytes says is a thousand equal values are a thousand values.
const perParquet = 100_000

func FuzzCheckpoint(f *testing.F) {
	for _, data := range checkpointSeeds(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { loadFuzzed(t, checkpointName(3), data, perParquet) })
}

func FuzzCheckpointJSON(f *testing.F) {
	f.Add([]byte(lines(`{"checkpointMetadata":{"version":3}}`, `{"sidecar":{"path":"x.parquet","sizeInBytes":1,"modificationTime":1}}`, oldProtocol, idMetadata)))
	f.Add([]byte(lines(`{"sidecar":{"path":"../x.parquet"}}`, oldProtocol, idMetadata, addOf("x"))))
	f.Add([]byte(lines(oldProtocol, idMetadata, addOf("x"), removeOf("y"), `{"txn":{"appId":"a","version":1}}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		loadFuzzed(t, "00000000000000000003.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json", data, 1000)
	})
}

// TestCheckpointsCutAndFlipped cuts a checkpoint at every length, and changes bytes.
func TestCheckpointsCutAndFlipped(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	data := ourCheckpoint(t)
	ctx := context.Background()
	loc := memoryTable()
	name := checkpointName(5)
	require.NoError(t, loc.log().Put(ctx, name, data))
	want := whole(t, must(Load(ctx, loc)))
	try := func(data []byte, what string) {
		require.NoError(t, loc.log().Put(ctx, name, data))
		s, err := Load(ctx, loc)
		if err == nil {
			require.Equal(t, want, whole(t, s), what)
			return
		}
		classified(t, err)
		require.ErrorContains(t, err, name)
	}
	for n := range len(data) {
		try(data[:n], fmt.Sprint("cut at ", n))
	}
	wrong := 0
	for range 2000 {
		damaged := bytes.Clone(data)
		at := r.IntN(len(data))
		damaged[at] ^= 1 << r.IntN(8)
		require.NoError(t, loc.log().Put(ctx, name, damaged))
		s, err := Load(ctx, loc)
		if err != nil {
			classified(t, err)
			require.ErrorContains(t, err, name)
			continue
		}
		// Pages have checksums; the footer has none, and a name in it that has changed is another column.
		if !reflect.DeepEqual(want, whole(t, s)) {
			wrong++
			require.Greater(t, at, bytes.LastIndex(data[:len(data)-8], []byte("PAR1")))
		}
	}
	t.Logf("%d of 2000 bits changed what is read", wrong)
}

// TestDataFilesCutAndFlipped does the same with a data file: rows or an error that
// names it.
func TestDataFilesCutAndFlipped(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	store := objstore.NewMemory()
	s := create(t, Location{Data: store}, &Schema{Fields: []Field{{Name: "id", Type: Long, Nullable: true}, {Name: "t", Type: String, Nullable: true}}})
	tx := Begin(s.Location(), s)
	a := writeIDs(t, s, 1, 2, 3, 1<<40)
	tx.Add(a)
	s = must(tx.Commit(ctx))
	want := allRows(t, s)
	path := must(a.DataPath())
	data := must(store.Get(ctx, path))
	read := func(data []byte) (rows []string, err error) {
		require.NoError(t, store.Put(ctx, path, data))
		bounded(t, len(data), perParquet, func() {
			err = s.Scan(ctx, ScanOptions{}, func(rec arrow.RecordBatch) error {
				rows = append(rows, rowsOf(t, rec)...)
				return nil
			})
		})
		return rows, err
	}
	for n := range len(data) {
		_, err := read(data[:n])
		require.ErrorIs(t, err, ErrCorrupt, "cut at %d", n)
		require.ErrorContains(t, err, path)
	}
	body := len(data) - 8 - int(data[len(data)-8]) - int(data[len(data)-7])<<8 // where the footer begins
	for range 3000 {
		damaged := bytes.Clone(data)
		at := r.IntN(len(data))
		damaged[at] ^= 1 << r.IntN(8)
		rows, err := read(damaged)
		switch {
		case err != nil:
			require.ErrorContains(t, err, path)
			require.NotContains(t, err.Error(), "panic")
		case at < body:
			require.ElementsMatch(t, want, rows, "byte %d", at)
		}
	}
}

func FuzzPaths(f *testing.F) {
	for _, p := range []string{"a", "a%20b", "d=%2F/x", "/a", "file:///a", "s3://b/k%25", "..", "%2e%2e/a", "a:b", "//h/x", "file:", "%", "ü#?"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		var parsed filePath
		var err error
		bounded(t, len(p), 64, func() { parsed, err = parsePath(p); _ = canonicalPath(p) })
		if err != nil {
			return
		}
		c := canonicalPath(p)
		require.Equal(t, c, canonicalPath(c))
		again, err := parsePath(c)
		require.NoError(t, err)
		require.Equal(t, parsed.inside, again.inside)
		if parsed.outside == nil {
			require.NoError(t, objstore.CheckPath("Get", parsed.inside+"x"), "it names an object, or one of a reserved name")
			require.Equal(t, parsed.inside, must(decodePath(encodePath(parsed.inside))))
			return
		}
		require.Equal(t, parsed.outside.Path, again.outside.Path)
		require.True(t, strings.HasPrefix(parsed.outside.Path, "/"))
		require.NotContains(t, "/"+parsed.outside.Path+"/", "/../")
	})
}

func FuzzStats(f *testing.F) {
	for _, s := range []string{
		"", `{"numRecords":3}`, `{"numRecords":3,"minValues":{"id":1},"maxValues":{"id":2},"nullCount":{"id":0},"tightBounds":true}`, `{"numRecords":1.5}`, `{"numRecords":-1}`,
		`{"numRecords":1,"numRecords":2}`, `{"minValues":{"s":{"a":{"b":1}}}}`, `{"numRecords":9223372036854775808}`, `{"NumRecords":4}`, `{"numRecords":+1}`, `{"numRecords":01}`, `{"minValues":null}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a := &AddFile{Path: "x", Stats: s}
		var st *FileStats
		var err error
		bounded(t, len(s), 200, func() { st, err = a.ParseStats() })
		n, ok := a.NumRecords()
		if ok {
			require.GreaterOrEqual(t, n, int64(0))
		}
		if err != nil {
			return
		}
		out := must(json.Marshal(st))
		again, err := (&AddFile{Path: "x", Stats: string(out)}).ParseStats()
		require.NoError(t, err)
		require.JSONEq(t, string(out), string(must(json.Marshal(again))))
		if strings.Count(strings.ToLower(s), "umrecords") > 1 {
			return // which of the two counts nobody says
		}
		if with, err := a.WithVector(*vectorOf("ix")); err == nil {
			m, ok2 := with.NumRecords()
			require.True(t, ok && ok2)
			require.Equal(t, n, m)
		}
	})
}

var fuzzTypes = []Type{String, Binary, Long, Integer, Short, Byte, Float, Double, Boolean, Date, Timestamp, TimestampNTZ, Decimal{Precision: 38, Scale: 18}, Decimal{Precision: 1}}

func FuzzPartitionValue(f *testing.F) {
	for i, v := range []string{"x", "", "1", "-1", "+1", "1e3", "NaN", "Infinity", "true", "2020-02-29", "2020-01-01 00:00:00.123456", "2020-01-01T00:00:00Z", "-0044-03-15", "0E-18", "1e99999", "+5:30", "9999999-01-01"} {
		for k := range fuzzTypes {
			if (k+i)%3 == 0 {
				f.Add(uint8(k), v)
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, v string) {
		typ := fuzzTypes[int(kind)%len(fuzzTypes)]
		schema := must((&Schema{Fields: []Field{{Name: "x", Type: typ}}}).Arrow())
		one := func(v string) (arrow.Array, error) {
			appendTo, err := partitionAppender(typ, &v)
			if err != nil {
				return nil, err
			}
			b := array.NewBuilder(memory.DefaultAllocator, schema.Field(0).Type)
			defer b.Release()
			appendTo(b, 1)
			return b.NewArray(), nil
		}
		var a arrow.Array
		var err error
		bounded(t, len(v), 100, func() { a, err = one(v) })
		if err != nil {
			return
		}
		text, err := FormatPartitionValue(a, 0)
		if err != nil || text == nil {
			return // years of more digits, and null
		}
		b, err := one(*text)
		require.NoError(t, err)
		require.Equal(t, a.ValueStr(0), b.ValueStr(0))
	})
}

func FuzzSchema(f *testing.F) {
	for _, s := range []string{
		idSchema.JSON(), `{"type":"struct","fields":[]}`, `"long"`, `{"type":"struct","fields":[{"name":"a","type":{"type":"array","elementType":"decimal(38,18)","containsNull":true},"nullable":false,"metadata":{"x":[1]}}]}`,
		`{"type":"struct","fields":[{"name":"m","type":{"type":"map","keyType":"string","valueType":{"type":"struct","fields":[]},"valueContainsNull":false},"nullable":true}]}`,
		strings.Repeat(`{"type":"array","elementType":`, 200), `{"type":"struct","fields":[{"name":"d","type":"decimal(99,1)"}]}`, `{"type":"udt"}`, `null`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s *Schema
		var err error
		bounded(t, len(text), 2000, func() { s, err = ParseSchema(text) })
		if err != nil {
			return
		}
		again, err := ParseSchema(s.JSON())
		require.NoError(t, err)
		require.Equal(t, s.JSON(), again.JSON())
		_ = s.CheckNames(true)
		if a, err := s.Arrow(); err == nil {
			_, _ = SchemaFromArrow(a)
		}
		_, _ = schemaOf(&Metadata{SchemaString: text, PartitionColumns: []string{"id"}})
		_ = checkTypeChanges(&Protocol{MinReaderVersion: 3, MinWriterVersion: 7, ReaderFeatures: []string{"typeWidening"}, WriterFeatures: []string{"typeWidening"}}, s)
		_ = MappingName.checkMapped(s)
	})
}

// FuzzHints are files of the log without which everything works.
func FuzzHints(f *testing.F) {
	for _, s := range []string{`{"version":0}`, `{"version":1,"size":2,"parts":3}`, `{"version":-1}`, `{"version":9223372036854775807}`, `{"tableSizeBytes":0,"numFiles":0,"numMetadata":1,"numProtocol":1}`, `{"metadata":{"id":5}}`, `{`, ``} {
		f.Add([]byte(s))
	}
	want := ""
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx := context.Background()
		loc := written(t, lines(oldProtocol, idMetadata), addOf("x"))
		require.NoError(t, loc.log().Put(ctx, lastCheckpointName, data))
		require.NoError(t, loc.log().Put(ctx, "00000000000000000001.crc", data))
		var s *Snapshot
		bounded(t, len(data), 200, func() { s = must(Load(ctx, loc)) })
		if want == "" {
			want = describe(s.st)
		}
		require.Equal(t, want, describe(s.st))
		_, err := Check(ctx, loc, CheckOptions{}, func(Fault) error { return nil })
		require.NoError(t, err)
	})
}

// FuzzProperties are a table's, and the names of a log's files.
func FuzzProperties(f *testing.F) {
	for _, s := range []string{"interval 1 week", "interval 36 hours 30 minutes", "true", "10", "name", "-1", "interval 99999999999 weeks", "00000000000000000004.00000000000000000006.compacted.json", "1e9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		m := &Metadata{Configuration: map[string]string{}, Format: Format{Provider: "parquet"}, SchemaString: idSchema.JSON()}
		for _, key := range []string{
			PropAppendOnly, PropChangeDataFeed, PropDeletionVectors, PropDeletedRetention, PropLogRetention, PropInCommitTimestamps, PropForgetTxns, PropMappingMode, PropMaxColumnID,
			"delta.checkpointInterval", "delta.dataSkippingNumIndexedCols", "delta.inCommitTimestampEnablementVersion",
		} {
			m.Configuration[key] = v
		}
		require.GreaterOrEqual(t, m.tombstoneRetention(), time.Duration(0))
		_ = CheckpointPolicy{}.forTable(m)
		_, _ = mappingOf(&Protocol{MinReaderVersion: 2, MinWriterVersion: 5}, m)
		_ = checkRead(&Protocol{MinReaderVersion: 1, MinWriterVersion: 2}, m, idSchema)
		_, _ = maxColumnID(m)
		if l := parseLogName(v); l.kind != logOther {
			require.GreaterOrEqual(t, l.version, int64(0))
			require.True(t, l.kind != logCompacted || l.end > l.version)
		}
	})
}
