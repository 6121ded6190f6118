package postgres

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// message makes a Relation message as the server would send it of rel.
func message(rel *cdc.Relation, names ...string) relationMessage {
	m := relationMessage{OID: rel.OID, Schema: rel.Schema, Name: rel.Name, Identity: rel.Identity}
	for i, c := range rel.Columns {
		col := relationColumn{Name: c.Name, TypeOID: c.TypeOID, TypeMod: c.TypeMod, Key: rel.IsKey(i) || rel.Identity == cdc.IdentityFull}
		if i < len(names) {
			col.Name = names[i]
		}
		m.Columns = append(m.Columns, col)
	}
	return m
}

// TestEdge42AStreamThatIsBehindDoesNotWaitForColumnsThatAreGone: what was
// announced before a column was dropped is read after that. A transaction that is
// seen already has nothing that is still to be waited for. Who waits for changes
// gets some before all have been looked up.
func TestEdge42AStreamThatIsBehindDoesNotWaitForColumnsThatAreGone(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY, gone0 text)")
	s := d.open()
	ctx := testContext(t)
	rel := table(t, s, "public.a")
	require.NoError(t, s.Publish(ctx, []*cdc.Relation{rel}))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	from := snap.Point()
	require.NoError(t, snap.Close())
	const times = 100 // each would wait for visibleWithin
	for i := range times {
		d.exec(fmt.Sprintf("INSERT INTO a VALUES (%[1]d, 'x'); ALTER TABLE a DROP gone%[1]d; ALTER TABLE a ADD gone%[2]d text", i, i+1))
	}
	short, cancel := context.WithTimeout(ctx, times*visibleWithin*4/5)
	defer cancel()
	st, err := s.Stream(short, from)
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	chunks := 0
	for rows := 0; rows < times; chunks++ {
		c, err := st.Next(short)
		require.NoError(t, err, "after %d rows", rows)
		for _, it := range c.Items {
			if it.Batch != nil {
				rows += it.Batch.Len()
			}
		}
		c.Release()
	}
	require.Greater(t, chunks, 1)
}

// The stream's relation is the message's, with what the catalogue adds; it is
// the same shape as Tables gives while nothing has changed.
func TestTableByOID(t *testing.T) {
	d := newDatabase(t)
	d.exec(`CREATE TYPE mood AS ENUM ('a'); CREATE TABLE a (id int PRIMARY KEY, m mood, n numeric(10,2) NOT NULL); INSERT INTO a VALUES (1, 'a', 2);
		ALTER TABLE a ADD later int DEFAULT 5;
		CREATE TABLE f (x int, id int PRIMARY KEY); ALTER TABLE f REPLICA IDENTITY FULL; CREATE TABLE bare (v int); CREATE TABLE out (id int)`)
	s := d.open(func(c *Config) { c.Exclude = []string{"public.out"} })
	ctx := testContext(t)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	byName := map[string]*cdc.Relation{}
	for _, rel := range rels {
		byName[rel.Name] = rel
		info, err := s.resolver.tableByOID(ctx, rel.OID, message(rel))
		require.NoError(t, err)
		require.Equal(t, rel, info.rel)
		require.Len(t, info.cols, len(rel.Columns))
	}
	require.Equal(t, "numeric(10,2)", byName["a"].Columns[2].SourceType)
	require.Equal(t, "public.mood", byName["a"].Columns[1].SourceType)
	require.Equal(t, cdc.MissingValue, byName["a"].Columns[3].Missing.Kind)
	require.Equal(t, []int{1}, byName["f"].Key)
	require.True(t, byName["bare"].InsertOnly)

	info, err := s.resolver.tableByOID(ctx, 1, relationMessage{OID: 1, Schema: "public", Name: "out"})
	require.NoError(t, err)
	require.Nil(t, info, "not selected")

	// The message is older than the catalogue: its own columns count.
	d.exec("ALTER TABLE a RENAME m TO mm; ALTER TABLE a ALTER n TYPE text; ALTER TABLE f DROP CONSTRAINT f_pkey")
	info, err = s.resolver.tableByOID(ctx, byName["a"].OID, message(byName["a"]))
	require.NoError(t, err)
	require.True(t, info.rel.SameShape(byName["a"]))
	require.Equal(t, "numeric(10,2)", info.rel.Columns[2].SourceType, "as it was known before")
	info, err = s.resolver.tableByOID(ctx, byName["f"].OID, message(byName["f"]))
	require.NoError(t, err)
	require.Empty(t, info.rel.Key, "the table has no primary key any more")

	// The table is gone, and a renamed one is still ours.
	d.exec("DROP TABLE a")
	info, err = s.resolver.tableByOID(ctx, byName["a"].OID, message(byName["a"]))
	require.NoError(t, err)
	require.True(t, info.rel.SameShape(byName["a"]))
	strict := d.open(func(c *Config) { c.All, c.Tables = false, []string{"public.bare"} })
	_, err = strict.Tables(ctx)
	require.NoError(t, err)
	moved := message(byName["bare"])
	moved.Name = "elsewhere"
	info, err = strict.resolver.tableByOID(ctx, moved.OID, moved)
	require.NoError(t, err)
	require.Equal(t, "public.elsewhere", info.rel.String())
}

