package lakehouse_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// staged is a source whose reads of key ranges a test steps in between.
type staged struct {
	cdc.KeyReader
	reads      atomic.Int32
	beforeRead func(n int32) // before the nth read begins, from 1
	beforeView func(n int32) // before its view is taken
	afterView  func(n int32) // after its view is taken
	read       func(i int)   // before range i is read
	closed     func(n int32) // after it has ended
	late       atomic.Bool   // the stream delivers nothing
	restore    error         // what Restore gives, if not nil
}

func (s *staged) Restore(ctx context.Context, rel *cdc.Relation, text string) (cdc.KeyRanges, error) {
	if s.restore != nil {
		return nil, s.restore
	}
	return s.KeyReader.Restore(ctx, rel, text)
}

func (s *staged) Stream(ctx context.Context, from cdc.LSN) (cdc.Stream, error) {
	stream, err := s.KeyReader.Stream(ctx, from)
	return &stagedStream{stream, s}, err
}

type stagedStream struct {
	cdc.Stream
	s *staged
}

func (st *stagedStream) Next(ctx context.Context) (*cdc.Chunk, error) {
	c, err := st.Stream.Next(ctx)
	for st.s.late.Load() {
		time.Sleep(100 * time.Millisecond)
	}
	return c, err
}

func (s *staged) BeginRead(ctx context.Context, rel *cdc.Relation, ranges cdc.KeyRanges) (cdc.KeyRead, error) {
	n := s.reads.Add(1)
	if s.beforeRead != nil {
		s.beforeRead(n)
	}
	r, err := s.KeyReader.BeginRead(ctx, rel, ranges)
	return &stagedRead{r, s, n}, err
}

type stagedRead struct {
	cdc.KeyRead
	s *staged
	n int32
}

func (r *stagedRead) View(ctx context.Context) (cdc.View, error) {
	if r.s.beforeView != nil {
		r.s.beforeView(r.n)
	}
	v, err := r.KeyRead.View(ctx)
	if r.s.afterView != nil {
		r.s.afterView(r.n)
	}
	return v, err
}

func (r *stagedRead) Close() error {
	err := r.KeyRead.Close()
	if r.s.closed != nil {
		r.s.closed(r.n)
	}
	return err
}

func (r *stagedRead) Range(ctx context.Context, i int, emit func(*cdc.Batch) error) error {
	if r.s.read != nil {
		r.s.read(i)
	}
	return r.KeyRead.Range(ctx, i, emit)
}

// newRangeRig makes a table of 40 rows, which is copied in ranges of ten by one
// reader.
func newRangeRig(t *testing.T) (*rig, *staged) {
	r := newRigOf(t, cdctest.Options{Seed: 1, MaxRows: 40, KeyRows: 10}, keyed("t"), keyless("other"))
	r.insert("t", 0, 40)
	s := &staged{}
	r.source = func() cdc.Source {
		s.KeyReader = r.world.Source()
		return s
	}
	r.options = func(o *lakehouse.Options) { o.CopyWorkers = 1 }
	return r, s
}

// countCopies counts how often the copy of a table begins. A change that was
// taken wrongly may only have it begin again, which nobody sees in its rows.
func (r *rig) countCopies(table string) *int {
	begun, options := 0, r.options
	r.options = func(o *lakehouse.Options) {
		options(o)
		o.Events.CopyStarted = func(e lakehouse.CopyStarted) {
			if e.Table == table {
				begun++
			}
		}
	}
	return &begun
}

// settle lets the engine flush what it has.
func settle() { time.Sleep(5 * time.Second) }

