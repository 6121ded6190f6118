package tablefmt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// The columns that tell of a change, after those of the table. (Reader
// Requirements for AddCDCFile)
const (
	ColChangeType      = "_change_type"
	ColCommitVersion   = "_commit_version"
	ColCommitTimestamp = "_commit_timestamp"
)

// What _change_type says of a row.
const (
	ChangeInsert    = "insert"
	ChangeDelete    = "delete"
	ChangePreimage  = "update_preimage"  // the row before an update
	ChangePostimage = "update_postimage" // the row after it
)

// The ends of a [ChangeRange] that are not known by their number.
const (
	NewestVersion   int64 = -1
	EarliestVersion int64 = -2 // the first whose changes the log can still tell
)

// ChangeRange says of which versions the changes are wanted, both ends
// included.
type ChangeRange struct {
	From int64 // or EarliestVersion
	To   int64 // or NewestVersion; one that is not reached yet is taken for it
	// FromTime, where it is not zero, stands for From: the first version that is
	// not older. ToTime likewise for To: the last one that is not newer. Times of
	// versions are as of [LoadAsOf].
	FromTime, ToTime time.Time
}

// ChangeOptions says what of the changes is wanted. The zero value is all of
// them, derived where no change feed was kept.
type ChangeOptions struct {
	// Columns are columns of the table, in the order wanted; nil is all. The
	// columns that tell of the change come after them always.
	Columns []string
	// Keep chooses by partition values, as of [AddFile]; nil is all.
	Keep func(partition map[string]*string) bool
	// Strict refuses versions of which the table did not keep a change feed
	// ([PropChangeDataFeed]), as Spark does. Otherwise their changes are derived
	// from the files that came and went: a file that was written anew appears as
	// rows that were deleted and inserted, those that stayed as they were, too.
	Strict bool
	// BatchRows is the greatest number of rows of a batch; 0 is a default.
	BatchRows int
}

// Changes gives the rows that changed in a range of versions, in the order of
// the versions: [PlanChanges] and [ChangePlan.Read] in one.
func Changes(ctx context.Context, loc Location, r ChangeRange, o ChangeOptions, emit func(rec arrow.RecordBatch) error) error {
	p, err := PlanChanges(ctx, loc, r, o)
	if err != nil {
		return err
	}
	return p.Read(ctx, emit)
}

// ChangePlan is a range of versions of which the changes can be told, as far as
// the log says. It never changes.
type ChangePlan struct {
	loc     Location
	opt     ChangeOptions
	from    int64
	to      int64 // from-1: no version lies in the range
	schema  *Schema
	mapping MappingMode // of the last version; files of older ones are read by it, too
	columns []string
	arrow   *arrow.Schema
	commits []commitFile // of the range
	metas   []metaSince  // of the range, the first is from's or older
	noFeed  []int64
}

// metaSince is a table's metadata and the version from which on it holds.
type metaSince struct {
	version int64
	md      *Metadata // its partition columns under the names of the last version
}

// From and To are the versions of the range; From is To+1 where none is in it.
func (p *ChangePlan) From() int64 { return p.from }

// To is the last version of the range, see From.
func (p *ChangePlan) To() int64 { return p.to }

// Schema is that of the batches: the columns asked for as the last version of
// the range has them, and ColChangeType, ColCommitVersion and ColCommitTimestamp.
func (p *ChangePlan) Schema() *arrow.Schema { return p.arrow }

// WithoutFeed are the versions of the range of which the table kept no change
// feed: what is told of them is derived.
func (p *ChangePlan) WithoutFeed() []int64 { return p.noFeed }

// PlanChanges looks up which versions a range has and whether their changes can
// be told as rows of one schema. Errors are [ErrNoTable], [ErrNoVersion] (a
// *[VersionGoneError] where the log has been cleaned), a *[NoFeedError] and a
// *[SchemaChangedError].
func PlanChanges(ctx context.Context, loc Location, r ChangeRange, o ChangeOptions) (*ChangePlan, error) {
	log := loc.log()
	p, err := steady(ctx, log, func() (*ChangePlan, error) { return planChanges(ctx, loc, r, o) })
	if err != nil {
		return nil, fmt.Errorf("reading the changes of table %s: %w", loc, err)
	}
	return p, nil
}

