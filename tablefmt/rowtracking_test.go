package tablefmt

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/dv"
)

// createWith makes a table with properties and more features.
func createWith(t *testing.T, s *Schema, properties map[string]string, features ...string) *Snapshot {
	t.Helper()
	p, err := MirrorProtocol(OptionsFor(s)).With(features...)
	require.NoError(t, err)
	tx := Begin(memoryTable(), nil)
	tx.SetProtocol(p)
	tx.SetMetadata(&Metadata{SchemaString: s.JSON(), Configuration: properties})
	snap, err := tx.Commit(context.Background())
	require.NoError(t, err)
	return snap
}

func tracked(t *testing.T) *Snapshot {
	t.Helper()
	return createWith(t, idSchema, map[string]string{PropDeletionVectors: "true", PropRowTracking: "true"}, "rowTracking", "domainMetadata")
}

// numbers gives what the log says of a file's row ids.
func numbers(t *testing.T, s *Snapshot, path string) string {
	t.Helper()
	a, ok := s.File(path)
	require.True(t, ok, path)
	if a.BaseRowID == nil || a.DefaultRowCommitVersion == nil {
		return "none"
	}
	return fmt.Sprintf("%d@%d", *a.BaseRowID, *a.DefaultRowCommitVersion)
}

func addAll(t *testing.T, s *Snapshot, files ...AddFile) *Snapshot {
	t.Helper()
	tx := Begin(s.Location(), s)
	for _, a := range files {
		tx.Add(a)
	}
	next, err := tx.Commit(context.Background())
	require.NoError(t, err)
	return next
}

func TestRowNumbers(t *testing.T) {
	ctx := context.Background()
	s := tracked(t)
	require.Regexp(t, "^_row-id-col-", s.Property(propRowIDColumn))
	old := s
	s = addAll(t, s, fakeAdd("a", 3), fakeAdd("b", 0), fakeAdd("c", 2))
	require.Equal(t, "0@1", numbers(t, s, "a"))
	require.Equal(t, "3@1", numbers(t, s, "c"))
	mark, ok := s.DomainMetadata(rowTrackingDomain)
	require.True(t, ok)
	require.Equal(t, `{"rowIdHighWaterMark":4}`, mark)
	require.Equal(t, "true", s.CommitInfo().Tags[tagRowsPreserved])

	// A loser of a race gives the ids anew, after the winner's.
	s = addAll(t, old, fakeAdd("d", 5))
	require.Equal(t, "5@2", numbers(t, s, "d"))

	// A file whose vector changes keeps them, whatever the action says.
	d, _ := s.File("d")
	with, err := d.WithVector(dv.Inline(dv.New(1)))
	require.NoError(t, err)
	with.BaseRowID = nil
	tx := Begin(s.Location(), s)
	tx.Remove(*d.Remove(1, true))
	tx.Add(with)
	marked := must(tx.Commit(ctx))
	require.Equal(t, "5@2", numbers(t, marked, "d"))
	mark, _ = marked.DomainMetadata(rowTrackingDomain)
	require.Equal(t, `{"rowIdHighWaterMark":9}`, mark)
	require.Equal(t, "true", marked.CommitInfo().Tags[tagRowsPreserved])

	// Rows that go with others that come may be the same ones.
	tx = Begin(marked.Location(), marked)
	c, _ := marked.File("c")
	tx.Remove(*c.Remove(1, true))
	tx.Add(fakeAdd("e", 1))
	s = must(tx.Commit(ctx))
	require.Equal(t, "false", s.CommitInfo().Tags[tagRowsPreserved])
	require.Equal(t, "10@4", numbers(t, s, "e"))

	for name, a := range map[string]AddFile{
		"row ids of elsewhere": {Path: "x", Stats: fakeAdd("x", 1).Stats, DataChange: true, BaseRowID: ptr(int64(1))},
		"number of rows":       {Path: "x", DataChange: true},
		"no more row ids":      {Path: "x", DataChange: true, Stats: fmt.Sprintf(`{"numRecords":%d}`, math.MaxInt64)},
	} {
		tx := Begin(s.Location(), s)
		tx.Add(a)
		_, err := tx.Commit(ctx)
		require.ErrorIs(t, err, ErrInvalid, name)
	}
	// Copied rows would lose their ids.
	tx = Begin(s.Location(), s)
	e, _ := s.File("e")
	tx.Remove(*e.Remove(1, false))
	f := fakeAdd("f", 1)
	f.DataChange = false
	tx.Add(f)
	_, err = tx.Commit(ctx)
	var u *UnsupportedFeatureError
	require.ErrorAs(t, err, &u)
	require.ErrorContains(t, err, "rowTracking")

	// The domain is not the caller's.
	tx = Begin(s.Location(), s)
	tx.SetDomain(rowTrackingDomain, `{"rowIdHighWaterMark":0}`)
	_, err = tx.Commit(ctx)
	require.ErrorIs(t, err, ErrInvalid)
}

// TestRowNumbersOfMany: writers that race give no id twice.
func TestRowNumbersOfMany(t *testing.T) {
	s := tracked(t)
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			mine := s
			for i := range 10 {
				tx := Begin(s.Location(), mine)
				tx.Add(fakeAdd(fmt.Sprintf("%d-%d", w, i), 1+i%3))
				mine = must(tx.Commit(context.Background()))
			}
		})
	}
	wg.Wait()
	s = must(Load(context.Background(), s.Location()))
	seen := map[int64]bool{}
	for a := range s.Files() {
		n, _ := a.NumRecords()
		for id := *a.BaseRowID; id < *a.BaseRowID+n; id++ {
			require.False(t, seen[id])
			seen[id] = true
		}
	}
	mark, err := s.st.rowWatermark()
	require.NoError(t, err)
	require.Len(t, seen, int(mark)+1)
}

