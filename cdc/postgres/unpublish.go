package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

var _ cdc.Unpublisher = (*Source)(nil)

// Unpublish implements [cdc.Unpublisher]: it takes tables out of both
// publications.
func (s *Source) Unpublish(ctx context.Context, tables []uint32) error {
	err := s.onPrimary(ctx, func(conn *pgconn.PgConn) error { return s.unpublish(ctx, conn, tables) })
	return failed("taking tables out of the publications", "publication "+s.config.Publication, err)
}

func (s *Source) unpublish(ctx context.Context, conn *pgconn.PgConn, tables []uint32) error {
	wants, err := s.config.wanted(nil)
	if err != nil {
		return err
	}
	have, err := readPublications(ctx, conn, wants)
	if err != nil {
		return err
	}
	var statements []string
	owned := true
	for _, w := range wants {
		p := have[w.name]
		if p == nil {
			continue
		}
		if statement := p.without(w.name, tables); statement != "" {
			statements = append(statements, statement)
			owned = owned && p.owned
		}
	}
	if len(statements) == 0 {
		return nil
	}
	remedy := "let the owner of the publications run: " + strings.Join(statements, " ")
	if !owned {
		return refused("changing the publications", "", remedy, fmt.Errorf("%w: they belong to another role", cdc.ErrDenied))
	}
	if serverOf(conn).Standby {
		return refused("changing the publications", "", "on the primary, run: "+strings.Join(statements, " ")+" -- or name it (source.primary_url)",
			fmt.Errorf("%w: %w", cdc.ErrDenied, errors.New("the server is a standby, where nothing can be changed")))
	}
	err = transact(ctx, conn, statements)
	if sqlState(err) == codeNoPrivilege {
		return refused("changing the publications", "", remedy, fmt.Errorf("%w: %w", cdc.ErrDenied, err))
	}
	return err
}

// without gives the statement that takes tables out of a publication; "" where
// none of them is in it by its own name.
func (p *pubState) without(name string, tables []uint32) string {
	var names []string
	for _, t := range p.tables {
		if slices.Contains(tables, t.oid) {
			names = append(names, "ONLY "+quoteTable(t.schema, t.name))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE %s;", quoteIdent(name), strings.Join(names, ", "))
}
