package cdc

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
)

// ReplicaIdentity is what an UPDATE or DELETE tells of the old row
// (pg_class.relreplident).
type ReplicaIdentity byte

// The replica identities of PostgreSQL.
const (
	IdentityDefault ReplicaIdentity = 'd' // the primary key
	IdentityNothing ReplicaIdentity = 'n' // nothing: updates and deletes cannot be published
	IdentityFull    ReplicaIdentity = 'f' // the whole old row
	IdentityIndex   ReplicaIdentity = 'i' // the columns of a chosen unique index
)

// Column is one column of a relation, as its source sends it.
type Column struct {
	Name string
	// Type is the Arrow type in which the source builds this column's values.
	// Where the column of the lake cannot hold a value, the slot is null and
	// the exact text is in [Batch.Exact].
	Type arrow.DataType
	// SourceType is the source's own name of the type, with its modifier,
	// for people: "numeric(10,2)".
	SourceType string
	// TypeOID and TypeMod identify the source's type; a change of either is a
	// change of the column.
	TypeOID uint32
	TypeMod int32
	// Shape identifies what TypeOID does not: the fields of composite types
	// within the type, which can be altered. A change of it is a change of the
	// column. Empty where there are none, or the column does not depend on them.
	Shape string
	// NotNull is the source's constraint. The lake's column stays nullable.
	NotNull bool
	// ID identifies the column for as long as it lives, whatever its name
	// (PostgreSQL's attnum); 0 where nobody can tell, because the catalogue has
	// gone on from what the stream says. It is what the catalogue says now of a
	// column of this name and type: where columns were dropped since (see
	// Relation.Dropped) it may be another one's.
	ID int32
	// Missing is what rows read as that are older than the column.
	Missing Missing
}

// MissingKind divides what rows that are older than a column read as.
type MissingKind uint8

// The kinds.
const (
	// MissingNull: NULL, as for a column that was added without a default. If the
	// rows were written anew since it is there (see Relation.Rewritten) they may
	// hold anything, since that is how a source adds a column whose default is
	// not one value.
	MissingNull MissingKind = iota
	// MissingValue: one and the same value.
	MissingValue
	// MissingUnknown: each row may read as something else, which the stream does
	// not tell; only a new copy does.
	MissingUnknown
)

// Missing is what rows that are older than a column read as.
type Missing struct {
	Kind MissingKind
	// Value is, for MissingValue, an array of one value of the column's type.
	// It is shared and never released.
	Value arrow.Array
	// Exact is the source's text of a value that the type cannot hold; Value is
	// then null.
	Exact string
}

// Relation is a table in one shape. A source makes a new Relation whenever
// the shape changes and never alters one that it has handed out; two pointers
// that differ may still describe the same shape, see [Relation.SameShape].
type Relation struct {
	OID      uint32
	Schema   string
	Name     string
	Identity ReplicaIdentity
	Columns  []Column
	// Key lists the columns (indices into Columns) that identify a row: the
	// replica identity's columns, or under IdentityFull the primary key's.
	// Empty: rows have no identity, and only inserts and truncates arrive
	// (see InsertOnly), or whole old rows do (IdentityFull).
	Key []int
	// InsertOnly says that the source publishes inserts and truncates of this
	// table alone, because it has no usable identity.
	InsertOnly bool
	// Files are the files that hold the rows, by the OID of the table or
	// partition: another number means that all its rows were written anew, by
	// whatever. Nil where nobody can tell.
	Files map[uint32]uint32
	// Ahead says that Files, and what the columns tell of missing values, are of a
	// time at which the table had columns more: rows may have been written anew for
	// those.
	Ahead bool
	// Dropped is the highest Column.ID of a column that is gone, 0 for none or
	// where nobody can tell. IDs are given in ascending order.
	Dropped int32
	// Later is, where the ids of the columns are not known, what the catalogue has
	// gone on to; nil where they are known, or nobody can tell.
	Later *Later
	// Beneath is for a source that stands before another one and shows less than
	// that has: the relation that the inner one has made. Nil for all others.
	Beneath *Relation
}

// Later is what a catalogue tells of a table whose columns are not those of a
// relation any more.
type Later struct {
	Columns []LaterColumn
	Dropped int32 // as Relation.Dropped
}

// LaterColumn is a column that the table has later on, perhaps by another name.
type LaterColumn struct {
	ID      int32
	TypeOID uint32
	TypeMod int32
}

// Has reports whether a column is still there.
func (l *Later) Has(id int32) bool {
	return slices.ContainsFunc(l.Columns, func(c LaterColumn) bool { return c.ID == id })
}

// MayReplace reports whether a column of a type may be another one than a
// column that was there, of the same name: that one is gone, and one came after
// all those up to highest that has the type, or is gone, too.
func (l *Later) MayReplace(id int32, c *Column, highest int32) bool {
	return !l.Has(id) && (l.Dropped > highest || slices.ContainsFunc(l.Columns, func(is LaterColumn) bool {
		return is.ID > highest && is.TypeOID == c.TypeOID && is.TypeMod == c.TypeMod
	}))
}

// Rewritten reports whether rows of the table were written anew since it was
// as before says, or nobody can tell.
func (r *Relation) Rewritten(before map[uint32]uint32) bool {
	if r.Files == nil || before == nil {
		return true
	}
	for oid, file := range r.Files {
		if was, ok := before[oid]; ok && was != file {
			return true
		}
	}
	return false
}

// String is the qualified name, for people.
func (r *Relation) String() string { return r.Schema + "." + r.Name }

// SameShape reports whether rows of r and o have the same columns, types and
// key, so that their batches may be mixed.
func (r *Relation) SameShape(o *Relation) bool {
	if r == o {
		return true
	}
	if r == nil || o == nil || r.OID != o.OID || r.Schema != o.Schema || r.Name != o.Name ||
		r.Identity != o.Identity || r.InsertOnly != o.InsertOnly ||
		len(r.Columns) != len(o.Columns) || len(r.Key) != len(o.Key) {
		return false
	}
	for i := range r.Columns {
		a, b := &r.Columns[i], &o.Columns[i]
		if a.Name != b.Name || a.TypeOID != b.TypeOID || a.TypeMod != b.TypeMod || a.Shape != b.Shape || !arrow.TypeEqual(a.Type, b.Type) {
			return false
		}
	}
	for i := range r.Key {
		if r.Key[i] != o.Key[i] {
			return false
		}
	}
	return true
}

// SameColumns reports whether r and o have one shape and the very same columns: one
// that was dropped and made anew, by the same name and of the same type, is
// another one, and rows that were there have another value of it. Columns whose
// ids are not known are not known to be the same, unless r is o.
func (r *Relation) SameColumns(o *Relation) bool {
	if r == o {
		return true
	}
	if !r.SameShape(o) {
		return false
	}
	for i := range r.Columns {
		if x, y := r.Columns[i].ID, o.Columns[i].ID; x != y || x == 0 {
			return false
		}
	}
	return true
}

// Arrow gives the schema of a batch's rows: one nullable field a column.
func (r *Relation) Arrow() *arrow.Schema {
	fields := make([]arrow.Field, len(r.Columns))
	for i := range r.Columns {
		fields[i] = arrow.Field{Name: r.Columns[i].Name, Type: r.Columns[i].Type, Nullable: true}
	}
	return arrow.NewSchema(fields, nil)
}

// IsKey reports whether column i belongs to the key.
func (r *Relation) IsKey(i int) bool {
	for _, k := range r.Key {
		if k == i {
			return true
		}
	}
	return false
}
