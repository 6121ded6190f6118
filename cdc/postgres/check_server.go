package postgres

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// connection looks at the way to the server: encryption, and poolers.
func (c *checker) connection(ctx context.Context) error {
	c.encryption()
	rows, err := c.query(ctx, `SELECT pg_backend_pid(), current_setting('TimeZone'), current_setting('search_path'), current_setting('statement_timeout')`)
	if err != nil {
		return err
	}
	r := rows[0]
	again, err := c.query(ctx, "SELECT pg_backend_pid()")
	if err != nil {
		return err
	}
	const need, remedy = "a connection to the server itself", "give the server's own host and port: a pooler gives each transaction another session, without the settings that the meaning of values depends on, and no replication"
	switch {
	case r.int(0) != again[0].int(0) || r.str(1) != sessionSettings["TimeZone"] || strings.Trim(r.str(2), `"`) != "" || r.str(3) != "0":
		c.blocker("pooler", "", "a connection pooler that keeps no session", need, remedy)
	case uint32(r.int(0)) != c.conn.PID():
		c.warning("pooler", "", "something between us and the server, which keeps our session", need, remedy)
	default:
		c.ok("pooler", "none")
	}
	return nil
}

func (c *checker) encryption() {
	const need, remedy = "sslmode=verify-full", "connect with sslmode=verify-full and sslrootcert=FILE (or sslrootcert=system)"
	secured, encrypted := c.conn.Conn().(*tls.Conn)
	remote, _ := c.conn.Conn().RemoteAddr().(*net.TCPAddr)
	switch {
	case encrypted:
		cfg := c.connector.base.TLSConfig
		if cfg != nil && cfg.InsecureSkipVerify && cfg.VerifyPeerCertificate == nil {
			c.warning("tls", "", "encrypted, and nobody checks whose certificate it is", need, remedy)
			return
		}
		c.ok("tls", tls.VersionName(secured.ConnectionState().Version))
	case remote == nil || remote.IP.IsLoopback():
		c.ok("tls", "not encrypted, on this machine")
	default:
		c.warning("tls", "", "not encrypted", need, remedy)
	}
}

// settings looks at what the server is configured for.
func (c *checker) settings(ctx context.Context) error {
	rows, err := c.query(ctx, "SELECT name, setting FROM pg_settings")
	if err != nil {
		return fmt.Errorf("reading the server's settings: %w", err)
	}
	c.set = map[string]string{}
	for _, r := range rows {
		c.set[r.str(0)] = r.str(1)
	}
	if c.set["wal_level"] != "logical" {
		c.blocker("wal_level", "", c.set["wal_level"], "logical", c.change("wal_level", "logical"))
	} else {
		c.ok("wal_level", "logical")
	}
	rows, err = c.query(ctx, `SELECT (SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_stat_replication),
		(SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1),
		(SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database())`, c.config.Slot)
	if err != nil {
		return fmt.Errorf("reading the server's slots: %w", err)
	}
	r := rows[0]
	ours := r.int(2)
	const why = "one for the stream and a spare one for snapshots"
	c.room("max_replication_slots", r.int(0), 2-ours, why)
	c.room("max_wal_senders", r.int(1), 2, why)
	if enc := r.str(3); enc == "SQL_ASCII" {
		c.blocker("encoding", "", enc, "UTF8, or another that the server can convert", "dump the database and restore it into one made with ENCODING 'UTF8': SQL_ASCII does not say what its text means")
	} else {
		c.ok("encoding", enc)
	}
	c.timeouts()
	return nil
}

// room checks that a limit leaves enough free.
func (c *checker) room(setting string, used, need int64, why string) {
	limit, _ := strconv.ParseInt(c.set[setting], 10, 64)
	have := fmt.Sprintf("%d, %d in use", limit, used)
	if limit-used < need {
		c.blocker(setting, "", have, fmt.Sprintf("%d free: %s", need, why), c.change(setting, strconv.FormatInt(used+need, 10)))
		return
	}
	c.ok(setting, have)
}

