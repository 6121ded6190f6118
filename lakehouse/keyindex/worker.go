package keyindex

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// workers is how many goroutines an index has for what is large: one may merge a large
// partition while the other writes recent changes to a run. Close stops them.
const workers = 2

func (ix *diskIndex) start() {
	ix.trash.start()
	ix.wg.Go(ix.trash.work)
	for range workers {
		ix.wg.Go(ix.work)
	}
}

// work does what is due until the index is closed or has failed.
func (ix *diskIndex) work() {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for !ix.closed && ix.usable() == nil {
		job, err := ix.nextJob()
		if job == nil && err == nil {
			ix.changed.Wait()
			continue
		}
		if err == nil {
			ix.mu.Unlock()
			err = job()
			ix.mu.Lock()
		}
		if err != nil && !ix.closed {
			ix.fail(fmt.Errorf("keep the key index in order: %w", err))
		}
		ix.changed.Broadcast()
	}
}

// nextJob is the most urgent thing to do, marked as being done; nil: none.
// The job is called without mu.
func (ix *diskIndex) nextJob() (func() error, error) {
	switch {
	case ix.frozen != nil && !ix.flushing:
		return ix.flushJob(), nil
	case ix.wantsDump():
		return ix.dumpJob()
	case ix.keys == nil:
		return ix.mergeJob(), nil
	}
	return nil, nil
}

// flushJob writes the frozen table to a run.
func (ix *diskIndex) flushJob() func() error {
	t, sealed := ix.frozen, len(ix.sealed)
	ix.flushing = true
	return func() error {
		r, err := ix.tableRun(ix.ctx, t, ix.affordsFilter(int64(t.n)))
		ix.mu.Lock()
		defer ix.mu.Unlock()
		ix.flushing = false
		if err != nil {
			return err
		}
		defer releaseRuns([]*runFile{r})
		remove := ix.unseal(sealed)
		if err := ix.publish(ix.view.with(r), ix.stamp, func() { ix.frozen = nil }); err != nil {
			return err
		}
		t.reset() // nobody sees it any more
		ix.spareRecent = t
		return remove()
	}
}

// wantsDump says that keys has to be written out: because the journals grew
// too long, or in order to leave the memory mode.
func (ix *diskIndex) wantsDump() bool {
	if ix.keys == nil || ix.dumping {
		return false
	}
	journals := ix.oldBytes + ix.journal.meta.size
	var runs int64
	rs := ix.view.runs()
	for _, r := range rs {
		runs += r.meta.size
	}
	return ix.outgrown() || journals > max(ix.budget().journalBytes(), runs) || len(rs) > ix.opt.Partitions
}

func (ix *diskIndex) outgrown() bool { return ix.keys.size > ix.budget().keysBytes() }

// dumpJob writes keys out while commits go on. What is written of a key may
// be newer than the journal's beginning; the journal, read over it, ends in
// the same state.
func (ix *diskIndex) dumpJob() (func() error, error) {
	leave := ix.outgrown()
	if err := ix.rotate(); err != nil {
		return nil, err
	}
	if err := ix.writeManifest(ix.view, ix.stamp, ix.opt.Sync); err != nil {
		return nil, err
	}
	sealed := len(ix.sealed)
	ix.dumping = true
	if leave {
		ix.vis.Lock()
		ix.recent = &table{}
		ix.vis.Unlock()
	}
	return func() error {
		made, err := ix.dumpKeys(ix.ctx, leave)
		defer func() { releaseRuns(made) }()
		ix.mu.Lock()
		defer ix.mu.Unlock()
		ix.dumping = false
		if err != nil {
			return err
		}
		base := &view{parts: make([][]*segment, ix.opt.Partitions)}
		for _, r := range made {
			base.parts = base.with(r)
		}
		remove := ix.unseal(sealed)
		err = ix.publish(base.parts, ix.stamp, func() {
			if leave {
				ix.keys = nil
			}
		})
		if err != nil {
			return err
		}
		if leave {
			ix.opt.Logger.Info("key index left the memory", "dir", ix.opt.Dir, "keys", ix.view.keys())
		}
		return remove()
	}, nil
}

