package formats_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/tablefmt"
	"github.com/lakeload/lakeload/tablefmt/sqlexpr"
)

// ruleConditions are about the columns of the table below.
var ruleConditions = []string{
	"i > 0", "i >= 2147483647", "i <=> NULL", "i <=> i", "NOT (i > 0 AND s > 'b')", "i > 0 OR s IS NULL", "i IN (1, NULL)", "i NOT IN (1, 7)", "i NOT IN (1, NULL)", "l BETWEEN -1 AND 10", "i BETWEEN NULL AND 0",
	"l = i", "l > 1.5", "i < 2.5D", "b = -128", "b + 1 > 0", "-b >= 0 OR b < 0", "sh % 7 = 1", "l DIV 3 = 0", "i / 4 > 0.2D", "sh * 2 < 5", "l % -3 = 1",
	"d > 1", "d = d", "d <> 0", "d < 'NaN'", "d > 0.1", "d = -0.0D", "f = f", "f > 0.1", "f < 1", "f > d", "f * 2F > 1F", "d * 2 > f", "d IN (0.0D, 1.5D)", "d + dec > 1", "d > dec",
	"dec > 1", "dec = 1.50", "dec + 1 > 2.499", "dec * dec > 2", "dec - i > 0", "dec IN (1.5, 2.50)", "dec < 1.4999999999", "big > 1", "big = 1", "big > dec", "dec <=> NULL", "-dec < 0",
	"s = 'abc'", "s > 'ab'", "s < 'é'", "s LIKE 'a%'", "s LIKE '%c'", "s LIKE '_b_'", "s LIKE '%b%'", "s LIKE ''", "s LIKE '%'", "s LIKE '__'", "length(s) = 3", "length(s) < 2", "trim(s) = 'abc'", "ltrim(s) = s", "rtrim(s) > ''",
	"substring(s, 1, 1) = 'a'", "substring(s, 0, 2) = 'ab'", "substring(s, -2, 1) = 'b'", "substring(s, -5, 3) = 'a'", "substr(s, 2) = 'bc'", "substring(s, 2, 0) = ''", "substring(s, 2, -1) = ''", "concat(s, 'x') > s", "s || 'x' = 'abcx'",
	"startswith(s, 'a')", "endswith(s, 'c')", "contains(s, 'b')", "octet_length(s) > 3", "s IN ('abc', 'é')", "upper(coalesce(nullable, 'q')) = 'Q'", "lower('ABC') = 'abc'",
	"day > '1900-01-01'", "day = DATE'2024-02-29'", "day BETWEEN '0001-01-01' AND '2024-12-31'", "year(day) >= 2024", "month(day) = 2", "day(day) = 29", "dayofmonth(day) < 5", "CAST(day AS STRING) > '2'",
	"ntz > '2024-01-01'", "ntz <= TIMESTAMP_NTZ'2024-02-29 01:02:03.456789'", "CAST(ntz AS DATE) = day", "ntz > day", "ts > '2024-01-01T00:00:00Z'", "ts = TIMESTAMP'2024-02-29 02:02:03.456789+01:00'",
	"t", "NOT t", "t IS TRUE", "t IS NOT FALSE", "t = true", "t > false", "t IS NULL OR t", "st.x > 0", "st.y IS NULL", "st IS NOT NULL", "st.`x` = 5", "ar IS NOT NULL", "bin IS NULL",
	"coalesce(i, l) > 0", "ifnull(i, -1) = -1", "CASE WHEN i > 0 THEN 'p' WHEN i < 0 THEN 'n' END = 'p'", "CASE i WHEN 1 THEN true ELSE t END", "if(i > 0, day, NULL) IS NULL", "abs(sh) > 3", "abs(d) > 1", "abs(dec) > 1",
	"CAST(i AS BIGINT) + 1 > 0", "CAST(b AS STRING) = '-128'", "CAST(i AS DOUBLE) > 0", "CAST(sh AS DECIMAL(10, 2)) < 1.5", "CAST(dec AS DECIMAL(20, 5)) = 1.5", "CAST(t AS STRING) = 'true'", "CAST(f AS DOUBLE) = 0.1F", "f = 0.1",
	"isnull(i)", "isnotnull(s)", "1e0 = 1", "9223372036854775808 > l", "-9223372036854775808 < l", "l >= -9223372036854775808", "1BD = 1L", "i = 1S", "NULL", "NULL OR true", "NULL AND false", "2 > 1 = true", "char_length(s) = 2",
}

