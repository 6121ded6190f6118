package formats_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/compaction"
	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/dv"
)

// dataColumns are the columns that stand in files.
func dataColumns(s *tablefmt.Snapshot) (names []string) {
	for _, f := range s.DataArrow().Fields() {
		names = append(names, f.Name)
	}
	return names
}

// copyRows writes the live rows of every file of a snapshot into a new one; those of a column that is of dates are numbered anew, so that
// a column of ours is not null everywhere.
func copyRows(t *testing.T, s *tablefmt.Snapshot, rearranges bool, days string) (files []*tablefmt.AddFile, old []*tablefmt.AddFile) {
	t.Helper()
	for a := range s.Files() {
		values, err := s.PartitionValues(a)
		require.NoError(t, err)
		w, err := s.NewFileWriter(t.Context(), tablefmt.FileOptions{PartitionValues: values, Rearranges: rearranges})
		require.NoError(t, err)
		defer w.Abort()
		o := tablefmt.ReadOptions{Columns: dataColumns(s)}
		require.NoError(t, s.ReadFile(t.Context(), a, o, func(rec arrow.RecordBatch, _ int64) error {
			if at := rec.Schema().FieldIndices(days); len(at) > 0 && rec.Column(at[0]).DataType().ID() == arrow.DATE32 {
				rec = withDays(rec, at[0])
				defer rec.Release()
			}
			_, err := w.Write(rec)
			return err
		}))
		old = append(old, a)
		if w.Rows() == 0 { // all of its rows are deleted
			continue
		}
		added, err := w.Close()
		require.NoError(t, err)
		files = append(files, added)
	}
	return files, old
}

func withDays(rec arrow.RecordBatch, at int) arrow.RecordBatch {
	b := array.NewDate32Builder(memory.DefaultAllocator)
	defer b.Release()
	for i := range rec.NumRows() {
		b.Append(arrow.Date32(20000 + i))
	}
	days := b.NewArray()
	defer days.Release()
	cols := slices.Clone(rec.Columns())
	cols[at] = days
	return array.NewRecordBatch(rec.Schema(), cols, rec.NumRows())
}

func commit(t *testing.T, x *tablefmt.Transaction) *tablefmt.Snapshot {
	t.Helper()
	s, err := x.Commit(t.Context())
	require.NoError(t, err)
	return s
}

// appendCopies doubles the table's rows.
func appendCopies(t *testing.T, s *tablefmt.Snapshot, days string) *tablefmt.Snapshot {
	t.Helper()
	files, _ := copyRows(t, s, false, days)
	x := tablefmt.Begin(s.Location(), s)
	for _, a := range files {
		x.Add(*a)
	}
	return commit(t, x)
}

// deleteFirstRows marks the first row of every second file that has no vector.
func deleteFirstRows(t *testing.T, s *tablefmt.Snapshot) *tablefmt.Snapshot {
	t.Helper()
	x := tablefmt.Begin(s.Location(), s)
	x.SetInfo("DELETE", nil)
	n := 0
	for a := range s.Files() {
		if rows, ok := a.NumRecords(); a.DeletionVector != nil || !ok || rows < 1 {
			continue
		}
		if n++; n%2 == 0 {
			continue
		}
		ds, err := tablefmt.WriteDeletionVectors(t.Context(), s.Location(), []*dv.Bitmap{dv.New(0)})
		require.NoError(t, err)
		with, err := a.WithVector(ds[0])
		require.NoError(t, err)
		x.Remove(*a.Remove(time.Now().UnixMilli(), true))
		x.Add(with)
	}
	require.Positive(t, n)
	return commit(t, x)
}

