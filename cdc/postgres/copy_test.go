package postgres

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/cdc"
)

// allTypes are columns with values that are easily spoilt.
var allTypes = []struct {
	column string // type
	values []string
}{
	{"bool", []string{"true", "false"}},
	{"int2", []string{"-32768", "32767"}},
	{"int4", []string{"-2147483648", "2147483647"}},
	{"int8", []string{"-9223372036854775808", "9223372036854775807"}},
	{"float4", []string{"0.1", "'NaN'", "'-Infinity'", "'-0'", "3.4e38", "1e-45"}},
	{"float8", []string{"0.1", "'NaN'", "'Infinity'", "'-0'", "5e-324", "1.7976931348623157e308"}},
	{"numeric", []string{"0", "-0.00", "1e-20", "'NaN'", "'Infinity'", "123456789012345678901234567890123456789012345678901234567890.5"}},
	{"numeric(12,2)", []string{"9999999999.99", "-0.01", "'NaN'"}},
	{"numeric(38,10)", []string{"1234567890123456789012345678.0123456789"}},
	{"numeric(50,10)", []string{"12345678901234567890123456789012345678.5"}},
	{"money", []string{"'12.34'", "'-1'"}},
	{"text", []string{"''", "'ünï 🐘'", `E'\t\n\\'`, "repeat('long ', 30000)"}},
	{"varchar(10)", []string{"'abc  '"}},
	{"char(5)", []string{"'ab'"}},
	{`"char"`, []string{"'x'"}},
	{"name", []string{"'n'"}},
	{"bytea", []string{`'\x00ff10'`, "''", "decode(repeat('00ff', 60000), 'hex')"}},
	{"date", []string{"'2024-02-29'", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'5874897-12-31'"}},
	{"timestamp", []string{"'2024-02-29 23:59:59.999999'", "'infinity'", "'4713-01-01 BC'", "'294276-12-31 23:59:59.999999'"}},
	{"timestamptz", []string{"'2024-02-29 23:59:59.999999+05:30'", "'-infinity'", "'4713-01-02 00:00:00+00 BC'"}},
	{"timestamp(3)", []string{"'2024-02-29 23:59:59.999'"}},
	{"time", []string{"'24:00'", "'00:00:00.000001'"}},
	{"timetz", []string{"'12:00:00+05:30:15'", "'24:00-15:59'"}},
	{"interval", []string{"'1 year -2 mons 3 days -04:05:06.789'", "'0'", "'-1 day'"}},
	{"uuid", []string{"'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"}},
	{"json", []string{`'{"a" : [1, 2.50],  "a": null}'`}},
	{"jsonb", []string{`'{"b": 1e3, "a": "ü"}'`}},
	{"inet", []string{"'10.1.2.3/8'", "'::1'"}},
	{"cidr", []string{"'10.0.0.0/8'", "'2001:db8::/32'"}},
	{"macaddr", []string{"'08:00:2b:01:02:03'"}},
	{"macaddr8", []string{"'08:00:2b:01:02:03:04:05'"}},
	{"bit(5)", []string{"B'10101'"}},
	{"varbit", []string{"B''", "B'1111000011110000111'"}},
	{"point", []string{"'(1.5,-0)'"}},
	{"box", []string{"'(1,2),(3,4)'"}},
	{"polygon", []string{"'((0,0),(1,1),(2,0))'"}},
	{"int4range", []string{"'[1,10)'", "'empty'", "'(,)'"}},
	{"tstzrange", []string{"'[2024-01-01 00:00+00,)'"}},
	{"nummultirange", []string{"'{[1.5,2),(3,)}'"}},
	{"int4[]", []string{"'{}'", "'{1,NULL,3}'", "'[2:3]={7,8}'", "'{{1,2},{3,4}}'"}},
	{"text[]", []string{`'{"a,b","NULL",NULL,"q\"\\"}'`}},
	{"numeric(6,2)[]", []string{"'{1.50,NaN}'"}},
	{"timestamptz[]", []string{"'{2024-01-01 00:00+00,infinity}'"}},
	{"mood", []string{"'sad'", "'very happy'"}},
	{"mood[]", []string{`'{sad,"very happy"}'`}},
	{"mydomain", []string{"12.34"}},
	{"outerdomain", []string{"5.6"}},
	{"arraydomain", []string{"'{1,2}'"}},
	{"pair", []string{"ROW(1,'x y')", "ROW(NULL,NULL)", `ROW(2,'"')`}},
	{"pair[]", []string{"ARRAY[ROW(1,'a')::pair]"}},
	{"tsvector", []string{"'a fat cat'::tsvector"}},
	{"tsquery", []string{"'fat & cat'::tsquery"}},
	{"pg_lsn", []string{"'16/B374D848'"}},
	{"oid", []string{"4294967295"}},
	{"regclass", []string{"'pg_class'", "'mine'"}},
	{"xid", []string{"'5'"}},
	{"xid8", []string{"'5000000000'"}},
	{"tid", []string{"'(1,2)'"}},
	{"jsonpath", []string{"'$.a'"}},
	{"txid_snapshot", []string{"'10:20:10,14'"}},
}

const sqlTypesOfTests = `CREATE TYPE mood AS ENUM ('sad', 'very happy'); CREATE DOMAIN mydomain AS numeric(8,2);
	CREATE DOMAIN outerdomain AS mydomain CHECK (VALUE > 0); CREATE DOMAIN arraydomain AS int4[];
	CREATE TYPE pair AS (a int, b text); CREATE TABLE mine (id int PRIMARY KEY);`

// What COPY gives is what the text that the server prints for the same value
// is decoded to; and for columns that stay text it is that text itself.
func TestEdge51CopyEqualsTheServersText(t *testing.T) {
	d := newDatabase(t)
	d.exec(sqlTypesOfTests)
	var columns, inserts []string
	width := 0
	for i, c := range allTypes {
		columns = append(columns, fmt.Sprintf("c%d %s", i, c.column))
		width = max(width, len(c.values))
	}
	for r := range width + 1 {
		row := []string{fmt.Sprint(r)}
		for _, c := range allTypes {
			v := "NULL"
			if r < len(c.values) {
				v = c.values[r]
			}
			row = append(row, v)
		}
		inserts = append(inserts, "("+strings.Join(row, ", ")+")")
	}
	d.exec("CREATE TABLE v (id int PRIMARY KEY, " + strings.Join(columns, ", ") + ")")
	d.exec("INSERT INTO v VALUES " + inserts[0])
	for _, r := range inserts[1:] {
		d.exec("INSERT INTO v VALUES " + r)
	}
	checked := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer checked.AssertSize(t, 0)
	s := d.open(func(c *Config) { c.Allocator, c.Tables, c.All = checked, []string{"public.v"}, false })
	rel := table(t, s, "public.v")
	ctx := testContext(t)
	snap, err := s.Snapshot(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, snap.Close()) }()

	conn, err := s.connector.connect(ctx, connCatalog)
	require.NoError(t, err)
	defer closeConn(conn)
	var asText []string
	for i := range rel.Columns {
		name := quoteIdent(rel.Columns[i].Name)
		asText = append(asText, fmt.Sprintf("CASE WHEN %[1]s IS DISTINCT FROM NULL THEN format('%%s', %[1]s) END", name))
	}
	oracle, err := query(ctx, conn, "SELECT "+strings.Join(asText, ", ")+" FROM public.v ORDER BY id")
	require.NoError(t, err)

	infos, err := s.describeTables(ctx, conn, []uint32{rel.OID})
	require.NoError(t, err)
	want := newBatchBuilder(rel, infos[0].cols, checked)
	want.beginTxn(cdc.Txn{})
	for r, row := range oracle {
		for c := range rel.Columns {
			if row.null(c) {
				want.appendNull(c)
			} else {
				require.NoError(t, want.appendText(c, row[c]))
			}
		}
		want.endRow(cdc.OpInsert, int64(r))
	}
	expect := want.finish()
	defer expect.Release()

	batches := 0
	copyTable(t, snap, rel, func(b *cdc.Batch) {
		batches++
		require.Equal(t, len(oracle), b.Len())
		require.Equal(t, expect.Exact, b.Exact)
		for c := range rel.Columns {
			got, exp := b.Rows.Column(c), expect.Rows.Column(c)
			for r := range b.Len() {
				require.Equal(t, exp.IsNull(r), got.IsNull(r), "%s, row %d", rel.Columns[c].SourceType, r)
				require.Equal(t, exp.ValueStr(r), got.ValueStr(r), "%s, row %d", rel.Columns[c].SourceType, r)
				if text, ok := got.(*array.String); ok && !got.IsNull(r) {
					require.Equal(t, oracle[r].str(c), text.Value(r), "%s, row %d", rel.Columns[c].SourceType, r)
				}
			}
		}
	})
	require.Equal(t, 1, batches)
}

// Names, partitions, inheritance, generated and dropped columns, no columns,
// no rows: each row once, under the relation that was asked for.
func TestCopyOddTables(t *testing.T) {
	d := newDatabase(t)
	d.exec(`CREATE SCHEMA "Sch""e.ma"; CREATE TABLE "Sch""e.ma"."ta'b\le ""x""" ("co""l,1" int PRIMARY KEY, "SELECT" text, "ctid "  int);
		INSERT INTO "Sch""e.ma"."ta'b\le ""x""" SELECT g, 'v' || g, -g FROM generate_series(1, 100) g;
		CREATE TABLE parent (id int PRIMARY KEY, v int); CREATE TABLE child (w int) INHERITS (parent);
		INSERT INTO parent VALUES (1, 1); INSERT INTO child VALUES (2, 2, 2);
		CREATE TABLE root (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
		CREATE TABLE mid PARTITION OF root FOR VALUES IN (1, 2) PARTITION BY RANGE (id);
		CREATE TABLE leaf1 PARTITION OF mid FOR VALUES FROM (0) TO (50); CREATE TABLE leaf2 PARTITION OF mid FOR VALUES FROM (50) TO (1000);
		CREATE TABLE leaf3 (gone int, v text, k int NOT NULL, id int NOT NULL); ALTER TABLE leaf3 DROP gone; ALTER TABLE root ATTACH PARTITION leaf3 FOR VALUES IN (3);
		INSERT INTO root SELECT g, g % 3 + 1, 'r' || g FROM generate_series(1, 300) g;
		CREATE TABLE gen (id int PRIMARY KEY, x int, twice int GENERATED ALWAYS AS (x * 2) STORED, y int); ALTER TABLE gen DROP x CASCADE; INSERT INTO gen VALUES (1, 5);
		CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
		CREATE TABLE empty (id int PRIMARY KEY); CREATE TABLE emptied (id int PRIMARY KEY); INSERT INTO emptied SELECT generate_series(1, 1000); DELETE FROM emptied;
		CREATE TABLE old (id int PRIMARY KEY); INSERT INTO old SELECT generate_series(1, 3); ALTER TABLE old ADD n int NOT NULL DEFAULT 7;
		CREATE TABLE incl (a int, b int, c int); CREATE UNIQUE INDEX i ON incl (b) INCLUDE (c); ALTER TABLE incl ALTER b SET NOT NULL; ALTER TABLE incl REPLICA IDENTITY USING INDEX i;
		CREATE TABLE full_ (a int, b int PRIMARY KEY); ALTER TABLE full_ REPLICA IDENTITY FULL;
		CREATE TABLE deferred_ (a int PRIMARY KEY DEFERRABLE)`)
	s := d.open()
	ctx := testContext(t)
	snap, err := s.Snapshot(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, snap.Close()) }()
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	got := map[string]string{}
	for _, rel := range rels {
		n, sum := 0, int64(0)
		copyTable(t, snap, rel, func(b *cdc.Batch) {
			require.Same(t, rel, b.Relation)
			require.EqualValues(t, b.Len(), b.Rows.NumRows())
			n += b.Len()
			if len(rel.Columns) > 0 {
				ints := b.Rows.Column(0).(*array.Int32)
				for i := range b.Len() {
					sum += int64(ints.Value(i))
				}
			}
		})
		var names []string
		for _, c := range rel.Columns {
			names = append(names, c.Name)
		}
		got[rel.String()] = fmt.Sprintf("%s; key %v, insert-only %v; %d rows, sum %d", strings.Join(names, " "), rel.Key, rel.InsertOnly, n, sum)
	}
	require.Equal(t, map[string]string{
		"Sch\"e.ma.ta'b\\le \"x\"": `co"l,1 SELECT ctid ; key [0], insert-only false; 100 rows, sum 5050`,
		"public.parent":            "id v; key [0], insert-only false; 1 rows, sum 1",
		"public.child":             "id v w; key [], insert-only true; 1 rows, sum 2",
		"public.root":              "id k v; key [0 1], insert-only false; 300 rows, sum 45150",
		"public.gen":               "id y; key [0], insert-only false; 1 rows, sum 1",
		"public.nothing":           "; key [], insert-only true; 2 rows, sum 0",
		"public.empty":             "id; key [0], insert-only false; 0 rows, sum 0",
		"public.emptied":           "id; key [0], insert-only false; 0 rows, sum 0",
		"public.old":               "id n; key [0], insert-only false; 3 rows, sum 6",
		"public.incl":              "a b c; key [1], insert-only false; 0 rows, sum 0",
		"public.full_":             "a b; key [1], insert-only false; 0 rows, sum 0",
		"public.deferred_":         "a; key [], insert-only true; 0 rows, sum 0",
	}, got)
	ranges, err := snap.Plan(ctx, table(t, s, "public.empty"))
	require.NoError(t, err)
	require.Empty(t, ranges)
}

