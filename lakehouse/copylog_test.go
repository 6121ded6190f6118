package lakehouse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// TestEdge59WhatIsBackOfACopysLog has commits of a copy of before the lake was
// taken over be back, after a crash, behind the beginning of the new copy's log.
func TestEdge59WhatIsBackOfACopysLog(t *testing.T) {
	ctx, lake := t.Context(), objstore.NewMemory()
	log := func(incarnation string) *copyLog {
		spec := tableSpec{pipeline: "p", incarnation: incarnation, mode: ModeMirror, state: TableState{OID: 7, Generation: 1}}
		spec.loc = tablefmt.Location{Data: objstore.Sub(lake, "t")}
		return newCopyLog(lake, spec)
	}
	schema := &tablefmt.Schema{Fields: []tablefmt.Field{{Name: "id", Type: tablefmt.Long, Nullable: true}}}
	begin := func(c *copyLog) *tablefmt.Snapshot {
		md := &tablefmt.Metadata{ID: "x", SchemaString: schema.JSON(), Configuration: map[string]string{}}
		snap, err := c.begin(ctx, nil, md, schema, func(x *tablefmt.Transaction) { x.SetTxn(c.spec.appID(), 10) })
		require.NoError(t, err)
		return snap
	}
	mark := func(c *copyLog, snap *tablefmt.Snapshot) {
		x := tablefmt.Begin(c.loc, snap)
		x.SetTxn(c.spec.appID(), 20)
		x.SetTxn(markRange+"2/754:754:", 20)
		x.SetInfo("MERGE", nil)
		_, err := x.Commit(ctx)
		require.NoError(t, err)
	}
	old, now := log("before"), log("now")
	mark(old, begin(old))
	const second = "_delta_log/00000000000000000001.json"
	marked, err := old.store.Get(ctx, second)
	require.NoError(t, err)
	snap := begin(now)
	require.NoError(t, now.store.Put(ctx, second, marked))
	found, err := now.load(ctx)
	require.NoError(t, err)
	require.Nil(t, found)

	require.NoError(t, now.store.Delete(ctx, second))
	mark(now, snap)
	found, err = now.load(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, found.Version())
}
