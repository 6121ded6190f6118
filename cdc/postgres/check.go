package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// minServerVersion is the oldest server that streams transactions in progress
// and finds rows by ranges of blocks.
const minServerVersion = 140000

// findings collects the results of a check.
type findings struct{ list []cdc.Finding }

func (f *findings) add(severity cdc.Severity, check, object, have, need, remedy string) {
	f.list = append(f.list, cdc.Finding{Check: check, Object: object, Severity: severity, Have: have, Need: need, Remedy: remedy})
}

func (f *findings) blocker(check, object, have, need, remedy string) {
	f.add(cdc.Blocker, check, object, have, need, remedy)
}

func (f *findings) warning(check, object, have, need, remedy string) {
	f.add(cdc.Warning, check, object, have, need, remedy)
}

func (f *findings) ok(check, have string) { f.add(cdc.OK, check, "", have, "", "") }

// Check implements [cdc.Checker]. What is found is in the list; an error means
// only that looking failed half-way, and comes with what was found till then.
// It changes nothing on the server.
//
// The stable names of the checks: connect, server_version, server_minor,
// wal_level, max_replication_slots, max_wal_senders, replication_role,
// walsender, encoding, standby, max_slot_wal_keep_size,
// idle_replication_slot_timeout, prepared_transactions, slot, publication,
// create_publication, tables, table_kind, pattern, table_owner, select,
// row_security, replica_identity, full_without_key, partition_identity,
// name_case, reserved_column.
func (s *Source) Check(ctx context.Context) ([]cdc.Finding, error) {
	f := &findings{}
	var unreachable error
	err := s.admin.with(ctx, func(conn *pgconn.PgConn) error {
		f.list = nil // with may run this twice
		version := serverVersionNum(conn.ParameterStatus("server_version"))
		f.ok("connect", s.connector.address())
		if !f.version(version) {
			return nil
		}
		c := &checker{Source: s, findings: f, conn: conn, version: version}
		for _, step := range []func(context.Context) error{c.service, c.settings, c.role, c.slotState, c.tables, c.publications} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && len(f.list) == 0 {
		unreachable = err
		f.unreachable(s.connector.address(), unreachable)
		return f.list, nil
	}
	if err != nil {
		return f.list, failed("checking the source", s.connector.address(), err)
	}
	return f.list, nil
}

// unreachable makes a finding of a connection that could not be had.
func (f *findings) unreachable(address string, err error) {
	remedy := ""
	var e *cdc.Error
	if errors.As(err, &e) {
		remedy = e.Remedy
	}
	f.blocker("connect", address, err.Error(), "a connection", remedy)
}

// version reports whether the server is new enough to be looked at further.
func (f *findings) version(version int) bool {
	have := printVersion(version)
	if version < minServerVersion {
		f.blocker("server_version", "", have, "14 or newer", "upgrade the server")
		return false
	}
	f.ok("server_version", have)
	// Until these releases, decoding could go on with a stale catalogue after
	// ALTER PUBLICATION and ALTER TYPE by others, and lose changes.
	if fixed := map[int]int{14: 18, 15: 13, 16: 9, 17: 5}[version/10000]; version%10000 < fixed {
		f.warning("server_minor", "", have, fmt.Sprintf("%d.%d or newer", version/10000, fixed),
			"install the minor release: older ones may lose changes in logical decoding when a publication or a type is altered beside running transactions")
	}
	return true
}

func printVersion(v int) string { return fmt.Sprintf("%d.%d", v/10000, v%10000) }

// checker is one run of Check.
type checker struct {
	*Source
	*findings
	conn    *pgconn.PgConn
	version int
	managed string // aws, google, azure or ""
}

func (c *checker) query(ctx context.Context, sql string, params ...string) ([]row, error) {
	return query(ctx, c.conn, sql, params...)
}

// service finds out whose server it is, as settings are changed elsewhere there.
func (c *checker) service(ctx context.Context) error {
	rows, err := c.query(ctx, "SELECT rolname FROM pg_roles WHERE rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin')")
	if len(rows) > 0 {
		c.managed = map[string]string{"rds_superuser": "aws", "cloudsqlsuperuser": "google", "azure_pg_admin": "azure"}[rows[0].str(0)]
	}
	return err
}

// change says how a server setting is changed on this service.
func (c *checker) change(setting, value string) string {
	switch c.managed {
	case "aws":
		if setting == "wal_level" {
			setting, value = "rds.logical_replication", "1"
		}
		return fmt.Sprintf("set %s = %s in the parameter group of the instance (or cluster), and reboot it", setting, value)
	case "google":
		if setting == "wal_level" {
			setting, value = "cloudsql.logical_decoding", "on"
		}
		return fmt.Sprintf("set the database flag %s = %s of the instance", setting, value)
	case "azure":
		return fmt.Sprintf("set the server parameter %s = %s, and restart the server", setting, value)
	}
	return fmt.Sprintf("ALTER SYSTEM SET %s = %s; -- then restart the server", setting, quoteLiteral(value))
}

// settings looks at what the server is configured for.
func (c *checker) settings(ctx context.Context) error {
	rows, err := c.query(ctx, "SELECT name, setting FROM pg_settings")
	if err != nil {
		return fmt.Errorf("reading the server's settings: %w", err)
	}
	set := map[string]string{}
	for _, r := range rows {
		set[r.str(0)] = r.str(1)
	}
	if set["wal_level"] != "logical" {
		c.blocker("wal_level", "", set["wal_level"], "logical", c.change("wal_level", "logical"))
	} else {
		c.ok("wal_level", "logical")
	}
	rows, err = c.query(ctx, `SELECT (SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_stat_replication),
		(SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1),
		(SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()), pg_is_in_recovery(),
		(SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database())`, c.config.Slot)
	if err != nil {
		return fmt.Errorf("reading the server's slots: %w", err)
	}
	r := rows[0]
	ours := r.int(2)
	c.room("max_replication_slots", set, r.int(0), 2-ours, "one for the stream and a spare one for snapshots")
	c.room("max_wal_senders", set, r.int(1), 2, "one for the stream and a spare one for snapshots")
	if n := r.int(3); n > 0 {
		c.warning("prepared_transactions", "", fmt.Sprintf("%d prepared and not ended", n), "none",
			"SELECT gid, prepared FROM pg_prepared_xacts; -- COMMIT PREPARED or ROLLBACK PREPARED each: the slot cannot be made, nor log freed, until they end")
	}
	c.standby(r.bool(4), set)
	if enc := r.str(5); enc != "UTF8" {
		severity, remedy := cdc.OK, ""
		if enc == "SQL_ASCII" {
			severity, remedy = cdc.Blocker, "dump the database and restore it into one made with ENCODING 'UTF8': SQL_ASCII does not say what its text means"
		}
		c.add(severity, "encoding", "", enc, "UTF8, or another that the server can convert", remedy)
	} else {
		c.ok("encoding", enc)
	}
	c.keepSize(set)
	return nil
}

// room checks that a limit leaves enough free.
func (c *checker) room(setting string, set map[string]string, used, need int64, why string) {
	limit, _ := strconv.ParseInt(set[setting], 10, 64)
	have := fmt.Sprintf("%d, %d in use", limit, used)
	if limit-used < need {
		c.blocker(setting, "", have, fmt.Sprintf("%d free: %s", need, why), c.change(setting, strconv.FormatInt(used+need, 10)))
		return
	}
	c.ok(setting, have)
}

func (c *checker) standby(recovering bool, set map[string]string) {
	if !recovering {
		return
	}
	if c.version < 160000 {
		c.blocker("standby", "", "a standby of version "+printVersion(c.version), "the primary, or a standby of 16 or newer", "connect to the primary")
		return
	}
	remedy := "connect to the primary: publications are made there, and snapshots after the first are taken there"
	if set["hot_standby_feedback"] != "on" {
		remedy += "; on a standby, " + c.change("hot_standby_feedback", "on")
	}
	c.blocker("standby", "", "a standby", "the primary", remedy)
}

// keepSize tells how much log the server keeps for a slot.
func (c *checker) keepSize(set map[string]string) {
	if mb, _ := strconv.ParseInt(set["max_slot_wal_keep_size"], 10, 64); mb >= 0 {
		c.ok("max_slot_wal_keep_size", fmt.Sprintf("%d MB; a slot that holds back more is lost, and the tables have to be copied again", mb))
	} else {
		c.ok("max_slot_wal_keep_size", "no limit; the server's disk fills up if the slot is not read: see wal_guard")
	}
	if t := set["idle_replication_slot_timeout"]; t != "" && t != "0" {
		c.warning("idle_replication_slot_timeout", "", t, "0, or longer than lakeload is ever stopped", c.change("idle_replication_slot_timeout", "0"))
	}
}

// role looks at what the user may do in the server and the database.
func (c *checker) role(ctx context.Context) error {
	rows, err := c.query(ctx, `SELECT current_user, rolsuper, rolreplication,
		EXISTS (SELECT FROM pg_roles m WHERE m.rolname = 'rds_replication' AND pg_has_role(m.oid, 'MEMBER')),
		has_database_privilege(current_database(), 'CREATE'), current_database()
		FROM pg_roles WHERE rolname = current_user`)
	if err != nil || len(rows) == 0 {
		return errors.Join(errors.New("reading the user's rights"), err)
	}
	r := rows[0]
	user := quoteIdent(r.str(0))
	if r.bool(1) || r.bool(2) || r.bool(3) {
		c.ok("replication_role", r.str(0))
		c.walsender(ctx)
	} else {
		remedy := fmt.Sprintf("ALTER ROLE %s REPLICATION;", user)
		if c.managed == "aws" {
			remedy = fmt.Sprintf("GRANT rds_replication TO %s;", user)
		}
		c.blocker("replication_role", r.str(0), "no REPLICATION attribute", "REPLICATION", remedy)
	}
	have, err := readPublications(ctx, c.conn, []pubWant{{name: c.config.publications()[0]}, {name: c.config.publications()[1]}})
	if err != nil {
		return err
	}
	switch {
	case r.bool(4):
		c.ok("create_publication", r.str(5))
	case len(have) == 2:
		c.ok("create_publication", "not allowed, but the publications exist")
	default:
		c.blocker("create_publication", r.str(5), "no CREATE on the database", "CREATE, or publications that somebody else has made",
			fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s;", quoteIdent(r.str(5)), user))
	}
	return nil
}

// walsender tries what pg_hba.conf may forbid though the role allows it.
func (c *checker) walsender(ctx context.Context) {
	conn, err := c.connector.connect(ctx, connWalsender)
	if err != nil {
		remedy := "allow this user and address in pg_hba.conf, connect to the server itself and not to a pooler, and leave a walsender free"
		c.blocker("walsender", "", err.Error(), "a replication connection to the database", remedy)
		return
	}
	closeConn(conn)
	c.ok("walsender", "reachable")
}

// slotState looks at a slot of our name that exists already.
func (c *checker) slotState(ctx context.Context) error {
	info, err := readSlot(ctx, c.conn, c.config.Slot)
	switch {
	case errors.Is(err, cdc.ErrNoSlot):
		return nil
	case err != nil:
		return fmt.Errorf("looking at the slot: %w", err)
	}
	have := "exists"
	if info.Active {
		have = fmt.Sprintf("in use by the server process %d", info.ActivePID)
	}
	if e := info.check(); e != nil {
		c.blocker("slot", info.Name, e.Error(), "a slot of ours, or none", "choose another slot name, or drop the slot that nobody uses")
	} else if info.Lost {
		c.blocker("slot", info.Name, strings.TrimSpace("lost "+info.Reason), "a slot that still has all changes",
			fmt.Sprintf("SELECT pg_drop_replication_slot(%s); -- and have the tables copied again", quoteLiteral(info.Name)))
	} else {
		c.ok("slot", have)
	}
	return nil
}
