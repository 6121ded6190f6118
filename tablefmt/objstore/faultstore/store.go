// Package faultstore wraps any objstore.Store so that chosen calls fail, in
// the ways in which disks, networks and object stores do: before they do
// anything, after they have done it, late, or in silence. The same rules and
// the same calls give the same faults.
package faultstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Store is a store with faults. Without rules it is the store that it wraps.
type Store struct {
	inner objstore.Store

	mu     sync.Mutex
	rules  []*active
	calls  map[Op]int
	landed []func(context.Context) error
}

type active struct {
	Rule
	seen, hit int
}

// New wraps a store. A rule that makes no sense is an error of the test that
// wrote it.
func New(inner objstore.Store, rules ...Rule) (*Store, error) {
	s := &Store{inner: inner, calls: make(map[Op]int)}
	return s, s.SetRules(rules...)
}

// SetRules replaces all rules, and forgets their counts.
func (s *Store) SetRules(rules ...Rule) error {
	var errs []error
	fresh := make([]*active, len(rules))
	for i, r := range rules {
		errs = append(errs, r.check())
		fresh[i] = &active{Rule: r}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = fresh
	return nil
}

// Hits tells, for each rule in order, how many calls it has hit. A test that
// never hit its fault has tested nothing.
func (s *Store) Hits() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	hits := make([]int, len(s.rules))
	for i, r := range s.rules {
		hits[i] = r.hit
	}
	return hits
}

// Calls tells how often an operation was called, hit or not.
func (s *Store) Calls(op Op) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// Land makes the calls that Land rules have kept, in their order, and gives
// what the store answered to each.
func (s *Store) Land(ctx context.Context) []error {
	s.mu.Lock()
	kept := s.landed
	s.landed = nil
	s.mu.Unlock()
	errs := make([]error, len(kept))
	for i, f := range kept {
		errs[i] = f(ctx)
	}
	return errs
}

// hit counts a call and gives the rule that hits it, nil for none.
func (s *Store) hit(op Op, path string) *Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op]++
	var found *Rule
	for _, r := range s.rules {
		if !r.matches(op, path) {
			continue
		}
		r.seen++ // also behind another rule: counts do not depend on the order
		if found == nil && r.hits(r.seen) {
			r.hit++
			found = &r.Rule
		}
	}
	return found
}

// call passes one call through the rules. late may be nil: it cannot be kept.
func (s *Store) call(ctx context.Context, op Op, path string, do func() error, late func(context.Context) error) error {
	r := s.hit(op, path)
	if r == nil {
		return do()
	}
	switch r.Do {
	case Fail:
		return s.fault(r, op, path, false)
	case SucceedThenFail:
		if err := do(); err != nil {
			return err
		}
		return s.fault(r, op, path, writes(op))
	case Land:
		if late != nil {
			s.mu.Lock()
			s.landed = append(s.landed, late)
			s.mu.Unlock()
		}
		return s.fault(r, op, path, true)
	case FailUnknown:
		return s.fault(r, op, path, true)
	}
	if err := r.pause(ctx); err != nil {
		return err
	}
	return do()
}

func writes(op Op) bool {
	return slices.Contains([]Op{OpPut, OpPutIfAbsent, OpClose, OpDelete}, op)
}

func (s *Store) fault(r *Rule, op Op, path string, unknown bool) error {
	err := r.Err
	if err == nil {
		err = ErrInjected
	}
	if unknown {
		err = fmt.Errorf("%w: %w", objstore.ErrUnknownOutcome, err)
	}
	return &objstore.Error{Op: string(op), Store: s.URL(), Path: path, Transient: r.Transient, Blocked: r.Blocked, Err: err}
}

// pause does what Delay and Hold do.
func (r *Rule) pause(ctx context.Context) error {
	until := r.Until
	var timer <-chan time.Time
	switch r.Do {
	case Delay:
		t := time.NewTimer(r.Wait)
		defer t.Stop()
		timer, until = t.C, nil
	case Hold:
	default:
		return nil
	}
	select {
	case <-timer:
	case <-until:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// URL is the URL of the wrapped store.
func (s *Store) URL() string { return s.inner.URL() }

// Get passes through the rules for OpGet.
func (s *Store) Get(ctx context.Context, path string) (data []byte, err error) {
	err = s.call(ctx, OpGet, path, func() error { data, err = s.inner.Get(ctx, path); return err }, nil)
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Stat passes through the rules for OpStat.
func (s *Store) Stat(ctx context.Context, path string) (info objstore.Info, err error) {
	err = s.call(ctx, OpStat, path, func() error { info, err = s.inner.Stat(ctx, path); return err }, nil)
	if err != nil {
		return objstore.Info{}, err
	}
	return info, nil
}

// PutIfAbsent passes through the rules for OpPutIfAbsent.
func (s *Store) PutIfAbsent(ctx context.Context, path string, data []byte) error {
	kept := slices.Clone(data)
	return s.call(ctx, OpPutIfAbsent, path,
		func() error { return s.inner.PutIfAbsent(ctx, path, data) },
		func(ctx context.Context) error { return s.inner.PutIfAbsent(ctx, path, kept) })
}

// Put passes through the rules for OpPut.
func (s *Store) Put(ctx context.Context, path string, data []byte) error {
	kept := slices.Clone(data)
	return s.call(ctx, OpPut, path,
		func() error { return s.inner.Put(ctx, path, data) },
		func(ctx context.Context) error { return s.inner.Put(ctx, path, kept) })
}

// Delete passes through the rules for OpDelete.
func (s *Store) Delete(ctx context.Context, path string) error {
	del := func(ctx context.Context) error { return s.inner.Delete(ctx, path) }
	return s.call(ctx, OpDelete, path, func() error { return del(ctx) }, del)
}

// List passes through the rules for OpList.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		r := s.hit(OpList, prefix)
		if r == nil {
			s.inner.List(ctx, prefix, after)(yield)
			return
		}
		if r.Do == Delay || r.Do == Hold {
			if err := r.pause(ctx); err != nil {
				yield(objstore.Info{}, err)
				return
			}
			s.inner.List(ctx, prefix, after)(yield)
			return
		}
		entries := 0
		switch r.Do {
		case Short:
			entries = r.Entries
		case SucceedThenFail:
			entries = -1
		}
		s.shortList(ctx, r, prefix, after, entries, yield)
	}
}

// shortList gives some entries (all, if negative) and then the rule's error.
func (s *Store) shortList(ctx context.Context, r *Rule, prefix, after string, entries int, yield func(objstore.Info, error) bool) {
	n := 0
	for info, err := range s.inner.List(ctx, prefix, after) {
		if err != nil {
			yield(info, err)
			return
		}
		if n == entries {
			break
		}
		n++
		if !yield(info, nil) {
			return
		}
	}
	if r.Do != Short || r.Err != nil {
		yield(objstore.Info{}, s.fault(r, OpList, prefix, false))
	}
}
