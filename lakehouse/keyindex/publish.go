package keyindex

import (
	"errors"
	"fmt"
)

// publish writes a manifest with these segments and the journals as they
// are, and then makes the segments the ones that lookups see, together with
// what swap changes. What the index no longer consists of is removed. The
// caller holds mu, and keeps its own references on the runs.
func (ix *diskIndex) publish(parts [][]*segment, stamp Stamp, swap func()) error {
	oldLog, err := ix.saveFiles()
	if err != nil {
		return err
	}
	v := newView(parts)
	if err := ix.writeManifest(v, stamp, ix.opt.Sync); err != nil {
		return errors.Join(err, v.release())
	}
	runs := v.runs()
	stays := make(map[*runFile]bool, len(runs))
	for _, r := range runs {
		r.keep.Store(true)
		stays[r] = true
	}
	ix.vis.Lock()
	old := ix.view
	ix.view = v
	swap()
	ix.vis.Unlock()
	for _, r := range old.runs() {
		if !stays[r] {
			r.keep.Store(false)
		}
	}
	err = old.release()
	if oldLog != nil {
		err = errors.Join(err, ix.trash.throw(doomed{oldLog.f, oldLog.path}))
	}
	ix.opt.step("published")
	if err != nil {
		return fmt.Errorf("remove what the key index no longer needs: %w", err)
	}
	return nil
}

// writeManifest writes what the index consists of, with v as its runs.
func (ix *diskIndex) writeManifest(v *view, stamp Stamp, sync bool) error {
	ix.files.mu.RLock()
	last := ix.files.last
	ix.files.mu.RUnlock()
	m := &manifest{
		parts:    len(v.parts),
		lastID:   last,
		stamp:    stamp,
		files:    ix.fileLog.meta,
		journals: append(append([]logMeta(nil), ix.sealed...), ix.journal.meta),
		segments: make([][]int, len(v.parts)),
	}
	place := map[*runFile]int{}
	for i, r := range v.runs() {
		place[r] = i
		m.runs = append(m.runs, r.meta)
	}
	for p, gs := range v.parts {
		for _, g := range gs {
			m.segments[p] = append(m.segments[p], place[g.run])
		}
	}
	m.next = ix.nextID.Load()
	ix.opt.step("before manifest")
	err := writeManifest(ix.opt.Dir, m, sync)
	ix.opt.step("manifest")
	return err
}

// saveFiles brings the log of files up to what the journals hold, so that
// they may be dropped. Where most of it is about files long forgotten it is
// written anew; then it gives the old one, to be removed once the manifest
// does not name it.
func (ix *diskIndex) saveFiles() (old *logFile, err error) {
	e := ix.files.takeUnsaved()
	if e.empty() {
		return nil, nil
	}
	l := ix.fileLog
	if l.meta.size > 2*ix.fileBase+64<<10 {
		e = ix.files.all()
		if l, err = ix.newLog(); err != nil {
			return nil, err
		}
		old = ix.fileLog
	}
	if err := l.appendFiles(e); err != nil {
		return nil, err
	}
	if old != nil {
		ix.fileLog, ix.fileBase = l, l.meta.size
	}
	ix.opt.step("files")
	return old, nil
}

// appendFiles writes edits as records of limited size.
func (l *logFile) appendFiles(e fileEdits) error {
	const chunk = 4096
	for !e.empty() {
		r := record{end: true}
		n := min(chunk, len(e.added))
		r.files.added, e.added = e.added[:n], e.added[n:]
		if len(e.added) == 0 {
			n = min(chunk, len(e.gone))
			r.files.gone, e.gone = e.gone[:n], e.gone[n:]
		}
		if err := l.append(&r); err != nil {
			return err
		}
	}
	l.buf = nil
	return l.flush()
}

// rotate begins a new journal. The caller holds mu and publishes, or writes
// the manifest, before it lets go of it.
func (ix *diskIndex) rotate() error {
	l, err := ix.newLog()
	if err != nil {
		return err
	}
	old := ix.journal
	ix.journal = l
	ix.sealed = append(ix.sealed, old.meta)
	ix.oldBytes += old.meta.size
	ix.opt.step("journal")
	if err := old.f.Close(); err != nil {
		return fmt.Errorf("close a journal of the key index: %w", err)
	}
	return nil
}

// unseal forgets the n oldest journals: what is in them is in runs. remove
// removes them, once a manifest without them is written.
func (ix *diskIndex) unseal(n int) (remove func() error) {
	done := ix.sealed[:n:n]
	ix.sealed = append([]logMeta(nil), ix.sealed[n:]...)
	for _, j := range done {
		ix.oldBytes -= j.size
	}
	return func() error {
		var errs []error
		for _, j := range done {
			errs = append(errs, ix.trash.throw(doomed{path: ix.path(logName(j.id))}))
		}
		ix.opt.step("journals removed")
		return errors.Join(errs...)
	}
}
