package tablefmt

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/lakeload/lakeload/tablefmt/sqlexpr"
)

const (
	constraintPrefix = "delta.constraints."
	metaInvariants   = "delta.invariants"
	// metaDefault is the key of column metadata that holds what a row has in the
	// column whose writer says nothing. (Default Columns)
	metaDefault = "CURRENT_DEFAULT"
	// metaIdentityStart and metaIdentityExplicit are keys of identity columns.
	metaIdentityStart    = "delta.identity.start"
	metaIdentityExplicit = "delta.identity.allowExplicitInsert"
	metaIdentityMark     = "delta.identity.highWaterMark"
	metaIdentityStep     = "delta.identity.step"
)

// ConstraintError says that a row breaks a rule of the table. Nothing of the
// file that was to hold it is part of the table. errors.Is(err, ErrInvalid)
// holds.
type ConstraintError struct {
	Rule       string // what the rule is, as "the CHECK constraint \"positive\""
	Expression string // of the rule, as the table has it
	// Values are those of the columns that the expression uses, for people.
	Values []ColumnText
}

// ColumnText is a column's value as text, "null" for null.
type ColumnText struct{ Column, Value string }

func (e *ConstraintError) Error() string {
	values := make([]string, len(e.Values))
	for i, v := range e.Values {
		values[i] = v.Column + " = " + v.Value
	}
	return fmt.Sprintf("%s (%s) does not hold for a row with %s", e.Rule, e.Expression, strings.Join(values, ", "))
}

// Is makes errors.Is(err, ErrInvalid) hold.
func (e *ConstraintError) Is(target error) bool { return target == ErrInvalid }

// ExpressionError says that a rule of the table cannot be evaluated exactly, so
// that no row can be written that it is about. errors.Is(err, ErrInvalid) does
// not hold: it is nothing that the caller did wrong.
type ExpressionError struct {
	Rule       string // as in ConstraintError
	Expression string
	Err        error // a *sqlexpr.UnsupportedError: which part is not known
}

func (e *ExpressionError) Error() string {
	var u *sqlexpr.UnsupportedError
	why := fmt.Sprint(e.Err)
	if errors.As(e.Err, &u) {
		why = u.Reason
	}
	return fmt.Sprintf("lakeload cannot write rows to a table with %s: its expression (%s) cannot be evaluated exactly: %s; a writer that can is Spark", e.Rule, e.Expression, why)
}

// Unwrap gives the reason.
func (e *ExpressionError) Unwrap() error { return e.Err }

// rowRule is one rule that each new row must keep.
type rowRule struct {
	name       string // for people
	expression string // as the table has it
	compiled   string // what is evaluated, "" for expression itself
	generated  bool   // it is about a generated column
}

// rowRulesOf gives the rules of a table, in an order of their own: CHECK
// constraints, column invariants and the values of generated columns. (CHECK
// Constraints, Column Invariants, Generated Columns)
func rowRulesOf(p *Protocol, m *Metadata, s *Schema) ([]rowRule, error) {
	var out []rowRule
	if p.Has("checkConstraints") {
		for _, key := range slices.Sorted(maps.Keys(m.Configuration)) {
			if strings.HasPrefix(strings.ToLower(key), constraintPrefix) {
				out = append(out, rowRule{name: fmt.Sprintf("the CHECK constraint %q", key[len(constraintPrefix):]), expression: m.Configuration[key]})
			}
		}
	}
	err := walkStructs(s, "", func(at string, st *Struct) error {
		for i := range st.Fields {
			f := &st.Fields[i]
			if text, ok := f.Metadata[metaInvariants].(string); ok && p.Has("invariants") {
				rule, err := invariant(at+f.Name, text)
				if err != nil {
					return err
				}
				out = append(out, rule)
			}
			if _, ok := f.Metadata[metaIdentityStart]; ok && at == "" && p.Has("identityColumns") {
				out = append(out, rowRule{name: fmt.Sprintf("the identity column %q", f.Name), expression: quoteName(f.Name) + " IS NOT NULL"})
			}
			if text, ok := f.Metadata[MetaGenerationExpression].(string); ok && p.Has("generatedColumns") {
				if at != "" {
					return &UnsupportedFeatureError{Feature: "generated fields of structs", Writing: true, Detail: fmt.Sprintf("column %q", at+f.Name)}
				}
				out = append(out, rowRule{
					name: fmt.Sprintf("the generated column %q", f.Name), expression: text, compiled: quoteName(f.Name) + " <=> (" + text + ")", generated: true,
				})
			}
		}
		return nil
	})
	return out, err
}

