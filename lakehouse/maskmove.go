package lakehouse

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/mask"
)

// Refusal is what the configuration wants of a table and does not get unless
// somebody asks for a resync, and what the table was before.
type Refusal struct {
	Masks     []mask.Column `json:"masks,omitempty"`
	SaltMark  string        `json:"salt_mark,omitempty"`
	Phase     TablePhase    `json:"phase"`
	Reason    string        `json:"reason,omitempty"`
	Remedy    string        `json:"remedy,omitempty"`
	NeedsCopy bool          `json:"needs_copy,omitempty"`
}

const (
	remedyUnmask = "give the configuration back that masked it (-c), and start again; if it is meant so, `lakeload resync SCHEMA.TABLE` says it: the table is then copied again, as the configuration says now"
	remedyMasks  = "mend the masks in the configuration, and start again"
)

// moveMasks compares the masks that a table is kept by with those that are
// wanted, which are bound to rel, and gives the ones that result. What is new
// needs a resync: the lake has what the mask is to hide. What would take a mask
// away is refused. A mask whose column the source has no more stays: rows of
// before may still come. It is pure.
func moveMasks(o *TableState, want *TableOptions, rel *cdc.Relation, m *optionMove) (next []mask.Column, mark string) {
	notes := len(m.notes)
	taken := make([]bool, len(want.Masks))
	var removed []string
	for _, was := range o.Masks {
		i := slices.IndexFunc(want.Masks, func(w mask.Column) bool { return was.ID != 0 && w.ID == was.ID })
		if i < 0 {
			// One that is wanted of a column that has another name now.
			i = slices.IndexFunc(want.Masks, func(w mask.Column) bool {
				return w.Name == was.Name && (w.ID == 0 || was.ID == 0)
			})
		}
		switch {
		case i < 0 && !was.Found: // it never masked anything
		case i < 0 && exists(rel, &was):
			removed = append(removed, fmt.Sprintf("%q was masked by %s", was.Name, was.Mask))
		case i < 0:
			next = append(next, was)
		default:
			taken[i] = true
			is := want.Masks[i]
			if is.Mask != was.Mask {
				m.note("column %q is masked by %s", is.Name, is.Mask)
				m.resync = true
			}
			if is.ID == 0 {
				is.ID = was.ID
			}
			is.Found = is.Found || was.Found
			next = append(next, is)
		}
	}
	for i, w := range want.Masks {
		if !taken[i] {
			next = append(next, w)
			if w.Found {
				m.note("column %q is masked by %s", w.Name, w.Mask)
				m.resync = true
			}
		}
	}
	if len(m.notes) > notes && slices.Contains(o.Modes, ModeChangelog) {
		m.note("its changelog keeps the history that it has, as it is")
	}
	if mask.Hashes(next) {
		mark = want.Salt.Mark()
	}
	switch problem := mask.Check(rel, next, want.Salt != nil); {
	case len(removed) > 0:
		m.refused, m.remedy = "the lake does not have it in clear, and the configuration would: "+strings.Join(removed, ", "), remedyUnmask
	case o.SaltMark != "" && mark != "" && mark != o.SaltMark && mask.Hashes(o.Masks):
		m.refused, m.remedy = "its hashes were made with another salt than the configuration has now: equal values would not have equal hashes", remedyUnmask
	case problem != nil && !problem.Lost:
		m.refused, m.remedy = problem.Error(), problem.Remedy+"; "+remedyMasks
	}
	return next, mark
}

// exists reports whether the column of a mask is there.
func exists(rel *cdc.Relation, m *mask.Column) bool {
	return slices.ContainsFunc(rel.Columns, func(c cdc.Column) bool {
		return m.ID != 0 && c.ID == m.ID || (m.ID == 0 || c.ID == 0) && c.Name == m.Name
	})
}

// refuse stops a table that may not be kept as the configuration says. It keeps
// what it is kept by.
func (t *TableState) refuse(next *TableOptions, m *optionMove) {
	if t.Refused == nil {
		t.Refused = &Refusal{Phase: t.Phase, Reason: t.Reason, Remedy: t.Remedy, NeedsCopy: t.NeedsCopy}
	} else {
		again := *t.Refused // which others may have
		t.Refused = &again
	}
	t.Refused.Masks, t.Refused.SaltMark = next.Masks, next.SaltMark
	t.Phase, t.Reason, t.Remedy = PhaseStopped, m.refused, m.remedy
}

// agree takes somebody's word for what was refused.
func (t *TableState) agree() {
	if t.Refused != nil {
		t.Masks, t.SaltMark, t.Refused = t.Refused.Masks, t.Refused.SaltMark, nil
	}
}

// relent gives a table its place back when what was refused is not wanted any
// more.
func (t *TableState) relent() {
	was := t.Refused
	if t.Refused = nil; was == nil || t.Phase != PhaseStopped {
		return
	}
	if was.Phase == PhaseCopying || was.Phase == PhaseDetached {
		t.askCopy()
		return
	}
	if was.Phase == PhasePaused {
		t.Phase = PhasePaused
	}
	if !t.NeedsCopy || was.NeedsCopy { // else something has come to it since
		t.Reason, t.Remedy, t.NeedsCopy = was.Reason, was.Remedy, was.NeedsCopy
	}
}

// checkMasks refuses a new table whose masks cannot be applied, or one that
// takes the place of another, which was masked, without the masks of that.
func (t *TableState) checkMasks(rel *cdc.Relation, s *State) error {
	rel = mask.Beneath(rel)
	problem := func(remedy string, err error) error {
		return &Error{Op: "masking a table", Object: rel.String(), Kind: KindPreflight, Err: err, Remedy: remedy}
	}
	if p := mask.Check(rel, t.Masks, t.Salt != nil); p != nil {
		return problem(p.Remedy, p)
	}
	if s == nil {
		return nil
	}
	for i := range s.Tables {
		old := &s.Tables[i]
		if old.Name() != t.Name() || old.OID == t.OID && old.Phase == PhaseOffered {
			continue
		}
		// Ids are of another table.
		unbound := TableState{TableOptions: TableOptions{SaltMark: old.SaltMark}}
		for _, m := range old.Masks {
			m.ID = 0
			unbound.Masks = append(unbound.Masks, m)
		}
		var m optionMove
		if moveMasks(&unbound, &t.TableOptions, rel, &m); m.refused != "" {
			return problem(m.remedy, errors.New(m.refused))
		}
	}
	return nil
}
