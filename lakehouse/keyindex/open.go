package keyindex

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Create makes an empty index with a zero stamp, in the place of whatever
// index the folder holds. The index has to be closed, even after a failure of
// one of its methods; while it is open nobody else can open the folder.
func Create(ctx context.Context, opt Options) (Index, error) {
	ix, err := create(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("create a key index in %s: %w", opt.Dir, err)
	}
	return ix, nil
}

func create(ctx context.Context, opt Options) (*diskIndex, error) {
	if err := errors.Join(opt.Validate(), ctx.Err()); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(opt.Dir)
	if err != nil {
		return nil, err
	}
	ix := newDiskIndex(opt, lock)
	ix.keys = newTableSet()
	if err := ix.createFiles(); err != nil {
		return nil, errors.Join(err, ix.Close())
	}
	ix.start()
	return ix, nil
}

// createFiles removes an old index, its manifest first, and writes an empty
// one.
func (ix *diskIndex) createFiles() error {
	if err := os.Remove(ix.path(manifestName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	err := removeAll(ix.opt.Dir, nil)
	if err != nil {
		return err
	}
	if ix.fileLog, err = ix.newLog(); err != nil {
		return err
	}
	if ix.journal, err = ix.newLog(); err != nil {
		return err
	}
	return ix.writeManifest(ix.view, Stamp{}, ix.opt.Sync)
}

// Open opens the index that the folder holds, if it is a picture of the state
// want. If there is none, or it is damaged, of another format or of another
// state, the error says which and wraps [ErrUnfit]; other errors are about
// the folder or the options and would meet a new index as well. For the rest
// see [Create].
func Open(ctx context.Context, opt Options, want Stamp) (Index, error) {
	ix, err := open(ctx, opt, &want)
	if err != nil {
		return nil, fmt.Errorf("open the key index in %s: %w", opt.Dir, err)
	}
	return ix, nil
}

// OpenAny is Open for a caller that takes the index at whichever state it is:
// one that asks [Index.Stamp] and brings the index up to date from the
// table's log, which after a crash is cheaper than to rebuild it. An index
// that was created and never committed to has a zero stamp.
func OpenAny(ctx context.Context, opt Options) (Index, error) {
	ix, err := open(ctx, opt, nil)
	if err != nil {
		return nil, fmt.Errorf("open the key index in %s: %w", opt.Dir, err)
	}
	return ix, nil
}

func open(ctx context.Context, opt Options, want *Stamp) (*diskIndex, error) {
	if err := errors.Join(opt.Validate(), ctx.Err()); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	if _, err := os.Stat(opt.Dir); errors.Is(err, os.ErrNotExist) {
		return nil, unfit(opt.Dir, "there is no such folder")
	} else if err != nil {
		return nil, err
	}
	lock, err := lockDir(opt.Dir)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(opt.Dir)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	opt.Partitions = m.parts
	ix := newDiskIndex(opt, lock)
	ix.nextID.Store(m.next)
	err = ix.load(ctx, m)
	if err == nil && want != nil && ix.stamp != *want {
		err = unfit(opt.Dir, "it is at version %d (commit %q) of table %q, not at version %d (commit %q) of table %q",
			ix.stamp.Version, ix.stamp.Commit, ix.stamp.Table, want.Version, want.Commit, want.Table)
	}
	if err != nil {
		return nil, errors.Join(err, ix.Close())
	}
	ix.start()
	return ix, nil
}

// load reads what the manifest names.
func (ix *diskIndex) load(ctx context.Context, m *manifest) error {
	if err := ix.clean(m); err != nil {
		return err
	}
	if err := ix.loadRuns(m); err != nil {
		return err
	}
	ix.stamp = m.stamp
	ix.files.last = m.lastID
	files, err := scanLog(ix.path(logName(m.files.id)), m.files, true, func(r record) error {
		return ix.restoreFiles(r)
	})
	if err != nil {
		return err
	}
	if ix.fileLog, err = openLog(ix.path(logName(files.id)), files, ix.opt.Sync); err != nil {
		return err
	}
	if err := ix.replay(ctx, m.journals); err != nil {
		return err
	}
	ix.fileBase = ix.files.liveBytes()
	return nil
}

// clean removes what the manifest does not name: what was being written when
// the process ended.
func (ix *diskIndex) clean(m *manifest) error {
	keep := map[string]bool{manifestName: true, logName(m.files.id): true}
	for _, j := range m.journals {
		keep[logName(j.id)] = true
	}
	for _, r := range m.runs {
		keep[runName(r.id)] = true
	}
	return removeAll(ix.opt.Dir, keep)
}

func (ix *diskIndex) loadRuns(m *manifest) error {
	var runs []*runFile
	defer func() { releaseRuns(runs) }()
	for _, meta := range m.runs {
		r, err := openRun(ix.path(runName(meta.id)), meta, ix.trash)
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	parts := make([][]*segment, m.parts)
	for p, rs := range m.segments {
		for _, i := range rs {
			s := runs[i].section(p)
			if s == nil {
				return unfit(runs[i].path, "it has no section for partition %d, which the manifest names", p)
			}
			parts[p] = append(parts[p], &segment{runs[i], s})
		}
	}
	old := ix.view
	ix.view = newView(parts)
	return old.release()
}

func (ix *diskIndex) restoreFiles(r record) error {
	if err := ix.files.restore(r.files); err != nil {
		return unfit(ix.opt.Dir, "%v", err)
	}
	ix.files.last = max(ix.files.last, r.lastID)
	return nil
}
