package formats_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
)

// onlyWithAll leaves a test to `make formats`, as wanted does with tables.
func onlyWithAll(t *testing.T) {
	t.Helper()
	if !wanted("") {
		t.Skip("left out: Spark takes long for it; make formats has it")
	}
}

// sparkMade has Spark run the statements that make a table and gives its path.
func sparkMade(t *testing.T, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t")
	exec(t, path, statements...)
	return path
}

// sparkIDs is what Spark says of each row: id, row id and version.
func sparkIDs(t *testing.T, path string) []string {
	t.Helper()
	rows, err := readers.Get(t, readers.Spark).SQL(t.Context(), "SELECT id, _metadata.row_id, _metadata.row_commit_version FROM "+readers.SparkTable(path, nil))
	require.NoError(t, err)
	return joined(rows)
}

func joined(rows [][]string) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = strings.Join(r, " ")
	}
	slices.Sort(out)
	return out
}

// ourIDs is the same, as we read it.
func ourIDs(t *testing.T, s *tablefmt.Snapshot) []string {
	t.Helper()
	var out []string
	for a := range s.Files() {
		o := tablefmt.ReadOptions{Columns: []string{"id"}, RowIDs: true}
		require.NoError(t, s.ReadFile(t.Context(), a, o, func(rec arrow.RecordBatch, _ int64) error {
			for i := range int(rec.NumRows()) {
				out = append(out, fmt.Sprintf("%s %s %s", rec.Column(0).ValueStr(i), rec.Column(1).ValueStr(i), rec.Column(2).ValueStr(i)))
			}
			return nil
		}))
	}
	slices.Sort(out)
	return out
}

// sameIDs compares what both read, and holds that no row id is there twice.
func sameIDs(t *testing.T, path string) []string {
	t.Helper()
	ids := sparkIDs(t, path)
	require.Equal(t, ids, ourIDs(t, load(t, path)))
	seen := map[string]bool{}
	for _, row := range ids {
		id := strings.Fields(row)[1]
		require.False(t, seen[id], "row id %s is there twice: %q", id, ids)
		seen[id] = true
	}
	return ids
}

// stay holds that rows which were there before are there with the same ids and
// versions.
func stay(t *testing.T, before, after []string, but ...int) {
	t.Helper()
	for _, row := range before {
		id, err := strconv.Atoi(strings.Fields(row)[0])
		require.NoError(t, err)
		if !slices.Contains(but, id) {
			require.Contains(t, after, row)
		}
	}
}

// writeRows writes a file of the given lines of JSON by the table's own writer.
func writeRows(t *testing.T, s *tablefmt.Snapshot, o tablefmt.FileOptions, lines string) *tablefmt.AddFile {
	t.Helper()
	w, err := s.NewFileWriter(t.Context(), o)
	require.NoError(t, err)
	defer w.Abort()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.DataArrow(), strings.NewReader("["+lines+"]"))
	require.NoError(t, err)
	defer rec.Release()
	_, err = w.Write(rec)
	require.NoError(t, err)
	a, err := w.Close()
	require.NoError(t, err)
	return a
}

func add(t *testing.T, s *tablefmt.Snapshot, files ...*tablefmt.AddFile) *tablefmt.Snapshot {
	t.Helper()
	x := tablefmt.Begin(s.Location(), s)
	for _, a := range files {
		x.Add(*a)
	}
	return commit(t, x)
}

