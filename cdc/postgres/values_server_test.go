package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// serverValues are values of every type that is decoded from binary, and of
// some that are not, as SQL.
var serverValues = []struct {
	typ    string
	values []string
	text   bool // has to be read in the text format
}{
	{typ: "bool", values: []string{"t", "f"}},
	{typ: "int2", values: []string{"-32768", "0", "32767"}},
	{typ: "int4", values: []string{"-2147483648", "2147483647"}},
	{typ: "int8", values: []string{"-9223372036854775808", "9223372036854775807"}},
	{typ: "float4", values: []string{"0", "-0", "1e-45", "3.4028235e38", "NaN", "-Infinity", "0.1", "16777217", "1e10", "123456.7"}},
	{typ: "float8", values: []string{"0", "-0", "5e-324", "1.7976931348623157e308", "NaN", "Infinity", "0.1", "1e15", "1e14", "123456789012345680", "9007199254740993", "5.684341886080802e-14", "4.35e-7"}},
	{typ: "numeric", values: []string{"0", "0.000", "-1", "10000", "99990000", "1e40", "1e-30", "-123456789.000100", "NaN", "Infinity", "-Infinity", "0.00000000000000000001", "12345678901234567890123456789012345678901234567890.1", "1e131071", "1e-16383"}},
	{typ: "numeric(10,2)", values: []string{"0", "-0.01", "99999999.99", "NaN", "1.005"}},
	{typ: "numeric(38,38)", values: []string{"0.99999999999999999999999999999999999999", "-1e-38"}},
	{typ: "numeric(38,0)", values: []string{"99999999999999999999999999999999999999", "-1"}},
	{typ: "numeric(5,-2)", values: []string{"12345", "NaN", "1234567"}},
	{typ: "numeric(3,5)", values: []string{"0.00123"}},
	{typ: "text", values: []string{"", "é 漢", "a\tb\nc\\"}},
	{typ: "varchar(10)", values: []string{"x"}},
	{typ: "char(5)", values: []string{"ab", ""}},
	{typ: "name", values: []string{"abc"}},
	{typ: `"char"`, values: []string{"x", "", `\`}},
	{typ: "bytea", values: []string{`\x`, `\x00ff5c27`}},
	{typ: "date", values: []string{"0001-01-01", "9999-12-31", "4713-01-01 BC", "0001-12-31 BC", "5874897-12-31", "infinity", "-infinity", "2000-02-29", "1582-10-10", "10000-01-01"}},
	{typ: "timestamp", values: []string{"0001-01-01", "9999-12-31 23:59:59.999999", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", "infinity", "-infinity", "1999-12-31 23:59:59.9", "10000-01-01"}},
	{typ: "timestamptz", values: []string{"0001-01-01 00:00:00+00", "2024-03-31 02:30:00 Europe/Berlin", "0044-03-15 12:00:00+00 BC", "infinity", "-infinity", "294276-12-31 23:59:59+00"}},
	{typ: "time", values: []string{"00:00", "24:00:00", "23:59:59.999999", "01:02:03.100"}},
	{typ: "timetz", values: []string{"00:00+05:30", "24:00:00-08", "01:02:03.04+00:19:32", "10:00-15:59", "10:00Z"}},
	{typ: "interval", values: []string{"0", "1 year 2 mons -3 days 04:05:06.7", "-1 mon +1 day", "-1 day -00:00:00.000001", "100000000 hours", "1 mon -1 day 1 hour", "-10 years", "1 year -1 sec", "3 days", "-178000000 years 2147483647 days"}},
	{typ: "uuid", values: []string{"1fe01fe0-1fe0-1fe0-1fe0-1fe01fe01fe0"}},
	{typ: "json", values: []string{`{"a":  1}`, "null"}},
	{typ: "jsonb", values: []string{`{"b":  1.50, "a": [null]}`, `"é"`}},
	{typ: "xml", values: []string{"<a>é</a>", `<?xml version="1.0" encoding="UTF-8"?><b/>`, `<?xml version="1.1" standalone="yes"?><b/>`}},
	{typ: "oid", values: []string{"0", "4294967295"}},
	{typ: "xid", values: []string{"4294967295"}},
	{typ: "xid8", values: []string{"18446744073709551615"}},
	{typ: "tid", values: []string{"(4294967295,65535)"}},
	{typ: "inet", values: []string{"1.2.3.4", "1.2.3.4/24", "0.0.0.0/0", "::", "::1", "::1.2.3.4", "::ffff:1.2.3.4", "::ffff:0:1.2.3.4", "2001:db8::1/64", "1:0:0:2:0:0:0:3", "1:2:3:4:5:6:0:8", "1:0:3:4:5:6:0:0", "::7:1.2.3.4", "0:0:0:0:0:0:0:2", "0:0:0:0:0:0:1:0", "fe80::"}},
	{typ: "cidr", values: []string{"10.0.0.0/8", "1.2.3.4/32", "2001:db8::/32", "::/0", "::1/128"}},
	{typ: "macaddr", values: []string{"08:00:2b:01:02:03"}},
	{typ: "macaddr8", values: []string{"08:00:2b:01:02:03:04:05"}},
	{typ: "bit(9)", values: []string{"101001011"}},
	{typ: "varbit", values: []string{"", "1", "0000000011111111"}},
	{typ: "mood", values: []string{"sad", "very, happy"}},
	{typ: "price", values: []string{"1.50", "NaN"}},
	{typ: "int4[]", values: []string{"{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:1]={5,6}", "[-1:0][2:3]={{1,2},{3,4}}"}},
	{typ: "text[]", values: []string{`{a,"",NULL,"NULL",nUlL,"q\"\\","x y","{","}",",",é," "}`, `{"a\tb"}`}},
	{typ: "bool[]", values: []string{"{t,f,NULL}"}},
	{typ: "numeric[]", values: []string{"{1.50,NaN,-0.001}"}},
	{typ: "numeric(6,2)[]", values: []string{"{1.50,NaN}"}},
	{typ: "date[]", values: []string{`{2024-01-01,infinity,"0044-03-15 BC"}`}},
	{typ: "timestamp[]", values: []string{`{"2024-01-01 00:00:00.5",-infinity}`}},
	{typ: "timestamptz[]", values: []string{`{"2024-01-01 00:00:00+02"}`}},
	{typ: "interval[]", values: []string{`{"1 day 01:00:00","1 mon"}`}},
	{typ: "uuid[]", values: []string{`{1fe01fe0-1fe0-1fe0-1fe0-1fe01fe01fe0}`}},
	{typ: "bytea[]", values: []string{`{"\\x00ff",NULL}`}},
	{typ: "jsonb[]", values: []string{`{"{\"a\": 1}",null}`}},
	{typ: "inet[]", values: []string{"{1.2.3.4/8,::1}"}},
	{typ: "mood[]", values: []string{`{sad,"very, happy"}`}},
	{typ: "price[]", values: []string{`{1.50,2.25}`}},
	{typ: `"char"[]`, values: []string{`{a,"",","}`}},
	{typ: "name[]", values: []string{`{a,"b c"}`}},
	{typ: "varbit[]", values: []string{`{101,0}`}},
	{typ: "money", values: []string{"1.50"}, text: true},
	{typ: "float8[]", values: []string{"{0.1,NaN}"}},
	{typ: "point", values: []string{"(1,2.5)"}},
	{typ: "int4range", values: []string{"[1,5)"}},
	{typ: "regclass", values: []string{"pg_class"}, text: true},
	{typ: "tsvector", values: []string{"a b", "", "'it''s':1A,2B,3C,4 'back\\\\slash':16383 ' '"}},
	{typ: "pair", values: []string{"(1,a)"}},
	{typ: "pg_lsn", values: []string{"16/B374D848"}},
	{typ: "int2vector", values: []string{"1 2", "", "-3"}},
	{typ: "oidvector", values: []string{"1 4294967295", ""}},
	{typ: "lseg", values: []string{"[(1,2),(3,4.5)]"}},
	{typ: "box", values: []string{"(1,2),(3,-4e20)"}},
	{typ: "path", values: []string{"[(0,0),(1,1)]", "((0,0),(1,1),(2,1e-9))"}},
	{typ: "polygon", values: []string{"((0,0),(1,1),(2,0.1))"}},
	{typ: "line", values: []string{"{1,-2,3.5}"}},
	{typ: "circle", values: []string{"<(1,2),3>"}},
	{typ: "tsquery", values: []string{"'a'", "!a & b | c <-> (d <2> e) & !(f | 'g h':*AB)", "a <-> (b <-> c)", "'it''s' & 'back\\\\slash':*", "", "!!a", "a | b & (c | d)", "(a & b) <-> c"}},
	{typ: "jsonpath", values: []string{"$.a[*] ? (@.b > 1)"}},
	{typ: "pg_snapshot", values: []string{"10:20:10,14", "10:20:"}},
	{typ: "txid_snapshot", values: []string{"10:10:"}},
	{typ: "int8multirange", values: []string{"{}", "{[1,2),[5,)}"}},
	{typ: "tstzrange[]", values: []string{`{"[\"2024-01-01 00:00:00+00\",infinity)",empty,NULL}`}},
	{typ: "box[]", values: []string{"{(1,2),(0,0);(3,4),(3,4)}"}},
	{typ: "point[]", values: []string{`{"(1,2)",NULL}`}},
}

// TestEdge54ServerValues asks a server for each value in both formats: the two are
// decoded to the same bytes, and what is kept as text, or cannot be held, is
// just what the server prints.
func TestEdge54ServerValues(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TYPE mood AS ENUM ('sad', 'very, happy'); CREATE DOMAIN price AS numeric(10,2); CREATE TYPE pair AS (a int, b text)")
	s := d.open()
	types := &typeCache{}
	require.NoError(t, s.admin.with(testContext(t), func(conn *pgconn.PgConn) error {
		for _, c := range serverValues {
			t.Run(c.typ, func(t *testing.T) { checkServerValues(t, conn, types, c.typ, c.values, c.text) })
		}
		return nil
	}))
}

func checkServerValues(t *testing.T, conn *pgconn.PgConn, types *typeCache, name string, values []string, wantText bool) {
	ctx := testContext(t)
	if strings.HasPrefix(name, "numeric(5,-2)") || strings.HasPrefix(name, "numeric(3,5)") {
		if serverVersionNum(conn.ParameterStatus("server_version")) < 150000 {
			t.Skip("such numerics are new in PostgreSQL 15")
		}
	}
	// A column, because casts in a query lose a domain.
	qualified := name
	if base, _, _ := strings.Cut(name, "["); base == "mood" || base == "price" || base == "pair" {
		qualified = "public." + name
	}
	require.NoError(t, exec(ctx, conn, "DROP TABLE IF EXISTS public.v; CREATE TABLE public.v (n serial, v "+qualified+")"))
	for _, v := range values {
		_, err := query(ctx, conn, fmt.Sprintf("INSERT INTO public.v (v) VALUES (%s::%s)", quoteLiteral(v), qualified))
		if err != nil && name == "xml" {
			t.Skip("a server without XML")
		}
		require.NoError(t, err, v)
	}
	meta, err := query(ctx, conn, "SELECT atttypid, atttypmod FROM pg_attribute WHERE attrelid = 'public.v'::regclass AND attname = 'v'")
	require.NoError(t, err)
	oid := meta[0].oid(0)
	infos, err := types.resolve(ctx, conn, []uint32{oid})
	require.NoError(t, err)
	typ := resolveType(oid, int32(meta[0].int(1)), infos[oid])
	require.Equal(t, !wantText, binaryOK(typ), "%s is read in binary", name)

	read := func(format int16) [][]byte {
		res := conn.ExecParams(ctx, "SELECT v FROM public.v ORDER BY n", nil, nil, nil, []int16{format}).Read()
		require.NoError(t, res.Err)
		out := make([][]byte, len(res.Rows))
		for i := range out {
			out[i] = res.Rows[i][0]
		}
		return out
	}
	text := read(0)
	fromText := build(t, typ, valueText, text...)
	if !wantText {
		sameValues(t, build(t, typ, valueBinary, read(1)...), fromText, name)
	}
	for _, e := range fromText.Exact {
		require.Equal(t, string(text[e.Row]), e.Text)
	}
	if typ.kind == kindText || typ.kind == kindUTF8 {
		for i := range text {
			require.Equal(t, string(text[i]), fromText.Rows.Column(0).ValueStr(i))
		}
	}
	if wantText {
		return
	}
	for i, v := range read(1) { // what is typed can be printed, too
		printed, err := typ.text(nil, v)
		require.NoError(t, err)
		require.Equal(t, string(text[i]), string(printed))
	}
}