// Ranges are read by block, and not by looking at the whole table each time.
func TestRangesAreReadByBlock(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE big (id int PRIMARY KEY, v text); INSERT INTO big SELECT g, repeat(md5(g::text), 50) FROM generate_series(1, 50000) g")
	s := d.open()
	ctx := testContext(t)
	snap, err := s.Snapshot(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, snap.Close()) }()
	rel := table(t, s, "public.big")
	ranges, err := snap.Plan(ctx, rel) // not analysed: no statistics
	require.NoError(t, err)
	require.Greater(t, len(ranges), 1)
	inner := snap.(*snapshot)
	r, err := inner.reader(ctx)
	require.NoError(t, err)
	for _, rg := range ranges {
		id, err := parseRangeID(rg.ID)
		require.NoError(t, err)
		require.Equal(t, rg.ID, id.String())
		plan := inner.plans[rel.OID]
		sql := strings.TrimSuffix(strings.TrimPrefix(plan.copySQL(plan.leaves[id.leaf], id, ""), "COPY ("), ") TO STDOUT (FORMAT binary)")
		rows, err := simple(ctx, r.conn, "EXPLAIN "+sql)
		require.NoError(t, err)
		require.Contains(t, rows[0].str(0), "Tid Range Scan")
	}
	inner.put(r)
	n := 0
	copyTable(t, snap, rel, func(b *cdc.Batch) {
		require.LessOrEqual(t, b.Len(), copyBatchRows)
		n += b.Len()
	})
	require.Equal(t, 50000, n)
}

