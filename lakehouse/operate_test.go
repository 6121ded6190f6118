package lakehouse_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/cdc/cdctest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/lakehouse/typemap"
)

// act has the engine that runs do an action.
func (r *rig) act(table string, action lakehouse.TableAction) lakehouse.TableState {
	r.t.Helper()
	is, err := r.engineNow().Act(r.t.Context(), "public."+table, action)
	require.NoError(r.t, err)
	require.True(r.t, r.recorded(&is), "it is recorded when it is answered")
	return is
}

// recorded reports whether a state of the lake, the last one or one before, has a
// table as it is told to be: what an action begins may have been done since.
func (r *rig) recorded(is *lakehouse.TableState) bool {
	r.t.Helper()
	for info, err := range r.store.List(r.t.Context(), "_lakeload/default/state/", "") {
		require.NoError(r.t, err)
		text, err := r.store.Get(r.t.Context(), info.Path)
		require.NoError(r.t, err)
		var s lakehouse.State
		require.NoError(r.t, json.Unmarshal(text, &s), info.Path)
		for i := range s.Tables {
			if t := &s.Tables[i]; t.OID == is.OID && t.Phase == is.Phase && t.Generation == is.Generation && t.Since.Equal(is.Since) {
				return true
			}
		}
	}
	return false
}

// acknowledges requires that the source comes to let go of what was before a
// position: it is told now and then.
func (r *rig) acknowledges(at cdc.LSN) {
	r.t.Helper()
	for range 20 {
		if r.acknowledged() > at {
			return
		}
		r.insertNext("u")
		settle()
	}
	r.t.Fatalf("%s is acknowledged, and nothing beyond %s", r.acknowledged(), at)
}

func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 10)
		r.insert("u", 0, 10)
		stop := r.start()
		is := r.act("t", lakehouse.ActionPause)
		require.Equal(t, lakehouse.PhasePaused, is.Phase)
		before := r.rows(r.mirror("t"))
		r.update("t", 3, "while it is paused")
		r.update("u", 3, "while the other one is")
		r.insert("t", 10, 20)
		settle()
		r.same("u")
		require.Equal(t, before, r.rows(r.mirror("t")), "what it shows stays")
		require.LessOrEqual(t, r.acknowledged(), is.StoppedAt, "the source keeps what comes for it")
		require.Equal(t, []string{"public.t"}, r.lastEpoch().Incomplete)
		require.NotContains(t, r.lastEpoch().Tables, "public.t")
		require.Equal(t, is, r.act("t", lakehouse.ActionPause), "it is so already")

		// Nor does a restart let it go on.
		require.NoError(t, stop())
		stop = r.start()
		r.update("t", 4, "after a restart")
		settle()
		require.Equal(t, before, r.rows(r.mirror("t")))
		require.LessOrEqual(t, r.acknowledged(), is.StoppedAt)

		r.copied()
		r.act("t", lakehouse.ActionResume)
		require.Equal(t, is.StoppedAt, r.act("t", lakehouse.ActionPause).StoppedAt, "the stream has not gone back for it meanwhile")
		require.Equal(t, lakehouse.PhaseLive, r.act("t", lakehouse.ActionResume).Phase)
		settle()
		r.same("t", "u")
		require.Empty(t, r.copied(), "nothing was copied again")
		require.Empty(t, r.lastEpoch().Incomplete)
		require.Zero(t, r.state("t").StoppedAt, "it has caught up")
		r.acknowledges(is.StoppedAt)

		// Both without an engine.
		require.NoError(t, stop())
		_, err := lakehouse.ActOnTable(t.Context(), r.store, "default", "public.t", lakehouse.ActionPause)
		require.NoError(t, err)
		shown := r.rows(r.mirror("t"))
		stop = r.start()
		r.update("t", 5, "while it is paused again")
		settle()
		require.Equal(t, shown, r.rows(r.mirror("t")))
		require.NoError(t, stop())
		_, err = lakehouse.ActOnTable(t.Context(), r.store, "default", "public.t", lakehouse.ActionResume)
		require.NoError(t, err)
		r.catchUp()
		r.same("t", "u")
		require.Empty(t, r.copied())
		require.Empty(t, r.world.Violations())
	})
}

