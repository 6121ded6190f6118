package where

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/predicate"
)

var columns = []Column{
	{"n", arrow.PrimitiveTypes.Int64, "bigint"},
	{"f", arrow.PrimitiveTypes.Float64, "double precision"},
	{"d", &arrow.Decimal128Type{Precision: 10, Scale: 2}, "numeric(10,2)"},
	{"s", arrow.BinaryTypes.String, "text"},
	{"big", arrow.BinaryTypes.String, "numeric"},
	{"mood", arrow.BinaryTypes.String, "mood"},
	{"b", arrow.FixedWidthTypes.Boolean, "boolean"},
	{"day", arrow.FixedWidthTypes.Date32, "date"},
	{"t", &arrow.TimestampType{Unit: arrow.Microsecond}, "timestamp without time zone"},
	{"z", &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, "timestamp with time zone"},
	{"list", arrow.ListOf(arrow.PrimitiveTypes.Int64), "bigint[]"},
}

// rows are three: ordinary values, all nulls, and the values at the edges,
// some of which are exact texts.
func rows() *Rows {
	mem := memory.DefaultAllocator
	r := &Rows{Exact: func(row, col int) (string, bool) {
		text, ok := map[string]string{"d": "NaN", "day": "infinity", "t": "-infinity", "z": "infinity"}[columns[col].Name]
		return text, ok && row == 2
	}}
	for _, c := range columns {
		b := array.NewBuilder(mem, c.Type)
		switch b := b.(type) {
		case *array.Int64Builder:
			b.AppendValues([]int64{5, 0, math.MinInt64}, []bool{true, false, true})
		case *array.Float64Builder:
			b.AppendValues([]float64{0.1, 0, math.NaN()}, []bool{true, false, true})
		case *array.Decimal128Builder:
			b.AppendValues([]decimal128.Num{decimal128.FromI64(150), {}, {}}, []bool{true, false, false})
		case *array.StringBuilder:
			b.AppendValues([]string{map[string]string{"s": "Zebra", "big": "12345678901234567890.5", "mood": "sad"}[c.Name], "", map[string]string{"s": "", "big": "-Infinity", "mood": "ok"}[c.Name]}, []bool{true, false, true})
		case *array.BooleanBuilder:
			b.AppendValues([]bool{true, false, false}, []bool{true, false, true})
		case *array.Date32Builder:
			b.AppendValues([]arrow.Date32{arrow.Date32(19_000), 0, 0}, []bool{true, false, false})
		case *array.TimestampBuilder:
			b.AppendValues([]arrow.Timestamp{1_700_000_000_000_001, 0, 0}, []bool{true, false, false})
		default:
			for range 3 {
				b.AppendNull()
			}
		}
		r.Columns = append(r.Columns, b.NewArray())
	}
	return r
}

func match(t *testing.T, text string) string {
	t.Helper()
	c, err := Parse(text)
	require.NoError(t, err, text)
	f, err := c.Bind(columns)
	require.NoError(t, err, text)
	all := rows()
	r := &Rows{}
	var places []int
	for _, name := range f.Columns() {
		for i := range columns {
			if columns[i].Name == name {
				places, r.Columns = append(places, i), append(r.Columns, all.Columns[i])
			}
		}
	}
	r.Exact = func(row, col int) (string, bool) { return all.Exact(row, places[col]) }
	var b strings.Builder
	for row := range 3 {
		ok, err := f.Match(r, row)
		require.NoError(t, err, text)
		if ok {
			b.WriteByte("ane"[row])
		}
	}
	return b.String()
}

