package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// small makes a source that divides small tables, too.
func small(c *Config) { c.RangeBytes = 16 << 10 }

// divided gives the ranges of a table, which has to have some.
func divided(t testing.TB, s *Source, rel *cdc.Relation) *keyRanges {
	t.Helper()
	ranges, err := s.Divide(testContext(t), rel)
	require.NoError(t, err)
	require.NotNil(t, ranges, "%s is not divided", rel)
	return ranges.(*keyRanges)
}

// readRange reads a range under a view of its own.
func readRange(t testing.TB, s *Source, rel *cdc.Relation, k cdc.KeyRanges, i int, emit func(*cdc.Batch)) cdc.View {
	t.Helper()
	ctx := testContext(t)
	r, err := s.BeginRead(ctx, rel, k)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	v, err := r.View(ctx)
	require.NoError(t, err)
	require.NoError(t, r.Range(ctx, i, func(b *cdc.Batch) error {
		defer b.Release()
		emit(b)
		return nil
	}))
	return v
}

// TestKeyRangesCoverEveryRowOnce reads tables with keys of every kind range by
// range: each row comes once, in the range that it is told to be in.
func TestKeyRangesCoverEveryRowOnce(t *testing.T) {
	d := newDatabase(t)
	d.exec(`
CREATE DOMAIN num AS bigint;
CREATE TABLE small (k smallint PRIMARY KEY, v text); INSERT INTO small SELECT i - 3000, repeat('x', 80) FROM generate_series(1, 6000) i;
CREATE TABLE big (k num PRIMARY KEY, v text); INSERT INTO big SELECT i::bigint * 1000003 - 2000000000, repeat('x', 80) FROM generate_series(1, 6000) i;
CREATE TABLE ids (k uuid PRIMARY KEY, v text); INSERT INTO ids SELECT md5(i::text)::uuid, repeat('x', 80) FROM generate_series(1, 6000) i;
CREATE TABLE words (k text COLLATE "C" PRIMARY KEY, v text);
INSERT INTO words SELECT k, repeat('x', 80) FROM (SELECT DISTINCT (ARRAY['', 'a', 'A', 'ä', 'Z', '''', '\', 'é', '日本', E'\t'])[i % 10 + 1] || md5(i::text) AS k FROM generate_series(1, 6000) i) x;
CREATE TABLE bytes (k bytea PRIMARY KEY, v text); INSERT INTO bytes SELECT decode(md5(i::text), 'hex'), repeat('x', 80) FROM generate_series(1, 6000) i; INSERT INTO bytes VALUES ('', 'empty');
CREATE TABLE days (k date PRIMARY KEY, v text); INSERT INTO days SELECT '0001-06-01 BC'::date + i * 300, repeat('x', 80) FROM generate_series(1, 8000) i;
INSERT INTO days VALUES ('infinity', 'x'), ('-infinity', 'y'), ('4000-01-01 BC', 'z'), ('100000-01-01', 'far');
CREATE TABLE moments (k timestamptz, n int, v text, PRIMARY KEY (k, n));
INSERT INTO moments SELECT '2020-01-01'::timestamptz + (i / 7) * interval '1 minute', i % 7, repeat('x', 80) FROM generate_series(1, 6000) i;
INSERT INTO moments SELECT 'infinity', i, 'x' FROM generate_series(1, 50) i; INSERT INTO moments VALUES ('-infinity', 1, 'x'), ('294276-12-31', 1, 'x');
CREATE TABLE stamps (k timestamp PRIMARY KEY, v text); INSERT INTO stamps SELECT '1969-12-31'::timestamp + i * interval '0.7 seconds', repeat('x', 80) FROM generate_series(1, 6000) i;
CREATE TABLE parts (k int, p int, v text, PRIMARY KEY (k, p)) PARTITION BY LIST (p);
CREATE TABLE parts0 PARTITION OF parts FOR VALUES IN (0); CREATE TABLE parts1 PARTITION OF parts FOR VALUES IN (1); CREATE TABLE parts2 PARTITION OF parts FOR VALUES IN (2);
INSERT INTO parts SELECT i, i % 2, repeat('x', 80) FROM generate_series(1, 6000) i;
CREATE TABLE parent (k int PRIMARY KEY, v text); CREATE TABLE child () INHERITS (parent);
INSERT INTO parent SELECT i, repeat('x', 80) FROM generate_series(1, 6000) i; INSERT INTO child SELECT i, 'not of the parent' FROM generate_series(1, 100) i;
CREATE TABLE "Odd ""name" ("K 'k" int PRIMARY KEY, v text); INSERT INTO "Odd ""name" SELECT i, repeat('x', 80) FROM generate_series(1, 6000) i;`)
	s := d.open(small)
	for _, name := range []string{"small", "big", "ids", "words", "bytes", "days", "moments", "stamps", "parts", "parent", `Odd "name`} {
		t.Run(name, func(t *testing.T) {
			rel := table(t, s, "public."+name)
			k := divided(t, s, rel)
			require.Greater(t, k.Len(), 10)
			again, err := s.Restore(testContext(t), rel, k.Text())
			require.NoError(t, err)
			require.Equal(t, k, again)
			seen := map[string]int{}
			filled := 0
			for i := range k.Len() {
				before := len(seen)
				readRange(t, s, rel, again, i, func(b *cdc.Batch) {
					for row := range b.Len() {
						require.Equal(t, i, k.Of(b, row), "the range of %s", b.Rows.Column(0).ValueStr(row))
						key := ""
						for n := range rel.Key {
							text, err := keyTextAt(k.columns[n].kind, b, rel.Key[n], row)
							require.NoError(t, err)
							key += text + "\x00"
						}
						seen[key]++
					}
				})
				if len(seen) > before {
					filled++
				}
			}
			require.Greater(t, filled, k.Len()*2/3, "the ranges are very unequal")
			only := ""
			if name == "parent" {
				only = "ONLY "
			}
			require.EqualValues(t, mustExec(t, d.conn, "SELECT count(*) FROM "+only+quoteIdent(name))[0].int(0), len(seen))
			for key, n := range seen {
				require.Equal(t, 1, n, key)
			}
		})
	}
}

