package sqlexpr

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
)

var testSchema = arrow.NewSchema([]arrow.Field{
	{Name: "i", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
	{Name: "L", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "b", Type: arrow.PrimitiveTypes.Int8, Nullable: true},
	{Name: "f", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
	{Name: "d", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "dec", Type: &arrow.Decimal128Type{Precision: 10, Scale: 2}, Nullable: true},
	{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "t", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "day", Type: arrow.FixedWidthTypes.Date32, Nullable: true},
	{Name: "ntz", Type: &arrow.TimestampType{Unit: arrow.Microsecond}, Nullable: true},
	{Name: "ts", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, Nullable: true},
	{Name: "odd name", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "st", Type: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int32, Nullable: true}), Nullable: true},
	{Name: "bin", Type: arrow.BinaryTypes.Binary, Nullable: true},
}, nil)

const testRows = `[
	{"i":1,"L":10,"b":127,"f":0.5,"d":1.5,"dec":"12.34","s":"abc","t":true,"day":"2024-02-29","ntz":"2024-02-29T01:02:03.5","ts":"2024-02-29T01:02:03Z","odd name":7,"st":{"x":5},"bin":"YQ=="},
	{}
]`

func testColumns(t *testing.T, lines string) []Column {
	t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, testSchema, strings.NewReader(lines))
	require.NoError(t, err)
	cols := make([]Column, rec.NumCols())
	for i, c := range rec.Columns() {
		cols[i] = Column{Values: c}
	}
	return cols
}

// TestConditions has conditions of the first row of testRows, with what they are for it ("t", "f", "n" for null) and for a row of nulls.
func TestConditions(t *testing.T) {
	cols := testColumns(t, testRows)
	for text, want := range map[string]string{
		"i > 0": "tn", "I = 1": "tn", "`odd name` = 7": "tn", "i <> 1": "fn", "i <=> NULL": "ft", "i IS NULL": "ft", "i IS NOT NULL": "tf",
		"NOT i > 0": "fn", "! i > 0 OR true": "tt", "i > 0 AND s = 'abc'": "tn", "i > 1 AND s = 'abc'": "fn", "i > 1 OR s IS NULL": "ft",
		"i IN (2, 1)": "tn", "i IN (2, NULL)": "nn", "i NOT IN (2, 3)": "tn", "s IN ('abc')": "tn", "L BETWEEN 1 AND 10": "tn", "L NOT BETWEEN 1 AND 9": "tn",
		"i BETWEEN 2 AND NULL": "fn", "i BETWEEN 1 AND NULL": "nn",
		"i + L * 2 = 21": "tn", "-i = -1": "tn", "i / 2 = 0.5D": "tn", "L % 3 = 1": "tn", "L DIV 3 = 3": "tn", "d / 2 > 0.7": "tn",
		"dec > 12": "tn", "dec = 12.340": "tn", "dec + 1 = 13.34": "tn", "dec * 2 < 24.69": "tn", "f = 0.5": "tn", "f < 1": "tn",
		"length(s) = 3": "tn", "upper(s) = 'ABC'": "tn", "s LIKE 'a%'": "tn", "s LIKE '_b_'": "tn", "s NOT LIKE '%d'": "tn", "s || 'd' = 'abcd'": "tn",
		"substring(s, 2, 1) = 'b'": "tn", "substr(s, -2) = 'bc'": "tn", "startswith(s, 'ab')": "tn", "trim(' x ') = 'x'": "tt",
		"day > '1900-01-01'": "tn", "day = DATE'2024-02-29'": "tn", "year(day) = 2024 AND month(day) = 2 AND day(day) = 29": "tn",
		"ntz >= '2024-02-29 01:02:03'": "tn", "CAST(ntz AS DATE) = day": "tn", "ts < '2030-01-01T00:00:00Z'": "tn", "ts > '2024-02-29 02:00:00+01:30'": "tn",
		"t": "tn", "t IS TRUE": "tf", "t IS NOT FALSE": "tt", "t = true": "tn", "st.x = 5": "tn", "`st`.`x` > 4": "tn", "bin IS NOT NULL": "tf", "st IS NOT NULL": "tf",
		"coalesce(i, 0) >= 0": "tt", "CASE WHEN i > 0 THEN 'p' ELSE 'n' END = 'p'": "tf", "CASE i WHEN 1 THEN 1 WHEN 2 THEN 5L END = 1": "tn", "if(i IS NULL, false, i = 1)": "tf",
		"abs(-5) = 5": "tt", "CAST(i AS STRING) = '1'": "tn", "CAST(b AS INT) + 1 = 128": "tn", "CAST(i AS DECIMAL(10, 2)) = 1": "tn", "(i) = (1)": "tn", "NULL": "nn",
		"d = 1.5": "tn", "1 = 1.0": "tt", "i = 1L AND 9223372036854775807 > L": "tn", "-9223372036854775808 < L": "tn", "1e3 = 1000": "tt",
	} {
		e, err := Predicate(text, testSchema)
		require.NoError(t, err, text)
		got := ""
		for row := range 2 {
			holds, isNull, err := e.Holds(cols, row)
			require.NoError(t, err, text)
			switch {
			case isNull:
				got += "n"
			case holds:
				got += "t"
			default:
				got += "f"
			}
		}
		require.Equal(t, want, got, text)
	}
}

