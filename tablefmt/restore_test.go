package tablefmt

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// writeIDs writes a data file with ids.
func writeIDs(t *testing.T, s *Snapshot, ids ...int64) AddFile {
	t.Helper()
	w, err := NewFileWriter(context.Background(), s.Location(), s.DataArrow(), FileOptions{})
	require.NoError(t, err)
	b := array.NewRecordBuilder(memory.DefaultAllocator, s.DataArrow())
	defer b.Release()
	b.Field(0).(*array.Int64Builder).AppendValues(ids, nil)
	for i := 1; i < s.DataArrow().NumFields(); i++ {
		b.Field(i).AppendNulls(len(ids))
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	_, err = w.Write(rec)
	require.NoError(t, err)
	add, err := w.Close()
	require.NoError(t, err)
	return *add
}

func allRows(t *testing.T, s *Snapshot) []string {
	t.Helper()
	var rows []string
	require.NoError(t, s.Scan(context.Background(), ScanOptions{}, func(rec arrow.RecordBatch) error {
		rows = append(rows, rowsOf(t, rec)...)
		return nil
	}))
	slices.Sort(rows)
	return rows
}

// TestRestoreOfRandomHistories goes back to versions of tables that have been
// appended to, deleted from by vectors and by whole files, given columns and
// restored before: what is read then is what was read at the version.
func TestRestoreOfRandomHistories(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		loc := memoryTable()
		s := create(t, loc, idSchema)
		rows, columns := [][]string{allRows(t, s)}, 1
		for next := int64(0); len(rows) < 25; {
			switch n := rng.IntN(10); {
			case n < 4:
				ids := make([]int64, 1+rng.IntN(6))
				for i := range ids {
					ids[i], next = next, next+1
				}
				tx := Begin(loc, s)
				tx.Add(writeIDs(t, s, ids...))
				s = must(tx.Commit(ctx))
			case n < 8:
				files := slices.Collect(s.Files())
				if len(files) == 0 {
					continue
				}
				f := files[rng.IntN(len(files))]
				total, _ := f.NumRecords()
				all := must(s.DeletionVector(ctx, f))
				if all == nil {
					all = dv.New()
				}
				all.Add(rng.Uint64N(uint64(total)))
				tx := Begin(loc, s)
				tx.Remove(*f.Remove(time.Now().UnixMilli(), true))
				if all.Cardinality() < uint64(total) {
					d := must(WriteDeletionVectors(ctx, loc, []*dv.Bitmap{all}))
					tx.Add(must(f.WithVector(d[0])))
				}
				if old := f.DeletionVector; old != nil && all.Cardinality() == uint64(f.Deleted()) {
					continue // the row was deleted before
				}
				s = must(tx.Commit(ctx))
			case n < 9:
				m := s.Metadata().Clone()
				schema := &Schema{Fields: slices.Clone(s.Schema().Fields)}
				schema.Fields = append(schema.Fields, Field{Name: fmt.Sprint("c", columns), Type: String, Nullable: true})
				columns++
				m.SchemaString = schema.JSON()
				m.Configuration["lakeload.test"] = fmt.Sprint(columns)
				tx := Begin(loc, s)
				tx.SetMetadata(m)
				s = must(tx.Commit(ctx))
			default:
				to := int64(rng.IntN(len(rows)))
				then := must(LoadAt(ctx, loc, to))
				after, done, err := Restore(ctx, then, RestoreOptions{})
				require.NoError(t, err)
				require.Equal(t, rows[to], allRows(t, after), "seed %d: version %d restored", seed, to)
				require.Equal(t, then.Schema().JSON(), after.Schema().JSON())
				require.Equal(t, then.Metadata().Configuration, after.Metadata().Configuration)
				require.Equal(t, then.Size(), after.Size())
				require.Equal(t, s.Version(), done.From)
				require.Equal(t, done.Changes(), after.Version() == s.Version()+1)
				again, twice, err := Restore(ctx, then, RestoreOptions{})
				require.NoError(t, err)
				require.False(t, twice.Changes(), "it shows it already")
				require.Equal(t, after.Version(), again.Version())
				if s = after; !done.Changes() {
					continue
				}
			}
			require.Equal(t, int64(len(rows)), s.Version())
			rows = append(rows, allRows(t, must(Load(ctx, loc))))
		}
		for v := range rows { // what was is still to be had
			require.Equal(t, rows[v], allRows(t, must(LoadAt(ctx, loc, int64(v)))), "seed %d: version %d", seed, v)
		}
	}
}

