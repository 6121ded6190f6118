package postgres

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

const (
	// idleEvery is how often an idle stream tells that the cut has moved.
	idleEvery = time.Second
	// farewell is how long Close waits for the server to end the stream, so
	// that it has stored our last position and let go of the slot.
	farewell = 3 * time.Second
)

var errStreamClosed = errors.New("the stream is closed")

// streamConfig is what a stream needs to begin.
type streamConfig struct {
	// connect opens a replication connection (replication=database) whose
	// Config.BuildFrontend is the framing's, with the settings that values
	// depend on.
	connect func(ctx context.Context) (*pgconn.PgConn, *framing, error)
	catalog catalog

	slot         string
	publications []string
	// from is where to go on: the end of a commit that is durable. Never 0.
	from cdc.LSN
	// binary asks for values in binary; see binaryOK.
	binary bool
	// needText, if set, is called when a table turns up in a binary stream
	// that can only be read in the text format. The stream then ends with an
	// error to retry; the next one has to be begun with binary unset, also if
	// the catalogue shows no such table any more.
	needText func()
	// inspect, if set, looks at each chunk before it is handed over; its error
	// is the end of the stream for the caller.
	inspect func(ctx context.Context, c *cdc.Chunk) error
	// streaming asks for transactions in progress, which are kept in spoolDir,
	// spoolBytes of them at most; see Config.
	streaming  bool
	spoolDir   string
	spoolBytes int64
	// noRoom, if set, is called with the transactions in progress when they
	// cannot be kept. The stream then ends with an error to retry; the next one
	// has to be begun with streaming unset, until the transactions are over.
	noRoom func(xids []uint32)
	// committed, if set, is called with each transaction that has arrived whole.
	committed func(xid uint32)
	// originNone asks for changes only that were made on this server.
	originNone bool
	// judge, if set, says what an error of the server means, by its looking into
	// the slot; at is the last cut that was delivered, moved says whether any
	// transaction was.
	judge func(ctx context.Context, at cdc.LSN, moved bool, err error) error
	// serverVersion is server_version_num.
	serverVersion int
	// senderTimeout is the server's wal_sender_timeout; 0: none.
	senderTimeout time.Duration

	allocator memory.Allocator // nil: Arrow's default
	logger    *slog.Logger     // nil: none
	stats     *streamStats     // nil: none
	heartbeat *heartbeat       // nil: none
}

// stream is a running replication stream.
//
// Its reader goroutine takes messages from the inbox, which reads the socket,
// and fills a chunk, while the caller of Next works on the one before; one more
// may wait in between. Then the reader takes no more, and when the inbox is
// full the server is held up. Whenever the reader is about to wait for the
// server it parks: until it goes on the decoder belongs to Next, which takes
// what there is if that ends with a whole transaction. The feedback goroutine
// tells the server what is durable.
type stream struct {
	cfg      streamConfig
	conn     *pgconn.PgConn
	inbox    *inbox
	decoder  *decoder
	spools   *spoolStore // the reader's; nil where there are none
	feedback *feedback
	stats    *streamStats
	object   string // for errors

	ctx    context.Context // ends when Close or an error stops the reader
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the reader has returned
	once   sync.Once     // of Close
	closed error

	delivered atomic.Bool    // a transaction
	beating   sync.WaitGroup // the heartbeat
	hungry    atomic.Bool    // Next waits
	news      chan struct{}  // to Next, of capacity 1
	taken     chan struct{}  // to the reader, of capacity 1: waiting has been taken

	mu      sync.Mutex
	waiting *cdc.Chunk // complete
	parked  bool       // the decoder is Next's, and between transactions
	err     error      // why the reader has returned
	idleAt  time.Time  // when Next last gave a chunk that is mere progress
}

var _ cdc.Stream = (*stream)(nil)

// Next gives the next chunk. See [cdc.Stream].
func (s *stream) Next(ctx context.Context) (*cdc.Chunk, error) {
	s.hungry.Store(true)
	defer s.hungry.Store(false)
	for {
		c, wait, err := s.poll()
		if c != nil {
			if s.cfg.inspect != nil {
				if err := s.cfg.inspect(ctx, c); err != nil {
					c.Release()
					s.kill(err) // what it held is lost to this stream
					return nil, failed("reading the replication stream", s.object, err)
				}
			}
			s.feedback.delivered(c.Cut)
			if c.Transactions > 0 {
				s.delivered.Store(true)
			}
			return c, nil
		}
		if err != nil {
			return nil, err
		}
		var timer <-chan time.Time
		if wait > 0 {
			t := time.NewTimer(wait)
			defer t.Stop()
			timer = t.C
		}
		select {
		case <-s.news:
		case <-timer:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// poll looks for a chunk. Without one, and without an error, wait is the time
// after which to look again; 0 is when there is news.
func (s *stream) poll() (c *cdc.Chunk, wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.waiting != nil:
		c, s.waiting = s.waiting, nil
		signal(s.taken)
		return c, 0, nil
	case s.parked && s.decoder.hasRows():
		return s.decoder.take(), 0, nil
	case s.parked && s.decoder.hasProgress():
		if wait = idleEvery - time.Since(s.idleAt); wait > 0 && s.err == nil {
			return nil, wait, nil
		}
		s.idleAt = time.Now()
		return s.decoder.take(), 0, nil
	}
	return nil, 0, s.err
}

// signal wakes whoever waits on a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Ack says what is durable. See [cdc.Stream].
func (s *stream) Ack(lsn cdc.LSN) { s.feedback.ack(lsn) }

// Progress is the newest position that the server has told.
func (s *stream) Progress() cdc.LSN { return cdc.LSN(s.inbox.progress.Load()) }

// Close ends the stream. See [cdc.Stream].
func (s *stream) Close() error {
	s.once.Do(func() { s.closed = s.shutdown() })
	return s.closed
}

// shutdown says goodbye, waits for the goroutines and gives back the memory.
// The order matters: the feedback goroutine first, so that the last position
// is the last that is sent; then the farewell, while the inbox reads on and
// throws away what still comes; then the connection.
func (s *stream) shutdown() error {
	s.feedback.stop()
	s.cancel(errStreamClosed)
	conn := s.conn.Conn()
	now := time.Now()
	err := errors.Join(conn.SetReadDeadline(now.Add(farewell)), s.feedback.goodbye())
	<-s.done
	<-s.inbox.done
	s.beating.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_ = s.conn.Close(ctx) // the stream has ended, or the connection is gone
	s.mu.Lock()
	defer s.mu.Unlock()
	ended := s.err
	s.err, s.parked = failed("reading the replication stream", s.object, errStreamClosed), false
	if s.waiting != nil {
		s.waiting.Release()
		s.waiting = nil
	}
	s.decoder.discard()
	if s.spools != nil {
		s.spools.close()
	}
	s.gauge()
	signal(s.news)
	if err != nil && errors.Is(ended, errStreamClosed) { // it had not failed before
		return failed("telling the server the last durable position", s.object, err)
	}
	return nil
}
