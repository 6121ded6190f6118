package postgres

import (
	"context"

	"github.com/lakeload/lakeload/cdc"
)

// tableInfo is a relation and how its columns are decoded, one each of
// rel.Columns.
type tableInfo struct {
	rel  *cdc.Relation
	cols []columnType
}

// catalog resolves the relations of a stream. The stream asks from its reader
// goroutine, each time the server sends a Relation message.
type catalog interface {
	// tableByOID describes the table of a Relation message: Columns are the
	// message's, in its order; the key, the types' names and HasMissing come
	// from the catalogue. It returns nil and no error where the table is
	// published but not selected: its changes are then left out.
	tableByOID(ctx context.Context, oid uint32, msg relationMessage) (*tableInfo, error)
}
