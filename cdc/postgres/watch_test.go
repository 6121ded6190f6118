package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// What is done to a table, and what is told of it. Edge cases 43 (rows that an
// ALTER TABLE wrote anew) and 46 (partitions).
var untold = []struct {
	name, before, after string
	notices             []cdc.Notice
}{
	{name: "nothing", after: "INSERT INTO t VALUES (7); UPDATE t SET v = 1; DELETE FROM t WHERE id = 2"},
	{name: "the columns come and go", after: "ALTER TABLE t ADD a int, ADD b int DEFAULT 5; ALTER TABLE t DROP v"},
	{
		name: "a column comes with a value for each row", after: "ALTER TABLE t ADD c uuid DEFAULT gen_random_uuid()",
		notices: []cdc.Notice{{Kind: cdc.NoticeColumns, Text: "its columns changed, and its rows were written anew, perhaps with other values"}},
	},
	{name: "a column is renamed", after: "ALTER TABLE t RENAME v TO w"},
	{name: "a column is altered without a rewrite", after: "ALTER TABLE t ALTER v SET STATISTICS 7, ALTER v SET DEFAULT 4"},
	{name: "the table is moved", after: "VACUUM FULL t"},
	{name: "a column is altered and the table moved", after: "ALTER TABLE t ALTER v SET STATISTICS 7; VACUUM FULL t"},
	{name: "the table is emptied, of which the stream tells", after: "TRUNCATE t"},
	{
		name: "values change under one type", after: "ALTER TABLE t ALTER v TYPE int USING v + 1",
		notices: []cdc.Notice{{Kind: cdc.NoticeRewrite, Text: "an ALTER TABLE wrote the rows of public.t anew, perhaps with other values"}},
	},
	{
		name: "values change, and columns besides", after: "ALTER TABLE t ALTER v TYPE int USING v + 1, ADD a int",
		notices: []cdc.Notice{{Kind: cdc.NoticeColumns, Text: "its columns changed, and its rows were written anew, perhaps with other values"}},
	},
	{name: "rows of partitions", after: "INSERT INTO p VALUES (8, 1), (9, 2); UPDATE p SET k = 2 WHERE id = 8; VACUUM FULL p1; VACUUM FULL p2"},
	{name: "a partition is made", after: "CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3); INSERT INTO p VALUES (3, 3)"},
	{name: "a partition is made and filled at once", after: "BEGIN; CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3); INSERT INTO p VALUES (3, 3); COMMIT"},
	{name: "an empty table is attached", before: "CREATE TABLE p3 (k int, id int)", after: "ALTER TABLE p ATTACH PARTITION p3 FOR VALUES IN (3); INSERT INTO p VALUES (3, 3)"},
	{
		name: "a table is attached with rows", before: "CREATE TABLE p3 (k int, id int); INSERT INTO p3 VALUES (3, 3)",
		after:   "ALTER TABLE p ATTACH PARTITION p3 FOR VALUES IN (3); INSERT INTO p VALUES (4, 3)",
		notices: []cdc.Notice{{Kind: cdc.NoticePartition, Text: "the partition public.p3 was attached with rows"}},
	},
	{
		name: "a table is made, filled and attached at once", after: "BEGIN; CREATE TABLE p3 (id int, k int); INSERT INTO p3 VALUES (3, 3); ALTER TABLE p ATTACH PARTITION p3 FOR VALUES IN (3); COMMIT",
		notices: []cdc.Notice{{Kind: cdc.NoticePartition, Text: "the partition public.p3 was attached with rows"}},
	},
	{
		name: "a tree is attached", before: "CREATE TABLE m (id int, k int) PARTITION BY LIST (id); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1); INSERT INTO m VALUES (1, 3)",
		after:   "ALTER TABLE p ATTACH PARTITION m FOR VALUES IN (3)",
		notices: []cdc.Notice{{Kind: cdc.NoticePartition, Text: "the partition public.m1 was attached with rows"}},
	},
	{
		name: "a partition is detached", after: "ALTER TABLE p DETACH PARTITION p1",
		notices: []cdc.Notice{{Kind: cdc.NoticePartition, Text: "the partition public.p1 was detached or dropped"}},
	},
	{
		name: "a partition is detached without a lock", after: "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY",
		notices: []cdc.Notice{{Kind: cdc.NoticePartition, Text: "the partition public.p1 was detached or dropped"}},
	},
	{
		name: "a partition is dropped", after: "DROP TABLE p2",
		notices: []cdc.Notice{{Kind: cdc.NoticePartition, Text: "the partition public.p2 was detached or dropped"}},
	},
	{
		name: "a partition is replaced", after: "BEGIN; ALTER TABLE p DETACH PARTITION p1; ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (1); COMMIT",
		notices: []cdc.Notice{{Kind: cdc.NoticePartition, Text: "the partition public.p1 was attached with rows"}},
	},
	{
		name: "a partition is emptied", after: "TRUNCATE p1; INSERT INTO p VALUES (5, 1)",
		notices: []cdc.Notice{{Kind: cdc.NoticePartition, Text: "the partition public.p1 was emptied, or written anew", Emptied: true}},
	},
	{
		name: "all partitions are emptied", after: "TRUNCATE p",
		notices: []cdc.Notice{
			{Kind: cdc.NoticePartition, Text: "the partition public.p1 was emptied, or written anew", Emptied: true, Whole: true},
			{Kind: cdc.NoticePartition, Text: "the partition public.p2 was emptied, or written anew", Emptied: true, Whole: true},
		},
	},
	{
		name: "a partition is emptied and a column comes", after: "ALTER TABLE p ADD a int; TRUNCATE p1",
		notices: []cdc.Notice{{Kind: cdc.NoticePartition, Text: "the partition public.p1 was emptied, or written anew", Emptied: true}},
	},
	{name: "a partition that was never filled is moved", after: "VACUUM FULL p0"},
	{
		name: "values of partitions change", after: "ALTER TABLE p ALTER id TYPE int USING id + 1",
		notices: []cdc.Notice{
			{Kind: cdc.NoticeRewrite, Text: "an ALTER TABLE wrote the rows of public.p1 anew, perhaps with other values"},
			{Kind: cdc.NoticeRewrite, Text: "an ALTER TABLE wrote the rows of public.p2 anew, perhaps with other values"},
		},
	},
	{
		name: "the type of partitions changes", after: "ALTER TABLE p ALTER id TYPE bigint",
		notices: []cdc.Notice{{Kind: cdc.NoticeColumns, Text: "its columns changed, and its rows were written anew, perhaps with other values"}},
	},
	{
		name: "a partition is not logged", before: "", after: "ALTER TABLE p2 SET UNLOGGED",
		notices: []cdc.Notice{{Kind: cdc.NoticeSilent, Text: "the changes of public.p2 are not in the write-ahead log any more: it is unlogged"}},
	},
}

