package keyindex

import (
	"context"
	"errors"
	"math/bits"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
)

// view is the runs at one moment: for each partition its segments, newest
// first. It is immutable, holds a reference on each of its runs, and is
// counted itself.
type view struct {
	parts [][]*segment
	refs  atomic.Int64
}

func newView(parts [][]*segment) *view {
	v := &view{parts: parts}
	v.refs.Store(1)
	for _, p := range parts {
		for _, g := range p {
			g.run.retain()
		}
	}
	return v
}

func (v *view) retain() { v.refs.Add(1) }

func (v *view) release() error {
	if v.refs.Add(-1) > 0 {
		return nil
	}
	var errs []error
	for _, p := range v.parts {
		for _, g := range p {
			errs = append(errs, g.run.release())
		}
	}
	return errors.Join(errs...)
}

// runs gives each run once, in no order.
func (v *view) runs() []*runFile {
	seen := map[*runFile]bool{}
	var rs []*runFile
	for _, p := range v.parts {
		for _, g := range p {
			if !seen[g.run] {
				seen[g.run] = true
				rs = append(rs, g.run)
			}
		}
	}
	return rs
}

// keys is the number of entries that stand for a key; one that is in several
// runs counts in each.
func (v *view) keys() (n int64) {
	for _, p := range v.parts {
		for _, g := range p {
			n += g.sec.n - g.sec.gone
		}
	}
	return n
}

func (v *view) filterBytes() (n int64) {
	for _, p := range v.parts {
		for _, g := range p {
			n += int64(len(g.sec.filter)) * 8
		}
	}
	return n
}

// deepest is the greatest number of segments of a partition.
func (v *view) deepest() (n int) {
	for _, p := range v.parts {
		n = max(n, len(p))
	}
	return n
}

// with is the partitions' segments with a run before all others.
func (v *view) with(r *runFile) [][]*segment {
	parts := make([][]*segment, len(v.parts))
	copy(parts, v.parts)
	for _, s := range r.secs {
		old := parts[s.part]
		parts[s.part] = append(append(make([]*segment, 0, len(old)+1), &segment{r, s}), old...)
	}
	return parts
}

// partitionBits is how many leading bits of a hash name its partition.
func partitionBits(parts int) uint { return uint(bits.TrailingZeros(uint(parts))) }

// parallelFrom is how many queries are worth more than one goroutine: from
// there on waiting for the disk counts for more than starting them.
const parallelFrom = 512

// lookup answers the queries of sc, which are not sorted yet. What is not
// answered is left as it is.
func (v *view) lookup(ctx context.Context, sc *scratch, locs []Loc) error {
	if len(sc.qs) == 0 {
		return nil
	}
	qs := sc.sort()
	sc.split(qs, len(v.parts))
	workers := 1
	if len(qs) >= parallelFrom {
		workers = min(len(v.parts), 2*runtime.GOMAXPROCS(0), 16)
	}
	if len(sc.readers) < workers {
		sc.readers = append(sc.readers, make([]blockReader, workers-len(sc.readers))...)
	}
	if workers == 1 {
		return v.lookupParts(ctx, sc, 0, qs, locs, new(atomic.Int64))
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			errs[w] = v.lookupParts(ctx, sc, w, qs, locs, &next)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// lookupParts answers the queries of one partition after the other, as next
// gives them out, with the scratch's reader of a worker.
func (v *view) lookupParts(ctx context.Context, sc *scratch, worker int, qs []query, locs []Loc, next *atomic.Int64) error {
	r := &sc.readers[worker]
	skip := partitionBits(len(v.parts))
	for {
		p := int(next.Add(1) - 1)
		if p >= len(v.parts) {
			return nil
		}
		pend := qs[sc.bounds[p]:sc.bounds[p+1]:sc.bounds[p+1]]
		for _, g := range v.parts[p] {
			if len(pend) == 0 {
				break
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			if pend, err = r.lookup(g, skip, pend, locs); err != nil {
				return err
			}
		}
	}
}

// split sets s.bounds so that the sorted queries of partition p are those
// from bounds[p] to bounds[p+1]. It is done before any is answered, as that
// moves them.
func (s *scratch) split(qs []query, parts int) {
	s.bounds = append(s.bounds[:0], 0)
	skip := partitionBits(parts)
	for p := 1; p < parts; p++ {
		from := s.bounds[p-1]
		s.bounds = append(s.bounds, from+searchQueries(qs[from:], uint64(p)<<(64-skip)))
	}
	s.bounds = append(s.bounds, len(qs))
}

// searchQueries is the number of queries before hi.
func searchQueries(qs []query, hi uint64) int {
	return sort.Search(len(qs), func(i int) bool { return qs[i].hi >= hi })
}
