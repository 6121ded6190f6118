package mask

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/lakeload/lakeload/cdc"
)

// Problem is why the masks of a table cannot be applied.
type Problem struct {
	Table, Column  string
	Reason, Remedy string
	// Lost says that the column that the mask was for cannot be told from others
	// any more.
	Lost bool
}

func (p *Problem) Error() string {
	return fmt.Sprintf("the mask of column %q of %s: %s", p.Column, p.Table, p.Reason)
}

// Hint is what to do about it.
func (p *Problem) Hint() string { return p.Remedy }

// Check says why a relation cannot be masked so; nil where it can. It is pure.
func Check(rel *cdc.Relation, columns []Column, salted bool) *Problem {
	problem := func(name, remedy, format string, args ...any) *Problem {
		return &Problem{Table: rel.String(), Column: name, Reason: fmt.Sprintf(format, args...), Remedy: remedy}
	}
	for i := range rel.Columns {
		c := &rel.Columns[i]
		m := of(columns, c)
		switch {
		case m == nil:
		case m.Validate() != nil:
			return problem(c.Name, "mend the mask in the configuration", "%v", m.Validate())
		case rel.IsKey(i) && m.Kind != Hash:
			return problem(c.Name, "use hash for it, or leave it as it is",
				"it belongs to the key, and %s can make two keys one", m.Mask)
		case m.Kind == Hash && !salted:
			return problem(c.Name, "name a file that holds the salt with salt_file, beside the mask", "a hash needs a salt, and none is given")
		case m.Kind == Hash && !textable(c.Type):
			return problem(c.Name, "have it stored as text (`types: {"+c.Name+": text}`), or use null or drop",
				"a value of type %s has no one text to be hashed", c.SourceType)
		case (m.Kind == Truncate || m.Kind == Regex) && c.Type.ID() != arrow.STRING:
			return problem(c.Name, "use hash, null or drop, or have it stored as text (`types: {"+c.Name+": text}`)",
				"%s is for texts, and it is a %s", m.Kind, c.SourceType)
		}
	}
	if lost := lost(rel, columns); lost != nil {
		p := problem(lost.Name, "copy the table again (`lakeload resync SCHEMA.TABLE`): its columns are then known. If the column has another name now, give the mask that name",
			"the column is gone, the source's catalogue has gone on since, and which column has its values now cannot be told")
		p.Lost = true
		return p
	}
	return nil
}

// of gives the mask of a relation's column; nil where it has none.
func of(columns []Column, c *cdc.Column) *Column {
	for i := range columns {
		if m := &columns[i]; m.ID != 0 && m.ID == c.ID {
			return m
		}
	}
	for i := range columns {
		if m := &columns[i]; m.Name == c.Name {
			return m
		}
	}
	return nil
}

// lost gives a mask whose column was there and may be any of those now whose
// identity is not known; nil where there is none.
func lost(rel *cdc.Relation, columns []Column) *Column {
	for i := range columns {
		m := &columns[i]
		if !m.Found || slices.ContainsFunc(rel.Columns, func(c cdc.Column) bool { return c.Name == m.Name || m.ID != 0 && c.ID == m.ID }) {
			continue
		}
		if slices.ContainsFunc(rel.Columns, func(c cdc.Column) bool { return (c.ID == 0 || m.ID == 0) && of(columns, &c) == nil }) {
			return m
		}
	}
	return nil
}

// Bind notes which columns of a relation the masks are for, so that they stay
// with them. It gives the list itself, and false, where there is nothing new. A
// column that has taken the name of one that is masked is masked, too.
func Bind(columns []Column, rel *cdc.Relation) ([]Column, bool) {
	next, changed := columns, false
	note := func(i int, m Column) {
		if !changed {
			next, changed = slices.Clone(columns), true
		}
		if i < 0 {
			next = append(next, m)
			return
		}
		next[i] = m
	}
	for i := range rel.Columns {
		c := &rel.Columns[i]
		if c.ID != 0 && slices.ContainsFunc(next, func(m Column) bool { return m.ID == c.ID }) {
			continue
		}
		k := slices.IndexFunc(next, func(m Column) bool { return m.Name == c.Name && m.ID == 0 })
		switch {
		case k >= 0 && (!next[k].Found || c.ID != 0):
			m := next[k]
			m.Found, m.ID = true, c.ID
			note(k, m)
		case k < 0 && c.ID != 0:
			if k = slices.IndexFunc(next, func(m Column) bool { return m.Name == c.Name }); k >= 0 {
				m := next[k]
				m.ID = c.ID
				note(-1, m)
			}
		}
	}
	return next, changed
}

