package harness

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
)

// Catalog tells of PostgreSQL's types, so that the server itself can be asked for what the lake has to show. What it has asked it remembers:
// it is for a time in which the types stay.
type Catalog struct {
	t       testing.TB
	db      *Database
	types   map[string]*pgType
	bases   map[pgField]pgField
	aliases int
}

// pgType is a row of pg_type with domains followed.
type pgType struct {
	kind, name string
	elem, sub  string
	fields     []pgField
}

type pgField struct{ name, typ, typmod, dims string }

// NewCatalog makes one that has not asked for anything yet.
func NewCatalog(t testing.TB, db *Database) *Catalog {
	return &Catalog{t: t, db: db, types: map[string]*pgType{}, bases: map[pgField]pgField{}}
}

func (c *Catalog) query(format string, args ...any) [][]string {
	c.t.Helper()
	rows, err := readers.PGQuery(c.t.Context(), c.db.DSN, fmt.Sprintf(format, args...))
	require.NoError(c.t, err)
	return rows
}

// base follows domains, whose modifier and dimensions are their own.
func (c *Catalog) base(f pgField) pgField {
	if b, ok := c.bases[f]; ok {
		return b
	}
	for asked := f; ; {
		r := c.query("select typtype, typbasetype::text, typtypmod, typndims from pg_type where oid = %s", f.typ)[0]
		if r[0] != "d" {
			c.bases[asked] = f
			return f
		}
		f.typ, f.typmod, f.dims = r[1], r[2], r[3]
	}
}

func (c *Catalog) typ(oid string) *pgType {
	if t := c.types[oid]; t != nil {
		return t
	}
	r := c.query(`select typtype, t.typname, coalesce((select e.oid from pg_type e where e.oid = t.typelem and e.typarray = t.oid)::text, ''),
		coalesce((select rngsubtype from pg_range where rngtypid = t.oid)::text, (select rngtypid from pg_range where rngmultitypid = t.oid)::text, '') from pg_type t where oid = %s`, oid)[0]
	t := &pgType{kind: r[0], name: r[1], elem: r[2], sub: r[3]}
	for _, f := range c.query("select attname, atttypid::text, atttypmod, attndims from pg_attribute where attrelid = (select typrelid from pg_type where oid = %s and typtype = 'c') and attnum > 0 and not attisdropped order by attnum", oid) {
		t.fields = append(t.fields, pgField{f[0], f[1], f[2], f[3]})
	}
	c.types[oid] = t
	return t
}

// alias is a name that no column and no other part of a query has.
func (c *Catalog) alias() string {
	c.aliases++
	return fmt.Sprintf("lakeload_judge_%d", c.aliases)
}

// nested tells whether the lake's column is a list, struct or map.
func (c *Catalog) nested(f pgField) bool {
	f = c.base(f)
	t := c.typ(f.typ)
	dims, err := strconv.Atoi(f.dims)
	require.NoError(c.t, err)
	return t.elem != "" && dims <= 1 || t.kind == "c" || t.kind == "r" || t.kind == "m" || t.name == "hstore" || t.name == "vector"
}

// shown is the SQL that makes JSON of a value, its leaves as canonical text: what readers.py makes of what it reads.
func (c *Catalog) shown(f pgField, x string) string {
	f = c.base(f)
	t := c.typ(f.typ)
	if !c.nested(f) {
		return "to_json(" + leaf(t, x) + ")"
	}
	var json string
	switch {
	case t.name == "hstore":
		json = fmt.Sprintf("public.hstore_to_json(%s)", x)
	case t.name == "vector":
		json = fmt.Sprintf("(select coalesce(json_agg(e::text), '[]') from unnest(%s::real[]) e)", x)
	case t.elem != "":
		at := c.alias()
		json = fmt.Sprintf("(select coalesce(json_agg(%s order by %[3]s), '[]') from generate_subscripts(%[2]s, 1) %[3]s)", c.shown(pgField{typ: t.elem, typmod: "-1", dims: "0"}, "("+x+")["+at+"]"), x, at)
	case t.kind == "m":
		m := c.alias()
		json = fmt.Sprintf("(select coalesce(json_agg(%s), '[]') from unnest(%s) %s)", c.shown(pgField{typ: t.sub, typmod: "-1", dims: "0"}, m), x, m)
	case t.kind == "r":
		bound := pgField{typ: t.sub, typmod: "-1", dims: "0"}
		json = fmt.Sprintf("json_build_object('lower', %s, 'upper', %s, 'lower_inclusive', lower_inc(%[3]s)::text, 'upper_inclusive', upper_inc(%[3]s)::text, 'empty', isempty(%[3]s)::text)",
			c.shown(bound, "lower("+x+")"), c.shown(bound, "upper("+x+")"), x)
	default:
		var parts []string
		for _, f := range t.fields {
			parts = append(parts, "'"+f.name+"', "+c.shown(f, "("+x+")."+strconv.Quote(f.name)))
		}
		json = "json_build_object(" + strings.Join(parts, ", ") + ")"
	}
	return fmt.Sprintf("case when %s is distinct from null then %s end", x, json)
}

