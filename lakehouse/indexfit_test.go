package lakehouse_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/compaction"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// readCounter counts the data files of the tables that are opened.
type readCounter struct {
	objstore.Store
	opened atomic.Int64
}

func (s *readCounter) Open(ctx context.Context, path string) (objstore.Reader, error) {
	if strings.HasSuffix(path, ".parquet") && !strings.Contains(path, "_delta_log") && !strings.HasPrefix(path, "_lakeload/") {
		s.opened.Add(1)
	}
	return s.Store.Open(ctx, path)
}

// cacheRig is a rig whose key indexes lie in a folder, and whose reads of data
// files are counted.
type cacheRig struct {
	*rig
	dir   string
	reads *readCounter
}

func newCacheRig(t *testing.T, dir string, specs ...cdctest.TableSpec) *cacheRig {
	r := &cacheRig{rig: newRig(t, specs...), dir: dir}
	r.reads = &readCounter{Store: r.store}
	r.store = r.reads
	r.options = func(o *lakehouse.Options) { o.CacheDir = dir }
	return r
}

// put replaces the cache by one of before.
func (r *cacheRig) put(from string) {
	r.t.Helper()
	require.NoError(r.t, os.RemoveAll(r.dir))
	require.NoError(r.t, os.CopyFS(r.dir, os.DirFS(from)))
}

// keep copies the cache.
func (r *cacheRig) keep(name string) (dir string) {
	r.t.Helper()
	dir = filepath.Join(r.t.TempDir(), name)
	require.NoError(r.t, os.CopyFS(dir, os.DirFS(r.dir)))
	return dir
}

// opens runs an engine, and gives how many data files it has opened.
func (r *cacheRig) opens() int {
	r.t.Helper()
	before := r.reads.opened.Load()
	r.catchUp()
	return int(r.reads.opened.Load() - before)
}

func (r *cacheRig) files(table string) int {
	r.t.Helper()
	snap, err := tablefmt.Load(r.t.Context(), r.mirror(table))
	require.NoError(r.t, err)
	return snap.NumFiles()
}

// pack is another program that rearranges a table.
func (r *cacheRig) pack(table string) {
	r.t.Helper()
	snap, err := tablefmt.Load(r.t.Context(), r.mirror(table))
	require.NoError(r.t, err)
	_, err = compaction.Pack(r.t.Context(), snap, compaction.PlanPack(snap.Files(), compaction.PackOptions{}))
	require.NoError(r.t, err)
}

// TestIndexCatchesUp: an index that is behind its table, as after a crash or
// another program's commit, reads the files that are new to it, and no others;
// one that cannot tell reads all. Either way every row is found after it.
func TestIndexCatchesUp(t *testing.T) {
	const rows, rounds = 240, 8
	all := func(files int) (least, most int) { return files, files }
	one := func(int) (least, most int) { return 1, 1 }
	cases := map[string]struct {
		spec   cdctest.TableSpec
		behind func(r *cacheRig) // what the kept index has not seen
		reads  func(files int) (least, most int)
	}{
		"inserts": {keyed("t"), func(r *cacheRig) { r.insert("t", rows, rows+10); r.catchUp() }, one},
		"updates": {keyed("t"), func(r *cacheRig) { r.update("t", 3, "x"); r.update("t", 200, "y"); r.catchUp() }, one},
		"deletes": {keyed("t"), func(r *cacheRig) {
			r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 7}) })
			r.catchUp()
		}, func(int) (int, int) { return 0, 0 }},
		"several flushes": {keyed("t"), func(r *cacheRig) {
			for i := range 3 {
				r.update("t", i, "x")
				r.catchUp()
			}
		}, func(int) (int, int) { return 3, 3 }},
		"rearranged": {keyed("t"), func(r *cacheRig) { r.pack("t") }, one},
		"rearranged and changed": {keyed("t"), func(r *cacheRig) {
			r.pack("t")
			r.update("t", 3, "x")
			r.catchUp()
		}, func(int) (int, int) { return 2, 2 }},
		"a new column": {keyed("t"), func(r *cacheRig) {
			r.tx(func(tx *cdctest.Tx) error {
				if err := tx.AddColumn("t", cdctest.Text("n"), "default"); err != nil {
					return err
				}
				return tx.Insert("t", cdctest.Row{"id": rows, "v": "x", "n": "y"})
			})
			r.catchUp()
		}, func(files int) (int, int) { return 1, files }},
		"no history": {keyed("t"), func(r *cacheRig) {
			r.update("t", 3, "x")
			r.catchUp()
			r.forgetHistory("t")
		}, all},
		"a table without a key": {bagged("t"), func(r *cacheRig) { r.insert("t", rows, rows+10); r.catchUp() }, all},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				r := newCacheRig(t, dir, c.spec)
				for i := range rounds {
					r.insert("t", rows/rounds*i, rows/rounds*(i+1))
					r.catchUp()
				}
				require.Zero(t, r.opens(), "the index fits")
				old := r.keep("old")
				c.behind(r)
				r.put(old)
				least, most := c.reads(r.files("t"))
				opened := r.opens()
				require.GreaterOrEqual(t, opened, least)
				require.LessOrEqual(t, opened, most)
				require.Zero(t, r.opens(), "it was kept")
				r.touchAll("t")
			})
		})
	}
}

