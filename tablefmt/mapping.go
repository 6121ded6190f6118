package tablefmt

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// MappingMode says by what the columns of a table are found in its files.
// (Column Mapping)
type MappingMode string

// The modes.
const (
	// MappingNone finds them by the names of the schema.
	MappingNone MappingMode = "none"
	// MappingName finds them by physical names, which stay when a column is
	// renamed.
	MappingName MappingMode = "name"
	// MappingID finds them by field ids. Partition values and statistics have
	// physical names as in MappingName.
	MappingID MappingMode = "id"
)

// Table properties of column mapping.
const (
	PropMappingMode = "delta.columnMapping.mode"
	// PropMaxColumnID is the greatest id that a column was ever given.
	PropMaxColumnID = "delta.columnMapping.maxColumnId"
)

// Keys of a column's metadata in a table whose columns are mapped.
const (
	MetaColumnID     = "delta.columnMapping.id"
	MetaPhysicalName = "delta.columnMapping.physicalName"
	// metaNestedIDs holds the ids of list elements and of maps' keys and
	// values, by path: "PHYSICAL.element", "PHYSICAL.value.key". Tables that
	// are to be read as Iceberg have them. (Writer Requirements for
	// IcebergCompatV2)
	metaNestedIDs = "delta.columnMapping.nested.ids"
)

// wantedMapping is the mode that the table's property asks for.
func wantedMapping(m *Metadata) (MappingMode, error) {
	switch mode := MappingMode(strings.ToLower(m.Property(PropMappingMode))); mode {
	case "":
		return MappingNone, nil
	case MappingNone, MappingName, MappingID:
		return mode, nil
	default:
		return "", fmt.Errorf("the column mapping mode %q (%s) is not known", mode, PropMappingMode)
	}
}

// mappingOf is the mode that a table is in: the property counts only where the
// protocol supports column mapping. (Reader Requirements for Column Mapping)
func mappingOf(p *Protocol, m *Metadata) (MappingMode, error) {
	if p.MinReaderVersion != 2 && !slices.Contains(p.ReaderFeatures, "columnMapping") {
		return MappingNone, nil
	}
	return wantedMapping(m)
}

// physicalName is the name that a column has in data files, partition values
// and statistics; "" where the schema does not tell.
func (mode MappingMode) physicalName(f *Field) string {
	if mode == MappingNone {
		return f.Name
	}
	name, _ := f.Metadata[MetaPhysicalName].(string)
	return name
}

// columnID is the id of a column; ok is false where it has none, or none that
// Parquet could hold.
func columnID(f *Field) (id int32, ok bool) {
	return idOf(f.Metadata[MetaColumnID])
}

func idOf(v any) (id int32, ok bool) {
	var n int64
	switch v := v.(type) {
	case json.Number:
		var err error
		if n, err = v.Int64(); err != nil {
			return 0, false
		}
	case int:
		n = int64(v)
	case int32:
		n = int64(v)
	case int64:
		n = v
	default:
		return 0, false
	}
	return int32(n), n > 0 && n <= math.MaxInt32
}

// nestedIDs are the ids of what is inside of a column without being a column.
func nestedIDs(f *Field) map[string]any {
	ids, _ := f.Metadata[metaNestedIDs].(map[string]any)
	return ids
}

// checkMapped refuses a schema whose columns cannot be found in files: one
// without what the mode looks for, or two with the same. It asks for no more
// than reading needs; see checkMapping for what a writer must keep.
func (mode MappingMode) checkMapped(s *Schema) error {
	if mode == MappingNone {
		return nil
	}
	ids := make(map[int32]string)
	return walkStructs(s, "", func(at string, s *Struct) error {
		names := make(map[string]string, len(s.Fields))
		for i := range s.Fields {
			f := &s.Fields[i]
			physical := mode.physicalName(f)
			if physical == "" {
				return fmt.Errorf("column %q has no physical name (%s)", at+f.Name, MetaPhysicalName)
			}
			if other, ok := names[physical]; ok {
				return fmt.Errorf("columns %q and %q have the same physical name %q", at+other, at+f.Name, physical)
			}
			names[physical] = f.Name
			if mode != MappingID {
				continue
			}
			id, ok := columnID(f)
			if !ok {
				return fmt.Errorf("column %q has no id (%s)", at+f.Name, MetaColumnID)
			}
			if other, ok := ids[id]; ok {
				return fmt.Errorf("columns %q and %q have the same id %d", other, at+f.Name, id)
			}
			ids[id] = at + f.Name
		}
		return nil
	})
}

// maxColumnID is the greatest id that the table says a column was ever given.
func maxColumnID(m *Metadata) (int32, error) {
	text := m.Property(PropMaxColumnID)
	id, err := strconv.ParseInt(text, 10, 32)
	if err != nil || id < 0 {
		return 0, fmt.Errorf("%s is %q, which is no id of a column", PropMaxColumnID, text)
	}
	return int32(id), nil
}

// Mapping says by what columns are found in the table's files.
func (s *Snapshot) Mapping() MappingMode { return s.st.mapping }

// PhysicalName is the name that a column of the table has in
// [AddFile.PartitionValues] and in statistics; ok is false where there is no
// such column.
func (s *Snapshot) PhysicalName(column string) (name string, ok bool) {
	i := s.st.schema.Index(column)
	if i < 0 {
		return "", false
	}
	return s.st.mapping.physicalName(&s.st.schema.Fields[i]), true
}