// compact rewrites all files, by package compaction where the table has no partitions.
func compact(t *testing.T, s *tablefmt.Snapshot) *tablefmt.Snapshot {
	t.Helper()
	if len(s.PartitionColumns()) == 0 {
		next, err := compaction.Pack(t.Context(), s, compaction.Plan{Files: slices.Collect(s.Files())})
		require.NoError(t, err)
		return next
	}
	files, old := copyRows(t, s, true, "")
	x := tablefmt.Begin(s.Location(), s)
	x.SetInfo("OPTIMIZE", map[string]any{"predicate": "[]"})
	for _, a := range old {
		x.Remove(*a.Remove(time.Now().UnixMilli(), false))
	}
	for _, a := range files {
		x.Add(*a)
	}
	return commit(t, x)
}

// changeSchema commits what change makes of the schema.
func changeSchema(t *testing.T, s *tablefmt.Snapshot, change func(*tablefmt.Schema)) *tablefmt.Snapshot {
	t.Helper()
	schema, err := tablefmt.ParseSchema(s.Schema().JSON())
	require.NoError(t, err)
	change(schema)
	m := s.Metadata().Clone()
	require.NoError(t, m.SetSchema(schema))
	x := tablefmt.Begin(s.Location(), s)
	x.SetMetadata(m)
	x.SetInfo("CHANGE COLUMN", nil)
	return commit(t, x)
}

func field(t *testing.T, s *tablefmt.Struct, name string) *tablefmt.Field {
	t.Helper()
	i := s.Index(name)
	require.GreaterOrEqual(t, i, 0, name)
	return &s.Fields[i]
}

// changeMapped renames, drops and adds columns, the nested ones too.
func changeMapped(t *testing.T, s *tablefmt.Schema) {
	field(t, s, "name").Name = "our name"
	field(t, s, "part").Name = "our part"
	s.Fields = slices.Delete(s.Fields, s.Index("fresh"), s.Index("fresh")+1)
	s.Fields = slices.Insert(s.Fields, 1, tablefmt.Field{Name: "days", Type: tablefmt.Date, Nullable: true})
	in := field(t, s, "s").Type.(*tablefmt.Struct)
	field(t, in, "aa").Name = "our a"
	in.Fields = append(in.Fields, tablefmt.Field{Name: "list", Nullable: true, Type: &tablefmt.Array{ContainsNull: true, Element: &tablefmt.Struct{
		Fields: []tablefmt.Field{{Name: "x", Type: tablefmt.Long, Nullable: true}},
	}}})
	value := field(t, s, "m").Type.(*tablefmt.Map).Value.(*tablefmt.Struct)
	value.Fields = slices.Delete(value.Fields, 0, 1)
}

func changeWidened(t *testing.T, s *tablefmt.Schema) {
	field(t, s, "b2s").Type = tablefmt.Integer
	field(t, s, "b2i").Type = tablefmt.Double
	field(t, s, "s2i").Type = tablefmt.Decimal{Precision: 12, Scale: 2}
	field(t, s, "i2l").Type = tablefmt.Decimal{Precision: 20}
	field(t, s, "dec").Type = tablefmt.Decimal{Precision: 12, Scale: 5}
	field(t, field(t, s, "st").Type.(*tablefmt.Struct), "a").Type = tablefmt.Long
	field(t, s, "ar").Type.(*tablefmt.Array).Element = tablefmt.Long
	field(t, s, "ma").Type.(*tablefmt.Map).Key = tablefmt.Long
	field(t, s, "deep").Type.(*tablefmt.Array).Element.(*tablefmt.Map).Value = tablefmt.Decimal{Precision: 14, Scale: 4}
	field(t, field(t, s, "sa").Type.(*tablefmt.Array).Element.(*tablefmt.Struct), "x").Type = tablefmt.Decimal{Precision: 21, Scale: 1}
	s.Fields = append(s.Fields, tablefmt.Field{Name: "days", Type: tablefmt.Date, Nullable: true})
}

