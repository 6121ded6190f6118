package tablefmt

import (
	"context"
	"fmt"
	"strings"
)

// checkRules refuses new rows that were not held against the table's rules, and
// new rules that the rows which are there were not held against.
func (t *Transaction) checkRules(p *Protocol, m *Metadata, s *Schema) error {
	if t.restores {
		return nil // the rules held for these rows once
	}
	if t.metadata != nil {
		if err := t.checkNewRules(p, m, s); err != nil {
			return err
		}
	}
	feature := enforced(p, m, s)
	if feature == "" {
		return nil
	}
	id := ""
	for i := range t.adds {
		a := &t.adds[i]
		if !a.DataChange {
			continue
		}
		if t.base != nil {
			if _, there := t.base.File(a.Path); there {
				continue
			}
		}
		if id == "" {
			if err := checkIdentity(p, s); err != nil {
				return err
			}
			var err error
			if id, err = rulesID(p, m, s); err != nil {
				return err
			}
		}
		if !a.made.keeps(id) {
			return &UnsupportedFeatureError{
				Feature: fmt.Sprintf("the feature %q", feature), Writing: true,
				Detail: fmt.Sprintf("the rows of %s were not held against the table's rules; the table's own writer does so (Snapshot.NewFileWriter)", a.Path),
			}
		}
	}
	return nil
}

// HoldRows holds the rows of another table's snapshot, whose files the transaction
// adds to this one by [Transaction.Add], against the rules that this one has after
// it (CHECK constraints, invariants). Without it such files are refused where there
// are rules, as nobody says that their rows keep them. It costs nothing where there
// are none, and reads the columns that the rules use otherwise. A row that breaks
// one is a *[ConstraintError], a rule that cannot be evaluated an *[ExpressionError].
// Columns are found by their names. SetProtocol, SetMetadata and Add come before it.
func (t *Transaction) HoldRows(ctx context.Context, from *Snapshot) error {
	p, m := t.protocol, t.metadata
	if t.base != nil {
		p, m = t.effective(t.base.st)
	}
	if p == nil || m == nil {
		return invalidf("the transaction has no protocol or metadata yet, and the table is new")
	}
	s, err := schemaOf(m)
	if err != nil {
		return fmt.Errorf("holding rows of %s against the rules of %s: %w", from.loc, t.place(), err)
	}
	if enforced(p, m, s) == "" {
		return nil
	}
	if err := t.holdRows(ctx, from, p, m, s); err != nil {
		return fmt.Errorf("holding rows of %s against the rules of %s: %w", from.loc, t.place(), err)
	}
	return nil
}

func (t *Transaction) holdRows(ctx context.Context, from *Snapshot, p *Protocol, m *Metadata, s *Schema) error {
	rules, err := rowRulesOf(p, m, s)
	if err != nil {
		return err
	}
	if fmt.Sprint(s) != fmt.Sprint(from.Schema()) {
		return invalidf("their columns differ, and types say what a rule means")
	}
	for _, r := range rules {
		if r.generated { // who made the files answers for it, see enforced
			continue
		}
		if err := from.hold(ctx, r); err != nil {
			return err
		}
	}
	id, err := rulesID(p, m, s)
	if err != nil {
		return err
	}
	for i := range t.adds {
		a := &t.adds[i]
		if _, there := from.File(a.Path); there && !a.made.keeps(id) {
			made := madeFile{}
			if a.made != nil {
				made = *a.made
			}
			made.rules = id
			a.made = &made
		}
	}
	return nil
}

// enforced names a feature whose rules new rows must have been held against, ""
// for none. Generated columns are not among them: who writes to one without the
// table's own writer answers for their values.
func enforced(p *Protocol, m *Metadata, s *Schema) string {
	for _, name := range []string{"checkConstraints", "invariants", "identityColumns"} {
		if f, _ := featureByName(name); p.Has(name) && f.active(m, s) {
			return name
		}
	}
	return ""
}

// checkNewRules refuses constraints and invariants that come to a table with
// rows.
func (t *Transaction) checkNewRules(p *Protocol, m *Metadata, s *Schema) error {
	for key := range m.Configuration {
		if strings.HasPrefix(strings.ToLower(key), constraintPrefix) && !p.Has("checkConstraints") {
			return invalidf("the table has the constraint %q, and its protocol does not list checkConstraints", key)
		}
	}
	if t.base == nil || len(t.removes) >= t.base.NumFiles() {
		return nil
	}
	known := make(map[string]bool)
	was, err := rowRulesOf(t.base.Protocol(), t.base.Metadata(), t.base.Schema())
	if err != nil {
		return err
	}
	for _, r := range append(was, t.proven...) {
		known[r.name+"\x00"+r.expression] = true
	}
	now, err := rowRulesOf(p, m, s)
	if err != nil {
		return err
	}
	for _, r := range now {
		if !known[r.name+"\x00"+r.expression] && !r.generated {
			return invalidf("%s (%s) is new, and the table's rows were not held against it; AddConstraint does so for CHECK constraints", r.name, r.expression)
		}
	}
	return nil
}
