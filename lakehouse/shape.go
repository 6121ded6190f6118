package lakehouse

import (
	"errors"
	"slices"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/typemap"
)

// adapt makes the table ready for rows of a relation, without touching rows
// that are there: it finds each column's place, adds columns that are new at
// the source, and refuses what the table cannot follow so.
func (t *table) adapt(rel *cdc.Relation) error {
	change, err := t.planChange(rel)
	if err != nil {
		return err
	}
	if change != nil {
		if change.Rewrite {
			return stopf(remedyResync, "the source's columns changed in a way that is not followed here: %v", change.Notes)
		}
		if err := t.stageChange(change, rel); err != nil {
			return err
		}
	}
	t.place(rel)
	return nil
}

// planChange says what has to become of the columns for rows of a relation; nil
// for nothing.
func (t *table) planChange(rel *cdc.Relation) (*typemap.Change, error) {
	if t.shape == rel {
		return nil, nil
	}
	if t.shape != nil && t.shape.SameColumns(rel) {
		t.shape = rel
		return nil, nil
	}
	policy := t.spec.policy
	policy.EnsureDefaults()
	if rel.String() != t.spec.state.SourceName() && policy.Rename != typemap.Follow {
		return nil, byPolicy(policy.Rename == typemap.Resync, "the source's table is now called %s", rel)
	}
	change, err := typemap.Plan(typemap.Input{
		Table: t.schema, Own: t.own, Rel: rel, Policy: policy,
		Rewritten: rel.Rewritten(t.spec.files()), Append: t.spec.mode == ModeChangelog, Highest: t.spec.state.Columns,
	})
	if err != nil {
		var inc *typemap.Incompatible
		resync := errors.As(err, &inc) && inc.Resync
		return nil, byPolicy(resync, "the source's columns changed in a way that is not followed: %v", err)
	}
	if key := t.renamedKey(change); !slices.Equal(key, keyNames(rel)) {
		return nil, byPolicy(policy.Type == typemap.Resync, "the source's key changed from %v to %v", key, keyNames(rel))
	}
	return change, t.keepsPartitions(change)
}

// keepsPartitions refuses a change of a column that the table is partitioned
// by: its files lie, and say, where its rows belong by the values of before. It
// is copied again, and stops then if it cannot be partitioned so any more.
func (t *table) keepsPartitions(change *typemap.Change) error {
	if change == nil {
		return nil
	}
	at := slices.Clone(t.added.partition)
	for _, d := range t.added.derived {
		at = append(at, d.from)
	}
	for _, i := range at {
		was := &t.schema.Fields[i]
		now := slices.IndexFunc(change.From, func(f typemap.From) bool { return f.Field == i })
		switch {
		case now < 0:
			return copyAgain("the column %q was dropped at the source, and the table is partitioned by it", was.Name)
		case change.Schema.Fields[now].Name != was.Name:
			return copyAgain("the column %q is now called %q, and the table is partitioned by it", was.Name, change.Schema.Fields[now].Name)
		case change.Schema.Fields[now].Type.String() != was.Type.String():
			return copyAgain("the column %q is now of type %s, and the table is partitioned by it", was.Name, change.Schema.Fields[now].Type)
		}
	}
	return nil
}

// byPolicy stops a table, or has it copied again.
func byPolicy(resync bool, format string, args ...any) error {
	if resync {
		return copyAgain(format, args...)
	}
	return stopf(remedyResync, format, args...)
}

// identified reports whether the ids of all columns are known.
func identified(rel *cdc.Relation) bool {
	return !slices.ContainsFunc(rel.Columns, func(c cdc.Column) bool { return c.ID == 0 })
}

// renamedKey gives the key's columns by the names that they have after a
// change.
func (t *table) renamedKey(change *typemap.Change) []string {
	if change == nil {
		return t.key
	}
	key := slices.Clone(t.key)
	for i, f := range change.Schema.Fields {
		if from := change.From[i].Field; from >= 0 {
			for k, name := range t.key {
				if t.schema.Fields[from].Name == name {
					key[k] = f.Name
				}
			}
		}
	}
	return key
}

// stageChange takes over the columns of a change.
func (t *table) stageChange(change *typemap.Change, rel *cdc.Relation) error {
	t.key = t.renamedKey(change)
	if err := t.stageSchema(change.Schema); err != nil {
		return err
	}
	t.notes = append(t.notes, change.Notes...)
	if rel.Files != nil && !rel.Ahead && identified(rel) {
		t.spec.newer = rel.Files
	}
	return nil
}

// place finds the columns' places in rows of a relation.
func (t *table) place(rel *cdc.Relation) {
	if t.shape == rel {
		return
	}
	t.columns = make([]int, len(t.schema.Fields))
	for i := range t.schema.Fields {
		f := &t.schema.Fields[i]
		t.columns[i] = slices.IndexFunc(rel.Columns, func(c cdc.Column) bool { return c.Name == f.Name })
		if t.own(f.Name) || typemap.Dropped(f) {
			t.columns[i] = -1
		}
	}
	t.shape = rel
}
