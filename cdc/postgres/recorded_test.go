package postgres

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

var recordFlag = flag.Bool("record", false, "record testdata/recorded anew from the server of LAKELOAD_TEST_PG, for its version")

var timeZero = time.UnixMicro(epochMicros)

// scenario is a piece of history that is recorded from servers of all versions.
type scenario struct {
	name, tables string
	// play makes it. exec, a and b are three sessions; settle waits until the
	// server has sent what it means to send so far.
	play func(exec func(sql string), a, b func(sql string), settle func())
}

// long is SQL for a value that is stored out of line, where the column's
// storage is external.
const long = "repeat('x', 2500)"

// longRows is SQL for n rows of such values.
func longRows(table string, from, n int) string {
	return fmt.Sprintf("INSERT INTO %s SELECT g, %s FROM generate_series(%d, %d) g", table, long, from, from+n-1)
}

var scenarios = []scenario{
	{
		name: "rows",
		tables: `CREATE TYPE mood AS ENUM ('sad', 'fine');
			CREATE TABLE d (id int PRIMARY KEY, v text, n numeric(10,2), at timestamptz, m mood);
			CREATE TABLE f (id int, v text, tags int[]); ALTER TABLE f ALTER v SET STORAGE external; ALTER TABLE d ALTER v SET STORAGE external; ALTER TABLE f REPLICA IDENTITY FULL;
			CREATE TABLE x (id int PRIMARY KEY, k text NOT NULL UNIQUE); ALTER TABLE x REPLICA IDENTITY USING INDEX x_k_key;
			CREATE TABLE e ()`,
		play: func(exec, a, b func(string), settle func()) {
			exec("INSERT INTO d VALUES (1, 'one', 1.5, '2024-02-29 12:00+00', 'fine'), (2, NULL, 'NaN', 'infinity', NULL), (3, 'it''s \\ \"x\" # _', -1, '0044-03-15 BC', 'sad')")
			exec("INSERT INTO d (id, v) VALUES (4, " + long + ")")
			exec("BEGIN; UPDATE d SET n = 2 WHERE id = 4; UPDATE d SET id = 5 WHERE id = 4; UPDATE d SET v = NULL WHERE id = 5; DELETE FROM d WHERE id = 5; COMMIT")
			exec("INSERT INTO f VALUES (1, 'a', '{1,NULL,3}'), (1, 'a', '{1,NULL,3}'); UPDATE f SET tags = NULL; DELETE FROM f")
			exec("INSERT INTO f (id, v) VALUES (2, " + long + "); UPDATE f SET id = 3; UPDATE f SET v = 'short'")
			exec("INSERT INTO x VALUES (1, 'k'); UPDATE x SET id = 2; UPDATE x SET k = 'l'; DELETE FROM x")
			exec("INSERT INTO e DEFAULT VALUES; INSERT INTO e DEFAULT VALUES")
		},
	},
	{
		name:   "truncate",
		tables: "CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY)",
		play: func(exec, a, b func(string), settle func()) {
			exec("INSERT INTO a (v) VALUES ('x'); INSERT INTO b VALUES (1)")
			exec("BEGIN; INSERT INTO a (v) VALUES ('y'); TRUNCATE a, b; INSERT INTO a (v) VALUES ('z'); TRUNCATE b RESTART IDENTITY CASCADE; SAVEPOINT s; TRUNCATE a; ROLLBACK TO s; INSERT INTO b VALUES (2); COMMIT")
		},
	},
	{
		name:   "shapes",
		tables: "CREATE TABLE t (id int PRIMARY KEY, v numeric(10,2))",
		play: func(exec, a, b func(string), settle func()) {
			exec("INSERT INTO t VALUES (1, 1.5)")
			exec("BEGIN; INSERT INTO t VALUES (2, 1.5); ALTER TABLE t ADD w text DEFAULT 'd'; INSERT INTO t VALUES (3, 1.5); ALTER TABLE t ALTER v TYPE numeric(12,4); INSERT INTO t VALUES (4, 1.5, NULL); ALTER TABLE t DROP v; INSERT INTO t VALUES (5, 'x'); COMMIT")
			exec("BEGIN; ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET w = 'y' WHERE id = 5; COMMIT; DELETE FROM t WHERE id = 5")
		},
	},
	{
		name:   "messages",
		tables: "CREATE TABLE t (id int PRIMARY KEY)",
		play: func(exec, a, b func(string), settle func()) {
			exec("SELECT pg_logical_emit_message(false, 'free', 'outside'), pg_logical_emit_message(true, 'alone', 'in a transaction')")
			exec("BEGIN; SELECT pg_logical_emit_message(true, 'in', 'one'); INSERT INTO t VALUES (1); SELECT pg_logical_emit_message(false, 'free', 'inside'); COMMIT")
			exec("BEGIN; SELECT pg_logical_emit_message(true, 'in', 'lost'); SELECT pg_logical_emit_message(false, 'free', 'kept'); INSERT INTO t VALUES (2); ROLLBACK")
			exec("CREATE TABLE unpublished (id int); INSERT INTO unpublished VALUES (1)")
		},
	},
	{
		name:   "origins",
		tables: "CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t ALTER v SET STORAGE external",
		play: func(exec, a, b func(string), settle func()) {
			exec("SELECT pg_replication_origin_create('lakeload recorder'), pg_replication_origin_session_setup('lakeload recorder')")
			exec("BEGIN; SELECT pg_replication_origin_xact_setup('0/10', now()); INSERT INTO t VALUES (1); COMMIT")
			exec("BEGIN; SELECT pg_replication_origin_xact_setup('0/20', now()); INSERT INTO t SELECT g, " + long + " FROM generate_series(2, 30) g; COMMIT")
			exec("SELECT pg_replication_origin_session_reset()")
			exec("SELECT pg_replication_origin_drop('lakeload recorder')")
			exec("INSERT INTO t VALUES (100)")
		},
	},
	{
		name:   "progress",
		tables: "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text); CREATE TABLE o (id int PRIMARY KEY); ALTER TABLE t ALTER v SET STORAGE external; ALTER TABLE u ALTER v SET STORAGE external",
		play: func(exec, a, b func(string), settle func()) {
			a("BEGIN; " + longRows("t", 1, 28))
			b("BEGIN; " + longRows("u", 1, 26))
			settle()
			exec("INSERT INTO t VALUES (1000, 'whole'); INSERT INTO u VALUES (1000, 'whole')")
			a("SAVEPOINT s; " + longRows("t", 100, 26))
			a("SAVEPOINT n; " + longRows("u", 100, 26))
			settle()
			a("RELEASE n; ROLLBACK TO s; SELECT pg_logical_emit_message(true, 'in', 'progress')")
			b("SELECT pg_logical_emit_message(false, 'free', 'in progress'); SAVEPOINT s; UPDATE u SET id = -id WHERE id < 3; TRUNCATE o")
			a("INSERT INTO t VALUES (200, 'last')")
			b("COMMIT")
			a("COMMIT")
			b("BEGIN; " + longRows("u", 300, 26))
			settle()
			b("ROLLBACK")
			exec("INSERT INTO t VALUES (1001, 'after')")
		},
	},
	{
		name:   "prepared",
		tables: "CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t ALTER v SET STORAGE external",
		play: func(exec, a, b func(string), settle func()) {
			exec("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'lakeload recorder a'")
			exec("BEGIN; " + longRows("t", 100, 26) + "; PREPARE TRANSACTION 'lakeload recorder b'")
			exec("BEGIN; " + longRows("t", 200, 26) + "; PREPARE TRANSACTION 'lakeload recorder c'")
			exec("INSERT INTO t VALUES (2)")
			settle()
			exec("COMMIT PREPARED 'lakeload recorder b'")
			exec("ROLLBACK PREPARED 'lakeload recorder c'")
			exec("COMMIT PREPARED 'lakeload recorder a'")
		},
	},
}

