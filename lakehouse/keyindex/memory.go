package keyindex

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// memIndex is an Index in a map.
type memIndex struct {
	mu       sync.RWMutex
	files    *fileTable
	stamp    Stamp
	locs     map[Hash]Loc
	changing bool
	failure  error
	counts   counters
}

// NewMemory makes an empty index with a zero stamp that lives in memory only,
// without a bound, a goroutine or a file: for simulations, and for tests of
// what stands on an index.
func NewMemory() Index {
	return &memIndex{files: newFileTable(), locs: map[Hash]Loc{}}
}

func (ix *memIndex) Stamp() Stamp {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.stamp
}

func (ix *memIndex) Len() int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return int64(len(ix.locs))
}

func (ix *memIndex) FileID(path string) FileID { return ix.files.id(path) }
func (ix *memIndex) Path(id FileID) string     { return ix.files.path(id) }
func (ix *memIndex) Forget(id FileID)          { ix.files.forget(id) }

func (ix *memIndex) Lookup(ctx context.Context, hashes []Hash, locs []Loc) error {
	return ix.lookup(ctx, nil, hashes, locs)
}

func (ix *memIndex) lookup(ctx context.Context, own map[Hash]Loc, hashes []Hash, locs []Loc) error {
	if len(hashes) != len(locs) {
		return fmt.Errorf("look up keys: %d hashes, room for %d locations", len(hashes), len(locs))
	}
	ix.counts.lookups.Add(int64(len(hashes)))
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if err := errors.Join(ix.failure, ctx.Err()); err != nil {
		return fmt.Errorf("look up keys: %w", err)
	}
	for i, h := range hashes {
		l, ok := own[h]
		if !ok {
			l = ix.locs[h]
		}
		locs[i] = l
	}
	return nil
}

func (ix *memIndex) Change() Change {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.changing {
		return &memChange{ix: ix, err: errBusy}
	}
	ix.changing = true
	return &memChange{ix: ix, own: map[Hash]Loc{}}
}

func (ix *memIndex) Close() error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.failure = errors.Join(ix.failure, errClosed)
	ix.locs = nil
	return nil
}

type memChange struct {
	ix  *memIndex
	own map[Hash]Loc
	err error // why it cannot be used
}

func (c *memChange) usable(ctx context.Context) error {
	c.ix.mu.RLock()
	defer c.ix.mu.RUnlock()
	return errors.Join(c.err, c.ix.failure, ctx.Err())
}

func (c *memChange) Put(ctx context.Context, entries []Entry) error {
	if err := c.usable(ctx); err != nil {
		return fmt.Errorf("put keys: %w", err)
	}
	for _, e := range entries {
		if e.Loc.File == NoFile {
			e.Loc = Loc{}
		}
		c.own[e.Hash] = e.Loc
	}
	return nil
}

func (c *memChange) Lookup(ctx context.Context, hashes []Hash, locs []Loc) error {
	if c.err != nil {
		return fmt.Errorf("look up keys: %w", c.err)
	}
	return c.ix.lookup(ctx, c.own, hashes, locs)
}

func (c *memChange) Commit(ctx context.Context, s Stamp) error {
	if c.err != nil {
		return fmt.Errorf("commit to the key index: %w", c.err)
	}
	err := c.usable(ctx)
	c.ix.mu.Lock()
	defer c.ix.mu.Unlock()
	c.end()
	if err != nil {
		err = fmt.Errorf("commit to the key index: %w", err)
		c.ix.failure = errors.Join(c.ix.failure, err)
		return err
	}
	for h, l := range c.own {
		if l == (Loc{}) {
			delete(c.ix.locs, h)
		} else {
			c.ix.locs[h] = l
		}
	}
	c.ix.stamp = s
	c.own = nil
	c.ix.files.discardEdits()
	return nil
}

func (c *memChange) Rollback() {
	c.ix.mu.Lock()
	defer c.ix.mu.Unlock()
	c.end()
}

// end ends the change. The caller holds the index's mu.
func (c *memChange) end() {
	if c.err == nil {
		c.err = errDone
		c.ix.changing = false
	}
}

// SetMemory does nothing: all is in memory.
func (ix *memIndex) SetMemory(int64) {}