// TestTablesThatAreNotDivided: keys whose order is another than ours, and
// tables that are not worth it.
func TestTablesThatAreNotDivided(t *testing.T) {
	d := newDatabase(t)
	d.exec(`
CREATE TYPE mood AS ENUM ('z', 'a');
CREATE COLLATION german (provider = icu, locale = 'de');
CREATE TABLE tiny (k int PRIMARY KEY); INSERT INTO tiny VALUES (1);
CREATE TABLE empty (k int PRIMARY KEY);
CREATE TABLE words (k text COLLATE german PRIMARY KEY, v text); INSERT INTO words SELECT md5(i::text), repeat('x', 80) FROM generate_series(1, 6000) i;
CREATE TABLE amounts (k numeric PRIMARY KEY, v text); INSERT INTO amounts SELECT i, repeat('x', 80) FROM generate_series(1, 6000) i;
CREATE TABLE padded (k char(40) PRIMARY KEY, v text); INSERT INTO padded SELECT md5(i::text), repeat('x', 80) FROM generate_series(1, 6000) i;
CREATE TABLE moods (m mood, k int, v text, PRIMARY KEY (m, k)); INSERT INTO moods SELECT 'a', i, repeat('x', 80) FROM generate_series(1, 6000) i;
CREATE TABLE keyless (v text); INSERT INTO keyless SELECT repeat('x', 80) FROM generate_series(1, 6000) i;
CREATE TABLE scattered (k uuid PRIMARY KEY, v text); INSERT INTO scattered SELECT md5(i::text)::uuid, repeat('x', 80) FROM generate_series(1, 6000) i;`)
	s := d.open(small)
	for _, name := range []string{"tiny", "empty", "words", "amounts", "padded", "moods", "keyless"} {
		ranges, err := s.Divide(testContext(t), table(t, s, "public."+name))
		require.NoError(t, err, name)
		require.Nil(t, ranges, name)
	}
	// A large table would be read block by block, again and again.
	divided(t, s, table(t, s, "public.scattered"))
	mustExec(t, d.conn, "ALTER DATABASE "+d.name+" SET effective_cache_size = '64kB'")
	cold := d.open(small)
	ranges, err := cold.Divide(testContext(t), table(t, cold, "public.scattered"))
	require.NoError(t, err)
	require.Nil(t, ranges)
}

