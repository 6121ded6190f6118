package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// TestEdge02LongTransaction: one that began first, and of which most lies
// before everything else in the log, commits last, comes last, and comes whole
// though what lies between has been acknowledged.
func TestEdge02LongTransaction(t *testing.T) {
	l := follow(t, "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY)")
	long := dial(t, l.dsn)
	mustExec(t, long, "BEGIN; "+noise("t", 1, 500))
	for i := range 3 {
		l.exec(fmt.Sprintf("INSERT INTO u VALUES (%d)", i))
		mustExec(t, long, fmt.Sprintf("INSERT INTO t VALUES (%d)", -1-i))
	}
	require.Equal(t, []string{"u insert id=0", "u insert id=1", "u insert id=2"}, l.events())
	l.again()
	mustExec(t, long, "COMMIT")
	l.exec("INSERT INTO u VALUES (3)")
	got := l.events()
	require.Len(t, got, 504)
	require.Equal(t, "u insert id=3", got[503])
	for i := range 3 {
		require.Equal(t, fmt.Sprintf("t insert id=%d v=NULL", -1-i), got[500+i])
	}
}

// TestEdge27SavepointsOnAServer: rows before and after a savepoint of which
// much had been sent when it was rolled back.
func TestEdge27SavepointsOnAServer(t *testing.T) {
	l := follow(t, "CREATE TABLE t (id int PRIMARY KEY, v text)")
	conn := dial(t, l.dsn)
	mustExec(t, conn, "BEGIN; INSERT INTO t SELECT g FROM generate_series(1, 500) g; SAVEPOINT a; "+noise("t", 1000, 800)+
		"; SAVEPOINT b; "+noise("t", 3000, 300)+"; RELEASE b; UPDATE t SET v = 'x' WHERE id < 10")
	l.sent(1000 << 10) // a server leaves out what is rolled back before it comes to it
	mustExec(t, conn, "ROLLBACK TO a; INSERT INTO t SELECT g FROM generate_series(501, 505) g; COMMIT")
	got := l.events()
	require.Len(t, got, 505)
	for i, line := range got {
		require.Equal(t, fmt.Sprintf("t insert id=%d v=NULL", i+1), line)
	}
	require.Positive(t, l.s.Stats().Aborted)
}

// TestEdge28OnDiskUntilTheCommit: nothing of a large transaction is delivered
// before it commits; it lies on the disk, and what it takes there is given back.
func TestEdge28OnDiskUntilTheCommit(t *testing.T) {
	l := follow(t, "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY)")
	big := dial(t, l.dsn)
	mustExec(t, big, "BEGIN; "+noise("t", 1, 3000))
	l.exec("INSERT INTO u VALUES (1)")
	require.Equal(t, []string{"u insert id=1"}, l.events())
	stats := l.s.Stats()
	require.Equal(t, 1, stats.InProgress)
	require.Equal(t, 1, stats.Files)
	require.Greater(t, stats.OnDisk, int64(1<<20))
	require.Greater(t, stats.Spooled, int64(2<<20))
	require.Equal(t, stats.Spooled, stats.Largest)
	require.LessOrEqual(t, l.stream.(*streamImpl).spools.memory, int64(2*spoolPage))
	mustExec(t, big, "COMMIT")
	require.Len(t, l.events(), 3000)
	stats = l.s.Stats()
	require.Zero(t, stats.InProgress)
	require.Zero(t, stats.Files)
	require.Zero(t, stats.OnDisk)
	require.Zero(t, stats.Spooled)
}

