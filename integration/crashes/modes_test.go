package crashes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/crashpoint"
)

// mode is a way in which the program works when it is killed.
type mode struct {
	name string // a column of the table
	says string // what goes on
	// mirrors and changelogs say what the tables are kept as, and so how they are compared.
	mirrors, changelogs bool
	// copies says that each kill meets the copy of a table of its own.
	copies bool
	tables string // SQL that makes the mode's own tables
	// compared are those, beside the bank's.
	compared []string
	// never gives the points that are not passed in the mode, and why. What it says is tried, too.
	never map[crashpoint.Point]string
	// work begins what is to go on when the program is killed at a point; end ends it.
	work func(s *site, p crashpoint.Point) (end func())
	// quiet is work at a source that writes nothing that is copied.
	quiet func(s *site) (end func())
}

// modes are the columns of the table.
var modes = []mode{
	{
		name: "mirror", says: "short transactions are streamed into mirrors", mirrors: true, work: nothing, quiet: nothingQuiet,
	},
	{
		name: "changelog", says: "the same into changelogs", changelogs: true, work: nothing, quiet: nothingQuiet,
		never: map[crashpoint.Point]string{
			crashpoint.VectorsWritten: "a changelog is only added to, so it has no deletion vectors",
			crashpoint.IndexCommitted: "a changelog has no key index",
		},
	},
	{
		name: "both", says: "the same into a mirror and a changelog of each table", mirrors: true, changelogs: true, work: nothing, quiet: nothingQuiet,
	},
	{
		name: "copy by ranges", says: "a table with a key is copied by ranges of it, into a mirror and a changelog, while its rows and others are changed",
		mirrors: true, changelogs: true, copies: true, work: copyKeyed, quiet: nothingQuiet,
	},
	{
		name: "copy under a snapshot", says: "a table without a key is copied under one snapshot, into both, while its rows and others are changed",
		mirrors: true, changelogs: true, copies: true, work: copyBag, quiet: nothingQuiet,
	},
	{
		name: "large transaction", says: "a transaction with savepoints that are rolled back is sent while it is in progress, and then committed or rolled back; short ones beside it; into both",
		mirrors: true, changelogs: true, work: large, quiet: largeQuiet, compared: []string{"large"},
		tables: "create table large (id bigint primary key, v text, n int not null default 0)",
	},
	{
		name: "schema change", says: "columns are added, dropped, renamed and given other types, the table is rewritten and truncated, rows in between; into mirrors",
		mirrors: true, work: alter, quiet: nothingQuiet, compared: []string{"altered"},
		tables: "create table altered (id bigint generated always as identity primary key, v text)",
	},
}

func slotPoint(p crashpoint.Point) bool { return strings.HasPrefix(string(p), "slot-") }

// copyPoint says that a point is passed when a table is copied.
func copyPoint(p crashpoint.Point) bool { return strings.HasPrefix(string(p), "copy-") }

func idle(p crashpoint.Point) bool { return p == crashpoint.IdleBefore || p == crashpoint.IdleAfter }

const (
	copied = 8000 // rows of a table that is copied, of some 150 bytes
	few    = 300  // of one that is copied for the points of copies alone
	// How fast they are read where the copy is to last a few seconds, half a minute, or longer than what is idle.
	slow, slower, slowest = "300KiB", "60KiB", "20KiB"
)

