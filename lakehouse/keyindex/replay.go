package keyindex

import (
	"context"
	"errors"
)

// errOutgrown ends a replay into memory that turns out not to fit.
var errOutgrown = errors.New("the keys do not fit into memory")

// replay reads the journals, oldest first, over the runs: into memory if all
// fits there, which is tried unless the runs alone say that it does not.
func (ix *diskIndex) replay(ctx context.Context, journals []logMeta) error {
	if ix.view.keys()*bytesPerKey <= ix.budget().keysBytes() {
		err := ix.replayToKeys(ctx, journals)
		if !errors.Is(err, errOutgrown) {
			return err
		}
		ix.keys = nil
	}
	b := &buffer{ix: ix, table: &table{}, limit: ix.budget().memtableKeys()}
	defer func() { _ = b.drop() }()
	if err := ix.replayAll(ctx, journals, func(s slot) error { return b.put(ctx, s) }); err != nil {
		return err
	}
	ix.recent = b.table
	if b.spills == nil {
		return nil
	}
	return ix.keepSpills(ctx, b)
}

func (ix *diskIndex) replayToKeys(ctx context.Context, journals []logMeta) error {
	ix.keys = newTableSet()
	if err := ix.loadKeys(ctx); err != nil {
		return err
	}
	return ix.replayAll(ctx, journals, func(s slot) error {
		ix.keys.apply(s)
		if ix.outgrown() {
			return errOutgrown
		}
		return nil
	})
}

// replayAll replays all journals and opens the last one for more. The edits
// of the file table become unsaved again: they are not sure to be in the log
// of files.
func (ix *diskIndex) replayAll(ctx context.Context, journals []logMeta, apply func(slot) error) error {
	ix.sealed, ix.oldBytes, ix.files.unsaved = nil, 0, fileEdits{}
	last := len(journals) - 1
	for _, j := range journals[:last] {
		end, err := ix.replayOne(ctx, j, true, apply)
		if err != nil {
			return err
		}
		ix.sealed = append(ix.sealed, end)
		ix.oldBytes += end.size
	}
	end, err := ix.replayOne(ctx, journals[last], false, apply)
	if err != nil {
		return err
	}
	ix.journal, err = openLog(ix.path(logName(end.id)), end, ix.opt.Sync)
	return err
}

// keepSpills makes what the journals spilled part of the index, and the
// journals unneeded.
func (ix *diskIndex) keepSpills(ctx context.Context, b *buffer) error {
	if err := b.spill(ctx); err != nil {
		return err
	}
	base := &view{parts: ix.view.parts}
	for _, r := range b.runs {
		base.parts = base.with(r.run)
	}
	return ix.restart(base.parts, ix.stamp, func() {})
}

// replayOne applies a journal's commits. It is read twice: first for where
// the last whole commit ends, so that nothing past it is applied.
func (ix *diskIndex) replayOne(ctx context.Context, j logMeta, sealed bool, apply func(slot) error) (logMeta, error) {
	path := ix.path(logName(j.id))
	end, err := scanLog(path, j, sealed, func(record) error { return ctx.Err() })
	if err != nil {
		return logMeta{}, err
	}
	return scanLog(path, end, true, func(r record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		for p := r.entries; len(p) > 0; p = p[entryBytes:] {
			if err := apply(getSlot(p)); err != nil {
				return err
			}
		}
		if !r.end {
			return nil
		}
		ix.stamp = r.stamp
		u := &ix.files.unsaved
		u.added = append(u.added, r.files.added...)
		u.gone = append(u.gone, r.files.gone...)
		return ix.restoreFiles(r)
	})
}

// loadKeys fills keys from the runs.
func (ix *diskIndex) loadKeys(ctx context.Context) error {
	perShard := uint64(ix.view.keys())/uint64(len(ix.keys.shards)) + 1
	for i := range ix.keys.shards {
		if perShard > tableMinHomes {
			t := &ix.keys.shards[i]
			t.resize(perShard * 5 / 4)
			ix.keys.size += t.bytes()
		}
	}
	for _, gs := range ix.view.parts {
		m, err := newMerger(gs, ix.opt.ioBytes())
		if err != nil {
			return err
		}
		for {
			s, err := m.next()
			if err != nil {
				return err
			}
			if s == nil {
				break
			}
			if !s.gone() {
				ix.keys.apply(*s)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
