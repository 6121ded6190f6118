package keyindex

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// crashing runs a workload on an index, and at each step on the disk that is
// taken under the index's lock opens a copy of the folder, as it would be
// found after the process was killed there.
type crashing struct {
	t     *testing.T
	opt   Options
	steps map[string]int

	mu       sync.Mutex
	states   map[Stamp]map[uint64]Loc // all that were committed or are being committed
	was, now Stamp                    // before and after the commit under way
}

func newCrashing(t *testing.T, memory int64, sync bool) *crashing {
	c := &crashing{t: t, steps: map[string]int{}, states: map[Stamp]map[uint64]Loc{{}: {}}}
	c.opt = Options{Dir: t.TempDir(), Memory: memory, Partitions: 2, Sync: sync, step: c.step}
	return c
}

func (c *crashing) step(what string) {
	if what == "run" {
		return // not under the lock
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps[what]++
	if n := c.steps[what]; n > 40 && n%7 != 0 {
		return
	}
	copied := copyDir(c.t, c.opt.Dir)
	defer os.RemoveAll(copied)
	i, err := OpenAny(context.Background(), Options{Dir: copied, Memory: c.opt.Memory})
	if !c.now.isSet() && errors.Is(err, ErrUnfit) {
		return // killed before Create was through
	}
	if err != nil {
		c.t.Errorf("killed at %q: %v", what, err)
		return
	}
	defer i.Close()
	if at := i.Stamp(); at != c.was && at != c.now {
		c.t.Errorf("killed at %q between %v and %v: the index is at %v", what, c.was, c.now, at)
		return
	}
	if err := sameState(i, c.states[i.Stamp()]); err != nil {
		c.t.Errorf("killed at %q, found %v: %v", what, i.Stamp(), err)
	}
}

func (s Stamp) isSet() bool { return s != Stamp{} }

func copyDir(t testing.TB, dir string) string {
	copied, err := os.MkdirTemp("", "keyindex")
	require.NoError(t, err)
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range es {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // an unneeded run, removed meanwhile
		}
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(copied, e.Name()), b, 0o600))
	}
	return copied
}

func sameState(ix Index, want map[uint64]Loc) error {
	hs, ls := make([]Hash, 0, len(want)), make([]Loc, 0, len(want))
	for k, l := range want {
		hs, ls = append(hs, benchHash(k)), append(ls, l)
	}
	got := make([]Loc, len(hs))
	if err := ix.Lookup(context.Background(), hs, got); err != nil {
		return err
	}
	if !slices.Equal(ls, got) {
		return errors.New("a wrong answer")
	}
	for _, l := range got {
		if l.File != NoFile && ix.Path(l.File) != fmt.Sprint("file-", l.File) {
			return fmt.Errorf("file %d is %q", l.File, ix.Path(l.File))
		}
	}
	return nil
}

// commit commits n keys from a first one on, every ninth as gone.
func (c *crashing) commit(ix Index, from, n uint64, row uint32) {
	ctx := context.Background()
	c.mu.Lock()
	next := Stamp{Table: "t", Version: c.now.Version + 1, Commit: "c"}
	state := maps.Clone(c.states[c.now])
	c.mu.Unlock()
	ch := ix.Change()
	file := ix.FileID(fmt.Sprint("file-", len(ix.(*diskIndex).files.ids)+1))
	var es []Entry
	for k := from; k < from+n; k++ {
		l := Loc{file, row}
		if k%9 == 0 {
			l = Loc{}
		}
		state[k] = l
		es = append(es, Entry{benchHash(k), l})
	}
	c.mu.Lock()
	c.was, c.now = c.now, next
	c.states = map[Stamp]map[uint64]Loc{c.was: c.states[c.was], next: state}
	c.mu.Unlock()
	require.NoError(c.t, ch.Put(ctx, es))
	require.NoError(c.t, ch.Commit(ctx, next))
	c.mu.Lock()
	c.was = next
	c.mu.Unlock()
}

func TestKilledAtEachStep(t *testing.T) {
	for _, o := range []struct {
		name   string
		memory int64
		sync   bool
	}{{"runs", 1, false}, {"runs, synced", 1, true}, {"leaving the memory", 300 << 10, false}, {"memory", 4 << 20, false}} {
		t.Run(o.name, func(t *testing.T) {
			c := newCrashing(t, o.memory, o.sync)
			ix, err := Create(context.Background(), c.opt)
			require.NoError(t, err)
			for n := range uint64(60) {
				c.commit(ix, n*37%1500, 60+n%5*40, uint32(n))
				if n%15 == 14 {
					c.commit(ix, n*10, 3000, uint32(n)) // spills
				}
				if n%20 == 19 {
					require.NoError(t, ix.Close())
					ix, err = Open(context.Background(), c.opt, c.now)
					require.NoError(t, err)
				}
			}
			require.NoError(t, sameState(ix, c.states[c.now]))
			require.NoError(t, ix.Close())
			t.Log(c.steps)
			for _, what := range []string{"commit", "manifest", "before manifest"} {
				require.NotZero(t, c.steps[what], what)
			}
			if o.memory < 1<<20 {
				require.NotZero(t, c.steps["journals removed"])
			}
		})
	}
}