// plan is how batches of one relation are masked. It is pure but for the
// hashing, and may be used by several goroutines.
type plan struct {
	rel     *cdc.Relation // as it is shown
	problem *Problem      // why it cannot be; its values are then hidden altogether
	salt    *Salt
	cols    []planned // one for each column of rel
	hidden  map[string]bool
}

// planned is where a column that is shown comes from.
type planned struct {
	from int   // the column of the source
	mask *Mask // nil: it is as it is
	expr *regexp.Regexp
}

// newPlan plans the masking of a relation; nil where nothing of it is masked.
func newPlan(rel *cdc.Relation, p *Policy) *plan {
	if p == nil || len(p.Columns) == 0 {
		return nil
	}
	problem := Check(rel, p.Columns, p.Salt != nil)
	salt := p.Salt
	if salt == nil {
		salt = Throwaway()
	}
	out := &plan{problem: problem, salt: salt, hidden: map[string]bool{}}
	shown := *rel
	shown.Columns, shown.Key, shown.Beneath = nil, nil, rel
	for i := range rel.Columns {
		c := rel.Columns[i]
		var m *Mask
		if col := of(p.Columns, &c); col != nil {
			m = &col.Mask
		}
		if problem != nil {
			m = instead(rel, i, m, problem.Lost)
		}
		if m != nil {
			out.hidden[c.Name] = true
		}
		if m != nil && m.Kind == Drop {
			continue
		}
		one := planned{from: i, mask: m}
		if m != nil && m.Kind == Regex {
			one.expr = regexp.MustCompile(m.Pattern) // Check has compiled it
		}
		if rel.IsKey(i) {
			shown.Key = append(shown.Key, len(out.cols))
		}
		out.cols = append(out.cols, one)
		shown.Columns = append(shown.Columns, c)
	}
	if len(out.hidden) == 0 && problem == nil {
		return nil
	}
	// The key's order is the source's.
	shown.Key = shown.Key[:0]
	for _, k := range rel.Key {
		shown.Key = append(shown.Key, slices.IndexFunc(out.cols, func(c planned) bool { return c.from == k }))
	}
	if len(rel.Key) == 0 {
		shown.Key = nil
	}
	for i := range out.cols {
		out.show(&shown.Columns[i], &out.cols[i])
	}
	out.rel = &shown
	return out
}

// instead is what is done with a column of a relation that cannot be masked as
// it is to be: its rows are not applied, and must not show anything.
func instead(rel *cdc.Relation, i int, m *Mask, lost bool) *Mask {
	switch {
	case m == nil && (!lost || rel.Columns[i].ID != 0):
		return nil // it is known to be another column
	case rel.IsKey(i) && textable(rel.Columns[i].Type):
		return &Mask{Kind: Hash}
	case m != nil && m.Kind == Drop && !rel.IsKey(i):
		return m
	}
	return &Mask{Kind: Null}
}

// show makes a column of the source what is shown of it.
func (p *plan) show(c *cdc.Column, by *planned) {
	if by.mask == nil {
		return
	}
	switch by.mask.Kind {
	case Null:
		c.NotNull = false
		if c.Missing.Kind == cdc.MissingValue {
			c.Missing = cdc.Missing{Kind: cdc.MissingNull}
		}
		return
	case Hash:
		c.Type, c.Shape = arrow.BinaryTypes.String, ""
	}
	if c.Missing.Kind == cdc.MissingValue {
		exact := map[int]string{}
		if c.Missing.Exact != "" {
			exact[0] = c.Missing.Exact
		}
		c.Missing = cdc.Missing{Kind: cdc.MissingValue, Value: p.column(by, c.Missing.Value, exact)}
	}
}
