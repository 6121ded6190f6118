package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/cdc"
)

// TypePolicy says how the values of a column are stored, and what becomes of
// one that the column's type in the lake cannot hold.
type TypePolicy int

// The policies.
const (
	// PolicyExact stores such a value as its exact text beside a NULL.
	PolicyExact TypePolicy = iota
	// PolicyText stores all values as PostgreSQL's text of them.
	PolicyText
	// PolicyClamp stores the nearest value that the type can hold: the first
	// or last day of the years 1 to 9999, the most or the least that a decimal
	// holds. NaN is near to none and becomes NULL. Values that have no nearest
	// one, as arrays of two dimensions, are stored as under PolicyExact.
	PolicyClamp
	// PolicyStop stops the table at such a value.
	PolicyStop
)

var policyNames = map[TypePolicy]string{PolicyExact: "exact", PolicyText: "text", PolicyClamp: "clamp", PolicyStop: "stop"}

// String is the policy's word in a configuration.
func (p TypePolicy) String() string { return policyNames[p] }

// ParseTypePolicy reads the word of a policy.
func ParseTypePolicy(word string) (TypePolicy, error) {
	for p, name := range policyNames {
		if name == word {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%q is no policy for a column's type: use exact, text, clamp or stop", word)
}

// TypeRule gives columns of tables a policy. Where several rules name a column
// of a table, the last one counts.
type TypeRule struct {
	// Tables are patterns, as those of Config.Tables.
	Tables []string
	// Columns are the policies by the columns' names, which are not patterns.
	Columns map[string]TypePolicy
}

// typePolicies are the rules of a configuration. Nil gives every column
// PolicyExact.
type typePolicies []typePolicy

type typePolicy struct {
	tables  []pattern
	columns map[string]TypePolicy
}

func newTypePolicies(rules []TypeRule) (typePolicies, error) {
	var out typePolicies
	for _, r := range rules {
		t := typePolicy{columns: maps.Clone(r.Columns)}
		for _, text := range r.Tables {
			p, err := parsePattern(text)
			if err != nil {
				return nil, err
			}
			t.tables = append(t.tables, p)
		}
		for _, name := range slices.Sorted(maps.Keys(r.Columns)) {
			if _, ok := policyNames[r.Columns[name]]; !ok {
				return nil, fmt.Errorf("column %q has the unknown policy %d", name, r.Columns[name])
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// of gives the policy of a column.
func (ps typePolicies) of(schema, table, column string) TypePolicy {
	for _, p := range slices.Backward(ps) {
		policy, ok := p.columns[column]
		if ok && slices.ContainsFunc(p.tables, func(t pattern) bool { return t.matches(schema, table) }) {
			return policy
		}
	}
	return PolicyExact
}

// typePolicies looks whether the policies of columns fit the tables.
func (c *checker) typePolicies(context.Context) error {
	c.list = append(c.list, c.resolver.policies.findings(c.relations())...)
	return nil
}

// findings says which policies name columns that no table has, and which
// cannot be kept. It is pure.
func (ps typePolicies) findings(tables []*cdc.Relation) []cdc.Finding {
	var out []cdc.Finding
	for _, p := range ps {
		for _, name := range slices.Sorted(maps.Keys(p.columns)) {
			matched, found := []string(nil), false
			for _, t := range tables {
				if slices.ContainsFunc(p.tables, func(x pattern) bool { return x.matches(t.Schema, t.Name) }) {
					matched = append(matched, t.String())
					found = found || slices.ContainsFunc(t.Columns, func(c cdc.Column) bool { return c.Name == name })
				}
			}
			if !found {
				out = append(out, cdc.Finding{
					Check: "column_type_policy", Object: name, Severity: cdc.Warning,
					Have: "no such column in " + orNone(matched), Need: "the name of a column, with upper and lower case as PostgreSQL has it",
					Remedy: "mend the column's name under types, or the patterns of its tables, in the configuration",
				})
			}
		}
	}
	for _, t := range tables {
		for _, k := range t.Key {
			name := t.Columns[k].Name
			if ps.of(t.Schema, t.Name, name) == PolicyClamp {
				out = append(out, cdc.Finding{
					Check: "column_type_policy", Object: t.String() + "." + name, Severity: cdc.Blocker,
					Have: "clamp, for a column of the key", Need: "exact, text or stop: clamping can make two keys one",
					Remedy: "give the column another policy under types in the configuration",
				})
			}
		}
	}
	return out
}

func orNone(tables []string) string {
	const most = 3
	switch {
	case len(tables) == 0:
		return "any table that is selected"
	case len(tables) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(tables[:most], ", "), len(tables)-most)
	}
	return strings.Join(tables, ", ")
}

// stopFault is the fault of a value that is under PolicyStop.
func stopFault(rel *cdc.Relation, row, col int, text string) cdc.Fault {
	c := &rel.Columns[col]
	const most = 60
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return cdc.Fault{
		Row:    row,
		Column: c.Name,
		Reason: fmt.Sprintf("column %q (%s) has the value %s, which its type in the lake cannot hold, and its policy is stop", c.Name, c.SourceType, text),
		Remedy: "change the value at the source and copy the table again (`lakeload resync SCHEMA.TABLE`), or give the column the policy exact or clamp under types in the configuration, and start again",
	}
}
