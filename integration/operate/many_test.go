package operate

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

// A database with many tables, one of them large: neither memory nor open files go with their number times what one may have, and all of them are
// right, also when the process may not open many files.
func TestManyTablesAndOneLarge(t *testing.T) {
	harness.Need(t)
	const many, openMost = 150, 1024
	db := harness.NewDatabase(t, pgtest.Shared(t, 15))
	db.Exec(t, "create table large (id bigint primary key, v text)", "insert into large select i, md5(i::text) from generate_series(1, 400000) i")
	var names, statements []string
	for i := range many {
		name := fmt.Sprintf("small_%d", i)
		names = append(names, name)
		statements = append(statements, "create table "+name+" (id int primary key, v text)", "insert into "+name+" select i, md5(i::text) from generate_series(1, 200) i")
	}
	db.Exec(t, statements...)
	pipe := harness.NewPipeline(t, db, "--memory", "64MiB")
	e := pipe.Start(t)
	pipe.Sync(t, e)
	for round := range 5 {
		statements = statements[:0]
		for _, name := range names {
			statements = append(statements, fmt.Sprintf("update %s set v = v || '%d' where id %% 7 = %[2]d", name, round), fmt.Sprintf("delete from %s where id = %d", name, round+1))
		}
		statements = append(statements, fmt.Sprintf("update large set v = v || '!' where id %% 11 = %d", round))
		db.Exec(t, statements...)
		pipe.Sync(t, e)
	}
	pipe.Same(t, readers.DuckDB, "large", names[0], names[77], names[many-1])

	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", e.Pid()))
	if err != nil {
		t.Logf("what the process takes is looked at on Linux alone: %v", err)
		return
	}
	require.Less(t, len(files), openMost, "open files")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.Pid()))
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(t, err)
			t.Logf("%d tables: %d open files, %d MiB at most", many+2, len(files), kib>>10)
			require.Less(t, kib>>10, 64+64/2+48+64, "the budget, half as much again, and what a process of this kind takes anyway")
		}
	}
}
