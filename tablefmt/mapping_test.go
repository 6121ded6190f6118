package tablefmt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/dv"
)

// oddSchema has names that only a mapped table may have, and structs within
// lists and maps.
func oddSchema() *Schema {
	point := func() *Struct {
		return &Struct{Fields: []Field{{Name: "x y", Type: Long, Nullable: true}, {Name: "z", Type: String, Nullable: true}}}
	}
	return &Schema{Fields: []Field{
		{Name: "an id", Type: Long, Nullable: true},
		{Name: "a day", Type: Date, Nullable: true},
		{Name: "s", Type: point(), Nullable: true},
		{Name: "l", Type: &Array{Element: point(), ContainsNull: true}, Nullable: true},
		{Name: "m", Type: &Map{Key: String, Value: point(), ValueContainsNull: true}, Nullable: true},
	}}
}

// createMapped makes a table of oddSchema, partitioned by "a day".
func createMapped(t *testing.T, mode MappingMode) *Snapshot {
	t.Helper()
	tx := Begin(memoryTable(), nil)
	tx.SetProtocol(MirrorProtocol(ProtocolOptions{ColumnMapping: true}))
	m := &Metadata{PartitionColumns: []string{"a day"}, Configuration: map[string]string{PropMappingMode: string(mode), PropDeletionVectors: "true"}}
	require.NoError(t, m.SetSchema(oddSchema()))
	tx.SetMetadata(m)
	return must(tx.Commit(context.Background()))
}

// addOdd adds a file of one row, given as JSON, in the partition of a day.
func addOdd(t *testing.T, s *Snapshot, day *string, rows string) *Snapshot {
	t.Helper()
	partition := s.PartitionColumns()[0]
	w, err := s.NewFileWriter(context.Background(), FileOptions{PartitionValues: map[string]*string{partition: day}})
	require.NoError(t, err)
	defer w.Abort()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.DataArrow(), strings.NewReader(rows))
	require.NoError(t, err)
	defer rec.Release()
	_, err = w.Write(rec)
	require.NoError(t, err)
	a, err := w.Close()
	require.NoError(t, err)
	tx := Begin(s.Location(), s)
	tx.Add(*a)
	return must(tx.Commit(context.Background()))
}

func TestMappedTable(t *testing.T) {
	for _, mode := range []MappingMode{MappingName, MappingID} {
		t.Run(string(mode), func(t *testing.T) { mappedTable(t, mode) })
	}
}

