package lakehouse_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
)

// Somebody gives a mirror's columns other names in files, or allows that types
// widen: the table stops before a row is written under a name that is not its
// own, and another one goes on.
func TestMirrorsThatSomebodyMaps(t *testing.T) {
	for feature, property := range map[string]string{"columnMapping": tablefmt.PropMappingMode + "=name", "typeWidening": tablefmt.PropTypeWidening + "=true"} {
		t.Run(feature, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"), keyed("u"))
				r.insert("t", 0, 20)
				r.insert("u", 0, 20)
				r.catchUp()
				schema := r.load(r.mirror("t")).Schema()
				mapped := r.keepOtherwise("t", func(m *tablefmt.Metadata) {
					key, value, _ := strings.Cut(property, "=")
					m.Configuration[key] = value
					require.NoError(t, m.SetSchema(schema))
				}, feature)

				r.insert("t", 20, 25)
				r.insert("u", 20, 25)
				r.catchUp()
				require.Contains(t, r.state("t").Reason, feature)
				r.same("u")
				now := r.load(r.mirror("t"))
				require.Equal(t, mapped.Version(), now.Version(), "nothing was written")
				r.staysStopped("t")
				r.resync("t")
				r.catchUp()
				require.Contains(t, r.state("t").Reason, feature, "the copy would have to become a version of that table")
			})
		})
	}
}

// kept are ways in which somebody else may have a table kept otherwise, none of
// which changes a row or a column.
var kept = map[string]struct {
	features string // that the table needs, by spaces
	property string // name=value
	change   func(m *tablefmt.Metadata)
}{
	"how long versions are kept": {property: tablefmt.PropLogRetention + "=interval 7 days"},
	"the size of files":          {property: tablefmt.PropTargetSize + "=1mb"},
	"columns with statistics":    {property: tablefmt.PropStatsNumColumns + "=1"},
	"a property of others":       {property: "owner=somebody"},
	"commit times":               {features: "inCommitTimestamp", property: tablefmt.PropInCommitTimestamps + "=true"},
	"checkpoints":                {features: "v2Checkpoint", property: tablefmt.PropCheckpointPolicy + "=v2"},
	"no deletion vectors":        {property: tablefmt.PropDeletionVectors + "=false"},
	"a constraint":               {features: "checkConstraints", property: "delta.constraints.c=id IS NULL OR id > -1000"},
	"a change feed":              {features: "changeDataFeed", property: tablefmt.PropChangeDataFeed + "=true"},
	"a description":              {change: func(m *tablefmt.Metadata) { m.Description = "rows" }},
	"a column's comment": {change: func(m *tablefmt.Metadata) {
		m.SchemaString = strings.Replace(m.SchemaString, `"name":"v","type":"string","nullable":true,"metadata":{`, `"name":"v","type":"string","nullable":true,"metadata":{"comment":"text",`, 1)
	}},
}

// Somebody says how a table is to be kept, with the engine at rest or running: it
// goes on, as it was told to, also through a resync.
func TestTablesThatSomebodyKeepsOtherwise(t *testing.T) {
	for name, k := range kept {
		for _, running := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, running %t", name, running), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, keyed("t"), keyed("u"))
					r.bothModes()
					r.insert("t", 0, 20)
					stop := func() error { return nil }
					if running {
						stop = r.start()
					} else {
						r.catchUp()
					}
					step := func(change func()) {
						t.Helper()
						change()
						if running {
							settle()
						} else {
							r.catchUp()
						}
						require.Empty(t, r.stopped())
						r.same("t")
						played, _ := r.played("t")
						require.Equal(t, r.rows(r.mirror("t")), played)
					}
					want := map[string]*tablefmt.Metadata{}
					step(func() {
						for _, loc := range []tablefmt.Location{r.mirror("t"), r.changelog("t")} {
							s := r.load(loc)
							if name, expression, ok := strings.Cut(strings.TrimPrefix(k.property, "delta.constraints."), "="); ok && k.features == "checkConstraints" {
								next, err := tablefmt.AddConstraint(t.Context(), s, name, expression)
								require.NoError(t, err)
								want[loc.Data.URL()] = next.Metadata()
								continue
							}
							want[loc.Data.URL()] = r.keepAt(loc, func(m *tablefmt.Metadata) {
								if property, value, ok := strings.Cut(k.property, "="); ok {
									m.Configuration[property] = value
								}
								if k.change != nil {
									k.change(m)
								}
								require.NotEqual(t, s.Metadata(), m)
							}, strings.Fields(k.features)...).Metadata()
						}
					})
					same := func() {
						t.Helper()
						for _, loc := range []tablefmt.Location{r.mirror("t"), r.changelog("t")} {
							s := r.load(loc)
							require.Equal(t, want[loc.Data.URL()], s.Metadata())
							for _, f := range strings.Fields(k.features) {
								require.True(t, s.Protocol().Has(f), f)
							}
						}
					}
					step(func() { r.update("t", 3, "changed") })
					step(func() {
						r.insert("t", 30, 33)
						r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 5}) })
						r.update("t", 31, "changed")
					})
					same()
					step(func() {
						if running {
							r.act("t", lakehouse.ActionResync)
						} else {
							r.resync("t")
						}
					})
					same()
					step(func() { r.update("t", 7, "changed") })
					require.NoError(t, stop())
				})
			})
		}
	}
}

