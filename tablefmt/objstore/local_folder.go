package objstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
)

// folder opens the folder dir of the store for writing in it. When it
// returns, the folder exists and so it will after a crash: this holds too
// where another process has just made it and not synced it yet.
func (l *Local) folder(dir string) (*os.Root, error) {
	l.mu.Lock()
	_, known := l.durable[dir]
	l.mu.Unlock()
	if known {
		root, err := l.existing()
		if err != nil {
			return nil, err
		}
		folder, err := root.OpenRoot(dir)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return folder, err
		}
		// It was removed meanwhile: what we know of it is out of date.
		l.mu.Lock()
		clear(l.durable)
		l.mu.Unlock()
	}
	root, err := l.makeRoot()
	if err != nil {
		return nil, err
	}
	if err := root.MkdirAll(dir, 0o777); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: %w", errBelowObject, err)
	} else if err != nil {
		return nil, err
	}
	for d := dir; d != "."; d = path.Dir(d) {
		if err := l.syncEntry(root, d); err != nil {
			return nil, err
		}
	}
	folder, err := root.OpenRoot(dir)
	if err == nil {
		l.know(dir)
	}
	return folder, err
}

// makeRoot makes the store's own folder.
func (l *Local) makeRoot() (*os.Root, error) {
	l.mu.Lock()
	_, known := l.durable["."]
	l.mu.Unlock()
	if root, err := l.existing(); err == nil && known {
		return root, nil
	}
	// Those above the first one that existed beforehand are not ours to sync.
	above := l.dir
	for above != filepath.Dir(above) {
		above = filepath.Dir(above)
		if _, err := os.Stat(above); err == nil {
			break
		}
	}
	if err := os.MkdirAll(l.dir, 0o777); err != nil {
		return nil, err
	}
	root, err := l.existing()
	if err != nil {
		return nil, err
	}
	for d := l.dir; d != above && !l.o.NoSync && runtime.GOOS != "windows"; {
		d = filepath.Dir(d)
		if err := syncDir(os.Open(d)); err != nil {
			if errors.Is(err, fs.ErrPermission) {
				break // a folder that we may not read: it was made by others
			}
			return nil, err
		}
	}
	l.know(".")
	return root, nil
}

func (l *Local) know(dir string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.durable) >= maxDurable {
		clear(l.durable)
	}
	l.durable[dir] = struct{}{}
}

// syncEntry makes the entry of the folder dir in its parent durable.
func (l *Local) syncEntry(root *os.Root, dir string) error {
	if l.o.NoSync || runtime.GOOS == "windows" {
		return nil
	}
	return syncDir(root.Open(path.Dir(dir)))
}

func (l *Local) syncFolder(folder *os.Root) error {
	if l.o.NoSync || runtime.GOOS == "windows" { // Windows cannot sync a folder
		return nil
	}
	return syncDir(folder.Open("."))
}

func syncDir(f *os.File, err error) error {
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
