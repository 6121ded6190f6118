package tablefmt

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/tablefmt/sqlexpr"
)

var constraintName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// AddConstraint adds a CHECK constraint to a table, after every row was held
// against it, and gives the snapshot of that commit. (CHECK Constraints) The
// protocol lists the feature from then on. A row that breaks it is a
// *[ConstraintError]; an expression that cannot be evaluated exactly is an
// *[ExpressionError]; rows that others add meanwhile are a *[ConflictError].
// Nothing is written then.
func AddConstraint(ctx context.Context, s *Snapshot, name, expression string) (*Snapshot, error) {
	next, err := addConstraint(ctx, s, name, expression)
	if err != nil {
		return nil, fmt.Errorf("adding the constraint %q to table %s: %w", name, s.loc, err)
	}
	return next, nil
}

func addConstraint(ctx context.Context, s *Snapshot, name, expression string) (*Snapshot, error) {
	if !constraintName.MatchString(name) {
		return nil, invalidf("the name is not one of letters, digits and underscores")
	}
	m := s.Metadata().Clone()
	for key := range m.Configuration {
		if strings.EqualFold(key, constraintPrefix+name) {
			return nil, invalidf("there is one of this name: (%s)", m.Configuration[key])
		}
	}
	rule := rowRule{name: fmt.Sprintf("the CHECK constraint %q", strings.ToLower(name)), expression: expression}
	if err := s.hold(ctx, rule); err != nil {
		return nil, err
	}
	t := Begin(s.loc, s)
	if !s.Protocol().Has("checkConstraints") {
		p, err := s.Protocol().With("checkConstraints")
		if err != nil {
			return nil, err
		}
		t.SetProtocol(p)
	}
	if m.Configuration == nil {
		m.Configuration = map[string]string{}
	}
	m.Configuration[constraintPrefix+strings.ToLower(name)] = expression
	t.SetMetadata(m)
	t.SetReads(ReadsTable)
	t.SetInfo("ADD CONSTRAINT", map[string]any{"name": name, "expr": expression})
	t.proven = []rowRule{rule}
	return t.Commit(ctx)
}

// hold holds all rows against a rule, of which it reads the columns. The error is a
// *[ConstraintError] or an *[ExpressionError].
func (s *Snapshot) hold(ctx context.Context, r rowRule) error {
	x, err := sqlexpr.Predicate(r.expression, s.Arrow())
	if err != nil {
		return &ExpressionError{Rule: r.name, Expression: r.expression, Err: err}
	}
	c := &checker{schema: s.Arrow(), rules: []checkedRule{{r, x}}, columns: make([]sqlexpr.Column, s.Arrow().NumFields()), at: make([]int, s.Arrow().NumFields())}
	for i := range c.at {
		c.at[i] = -1
	}
	names := []string{}
	for n, i := range x.Columns() {
		c.at[i] = n
		names = append(names, s.Arrow().Field(i).Name)
	}
	return s.Scan(ctx, ScanOptions{Columns: names}, func(rec arrow.RecordBatch) error { return c.check(rec, nil) })
}
