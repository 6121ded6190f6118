package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/cdc"
)

// reservedColumns are the names that the lake's own columns have. A column of
// the source of that name stops a table where true, and is worth a warning
// where it matters in some modes only.
var reservedColumns = map[string]bool{
	"_change_type": true, "_commit_version": true, "_commit_timestamp": true, "_lakeload_exact": true,
	"_op": false, "_lsn": false, "_seq": false, "_xid": false, "_commit_time": false, "_unchanged": false,
	"_ingestion_timestamp": false, "_source_system": false,
}

// tables looks at each selected table, and at what is left out.
func (c *checker) tables(ctx context.Context) error {
	sel, err := c.selector.find(ctx, c.conn)
	if err != nil {
		return err
	}
	for _, p := range sel.unmatched {
		c.warning("pattern", p, "matches no table", "", "correct the pattern, or drop it; upper and lower case differ")
	}
	for _, x := range sel.excluded {
		c.warning("table_kind", x.String(), x.reason, "an ordinary or partitioned table", x.remedy)
	}
	if len(sel.tables) == 0 {
		c.blocker("tables", "", "none is selected", "one at least", "name tables that exist, with their schema")
		return nil
	}
	infos, err := c.describeTables(ctx, c.conn, sel.oids())
	if err != nil {
		return err
	}
	c.infos = infos
	c.ok("tables", fmt.Sprintf("%d selected", len(infos)))
	for _, t := range infos {
		c.identity(t.rel)
		c.columnNames(t.rel)
	}
	c.tableNames(infos)
	for _, look := range []func(context.Context, []*tableInfo) error{c.partitions, c.omitted, c.rights} {
		if err := look(ctx, infos); err != nil {
			return err
		}
	}
	return nil
}

// omitted tells of what a mirror does not hold though one may expect it:
// generated columns, and the rows of tables that inherit.
func (c *checker) omitted(ctx context.Context, infos []*tableInfo) error {
	oids := oidArray(relationOIDs(infos))
	rows, err := c.query(ctx, `SELECT n.nspname, k.relname, string_agg(a.attname, ', ' ORDER BY a.attnum)
		FROM pg_attribute a JOIN pg_class k ON k.oid = a.attrelid JOIN pg_namespace n ON n.oid = k.relnamespace
		WHERE a.attrelid = ANY ($1::oid[]) AND a.attgenerated <> '' AND NOT a.attisdropped GROUP BY 1, 2 ORDER BY 1, 2`, oids)
	if err != nil {
		return fmt.Errorf("reading the generated columns: %w", err)
	}
	for _, r := range rows {
		name := r.str(0) + "." + r.str(1)
		c.aboutTable(name, cdc.Warning, "generated_columns", name, "generated columns ("+r.str(2)+"), which the stream does not carry and the mirror does not hold", "ordinary columns",
			"compute them when you read; or fill an ordinary column by a trigger")
	}
	rows, err = c.query(ctx, `SELECT n.nspname, k.relname, count(*) FROM pg_inherits i JOIN pg_class k ON k.oid = i.inhparent JOIN pg_namespace n ON n.oid = k.relnamespace
		WHERE i.inhparent = ANY ($1::oid[]) AND k.relkind = 'r' GROUP BY 1, 2 ORDER BY 1, 2`, oids)
	if err != nil {
		return fmt.Errorf("reading what inherits: %w", err)
	}
	for _, r := range rows {
		name := r.str(0) + "." + r.str(1)
		c.aboutTable(name, cdc.Warning, "inheritance", name, fmt.Sprintf("%s tables inherit from it; their rows are not in its mirror", r.str(2)), "declarative partitions, or readers that know",
			"select the inheriting tables too, and read them together")
	}
	return nil
}

// aboutTable adds a finding about a selected table, or a partition of it.
func (c *checker) aboutTable(table string, severity cdc.Severity, check, object, have, need, remedy string) {
	c.list = append(c.list, cdc.Finding{Check: check, Object: object, Severity: severity, Have: have, Need: need, Remedy: remedy, Table: table})
}

