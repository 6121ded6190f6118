package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// CommitSummary is a version of a table as its history tells it.
type CommitSummary struct {
	Version int64
	// Time is when the version was made: its in-commit timestamp where the
	// table keeps them, else the commit file's own time.
	Time time.Time
	Info *CommitInfo // nil where the writer did not say
	// What the commit holds.
	Adds, Removes, CDCs   int
	AddedBytes            int64
	RemovedBytes          int64 // as far as the removes tell
	Protocol, Metadata    bool
	Txns                  []Txn
	AddedRows             int64 // as far as statistics tell, without deletion vectors' rows
	RowsKnown, DataChange bool  // AddedRows covers all adds; some action changes data
}

// History gives the versions that the log still has, newest first, at most
// limit of them (0: all).
func History(ctx context.Context, loc Location, limit int) ([]CommitSummary, error) {
	log := loc.log()
	out, err := steady(ctx, log, func() ([]CommitSummary, error) { return historyListed(ctx, log, limit) })
	if err != nil {
		return nil, fmt.Errorf("reading the history of table %s: %w", loc, err)
	}
	return out, nil
}

func historyListed(ctx context.Context, log objstore.Store, limit int) ([]CommitSummary, error) {
	commits, err := listCommits(ctx, log)
	if err != nil {
		return nil, err
	}
	if limit > 0 && len(commits) > limit {
		commits = commits[len(commits)-limit:]
	}
	out := make([]CommitSummary, 0, len(commits))
	first := commits[0].version
	err = readCommits(ctx, log, first, commits[len(commits)-1].version, func(v int64, data []byte) error {
		actions, err := collectActions(data, v)
		if err != nil {
			return err
		}
		out = append(out, summarize(v, commits[v-first].modified, actions))
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Reverse(out)
	return out, nil
}

func summarize(v int64, modified time.Time, actions []Action) CommitSummary {
	c := CommitSummary{Version: v, Time: modified, Info: infoOf(actions), RowsKnown: true}
	if c.Info != nil && c.Info.InCommitTimestamp != nil {
		c.Time = time.UnixMilli(*c.Info.InCommitTimestamp)
	}
	for i := range actions {
		switch a := &actions[i]; {
		case a.Add != nil:
			c.Adds++
			c.AddedBytes += a.Add.Size
			c.DataChange = c.DataChange || a.Add.DataChange
			n, ok := a.Add.NumRecords()
			c.AddedRows += n - a.Add.Deleted()
			c.RowsKnown = c.RowsKnown && ok
		case a.Remove != nil:
			c.Removes++
			c.DataChange = c.DataChange || a.Remove.DataChange
			if a.Remove.Size != nil {
				c.RemovedBytes += *a.Remove.Size
			}
		case a.CDC != nil:
			c.CDCs++
		case a.Txn != nil:
			c.Txns = append(c.Txns, *a.Txn)
		}
		c.Protocol = c.Protocol || actions[i].Protocol != nil
		c.Metadata = c.Metadata || actions[i].Metadata != nil
	}
	return c
}

// commitFile is a commit of a listing.
type commitFile struct {
	version  int64
	modified time.Time
}

// listCommits gives the newest unbroken run of commits, oldest first: what
// comes before a gap cannot be reached any more.
func listCommits(ctx context.Context, log objstore.Store) ([]commitFile, error) {
	var out []commitFile
	for info, err := range log.List(ctx, "0", "") {
		if err != nil {
			return nil, fmt.Errorf("listing the log: %w", err)
		}
		f := parseLogName(info.Path)
		if f.kind != logCommit {
			continue
		}
		if len(out) > 0 && f.version != out[len(out)-1].version+1 {
			out = out[:0]
		}
		out = append(out, commitFile{f.version, info.Modified})
	}
	if len(out) == 0 {
		return nil, ErrNoTable
	}
	return out, nil
}

// LoadAsOf gives the snapshot that was the newest at a time: the last version
// whose timestamp is not after t. Timestamps are in-commit timestamps where
// the table keeps them, else the commit files' times, each at least a
// millisecond after the one before. ErrNoVersion where all versions are newer.
func LoadAsOf(ctx context.Context, loc Location, t time.Time) (*Snapshot, error) {
	log := loc.log()
	v, err := steady(ctx, log, func() (int64, error) { return versionAsOf(ctx, log, t) })
	if err != nil {
		return nil, fmt.Errorf("loading table %s as of %s: %w", loc, t.UTC().Format(time.RFC3339Nano), err)
	}
	return LoadAt(ctx, loc, v)
}

func versionAsOf(ctx context.Context, log objstore.Store, t time.Time) (int64, error) {
	commits, err := listCommits(ctx, log)
	if err != nil {
		return 0, err
	}
	ordered(commits)
	i, err := versionsBefore(ctx, log, commits, func(at time.Time) bool { return !at.After(t) })
	if err != nil {
		return 0, err
	}
	if i == 0 {
		return 0, fmt.Errorf("%w: the oldest that is left, %d, is newer", ErrNoVersion, commits[0].version)
	}
	return commits[i-1].version, nil
}

// versionsBefore counts the first commits, whose times are ordered, for whose
// time a condition holds; it holds for no commit after one for which it does
// not.
func versionsBefore(ctx context.Context, log objstore.Store, commits []commitFile, holds func(at time.Time) bool) (int, error) {
	newest, err := inCommitTime(ctx, log, commits[len(commits)-1])
	if err != nil {
		return 0, err
	}
	var failed error
	i, _ := slices.BinarySearchFunc(commits, true, func(c commitFile, _ bool) int {
		at := &c.modified
		if newest != nil {
			kept, err := inCommitTime(ctx, log, c)
			if failed = errors.Join(failed, err); kept != nil { // else it is of before the table kept them
				at = kept
			}
		}
		if holds(*at) {
			return -1
		}
		return 1
	})
	return i, failed
}

// ordered makes the times of commits increase, as Delta does: clocks go back,
// and copying a log changes its files' times.
func ordered(commits []commitFile) {
	for i := 1; i < len(commits); i++ {
		if prev := commits[i-1].modified; !commits[i].modified.After(prev) {
			commits[i].modified = prev.Add(time.Millisecond)
		}
	}
}

// inCommitTime gives a commit's in-commit timestamp, nil for none.
func inCommitTime(ctx context.Context, log objstore.Store, c commitFile) (*time.Time, error) {
	data, err := log.Get(ctx, commitName(c.version))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", commitName(c.version), err)
	}
	for a, err := range parseCommit(data) {
		if err != nil {
			return nil, corrupt(commitName(c.version), c.version, err)
		}
		if a.CommitInfo != nil {
			if ms := a.CommitInfo.InCommitTimestamp; ms != nil {
				at := time.UnixMilli(*ms)
				return &at, nil
			}
			return nil, nil
		}
	}
	return nil, nil
}
