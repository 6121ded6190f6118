package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// candidate is a relation of the database as the selection sees it.
type candidate struct {
	oid          uint32
	schema, name string
	kind         byte // relkind: r table, p partitioned, v view, m materialized view, f foreign
	persistence  byte // relpersistence: p permanent, u unlogged, t temporary
	partition    bool
	root         uint32 // of a partition: the table at the top
	extension    bool   // belongs to an extension
}

func (c *candidate) String() string { return c.schema + "." + c.name }

// exclusion is a relation that a pattern names and that is left out all the same.
type exclusion struct {
	candidate
	reason, remedy string
}

// selection is what the configuration's patterns come to in this database.
type selection struct {
	tables    []candidate // by schema and name, in the bytes' order
	excluded  []exclusion // what cannot be mirrored
	unmatched []string    // patterns that no relation matches
}

const sqlCandidates = `
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relispartition,
       CASE WHEN c.relispartition THEN pg_partition_root(c.oid)::oid END,
       EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
 ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`

// selector applies the patterns of a configuration.
type selector struct {
	include, exclude []pattern
	all              bool
}

func newSelector(c *Config) (*selector, error) {
	s := &selector{all: c.All}
	for _, group := range []struct {
		texts []string
		to    *[]pattern
	}{{c.Tables, &s.include}, {c.Exclude, &s.exclude}} {
		for _, text := range group.texts {
			p, err := parsePattern(text)
			if err != nil {
				return nil, err
			}
			*group.to = append(*group.to, p)
		}
	}
	return s, nil
}

// find reads the catalogue and applies the patterns.
func (s *selector) find(ctx context.Context, conn *pgconn.PgConn) (*selection, error) {
	rows, err := query(ctx, conn, sqlCandidates)
	if err != nil {
		return nil, fmt.Errorf("reading the catalogue's tables: %w", err)
	}
	all := make([]candidate, len(rows))
	for i, r := range rows {
		all[i] = candidate{
			oid: r.oid(0), schema: r.str(1), name: r.str(2), kind: r.char(3), persistence: r.char(4),
			partition: r.bool(5), root: r.oid(6), extension: r.bool(7),
		}
	}
	return s.choose(all), nil
}

// choose divides the relations; it is pure.
func (s *selector) choose(all []candidate) *selection {
	sel := &selection{}
	used := make([]bool, len(s.include))
	names, chosen := map[uint32]string{}, map[uint32]bool{}
	var partitions []candidate
	for _, c := range all {
		names[c.oid] = c.String()
		named := false
		for i, p := range s.include {
			if p.matches(c.schema, c.name) {
				named, used[i] = true, true
			}
		}
		if selected := named || s.all && !c.extension; !selected || s.isExcluded(&c) {
			continue
		}
		if reason, remedy := c.unfit(); reason != "" {
			sel.excluded = append(sel.excluded, exclusion{c, reason, remedy})
			continue
		}
		if c.partition {
			partitions = append(partitions, c)
			continue
		}
		sel.tables = append(sel.tables, c)
		chosen[c.oid] = true
	}
	for _, c := range partitions {
		if !chosen[c.root] { // else its root carries its rows
			root := names[c.root]
			sel.excluded = append(sel.excluded, exclusion{c, "it is a partition of " + root, "select " + root + ", which carries the rows of all its partitions"})
		}
	}
	for i, p := range s.include {
		if !used[i] {
			sel.unmatched = append(sel.unmatched, p.text)
		}
	}
	return sel
}

func (s *selector) isExcluded(c *candidate) bool {
	for _, p := range s.exclude {
		if p.matches(c.schema, c.name) {
			return true
		}
	}
	return false
}

// unfit says why a relation has no changes to read.
func (c *candidate) unfit() (reason, remedy string) {
	switch {
	case c.kind == 'v':
		return "it is a view", "select the tables that it reads"
	case c.kind == 'm':
		return "it is a materialized view, whose refreshes are not in the stream", "select the tables that it reads"
	case c.kind == 'f':
		return "it is a foreign table, whose changes happen on another server", "mirror that server"
	case c.persistence == 't':
		return "it is temporary", ""
	case c.persistence == 'u':
		return "it is unlogged, and its changes are not in the write-ahead log", "ALTER TABLE " + quoteTable(c.schema, c.name) + " SET LOGGED;"
	}
	return "", ""
}

// wants tells whether the patterns select a table of this name that the
// stream speaks of.
func (s *selector) wants(schema, name string) bool {
	c := &candidate{schema: schema, name: name}
	if s.isExcluded(c) {
		return false
	}
	for _, p := range s.include {
		if p.matches(schema, name) {
			return true
		}
	}
	return s.all
}

func (s *selection) oids() []uint32 {
	oids := make([]uint32, len(s.tables))
	for i := range s.tables {
		oids[i] = s.tables[i].oid
	}
	return oids
}
