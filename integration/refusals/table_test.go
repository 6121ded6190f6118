//go:build unix

package refusals

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

func refusals(t *testing.T) []refusal {
	t.Helper()
	guarded := locked(t)
	physical := pgtest.Start(t, pgserver.Options{Version: 18, Settings: map[string]string{"wal_level": "replica"}})
	var list []refusal
	list = append(list, sourceRefusals(guarded, physical)...)
	list = append(list, lakeRefusals()...)
	list = append(list, slotRefusals()...)
	return append(list, commandLineRefusals()...)
}

// sourceRefusals are about the server, the rights and the tables.
func sourceRefusals(guarded, physical *pgserver.Server) []refusal {
	return []refusal{
		{
			name: "wrong password", code: failed, checks: true,
			says: []string{"password authentication failed", `user "postgres"`, "127.0.0.1", "check the user, the password"},
			make: func(t *testing.T, a *attempt) {
				// Our own connections have the password in them, the program is given another.
				a.watched = harness.NewDatabase(t, guarded)
				a.db = &harness.Database{Name: a.watched.Name, DSN: strings.Replace(a.watched.DSN, ":"+secret, "", 1)}
				a.env = []string{"PGPASSWORD=wrong"}
			},
		},
		{
			name: "no such database", code: failed, checks: true,
			says: []string{`database "nowhere" does not exist`, "127.0.0.1", "name a database that exists"},
			make: func(t *testing.T, a *attempt) {
				a.watched = a.db
				a.db = &harness.Database{Name: a.db.Name, DSN: a.db.Server.DSNFor("nowhere", pgserver.Superuser)}
			},
		},
		{
			name: "nobody listens", code: failed, checks: true,
			says: []string{"127.0.0.1:1", "refused", "see whether the server runs"},
			make: func(_ *testing.T, a *attempt) {
				a.watched = a.db
				a.db = &harness.Database{Name: a.db.Name, DSN: "postgres://postgres@127.0.0.1:1/postgres?sslmode=disable"}
			},
		},
		{
			name: "wal_level", code: preflight, checks: true,
			says: []string{"wal_level", "replica", "logical", "ALTER SYSTEM SET wal_level"},
			make: func(t *testing.T, a *attempt) {
				a.db = harness.NewDatabase(t, physical)
				a.db.Exec(t, plain)
			},
		},
		{
			name: "no right to replicate", code: preflight, checks: true,
			says: []string{"REPLICATION", "ALTER ROLE"},
			make: func(t *testing.T, a *attempt) {
				a.db.Exec(t, "create role plain_"+a.db.Name+" login", "grant all on all tables in schema public to plain_"+a.db.Name)
				a.watched = a.db
				a.db = &harness.Database{Name: a.db.Name, DSN: a.db.Server.DSNFor(a.db.Name, "plain_"+a.db.Name)}
			},
		},
		{
			name: "no right to read a table", code: preflight, checks: true,
			says: []string{"public.orders", "SELECT", "GRANT"},
			make: func(t *testing.T, a *attempt) {
				a.db.Exec(t, "create role blind_"+a.db.Name+" login replication", "grant create on database "+a.db.Name+" to blind_"+a.db.Name)
				a.watched = a.db
				a.db = &harness.Database{Name: a.db.Name, DSN: a.db.Server.DSNFor(a.db.Name, "blind_"+a.db.Name)}
			},
		},
		{
			name: "no free slot", code: preflight, checks: true,
			says: []string{"max_replication_slots"},
			make: func(t *testing.T, a *attempt) {
				a.watched = harness.NewDatabase(t, guarded)
				a.watched.Exec(t, plain, "select pg_create_logical_replication_slot('taken', 'pgoutput')")
				a.db = &harness.Database{Name: a.watched.Name, DSN: strings.Replace(a.watched.DSN, ":"+secret, "", 1)}
				a.env = []string{"PGPASSWORD=" + secret}
			},
		},
		{
			name: "a table without a key", code: preflight, checks: true,
			says: []string{"public.keyless", "primary key", "REPLICA IDENTITY"},
			make: func(_ *testing.T, a *attempt) { a.args = run(a, "--tables", "public.*") },
		},
		{
			name: "no table matches", code: preflight,
			says: []string{"tables", "none is selected", "name tables that exist"},
			make: func(_ *testing.T, a *attempt) { a.args = run(a, "--tables", "public.absent") },
		},
	}
}

