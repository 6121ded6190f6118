package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// A snapshot holds exactly the transactions whose commit record begins before
// its point: writers note what they insert, the stream tells each commit's
// place, and the copy has to be the part before the point. Snapshots of
// temporary slots, too.
func TestEdge57SnapshotHoldsExactlyWhatIsBeforeItsPoint(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE w (id bigint PRIMARY KEY, pad text)")
	s := d.open()
	ctx := testContext(t)
	rel := table(t, s, "public.w")
	require.NoError(t, s.Publish(ctx, []*cdc.Relation{rel}))

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		conn := dial(t, d.dsn)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				// Some transactions stay open across a snapshot's making, some abort.
				id := w*1_000_000 + i
				end := "COMMIT"
				if i%7 == 0 {
					end = "ROLLBACK"
				}
				sql := fmt.Sprintf("BEGIN; INSERT INTO w VALUES (%d, repeat('x', 100)); SELECT pg_sleep(%f); %s", id, rand.Float64()/500, end)
				if _, err := conn.Exec(context.Background(), sql).ReadAll(); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	halted := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer halted()

	time.Sleep(100 * time.Millisecond)
	type taken struct {
		point cdc.LSN
		ids   map[int64]bool
	}
	var all []taken
	var from cdc.LSN
	for i := range 8 {
		var snap cdc.Snapshot
		var err error
		if i == 0 {
			snap, err = s.CreateSlot(ctx)
		} else {
			snap, err = s.Snapshot(ctx)
		}
		require.NoError(t, err)
		if i == 0 {
			from = snap.Point()
		}
		time.Sleep(30 * time.Millisecond) // let others commit between
		got := taken{snap.Point(), map[int64]bool{}}
		copyTable(t, snap, rel, func(b *cdc.Batch) {
			ids := b.Rows.Column(0).(*array.Int64)
			for k := range b.Len() {
				require.False(t, got.ids[ids.Value(k)], "row %d twice", ids.Value(k))
				got.ids[ids.Value(k)] = true
			}
		})
		require.NoError(t, snap.Close())
		all = append(all, got)
	}
	halted()

	// The stream gives the rest, with each commit's place.
	placeOf := map[int64]cdc.LSN{}
	for id := range all[0].ids {
		placeOf[id] = from - 1
	}
	end, err := cdc.ParseLSN(d.exec("SELECT pg_current_wal_lsn()")[0].str(0))
	require.NoError(t, err)
	d.exec("INSERT INTO w VALUES (-1, '')")
	streamUntil(t, s, from, end, func(item cdc.Item) {
		ids := item.Batch.Rows.Column(0).(*array.Int64)
		for i, span := range item.Batch.Txns {
			last := item.Batch.Len()
			if i+1 < len(item.Batch.Txns) {
				last = item.Batch.Txns[i+1].First
			}
			for k := span.First; k < last; k++ {
				_, twice := placeOf[ids.Value(k)]
				require.False(t, twice, "row %d is in the first snapshot and in the stream, or twice", ids.Value(k))
				placeOf[ids.Value(k)] = span.Txn.Commit
			}
		}
	})
	require.Greater(t, len(placeOf), len(all[0].ids)+50)
	for i, snap := range all {
		want := 0
		for id, place := range placeOf {
			if place < snap.point {
				want++
			}
			require.Equal(t, place < snap.point, snap.ids[id], "snapshot %d at %s, row %d committed at %s", i, snap.point, id, place)
		}
		require.Len(t, snap.ids, want)
	}
	var left int
	for _, r := range d.exec("SELECT slot_name FROM pg_replication_slots") {
		if strings.HasPrefix(r.str(0), "slot_"+d.name) {
			left++
		}
	}
	require.Equal(t, 1, left, "temporary slots were left behind")
}

// streamUntil reads the stream until a cut after end.
func streamUntil(t *testing.T, s *Source, from, end cdc.LSN, each func(cdc.Item)) {
	t.Helper()
	ctx := testContext(t)
	stream, err := s.Stream(ctx, from)
	require.NoError(t, err)
	defer func() { require.NoError(t, stream.Close()) }()
	for cut := cdc.LSN(0); cut <= end; {
		chunk, err := stream.Next(ctx)
		require.NoError(t, err)
		for _, item := range chunk.Items {
			if item.Batch != nil {
				each(item)
			}
		}
		cut = chunk.Cut
		chunk.Release()
	}
}

