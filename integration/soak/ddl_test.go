package soak

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// alteration is a kind of DDL. make gives its statements about a table that is locked; nil where the table is not fit for it.
//
// Left out is what needs a person or is not followed: changes of a composite's attributes, ALTER TYPE ... RENAME VALUE, unlogged tables, rows
// that a savepoint wrote before an ATTACH in the same transaction, and a table that takes the name under which the lake holds another one, which
// lives on renamed.
type alteration struct {
	name string
	make func(h *hand, t *table) []string
	// alone: each statement is a transaction of its own. Others are at times put into one with rows before, between and after.
	alone bool
}

// types are those of new columns.
var types = []string{
	"integer", "bigint", "smallint", "numeric(10,2)", "numeric", "double precision", "real", "text", "text", "character varying(10)", "boolean", "date",
	"timestamp with time zone", "timestamp without time zone", "uuid", "jsonb", "bytea", "mood", "pair", "int4range", "integer[]", "text[]", "mood[]", "pair[]", "interval",
}

// wider are types that hold all values of another, and what their values hold they keep.
var wider = map[string][]string{
	"smallint": {"integer", "bigint"}, "integer": {"bigint", "numeric(12,2)"}, "real": {"double precision"}, "date": {"timestamp without time zone"},
	"bigint": {"numeric"}, "numeric(10,2)": {"numeric(14,2)", "numeric"}, "numeric(14,2)": {"numeric(20,4)"}, "character varying(10)": {"character varying(40)", "text"},
	"character varying(40)": {"text"}, "mood": {"text"}, "boolean": {"text"}, "uuid": {"text"},
}

