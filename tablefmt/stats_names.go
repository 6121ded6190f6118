package tablefmt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// FileStats reads a file's statistics as [AddFile.ParseStats] does, but under
// the names of the schema's columns, at every depth, and without columns that
// the table no longer has. Bounds of a column whose type has widened since are
// bounds of the present type.
func (s *Snapshot) FileStats(a *AddFile) (*FileStats, error) {
	st, err := a.ParseStats()
	if err != nil {
		return st, err
	}
	for kind, values := range map[statsKind]*map[string]json.RawMessage{statsMin: &st.MinValues, statsMax: &st.MaxValues, statsNulls: &st.NullCount} {
		n := statsNames{mode: s.st.mapping, kind: kind}
		if *values, err = n.of(s.st.schema, *values); err != nil {
			return new(FileStats), fmt.Errorf("reading the statistics of %s: %w", a.Path, err)
		}
	}
	return st, nil
}

type statsKind int

const (
	statsMin statsKind = iota
	statsMax
	statsNulls
)

// statsNames gives the values of statistics the names of the schema's columns.
type statsNames struct {
	mode MappingMode
	kind statsKind
}

func (n statsNames) of(s *Struct, values map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	if values == nil {
		return nil, nil
	}
	out := make(map[string]json.RawMessage, len(values))
	for i := range s.Fields {
		f := &s.Fields[i]
		v, ok := values[n.mode.physicalName(f)]
		if !ok {
			continue
		}
		var err error
		if out[f.Name], err = n.value(f, v); err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
	}
	return out, nil
}

func (n statsNames) value(f *Field, v json.RawMessage) (json.RawMessage, error) {
	if fields, ok := f.Type.(*Struct); ok {
		if len(v) == 0 || v[0] != '{' {
			return v, nil
		}
		var inner map[string]json.RawMessage
		if err := json.Unmarshal(v, &inner); err != nil {
			return nil, err
		}
		named, err := n.of(fields, inner)
		if err != nil {
			return nil, err
		}
		return json.Marshal(named)
	}
	if n.kind != statsNulls {
		return n.widened(f, v), nil
	}
	return v, nil
}

// widened gives a bound as one of the column's present type. Numbers are the
// same number in any type, but for floats: the shortest digits of one are those
// of another double, so that the bound must leave room for both.
func (n statsNames) widened(f *Field, v json.RawMessage) json.RawMessage {
	switch {
	case f.Type == TimestampNTZ && len(v) == len(`"2006-01-02"`) && v[0] == '"':
		return append(bytes.TrimSuffix(bytes.Clone(v), []byte(`"`)), `T00:00:00.000"`...)
	case f.Type == Double && wasFloat(f):
		x, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			return v
		}
		y := float64(float32(x))
		if n.kind == statsMin && y < x || n.kind == statsMax && y > x {
			return strconv.AppendFloat(nil, y, 'g', -1, 64)
		}
	}
	return v
}

func wasFloat(f *Field) bool {
	changes, err := typeChanges(f)
	return err == nil && slices.ContainsFunc(changes, func(c typeChange) bool { return c.path == "" && c.from == Float })
}