// TestRefused has what depends on a session, a moment or a version, and what is no expression.
func TestRefused(t *testing.T) {
	for _, text := range []string{
		"", "i >", "i > 0)", "(i > 0", "nothing > 0", "i", "s > 1", "i > '1'", "s = \"abc\"", `s = 'a\nb'`, "s = 'it''s'", "s = 'a' 'b'", "s RLIKE 'a'", "i = current_date()",
		"day = current_date()", "ts > '2020-01-01'", "ts > day", "CAST(ts AS DATE) = day", "day > 'soon'", "day = '2024-2-1'", "f > i", "rand() > 0", "i & 1 = 1", "i -- x", "/* */ i > 0",
		"st > 1", "st.y > 1", "i.x > 1", "bin = bin", "dec / 2 = 1", "CAST(d AS INT) = 1", "s = 'x' COLLATE UTF8_LCASE", "i = 1e400", "EXISTS (SELECT 1)", "i IN ()", "i IS DISTINCT FROM 1",
		"length(i) = 1", "9223372036854775808 > L", "CASE END", "s LIKE s", "s LIKE 'a' ESCAPE 'b'", "1abc = 1", "i = 99999999999999999999999999999999999999999", "coalesce(i, s) = 1", "d IN (1, 2.5)",
		strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200), strings.Repeat("true OR ", 20000) + "true", "\xff", "CAST(dec AS DECIMAL(38,38)) = 1 AND CAST(i AS DECIMAL(99,1)) = 1",
	} {
		_, err := Predicate(text, testSchema)
		var u *UnsupportedError
		require.ErrorAs(t, err, &u, text)
		require.Equal(t, text, u.Expression)
		require.NotEmpty(t, u.Reason)
	}
	cols := testColumns(t, `[{"i":2147483647,"L":9223372036854775807,"b":-128,"s":"ß","d":0}]`)
	for _, text := range []string{
		"i + 1 > 0", "L + 1 > 0", "L * 2 > 0", "-b = 1", "abs(b) = 1", "b - 1Y < 0", "i / 0 = 1", "i % 0 = 1", "i DIV 0 = 1", "d / d = 1", "upper(s) = 'SS'", "CAST(L AS INT) = 1", "CAST(L AS DECIMAL(10,0)) > 1",
		"CAST(i AS BYTE) = 1",
	} {
		e, err := Predicate(text, testSchema)
		require.NoError(t, err, text)
		_, _, err = e.Holds(cols, 0)
		var u *UnsupportedError
		require.ErrorAs(t, err, &u, text)
	}
	// What decides is not asked for more.
	e, err := Predicate("i > 0 OR i / 0 = 1", testSchema)
	require.NoError(t, err)
	holds, _, err := e.Holds(cols, 0)
	require.NoError(t, err)
	require.True(t, holds)
}

func TestFloats(t *testing.T) {
	nan := value{f: nan()}
	for _, c := range []struct {
		a, b float64
		want int
	}{{nan.f, nan.f, 0}, {nan.f, 1, 1}, {1, nan.f, -1}, {0, negativeZero(), 0}, {1, 2, -1}} {
		require.Equal(t, c.want, compareDoubles(c.a, c.b))
	}
}

func nan() float64 { zero := 0.0; return zero / zero }

func negativeZero() float64 { zero := 0.0; return -1 / (1 / zero) }

// FuzzPredicate: whatever a table's rule is, it neither panics nor takes long.
func FuzzPredicate(f *testing.F) {
	for _, s := range []string{"i > 0 AND s LIKE 'a%' OR NOT (day BETWEEN '2020-01-01' AND '2021-01-01')", "CASE WHEN i > 0 THEN 'p' END = 'p'", "CAST(i AS DECIMAL(10,2)) * 2 = -1.5BD", "st.x IN (1, NULL)", "`a``b` <=> 1e5"} {
		f.Add(s)
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, testSchema, strings.NewReader(testRows))
	require.NoError(f, err)
	cols := make([]Column, rec.NumCols())
	for i, c := range rec.Columns() {
		cols[i] = Column{Values: c}
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Compile(text, testSchema)
		var u *UnsupportedError
		if err != nil {
			if !errors.As(err, &u) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for row := range 2 {
			if _, _, err := e.Holds(cols, row); err != nil && !errors.As(err, &u) {
				t.Fatalf("%q: %v", text, err)
			}
		}
		_, _ = e.Array(cols, 2, arrow.BinaryTypes.String)
	})
}