// A snapshot lives on while the stream begins, while its readers break, and
// until its keeper does.
func TestEdge58SnapshotSurvives(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE k (id int PRIMARY KEY); INSERT INTO k SELECT generate_series(1, 1000)")
	s := d.open()
	ctx := testContext(t)
	rel := table(t, s, "public.k")
	require.NoError(t, s.Publish(ctx, []*cdc.Relation{rel}))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, snap.Close()) }()
	d.exec("DELETE FROM k; INSERT INTO k VALUES (5000)")
	stream, err := s.Stream(ctx, snap.Point())
	require.NoError(t, err)
	defer func() { require.NoError(t, stream.Close()) }()

	count := func() (n int) {
		copyTable(t, snap, rel, func(b *cdc.Batch) { n += b.Len() })
		return n
	}
	require.Equal(t, 1000, count())
	kill := func(reader *int64, query string) {
		rows := d.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND query LIKE '" + query + "'")
		*reader = int64(len(rows))
	}
	var killed int64
	kill(&killed, "COPY%")
	require.Positive(t, killed)
	ranges, err := snap.Plan(ctx, rel)
	require.NoError(t, err)
	nothing := func(b *cdc.Batch) error { b.Release(); return nil }
	require.True(t, cdc.Retryable(snap.Read(ctx, rel, ranges[0], nothing)), "a broken reader is for the caller to try again")
	require.Equal(t, 1000, count())

	kill(&killed, "RELEASE SAVEPOINT%")
	require.Positive(t, killed)
	_, err = snap.Plan(ctx, rel)
	require.ErrorIs(t, err, cdc.ErrSnapshotLost)
	require.True(t, cdc.Retryable(err))
	inner := snap.(*snapshot)
	for _, r := range inner.idle {
		closeConn(r.conn)
	}
	inner.idle = nil
	require.ErrorIs(t, snap.Read(ctx, rel, ranges[0], nothing), cdc.ErrSnapshotLost)
}

func TestTableChangedBetweenSnapshotAndPlan(t *testing.T) {
	for name, change := range map[string]string{
		"truncate":      "TRUNCATE c",
		"rewrite":       "VACUUM FULL c",
		"cluster":       "CLUSTER c USING c_pkey",
		"alter type":    "ALTER TABLE c ALTER v TYPE bigint",
		"typmod":        "ALTER TABLE c ALTER s TYPE varchar(20)",
		"add column":    "ALTER TABLE c ADD n int DEFAULT 7",
		"drop column":   "ALTER TABLE c DROP v",
		"rename col":    "ALTER TABLE c RENAME v TO w",
		"rename":        "ALTER TABLE c RENAME TO c2",
		"drop":          "DROP TABLE c",
		"recreate":      "DROP TABLE c; CREATE TABLE c (id int PRIMARY KEY, v int, s varchar(10))",
		"identity":      "ALTER TABLE c REPLICA IDENTITY FULL",
		"drop key":      "ALTER TABLE c DROP CONSTRAINT c_pkey",
		"attach":        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)",
		"detach":        "ALTER TABLE p DETACH PARTITION p1",
		"truncate leaf": "TRUNCATE p1",
		"schema":        "CREATE SCHEMA o; ALTER TABLE c SET SCHEMA o",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			d.exec("CREATE TABLE c (id int PRIMARY KEY, v int, s varchar(10)); INSERT INTO c SELECT g, g FROM generate_series(1, 100) g")
			d.exec("CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)")
			d.exec("INSERT INTO p SELECT g, g FROM generate_series(1, 10) g")
			s := d.open()
			ctx := testContext(t)
			c, p := table(t, s, "public.c"), table(t, s, "public.p")
			snap, err := s.Snapshot(ctx)
			require.NoError(t, err)
			defer func() { require.NoError(t, snap.Close()) }()
			d.exec(change)
			_, errC := snap.Plan(ctx, c)
			_, errP := snap.Plan(ctx, p)
			same := p
			if slices.Contains([]string{"attach", "detach", "truncate leaf"}, name) {
				errC, errP, same = errP, errC, c
			}
			require.ErrorIs(t, errC, cdc.ErrTableChanged)
			require.NoError(t, errP, "the other table did not change")

			// Nor does it help to ask for the table as it is now.
			fresh, err := s.Tables(ctx)
			require.NoError(t, err)
			for _, rel := range fresh {
				if rel.OID == same.OID {
					continue
				}
				_, err := snap.Plan(ctx, rel)
				require.ErrorIs(t, err, cdc.ErrTableChanged, rel.String())
			}

			late, err := s.Snapshot(ctx)
			require.NoError(t, err)
			defer func() { require.NoError(t, late.Close()) }()
			rels, err := s.Tables(ctx)
			require.NoError(t, err)
			for _, rel := range rels {
				_, err := late.Plan(ctx, rel)
				require.NoError(t, err)
			}
		})
	}
}

func TestTableYoungerThanSnapshot(t *testing.T) {
	d := newDatabase(t)
	s := d.open()
	ctx := testContext(t)
	snap, err := s.Snapshot(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, snap.Close()) }()
	d.exec("CREATE TABLE young (id int PRIMARY KEY)")
	_, err = snap.Plan(ctx, table(t, s, "public.young"))
	require.ErrorIs(t, err, cdc.ErrTableChanged)
	require.ErrorContains(t, err, "younger")
}