// TestWhatHolds: of the rows a (ordinary), n (nulls) and e (edges).
func TestWhatHolds(t *testing.T) {
	for text, want := range map[string]string{
		"n = 5":                                  "a",
		"n <> 5":                                 "e",
		"N >= -9223372036854775808":              "ae",
		"not n = 5":                              "e",
		"n is null":                              "n",
		"n is not null":                          "ae",
		"not n is null":                          "ae",
		"n in (1, 5)":                            "a",
		"n not in (1, 2)":                        "ae",
		"n between 5 and 6":                      "a",
		"n not between 5 and 6":                  "e",
		"n = 5 or n is null":                     "an",
		"n = 5 and s is null or b = false":       "e",
		"n = 5 and (s is null or b = false)":     "",
		"not (n = 5 or n is null)":               "e",
		"f = 0.1":                                "a",
		"f > 1e300":                              "e",
		"f = 'NaN'":                              "e",
		"f <> 'NaN'":                             "a",
		"f <= 'Infinity'":                        "a",
		"d = 1.5":                                "a",
		"d > 1.4999999999999999999999":           "a" + "e",
		"d < 'NaN'":                              "a",
		"d is null":                              "n",
		"d is not null":                          "ae",
		"big > 12345678901234567890.4":           "a",
		"big < 0":                                "e",
		"big in ('-Infinity', 7)":                "e",
		"s = 'Zebra'":                            "a",
		"s = ''":                                 "e",
		"s < 'a'":                                "ae",
		"s = 'zebra'":                            "",
		"mood = 'sad'":                           "a",
		"mood not in ('sad')":                    "e",
		"b = true":                               "a",
		"b <> TRUE":                              "e",
		"day = '2022-01-08'":                     "a",
		"day > '2022-01-07'":                     "ae",
		"day = 'infinity'":                       "e",
		"t < '2023-11-14 22:13:20.000001'":       "e",
		"t <= '2023-11-14T22:13:20.000001'":      "ae",
		"t >= '2023-11-14'":                      "a",
		"z = '2023-11-14 23:13:20.000001+01'":    "a",
		"z = '2023-11-15 03:43:20.000001+05:30'": "a",
		"z > '2023-11-14T22:13:20Z'":             "ae",
		"list is null":                           "ane",
		"s like 'Ze%'":                           "a",
		"s not like 'Ze%'":                       "e",
		"s like 'Zebra'":                         "a",
		"s like '%'":                             "ae",
		"n is not distinct from 5":               "a",
		"n is distinct from 5":                   "ne",
		"n <=> 5":                                "a",
		"not n <=> 5":                            "ne",
		"f <=> 'NaN'":                            "e",
		"day = DATE '2022-01-08'":                "a",
		`"n" = +5 and "s" <> 'it''s'`:            "a",
	} {
		require.Equal(t, want, match(t, text), text)
	}
}

func TestWhatIsRefused(t *testing.T) {
	for text, says := range map[string]string{
		"":                                  "a column is expected",
		"n":                                 "no comparison",
		"n =":                               "a literal is expected",
		"n = null":                          "IS NULL",
		"n = m":                             "a literal is expected",
		"5 = n":                             "a column is expected",
		"n = 5 n":                           "should end here",
		"n = 5; drop table t":               `';' means nothing`,
		"n = 5 -- x":                        `'-' means nothing`,
		"(n = 5":                            "should be closed",
		"s = 'x":                            "not closed",
		"n = 5x":                            "no number",
		"lower(s) = 'x'":                    "no comparison",
		"s like '%x'":                       "only 'prefix%'",
		"s like 'x_'":                       "only 'prefix%'",
		"s like x":                          "pattern in quotes",
		"n like '5%'":                       "only texts",
		"mood like 's%'":                    "order is another",
		"n.m = 5":                           "field of a column",
		"n is distinct 5":                   "followed by FROM",
		"s = x'0g'":                         "two digits",
		"s = X'00'":                         "not a text",
		"n between 1":                       "AND between",
		"n in ()":                           "a literal is expected",
		"n in (1":                           "the end of the list",
		"n is 5":                            "NULL or NOT NULL",
		"n not = 5":                         "IN, BETWEEN or LIKE",
		"s = 'a\x00'":                       "no text",
		strings.Repeat("(", 200):            "nested more",
		strings.Repeat("not ", 200):         "nested more",
		"nope = 5":                          `no column "nope"`,
		"n = 5.5":                           "not a whole number",
		"n = '5'":                           "not a whole number",
		"n = 99999999999999999999":          "not a whole number",
		"s = 5":                             "not a text",
		"s = true":                          "not a text",
		"mood < 'sad'":                      "order is another",
		"b = 1":                             "TRUE or FALSE",
		"b = 'true'":                        "TRUE or FALSE",
		"day = '2022-13-01'":                "not a date",
		"day = 5":                           "not a date",
		"t = '2022-01-01 00:00+00'":         "not a time without",
		"z = '2022-01-01 00:00:00'":         "not a time with",
		"t = '2022-01-01 00:00:00.0000001'": "not a time",
		"list = 5":                          "only IS NULL",
		"d = 1e99999999":                    "not a number",
		"f = 1e999":                         "not a number",
	} {
		c, err := Parse(text)
		if err == nil {
			_, err = c.Bind(columns)
		}
		var e *Error
		require.True(t, errors.As(err, &e), text)
		require.ErrorContains(t, err, says, text)
	}
}

