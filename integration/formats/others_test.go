package formats_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// outcome is what a reader makes of a table: "" for the right rows, else a part of its error, or one of the faults below.
type outcome = string

const (
	nullPartitions outcome = "the partition columns are null"
	allNull        outcome = "every value is null"
)

// check holds what a reader sees against what is there. A fault that has gone is to be noticed.
func check(t *testing.T, kind readers.Kind, path string, s *tablefmt.Snapshot, want outcome) {
	t.Helper()
	got, err := readers.Get(t, kind).Rows(t.Context(), path, nil, nil)
	there := rows(t, s)
	switch want {
	case "":
	case nullPartitions, allNull:
		columns := s.PartitionColumns()
		if want == allNull {
			columns = nil
			for _, f := range s.Arrow().Fields() {
				columns = append(columns, f.Name)
			}
		}
		for _, name := range columns {
			for _, row := range there {
				row[s.Schema().Index(name)] = readers.Null
			}
		}
	default:
		require.ErrorContains(t, err, want)
		return
	}
	require.NoError(t, err)
	readers.Same(t, got, there)
}

// fixture is a copy of a table that Spark made.
func fixture(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.CopyFS(path, os.DirFS(filepath.Join("..", "..", "tablefmt", "testdata", "spark", name, "delta"))))
	return path
}

// TestOtherReaders has the others read tables that Spark made and we wrote to.
func TestOtherReaders(t *testing.T) {
	for _, c := range []struct {
		name                    string
		duckdb, deltars, polars outcome
	}{
		{"name", nullPartitions, "", "columnMapping"},
		{"id", nullPartitions, "", "columnMapping"},
		{"upgraded", nullPartitions, "", "column mapping"},
		{"widened", "", "TypeWidening", "typeWidening"},
		{"widened_parts", "Unimplemented type for cast", "TypeWidening", "typeWidening"},
		{"widened_preview", "", "TypeWidening", "typeWidening"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := fixture(t, c.name)
			s := appendCopies(t, load(t, path), "days")
			if s.Property(tablefmt.PropDeletionVectors) == "true" {
				s = deleteFirstRows(t, s)
			}
			s = compact(t, appendCopies(t, s, "days"))
			s = appendCopies(t, s, "days")
			require.NoError(t, tablefmt.Checkpoint(t.Context(), s))
			for kind, want := range map[readers.Kind]outcome{readers.DuckDB: c.duckdb, readers.DeltaRS: c.deltars, readers.Polars: c.polars} {
				t.Run(string(kind), func(t *testing.T) { check(t, kind, path, s, want) })
			}
		})
	}
}

// ourSchema has names that only a mapped table may have.
func ourSchema() *tablefmt.Schema {
	point := &tablefmt.Struct{Fields: []tablefmt.Field{{Name: "x y", Type: tablefmt.Integer, Nullable: true}, {Name: "z", Type: tablefmt.Float, Nullable: true}}}
	return &tablefmt.Schema{Fields: []tablefmt.Field{
		{Name: "an id", Type: tablefmt.Integer, Nullable: true},
		{Name: "at", Type: tablefmt.Date, Nullable: true},
		{Name: "s", Type: point, Nullable: true},
		{Name: "l", Type: &tablefmt.Array{Element: point, ContainsNull: true}, Nullable: true},
		{Name: "m", Type: &tablefmt.Map{Key: tablefmt.String, Value: point, ValueContainsNull: true}, Nullable: true},
	}}
}

func write(t *testing.T, s *tablefmt.Snapshot, lines string) *tablefmt.Snapshot {
	t.Helper()
	w, err := s.NewFileWriter(t.Context(), tablefmt.FileOptions{})
	require.NoError(t, err)
	defer w.Abort()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.DataArrow(), strings.NewReader(lines))
	require.NoError(t, err)
	defer rec.Release()
	_, err = w.Write(rec)
	require.NoError(t, err)
	a, err := w.Close()
	require.NoError(t, err)
	x := tablefmt.Begin(s.Location(), s)
	x.Add(*a)
	return commit(t, x)
}

