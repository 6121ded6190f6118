package postgres

import (
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/pgserver"
)

// replica is a copy of tables that is kept by applying a stream, as rows of
// text by their first column.
type replica struct {
	t      *testing.T
	tables map[string]map[string][]string
	txns   int
	cut    cdc.LSN
}

func newReplica(t *testing.T) *replica {
	return &replica{t: t, tables: map[string]map[string][]string{}}
}

func (r *replica) apply(c *cdc.Chunk) {
	defer c.Release()
	require.GreaterOrEqual(r.t, c.Cut, r.cut, "the cut never goes back")
	r.cut = c.Cut
	r.txns += c.Transactions
	for _, it := range c.Items {
		name := it.Relation.String()
		if r.tables[name] == nil || it.Truncate != nil {
			r.tables[name] = map[string][]string{}
		}
		if it.Batch != nil {
			r.batch(r.tables[name], it.Batch)
		}
	}
}

func (r *replica) batch(rows map[string][]string, b *cdc.Batch) {
	require.NotEmpty(r.t, b.Txns)
	require.Zero(r.t, b.Txns[0].First)
	unchanged := map[[2]int]bool{}
	for col, at := range b.Unchanged {
		for _, row := range at {
			unchanged[[2]int{int(row), col}] = true
		}
	}
	exact := map[[2]int]string{}
	for _, e := range b.Exact {
		exact[[2]int{e.Row, e.Col}] = e.Text
	}
	var before []string // the row that the next update replaces
	for i, op := range b.Ops {
		image := make([]string, b.Rows.NumCols())
		for col := range image {
			image[col] = b.Rows.Column(col).ValueStr(i)
			if e, ok := exact[[2]int{i, col}]; ok {
				image[col] = "exact " + e
			}
		}
		key := image[0]
		switch op {
		case cdc.OpInsert:
			r.present(rows, key, false)
			rows[key] = image
		case cdc.OpBefore, cdc.OpDelete:
			r.present(rows, key, true)
			before = rows[key]
			delete(rows, key)
		case cdc.OpUpdate:
			if before == nil {
				r.present(rows, key, true)
				before = rows[key]
			}
			for col := range image {
				if unchanged[[2]int{i, col}] {
					image[col] = before[col]
				}
			}
			rows[key] = image
		}
		if op != cdc.OpBefore {
			before = nil
		}
	}
}

// present requires that a key is there, or is not. (testify looks through all.)
func (r *replica) present(rows map[string][]string, key string, want bool) {
	if _, ok := rows[key]; ok != want {
		require.Failf(r.t, "a wrong key", "key %q is present: %v", key, ok)
	}
}

// until applies chunks up to a position, and acknowledges them.
func (r *replica) until(s cdc.Stream, target cdc.LSN) {
	r.t.Helper()
	ctx := testContext(r.t)
	for r.cut < target {
		c, err := s.Next(ctx)
		require.NoError(r.t, err)
		r.apply(c)
		s.Ack(r.cut)
	}
}

// equals compares a table with what the server has, read as text.
func (r *replica) equals(d *database, s *Source, name string) {
	r.t.Helper()
	rel := table(r.t, s, name)
	types := make([]columnType, len(rel.Columns))
	require.NoError(r.t, s.admin.with(testContext(r.t), func(conn *pgconn.PgConn) error {
		for i, c := range rel.Columns {
			infos, err := s.types.resolve(testContext(r.t), conn, []uint32{c.TypeOID})
			require.NoError(r.t, err)
			types[i] = resolveType(c.TypeOID, c.TypeMod, infos[c.TypeOID])
		}
		rows, err := query(testContext(r.t), conn, "SELECT * FROM ONLY "+quoteTable(rel.Schema, rel.Name))
		require.NoError(r.t, err)
		require.Len(r.t, r.tables[name], len(rows))
		b := newBatchBuilder(rel, types, s.mem)
		b.beginTxn(cdc.Txn{})
		for _, row := range rows {
			for i, v := range row {
				if v == nil {
					b.appendNull(i)
				} else {
					require.NoError(r.t, b.appendText(i, v))
				}
			}
			b.endRow(cdc.OpInsert, 0)
		}
		want := newReplica(r.t)
		if batch := b.finish(); batch != nil {
			want.apply(&cdc.Chunk{Items: []cdc.Item{{Relation: rel, Batch: batch}}, Cut: 1})
		}
		for key, row := range want.tables[name] {
			got := r.tables[name][key]
			for got != nil && len(got) < len(row) { // columns that were added since
				got = append(got, "(null)")
			}
			require.Equal(r.t, clipped(row), clipped(got), "table %s, key %s", name, key)
		}
		return nil
	}))
}

