package tablefmt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// logListing is what the check wants of a listing of the log.
type logListing struct {
	commits     map[int64]bool
	checkpoints map[int64][][]logFile
	compactions map[int64][]logFile // by their end
	befores     map[int64]*state    // what a compaction begins at
	checksums   map[int64]bool
	oldest      int64 // commit; -1 for none
	newest      int64
}

func (c *check) listLog(ctx context.Context) (*logListing, error) {
	l := &logListing{commits: map[int64]bool{}, checkpoints: map[int64][][]logFile{}, compactions: map[int64][]logFile{}, befores: map[int64]*state{}, checksums: map[int64]bool{}, oldest: -1, newest: -1}
	var files []logFile
	for info, err := range c.loc.log().List(ctx, "0", "") {
		if err != nil {
			return nil, fmt.Errorf("listing the log: %w", err)
		}
		f := parseLogName(info.Path)
		if v, ok := checksumVersion(info.Path); ok {
			l.checksums[v] = true
		}
		if f.kind == logCompacted {
			l.compactions[f.end] = append(l.compactions[f.end], f)
			l.befores[f.version-1] = nil
		}
		if f.kind == logOther || f.kind == logCompacted {
			continue
		}
		f.size = info.Size
		files = append(files, f)
		l.newest = max(l.newest, f.version)
		if f.kind == logCommit {
			l.commits[f.version] = true
			if l.oldest < 0 {
				l.oldest = f.version
			}
		}
	}
	if len(files) == 0 {
		return nil, ErrNoTable
	}
	for _, cp := range completeCheckpoints(files) {
		l.checkpoints[cp[0].version] = append(l.checkpoints[cp[0].version], cp)
	}
	return l, nil
}

// log replays the log. It gives the newest state that could be reached, nil for
// none.
func (c *check) log(ctx context.Context) (*state, error) {
	l, err := c.listLog(ctx)
	if err != nil {
		return nil, err
	}
	st, err := c.begin(ctx, l)
	if err != nil || st == nil {
		return nil, err
	}
	c.report.Oldest = max(st.version, 0)
	for v := st.version + 1; v <= l.newest; v = st.version + 1 {
		next, err := c.follow(ctx, l, st, v)
		if err != nil {
			return nil, err
		}
		if next == nil { // the commit is lost: a later checkpoint may know what it did
			if next, err = c.resume(ctx, l, v); err != nil {
				return nil, err
			}
		}
		if next == nil {
			return nil, nil
		}
		st = next
	}
	c.report.Version = st.version
	return st, nil
}

// begin gives the state to replay from: that before version 0, or of the oldest
// checkpoint from which the commits go on.
func (c *check) begin(ctx context.Context, l *logListing) (*state, error) {
	if l.commits[0] {
		return noState(), nil
	}
	return c.resume(ctx, l, max(l.oldest-1, 0))
}