// config writes the mode's configuration: rate bounds how fast tables are copied; "" does not.
func (m *mode) config(t *testing.T, rate string) string {
	t.Helper()
	kept := []string{}
	if m.mirrors {
		kept = append(kept, "mirror")
	}
	if m.changelogs {
		kept = append(kept, "changelog")
	}
	if rate != "" {
		rate = ", copy_rate: " + rate
	}
	text := fmt.Sprintf(`version: 1
source: {watch_interval: 300ms}
limits: {memory: 32MiB, copy_range: 32KiB%s}
defaults: {mode: [%s]}
on_new_table: copy
on_schema_change: {add: evolve, drop: drop, rename: rename, type: resync, rewrite: resync}
`, rate, strings.Join(kept, ", "))
	path := filepath.Join(t.TempDir(), "lakeload.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// rate is how fast tables are to be copied when the program is killed at a point.
func (m *mode) rate(p crashpoint.Point) string {
	switch {
	case !m.copies:
		return ""
	case idle(p):
		return slowest
	case p == crashpoint.CheckpointBefore || p == crashpoint.CheckpointAfter:
		return slower
	case ends(p):
		return ""
	}
	return slow
}

// ends says that a point is at the end of a copy.
func ends(p crashpoint.Point) bool {
	return p == crashpoint.CopyBeforeSwap || p == crashpoint.CopyAfterSwap || p == crashpoint.CopyClearing
}

// differ says how the lake is not the source; "" if it is.
func (s *site) differ() string {
	s.t.Helper()
	var differ []string
	tables := append(append(harness.BankTables[:len(harness.BankTables):len(harness.BankTables)], "audit"), s.mode.compared...)
	tables = append(tables, s.copied...)
	if s.mode.mirrors {
		differ = append(differ, s.pipe.Differs(s.t, readers.DuckDB, tables...))
	}
	if s.mode.changelogs {
		differ = append(differ, s.pipe.ChangelogDiffers(s.t, tables...), s.unaudited())
	}
	return strings.TrimSpace(strings.Join(differ, "\n"))
}

// unaudited says in which transactions the changelog of the accounts does not tell of the changes that the source's own audit tells of. What
// was changed while the tables were copied may stand in the rows that were read instead.
func (s *site) unaudited() string {
	s.t.Helper()
	scan := func(table string) string { return readers.DeltaScan(s.pipe.ChangelogPath(table), nil) }
	query := fmt.Sprintf(`with told as (select _lsn, count(*) filter (_op = 'I') as i, count(*) filter (_op = 'U') as u, count(*) filter (_op = 'D') as d, count(*) filter (_op = 'B') as b
			from %[1]s where _lsn > %[3]d group by 1),
		noted as (select _lsn, count(*) filter (op = 'I') as i, count(*) filter (op in ('U', 'M')) as u, count(*) filter (op = 'D') as d, count(*) filter (op = 'M') as b
			from %[2]s where _lsn > %[3]d group by 1)
		select told.*, noted.* from told full join noted using (_lsn) where (told.i, told.u, told.d, told.b) is distinct from (noted.i, noted.u, noted.d, noted.b) limit 5`,
		scan("accounts"), scan("audit"), uint64(s.settled))
	rows, err := readers.Get(s.t, readers.DuckDB).SQL(s.t.Context(), query)
	if err != nil {
		return "asking for the audit: " + err.Error()
	}
	if len(rows) > 0 {
		return fmt.Sprintf("changes of accounts that are not those that the audit tells of: %q", rows)
	}
	return ""
}

func nothing(*site, crashpoint.Point) func() { return func() {} }
func nothingQuiet(*site) func()              { return func() {} }

// again does something with a connection again and again until it is ended. What it has begun it ends first.
func (s *site) again(do func(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error) (end func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	rng := rand.New(rand.NewPCG(s.rng.Uint64(), 0))
	conn, err := pgx.Connect(ctx, s.db.DSN)
	require.NoError(s.t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		within, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Minute)
		defer done()
		defer func() { _ = conn.Close(within) }()
		for ctx.Err() == nil {
			if err := do(within, conn, rng); err != nil {
				s.t.Errorf("the work of mode %s: %v", s.mode.name, err)
				return
			}
		}
	})
	end = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	s.t.Cleanup(end)
	return end
}

func exec(ctx context.Context, conn *pgx.Conn, list ...string) error {
	for _, sql := range list {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%w\n%s", err, sql)
		}
	}
	return nil
}

// keyed is a table that is copied by ranges.
const keyed = "create table %s (id bigint primary key, v text, n int not null default 0)"

// newCopied makes a table that has to be copied, and gives its name.
func (s *site) newCopied(definition string, rows int) string {
	s.t.Helper()
	s.made++
	name := fmt.Sprintf("copied_%d", s.made)
	s.copied = append(s.copied, name)
	s.db.Exec(s.t, fmt.Sprintf(definition, name)+fmt.Sprintf("; insert into %s select i, md5(i::text) || repeat(md5((-i)::text), 3) from generate_series(1, %d) i", name, rows))
	return name
}

// copyKeyed has rows change, and move between ranges that were read and that were not.
func copyKeyed(s *site, p crashpoint.Point) func() {
	table := s.newCopied(keyed, copied)
	if idle(p) {
		return func() {}
	}
	return s.again(func(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
		id := 1 + rng.IntN(copied)
		to := 1 + rng.IntN(copied)
		time.Sleep(2 * time.Millisecond)
		return exec(ctx, conn, []string{
			fmt.Sprintf("update %s set n = n + 1, v = v || 'x' where id between %d and %d", table, id, id+3),
			fmt.Sprintf("delete from %s where id = %d", table, id),
			fmt.Sprintf("insert into %s (id, v) values (%d, 'new') on conflict do nothing", table, id),
			fmt.Sprintf("update %s set id = %d where id = %d and not exists (select from %[1]s where id = %[2]d)", table, to, id),
		}[rng.IntN(4)])
	})
}