// timeouts looks at what ends sessions and slots.
func (c *checker) timeouts() {
	ms, _ := strconv.ParseInt(c.set["wal_sender_timeout"], 10, 64)
	switch {
	case ms == 0:
		c.warning("wal_sender_timeout", "", "0: the server never notices a reader that is gone, and holds the slot for it", "60s", c.change("wal_sender_timeout", "60s"))
	case ms < 5000:
		c.warning("wal_sender_timeout", "", fmt.Sprintf("%d ms", ms), "5s or more: a network that stalls for a moment ends the stream", c.change("wal_sender_timeout", "60s"))
	default:
		c.ok("wal_sender_timeout", (time.Duration(ms) * time.Millisecond).String())
	}
	kb, _ := strconv.ParseInt(c.set["logical_decoding_work_mem"], 10, 64)
	if kb < 1024 {
		c.warning("logical_decoding_work_mem", "", fmt.Sprintf("%d kB", kb), "64MB", c.change("logical_decoding_work_mem", "64MB"))
	} else {
		c.ok("logical_decoding_work_mem", bytesText(kb<<10))
	}
}

// transactions looks at those that a slot has to wait for.
func (c *checker) transactions(ctx context.Context) error {
	rows, err := c.query(ctx, "SELECT count(*), min(prepared) FROM pg_prepared_xacts")
	if err != nil {
		return fmt.Errorf("reading the prepared transactions: %w", err)
	}
	if n := rows[0].int(0); n > 0 {
		c.warning("prepared_transactions", "", fmt.Sprintf("%d prepared and not ended, the oldest since %s", n, rows[0].str(1)), "none",
			"SELECT gid, prepared, database FROM pg_prepared_xacts; -- COMMIT PREPARED or ROLLBACK PREPARED each, in its database: no slot can be made, nor log freed, until they end")
	}
	rows, err = c.query(ctx, `SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::bigint, coalesce(state, '?') FROM pg_stat_activity
		WHERE backend_xid IS NOT NULL AND xact_start < clock_timestamp() - $1::interval ORDER BY xact_start LIMIT 1`, c.longAfter)
	if err != nil {
		return fmt.Errorf("reading the running transactions: %w", err)
	}
	if len(rows) > 0 {
		r := rows[0]
		c.warning("long_transactions", "process "+r.str(0), fmt.Sprintf("a transaction that writes, since %s (%s)", time.Duration(r.int(1))*time.Second, r.str(2)),
			"none: to make a slot, or a snapshot for a later copy, the server waits for it", fmt.Sprintf("wait for it, or SELECT pg_terminate_backend(%s);", r.str(0)))
	}
	return nil
}

// slotState looks at a slot of our name that exists already.
func (c *checker) slotState(ctx context.Context) error {
	info, err := readSlot(ctx, c.conn, c.config.Slot)
	switch {
	case isNoSlot(err):
		return nil
	case err != nil:
		return fmt.Errorf("looking at the slot: %w", err)
	}
	have := "exists, at " + info.ConfirmedFlush.String()
	if info.Active {
		have = "in use by " + info.holder()
	}
	if e := info.check(); e != nil {
		c.blocker("slot", info.Name, e.Error(), "a slot of ours, or none", "choose another slot name, or drop the slot that nobody uses")
	} else if info.Lost {
		why, remedy := info.loss()
		c.blocker("slot", info.Name, "lost: "+why, "a slot that still has all changes", remedy)
	} else {
		c.ok("slot", have)
	}
	if c.config.Failover && c.version < failoverVersion {
		c.blocker("failover", "", "PostgreSQL "+printVersion(c.version), "17 or newer, for a slot that standbys keep", "do without source.failover, or upgrade the server")
	}
	return nil
}

// bytesText writes a number of bytes for people.
func bytesText(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if f == float64(int64(f)) {
		return fmt.Sprintf("%d %s", int64(f), units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// lsnNow is the end of the server's log, or of what a standby has replayed.
func (c *checker) lsnNow(ctx context.Context) (cdc.LSN, error) {
	rows, err := c.query(ctx, "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END")
	if err != nil {
		return 0, err
	}
	return rows[0].lsn(0), nil
}
