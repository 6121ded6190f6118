package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/pgserver"
)

// TestEdge51EveryValueSurvivesHoweverItComes makes tables of random types,
// nested in one another, with random values. Copied, streamed in binary and
// streamed as text, each value gives the same bytes; and what is stored, put
// back into PostgreSQL, prints as the original does.
//
// LAKELOAD_TEST_TYPES is the number of columns.
func TestEdge51EveryValueSurvivesHoweverItComes(t *testing.T) {
	everyValueSurvives(t)
}

// TestEdge51EveryValueSurvivesOnPostgreSQL18 is the same on a second server,
// unless a version was asked for.
func TestEdge51EveryValueSurvivesOnPostgreSQL18(t *testing.T) {
	if testServer(t).Version() == 18 || os.Getenv("LAKELOAD_TEST_PG") != "" {
		t.Skip("left out: the other tests run on the version that was asked for")
	}
	other, err := pgserver.Start(testContext(t), pgserver.Options{
		Version: 18, Offline: os.Getenv("LAKELOAD_REAL") == "", Password: testPassword,
		Settings: map[string]string{"max_replication_slots": "60", "max_wal_senders": "60"},
	})
	if err != nil && os.Getenv("LAKELOAD_REAL") == "" {
		t.Skipf("left out: no PostgreSQL 18 to test with: %v", err)
	}
	require.NoError(t, err)
	mine := shared.server
	shared.server = other
	t.Cleanup(func() { // after the databases' own
		shared.server = mine
		require.NoError(t, other.Stop(context.Background()))
	})
	everyValueSurvives(t)
}