func TestEdge60ChangesWhileARangeIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRangeRig(t)
		s.afterView = func(n int32) {
			if n == 2 { // ids from 10 to 19 are about to be read; those below are there
				r.update("t", 3, "changed")
				r.update("t", 12, "changed")
				r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 13}) })
				settle()
			}
		}
		s.read = func(i int) {
			if i != 1 || s.reads.Load() != 2 {
				return
			}
			r.tx(func(tx *cdctest.Tx) error { return tx.Insert("t", cdctest.Row{"id": 13, "v": "again"}) })
			r.update("t", 15, "changed")
			r.tx(func(tx *cdctest.Tx) error {
				return tx.Update("t", cdctest.Row{"id": 14}, cdctest.Row{"id": -14, "v": "moved out"})
			})
			r.tx(func(tx *cdctest.Tx) error {
				return tx.Update("t", cdctest.Row{"id": 4}, cdctest.Row{"id": 14, "v": "moved in"})
			})
			settle()
		}
		s.beforeView = func(n int32) {
			if n == 3 { // its view will hold what waits for it: none of it is applied once more
				r.update("t", 22, "changed")
				r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 23}) })
				r.tx(func(tx *cdctest.Tx) error { return tx.Insert("t", cdctest.Row{"id": -20, "v": "new"}) })
				settle()
				r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": -20}) })
			}
		}
		begun := r.countCopies("public.t")
		r.catchUp()
		require.Equal(t, 1, *begun, "the copy has not begun again")
		require.Equal(t, int32(4), s.reads.Load(), "every range was read once")
		r.same("t")
		require.Empty(t, r.stopped())
	})
}

// What a view holds may arrive when its range, and every other one, has long
// been read. It is dropped all the same, and the copy is not the table's content
// before.
func TestEdge60TheStreamIsBehindTheViews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRangeRig(t)
		s.beforeView = func(n int32) {
			if n != 4 {
				return
			}
			s.late.Store(true)
			time.AfterFunc(time.Minute, func() { s.late.Store(false) })
			r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 33}) })
			r.tx(func(tx *cdctest.Tx) error {
				return tx.Update("t", cdctest.Row{"id": 34}, cdctest.Row{"id": 134, "v": "moved"})
			})
			r.update("t", 35, "changed")
		}
		begun := r.countCopies("public.t")
		r.catchUp()
		require.Equal(t, 1, *begun, "the copy has not begun again")
		require.Equal(t, int32(4), s.reads.Load())
		r.same("t")
		require.Empty(t, r.stopped())
		r.catchUp()
		r.same("t")
		require.Empty(t, r.stopped())
	})
}

// A commit that is in the log, and delivered, is not seen by who looks at the
// table as long as it waits for a synchronous standby: a view that came in
// between would lose it.
func TestEdge60ACommitThatIsNotVisibleYet(t *testing.T) {
	for seed := range uint64(6) { // in some it becomes visible too soon
		synctest.Test(t, func(t *testing.T) {
			r := newRigOf(t, cdctest.Options{Seed: seed, MaxRows: 40, KeyRows: 10, HideCommits: 1}, keyed("t"), keyless("other"))
			r.insert("t", 0, 40)
			s := &staged{beforeRead: func(n int32) {
				if n == 4 { // 35 is of the range that is to be read next: the change is dropped
					r.update("t", 35, "changed")
					settle()
				}
			}}
			r.source = func() cdc.Source {
				s.KeyReader = r.world.Source()
				return s
			}
			r.options = func(o *lakehouse.Options) { o.CopyWorkers = 1 }
			r.catchUp()
			require.Greater(t, s.reads.Load(), int32(4), "the view was refused, and another one taken")
			r.same("t")
		})
	}
}

// A row whose key moves into a range that is read, from one that is not, comes
// without the values that are stored out of line: it is read again.
func TestEdge39AKeyMovesBetweenRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRangeRig(t)
		long := func(c string) string { return strings.Repeat(c, 3000) }
		r.tx(func(tx *cdctest.Tx) error {
			for id := 100; id < 105; id++ {
				if err := tx.Insert("t", cdctest.Row{"id": id, "v": long("a")}); err != nil {
					return err
				}
			}
			return nil
		})
		move := func(from, to int) {
			r.tx(func(tx *cdctest.Tx) error { return tx.Update("t", cdctest.Row{"id": from}, cdctest.Row{"id": to}) })
		}
		s.beforeRead = func(n int32) {
			if n != 2 { // ids below 10 are there
				return
			}
			move(100, -1)
			move(101, -2) // and on, before it can be read again
			r.update("t", -2, long("b"))
			move(102, -3)
			r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": -3}) })
			r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 5}) })
			move(103, 5) // where another row was
			move(104, -4)
			move(-4, 200) // back to where nobody has read yet
			move(6, 201)  // out of what is there
			settle()
			move(-1, -5)
			r.update("t", -2, "short")
		}
		begun := r.countCopies("public.t")
		r.catchUp()
		require.Equal(t, 1, *begun, "the copy has not begun again")
		require.Greater(t, s.reads.Load(), int32(5), "rows were read again")
		r.same("t")
		require.Empty(t, r.stopped())
	})
}

