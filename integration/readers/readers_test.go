package readers_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lakeload/lakeload/integration/readers"
	"github.com/lakeload/lakeload/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := readers.Close(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "close the readers:", err)
		code = 1
	}
	pgtest.StopShared()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// allTypes writes, by delta-rs, a table of every simple type: version 0 has two rows, version 1 has all.
const allTypes = `
import datetime as dt, decimal as d
utc = dt.timezone.utc
nan, inf = float("nan"), float("inf")
fields = [
    ("id", pa.int64(), [1, 2, 3, 4, 5]),
    ("bool", pa.bool_(), [True, False, None, True, False]),
    ("tiny", pa.int8(), [-128, 127, None, 0, 1]),
    ("small", pa.int16(), [-32768, 32767, None, 0, 1]),
    ("int", pa.int32(), [-2147483648, 2147483647, None, 0, 1]),
    ("big", pa.int64(), [-9223372036854775808, 9223372036854775807, None, 0, 1]),
    ("real", pa.float32(), [0.1, 3.4028234e38, None, nan, -0.0]),
    ("double", pa.float64(), [0.1, 1.7976931348623157e308, None, -inf, -0.0]),
    ("dec", pa.decimal128(20, 8), [d.Decimal("0.00000001"), d.Decimal("-12345.67800000"), None, d.Decimal(0), d.Decimal("-0.5")]),
    ("dec0", pa.decimal128(38, 0), [d.Decimal("9" * 38), d.Decimal("-" + "9" * 38), None, d.Decimal(0), d.Decimal(7)]),
    ("day", pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31), None, dt.date(1970, 1, 1), dt.date(1582, 10, 10)]),
    ("ts", pa.timestamp("us", "UTC"), [dt.datetime(1900, 1, 1, tzinfo=utc), dt.datetime(9999, 12, 31, 23, 59, 59, 999999, utc), None, dt.datetime(2024, 2, 29, 1, 2, 3, 500000, utc), dt.datetime(1969, 12, 31, 23, 59, 59, 999999, utc)]),
    ("ntz", pa.timestamp("us"), [dt.datetime(1900, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), None, dt.datetime(2024, 2, 29, 1, 2, 3, 500000), dt.datetime(1969, 12, 31, 23, 59, 59, 999999)]),
    ("bin", pa.binary(), [b"\x00\xff", b"", None, b"abc", b"\n"]),
    ("text", pa.string(), ["it's \"a\"\ttab\nline\\", "", None, "NULL", "Łódź 🦆\u2028"]),
    ("map", pa.map_(pa.string(), pa.string()), [[("z", "1"), ("a", None)], [], None, [("k", "q\"uote\n")], [("é", "🦆")]]),
    ("list", pa.list_(pa.int32()), [[1, None], [], None, [3], [4, 5]]),
]
table = pa.table({n: pa.array(v, t) for n, t, v in fields})
deltalake.write_deltalake(args, table.slice(0, 2))
deltalake.write_deltalake(args, table.slice(2), mode="append")
`

func wantAllTypes() [][]string {
	n := readers.Null
	rows := [][]string{
		{
			"1", "true", "-128", "-32768", "-2147483648", "-9223372036854775808", "0.1", "0.1", "0.00000001", "99999999999999999999999999999999999999",
			"0001-01-01", "1900-01-01 00:00:00.000000Z", "1900-01-01 00:00:00.000000", "00ff", "it's \"a\"\ttab\nline\\", `{"a":null,"z":"1"}`, `["1",null]`,
		},
		{
			"2", "false", "127", "32767", "2147483647", "9223372036854775807", "3.4028235e+38", "1.7976931348623157e+308", "-12345.67800000", "-99999999999999999999999999999999999999",
			"9999-12-31", "9999-12-31 23:59:59.999999Z", "9999-12-31 23:59:59.999999", "", "", `{}`, `[]`,
		},
		{"3", n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n},
		{
			"4", "true", "0", "0", "0", "0", "NaN", "-Infinity", "0.00000000", "0",
			"1970-01-01", "2024-02-29 01:02:03.500000Z", "2024-02-29 01:02:03.500000", "616263", "NULL", readers.Map(map[string]string{"k": "q\"uote\n"}), readers.List([]string{"3"}),
		},
		{
			"5", "false", "1", "1", "1", "1", "-0", "-0", "-0.50000000", "7",
			"1582-10-10", "1969-12-31 23:59:59.999999Z", "1969-12-31 23:59:59.999999", "0a", "Łódź 🦆\u2028", `{"é":"🦆"}`, `["4","5"]`,
		},
	}
	return rows
}

func TestAllReadersSeeTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "all_types")
	_, err := readers.Get(t, readers.DeltaRS).Python(t.Context(), allTypes, path)
	require.NoError(t, err)
	want := wantAllTypes()
	for _, kind := range readers.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			r := readers.Get(t, kind)
			got, err := r.Rows(t.Context(), path, nil, nil)
			require.NoError(t, err)
			readers.Same(t, got, want)

			f, err := r.Fingerprint(t.Context(), path, nil, nil)
			require.NoError(t, err)
			require.Equal(t, readers.FingerprintOf(want), f)

			var first int64
			got, err = r.Rows(t.Context(), path, &first, []string{"text", "id"})
			require.NoError(t, err)
			readers.Same(t, got, [][]string{{want[0][14], "1"}, {"", "2"}})
			f, err = r.Fingerprint(t.Context(), path, &first, []string{"text", "id"})
			require.NoError(t, err)
			require.Equal(t, readers.FingerprintOf(got), f)
		})
	}
}

// TestOddFolder pins a fault of Polars: it takes the %20 that delta-rs puts for a space for part of the file's name.
func TestOddFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "it's a table")
	_, err := readers.Get(t, readers.DeltaRS).Python(t.Context(), allTypes, path)
	require.NoError(t, err)
	for _, kind := range readers.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			got, err := readers.Get(t, kind).Rows(t.Context(), path, nil, []string{"id"})
			if kind == readers.Polars {
				require.ErrorContains(t, err, "No such file or directory")
				return
			}
			require.NoError(t, err)
			require.Len(t, got, 5)
		})
	}
}

func TestSQL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t")
	var first int64
	_, err := readers.Get(t, readers.DeltaRS).Python(t.Context(), allTypes, path)
	require.NoError(t, err)
	for kind, table := range map[readers.Kind]string{
		readers.DuckDB: readers.DeltaScan(path, &first),
		readers.Spark:  readers.SparkTable(path, &first),
	} {
		t.Run(string(kind), func(t *testing.T) {
			r := readers.Get(t, kind)
			got, err := r.SQL(t.Context(), "select count(*), max(id), cast(null as int) from "+table)
			require.NoError(t, err)
			readers.Same(t, got, [][]string{{"2", "2", readers.Null}})
			view := "v_" + string(kind)
			create := map[readers.Kind]string{readers.DuckDB: "create or replace view ", readers.Spark: "create or replace temporary view "}[kind]
			require.NoError(t, r.Exec(t.Context(), create+view+" as select 7 as n"))
			got, err = r.SQL(t.Context(), "select n from "+view)
			require.NoError(t, err)
			readers.Same(t, got, [][]string{{"7"}})
		})
	}
}

// TestErrorsAndCancellation holds that a reader's own error leaves it usable, and that a cancelled call costs only itself.
func TestErrorsAndCancellation(t *testing.T) {
	r := readers.Get(t, readers.DuckDB)
	_, err := r.Rows(t.Context(), filepath.Join(t.TempDir(), "absent"), nil, nil)
	var own *readers.Error
	require.ErrorAs(t, err, &own)
	require.Equal(t, readers.DuckDB, own.Kind)

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = r.Python(ctx, "import time; time.sleep(60)", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	_, err = r.Python(t.Context(), "import os; os._exit(3)", nil)
	require.Error(t, err)
	require.False(t, errors.As(err, &own))

	rows, err := r.Python(t.Context(), "print('not an answer'); result = [['a', None]]", nil)
	require.NoError(t, err)
	readers.Same(t, rows, [][]string{{"a", readers.Null}})
}

func TestMissingReaderSaysHowToInstall(t *testing.T) {
	t.Setenv("LAKELOAD_TOOLS", t.TempDir())
	for _, kind := range readers.Kinds() {
		require.ErrorContains(t, readers.Available(kind), "install.sh")
	}
	require.ErrorContains(t, readers.Available("hive"), "no reader")
}

// TestFloatAsArrow holds that Go and Arrow write the same text for the same float.
func TestFloatAsArrow(t *testing.T) {
	r := readers.Get(t, readers.DuckDB)
	rnd := rand.New(rand.NewPCG(1, 2)) // the same floats every time
	var bits, want []string
	add := func(v float64) {
		bits = append(bits, strconv.FormatUint(math.Float64bits(v), 10))
		want = append(want, readers.Float(v, 64)+" "+readers.Float(float64(float32(v)), 32))
	}
	for e := -20; e <= 20; e++ {
		for _, m := range []float64{1, -1.25, 9.999999999999999, 4.35} {
			add(m * math.Pow10(e))
		}
	}
	for range 20000 {
		add(math.Float64frombits(rnd.Uint64()))
		add(rnd.NormFloat64() * 1e6)
		add(float64(rnd.Int64N(1 << 40)))
	}
	for _, v := range []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, math.MaxFloat64} {
		add(v)
	}
	got, err := r.Python(t.Context(), `
import numpy as np, warnings
warnings.simplefilter("ignore")
f = np.array([int(b) for b in args], dtype="u8").view("f8")
result = pa.table({"d": pa.array(f), "f": pa.array(f.astype("f4"))})
`, bits)
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range got {
		require.Equal(t, want[i], got[i][0]+" "+got[i][1], "bits %s", bits[i])
	}
}

