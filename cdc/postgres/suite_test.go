package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
)

// TestSource holds the source to the contract of package cdc, on a real
// server: with transactions that come whole, and with those that come in
// progress as soon as they are larger than 64 kB.
func TestSource(t *testing.T) {
	for name, mode := range map[string]StreamingMode{"whole": StreamingOff, "in progress": StreamingOn} {
		t.Run(name, func(t *testing.T) {
			var spooled int64
			tested := false
			cdctest.TestSource(t, func(t *testing.T) cdctest.Driver {
				d := newDatabase(t)
				tested = true
				d.streamSoon()
				v := &driver{database: d, mode: mode, conn: dial(t, d.dsn)}
				t.Cleanup(func() {
					for _, s := range v.sources {
						spooled += s.Stats().SpooledEver
					}
				})
				return v
			})
			if !tested { // -short has no server
				return
			}
			require.Equal(t, mode == StreamingOn, spooled > 0, "%d bytes came in progress", spooled)
		})
	}
}

// TestKeyReader holds reads by ranges of keys to their contract, on a real
// server.
func TestKeyReader(t *testing.T) {
	cdctest.TestKeyReader(t, func(t *testing.T) cdctest.Driver {
		d := newDatabase(t)
		return &driver{database: d, conn: dial(t, d.dsn), tune: small}
	})
}

// driver is the suite's hand on a database.
type driver struct {
	*database
	mode    StreamingMode
	conn    *pgconn.PgConn // of Exec, which the suite calls in a goroutine
	sources []*Source
	tune    func(*Config) // nil: nothing
}

var _ cdctest.Driver = (*driver)(nil)

// CreateTable implements [cdctest.Driver].
func (d *driver) CreateTable(t testing.TB, name string) {
	mustExec(t, d.conn, "CREATE TABLE "+name+" (id bigint PRIMARY KEY, n bigint, v text)")
}

// Exec implements [cdctest.Driver]. A simple query of several statements is one
// transaction.
func (d *driver) Exec(t testing.TB, ops ...cdctest.Op) {
	var sql strings.Builder
	sql.WriteString("BEGIN;")
	for _, op := range ops {
		v := quoteLiteral(op.V)
		switch op.Kind {
		case cdctest.Insert:
			fmt.Fprintf(&sql, "INSERT INTO %s VALUES (%d, %d, %s);", op.Table, op.ID, op.N, v)
		case cdctest.UpdateN:
			fmt.Fprintf(&sql, "UPDATE %s SET n = %d WHERE id = %d;", op.Table, op.N, op.ID)
		case cdctest.UpdateV:
			fmt.Fprintf(&sql, "UPDATE %s SET v = %s WHERE id = %d;", op.Table, v, op.ID)
		case cdctest.UpdateKey:
			fmt.Fprintf(&sql, "UPDATE %s SET id = %d WHERE id = %d;", op.Table, op.N, op.ID)
		case cdctest.Delete:
			fmt.Fprintf(&sql, "DELETE FROM %s WHERE id = %d;", op.Table, op.ID)
		case cdctest.Truncate:
			fmt.Fprintf(&sql, "TRUNCATE %s;", op.Table)
		case cdctest.AddColumn:
			fmt.Fprintf(&sql, "ALTER TABLE %s ADD COLUMN %s bigint;", op.Table, quoteIdent(op.V))
		}
	}
	sql.WriteString("COMMIT")
	mustExec(t, d.conn, sql.String())
}

// Idle implements [cdctest.Driver], by a table that is not selected.
func (d *driver) Idle(t testing.TB) {
	mustExec(t, d.conn, "CREATE TABLE IF NOT EXISTS noise (n int); INSERT INTO noise SELECT generate_series(1, 100)")
}

// Source implements [cdctest.Driver]. The suite closes it.
func (d *driver) Source(t testing.TB) cdc.Source {
	c := d.config()
	c.Streaming, c.SpoolDir, c.Exclude = d.mode, t.TempDir(), []string{"public.noise"}
	if d.tune != nil {
		d.tune(&c)
	}
	s, err := Open(testContext(t), c)
	require.NoError(t, err)
	d.sources = append(d.sources, s)
	return s
}
