package keyindex

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// fileTable names the data files. Its edits go to the journal with the next
// commit, and from there, when a journal is done with, to the log of files.
// Ids are never given twice.
type fileTable struct {
	mu      sync.RWMutex
	ids     map[string]FileID
	paths   map[FileID]string
	last    FileID    // the greatest that was given out
	pending fileEdits // not in the journal yet
	unsaved fileEdits // in the journal, not in the log of files
	full    bool      // all ids are spent
}

// fileEdits are changes of the file table: first the additions, then what is
// forgotten.
type fileEdits struct {
	added []fileName
	gone  []FileID
}

type fileName struct {
	id   FileID
	path string
}

func (e *fileEdits) empty() bool { return len(e.added) == 0 && len(e.gone) == 0 }

func newFileTable() *fileTable {
	return &fileTable{ids: map[string]FileID{}, paths: map[FileID]string{}}
}

func (t *fileTable) id(path string) FileID {
	if path == "" {
		return NoFile
	}
	t.mu.RLock()
	id, ok := t.ids[path]
	t.mu.RUnlock()
	if ok {
		return id
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.ids[path]; ok {
		return id
	}
	if t.last+1 == 0 {
		t.full = true
		return NoFile
	}
	t.last++
	t.ids[path] = t.last
	t.paths[t.last] = path
	t.pending.added = append(t.pending.added, fileName{t.last, path})
	return t.last
}

func (t *fileTable) path(id FileID) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.paths[id]
}

func (t *fileTable) forget(id FileID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	path, ok := t.paths[id]
	if !ok {
		return
	}
	delete(t.paths, id)
	if t.ids[path] == id {
		delete(t.ids, path)
	}
	t.pending.gone = append(t.pending.gone, id)
}

// restore applies edits that were read from the disk. The log of files may be
// ahead of the journal that is replayed over it, so edits may come twice: an
// id names one file for ever, and of two ids of one file the greater counts.
func (t *fileTable) restore(e fileEdits) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range e.added {
		if old, ok := t.paths[a.id]; (ok && old != a.path) || a.id == NoFile || a.path == "" {
			return fmt.Errorf("the id %d names the files %q and %q", a.id, old, a.path)
		}
		t.ids[a.path] = max(t.ids[a.path], a.id)
		t.paths[a.id] = a.path
		t.last = max(t.last, a.id)
	}
	for _, id := range e.gone {
		if path, ok := t.paths[id]; ok {
			delete(t.paths, id)
			if t.ids[path] == id {
				delete(t.ids, path)
			}
		}
	}
	return nil
}

var errNoIDs = errors.New("all ids for data files are spent: the key index has to be made anew")

// take gives the edits that a commit has to write down, and the greatest id.
func (t *fileTable) take() (fileEdits, FileID, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.full {
		return fileEdits{}, 0, errNoIDs
	}
	e := t.pending
	t.pending = fileEdits{}
	t.unsaved.added = append(t.unsaved.added, e.added...)
	t.unsaved.gone = append(t.unsaved.gone, e.gone...)
	return e, t.last, nil
}

// discardEdits is for an index that writes nothing down.
func (t *fileTable) discardEdits() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending, t.unsaved = fileEdits{}, fileEdits{}
}

// takeUnsaved gives the edits for the log of files.
func (t *fileTable) takeUnsaved() fileEdits {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.unsaved
	t.unsaved = fileEdits{}
	return e
}

// liveBytes is about what all takes in the log of files.
func (t *fileTable) liveBytes() (n int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for path := range t.ids {
		n += int64(len(path)) + 6
	}
	return n
}

// all is the whole table, by id, as one edit.
func (t *fileTable) all() fileEdits {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := fileEdits{added: make([]fileName, 0, len(t.paths))}
	for _, id := range slices.Sorted(maps.Keys(t.paths)) {
		e.added = append(e.added, fileName{id, t.paths[id]})
	}
	return e
}