// TestEdge31NoCommitsOfOurs: where all that happens is of no concern, and the
// server sends nothing of it, the cut moves on; a transaction in progress does
// not hold it, and is not lost by it.
func TestEdge31NoCommitsOfOurs(t *testing.T) {
	l := follow(t, "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE SCHEMA other; CREATE TABLE other.o (id int)")
	long := dial(t, l.dsn)
	mustExec(t, long, "BEGIN; "+noise("t", 1, 300))
	l.exec("INSERT INTO other.o SELECT generate_series(1, 100)")
	end := l.exec("SELECT pg_current_wal_flush_lsn()")[0].lsn(0)
	for l.from < end {
		c, err := l.stream.Next(testContext(t))
		require.NoError(t, err)
		require.Empty(t, c.Items)
		require.Zero(t, c.Transactions)
		l.from = c.Cut
	}
	l.again() // acknowledged: beyond most of the transaction
	state, err := l.s.Slot(testContext(t))
	require.NoError(t, err)
	require.GreaterOrEqual(t, state.ConfirmedFlush, end)
	mustExec(t, long, "COMMIT")
	require.Len(t, l.events(), 300)
}

// TestEdge32PreparedOnAServer: prepared transactions come when they commit, not
// before, and never if they are rolled back; large and small.
func TestEdge32PreparedOnAServer(t *testing.T) {
	l := follow(t, "CREATE TABLE t (id int PRIMARY KEY, v text)")
	gid := func(s string) string { return "'" + l.name + s + "'" } // they are common to all databases
	l.exec("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION " + gid("a"))
	l.exec("BEGIN; " + noise("t", 1000, 300) + "; PREPARE TRANSACTION " + gid("b"))
	l.exec("BEGIN; " + noise("t", 2000, 300) + "; PREPARE TRANSACTION " + gid("c"))
	l.exec("INSERT INTO t VALUES (2)")
	require.Equal(t, []string{"t insert id=2 v=NULL"}, l.events())
	l.again() // which forgets them
	l.exec("COMMIT PREPARED " + gid("b"))
	require.Len(t, l.events(), 300)
	l.exec("ROLLBACK PREPARED " + gid("c"))
	l.exec("COMMIT PREPARED " + gid("a"))
	require.Equal(t, []string{"t insert id=1 v=NULL"}, l.events())
	require.Zero(t, l.s.Stats().InProgress)
}

// TestEdge33MessagesOnAServer: messages of both kinds, in transactions that
// commit and that do not, whole and in progress, change no event, and a stream
// may go on from any cut that they have made.
func TestEdge33MessagesOnAServer(t *testing.T) {
	l := follow(t, "CREATE TABLE t (id int PRIMARY KEY, v text)")
	const say = "SELECT pg_logical_emit_message(true, 'x', 'in'), pg_logical_emit_message(false, 'x', 'free');"
	long := dial(t, l.dsn)
	mustExec(t, long, "BEGIN; "+say+noise("t", 1000, 200)+";"+say)
	var got []string
	for i := range 4 {
		l.exec(say)
		got = append(got, l.events()...)
		l.again()
		l.exec(fmt.Sprintf("BEGIN; %s INSERT INTO t VALUES (%d); %s COMMIT", say, i, say))
		l.exec(fmt.Sprintf("BEGIN; %s INSERT INTO t VALUES (%d); ROLLBACK", say, -i-1))
		mustExec(t, long, "SAVEPOINT s; "+say+noise("t", 2000, 100)+"; ROLLBACK TO s; "+say)
		got = append(got, l.events()...)
		l.again()
	}
	mustExec(t, long, "COMMIT")
	got = append(got, l.events()...)
	require.Len(t, got, 204)
	for i := range 4 {
		require.Equal(t, fmt.Sprintf("t insert id=%d v=NULL", i), got[i])
	}
}

