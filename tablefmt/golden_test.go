package tablefmt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// goldenTable is a table of testdata/golden.
func goldenTable(t *testing.T, name string) Location {
	t.Helper()
	store, err := objstore.NewLocal(filepath.Join("testdata", "golden", name, "delta"))
	require.NoError(t, err)
	return Location{Data: store}
}

// TestGoldenTables reads tables that Spark made after the pattern of Delta's own
// golden tables, and compares the rows with those that Spark read; and looks for
// faults in them. See testdata/golden/make.py.
func TestGoldenTables(t *testing.T) {
	tables, err := os.ReadDir(filepath.Join("testdata", "golden"))
	require.NoError(t, err)
	cases := 0
	for _, table := range tables {
		if !table.IsDir() {
			continue
		}
		expected := filepath.Join("testdata", "golden", table.Name(), "expected")
		versions, err := os.ReadDir(expected)
		require.NoError(t, err)
		for _, v := range versions {
			cases++
			t.Run(table.Name()+"/"+v.Name(), func(t *testing.T) {
				version, err := strconv.ParseInt(v.Name(), 10, 64)
				require.NoError(t, err)
				s, err := LoadAt(t.Context(), goldenTable(t, table.Name()), version)
				require.NoError(t, err)
				require.ElementsMatch(t, parquetRows(t, filepath.Join(expected, v.Name()), s.Arrow()), scanRows(t, s, ScanOptions{}))
			})
		}
		t.Run(table.Name(), func(t *testing.T) {
			report, faults := faultsOf(t, goldenTable(t, table.Name()), CheckOptions{Rows: true})
			require.Empty(t, faults)
			if table.Name() == "inserts-deletes" {
				require.Equal(t, report.Commits, report.Checksums, "Spark's own")
			}
		})
	}
	require.Greater(t, cases, 40)
}

const (
	oldProtocol  = `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`
	bareMetadata = `{"metaData":{"id":"testId","format":{"provider":"parquet","options":{}},"partitionColumns":[],"configuration":{},"createdTime":1}}`
	idMetadata   = `{"metaData":{"id":"testId","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{},"createdTime":1}}`
)

func addOf(path string) string {
	return fmt.Sprintf(`{"add":{"path":%q,"partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}`, path)
}

func removeOf(path string) string {
	return fmt.Sprintf(`{"remove":{"path":%q,"deletionTimestamp":200,"dataChange":true}}`, path)
}

// written makes a log of commits that are given by their lines.
func written(t *testing.T, commits ...string) Location {
	t.Helper()
	loc := memoryTable()
	for v, lines := range commits {
		require.NoError(t, loc.log().Put(context.Background(), commitName(int64(v)), []byte(lines)))
	}
	return loc
}

func lines(l ...string) string { return strings.Join(l, "\n") + "\n" }

// livePaths gives the paths of a table's newest version, as its log has them.
func livePaths(t *testing.T, loc Location) []string {
	t.Helper()
	s, err := Load(t.Context(), loc)
	require.NoError(t, err)
	got := paths(s)
	slices.Sort(got)
	return got
}