// TestConditionsAreSparks evaluates conditions over rows of extreme values, and has Spark do so, too.
func TestConditionsAreSparks(t *testing.T) {
	onlyWithAll(t)
	path := sparkMade(t,
		`CREATE TABLE {t} (id INT, i INT, l LONG, b BYTE, sh SHORT, f FLOAT, d DOUBLE, dec DECIMAL(10,2), big DECIMAL(38,10), s STRING, nullable STRING, t BOOLEAN, day DATE, ntz TIMESTAMP_NTZ, ts TIMESTAMP,
			st STRUCT<x: INT, y: STRING>, ar ARRAY<INT>, bin BINARY) USING delta`,
		`INSERT INTO {t} VALUES
			(1, 1, 1, 1Y, 1S, 0.1F, 1.5D, 1.50, 1.5, 'abc', 'q', true, DATE'2024-02-29', TIMESTAMP_NTZ'2024-02-29 01:02:03.456789', TIMESTAMP'2024-02-29 01:02:03.456789Z', struct(5, 'y'), array(1), X'00'),
			(2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
			(3, 2147483647, 9223372036854775807, 126Y, 32767S, float('NaN'), double('NaN'), 99999999.99, 9999999999999999999999999999.9999999999, 'é', '', false, DATE'9999-12-31', TIMESTAMP_NTZ'9999-12-31 23:59:59.999999', TIMESTAMP'9999-12-31 23:59:59.999999Z', struct(null, null), array(), X''),
			(4, -2147483648, -9223372036854775808, -128Y, -32768S, float('-Infinity'), double('Infinity'), -99999999.99, -0.0000000001, '', 'z', true, DATE'0001-01-01', TIMESTAMP_NTZ'0001-01-01 00:00:00', TIMESTAMP'0001-01-01 00:00:00Z', struct(-1, ''), null, null),
			(5, 0, 0, 0Y, 0S, float('-0.0'), double('-0.0'), 0.00, 0, ' abc  ', 'Q', null, DATE'1969-12-31', TIMESTAMP_NTZ'1969-12-31 23:59:59.999999', TIMESTAMP'1969-12-31 23:59:59.999999Z', null, array(null), X'ff'),
			(6, 7, -1, -1Y, -4S, 16777216F, 0.1D, 2.50, 1, '日本', 'é', false, DATE'1582-10-15', TIMESTAMP_NTZ'1582-10-15 12:00:00', TIMESTAMP'1582-10-15 12:00:00Z', struct(0, 'a'), array(2, 3), X'61')`,
	)
	s := load(t, path)
	var exprs []*sqlexpr.Expr
	var texts, refused []string
	for _, text := range ruleConditions {
		e, err := sqlexpr.Predicate(text, s.Arrow())
		if err != nil {
			refused = append(refused, err.Error())
			continue
		}
		exprs, texts = append(exprs, e), append(texts, "CAST(("+text+") AS STRING)")
	}
	t.Log(strings.Join(refused, "\n"))
	require.LessOrEqual(t, len(refused), 8, refused)
	ours := [][]string{}
	unknown := map[[2]string]bool{} // refused for a row
	require.NoError(t, s.Scan(t.Context(), tablefmt.ScanOptions{}, func(rec arrow.RecordBatch) error {
		cols := make([]sqlexpr.Column, rec.NumCols())
		for i, c := range rec.Columns() {
			cols[i] = sqlexpr.Column{Values: c}
		}
		for row := range int(rec.NumRows()) {
			line := []string{rec.Column(0).ValueStr(row)}
			for _, e := range exprs {
				holds, isNull, err := e.Holds(cols, row)
				text := fmt.Sprint(holds)
				if isNull {
					text = readers.Null
				}
				var u *sqlexpr.UnsupportedError
				if errors.As(err, &u) {
					unknown[[2]string{line[0], e.String()}] = true
				} else {
					require.NoError(t, err)
				}
				line = append(line, text)
			}
			ours = append(ours, line)
		}
		return nil
	}))
	// Those that we refuse for some row are asked for one by one: Spark may fail over them, too.
	var sure, unsure []int
	for n, e := range exprs {
		at := &sure
		for _, line := range ours {
			if unknown[[2]string{line[0], e.String()}] {
				at = &unsure
			}
		}
		*at = append(*at, n)
	}
	ask := func(ansi string, which ...int) error {
		columns := []string{"CAST(id AS STRING)"}
		for _, n := range which {
			columns = append(columns, texts[n])
		}
		theirs, err := readers.Get(t, readers.Spark).SQL(t.Context(), "SELECT "+strings.Join(columns, ", ")+" FROM "+readers.SparkTable(path, nil))
		if err != nil {
			return err
		}
		for _, line := range ours {
			i := slices.IndexFunc(theirs, func(l []string) bool { return l[0] == line[0] })
			for at, n := range which {
				if !unknown[[2]string{line[0], exprs[n].String()}] {
					require.Equal(t, theirs[i][at+1], line[n+1], "row %s, ANSI %s: %s", line[0], ansi, exprs[n])
				}
			}
		}
		return nil
	}
	t.Cleanup(func() {
		_ = readers.Get(t, readers.Spark).Exec(context.Background(), "SET spark.sql.ansi.enabled = true")
		_ = readers.Get(t, readers.Spark).Exec(context.Background(), "SET spark.sql.session.timeZone = UTC")
	})
	for _, ansi := range []string{"false", "true"} {
		// The session's zone is another one than it was when the rows were written: no condition may depend on it.
		exec(t, path, "SET spark.sql.ansi.enabled = "+ansi, "SET spark.sql.session.timeZone = America/New_York")
		require.NoError(t, ask(ansi, sure...))
		for _, n := range unsure {
			_ = ask(ansi, n)
		}
	}
}

