package typemap

import "github.com/lakeload/lakeload/tablefmt"

// Holds reports whether every value of a type of the lake is, cast, a value of
// another, and no two become one: what PostgreSQL's own cast gives.
func Holds(to, from tablefmt.Type) bool {
	if to.String() == from.String() {
		return true
	}
	digits := map[tablefmt.Type]int{tablefmt.Short: 5, tablefmt.Integer: 10, tablefmt.Long: 19}
	switch f := from.(type) {
	case tablefmt.Decimal:
		if to == tablefmt.String { // numeric without a modifier: the digits stay as they are
			return true
		}
		t, ok := to.(tablefmt.Decimal)
		return ok && t.Scale >= f.Scale && t.Precision-t.Scale >= f.Precision-f.Scale
	case tablefmt.Primitive:
		switch t := to.(type) {
		case tablefmt.Decimal:
			return digits[f] > 0 && t.Precision-t.Scale >= digits[f]
		case tablefmt.Primitive:
			return digits[f] > 0 && digits[t] >= digits[f] ||
				f == tablefmt.Float && t == tablefmt.Double || f == tablefmt.Date && t == tablefmt.TimestampNTZ
		}
	}
	return false
}