// TestEdge34OriginsOnAServer: what the source itself has replicated from
// elsewhere is taken, or left out where that is wanted, and a mark of origin
// does not stay for the next transaction.
func TestEdge34OriginsOnAServer(t *testing.T) {
	for name, origin := range map[string]Origin{"any": OriginAny, "none": OriginNone} {
		t.Run(name, func(t *testing.T) {
			if d := newDatabase(t); origin == OriginNone && d.version() < 16 {
				d.exec("CREATE TABLE t (id int PRIMARY KEY)")
				s := d.open(func(c *Config) { c.Origin = origin })
				publishAll(t, s)
				_, err := s.Stream(testContext(t), slotAt(t, s))
				require.ErrorContains(t, err, "replicated from elsewhere")
				require.Contains(t, err.(interface{ Hint() string }).Hint(), "PostgreSQL 16")
				require.False(t, cdc.Retryable(err))
				return
			}
			l := follow(t, "CREATE TABLE t (id int PRIMARY KEY, v text)", func(c *Config) { c.Origin = origin })
			remote := dial(t, l.dsn)
			node := "'node_" + l.name + "'" // origins are common to all databases
			mustExec(t, remote, "SELECT pg_replication_origin_create("+node+"), pg_replication_origin_session_setup("+node+")")
			defer func() {
				mustExec(t, remote, "SELECT pg_replication_origin_session_reset()")
				mustExec(t, remote, "SELECT pg_replication_origin_drop("+node+")")
			}()
			mustExec(t, remote, "BEGIN; SELECT pg_replication_origin_xact_setup('0/10', now()); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); COMMIT")
			l.exec("INSERT INTO t VALUES (3)")
			mustExec(t, remote, "BEGIN; SELECT pg_replication_origin_xact_setup('0/20', now()); "+noise("t", 1000, 200)+"; COMMIT")
			l.exec("BEGIN; " + noise("t", 2000, 200) + "; COMMIT")
			want := []string{"t insert id=1 v=NULL", "t insert id=2 v=NULL", "t insert id=3 v=NULL"}
			count := 403
			if origin == OriginNone {
				want, count = want[2:], 201
			}
			got := l.events()
			require.Len(t, got, count)
			require.Equal(t, want, got[:len(want)])
		})
	}
}

// TestEdge35PublicationOfThePast: the server looks publications up as they were
// at the place in the log that it decodes. One that was made later than the
// slot, or was away for a while, means that changes are missing, which is said,
// and that trying again is of no use.
func TestEdge35PublicationOfThePast(t *testing.T) {
	for _, c := range []struct{ name, before, after string }{
		{"made later", "", "publish"},
		{"dropped", "publish", "DROP PUBLICATION %s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDatabase(t)
			d.exec("CREATE TABLE t (id int PRIMARY KEY)")
			s := d.open()
			if c.before != "" {
				publishAll(t, s)
			}
			from := slotAt(t, s)
			d.exec("INSERT INTO t VALUES (1)")
			if c.after == "publish" {
				publishAll(t, s)
			} else {
				d.exec(fmt.Sprintf(c.after, quoteIdent(s.config.Publication)))
			}
			d.exec("INSERT INTO t VALUES (2)")
			stream := openStream(t, s, from)
			err := until(t, &story{}, stream, 1<<63)
			require.True(t, cdc.NeedsResync(err), "%v", err)
			require.False(t, cdc.Retryable(err))
			require.ErrorContains(t, err, s.config.Publication)
			require.NoError(t, stream.Close())
		})
	}
}