// leaf is the SQL of a value's canonical text.
func leaf(t *pgType, x string) string {
	switch t.name {
	case "timestamp":
		return "to_char(" + x + ", 'YYYY-MM-DD HH24:MI:SS.US')"
	case "timestamptz":
		return "to_char(" + x + " at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || 'Z'"
	case "bool":
		return x + "::text"
	case "bytea":
		return "encode(" + x + ", 'hex')"
	case "geometry", "geography":
		return "encode(public.ST_AsEWKB(" + x + "::public.geometry), 'hex')"
	}
	return "case when " + x + " is distinct from null then format('%s', " + x + ") end"
}

// held is the SQL that tells whether the lake's type can hold a value.
func (c *Catalog) held(f pgField, x string) string {
	f = c.base(f)
	t := c.typ(f.typ)
	var says string
	switch {
	case t.elem != "" && c.nested(f):
		at := c.alias()
		says = fmt.Sprintf("coalesce(array_ndims(%[1]s), 1) = 1 and coalesce(array_lower(%[1]s, 1), 1) = 1 and coalesce((select bool_and(%[2]s) from generate_subscripts(%[1]s, 1) %[3]s), true)",
			x, c.held(pgField{typ: t.elem, typmod: "-1", dims: "0"}, "("+x+")["+at+"]"), at)
	case t.kind == "m":
		m := c.alias()
		says = fmt.Sprintf("coalesce((select bool_and(%s) from unnest(%s) %s), true)", c.held(pgField{typ: t.sub, typmod: "-1", dims: "0"}, m), x, m)
	case t.kind == "r":
		bound := pgField{typ: t.sub, typmod: "-1", dims: "0"}
		says = c.held(bound, "lower("+x+")") + " and " + c.held(bound, "upper("+x+")")
	case t.kind == "c":
		parts := []string{"true"}
		for _, f := range t.fields {
			parts = append(parts, c.held(f, "("+x+")."+strconv.Quote(f.name)))
		}
		says = strings.Join(parts, " and ")
	case t.name == "date":
		says = x + " between '0001-01-01' and '9999-12-31'"
	case t.name == "timestamp" || t.name == "timestamptz":
		says = x + " >= '0001-01-01 00:00:00+00' and " + x + " < '10000-01-01 00:00:00+00'"
	case t.name == "numeric" && isDecimal(f.typmod):
		says = x + " <> 'NaN'"
	default:
		return "true"
	}
	return fmt.Sprintf("coalesce(%s is null or (%s), true)", x, says)
}

func isDecimal(typmod string) bool {
	m, err := strconv.Atoi(typmod)
	if err != nil || m < 4 {
		return false
	}
	precision, scale := (m-4)>>16&0xffff, ((m-4)&0x7ff^1024)-1024
	return precision <= 38 && scale >= 0 && scale <= precision
}

// canonicalJSON writes JSON as readers.py does: keys sorted, no spaces, leaves as text or null.
func canonicalJSON(t testing.TB, text string) string {
	var v any
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	var b strings.Builder
	enc := json.NewEncoder(&b) // sorts keys
	enc.SetEscapeHTML(false)
	require.NoError(t, enc.Encode(v))
	return strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029", `\u0008`, `\b`, `\u000c`, `\f`).Replace(strings.TrimSuffix(b.String(), "\n"))
}

// Expected gives a table's columns and rows as the lake has to show them, from what PostgreSQL tells: a value that its column cannot hold
// is NULL there and stands as text in _lakeload_exact (docs/TYPES.md).
func Expected(t testing.TB, db *Database, table string, exact bool) (columns []string, want [][]string) {
	t.Helper()
	return NewCatalog(t, db).Expected(table, exact)
}

// Expected is [Expected], for one of many tables.
func (c *Catalog) Expected(table string, exact bool) (columns []string, want [][]string) {
	t, db := c.t, c.db
	t.Helper()
	name := `"public"."` + table + `"`
	var fields []pgField
	for _, r := range c.query("select attname, atttypid::text, atttypmod, attndims from pg_attribute where attrelid = '%s'::regclass and attnum > 0 and not attisdropped order by attnum", name) {
		fields = append(fields, pgField{r[0], r[1], r[2], r[3]})
	}
	require.NotEmpty(t, fields)
	var list []string
	for _, f := range fields {
		columns = append(columns, f.name)
		quoted := strconv.Quote(f.name)
		value := quoted
		switch typ := c.typ(c.base(f).typ).name; {
		case c.nested(f):
			value = "(" + c.shown(f, quoted) + ")::text"
		case typ == "geometry" || typ == "geography":
			value = leaf(c.typ(c.base(f).typ), quoted)
		}
		list = append(list, value, c.held(f, quoted), "format('%s', "+quoted+")")
	}
	from := name
	if c.query("select relkind from pg_class where oid = '%s'::regclass", name)[0][0] == "r" {
		from = "only " + name // rows of tables that inherit from it are those tables'
	}
	source, err := readers.PGQuery(t.Context(), db.DSN, "select "+strings.Join(list, ", ")+" from "+from)
	require.NoError(t, err)
	for _, told := range source {
		row, texts := []string(nil), map[string]string{}
		for i, f := range fields {
			v, held, text := told[3*i], told[3*i+1], told[3*i+2]
			if v != readers.Null && c.nested(f) {
				v = canonicalJSON(t, v)
			}
			if held != "true" {
				texts[f.name], v = text, readers.Null
			}
			row = append(row, v)
		}
		require.True(t, exact || len(texts) == 0, "%s needs exact texts: %v", table, texts)
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
