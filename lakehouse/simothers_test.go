package lakehouse_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/lakeload/lakeload/compaction"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// tended says whether somebody else tends the tables of a history: of a quarter.
func tended(seed uint64) bool { return rand.New(rand.NewPCG(seed, 13)).IntN(4) == 0 }

// othersTend has another program say how mirrors are kept, and pack them, at any moment
// while the engine runs. No table may stop for it, and no row may differ.
func (s *simulation) othersTend(ctx context.Context, last bool) (stop func()) {
	if !s.tended || last {
		return func() {}
	}
	rng := rand.New(rand.NewPCG(s.fate.Uint64(), 14))
	return nowAndThen(ctx, moments(rng, 4000), func(ctx context.Context) { s.tend(ctx, rng) })
}

// tend does one thing to one mirror.
func (s *simulation) tend(ctx context.Context, rng *rand.Rand) {
	table := simTables[rng.IntN(len(simTables))]
	what := rng.IntN(6)
	snap, err := tablefmt.Load(ctx, s.location(table))
	switch {
	case errors.Is(err, tablefmt.ErrNoTable):
		return
	case err != nil:
	case what < 2 && len(snap.PartitionColumns()) == 0:
		_, err = compaction.Pack(ctx, snap, compaction.PlanPack(snap.Files(), compaction.PackOptions{}))
	default:
		m := snap.Metadata().Clone()
		n := rng.IntN(4)
		switch {
		case what == 2:
			m.Configuration["team"] = fmt.Sprint(n)
		case what == 3:
			m.Description = fmt.Sprint("rows ", n)
		case what == 4 && s.kept[table].Deletes == "":
			m.Configuration[tablefmt.PropDeletionVectors] = fmt.Sprint(n%2 == 0)
		default:
			m.Configuration[tablefmt.PropStatsNumColumns] = fmt.Sprint(n)
		}
		x := tablefmt.Begin(s.location(table), snap)
		x.SetMetadata(m)
		x.SetInfo("SET TBLPROPERTIES", nil)
		_, err = x.Commit(ctx)
	}
	s.mu.Lock()
	s.tendings++
	s.mu.Unlock()
	if err != nil && ctx.Err() == nil && !s.isCrashed() && !errors.Is(err, tablefmt.ErrConflict) && !errors.Is(err, objstore.ErrCrashed) {
		s.t.Errorf("tending %s (%d): %v", table, what, err)
	}
}

// tendOffline does the same while no engine runs.
func (s *simulation) tendOffline() {
	if !s.tended || s.fate.IntN(2) == 0 {
		return
	}
	if st, err := lakehouse.ReadState(context.Background(), s.store, "default"); err != nil || st.Phase != lakehouse.PipelineReady {
		return
	}
	s.tend(context.Background(), s.fate)
}
