package lakehouse_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore/faultstore"
)

// dataFiles are the data files of a mirror's newest version.
func (r *rig) dataFiles(table string) (paths []string) {
	r.t.Helper()
	s := r.load(r.mirror(table))
	for add := range s.Files() {
		path, err := add.DataPath()
		require.NoError(r.t, err)
		paths = append(paths, path)
	}
	return paths
}

// Somebody packs a table that is idle, and vacuums it: the engine knows of neither
// before the next change needs a file that is gone.
func TestFilesThatAreGoneFromTheVersionThatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.tableOptionsOf(lakehouse.TableOptions{ChangeFeed: lakehouse.FeedOn})
		r.insert("t", 0, 20)
		stop := r.start()
		old := r.dataFiles("t")
		rewrite(r, "t")
		for _, path := range old {
			require.NoError(t, r.mirror("t").Data.Delete(t.Context(), path))
		}
		r.update("t", 3, "changed")
		r.insert("u", 0, 3)
		settle()
		require.Empty(t, r.stopped())
		r.same("t", "u")

		for _, path := range r.dataFiles("t") { // now it is damaged
			require.NoError(t, r.mirror("t").Data.Delete(t.Context(), path))
		}
		r.update("t", 4, "changed")
		r.insert("u", 3, 6)
		settle()
		require.Equal(t, []string{"public.t"}, r.stopped())
		r.same("u")
		require.NoError(t, stop())
	})
}

// Of a table whose rows have ids that stay, a change that changes nothing is told as
// one: a commit that has only moved rows would have to carry the ids.
func TestAChangeOfNothingWhereRowsHaveIDs(t *testing.T) {
	for name, spec := range map[string]cdctest.TableSpec{
		"a key": keyed("t"), "no key": bag("t"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, spec, keyed("u"))
				r.tableOptionsOf(lakehouse.TableOptions{ChangeFeed: lakehouse.FeedOn})
				r.catchUp()
				s := r.keepOtherwise("t", func(m *tablefmt.Metadata) { m.Configuration[tablefmt.PropRowTracking] = "true" }, "rowTracking", "domainMetadata")
				require.True(t, s.TracksRows())
				r.insert("t", 0, 20)
				r.catchUp()
				for range 2 {
					r.tx(func(tx *cdctest.Tx) error {
						return tx.Update("t", cdctest.Row{"id": 3, "v": "v3"}, cdctest.Row{"v": "v3"})
					})
					r.catchUp()
					r.same("t")
					require.Empty(t, r.stopped())
					r.resync("t")
					r.catchUp()
					r.same("t")
					require.Empty(t, r.stopped())
				}
				s = r.load(r.mirror("t"))
				require.True(t, s.TracksRows())
				checkFeed(t, r.mirror("t"), 2)
			})
		})
	}
}

// What others do to a table while its copy is being published does not cost the copy.
func TestACopyIsPublishedOverWhatOthersDoMeanwhile(t *testing.T) {
	for how, spec := range map[string]cdctest.TableSpec{"by ranges": keyed("t"), "under a snapshot": bag("t")} {
		for what, others := range map[string]func(r *rig){
			"a property":  func(r *rig) { r.keepOtherwise("t", func(m *tablefmt.Metadata) { m.Configuration["team"] = "orders" }) },
			"a comment":   func(r *rig) { r.keepOtherwise("t", func(m *tablefmt.Metadata) { m.Description = "rows" }) },
			"other files": func(r *rig) { rewrite(r, "t") },
			"other rows":  func(r *rig) { removeFiles(r, "t") },
			"no vectors": func(r *rig) {
				r.keepOtherwise("t", func(m *tablefmt.Metadata) { m.Configuration[tablefmt.PropDeletionVectors] = "false" })
			},
			"nothing more": func(*rig) {},
		} {
			t.Run(how+", "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, spec, keyed("u"))
					r.insert("t", 0, 20)
					r.catchUp()
					r.resync("t")
					r.insert("t", 20, 25)
					var wanted *tablefmt.Metadata
					crashpoint.Set(func(p crashpoint.Point) {
						if p != crashpoint.CopyBeforeSwap || wanted != nil {
							return
						}
						others(r)
						s := r.load(r.mirror("t"))
						wanted = s.Metadata()
					})
					defer crashpoint.Set(nil)
					r.copied()
					r.catchUp()
					require.Equal(t, []string{"public.t"}, r.copied())
					require.Empty(t, r.stopped())
					r.same("t")
					s := r.load(r.mirror("t"))
					require.Equal(t, wanted, s.Metadata())
					r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 7, "v": "v7"}) })
					r.catchUp()
					r.same("t")
				})
			})
		}
	}
}

