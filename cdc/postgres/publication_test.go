package postgres

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

// members lists "publication: schema.table", and the publish parameters.
func members(d *database) (tables, parameters []string) {
	for _, r := range d.exec(`SELECT pubname || ': ' || schemaname || '.' || tablename FROM pg_publication_tables ORDER BY 1`) {
		tables = append(tables, r.str(0))
	}
	for _, r := range d.exec(`SELECT concat_ws(' ', pubname, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot) FROM pg_publication ORDER BY 1`) {
		parameters = append(parameters, r.str(0))
	}
	return tables, parameters
}

func TestPublish(t *testing.T) {
	d := newDatabase(t)
	d.exec(`CREATE SCHEMA "Odd ""S"".x"; CREATE TABLE "Odd ""S"".x"."täble.1" (id int PRIMARY KEY);
		CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);
		CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF root DEFAULT;
		CREATE TABLE bare (v int); CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING`)
	ctx := testContext(t)
	pub := "Pub " + d.name

	strict := d.open(func(c *Config) { c.Exclude = []string{"public.nothing", "public.child"} })
	rels, err := strict.Tables(ctx)
	require.NoError(t, err)
	err = strict.Publish(ctx, rels)
	require.ErrorContains(t, err, "replica identity")
	var e *cdc.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Remedy, `ALTER TABLE "public"."bare" ADD PRIMARY KEY`)
	tables, _ := members(d)
	require.Empty(t, tables, "it refused, and changed something all the same")

	s := d.open(func(c *Config) { c.Keyless, c.Exclude = KeylessInsertOnly, []string{"public.child"} })
	rels, err = s.Tables(ctx)
	require.NoError(t, err)
	var wg sync.WaitGroup // many at once, as after a restart of everything
	for range 4 {
		twin := d.open(func(c *Config) { c.Keyless, c.Exclude = KeylessInsertOnly, []string{"public.child"} })
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := twin.Publish(ctx, rels); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	tables, parameters := members(d)
	require.Equal(t, []string{
		pub + `: Odd "S".x.täble.1`, pub + ": public.parent", pub + ": public.root",
		pub + "_inserts: public.bare", pub + "_inserts: public.nothing",
	}, tables)
	require.Equal(t, []string{pub + " f t t t t t", pub + "_inserts f t f f t t"}, parameters)

	// What is missing is added, and nothing is done twice.
	d.exec("CREATE TABLE later (id int PRIMARY KEY)")
	rels, err = s.Tables(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Publish(ctx, rels))
	require.NoError(t, s.Publish(ctx, rels))
	tables, _ = members(d)
	require.Contains(t, tables, pub+": public.later")
	d.exec("UPDATE bare SET v = 1; DELETE FROM bare") // the application is not hindered
}