func TestEdge59ACopyGoesOnWhereItWasCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRangeRig(t)
		store := objstore.NewMemory()
		r.store = store
		var read []int
		crash := true
		s.read = func(i int) {
			read = append(read, i)
			if i == 3 && crash {
				r.update("t", 35, "held, as it is being read")
				r.update("t", 6, "and what follows too")
				r.insert("other", 0, 3)
				settle()
				r.world.Crash()
				store.Crash()
			}
		}
		require.Error(t, r.engine(t.Context(), true))
		require.Equal(t, []int{0, 1, 2, 3}, read)
		crash, read = false, nil
		store = store.Survivor(rand.New(rand.NewPCG(1, 1)))
		r.store = store
		r.update("t", 5, "changed while it was away")
		r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 15}) })
		r.catchUp()
		require.Equal(t, []int{3}, read, "what was read is not read again")
		r.same("t")
	})
}

// cutOffCopy plays a copy of four ranges until the last one is read, and gives
// what a crash there leaves.
func (r *rig) cutOffCopy(s *staged) *objstore.Memory {
	store, ok := r.store.(*objstore.Memory)
	require.True(r.t, ok)
	s.read = func(i int) {
		if i == 3 {
			settle()
			r.insert("other", 20, 23) // an epoch, which the copy's log does not need
			settle()
			r.world.Crash()
			store.Crash()
		}
	}
	require.Error(r.t, r.engine(r.t.Context(), true))
	s.read = nil
	store = store.Survivor(rand.New(rand.NewPCG(1, 1)))
	r.store = store
	return store
}

// copyLogs are the files of the logs of copies, as they are listed.
func copyLogs(t *testing.T, store objstore.Store) (paths []string) {
	for info, err := range store.List(t.Context(), "_lakeload/", "") {
		require.NoError(t, err)
		if strings.Contains(info.Path, "/copies/") {
			paths = append(paths, info.Path)
		}
	}
	return paths
}

// The log of a copy is removed file by file. What a crash in the middle leaves
// is no copy that goes on, and no damage either.
func TestEdge59ACopysLogThatIsRemovedInPart(t *testing.T) {
	for part, files := 1, 2; part <= files; part++ {
		synctest.Test(t, func(t *testing.T) {
			r, s := newRangeRig(t)
			store := r.cutOffCopy(s)
			log := copyLogs(t, store)
			files = len(log)
			require.Greater(t, files, 2)
			for _, path := range log[:part] {
				require.NoError(t, store.Delete(t.Context(), path))
			}
			r.update("t", 5, "changed while it was away")
			r.catchUp()
			r.same("t")
			require.Empty(t, r.stopped())
		})
	}
}

// A copy that could not go on is given up for good: what a crash brings back of
// its logs is older than what has been acknowledged since.
func TestEdge59ACopyThatWasGivenUpDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRangeRig(t)
		r.store = objstore.NewMemory()
		r.catchUp()
		r.resync("t") // while the other table goes on
		store := r.cutOffCopy(s)
		was := map[string][]byte{}
		for _, path := range copyLogs(t, store) {
			data, err := store.Get(t.Context(), path)
			require.NoError(t, err)
			was[path] = data
		}
		r.insert("other", 0, 3)
		s.restore = cdc.ErrTableChanged
		s.read = func(int) {
			s.read = nil
			r.insert("other", 3, 6)
			settle()
			r.insert("other", 6, 9)
			settle()
			r.world.Crash()
			store.Crash()
		}
		require.Error(t, r.engine(t.Context(), true))
		store = store.Survivor(rand.New(rand.NewPCG(1, 1)))
		r.store = store
		for path, data := range was {
			_ = store.Delete(t.Context(), path) // where there is another one
			require.NoError(t, store.PutIfAbsent(t.Context(), path, data))
		}
		s.restore, s.read = nil, nil
		r.catchUp()
		r.same("t", "other")
	})
}

