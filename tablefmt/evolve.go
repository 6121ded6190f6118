package tablefmt

import "slices"

// evolution is a table's schema turning into another one while files that were
// written under the old one stay.
type evolution struct {
	from, to MappingMode
	widens   bool // types may be widened
}

// before finds the field that a field of the new schema was; nil for a new one.
func (e evolution) before(old *Struct, f *Field) *Field {
	return fieldCalled(old, e.from, e.to.physicalName(f))
}

// fieldCalled gives the field of a struct that has a physical name.
func fieldCalled(s *Struct, mode MappingMode, physical string) *Field {
	for i := range s.Fields {
		if mode.physicalName(&s.Fields[i]) == physical {
			return &s.Fields[i]
		}
	}
	return nil
}

// check refuses a schema under which files written under the old one would be
// read wrongly.
func (e evolution) check(old, new *Struct, at string) error {
	for i := range new.Fields {
		f := &new.Fields[i]
		was := e.before(old, f)
		if !f.Nullable && (was == nil || was.Nullable) {
			return invalidf("column %q cannot become required while files stay that may lack it", at+f.Name)
		}
		if was == nil {
			continue
		}
		changes, err := e.checkType(was.Type, f.Type, at+f.Name)
		if err != nil {
			return err
		}
		if err := checkRecorded(was, f, changes, at); err != nil {
			return err
		}
	}
	return nil
}

// checkType refuses a change of a column's type that files do not bear, and
// gives the ones that they do.
func (e evolution) checkType(old, new Type, at string) ([]typeChange, error) {
	changes, err := compareTypes(old, new, "", func(path string, old, new *Struct) error {
		return e.check(old, new, inner(at, path)+".")
	})
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		place := inner(at, c.path)
		switch {
		case !widening(c.from, c.to):
			return nil, invalidf("column %q cannot turn from %s to %s while files of the old type stay", place, c.from, c.to)
		case !e.widens:
			return nil, invalidf("column %q cannot turn from %s to %s while files of the old type stay: the table does not allow that types widen (%s, with the feature typeWidening)",
				place, c.from, c.to, PropTypeWidening)
		}
	}
	return changes, nil
}

// compareTypes gives the types within a column that differ, as far as they are
// not those of a struct's fields: structs is called for each two structs in
// the same place, nil to pass them by.
func compareTypes(old, new Type, path string, structs func(path string, old, new *Struct) error) ([]typeChange, error) {
	switch n := new.(type) {
	case *Struct:
		if o, ok := old.(*Struct); ok {
			return nil, structs(path, o, n)
		}
	case *Array:
		if o, ok := old.(*Array); ok {
			return compareTypes(o.Element, n.Element, inner(path, "element"), structs)
		}
	case *Map:
		if o, ok := old.(*Map); ok {
			keys, err := compareTypes(o.Key, n.Key, inner(path, "key"), structs)
			if err != nil {
				return nil, err
			}
			values, err := compareTypes(o.Value, n.Value, inner(path, "value"), structs)
			return append(keys, values...), err
		}
	default:
		if old == new {
			return nil, nil
		}
	}
	return []typeChange{{path, old, new}}, nil
}

// inner is the path to a place within a column or on the way there.
func inner(path, step string) string {
	if path == "" || step == "" {
		return path + step
	}
	return path + "." + step
}

// checkRecorded refuses a field that forgets the types it had, or does not tell
// of a change that it goes through now. (Writer Requirements for Type Widening)
func checkRecorded(old, new *Field, changes []typeChange, at string) error {
	was, err := typeChanges(old)
	if err != nil {
		return invalidf("column %q: %w", at+old.Name, err)
	}
	is, err := typeChanges(new)
	if err != nil {
		return invalidf("column %q: %w", at+new.Name, err)
	}
	if len(is) < len(was) || !slices.Equal(is[:len(was)], was) {
		return invalidf("column %q loses the types that it had (%s) while files of them may stay", at+new.Name, metaTypeChanges)
	}
	for _, c := range changes {
		if !slices.Contains(is[len(was):], c) {
			return invalidf("column %q turns from %s to %s, of which its metadata (%s) does not tell", at+new.Name, c.from, c.to, metaTypeChanges)
		}
	}
	return nil
}
