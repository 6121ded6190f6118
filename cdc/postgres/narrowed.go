package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// publishedShape is what a publication that somebody has narrowed publishes of
// a table. A copy has to read just that, or it would hold what no change ever
// touches again.
type publishedShape struct {
	oid     uint32
	filter  string   // SQL over the table's columns; "": all rows
	columns []string // in the table's order; nil: all columns
}

// readPublishedShapes gives those tables of the publications that are narrowed,
// by OID. Before PostgreSQL 15 there are none.
func readPublishedShapes(ctx context.Context, conn *pgconn.PgConn, publications []string) (map[uint32]publishedShape, error) {
	shapes := map[uint32]publishedShape{}
	if serverVersionNum(conn.ParameterStatus("server_version")) < 150000 {
		return shapes, nil
	}
	for _, name := range publications {
		rows, err := query(ctx, conn, `SELECT r.prrelid, pg_get_expr(r.prqual, r.prrelid),
			(SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs))
			FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
			WHERE p.pubname = $1 AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL)`, name)
		if err != nil {
			return nil, fmt.Errorf("reading what the publication %s publishes: %w", name, err)
		}
		for _, r := range rows {
			s := publishedShape{oid: r.oid(0), filter: r.str(1)}
			if !r.null(2) {
				if err := json.Unmarshal(r[2], &s.columns); err != nil {
					return nil, fmt.Errorf("reading the column list of the publication %s: %w", name, err)
				}
			}
			shapes[s.oid] = s
		}
	}
	return shapes, nil
}

// narrow leaves the columns that are named; nil leaves all. The others count as
// gone: one that is published later has been there before, with values.
func (s *shape) narrow(columns []string) {
	if columns == nil {
		return
	}
	s.columns = slices.DeleteFunc(s.columns, func(a attribute) bool {
		hidden := !slices.Contains(columns, a.name)
		if hidden {
			s.dropped = max(s.dropped, a.num)
		}
		return hidden
	})
}

// readAsPublished reads the present shapes of the tables that exist, with the
// columns that are published, and what else narrowed says of them.
func readAsPublished(ctx context.Context, conn *pgconn.PgConn, oids []uint32, narrowed func(context.Context, *pgconn.PgConn) (map[uint32]publishedShape, error)) ([]*shape, map[uint32]publishedShape, error) {
	shapes, err := readShapes(ctx, conn, oids)
	if err != nil || len(shapes) == 0 {
		return nil, nil, err
	}
	by, err := narrowed(ctx, conn)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range shapes {
		s.narrow(by[s.oid].columns)
	}
	return shapes, by, nil
}

// readNarrowed gives what is to be honoured of the publications.
func (c *Config) readNarrowed(ctx context.Context, conn *pgconn.PgConn) (map[uint32]publishedShape, error) {
	if !c.HonourFilters {
		return nil, nil
	}
	return readPublishedShapes(ctx, conn, c.publications())
}
