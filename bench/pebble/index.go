package main

import (
	"context"
	"fmt"
	"time"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// index is the side of lakeload's own key index. Like pebble's, its writes
// outlive the process and are not synced.
type index struct {
	keyindex.Index
	change keyindex.Change
	dir    string
}

func openIndex(ctx context.Context, s settings, dir string) (store, error) {
	opt := keyindex.Options{Dir: dir, Memory: s.Memory}
	ix, err := keyindex.OpenAny(ctx, opt)
	if err != nil {
		ix, err = keyindex.Create(ctx, opt)
	}
	return &index{Index: ix, dir: dir}, err
}

func (x *index) load(ctx context.Context, entries []keyindex.Entry) error {
	if x.change == nil {
		x.change = x.Change()
		x.FileID("base")
	}
	return x.change.Put(ctx, entries)
}

func (x *index) loaded(ctx context.Context) error {
	if err := x.change.Commit(ctx, keyindex.Stamp{Version: 1}); err != nil {
		return err
	}
	return x.settle(ctx)
}

func (x *index) batch(ctx context.Context, hashes []keyindex.Hash, found []keyindex.Loc, entries []keyindex.Entry, n int) error {
	x.FileID(fmt.Sprint("file ", n))
	c := x.Change()
	defer c.Rollback()
	if err := c.Lookup(ctx, hashes, found); err != nil {
		return err
	}
	if err := c.Put(ctx, entries); err != nil {
		return err
	}
	return c.Commit(ctx, keyindex.Stamp{Version: int64(n) + 2})
}

// settle waits until the size of the folder stays what it is.
func (x *index) settle(context.Context) error {
	for last, same := int64(-1), 0; same < 10; {
		time.Sleep(100 * time.Millisecond)
		n, err := size(x.dir)
		if err != nil {
			return err
		}
		if same++; n != last {
			last, same = n, 0
		}
	}
	return nil
}

func (x *index) close() error { return x.Close() }