// TestRestoreThatCannotBe refuses, and writes nothing.
func TestRestoreThatCannotBe(t *testing.T) {
	ctx := context.Background()
	data := objstore.NewMemory()
	loc := Location{Data: data}
	s := create(t, loc, idSchema)
	tx := Begin(loc, s)
	tx.Add(writeIDs(t, s, 1, 2, 3))
	s1 := must(tx.Commit(ctx))
	tx = Begin(loc, s1)
	var gone []string
	for f := range s1.Files() {
		gone = append(gone, f.Path)
		tx.Remove(*f.Remove(1, true))
	}
	s2 := must(tx.Commit(ctx))

	_, done, err := Restore(ctx, s1, RestoreOptions{DryRun: true})
	require.NoError(t, err)
	require.Equal(t, Restored{From: 2, To: 1, Version: 2, FilesRestored: 1, BytesRestored: s1.Size()}, done)
	require.Equal(t, s2.Version(), must(Load(ctx, loc)).Version(), "nothing was written")

	require.NoError(t, data.Delete(ctx, gone[0]))
	for _, dry := range []bool{true, false} {
		_, _, err = Restore(ctx, s1, RestoreOptions{DryRun: dry})
		var missing *MissingFilesError
		require.ErrorAs(t, err, &missing)
		require.Equal(t, gone, missing.Paths)
		require.ErrorContains(t, err, "to version 1: "+gone[0])
	}

	// A table that is append-only keeps what it has.
	m := s2.Metadata().Clone()
	m.Configuration[PropAppendOnly] = "true"
	tx = Begin(loc, s2)
	tx.SetMetadata(m)
	s3 := must(tx.Commit(ctx))
	tx = Begin(loc, s3)
	tx.Add(writeIDs(t, s3, 4))
	s4 := must(tx.Commit(ctx))
	_, _, err = Restore(ctx, s3, RestoreOptions{})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "append-only")
	require.Equal(t, s4.Version(), must(Load(ctx, loc)).Version())
}

// TestRestoreKeepsWhatNeverGoesBack: in-commit timestamps grow on, and another
// application's progress stays.
func TestRestoreKeepsWhatNeverGoesBack(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	s := create(t, loc, idSchema)
	tx := Begin(loc, s)
	p := *s.Protocol()
	p.WriterFeatures = append(slices.Clone(p.WriterFeatures), "inCommitTimestamp", "domainMetadata")
	tx.SetProtocol(&p)
	m := s.Metadata().Clone()
	m.Configuration[PropInCommitTimestamps] = "true"
	m.Configuration["delta.inCommitTimestampEnablementVersion"] = "1"
	tx.SetMetadata(m)
	tx.SetDomain("app", "new")
	tx.SetTxn("app", 7)
	s1 := must(tx.Commit(ctx))
	after, done, err := Restore(ctx, s, RestoreOptions{})
	require.NoError(t, err)
	require.True(t, done.MetadataChanged, "the domain")
	require.Equal(t, "true", after.Property(PropInCommitTimestamps))
	require.Equal(t, "1", after.Property("delta.inCommitTimestampEnablementVersion"))
	require.Greater(t, *after.CommitInfo().InCommitTimestamp, *s1.CommitInfo().InCommitTimestamp)
	_, there := after.DomainMetadata("app")
	require.False(t, there)
	n, ok := after.Txn("app")
	require.True(t, ok)
	require.Equal(t, int64(7), n)
	require.Equal(t, "RESTORE", after.CommitInfo().Operation)
	require.Equal(t, "0", after.CommitInfo().OperationParameters["version"])
	back, _, err := Restore(ctx, s1, RestoreOptions{At: time.Unix(0, 0)})
	require.NoError(t, err)
	text, _ := back.DomainMetadata("app")
	require.Equal(t, "new", text)
	require.Equal(t, map[string]any{"timestamp": "1970-01-01T00:00:00Z"}, back.CommitInfo().OperationParameters)
}

// TestRestoreBesideAnotherWriter begins again when somebody commits meanwhile.
func TestRestoreBesideAnotherWriter(t *testing.T) {
	ctx := context.Background()
	store := &hooked{Store: objstore.NewMemory()}
	loc := Location{Data: store}
	s := create(t, loc, idSchema)
	tx := Begin(loc, s)
	tx.Add(writeIDs(t, s, 1))
	s1 := must(tx.Commit(ctx))
	tx = Begin(loc, s1)
	tx.Add(writeIDs(t, s1, 2))
	s2 := must(tx.Commit(ctx))
	other := writeIDs(t, s2, 3)
	store.before = func(path string) {
		store.before = nil
		tx := Begin(loc, s2)
		tx.Add(other)
		must(tx.Commit(ctx))
	}
	after, done, err := Restore(ctx, s1, RestoreOptions{})
	require.NoError(t, err)
	require.Equal(t, 2, done.FilesRemoved, "the other's file, too")
	require.Equal(t, int64(4), after.Version())
	require.Equal(t, allRows(t, s1), allRows(t, after))
}

// hooked calls before once before the next put-if-absent.
type hooked struct {
	objstore.Store
	before func(path string)
}

func (h *hooked) PutIfAbsent(ctx context.Context, path string, data []byte) error {
	if h.before != nil {
		h.before(path)
	}
	return h.Store.PutIfAbsent(ctx, path, data)
}
