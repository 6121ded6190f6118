package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/pgserver"
)

// check runs a check and gives the findings that are not OK, as
// "severity check object", with the whole finding.
func check(t *testing.T, s *Source) map[string]cdc.Finding {
	t.Helper()
	list, err := s.Check(testContext(t))
	require.NoError(t, err)
	found := map[string]cdc.Finding{}
	for _, f := range list {
		require.NotEmpty(t, f.Check)
		require.NotContains(t, fmt.Sprint(f), testPassword)
		if f.Severity == cdc.OK {
			continue
		}
		require.NotEmpty(t, f.Have, f.Check)
		require.NotEmpty(t, f.Remedy, f.Check)
		found[strings.TrimSpace(fmt.Sprint(f.Severity, " ", f.Check, " ", f.Object))] = f
	}
	return found
}

func keys(m map[string]cdc.Finding) []string {
	var out []string
	for k := range m {
		if !strings.HasPrefix(k, "warning server_minor") { // depends on the machine's server
			out = append(out, k)
		}
	}
	return out
}

func TestCheckFindsNothingWrong(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	s := d.open()
	require.Empty(t, keys(check(t, s)))
	// And after everything is made.
	ctx := testContext(t)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Publish(ctx, rels))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	require.Empty(t, keys(check(t, s)))
}

// A check changes nothing.
func TestCheckIsReadOnly(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	s := d.open(func(c *Config) { c.DSN += "&default_transaction_read_only=on" })
	state := func() string {
		return fmt.Sprint(d.exec("SELECT count(*) FROM pg_publication")[0].str(0), d.exec("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()")[0].str(0))
	}
	before := state()
	check(t, s)
	require.Equal(t, before, state())
}

func TestEdge38And49CheckTables(t *testing.T) {
	d := newDatabase(t)
	d.exec(`CREATE TABLE good (id int PRIMARY KEY); CREATE TABLE bare (v int); CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE);
		CREATE TABLE fullbare (v int); ALTER TABLE fullbare REPLICA IDENTITY FULL;
		CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
		CREATE VIEW vw AS SELECT 1 AS x; CREATE MATERIALIZED VIEW mv AS SELECT 1 AS x; CREATE UNLOGGED TABLE ul (id int PRIMARY KEY);
		CREATE TABLE cased (id int PRIMARY KEY, "Id" int); CREATE TABLE "GOOD" (id int PRIMARY KEY);
		CREATE TABLE reserved (id int PRIMARY KEY, _change_type text); CREATE TABLE noted (id int PRIMARY KEY, _LSN text);
		CREATE TABLE root (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE same PARTITION OF root FOR VALUES FROM (0) TO (10);
		CREATE TABLE differs PARTITION OF root FOR VALUES FROM (10) TO (20); ALTER TABLE differs REPLICA IDENTITY FULL;
		CREATE FOREIGN DATA WRAPPER wrapper; CREATE SERVER elsewhere FOREIGN DATA WRAPPER wrapper; CREATE FOREIGN TABLE ft (id int) SERVER elsewhere`)
	strict := check(t, d.open(func(c *Config) { c.Tables = []string{"public.no*ne"} }))
	lax := check(t, d.open(func(c *Config) { c.Keyless = KeylessInsertOnly; c.Tables, c.All = []string{"public.*"}, false }))
	common := []string{
		"warning full_without_key public.fullbare", "warning table_kind public.vw", "warning table_kind public.mv", "warning table_kind public.ul",
		"warning table_kind public.ft", "blocker name_case public.cased", "warning name_case public.good", "blocker reserved_column public.reserved",
		"warning reserved_column public.noted", "blocker partition_identity public.differs",
	}
	require.ElementsMatch(t, append([]string{
		"blocker replica_identity public.bare", "blocker replica_identity public.deferred", "blocker replica_identity public.nothing", "warning pattern public.no*ne",
	}, common...), keys(strict))
	require.ElementsMatch(t, append([]string{
		"warning replica_identity public.bare", "warning replica_identity public.deferred", "warning replica_identity public.nothing",
	}, common...), keys(lax))
	require.Contains(t, strict["warning table_kind public.ul"].Remedy, `ALTER TABLE "public"."ul" SET LOGGED;`)
	require.Contains(t, strict["blocker replica_identity public.nothing"].Remedy, "REPLICA IDENTITY DEFAULT")

	only := check(t, d.open(func(c *Config) { c.Tables, c.All = []string{"public.same", "public.vw"}, false }))
	require.ElementsMatch(t, []string{"warning table_kind public.same", "warning table_kind public.vw", "blocker tables"}, keys(only))
	require.Contains(t, only["warning table_kind public.same"].Have, "partition of public.root")
}