// A log from which somebody has cleaned away what others did to the table proves
// nothing any more: that table stops, and no other.
func TestALogThatDoesNotTellWhatOthersDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 20)
		r.catchUp()
		for i := range 3 {
			r.keepOtherwise("t", func(m *tablefmt.Metadata) { m.Configuration["round"] = fmt.Sprint(i) })
		}
		s := r.load(r.mirror("t"))
		require.NoError(t, tablefmt.Checkpoint(t.Context(), s))
		for v := range s.Version() {
			require.NoError(t, r.mirror("t").Data.Delete(t.Context(), fmt.Sprintf("_delta_log/%020d.json", v)))
		}
		r.insert("u", 0, 3)
		r.catchUp()
		require.Contains(t, r.state("t").Reason, "does not tell any more")
		r.staysStopped("t")
		r.same("u")
		r.mend("t")
	})
}

// Somebody was faster, and who it was cannot be read just then: that is no change of
// rows, and the commit is judged once it can be read.
func TestAWinnerThatCannotBeReadInPassing(t *testing.T) {
	for what, others := range map[string]func(r *rig){
		"a property": func(r *rig) { r.keepOtherwise("t", func(m *tablefmt.Metadata) { m.Configuration["team"] = "orders" }) },
		"rows":       func(r *rig) { removeFiles(r, "t") },
	} {
		for _, fresh := range []bool{true, false} { // no epoch has seen the copy
			t.Run(fmt.Sprintf("%s, fresh %t", what, fresh), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, keyed("t"), keyed("u"))
					faults := r.inject()
					r.insert("t", 0, 10)
					stop := r.start()
					if !fresh {
						r.update("t", 1, "changed")
						settle()
					}
					others(r)
					require.NoError(t, faults.SetRules(faultstore.Rule{Op: faultstore.OpGet, Path: "public/t/_delta_log/*.json", Transient: true, Nth: 2, Count: 30}))
					r.update("t", 3, "changed")
					r.insert("u", 0, 3)
					time.Sleep(10 * time.Minute)
					require.NotZero(t, faults.Hits()[0])
					r.same("u")
					if what == "rows" {
						require.Equal(t, []string{"public.t"}, r.stopped())
					} else {
						require.Empty(t, r.stopped())
						r.same("t")
					}
					require.NoError(t, stop())
				})
			})
		}
	}
}

// Somebody has packed a table, and the first thing that follows changes its columns.
func TestAChangeOfColumnsAfterSomebodyHasPackedTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 20)
		stop := r.start()
		rewrite(r, "t")
		r.tx(func(tx *cdctest.Tx) error { return tx.AddColumn("t", cdctest.Int64("n"), nil) })
		r.tx(func(tx *cdctest.Tx) error { return tx.Insert("t", cdctest.Row{"id": 100, "n": 5}) })
		settle()
		require.Empty(t, r.stopped())
		r.same("t")
		require.NoError(t, stop())
	})
}

// What somebody has asked of columns ends with the columns: a resync does not fail for it.
func TestResyncWhereSomebodyNamedAColumnThatIsGone(t *testing.T) {
	for name, named := range map[string]func(r *rig){
		"statistics": func(r *rig) {
			r.keepOtherwise("t", func(m *tablefmt.Metadata) { m.Configuration[tablefmt.PropStatsColumns] = "id,v" })
		},
		"clustering": func(r *rig) { r.cluster("t", "v", "") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"), keyed("u"))
				r.policy.Drop = "drop"
				r.insert("t", 0, 20)
				r.catchUp()
				named(r)
				r.update("t", 3, "changed")
				r.catchUp()
				r.same("t")
				r.tx(func(tx *cdctest.Tx) error { return tx.DropColumn("t", "v") })
				r.tx(func(tx *cdctest.Tx) error { return tx.Insert("t", cdctest.Row{"id": 100}) })
				r.resync("t")
				r.catchUp()
				r.same("t")
				require.Empty(t, r.stopped())
				r.tx(func(tx *cdctest.Tx) error { return tx.Insert("t", cdctest.Row{"id": 101}) })
				r.catchUp()
				r.same("t")
			})
		})
	}
}

// The files of a copy have the statistics that a clustered table needs, whatever its
// properties say of others.
func TestACopyOfAClusteredTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 20)
		r.catchUp()
		r.cluster("t", "v", "0")
		r.resync("t")
		r.catchUp()
		r.same("t")
		require.Empty(t, r.stopped())
		s := r.load(r.mirror("t"))
		columns, err := s.ClusteringColumns()
		require.NoError(t, err)
		require.Equal(t, [][]string{{"v"}}, columns)
	})
}

// cluster has somebody else cluster a mirror by a column; stats is how many columns
// have statistics besides.
func (r *rig) cluster(table, column, stats string) {
	r.t.Helper()
	s := r.load(r.mirror(table))
	p, err := s.Protocol().With("clustering", "domainMetadata")
	require.NoError(r.t, err)
	x := tablefmt.Begin(r.mirror(table), s)
	x.SetProtocol(p)
	x.SetClustering([][]string{{column}})
	if stats != "" {
		m := s.Metadata().Clone()
		m.Configuration[tablefmt.PropStatsNumColumns] = stats
		x.SetMetadata(m)
	}
	_, err = x.Commit(r.t.Context())
	require.NoError(r.t, err)
}

