package lakehouse_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/where"
	"github.com/lakeload/lakeload/tablefmt"
)

// auditRigTables have every kind of identity, and values that no column holds.
var auditRigTables = []cdctest.TableSpec{
	keyed("t"), keyless("other"),
	{Name: "wide", Key: []string{"a", "b"}, Columns: []cdc.Column{cdctest.Text("a"), cdctest.Int64("b"), cdctest.Decimal("d", 12, 2)}},
	{Name: "bag", Identity: cdc.IdentityFull, Columns: []cdc.Column{cdctest.Int64("n"), cdctest.Decimal("d", 12, 2)}},
}

func (r *rig) fillAudited() {
	r.insert("t", 0, 100)
	r.tx(func(tx *cdctest.Tx) error {
		var errs []error
		for i := range 30 {
			errs = append(errs,
				tx.Insert("wide", cdctest.Row{"a": fmt.Sprint("k", i), "b": i, "d": []any{nil, "1.50", cdctest.Exact("NaN")}[i%3]}),
				tx.Insert("bag", cdctest.Row{"n": i % 3, "d": []any{nil, "1.50", cdctest.Exact("NaN")}[i%3]}))
		}
		return errors.Join(errs...)
	})
}

// audit compares a table at a cut that is taken now.
func (r *rig) audit(table string) *lakehouse.AuditResult {
	r.t.Helper()
	src := r.world.Source()
	defer src.Close()
	var snap cdc.Snapshot
	cut, err := r.engineNow().Cut(r.t.Context(), func(ctx context.Context) (at cdc.LSN, err error) {
		if snap, err = src.Snapshot(ctx); err == nil {
			at = snap.Point()
		}
		return at, err
	})
	require.NoError(r.t, err)
	defer snap.Close()
	time.Sleep(time.Second) // it goes on meanwhile
	lake, err := tablefmt.LoadAt(r.t.Context(), r.mirror(table), cut.Tables["public."+table])
	require.NoError(r.t, err)
	return r.compare(table, snap, lake)
}

func (r *rig) compare(table string, snap cdc.Snapshot, lake *tablefmt.Snapshot) *lakehouse.AuditResult {
	r.t.Helper()
	a := lakehouse.Audit{Relation: r.world.Relation(table, snap.Point()), Source: snap, Lake: lake}
	result, err := a.Run(r.t.Context())
	require.NoError(r.t, err)
	return result
}

func TestAuditUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, auditRigTables...)
		r.fillAudited()
		stop := r.start()
		rest := r.work(1)
		for range 3 {
			for _, table := range []string{"t", "wide", "bag"} {
				result := r.audit(table)
				require.True(t, result.Equal, "%s: %+v", table, result)
				require.Equal(t, result.SourceRows, result.LakeRows)
				require.Positive(t, result.SourceRows)
			}
		}
		rest()
		require.NoError(t, stop())
	})
}

// alter changes rows of a mirror behind the engine's back: those that change
// gives something else for are taken out, and what it gives is put in.
func (r *rig) alterLake(table string, change func(id int64) []arrow.RecordBatch, column string, more ...func(tx *tablefmt.Transaction)) {
	r.t.Helper()
	ctx := r.t.Context()
	snap, err := tablefmt.Load(ctx, r.mirror(table))
	require.NoError(r.t, err)
	tx := tablefmt.Begin(r.mirror(table), snap)
	schema, err := snap.Schema().Arrow()
	require.NoError(r.t, err)
	w, err := tablefmt.NewFileWriter(ctx, r.mirror(table), schema, tablefmt.FileOptions{})
	require.NoError(r.t, err)
	for add := range snap.Files() {
		err := snap.ReadFile(ctx, add, tablefmt.ReadOptions{}, func(rec arrow.RecordBatch, _ int64) error {
			ids := rec.Column(rec.Schema().FieldIndices(column)[0]).(*array.Int64)
			for i := range int(rec.NumRows()) {
				row := rec.NewSlice(int64(i), int64(i)+1)
				rows := []arrow.RecordBatch{row}
				if change != nil {
					if other := change(ids.Value(i)); other != nil {
						rows = other
					}
				}
				for _, row := range rows {
					if _, err := w.Write(row); err != nil {
						return err
					}
				}
			}
			return nil
		})
		require.NoError(r.t, err)
		tx.Remove(*add.Remove(time.Now().UnixMilli(), true))
	}
	add, err := w.Close()
	require.NoError(r.t, err)
	tx.Add(*add)
	tx.SetInfo("WRITE", nil)
	for _, f := range more {
		f(tx)
	}
	_, err = tx.Commit(ctx)
	require.NoError(r.t, err)
}

func TestAuditFindsWhatIsNotTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, auditRigTables...)
		r.fillAudited()
		r.catchUp()
		schema, err := must(tablefmt.Load(t.Context(), r.mirror("t"))).Schema().Arrow()
		require.NoError(t, err)
		row := func(id int64, v string) arrow.RecordBatch {
			b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
			b.Field(0).(*array.Int64Builder).Append(id)
			b.Field(1).(*array.StringBuilder).Append(v)
			return b.NewRecordBatch()
		}
		r.alterLake("t", func(id int64) []arrow.RecordBatch {
			switch id {
			case 17: // altered
				return []arrow.RecordBatch{row(17, "something else")}
			case 33: // removed
				return []arrow.RecordBatch{}
			case 55: // doubled
				return []arrow.RecordBatch{row(55, "v55"), row(55, "v55")}
			case 99: // and one that the source never had
				return []arrow.RecordBatch{row(99, "v99"), row(1000, "v1000")}
			}
			return nil
		}, "id")
		src := r.world.Source()
		defer src.Close()
		snap, err := src.Snapshot(t.Context())
		require.NoError(t, err)
		defer snap.Close()
		lake := must(tablefmt.Load(t.Context(), r.mirror("t")))
		result := r.compare("t", snap, lake)
		require.Equal(t, &lakehouse.AuditResult{SourceRows: 100, LakeRows: 101, Differences: []lakehouse.Difference{
			{Key: "id=1000", Source: []string{}, Lake: []string{"id=1000 v=v1000"}},
			{Key: "id=17", Source: []string{"id=17 v=v17"}, Lake: []string{"id=17 v=something else"}, Columns: []string{"v"}},
			{Key: "id=33", Source: []string{"id=33 v=v33"}, Lake: []string{}},
			{Key: "id=55", Source: []string{}, Lake: []string{"id=55 v=v55"}},
		}}, result)

		a := lakehouse.Audit{Relation: r.world.Relation("t", snap.Point()), Source: snap, Lake: lake, Differences: 2}
		result, err = a.Run(t.Context())
		require.NoError(t, err)
		require.Len(t, result.Differences, 2)
		require.True(t, result.More)

		for _, table := range []string{"wide", "bag"} {
			lake := must(tablefmt.Load(t.Context(), r.mirror(table)))
			require.True(t, r.compare(table, snap, lake).Equal)
		}
		r.tx(func(tx *cdctest.Tx) error { return tx.Delete("bag", cdctest.Row{"n": 1, "d": "1.50"}) })
		r.tx(func(tx *cdctest.Tx) error {
			return tx.Update("wide", cdctest.Row{"a": "k2", "b": 2}, cdctest.Row{"d": cdctest.Exact("Infinity")})
		})
		later, err := src.Snapshot(t.Context())
		require.NoError(t, err)
		defer later.Close()
		bag := r.compare("bag", later, must(tablefmt.Load(t.Context(), r.mirror("bag"))))
		require.Equal(t, []lakehouse.Difference{{Key: "n=1 d=1.5", Source: []string{}, Lake: []string{"n=1 d=1.5"}}}, bag.Differences)
		wide := r.compare("wide", later, must(tablefmt.Load(t.Context(), r.mirror("wide"))))
		require.Equal(t, []lakehouse.Difference{{
			Key: "a=k2 b=2", Source: []string{"a=k2 b=2 d=Infinity"}, Lake: []string{"a=k2 b=2 d=NaN"}, Columns: []string{"d"},
		}}, wide.Differences)

		other := lakehouse.Audit{Relation: r.world.Relation("other", snap.Point()), Source: snap, Lake: must(tablefmt.Load(t.Context(), r.mirror("other")))}
		_, err = other.Run(t.Context())
		require.ErrorIs(t, err, lakehouse.ErrNotAudited)
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A condition means the same on both sides, and a sample has the same rows of
// both, whatever their values.
func TestAuditOfSomeRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, auditRigTables...)
		r.fillAudited()
		r.catchUp()
		r.tx(func(tx *cdctest.Tx) error {
			return errors.Join(
				tx.Update("wide", cdctest.Row{"a": "k2", "b": 2}, cdctest.Row{"d": "7.00"}), // NaN in the lake
				tx.Delete("wide", cdctest.Row{"a": "k4", "b": 4}),                           // 1.50 in the lake
				tx.Insert("wide", cdctest.Row{"a": "k99", "b": 99, "d": cdctest.Exact("NaN")}),
			)
		})
		src := r.world.Source()
		defer src.Close()
		snap := must(src.Snapshot(t.Context()))
		defer snap.Close()
		run := func(table string, change func(a *lakehouse.Audit)) (*lakehouse.AuditResult, error) {
			a := lakehouse.Audit{Relation: r.world.Relation(table, snap.Point()), Source: snap, Lake: must(tablefmt.Load(t.Context(), r.mirror(table)))}
			change(&a)
			return a.Run(t.Context())
		}
		for text, want := range map[string][]string{
			"b < 2":                 nil,
			"b <> 2 and d is null":  nil,
			"b = 2":                 {"a=k2 b=2"},
			"d = 'NaN'":             {"a=k2 b=2", "a=k99 b=99"}, // the first is so in the lake alone
			"d = 7":                 {"a=k2 b=2"},
			"d = 1.5":               {"a=k4 b=4"},
			"a in ('k4', 'k5')":     {"a=k4 b=4"},
			"d is null or d <> 1.5": {"a=k2 b=2", "a=k99 b=99"},
		} {
			result, err := run("wide", func(a *lakehouse.Audit) { a.Where = must(where.Parse(text)) })
			require.NoError(t, err, text)
			var got []string
			for _, d := range result.Differences {
				got = append(got, d.Key)
			}
			require.Equal(t, want, got, text)
			require.Equal(t, want == nil, result.Equal)
			require.Equal(t, text, result.Where)
		}
		_, err := run("wide", func(a *lakehouse.Audit) { a.Where = must(where.Parse("nope = 1")) })
		require.ErrorIs(t, err, lakehouse.ErrCondition)
		require.Equal(t, lakehouse.KindPreflight, lakehouse.KindOf(err))

		found, read := map[string]int{}, int64(0)
		for i := range 40 {
			sample := func(table string) *lakehouse.AuditResult {
				return must(run(table, func(a *lakehouse.Audit) { a.Sample, a.Seed = 0.25, fmt.Sprint("seed", i) }))
			}
			result := sample("wide")
			require.Equal(t, result, sample("wide"), "a seed chooses always the same")
			for _, d := range result.Differences {
				found[d.Key]++
			}
			equal := sample("t")
			require.True(t, equal.Equal)
			require.Equal(t, equal.SourceRows, equal.LakeRows)
			read += equal.SourceRows
		}
		require.Len(t, found, 3, "each is in some samples")
		require.Less(t, found["a=k2 b=2"], 25)
		require.InDelta(t, 40*25, read, 250)
		require.NotEmpty(t, must(run("t", func(a *lakehouse.Audit) { a.Sample = 0.5 })).Seed)
	})
}

func TestAuditKeepsToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 2000)
		r.catchUp()
		src := r.world.Source()
		defer src.Close()
		snap := must(src.Snapshot(t.Context()))
		defer snap.Close()
		begun := time.Now()
		a := lakehouse.Audit{
			Relation: r.world.Relation("t", snap.Point()), Source: snap, Lake: must(tablefmt.Load(t.Context(), r.mirror("t"))),
			Rate: rate.NewLimiter(1000, 1000),
		}
		require.True(t, must(a.Run(t.Context())).Equal)
		// 2000 rows of two sides: 8 bytes, an offset of 4, and a text of 2 to 5.
		require.InDelta(t, 2*2000*(8+4+4.5)/1000, time.Since(begun).Seconds(), 10)
	})
}
