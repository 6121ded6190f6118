package lakehouse

import (
	"fmt"
	"slices"
	"strings"
)

// TableOptions say how a table of the source is kept in the lake. The zero
// value of a field means what is recorded of the table, or, for a new one, the
// default.
type TableOptions struct {
	// Modes are the kinds of tables that it is kept as. Default ModeMirror.
	Modes []Mode `json:"modes"`
}

// optionMove is what it takes to keep a table by other options from now on.
type optionMove struct {
	// notes say in words what is different; none: nothing is.
	notes []string
	// resync says that what the lake holds is not what the new options would
	// have made: the table has to be copied again.
	resync bool
}

func (m *optionMove) note(format string, args ...any) {
	m.notes = append(m.notes, fmt.Sprintf(format, args...))
}

// move compares the options that a table is kept by with those that are wanted,
// and gives the ones that result. It is pure.
func (o *TableOptions) move(want *TableOptions) (TableOptions, optionMove) {
	var m optionMove
	next := *o
	if len(want.Modes) > 0 {
		for _, mode := range want.Modes {
			if !slices.Contains(o.Modes, mode) {
				m.note("a %s is made of it", mode)
				m.resync = true
			}
		}
		for _, mode := range o.Modes {
			if !slices.Contains(want.Modes, mode) {
				m.note("its %s is not kept on; it stays as it is", mode)
			}
		}
		next.Modes = slices.Clone(want.Modes)
	}
	return next, m
}

// String lists what is different, for people.
func (m *optionMove) String() string { return strings.Join(m.notes, "; ") }

// reconfigure gives a table the options that the configuration says now. One
// that is followed, or could be, is copied again where they need it.
func (t *TableState) reconfigure(want *TableOptions) optionMove {
	next, m := t.move(want)
	t.TableOptions = next
	if m.resync && t.Phase != PhaseDetached && t.Phase != PhaseOffered {
		t.askCopy()
		t.Reason = "it is to be kept otherwise: " + m.String()
	}
	return m
}

// askCopy has a table copied again. The generation is a new one, which the lake
// does not hold yet: else the copy that is there would be taken for the one
// that is asked for.
func (t *TableState) askCopy() {
	t.Generation++
	t.Phase, t.Reason, t.Remedy, t.NeedsCopy, t.StoppedAt, t.Repair = PhaseCopying, "", "", false, 0, false
}
