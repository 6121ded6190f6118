package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// row is a result row in text form; nil is NULL.
type row [][]byte

func (r row) str(i int) string  { return string(r[i]) }
func (r row) null(i int) bool   { return r[i] == nil }
func (r row) bool(i int) bool   { return len(r[i]) == 1 && r[i][0] == 't' }
func (r row) char(i int) byte   { return append(append([]byte(nil), r[i]...), 0)[0] }
func (r row) oid(i int) uint32  { n, _ := strconv.ParseUint(string(r[i]), 10, 32); return uint32(n) }
func (r row) int(i int) int64   { n, _ := strconv.ParseInt(string(r[i]), 10, 64); return n }
func (r row) lsn(i int) cdc.LSN { n, _ := cdc.ParseLSN(string(r[i])); return n }

// query runs one statement with parameters in text form.
func query(ctx context.Context, conn *pgconn.PgConn, sql string, params ...string) ([]row, error) {
	values := make([][]byte, len(params))
	for i, p := range params {
		values[i] = []byte(p)
	}
	res := conn.ExecParams(ctx, sql, values, nil, nil, nil).Read()
	return toRows(res), becauseOf(ctx, res.Err)
}

// becauseOf adds that ctx has ended to the error of a statement that the
// server gave up for it.
func becauseOf(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w (%w)", ctx.Err(), err)
}

// simple runs a statement or a replication command by the simple protocol, the
// only one that a walsender speaks.
func simple(ctx context.Context, conn *pgconn.PgConn, sql string) ([]row, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, becauseOf(ctx, err)
	}
	last := results[len(results)-1]
	return toRows(last), last.Err
}

func exec(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	_, err := simple(ctx, conn, sql)
	return err
}

// inOneView runs f's statements under one view of the database: what several of
// them say of a table, between which it was altered, fits together. conn must
// be in no transaction.
func inOneView(ctx context.Context, conn *pgconn.PgConn, f func() error) error {
	if err := exec(ctx, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return err
	}
	err := f()
	if end := exec(ctx, conn, "ROLLBACK"); err == nil {
		err = end
	}
	return err
}

func toRows(res *pgconn.Result) []row {
	rows := make([]row, len(res.Rows))
	for i, r := range res.Rows {
		rows[i] = r
	}
	return rows
}

// oidArray is the text of an oid[].
func oidArray(oids []uint32) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, o := range oids {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d", o)
	}
	b.WriteByte('}')
	return b.String()
}

// admin is the one connection for the catalogue, opened when first needed and
// again after it broke. One caller at a time uses it.
type admin struct {
	connector *connector
	turn      chan struct{} // holds a token while nobody uses conn
	conn      *pgconn.PgConn
	closed    bool
}

func newAdmin(c *connector) *admin {
	a := &admin{connector: c, turn: make(chan struct{}, 1)}
	a.turn <- struct{}{}
	return a
}

// with runs f on the connection. A connection that was idle may have been cut
// meanwhile, so that f is run once more on a new one if that broke the first:
// it must be harmless to run f twice.
func (a *admin) with(ctx context.Context, f func(*pgconn.PgConn) error) error {
	select {
	case <-a.turn:
	case <-ctx.Done():
		return fmt.Errorf("waiting for the catalogue connection: %w", ctx.Err())
	}
	defer func() { a.turn <- struct{}{} }()
	if a.closed {
		return fmt.Errorf("the source is closed: %w", pgconn.ErrConnClosed)
	}
	reused := a.conn != nil && !a.conn.IsClosed()
	for {
		if !reused {
			closeConn(a.conn)
			conn, err := a.connector.connect(ctx, connCatalog)
			if err != nil {
				a.conn = nil
				return err
			}
			a.conn = conn
		}
		err := f(a.conn)
		if err == nil || !reused || !a.conn.IsClosed() || ctx.Err() != nil {
			return err
		}
		reused = false
	}
}

func (a *admin) query(ctx context.Context, sql string, params ...string) (rows []row, err error) {
	err = a.with(ctx, func(conn *pgconn.PgConn) (err error) {
		rows, err = query(ctx, conn, sql, params...)
		return err
	})
	return rows, err
}

// reset lets the next user open another connection.
func (a *admin) reset(ctx context.Context) error {
	select {
	case <-a.turn:
	case <-ctx.Done():
		return fmt.Errorf("waiting for the catalogue connection: %w", ctx.Err())
	}
	defer func() { a.turn <- struct{}{} }()
	closeConn(a.conn)
	a.conn = nil
	return nil
}

// close ends the connection, after its present user is done.
func (a *admin) close() {
	<-a.turn
	defer func() { a.turn <- struct{}{} }()
	a.closed = true
	closeConn(a.conn)
	a.conn = nil
}
