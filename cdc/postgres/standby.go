package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

const (
	// askEvery is how often the primary of a standby is asked for what a slot
	// that is being made waits for.
	askEvery = 500 * time.Millisecond
	// askAfter is when the operator is told what is waited for, where no
	// primary can be asked.
	askAfter = 5 * time.Second
	// replayWait bounds the wait for a standby to replay what was done on its
	// primary.
	replayWait = time.Minute
	// proofWait bounds how long a standby is asked whether a session is alive.
	proofWait = 10 * time.Second
)

// awaitSnapshots helps a slot that is being made on a standby: it waits for a
// record of the running transactions in the log, which the primary writes now
// and then, and an idle one not for long. The call's end is to be told by the
// function that it gives, which waits for its goroutine.
func (s *Source) awaitSnapshots(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for begun, told := time.Now(), false; ; {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			timer.Reset(askEvery)
			err := errors.New("no primary is named (source.primary_url)")
			if s.primary != nil {
				_, err = s.primary.query(ctx, "SELECT pg_log_standby_snapshot()")
			}
			if err != nil && ctx.Err() == nil && !told && time.Since(begun) >= askAfter {
				told = true
				s.log.Warn("the standby makes a slot only after the primary has logged its running transactions, which it does at checkpoints that follow changes",
					"what_to_do", "on the primary, as a superuser or with the right to: SELECT pg_log_standby_snapshot();", "reason", err)
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// makeSlot makes a slot with an exported snapshot, on a standby too. There it
// gives a guard as well, for as long as the snapshot is used.
func (s *Source) makeSlot(ctx context.Context, sender *pgconn.PgConn, slot string, temporary bool) (point cdc.LSN, snapshot string, g *guard, err error) {
	who := serverOf(sender)
	switch {
	case who.Standby && !s.config.AllowStandby:
		return 0, "", nil, refused("making a replication slot", "slot "+slot, "connect to the primary; to read the standby, say so (source.standby)", errors.New("the server is a standby"))
	case who.Standby && who.ServerVersion < standbyVersion:
		return 0, "", nil, refused("making a replication slot", "slot "+slot, "connect to the primary", fmt.Errorf("a standby of PostgreSQL %d cannot decode, one of 16 can", who.ServerVersion/10000))
	case who.Standby:
		if g, err = s.connector.guard(ctx); err != nil {
			return 0, "", nil, err
		}
		defer s.awaitSnapshots(ctx)()
	}
	point, snapshot, err = createSlot(ctx, sender, slot, temporary, s.config.Failover && !temporary)
	if err != nil {
		g.close()
		return 0, "", nil, err
	}
	return point, snapshot, g, nil
}

// A guard proves that a standby has removed no row that a snapshot there has to
// show. The nil guard, of a primary's snapshot, proves it without asking.
//
// Replay on a standby removes what the primary removes, once no session that
// still needs it is in the way: it looks at the sessions once, waits for those,
// or ends them, and goes on. That leaves two holes, through which rows were
// missing without a word (seen on 16 and 18). A slot's snapshot is known only
// when it is built, for a point that by then may lie behind what was replayed;
// and a session that takes over an exported snapshot while replay already waits
// for others is not waited for. So a session of its own is begun before the slot
// is made, and its snapshot, the older one, is in the way of every such removal
// from then on: as long as it is alive, none has happened.
type guard struct {
	mu   sync.Mutex // guards conn
	conn *pgconn.PgConn
}

func (c *connector) guard(ctx context.Context) (*guard, error) {
	conn, err := c.connect(ctx, connReader)
	if err != nil {
		return nil, err
	}
	err = exec(ctx, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	if err == nil {
		err = exec(ctx, conn, "SELECT pg_current_snapshot()") // takes it
	}
	if err != nil {
		closeConn(conn)
		return nil, err
	}
	return &guard{conn: conn}, nil
}

// proof fails unless everything that was read before is complete.
func (g *guard) proof(ctx context.Context) error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	// A call that is cancelled would end the transaction.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), proofWait)
	defer cancel()
	err := exec(ctx, g.conn, "SELECT 1")
	if err == nil {
		return nil
	}
	return &cdc.Error{
		Op: "reading a snapshot on the standby", Class: cdc.ClassRetry,
		Remedy: "set hot_standby_feedback = on on the standby, so that the primary keeps what snapshots here need",
		Err:    fmt.Errorf("%w: the standby may have removed rows that it has to show: %w", cdc.ErrSnapshotLost, err),
	}
}

func (g *guard) close() {
	if g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		closeConn(g.conn)
	}
}

// standbyVersion is the first whose standbys decode.
const standbyVersion = 160000

// onPrimary runs f where publications can be made: on the primary that was
// named for a standby, else on the server itself. Afterwards the standby has
// replayed what f has done.
func (s *Source) onPrimary(ctx context.Context, f func(*pgconn.PgConn) error) error {
	if s.primary == nil {
		return s.admin.with(ctx, f)
	}
	var at cdc.LSN
	err := s.primary.with(ctx, func(conn *pgconn.PgConn) error {
		if err := s.samePrimary(serverOf(conn)); err != nil {
			return err
		}
		if err := f(conn); err != nil {
			return err
		}
		rows, err := query(ctx, conn, "SELECT pg_current_wal_insert_lsn()")
		if err == nil {
			at = rows[0].lsn(0)
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.awaitReplay(ctx, at)
}

func (s *Source) samePrimary(primary server) error {
	s.connector.mu.Lock()
	known := s.connector.known
	s.connector.mu.Unlock()
	switch {
	case primary.Standby:
		return refused("asking the primary", s.primary.connector.address(), "name the primary in source.primary_url", errors.New("it is a standby"))
	case primary.SystemID != "" && known.SystemID != "" && primary.SystemID != known.SystemID || primary.Database != known.Database:
		return refused("asking the primary", s.primary.connector.address(), "name the standby's primary, and the same database, in source.primary_url",
			fmt.Errorf("it is database %s of cluster %s, and the standby is database %s of cluster %s", primary.Database, primary.SystemID, known.Database, known.SystemID))
	}
	return nil
}

// awaitReplay waits until the standby shows what its primary had written.
func (s *Source) awaitReplay(ctx context.Context, at cdc.LSN) error {
	deadline := time.Now().Add(replayWait)
	for {
		rows, err := s.admin.query(ctx, "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()")
		if err != nil {
			return err
		}
		if replayed := rows[0].lsn(1); !rows[0].bool(0) || replayed >= at {
			return nil
		} else if time.Now().After(deadline) {
			return retryLater("waiting for the standby", s.connector.address(), "see whether the standby follows its primary",
				fmt.Errorf("it has replayed up to %s, and the primary was at %s %s ago", replayed, at, replayWait))
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// promotionEvery is how often a standby that is read is asked whether it still
// is one.
const promotionEvery = 2 * time.Second

// standbyStream is a stream of a standby. A promotion does not end it, as the
// server goes on under the next timeline's name; so it is ended here, for the
// caller to learn that name.
type standbyStream struct {
	cdc.Stream
	source   *Source
	promoted context.Context // ends with the cause errPromoted, or with Close
	end      context.CancelCauseFunc
	wg       sync.WaitGroup
}

var errPromoted = fmt.Errorf("%w: the standby was promoted", cdc.ErrTimeline)

func (s *Source) watchPromotion(stream cdc.Stream) *standbyStream {
	w := &standbyStream{Stream: stream, source: s}
	w.promoted, w.end = context.WithCancelCause(context.Background())
	w.wg.Go(w.watch)
	return w
}

func (w *standbyStream) watch() {
	tick := time.NewTicker(promotionEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-w.promoted.Done():
			return
		}
		// A connection that fails says nothing: the stream's own says it, too.
		rows, err := w.source.admin.query(w.promoted, "SELECT pg_is_in_recovery()")
		if err == nil && !rows[0].bool(0) {
			w.end(errPromoted)
			return
		}
	}
}

// Next implements [cdc.Stream].
func (w *standbyStream) Next(ctx context.Context) (*cdc.Chunk, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.promoted, cancel)()
	c, err := w.Stream.Next(ctx)
	if err != nil && errors.Is(context.Cause(w.promoted), errPromoted) {
		return nil, refused("reading the replication stream", "slot "+w.source.config.Slot, "start again", errPromoted)
	}
	return c, err
}

// Close implements [cdc.Stream].
func (w *standbyStream) Close() error {
	w.end(errStreamClosed)
	w.wg.Wait()
	return w.Stream.Close()
}
