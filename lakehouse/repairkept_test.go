package lakehouse_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/partition"
	"github.com/lakeload/lakeload/lakehouse/where"
	"github.com/lakeload/lakeload/tablefmt"
)

// lain is a row of the lake with all of its table's columns, and the partition
// that it lies in.
type lain struct {
	rec  arrow.RecordBatch // of one row
	part map[string]*string
}

// is gives a column's text; "NULL" where it has none.
func (l lain) is(column string) string {
	c := l.rec.Column(l.rec.Schema().FieldIndices(column)[0])
	if c.IsNull(0) {
		return "NULL"
	}
	return c.ValueStr(0)
}

// with is the row with another value of a column: a text, a number, texts, a
// truth, a time, or nil for null.
func (l lain) with(column string, value any) lain {
	at := l.rec.Schema().FieldIndices(column)[0]
	b := array.NewBuilder(memory.DefaultAllocator, l.rec.Schema().Field(at).Type)
	defer b.Release()
	switch v := value.(type) {
	case nil:
		b.AppendNull()
	case string:
		b.(*array.StringBuilder).Append(v)
	case bool:
		b.(*array.BooleanBuilder).Append(v)
	case map[string]string:
		m := b.(*array.MapBuilder)
		m.Append(true)
		for key, text := range v {
			m.KeyBuilder().(*array.StringBuilder).Append(key)
			m.ItemBuilder().(*array.StringBuilder).Append(text)
		}
	case time.Time:
		b.(*array.TimestampBuilder).AppendTime(v)
	default:
		b.(*array.Int64Builder).Append(int64(v.(int)))
	}
	cols := slices.Clone(l.rec.Columns())
	cols[at] = b.NewArray()
	return lain{array.NewRecordBatch(l.rec.Schema(), cols, 1), l.part}
}