func mappedTable(t *testing.T, mode MappingMode) {
	ctx := context.Background()
	s := createMapped(t, mode)
	require.Equal(t, mode, s.Mapping())
	require.Equal(t, "11", s.Property(PropMaxColumnID))
	s = addOdd(t, s, ptr("2024-02-29"), `[{"an id":1,"s":{"x y":2,"z":"p"},"l":[{"x y":3,"z":"q"},null],"m":[{"key":"k","value":{"x y":4,"z":"r"}}]},{"an id":9}]`)
	before := s.Version()
	plain, err := s.Schema().Arrow()
	require.NoError(t, err)
	require.Equal(t, plain, s.Arrow(), "who copies rows elsewhere copies no names of files")
	require.NoError(t, s.Scan(ctx, ScanOptions{}, func(rec arrow.RecordBatch) error {
		require.Equal(t, plain, rec.Schema())
		return nil
	}))

	// What the log and the file hold has no names of the schema's.
	var a *AddFile
	for a = range s.Files() {
	}
	for _, name := range []string{"an id", "a day", "x y"} {
		require.NotContains(t, a.Stats+a.Path+fmt.Sprint(a.PartitionValues), name)
	}
	require.Equal(t, map[string]*string{"a day": ptr("2024-02-29")}, must(s.PartitionValues(a)))
	st := must(s.FileStats(a))
	require.JSONEq(t, `{"an id":1,"s":{"x y":2,"z":"p"}}`, string(must(json.Marshal(st.MinValues))))
	require.JSONEq(t, `{"an id":9,"s":{"x y":2,"z":"p"}}`, string(must(json.Marshal(st.MaxValues))))
	require.JSONEq(t, `{"an id":0,"s":{"x y":1,"z":1},"l":1,"m":1}`, string(must(json.Marshal(st.NullCount))))

	s, err = evolve(s, func(_ *Metadata, s *Schema) {
		s.Fields[0].Name, s.Fields[1].Name = "ident", "the day"
		point := s.Fields[3].Type.(*Array).Element.(*Struct)
		point.Fields[0].Name = "z" // and what was so is dropped, and comes back as another
		point.Fields[1] = Field{Name: "x y", Type: Date, Nullable: true}
		s.Fields[4].Type.(*Map).Value.(*Struct).Fields = s.Fields[4].Type.(*Map).Value.(*Struct).Fields[1:]
		s.Fields = append(s.Fields, Field{Name: "an id", Type: String, Nullable: true})
	})
	require.NoError(t, err)
	require.Equal(t, "13", s.Property(PropMaxColumnID))
	require.Equal(t, []string{"the day"}, s.PartitionColumns())
	s = addOdd(t, s, nil, `[{"ident":5,"s":null,"l":[{"z":6,"x y":"2024-01-01"}],"m":[{"key":"k","value":{"z":"s"}}],"an id":"new"}]`)
	want := []string{
		`"an id"=null "ident"="1" "l"="[{\"x y\":null,\"z\":3},null]" "m"="[{\"key\":\"k\",\"value\":{\"z\":\"r\"}}]" "s"="{\"x y\":2,\"z\":\"p\"}" "the day"="2024-02-29"`,
		`"an id"=null "ident"="9" "l"=null "m"=null "s"=null "the day"="2024-02-29"`,
		`"an id"="new" "ident"="5" "l"="[{\"x y\":\"2024-01-01\",\"z\":6}]" "m"="[{\"key\":\"k\",\"value\":{\"z\":\"s\"}}]" "s"=null "the day"=null`,
	}
	require.ElementsMatch(t, want, quotedRows(t, s))
	old := quotedRows(t, must(LoadAt(ctx, s.Location(), before)))
	require.Contains(t, old[0], `"an id"="1"`)
	require.Contains(t, old[0], `"m"="[{\"key\":\"k\",\"value\":{\"x y\":4,\"z\":\"r\"}}]"`)

	// Deletion vectors, and a checkpoint.
	f, ok := s.File(a.Path)
	require.True(t, ok)
	ds, err := WriteDeletionVectors(ctx, s.Location(), []*dv.Bitmap{dv.New(1)})
	require.NoError(t, err)
	tx := Begin(s.Location(), s)
	tx.Remove(*f.Remove(1, true))
	tx.Add(must(f.WithVector(ds[0])))
	s = must(tx.Commit(ctx))
	require.NoError(t, Checkpoint(ctx, s))
	require.NoError(t, s.Location().log().Delete(ctx, commitName(0)))
	s = must(Load(ctx, s.Location()))
	require.ElementsMatch(t, []string{want[0], want[2]}, quotedRows(t, s))
	require.Equal(t, map[string]*string{"the day": ptr("2024-02-29")}, must(s.PartitionValues(must2(s.File(a.Path)))))
}

func must2[T any](v T, ok bool) T {
	if !ok {
		panic("not there")
	}
	return v
}

// quotedRows gives rows with names in quotes, as they may have spaces.
func quotedRows(t *testing.T, s *Snapshot) (rows []string) {
	t.Helper()
	require.NoError(t, s.Scan(context.Background(), ScanOptions{}, func(rec arrow.RecordBatch) error {
		for i := range int(rec.NumRows()) {
			var cells []string
			for c, f := range rec.Schema().Fields() {
				v := "null"
				if rec.Column(c).IsValid(i) {
					v = fmt.Sprintf("%q", rec.Column(c).ValueStr(i))
				}
				cells = append(cells, fmt.Sprintf("%q=%s", f.Name, v))
			}
			slices.Sort(cells)
			rows = append(rows, strings.Join(cells, " "))
		}
		return nil
	}))
	return rows
}

