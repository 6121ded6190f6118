package keyindex

import (
	"context"
	"errors"
	"fmt"
)

// maxSegments is how many runs a partition may be in before commits wait for
// merges.
const maxSegments = 40

// bytesPerKey is what a key takes in memory at most, right after its table
// grew.
const bytesPerKey = 36

func (c *change) Commit(ctx context.Context, s Stamp) error {
	ix := c.ix
	ix.mu.Lock()
	defer ix.mu.Unlock()
	err := c.usable()
	if err == nil {
		if err = ix.commit(ctx, c, s); err != nil {
			err = fmt.Errorf("commit to the key index at version %d of table %q: %w", s.Version, s.Table, err)
			ix.fail(err)
			ix.changed.Broadcast()
		}
	}
	c.finish()
	return err
}

func (ix *diskIndex) commit(ctx context.Context, c *change, s Stamp) error {
	if err := ix.waitFor(ctx, func() bool { return ix.hasRoom(c.table.n) }); err != nil {
		return err
	}
	var err error
	if c.spills != nil {
		err = ix.commitLarge(ctx, c, s)
	} else {
		err = ix.commitSmall(c, s)
	}
	if err == nil && (ix.frozen != nil || ix.wantsDump()) {
		ix.changed.Broadcast() // there is work
	}
	return err
}

// hasRoom says that n more keys may go to recent.
func (ix *diskIndex) hasRoom(n int) bool {
	if ix.view.deepest() > maxSegments && ix.keys == nil {
		return false
	}
	busy := ix.frozen != nil || (ix.dumping && ix.recent != nil)
	return !busy || ix.recent.n+n <= 2*ix.budget().memtableKeys()
}

// waitFor waits until something is so. The caller holds mu, and loses it
// meanwhile.
func (ix *diskIndex) waitFor(ctx context.Context, so func() bool) error {
	if so() {
		return nil
	}
	stop := context.AfterFunc(ctx, func() {
		ix.mu.Lock()
		defer ix.mu.Unlock()
		ix.changed.Broadcast()
	})
	defer stop()
	for !so() {
		err := errors.Join(ix.usable(), ctx.Err())
		if ix.closed {
			err = errors.Join(err, errClosed)
		}
		if err != nil {
			return err
		}
		ix.changed.Wait()
	}
	return nil
}

// commitSmall commits a change that is in memory: to the journal and to the
// tables.
func (ix *diskIndex) commitSmall(c *change, s Stamp) error {
	edits, last, err := ix.files.take()
	if err != nil {
		return err
	}
	if s == ix.stamp && c.table.n == 0 && edits.empty() {
		return nil
	}
	if err := ix.endCommit(c.table, record{stamp: s, lastID: last, files: edits}); err != nil {
		return err
	}
	ix.vis.Lock()
	ix.stamp = s
	for i := range c.table.slots {
		e := &c.table.slots[i]
		if e.empty() {
			continue
		}
		if ix.keys != nil {
			ix.keys.apply(*e)
		}
		if ix.recent != nil {
			ix.recent.put(*e, 100)
		}
	}
	ix.vis.Unlock()
	if ix.keys == nil && ix.frozen == nil && ix.recentIsFull() {
		if err := ix.freeze(); err != nil {
			return err
		}
	}
	return nil
}

// endCommit writes a commit's entries, or the last of them, and its end to
// the journal.
func (ix *diskIndex) endCommit(t *table, last record) error {
	if err := ix.journal.commit(t, last); err != nil {
		return err
	}
	ix.opt.step("commit")
	if last.stamp != ix.stamp {
		return nil
	}
	// Two states of one stamp: were the journal's end lost, the stamp would
	// not show it. So this one has to be on the disk.
	return ix.pin(last.stamp)
}

// recentIsFull says that recent should be written to a run: it is large, or
// its journal is, as commits to the same few keys make it.
func (ix *diskIndex) recentIsFull() bool {
	n := ix.budget().memtableKeys()
	return ix.recent.n >= n || ix.journal.meta.size > int64(n)*4*entryBytes
}

// pin makes the journal durable and the manifest say how long it is.
func (ix *diskIndex) pin(s Stamp) error {
	if err := ix.journal.f.Sync(); err != nil {
		return fmt.Errorf("sync %s of the key index: %w", ix.journal.path, err)
	}
	return ix.writeManifest(ix.view, s, true)
}