// alterations are all kinds of DDL.
var alterations = []alteration{
	{name: "add column", make: func(h *hand, t *table) []string {
		return add(h, t, choose(h, types), "")
	}},
	{name: "add column with a constant default", make: func(h *hand, t *table) []string {
		typ := choose(h, types)
		return add(h, t, typ, " default "+h.constant(typ)+choose(h, []string{"", " not null"}))
	}},
	{name: "add column with a volatile default", make: func(h *hand, t *table) []string {
		sort := choose(h, [][2]string{{"uuid", " default gen_random_uuid()"}, {"timestamp with time zone", " default clock_timestamp()"}, {"bigserial", ""}, {"integer", " default (random() * 1000)::integer"}})
		return add(h, t, sort[0], sort[1])
	}},
	{name: "drop column", make: func(h *hand, t *table) []string {
		if list := t.plain(); len(list) > 1 {
			return []string{h.alter(t, "drop column "+quote(choose(h, list).Name))}
		}
		return nil
	}},
	{name: "drop column and add one of its name", make: func(h *hand, t *table) []string {
		list := t.plain()
		if len(list) == 0 {
			return nil
		}
		c := choose(h, list)
		typ := choose(h, []string{c.Type, choose(h, types)})
		return []string{h.alter(t, "drop column "+quote(c.Name)), h.alter(t, "add column "+quote(c.Name)+" "+typ+choose(h, []string{"", " default " + h.constant(typ)}))}
	}},
	{name: "rename column", make: func(h *hand, t *table) []string {
		return []string{h.alter(t, "rename column "+quote(choose(h, t.Columns).Name)+" to "+quote(h.column()))}
	}},
	{name: "swap the names of columns", make: func(h *hand, t *table) []string {
		list := t.plain()
		if len(list) < 2 {
			return nil
		}
		i := h.IntN(len(list) - 1)
		a, b, tmp := quote(list[i].Name), quote(list[i+1].Name), quote(h.column())
		return []string{h.alter(t, "rename column "+a+" to "+tmp), h.alter(t, "rename column "+b+" to "+a), h.alter(t, "rename column "+tmp+" to "+b)}
	}},
	{name: "widen a column's type", make: func(h *hand, t *table) []string {
		var list []string
		for _, c := range t.Columns {
			if to := wider[c.Type]; to != nil && c.Name != t.Divided {
				// A default may not be cast by itself; it is not the matter here.
				list = append(list, h.alter(t, fmt.Sprintf("alter %s drop default, alter %[1]s type %[2]s using %[1]s::%[2]s", quote(c.Name), choose(h, to))))
			}
		}
		if len(list) == 0 {
			return nil
		}
		return []string{choose(h, list)}
	}},
	{name: "change a column's type", make: func(h *hand, t *table) []string {
		var list []string
		for _, c := range t.plain() {
			name := quote(c.Name)
			to := "text using " + name + "::text"
			switch {
			case c.Type == "text":
				to = choose(h, []string{"integer using length(" + name + ")", "bytea using convert_to(" + name + ", 'UTF8')", "text using upper(" + name + ")", "character varying(5) using left(" + name + ", 5)"})
			case isNumber(c.Type):
				to = choose(h, []string{c.Type + " using " + name + " % 7", "text using " + name + "::text", "boolean using " + name + " > 5"})
			}
			list = append(list, h.alter(t, fmt.Sprintf("alter %s drop default, alter %[1]s type %s", name, to)))
		}
		if len(list) == 0 {
			return nil
		}
		return []string{choose(h, list)}
	}},
	{name: "set or drop a default or NOT NULL", make: func(h *hand, t *table) []string {
		list := t.plain()
		if len(list) == 0 {
			return nil
		}
		c := choose(h, list)
		name := quote(c.Name)
		switch {
		case c.NotNull:
			return []string{h.alter(t, "alter "+name+" drop not null")}
		case h.chance(50) && t.changeable():
			return []string{fmt.Sprintf("update %s set %s = %s where %[2]s is null", quote(t.Name), name, h.value(c.Type)), h.alter(t, "alter "+name+" set not null")}
		case c.Default:
			return []string{h.alter(t, "alter "+name+" drop default")}
		}
		return []string{h.alter(t, "alter "+name+" set default "+h.constant(c.Type))}
	}},
	{name: "rename table", make: func(h *hand, t *table) []string {
		return []string{h.alter(t, "rename to "+quote(h.m.name("renamed_")))}
	}},
	{name: "drop table", make: func(h *hand, t *table) []string {
		if len(h.m.all()) < fewestTables {
			return nil
		}
		return []string{"drop table " + quote(t.Name)}
	}},
	{name: "drop table and create one of its name", make: func(h *hand, t *table) []string {
		if !slices.Contains(firstNames(h.m), t.Name) { // the lake may have met it under another name, which this one may be of another
			return nil
		}
		return append([]string{"drop table " + quote(t.Name)}, h.create(t.Name)...)
	}},
	{name: "create table", make: func(h *hand, t *table) []string {
		if len(h.m.all()) > mostTables {
			return nil
		}
		return h.create(h.m.name("made_"))
	}},
	{name: "drop primary key", make: func(h *hand, t *table) []string {
		if len(t.Key) == 0 || t.Divided != "" {
			return nil
		}
		return []string{h.alter(t, "replica identity full"), h.alter(t, "drop constraint "+quote(t.PrimaryKey))}
	}},
	{name: "add primary key", make: func(h *hand, t *table) []string {
		if len(t.Key) > 0 || t.Divided != "" || !t.changeable() {
			return nil
		}
		if h.chance(50) {
			return []string{h.alter(t, "add column "+quote(h.column())+" bigserial primary key")}
		}
		for _, c := range t.plain() {
			if !isNumber(c.Type) || c.Default {
				continue
			}
			name := quote(c.Name)
			return []string{
				fmt.Sprintf("delete from %s where %s is null or ctid in (select b.ctid from %[1]s a, %[1]s b where a.%[2]s = b.%[2]s and a.ctid < b.ctid)", quote(t.Name), name),
				h.alter(t, "add primary key ("+name+")"), h.alter(t, "replica identity default"),
			}
		}
		return nil
	}},
	{name: "change the primary key", make: func(h *hand, t *table) []string {
		if len(t.Key) == 0 || t.Divided != "" {
			return nil
		}
		turned := slices.Clone(t.Key)
		slices.Reverse(turned)
		if len(turned) == 1 {
			return []string{h.alter(t, "drop constraint "+quote(t.PrimaryKey)+", add column "+quote(h.column())+" bigserial primary key")}
		}
		return []string{h.alter(t, "drop constraint "+quote(t.PrimaryKey)+", add primary key ("+quoted(turned)+")")}
	}},
	{name: "change the replica identity", make: func(h *hand, t *table) []string {
		switch {
		case len(t.Key) == 0 || t.Divided != "":
			return nil
		case t.Replica == "d" && h.chance(50):
			return []string{h.alter(t, "replica identity full")}
		case t.Replica == "d":
			c, index := h.column(), quote(h.m.name("index_"))
			return []string{
				h.alter(t, "add column "+quote(c)+" bigserial"), "create unique index " + index + " on " + quote(t.Name) + " (" + quote(c) + ")",
				h.alter(t, "replica identity using index "+index),
			}
		}
		return []string{h.alter(t, "replica identity default")}
	}},
	{name: "vacuum full", alone: true, make: func(h *hand, t *table) []string { return []string{"vacuum full " + quote(t.Name)} }},
	{name: "vacuum and analyze", alone: true, make: func(h *hand, t *table) []string { return []string{"vacuum analyze " + quote(t.Name)} }},
	{name: "truncate", make: func(h *hand, t *table) []string { return []string{"truncate " + quote(t.Name) + " restart identity"} }},
	{name: "add a label to an enum", alone: true, make: func(h *hand, t *table) []string {
		return []string{"alter type mood add value '" + h.m.name("mood ") + "'" + choose(h, []string{"", " before 'sad'"})}
	}},
	{name: "create partition", make: func(h *hand, t *table) []string {
		if t.Divided == "" || len(t.Leaves) > 6 {
			return nil
		}
		return []string{fmt.Sprintf("create table %s partition of %s for values in (%d)", quote(h.m.name("part_")), quote(t.Name), h.free(t))}
	}},
	{name: "attach a partition with rows", make: func(h *hand, t *table) []string {
		if t.Divided == "" || len(t.Leaves) > 6 {
			return nil
		}
		v, name := h.free(t), quote(h.m.name("part_"))
		list := []string{fmt.Sprintf("create table %s (like %s including all)", name, quote(t.Name))}
		into := &table{shape: t.shape}
		into.Leaves, into.Name = []leaf{{Bound: fmt.Sprintf("FOR VALUES IN (%d)", v)}}, strings.Trim(name, `"`)
		for range 1 + h.IntN(3) {
			list = append(list, h.insert(into))
		}
		return append(list, fmt.Sprintf("alter table %s attach partition %s for values in (%d)", quote(t.Name), name, v))
	}},
	{name: "detach a partition", make: func(h *hand, t *table) []string {
		if len(t.Leaves) < 3 || len(h.m.all()) > mostTables {
			return nil
		}
		return []string{h.alter(t, "detach partition "+quote(choose(h, t.Leaves).Name))}
	}},
	{name: "drop a partition", make: func(h *hand, t *table) []string {
		if len(t.Leaves) < 3 {
			return nil
		}
		return []string{"drop table " + quote(choose(h, t.Leaves).Name)}
	}},
	{name: "truncate a partition", make: func(h *hand, t *table) []string {
		if len(t.Leaves) == 0 {
			return nil
		}
		return []string{"truncate " + quote(choose(h, t.Leaves).Name)}
	}},
	{name: "detach a partition and attach it again", make: func(h *hand, t *table) []string {
		if len(t.Leaves) < 2 {
			return nil
		}
		l := choose(h, t.Leaves)
		return []string{h.alter(t, "detach partition "+quote(l.Name)), fmt.Sprintf("delete from %s where ctid in (select ctid from %[1]s limit 3)", quote(l.Name)), h.alter(t, "attach partition "+quote(l.Name)+" "+l.Bound)}
	}},
}

