package cdctest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/cdc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// driver drives a World for the suite.
type driver struct{ w *World }

func (d driver) CreateTable(t testing.TB, name string) {
	_, err := d.w.CreateTable(TableSpec{Name: name, Columns: []cdc.Column{Int64("id"), Int64("n"), Text("v")}, Key: []string{"id"}})
	require.NoError(t, err)
}

func (d driver) Idle(testing.TB)              { d.w.Advance(1000) }
func (d driver) Source(testing.TB) cdc.Source { return d.w.Source() }
func (d driver) Exec(t testing.TB, ops ...Op) {
	_, err := d.w.Commit(run(ops))
	require.NoError(t, err)
}

func run(ops []Op) func(*Tx) error {
	return func(tx *Tx) error {
		for _, op := range ops {
			key := Row{"id": op.ID}
			var err error
			switch op.Kind {
			case Insert:
				err = tx.Insert(op.Table, Row{"id": op.ID, "n": op.N, "v": op.V})
			case UpdateN:
				err = tx.Update(op.Table, key, Row{"n": op.N})
			case UpdateV:
				err = tx.Update(op.Table, key, Row{"v": op.V})
			case UpdateKey:
				err = tx.Update(op.Table, key, Row{"id": op.N})
			case Delete:
				err = tx.Delete(op.Table, key)
			case Truncate:
				err = tx.Truncate(op.Table)
			case AddColumn:
				err = tx.AddColumn(op.Table, Int64(op.V), nil)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]Options{
		"default":            {},
		"one row a chunk":    {MaxRows: 1, RangeRows: 1},
		"whole transactions": {MaxRows: 5, WholeTransactions: true, RangeRows: 7},
		"large chunks":       {MaxRows: 100_000, Seed: 7},
	} {
		t.Run(name, func(t *testing.T) {
			TestSource(t, func(t *testing.T) Driver {
				w := NewWorld(o)
				t.Cleanup(func() {
					require.Empty(t, w.Violations())
					require.Zero(t, w.Unreleased(), "bytes of batches not released")
				})
				return driver{w}
			})
		})
	}
}

func TestKeyReaderConformance(t *testing.T) {
	for name, o := range map[string]Options{"default": {KeyRows: 300}, "small chunks": {KeyRows: 1000, MaxRows: 3}} {
		t.Run(name, func(t *testing.T) {
			TestKeyReader(t, func(t *testing.T) Driver {
				w := NewWorld(o)
				t.Cleanup(func() {
					require.Empty(t, w.Violations())
					require.Zero(t, w.Unreleased(), "bytes of batches not released")
				})
				return driver{w}
			})
		})
	}
}

// TestConvergesUnderFaults: a consumer that keeps the contract holds, at
// every cut, exactly what the oracle says, whatever breaks.
func TestConvergesUnderFaults(t *testing.T) {
	totals := map[string]int{}
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) { converge(t, seed, totals) })
	}
	t.Logf("%v", totals)
	for _, what := range []string{"retry", "crash", "restart", "redelivered", "open", "truncate", "column", "keyless"} {
		require.Positive(t, totals[what], what)
	}
}

func converge(t *testing.T, seed uint64, totals map[string]int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := NewWorld(Options{Seed: seed, MaxRows: 1 + rng.IntN(30)})
	for _, s := range []TableSpec{
		{Name: "keyed", Columns: []cdc.Column{Int64("id"), Text("v"), Bool("b"), Float64("f"), Timestamp("ts")}, Key: []string{"id"}},
		{Name: "full", Columns: []cdc.Column{Int64("id"), Text("v")}, Identity: cdc.IdentityFull},
	} {
		_, err := w.CreateTable(s)
		require.NoError(t, err)
	}
	workload(t, w, rng, 20, totals)

	src := w.Source()
	rels, err := src.Tables(t.Context())
	require.NoError(t, err)
	require.NoError(t, src.Publish(t.Context(), rels))
	sn, err := src.CreateSlot(t.Context())
	require.NoError(t, err)
	r := NewReplica(sn.Point())
	for _, rel := range rels {
		ranges, err := sn.Plan(t.Context(), rel)
		require.NoError(t, err)
		for _, rg := range ranges {
			require.NoError(t, sn.Read(t.Context(), rel, rg, func(b *cdc.Batch) error { defer b.Release(); return r.Load(b) }))
		}
	}
	require.NoError(t, sn.Close())
	requireOracle(t, w, r)

	done := make(chan struct{})
	written := map[string]int{}
	go func() {
		defer close(done)
		for range 30 {
			workload(t, w, rng, 5, written)
			time.Sleep(time.Second)
		}
	}()
	breaker := rand.New(rand.NewPCG(seed, 2))
	for finished := false; !finished; {
		st, err := src.Stream(t.Context(), r.Cut())
		if err != nil {
			require.True(t, cdc.Retryable(err), "%v", err)
			totals["retry"]++
			continue
		}
		finished = follow(t, w, src, st, r, breaker, done, totals)
		r.Forget()
		if _, err := src.Identify(t.Context()); errors.Is(err, ErrCrashed) {
			src = w.Source()
		}
	}
	for what, n := range written {
		totals[what] += n
	}
	requireOracle(t, w, r)
	require.NoError(t, src.Close())
	require.Empty(t, w.Violations())
	require.Zero(t, w.Unreleased())
}

