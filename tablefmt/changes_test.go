package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// feed collects changes as text: the row, without what tells of the change, by
// version and type.
type feed struct {
	rows     map[string]int // "version type row": how often
	versions []int64        // in the order of the batches
}

func readFeed(t *testing.T, loc Location, r ChangeRange, o ChangeOptions) *feed {
	t.Helper()
	f := &feed{rows: map[string]int{}}
	require.NoError(t, Changes(context.Background(), loc, r, o, func(rec arrow.RecordBatch) error {
		n := int(rec.NumCols())
		require.Equal(t, []string{ColChangeType, ColCommitVersion, ColCommitTimestamp}, []string{rec.ColumnName(n - 3), rec.ColumnName(n - 2), rec.ColumnName(n - 1)})
		plain := arrow.NewSchema(rec.Schema().Fields()[:n-3], nil)
		for i, row := range rowsOf(t, array.NewRecordBatch(plain, rec.Columns()[:n-3], rec.NumRows())) {
			v := rec.Column(n - 2).(*array.Int64).Value(i)
			f.rows[fmt.Sprint(v, " ", rec.Column(n-3).ValueStr(i), " ", row)]++
			f.versions = append(f.versions, v)
		}
		return nil
	}))
	require.True(t, slices.IsSorted(f.versions), "by version")
	return f
}

// apply turns the rows of one version into those of another.
func (f *feed) apply(rows map[string]int) map[string]int {
	out := maps.Clone(rows)
	for k, n := range f.rows {
		_, rest, _ := strings.Cut(k, " ")
		what, row, _ := strings.Cut(rest, " ")
		switch what {
		case ChangeDelete, ChangePreimage:
			n = -n
		}
		if out[row] += n; out[row] == 0 {
			delete(out, row)
		}
	}
	return out
}

func counted(rows []string) map[string]int {
	out := map[string]int{}
	for _, r := range rows {
		out[r]++
	}
	return out
}

// withVector commits a file of the table with other deleted rows, or adds it
// back.
func withVector(t *testing.T, s *Snapshot, path string, dead *dv.Bitmap) *Snapshot {
	t.Helper()
	a, ok := s.File(path)
	require.True(t, ok)
	tx := Begin(s.Location(), s)
	tx.Remove(*a.Remove(1, true))
	next := *a
	next.DeletionVector, next.DataChange = nil, true
	if !dead.IsEmpty() {
		ds, err := WriteDeletionVectors(context.Background(), s.Location(), []*dv.Bitmap{dead})
		require.NoError(t, err)
		next = must(a.WithVector(ds[0]))
		next.DataChange = true
	}
	tx.Add(next)
	return must(tx.Commit(context.Background()))
}

