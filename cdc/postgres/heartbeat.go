package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// defaultHeartbeat is how long a stream may be without data before a
	// heartbeat is sent, where it is not set.
	defaultHeartbeat = time.Minute
	// heartbeatPrefix is the prefix of our logical messages.
	heartbeatPrefix = "lakeload"
	// heartbeatPatience bounds the writing of one.
	heartbeatPatience = 15 * time.Second
)

// heartbeat writes a small message into the server's log when nothing has come
// out of the log for a while, and notices it when it comes back. So an idle
// stream shows that it lives and how long a commit takes to arrive, and the
// slot of a database in which nothing happens moves on.
//
// It needs no table. The message is a transaction of its own, because only
// that is certain to be flushed, and so sent, soon.
type heartbeat struct {
	every time.Duration
	// emit writes a message. errNoHeartbeat is for a server that cannot now.
	emit func(ctx context.Context, content string) error
	// idle is for how long no data have come.
	idle  func() time.Duration
	name  string // distinguishes it from another pipeline's
	stats *streamStats
	log   *slog.Logger

	mu      sync.Mutex
	count   int
	waiting string // the content that is to come back; "" for none
	sent    time.Time
}

// errNoHeartbeat: the server is a standby, which can write nothing.
var errNoHeartbeat = errors.New("the server is a standby")

// run is the goroutine. It ends with its context.
func (h *heartbeat) run(ctx context.Context) {
	timer := time.NewTimer(h.every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait := h.every - h.idle()
		if wait <= 0 {
			if !h.beat(ctx) {
				return
			}
			wait = h.every
		}
		timer.Reset(max(wait, time.Millisecond))
	}
}

// beat sends one; false means that there is no use in trying again.
func (h *heartbeat) beat(ctx context.Context) bool {
	h.mu.Lock()
	h.count++
	content := fmt.Sprintf("%s %d", h.name, h.count)
	h.waiting, h.sent = content, time.Now()
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, heartbeatPatience)
	defer cancel()
	err := h.emit(ctx, content)
	switch {
	case err == nil, errors.Is(err, errNoHeartbeat), ctx.Err() != nil:
		return true
	case sqlState(err) == codeNoPrivilege:
		h.log.Warn("no heartbeat can be sent: grant EXECUTE on the function pg_logical_emit_message to this user, or switch heartbeats off", "error", err)
		return false
	}
	h.log.Debug("a heartbeat could not be sent", "error", err)
	return true
}

// heard takes a logical message of the stream.
func (h *heartbeat) heard(prefix string, content []byte) {
	if prefix != heartbeatPrefix {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting == "" || string(content) != h.waiting {
		return // another pipeline's, or one that was given up
	}
	h.waiting = ""
	now := time.Now()
	h.stats.heartbeat.Store(now.UnixNano())
	h.stats.trip.Store(int64(now.Sub(h.sent)))
}

// emitHeartbeat writes a heartbeat's message on the catalogue connection. It
// waits for no standby, so that the connection is not held up by one.
func (s *Source) emitHeartbeat(ctx context.Context, content string) error {
	const sql = `SELECT set_config('synchronous_commit', 'local', true),
		CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_logical_emit_message(true, $1::text, $2::text) END`
	return s.admin.with(ctx, func(conn *pgconn.PgConn) error {
		rows, err := query(ctx, conn, sql, heartbeatPrefix, content)
		if err == nil && (len(rows) != 1 || rows[0].null(1)) {
			return errNoHeartbeat
		}
		return err
	})
}

// newHeartbeat gives nil where none is wanted.
func (s *Source) newHeartbeat() *heartbeat {
	every := s.config.Heartbeat
	if every < 0 {
		return nil
	}
	if every == 0 {
		every = defaultHeartbeat
	}
	return &heartbeat{
		every: every, emit: s.emitHeartbeat, stats: &s.stats, log: s.log,
		name: strings.ReplaceAll(s.config.Slot, " ", "_") + " " + fmt.Sprintf("%x", time.Now().UnixNano()),
	}
}
