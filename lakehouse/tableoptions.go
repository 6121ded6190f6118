package lakehouse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/lakehouse/mask"
)

// TableOptions say how a table of the source is kept in the lake. The zero
// value of a field means what is recorded of the table, or, for a new one, the
// default.
type TableOptions struct {
	// Modes are the kinds of tables that it is kept as. Default ModeMirror.
	Modes []Mode `json:"modes"`

	// Masks keep values of columns out of the lake. Other than with the other
	// options none means none: what masked a column is not taken away before
	// somebody asks for a resync of the table.
	Masks []mask.Column `json:"masks,omitempty"`
	// Salt is the key of its hashes; it is nowhere recorded. Nil where there are
	// none.
	Salt *mask.Salt `json:"-"`
	// SaltMark tells the salt of the hashes that the lake holds from others. It
	// is made of Salt.
	SaltMark string `json:"salt_mark,omitempty"`
}

// optionMove is what it takes to keep a table by other options from now on.
type optionMove struct {
	// notes say in words what is different; none: nothing is.
	notes []string
	// resync says that what the lake holds is not what the new options would
	// have made: the table has to be copied again.
	resync bool
	// refused says why the table may not be kept so; "" where it may.
	refused string
	remedy  string // of refused
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

// reconfigure gives a table, which the source has as rel, the options that the
// configuration says now. One that is followed, or could be, is copied again
// where they need it, and stopped where it may not be kept so.
func (t *TableState) reconfigure(want *TableOptions, rel *cdc.Relation) optionMove {
	next, m := t.move(want)
	next.Masks, next.SaltMark = moveMasks(t, want, rel, &m)
	if m.refused != "" && t.Phase != PhaseOffered && t.Phase != PhaseDropped {
		t.refuse(&next, &m)
		return m
	}
	t.TableOptions = next
	t.relent()
	if m.resync && t.Phase == PhasePaused {
		t.NeedsCopy, t.StoppedAt = true, 0 // when it is resumed
	} else if m.resync && t.Followed() {
		t.askCopy()
		t.Reason = "it is to be kept otherwise: " + m.String()
	}
	return m
}

// askCopy has a table copied again. The generation is a new one, which the lake
// does not hold yet: else the copy that is there would be taken for the one
// that is asked for.
func (t *TableState) askCopy() {
	t.agree()
	t.Generation++
	t.Phase, t.Reason, t.Remedy, t.NeedsCopy, t.StoppedAt = PhaseCopying, "", "", false, 0
}
