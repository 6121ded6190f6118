package tablefmt

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWidenings goes through all pairs of types.
func TestWidenings(t *testing.T) {
	types := []Type{
		Byte, Short, Integer, Long, Float, Double, Date, TimestampNTZ, Timestamp, String, Binary, Boolean,
		Decimal{5, 0},
		Decimal{10, 0},
		Decimal{10, 2},
		Decimal{12, 2},
		Decimal{12, 4},
		Decimal{20, 0},
		Decimal{22, 2},
		Decimal{38, 18},
	}
	want := map[Type][]Type{
		Byte:           {Short, Integer, Long, Double, Decimal{10, 0}, Decimal{12, 2}, Decimal{20, 0}, Decimal{22, 2}, Decimal{38, 18}},
		Short:          {Integer, Long, Double, Decimal{10, 0}, Decimal{12, 2}, Decimal{20, 0}, Decimal{22, 2}, Decimal{38, 18}},
		Integer:        {Long, Double, Decimal{10, 0}, Decimal{12, 2}, Decimal{20, 0}, Decimal{22, 2}, Decimal{38, 18}},
		Long:           {Decimal{20, 0}, Decimal{22, 2}, Decimal{38, 18}},
		Float:          {Double},
		Date:           {TimestampNTZ},
		Decimal{5, 0}:  {Decimal{10, 0}, Decimal{10, 2}, Decimal{12, 2}, Decimal{12, 4}, Decimal{20, 0}, Decimal{22, 2}, Decimal{38, 18}},
		Decimal{10, 0}: {Decimal{12, 2}, Decimal{20, 0}, Decimal{22, 2}, Decimal{38, 18}},
		Decimal{10, 2}: {Decimal{12, 2}, Decimal{12, 4}, Decimal{22, 2}, Decimal{38, 18}},
		Decimal{12, 2}: {Decimal{22, 2}, Decimal{38, 18}},
		Decimal{12, 4}: {Decimal{38, 18}},
		Decimal{20, 0}: {Decimal{22, 2}, Decimal{38, 18}},
		Decimal{22, 2}: {Decimal{38, 18}},
	}
	for _, from := range types {
		var got []Type
		for _, to := range types {
			if widening(from, to) {
				got = append(got, to)
			}
		}
		require.Equal(t, want[from], got, from)
	}
}

// widenable is a table that allows that types widen, with a file in it.
func widenable(t *testing.T, s *Schema) *Snapshot {
	t.Helper()
	loc := memoryTable()
	tx := Begin(loc, nil)
	tx.SetProtocol(MirrorProtocol(ProtocolOptions{TypeWidening: true, TimestampNTZ: true}))
	m := &Metadata{Configuration: map[string]string{PropTypeWidening: "true"}}
	require.NoError(t, m.SetSchema(s))
	tx.SetMetadata(m)
	tx.Add(fakeAdd("a", 1))
	return must(tx.Commit(context.Background()))
}

// evolve commits a table's schema after a change of it.
func evolve(s *Snapshot, change func(*Metadata, *Schema)) (*Snapshot, error) {
	m := s.Metadata().Clone()
	schema := must(ParseSchema(m.SchemaString))
	change(m, schema)
	if err := m.SetSchema(schema); err != nil {
		return nil, err
	}
	tx := Begin(s.Location(), s)
	tx.SetMetadata(m)
	return tx.Commit(context.Background())
}

