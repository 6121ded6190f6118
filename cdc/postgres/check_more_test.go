package postgres

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/pgserver"
)

// all gives every finding of a check, of any severity.
func all(t *testing.T, s *Source) map[string]cdc.Finding {
	t.Helper()
	list, err := s.Check(testContext(t))
	require.NoError(t, err)
	found := map[string]cdc.Finding{}
	for _, f := range list {
		found[f.Check] = f
	}
	return found
}

// What the stream does not carry is told beforehand, and what the remedies say
// mends it.
func TestEdge48GeneratedColumns(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY, double int GENERATED ALWAYS AS (id * 2) STORED)")
	s := d.open()
	found := check(t, s)
	require.Equal(t, []string{"warning generated_columns public.a"}, keys(found))
	require.Contains(t, found["warning generated_columns public.a"].Have, "double")
	require.Len(t, table(t, s, "public.a").Columns, 1, "copy and stream agree: neither has it")
	w := pubWant{name: "p", actions: "insert"}
	_, err := w.plan(&pubState{owned: true, viaRoot: true, insert: true, truncate: true, generated: true})
	require.ErrorContains(t, err, "generated columns", "whatever the version of the server that the rest runs on")
	if testServer(t).Version() < 18 {
		return
	}
	d.exec(fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE a WITH (publish_generated_columns = stored, publish_via_partition_root = true)", quoteIdent("Pub "+d.name)))
	ctx := testContext(t)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	require.ErrorContains(t, s.Publish(ctx, rels), "generated columns")
	found = check(t, s)
	require.Contains(t, keys(found), "blocker publication Pub "+d.name)
	d.exec(found["blocker publication Pub "+d.name].Remedy)
	require.NoError(t, s.Publish(ctx, rels))
	require.Equal(t, []string{"warning generated_columns public.a"}, keys(check(t, s)))
}

// Tables that share rows with others, in one way or another.
func TestEdge46CheckFamilies(t *testing.T) {
	d := newDatabase(t)
	d.exec(`CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
		CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE UNLOGGED TABLE leaf PARTITION OF root DEFAULT`)
	found := check(t, d.open())
	require.ElementsMatch(t, []string{"warning inheritance public.parent", "blocker table_kind public.leaf", "warning table_kind public.leaf"}, keys(found))
	require.Equal(t, "public.root", found["blocker table_kind public.leaf"].Table)
	d.exec(found["blocker table_kind public.leaf"].Remedy)
	require.ElementsMatch(t, []string{"warning inheritance public.parent"}, keys(check(t, d.open())))
}

// What takes room or time on the server.
func TestCheckWaitsAndLimits(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	role := "r_" + d.name
	d.exec(fmt.Sprintf(`CREATE ROLE %[1]s SUPERUSER LOGIN CONNECTION LIMIT 2 PASSWORD '%[2]s'; ALTER ROLE %[1]s SET statement_timeout = '1s'`, role, testPassword))
	defer d.exec("DROP ROLE " + role)
	s := d.open(func(c *Config) {
		c.DSN = strings.Replace(c.DSN, "postgres:"+testPassword, role+":"+testPassword, 1)
		c.WALSample = 300 * time.Millisecond
	})
	found := all(t, s)
	require.Equal(t, cdc.Warning, found["connection_limit"].Severity)
	require.Contains(t, found["connection_limit"].Object, role)
	require.Contains(t, found["role_settings"].Have, "statement_timeout")
	require.Equal(t, cdc.OK, found["role_settings"].Severity, "it is overridden")
	require.Contains(t, found["wal_rate"].Have, "/s just now")
	require.Contains(t, found["tls"].Have, "on this machine")
	require.Equal(t, "none", found["pooler"].Have)
	d.exec(found["connection_limit"].Remedy)
	require.Equal(t, cdc.OK, all(t, s)["connection_limit"].Severity)
	require.NotContains(t, all(t, d.open()), "wal_rate", "it takes time, and is measured where that is asked for")

	// A server that keeps little log for how fast it writes.
	d.exec("ALTER SYSTEM SET max_slot_wal_keep_size = '2MB'; ")
	d.exec("ALTER SYSTEM SET wal_sender_timeout = 0")
	d.exec("ALTER SYSTEM SET logical_decoding_work_mem = '64kB'")
	d.exec("SELECT pg_reload_conf()")
	defer d.exec("SELECT pg_reload_conf()")
	defer d.exec("ALTER SYSTEM RESET max_slot_wal_keep_size")
	defer d.exec("ALTER SYSTEM RESET wal_sender_timeout")
	defer d.exec("ALTER SYSTEM RESET logical_decoding_work_mem")
	done := make(chan struct{})
	noise := dial(t, d.dsn)
	go func() {
		defer close(done)
		for range 20 {
			_ = exec(testContext(t), noise, "INSERT INTO a SELECT g FROM generate_series((SELECT coalesce(max(id), 0) + 1 FROM a), (SELECT coalesce(max(id), 0) + 5000 FROM a)) g")
		}
	}()
	var f cdc.Finding
	require.Eventually(t, func() bool {
		found = all(t, s)
		f = found["wal_rate"]
		return found["wal_sender_timeout"].Severity == cdc.Warning
	}, 20*time.Second, 50*time.Millisecond)
	<-done
	require.Equal(t, cdc.Warning, f.Severity, "%+v", f)
	require.Contains(t, f.Have, "lasts for")
	require.Contains(t, f.Remedy, "max_slot_wal_keep_size")
	require.Equal(t, cdc.Warning, found["logical_decoding_work_mem"].Severity)
}

