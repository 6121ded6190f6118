package lakehouse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/epoch"
)

// Cut is a state of the lake that shows one position of the source exactly: the
// transactions before it and no other.
type Cut struct {
	LSN      cdc.LSN `json:"lsn"`
	Timeline uint32  `json:"timeline"`
	// Epoch is the last one; there may have been nothing to record since.
	Epoch int64 `json:"epoch"`
	// Tables maps schema.table to the version that shows the cut.
	Tables map[string]int64 `json:"tables"`
	// Incomplete names the tables that are being copied, have stopped or are
	// paused: they are not in Tables.
	Incomplete []string `json:"incomplete,omitempty"`
}

// cutHoldMost is for how long the stream waits for a cut's point.
const cutHoldMost = 30 * time.Second

// ErrNoCut says that a cut could not be made now: the stream is down, tables
// are catching up, or the point did not come in time. It may be asked for again.
var ErrNoCut = errors.New("the lake could not be cut now")

// Cut has the lake show one position of the source exactly. The engine receives
// nothing more while point runs, which gives the position: the consistent
// point of a snapshot of the source that is begun then, or any position that is
// later than everything that has been sent before. What comes before it is
// flushed, and nothing else; then the engine goes on. point has half a minute,
// in which changes get old.
//
// Errors: ErrNoCut; point's own; ctx's. It may be called by any goroutine while
// Run runs, and waits for other cuts.
func (e *Engine) Cut(ctx context.Context, point func(ctx context.Context) (cdc.LSN, error)) (Cut, error) {
	return e.cut(ctx, point, nil)
}

// cut is Cut with something to be done, by whoever owns the tables then, before
// anything that comes after the point; nil for nothing.
func (e *Engine) cut(ctx context.Context, point func(ctx context.Context) (cdc.LSN, error), shown func(ctx context.Context, cut *Cut) error) (Cut, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*cutHoldMost)
	defer cancel()
	r := &cutRequest{held: make(chan struct{}), point: make(chan cdc.LSN, 1), gone: make(chan struct{}), done: make(chan cutOutcome, 1), shown: shown}
	defer close(r.gone)
	select {
	case e.cuts <- r:
	case <-ctx.Done():
		return Cut{}, noCut("the pipeline is not streaming", ctx.Err())
	}
	select {
	case <-r.held:
	case o := <-r.done:
		return o.cut, o.err
	case <-ctx.Done():
		return Cut{}, noCut("the stream did not come to rest", ctx.Err())
	}
	held, release := context.WithTimeout(ctx, cutHoldMost)
	defer release()
	at, err := point(held)
	if err != nil {
		return Cut{}, err
	}
	r.point <- at
	select {
	case o := <-r.done:
		return o.cut, o.err
	case <-ctx.Done():
		return Cut{}, noCut("the stream did not come to "+at.String(), ctx.Err())
	}
}

func noCut(why string, err error) error {
	return &Error{Op: "cutting the lake at one position", Err: fmt.Errorf("%w: %s: %w", ErrNoCut, why, err), Remedy: "try again"}
}

// cutRequest asks a session for a cut.
type cutRequest struct {
	held  chan struct{} // closed by the session: it receives nothing any more
	point chan cdc.LSN  // of capacity 1: where to cut
	gone  chan struct{} // closed by who asks: nobody waits for it any more
	done  chan cutOutcome
	shown func(ctx context.Context, cut *Cut) error // nil: nothing is to be done at the cut
}

type cutOutcome struct {
	cut Cut
	err error
}

// holding is a session's part in a cut. Its zero value is for when there is
// none.
type holding struct {
	request *cutRequest
	at      cdc.LSN    // 0: nobody has said yet
	full    bool       // what comes before at is in the batch, or in one before
	rest    *cdc.Chunk // what came with it, and comes after; may be nil
}

// receives reports whether the session may take chunks.
func (h *holding) receives() bool { return h.request == nil || h.at != 0 && !h.full }

// begin holds the session.
func (h *holding) begin(r *cutRequest) {
	*h = holding{request: r}
	close(r.held)
}

// told gives the channel on which the point comes; nil where it has.
func (h *holding) told() <-chan cdc.LSN {
	if h.request == nil || h.at != 0 {
		return nil
	}
	return h.request.point
}

// gone gives a channel that is closed when nobody waits any more.
func (h *holding) gone() <-chan struct{} {
	if h.request == nil {
		return nil
	}
	return h.request.gone
}

// reached does what is to be done at the cut.
func (h *holding) reached(ctx context.Context, cut *Cut) error {
	select {
	case <-h.request.gone: // whoever asked has let go of it
		return context.Canceled
	default:
	}
	if h.request.shown == nil {
		return nil
	}
	return h.request.shown(ctx, cut)
}

// split keeps back what is not before the point.
func (h *holding) split(c *cdc.Chunk) *cdc.Chunk {
	if h.at == 0 {
		return c
	}
	before, after, reached := splitChunk(c, h.at)
	h.full, h.rest = reached, after
	return before
}

// end releases the session, and gives what was kept back.
func (h *holding) end(cut Cut, err error) *cdc.Chunk {
	if h.request == nil {
		return nil
	}
	h.request.done <- cutOutcome{cut, err}
	rest := h.rest
	*h = holding{}
	return rest
}

// cutAt is what the lake shows after a flush up to a position.
func (e *Engine) cutAt(at cdc.LSN) (Cut, error) {
	if e.shown != at || e.epochs.Position() != at {
		return Cut{}, noCut("tables are catching up", errors.New("no epoch shows the position"))
	}
	last, _ := e.epochs.Last()
	return cutOf(at, e.identity.Timeline, last), nil
}

func cutOf(at cdc.LSN, timeline uint32, last epoch.Epoch) Cut {
	return Cut{LSN: at, Timeline: timeline, Epoch: last.Number, Tables: last.Tables, Incomplete: last.Incomplete}
}