// What somebody asks of a mirror's files counts more than what the engine was told.
func TestFilesAreCutAsTheTableAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 3)
		r.catchUp()
		sizes := func(first int) (n int) {
			r.t.Helper()
			before := r.load(r.mirror("t"))
			for part := range 4 { // so many commits are one flush, and several batches
				r.tx(func(tx *cdctest.Tx) error {
					for i := range 250 {
						noise := fmt.Sprintf("%x", rand.Uint64())
						if err := tx.Insert("t", cdctest.Row{"id": first + 250*part + i, "v": noise}); err != nil {
							return err
						}
					}
					return nil
				})
			}
			r.catchUp()
			r.same("t")
			now := r.load(r.mirror("t"))
			return int(now.NumFiles() - before.NumFiles())
		}
		require.Equal(t, 1, sizes(1000))
		r.keepOtherwise("t", func(m *tablefmt.Metadata) { m.Configuration[tablefmt.PropTargetSize] = "4kb" })
		require.Greater(t, sizes(5000), 1)
	})
}

// What somebody asks of a mirror that it cannot be stops it, and nothing else; what
// is its nature a copy makes so again.
func TestAMirrorThatMayOnlyBeAddedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 20)
		r.catchUp()
		r.keepOtherwise("t", func(m *tablefmt.Metadata) { m.Configuration[tablefmt.PropAppendOnly] = "true" })
		r.insert("t", 20, 25)
		r.catchUp()
		r.same("t")
		r.insert("u", 0, 5)
		r.update("t", 3, "changed")
		r.catchUp()
		r.same("u")
		require.Contains(t, r.state("t").Reason, tablefmt.PropAppendOnly)
		require.Equal(t, lakehouse.PhaseStopped, r.state("t").Phase)
		r.mend("t")
		r.update("t", 4, "changed")
		r.catchUp()
		r.same("t")
	})
}

// A row that breaks a rule which somebody has given the lake's table stops it, and
// so does one that a copy has read, also where the copy was cut off and goes on.
func TestARuleOfTheLakesTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRangeRig(t)
		r.catchUp()
		snap := r.load(r.mirror("t"))
		_, err := tablefmt.AddConstraint(t.Context(), snap, "positive", "id >= 0")
		require.NoError(t, err)
		r.update("t", 3, "changed")
		r.catchUp()
		r.same("t")
		r.insert("other", 0, 1)
		r.insert("t", -1, 0)
		r.catchUp()
		require.Contains(t, r.state("t").Reason, `the CHECK constraint "positive"`)
		require.Contains(t, r.state("t").Remedy, "DROP CONSTRAINT")
		require.Equal(t, lakehouse.PhaseStopped, r.state("t").Phase)
		held := r.rows(r.mirror("t"))
		r.resync("t")
		r.catchUp()
		require.Contains(t, r.state("t").Reason, `the CHECK constraint "positive"`)
		require.Equal(t, held, r.rows(r.mirror("t")), "the old content stays readable")
		r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": -1}) })
		r.resync("t")
		r.cutOffCopy(s)
		r.catchUp()
		r.same("t", "other")
		require.Equal(t, lakehouse.PhaseLive, r.state("t").Phase)
	})
}

// keepOtherwise has somebody else change a mirror's metadata, for which the table
// lists features.
func (r *rig) keepOtherwise(table string, change func(m *tablefmt.Metadata), features ...string) *tablefmt.Snapshot {
	r.t.Helper()
	return r.keepAt(r.mirror(table), change, features...)
}

// keepAt is keepOtherwise for any table.
func (r *rig) keepAt(loc tablefmt.Location, change func(m *tablefmt.Metadata), features ...string) *tablefmt.Snapshot {
	r.t.Helper()
	s := r.load(loc)
	x, m := tablefmt.Begin(loc, s), s.Metadata().Clone()
	change(m)
	x.SetMetadata(m)
	if features = slices.DeleteFunc(features, s.Protocol().Has); len(features) > 0 {
		p, err := s.Protocol().With(features...)
		require.NoError(r.t, err)
		x.SetProtocol(p)
	}
	s, err := x.Commit(r.t.Context())
	require.NoError(r.t, err)
	return s
}
