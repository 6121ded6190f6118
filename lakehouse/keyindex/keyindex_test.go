package keyindex_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/lakehouse/keyindex"
	"github.com/lakeload/lakeload/lakehouse/keyindex/keyindextest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func disk(memory int64, parts int) keyindextest.Factory {
	opt := func(dir string) keyindex.Options {
		return keyindex.Options{Dir: dir, Memory: memory, Partitions: parts}
	}
	return keyindextest.Factory{
		Create: func(ctx context.Context, dir string) (keyindex.Index, error) {
			return keyindex.Create(ctx, opt(dir))
		},
		Open: func(ctx context.Context, dir string, want keyindex.Stamp) (keyindex.Index, error) {
			return keyindex.Open(ctx, opt(dir), want)
		},
	}
}

func TestMemoryConforms(t *testing.T) {
	keyindextest.Run(t, keyindextest.Factory{
		Create: func(context.Context, string) (keyindex.Index, error) { return keyindex.NewMemory(), nil },
	})
}

// All keys fit into memory.
func TestDiskConformsInMemory(t *testing.T) { keyindextest.Run(t, disk(64<<20, 4)) }

// The least budget: the index leaves the memory, spills and merges all the
// time.
func TestDiskConformsInRuns(t *testing.T) { keyindextest.Run(t, disk(1, 2)) }

// Some states fit, some do not.
func TestDiskConformsBetween(t *testing.T) { keyindextest.Run(t, disk(160<<10, 1)) }
