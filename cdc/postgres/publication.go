package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// insertsSuffix makes the second publication's name: that of the tables
// without identity.
const insertsSuffix = "_inserts"

// publications are the names that the stream asks for. Both always exist, the
// second perhaps empty: the server looks them up as of the place in the log
// that it decodes, so that one made later would not be found by the older part.
func (c *Config) publications() []string {
	return []string{c.Publication, c.Publication + insertsSuffix}
}

// pubWant is what a publication has to be.
type pubWant struct {
	name    string
	actions string // the publish parameter
	tables  []*cdc.Relation
	// narrowed accepts row filters and column lists of somebody else's.
	narrowed bool
}

// pubTable is a table in a publication.
type pubTable struct {
	oid            uint32
	schema, name   string
	filter, subset bool // it has a row filter, a column list
	generated      bool // its column list names generated columns
	bare           bool // it has no identity: its updates fail where they are published
}

// pubState is a publication as the catalogue has it.
type pubState struct {
	owned               bool // by a role whose rights we have
	allTables, viaRoot  bool
	generated           bool // it publishes generated columns (PostgreSQL 18)
	insert, update, del bool
	truncate            bool
	tables              []pubTable
	schemas             []string
}

// wanted divides the tables between the two publications.
func (c *Config) wanted(tables []*cdc.Relation) ([]pubWant, error) {
	names := c.publications()
	keyed := pubWant{name: names[0], actions: "insert, update, delete, truncate", narrowed: c.HonourFilters}
	inserts := pubWant{name: names[1], actions: "insert, truncate", narrowed: c.HonourFilters}
	for _, t := range tables {
		switch {
		case !keyless(t):
			keyed.tables = append(keyed.tables, t)
		case c.Keyless == KeylessInsertOnly:
			inserts.tables = append(inserts.tables, t)
		default:
			return nil, refused("publishing a table", t.String(), keylessRemedy(t),
				errors.New("it has no usable replica identity: if its updates were published, the application's own UPDATE and DELETE would fail"))
		}
	}
	return []pubWant{keyed, inserts}, nil
}

func keylessRemedy(t *cdc.Relation) string {
	table := quoteTable(t.Schema, t.Name)
	if t.Identity == cdc.IdentityNothing {
		return fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY DEFAULT; -- with a primary key; or mirror it as insert-only, or exclude it", table)
	}
	return fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (...); -- or REPLICA IDENTITY USING INDEX a unique index over NOT NULL columns; or mirror it as insert-only, or exclude it", table)
}

// Publish implements [cdc.Source]. Both publications are checked before either
// is touched, and changed in one transaction.
func (s *Source) Publish(ctx context.Context, tables []*cdc.Relation) error {
	wants, err := s.config.wanted(tables)
	if err != nil {
		return err
	}
	const attempts = 5
	for i := 1; ; i++ {
		err := s.onPrimary(ctx, func(conn *pgconn.PgConn) error { return publish(ctx, conn, wants) })
		if err == nil || i == attempts || !contended(err) {
			return failed("publishing the tables", "publication "+s.config.Publication, err)
		}
		select {
		case <-time.After(time.Duration(i) * 50 * time.Millisecond):
		case <-ctx.Done():
			return failed("publishing the tables", "publication "+s.config.Publication, ctx.Err())
		}
	}
}

// contended tells of errors that come from somebody doing the same just now.
func contended(err error) bool {
	switch sqlState(err) {
	case codeDuplicateObject, codeUniqueViolation, codeDeadlock:
		return true
	case codeConcurrentUpdate:
		return strings.Contains(err.Error(), "concurrently")
	}
	return false
}

func publish(ctx context.Context, conn *pgconn.PgConn, wants []pubWant) error {
	statements, err := planPublications(ctx, conn, wants)
	if err != nil {
		return err
	}
	if len(statements) == 0 {
		return nil
	}
	if serverOf(conn).Standby {
		return refused("changing the publications", "", "on the primary, run: "+strings.Join(statements, " ")+" -- or name it (source.primary_url)",
			errors.New("the server is a standby, where nothing can be changed"))
	}
	err = transact(ctx, conn, statements)
	switch sqlState(err) {
	case codeUndefinedTable, codeUndefinedSchema: // whoever asks again finds the others
		return retryLater("changing the publications", "", "", fmt.Errorf("a table was dropped or renamed just now: %w", err))
	case codeNoPrivilege:
		return refused("changing the publications", "", "let a superuser or the owner of the tables run: "+strings.Join(statements, " "), fmt.Errorf("%w: %w", cdc.ErrDenied, err))
	}
	return err
}

