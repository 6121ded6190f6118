package predicate

import (
	"math"
	"sort"
	"strings"
)

// Nulls is what is known of the nulls of a column in some rows.
type Nulls byte

// What may be known. Zero is nothing.
const (
	SomeNulls Nulls = iota // there may be nulls and values
	NoNulls
	AllNulls
)

// Range is what is known of a column's values in some rows. The zero value is
// nothing. What it says must be true of every one of them; it may be less than
// could be said.
type Range struct {
	Nulls Nulls
	// Min and Max bound the values from below and above, themselves included;
	// nil where nothing is known. If they contradict each other, neither counts.
	Min, Max *Value
	// Prefix says that Max is a text to which anything may have been added: it
	// bounds the values' beginnings of its length only.
	Prefix bool
	// NaN says that the bounds count for NaN as well. Otherwise there may be NaN
	// whatever they say, as there may in statistics.
	NaN bool
}

// Outcomes is a set of truth values.
type Outcomes byte

func only(t Truth) Outcomes { return 1 << t }

const anything = 1<<No | 1<<Unknown | 1<<Yes

// Possible reports whether the condition may hold for a row.
func (o Outcomes) Possible() bool { return o&(1<<Yes) != 0 }

// Certain reports whether it holds for every row.
func (o Outcomes) Certain() bool { return o == 1<<Yes }

// Outcomes gives what the condition may be for rows of whose columns, by their
// places in [Filter.Columns], some is known. A truth value that is not in the
// set is that of no row. at is called once for each test.
func (f *Filter) Outcomes(at func(column int) Range) Outcomes { return f.root.outcomes(at) }

func (t *test) outcomes(at func(int) Range) Outcomes {
	switch t.op {
	case Not:
		o := t.args[0].outcomes(at)
		return o&only(Unknown) | o&only(No)<<2 | o&only(Yes)>>2
	case And, Or:
		all := only(Yes)
		if t.op == Or {
			all = only(No)
		}
		for _, a := range t.args {
			all = combine(t.op, all, a.outcomes(at))
		}
		return all
	}
	r := at(t.at)
	var o Outcomes
	if r.Nulls != NoNulls {
		o |= only(t.ofNull())
	}
	if r.Nulls != AllNulls {
		o |= t.ofValues(&r)
	}
	return o
}

// combine gives every outcome of two conditions, as if they had nothing to do
// with each other.
func combine(op Op, a, b Outcomes) Outcomes {
	var o Outcomes
	for x := No; x <= Yes; x++ {
		for y := No; y <= Yes; y++ {
			if a&only(x) == 0 || b&only(y) == 0 {
				continue
			}
			if op == And {
				o |= only(min(x, y))
			} else {
				o |= only(max(x, y))
			}
		}
	}
	return o
}

// ofNull is what a null comes to.
func (t *test) ofNull() Truth {
	switch {
	case t.op == IsNull, t.op == NullSafeEqual && t.null:
		return Yes
	case t.op == NullSafeEqual:
		return No
	}
	return Unknown
}

// ofValues is what values within a range may come to.
func (t *test) ofValues(r *Range) Outcomes {
	if r.Min != nil && r.Max != nil && t.kind.compare(r.Min, r.Max) > 0 && (!r.Prefix || !strings.HasPrefix(r.Min.s, r.Max.s)) {
		r.Min, r.Max = nil, nil
	}
	switch {
	case t.op == IsNull, t.op == NullSafeEqual && t.null:
		return only(No)
	case t.op == In:
		o := t.ofIn(r)
		if t.null {
			o = combine(Or, o, only(Unknown))
		}
		return o
	case t.null:
		return only(Unknown)
	case t.op == StartsWith:
		return ofPrefix(t.lits[0].s, r)
	}
	l := &t.lits[0]
	if l.edge != 0 {
		return only(t.truth[1-l.edge])
	}
	var o Outcomes
	// How may a value lie to the literal?
	low, high := t.low(r, l), t.high(r, l)
	if low < 0 {
		o |= only(t.truth[0])
	}
	if low <= 0 && high >= 0 && !l.above {
		o |= only(t.truth[1])
	}
	if high > 0 {
		o |= only(t.truth[2])
	}
	if t.kind == kindFloat && !r.NaN { // a NaN, greater than any other number
		if math.IsNaN(l.f) {
			o |= only(t.truth[1])
		} else {
			o |= only(t.truth[2])
		}
	}
	return o
}

// low is the order of the least value and a literal, -1 where it is not known.
func (t *test) low(r *Range, l *cut) int {
	if r.Min == nil {
		return -1
	}
	return t.kind.order(r.Min, l)
}

// high is the order of the greatest value and a literal, 1 where it is not known.
func (t *test) high(r *Range, l *cut) int {
	if r.Max == nil || r.Prefix && strings.HasPrefix(l.s, r.Max.s) {
		return 1
	}
	return t.kind.order(r.Max, l)
}

func (t *test) ofIn(r *Range) Outcomes {
	// The first literal that is not below the least value.
	first := 0
	if r.Min != nil {
		first = sort.Search(len(t.lits), func(i int) bool { return t.kind.order(r.Min, &t.lits[i]) <= 0 })
	}
	found := first < len(t.lits) && t.high(r, &t.lits[first]) >= 0
	if t.kind == kindFloat && !r.NaN && len(t.lits) > 0 && math.IsNaN(t.lits[len(t.lits)-1].f) {
		return anything &^ only(Unknown)
	}
	switch {
	case !found:
		return only(No)
	case r.Min != nil && r.Max != nil && !r.Prefix && (t.kind != kindFloat || r.NaN) && t.kind.compare(r.Min, r.Max) == 0:
		if t.kind.order(r.Min, &t.lits[first]) == 0 {
			return only(Yes)
		}
	}
	return only(No) | only(Yes)
}

func ofPrefix(p string, r *Range) Outcomes {
	o := only(No) | only(Yes)
	lowHas := r.Min != nil && strings.HasPrefix(r.Min.s, p)
	if r.Min != nil && !lowHas && r.Min.s > p {
		return only(No) // all are greater than what begins with p
	}
	if r.Max != nil && r.Max.s < p && (!r.Prefix || !strings.HasPrefix(p, r.Max.s)) {
		return only(No)
	}
	if lowHas && r.Max != nil && strings.HasPrefix(r.Max.s, p) {
		return only(Yes)
	}
	return o
}
