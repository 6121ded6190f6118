package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// reader is a connection inside a transaction that sees a snapshot. It is used
// by one goroutine at a time.
type reader struct {
	conn   *pgconn.PgConn
	frames *framing
	// locked are the tables that its transaction holds a lock on.
	locked map[uint32]bool
}

// openReader connects. The transaction begins with [reader.enter].
func (c *connector) openReader(ctx context.Context) (*reader, error) {
	r := &reader{frames: &framing{}, locked: map[uint32]bool{}}
	var err error
	r.conn, err = c.connectFramed(ctx, connReader, r.frames)
	return r, err
}

// enter begins the transaction and takes over the exported snapshot.
func (r *reader) enter(ctx context.Context, snapshot string) error {
	if err := exec(ctx, r.conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return err
	}
	// It has to come before anything that reads.
	return exec(ctx, r.conn, "SET TRANSACTION SNAPSHOT "+quoteLiteral(snapshot))
}

// try runs f so that its failure leaves the transaction as it was before.
func (r *reader) try(ctx context.Context, f func() error) error {
	if err := exec(ctx, r.conn, "SAVEPOINT lakeload"); err != nil {
		return err
	}
	err := f()
	if r.conn.IsClosed() {
		return err
	}
	undo := "RELEASE SAVEPOINT lakeload"
	if err != nil {
		undo = "ROLLBACK TO SAVEPOINT lakeload"
	}
	// A request to cancel f may arrive when f has ended, and hit this instead.
	for i := 0; ; i++ {
		e := exec(context.WithoutCancel(ctx), r.conn, undo)
		if e == nil {
			return err
		}
		if i == 2 || sqlState(e) != codeQueryCanceled {
			closeConn(r.conn)
			return errors.Join(err, e)
		}
	}
}

// lock keeps others from rewriting, emptying or altering the table until the
// transaction ends. With nowait it fails at once where somebody is waiting to
// do so.
func (r *reader) lock(ctx context.Context, oid uint32, table string, nowait bool) error {
	if r.locked[oid] {
		return nil
	}
	sql := "LOCK TABLE " + table + " IN ACCESS SHARE MODE"
	if nowait {
		sql += " NOWAIT"
	}
	if err := exec(ctx, r.conn, sql); err != nil {
		return err
	}
	r.locked[oid] = true
	return nil
}

// cancelWait is how long the server may take to give up a cancelled COPY
// before the connection is given up.
const cancelWait = 10 * time.Second

// copyOut runs a COPY ... TO STDOUT and gives its data to sink as they arrive;
// what sink gets is valid during the call only. When sink fails, or ctx ends,
// the server is asked to stop and the rest is drained, so that the connection
// lives on, in a transaction that has failed. pgconn's own CopyTo would close
// it, and copies more.
func (r *reader) copyOut(ctx context.Context, sql string, sink func([]byte) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.frames.startStreaming()
	r.conn.Frontend().SendQuery(&pgproto3.Query{String: sql})
	if err := r.conn.Frontend().Flush(); err != nil {
		closeConn(r.conn)
		return fmt.Errorf("sending COPY: %w", err)
	}
	abort := &abortOnce{conn: r.conn, done: make(chan struct{})}
	stop := context.AfterFunc(ctx, abort.run)
	err := r.drain(sink, func() { // sink failed
		if stop() {
			go abort.run()
		}
	})
	if !stop() { // it has run, or runs
		<-abort.done
	}
	if !r.conn.IsClosed() {
		_ = r.conn.Conn().SetReadDeadline(time.Time{})
	}
	if ctx.Err() != nil && err != nil {
		return fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return err
}

// abortOnce asks the server to stop, and makes sure that we do not wait for
// ever for it.
type abortOnce struct {
	conn *pgconn.PgConn
	done chan struct{}
}

func (a *abortOnce) run() {
	defer close(a.done)
	_ = a.conn.Conn().SetReadDeadline(time.Now().Add(cancelWait))
	ctx, cancel := context.WithTimeout(context.Background(), cancelWait)
	defer cancel()
	_ = a.conn.CancelRequest(ctx) // the deadline stands in for it
}

// drain reads up to the end of the command. stopping is called when sink has
// failed, which it does once.
func (r *reader) drain(sink func([]byte) error, stopping func()) error {
	var failure error
	fail := func(err error) {
		if failure == nil {
			failure = err
		}
	}
	for {
		ready, err := r.frames.ready()
		if err == nil && !ready {
			if err = r.frames.read(); err == nil {
				continue
			}
		}
		if err != nil {
			closeConn(r.conn)
			fail(fmt.Errorf("receiving rows: %w", err))
			return failure
		}
		switch kind, body := r.frames.next(); kind {
		case 'd':
			if failure != nil {
				continue
			}
			if err := sink(body); err != nil {
				fail(err)
				stopping()
			}
		case 'E':
			var msg pgproto3.ErrorResponse
			if err := msg.Decode(body); err != nil {
				fail(fmt.Errorf("reading an error of the server: %w", err))
				continue
			}
			fail(pgconn.ErrorResponseToPgError(&msg))
		case 'Z':
			return failure
		case 'H', 'c', 'C', 'N', 'S', 'A': // nothing to do
		default:
			closeConn(r.conn)
			fail(fmt.Errorf("the server sent a message %q in the middle of COPY", kind))
			return failure
		}
	}
}
