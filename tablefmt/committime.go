package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Properties that tell since when commits have told their time themselves, of a
// table that has older ones. (In-Commit Timestamps)
const (
	propICTVersion = "delta.inCommitTimestampEnablementVersion"
	propICTTime    = "delta.inCommitTimestampEnablementTimestamp"
)

// commitClock gives the commits of one transaction their in-commit timestamps.
type commitClock struct {
	turnsOn  bool // the transaction turns them on for a table that is there
	turnsOff bool
	modified int64 // of the commit before, in ms; for turnsOn
}

// clock finds out what the commit after st has to do about time. It looks at
// the commit before where the protocol asks for its file's age.
func (t *Transaction) clock(ctx context.Context, st *state) (commitClock, error) {
	var c commitClock
	if t.base == nil || t.metadata == nil {
		return c, nil
	}
	was, is := st.metadata.isTrue(PropInCommitTimestamps), t.metadata.isTrue(PropInCommitTimestamps)
	c.turnsOn, c.turnsOff = is && !was, was && !is
	if !c.turnsOn {
		return c, nil
	}
	info, err := t.loc.log().Stat(ctx, commitName(st.version))
	switch {
	case errors.Is(err, objstore.ErrNotFound): // only a checkpoint is left of it
	case err != nil:
		return c, fmt.Errorf("looking at %s: %w", commitName(st.version), err)
	default:
		c.modified = info.Modified.UnixMilli()
	}
	return c, nil
}

// stamp gives the commit after st its time, in ms, and the metadata that tell
// of it; nil where there is nothing to do. It is pure.
func (c commitClock) stamp(st *state, m *Metadata, now int64) (at *int64, changed *Metadata) {
	if c.turnsOff {
		changed = m.Clone()
		delete(changed.Configuration, propICTVersion)
		delete(changed.Configuration, propICTTime)
		return nil, changed
	}
	if m == nil || !m.isTrue(PropInCommitTimestamps) {
		return nil, nil
	}
	t := now // never goes back, whatever the clocks say
	if st.info != nil && st.info.InCommitTimestamp != nil {
		t = max(t, *st.info.InCommitTimestamp+1)
	}
	if c.turnsOn {
		t = max(t, c.modified+1)
		changed = m.Clone()
		changed.Configuration[propICTVersion] = strconv.FormatInt(st.version+1, 10)
		changed.Configuration[propICTTime] = strconv.FormatInt(t, 10)
	}
	return &t, changed
}
