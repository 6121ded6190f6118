//go:build unix

package slots

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/integration/testbed"
	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// A real pg_upgrade from 17 to 18 keeps the slot, made anew in another cluster with another system identifier. Without a word the lake is not
// continued; by the operator's word it is, and nothing is copied again, lost or doubled.
func TestEdge21PGUpgrade(t *testing.T) {
	harness.Need(t)
	from, to, err := testbed.PGUpgrade()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("left out: %v", err)
	}
	require.NoError(t, err)
	was, is := openDir(t), openDir(t)
	// An autovacuum that commits after the lake has read everything is something that the slot has not consumed.
	old := pgtest.Start(t, pgserver.Options{Version: 17, Dir: was, Settings: map[string]string{"autovacuum": "off"}})
	db := harness.NewDatabase(t, old)
	bank := harness.NewBank(t, db, 21)
	pipe := harness.NewPipeline(t, db)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	bank.Run(t, 2, 0)
	for bank.Transactions() < 300 {
		pipe.Sync(t, e)
	}
	bank.Stop()
	// pg_upgrade wants a slot that has consumed every transaction, those that were rolled back too: another start of the program would try out its
	// rights, and leave one.
	pipe.Sync(t, e)
	e.Stop()
	port := old.Port()
	require.NoError(t, old.Stop(t.Context()))

	fresh := pgtest.Start(t, pgserver.Options{Version: 18, Dir: is})
	require.NoError(t, fresh.Stop(t.Context()))
	asServer(t, is, filepath.Join(to, "pg_checksums"), "--disable", "-D", filepath.Join(is, "data"))
	asServer(t, is, filepath.Join(to, "pg_upgrade"), "-U", pgserver.Superuser, "-b", from, "-B", to, "-d", filepath.Join(was, "data"), "-D", filepath.Join(is, "data"), "-s", filepath.Join(is, "s"))
	upgraded := pgtest.Start(t, pgserver.Options{Version: 18, Dir: is, Port: port})
	db.Server = upgraded
	db.Exec(t, "insert into ledger (account, delta) values (1, 3), (2, -3)", "insert into log values (21, 'upgraded')")

	refused(t, pipe, "system identifier", "lakeload adopt")
	require.Nil(t, status(t, pipe).Halt)
	shown := adopt(t, pipe, "--continuous")
	require.Equal(t, 0, shown.Code, shown)
	require.Contains(t, shown.Stdout, "as pg_upgrade does")
	require.Contains(t, shown.Stdout, "nothing was changed")
	t.Log(shown.Stdout)
	refused(t, pipe, "system identifier")
	done := adopt(t, pipe, "--continuous", "-y", "--note", "pg_upgrade to 18", "-o", "json")
	require.Equal(t, 0, done.Code, done)
	require.Contains(t, done.Stdout, `"done":true`)
	e = pipe.Start(t)
	e.Await("stream_started", nil)
	bank.Run(t, 2, 0)
	before := bank.Transactions()
	for bank.Transactions() < before+200 {
		pipe.Sync(t, e)
	}
	bank.Stop()
	e.Stop()
	pipe.UntilCurrent(t)
	require.Empty(t, e.Events("snapshot_started"), "nothing was copied again")
	pipe.Same(t, readers.DuckDB, harness.BankTables...)
	require.Positive(t, bank.Balanced(t, pipe))
	require.True(t, status(t, pipe).Adoptions[0].Continuous)
}

// openDir is a temporary folder that every user may enter, and the server's user may write to.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lakeload-up-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	return dir
}

// asServer runs a program in a folder as the user that owns the data there.
func asServer(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, "data"))
	require.NoError(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") && !strings.HasPrefix(kv, "HOME=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	if strconv.Itoa(int(owner.Uid)) != strconv.Itoa(os.Geteuid()) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
}
