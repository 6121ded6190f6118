package lakehouse_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
)

func TestResyncOfALiveTableCopiesItAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 10)
		r.catchUp()
		r.copied()
		before := r.state("t").Generation
		r.resync("t")
		r.insert("t", 10, 20)
		r.insert("u", 0, 5)
		r.catchUp()
		require.Equal(t, []string{"public.t"}, r.copied())
		require.Greater(t, r.state("t").Generation, before)
		r.insert("t", 20, 30)
		r.update("t", 3, "changed")
		r.catchUp()
		require.Empty(t, r.copied())
		require.Empty(t, r.stopped())
		r.same("t", "u")
	})
}

func TestResyncOfAStoppedTableLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 10)
		r.catchUp()
		r.breakShape("t", 100)
		r.insert("t", 101, 105)
		r.catchUp()
		require.Equal(t, []string{"public.t"}, r.stopped())
		r.insert("u", 0, 1)
		r.catchUp()
		require.Equal(t, []string{"public.t"}, r.stopped(), "it is tried again, and stops again")
		require.Less(t, r.acknowledged(), r.world.Head(), "the stopped table holds the acknowledgement")
		r.mend("t")
		r.insert("t", 110, 115)
		r.catchUp()
		r.same("t", "u")
		require.Empty(t, r.lastEpoch().Incomplete)
	})
}

// What another program did to a table cannot be undone by the stream: the
// table stays stopped, whatever comes, until it is copied again.
func TestATableThatAnotherProgramChangedStaysStoppedUntilAResync(t *testing.T) {
	for name, change := range map[string]func(r *rig){
		"rows removed":          func(r *rig) { removeFiles(r, "t") },
		"restored to the past":  func(r *rig) { rollBack(r, "t", 2) },
		"its folder is deleted": func(r *rig) { deleteFolder(r, "t") },
	} {
		for kind, spec := range map[string]cdctest.TableSpec{"keyed": keyed("t"), "keyless": keyless("t")} {
			t.Run(name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, spec, keyed("u"))
					for i := range 5 {
						r.insert("t", 10*i, 10*i+10)
						r.catchUp()
					}
					change(r)
					for i := range 3 {
						r.insert("u", i, i+1)
						r.insert("t", 100+i, 101+i)
						r.catchUp()
						r.staysStopped("t")
						r.same("u")
						e := r.lastEpoch()
						require.NotContains(t, e.Tables, "public.t", "start %d", i+1)
						require.Equal(t, []string{"public.t"}, e.Incomplete, "start %d", i+1)
					}
					require.Equal(t, []string{"public.t"}, r.stopped(), "it is told once")
					r.mend("t")
					r.insert("t", 200, 205)
					r.catchUp()
					r.same("t", "u")
				})
			})
		}
	}
}

func TestATableChangedWhileTheEngineRunsStopsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 10)
		stop := r.start()
		removeFiles(r, "t")
		r.insert("t", 20, 30)
		r.insert("u", 0, 10)
		time.Sleep(10 * time.Second)
		require.NoError(t, stop())
		for range 2 {
			r.insert("u", 10, 20)
			r.catchUp()
			r.staysStopped("t")
			r.same("u")
			r.tx(func(tx *cdctest.Tx) error { return tx.Truncate("u") })
		}
		require.Equal(t, []string{"public.t"}, r.stopped())
		r.mend("t")
	})
}

func TestALostFolderIsMendedByAResyncBeforeTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 10)
		r.catchUp()
		r.insert("t", 10, 20)
		r.catchUp()
		deleteFolder(r, "t")
		r.mend("t")
		r.insert("t", 20, 30)
		r.update("t", 3, "changed")
		r.catchUp()
		r.same("t")
	})
}

