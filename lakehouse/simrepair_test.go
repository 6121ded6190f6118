package lakehouse_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
)

// TestSimulationRepairs damages the mirrors of random histories, which keep them
// in any way, behind the engine's back. They are repaired, one while it is live,
// or all after a lost slot, by engines that crash at random points, and followed
// for a while: no version but the damaged ones differs from the source.
func TestSimulationRepairs(t *testing.T) {
	from, to := simSeeds(t, 7000, 7040, 7008)
	keys, crashes, kinds := int64(0), 0, map[string]int{}
	for seed := from; seed < to && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) {
			s := newSimulation(t, seed)
			s.ddl, s.repairing, s.operated, s.tended, s.masks = false, false, false, false, nil
			s.kept = simKept(seed, nil)
			defer func() {
				if t.Failed() {
					t.Logf("seed %d, crashed at %v", seed, s.crashed)
				}
			}()
			found := s.repairDamage()
			for table, n := range found {
				keys += n
				o := s.kept[table]
				for kind, is := range map[string]bool{
					"partitioned": len(o.PartitionBy) > 0, "soft": o.Delete == lakehouse.DeleteSoft, "ignore": o.Delete == lakehouse.DeleteIgnore,
					"rewrite": o.Deletes == lakehouse.DeletesRewrite, "metadata": len(o.Metadata) > 0,
					"feed": o.ChangeFeed == lakehouse.FeedOn,
				} {
					if is && n > 0 {
						kinds[kind]++
					}
				}
			}
			crashes += len(s.crashed)
		})
	}
	t.Logf("%d histories: %d keys mended in tables of these kinds: %v; %d crashes", to-from, keys, kinds, crashes)
	require.Len(t, kinds, 6)
	require.Positive(t, crashes)
}

// repairDamage plays a history, and gives how many keys were mended, by table.
func (s *simulation) repairDamage() map[string]int64 {
	for range 40 {
		s.commit()
	}
	kept := s.kept
	s.kept = maps.Clone(kept)
	for table, o := range s.kept { // what damages a table would have to tell its feed of it
		o.ChangeFeed = ""
		s.kept[table] = o
	}
	s.engine(true)
	rng := rand.New(rand.NewPCG(s.seed, 11))
	s.damaged = map[string]int{}
	lost := s.seed%3 == 0
	for _, table := range simTables {
		switch {
		case table == "events": // it is only appended to, and copied
		case lost && len(s.kept[table].Modes) > 1 && s.kept[table].Delete != "": // it is copied, and what is doubled is carried over
		default:
			s.damage(rng, table)
		}
	}
	s.kept, s.crash = kept, crashRandomly(s.seed)
	end := s.crashing()
	found := map[string]int64{}
	if lost {
		s.repairLost(found)
	} else {
		s.repairLive(found)
	}
	end()
	for range 4 {
		for range 10 {
			s.commit()
		}
		s.engine(true)
	}
	s.verify()
	return found
}

// crashedEngine runs an engine, and gives whether it crashed.
func (s *simulation) crashedEngine(last bool) bool {
	s.engine(last)
	if !s.isCrashed() {
		return false
	}
	for s.isCrashed() {
		s.store = s.store.Survivor(s.fate)
	}
	return true
}

func (s *simulation) repairLive(found map[string]int64) {
	todo := slices.Sorted(maps.Keys(s.damaged))
	s.meanwhile = func(ctx context.Context, e *lakehouse.Engine) {
		for len(todo) > 0 && ctx.Err() == nil {
			s.world.Advance(100)
			done, err := e.Repair(ctx, "public."+todo[0], lakehouse.RepairOptions{})
			if err == nil && !s.isCrashed() {
				if s.damaged[todo[0]] > 0 {
					found[todo[0]] += done.Keys
				}
				todo = todo[1:]
				continue
			}
			if s.isCrashed() {
				return
			}
			s.t.Logf("%s: %v", todo[0], err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
	for range 100 {
		if s.crashedEngine(false); len(todo) == 0 {
			break
		}
	}
	require.Empty(s.t, todo, "not repaired")
	s.meanwhile = nil
}

func (s *simulation) repairLost(found map[string]int64) {
	s.world.RemoveSlot()
	for range 5 {
		s.commit()
	}
	for adopted := false; !adopted; {
		src := s.world.Source()
		plan, err := lakehouse.PlanAdoption(context.Background(), lakehouse.AdoptOptions{
			Source: src, Repair: true, Engine: lakehouse.Options{Lake: s.store, Slot: "lakeload", Publication: "lakeload"},
		})
		if err == nil {
			err = plan.Do(context.Background())
		}
		_ = src.Close()
		if adopted = err == nil; !adopted {
			require.True(s.t, s.isCrashed(), "%v", err)
			s.store = s.store.Survivor(s.fate)
			adopted = len(must(lakehouse.ReadState(context.Background(), s.store, "default")).Adoptions) > 0
		}
	}
	s.repairedAs = func(e lakehouse.TableRepaired) { found[e.Table[len("public."):]] += e.Keys }
	for s.crashedEngine(true) {
	}
	s.repairedAs = nil
}

// damage alters, removes, doubles, moves and invents rows of a mirror, and
// deletes some in the lake alone, or does not any more.
func (s *simulation) damage(rng *rand.Rand, table string) {
	ctx := context.Background()
	loc := s.location(table)
	snap := must(tablefmt.Load(ctx, loc))
	var parts []map[string]*string
	for add := range snap.Files() {
		parts = append(parts, add.PartitionValues)
	}
	if len(parts) == 0 {
		return
	}
	column := map[string]string{"orders": "total", "pairs": "at", "audit": "body", "bag": "d"}[table]
	number := map[string]string{"orders": "id", "pairs": "b", "audit": "id", "bag": "n"}[table]
	o := s.kept[table]
	next := 5000
	var app string
	var at int64
	for txn := range snap.Txns() {
		if txn.Version >= at {
			app, at = txn.AppID, txn.Version
		}
	}
	rearrange(s.t, loc, func(row lain) []lain {
		if rng.IntN(5) > 0 {
			return []lain{row}
		}
		gone := o.Delete == lakehouse.DeleteSoft && row.is("_deleted") == "true"
		switch n := rng.IntN(6); {
		case gone || n == 0 && o.Delete == lakehouse.DeleteSoft:
			if gone {
				return []lain{row.with("_deleted", false).with("_deleted_at", nil)}
			}
			return []lain{row.with("_deleted", true).with("_deleted_at", time.Now())}
		case n == 0:
			return nil
		case o.Delete == lakehouse.DeleteIgnore && n <= 3:
			return nil // a second row of a key that the source does not have is one more that is kept
		case n == 1:
			return []lain{row, {row.rec, parts[rng.IntN(len(parts))]}}
		case n == 2:
			return []lain{{row.rec, parts[rng.IntN(len(parts))]}}
		case n == 3:
			next++
			return []lain{row, row.with(number, next)}
		}
		return []lain{row.with(column, nil)}
	}, func(tx *tablefmt.Transaction) { tx.SetTxn(app, at) })
	if now := must(tablefmt.Load(ctx, loc)); now.Version() > snap.Version() {
		s.damaged[table] = int(now.Version())
	}
}