// While somebody waits to alter a planned table, its ranges can still be read.
func TestReadWhileAlterWaits(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE q (id int PRIMARY KEY); INSERT INTO q SELECT generate_series(1, 500)")
	s := d.open()
	ctx := testContext(t)
	rel := table(t, s, "public.q")
	snap, err := s.Snapshot(ctx)
	require.NoError(t, err)
	ranges, err := snap.Plan(ctx, rel)
	require.NoError(t, err)
	other := dial(t, d.dsn)
	altered := make(chan error, 1)
	go func() {
		_, err := other.Exec(context.Background(), "TRUNCATE q").ReadAll()
		altered <- err
	}()
	require.Eventually(t, func() bool {
		return d.exec("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'q'::regclass")[0].int(0) == 1
	}, 10*time.Second, 5*time.Millisecond)
	begun := time.Now()
	for range 2 {
		n := 0
		require.NoError(t, snap.Read(ctx, rel, ranges[0], func(b *cdc.Batch) error { n += b.Len(); b.Release(); return nil }))
		require.Equal(t, 500, n)
	}
	require.Less(t, time.Since(begun), 12*time.Second, "it waited behind the one who waits")
	// What emit says stops the read there, and the keeper lives on.
	stop := errors.New("stop")
	require.Equal(t, stop, snap.Read(ctx, rel, ranges[0], func(b *cdc.Batch) error { b.Release(); return stop }))
	n := 0
	require.NoError(t, snap.Read(ctx, rel, ranges[0], func(b *cdc.Batch) error { n += b.Len(); b.Release(); return nil }))
	require.Equal(t, 500, n)
	require.NoError(t, snap.Close())
	require.NoError(t, <-altered)
}

// A plan that has to wait for a lock gives up, and the snapshot lives on.
func TestPlanBehindALock(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE l (id int PRIMARY KEY); CREATE TABLE m (id int PRIMARY KEY)")
	s := d.open()
	ctx := testContext(t)
	snap, err := s.Snapshot(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, snap.Close()) }()
	rel, free := table(t, s, "public.l"), table(t, s, "public.m")
	d.exec("BEGIN; LOCK TABLE l")
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = snap.Plan(short, rel)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = snap.Plan(ctx, free)
	require.NoError(t, err)
	d.exec("ROLLBACK")
	_, err = snap.Plan(ctx, rel)
	require.NoError(t, err)
}

func TestReadErrors(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE e (id int PRIMARY KEY, v text); INSERT INTO e SELECT g, repeat('x', 2000) FROM generate_series(1, 30000) g")
	checked := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer checked.AssertSize(t, 0)
	s := d.open(func(c *Config) { c.Allocator, c.Connections = checked, 1 })
	ctx := testContext(t)
	rel := table(t, s, "public.e")
	snap, err := s.Snapshot(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, snap.Close()) }()
	ranges, err := snap.Plan(ctx, rel)
	require.NoError(t, err)
	require.Greater(t, len(ranges), 1)

	stop := errors.New("stop")
	for range 3 {
		require.Equal(t, stop, snap.Read(ctx, rel, ranges[0], func(b *cdc.Batch) error { b.Release(); return stop }))
	}
	for range 3 { // cancelled in the middle
		ctx, cancel := context.WithCancel(ctx)
		err := snap.Read(ctx, rel, ranges[0], func(b *cdc.Batch) error {
			b.Release()
			cancel()
			time.Sleep(100 * time.Millisecond) // the rest of the range is not here yet: the read has to notice
			return nil
		})
		require.ErrorIs(t, err, context.Canceled)
	}
	_, err = parseRangeID("nonsense")
	require.Error(t, err)
	require.ErrorContains(t, snap.Read(ctx, rel, cdc.Range{ID: "1:0-"}, nil), "not planned")
	n := 0
	for _, r := range ranges {
		require.NoError(t, snap.Read(ctx, rel, r, func(b *cdc.Batch) error { n += b.Len(); b.Release(); return nil }))
	}
	require.Equal(t, 30000, n)

	// Close ends a read that runs, and waits for it.
	begun, hold := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- snap.Read(ctx, rel, ranges[0], func(b *cdc.Batch) error {
			b.Release()
			select {
			case <-begun:
			default:
				close(begun)
			}
			<-hold
			return nil
		})
	}()
	<-begun
	go func() { time.Sleep(50 * time.Millisecond); close(hold) }()
	require.NoError(t, snap.Close())
	select {
	case err := <-done:
		require.ErrorIs(t, err, errSnapshotClosed)
	case <-time.After(10 * time.Second):
		t.Fatal("Close did not wait for Read")
	}
}

// A snapshot that is gone with the connection that had exported it, as a standby
// may end any, is made again.
func TestEdge58ExportedSnapshotIsGone(t *testing.T) {
	d := newDatabase(t)
	exporter := dial(t, d.dsn)
	mustExec(t, exporter, "BEGIN ISOLATION LEVEL REPEATABLE READ")
	name := mustExec(t, exporter, "SELECT pg_export_snapshot()")[0].str(0)
	closeConn(exporter)
	s := d.open()
	r, err := s.connector.openReader(testContext(t))
	require.NoError(t, err)
	defer closeConn(r.conn)
	require.Eventually(t, func() bool { // the server may take a moment to end the session
		_, err = r.takeOver(testContext(t), name)
		mustExec(t, r.conn, "ROLLBACK")
		return err != nil
	}, 10*time.Second, 10*time.Millisecond)
	require.True(t, cdc.Retryable(err), "%v", err)
}
