package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// images reads the next rows that a stream delivers as text, a line each: the
// table, the operation and the values; exact texts after "exact:".
func images(t *testing.T, s cdc.Stream, rows int) (lines []string, faults []cdc.Fault) {
	t.Helper()
	ctx := testContext(t)
	for len(lines) < rows {
		c, err := s.Next(ctx)
		require.NoError(t, err)
		for _, it := range c.Items {
			faults = append(faults, it.Batch.Faults...)
			for i, op := range it.Batch.Ops {
				line := []string{it.Relation.Name, string(op)}
				for col := range it.Relation.Columns {
					line = append(line, shown(it.Batch, i, col))
				}
				lines = append(lines, strings.Join(line, " "))
			}
		}
		c.Release()
	}
	return lines, faults
}

// fails gives the error with which a stream ends. Chunks that are mere
// progress may come before it; rows may not.
func fails(t *testing.T, s cdc.Stream) error {
	t.Helper()
	for {
		c, err := s.Next(testContext(t))
		if err != nil {
			return err
		}
		require.Empty(t, c.Items)
		c.Release()
	}
}

func shown(b *cdc.Batch, row, col int) string {
	for _, e := range b.Exact {
		if e.Row == row && e.Col == col {
			return "exact:" + e.Text
		}
	}
	return b.Rows.Column(col).ValueStr(row)
}

// Types that are made, grow or are gone while the stream runs are understood,
// in both formats.
func TestEdge54TypesThatComeAndGoWhileStreaming(t *testing.T) {
	for _, format := range []string{"binary", "text"} {
		t.Run(format, func(t *testing.T) {
			d := newDatabase(t)
			d.exec(`CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE a (id int PRIMARY KEY, m mood, ms mood[]); CREATE TABLE gone (id int PRIMARY KEY)`)
			s := d.open()
			s.textOnly.Store(format == "text")
			stream := begin(t, d, s)
			from := stream.Progress()
			d.exec("INSERT INTO a VALUES (1, 'sad', '{sad}')")
			d.exec("ALTER TYPE mood ADD VALUE 'merry, \"very\"'")
			d.exec(`INSERT INTO a VALUES (2, 'merry, "very"', ARRAY['merry, "very"', NULL]::mood[])`)
			d.exec(`CREATE DOMAIN inner_ AS numeric(6,2); CREATE DOMAIN price AS inner_ CHECK (VALUE > 0); CREATE TYPE pair AS (p price, m mood[]);
				CREATE TYPE span AS RANGE (subtype = float8); ALTER TABLE a ADD v pair, ADD vs pair[], ADD r span`)
			d.exec("INSERT INTO a VALUES (3, NULL, NULL, ROW(1.5, '{sad}'), ARRAY[ROW(2.25, NULL)::pair, NULL], '[0.1,Infinity)')")
			// A type that is gone before anybody has looked.
			brief := `BEGIN; CREATE TYPE brief AS ENUM ('x'); ALTER TABLE gone ADD b brief, ADD bs brief[]; INSERT INTO gone VALUES (1, 'x', '{x}');
				ALTER TABLE gone DROP b, DROP bs; DROP TYPE brief; INSERT INTO gone VALUES (2); COMMIT`
			want := []string{
				`a I 1 sad ["sad"]`,
				`a I 2 merry, "very" ["merry, \"very\"",null]`,
				`a I 3 (null) (null) {"m":["sad"],"p":"1.5"} [{"m":null,"p":"2.25"},null] {"empty":false,"lower":0.1,"lower_inclusive":true,"upper":"+Inf","upper_inclusive":false}`,
				"gone I 1 x {x}",
				"gone I 2",
			}
			if format == "binary" { // of a type that is gone only the text is certain
				got, _ := images(t, stream, 3)
				require.Equal(t, want[:3], got)
				d.exec(brief)
				err := fails(t, stream)
				require.ErrorIs(t, err, errNeedsText)
				require.True(t, cdc.Retryable(err))
				require.NoError(t, stream.Close())
				require.Eventually(t, func() bool { // the server may not have noticed yet
					stream, err = s.Stream(testContext(t), from)
					return err == nil
				}, time.Minute, 100*time.Millisecond)
				defer func() { require.NoError(t, stream.Close()) }()
			} else {
				d.exec(brief)
			}
			got, faults := images(t, stream, 5)
			require.Empty(t, faults)
			slices.Sort(got) // within a chunk the tables have no order
			require.Equal(t, want, got)
		})
	}
}