// copyBytes writes rows of two fields in the binary format.
func copyBytes(rows [][2][]byte) []byte {
	out := append(append([]byte(nil), copySignature...), 0, 0, 0, 0, 0, 0, 0, 2, 'x', 'x') // with a header extension
	for _, row := range rows {
		out = binary.BigEndian.AppendUint16(out, 2)
		for _, f := range row {
			if f == nil {
				out = binary.BigEndian.AppendUint32(out, 0xffffffff)
				continue
			}
			out = append(binary.BigEndian.AppendUint32(out, uint32(len(f))), f...)
		}
	}
	return binary.BigEndian.AppendUint16(out, 0xffff)
}

var twoTexts = &tableInfo{
	rel:  &cdc.Relation{Columns: []cdc.Column{{Name: "a", Type: resolveType(oidText, -1, typeInfo{}).arrowType()}, {Name: "b", Type: resolveType(oidText, -1, typeInfo{}).arrowType()}}},
	cols: []columnType{resolveType(oidText, -1, typeInfo{}), resolveType(oidText, -1, typeInfo{})},
}

// Wherever the data are cut, the rows are the same.
func TestCopyDataMayBeCutAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		field := rapid.OneOf(rapid.Just([]byte(nil)), rapid.Map(rapid.StringMatching(`[a-z]{0,20}`), func(s string) []byte { return []byte(s) }))
		var rows [][2][]byte
		for range rapid.IntRange(0, 8).Draw(t, "rows") {
			rows = append(rows, [2][]byte{field.Draw(t, "a"), field.Draw(t, "b")})
		}
		data := copyBytes(rows)
		var got [][2][]byte
		d := newCopyDecoder(twoTexts, memory.DefaultAllocator, func(b *cdc.Batch) error {
			defer b.Release()
			for r := range b.Len() {
				var row [2][]byte
				for c := range row {
					if col := b.Rows.Column(c).(*array.String); !col.IsNull(r) {
						row[c] = []byte(col.Value(r))
					}
				}
				got = append(got, row)
			}
			return nil
		})
		for len(data) > 0 {
			n := rapid.IntRange(1, len(data)).Draw(t, "cut")
			piece := append([]byte(nil), data[:n]...)
			if err := d.feed(piece); err != nil {
				t.Fatal(err)
			}
			for i := range piece {
				piece[i] = 0xee // the decoder keeps nothing of it
			}
			data = data[n:]
		}
		if err := d.finish(); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(rows) != fmt.Sprint(got) {
			t.Fatalf("want %q, got %q", rows, got)
		}
	})
}

