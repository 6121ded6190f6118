package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
)

// Publication is one of the pipeline's publications, for people.
type Publication struct {
	Name    string   `json:"name"`
	Exists  bool     `json:"exists"`
	Actions []string `json:"publishes"`
	// Tables are its members, as schema.table.
	Tables []PublishedTable `json:"tables"`
}

// PublishedTable is a member of a publication. Filter and Columns say how
// somebody has narrowed it; Columns is nil where all are published.
type PublishedTable struct {
	Table   string   `json:"table"`
	OID     uint32   `json:"oid"`
	Filter  string   `json:"filter,omitempty"`
	Columns []string `json:"columns,omitempty"`
}

// Publications reads the pipeline's two publications: that of the tables with
// a key, and that of those without.
func (s *Source) Publications(ctx context.Context) ([]Publication, error) {
	var list []Publication
	err := s.admin.with(ctx, func(conn *pgconn.PgConn) error {
		list = nil
		names := s.config.publications()
		wants := []pubWant{{name: names[0]}, {name: names[1]}}
		have, err := readPublications(ctx, conn, wants)
		if err != nil {
			return err
		}
		narrowed, err := readPublishedShapes(ctx, conn, names)
		if err != nil {
			return err
		}
		for _, name := range names {
			p := Publication{Name: name, Actions: []string{}, Tables: []PublishedTable{}}
			if state := have[name]; state != nil {
				p.Exists = true
				p.Actions = state.actions()
				for _, t := range state.tables {
					p.Tables = append(p.Tables, PublishedTable{Table: t.schema + "." + t.name, OID: t.oid, Filter: narrowed[t.oid].filter, Columns: narrowed[t.oid].columns})
				}
			}
			list = append(list, p)
		}
		return nil
	})
	if err != nil {
		return nil, failed("reading the publications", s.config.Publication, err)
	}
	return list, nil
}

func (p *pubState) actions() []string {
	var list []string
	for _, a := range []struct {
		yes  bool
		name string
	}{{p.insert, "insert"}, {p.update, "update"}, {p.del, "delete"}, {p.truncate, "truncate"}} {
		if a.yes {
			list = append(list, a.name)
		}
	}
	return list
}

// PublishSQL gives the statements by which Publish would make the publications
// what they have to be; none where they are. It changes nothing. What Publish
// would refuse it refuses, too.
func (s *Source) PublishSQL(ctx context.Context) (statements []string, err error) {
	tables, err := s.Tables(ctx)
	if err != nil {
		return nil, err
	}
	wants, err := s.config.wanted(tables)
	if err != nil {
		return nil, err
	}
	err = s.admin.with(ctx, func(conn *pgconn.PgConn) error {
		statements, err = planPublications(ctx, conn, wants)
		return err
	})
	return statements, failed("planning the publications", s.config.Publication, err)
}

// planPublications gives the statements that make the publications what wants
// says, or refuses.
func planPublications(ctx context.Context, conn *pgconn.PgConn, wants []pubWant) ([]string, error) {
	have, err := readPublications(ctx, conn, wants)
	if err != nil {
		return nil, err
	}
	var statements []string
	for _, w := range wants {
		todo, err := w.plan(have[w.name])
		if err != nil {
			return nil, err
		}
		statements = append(statements, todo...)
	}
	return statements, nil
}

// DropPublicationsSQL gives the statements that DropPublications runs.
func (s *Source) DropPublicationsSQL() []string {
	var statements []string
	for _, name := range s.config.publications() {
		statements = append(statements, "DROP PUBLICATION IF EXISTS "+quoteIdent(name)+";")
	}
	return statements
}

// DropPublications drops both publications; nil where there are none. A slot
// that is not read to its end yet cannot be decoded any more afterwards.
func (s *Source) DropPublications(ctx context.Context) error {
	err := s.onPrimary(ctx, func(conn *pgconn.PgConn) error { return transact(ctx, conn, s.DropPublicationsSQL()) })
	return failed("dropping the publications", s.config.Publication, err)
}
