package objstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lakeload/lakeload/internal/crashpoint"
)

// ErrCrashed is what every call gets after [Memory.Crash].
var ErrCrashed = errors.New("the store has crashed")

// MemoryOptions changes how a [Memory] behaves. The zero value keeps the
// contract of Store.
type MemoryOptions struct {
	// LoseUnsynced breaks the contract on purpose, as a disk does whose
	// writer forgets to sync: Writer.Close makes an object visible but not
	// durable, so that after a crash it is there, cut short, or gone. A test
	// that does not notice does not test durability.
	LoseUnsynced bool
}

// Memory is a [Store] in memory for tests, with the semantics of a disk in a
// crash: it knows, beside what readers see, what would be left.
//
// It passes the same crash points as [Local], at the same moments, holding no
// lock: a hook may call Crash.
type Memory struct {
	o MemoryOptions

	mu      sync.Mutex
	crashed bool
	seq     int64                 // numbers writes and deletes
	objects map[string]*memObject // what readers see
	// pending holds the calls that have begun and not been answered.
	pending map[int64]*memPending
	// undone holds deletes that a crash may undo: they are not synced, as in
	// Local. Only the latest are kept.
	undone []memDelete
}

// maxUndone bounds what Memory keeps of deleted objects.
const maxUndone = 1024

type memObject struct {
	data     []byte // never altered
	modified time.Time
	synced   bool
	before   *memObject // what a crash may bring back; nil once this is synced
}

// memPending is a call at work: before it is applied, a crash may still leave
// its effect behind (the bytes were on their way).
type memPending struct {
	path     string
	data     []byte
	ifAbsent bool
	applied  *memObject // what it made, once it has
}

type memDelete struct {
	path string
	obj  *memObject
}

// NewMemory gives an empty store that keeps the contract.
func NewMemory() *Memory { return OpenMemory(MemoryOptions{}) }

// OpenMemory gives an empty store.
func OpenMemory(o MemoryOptions) *Memory {
	return &Memory{o: o, objects: make(map[string]*memObject), pending: make(map[int64]*memPending)}
}

// URL is "memory:".
func (m *Memory) URL() string { return "memory:" }

func (m *Memory) fail(op, p string, err error) error {
	return &Error{Op: op, Store: m.URL(), Path: p, Err: err}
}

// Get reads a whole object. The caller owns the bytes.
func (m *Memory) Get(ctx context.Context, p string) ([]byte, error) {
	o, err := m.look(ctx, "Get", p)
	if err != nil {
		return nil, err
	}
	return slices.Clone(o.data), nil
}

// Open gives random access to an object.
func (m *Memory) Open(ctx context.Context, p string) (Reader, error) {
	o, err := m.look(ctx, "Open", p)
	if err != nil {
		return nil, err
	}
	return &memReader{m: m, path: p, data: o.data}, nil
}

// Stat tells size and time.
func (m *Memory) Stat(ctx context.Context, p string) (Info, error) {
	o, err := m.look(ctx, "Stat", p)
	if err != nil {
		return Info{}, err
	}
	return Info{Path: p, Size: int64(len(o.data)), Modified: o.modified}, nil
}

func (m *Memory) look(ctx context.Context, op, p string) (*memObject, error) {
	if err := checkCall(ctx, op, p); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crashed {
		return nil, m.fail(op, p, ErrCrashed)
	}
	o := m.objects[p]
	if o == nil {
		return nil, m.fail(op, p, ErrNotFound)
	}
	return o, nil
}

// PutIfAbsent writes an object unless there is one. The data is copied.
func (m *Memory) PutIfAbsent(ctx context.Context, p string, data []byte) error {
	if err := checkCall(ctx, "PutIfAbsent", p); err != nil {
		return err
	}
	return m.write(ctx, "PutIfAbsent", &memPending{path: p, data: slices.Clone(data), ifAbsent: true}, true)
}

