package lakehouse

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/partition"
	"github.com/lakeload/lakeload/lakehouse/typemap"
	"github.com/lakeload/lakeload/tablefmt"
)

// propMasks is the table property that says how the columns of a mirror's content
// are masked.
const propMasks = "lakeload.masks"

// propDelete is the table property that says what becomes of rows that the
// source deletes, where they stay.
const propDelete = "lakeload.delete"

// layout is what a table of the lake will be like.
type layout struct {
	schema    *tablefmt.Schema
	partition []string // its partition columns
}

// layOut makes the layout of a table kept by these options. base is the table
// as it is, nil for a new one. It is pure; the errors say what to mend.
func layOut(rel *cdc.Relation, mode Mode, o *TableOptions, base *tablefmt.Snapshot) (layout, error) {
	l, err := layOutColumns(rel, mode, o, base)
	if err == nil {
		return l, nil
	}
	remedy := "exclude the table, or rename the column at the source"
	var bad *optionError
	if errors.As(err, &bad) {
		remedy = bad.remedy
	}
	return l, &Error{Op: "laying out a table", Object: rel.String(), Kind: KindPreflight, Err: err, Remedy: remedy}
}

// optionError says that a table cannot be kept by an option.
type optionError struct {
	err    error
	remedy string
}

func (e *optionError) Error() string { return e.err.Error() }
func (e *optionError) Unwrap() error { return e.err }

func layOutColumns(rel *cdc.Relation, mode Mode, o *TableOptions, base *tablefmt.Snapshot) (l layout, err error) {
	added, err := addedFields(rel, mode, o)
	if err != nil {
		return l, err
	}
	transforms, err := transformsFor(mode, o, base)
	if err != nil {
		return l, &optionError{err, "mend partition_by of the table"}
	}
	for _, t := range transforms {
		f, err := partitionField(rel, t)
		if err != nil {
			return l, &optionError{err, "mend partition_by of the table; the old content stays readable meanwhile"}
		}
		if l.partition = append(l.partition, f.Name); t.Derived() {
			added = append(added, f)
		}
	}
	own := append(ownColumns(mode), added...)
	for _, f := range own {
		if slices.ContainsFunc(rel.Columns, func(c cdc.Column) bool { return strings.EqualFold(c.Name, f.Name) }) {
			return l, &optionError{
				fmt.Errorf("the source has a column %q, which the lake would add", f.Name),
				"rename the column at the source, or leave out the option that adds it: partition_by, metadata or delete: soft",
			}
		}
	}
	if l.schema, err = typemap.Schema(rel, own...); err != nil {
		return l, err
	}
	if len(l.partition) == len(l.schema.Fields) {
		return l, &optionError{errors.New("all columns are partition columns: none is left for the data files"), "leave a column out of partition_by"}
	}
	return l, nil
}

// addedFields are the columns that are asked for besides.
func addedFields(rel *cdc.Relation, mode Mode, o *TableOptions) (added []tablefmt.Field, err error) {
	for _, c := range o.Metadata {
		switch c {
		case MetadataIngested:
			added = append(added, typemap.AddedField(typemap.ColIngested, typemap.ColIngested, tablefmt.Timestamp))
		case MetadataSource:
			added = append(added, typemap.AddedField(typemap.ColSourceSystem, typemap.ColSourceSystem, tablefmt.String))
		default:
			return nil, &optionError{fmt.Errorf("the metadata column %q is not known", c), "use ingestion_timestamp or source_system"}
		}
	}
	if mode != ModeMirror {
		return added, nil
	}
	switch o.Delete {
	case DeleteSoft, DeleteIgnore:
		if len(rel.Key) == 0 {
			return nil, &optionError{
				fmt.Errorf("rows that were deleted cannot be kept (delete: %s) where no key tells which comes back", o.Delete),
				"give the table a primary key, or keep it with delete: hard, or as a changelog",
			}
		}
		if o.Delete == DeleteSoft {
			added = append(added,
				typemap.AddedField(typemap.ColDeleted, typemap.ColDeleted, tablefmt.Boolean),
				typemap.AddedField(typemap.ColDeletedAt, typemap.ColDeletedAt, tablefmt.Timestamp))
		}
	case "", DeleteHard:
	default:
		return nil, &optionError{fmt.Errorf("delete: %s is not known", o.Delete), "use hard, soft or ignore"}
	}
	switch o.ChangeFeed {
	case "", FeedOn, FeedOff:
	default:
		return nil, &optionError{fmt.Errorf("a change feed cannot be %q", o.ChangeFeed), "use on or off"}
	}
	switch o.Deletes {
	case "", DeletesVectors, DeletesRewrite:
		return added, nil
	}
	return nil, &optionError{fmt.Errorf("deletes: %s is not known", o.Deletes), "use vectors or rewrite"}
}