// TestRulesOfSparksTables writes to tables with constraints, invariants, generated columns and defaults, by turns with Spark.
func TestRulesOfSparksTables(t *testing.T) {
	onlyWithAll(t)
	path := sparkMade(t,
		`CREATE TABLE {t} (id INT NOT NULL, v STRING, n INT GENERATED ALWAYS AS (id * 2), p STRING, q INT DEFAULT 7, r DECIMAL(6,2) DEFAULT 1.5) USING delta PARTITIONED BY (p)
			TBLPROPERTIES ('delta.enableDeletionVectors' = 'true', 'delta.feature.allowColumnDefaults' = 'supported')`,
		"ALTER TABLE {t} ADD CONSTRAINT positive CHECK (id > 0 AND length(v) < 5)", "ALTER TABLE {t} ADD CONSTRAINT parts CHECK (p IN ('a', 'b'))",
		"INSERT INTO {t} (id, v, p) VALUES (1, 'x', 'a'), (2, 'y', 'b')",
	)
	a := "a"
	s := load(t, path)
	write := func(o tablefmt.FileOptions, lines string) (*tablefmt.AddFile, error) {
		w, err := s.NewFileWriter(t.Context(), o)
		if err != nil {
			return nil, err
		}
		defer w.Abort()
		rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.DataArrow(), strings.NewReader(lines))
		require.NoError(t, err)
		if _, err := w.Write(rec); err != nil {
			return nil, err
		}
		return w.Close()
	}
	parts := func(p *string) tablefmt.FileOptions {
		return tablefmt.FileOptions{PartitionValues: map[string]*string{"p": p}}
	}
	good, err := write(parts(&a), `[{"id":3,"v":"z","n":6,"q":1,"r":"2.00"}]`)
	require.NoError(t, err)
	s = deleteFirstRows(t, add(t, s, good))
	other := "c"
	for lines, want := range map[string]string{
		`[{"id":-3,"v":"z","n":-6}]`: `"positive" (id > 0 AND length ( v ) < 5) does not hold for a row with id = -3, v = z`,
		`[{"id":3,"n":6}]`:           "v = null", // null is not true
		`[{"id":3,"v":"z","n":7}]`:   "the generated column \"n\"",
		`[{"id":3,"v":"z"}]`:         "the generated column \"n\"",
	} {
		_, err := write(parts(&a), lines)
		var broken *tablefmt.ConstraintError
		require.ErrorAs(t, err, &broken, lines)
		require.ErrorContains(t, err, want)
		require.ErrorIs(t, err, tablefmt.ErrInvalid)
	}
	for _, p := range []*string{&other, nil} {
		_, err = write(parts(p), `[{"id":3,"v":"z","n":6}]`)
		require.ErrorContains(t, err, `"parts"`)
	}
	// Spark says the same of a null.
	require.Error(t, readers.Get(t, readers.Spark).Exec(t.Context(), "INSERT INTO "+readers.SparkTable(path, nil)+" (id, v, p) VALUES (5, null, 'a')"))

	// Defaults and generated columns where rows lack them.
	given := arrow.NewSchema([]arrow.Field{s.Arrow().Field(0), s.Arrow().Field(1), s.Arrow().Field(3)}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, given, strings.NewReader(`[{"id":4,"v":"f","p":"a"}]`))
	require.NoError(t, err)
	full, err := s.Fill(rec)
	require.NoError(t, err)
	require.Equal(t, []string{"4", "f", "8", "a", "7", "1.5"}, func() (out []string) {
		for _, c := range full.Columns() {
			out = append(out, c.ValueStr(0))
		}
		return out
	}())
	s, err = tablefmt.AddConstraint(t.Context(), s, "Odd", "id <> 1000")
	require.NoError(t, err)
	_, err = tablefmt.AddConstraint(t.Context(), s, "low", "id < 3")
	require.ErrorContains(t, err, "id = 3")
	exec(t, path, "INSERT INTO {t} (id, v, p) VALUES (9, 'w', 'b')", "UPDATE {t} SET v = 'u' WHERE id = 9", "ALTER TABLE {t} DROP CONSTRAINT odd")
	sameAsSpark(t, path, 0)

	// Whoever does not hold rows against the rules writes none.
	s = load(t, path)
	unchecked, err := tablefmt.NewFileWriter(t.Context(), s.Location(), s.DataArrow(), tablefmt.FileOptions{PartitionValues: map[string]*string{"p": &a}})
	require.NoError(t, err)
	rec, _, err = array.RecordFromJSON(memory.DefaultAllocator, s.DataArrow(), strings.NewReader(`[{"id":-1}]`))
	require.NoError(t, err)
	_, err = unchecked.Write(rec)
	require.NoError(t, err)
	file, err := unchecked.Close()
	require.NoError(t, err)
	x := tablefmt.Begin(s.Location(), s)
	x.Add(*file)
	_, err = x.Commit(t.Context())
	require.ErrorContains(t, err, "checkConstraints")
	exec(t, path, "ALTER TABLE {t} ADD CONSTRAINT clock CHECK (id < 100 OR v < cast(now() AS STRING))")
	s = load(t, path)
	_, err = write(parts(&a), `[{"id":3,"v":"z","n":6}]`)
	var cannot *tablefmt.ExpressionError
	require.ErrorAs(t, err, &cannot)
	require.ErrorContains(t, err, `"clock"`)
	require.ErrorContains(t, err, "now")
	s = deleteFirstRows(t, s)
	then, err := tablefmt.LoadAt(t.Context(), s.Location(), 3)
	require.NoError(t, err)
	_, _, err = tablefmt.Restore(t.Context(), then, tablefmt.RestoreOptions{})
	require.NoError(t, err)
	sameAsSpark(t, path, s.Version())
	exec(t, path, "INSERT INTO {t} (id, v, p) VALUES (9, 'w', 'b')")
}
