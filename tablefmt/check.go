package tablefmt

import (
	"context"
	"fmt"
	"sync"
)

// FaultKind says what kind of damage a [Fault] is.
type FaultKind string

// The kinds.
const (
	FaultGap             FaultKind = "gap_in_log"         // a commit is missing
	FaultCommit          FaultKind = "damaged_commit"     // it cannot be read, or breaks the protocol's rules
	FaultCheckpoint      FaultKind = "damaged_checkpoint" // it cannot be read
	FaultCheckpointShows FaultKind = "wrong_checkpoint"   // it is not what the commits lead to
	FaultCompaction      FaultKind = "wrong_compaction"   // a log compaction file cannot be read, or is not what its commits lead to
	FaultChecksum        FaultKind = "wrong_checksum"     // the version's .crc file is not what the commits lead to
	FaultMissing         FaultKind = "missing_file"       // a data file or deletion vector is not there
	FaultSize            FaultKind = "wrong_size"         // a data file has another size than the log says
	FaultFile            FaultKind = "damaged_file"       // a data file cannot be read
	FaultVector          FaultKind = "damaged_vector"     // a deletion vector cannot be read or does not fit its file
	FaultStatistics      FaultKind = "wrong_statistics"   // they would hide rows from readers
)

// Fault is something that is wrong with a table.
type Fault struct {
	Kind FaultKind
	// Path is the file's, in the table's folder; of the log's files it begins with
	// _delta_log/.
	Path string
	// Version is the one whose file it is, or that needs it.
	Version int64
	Err     error // what is wrong, never nil
}

func (f Fault) String() string {
	return fmt.Sprintf("%s: %s (version %d): %v", f.Kind, f.Path, f.Version, f.Err)
}

// CheckOptions say how thoroughly a table is checked. The zero value reads the
// whole log, and of every data file the footer and the deletion vector.
type CheckOptions struct {
	// Rows has every row of the newest version read, deleted ones included, and
	// the statistics held against them.
	Rows bool
	// Workers is how many files are looked at at a time; 0 is 8.
	Workers int
	// Progress is told how many of the newest version's data files have been
	// looked at; nil tells nobody. It is called by several goroutines.
	Progress func(done, of int)
}

// CheckReport is what a check has looked at.
type CheckReport struct {
	Version     int64 // the newest
	Oldest      int64 // from which on the log was replayed
	Commits     int
	Checkpoints int
	Compactions int // log compaction files
	Checksums   int // .crc files
	Files       int // of the newest version
	Vectors     int // deletion vectors of them
	Outside     int // files and vectors outside of the table's folder that were not looked at, see [Location.Outside]
	Rows        int64
	Bytes       int64 // of the data files
	Faults      int
}

// Check looks for what is wrong with a table: it replays the log from its oldest
// version on, holds each checkpoint and checksum against what the commits lead
// to, and looks at every data file of the newest version. found is told of each
// fault, from one goroutine at a time; its error ends the check.
//
// An error says that the check could not be done: the store did not answer, there
// is no table, or what is there needs a feature that is not known here. Damage is
// no error. Memory is that of one snapshot and of Workers files.
func Check(ctx context.Context, loc Location, o CheckOptions, found func(Fault) error) (*CheckReport, error) {
	c := &check{loc: loc, o: o, found: found, report: &CheckReport{}}
	st, err := c.log(ctx)
	if err == nil && st != nil {
		err = c.files(ctx, st)
	}
	if err != nil {
		return nil, fmt.Errorf("checking table %s: %w", loc, err)
	}
	return c.report, nil
}

// check is one run of Check.
type check struct {
	loc Location
	o   CheckOptions

	mu     sync.Mutex // guards what follows
	found  func(Fault) error
	report *CheckReport
}

func (c *check) fault(kind FaultKind, path string, version int64, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Faults++
	return c.found(Fault{kind, path, version, err})
}