// TestGoldenLogs are those of Delta's golden tables whose point is their log.
func TestGoldenLogs(t *testing.T) {
	ctx := context.Background()
	ddl := lines(oldProtocol, bareMetadata)
	t.Run("checkpoint", func(t *testing.T) {
		commits := []string{ddl + addOf("1")}
		for i := 2; i <= 15; i++ {
			commits = append(commits, lines(removeOf(fmt.Sprint(i-1)), addOf(fmt.Sprint(i))))
		}
		loc := written(t, commits...)
		require.NoError(t, Checkpoint(ctx, must(LoadAt(ctx, loc, 10))))
		require.Equal(t, []string{"15"}, livePaths(t, loc))
		require.Empty(t, must(Load(ctx, loc)).Schema().Fields)
		for v := range int64(10) {
			require.NoError(t, loc.log().Delete(ctx, commitName(v)))
		}
		require.Equal(t, []string{"15"}, livePaths(t, loc))
	})
	t.Run("corrupted-last-checkpoint", func(t *testing.T) {
		commits := []string{ddl + addOf("0")}
		for i := 1; i <= 10; i++ {
			commits = append(commits, addOf(fmt.Sprint(i)))
		}
		loc := written(t, commits...)
		require.NoError(t, Checkpoint(ctx, must(Load(ctx, loc))))
		for _, damage := range []string{
			"", "{", "null", `{"version":null}`, `{"version":"10"}`, `{"version":10.5}`, `{"version":-7}`, `{"version":99999999999999999999}`, `[]`, "\x00\xff",
			`{"version":10,"size":12,"parts":3}`,                // parts that are not there
			`{"version":4}`,                                     // gone
			`{"version":12}`, `{"version":9223372036854775807}`, // never was
			`{"version":10,"v2Checkpoint":{"path":"00000000000000000010.checkpoint.x.json"}}`, // another kind
			`{"version":10.0}`,
		} {
			require.NoError(t, loc.log().Put(ctx, lastCheckpointName, []byte(damage)))
			require.Len(t, livePaths(t, loc), 11, damage)
			require.Equal(t, int64(10), must(Load(ctx, loc)).Version(), damage)
		}
	})
	t.Run("checkpoint-uuid-with-actions", func(t *testing.T) { // the name has no UUID
		loc := written(t, lines(`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["v2Checkpoint"],"writerFeatures":["v2Checkpoint"]}}`, bareMetadata, addOf("1")), addOf("2"))
		checkpoint := lines(`{"checkpointMetadata":{"version":1}}`, `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["v2Checkpoint"],"writerFeatures":["v2Checkpoint"]}}`, bareMetadata, addOf("1"), addOf("2"))
		require.NoError(t, loc.log().Put(ctx, fmt.Sprintf("%020d.checkpoint.abc-def.json", 1), []byte(checkpoint)))
		for v := range int64(2) {
			require.NoError(t, loc.log().Delete(ctx, commitName(v)))
		}
		require.Equal(t, []string{"1", "2"}, livePaths(t, loc))
	})
	for _, feature := range []string{"collations", "collations-preview"} {
		t.Run(feature+"-table", func(t *testing.T) { // a feature of writers
			metadata := strings.Replace(idMetadata, `\"type\":\"integer\",\"nullable\":true,\"metadata\":{}`, `\"type\":\"string\",\"nullable\":true,\"metadata\":{\"__COLLATIONS\":{\"id\":\"icu.UNICODE\"}}`, 1)
			require.Contains(t, metadata, "icu")
			loc := written(t, lines(`{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["domainMetadata","`+feature+`","appendOnly","invariants"]}}`, metadata, addOf("1")))
			require.Equal(t, []string{"1"}, livePaths(t, loc))
			s := must(Load(ctx, loc))
			f, known := featureByName(feature)
			require.True(t, known)
			require.False(t, f.Reader, "readers need not list it")
			_, err := setMetadata(s, func(m *Metadata) { m.Description = "x" })
			var u *UnsupportedFeatureError
			require.ErrorAs(t, err, &u)
			require.True(t, u.Writing)
			require.Contains(t, u.Feature, feature)
		})
	}
	for name, c := range map[string]struct{ scheme, path string }{
		"normal-a": {"file:", "/some/unqualified/absolute/path"}, "normal-b": {"file://", "/some/unqualified/absolute/path"},
		"special-a": {"file:", "/some/unqualified/with%20space/p@%23h"}, "special-b": {"file://", "/some/unqualified/with%20space/p@%23h"},
	} {
		t.Run("canonicalized-paths-"+name, func(t *testing.T) {
			loc := written(t, ddl+addOf(c.path), removeOf(c.scheme+c.path))
			require.Empty(t, livePaths(t, loc))
			require.Equal(t, 1, must(LoadAt(ctx, loc, 0)).NumFiles())
			require.NoError(t, Checkpoint(ctx, must(LoadAt(ctx, loc, 0))))
			require.Empty(t, livePaths(t, loc))
		})
	}
	t.Run("delete-re-add-same-file-different-transactions", func(t *testing.T) {
		loc := written(t, ddl+addOf("foo"), removeOf("foo"), strings.Replace(addOf("foo"), `"modificationTime":1`, `"modificationTime":1700000000000`, 1), addOf("bar"))
		require.Equal(t, []string{"bar", "foo"}, livePaths(t, loc))
		s := must(LoadAt(ctx, loc, 1))
		require.Zero(t, s.NumFiles())
		s = must(s.Update(ctx))
		a, ok := s.File("foo")
		require.True(t, ok)
		require.Equal(t, int64(1700000000000), a.ModificationTime)
	})
	t.Run("versions-not-contiguous", func(t *testing.T) {
		loc := written(t, ddl+addOf("foo"), addOf("foo"), addOf("foo"))
		require.NoError(t, loc.log().Delete(ctx, commitName(1)))
		_, err := Load(ctx, loc)
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, commitName(1)+" (version 1): the file is missing")
	})
	t.Run("deltalog-state-reconstruction-without-protocol", func(t *testing.T) {
		_, err := Load(ctx, written(t, lines(bareMetadata, addOf("abc"))))
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, commitName(0)+" (version 0): the table has no protocol")
	})
	t.Run("deltalog-state-reconstruction-without-metadata", func(t *testing.T) {
		_, err := Load(ctx, written(t, lines(oldProtocol, addOf("abc"))))
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, "no metaData")
	})
	for _, lacks := range []string{"protocol", "metadata"} {
		t.Run("deltalog-state-reconstruction-from-checkpoint-missing-"+lacks, func(t *testing.T) {
			commits := []string{ddl + addOf("0")}
			for i := 1; i <= 10; i++ {
				commits = append(commits, addOf(fmt.Sprint(i)))
			}
			loc := written(t, commits...)
			s := must(Load(ctx, loc))
			partial := *s.st
			if lacks == "protocol" {
				partial.protocol = &Protocol{} // written as a row without versions
			} else {
				partial.metadata = nil
			}
			writePartialCheckpoint(t, loc, &partial)
			require.Len(t, livePaths(t, loc), 11, "the commits tell")
			report, faults := faultsOf(t, loc, CheckOptions{})
			require.Equal(t, 1, report.Checkpoints)
			require.Contains(t, strings.Join(faults, "\n"), "damaged_checkpoint")
			for v := range int64(10) {
				require.NoError(t, loc.log().Delete(ctx, commitName(v)))
			}
			_, err := Load(ctx, loc)
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, checkpointName(10))
		})
	}
	t.Run("deltalog-invalid-protocol-version", func(t *testing.T) {
		for _, writer := range []int{2, 7, 99} {
			_, err := Load(ctx, written(t, lines(fmt.Sprintf(`{"protocol":{"minReaderVersion":99,"minWriterVersion":%d}}`, writer), idMetadata, addOf("abc"))))
			var unsupported *UnsupportedFeatureError
			require.ErrorAs(t, err, &unsupported)
			require.Contains(t, unsupported.Feature, "reader version 99")
			require.ErrorContains(t, err, commitName(0)+" (version 0)")
		}
	})
	t.Run("deltalog-commit-info", func(t *testing.T) {
		info := `{"commitInfo":{"version":0,"timestamp":1540415658000,"userId":"user_0","userName":"username_0","operation":"WRITE","operationParameters":{"test":"test","n":5,"l":["a"],"o":{"x":null}},` +
			`"job":{"jobId":"job_id_0","jobName":"job_name_0"},"notebook":{"notebookId":"notebook_id_0"},"clusterId":"cluster_id_0","readVersion":-1,"isolationLevel":"default",` +
			`"isBlindAppend":true,"operationMetrics":{"test":"test"},"userMetadata":"foo","tags":{"test":"test"},"engineInfo":"OSS","txnId":"txn_id_0"}}`
		loc := written(t, ddl+lines(info, addOf("abc")))
		got := must(Load(ctx, loc)).CommitInfo()
		require.Equal(t, "WRITE", got.Operation)
		require.Equal(t, int64(1540415658000), got.Timestamp)
		require.Equal(t, int64(-1), *got.ReadVersion)
		require.Equal(t, "txn_id_0", got.TxnID)
		require.Equal(t, map[string]any{"test": "test", "n": 5.0, "l": []any{"a"}, "o": map[string]any{"x": nil}}, got.OperationParameters)
	})
	t.Run("deltalog-getChanges", func(t *testing.T) {
		loc := written(t, ddl+addOf("fake/path/1"),
			lines(`{"cdc":{"path":"fake/path/2","partitionValues":{"partition_foo":"partition_bar"},"size":1,"tags":{"tag_foo":"tag_bar"},"dataChange":false}}`, removeOf("fake/path/1")),
			lines(oldProtocol, `{"txn":{"appId":"fakeAppId","version":3,"lastUpdated":200}}`))
		require.Empty(t, livePaths(t, loc))
		v, ok := must(Load(ctx, loc)).Txn("fakeAppId")
		require.True(t, ok)
		require.Equal(t, int64(3), v)
		_, ok = must(Load(ctx, loc)).Txn("nonExistentAppId")
		require.False(t, ok)
	})
	t.Run("log-replay-special-characters", func(t *testing.T) {
		require.Empty(t, livePaths(t, written(t, ddl+addOf("special%20p@%23h"), removeOf("special%20p@%23h"))))
		loc := written(t, ddl+addOf("special%20p@%23h"))
		a, ok := must(Load(ctx, loc)).File("special p@#h")
		require.True(t, ok)
		require.Equal(t, "special p@#h", must(a.DataPath()))
	})
	t.Run("no-delta-log-folder", func(t *testing.T) {
		_, err := Load(ctx, memoryTable())
		require.ErrorIs(t, err, ErrNoTable)
	})
	t.Run("update-deleted-directory", func(t *testing.T) {
		loc := written(t, ddl+addOf("1"))
		s := must(Load(ctx, loc))
		require.NoError(t, Checkpoint(ctx, s))
		for _, path := range listing(t, loc.Data) {
			require.NoError(t, loc.Data.Delete(ctx, path))
		}
		_, err := Load(ctx, loc)
		require.ErrorIs(t, err, ErrNoTable)
	})
	t.Run("time-travel", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "_delta_log"), 0o700))
		start := time.UnixMilli(1540415658000)
		// The clock goes back after version 2, and stands still.
		for v, at := range []time.Duration{0, 20 * time.Minute, 40 * time.Minute, 10 * time.Minute, 10 * time.Minute, 50 * time.Minute} {
			text := addOf(fmt.Sprint(v))
			if v == 0 {
				text = ddl + text
			}
			name := filepath.Join(dir, "_delta_log", commitName(int64(v)))
			require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
			require.NoError(t, os.Chtimes(name, start.Add(at), start.Add(at)))
		}
		store, err := objstore.NewLocal(dir)
		require.NoError(t, err)
		loc := Location{Data: store}
		for at, want := range map[time.Duration]int64{
			0: 0, time.Minute: 0, 20 * time.Minute: 1, 30 * time.Minute: 1, 40 * time.Minute: 2, 40*time.Minute + time.Millisecond: 3, 45 * time.Minute: 4,
			50 * time.Minute: 5, 60 * time.Minute: 5,
		} {
			s, err := LoadAsOf(ctx, loc, start.Add(at))
			require.NoError(t, err)
			require.Equal(t, want, s.Version(), at)
		}
		_, err = LoadAsOf(ctx, loc, start.Add(-time.Millisecond))
		require.ErrorIs(t, err, ErrNoVersion)
	})
}

