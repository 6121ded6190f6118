package postgres

import (
	"context"
	"fmt"
)

// service is whose server it is: settings are changed elsewhere there, and
// rights are given in other ways.
type service string

const (
	serviceNone     service = ""
	serviceRDS      service = "rds"
	serviceAurora   service = "aurora"
	serviceGoogle   service = "google"
	serviceAlloyDB  service = "alloydb"
	serviceAzure    service = "azure"
	serviceSupabase service = "supabase"
	serviceNeon     service = "neon"
)

// service finds out whose server it is, by the roles that only they have.
func (c *checker) service(ctx context.Context) error {
	rows, err := c.query(ctx, `SELECT rolname, EXISTS (SELECT FROM pg_proc WHERE proname = 'aurora_version') FROM pg_roles
		WHERE rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'alloydbsuperuser', 'azure_pg_admin', 'supabase_admin', 'neon_superuser')`)
	if err != nil || len(rows) == 0 {
		return err
	}
	c.managed = map[string]service{
		"rds_superuser": serviceRDS, "cloudsqlsuperuser": serviceGoogle, "alloydbsuperuser": serviceAlloyDB,
		"azure_pg_admin": serviceAzure, "supabase_admin": serviceSupabase, "neon_superuser": serviceNeon,
	}[rows[0].str(0)]
	if c.managed == serviceRDS && rows[0].bool(1) {
		c.managed = serviceAurora
	}
	return nil
}

// change says how a server setting is changed, here or on this service.
func (c *checker) change(setting, value string) string {
	logical := setting == "wal_level"
	switch c.managed {
	case serviceRDS, serviceAurora:
		if logical {
			setting, value = "rds.logical_replication", "1"
		}
		group := "parameter group of the instance"
		if c.managed == serviceAurora {
			group = "parameter group of the cluster"
		}
		return fmt.Sprintf("set %s = %s in the %s, and reboot it", setting, value, group)
	case serviceGoogle:
		if logical {
			setting, value = "cloudsql.logical_decoding", "on"
		}
		return fmt.Sprintf("set the database flag %s = %s of the instance", setting, value)
	case serviceAlloyDB:
		if logical {
			setting, value = "alloydb.logical_decoding", "on"
		}
		return fmt.Sprintf("set the database flag %s = %s of the instance", setting, value)
	case serviceAzure:
		return fmt.Sprintf("set the server parameter %s = %s, and restart the server", setting, value)
	case serviceSupabase:
		return fmt.Sprintf("supabase postgres-config update --config %s=%s", setting, value)
	case serviceNeon:
		if logical {
			return "switch logical replication on in the project's settings"
		}
		return fmt.Sprintf("ask the provider to set %s = %s: it is not ours to set", setting, value)
	}
	if restarts[setting] {
		return fmt.Sprintf("ALTER SYSTEM SET %s = %s; -- then restart the server", setting, quoteLiteral(value))
	}
	return fmt.Sprintf("ALTER SYSTEM SET %s = %s; SELECT pg_reload_conf();", setting, quoteLiteral(value))
}

// restarts are the settings that only a restart changes.
var restarts = map[string]bool{
	"wal_level": true, "max_replication_slots": true, "max_wal_senders": true, "max_connections": true,
}

// allowReplication says how a role gets the right to replicate.
func (c *checker) allowReplication(user string) string {
	switch c.managed {
	case serviceRDS, serviceAurora:
		return fmt.Sprintf("GRANT rds_replication TO %s;", user)
	case serviceNeon:
		return "use a role made in the console: only those may replicate"
	}
	return fmt.Sprintf("ALTER ROLE %s REPLICATION;", user)
}
