package tablefmt

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// moving is a log in which something happens when a version is asked for.
type moving struct {
	objstore.Store
	version int64
	then    func()
}

func (m *moving) Get(ctx context.Context, path string) ([]byte, error) {
	if path == commitName(m.version) && m.then != nil {
		m.then()
	}
	return m.Store.Get(ctx, path)
}

// A reader that has listed a log finds what is there now, when cleanup passes it.
func TestLogThatMovesUnderItsReader(t *testing.T) {
	ctx := t.Context()
	build := func(t *testing.T) (*moving, Location) {
		inner := objstore.NewMemory()
		loc := Location{Data: objstore.NewMemory(), Log: inner}
		p := MirrorProtocol(ProtocolOptions{})
		p.WriterFeatures = append(p.WriterFeatures, "inCommitTimestamp") // which commits are read for
		tx := Begin(loc, nil)
		tx.SetProtocol(p)
		tx.SetMetadata(&Metadata{SchemaString: idSchema.JSON(), Configuration: map[string]string{PropInCommitTimestamps: "true"}})
		snap := must(tx.Commit(ctx))
		for i := range 15 {
			tx := Begin(loc, snap)
			tx.Add(fakeAdd(fmt.Sprint(i), 1))
			snap = must(tx.Commit(ctx))
		}
		m := &moving{Store: inner, version: 3}
		return m, Location{Data: loc.Data, Log: m}
	}
	remove := func(m *moving, to int64) {
		for v := range to {
			require.NoError(t, m.Delete(ctx, commitName(v)))
		}
		for info, err := range m.List(ctx, "", "") {
			require.NoError(t, err)
			if strings.Contains(info.Path, ".checkpoint.") && parseLogName(info.Path).version < to {
				require.NoError(t, m.Delete(ctx, info.Path))
			}
		}
	}
	cleanup := func(t *testing.T, m *moving) {
		snap := must(Load(ctx, Location{Data: objstore.NewMemory(), Log: m.Store}))
		require.NoError(t, snap.checkpoint(ctx))
		remove(m, 12)
		m.then = nil
	}

	t.Run("the newest version", func(t *testing.T) {
		m, loc := build(t)
		m.then = func() { cleanup(t, m) }
		snap, err := Load(ctx, loc)
		require.NoError(t, err)
		require.Equal(t, int64(15), snap.Version())
		require.Len(t, paths(snap), 15)
	})
	t.Run("a version that goes", func(t *testing.T) {
		m, loc := build(t)
		m.then = func() { cleanup(t, m) }
		_, err := LoadAt(ctx, loc, 5)
		require.ErrorIs(t, err, ErrNoVersion)
	})
	t.Run("the history", func(t *testing.T) {
		m, loc := build(t)
		m.then = func() { cleanup(t, m) }
		h, err := History(ctx, loc, 0)
		require.NoError(t, err)
		require.Len(t, h, 4)
	})
	t.Run("a version by its time", func(t *testing.T) {
		m, loc := build(t)
		at := *must(Load(ctx, loc)).CommitInfo().InCommitTimestamp
		m.version = 7 // in the middle
		m.then = func() { cleanup(t, m) }
		snap, err := LoadAsOf(ctx, loc, time.UnixMilli(at))
		require.NoError(t, err)
		require.Equal(t, int64(15), snap.Version())
	})
	t.Run("on from a snapshot", func(t *testing.T) {
		m, loc := build(t)
		old := must(LoadAt(ctx, loc, 1))
		m.version = 10 // beyond what is asked for one by one
		m.then = func() { cleanup(t, m) }
		snap, err := old.Update(ctx)
		require.NoError(t, err)
		require.Equal(t, int64(15), snap.Version())
	})
	t.Run("the table goes", func(t *testing.T) {
		m, loc := build(t)
		m.then = func() { remove(m, 16) }
		_, err := Load(ctx, loc)
		require.ErrorIs(t, err, ErrNoTable)
	})
	t.Run("damage under a busy writer", func(t *testing.T) {
		m, loc := build(t)
		require.NoError(t, m.Delete(ctx, commitName(4)))
		next, reads := int64(16), 0
		m.then = func() { // a version comes with each reading
			reads++
			require.NoError(t, m.PutIfAbsent(ctx, commitName(next), []byte("{}\n")))
			next++
		}
		m.version = 2
		for info, err := range m.List(ctx, "", "") { // no way around it
			require.NoError(t, err)
			if strings.Contains(info.Path, "checkpoint") {
				require.NoError(t, m.Delete(ctx, info.Path))
			}
		}
		_, err := Load(ctx, loc)
		require.ErrorIs(t, err, ErrCorrupt)
		require.LessOrEqual(t, reads, 2)
	})
}
