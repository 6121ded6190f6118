package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// fileKey identifies a logical file.
type fileKey struct{ path, vector string }

func keyOf(path string, d *dv.Descriptor) fileKey { return fileKey{canonicalPath(path), vectorID(d)} }

// Tombstones gives the removals that the log holds up to the snapshot's
// version, of logical files that are not part of it: what a checkpoint keeps
// and vacuum must spare until they expire ([Snapshot.TombstoneRetention],
// counted from RemoveFile.DeletionTimestamp). Expired ones may be among them.
//
// They are read from the log each time, because a busy table has far more of
// them than live files: memory is bounded by the commits since the last
// checkpoint. emit must not keep what it gets unless it copies it.
func (s *Snapshot) Tombstones(ctx context.Context, emit func(*RemoveFile) error) error {
	if err := s.tombstones(ctx, emit); err != nil {
		return fmt.Errorf("reading the removals of table %s: %w", s.loc, err)
	}
	return nil
}

func (s *Snapshot) tombstones(ctx context.Context, emit func(*RemoveFile) error) error {
	log := s.loc.log()
	p, err := s.segment(ctx, log)
	if err != nil {
		return err
	}
	var failed error // of emit
	emitting := func(r *RemoveFile) error { failed = emit(r); return failed }
	first := p.tombstones(ctx, log, emitting)
	if failed != nil || p.checkpoint == nil || !errors.Is(first, ErrCorrupt) && !errors.Is(first, objstore.ErrNotFound) {
		return first
	}
	// As when a table is loaded, an older checkpoint or the whole log may tell the
	// same. What the damaged one has told already is not told twice.
	older, err := p.older(ctx, log)
	if err != nil || len(older) == 0 {
		return first
	}
	told := map[fileKey]bool{}
	_ = p.tombstones(ctx, log, func(r *RemoveFile) error { // it fails as it did
		told[keyOf(r.Path, r.DeletionVector)] = true
		return nil
	})
	err = older[0].tombstones(ctx, log, func(r *RemoveFile) error {
		if told[keyOf(r.Path, r.DeletionVector)] {
			return nil
		}
		return emitting(r)
	})
	if err != nil && failed == nil {
		return first
	}
	return err
}

// tombstones gives the removals of a segment of the log.
func (p segment) tombstones(ctx context.Context, log objstore.Store, emit func(*RemoveFile) error) error {
	later := make(map[fileKey]*RemoveFile) // since the checkpoint; nil: added again
	if p.base < p.end {
		err := readCommits(ctx, log, p.base+1, p.end, func(v int64, data []byte) error {
			actions, err := collectActions(data, v)
			for i := range actions {
				if a := actions[i].Add; a != nil {
					later[keyOf(a.Path, a.DeletionVector)] = nil
				} else if r := actions[i].Remove; r != nil {
					later[keyOf(r.Path, r.DeletionVector)] = r
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if p.checkpoint != nil {
		err := checkpointRows(ctx, log, p.checkpoint, []int{colRemove}, func(a *Action) error {
			if r := a.Remove; r != nil {
				if _, known := later[keyOf(r.Path, r.DeletionVector)]; !known {
					return emit(r)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, r := range later {
		if r != nil {
			if err := emit(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// segment says which files of the log make the snapshot. Where this process knows
// the last checkpoint, the log is not listed: a busy table's is long.
func (s *Snapshot) segment(ctx context.Context, log objstore.Store) (segment, error) {
	v := s.st.tail.mark.at()
	if v >= 0 && v <= s.Version() {
		name := checkpointName(v)
		switch _, err := log.Stat(ctx, name); {
		case err == nil:
			return segment{checkpoint: []logFile{parseLogName(name)}, base: v, end: s.Version()}, nil
		case !errors.Is(err, objstore.ErrNotFound):
			return segment{}, fmt.Errorf("looking for %s: %w", name, err)
		}
	}
	plans, err := findSegments(ctx, log, s.Version())
	if err != nil {
		return segment{}, err
	}
	return plans[0], nil
}

// DefaultTombstoneRetention is how long removed files stay where the table
// does not say otherwise.
const DefaultTombstoneRetention = 7 * 24 * time.Hour

// TombstoneRetention is how long a removed file must stay for readers of
// older snapshots: the table's delta.deletedFileRetentionDuration. A value
// that is no interval counts as the default.
func (s *Snapshot) TombstoneRetention() time.Duration { return s.st.metadata.tombstoneRetention() }

func (m *Metadata) tombstoneRetention() time.Duration {
	if d, err := ParseInterval(m.Property(PropDeletedRetention)); err == nil {
		return d
	}
	return DefaultTombstoneRetention
}

// DefaultLogRetention is how long old versions can be read where the table does
// not say otherwise.
const DefaultLogRetention = 30 * 24 * time.Hour

// LogRetention is how long a version that is not the newest any more can be
// read, as far as the log is concerned: the table's delta.logRetentionDuration.
// A value that is no interval counts as the default.
func (s *Snapshot) LogRetention() time.Duration {
	if d, err := ParseInterval(s.Property(PropLogRetention)); err == nil {
		return d
	}
	return DefaultLogRetention
}

// ParseInterval reads an interval as table properties hold it: "interval 1
// week", "interval 36 hours 30 minutes". Months and years have no length and
// are refused, as Delta does.
func ParseInterval(s string) (time.Duration, error) {
	words := strings.Fields(strings.ToLower(s))
	if len(words) > 0 && words[0] == "interval" {
		words = words[1:]
	}
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, fmt.Errorf("%q is no interval", s)
	}
	units := map[string]time.Duration{
		"week": 7 * 24 * time.Hour, "day": 24 * time.Hour, "hour": time.Hour, "minute": time.Minute,
		"second": time.Second, "millisecond": time.Millisecond, "microsecond": time.Microsecond,
	}
	var sum time.Duration
	for i := 0; i < len(words); i += 2 {
		n, err := strconv.ParseInt(words[i], 10, 32)
		unit, ok := units[strings.TrimSuffix(words[i+1], "s")]
		if err != nil || !ok || n < 0 || time.Duration(n) > (1<<62-sum)/unit {
			return 0, fmt.Errorf("%q is no interval", s)
		}
		sum += time.Duration(n) * unit
	}
	return sum, nil
}
