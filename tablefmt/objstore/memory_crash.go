package objstore

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// Create begins an object written in a stream.
func (m *Memory) Create(ctx context.Context, p string) (Writer, error) {
	if err := checkCall(ctx, "Create", p); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crashed {
		return nil, m.fail("Create", p, ErrCrashed)
	}
	return &memWriter{ctx: ctx, m: m, path: p}, nil
}

type memWriter struct {
	ctx  context.Context
	m    *Memory
	path string
	data []byte
	done bool
}

func (w *memWriter) Write(b []byte) (int, error) {
	switch {
	case w.done:
		return 0, w.m.fail("Write", w.path, errWriterDone)
	case w.m.isCrashed():
		return 0, w.m.fail("Write", w.path, ErrCrashed)
	case w.ctx.Err() != nil:
		return 0, w.m.fail("Write", w.path, context.Cause(w.ctx))
	}
	w.data = append(w.data, b...)
	return len(b), nil
}

func (w *memWriter) Close() error {
	if w.done {
		return w.m.fail("Close", w.path, errWriterDone)
	}
	w.done = true
	return w.m.write(w.ctx, "Close", &memPending{path: w.path, data: w.data}, !w.m.o.LoseUnsynced)
}

func (w *memWriter) Abort() {
	w.done = true
	w.data = nil
}

func (m *Memory) isCrashed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.crashed
}

// Crash freezes the store: this and every later call, of readers and writers
// too, fails with ErrCrashed. What is left is given by Survivor.
func (m *Memory) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.crashed = true
}

// Survivor gives a new store, with the same options, of what the disk holds
// after a crash: every write that was acknowledged, whole; each that was not,
// there whole or not at all (of several PutIfAbsent for one path, at most
// one); deletes undone or not; and under LoseUnsynced what that says. rng
// decides; for the same history and the same rng the answer is the same.
//
// Without a Crash before it shows what a crash now would leave, and the store
// itself goes on.
func (m *Memory) Survivor(rng *rand.Rand) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	coin := func() bool { return rng.IntN(2) == 0 }

	s := OpenMemory(m.o)
	for _, p := range slices.Sorted(maps.Keys(m.objects)) {
		if o := m.left(m.objects[p], rng); o != nil {
			s.objects[p] = o
		}
	}
	for _, d := range m.undone {
		if _, taken := s.objects[d.path]; !taken && coin() {
			if o := m.left(d.obj, rng); o != nil {
				s.objects[d.path] = o
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.pending)) {
		w := m.pending[id]
		if w.applied != nil || !coin() {
			continue // what was applied has been dealt with as an object
		}
		if _, taken := s.objects[w.path]; !taken || !w.ifAbsent {
			s.objects[w.path] = &memObject{data: w.data, modified: time.Now(), synced: true}
		}
	}
	return s
}

// left is what a crash leaves of an object that readers could see.
func (m *Memory) left(o *memObject, rng *rand.Rand) *memObject {
	for o != nil && !o.synced {
		switch rng.IntN(3) {
		case 0: // the name never reached the disk
			o = o.before
			continue
		case 1:
			if m.o.LoseUnsynced && len(o.data) > 0 {
				return &memObject{data: o.data[:rng.IntN(len(o.data))], modified: o.modified, synced: true}
			}
		}
		return &memObject{data: o.data, modified: o.modified, synced: true}
	}
	return o
}
