package cdctest

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/lakeload/lakeload/cdc"
)

// Stream is a running stream. It implements cdc.Stream.
type Stream struct {
	src *Source

	// The rest is guarded by the world's mutex.
	next    int       // the transaction to go on with, in the log
	pending []*change // what it delivers of that one
	done    int       // how many of these have been delivered
	seq     int64
	cut     cdc.LSN
	acked   cdc.LSN
	err     error // why it is dead
	closed  bool
	waiting bool
	// rels are this stream's own Relations: whoever compares pointers of two
	// streams shall be wrong.
	rels map[*cdc.Relation]*cdc.Relation
}

var _ cdc.Stream = (*Stream)(nil)

// Stream delivers every transaction that ends after from.
func (s *Source) Stream(ctx context.Context, from cdc.LSN) (cdc.Stream, error) {
	const op = "opening the stream"
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	late, err := s.enter(ctx, "Stream")
	if err != nil {
		return nil, err
	}
	sl := s.w.slot
	switch {
	case s.timeline != 0 && s.timeline != s.w.o.Identity.Timeline:
		return nil, operator(op, cdc.ErrTimeline)
	case sl == nil:
		return nil, operator(op, cdc.ErrNoSlot)
	case sl.lost:
		return nil, lostSlot(op)
	case sl.stream != nil && sl.stream.src == s:
		s.w.violate("a second stream was opened beside the first")
		return nil, operator(op, errors.New("there is a stream already"))
	case sl.stream != nil:
		return nil, retryable(op, errors.New("the slot is active for another process"))
	case from < sl.confirmed:
		return nil, &cdc.Error{
			Op: op, Object: "the scripted database", Class: cdc.ClassResync, Remedy: "copy the tables again",
			Err: fmt.Errorf("changes from %s on are asked for, and those up to %s were acknowledged", from, sl.confirmed),
		}
	case from > s.w.head:
		return nil, operator(op, fmt.Errorf("%w: %s is beyond the server's end %s", cdc.ErrReset, from, s.w.head))
	case late != nil:
		return nil, late.err("Stream")
	}
	log := s.w.log
	st := &Stream{src: s, cut: from, acked: from, rels: make(map[*cdc.Relation]*cdc.Relation)}
	st.next = sort.Search(len(log), func(i int) bool { return log[i].end > from })
	sl.stream = st
	return st, nil
}

// Next waits for the next chunk.
func (st *Stream) Next(ctx context.Context) (*cdc.Chunk, error) {
	w := st.src.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if st.waiting {
		w.violate("Next was called by two goroutines at a time")
		return nil, operator("Next", errors.New("it is being called already"))
	}
	st.waiting = true
	defer func() { st.waiting = false }()
	for {
		if st.err != nil {
			return nil, st.err
		}
		late, err := st.src.enter(ctx, "Next")
		if err != nil {
			if ctx.Err() == nil {
				st.end(err, false)
			}
			return nil, err
		}
		st.feedback(w.rng.IntN(2) == 0)
		c, err := st.chunk()
		if err == nil && late != nil {
			err = late.err("Next")
		}
		if err != nil {
			if c != nil {
				c.Release()
			}
			st.end(err, false)
			return nil, err
		}
		if c != nil {
			return c, nil
		}
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		w.mu.Lock()
	}
}

// Ack says that everything up to lsn is durable.
func (st *Stream) Ack(lsn cdc.LSN) {
	w := st.src.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if lsn > st.cut {
		w.violate("%s was acknowledged, and the stream has delivered up to %s alone", lsn, st.cut)
		return
	}
	if st.err == nil {
		st.acked = max(st.acked, lsn)
	}
}

// Progress is the end of the world's log.
func (st *Stream) Progress() cdc.LSN { return st.src.w.Head() }

// Close tells the world what was acknowledged, and ends the stream.
func (st *Stream) Close() error {
	st.src.w.mu.Lock()
	defer st.src.w.mu.Unlock()
	if !st.closed {
		st.closed = true
		st.end(operator("Next", errors.New("the stream is closed")), true)
	}
	return nil
}

// end makes the stream dead. told says whether its last acknowledgement
// reaches the server. The caller holds w.mu.
func (st *Stream) end(err error, told bool) {
	if st.err != nil {
		return
	}
	st.feedback(told)
	st.err = err
	if sl := st.src.w.slot; sl != nil && sl.stream == st {
		sl.stream = nil
	}
	st.src.w.wake()
}

// feedback is what the source's own goroutine would tell the server.
func (st *Stream) feedback(told bool) {
	if sl := st.src.w.slot; told && sl != nil && sl.stream == st {
		sl.confirmed = max(sl.confirmed, st.acked)
	}
}
