// Package typemap says which column of the lake a column of the source
// becomes, and what a change of the source's columns means for a table that
// exists. It is pure. The other half of the mapping, which Arrow type a
// source builds a value in, is the source's (docs/TYPES.md has both).
package typemap

import (
	"fmt"
	"strings"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/tablefmt"
)

// Exact is the name of the column that holds, by column name, the exact text
// of values which their own column cannot hold. It is added to a table when
// the first such value comes.
const Exact = "_lakeload_exact"

// The keys under which a lake's column remembers its source (field metadata).
const (
	metaSourceType = "lakeload.sourceType" // for people: numeric(10,2)
	metaTypeID     = "lakeload.typeId"     // OID:typmod, and :shape for what holds composites
)

// The columns that a changelog has beside the source's.
const (
	ColOp         = "_op"
	ColLSN        = "_lsn"
	ColSeq        = "_seq"
	ColXID        = "_xid"
	ColCommitTime = "_commit_time"
	ColUnchanged  = "_unchanged"
)

// ChangelogColumns are the columns that a changelog has beside the source's,
// in their order.
func ChangelogColumns() []tablefmt.Field {
	return []tablefmt.Field{
		{Name: ColOp, Type: tablefmt.Primitive("string"), Nullable: true},
		{Name: ColLSN, Type: tablefmt.Primitive("long"), Nullable: true},
		{Name: ColSeq, Type: tablefmt.Primitive("long"), Nullable: true},
		{Name: ColXID, Type: tablefmt.Primitive("long"), Nullable: true},
		{Name: ColCommitTime, Type: tablefmt.Primitive("timestamp"), Nullable: true},
		{Name: ColUnchanged, Type: &tablefmt.Array{Element: tablefmt.Primitive("string"), ContainsNull: false}, Nullable: true},
	}
}

// ExactField is the column named Exact.
func ExactField() tablefmt.Field {
	return tablefmt.Field{
		Name: Exact, Nullable: true,
		Type: &tablefmt.Map{Key: tablefmt.Primitive("string"), Value: tablefmt.Primitive("string"), ValueContainsNull: true},
	}
}

// Reserved reports whether no table of the lake can have a source column of
// this name: it is ours, or the change data feed's. A changelog's own columns
// are in the way of a changelog only.
func Reserved(name string) bool {
	switch strings.ToLower(name) {
	case Exact, "_commit_timestamp", "_commit_version", "_change_type":
		return true
	}
	return false
}

// Incompatible says that a table of the lake cannot follow its source's shape.
type Incompatible struct {
	Column string
	Reason string
}

func (e *Incompatible) Error() string { return fmt.Sprintf("column %q: %s", e.Column, e.Reason) }

// Schema gives the columns of a new table: the relation's, then extra.
func Schema(rel *cdc.Relation, extra ...tablefmt.Field) (*tablefmt.Schema, error) {
	s := &tablefmt.Schema{}
	for i := range rel.Columns {
		f, err := Field(&rel.Columns[i])
		if err != nil {
			return nil, err
		}
		s.Fields = append(s.Fields, f)
	}
	s.Fields = append(s.Fields, extra...)
	if err := s.CheckNames(false); err != nil {
		return nil, fmt.Errorf("the columns of %s: %w", rel, err)
	}
	return s, nil
}

// Field gives the lake's column for a source's.
func Field(c *cdc.Column) (tablefmt.Field, error) {
	if Reserved(c.Name) {
		return tablefmt.Field{}, &Incompatible{Column: c.Name, Reason: "the name is reserved in the lake"}
	}
	t, err := tablefmt.TypeFromArrow(c.Type)
	if err != nil {
		return tablefmt.Field{}, &Incompatible{Column: c.Name, Reason: fmt.Sprintf("its type %s has no type in the lake: %v", c.SourceType, err)}
	}
	return tablefmt.Field{Name: c.Name, Type: t, Nullable: true, Metadata: map[string]any{
		metaSourceType: c.SourceType, metaTypeID: typeID(c),
	}}, nil
}

func typeID(c *cdc.Column) string {
	id := fmt.Sprintf("%d:%d", c.TypeOID, c.TypeMod)
	if c.Shape != "" {
		id += ":" + c.Shape
	}
	return id
}

// Evolve compares a table's columns with the relation's present ones. It
// gives nil where they agree, and the new columns where the relation has more.
// Everything else is *Incompatible. own says which columns are the table's
// own, not the source's.
func Evolve(table *tablefmt.Schema, rel *cdc.Relation, own func(name string) bool) (*tablefmt.Schema, error) {
	seen := make(map[string]bool, len(rel.Columns))
	var added []tablefmt.Field
	for i := range rel.Columns {
		c := &rel.Columns[i]
		seen[c.Name] = true
		want, err := Field(c)
		if err != nil {
			return nil, err
		}
		have, ok := table.Field(c.Name)
		if !ok {
			if c.HasMissing {
				return nil, &Incompatible{Column: c.Name, Reason: "it was added with a default, which older rows of the source may show and the lake's do not"}
			}
			added = append(added, want)
			continue
		}
		if have.Name != c.Name || own(have.Name) {
			return nil, &Incompatible{Column: c.Name, Reason: fmt.Sprintf("the table has a column %q already", have.Name)}
		}
		if id, ok := have.Metadata[metaTypeID].(string); (ok && id != typeID(c)) || have.Type.String() != want.Type.String() {
			return nil, &Incompatible{Column: c.Name, Reason: changedType(have, want, c)}
		}
	}
	for _, f := range table.Fields {
		if !own(f.Name) && !seen[f.Name] {
			return nil, &Incompatible{Column: f.Name, Reason: "it was dropped or renamed at the source"}
		}
	}
	if added == nil {
		return nil, nil
	}
	next := &tablefmt.Schema{Fields: append(append([]tablefmt.Field(nil), table.Fields...), added...)}
	if err := next.CheckNames(false); err != nil {
		return nil, fmt.Errorf("the columns of %s: %w", rel, err)
	}
	return next, nil
}

// changedType says how a column's type changed, for people: by its name at the
// source, or where that stayed by its type in the lake.
func changedType(have, want tablefmt.Field, c *cdc.Column) string {
	was := have.Metadata[metaSourceType]
	switch {
	case was != c.SourceType:
		return fmt.Sprintf("its type changed from %v to %s", was, c.SourceType)
	case have.Type.String() != want.Type.String():
		return fmt.Sprintf("its type %s is now stored as %s, and was as %s", c.SourceType, want.Type, have.Type)
	}
	return fmt.Sprintf("its type %s was altered", c.SourceType)
}
