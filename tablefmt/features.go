package tablefmt

import (
	"fmt"
	"slices"
	"strings"
)

// The protocol versions that this package knows. Above legacy versions, what
// a table needs stands in its feature lists.
const (
	maxReaderVersion = 3
	maxWriterVersion = 7
)

// Feature is what is known of a table feature. (Valid Feature Names in Table
// Features)
type Feature struct {
	Name   string
	Reader bool // readers must support it too, not writers alone
	Read   bool // a table that uses it can be read here
	Write  bool // a table that uses it can be written here

	// legacyReader and legacyWriter are the versions that imply the feature
	// in tables without feature lists; 0 for none.
	legacyReader, legacyWriter int
	// active tells whether a table that lists the feature makes use of it:
	// one that does not needs no support. Nil: listing it is using it.
	active func(*Metadata, *Schema) bool
}

// features is every feature of the protocol, by name.
var features = []Feature{
	{Name: "appendOnly", Read: true, Write: true, legacyWriter: 2},
	// Rows are held against invariants and constraints by the table's own writer;
	// the commit refuses others that were not.
	{Name: "invariants", Read: true, Write: true, legacyWriter: 2, active: columnsWith(metaInvariants)},
	{Name: "checkConstraints", Read: true, Write: true, legacyWriter: 3, active: propertiesWith(constraintPrefix)},
	{Name: "changeDataFeed", Read: true, Write: true, legacyWriter: 4},
	// Whoever writes rows into a generated column computes its values.
	{Name: "generatedColumns", Read: true, Write: true, legacyWriter: 4},
	{Name: "columnMapping", Reader: true, Read: true, Write: true, legacyReader: 2, legacyWriter: 5},
	// Values that the table would have to give are refused, by the same writer.
	{Name: "identityColumns", Read: true, Write: true, legacyWriter: 6, active: columnsWith(metaIdentityStart)},
	{Name: "deletionVectors", Reader: true, Read: true, Write: true},
	{Name: "timestampNtz", Reader: true, Read: true, Write: true},
	{Name: "vacuumProtocolCheck", Reader: true, Read: true, Write: true},
	{Name: "v2Checkpoint", Reader: true, Read: true, Write: true},
	{Name: "domainMetadata", Read: true, Write: true},
	{Name: "inCommitTimestamp", Read: true, Write: true},
	// A default matters where a writer lets a column out: see Snapshot.Fill.
	{Name: "allowColumnDefaults", Read: true, Write: true},
	{Name: "rowTracking", Read: true, Write: true},
	{Name: "clustering", Read: true, Write: true},
	{Name: "icebergCompatV1", Read: true, Write: true, active: propertyIsTrue(propIcebergV1)},
	{Name: "icebergCompatV2", Read: true, Write: true, active: propertyIsTrue(propIcebergV2)},
	{Name: "icebergCompatV3", Read: true, active: propertyIsTrue(propIcebergV3)},
	{Name: "icebergWriterCompatV1", Read: true, active: propertyIsTrue(propIcebergWriterV1)},
	{Name: "icebergWriterCompatV3", Read: true, active: propertyIsTrue(propIcebergWriterV3)},
	// CleanLog writes no checkpoint and removes none after the one that it keeps,
	// which the feature allows.
	{Name: "checkpointProtection", Read: true, Write: true},
	{Name: "materializePartitionColumns", Read: true, Write: true},
	{Name: "redirectWriterOnly-preview", Read: true},
	{Name: "redirectReaderWriter-preview", Reader: true},
	{Name: "typeWidening", Reader: true, Read: true, Write: true},
	{Name: "typeWidening-preview", Reader: true, Read: true, Write: true},
	{Name: "variantType", Reader: true, Read: true, Write: true},
	{Name: "variantType-preview", Reader: true, Read: true, Write: true},
	// A writer may shred, and we never do.
	{Name: "variantShredding", Reader: true, Read: true, Write: true},
	{Name: "variantShredding-preview", Reader: true, Read: true, Write: true},
	// Texts are compared by their bytes, and bounds of another order are not looked
	// for.
	{Name: "collations", Read: true},
	{Name: "collations-preview", Read: true},
	{Name: "catalogManaged", Reader: true},
	{Name: "catalogOwned-preview", Reader: true},
	{Name: "coordinatedCommits-preview", Read: true},
	{Name: "managedCommit-preview", Read: true},
}

// Features gives every table feature that is known, supported or not.
func Features() []Feature { return slices.Clone(features) }

// UnsupportedFeatureError says that a table needs something that this package
// does not do.
type UnsupportedFeatureError struct {
	Feature string // the feature's name in the protocol, or a few words
	Writing bool   // it is needed to write only
	Detail  string // where it is needed, "" for the table as a whole
}

func (e *UnsupportedFeatureError) Error() string {
	verb := "read"
	if e.Writing {
		verb = "write"
	}
	s := fmt.Sprintf("lakeload cannot %s a table with %s", verb, e.Feature)
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	return s
}

