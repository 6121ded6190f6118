package keyindex

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// diskIndex is the Index on the local disk. It is in one of two modes:
//
//	memory  keys holds all keys and answers all lookups. On the disk are
//	        the runs that keys was last written to and the journals of the
//	        commits since.
//	runs    keys is nil. Commits go to the journal and to recent; a full
//	        recent becomes frozen and is written to a run, and runs are
//	        merged, partition by partition. Newest first: recent, frozen,
//	        the runs of view.
//
// An index that outgrows its budget goes from the first to the second while
// it is in use (keys and recent are both kept meanwhile), and may come back
// when it is opened again.
type diskIndex struct {
	opt    Options
	lock   *os.File
	files  *fileTable
	nextID atomic.Uint64 // of the files in the folder
	trash  *trash
	// lookups is how many read runs now.
	lookups atomic.Int32
	memory  atomic.Int64 // the budget; see SetMemory

	// mu guards what is on the disk and what is being done. It is taken
	// before vis, and held while a manifest is written, so no lookup waits
	// for it.
	mu          sync.Mutex
	changed     sync.Cond // of the fields below, or of frozen
	closed      bool
	changing    *change
	fileLog     *logFile
	fileBase    int64 // size of the log of files when it was last written anew
	journal     *logFile
	sealed      []logMeta // older journals, oldest first
	oldBytes    int64     // of the sealed journals
	flushing    bool
	dumping     bool
	merging     []bool // by partition
	spareKeys   *table // an empty table for the next change
	spareRecent *table // an empty table for the next recent

	failure atomic.Pointer[error] // set once: why nothing works any more
	counts  counters

	// vis guards what lookups see.
	vis    sync.RWMutex
	stamp  Stamp
	keys   *tableSet
	recent *table
	frozen *table
	view   *view // never nil until Close

	ctx  context.Context // of the workers
	stop context.CancelCauseFunc
	wg   sync.WaitGroup
}

var (
	errClosed = errors.New("the key index is closed")
	errBusy   = errors.New("the key index has another change in the making")
	errDone   = errors.New("the change is over")
)

func newDiskIndex(opt Options, lock *os.File) *diskIndex {
	ix := &diskIndex{opt: opt, lock: lock, files: newFileTable(), trash: newTrash(opt.Logger), merging: make([]bool, opt.Partitions)}
	ix.changed.L = &ix.mu
	ix.view = newView(make([][]*segment, opt.Partitions))
	ix.memory.Store(opt.Memory)
	ix.ctx, ix.stop = context.WithCancelCause(context.Background())
	return ix
}

func (ix *diskIndex) budget() budget { return budget(ix.memory.Load()) }

func (ix *diskIndex) SetMemory(bytes int64) {
	ix.memory.Store(max(bytes, minMemory))
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.changed.Broadcast() // there may be something to write out
}

func (ix *diskIndex) path(name string) string { return filepath.Join(ix.opt.Dir, name) }

func (ix *diskIndex) Stamp() Stamp {
	ix.vis.RLock()
	defer ix.vis.RUnlock()
	return ix.stamp
}

func (ix *diskIndex) Len() int64 {
	ix.vis.RLock()
	defer ix.vis.RUnlock()
	if ix.keys != nil {
		return ix.keys.n
	}
	n := ix.view.keys()
	for _, t := range []*table{ix.recent, ix.frozen} {
		if t != nil {
			n += int64(t.n)
		}
	}
	return n
}

func (ix *diskIndex) FileID(path string) FileID { return ix.files.id(path) }
func (ix *diskIndex) Path(id FileID) string     { return ix.files.path(id) }
func (ix *diskIndex) Forget(id FileID)          { ix.files.forget(id) }

func (ix *diskIndex) Lookup(ctx context.Context, hashes []Hash, locs []Loc) error {
	if len(hashes) != len(locs) {
		return fmt.Errorf("look up keys: %d hashes, room for %d locations", len(hashes), len(locs))
	}
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	sc.qs = sc.qs[:0]
	for i := range hashes {
		hi, lo := hashWords(&hashes[i])
		sc.qs = append(sc.qs, query{hi, lo, i})
		locs[i] = Loc{}
	}
	return ix.lookup(ctx, sc, locs)
}

