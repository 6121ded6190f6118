package lakehouse

import (
	"context"
	"strconv"
	"strings"
)

// CopyState is how far the copy of a table by key ranges is, as its log in
// the lake tells.
type CopyState struct {
	// Ranges is how many there are, Done how many of them have been read. The last
	// ones may be done while the table still waits for the stream to come as far.
	Ranges int   `json:"ranges"`
	Done   int   `json:"ranges_done"`
	Rows   int64 `json:"rows"` // that the copy holds, with what the stream has changed since
}

// CopyState tells how far the copy of a table is; nil where it has not
// begun, or is read under one snapshot, of which nothing is kept before its end.
func (l *Lake) CopyState(ctx context.Context, t *TableState) (*CopyState, error) {
	if t.Phase != PhaseCopying || len(t.Modes) == 0 {
		return nil, nil
	}
	spec := tableSpec{
		pipeline: l.state.Pipeline, incarnation: l.state.Incarnation, source: l.state.Source, state: *t, mode: t.Modes[0],
		loc: location(l.store, t.Modes[0], t),
	}
	snap, err := newCopyLog(l.store, spec).load(ctx)
	if err != nil || snap == nil {
		return nil, err
	}
	p := &CopyState{}
	if p.Ranges, err = strconv.Atoi(snap.Property(propPieces)); err != nil {
		return nil, nil
	}
	for txn := range snap.Txns() {
		if strings.HasPrefix(txn.AppID, markRange) {
			p.Done++
		}
	}
	p.Rows = liveRows(snap)
	return p, nil
}