// TestEdge37UnchangedOnAServer: values that are stored out of line and that an
// update does not touch, under each identity, with keys that are stored so
// themselves.
func TestEdge37UnchangedOnAServer(t *testing.T) {
	const long = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i)" // does not compress into a row
	l := follow(t, `CREATE TABLE d (id int PRIMARY KEY, v text, n int);
		CREATE TABLE f (id int PRIMARY KEY, v text, n int); ALTER TABLE f REPLICA IDENTITY FULL;
		CREATE TABLE k (k text NOT NULL, v text, n int); ALTER TABLE k ALTER k SET STORAGE external;
		CREATE UNIQUE INDEX k_key ON k (md5(k)); ALTER TABLE k ADD COLUMN h text GENERATED ALWAYS AS (md5(k)) STORED;
		DROP TABLE k; CREATE TABLE k (a text, b text, v text, n int, PRIMARY KEY (a, b)); ALTER TABLE k ALTER a SET STORAGE external`)
	l.exec("INSERT INTO d VALUES (1, " + long + ", 0), (2, NULL, 0), (3, '', 0)")
	l.exec("INSERT INTO f SELECT * FROM d")
	l.exec("INSERT INTO k VALUES (repeat('k', 2300), 'b', " + long + ", 0)")
	require.Len(t, l.events(), 7)
	l.exec("UPDATE d SET n = 1; UPDATE d SET id = 4 WHERE id = 1; UPDATE d SET v = NULL WHERE id = 4")
	require.Equal(t, []string{
		"d update id=1 n=1", "d update id=2 v=NULL n=1", "d update id=3 v= n=1",
		"d before id=1 v=NULL n=NULL", "d update id=4 n=1", "d update id=4 v=NULL n=1",
	}, l.events())
	l.exec("UPDATE f SET n = 1; DELETE FROM f")
	require.Equal(t, []string{
		"f before id=1 v=c4ca...12800 n=0", "f update id=1 v=c4ca...12800 n=1",
		"f before id=2 v=NULL n=0", "f update id=2 v=NULL n=1",
		"f before id=3 v= n=0", "f update id=3 v= n=1",
		"f delete id=1 v=c4ca...12800 n=1", "f delete id=2 v=NULL n=1", "f delete id=3 v= n=1",
	}, l.events())
	// The key is out of line and does not change: it comes with the old key.
	l.exec("UPDATE k SET n = 1; UPDATE k SET b = 'c'; DELETE FROM k")
	require.Equal(t, []string{
		"k before a=kkkk...2300 b=b v=NULL n=NULL", "k update a=kkkk...2300 b=b n=1",
		"k before a=kkkk...2300 b=b v=NULL n=NULL", "k update a=kkkk...2300 b=c n=1",
		"k delete a=kkkk...2300 b=c v=NULL n=NULL",
	}, l.events())
}

// TestEdge38IdentityOnAServer: the key is the replica identity's, as it is at
// each place of the log, also in the middle of a transaction.
func TestEdge38IdentityOnAServer(t *testing.T) {
	l := follow(t, "CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, b int); CREATE UNIQUE INDEX t_a ON t (a)")
	l.exec("INSERT INTO t VALUES (1, 'x', 0), (2, 'y', 0)")
	l.exec("UPDATE t SET a = 'x2' WHERE id = 1") // the primary key is the identity
	l.exec(`BEGIN; DELETE FROM t WHERE id = 2; ALTER TABLE t REPLICA IDENTITY USING INDEX t_a; UPDATE t SET id = 3, a = 'x3'; UPDATE t SET b = 1;
		ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET b = 2; COMMIT`)
	require.Equal(t, []string{
		"t insert id=1 a=x b=0", "t insert id=2 a=y b=0", "t update id=1 a=x2 b=0",
		"t delete id=2 a=NULL b=NULL",
		"t before id=NULL a=x2 b=NULL", "t update id=3 a=x3 b=0", "t update id=3 a=x3 b=1",
		"t before id=3 a=x3 b=1", "t update id=3 a=x3 b=2",
	}, l.events())
}

// TestEdge39ChangedKeyOnAServer: a changed key carries along what was not sent.
func TestEdge39ChangedKeyOnAServer(t *testing.T) {
	l := follow(t, "CREATE TABLE t (a int, b int, v text, PRIMARY KEY (a, b))")
	l.exec("INSERT INTO t SELECT 1, 1, string_agg(md5(i::text), '') FROM generate_series(1, 400) i")
	l.exec("UPDATE t SET a = 2; UPDATE t SET b = 2; UPDATE t SET a = a, b = b; UPDATE t SET a = 3, v = 'short'")
	require.Equal(t, []string{
		"t insert a=1 b=1 v=c4ca...12800",
		"t before a=1 b=1 v=NULL", "t update a=2 b=1",
		"t before a=2 b=1 v=NULL", "t update a=2 b=2",
		"t update a=2 b=2",
		"t before a=2 b=2 v=NULL", "t update a=3 b=2 v=short",
	}, l.events())
}