// record makes a scenario's history in a new database, and gives what a stream
// has sent of it, in text or in binary.
func (sc *scenario) record(t testing.TB, binaryFormat bool) [][]byte {
	d := newDatabase(t)
	d.streamSoon()
	d.exec(sc.tables)
	s := d.open(func(c *Config) { c.Exclude, c.Keyless = []string{"public.unpublished"}, KeylessInsertOnly })
	publishAll(t, s)
	from := slotAt(t, s)
	r := newRecorder(t, s, from, binaryFormat)
	session := func() func(string) {
		conn := dial(t, d.dsn)
		return func(sql string) { mustExec(t, conn, sql) }
	}
	admin := dial(t, testServer(t).DSN())
	settle := func() {
		mustExec(t, admin, "CHECKPOINT") // flushes the log, and is nothing that would be sent
		end := mustExec(t, admin, "SELECT pg_current_wal_flush_lsn()")[0].str(0)
		require.Eventually(t, func() bool {
			rows := mustExec(t, admin, "SELECT FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = '"+s.config.Slot+"' AND r.sent_lsn >= '"+end+"'")
			return len(rows) == 1
		}, 30*time.Second, 5*time.Millisecond)
	}
	sc.play(session(), session(), session(), settle)
	settle()
	return r.stop(mustExec(t, admin, "SELECT pg_current_wal_flush_lsn()")[0].lsn(0))
}

