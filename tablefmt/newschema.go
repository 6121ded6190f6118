package tablefmt

import (
	"maps"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

// SetSchema makes s the schema of m, which is to become a table's metadata
// ([Transaction.SetMetadata]), and keeps the books that the protocol wants of
// whoever changes a schema:
//
//   - Where the property [PropMappingMode] maps columns, each column that has no
//     id or physical name gets them, and [PropMaxColumnID] grows. (Writer
//     Requirements for Column Mapping) Where the table is kept compatible with
//     Iceberg, what is inside of lists and maps gets ids, too.
//   - Where the property [PropTypeWidening] allows that types widen, types that
//     do are recorded. (Writer Requirements for Type Widening)
//
// Both look at the schema that m has so far, if any. A column of s is the same
// as one of that schema if it has its physical name in its metadata, which is
// how a column is renamed, or else its name; it keeps what its metadata says of
// identity and former types. In a table that is mapped from now on, columns
// that were there keep the names that they have in files. Partition columns
// that are renamed are in m too.
//
// Nothing is refused for what it does to the table: the commit does that.
func (m *Metadata) SetSchema(s *Schema) error {
	mode, err := wantedMapping(m)
	if err != nil {
		return invalidf("%w", err)
	}
	b := bookkeeper{to: mode, nested: m.isTrue(propIcebergV2), widens: m.isTrue(PropTypeWidening)}
	old := new(Schema)
	if m.SchemaString != "" {
		if old, err = ParseSchema(m.SchemaString); err != nil {
			return err
		}
		b.from = MappingNone
		if columnsWith(MetaPhysicalName)(nil, old) {
			b.from = mode
		}
	}
	if mode != MappingNone {
		if b.last, err = lastColumnID(m, old, s); err != nil {
			return invalidf("%w", err)
		}
	}
	now, err := b.structOf(old, s)
	if err != nil {
		return err
	}
	for i, name := range m.PartitionColumns {
		if f, ok := old.Field(name); ok {
			if is := fieldCalled(now, b.to, b.from.physicalName(&f)); is != nil {
				m.PartitionColumns[i] = is.Name
			}
		}
	}
	if mode != MappingNone {
		m.Configuration = maps.Clone(m.Configuration)
		m.Configuration[PropMaxColumnID] = strconv.Itoa(int(b.last))
	}
	m.SchemaString = now.JSON()
	return nil
}

// lastColumnID is the greatest id that is known to have been given.
func lastColumnID(m *Metadata, schemas ...*Schema) (last int32, err error) {
	if m.Property(PropMaxColumnID) != "" {
		if last, err = maxColumnID(m); err != nil {
			return 0, err
		}
	}
	for _, s := range schemas {
		_ = walkStructs(s, "", func(_ string, s *Struct) error { // the callback never fails
			for i := range s.Fields {
				if id, ok := columnID(&s.Fields[i]); ok {
					last = max(last, id)
				}
				for _, v := range nestedIDs(&s.Fields[i]) {
					if id, ok := idOf(v); ok {
						last = max(last, id)
					}
				}
			}
			return nil
		})
	}
	return last, nil
}

// bookkeeper makes the fields of a new schema out of those wanted and those of
// the old one.
type bookkeeper struct {
	from, to MappingMode
	widens   bool
	nested   bool  // elements of lists, keys and values of maps have ids, too
	last     int32 // the greatest id given
}

func (b *bookkeeper) structOf(old, wanted *Struct) (*Struct, error) {
	// Whose name a column bears that was renamed from it is another column.
	taken := make(map[string]bool)
	for i := range wanted.Fields {
		if name, ok := wanted.Fields[i].Metadata[MetaPhysicalName].(string); ok {
			taken[name] = true
		}
	}
	out := &Struct{Fields: make([]Field, len(wanted.Fields))}
	for i := range wanted.Fields {
		f, err := b.field(b.before(old, &wanted.Fields[i], taken), &wanted.Fields[i])
		if err != nil {
			return nil, err
		}
		out.Fields[i] = f
	}
	return out, nil
}

// before finds the field that a wanted one was; nil for a new one.
func (b *bookkeeper) before(old *Struct, f *Field, taken map[string]bool) *Field {
	if name, ok := f.Metadata[MetaPhysicalName].(string); ok && b.to != MappingNone {
		return fieldCalled(old, b.from, name)
	}
	i := old.Index(f.Name)
	if i < 0 || b.to != MappingNone && taken[b.from.physicalName(&old.Fields[i])] {
		return nil
	}
	return &old.Fields[i]
}

func (b *bookkeeper) field(was, wanted *Field) (Field, error) {
	f := *wanted
	f.Metadata = maps.Clone(wanted.Metadata)
	set := func(key string, value any) {
		if f.Metadata == nil {
			f.Metadata = make(map[string]any)
		}
		f.Metadata[key] = value
	}
	if b.to != MappingNone {
		b.identify(was, &f, set)
	}
	old := Type(new(Struct))
	if was != nil {
		old = was.Type
	}
	t, changes, err := b.typeOf(old, wanted.Type, "")
	if err != nil {
		return f, err
	}
	f.Type = t
	if b.nested && b.to != MappingNone {
		b.identifyNested(&f, set)
	}
	if was == nil {
		return f, nil
	}
	return f, b.record(was, &f, changes, set)
}

// identify gives a field the identity of what it was, or a new one.
func (b *bookkeeper) identify(was, f *Field, set func(string, any)) {
	if was != nil {
		for _, key := range []string{MetaColumnID, metaNestedIDs} {
			if v, ok := was.Metadata[key]; ok && f.Metadata[key] == nil {
				set(key, v)
			}
		}
	}
	if _, ok := columnID(f); !ok {
		b.last++
		set(MetaColumnID, b.last)
	}
	if b.to.physicalName(f) != "" {
		return
	}
	if was != nil {
		set(MetaPhysicalName, b.from.physicalName(was))
	} else {
		set(MetaPhysicalName, "col-"+uuid.NewString())
	}
}

// identifyNested gives what is inside of a field its ids. (Writer Requirements
// for IcebergCompatV2)
func (b *bookkeeper) identifyNested(f *Field, set func(string, any)) {
	ids := maps.Clone(nestedIDs(f))
	for _, path := range nestedPaths(b.to.physicalName(f), f.Type) {
		if _, ok := idOf(ids[path]); ok {
			continue
		}
		if ids == nil {
			ids = make(map[string]any)
		}
		b.last++
		ids[path] = b.last
	}
	if len(ids) > 0 {
		set(metaNestedIDs, ids)
	}
}

// typeOf makes the type of a field, and tells which types widen in it, as far
// as they are not those of fields within.
func (b *bookkeeper) typeOf(old, wanted Type, path string) (Type, []typeChange, error) {
	switch t := wanted.(type) {
	case *Struct:
		o, ok := old.(*Struct)
		if !ok {
			o = new(Struct)
		}
		now, err := b.structOf(o, t)
		return now, nil, err
	case *Array:
		o, ok := old.(*Array)
		if !ok {
			o = &Array{Element: new(Struct)}
		}
		e, changes, err := b.typeOf(o.Element, t.Element, inner(path, "element"))
		return &Array{Element: e, ContainsNull: t.ContainsNull}, changes, err
	case *Map:
		o, ok := old.(*Map)
		if !ok {
			o = &Map{Key: new(Struct), Value: new(Struct)}
		}
		k, changes, err := b.typeOf(o.Key, t.Key, inner(path, "key"))
		if err != nil {
			return nil, nil, err
		}
		v, more, err := b.typeOf(o.Value, t.Value, inner(path, "value"))
		return &Map{Key: k, Value: v, ValueContainsNull: t.ValueContainsNull}, append(changes, more...), err
	}
	if b.widens && widening(old, wanted) {
		return wanted, []typeChange{{path, old, wanted}}, nil
	}
	return wanted, nil, nil
}

// record puts the types that a field had into its metadata, beside those that
// the caller has put there himself.
func (b *bookkeeper) record(was, f *Field, changes []typeChange, set func(string, any)) error {
	list, err := typeChanges(was)
	if err != nil {
		return err
	}
	known := len(list)
	if f.Metadata[metaTypeChanges] != nil {
		if list, err = typeChanges(f); err != nil {
			return invalidf("column %q: %w", f.Name, err)
		}
		known = min(known, len(list))
	}
	for _, c := range changes {
		if !slices.Contains(list[known:], c) {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		return nil
	}
	out := make([]any, len(list))
	for i, c := range list {
		out[i] = c.json()
	}
	set(metaTypeChanges, out)
	return nil
}