// How rows go from a mirror's files the options say, and where they do not, whoever
// tends the table.
func TestWhoSaysHowRowsGo(t *testing.T) {
	for _, c := range []struct {
		option lakehouse.DeletesMode
		said   string // by somebody else
		want   string // the property's value after it
	}{
		{"", "false", "false"},
		{"", "true", "true"},
		{lakehouse.DeletesVectors, "false", "true"},
		{lakehouse.DeletesRewrite, "true", ""},
		{lakehouse.DeletesRewrite, "false", "false"},
	} {
		for _, later := range []bool{false, true} { // the option is written when the table is there
			t.Run(fmt.Sprintf("%s and %s, later %t", c.option, c.said, later), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, keyed("t"), keyed("u"))
					if !later {
						r.tableOptionsOf(lakehouse.TableOptions{Deletes: c.option})
					}
					r.insert("t", 0, 20)
					r.catchUp()
					if later {
						r.tableOptionsOf(lakehouse.TableOptions{Deletes: c.option})
						r.catchUp()
					}
					r.keepOtherwise("t", func(m *tablefmt.Metadata) { m.Configuration[tablefmt.PropDeletionVectors] = c.said }, "deletionVectors")
					for i := range 3 {
						r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": i}) })
						r.catchUp()
						r.same("t")
						s := r.load(r.mirror("t"))
						require.Equal(t, c.want, s.Property(tablefmt.PropDeletionVectors))
						for add := range s.Files() {
							require.Equal(t, c.want == "true", add.DeletionVector != nil)
						}
						if i == 1 {
							r.resync("t")
							r.catchUp()
						}
					}
					require.Empty(t, r.stopped())
				})
			})
		}
	}
}

// A table goes on from its cut, without a copy, once the rule is gone that a row broke.
func TestARuleThatIsDroppedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 20)
		r.catchUp()
		s := r.load(r.mirror("t"))
		_, err := tablefmt.AddConstraint(t.Context(), s, "short", "length(v) < 5")
		require.NoError(t, err)
		stop := r.start()
		r.copied()
		r.update("t", 3, "rather long")
		r.insert("u", 0, 3)
		settle()
		require.Equal(t, []string{"public.t"}, r.stopped())
		require.Contains(t, r.state("t").Remedy, "DROP CONSTRAINT")
		r.insert("u", 3, 6)
		settle()
		r.same("u")
		r.keepOtherwise("t", func(m *tablefmt.Metadata) {
			for k := range m.Configuration {
				if strings.HasPrefix(k, "delta.constraints.") {
					delete(m.Configuration, k)
				}
			}
		})
		r.act("t", lakehouse.ActionResume)
		settle()
		r.same("t", "u")
		require.Empty(t, r.copied())
		require.NoError(t, stop())
	})
}

// What another program does to a table's rows is undone where the policy says so, with
// the engine at rest or running.
func TestForeignChangesAreUndone(t *testing.T) {
	for name, foreign := range map[string]func(r *rig){
		"rows removed": func(r *rig) { removeFiles(r, "t") },
		"rows doubled": func(r *rig) { double(r, "t") },
		"rolled back":  func(r *rig) { rollBack(r, "t", 1) },
		"gone":         func(r *rig) { deleteFolder(r, "t") },
	} {
		for kind, spec := range map[string]cdctest.TableSpec{"a key": keyed("t"), "no key": bag("t")} {
			for _, running := range []bool{false, true} {
				if running && (name == "rolled back" || name == "gone") {
					continue // the engine would find its own versions taken away, which is no commit of others
				}
				t.Run(fmt.Sprintf("%s, %s, running %t", name, kind, running), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := newRig(t, spec, keyed("u"))
						r.options = func(o *lakehouse.Options) { o.OnLakeChange = typemap.Resync }
						r.insert("t", 0, 20)
						r.insert("u", 0, 3)
						r.catchUp()
						r.insert("t", 20, 25)
						r.catchUp()
						stop := func() error { return nil }
						if running {
							stop = r.start()
						}
						for round := range 2 {
							foreign(r)
							r.insert("t", 100+10*round, 103+10*round)
							r.insert("u", 100+10*round, 103+10*round)
							if running {
								settle()
								settle()
							} else {
								r.catchUp()
							}
							require.Empty(t, r.stopped())
							require.Equal(t, lakehouse.PhaseLive, r.state("t").Phase)
							r.same("t", "u")
							r.insert("t", 200+10*round, 203+10*round)
							if !running {
								r.catchUp()
							} else {
								settle()
							}
							r.same("t")
						}
						require.NoError(t, stop())
					})
				})
			}
		}
	}
}

// double is an INSERT by somebody else of the rows that are there.
func double(r *rig, table string) {
	r.t.Helper()
	s := r.load(r.mirror(table))
	w, err := s.NewFileWriter(r.t.Context(), tablefmt.FileOptions{})
	require.NoError(r.t, err)
	x := tablefmt.Begin(r.mirror(table), s)
	x.Add(*inOneFile(r, s, w))
	_, err = x.Commit(r.t.Context())
	require.NoError(r.t, err)
}
