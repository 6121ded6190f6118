package lakehouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/mask"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// The table properties by which a table knows what feeds it (I4).
const (
	propPipeline = "lakeload.pipeline"
	propSource   = "lakeload.source" // system identifier/database/OID
	propKey      = "lakeload.key"    // JSON list of the key's columns, [] for none
	propMode     = "lakeload.mode"
	propBag      = "lakeload.multiset" // "true" for a mirror without a key whose rows go one copy at a time
	propRanges   = "lakeload.ranges"   // of a copy's log: the ranges of keys that it is read by
	propPieces   = "lakeload.pieces"   // how many these are
	propBegun    = "lakeload.begun"    // and the position at which it was begun
)

// writer keeps one table of the lake. It is used by one goroutine at a time.
//
// Changes are staged by Apply, as often as needed, and become visible
// together by Commit; what is staged and not committed is forgotten by
// Rollback. An error that is a *stopError concerns this table alone.
type writer interface {
	// Apply stages changes, in order. Changes of transactions before the
	// table's position are skipped.
	Apply(ctx context.Context, items []cdc.Item) error
	// Commit publishes what is staged as the state at cut. changed is false,
	// and nothing was written, if nothing was staged.
	Commit(ctx context.Context, cut cdc.LSN) (changed bool, err error)
	// Rollback forgets what is staged.
	Rollback()
	// fits reports whether rows of a relation fit without a change of columns.
	fits(rel *cdc.Relation) bool
	// follow stages the change of columns that rows of a relation need, if any.
	follow(ctx context.Context, rel *cdc.Relation) error
	// pending reports whether anything is staged.
	pending() bool
	// sourceFiles are those of the source's table when this one got its columns, or later.
	sourceFiles() map[uint32]uint32
	// seen takes over what is known of the source's table.
	seen(st *TableState)
	// changes say in words what the next commit changes of the columns.
	changes() []string
	// Snapshot shows everything committed; Version is its version.
	Snapshot() *tablefmt.Snapshot
	Version() int64
	// Position is the cut of the last commit: what came before it is applied.
	Position() cdc.LSN
	// knows says that the table shows a position, as the record of epochs has it.
	knows(at cdc.LSN)
	// Close releases what the writer holds. It does not commit.
	Close() error
}

// tableSpec says which table of the lake is fed, by whom.
type tableSpec struct {
	pipeline    string
	incarnation string
	source      cdc.Identity
	formerly    []cdc.Identity // sources that were adopted away from
	state       TableState
	mode        Mode
	loc         tablefmt.Location
	targetSize  int64
	holdBytes   int64                  // of rows that wait to be written together with others of their partition
	heal        bool                   // what another program does to it is mended by itself
	indexDir    string                 // empty: the index is kept in memory
	indexMemory func(rows int64) int64 // the budget of the index of a table of so many rows; 0: not known
	policy      typemap.Policy
	// masks say how a relation of the source is masked; nil: nobody reads it.
	masks func(rel *cdc.Relation) *mask.Policy
	// indexing is told of the index as it is read from the table; nil: nobody is.
	indexing func(IndexProgress)
	meter    *tableMeter // nil: no figures are kept
	// warn tells people of what is not well; nil: nobody is told.
	warn func(format string, args ...any)
	// newer are the files of the source's table as of the present columns, if
	// they are newer than what state.Files tells.
	newer map[uint32]uint32
}

// files are the files of the source's table as they were when the table in the
// lake got its present columns, or later.
func (s *tableSpec) files() map[uint32]uint32 {
	if s.newer != nil {
		return s.newer
	}
	return s.state.Files
}

// appID names the application whose progress the table records (I2).
func (s *tableSpec) appID() string {
	return s.appPrefix() + strconv.Itoa(s.state.Generation)
}

// appPrefix is what the appIDs of all of the table's generations begin with.
func (s *tableSpec) appPrefix() string {
	return s.incarnation + "/" + strconv.FormatUint(uint64(s.state.OID), 10) + "/"
}

func (s *tableSpec) sourceProperty() string {
	return fmt.Sprintf("%s/%s/%d", s.source.SystemID, s.source.Database, s.state.OID)
}

func (s *tableSpec) String() string {
	if s.mode == ModeMirror {
		return s.state.Name()
	}
	return s.state.Name() + " " + string(s.mode)
}

func location(lake objstore.Store, mode Mode, t *TableState) tablefmt.Location {
	return tablefmt.Location{Data: objstore.Sub(lake, tablePath(mode, t.Schema, t.Table))}
}

// openWriter opens a table that has been published before.
func openWriter(ctx context.Context, spec tableSpec) (writer, error) {
	t, err := openTable(ctx, spec)
	if err != nil {
		return nil, err
	}
	if spec.mode == ModeChangelog {
		return &changelogWriter{table: t}, nil
	}
	return openMirror(ctx, t)
}