func TestCopyDataDamaged(t *testing.T) {
	good := copyBytes([][2][]byte{{[]byte("a"), nil}})
	for name, data := range map[string][]byte{
		"cut":       good[:len(good)-1],
		"no end":    good[:len(good)-2],
		"too long":  append(append([]byte(nil), good...), 1),
		"signature": append([]byte("PGCOPX"), good[6:]...),
		"fields":    append(append([]byte(nil), good[:len(good)-2]...), 0, 3),
		"length":    append(append([]byte(nil), good[:len(good)-2]...), 0, 2, 0xff, 0xff, 0xff, 0xf0),
		"empty":     {},
	} {
		d := newCopyDecoder(twoTexts, memory.DefaultAllocator, func(b *cdc.Batch) error { b.Release(); return nil })
		err := d.feed(data)
		if err == nil {
			err = d.finish()
		}
		d.discard()
		require.Error(t, err, name)
	}
}

func FuzzCopyData(f *testing.F) {
	f.Add(copyBytes([][2][]byte{{[]byte("a"), nil}, {nil, []byte("bc")}}), 7)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		checked := memory.NewCheckedAllocator(memory.DefaultAllocator)
		defer checked.AssertSize(t, 0)
		d := newCopyDecoder(twoTexts, checked, func(b *cdc.Batch) error { b.Release(); return nil })
		defer d.discard()
		cut = max(0, min(cut, len(data)))
		if d.feed(data[:cut]) == nil && d.feed(data[cut:]) == nil {
			_ = d.finish()
		}
	})
}