// TestMappedLater maps a table that has files.
func TestMappedLater(t *testing.T) {
	ctx := context.Background()
	s := create(t, memoryTable(), peopleSchema, "day", "kind")
	tx := Begin(s.Location(), s)
	tx.Add(*writePeople(t, s, ptr("2024-01-01"), nil, 1, 3))
	s = must(tx.Commit(ctx))
	want := scanRows(t, s, ScanOptions{})

	mapIt := func(mode MappingMode, change func(*Metadata, *Schema)) (*Snapshot, error) {
		m := s.Metadata().Clone()
		m.Configuration[PropMappingMode] = string(mode)
		schema := must(ParseSchema(m.SchemaString))
		require.NoError(t, m.SetSchema(schema))
		change(m, must(ParseSchema(m.SchemaString)))
		tx := Begin(s.Location(), s)
		tx.SetProtocol(MirrorProtocol(ProtocolOptions{ColumnMapping: true}))
		tx.SetMetadata(m)
		return tx.Commit(ctx)
	}
	nothing := func(*Metadata, *Schema) {}
	_, err := mapIt(MappingID, nothing)
	require.ErrorContains(t, err, `cannot turn from "none" to "id"`)
	_, err = mapIt(MappingName, func(m *Metadata, s *Schema) {
		s.Fields[1].Metadata[MetaPhysicalName] = "col-x"
		m.SchemaString = s.JSON()
	})
	require.ErrorContains(t, err, `column "id" gets the physical name "col-x", but is "id" in files that stay`)
	s, err = mapIt(MappingName, nothing)
	require.NoError(t, err)
	require.Equal(t, "4", s.Property(PropMaxColumnID))
	require.Equal(t, want, scanRows(t, s, ScanOptions{}))
	s, err = evolve(s, func(_ *Metadata, s *Schema) { s.Fields[1].Name, s.Fields[0].Name = "ID of it", "Tag" })
	require.NoError(t, err)
	for i := range want {
		want[i] = strings.NewReplacer(" id=", " ID of it=", "day=", "Tag=").Replace(want[i])
	}
	got := scanRows(t, s, ScanOptions{})
	for i := range got {
		a, b := strings.Fields(got[i]), strings.Fields(want[i])
		require.ElementsMatch(t, a, b)
	}
	_, err = evolve(s, func(m *Metadata, _ *Schema) { delete(m.Configuration, PropMappingMode) })
	require.ErrorContains(t, err, `cannot turn from "name" to "none"`)
}