// resume gives the state of the oldest checkpoint of a version or a later one
// that can be read; nil where there is none.
func (c *check) resume(ctx context.Context, l *logListing, from int64) (*state, error) {
	var versions []int64
	for v := range l.checkpoints {
		if v >= from {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	for _, v := range versions {
		for _, parts := range l.checkpoints[v] {
			c.report.Checkpoints++
			st, err := readCheckpoint(ctx, c.loc.log(), parts)
			if err == nil {
				return st, c.checksum(ctx, l, st)
			}
			if err := c.damaged(FaultCheckpoint, parts[0].name, v, err); err != nil {
				return nil, err
			}
		}
	}
	return nil, c.fault(FaultGap, "_delta_log/"+commitName(from), from, errors.New("no checkpoint of this version or a later one can be read in its place: the table cannot be read"))
}

// follow replays one commit, and holds what else the log has of its version
// against it. A nil state says that the commit is lost.
func (c *check) follow(ctx context.Context, l *logListing, st *state, v int64) (*state, error) {
	name := commitName(v)
	if !l.commits[v] {
		return nil, c.fault(FaultGap, "_delta_log/"+name, v, errors.New("the commit is not there, and later versions are"))
	}
	data, err := c.loc.log().Get(ctx, name)
	if err != nil {
		return nil, c.damaged(FaultCommit, name, v, err)
	}
	c.report.Commits++
	actions, err := collectActions(data, v)
	if err != nil {
		return nil, c.damaged(FaultCommit, name, v, err)
	}
	next, err := st.next(v, actions, len(data))
	if err != nil {
		return nil, c.damaged(FaultCommit, name, v, err)
	}
	if err := c.compactions(ctx, l, st, next); err != nil {
		return nil, err
	}
	for _, parts := range l.checkpoints[v] {
		c.report.Checkpoints++
		shown, err := readCheckpoint(ctx, c.loc.log(), parts)
		if err != nil {
			if err := c.damaged(FaultCheckpoint, parts[0].name, v, err); err != nil {
				return nil, err
			}
			continue
		}
		if diff := difference(next, shown); diff != "" {
			if err := c.fault(FaultCheckpointShows, "_delta_log/"+parts[0].name, v, errors.New(diff)); err != nil {
				return nil, err
			}
		}
	}
	return next, c.checksum(ctx, l, next)
}

// compactions holds the compaction files that end at a version against it.
func (c *check) compactions(ctx context.Context, l *logListing, before, st *state) error {
	if _, begins := l.befores[before.version]; begins {
		l.befores[before.version] = before
	}
	for _, f := range l.compactions[st.version] {
		from := l.befores[f.version-1]
		if from == nil {
			continue // what it begins at could not be reached
		}
		c.report.Compactions++
		data, err := c.loc.log().Get(ctx, f.name)
		if err != nil {
			if err := c.damaged(FaultCompaction, f.name, st.version, err); err != nil {
				return err
			}
			continue
		}
		why := ""
		shown, err := from.compacted(compaction{name: f.name, from: f.version, to: f.end}, data)
		if err == nil {
			why = difference(st, shown)
		} else {
			why = err.Error()
		}
		if why != "" {
			if err := c.fault(FaultCompaction, "_delta_log/"+f.name, st.version, errors.New(why)); err != nil {
				return err
			}
		}
	}
	return nil
}

// damaged tells of a fault of the log. What is no damage ends the check.
func (c *check) damaged(kind FaultKind, name string, version int64, err error) error {
	if !errors.Is(err, ErrCorrupt) && !errors.Is(err, objstore.ErrNotFound) {
		return err
	}
	return c.fault(kind, "_delta_log/"+name, version, err)
}

// difference says in what a checkpoint is not the state that the commits lead
// to; "" where it is.
func difference(want, got *state) string {
	for a := range want.files.minus(&got.files) {
		if _, ok := got.files.get(a.Path); ok {
			return fmt.Sprintf("it has %s with another deletion vector", a.Path)
		}
		return fmt.Sprintf("it lacks %s", a.Path)
	}
	for a := range got.files.minus(&want.files) {
		return fmt.Sprintf("it has %s, which the commits have removed", a.Path)
	}
	for a, b := range want.files.sized(&got.files) {
		return fmt.Sprintf("it has %s with %d bytes, and the commits say %d", a.Path, b.Size, a.Size)
	}
	switch {
	case want.metadata.schemaText() != got.metadata.schemaText():
		return "its schema is another one"
	case want.metadata.ID != got.metadata.ID, !sameMetadata(want.metadata, got.metadata):
		return "its metadata are others"
	case want.protocol.MinReaderVersion != got.protocol.MinReaderVersion, want.protocol.MinWriterVersion != got.protocol.MinWriterVersion,
		!sameSet(want.protocol.ReaderFeatures, got.protocol.ReaderFeatures), !sameSet(want.protocol.WriterFeatures, got.protocol.WriterFeatures):
		return "its protocol is another one"
	}
	// A checkpoint may leave out what has expired of txn, and has nothing else.
	for app, t := range got.txns.all() {
		if w, ok := want.txns.get(app); !ok || w.Version != t.Version {
			return fmt.Sprintf("it says of the application %q that it has got to %d", app, t.Version)
		}
	}
	for name, d := range want.domains.all() {
		if g, ok := got.domains.get(name); !ok || g.Configuration != d.Configuration {
			return fmt.Sprintf("its metadata domain %q is another one", name)
		}
	}
	if want.domains.len() != got.domains.len() {
		return "it has more metadata domains"
	}
	return ""
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// checksumVersion reads the name of a version checksum file. (Version Checksum
// File)
func checksumVersion(name string) (int64, bool) {
	digit, ok := strings.CutSuffix(name, ".crc")
	if !ok || len(digit) != len(commitName(0))-len(".json") {
		return 0, false
	}
	return digits(digit)
}

// checksum holds a version's .crc file against its state.
func (c *check) checksum(ctx context.Context, l *logListing, st *state) error {
	if !l.checksums[st.version] {
		return nil
	}
	name := checksumName(st.version)
	data, err := c.loc.log().Get(ctx, name)
	if err != nil {
		return c.damaged(FaultChecksum, name, st.version, err)
	}
	c.report.Checksums++
	var sum checksum
	why := ""
	if err := json.Unmarshal(data, &sum); err != nil {
		why = fmt.Sprintf("it cannot be read: %v", err)
	} else {
		why = sum.disagrees(st)
	}
	if why != "" {
		return c.fault(FaultChecksum, "_delta_log/"+name, st.version, errors.New(why))
	}
	return nil
}