func everyValueSurvives(t *testing.T) {
	count := 60
	if n, err := strconv.Atoi(os.Getenv("LAKELOAD_TEST_TYPES")); err == nil {
		count = n
	}
	seed := rand.Uint64()
	if n, err := strconv.ParseUint(os.Getenv("LAKELOAD_TEST_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("seed %d", seed)
	d := newDatabase(t)
	g := newTypegen(rand.New(rand.NewPCG(seed, 2)), testServer(t).Version(), d.extensions())
	var tables []string
	for i, typ := range g.base { // each once, bare or as an array
		if i%2 == int(seed%2) {
			typ = g.arrayOf(typ)
		}
		tables = append(tables, g.table(t, d, fmt.Sprintf("t%d", len(tables)), typ))
	}
	for range count {
		tables = append(tables, g.table(t, d, fmt.Sprintf("t%d", len(tables)), g.draw(g.rnd.IntN(4))))
	}
	checkLossless(t, d, tables)
}

// extensions makes the extensions that the server has.
func (d *database) extensions() map[string]bool {
	made := map[string]bool{}
	for _, names := range [][]string{{"hstore", "citext", "ltree", "cube", "seg", "isn"}, {"postgis"}, {"vector"}} {
		ok := true
		for _, n := range names {
			ok = ok && len(d.exec("SELECT FROM pg_available_extensions WHERE name = '"+n+"'")) == 1
		}
		if ok {
			for _, n := range names {
				d.exec("CREATE EXTENSION " + n + " SCHEMA public")
			}
			made[names[0]] = true
		}
	}
	return made
}

// table makes a table of one column of a type, and one that holds its rows
// until they are to be copied and streamed.
func (g *typegen) table(t *testing.T, d *database, name string, typ genType) string {
	sql := append(g.ddl, fmt.Sprintf("CREATE TABLE public.%[1]s (id int PRIMARY KEY, v %[2]s); CREATE TABLE public.source_%[1]s (id serial, v %[2]s)", name, typ.name))
	d.exec(strings.Join(sql, ";"))
	g.ddl = nil
	var values []string
	for range 10 {
		values = append(values, typ.value())
	}
	insert := func(values ...string) error {
		_, err := simple(t.Context(), d.conn, fmt.Sprintf("INSERT INTO public.source_%s (v) VALUES (%s)", name, strings.Join(values, "), (")))
		return err
	}
	if insert(values...) != nil { // a range whose bounds do not fit together, for one
		failed := 0
		for _, v := range values {
			if err := insert(v); err != nil {
				if failed++; failed > 9 {
					t.Fatalf("%s: %s: %v", typ.name, v, err)
				}
			}
		}
	}
	require.NoError(t, insert("NULL"))
	return name
}

func checkLossless(t *testing.T, d *database, tables []string) {
	all := d.open(func(c *Config) { c.All, c.Tables = false, []string{"public.t*"} })
	all.textOnly.Store(true)
	infos := describeAll(t, all)
	// One column that has to be text makes a whole stream text.
	var names []string
	for _, name := range tables {
		if binaryOK(infos[name].cols[1]) {
			names = append(names, "public."+name)
		}
	}
	t.Logf("%d tables, %d of them in binary", len(tables), len(names))
	require.Greater(t, len(names), len(tables)/2)
	some := d.open(func(c *Config) {
		c.All, c.Tables, c.Slot, c.Publication = false, names, c.Slot+"_binary", c.Publication+" binary"
	})
	sources := map[string]*Source{"as text": all, "in binary": some}
	points := map[string]cdc.LSN{}
	for how, s := range sources {
		stream := begin(t, d, s)
		points[how] = stream.Progress()
		require.NoError(t, stream.Close())
	}
	for _, name := range tables {
		d.exec(fmt.Sprintf("INSERT INTO public.%s SELECT id, v FROM public.source_%s ORDER BY id", name, name))
	}
	end := d.now()
	copied := copyAll(t, all, infos)
	for how, s := range sources {
		got := streamed(t, s, points[how], end)
		require.Equal(t, s == some, !s.textOnly.Load())
		require.Len(t, got, map[bool]int{true: len(names), false: len(tables)}[s == some])
		for name, b := range got {
			sameValues(t, copied[name], b, "copied, and streamed "+how+": "+infos[name].rel.Columns[1].SourceType)
			b.Release()
		}
	}
	for _, name := range tables {
		backAgain(t, all, infos[name], copied[name])
		copied[name].Release()
	}
}

// describeAll gives the tables and how their columns are decoded.
func describeAll(t *testing.T, s *Source) map[string]*tableInfo {
	infos := map[string]*tableInfo{}
	rels, err := s.Tables(testContext(t))
	require.NoError(t, err)
	var oids []uint32
	for _, rel := range rels {
		oids = append(oids, rel.OID)
	}
	require.NoError(t, s.admin.with(testContext(t), func(conn *pgconn.PgConn) error {
		all, err := s.describeTables(testContext(t), conn, oids)
		for _, info := range all {
			infos[info.rel.Name] = info
		}
		return err
	}))
	return infos
}

// copyAll copies small tables, each in one batch.
func copyAll(t *testing.T, s *Source, infos map[string]*tableInfo) map[string]*cdc.Batch {
	copied := map[string]*cdc.Batch{}
	snap, err := s.Snapshot(testContext(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, snap.Close()) }()
	for name, info := range infos {
		copyTable(t, snap, info.rel, func(b *cdc.Batch) {
			require.Nil(t, copied[name], "one batch")
			kept := *b
			kept.Rows.Retain()
			copied[name] = &kept
		})
	}
	return copied
}

// streamed reads the batches of the tables between two positions.
func streamed(t *testing.T, s *Source, from, to cdc.LSN) map[string]*cdc.Batch {
	ctx := testContext(t)
	stream, err := s.Stream(ctx, from)
	require.NoError(t, err)
	defer func() { require.NoError(t, stream.Close()) }()
	got := map[string]*cdc.Batch{}
	for cut := from; cut < to; {
		c, err := stream.Next(ctx)
		require.NoError(t, err)
		cut = c.Cut
		for _, it := range c.Items {
			require.Nil(t, got[it.Relation.Name], "one batch of %s", it.Relation)
			got[it.Relation.Name] = it.Batch
		}
	}
	return got
}

// backAgain puts what is stored back into PostgreSQL.
func backAgain(t *testing.T, s *Source, info *tableInfo, b *cdc.Batch) {
	exact := map[int]string{}
	for _, e := range b.Exact {
		require.Equal(t, 1, e.Col)
		exact[e.Row] = e.Text
	}
	typ := info.rel.Columns[1].SourceType
	ctx := context.Background()
	require.NoError(t, s.admin.with(ctx, func(conn *pgconn.PgConn) error {
		rows, err := query(ctx, conn, fmt.Sprintf("SELECT CASE WHEN v IS DISTINCT FROM NULL THEN format('%%s', v) END, v IS DISTINCT FROM NULL FROM public.%s ORDER BY id", info.rel.Name))
		require.NoError(t, err)
		require.Equal(t, len(rows), b.Len())
		for i, r := range rows {
			col := b.Rows.Column(1)
			literal, isExact := exact[i]
			if isExact {
				require.True(t, col.IsNull(i))
				require.Equal(t, r.str(0), literal, typ)
				continue
			}
			require.Equal(t, r.null(0), col.IsNull(i), "%s: %s", typ, r[0])
			if col.IsNull(i) {
				continue
			}
			literal = render(col, i, info.cols[1])
			res := conn.ExecParams(ctx, "SELECT format('%s', CAST($1 AS "+typ+"))", [][]byte{[]byte(literal)}, []uint32{oidText}, nil, nil).Read()
			if res.Err != nil && strings.Contains(res.Err.Error(), "cannot cast") {
				res = conn.ExecParams(ctx, "SELECT format('%s', "+quoteLiteral(literal)+"::"+typ+")", nil, nil, nil, nil).Read()
			}
			require.NoError(t, res.Err, "%s: %s", typ, literal)
			require.Equal(t, r.str(0), string(res.Rows[0][0]), "%s: %s", typ, literal)
		}
		return nil
	}))
}
