package lakehouse_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt/objstore/faultstore"
)

// The source hears of a position only when everything before it is in every
// table, and the epoch that says so is.
func TestEdge03OnlyWhatIsDurableIsAcknowledged(t *testing.T) {
	for _, path := range []string{"public/t/*.parquet", "public/t/_delta_log/*", "_lakeload/default/epochs/**"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"), keyed("u"))
				faults := r.inject()
				r.insert("t", 0, 10)
				told := &told{}
				r.source = func() cdc.Source { told.KeyReader = r.world.Source(); return told }
				stop := r.start()
				before := r.world.Head()
				require.NoError(t, faults.SetRules(
					faultstore.Rule{Op: faultstore.OpPutIfAbsent, Path: path, Transient: true, Count: -1},
					faultstore.Rule{Op: faultstore.OpClose, Path: path, Transient: true, Count: -1}))
				for i := range 10 {
					r.insert("t", 10+i, 11+i)
					r.insert("u", 10+i, 11+i)
					time.Sleep(time.Second)
					require.LessOrEqual(t, told.last(), before)
				}
				require.NoError(t, faults.SetRules())
				time.Sleep(5 * time.Minute)
				require.GreaterOrEqual(t, told.last(), r.world.Head())
				require.NoError(t, stop())
				require.Empty(t, r.world.Violations())
				r.same("t", "u")
			})
		})
	}
}

// told is a source that keeps what it was told last.
type told struct {
	cdc.KeyReader
	lsn atomic.Uint64
}

type toldStream struct {
	cdc.Stream
	to *told
}

func (s *told) last() cdc.LSN { return cdc.LSN(s.lsn.Load()) }

func (s *told) Stream(ctx context.Context, from cdc.LSN) (cdc.Stream, error) {
	st, err := s.KeyReader.Stream(ctx, from)
	if err != nil {
		return nil, err
	}
	return &toldStream{st, s}, nil
}

func (st *toldStream) Ack(lsn cdc.LSN) {
	st.to.lsn.Store(uint64(lsn))
	st.Stream.Ack(lsn)
}

// What a table has already comes again, after a flush of which some tables
// were written: it is not taken twice, not even by a table that is only added
// to.
func TestEdge05ChangesThatComeAgain(t *testing.T) {
	for _, failing := range []string{"public/u/_delta_log/*", "public/t/_delta_log/*", "public/t_changelog/_delta_log/*", "_lakeload/default/epochs/**"} {
		t.Run(failing, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"), keyed("u"))
				r.bothModes()
				r.catchUp()
				for i := range 20 { // several transactions, and several changes of a row in one
					r.tx(func(tx *cdctest.Tx) error {
						for _, table := range []string{"t", "u"} {
							for _, step := range []func() error{
								func() error { return tx.Insert(table, cdctest.Row{"id": i, "v": "new"}) },
								func() error { return tx.Update(table, cdctest.Row{"id": i}, cdctest.Row{"v": fmt.Sprint("v", i)}) },
								func() error { return tx.Insert(table, cdctest.Row{"id": -1, "v": "short"}) },
								func() error { return tx.Delete(table, cdctest.Row{"id": -1}) },
							} {
								if err := step(); err != nil {
									return err
								}
							}
						}
						return nil
					})
				}
				faults := r.inject(faultstore.Rule{Op: faultstore.OpPutIfAbsent, Path: failing})
				require.ErrorIs(t, r.engine(t.Context(), true), faultstore.ErrInjected)
				require.Equal(t, []int{1}, faults.Hits())
				r.catchUp()
				r.same("t", "u")
				for _, table := range []string{"t", "u"} {
					require.Equal(t, 20*4, count(r.rows(r.changelog(table))), table)
				}
			})
		})
	}
}

// The answer to a commit is lost, and the commit is there: it is taken for
// what it is, and nothing is written twice.
func TestEdge10TheAnswerToACommitIsLost(t *testing.T) {
	for _, path := range []string{"public/t/_delta_log/*", "public/t_changelog/_delta_log/*", "_lakeload/default/epochs/**"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, keyed("t"))
				r.bothModes()
				faults := r.inject()
				r.insert("t", 0, 10)
				stop := r.start()
				for i := range 10 {
					require.NoError(t, faults.SetRules(faultstore.Rule{Op: faultstore.OpPutIfAbsent, Path: path, Do: faultstore.SucceedThenFail, Transient: true}))
					r.insert("t", 10+i, 11+i)
					time.Sleep(time.Minute)
					require.Equal(t, []int{1}, faults.Hits())
				}
				require.NoError(t, stop())
				require.Empty(t, r.world.Violations())
				r.same("t")
				require.Equal(t, 20, count(r.rows(r.changelog("t"))))
			})
		})
	}
}

