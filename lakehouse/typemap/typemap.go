// Package typemap says which column of the lake a column of the source
// becomes, and what a change of the source's columns means for a table that
// exists. It is pure. The other half of the mapping, which Arrow type a
// source builds a value in, is the source's (docs/TYPES.md has both).
package typemap

import (
	"encoding/json"
	"fmt"
	"strconv"
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
	metaColumnID   = "lakeload.columnId"   // the source's, which a rename does not change
	metaDropped    = "lakeload.dropped"    // true: the source has no such column any more
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

// Dropped reports whether a column of the lake is kept though the source has
// none any more.
func Dropped(f *tablefmt.Field) bool { return f.Metadata[metaDropped] == true }

// Incompatible says that a table of the lake cannot follow its source's shape.
type Incompatible struct {
	Column string
	Reason string
	// Resync says that the table is to be copied again, by policy, and not to
	// stop.
	Resync bool
}

func (e *Incompatible) Error() string { return fmt.Sprintf("column %q: %s", e.Column, e.Reason) }

// Schema gives the columns of a new table: the relation's, then extra. A table
// without columns, whose rows say no more than how many there are, has the
// column for exact texts: no file could hold them otherwise.
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
	if len(s.Fields) == 0 {
		s.Fields = append(s.Fields, ExactField())
	}
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
	meta := map[string]any{metaSourceType: c.SourceType, metaTypeID: typeID(c)}
	if c.ID != 0 {
		meta[metaColumnID] = json.Number(strconv.Itoa(int(c.ID)))
	}
	return tablefmt.Field{Name: c.Name, Type: t, Nullable: true, Metadata: meta}, nil
}

func typeID(c *cdc.Column) string {
	id := fmt.Sprintf("%d:%d", c.TypeOID, c.TypeMod)
	if c.Shape != "" {
		id += ":" + c.Shape
	}
	return id
}