func TestChangesOfRandomHistories(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		loc := memoryTable()
		s := create(t, loc, peopleSchema, "day", "kind")
		states := []map[string]int{{}}
		next := 0
		for range 25 {
			files := slices.SortedFunc(s.Files(), func(a, b *AddFile) int { return strings.Compare(a.Path, b.Path) })
			switch do := rnd.IntN(10); {
			case do < 3 || len(files) == 0:
				tx := Begin(loc, s)
				n := 1 + rnd.IntN(3000)
				day := []*string{nil, ptr("2024-02-29"), ptr("1999-01-01")}[rnd.IntN(3)]
				tx.Add(*writePeople(t, s, day, ptr("k"), next, n))
				next += n
				s = must(tx.Commit(ctx))
			case do < 4: // a file goes
				tx := Begin(loc, s)
				r := files[rnd.IntN(len(files))].Remove(1, true)
				if rnd.IntN(2) == 0 { // and does not tell its partition
					r.ExtendedFileMetadata, r.PartitionValues, r.Size, r.Tags = false, nil, nil, nil
				}
				tx.Remove(*r)
				s = must(tx.Commit(ctx))
			case do < 6 && len(states) > 3: // all is as it was
				then := must(LoadAt(ctx, loc, rnd.Int64N(s.Version())+1))
				var err error
				if s, _, err = Restore(ctx, then, RestoreOptions{}); err != nil || int(s.Version()) < len(states) {
					require.NoError(t, err)
					continue
				}
			case do < 7: // a file is written anew, which is no change
				a := files[rnd.IntN(len(files))]
				tx := Begin(loc, s)
				tx.Remove(*a.Remove(1, false))
				moved := *a
				moved.DataChange = false
				moved.Path = "moved" + fmt.Sprint(rnd.Uint64()) + ".parquet"
				data := must(a.DataPath())
				r := must(loc.Data.Open(ctx, data))
				buf := make([]byte, a.Size)
				_, err := r.ReadAt(buf, 0)
				require.NoError(t, err)
				require.NoError(t, r.Close())
				require.NoError(t, loc.Data.PutIfAbsent(ctx, moved.Path, buf))
				tx.Add(moved)
				s = must(tx.Commit(ctx))
			default: // other rows of a file are deleted: more, fewer, or both
				a := files[rnd.IntN(len(files))]
				n, _ := a.NumRecords()
				dead := dv.New()
				if old := must(s.DeletionVector(ctx, a)); old != nil && rnd.IntN(3) > 0 {
					dead = old.Clone()
				}
				for range rnd.IntN(int(n)) {
					dead.Add(uint64(rnd.Int64N(n)))
				}
				if rnd.IntN(4) == 0 {
					dead = dv.New()
				}
				if old := must(s.DeletionVector(ctx, a)); int64(dead.Cardinality()) == n || old == nil && dead.IsEmpty() || old != nil && old.Equal(dead) {
					continue
				}
				s = withVector(t, s, a.Path, dead)
			}
			states = append(states, counted(scanRows(t, s, ScanOptions{})))
		}
		for range 12 {
			from := rnd.IntN(len(states)-1) + 1
			to := from + rnd.IntN(len(states)-from)
			f := readFeed(t, loc, ChangeRange{From: int64(from), To: int64(to)}, ChangeOptions{BatchRows: 1 + rnd.IntN(4000)})
			require.Equal(t, states[to], f.apply(states[from-1]), "seed %d, versions %d to %d", seed, from, to)
		}
		// Columns that stand in no file are told as often as all others.
		all := readFeed(t, loc, ChangeRange{From: 0, To: NewestVersion}, ChangeOptions{})
		few := readFeed(t, loc, ChangeRange{From: 0, To: NewestVersion}, ChangeOptions{Columns: []string{"day"}})
		require.Equal(t, all.versions, few.versions)
	}
}

func TestChangesFromCDCFiles(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	s := createWithFeed(t, loc, peopleSchema, "day", "kind")
	day, kind := ptr("2024-02-29"), ptr("a b")
	tx := Begin(loc, s)
	a := writePeople(t, s, day, kind, 0, 3)
	tx.Add(*a)
	tx.Add(*writePeople(t, s, nil, nil, 20, 1))
	s = must(tx.Commit(ctx))

	w, err := NewChangeFileWriter(ctx, loc, s.DataArrow(), FileOptions{PartitionValues: a.PartitionValues, PartitionColumns: s.PartitionColumns()})
	require.NoError(t, err)
	defer w.Abort()
	require.NoError(t, w.Write(people(t, 0, 3), []int32{1}, ChangePreimage))
	require.NoError(t, w.Write(people(t, 10, 1), nil, ChangePostimage))
	require.NoError(t, w.Write(people(t, 0, 3), []int32{2}, ChangeDelete))
	c, err := w.Close()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(c.Path, "_change_data/day=2024-02-29/kind=a%2520b/cdc-"), c.Path)
	tx = Begin(loc, s)
	tx.Remove(*a.Remove(1, true))
	tx.Add(*writePeople(t, s, day, kind, 10, 1))
	require.ErrorIs(t, tx.validate(), ErrInvalid, "rows went and came without cdc files, and others stay")
	tx.AddCDC(*c)
	s = must(tx.Commit(ctx))
	require.Equal(t, 2, s.NumFiles(), "cdc files are none of the table's")

	where := ` kind="a b" `
	require.Equal(t, map[string]int{
		`2 update_preimage day="2024-02-29" id="1"` + where + `name="n1"`:    1,
		`2 update_postimage day="2024-02-29" id="10"` + where + `name="n10"`: 1,
		`2 delete day="2024-02-29" id="2"` + where + `name="n2"`:             1,
	}, readFeed(t, loc, ChangeRange{From: 2, To: 2}, ChangeOptions{Strict: true}).rows)
	require.Equal(t, map[string]int{`2 update_preimage id="1"`: 1, `2 update_postimage id="10"`: 1, `2 delete id="2"`: 1},
		readFeed(t, loc, ChangeRange{From: 2, To: 9}, ChangeOptions{Columns: []string{"id"}}).rows)
	require.Empty(t, readFeed(t, loc, ChangeRange{From: 1, To: 2}, ChangeOptions{Keep: func(p map[string]*string) bool { return p["kind"] != nil && *p["kind"] != "a b" }}).rows)

	// A file that vacuum took.
	require.NoError(t, loc.Data.Delete(ctx, must(decodePath(c.Path))))
	err = Changes(ctx, loc, ChangeRange{From: 1, To: 2}, ChangeOptions{}, func(arrow.RecordBatch) error { return nil })
	var gone *FileGoneError
	require.ErrorAs(t, err, &gone)
	require.Equal(t, int64(2), gone.Version)
	require.Equal(t, c.Path, gone.Path)
	require.NoError(t, Changes(ctx, loc, ChangeRange{From: 1, To: 1}, ChangeOptions{}, func(arrow.RecordBatch) error { return nil }))
	stop := fmt.Errorf("enough: %w", objstore.ErrNotFound)
	require.Equal(t, stop, Changes(ctx, loc, ChangeRange{From: 1, To: 1}, ChangeOptions{}, func(arrow.RecordBatch) error { return stop }))
}