func bagged(name string) cdctest.TableSpec {
	return cdctest.TableSpec{Name: name, Identity: cdc.IdentityFull, Columns: []cdc.Column{cdctest.Int64("id"), cdctest.Text("v")}}
}

// forgetHistory leaves the table's newest version alone.
func (r *cacheRig) forgetHistory(table string) {
	r.t.Helper()
	ctx, loc := r.t.Context(), r.mirror(table)
	snap, err := tablefmt.Load(ctx, loc)
	require.NoError(r.t, err)
	require.NoError(r.t, tablefmt.Checkpoint(ctx, snap))
	for v := range snap.Version() {
		require.NoError(r.t, loc.Data.Delete(ctx, fmt.Sprintf("_delta_log/%020d.json", v)))
	}
}

// touchAll changes or removes every row, and compares.
func (r *cacheRig) touchAll(table string) {
	r.t.Helper()
	var keys []cdctest.Row
	for _, row := range r.world.Rows(table, r.world.Head()) {
		if key := r.world.Relation(table, r.world.Head()).Key; len(key) > 0 {
			row = cdctest.Row{"id": row["id"]}
		}
		keys = append(keys, row)
	}
	r.tx(func(tx *cdctest.Tx) error {
		for i, k := range keys {
			if i%3 == 0 {
				if err := tx.Delete(table, k); err != nil {
					return err
				}
				continue
			}
			if err := tx.Update(table, k, cdctest.Row{"v": fmt.Sprint("touched ", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	r.catchUp()
	require.Empty(r.t, r.stopped())
	r.same(table)
}

// TestIndexCatchesUpFromAnyState: before every run of the engine the cache is
// one of those of before, or none.
func TestIndexCatchesUpFromAnyState(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 17))
				r := newCacheRig(t, dir, keyed("t"))
				present, next := map[int]bool{}, 0
				var caches []string
				for range 25 {
					r.tx(func(tx *cdctest.Tx) error {
						for range 1 + rnd.IntN(30) {
							id := rnd.IntN(next + 1)
							var err error
							switch k := rnd.IntN(10); {
							case !present[id] || k < 3:
								if present[id] {
									next++
									id = next
								}
								present[id] = true
								err = tx.Insert("t", cdctest.Row{"id": id, "v": fmt.Sprint("v", rnd.Uint64())})
							case k < 7:
								err = tx.Update("t", cdctest.Row{"id": id}, cdctest.Row{"v": fmt.Sprint("u", rnd.Uint64())})
							case k < 9:
								delete(present, id)
								err = tx.Delete("t", cdctest.Row{"id": id})
							default: // a key that moves
								next++
								delete(present, id)
								present[next] = true
								err = tx.Update("t", cdctest.Row{"id": id}, cdctest.Row{"id": next})
							}
							if err != nil {
								return err
							}
						}
						return nil
					})
					if rnd.IntN(5) == 0 && len(caches) > 0 {
						r.pack("t")
					}
					if rnd.IntN(3) > 0 && len(caches) > 0 {
						r.put(caches[rnd.IntN(len(caches))])
					}
					r.catchUp()
					require.Empty(t, r.stopped())
					r.same("t")
					caches = append(caches, r.keep(fmt.Sprint(len(caches))))
				}
			})
		})
	}
}

// slowReads makes each read of a data file take a while.
type slowReads struct {
	objstore.Store
	by time.Duration
}

func (s slowReads) Open(ctx context.Context, path string) (objstore.Reader, error) {
	if strings.HasSuffix(path, ".parquet") {
		time.Sleep(s.by)
	}
	return s.Store.Open(ctx, path)
}

func TestIndexThatIsReadFromItsTableTellsHowFarItIs(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newCacheRig(t, dir, keyed("t"))
		for i := range 4 { // as many files
			r.insert("t", 10*i, 10*i+10)
			r.catchUp()
		}
		require.NoError(t, os.RemoveAll(dir))
		r.store = slowReads{r.store, 700 * time.Millisecond}
		var told []lakehouse.IndexProgress
		options := r.options
		r.options = func(o *lakehouse.Options) {
			options(o)
			o.Events.IndexProgress = func(e lakehouse.IndexProgress) { told = append(told, e) }
		}
		r.catchUp()
		r.same("t")
		require.GreaterOrEqual(t, len(told), 2)
		require.Equal(t, lakehouse.IndexProgress{Table: "public.t", Rebuilt: true, Rows: 20, TotalRows: 40, Elapsed: 1400 * time.Millisecond}, told[0])
		last := told[len(told)-1]
		require.GreaterOrEqual(t, last.Elapsed, 2800*time.Millisecond)
		last.Elapsed = 0
		require.Equal(t, lakehouse.IndexProgress{Table: "public.t", Rebuilt: true, Rows: 40, TotalRows: 40}, last)
		told = nil
		r.catchUp()
		require.Empty(t, told, "what takes no time is not told")
	})
}