// copyBag has equal rows.
func copyBag(s *site, p crashpoint.Point) func() {
	table := s.newCopied("create table %s (id bigint, v text); alter table %[1]s replica identity full", copied)
	if idle(p) {
		return func() {}
	}
	return s.again(func(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
		id := 1 + rng.IntN(copied)
		time.Sleep(2 * time.Millisecond)
		return exec(ctx, conn, []string{
			fmt.Sprintf("insert into %s select id, v from %[1]s where id between %d and %d", table, id, id+5),
			fmt.Sprintf("delete from %s where ctid in (select ctid from %[1]s where id = %d limit 1)", table, id),
			fmt.Sprintf("update %s set id = id + 1 where ctid in (select ctid from %[1]s where id = %d limit 1)", table, id),
		}[rng.IntN(3)])
	})
}

// transaction writes a large transaction in pieces, each of which is larger than what the server keeps to itself.
func transaction(ctx context.Context, conn *pgx.Conn, rng *rand.Rand, pieces int, pause time.Duration) error {
	list := []string{"begin"}
	for range pieces {
		from := rng.IntN(4000)
		list = append(list,
			fmt.Sprintf("insert into large select i, repeat(md5(i::text), 4) from generate_series(%d, %d) i on conflict (id) do update set n = large.n + 1", from, from+250),
			"savepoint undone", fmt.Sprintf("update large set v = 'undone' where id between %d and %d", from, from+200), "rollback to undone",
			fmt.Sprintf("delete from large where id between %d and %d", from+220, from+240))
	}
	for _, sql := range list {
		if err := exec(ctx, conn, sql); err != nil {
			return err
		}
		time.Sleep(pause)
	}
	return nil
}

func ending(rng *rand.Rand) string { return []string{"commit", "commit", "rollback"}[rng.IntN(3)] }

func large(s *site, _ crashpoint.Point) func() {
	return s.again(func(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
		if err := transaction(ctx, conn, rng, 2+rng.IntN(4), 10*time.Millisecond); err != nil {
			return err
		}
		return exec(ctx, conn, ending(rng))
	})
}

// largeQuiet leaves one in progress that does not go on.
func largeQuiet(s *site) func() {
	conn := s.db.Connect(s.t)
	require.NoError(s.t, transaction(s.t.Context(), conn, s.rng, 3, 0))
	return func() {
		require.NoError(s.t, exec(s.t.Context(), conn, ending(s.rng)))
		require.NoError(s.t, conn.Close(s.t.Context()))
	}
}

// alter changes the table's columns again and again, with rows before and after.
func alter(s *site, _ crashpoint.Point) func() {
	return s.again(func(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
		columns, err := extra(ctx, conn)
		if err != nil {
			return err
		}
		list := alteration(rng, columns)
		name := fmt.Sprintf("c%d", rng.Uint32()) // another one for each column
		for i := range list {
			list[i] = strings.ReplaceAll(list[i], "NEW", name)
		}
		list = append(list, "insert into altered (v) select md5(i::text) from generate_series(1, 20) i", fmt.Sprintf("update altered set v = v || 'x' where id %% 7 = %d", rng.IntN(7)),
			fmt.Sprintf("delete from altered where id %% 11 = %d", rng.IntN(11)))
		time.Sleep(150 * time.Millisecond)
		return exec(ctx, conn, list...)
	})
}

// extra are the columns of the altered table that may go.
func extra(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, "select attname::text from pg_attribute where attrelid = 'altered'::regclass and attnum > 2 and not attisdropped order by attnum", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func alteration(rng *rand.Rand, columns []string) []string {
	n := rng.IntN(9)
	switch {
	case len(columns) == 0 || n < 3 && len(columns) < 6:
		return []string{"alter table altered add column NEW " + []string{"text", "integer default 7", "uuid default gen_random_uuid()"}[rng.IntN(3)]}
	case n < 5:
		return []string{"alter table altered drop column " + columns[rng.IntN(len(columns))]}
	case n == 5:
		return []string{"alter table altered rename column " + columns[rng.IntN(len(columns))] + " to NEW"}
	case n == 6:
		c := columns[rng.IntN(len(columns))]
		return []string{fmt.Sprintf("alter table altered alter %s drop default, alter %[1]s type text using %[1]s::text || 't'", c)}
	case n == 7:
		return []string{"vacuum full altered"}
	}
	return []string{"begin", "truncate altered", "insert into altered (v) select 'again' from generate_series(1, 30)", "commit"}
}