func TestTypesWiden(t *testing.T) {
	s := widenable(t, &Schema{Fields: []Field{
		{Name: "n", Type: Byte, Nullable: true, Metadata: map[string]any{"comment": "c"}},
		{Name: "m", Type: &Map{Key: Short, Value: &Array{Element: &Struct{Fields: []Field{{Name: "x", Type: Float, Nullable: true}}}}}, Nullable: true},
		{Name: "d", Type: Decimal{5, 2}, Nullable: true},
	}})
	s, err := evolve(s, func(_ *Metadata, s *Schema) {
		s.Fields[0].Type = Short
		m := s.Fields[1].Type.(*Map)
		m.Key = Integer
		m.Value.(*Array).Element.(*Struct).Fields[0].Type = Double
		s.Fields[2].Type = Decimal{7, 3}
	})
	require.NoError(t, err)
	s, err = evolve(s, func(_ *Metadata, s *Schema) {
		s.Fields[0].Type = Long
		s.Fields[0].Metadata = nil // a caller who knows nothing of it
		s.Fields[1].Type.(*Map).Key = Long
	})
	require.NoError(t, err)
	require.JSONEq(t, `{"type":"struct","fields":[
		{"name":"n","type":"long","nullable":true,"metadata":{"delta.typeChanges":[{"fromType":"byte","toType":"short"},{"fromType":"short","toType":"long"}]}},
		{"name":"m","type":{"type":"map","keyType":"long","valueType":{"type":"array","elementType":{"type":"struct","fields":[
			{"name":"x","type":"double","nullable":true,"metadata":{"delta.typeChanges":[{"fromType":"float","toType":"double"}]}}
		]},"containsNull":false},"valueContainsNull":false},"nullable":true,"metadata":{"delta.typeChanges":[
			{"fromType":"short","toType":"integer","fieldPath":"key"},{"fromType":"integer","toType":"long","fieldPath":"key"}]}},
		{"name":"d","type":"decimal(7,3)","nullable":true,"metadata":{"delta.typeChanges":[{"fromType":"decimal(5,2)","toType":"decimal(7,3)"}]}}
	]}`, s.Schema().JSON())
}

func TestTypesThatDoNotWiden(t *testing.T) {
	s := widenable(t, &Schema{Fields: []Field{
		{Name: "n", Type: Integer, Nullable: true},
		{Name: "l", Type: &Array{Element: Long}, Nullable: true},
		{Name: "s", Type: &Struct{Fields: []Field{{Name: "d", Type: Decimal{5, 2}, Nullable: true}}}, Nullable: true},
	}})
	for want, change := range map[string]func(*Metadata, *Schema){
		`column "n" cannot turn from integer to short`:            func(_ *Metadata, s *Schema) { s.Fields[0].Type = Short },
		`column "n" cannot turn from integer to float`:            func(_ *Metadata, s *Schema) { s.Fields[0].Type = Float },
		`column "n" cannot turn from integer to decimal(9,0)`:     func(_ *Metadata, s *Schema) { s.Fields[0].Type = Decimal{9, 0} },
		`column "n" cannot turn from integer to array<integer>`:   func(_ *Metadata, s *Schema) { s.Fields[0].Type = &Array{Element: Integer} },
		`column "l.element" cannot turn from long to double`:      func(_ *Metadata, s *Schema) { s.Fields[1].Type = &Array{Element: Double} },
		`column "s.d" cannot turn from decimal(5,2) to decimal(6`: func(_ *Metadata, s *Schema) { s.Fields[2].Type.(*Struct).Fields[0].Type = Decimal{6, 4} },
		`the table does not allow that types widen`: func(m *Metadata, s *Schema) {
			delete(m.Configuration, PropTypeWidening)
			s.Fields[0].Type = Long
		},
	} {
		_, err := evolve(s, change)
		require.ErrorIs(t, err, ErrInvalid, want)
		require.ErrorContains(t, err, want)
	}

	// A change that is not recorded, and a record that is lost.
	commit := func(s *Snapshot, schema string) (*Snapshot, error) {
		m := s.Metadata().Clone()
		m.SchemaString = schema
		tx := Begin(s.Location(), s)
		tx.SetMetadata(m)
		return tx.Commit(context.Background())
	}
	s = widenable(t, &Schema{Fields: []Field{{Name: "n", Type: Integer, Nullable: true}}})
	_, err := commit(s, (&Schema{Fields: []Field{{Name: "n", Type: Long, Nullable: true}}}).JSON())
	require.ErrorContains(t, err, `column "n" turns from integer to long, of which its metadata (delta.typeChanges) does not tell`)
	s, err = evolve(s, func(_ *Metadata, s *Schema) { s.Fields[0].Type = Long })
	require.NoError(t, err)
	_, err = commit(s, (&Schema{Fields: []Field{{Name: "n", Type: Long, Nullable: true}}}).JSON())
	require.ErrorContains(t, err, `column "n" loses the types that it had`)

	// Types may turn to anything with the last file that has the old one.
	tx := Begin(s.Location(), s)
	a, _ := s.File("a")
	tx.Remove(*a.Remove(1, true))
	m := s.Metadata().Clone()
	m.SchemaString = (&Schema{Fields: []Field{{Name: "n", Type: String, Nullable: true}}}).JSON()
	tx.SetMetadata(m)
	_, err = tx.Commit(context.Background())
	require.NoError(t, err)

	// The feature is to be listed.
	tx = Begin(memoryTable(), nil)
	tx.SetProtocol(MirrorProtocol(ProtocolOptions{}))
	tx.SetMetadata(&Metadata{SchemaString: idSchema.JSON(), Configuration: map[string]string{PropTypeWidening: "true"}})
	_, err = tx.Commit(context.Background())
	require.ErrorContains(t, err, `the table uses "typeWidening", which its protocol does not list`)
}

