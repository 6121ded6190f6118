package epoch

import (
	"context"
	"fmt"
	"time"

	"github.com/lakeload/lakeload/compaction"
	"github.com/lakeload/lakeload/tablefmt"
)

// packings bounds how many files one Upkeep writes.
const packings = 4

// Upkeep keeps reading and opening the record cheap, whatever its length, and
// lets go of epochs that were recorded longer than keep ago; of none where keep
// is not positive. It is called after each record and mostly has nothing to do.
// What it does are commits of their own, each of which may be the last thing
// that a process did.
func (l *Log) Upkeep(ctx context.Context, keep time.Duration) error {
	step := l.last.seq/tiers[0] + 1
	if l.snap == nil || step == l.kept {
		return nil
	}
	l.kept = step // should it fail, it is tried again a while later
	if keep > 0 {
		if err := l.expire(ctx, time.Now().Add(-keep)); err != nil {
			return fmt.Errorf("letting go of old epochs: %w", err)
		}
	}
	for range packings {
		plan := planPack(filesOf(l.snap), l.last.seq)
		if len(plan.Files) == 0 {
			return nil
		}
		snap, err := compaction.Pack(ctx, l.snap, plan)
		if err != nil {
			return fmt.Errorf("packing the record of epochs: %w", err)
		}
		if !l.follows(snap) {
			return nil
		}
	}
	l.kept = 0 // there is more
	return nil
}

// follows takes over the snapshot that a commit of upkeep has made, if there is
// nothing else between. Somebody else's records must not be: the next append
// has to meet them, and lose.
func (l *Log) follows(snap *tablefmt.Snapshot) bool {
	if snap.Version() != l.snap.Version()+1 {
		return false
	}
	l.snap = snap
	return true
}

// expire takes the files out of the record that hold nothing but what was
// recorded before a time and is not needed to read what stays.
func (l *Log) expire(ctx context.Context, before time.Time) error {
	gone := planExpiry(filesOf(l.snap), l.last.seq, before)
	if len(gone) == 0 {
		return nil
	}
	t := tablefmt.Begin(l.loc, l.snap)
	now := time.Now().UnixMilli()
	for _, f := range gone {
		t.Remove(*f.Remove(now, true))
	}
	t.SetInfo("DELETE", map[string]any{"predicate": fmt.Sprintf("[\"recorded < '%s'\"]", before.UTC().Format(time.RFC3339))})
	t.SetReads(tablefmt.ReadsTable) // a twin's records are met by the next append
	l.unsure = t.CommitID()
	snap, err := t.Commit(ctx)
	if err != nil {
		return err
	}
	if l.follows(snap) {
		l.unsure = ""
	}
	return nil
}