// TestEdge41TruncateOnAServer: several tables at once, by CASCADE, among their
// rows; and one that is taken back.
func TestEdge41TruncateOnAServer(t *testing.T) {
	l := follow(t, `CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
		CREATE SCHEMA other; CREATE TABLE other.o (a int REFERENCES a)`)
	l.exec("INSERT INTO a (v) VALUES ('x'); INSERT INTO b VALUES (1, 1)")
	l.exec(`BEGIN; INSERT INTO a (v) VALUES ('y'); TRUNCATE a RESTART IDENTITY CASCADE; INSERT INTO a (v) VALUES ('z'); INSERT INTO b VALUES (2, 1);
		SAVEPOINT s; TRUNCATE b; INSERT INTO b VALUES (3, 1); ROLLBACK TO s; COMMIT`)
	l.exec("TRUNCATE b")
	got := l.events()
	require.Equal(t, []string{"a insert id=1 v=x", "b insert id=1 a=1"}, got[:2])
	cascade := slices.Clone(got[3:5])
	slices.Sort(cascade) // in which order the server lists them is its own affair
	require.Equal(t, "a insert id=2 v=y", got[2])
	require.Equal(t, []string{"a truncate", "b truncate"}, cascade)
	require.Equal(t, []string{"a insert id=1 v=z", "b insert id=2 a=1", "b truncate"}, got[5:])
}

// TestEdge42ShapesOnAServer: columns that come, go and change inside of
// transactions, whole and in progress, that commit and that do not.
func TestEdge42ShapesOnAServer(t *testing.T) {
	l := follow(t, "CREATE TABLE t (id int PRIMARY KEY, v numeric(10,2)); CREATE TABLE pad (id int PRIMARY KEY, v text)")
	for _, pad := range []string{"", noise("pad", 1, 200) + ";"} { // small: whole; large: in progress
		l.exec("BEGIN; INSERT INTO t VALUES (1, 1.5); " + pad + " ALTER TABLE t ALTER v TYPE numeric(12,4); INSERT INTO t VALUES (2, 1.5); ALTER TABLE t ADD w text; INSERT INTO t VALUES (3, 1.5, 'new'); SAVEPOINT s; ALTER TABLE t DROP v; INSERT INTO t VALUES (4, 'lost'); ROLLBACK TO s; INSERT INTO t VALUES (5, 2.5, 'kept'); COMMIT")
		l.exec("INSERT INTO t VALUES (6, 0, 'after')")
		l.exec("BEGIN; " + pad2(pad) + " ALTER TABLE t RENAME w TO x; INSERT INTO t VALUES (7, 0, 'lost'); ROLLBACK")
		l.exec("INSERT INTO t VALUES (8, 0, 'after')")
		got := slices.DeleteFunc(l.events(), func(line string) bool { return strings.HasPrefix(line, "pad ") })
		require.Equal(t, []string{
			"t insert id=1 v=1.50", "t insert id=2 v=1.5000", "t insert id=3 v=1.5000 w=new", "t insert id=5 v=2.5000 w=kept",
			"t insert id=6 v=0.0000 w=after", "t insert id=8 v=0.0000 w=after",
		}, got)
		l.exec("TRUNCATE t; ALTER TABLE t DROP w; ALTER TABLE t ALTER v TYPE numeric(10,2)")
		require.Equal(t, []string{"t truncate"}, l.events())
	}
	require.Positive(t, l.s.Stats().SpooledEver)
}

// pad2 is the same with other keys.
func pad2(sql string) string {
	if sql == "" {
		return ""
	}
	return noise("pad", 1000, 200) + ";"
}