// A table without rows is in the lake, with its columns.
func TestEdge61AnEmptyTableIsThere(t *testing.T) {
	for _, keyRows := range []int{0, 5} { // under a snapshot, and by ranges of keys
		synctest.Test(t, func(t *testing.T) {
			r := newRigOf(t, cdctest.Options{Seed: 1, KeyRows: keyRows}, keyed("t"), keyless("u"))
			r.catchUp()
			r.same("t", "u")
			require.Equal(t, lakehouse.PhaseLive, r.state("t").Phase)
			require.Empty(t, r.lastEpoch().Incomplete)
			r.resync("t")
			r.resync("u")
			r.catchUp()
			r.same("t", "u")
			r.insert("t", 0, 3)
			r.insert("u", 0, 3)
			r.catchUp()
			r.same("t", "u")
		})
	}
}

// Of several tables that are copied under one snapshot beside the stream one
// fails. What the others, which are published, still need from the snapshot's
// point on must not be acknowledged before the stream has gone back for it.
func TestEdge03ACopyThatBreaksOffHalfWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 5)
		stop := r.start()
		time.Sleep(time.Minute)
		// The faults come first, and the tables before their rows: the engine
		// may take up a table while the next one is made.
		for n := 2; n <= 3; n++ {
			r.world.InjectFault(cdctest.Fault{Op: "Plan", Nth: n})
		}
		names := []string{"u", "v", "w"}
		for _, name := range names {
			_, err := r.world.CreateTable(keyed(name))
			require.NoError(t, err)
		}
		for _, name := range names {
			r.insert(name, 0, 5)
		}
		for i := range 4000 {
			r.insert("u", 5+i, 6+i)
			time.Sleep(20 * time.Millisecond)
		}
		require.Zero(t, r.world.PendingFaults())
		require.NoError(t, stop())
		r.same("t", "u", "v", "w")
		require.Empty(t, r.world.Violations())
	})
}

// A row comes and goes within a flush, of which its table's log then says nothing,
// and in the middle of that lies the snapshot under which another table is copied.
// For that one the stream goes back to the snapshot's point: the row's end comes
// again, and not its beginning.
func TestARowThatCameAndWentAroundASnapshot(t *testing.T) {
	for _, dies := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, keyed("t"))
			r.insert("t", 0, 5)
			r.catchUp()
			_, err := r.world.CreateTable(keyed("u"))
			require.NoError(t, err)
			r.insert("u", 0, 5)
			around := &aroundSnapshots{Source: r.world.Source(), r: r}
			r.options = func(o *lakehouse.Options) { o.Source, o.Freshness = around, 2*time.Second }
			stop := r.start()
			time.Sleep(4 * time.Second)
			if dies { // after the flush, and before the stream has gone back
				require.NoError(t, stop())
				r.options = func(*lakehouse.Options) {}
				r.catchUp()
			} else {
				time.Sleep(time.Minute)
				require.NoError(t, stop())
			}
			require.True(t, around.taken)
			require.Empty(t, r.stopped())
			require.Empty(t, r.world.Violations())
			r.same("t", "u")
		})
	}
}

// aroundSnapshots has a row of t come just before a snapshot and go just after it,
// and the snapshot's reading take its time.
type aroundSnapshots struct {
	*cdctest.Source
	r     *rig
	taken bool
}

func (s *aroundSnapshots) Snapshot(ctx context.Context) (cdc.Snapshot, error) {
	s.r.insert("t", 99, 100)
	snap, err := s.Source.Snapshot(ctx)
	s.r.tx(func(tx *cdctest.Tx) error { return tx.Delete("t", cdctest.Row{"id": 99}) })
	s.taken = true
	return &snapshotThatTakesLong{snap}, err
}

type snapshotThatTakesLong struct{ cdc.Snapshot }

func (s *snapshotThatTakesLong) Read(ctx context.Context, rel *cdc.Relation, r cdc.Range, emit func(*cdc.Batch) error) error {
	time.Sleep(5 * time.Second)
	return s.Snapshot.Read(ctx, rel, r, emit)
}
