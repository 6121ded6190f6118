package tablefmt

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMentions(t *testing.T) {
	for expression, want := range map[string]bool{
		"a b > 1": true, "x + `A B`": true, "(a b)": true, "a": false, "xa b": false, "a bc": false, "a_b": false,
		"a b_ or a b": true, "": false, "éa b": false, "s.a b is null": true,
	} {
		require.Equal(t, want, mentions(expression, "a B"), expression)
	}
}

// TestNamesInExpressions: what other writers compute keeps its columns.
func TestNamesInExpressions(t *testing.T) {
	ctx := context.Background()
	p, err := MirrorProtocol(ProtocolOptions{ColumnMapping: true, GeneratedColumns: true}).With("checkConstraints")
	require.NoError(t, err)
	m := &Metadata{Configuration: map[string]string{PropMappingMode: "name"}}
	require.NoError(t, m.SetSchema(&Schema{Fields: []Field{
		{Name: "n", Type: Long, Nullable: true},
		{Name: "free", Type: Long, Nullable: true},
		{Name: "s", Type: &Struct{Fields: []Field{{Name: "x", Type: Long, Nullable: true}, {Name: "y", Type: Long, Nullable: true}}}, Nullable: true},
		{Name: "g", Type: Long, Nullable: true, Metadata: map[string]any{MetaGenerationExpression: "n + s.x"}},
	}}))
	tx := Begin(memoryTable(), nil)
	tx.SetProtocol(p)
	tx.SetMetadata(m)
	tx.Add(fakeAdd("a", 1))
	s := must(tx.Commit(ctx))
	for column, change := range map[string]func(*Metadata, *Schema){
		`"n"`:   func(_ *Metadata, s *Schema) { s.Fields[0].Name = "m" },
		`"s.x"`: func(_ *Metadata, s *Schema) { in := s.Fields[2].Type.(*Struct); in.Fields = in.Fields[1:] },
		`"s"`:   func(_ *Metadata, s *Schema) { s.Fields[2].Name = "t" },
		`"free"`: func(m *Metadata, s *Schema) {
			m.Configuration["delta.constraints.c"] = "FREE > 0"
			s.Fields[1].Name = "bound"
		},
	} {
		_, err := evolve(s, change)
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, "column "+column+" cannot be renamed or dropped")
	}
	_, err = evolve(s, func(_ *Metadata, s *Schema) {
		s.Fields[1].Name = "freed"
		s.Fields[2].Type.(*Struct).Fields[1].Name = "z"
	})
	require.NoError(t, err)
}
