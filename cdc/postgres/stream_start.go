package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lakeload/lakeload/cdc"
)

// startStream begins to stream from cfg.from. ctx bounds the beginning alone;
// the stream lives until its Close.
func startStream(ctx context.Context, cfg streamConfig) (cdc.Stream, error) {
	object := "slot " + cfg.slot
	const op = "starting the replication stream"
	if cfg.from == 0 {
		// Position 0 would have the server take everything for acknowledged.
		return nil, refused(op, object, "give the position up to which the changes are in the lake", errors.New("no position to start from"))
	}
	if cfg.originNone && cfg.serverVersion < 160000 {
		return nil, refused(op, object, "take changes of every origin, or upgrade the server to PostgreSQL 16",
			errors.New("the server cannot leave out what it has replicated from elsewhere"))
	}
	if cfg.allocator == nil {
		cfg.allocator = memory.DefaultAllocator
	}
	if cfg.logger == nil {
		cfg.logger = slog.New(slog.DiscardHandler)
	}
	conn, frames, err := cfg.connect(ctx)
	if err != nil {
		return nil, failed(op, object, err)
	}
	if err := beginCopy(ctx, conn, cfg.command()); err != nil {
		closing, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		_ = conn.Close(closing)
		return nil, failed(op, object, err)
	}
	s, err := newStream(cfg, conn, frames, object)
	if err != nil {
		closeConn(conn)
		return nil, failed(op, object, err)
	}
	s.start()
	cfg.logger.Debug("replication stream started", "slot", cfg.slot, "from", cfg.from, "binary", cfg.binary, "streaming", cfg.streaming)
	return s, nil
}

// newStream puts a stream together.
func newStream(cfg streamConfig, conn *pgconn.PgConn, frames *framing, object string) (*stream, error) {
	s := &stream{
		cfg: cfg, conn: conn, object: object, stats: cfg.stats,
		decoder: newDecoder(cfg.from, cfg.catalog, cfg.binary, cfg.allocator),
		done:    make(chan struct{}), news: make(chan struct{}, 1), taken: make(chan struct{}, 1),
	}
	if s.stats == nil {
		s.stats = &streamStats{}
	}
	s.decoder.committed = cfg.committed
	if cfg.streaming {
		spools, err := newSpoolStore(cfg.spoolDir, cfg.spoolBytes, &s.stats.spool)
		if err != nil {
			return nil, err
		}
		s.spools, s.decoder.newSpool = spools, spools.begin
	}
	s.stats.streaming.Store(cfg.streaming)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.feedback = newFeedback(conn.Conn(), cfg.from, cfg.senderTimeout, s.kill)
	s.inbox = newInbox(frames, newSocket(conn.Conn()), s.feedback, cfg.from, &s.stats.lastData, s.ctx.Done())
	if h := cfg.heartbeat; h != nil {
		h.idle = s.inbox.idle
		s.decoder.heard = h.heard
	}
	return s, nil
}

// start starts the goroutines. Close waits for them.
func (s *stream) start() {
	go s.inbox.run()
	go s.read()
	s.feedback.start()
	if h := s.cfg.heartbeat; h != nil {
		s.beating.Go(func() { h.run(s.ctx) })
	}
}

// protocol is the newest version of pgoutput's protocol that the server
// speaks and we do.
func (cfg *streamConfig) protocol() int {
	switch {
	case cfg.serverVersion >= 160000:
		return 4
	case cfg.serverVersion >= 150000:
		return 3
	}
	return 2
}

// command is what begins the stream. Prepared transactions are not asked for:
// their changes come when they commit. Logical messages are, for the heartbeat.
func (cfg *streamConfig) command() string {
	names := make([]string, len(cfg.publications))
	for i, p := range cfg.publications {
		names[i] = quoteIdent(p)
	}
	// The walsender's grammar knows no E'' strings and takes backslashes as they are.
	list := strings.ReplaceAll(strings.Join(names, ","), "'", "''")
	options := fmt.Sprintf("proto_version '%d', publication_names '%s', messages 'true'", cfg.protocol(), list)
	if cfg.binary {
		options += ", binary 'true'"
	}
	if cfg.streaming {
		options += ", streaming 'on'" // one after the other: parallel streaming has nothing for us
	}
	if cfg.originNone {
		options += ", origin 'none'"
	}
	return fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL %s (%s)", quoteIdent(cfg.slot), cfg.from, options)
}

// beginCopy sends the command and waits until the server streams. What follows
// stays in the framing's buffer.
func beginCopy(ctx context.Context, conn *pgconn.PgConn, command string) error {
	conn.Frontend().SendQuery(&pgproto3.Query{String: command})
	if err := conn.Frontend().Flush(); err != nil {
		return err
	}
	for {
		msg, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return err
		}
		switch m := msg.(type) {
		case *pgproto3.CopyBothResponse:
			return nil
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(m)
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
		default:
			return fmt.Errorf("unexpected answer %T to START_REPLICATION", msg)
		}
	}
}
