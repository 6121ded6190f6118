package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// keyPool keeps the connections of reads by key ranges. They are few, and
// live on between two reads.
type keyPool struct {
	turns chan struct{} // holds a token for each connection that may be in use

	mu     sync.Mutex
	idle   []*reader
	closed bool
}

func newKeyPool(n int) *keyPool {
	p := &keyPool{turns: make(chan struct{}, n)}
	for range n {
		p.turns <- struct{}{}
	}
	return p
}

// take gives a connection outside of a transaction.
func (p *keyPool) take(ctx context.Context, c *connector) (*reader, error) {
	select {
	case <-p.turns:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	var r *reader
	if n := len(p.idle); n > 0 {
		r, p.idle = p.idle[n-1], p.idle[:n-1]
	}
	p.mu.Unlock()
	if r != nil {
		return r, nil
	}
	r, err := c.openReader(ctx)
	if err != nil {
		p.turns <- struct{}{}
	}
	return r, err
}

// put takes a connection back; one that is broken is dropped.
func (p *keyPool) put(r *reader) {
	p.mu.Lock()
	if keep := !r.conn.IsClosed() && !p.closed; keep {
		p.idle = append(p.idle, r)
		r = nil
	}
	p.mu.Unlock()
	if r != nil {
		closeConn(r.conn)
	}
	p.turns <- struct{}{}
}

func (p *keyPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, r := range p.idle {
		closeConn(r.conn)
	}
	p.idle = nil
}

// keyRead implements [cdc.KeyRead].
type keyRead struct {
	source *Source
	rel    *cdc.Relation
	ranges *keyRanges
	r      *reader

	info *tableInfo // from View on
	view cdc.View
	only string
}

// BeginRead implements [cdc.KeyReader]. LOCK TABLE takes no snapshot: what the
// first query after it sees is the table as it is from here to the end, so
// that no older snapshot can find it empty after a TRUNCATE.
func (s *Source) BeginRead(ctx context.Context, rel *cdc.Relation, ranges cdc.KeyRanges) (cdc.KeyRead, error) {
	const op = "beginning to read a table"
	k, ok := ranges.(*keyRanges)
	if !ok {
		return nil, refused(op, rel.String(), "", errors.New("the ranges are not this source's"))
	}
	r, err := s.keys.take(ctx, s.connector)
	if err != nil {
		return nil, failed(op, rel.String(), err)
	}
	read := &keyRead{source: s, rel: rel, ranges: k, r: r}
	err = exec(ctx, r.conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	if err == nil {
		err = exec(ctx, r.conn, "LOCK TABLE "+quoteTable(rel.Schema, rel.Name)+" IN ACCESS SHARE MODE")
	}
	if err != nil {
		read.end()
		if code := sqlState(err); code == codeUndefinedTable || code == codeUndefinedSchema {
			err = changed("it was dropped or renamed", err)
		}
		return nil, failed(op, rel.String(), unreadable(err))
	}
	return read, nil
}

// View implements [cdc.KeyRead].
func (k *keyRead) View(ctx context.Context) (cdc.View, error) {
	if k.info != nil {
		return k.view, nil
	}
	const op = "taking a view of a table"
	v, err := seen(ctx, k.r.conn)
	var files *tableFiles
	if err == nil {
		files, err = k.ranges.unchanged(ctx, k.r.conn, k.rel)
	}
	var info *tableInfo
	if err == nil {
		info, err = k.source.sameTable(ctx, k.r.conn, k.rel)
	}
	if err == nil && info.filter != k.ranges.filter {
		err = changed("its publication's row filter changed", nil)
	}
	if err != nil {
		return v, failed(op, k.rel.String(), err)
	}
	k.info, k.view, k.only = info, v, files.only
	return v, nil
}

// sqlSeen asks for the position after the snapshot was taken: whatever that has
// seen had its commit record in the log by then.
const sqlSeen = "SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn(), current_setting('wal_block_size')"

// seen tells what the transaction of conn sees, or outside of one what a new
// one would see.
func seen(ctx context.Context, conn *pgconn.PgConn) (cdc.View, error) {
	rows, err := query(ctx, conn, sqlSeen)
	if err != nil {
		return cdc.View{}, err
	}
	return viewOf(rows[0])
}

// viewOf reads a row of sqlSeen.
func viewOf(r row) (cdc.View, error) {
	v, err := cdc.ParseXIDs(r.str(0))
	v.Horizon = endOfRecord(r.lsn(1), cdc.LSN(r.int(2)))
	return v, err
}

// endOfRecord turns the place where the next record will begin into the place
// where the last one ended: they differ where a page begins, by its header.
// An idle server's other positions are of the second kind.
func endOfRecord(lsn, block cdc.LSN) cdc.LSN {
	const short, long = 24, 40 // of XLogPageHeaderData and XLogLongPageHeaderData
	if off := lsn % max(block, 1); off == short || off == long {
		return lsn - off
	}
	return lsn
}

// Range implements [cdc.KeyRead].
func (k *keyRead) Range(ctx context.Context, i int, emit func(*cdc.Batch) error) error {
	return k.read(ctx, k.ranges.Range(i).ID, k.ranges.where(i), emit)
}

// Row implements [cdc.KeyRead].
func (k *keyRead) Row(ctx context.Context, b *cdc.Batch, row int, emit func(*cdc.Batch) error) error {
	where, err := k.ranges.is(b, row)
	if err != nil {
		return failed("reading a row of a table", k.rel.String(), err)
	}
	return k.read(ctx, "one row", where, emit)
}

func (k *keyRead) read(ctx context.Context, what, where string, emit func(*cdc.Batch) error) error {
	const op = "copying a table"
	object := k.rel.String() + " " + what
	if k.info == nil {
		return refused(op, object, "", errors.New("no view was taken"))
	}
	var refusal error // what emit said is the caller's own, and passed on as it is
	d := newCopyDecoder(k.info, k.source.mem, func(b *cdc.Batch) error {
		refusal = emit(b)
		return refusal
	})
	defer d.discard()
	err := k.r.copyOut(ctx, k.copySQL(where), k.source.limited(ctx, d.feed))
	if err == nil {
		err = d.finish()
	}
	if refusal != nil {
		return refusal
	}
	if err == nil {
		err = k.durable(ctx)
	}
	return failed(op, object, unreadable(err))
}

func (k *keyRead) copySQL(where string) string {
	var b strings.Builder
	b.WriteString("COPY (SELECT ")
	writeColumns(&b, k.info)
	b.WriteString(" FROM " + k.only + quoteTable(k.rel.Schema, k.rel.Name))
	if f := k.info.filter; f != "" { // the rows that the stream has
		where = strings.TrimPrefix(where+" AND ("+f+")", " AND ")
	}
	if where != "" {
		b.WriteString(" WHERE " + where)
	}
	b.WriteString(") TO STDOUT (FORMAT binary)")
	return b.String()
}

// durable waits until the server's disk has what the view holds: a commit may
// be seen before its record is there (synchronous_commit = off), and a crash
// of the server then takes it back.
//
// What was written without a commit may be at the end of the log, such as a
// hint that a reader left which was rolled back. On a quiet server nobody
// flushes that before its background processes come by, a quarter of a minute
// later or more. The end of a transaction with an id, which changes nothing,
// tells the server's writer of the log to come now.
func (k *keyRead) durable(ctx context.Context) error {
	for look := 0; ; look++ {
		if look == 1 {
			if _, err := k.source.admin.query(ctx, "SELECT pg_current_xact_id()"); err != nil {
				return err
			}
		}
		rows, err := query(ctx, k.r.conn, "SELECT pg_current_wal_flush_lsn()")
		if err != nil || rows[0].lsn(0) >= k.view.Horizon {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close implements [cdc.KeyRead].
func (k *keyRead) Close() error {
	k.end()
	return nil
}

// end gives the connection back, outside of a transaction or broken.
func (k *keyRead) end() {
	if k.r == nil {
		return
	}
	if !k.r.conn.IsClosed() {
		ctx, cancel := context.WithTimeout(context.Background(), cancelWait)
		if err := exec(ctx, k.r.conn, "ROLLBACK"); err != nil {
			closeConn(k.r.conn)
		}
		cancel()
	}
	k.source.keys.put(k.r)
	k.r = nil
}

// Seen implements [cdc.KeyReader].
func (s *Source) Seen(ctx context.Context) (v cdc.View, err error) {
	err = s.admin.with(ctx, func(conn *pgconn.PgConn) (err error) {
		v, err = seen(ctx, conn)
		return err
	})
	return v, failed("looking at which transactions are visible", s.connector.address(), err)
}

// sqlWriters lists the transactions that have written something and have not
// ended: each holds a lock on its own id until everybody sees what it did, the
// prepared ones too. (pg_current_snapshot does not tell the newest.)
const sqlWriters = `
SELECT DISTINCT l.transactionid::text FROM pg_locks l
 WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted ORDER BY 1`

// settleEvery is how often Settle looks.
const settleEvery = 20 * time.Millisecond

// Settle implements [cdc.KeyReader].
func (s *Source) Settle(ctx context.Context) error {
	const op = "waiting for the transactions that are running to end"
	waiting := map[string]bool{}
	for first := true; ; first = false {
		rows, err := s.admin.query(ctx, sqlWriters)
		if err != nil {
			return failed(op, s.connector.address(), err)
		}
		now := make(map[string]bool, len(rows))
		for _, r := range rows {
			if first || waiting[r.str(0)] {
				now[r.str(0)] = true
			}
		}
		if waiting = now; len(waiting) == 0 {
			return nil
		}
		select {
		case <-time.After(settleEvery):
		case <-ctx.Done():
			return failed(op, s.connector.address(), ctx.Err())
		}
	}
}

// Running implements [cdc.KeyReader]. Of the sessions of others a user without
// pg_read_all_stats sees the ids alone.
func (s *Source) Running(ctx context.Context) (string, error) {
	rows, err := s.admin.query(ctx, `SELECT l.transactionid::text, coalesce(l.pid::text, 'prepared'), coalesce((SELECT date_trunc('second', clock_timestamp() - a.xact_start)::text FROM pg_stat_activity a WHERE a.pid = l.pid), '')
		FROM pg_locks l WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted ORDER BY l.pid LIMIT 5`)
	if err != nil {
		return "", failed("looking at the running transactions", s.connector.address(), err)
	}
	parts := make([]string, len(rows))
	for i, r := range rows {
		parts[i] = fmt.Sprintf("%s of server process %s", r.str(0), r.str(1))
		if age := r.str(2); age != "" {
			parts[i] += ", for " + age
		}
	}
	return strings.Join(parts, "; "), nil
}
