package operate

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/lakehouse/epoch"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// The record of epochs is a table like any other also after it was packed, its oldest epochs have expired and its log was cleaned: others see the
// epochs that are left, and no others.
func TestOthersReadTheRecordOfEpochs(t *testing.T) {
	ctx, store := t.Context(), objstore.NewMemory()
	log, err := epoch.Open(ctx, store, "p", "session")
	require.NoError(t, err)
	record := func(n int) {
		for range n {
			_, err := log.Record(ctx, epoch.Epoch{LSN: log.Position() + 1, CommitTime: time.Now(), Tables: map[string]int64{"public.t": int64(log.Position())}})
			require.NoError(t, err)
		}
		require.NoError(t, log.Upkeep(ctx, time.Nanosecond))
		require.NoError(t, tablefmt.Checkpoint(ctx, log.Snapshot()))
	}
	record(epoch.FullEvery + 120)
	record(100)
	record(37)
	removed, err := tablefmt.CleanLog(ctx, log.Snapshot(), tablefmt.CleanOptions{Retention: time.Nanosecond})
	require.NoError(t, err)
	require.Positive(t, removed)
	var want [][]string
	for e, err := range log.From(ctx, 0) {
		require.NoError(t, err)
		want = append(want, []string{fmt.Sprint(e.Number), e.LSN.String()})
	}
	require.Equal(t, fmt.Sprint(epoch.FullEvery), want[0][0], "the oldest have expired")
	require.Equal(t, cdc.LSN(epoch.FullEvery+257), log.Position())

	folder := t.TempDir()
	for info, err := range store.List(ctx, "", "") {
		require.NoError(t, err)
		data, err := store.Get(ctx, info.Path)
		require.NoError(t, err)
		path := filepath.Join(folder, filepath.FromSlash(info.Path))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
	t.Run(string(readers.DuckDB), func(t *testing.T) {
		got, err := readers.Get(t, readers.DuckDB).SQL(ctx, fmt.Sprintf("select epoch, lsn from delta_scan('%s') where not idle order by epoch",
			filepath.Join(folder, filepath.FromSlash(epoch.Path("p")))))
		require.NoError(t, err)
		readers.Same(t, got, want)
	})
}
