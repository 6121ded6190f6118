package soak

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// hand makes the statements of one writer. Its choices are the seed's alone.
type hand struct {
	*rand.Rand
	m *model
}

// keys is how many keys a table's rows have between them; large transactions use those from there to mostKeys.
const (
	keys     = 120
	mostKeys = 6000
)

func (h *hand) chance(percent int) bool { return h.IntN(100) < percent }

func choose[T any](h *hand, list []T) T { return list[h.IntN(len(list))] }

// value is the SQL of a value of a type.
func (h *hand) value(typ string) string {
	if elem, ok := strings.CutSuffix(typ, "[]"); ok {
		if h.chance(10) {
			return "'{}'"
		}
		var list []string
		for range 1 + h.IntN(3) {
			list = append(list, h.orNull(15, elem))
		}
		return "array[" + strings.Join(list, ", ") + "]::" + typ
	}
	n := h.IntN(1000)
	size := 0
	base, mods, _ := strings.Cut(typ, "(")
	if m := number.FindString(mods); m != "" {
		size, _ = strconv.Atoi(m)
	}
	switch base {
	case "smallint", "integer", "bigint":
		return strconv.Itoa(n - 300)
	case "numeric":
		if h.chance(3) {
			return "'NaN'"
		}
		return fmt.Sprintf("%d.%02d", n, n%100)
	case "real", "double precision":
		return choose(h, []string{strconv.Itoa(n) + ".5", strconv.Itoa(n) + "e-7", "'-Infinity'", "'NaN'", "'-0'"})
	case "boolean":
		return strconv.FormatBool(n%2 == 0)
	case "character varying":
		text := fmt.Sprintf("v%d", n)
		return "'" + text[:min(len(text), max(1, size))] + "'"
	case "date":
		if h.chance(3) {
			return "'infinity'"
		}
		return fmt.Sprintf("date '2020-01-01' + %d", n)
	case "timestamp with time zone", "timestamp without time zone":
		return fmt.Sprintf("timestamptz '2021-05-06 07:08:09.123+00' + interval '%d minutes'", n)
	case "uuid":
		return fmt.Sprintf("md5('%d')::uuid", n)
	case "jsonb":
		return fmt.Sprintf(`'{"n": %d, "l": [1, null, "%d"]}'`, n, n)
	case "bytea":
		return fmt.Sprintf(`'\x%04x'`, n)
	case "mood":
		return "'" + h.m.mood(n) + "'"
	case "pair":
		return fmt.Sprintf("row(%s, %s)::pair", h.orNull(10, "integer"), h.orNull(10, "text"))
	case "int4range":
		return fmt.Sprintf("int4range(%d, %d)", n, n+1+n%7)
	case "interval":
		return fmt.Sprintf("interval '%d hours'", n)
	default:
		if h.chance(6) { // larger than what is kept in the row
			return fmt.Sprintf("(select string_agg(md5((%d * i)::text), '') from generate_series(1, %d) i)", n, 60+n%100)
		}
		return fmt.Sprintf("'text %d ö'", n)
	}
}

func (h *hand) orNull(percent int, typ string) string {
	if h.chance(percent) {
		return "null"
	}
	return h.value(typ)
}

// keyValue is one of the few values that a key's column has.
func (h *hand) keyValue(t *table, c *column) string {
	if c.Name == t.Divided {
		return strconv.Itoa(h.leafValue(t))
	}
	n := h.IntN(keys)
	switch base, _, _ := strings.Cut(c.Type, "("); base {
	case "smallint", "integer", "bigint", "numeric", "real", "double precision":
		return strconv.Itoa(n)
	case "text":
		return fmt.Sprintf("'k%d'", n%17)
	case "character varying":
		return fmt.Sprintf("'%d'", n%10)
	}
	return h.value(c.Type)
}

// leafValue is a value that one of the table's partitions takes.
func (h *hand) leafValue(t *table) int {
	var values []int
	for _, l := range t.Leaves {
		if v, ok := l.value(); ok {
			values = append(values, v)
		}
	}
	return choose(h, values)
}

// given is the SQL of a value for a column of a new row; "" leaves it to its default.
func (h *hand) given(t *table, c *column) string {
	switch {
	case slices.Contains(t.Key, c.Name) || c.Name == t.Divided:
		if c.Default && h.chance(80) {
			return ""
		}
		return h.keyValue(t, c)
	case c.Default && h.chance(60):
		return ""
	case c.NotNull:
		return h.value(c.Type)
	case h.chance(10):
		return ""
	}
	return h.orNull(12, c.Type)
}

func (h *hand) insert(t *table) string {
	var names, values []string
	for i := range t.Columns {
		if v := h.given(t, &t.Columns[i]); v != "" {
			names, values = append(names, t.Columns[i].Name), append(values, v)
		}
	}
	if len(names) == 0 {
		return fmt.Sprintf("insert into %s default values", quote(t.Name))
	}
	rows := "(" + strings.Join(values, ", ") + ")"
	for range h.IntN(4) {
		var more []string
		for _, n := range names {
			c := t.column(n)
			if slices.Contains(t.Key, n) || n == t.Divided {
				more = append(more, h.keyValue(t, c))
			} else if c.NotNull {
				more = append(more, h.value(c.Type))
			} else {
				more = append(more, h.orNull(12, c.Type))
			}
		}
		rows += ", (" + strings.Join(more, ", ") + ")"
	}
	return fmt.Sprintf("insert into %s (%s) values %s on conflict do nothing", quote(t.Name), quoted(names), rows)
}

