package lakehouse_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// TestIndexOfACopyIsTheTables: an engine that is killed after it has published a
// copy, and before the index of the copy's log is the table's, leaves an index
// that the next one goes on with: nothing is read again, and every row is found.
func TestIndexOfACopyIsTheTables(t *testing.T) {
	none := func(*cacheRig) {}
	cases := map[string]struct {
		spec    cdctest.TableSpec
		resync  bool              // the copy replaces an older one
		ranges  bool              // it is a copy by ranges of the key, beside the stream
		changed bool              // rows of it are changed while it is made
		after   func(r *cacheRig) // what another program does after the kill
		opens   int
	}{
		"under one snapshot":              {spec: keyed("t"), after: none},
		"without a key":                   {spec: bagged("t"), after: none},
		"again":                           {spec: keyed("t"), resync: true, after: none},
		"without a key, again":            {spec: bagged("t"), resync: true, after: none},
		"by ranges":                       {spec: keyed("t"), ranges: true, after: none},
		"by ranges, changed":              {spec: keyed("t"), ranges: true, changed: true, after: none},
		"by ranges, again, changed":       {spec: keyed("t"), ranges: true, resync: true, changed: true, after: none},
		"by ranges, and rearranged after": {spec: keyed("t"), ranges: true, changed: true, after: func(r *cacheRig) { r.pack("t") }, opens: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				r := newCopiedRig(t, dir, c.spec, c.ranges)
				r.insert("t", 0, 40)
				if c.ranges {
					r.insert("other", 0, 4)
				}
				if c.resync {
					r.catchUp()
					r.insert("t", 40, 45)
					r.catchUp()
					r.resync("t")
				}
				if c.changed {
					r.staged.read = func(i int) {
						r.update("t", 5, fmt.Sprint("changed ", i))
						settle()
					}
				}
				old := r.killAfterSwap()
				r.put(old)
				c.after(r.cacheRig)
				rebuilt := r.countRebuilds()
				require.Equal(t, c.opens, r.opens(), "what is read again")
				require.Zero(t, *rebuilt)
				require.Equal(t, lakehouse.PhaseLive, r.state("t").Phase)
				r.same("t")
				require.Zero(t, r.opens(), "it was kept")
				r.touchAll("t")
			})
		})
	}
}

// An index that shows an older state of the copy, or that of another copy, is
// not the table's.
func TestIndexOfAnotherCopyIsNotTheTables(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newCopiedRig(t, dir, keyed("t"), true)
		r.insert("t", 0, 40)
		r.insert("other", 0, 4)
		var old string
		r.staged.read = func(i int) {
			settle()
			if i == 2 {
				old = r.keep("half")
			}
		}
		r.killAfterSwap()
		r.put(old)
		rebuilt := r.countRebuilds()
		require.Positive(t, r.opens(), "rows that the index does not know are read")
		require.Positive(t, *rebuilt)
		r.same("t")
		r.touchAll("t")
	})
}

// copiedRig is a cacheRig whose engine can be killed while it copies.
type copiedRig struct {
	*cacheRig
	staged *staged
	memory *objstore.Memory
}

func newCopiedRig(t *testing.T, dir string, spec cdctest.TableSpec, ranges bool) *copiedRig {
	o := cdctest.Options{Seed: 1, MaxRows: 40}
	specs := []cdctest.TableSpec{spec}
	if ranges {
		o.KeyRows = 10
		specs = append(specs, keyless("other"))
	}
	base, s := newRigOf(t, o, specs...), &staged{}
	memory, ok := base.store.(*objstore.Memory)
	require.True(t, ok)
	r := &copiedRig{cacheRig: &cacheRig{rig: base, dir: dir, reads: &readCounter{Store: memory}}, staged: s, memory: memory}
	r.store = r.reads
	base.source = func() cdc.Source {
		s.KeyReader = base.world.Source()
		return s
	}
	base.options = func(o *lakehouse.Options) { o.CacheDir, o.CopyWorkers = dir, 1 }
	return r
}

// newest reports whether the newest version of a table is a copy.
func (r *copiedRig) newest(table string) bool {
	snap, err := tablefmt.Load(r.t.Context(), r.mirror(table))
	return err == nil && strings.HasSuffix(snap.CommitInfo().Operation, "TABLE AS SELECT")
}

// countRebuilds counts how often an index is read from all of its table, from
// now on.
func (r *copiedRig) countRebuilds() *int {
	rebuilt, options := 0, r.options
	r.store = slowReads{r.reads, 1100 * time.Millisecond} // what takes less than a second is not told
	r.options = func(o *lakehouse.Options) {
		options(o)
		o.Events.IndexProgress = func(e lakehouse.IndexProgress) {
			if e.Rebuilt {
				rebuilt++
			}
		}
	}
	return &rebuilt
}

// killAfterSwap runs an engine until the copy of a table is published, and gives
// the cache as it was then.
func (r *copiedRig) killAfterSwap() (cache string) {
	r.t.Helper()
	crashpoint.Set(func(p crashpoint.Point) {
		if p == crashpoint.CopyAfterSwap && cache == "" && r.newest("t") {
			cache = r.keep("killed")
			r.world.Crash()
			r.memory.Crash()
		}
	})
	defer crashpoint.Set(nil)
	require.Error(r.t, r.engine(r.t.Context(), true))
	require.NotEmpty(r.t, cache)
	r.staged.read = nil
	r.memory = r.memory.Survivor(rand.New(rand.NewPCG(1, 1)))
	r.reads.Store = r.memory
	return cache
}
