package tablefmt

import (
	"errors"
	"fmt"
	"slices"
)

// segment says which files of the log make a version: a checkpoint, if any,
// and the commits after it.
type segment struct {
	checkpoint []logFile // its parts in order; nil: from version 0 on
	base       int64     // the checkpoint's version, -1 for none
	end        int64     // the version; commits base+1 to end exist
	endCommit  bool      // the commit of version end exists, even if it is in the checkpoint
	shortcuts  []compaction
}

// errEmptyLog says that a listing holds neither a commit nor a checkpoint.
var errEmptyLog = errors.New("the log holds no version")

// planSegments gives the ways to reach version want (-1: the newest that the
// listing shows), best first: more than one where there are several
// checkpoints to begin at, in case one is damaged. It is pure.
//
// Errors: errEmptyLog, ErrNoVersion, and ErrCorrupt for a gap.
func planSegments(files []logFile, want int64) ([]segment, error) {
	commits := make(map[int64]bool)
	oldest, newest := int64(-1), int64(-1)
	for _, f := range files {
		if f.kind == logCommit {
			commits[f.version] = true
			newest = max(newest, f.version)
			if oldest < 0 || f.version < oldest {
				oldest = f.version
			}
		}
	}
	checkpoints := completeCheckpoints(files)
	for _, c := range checkpoints {
		newest = max(newest, c[0].version)
	}
	if newest < 0 {
		return nil, errEmptyLog
	}
	asked := want >= 0
	if !asked {
		want = newest
	}
	if want > newest {
		return nil, fmt.Errorf("%w: %d (the newest is %d)", ErrNoVersion, want, newest)
	}
	var plans []segment
	var gap error
	for _, c := range append(checkpoints, nil) { // nil: begin at version 0
		s := segment{checkpoint: c, base: -1, end: want, endCommit: commits[want]}
		if c != nil {
			s.base = c[0].version
		}
		if s.base > want {
			continue
		}
		missing := s.base + 1
		for missing <= want && commits[missing] {
			missing++
		}
		if missing > want {
			s.shortcuts = planCompactions(files, s.base, s.end)
			plans = append(plans, s)
			continue
		}
		if gap == nil {
			gap = corrupt(commitName(missing), missing, errors.New("the file is missing from the log"))
			if asked && missing < oldest {
				gap = fmt.Errorf("%w: %d (log cleanup has removed what is before %d)", ErrNoVersion, want, oldest)
			}
		}
	}
	if len(plans) == 0 {
		return nil, gap
	}
	return plans, nil
}

// completeCheckpoints gives the checkpoints of a listing, newest first, of
// one version the classic one first. One in several parts counts if all are
// there.
func completeCheckpoints(files []logFile) [][]logFile {
	var all [][]logFile
	parts := make(map[[2]int64][]logFile) // by version and number of parts
	for _, f := range files {
		switch f.kind {
		case logCheckpoint, logNewCheckpoint:
			all = append(all, []logFile{f})
		case logPart:
			k := [2]int64{f.version, int64(f.parts)}
			parts[k] = append(parts[k], f)
			if len(parts[k]) == f.parts { // names sort by part
				all = append(all, parts[k])
			}
		}
	}
	slices.SortStableFunc(all, func(a, b []logFile) int {
		if a[0].version != b[0].version {
			if a[0].version > b[0].version {
				return -1
			}
			return 1
		}
		return int(a[0].kind) - int(b[0].kind)
	})
	return all
}