// where chooses few rows: by the key, or where there is none any.
func (h *hand) where(t *table) string {
	if len(t.Key) == 0 {
		return fmt.Sprintf("ctid = any(array(select ctid from %s order by ctid offset %d limit %d))", quote(t.Name), h.IntN(30), 1+h.IntN(3))
	}
	c := t.column(t.Key[0])
	if c.Name != t.Divided && h.chance(20) && isNumber(c.Type) {
		from := h.IntN(keys)
		return fmt.Sprintf("%s between %d and %d", quote(c.Name), from, from+h.IntN(15))
	}
	var parts []string
	for _, k := range t.Key {
		parts = append(parts, quote(k)+" = "+h.keyValue(t, t.column(k)))
	}
	return strings.Join(parts, " and ")
}

func isNumber(typ string) bool {
	switch base, _, _ := strings.Cut(typ, "("); base {
	case "smallint", "integer", "bigint", "numeric":
		return true
	}
	return false
}

// set gives new values to one or two columns; "" where the table has none to give to.
func (h *hand) set(t *table) string {
	list := t.plain()
	if len(list) == 0 {
		return ""
	}
	var parts []string
	first := h.IntN(len(list))
	for i := range 1 + h.IntN(2) {
		c := list[(first+i)%len(list)]
		v := h.orNull(10, c.Type)
		if c.NotNull {
			v = h.value(c.Type)
		}
		parts = append(parts, quote(c.Name)+" = "+v)
		if len(list) == 1 {
			break
		}
	}
	return strings.Join(parts, ", ")
}

// rows is one statement about a table's rows.
func (h *hand) rows(t *table) string {
	name := quote(t.Name)
	if !t.changeable() {
		if h.chance(2) {
			return "truncate " + name
		}
		return h.insert(t)
	}
	switch n := h.IntN(100); {
	case n < 40:
		return h.insert(t)
	case n < 70:
		if set := h.set(t); set != "" {
			return fmt.Sprintf("update %s set %s where %s", name, set, h.where(t))
		}
		return h.insert(t)
	case n < 80: // a row moves; out-of-line values are not sent again
		if len(t.Key) == 0 {
			return h.insert(t)
		}
		c := t.column(choose(h, t.Key))
		return fmt.Sprintf("update %s set %s = %s where ctid = any(array(select ctid from %s where %s limit 1))", name, quote(c.Name), h.keyValue(t, c), name, h.where(t))
	case n < 93:
		return fmt.Sprintf("delete from %s where %s", name, h.where(t))
	case n < 95:
		return fmt.Sprintf("delete from %s where ctid = any(array(select ctid from %s order by ctid desc limit %d))", name, name, 5+h.IntN(40))
	case n < 96 && h.chance(40):
		return "truncate " + name
	default: // every row
		if set := h.set(t); set != "" {
			return fmt.Sprintf("update %s set %s", name, set)
		}
		return h.insert(t)
	}
}

// many is one statement about thousands of rows; "" for a table that is not made for it.
func (h *hand) many(t *table) string {
	if len(t.Key) != 1 || t.Divided != "" || !t.changeable() {
		return ""
	}
	key := t.column(t.Key[0])
	if key.Type != "integer" && key.Type != "bigint" || key.Default {
		return ""
	}
	from := keys + h.IntN(mostKeys/2)
	to := from + 1000 + h.IntN(mostKeys/2)
	switch n := h.IntN(10); {
	case n < 2:
		return fmt.Sprintf("delete from %s where %s >= %d", quote(t.Name), quote(key.Name), keys)
	case n < 4:
		return fmt.Sprintf("delete from %s where %s between %d and %d", quote(t.Name), quote(key.Name), from, to)
	case n < 6:
		if set := h.set(t); set != "" {
			return fmt.Sprintf("update %s set %s where %s between %d and %d", quote(t.Name), set, quote(key.Name), from, to)
		}
	}
	names, values := []string{key.Name}, []string{"i"}
	for _, c := range t.Columns {
		switch {
		case c.Name == key.Name, c.Default:
		case c.Type == "text":
			names, values = append(names, c.Name), append(values, "md5(i::text) || md5((i * 7)::text)")
		case c.NotNull:
			names, values = append(names, c.Name), append(values, h.value(c.Type))
		}
	}
	return fmt.Sprintf("insert into %s (%s) select %s from generate_series(%d, %d) i on conflict do nothing", quote(t.Name), quoted(names), strings.Join(values, ", "), from, to)
}

// transaction makes the statements of one, without its end, about tables that are locked.
func (h *hand) transaction(tables []*table) []string {
	if h.chance(3) {
		for _, t := range tables {
			if sql := h.many(t); sql != "" {
				return []string{sql}
			}
		}
	}
	var list []string
	for range 1 + h.IntN(5) {
		t := choose(h, tables)
		if !h.chance(15) {
			list = append(list, h.rows(t))
			continue
		}
		list = append(list, "savepoint a", h.rows(t))
		if h.chance(30) {
			list = append(list, "savepoint b", h.rows(t), choose(h, []string{"rollback to b", "release b"}))
		}
		list = append(list, choose(h, []string{"rollback to a", "release a"}))
	}
	return list
}