// rearrange changes a mirror behind the engine's back: change says what becomes
// of each row, and where it lies. Files without such rows stay as they are.
func rearrange(t *testing.T, loc tablefmt.Location, change func(row lain) []lain, more ...func(tx *tablefmt.Transaction)) {
	t.Helper()
	ctx := t.Context()
	snap := must(tablefmt.Load(ctx, loc))
	schema := must(snap.Schema().Arrow())
	parts := snap.PartitionColumns()
	var fields []arrow.Field
	var places []int
	for i, f := range schema.Fields() {
		if !slices.Contains(parts, f.Name) {
			fields, places = append(fields, f), append(places, i)
		}
	}
	data := arrow.NewSchema(fields, nil)
	writers := map[string]*tablefmt.FileWriter{}
	tx := tablefmt.Begin(loc, snap)
	write := func(l lain) error {
		id := ""
		for _, name := range parts {
			if v := l.part[name]; v != nil {
				id += *v
			}
			id += "\x00"
		}
		w := writers[id]
		if w == nil {
			w = must(tablefmt.NewFileWriter(ctx, loc, data, tablefmt.FileOptions{PartitionColumns: parts, PartitionValues: l.part}))
			writers[id] = w
		}
		cols := make([]arrow.Array, len(places))
		for i, at := range places {
			cols[i] = l.rec.Column(at)
		}
		_, err := w.Write(array.NewRecordBatch(data, cols, 1))
		return err
	}
	for add := range snap.Files() {
		var rows []lain
		touched := false
		err := snap.ReadFile(ctx, add, tablefmt.ReadOptions{}, func(rec arrow.RecordBatch, _ int64) error {
			for i := range rec.NumRows() {
				row := lain{rec.NewSlice(i, i+1), add.PartitionValues}
				becomes := change(row)
				touched = touched || len(becomes) != 1 || becomes[0].rec != row.rec || !maps.Equal(becomes[0].part, row.part)
				rows = append(rows, becomes...)
			}
			return nil
		})
		require.NoError(t, err)
		if !touched {
			continue
		}
		tx.Remove(*add.Remove(time.Now().UnixMilli(), true))
		for _, row := range rows {
			require.NoError(t, write(row))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(writers)) {
		tx.Add(*must(writers[id].Close()))
	}
	tx.SetInfo("WRITE", nil)
	for _, f := range more {
		f(tx)
	}
	must(tx.Commit(ctx))
}

// keptKinds are tables that are kept otherwise than by default.
var keptKinds = map[string]lakehouse.TableOptions{
	"partitioned": {PartitionBy: []string{"region", "month(at)"}},
	"derived":     {PartitionBy: []string{"truncate(1, note)"}},
	"soft":        {Delete: lakehouse.DeleteSoft},
	"ignore":      {Delete: lakehouse.DeleteIgnore},
	"metadata":    {Metadata: []lakehouse.MetadataColumn{lakehouse.MetadataIngested, lakehouse.MetadataSource}},
	"rewrite":     {Deletes: lakehouse.DeletesRewrite},
	"soft parted": {Delete: lakehouse.DeleteSoft, PartitionBy: []string{"month(at)"}, Metadata: []lakehouse.MetadataColumn{lakehouse.MetadataIngested}},
	"soft anew":   {Delete: lakehouse.DeleteSoft, Deletes: lakehouse.DeletesRewrite, PartitionBy: []string{"bucket(3, id)"}},
	"ignore anew": {Delete: lakehouse.DeleteIgnore, Deletes: lakehouse.DeletesRewrite, PartitionBy: []string{"region"}},
}

// keptRig has a table that is kept in some way, of which the source has deleted
// the rows from 50 on.
func keptRig(t *testing.T, o lakehouse.TableOptions) *rig {
	r := newRig(t, orders("t"), keyed("other"))
	cache := t.TempDir()
	r.options = func(opt *lakehouse.Options) {
		opt.CacheDir = cache
		opt.Table = onlyT(o)
	}
	r.tx(func(tx *cdctest.Tx) error {
		var errs []error
		for id := range 60 {
			errs = append(errs, tx.Insert("t", order(id, fmt.Sprint("r", id%3), at.AddDate(0, id%4, 0), fmt.Sprint(string(rune('a'+id%5)), id))))
		}
		return errors.Join(append(errs, tx.Update("t", cdctest.Row{"id": 2}, cdctest.Row{"total": cdctest.Exact("NaN")}))...)
	})
	r.insert("other", 0, 5)
	r.catchUp()
	r.tx(func(tx *cdctest.Tx) error {
		var errs []error
		for id := 50; id < 60; id++ {
			errs = append(errs, tx.Delete("t", cdctest.Row{"id": id}))
		}
		return errors.Join(errs...)
	})
	r.catchUp()
	r.copied()
	return r
}

// onlyT has the table t kept so.
func onlyT(o lakehouse.TableOptions) func(*cdc.Relation) lakehouse.TableOptions {
	return func(rel *cdc.Relation) lakehouse.TableOptions {
		if rel.Name == "t" {
			return o
		}
		return lakehouse.TableOptions{}
	}
}

// damageKept makes a mirror of keptRig's differ, and gives the keys that do: rows
// are altered, removed, doubled, in another partition, invented, and deleted, or
// not deleted any more, in the lake alone.
func (r *rig) damageKept(o *lakehouse.TableOptions, more ...func(tx *tablefmt.Transaction)) (keys int) {
	r.t.Helper()
	keys = 5
	if len(o.PartitionBy) > 0 {
		keys++
	}
	switch o.Delete {
	case lakehouse.DeleteSoft:
		keys += 2
	case lakehouse.DeleteIgnore:
		keys-- // what was invented may be of before
	}
	parts := map[string]map[string]*string{}
	for add := range r.load(r.mirror("t")).Files() {
		var text []string
		for _, name := range slices.Sorted(maps.Keys(add.PartitionValues)) {
			text = append(text, *add.PartitionValues[name])
		}
		parts[strings.Join(text, " ")] = add.PartitionValues
	}
	elsewhere := func(row lain) lain {
		for _, text := range slices.Sorted(maps.Keys(parts)) {
			if !maps.EqualFunc(parts[text], row.part, func(a, b *string) bool { return *a == *b }) {
				return lain{row.rec, parts[text]}
			}
		}
		return row
	}
	rearrange(r.t, r.mirror("t"), func(row lain) []lain {
		switch row.is("id") {
		case "1": // as well as the value that it has
			return []lain{row.with("_lakeload_exact", map[string]string{"total": "NaN"})}
		case "3":
			return []lain{row.with("total", nil)}
		case "7":
			return nil
		case "11":
			return []lain{row, elsewhere(row)}
		case "14":
			return []lain{elsewhere(row)}
		case "17":
			return []lain{row, elsewhere(row.with("id", 900))}
		case "20":
			if o.Delete == lakehouse.DeleteSoft {
				return []lain{row.with("_deleted", true).with("_deleted_at", time.Now())}
			}
		case "52":
			if o.Delete == lakehouse.DeleteSoft {
				return []lain{row.with("_deleted", false).with("_deleted_at", nil)}
			}
		}
		return []lain{row}
	}, more...)
	return keys
}

// sameKept requires that the newest version, and every one from one on, has the
// rows that the source had where it shows it, each of a kept table's keys once.
func (r *rig) sameKept(o *lakehouse.TableOptions, from int64) {
	r.t.Helper()
	newest := r.load(r.mirror("t")).Version()
	for v := from; v <= newest; v++ {
		snap := must(tablefmt.LoadAt(r.t.Context(), r.mirror("t"), v))
		want, got := sourceRows(r.world, "t", cutOf(r.t, snap)), map[string]int{}
		live := map[string]bool{}
		for text := range want {
			live[idOf(text)] = true
		}
		seen := map[string]bool{}
		eachLakeRow(r.t, snap, func(text string, deleted bool) {
			require.False(r.t, seen[idOf(text)], "%s twice in version %d", idOf(text), v)
			seen[idOf(text)] = true
			if !deleted && (o.Delete != lakehouse.DeleteIgnore || live[idOf(text)]) {
				got[text]++
			}
		})
		require.Equal(r.t, want, got, "version %d", v)
		r.sameDerived(o, snap)
		if o.Deletes == lakehouse.DeletesRewrite {
			require.False(r.t, snap.Protocol().Has("deletionVectors"))
			for add := range snap.Files() {
				require.Nil(r.t, add.DeletionVector)
			}
		}
	}
}

// sameDerived requires that every row of a version lies where its values say.
func (r *rig) sameDerived(o *lakehouse.TableOptions, snap *tablefmt.Snapshot) {
	r.t.Helper()
	for _, by := range must(partition.ParseAll(o.PartitionBy)) {
		columns := []string{"id", by.Column, by.Name()}
		err := snap.Scan(r.t.Context(), tablefmt.ScanOptions{Columns: columns}, func(rec arrow.RecordBatch) error {
			want, err := by.Apply(rec.Column(1))
			for i := range int(rec.NumRows()) {
				require.Equal(r.t, want.ValueStr(i), rec.Column(2).ValueStr(i), "%s of %s in version %d", by, rec.Column(0).ValueStr(i), snap.Version())
			}
			return err
		})
		require.NoError(r.t, err)
	}
}

func idOf(text string) string {
	_, rest, _ := strings.Cut(text, ";id=")
	id, _, _ := strings.Cut(rest, ";")
	return id
}

// TestRepairOfTablesThatAreKeptOtherwise repairs tables that are partitioned, keep
// what the source deletes, have metadata columns or do without deletion vectors:
// while they are live, when they have stopped, and after a lost slot.
func TestRepairOfTablesThatAreKeptOtherwise(t *testing.T) {
	for name, o := range keptKinds {
		for _, way := range []string{"live", "stopped", "lost"} {
			t.Run(name+" "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { repairKept(t, o, way) })
			})
		}
	}
}

