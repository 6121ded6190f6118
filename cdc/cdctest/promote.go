package cdctest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lakeload/lakeload/cdc"
)

// Promote lets a standby take the server's place that has got everything up to
// at, the end of a transaction, and nothing after it; 0 is everything. What was
// committed after at has never been. Streams and snapshots end, with errors to
// retry, and the log goes on from there on the next timeline. keepSlot says
// whether the standby has the slot.
func (w *World) Promote(at cdc.LSN, keepSlot bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at == 0 {
		at = w.head
	}
	kept := len(w.log)
	for kept > 0 && w.log[kept-1].end > at {
		kept--
	}
	if at > w.head || kept < len(w.log) && w.log[kept].txn.Commit < at {
		return fmt.Errorf("%s is inside a transaction, or beyond the end %s", at, w.head)
	}
	if sl := w.slot; sl != nil {
		if sl.stream != nil {
			sl.stream.end(retryable("reading the stream", errors.New("the server is gone")), w.rng.IntN(2) == 0)
		}
		sl.persisted = min(sl.persisted, at)
		sl.confirmed = sl.persisted
		if !keepSlot {
			w.slot = nil
		}
	}
	for _, s := range w.handles {
		s.release()
	}
	from := w.o.Identity.Timeline
	for n := len(w.switches); n > 0 && w.switches[n-1].At > at; n = len(w.switches) {
		// It branches off an earlier timeline: a restore to a point in time.
		from = w.switches[n-1].Timeline
		w.switches = w.switches[:n-1]
	}
	w.switches = append(w.switches, cdc.Switch{Timeline: from, At: at})
	w.o.Identity.Timeline++
	w.forget(kept, at)
	w.wake()
	return nil
}

// forget takes the world back to its first transactions.
func (w *World) forget(kept int, at cdc.LSN) {
	w.log, w.head, w.replay.next = w.log[:kept], at, 0
	w.tables = slices.DeleteFunc(w.tables, func(t *table) bool { return t.created >= at })
	w.at("", at+1) // plays what is left
	for _, t := range w.tables {
		if t.dropped >= at {
			t.dropped = 0
		}
		if t.published > at {
			t.published = 0
		}
		if c := w.replay.state[t.oid]; c != nil {
			t.content = c.clone()
		}
	}
}