// recordings are the files, by what is recorded.
func recordings(version int) map[string]func(t testing.TB) [][]byte {
	all := map[string]func(t testing.TB) [][]byte{}
	for i := range scenarios {
		sc := &scenarios[i]
		all[fmt.Sprintf("%s.%d", sc.name, version)] = func(t testing.TB) [][]byte { return sc.record(t, false) }
		if sc.name == "rows" || sc.name == "progress" {
			all[fmt.Sprintf("%s_binary.%d", sc.name, version)] = func(t testing.TB) [][]byte { return sc.record(t, true) }
		}
	}
	return all
}

const recordedDir = "testdata/recorded"

// TestRecorded plays what servers have sent, of all versions.
func TestRecorded(t *testing.T) {
	n := 0
	datadriven.Walk(t, recordedDir, func(t *testing.T, path string) { n++; playScript(t, path) })
	require.GreaterOrEqual(t, n, 5*len(scenarios))
}

// TestRecord holds the recordings against what the server sends today. With
// -record it makes them anew; then their events have to be looked at, and
// written by TestRecorded with -rewrite.
func TestRecord(t *testing.T) {
	d := newDatabase(t)
	for name, record := range recordings(d.version()) {
		t.Run(name, func(t *testing.T) {
			messages := record(t)
			lines := transcribe(t, messages)
			again := make([][]byte, len(lines))
			for i, line := range lines {
				again[i] = scriptMessage(line)
			}
			require.Equal(t, lines, transcribe(t, again), "what is written is what was sent")
			path := filepath.Join(recordedDir, name)
			if *recordFlag {
				require.NoError(t, os.MkdirAll(recordedDir, 0o755))
				head := "stream"
				if strings.Contains(name, "_binary") {
					head += " binary"
				}
				text := fmt.Sprintf("# Sent by PostgreSQL %d for the scenario of recorded_test.go; see TestRecord.\n%s\n%s\n----\n", d.version(), head, strings.Join(lines, "\n"))
				require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
				return
			}
			require.Equal(t, firstTold(recorded(t, path)), firstTold(lines))
		})
	}
}

// firstTold leaves out what tells of a table, or of a type, what was told
// before: when the server repeats that depends on what else goes on in it.
func firstTold(lines []string) (out []string) {
	told := map[string]bool{}
	for _, l := range lines {
		if kind, _, _ := strings.Cut(l, " "); kind == "relation" || kind == "type" {
			if told[l] {
				continue
			}
			told[l] = true
		}
		out = append(out, l)
	}
	return out
}

// recorded gives the lines of a recording.
func recorded(t testing.TB, path string) []string {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	text, _, ok := strings.Cut(string(data), "\n----\n")
	require.True(t, ok, path)
	lines := strings.Split(text, "\n")
	for len(lines) > 0 && !strings.HasPrefix(lines[0], "stream") {
		lines = lines[1:]
	}
	return lines[1:]
}