// The journal may end anywhere: then the index is at the last commit that is
// whole, says so, and goes on from there.
func TestTornJournal(t *testing.T) {
	ctx := context.Background()
	for _, memory := range []int64{1 << 20, 1} {
		c := newCrashing(t, memory, false)
		c.opt.step = nil
		i, err := Create(ctx, c.opt)
		require.NoError(t, err)
		var ends []int64
		var states []map[uint64]Loc
		for n := range uint64(4) {
			c.commit(i, n*3, 10+n, uint32(n))
			ends = append(ends, i.(*diskIndex).journal.meta.size)
			states = append(states, c.states[c.now])
		}
		name := filepath.Base(i.(*diskIndex).journal.path)
		require.NoError(t, i.Close())
		for cut := ends[0]; cut < ends[3]; cut += 5 {
			copied := copyDir(t, c.opt.Dir)
			require.NoError(t, os.Truncate(filepath.Join(copied, name), cut))
			opt := Options{Dir: copied, Memory: memory}
			_, err := Open(ctx, opt, c.now)
			require.ErrorIs(t, err, ErrUnfit, "cut at %d", cut)
			last := 0
			for last+1 < len(ends) && ends[last+1] <= cut {
				last++
			}
			i, err := OpenAny(ctx, opt)
			require.NoError(t, err)
			require.EqualValues(t, last+1, i.Stamp().Version)
			require.NoError(t, sameState(i, states[last]))
			again := Stamp{Version: 99}
			ch := i.Change()
			require.NoError(t, ch.Commit(ctx, again))
			require.NoError(t, i.Close())
			i, err = Open(ctx, opt, again)
			require.NoError(t, err)
			require.NoError(t, sameState(i, states[last]))
			require.NoError(t, i.Close())
			require.NoError(t, os.RemoveAll(copied))
		}
	}
}

// A commit of many records counts only if its last one is there, and what
// there is of it does not become a part of the next commit.
func TestTornLargeCommit(t *testing.T) {
	ctx := context.Background()
	c := newCrashing(t, 64<<20, false)
	c.opt.step = nil
	i, err := Create(ctx, c.opt)
	require.NoError(t, err)
	c.commit(i, 0, 100, 1)
	before := c.states[c.now]
	c.commit(i, 0, 3*journalChunk, 2)
	path, size := i.(*diskIndex).journal.path, i.(*diskIndex).journal.meta.size
	require.NoError(t, i.Close())
	for _, cut := range []int64{size - 1, size - journalChunk*entryBytes/2, size / 2} {
		require.NoError(t, os.Truncate(path, cut))
		for version := range int64(2) {
			i, err = OpenAny(ctx, c.opt)
			require.NoError(t, err)
			require.NoError(t, sameState(i, before))
			require.EqualValues(t, len(before)-12, i.Len(), "a hundred keys, of which twelve are gone")
			require.NoError(t, i.Change().Commit(ctx, Stamp{Version: 100 + version}))
			require.NoError(t, i.Close())
		}
	}
}

// Two commits at one stamp cannot be told apart by it, so the second one's
// loss has to show in another way.
func TestLostCommitAtTheSameStamp(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	i, err := Create(ctx, Options{Dir: dir})
	require.NoError(t, err)
	at := Stamp{Version: 1}
	var ends []int64
	for k := range uint64(2) {
		ch := i.Change()
		require.NoError(t, ch.Put(ctx, []Entry{{benchHash(k), Loc{1, 1}}}))
		require.NoError(t, ch.Commit(ctx, at))
		ends = append(ends, i.(*diskIndex).journal.meta.size)
	}
	path := i.(*diskIndex).journal.path
	require.NoError(t, i.Close())
	require.NoError(t, os.Truncate(path, ends[0]))
	_, err = Open(ctx, Options{Dir: dir}, at)
	require.ErrorIs(t, err, ErrUnfit)
}

// Damage that only a merge meets ends the index; it does not go on with what
// it could read.
func TestDamageFoundByMerge(t *testing.T) {
	ctx := context.Background()
	c := newCrashing(t, 1, false)
	c.opt.step = nil
	i, err := Create(ctx, c.opt)
	require.NoError(t, err)
	c.commit(i, 0, 5000, 1)
	ix := i.(*diskIndex)
	settled(ix)
	es, err := os.ReadDir(c.opt.Dir)
	require.NoError(t, err)
	for _, e := range es {
		if strings.HasSuffix(e.Name(), runSuffix) {
			f, err := os.OpenFile(filepath.Join(c.opt.Dir, e.Name()), os.O_RDWR, 0)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte{1, 2, 3}, blockBytes+100)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
	}
	for n := uint64(0); err == nil && n < 100; n++ {
		ch := i.Change()
		err = errors.Join(ch.Put(ctx, []Entry{{benchHash(n), Loc{1, 7}}}), ch.Commit(ctx, Stamp{Version: int64(n)}))
		for k := range uint64(200) {
			if err == nil {
				ch := i.Change()
				err = errors.Join(ch.Put(ctx, []Entry{{benchHash(k*200 + n), Loc{1, 7}}}), ch.Commit(ctx, Stamp{Version: int64(n)}))
			}
		}
	}
	require.ErrorIs(t, err, ErrUnfit)
	require.ErrorIs(t, i.Lookup(ctx, make([]Hash, 1), make([]Loc, 1)), ErrUnfit)
	require.NoError(t, i.Close())
}
