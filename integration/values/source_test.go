package values

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/harness"
	"github.com/lakeload/lakeload/integration/readers"
)

// expected gives a table's columns and rows as the lake has to show them, from what PostgreSQL tells: a value that its column cannot hold
// is NULL there and stands as text in _lakeload_exact (docs/TYPES.md).
func expected(t *testing.T, db *harness.Database, table string, exact bool) (columns []string, want [][]string) {
	t.Helper()
	name := `"public"."` + table + `"`
	catalog, err := readers.PGQuery(t.Context(), db.DSN, fmt.Sprintf(`select attname, coalesce(b.typname, t.typname), case when t.typtype = 'd' then t.typtypmod else atttypmod end
		from pg_attribute a join pg_type t on t.oid = atttypid left join pg_type b on b.oid = t.typbasetype
		where attrelid = '%s'::regclass and attnum > 0 and not attisdropped order by attnum`, name))
	require.NoError(t, err)
	require.NotEmpty(t, catalog)
	var list []string
	for _, c := range catalog {
		columns = append(columns, c[0])
		list = append(list, strconv.Quote(c[0]))
	}
	for _, c := range columns { // once more, as its output function tells it
		list = append(list, fmt.Sprintf("format('%%s', %q)", c))
	}
	source, err := readers.PGQuery(t.Context(), db.DSN, "select "+strings.Join(list, ", ")+" from "+name)
	require.NoError(t, err)
	for _, told := range source {
		row, texts := told[:len(columns):len(columns)], map[string]string{}
		for i, c := range catalog {
			if row[i] != readers.Null && !holds(c[1], c[2], row[i]) {
				texts[c[0]] = told[len(columns)+i]
				row[i] = readers.Null
			}
		}
		require.True(t, exact || len(texts) == 0, "%s needs exact texts", table)
		if exact {
			all := readers.Null
			if len(texts) > 0 {
				all = readers.Map(texts)
			}
			row = append(row, all)
		}
		want = append(want, row)
	}
	if exact {
		columns = append(columns, "_lakeload_exact")
	}
	return columns, want
}

// holds tells whether a value can be told by its column's type in the lake.
func holds(typ, typmod, v string) bool {
	switch typ {
	case "date", "timestamp", "timestamptz":
		year, _, _ := strings.Cut(v, "-")
		return !strings.HasSuffix(v, "infinity") && !strings.HasSuffix(v, " BC") && len(year) <= 4
	case "numeric":
		if m, err := strconv.Atoi(typmod); err == nil && m >= 4 {
			precision, scale := (m-4)>>16&0xffff, ((m-4)&0x7ff^1024)-1024
			if precision <= 38 && scale >= 0 && scale <= precision {
				return v != "NaN"
			}
		}
	}
	return true
}
