//go:build unix

// Package refusals gives the real program what it must refuse, and holds that it says why and what to do, ends with the documented code, and
// changes nothing.
package refusals

import (
	"crypto/md5"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// The documented exit codes (docs/CLI.md).
const (
	failed    = 1
	usage     = 2
	preflight = 3
	conflict  = 4
	damaged   = 5
)

// attempt is a call that has to be refused. The zero values give one that would succeed.
type attempt struct {
	db   *harness.Database
	lake string
	args []string // instead of all; "run" is the first
	env  []string
	as   func(cmd *exec.Cmd) // alters the call
	// watched is the database of which nothing may change, if that is not db.
	watched *harness.Database
}

// refusal is a row of the table.
type refusal struct {
	name string
	// make prepares the attempt.
	make func(t *testing.T, a *attempt)
	code int
	// says are pieces of what standard error has to tell: what was wrong with what, and what to do.
	says []string
	// checks says that `lakeload check` finds the same.
	checks bool
	// halts says that it is a loss, which is recorded in the lake's state, and in nothing else, so that it is seen there.
	halts bool
}

// plain is the source of most attempts: nothing is wrong with it.
const plain = `create table orders (id int primary key, note text); insert into orders values (1, 'one'); create table keyless (n int)`

func TestRefusals(t *testing.T) {
	harness.Need(t)
	shared := pgtest.Shared(t, 15)
	for _, r := range refusals(t) {
		t.Run(r.name, func(t *testing.T) {
			a := &attempt{lake: filepath.Join(openDir(t), "lake")}
			a.db = harness.NewDatabase(t, shared)
			a.db.Exec(t, plain)
			r.make(t, a)
			if a.args == nil {
				a.args = run(a, "--tables", "public.orders")
			}
			if a.watched == nil {
				a.watched = a.db
			}
			owned, lake := a.watched.Owned(t), tree(t, a.lake)
			got := call(t, a, a.args)
			for _, s := range append(r.says, "what to do: ", "lakeload "+a.args[0]) {
				if !strings.Contains(got.Stderr, s) {
					t.Errorf("it does not say %q", s)
				}
			}
			if got.Code != r.code {
				t.Errorf("the exit code is %d, not %d", got.Code, r.code)
			}
			require.NotContains(t, got.Stderr, "goroutine ")
			require.NotContains(t, got.Stderr+got.Stdout, secret)
			assert.Equal(t, owned, a.watched.Owned(t), "slots and publications")
			after := tree(t, a.lake)
			if r.halts {
				before := len(lake)
				maps.DeleteFunc(after, func(name, _ string) bool { return strings.Contains(name, "/state/") && lake[name] == "" })
				require.Len(t, lake, before)
			}
			assert.Equal(t, lake, after, "the lake's folder")
			if r.checks {
				args := []string{"check"}
				for i, arg := range a.args {
					if arg == "--source" || arg == "--tables" {
						args = append(args, arg, a.args[i+1])
					}
				}
				if checked := call(t, a, args); checked.Code != r.code {
					t.Errorf("check: %s", checked)
				}
			}
			if t.Failed() {
				t.Log(got)
			} else {
				t.Logf("exit code %d:\n%s", got.Code, got.Stderr)
			}
		})
	}
}

func run(a *attempt, args ...string) []string {
	return append([]string{"run", "--source", a.db.DSN, "--lake", a.lake, "--name", a.db.Name, "--until-current"}, args...)
}

func call(t *testing.T, a *attempt, args []string) harness.Result {
	t.Helper()
	cmd := harness.Command(t, args...)
	cmd.Env = append(cmd.Env, a.env...)
	if a.as != nil {
		a.as(cmd)
	}
	return harness.Do(t, cmd)
}

// openDir is a temporary folder that every user may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lakeload-refusal-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// tree describes the files of a folder, and whether there is one. Empty folders in it mean nothing.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || d.IsDir() {
			if name == "." {
				files[name] = "a folder"
			}
			return err
		}
		data, err := os.ReadFile(path)
		files[name] = fmt.Sprintf("%d bytes, md5 %x", len(data), md5.Sum(data))
		return err
	})
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	return files
}

// mirrored makes the lake of the attempt by a run that succeeds.
func mirrored(t *testing.T, a *attempt) {
	t.Helper()
	harness.Call(t, run(a, "--tables", "public.orders")...)
}

// locked is a server that wants passwords, and has one slot only.
func locked(t *testing.T) *pgserver.Server {
	t.Helper()
	return pgtest.Start(t, pgserver.Options{Version: 15, Password: secret, Settings: map[string]string{"max_replication_slots": "1"}})
}

// secret may never be told.
const secret = "s3cr3t-w0rd"
