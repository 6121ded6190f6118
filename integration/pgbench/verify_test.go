package pgbench

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
	"github.com/lakeload/lakeload/lakehouse"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// told is what `verify -o json` tells.
type told struct {
	LSN    string `json:"lsn"`
	Tables []struct {
		Table  string `json:"table"`
		Result string `json:"result"`
		Reason string `json:"reason"`
		lakehouse.AuditResult
	} `json:"tables"`
}

func verify(t *testing.T, pipe *harness.Pipeline, args ...string) (told, harness.Result) {
	t.Helper()
	r := harness.Do(t, harness.Command(t, append([]string{"verify", "--source", pipe.DB.DSN, "--lake", pipe.Lake, "--name", pipe.Name, "-o", "json", "-q"}, args...)...))
	var v told
	if r.Code == 0 || r.Code == 5 {
		require.NoError(t, json.Unmarshal([]byte(r.Stdout), &v), "%s", r)
	}
	return v, r
}

// TestVerify compares source and lake again and again while every transaction of pgbench updates one of a few rows, and then finds what was
// done to the lake behind its back.
func TestVerify(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	pgbench(t, db, "-i", "-q", "-s", "2").wait(t)
	db.Exec(t, "alter table pgbench_history replica identity full")
	pipe := harness.NewPipeline(t, db)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	pipe.Sync(t, e)
	load := pgbench(t, db, "-c", "4", "-j", "2", "-T", "20", "-n")
	until := time.Now().Add(18 * time.Second)
	rounds := 0
	for ; time.Now().Before(until); rounds++ {
		v, r := verify(t, pipe)
		require.Equal(t, 0, r.Code, "%s\n%s", r, e.Log())
		require.Len(t, v.Tables, 5)
		for _, table := range v.Tables {
			require.True(t, table.Equal, table.Table)
		}
	}
	t.Logf("%d comparisons under load, all equal", rounds)
	require.Greater(t, rounds, 3)
	load.wait(t)
	pipe.Sync(t, e)
	tamper(t, pipe, "pgbench_tellers", "tid", func(tid int32) (int, int32) { return int(min(tid-1, 1)), 0 }, 1)
	_, r := verify(t, pipe)
	require.Equal(t, 5, r.Code, "%s", r)
	require.Contains(t, r.Stdout, "another program has changed it since")
	e.Stop()

	_, r = verify(t, pipe)
	require.Equal(t, 1, r.Code)
	require.Contains(t, r.Stderr, "--at-rest")
	_, r = verify(t, pipe, "--at-rest", "public.pgbench_accounts", "public.pgbench_branches", "public.pgbench_history")
	require.Equal(t, 0, r.Code, "%s", r)

	tamper(t, pipe, "pgbench_accounts", "aid", func(aid int32) (times int, balance int32) {
		switch aid {
		case 1000: // altered
			return 1, 123456789
		case 2000: // removed
			return 0, 0
		case 3000: // doubled
			return 2, 0
		}
		return 1, 0
	}, 3)
	e = pipe.Start(t)
	e.Await("stream_started", nil)
	stopped := pipe.Status(t)["public.pgbench_accounts"]
	require.Equal(t, "stopped", stopped.Phase, "the engine has noticed it at its start")
	_, r = verify(t, pipe, "public.pgbench_accounts")
	require.Equal(t, 1, r.Code, "it is not what the engine feeds any more: %s", r)
	e.Stop()

	v, r := verify(t, pipe, "public.pgbench_accounts", "--at-rest")
	require.Equal(t, 5, r.Code, "%s", r)
	require.Len(t, v.Tables, 1)
	got := v.Tables[0]
	require.Equal(t, "differs", got.Result)
	require.EqualValues(t, 200_000, got.SourceRows)
	require.EqualValues(t, 200_000, got.LakeRows)
	require.Len(t, got.Differences, 3)
	require.Equal(t, "aid=1000", got.Differences[0].Key)
	require.Equal(t, []string{"abalance"}, got.Differences[0].Columns)
	require.Equal(t, "aid=2000", got.Differences[1].Key)
	require.Empty(t, got.Differences[1].Lake)
	require.Equal(t, "aid=3000", got.Differences[2].Key)
	require.Len(t, got.Differences[2].Lake, 1)
	require.Empty(t, got.Differences[2].Source)
}

// tamper rewrites a table of the lake as another program would: how often each row is there, and with which balance if not 0.
func tamper(t *testing.T, pipe *harness.Pipeline, table, key string, change func(id int32) (times int, balance int32), rows int) {
	t.Helper()
	store, err := objstore.NewLocal(filepath.Join(pipe.Lake, "public", table))
	require.NoError(t, err)
	defer store.Close()
	loc := tablefmt.Location{Data: store}
	snap, err := tablefmt.Load(t.Context(), loc)
	require.NoError(t, err)
	schema, err := snap.Schema().Arrow()
	require.NoError(t, err)
	w, err := tablefmt.NewFileWriter(t.Context(), loc, schema, tablefmt.FileOptions{})
	require.NoError(t, err)
	tx := tablefmt.Begin(loc, snap)
	done := 0
	for add := range snap.Files() {
		err := snap.ReadFile(t.Context(), add, tablefmt.ReadOptions{}, func(rec arrow.RecordBatch, _ int64) error {
			ids := rec.Column(rec.Schema().FieldIndices(key)[0]).(*array.Int32)
			from := int64(0)
			flush := func(to int64) error {
				if to == from {
					return nil
				}
				_, err := w.Write(rec.NewSlice(from, to))
				return err
			}
			for i := range rec.NumRows() {
				times, balance := change(ids.Value(int(i)))
				if times == 1 && balance == 0 {
					continue
				}
				done++
				if err := flush(i); err != nil {
					return err
				}
				from = i + 1
				for range times {
					if _, err := w.Write(withBalance(rec.NewSlice(i, i+1), balance)); err != nil {
						return err
					}
				}
			}
			return flush(rec.NumRows())
		})
		require.NoError(t, err)
		tx.Remove(*add.Remove(time.Now().UnixMilli(), true))
	}
	require.Equal(t, rows, done)
	add, err := w.Close()
	require.NoError(t, err)
	tx.Add(*add)
	tx.SetInfo("WRITE", nil)
	_, err = tx.Commit(t.Context())
	require.NoError(t, err)
}

