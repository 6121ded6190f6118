package lakehouse_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/lakehouse"
)

var simActions = []lakehouse.TableAction{
	lakehouse.ActionPause, lakehouse.ActionPause, lakehouse.ActionResume, lakehouse.ActionResume, lakehouse.ActionResume,
	lakehouse.ActionResync, lakehouse.ActionResync, lakehouse.ActionDrop,
}

// operated says whether an operator works on the tables of a history: of a quarter.
func operated(seed uint64) bool { return rand.New(rand.NewPCG(seed, 12)).IntN(4) == 0 }

// operates has an operator pause, resume, resync and drop tables while the engine
// runs, at any moment, in some histories, and take up what has stopped for a mask.
func (s *simulation) operates(ctx context.Context, e *lakehouse.Engine, last bool) (stop func()) {
	if !s.operated && s.masks == nil || last && s.masks == nil {
		return func() {}
	}
	rng := rand.New(rand.NewPCG(s.fate.Uint64(), 6))
	return nowAndThen(ctx, moments(rng, 2000), func(ctx context.Context) {
		if s.operated && !last {
			s.acted(e.Act, ctx, simTables[rng.IntN(len(simTables))], simActions[rng.IntN(len(simActions))])
		}
		for _, table := range s.inPhase(lakehouse.PhaseStopped) {
			if s.isHard(table) {
				continue // which takes another configuration
			}
			s.acted(e.Act, ctx, table, lakehouse.ActionResync)
		}
	})
}

// nowAndThen does something after each pause, until ctx ends or it is stopped.
func nowAndThen(ctx context.Context, pause func() time.Duration, do func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-time.After(pause()):
			case <-ctx.Done():
				return
			}
			do(ctx)
		}
	})
	return func() { cancel(); wg.Wait() }
}

// moments are pauses of up to most milliseconds, and now and then much longer.
func moments(rng *rand.Rand, most int) func() time.Duration {
	return func() time.Duration {
		pause := time.Duration(1+rng.IntN(most)) * time.Millisecond
		if rng.IntN(4) == 0 {
			pause *= 20
		}
		return pause
	}
}

func (s *simulation) isHard(table string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hard[table]
}

// acted asks for an action, which may be refused.
func (s *simulation) acted(act func(context.Context, string, lakehouse.TableAction) (lakehouse.TableState, error), ctx context.Context, table string, action lakehouse.TableAction) {
	switch action {
	case lakehouse.ActionResync:
		s.permit(table)
		s.permitRefused(table)
	case lakehouse.ActionDrop:
		s.mu.Lock()
		s.dropped[table] = true
		s.mu.Unlock()
	}
	_, err := act(ctx, "public."+table, action)
	if err == nil {
		s.mu.Lock()
		s.actions++
		s.mu.Unlock()
		return
	}
	var refused *lakehouse.Error
	if ctx.Err() == nil && !s.isCrashed() && (!errors.As(err, &refused) || !strings.HasPrefix(refused.Op, "to "+string(action))) {
		s.t.Errorf("%s of %s: %v", action, table, err)
	}
}

// inPhase are the tables that are recorded to be in a phase.
func (s *simulation) inPhase(phases ...lakehouse.TablePhase) (tables []string) {
	st, err := lakehouse.ReadState(context.Background(), s.store, "default")
	if err != nil || st.Phase != lakehouse.PipelineReady {
		return nil
	}
	for _, table := range simTables {
		for i := range st.Tables {
			for _, p := range phases {
				if st.Tables[i].Table == table && st.Tables[i].Phase == p {
					tables = append(tables, table)
				}
			}
		}
	}
	return tables
}

// actOffline does an action while no engine runs.
func (s *simulation) actOffline(table string, action lakehouse.TableAction) {
	s.acted(func(ctx context.Context, table string, action lakehouse.TableAction) (lakehouse.TableState, error) {
		return lakehouse.ActOnTable(ctx, s.store, "default", table, action)
	}, context.Background(), table, action)
}

// betweenEngines has a table copied again, now and then, or does whatever else an
// operator does.
func (s *simulation) betweenEngines() {
	if s.fate.IntN(3) != 0 {
		return
	}
	ctx := context.Background()
	if st, err := lakehouse.ReadState(ctx, s.store, "default"); err != nil || st.Phase != lakehouse.PipelineReady {
		return
	}
	table, action := simTables[s.fate.IntN(len(simTables))], lakehouse.ActionResync
	if s.operated {
		action = simActions[s.fate.IntN(len(simActions))]
	}
	s.actOffline(table, action)
}

// restore has every table go on that does not, and says whether there was one.
func (s *simulation) restore() (any bool) {
	for _, table := range s.inPhase(lakehouse.PhasePaused) {
		s.actOffline(table, lakehouse.ActionResume)
		any = true
	}
	for _, table := range s.inPhase(lakehouse.PhaseDropped, lakehouse.PhaseStopped) {
		require.True(s.t, s.operated || s.masks != nil, "%s has stopped", table)
		s.actOffline(table, lakehouse.ActionResync)
		any = true
	}
	return any
}
