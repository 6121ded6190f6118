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
	dsn    string
	base   *pgconn.Config // for messages; each connection reads the DSN anew
	log    *slog.Logger
	dial   pgconn.DialFunc // nil: the kind's own dialer

	mu    sync.Mutex
	known cdc.Identity // as first seen; the timeline as Identify last told it
	// worked says that the password was right once; authSince when it ceased to
	// be, zero while it is.
	worked    bool
	authSince time.Time
}

// authGrace is how long a password that was right is tried again when it is
// refused: it is being changed, and we or the server may have the new one first.
var authGrace = 2 * time.Minute

func newConnector(config *Config, dsn string, log *slog.Logger) (*connector, error) {
	c := &connector{config: config, dsn: dsn, log: log}
	var err error
	c.base, err = c.parse(connCatalog)
	return c, err
}

// parse reads the connection string, and with it the files that it names:
// ~/.pgpass, service file, certificates and keys may be renewed at any time.
func (c *connector) parse(kind connKind) (*pgconn.Config, error) {
	cfg, err := parseDSN(c.dsn)
	if err != nil {
		return nil, err
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 30 * time.Second
	}
	if cfg.DialFunc = c.dial; c.dial == nil {
		cfg.DialFunc = dialer(kind, cfg.ConnectTimeout)
	}
	if len(hosts(cfg)) > 1 && cfg.ValidateConnect == nil && !c.config.AllowStandby {
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = applicationName(c.config.Slot)
	}
	maps.DeleteFunc(cfg.RuntimeParams, func(name, _ string) bool {
		for ours := range sessionSettings {
			if strings.EqualFold(ours, name) {
				return true
			}
		}
		return strings.EqualFold(name, "lock_timeout") || strings.EqualFold(name, "replication")
	})
	maps.Copy(cfg.RuntimeParams, sessionSettings)
	return cfg, nil
}

// applicationName is what our sessions are called in the server's views.
func applicationName(slot string) string { return "lakeload " + slot }

// connect opens a connection and makes sure of whom it has reached.
func (c *connector) connect(ctx context.Context, kind connKind) (*pgconn.PgConn, error) {
	return c.connectFramed(ctx, kind, nil)
}

// connectFramed does so with the messages going through frames, if not nil,
// from where a stream or a copy takes them past pgconn.
func (c *connector) connectFramed(ctx context.Context, kind connKind, frames *framing) (*pgconn.PgConn, error) {
	const op = "connecting to the source"
	cfg, err := c.parse(kind)
	if err != nil {
		return nil, err
	}
	if frames != nil {
		cfg.BuildFrontend = frames.buildFrontend
	}
	pw, ok, err := c.config.password(ctx)
	if err != nil {
		return nil, refused("getting the source's password", c.config.passwordSource(), "see that the file can be read, or the command be run, by this user", err)
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
	if err = c.admitted(err); err != nil {
		return nil, failed(op, c.address(), err)
	}
	if err := c.greet(ctx, conn, kind); err != nil {
		closeConn(conn)
		return nil, failed(op, c.address(), err)
	}
	return conn, nil
}

// admitted looks at how a connection went. A password that is refused after it
// has been right is tried again for a while.
func (c *connector) admitted(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.worked, c.authSince = true, time.Time{}
		return nil
	}
	if code := sqlState(err); !c.worked || code != codeWrongPassword && code != codeNotAdmitted {
		return err
	}
	now := time.Now()
	if c.authSince.IsZero() {
		c.authSince = now
	}
	if now.Sub(c.authSince) >= authGrace {
		return err
	}
	_, remedy := classify(err)
	return &cdc.Error{Op: "logging in, as has worked before", Class: cdc.ClassRetry, Remedy: remedy, Err: err}
}

// address is where we connect to, for messages.
func (c *connector) address() string { return address(c.base) }

// server is what a connection has found out about the server that it reached.
// Started tells two servers of one cluster apart.
type server struct {
	cdc.Identity
}

const serverKey = "lakeload.server"

// serverOf is the server that a connection of ours has reached.
func serverOf(conn *pgconn.PgConn) server {
	s, _ := conn.CustomData()[serverKey].(server)
	return s
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
	var s server
	var err error
	if kind == connWalsender {
		s, err = meetWalsender(ctx, conn)
	} else {
		s, err = meet(ctx, conn)
	}
	if err != nil {
		return err
	}
	s.ServerVersion = version
	conn.CustomData()[serverKey] = s
	return c.compare(s.Identity)
}

