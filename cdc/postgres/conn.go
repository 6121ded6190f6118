package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/lakeload/lakeload/cdc"
)

// sessionSettings are in force on every connection from its first moment, the
// walsender's included: they are sent in the startup packet, after any
// "options" of the DSN, and so win over what the role, the database or the
// environment says. The same value must print the same wherever it is read.
var sessionSettings = map[string]string{
	"client_encoding":                     "UTF8",
	"DateStyle":                           "ISO",
	"IntervalStyle":                       "postgres",
	"TimeZone":                            "UTC",
	"extra_float_digits":                  "3",
	"bytea_output":                        "hex",
	"xmloption":                           "content",
	"search_path":                         "", // pg_catalog alone
	"row_security":                        "off",
	"statement_timeout":                   "0",
	"idle_in_transaction_session_timeout": "0",
	"default_transaction_read_only":       "off",
	"default_transaction_isolation":       "read committed",
	"jit":                                 "off", // a range is read in less time than its query takes to compile
	"max_parallel_workers_per_gather":     "0",   // the ranges are what runs in parallel
}

// lockTimeout bounds the wait for a lock behind the application's own DDL. A
// walsender has none: making a slot waits for transactions to end.
const lockTimeout = "15s"

// The kinds of connection.
type connKind int

const (
	connCatalog   connKind = iota // asks the catalogue, makes publications
	connReader                    // reads a snapshot; survives a cancelled query
	connWalsender                 // speaks the replication protocol
)

// connector opens connections, all to the same cluster and database.
type connector struct {
	config *Config
	base   *pgconn.Config
	log    *slog.Logger

	mu    sync.Mutex
	known cdc.Identity // as first seen; the timeline as Identify last told it
}

func newConnector(config *Config, log *slog.Logger) (*connector, error) {
	base, err := parseDSN(config.DSN)
	if err != nil {
		return nil, err
	}
	if base.ConnectTimeout == 0 {
		base.ConnectTimeout = 30 * time.Second
	}
	if base.RuntimeParams["application_name"] == "" {
		base.RuntimeParams["application_name"] = "lakeload " + config.Slot
	}
	maps.DeleteFunc(base.RuntimeParams, func(name, _ string) bool {
		for ours := range sessionSettings {
			if strings.EqualFold(ours, name) {
				return true
			}
		}
		return strings.EqualFold(name, "lock_timeout") || strings.EqualFold(name, "replication")
	})
	maps.Copy(base.RuntimeParams, sessionSettings)
	return &connector{config: config, base: base, log: log}, nil
}

// parseDSN keeps the text of the DSN, which may hold a password anywhere when
// it is malformed, out of the error.
func parseDSN(dsn string) (*pgconn.Config, error) {
	const op, what = "reading the source's connection string", "its text is not shown, as it may hold a password"
	base, err := pgconn.ParseConfig(dsn)
	if err == nil && strings.Contains(base.Host, "@") {
		err = errors.New("the host has an @ in it")
	} else if err != nil {
		err = errors.New(dsnFault(err))
	}
	if err != nil {
		return nil, refused(op, what, "write postgres://user@host:5432/database?sslmode=verify-full, special characters in user and password percent-encoded (@ is %40, / is %2F)", err)
	}
	return base, nil
}

// dsnFault gives the parts of a parser's message that cannot quote a password.
func dsnFault(err error) string {
	_, detail, ok := cutLast(err.Error(), "`: ")
	if ok {
		for _, safe := range []string{"failed to configure TLS", "failed to read service", "invalid sslcertmode", "unknown channel_binding"} {
			if strings.HasPrefix(detail, safe) {
				return detail
			}
		}
		for _, fixed := range []string{"failed to parse as URL", "failed to parse as keyword/value", "invalid port", "invalid connect_timeout", "unknown target_session_attrs", "could not match"} {
			if strings.HasPrefix(detail, fixed) {
				return fixed
			}
		}
	}
	return "it is not understood"
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// connect opens a connection and makes sure of whom it has reached.
func (c *connector) connect(ctx context.Context, kind connKind) (*pgconn.PgConn, error) {
	return c.connectFramed(ctx, kind, nil)
}

// connectFramed does so with the messages going through frames, if not nil,
// from where a stream or a copy takes them past pgconn.
func (c *connector) connectFramed(ctx context.Context, kind connKind, frames *framing) (*pgconn.PgConn, error) {
	const op = "connecting to the source"
	cfg := c.base.Copy()
	if frames != nil {
		cfg.BuildFrontend = frames.buildFrontend
	}
	pw, ok, err := c.config.password(ctx)
	if err != nil {
		return nil, refused("reading the source's password", c.config.PasswordFile, "make it readable to this user", err)
	}
	if ok {
		cfg.Password = pw
	}
	switch kind {
	case connWalsender:
		cfg.RuntimeParams["replication"] = "database"
		cfg.RuntimeParams["lock_timeout"] = "0"
	case connReader:
		cfg.RuntimeParams["lock_timeout"] = lockTimeout
		cfg.RuntimeParams["enable_seqscan"] = "off" // ranges are read by block, whatever the statistics say
		// A cancelled read must not break a connection that a snapshot lives in.
		cfg.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: cancelWait}
		}
	default:
		cfg.RuntimeParams["lock_timeout"] = lockTimeout
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, failed(op, c.address(), err)
	}
	if err := c.greet(ctx, conn, kind); err != nil {
		closeConn(conn)
		return nil, failed(op, c.address(), err)
	}
	return conn, nil
}

