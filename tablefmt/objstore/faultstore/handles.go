package faultstore

import (
	"context"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Open passes through the rules for OpOpen; what it gives, through those for
// OpReadAt.
func (s *Store) Open(ctx context.Context, path string) (objstore.Reader, error) {
	var r objstore.Reader
	err := s.call(ctx, OpOpen, path, func() (err error) { r, err = s.inner.Open(ctx, path); return err }, nil)
	if err != nil {
		if r != nil {
			_ = r.Close() // opened, and the answer was lost
		}
		return nil, err
	}
	return &reader{Reader: r, ctx: ctx, s: s, path: path}, nil
}

type reader struct {
	objstore.Reader
	ctx  context.Context
	s    *Store
	path string
}

func (r *reader) ReadAt(b []byte, off int64) (n int, err error) {
	err = r.s.call(r.ctx, OpReadAt, r.path, func() error { n, err = r.Reader.ReadAt(b, off); return err }, nil)
	return n, err
}

// Create passes through the rules for OpCreate; what it gives, through those
// for OpWrite and OpClose.
func (s *Store) Create(ctx context.Context, path string) (objstore.Writer, error) {
	var w objstore.Writer
	err := s.call(ctx, OpCreate, path, func() (err error) { w, err = s.inner.Create(ctx, path); return err }, nil)
	if err != nil {
		if w != nil {
			w.Abort()
		}
		return nil, err
	}
	return &writer{inner: w, ctx: ctx, s: s, path: path}, nil
}

type writer struct {
	inner  objstore.Writer
	ctx    context.Context
	s      *Store
	path   string
	failed bool
}

func (w *writer) Write(b []byte) (n int, err error) {
	err = w.s.call(w.ctx, OpWrite, w.path, func() error { n, err = w.inner.Write(b); return err }, nil)
	if err != nil {
		w.failed = true // as for a real writer, what follows cannot succeed
		return 0, err
	}
	return n, nil
}

func (w *writer) Close() error {
	if w.failed {
		w.inner.Abort()
		return &objstore.Error{Op: "Close", Store: w.s.URL(), Path: w.path, Err: ErrInjected}
	}
	err := w.s.call(w.ctx, OpClose, w.path, w.inner.Close, nil)
	if err != nil {
		w.inner.Abort() // does nothing if the object was made
	}
	return err
}

func (w *writer) Abort() { w.inner.Abort() }