// A composite that is altered sends no message. Values with other fields than
// those known become exact text; where fields can be mistaken for one another
// the table is told to stop.
func TestEdge54CompositesThatAreAltered(t *testing.T) {
	for _, format := range []string{"binary", "text"} {
		t.Run(format, func(t *testing.T) {
			d := newDatabase(t)
			d.exec(`CREATE TYPE pair AS (a int, b text); CREATE TABLE t (id int PRIMARY KEY, v pair); CREATE TABLE other (id int PRIMARY KEY, v int)`)
			s := d.open()
			s.textOnly.Store(format == "text")
			stream := begin(t, d, s)
			d.exec("INSERT INTO t VALUES (1, (1, 'x'))")
			got, faults := images(t, stream, 1)
			require.Equal(t, []string{`t I 1 {"a":1,"b":"x"}`}, got)
			require.Empty(t, faults)

			d.exec("ALTER TYPE pair ADD ATTRIBUTE c float8")
			d.exec("INSERT INTO t VALUES (2, (2, 'y', 0.1)); UPDATE t SET v.a = 3 WHERE id = 1")
			got, faults = images(t, stream, 2)
			require.Equal(t, []string{`t I 2 exact:(2,y,0.1)`, `t U 1 exact:(3,x,)`}, got)
			require.Empty(t, faults)
			require.Len(t, table(t, s, "public.t").Columns[1].Type.(*arrow.StructType).Fields(), 3, "the catalogue is looked at again")

			// The next Relation message brings the new fields.
			d.exec("ALTER TABLE t ADD w int; INSERT INTO t VALUES (4, (4, 'z', 1), 5); INSERT INTO other VALUES (1, 1)")
			got, faults = images(t, stream, 2)
			require.Equal(t, []string{`t I 4 {"a":4,"b":"z","c":1} 5`, "other I 1 1"}, got)
			require.Empty(t, faults)

			d.exec("INSERT INTO t VALUES (6, NULL)") // the server tells the table once more after the transaction that altered it
			images(t, stream, 1)
			d.exec("ALTER TYPE pair DROP ATTRIBUTE c")
			d.exec("ALTER TYPE pair ADD ATTRIBUTE d float8")
			d.exec("INSERT INTO t VALUES (5, (5, 'z', 1)); INSERT INTO other VALUES (2, 2)")
			got, faults = images(t, stream, 2)
			require.Len(t, faults, 1, "%v", got)
			require.True(t, faults[0].Resync)
			require.Contains(t, faults[0].Reason, `composite type of column "v" (public.pair)`)
		})
	}
}

// A composite gets an attribute that the server cannot send in binary: the
// binary stream cannot go on, and a stream in the text format can.
func TestEdge54CompositeThatCannotBeSentInBinary(t *testing.T) {
	d := newDatabase(t)
	if len(d.exec("SELECT FROM pg_available_extensions WHERE name = 'seg'")) == 0 {
		t.Skip("left out: the server has not the extension seg, whose type has no binary form")
	}
	d.exec(`CREATE EXTENSION seg; CREATE TYPE pair AS (a int); CREATE TABLE t (id int PRIMARY KEY, v pair); CREATE TABLE s (id int PRIMARY KEY, v seg)`)
	s := d.open()
	stream := begin(t, d, s)
	from := stream.Progress()
	d.exec("INSERT INTO t VALUES (1, ROW(1)); INSERT INTO s VALUES (1, '1 .. 2')")
	got, _ := images(t, stream, 2)
	slices.Sort(got)
	require.Equal(t, []string{"s I 1 1 .. 2", `t I 1 {"a":1}`}, got, "alone it is sent as text within a binary stream")
	require.False(t, s.textOnly.Load())
	d.exec("ALTER TYPE pair ADD ATTRIBUTE b seg; INSERT INTO t VALUES (2, ROW(2, '3'))")
	err := fails(t, stream)
	require.ErrorIs(t, err, errNeedsText)
	require.True(t, cdc.Retryable(err))
	require.NoError(t, stream.Close())
	require.Eventually(t, func() bool { // the server may not have noticed yet
		stream, err = s.Stream(testContext(t), from)
		return err == nil
	}, time.Minute, 100*time.Millisecond)
	defer func() { require.NoError(t, stream.Close()) }()
	got, _ = images(t, stream, 3)
	slices.Sort(got)
	require.Equal(t, []string{"s I 1 1 .. 2", `t I 1 exact:(1)`, `t I 2 {"a":2,"b":"3"}`}, got)
}

