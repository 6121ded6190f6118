package lakehouse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

func TestPace(t *testing.T) {
	t0 := time.Unix(1000, 0)
	p := pace{freshness: time.Second, idle: 30 * time.Second, maxBytes: 1000, lastFlush: t0, lastRecord: t0}
	some := map[uint32][]cdc.Item{1: nil}
	for name, c := range map[string]struct {
		b      batch
		first  time.Time
		staged bool
		at     time.Time
		ok     bool
	}{
		"nothing has arrived":                         {b: batch{}},
		"a position alone waits for the idle time":    {b: batch{cut: 7}, at: t0.Add(30 * time.Second), ok: true},
		"a change waits for the time since the last":  {b: batch{cut: 7, tables: some}, first: t0.Add(100 * time.Millisecond), at: t0.Add(time.Second), ok: true},
		"after a rest a change only waits for others": {b: batch{cut: 7, tables: some}, first: t0.Add(5 * time.Second), at: t0.Add(5*time.Second + gather), ok: true},
		"a full batch goes at once":                   {b: batch{cut: 7, tables: some, bytes: 1000}, first: t0, ok: true},
		"an unfinished transaction waits for its end": {b: batch{cut: 7, tables: some, open: true, bytes: 999}, first: t0},
		"unless it is too big to wait":                {b: batch{cut: 7, tables: some, open: true, bytes: 1000}, first: t0, ok: true},
		"the end of a staged transaction is a change": {b: batch{cut: 7}, staged: true, first: t0, at: t0.Add(time.Second), ok: true},
		"a position that is asked for goes at once":   {b: batch{cut: 7, record: true}, ok: true},
	} {
		at, ok := p.due(&c.b, c.first, c.staged)
		require.Equal(t, c.ok, ok, name)
		require.Equal(t, c.at, at, name)
	}
}

func TestBatchKeepsTheLastCutAndTheOrder(t *testing.T) {
	rel := &cdc.Relation{OID: 5}
	b := &batch{}
	now := time.Unix(1, 0)
	b.add(&cdc.Chunk{Cut: 10, CutTime: now, Transactions: 1, Bytes: 3, Items: []cdc.Item{{Relation: rel, Truncate: &cdc.Truncate{Seq: 1}}}})
	b.add(&cdc.Chunk{Cut: 20, Transactions: 2, Bytes: 4, Open: true, Items: []cdc.Item{{Relation: rel, Truncate: &cdc.Truncate{Seq: 2}}}})
	require.Equal(t, cdc.LSN(20), b.cut)
	require.Equal(t, now, b.cutTime, "an idle position has no time of its own")
	require.True(t, b.open)
	require.Equal(t, int64(7), b.bytes)
	require.Equal(t, 3, b.transactions)
	require.Len(t, b.tables[5], 2)
	require.Equal(t, int64(1), b.tables[5][0].Truncate.Seq)
}
