package lakehouse

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lakeload/lakeload/tablefmt"
)

// A mirror may keep a change data feed (delta.enableChangeDataFeed), so that
// readers learn what a version changed: for each key one net change, from what
// it was in the version before to what it is. What changed is found when the
// commit is about to be made, as the difference of the rows that it takes out of
// the table's files and of those that it puts there. So nothing of it has to be
// known while changes are applied, however often a key was touched, and a repair
// is told as a flush is. Both are read back from their files, in batches; see
// feedDiff for how they are brought together in bounded memory.
//
// Without cdc files readers derive changes from whole files, which is right, and
// is left to them, where a commit adds whole files alone, where it takes all of
// the table out and no file has a deletion vector, and where it takes all rows of
// a large table out, whatever comes in their place (a TRUNCATE, a copy). Of such
// files delta-rs 1.6 would not heed the deletion vectors, so that smaller tables
// are told.

// FeedMode says whether a mirror keeps a change data feed.
type FeedMode string

// The ways.
const (
	FeedOn  FeedMode = "on"
	FeedOff FeedMode = "off"
)

// orProperty is whether a table is to keep a feed whose property somebody may
// have set: what the options do not say is left as it is.
func (f FeedMode) orProperty(base *tablefmt.Snapshot) bool {
	return f == FeedOn || f != FeedOff && base != nil && strings.EqualFold(base.Property(tablefmt.PropChangeDataFeed), "true")
}

// feeds reports whether the next commit tells its changes. The log of a copy in
// progress, whose files are in no table yet, never does.
func (t *table) feeds() bool {
	return t.spec.mode == ModeMirror && t.spec.loc.Log == nil && t.spec.state.ChangeFeed.orProperty(t.snap)
}

// switchesFeed reports whether the table's property is to say otherwise of its
// feed than it does.
func (t *table) switchesFeed() bool {
	if t.spec.mode != ModeMirror || t.spec.loc.Log != nil {
		return false
	}
	was := t.snap.Property(tablefmt.PropChangeDataFeed)
	if t.feeds() {
		return was != feedTrue
	}
	return strings.EqualFold(was, feedTrue)
}

// setFeed sets in a table's properties whether it keeps a feed, if that is
// another thing than they say.
func (t *table) setFeed(md *tablefmt.Metadata) {
	if t.switchesFeed() {
		md.Configuration[tablefmt.PropChangeDataFeed] = strconv.FormatBool(t.feeds())
	}
}

// feedTrue is the property's value of a table that keeps one.
const feedTrue = "true"

// writeFeed writes the cdc files of what is staged; none where readers need
// none. Where rows have only moved, the commit is one that changes no data, as
// it has to be without cdc files. It comes before the rows that stay are written
// anew.
func (m *mirrorWriter) writeFeed(ctx context.Context) ([]tablefmt.CDCFile, error) {
	m.moved = false
	if !m.feeds() || m.truncated && !m.rewrote && m.snap.Size() > feedReplaceMost {
		return nil, nil
	}
	old, err := m.outgoing()
	if err != nil {
		return nil, err
	}
	now, whole, err := m.incoming()
	if err != nil {
		return nil, err
	}
	if old.rows == 0 && whole || now.rows == 0 && m.truncated && !hasVectors(m.snap) {
		return nil, nil
	}
	files, err := m.diffFeed(ctx, old, now, m.snap.TracksRows())
	if err != nil {
		return nil, fmt.Errorf("writing the change feed of %s: %w", &m.spec, err)
	}
	m.moved = len(files) == 0
	return files, nil
}

// outgoing are the rows of the snapshot that what is staged takes out.
func (m *mirrorWriter) outgoing() (*feedSide, error) {
	side, err := m.sideOf(m.snap)
	if err != nil {
		return nil, err
	}
	if m.truncated {
		return side, side.all(m.snap)
	}
	for _, v := range m.marked() {
		if v.staged != nil || v.gone {
			continue
		}
		rows := v.dead
		if v.old != nil {
			rows = v.dead.Clone()
			rows.AndNot(v.old)
		}
		if n := int64(rows.Cardinality()); n > 0 {
			side.files, side.rows = append(side.files, feedFile{add: v.add, only: rows}), side.rows+n
		}
	}
	return side, nil
}

// incoming are the rows that are staged. whole says that all rows of their files
// are among them.
func (m *mirrorWriter) incoming() (side *feedSide, whole bool, err error) {
	snap := m.snap
	if m.evolved { // staged files may have columns that the snapshot lacks
		if snap, err = snap.WithSchema(m.schema); err != nil {
			return nil, false, err
		}
	}
	side, whole = &feedSide{snap: snap}, true
	for _, s := range m.files {
		f, n := feedFile{add: s.add, without: s.dead}, s.rows
		if s.dead != nil {
			whole, n = false, n-int64(s.dead.Cardinality())
		}
		side.files, side.rows = append(side.files, f), side.rows+n
	}
	return side, whole, nil
}

// feedReplaceMost bounds, in bytes of data files, the tables of which a commit
// that replaces all rows tells which differ. It is done while all tables wait.
const feedReplaceMost = rewriteMost

func hasVectors(snap *tablefmt.Snapshot) bool {
	for add := range snap.Files() {
		if add.DeletionVector != nil {
			return true
		}
	}
	return false
}

// replaceFeed writes the cdc files of the commit by which a copy replaces a
// table's rows; none where readers may derive them, as they may where the new
// files are read as the old ones are, nor where the rows are the same: moved.
func (c *copyLog) replaceFeed(ctx context.Context, base, copied *tablefmt.Snapshot) (files []tablefmt.CDCFile, moved bool, err error) {
	if first := base == nil || base.NumFiles() == 0; first && (!hasVectors(copied) || copied.Size() > feedReplaceMost) {
		return nil, false, nil
	}
	spec := c.spec
	spec.loc.Log = nil
	m := &mirrorWriter{table: &table{spec: spec, snap: copied}}
	if err := m.readKey(); err != nil {
		return nil, false, err
	}
	if err := m.table.follow(copied); err != nil {
		return nil, false, err
	}
	if base == nil {
		return m.insertFeed(ctx, copied)
	}
	old, err := m.sideOf(base)
	if err != nil {
		return nil, false, err
	}
	if base.Size()+copied.Size() > feedReplaceMost && len(old.cast) == 0 && slices.Equal(base.PartitionColumns(), copied.PartitionColumns()) {
		return nil, false, nil
	}
	now := &feedSide{snap: copied}
	for _, of := range []struct {
		side     *feedSide
		in, than *tablefmt.Snapshot
	}{{old, base, copied}, {now, copied, base}} {
		if err := of.side.all(of.in); err != nil {
			return nil, false, err
		}
		of.side.files = slices.DeleteFunc(of.side.files, func(f feedFile) bool { return same(f.add, of.than) })
	}
	if files, err = m.diffFeed(ctx, old, now, base.TracksRows()); err != nil {
		return nil, false, fmt.Errorf("writing the change feed of %s: %w", &c.spec, err)
	}
	return files, len(files) == 0, nil
}

// insertFeed tells all rows of a new table as inserted.
func (m *mirrorWriter) insertFeed(ctx context.Context, copied *tablefmt.Snapshot) ([]tablefmt.CDCFile, bool, error) {
	now := &feedSide{snap: copied}
	if err := now.all(copied); err != nil {
		return nil, false, err
	}
	files, err := m.diffFeed(ctx, &feedSide{snap: copied}, now, false)
	if err != nil {
		return nil, false, fmt.Errorf("writing the change feed of %s: %w", &m.spec, err)
	}
	return files, false, nil
}
