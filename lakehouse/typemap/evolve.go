package typemap

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/tablefmt"
)

// Input is what a plan is made from.
type Input struct {
	Table  *tablefmt.Schema       // as it is
	Own    func(name string) bool // tells the columns that are the table's own, not the source's
	Rel    *cdc.Relation          // the source's present shape
	Policy Policy
	// Rewritten says that the source may have written the rows anew since the
	// table had its present columns, so that what they hold is not known.
	Rewritten bool
	// Append says that rows that are there are history, and stay as they are:
	// columns are then what their names say, a renamed one is one that went and
	// one that came.
	Append bool
	// Highest is the highest id of a column that the table is known to have had.
	Highest int32
}

// Change is what has to become of a table's columns for rows of a relation to
// fit.
type Change struct {
	Schema *tablefmt.Schema
	// From has, for each field of Schema, where the values of rows that are
	// there come from.
	From []From
	// Rewrite says that those rows have to be written anew.
	Rewrite bool
	// Notes tell people what has changed.
	Notes []string
}

// From is where the values of a column come from, for rows that are there.
type From struct {
	Field   int         // of the old schema, to be cast if its type is another; -1: of Missing
	Missing cdc.Missing // the value of all rows, or null
}

// planner is one plan in the making.
type planner struct {
	Input
	pairs   []int // for each column its field, -1 for none
	dropped []int // fields of columns that are gone
	change  *Change
}

// Plan compares a table's columns with its relation's. It gives nil where
// nothing is to be done, and an *Incompatible error where the table cannot
// follow, or is not to.
func Plan(in Input) (*Change, error) {
	in.Policy.EnsureDefaults()
	p := &planner{Input: in, change: &Change{}}
	if err := p.match(); err != nil {
		return nil, err
	}
	changed, err := p.build()
	if err != nil || !changed {
		return nil, err
	}
	if err := p.change.Schema.CheckNames(false); err != nil {
		return nil, &Incompatible{Column: in.Rel.Name, Reason: fmt.Sprintf("its columns: %v", err)}
	}
	return p.change, nil
}

// ColumnID is the source's id of a field's column; 0 where it is not known.
func ColumnID(f *tablefmt.Field) int32 {
	n, _ := f.Metadata[metaColumnID].(json.Number)
	id, _ := n.Int64()
	return int32(id)
}

// live are the fields of columns that the source had, as far as is known. In a
// changelog a column that went may come again.
func (p *planner) live() []int {
	var list []int
	for i := range p.Table.Fields {
		if f := &p.Table.Fields[i]; !p.Own(f.Name) && (p.Append || !Dropped(f)) {
			list = append(list, i)
		}
	}
	return list
}

// match finds for each column its field: by the columns' ids where all are
// known, else by name.
func (p *planner) match() error {
	live := p.live()
	byID := !p.Append && !slices.ContainsFunc(p.Rel.Columns, func(c cdc.Column) bool { return c.ID == 0 }) &&
		!slices.ContainsFunc(live, func(i int) bool { return ColumnID(&p.Table.Fields[i]) == 0 })
	fields := map[any]int{}
	for _, i := range live {
		f := &p.Table.Fields[i]
		if byID {
			fields[ColumnID(f)] = i
		} else {
			fields[f.Name] = i
		}
	}
	found := map[int]bool{}
	added := ""
	for _, c := range p.Rel.Columns {
		key := any(c.Name)
		if byID {
			key = c.ID
		}
		i, ok := fields[key]
		if !ok {
			i, added = -1, c.Name
		}
		found[i] = true
		p.pairs = append(p.pairs, i)
	}
	for _, i := range live {
		if !found[i] && !Dropped(&p.Table.Fields[i]) {
			p.dropped = append(p.dropped, i)
		}
	}
	if c := p.replaced(); c != "" && !p.Append {
		action := p.Policy.Rename
		if action == Follow {
			action = Resync
		}
		return p.refuse(action, c, "the source's catalogue has gone on since: whether these rows are of it, or of another one that had its name, cannot be told")
	}
	switch {
	case added == "" || p.Append:
		return nil
	case byID && p.Rel.Dropped > p.highest():
		return &Incompatible{Column: added, Reason: "it was added, and columns that were never seen came and went: which of them these rows have cannot be told", Resync: true}
	case len(p.dropped) == 0:
		return nil
	}
	gone := p.Table.Fields[p.dropped[0]].Name
	switch {
	case !byID:
		action := p.Policy.Rename
		if action == Follow {
			action = Resync // there is nothing to follow
		}
		return p.refuse(action, gone, "it went while %q came, and the source's catalogue has gone on since: whether it was renamed cannot be told", added)
	case slices.ContainsFunc(p.dropped, func(i int) bool {
		return slices.ContainsFunc(p.Rel.Columns, func(c cdc.Column) bool { return c.Name == p.Table.Fields[i].Name })
	}):
		// Whether these rows are of the column that went or of the one that came
		// the catalogue does not tell.
		return &Incompatible{Column: gone, Reason: "it was dropped and another one has its name", Resync: true}
	}
	return nil
}

