package predicate

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// Truth is what a condition is for a row. The order is that of SQL: AND is the
// least of its parts, OR the greatest.
type Truth byte

// The truth values.
const (
	No Truth = iota
	Unknown
	Yes
)

func truthOf(b bool) Truth {
	if b {
		return Yes
	}
	return No
}

// Eval decides the condition for each row of a batch, which has the columns of
// [Filter.Columns] under their names; structs may lack fields that are not asked
// for. The result is the caller's. An error says that the batch is another one
// than the schema that the filter was bound to.
func (f *Filter) Eval(rec arrow.RecordBatch) ([]Truth, error) {
	e := evaluation{rows: int(rec.NumRows()), columns: make([]column, len(f.columns))}
	for i, l := range f.columns {
		c, err := columnOf(rec, l)
		if err != nil {
			return nil, fmt.Errorf("deciding %q: %w", f, err)
		}
		e.columns[i] = c
	}
	out := make([]Truth, e.rows)
	e.eval(f.root, out)
	return out, nil
}

// column is a column of a batch with the structs around it, whose nulls are its
// own.
type column struct {
	values arrow.Array
	around []arrow.Array // those that have nulls
}

func columnOf(rec arrow.RecordBatch, l Leaf) (column, error) {
	var c column
	at := rec.Schema().FieldIndices(l.Path[0])
	if len(at) == 0 {
		return c, fmt.Errorf("there is no column %q", l.Path[0])
	}
	c.values = rec.Column(at[0])
	for _, name := range l.Path[1:] {
		s, ok := c.values.(*array.Struct)
		if !ok {
			return c, fmt.Errorf("%q is of type %s", l.Path, c.values.DataType())
		}
		i, ok := s.DataType().(*arrow.StructType).FieldIdx(name)
		if !ok {
			return c, fmt.Errorf("there is no field %q", l.Path)
		}
		if s.NullN() > 0 {
			c.around = append(c.around, s)
		}
		c.values = s.Field(i)
	}
	got := c.values.DataType()
	if got.ID() != l.Type.ID() || kindOf(got) != kindNone && !arrow.TypeEqual(got, l.Type) {
		return c, fmt.Errorf("%q is of type %s and not %s", l.Path, got, l.Type)
	}
	return c, nil
}

// nulls gives the rows without a value another truth.
func (c *column) nulls(truth Truth, out []Truth) {
	nullsOf(c.values, truth, out)
	for _, a := range c.around {
		nullsOf(a, truth, out)
	}
}

func nullsOf(a arrow.Array, truth Truth, out []Truth) {
	if a.NullN() == 0 {
		return
	}
	for i := range out {
		if a.IsNull(i) {
			out[i] = truth
		}
	}
}

type evaluation struct {
	rows    int
	columns []column
}

func (e *evaluation) eval(t *test, out []Truth) {
	switch t.op {
	case And, Or:
		e.junction(t, out)
		return
	case Not:
		e.eval(t.args[0], out)
		for i, v := range out {
			out[i] = Yes - v
		}
		return
	}
	c := &e.columns[t.at]
	switch {
	case t.op == IsNull || t.op == NullSafeEqual && t.null:
		fill(out, No)
		c.nulls(Yes, out)
		return
	case t.op != In && t.null:
		fill(out, Unknown)
		return
	case t.op == In:
		e.in(t, c, out)
	case t.op == StartsWith:
		startsWith(c.values, t.lits[0].s, out)
	default:
		compare(c.values, &t.lits[0], t.truth, out)
	}
	if t.op == NullSafeEqual {
		c.nulls(No, out)
		return
	}
	c.nulls(Unknown, out)
}

func fill(out []Truth, v Truth) {
	for i := range out {
		out[i] = v
	}
}

func (e *evaluation) junction(t *test, out []Truth) {
	start := Yes
	if t.op == Or {
		start = No
	}
	if len(t.args) == 0 {
		fill(out, start)
		return
	}
	e.eval(t.args[0], out)
	if len(t.args) == 1 {
		return
	}
	arg := make([]Truth, len(out))
	for _, a := range t.args[1:] {
		if t.op == And && allNo(out) {
			return // nothing is left that could be more than no
		}
		e.eval(a, arg)
		if t.op == And {
			for i, v := range arg {
				out[i] = min(out[i], v)
			}
			continue
		}
		for i, v := range arg {
			out[i] = max(out[i], v)
		}
	}
}

func allNo(t []Truth) bool {
	for _, v := range t {
		if v != No {
			return false
		}
	}
	return true
}

