package lakehouse

import (
	"context"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func minute(n int) time.Time { return time.Date(2026, 11, 23, 18, n, 0, 0, time.UTC) }

// testLake makes a lake with a mirror and a changelog of one table, another
// table still being copied, and three epochs; orders has n rows at version n.
func testLake(t *testing.T) objstore.Store {
	ctx := context.Background()
	store := objstore.NewMemory()
	state := &State{
		Pipeline: "shop", Phase: PipelineReady, Source: cdc.Identity{SystemID: "7", Database: "shop"}, Slot: "s", Publication: "p",
		Tables: []TableState{
			{OID: 2, Schema: "public", Table: "orders", Phase: PhaseLive, TableOptions: TableOptions{Modes: []Mode{ModeMirror, ModeChangelog}}},
			{OID: 3, Schema: "public", Table: "items", Phase: PhaseCopying, TableOptions: TableOptions{Modes: []Mode{ModeMirror}}},
		},
	}
	require.NoError(t, saveState(ctx, store, state))
	for v := range 4 {
		appendRow(t, store, "public/orders", int64(v))
	}
	log, err := epoch.Open(ctx, store, "shop", "session")
	require.NoError(t, err)
	for i, e := range []epoch.Epoch{
		{LSN: 100, CommitTime: minute(10), Tables: map[string]int64{"public.orders": 0}, Incomplete: []string{"public.items"}},
		{LSN: 200, CommitTime: minute(20), Tables: map[string]int64{"public.orders": 2}, Incomplete: []string{"public.items"}},
		{LSN: 300, CommitTime: minute(30), Tables: map[string]int64{"public.orders": 3}, Incomplete: []string{"public.items"}},
	} {
		got, err := log.Record(ctx, e)
		require.NoError(t, err)
		require.Equal(t, int64(i+1), got.Number)
	}
	require.NoError(t, log.Idle(ctx, 350))
	return store
}

// appendRow makes the next version of a table, with one row more.
func appendRow(t *testing.T, store objstore.Store, path string, value int64) {
	ctx := context.Background()
	loc := tablefmt.Location{Data: objstore.Sub(store, path)}
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).(*array.Int64Builder).Append(value)
	rec := b.NewRecordBatch()
	defer rec.Release()
	w, err := tablefmt.NewFileWriter(ctx, loc, schema, tablefmt.FileOptions{})
	require.NoError(t, err)
	_, err = w.Write(rec)
	require.NoError(t, err)
	add, err := w.Close()
	require.NoError(t, err)
	var snap *tablefmt.Snapshot
	if value > 0 {
		snap, err = tablefmt.Load(ctx, loc)
		require.NoError(t, err)
	}
	tx := tablefmt.Begin(loc, snap)
	if snap == nil {
		s, err := tablefmt.SchemaFromArrow(schema)
		require.NoError(t, err)
		tx.SetProtocol(tablefmt.ChangelogProtocol(tablefmt.OptionsFor(s)))
		tx.SetMetadata(&tablefmt.Metadata{SchemaString: s.JSON()})
	}
	tx.Add(*add)
	tx.SetInfo("WRITE", nil)
	_, err = tx.Commit(ctx)
	require.NoError(t, err)
}