// TestOurTables makes mapped and widened tables without Spark, from the first version on, and has everyone read every version.
func TestOurTables(t *testing.T) {
	for _, c := range []struct {
		name                    string
		mode                    tablefmt.MappingMode
		widens                  bool
		duckdb, deltars, polars outcome
	}{
		{"name", tablefmt.MappingName, false, "", "", "columnMapping"},
		{"id", tablefmt.MappingID, false, "", "", "columnMapping"},
		{"widened", tablefmt.MappingNone, true, "", "TypeWidening", "typeWidening"},
		{"both", tablefmt.MappingName, true, "", "TypeWidening", "typeWidening"},
	} {
		if !wanted(c.name, "id", "both") {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), c.name)
			store, err := objstore.NewLocal(path)
			require.NoError(t, err)
			loc := tablefmt.Location{Data: store}
			schema := ourSchema()
			id, x := "an id", "x y"
			if c.mode == tablefmt.MappingNone {
				id, x = "id", "x"
				schema.Fields[0].Name = id
				schema.Fields[2].Type.(*tablefmt.Struct).Fields[0].Name = x
			}
			m := &tablefmt.Metadata{Configuration: map[string]string{tablefmt.PropDeletionVectors: "true"}}
			if c.mode != tablefmt.MappingNone {
				m.Configuration[tablefmt.PropMappingMode] = string(c.mode)
			}
			if c.widens {
				m.Configuration[tablefmt.PropTypeWidening] = "true"
			}
			require.NoError(t, m.SetSchema(schema))
			tx := tablefmt.Begin(loc, nil)
			tx.SetProtocol(tablefmt.MirrorProtocol(tablefmt.ProtocolOptions{ColumnMapping: c.mode != tablefmt.MappingNone, TypeWidening: c.widens, TimestampNTZ: c.widens}))
			tx.SetMetadata(m)
			s := commit(t, tx)
			s = write(t, s, strings.NewReplacer("ID", id, "XY", x).Replace(`[
				{"ID":1,"at":"2024-02-29","s":{"XY":2,"z":0.1},"l":[{"XY":3,"z":0.2},null],"m":[{"key":"k","value":{"XY":4,"z":null}}]},
				{"ID":2},{"ID":3,"at":"0001-01-01","l":[],"m":[]}]`))
			s = changeSchema(t, s, func(schema *tablefmt.Schema) {
				if c.mode != tablefmt.MappingNone {
					field(t, schema, id).Name = "ident"
					point := field(t, schema, "l").Type.(*tablefmt.Array).Element.(*tablefmt.Struct)
					point.Fields[0].Name = "x"
					point.Fields = append(point.Fields, tablefmt.Field{Name: x, Type: tablefmt.String, Nullable: true})
				}
				if c.widens {
					schema.Fields[0].Type = tablefmt.Long
					schema.Fields[1].Type = tablefmt.TimestampNTZ
					field(t, schema, "s").Type.(*tablefmt.Struct).Fields[0].Type = tablefmt.Decimal{Precision: 12, Scale: 2}
					field(t, schema, "s").Type.(*tablefmt.Struct).Fields[1].Type = tablefmt.Double
					field(t, schema, "m").Type.(*tablefmt.Map).Value.(*tablefmt.Struct).Fields[0].Type = tablefmt.Double
				}
				schema.Fields = append(schema.Fields, tablefmt.Field{Name: "new", Type: tablefmt.String, Nullable: true})
			})
			s = write(t, s, `[{"`+s.Schema().Fields[0].Name+`":7,"new":"n"},{"new":"o"}]`)
			s = deleteFirstRows(t, s)
			require.NoError(t, tablefmt.Checkpoint(t.Context(), s))
			for kind, want := range map[readers.Kind]outcome{readers.DuckDB: c.duckdb, readers.DeltaRS: c.deltars, readers.Polars: c.polars} {
				t.Run(string(kind), func(t *testing.T) { check(t, kind, path, s, want) })
			}
			t.Run("spark", func(t *testing.T) {
				sameAsSpark(t, path, 0)
				exec(t, path, "UPDATE {t} SET new = 'u' WHERE new = 'n'", "INSERT INTO {t} SELECT * FROM {t}", "ALTER TABLE {t} ADD COLUMNS (more LONG)")
				sameAsSpark(t, path, s.Version())
			})
		})
	}
}
