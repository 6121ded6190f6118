package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
)

// firstTables are those that there are in the beginning, one of each sort.
const firstTables = `
create type mood as enum ('sad', 'ok', 'happy');
create type pair as (a integer, b text);
create table single (id integer primary key, n integer, v text, at timestamptz default now());
create table composed (a text, b integer, amount numeric(10,2), note text, primary key (b, a));
create table bag (n integer, v text, m mood);
alter table bag replica identity full;
create table large (id integer primary key, n integer not null default 0, one text, two text, three bytea);
alter table large alter one set storage external, alter two set storage external;
create table divided (id integer, k integer, v text, m mood, primary key (id, k)) partition by list (k);
create table part_0 partition of divided for values in (0);
create table part_1 partition of divided for values in (1);
create table part_2 partition of divided for values in (2);
create table nested (id bigint primary key, m mood, ms mood[], p pair, ps pair[], tags text[], ns integer[], r int4range, j jsonb);
create table whole (id integer primary key, v text, w text, f double precision);
alter table whole replica identity full;
create table unique_ (u integer not null, v text, d date, u2 uuid);
create unique index unique_u on unique_ (u);
alter table unique_ replica identity using index unique_u;
create table numbered (id bigserial primary key, v character varying(10), b boolean, n numeric);
create table log (n integer, what text)`

// load is what works on the source: writers of rows, one that alters tables, and pgbench.
type load struct {
	t   *testing.T
	db  *harness.Database
	m   *model
	log *statements

	// pause is held by all who work, for a transaction each.
	pause sync.RWMutex
	stop  context.CancelFunc
	wg    sync.WaitGroup

	transactions, failed, benched atomic.Int64
	mu                            sync.Mutex // guards what follows
	altered                       map[string]int
}

// writers write rows; one more alters tables.
const writers = 3

func newLoad(t *testing.T, db *harness.Database, folder string) *load {
	t.Helper()
	l := &load{t: t, db: db, m: &model{}, log: newStatements(t, folder), altered: map[string]int{}}
	db.Exec(t, firstTables)
	l.bench("-i", "-q", "-s", "1")
	return l
}

// run lets all work until the load is ended.
func (l *load) run(seed uint64, every time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	for i := range writers {
		h := &hand{Rand: rand.New(rand.NewPCG(seed, uint64(i))), m: l.m}
		l.wg.Go(func() {
			l.work(ctx, fmt.Sprintf("w%d", i), func(conn *pgx.Conn) error { return l.write(ctx, conn, h, i) })
		})
	}
	h := &hand{Rand: rand.New(rand.NewPCG(seed, 1<<20)), m: l.m}
	l.wg.Go(func() {
		l.work(ctx, "ddl", func(conn *pgx.Conn) error {
			rest(ctx, every/2+time.Duration(h.Int64N(int64(every))))
			return l.alter(ctx, conn, h)
		})
	})
	l.wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			l.pause.RLock()
			l.bench("-n", "-c", "2", "-R", "20", "-T", "2", "--random-seed", fmt.Sprint(seed%(1<<30)+uint64(n)))
			l.pause.RUnlock()
			rest(ctx, 100*time.Millisecond)
		}
	})
	l.t.Cleanup(l.end)
}

// end ends the load and waits for it.
func (l *load) end() {
	l.stop()
	l.wg.Wait()
}

// hold stops the load between two transactions, and waits until the server has none of them any more either.
func (l *load) hold() {
	l.pause.Lock()
	harness.Await(l.t, "the last transactions to end", func() (bool, string) {
		n := l.db.Value(l.t, "select count(*) from pg_stat_activity where application_name in ('soak', 'pgbench') and xact_start is not null")
		return n == "0", n
	})
}

// resume lets the load go on.
func (l *load) resume() { l.pause.Unlock() }

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// bench runs pgbench. What becomes of it is no matter: its server may go.
func (l *load) bench(args ...string) {
	path := l.db.Server.Bin("pgbench")
	if path == "" {
		l.t.Error("pgbench is needed: install PostgreSQL's client programs (Debian: postgresql-contrib or postgresql-15)")
		return
	}
	out, err := exec.Command(path, append(args, l.db.DSN)...).CombinedOutput()
	if err != nil && args[0] == "-i" {
		l.t.Errorf("pgbench: %v\n%s", err, out)
	}
	if _, rest, ok := strings.Cut(string(out), "actually processed: "); ok {
		var n int64
		_, _ = fmt.Sscan(rest, &n)
		l.benched.Add(n)
	}
}

// work does one thing again and again, and takes a new connection when the one that it has is lost.
func (l *load) work(ctx context.Context, who string, do func(*pgx.Conn) error) {
	for ctx.Err() == nil {
		config, err := pgx.ParseConfig(l.db.DSN)
		if err != nil {
			l.t.Error(err)
			return
		}
		config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		config.RuntimeParams["application_name"] = "soak"
		config.RuntimeParams["lock_timeout"] = "30s"
		config.RuntimeParams["client_min_messages"] = "error"
		config.ConnectTimeout = 5 * time.Second
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			// What was not answered may have happened or not, and a promotion may have lost some: the catalogue knows.
			if err = l.m.load(ctx, conn); err == nil {
				err = l.workOn(ctx, who, conn, do)
			}
			_ = conn.Close(context.WithoutCancel(ctx)) // it may be lost
		}
		if err != nil && ctx.Err() == nil {
			rest(ctx, 100*time.Millisecond)
		}
	}
}