func createWithFeed(t *testing.T, loc Location, s *Schema, partition ...string) *Snapshot {
	t.Helper()
	o := OptionsFor(s)
	o.ChangeDataFeed = true
	tx := Begin(loc, nil)
	tx.SetProtocol(MirrorProtocol(o))
	tx.SetMetadata(&Metadata{SchemaString: s.JSON(), PartitionColumns: partition, Configuration: map[string]string{PropDeletionVectors: "true", PropChangeDataFeed: "true"}})
	return must(tx.Commit(context.Background()))
}

// evolve commits metadata of another schema, or with the feed on or off.
func evolveTo(s *Snapshot, schema *Schema, feed string) *Snapshot {
	md := s.Metadata().Clone()
	md.SchemaString = schema.JSON()
	md.Configuration[PropChangeDataFeed] = feed
	p := *s.Protocol()
	if !p.Has("changeDataFeed") {
		p.WriterFeatures = append(slices.Clone(p.WriterFeatures), "changeDataFeed")
	}
	tx := Begin(s.Location(), s)
	tx.SetProtocol(&p)
	tx.SetMetadata(md)
	return must(tx.Commit(context.Background()))
}

func TestChangesAcrossSchemas(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	s := create(t, loc, peopleSchema, "day", "kind")
	tx := Begin(loc, s)
	a := writePeople(t, s, nil, nil, 1, 3)
	tx.Add(*a)
	s = must(tx.Commit(ctx))                   // 1
	s = withVector(t, s, a.Path, dv.New(0, 2)) // 2
	more := &Schema{Fields: append(slices.Clone(peopleSchema.Fields), Field{Name: "n", Type: Long, Nullable: true})}
	s = evolveTo(s, more, "true") // 3
	tx = Begin(loc, s)
	for f := range s.Files() {
		tx.Remove(*f.Remove(1, true))
	}
	s = must(tx.Commit(ctx)) // 4
	f := readFeed(t, loc, ChangeRange{From: 1, To: NewestVersion}, ChangeOptions{})
	require.Len(t, f.rows, 6)
	require.Equal(t, 1, f.rows[`1 insert day=null id="2" kind=null n=null name="n2"`])
	require.Equal(t, 1, f.rows[`2 delete day=null id="3" kind=null n=null name="n3"`])
	require.Equal(t, 1, f.rows[`4 delete day=null id="2" kind=null n=null name="n2"`])
	few := ChangeOptions{Columns: []string{"n"}}
	require.Equal(t, map[string]int{`2 delete n=null`: 2, `4 delete n=null`: 1}, readFeed(t, loc, ChangeRange{From: 2, To: 4}, few).rows)
	few.Strict = true
	require.Equal(t, map[string]int{`4 delete n=null`: 1}, readFeed(t, loc, ChangeRange{From: 3, To: 4}, few).rows)

	p := must(PlanChanges(ctx, loc, ChangeRange{From: 0, To: 3}, ChangeOptions{}))
	require.Equal(t, []int64{0, 1, 2}, p.WithoutFeed())
	_, err := PlanChanges(ctx, loc, ChangeRange{From: 1, To: 3}, ChangeOptions{Strict: true})
	var none *NoFeedError
	require.ErrorAs(t, err, &none)
	require.Equal(t, int64(1), none.Version)

	// What is gone or of another type cannot be told together with what was.
	evolveTo(s, &Schema{Fields: append(slices.Clone(peopleSchema.Fields), Field{Name: "n", Type: String, Nullable: true})}, "true") // 5
	_, err = PlanChanges(ctx, loc, ChangeRange{From: 1, To: 5}, ChangeOptions{})
	var changed *SchemaChangedError
	require.ErrorAs(t, err, &changed)
	require.Equal(t, int64(3), changed.Version)
	require.Contains(t, err.Error(), `"n" was of type long and is of type string`)
	require.Empty(t, readFeed(t, loc, ChangeRange{From: 5, To: 5}, ChangeOptions{}).rows)
	require.NotEmpty(t, readFeed(t, loc, ChangeRange{From: 1, To: 4}, ChangeOptions{}).rows)
	_, err = PlanChanges(ctx, loc, ChangeRange{From: 5, To: 5}, ChangeOptions{Columns: []string{"no"}})
	require.ErrorIs(t, err, ErrInvalid)
}

