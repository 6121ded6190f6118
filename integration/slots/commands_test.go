package slots

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// told is a command's result as JSON.
func told(t *testing.T, r harness.Result) map[string]any {
	t.Helper()
	m := map[string]any{}
	require.NoError(t, json.Unmarshal([]byte(r.Stdout), &m), r)
	return m
}

// What an operator does by hand: publication and slot made beforehand, shown, read, and dropped.
func TestSlotAndPublicationByHand(t *testing.T) {
	harness.Need(t)
	for _, version := range []int{15, 18} {
		t.Run(fmt.Sprintf("PostgreSQL %d", version), func(t *testing.T) {
			db := harness.NewDatabase(t, pgtest.Shared(t, version))
			db.Exec(t, "create table a (id int primary key)", "insert into a values (1)")
			pipe := harness.NewPipeline(t, db)
			source := []string{"--source", db.DSN, "--name", pipe.Name, "-o", "json"}
			do := func(args ...string) harness.Result {
				return harness.Do(t, harness.Command(t, append(args, source...)...))
			}

			before := db.Owned(t)
			dry := do("publication", "create", "--dry-run")
			require.Len(t, told(t, dry)["sql"], 2, dry)
			require.Equal(t, before, db.Owned(t))
			require.Equal(t, 1, do("slot", "show").Code, "there is none")
			made := do("slot", "create", "--lake", pipe.Lake, "--all")
			require.Equal(t, 0, made.Code, made)
			require.Equal(t, conflict, do("slot", "create", "--lake", pipe.Lake, "--all").Code, "it is there already")
			require.Equal(t, 0, do("publication", "create").Code)
			db.Exec(t, "insert into a values (2)")
			shown := told(t, do("slot", "show"))
			require.Equal(t, told(t, made)["lsn"], shown["slot"].(map[string]any)["confirmed_flush_lsn"])
			require.NotNil(t, shown["wal_bytes_per_second"])
			pubs := told(t, do("publication", "show"))["publications"].([]any)
			require.Len(t, pubs[0].(map[string]any)["tables"], 2)

			e := pipe.Start(t)
			e.Await("stream_started", nil)
			pipe.Sync(t, e)
			healthy := do("status", "--lake", pipe.Lake, "--exit-code", "--max-lag", "1h", "--max-held", "1GiB")
			require.Equal(t, 0, healthy.Code, healthy)
			s := told(t, healthy)
			require.Equal(t, true, s["healthy"])
			require.Equal(t, "streaming", s["stream"].(map[string]any)["state"])
			require.NotNil(t, s["decoding"])
			require.NotNil(t, s["slot_state"].(map[string]any)["holder"])
			require.Equal(t, 1, do("status", "--lake", pipe.Lake, "--exit-code", "--max-held", "1B").Code)
			held := do("slot", "drop", "-y")
			require.Equal(t, failed, held.Code, held)
			require.Contains(t, held.Stderr, "being read by")
			e.Stop()
			idle := do("status", "--lake", pipe.Lake, "--exit-code")
			require.Equal(t, failed, idle.Code, idle)
			require.Contains(t, idle.Stderr, "nobody reads the slot")
			pipe.Same(t, readers.DuckDB, "a")

			require.Equal(t, false, told(t, do("slot", "drop"))["dropped"], "nobody was asked")
			require.NotEmpty(t, db.Value(t, "select slot_name from pg_replication_slots where database = current_database()"))
			require.Equal(t, true, told(t, do("slot", "drop", "-y"))["dropped"])
			require.Equal(t, false, told(t, do("slot", "drop", "-y"))["dropped"])
			require.Equal(t, true, told(t, do("publication", "drop", "-y"))["done"])
			require.Empty(t, db.Value(t, "select pubname from pg_publication where pubname like 'lakeload_"+pipe.Name+"%'"))
			refused(t, pipe, "is gone")
			missing := do("status", "--lake", pipe.Lake, "--exit-code")
			require.Equal(t, failed, missing.Code)
			require.Contains(t, missing.Stderr, "has no slot")
			checked := do("check", "--lake", pipe.Lake, "--all")
			require.Equal(t, preflight, checked.Code, checked)
			require.Contains(t, checked.Stdout, `"lake_slot"`)
		})
	}
}