func planChanges(ctx context.Context, loc Location, r ChangeRange, o ChangeOptions) (*ChangePlan, error) {
	log := loc.log()
	commits, err := listCommits(ctx, log)
	if err != nil {
		return nil, err
	}
	for i := range commits { // Delta's times are in milliseconds
		commits[i].modified = commits[i].modified.Truncate(time.Millisecond)
	}
	ordered(commits)
	files, err := listLog(ctx, log, 0)
	if err != nil {
		return nil, err
	}
	oldest, err := oldestVersion(files) // whose state can be read, which tells the schema
	if err != nil {
		return nil, err
	}
	from, to, err := r.versions(ctx, log, commits, max(oldest, commits[0].version))
	if err != nil {
		return nil, err
	}
	p := &ChangePlan{loc: loc, opt: o, from: from, to: to}
	if to >= from {
		p.commits = commits[from-commits[0].version : to-commits[0].version+1]
	}
	if err := p.readMetadata(ctx, log); err != nil {
		return nil, err
	}
	return p, p.project()
}

// versions resolves a range. It is empty, and to is from-1, where times were
// given between which no version was made. oldest is the first that can be told.
func (r *ChangeRange) versions(ctx context.Context, log objstore.Store, commits []commitFile, oldest int64) (from, to int64, err error) {
	first, newest := commits[0].version, commits[len(commits)-1].version
	from, to = r.From, r.To
	if from == EarliestVersion {
		from = oldest
	}
	if !r.FromTime.IsZero() {
		n, err := versionsBefore(ctx, log, commits, func(at time.Time) bool { return at.Before(r.FromTime) })
		if err != nil {
			return 0, 0, err
		}
		if from = first + int64(n); from > newest {
			return 0, 0, fmt.Errorf("%w: the newest, %d, is older than %s", ErrNoVersion, newest, r.FromTime.UTC().Format(time.RFC3339Nano))
		}
	}
	if !r.ToTime.IsZero() {
		n, err := versionsBefore(ctx, log, commits, func(at time.Time) bool { return !at.After(r.ToTime) })
		if err != nil {
			return 0, 0, err
		}
		if n == 0 {
			return 0, 0, fmt.Errorf("%w: the oldest that is left, %d, is newer than %s", ErrNoVersion, oldest, r.ToTime.UTC().Format(time.RFC3339Nano))
		}
		to = first + int64(n) - 1
	}
	if to == NewestVersion || to > newest {
		to = newest
	}
	switch {
	case from < 0:
		return 0, 0, fmt.Errorf("%w: %d", ErrNoVersion, from)
	case from > newest:
		return 0, 0, fmt.Errorf("%w: %d (the newest is %d)", ErrNoVersion, from, newest)
	case from < oldest:
		return 0, 0, &VersionGoneError{Version: from, Oldest: oldest}
	case !r.FromTime.IsZero() && !r.ToTime.IsZero() && !r.FromTime.After(r.ToTime) && to == from-1:
		return from, to, nil
	case to < from:
		return 0, 0, invalidf("the range ends with version %d, before it begins with %d", to, from)
	}
	return from, to, nil
}

