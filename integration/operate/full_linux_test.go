package operate

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// smallDisk makes a folder a disk of its own; fill takes what room it has, and gives what gives it back. Root may.
func smallDisk(t *testing.T, dir string) (fill func() (free func())) {
	t.Helper()
	require.NoError(t, os.Mkdir(dir, 0o755))
	if err := syscall.Mount("lakeload-test", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("left out: a disk that is full: mounting a small one: %v (root may)", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return func() func() {
		path := filepath.Join(dir, "filler")
		f, err := os.Create(path)
		require.NoError(t, err)
		for _, size := range []int64{1 << 16, 1} { // to the last byte
			for err = nil; err == nil; {
				_, err = io.CopyN(f, zeros{}, size)
			}
			require.ErrorIs(t, err, syscall.ENOSPC)
		}
		require.NoError(t, f.Close())
		return func() { require.NoError(t, os.Remove(path)) }
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A disk that is full, the lake's or that of the key index, and a folder that may not be written any more: the program waits, says so, and goes on
// when there is room again, with the same process. A table that is copied meanwhile comes, too.
func TestARunningPipelineOutlastsWhatRefuses(t *testing.T) {
	harness.Need(t)
	for _, full := range []string{"lake", "cache"} {
		t.Run(full, func(t *testing.T) {
			db := harness.NewDatabase(t, pgtest.Shared(t, 15))
			db.Exec(t, "create table a (id int primary key, v text)", "insert into a select i, 'a' || i from generate_series(1, 20000) i",
				"create table b (id int primary key, v text)", "insert into b select i, 'b' || i from generate_series(1, 20000) i")
			disk := filepath.Join(t.TempDir(), "disk")
			fill := smallDisk(t, disk)
			pipe := harness.NewPipeline(t, db, "--memory", "32MiB")
			switch full {
			case "lake":
				pipe.Lake = filepath.Join(disk, "lake")
			case "cache":
				pipe.Args = append(pipe.Args, "--cache-dir", filepath.Join(disk, "cache"))
			}
			e := pipe.Start(t)
			pipe.Sync(t, e)
			before := pipe.Last(t)

			free := fill()
			db.Exec(t, "update a set v = v || '!' where id % 3 = 0", "delete from a where id % 7 = 0", "insert into a select i, md5(i::text) from generate_series(30001, 400000) i")
			e.Await("retrying", func(harness.Event) bool { return true })
			if full == "lake" {
				alert := e.Await("infrastructure_alert", func(a harness.Event) bool { return strings.Contains(a.Line, "store_unreachable") })
				require.Equal(t, "critical", alert.Severity)
				require.Contains(t, alert.Line, "no space left on device")
				require.Contains(t, alert.Remedy, "free some space")
				require.Equal(t, before.Tables, pipe.Last(t).Tables, "what could not be written whole is not there")
				require.Equal(t, 1, ask(t, pipe, "resync", "public.b").Code, "nor can what an operator asks for be kept")
			}
			db.Exec(t, "create table c (id int primary key, v text)", "insert into c select i, 'c' || i from generate_series(1, 1000) i")
			time.Sleep(3 * time.Second)
			require.True(t, e.Running(), e.Log())
			free()
			db.Exec(t, "update b set v = v || '!' where id % 5 = 0")
			pipe.Sync(t, e)
			pipe.Same(t, readers.DuckDB, "a", "b")
			if full == "lake" {
				e.Await("infrastructure_alert", func(a harness.Event) bool {
					return strings.Contains(a.Line, "store_unreachable") && a.Severity == "resolved"
				})
			}
			harness.Await(t, "the table that came meanwhile", func() (bool, string) {
				c := pipe.Status(t)["public.c"]
				return c.Phase == "live", c.Phase
			})
			pipe.Same(t, readers.DuckDB, "a", "b", "c")
			e.Stop()
			require.Equal(t, 0, e.Wait())
			require.False(t, strings.Contains(e.Log(), "panic"), e.Log())
		})
	}
}