// writePartialCheckpoint writes a checkpoint of a state that lacks something.
func writePartialCheckpoint(t *testing.T, loc Location, st *state) {
	t.Helper()
	var rows []Action
	if st.protocol.MinReaderVersion > 0 {
		rows = append(rows, Action{Protocol: st.protocol})
	}
	if st.metadata != nil {
		rows = append(rows, Action{Metadata: st.metadata})
	}
	for _, a := range st.files.all() {
		rows = append(rows, Action{Add: a})
	}
	writeCheckpointRows(t, loc, checkpointName(st.version), rows)
}

// writeCheckpointRows writes a checkpoint of rows as they are given.
func writeCheckpointRows(t *testing.T, loc Location, name string, rows []Action) {
	t.Helper()
	out, err := loc.log().Create(context.Background(), name)
	require.NoError(t, err)
	defer out.Abort()
	w, err := colfile.NewWriter(out, checkpointSchema, colfile.WriterOptions{Codec: colfile.Snappy, StatsColumns: -2})
	require.NoError(t, err)
	b := array.NewRecordBuilder(memory.DefaultAllocator, checkpointSchema)
	defer b.Release()
	for i := range rows {
		appendAction(b, &rows[i], true, nil)
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	require.NoError(t, w.Write(rec))
	_, err = w.Close()
	require.NoError(t, err)
	require.NoError(t, out.Close())
}
