package tablefmt

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Properties that are held against what they can be, beside those that have
// names elsewhere.
const (
	PropCheckpointInterval = "delta.checkpointInterval"
	PropCheckpointPolicy   = "delta.checkpointPolicy"
	// PropIsolationLevel is Serializable or WriteSerializable. Our commits are as
	// the former wants them, whatever it says.
	PropIsolationLevel = "delta.isolationLevel"
)

// propertyRule refuses a malformed value.
type propertyRule func(value string) error

var propertyRules = func() map[string]propertyRule {
	rules := map[string]propertyRule{
		PropCheckpointInterval: atLeast(1), PropStatsNumColumns: atLeast(-1), PropRandomLength: atLeast(1),
		PropMaxColumnID: atLeast(0), PropCheckpointPolicy: oneOf("classic", "v2"), PropIsolationLevel: oneOf("Serializable", "WriteSerializable"),
		PropMappingMode:  oneOf("none", "name", "id"),
		PropStatsColumns: func(v string) error { _, err := parseColumnList(v); return err },
		PropTargetSize: func(v string) error {
			if n, err := parseBytes(v); err != nil || n <= 0 {
				return fmt.Errorf("want a number of bytes, as 104857600 or 100mb")
			}
			return nil
		},
		PropCodec: oneOf("uncompressed", "none", "snappy", "gzip", "lz4", "lz4_raw", "zstd", "brotli", "lzo"),
		"delta.parquet.format.version": func(v string) error {
			if !regexp.MustCompile(`^(1\.0\.0|2\.\d+\.\d+)$`).MatchString(v) {
				return fmt.Errorf("want 1.0.0 or 2.x.x")
			}
			return nil
		},
	}
	for _, name := range []string{
		PropAppendOnly, PropChangeDataFeed, PropDeletionVectors, PropInCommitTimestamps, PropLogCleanup, PropCheckpointStats,
		"delta.checkpoint.writeStatsAsStruct", PropTypeWidening, PropRowTracking, propRowTrackingSuspended, PropRandomFolder, PropWritePartitions,
		propIcebergV1, propIcebergV2, propIcebergV3, propIcebergWriterV1, propIcebergWriterV3, "delta.autoOptimize.optimizeWrite",
		"delta.compatibility.symlinkFormatManifest.enabled", "delta.enableVariantShredding",
	} {
		rules[name] = oneOf("true", "false")
	}
	for _, name := range []string{PropLogRetention, PropDeletedRetention, PropTxnRetention, PropForgetTxns} {
		rules[name] = func(v string) error { _, err := ParseInterval(v); return err }
	}
	for _, name := range []string{propICTVersion, propICTTime, "delta.requireCheckpointProtectionBeforeVersion"} {
		rules[name] = atLeast(0)
	}
	return rules
}()

func atLeast(least int64) propertyRule {
	return func(v string) error {
		if n, err := strconv.ParseInt(v, 10, 64); err != nil || n < least {
			return fmt.Errorf("want a whole number of at least %d", least)
		}
		return nil
	}
}

func oneOf(values ...string) propertyRule {
	return func(v string) error {
		if !slices.ContainsFunc(values, func(w string) bool { return strings.EqualFold(v, w) }) {
			return fmt.Errorf("want %s", strings.Join(values, ", "))
		}
		return nil
	}
}

// checkProperties refuses malformed values of known properties that a commit
// sets or changes. What is there stays, and so do properties that are not
// known: they are others'. An empty value is as none.
func (t *Transaction) checkProperties(m *Metadata, s *Schema) error {
	for key, value := range m.Configuration {
		rule, known := propertyRules[key]
		if !known || value == "" || t.base != nil && t.base.Property(key) == value || t.restores {
			continue
		}
		if err := rule(value); err != nil {
			return invalidf("the property %s cannot be %q: %w", key, value, err)
		}
	}
	if names := m.Property(PropStatsColumns); names != "" && !t.restores && (t.base == nil || t.base.Property(PropStatsColumns) != names) {
		return checkStatsColumns(names, m, s)
	}
	return nil
}

// CheckStatsColumns reports what is wrong with the columns that a table's metadata want
// statistics of ([PropStatsColumns]), as a commit that sets them does; nil where they
// say nothing.
func CheckStatsColumns(m *Metadata) error {
	names := m.Property(PropStatsColumns)
	if names == "" {
		return nil
	}
	s, err := schemaOf(m)
	if err != nil {
		return err
	}
	return checkStatsColumns(names, m, s)
}

// checkStatsColumns refuses columns that can have no statistics, as Spark does.
func checkStatsColumns(names string, m *Metadata, s *Schema) error {
	listed, err := parseColumnList(names)
	if err != nil {
		return invalidf("%s: %w", PropStatsColumns, err)
	}
	for _, path := range listed {
		var typ Type = s
		for _, name := range path {
			st, ok := typ.(*Struct)
			i := -1
			if ok {
				i = slices.IndexFunc(st.Fields, func(f Field) bool { return strings.EqualFold(f.Name, name) })
			}
			if i < 0 {
				return invalidf("%s names %q, which is no column", PropStatsColumns, strings.Join(path, "."))
			}
			typ = st.Fields[i].Type
		}
		switch typ.(type) {
		case *Array, *Map:
			return invalidf("%s names %q, of whose type %s there are no bounds", PropStatsColumns, strings.Join(path, "."), typ)
		}
		if len(path) == 1 && slices.ContainsFunc(m.PartitionColumns, func(c string) bool { return strings.EqualFold(c, path[0]) }) {
			return invalidf("%s names the partition column %q", PropStatsColumns, path[0])
		}
	}
	return nil
}

// parseBytes reads a size as Spark's properties hold it: a number of bytes, or
// of b, k, m, g, t, p, each with or without another b.
func parseBytes(text string) (int64, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	shift, ok := map[string]int{
		"": 0, "b": 0, "k": 10, "kb": 10, "m": 20, "mb": 20, "g": 30, "gb": 30, "t": 40, "tb": 40, "p": 50, "pb": 50,
	}[text[len(number):]]
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || !ok || n < 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is no size in bytes", text)
	}
	return n << shift, nil
}
