package crashes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
)

const (
	envKills    = "LAKELOAD_KILLS" // how often TestKillsInARow kills
	shortKills  = 30
	killsToLook = 50 // after how many the load rests and all is compared
	// The accounts between which amounts are moved, and what each begins with: no transaction changes the total.
	purses, purse = 2000, 100
	// lookedAt is how many versions, and epochs, are read at each rest.
	lookedAt = 25
)

const pursesSchema = `
create table purses (id bigint primary key, amount bigint not null, note text);
insert into purses select i, %d, case when i %% 10 = 0 then repeat(md5(i::text), 20) end from generate_series(1, %d) i;
create table heaps (owner bigint, amount bigint);
alter table heaps replica identity full;
insert into heaps select i %% 50, %[1]d from generate_series(1, %[2]d) i`

// move is a transaction that moves amounts between purses and between heaps, at times with others' keys, at times between very many.
func move(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
	a, b, n := 1+rng.IntN(purses), 1+rng.IntN(purses), rng.IntN(50)
	list := []string{
		fmt.Sprintf("update purses set amount = amount - %d where id = (select id from purses where id >= %d order by id limit 1)", n, a),
		fmt.Sprintf("update purses set amount = amount + %d where id = (select id from purses where id >= %d order by id limit 1)", n, b),
	}
	switch kind := rng.IntN(60); {
	case kind < 10: // another key
		list = append(list, fmt.Sprintf("update purses set id = id + %d where id = %d and not exists (select from purses where id = %[2]d + %[1]d)", purses*(1+rng.IntN(3)), a),
			fmt.Sprintf("update purses set id = %d where id = (select max(id) from purses) and not exists (select from purses where id = %[1]d)", a))
	case kind < 25: // one row of equal ones is split in two, or two become one
		list = append(list, fmt.Sprintf("with gone as (delete from heaps where ctid in (select ctid from heaps where owner = %d limit 2) returning amount) insert into heaps select %d, sum(amount) from gone having count(*) > 0", n, rng.IntN(50)),
			fmt.Sprintf("with split as (update heaps set amount = amount - 7 where ctid = (select ctid from heaps where owner = %d limit 1) returning owner) insert into heaps select owner, 7 from split", rng.IntN(50)))
	case kind < 30: // away and there again
		list = append(list, fmt.Sprintf("with gone as (delete from purses where id = %d returning id, amount) insert into purses select (select max(id) + 1 from purses), amount from gone", a))
	case kind == 30: // large: it is sent while it is in progress
		list = append(list, "update purses set amount = amount + case when id % 2 = 0 then 1 else -1 end",
			fmt.Sprintf("update purses set amount = amount - (select sum(amount) - %d from purses) where id = (select min(id) from purses)", purses*purse),
			"savepoint undone", "delete from purses where id % 3 = 0", "rollback to undone",
			"update heaps set owner = (owner + 1) % 50")
	}
	time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
	end := []string{"commit", "commit", "commit", "commit", "rollback"}[rng.IntN(5)]
	return exec(ctx, conn, append(append([]string{"begin", "lock table purses, heaps in share row exclusive mode"}, list...), end)...)
}

// TestKillsInARow kills the program at random moments under load, again and again, and starts it again each time. When the load rests all
// tables equal the source. In every version that is looked at, also right after kills, the totals are what they are in every state of the source.
func TestKillsInARow(t *testing.T) {
	harness.Need(t)
	kills := int(number(t, envKills, shortKills))
	seed := number(t, "LAKELOAD_SEED", uint64(time.Now().UnixNano()))
	t.Logf("%s=%d LAKELOAD_SEED=%d", envKills, kills, seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	m := mode{name: "kills in a row", mirrors: true, compared: []string{"purses", "heaps"}, tables: fmt.Sprintf(pursesSchema, purse, purses)}
	s := newSite(t, &m, rng)
	var starts []time.Duration
	early, versions, began := 0, int64(-1), time.Now()
	looked, epochs := 0, int64(0)
	for done := 0; done < kills; {
		s.bank.Run(t, 2, 40*time.Millisecond)
		end := s.again(move)
		for range min(killsToLook, kills-done) {
			begun := time.Now()
			e := s.pipe.Start(t)
			// While it starts, while it has read what is to be its first commit, or after some commits.
			most := time.Second
			if kind := rng.IntN(8); kind > 0 {
				e.Await("stream_started", nil)
				starts = append(starts, time.Since(begun))
				if kind > 2 {
					e.Await("batch_committed", nil)
					most /= 3
				}
			}
			if e.Gone(time.Duration(rng.Int64N(int64(most)))) {
				t.Fatalf("after %d kills the program ended by itself\n%s", done, e.Log())
			}
			e.Kill()
			if len(e.Events("stream_started")) == 0 {
				early++
			}
			if done++; done%7 == 0 { // as the kill has left it
				looked++
				s.total(readers.DuckDB, nil)
			}
		}
		end()
		s.bank.Stop()
		s.pipe.UntilCurrent(t)
		require.Empty(t, s.differ(), "after %d kills", done)
		s.pipe.Same(t, readers.DeltaRS, m.compared...)
		all := s.pipe.Epochs(t, 0)
		last := all[len(all)-1]
		n := s.totals(versions+1, last.Tables["public.purses"])
		looked, versions = looked+n, last.Tables["public.purses"]
		since := all[slices.IndexFunc(all, func(e harness.Epoch) bool { return e.Epoch > epochs }):]
		var sample []harness.Epoch
		for i := 0; i < len(since); i += 1 + len(since)/lookedAt {
			sample = append(sample, since[i])
		}
		epochs = last.Epoch
		harness.SameSumsAt(t, s.pipe, sample, harness.Sum{Table: "accounts", Column: "balance"}, harness.Sum{Table: "ledger", Column: "delta"})
		harness.SameSumsAt(t, s.pipe, sample, harness.Sum{Table: "purses", Column: "amount"}, harness.Sum{Table: "heaps", Column: "amount"})
		t.Logf("%d kills after %v: equal; %d transactions of the bank, %d versions of purses", done, time.Since(began).Round(time.Second), s.bank.Transactions(), versions)
	}
	slices.Sort(starts)
	t.Logf("%d kills, %d of them before the stream had started, in %v; the total was right in all of %d versions; from start to stream %v in the middle, at most %v",
		kills, early, time.Since(began).Round(time.Second), looked, starts[len(starts)/2].Round(time.Millisecond), starts[len(starts)-1].Round(time.Millisecond))
}

// total fails the test unless the amounts in a version of purses (nil: the latest) have their total.
func (s *site) total(kind readers.Kind, version *int64) {
	s.t.Helper()
	rows, err := readers.Get(s.t, kind).Rows(s.t.Context(), s.pipe.Path("purses"), version, []string{"amount"})
	require.NoError(s.t, err)
	sum := int64(0)
	for _, r := range rows {
		var n int64
		_, err := fmt.Sscan(r[0], &n)
		require.NoError(s.t, err)
		sum += n
	}
	require.Equal(s.t, int64(purses*purse), sum, "the total as %s reads it, in %d rows of a version", kind, len(rows))
}

// totals looks at versions from one to another, by both readers in turn, and gives how many.
func (s *site) totals(from, to int64) int {
	s.t.Helper()
	n := 0
	for v := from; v <= to; v += 1 + (to-from)/lookedAt {
		s.total([]readers.Kind{readers.DuckDB, readers.DeltaRS}[n%2], &v)
		n++
	}
	return n
}