func withBalance(row arrow.RecordBatch, balance int32) arrow.RecordBatch {
	if balance == 0 {
		return row
	}
	b := array.NewInt32Builder(memory.DefaultAllocator)
	b.Append(balance)
	cols := append([]arrow.Array(nil), row.Columns()...)
	at := row.Schema().FieldIndices("abalance")[0]
	cols[at] = b.NewArray()
	return array.NewRecordBatch(row.Schema(), cols, 1)
}

// TestVerifyWhere compares by conditions on columns of many types; how many rows each means PostgreSQL says.
func TestVerifyWhere(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	db.Exec(t, `create type mood as enum ('sad', 'ok', 'happy')`)
	db.Exec(t, `create table v (id int primary key, n bigint, s smallint, f double precision, r real, d numeric(10,2), big numeric, t text, c varchar(10), b boolean, day date, ts timestamp, tz timestamptz, u uuid, m mood)`)
	db.Exec(t, `insert into v select i, case when i % 7 <> 0 then i * 1000000007::bigint end, i % 100, case i % 5 when 0 then 'NaN' when 1 then '-Infinity' else i / 3.0 end, i / 10.0,
		case when i % 11 = 0 then 'NaN' else i / 4.0 end, case when i % 13 = 0 then 1e30 else i end, case when i % 17 = 0 then null else chr(65 + i % 60) || i end, 'c' || i % 9, i % 2 = 0,
		case when i % 19 = 0 then 'infinity' else date '2020-01-01' + i end, timestamp '2020-01-01' + i * interval '1 hour 1 microsecond', timestamptz '2020-01-01 00:00+00' + i * interval '1 hour',
		md5(i::text)::uuid, (array['sad', 'ok', 'happy'])[i % 3 + 1]::mood from generate_series(1, 1000) i`)
	pipe := harness.NewPipeline(t, db)
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	pipe.Sync(t, e)
	for _, pair := range [][2]string{ // theirs, if it is written otherwise
		{"id between 100 and 199 and s <> 50", ""},
		{"n > 500000003500 or n is null", ""},
		{"not (n > 500000003500 or n is null)", ""},
		{"f = 'NaN'", ""},
		{"f > 100", ""},
		{"f <= '-Infinity'", ""},
		{"r = 0.1 or r = 0.5", "r = 0.1::float8 or r = 0.5::float8"},
		{"d >= 200.25", ""},
		{"d < 200.25 and d <> 1", ""},
		{"d = 'NaN'", ""},
		{"big > 1e29", ""},
		{"big in (1, 2.0, 1e30)", ""},
		{"t < 'a' and t > 'Q'", `t collate "C" < 'a' and t collate "C" > 'Q'`},
		{"t in ('A60', 'B1') or t is null", ""},
		{"not t = 'B1'", ""},
		{"c = 'c3'", ""},
		{"b = true and not b = false", "b"},
		{"day > '2021-01-01'", ""},
		{"day = 'infinity' or day in ('2020-01-05')", ""},
		{"day between '2020-02-01' and '2020-02-29'", ""},
		{"ts >= '2020-01-10 05:00:00.000221'", ""},
		{"tz < '2020-01-10 02:00:00+02'", ""},
		{"u = 'c4ca4238-a0b9-2382-0dcc-509a6f75849b'", ""},
		{"m not in ('sad', 'ok')", ""},
		{"id < 500 and (b = false or not (m = 'ok' and s < 20))", ""},
	} {
		ours, theirs := pair[0], pair[1]
		if theirs == "" {
			theirs = ours
		}
		want, err := strconv.ParseInt(db.Value(t, "select count(*) from v where "+theirs), 10, 64)
		require.NoError(t, err)
		v, r := verify(t, pipe, "public.v", "--where", ours)
		require.Equal(t, 0, r.Code, "%s: %s", ours, r)
		require.Equal(t, want, v.Tables[0].SourceRows, ours)
		require.Equal(t, want, v.Tables[0].LakeRows, ours)
	}
	_, r := verify(t, pipe, "public.v", "--where", "id = 1; drop table v")
	require.Equal(t, 2, r.Code, "%s", r)
	_, r = verify(t, pipe, "public.v", "--where", "m < 'ok'")
	require.Equal(t, 2, r.Code, "%s", r)
	v, r := verify(t, pipe, "public.v", "--sample", "10%", "--seed", "a", "--rate", "1MiB")
	require.Equal(t, 0, r.Code, "%s", r)
	require.InDelta(t, 100, v.Tables[0].SourceRows, 60)
	e.Stop()
}