// How many tables the generator lets there be.
const (
	fewestTables = 9
	mostTables   = 14
)

func (h *hand) alter(t *table, what string) string {
	return "alter table " + quote(t.Name) + " " + what
}

// constant is the SQL of a value that a default can have.
func (h *hand) constant(typ string) string {
	for {
		if v := h.value(typ); !strings.Contains(v, "select") {
			return v
		}
	}
}

// column is a name for one: some need quotes.
func (h *hand) column() string {
	return h.m.name(choose(h, []string{"c", "c", "c", "Größe_"}))
}

func add(h *hand, t *table, typ, rest string) []string {
	if len(t.Columns) > 14 {
		return nil
	}
	return []string{h.alter(t, "add column "+quote(h.column())+" "+typ+rest)}
}

// free is a value that no partition takes.
func (h *hand) free(t *table) int {
	most := 0
	for _, l := range t.Leaves {
		if v, ok := l.value(); ok {
			most = max(most, v)
		}
	}
	return most + 1 + h.IntN(2)
}

// create makes a table of a random shape.
func (h *hand) create(name string) []string {
	cols := []string{}
	for range 1 + h.IntN(5) {
		cols = append(cols, quote(h.column())+" "+choose(h, types))
	}
	switch h.IntN(6) {
	case 0:
		cols = append([]string{"a text", "b integer"}, append(cols, "primary key (b, a)")...)
	case 1:
		return append([]string{"create table " + quote(name) + " (a integer, " + strings.Join(cols, ", ") + ")"}, "alter table "+quote(name)+" replica identity full")
	case 2:
		cols = append([]string{"id bigserial primary key"}, cols...)
	case 3:
		list := []string{"create table " + quote(name) + " (k integer, id integer, " + strings.Join(cols, ", ") + ", primary key (id, k)) partition by list (k)"}
		for v := range 3 {
			list = append(list, fmt.Sprintf("create table %s partition of %s for values in (%d)", quote(h.m.name("part_")), quote(name), v))
		}
		return list
	default:
		cols = append([]string{"id integer primary key"}, cols...)
	}
	return []string{"create table " + quote(name) + " (" + strings.Join(cols, ", ") + ")"}
}

var made = regexp.MustCompile(`^(renamed|part)_`)

// firstNames are the names of tables that were made under them.
func firstNames(m *model) []string {
	var names []string
	for _, t := range m.all() {
		if !made.MatchString(t.Name) {
			names = append(names, t.Name)
		}
	}
	return names
}

// alteration makes the statements of one about a table, and says whether they are to be one transaction, and of which kind it is.
func (h *hand) alteration(t *table) (kind string, list []string, whole bool) {
	for range 50 {
		a := choose(h, alterations)
		if list = a.make(h, t); list == nil {
			continue
		}
		if a.alone || h.chance(40) {
			return a.name, list, false
		}
		return a.name, list, true
	}
	return "", nil, false
}