// A right that is taken away stops what needs it, and nothing else: what is copied is followed without SELECT, and a new table that may not be
// published, or read, is left out.
func TestEdge26RightsTakenAwayMidway(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 18))
	role := "loader_" + db.Name
	db.Exec(t, "create role "+role+" login replication", "grant create on database "+db.Name+" to "+role, "grant create, usage on schema public to "+role,
		"create table a (id int primary key)", "insert into a values (1)")
	pipe := harness.NewPipeline(t, db)
	db.Exec(t, "alter table a owner to "+role, "alter table lakeload_mark owner to "+role)
	admin := pipe.DB
	loader := &harness.Database{Server: db.Server, Name: db.Name, DSN: db.Server.DSNFor(db.Name, role)}
	pipe.DB = loader
	pipe.UntilCurrent(t)

	db.Exec(t, "alter table a owner to postgres", "revoke all on a from "+role, "insert into a values (2)", "create table theirs (id int primary key)", "grant select on theirs to "+role,
		"create table ours (id int primary key)", "insert into ours values (1)", "alter table ours owner to "+role)
	e := pipe.UntilCurrent(t)
	found := e.Events("table_found")
	require.Len(t, found, 2, e.Log())
	require.Equal(t, []string{"public.ours", "copying"}, []string{found[0].Table, found[0].Phase})
	require.Equal(t, []string{"public.theirs", "offered"}, []string{found[1].Table, found[1].Phase})
	require.Contains(t, found[1].Remedy, "ALTER PUBLICATION")
	pipe.DB = admin
	pipe.Same(t, readers.DuckDB, "a", "ours")
	require.Equal(t, "live", pipe.Status(t)["public.a"].Phase)
	require.Equal(t, "offered", pipe.Status(t)["public.theirs"].Phase)
	require.Contains(t, pipe.Status(t)["public.theirs"].Reason, "the right to do so is missing")

	// The right to replicate is what all of it needs.
	db.Exec(t, "alter role "+role+" noreplication")
	pipe.DB = loader
	e = pipe.Start(t, "--until-current")
	require.Equal(t, preflight, e.Wait(), e.Log())
	require.Contains(t, e.Events("pipeline_stopped")[0].Remedy, "REPLICATION")
}

// Certificates of the system's authorities (sslrootcert=system), and a password that a command gives: by the configuration file.
func TestEdge23SystemAuthorityAndPasswordCommand(t *testing.T) {
	harness.Need(t)
	right := newAuthority(t)
	cert, key := right.sign(t, "localhost")
	server := pgtest.Start(t, pgserver.Options{
		Version: 18, Password: "s3cr3t-w0rd",
		Settings: map[string]string{"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key", "listen_addresses": "localhost"},
		Files:    map[string][]byte{"server.crt": cert, "server.key": key},
		HBA:      []string{"hostnossl all all all reject"},
	})
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	_, err := server.SQL(t.Context(), "create table a (id int primary key)")
	require.NoError(t, err)
	conf := put("lakeload.yaml", fmt.Sprintf(`version: 1
name: secured
source:
  url: "postgres://postgres@localhost:%d/postgres?sslrootcert=system&channel_binding=require"
  password_command: [cat, "%s"]
lake: {url: "%s"}
tables: [{match: "public.*"}]
`, server.Port(), put("pw", "s3cr3t-w0rd\n"), filepath.Join(dir, "lake")))
	call := func(authorities string, args ...string) harness.Result {
		cmd := harness.Command(t, args...)
		cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+authorities, "SSL_CERT_DIR="+dir+"/none")
		return harness.Do(t, cmd)
	}
	good := put("right.pem", string(right.pem))
	r := call(good, "check", "-c", conf)
	require.Equal(t, 0, r.Code, r)
	require.Contains(t, r.Stdout, "TLS 1.3")
	r = call(good, "run", "-c", conf, "--until-current")
	require.Equal(t, 0, r.Code, r)

	r = call(put("wrong.pem", string(newAuthority(t).pem)), "run", "-c", conf, "--until-current")
	require.Equal(t, failed, r.Code, r)
	require.Contains(t, r.Stderr, "certificate")
	put("pw", "wrong")
	r = call(good, "run", "-c", conf, "--until-current")
	require.Equal(t, failed, r.Code, r)
	require.Contains(t, r.Stderr, "password authentication failed")
	require.NoError(t, os.Remove(filepath.Join(dir, "pw")))
	r = call(good, "run", "-c", conf, "--until-current")
	require.Equal(t, failed, r.Code, r)
	require.Contains(t, r.Stderr, "No such file")
	require.NotContains(t, strings.ToLower(r.Stderr+r.Stdout), "s3cr3t")
}