// Where everything was dropped, what is to be done is not to select tables: they are.
func TestNothingIsLeftToFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.catchUp()
		ends := func(text, remedy string) {
			err := r.engine(t.Context(), true)
			require.ErrorContains(t, err, text)
			var hint interface{ Hint() string }
			require.ErrorAs(t, err, &hint)
			require.Contains(t, hint.Hint(), remedy)
		}
		act := func(table string, action lakehouse.TableAction) {
			_, err := lakehouse.ActOnTable(t.Context(), r.store, "default", "public."+table, action)
			require.NoError(t, err)
		}
		act("t", lakehouse.ActionDrop)
		act("u", lakehouse.ActionDrop)
		ends("2 were dropped by hand", "resync TABLE")
		act("t", lakehouse.ActionResync)
		r.catchUp()
		r.same("t")
	})
}

// A pause comes within a transaction of which a part is staged already.
func TestPauseWithinATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.options = func(o *lakehouse.Options) { o.FlushBytes = 1 }
		r.insert("t", 0, 500)
		r.insert("u", 0, 500)
		stop := r.start()
		r.tx(func(tx *cdctest.Tx) error {
			for id := range 500 {
				for _, table := range []string{"t", "u"} {
					if err := tx.Update(table, cdctest.Row{"id": id}, cdctest.Row{"v": "changed"}); err != nil {
						return err
					}
				}
			}
			return nil
		})
		r.act("t", lakehouse.ActionPause)
		settle()
		r.same("u")
		rows := r.rows(r.mirror("t"))
		require.Len(t, rows, 500)
		r.act("t", lakehouse.ActionResume)
		settle()
		r.same("t", "u")
		require.NoError(t, stop())
		require.Empty(t, r.stopped())
		require.Empty(t, r.world.Violations())
	})
}

func TestResyncAndDropOfARunningEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 10)
		r.insert("u", 0, 10)
		stop := r.start()
		r.copied()
		r.world.Advance(100)
		require.Equal(t, lakehouse.PhaseCopying, r.act("t", lakehouse.ActionResync).Phase)
		r.update("t", 3, "meanwhile")
		settle()
		settle()
		require.Equal(t, []string{"public.t"}, r.copied())
		r.same("t", "u")

		require.Equal(t, lakehouse.PhaseDropped, r.act("t", lakehouse.ActionDrop).Phase)
		before := r.rows(r.mirror("t"))
		require.NotContains(t, published(t, r), "t", "its changes are not sent any more")
		r.update("t", 4, "nobody looks")
		r.update("u", 4, "all look")
		settle()
		require.Equal(t, before, r.rows(r.mirror("t")))
		r.same("u")
		require.Empty(t, r.lastEpoch().Incomplete, "nothing is missing: it is not followed")
		r.acknowledges(r.lastEpoch().LSN)

		require.NoError(t, stop())
		stop = r.start()
		settle()
		require.Equal(t, lakehouse.PhaseDropped, r.state("t").Phase, "it is not taken in again by itself")
		require.Equal(t, before, r.rows(r.mirror("t")))

		r.copied()
		require.Equal(t, lakehouse.PhaseCopying, r.act("t", lakehouse.ActionResync).Phase)
		settle()
		settle()
		require.Equal(t, []string{"public.t"}, r.copied())
		r.update("t", 5, "again")
		settle()
		r.same("t", "u")
		require.NoError(t, stop())

		// And all of it without an engine.
		_, err := lakehouse.ActOnTable(t.Context(), r.store, "default", "public.t", lakehouse.ActionDrop)
		require.NoError(t, err)
		r.update("u", 6, "later")
		r.catchUp()
		require.NotContains(t, published(t, r), "t")
		r.world.Advance(100)
		r.resync("t")
		r.update("t", 7, "later")
		r.catchUp()
		r.same("t", "u")
		require.Empty(t, r.world.Violations())
	})
}

