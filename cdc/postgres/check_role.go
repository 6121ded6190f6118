package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// role looks at what the user may do in the server and the database.
func (c *checker) role(ctx context.Context) error {
	rows, err := c.query(ctx, `SELECT current_user, rolsuper, rolreplication,
		EXISTS (SELECT FROM pg_roles m WHERE m.rolname = 'rds_replication' AND pg_has_role(m.oid, 'MEMBER')),
		has_database_privilege(current_database(), 'CREATE'), current_database(), rolconnlimit,
		(SELECT count(*) FROM pg_stat_activity a WHERE a.usename = current_user), d.datconnlimit,
		(SELECT count(*) FROM pg_stat_activity a WHERE a.datname = current_database()),
		(SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database)
		FROM pg_roles r, pg_database d WHERE rolname = current_user AND d.datname = current_database()`)
	if err != nil || len(rows) == 0 {
		return errors.Join(errors.New("reading the user's rights"), err)
	}
	r := rows[0]
	user := quoteIdent(r.str(0))
	if r.bool(1) || r.bool(2) || r.bool(3) {
		c.ok("replication_role", r.str(0))
		c.walsender(ctx)
	} else {
		c.blocker("replication_role", r.str(0), "no REPLICATION attribute", "REPLICATION", c.allowReplication(user))
	}
	c.connectionLimits(r, user)
	if err := c.roleSettings(ctx); err != nil {
		return err
	}
	return c.mayPublish(ctx, r.bool(4), r.str(5), user)
}

// connectionLimits counts what is free for us, of whatever runs out first.
func (c *checker) connectionLimits(r row, user string) {
	need := int64(c.config.Connections) + 3
	var most int64
	if _, err := fmt.Sscan(c.set["max_connections"], &most); err != nil {
		return
	}
	for _, l := range []struct {
		what        string
		limit, used int64
		remedy      string
	}{
		{"the role " + r.str(0), r.int(6), r.int(7), fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d;", user, r.int(7)+need)},
		{"the database", r.int(8), r.int(9), fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d;", quoteIdent(r.str(5)), r.int(9)+need)},
		{"the server (max_connections)", most, r.int(10), c.change("max_connections", fmt.Sprint(most+need)) + " -- or lower limits.source_connections"},
	} {
		if l.limit >= 0 && l.limit-l.used < need-1 { // one of ours is open
			c.warning("connection_limit", l.what, fmt.Sprintf("%d, %d in use", l.limit, l.used), fmt.Sprintf("%d free, for a copy", need-1), l.remedy)
			return
		}
	}
	c.ok("connection_limit", fmt.Sprintf("room for %d", need))
}

// roleSettings tells which settings of the role or the database we override.
func (c *checker) roleSettings(ctx context.Context) error {
	rows, err := c.query(ctx, `SELECT unnest(setconfig) FROM pg_db_role_setting s
		WHERE s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user)) AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))`)
	if err != nil {
		return fmt.Errorf("reading the role's settings: %w", err)
	}
	var names []string
	for _, r := range rows {
		name, _, _ := strings.Cut(r.str(0), "=")
		names = append(names, name)
	}
	if len(names) > 0 {
		c.ok("role_settings", strings.Join(names, ", ")+"; those that values or waits depend on are overridden in our sessions")
	}
	return nil
}

func (c *checker) mayPublish(ctx context.Context, mayCreate bool, database, user string) error {
	have, err := readPublications(ctx, c.conn, []pubWant{{name: c.config.publications()[0]}, {name: c.config.publications()[1]}})
	if err != nil {
		return err
	}
	switch {
	case mayCreate:
		c.ok("create_publication", database)
	case len(have) == 2:
		c.ok("create_publication", "not allowed, but the publications exist")
	default:
		c.blocker("create_publication", database, "no CREATE on the database", "CREATE, or publications that somebody else has made",
			fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s;", quoteIdent(database), user))
	}
	return nil
}

// walsender tries what pg_hba.conf may forbid though the role allows it.
func (c *checker) walsender(ctx context.Context) {
	conn, err := c.connector.connect(ctx, connWalsender)
	if err == nil {
		closeConn(conn)
		c.ok("walsender", "reachable")
		return
	}
	remedy := "connect to the server itself and not to a pooler, and leave a walsender free"
	if code := sqlState(err); code == codeNotAdmitted || code == codeWrongPassword {
		remedy = fmt.Sprintf("add to pg_hba.conf, and reload: host %s %s ADDRESS/32 scram-sha-256 -- replication connections to a database are matched by its name, not by the word replication",
			c.connector.base.Database, c.connector.base.User)
	}
	c.blocker("walsender", "", err.Error(), "a replication connection to the database", remedy)
}
