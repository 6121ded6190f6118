package lakehouse_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
)

// orders is a table with columns to partition by.
func orders(name string) cdctest.TableSpec {
	return cdctest.TableSpec{Name: name, Key: []string{"id"}, Columns: []cdc.Column{
		cdctest.Int64("id"), cdctest.Text("region"), cdctest.Timestamp("at"), cdctest.Text("note"), cdctest.Decimal("total", 12, 2),
	}}
}

// column reads one column of a table of the lake, by the id of the row.
func (r *rig) column(loc tablefmt.Location, name string) map[string]string {
	r.t.Helper()
	snap, err := tablefmt.Load(r.t.Context(), loc)
	require.NoError(r.t, err)
	out := map[string]string{}
	err = snap.Scan(context.Background(), tablefmt.ScanOptions{Columns: []string{"id", name}}, func(rec arrow.RecordBatch) error {
		for i := range int(rec.NumRows()) {
			id := rec.Column(0).ValueStr(i)
			require.NotContains(r.t, out, id, "two rows of one key")
			if out[id] = rec.Column(1).ValueStr(i); rec.Column(1).IsNull(i) {
				out[id] = "NULL"
			}
		}
		return nil
	})
	require.NoError(r.t, err)
	return out
}

func (r *rig) load(loc tablefmt.Location) *tablefmt.Snapshot {
	r.t.Helper()
	snap, err := tablefmt.Load(r.t.Context(), loc)
	require.NoError(r.t, err)
	return snap
}

// partitions are the values of the files of a table.
func (r *rig) partitions(loc tablefmt.Location) []string {
	r.t.Helper()
	found := map[string]bool{}
	for add := range r.load(loc).Files() {
		var parts []string
		for _, name := range r.load(loc).PartitionColumns() {
			value := "NULL"
			if v := add.PartitionValues[name]; v != nil {
				value = *v
			}
			parts = append(parts, name+"="+value)
		}
		found[strings.Join(parts, " ")] = true
	}
	return slices.Sorted(maps.Keys(found))
}

var at = time.Date(2024, 1, 31, 23, 30, 0, 0, time.UTC)

func order(id int, region any, at any, note any) cdctest.Row {
	return cdctest.Row{"id": id, "region": region, "at": at, "note": note, "total": "1.50"}
}

// TestPartitions follows rows from partition to partition, by the stream and by
// copies, with nulls, values that no column holds, and values that were not sent.
func TestPartitions(t *testing.T) {
	long := strings.Repeat("long and stored out of line ", 200)
	for _, deletes := range []lakehouse.DeletesMode{lakehouse.DeletesVectors, lakehouse.DeletesRewrite} {
		t.Run(string(deletes), func(t *testing.T) {
			r := newRig(t, orders("t"))
			r.keptAs(lakehouse.TableOptions{
				Modes:       []lakehouse.Mode{lakehouse.ModeMirror, lakehouse.ModeChangelog},
				PartitionBy: []string{"region", "month(at)", "truncate(4, note)"}, Deletes: deletes,
			})
			r.tx(func(tx *cdctest.Tx) error {
				for i, row := range []cdctest.Row{order(0, "north", at, long), order(1, "south/=%ü", at.Add(time.Hour), "b"), order(2, nil, nil, nil), order(3, "north", at, "")} {
					row["id"] = i
					if err := tx.Insert("t", row); err != nil {
						return err
					}
				}
				return nil
			})
			r.catchUp()
			r.same("t")
			require.Equal(t, []string{
				"region=NULL at_month=NULL note_trunc=NULL", "region=north at_month=2024-01 note_trunc=NULL",
				"region=north at_month=2024-01 note_trunc=long", "region=south/=%ü at_month=2024-02 note_trunc=b",
			}, r.partitions(r.mirror("t")))
			require.Equal(t, r.partitions(r.mirror("t")), r.partitions(r.changelog("t")))

			// A row moves; the long note is not sent, and its partition is that of the lake's.
			r.tx(func(tx *cdctest.Tx) error {
				if err := tx.Update("t", cdctest.Row{"id": 0}, cdctest.Row{"region": "south"}); err != nil {
					return err
				}
				if err := tx.Update("t", cdctest.Row{"id": 2}, cdctest.Row{"region": "north"}); err != nil {
					return err
				}
				return tx.Update("t", cdctest.Row{"id": 1}, cdctest.Row{"region": nil, "id": 11})
			})
			r.catchUp()
			r.same("t")
			require.Equal(t, []string{
				"region=NULL at_month=2024-02 note_trunc=b", "region=north at_month=2024-01 note_trunc=NULL",
				"region=north at_month=NULL note_trunc=NULL", "region=south at_month=2024-01 note_trunc=long",
			}, r.partitions(r.mirror("t")))

			// The index is made again from the table, and a copy again from the source.
			r.resync("t")
			r.catchUp()
			r.same("t")
			require.Equal(t, "long", r.column(r.mirror("t"), "note_trunc")["0"])
			snap := r.load(r.mirror("t"))
			require.Equal(t, deletes == lakehouse.DeletesRewrite, snap.Protocol().MinReaderVersion == 1 || !snap.Protocol().Has("deletionVectors"))
			require.True(t, snap.Protocol().Has("generatedColumns"))
			f, _ := snap.Schema().Field("at_month")
			require.Contains(t, f.Metadata, tablefmt.MetaGenerationExpression)
			r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 0}) })
			r.catchUp()
			r.same("t")
		})
	}
}