// featureByName gives what is known of a feature; ok is false for an unknown
// one.
func featureByName(name string) (Feature, bool) {
	i := slices.IndexFunc(features, func(f Feature) bool { return f.Name == name })
	if i < 0 {
		return Feature{}, false
	}
	return features[i], true
}

// validate refuses a protocol action that breaks the rules for one.
func (p *Protocol) validate() error {
	switch {
	case p.MinReaderVersion < 1 || p.MinWriterVersion < 1:
		return fmt.Errorf("protocol versions %d and %d must be at least 1", p.MinReaderVersion, p.MinWriterVersion)
	case p.MinReaderVersion == 3 && p.MinWriterVersion < 7:
		return fmt.Errorf("reader version %d goes with writer version 7, not %d", p.MinReaderVersion, p.MinWriterVersion)
	case p.MinReaderVersion < 3 && len(p.ReaderFeatures) > 0:
		return fmt.Errorf("reader version %d has no reader features, but %q are listed", p.MinReaderVersion, p.ReaderFeatures)
	case p.MinWriterVersion < 7 && len(p.WriterFeatures) > 0:
		return fmt.Errorf("writer version %d has no writer features, but %q are listed", p.MinWriterVersion, p.WriterFeatures)
	}
	for _, f := range p.ReaderFeatures {
		if !slices.Contains(p.WriterFeatures, f) {
			return fmt.Errorf("feature %q is listed for readers and not for writers", f)
		}
	}
	return nil
}

// Has reports whether the table supports a feature, by its list or by its
// legacy version.
func (p *Protocol) Has(feature string) bool {
	if slices.Contains(p.ReaderFeatures, feature) || slices.Contains(p.WriterFeatures, feature) {
		return true
	}
	f, ok := featureByName(feature)
	return ok && f.legacyWriter > 0 && p.MinWriterVersion < 7 && p.MinWriterVersion >= f.legacyWriter && p.MinReaderVersion >= f.legacyReader
}

// checkRead refuses a table that cannot be read here.
func checkRead(p *Protocol, m *Metadata, s *Schema) error {
	if p.MinReaderVersion > maxReaderVersion {
		return &UnsupportedFeatureError{Feature: fmt.Sprintf("reader version %d", p.MinReaderVersion)}
	}
	for _, name := range p.ReaderFeatures {
		f, known := featureByName(name)
		if !known || !f.Read && (f.active == nil || f.active(m, s)) {
			return &UnsupportedFeatureError{Feature: fmt.Sprintf("the feature %q", name)}
		}
	}
	for _, f := range features {
		if f.legacyReader > 0 && p.MinReaderVersion < 3 && p.MinReaderVersion >= f.legacyReader && !f.Read &&
			(f.active == nil || f.active(m, s)) {
			return &UnsupportedFeatureError{Feature: fmt.Sprintf("the feature %q", f.Name)}
		}
	}
	if m.Format.Provider != "parquet" && m.Format.Provider != "" {
		return &UnsupportedFeatureError{Feature: fmt.Sprintf("data files in %q", m.Format.Provider)}
	}
	return nil
}

// checkWrite refuses a table that cannot be written here.
func checkWrite(p *Protocol, m *Metadata, s *Schema) error {
	if err := checkRead(p, m, s); err != nil {
		return err
	}
	if p.MinWriterVersion > maxWriterVersion {
		return &UnsupportedFeatureError{Feature: fmt.Sprintf("writer version %d", p.MinWriterVersion), Writing: true}
	}
	needs := func(f Feature) bool {
		return !f.Write && (f.active == nil || f.active(m, s))
	}
	for _, name := range p.WriterFeatures {
		f, known := featureByName(name)
		if !known || needs(f) {
			return &UnsupportedFeatureError{Feature: fmt.Sprintf("the feature %q", name), Writing: true}
		}
	}
	for _, f := range features {
		if f.legacyWriter > 0 && p.MinWriterVersion < 7 && p.MinWriterVersion >= f.legacyWriter && needs(f) {
			return &UnsupportedFeatureError{Feature: fmt.Sprintf("the feature %q", f.Name), Writing: true}
		}
	}
	return nil
}

func propertiesWith(prefix string) func(*Metadata, *Schema) bool {
	return func(m *Metadata, _ *Schema) bool {
		for k := range m.Configuration {
			if strings.HasPrefix(strings.ToLower(k), prefix) {
				return true
			}
		}
		return false
	}
}

func columnsWith(key string) func(*Metadata, *Schema) bool {
	return func(_ *Metadata, s *Schema) bool {
		found := false
		_ = walkStructs(s, "", func(_ string, s *Struct) error { // the callback never fails
			for _, f := range s.Fields {
				_, ok := f.Metadata[key]
				found = found || ok
			}
			return nil
		})
		return found
	}
}
