package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// Every connection prints values alike, whatever the role, the database and
// the connection string say, and whatever the kind of the connection.
func TestSessionSettingsOnAllConnections(t *testing.T) {
	d := newDatabase(t)
	hostile := map[string]string{
		"DateStyle": "German", "IntervalStyle": "iso_8601", "TimeZone": "Asia/Kolkata", "extra_float_digits": "0", "bytea_output": "escape",
		"search_path": "public", "row_security": "on", "statement_timeout": "12345", "idle_in_transaction_session_timeout": "12345",
		"idle_session_timeout": "12345", "client_encoding": "LATIN1", "lock_timeout": "77", "default_transaction_isolation": "serializable",
	}
	for name, value := range hostile {
		d.exec(fmt.Sprintf("ALTER DATABASE %s SET %s = '%s'", d.name, name, value))
	}
	s := d.open(func(c *Config) { c.DSN += "&datestyle=SQL&options=-c%20timezone%3DEurope/Vienna" })
	ctx := testContext(t)
	require.Equal(t, "ISO, MDY", sessionSettings["DateStyle"]+", MDY")
	want := map[string]string{
		"client_encoding": "UTF8", "DateStyle": "ISO", "IntervalStyle": "postgres", "TimeZone": "UTC", "extra_float_digits": "3",
		"bytea_output": "hex", "search_path": "", "row_security": "off", "statement_timeout": "0",
		"idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0", "default_transaction_isolation": "read committed",
	}
	for kind, lock := range map[connKind]string{connCatalog: lockTimeout, connReader: lockTimeout, connWalsender: "0"} {
		for _, frames := range []*framing{nil, {}} {
			conn, err := s.connector.connectFramed(ctx, kind, frames)
			require.NoError(t, err)
			for name, value := range want {
				rows, err := simple(ctx, conn, "SHOW "+name)
				require.NoError(t, err)
				got := strings.SplitN(rows[0].str(0), ",", 2)[0]
				require.Equal(t, value, got, "%s on connection kind %d", name, kind)
			}
			rows, err := simple(ctx, conn, "SHOW lock_timeout")
			require.NoError(t, err)
			require.Equal(t, lock, rows[0].str(0))
			rows, err = simple(ctx, conn, "SHOW application_name")
			require.NoError(t, err)
			require.Equal(t, "lakeload slot_"+d.name, rows[0].str(0))
			closeConn(conn)
		}
	}
}

func TestWrongPassword(t *testing.T) {
	d := newDatabase(t)
	const wrong = "not-the-Pass9"
	c := d.config()
	c.DSN = strings.Replace(c.DSN, testPassword, wrong, 1)
	_, err := Open(testContext(t), c)
	require.Error(t, err)
	require.False(t, cdc.Retryable(err))
	require.Equal(t, "28P01", sqlState(err))
	for e := err; e != nil; e = errors.Unwrap(e) {
		require.NotContains(t, e.Error(), wrong)
	}

	// A password file wins over the connection string, and is read each time.
	file := filepath.Join(t.TempDir(), "pw")
	require.NoError(t, os.WriteFile(file, []byte(testPassword+"\n"), 0o600))
	c.PasswordFile = file
	s, err := Open(testContext(t), c)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	require.NoError(t, os.WriteFile(file, []byte(wrong), 0o600))
	_, err = s.Identify(testContext(t))
	require.Equal(t, "28P01", sqlState(err))
	require.NotContains(t, err.Error(), wrong)
	require.NoError(t, os.Remove(file))
	_, err = s.Identify(testContext(t))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestErrorClasses(t *testing.T) {
	d := newDatabase(t)
	ctx := testContext(t)
	c := d.config()

	gone := c
	gone.DSN = "postgres://u@127.0.0.1:1/db"
	_, err := Open(ctx, gone)
	require.True(t, cdc.Retryable(err), "%v", err)

	missing := c
	missing.DSN = strings.Replace(c.DSN, d.name, "no_such_database", 1)
	_, err = Open(ctx, missing)
	require.Equal(t, "3D000", sqlState(err))
	require.False(t, cdc.Retryable(err))

	// A connection that the server ended is replaced without a word.
	s := d.open()
	_, err = s.Tables(ctx)
	require.NoError(t, err)
	d.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	_, err = s.Tables(ctx)
	require.NoError(t, err)

	for code, class := range map[string]cdc.ErrorClass{
		"57P01": cdc.ClassRetry, "57P03": cdc.ClassRetry, "53300": cdc.ClassRetry, "08006": cdc.ClassRetry, "55P03": cdc.ClassRetry, "40P01": cdc.ClassRetry,
		"28000": cdc.ClassOperator, "42501": cdc.ClassOperator, "53400": cdc.ClassOperator, "XX000": cdc.ClassOperator, "58P01": cdc.ClassOperator,
	} {
		got, _ := classify(&pgconn.PgError{Code: code})
		require.Equal(t, class, got, code)
	}
	for _, lost := range []*pgconn.PgError{
		{Code: "55000", Message: `can no longer get changes from replication slot "s"`},
		{Code: "55000", Message: "cannot read from logical replication slot \"s\"", Detail: "This slot has been invalidated because it exceeded the maximum reserved size."},
		{Code: "58P01", Message: "requested WAL segment 000000010000000000000001 has already been removed"},
	} {
		require.True(t, cdc.NeedsResync(failed("op", "", fmt.Errorf("wrapped: %w", lost))))
	}
}

func TestIdentifyAndAnotherCluster(t *testing.T) {
	d := newDatabase(t)
	s := d.open()
	ctx := testContext(t)
	id, err := s.Identify(ctx)
	require.NoError(t, err)
	require.Equal(t, d.name, id.Database)
	require.EqualValues(t, 1, id.Timeline)
	require.NotEmpty(t, id.SystemID)
	require.Equal(t, testServer(t).Version(), id.ServerVersion/10000)

	// The same address leads to another cluster, or to another timeline.
	s.connector.known.SystemID = "1"
	for _, kind := range []connKind{connCatalog, connReader, connWalsender} {
		_, err = s.connector.connect(ctx, kind)
		require.ErrorContains(t, err, "system identifier")
		require.False(t, cdc.Retryable(err) || cdc.NeedsResync(err))
	}
	s.connector.known.SystemID = id.SystemID
	s.connector.known.Timeline = 7
	_, err = s.connector.connect(ctx, connWalsender)
	require.ErrorContains(t, err, "timeline")
	id, err = s.Identify(ctx) // looks anew
	require.NoError(t, err)
	require.EqualValues(t, 1, id.Timeline)
}

func TestCancelledCallsReturn(t *testing.T) {
	d := newDatabase(t)
	s := d.open()
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	_, err := s.Tables(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Tables(testContext(t))
	require.NoError(t, err)
}