// A rewrite that changes no data is any table's maintenance. The rows are
// elsewhere then, which the index of the keys has to notice.
func TestCompactionByAnotherProgramIsFollowed(t *testing.T) {
	for _, index := range []string{"memory", "disk"} {
		for _, when := range []string{"while the engine runs", "between two runs"} {
			t.Run(index+" index, "+when, func(t *testing.T) {
				dir := ""
				if index == "disk" {
					dir = t.TempDir()
				}
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, keyed("t"))
					r.options = func(o *lakehouse.Options) { o.CacheDir = dir }
					r.insert("t", 0, 10)
					compacted(r, when == "while the engine runs")
					require.Empty(t, r.stopped())
					require.Equal(t, lakehouse.PhaseLive, r.state("t").Phase)
					r.same("t")
					r.update("t", 7, "changed")
					r.catchUp()
					require.Equal(t, []string{"public.t"}, r.copied(), "nothing but the first copy was needed")
					require.Empty(t, r.stopped())
					r.same("t")
				})
			})
		}
	}
}

// compacted changes a table before and after another program compacts it.
func compacted(r *rig, running bool) {
	step := r.catchUp
	if running {
		stop := r.start()
		defer func() { require.NoError(r.t, stop()) }()
		step = func() { time.Sleep(10 * time.Second) }
	} else {
		step()
	}
	r.update("t", 1, "before")
	step()
	rewrite(r, "t")
	r.insert("t", 50, 51) // a commit that follows the other program's
	step()
	r.update("t", 3, "changed")
	step()
	rewrite(r, "t")
	r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 5}) })
	step()
	r.update("t", 50, "changed")
	step()
}

// removeFiles takes a table's first file out, as another program's DELETE.
func removeFiles(r *rig, table string) {
	r.t.Helper()
	s, err := tablefmt.Load(r.t.Context(), r.mirror(table))
	require.NoError(r.t, err)
	x := tablefmt.Begin(r.mirror(table), s)
	for f := range s.Files() {
		x.Remove(*f.Remove(1, true))
		break
	}
	x.SetInfo("DELETE", nil)
	_, err = x.Commit(r.t.Context())
	require.NoError(r.t, err)
}

// rollBack takes the last versions out of a table's log, as a restored backup.
func rollBack(r *rig, table string, versions int64) {
	r.t.Helper()
	s, err := tablefmt.Load(r.t.Context(), r.mirror(table))
	require.NoError(r.t, err)
	for v := s.Version() - versions + 1; v <= s.Version(); v++ {
		require.NoError(r.t, r.mirror(table).Data.Delete(r.t.Context(), fmt.Sprintf("_delta_log/%020d.json", v)))
	}
}

func deleteFolder(r *rig, table string) {
	r.t.Helper()
	data := r.mirror(table).Data
	for info, err := range data.List(r.t.Context(), "", "") {
		require.NoError(r.t, err)
		require.NoError(r.t, data.Delete(r.t.Context(), info.Path))
	}
}

// inOneFile writes all rows of a table into a file that no commit names yet.
func inOneFile(r *rig, s *tablefmt.Snapshot, w *tablefmt.FileWriter) *tablefmt.AddFile {
	r.t.Helper()
	require.NoError(r.t, s.Scan(r.t.Context(), tablefmt.ScanOptions{}, func(rec arrow.RecordBatch) error {
		_, err := w.Write(rec)
		return err
	}))
	add, err := w.Close()
	require.NoError(r.t, err)
	return add
}

// rewrite puts all rows of a table into one new file, as OPTIMIZE does.
func rewrite(r *rig, table string) {
	r.t.Helper()
	ctx := r.t.Context()
	s := r.load(r.mirror(table))
	schema, err := s.Schema().Arrow()
	require.NoError(r.t, err)
	w, err := tablefmt.NewFileWriter(ctx, r.mirror(table), schema, tablefmt.FileOptions{})
	require.NoError(r.t, err)
	add := inOneFile(r, s, w)
	x := tablefmt.Begin(r.mirror(table), s)
	for f := range s.Files() {
		x.Remove(*f.Remove(1, false))
	}
	add.DataChange = false
	x.Add(*add)
	x.SetInfo("OPTIMIZE", nil)
	_, err = x.Commit(ctx)
	require.NoError(r.t, err)
}
