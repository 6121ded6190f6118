package cdc

import (
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
	// HasMissing says that rows older than this column may read as a value that
	// is not NULL: it has a default, or had one when it was added.
	HasMissing bool
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
