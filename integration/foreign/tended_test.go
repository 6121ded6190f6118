package foreign

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// tended are what people do to a table to have it kept otherwise, none of which
// changes a row.
var tended = []string{
	"COMMENT ON TABLE %s IS 'everything'",
	"ALTER TABLE %s SET TBLPROPERTIES ('delta.logRetentionDuration' = 'interval 40 days', 'delta.dataSkippingNumIndexedCols' = '2', 'team' = 'orders')",
	"ALTER TABLE %s ALTER COLUMN v COMMENT 'a text'",
	"ALTER TABLE %s ADD CONSTRAINT positive CHECK (id > 0)",
	"ALTER TABLE %s SET TBLPROPERTIES ('delta.enableRowTracking' = 'true')",
	"ALTER TABLE %s SET TBLPROPERTIES ('delta.enableInCommitTimestamps' = 'true')",
	"ALTER TABLE %s SET TBLPROPERTIES ('delta.feature.allowColumnDefaults' = 'supported')",
	"ALTER TABLE %s CLUSTER BY (id)",
	"ALTER TABLE %s SET TBLPROPERTIES ('delta.checkpointPolicy' = 'v2')",
	"ALTER TABLE %s SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')",
	"OPTIMIZE %s",
	"ALTER TABLE %s DROP CONSTRAINT positive",
}

// TestMirrorsThatSparkTends has Spark change how a mirror is kept, while its engine
// runs and while it is killed: it goes on as it was told to, and a resync keeps what
// it was told.
func TestMirrorsThatSparkTends(t *testing.T) {
	harness.Need(t)
	ctx := t.Context()
	db := harness.NewDatabase(t, pgtest.Shared(t, pgtest.Version(18)))
	db.Exec(t, "create table t (id bigint primary key, v text, n int)", "insert into t select i, 'v' || i, i % 7 from generate_series(1, 500) i")
	pipe := harness.NewPipeline(t, db)
	spark := readers.Get(t, readers.Spark)
	table := readers.SparkTable(pipe.Path("t"), nil)
	spoken := func(statement string) {
		t.Helper()
		_, err := spark.Python(ctx, `spark.sql(args); result = []`, fmt.Sprintf(statement, table))
		require.NoError(t, err, statement)
	}
	id := 1000
	changed := func(e *harness.Engine) {
		t.Helper()
		id += 10
		db.Exec(t, fmt.Sprintf("insert into t select i, 'new', 0 from generate_series(%d, %d) i", id, id+4),
			fmt.Sprintf("update t set v = v || '.' where id %% 11 = %d", id/10%11), fmt.Sprintf("delete from t where id = %d", id/10))
		pipe.Sync(t, e)
		pipe.Same(t, readers.Spark, "t")
		require.Equal(t, "live", pipe.Status(t)["public.t"].Phase)
	}
	properties := func() [][]string {
		rows, err := spark.SQL(ctx, "SHOW TBLPROPERTIES "+table)
		require.NoError(t, err)
		described, err := spark.SQL(ctx, "DESCRIBE "+table)
		require.NoError(t, err)
		return append(rows, described...)
	}
	e := pipe.Start(t)
	e.Await("stream_started", nil)
	for i, statement := range tended {
		if i%3 == 2 { // it finds it when it starts
			e.Kill()
			e.Wait()
			spoken(statement)
			e = pipe.Start(t)
			e.Await("stream_started", nil)
		} else {
			spoken(statement)
		}
		changed(e)
	}
	before := properties()
	harness.Call(t, "resync", "public.t", "--lake", pipe.Lake, "--name", pipe.Name)
	changed(e)
	require.Equal(t, before, properties())
	changed(e)
	for _, kind := range []readers.Kind{readers.DuckDB, readers.DeltaRS} {
		pipe.Same(t, kind, "t")
	}
	e.Stop()
}