// Tables of the most columns, of none, and of none that are left.
func TestEdge50ManyColumnsAndNone(t *testing.T) {
	for _, format := range []string{"binary", "text"} {
		t.Run(format, func(t *testing.T) {
			d := newDatabase(t)
			const most = 1600
			var cols, vals []string
			for i := range most {
				cols = append(cols, fmt.Sprintf("c%d int", i))
				vals = append(vals, fmt.Sprint(i%7))
			}
			d.exec("CREATE TABLE wide (" + strings.Join(cols, ", ") + ", PRIMARY KEY (c0)); CREATE TABLE none (); CREATE TABLE dropped (id int PRIMARY KEY, v text); ALTER TABLE dropped DROP id, DROP v")
			s := d.open(func(c *Config) { c.Keyless = KeylessInsertOnly })
			s.textOnly.Store(format == "text")
			stream := begin(t, d, s)
			d.exec("INSERT INTO wide VALUES (" + strings.Join(vals, ", ") + "); UPDATE wide SET c1599 = NULL; INSERT INTO none DEFAULT VALUES; INSERT INTO dropped DEFAULT VALUES; INSERT INTO none DEFAULT VALUES")
			got, _ := images(t, stream, 5)
			row := strings.Join(vals, " ")
			require.ElementsMatch(t, []string{"wide I " + row, "wide U " + row[:len(row)-1] + "(null)", "none I", "none I", "dropped I"}, got)
			snap, err := s.Snapshot(testContext(t))
			require.NoError(t, err)
			defer func() { require.NoError(t, snap.Close()) }()
			for _, rel := range mustTables(t, s) {
				n := 0
				copyTable(t, snap, rel, func(b *cdc.Batch) { n += b.Len() })
				require.Equal(t, map[string]int{"wide": 1, "none": 2, "dropped": 1}[rel.Name], n, rel.Name)
			}
		})
	}
}

func mustTables(t *testing.T, s *Source) []*cdc.Relation {
	rels, err := s.Tables(testContext(t))
	require.NoError(t, err)
	return rels
}