// readMetadata finds the table's metadata in all of the range.
func (p *ChangePlan) readMetadata(ctx context.Context, log objstore.Store) error {
	at := p.from
	if p.to < p.from {
		at = p.to
	}
	base, err := loadListed(ctx, log, at)
	if err != nil {
		return err
	}
	p.metas = []metaSince{{version: at, md: base.metadata}}
	protocol := base.protocol
	if p.to > p.from {
		err = readCommits(ctx, log, p.from+1, p.to, func(v int64, data []byte) error {
			md, pr, err := tableOf(data, v)
			if md != nil {
				p.metas = append(p.metas, metaSince{version: v, md: md})
			}
			if pr != nil {
				protocol = pr
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	last := p.metas[len(p.metas)-1]
	if p.schema, err = schemaOf(last.md); err != nil {
		return corrupt(commitName(last.version), last.version, err)
	}
	if p.mapping, err = mappingOf(protocol, last.md); err == nil {
		err = p.mapping.checkMapped(p.schema)
	}
	if err != nil {
		return corrupt(commitName(last.version), last.version, err)
	}
	for i, m := range p.metas {
		s, err := schemaOf(m.md)
		if err != nil {
			return corrupt(commitName(m.version), m.version, err)
		}
		if err := p.checkFeed(i); err != nil {
			return err
		}
		mode, err := wantedMapping(m.md)
		if err != nil {
			return corrupt(commitName(m.version), m.version, err)
		}
		if (mode == MappingID) != (p.mapping == MappingID) && i < len(p.metas)-1 {
			return &SchemaChangedError{Version: m.version, To: p.to, Reason: fmt.Sprintf("columns were found in files by %s then, and are by %s now", mode, p.mapping)}
		}
		if why := p.mapping.readableAs(s, p.schema, ""); why != "" {
			return &SchemaChangedError{Version: m.version, To: p.to, Reason: why}
		}
		p.metas[i].md = m.md.Clone()
		for j, name := range m.md.PartitionColumns {
			f, _ := s.Field(name)
			p.metas[i].md.PartitionColumns[j] = p.mapping.counterpart(&f, p.schema).Name
		}
	}
	return nil
}

// tableOf finds the metaData and the protocol of a commit, nil for none. It looks
// at no other action.
func tableOf(data []byte, version int64) (md *Metadata, p *Protocol, err error) {
	for line := range strings.Lines(string(data)) {
		if !strings.Contains(line, `"metaData"`) && !strings.Contains(line, `"protocol"`) {
			continue
		}
		a, err := parseAction([]byte(line))
		if err != nil {
			return nil, nil, corrupt(commitName(version), version, err)
		}
		if a.Metadata != nil {
			md = a.Metadata
		}
		if a.Protocol != nil {
			p = a.Protocol
		}
	}
	return md, p, nil
}

// checkFeed notes whether a change feed was kept while metadata i held.
func (p *ChangePlan) checkFeed(i int) error {
	m := p.metas[i]
	if strings.EqualFold(m.md.Property(PropChangeDataFeed), "true") {
		return nil
	}
	end := p.to
	if i+1 < len(p.metas) {
		end = p.metas[i+1].version - 1
	}
	for v := max(m.version, p.from); v <= end; v++ {
		if p.opt.Strict {
			return &NoFeedError{Version: v}
		}
		p.noFeed = append(p.noFeed, v)
	}
	return nil
}

// readableAs says why rows of an older schema are none of a newer one; "" where
// they are: columns may have been added, and may lack values since. Where columns
// are mapped they may have been renamed, and one that was dropped and made anew
// is another one. mode is how the newer one's are found.
func (mode MappingMode) readableAs(old, new *Struct, at string) string {
	for i := range old.Fields {
		f := &old.Fields[i]
		n := mode.counterpart(f, new)
		switch {
		case n == nil:
			return fmt.Sprintf("the column %q is gone", at+f.Name)
		case f.Nullable && !n.Nullable:
			return fmt.Sprintf("the column %q is required now", at+f.Name)
		}
		if why := mode.typeReadableAs(f.Type, n.Type, at+f.Name); why != "" {
			return why
		}
	}
	return ""
}

// counterpart is the field of a newer struct that has the values of an older
// one's; nil for none. Columns from before a table's columns were mapped have
// their names as physical ones.
func (mode MappingMode) counterpart(old *Field, new *Struct) *Field {
	physical := mode.physicalName(old)
	if physical == "" {
		physical = old.Name
	}
	for i := range new.Fields {
		if mode.physicalName(&new.Fields[i]) == physical {
			return &new.Fields[i]
		}
	}
	return nil
}

func (mode MappingMode) typeReadableAs(old, new Type, at string) string {
	switch n := new.(type) {
	case *Struct:
		if o, ok := old.(*Struct); ok {
			return mode.readableAs(o, n, at+".")
		}
	case *Array:
		if o, ok := old.(*Array); ok {
			return mode.typeReadableAs(o.Element, n.Element, at+".element")
		}
	case *Map:
		if o, ok := old.(*Map); ok {
			if why := mode.typeReadableAs(o.Key, n.Key, at+".key"); why != "" {
				return why
			}
			return mode.typeReadableAs(o.Value, n.Value, at+".value")
		}
	default:
		if old == new {
			return ""
		}
	}
	return fmt.Sprintf("the column %q was of type %s and is of type %s", at, old, new)
}

// project finds the columns that are wanted.
func (p *ChangePlan) project() error {
	all, err := p.schema.Arrow()
	if err != nil {
		return err
	}
	p.columns = p.opt.Columns
	if p.columns == nil {
		p.columns = fieldNames(all)
	}
	var fields []arrow.Field
	for _, name := range p.columns {
		i := p.schema.Index(name)
		if i < 0 {
			return invalidf("version %d of the table has no column %q", p.to, name)
		}
		fields = append(fields, all.Field(i))
	}
	for _, name := range []string{ColChangeType, ColCommitVersion, ColCommitTimestamp} {
		if p.schema.Index(name) >= 0 {
			return invalidf("a column of the table has the name %q, which is one of the change feed's", name)
		}
	}
	p.arrow = arrow.NewSchema(append(fields,
		arrow.Field{Name: ColChangeType, Type: arrow.BinaryTypes.String},
		arrow.Field{Name: ColCommitVersion, Type: arrow.PrimitiveTypes.Int64},
		arrow.Field{Name: ColCommitTimestamp, Type: arrowPrimitives[Timestamp]},
	), nil)
	return nil
}

// meta is the table's metadata as of a version of the range.
func (p *ChangePlan) meta(version int64) *Metadata {
	i, found := slices.BinarySearchFunc(p.metas, version, func(m metaSince, v int64) int { return int(m.version - v) })
	if !found {
		i--
	}
	return p.metas[max(i, 0)].md
}
