package lakehouse

import (
	"context"
	"errors"

	"github.com/lakeload/lakeload/cdc"
)

// Create makes publication and slot and records both in the lake, as Run does
// first, and copies nothing. It gives the slot's point: every change from there
// on is held for the lake, until Run is called, by this engine or a later one.
// A pipeline that has been made already is refused.
func (e *Engine) Create(ctx context.Context) (cdc.LSN, error) {
	if e.state != nil && e.state.Phase == PipelineReady {
		return 0, &Error{
			Op: "making the replication slot", Object: e.opt.Name, Kind: KindConflict, Err: errors.New("the lake has its slot already"),
			Remedy: "`lakeload run` goes on with it; `lakeload adopt` begins anew",
		}
	}
	snap, err := e.create(ctx)
	if err != nil {
		return 0, err
	}
	return snap.Point(), snap.Close()
}
