package tablefmt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Load gives a table's newest snapshot. ErrNoTable where there is no log,
// ErrCorrupt for a damaged one, *[UnsupportedFeatureError] for one that
// cannot be read here.
func Load(ctx context.Context, loc Location) (*Snapshot, error) { return loadSnapshot(ctx, loc, -1) }

// LoadAt gives the snapshot at a version. Errors are as of Load, and
// ErrNoVersion where the version was not reached or is gone.
func LoadAt(ctx context.Context, loc Location, version int64) (*Snapshot, error) {
	if version < 0 {
		return nil, fmt.Errorf("loading table %s: %w: %d", loc, ErrNoVersion, version)
	}
	return loadSnapshot(ctx, loc, version)
}

func loadSnapshot(ctx context.Context, loc Location, want int64) (*Snapshot, error) {
	st, err := loadState(ctx, loc, want)
	if err != nil {
		return nil, fmt.Errorf("loading table %s: %w", loc, err)
	}
	return newSnapshot(loc, st, nil)
}

func loadState(ctx context.Context, loc Location, want int64) (*state, error) {
	log := loc.log()
	return steady(ctx, log, func() (*state, error) { return loadListed(ctx, log, want) })
}

// loadListed reads what a listing of the log shows.
func loadListed(ctx context.Context, log objstore.Store, want int64) (*state, error) {
	plans, err := findSegments(ctx, log, want)
	if err != nil {
		return nil, err
	}
	st, first := plans[0].load(ctx, log)
	if !errors.Is(first, ErrCorrupt) && !errors.Is(first, objstore.ErrNotFound) {
		return st, first
	}
	// A damaged checkpoint need not be the end: an older one, or the whole
	// log, may lead to the same version.
	older, err := plans[0].older(ctx, log)
	if err != nil {
		return nil, first
	}
	for _, p := range older {
		if st, err := p.load(ctx, log); err == nil {
			return st, nil
		}
	}
	return nil, first
}

// older plans, from a listing of the whole log, what leads to the same version from
// before the segment's checkpoint on; the newest first.
func (p segment) older(ctx context.Context, log objstore.Store) ([]segment, error) {
	all, err := allSegments(ctx, log, p.end)
	return slices.DeleteFunc(all, func(o segment) bool { return o.base >= p.base }), err
}

// findSegments lists the log, from the last checkpoint on where that is
// enough, and plans how to read it.
func findSegments(ctx context.Context, log objstore.Store, want int64) ([]segment, error) {
	if hint := getLastCheckpoint(ctx, log).Version; hint >= 0 && (want < 0 || hint <= want) {
		files, err := listLog(ctx, log, hint)
		if err != nil {
			return nil, err
		}
		// A stale or wrong hint makes a listing that leads nowhere.
		if plans, err := planSegments(files, want); err == nil {
			return plans, nil
		}
	}
	return allSegments(ctx, log, want)
}

// allSegments plans from a listing of the whole log.
func allSegments(ctx context.Context, log objstore.Store, want int64) ([]segment, error) {
	files, err := listLog(ctx, log, 0)
	if err != nil {
		return nil, err
	}
	plans, err := planSegments(files, want)
	if errors.Is(err, errEmptyLog) {
		return nil, ErrNoTable
	}
	return plans, err
}

// listLog lists the files of the log of versions from on.
func listLog(ctx context.Context, log objstore.Store, from int64) ([]logFile, error) {
	after := ""
	if from > 0 {
		after = fmt.Sprintf("%020d", from) // less than every name of that version
	}
	var files []logFile
	// A version fills at most 19 of its 20 digits, so all names that matter
	// begin with 0, and folders (_sidecars, _staged_commits) do not.
	for info, err := range log.List(ctx, "0", after) {
		if err != nil {
			return nil, fmt.Errorf("listing the log: %w", err)
		}
		if f := parseLogName(info.Path); f.kind != logOther {
			f.size, f.modified = info.Size, info.Modified
			files = append(files, f)
		}
	}
	return files, nil
}

// lastCheckpoint is the content of _last_checkpoint that we write. (Last
// Checkpoint File Schema)
type lastCheckpoint struct {
	Version       int64 `json:"version"`
	Size          int64 `json:"size"`
	SizeInBytes   int64 `json:"sizeInBytes,omitempty"`
	NumOfAddFiles int64 `json:"numOfAddFiles"`
}

// getLastCheckpoint reads _last_checkpoint; its version is -1 where it is
// missing or cannot be read: it is a hint, and everything works without it.
func getLastCheckpoint(ctx context.Context, log objstore.Store) lastCheckpoint {
	c := lastCheckpoint{Version: -1}
	data, err := log.Get(ctx, lastCheckpointName)
	if err != nil {
		return c
	}
	if json.Unmarshal(data, &c) != nil {
		return lastCheckpoint{Version: -1}
	}
	return c
}

