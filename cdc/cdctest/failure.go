package cdctest

import (
	"errors"

	"github.com/lakeload/lakeload/cdc"
)

// Crash is the sudden end of the process that has the handle: each of its
// later calls, and those that are waiting, fail with ErrCrashed. What it had
// acknowledged last may or may not have reached the server.
func (s *Source) Crash() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.crash()
}

func (s *Source) crash() {
	if s.crashed || s.closed {
		return
	}
	s.crashed = true
	if sl := s.w.slot; sl != nil && sl.stream != nil && sl.stream.src == s {
		sl.stream.end(operator("reading the stream", ErrCrashed), s.w.rng.IntN(2) == 0)
	}
	s.release()
	s.w.wake()
}

// Crash crashes every handle that there is. The world goes on.
func (w *World) Crash() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.handles {
		s.crash()
	}
}

// RestartServer ends all streams and snapshots with errors that Retryable
// says yes to. The slot may have forgotten its latest acknowledgements.
func (w *World) RestartServer() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if sl := w.slot; sl != nil {
		if sl.stream != nil {
			sl.stream.end(retryable("reading the stream", errors.New("the server shuts down")), w.rng.IntN(2) == 0)
		}
		sl.confirmed = sl.persisted
	}
	for _, s := range w.handles {
		s.release()
	}
	w.wake()
}

// Checkpoint lets the server persist what its slot has been told.
func (w *World) Checkpoint() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.slot != nil {
		w.slot.persisted = w.slot.confirmed
	}
}

// LoseSlot invalidates the slot, as max_slot_wal_keep_size does: it is there,
// and can give nothing any more.
func (w *World) LoseSlot() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.slot != nil {
		w.slot.lost = true
		if w.slot.stream != nil {
			w.slot.stream.end(lostSlot("reading the stream"), false)
		}
		w.wake()
	}
}

// RemoveSlot drops the slot behind the consumer's back.
func (w *World) RemoveSlot() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.slot != nil && w.slot.stream != nil {
		w.slot.stream.end(operator("reading the stream", cdc.ErrNoSlot), false)
	}
	w.slot = nil
	w.wake()
}

// SetIdentity lets the world be another database (a promotion, a restored
// backup, a wrong address).
func (w *World) SetIdentity(id cdc.Identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.o.Identity = id
}

func lostSlot(op string) error {
	return &cdc.Error{
		Op: op, Object: "the scripted database", Class: cdc.ClassResync,
		Remedy: "copy the tables again", Err: errors.New("the slot was invalidated: changes are gone"),
	}
}
