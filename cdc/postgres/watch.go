package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

var _ cdc.Watcher = (*Source)(nil)

// sighting is what the catalogue says of a table that concerns its rows, and
// the form of [cdc.Look.Text].
type sighting struct {
	Columns []sightedColumn `json:"columns"`
	Leaves  []sightedLeaf   `json:"leaves"` // ascending by OID
}

type sightedColumn struct {
	Num  int16  `json:"num"`
	Type uint32 `json:"type"`
	Mod  int32  `json:"mod"`
	XMin string `json:"xmin"` // of its line in pg_attribute: another after each ALTER of the column
}

// sightedLeaf is a table or partition that holds rows.
type sightedLeaf struct {
	OID    uint32 `json:"oid"`
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	File   uint32 `json:"file"`
	XMin   uint32 `json:"xmin"`             // of its line in pg_class
	Silent bool   `json:"silent,omitempty"` // its changes are not in the log
	// Attached and Command are the transaction that made it a part of its table,
	// and the command in it; empty for the table itself.
	Attached string `json:"attached,omitempty"`
	Command  string `json:"command,omitempty"`
}

func (l *sightedLeaf) String() string { return l.Schema + "." + l.Name }

// moment is the time of a look, and the form of [cdc.Look.Since].
type moment struct {
	// XMin is the oldest transaction that was running: all before it were over,
	// and what they had inserted was there.
	XMin string `json:"xmin"`
	// Inserted has, for leaves that have no block, how many rows they ever had inserted,
	// by the server's statistics.
	Inserted map[uint32]int64 `json:"inserted,omitempty"`
}

const (
	sqlSightedColumns = `
SELECT attrelid, attnum, atttypid, atttypmod, xmin FROM pg_attribute
 WHERE attrelid = ANY ($1::oid[]) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum`

	// Of several levels of partitions the one counts that was attached last.
	sqlSightedLeaves = `
WITH RECURSIVE tree (root, oid, attached, command) AS (
  SELECT t, t, NULL::xid, NULL::text::bigint FROM unnest($1::oid[]) AS u (t)
  UNION ALL
  SELECT tree.root, i.inhrelid, CASE WHEN later THEN i.xmin ELSE attached END, CASE WHEN later THEN i.cmin::text::bigint ELSE command END
    FROM tree JOIN pg_class p ON p.oid = tree.oid AND p.relkind = 'p' JOIN pg_inherits i ON i.inhparent = p.oid AND NOT i.inhdetachpending,
         LATERAL (SELECT attached IS NULL OR age(i.xmin) < age(attached) OR i.xmin = attached AND i.cmin::text::bigint > command AS later) l
)
SELECT tree.root, c.oid, n.nspname, c.relname, c.relkind, c.relfilenode, c.relpersistence <> 'p', tree.attached, tree.command, c.xmin,
       coalesce(pg_relation_size(c.oid), 0), coalesce(pg_stat_get_tuples_inserted(c.oid), 0)
  FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind <> 'p' ORDER BY tree.root, c.oid`

	sqlMoment = "SELECT pg_snapshot_xmin(pg_current_snapshot())::xid"
)

// Look implements [cdc.Watcher].
func (s *Source) Look(ctx context.Context, oids []uint32) (map[uint32]cdc.Look, error) {
	var looks map[uint32]cdc.Look
	err := s.admin.with(ctx, func(conn *pgconn.PgConn) error {
		return inOneView(ctx, conn, func() (err error) {
			looks, err = s.look(ctx, conn, oids)
			return err
		})
	})
	if err != nil {
		return nil, failed("looking at tables in the catalogue", s.connector.address(), err)
	}
	return looks, nil
}