// TestRowIDsStay writes to tables whose rows have ids, by turns with Spark: appends, deletion vectors, rewrites, restores, checkpoints.
func TestRowIDsStay(t *testing.T) {
	if !wanted("") {
		t.Skip("left out: Spark takes long for it; make formats has it")
	}
	for name, more := range map[string]string{
		"plain": "", "mapped": ", 'delta.columnMapping.mode' = 'name'", "mapped by id": ", 'delta.columnMapping.mode' = 'id'",
	} {
		t.Run(name, func(t *testing.T) {
			path := sparkMade(t,
				"CREATE TABLE {t} (id LONG, v STRING) USING delta TBLPROPERTIES ('delta.enableRowTracking' = 'true', 'delta.enableDeletionVectors' = 'true'"+more+")",
				"INSERT INTO {t} SELECT id, 'a' FROM range(5)", "UPDATE {t} SET v = 'b' WHERE id = 2",
			)
			was := sameIDs(t, path)
			s := load(t, path)
			s = add(t, s, writeRows(t, s, tablefmt.FileOptions{}, `{"id":10,"v":"x"},{"id":11,"v":"y"}`), writeRows(t, s, tablefmt.FileOptions{}, `{"id":12,"v":"z"}`))
			appended := s
			now := sameIDs(t, path)
			stay(t, was, now)
			deleteFirstRows(t, s)
			stay(t, sameIDs(t, path), now)
			exec(t, path, "UPDATE {t} SET v = 'c' WHERE id = 11", "INSERT INTO {t} VALUES (20, 'n')", "DELETE FROM {t} WHERE id = 20")
			was = sameIDs(t, path)

			s = rewriteKeepingIDs(t, load(t, path))
			now = sameIDs(t, path)
			require.Equal(t, was, now, "a rewrite changes no id")
			require.NoError(t, tablefmt.Checkpoint(t.Context(), s))
			readFromCheckpoint(t, path, s)
			exec(t, path, "OPTIMIZE {t}", "INSERT INTO {t} VALUES (21, 'm')", "MERGE INTO {t} USING (SELECT 12L AS id) s ON {t}.id = s.id WHEN MATCHED THEN UPDATE SET v = 'merged'")
			stay(t, was, sameIDs(t, path), 12)

			s, _, err := tablefmt.Restore(t.Context(), appended, tablefmt.RestoreOptions{})
			require.NoError(t, err)
			back := sameIDs(t, path)
			require.Equal(t, ourIDs(t, appended), back, "what comes back has its ids again")
			s = add(t, s, writeRows(t, s, tablefmt.FileOptions{}, `{"id":30,"v":"x"}`))
			stay(t, back, sameIDs(t, path))
			exec(t, path, "INSERT INTO {t} VALUES (31, 'm')", fmt.Sprintf("RESTORE TABLE {t} TO VERSION AS OF %d", s.Version()))
			stay(t, back, sameIDs(t, path))
		})
	}
}

// rewriteKeepingIDs writes all rows into one file.
func rewriteKeepingIDs(t *testing.T, s *tablefmt.Snapshot) *tablefmt.Snapshot {
	t.Helper()
	w, err := s.NewFileWriter(t.Context(), tablefmt.FileOptions{Rearranges: true, RowIDs: true})
	require.NoError(t, err)
	defer w.Abort()
	x := tablefmt.Begin(s.Location(), s)
	x.SetInfo("OPTIMIZE", map[string]any{"predicate": "[]"})
	for a := range s.Files() {
		require.NoError(t, s.ReadFile(t.Context(), a, tablefmt.ReadOptions{RowIDs: true}, func(rec arrow.RecordBatch, _ int64) error {
			_, err := w.Write(rec)
			return err
		}))
		x.Remove(*a.Remove(1, false))
	}
	a, err := w.Close()
	require.NoError(t, err)
	x.Add(*a)
	return commit(t, x)
}

// TestRowTrackingIsTurnedOn for a table with rows, by us; Spark goes on.
func TestRowTrackingIsTurnedOn(t *testing.T) {
	onlyWithAll(t)
	path := sparkMade(t, "CREATE TABLE {t} (id LONG, v STRING) USING delta TBLPROPERTIES ('delta.enableRowTracking' = 'false', 'delta.feature.rowTracking' = 'supported')",
		"INSERT INTO {t} SELECT id, 'a' FROM range(3)")
	plain := sparkMade(t, "CREATE TABLE {t} (id LONG, v STRING) USING delta TBLPROPERTIES ('delta.enableRowTracking' = 'false')", "INSERT INTO {t} SELECT id, 'a' FROM range(3)", "INSERT INTO {t} VALUES (7, 'q')")
	for _, path := range []string{path, plain} {
		s := load(t, path)
		p, err := s.Protocol().With("rowTracking", "domainMetadata")
		require.NoError(t, err)
		m := s.Metadata().Clone()
		m.Configuration[tablefmt.PropRowTracking] = "true"
		x := tablefmt.Begin(s.Location(), s)
		x.SetProtocol(p)
		x.SetMetadata(m)
		x.SetInfo("SET TBLPROPERTIES", nil)
		s = commit(t, x)
		was := sameIDs(t, path)
		add(t, s, writeRows(t, s, tablefmt.FileOptions{}, `{"id":10,"v":"x"}`))
		exec(t, path, "UPDATE {t} SET v = 'u' WHERE id = 1", "OPTIMIZE {t}")
		stay(t, was, sameIDs(t, path), 1)
	}
}
