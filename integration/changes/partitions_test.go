package changes

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// partitioned are changes of a table T with the partitions T_1, T_2 and T_3, and whether the stream tells of them.
var partitioned = map[string]struct {
	sql    string
	reason string // what the notice says; empty: the stream tells
}{
	"moving":    {sql: "update T set k = 3 - k where k < 3; update T set id = id + 100, k = 3 where id = 1; delete from T where id = 2"},
	"made":      {sql: "create table T_4 partition of T for values in (4); insert into T values (400, 4, 'new'); update T set k = 4 where id = 3"},
	"empty":     {sql: "create table T_4 (v text, k int not null, id int not null); alter table T attach partition T_4 for values in (4); insert into T values (400, 4, 'new')"},
	"own_names": {sql: "insert into T_1 values (401, 1, 'by the name of the partition'); update T_1 set v = 'also' where id = 4; delete from T_2 where id = 5"},
	"emptied":   {sql: "truncate T; insert into T values (1, 1, 'after')"},
	"evolved":   {sql: "alter table T add w int default 7; create table T_4 partition of T for values in (4); insert into T values (400, 4, 'new', 8)"},
	"by_key":    {sql: "alter table T_1 replica identity default; update T set v = 'changed' where k = 1"},
	"attached":  {sql: "create table T_4 (v text, k int not null, id int not null); insert into T_4 values ('brought', 4, 400); alter table T attach partition T_4 for values in (4)", reason: "attached with rows"},
	"detached":  {sql: "alter table T detach partition T_2; insert into T values (402, 1, 'x')", reason: "detached or dropped"},
	"dropped_p": {sql: "drop table T_2", reason: "detached or dropped"},
	"leaf":      {sql: "truncate T_2; insert into T values (1002, 2, 'after')", reason: "emptied"},
}

// TestEdge46Partitions changes partitions while the engine runs. What the stream tells is followed; what it does not is noticed, and stops
// the table with the offer of a resync, or has it copied again where the configuration says so.
func TestEdge46Partitions(t *testing.T) {
	harness.Need(t)
	for _, policy := range []string{"stop", "resync"} {
		t.Run(policy, func(t *testing.T) {
			db := harness.NewDatabase(t, pgtest.Shared(t, pgtest.Version(18)))
			for table := range partitioned {
				db.Exec(t, "create table "+table+" (id int, k int, v text, primary key (id, k)) partition by list (k)")
				for _, k := range []string{"1", "2", "3"} {
					db.Exec(t, "create table "+table+"_"+k+" partition of "+table+" for values in ("+k+")")
				}
				db.Exec(t, "insert into "+table+" select i, 1 + i % 2, 'row ' || i from generate_series(1, 10) i")
			}
			pipe := harness.NewPipeline(t, db, "-c", configuration(t, watching+"on_new_table: ignore\non_schema_change: {partition: "+policy+"}\n"))
			e := pipe.Start(t)
			e.Await("stream_started", nil)
			pipe.Sync(t, e)
			for table, c := range partitioned {
				for _, sql := range strings.Split(c.sql, "; ") {
					db.Exec(t, strings.ReplaceAll(sql, "T", table))
				}
			}
			for table, c := range partitioned {
				if c.reason != "" {
					event := map[string]string{"stop": "table_stopped", "resync": "table_resync"}[policy]
					told := e.Await(event, func(ev harness.Event) bool { return ev.Table == "public."+table })
					require.Contains(t, told.Reason, c.reason)
				}
			}
			harness.Await(t, "the copies", func() (bool, string) {
				stopped := 0
				for _, s := range pipe.Status(t) {
					if s.Phase == "copying" {
						return false, e.Log()
					}
					if s.Phase == "stopped" {
						stopped++
						require.Contains(t, s.Remedy, "lakeload resync")
					}
				}
				require.Equal(t, map[string]int{"stop": 4, "resync": 0}[policy], stopped)
				return true, ""
			})
			pipe.Sync(t, e)
			e.Stop()
			for table, c := range partitioned {
				if c.reason == "" || policy == "resync" {
					pipe.Same(t, readers.DuckDB, table)
				}
			}
			if policy == "resync" {
				return
			}
			for table, c := range partitioned {
				if c.reason != "" {
					harness.Call(t, "resync", "public."+table, "--lake", pipe.Lake, "--name", pipe.Name)
				}
			}
			e = pipe.Start(t)
			harness.Await(t, "every table", func() (bool, string) { return len(pipe.Sync(t, e).Incomplete) == 0, e.Log() })
			e.Stop()
			for table := range partitioned {
				pipe.Same(t, readers.DuckDB, table)
			}
		})
	}
}
