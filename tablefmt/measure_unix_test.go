//go:build unix

package tablefmt

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// cpu is the processor time that this process has used.
func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestMeasureALog is for measuring by hand, LAKELOAD_COMMITS=100000: what commits
// of a mirror under a steady load cost, of which each adds a file and marks rows
// of three others, while what lies behind them is compacted.
func TestMeasureALog(t *testing.T) {
	commits, _ := strconv.Atoi(os.Getenv("LAKELOAD_COMMITS"))
	if commits == 0 {
		t.Skip("set LAKELOAD_COMMITS to the length of the log")
	}
	ctx, loc := t.Context(), memoryTable()
	var calls atomic.Int64
	loc.Log = objstore.Observe(objstore.Sub(loc.Data, "_delta_log"), func(string, error) { calls.Add(1) })
	p := MirrorProtocol(ProtocolOptions{})
	tx := Begin(loc, nil)
	tx.SetProtocol(p)
	tx.SetMetadata(&Metadata{SchemaString: idSchema.JSON(), Configuration: map[string]string{PropDeletionVectors: "true"}})
	s := must(tx.Commit(ctx))
	var live []string
	var used time.Duration
	var stall time.Duration
	for n := 1; n <= commits; n++ {
		if n == 100 || n%(commits/5) == 0 {
			used, stall = cpu(t), 0
			calls.Store(0)
		}
		tx := Begin(loc, s)
		now := time.Now().UnixMilli()
		name := fmt.Sprintf("part-00000-%s.c000.zstd.parquet", uuid.NewString())
		for i := range min(3, len(live)) {
			f, _ := s.File(live[(n*7+i*31)%len(live)])
			with := must(f.WithVector(dv.Inline(dv.New(uint64(n)))))
			if f.DeletionVector == nil || f.DeletionVector.UniqueID() != with.DeletionVector.UniqueID() {
				if slices.ContainsFunc(tx.adds, func(a AddFile) bool { return a.Path == f.Path }) {
					continue
				}
				tx.Remove(*f.Remove(now, true))
				tx.Add(with)
			}
		}
		tx.Add(fakeAdd(name, 100))
		tx.SetTxn("app", int64(n))
		s = must(tx.Commit(ctx))
		if live = append(live, name); len(live) > 1000 { // an OPTIMIZE
			tx := Begin(loc, s)
			for _, path := range live[:900] {
				f, _ := s.File(path)
				tx.Remove(*f.Remove(now, false))
			}
			s = must(tx.Commit(ctx))
			live = slices.Clone(live[900:])
		}
		begun := time.Now()
		must(MaybeCheckpoint(ctx, s, CheckpointPolicy{}))
		must(CleanLog(ctx, s, CleanOptions{}))
		stall = max(stall, time.Since(begun))
		if n == 1100 || n > 2000 && n%(commits/5) == 1000 || n == commits {
			per := 1000
			if n == commits {
				per = 1
			}
			t.Logf("to commit %d: CPU %v a commit, %.1f calls a commit, the longest checkpoint took %v, the last has %d bytes",
				n, (cpu(t)-used)/time.Duration(per), float64(calls.Load())/float64(per), stall, s.CheckpointLoad().CheckpointBytes)
		}
	}
}
