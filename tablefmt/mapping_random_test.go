package tablefmt

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// modelColumn is a column as people see it: its name changes, it does not.
type modelColumn struct {
	name   string
	number int
}

// mappedModel is a mapped table and what must be in it. Columns are at the top
// and, with another set, in a struct "s" and in the structs of a list "l".
type mappedModel struct {
	t       *rapid.T
	s       *Snapshot
	columns [3][]modelColumn // top, in s, in l
	rows    [][3]map[int]int // values by the column's number
	made    int
}

func (m *mappedModel) schema(s *Schema, level int) *Struct {
	switch level {
	case 1:
		return s.Fields[s.Index("s")].Type.(*Struct)
	case 2:
		return s.Fields[s.Index("l")].Type.(*Array).Element.(*Struct)
	}
	return s
}

func (m *mappedModel) evolve(change func(*Schema)) {
	next, err := evolve(m.s, func(_ *Metadata, s *Schema) { change(s) })
	require.NoError(m.t, err)
	m.s = next
}

// name draws a name that no column of the level has; the few there are come
// back soon.
func (m *mappedModel) name(level int) string {
	return rapid.SampledFrom([]string{"a", "b", "c d", "e", "é", "f"}).Filter(func(n string) bool {
		return !slices.ContainsFunc(m.columns[level], func(c modelColumn) bool { return c.name == n })
	}).Draw(m.t, "name")
}

func (m *mappedModel) add(level int) {
	if len(m.columns[level]) > 4 {
		return
	}
	c := modelColumn{m.name(level), m.made}
	m.made++
	m.evolve(func(s *Schema) {
		st := m.schema(s, level)
		st.Fields = append(st.Fields, Field{Name: c.name, Type: Long, Nullable: true})
	})
	m.columns[level] = append(m.columns[level], c)
}

func (m *mappedModel) rename(level int) {
	c := &m.columns[level][rapid.IntRange(0, len(m.columns[level])-1).Draw(m.t, "column")]
	to := m.name(level)
	m.evolve(func(s *Schema) {
		st := m.schema(s, level)
		st.Fields[st.Index(c.name)].Name = to
	})
	c.name = to
}

func (m *mappedModel) drop(level int) {
	if len(m.columns[level]) < 2 {
		return
	}
	i := rapid.IntRange(0, len(m.columns[level])-1).Draw(m.t, "column")
	name := m.columns[level][i].name
	m.evolve(func(s *Schema) {
		st := m.schema(s, level)
		st.Fields = slices.Delete(st.Fields, st.Index(name), st.Index(name)+1)
	})
	m.columns[level] = slices.Delete(m.columns[level], i, i+1)
}

// show gives a row as JSON, its columns by their present names.
func (m *mappedModel) show(row [3]map[int]int) string {
	var levels [3]map[string]any
	for level, columns := range m.columns {
		levels[level] = map[string]any{}
		for _, c := range columns {
			levels[level][c.name] = nil
			if v, ok := row[level][c.number]; ok {
				levels[level][c.name] = v
			}
		}
	}
	levels[0]["s"], levels[0]["l"] = levels[1], []any{levels[2]}
	return string(must(json.Marshal(levels[0])))
}

func (m *mappedModel) insert() {
	var row [3]map[int]int
	for level, columns := range m.columns {
		row[level] = map[int]int{}
		for _, c := range columns {
			row[level][c.number] = rapid.IntRange(0, 1000).Draw(m.t, "value")
		}
	}
	w, err := m.s.NewFileWriter(context.Background(), FileOptions{})
	require.NoError(m.t, err)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, m.s.DataArrow(), strings.NewReader("["+m.show(row)+"]"))
	require.NoError(m.t, err)
	defer rec.Release()
	_, err = w.Write(rec)
	require.NoError(m.t, err)
	a, err := w.Close()
	require.NoError(m.t, err)
	tx := Begin(m.s.Location(), m.s)
	tx.Add(*a)
	m.s = must(tx.Commit(context.Background()))
	m.rows = append(m.rows, row)
}

func (m *mappedModel) check() {
	want := []string{}
	for _, row := range m.rows {
		want = append(want, m.show(row))
	}
	got := []string{}
	require.NoError(m.t, m.s.Scan(context.Background(), ScanOptions{}, func(rec arrow.RecordBatch) error {
		for i := range int(rec.NumRows()) {
			row := map[string]any{}
			for c, f := range rec.Schema().Fields() {
				row[f.Name] = rec.Column(c).GetOneForMarshal(i)
			}
			got = append(got, string(must(json.Marshal(row))))
		}
		return nil
	}))
	require.Equal(m.t, sorted(want), sorted(got))
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

// TestMappedAtRandom adds, renames and drops columns and adds rows, and knows
// at each moment what is in which column.
func TestMappedAtRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &mappedModel{t: t, made: 3}
		level := func(name string) *Struct { return &Struct{Fields: []Field{{Name: name, Type: Long, Nullable: true}}} }
		m.columns = [3][]modelColumn{{{"a", 0}}, {{"a", 1}}, {{"a", 2}}}
		schema := level("a")
		schema.Fields = append(schema.Fields,
			Field{Name: "s", Type: level("a"), Nullable: true},
			Field{Name: "l", Type: &Array{Element: level("a"), ContainsNull: true}, Nullable: true})
		mode := rapid.SampledFrom([]MappingMode{MappingNone, MappingName, MappingID}).Draw(t, "mode")
		md := &Metadata{Configuration: map[string]string{}}
		if mode != MappingNone {
			md.Configuration[PropMappingMode] = string(mode)
		}
		require.NoError(t, md.SetSchema(schema))
		tx := Begin(memoryTable(), nil)
		tx.SetProtocol(MirrorProtocol(ProtocolOptions{ColumnMapping: true}))
		tx.SetMetadata(md)
		m.s = must(tx.Commit(context.Background()))
		if mode == MappingNone { // mapped later, with a file from before
			m.insert()
			next, err := evolve(m.s, func(md *Metadata, _ *Schema) { md.Configuration[PropMappingMode] = string(MappingName) })
			require.NoError(t, err)
			m.s = next
		}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			level := rapid.IntRange(0, 2).Draw(t, "level")
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				m.add(level)
			case 1:
				m.rename(level)
			case 2:
				m.drop(level)
			default:
				m.insert()
			}
			m.check()
		}
		m.s = must(Load(context.Background(), m.s.Location()))
		m.check()
		_, err := columnIDs(m.s.Schema())
		require.NoError(t, err)
	})
}
