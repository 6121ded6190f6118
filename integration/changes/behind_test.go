package changes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// behind are changes that are followed, after which a column comes whose values only the source's rows have.
var behind = map[string]string{
	"dropped":   "alter table dropped drop other",
	"renamed":   "alter table renamed rename other to another",
	"added":     "alter table added add more int default 5",
	"added_two": "alter table added_two add more int; update added_two set more = 3; alter table added_two drop other",
	"widened":   "alter table widened alter n type bigint",
}

// TestEdge43AddedWhileTheEngineWasBehind alters tables while the engine is down. When it reads of the first alteration the catalogue knows of the
// second already, which wrote the rows anew: that is not taken for what the first one had left.
func TestEdge43AddedWhileTheEngineWasBehind(t *testing.T) {
	harness.Need(t)
	db := harness.NewDatabase(t, pgtest.Shared(t, pgtest.Version(18)))
	var tables []string
	for table := range behind {
		tables = append(tables, table)
		db.Exec(t, "create table "+table+" (id int primary key, n int, other text, v text); insert into "+table+" select i, i, 'other', 'row ' || i from generate_series(1, 10) i")
	}
	pipe := harness.NewPipeline(t, db, "-c", configuration(t, "on_schema_change: {add: evolve, drop: drop, rename: rename, type: resync, rewrite: resync}\n"))
	pipe.UntilCurrent(t)
	for table, change := range behind {
		db.Exec(t, change, "update "+table+" set v = 'changed' where id = 1", "alter table "+table+" add late uuid default gen_random_uuid()", "update "+table+" set v = 'again' where id = 2")
	}
	pipe.UntilCurrent(t)
	pipe.UntilCurrent(t)
	for _, table := range tables {
		require.Equal(t, "", pipe.Differs(t, readers.DuckDB, table))
	}
}
