package where

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// SQL is a condition for PostgreSQL that holds for every row for which the
// filter does, and perhaps for others: it saves reading, and decides nothing.
// What a server may see otherwise, as the order of texts, is left out. Empty
// where nothing is left.
func (f *Filter) SQL() string { return f.sql(f.root, false) }

// sql is a condition that holds where n does, or where NOT n does.
func (f *Filter) sql(n *node, not bool) string {
	switch n.op {
	case predicate.Not:
		return f.sql(n.args[0], !not)
	case predicate.And, predicate.Or:
		all := (n.op == predicate.And) != not // of all, else of any
		var parts []string
		for _, a := range n.args {
			s := f.sql(a, not)
			if s == "" {
				if all {
					continue
				}
				return "" // anything may hold
			}
			parts = append(parts, s)
		}
		if len(parts) < 2 {
			return strings.Join(parts, "")
		}
		word := " OR "
		if all {
			word = " AND "
		}
		return "(" + strings.Join(parts, word) + ")"
	case predicate.IsNull:
		// A row of nulls IS NULL, though it is a value.
		if not {
			return quoteName(n.column) + " IS DISTINCT FROM NULL"
		}
		return quoteName(n.column) + " IS NOT DISTINCT FROM NULL"
	}
	return f.test(n, not)
}

var opposite = map[predicate.Op]predicate.Op{
	predicate.Equal: predicate.NotEqual, predicate.NotEqual: predicate.Equal, predicate.Less: predicate.GreaterEqual,
	predicate.GreaterEqual: predicate.Less, predicate.Greater: predicate.LessEqual, predicate.LessEqual: predicate.Greater,
}

func (f *Filter) test(n *node, not bool) string {
	c := &f.columns[n.at]
	name := quoteName(c.Name)
	lits := make([]string, len(n.lits))
	for i := range n.lits {
		var ok bool
		if lits[i], ok = sqlLiteral(n, i, c.SourceType); !ok {
			return ""
		}
	}
	if n.op == predicate.In {
		word := " IN ("
		if not {
			word = " NOT IN ("
		}
		return name + word + strings.Join(lits, ", ") + ")"
	}
	op := n.op
	if opposite[op] == 0 {
		return "" // of prefixes, and of nulls that are equal, the server is not asked
	}
	if not {
		op = opposite[op]
	}
	return name + " OPERATOR(pg_catalog." + op.String() + ") " + lits[0]
}

// sqlLiteral writes a literal of a test so that the server compares as we do;
// not ok where that is not known.
func sqlLiteral(n *node, i int, source string) (string, bool) {
	source, _, _ = strings.Cut(source, "(")
	v, l := &n.values[i], n.lits[i]
	switch {
	case n.kind == kindInt && (source == "bigint" || source == "integer" || source == "smallint"):
		return "'" + strconv.FormatInt(v.n, 10) + "'::pg_catalog.int8", true
	case n.kind == kindFloat && (source == "double precision" || source == "real"):
		return "'" + floatText(v.f) + "'::pg_catalog.float8", true
	case n.kind == kindExact && source == "numeric" && v.edge == 0: // before PostgreSQL 14 it has no infinity
		return "'" + strings.TrimPrefix(l.Text, "+") + "'::pg_catalog.numeric", true
	case n.kind == kindBool && source == "boolean":
		return l.Text, true
	case n.kind == kindText && source == "text" && !byOrder(n.op) && ascii(l.Text):
		return quoteText(l.Text) + ` COLLATE pg_catalog."C"`, true
	}
	return momentLiteral(n, v, source)
}

// momentLiteral leaves out years that are not written with four digits.
func momentLiteral(n *node, v *value, source string) (string, bool) {
	micros := v.n
	if n.kind == kindDate {
		micros *= 86_400_000_000
	}
	t := time.UnixMicro(micros).UTC()
	if v.edge != 0 || t.Year() < 1000 || t.Year() > 9999 {
		return "", false
	}
	switch {
	case n.kind == kindDate && source == "date":
		return t.Format("'2006-01-02'") + "::pg_catalog.date", true
	case n.kind == kindTime && strings.HasPrefix(source, "timestamp"):
		return t.Format("'2006-01-02 15:04:05.000000'") + "::pg_catalog.timestamp", true
	case n.kind == kindZoned && strings.HasPrefix(source, "timestamp"):
		return t.Format("'2006-01-02 15:04:05.000000+00'") + "::pg_catalog.timestamptz", true
	}
	return "", false
}

func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// quoteText is right whatever standard_conforming_strings says.
func quoteText(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return "E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}