func TestEdge26CheckRights(t *testing.T) {
	d := newDatabase(t)
	role := "r_" + d.name
	d.exec(fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s'; CREATE SCHEMA hidden;
		CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE hidden.b (id int PRIMARY KEY);
		CREATE TABLE rls (id int PRIMARY KEY); ALTER TABLE rls ENABLE ROW LEVEL SECURITY; GRANT SELECT ON rls TO %[1]s;
		CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE leaf PARTITION OF root DEFAULT; GRANT SELECT ON root TO %[1]s`, role, testPassword))
	defer d.exec(fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", role))
	s := d.open(func(c *Config) { c.DSN = strings.Replace(c.DSN, "postgres:"+testPassword, role+":"+testPassword, 1) })
	found := check(t, s)
	require.ElementsMatch(t, []string{
		"blocker replication_role " + role, "blocker create_publication " + d.name,
		"blocker select public.a", "blocker select hidden.b", "blocker select public.leaf", "blocker row_security public.rls",
		"blocker table_owner public.a", "blocker table_owner hidden.b", "blocker table_owner public.rls", "blocker table_owner public.root",
	}, keys(found))

	// The remedies are SQL that mends it.
	for _, f := range found {
		d.exec(f.Remedy)
	}
	d.exec("GRANT SELECT ON hidden.b TO " + role + "; GRANT USAGE ON SCHEMA hidden TO " + role)
	require.Empty(t, keys(check(t, s)))
	require.NoError(t, s.Close())
}

func TestCheckSlotAndPublication(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	s := d.open()
	d.exec("SELECT pg_create_physical_replication_slot('" + s.config.Slot + "')")
	d.exec("CREATE PUBLICATION " + quoteIdent(s.config.Publication) + " FOR ALL TABLES")
	found := check(t, s)
	require.ElementsMatch(t, []string{"blocker slot " + s.config.Slot, "blocker publication " + s.config.Publication}, keys(found))
	d.exec(found["blocker publication "+s.config.Publication].Remedy)
	d.exec("SELECT pg_drop_replication_slot('" + s.config.Slot + "')")

	d.exec("BEGIN; INSERT INTO a VALUES (1); PREPARE TRANSACTION 'forgotten'")
	require.ElementsMatch(t, []string{"warning prepared_transactions"}, keys(check(t, s)))
	d.exec("ROLLBACK PREPARED 'forgotten'")
}

func TestCheckUnreachable(t *testing.T) {
	for _, dsn := range []string{"postgres://u:" + testPassword + "@127.0.0.1:1/db", "postgres://postgres:wrong@127.0.0.1:PORT/postgres"} {
		dsn = strings.Replace(dsn, "PORT", fmt.Sprint(testServer(t).Port()), 1)
		s, err := newSource(Config{DSN: dsn, Slot: "s", Publication: "p", All: true})
		require.NoError(t, err)
		found := check(t, s)
		require.Len(t, found, 1)
		for _, f := range found {
			require.Equal(t, "connect", f.Check)
			require.Equal(t, cdc.Blocker, f.Severity)
		}
		require.NoError(t, s.Close())
	}
}

// A server that is set up for nothing of this, with text that means nothing.
func TestCheckServer(t *testing.T) {
	testServer(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	bare, err := pgserver.Start(ctx, pgserver.Options{Offline: true, Settings: map[string]string{
		"wal_level": "replica", "max_replication_slots": "1", "max_wal_senders": "1", "max_slot_wal_keep_size": "64MB",
	}})
	require.NoError(t, err)
	defer func() { require.NoError(t, bare.Stop(context.Background())) }()
	conn := dial(t, bare.DSN())
	mustExec(t, conn, "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
	in := dial(t, bare.DSNFor("ascii", pgserver.Superuser))
	mustExec(t, in, "CREATE TABLE a (id int PRIMARY KEY)")
	s, err := Open(ctx, Config{DSN: bare.DSNFor("ascii", pgserver.Superuser), Slot: "s", Publication: "p", All: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	found := check(t, s)
	require.ElementsMatch(t, []string{
		"blocker wal_level", "blocker max_replication_slots", "blocker max_wal_senders", "blocker encoding",
	}, keys(found))
	for _, name := range []string{"wal_level", "max_replication_slots", "max_wal_senders"} {
		mustExec(t, conn, found["blocker "+name].Remedy)
	}
	closeConn(in)
	closeConn(conn)
	require.NoError(t, bare.Restart(ctx))
	require.ElementsMatch(t, []string{"blocker encoding"}, keys(check(t, s)))
}

func TestEdge25DecodingBugsOfMinorVersions(t *testing.T) {
	for version, want := range map[int]cdc.Severity{130020: cdc.Blocker, 140017: cdc.Warning, 150013: cdc.OK, 170004: cdc.Warning, 180000: cdc.OK} {
		f := &findings{}
		require.Equal(t, want != cdc.Blocker, f.version(version))
		worst := cdc.OK
		for _, x := range f.list {
			if x.Severity != cdc.OK {
				worst = x.Severity
			}
		}
		require.Equal(t, want, worst, version)
	}
}