// TestWidenedPartitions gives values in the form of the columns' present types.
func TestWidenedPartitions(t *testing.T) {
	s := create(t, memoryTable(), &Schema{Fields: []Field{
		{Name: "id", Type: Long, Nullable: true},
		{Name: "t", Type: TimestampNTZ, Nullable: true},
		{Name: "d", Type: Decimal{8, 3}, Nullable: true},
		{Name: "f", Type: Double, Nullable: true},
	}}, "t", "d", "f")
	values := must(s.PartitionValues(&AddFile{PartitionValues: map[string]*string{"t": ptr("2024-02-29"), "d": ptr("1.5"), "f": nil}}))
	require.Equal(t, map[string]*string{"t": ptr("2024-02-29 00:00:00.000000"), "d": ptr("1.500"), "f": nil}, values)
	_, err := s.PartitionValues(&AddFile{Path: "p", PartitionValues: map[string]*string{"t": ptr("soon")}})
	require.ErrorIs(t, err, ErrCorrupt)
}

// TestStatsOfWidenedColumns: bounds are of the present type.
func TestStatsOfWidenedColumns(t *testing.T) {
	s, err := evolve(widenable(t, &Schema{Fields: []Field{
		{Name: "t", Type: Date, Nullable: true}, {Name: "f", Type: Float, Nullable: true}, {Name: "d", Type: Double, Nullable: true},
	}}), func(_ *Metadata, s *Schema) { s.Fields[0].Type, s.Fields[1].Type = TimestampNTZ, Double })
	require.NoError(t, err)
	st, err := s.FileStats(&AddFile{
		Stats: `{"numRecords":2,"minValues":{"t":"2024-02-29","f":0.3,"d":0.3,"gone":1},"maxValues":{"t":"2024-03-01T01:02:03.456","f":0.3,"d":0.3},"nullCount":{"t":0}}`,
	})
	require.NoError(t, err)
	text := func(m map[string]json.RawMessage) string { return string(must(json.Marshal(m))) }
	require.Equal(t, `{"d":0.3,"f":0.3,"t":"2024-02-29T00:00:00.000"}`, text(st.MinValues))
	require.Equal(t, `{"d":0.3,"f":0.30000001192092896,"t":"2024-03-01T01:02:03.456"}`, text(st.MaxValues))
	require.Equal(t, `{"t":0}`, text(st.NullCount))
}