// lookup answers the queries of sc; locs is zero where nothing is found.
func (ix *diskIndex) lookup(ctx context.Context, sc *scratch, locs []Loc) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("look up keys: %w", err)
	}
	ix.counts.lookups.Add(int64(len(sc.qs)))
	v, err := ix.lookupTables(sc, locs)
	if v == nil {
		return err
	}
	ix.lookups.Add(1)
	err = errors.Join(v.lookup(ctx, sc, locs), v.release())
	ix.lookups.Add(-1)
	if err != nil {
		err = fmt.Errorf("look up keys: %w", err)
		if errors.Is(err, ErrUnfit) {
			ix.fail(err)
		}
	}
	return err
}

// lookupTables answers what it can from memory. If queries are left, they are
// in sc and it gives the view that goes with the tables; the caller releases
// it.
func (ix *diskIndex) lookupTables(sc *scratch, locs []Loc) (*view, error) {
	ix.vis.RLock()
	defer ix.vis.RUnlock()
	if err := ix.usable(); err != nil {
		return nil, err
	}
	if ix.keys != nil {
		for _, q := range sc.qs {
			if s := ix.keys.get(q.hi, q.lo); s != nil {
				locs[q.at] = Loc{FileID(s.file), s.row}
			}
		}
		return nil, nil
	}
	for _, t := range []*table{ix.recent, ix.frozen} {
		if t != nil {
			sc.qs = t.answer(sc.qs, locs)
		}
	}
	if len(sc.qs) == 0 {
		return nil, nil
	}
	ix.view.retain()
	return ix.view, nil
}

// answer answers the queries that the table knows of, and gives the others.
func (t *table) answer(qs []query, locs []Loc) []query {
	if t.n == 0 {
		return qs
	}
	rest := qs[:0]
	for _, q := range qs {
		if s := t.get(q.hi, q.lo); s != nil {
			locs[q.at] = s.loc()
		} else {
			rest = append(rest, q)
		}
	}
	return rest
}

// usable is why the index cannot be used, nil if it can.
func (ix *diskIndex) usable() error {
	if p := ix.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail ends the index's usefulness; the first reason stays.
func (ix *diskIndex) fail(err error) {
	if ix.failure.CompareAndSwap(nil, &err) && !errors.Is(err, errClosed) {
		ix.opt.Logger.Error("key index failed and has to be rebuilt", "dir", ix.opt.Dir, "error", err)
	}
}

// Close stops the merges that are being done, waits for them, and releases
// everything. A lookup that is under way is answered still.
func (ix *diskIndex) Close() error {
	ix.mu.Lock()
	if ix.closed {
		ix.mu.Unlock()
		return nil
	}
	ix.closed = true
	ix.stop(errClosed)
	ix.changed.Broadcast()
	ix.mu.Unlock()
	ix.trash.stop()
	ix.wg.Wait()

	ix.vis.Lock()
	ix.fail(errClosed)
	ix.keys, ix.recent, ix.frozen = nil, nil, nil
	err := ix.view.release()
	ix.vis.Unlock()

	ix.mu.Lock()
	defer ix.mu.Unlock()
	for _, l := range []*logFile{ix.journal, ix.fileLog} {
		if l != nil {
			err = errors.Join(err, l.f.Close())
		}
	}
	return errors.Join(err, ix.lock.Close())
}

// newRun begins a run.
func (ix *diskIndex) newRun() (*runWriter, error) {
	id := ix.nextID.Add(1)
	return newRunWriter(ix.path(runName(id)), id, rand.Uint64(), ix.opt.ioBytes(), ix.opt.Sync, ix.trash)
}

// newLog begins a journal or a log of files.
func (ix *diskIndex) newLog() (*logFile, error) {
	id := ix.nextID.Add(1)
	return createLog(ix.path(logName(id)), id, rand.Uint64(), ix.opt.Sync)
}

// tableRun writes a table to a run.
func (ix *diskIndex) tableRun(ctx context.Context, t *table, filtered bool) (*runFile, error) {
	w, err := ix.newRun()
	if err != nil {
		return nil, err
	}
	if err := writeTable(ctx, w, t, ix.opt.Partitions, filtered); err != nil {
		return nil, w.abort(err)
	}
	r, err := w.finish()
	ix.opt.step("run")
	return r, err
}

// affordsFilter says whether a filter for n keys is within the budget.
func (ix *diskIndex) affordsFilter(n int64) bool {
	ix.vis.RLock()
	defer ix.vis.RUnlock()
	return ix.view.filterBytes()+int64(filterSize(n))*8 <= ix.budget().filterBytes()
}
