package lakehouse

import (
	"context"
	"errors"
	"fmt"

	"github.com/lakeload/lakeload/cdc"
)

// Preflight says beforehand whether a lake can go on with a source: what Open
// and Run would refuse. It changes nothing. The engine may be running.
func Preflight(ctx context.Context, opt Options) ([]cdc.Finding, error) {
	opt.EnsureDefaults()
	if err := opt.Validate(); err != nil {
		return nil, &Error{Op: "reading the options", Kind: KindPreflight, Err: err}
	}
	st, err := ReadState(ctx, opt.Lake, opt.Name)
	if errors.Is(err, ErrNoState) {
		return []cdc.Finding{{Check: "lake_source", Severity: cdc.OK, Have: "a new lake"}}, nil
	}
	if err != nil {
		return nil, err
	}
	e := &Engine{opt: opt, state: st, descent: descent{same: true}}
	if err := e.identify(ctx); err != nil {
		return refusal("lake_source", err, "the source that the lake was fed from")
	}
	found := []cdc.Finding{{Check: "lake_source", Severity: cdc.OK, Have: fmt.Sprintf("cluster %s, timeline %d, as before", e.identity.SystemID, st.Source.Timeline)}}
	if st.Phase != PipelineReady {
		return found, nil
	}
	if err := e.stillHalted(); err != nil {
		more, err := refusal("lake_halted", err, "a lake that can go on")
		return append(found, more...), err
	}
	slot, err := opt.Source.Slot(ctx)
	if err == nil {
		err = e.checkSlot(ctx, slot)
	}
	if err != nil {
		more, err := refusal("lake_slot", err, "the slot that the lake was fed from, not past it")
		return append(found, more...), err
	}
	found = append(found, cdc.Finding{Check: "lake_slot", Severity: cdc.OK, Have: "at " + slot.ConfirmedFlush.String()})
	if !e.descent.same {
		if err := e.crossSwitch(ctx, st.clone()); err != nil {
			more, err := refusal("lake_timeline", err, "a server that has all that the lake has")
			return append(found, more...), err
		}
		found[0].Have = fmt.Sprintf("timeline %d, which has all that the lake has", e.identity.Timeline)
	}
	return found, nil
}

// refusal makes a finding of an error that the operator has to mend; one that
// passes stays an error.
func refusal(check string, err error, need string) ([]cdc.Finding, error) {
	if cdc.Retryable(err) {
		return nil, err
	}
	return []cdc.Finding{{Check: check, Severity: cdc.Blocker, Have: err.Error(), Need: need, Remedy: hintOf(err)}}, nil
}