func TestChangeRanges(t *testing.T) {
	ctx := context.Background()
	loc := Location{Data: must(objstore.NewLocal(t.TempDir()))}
	s := createWithFeed(t, loc, peopleSchema, "day", "kind")
	for i := range 4 {
		time.Sleep(20 * time.Millisecond) // the system's clock for files may tick every 4 ms, or 10
		tx := Begin(loc, s)
		tx.Add(*writePeople(t, s, nil, nil, i, 1))
		s = must(tx.Commit(ctx))
	}
	history := must(History(ctx, loc, 0)) // newest first
	at := func(v int) time.Time { return history[4-v].Time }
	versions := func(r ChangeRange) []int64 { return readFeed(t, loc, r, ChangeOptions{}).versions }
	require.Equal(t, []int64{2, 3}, versions(ChangeRange{From: 2, To: 3}))
	require.Equal(t, []int64{3, 4}, versions(ChangeRange{FromTime: at(2).Add(time.Millisecond), To: NewestVersion}))
	require.Equal(t, []int64{2, 3}, versions(ChangeRange{FromTime: at(2).Add(-time.Millisecond), ToTime: at(4).Add(-time.Millisecond)}))
	require.Empty(t, versions(ChangeRange{FromTime: at(2).Add(time.Millisecond), ToTime: at(2).Add(2 * time.Millisecond)}), "between two versions")

	plan := func(r ChangeRange) error { _, err := PlanChanges(ctx, loc, r, ChangeOptions{}); return err }
	require.ErrorIs(t, plan(ChangeRange{From: 5, To: NewestVersion}), ErrNoVersion)
	require.ErrorIs(t, plan(ChangeRange{From: -3, To: 2}), ErrNoVersion)
	require.ErrorIs(t, plan(ChangeRange{From: 3, To: 2}), ErrInvalid)
	require.ErrorIs(t, plan(ChangeRange{FromTime: time.Now().Add(time.Hour), To: NewestVersion}), ErrNoVersion)
	require.ErrorIs(t, plan(ChangeRange{From: 0, ToTime: at(0).Add(-time.Hour)}), ErrNoVersion)
	require.ErrorIs(t, Changes(ctx, memoryTable(), ChangeRange{}, ChangeOptions{}, nil), ErrNoTable)

	require.NoError(t, Checkpoint(ctx, must(LoadAt(ctx, loc, 2))))
	for v := range int64(2) {
		require.NoError(t, loc.log().Delete(ctx, commitName(v)))
	}
	var gone *VersionGoneError
	err := plan(ChangeRange{From: 1, To: 3})
	require.True(t, errors.As(err, &gone) && errors.Is(err, ErrNoVersion), err)
	require.Equal(t, int64(2), gone.Oldest)
	require.Equal(t, []int64{2, 3}, versions(ChangeRange{From: 2, To: 3}))
}

// TestChangesLeaveOutWhatMovedRows: a MERGE of Spark's that matched nothing may
// have written files anew all the same.
func TestChangesLeaveOutWhatMovedRows(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	s := create(t, loc, peopleSchema, "day", "kind")
	tx := Begin(loc, s)
	tx.Add(*writePeople(t, s, nil, nil, 1, 3))
	figures := map[string]any{"numTargetRowsInserted": "0", "numTargetRowsUpdated": "0", "numTargetRowsDeleted": "0"}
	tx.SetInfo("MERGE", nil)
	tx.SetMetrics(figures)
	s = must(tx.Commit(ctx))
	require.Empty(t, readFeed(t, loc, ChangeRange{From: 0, To: 1}, ChangeOptions{}).rows)
	tx = Begin(loc, s)
	tx.Add(*writePeople(t, s, nil, nil, 1, 3))
	delete(figures, "numTargetRowsDeleted")
	tx.SetInfo("MERGE", nil)
	tx.SetMetrics(figures)
	must(tx.Commit(ctx))
	require.Len(t, readFeed(t, loc, ChangeRange{From: 0, To: NewestVersion}, ChangeOptions{}).rows, 3)
}
