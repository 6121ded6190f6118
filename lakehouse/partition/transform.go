// Package partition says by what the rows of a table are partitioned: which
// values a row's partition columns have, and which SQL expression gives another
// engine the same ones. It is pure.
package partition

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/lakeload/lakeload/tablefmt"
)

// Transform is one element of a table's partitioning: a column of the source,
// or what is derived of one.
type Transform struct {
	Func   string // "" is the column itself; else one of the functions below
	N      int    // of bucket: how many there are; of truncate: the width
	Column string
}

// The functions.
const (
	Year     = "year"
	Month    = "month"
	Day      = "day"
	Hour     = "hour"
	Bucket   = "bucket"
	Truncate = "truncate"
)

const known = "year(c), month(c), day(c), hour(c), bucket(n, c), truncate(n, c), or a column as it is"

// most bounds n: of buckets nobody wants more, and no text that is a folder's
// name.
const most = 1 << 20

var call = regexp.MustCompile(`^([A-Za-z_]+)\((?:\s*([^,()]*?)\s*,)?\s*([^,()]+?)\s*\)$`)

// Parse reads a transform as it is written: region, month(created_at),
// bucket(16, id).
func Parse(text string) (Transform, error) {
	text = strings.TrimSpace(text)
	if !strings.ContainsAny(text, "(),") {
		if text == "" {
			return Transform{}, fmt.Errorf("a partition column is empty: use %s", known)
		}
		return Transform{Column: text}, nil
	}
	m := call.FindStringSubmatch(text)
	if m == nil {
		return Transform{}, fmt.Errorf("%q is no transform: use %s", text, known)
	}
	t := Transform{Func: strings.ToLower(m[1]), Column: m[3]}
	switch t.Func {
	case Year, Month, Day, Hour:
		if m[2] != "" {
			return Transform{}, fmt.Errorf("%s takes a column alone, as in %s(created_at)", t.Func, t.Func)
		}
	case Bucket, Truncate:
		n, err := strconv.Atoi(m[2])
		if err != nil || n < 1 || n > most {
			return Transform{}, fmt.Errorf("%s takes a number from 1 to %d and a column, as in %s(16, id)", t.Func, most, t.Func)
		}
		t.N = n
	default:
		return Transform{}, fmt.Errorf("the transform %q is not known: use %s", m[1], known)
	}
	return t, nil
}

// ParseAll reads a table's partitioning. No two of its columns may have the
// same name.
func ParseAll(texts []string) ([]Transform, error) {
	var list []Transform
	seen := map[string]string{}
	for _, text := range texts {
		t, err := Parse(text)
		if err != nil {
			return nil, err
		}
		name := strings.ToLower(t.Name())
		if other, twice := seen[name]; twice {
			return nil, fmt.Errorf("%s and %s would both be the column %q", other, t, t.Name())
		}
		seen[name] = t.String()
		list = append(list, t)
	}
	return list, nil
}

// String is the transform as it is written.
func (t Transform) String() string {
	switch {
	case t.Func == "":
		return t.Column
	case t.N > 0:
		return fmt.Sprintf("%s(%d, %s)", t.Func, t.N, t.Column)
	}
	return fmt.Sprintf("%s(%s)", t.Func, t.Column)
}

// Name is that of the partition column in the lake, as Iceberg's are.
func (t Transform) Name() string {
	switch t.Func {
	case "":
		return t.Column
	case Truncate:
		return t.Column + "_trunc"
	}
	return t.Column + "_" + t.Func
}

// Derived reports whether the lake has a column of its own for it.
func (t Transform) Derived() bool { return t.Func != "" }