// transact runs statements in one transaction.
func transact(ctx context.Context, conn *pgconn.PgConn, statements []string) error {
	// One string is one transaction.
	err := exec(ctx, conn, "BEGIN;\n"+strings.Join(statements, "\n")+"\nCOMMIT;")
	if err != nil && !conn.IsClosed() {
		if e := exec(context.WithoutCancel(ctx), conn, "ROLLBACK"); e != nil {
			closeConn(conn)
		}
	}
	return err
}

// plan gives the statements that make have what w says, or refuses. It is pure.
func (w pubWant) plan(have *pubState) ([]string, error) {
	name := quoteIdent(w.name)
	if have == nil {
		for_ := ""
		if len(w.tables) > 0 {
			for_ = " FOR TABLE " + tableList(w.tables)
		}
		return []string{fmt.Sprintf("CREATE PUBLICATION %s%s WITH (publish = '%s', publish_via_partition_root = true);", name, for_, w.actions)}, nil
	}
	if faults, remedy := w.faults(have); len(faults) > 0 {
		return nil, refused("checking the publication", w.name, remedy, errors.New(strings.Join(faults, "; ")))
	}
	var missing []*cdc.Relation
	for _, t := range w.tables {
		if !slices.ContainsFunc(have.tables, func(p pubTable) bool { return p.oid == t.OID }) {
			missing = append(missing, t)
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	add := fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s;", name, tableList(missing))
	if !have.owned {
		return nil, refused("checking the publication", w.name, "let its owner run: "+add, fmt.Errorf("%w: it belongs to another role and lacks tables", cdc.ErrDenied))
	}
	return []string{add}, nil
}

// faults lists what is wrong with a publication beyond missing tables, and
// the SQL that mends all of it.
func (w pubWant) faults(have *pubState) (faults []string, remedy string) {
	name := quoteIdent(w.name)
	var sql []string
	if have.allTables {
		return []string{"it is FOR ALL TABLES, so that tables without identity would be in it"}, fmt.Sprintf("DROP PUBLICATION %s;", name)
	}
	if len(have.schemas) > 0 {
		faults = append(faults, "it is FOR TABLES IN SCHEMA "+strings.Join(have.schemas, ", "))
		for _, s := range have.schemas {
			sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s DROP TABLES IN SCHEMA %s;", name, quoteIdent(s)))
		}
	}
	all := w.actions == "insert, update, delete, truncate"
	if !have.insert || !have.truncate || have.update != all || have.del != all {
		faults = append(faults, "it does not publish just "+w.actions)
		sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s SET (publish = '%s');", name, w.actions))
	}
	if have.generated {
		faults = append(faults, "it publishes generated columns, which are not mirrored")
		sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s SET (publish_generated_columns = none);", name))
	}
	if !have.viaRoot {
		faults = append(faults, "it does not publish partitions as their root")
		sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s SET (publish_via_partition_root = true);", name))
	}
	for _, p := range have.tables {
		table := quoteTable(p.schema, p.name)
		wanted := slices.ContainsFunc(w.tables, func(t *cdc.Relation) bool { return t.OID == p.oid })
		switch {
		case !wanted && p.bare && all:
			faults = append(faults, fmt.Sprintf("it has the table %s.%s, which has no identity, so that the application's own updates of it fail", p.schema, p.name))
			sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE ONLY %s;", name, table))
		case !wanted: // its changes are left out
		case p.generated && w.narrowed:
			faults = append(faults, fmt.Sprintf("its column list for %s.%s has generated columns, which are not mirrored", p.schema, p.name))
			sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE ONLY %s; /* and add it again without those */", name, table))
		case (p.filter || p.subset) && !w.narrowed:
			what := "a row filter"
			if p.subset {
				what = "a column list"
			}
			what += " (source.honour_filters mirrors just what it publishes)"
			faults = append(faults, fmt.Sprintf("it has %s on %s.%s", what, p.schema, p.name))
			sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE ONLY %s; ALTER PUBLICATION %s ADD TABLE ONLY %s;", name, table, name, table))
		}
	}
	return faults, strings.Join(sql, " ")
}

// surplus are the tables of a publication that are not wanted: excluded, or a
// partition of another one by now. They do no harm, and cost what their changes
// take.
func (w pubWant) surplus(have *pubState) (tables []string) {
	for _, p := range have.tables {
		if !slices.ContainsFunc(w.tables, func(t *cdc.Relation) bool { return t.OID == p.oid }) {
			tables = append(tables, quoteTable(p.schema, p.name))
		}
	}
	return tables
}

// tableList names tables without those that inherit from them.
func tableList(tables []*cdc.Relation) string {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = "ONLY " + quoteTable(t.Schema, t.Name)
	}
	return strings.Join(names, ", ")
}

// readPublications reads those of the wanted publications that exist.
func readPublications(ctx context.Context, conn *pgconn.PgConn, wants []pubWant) (map[string]*pubState, error) {
	version := serverVersionNum(conn.ParameterStatus("server_version"))
	have := map[string]*pubState{}
	for _, w := range wants {
		generated := "false"
		if version >= 180000 {
			generated = "pubgencols <> 'n'"
		}
		rows, err := query(ctx, conn, `SELECT oid, puballtables, pubviaroot, pubinsert, pubupdate, pubdelete, pubtruncate, pg_has_role(pubowner, 'USAGE'), `+generated+`
			FROM pg_publication WHERE pubname = $1`, w.name)
		if err != nil {
			return nil, fmt.Errorf("reading the publication %s: %w", w.name, err)
		}
		if len(rows) == 0 {
			continue
		}
		r := rows[0]
		p := &pubState{
			allTables: r.bool(1), viaRoot: r.bool(2), insert: r.bool(3), update: r.bool(4), del: r.bool(5), truncate: r.bool(6), owned: r.bool(7), generated: r.bool(8),
		}
		if err := p.readMembers(ctx, conn, r.str(0), version); err != nil {
			return nil, fmt.Errorf("reading the tables of the publication %s: %w", w.name, err)
		}
		have[w.name] = p
	}
	return have, nil
}

func (p *pubState) readMembers(ctx context.Context, conn *pgconn.PgConn, oid string, version int) error {
	narrowed := "false, false, false"
	if version >= 150000 {
		narrowed = `r.prqual IS NOT NULL, r.prattrs IS NOT NULL,
			EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs) AND a.attgenerated <> '')`
	}
	rows, err := query(ctx, conn, `SELECT c.oid, n.nspname, c.relname, `+narrowed+`, c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i
			WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END)
		FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE r.prpubid = $1::oid ORDER BY 2, 3`, oid)
	if err != nil {
		return err
	}
	for _, r := range rows {
		p.tables = append(p.tables, pubTable{oid: r.oid(0), schema: r.str(1), name: r.str(2), filter: r.bool(3), subset: r.bool(4), generated: r.bool(5), bare: r.bool(6)})
	}
	if version < 150000 {
		return nil
	}
	rows, err = query(ctx, conn, `SELECT n.nspname FROM pg_publication_namespace p JOIN pg_namespace n ON n.oid = p.pnnspid WHERE p.pnpubid = $1::oid ORDER BY 1`, oid)
	for _, r := range rows {
		p.schemas = append(p.schemas, r.str(0))
	}
	return err
}

// Published tells the members of our publications; the id of a membership is
// the OID of its pg_publication_rel row. See [cdc.Source].
func (s *Source) Published(ctx context.Context) (map[uint32]uint64, error) {
	out := map[uint32]uint64{}
	for _, name := range s.config.publications() {
		rows, err := s.admin.query(ctx, `SELECT r.prrelid, r.oid FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $1`, name)
		if err != nil {
			return nil, failed("reading the publication's tables", "publication "+name, err)
		}
		for _, r := range rows {
			out[r.oid(0)] = uint64(r.oid(1))
		}
	}
	return out, nil
}
