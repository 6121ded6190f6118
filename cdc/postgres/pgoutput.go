package postgres

import "github.com/lakeload/lakeload/cdc"

// relationMessage is a Relation message of the stream: the table as it was
// when the changes that follow were made.
type relationMessage struct {
	OID      uint32
	Schema   string
	Name     string
	Identity cdc.ReplicaIdentity
	Columns  []relationColumn
}

// relationColumn is a published column of a relation.
type relationColumn struct {
	Name    string
	TypeOID uint32
	TypeMod int32
	Key     bool // part of the replica identity; all are under IdentityFull
}
