package postgres

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// typegen makes types and values of them, nested at random, as SQL.
type typegen struct {
	rnd  *rand.Rand
	ddl  []string // what the types need
	made int
	base []genType
}

// genType is a type by its name, and how to make an expression of it.
type genType struct {
	name  string
	value func() string
	array bool // it has no array of its own: it is one
}

// strange are strings that the forms of composed values have to quote.
var strange = []string{
	"", " ", "a", "NULL", "null", "Nul", `"`, `\`, `""`, `\\`, `\"`, "a,b", "(", ")", "{", "}", "[", "]", "{}", "()", "(,)", "'", "a b", " a", "a ", "\n", "\t\r\v\f", ";",
	"é漢🦆", "\u00a0", "\u2028", "empty", "=>", `"a"=>"b"`, "infinity", "NaN", "x\ny\\z\"", "0",
}

// newTypegen makes a generator of built-in types; more types can be added.
func newTypegen(rnd *rand.Rand, version int, extensions map[string]bool) *typegen {
	g := &typegen{rnd: rnd}
	pick := func(name string, values ...string) {
		t := genType{name: name}
		t.value = func() string { return quoteLiteral(values[rnd.IntN(len(values))]) + "::" + name }
		g.base = append(g.base, t)
	}
	for _, c := range serverValues {
		skip := strings.ContainsAny(c.typ, "[") || c.typ == "mood" || c.typ == "price" || c.typ == "pair" || c.typ == "xml" ||
			version < 15 && (c.typ == "numeric(5,-2)" || c.typ == "numeric(3,5)")
		if !skip {
			pick(c.typ, c.values...)
		}
	}
	for _, name := range []string{"text", "varchar(8)", "json", "name"} {
		g.base = append(g.base, genType{name: name, value: func() string {
			s := strange[rnd.IntN(len(strange))]
			if name == "json" {
				s = `{"k":  ` + fmt.Sprint(rnd.IntN(9)) + `}`
			}
			return quoteLiteral(s) + "::" + name
		}})
	}
	g.base = append(g.base, genType{name: "float8", value: func() string {
		return fmt.Sprintf("'%v'::float8", strings.ReplaceAll(fmt.Sprint(oddFloat(rnd)), "Inf", "Infinity"))
	}})
	if extensions["hstore"] {
		g.base = append(g.base, genType{name: "public.hstore", value: func() string {
			var k, v []string
			for range rnd.IntN(4) {
				k = append(k, quoteLiteral(strange[rnd.IntN(len(strange))]))
				x := "NULL"
				if rnd.IntN(4) > 0 {
					x = quoteLiteral(strange[rnd.IntN(len(strange))])
				}
				v = append(v, x)
			}
			return "public.hstore(ARRAY[" + strings.Join(k, ",") + "]::text[], ARRAY[" + strings.Join(v, ",") + "]::text[])"
		}})
		pick("public.citext", strange...)
		pick("public.ltree", "a.b.c", "", "Top.Science")
		pick("public.lquery", "*.a|b{1,2}.!x@*%")
		pick("public.ltxtquery", "a & b*@")
		pick("public.cube", "(1,2.5)", "(0),(1)", "(1,2),(1,2)", "(-0),(0)", "(1e300,NaN)", "()", "(1),(1)")
		pick("public.seg", "1 .. 2", "~5", "1.50")
		pick("public.isbn13", "978-0-11-000533-1")
	}
	if extensions["postgis"] {
		pick("public.geometry", "POINT(1 2)", "SRID=4326;LINESTRING(0 0,1 1.5)", "POLYGON((0 0,1 0,1 1,0 0))", "POINT EMPTY", "POINT Z (1 2 3)")
		pick("public.geography", "POINT(1 2)", "SRID=4326;POINT(-71.06 42.36)")
	}
	if extensions["vector"] {
		pick("public.vector", "[1,2.5,-0,1e-30]", "[0.1]")
		pick("public.halfvec", "[1,2.5,-0,0.1]", "[65504,6e-8,-6e-5]")
		pick("public.sparsevec", "{1:1.5,3:-2}/5", "{}/3")
	}
	return g
}

func (g *typegen) name(kind string) string {
	g.made++
	return fmt.Sprintf(`public."%s %d"`, kind, g.made)
}

// draw makes a type, which is at most depth types deep.
func (g *typegen) draw(depth int) genType {
	if depth == 0 {
		return g.base[g.rnd.IntN(len(g.base))]
	}
	switch g.rnd.IntN(8) {
	case 0, 1:
		return g.arrayOf(g.draw(depth - 1))
	case 2, 3:
		return g.composite(depth)
	case 4:
		return g.domain(g.draw(depth - 1))
	case 5:
		return g.rangeType()
	case 6:
		return g.multirange()
	}
	return g.draw(depth - 1)
}