// table is what mirrors and changelogs share: the snapshot, its columns, and
// the files staged for the next commit.
type table struct {
	spec   tableSpec
	snap   *tablefmt.Snapshot
	schema *tablefmt.Schema // staged, if an uncommitted change added columns
	arrow  *arrow.Schema
	key    []string
	parts  []string // the partition columns
	added  additions

	shape   *cdc.Relation // the relation that the present column mapping is for
	columns []int         // for each column of the table its place in shape, -1 for none

	position  cdc.LSN
	known     cdc.LSN   // see knows
	begun     time.Time // when the flush began that is staged; zero: none has
	evolved   bool      // schema is staged, and key with it
	notes     []string  // of what has changed in it, for people
	truncated bool      // all files of snap are to go
	rewrote   bool      // and their rows have come to others
	moved     bool      // all that is staged has rows at other places
	files     []*stagedFile
	staged    bool             // something is staged
	marks     map[string]int64 // of a copy's log: what is staged of the copy
}

// openTable loads a published table and checks that it is the one that the
// pipeline feeds, and that nobody else has written to it (I4).
func openTable(ctx context.Context, spec tableSpec) (*table, error) {
	snap, err := tablefmt.Load(ctx, spec.loc)
	if err != nil {
		if errors.Is(err, tablefmt.ErrNoTable) {
			return nil, spec.foreign("its table is gone from the lake")
		}
		return nil, fmt.Errorf("opening %s: %w", &spec, err)
	}
	if err := checkOwner(snap, &spec); err != nil {
		return nil, err
	}
	cut, ok := snap.Txn(spec.appID())
	if !ok {
		return nil, spec.foreign("its table holds no commit of this pipeline's present copy: it was replaced or restored")
	}
	t := &table{spec: spec, position: cdc.LSN(cut), snap: snap}
	if err := t.readKey(); err != nil {
		return nil, err
	}
	return t, t.follow(snap)
}

// readKey takes the key's columns from the table's properties.
func (t *table) readKey() error {
	var err error
	t.key, err = storedKeyColumns(t.snap)
	return err
}

// storedKeyColumns are the key's columns by a table's properties.
func storedKeyColumns(snap *tablefmt.Snapshot) (key []string, err error) {
	if err := json.Unmarshal([]byte(snap.Property(propKey)), &key); err != nil {
		return nil, mustCopy("its property %s is damaged: %v", propKey, err)
	}
	return key, nil
}

// checkOwner refuses a table that something else feeds.
func checkOwner(snap *tablefmt.Snapshot, spec *tableSpec) error {
	md := snap.Metadata()
	pipeline, source := md.Property(propPipeline), md.Property(propSource)
	if pipeline == spec.pipeline && (spec.isSource(source) || spec.state.Heir) {
		return nil
	}
	owner := "another program"
	if pipeline != "" {
		owner = fmt.Sprintf("pipeline %q from source %s", pipeline, source)
	}
	return &Error{
		Op: "opening a table of the lake", Object: spec.String(), Kind: KindConflict,
		Err:    fmt.Errorf("the table at %s belongs to %s", spec.loc.Data.URL(), owner),
		Remedy: "choose another lake folder, or move that table away",
	}
}

// checkTypesAndNames refuses a table whose columns somebody has given other names in
// its files, or may have given other types than the source's: rows are staged
// under the names and types of the source.
func checkTypesAndNames(snap *tablefmt.Snapshot) error {
	feature := ""
	switch p := snap.Protocol(); {
	case snap.Mapping() != tablefmt.MappingNone:
		feature = "columnMapping"
	case p.Has("typeWidening"):
		feature = "typeWidening"
	case p.Has("typeWidening-preview"):
		feature = "typeWidening-preview"
	default:
		return nil
	}
	return &tablefmt.UnsupportedFeatureError{Feature: fmt.Sprintf("the feature %q", feature), Writing: true, Detail: "a table that the lake keeps"}
}

// follow takes a newer snapshot as the committed state.
func (t *table) follow(snap *tablefmt.Snapshot) error {
	if err := checkTypesAndNames(snap); err != nil {
		return fmt.Errorf("the columns of %s: %w", &t.spec, err)
	}
	t.snap, t.parts = snap, snap.PartitionColumns()
	return t.setSchema(snap.Schema())
}

func (t *table) setSchema(s *tablefmt.Schema) error {
	a, err := s.Arrow()
	if err != nil {
		return fmt.Errorf("the columns of %s: %w", &t.spec, err)
	}
	t.schema, t.arrow, t.shape, t.columns = s, a, nil, nil
	t.added, err = additionsOf(s, a, t.parts)
	return err
}

// own reports whether a column is the lake's, not the source's.
func (t *table) own(name string) bool {
	if name == typemap.Exact {
		return true
	}
	if f, ok := t.schema.Field(name); ok {
		if _, added := typemap.Added(&f); added {
			return true
		}
	}
	return slices.ContainsFunc(ownColumns(t.spec.mode), func(f tablefmt.Field) bool { return f.Name == name })
}