// watchedStaged is a staged source that can be asked what no stream tells.
type watchedStaged struct {
	*staged
	watcher cdc.Watcher
}

func (s watchedStaged) Look(ctx context.Context, oids []uint32) (map[uint32]cdc.Look, error) {
	return s.watcher.Look(ctx, oids)
}

func (s watchedStaged) Compare(ctx context.Context, was, is cdc.Look) ([]cdc.Notice, error) {
	return s.watcher.Compare(ctx, was, is)
}

// A table is altered after its copy was decided on and before it is begun, and
// the copy is cut off before it has read anything: the next session begins it
// anew with the columns that there are.
func TestEdge43AColumnAddedBeforeACopyIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, cdctest.Options{Seed: 1, MaxRows: 40, KeyRows: 10}, keyed("a"), keyed("t"), keyless("other"))
		r.insert("a", 0, 10)
		r.insert("t", 0, 40)
		s := &staged{}
		r.source = func() cdc.Source {
			src := r.world.Source()
			s.KeyReader = src
			return watchedStaged{s, src}
		}
		r.options = func(o *lakehouse.Options) { o.CopyWorkers = 1 }
		store := objstore.NewMemory()
		r.store = store
		s.closed = func(n int32) { // one table has been read, and is not published yet
			if n == 1 {
				r.tx(func(tx *cdctest.Tx) error {
					return errors.Join(tx.AddColumn("t", cdctest.Int64("n"), nil), tx.Insert("t", cdctest.Row{"id": 100, "n": 5}))
				})
				r.insert("other", 0, 3)
				settle()
			}
		}
		s.beforeRead = func(n int32) {
			if n == 2 {
				settle()
				r.world.Crash()
				store.Crash()
			}
		}
		require.Error(t, r.engine(t.Context(), true))
		s.beforeRead = nil
		r.store = store.Survivor(rand.New(rand.NewPCG(1, 1)))
		require.Equal(t, lakehouse.PhaseLive, r.state("a").Phase)
		require.NotEmpty(t, copyLogs(t, r.store), "the other one has been begun")
		r.catchUp()
		r.catchUp()
		r.same("a", "t")
		r.everyVersion("t")
	})
}

// vanishing removes the logs of copies when one of their commits is asked for:
// the copy was published after they were listed.
type vanishing struct {
	objstore.Store
	t *testing.T
}

func (v vanishing) Get(ctx context.Context, path string) ([]byte, error) {
	if strings.Contains(path, "/copies/") && strings.HasSuffix(path, ".json") {
		for _, path := range copyLogs(v.t, v.Store) {
			// Whoever asked for a commit ahead may not want it any more.
			require.NoError(v.t, v.Delete(context.WithoutCancel(ctx), path))
		}
	}
	return v.Store.Get(ctx, path)
}

func TestEdge59StatusWhileACopyIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRangeRig(t)
		store := r.cutOffCopy(s)
		state := func(store objstore.Store) *lakehouse.CopyState {
			lake, err := lakehouse.OpenLake(t.Context(), store, "")
			require.NoError(t, err)
			for _, table := range lake.State().Tables {
				if table.Name() == "public.t" {
					c, err := lake.CopyState(t.Context(), &table)
					require.NoError(t, err)
					return c
				}
			}
			return nil
		}
		require.Equal(t, &lakehouse.CopyState{Ranges: 4, Done: 3, Rows: 30}, state(store))
		require.Nil(t, state(vanishing{store, t}))
	})
}