// lakeRefusals are about the lake's folder.
func lakeRefusals() []refusal {
	return []refusal{
		{
			name: "lake not writable", code: failed,
			says: []string{"permission denied", "lake"},
			make: func(t *testing.T, a *attempt) {
				require.NoError(t, os.Mkdir(a.lake, 0o555))
				a.as = asNobody
			},
		},
		{
			name: "lake's parent not writable", code: failed,
			says: []string{"permission denied", "lake"},
			make: func(t *testing.T, a *attempt) {
				require.NoError(t, os.Chmod(filepath.Dir(a.lake), 0o555))
				a.as = asNobody
			},
		},
		{
			name: "lake is a file", code: failed,
			says: []string{"lake", "not a directory"},
			make: func(t *testing.T, a *attempt) { require.NoError(t, os.WriteFile(a.lake, []byte("a file"), 0o644)) },
		},
		{
			name: "lake is full", code: failed,
			says: []string{"no space left on device", "lake"},
			make: func(t *testing.T, a *attempt) { full(t, a.lake) },
		},
		{
			name: "a lake of another source", code: conflict,
			says: []string{"database", "lake", "--name"},
			make: func(t *testing.T, a *attempt) {
				mirrored(t, a)
				name := a.db.Name
				a.db = harness.NewDatabase(t, a.db.Server)
				a.db.Exec(t, plain)
				a.args = run(a, "--tables", "public.orders", "--name", name, "--slot", "other_"+name)
			},
		},
		{
			name: "a slot of another database", code: preflight,
			says: []string{"slot", "belongs to the database", "choose another slot name"},
			make: func(t *testing.T, a *attempt) {
				mirrored(t, a)
				name := a.db.Name
				a.db = harness.NewDatabase(t, a.db.Server)
				a.db.Exec(t, plain)
				a.args = run(a, "--tables", "public.orders", "--name", name)
			},
		},
		{
			name: "a lake of another server", code: conflict,
			says: []string{"system identifier", "lake", "--name"},
			make: func(t *testing.T, a *attempt) {
				mirrored(t, a)
				name := a.db.Name
				a.db = harness.NewDatabase(t, pgtest.Shared(t, 18))
				a.db.Exec(t, plain)
				a.args = run(a, "--tables", "public.orders", "--name", name)
			},
		},
		{
			name: "a table of another pipeline", code: conflict,
			says: []string{"public.orders", "pipeline", "another lake folder"},
			make: func(t *testing.T, a *attempt) {
				mirrored(t, a)
				a.args = run(a, "--tables", "public.orders", "--name", a.db.Name+"_two")
			},
		},
		{
			name: "damaged state", code: damaged,
			says: []string{"state", ".json", "backup"},
			make: func(t *testing.T, a *attempt) {
				mirrored(t, a)
				files, err := filepath.Glob(filepath.Join(a.lake, "_lakeload", a.db.Name, "state", "*.json"))
				require.NoError(t, err)
				require.NotEmpty(t, files)
				require.NoError(t, os.WriteFile(files[len(files)-1], []byte("{"), 0o644))
			},
		},
	}
}

// slotRefusals are about lake and slot that do not know each other.
func slotRefusals() []refusal {
	return []refusal{
		{
			name: "the slot is gone", code: conflict, halts: true,
			says: []string{"slot", "lakeload_it", "gone", "lakeload adopt", "all tables copied again"},
			make: func(t *testing.T, a *attempt) {
				mirrored(t, a)
				a.db.DropSlots(t)
			},
		},
		{
			name: "a slot that the lake does not know", code: conflict,
			says: []string{"slot", "lakeload_it", "does not know", "--slot", "pg_drop_replication_slot"},
			make: func(t *testing.T, a *attempt) {
				a.db.Exec(t, "select pg_create_logical_replication_slot('lakeload_"+a.db.Name+"', 'pgoutput')")
			},
		},
		{
			name: "the slot was moved on", code: conflict, halts: true,
			says: []string{"slot", "lakeload_it", "cannot be had any more", "lakeload adopt", "all tables copied again"},
			make: func(t *testing.T, a *attempt) {
				mirrored(t, a)
				a.db.Exec(t, "insert into orders values (2, 'never seen')")
				a.db.Exec(t, "select pg_replication_slot_advance('lakeload_"+a.db.Name+"', pg_current_wal_lsn())")
			},
		},
		{
			name: "another slot than the lake's", code: conflict,
			says: []string{"slot", "lakeload_it", "other"},
			make: func(t *testing.T, a *attempt) {
				mirrored(t, a)
				a.args = run(a, "--tables", "public.orders", "--slot", "other")
			},
		},
	}
}

// commandLineRefusals are about flags and the configuration.
func commandLineRefusals() []refusal {
	config := func(text string) func(t *testing.T, a *attempt) {
		return func(t *testing.T, a *attempt) {
			path := filepath.Join(t.TempDir(), "lakeload.yaml")
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
			a.args = run(a, "-c", path)
		}
	}
	return []refusal{
		{
			name: "unknown key in the configuration", code: usage,
			says: []string{"lakeload.yaml:3", "freshnes", `"freshness"`},
			make: config("version: 1\nlake:\n  freshnes: 3s\ntables:\n  - match: public.*\n"),
		},
		{
			name: "unset variable in the configuration", code: usage,
			says: []string{"lakeload.yaml:3", "NO_SUCH_VARIABLE"},
			make: config("version: 1\nsource:\n  url: ${NO_SUCH_VARIABLE}\ntables:\n  - match: public.*\n"),
		},
		{
			name: "password in --source", code: usage,
			says: []string{"--source", "PGPASSWORD", "LAKELOAD_SOURCE"},
			make: func(_ *testing.T, a *attempt) {
				a.args = []string{"run", "--source", "postgres://postgres:" + secret + "@127.0.0.1/postgres", "--lake", a.lake, "--all"}
			},
		},
		{
			name: "password in --source, by keywords", code: usage,
			says: []string{"--source", "PGPASSWORD"},
			make: func(_ *testing.T, a *attempt) {
				a.args = []string{"run", "--source", "host=127.0.0.1 password=" + secret, "--lake", a.lake, "--all"}
			},
		},
		{
			name: "unknown flag", code: usage,
			says: []string{"--freshnes", "--help"},
			make: func(_ *testing.T, a *attempt) { a.args = run(a, "--all", "--freshnes", "1s") },
		},
		{
			name: "no table is named", code: usage,
			says: []string{"--tables", "--all"},
			make: func(_ *testing.T, a *attempt) { a.args = run(a) },
		},
		{
			name: "a lake of a kind that is not known", code: usage,
			says: []string{"ftp://"},
			make: func(_ *testing.T, a *attempt) {
				a.args = []string{"run", "--source", a.db.DSN, "--lake", "ftp://somewhere/lake", "--all"}
			},
		},
	}
}

// asNobody runs a call as a user without rights: to root every folder can be written.
func asNobody(cmd *exec.Cmd) {
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Dir = "/"
}