// keyNames are the columns of a relation's key.
func keyNames(rel *cdc.Relation) []string {
	names := make([]string, len(rel.Key))
	for i, k := range rel.Key {
		names[i] = rel.Columns[k].Name
	}
	return names
}

func (t *table) stageSchema(s *tablefmt.Schema) error {
	if err := t.setSchema(s); err != nil {
		return err
	}
	t.evolved, t.staged = true, true
	return nil
}

// needExact adds the column for exact texts if the batches need it.
func (t *table) needExact(batches []*cdc.Batch) error {
	if t.schema.Index(typemap.Exact) >= 0 ||
		!slices.ContainsFunc(batches, func(b *cdc.Batch) bool { return len(b.Exact) > 0 }) {
		return nil
	}
	return t.addExact()
}

// forget drops what is staged, but not the files, which vacuum removes.
func (t *table) forget() {
	t.files, t.truncated, t.rewrote, t.moved, t.staged, t.marks, t.begun = nil, false, false, false, false, nil, time.Time{}
	if t.evolved {
		t.evolved, t.notes, t.spec.newer = false, nil, nil
		_ = t.setSchema(t.snap.Schema()) // it was set before
		_ = t.readKey()                  // it was read before
	}
}

// protocol is what readers and writers of a table of ours must know.
// Rows go by deletion vectors, or the files that they are in are written anew:
// then the oldest readers can read it, as they can a changelog.
func protocol(md *tablefmt.Metadata, s *tablefmt.Schema) *tablefmt.Protocol {
	o := tablefmt.OptionsFor(s)
	o.ChangeDataFeed = md.Property(tablefmt.PropChangeDataFeed) == "true"
	if md.Property(tablefmt.PropDeletionVectors) != "true" {
		return tablefmt.ChangelogProtocol(o)
	}
	return tablefmt.MirrorProtocol(o)
}

// describe sets in a transaction the metadata of a table of ours, with the
// columns and the key that are staged, and the features that they need besides
// those that the table lists.
func (t *table) describe(x *tablefmt.Transaction, md *tablefmt.Metadata) error {
	md.SchemaString = t.schema.JSON()
	key, err := json.Marshal(t.key)
	if err != nil {
		return fmt.Errorf("encoding the key of %s: %w", &t.spec, err)
	}
	md.Configuration[propKey] = string(key)
	x.SetMetadata(md)
	listed := t.snap.Protocol()
	more := slices.DeleteFunc(protocol(md, t.schema).WriterFeatures, listed.Has)
	if len(more) == 0 {
		return nil
	}
	p, err := listed.With(more...)
	if err != nil {
		return fmt.Errorf("listing what %s needs: %w", &t.spec, err)
	}
	x.SetProtocol(p)
	return nil
}

// begin makes the transaction with everything that both kinds of tables
// commit in the same way.
func (t *table) begin(cut cdc.LSN, operation string) (*tablefmt.Transaction, error) {
	x := tablefmt.Begin(t.spec.loc, t.snap)
	if t.evolved || t.switches() {
		md := t.snap.Metadata().Clone()
		t.setSwitches(md)
		if err := t.describe(x, md); err != nil {
			return nil, err
		}
	}
	x.SetReads(tablefmt.ReadsTable)
	x.SetTxn(t.spec.appID(), int64(max(cut, t.position))) // the table may be ahead of the stream
	for mark, horizon := range t.marks {
		x.SetTxn(mark, horizon)
	}
	params := map[string]any{"lsn": cut.String()}
	if len(t.notes) > 0 {
		params["schemaChange"] = strings.Join(t.notes, "; ")
	}
	x.SetInfo(operation, params)
	return x, nil
}

// committed follows a commit of ours.
func (t *table) committed(snap *tablefmt.Snapshot, cut cdc.LSN) error {
	t.files, t.truncated, t.rewrote, t.moved, t.staged, t.evolved, t.marks, t.notes = nil, false, false, false, false, false, nil, nil
	t.begun = time.Time{}
	t.position = max(cut, t.position)
	shape := t.shape
	if err := t.follow(snap); err != nil {
		return err
	}
	if shape != nil {
		t.place(shape)
	}
	return nil
}

// knows has the table skip changes before a position that an epoch says it shows,
// too. Its own log says so only of flushes that have changed a row of it: what came
// and went within one is nowhere else.
func (t *table) knows(at cdc.LSN) { t.known = max(t.known, at) }

// past is the position up to which changes are applied already.
func (t *table) past() cdc.LSN { return max(t.position, t.known) }

// skipBefore is the first row of a batch that the table has not applied yet:
// transactions arrive in commit order, so those applied are a prefix.
func (t *table) skipBefore(b *cdc.Batch) int {
	for _, span := range b.Txns {
		if span.Txn.Commit >= t.past() {
			return span.First
		}
	}
	return b.Len()
}

func (t *table) Snapshot() *tablefmt.Snapshot { return t.snap }
func (t *table) Version() int64               { return t.snap.Version() }
func (t *table) Position() cdc.LSN            { return t.position }
