package harness

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lakeload/lakeload/internal/pgserver"
)

// Database is a database of the test's own.
type Database struct {
	Server *pgserver.Server
	Name   string
	DSN    string // the superuser's
}

var databases atomic.Int64

// NewDatabase makes a database in a server. When the test ends its slots go, so that they hold nothing back; the database stays until the
// server goes.
func NewDatabase(t testing.TB, s *pgserver.Server) *Database {
	t.Helper()
	d := &Database{Server: s, Name: fmt.Sprintf("it%d", databases.Add(1))}
	d.DSN = s.DSNFor(d.Name, pgserver.Superuser)
	conn := connect(t, s.DSN())
	defer closeConn(t, conn)
	if _, err := conn.Exec(t.Context(), "create database "+d.Name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.Running() {
			d.DropSlots(t)
		}
	})
	return d
}

// DropSlots drops the slots of the database and ends who reads them.
func (d *Database) DropSlots(t testing.TB) {
	t.Helper()
	// The test's own context has ended when this is called at its end.
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, d.DSN)
	if err != nil {
		t.Errorf("dropping the slots of %s: %v", d.Name, err)
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	for {
		_, err := conn.Exec(ctx, `select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database() and active`)
		if err == nil {
			_, err = conn.Exec(ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()`)
		}
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Errorf("dropping the slots of %s: %v", d.Name, err)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Connect opens a connection, which the test closes when it ends.
func (d *Database) Connect(t testing.TB) *pgx.Conn {
	t.Helper()
	conn := connect(t, d.DSN)
	t.Cleanup(func() { closeConn(t, conn) })
	return conn
}

// Exec runs statements, each of which may be several in one implicit transaction.
func (d *Database) Exec(t testing.TB, statements ...string) {
	t.Helper()
	conn := connect(t, d.DSN)
	defer closeConn(t, conn)
	for _, sql := range statements {
		if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatalf("%v\n%s", err, clip(sql))
		}
	}
}

// Value gives the one value of a query, as text; "" for no row or NULL.
func (d *Database) Value(t testing.TB, query string) string {
	t.Helper()
	conn := connect(t, d.DSN)
	defer closeConn(t, conn)
	results, err := conn.PgConn().Exec(t.Context(), query).ReadAll()
	if err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	if last := results[len(results)-1]; len(last.Rows) > 0 {
		return string(last.Rows[0][0])
	}
	return ""
}

// Owned describes the slots and publications that there are, to see that nothing was made.
func (d *Database) Owned(t testing.TB) string {
	t.Helper()
	return d.Value(t, `select coalesce((select string_agg('slot ' || slot_name || ' ' || coalesce(confirmed_flush_lsn::text, ''), ', ' order by slot_name)
		from pg_replication_slots where database = current_database()), '') || '; ' ||
		coalesce((select string_agg('publication ' || pubname, ', ' order by pubname) from pg_publication), '')`)
}

// LSN is where the server writes next.
func (d *Database) LSN(t testing.TB) string {
	t.Helper()
	return d.Value(t, "select pg_current_wal_insert_lsn()")
}

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("connecting to %s: %v", strings.SplitN(dsn, "?", 2)[0], err)
	}
	return conn
}

func closeConn(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the server may have been restarted
}
