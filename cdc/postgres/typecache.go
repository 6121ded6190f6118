package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// typeCache keeps what the catalogue says of types that cannot be changed
// while they exist. Composites can be, and so can what is made of them: those
// are looked up again each time, and what was known last is kept for when the
// type is gone. It is safe for concurrent use.
type typeCache struct {
	mu    sync.Mutex
	types map[uint32]typeInfo
}

// sqlTypes follows domains to their base types, arrays to their elements,
// ranges to their subtypes, and composites to their attributes' types.
const sqlTypes = `
WITH RECURSIVE t (oid) AS (
  SELECT DISTINCT unnest($1::oid[])
  UNION
  SELECT x.oid
    FROM t JOIN pg_type p ON p.oid = t.oid, LATERAL (
      VALUES (p.typbasetype), (p.typelem)
      UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = p.oid
      UNION ALL SELECT r.rngtypid FROM pg_range r WHERE r.rngmultitypid = p.oid
      UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE p.typtype = 'c' AND a.attrelid = p.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS x (oid)
   WHERE x.oid <> 0
)
SELECT p.oid, n.nspname, p.typname, p.typtype, p.typcategory, p.typbasetype, p.typtypmod,
       CASE WHEN e.typarray = p.oid THEN e.oid ELSE 0 END, e.typdelim, p.typndims, p.typsend::oid = 0,
       coalesce(CASE p.typtype WHEN 'r' THEN (SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = p.oid)
                               WHEN 'm' THEN (SELECT r.rngtypid FROM pg_range r WHERE r.rngmultitypid = p.oid) END, 0),
       coalesce((SELECT x.extname FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
                  WHERE d.classid = 'pg_type'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'), '')
  FROM t JOIN pg_type p ON p.oid = t.oid
  JOIN pg_namespace n ON n.oid = p.typnamespace
  LEFT JOIN pg_type e ON e.oid = p.typelem`

// sqlFields reads the attributes of composites.
const sqlFields = `
SELECT p.oid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attndims
  FROM pg_type p JOIN pg_attribute a ON a.attrelid = p.typrelid
 WHERE p.oid = ANY ($1::oid[]) AND p.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY p.oid, a.attnum`

// resolve describes the types; one that does not exist, and is not known from
// before, is left out.
func (c *typeCache) resolve(ctx context.Context, conn *pgconn.PgConn, oids []uint32) (map[uint32]typeInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.types == nil {
		c.types = map[uint32]typeInfo{}
	}
	var ask []uint32
	for _, o := range oids {
		if t, ok := c.types[o]; (!ok || t.changeable(0)) && !slices.Contains(ask, o) {
			ask = append(ask, o)
		}
	}
	if len(ask) > 0 {
		fresh, err := readTypes(ctx, conn, ask)
		if err != nil {
			return nil, err
		}
		for o, t := range fresh {
			c.types[o] = t
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

// changeable reports whether a composite is in the type.
func (t typeInfo) changeable(depth int) bool {
	if t.Kind == 'c' {
		return true
	}
	for _, in := range []*typeInfo{t.Base, t.Elem, t.Sub} {
		if in != nil && depth < maxTypeDepth && in.changeable(depth+1) {
			return true
		}
	}
	return false
}

// readTypes asks the catalogue for the types, and for all that they are made of.
func readTypes(ctx context.Context, conn *pgconn.PgConn, oids []uint32) (map[uint32]typeInfo, error) {
	rows, err := query(ctx, conn, sqlTypes, oidArray(oids))
	if err != nil {
		return nil, fmt.Errorf("reading the catalogue's types: %w", err)
	}
	b := typeBuilder{rows: make(map[uint32]row, len(rows)), fields: map[uint32][]row{}}
	var composites []uint32
	for _, r := range rows {
		b.rows[r.oid(0)] = r
		if r.char(3) == 'c' {
			composites = append(composites, r.oid(0))
		}
	}
	if len(composites) > 0 {
		fields, err := query(ctx, conn, sqlFields, oidArray(composites))
		if err != nil {
			return nil, fmt.Errorf("reading the catalogue's composite types: %w", err)
		}
		for _, f := range fields {
			b.fields[f.oid(0)] = append(b.fields[f.oid(0)], f)
		}
	}
	types := make(map[uint32]typeInfo, len(oids))
	for _, o := range oids {
		if _, ok := b.rows[o]; ok {
			types[o] = b.build(o, 0)
		}
	}
	return types, nil
}

// typeBuilder puts types together with those that they are made of.
type typeBuilder struct {
	rows   map[uint32]row   // of sqlTypes
	fields map[uint32][]row // of sqlFields
}

// build makes a type. The depth is a guard against a catalogue that is damaged.
func (b *typeBuilder) build(oid uint32, depth int) typeInfo {
	r, ok := b.rows[oid]
	if !ok || depth > maxTypeDepth {
		return typeInfo{}
	}
	t := typeInfo{
		OID: oid, Schema: r.str(1), Name: r.str(2), Kind: r.char(3), Category: r.char(4), BaseTypmod: int32(r.int(6)),
		BaseDims: int(r.int(9)), NoSend: r.bool(10), Extension: strings.Clone(r.str(12)),
	}
	part := func(oid uint32) *typeInfo {
		if oid == 0 {
			return nil
		}
		p := b.build(oid, depth+1)
		return &p
	}
	t.Base, t.Elem, t.Sub = part(r.oid(5)), part(r.oid(7)), part(r.oid(11))
	if t.Elem != nil {
		t.ElemDelim = r.char(8)
	}
	for _, f := range b.fields[oid] {
		t.Fields = append(t.Fields, fieldInfo{
			Num: int16(f.int(1)), Name: f.str(2), Type: part(f.oid(3)), TypMod: int32(f.int(4)), Dims: int(f.int(5)),
		})
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
