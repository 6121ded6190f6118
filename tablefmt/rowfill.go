package tablefmt

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/tablefmt/sqlexpr"
)

// Fill gives rows that lack columns the table's missing ones, in the table's
// order, partition columns included: defaults where a column has one (Default
// Columns), then values of generated columns (Generated Columns), null for the
// others. Columns that are there stay as they are, nulls too. The caller
// releases what it gets.
//
// An expression that cannot be evaluated exactly, as a default that is the
// present time, is an *[ExpressionError], a column that the table numbers itself
// (Identity Columns) an *[UnsupportedFeatureError], a column that the table does
// not have ErrInvalid.
func (s *Snapshot) Fill(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	out, err := s.fill(rec)
	if err != nil {
		return nil, fmt.Errorf("completing rows of table %s: %w", s.loc, err)
	}
	return out, nil
}

func (s *Snapshot) fill(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	n := int(rec.NumRows())
	cols := make([]arrow.Array, s.arrow.NumFields())
	defer func() {
		for _, c := range cols {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i, f := range rec.Schema().Fields() {
		at := s.st.schema.Index(f.Name)
		if at < 0 || cols[at] != nil {
			return nil, invalidf("the table has no column %q, or the rows have it twice", f.Name)
		}
		if !arrow.TypeEqual(f.Type, s.arrow.Field(at).Type) {
			return nil, invalidf("column %q is of type %s, and the rows have %s", f.Name, s.arrow.Field(at).Type, f.Type)
		}
		cols[at] = rec.Column(i)
		cols[at].Retain()
	}
	// Generated columns come last: they are made of the others.
	for _, generated := range []bool{false, true} {
		for i := range cols {
			f := &s.st.schema.Fields[i]
			_, is := f.Metadata[MetaGenerationExpression].(string)
			is = is && s.Protocol().Has("generatedColumns")
			if cols[i] != nil || is != generated {
				continue
			}
			var err error
			if generated {
				cols[i], err = s.generate(i, cols, n)
			} else {
				cols[i], err = s.missing(i, n)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return array.NewRecordBatch(s.arrow, cols, int64(n)), nil
}

// missing gives what a row has in a column of which nothing was said.
func (s *Snapshot) missing(i, n int) (arrow.Array, error) {
	f, t := &s.st.schema.Fields[i], s.arrow.Field(i).Type
	if _, ok := f.Metadata[metaIdentityStart]; ok && s.Protocol().Has("identityColumns") {
		return nil, &UnsupportedFeatureError{
			Feature: `the feature "identityColumns"`, Writing: true, Detail: fmt.Sprintf("column %q is numbered by the table", f.Name),
		}
	}
	text, ok := f.Metadata[metaDefault].(string)
	if !ok || !s.Protocol().Has("allowColumnDefaults") {
		return array.MakeArrayOfNull(memory.DefaultAllocator, t, n), nil
	}
	// A default knows no column.
	return evaluate(fmt.Sprintf("the default of column %q", f.Name), text, arrow.NewSchema(nil, nil), nil, n, t)
}

func (s *Snapshot) generate(i int, cols []arrow.Array, n int) (arrow.Array, error) {
	f := &s.st.schema.Fields[i]
	columns := make([]sqlexpr.Column, 0, len(cols))
	fields := make([]arrow.Field, 0, len(cols))
	for j, c := range cols {
		if c != nil { // a generated column may not use another one
			fields, columns = append(fields, s.arrow.Field(j)), append(columns, sqlexpr.Column{Values: c})
		}
	}
	text := f.Metadata[MetaGenerationExpression].(string)
	return evaluate(fmt.Sprintf("the generated column %q", f.Name), text, arrow.NewSchema(fields, nil), columns, n, s.arrow.Field(i).Type)
}

func evaluate(rule, text string, schema *arrow.Schema, columns []sqlexpr.Column, n int, t arrow.DataType) (arrow.Array, error) {
	x, err := sqlexpr.Compile(text, schema)
	if err == nil {
		var out arrow.Array
		if out, err = x.Array(columns, n, t); err == nil {
			return out, nil
		}
	}
	return nil, &ExpressionError{Rule: rule, Expression: text, Err: err}
}