// meet asks an ordinary connection's server who it is. A standby does not tell
// its timeline here, and some services keep the system identifier to
// themselves; a walsender says both.
func meet(ctx context.Context, conn *pgconn.PgConn) (server, error) {
	rows, err := query(ctx, conn, `SELECT current_database(), pg_is_in_recovery(), extract(epoch FROM pg_postmaster_start_time()),
		CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END`)
	if err != nil {
		return server{}, err
	}
	r := rows[0]
	s := server{Identity: cdc.Identity{Database: r.str(0), Standby: r.bool(1), Started: started(r, 2)}}
	if !r.null(3) {
		timeline, err := strconv.ParseUint(r.str(3), 16, 32)
		if err != nil {
			return server{}, fmt.Errorf("reading the timeline of the log's file: %w", err)
		}
		s.Timeline = uint32(timeline)
	}
	rows, err = query(ctx, conn, "SELECT system_identifier::text FROM pg_control_system()")
	switch {
	case err == nil:
		s.SystemID = rows[0].str(0)
	case sqlState(err) != codeNoPrivilege:
		return server{}, err
	}
	return s, nil
}

func meetWalsender(ctx context.Context, conn *pgconn.PgConn) (server, error) {
	rows, err := simple(ctx, conn, "IDENTIFY_SYSTEM")
	if err != nil {
		return server{}, err
	}
	if len(rows) != 1 || len(rows[0]) < 4 {
		return server{}, errors.New("the server's answer to IDENTIFY_SYSTEM is not one row of four columns")
	}
	timeline, err := strconv.ParseUint(rows[0].str(1), 10, 32)
	if err != nil {
		return server{}, fmt.Errorf("reading the timeline of IDENTIFY_SYSTEM: %w", err)
	}
	s := server{Identity: cdc.Identity{SystemID: rows[0].str(0), Timeline: uint32(timeline), Database: rows[0].str(3)}}
	rows, err = simple(ctx, conn, "SELECT pg_is_in_recovery(), extract(epoch FROM pg_postmaster_start_time())")
	if err != nil {
		return server{}, err
	}
	s.Standby, s.Started = rows[0].bool(0), started(rows[0], 1)
	return s, nil
}

func started(r row, i int) time.Time {
	if t := r.time(i); t != nil {
		return *t
	}
	return time.Time{}
}

// compare stops us from talking to two clusters under one address. A timeline
// that changed under way (a promotion) has to be looked at by Identify first.
// What the server has not told is empty.
func (c *connector) compare(id cdc.Identity) error {
	const op = "checking the source's identity"
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.known
	if k.SystemID != "" && id.SystemID != "" && k.SystemID != id.SystemID || k.Database != "" && k.Database != id.Database {
		return refused(op, "", "point the connection string at the server that was mirrored, or adopt the new one knowingly (`lakeload adopt`)",
			fmt.Errorf("this is database %s of the cluster with system identifier %s; before, it was database %s of %s", id.Database, id.SystemID, k.Database, k.SystemID))
	}
	if k.Timeline != 0 && id.Timeline != 0 && k.Timeline != id.Timeline {
		return refused(op, "", "start again: how far the server went on from what the lake has is checked at the start",
			fmt.Errorf("%w: %d; before, it was on %d", cdc.ErrTimeline, id.Timeline, k.Timeline))
	}
	k.Database, k.Standby, k.ServerVersion = id.Database, id.Standby, id.ServerVersion
	if id.SystemID != "" {
		k.SystemID = id.SystemID
	}
	if id.Timeline != 0 {
		k.Timeline = id.Timeline
	}
	return nil
}

// forgetTimeline lets the next connection tell the timeline anew.
func (c *connector) forgetTimeline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known.Timeline = 0
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
	const patience = 3 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = conn.Close(ctx) // the server drops what the session held, whatever the outcome
	select {
	case <-conn.CleanupDone():
	case <-ctx.Done():
		_ = conn.Conn().Close() // it waits for a peer that says nothing
		<-conn.CleanupDone()
	}
}