// replaced gives a column of the relation that may be another one than the
// table's of the same name; "" where there is none.
func (p *planner) replaced() string {
	if p.Rel.Later == nil {
		return ""
	}
	for c, i := range p.pairs {
		if i < 0 {
			continue
		}
		id := ColumnID(&p.Table.Fields[i])
		if id != 0 && p.Rel.Later.MayReplace(id, &p.Rel.Columns[c], p.highest()) {
			return p.Rel.Columns[c].Name
		}
	}
	return ""
}

// highest is the highest id that is known to have been a column's.
func (p *planner) highest() int32 {
	id := p.Highest
	for i := range p.Table.Fields {
		id = max(id, ColumnID(&p.Table.Fields[i]))
	}
	return id
}

// refuse is what a policy says of a change that is not followed.
func (p *planner) refuse(action Action, column, format string, args ...any) error {
	return &Incompatible{Column: column, Reason: fmt.Sprintf(format, args...), Resync: action == Resync}
}

func (p *planner) note(format string, args ...any) {
	p.change.Notes = append(p.change.Notes, fmt.Sprintf(format, args...))
}

// build makes the new schema: the fields in their places, new ones at the end.
func (p *planner) build() (changed bool, err error) {
	next := &tablefmt.Schema{}
	put := func(f tablefmt.Field, from From) {
		next.Fields, p.change.From = append(next.Fields, f), append(p.change.From, from)
	}
	column := map[int]int{} // of fields
	for c, i := range p.pairs {
		if i >= 0 {
			column[i] = c
		}
	}
	for i := range p.Table.Fields {
		f := p.Table.Fields[i]
		c, fed := column[i]
		switch {
		case fed:
			g, err := p.fedField(f, &p.Rel.Columns[c])
			if err != nil {
				return false, err
			}
			changed = changed || g != nil
			if g == nil {
				g = &f
			}
			put(*g, From{Field: i})
		case slices.Contains(p.dropped, i):
			keep, err := p.droppedField(i, &f)
			if err != nil {
				return false, err
			}
			if changed = true; keep {
				put(f, From{Field: i})
			}
		case Dropped(&f) && p.comesBack(i): // what it was kept with goes
			changed, p.change.Rewrite = true, true
		default:
			put(f, From{Field: i})
		}
	}
	for c, i := range p.pairs {
		if i < 0 {
			f, missing, err := p.addedField(&p.Rel.Columns[c])
			if err != nil {
				return false, err
			}
			changed = true
			put(f, From{Field: -1, Missing: missing})
		}
	}
	if len(next.Fields) == 0 { // see Schema
		put(ExactField(), From{Field: -1, Missing: cdc.Missing{Kind: cdc.MissingNull}})
		changed = true
	}
	p.change.Schema = next
	return changed, nil
}

// comesBack reports whether another column has the name of a field now.
func (p *planner) comesBack(field int) bool {
	for c, i := range p.pairs {
		if i != field && p.Rel.Columns[c].Name == p.Table.Fields[field].Name {
			return true
		}
	}
	return false
}

// fedField gives the field of a column that is there already as it has to
// become; nil where it stays.
func (p *planner) fedField(f tablefmt.Field, c *cdc.Column) (*tablefmt.Field, error) {
	want, err := Field(c)
	if err != nil {
		return nil, err
	}
	if p.Own(want.Name) {
		return nil, &Incompatible{Column: c.Name, Reason: "the table has a column of this name of its own"}
	}
	renamed := f.Name != c.Name
	if renamed && p.Policy.Rename != Follow {
		return nil, p.refuse(p.Policy.Rename, f.Name, "it was renamed to %q", c.Name)
	}
	retyped, err := p.retyped(&f, &want, c)
	if err != nil {
		return nil, err
	}
	identified := ColumnID(&want) != 0 && ColumnID(&f) != ColumnID(&want)
	if !renamed && !retyped && !identified && !Dropped(&f) {
		return nil, nil
	}
	if ColumnID(&want) == 0 && ColumnID(&f) != 0 {
		want.Metadata[metaColumnID] = f.Metadata[metaColumnID]
	}
	if renamed {
		p.change.Rewrite = true
		p.note("column %q is now called %q", f.Name, c.Name)
	}
	return &want, nil
}

