package tablefmt

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// FileStats reads a file's statistics as [AddFile.ParseStats] does, but under
// the names of the schema's columns, at every depth, and without columns that
// the table no longer has. Bounds of a column whose type has widened since are
// texts of its present type; those of numbers are the same number in any type.
func (s *Snapshot) FileStats(a *AddFile) (*FileStats, error) {
	st, err := a.ParseStats()
	if err != nil {
		return st, err
	}
	n := statsNames{mode: s.st.mapping}
	for _, values := range []*map[string]json.RawMessage{&st.MinValues, &st.MaxValues, &st.NullCount} {
		if *values, err = n.of(s.st.schema, *values); err != nil {
			return new(FileStats), fmt.Errorf("reading the statistics of %s: %w", a.Path, err)
		}
	}
	return st, nil
}

// statsNames gives the values of statistics the names of the schema's columns.
type statsNames struct{ mode MappingMode }

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
		if out[f.Name], err = n.value(f.Type, v); err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
	}
	return out, nil
}

func (n statsNames) value(t Type, v json.RawMessage) (json.RawMessage, error) {
	if t == TimestampNTZ && len(v) == len(`"2006-01-02"`) && v[0] == '"' { // it was a date
		return append(bytes.TrimSuffix(bytes.Clone(v), []byte(`"`)), `T00:00:00.000"`...), nil
	}
	fields, ok := t.(*Struct)
	if !ok || len(v) == 0 || v[0] != '{' {
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