func repairKept(t *testing.T, o lakehouse.TableOptions, way string) {
	r := keptRig(t, o)
	before := r.keptColumns(&o)
	protocol := r.load(r.mirror("t")).Protocol()
	time.Sleep(time.Hour)
	var keys int
	if way == "stopped" {
		keys = r.damageKept(&o)
	} else {
		keys = r.damageKept(&o, r.unnoticed("t"))
	}
	was := r.load(r.mirror("t"))
	var done *lakehouse.Repaired
	stop := func() error { return nil }
	begun := time.Now().UTC()
	r.insert("other", 10, 11)
	if way == "lost" {
		r.world.RemoveSlot()
		r.tx(func(tx *cdctest.Tx) error {
			return errors.Join(tx.Delete("t", cdctest.Row{"id": 30}), tx.Update("t", cdctest.Row{"id": 31}, cdctest.Row{"id": 55, "region": "r9"}))
		})
		keys += 3
		if o.Delete == lakehouse.DeleteIgnore {
			keys -= 2 // 30 and 31 may stay
		}
		require.NoError(t, must(r.planRepair()).Do(t.Context()))
		own := r.options
		r.options = func(opt *lakehouse.Options) {
			own(opt)
			opt.Events.TableRepaired = func(e lakehouse.TableRepaired) {
				if e.Table == "public.t" {
					done = &e
				}
			}
		}
		r.catchUp()
		require.NotNil(t, done)
	} else {
		stop = r.start()
		if way == "stopped" {
			require.Equal(t, []string{"public.t"}, r.stopped())
		} else {
			require.Len(t, r.audit("t").Differences, keys)
		}
		done = must(r.engineNow().Repair(t.Context(), "public.t", lakehouse.RepairOptions{}))
	}
	require.False(t, done.Copied)
	require.EqualValues(t, keys, done.Keys)
	require.Equal(t, lakehouse.PhaseLive, r.state("t").Phase)
	time.Sleep(time.Minute)
	r.sameKept(&o, was.Version()+1)
	require.Equal(t, protocol, r.load(r.mirror("t")).Protocol())

	mended := []string{"1", "3", "7", "11", "20", "52", "900", "14"}
	if way == "lost" {
		mended = append(mended, "30", "31", "55")
	}
	after := r.keptColumns(&o)
	for column, values := range after {
		for id, value := range values {
			if !slices.Contains(mended, id) {
				require.Equal(t, before[column][id], value, "%s of %s, which nobody has touched", column, id)
			}
		}
	}
	if len(o.Metadata) > 0 {
		for _, id := range []string{"3", "7", "11"} {
			now, err := time.Parse(time.RFC3339, after["_ingestion_timestamp"][id])
			require.NoError(t, err)
			require.False(t, now.Before(begun) || now.After(time.Now()), "%s: %s", id, now)
		}
	}
	switch o.Delete {
	case lakehouse.DeleteSoft:
		require.Equal(t, "false", after["_deleted"]["20"])
		require.Equal(t, "NULL", after["_deleted_at"]["20"])
		gone := []string{"52", "900"}
		if way == "lost" {
			gone = append(gone, "30", "31")
			require.Equal(t, "false", after["_deleted"]["55"])
		}
		for _, id := range gone {
			require.Equal(t, "true", after["_deleted"][id], id)
			require.GreaterOrEqual(t, after["_deleted_at"][id], begun.Format(time.RFC3339), id)
		}
		require.Equal(t, fmt.Sprint("c", 52), r.column(r.mirror("t"), "note")["52"], "as it was last")
		require.Len(t, after["_deleted"], 61)
	case lakehouse.DeleteIgnore:
		require.Len(t, r.column(r.mirror("t"), "note"), 61)
	}
	require.NoError(t, stop())

	// It goes on: each row that was mended is found, after a restart, too.
	for _, change := range []func(tx *cdctest.Tx) error{
		func(tx *cdctest.Tx) error {
			return errors.Join(tx.Update("t", cdctest.Row{"id": 3}, cdctest.Row{"note": "b3"}), tx.Delete("t", cdctest.Row{"id": 7}),
				tx.Update("t", cdctest.Row{"id": 11}, cdctest.Row{"region": "r5"}), tx.Update("t", cdctest.Row{"id": 14}, cdctest.Row{"id": 15_000}),
				tx.Delete("t", cdctest.Row{"id": 20}), tx.Insert("t", order(52, "r1", at, "again")), tx.Insert("t", order(900, "r1", at, "x")))
		},
		func(tx *cdctest.Tx) error {
			return errors.Join(tx.Insert("t", order(7, "r1", at, "again")), tx.Delete("t", cdctest.Row{"id": 900}), tx.Update("t", cdctest.Row{"id": 15_000}, cdctest.Row{"note": "z"}))
		},
	} {
		r.tx(change)
		r.catchUp()
		r.sameKept(&o, was.Version()+1)
	}
	require.Empty(t, r.stopped())
}