// retyped reports whether a column's type has changed, and refuses what cannot
// be followed.
func (p *planner) retyped(f, want *tablefmt.Field, c *cdc.Column) (bool, error) {
	was, known := f.Metadata[metaTypeID].(string)
	same := f.Type.String() == want.Type.String()
	if same && (!known || was == typeID(c)) {
		return false, nil
	}
	reason := changedType(f, want, c)
	action := p.Policy.Type
	switch {
	case p.Rewritten && action != Follow:
		return false, p.refuse(action, f.Name, "%s, and its values may have changed with it", reason)
	case !Holds(want.Type, f.Type) || p.Append && !same || shapeOf(was) != c.Shape:
		if action == Follow && !p.Append {
			action = Resync
		}
		return false, p.refuse(action, f.Name, "%s", reason)
	}
	if !same {
		p.change.Rewrite = true
	}
	p.note("column %q: %s", f.Name, reason)
	return true, nil
}

// shapeOf is the part of a typeID that tells of composites' attributes: what
// older rows hold in ones that were replaced is gone at the source.
func shapeOf(typeID string) string {
	parts := strings.SplitN(typeID, ":", 3)
	if len(parts) < 3 {
		return ""
	}
	return parts[2]
}

// changedType says how a column's type changed, for people: by its name at the
// source, or where that stayed by its type in the lake.
func changedType(f, want *tablefmt.Field, c *cdc.Column) string {
	was := f.Metadata[metaSourceType]
	switch {
	case was != c.SourceType:
		return fmt.Sprintf("its type changed from %v to %s", was, c.SourceType)
	case f.Type.String() != want.Type.String():
		return fmt.Sprintf("its type %s is now stored as %s, and was as %s", c.SourceType, want.Type, f.Type)
	}
	return fmt.Sprintf("its type %s was altered", c.SourceType)
}

// droppedField says what becomes of the field of a column that is gone.
func (p *planner) droppedField(i int, f *tablefmt.Field) (keep bool, err error) {
	switch action := p.Policy.Drop; {
	case action == Stop, action == Resync:
		return false, p.refuse(action, f.Name, "it was dropped at the source")
	case p.Append:
	case action == Follow:
		p.change.Rewrite = true
		p.note("column %q was dropped", f.Name)
		return false, nil
	}
	meta := maps.Clone(f.Metadata)
	if meta == nil {
		meta = map[string]any{}
	}
	meta[metaDropped] = true
	f.Metadata = meta
	p.note("column %q was dropped at the source and is kept", f.Name)
	return true, nil
}

// addedField gives the field of a column that is new.
func (p *planner) addedField(c *cdc.Column) (f tablefmt.Field, missing cdc.Missing, err error) {
	if f, err = Field(c); err != nil {
		return f, missing, err
	}
	if p.Policy.Add != Follow {
		return f, missing, p.refuse(p.Policy.Add, c.Name, "it was added at the source")
	}
	i := slices.IndexFunc(p.Table.Fields, func(g tablefmt.Field) bool { return strings.EqualFold(g.Name, c.Name) })
	if i >= 0 {
		taken := &p.Table.Fields[i]
		if p.Own(taken.Name) || taken.Name != c.Name && !slices.Contains(p.dropped, i) {
			return f, missing, &Incompatible{Column: c.Name, Reason: fmt.Sprintf("the table has a column %q already", taken.Name)}
		}
	}
	p.note("column %q was added", c.Name)
	if p.Append {
		return f, missing, nil
	}
	missing = c.Missing
	switch {
	case missing.Kind == cdc.MissingUnknown, p.Rewritten && (missing.Kind == cdc.MissingNull || len(p.Rel.Files) > 1):
		return f, missing, &Incompatible{Column: c.Name, Reason: "it was added, and what older rows hold in it the source does not tell", Resync: true}
	case missing.Kind == cdc.MissingValue:
		p.change.Rewrite = true
	}
	return f, missing, nil
}
