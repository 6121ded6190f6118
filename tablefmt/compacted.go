package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// compaction is a log compaction file: the actions of the commits from to to,
// reconciled. (Log Compaction Files)
type compaction struct {
	name     string
	from, to int64
	// span is how far apart in time the first commit and the file were written.
	span time.Duration
}

// planCompactions gives the compaction files by which the commits after base up
// to end can be read in the fewest files, in order and without overlap. It is
// pure, and takes for granted that the commits are there as well: a compaction
// is a shortcut, never the only way.
func planCompactions(files []logFile, base, end int64) []compaction {
	from := make(map[int64][]logFile)
	modified := make(map[int64]time.Time)
	for _, f := range files {
		switch {
		case f.kind == logCompacted && f.version > base && f.end <= end:
			from[f.version] = append(from[f.version], f)
		case f.kind == logCommit:
			modified[f.version] = f.modified
		}
	}
	if len(from) == 0 {
		return nil
	}
	// The fewest files from a version on, and the first of them where it is a
	// compaction.
	n := int(end - base)
	cost, best := make([]int, n+1), make([]*logFile, n+1)
	for i := n - 1; i >= 0; i-- {
		cost[i] = cost[i+1] + 1
		for _, f := range from[base+1+int64(i)] {
			if c := cost[f.end-base] + 1; c < cost[i] {
				cost[i], best[i] = c, &f
			}
		}
	}
	var out []compaction
	for i := 0; i < n; {
		f := best[i]
		if f == nil {
			i++
			continue
		}
		out = append(out, compaction{name: f.name, from: f.version, to: f.end, span: f.modified.Sub(modified[f.version]).Abs()})
		i = int(f.end - base)
	}
	return out
}

// replay reads the versions after st's up to end, by compactions where they
// help.
func (st *state) replay(ctx context.Context, log objstore.Store, end int64, compactions []compaction) (*state, error) {
	var err error
	for _, c := range compactions {
		if st, err = st.replayCommits(ctx, log, c.from-1); err != nil {
			return nil, err
		}
		data, err := log.Get(ctx, c.name)
		if errors.Is(err, objstore.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", c.name, err)
		}
		// Whatever is wrong with it, the commits themselves tell.
		if next, err := st.compacted(c, data); err == nil {
			st = next
		}
	}
	last := st.version
	if st, err = st.replayCommits(ctx, log, end); err != nil {
		return nil, err
	}
	if st.version == last && len(compactions) > 0 && last >= 0 {
		return st.withInfo(ctx, log, true) // a compaction has none
	}
	return st, nil
}

// replayCommits reads the commits after st's version up to end.
func (st *state) replayCommits(ctx context.Context, log objstore.Store, end int64) (*state, error) {
	if st.version >= end {
		return st, nil
	}
	err := readCommits(ctx, log, st.version+1, end, func(v int64, data []byte) error {
		actions, err := collectActions(data, v)
		if err != nil {
			return err
		}
		st, err = st.next(v, actions, len(data))
		return err
	})
	return st, err
}

// compacted applies a compaction file, which must begin right after st's version.
func (st *state) compacted(c compaction, data []byte) (*state, error) {
	if c.from != st.version+1 {
		return nil, fmt.Errorf("versions %d to %d cannot follow version %d", c.from, c.to, st.version)
	}
	actions, err := collectLines(data)
	if err != nil {
		return nil, corrupt(c.name, c.to, err)
	}
	if err := checkCompacted(actions); err != nil {
		return nil, corrupt(c.name, c.to, err)
	}
	if err := st.keepsRemoves(c, actions); err != nil {
		return nil, err
	}
	b := st.build()
	b.st.version = c.to - 1
	if err := b.apply(actions); err != nil {
		return nil, corrupt(c.name, c.to, err)
	}
	b.st.info = nil // one would be of any of the versions
	b.st.tail = st.tail.grow(len(data))
	return b.finish(c.to, c.name)
}

// keepsRemoves refuses a compaction that may lack removals. Writers reconcile as
// for a checkpoint, and leave out tombstones that have expired: in a checkpoint
// that does no harm, but here the files may be of before. So a compaction counts
// only if it was written sooner after its first commit than tombstones expire.
func (st *state) keepsRemoves(c compaction, actions []Action) error {
	if c.from == 0 {
		return nil // what it removes it has added
	}
	keep := st.metadata.tombstoneRetention()
	for i := range actions {
		if m := actions[i].Metadata; m != nil {
			keep = min(keep, m.tombstoneRetention())
		}
	}
	if c.span >= keep {
		return fmt.Errorf("%s was written %s after its first commit, and tombstones expire after %s", c.name, c.span, keep)
	}
	return nil
}

// checkCompacted refuses what no reconciliation leads to. Unlike a commit it may
// remove one path several times, with different deletion vectors.
// (Action Reconciliation)
func checkCompacted(actions []Action) error {
	if len(actions) == 0 {
		return errors.New("it holds no action")
	}
	files, adds := make(map[fileKey]bool), make(map[string]bool)
	once := make(map[string]bool)
	for i := range actions {
		switch a := &actions[i]; {
		case a.Add != nil:
			k := keyOf(a.Add.Path, a.Add.DeletionVector)
			if files[k] || adds[k.path] {
				return fmt.Errorf("it holds %q twice", a.Add.Path)
			}
			files[k], adds[k.path] = true, true
		case a.Remove != nil:
			k := keyOf(a.Remove.Path, a.Remove.DeletionVector)
			if files[k] {
				return fmt.Errorf("it holds %q twice", a.Remove.Path)
			}
			files[k] = true
		default:
			what := a.singular()
			if what != "" && once[what] {
				return fmt.Errorf("it has %s twice", what)
			}
			once[what] = true
		}
	}
	return nil
}