// keptColumns are the columns that tell of the loading and deletion of rows.
func (r *rig) keptColumns(o *lakehouse.TableOptions) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, f := range r.load(r.mirror("t")).Schema().Fields {
		if strings.HasPrefix(f.Name, "_") && f.Name != "_lakeload_exact" {
			out[f.Name] = r.column(r.mirror("t"), f.Name)
		}
	}
	require.Equal(r.t, len(o.Metadata) > 0 || o.Delete == lakehouse.DeleteSoft, len(out) > 0)
	return out
}

// TestRepairOfSomeRowsThatAreKept compares only rows for which a condition holds:
// a row of the source's for which it does not still takes its place.
func TestRepairOfSomeRowsThatAreKept(t *testing.T) {
	for _, mode := range []lakehouse.DeleteMode{lakehouse.DeleteSoft, lakehouse.DeleteIgnore} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := lakehouse.TableOptions{Delete: mode}
				r := keptRig(t, o)
				r.damageKept(&o, r.unnoticed("t"))
				rearrange(t, r.mirror("t"), func(row lain) []lain {
					if row.is("id") == "40" {
						return []lain{row.with("note", "wrong")}
					}
					return []lain{row}
				}, r.unnoticed("t"))
				stop := r.start()
				next := 10_000
				repair := func(text string) *lakehouse.Repaired {
					next++
					r.insert("other", next, next+1) // passes the point
					time.Sleep(5 * time.Second)
					return must(r.engineNow().Repair(t.Context(), "public.t", lakehouse.RepairOptions{Where: must(where.Parse(text))}))
				}
				require.EqualValues(t, 1, repair("note = 'wrong'").Keys, "which holds in the lake alone")
				require.Equal(t, "a40", r.column2("note", "40"))
				invented := repair("id >= 800")
				if mode == lakehouse.DeleteIgnore {
					require.Zero(t, invented.Keys)
					require.Zero(t, invented.Removed)
				} else {
					require.EqualValues(t, [3]int64{1, 1, 1}, [3]int64{invented.Keys, invented.Written, invented.Removed})
					require.Equal(t, "true", r.column2("_deleted", "900"))
				}
				require.EqualValues(t, [3]int64{1, 1, 0}, func() [3]int64 {
					done := repair("id = 7")
					return [3]int64{done.Keys, done.Written, done.Removed}
				}())
				require.Positive(t, repair("id is not null").Keys)
				require.NoError(t, stop())
				r.sameKept(&o, r.load(r.mirror("t")).Version())
			})
		})
	}
}

