package typemap

import "github.com/lakeload/lakeload/tablefmt"

// metaAdded is the key under which a column of the lake that is not the
// source's says what it is: the transform that it is derived by, or its own
// name.
const metaAdded = "lakeload.added"

// The columns that a table has beside the source's if it is asked for them.
const (
	ColIngested     = "_ingestion_timestamp"
	ColSourceSystem = "_source_system"
	ColDeleted      = "_deleted"
	ColDeletedAt    = "_deleted_at"
)

// AddedField is a column that the lake adds; what is its own name, or the
// transform that it is derived by.
func AddedField(name, what string, t tablefmt.Type) tablefmt.Field {
	return tablefmt.Field{Name: name, Type: t, Nullable: true, Metadata: map[string]any{metaAdded: what}}
}

// Added tells what a column is that the lake has added; not ok for all others.
func Added(f *tablefmt.Field) (what string, ok bool) {
	what, ok = f.Metadata[metaAdded].(string)
	return what, ok
}

// SameColumn finds in a schema the column that a field is of: by the source's
// id of it where both are known and, as byID says, of one table of the source,
// else by name; -1 where there is none.
func SameColumn(in *tablefmt.Schema, f *tablefmt.Field, byID bool) int {
	if !byID {
		return in.Index(f.Name)
	}
	if id := ColumnID(f); id != 0 {
		for i := range in.Fields {
			if ColumnID(&in.Fields[i]) == id {
				return i
			}
		}
	}
	i := in.Index(f.Name)
	if i >= 0 && ColumnID(f) != 0 && ColumnID(&in.Fields[i]) != 0 {
		return -1 // another one that has its name
	}
	return i
}

// Compared reports whether a column of the lake is compared with the source's
// of its name.
func Compared(f *tablefmt.Field) bool {
	_, added := Added(f)
	return !added && f.Name != Exact && !Dropped(f)
}