// rowIDsIn gives the ids and versions of the rows by their ids.
func rowIDsIn(t *testing.T, s *Snapshot) []string {
	t.Helper()
	var out []string
	for a := range s.Files() {
		require.NoError(t, s.ReadFile(context.Background(), a, ReadOptions{RowIDs: true}, func(rec arrow.RecordBatch, _ int64) error {
			for i := range int(rec.NumRows()) {
				out = append(out, fmt.Sprintf("%s: %s@%s", rec.Column(0).ValueStr(i), rec.Column(1).ValueStr(i), rec.Column(2).ValueStr(i)))
			}
			return nil
		}))
	}
	slices.Sort(out)
	return out
}

func TestRowIDsAreCarried(t *testing.T) {
	ctx := context.Background()
	s := tracked(t)
	s = addAll(t, s, writeIDs(t, s, 10, 11, 12))
	s = addAll(t, s, writeIDs(t, s, 13))
	before := rowIDsIn(t, s)
	require.Equal(t, []string{"10: 0@1", "11: 1@1", "12: 2@1", "13: 3@2"}, before)
	then := s
	for range 2 { // what was copied is copied again
		w, err := s.NewFileWriter(ctx, FileOptions{Rearranges: true, RowIDs: true})
		require.NoError(t, err)
		tx := Begin(s.Location(), s)
		for a := range s.Files() {
			require.NoError(t, s.ReadFile(ctx, a, ReadOptions{RowIDs: true}, func(rec arrow.RecordBatch, _ int64) error {
				_, err := w.Write(rec)
				return err
			}))
			tx.Remove(*a.Remove(time.Now().UnixMilli(), false))
		}
		a, err := w.Close()
		require.NoError(t, err)
		require.NotContains(t, a.Stats, "_row-id-col", "they have no statistics")
		tx.Add(*a)
		s, err = tx.Commit(ctx)
		require.NoError(t, err)
		require.Equal(t, "true", s.CommitInfo().Tags[tagRowsPreserved])
		require.Equal(t, before, rowIDsIn(t, s))
	}
	require.Len(t, allRows(t, s), 4, "they are no columns of the table")
	for a := range s.Files() {
		o := ReadOptions{Columns: []string{"id"}, RowIDs: true, IncludeDeleted: true, Rows: []int64{1, 3}}
		require.NoError(t, s.ReadFile(ctx, a, o, func(rec arrow.RecordBatch, _ int64) error {
			require.Equal(t, int64(2), rec.NumRows())
			require.NotEqual(t, rec.Column(1).ValueStr(0), rec.Column(1).ValueStr(1))
			return nil
		}))
	}
	s, _, err := Restore(ctx, then, RestoreOptions{})
	require.NoError(t, err)
	require.Equal(t, before, rowIDsIn(t, s))
	mark, _ := s.DomainMetadata(rowTrackingDomain)
	require.Equal(t, `{"rowIdHighWaterMark":11}`, mark, "what was given is not given again")
	require.NoError(t, Checkpoint(ctx, s))
	require.Equal(t, before, rowIDsIn(t, must(Load(ctx, s.Location()))))
}

func TestRowTrackingTurnedOn(t *testing.T) {
	ctx := context.Background()
	s := create(t, memoryTable(), idSchema)
	s = addAll(t, s, fakeAdd("a", 3), fakeAdd("b", 2))
	turnOn := func(s *Snapshot, features ...string) (*Snapshot, error) {
		p, err := s.Protocol().With(features...)
		require.NoError(t, err)
		m := s.Metadata().Clone()
		m.Configuration[PropRowTracking] = "true"
		tx := Begin(s.Location(), s)
		tx.SetProtocol(p)
		tx.SetMetadata(m)
		return tx.Commit(ctx)
	}
	_, err := turnOn(s)
	require.ErrorIs(t, err, ErrInvalid)
	s, err = turnOn(s, "rowTracking", "domainMetadata")
	require.NoError(t, err)
	// The order of files has no meaning.
	there := numbers(t, s, "a") + " " + numbers(t, s, "b")
	require.Contains(t, []string{"0@2 3@2", "2@2 0@2"}, there)
	require.Equal(t, `{"rowIdHighWaterMark":4}`, first(s.DomainMetadata(rowTrackingDomain)))
	// Suspended, nothing gets ids; both at once is no state.
	m := s.Metadata().Clone()
	m.Configuration[propRowTrackingSuspended] = "true"
	tx := Begin(s.Location(), s)
	tx.SetMetadata(m)
	_, err = tx.Commit(ctx)
	require.ErrorIs(t, err, ErrInvalid)
	m.Configuration[PropRowTracking] = "false"
	tx = Begin(s.Location(), s)
	tx.SetMetadata(m)
	s = must(tx.Commit(ctx))
	s = addAll(t, s, fakeAdd("c", 1))
	require.Equal(t, "none", numbers(t, s, "c"))
	require.Equal(t, there, numbers(t, s, "a")+" "+numbers(t, s, "b"))
}

func first[A, B any](a A, _ B) A { return a }
