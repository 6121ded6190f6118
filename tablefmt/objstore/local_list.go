package objstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"time"
)

// List gives the objects in ascending byte order of their paths. It reads one
// folder at a time, when it gets there, and holds the names of those on the
// way down.
func (l *Local) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := CheckPrefix("List", prefix); err != nil {
			yield(Info{}, err)
			return
		}
		root, err := l.existing()
		if err != nil {
			if !notThere(err) {
				yield(Info{}, l.fail("List", prefix, err))
			}
			return
		}
		// Everything lies below the folder that the prefix names whole.
		start := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			start = prefix[:i+1]
		}
		w := &walk{l: l, ctx: ctx, prefix: prefix, after: after, yield: yield}
		w.folder(root, strings.TrimSuffix(start, "/"), start)
	}
}

// walk is one running List.
type walk struct {
	l             *Local
	ctx           context.Context
	prefix, after string
	yield         func(Info, error) bool
}

// folder lists the folder name of parent, whose path with a slash at the end
// is at; false ends the walk.
func (w *walk) folder(parent *os.Root, name, at string) bool {
	if name == "" {
		name = "."
	}
	folder, err := parent.OpenRoot(name)
	if err != nil {
		// Folders come and go beside us.
		return notThere(err) || w.fail(at, err)
	}
	defer folder.Close()
	keys, err := w.keys(folder, at)
	if err != nil {
		return w.fail(at, err)
	}
	for _, key := range keys {
		if w.ctx.Err() != nil {
			w.yield(Info{}, fmt.Errorf("List %s: %w", w.prefix, context.Cause(w.ctx)))
			return false
		}
		if sub, isFolder := strings.CutSuffix(key, "/"); isFolder {
			if !w.folder(folder, sub, at+key) {
				return false
			}
			continue
		}
		fi, err := folder.Lstat(key)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !fi.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return w.fail(at+key, err)
		}
		if !w.yield(Info{Path: at + key, Size: fi.Size(), Modified: fi.ModTime()}, nil) {
			return false
		}
	}
	return true
}

func (w *walk) fail(p string, err error) bool {
	w.yield(Info{}, w.l.fail("List", strings.TrimSuffix(p, "/"), err))
	return false
}

// keys gives what of a folder can matter, in order: the names of files, and
// those of folders with their slash. With it they sort as the full paths
// below them do: "a.b" comes before "a/b", though "a" comes before "a.b".
func (w *walk) keys(folder *os.Root, at string) ([]string, error) {
	f, err := folder.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, e := range entries {
		key := e.Name()
		switch {
		case strings.HasPrefix(key, TempPrefix):
			continue
		case e.IsDir():
			key += "/"
			p := at + key
			if !strings.HasPrefix(p, w.prefix) && !strings.HasPrefix(w.prefix, p) {
				continue
			}
			if p <= w.after && !strings.HasPrefix(w.after, p) {
				continue // everything in it is before
			}
		case !strings.HasPrefix(at+key, w.prefix) || at+key <= w.after:
			continue
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys, nil
}

// RemoveTemp removes the temporary files that crashes have left behind: those
// last written before the given time, which must lie so far back that no
// writer of this or another process can still be at work on them. It tells
// how many it removed, also with an error.
func (l *Local) RemoveTemp(ctx context.Context, before time.Time) (int, error) {
	root, err := l.existing()
	if err != nil {
		if notThere(err) {
			return 0, nil
		}
		return 0, l.fail("RemoveTemp", "", err)
	}
	removed := 0
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if notThere(err) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || !strings.HasPrefix(d.Name(), TempPrefix) {
			return err
		}
		fi, err := root.Lstat(p)
		if err == nil && fi.ModTime().Before(before) {
			if err = root.Remove(p); err == nil {
				removed++
			}
		}
		if notThere(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return removed, l.fail("RemoveTemp", "", err)
	}
	return removed, nil
}