// Text that is not UTF-8, which a database of encoding SQL_ASCII may hold,
// stops the copy and the stream, alone or within a composed value. A NUL
// cannot be in a text, but can be in bytea.
func TestEdge56TextThatIsNotUTF8(t *testing.T) {
	root := newDatabase(t)
	name := root.name + "_ascii"
	root.exec("CREATE DATABASE " + name + " ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
	t.Cleanup(func() { root.exec("DROP DATABASE " + name + " WITH (FORCE)") })
	dsn := strings.Replace(root.dsn, root.name, name, 1)
	d := &database{t: t, name: name, dsn: dsn, conn: dial(t, dsn)}
	for i, c := range []struct{ typ, bad, good string }{
		{"text", `E'\xff'`, `E'\xc3\xa9'`},
		{"text[]", `ARRAY['a', E'\xff']`, `ARRAY['a', E'\xc3\xa9']`},
		{"varchar(5)[][]", `ARRAY[ARRAY[E'\xff']]`, `ARRAY[ARRAY[E'\xc3\xa9']]`},
		{"pair", `ROW(1, E'\xff')`, `ROW(1, E'\xc3\xa9')`},
		{"bytea", "", `'\x00ff'`},
	} {
		if i == 0 {
			d.exec("CREATE TYPE pair AS (a int, b text)")
		}
		for _, format := range []string{"binary", "text"} {
			d.exec(fmt.Sprintf("DROP TABLE IF EXISTS v; CREATE TABLE v (id int PRIMARY KEY, v %s)", c.typ))
			s, err := Open(testContext(t), Config{DSN: dsn, Slot: "ascii_" + root.name, Publication: "ascii", All: true})
			require.NoError(t, err)
			s.textOnly.Store(format == "text")
			stream := begin2(t, s)
			d.exec("INSERT INTO v VALUES (1, " + c.good + ")")
			got, _ := images(t, stream, 1)
			require.Len(t, got, 1)
			if c.bad != "" {
				d.exec("INSERT INTO v VALUES (2, " + c.bad + ")")
				err = fails(t, stream)
				require.Equal(t, "22021", sqlState(err), "the server itself refuses to make UTF-8 of it: %v", err)
				require.False(t, cdc.Retryable(err))
			}
			require.NoError(t, stream.Close())
			require.NoError(t, s.DropSlot(testContext(t)))
			require.NoError(t, s.Close())
		}
	}
}

// begin2 is begin whose stream the caller closes.
func begin2(t *testing.T, s *Source) cdc.Stream {
	ctx := testContext(t)
	require.NoError(t, s.Publish(ctx, mustTables(t, s)))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	point := snap.Point()
	require.NoError(t, snap.Close())
	stream, err := s.Stream(ctx, point)
	require.NoError(t, err)
	return stream
}

// Policies hold for what is copied and what is streamed, in both formats; and
// an old row image is no reason to stop.
func TestEdge53PoliciesOfColumns(t *testing.T) {
	for _, format := range []string{"binary", "text"} {
		t.Run(format, func(t *testing.T) {
			d := newDatabase(t)
			d.exec(`CREATE TABLE t (id int PRIMARY KEY, d date, n numeric(4,1), ts timestamptz, ds date[], r daterange, nr numrange, tx int[], st date);
				ALTER TABLE t REPLICA IDENTITY FULL`)
			s := d.open(func(c *Config) {
				c.Types = []TypeRule{
					{Tables: []string{"public.*"}, Columns: map[string]TypePolicy{"d": PolicyStop, "n": PolicyClamp, "ts": PolicyClamp, "ds": PolicyClamp, "r": PolicyClamp, "tx": PolicyText, "st": PolicyStop, "nope": PolicyText}},
					{Tables: []string{"public.t"}, Columns: map[string]TypePolicy{"d": PolicyClamp}},
				}
			})
			s.textOnly.Store(format == "text")
			stream := begin(t, d, s)
			insert := `INSERT INTO t VALUES
				(1, 'infinity', 'NaN', '-infinity', '{infinity,2024-01-01,"0044-03-15 BC",NULL}', '[-infinity,infinity)', '[1,NaN]', '{{1,2},{3,4}}', NULL),
				(2, '0044-03-15 BC', 12.3, '294276-12-31 23:59:59+00', '{}', 'empty', NULL, '{1}', '2024-01-01'),
				(3, '2024-01-01', -0.5, '2024-01-01 00:00+00', '[0:0]={infinity}', '(,)', NULL, NULL, '-infinity')`
			d.exec(insert)
			clamped := `{"empty":false,"lower":"0001-01-01","lower_inclusive":true,"upper":"9999-12-31","upper_inclusive":false}`
			rows := []string{
				`1 9999-12-31 (null) 0001-01-01T00:00:00Z ["9999-12-31","2024-01-01","0001-01-01",null] ` + clamped + ` {"empty":false,"lower":1,"lower_inclusive":true,"upper":"NaN","upper_inclusive":true} {{1,2},{3,4}} (null)`,
				`2 0001-01-01 12.3 9999-12-31T23:59:59.999999Z [] {"empty":true,"lower":null,"lower_inclusive":false,"upper":null,"upper_inclusive":false} (null) {1} 2024-01-01`,
				`3 2024-01-01 -0.5 2024-01-01T00:00:00Z exact:[0:0]={infinity} {"empty":false,"lower":null,"lower_inclusive":false,"upper":null,"upper_inclusive":false} (null) (null) exact:-infinity`,
			}
			// numrange's bounds have no precision: they are text, NaN included.
			rows[0] = strings.Replace(rows[0], `"lower":1,`, `"lower":"1",`, 1)
			got, faults := images(t, stream, 3)
			require.Equal(t, []string{"t I " + rows[0], "t I " + rows[1], "t I " + rows[2]}, got)
			require.Len(t, faults, 1)
			require.Equal(t, 2, faults[0].Row)
			require.False(t, faults[0].Resync)
			require.Contains(t, faults[0].Reason, `column "st" (date) has the value -infinity`)
			d.exec("DELETE FROM t WHERE id = 3; INSERT INTO t (id) VALUES (4)")
			got, faults = images(t, stream, 2)
			require.Equal(t, "t D "+rows[2], got[0])
			require.Empty(t, faults)
			d.exec("INSERT INTO t VALUES (3, '2024-01-01', -0.5, '2024-01-01 00:00+00', '[0:0]={infinity}', '(,)', NULL, NULL, '-infinity')")

			snap, err := s.Snapshot(testContext(t))
			require.NoError(t, err)
			defer func() { require.NoError(t, snap.Close()) }()
			var copied []string
			copyTable(t, snap, table(t, s, "public.t"), func(b *cdc.Batch) {
				for i := range b.Len() {
					var line []string
					for col := range b.Relation.Columns {
						line = append(line, shown(b, i, col))
					}
					copied = append(copied, strings.Join(line, " "))
				}
				require.NotNil(t, b.Fault(0))
				require.Equal(t, b.Len()-1, b.Fault(0).Row)
			})
			require.Equal(t, append(rows[:2:2], "4"+strings.Repeat(" (null)", 8), rows[2]), copied)
		})
	}
}

// check names policies for columns that are not there, and those that would
// make two keys one.
func TestCheckLooksAtPoliciesOfColumns(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (id date PRIMARY KEY, v date); CREATE TABLE u (id int PRIMARY KEY, w int)")
	s := d.open(func(c *Config) {
		c.Types = []TypeRule{{Tables: []string{"public.t"}, Columns: map[string]TypePolicy{"id": PolicyClamp, "V": PolicyText, "v": PolicyText, "w": PolicyText}}}
	})
	findings, err := s.Check(testContext(t))
	require.NoError(t, err)
	got := map[string]cdc.Severity{}
	for _, f := range findings {
		if f.Check == "column_type_policy" {
			require.NotEmpty(t, f.Remedy)
			got[f.Object] = f.Severity
		}
	}
	require.Equal(t, map[string]cdc.Severity{"public.t.id": cdc.Blocker, "V": cdc.Warning, "w": cdc.Warning}, got)
	_, err = Open(testContext(t), Config{DSN: d.dsn, Slot: "s", Publication: "p", All: true, Types: []TypeRule{{Tables: []string{"public"}}}})
	require.ErrorContains(t, err, "table pattern")
}

func TestEdge52Clamp(t *testing.T) {
	typ := resolveColumn(oidNumeric, 4<<16|1+4, 0, typeInfo{}, PolicyClamp)
	for in, want := range map[string]string{
		"Infinity": "999.9", "-Infinity": "-999.9", "1000": "999.9", "12.25": "12.3", "-12.25": "-12.3", "12.24999": "12.2", "999.95": "999.9",
		"-0.04": "0.0", "0.05": "0.1", "123456789012345678901234567890123456789012345": "999.9",
	} {
		for _, form := range []byte{valueText, valueBinary} {
			v := []byte(in)
			if form == valueBinary {
				v = numericBinary(in)
			}
			b := build(t, typ, form, v)
			require.Empty(t, b.Exact)
			d := b.Rows.Column(0).(*array.Decimal128)
			require.Equal(t, want, d.Value(0).ToString(1), in)
		}
	}
	nan := build(t, typ, valueText, []byte("NaN"))
	require.True(t, nan.Rows.Column(0).IsNull(0))
	require.Empty(t, nan.Exact)
}