// Both tables of a copy in two modes have to tell the same; a crash between
// their commits lets the copy begin again, and nothing is there twice.
func TestEdge59ACopyInTwoModes(t *testing.T) {
	for _, at := range []crashpoint.Point{crashpoint.AfterCommit, crashpoint.CopyRangeStaged, crashpoint.CopyBeforeSwap, crashpoint.CopyAfterSwap} {
		for attempt := range 28 {
			nth, quiet := attempt/2+1, attempt%2 == 0 // a change of a row that is missing would heal the copy
			synctest.Test(t, func(t *testing.T) {
				r, s := newRangeRig(t)
				s.read = func(i int) {
					if quiet {
						settle()
						return
					}
					r.update("t", 5, fmt.Sprint("changed ", i))
					settle()
					r.update("t", 5, fmt.Sprint("changed again ", i))
				}
				r.bothModes()
				store := objstore.NewMemory()
				r.store = store
				n := 0
				crashpoint.Set(func(p crashpoint.Point) {
					if p == at {
						if n++; n == nth {
							r.world.Crash()
							store.Crash()
						}
					}
				})
				defer crashpoint.Set(nil)
				if r.engine(t.Context(), true) != nil {
					store = store.Survivor(rand.New(rand.NewPCG(1, 1)))
					r.store = store
				}
				r.catchUp()
				r.catchUp() // the changes that came during the copy
				r.same("t")
				copied := map[string]int{}
				for row, n := range r.rows(r.changelog("t")) {
					require.Equal(t, 1, n, "%s %d: %s came more than once", at, nth, row)
					if _, id, _ := strings.Cut(row, ";id="); strings.Contains(row, "_op=R;") {
						copied[id] += n
					}
				}
				require.Len(t, copied, 40)
				for id, n := range copied {
					require.Equal(t, 1, n, "%s %d: the row with %s was copied more than once", at, nth, id)
				}
			})
		}
	}
}

func TestEdge41ATruncateWhileRangesAreRead(t *testing.T) {
	for _, after := range []int32{1, 2, 4} {
		synctest.Test(t, func(t *testing.T) {
			r, s := newRangeRig(t)
			s.closed = func(n int32) {
				if n == after {
					r.tx(func(tx *cdctest.Tx) error { return tx.Truncate("t") })
					r.insert("t", 1020, 1030)
					settle()
					r.insert("t", -5, 0)
				}
			}
			r.catchUp()
			r.same("t")
			require.Empty(t, r.stopped())
		})
	}
}

func TestEdge43AColumnAddedWhileRangesAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRangeRig(t)
		s.beforeRead = func(n int32) {
			if n == 3 {
				r.tx(func(tx *cdctest.Tx) error { return tx.AddColumn("t", cdctest.Text("more"), "default") })
				r.tx(func(tx *cdctest.Tx) error {
					return tx.Insert("t", cdctest.Row{"id": 500, "v": "x", "more": "y"})
				})
				settle()
			}
		}
		r.catchUp()
		r.same("t")
		require.Empty(t, r.stopped())
	})
}

// A copy beside the stream: the others go on, and the copied table loses
// nothing of what came meanwhile.
func TestEdge62OthersGoOnWhileATableIsCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := newRangeRig(t)
		r.catchUp()
		r.resync("t")
		r.copied()
		wait := make(chan struct{})
		s.beforeRead = func(n int32) {
			if s.reads.Load() == n {
				<-wait
			}
		}
		stop := r.start()
		r.insert("other", 0, 10)
		r.update("t", 7, "changed")
		settle()
		require.Len(t, r.rows(r.mirror("other")), 10)
		require.Equal(t, []string{"public.t"}, r.lastEpoch().Incomplete)
		require.Equal(t, 40, count(r.rows(r.mirror("t"))), "the old content stays readable")
		close(wait)
		settle()
		require.NoError(t, stop())
		require.Equal(t, []string{"public.t"}, r.copied())
		r.same("t")
	})
}