// freeze hands recent to the worker that writes it to a run, and begins a new
// one with a new journal.
func (ix *diskIndex) freeze() error {
	if err := ix.rotate(); err != nil {
		return err
	}
	if err := ix.writeManifest(ix.view, ix.stamp, ix.opt.Sync); err != nil {
		return err
	}
	ix.vis.Lock()
	ix.frozen, ix.recent = ix.recent, ix.newRecent()
	ix.vis.Unlock()
	return nil
}

func (ix *diskIndex) newRecent() *table {
	t := ix.spareRecent
	ix.spareRecent = nil
	if t == nil {
		t = &table{}
	}
	return t
}

// commitLarge commits a change that has spilled: its runs become the index's.
func (ix *diskIndex) commitLarge(ctx context.Context, c *change, s Stamp) error {
	idle := func() bool { return ix.frozen == nil && !ix.flushing && !ix.dumping }
	if err := ix.waitFor(ctx, idle); err != nil {
		return err
	}
	if err := c.spill(ctx); err != nil {
		return err
	}
	edits, last, err := ix.files.take()
	if err != nil {
		return err
	}
	if ix.keys != nil && (ix.keys.n+c.entries())*bytesPerKey <= ix.budget().keysBytes() {
		return ix.absorb(ctx, c, record{stamp: s, lastID: last, files: edits})
	}
	// The edits are written by publish.
	base := &view{parts: ix.view.parts}
	made, err := ix.settle(ctx, base)
	defer func() { releaseRuns(made) }()
	if err != nil {
		return err
	}
	for _, r := range c.runs {
		base.parts = base.with(r.run)
	}
	return ix.restart(base.parts, s, func() {
		ix.stamp, ix.keys = s, nil
		if ix.recent == nil {
			ix.recent = &table{}
		}
		ix.recent.reset()
	})
}

// settle writes what is in tables to runs, and base's segments are then those
// of the whole index. It gives the new runs.
func (ix *diskIndex) settle(ctx context.Context, base *view) ([]*runFile, error) {
	if ix.keys != nil {
		made, err := ix.dumpKeys(ctx, true)
		base.parts = make([][]*segment, ix.opt.Partitions)
		for _, r := range made {
			base.parts = base.with(r)
		}
		return made, err
	}
	if ix.recent.n == 0 {
		return nil, nil
	}
	r, err := ix.tableRun(ctx, ix.recent, ix.affordsFilter(int64(ix.recent.n)))
	if err != nil {
		return nil, err
	}
	base.parts = base.with(r)
	return []*runFile{r}, nil
}

// absorb takes a change that has spilled into keys, and writes it to the
// journal as the one commit that it is. Lookups wait while keys takes it in.
func (ix *diskIndex) absorb(ctx context.Context, c *change, last record) error {
	for _, r := range c.runs {
		if err := ix.journalRun(ctx, r.run); err != nil {
			return err
		}
	}
	if err := ix.endCommit(&table{}, last); err != nil {
		return err
	}
	ix.vis.Lock()
	defer ix.vis.Unlock()
	for _, r := range c.runs {
		err := eachSlot(r.run, ix.opt.ioBytes(), func(s *slot) error {
			ix.keys.apply(*s)
			return nil
		})
		if err != nil {
			ix.fail(err) // before anybody sees half of it
			return err
		}
	}
	ix.stamp = last.stamp
	return nil
}

// journalRun writes a run's entries to the journal, as a part of a commit.
func (ix *diskIndex) journalRun(ctx context.Context, r *runFile) error {
	chunk := make([]byte, 0, journalChunk*entryBytes)
	flush := func() error {
		err := errors.Join(ctx.Err(), ix.journal.append(&record{entries: chunk}))
		chunk = chunk[:0]
		return err
	}
	err := eachSlot(r, ix.opt.ioBytes(), func(s *slot) error {
		chunk = chunk[:len(chunk)+entryBytes]
		putSlot(chunk[len(chunk)-entryBytes:], s)
		if len(chunk) == cap(chunk) {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// restart publishes segments that hold all there is, with an empty journal.
func (ix *diskIndex) restart(parts [][]*segment, s Stamp, swap func()) error {
	if err := ix.rotate(); err != nil {
		return err
	}
	remove := ix.unseal(len(ix.sealed))
	if err := ix.publish(parts, s, swap); err != nil {
		return err
	}
	ix.changed.Broadcast()
	return remove()
}

func releaseRuns(rs []*runFile) {
	for _, r := range rs {
		_ = r.release() // one that no view took is removed; the next Open removes it otherwise
	}
}
