package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// attribute is a column as pg_attribute has it.
type attribute struct {
	num        int16
	name       string
	typeOID    uint32
	typeMod    int32
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
       a.atthasmissing OR a.atthasdef OR a.attidentity <> ''
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
				typeName: r.str(5), notNull: r.bool(6), hasMissing: r.bool(7),
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
func (s *shape) relation(types map[uint32]typeInfo) *tableInfo {
	t := &tableInfo{rel: &cdc.Relation{OID: s.oid, Schema: s.schema, Name: s.name, Identity: s.identity}}
	for i, c := range s.columns {
		ct := resolveType(c.typeOID, c.typeMod, types[c.typeOID])
		t.cols = append(t.cols, ct)
		t.rel.Columns = append(t.rel.Columns, cdc.Column{
			Name: c.name, Type: ct.arrowType(), SourceType: c.typeName, TypeOID: c.typeOID, TypeMod: c.typeMod,
			NotNull: c.notNull, HasMissing: c.hasMissing,
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

// typeCache keeps what pg_type says; none of what is kept of a type can be
// changed while the type exists. It is safe for concurrent use.
type typeCache struct {
	mu    sync.Mutex
	types map[uint32]typeInfo
}

// sqlTypes follows domains to their base types and arrays to their elements.
const sqlTypes = `
WITH RECURSIVE t (oid) AS (
  SELECT DISTINCT unnest($1::oid[])
  UNION
  SELECT x.oid FROM t JOIN pg_type p ON p.oid = t.oid, LATERAL (VALUES (p.typbasetype), (p.typelem)) AS x (oid) WHERE x.oid <> 0
)
SELECT p.oid, n.nspname, p.typname, p.typtype, p.typcategory, p.typbasetype, p.typtypmod,
       CASE WHEN e.typarray = p.oid THEN e.oid ELSE 0 END, e.typdelim
  FROM t JOIN pg_type p ON p.oid = t.oid
  JOIN pg_namespace n ON n.oid = p.typnamespace
  LEFT JOIN pg_type e ON e.oid = p.typelem`

// resolve describes the types; one that does not exist is left out.
func (c *typeCache) resolve(ctx context.Context, conn *pgconn.PgConn, oids []uint32) (map[uint32]typeInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.types == nil {
		c.types = map[uint32]typeInfo{}
	}
	var missing []uint32
	for _, o := range oids {
		if _, ok := c.types[o]; !ok && !slices.Contains(missing, o) {
			missing = append(missing, o)
		}
	}
	if len(missing) > 0 {
		rows, err := query(ctx, conn, sqlTypes, oidArray(missing))
		if err != nil {
			return nil, fmt.Errorf("reading the catalogue's types: %w", err)
		}
		fresh := make(map[uint32]row, len(rows))
		for _, r := range rows {
			fresh[r.oid(0)] = r
		}
		for o := range fresh {
			c.types[o] = buildType(o, fresh, 0)
		}
	}
	found := make(map[uint32]typeInfo, len(oids))
	for _, o := range oids {
		if t, ok := c.types[o]; ok {
			found[o] = t
		}
	}
	return found, nil
}

// buildType puts a type together with those that it is made of. The depth is a
// guard against a catalogue that is damaged.
func buildType(oid uint32, rows map[uint32]row, depth int) typeInfo {
	r, ok := rows[oid]
	if !ok || depth > 32 {
		return typeInfo{}
	}
	t := typeInfo{OID: oid, Schema: r.str(1), Name: r.str(2), Kind: r.char(3), Category: r.char(4), BaseTypmod: int32(r.int(6))}
	if base := r.oid(5); base != 0 {
		b := buildType(base, rows, depth+1)
		t.Base = &b
	}
	if elem := r.oid(7); elem != 0 {
		e := buildType(elem, rows, depth+1)
		t.Elem, t.ElemDelim = &e, r.char(8)
	}
	return t
}

func columnTypeOIDs(shapes []*shape) []uint32 {
	var oids []uint32
	for _, s := range shapes {
		for _, c := range s.columns {
			oids = append(oids, c.typeOID)
		}
	}
	return oids
}
