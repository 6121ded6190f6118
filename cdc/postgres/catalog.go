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
	num      int16
	name     string
	typeOID  uint32
	typeMod  int32
	dims     int    // as declared
	typeName string // with its modifier
	notNull  bool
	// missing are the texts of the values that rows read as that are older than
	// the column: one at most for a table, and for a partitioned one perhaps
	// several.
	missing []string
}

// shape is a table as the catalogue has it, seen by one query's snapshot.
type shape struct {
	oid          uint32
	schema, name string
	kind         byte // relkind
	identity     cdc.ReplicaIdentity
	columns      []attribute
	dropped      int16             // the highest number of a column that is gone
	files        map[uint32]uint32 // see [cdc.Relation.Files]
	primary      []int16           // attribute numbers of the primary key, if it can serve as identity
	index        []int16           // of the index chosen by REPLICA IDENTITY USING INDEX
}

// Only an index that is valid, and checked at once and not at the end of the
// transaction, identifies rows for the server.
const (
	sqlShapes = `
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY ($1::oid[])
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`

	// Generated columns are not in the stream, unless a publication asks for
	// them, which ours do not.
	sqlColumns = `
SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attndims, a.attisdropped
  FROM pg_attribute a
 WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND a.attgenerated = ''
 ORDER BY a.attrelid, a.attnum`

	// sqlTree follows tables to the partitions that hold their rows. One that is
	// being detached belongs to its table no more.
	sqlTree = `
WITH RECURSIVE tree (root, oid) AS (
  SELECT t, t FROM unnest($1::oid[]) AS u (t)
  UNION ALL
  SELECT tree.root, i.inhrelid
    FROM tree JOIN pg_class p ON p.oid = tree.oid AND p.relkind = 'p' JOIN pg_inherits i ON i.inhparent = p.oid AND NOT i.inhdetachpending
)`

	sqlTableFiles = sqlTree + `
SELECT tree.root, c.oid, c.relfilenode FROM tree JOIN pg_class c ON c.oid = tree.oid WHERE c.relkind <> 'p'`

	// A column of a table and of its partitions has one name, but not one number.
	sqlMissing = sqlTree + `
SELECT DISTINCT tree.root, a.attname, a.attmissingval::text FROM tree JOIN pg_attribute a ON a.attrelid = tree.oid
 WHERE a.attnum > 0 AND a.atthasmissing AND NOT a.attisdropped`

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
		shapes[i] = &shape{
			oid: r.oid(0), schema: r.str(1), name: r.str(2), kind: r.char(3), identity: cdc.ReplicaIdentity(r.char(4)), files: map[uint32]uint32{},
		}
		byOID[shapes[i].oid] = shapes[i]
	}
	if rows, err = query(ctx, conn, sqlColumns, ids); err != nil {
		return nil, fmt.Errorf("reading the catalogue's columns: %w", err)
	}
	for _, r := range rows {
		switch s := byOID[r.oid(0)]; {
		case s == nil:
		case r.bool(8):
			s.dropped = int16(r.int(1))
		default:
			s.columns = append(s.columns, attribute{
				num: int16(r.int(1)), name: r.str(2), typeOID: r.oid(3), typeMod: int32(r.int(4)),
				typeName: r.str(5), notNull: r.bool(6), dims: int(r.int(7)),
			})
		}
	}
	if err = readRows(ctx, conn, byOID, ids); err != nil {
		return nil, err
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

// readRows reads what is known of the tables' rows: the files that hold them,
// and the values that they lack.
func readRows(ctx context.Context, conn *pgconn.PgConn, byOID map[uint32]*shape, ids string) error {
	rows, err := query(ctx, conn, sqlTableFiles, ids)
	if err != nil {
		return fmt.Errorf("reading which files the tables have: %w", err)
	}
	for _, r := range rows {
		if s := byOID[r.oid(0)]; s != nil {
			s.files[r.oid(1)] = r.oid(2)
		}
	}
	if rows, err = query(ctx, conn, sqlMissing, ids); err != nil {
		return fmt.Errorf("reading the values of columns that older rows lack: %w", err)
	}
	for _, r := range rows {
		s := byOID[r.oid(0)]
		if s == nil {
			continue
		}
		for i := range s.columns {
			if c := &s.columns[i]; c.name == r.str(1) {
				c.missing = append(c.missing, onlyElement(r.str(2)))
			}
		}
	}
	return nil
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
	t := &tableInfo{rel: &cdc.Relation{OID: s.oid, Schema: s.schema, Name: s.name, Identity: s.identity, Files: s.files, Dropped: int32(s.dropped)}}
	for i, c := range s.columns {
		ct := resolveColumn(c.typeOID, c.typeMod, c.dims, types[c.typeOID], policies.of(s.schema, s.name, c.name))
		t.cols = append(t.cols, ct)
		t.rel.Columns = append(t.rel.Columns, cdc.Column{
			Name: c.name, Type: ct.arrowType(), SourceType: c.typeName, TypeOID: c.typeOID, TypeMod: c.typeMod,
			Shape: ct.shape, NotNull: c.notNull, ID: int32(c.num),
		})
		t.rel.Columns[i].Missing = c.missingValue(t.rel.Columns[i], ct)
		if slices.Contains(s.keyNums(), c.num) {
			t.rel.Key = append(t.rel.Key, i)
		}
	}
	t.rel.InsertOnly = keyless(t.rel)
	return t
}

// keyless tells whether updates and deletes of the table cannot be published.
func keyless(r *cdc.Relation) bool { return len(r.Key) == 0 && r.Identity != cdc.IdentityFull }
