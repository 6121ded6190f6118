package cdctest

import (
	"errors"

	"github.com/lakeload/lakeload/cdc"
)

// Fault lets calls of sources fail.
type Fault struct {
	// Op is the method: "Identify", "Tables", "Publish", "Slot",
	// "CreateSlot", "DropSlot", "Snapshot", "Stream", "Next", "Plan", "Read".
	Op string
	// Nth is the first call that fails, counted from 1 after InjectFault; 0
	// is 1.
	Nth int
	// After lets the call do its work first: the answer was lost. A chunk
	// that Next had ready is lost with it.
	After bool
	// Err is what the call gives; nil is a broken connection, for which
	// cdc.Retryable is true. Next's error ends the stream, in any case.
	Err error

	seen int
}

var errConnection = errors.New("the connection was reset by the server")

// ErrCrashed is what a handle gives after Crash.
var ErrCrashed = errors.New("this handle has crashed")

// InjectFault lets one call fail. Several faults may wait at a time.
func (w *World) InjectFault(f Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, &f)
}

// PendingFaults is the number of faults that no call has met yet: a test that
// never met its fault has tested nothing.
func (w *World) PendingFaults() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.faults)
}

// fault gives the fault that this call meets; it is used up by that.
func (w *World) fault(op string) *Fault {
	var met *Fault
	kept := w.faults[:0]
	for _, f := range w.faults {
		if f.Op == op {
			f.seen++
			if met == nil && f.seen >= max(f.Nth, 1) {
				met = f
				continue
			}
		}
		kept = append(kept, f)
	}
	w.faults = kept
	return met
}

func (f *Fault) err(op string) error {
	if f.Err != nil {
		return f.Err
	}
	return retryable(op, errConnection)
}

func retryable(op string, err error) error {
	return &cdc.Error{Op: op, Object: "the scripted database", Class: cdc.ClassRetry, Err: err}
}

func operator(op string, err error) error {
	return &cdc.Error{Op: op, Object: "the scripted database", Err: err}
}
