package tablefmt

import "fmt"

// WithSchema gives the snapshot as if the table had this schema already: for
// a writer that has staged files for a change of schema which it has not
// committed yet, and reads them. It is no version of the table, and nothing
// may be committed on it.
func (s *Snapshot) WithSchema(schema *Schema) (*Snapshot, error) {
	st := *s.st
	if err := st.mapping.checkMapped(schema); err != nil {
		return nil, fmt.Errorf("table %s with another schema: %w", s.loc, invalidf("%w", err))
	}
	st.schema = schema
	st.metadata = s.st.metadata.Clone()
	st.metadata.SchemaString = schema.JSON()
	return newSnapshot(s.loc, &st, nil)
}