func TestMappingsThatAreRefused(t *testing.T) {
	ctx := context.Background()
	s := createMapped(t, MappingName)
	tx := Begin(s.Location(), s)
	a := fakeAdd("a", 1)
	physical, ok := s.PhysicalName("a day")
	require.True(t, ok)
	a.PartitionValues = map[string]*string{physical: nil}
	tx.Add(a)
	s = must(tx.Commit(ctx))
	fresh := func(id int, physical string) map[string]any {
		return map[string]any{MetaColumnID: id, MetaPhysicalName: physical}
	}
	column := func(s *Schema, id int, physical string) {
		s.Fields = append(s.Fields, Field{Name: "new", Type: Long, Nullable: true, Metadata: fresh(id, physical)})
	}
	for want, change := range map[string]func(*Metadata, *Schema){
		`column "an id" has no id`:            func(_ *Metadata, s *Schema) { delete(s.Fields[0].Metadata, MetaColumnID) },
		`column "an id" has no physical name`: func(_ *Metadata, s *Schema) { delete(s.Fields[0].Metadata, MetaPhysicalName) },
		`have the same physical name "col-x"`: func(m *Metadata, s *Schema) {
			m.Configuration[PropMaxColumnID] = "99"
			column(s, 50, "col-x")
			column(s, 51, "col-x")
			s.Fields[6].Name = "n2"
		},
		`have the same id 50`: func(m *Metadata, s *Schema) {
			m.Configuration[PropMaxColumnID] = "99"
			column(s, 50, "col-x")
			column(s, 50, "col-y")
			s.Fields[6].Name = "n2"
		},
		`has the id 50, and delta.columnMap`:   func(_ *Metadata, s *Schema) { column(s, 50, "col-x") },
		`cannot go back from 11 to 10`:         func(m *Metadata, s *Schema) { m.Configuration[PropMaxColumnID] = "10"; s.Fields = s.Fields[:4] },
		`is "", which is no id of a column`:    func(m *Metadata, _ *Schema) { delete(m.Configuration, PropMaxColumnID) },
		`cannot turn from "name" to "id"`:      func(m *Metadata, _ *Schema) { m.Configuration[PropMappingMode] = "id" },
		`column mapping mode "place"`:          func(m *Metadata, _ *Schema) { m.Configuration[PropMappingMode] = "place" },
		`the partition columns cannot change`:  func(m *Metadata, _ *Schema) { m.PartitionColumns = []string{"an id"} },
		`column "an id" cannot turn from long`: func(_ *Metadata, s *Schema) { s.Fields[0].Type = String },
	} {
		m := s.Metadata().Clone()
		schema := must(ParseSchema(m.SchemaString))
		change(m, schema)
		m.SchemaString = schema.JSON()
		tx := Begin(s.Location(), s)
		tx.SetMetadata(m)
		_, err := tx.Commit(ctx)
		require.ErrorIs(t, err, ErrInvalid, want)
		require.ErrorContains(t, err, want)
	}

	// Ids of columns that are there, or were.
	ids := func(change func(*Schema)) error {
		m := s.Metadata().Clone()
		m.Configuration[PropMaxColumnID] = "99"
		schema := must(ParseSchema(m.SchemaString))
		change(schema)
		m.SchemaString = schema.JSON()
		tx := Begin(s.Location(), s)
		tx.SetMetadata(m)
		_, err := tx.Commit(ctx)
		return err
	}
	require.ErrorContains(t, ids(func(s *Schema) { s.Fields[0].Metadata[MetaColumnID] = 50 }), `had the id 1 and cannot get 50`)
	require.ErrorContains(t, ids(func(s *Schema) { s.Fields = s.Fields[1:]; column(s, 1, "col-x") }), `column "new" has the id 1 of another column`)
	require.ErrorContains(t, ids(func(s *Schema) {
		in := s.Fields[2].Type.(*Struct)
		id := in.Fields[1].Metadata[MetaColumnID]
		in.Fields = in.Fields[:1]
		column(s, 0, "col-x")
		s.Fields[5].Metadata[MetaColumnID] = id
	}), "were given before")
	require.NoError(t, ids(func(s *Schema) { column(s, 50, "col-x") }))

	// Files must say their partition by physical names, the protocol must list
	// the feature, and names that are mapped may be odd only there.
	s = must(Load(ctx, s.Location()))
	tx = Begin(s.Location(), s)
	b := fakeAdd("b", 1)
	b.PartitionValues = map[string]*string{"a day": nil}
	tx.Add(b)
	_, err := tx.Commit(ctx)
	require.ErrorContains(t, err, fmt.Sprintf(`no value for partition column "a day", physically %q`, physical))
	_, err = s.NewFileWriter(ctx, FileOptions{PartitionValues: map[string]*string{physical: nil}})
	require.ErrorIs(t, err, ErrInvalid)
	tx = Begin(memoryTable(), nil)
	tx.SetProtocol(MirrorProtocol(ProtocolOptions{}))
	m := &Metadata{Configuration: map[string]string{PropMappingMode: "name"}}
	require.NoError(t, m.SetSchema(idSchema))
	tx.SetMetadata(m)
	_, err = tx.Commit(ctx)
	require.ErrorContains(t, err, `the table uses "columnMapping", which its protocol does not list`)
	_, err = s.WithSchema(oddSchema())
	require.ErrorContains(t, err, "has no physical name")
	require.ErrorIs(t, err, ErrInvalid)
	staged, err := s.WithSchema(s.Schema())
	require.NoError(t, err)
	require.Equal(t, s.DataArrow(), staged.DataArrow())
	require.Equal(t, ProtocolOptions{ColumnMapping: true}, OptionsFor(s.Schema()))
}