// Put writes an object, replacing what is there. The data is copied.
func (m *Memory) Put(ctx context.Context, p string, data []byte) error {
	if err := checkCall(ctx, "Put", p); err != nil {
		return err
	}
	return m.write(ctx, "Put", &memPending{path: p, data: slices.Clone(data)}, true)
}

// write takes a call through the stages that Local has.
func (m *Memory) write(ctx context.Context, op string, w *memPending, sync bool) error {
	id, err := m.begin(op, w)
	if err != nil {
		return err
	}
	crashpoint.At(crashpoint.StoreTempWritten)
	if sync {
		crashpoint.At(crashpoint.StoreSynced)
	}
	if err := m.apply(ctx, op, id, w); err != nil {
		return err
	}
	crashpoint.At(crashpoint.StoreLinked)
	return m.answer(op, id, w, sync)
}

func (m *Memory) begin(op string, w *memPending) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crashed {
		return 0, m.fail(op, w.path, ErrCrashed)
	}
	m.seq++
	m.pending[m.seq] = w
	return m.seq, nil
}

// apply makes the object visible, not yet durable.
func (m *Memory) apply(ctx context.Context, op string, id int64, w *memPending) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crashed {
		return m.fail(op, w.path, ErrCrashed) // it stays pending for Survivor
	}
	before := m.objects[w.path]
	err := ctx.Err()
	if err != nil {
		err = context.Cause(ctx)
	} else if w.ifAbsent && before != nil {
		err = ErrExists
	}
	if err != nil {
		delete(m.pending, id)
		return m.fail(op, w.path, err)
	}
	w.applied = &memObject{data: w.data, modified: time.Now(), before: before}
	m.objects[w.path] = w.applied
	return nil
}

// answer makes what was applied durable, unless the options say otherwise.
func (m *Memory) answer(op string, id int64, w *memPending, sync bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crashed {
		return m.fail(op, w.path, ErrCrashed)
	}
	delete(m.pending, id)
	if sync {
		w.applied.synced, w.applied.before = true, nil
		// Syncing a folder makes the deletes of this name durable too.
		m.undone = slices.DeleteFunc(m.undone, func(d memDelete) bool { return d.path == w.path })
	}
	return nil
}

// Delete removes an object. A crash may undo it.
func (m *Memory) Delete(ctx context.Context, p string) error {
	if err := checkCall(ctx, "Delete", p); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crashed {
		return m.fail("Delete", p, ErrCrashed)
	}
	if o := m.objects[p]; o != nil {
		delete(m.objects, p)
		m.undone = append(m.undone, memDelete{p, o})
		if len(m.undone) > maxUndone {
			m.undone = slices.Delete(m.undone, 0, maxUndone/2)
		}
	}
	return nil
}

// List gives the objects in ascending byte order of their paths, as they are
// when it begins.
func (m *Memory) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := CheckPrefix("List", prefix); err != nil {
			yield(Info{}, err)
			return
		}
		infos, err := m.infos(prefix, after)
		if err != nil {
			yield(Info{}, err)
			return
		}
		for _, info := range infos {
			if ctx.Err() != nil {
				yield(Info{}, fmt.Errorf("List %s: %w", prefix, context.Cause(ctx)))
				return
			}
			if !yield(info, nil) {
				return
			}
		}
		if ctx.Err() != nil {
			yield(Info{}, fmt.Errorf("List %s: %w", prefix, context.Cause(ctx)))
		}
	}
}

func (m *Memory) infos(prefix, after string) ([]Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crashed {
		return nil, m.fail("List", prefix, ErrCrashed)
	}
	var infos []Info
	for p, o := range m.objects {
		if strings.HasPrefix(p, prefix) && p > after {
			infos = append(infos, Info{Path: p, Size: int64(len(o.data)), Modified: o.modified})
		}
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Path, b.Path) })
	return infos, nil
}
