package objstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// RetryPolicy says how [Retry] tries again.
type RetryPolicy struct {
	Attempts int           // calls in all; 0 is 5, 1 is no retry
	First    time.Duration // wait before the second attempt; 0 is 100 ms
	Max      time.Duration // the longest wait; 0 is 10 s
	// Notify is told of each failed attempt that will be repeated, on the
	// caller's goroutine. Nil for nobody.
	Notify func(op, path string, attempt int, err error)
}

func (p *RetryPolicy) ensureDefaults() {
	if p.Attempts <= 0 {
		p.Attempts = 5
	}
	if p.First <= 0 {
		p.First = 100 * time.Millisecond
	}
	if p.Max <= 0 {
		p.Max = 10 * time.Second
	}
}

// Retry wraps a store so that calls whose error is [Retryable] are made
// again, with growing, randomised waits that end with the context.
//
// It keeps I11: once an attempt of PutIfAbsent has ended with
// ErrUnknownOutcome, a later "exists" may be our own success, so the answer is
// ErrUnknownOutcome and the caller reads the object back. Bytes written to a
// Writer cannot be sent again: only Create itself is repeated. List goes on
// after the last path that it gave.
func Retry(store Store, policy RetryPolicy) Store {
	policy.ensureDefaults()
	return &retrying{Store: store, p: policy}
}

type retrying struct {
	Store
	p RetryPolicy
}

// do calls f until it succeeds, fails for good, or the attempts are used up.
func (r *retrying) do(ctx context.Context, op, path string, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || !Retryable(err) {
			return err
		}
		if attempt >= r.p.Attempts {
			return fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		if !r.wait(ctx, op, path, attempt, err) {
			return fmt.Errorf("%w, while waiting to try again after: %w", context.Cause(ctx), err)
		}
	}
}

// wait sleeps before the next attempt; false when the context ended.
func (r *retrying) wait(ctx context.Context, op, path string, attempt int, err error) bool {
	if r.p.Notify != nil {
		r.p.Notify(op, path, attempt, err)
	}
	d := r.p.Max
	if shift := attempt - 1; shift < 30 && r.p.First<<shift > 0 {
		d = min(d, r.p.First<<shift)
	}
	t := time.NewTimer(d/2 + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (r *retrying) Get(ctx context.Context, p string) (data []byte, err error) {
	err = r.do(ctx, "Get", p, func() error { data, err = r.Store.Get(ctx, p); return err })
	return data, err
}

func (r *retrying) Stat(ctx context.Context, p string) (info Info, err error) {
	err = r.do(ctx, "Stat", p, func() error { info, err = r.Store.Stat(ctx, p); return err })
	return info, err
}

func (r *retrying) Put(ctx context.Context, p string, data []byte) error {
	return r.do(ctx, "Put", p, func() error { return r.Store.Put(ctx, p, data) })
}

func (r *retrying) Delete(ctx context.Context, p string) error {
	return r.do(ctx, "Delete", p, func() error { return r.Store.Delete(ctx, p) })
}

func (r *retrying) PutIfAbsent(ctx context.Context, p string, data []byte) error {
	unknown := false
	err := r.do(ctx, "PutIfAbsent", p, func() error {
		err := r.Store.PutIfAbsent(ctx, p, data)
		unknown = unknown || errors.Is(err, ErrUnknownOutcome)
		return err
	})
	if err != nil && unknown && !errors.Is(err, ErrUnknownOutcome) {
		return fmt.Errorf("%w: an earlier attempt may have written it: %w", ErrUnknownOutcome, hideExists(err))
	}
	return err
}

// hideExists keeps the text of an "exists" error whose meaning no longer
// holds, so that nobody takes it for a lost race.
func hideExists(err error) error {
	if errors.Is(err, ErrExists) {
		return errors.New(err.Error())
	}
	return err
}

func (r *retrying) Create(ctx context.Context, p string) (w Writer, err error) {
	err = r.do(ctx, "Create", p, func() error { w, err = r.Store.Create(ctx, p); return err })
	return w, err
}

func (r *retrying) Open(ctx context.Context, p string) (rd Reader, err error) {
	err = r.do(ctx, "Open", p, func() error { rd, err = r.Store.Open(ctx, p); return err })
	if err != nil {
		return nil, err
	}
	return &retryReader{Reader: rd, ctx: ctx, r: r, path: p}, nil
}

type retryReader struct {
	Reader
	ctx  context.Context // Open's: ReadAt has none of its own
	r    *retrying
	path string
}

func (rr *retryReader) ReadAt(b []byte, off int64) (n int, err error) {
	err = rr.r.do(rr.ctx, "ReadAt", rr.path, func() error { n, err = rr.Reader.ReadAt(b, off); return err })
	return n, err
}

func (r *retrying) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		from, failures := after, 0
		for {
			var failed error
			for info, err := range r.Store.List(ctx, prefix, from) {
				if err != nil {
					failed = err
					break
				}
				from, failures = info.Path, 0
				if !yield(info, nil) {
					return
				}
			}
			if failed == nil {
				return
			}
			failures++
			if !Retryable(failed) || failures >= r.p.Attempts || !r.wait(ctx, "List", prefix, failures, failed) {
				yield(Info{}, failed)
				return
			}
		}
	}
}