// clipped makes rows fit for messages, and different where they are.
func clipped(row []string) (out []string) {
	for _, v := range row {
		if len(v) > 100 {
			v = fmt.Sprintf("%s... (%d bytes, md5 %x)", v[:20], len(v), md5.Sum([]byte(v)))
		}
		out = append(out, v)
	}
	return out
}

// begin publishes every table, makes the slot and starts to stream.
func begin(t *testing.T, d *database, s *Source) cdc.Stream {
	t.Helper()
	ctx := testContext(t)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Publish(ctx, rels))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	point := snap.Point()
	require.NoError(t, snap.Close())
	stream, err := s.Stream(ctx, point)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stream.Close()) })
	return stream
}

// now is the server's newest position, after a commit.
func (d *database) now() cdc.LSN {
	d.exec("SELECT pg_logical_emit_message(true, 'test', '')")
	return d.exec("SELECT pg_current_wal_flush_lsn()")[0].lsn(0)
}

// workload changes three tables at random: a key, TOAST, FULL, truncates,
// subtransactions that abort, whole transactions that do, and a huge one.
func workload(d *database, seed uint64, rounds int) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for i := range rounds {
		var sql strings.Builder
		sql.WriteString("BEGIN;")
		for range 1 + rnd.IntN(8) {
			id := rnd.IntN(60)
			switch rnd.IntN(9) {
			case 0, 1, 2:
				fmt.Fprintf(&sql, "INSERT INTO a VALUES (%d, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, %d)), %d.25, now(), 'NaN') ON CONFLICT (id) DO NOTHING;", id, 1+rnd.IntN(400), i)
				fmt.Fprintf(&sql, "INSERT INTO b VALUES ('k%d', array[%d, NULL], (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, %d)), interval '%d min') ON CONFLICT (k) DO NOTHING;", id, id, 1+rnd.IntN(400), i)
			case 3, 4:
				fmt.Fprintf(&sql, "UPDATE a SET n = n + 1 WHERE id = %d; UPDATE b SET v = v || 1 WHERE k = 'k%d';", id, id)
			case 5:
				fmt.Fprintf(&sql, "UPDATE a SET id = id + 1000 WHERE id = %d AND NOT EXISTS (SELECT FROM a WHERE id = %d);", id, id+1000)
			case 6:
				fmt.Fprintf(&sql, "DELETE FROM a WHERE id IN (%d, %d); DELETE FROM b WHERE k = 'k%d';", id, id+1000, id)
			case 7:
				fmt.Fprintf(&sql, "SAVEPOINT x; DELETE FROM a WHERE id < %d; ROLLBACK TO x;", id)
			case 8:
				if rnd.IntN(10) == 0 {
					sql.WriteString("TRUNCATE c, b;")
				}
				fmt.Fprintf(&sql, "INSERT INTO c SELECT g, now() FROM generate_series((SELECT coalesce(max(id), 0) + 1 FROM c), (SELECT coalesce(max(id), 0) + %d FROM c)) g;", rnd.IntN(50))
			}
		}
		if rnd.IntN(8) == 0 {
			sql.WriteString("ROLLBACK;")
		} else {
			sql.WriteString("COMMIT;")
		}
		d.exec(sql.String())
	}
}

func testStream(t *testing.T, binary bool) {
	d := newDatabase(t)
	d.exec(`CREATE TABLE a (id int PRIMARY KEY, big text, n numeric(12,2), at timestamptz, weird numeric(5,1));
		CREATE TABLE b (k text PRIMARY KEY, v int[], big text, i interval); ALTER TABLE b REPLICA IDENTITY FULL;
		CREATE TABLE c (id bigint PRIMARY KEY, at timestamp)`)
	if !binary {
		d.exec("CREATE TABLE m (id int PRIMARY KEY, m money)")
	}
	s := d.open()
	stream := begin(t, d, s)
	require.Equal(t, binary, stream.(*streamImpl).cfg.binary)
	r := newReplica(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		workload(d, 7, 150)
		d.exec("INSERT INTO c SELECT g, now() FROM generate_series(1000000, 1150000) g") // several chunks
		d.exec("ALTER TABLE a ADD COLUMN extra uuid DEFAULT '1fe01fe0-1fe0-1fe0-1fe0-1fe01fe01fe0'")
		d.exec("UPDATE a SET extra = NULL WHERE id % 2 = 0; UPDATE a SET n = 0")
		workload2 := "INSERT INTO a (id, extra) SELECT g, gen_random_uuid() FROM generate_series(5000, 5010) g"
		d.exec(workload2)
	}()
	ctx := testContext(t)
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			c, err := stream.Next(short)
			cancel()
			if err == nil {
				r.apply(c)
			} else {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
		}
	}
	r.until(stream, d.now())
	r.equals(d, s, "public.b")
	r.equals(d, s, "public.c")
	r.equals(d, s, "public.a")
	require.Greater(t, r.txns, 100)
	require.GreaterOrEqual(t, stream.Progress(), r.cut)
}

