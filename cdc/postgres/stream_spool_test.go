package postgres

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/pgserver"
)

// noise is SQL of n rows that do not compress, of about a kilobyte each.
func noise(table string, from, n int) string {
	return fmt.Sprintf(`INSERT INTO %s SELECT g, (SELECT string_agg(md5((g * 100 + i)::text), '') FROM generate_series(1, 32) i) FROM generate_series(%d, %d) g`, table, from, from+n-1)
}

// plenty is SQL of n rows of as much that costs the server less to make.
func plenty(table string, n int) string {
	return fmt.Sprintf("INSERT INTO %s SELECT g, repeat(md5(g::text), 32) FROM generate_series(1, %d) g", table, n)
}

// noisy is a database that streams soon, with a table for noise and one beside.
func noisy(t testing.TB) *database {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE small (id int PRIMARY KEY)")
	d.streamSoon()
	return d
}

// until reads a stream until it fails or a position is reached.
func until(t testing.TB, y *story, stream cdc.Stream, end cdc.LSN) error {
	for y.cut < end {
		c, err := stream.Next(testContext(t))
		if err != nil {
			return err
		}
		y.add(t, c)
	}
	return nil
}

// TestEdge28SpoolIsFull: a transaction for which there is no room is left to
// the server: the stream ends with an error to retry, the next one takes whole
// transactions until that one has come, and later ones take them in progress
// again. Nothing is lost, nothing comes twice.
func TestEdge28SpoolIsFull(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, c *Config){
		"limit": func(t *testing.T, c *Config) { c.SpoolBytes = 1 << 20 },
		"no folder": func(t *testing.T, c *Config) {
			c.SpoolDir = filepath.Join(t.TempDir(), "file")
			require.NoError(t, os.WriteFile(c.SpoolDir, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := noisy(t)
			s := d.open(func(c *Config) { change(t, c) })
			publishAll(t, s)
			from := slotAt(t, s)
			big := dial(t, d.dsn)
			mustExec(t, big, "BEGIN; "+noise("t", 1, 6000))
			d.exec("INSERT INTO small VALUES (1)")

			stream := openStream(t, s, from)
			require.True(t, s.Stats().Streaming)
			if limit := s.Stats().SpoolLimit; name == "limit" {
				require.EqualValues(t, 1<<20, limit)
			} else {
				require.EqualValues(t, defaultSpoolBytes, limit)
			}
			y := &story{}
			err := until(t, y, stream, 1<<63)
			require.True(t, cdc.Retryable(err), "%v", err)
			var full *spoolError
			require.ErrorAs(t, err, &full)
			require.NoError(t, stream.Close())
			require.EqualValues(t, 1, s.Stats().SpoolFailures)
			require.Zero(t, s.Stats().Spooled)
			require.Zero(t, s.Stats().OnDisk)

			whole := openStream(t, s, from)
			require.False(t, s.Stats().Streaming, "it would fail again, and again")
			d.exec("INSERT INTO small VALUES (2)")
			mustExec(t, big, "COMMIT")
			d.exec("INSERT INTO small VALUES (3)")
			y = &story{}
			require.NoError(t, until(t, y, whole, d.now()))
			require.Len(t, y.lines, 6003)
			require.Equal(t, 4, y.txns)
			whole.Ack(y.cut)
			require.NoError(t, whole.Close())

			d.exec("INSERT INTO small VALUES (4)") // the server is beyond what we have
			after := openStream(t, s, y.cut)
			require.True(t, s.Stats().Streaming, "the transaction has come: others may be taken in progress")
			y = &story{}
			require.NoError(t, until(t, y, after, d.now()))
			require.Len(t, y.lines, 1)
		})
	}
}

