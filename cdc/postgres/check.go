package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// minServerVersion is the oldest server that streams transactions in progress
// and finds rows by ranges of blocks.
const minServerVersion = 140000

// findings collects the results of a check.
type findings struct{ list []cdc.Finding }

func (f *findings) add(severity cdc.Severity, check, object, have, need, remedy string) {
	f.list = append(f.list, cdc.Finding{Check: check, Object: object, Severity: severity, Have: have, Need: need, Remedy: remedy})
}

func (f *findings) blocker(check, object, have, need, remedy string) {
	f.add(cdc.Blocker, check, object, have, need, remedy)
}

func (f *findings) warning(check, object, have, need, remedy string) {
	f.add(cdc.Warning, check, object, have, need, remedy)
}

func (f *findings) ok(check, have string) { f.add(cdc.OK, check, "", have, "", "") }

// Check implements [cdc.Checker]. What is found is in the list; an error means
// only that looking failed half-way, and comes with what was found till then.
// It changes nothing on the server.
//
// The names of the checks are stable; docs/CLI.md lists them.
func (s *Source) Check(ctx context.Context) ([]cdc.Finding, error) {
	f := &findings{}
	var unreachable error
	err := s.admin.with(ctx, func(conn *pgconn.PgConn) error {
		f.list = nil // with may run this twice
		version := serverVersionNum(conn.ParameterStatus("server_version"))
		f.ok("connect", s.connector.address())
		if !f.version(version) {
			return nil
		}
		c := &checker{Source: s, findings: f, conn: conn, version: version, longAfter: "30 seconds"}
		for _, step := range []func(context.Context) error{
			c.service, c.connection, c.settings, c.wal, c.transactions, c.role, c.slotState, c.standbys, c.tables, c.typePolicies, c.publications, c.walRate,
		} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && len(f.list) == 0 {
		unreachable = err
		f.unreachable(s.connector.address(), unreachable)
		return f.list, nil
	}
	if err != nil {
		return f.list, failed("checking the source", s.connector.address(), err)
	}
	return f.list, nil
}

// unreachable makes a finding of a connection that could not be had.
func (f *findings) unreachable(address string, err error) {
	remedy := ""
	var e *cdc.Error
	if errors.As(err, &e) {
		remedy = e.Remedy
	}
	f.blocker("connect", address, err.Error(), "a connection", remedy)
}

// version reports whether the server is new enough to be looked at further.
func (f *findings) version(version int) bool {
	have := printVersion(version)
	if version < minServerVersion {
		f.blocker("server_version", "", have, "14 or newer", "upgrade the server")
		return false
	}
	f.ok("server_version", have)
	// Until these releases, decoding could go on with a stale catalogue after
	// ALTER PUBLICATION and ALTER TYPE by others, and lose changes.
	if fixed := map[int]int{14: 18, 15: 13, 16: 9, 17: 5}[version/10000]; version%10000 < fixed {
		f.warning("server_minor", "", have, fmt.Sprintf("%d.%d or newer", version/10000, fixed),
			"install the minor release: older ones may lose changes in logical decoding when a publication or a type is altered beside running transactions")
	}
	return true
}

func printVersion(v int) string { return fmt.Sprintf("%d.%d", v/10000, v%10000) }

// checker is one run of Check.
type checker struct {
	*Source
	*findings
	conn    *pgconn.PgConn
	version int
	managed service
	infos   []*tableInfo      // of the selected tables, from the step tables on
	set     map[string]string // the server's settings
	begun   time.Time         // when walAt was the end of the log
	walAt   cdc.LSN
	// longAfter is how old a transaction has to be to be called long.
	longAfter string
}

// relations are the selected tables, from the step tables on.
func (c *checker) relations() []*cdc.Relation {
	rels := make([]*cdc.Relation, len(c.infos))
	for i, t := range c.infos {
		rels[i] = t.rel
	}
	return rels
}

func (c *checker) query(ctx context.Context, sql string, params ...string) ([]row, error) {
	return query(ctx, c.conn, sql, params...)
}