// TestEdge43And46Watched: what no stream tells is seen in the catalogue, and
// what one tells, or changes no row, is not taken for it.
func TestEdge43And46Watched(t *testing.T) {
	for _, tc := range untold {
		t.Run(tc.name, func(t *testing.T) {
			d := newDatabase(t)
			d.exec(`CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3);
				CREATE TABLE p (id int, k int) PARTITION BY LIST (k);
				CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
				INSERT INTO p VALUES (1, 1), (2, 2)`)
			d.each(tc.before)
			s := d.open()
			ctx := testContext(t)
			rels, err := s.Tables(ctx)
			require.NoError(t, err)
			var oids []uint32
			for _, rel := range rels {
				if rel.Name == "t" || rel.Name == "p" {
					oids = append(oids, rel.OID)
				}
			}
			require.Len(t, oids, 2)
			was := d.settledLook(s, oids)
			again := d.settledLook(s, oids)
			d.each(tc.after)
			is := d.settledLook(s, oids)
			var got []cdc.Notice
			for _, oid := range oids {
				require.Equal(t, was[oid].Text, again[oid].Text, "two looks at one state say one thing")
				old := again[oid]
				old.Relation = nil
				notices, err := s.Compare(ctx, old, is[oid])
				require.NoError(t, err)
				got = append(got, notices...)
			}
			for i := range got {
				require.Equal(t, got[i].Emptied, got[i].XID != 0)
				got[i].XID = 0
			}
			require.ElementsMatch(t, tc.notices, got)
		})
	}
}

// each runs statements one by one, as VACUUM asks for.
func (d *database) each(sql string) {
	d.t.Helper()
	for _, s := range strings.Split(sql, "; ") {
		if s != "" {
			d.exec(s)
		}
	}
}

// settledLook looks at tables once no transaction of others is under way, whose
// rows a look could not tell from later ones.
func (d *database) settledLook(s *Source, oids []uint32) map[uint32]cdc.Look {
	d.t.Helper()
	ctx := testContext(d.t)
	var looks map[uint32]cdc.Look
	require.Eventually(d.t, func() bool {
		var err error
		looks, err = s.Look(ctx, oids)
		require.NoError(d.t, err)
		return d.exec("SELECT pg_snapshot_xmin(pg_current_snapshot()) = pg_snapshot_xmax(pg_current_snapshot())")[0].bool(0)
	}, 30*time.Second, 10*time.Millisecond)
	return looks
}

func TestLookAtNothing(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE gone (id int)")
	s := d.open()
	ctx := testContext(t)
	rel := table(t, s, "public.t")
	oid := table(t, s, "public.gone").OID
	d.exec("DROP TABLE gone")
	looks, err := s.Look(ctx, []uint32{rel.OID, oid})
	require.NoError(t, err)
	require.Len(t, looks, 1)
	require.Equal(t, rel.Files, looks[rel.OID].Relation.Files)
	_, err = s.Compare(ctx, cdc.Look{Text: "{", Since: "{}"}, looks[rel.OID])
	require.Error(t, err)
}
