package lakehouse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWALGuardJudges(t *testing.T) {
	const gib = int64(1) << 30
	safe := func(n int64) *int64 { return &n }
	g := WALGuard{}
	g.EnsureDefaults()
	require.NoError(t, g.validate())
	for name, c := range map[string]struct {
		g     WALGuard
		s     walSight
		level walLevel
		limit int64
	}{
		"little":                     {g, walSight{held: gib}, walFine, 5 * gib},
		"much":                       {g, walSight{held: 5 * gib}, walWarn, 5 * gib},
		"too much":                   {g, walSight{held: 21 * gib}, walAct, 20 * gib},
		"the server's limit is near": {g, walSight{held: gib, safe: safe(gib / 10)}, walAct, (gib + gib/10) / 10 * 8},
		"half of the server's limit": {g, walSight{held: 6 * gib / 10, safe: safe(4 * gib / 10)}, walWarn, (6*gib/10 + 4*gib/10) / 10 * 5},
		"the server's limit is past": {g, walSight{held: gib, safe: safe(-5)}, walAct, gib / 10 * 8},
		"only the server's":          {WALGuard{Warn: -1, Act: -1}, walSight{held: 100 * gib}, walFine, 0},
		"a while":                    {WALGuard{WarnAfter: time.Minute, ActAfter: time.Hour}, walSight{still: 2 * time.Minute}, walWarn, 60},
		"too long":                   {WALGuard{WarnAfter: time.Minute, ActAfter: time.Hour}, walSight{still: 2 * time.Hour}, walAct, 3600},
	} {
		v := c.g.judge(&c.s)
		require.Equal(t, c.level, v.level, name)
		require.Equal(t, c.limit, v.limit, name)
		require.Equal(t, c.level != walFine, v.text != "", name)
	}
	require.Error(t, (&WALGuard{Warn: 2, Act: 1}).validate())
	require.Error(t, (&WALGuard{Do: []WALAction{"pray"}}).validate())
}

func TestWALGuardChooses(t *testing.T) {
	g := WALGuard{Do: []WALAction{WALDetach, WALRelease}}
	held := walSight{
		held: 100, unacked: 100,
		holders: []walHolder{{oid: 1, name: "a", at: 50, what: "is paused"}, {oid: 2, name: "b", at: 40, what: "has stopped"}},
		live:    []walHolder{{oid: 3, weight: 1000}, {oid: 4, weight: 2}},
	}
	a, h := g.choose(&held, nil)
	require.Equal(t, WALDetach, a)
	require.Equal(t, uint32(2), h.oid, "it is held back furthest")
	require.Equal(t, "b has stopped", held.why())

	slow := held
	slow.holders = nil
	a, h = g.choose(&slow, nil)
	require.Equal(t, WALDetach, a)
	require.Equal(t, uint32(3), h.oid, "it costs most")

	a, h = g.choose(&slow, map[WALAction]bool{WALDetach: true})
	require.Equal(t, WALRelease, a)
	require.Nil(t, h)

	one := slow
	one.live = one.live[:1]
	a, _ = g.choose(&one, nil)
	require.Equal(t, WALRelease, a, "the only table is not let go of")

	theirs := held
	theirs.unacked = 10
	a, _ = g.choose(&theirs, nil)
	require.Equal(t, WALRelease, a, "no table helps against a transaction at the source")
	require.Contains(t, theirs.why(), "transaction in progress")

	a, _ = (&WALGuard{Do: []WALAction{}}).choose(&held, nil)
	require.Empty(t, a)
}
