package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// changedTable is a table on disk: version 1 adds rows 1 to 3, version 2 keeps
// a feed from then on, version 3 changes row 2, as its cdc file says.
func changedTable(t *testing.T) string {
	t.Helper()
	ctx, folder := context.Background(), filepath.Join(t.TempDir(), "numbers")
	store, err := objstore.NewLocal(folder)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	loc := tablefmt.Location{Data: store}
	schema := &tablefmt.Schema{Fields: []tablefmt.Field{{Name: "id", Type: tablefmt.Long, Nullable: true}, {Name: "v", Type: tablefmt.String, Nullable: true}}}
	commit := func(tx *tablefmt.Transaction) *tablefmt.Snapshot {
		s, err := tx.Commit(ctx)
		require.NoError(t, err)
		return s
	}
	tx := tablefmt.Begin(loc, nil)
	tx.SetProtocol(tablefmt.ChangelogProtocol(tablefmt.ProtocolOptions{ChangeDataFeed: true}))
	tx.SetMetadata(&tablefmt.Metadata{SchemaString: schema.JSON()})
	s := commit(tx)
	rows := func(ids []int64, texts []string) arrow.RecordBatch {
		b := array.NewRecordBuilder(memory.DefaultAllocator, s.Arrow())
		defer b.Release()
		b.Field(0).(*array.Int64Builder).AppendValues(ids, nil)
		b.Field(1).(*array.StringBuilder).AppendValues(texts, nil)
		return b.NewRecordBatch()
	}
	add := func(rec arrow.RecordBatch) tablefmt.AddFile {
		w, err := tablefmt.NewFileWriter(ctx, loc, s.DataArrow(), tablefmt.FileOptions{})
		require.NoError(t, err)
		_, err = w.Write(rec)
		require.NoError(t, err)
		a, err := w.Close()
		require.NoError(t, err)
		return *a
	}
	first := add(rows([]int64{1, 2, 3}, []string{"a", "b", "c"}))
	tx = tablefmt.Begin(loc, s)
	tx.Add(first)
	s = commit(tx)
	md := s.Metadata().Clone()
	md.Configuration[tablefmt.PropChangeDataFeed] = "true"
	tx = tablefmt.Begin(loc, s)
	tx.SetMetadata(md)
	s = commit(tx)
	w, err := tablefmt.NewChangeFileWriter(ctx, loc, s.DataArrow(), tablefmt.FileOptions{})
	require.NoError(t, err)
	require.NoError(t, w.Write(rows([]int64{2}, []string{"b"}), nil, tablefmt.ChangePreimage))
	require.NoError(t, w.Write(rows([]int64{2}, []string{"B"}), nil, tablefmt.ChangePostimage))
	cdc, err := w.Close()
	require.NoError(t, err)
	tx = tablefmt.Begin(loc, s)
	tx.Remove(*first.Remove(1, true))
	tx.Add(add(rows([]int64{1, 2, 3}, []string{"a", "B", "c"})))
	tx.AddCDC(*cdc)
	commit(tx)
	return folder
}

func TestChanges(t *testing.T) {
	table := changedTable(t)
	r := lakeload(t, nil, "changes", table, "--from-version", "2", "--format", "csv", "--columns", "v,id", "--strict")
	require.Equal(t, exitDone, r.code, r.err)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	require.Len(t, lines, 3)
	require.Equal(t, "v,id,_change_type,_commit_version,_commit_timestamp", lines[0])
	require.True(t, strings.HasPrefix(lines[1], "b,2,update_preimage,3,20"), lines[1])
	require.True(t, strings.HasPrefix(lines[2], "B,2,update_postimage,3,20"), lines[2])
	require.Empty(t, r.err)

	r = lakeload(t, nil, "changes", table, "--format", "jsonl")
	require.Equal(t, exitDone, r.code, r.err)
	require.Equal(t, 3, strings.Count(r.out, `"_change_type":"insert","_commit_version":1`))
	require.Equal(t, 5, strings.Count(r.out, "\n"))
	require.Contains(t, r.err, "2 of the versions 0 to 1 have no change feed: the changes are derived")
	require.Empty(t, lakeload(t, nil, "changes", table, "--quiet").err)
	require.Contains(t, lakeload(t, nil, "changes", table, "--to-version", "0", "--log-format", "json").err, `"first":0,"last":0,"versions":1`)

	r = lakeload(t, nil, "changes", table, "--strict")
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.err, "no change feed at version 0")
	r = lakeload(t, nil, "changes", table, "--columns", "no")
	require.Equal(t, exitUsage, r.code)
	require.Contains(t, r.err, `no column "no"`)
	require.Equal(t, exitUsage, lakeload(t, nil, "changes", table, "--from-version", "3", "--to-version", "2").code)
	r = lakeload(t, nil, "changes", table, "--from-version", "4")
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.err, "the newest is 3")
	require.Contains(t, r.err, "lakeload history")
}