// published are the tables that the stream carries.
func published(t *testing.T, r *rig) (names []string) {
	t.Helper()
	src := r.world.Source()
	members, err := src.Published(t.Context())
	require.NoError(t, err)
	tables, err := src.Tables(t.Context())
	require.NoError(t, err)
	for _, rel := range tables {
		if members[rel.OID] != 0 {
			names = append(names, rel.Name)
		}
	}
	require.NoError(t, src.Close())
	return names
}

func TestActionsOnATableThatIsBeingCopied(t *testing.T) {
	for _, action := range []lakehouse.TableAction{lakehouse.ActionPause, lakehouse.ActionResync, lakehouse.ActionDrop} {
		for _, ranges := range []bool{true, false} {
			name := string(action) + " under a snapshot"
			if ranges {
				name = string(action) + " by ranges"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, keyless("other"))
					begun := make(chan struct{}, 100)
					resume := make(chan struct{})
					if ranges {
						var s *staged
						r, s = newRangeRig(t)
						s.afterView = func(n int32) {
							begun <- struct{}{}
							<-resume
						}
					} else {
						r.source = func() cdc.Source { return &slowSnapshots{Source: r.world.Source(), begun: begun, resume: resume} }
					}
					r.insert("other", 0, 10)
					if !ranges {
						close(resume) // the first copies are let through
						stop := r.start()
						require.NoError(t, stop())
						resume = make(chan struct{})
						for len(begun) > 0 {
							<-begun
						}
						_, err := r.world.CreateTable(keyed("t"))
						require.NoError(t, err)
						r.insert("t", 0, 40)
					}
					stop := r.start()
					<-begun
					is := r.act("t", action)
					close(resume)
					r.update("t", 3, "meanwhile")
					settle()
					if action != lakehouse.ActionResync {
						time.Sleep(time.Minute)
						require.Equal(t, is, r.state("t"), "its copy is not published")
						next := lakehouse.ActionResume
						if action == lakehouse.ActionDrop {
							next = lakehouse.ActionResync
						}
						require.Equal(t, lakehouse.PhaseCopying, r.act("t", next).Phase)
					}
					time.Sleep(time.Minute)
					r.update("t", 4, "at last")
					settle()
					require.Equal(t, lakehouse.PhaseLive, r.state("t").Phase)
					r.same("t", "other")
					require.NoError(t, stop())
					require.Empty(t, r.stopped())
					require.Empty(t, r.world.Violations())
				})
			})
		}
	}
}

func TestResumeOfATableThatHasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"), keyed("u"))
		r.insert("t", 0, 10)
		stop := r.start()
		r.policy.Add = typemap.Stop // of the engines that are opened next
		require.NoError(t, stop())
		stop = r.start()
		r.breakShape("t", 100)
		settle()
		require.Equal(t, lakehouse.PhaseStopped, r.state("t").Phase)
		// It stops again, as what stopped it is still there.
		r.stopped()
		r.act("t", lakehouse.ActionResume)
		settle()
		require.Equal(t, []string{"public.t"}, r.stopped())
		require.Equal(t, lakehouse.PhaseStopped, r.state("t").Phase)
		require.NoError(t, stop())
		require.Empty(t, r.world.Violations())
	})
}

func TestResyncOfATableThatWasOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("u"))
		r.options = func(o *lakehouse.Options) { o.OnNewTable = lakehouse.NewTableAsk }
		r.insert("u", 0, 10)
		stop := r.start()
		_, err := r.world.CreateTable(keyed("t"))
		require.NoError(t, err)
		r.insert("t", 0, 10)
		time.Sleep(time.Minute)
		require.Equal(t, lakehouse.PhaseOffered, r.state("t").Phase)
		r.act("t", lakehouse.ActionResync)
		time.Sleep(time.Minute)
		r.update("t", 3, "followed")
		settle()
		r.same("t", "u")
		require.NoError(t, stop())
	})
}

func TestActionsThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keyed("t"))
		r.insert("t", 0, 10)
		stop := r.start()
		refused := func(table string, action lakehouse.TableAction, text, remedy string) {
			t.Helper()
			before := r.state("t")
			_, err := r.engineNow().Act(t.Context(), table, action)
			require.ErrorContains(t, err, text)
			var e *lakehouse.Error
			require.ErrorAs(t, err, &e)
			require.Contains(t, e.Hint(), remedy)
			require.Equal(t, before, r.state("t"))
		}
		refused("public.T", lakehouse.ActionPause, "feeds no such table", "did you mean public.t?")
		refused("t", lakehouse.ActionDrop, "feeds no such table", "did you mean public.t?")
		refused("public.t", "explode", "no such action", "use pause")
		r.act("t", lakehouse.ActionDrop)
		refused("public.t", lakehouse.ActionPause, "dropped", "resync")
		refused("public.t", lakehouse.ActionResume, "cannot go on", "resync")
		require.NoError(t, stop())
	})
}

// slowSnapshots is a source that reads tables under snapshots alone, which tell
// when a table is read and wait until they are let through.
type slowSnapshots struct {
	cdc.Source
	begun, resume chan struct{}
}

func (s *slowSnapshots) CreateSlot(ctx context.Context) (cdc.Snapshot, error) {
	snap, err := s.Source.CreateSlot(ctx)
	return &slowSnapshot{snap, s}, err
}

func (s *slowSnapshots) Snapshot(ctx context.Context) (cdc.Snapshot, error) {
	snap, err := s.Source.Snapshot(ctx)
	return &slowSnapshot{snap, s}, err
}

type slowSnapshot struct {
	cdc.Snapshot
	s *slowSnapshots
}

func (s *slowSnapshot) Read(ctx context.Context, rel *cdc.Relation, r cdc.Range, emit func(*cdc.Batch) error) error {
	s.s.begun <- struct{}{}
	select {
	case <-s.s.resume:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Snapshot.Read(ctx, rel, r, emit)
}

// A table that was copied just now is recorded to stand where its copy did until
// the pipeline has passed that. A crash before may leave the record behind what
// the table shows and the source was told: whatever stops it then goes by what it
// shows.
func TestStoppedTableStandsWhereItShows(t *testing.T) {
	for _, how := range []string{"paused", "refused"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, people(), keyed("other"))
				r.masked(maskSalt, personMasks...)
				r.person("p", 0)
				r.catchUp()
				copied := r.state("p").CopyPoint
				r.person("p", 1)
				r.insert("other", 0, 3)
				r.catchUp()
				require.Greater(t, r.acknowledged(), copied)
				require.Zero(t, r.state("p").StoppedAt)
				st, err := lakehouse.ReadState(t.Context(), r.store, "default")
				require.NoError(t, err)
				for i := range st.Tables {
					if st.Tables[i].Table == "p" {
						st.Tables[i].StoppedAt = copied
					}
				}
				data, err := json.Marshal(st)
				require.NoError(t, err)
				newest := ""
				for info, err := range r.store.List(t.Context(), "_lakeload/default/state/", "") {
					require.NoError(t, err)
					newest = info.Path
				}
				require.NoError(t, r.store.Put(t.Context(), newest, data))
				if how == "paused" {
					_, err := lakehouse.ActOnTable(t.Context(), r.store, "default", "public.p", lakehouse.ActionPause)
					require.NoError(t, err)
				} else {
					r.options = func(*lakehouse.Options) {}
				}
				r.person("p", 2)
				r.insert("other", 3, 6)
				r.catchUp()
				r.same("other")
				require.Greater(t, r.state("p").StoppedAt, copied)
				require.LessOrEqual(t, r.acknowledged(), r.state("p").StoppedAt)
				if how == "paused" {
					_, err := lakehouse.ActOnTable(t.Context(), r.store, "default", "public.p", lakehouse.ActionResume)
					require.NoError(t, err)
				}
				r.masked(maskSalt, personMasks...)
				r.catchUp()
				require.Len(t, r.rows(r.mirror("p")), 3)
			})
		})
	}
}
