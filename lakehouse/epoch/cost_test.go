package epoch

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// counting counts what a store is asked for.
type counting struct {
	objstore.Store
	calls, bytes atomic.Int64
}

type cost struct{ calls, bytes int64 }

// of tells what something costs, divided by n.
func (c *counting) of(n int64, do func()) cost {
	c.calls.Store(0)
	c.bytes.Store(0)
	do()
	return cost{c.calls.Load() / n, c.bytes.Load() / n}
}

func (c *counting) count(n int) {
	c.calls.Add(1)
	c.bytes.Add(int64(n))
}

func (c *counting) Get(ctx context.Context, path string) ([]byte, error) {
	data, err := c.Store.Get(ctx, path)
	c.count(len(data))
	return data, err
}

func (c *counting) Stat(ctx context.Context, path string) (objstore.Info, error) {
	c.count(0)
	return c.Store.Stat(ctx, path)
}

func (c *counting) PutIfAbsent(ctx context.Context, path string, data []byte) error {
	c.count(len(data))
	return c.Store.PutIfAbsent(ctx, path, data)
}

func (c *counting) Put(ctx context.Context, path string, data []byte) error {
	c.count(len(data))
	return c.Store.Put(ctx, path, data)
}

func (c *counting) Delete(ctx context.Context, path string) error {
	c.count(0)
	return c.Store.Delete(ctx, path)
}

func (c *counting) Open(ctx context.Context, path string) (objstore.Reader, error) {
	r, err := c.Store.Open(ctx, path)
	c.count(0)
	return &countingReader{r, c}, err
}

func (c *counting) Create(ctx context.Context, path string) (objstore.Writer, error) {
	w, err := c.Store.Create(ctx, path)
	c.count(0)
	return &countingWriter{w, c}, err
}

type countingReader struct {
	objstore.Reader
	c *counting
}

func (r *countingReader) ReadAt(b []byte, off int64) (int, error) {
	n, err := r.Reader.ReadAt(b, off)
	r.c.count(n)
	return n, err
}

type countingWriter struct {
	objstore.Writer
	c *counting
}

func (w *countingWriter) Write(b []byte) (int, error) {
	w.c.bytes.Add(int64(len(b)))
	return w.Writer.Write(b)
}

// long writes a record of n records, in files as upkeep would have left them.
func long(t require.TestingT, lake objstore.Store, start time.Time, n int64, epoch func(seq int64) Epoch) *writer {
	w := newWriter(t, lake, start)
	for seq := int64(1); seq <= n; seq++ {
		w.add(epoch(seq), false)
		for i, length := range tiers {
			whole := i+1 == len(tiers) || n-seq < n%tiers[i+1] // the next longer one is not complete
			if (seq+1)%length == 0 && whole {
				w.file()
				break
			}
		}
		if n-seq < n%tiers[0] {
			w.file()
		}
	}
	w.file()
	return w
}

func shopEpoch(seq int64) Epoch {
	e := Epoch{LSN: cdc.LSN(1e9 + 5000*seq), Timeline: 1, CommitTime: at(1e9 + seq), Tables: map[string]int64{}}
	for i := range int64(10) { // three of ten tables change each time
		e.Tables[fmt.Sprint("public.table_", i)] = seq - (seq+i)%10/3
	}
	return e
}

// What a flush, its upkeep, opening and finding ask of the store does not depend
// on how long the record is.
func TestCostDoesNotGrow(t *testing.T) {
	type costs struct{ record, open, number, time, position, newest cost }
	measure := func(n int64) (c costs) {
		synctest.Test(t, func(t *testing.T) {
			ctx, lake := t.Context(), &counting{Store: objstore.NewMemory()}
			w := long(t, lake, time.Now().Add(-time.Duration(n)*time.Second), n, shopEpoch)
			l, err := Open(ctx, lake, "p", "s")
			require.NoError(t, err)
			require.Equal(t, w.log.last.seq, l.last.seq)
			more := func(count int64) {
				for range count {
					time.Sleep(4 * time.Second)
					_, err := l.Record(ctx, shopEpoch(l.last.seq+1))
					require.NoError(t, err)
					tend(t, l, 1000*time.Hour)
				}
			}
			more(FullEvery) // more than an hour: what is gone begins to be removed
			c.record = lake.of(1, func() { more(FullEvery) })
			more(FullEvery - 50) // the longest way from a full record
			find := func(do func(l *Log, seq int64) (Epoch, error)) cost {
				targets := []int64{17, n / 3, n / 2, n - 1}
				return lake.of(int64(len(targets)), func() {
					for _, seq := range targets {
						e, err := do(l, seq)
						require.NoError(t, err)
						require.Equal(t, seq, e.Number)
					}
				})
			}
			c.number = find(func(l *Log, seq int64) (Epoch, error) { return l.ByNumber(ctx, seq) })
			c.time = find(func(l *Log, seq int64) (Epoch, error) { return l.ByTime(ctx, at(1e9+seq)) })
			c.position = find(func(l *Log, seq int64) (Epoch, error) { return l.ByPosition(ctx, cdc.LSN(1e9+5000*seq+1)) })
			c.open = lake.of(1, func() {
				_, err := Open(ctx, lake, "p", "")
				require.NoError(t, err)
			})
			c.newest = lake.of(1, func() {
				count := 0
				for _, err := range l.From(ctx, l.epoch.Number-9) {
					require.NoError(t, err)
					count++
				}
				require.Equal(t, 10, count)
			})
		})
		return c
	}
	short, middle, long := measure(2000), measure(20_000), measure(60_000)
	t.Logf("at 2,000: %+v\nat 20,000: %+v\nat 60,000: %+v", short, middle, long)
	same := func(what string, a, b cost, percent int64) {
		require.LessOrEqual(t, b.calls, a.calls*(100+percent)/100+1, "%s: calls", what)
		require.LessOrEqual(t, b.bytes, a.bytes*(100+percent)/100, "%s: bytes", what)
	}
	same("a record", short.record, long.record, 3)
	same("opening", short.open, long.open, 15) // there is an action for each packed file
	same("the newest", short.newest, long.newest, 3)
	// From the first file of the longest kind on it is such a file that is searched.
	same("by number", middle.number, long.number, 10)
	same("by time", middle.time, long.time, 10)
	same("by position", middle.position, long.position, 10)
	require.Less(t, long.time.bytes, int64(500_000))
}