func (l *load) workOn(ctx context.Context, who string, conn *pgx.Conn, do func(*pgx.Conn) error) error {
	for ctx.Err() == nil && !conn.IsClosed() {
		l.pause.RLock()
		err := do(conn)
		l.pause.RUnlock()
		var sql *pgconn.PgError
		switch {
		case err == nil:
			l.transactions.Add(1)
		case errors.As(err, &sql) && (slices.Contains([]string{"40P01", "40001", "23505", "55P03"}, sql.Code) || strings.HasPrefix(sql.Code, "57")):
			// A deadlock, a row that has moved to another partition, a key that another writer took, a lock that did not come, a server that goes down.
			l.failed.Add(1)
		case conn.IsClosed() || ctx.Err() != nil:
			return err
		default:
			l.t.Errorf("the generator's statement is not valid: %s: %v", who, err)
			l.stop()
			return err
		}
	}
	return nil
}

// locked holds the locks of tables while do works on them.
func locked(tables []*table, exclusive bool, do func() error) error {
	for _, t := range tables {
		if exclusive {
			t.lock.Lock()
			defer t.lock.Unlock()
		} else {
			t.lock.RLock()
			defer t.lock.RUnlock()
		}
		if t.gone {
			return nil
		}
	}
	return do()
}

// write makes a transaction about the rows of some tables.
func (l *load) write(ctx context.Context, conn *pgx.Conn, h *hand, i int) error {
	rest(ctx, time.Duration(h.IntN(100))*time.Millisecond)
	all := l.m.all()
	h.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:min(len(all), 1+h.IntN(3))]
	slices.SortFunc(all, func(a, b *table) int { return a.rank - b.rank })
	return locked(all, false, func() error {
		list := append(append([]string{"begin"}, h.transaction(all)...), choose(h, append(slices.Repeat([]string{"commit"}, 19), "rollback")))
		return l.exec(ctx, conn, fmt.Sprintf("w%d", i), list...)
	})
}

// exec runs statements, and rolls back what one that fails was in.
func (l *load) exec(ctx context.Context, conn *pgx.Conn, who string, list ...string) error {
	for _, sql := range list {
		l.log.add(who, sql)
		if _, err := conn.Exec(ctx, sql); err != nil {
			l.log.add(who, "-- failed: "+err.Error())
			if !conn.IsClosed() {
				_, _ = conn.Exec(ctx, "rollback")
			}
			return fmt.Errorf("%w\n%s", err, sql)
		}
	}
	return nil
}

// alter alters a table.
func (l *load) alter(ctx context.Context, conn *pgx.Conn, h *hand) error {
	t := choose(h, l.m.all())
	return locked([]*table{t}, true, func() (err error) {
		kind, list, whole := h.alteration(t)
		l.log.add("ddl", "-- "+kind)
		defer func() {
			// Whatever has become of it.
			if lookErr := l.m.look(ctx, conn); err == nil {
				err = lookErr
			}
		}()
		if !whole {
			err = l.exec(ctx, conn, "ddl", list...)
		} else {
			err = l.alterWith(ctx, conn, h, t, list)
		}
		if err == nil {
			l.mu.Lock()
			l.altered[kind]++
			l.mu.Unlock()
		}
		return err
	})
}

// alterWith makes an alteration one transaction, with rows before and after it.
func (l *load) alterWith(ctx context.Context, conn *pgx.Conn, h *hand, t *table, list []string) error {
	begin := []string{"begin"}
	if h.chance(50) {
		begin = append(begin, h.rows(t))
	}
	// A savepoint before an ATTACH that moves rows is what the catalogue cannot tell from rows that came with it.
	undone := h.chance(10)
	if undone {
		begin = append(begin, "savepoint altered")
	}
	if err := l.exec(ctx, conn, "ddl", append(begin, list...)...); err != nil {
		return err
	}
	if undone {
		if err := l.exec(ctx, conn, "ddl", "rollback to altered"); err != nil {
			return err
		}
	}
	shapes, err := shapesOf(ctx, conn, t.oid)
	if err != nil {
		return err
	}
	var end []string
	if now, ok := shapes[t.oid]; ok {
		for range h.IntN(3) {
			end = append(end, h.rows(&table{shape: now}))
		}
	}
	return l.exec(ctx, conn, "ddl", append(end, choose(h, append(slices.Repeat([]string{"commit"}, 9), "rollback")))...)
}

// statements are all that were issued, in a file, and the last of them at hand.
type statements struct {
	mu    sync.Mutex
	t     *testing.T
	begun time.Time
	file  *os.File
	last  []string
	count int64
}

// lastStatements is how many a failed test shows.
const lastStatements = 60

func newStatements(t *testing.T, folder string) *statements {
	t.Helper()
	f, err := os.Create(folder + "/statements.sql")
	require.NoError(t, err)
	s := &statements{t: t, begun: time.Now(), file: f}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last statements:\n%s", strings.Join(s.last, "\n"))
		}
		require.NoError(t, f.Close())
	})
	return s
}

// add notes a statement of somebody's.
func (s *statements) add(who, sql string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	line := fmt.Sprintf("/* %s %s */ %s;", time.Now().UTC().Format("15:04:05.000"), who, sql)
	s.last = append(s.last, line)
	s.last = s.last[max(0, len(s.last)-lastStatements):]
	if _, err := s.file.WriteString(line + "\n"); err != nil {
		s.t.Error(err)
	}
}