// Each difference is refused, changes nothing, and its remedy mends it.
func TestEdge47PublishRefusesWhatIsNotOurs(t *testing.T) {
	for name, make_ := range map[string]string{
		"FOR ALL TABLES": `CREATE PUBLICATION %[1]s FOR ALL TABLES WITH (publish_via_partition_root = true)`,
		"IN SCHEMA":      `CREATE PUBLICATION %[1]s FOR TABLES IN SCHEMA public WITH (publish_via_partition_root = true)`,
		"row filter":     `CREATE PUBLICATION %[1]s FOR TABLE a WHERE (id > 5) WITH (publish_via_partition_root = true)`,
		"column list":    `CREATE PUBLICATION %[1]s FOR TABLE a (id) WITH (publish_via_partition_root = true)`,
		"no identity":    `CREATE PUBLICATION %[1]s FOR TABLE a, other WITH (publish_via_partition_root = true)`,
		"root":           `CREATE PUBLICATION %[1]s FOR TABLE a`,
		"publish just":   `CREATE PUBLICATION %[1]s FOR TABLE a WITH (publish = 'insert', publish_via_partition_root = true)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			d.exec("CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE other (id int)")
			if (name == "IN SCHEMA" || name == "row filter" || name == "column list") && testServer(t).Version() < 15 {
				t.Skip("left out: PostgreSQL 14 has no such publications")
			}
			d.exec(fmt.Sprintf(make_, quoteIdent("Pub "+d.name)))
			s := d.open(func(c *Config) { c.All, c.Tables = false, []string{"public.a"} })
			ctx := testContext(t)
			rels, err := s.Tables(ctx)
			require.NoError(t, err)
			before, parameters := members(d)
			err = s.Publish(ctx, rels)
			require.ErrorContains(t, err, name)
			require.False(t, cdc.Retryable(err) || cdc.NeedsResync(err))
			after, parametersAfter := members(d)
			require.Equal(t, before, after)
			require.Equal(t, parameters, parametersAfter)

			var e *cdc.Error
			require.ErrorAs(t, err, &e)
			d.exec(e.Remedy)
			require.NoError(t, s.Publish(ctx, rels))
			after, _ = members(d)
			require.Equal(t, []string{"Pub " + d.name + ": public.a"}, after)
		})
	}
}

// A table that is in a publication of ours and not selected any more, or has
// become a partition, is left where it is, and stands in nobody's way.
func TestEdge47SurplusTables(t *testing.T) {
	d := newDatabase(t)
	d.exec(`CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE other (id int PRIMARY KEY); CREATE TABLE bare (id int, v int);
		CREATE TABLE root (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE leaf (id int PRIMARY KEY, v int)`)
	s := d.open(func(c *Config) { c.Keyless = KeylessInsertOnly })
	stream := begin(t, d, s)
	d.exec("ALTER TABLE root ATTACH PARTITION leaf FOR VALUES FROM (0) TO (10); CREATE TABLE later (id int PRIMARY KEY)")
	narrow := d.open(func(c *Config) { c.Keyless, c.Exclude = KeylessInsertOnly, []string{"public.other", "public.bare"} })
	rels, err := narrow.Tables(testContext(t))
	require.NoError(t, err)
	require.NoError(t, narrow.Publish(testContext(t), rels))
	tables, _ := members(d)
	pub := "Pub " + d.name
	require.Equal(t, []string{pub + ": public.a", pub + ": public.later", pub + ": public.other", pub + ": public.root", pub + "_inserts: public.bare"}, tables)
	found := check(t, narrow)
	require.ElementsMatch(t, []string{"warning publication_surplus " + pub, "warning publication_surplus " + pub + "_inserts"}, keys(found))
	d.exec("INSERT INTO root VALUES (1, 1); UPDATE leaf SET v = 2; INSERT INTO other VALUES (1)")
	r := newReplica(t)
	r.until(stream, d.now())
	require.Equal(t, map[string][]string{"1": {"1", "2"}}, r.tables["public.root"])
	require.Empty(t, r.tables["public.leaf"], "a partition is its root's")
	d.exec(found["warning publication_surplus "+pub].Remedy + found["warning publication_surplus "+pub+"_inserts"].Remedy)
	require.NoError(t, narrow.Publish(testContext(t), rels))
	require.Empty(t, keys(check(t, narrow)))
}

func TestEdge26PublishWithoutRights(t *testing.T) {
	d := newDatabase(t)
	role := "r_" + d.name
	d.exec(fmt.Sprintf("CREATE TABLE a (id int PRIMARY KEY); CREATE ROLE %[1]s LOGIN REPLICATION PASSWORD '%[2]s'; GRANT SELECT ON a TO %[1]s", role, testPassword))
	defer d.exec(fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", role))
	s := d.open(func(c *Config) { c.DSN = strings.Replace(c.DSN, "postgres:"+testPassword, role+":"+testPassword, 1) })
	ctx := testContext(t)
	rels, err := s.Tables(ctx)
	require.NoError(t, err)
	err = s.Publish(ctx, rels)
	require.Equal(t, codeNoPrivilege, sqlState(err))
	require.ErrorIs(t, err, cdc.ErrDenied)
	var e *cdc.Error
	require.ErrorAs(t, err, &e)
	_, sql, _ := strings.Cut(e.Remedy, "run: ")
	d.exec(sql) // as the superuser
	require.NoError(t, s.Publish(ctx, rels), "what another role made fits, and is used")

	d.exec("CREATE TABLE b (id int PRIMARY KEY)")
	rels, err = s.Tables(ctx)
	require.NoError(t, err)
	err = s.Publish(ctx, rels)
	require.ErrorContains(t, err, "belongs to another role")
	require.ErrorIs(t, err, cdc.ErrDenied)
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Remedy, `ADD TABLE ONLY "public"."b"`)
	require.NoError(t, s.Close())
}

// Publications are shown, planned and dropped for people, too.
func TestPublicationsForPeople(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE bare (v int)")
	s := d.open(func(c *Config) { c.Keyless = KeylessInsertOnly })
	ctx := testContext(t)
	before, _ := members(d)
	sql, err := s.PublishSQL(ctx)
	require.NoError(t, err)
	require.Len(t, sql, 2)
	after, _ := members(d)
	require.Equal(t, before, after, "a plan changes nothing")
	pubs, err := s.Publications(ctx)
	require.NoError(t, err)
	require.Len(t, pubs, 2)
	require.False(t, pubs[0].Exists || pubs[1].Exists)
	for _, statement := range sql {
		d.exec(statement)
	}
	sql, err = s.PublishSQL(ctx)
	require.NoError(t, err)
	require.Empty(t, sql)
	pubs, err = s.Publications(ctx)
	require.NoError(t, err)
	require.Equal(t, "public.a", pubs[0].Tables[0].Table)
	require.Equal(t, []string{"insert", "update", "delete", "truncate"}, pubs[0].Actions)
	require.Equal(t, "public.bare", pubs[1].Tables[0].Table)
	require.Equal(t, []string{"insert", "truncate"}, pubs[1].Actions)
	require.NoError(t, s.DropPublications(ctx))
	require.NoError(t, s.DropPublications(ctx))
	after, parameters := members(d)
	require.Empty(t, after)
	require.Empty(t, parameters)
}

// A report tells who reads the slot, what is held, and what was spilled.
func TestSlotReport(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY, v text)")
	s := d.open(func(c *Config) { c.DSN, c.Streaming = c.DSN+"&logical_decoding_work_mem=64", StreamingOff })
	ctx := testContext(t)
	_, err := s.Report(ctx, 0)
	require.ErrorIs(t, err, cdc.ErrNoSlot)
	stream := begin(t, d, s)
	d.exec("INSERT INTO a SELECT g, repeat('x', 1000) FROM generate_series(1, 5000) g")
	newReplica(t).until(stream, d.now())
	require.Eventually(t, func() bool { // the server counts now and then
		rep, err := s.Report(ctx, 0)
		require.NoError(t, err)
		return rep.Decoding != nil && rep.Decoding.SpillBytes > 0 && rep.Decoding.TotalTransactions > 0 && rep.Stream != nil && rep.Stream.State == "streaming" && rep.Stream.LastReply != nil
	}, 30*time.Second, 100*time.Millisecond)
	rep, err := s.Report(ctx, 300*time.Millisecond)
	require.NoError(t, err)
	require.True(t, rep.Slot.Active)
	require.Equal(t, "lakeload "+s.config.Slot, rep.Slot.Holder.Application)
	require.NotNil(t, rep.WALRate)
	require.Nil(t, rep.LastsSeconds, "no limit is set")
	require.NotNil(t, rep.Stream.SilentSeconds)
	require.Nil(t, rep.Reading)
	copying, err := s.Snapshot(ctx)
	require.NoError(t, err)
	rep, err = s.Report(ctx, 0)
	require.NoError(t, err)
	require.NotNil(t, rep.Reading, "a snapshot is open")
	require.Equal(t, 1, rep.Reading.Sessions)
	require.Less(t, rep.Reading.Seconds, 60.0)
	require.NoError(t, copying.Close())
	require.NoError(t, stream.Close())
	require.Eventually(t, func() bool {
		rep, err = s.Report(ctx, 0)
		require.NoError(t, err)
		return rep.Stream == nil && !rep.Slot.Active
	}, 20*time.Second, 50*time.Millisecond)
	require.Positive(t, rep.HeldBytes)
}