// TestPartitionOfValueThatNoColumnHolds has rows in the partition of nulls.
func TestPartitionOfValueThatNoColumnHolds(t *testing.T) {
	r := newRig(t, orders("t"))
	r.keptAs(lakehouse.TableOptions{PartitionBy: []string{"total"}})
	r.tx(func(tx *cdctest.Tx) error {
		row := order(1, "x", at, "n")
		row["total"] = cdctest.Exact("NaN")
		return tx.Insert("t", row)
	})
	r.catchUp()
	r.tx(func(tx *cdctest.Tx) error { return tx.Update("t", cdctest.Row{"id": 1}, cdctest.Row{"note": "m"}) })
	r.catchUp()
	r.same("t")
	require.Equal(t, []string{"total=NULL"}, r.partitions(r.mirror("t")))
}

// TestEmptyTextIsNoPartition stops the table, with what to do, in a copy and in the
// stream.
func TestEmptyTextIsNoPartition(t *testing.T) {
	for _, when := range []string{"copied", "streamed"} {
		t.Run(when, func(t *testing.T) {
			r := newRig(t, orders("t"), keyed("u"))
			by := func(partition string) {
				r.options = func(o *lakehouse.Options) {
					o.Table = func(rel *cdc.Relation) (k lakehouse.TableOptions) {
						if rel.Name == "t" {
							k.PartitionBy = []string{partition}
						}
						return k
					}
				}
			}
			by("region")
			insert := func() {
				r.tx(func(tx *cdctest.Tx) error { return tx.Insert("t", order(1, "", at, "n")) })
			}
			if when == "copied" {
				insert()
			}
			r.catchUp()
			if when == "streamed" {
				insert()
			}
			r.insert("u", 0, 3)
			r.catchUp()
			r.same("u")
			st := r.state("t")
			require.Equal(t, lakehouse.PhaseStopped, st.Phase)
			require.Contains(t, st.Reason, `"region"`)
			require.Contains(t, st.Remedy, "truncate(4, region)")

			by("truncate(4, region)")
			r.world.Advance(100)
			r.catchUp()
			r.same("t", "u")
		})
	}
}

