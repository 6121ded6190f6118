//go:build unix

package pgserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) {
	if os.Getenv("LAKELOAD_TEST_CHILD") == "1" {
		child()
	}
	goleak.VerifyTestMain(m)
}

// child starts a server, says where it is, and waits to be killed.
func child() {
	s, err := pgserver.Start(context.Background(), pgserver.Options{Offline: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.Pid(), filepath.Dir(s.DataDir()))
	select {}
}

func query(t *testing.T, dsn, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	var answer string
	require.NoError(t, conn.QueryRow(ctx, sql).Scan(&answer))
	return answer
}

// TestLife goes through a server's life on the oldest and newest versions that the project is tested with at every change.
func TestLife(t *testing.T) {
	for _, version := range []int{15, 18} {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			s := pgtest.Start(t, pgserver.Options{Version: version, Settings: map[string]string{"application_name": `it's \ here`}})
			require.Equal(t, version, s.Version())
			require.True(t, strings.HasPrefix(query(t, s.DSN(), "show server_version"), strconv.Itoa(version)))
			require.Equal(t, "logical", query(t, s.SocketDSN("postgres"), "show wal_level"))
			require.Equal(t, "off", query(t, s.DSN(), "show fsync"))
			require.Equal(t, "20", query(t, s.DSN(), "show max_replication_slots"))
			query(t, s.DSN(), "select slot_name::text from pg_create_logical_replication_slot('life', 'pgoutput')")
			query(t, s.DSN(), "select pg_current_wal_flush_lsn()::text")

			port, pid := s.Port(), s.Pid()
			require.NoError(t, s.Restart(t.Context()))
			require.Equal(t, port, s.Port())
			require.NotEqual(t, pid, s.Pid())
			require.Equal(t, "1", query(t, s.DSN(), "select count(*)::text from pg_replication_slots where slot_name = 'life'"))

			s.Kill()
			require.False(t, s.Running())
			require.NoError(t, s.Restart(t.Context()))
			require.Equal(t, "1", query(t, s.DSN(), "select count(*)::text from pg_replication_slots where slot_name = 'life'"))

			dir, last := filepath.Dir(s.DataDir()), s.Pid()
			require.NoError(t, s.Stop(t.Context()))
			require.NoError(t, s.Stop(t.Context()))
			require.NoDirExists(t, dir)
			require.ErrorIs(t, syscall.Kill(last, 0), syscall.ESRCH)
			require.Error(t, s.Restart(t.Context()))
		})
	}
}

func TestPassword(t *testing.T) {
	s := pgtest.Start(t, pgserver.Options{Password: "it's: a/secret"})
	require.Equal(t, "ok", query(t, s.DSN(), "select 'ok'"))
	require.Equal(t, "ok", query(t, s.SocketDSN("postgres"), "select 'ok'"))
	_, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://postgres:wrong@127.0.0.1:%d/postgres?sslmode=disable", s.Port()))
	require.ErrorContains(t, err, "password authentication failed")
}

func TestDirIsKeptAndUsedAgain(t *testing.T) {
	// Not t.TempDir: its folders are closed to the user that the server runs as under root.
	dir, err := os.MkdirTemp("", "lakeload-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	opts := pgserver.Options{Dir: dir, Durable: true}

	s := pgtest.Start(t, opts)
	require.Equal(t, "on", query(t, s.DSN(), "show fsync"))
	query(t, s.DSN(), "select slot_name::text from pg_create_logical_replication_slot('kept', 'pgoutput')")
	require.NoError(t, s.Stop(t.Context()))
	require.DirExists(t, s.DataDir())

	s = pgtest.Start(t, opts)
	require.Equal(t, "1", query(t, s.DSN(), "select count(*)::text from pg_replication_slots"))
	require.NoError(t, s.Stop(t.Context()))

	opts.Version = 14
	_, err = pgserver.Start(t.Context(), opts)
	require.ErrorContains(t, err, "its data are of version")
}

func TestLongDir(t *testing.T) {
	base, err := os.MkdirTemp("", "lakeload-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(base)) })
	require.NoError(t, os.Chmod(base, 0o755))
	s := pgtest.Start(t, pgserver.Options{Dir: filepath.Join(base, strings.Repeat("long", 30))})
	require.Equal(t, "ok", query(t, s.SocketDSN("postgres"), "select 'ok'"))
	require.NoError(t, s.Stop(t.Context()))
	require.NoDirExists(t, s.SocketDir())
}

func TestErrorsSayWhatToDo(t *testing.T) {
	if len(pgserver.Find(t.Context())) == 0 {
		t.Skip("left out: a real PostgreSQL")
	}
	_, err := pgserver.Start(t.Context(), pgserver.Options{Offline: true, Settings: map[string]string{"wal_level": "nonsense"}})
	var e *pgserver.Error
	require.ErrorAs(t, err, &e)
	require.ErrorContains(t, err, "nonsense") // the server's own words
	require.NotEmpty(t, e.Hint)

	_, err = pgserver.Start(t.Context(), pgserver.Options{Version: 9})
	require.ErrorContains(t, err, "ask for 14 or newer")

	_, err = pgserver.Start(t.Context(), pgserver.Options{Version: 99})
	require.ErrorIs(t, err, pgserver.ErrNotFound)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = pgserver.Start(ctx, pgserver.Options{Offline: true})
	require.ErrorIs(t, err, context.Canceled)

	if os.Geteuid() == 0 {
		_, err = pgserver.Start(t.Context(), pgserver.Options{Offline: true, Dir: filepath.Join(t.TempDir(), "x")})
		require.ErrorContains(t, err, "may not enter")
	}
}

func TestNothingSurvivesItsOwner(t *testing.T) {
	if len(pgserver.Find(t.Context())) == 0 {
		t.Skip("left out: a real PostgreSQL")
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "LAKELOAD_TEST_CHILD=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line := make([]byte, 4096)
	n, err := out.Read(line)
	require.NoError(t, err)
	var pid int
	var dir string
	_, err = fmt.Sscan(string(bytes.TrimSpace(line[:n])), &pid, &dir)
	require.NoError(t, err, "%s", line[:n])
	require.NoError(t, syscall.Kill(pid, 0))
	require.DirExists(t, dir)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }, 20*time.Second, 20*time.Millisecond)

	// The folder is left, and goes with the next start, be it another process's.
	s := pgtest.Start(t, pgserver.Options{})
	require.NoDirExists(t, dir)
	require.NoError(t, s.Stop(t.Context()))
}