// dumpKeys writes keys to one run, or to one for each partition. Lookups and
// commits wait for a 256th of it at a time. The runs that it gives are the
// caller's even if it fails.
func (ix *diskIndex) dumpKeys(ctx context.Context, split bool) (made []*runFile, err error) {
	var w *runWriter
	var slots []slot
	keys := ix.keys
	shards := len(keys.shards) / ix.opt.Partitions
	for p := range ix.opt.Partitions {
		if w == nil {
			if w, err = ix.newRun(); err != nil {
				return made, err
			}
		}
		w.begin(p, 0)
		for i := p * shards; i < (p+1)*shards; i++ {
			ix.vis.RLock()
			slots = append(slots[:0], keys.shards[i].slots...)
			ix.vis.RUnlock()
			if err := errors.Join(ctx.Err(), w.addAll(slots)); err != nil {
				return made, w.abort(err)
			}
		}
		if err := w.end(); err != nil {
			return made, w.abort(err)
		}
		if split || p == ix.opt.Partitions-1 {
			r, err := w.finish()
			if err != nil {
				return made, err
			}
			made = append(made, r)
			w = nil
			ix.opt.step("run")
		}
	}
	return made, nil
}

func (w *runWriter) addAll(slots []slot) error {
	for i := range slots {
		if !slots[i].empty() {
			if err := w.add(&slots[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// mergeJob merges a partition's newest segments, nil if nothing is due.
func (ix *diskIndex) mergeJob() func() error {
	part, count, most := 0, 0, 0
	for p, gs := range ix.view.parts {
		if ix.merging[p] {
			continue
		}
		sizes := make([]int64, len(gs))
		for i, g := range gs {
			sizes[i] = g.sec.n
		}
		if n, urgency := pickMerge(sizes); n > 0 && urgency > most {
			part, count, most = p, n, urgency
		}
	}
	if count == 0 {
		return nil
	}
	v := ix.view
	v.retain()
	ix.merging[part] = true
	return func() error {
		err := errors.Join(ix.merge(v, part, count), v.release())
		ix.mu.Lock()
		ix.merging[part] = false
		ix.mu.Unlock()
		return err
	}
}

func (ix *diskIndex) merge(v *view, part, count int) error {
	begun := time.Now()
	all := v.parts[part]
	in := all[:count]
	bottom := count == len(all)
	var n int64
	for _, g := range in {
		n += g.sec.n
	}
	w, err := ix.newRun()
	if err != nil {
		return err
	}
	filtered := !bottom && ix.affordsFilter(n)
	pace := ix.giveWay
	if len(all) > hurryFrom {
		pace = nil
	}
	if err := mergeInto(ix.ctx, w, part, in, bottom, filtered, ix.opt.ioBytes(), pace); err != nil {
		return w.abort(err)
	}
	r, err := w.finish()
	if err != nil {
		return err
	}
	defer releaseRuns([]*runFile{r})
	ix.opt.step("run")
	ix.opt.Logger.Debug("key index merged", "dir", ix.opt.Dir, "partition", part, "segments", count, "entries", n, "took", time.Since(begun))

	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.counts.merges.Add(1)
	parts := slices.Clone(ix.view.parts)
	parts[part] = replaceSegments(parts[part], in, r)
	return ix.publish(parts, ix.stamp, func() {})
}

// A merge gives way to lookups, which somebody waits for, a few times between
// two portions of its entries; not where a partition is in so many runs that
// lookups wait for the merge.
const (
	hurryFrom    = 12
	giveWayTimes = 6
	giveWayFor   = 500 * time.Microsecond
)

func (ix *diskIndex) giveWay() {
	for range giveWayTimes {
		if ix.lookups.Load() == 0 || ix.ctx.Err() != nil {
			return
		}
		time.Sleep(giveWayFor)
	}
}

// replaceSegments puts a run's segment, if it has one, in the place of those
// that it was merged from. Newer ones may have come before them.
func replaceSegments(now, merged []*segment, r *runFile) []*segment {
	at := slices.Index(now, merged[0])
	out := slices.Clone(now[:at])
	for _, s := range r.secs {
		out = append(out, &segment{r, s})
	}
	return append(out, now[at+len(merged):]...)
}