// TestMappedFilesThatAreWrong reads files that do not keep to the mapping.
func TestMappedFilesThatAreWrong(t *testing.T) {
	ctx := context.Background()
	s := createMapped(t, MappingID)
	physical, _ := s.PhysicalName("a day")
	commit := func(a AddFile) *Snapshot {
		tx := Begin(s.Location(), s)
		tx.Add(a)
		return must(tx.Commit(ctx))
	}
	w, err := NewFileWriter(ctx, s.Location(), arrow.NewSchema([]arrow.Field{nullable("an id", arrow.PrimitiveTypes.Int64)}, nil),
		FileOptions{PartitionValues: map[string]*string{physical: nil}})
	require.NoError(t, err)
	a, err := w.Close()
	require.NoError(t, err)
	nothing := func(arrow.RecordBatch) error { return nil }
	err = commit(*a).Scan(ctx, ScanOptions{}, nothing)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorIs(t, err, colfile.ErrNoFieldIDs)

	// A partition value under the column's name is not to become null.
	line, err := s.Location().log().Get(ctx, commitName(1))
	require.NoError(t, err)
	line = bytes.ReplaceAll(line, []byte(`"partitionValues":{"`+physical), []byte(`"partitionValues":{"a day`))
	require.NoError(t, s.Location().log().Put(ctx, commitName(1), line))
	err = must(Load(ctx, s.Location())).Scan(ctx, ScanOptions{}, nothing)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, fmt.Sprintf(`partition column "a day": there is no value under its physical name %q`, physical))
}

// TestNestedIDs writes the ids of what is inside of lists and maps.
func TestNestedIDs(t *testing.T) {
	s := &Schema{Fields: []Field{{Name: "a", Nullable: true, Type: &Array{Element: &Map{Key: String, Value: Long}}, Metadata: map[string]any{
		MetaColumnID: 1, MetaPhysicalName: "col-a",
		metaNestedIDs: map[string]any{"col-a.element": json.Number("2"), "col-a.element.key": json.Number("3"), "col-a.element.value": json.Number("4")},
	}}}}
	a, err := MappingName.arrow(s)
	require.NoError(t, err)
	var buf bytes.Buffer
	w, err := colfile.NewWriter(&buf, a, colfile.WriterOptions{})
	require.NoError(t, err)
	_, err = w.Close()
	require.NoError(t, err)
	f, err := colfile.OpenFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	require.NoError(t, err)
	list := f.Schema().Field(0)
	require.Equal(t, "col-a", list.Name)
	in := list.Type.(*arrow.ListType).ElemField()
	m := in.Type.(*arrow.MapType)
	for want, meta := range map[string]arrow.Metadata{"1": list.Metadata, "2": in.Metadata, "3": m.KeyField().Metadata, "4": m.ItemField().Metadata} {
		id, _ := meta.GetValue(colfile.FieldIDKey)
		require.Equal(t, want, id)
	}
	ids, err := columnIDs(s)
	require.NoError(t, err)
	require.Len(t, ids, 4)
	last, err := lastColumnID(&Metadata{}, s)
	require.NoError(t, err)
	require.Equal(t, int32(4), last)
}