// load replays a segment.
func (p segment) load(ctx context.Context, log objstore.Store) (*state, error) {
	st := noState()
	if p.checkpoint != nil {
		var err error
		if st, err = readCheckpoint(ctx, log, p.checkpoint); err != nil {
			return nil, err
		}
	}
	if p.base == p.end {
		return st.withInfo(ctx, log, p.endCommit)
	}
	return st.replay(ctx, log, p.end, p.shortcuts)
}

// withInfo adds the commitInfo of the state's version, which checkpoints do
// not hold. A commit that log cleanup took away has none.
func (st *state) withInfo(ctx context.Context, log objstore.Store, exists bool) (*state, error) {
	if !exists {
		return st, nil
	}
	data, err := log.Get(ctx, commitName(st.version))
	if errors.Is(err, objstore.ErrNotFound) {
		return st, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", commitName(st.version), err)
	}
	actions, err := collectActions(data, st.version)
	if err != nil {
		return nil, err
	}
	c := *st
	c.info = infoOf(actions)
	return &c, nil
}

func infoOf(actions []Action) *CommitInfo {
	for i := range actions {
		if actions[i].CommitInfo != nil {
			return actions[i].CommitInfo
		}
	}
	return nil
}

// readAhead is how many commits are fetched at a time: enough to hide an
// object store's latency.
const readAhead = 8

// readCommits fetches commits from to to, several at a time, and gives them
// to fn in order. A commit that is not there is ErrCorrupt.
func readCommits(ctx context.Context, log objstore.Store, from, to int64, fn func(v int64, data []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		data []byte
		err  error
	}
	var flying []chan result
	defer func() { // nobody is left behind
		cancel()
		for _, c := range flying {
			<-c
		}
	}()
	start := from
	for v := from; v <= to; v++ {
		for ; start <= to && start < v+readAhead; start++ {
			c, name := make(chan result, 1), commitName(start)
			go func() {
				data, err := log.Get(ctx, name)
				c <- result{data, err}
			}()
			flying = append(flying, c)
		}
		r := <-flying[0]
		flying = flying[1:]
		if errors.Is(r.err, objstore.ErrNotFound) {
			return corrupt(commitName(v), v, r.err)
		}
		if r.err != nil {
			return fmt.Errorf("reading %s: %w", commitName(v), r.err)
		}
		if err := fn(v, r.data); err != nil {
			return err
		}
	}
	return nil
}

// follow gives the newest state, from st on; st itself where there is no
// newer commit.
func follow(ctx context.Context, loc Location, st *state) (*state, error) {
	log := loc.log()
	// Asking for the next commit costs the same whatever the log's length; a
	// long way behind, a listing and reading ahead are cheaper.
	for range readAhead {
		data, err := log.Get(ctx, commitName(st.version+1))
		if errors.Is(err, objstore.ErrNotFound) {
			if getLastCheckpoint(ctx, log).Version > st.version {
				return loadState(ctx, loc, -1) // cleanup went past us
			}
			return st, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", commitName(st.version+1), err)
		}
		actions, err := collectActions(data, st.version+1)
		if err != nil {
			return nil, err
		}
		if st, err = st.next(st.version+1, actions, len(data)); err != nil {
			return nil, err
		}
	}
	return followFar(ctx, loc, st)
}

func followFar(ctx context.Context, loc Location, st *state) (*state, error) {
	log := loc.log()
	files, err := listLog(ctx, log, st.version+1)
	if err != nil {
		return nil, err
	}
	end := st.version
	for _, f := range files {
		if f.kind == logCommit && f.version == end+1 {
			end++
		} else if f.kind == logCommit {
			return loadState(ctx, loc, -1) // cleanup went past us, or a gap: it tells
		}
	}
	if end == st.version {
		return st, nil
	}
	st, err = st.replay(ctx, log, end, planCompactions(files, st.version, end))
	if errors.Is(err, objstore.ErrNotFound) {
		return loadState(ctx, loc, -1) // cleanup went past us since the listing
	}
	return st, err
}

// OldestVersion is the oldest version that the log still holds.
func OldestVersion(ctx context.Context, loc Location) (int64, error) {
	log := loc.log()
	v, err := steady(ctx, log, func() (int64, error) {
		files, err := listLog(ctx, log, 0)
		if err != nil {
			return 0, err
		}
		return oldestVersion(files)
	})
	if err != nil {
		return 0, fmt.Errorf("looking for the oldest version of table %s: %w", loc, err)
	}
	return v, nil
}

// oldestVersion is the oldest from which on a listing shows how to reach every
// version: 0, or that of a checkpoint. It is pure.
func oldestVersion(files []logFile) (int64, error) {
	plans, err := planSegments(files, -1)
	if errors.Is(err, errEmptyLog) {
		return 0, ErrNoTable
	}
	if err != nil {
		return 0, err
	}
	return max(plans[len(plans)-1].base, 0), nil
}

// HasVersion fails where [LoadAt] would with ErrNoVersion or ErrNoTable: it
// looks at the names of the log alone.
func HasVersion(ctx context.Context, loc Location, version int64) error {
	if _, err := findSegments(ctx, loc.log(), version); err != nil {
		return fmt.Errorf("looking for version %d of table %s: %w", version, loc, err)
	}
	return nil
}