// transformsFor are what a table is partitioned by. Files are only ever added
// to a changelog, and Delta has one partitioning for all of them: it keeps the
// one that it was made with.
func transformsFor(mode Mode, o *TableOptions, base *tablefmt.Snapshot) ([]partition.Transform, error) {
	if mode != ModeChangelog || base == nil {
		return partition.ParseAll(o.PartitionBy)
	}
	var list []partition.Transform
	for _, name := range base.PartitionColumns() {
		t := partition.Transform{Column: name}
		if f, ok := base.Schema().Field(name); ok {
			if what, ok := typemap.Added(&f); ok {
				var err error
				if t, err = partition.Parse(what); err != nil {
					return nil, err
				}
			}
		}
		list = append(list, t)
	}
	return list, nil
}

// partitionField is the partition column of a transform.
func partitionField(rel *cdc.Relation, t partition.Transform) (f tablefmt.Field, err error) {
	i := slices.IndexFunc(rel.Columns, func(c cdc.Column) bool { return c.Name == t.Column })
	if i < 0 {
		names := make([]string, len(rel.Columns))
		for i := range rel.Columns {
			names[i] = rel.Columns[i].Name
		}
		return f, fmt.Errorf("it is to be partitioned by %s, and the source has no column %q; it has %s", t, t.Column, strings.Join(names, ", "))
	}
	if f, err = typemap.Field(&rel.Columns[i]); err != nil {
		return f, err
	}
	typ, err := t.Result(f.Type)
	if err != nil || !t.Derived() {
		return f, err
	}
	source := f.Type
	f = typemap.AddedField(t.Name(), t.String(), typ)
	f.Metadata[tablefmt.MetaGenerationExpression] = t.Expression(source)
	return f, nil
}

// madeBy reports whether a mirror is as these options make one: partitioned
// alike, with the same columns added, masked alike, and with the same ways of
// taking rows out.
func madeBy(o *TableOptions, rel *cdc.Relation, base *tablefmt.Snapshot) bool {
	l, err := layOutColumns(rel, ModeMirror, o, base)
	if err != nil || !slices.Equal(l.partition, base.PartitionColumns()) || !maps.Equal(addedTo(l.schema), addedTo(base.Schema())) {
		return false
	}
	was, is := maskedBy(base.Metadata()), maskedColumns{Columns: o.Masks, Mark: o.SaltMark}
	for i := range base.Schema().Fields {
		if f := &base.Schema().Fields[i]; was.of(f) != is.of(f) {
			return false
		}
	}
	props := o.describe(ModeMirror, rel, base)
	for _, name := range []string{tablefmt.PropDeletionVectors, propDelete, propBag} {
		if props[name] != base.Property(name) {
			return false
		}
	}
	return true
}

// addedTo tells what each column is that the lake has added to a table.
func addedTo(s *tablefmt.Schema) map[string]string {
	added := map[string]string{}
	for i := range s.Fields {
		if what, ok := typemap.Added(&s.Fields[i]); ok {
			added[s.Fields[i].Name] = what
		}
	}
	return added
}

// describe gives a table's properties that follow from how it is kept. base is the
// table as it is, nil for a new one: where the options do not say how rows are taken
// out, somebody may have said in the table that it is without deletion vectors.
func (o *TableOptions) describe(mode Mode, rel *cdc.Relation, base *tablefmt.Snapshot) map[string]string {
	if mode != ModeMirror {
		return map[string]string{tablefmt.PropAppendOnly: "true"}
	}
	props := map[string]string{}
	said := ""
	if base != nil {
		said = base.Property(tablefmt.PropDeletionVectors)
	}
	switch {
	case o.Deletes != DeletesVectors && strings.EqualFold(said, "false"):
		props[tablefmt.PropDeletionVectors] = said
	case o.Deletes != DeletesRewrite:
		props[tablefmt.PropDeletionVectors] = "true"
	}
	if o.Delete == DeleteSoft || o.Delete == DeleteIgnore {
		props[propDelete] = string(o.Delete)
	}
	if len(o.Masks) > 0 {
		props[propMasks] = maskedText(o)
	}
	if isBag(rel) {
		props[propBag] = "true"
	}
	return props
}
