package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// standbys looks at the server's place among others: a standby that is read,
// or standbys that are to keep the slot.
func (c *checker) standbys(ctx context.Context) error {
	if serverOf(c.conn).Standby {
		return c.standby(ctx)
	}
	rows, err := c.query(ctx, `SELECT count(*) FILTER (WHERE slot_type = 'physical' AND active), count(*) FILTER (WHERE slot_type = 'physical' AND active AND xmin IS NOT NULL),
		(SELECT count(*) FROM pg_stat_replication r WHERE r.state IN ('streaming', 'catchup') AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical'))
		FROM pg_replication_slots`)
	if err != nil {
		return fmt.Errorf("reading the server's standbys: %w", err)
	}
	slots, feedback, standbys := rows[0].int(0), rows[0].int(1), rows[0].int(2)
	switch {
	case standbys == 0 && !c.config.Failover:
	case c.version < failoverVersion:
		if standbys > 0 {
			c.warning("failover", "", fmt.Sprintf("%d standbys, and PostgreSQL %s", standbys, printVersion(c.version)), "17 or newer, for a slot that outlives a promotion",
				"after a promotion the slot is gone and all tables have to be copied again (`lakeload adopt`): upgrade, or see what your failover manager does for logical slots")
		}
	case !c.config.Failover:
		c.warning("failover", "", fmt.Sprintf("%d standbys, and a slot that they do not keep", standbys), "source.failover",
			"set source.failover (--failover), and on each standby sync_replication_slots = on and hot_standby_feedback = on; else all tables have to be copied again after a promotion")
	default:
		c.failover(slots, feedback)
	}
	return nil
}

// failover looks at what has to be set on a primary so that a promoted standby
// has all that the lake has. What is set on standbys shows here in part only.
func (c *checker) failover(slots, feedback int64) {
	switch {
	case slots == 0:
		c.warning("failover", "", "no standby follows by a physical slot", "one that does (primary_slot_name)",
			"SELECT pg_create_physical_replication_slot('standby1'); -- then set primary_slot_name, hot_standby_feedback = on, sync_replication_slots = on and a dbname in primary_conninfo on the standby")
	case feedback < slots:
		c.warning("failover", "", fmt.Sprintf("%d of %d standbys with a slot tell what they still need", feedback, slots), "hot_standby_feedback = on, on all", "ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf(); -- on the standby")
	default:
		c.ok("failover", fmt.Sprintf("%d standbys with a slot and feedback; see that sync_replication_slots is on there", slots))
	}
	if c.set["synchronized_standby_slots"] == "" {
		c.warning("synchronized_standby_slots", "", "empty: the lake may get changes that no standby has yet, and is then ahead of it after a promotion", "the physical slots of the standbys that may be promoted",
			c.change("synchronized_standby_slots", "standby1"))
	} else {
		c.ok("synchronized_standby_slots", c.set["synchronized_standby_slots"])
	}
}

// standby looks at a standby that is to be read.
func (c *checker) standby(ctx context.Context) error {
	switch {
	case c.version < standbyVersion:
		c.blocker("standby", "", "a standby of version "+printVersion(c.version), "the primary, or a standby of 16 or newer", "connect to the primary")
		return nil
	case !c.config.AllowStandby:
		c.blocker("standby", "", "a standby", "the primary, or the word that a standby is meant", "connect to the primary; or set source.standby (--standby), and name the primary in source.primary_url")
		return nil
	}
	c.ok("standby", "a standby, as is allowed")
	if c.set["hot_standby_feedback"] != "on" {
		c.warning("hot_standby_feedback", "", c.set["hot_standby_feedback"], "on: else the primary removes what decoding needs, and the slot is lost", c.change("hot_standby_feedback", "on"))
	}
	if c.set["primary_slot_name"] == "" {
		c.warning("primary_slot_name", "", "empty: what the standby needs is kept only while it is connected", "a physical slot on the primary", c.change("primary_slot_name", "standby1"))
	}
	return c.primarySide(ctx)
}

// primarySide looks at the primary of a standby.
func (c *checker) primarySide(ctx context.Context) error {
	if c.primary == nil {
		c.warning("primary", "", "not named", "source.primary_url",
			"name it; or make the publications there yourself (`lakeload publication create --dry-run` prints the SQL), and run SELECT pg_log_standby_snapshot(); there when a slot is made")
		return nil
	}
	err := c.primary.with(ctx, func(conn *pgconn.PgConn) error {
		if err := c.samePrimary(serverOf(conn)); err != nil {
			return err
		}
		rows, err := query(ctx, conn, "SELECT current_setting('wal_level'), has_function_privilege('pg_log_standby_snapshot()', 'EXECUTE'), current_user")
		if err != nil {
			return err
		}
		if level := rows[0].str(0); level != "logical" {
			c.blocker("wal_level", "the primary", level, "logical", c.change("wal_level", "logical"))
		}
		if !rows[0].bool(1) {
			c.warning("primary", rows[0].str(2), "may not ask for snapshots: to make a slot waits for the next checkpoint", "EXECUTE on pg_log_standby_snapshot",
				fmt.Sprintf("GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot() TO %s; -- on the primary", quoteIdent(rows[0].str(2))))
			return nil
		}
		c.ok("primary", c.primary.connector.address())
		return nil
	})
	if err != nil {
		c.blocker("primary", c.primary.connector.address(), err.Error(), "the standby's primary", "name it in source.primary_url")
	}
	return nil
}
