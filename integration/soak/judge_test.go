package soak

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
)

// patience bounds the wait for the lake to become what the source is. A copy that had to begin again and again waits longer each time.
const patience = 3 * time.Minute

const exactColumn = "_lakeload_exact"

// equal fails the test unless the lake becomes what the source is while nobody writes: each table of the source lives in the lake under
// its OID, with its columns and rows as DuckDB reads them.
func (r *run) equal() {
	r.t.Helper()
	begun := time.Now()
	r.load.hold()
	defer r.load.resume()
	var differ []string
	for tries := 1; ; tries++ {
		r.sync(begun)
		var rows int64
		looked := time.Now()
		if differ, rows = r.differences(); len(differ) == 0 {
			r.checks, r.compared = r.checks+1, r.compared+rows
			r.states()
			r.t.Logf("%s: equal after %v, at look %d, which took %v: %d tables, %d rows", r.at(), time.Since(begun).Round(10*time.Millisecond), tries, time.Since(looked).Round(10*time.Millisecond), len(r.tables()), rows)
			return
		}
		if time.Since(begun) > patience {
			r.fatalf("the lake is not what the source is %v after the last statement:\n%s", patience, strings.Join(differ, "\n"))
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// epochsLooked is how many of the epochs since the last look are looked at.
const epochsLooked = 20

// states fails the test unless epochs show states that the source had: in each of them the four sums of pgbench are the same, as DuckDB reads
// the versions that the epoch names.
func (r *run) states() {
	r.t.Helper()
	all := r.pipe.Epochs(r.t, 0)
	var since, sample []harness.Epoch
	for _, e := range all {
		if e.Epoch > r.epochs {
			since = append(since, e)
		}
	}
	for i := 0; i < len(since); i += 1 + len(since)/epochsLooked {
		sample = append(sample, since[i])
	}
	r.epochs = all[len(all)-1].Epoch
	r.looked += harness.SameSumsAt(r.t, r.pipe, sample, harness.Sum{Table: "pgbench_accounts", Column: "abalance"}, harness.Sum{Table: "pgbench_branches", Column: "bbalance"},
		harness.Sum{Table: "pgbench_tellers", Column: "tbalance"}, harness.Sum{Table: "pgbench_history", Column: "delta"})
}

// sync waits until the lake has everything that is committed now. A server that was restarted again and again has a long log to go through.
func (r *run) sync(begun time.Time) {
	r.t.Helper()
	before, err := cdc.ParseLSN(r.load.db.LSN(r.t))
	require.NoError(r.t, err)
	for {
		r.load.db.Exec(r.t, "update lakeload_mark set n = n + 1")
		r.wait(300 * time.Millisecond)
		if slices.ContainsFunc(r.engine.Events("batch_committed"), func(ev harness.Event) bool {
			at, err := cdc.ParseLSN(ev.LSN)
			return err == nil && at > before
		}) {
			return
		}
		if time.Since(begun) > patience {
			r.fatalf("waited %v in vain for a batch after %s\n%s", patience, before, r.engine.Log())
		}
	}
}

// tables are the source's tables by their OIDs.
func (r *run) tables() map[uint32]string {
	var told map[uint32]string
	list := r.load.db.Value(r.t, "select json_object_agg(oid, relname) from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition")
	require.NoError(r.t, json.Unmarshal([]byte(list), &told))
	return told
}

// inLake is a table as `lakeload status -o json` tells it.
type inLake struct {
	OID    uint32 `json:"oid"`
	Table  string `json:"table"`
	Phase  string `json:"phase"`
	Reason string `json:"reason"`
}

func (r *run) inLake() []inLake {
	var told struct {
		Tables []inLake `json:"tables"`
	}
	out := harness.Call(r.t, "status", "--lake", r.pipe.Lake, "--name", r.pipe.Name, "-o", "json").Stdout
	require.NoError(r.t, json.Unmarshal([]byte(out), &told))
	return told.Tables
}

// differences are those between source and lake, and how many rows were compared where there are none.
func (r *run) differences() (differ []string, rows int64) {
	r.t.Helper()
	source := r.tables()
	catalog := harness.NewCatalog(r.t, r.load.db)
	for _, t := range r.inLake() {
		name, exists := source[t.OID]
		switch {
		case exists && (t.Phase == "stopped" || t.Phase == "offered"):
			r.fatalf("the table %s (%s at the source) needs a person: it is %s: %s", t.Table, name, t.Phase, t.Reason)
		case !exists && t.Phase != "detached":
			differ = append(differ, fmt.Sprintf("%s is %s in the lake, and the source does not have it", t.Table, t.Phase))
		case !exists || t.Phase == "detached":
		case t.Phase != "live":
			differ = append(differ, fmt.Sprintf("%s is %s: %s", name, t.Phase, t.Reason))
			delete(source, t.OID)
		default:
			d, n := r.compare(catalog, name, filepath.Join(r.pipe.Lake, "public", t.Table))
			if d != "" {
				differ = append(differ, fmt.Sprintf("%s (in the lake %s): %s", name, t.Table, d))
			}
			rows += n
			delete(source, t.OID)
		}
	}
	for oid, name := range source {
		differ = append(differ, fmt.Sprintf("%s (%d) is not in the lake", name, oid))
	}
	slices.Sort(differ)
	return differ, rows
}

// compare says how a table differs from its source.
func (r *run) compare(catalog *harness.Catalog, name, path string) (differ string, rows int64) {
	r.t.Helper()
	duck := readers.Get(r.t, readers.DuckDB)
	described, err := duck.SQL(r.t.Context(), "describe select * from "+readers.DeltaScan(path, nil))
	if err != nil {
		return err.Error(), 0
	}
	var has []string
	for _, d := range described {
		has = append(has, d[0])
	}
	exact := slices.Contains(has, exactColumn)
	if strings.HasPrefix(name, "pgbench_") {
		return r.compareMany(name, path)
	}
	columns, want := catalog.Expected(name, true)
	if !exact {
		columns = columns[:len(columns)-1]
		for i, row := range want {
			if row[len(row)-1] != readers.Null {
				return "the lake has no exact texts, which it needs", 0
			}
			want[i] = row[:len(row)-1]
		}
	}
	for _, c := range has {
		if !slices.Contains(columns, c) && !r.keepsColumns {
			return fmt.Sprintf("the lake has the column %q more: %q, the source %q", c, has, columns), 0
		}
	}
	for _, c := range columns {
		if !slices.Contains(has, c) {
			return fmt.Sprintf("the lake lacks the column %q: %q, the source %q", c, has, columns), 0
		}
	}
	got, err := duck.Rows(r.t.Context(), path, nil, columns)
	if err != nil {
		return err.Error(), 0
	}
	return readers.Diff(got, want), int64(len(want))
}

// compareMany does the same of a table whose columns are plain and do not change.
func (r *run) compareMany(name, path string) (differ string, rows int64) {
	columns := r.pipe.Columns(r.t, name)
	want, err := readers.PGFingerprint(r.t.Context(), r.load.db.DSN, "public", name, columns)
	require.NoError(r.t, err)
	got, err := readers.Get(r.t, readers.DuckDB).Fingerprint(r.t.Context(), path, nil, columns)
	if err != nil {
		return err.Error(), 0
	}
	if got != want {
		return fmt.Sprintf("the source has %s, the lake %s", want, got), 0
	}
	return "", want.Rows
}
