package tablefmt

import (
	"fmt"
	"slices"
)

// checkMapping refuses metadata that breaks the rules for the columns of a
// mapped table: base is the table as it is, nil for a new one, and stays says
// that files of its stay. (Writer Requirements for Column Mapping)
func checkMapping(base *Snapshot, mode MappingMode, m *Metadata, s *Schema, stays bool) error {
	was := MappingNone
	if base != nil {
		was = base.Mapping()
		if was != mode && (was != MappingNone || mode != MappingName) {
			return invalidf("the column mapping of a table (%s) cannot turn from %q to %q, only from none to name", PropMappingMode, was, mode)
		}
	}
	if mode == MappingNone {
		return nil
	}
	if err := mode.checkMapped(s); err != nil {
		return invalidf("%w", err)
	}
	ids, err := columnIDs(s)
	if err != nil {
		return invalidf("%w", err)
	}
	most, err := maxColumnID(m)
	if err != nil {
		return invalidf("%w", err)
	}
	for id, name := range ids {
		if id > most {
			return invalidf("column %q has the id %d, and %s is %d", name, id, PropMaxColumnID, most)
		}
	}
	if base == nil {
		return nil
	}
	if was == MappingNone {
		if !stays {
			return nil
		}
		return checkFirstNames(base.Schema(), s, "")
	}
	given, err := maxColumnID(base.Metadata())
	if err != nil {
		return invalidf("%w", err)
	}
	if most < given {
		return invalidf("%s cannot go back from %d to %d", PropMaxColumnID, given, most)
	}
	return checkIdentities(base.Schema(), s, mode, given, "")
}

// columnIDs gives the ids of all columns and of what is inside of them, and
// refuses a schema in which one is missing or given twice.
func columnIDs(s *Schema) (map[int32]string, error) {
	ids := make(map[int32]string)
	give := func(v any, name, key string) error {
		id, ok := idOf(v)
		if !ok {
			return fmt.Errorf("column %q has no id (%s)", name, key)
		}
		if other, ok := ids[id]; ok {
			return fmt.Errorf("columns %q and %q have the same id %d", other, name, id)
		}
		ids[id] = name
		return nil
	}
	return ids, walkStructs(s, "", func(at string, s *Struct) error {
		for i := range s.Fields {
			f := &s.Fields[i]
			if err := give(f.Metadata[MetaColumnID], at+f.Name, MetaColumnID); err != nil {
				return err
			}
			nested := nestedIDs(f)
			for _, path := range sortedKeys(nested) {
				if err := give(nested[path], at+f.Name+" ("+path+")", metaNestedIDs); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// checkFirstNames refuses a mapping under which what the files have of a column
// would be lost: when a table is mapped first, its columns' physical names are
// those that they have in the files.
func checkFirstNames(old, new *Struct, at string) error {
	for i := range new.Fields {
		f := &new.Fields[i]
		physical := MappingName.physicalName(f)
		was := fieldCalled(old, MappingNone, physical)
		if was == nil {
			if old.Index(f.Name) >= 0 {
				return invalidf("column %q gets the physical name %q, but is %q in files that stay", at+f.Name, physical, f.Name)
			}
			continue
		}
		_, err := compareTypes(was.Type, f.Type, "", func(path string, old, new *Struct) error {
			return checkFirstNames(old, new, inner(at+f.Name, path)+".")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkIdentities refuses columns that changed one half of their identity, and
// new ones with an id that was given before, perhaps to a column that is gone.
func checkIdentities(old, new *Struct, mode MappingMode, given int32, at string) error {
	var known []int32
	for i := range old.Fields {
		id, _ := columnID(&old.Fields[i])
		known = append(known, id)
	}
	for i := range new.Fields {
		f := &new.Fields[i]
		id, _ := columnID(f)
		was := fieldCalled(old, mode, mode.physicalName(f))
		if was == nil {
			if slices.Contains(known, id) {
				return invalidf("column %q has the id %d of another column", at+f.Name, id)
			}
			if err := checkFresh(f, given, at); err != nil {
				return err
			}
			continue
		}
		if wasID, ok := columnID(was); ok && wasID != id {
			return invalidf("column %q with the physical name %q had the id %d and cannot get %d", at+f.Name, mode.physicalName(f), wasID, id)
		}
		_, err := compareTypes(was.Type, f.Type, "", func(path string, old, new *Struct) error {
			return checkIdentities(old, new, mode, given, inner(at+f.Name, path)+".")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkFresh refuses a new column, with all in it, whose ids may have been
// those of others.
func checkFresh(f *Field, given int32, at string) error {
	ids, err := columnIDs(&Struct{Fields: []Field{*f}})
	if err != nil {
		return invalidf("%w", err)
	}
	for id, name := range ids {
		if id <= given {
			return invalidf("the new column %q has the id %d, but ids up to %d were given before (%s)", at+name, id, given, PropMaxColumnID)
		}
	}
	return nil
}