func TestOptionsThatDoNotFitAreRefused(t *testing.T) {
	for want, o := range map[string]lakehouse.TableOptions{
		`no column "nope"`:                 {PartitionBy: []string{"month(nope)"}},
		"month(region) does not go with":   {PartitionBy: []string{"month(region)"}},
		`"week" is not known`:              {PartitionBy: []string{"week(at)"}},
		`metadata column "x" is not known`: {Metadata: []lakehouse.MetadataColumn{"x"}},
		"delete: never is not known":       {Delete: "never"},
		"deletes: x is not known":          {Deletes: "x"},
		"all columns are partition":        {PartitionBy: []string{"id", "region", "at", "note", "total"}},
	} {
		r := newRig(t, orders("t"))
		r.keptAs(o)
		err := r.engine(t.Context(), true)
		var e *lakehouse.Error
		require.ErrorAs(t, err, &e, want)
		require.ErrorContains(t, err, want)
		require.NotEmpty(t, e.Hint())

		// The same of a table that is in the lake already changes nothing.
		r.keptAs(lakehouse.TableOptions{})
		r.tx(func(tx *cdctest.Tx) error { return tx.Insert("t", order(1, "x", at, "n")) })
		r.catchUp()
		r.keptAs(o)
		require.ErrorContains(t, r.engine(t.Context(), true), want)
		r.keptAs(lakehouse.TableOptions{})
		r.catchUp()
		require.Equal(t, []string{"public.t"}, r.copied())
		r.same("t")
	}
	for _, mode := range []lakehouse.DeleteMode{lakehouse.DeleteSoft, lakehouse.DeleteIgnore} {
		r := newRig(t, cdctest.TableSpec{Name: "t", Identity: cdc.IdentityFull, Columns: []cdc.Column{cdctest.Int64("id")}})
		r.keptAs(lakehouse.TableOptions{Delete: mode})
		require.ErrorContains(t, r.engine(t.Context(), true), "no key tells which comes back")
	}
	r := newRig(t, cdctest.TableSpec{Name: "t", Key: []string{"id"}, Columns: []cdc.Column{cdctest.Int64("id"), cdctest.Text("_Deleted")}})
	r.keptAs(lakehouse.TableOptions{Delete: lakehouse.DeleteSoft})
	require.ErrorContains(t, r.engine(t.Context(), true), `the source has a column "_deleted"`)
}

