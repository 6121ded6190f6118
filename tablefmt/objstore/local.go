package objstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
)

// LocalOptions changes how a [Local] behaves. The zero value is right for
// production.
type LocalOptions struct {
	// NoSync leaves out every fsync. What was written is then lost, or cut
	// short, when the machine (not only the process) goes down. It is for
	// tests, and for comparing with writers that do not sync either.
	NoSync bool
}

// Local is a folder of the local disk as a [Store]. It needs a file system
// with hard links, which is what makes PutIfAbsent atomic.
//
// An object is a regular file. It is written under a temporary name (see
// [TempPrefix]) in the folder where it will lie, synced, then linked or
// renamed to its name, and the folder is synced. A crash leaves temporary
// files behind; [Local.RemoveTemp] removes them.
//
// Symbolic links are followed while they stay inside the folder, refused
// where they lead out of it, and left out by List. Deletes are not synced: a
// deleted object may be back after a power failure. Since folders are real
// here, an object cannot lie below another ("a" and "a/b").
//
// Several processes may use one folder at the same time.
type Local struct {
	dir string // absolute
	o   LocalOptions

	mu   sync.Mutex
	root *os.Root // nil until the folder exists
	// durable holds folders whose entry in their parent, and so on upwards,
	// is known to be synced.
	durable map[string]struct{}
}

// maxDurable bounds the memory of Local.durable; past it, it is forgotten and
// folders are synced once more.
const maxDurable = 1 << 16

// NewLocal gives the store of a folder, with the default options.
func NewLocal(dir string) (*Local, error) { return OpenLocal(dir, LocalOptions{}) }

// OpenLocal gives the store of a folder. The folder need not exist: it is
// made by the first write, and reads as empty before. An error says that what
// exists is no folder, or cannot be opened.
func OpenLocal(dir string, o LocalOptions) (*Local, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the local folder %q: %w", dir, err)
	}
	l := &Local{dir: abs, o: o, durable: make(map[string]struct{})}
	if _, err := l.existing(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, l.fail("Open", "", err)
	}
	return l, nil
}

// Close gives the folder's handle back. No call may be running or follow.
func (l *Local) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.root == nil {
		return nil
	}
	err := l.root.Close()
	l.root = nil
	return err
}

// URL is the absolute path of the folder.
func (l *Local) URL() string { return l.dir }

// existing opens the folder if it is there, else gives fs.ErrNotExist.
func (l *Local) existing() (*os.Root, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.root == nil {
		r, err := os.OpenRoot(l.dir)
		if err != nil {
			return nil, err
		}
		l.root = r
	}
	return l.root, nil
}

// Get reads a whole object.
func (l *Local) Get(ctx context.Context, p string) ([]byte, error) {
	f, err := l.openFile(ctx, "Get", p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, f.size)
	// An object is never written to once it has its name, so its size is
	// what it was; less is damage, not an end.
	if _, err := f.ReadAt(data, 0); err != nil && f.size > 0 {
		return nil, l.fail("Get", p, err)
	}
	return data, nil
}

// Open gives random access to an object.
func (l *Local) Open(ctx context.Context, p string) (Reader, error) {
	f, err := l.openFile(ctx, "Open", p)
	if err != nil {
		return nil, err
	}
	return f, nil
}

type localReader struct {
	*os.File
	size int64
}

func (r *localReader) Size() int64 { return r.size }

func (l *Local) openFile(ctx context.Context, op, p string) (*localReader, error) {
	if err := checkCall(ctx, op, p); err != nil {
		return nil, err
	}
	root, err := l.existing()
	if err != nil {
		return nil, l.fail(op, p, err)
	}
	f, err := root.Open(p)
	if err != nil {
		return nil, l.fail(op, p, err)
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, l.fail(op, p, err)
	}
	return &localReader{f, fi.Size()}, nil
}

// Stat tells size and time.
func (l *Local) Stat(ctx context.Context, p string) (Info, error) {
	if err := checkCall(ctx, "Stat", p); err != nil {
		return Info{}, err
	}
	root, err := l.existing()
	if err != nil {
		return Info{}, l.fail("Stat", p, err)
	}
	fi, err := root.Stat(p)
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Info{}, l.fail("Stat", p, err)
	}
	return Info{Path: p, Size: fi.Size(), Modified: fi.ModTime()}, nil
}

// Delete removes an object. It does not sync the folder.
func (l *Local) Delete(ctx context.Context, p string) error {
	if err := checkCall(ctx, "Delete", p); err != nil {
		return err
	}
	root, err := l.existing()
	if err == nil {
		var fi fs.FileInfo
		// Remove would take an empty folder too.
		if fi, err = root.Lstat(p); err == nil && !fi.IsDir() {
			err = root.Remove(p)
		}
	}
	if err == nil || notThere(err) {
		return nil
	}
	return l.fail("Delete", p, err)
}

// checkCall is the beginning of every call for an object.
func checkCall(ctx context.Context, op, p string) error {
	if err := CheckPath(op, p); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", op, p, context.Cause(ctx))
	}
	return nil
}

// folderOf is the folder of an object, "." for the store's own.
func folderOf(p string) string { return path.Dir(p) }