func TestWhatTheServerIsAsked(t *testing.T) {
	for text, want := range map[string]string{
		"n = 5":                    `"n" OPERATOR(pg_catalog.=) '5'::pg_catalog.int8`,
		"not n < 5":                `"n" OPERATOR(pg_catalog.>=) '5'::pg_catalog.int8`,
		"not (n < 5 or n is null)": `("n" OPERATOR(pg_catalog.>=) '5'::pg_catalog.int8 AND "n" IS DISTINCT FROM NULL)`,
		"s < 'a'":                  "",
		"s < 'a' and n = 1":        `"n" OPERATOR(pg_catalog.=) '1'::pg_catalog.int8`,
		"s < 'a' or n = 1":         "",
		"not (s < 'a' or n = 1)":   `"n" OPERATOR(pg_catalog.<>) '1'::pg_catalog.int8`,
		"not (s < 'a' and n = 1)":  "",
		`s in ('a', 'b\''')`:       `"s" IN ('a' COLLATE pg_catalog."C", E'b\\''' COLLATE pg_catalog."C")`,
		"s = 'ä'":                  "",
		"mood = 'sad'":             "",
		"s like 'a%' and n = 1":    `"n" OPERATOR(pg_catalog.=) '1'::pg_catalog.int8`,
		"n <=> 1 or n = 1":         "",
		"f > 'Infinity'":           `"f" OPERATOR(pg_catalog.>) 'Infinity'::pg_catalog.float8`,
		"f <> 0.1":                 `"f" OPERATOR(pg_catalog.<>) '0.1'::pg_catalog.float8`,
		"d > +1.50":                `"d" OPERATOR(pg_catalog.>) '1.50'::pg_catalog.numeric`,
		"d = 'NaN'":                "",
		"b = true":                 `"b" OPERATOR(pg_catalog.=) true`,
		"day between '2022-01-01' and '2022-12-31'": `("day" OPERATOR(pg_catalog.>=) '2022-01-01'::pg_catalog.date AND "day" OPERATOR(pg_catalog.<=) '2022-12-31'::pg_catalog.date)`,
		"day > '0050-01-01'":                        "",
		"z > '2022-01-01 01:00:00+01'":              `"z" OPERATOR(pg_catalog.>) '2022-01-01 00:00:00.000000+00'::pg_catalog.timestamptz`,
		"t not in ('2022-01-01')":                   `"t" NOT IN ('2022-01-01 00:00:00.000000'::pg_catalog.timestamp)`,
		"list is null":                              `"list" IS NOT DISTINCT FROM NULL`,
	} {
		c, err := Parse(text)
		require.NoError(t, err, text)
		f, err := c.Bind(columns)
		require.NoError(t, err, text)
		require.Equal(t, want, f.SQL(), text)
	}
}

// What cannot be compared is no difference in silence.
func TestWhatCannotBeCompared(t *testing.T) {
	c, err := Parse("t > '2022-01-01'")
	require.NoError(t, err)
	f, err := c.Bind(columns)
	require.NoError(t, err)
	r := &Rows{Columns: []arrow.Array{rows().Columns[8]}, Exact: func(int, int) (string, bool) { return "294276-12-31 23:59:59", true }}
	_, err = f.Match(r, 2)
	require.ErrorContains(t, err, "294276")
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"n = 5 and not (s in ('a', 'b') or f is null)", "z between '2022-01-01 00:00:00Z' and 'infinity'", `"n" <> -1e5`, "b = true", "day < '2020-01-01'"} {
		f.Add(s)
	}
	all := rows()
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		filter, err := c.Bind(columns)
		if err != nil {
			return
		}
		_ = filter.SQL()
		r := &Rows{}
		for _, name := range filter.Columns() {
			for i := range columns {
				if columns[i].Name == name {
					r.Columns = append(r.Columns, all.Columns[i])
				}
			}
		}
		negated := &Filter{condition: c, root: &node{op: predicate.Not, args: []*node{filter.root}}, columns: filter.columns}
		for row := range 3 {
			a, err := filter.Match(r, row)
			require.NoError(t, err)
			b, err := negated.Match(r, row)
			require.NoError(t, err)
			require.False(t, a && b, "it cannot hold, and not hold")
		}
	})
}
