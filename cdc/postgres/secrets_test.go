package postgres

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// roleConfig is the configuration of a new role with a password, which the
// connection string does not hold.
func roleConfig(d *database) (c Config, role string) {
	role = "r_" + d.name
	d.exec(fmt.Sprintf("CREATE ROLE %s LOGIN REPLICATION PASSWORD '%s'", role, testPassword))
	d.t.Cleanup(func() { d.exec(fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", role)) })
	c = d.config()
	u, err := url.Parse(c.DSN)
	require.NoError(d.t, err)
	u.User = url.User(role)
	c.DSN = u.String()
	return c, role
}

// A password is asked for at each physical connection, from wherever it comes.
func TestEdge23PasswordOfEachConnection(t *testing.T) {
	d := newDatabase(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "pw")
	t.Setenv("PGPASSFILE", filepath.Join(dir, "pgpass"))
	put := func(pw string) {
		t.Helper()
		require.NoError(t, os.WriteFile(file, []byte(pw+"\n"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "pgpass"), []byte("127.0.0.1:*:*:*:"+pw+"\n"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "services"), []byte("[shop]\npassword="+pw+"\n"), 0o600))
	}
	base, role := roleConfig(d)
	for name, change := range map[string]func(*Config){
		"file":    func(c *Config) { c.PasswordFile = file },
		"command": func(c *Config) { c.PasswordCommand = []string{"cat", file} },
		"function": func(c *Config) {
			c.Password = func(context.Context) (string, error) {
				b, err := os.ReadFile(file)
				return strings.TrimSpace(string(b)), err
			}
		},
		"pgpass": func(*Config) {},
		"service": func(c *Config) {
			c.DSN += "&service=shop&servicefile=" + url.QueryEscape(filepath.Join(dir, "services"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := base
			change(&c)
			put("not yet")
			_, err := Open(testContext(t), c)
			require.Equal(t, codeWrongPassword, sqlState(err), "%v", err)
			require.False(t, cdc.Retryable(err), "a password that has never worked is the operator's business")
			require.NotContains(t, err.Error(), "not yet")

			put(testPassword)
			s, err := Open(testContext(t), c)
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()

			// The server has the new one first: that passes.
			d.exec(fmt.Sprintf("ALTER ROLE %s PASSWORD 'next-%s'", role, testPassword))
			for _, kind := range []connKind{connCatalog, connReader, connWalsender} {
				_, err = s.connector.connect(testContext(t), kind)
				require.Equal(t, codeWrongPassword, sqlState(err), "%v", err)
				require.True(t, cdc.Retryable(err), "%v", err)
			}
			put("next-" + testPassword)
			for _, kind := range []connKind{connCatalog, connReader, connWalsender} {
				conn, err := s.connector.connect(testContext(t), kind)
				require.NoError(t, err)
				closeConn(conn)
			}
			// It does not pass for ever.
			d.exec(fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", role, testPassword))
			_, err = s.Identify(testContext(t))
			require.True(t, cdc.Retryable(err), "%v", err)
			s.connector.authSince = time.Now().Add(-authGrace)
			_, err = s.Identify(testContext(t))
			require.False(t, cdc.Retryable(err), "%v", err)
		})
	}
}

// A password command's output is told nowhere, its complaint is, and it does
// not run for ever.
func TestEdge23PasswordCommand(t *testing.T) {
	ctx := testContext(t)
	dir := t.TempDir()
	pw, err := runPasswordCommand(ctx, []string{"sh", "-c", "echo 'a b '; echo note >&2"})
	require.NoError(t, err)
	require.Equal(t, "a b ", pw, "line ends alone are cut off")

	// No shell looks at the arguments.
	pw, err = runPasswordCommand(ctx, []string{"printf", "%s", "$HOME; echo"})
	require.NoError(t, err)
	require.Equal(t, "$HOME; echo", pw)

	for name, c := range map[string]struct {
		argv []string
		says string
	}{
		"fails":      {[]string{"sh", "-c", "echo s3cr3t; echo 'no token' >&2; exit 7"}, "exit status 7: no token"},
		"is silent":  {[]string{"true"}, "printed no password"},
		"is missing": {[]string{filepath.Join(dir, "nothing")}, "no such file"},
		"is long":    {[]string{"sh", "-c", "yes complaint | head -c 100000 >&2; exit 1"}, "complaint"},
	} {
		_, err := (&Config{PasswordCommand: c.argv}).passwordFailure(ctx)
		require.ErrorContains(t, err, c.says, name)
		require.NotContains(t, err.Error(), "s3cr3t")
		require.Less(t, len(err.Error()), 2000)
	}

	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	pid := filepath.Join(dir, "pid")
	_, err = runPasswordCommand(short, []string{"sh", "-c", "sleep 1000 & echo $! > " + pid + "; wait"})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	b, err := os.ReadFile(pid)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // nor do its children
		state, err := os.ReadFile("/proc/" + strings.TrimSpace(string(b)) + "/stat")
		return err != nil || strings.Contains(string(state), ") Z ")
	}, 20*time.Second, 20*time.Millisecond)

	c := Config{DSN: "postgres://u@127.0.0.1:1/d", Slot: "s", Publication: "p", All: true, PasswordFile: "x", PasswordCommand: []string{"y"}}
	require.ErrorContains(t, c.validate(), "more than one of password file")
}

// passwordFailure is how a password that cannot be had is told.
func (c *Config) passwordFailure(ctx context.Context) (*Source, error) {
	c.DSN, c.Slot, c.Publication, c.All = "postgres://u@127.0.0.1:1/d", "s", "p", true
	return Open(ctx, *c)
}

// The usual environment says what the connection string leaves out.
func TestEdge23Environment(t *testing.T) {
	d := newDatabase(t)
	u, err := url.Parse(d.dsn)
	require.NoError(t, err)
	pw, _ := u.User.Password()
	for name, value := range map[string]string{
		"PGHOST": u.Hostname(), "PGPORT": u.Port(), "PGUSER": u.User.Username(), "PGPASSWORD": pw, "PGDATABASE": d.name, "PGSSLMODE": "disable", "PGCONNECT_TIMEOUT": "7",
		"PGOPTIONS": "-c datestyle=German",
	} {
		t.Setenv(name, value)
	}
	s := d.open(func(c *Config) { c.DSN = "postgres://" })
	id, err := s.Identify(testContext(t))
	require.NoError(t, err)
	require.Equal(t, d.name, id.Database)
	cfg, err := s.connector.parse(connCatalog)
	require.NoError(t, err)
	require.Equal(t, 7*time.Second, cfg.ConnectTimeout)
}

// What each error of the server means.
func TestErrorClassOfEachCode(t *testing.T) {
	type want struct {
		class    cdc.ErrorClass
		doubtful bool
	}
	for code, w := range map[string]want{
		"08000": {class: cdc.ClassRetry}, "08003": {class: cdc.ClassRetry}, "08006": {class: cdc.ClassRetry}, "08P01": {class: cdc.ClassRetry},
		"57P01": {class: cdc.ClassRetry}, "57P02": {class: cdc.ClassRetry}, "57P03": {class: cdc.ClassRetry}, "57P05": {class: cdc.ClassRetry},
		"57P04": {}, // the database was dropped
		"57014": {class: cdc.ClassRetry},
		"53000": {class: cdc.ClassRetry}, "53100": {class: cdc.ClassRetry}, "53200": {class: cdc.ClassRetry, doubtful: true}, "53300": {class: cdc.ClassRetry}, "53400": {},
		"40001": {class: cdc.ClassRetry}, "40P01": {class: cdc.ClassRetry}, "55P03": {class: cdc.ClassRetry}, "55006": {class: cdc.ClassRetry},
		"25P03": {class: cdc.ClassRetry}, "25P04": {class: cdc.ClassRetry}, "72000": {class: cdc.ClassRetry},
		"28P01": {}, "28000": {}, "3D000": {}, "42501": {}, "42704": {}, "42P01": {}, "22021": {}, "0A000": {}, "55000": {}, "25006": {},
		"54000": {doubtful: true}, "XX000": {doubtful: true}, "XX001": {doubtful: true}, "XX002": {doubtful: true}, "58030": {doubtful: true}, "58P01": {doubtful: true},
	} {
		v := judgeServer(&pgconn.PgError{Code: code, Message: "etwas ging schief"})
		require.Equal(t, w.class, v.class, code)
		require.Equal(t, w.doubtful, v.doubtful, code)
		if v.class == cdc.ClassRetry || v.doubtful {
			continue
		}
		if _, listed := codes[code]; listed {
			require.NotEmpty(t, v.remedy, code)
		}
	}
	for name, lost := range map[string]*pgconn.PgError{
		"15":         {Code: "55000", Message: `can no longer get changes from replication slot "s"`},
		"18":         {Code: "55000", Message: `cannot read from logical replication slot "s"`, Detail: "This slot has been invalidated because it exceeded the maximum reserved size."},
		"in German":  {Code: "58P01", Message: "das angeforderte WAL-Segment 000000010000000000000001 wurde schon entfernt"},
		"in English": {Code: "58P01", Message: "requested WAL segment 0000000100000000000000AB has already been removed"},
	} {
		require.Equal(t, cdc.ClassResync, judgeServer(lost).class, name)
	}
	// A pooler's refusal of what we ask for at the start does not pass.
	v := judgeServer(&pgconn.PgError{Code: "08P01", Message: "unsupported startup parameter: IntervalStyle"})
	require.Equal(t, cdc.ClassOperator, v.class)
	require.Contains(t, v.remedy, "pooler")
	// A spill file is no segment of the log.
	v = judgeServer(&pgconn.PgError{Code: "58P01", Message: `could not open file "pg_replslot/s/xid-731-lsn-0-1000000.spill": No such file or directory`})
	require.Equal(t, cdc.ClassOperator, v.class)
	require.True(t, v.doubtful)
}
