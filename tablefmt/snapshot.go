package tablefmt

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Location is where a table lies.
type Location struct {
	// Data is the table's folder: paths of the log are relative to it.
	Data objstore.Store
	// Log holds the log's files. Nil is the folder _delta_log of Data. Another
	// one makes a table of its own over the data files, as a copy in progress
	// is.
	Log objstore.Store
	// Outside finds the store, and the path in it, of a file that the log names by
	// an absolute path: a shallow clone's log names those of its source, data files
	// and deletion vectors. Whatever a log names the caller would read, so that nil,
	// which allows nothing, is right for all other tables; see [LocalOutside].
	// Files are only ever read there. The URL's path is decoded; its scheme is
	// empty where the log gives a path without one, on the table's own file system.
	// A refusal is an *[OutsideError]. It may be called by many goroutines.
	Outside func(file *url.URL) (objstore.Store, string, error)
}

func (l Location) log() objstore.Store {
	if l.Log != nil {
		return l.Log
	}
	return objstore.Sub(l.Data, "_delta_log")
}

// String names the table for people.
func (l Location) String() string {
	if l.Log != nil {
		return l.Log.URL()
	}
	if l.Data == nil {
		return "nowhere"
	}
	return l.Data.URL()
}

// Snapshot is a table at a version. It never changes and may be used by any
// number of goroutines; what it gives out is shared and must not be changed.
// It holds about a hundred bytes of every live file, packed; two snapshots of a
// table that are few commits apart share nearly all of it.
type Snapshot struct {
	loc   Location
	st    *state
	arrow *arrow.Schema
	files *arrow.Schema // arrow, with what columns are found by in files
}

func newSnapshot(loc Location, st *state, like *Snapshot) (*Snapshot, error) {
	s := &Snapshot{loc: loc, st: st}
	if like != nil && like.st.schema == st.schema && like.st.mapping == st.mapping {
		s.arrow, s.files = like.arrow, like.files
		return s, nil
	}
	var err error
	if s.arrow, err = st.schema.Arrow(); err != nil {
		return nil, fmt.Errorf("table %s, version %d: %w", loc, st.version, err)
	}
	s.files = s.arrow
	if st.mapping != MappingNone {
		if s.files, err = st.mapping.arrow(st.schema); err != nil {
			return nil, fmt.Errorf("table %s, version %d: %w", loc, st.version, err)
		}
	}
	return s, nil
}

// Location is where the table lies.
func (s *Snapshot) Location() Location { return s.loc }

// Version is the table's version that the snapshot shows.
func (s *Snapshot) Version() int64 { return s.st.version }

// Protocol says what reading and writing the table needs.
func (s *Snapshot) Protocol() *Protocol { return s.st.protocol }

// Metadata is the table's identity and properties.
func (s *Snapshot) Metadata() *Metadata { return s.st.metadata }

// Schema is the type of the table's rows, partition columns included.
func (s *Snapshot) Schema() *Schema { return s.st.schema }

// Arrow is Schema as Arrow, see [Struct.Arrow].
func (s *Snapshot) Arrow() *arrow.Schema { return s.arrow }

// DataArrow is Arrow without the partition columns: what stands in the data
// files, and what [NewFileWriter] wants. In a table whose columns are mapped the
// fields' metadata holds, at every depth, what package colfile calls them in
// files; rows are given to the writer under the names of the schema.
func (s *Snapshot) DataArrow() *arrow.Schema {
	var fields []arrow.Field
	for _, f := range s.files.Fields() {
		if !slices.Contains(s.st.metadata.PartitionColumns, f.Name) {
			fields = append(fields, f)
		}
	}
	return arrow.NewSchema(fields, nil)
}

// PartitionColumns are the names of the columns by which the table is
// partitioned, in their order; empty for none.
func (s *Snapshot) PartitionColumns() []string { return s.st.metadata.PartitionColumns }

// Property gives a table property's value, "" where it is not set.
func (s *Snapshot) Property(key string) string { return s.st.metadata.Property(key) }

// Txn gives the version that an application recorded last.
func (s *Snapshot) Txn(appID string) (version int64, ok bool) {
	t, ok := s.st.txns.get(appID)
	if !ok {
		return 0, false
	}
	return t.Version, true
}

// Txns gives all applications' records, in an order without meaning.
func (s *Snapshot) Txns() iter.Seq[*Txn] { return values(s.st.txns) }

// DomainMetadata gives the configuration of a domain.
func (s *Snapshot) DomainMetadata(domain string) (configuration string, ok bool) {
	d, ok := s.st.domains.get(domain)
	if !ok {
		return "", false
	}
	return d.Configuration, true
}

// Files gives the logical files of the table, in an order without meaning.
// Those of a large table are unpacked a few hundred at a time, and are not kept:
// walk it once rather than twice.
func (s *Snapshot) Files() iter.Seq[*AddFile] {
	return func(yield func(*AddFile) bool) {
		for _, a := range s.st.files.all() {
			if !yield(a) {
				return
			}
		}
	}
}

// File gives the logical file whose AddFile.Path is path, however that is
// percent-encoded. In a large table it may take some tens of microseconds.
func (s *Snapshot) File(path string) (*AddFile, bool) { return s.st.files.get(path) }

// NumFiles is the number of logical files.
func (s *Snapshot) NumFiles() int { return s.st.files.len() }

// Size is the sum of the data files' sizes in bytes.
func (s *Snapshot) Size() int64 { return s.st.size }

// CommitInfo says who made the version; nil where the writer did not say, or
// the version's commit file is gone.
func (s *Snapshot) CommitInfo() *CommitInfo { return s.st.info }

// CommitID identifies the commit that made the version: the txnId that its
// writer chose, "" where it chose none. Together with Version it tells a
// version from another one that has taken its place in a rewritten log.
func (s *Snapshot) CommitID() string {
	if s.st.info == nil {
		return ""
	}
	return s.st.info.TxnID
}

// appendOnly reports whether rows may be neither changed nor removed.
func values[V any](m pmap[V]) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range m.all() {
			if !yield(v) {
				return
			}
		}
	}
}

// Update gives the newest snapshot, by reading the commits after this one. It
// gives s itself where there is none. The cost is that of the newer commits,
// not of the table.
func (s *Snapshot) Update(ctx context.Context) (*Snapshot, error) {
	st, err := follow(ctx, s.loc, s.st)
	if err != nil {
		return nil, fmt.Errorf("updating table %s from version %d: %w", s.loc, s.Version(), err)
	}
	if st == s.st {
		return s, nil
	}
	return newSnapshot(s.loc, st, s)
}