func invariant(column, text string) (rowRule, error) {
	var v struct {
		Expression struct {
			Expression string `json:"expression"`
		} `json:"expression"`
	}
	rule := rowRule{name: fmt.Sprintf("the invariant of column %q", column)}
	if err := json.Unmarshal([]byte(text), &v); err != nil || v.Expression.Expression == "" {
		return rule, &ExpressionError{Rule: rule.name, Expression: text, Err: errors.New("it is not of the form that the protocol says")}
	}
	rule.expression = v.Expression.Expression
	return rule, nil
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// rulesID tells the rules of one state of a table from those of another; "" for
// none. Types are part of it: they say what an expression means.
func rulesID(p *Protocol, m *Metadata, s *Schema) (string, error) {
	rules, err := rowRulesOf(p, m, s)
	if err != nil || len(rules) == 0 {
		return "", err
	}
	h := sha256.New()
	for _, r := range rules {
		fmt.Fprintf(h, "%q %q\n", r.name, r.expression)
	}
	fmt.Fprint(h, s)
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// checker holds rows against a table's rules. It is used by one goroutine.
type checker struct {
	id      string
	schema  *arrow.Schema
	rules   []checkedRule
	columns []sqlexpr.Column // one for each of the schema
	at      []int            // which column of a batch each is; -1 for a constant or one that no rule uses
}

type checkedRule struct {
	rowRule
	expr *sqlexpr.Expr
}

// newChecker compiles the rules of a table for rows whose batches have the
// columns of data. constants are the partition columns' values; computed leaves
// generated columns out. It gives nil where there is no rule.
func newChecker(s *Snapshot, data *arrow.Schema, constants map[string]arrow.Array, computed bool) (*checker, error) {
	p, m := s.Protocol(), s.Metadata()
	if err := checkIdentity(p, s.Schema()); err != nil {
		return nil, err
	}
	rules, err := rowRulesOf(p, m, s.Schema())
	if err != nil || len(rules) == 0 {
		return nil, err
	}
	c := &checker{schema: s.Arrow(), columns: make([]sqlexpr.Column, s.Arrow().NumFields()), at: make([]int, s.Arrow().NumFields())}
	if c.id, err = rulesID(p, m, s.Schema()); err != nil {
		return nil, err
	}
	for i := range c.at {
		c.at[i] = -1
	}
	for _, r := range rules {
		if computed && r.generated {
			continue
		}
		text := r.compiled
		if text == "" {
			text = r.expression
		}
		x, err := sqlexpr.Predicate(text, c.schema)
		if err != nil {
			return nil, &ExpressionError{Rule: r.name, Expression: r.expression, Err: err}
		}
		for _, i := range x.Columns() {
			name := c.schema.Field(i).Name
			if v, ok := constants[name]; ok {
				c.columns[i] = sqlexpr.Column{Values: v, Constant: true}
			} else if at := data.FieldIndices(name); len(at) > 0 {
				c.at[i] = at[0]
			}
		}
		c.rules = append(c.rules, checkedRule{r, x})
	}
	return c, nil
}

// check looks at rows of a batch: those named, or all. The error is a
// *[ConstraintError] or an *[ExpressionError].
func (c *checker) check(rec arrow.RecordBatch, rows []int32) error {
	for i, at := range c.at {
		if at >= 0 {
			c.columns[i] = sqlexpr.Column{Values: rec.Column(at)}
		}
	}
	n := int(rec.NumRows())
	if rows != nil {
		n = len(rows)
	}
	for _, r := range c.rules {
		for i := range n {
			row := i
			if rows != nil {
				row = int(rows[i])
				if row < 0 || int64(row) >= rec.NumRows() {
					return fmt.Errorf("row %d of a batch of %d", row, rec.NumRows())
				}
			}
			holds, _, err := r.expr.Holds(c.columns, row)
			if err != nil {
				return &ExpressionError{Rule: r.name, Expression: r.expression, Err: err}
			}
			if !holds {
				return &ConstraintError{Rule: r.name, Expression: r.expression, Values: c.values(r.expr, row)}
			}
		}
	}
	return nil
}

func (c *checker) values(x *sqlexpr.Expr, row int) (out []ColumnText) {
	for _, i := range x.Columns() {
		col, at := c.columns[i], row
		if col.Constant {
			at = 0
		}
		text := "null"
		if col.Values.IsValid(at) {
			if text = col.Values.ValueStr(at); len(text) > 200 {
				text = strings.ToValidUTF8(text[:200], "") + "..."
			}
		}
		out = append(out, ColumnText{c.schema.Field(i).Name, text})
	}
	return out
}

// checkIdentity refuses new rows of a table that gives them values itself.
// (Identity Columns)
func checkIdentity(p *Protocol, s *Schema) error {
	if !p.Has("identityColumns") {
		return nil
	}
	for i := range s.Fields {
		f := &s.Fields[i]
		if _, ok := f.Metadata[metaIdentityStart]; ok && f.Metadata[metaIdentityExplicit] != true {
			return &UnsupportedFeatureError{
				Feature: `the feature "identityColumns"`, Writing: true, Detail: fmt.Sprintf("column %q is generated always as identity: its values are given by the table", f.Name),
			}
		}
	}
	return nil
}

// partitionConstants gives the partition columns' values of a file as arrays of
// one value, by the names of the schema.
func (s *Snapshot) partitionConstants(values map[string]*string) (map[string]arrow.Array, error) {
	out := make(map[string]arrow.Array, len(values))
	for _, name := range s.PartitionColumns() {
		at := s.st.schema.Index(name)
		value, err := partitionAppender(s.st.schema.Fields[at].Type, values[name])
		if err != nil {
			return nil, invalidf("partition column %q: %w", name, err)
		}
		b := array.NewBuilder(memory.DefaultAllocator, s.arrow.Field(at).Type)
		value(b, 1)
		out[name] = b.NewArray()
		b.Release()
	}
	return out, nil
}
