package tablefmt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// validate refuses a transaction that would break the protocol or the table's
// own properties. Errors are ErrInvalid or *UnsupportedFeatureError.
func (t *Transaction) validate() error {
	p, m, s := t.protocol, t.metadata, (*Schema)(nil)
	if t.base == nil {
		if p == nil || m == nil {
			return invalidf("a new table needs a protocol and metadata")
		}
	} else {
		p, m = t.effective(t.base.st)
		if t.metadata == nil {
			s = t.base.Schema()
		}
	}
	if err := p.validate(); err != nil {
		return invalidf("%w", err)
	}
	if t.metadata != nil && t.metadata.SchemaString == "" && !t.restores {
		return invalidf("the metadata have no schema")
	}
	var err error
	if s == nil {
		if s, err = schemaOf(m); err != nil {
			return invalidf("%w", err)
		}
		if err := t.checkNewMetadata(p, m, s); err != nil {
			return err
		}
	}
	mode, err := mappingOf(p, m)
	if err != nil {
		return invalidf("%w", err)
	}
	if err := checkFeaturesListed(p, m, s); err != nil {
		return err
	}
	if err := checkWrite(p, m, s); err != nil {
		return err
	}
	if err := t.placeClustering(s, mode); err != nil {
		return err
	}
	if err := t.checkDomains(p); err != nil {
		return err
	}
	if t.metadata != nil {
		if err := t.checkProperties(m, s); err != nil {
			return err
		}
		if err := t.checkRowTracking(p, m, s, mode); err != nil {
			return err
		}
	}
	for i := range t.adds {
		if _, err := t.adds[i].DataPath(); err != nil && !t.isThere(&t.adds[i], err) {
			return invalidf("adding a file: %w", err)
		}
		if err := checkAdd(&t.adds[i], p, m, s, mode); err != nil {
			return err
		}
	}
	if err := t.checkRemoves(p, m); err != nil {
		return err
	}
	for _, check := range []func() error{
		func() error { return t.checkRules(p, m, s) },
		func() error { return t.checkRowIDsKept(p, m) },
		func() error { return t.checkClustering(p, m, s, mode) },
		func() error { return t.checkIceberg(p, m, s, mode) },
		func() error { return t.checkLayout(p, m) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return t.checkChangeFeed(m)
}

// checkDomains refuses metadata domains that the table cannot have, or that are
// not the caller's to set. (Domain Metadata)
func (t *Transaction) checkDomains(p *Protocol) error {
	if len(t.domains) > 0 && !p.Has("domainMetadata") {
		return invalidf("the table's protocol does not list domainMetadata")
	}
	seen := make(map[string]bool)
	for i := range t.domains {
		name := t.domains[i].Domain
		if seen[name] {
			return invalidf("the metadata domain %q is set twice", name)
		}
		seen[name] = true
		if strings.HasPrefix(name, "delta.") && !t.restores && (name != clusteringDomain || t.cluster == nil) {
			return invalidf("the metadata domain %q is the protocol's, and not for callers to set", name)
		}
	}
	return nil
}

// checkNewMetadata looks at a schema that is about to become the table's.
func (t *Transaction) checkNewMetadata(p *Protocol, m *Metadata, s *Schema) error {
	mode, err := mappingOf(p, m)
	if err != nil {
		return invalidf("%w", err)
	}
	if len(s.Fields) > 0 && len(m.PartitionColumns) >= len(s.Fields) {
		return invalidf("all columns are partition columns: none is left for the data files")
	}
	base := t.base
	if t.restores {
		base = nil // whatever the table was before, it may be again
	}
	// Where nothing stays that was written under another schema, types may change.
	stays := base != nil && len(t.removes) < base.NumFiles()
	if err := checkMapping(base, mode, m, s, stays); err != nil {
		return err
	}
	if err := s.CheckNames(mode != MappingNone); err != nil {
		return invalidf("%w", err)
	}
	if t.base == nil {
		return nil
	}
	if m.ID != t.base.Metadata().ID {
		return invalidf("the table's id cannot change")
	}
	if base == nil {
		return nil
	}
	was := base.Mapping()
	e := evolution{from: was, to: mode, widens: widensTypes(p) && m.isTrue(PropTypeWidening)}
	if err := e.checkExpressions(base.Schema(), m, s); err != nil {
		return err
	}
	if !stays {
		return nil
	}
	if !slices.Equal(physicalNames(mode, s, m.PartitionColumns), physicalNames(was, base.Schema(), base.PartitionColumns())) {
		return invalidf("the partition columns cannot change while files of the old partitioning stay")
	}
	return e.check(base.Schema(), s, "")
}

// physicalNames gives what columns are called in files.
func physicalNames(mode MappingMode, s *Schema, columns []string) []string {
	out := make([]string, len(columns))
	for i, name := range columns {
		f, _ := s.Field(name)
		out[i] = mode.physicalName(&f)
	}
	return out
}

// isThere reports whether a file that lies outside of the table's folder may be
// added: it is in the table already, or was. No new one is.
func (t *Transaction) isThere(a *AddFile, err error) bool {
	var outside *OutsideError
	if !errors.As(err, &outside) || t.base == nil {
		return false
	}
	_, ok := t.base.File(a.Path)
	return ok || t.restores
}

// checkAdd looks at a file that is to be added.
func checkAdd(a *AddFile, p *Protocol, m *Metadata, s *Schema, mode MappingMode) error {
	if len(a.PartitionValues) != len(m.PartitionColumns) {
		return invalidf("adding %s: it has values for %d partition columns, the table has %d", a.Path, len(a.PartitionValues), len(m.PartitionColumns))
	}
	for _, name := range m.PartitionColumns {
		f, _ := s.Field(name)
		v, ok := a.PartitionValues[mode.physicalName(&f)]
		if !ok {
			return invalidf("adding %s: no value for partition column %q, physically %q", a.Path, name, mode.physicalName(&f))
		}
		if v != nil && *v == "" {
			return invalidf("adding %s: partition column %q is an empty text, which readers take for null", a.Path, name)
		}
		if _, err := partitionAppender(f.Type, v); err != nil {
			return invalidf("adding %s: partition column %q: %w", a.Path, name, err)
		}
	}
	if a.DeletionVector == nil {
		return nil
	}
	if !p.Has("deletionVectors") {
		return invalidf("adding %s: the table's protocol does not list deletionVectors", a.Path)
	}
	st, err := a.ParseStats()
	if err != nil || st.NumRecords == nil {
		return invalidf("adding %s: a file with a deletion vector needs statistics with the physical number of rows (%v)", a.Path, err)
	}
	return nil
}

// checkRemoves refuses to remove what is not there, or may not go, or is added
// by the same commit: one commit names a logical file (path and deletion
// vector) once ("Action Reconciliation").
func (t *Transaction) checkRemoves(p *Protocol, m *Metadata) error {
	added := make(map[fileKey]bool, len(t.adds))
	if len(t.removes) > 0 {
		for i := range t.adds {
			added[keyOf(t.adds[i].Path, t.adds[i].DeletionVector)] = true
		}
	}
	for i := range t.removes {
		r := &t.removes[i]
		if added[keyOf(r.Path, r.DeletionVector)] {
			return invalidf("removing %s: the same commit adds it", r.Path)
		}
		if t.base == nil {
			return invalidf("removing %s: the table is new", r.Path)
		}
		a, ok := t.base.File(r.Path)
		if !ok {
			return invalidf("removing %s: it is not in version %d", r.Path, t.base.Version())
		}
		if vectorID(a.DeletionVector) != vectorID(r.DeletionVector) {
			return invalidf("removing %s: version %d has it with another deletion vector", r.Path, t.base.Version())
		}
		if r.DataChange && p.Has("appendOnly") && m.isTrue(PropAppendOnly) {
			return invalidf("removing %s: the table is append-only (%s)", r.Path, PropAppendOnly)
		}
	}
	return nil
}

// checkChangeFeed refuses a commit from which change data readers could not
// tell what changed: where rows go and come, deletes and inserts would be
// derived from whole files, which is right only where all files go and others
// come.
func (t *Transaction) checkChangeFeed(m *Metadata) error {
	if !m.isTrue(PropChangeDataFeed) || len(t.cdcs) > 0 {
		return nil
	}
	if t.restores {
		return nil // readers derive it of whole files, or their vectors' differences, and are right
	}
	removed := slices.ContainsFunc(t.removes, func(r RemoveFile) bool { return r.DataChange })
	added := slices.ContainsFunc(t.adds, func(a AddFile) bool { return a.DataChange })
	if removed && added && !t.replaces() {
		return invalidf("the table has a change data feed (%s): a commit that removes and adds rows needs cdc files", PropChangeDataFeed)
	}
	return nil
}

// replaces reports whether all of the table's files go, and only others come.
func (t *Transaction) replaces() bool {
	gone := make(map[string]bool, len(t.removes))
	for i := range t.removes {
		gone[t.removes[i].Path] = true
	}
	return t.base != nil && len(gone) == t.base.NumFiles() && !slices.ContainsFunc(t.adds, func(a AddFile) bool { return gone[a.Path] })
}

// place names the transaction's table and version for errors.
func (t *Transaction) place() string {
	if t.base == nil {
		return fmt.Sprintf("creating table %s", t.loc)
	}
	return fmt.Sprintf("committing to table %s, read at version %d", t.loc, t.base.Version())
}
