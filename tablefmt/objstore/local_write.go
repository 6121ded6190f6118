package objstore

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/lakeload/lakeload/internal/crashpoint"
)

// PutIfAbsent writes an object unless there is one.
func (l *Local) PutIfAbsent(ctx context.Context, p string, data []byte) error {
	return l.put(ctx, "PutIfAbsent", p, data, true)
}

// Put writes an object, replacing what is there.
func (l *Local) Put(ctx context.Context, p string, data []byte) error {
	return l.put(ctx, "Put", p, data, false)
}

func (l *Local) put(ctx context.Context, op, p string, data []byte, ifAbsent bool) error {
	if err := checkCall(ctx, op, p); err != nil {
		return err
	}
	t, err := l.temp(p)
	if err != nil {
		return l.fail(op, p, err)
	}
	defer t.discard()
	if _, err := t.file.Write(data); err != nil {
		return l.fail(op, p, err)
	}
	if err := t.publish(ctx, ifAbsent); err != nil {
		return l.fail(op, p, err)
	}
	return nil
}

// Create begins an object written in a stream.
func (l *Local) Create(ctx context.Context, p string) (Writer, error) {
	if err := checkCall(ctx, "Create", p); err != nil {
		return nil, err
	}
	t, err := l.temp(p)
	if err != nil {
		return nil, l.fail("Create", p, err)
	}
	return &localWriter{ctx: ctx, l: l, path: p, t: t, buf: bufio.NewWriterSize(t.file, 64<<10)}, nil
}

// localWriter streams into a temporary file.
type localWriter struct {
	ctx  context.Context
	l    *Local
	path string
	t    *tempFile
	buf  *bufio.Writer
	done bool
}

var errWriterDone = errors.New("the writer was closed or aborted before")

func (w *localWriter) Write(b []byte) (int, error) {
	if w.done {
		return 0, w.l.fail("Write", w.path, errWriterDone)
	}
	if w.ctx.Err() != nil {
		return 0, w.l.fail("Write", w.path, context.Cause(w.ctx))
	}
	n, err := w.buf.Write(b)
	if err != nil {
		return n, w.l.fail("Write", w.path, err)
	}
	return n, nil
}

func (w *localWriter) Close() error {
	if w.done {
		return w.l.fail("Close", w.path, errWriterDone)
	}
	w.done = true
	defer w.t.discard()
	err := w.buf.Flush() // gives an earlier failed Write's error again
	if err == nil {
		err = w.t.publish(w.ctx, false)
	}
	if err != nil {
		return w.l.fail("Close", w.path, err)
	}
	return nil
}

func (w *localWriter) Abort() {
	if !w.done {
		w.done = true
		w.t.discard()
	}
}

// tempFile is a file on its way to become an object.
type tempFile struct {
	l      *Local
	folder *os.Root // where both names lie
	file   *os.File // nil once closed
	tmp    string   // the temporary name; empty once it is gone
	name   string   // the object's own name
}

// temp makes a temporary file in the folder of the object p.
func (l *Local) temp(p string) (*tempFile, error) {
	var random [12]byte
	rand.Read(random[:]) // never fails
	t := &tempFile{l: l, tmp: TempPrefix + hex.EncodeToString(random[:]), name: path.Base(p)}
	for attempt := 0; ; attempt++ {
		folder, err := l.folder(folderOf(p))
		if err != nil {
			return nil, err
		}
		t.file, err = folder.OpenFile(t.tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			t.folder = folder
			return t, nil
		}
		folder.Close()
		// Somebody may remove an empty folder between our two steps.
		if !errors.Is(err, fs.ErrNotExist) || attempt == 2 {
			return nil, err
		}
	}
}

// publish makes the content durable, gives it its name, and makes that durable.
func (t *tempFile) publish(ctx context.Context, ifAbsent bool) error {
	crashpoint.At(crashpoint.StoreTempWritten)
	if !t.l.o.NoSync {
		if err := t.file.Sync(); err != nil {
			return fmt.Errorf("syncing the temporary file: %w", err)
		}
	}
	err := t.file.Close()
	t.file = nil
	if err != nil {
		return fmt.Errorf("closing the temporary file: %w", err)
	}
	crashpoint.At(crashpoint.StoreSynced)
	if ctx.Err() != nil {
		return context.Cause(ctx) // the last moment when nothing has happened
	}
	if err := t.giveName(ifAbsent); err != nil {
		return err
	}
	crashpoint.At(crashpoint.StoreLinked)
	if err := t.l.syncFolder(t.folder); err != nil {
		// Others see the object, but nobody knows whether a crash takes it
		// away again.
		return fmt.Errorf("%w: the object has its name, but syncing its folder failed: %w", ErrUnknownOutcome, err)
	}
	return nil
}

func (t *tempFile) giveName(ifAbsent bool) error {
	if !ifAbsent {
		err := t.folder.Rename(t.tmp, t.name)
		if err == nil {
			t.tmp = ""
		} else if errors.Is(err, fs.ErrExist) { // a file would have been replaced
			err = fmt.Errorf("%w: %w", errIsFolder, err)
		}
		return err
	}
	if err := t.folder.Link(t.tmp, t.name); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			return &linkError{err}
		}
		if fi, serr := t.folder.Lstat(t.name); serr == nil && fi.IsDir() {
			return errIsFolder
		}
		return ErrExists
	}
	// Before the folder is synced, so that one sync covers both. If it fails
	// there is a stray name of the same file, for RemoveTemp.
	t.removeTemp()
	return nil
}

func (t *tempFile) removeTemp() {
	if t.tmp != "" {
		_ = t.folder.Remove(t.tmp) // a leftover is harmless: it is never listed
		t.tmp = ""
	}
}

// discard releases everything, and removes the file unless it was published.
func (t *tempFile) discard() {
	if t.file != nil {
		_ = t.file.Close() // its content is thrown away
		t.file = nil
	}
	if t.folder != nil {
		t.removeTemp()
		_ = t.folder.Close() // a folder's handle, nothing is written through it
		t.folder = nil
	}
}
