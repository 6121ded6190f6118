package keyindex

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// buffer holds writes that are not part of the index yet: a table, and what
// it spilled to runs of its own.
type buffer struct {
	ix    *diskIndex
	table *table
	limit int // entries in the table
	// spills holds the spilled runs, as a view for lookups and, oldest
	// first, in runs with their tiers. Nil while nothing is spilled.
	spills *view
	runs   []spilled
}

// spilled is a run of a buffer, whose reference is the view's. Runs of one
// tier are merged into one of the next, so that there are few.
type spilled struct {
	run  *runFile
	tier int
}

const spillWidth = 8

func (b *buffer) put(ctx context.Context, s slot) error {
	if b.table.n >= b.limit {
		if err := b.spill(ctx); err != nil {
			return err
		}
	}
	b.table.put(s, 100)
	return nil
}

// spill writes the table to a run and empties it.
func (b *buffer) spill(ctx context.Context) error {
	if b.table.n == 0 {
		return nil
	}
	r, err := b.ix.tableRun(ctx, b.table, false)
	if err != nil {
		return fmt.Errorf("spill a change of the key index: %w", err)
	}
	b.table.reset()
	b.adopt(append(b.runs, spilled{r, 0}))
	return b.tidy(ctx)
}

// adopt makes these the spilled runs. It takes over the caller's references
// on those that are new.
func (b *buffer) adopt(runs []spilled) {
	old := b.spills
	had := map[*runFile]bool{}
	for _, s := range b.runs {
		had[s.run] = true
	}
	v := &view{parts: make([][]*segment, b.ix.opt.Partitions)}
	for _, s := range runs {
		v.parts = v.with(s.run)
	}
	b.spills = newView(v.parts)
	b.runs = runs
	for _, s := range runs {
		if !had[s.run] {
			_ = s.run.release() // the view has its own; never the last
		}
	}
	if old != nil {
		_ = old.release() // removes what was merged
	}
}

// tidy merges the newest runs while there are enough of one tier.
func (b *buffer) tidy(ctx context.Context) error {
	for {
		n, tier := 0, b.runs[len(b.runs)-1].tier
		for n < len(b.runs) && b.runs[len(b.runs)-1-n].tier == tier {
			n++
		}
		if n < spillWidth {
			return nil
		}
		keep, merge := b.runs[:len(b.runs)-n], b.runs[len(b.runs)-n:]
		r, err := b.merge(ctx, merge)
		if err != nil {
			return fmt.Errorf("merge what a change of the key index spilled: %w", err)
		}
		b.adopt(append(append([]spilled(nil), keep...), spilled{r, tier + 1}))
	}
}

func (b *buffer) merge(ctx context.Context, runs []spilled) (*runFile, error) {
	w, err := b.ix.newRun()
	if err != nil {
		return nil, err
	}
	for p := range b.ix.opt.Partitions {
		var gs []*segment
		for i := len(runs) - 1; i >= 0; i-- {
			if s := runs[i].run.section(p); s != nil {
				gs = append(gs, &segment{runs[i].run, s})
			}
		}
		if len(gs) == 0 {
			continue
		}
		if err := mergeInto(ctx, w, p, gs, false, false, b.ix.opt.ioBytes(), nil); err != nil {
			return nil, w.abort(err)
		}
	}
	return w.finish()
}

// entries is an upper estimate of the keys that the buffer holds.
func (b *buffer) entries() int64 {
	n := int64(b.table.n)
	for _, s := range b.runs {
		k, _ := s.run.entries()
		n += k
	}
	return n
}

// drop forgets everything.
func (b *buffer) drop() error {
	b.runs = nil
	if b.spills == nil {
		return nil
	}
	v := b.spills
	b.spills = nil
	return v.release()
}

// change is a Change of a diskIndex.
type change struct {
	buffer
	done bool
	err  error // why nothing can be put
}

func (ix *diskIndex) Change() Change {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	c := &change{buffer: buffer{ix: ix, limit: ix.budget().changeKeys()}}
	if ix.changing != nil {
		c.table, c.err, c.done = &table{}, errBusy, true
		return c
	}
	ix.changing = c
	c.table = ix.spareKeys
	ix.spareKeys = nil
	if c.table == nil {
		c.table = &table{}
	}
	return c
}

func (c *change) usable() error {
	switch {
	case c.err != nil:
		return c.err
	case c.done:
		return errDone
	}
	return c.ix.usable()
}

func (c *change) Put(ctx context.Context, entries []Entry) error {
	if err := errors.Join(c.usable(), ctx.Err()); err != nil {
		return fmt.Errorf("put keys: %w", err)
	}
	for i := range entries {
		e := &entries[i]
		s := slot{file: uint32(e.Loc.File), row: e.Loc.Row}
		s.hi, s.lo = hashWords(&e.Hash)
		if s.file == 0 {
			s.row = goneRow
		}
		if err := c.put(ctx, s); err != nil {
			// What the table held may be spilled or not: the change can only
			// be rolled back.
			c.err = err
			return fmt.Errorf("put keys: %w", err)
		}
	}
	return nil
}

// unanswered marks a location that the change does not know. No data file
// has the id NoFile, so it is nobody's location.
var unanswered = Loc{File: NoFile, Row: math.MaxUint32}

func (c *change) Lookup(ctx context.Context, hashes []Hash, locs []Loc) error {
	if len(hashes) != len(locs) {
		return fmt.Errorf("look up keys: %d hashes, room for %d locations", len(hashes), len(locs))
	}
	if err := errors.Join(c.usable(), ctx.Err()); err != nil {
		return fmt.Errorf("look up keys: %w", err)
	}
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	sc.qs = sc.qs[:0]
	for i := range hashes {
		hi, lo := hashWords(&hashes[i])
		sc.qs = append(sc.qs, query{hi, lo, i})
		locs[i] = unanswered
	}
	sc.qs = c.table.answer(sc.qs, locs)
	if c.spills != nil {
		if err := c.spills.lookup(ctx, sc, locs); err != nil {
			return fmt.Errorf("look up keys: %w", err)
		}
	}
	sc.qs = sc.qs[:0]
	for i := range hashes {
		if locs[i] == unanswered {
			hi, lo := hashWords(&hashes[i])
			sc.qs = append(sc.qs, query{hi, lo, i})
			locs[i] = Loc{}
		}
	}
	if len(sc.qs) == 0 {
		return nil
	}
	return c.ix.lookup(ctx, sc, locs)
}

func (c *change) Rollback() {
	c.ix.mu.Lock()
	defer c.ix.mu.Unlock()
	c.finish()
}

// finish ends the change. The caller holds mu.
func (c *change) finish() {
	if c.done {
		return
	}
	c.done = true
	if err := c.drop(); err != nil {
		c.ix.opt.Logger.Warn("key index: remove what a change spilled", "error", err)
	}
	// A table that suited this change suits the next, unless it is mostly
	// empty: it costs its size to walk.
	if t := c.table; t.bytes() <= 64<<10 || uint64(t.n)*8 > t.homes {
		if t.bytes() <= 4<<20 {
			t.reset()
			c.ix.spareKeys = t
		}
	}
	c.table = &table{}
	c.ix.changing = nil
}
