package objstore

import (
	"context"
	"iter"
)

// Observe wraps a store so that done is told of every call that has ended, on
// the caller's goroutine: its name, as in [Error].Op, and its error. Calls of
// readers are ReadAt, those of writers Write and Close. A List ends when its
// caller needs no more.
func Observe(store Store, done func(op string, err error)) Store {
	return &observed{Store: store, done: done}
}

type observed struct {
	Store
	done func(op string, err error)
}

func (o *observed) told(op string, err error) error {
	o.done(op, err)
	return err
}

func (o *observed) Get(ctx context.Context, p string) ([]byte, error) {
	data, err := o.Store.Get(ctx, p)
	return data, o.told("Get", err)
}

func (o *observed) Stat(ctx context.Context, p string) (Info, error) {
	info, err := o.Store.Stat(ctx, p)
	return info, o.told("Stat", err)
}

func (o *observed) PutIfAbsent(ctx context.Context, p string, data []byte) error {
	return o.told("PutIfAbsent", o.Store.PutIfAbsent(ctx, p, data))
}

func (o *observed) Put(ctx context.Context, p string, data []byte) error {
	return o.told("Put", o.Store.Put(ctx, p, data))
}

func (o *observed) Delete(ctx context.Context, p string) error {
	return o.told("Delete", o.Store.Delete(ctx, p))
}

func (o *observed) Open(ctx context.Context, p string) (Reader, error) {
	r, err := o.Store.Open(ctx, p)
	if o.told("Open", err) != nil {
		return nil, err
	}
	return &observedReader{Reader: r, o: o}, nil
}

type observedReader struct {
	Reader
	o *observed
}

func (r *observedReader) ReadAt(b []byte, off int64) (int, error) {
	n, err := r.Reader.ReadAt(b, off)
	return n, r.o.told("ReadAt", err)
}

func (o *observed) Create(ctx context.Context, p string) (Writer, error) {
	w, err := o.Store.Create(ctx, p)
	if o.told("Create", err) != nil {
		return nil, err
	}
	return &observedWriter{Writer: w, o: o}, nil
}

type observedWriter struct {
	Writer
	o *observed
}

func (w *observedWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	return n, w.o.told("Write", err)
}

func (w *observedWriter) Close() error { return w.o.told("Close", w.Writer.Close()) }

func (o *observed) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		var failed error
		defer func() { o.done("List", failed) }()
		for info, err := range o.Store.List(ctx, prefix, after) {
			if err != nil {
				failed = err
			}
			if !yield(info, err) {
				return
			}
		}
	}
}