// TestWriteSparksTables writes to tables that Spark made, by turns with Spark, and reads every version with Spark.
func TestWriteSparksTables(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testing.T, *tablefmt.Schema)
		spark  []string
	}{
		{"name", changeMapped, []string{
			"ALTER TABLE {t} RENAME COLUMN days TO `their days`", "ALTER TABLE {t} ADD COLUMNS (theirs LONG)", "UPDATE {t} SET theirs = id, s.list = array(named_struct('x', id)) WHERE id = 4",
		}},
		{"id", changeMapped, []string{
			"ALTER TABLE {t} RENAME COLUMN days TO `their days`", "ALTER TABLE {t} ADD COLUMNS (theirs LONG)", "UPDATE {t} SET theirs = id, s.list = array(named_struct('x', id)) WHERE id = 4",
		}},
		{"upgraded", changeMapped, []string{"ALTER TABLE {t} DROP COLUMN days", "ALTER TABLE {t} ADD COLUMNS (days STRING)", "UPDATE {t} SET days = 'x' WHERE id = 4"}},
		{"widened", changeWidened, []string{"ALTER TABLE {t} ALTER COLUMN days TYPE TIMESTAMP_NTZ", "UPDATE {t} SET b2s = 7 WHERE id = 4"}},
		{"widened_parts", func(t *testing.T, s *tablefmt.Schema) {
			field(t, s, "cp").Type = tablefmt.Decimal{Precision: 10, Scale: 3}
			field(t, s, "b p").Name = "bp"
		}, []string{"UPDATE {t} SET v = 7 WHERE id = 1"}},
		{"widened_preview", func(t *testing.T, s *tablefmt.Schema) { field(t, s, "v").Type = tablefmt.Decimal{Precision: 20} }, []string{"UPDATE {t} SET v = 7 WHERE id = 1"}},
	} {
		if !wanted(c.name, "name", "widened_parts") {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			path := fixture(t, c.name)
			s := load(t, path)
			first := s.Version()
			s = appendCopies(t, s, "days")
			if s.Property(tablefmt.PropDeletionVectors) == "true" {
				s = deleteFirstRows(t, s)
			}
			s = changeSchema(t, s, func(schema *tablefmt.Schema) { c.change(t, schema) })
			s = appendCopies(t, s, "days")
			checkStats(t, s)
			s = compact(t, s)
			require.NoError(t, tablefmt.Checkpoint(t.Context(), s))
			sameAsSpark(t, path, first)
			readFromCheckpoint(t, path, s)

			exec(t, path, append(c.spark, "INSERT INTO {t} SELECT * FROM {t}", "OPTIMIZE {t}")...)
			sameAsSpark(t, path, s.Version())
			s = appendCopies(t, load(t, path), "days")
			sameAsSpark(t, path, s.Version())

			then, err := tablefmt.LoadAt(t.Context(), s.Location(), 1)
			require.NoError(t, err)
			s, _, err = tablefmt.Restore(t.Context(), then, tablefmt.RestoreOptions{})
			require.NoError(t, err)
			require.ElementsMatch(t, rows(t, then), rows(t, s))
			sameAsSpark(t, path, s.Version())
		})
	}
}

// readFromCheckpoint has Spark read a copy of the table whose log is our checkpoint and nothing before it.
func readFromCheckpoint(t *testing.T, path string, s *tablefmt.Snapshot) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(dir, os.DirFS(path)))
	log := filepath.Join(dir, "_delta_log")
	entries, err := os.ReadDir(log)
	require.NoError(t, err)
	prefix := fmt.Sprintf("%020d.", s.Version())
	for _, e := range entries {
		if name := e.Name(); name != "_last_checkpoint" && !strings.HasPrefix(name, prefix) {
			require.NoError(t, os.RemoveAll(filepath.Join(log, name)))
		}
	}
	got, err := readers.Get(t, readers.Spark).Rows(t.Context(), dir, nil, nil)
	require.NoError(t, err)
	readers.Same(t, got, rows(t, s))
	readers.Same(t, rows(t, load(t, dir)), got)
}