func TestStreamBinary(t *testing.T) { testStream(t, true) }
func TestStreamText(t *testing.T)   { testStream(t, false) }

// TestStreamGoesOn: what was acknowledged is not sent again, everything else
// is, whole; Close lets go of the slot and leaves the last position behind.
func TestStreamGoesOn(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (id int PRIMARY KEY)")
	s := d.open()
	stream := begin(t, d, s)
	ctx := testContext(t)
	d.exec("INSERT INTO t VALUES (1)")
	r := newReplica(t)
	r.until(stream, d.now())
	acked := r.cut
	d.exec("INSERT INTO t VALUES (2)")
	for len(r.tables["public.t"]) < 2 { // delivered, but not acknowledged
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		r.apply(c)
	}
	stream.Ack(acked - 8) // lower: ignored
	require.NoError(t, stream.Close())
	require.True(t, stream.(*streamImpl).inbox.ended, "it has left before the server had said goodbye")
	_, err := stream.Next(ctx)
	require.ErrorIs(t, err, errStreamClosed)
	state, err := s.Slot(ctx)
	require.NoError(t, err)
	require.False(t, state.Active)
	require.Equal(t, acked, state.ConfirmedFlush)

	again, err := s.Stream(ctx, acked)
	require.NoError(t, err)
	defer again.Close()
	r2 := newReplica(t)
	r2.until(again, d.now())
	require.Equal(t, map[string][]string{"2": {"2"}}, r2.tables["public.t"])
	again.Ack(r2.cut + 1<<30) // never more than was delivered
	require.NoError(t, again.Close())
	state, err = s.Slot(ctx)
	require.NoError(t, err)
	require.Equal(t, r2.cut, state.ConfirmedFlush)
}

// TestStreamIsPrompt: a commit reaches a caller that waits without any other
// following it, and one that asks later, too; an idle stream's cut follows the
// server.
func TestStreamIsPrompt(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (id int PRIMARY KEY)")
	s := d.open()
	stream := begin(t, d, s)
	ctx := testContext(t)
	rows := 0
	take := func(want int) {
		for rows < want {
			c, err := stream.Next(ctx)
			require.NoError(t, err)
			for _, it := range c.Items {
				rows += it.Batch.Len()
			}
			c.Release()
		}
	}
	for i := range 20 {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d)", i))
		take(i + 1) // a commit that waited for the next one would wait for ever
	}
	for i := 20; i < 40; i++ {
		d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d)", i))
	}
	take(40)
	newest := d.now()
	for cut := cdc.LSN(0); cut < newest; {
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		require.Empty(t, c.Items)
		cut = c.Cut
	}
}

// TestEdge14SlowCaller: the server hears of us while nobody calls Next
// for longer than its wal_sender_timeout, with more waiting than we buffer.
func TestEdge14SlowCaller(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (id int PRIMARY KEY, pad text)")
	root := dial(t, testServer(t).DSN())
	mustExec(t, root, "ALTER DATABASE "+d.name+" SET wal_sender_timeout = '3s'")
	d.conn = dial(t, d.dsn)
	s := d.open()
	stream := begin(t, d, s)
	require.Equal(t, 3*time.Second, stream.(*streamImpl).cfg.senderTimeout)
	d.exec("INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 100000) g")
	time.Sleep(7 * time.Second)
	r := newReplica(t)
	r.until(stream, d.now())
	require.Len(t, r.tables["public.t"], 100000)
}

