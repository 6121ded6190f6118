package changes

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

const (
	salt = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	// planted is in every text that a mask is to hide; digits are those of numbers.
	planted = "S3CRET"
	digits  = "86420"
)

var clear = regexp.MustCompile(`(?i)` + planted + `|` + digits + `\d\d\.`)

func hashed(text string) string {
	h := hmac.New(sha256.New, []byte(salt))
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))[:32]
}

const masksConfig = `
version: 1
tables:
  - match: public.customers
    mask:
      email: hash
      phone: drop
      pay: hash
      born: hash
      due: hash
      bio: hash
      nick: "truncate(2)"
      note: {regex: '[A-Z]\d[A-Z]+-[0-9]+', replace: '***'}
      later: hash
      doc: "null"
    types: {due: stop}
  - {match: public.logins, mask: {email: hash}}
  - {match: public.bag, mask: {email: hash, phone: drop}}
  - {match: "public.*", salt_file: salt}
limits: {spool_folder: %s}
`

// TestMasks plants secrets in everything that is masked, has them travel every way that values travel, kills the engine in between, and looks
// for them in every byte that is left.
func TestMasks(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	db.Exec(t,
		fmt.Sprintf(`alter database %q set logical_decoding_work_mem = '64kB'`, db.Name),
		`create table customers (id bigint primary key, email text, phone text, pay numeric(10,2), born date, due timestamptz, bio text, nick text, note text, doc jsonb)`,
		`alter table customers alter bio set storage external`,
		`alter table customers replica identity full`,
		`create table logins (email text primary key, n int)`,
		`create table bag (email text, phone text, n int)`,
		`alter table bag replica identity full`,
		fillCustomers(1, 300), fillLogins(1, 300),
		`insert into bag select 'S3CRET-' || i % 10 || '@home', 'S3CRET-phone', 1 from generate_series(1, 100) i`,
	)
	dir := t.TempDir()
	spool := filepath.Join(dir, "spool")
	conf := filepath.Join(dir, "lakeload.yaml")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, masksConfig, spool), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "salt"), []byte(salt+"\n"), 0o600))
	pipe := harness.NewPipeline(t, db, "--mode", "both")
	configured := []string{"-c", conf}

	e := pipe.Start(t, configured...)
	e.Await("stream_started", nil)
	pipe.Sync(t, e)
	// Old rows, another key, values that are stored out of line and are not sent, defaults, values that no type holds.
	db.Exec(t,
		`update customers set nick = 'S3CRET-again' where id % 5 = 0`,
		`update customers set email = 'S3CRET-new-' || id || '@home', due = 'infinity' where id % 7 = 0`,
		`update logins set email = 'S3CRET-other-' || n || '@home' where n % 10 = 3`,
		`alter table customers add column later text default 'S3CRET-default'`,
		`insert into customers (id, email, later) values (1000, null, 'S3CRET-later')`,
		`delete from customers where id % 11 = 0`,
		`delete from logins where n % 11 = 0`,
		`delete from bag where ctid in (select ctid from bag limit 3)`,
		`update bag set email = 'S3CRET-bag@home' where email = 'S3CRET-4@home'`,
	)
	pipe.Sync(t, e)
	shownNowhere(t, pipe.Lake)

	// A large transaction is spooled while it is in progress; the engine is killed in the middle of it.
	conn := db.Connect(t)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), fillCustomers(2001, 12000))
	require.NoError(t, err)
	harness.Await(t, "a spool file", func() (bool, string) { return spooled(t, e.Pid()), e.Log() })
	e.Kill()
	told(t, e)
	shownNowhere(t, pipe.Lake)
	e = pipe.Start(t, configured...)
	e.Await("stream_started", nil)
	require.NoError(t, tx.Commit(t.Context()))
	pipe.Sync(t, e)
	require.Empty(t, e.Events("table_stopped"))

	r := harness.Do(t, harness.Command(t, "verify", "--source", db.DSN, "--lake", pipe.Lake, "--name", pipe.Name, "-o", "json", "-q", "-c", conf))
	require.Equal(t, 0, r.Code, "%s", r)
	var equal struct {
		Tables []struct {
			Table, Result string
			SourceRows    int `json:"source_rows"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(r.Stdout), &equal))
	require.Len(t, equal.Tables, 4)
	for _, v := range equal.Tables {
		require.Equal(t, "equal", v.Result, v.Table)
	}
	r = harness.Do(t, harness.Command(t, "verify", "--source", db.DSN, "--lake", pipe.Lake, "--name", pipe.Name, "-q"))
	require.Equal(t, 1, r.Code, "%s", r)
	require.Contains(t, r.Stderr, "no salt is given")
	require.Contains(t, r.Stderr, "-c")
	e.Stop()
	told(t, e)

	// A mask stays with its column.
	db.Exec(t, `alter table customers rename email to mail`, `alter table customers rename phone to tel`,
		`insert into customers (id, mail, tel) values (1001, 'S3CRET-renamed@home', 'S3CRET-renamed')`)
	e = pipe.UntilCurrent(t, configured...)
	require.Empty(t, e.Events("table_stopped"))
	told(t, e)

	// A table is stopped, and says why: by nothing that is masked.
	db.Exec(t, `alter table logins alter n type text using 'S3CRET' || n`, `insert into logins values ('S3CRET-last@home', '1')`)
	e = pipe.UntilCurrent(t, configured...)
	require.Len(t, e.Events("table_stopped"), 1)
	told(t, e)

	// Somebody forgets the configuration.
	db.Exec(t, `insert into customers (id, mail) values (1002, 'S3CRET-forgotten@home')`)
	e = pipe.UntilCurrent(t)
	require.Len(t, e.Events("table_stopped"), 3, "%s", e.Log())
	told(t, e)
	shownNowhere(t, pipe.Lake)
	e = pipe.UntilCurrent(t, configured...)
	told(t, e)
	require.Equal(t, "live", pipe.Status(t)["public.customers"].Phase)

	shownNowhere(t, pipe.Lake)
	duck := readers.Get(t, readers.DuckDB)
	rows := func(format string, args ...any) [][]string {
		t.Helper()
		got, err := duck.SQL(t.Context(), fmt.Sprintf(format, args...))
		require.NoError(t, err)
		return got
	}
	customers, logins := readers.DeltaScan(pipe.Path("customers"), nil), readers.DeltaScan(pipe.Path("logins"), nil)
	got := rows("select mail, pay, born, due, bio, nick, note, doc, later from %s where id in (3, 7) order by id", customers)
	require.Equal(t, hashed("S3CRET-3@home"), got[0][0])
	require.Equal(t, hashed(digits+"03.50"), got[0][1])
	require.Equal(t, hashed("1961-04-04"), got[0][2])
	require.Equal(t, hashed("2031-01-01 00:00:03+00"), got[0][3])
	require.Equal(t, hashed("infinity"), got[1][3], "what its type cannot hold is no reason to stop")
	require.Equal(t, hashed(db.Value(t, "select bio from customers where id = 3")), got[0][4])
	require.Equal(t, hashed(db.Value(t, "select bio from customers where id = 7")), got[1][4], "it was not sent, and is filled in")
	require.Equal(t, "S3", got[0][5])
	require.Equal(t, "call *** back", got[0][6])
	require.Equal(t, hashed("S3CRET-default"), got[0][8])
	require.Equal(t, hashed("S3CRET-later"), rows("select later from %s where id = 1000", customers)[0][0])
	require.Equal(t, "0", rows("select count(doc) from %s", customers)[0][0])
	require.Equal(t, db.Value(t, "select count(*) from customers"), rows("select count(*) from %s", customers)[0][0])
	// Equal values have equal hashes, in every table.
	require.Equal(t,
		db.Value(t, "select count(*) from customers c join logins l on c.mail = l.email where l.email <> 'S3CRET-last@home'"),
		rows("select count(*) from %s c join %s l on c.mail = l.email", customers, logins)[0][0])
	require.Equal(t, db.Value(t, "select count(distinct mail) from customers"), rows("select count(distinct mail) from %s", customers)[0][0])
	require.Equal(t, "10", rows("select count(*) from %s where email = '%s'", readers.DeltaScan(pipe.Path("bag"), nil), hashed("S3CRET-bag@home"))[0][0])
}

func fillCustomers(from, n int) string {
	return fmt.Sprintf(`insert into customers select i, 'S3CRET-' || i || '@home', 'S3CRET-' || i, ('%s' || lpad((i %% 100)::text, 2, '0') || '.50')::numeric, date '1961-04-01' + i %% 30,
		timestamptz '2031-01-01 00:00:00+00' + i * interval '1 s', case when i <= 300 then 'S3CRET' || repeat(md5(i::text), 100) else 'S3CRET' end,
		'S3CRET' || i, 'call S3CRET-' || i || ' back', '{"who": "S3CRET"}' from generate_series(%d, %d) i`, digits, from, from+n-1)
}

func fillLogins(from, n int) string {
	return fmt.Sprintf(`insert into logins select 'S3CRET-' || i || '@home', i from generate_series(%d, %d) i`, from, from+n-1)
}

// told requires that nothing that an engine has told or logged shows a secret.
func told(t *testing.T, e *harness.Engine) {
	t.Helper()
	text := e.Log()
	for _, ev := range e.Events("") {
		text += ev.Line
	}
	require.NotRegexp(t, clear, text)
	require.NotContains(t, text, salt)
}

// shownNowhere requires that no file shows a secret: not in its bytes, and if it is a Parquet file, not in its values and statistics.
func shownNowhere(t *testing.T, dir string) {
	t.Helper()
	duck := readers.Get(t, readers.DuckDB)
	files, parquet := 0, 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Type()&fs.ModeSocket != 0 {
			return err
		}
		require.NotRegexp(t, clear, path)
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil // a running engine has removed it
		}
		require.NoError(t, err)
		files++
		require.False(t, clear.Match(data), path)
		require.NotContains(t, string(data), salt)
		if !strings.HasSuffix(path, ".parquet") {
			return nil
		}
		parquet++
		for _, from := range []string{"read_parquet", "parquet_metadata"} {
			got, err := duck.SQL(t.Context(), fmt.Sprintf(`select count(*) from %s('%s') r where regexp_matches(cast(r as varchar), '(?i)%s|%s\d\d\.')`, from, path, planted, digits))
			require.NoError(t, err, path)
			require.Equal(t, "0", got[0][0], "%s of %s", from, path)
		}
		return nil
	}))
	t.Logf("%d files, %d of them Parquet, show nothing", files, parquet)
	require.Greater(t, parquet, 5)
}

// spooled looks at the spool files of a process, which have no name any more, and requires that they show nothing; false where it has none.
func spooled(t *testing.T, pid int) bool {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	found := false
	for _, fd := range fds {
		if name, err := os.Readlink(fd); err != nil || !strings.Contains(name, "lakeload-spool-") {
			continue
		}
		data, err := os.ReadFile(fd)
		if err != nil || len(data) == 0 {
			continue
		}
		found = true
		require.False(t, clear.Match(data))
	}
	return found
}
