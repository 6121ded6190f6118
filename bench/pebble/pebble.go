package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
)

// peer is the side of pebble: a key is the hash, a value the location.
type peer struct {
	db    *pebble.DB
	cache *pebble.Cache
}

// memTable is the size in bytes of a memtable. Pebble takes its memtables out of
// the block cache; so that the blocks have all that the index has, it gets room
// for them on top.
const memTable = 16 << 20

// openPebble gives pebble what it needs to be good at this: its block cache is
// the memory that the index has, its memtables come on top of it; filters on
// every level, as half of the keys that are looked up are not there; no
// compression, as hashes cannot be compressed; few levels of large files; as many compactions at a time as
// there are processors.
func openPebble(_ context.Context, s settings, dir string) (store, error) {
	p := &peer{cache: pebble.NewCache(s.Memory + 4*memTable)}
	opt := &pebble.Options{
		Cache:                      p.cache,
		MemTableSize:               memTable,
		L0CompactionThreshold:      4,
		L0StopWritesThreshold:      24,
		LBaseMaxBytes:              256 << 20,
		MaxOpenFiles:               2000,
		CompactionConcurrencyRange: func() (int, int) { return 1, runtime.GOMAXPROCS(0) },
		Logger:                     quiet{},
	}
	opt.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	for i := range opt.Levels {
		opt.TargetFileSizes[i] = 32 << 20
		opt.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opt.Levels[i].BlockSize = 4 << 10
	}
	var err error
	p.db, err = pebble.Open(dir, opt)
	return p, err
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) { panic("pebble gave up") }

func (p *peer) load(_ context.Context, entries []keyindex.Entry) error { return p.write(entries) }

func (p *peer) write(entries []keyindex.Entry) error {
	b := p.db.NewBatchWithSize(len(entries) * 32)
	for i := range entries {
		e := &entries[i]
		var v [8]byte
		binary.LittleEndian.PutUint32(v[:], uint32(e.Loc.File))
		binary.LittleEndian.PutUint32(v[4:], e.Loc.Row)
		if err := b.Set(e.Hash[:], v[:], nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	return errors.Join(p.db.Apply(b, pebble.NoSync), b.Close())
}

func (p *peer) loaded(ctx context.Context) error {
	last := [17]byte{16: 0}
	for i := range 16 {
		last[i] = 0xff
	}
	return p.db.Compact(ctx, []byte{0}, last[:], true)
}

func (p *peer) batch(_ context.Context, hashes []keyindex.Hash, found []keyindex.Loc, entries []keyindex.Entry, _ int) error {
	// As the index does it: in the order of the hashes, which have blocks in
	// common, and several goroutines, so that the disk has more than one request
	// at a time.
	order := make([]int, len(hashes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(hashes[a][:], hashes[b][:]) })
	var wg sync.WaitGroup
	workers := 2 * runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for i := len(hashes) * w / workers; i < len(hashes)*(w+1)/workers && errs[w] == nil; i++ {
				errs[w] = p.get(&hashes[order[i]], &found[order[i]])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return p.write(entries)
}

func (p *peer) get(h *keyindex.Hash, to *keyindex.Loc) error {
	v, closer, err := p.db.Get(h[:])
	if errors.Is(err, pebble.ErrNotFound) {
		*to = keyindex.Loc{}
		return nil
	}
	if err != nil {
		return err
	}
	*to = keyindex.Loc{File: keyindex.FileID(binary.LittleEndian.Uint32(v)), Row: binary.LittleEndian.Uint32(v[4:])}
	return closer.Close()
}

func (p *peer) settle(context.Context) error {
	for idle := 0; idle < 10; {
		time.Sleep(100 * time.Millisecond)
		m := p.db.Metrics()
		if idle++; m.Compact.NumInProgress > 0 || m.Flush.NumInProgress > 0 {
			idle = 0
		}
	}
	return nil
}

func (p *peer) close() error {
	err := p.db.Close()
	p.cache.Unref()
	return err
}
