package postgres

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
)

// streamSoon makes the server send transactions while they are in progress as
// soon as they are larger than 64 kB.
func (d *database) streamSoon() {
	d.exec("ALTER DATABASE " + d.name + " SET logical_decoding_work_mem = '64kB'")
}

// version is the server's major version.
func (d *database) version() int {
	return serverVersionNum(d.conn.ParameterStatus("server_version")) / 10000
}

// slotAt makes a slot for a source and gives its point.
func slotAt(t testing.TB, s *Source) cdc.LSN {
	t.Helper()
	snap, err := s.CreateSlot(testContext(t))
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	return snap.Point()
}

func publishAll(t testing.TB, s *Source) {
	t.Helper()
	rels, err := s.Tables(testContext(t))
	require.NoError(t, err)
	require.NoError(t, s.Publish(testContext(t), rels))
}

// openStream waits for the slot: the server needs a moment to notice that a
// stream has failed.
func openStream(t testing.TB, s *Source, from cdc.LSN) cdc.Stream {
	t.Helper()
	var stream cdc.Stream
	var err error
	for ctx := testContext(t); ; {
		if stream, err = s.Stream(ctx, from); err == nil || !cdc.Retryable(err) || ctx.Err() != nil {
			break
		}
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stream.Close()) })
	return stream
}

// story is all that a stream tells, a line an event.
type story struct {
	lines  []string
	txns   int
	chunks int
	opened int // chunks that ended inside a transaction
	cut    cdc.LSN
}

func (y *story) add(t testing.TB, c *cdc.Chunk) {
	t.Helper()
	defer c.Release()
	events, err := cdctest.Events(c)
	require.NoError(t, err)
	for _, e := range events {
		op := string(rune(e.Op))
		if e.Op == 0 {
			op = "truncate"
		}
		y.lines = append(y.lines, fmt.Sprintf("%s xid=%d seq=%d %s %s %v", e.Txn.Commit, e.Txn.XID, e.Seq, e.Relation, op, e.Row))
	}
	require.GreaterOrEqual(t, c.Cut, y.cut, "the cut never goes back")
	y.cut = c.Cut
	y.txns += c.Transactions
	y.chunks++
	if c.Open {
		y.opened++
	}
}

// tell reads a stream up to a position.
func tell(t testing.TB, stream cdc.Stream, until cdc.LSN) *story {
	t.Helper()
	y := &story{}
	for y.cut < until {
		c, err := stream.Next(testContext(t))
		require.NoError(t, err)
		y.add(t, c)
	}
	return y
}

// sameStory compares without printing thousands of lines.
func sameStory(t testing.TB, want, got *story, what string) {
	t.Helper()
	for i := range min(len(want.lines), len(got.lines)) {
		require.Equal(t, want.lines[i], got.lines[i], "%s: event %d", what, i)
	}
	require.Equal(t, len(want.lines), len(got.lines), "%s: events", what)
	require.Equal(t, want.txns, got.txns, "%s: transactions", what)
}

// session is a connection that is in the middle of a transaction.
type session struct {
	conn  *pgconn.PgConn
	id    int
	open  bool
	saves []string
	next  int
}

const sessions = 8

// step does the next thing of a session, at random: rows of its own table and
// of the common one, savepoints, rollbacks, changed keys and shapes.
func (s *session) step(t testing.TB, rnd *rand.Rand) {
	do := func(format string, args ...any) { mustExec(t, s.conn, fmt.Sprintf(format, args...)) }
	if !s.open {
		do("BEGIN")
		s.open, s.saves = true, nil
	}
	mine := fmt.Sprintf("t%d", s.id)
	switch rnd.IntN(14) {
	case 0, 1, 2, 3:
		s.next++
		do("INSERT INTO %s (id, big, n) SELECT %d + g, pad(%d), g FROM generate_series(1, %d) g", mine, s.next*1000, 1+rnd.IntN(3000), 1+rnd.IntN(60))
	case 4:
		s.next++
		do("INSERT INTO common (id, v) SELECT %d + g, %d FROM generate_series(1, 20) g", s.id*1_000_000+s.next*100, s.next)
	case 5:
		do("UPDATE %s SET n = n + 1 WHERE id %% 7 = %d", mine, rnd.IntN(7))
	case 6:
		do("UPDATE %s SET id = -id WHERE id %% 11 = %d AND NOT EXISTS (SELECT FROM %s o WHERE o.id = -%s.id)", mine, rnd.IntN(11), mine, mine)
	case 7:
		do("DELETE FROM %s WHERE id %% 13 = %d", mine, rnd.IntN(13))
	case 8, 9:
		s.saves = append(s.saves, fmt.Sprintf("s%d", len(s.saves)))
		do("SAVEPOINT %s", s.saves[len(s.saves)-1])
	case 10:
		if n := len(s.saves); n > 0 {
			at := rnd.IntN(n)
			do("ROLLBACK TO %s", s.saves[at])
			s.saves = s.saves[:at+1]
		}
	case 11:
		if n := len(s.saves); n > 0 {
			do("RELEASE %s", s.saves[n-1])
			s.saves = s.saves[:n-1]
		}
	case 12:
		switch rnd.IntN(5) {
		case 0:
			do("TRUNCATE %s", mine)
		case 1:
			do("ALTER TABLE %s ADD COLUMN x%d int", mine, rnd.IntN(1_000_000))
		default:
			do("SELECT pg_logical_emit_message(%v, 'test', pad(50))", rnd.IntN(2) == 0)
		}
	case 13:
		switch rnd.IntN(6) {
		case 0:
			do("ROLLBACK")
		case 1:
			do("PREPARE TRANSACTION 'p%d_%d'", s.id, s.next)
			how := "COMMIT"
			if rnd.IntN(2) == 0 {
				how = "ROLLBACK"
			}
			do("%s PREPARED 'p%d_%d'", how, s.id, s.next)
		default:
			do("COMMIT")
		}
		s.open = false
	}
}

