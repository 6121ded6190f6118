package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// attribute is a column as pg_attribute has it.
type attribute struct {
	num        int16
	name       string
	typeOID    uint32
	typeMod    int32
	dims       int    // as declared
	typeName   string // with its modifier
	notNull    bool
	hasMissing bool
}

// shape is a table as the catalogue has it, seen by one query's snapshot.
type shape struct {
	oid          uint32
	schema, name string
	kind         byte // relkind
	identity     cdc.ReplicaIdentity
	columns      []attribute
	primary      []int16 // attribute numbers of the primary key, if it can serve as identity
	index        []int16 // of the index chosen by REPLICA IDENTITY USING INDEX
}

// Only an index that is valid, and checked at once and not at the end of the
// transaction, identifies rows for the server.
const (
	sqlShapes = `
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY ($1::oid[])
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`

	// A default that the server had to write into every row (serial, identity,
	// now()) leaves no missing value behind, so that any default counts.
	// Generated columns are not in the stream, unless a publication asks for
	// them, which ours do not.
	sqlColumns = `
SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.atthasmissing OR a.atthasdef OR a.attidentity <> '', a.attndims
  FROM pg_attribute a
 WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
 ORDER BY a.attrelid, a.attnum`

	sqlKeys = `
SELECT i.indrelid, i.indisprimary, i.indisreplident, k.attnum
  FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
 WHERE i.indrelid = ANY ($1::oid[]) AND (i.indisprimary OR i.indisreplident)
   AND i.indimmediate AND i.indisvalid AND k.n <= i.indnkeyatts
 ORDER BY i.indrelid, k.attnum`
)

// readShapes reads the present shapes of the tables that exist.
func readShapes(ctx context.Context, conn *pgconn.PgConn, oids []uint32) ([]*shape, error) {
	if len(oids) == 0 {
		return nil, nil
	}
	ids := oidArray(oids)
	rows, err := query(ctx, conn, sqlShapes, ids)
	if err != nil {
		return nil, fmt.Errorf("reading the catalogue's tables: %w", err)
	}
	shapes, byOID := make([]*shape, len(rows)), make(map[uint32]*shape, len(rows))
	for i, r := range rows {
		shapes[i] = &shape{oid: r.oid(0), schema: r.str(1), name: r.str(2), kind: r.char(3), identity: cdc.ReplicaIdentity(r.char(4))}
		byOID[shapes[i].oid] = shapes[i]
	}
	if rows, err = query(ctx, conn, sqlColumns, ids); err != nil {
		return nil, fmt.Errorf("reading the catalogue's columns: %w", err)
	}
	for _, r := range rows {
		if s := byOID[r.oid(0)]; s != nil {
			s.columns = append(s.columns, attribute{
				num: int16(r.int(1)), name: r.str(2), typeOID: r.oid(3), typeMod: int32(r.int(4)),
				typeName: r.str(5), notNull: r.bool(6), hasMissing: r.bool(7), dims: int(r.int(8)),
			})
		}
	}
	if rows, err = query(ctx, conn, sqlKeys, ids); err != nil {
		return nil, fmt.Errorf("reading the catalogue's keys: %w", err)
	}
	for _, r := range rows {
		s := byOID[r.oid(0)]
		if s == nil {
			continue
		}
		if r.bool(1) {
			s.primary = append(s.primary, int16(r.int(3)))
		}
		if r.bool(2) {
			s.index = append(s.index, int16(r.int(3)))
		}
	}
	return shapes, nil
}

// keyNums are the attribute numbers of the columns that identify a row.
func (s *shape) keyNums() []int16 {
	switch s.identity {
	case cdc.IdentityIndex:
		return s.index
	case cdc.IdentityDefault, cdc.IdentityFull:
		return s.primary
	}
	return nil
}

// keyNames are the names of those columns, in the columns' order.
func (s *shape) keyNames() []string {
	var names []string
	for _, c := range s.columns {
		if slices.Contains(s.keyNums(), c.num) {
			names = append(names, c.name)
		}
	}
	return names
}

// relation makes the relation of a shape and how its columns are decoded.
func (s *shape) relation(types map[uint32]typeInfo, policies typePolicies) *tableInfo {
	t := &tableInfo{rel: &cdc.Relation{OID: s.oid, Schema: s.schema, Name: s.name, Identity: s.identity}}
	for i, c := range s.columns {
		ct := resolveColumn(c.typeOID, c.typeMod, c.dims, types[c.typeOID], policies.of(s.schema, s.name, c.name))
		t.cols = append(t.cols, ct)
		t.rel.Columns = append(t.rel.Columns, cdc.Column{
			Name: c.name, Type: ct.arrowType(), SourceType: c.typeName, TypeOID: c.typeOID, TypeMod: c.typeMod,
			Shape: ct.shape, NotNull: c.notNull, HasMissing: c.hasMissing,
		})
		if slices.Contains(s.keyNums(), c.num) {
			t.rel.Key = append(t.rel.Key, i)
		}
	}
	t.rel.InsertOnly = keyless(t.rel)
	return t
}

// keyless tells whether updates and deletes of the table cannot be published.
func keyless(r *cdc.Relation) bool { return len(r.Key) == 0 && r.Identity != cdc.IdentityFull }
