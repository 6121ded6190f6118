package tablefmt

import (
	"fmt"
	"slices"
)

// Table properties that this package looks at.
const (
	PropAppendOnly         = "delta.appendOnly"
	PropChangeDataFeed     = "delta.enableChangeDataFeed"
	PropDeletionVectors    = "delta.enableDeletionVectors"
	PropDeletedRetention   = "delta.deletedFileRetentionDuration"
	PropLogRetention       = "delta.logRetentionDuration"
	PropLogCleanup         = "delta.enableExpiredLogCleanup"
	PropInCommitTimestamps = "delta.enableInCommitTimestamps"
	PropTxnRetention       = "delta.setTransactionRetentionDuration"
	// PropCheckpointStruct "true" has checkpoints hold statistics and partition
	// values as structs of the columns' types, too.
	PropCheckpointStruct = "delta.checkpoint.writeStatsAsStruct"
	// PropForgetTxns is an interval after which our checkpoints leave out what an
	// application has recorded. PropTxnRetention, which other writers heed, does
	// not do so: a table that rests on its applications' records may be given it
	// by mistake.
	PropForgetTxns      = "lakeload.forgetTransactionsAfter"
	PropCheckpointStats = "delta.checkpoint.writeStatsAsJson"
)

// MetaGenerationExpression is the key of column metadata that makes a generated column.
const MetaGenerationExpression = "delta.generationExpression"

// ProtocolOptions says what a table needs beyond the least.
type ProtocolOptions struct {
	TimestampNTZ     bool // a column is of type timestamp_ntz
	GeneratedColumns bool // a column has MetaGenerationExpression
	ChangeDataFeed   bool // PropChangeDataFeed is to be set
	DomainMetadata   bool // a domain is to be set
	ColumnMapping    bool // PropMappingMode is to be set
	TypeWidening     bool // PropTypeWidening is to be set
	Variant          bool // a column is of type variant
}

// OptionsFor gives the options that a schema needs.
func OptionsFor(s *Schema) ProtocolOptions {
	return ProtocolOptions{
		TimestampNTZ:     s.has(TimestampNTZ),
		GeneratedColumns: columnsWith(MetaGenerationExpression)(nil, s),
		ColumnMapping:    columnsWith(MetaPhysicalName)(nil, s),
		TypeWidening:     columnsWith(metaTypeChanges)(nil, s),
		Variant:          s.has(Variant),
	}
}

// ChangelogProtocol is the protocol of an append-only table of ours: reader 1
// and writer 7, so that the oldest readers can read it, and reader 3 only
// where an option needs it. appendOnly and invariants stand
// together because Spark refuses a list with one of them.
func ChangelogProtocol(o ProtocolOptions) *Protocol { return o.protocol(nil) }

// MirrorProtocol is the protocol of a table of ours whose rows are deleted by
// deletion vectors: reader 3 and writer 7. The table's property
// [PropDeletionVectors] is to be "true" as well.
func MirrorProtocol(o ProtocolOptions) *Protocol { return o.protocol([]string{"deletionVectors"}) }

func (o ProtocolOptions) protocol(readers []string) *Protocol {
	for _, f := range []struct {
		name string
		on   bool
	}{{"timestampNtz", o.TimestampNTZ}, {"columnMapping", o.ColumnMapping}, {"typeWidening", o.TypeWidening}, {"variantType", o.Variant}} {
		if f.on {
			readers = append(readers, f.name)
		}
	}
	p := &Protocol{MinReaderVersion: 1, MinWriterVersion: maxWriterVersion, WriterFeatures: []string{"appendOnly", "invariants"}}
	if len(readers) > 0 {
		p.MinReaderVersion, p.ReaderFeatures = maxReaderVersion, readers
		p.WriterFeatures = append(p.WriterFeatures, readers...)
	}
	for _, f := range []struct {
		name string
		on   bool
	}{{"changeDataFeed", o.ChangeDataFeed}, {"generatedColumns", o.GeneratedColumns}, {"domainMetadata", o.DomainMetadata}} {
		if f.on {
			p.WriterFeatures = append(p.WriterFeatures, f.name)
		}
	}
	return p
}

// With gives the protocol that lists more features, as a table needs before it
// can use them. One of legacy versions is raised to feature lists where it must
// be, and then lists what its versions stood for. (Table Features for New and
// Existing Tables) A feature that is not known is an *[UnsupportedFeatureError].
func (p *Protocol) With(names ...string) (*Protocol, error) {
	q := &Protocol{
		MinReaderVersion: p.MinReaderVersion, MinWriterVersion: maxWriterVersion,
		ReaderFeatures: slices.Clone(p.ReaderFeatures), WriterFeatures: slices.Clone(p.WriterFeatures),
	}
	var listed []Feature
	for _, f := range features {
		if p.Has(f.Name) {
			listed = append(listed, f)
		}
	}
	for _, name := range names {
		f, known := featureByName(name)
		if !known {
			return nil, &UnsupportedFeatureError{Feature: fmt.Sprintf("the feature %q", name), Writing: true}
		}
		if f.Reader && !p.Has(name) {
			q.MinReaderVersion = maxReaderVersion
		}
		listed = append(listed, f)
	}
	for _, f := range listed {
		if !slices.Contains(q.WriterFeatures, f.Name) {
			q.WriterFeatures = append(q.WriterFeatures, f.Name)
		}
		if f.Reader && q.MinReaderVersion == maxReaderVersion && !slices.Contains(q.ReaderFeatures, f.Name) {
			q.ReaderFeatures = append(q.ReaderFeatures, f.Name)
		}
	}
	return q, nil
}

// checkFeaturesListed refuses a schema or properties that use a feature which
// the protocol does not list, for such a table would be read or written
// wrongly by others.
func checkFeaturesListed(p *Protocol, m *Metadata, s *Schema) error {
	maps, err := wantedMapping(m)
	if err != nil {
		return invalidf("%w", err)
	}
	for _, u := range []struct {
		feature string
		used    bool
	}{
		{"timestampNtz", s.has(TimestampNTZ)},
		{"variantType", s.has(Variant) && !p.Has("variantType-preview")},
		{"deletionVectors", m.isTrue(PropDeletionVectors)},
		{"appendOnly", m.isTrue(PropAppendOnly)},
		{"changeDataFeed", m.isTrue(PropChangeDataFeed)},
		{"inCommitTimestamp", m.isTrue(PropInCommitTimestamps)},
		{"columnMapping", maps != MappingNone},
		{"typeWidening", !widensTypes(p) && (m.isTrue(PropTypeWidening) || columnsWith(metaTypeChanges)(m, s))},
		{"generatedColumns", columnsWith(MetaGenerationExpression)(m, s)},
	} {
		if u.used && !p.Has(u.feature) {
			return invalidf("the table uses %q, which its protocol does not list", u.feature)
		}
	}
	return nil
}