func (s *Source) look(ctx context.Context, conn *pgconn.PgConn, oids []uint32) (map[uint32]cdc.Look, error) {
	infos, err := s.describeTables(ctx, conn, oids)
	if err != nil {
		return nil, err
	}
	now, err := query(ctx, conn, sqlMoment)
	if err != nil {
		return nil, fmt.Errorf("asking which transactions run: %w", err)
	}
	sighted, moments := map[uint32]*sighting{}, map[uint32]*moment{}
	for _, t := range infos {
		sighted[t.rel.OID], moments[t.rel.OID] = &sighting{}, &moment{XMin: now[0].str(0)}
	}
	rows, err := query(ctx, conn, sqlSightedColumns, oidArray(oids))
	if err != nil {
		return nil, fmt.Errorf("looking at the columns: %w", err)
	}
	for _, r := range rows {
		if t := sighted[r.oid(0)]; t != nil {
			t.Columns = append(t.Columns, sightedColumn{Num: int16(r.int(1)), Type: r.oid(2), Mod: int32(r.int(3)), XMin: r.str(4)})
		}
	}
	if rows, err = query(ctx, conn, sqlSightedLeaves, oidArray(oids)); err != nil {
		return nil, fmt.Errorf("looking at the partitions: %w", err)
	}
	for _, r := range rows {
		t, m := sighted[r.oid(0)], moments[r.oid(0)]
		if t == nil {
			continue
		}
		l := sightedLeaf{
			OID: r.oid(1), Schema: r.str(2), Name: r.str(3), Kind: r.str(4), File: r.oid(5), Silent: r.bool(6), Attached: r.str(7), Command: r.str(8), XMin: r.oid(9),
		}
		t.Leaves = append(t.Leaves, l)
		if r.int(10) == 0 {
			if m.Inserted == nil {
				m.Inserted = map[uint32]int64{}
			}
			m.Inserted[l.OID] = r.int(11)
		}
	}
	looks := make(map[uint32]cdc.Look, len(infos))
	for _, t := range infos {
		text, err := json.Marshal(sighted[t.rel.OID])
		if err != nil {
			return nil, err
		}
		since, err := json.Marshal(moments[t.rel.OID])
		if err != nil {
			return nil, err
		}
		looks[t.rel.OID] = cdc.Look{Relation: t.rel, Text: string(text), Since: string(since)}
	}
	return looks, nil
}

// Compare implements [cdc.Watcher]. Where the catalogue leaves open whether
// rows came with a partition or went from one, it looks at the partition's rows,
// on a connection of its own: that can take as long as reading it.
func (s *Source) Compare(ctx context.Context, was, is cdc.Look) ([]cdc.Notice, error) {
	const op = "comparing what the catalogue says of a table"
	var a, b sighting
	var then, now moment
	for _, part := range []struct {
		text string
		into any
	}{{was.Text, &a}, {is.Text, &b}, {was.Since, &then}, {is.Since, &now}} {
		if err := json.Unmarshal([]byte(part.text), part.into); err != nil {
			return nil, refused(op, is.Relation.String(), "", err)
		}
	}
	notices, questions := compareSightings(&a, &b, &then, &now)
	if len(questions) == 0 {
		return notices, nil
	}
	conn, err := s.connector.connect(ctx, connCatalog)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	for _, q := range questions {
		rows, err := query(ctx, conn, q.sql)
		if err != nil {
			return nil, failed("looking for rows that no change told of", q.leaf, err)
		}
		if rows[0].bool(0) == q.when {
			notices = append(notices, q.notice)
		}
	}
	return notices, nil
}

// question is one that only a partition's rows answer.
type question struct {
	leaf, sql string
	when      bool // the answer that makes the notice
	notice    cdc.Notice
}