func (g *typegen) arrayOf(of genType) genType {
	if of.array {
		return of
	}
	name := of.name + "[]"
	list := func(n int) string {
		var elems []string
		for range n {
			v := "NULL"
			if g.rnd.IntN(5) > 0 {
				v = of.value()
			}
			elems = append(elems, v)
		}
		return "ARRAY[" + strings.Join(elems, ", ") + "]::" + name
	}
	return genType{name: name, array: true, value: func() string {
		switch g.rnd.IntN(12) {
		case 0:
			return "'{}'::" + name
		case 1:
			return fmt.Sprintf("ARRAY[%s, %s]", list(2), list(2))
		case 2:
			return fmt.Sprintf("('[-1:0]=' || format('%%s', %s))::%s", list(2), name)
		}
		return list(1 + g.rnd.IntN(3))
	}}
}

func (g *typegen) composite(depth int) genType {
	name := g.name("pair")
	var fields []genType
	var defs []string
	n := 1 + g.rnd.IntN(4)
	dropped := g.rnd.IntN(2 * n) // perhaps an attribute of the type
	for i := range n {
		f := g.draw(depth - 1)
		fields = append(fields, f)
		if i == dropped {
			defs = append(defs, "gone int")
		}
		defs = append(defs, fmt.Sprintf("f%d %s", i, f.name))
	}
	g.ddl = append(g.ddl, "CREATE TYPE "+name+" AS ("+strings.Join(defs, ", ")+")")
	if dropped < n {
		g.ddl = append(g.ddl, "ALTER TYPE "+name+" DROP ATTRIBUTE gone")
	}
	return genType{name: name, value: func() string {
		var values []string
		for _, f := range fields {
			v := "NULL"
			if g.rnd.IntN(6) > 0 {
				v = f.value()
			}
			values = append(values, v)
		}
		return "ROW(" + strings.Join(values, ", ") + ")::" + name
	}}
}

func (g *typegen) domain(of genType) genType {
	name := g.name("domain")
	g.ddl = append(g.ddl, "CREATE DOMAIN "+name+" AS "+of.name)
	return genType{name: name, value: func() string { return "(" + of.value() + ")::" + name }}
}

// builtInRanges by their bounds' types.
var builtInRanges = [][2]string{{"int4", "int4range"}, {"int8", "int8range"}, {"numeric", "numrange"}, {"date", "daterange"}, {"timestamp", "tsrange"}, {"timestamptz", "tstzrange"}}

func (g *typegen) rangeType() genType {
	if g.rnd.IntN(2) == 0 {
		pair := builtInRanges[g.rnd.IntN(len(builtInRanges))]
		for _, b := range g.base {
			if b.name == pair[0] {
				return g.rangeOf("pg_catalog."+pair[1], b)
			}
		}
	}
	for {
		b := g.base[g.rnd.IntN(len(g.base))]
		switch b.name {
		case "text", "float8", "numeric(10,2)", "inet", "interval", "uuid", "bytea", "bool", "oid", "char(5)", "timetz", "varbit", "float4":
			name := g.name("range")
			g.ddl = append(g.ddl, "CREATE TYPE "+name+" AS RANGE (subtype = "+b.name+", multirange_type_name = "+strings.Replace(name, "range", "many", 1)+")")
			if strings.HasPrefix(b.name, "numeric") {
				b.name = "numeric"
			}
			return g.rangeOf(name, b)
		}
	}
}

func (g *typegen) rangeOf(name string, bound genType) genType {
	return genType{name: name, value: func() string {
		ends := []string{"[]", "[)", "(]", "()"}[g.rnd.IntN(4)]
		a, b := bound.value(), bound.value()
		switch g.rnd.IntN(6) {
		case 0:
			return "'empty'::" + name
		case 1:
			return fmt.Sprintf("%s(NULL, %s, '%s')", name, a, ends)
		case 2:
			return fmt.Sprintf("%s(%s, NULL, '%s')", name, a, ends)
		}
		return fmt.Sprintf("%s(least(%s, %s), greatest(%s, %s), '%s')", name, a, b, a, b, ends)
	}}
}

func (g *typegen) multirange() genType {
	r := g.rangeType()
	name := strings.Replace(r.name, "range", "many", 1)
	if strings.HasPrefix(r.name, "pg_catalog.") {
		name = strings.Replace(r.name, "range", "multirange", 1)
	}
	return genType{name: name, value: func() string {
		if g.rnd.IntN(4) == 0 {
			return "'{}'::" + name
		}
		return fmt.Sprintf("%s(%s, %s)", name, r.value(), r.value())
	}}
}