func TestKeyRangesOfAChangedTable(t *testing.T) {
	d := newDatabase(t)
	d.exec(`CREATE TABLE p (k int PRIMARY KEY, v text) PARTITION BY RANGE (k);
CREATE TABLE p0 PARTITION OF p FOR VALUES FROM (0) TO (10000); CREATE TABLE p1 (k int PRIMARY KEY, v text);`)
	s := d.open(small, func(c *Config) { c.Tables, c.All = []string{"public.t", "public.p"}, false })
	for what, change := range map[string]string{
		"emptied":       "TRUNCATE t; INSERT INTO t VALUES (1, 'x')",
		"rewritten":     "VACUUM FULL t",
		"altered":       "ALTER TABLE t ADD more int",
		"another key":   "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (k, v)",
		"dropped":       "DROP TABLE t",
		"made anew":     "DROP TABLE t; CREATE TABLE t (k int PRIMARY KEY, v text)",
		"renamed":       "ALTER TABLE t RENAME TO t2",
		"a partition":   "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (10000) TO (20000)",
		"one less":      "ALTER TABLE p DETACH PARTITION p0",
		"one's content": "TRUNCATE p0",
	} {
		t.Run(what, func(t *testing.T) {
			d.exec("DROP TABLE IF EXISTS t, t2; CREATE TABLE t (k int PRIMARY KEY, v text NOT NULL); INSERT INTO t SELECT i, repeat('x', 80) FROM generate_series(1, 6000) i")
			d.exec("INSERT INTO p SELECT i, repeat('x', 80) FROM generate_series(1, 6000) i ON CONFLICT DO NOTHING")
			rel := table(t, s, "public.t")
			if strings.Contains(change, " p") {
				rel = table(t, s, "public.p")
				defer d.exec("DROP TABLE p; CREATE TABLE p (k int PRIMARY KEY, v text) PARTITION BY RANGE (k); CREATE TABLE IF NOT EXISTS p1 (k int PRIMARY KEY, v text); DROP TABLE IF EXISTS p0; CREATE TABLE p0 PARTITION OF p FOR VALUES FROM (0) TO (10000)")
			}
			k := divided(t, s, rel)
			for _, sql := range strings.Split(change, "; ") {
				d.exec(sql)
			}
			ctx := testContext(t)
			r, err := s.BeginRead(ctx, rel, k)
			if err == nil {
				_, err = r.View(ctx)
				require.NoError(t, r.Close())
			}
			require.ErrorIs(t, err, cdc.ErrTableChanged)
			require.True(t, cdc.Retryable(err))
			_, err = s.Restore(ctx, rel, k.Text())
			if what != "renamed" && what != "altered" && what != "another key" { // which the shape tells
				require.ErrorIs(t, err, cdc.ErrTableChanged)
			}
		})
	}
}