// TestSpoolFullOfRollback: a transaction that had no room and was rolled back
// is never heard of again, and must not keep others from being streamed.
func TestSpoolFullOfRollback(t *testing.T) {
	d := noisy(t)
	s := d.open(func(c *Config) { c.SpoolBytes, c.SpoolDir = 1<<20, t.TempDir() })
	publishAll(t, s)
	from := slotAt(t, s)
	big := dial(t, d.dsn)
	mustExec(t, big, "BEGIN; "+noise("t", 1, 6000))
	stream := openStream(t, s, from)
	err := until(t, &story{}, stream, 1<<63)
	var full *spoolError
	require.ErrorAs(t, err, &full)
	require.NoError(t, stream.Close())

	again := openStream(t, s, from)
	require.False(t, s.Stats().Streaming, "it is still in progress")
	require.NoError(t, again.Close())
	mustExec(t, big, "ROLLBACK")
	again = openStream(t, s, from)
	require.False(t, s.Stats().Streaming, "it has ended, but the stream comes past it once more")
	y := &story{}
	d.exec("INSERT INTO small VALUES (1)")
	require.NoError(t, until(t, y, again, d.now()))
	require.Len(t, y.lines, 1)
	again.Ack(y.cut)
	require.NoError(t, again.Close())
	openStream(t, s, y.cut)
	require.True(t, s.Stats().Streaming)
}

// TestEdge14ServerHearsOfUsDuringAReplay: while a large transaction is played
// from its spool, and nobody calls Next for longer than the server's time-out,
// the server still hears of us, and we of the server.
func TestEdge14ServerHearsOfUsDuringAReplay(t *testing.T) {
	d := noisy(t)
	mustExec(t, dial(t, testServer(t).DSN()), "ALTER DATABASE "+d.name+" SET wal_sender_timeout = '1500ms'")
	d.conn = dial(t, d.dsn)
	s := d.open(func(c *Config) { c.SpoolDir = t.TempDir() })
	publishAll(t, s)
	stream := openStream(t, s, slotAt(t, s))
	d.exec(plenty("t", 60_000))
	ctx := testContext(t)
	first, err := stream.Next(ctx)
	for err == nil && !first.Open {
		first.Release()
		first, err = stream.Next(ctx)
	}
	require.NoError(t, err)
	y := &story{}
	y.add(t, first)
	// The server ends a connection of which it hears nothing for so long.
	sent := d.exec("SELECT reply_time FROM pg_stat_replication WHERE pid = (SELECT active_pid FROM pg_replication_slots WHERE slot_name = '" + s.config.Slot + "')")[0].str(0)
	for begun := time.Now(); time.Since(begun) < 4*time.Second; time.Sleep(100 * time.Millisecond) {
		require.Equal(t, 1, s.Stats().InProgress, "the transaction is being played")
	}
	now := d.exec("SELECT reply_time FROM pg_stat_replication WHERE pid = (SELECT active_pid FROM pg_replication_slots WHERE slot_name = '" + s.config.Slot + "')")
	require.Len(t, now, 1, "the server has given us up")
	require.NotEqual(t, sent, now[0].str(0), "the server has heard nothing")
	require.NoError(t, until(t, y, stream, d.now()))
	require.Len(t, y.lines, 60_000)
	require.Positive(t, y.opened)
}

// TestEdge14ShutdownDuringAReplay: a server that is shut down while a large
// transaction is played to a caller that does not come is not held up.
func TestEdge14ShutdownDuringAReplay(t *testing.T) {
	server, d := ownServer(t)
	d.exec("CREATE TABLE t (id int PRIMARY KEY, v text)")
	d.exec("ALTER DATABASE postgres SET logical_decoding_work_mem = '64kB'")
	s := d.open(func(c *Config) { c.SpoolDir = t.TempDir() })
	stream := begin(t, d, s)
	d.exec(plenty("t", 60_000))
	ctx := testContext(t)
	for open := false; !open; {
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		open = c.Open
		c.Release()
	}
	require.NoError(t, server.Restart(ctx)) // waits for walsenders, and they for us
	var err error
	for err == nil {
		var c *cdc.Chunk
		if c, err = stream.Next(ctx); err == nil {
			c.Release()
		}
	}
	require.ErrorIs(t, err, errStopping)
	require.True(t, cdc.Retryable(err))
}