// Under FULL the key is the primary key's, which the stream does not tell.
func TestFullKeyOfADroppedTable(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE f (x int, id int PRIMARY KEY); ALTER TABLE f REPLICA IDENTITY FULL")
	s := d.open()
	ctx := testContext(t)
	rel := table(t, s, "public.f")
	d.exec("DROP TABLE f")
	info, err := s.resolver.tableByOID(ctx, rel.OID, message(rel))
	require.NoError(t, err)
	require.Equal(t, []int{1}, info.rel.Key)
	info, err = s.resolver.tableByOID(ctx, rel.OID, message(rel, "x", "renamed"))
	require.NoError(t, err)
	require.Empty(t, info.rel.Key)
}

// What the stream sends of a table is the shape that Tables gives.
func TestStreamAndTablesAgree(t *testing.T) {
	d := newDatabase(t)
	d.exec(sqlTypesOfTests)
	sql := "CREATE TABLE v (id int PRIMARY KEY, gen int GENERATED ALWAYS AS (id + 1) STORED"
	for i, c := range allTypes {
		sql += fmt.Sprintf(", c%d %s", i, c.column)
	}
	d.exec(sql + `); CREATE TABLE root (id int, k int, v text, PRIMARY KEY (k, id)) PARTITION BY LIST (k); CREATE TABLE leaf (v text, k int NOT NULL, id int NOT NULL);
		ALTER TABLE root ATTACH PARTITION leaf DEFAULT; CREATE TABLE bare (v int);
		CREATE TABLE incl (a int, b int NOT NULL, c int); CREATE UNIQUE INDEX i ON incl (b) INCLUDE (c); ALTER TABLE incl REPLICA IDENTITY USING INDEX i;
		CREATE TABLE f (x int, id int PRIMARY KEY); ALTER TABLE f REPLICA IDENTITY FULL`)
	s := d.open(func(c *Config) { c.Keyless = KeylessInsertOnly; c.Exclude = []string{"public.mine"} })
	ctx := testContext(t)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Publish(ctx, rels))
	snap, err := s.CreateSlot(ctx)
	require.NoError(t, err)
	require.NoError(t, snap.Close())
	d.exec("INSERT INTO v (id) VALUES (1); INSERT INTO root VALUES (1, 2, 'x'); INSERT INTO bare VALUES (1); INSERT INTO incl VALUES (1, 2, 3); INSERT INTO f VALUES (1, 2)")
	end, err := cdc.ParseLSN(d.exec("SELECT pg_current_wal_lsn()")[0].str(0))
	require.NoError(t, err)
	d.exec("INSERT INTO f VALUES (3, 4)")
	seen := map[uint32]*cdc.Relation{}
	streamUntil(t, s, snap.Point(), end, func(item cdc.Item) { seen[item.Relation.OID] = item.Relation })
	require.Len(t, seen, len(rels))
	for _, rel := range rels {
		require.Equal(t, rel, seen[rel.OID], rel.String())
	}
}

// A shape that the catalogue has gone on from comes with what it has gone on to.
func TestEdge44ALaterShape(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY, x text, v int)")
	s := d.open()
	ctx := testContext(t)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	before := rels[0]
	d.exec("ALTER TABLE a DROP v; ALTER TABLE a ADD v int DEFAULT 7; ALTER TABLE a RENAME v TO w")
	info, err := s.resolver.tableByOID(ctx, before.OID, message(before))
	require.NoError(t, err)
	for _, c := range info.rel.Columns {
		require.Zero(t, c.ID)
	}
	require.Equal(t, &cdc.Later{Dropped: 3, Columns: []cdc.LaterColumn{
		{ID: 1, TypeOID: 23, TypeMod: -1}, {ID: 2, TypeOID: 25, TypeMod: -1}, {ID: 4, TypeOID: 23, TypeMod: -1},
	}}, info.rel.Later)
	require.True(t, info.rel.Later.MayReplace(3, &info.rel.Columns[2], 3))
	require.False(t, info.rel.Later.MayReplace(2, &info.rel.Columns[1], 3))
	require.False(t, info.rel.Later.MayReplace(3, &info.rel.Columns[1], 3), "of another type")

	now, err := s.Tables(ctx)
	require.NoError(t, err)
	info, err = s.resolver.tableByOID(ctx, before.OID, message(now[0]))
	require.NoError(t, err)
	require.Nil(t, info.rel.Later)
}