// TestServerShutdown: a server that is shut down while we cannot acknowledge
// is not held up for long, and the error says to come back.
func TestServerShutdown(t *testing.T) {
	ctx := testContext(t)
	server, d := ownServer(t)
	d.exec("CREATE TABLE t (id int PRIMARY KEY)")
	s := d.open()
	stream := begin(t, d, s)
	d.exec("INSERT INTO t VALUES (1)")
	for rows := 0; rows == 0; {
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		rows = len(c.Items)
		c.Release() // never acknowledged
	}
	took, last := shutDown(t, server, stream)
	require.ErrorIs(t, last, errStopping)
	require.Greater(t, took, shutdownGrace)
	require.NoError(t, stream.Close())

	// Once more, acknowledging what comes: then nothing is waited for.
	d.conn = dial(t, server.DSN())
	state, err := s.Slot(ctx)
	require.NoError(t, err)
	stream, err = s.Stream(ctx, state.ConfirmedFlush)
	require.NoError(t, err)
	newReplica(t).until(stream, d.now())
	took, last = shutDown(t, server, &acker{stream})
	require.ErrorIs(t, last, errServerEnded)
	require.Less(t, took, shutdownGrace)
	require.NoError(t, stream.Close())
}

// shutDown restarts the server while chunks are taken, and gives the error that
// ends the stream.
func shutDown(t *testing.T, server *pgserver.Server, stream cdc.Stream) (took time.Duration, last error) {
	ctx, started := testContext(t), time.Now()
	stopped := make(chan error, 1)
	// The fast shutdown waits for walsenders, which wait for us.
	go func() { stopped <- server.Restart(ctx) }()
	for last == nil {
		var c *cdc.Chunk
		if c, last = stream.Next(ctx); last == nil {
			c.Release()
		}
	}
	require.True(t, cdc.Retryable(last), "%v", last)
	require.NoError(t, <-stopped)
	took = time.Since(started)
	t.Logf("%v after %v", last, took)
	require.Less(t, took, 2*shutdownGrace+5*time.Second)
	return took, last
}

// acker acknowledges each chunk at once.
type acker struct{ cdc.Stream }

func (a *acker) Next(ctx context.Context) (*cdc.Chunk, error) {
	c, err := a.Stream.Next(ctx)
	if err == nil {
		a.Ack(c.Cut)
	}
	return c, err
}

// TestEdge15SilentServer: a peer that has gone without a word is given up.
func TestEdge15SilentServer(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (id int PRIMARY KEY)")
	s := d.open()
	begin(t, d, s).Close()
	state, err := s.Slot(testContext(t))
	require.NoError(t, err)

	hole := newBlackHole(t, testServer(t))
	through := d.open(func(c *Config) {
		c.DSN = strings.Replace(c.DSN, fmt.Sprintf(":%d", testServer(t).Port()), ":"+hole.port(), 1)
	})
	stream, err := startStream(testContext(t), streamConfig{
		connect: func(ctx context.Context) (*pgconn.PgConn, *framing, error) {
			f := &framing{}
			conn, err := through.connector.connectFramed(ctx, connWalsender, f)
			return conn, f, err
		},
		catalog: &testCatalog{}, slot: s.config.Slot, publications: s.config.publications(), from: state.ConfirmedFlush, senderTimeout: time.Second,
	})
	require.NoError(t, err)
	defer stream.Close()
	hole.swallow()
	for err == nil {
		_, err = stream.Next(testContext(t))
	}
	require.ErrorIs(t, err, errSilence)
	require.True(t, cdc.Retryable(err))
}

// blackHole is a proxy that can stop forwarding without closing anything.
type blackHole struct {
	listener net.Listener
	closed   chan struct{}
}

func newBlackHole(t *testing.T, server *pgserver.Server) *blackHole {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &blackHole{listener: l, closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", server.Port()))
			if err != nil {
				in.Close()
				continue
			}
			context.AfterFunc(ctx, func() { in.Close(); out.Close() })
			go h.pipe(ctx, in, out)
			go h.pipe(ctx, out, in)
		}
	}()
	return h
}

func (h *blackHole) port() string { _, p, _ := net.SplitHostPort(h.listener.Addr().String()); return p }
func (h *blackHole) swallow()     { close(h.closed) }

func (h *blackHole) pipe(ctx context.Context, from io.Reader, to net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-h.closed:
			<-ctx.Done()
			return
		default:
		}
		if err != nil {
			to.Close()
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// streamImpl lets tests, whose variables are called stream, look inside.
type streamImpl = stream
