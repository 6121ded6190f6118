package keyindex

import (
	"errors"
	"log/slog"
	"os"
	"sync"
)

// trash closes and removes files that nobody needs any more, in a goroutine of
// its own: to remove a large file takes a while, and whoever was the last to
// need it may be a lookup, or hold the index's lock. A file that cannot be
// removed is removed when the index is opened again.
type trash struct {
	log *slog.Logger

	mu      sync.Mutex
	changed sync.Cond
	files   []doomed
	busy    bool
	ended   bool // nobody is there to work
}

// doomed is a file, and where it is if it is to be removed.
type doomed struct {
	f    *os.File // nil: it is closed
	path string   // empty: it stays
}

func newTrash(log *slog.Logger) *trash {
	t := &trash{log: log, ended: true}
	t.changed.L = &t.mu
	return t
}

// throw hands a file over. Without anybody to work it is done at once.
func (t *trash) throw(d doomed) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return d.end()
	}
	t.files = append(t.files, d)
	t.changed.Broadcast()
	return nil
}

func (d *doomed) end() error {
	var err error
	if d.f != nil {
		err = d.f.Close()
	}
	if d.path != "" {
		err = errors.Join(err, os.Remove(d.path))
	}
	return err
}

// start says that somebody works.
func (t *trash) start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = false
}

// work does what is thrown until stop, and what was thrown before it.
func (t *trash) work() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		for len(t.files) == 0 {
			if t.ended {
				return
			}
			t.changed.Wait()
		}
		files := t.files
		t.files, t.busy = nil, true
		t.mu.Unlock()
		for i := range files {
			if err := files[i].end(); err != nil {
				t.log.Warn("key index: a file that is not needed any more stays for now", "error", err)
			}
		}
		t.mu.Lock()
		t.busy = false
		t.changed.Broadcast()
	}
}

func (t *trash) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.changed.Broadcast()
}

// empty waits until nothing is left.
func (t *trash) empty() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.files) > 0 || t.busy {
		t.changed.Wait()
	}
}