// ownServer is a server for a test that stops it.
func ownServer(t testing.TB) (*pgserver.Server, *database) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out: -short starts no PostgreSQL")
	}
	server, err := pgserver.Start(testContext(t), pgserver.Options{Version: testVersion(), Offline: true})
	if err != nil {
		if os.Getenv("LAKELOAD_REAL") != "" {
			t.Fatal(err)
		}
		t.Skipf("left out: no PostgreSQL to test with: %v", err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	return server, &database{t: t, name: "postgres", dsn: server.DSN(), conn: dial(t, server.DSN())}
}

// TestHeartbeat: a stream in which nothing happens shows that it lives, and its
// cut moves on by it.
func TestHeartbeat(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (id int PRIMARY KEY)")
	s := d.open(func(c *Config) { c.Heartbeat = 100 * time.Millisecond })
	stream := begin(t, d, s)
	ctx := testContext(t)
	y := &story{}
	moved := 0
	for last := y.cut; moved < 3; last = y.cut {
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		require.Empty(t, c.Items)
		require.Zero(t, c.Transactions, "it is no transaction of the source's")
		y.add(t, c)
		if y.cut > last {
			moved++
		}
	}
	stats := s.Stats()
	require.Positive(t, stats.RoundTrip)
	require.False(t, stats.LastHeartbeat.IsZero())
	require.False(t, stats.LastData.IsZero())
}

// TestHeartbeatIsOurs: another pipeline's is not taken for ours.
func TestHeartbeatIsOurs(t *testing.T) {
	stats := &streamStats{}
	h := &heartbeat{every: time.Hour, name: "a", stats: stats, emit: func(context.Context, string) error { return nil }}
	require.True(t, h.beat(t.Context()))
	h.heard(heartbeatPrefix, []byte("b 1"))
	h.heard("other", []byte("a 1"))
	require.Zero(t, stats.heartbeat.Load())
	h.heard(heartbeatPrefix, []byte("a 1"))
	require.NotZero(t, stats.heartbeat.Load())
	at := stats.heartbeat.Load()
	h.heard(heartbeatPrefix, []byte("a 1"))
	require.Equal(t, at, stats.heartbeat.Load(), "it comes once")
}

// TestHeartbeatWithoutTheRight is told once, and nothing else comes of it.
func TestHeartbeatWithoutTheRight(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (id int PRIMARY KEY)")
	d.exec("CREATE ROLE weak_" + d.name + " LOGIN REPLICATION PASSWORD '" + testPassword + "'; GRANT SELECT ON t TO weak_" + d.name)
	t.Cleanup(func() { d.exec("DROP OWNED BY weak_" + d.name + "; DROP ROLE weak_" + d.name) })
	d.exec("DO $$ DECLARE f regprocedure; BEGIN FOR f IN SELECT oid FROM pg_proc WHERE proname = 'pg_logical_emit_message' LOOP EXECUTE 'REVOKE EXECUTE ON FUNCTION ' || f || ' FROM PUBLIC'; END LOOP; END $$")
	publishAll(t, d.open())
	log := &logLines{}
	s := d.open(func(c *Config) {
		c.DSN = testServer(t).DSNFor(d.name, "weak_"+d.name)
		c.Password = func(context.Context) (string, error) { return testPassword, nil }
		c.Heartbeat, c.Logger = 20*time.Millisecond, log.logger()
	})
	stream := openStream(t, s, slotAt(t, s))
	require.Eventually(t, func() bool { return log.count("no heartbeat can be sent") > 0 }, 30*time.Second, 10*time.Millisecond)
	d.exec("INSERT INTO t VALUES (1)")
	require.Len(t, tell(t, stream, d.now()).lines, 1)
	require.NoError(t, stream.Close())
	require.Equal(t, 1, log.count("no heartbeat can be sent"))
}

// logLines is a log that can be looked at.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logLines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}
