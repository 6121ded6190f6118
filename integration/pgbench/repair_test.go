package pgbench

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
	"github.com/lakeload/lakeload/lakehouse"
)

// accounts makes a table of n rows; one of them is found by its aid.
func accounts(t *testing.T, db *harness.Database, n string) {
	db.Exec(t, "create table accounts (aid int primary key, bid int, abalance int, filler text, at timestamptz)",
		"insert into accounts select i, i % 1000, 0, md5(i::text), timestamptz '2026-01-01 00:00+00' + i * interval '1 second' from generate_series(1, "+n+") i",
		"vacuum analyze accounts")
}

// TestVerifyAndRepairALargeTable compares a table, of ten million rows with LAKELOAD_LONG (LAKELOAD_VERIFY_ROWS says another number), finds a row that was altered, one that was removed
// and one that is there twice, and mends those alone. How long a comparison takes it tells beside the server's own checksum of the table.
func TestVerifyAndRepairALargeTable(t *testing.T) {
	harness.Need(t)
	rows := int64(200_000)
	if harness.Long() {
		rows = 10_000_000
	}
	if s := os.Getenv("LAKELOAD_VERIFY_ROWS"); s != "" {
		rows, _ = strconv.ParseInt(s, 10, 64)
	}
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	accounts(t, db, fmt.Sprint(rows))
	pipe := harness.NewPipeline(t, db)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	pipe.Sync(t, e)

	for range 2 {
		begun := time.Now()
		db.Value(t, "select count(*) || ' ' || sum(hashtext(a::text)::bigint) from accounts a")
		server := time.Since(begun)
		begun = time.Now()
		cmd := harness.Command(t, "verify", "--source", pipe.DB.DSN, "--lake", pipe.Lake, "--name", pipe.Name, "-o", "json", "-q")
		r := harness.Do(t, cmd)
		ours := time.Since(begun)
		require.Equal(t, 0, r.Code, "%s", r)
		usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		t.Logf("%d rows: verify took %v (processor %v, memory %d MiB), the server's checksum %v: %.2f times it", rows, ours.Round(time.Millisecond),
			(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Round(time.Millisecond), usage.Maxrss>>10, server.Round(time.Millisecond), ours.Seconds()/server.Seconds())
	}
	e.Stop()
	tamper(t, pipe, "accounts", "aid", func(aid int32) (times int, balance int32) {
		switch aid {
		case 1000: // altered
			return 1, 123456789
		case 20_000: // removed
			return 0, 0
		case 199_000: // doubled
			return 2, 0
		}
		return 1, 0
	}, 3)
	v, r := verify(t, pipe, "--at-rest")
	require.Equal(t, 5, r.Code, "%s", r)
	require.Len(t, v.Tables[0].Differences, 3)
	require.Equal(t, []string{"aid=1000", "aid=199000", "aid=20000"}, []string{v.Tables[0].Differences[0].Key, v.Tables[0].Differences[1].Key, v.Tables[0].Differences[2].Key})
	require.Equal(t, rows, v.Tables[0].SourceRows)

	e = pipe.Start(t)
	e.Await("stream_started", nil)
	require.Equal(t, "stopped", pipe.Status(t)["public.accounts"].Phase)
	begun := time.Now()
	r = harness.Do(t, harness.Command(t, "repair", "public.accounts", "--lake", pipe.Lake, "--name", pipe.Name, "-o", "json", "-q"))
	require.Equal(t, 0, r.Code, "%s\n%s", r, e.Log())
	var done lakehouse.Repaired
	require.NoError(t, json.Unmarshal([]byte(r.Stdout), &done))
	require.False(t, done.Copied)
	require.EqualValues(t, [3]int64{3, 3, 3}, [3]int64{done.Keys, done.Written, done.Removed})
	t.Logf("the repair took %v and wrote %d bytes of the table's %d", time.Since(begun).Round(time.Millisecond), done.Bytes, done.TableBytes)
	require.Less(t, done.Bytes*50, done.TableBytes)
	db.Exec(t, "update accounts set abalance = 7 where aid in (1000, 20000, 199000, 5)")
	pipe.Sync(t, e)
	_, r = verify(t, pipe)
	require.Equal(t, 0, r.Code, "%s\n%s", r, e.Log())
	r = harness.Do(t, harness.Command(t, "repair", "public.accounts", "--lake", pipe.Lake, "--name", pipe.Name, "--where", "aid < 100"))
	require.Equal(t, 0, r.Code, "%s\n%s", r, e.Log())
	require.Contains(t, r.Stdout, "equals its source")
	e.Stop()
}

// TestAdoptRepairs loses the slot, changes rows and keys and deletes some, and adopts the lake with --repair: of a table of a million rows
// (LAKELOAD_LONG) hardly anything is written anew.
func TestAdoptRepairs(t *testing.T) {
	harness.Need(t)
	n := "100000"
	if harness.Long() {
		n = "1000000"
	}
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	accounts(t, db, n)
	pipe := harness.NewPipeline(t, db)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	pipe.Sync(t, e)
	e.Stop()
	db.DropSlots(t)
	db.Exec(t, "update accounts set abalance = 5 where aid % 211 = 0 and aid < 100000", "delete from accounts where aid % 307 = 0 and aid < 80000",
		"update accounts set aid = -aid where aid % 401 = 0 and aid < 80000", "insert into accounts select 5000000 + i, 1, 1, 'new', now() from generate_series(1, 100) i")
	r := harness.Do(t, harness.Command(t, "adopt", "--source", pipe.DB.DSN, "--lake", pipe.Lake, "--name", pipe.Name, "--repair", "-y"))
	require.Equal(t, 0, r.Code, "%s", r)
	e = pipe.Start(t)
	event := e.Await("table_repaired", func(e harness.Event) bool { return e.Table == "public.accounts" })
	e.Await("stream_started", nil)
	db.Exec(t, "update accounts set abalance = 9 where aid < 0", "delete from accounts where aid between 100 and 110")
	pipe.Sync(t, e)
	_, r = verify(t, pipe)
	require.Equal(t, 0, r.Code, "%s\n%s", r, e.Log())
	var done lakehouse.Repaired
	require.NoError(t, json.Unmarshal([]byte(event.Line), &done))
	t.Logf("repaired: %+v", done)
	require.Greater(t, done.Keys, int64(1000))
	require.Less(t, done.Bytes*20, done.TableBytes)
	e.Stop()
}