func (e *evaluation) in(t *test, c *column, out []Truth) {
	if t.set != nil {
		t.set.find(c.values, out)
	} else {
		fill(out, No)
		one := make([]Truth, len(out))
		for i := range t.lits {
			compare(c.values, &t.lits[i], [3]Truth{No, Yes, No}, one)
			for j, v := range one {
				out[j] = max(out[j], v)
			}
		}
	}
	if t.null { // x = NULL is unknown, whatever x is
		for i, v := range out {
			out[i] = max(v, Unknown)
		}
	}
}

// compare gives each value, less than, equal to or greater than a literal, its
// truth. What nulls get means nothing.
func compare(a arrow.Array, l *cut, truth [3]Truth, out []Truth) {
	if l.edge != 0 {
		fill(out, truth[1-l.edge])
		return
	}
	if l.above {
		truth[1] = truth[0]
	}
	switch a := a.(type) {
	case *array.Int64:
		compareInts(a.Int64Values(), l.n, truth, out)
	case *array.Int32:
		compareInts(a.Int32Values(), l.n, truth, out)
	case *array.Int16:
		compareInts(a.Int16Values(), l.n, truth, out)
	case *array.Int8:
		compareInts(a.Int8Values(), l.n, truth, out)
	case *array.Date32:
		compareInts(a.Date32Values(), l.n, truth, out)
	case *array.Timestamp:
		compareInts(a.TimestampValues(), l.n, truth, out)
	case *array.Boolean:
		for i := range out {
			n := int64(0)
			if a.Value(i) {
				n = 1
			}
			out[i] = truth[cmp.Compare(n, l.n)+1]
		}
	case *array.Float64:
		for i, v := range a.Float64Values() {
			out[i] = truth[compareFloats(v, l.f)+1]
		}
	case *array.Float32:
		for i, v := range a.Float32Values() {
			out[i] = truth[compareFloats(float64(v), l.f)+1]
		}
	case *array.Decimal128:
		for i, v := range a.Values() {
			out[i] = truth[v.Cmp(l.d)+1]
		}
	case *array.String:
		for i := range out {
			out[i] = truth[strings.Compare(a.Value(i), l.s)+1]
		}
	case *array.Binary:
		for i := range out {
			out[i] = truth[cmp.Compare(a.ValueString(i), l.s)+1]
		}
	}
}

func compareInts[T ~int8 | ~int16 | ~int32 | ~int64](values []T, n int64, truth [3]Truth, out []Truth) {
	for i, v := range values {
		o := 1
		if int64(v) < n {
			o = 0
		} else if int64(v) > n {
			o = 2
		}
		out[i] = truth[o]
	}
}

func startsWith(a arrow.Array, prefix string, out []Truth) {
	switch a := a.(type) {
	case *array.String:
		for i := range out {
			out[i] = truthOf(strings.HasPrefix(a.Value(i), prefix))
		}
	case *array.Binary:
		for i := range out {
			out[i] = truthOf(bytes.HasPrefix(a.Value(i), []byte(prefix)))
		}
	}
}

func (s *set) find(a arrow.Array, out []Truth) {
	switch a := a.(type) {
	case *array.Int64:
		findAll(s.ints, a.Int64Values(), func(v int64) int64 { return v }, out)
	case *array.Int32:
		findAll(s.ints, a.Int32Values(), func(v int32) int64 { return int64(v) }, out)
	case *array.Int16:
		findAll(s.ints, a.Int16Values(), func(v int16) int64 { return int64(v) }, out)
	case *array.Int8:
		findAll(s.ints, a.Int8Values(), func(v int8) int64 { return int64(v) }, out)
	case *array.Date32:
		findAll(s.ints, a.Date32Values(), func(v arrow.Date32) int64 { return int64(v) }, out)
	case *array.Timestamp:
		findAll(s.ints, a.TimestampValues(), func(v arrow.Timestamp) int64 { return int64(v) }, out)
	case *array.Float64:
		findAll(s.bits, a.Float64Values(), floatBits, out)
	case *array.Float32:
		findAll(s.bits, a.Float32Values(), func(v float32) uint64 { return floatBits(float64(v)) }, out)
	case *array.Decimal128:
		for i, v := range a.Values() {
			_, ok := s.decimals[v]
			out[i] = truthOf(ok)
		}
	case *array.Boolean:
		for i := range out {
			n := int64(0)
			if a.Value(i) {
				n = 1
			}
			_, ok := s.ints[n]
			out[i] = truthOf(ok)
		}
	case *array.String:
		for i := range out {
			_, ok := s.texts[a.Value(i)]
			out[i] = truthOf(ok)
		}
	case *array.Binary:
		for i := range out {
			_, ok := s.texts[string(a.Value(i))]
			out[i] = truthOf(ok)
		}
	}
}

func findAll[T any, K comparable](set map[K]struct{}, values []T, key func(T) K, out []Truth) {
	for i, v := range values {
		_, ok := set[key(v)]
		out[i] = truthOf(ok)
	}
}