// follow consumes a stream until it breaks (false) or everything is there.
func follow(t *testing.T, w *World, src *Source, st cdc.Stream, r *Replica, rng *rand.Rand, done chan struct{}, totals map[string]int) bool {
	defer st.Close()
	for {
		switch rng.IntN(40) {
		case 0:
			w.InjectFault(Fault{Op: "Next", Nth: 1 + rng.IntN(3), After: rng.IntN(2) == 0})
		case 1:
			src.Crash()
			totals["crash"]++
		case 2:
			w.RestartServer()
			totals["restart"]++
		case 3:
			w.Checkpoint()
		case 4:
			w.Advance(500)
		}
		select {
		case <-done:
			if r.Cut() == w.Head() {
				return true
			}
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		c, err := st.Next(ctx)
		cancel()
		if err != nil {
			require.True(t, cdc.Retryable(err) || errors.Is(err, ErrCrashed) || errors.Is(err, context.DeadlineExceeded), "%v", err)
			if cdc.Retryable(err) {
				totals["retry"]++
			}
			if len(r.pending) > 0 {
				totals["redelivered"]++
			}
			return false
		}
		require.NoError(t, r.Apply(c))
		if c.Open {
			totals["open"]++
		}
		c.Release()
		requireOracle(t, w, r)
		if rng.IntN(3) == 0 {
			st.Ack(r.Cut())
		}
	}
}

func requireOracle(t *testing.T, w *World, r *Replica) {
	t.Helper()
	for _, name := range []string{"keyed", "full"} {
		want, got := w.State(name, r.Cut()), r.State(name)
		// A column that rows do not have yet, or that was dropped before a
		// change told the consumer so, differs in being there, not in value.
		trim := func(m map[string]Row) map[string]Row {
			for _, row := range m {
				maps.DeleteFunc(row, func(k string, v any) bool { return v == nil || strings.HasPrefix(k, "extra") })
			}
			return m
		}
		require.Equal(t, trim(want), trim(got), "%s at %s", name, r.Cut())
	}
}

func workload(t *testing.T, w *World, rng *rand.Rand, n int, totals map[string]int) {
	for range n {
		_, err := w.Commit(func(tx *Tx) error {
			for range 1 + rng.IntN(12) {
				if err := step(tx, w, rng, totals); err != nil {
					return err
				}
			}
			if rng.IntN(10) == 0 {
				return ErrRollback
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrRollback) {
			require.NoError(t, err)
		}
	}
}

func step(tx *Tx, w *World, rng *rand.Rand, totals map[string]int) error {
	id := int64(rng.IntN(20))
	v := strings.Repeat("v", []int{3, toastAt + 5}[rng.IntN(2)]) + fmt.Sprint(rng.IntN(5))
	keyed, err := w.table("keyed")
	if err != nil {
		return err
	}
	key := Row{"id": id}
	_, exists := keyed.content.rows[fmt.Sprint(id)]
	switch k := rng.IntN(100); {
	case k == 0:
		totals["truncate"]++
		return tx.Truncate("keyed", "full")
	case k == 1:
		totals["column"]++
		name := fmt.Sprint("extra", len(keyed.content.rel.Columns), rng.IntN(1000))
		if column(keyed.content.rel, name) >= 0 {
			return nil
		}
		return tx.AddColumn("keyed", Int64(name), 7)
	case k == 2 && len(keyed.content.rel.Columns) > 5:
		return tx.DropColumn("keyed", keyed.content.rel.Columns[5].Name)
	case k < 25:
		totals["keyless"]++
		row := Row{"id": id % 3, "v": "same"}
		full, err := w.table("full")
		if err != nil {
			return err
		}
		if _, there := full.content.rows[Key(full.content.rel, row)]; there && k < 12 {
			return tx.Delete("full", row)
		} else if there && k < 15 {
			return tx.Update("full", row, Row{"v": "other"})
		}
		return tx.Insert("full", row)
	case !exists:
		return tx.Insert("keyed", Row{"id": id, "v": v, "b": id%2 == 0, "f": float64(id) / 4, "ts": time.Unix(id, 500)})
	case k < 50:
		return tx.Delete("keyed", key)
	case k < 60:
		return tx.Update("keyed", key, Row{"f": 0.5}) // v is not sent if it is long
	case k < 70:
		to := id + 100
		if _, taken := keyed.content.rows[fmt.Sprint(to)]; taken {
			return tx.Delete("keyed", Row{"id": to})
		}
		return tx.Update("keyed", key, Row{"id": to})
	}
	return tx.Update("keyed", key, Row{"v": v})
}

// TestSameSeedSameChunks: a failure can be played again.
func TestSameSeedSameChunks(t *testing.T) {
	play := func(seed uint64) []string {
		var log []string
		synctest.Test(t, func(t *testing.T) {
			w, src := smallWorld(t, Options{Seed: seed, MaxRows: 9})
			st, err := src.Stream(t.Context(), 0x1000000+1<<20)
			require.Error(t, err, "beyond the end")
			require.Nil(t, st)
			workload(t, w, rand.New(rand.NewPCG(1, 1)), 50, map[string]int{})
			st, err = src.Stream(t.Context(), slotAt(t, src))
			require.NoError(t, err)
			for cut := cdc.LSN(0); cut < w.Head(); {
				c, err := st.Next(t.Context())
				require.NoError(t, err)
				cut = c.Cut
				events, err := Events(c)
				require.NoError(t, err)
				log = append(log, fmt.Sprintf("%s %t %d %v", c.Cut, c.Open, c.Transactions, len(events)))
				c.Release()
			}
			require.NoError(t, st.Close())
		})
		return log
	}
	require.Equal(t, play(3), play(3))
	require.NotEqual(t, play(3), play(4))
}

func smallWorld(t *testing.T, o Options) (*World, *Source) {
	w := NewWorld(o)
	_, err := w.CreateTable(TableSpec{Name: "keyed", Columns: []cdc.Column{Int64("id"), Text("v"), Bool("b"), Float64("f"), Timestamp("ts")}, Key: []string{"id"}})
	require.NoError(t, err)
	_, err = w.CreateTable(TableSpec{Name: "full", Columns: []cdc.Column{Int64("id"), Text("v")}, Identity: cdc.IdentityFull})
	require.NoError(t, err)
	src := w.Source()
	rels, err := src.Tables(t.Context())
	require.NoError(t, err)
	require.NoError(t, src.Publish(t.Context(), rels))
	sn, err := src.CreateSlot(t.Context())
	require.NoError(t, err)
	require.NoError(t, sn.Close())
	return w, src
}

func slotAt(t *testing.T, src *Source) cdc.LSN {
	state, err := src.Slot(t.Context())
	require.NoError(t, err)
	return state.ConfirmedFlush
}

// TestViolations: what a consumer must not do is seen.
func TestViolations(t *testing.T) {
	for name, do := range map[string]func(*testing.T, *World, *Source, cdc.Stream){
		"acknowledged": func(t *testing.T, w *World, _ *Source, st cdc.Stream) {
			c, err := w.Commit(func(tx *Tx) error { return tx.Insert("full", Row{"id": 1}) })
			require.NoError(t, err)
			st.Ack(c.End) // nobody has delivered it
		},
		"second stream": func(t *testing.T, w *World, src *Source, _ cdc.Stream) {
			_, err := src.Stream(t.Context(), w.Head())
			require.Error(t, err)
		},
		"before its stream": func(t *testing.T, _ *World, src *Source, _ cdc.Stream) { require.NoError(t, src.Close()) },
		"after Close": func(t *testing.T, _ *World, src *Source, st cdc.Stream) {
			require.NoError(t, st.Close())
			require.NoError(t, src.Close())
			_, err := src.Slot(t.Context())
			require.Error(t, err)
		},
		"snapshots": func(t *testing.T, _ *World, src *Source, st cdc.Stream) {
			_, err := src.Snapshot(t.Context())
			require.NoError(t, err)
			require.NoError(t, st.Close())
			require.NoError(t, src.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, src := smallWorld(t, Options{})
			st, err := src.Stream(t.Context(), w.Head())
			require.NoError(t, err)
			require.Empty(t, w.Violations())
			do(t, w, src, st)
			require.Len(t, w.Violations(), 1)
			require.Contains(t, w.Violations()[0], name)
		})
	}
}

func TestUnreleasedIsSeen(t *testing.T) {
	w, src := smallWorld(t, Options{})
	st, err := src.Stream(t.Context(), w.Head())
	require.NoError(t, err)
	_, err = w.Commit(func(tx *Tx) error { return tx.Insert("full", Row{"id": 1}) })
	require.NoError(t, err)
	c, err := st.Next(t.Context())
	require.NoError(t, err)
	require.Positive(t, w.Unreleased())
	c.Release()
	require.Zero(t, w.Unreleased())
}

func TestFailures(t *testing.T) {
	w, src := smallWorld(t, Options{})
	open := func(src *Source) cdc.Stream {
		st, err := src.Stream(t.Context(), max(slotAt(t, src), 1))
		require.NoError(t, err)
		return st
	}
	next := func(st cdc.Stream) error {
		_, err := st.Next(t.Context())
		require.Error(t, err)
		_, again := st.Next(t.Context())
		require.Equal(t, err, again, "a dead stream stays dead")
		return err
	}
	insert := func(id int) Committed {
		c, err := w.Commit(func(tx *Tx) error { return tx.Insert("full", Row{"id": id}) })
		require.NoError(t, err)
		return c
	}

	insert(1)
	st := open(src)
	w.InjectFault(Fault{Op: "Next", After: true})
	require.True(t, cdc.Retryable(next(st)))
	require.Zero(t, w.PendingFaults())
	require.Zero(t, w.Unreleased(), "the chunk that was lost")

	own := errors.New("own")
	w.InjectFault(Fault{Op: "Slot", Nth: 2, Err: own})
	slotAt(t, src)
	_, err := src.Slot(t.Context())
	require.ErrorIs(t, err, own)

	st = open(src)
	w.RestartServer()
	require.True(t, cdc.Retryable(next(st)))

	st = open(src)
	other := w.Source()
	_, err = other.Stream(t.Context(), w.Head())
	require.True(t, cdc.Retryable(err), "the slot is active for another")
	src.Crash()
	require.ErrorIs(t, next(st), ErrCrashed)
	_, err = src.Tables(t.Context())
	require.ErrorIs(t, err, ErrCrashed)
	require.NoError(t, src.Close())

	st = open(other)
	w.LoseSlot()
	require.True(t, cdc.NeedsResync(next(st)))
	_, err = other.Stream(t.Context(), w.Head())
	require.True(t, cdc.NeedsResync(err))
	w.RemoveSlot()
	_, err = other.Slot(t.Context())
	require.ErrorIs(t, err, cdc.ErrNoSlot)

	w.InjectFault(Fault{Op: "CreateSlot", After: true})
	_, err = other.CreateSlot(t.Context())
	require.True(t, cdc.Retryable(err))
	_, err = other.CreateSlot(t.Context())
	require.ErrorIs(t, err, cdc.ErrSlotExists, "it was made, and the answer lost")
	require.Empty(t, w.Violations())
}

// TestRestartForgets: an acknowledgement that the server has not persisted is
// gone after its restart, so changes come again.
func TestRestartForgets(t *testing.T) {
	w, src := smallWorld(t, Options{})
	from := slotAt(t, src)
	c, err := w.Commit(func(tx *Tx) error { return tx.Insert("full", Row{"id": 1}) })
	require.NoError(t, err)
	for _, checkpoint := range []bool{false, true} {
		st, err := src.Stream(t.Context(), from)
		require.NoError(t, err)
		chunk, err := st.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, c.End, chunk.Cut)
		chunk.Release()
		st.Ack(c.End)
		require.NoError(t, st.Close())
		require.Equal(t, c.End, slotAt(t, src))
		if checkpoint {
			w.Checkpoint()
		}
		w.RestartServer()
		if !checkpoint {
			require.Equal(t, from, slotAt(t, src))
		}
	}
	require.Equal(t, c.End, slotAt(t, src))
}

func TestTransactionsRefuse(t *testing.T) {
	w, src := smallWorld(t, Options{})
	must := func(f func(*Tx) error) { _, err := w.Commit(f); require.NoError(t, err) }
	must(func(tx *Tx) error { return tx.Insert("keyed", Row{"id": 1, "v": "x"}) })
	before, head := w.State("keyed", w.Head()), w.Head()
	for name, f := range map[string]func(*Tx) error{
		"the key 1 exists":      func(tx *Tx) error { return tx.Insert("keyed", Row{"id": 1}) },
		"no row 2":              func(tx *Tx) error { return tx.Delete("keyed", Row{"id": 2}) },
		"no row 3":              func(tx *Tx) error { return tx.Update("keyed", Row{"id": 3}, Row{"v": ""}) },
		"no column w":           func(tx *Tx) error { return tx.Insert("keyed", Row{"id": 3, "w": 1}) },
		"cannot hold the int64": func(tx *Tx) error { return tx.Insert("keyed", Row{"id": 3, "v": 1}) },
		"no table nowhere":      func(tx *Tx) error { return tx.Insert("nowhere", Row{}) },
		"column v already":      func(tx *Tx) error { return tx.AddColumn("keyed", Text("v"), nil) },
		"outside its key":       func(tx *Tx) error { return tx.DropColumn("keyed", "id") },
		"cannot be renamed":     func(tx *Tx) error { return tx.RenameColumn("keyed", "v", "id") },
	} {
		_, err := w.Commit(func(tx *Tx) error {
			if err := tx.Insert("keyed", Row{"id": 77}); err != nil { // is undone
				return err
			}
			return f(tx)
		})
		require.ErrorContains(t, err, name)
	}
	require.Equal(t, before, w.State("keyed", w.Head()))
	require.Equal(t, head, w.Head())

	sn, err := src.Snapshot(t.Context())
	require.NoError(t, err)
	_, err = sn.Plan(t.Context(), w.Relation("keyed", w.Head()))
	require.NoError(t, err)
	_, err = w.Commit(func(tx *Tx) error { return tx.Truncate("keyed") })
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, sn.Close())
	must(func(tx *Tx) error { return tx.Truncate("keyed") })
	require.Empty(t, w.State("keyed", w.Head()))
	require.Equal(t, before, w.State("keyed", head), "the past stays")
}

func TestTablesComeAndGo(t *testing.T) {
	w, src := smallWorld(t, Options{})
	st, err := src.Stream(t.Context(), w.Head())
	require.NoError(t, err)
	insert := func(table string, id int) {
		_, err := w.Commit(func(tx *Tx) error { return tx.Insert(table, Row{"id": id}) })
		require.NoError(t, err)
	}
	insert("full", 1)
	middle := w.Head()
	require.NoError(t, w.DropTable("full"))
	require.Nil(t, w.State("full", w.Head()))
	_, err = w.CreateTable(TableSpec{Name: "full", Columns: []cdc.Column{Int64("id")}, InsertOnly: true})
	require.NoError(t, err)
	insert("full", 2) // not published: its name is the same, the table is not
	require.Len(t, w.State("full", middle), 1)
	require.Equal(t, []Row{{"id": int64(2)}}, w.Rows("full", w.Head()))

	rels, err := src.Tables(t.Context())
	require.NoError(t, err)
	require.NoError(t, src.Publish(t.Context(), rels))
	insert("full", 3)
	_, err = w.Commit(func(tx *Tx) error { return tx.Delete("full", Row{"id": 3}) }) // insert-only: not sent
	require.NoError(t, err)
	var got []any
	for cut := cdc.LSN(0); cut < w.Head(); {
		c, err := st.Next(t.Context())
		require.NoError(t, err)
		events, err := Events(c)
		require.NoError(t, err)
		for _, e := range events {
			got = append(got, e.Row["id"])
		}
		cut = c.Cut
		c.Release()
	}
	require.Equal(t, []any{int64(1), int64(3)}, got)

	plain := &cdc.Relation{OID: rels[1].OID, Schema: "public", Name: "keyed", Identity: cdc.IdentityNothing}
	require.ErrorContains(t, src.Publish(t.Context(), []*cdc.Relation{plain}), "no identity")
	require.Len(t, slices.Collect(maps.Keys(w.State("keyed", w.Head()))), 0)
	some, err := w.Source("keyed").Tables(t.Context())
	require.NoError(t, err)
	require.Len(t, some, 1)
}

// TestExactValues: what a type cannot hold travels beside a null.
func TestExactValues(t *testing.T) {
	w := NewWorld(Options{})
	_, err := w.CreateTable(TableSpec{Name: "x", Columns: []cdc.Column{Int64("id"), Decimal("d", 10, 2), Bytes("b")}, Key: []string{"id"}})
	require.NoError(t, err)
	src := w.Source()
	rels, err := src.Tables(t.Context())
	require.NoError(t, err)
	require.NoError(t, src.Publish(t.Context(), rels))
	sn, err := src.CreateSlot(t.Context())
	require.NoError(t, err)
	require.NoError(t, sn.Close())
	st, err := src.Stream(t.Context(), sn.Point())
	require.NoError(t, err)
	_, err = w.Commit(func(tx *Tx) error {
		return errors.Join(
			tx.Insert("x", Row{"id": 1, "d": "12.50", "b": []byte{0, 255}}),
			tx.Insert("x", Row{"id": 2, "d": Exact("NaN")}))
	})
	require.NoError(t, err)
	r := NewReplica(sn.Point())
	for r.Cut() < w.Head() {
		c, err := st.Next(t.Context())
		require.NoError(t, err)
		for _, item := range c.Items {
			for _, e := range item.Batch.Exact {
				require.True(t, item.Batch.Rows.Column(e.Col).IsNull(e.Row))
			}
		}
		require.NoError(t, r.Apply(c))
		c.Release()
	}
	require.Equal(t, w.State("x", w.Head()), r.State("x"))
	require.Equal(t, Row{"id": int64(2), "d": Exact("NaN"), "b": nil}, r.State("x")["2"])
}

// What a promotion leaves is what the standby had; the next timeline goes on
// from there.
func TestPromotion(t *testing.T) {
	w := NewWorld(Options{})
	put := func(n int64) Committed {
		c, err := w.Commit(func(tx *Tx) error { return tx.Insert("a", Row{"id": n}) })
		require.NoError(t, err)
		return c
	}
	_, err := w.CreateTable(TableSpec{Name: "a", Columns: []cdc.Column{Int64("id")}, Key: []string{"id"}})
	require.NoError(t, err)
	src := w.Source()
	rels, err := src.Tables(t.Context())
	require.NoError(t, err)
	require.NoError(t, src.Publish(t.Context(), rels))
	snap, err := src.CreateSlot(t.Context())
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	_, err = src.Identify(t.Context())
	require.NoError(t, err)
	st, err := src.Stream(t.Context(), w.Head())
	require.NoError(t, err)
	kept := put(1)
	put(2)
	require.NoError(t, w.Promote(kept.End, true))
	_, err = st.Next(t.Context())
	require.True(t, cdc.Retryable(err), "%v", err)
	require.NoError(t, st.Close())

	history, err := src.Timelines(t.Context())
	require.NoError(t, err)
	require.Equal(t, []cdc.Switch{{Timeline: 1, At: kept.End}}, history)
	require.Len(t, w.State("a", w.Head()), 1, "what the standby had not got is gone")
	put(2)
	_, err = src.Stream(t.Context(), kept.End)
	require.ErrorIs(t, err, cdc.ErrTimeline)
	id, err := src.Identify(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, id.Timeline)
	st, err = src.Stream(t.Context(), kept.End)
	require.NoError(t, err)
	chunk, err := st.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, chunk.Transactions)
	chunk.Release()
	require.NoError(t, st.Close())
	require.NoError(t, w.Promote(0, false))
	_, err = src.Slot(t.Context())
	require.ErrorIs(t, err, cdc.ErrNoSlot)
	require.NoError(t, src.Close())
	require.Empty(t, w.Violations())
}