func TestLakeResolvesStates(t *testing.T) {
	ctx := context.Background()
	lake, err := OpenLake(ctx, testLake(t), "")
	require.NoError(t, err)
	require.Equal(t, "shop", lake.State().Pipeline)
	require.Equal(t, cdc.LSN(350), lake.Position(), "an idle position counts")
	orders, err := lake.Table("public.orders")
	require.NoError(t, err)

	for _, c := range []struct {
		at      At
		epoch   int64 // 0: none decides
		version int64
		err     error
	}{
		{at: At{}, version: 3},
		{at: AtVersion(1), version: 1},
		{at: AtVersion(4), err: tablefmt.ErrNoVersion},
		{at: AtTimestamp(time.Now().Add(time.Hour)), version: 3},
		{at: AtTimestamp(minute(0).AddDate(-10, 0, 0)), err: tablefmt.ErrNoVersion},
		{at: AtEpoch(1), epoch: 1, version: 0},
		{at: AtEpoch(3), epoch: 3, version: 3},
		{at: AtEpoch(0), err: ErrNoEpoch},
		{at: AtEpoch(4), err: ErrNoEpoch},
		{at: AtLSN(99), err: ErrNoEpoch},
		{at: AtLSN(100), epoch: 1, version: 0},
		{at: AtLSN(199), epoch: 1, version: 0},
		{at: AtLSN(200), epoch: 2, version: 2},
		{at: AtLSN(350), epoch: 3, version: 3},
		{at: AtLSN(351), err: ErrNoEpoch},
		{at: AsOf(minute(10).Add(-1)), err: ErrNoEpoch},
		{at: AsOf(minute(10)), epoch: 1, version: 0},
		{at: AsOf(minute(29)), epoch: 2, version: 2},
		{at: AsOf(minute(59)), epoch: 3, version: 3},
	} {
		snap, e, err := lake.Load(ctx, orders, c.at)
		if c.err != nil {
			require.ErrorIs(t, err, c.err, c.at)
			continue
		}
		require.NoError(t, err, c.at)
		require.Equal(t, c.version, snap.Version(), c.at)
		if c.epoch == 0 {
			require.Nil(t, e, c.at)
		} else {
			require.Equal(t, c.epoch, e.Number, c.at)
		}
	}
}

func TestLakeTables(t *testing.T) {
	ctx := context.Background()
	lake, err := OpenLake(ctx, testLake(t), "shop")
	require.NoError(t, err)
	var names []string
	for _, table := range lake.Tables() {
		names = append(names, table.Name+" "+table.Path)
	}
	require.Equal(t, []string{"public.items public/items", "public.orders public/orders", "public.orders_changelog public/orders_changelog"}, names)

	_, err = lake.Table("orders")
	require.ErrorIs(t, err, ErrUnknownTable)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Remedy, "did you mean public.orders?")

	items, err := lake.Table("public.items")
	require.NoError(t, err)
	_, _, err = lake.Load(ctx, items, AtEpoch(2))
	require.ErrorIs(t, err, ErrIncomplete)
	_, _, err = lake.Load(ctx, items, At{})
	require.ErrorIs(t, err, tablefmt.ErrNoTable)
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Error(), "still being copied")
}

func TestOpenLakeWantsOnePipeline(t *testing.T) {
	ctx := context.Background()
	_, err := OpenLake(ctx, objstore.NewMemory(), "")
	require.ErrorIs(t, err, ErrNoPipeline)
	_, err = OpenLake(ctx, objstore.NewMemory(), "shop")
	require.ErrorIs(t, err, ErrNoState)

	store := testLake(t)
	require.NoError(t, saveState(ctx, store, &State{Pipeline: "other", Phase: PipelineCreating}))
	_, err = OpenLake(ctx, store, "")
	require.ErrorIs(t, err, ErrNoPipeline)
	require.ErrorContains(t, err, "other, shop")
	lake, err := OpenLake(ctx, store, "other")
	require.NoError(t, err)
	for _, err := range lake.Epochs(ctx, 0) {
		require.Fail(t, "it has no epoch", "%v", err)
	}
	_, err = lake.Epoch(ctx, At{})
	require.ErrorIs(t, err, ErrNoEpoch)
}

func TestATableAloneKnowsNoSource(t *testing.T) {
	ctx := context.Background()
	loc := tablefmt.Location{Data: objstore.Sub(testLake(t), "public/orders")}
	snap, err := LoadTable(ctx, loc, AtVersion(2))
	require.NoError(t, err)
	require.Equal(t, int64(2), snap.Version())
	for _, at := range []At{AtEpoch(1), AtLSN(1), AsOf(minute(1))} {
		_, err := LoadTable(ctx, loc, at)
		require.Error(t, err)
	}
}
