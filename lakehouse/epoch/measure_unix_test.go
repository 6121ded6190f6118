//go:build unix

package epoch

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// cpu is the processor time that this process has used.
func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestMeasureAMonth is for measuring by hand: LAKELOAD_EPOCHS=2600000.
func TestMeasureAMonth(t *testing.T) {
	n, _ := strconv.ParseInt(os.Getenv("LAKELOAD_EPOCHS"), 10, 64)
	if n == 0 {
		t.Skip("set LAKELOAD_EPOCHS to the length of the record")
	}
	ctx := t.Context()
	lake, err := objstore.NewLocal(t.TempDir())
	require.NoError(t, err)
	defer lake.Close()
	timed := func(what string, do func()) {
		runtime.GC()
		debug.FreeOSMemory()
		var peak atomic.Uint64
		stop := make(chan struct{})
		var watch sync.WaitGroup
		watch.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					peak.Store(max(peak.Load(), m.HeapInuse))
				}
			}
		})
		begun, used := time.Now(), cpu(t)
		do()
		t.Logf("%-28s %12s, CPU %12s, heap %d MiB", what, time.Since(begun).Round(time.Microsecond), cpu(t)-used, peak.Load()>>20)
		close(stop)
		watch.Wait()
	}
	timed("writing", func() { long(t, lake, time.Now().Add(-time.Duration(n)*time.Second), n, shopEpoch) })
	size := func() {
		files, bytes := 0, int64(0)
		require.NoError(t, filepath.Walk(lake.URL(), func(_ string, info os.FileInfo, err error) error {
			if err == nil && info.Mode().IsRegular() {
				files, bytes = files+1, bytes+info.Size()
			}
			return err
		}))
		t.Logf("on disk: %d files, %.1f MB", files, float64(bytes)/1e6)
	}
	size()
	var l *Log
	timed("opening", func() {
		l, err = Open(ctx, lake, "p", "s")
		require.NoError(t, err)
	})
	timed("a record, mean of 2,000", func() {
		for range 2000 {
			_, err := l.Record(ctx, shopEpoch(l.last.seq+1))
			require.NoError(t, err)
			tend(t, l, 40*24*time.Hour)
		}
	})
	timed("opening again", func() {
		_, err = Open(ctx, lake, "p", "s")
		require.NoError(t, err)
	})
	for _, seq := range []int64{17, n / 2, n - 100} {
		timed(fmt.Sprint("by number ", seq), func() { _, err = l.ByNumber(ctx, seq) })
		require.NoError(t, err)
		timed(fmt.Sprint("by time ", seq), func() { _, err = l.ByTime(ctx, at(1e9+seq)) })
		require.NoError(t, err)
		timed(fmt.Sprint("by position ", seq), func() { _, err = l.ByPosition(ctx, cdc.LSN(1e9+5000*seq+1)) })
		require.NoError(t, err)
	}
	timed("all, one after the other", func() {
		count := int64(0)
		for _, err := range l.From(ctx, 0) {
			require.NoError(t, err)
			count++
		}
		require.Equal(t, n+2000, count)
	})
	size()
}
