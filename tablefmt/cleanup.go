package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// CleanOptions says what goes from a log. The zero value is what the table's
// properties say.
type CleanOptions struct {
	// Retention is how long a version can be read after the next one was made; 0
	// is [Snapshot.LogRetention].
	Retention time.Duration
	// Before is a version from which on everything stays, whatever its age; 0 is
	// the snapshot's.
	Before int64
	// Files removes the data files, too, that the commits which go have taken out
	// of the table. It is for a table that has no vacuum, whose readers are done
	// within its [Snapshot.TombstoneRetention].
	Files bool
}

// The bounds of cleaning: files that one CleanLog removes, calls to the store at
// a time, and files that are remembered from one listing.
const (
	cleanFiles    = 64
	cleanParallel = 8
	cleanPending  = 50_000
)

// CleanLog removes what of the log only older versions than the retention allows
// need: commits and checkpoints before the newest checkpoint that is as old,
// but for the newest checkpoint of all, so that there are always two to begin
// at. A crash leaves a log that can be read from that checkpoint on.
//
// It is called after each commit, costs nothing mostly, and removes a few files
// at a time, so that nobody waits for it. The log is listed after this process
// has written a checkpoint and the log has grown by a tenth. The snapshot is the
// newest, or was a moment ago. A table whose delta.enableExpiredLogCleanup is false is left alone, one that
// cannot be written here is an *[UnsupportedFeatureError]. It tells how many files
// it removed.
func CleanLog(ctx context.Context, s *Snapshot, o CleanOptions) (removed int, err error) {
	old, err := s.oldFiles(ctx, &o)
	if err == nil && len(old) > 0 {
		// Who removes files must know all that the table asks of writers, and of
		// readers as of this moment. (Vacuum Protocol Check)
		err = checkWrite(s.st.protocol, s.st.metadata, s.st.schema)
	}
	if err == nil && len(old) > 0 {
		removed, err = s.clean(ctx, old, o.Files)
	}
	if err != nil {
		return removed, fmt.Errorf("cleaning the log of table %s: %w", s.loc, err)
	}
	return removed, nil
}

// cleaning is what is known of a log's cleaning. It is shared as the mark is.
type cleaning struct {
	wrote   bool      // a checkpoint was written since the log was listed
	listed  int64     // the version at which it was listed last
	length  int64     // in files, after what was found to be old
	pending []logFile // found to be old, and still there
}

// written notes a checkpoint that this process has written.
func (m *mark) written() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cleaning.wrote = true
}

// take gives some of the files that are known to go, and says otherwise whether
// it is time to look for more.
func (m *mark) take(version int64) (old []logFile, look bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &m.cleaning
	if n := min(len(c.pending), cleanFiles); n > 0 {
		old, c.pending = c.pending[:n:n], c.pending[n:]
		return old, false
	}
	// What is listed then is a small part of what the growth has cost.
	return nil, c.wrote && (c.length == 0 || version-c.listed >= c.length/10)
}

func (m *mark) found(version int64, old []logFile, length int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &m.cleaning
	c.wrote, c.listed, c.length = false, version, int64(length-len(old))
	if len(old) > cleanPending { // the rest is listed again
		old, c.wrote, c.length = old[:cleanPending], true, 0
	}
	c.pending = old
}

// oldFiles gives some files that are to go, oldest first.
func (s *Snapshot) oldFiles(ctx context.Context, o *CleanOptions) ([]logFile, error) {
	if strings.EqualFold(s.Property(PropLogCleanup), "false") {
		return nil, nil
	}
	m := s.st.tail.mark
	old, look := m.take(s.Version())
	if !look {
		return old, nil
	}
	retention, before := o.Retention, o.Before
	if retention == 0 {
		retention = s.LogRetention()
	}
	if o.Files {
		retention = max(retention, s.TombstoneRetention())
	}
	if before == 0 {
		before = s.Version()
	}
	old, length, err := planCleanup(s.loc.log().List(ctx, "0", ""), before, time.Now().Add(-retention))
	if err != nil {
		return nil, err
	}
	m.found(s.Version(), old, length)
	old, _ = m.take(s.Version())
	return old, nil
}

// planCleanup gives the files of a log that are not needed by any version that
// was the newest one at a time or since, nor by one from before on; and how
// many files there are. It does nothing but list.
func planCleanup(list iter.Seq2[objstore.Info, error], before int64, at time.Time) (old []logFile, listed int, err error) {
	var files []logFile
	made := map[int64]time.Time{} // checkpoints
	// A file's time is that of the clock of the machine that wrote it. No commit
	// is older than the ones before it, as time travel has it, too: one by a
	// clock that had not been set does not make a young log old.
	var latest time.Time
	for info, err := range list {
		if err != nil {
			return nil, 0, fmt.Errorf("listing it: %w", err)
		}
		f := parseLogName(info.Path)
		known := f.kind != logOther || strings.HasSuffix(f.name, ".crc")
		if !known || !strings.HasPrefix(f.name, fmt.Sprintf("%020d.", f.version)) {
			continue
		}
		if info.Modified.After(latest) && (f.kind == logCommit || latest.IsZero()) {
			latest = info.Modified
		}
		if _, ok := made[f.version]; ok || f.kind != logCommit {
			made[f.version] = latest // with the commit's, which comes after the checkpoint's
		}
		files = append(files, f)
	}
	checkpoints := completeCheckpoints(files)
	for _, c := range checkpoints {
		v := c[0].version
		if v == checkpoints[0][0].version || v >= before || made[v].After(at) {
			continue
		}
		for _, f := range files {
			if f.version < v {
				old = append(old, f)
			}
		}
		break
	}
	return old, len(files), nil
}

// clean removes files of the log, the oldest first, so that what is left of them
// after a crash is found again.
func (s *Snapshot) clean(ctx context.Context, old []logFile, dataFiles bool) (int, error) {
	var removed atomic.Int64
	log := s.loc.log()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cleanParallel)
	for _, f := range old {
		g.Go(func() error {
			if f.kind == logCommit && dataFiles {
				if err := s.cleanFiles(ctx, f); err != nil {
					return err
				}
			}
			if err := log.Delete(ctx, f.name); err != nil {
				return fmt.Errorf("removing %s: %w", f.name, err)
			}
			removed.Add(1)
			return nil
		})
	}
	err := g.Wait()
	if err != nil {
		s.st.tail.mark.lookAgain()
	}
	return int(removed.Load()), err
}

// lookAgain lists the log at the next opportunity: what was to go may be there
// still.
func (m *mark) lookAgain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cleaning = cleaning{}
}

// cleanFiles removes the data files that a commit took out of the table. It goes
// before the commit: without that nobody would know of them.
func (s *Snapshot) cleanFiles(ctx context.Context, commit logFile) error {
	data, err := s.loc.log().Get(ctx, commit.name)
	if errors.Is(err, objstore.ErrNotFound) {
		return nil // another one cleans, too
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", commit.name, err)
	}
	actions, err := collectActions(data, commit.version)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cleanParallel)
	for i := range actions {
		r := actions[i].Remove
		if r == nil {
			continue
		}
		if _, there := s.File(r.Path); there { // with another deletion vector, or added again
			continue
		}
		g.Go(func() error {
			path, err := r.DataPath()
			var outside *OutsideError
			if errors.As(err, &outside) {
				return nil // another table's
			}
			if err == nil {
				err = s.loc.Data.Delete(ctx, path)
			}
			if err != nil {
				return fmt.Errorf("removing the data file %s: %w", r.Path, err)
			}
			return nil
		})
	}
	return g.Wait()
}
