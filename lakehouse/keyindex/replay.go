package keyindex

import "context"

// replay reads the journals, oldest first, over the runs, into keys if all
// fits into memory. The journal's edits of the file table become unsaved
// again: they are not sure to be in the log of files.
func (ix *diskIndex) replay(ctx context.Context, journals []logMeta) error {
	sizes, err := ix.journalSizes(journals)
	if err != nil {
		return err
	}
	var apply func(slot) error
	var b *buffer
	if n := ix.view.keys() + sizes/entryBytes; n*bytesPerKey <= ix.opt.keysBytes() {
		ix.keys = newTableSet()
		if err := ix.loadKeys(ctx); err != nil {
			return err
		}
		apply = func(s slot) error { ix.keys.apply(s); return nil }
	} else {
		b = &buffer{ix: ix, table: &table{}, limit: ix.opt.memtableKeys()}
		defer func() { _ = b.drop() }()
		apply = func(s slot) error { return b.put(ctx, s) }
	}
	for i, j := range journals {
		end, err := ix.replayOne(ctx, j, i < len(journals)-1, apply)
		if err != nil {
			return err
		}
		if i < len(journals)-1 {
			ix.sealed = append(ix.sealed, end)
			ix.oldBytes += end.size
			continue
		}
		if ix.journal, err = openLog(ix.path(logName(end.id)), end, ix.opt.Sync); err != nil {
			return err
		}
	}
	if b == nil {
		return nil
	}
	ix.recent = b.table
	if b.spills == nil {
		return nil
	}
	return ix.keepSpills(ctx, b)
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

// replayOne applies a journal's commits, each as a whole.
func (ix *diskIndex) replayOne(ctx context.Context, j logMeta, sealed bool, apply func(slot) error) (logMeta, error) {
	var parts [][]byte // of a commit whose end has not come
	use := func(r record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !r.end {
			parts = append(parts, append([]byte(nil), r.entries...))
			return nil
		}
		for _, p := range append(parts, r.entries) {
			for ; len(p) > 0; p = p[entryBytes:] {
				if err := apply(getSlot(p)); err != nil {
					return err
				}
			}
		}
		parts = nil
		ix.stamp = r.stamp
		if err := ix.restoreFiles(r); err != nil {
			return err
		}
		u := &ix.files.unsaved
		u.added = append(u.added, r.files.added...)
		u.gone = append(u.gone, r.files.gone...)
		return nil
	}
	return scanLog(ix.path(logName(j.id)), j, sealed, use)
}

// journalSizes is the size of all journals as the disk has them.
func (ix *diskIndex) journalSizes(journals []logMeta) (n int64, err error) {
	for _, j := range journals {
		size, err := fileSize(ix.path(logName(j.id)))
		if err != nil {
			return 0, err
		}
		n += size
	}
	return n, nil
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
