package tablefmt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Restored is what a restore has done, or with RestoreOptions.DryRun would do.
type Restored struct {
	From    int64 // the version that the table showed before
	To      int64 // the version that it shows the content of
	Version int64 // the version that the restore made; From where there was nothing to do or nothing is to be done
	// FilesRestored and FilesRemoved are logical files; one that only gets another
	// deletion vector is both. Bytes are those of the data files.
	FilesRestored, FilesRemoved int
	BytesRestored, BytesRemoved int64
	// MetadataChanged says that schema, partitioning, properties or metadata domains
	// go back, too.
	MetadataChanged bool
}

// Changes reports whether the two versions differ.
func (r Restored) Changes() bool {
	return r.FilesRestored+r.FilesRemoved > 0 || r.MetadataChanged
}

// RestoreOptions say how a table is restored. The zero value restores it.
type RestoreOptions struct {
	// DryRun finds out what would be done and whether it can be, and writes
	// nothing.
	DryRun bool
	// At is told to people in the commit as what was asked for; the zero time
	// says that it was the version.
	At time.Time
}

// restoreTries bounds how often a restore begins again because others commit
// meanwhile.
const restoreTries = 10

// restoreLooks is how many files are looked for at a time.
const restoreLooks = 16

// Restore makes a table show again what it showed in an older snapshot, by a
// commit that adds the files that have gone since and removes those that have
// come. History stays, and the restore can itself be undone. Schema,
// partitioning and properties go back as well; the protocol stays, and so do the
// marks that must never go back: the greatest column id, in-commit timestamps, row
// ids. What applications have recorded (txn) stays, too: an application that
// feeds the table must be told, for it will not write again what the restore
// takes away.
//
// The error is a *[MissingFilesError] where vacuum has removed files that the old
// version needs, and ErrInvalid for a table that is append-only and has been
// appended to, or that has lost a feature that the old version uses.
func Restore(ctx context.Context, then *Snapshot, o RestoreOptions) (*Snapshot, Restored, error) {
	var last error
	for range restoreTries {
		now, err := Load(ctx, then.loc)
		if err != nil {
			return nil, Restored{}, err
		}
		s, r, err := restore(ctx, now, then, o)
		if !errors.Is(err, ErrConflict) {
			if err != nil {
				err = fmt.Errorf("restoring table %s to version %d: %w", then.loc, then.Version(), err)
			}
			return s, r, err
		}
		last = err
	}
	return nil, Restored{}, fmt.Errorf("restoring table %s to version %d, %d times: %w", then.loc, then.Version(), restoreTries, last)
}

func restore(ctx context.Context, now, then *Snapshot, o RestoreOptions) (*Snapshot, Restored, error) {
	p, err := planRestore(now.st, then.st)
	if err != nil {
		return nil, Restored{}, err
	}
	r := Restored{
		From: now.Version(), To: then.Version(), Version: now.Version(), FilesRestored: len(p.adds), FilesRemoved: len(p.removes),
		MetadataChanged: p.metadata != nil || len(p.domains) > 0,
	}
	for _, a := range p.adds {
		r.BytesRestored += a.Size
	}
	for _, a := range p.removes {
		r.BytesRemoved += a.Size
	}
	if err := p.findFiles(ctx, now); err != nil {
		return nil, r, err
	}
	if !r.Changes() {
		return now, r, nil
	}
	t := p.transaction(now, then, r, o)
	if o.DryRun {
		return now, r, t.validate()
	}
	s, err := t.Commit(ctx)
	if err != nil {
		return nil, r, err
	}
	r.Version = s.Version()
	return s, r, nil
}

// restorePlan is what lies between two versions of a table, from the newer one
// to the older.
type restorePlan struct {
	adds, removes []*AddFile
	metadata      *Metadata // nil: it is the same
	domains       []DomainMetadata
}

// planRestore compares two versions. It is pure.
func planRestore(now, then *state) (*restorePlan, error) {
	for _, f := range features {
		if then.protocol.Has(f.Name) && !now.protocol.Has(f.Name) && (f.active == nil || f.active(then.metadata, then.schema)) {
			return nil, invalidf("version %d uses the feature %q, which the table has lost since", then.version, f.Name)
		}
	}
	p := &restorePlan{adds: slices.Collect(then.files.minus(&now.files)), removes: slices.Collect(now.files.minus(&then.files))}
	if m := restoredMetadata(now.metadata, then.metadata); !sameMetadata(m, now.metadata) {
		p.metadata = m
	}
	p.planDomains(now, then)
	return p, nil
}

// neverBack are properties that a restore leaves as they are: in-commit
// timestamps and ids that were given must not be given again.
var neverBack = []string{
	PropInCommitTimestamps, "delta.inCommitTimestampEnablementVersion", "delta.inCommitTimestampEnablementTimestamp",
	PropMaxColumnID, "delta.enableRowTracking", "delta.rowTracking.",
}

func restoredMetadata(now, then *Metadata) *Metadata {
	m := then.Clone()
	if m.Configuration == nil {
		m.Configuration = map[string]string{}
	}
	for _, prefix := range neverBack {
		maps.DeleteFunc(m.Configuration, func(k, _ string) bool { return strings.HasPrefix(k, prefix) })
		for k, v := range now.Configuration {
			if strings.HasPrefix(k, prefix) {
				m.Configuration[k] = v
			}
		}
	}
	// A restore of another program may have lost it.
	if id, err := maxColumnID(then); err == nil {
		if is, err := maxColumnID(now); err != nil || is < id {
			m.Configuration[PropMaxColumnID] = then.Configuration[PropMaxColumnID]
		}
	}
	m.CreatedTime = now.CreatedTime
	keepIdentityMarks(m, now)
	return m
}

