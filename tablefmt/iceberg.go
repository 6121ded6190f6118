package tablefmt

import (
	"fmt"
	"slices"
	"strings"
)

// Table properties that keep a table such that it can be read as Iceberg.
const (
	propIcebergV1       = "delta.enableIcebergCompatV1"
	propIcebergV2       = "delta.enableIcebergCompatV2"
	propIcebergV3       = "delta.enableIcebergCompatV3"
	propIcebergWriterV1 = "delta.enableIcebergWriterCompatV1"
	propIcebergWriterV3 = "delta.enableIcebergWriterCompatV3"
)

// propertyIsTrue makes a feature active by a property.
func propertyIsTrue(property string) func(*Metadata, *Schema) bool {
	return func(m *Metadata, _ *Schema) bool { return m.isTrue(property) }
}

// icebergCompat is the version of Iceberg compatibility that is active, of those
// that are known here; 0 for none.
func icebergCompat(p *Protocol, m *Metadata) int {
	switch {
	case p.Has("icebergCompatV2") && m.isTrue(propIcebergV2):
		return 2
	case p.Has("icebergCompatV1") && m.isTrue(propIcebergV1):
		return 1
	}
	return 0
}

// checkIceberg refuses what Iceberg compatibility forbids of a table. (Writer
// Requirements for IcebergCompatV1, for IcebergCompatV2) That files hold the
// partition columns checkLayout sees to; instants are 64 bits in every file of
// ours.
func (t *Transaction) checkIceberg(p *Protocol, m *Metadata, s *Schema, mode MappingMode) error {
	v := icebergCompat(p, m)
	if v == 0 {
		return nil
	}
	no := func(format string, args ...any) error {
		return invalidf("the table is kept compatible with Iceberg (icebergCompatV%d): %w", v, fmt.Errorf(format, args...))
	}
	switch {
	case mode == MappingNone:
		return no("its columns must be mapped (%s)", PropMappingMode)
	case v == 2 && p.Has("icebergCompatV1") && m.isTrue(propIcebergV1):
		return no("%s is true, too", propIcebergV1)
	case v == 1 && p.Has("deletionVectors"):
		return no("its protocol must not list deletionVectors")
	case m.isTrue(PropDeletionVectors):
		return no("it must not have deletion vectors (%s)", PropDeletionVectors)
	}
	if t.base == nil || t.metadata != nil {
		if err := t.checkIcebergSchema(v, m, s, mode, no); err != nil {
			return err
		}
	}
	for i := range t.adds {
		a := &t.adds[i]
		if a.DeletionVector != nil {
			return no("%s has a deletion vector", a.Path)
		}
		if _, ok := a.NumRecords(); !ok {
			return no("the statistics of %s do not tell the number of rows", a.Path)
		}
	}
	return nil
}

func (t *Transaction) checkIcebergSchema(v int, m *Metadata, s *Schema, mode MappingMode, no func(string, ...any) error) error {
	if t.base != nil {
		if was := icebergCompat(t.base.Protocol(), t.base.Metadata()); was != v && t.base.NumFiles() > 0 {
			return &UnsupportedFeatureError{
				Feature: fmt.Sprintf("the feature %q", fmt.Sprintf("icebergCompatV%d", v)), Writing: true,
				Detail: "turning it on for files that are there, which may lack what it demands; Spark's REORG ... UPGRADE UNIFORM does so",
			}
		}
		if now, before := m.PartitionColumns, t.base.PartitionColumns(); len(before) > 0 && !slices.Equal(now, before) && t.metadata != nil {
			was := physicalNames(t.base.Mapping(), t.base.Schema(), before)
			if !slices.Equal(physicalNames(mode, s, now), was) {
				return no("it cannot be partitioned by other columns")
			}
		}
	}
	err := walkTypes(s, "", func(at string, typ Type) error {
		switch typ.(type) {
		case *Array, *Map:
			if v == 1 {
				return no("column %q is of type %s", at, typ)
			}
		}
		if typ == Void || typ == Variant {
			return no("column %q is of type %s", at, typ)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return walkStructs(s, "", func(at string, st *Struct) error {
		for i := range st.Fields {
			f := &st.Fields[i]
			changes, err := typeChanges(f)
			if err != nil {
				return invalidf("column %q: %w", at+f.Name, err)
			}
			for _, c := range changes {
				if !icebergWidens(c.from, c.to) {
					return no("column %q was widened from %s to %s", at+f.Name, c.from, c.to)
				}
			}
			if v < 2 {
				continue
			}
			for _, path := range nestedPaths(mode.physicalName(f), f.Type) {
				if _, ok := idOf(nestedIDs(f)[path]); !ok {
					return no("column %q has no id for %q (%s); Metadata.SetSchema gives ids", at+f.Name, path, metaNestedIDs)
				}
			}
		}
		return nil
	})
}

// icebergWidens reports whether Iceberg's second version knows a change of type.
// (Writer Requirements for Type Widening)
func icebergWidens(from, to Type) bool {
	if a, ok := from.(Decimal); ok {
		b, ok := to.(Decimal)
		return ok && a.Scale == b.Scale
	}
	ints := []Type{Byte, Short, Integer, Long}
	return from == Float && to == Double || slices.Contains(ints, from) && slices.Contains(ints, to)
}

// nestedPaths gives the paths of what is inside of a column without being a
// field of a struct: elements of lists, keys and values of maps.
func nestedPaths(at string, t Type) (out []string) {
	switch t := t.(type) {
	case *Array:
		p := at + ".element"
		return append([]string{p}, nestedPaths(p, t.Element)...)
	case *Map:
		k, v := at+".key", at+".value"
		out = append([]string{k}, nestedPaths(k, t.Key)...)
		return append(append(out, v), nestedPaths(v, t.Value)...)
	}
	return nil
}

// checkLayout refuses new files that lack the partition columns where the table
// wants them in files. (Materialize Partition Columns)
func (t *Transaction) checkLayout(p *Protocol, m *Metadata) error {
	if len(m.PartitionColumns) == 0 || !needsPartitions(p, m) || t.restores {
		return nil
	}
	for i := range t.adds {
		a := &t.adds[i]
		if t.base != nil {
			if _, there := t.base.File(a.Path); there {
				continue
			}
		}
		if !a.made.hasPartitions() {
			feature := "materializePartitionColumns"
			if v := icebergCompat(p, m); v > 0 {
				feature = fmt.Sprintf("icebergCompatV%d", v)
			}
			return &UnsupportedFeatureError{
				Feature: fmt.Sprintf("the feature %q", feature), Writing: true,
				Detail: fmt.Sprintf("%s does not hold the partition columns %s; the table's own writer makes files that do (Snapshot.NewFileWriter)", a.Path, strings.Join(m.PartitionColumns, ", ")),
			}
		}
	}
	return nil
}
