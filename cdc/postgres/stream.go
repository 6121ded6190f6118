package postgres

import (
	"context"
	"log/slog"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

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
	// serverVersion is server_version_num.
	serverVersion int
	// senderTimeout is the server's wal_sender_timeout; 0: none.
	senderTimeout time.Duration

	allocator memory.Allocator // nil: Arrow's default
	logger    *slog.Logger     // nil: none
}