// TestPartitionColumnChanges has a table copied again when a column changes by
// which it is partitioned, and stopped where it cannot be partitioned so any more.
func TestPartitionColumnChanges(t *testing.T) {
	for name, c := range map[string]struct {
		change func(tx *cdctest.Tx) error
		reason string
	}{
		"renamed": {func(tx *cdctest.Tx) error { return tx.RenameColumn("t", "region", "area") }, `no column "region"`},
		"dropped": {func(tx *cdctest.Tx) error { return tx.DropColumn("t", "region") }, `no column "region"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, orders("t"))
			r.policy = typemap.Policy{Drop: typemap.Follow}
			r.keptAs(lakehouse.TableOptions{PartitionBy: []string{"truncate(4, region)"}})
			r.tx(func(tx *cdctest.Tx) error { return tx.Insert("t", order(1, "north", at, "n")) })
			r.catchUp()
			r.tx(func(tx *cdctest.Tx) error {
				if err := c.change(tx); err != nil {
					return err
				}
				return tx.Insert("t", cdctest.Row{"id": 2, "at": at})
			})
			require.NoError(t, r.engine(t.Context(), true))
			st := r.state("t")
			require.Equal(t, lakehouse.PhaseStopped, st.Phase)
			require.Contains(t, st.Reason, c.reason)
			require.Contains(t, st.Remedy, "partition_by")
			require.Equal(t, 1, count(r.rows(r.mirror("t"))), "the old content stays")

			r.keptAs(lakehouse.TableOptions{PartitionBy: []string{"month(at)"}})
			r.world.Advance(100)
			r.catchUp()
			r.same("t")
			require.Equal(t, []string{"at_month=2024-01"}, r.partitions(r.mirror("t")))
		})
	}
}

// TestMetadataColumns tells of the loading of each row, in mirror and changelog.
func TestMetadataColumns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.keptAs(lakehouse.TableOptions{
			Modes:    []lakehouse.Mode{lakehouse.ModeMirror, lakehouse.ModeChangelog},
			Metadata: []lakehouse.MetadataColumn{lakehouse.MetadataIngested, lakehouse.MetadataSource},
		})
		r.insert("t", 0, 3)
		r.catchUp()
		first := r.column(r.mirror("t"), "_ingestion_timestamp")
		require.Equal(t, map[string]string{"0": "default", "1": "default", "2": "default"}, r.column(r.mirror("t"), "_source_system"))
		require.Equal(t, first, r.column(r.changelog("t"), "_ingestion_timestamp"))
		require.NotContains(t, slices.Collect(maps.Values(first)), "NULL")

		time.Sleep(time.Hour)
		r.keptAs(lakehouse.TableOptions{SourceSystem: "shop-eu"})
		r.update("t", 1, "new")
		r.catchUp()
		r.same("t")
		require.Equal(t, []string{"public.t"}, r.copied(), "the name needs no copy")
		require.Equal(t, map[string]string{"0": "default", "1": "shop-eu", "2": "default"}, r.column(r.mirror("t"), "_source_system"))
		then := r.column(r.mirror("t"), "_ingestion_timestamp")
		require.Equal(t, first["0"], then["0"])
		require.NotEqual(t, first["1"], then["1"])

		r.keptAs(lakehouse.TableOptions{Metadata: []lakehouse.MetadataColumn{}})
		r.world.Advance(100)
		r.catchUp()
		r.same("t")
		require.Equal(t, []string{"public.t"}, r.copied())
		require.Negative(t, r.load(r.mirror("t")).Schema().Index("_source_system"))
	})
}

// TestSoftDeletes follows keys that go and come back, in one batch and over several,
// with values that were not sent, moved keys, a TRUNCATE and copies.
func TestSoftDeletes(t *testing.T) {
	long := strings.Repeat("stored out of line ", 300)
	for _, o := range []lakehouse.TableOptions{
		{}, {PartitionBy: []string{"truncate(3, region)"}}, {Deletes: lakehouse.DeletesRewrite}, {Deletes: lakehouse.DeletesRewrite, PartitionBy: []string{"bucket(2, id)"}},
	} {
		t.Run(fmt.Sprint(o.Deletes, o.PartitionBy), func(t *testing.T) {
			r := newRig(t, orders("t"))
			o.Delete = lakehouse.DeleteSoft
			r.keptAs(o)
			deleted := func() map[string]string { return r.column(r.mirror("t"), "_deleted") }
			r.tx(func(tx *cdctest.Tx) error {
				for id := range 5 {
					if err := tx.Insert("t", order(id, "north", at, fmt.Sprint(id, long))); err != nil {
						return err
					}
				}
				return nil
			})
			r.catchUp()

			// Deleted as the lake has it; changed, moved and inserted before that.
			r.tx(func(tx *cdctest.Tx) error {
				steps := []error{
					tx.Delete("t", cdctest.Row{"id": 0}),
					tx.Update("t", cdctest.Row{"id": 1}, cdctest.Row{"region": "south"}), // its note is not sent
					tx.Delete("t", cdctest.Row{"id": 1}),
					tx.Update("t", cdctest.Row{"id": 2}, cdctest.Row{"id": 12}),
					tx.Insert("t", order(20, "new", at, "short")),
					tx.Delete("t", cdctest.Row{"id": 20}),
				}
				for _, err := range steps {
					if err != nil {
						return err
					}
				}
				return nil
			})
			r.catchUp()
			r.same("t")
			require.Equal(t, map[string]string{"0": "true", "1": "true", "2": "true", "3": "false", "4": "false", "12": "false", "20": "true"}, deleted())
			require.Equal(t, "south", r.column(r.mirror("t"), "region")["1"])
			notes := r.column(r.mirror("t"), "note")
			require.Equal(t, "0"+long, notes["0"])
			require.Equal(t, "1"+long, notes["1"])
			require.Equal(t, "2"+long, notes["12"])
			when := r.column(r.mirror("t"), "_deleted_at")
			require.Equal(t, "NULL", when["3"])
			require.NotEqual(t, "NULL", when["0"])

			// They come back, and one goes again at once.
			r.tx(func(tx *cdctest.Tx) error {
				if err := tx.Insert("t", order(0, "back", at, "again")); err != nil {
					return err
				}
				if err := tx.Insert("t", order(1, "back", at, "again")); err != nil {
					return err
				}
				return tx.Delete("t", cdctest.Row{"id": 1})
			})
			r.catchUp()
			r.same("t")
			require.Equal(t, map[string]string{"0": "false", "1": "true", "2": "true", "3": "false", "4": "false", "12": "false", "20": "true"}, deleted())
			require.Equal(t, "again", r.column(r.mirror("t"), "note")["1"])

			// A copy keeps them, and finds what went without it.
			r.resync("t")
			r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 4}) })
			r.catchUp()
			r.same("t")
			require.Equal(t, map[string]string{"0": "false", "1": "true", "2": "true", "3": "false", "4": "true", "12": "false", "20": "true"}, deleted())
			require.Equal(t, when["2"], r.column(r.mirror("t"), "_deleted_at")["2"], "when it went is known still")
			require.Equal(t, "4"+long, r.column(r.mirror("t"), "note")["4"])

			// A TRUNCATE in the middle of a batch.
			r.tx(func(tx *cdctest.Tx) error {
				if err := tx.Insert("t", order(30, "x", at, "y")); err != nil {
					return err
				}
				if err := tx.Truncate("t"); err != nil {
					return err
				}
				return tx.Insert("t", order(3, "after", at, "y"))
			})
			r.catchUp()
			r.same("t")
			require.Equal(t, map[string]string{"0": "true", "1": "true", "2": "true", "3": "false", "4": "true", "12": "true", "20": "true", "30": "true"}, deleted())
			require.Equal(t, when["2"], r.column(r.mirror("t"), "_deleted_at")["2"])
			require.Equal(t, "2"+long, r.column(r.mirror("t"), "note")["2"])

			// A key that is kept as deleted is one that is not there.
			r.tx(func(tx *cdctest.Tx) error { return tx.Insert("t", order(0, "z", at, "z")) })
			r.catchUp()
			r.same("t")
			require.Equal(t, "false", deleted()["0"])

			// Hard deletes drop them.
			o.Delete = lakehouse.DeleteHard
			r.keptAs(o)
			r.world.Advance(100)
			r.catchUp()
			r.same("t")
			require.Equal(t, 2, len(r.column(r.mirror("t"), "id")))
		})
	}
}

// TestIgnoredDeletes keeps rows as they were.
func TestIgnoredDeletes(t *testing.T) {
	r := newRig(t, keyed("t"))
	r.keptAs(lakehouse.TableOptions{Delete: lakehouse.DeleteIgnore})
	r.insert("t", 0, 4)
	r.catchUp()
	r.tx(func(tx *cdctest.Tx) error {
		for _, err := range []error{
			tx.Delete("t", cdctest.Row{"id": 0}),
			tx.Update("t", cdctest.Row{"id": 1}, cdctest.Row{"v": "last"}),
			tx.Delete("t", cdctest.Row{"id": 1}),
			tx.Update("t", cdctest.Row{"id": 2}, cdctest.Row{"id": 12}),
			tx.Insert("t", cdctest.Row{"id": 20, "v": "short"}),
			tx.Delete("t", cdctest.Row{"id": 20}),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	r.catchUp()
	want := map[string]string{"0": "v0", "1": "last", "2": "v2", "3": "v3", "12": "v2", "20": "short"}
	require.Equal(t, want, r.column(r.mirror("t"), "v"))
	r.tx(func(tx *cdctest.Tx) error { return tx.Truncate("t") })
	r.insert("t", 0, 1)
	r.tx(func(tx *cdctest.Tx) error { return tx.Update("t", cdctest.Row{"id": 0}, cdctest.Row{"v": "back"}) })
	r.catchUp()
	want["0"] = "back"
	require.Equal(t, want, r.column(r.mirror("t"), "v"))
	r.resync("t")
	r.catchUp()
	require.Equal(t, want, r.column(r.mirror("t"), "v"))
	require.Empty(t, r.stopped())
}

// TestKeptRowsAreNoDifference compares source and lake where the lake keeps more.
func TestKeptRowsAreNoDifference(t *testing.T) {
	for _, mode := range []lakehouse.DeleteMode{lakehouse.DeleteSoft, lakehouse.DeleteIgnore} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRig(t, orders("t"))
			r.keptAs(lakehouse.TableOptions{
				Delete: mode, PartitionBy: []string{"bucket(4, id)", "region"},
				Metadata: []lakehouse.MetadataColumn{lakehouse.MetadataIngested, lakehouse.MetadataSource},
			})
			r.tx(func(tx *cdctest.Tx) error {
				for id := range 30 {
					if err := tx.Insert("t", order(id, fmt.Sprint("r", id%3), at, "n")); err != nil {
						return err
					}
				}
				return nil
			})
			r.catchUp()
			r.tx(func(tx *cdctest.Tx) error {
				for id := range 10 {
					if err := tx.Delete("t", cdctest.Row{"id": id}); err != nil {
						return err
					}
				}
				return nil
			})
			r.catchUp()
			audit := func() *lakehouse.AuditResult {
				src := r.world.Source()
				snap, err := src.Snapshot(t.Context())
				require.NoError(t, err)
				a := lakehouse.Audit{Relation: r.world.Relation("t", r.world.Head()), Source: snap, Lake: r.load(r.mirror("t"))}
				result, err := a.Run(t.Context())
				require.NoError(t, err)
				require.NoError(t, snap.Close())
				require.NoError(t, src.Close())
				return result
			}
			result := audit()
			require.True(t, result.Equal, "%+v", result)

			// Rows that the lake lacks, or has otherwise, are differences still.
			r.tx(func(tx *cdctest.Tx) error {
				if err := tx.Insert("t", order(5, "r1", at, "back")); err != nil {
					return err
				}
				return tx.Update("t", cdctest.Row{"id": 15}, cdctest.Row{"note": "changed"})
			})
			result = audit()
			require.False(t, result.Equal)
			require.Len(t, result.Differences, 2)
			for _, d := range result.Differences {
				require.Len(t, d.Source, 1)
			}
		})
	}
}

// TestRewriteLeavesNoVectors deletes by writing files anew, also rows of a table
// without a key, and finds each row again after a restart.
func TestRewriteLeavesNoVectors(t *testing.T) {
	r := newRig(t, keyed("t"), cdctest.TableSpec{Name: "bag", Identity: cdc.IdentityFull, Columns: []cdc.Column{cdctest.Int64("id"), cdctest.Text("v")}})
	r.keptAs(lakehouse.TableOptions{Deletes: lakehouse.DeletesRewrite})
	r.insert("t", 0, 100)
	for range 3 {
		r.insert("bag", 0, 20)
	}
	r.catchUp()
	for round := range 4 {
		r.tx(func(tx *cdctest.Tx) error {
			for id := round * 5; id < round*5+5; id++ {
				if err := tx.Delete("t", cdctest.Row{"id": id}); err != nil {
					return err
				}
				row := cdctest.Row{"id": id, "v": fmt.Sprint("v", id)}
				if err := tx.Delete("bag", row); err != nil {
					return err
				}
				if err := tx.Update("bag", row, cdctest.Row{"id": id, "v": "v0"}); err != nil {
					return err
				}
			}
			if err := tx.Insert("t", cdctest.Row{"id": round * 5, "v": "again"}); err != nil {
				return err
			}
			return tx.Update("t", cdctest.Row{"id": 50}, cdctest.Row{"v": fmt.Sprint("round", round)})
		})
		r.catchUp()
		r.same("t", "bag")
		for _, table := range []string{"t", "bag"} {
			snap := r.load(r.mirror(table))
			require.False(t, snap.Protocol().Has("deletionVectors"))
			require.Equal(t, 1, snap.Protocol().MinReaderVersion)
			for add := range snap.Files() {
				require.Nil(t, add.DeletionVector)
			}
		}
	}
	// And back.
	r.keptAs(lakehouse.TableOptions{Deletes: lakehouse.DeletesVectors})
	r.world.Advance(100)
	r.catchUp()
	r.update("t", 60, "by a vector")
	r.catchUp()
	r.same("t", "bag")
	require.True(t, r.load(r.mirror("t")).Protocol().Has("deletionVectors"))
}

// TestRowsOfFilesWrittenAnewAreFoundAgain changes rows of a file that was written
// anew by the flush before.
func TestRowsOfFilesWrittenAnewAreFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), cdctest.TableSpec{Name: "bag", Identity: cdc.IdentityFull, Columns: []cdc.Column{cdctest.Int64("id"), cdctest.Text("v")}})
		r.keptAs(lakehouse.TableOptions{Deletes: lakehouse.DeletesRewrite})
		r.insert("t", 0, 50)
		for range 3 {
			r.insert("bag", 0, 20)
		}
		stop := r.start()
		for id := range 20 {
			row := cdctest.Row{"id": id, "v": fmt.Sprint("v", id)}
			r.tx(func(tx *cdctest.Tx) error {
				if err := tx.Delete("t", row); err != nil {
					return err
				}
				if err := tx.Update("t", cdctest.Row{"id": 20 + id}, cdctest.Row{"v": "new"}); err != nil {
					return err
				}
				return tx.Delete("bag", row)
			})
			time.Sleep(5 * time.Second) // it is flushed
		}
		require.NoError(t, stop())
		require.Empty(t, r.stopped())
		r.same("t", "bag")
	})
}

// TestKeysSwapInOneTransaction has two rows take each other's keys.
func TestKeysSwapInOneTransaction(t *testing.T) {
	for _, mode := range []lakehouse.DeleteMode{lakehouse.DeleteHard, lakehouse.DeleteSoft, lakehouse.DeleteIgnore} {
		t.Run(string(mode), func(t *testing.T) {
			long := strings.Repeat("out of line ", 300)
			r := newRig(t, orders("t"))
			r.keptAs(lakehouse.TableOptions{Delete: mode, PartitionBy: []string{"region"}})
			r.tx(func(tx *cdctest.Tx) error {
				if err := tx.Insert("t", order(1, "a", at, "one "+long)); err != nil {
					return err
				}
				return tx.Insert("t", order(2, "b", at, "two "+long))
			})
			r.catchUp()
			r.tx(func(tx *cdctest.Tx) error {
				for _, move := range [][2]int{{1, 3}, {2, 1}, {3, 2}} {
					if err := tx.Update("t", cdctest.Row{"id": move[0]}, cdctest.Row{"id": move[1]}); err != nil {
						return err
					}
				}
				return nil
			})
			r.catchUp()
			notes := r.column(r.mirror("t"), "note")
			require.Equal(t, "two "+long, notes["1"])
			require.Equal(t, "one "+long, notes["2"])
			if mode != lakehouse.DeleteIgnore {
				r.same("t")
			}
			if mode != lakehouse.DeleteHard {
				require.Equal(t, "one "+long, notes["3"])
			}
		})
	}
}

// TestKeptRowsAreMaskedToo: what a table keeps though its source has deleted it is
// masked when the rest is, and is not known any more where it was masked otherwise.
func TestKeptRowsAreMaskedToo(t *testing.T) {
	for _, mode := range []lakehouse.DeleteMode{lakehouse.DeleteSoft, lakehouse.DeleteIgnore} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRig(t, people())
			masked := func(masks ...string) {
				r.masked(maskSalt, masks...)
				r.tableOptions(func(_ *cdc.Relation, o *lakehouse.TableOptions) { o.Delete = mode })
			}
			for id := range 4 {
				r.person("p", id)
			}
			masked()
			r.catchUp()
			r.tx(func(tx *cdctest.Tx) error {
				if err := tx.Delete("p", cdctest.Row{"id": personRow(3)["id"]}); err != nil { // its pay is an exact text
					return err
				}
				return tx.Delete("p", cdctest.Row{"id": personRow(1)["id"]})
			})
			r.catchUp()
			require.Len(t, r.column(r.mirror("p"), "v"), 4)
			// The key is masked, too: which rows the copy has is still known.
			masked(personMasks...)
			r.world.Advance(100)
			r.catchUp()
			require.Empty(t, r.stopped())
			require.Len(t, r.column(r.mirror("p"), "v"), 4)
			for name, clear := range map[string]func(id int) string{
				"email": func(id int) string { return personRow(id)["email"].(string) },
				"pay":   func(id int) string { return fmt.Sprint(personRow(id)["pay"]) },
			} {
				want := map[string]string{}
				for id := range 4 {
					want[hashed(personRow(id)["id"].(string))] = hashed(clear(id))
				}
				require.Equal(t, want, r.column(r.mirror("p"), name), name)
			}
			// Another mask: of what is gone the first one has left too little, or too much.
			masked("phone drop", "email truncate(3)", "id hash", "pay hash")
			r.world.Advance(100)
			r.catchUp()
			emails := r.column(r.mirror("p"), "email")
			require.Equal(t, "sec", emails[hashed("secret-id-0")])
			require.Equal(t, "NULL", emails[hashed("secret-id-1")])
			require.Equal(t, hashed(fmt.Sprint(personRow(1)["pay"])), r.column(r.mirror("p"), "pay")[hashed("secret-id-1")])
			// Without its mask nobody knows what the rows' keys were.
			masked("phone drop")
			r.catchUp()
			r.stopped()
			r.resync("p")
			r.catchUp()
			require.Equal(t, []string{"public.p"}, r.stopped())
			require.Contains(t, r.state("p").Reason, "cannot be carried over")
		})
	}
}

// TestRepairDoesNotMixMasks: rows that a table keeps, masked, are not kept beside
// rows that are masked otherwise, which a copy would refuse.
func TestRepairDoesNotMixMasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, people(), keyed("other"))
		masked := func(masks ...string) {
			r.masked(maskSalt, masks...)
			r.tableOptions(func(_ *cdc.Relation, o *lakehouse.TableOptions) { o.Delete = lakehouse.DeleteSoft })
		}
		for id := range 4 {
			r.person("p", id)
		}
		masked("phone drop", "email hash", "id hash")
		r.catchUp()
		r.tx(func(tx *cdctest.Tx) error { return tx.Delete("p", cdctest.Row{"id": personRow(1)["id"]}) })
		r.catchUp()
		masked("phone drop")
		r.catchUp()
		r.stopped()
		r.resync("p")
		r.catchUp()
		require.Equal(t, []string{"public.p"}, r.stopped())
		require.Contains(t, r.state("p").Reason, "cannot be carried over")
		shown := r.rows(r.mirror("p"))
		require.Len(t, shown, 3)
		kept := r.column(r.mirror("p"), "v")
		require.Len(t, kept, 4)

		stop := r.start()
		_, err := r.engineNow().Repair(t.Context(), "public.p", lakehouse.RepairOptions{})
		require.ErrorIs(t, err, lakehouse.ErrNotRepaired)
		require.ErrorContains(t, err, "cannot be carried over")
		require.NoError(t, stop())
		require.Equal(t, shown, r.rows(r.mirror("p")))
		require.Equal(t, kept, r.column(r.mirror("p"), "v"))
		require.Equal(t, lakehouse.PhaseStopped, r.state("p").Phase)
		r.stopped()
	})
}

// TestACopyByRangesThatCannotBePublishedStopsItsTable, and not the others: rows that
// are kept do not fit, or a changelog cannot have the type that a column has now.
func TestACopyByRangesThatCannotBePublishedStopsItsTable(t *testing.T) {
	for reason, kept := range map[string]lakehouse.TableOptions{
		`column "n" was of type string and is of type long`:      {Delete: lakehouse.DeleteSoft},
		`column "n" cannot turn from string to long while files`: {Modes: []lakehouse.Mode{lakehouse.ModeMirror, lakehouse.ModeChangelog}},
	} {
		r := newRigOf(t, cdctest.Options{Seed: 1, MaxRows: 40, KeyRows: 10}, cdctest.TableSpec{
			Name: "t", Key: []string{"id"}, Columns: []cdc.Column{cdctest.Int64("id"), cdctest.Int64("n")},
		}, keyed("other"))
		for id := range 40 {
			r.tx(func(tx *cdctest.Tx) error { return tx.Insert("t", cdctest.Row{"id": id, "n": id}) })
		}
		keep := func(masks ...string) {
			r.masked(maskSalt, masks...)
			r.tableOptions(func(rel *cdc.Relation, o *lakehouse.TableOptions) {
				if rel.Name == "t" {
					o.Delete, o.Modes = kept.Delete, kept.Modes
				}
			})
		}
		keep("n hash")
		r.catchUp()
		r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 3}) })
		r.catchUp()
		keep()
		r.catchUp()
		r.stopped()
		r.world.Advance(100)
		r.resync("t")
		r.insert("other", 1, 5)
		r.catchUp()
		require.Equal(t, []string{"public.t"}, r.stopped())
		require.Contains(t, r.state("t").Reason, reason)
		r.same("other")
		r.insert("other", 5, 9)
		r.catchUp()
		r.same("other")
	}
}
