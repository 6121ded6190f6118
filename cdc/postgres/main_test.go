package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		if err := shared.server.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		cancel()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

const testPassword = "s3cr3t-Zq9"

// shared is the server of all tests, started by the first that needs it.
var shared struct {
	once   sync.Once
	server *pgserver.Server
	err    error
}

// testVersion is the major version that LAKELOAD_TEST_PG chooses. Else it is 15
// where all real parts have to be there, and 0, the machine's newest.
func testVersion() int {
	if pgtest.Real() {
		return pgtest.Version(15)
	}
	return pgtest.Version(0)
}

// testServer gives the server, or leaves the test out where there is none.
func testServer(t testing.TB) *pgserver.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("left out: -short starts no PostgreSQL")
	}
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		shared.server, shared.err = pgserver.Start(ctx, pgserver.Options{
			Version: testVersion(), Offline: !pgtest.Real(), Password: testPassword,
			Settings: map[string]string{"max_replication_slots": "60", "max_wal_senders": "60", "max_prepared_transactions": "5"},
		})
	})
	if shared.err != nil {
		if os.Getenv("LAKELOAD_REAL") != "" {
			t.Fatal(shared.err)
		}
		t.Skipf("left out: no PostgreSQL to test with: %v", shared.err)
	}
	return shared.server
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// database is a fresh database for one test.
type database struct {
	t    testing.TB
	name string
	dsn  string
	conn *pgconn.PgConn
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	s := testServer(t)
	var b [4]byte
	_, _ = rand.Read(b[:])
	d := &database{t: t, name: "t_" + hex.EncodeToString(b[:])}
	root := dial(t, s.DSN())
	mustExec(t, root, "CREATE DATABASE "+d.name)
	d.dsn = s.DSNFor(d.name, pgserver.Superuser)
	d.conn = dial(t, d.dsn)
	t.Cleanup(func() {
		slots, err := simple(context.Background(), root, "SELECT slot_name FROM pg_replication_slots WHERE NOT temporary AND database = '"+d.name+"'")
		require.NoError(t, err)
		for _, r := range slots {
			// A session that has just ended, or a silent one, may hold it for a moment.
			require.Eventually(t, func() bool {
				_ = exec(context.Background(), root, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '"+r.str(0)+"' AND active")
				return exec(context.Background(), root, "SELECT pg_drop_replication_slot('"+r.str(0)+"')") == nil
			}, 20*time.Second, 50*time.Millisecond)
		}
		require.Eventually(t, func() bool { // sessions that have just ended may hold it for a moment
			return exec(context.Background(), root, "DROP DATABASE "+d.name+" WITH (FORCE)") == nil
		}, 10*time.Second, 20*time.Millisecond)
	})
	return d
}

func dial(t testing.TB, dsn string) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(testContext(t), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { closeConn(conn) })
	return conn
}

func mustExec(t testing.TB, conn *pgconn.PgConn, sql string) []row {
	t.Helper()
	rows, err := simple(context.Background(), conn, sql)
	require.NoError(t, err, sql)
	return rows
}

func (d *database) exec(sql string) []row {
	d.t.Helper()
	return mustExec(d.t, d.conn, sql)
}

// config selects everything of the database.
func (d *database) config() Config {
	return Config{DSN: d.dsn, Slot: "slot_" + d.name, Publication: "Pub " + d.name, All: true, Connections: 3}
}

func (d *database) open(change ...func(*Config)) *Source {
	d.t.Helper()
	c := d.config()
	for _, f := range change {
		f(&c)
	}
	s, err := Open(testContext(d.t), c)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { require.NoError(d.t, s.Close()) })
	return s
}

// table gives the relation of a table of the source.
func table(t testing.TB, s *Source, name string) *cdc.Relation {
	t.Helper()
	rels, err := s.Tables(testContext(t))
	require.NoError(t, err)
	for _, r := range rels {
		if r.String() == name {
			return r
		}
	}
	t.Fatalf("no table %s among %v", name, rels)
	return nil
}

// copyTable reads a whole table under a snapshot.
func copyTable(t testing.TB, snap cdc.Snapshot, rel *cdc.Relation, emit func(*cdc.Batch)) {
	t.Helper()
	ctx := testContext(t)
	ranges, err := snap.Plan(ctx, rel)
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, r := range ranges {
		require.False(t, seen[r.ID], "range %s twice", r.ID)
		seen[r.ID] = true
		require.NoError(t, snap.Read(ctx, rel, r, func(b *cdc.Batch) error {
			defer b.Release()
			emit(b)
			return nil
		}))
	}
}