// compareSightings says what has happened between two looks that no stream
// tells, as far as the catalogue knows. It is pure.
func compareSightings(a, b *sighting, then, now *moment) (notices []cdc.Notice, questions []question) {
	altered, whole := a.altered(b), a.anew(b)
	for i := range b.Leaves {
		l := &b.Leaves[i]
		before := a.leaf(l.OID)
		had, wasEmpty := then.Inserted[l.OID]
		has, empty := now.Inserted[l.OID]
		switch {
		case l.Silent:
			notices = append(notices, cdc.Notice{Kind: cdc.NoticeSilent, Text: "the changes of " + l.String() + " are not in the write-ahead log any more: it is unlogged"})
		case before == nil && l.Kind == "f":
			notices = append(notices, partitionNotice("the foreign table %s was attached as a partition", l))
		case before == nil && empty && has == 0:
		case before == nil, before.Attached != l.Attached:
			questions = append(questions, question{
				leaf:   l.String(),
				sql:    sqlRowsOlder(l, fmt.Sprintf("age(xmin) > age('%[1]s'::xid) OR xmin = '%[1]s'::xid AND cmin::text::bigint < %[2]s", l.Attached, l.Command)),
				when:   true,
				notice: partitionNotice("the partition %s was attached with rows", l),
			})
		case before.File == l.File, empty && wasEmpty && has == had:
		case altered == alteredSame, altered == alteredNothing && l.Attached != "":
			// Rows that were there then and still are have only been moved, as VACUUM
			// FULL does; an ALTER TABLE gives all of them its own transaction.
			q := question{leaf: l.String(), sql: sqlRowsOlder(l, fmt.Sprintf("age(xmin) > age('%s'::xid)", then.XMin)), when: false}
			q.notice = partitionNotice("the partition %s was emptied, or written anew", l)
			q.notice.Emptied, q.notice.Whole, q.notice.XID = true, whole, l.XMin
			if altered == alteredSame {
				q.notice = cdc.Notice{Kind: cdc.NoticeRewrite, Text: fmt.Sprintf("an ALTER TABLE wrote the rows of %s anew, perhaps with other values", l)}
			}
			questions = append(questions, q)
		}
	}
	if altered == alteredShape {
		notices = append(notices, cdc.Notice{Kind: cdc.NoticeColumns, Text: "its columns changed, and its rows were written anew, perhaps with other values"})
	}
	for i := range a.Leaves {
		if l := &a.Leaves[i]; b.leaf(l.OID) == nil && l.Attached != "" {
			notices = append(notices, partitionNotice("the partition %s was detached or dropped", l))
		}
	}
	return notices, questions
}

func partitionNotice(format string, l *sightedLeaf) cdc.Notice {
	return cdc.Notice{Kind: cdc.NoticePartition, Text: fmt.Sprintf(format, l)}
}

func (s *sighting) leaf(oid uint32) *sightedLeaf {
	for i := range s.Leaves {
		if s.Leaves[i].OID == oid {
			return &s.Leaves[i]
		}
	}
	return nil
}

// anew reports whether every leaf has another file now.
func (s *sighting) anew(now *sighting) bool {
	return !slices.ContainsFunc(s.Leaves, func(l sightedLeaf) bool {
		o := now.leaf(l.OID)
		return o != nil && o.File == l.File
	})
}

// alteration is what became of the columns between two looks.
type alteration uint8

const (
	alteredNothing alteration = iota
	// alteredSame: a column was altered and has the type that it had.
	alteredSame
	// alteredShape: a column came or has another type, and all files are new.
	alteredShape
)

func (s *sighting) altered(now *sighting) alteration {
	found := alteredNothing
	shape := false
	for _, c := range now.Columns {
		i := slices.IndexFunc(s.Columns, func(o sightedColumn) bool { return o.Num == c.Num })
		switch {
		case i < 0, s.Columns[i].Type != c.Type, s.Columns[i].Mod != c.Mod:
			shape = true
		case s.Columns[i].XMin != c.XMin:
			found = alteredSame
		}
	}
	if shape && s.anew(now) {
		return alteredShape
	}
	return found
}

// sqlRowsOlder asks for rows that fulfil a condition on their transaction; so do
// those that are so old that the numbers have come round.
func sqlRowsOlder(l *sightedLeaf, condition string) string {
	return fmt.Sprintf("SELECT EXISTS (SELECT FROM ONLY %s WHERE age(xmin) < 0 OR %s)", quoteTable(l.Schema, l.Name), condition)
}
