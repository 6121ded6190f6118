package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/integration/readers"
)

// BankTables are the tables that Bank makes.
var BankTables = []string{"accounts", "ledger", "pairs", "log", "bag"}

// bankSchema has a table with large values, one that grows, one with a key of two columns, and two without a
// key: one that is only added to, and one whose equal rows are changed and deleted one by one.
const bankSchema = `
create table accounts (id bigint primary key, balance bigint not null, note text);
alter table accounts alter note set storage external;
create table ledger (id bigint generated always as identity primary key, account bigint not null, delta bigint not null, at timestamptz not null default clock_timestamp());
create table pairs (a text, b int, at timestamp, primary key (a, b));
create table log (n bigint, what text);
create table bag (n int, what text);
alter table bag replica identity full;
insert into accounts select i, 0, case when i % 7 = 0 then repeat(md5(i::text), 100) end from generate_series(1, 300) i`

// Bank is a random workload of short transactions. In every state of the database that a transaction left, the balances of the accounts
// sum up to the deltas of the ledger: half a transaction would show.
type Bank struct {
	db   *Database
	seed uint64
	done atomic.Int64
	runs uint64 // how often Run was called
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// NewBank makes the tables. The seed makes the statements; their order in time is the server's.
func NewBank(t testing.TB, db *Database, seed uint64) *Bank {
	t.Helper()
	db.Exec(t, bankSchema)
	return &Bank{db: db, seed: seed}
}

// Run lets a number of writers work until Stop, or until the test ends. A writer whose connection is lost takes another one. It can be called
// again after Stop: the statements are others then.
func (b *Bank) Run(t testing.TB, writers int, pause time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	b.runs++
	for i := range writers {
		rng := rand.New(rand.NewPCG(b.seed, b.runs<<32+uint64(i)))
		b.wg.Go(func() {
			for ctx.Err() == nil {
				b.write(ctx, t, rng, pause)
				b.wait(ctx, 50*time.Millisecond)
			}
		})
	}
	if b.runs == 1 {
		t.Cleanup(b.Stop)
	}
}

// Stop ends the writers and waits for them.
func (b *Bank) Stop() {
	if b.stop != nil {
		b.stop()
	}
	b.wg.Wait()
}

// Transactions is how many were committed.
func (b *Bank) Transactions() int64 { return b.done.Load() }

func (b *Bank) wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// write makes transactions until its connection fails or ctx ends.
func (b *Bank) write(ctx context.Context, t testing.TB, rng *rand.Rand, pause time.Duration) {
	conn, err := pgx.Connect(ctx, b.db.DSN)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for ctx.Err() == nil && !conn.IsClosed() {
		err := b.whole(ctx, conn, rng)
		var sql *pgconn.PgError
		switch {
		case err == nil:
			b.done.Add(1)
		case errors.As(err, &sql) && (sql.Code == "40P01" || sql.Code == "23505" || strings.HasPrefix(sql.Code, "57")):
			// A deadlock, a key that another writer took, a server that goes down.
		case ctx.Err() != nil || conn.IsClosed():
			return
		default:
			t.Errorf("the workload: %v", err)
			b.stop()
			return
		}
		if pause > 0 {
			b.wait(ctx, pause)
		}
	}
}

// whole makes a transaction that Stop does not cut off: one whose commit was sent and not answered could still change the source afterwards.
func (b *Bank) whole(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Patience)
	defer cancel()
	return b.Transaction(ctx, conn, rng)
}

// Transaction makes one transaction.
func (b *Bank) Transaction(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for range 1 + rng.IntN(4) {
			if _, err := tx.Exec(ctx, bankStatement(rng), pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		}
		return nil
	})
}