// Result gives the type of the partition column for a source column of a type.
// The error says what is to be done instead.
func (t Transform) Result(of tablefmt.Type) (tablefmt.Type, error) {
	p, _ := of.(tablefmt.Primitive)
	_, decimal := of.(tablefmt.Decimal)
	instant := p == tablefmt.Timestamp || p == tablefmt.TimestampNTZ
	switch t.Func {
	case "":
		switch p {
		case tablefmt.String, tablefmt.Long, tablefmt.Integer, tablefmt.Short, tablefmt.Byte, tablefmt.Boolean, tablefmt.Date, tablefmt.Timestamp, tablefmt.TimestampNTZ:
			return of, nil
		}
		if decimal {
			return of, nil
		}
	case Year, Month:
		if instant || p == tablefmt.Date {
			if t.Func == Year {
				return tablefmt.Integer, nil
			}
			return tablefmt.String, nil
		}
	case Day:
		if instant {
			return tablefmt.Date, nil
		}
		if p == tablefmt.Date {
			return nil, fmt.Errorf("%s: the column is a date already: partition by %s itself", t, t.Column)
		}
	case Hour:
		if instant {
			return tablefmt.String, nil
		}
	case Bucket:
		switch p {
		case tablefmt.String, tablefmt.Binary, tablefmt.Long, tablefmt.Integer, tablefmt.Short, tablefmt.Byte, tablefmt.Boolean, tablefmt.Date, tablefmt.Timestamp, tablefmt.TimestampNTZ:
			return tablefmt.Integer, nil
		}
		if decimal {
			return tablefmt.Integer, nil
		}
	case Truncate:
		switch p {
		case tablefmt.String, tablefmt.Long, tablefmt.Integer, tablefmt.Short:
			return of, nil
		}
	}
	return nil, fmt.Errorf("%s does not go with a column of type %s: use %s", t, of, suits(t.Func))
}

func suits(function string) string {
	switch function {
	case Year, Month:
		return "a date or a timestamp"
	case Day, Hour:
		return "a timestamp"
	case Truncate:
		return "a text or an integer"
	case Bucket:
		return "a text, a number that is exact, a date or a timestamp"
	}
	return "a text, a number that is exact, a boolean, a date or a timestamp, or bucket(n, column)"
}

// Expression is what Delta calls the column's generation expression, in
// Spark's SQL: it gives what Apply does, whatever the time zone of the session.
// That is why an instant's is spelt out: YEAR(c) of a timestamp, as Delta would
// derive filters from, is the year where the reader is, while the lake's is of
// UTC, and a filter would leave out rows of the hours between.
func (t Transform) Expression(of tablefmt.Type) string {
	c := "`" + strings.ReplaceAll(t.Column, "`", "``") + "`"
	day := c
	switch of {
	case tablefmt.Timestamp:
		day = fmt.Sprintf("DATE_ADD(DATE '1970-01-01', CAST((CAST(%s AS BIGINT) - PMOD(CAST(%s AS BIGINT), 86400)) DIV 86400 AS INT))", c, c)
	case tablefmt.TimestampNTZ:
		day = fmt.Sprintf("CAST(%s AS DATE)", c)
	}
	switch t.Func {
	case Year:
		return fmt.Sprintf("YEAR(%s)", day)
	case Month:
		if of == tablefmt.Date {
			return fmt.Sprintf("DATE_FORMAT(%s, 'yyyy-MM')", c) // readers prune by it
		}
		return fmt.Sprintf("SUBSTRING(CAST(%s AS STRING), 1, 7)", day)
	case Day:
		return day
	case Hour:
		hour := fmt.Sprintf("HOUR(%s)", c)
		if of == tablefmt.Timestamp {
			hour = fmt.Sprintf("PMOD(CAST(%s AS BIGINT), 86400) DIV 3600", c)
		}
		return fmt.Sprintf("CONCAT(CAST(%s AS STRING), '-', LPAD(CAST(%s AS STRING), 2, '0'))", day, hour)
	case Bucket:
		return fmt.Sprintf("PMOD(HASH(%s), %d)", c, t.N)
	case Truncate:
		switch of {
		case tablefmt.String:
			return fmt.Sprintf("SUBSTRING(%s, 1, %d)", c, t.N)
		case tablefmt.Short:
			return fmt.Sprintf("CAST(%s - PMOD(%s, %d) AS SMALLINT)", c, c, t.N)
		}
		return fmt.Sprintf("%s - PMOD(%s, %d)", c, c, t.N)
	}
	return ""
}
