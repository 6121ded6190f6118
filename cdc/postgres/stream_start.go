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
	frames.startStreaming()
	s := &stream{
		cfg: cfg, conn: conn, frames: frames, object: object,
		decoder: newDecoder(cfg.from, cfg.catalog, cfg.binary, cfg.allocator),
		done:    make(chan struct{}), news: make(chan struct{}, 1), taken: make(chan struct{}, 1),
	}
	s.progress.Store(uint64(cfg.from))
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.feedback = newFeedback(conn.Conn(), cfg.from, cfg.senderTimeout, s.kill)
	go s.read()
	s.feedback.start()
	cfg.logger.Debug("replication stream started", "slot", cfg.slot, "from", cfg.from, "binary", cfg.binary)
	return s, nil
}

// command is what begins the stream. Protocol version 1 has all that is needed
// while the server itself spills large transactions.
func (cfg *streamConfig) command() string {
	names := make([]string, len(cfg.publications))
	for i, p := range cfg.publications {
		names[i] = quoteIdent(p)
	}
	// The walsender's grammar knows no E'' strings and takes backslashes as they are.
	list := strings.ReplaceAll(strings.Join(names, ","), "'", "''")
	options := fmt.Sprintf("proto_version '1', publication_names '%s'", list)
	if cfg.binary && cfg.serverVersion >= 140000 {
		options += ", binary 'true'"
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