// A transaction that writes for long holds up the making of a slot.
func TestCheckLongTransactions(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	s := d.open()
	c := &checker{Source: s, findings: &findings{}, conn: d.conn, version: 150000, longAfter: "1 hour"}
	require.NoError(t, c.transactions(testContext(t)))
	require.Empty(t, c.list)
	other := dial(t, d.dsn)
	mustExec(t, other, "BEGIN; INSERT INTO a VALUES (1)")
	c.longAfter = "0 seconds"
	require.NoError(t, c.transactions(testContext(t)))
	require.Len(t, c.list, 1)
	require.Equal(t, "long_transactions", c.list[0].Check)
	require.Contains(t, c.list[0].Remedy, "pg_terminate_backend")
	mustExec(t, other, "ROLLBACK")
}

// A standby is read where that is allowed, and says what it lacks; a primary
// with standbys says what a promotion would cost.
func TestEdge22CheckStandbyAndFailover(t *testing.T) {
	p := newServerPair(t, nil)
	_, err := p.primary.SQL(t.Context(), "CREATE TABLE a (id int PRIMARY KEY)")
	require.NoError(t, err)
	p.caughtUp()
	version := p.primary.Version()

	require.Contains(t, keys(check(t, p.open(nil, p.standby))), "blocker standby")
	allowed := check(t, p.open(func(c *Config) { c.AllowStandby = true }, p.standby))
	if version < 16 {
		require.Contains(t, keys(allowed), "blocker standby")
	} else {
		require.ElementsMatch(t, []string{"warning hot_standby_feedback", "warning primary"}, keys(allowed))
		_, err := p.standby.SQL(t.Context(), allowed["warning hot_standby_feedback"].Remedy[:strings.Index(allowed["warning hot_standby_feedback"].Remedy, ";")], "SELECT pg_reload_conf()")
		require.NoError(t, err)
		named := p.open(func(c *Config) { c.AllowStandby, c.PrimaryDSN = true, p.config(p.primary).DSN }, p.standby)
		require.Eventually(t, func() bool { return len(keys(check(t, named))) == 0 }, 20*time.Second, 100*time.Millisecond)
		wrong := p.open(func(c *Config) { c.AllowStandby, c.PrimaryDSN = true, p.config(p.standby).DSN }, p.standby)
		require.Contains(t, strings.Join(keys(check(t, wrong)), " "), "blocker primary")
	}

	primary := check(t, p.open(nil, p.primary))
	require.Equal(t, []string{"warning failover"}, keys(primary))
	kept := p.open(func(c *Config) { c.Failover = true }, p.primary)
	if version < 17 {
		require.Contains(t, primary["warning failover"].Have, "PostgreSQL "+fmt.Sprint(version))
		return
	}
	require.Contains(t, primary["warning failover"].Need, "source.failover")
	// The standby answers whether it tells what it needs within a second or so.
	require.Eventually(t, func() bool {
		found := check(t, kept)
		_, empty := found["warning synchronized_standby_slots"]
		return empty && len(keys(found)) == 1
	}, 30*time.Second, 200*time.Millisecond)
}

// What pg_hba.conf forbids is told with the line that allows it, for this
// database: the word replication matches physical connections alone.
func TestCheckReplicationNotAdmitted(t *testing.T) {
	version := testServer(t).Version()
	server, err := pgserver.Start(testContext(t), pgserver.Options{Version: version, Offline: true, HBA: []string{"host all nobody all reject", "host postgres loader 127.0.0.1/32 reject"}})
	require.NoError(t, err)
	defer func() { require.NoError(t, server.Stop(t.Context())) }()
	_, err = server.SQL(t.Context(), "CREATE ROLE loader LOGIN SUPERUSER")
	require.NoError(t, err)
	s, err := newSource(Config{DSN: server.DSNFor("postgres", "loader"), Slot: "s", Publication: "p", All: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	found := check(t, s)
	require.Len(t, found, 1)
	for _, f := range found {
		require.Equal(t, "connect", f.Check)
		require.Contains(t, f.Remedy, "pg_hba.conf")
	}
}

// Settings are changed in other places on the services that manage servers.
func TestChangesOfEachService(t *testing.T) {
	for s, wants := range map[service][2]string{
		serviceNone:     {"ALTER SYSTEM SET wal_level = 'logical'; -- then restart the server", "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf();"},
		serviceRDS:      {"rds.logical_replication = 1 in the parameter group of the instance", "wal_sender_timeout = 60s in the parameter group"},
		serviceAurora:   {"rds.logical_replication = 1 in the parameter group of the cluster", "parameter group of the cluster"},
		serviceGoogle:   {"cloudsql.logical_decoding = on", "database flag wal_sender_timeout"},
		serviceAlloyDB:  {"alloydb.logical_decoding = on", "database flag wal_sender_timeout"},
		serviceAzure:    {"server parameter wal_level = logical", "server parameter wal_sender_timeout"},
		serviceSupabase: {"supabase postgres-config update --config wal_level=logical", "wal_sender_timeout=60s"},
		serviceNeon:     {"logical replication on in the project's settings", "ask the provider"},
	} {
		c := &checker{managed: s}
		require.Contains(t, c.change("wal_level", "logical"), wants[0], s)
		require.Contains(t, c.change("wal_sender_timeout", "60s"), wants[1], s)
	}
	require.Contains(t, (&checker{managed: serviceRDS}).allowReplication("u"), "GRANT rds_replication TO u;")
	require.Contains(t, (&checker{}).allowReplication("u"), "ALTER ROLE u REPLICATION;")
}