// bankStatement is one random change of the books that keeps them right.
func bankStatement(rng *rand.Rand) string {
	id, delta := rng.IntN(400), rng.IntN(2001)-1000
	switch rng.IntN(16) {
	case 0, 1, 2, 3: // the note is not sent again
		return fmt.Sprintf("with a as (update accounts set balance = balance + %d where id = %d returning id) insert into ledger (account, delta) select id, %d from a", delta, id, delta)
	case 4:
		return fmt.Sprintf("insert into accounts values (%d, 0, repeat('%d ', %d)) on conflict do nothing", id, delta, rng.IntN(2)*1500)
	case 5:
		return fmt.Sprintf("with a as (delete from accounts where id = %d returning id, balance) insert into ledger (account, delta) select id, -balance from a", id)
	case 6: // the key moves, the note is not sent again
		return fmt.Sprintf("update accounts set id = %d where id = %d and not exists (select from accounts where id = %d)", id+400, id, id+400)
	case 7:
		return fmt.Sprintf("update accounts set note = repeat('%d-', 2000) where id = %d", delta, id)
	case 8, 9:
		return fmt.Sprintf("insert into pairs values ('k%d', %d, clock_timestamp()) on conflict (a, b) do update set at = excluded.at", id%9, id%13)
	case 10:
		return fmt.Sprintf("delete from pairs where a = 'k%d' and b %% 3 = %d", id%9, id%3)
	case 11:
		if rng.IntN(20) == 0 {
			return "truncate pairs"
		}
		return fmt.Sprintf("insert into log select i, 'what %d' from generate_series(1, %d) i", id, 1+id%50)
	case 12:
		return fmt.Sprintf("insert into bag select i %% 5, case when i %% 4 > 0 then 'what %d' end from generate_series(1, %d) i", id%7, 1+id%9)
	case 13: // one of equal rows
		return fmt.Sprintf("delete from bag where ctid in (select ctid from bag where n = %d limit %d)", id%5, 1+id%3)
	case 14:
		return fmt.Sprintf("update bag set n = (n + 1) %% 5 where ctid in (select ctid from bag where what = 'what %d' limit 1)", id%7)
	default:
		return fmt.Sprintf("with a as (update accounts set balance = balance + %d where id between %d and %d returning id) insert into ledger (account, delta) select id, %d from a", delta, id, id+20, delta)
	}
}

// Balanced fails the test unless at every epoch of the lake, as DuckDB reads it, the books are right: no epoch shows half a transaction. It
// gives the number of epochs.
func (b *Bank) Balanced(t testing.TB, p *Pipeline) int {
	t.Helper()
	return SameSums(t, p, Sum{"accounts", "balance"}, Sum{"ledger", "delta"})
}

// Sum names a table (of the schema public) and a column that is summed up.
type Sum struct{ Table, Column string }

// sumsByVersion asks DuckDB for the sum at each version; args are [path, column, [version...]].
const sumsByVersion = `
result = []
for path, column, versions in args:
    for v in versions:
        row = con.execute("select coalesce(sum(%s), 0)::hugeint::varchar, count(*)::varchar from delta_scan('%s', version => %d)" % (column, path.replace("'", "''"), v)).fetchone()
        result.append([path, str(v), row[0], row[1]])
`

// SameSums fails the test unless at every epoch in which they all are complete the sums are the same. Each version of a table is asked for
// once. It gives the number of epochs.
func SameSums(t testing.TB, p *Pipeline, sums ...Sum) int {
	t.Helper()
	return SameSumsAt(t, p, p.Epochs(t, 0), sums...)
}

// SameSumsAt does so at some epochs, which are in order.
func SameSumsAt(t testing.TB, p *Pipeline, epochs []Epoch, sums ...Sum) int {
	t.Helper()
	var args [][]any
	for _, s := range sums {
		var versions []int64
		for _, e := range epochs {
			if v, ok := e.Tables["public."+s.Table]; ok && (len(versions) == 0 || versions[len(versions)-1] != v) {
				versions = append(versions, v)
			}
		}
		args = append(args, []any{p.Path(s.Table), s.Column, versions})
	}
	rows, err := readers.Get(t, readers.DuckDB).Python(t.Context(), sumsByVersion, args)
	if err != nil {
		t.Fatal(err)
	}
	type at struct{ path, version string }
	sumAt := map[at]string{}
	for _, r := range rows {
		sumAt[at{r[0], r[1]}] = r[2]
	}
	whole := 0
	for _, e := range epochs {
		var said, first string
		same, complete := true, true
		for i, s := range sums {
			v, ok := e.Tables["public."+s.Table]
			complete = complete && ok
			sum := sumAt[at{p.Path(s.Table), fmt.Sprint(v)}]
			if i == 0 {
				first = sum
			}
			same = same && sum == first
			said += fmt.Sprintf(" sum(%s.%s)=%s at version %d;", s.Table, s.Column, sum, v)
		}
		if !complete {
			continue
		}
		whole++
		if !same {
			t.Fatalf("epoch %d at %s shows a state that the source never had:%s", e.Epoch, e.LSN, said)
		}
	}
	t.Logf("%d epochs, %d of them with all tables; %d versions read: all sums agree", len(epochs), whole, len(rows))
	return whole
}