// address is where we connect to, for messages.
func (c *connector) address() string {
	return fmt.Sprintf("database %s on %s:%d", c.base.Database, c.base.Host, c.base.Port)
}

// greet sets what older servers would not take at startup, and compares the
// server with the one that was reached before.
func (c *connector) greet(ctx context.Context, conn *pgconn.PgConn, kind connKind) error {
	version := serverVersionNum(conn.ParameterStatus("server_version"))
	var late []string
	if version >= 140000 {
		late = append(late, "SET idle_session_timeout = 0")
	}
	if version >= 170000 {
		late = append(late, "SET transaction_timeout = 0")
	}
	// One at a time: a walsender takes several commands in one string only
	// since PostgreSQL 15.
	for _, sql := range late {
		if err := exec(ctx, conn, sql); err != nil {
			return err
		}
	}
	if kind == connWalsender {
		id, err := identifySystem(ctx, conn)
		if err != nil {
			return err
		}
		id.ServerVersion = version
		return c.compare(id, true)
	}
	rows, err := query(ctx, conn, "SELECT system_identifier::text, current_database() FROM pg_control_system()")
	if sqlState(err) == codeNoPrivilege {
		return nil // some services keep it to themselves; the walsender says it too
	} else if err != nil {
		return err
	}
	return c.compare(cdc.Identity{SystemID: rows[0].str(0), Database: rows[0].str(1), ServerVersion: version}, false)
}

// compare stops us from talking to two clusters under one address. A timeline
// that changed under way (a promotion) has to be looked at by Identify first.
func (c *connector) compare(id cdc.Identity, hasTimeline bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch k := c.known; {
	case k.SystemID == "":
		c.known = id
	case k.SystemID != id.SystemID || k.Database != id.Database:
		return refused("checking the source's identity", "", "point the connection string at the server that was mirrored, or adopt the new one knowingly (`lakeload adopt`)",
			fmt.Errorf("this is database %s of the cluster with system identifier %s; before, it was database %s of %s", id.Database, id.SystemID, k.Database, k.SystemID))
	case !hasTimeline:
	case k.Timeline == 0:
		c.known.Timeline = id.Timeline
	case k.Timeline != id.Timeline:
		return refused("checking the source's identity", "", "start again: the server was promoted or restored, and how far it went on from what we have is checked at the start",
			fmt.Errorf("the server is on timeline %d; before, it was on %d", id.Timeline, k.Timeline))
	}
	return nil
}

// forgetTimeline lets the next walsender connection tell the timeline anew.
func (c *connector) forgetTimeline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known.Timeline = 0
}

func identifySystem(ctx context.Context, conn *pgconn.PgConn) (cdc.Identity, error) {
	rows, err := simple(ctx, conn, "IDENTIFY_SYSTEM")
	if err != nil {
		return cdc.Identity{}, err
	}
	if len(rows) != 1 || len(rows[0]) < 4 {
		return cdc.Identity{}, errors.New("the server's answer to IDENTIFY_SYSTEM is not one row of four columns")
	}
	timeline, err := strconv.ParseUint(rows[0].str(1), 10, 32)
	if err != nil {
		return cdc.Identity{}, fmt.Errorf("reading the timeline of IDENTIFY_SYSTEM: %w", err)
	}
	return cdc.Identity{SystemID: rows[0].str(0), Timeline: uint32(timeline), Database: rows[0].str(3)}, nil
}

// serverVersionNum turns "15.14 (Debian ...)" or "18beta1" into 150014, 180000.
func serverVersionNum(s string) int {
	digits := func(s string) (int, string) {
		i := 0
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		n, _ := strconv.Atoi(s[:i])
		return n, s[i:]
	}
	major, rest := digits(s)
	minor := 0
	if strings.HasPrefix(rest, ".") {
		minor, _ = digits(rest[1:])
	}
	return major*10000 + minor
}

// closeConn ends a connection without waiting long for a dead peer.
func closeConn(conn *pgconn.PgConn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the server drops what the session held, whatever the outcome
	<-conn.CleanupDone()
}
