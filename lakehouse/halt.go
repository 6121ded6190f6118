package lakehouse

import (
	"context"
	"errors"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// haltWait bounds the recording of why a pipeline cannot go on.
const haltWait = 10 * time.Second

// finalError is a loss that may vanish from sight, but not from the data.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// lossError is a loss that is seen again at every start until it is mended.
type lossError struct{ error }

func (e lossError) Unwrap() error { return e.error }

// halted makes an error that ends the pipeline as a whole known as such: it is
// recorded in the lake, so that `status` tells it without the source, and so
// that a reason which may vanish from sight is not forgotten. A source that is
// merely another one than the lake's says nothing of the lake.
func (e *Engine) halted(ctx context.Context, err error) error {
	var gone finalError
	var loss lossError
	final := errors.As(err, &gone) || errors.Is(err, cdc.ErrReset)
	if err == nil || !final && !errors.As(err, &loss) && !cdc.NeedsResync(err) {
		return err
	}
	if other := e.superseded(context.WithoutCancel(ctx)); other != nil {
		return other // what another engine reads from the slot is not lost
	}
	if KindOf(err) == KindFailed {
		err = &Error{Op: "following the source", Object: e.opt.Name, Kind: KindConflict, Err: err, Remedy: hintOf(err)}
	}
	if e.state == nil || e.state.Phase != PipelineReady {
		return err
	}
	if h := e.state.Halt; h != nil && (h.Final || h.Reason == err.Error()) {
		return err // it is known
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), haltWait)
	defer cancel()
	halt := &Halt{Reason: err.Error(), Remedy: hintOf(err), Since: time.Now().UTC(), Final: final}
	if saveErr := e.save(ctx, func(s *State) { s.Halt = halt }); saveErr != nil {
		e.opt.Log.Warn("why the pipeline cannot go on could not be recorded in the lake", "error", saveErr)
	}
	return err
}

// hintOf is what to do about an error, of the outermost that says so.
func hintOf(err error) string {
	var h interface{ Hint() string }
	for err != nil && errors.As(err, &h) {
		if s := h.Hint(); s != "" {
			return s
		}
		under, ok := h.(error)
		if !ok {
			break
		}
		err = errors.Unwrap(under)
	}
	return ""
}

// stillHalted refuses a pipeline whose reason to halt only an adoption ends.
func (e *Engine) stillHalted() error {
	h := e.state.Halt
	if h == nil || !h.Final {
		return nil
	}
	return &Error{
		Op: "resuming the pipeline", Object: e.opt.Name, Kind: KindConflict,
		Err:    errors.New("it was halted at " + h.Since.Format(time.RFC3339) + ": " + h.Reason),
		Remedy: h.Remedy,
	}
}