// keepIdentityMarks gives identity columns of m the last values that the table
// has given, which never go back either. (Identity Columns)
func keepIdentityMarks(m, now *Metadata) {
	was, err1 := ParseSchema(m.SchemaString)
	is, err2 := ParseSchema(now.SchemaString)
	if err1 != nil || err2 != nil {
		return // what cannot be read is refused elsewhere
	}
	changed := false
	for i := range was.Fields {
		f := &was.Fields[i]
		g, ok := is.Field(f.Name)
		if !ok || f.Metadata[metaIdentityStart] == nil || g.Metadata[metaIdentityStart] == nil {
			continue
		}
		mark, given := metadataNumber(g.Metadata[metaIdentityMark])
		old, had := metadataNumber(f.Metadata[metaIdentityMark])
		step, _ := metadataNumber(f.Metadata[metaIdentityStep])
		if further := !had || step >= 0 && mark > old || step < 0 && mark < old; !given || !further {
			continue
		}
		f.Metadata = maps.Clone(f.Metadata)
		f.Metadata[metaIdentityMark] = g.Metadata[metaIdentityMark]
		changed = true
	}
	if changed {
		m.SchemaString = was.JSON()
	}
}

// metadataNumber reads a number of a column's metadata.
func metadataNumber(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}

func sameMetadata(a, b *Metadata) bool {
	return a.Name == b.Name && a.Description == b.Description && a.schemaText() == b.schemaText() &&
		slices.Equal(a.PartitionColumns, b.PartitionColumns) && maps.Equal(a.Configuration, b.Configuration)
}

// rowTrackingDomain holds the greatest row id, which never goes back. (Row IDs)
const rowTrackingDomain = "delta.rowTracking"

// planDomains takes the metadata domains back.
func (p *restorePlan) planDomains(now, then *state) {
	for name, d := range then.domains.all() {
		if n, ok := now.domains.get(name); name != rowTrackingDomain && (!ok || n.Configuration != d.Configuration) {
			p.domains = append(p.domains, *d)
		}
	}
	for name, d := range now.domains.all() {
		if _, ok := then.domains.get(name); name != rowTrackingDomain && !ok {
			gone := *d
			gone.Removed = true
			p.domains = append(p.domains, gone)
		}
	}
}

// findFiles makes sure that what is added is still there.
func (p *restorePlan) findFiles(ctx context.Context, now *Snapshot) error {
	type place struct {
		store objstore.Store
		path  string
	}
	wanted := map[string]place{} // by what the log says; vectors share files
	for _, a := range p.adds {
		if _, ok := now.File(a.Path); !ok {
			store, path, err := now.loc.find(a.Path)
			if err != nil {
				return unfound(a.Path, err)
			}
			wanted[a.Path] = place{store, path}
		}
		if d := a.DeletionVector; d != nil && d.StorageType != dv.Inlined {
			store, path, err := now.loc.findVector(d)
			if err != nil {
				return unfound(a.Path, err)
			}
			wanted[string(d.StorageType)+d.PathOrInlineDV] = place{store, path}
		}
	}
	places := slices.SortedFunc(maps.Values(wanted), func(a, b place) int { return strings.Compare(a.path, b.path) })
	there := make([]bool, len(places))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(restoreLooks)
	for i, p := range places {
		g.Go(func() error {
			_, err := p.store.Stat(gctx, p.path)
			there[i] = err == nil
			if err != nil && !errors.Is(err, objstore.ErrNotFound) {
				return fmt.Errorf("looking for %s: %w", p.path, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	missing := &MissingFilesError{}
	for i, p := range places {
		if !there[i] {
			missing.Paths = append(missing.Paths, p.path)
		}
	}
	if len(missing.Paths) > 0 {
		return missing
	}
	return nil
}

// transaction makes the plan a commit, as Spark's RESTORE writes it.
func (p *restorePlan) transaction(now, then *Snapshot, r Restored, o RestoreOptions) *Transaction {
	t := Begin(now.loc, now)
	t.restores = true
	t.SetReads(ReadsTable)
	at := time.Now().UnixMilli()
	for _, b := range p.removes {
		t.Remove(*b.Remove(at, true))
	}
	for _, a := range p.adds {
		add := *a
		add.DataChange = true
		t.Add(add)
	}
	if p.metadata != nil {
		t.SetMetadata(p.metadata)
	}
	t.domains = p.domains
	params := map[string]any{"version": then.Version()}
	if !o.At.IsZero() {
		params = map[string]any{"timestamp": o.At.UTC().Format(time.RFC3339Nano)}
	}
	t.SetInfo("RESTORE", params)
	t.SetMetrics(map[string]any{
		"tableSizeAfterRestore": then.Size(), "numOfFilesAfterRestore": then.NumFiles(),
		"numRestoredFiles": r.FilesRestored, "restoredFilesSize": r.BytesRestored, "numRemovedFiles": r.FilesRemoved, "removedFilesSize": r.BytesRemoved,
	})
	return t
}