// identity checks that updates and deletes can be told apart.
func (c *checker) identity(rel *cdc.Relation) {
	switch {
	case keyless(rel) && c.config.Keyless == KeylessInsertOnly:
		c.aboutTable(rel.String(), cdc.Warning, "replica_identity", rel.String(), "none: it is mirrored as insert-only", "a primary key", keylessRemedy(rel))
	case keyless(rel):
		c.aboutTable(rel.String(), cdc.Blocker, "replica_identity", rel.String(), "none", "a primary key that is not deferrable, or REPLICA IDENTITY USING INDEX", keylessRemedy(rel))
	case len(rel.Key) == 0:
		c.aboutTable(rel.String(), cdc.Warning, "full_without_key", rel.String(), "REPLICA IDENTITY FULL and no primary key: whole rows are compared, and its copy begins again after a crash",
			"a primary key that is not deferrable, to be fast", fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (...); -- if it can have one", quoteTable(rel.Schema, rel.Name)))
	}
}

func (c *checker) columnNames(rel *cdc.Relation) {
	folded := map[string]string{}
	for _, col := range rel.Columns {
		low := strings.ToLower(col.Name)
		rename := fmt.Sprintf("ALTER TABLE %s RENAME COLUMN %s TO ...; -- or exclude the table", quoteTable(rel.Schema, rel.Name), quoteIdent(col.Name))
		if other, ok := folded[low]; ok {
			c.aboutTable(rel.String(), cdc.Blocker, "name_case", rel.String(), fmt.Sprintf("columns %q and %q differ by case only", other, col.Name), "names that Delta tells apart", rename)
		}
		folded[low] = col.Name
		if blocks, ok := reservedColumns[low]; ok && blocks {
			c.aboutTable(rel.String(), cdc.Blocker, "reserved_column", rel.String(), fmt.Sprintf("column %q", col.Name), "names that the lake's own columns do not have", rename)
		} else if ok {
			c.aboutTable(rel.String(), cdc.Warning, "reserved_column", rel.String(), fmt.Sprintf("column %q", col.Name), "names that a changelog's own columns do not have", rename)
		}
	}
}

func (c *checker) tableNames(infos []*tableInfo) {
	folded := map[string]string{}
	for _, t := range infos {
		low := strings.ToLower(t.rel.Schema) + "\x00" + strings.ToLower(t.rel.Name)
		if other, ok := folded[low]; ok {
			c.warning("name_case", t.rel.String(), fmt.Sprintf("its name differs from %s by case only", other), "names that catalogues and all file systems tell apart", "give one of them another folder by `layout`, or exclude it")
		}
		folded[low] = t.rel.String()
	}
}

// partitions checks that each partition identifies its rows as its root does:
// the partition's own setting decides what an update tells.
func (c *checker) partitions(ctx context.Context, infos []*tableInfo) error {
	rows, err := c.query(ctx, `SELECT r.oid, t.relid::oid, (SELECT relpersistence FROM pg_class WHERE oid = t.relid) FROM unnest($1::oid[]) AS r (oid) JOIN pg_class c ON c.oid = r.oid AND c.relkind = 'p',
		LATERAL pg_partition_tree(r.oid::regclass) t WHERE t.isleaf AND t.level > 0`, oidArray(relationOIDs(infos)))
	if err != nil {
		return fmt.Errorf("reading the partitions: %w", err)
	}
	roots := map[uint32]*cdc.Relation{}
	for _, t := range infos {
		roots[t.rel.OID] = t.rel
	}
	rootOf, unlogged := map[uint32]*cdc.Relation{}, map[uint32]bool{}
	var oids []uint32
	for _, r := range rows {
		rootOf[r.oid(1)] = roots[r.oid(0)]
		unlogged[r.oid(1)] = r.char(2) == 'u'
		oids = append(oids, r.oid(1))
	}
	shapes, err := readShapes(ctx, c.conn, oids)
	if err != nil {
		return err
	}
	for _, sh := range shapes {
		root := rootOf[sh.oid]
		name := sh.schema + "." + sh.name
		if sh.kind == 'f' {
			c.aboutTable(root.String(), cdc.Blocker, "table_kind", name, "a partition of "+root.String()+" that is a foreign table", "partitions of this server", "detach the partition, or exclude the table")
			continue
		}
		if unlogged[sh.oid] {
			c.aboutTable(root.String(), cdc.Blocker, "table_kind", name, "a partition of "+root.String()+" that is unlogged: its changes are not in the write-ahead log", "logged partitions",
				fmt.Sprintf("ALTER TABLE %s SET LOGGED;", quoteTable(sh.schema, sh.name)))
			continue
		}
		names := sh.keyNames()
		slices.Sort(names)
		if want := keyNames(root); sh.identity == root.Identity && slices.Equal(names, want) || keyless(root) {
			continue
		}
		c.aboutTable(root.String(), cdc.Blocker, "partition_identity", name, fmt.Sprintf("replica identity %q over %v", sh.identity, names), fmt.Sprintf("%q over %v, as %s has it", root.Identity, keyNames(root), root),
			fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY ...; -- for the partition as for %s", quoteTable(sh.schema, sh.name), root))
	}
	return nil
}

// keyNames are the key's columns in alphabetical order.
func keyNames(rel *cdc.Relation) []string {
	var names []string
	for _, k := range rel.Key {
		names = append(names, rel.Columns[k].Name)
	}
	slices.Sort(names)
	return names
}

func relationOIDs(infos []*tableInfo) []uint32 {
	oids := make([]uint32, len(infos))
	for i, t := range infos {
		oids[i] = t.rel.OID
	}
	return oids
}

// rights checks that the rows can be read, all of them. Partitions are read
// themselves, so that each has to be readable.
func (c *checker) rights(ctx context.Context, infos []*tableInfo) error {
	rows, err := c.query(ctx, `SELECT n.nspname, k.relname, has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(k.oid, 'SELECT'),
		pg_has_role(k.relowner, 'USAGE'), k.oid = r.oid,
		row_security_active(k.oid), current_user, pg_get_userbyid(k.relowner), k.oid,
		(SELECT rolsuper FROM pg_roles WHERE oid = k.relowner), r.oid
		FROM unnest($1::oid[]) AS r (oid), LATERAL (SELECT r.oid UNION SELECT t.relid FROM pg_partition_tree(r.oid::regclass) t) AS m (oid)
		JOIN pg_class k ON k.oid = m.oid JOIN pg_namespace n ON n.oid = k.relnamespace ORDER BY 1, 2`, oidArray(relationOIDs(infos)))
	if err != nil {
		return fmt.Errorf("reading the user's rights on the tables: %w", err)
	}
	have, err := readPublications(ctx, c.conn, []pubWant{{name: c.config.publications()[0]}, {name: c.config.publications()[1]}})
	if err != nil {
		return err
	}
	roots := map[uint32]string{}
	for _, t := range infos {
		roots[t.rel.OID] = t.rel.String()
	}
	for _, r := range rows {
		of := roots[r.oid(11)]
		name, table, user := r.str(0)+"."+r.str(1), quoteTable(r.str(0), r.str(1)), quoteIdent(r.str(7))
		if !r.bool(2) {
			c.aboutTable(of, cdc.Blocker, "select", name, "no USAGE on the schema", "USAGE", fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", quoteIdent(r.str(0)), user))
		}
		if !r.bool(3) {
			c.aboutTable(of, cdc.Blocker, "select", name, "no SELECT", "SELECT", fmt.Sprintf("GRANT SELECT ON %s TO %s;", table, user))
		}
		if r.bool(6) {
			c.aboutTable(of, cdc.Blocker, "row_security", name, "row security hides rows from this user", "all rows", fmt.Sprintf("ALTER ROLE %s BYPASSRLS;", user))
		}
		if root := r.bool(5); root && !r.bool(4) && !published(have, r.oid(9)) {
			mend := fmt.Sprintf("GRANT %s TO %s;", quoteIdent(r.str(8)), user)
			if r.bool(10) {
				mend = fmt.Sprintf("ALTER TABLE %s OWNER TO %s;", table, user) // nobody is to be made a superuser for this
			}
			c.aboutTable(of, cdc.Blocker, "table_owner", name, "owned by "+r.str(8), "ownership, to add the table to the publication; or a publication that has it",
				fmt.Sprintf("%s -- or let the owner run ALTER PUBLICATION %s ADD TABLE ONLY %s;", mend, quoteIdent(c.config.Publication), table))
		}
	}
	return nil
}

func published(have map[string]*pubState, oid uint32) bool {
	for _, p := range have {
		if slices.ContainsFunc(p.tables, func(t pubTable) bool { return t.oid == oid }) {
			return true
		}
	}
	return false
}

// publications tells what Publish would refuse.
func (c *checker) publications(ctx context.Context) error {
	all := c.config
	all.Keyless = KeylessInsertOnly // those without identity have a finding already
	wants, err := all.wanted(c.relations())
	if err != nil {
		return err
	}
	have, err := readPublications(ctx, c.conn, wants)
	if err != nil {
		return err
	}
	for _, w := range wants {
		_, err := w.plan(have[w.name])
		var refusal *cdc.Error
		if errors.As(err, &refusal) {
			c.blocker("publication", w.name, refusal.Err.Error(), "just the selected tables, all of their rows and columns", refusal.Remedy)
		} else if err == nil && have[w.name] != nil {
			c.ok("publication", w.name)
			if extra := w.surplus(have[w.name]); len(extra) > 0 {
				c.warning("publication_surplus", w.name, "it has tables that are not followed: "+strings.Join(extra, ", "), "just those that are: the server sends the others' changes for nothing",
					fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE ONLY %s;", quoteIdent(w.name), strings.Join(extra, ", ONLY ")))
			}
		}
	}
	return nil
}