func exec(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), dsn)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), sql).ReadAll()
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}

func TestPGRowsAreCanonical(t *testing.T) {
	s := pgtest.Shared(t, 0)
	exec(t, s.DSN(), `create schema "odd schema"; create table "odd schema"."T" (id bigint, bool bool, small smallint, int int, big bigint, real real, double float8,
		dec numeric(20,8), dec0 numeric(38,0), day date, ts timestamptz, ntz timestamp, bin bytea, "te xt" text);
	insert into "odd schema"."T" values
	(1, true, -32768, -2147483648, -9223372036854775808, 0.1, 0.1, 0.00000001, 99999999999999999999999999999999999999, '0001-01-01', '1900-01-01 00:00:00Z', '1900-01-01', '\x00ff', E'it''s "a"\ttab\nline\\'),
	(2, false, 32767, 2147483647, 9223372036854775807, 3.4028235e38, 1.7976931348623157e308, -12345.678, -99999999999999999999999999999999999999, '9999-12-31', '9999-12-31 23:59:59.999999Z', '9999-12-31 23:59:59.999999', '', ''),
	(3, null, null, null, null, null, null, null, null, null, null, null, null, null),
	(4, true, 0, 0, 0, 'NaN', '-Infinity', 0, 0, '1970-01-01', '2024-02-29 01:02:03.5Z', '2024-02-29 01:02:03.5', 'abc', 'NULL'),
	(5, false, 1, 1, 1, '-0', '-0', -0.5, 7, '1582-10-10', '1969-12-31 23:59:59.999999Z', '1969-12-31 23:59:59.999999', E'\n', U&'Łódź \+01F986\2028')`)
	var want [][]string
	for _, row := range wantAllTypes() {
		kept := append([]string{}, row[:2]...)
		want = append(want, append(kept, row[3:15]...)) // PostgreSQL has no integer of one byte, no map
	}
	got, err := readers.PGRows(t.Context(), s.DSN(), "odd schema", "T", nil)
	require.NoError(t, err)
	readers.Same(t, got, want)
	f, err := readers.PGFingerprint(t.Context(), s.DSN(), "odd schema", "T", nil)
	require.NoError(t, err)
	require.Equal(t, readers.FingerprintOf(want), f)

	got, err = readers.PGRows(t.Context(), s.DSN(), "odd schema", "T", []string{"te xt"})
	require.NoError(t, err)
	require.Len(t, got, 5)
	got, err = readers.PGQuery(t.Context(), s.DSN(), `select 'infinity'::date, '-infinity'::timestamptz, '0044-03-15 BC'::timestamp, 1.50::numeric, '{1,NULL}'::int[], array['a b']`)
	require.NoError(t, err)
	readers.Same(t, got, [][]string{{"infinity", "-infinity", "0044-03-15 00:00:00 BC", "1.50", "{1,NULL}", `{"a b"}`}})
	_, err = readers.PGRows(t.Context(), s.DSN(), "odd schema", "absent", nil)
	require.ErrorContains(t, err, "does not exist")
}

// TestFingerprintOfManyRows compares half a million rows of PostgreSQL with the same rows in a Delta table, in all readers.
func TestFingerprintOfManyRows(t *testing.T) {
	const rows = 500_000
	s := pgtest.Shared(t, 0)
	exec(t, s.DSN(), fmt.Sprintf(`create table many as select i as id, i %% 7 = 0 as flag, (i * 1.1)::float8 as d, (i / 7.0)::numeric(18,6) as n,
		case when i %% 10 > 0 then 'row ' || i end as note, '2024-01-01'::timestamptz + i * interval '1.5 second' as at from generate_series(1::bigint, %d) i`, rows))
	start := time.Now()
	want, err := readers.PGFingerprint(t.Context(), s.DSN(), "public", "many", nil)
	require.NoError(t, err)
	require.EqualValues(t, rows, want.Rows)
	t.Logf("PostgreSQL: %s in %v", want, time.Since(start).Round(time.Millisecond))

	path := filepath.Join(t.TempDir(), "many")
	_, err = readers.Get(t, readers.DuckDB).Python(t.Context(), `
import deltalake
con.execute("set TimeZone = 'UTC'")
table = con.sql("select id, flag, d, n, note, \"at\" from postgres_scan('" + args[1] + "', 'public', 'many')").to_arrow_table()
deltalake.write_deltalake(args[0], table)
`, []string{path, s.DSN()})
	require.NoError(t, err)
	for _, kind := range readers.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			r := readers.Get(t, kind)
			start := time.Now()
			got, err := r.Fingerprint(t.Context(), path, nil, nil)
			require.NoError(t, err)
			require.Equal(t, want, got)
			t.Logf("in %v", time.Since(start).Round(time.Millisecond))
		})
	}
}