// interleave lets several sessions work in turn, and ends all transactions.
func interleave(d *database, seed uint64, steps int) {
	d.t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 2))
	var all []*session
	for i := range sessions {
		all = append(all, &session{conn: dial(d.t, d.dsn), id: i})
	}
	for range steps {
		all[rnd.IntN(sessions)].step(d.t, rnd)
	}
	for _, s := range all {
		if s.open {
			mustExec(d.t, s.conn, []string{"COMMIT", "ROLLBACK"}[rnd.IntN(2)])
		}
	}
}

// interleaved makes the tables for interleave.
func interleaved(t testing.TB) *database {
	d := newDatabase(t)
	d.exec(`CREATE FUNCTION pad(n int) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5((n * 1000 + i)::text), '') FROM generate_series(0, n / 32) i $$`)
	for i := range sessions {
		d.exec(fmt.Sprintf("CREATE TABLE t%d (id bigint PRIMARY KEY, big text, n int)", i))
		if i%3 == 1 {
			d.exec(fmt.Sprintf("ALTER TABLE t%d REPLICA IDENTITY FULL", i))
		}
	}
	d.exec("CREATE TABLE common (id bigint PRIMARY KEY, v numeric(10,2))")
	return d
}

// TestEdge29StreamingChangesNothing: whether transactions come whole or in
// progress, in text or in binary, the same events come in the same order. And
// they lead to what the server has.
func TestEdge29StreamingChangesNothing(t *testing.T) {
	d := interleaved(t)
	type variant struct {
		name   string
		s      *Source
		from   cdc.LSN
		stream bool
	}
	var variants []*variant
	for _, mode := range []StreamingMode{StreamingOff, StreamingOn} {
		for _, text := range []bool{false, true} {
			v := &variant{name: fmt.Sprintf("streaming %v, text %v", mode == StreamingOn, text), stream: mode == StreamingOn}
			v.s = d.open(func(c *Config) {
				c.Streaming, c.SpoolDir, c.Slot = mode, t.TempDir(), fmt.Sprintf("%s_%d", c.Slot, len(variants))
			})
			v.s.textOnly.Store(text)
			variants = append(variants, v)
		}
	}
	publishAll(t, variants[0].s)
	for _, v := range variants {
		v.from = slotAt(t, v.s)
	}
	d.streamSoon()
	interleave(d, 11, 1500)
	end := d.now()

	var first *story
	for i, v := range variants {
		stream := openStream(t, v.s, v.from)
		impl := stream.(*streamImpl)
		require.Equal(t, v.stream, impl.cfg.streaming)
		require.Equal(t, i%2 == 0, impl.cfg.binary)
		got := tell(t, stream, end)
		require.NoError(t, stream.Close())
		if first == nil {
			first = got
		}
		sameStory(t, first, got, v.name)
		stats := v.s.Stats()
		require.Zero(t, stats.Spooled)
		require.Zero(t, stats.InProgress)
		if v.stream {
			require.Positive(t, stats.SpooledEver, "nothing was sent in progress")
			require.Positive(t, stats.Aborted, "nothing that was sent was rolled back")
		}
		t.Logf("%s: %d events, %d transactions; spooled %d KiB, of which %d KiB were rolled back", v.name, len(got.lines), got.txns, stats.SpooledEver>>10, stats.Aborted>>10)
	}
	last := variants[len(variants)-1]
	again := openStream(t, last.s, last.from) // nothing was acknowledged
	r := newReplica(t)
	r.until(again, end)
	for i := range sessions {
		r.equals(d, last.s, fmt.Sprintf("public.t%d", i))
	}
	r.equals(d, last.s, "public.common")
}