// TestEdge60ViewsAndASynchronousStandby: a commit that waits for a standby is
// in the log, and streamed, and not visible. The view says so.
func TestEdge60ViewsAndASynchronousStandby(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (k int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat('x', 80) FROM generate_series(1, 6000) i")
	s := d.open(small, func(c *Config) { c.DSN += "&synchronous_commit=local" })
	rel := table(t, s, "public.t")
	ctx := testContext(t)
	require.NoError(t, s.Publish(ctx, []*cdc.Relation{rel}))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	from := snap.Point()
	require.NoError(t, snap.Close())
	k := divided(t, s, rel)

	waiter := dial(t, d.dsn)
	d.exec("SET synchronous_commit = local")
	d.exec("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	d.exec("SELECT pg_reload_conf()")
	reset := func() {
		d.exec("ALTER SYSTEM RESET synchronous_standby_names")
		d.exec("SELECT pg_reload_conf()")
	}
	defer reset()
	// The server's own processes learn of it one after the other.
	probe := dial(t, d.dsn)
	for hangs := false; !hangs; {
		done := make(chan error, 1)
		go func() {
			done <- exec(context.Background(), probe, "CREATE TABLE IF NOT EXISTS probe (); DROP TABLE probe")
		}()
		require.Eventually(t, func() bool {
			select {
			case err := <-done:
				require.NoError(t, err)
				return true
			default:
			}
			hangs = hangs || len(d.exec("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")) > 0
			return false
		}, 30*time.Second, 10*time.Millisecond)
	}
	committed := make(chan error, 1)
	go func() { committed <- exec(context.Background(), waiter, "UPDATE t SET v = 'changed' WHERE k = 17") }()

	st, err := s.Stream(ctx, from)
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	var txn cdc.Txn
	for txn.XID == 0 {
		c, err := st.Next(ctx)
		require.NoError(t, err)
		for _, it := range c.Items {
			txn = it.Batch.Txns[0].Txn
		}
		c.Release()
	}
	value := func() (string, cdc.View) {
		v := ""
		view := readRange(t, s, rel, k, 0, func(b *cdc.Batch) {
			for row := range b.Len() {
				if b.Rows.Column(0).(*array.Int32).Value(row) == 17 {
					v = b.Rows.Column(1).ValueStr(row)
				}
			}
		})
		return v, view
	}
	before, view := value()
	require.False(t, view.Holds(txn), "the view %s tells that it has seen %d", view, txn.XID)
	require.NotEqual(t, "changed", before)
	require.Greater(t, view.Horizon, txn.Commit)
	waiting, err := s.Running(ctx)
	require.NoError(t, err)
	require.Contains(t, waiting, fmt.Sprint(txn.XID))
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	require.ErrorIs(t, s.Settle(short), context.DeadlineExceeded, "it waits for the commit to be visible")
	cancel()

	reset()
	require.NoError(t, <-committed)
	require.NoError(t, s.Settle(ctx))
	after, view := value()
	require.True(t, view.Holds(txn))
	require.Equal(t, "changed", after)
}

// TestEdge20ReadsWaitForTheDisk: a commit that does not wait for the disk is
// visible before it is durable. What has seen it is not handed out as read.
func TestEdge20ReadsWaitForTheDisk(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (k int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat('x', 80) FROM generate_series(1, 6000) i")
	d.exec("ALTER SYSTEM SET wal_writer_delay = '1s'")
	d.exec("SELECT pg_reload_conf()")
	defer func() {
		d.exec("ALTER SYSTEM RESET wal_writer_delay")
		d.exec("SELECT pg_reload_conf()")
	}()
	s := d.open(small)
	rel := table(t, s, "public.t")
	k := divided(t, s, rel)
	d.exec("SET synchronous_commit = off")
	for range 3 {
		d.exec("UPDATE t SET v = v || 'x' WHERE k < 100")
		view := readRange(t, s, rel, k, 0, func(*cdc.Batch) {})
		require.GreaterOrEqual(t, d.exec("SELECT pg_current_wal_flush_lsn()")[0].lsn(0), view.Horizon)
	}
}

// TestEdge35SettleWaitsForOlderWriters: what a transaction wrote before its
// table was published is never in the stream. A copy begins after it has ended.
func TestEdge35SettleWaitsForOlderWriters(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (k int PRIMARY KEY); CREATE TABLE other (k int PRIMARY KEY)")
	s := d.open()
	ctx := testContext(t)
	require.NoError(t, s.Settle(ctx), "nobody writes")
	for what, begin := range map[string]string{
		"a writer":           "BEGIN; INSERT INTO t VALUES (1)",
		"a subtransaction":   "BEGIN; SAVEPOINT s; INSERT INTO other VALUES (1)",
		"a prepared one":     "BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'held'",
		"one that only read": "BEGIN; SELECT * FROM t",
	} {
		t.Run(what, func(t *testing.T) {
			conn := dial(t, d.dsn)
			mustExec(t, conn, begin)
			settled := make(chan error, 1)
			go func() { settled <- s.Settle(ctx) }()
			if !strings.Contains(what, "read") {
				select {
				case err := <-settled:
					t.Fatalf("it did not wait: %v", err)
				case <-time.After(300 * time.Millisecond):
				}
				if strings.Contains(what, "prepared") {
					mustExec(t, conn, "ROLLBACK PREPARED 'held'")
				} else {
					mustExec(t, conn, "ROLLBACK")
				}
			}
			require.NoError(t, <-settled)
		})
	}
}

// TestEdge41And43LockedWhileItIsRead: a table that is emptied, or whose rows an
// ALTER TABLE writes anew, is empty for whoever took his view before. So neither
// gets in between the beginning of a read, its view and its rows.
func TestEdge41And43LockedWhileItIsRead(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (k int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat('x', 80) FROM generate_series(1, 6000) i")
	s := d.open(small)
	rel := table(t, s, "public.t")
	k := divided(t, s, rel)
	ctx := testContext(t)
	other := dial(t, d.dsn)
	mustExec(t, other, "SET lock_timeout = '100ms'")
	refused := func() {
		t.Helper()
		for _, sql := range []string{"TRUNCATE t", "ALTER TABLE t ALTER k TYPE bigint"} {
			_, err := simple(ctx, other, sql)
			require.Equal(t, codeLockNotAvailable, sqlState(err), "%s: %v", sql, err)
		}
	}
	r, err := s.BeginRead(ctx, rel, k)
	require.NoError(t, err)
	refused()
	_, err = r.View(ctx)
	require.NoError(t, err)
	refused()
	rows := 0
	for i := range k.Len() {
		require.NoError(t, r.Range(ctx, i, func(b *cdc.Batch) error {
			rows += b.Len()
			b.Release()
			return nil
		}))
	}
	require.Equal(t, 6000, rows)
	require.NoError(t, r.Close())
	mustExec(t, other, "ALTER TABLE t ALTER k TYPE bigint; TRUNCATE t")
}

func TestKeyReadOfATableThatMayNotBeRead(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (k int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat('x', 80) FROM generate_series(1, 6000) i")
	role := "r_" + d.name
	d.exec("CREATE ROLE " + role + " LOGIN REPLICATION PASSWORD '" + testPassword + "'; GRANT SELECT ON t TO " + role)
	defer d.exec("DROP OWNED BY " + role + "; DROP ROLE " + role)
	s := d.open(small, func(c *Config) {
		c.DSN = testServer(t).DSNFor(d.name, role)
		c.Password = func(context.Context) (string, error) { return testPassword, nil }
	})
	rel := table(t, s, "public.t")
	k := divided(t, s, rel)
	readRange(t, s, rel, k, 0, func(*cdc.Batch) {})
	d.exec("REVOKE SELECT ON t FROM " + role)
	_, err := s.BeginRead(testContext(t), rel, k)
	require.ErrorIs(t, err, cdc.ErrTableUnreadable)
	var e *cdc.Error
	require.True(t, errors.As(err, &e))
	require.NotEmpty(t, e.Remedy)
	_, err = s.Divide(testContext(t), rel)
	require.ErrorIs(t, err, cdc.ErrTableUnreadable)
}

func TestKeyReadOfOneRow(t *testing.T) {
	d := newDatabase(t)
	d.exec(`CREATE TABLE t (a date, b bytea, c text COLLATE "C", v text, PRIMARY KEY (a, b, c));
INSERT INTO t SELECT '2020-01-01'::date + i, decode(md5(i::text), 'hex'), 'it''s \ ' || i, repeat('x', 80) || i FROM generate_series(1, 6000) i; INSERT INTO t VALUES ('infinity', '', '', 'far')`)
	s := d.open(small)
	rel := table(t, s, "public.t")
	k := divided(t, s, rel)
	ctx := testContext(t)
	for _, i := range []int{0, k.Len() / 2, k.Len() - 1} {
		r, err := s.BeginRead(ctx, rel, k)
		require.NoError(t, err)
		_, err = r.View(ctx)
		require.NoError(t, err)
		var some *cdc.Batch
		require.NoError(t, r.Range(ctx, i, func(b *cdc.Batch) error {
			some.Release()
			some = b
			return nil
		}))
		last := some.Len() - 1
		var found []string
		require.NoError(t, r.Row(ctx, some, last, func(b *cdc.Batch) error {
			defer b.Release()
			for row := range b.Len() {
				found = append(found, b.Rows.Column(3).ValueStr(row))
			}
			return nil
		}))
		require.Equal(t, []string{some.Rows.Column(3).ValueStr(last)}, found)
		some.Release()
		require.NoError(t, r.Close())
	}
}

func TestSpreadAndCorrelation(t *testing.T) {
	k := &keyRanges{columns: []keyColumn{{name: "k", kind: keyInt}}}
	var up, mixed []sampled
	for i := range 1000 {
		up = append(up, sampled{key: []string{fmt.Sprint(i)}, leaf: uint32(i % 3), block: int64(i / 10)})
		mixed = append(mixed, sampled{key: []string{fmt.Sprint(i * 7919 % 1009)}, block: int64(i)})
	}
	require.InDelta(t, 1, k.correlation(up), 0.01)
	slices.Reverse(up)
	require.InDelta(t, 1, k.correlation(up), 0.01, "the order in which they come does not matter")
	require.Less(t, k.correlation(mixed), 0.2)
	require.NoError(t, k.spread(mixed, 8))
	require.Equal(t, 8, k.Len())
	require.NoError(t, k.spread(mixed[:3], 8))
	require.Equal(t, 4, k.Len(), "no more ranges than the sample has bounds")
	require.NoError(t, k.spread(nil, 8))
	require.Equal(t, 1, k.Len())
	require.Empty(t, k.where(0))
}