// column2 is a column of a row of t.
func (r *rig) column2(name, id string) string {
	r.t.Helper()
	found := ""
	err := r.load(r.mirror("t")).Scan(context.Background(), tablefmt.ScanOptions{Columns: []string{"id", name}}, func(rec arrow.RecordBatch) error {
		for i := range int(rec.NumRows()) {
			if rec.Column(0).ValueStr(i) == id {
				found = rec.Column(1).ValueStr(i)
			}
		}
		return nil
	})
	require.NoError(r.t, err)
	return found
}

// TestRepairOfKeptTablesIsInTheChangelog has the marks of a repair in a changelog
// with columns and partitions of its own.
func TestRepairOfKeptTablesIsInTheChangelog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := lakehouse.TableOptions{
			Modes:       []lakehouse.Mode{lakehouse.ModeChangelog, lakehouse.ModeMirror},
			PartitionBy: []string{"bucket(3, id)"}, Delete: lakehouse.DeleteSoft, Deletes: lakehouse.DeletesRewrite,
			Metadata: []lakehouse.MetadataColumn{lakehouse.MetadataIngested, lakehouse.MetadataSource}, SourceSystem: "shop",
		}
		r := keptRig(t, o)
		keys := r.damageKept(&o, r.unnoticed("t"))
		stop := r.start()
		r.insert("other", 10, 11)
		time.Sleep(5 * time.Second)
		begun := time.Now()
		done := must(r.engineNow().Repair(t.Context(), "public.t", lakehouse.RepairOptions{}))
		require.EqualValues(t, keys, done.Keys)
		ops, buckets := map[string][]string{}, map[string]string{}
		columns := []string{"_op", "id", "_lsn", "_seq", "_source_system", "_ingestion_timestamp", "id_bucket", "note"}
		err := r.load(r.changelog("t")).Scan(t.Context(), tablefmt.ScanOptions{Columns: columns}, func(rec arrow.RecordBatch) error {
			for i := range int(rec.NumRows()) {
				op, id := rec.Column(0).ValueStr(i), rec.Column(1).ValueStr(i)
				if rec.Column(2).(*array.Int64).Value(i) != int64(done.LSN) || !strings.HasPrefix(rec.Column(3).ValueStr(i), "-") {
					continue
				}
				ops[op] = append(ops[op], id)
				buckets[id] = rec.Column(6).ValueStr(i)
				require.Equal(t, "shop", rec.Column(4).ValueStr(i))
				ingested := time.UnixMicro(int64(rec.Column(5).(*array.Timestamp).Value(i)))
				require.False(t, ingested.Before(begun) || ingested.After(time.Now()))
				require.Equal(t, op == "D", rec.Column(7).IsNull(i), "keys only of rows that are not there")
			}
			return nil
		})
		require.NoError(t, err)
		for _, ids := range ops {
			slices.Sort(ids)
		}
		require.Equal(t, map[string][]string{"R": {"1", "11", "14", "20", "3", "7"}, "D": {"52", "900"}}, ops)
		mirror := r.column(r.mirror("t"), "id_bucket")
		for id, bucket := range buckets {
			require.Equal(t, mirror[id], bucket, id)
		}
		require.NoError(t, stop())
		r.sameKept(&o, done.Version)
	})
}

// TestRepairCopiesWhatIsKeptInOtherWays has somebody else give a table other ways
// than its options say: it is copied again as they say.
func TestRepairCopiesWhatIsKeptInOtherWays(t *testing.T) {
	for name, change := range map[string]func(md *tablefmt.Metadata){
		"vectors": func(md *tablefmt.Metadata) { md.Configuration[tablefmt.PropDeletionVectors] = "true" },
		"deletes": func(md *tablefmt.Metadata) { delete(md.Configuration, "lakeload.delete") },
		"a column": func(md *tablefmt.Metadata) {
			md.SchemaString = strings.ReplaceAll(md.SchemaString, `"_source_system"`, `"_source"`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := lakehouse.TableOptions{
					Delete: lakehouse.DeleteSoft, Deletes: lakehouse.DeletesRewrite, PartitionBy: []string{"region"},
					Metadata: []lakehouse.MetadataColumn{lakehouse.MetadataSource},
				}
				r := keptRig(t, o)
				was := r.load(r.mirror("t"))
				r.damageKept(&o, func(tx *tablefmt.Transaction) {
					md := was.Metadata().Clone()
					change(md)
					tx.SetMetadata(md)
					tx.SetProtocol(tablefmt.MirrorProtocol(tablefmt.OptionsFor(was.Schema())))
				})
				stop := r.start()
				require.Equal(t, []string{"public.t"}, r.stopped())
				done := must(r.engineNow().Repair(t.Context(), "public.t", lakehouse.RepairOptions{}))
				require.True(t, done.Copied)
				require.NoError(t, stop())
				now := r.load(r.mirror("t"))
				r.sameKept(&o, now.Version())
				require.Equal(t, was.Metadata().Configuration, now.Metadata().Configuration)
				require.Equal(t, was.Protocol(), now.Protocol())
				require.Equal(t, was.Schema(), now.Schema())
			})
		})
	}
}

// TestRepairReadsOnceMoreWhatItCannotHold repairs few rows and many large ones:
// the rows are held that may differ, or else read once more.
func TestRepairReadsOnceMoreWhatItCannotHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("other"))
		counted := &countedReading{}
		r.source = func() cdc.Source { counted.Source = r.world.Source(); return counted }
		large := func(id int) string { return strings.Repeat(fmt.Sprint("large ", id, " "), 20_000) }
		r.tx(func(tx *cdctest.Tx) error {
			var errs []error
			for id := range 40 {
				errs = append(errs, tx.Insert("t", cdctest.Row{"id": id, "v": large(id)}))
			}
			return errors.Join(errs...)
		})
		r.catchUp()
		for many, passes := range map[bool]int{false: 2, true: 3} {
			rearrange(t, r.mirror("t"), func(row lain) []lain {
				if id := row.is("id"); id == "7" || many && id != "8" {
					return []lain{row.with("v", "small")}
				}
				return []lain{row}
			}, r.unnoticed("t"))
			stop := r.start()
			r.insert("other", 10*passes, 10*passes+1)
			time.Sleep(5 * time.Second)
			counted.rows.Store(0)
			done := must(r.engineNow().Repair(t.Context(), "public.t", lakehouse.RepairOptions{}))
			require.EqualValues(t, map[bool]int{false: 1, true: 39}[many], done.Keys)
			require.EqualValues(t, 40*passes, counted.rows.Load())
			r.settled("t")
			r.update("t", 7, large(7))
			r.settled("t")
			require.NoError(t, stop())
		}
	})
}

// countedReading counts the rows that are read of a source's snapshots.
type countedReading struct {
	cdc.Source
	rows atomic.Int64
}

type countedSnapshot struct {
	cdc.Snapshot
	of *countedReading
}

func (s *countedReading) Snapshot(ctx context.Context) (cdc.Snapshot, error) {
	snap, err := s.Source.Snapshot(ctx)
	return &countedSnapshot{snap, s}, err
}

func (s *countedSnapshot) Read(ctx context.Context, rel *cdc.Relation, r cdc.Range, emit func(*cdc.Batch) error) error {
	return s.Snapshot.Read(ctx, rel, r, func(b *cdc.Batch) error {
		s.of.rows.Add(int64(b.Len()))
		return emit(b)
	})
}
