package tablefmt

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// writeJSON writes rows of JSON by the table's own writer.
func writeJSON(t *testing.T, s *Snapshot, o FileOptions, rows string) (*AddFile, error) {
	t.Helper()
	w, err := s.NewFileWriter(context.Background(), o)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.DataArrow(), strings.NewReader(rows))
	require.NoError(t, err)
	defer rec.Release()
	if _, err := w.Write(rec); err != nil {
		return nil, err
	}
	return w.Close()
}

func setMetadata(s *Snapshot, change func(*Metadata)) (*Snapshot, error) {
	m := s.Metadata().Clone()
	change(m)
	tx := Begin(s.Location(), s)
	tx.SetMetadata(m)
	return tx.Commit(context.Background())
}

func TestPropertiesAreHeldAgainstWhatTheyCanBe(t *testing.T) {
	s := create(t, memoryTable(), idSchema)
	for key, values := range map[string][2]string{
		PropAppendOnly: {"True", "yes"}, PropCheckpointInterval: {"7", "0"}, PropStatsNumColumns: {"-1", "-2"}, PropLogRetention: {"interval 3 days", "3 months"},
		PropTargetSize: {"100mb", "large"}, PropRandomLength: {"3", "x"}, PropIsolationLevel: {"serializable", "ReadCommitted"}, PropCheckpointPolicy: {"v2", "v3"},
		PropCodec: {"SNAPPY", "rar"}, PropStatsColumns: {"`id`", "nothing"}, "delta.parquet.format.version": {"2.12.0", "3.0.0"}, PropRowTracking: {"false", "1"},
		"delta.unknownToUs": {"anything", ""},
	} {
		if key == PropAppendOnly {
			continue // below: it needs its feature
		}
		next, err := setMetadata(s, func(m *Metadata) { m.Configuration[key] = values[0] })
		require.NoError(t, err, key)
		require.Equal(t, values[0], next.Property(key))
		s = next
		if values[1] == "" {
			continue
		}
		_, err = setMetadata(s, func(m *Metadata) { m.Configuration[key] = values[1] })
		require.ErrorIs(t, err, ErrInvalid, key)
		require.ErrorContains(t, err, key)
	}
	_, err := setMetadata(s, func(m *Metadata) { m.Configuration[PropAppendOnly] = "yes" })
	require.ErrorContains(t, err, PropAppendOnly)
	// What is there already, whoever set it, hinders nobody.
	tx := Begin(s.Location(), s)
	m := s.Metadata().Clone()
	m.Configuration["delta.checkpointInterval"] = "many"
	tx.restores = true
	tx.SetMetadata(m)
	s = must(tx.Commit(context.Background()))
	_, err = setMetadata(s, func(m *Metadata) { m.Configuration["other"] = "x" })
	require.NoError(t, err)
}

func TestFilesAreAsPropertiesWant(t *testing.T) {
	schema := &Schema{Fields: []Field{{Name: "id", Type: Long, Nullable: true}, {Name: "p", Type: String, Nullable: true}}}
	tx := Begin(memoryTable(), nil)
	tx.SetProtocol(MirrorProtocol(ProtocolOptions{}))
	tx.SetMetadata(&Metadata{SchemaString: schema.JSON(), PartitionColumns: []string{"p"}, Configuration: map[string]string{
		PropCodec: "gzip", PropRandomFolder: "TRUE", PropRandomLength: "5", PropTargetSize: "3m", PropWritePartitions: "true",
	}})
	s := must(tx.Commit(context.Background()))
	size, ok := s.TargetFileSize()
	require.True(t, ok)
	require.Equal(t, int64(3<<20), size)
	a, err := writeJSON(t, s, FileOptions{PartitionValues: map[string]*string{"p": ptr("x")}}, `[{"id":1},{"id":2}]`)
	require.NoError(t, err)
	require.Regexp(t, `^[A-Za-z0-9]{5}/part-.*\.gz\.parquet$`, a.Path)
	require.NotContains(t, a.Stats, `"p"`, "partition columns have no statistics")
	r, err := s.Location().Data.Open(context.Background(), a.Path)
	require.NoError(t, err)
	defer r.Close()
	f, err := colfile.OpenFile(r, r.Size())
	require.NoError(t, err)
	require.NoError(t, f.Read(context.Background(), colfile.ReadOptions{Schema: s.Arrow()}, func(rec arrow.RecordBatch, _ int64) error {
		require.Equal(t, "x", rec.Column(1).ValueStr(1), "they stand in the file")
		return nil
	}))
	s = addAll(t, s, *a)
	require.Equal(t, []string{"1|x", "2|x"}, pipes(t, s))

	s, err = setMetadata(s, func(m *Metadata) { m.Configuration[PropCodec] = "lz4_raw" })
	require.NoError(t, err)
	_, err = writeJSON(t, s, FileOptions{PartitionValues: map[string]*string{"p": nil}}, `[{"id":1}]`)
	var u *UnsupportedFeatureError
	require.ErrorAs(t, err, &u)
	require.ErrorContains(t, err, "lz4_raw")
}

func pipes(t *testing.T, s *Snapshot) (out []string) {
	t.Helper()
	require.NoError(t, s.Scan(context.Background(), ScanOptions{}, func(rec arrow.RecordBatch) error {
		for i := range int(rec.NumRows()) {
			var row []string
			for _, c := range rec.Columns() {
				row = append(row, c.ValueStr(i))
			}
			out = append(out, strings.Join(row, "|"))
		}
		return nil
	}))
	slices.Sort(out)
	return out
}

func TestPartitionColumnsStandInFilesWhereTheyMust(t *testing.T) {
	schema := &Schema{Fields: []Field{{Name: "p", Type: Date, Nullable: true}, {Name: "id", Type: Long, Nullable: true}}}
	p, err := MirrorProtocol(ProtocolOptions{}).With("materializePartitionColumns")
	require.NoError(t, err)
	tx := Begin(memoryTable(), nil)
	tx.SetProtocol(p)
	tx.SetMetadata(&Metadata{SchemaString: schema.JSON(), PartitionColumns: []string{"p"}})
	s := must(tx.Commit(context.Background()))
	day := ptr("2024-02-29")
	a, err := writeJSON(t, s, FileOptions{PartitionValues: map[string]*string{"p": day}}, `[{"id":1}]`)
	require.NoError(t, err)
	b, err := writeJSON(t, s, FileOptions{PartitionValues: map[string]*string{"p": nil}}, `[{"id":2}]`)
	require.NoError(t, err)
	s = addAll(t, s, *a, *b)
	require.Equal(t, []string{"(null)|2", "2024-02-29|1"}, pipes(t, s))
	w, err := NewFileWriter(context.Background(), s.Location(), s.DataArrow(), FileOptions{PartitionValues: map[string]*string{"p": day}})
	require.NoError(t, err)
	without, err := w.Close()
	require.NoError(t, err)
	tx = Begin(s.Location(), s)
	tx.Add(*without)
	_, err = tx.Commit(context.Background())
	var u *UnsupportedFeatureError
	require.ErrorAs(t, err, &u)
	require.ErrorContains(t, err, "materializePartitionColumns")
}

func TestClusteredTables(t *testing.T) {
	fields := []Field{}
	for i := range 40 {
		fields = append(fields, Field{Name: fmt.Sprint("c", i), Type: Long, Nullable: true})
	}
	fields = append(fields, Field{Name: "s", Nullable: true, Type: &Struct{Fields: []Field{{Name: "x", Type: Long, Nullable: true}}}})
	schema := &Schema{Fields: fields}
	p, err := MirrorProtocol(ProtocolOptions{}).With("clustering", "domainMetadata")
	require.NoError(t, err)
	tx := Begin(memoryTable(), nil)
	tx.SetProtocol(p)
	tx.SetMetadata(&Metadata{SchemaString: schema.JSON(), Configuration: map[string]string{PropStatsNumColumns: "1", PropDeletionVectors: "true"}})
	tx.SetClustering([][]string{{"c39"}, {"s", "x"}})
	s := must(tx.Commit(context.Background()))
	columns, err := s.ClusteringColumns()
	require.NoError(t, err)
	require.Equal(t, [][]string{{"c39"}, {"s", "x"}}, columns)
	a, err := writeJSON(t, s, FileOptions{}, `[{"c0":1,"c39":2,"s":{"x":3}}]`)
	require.NoError(t, err)
	require.Equal(t, `{"numRecords":1,"minValues":{"c0":1,"c39":2,"s":{"x":3}},"maxValues":{"c0":1,"c39":2,"s":{"x":3}},"nullCount":{"c0":0,"c39":0,"s":{"x":0}},"tightBounds":true}`, a.Stats)
	a.ClusteringProvider = "liquid"
	s = addAll(t, s, *a)
	again, ok := s.File(a.Path)
	require.True(t, ok)
	require.Equal(t, "liquid", again.ClusteringProvider)
	w, err := NewFileWriter(context.Background(), s.Location(), s.DataArrow(), FileOptions{})
	require.NoError(t, err)
	without, err := w.Close()
	require.NoError(t, err)
	tx = Begin(s.Location(), s)
	tx.Add(*without)
	_, err = tx.Commit(context.Background())
	require.ErrorContains(t, err, `"c39"`)
	_, err = setMetadata(s, func(m *Metadata) { m.SchemaString = (&Schema{Fields: fields[:39]}).JSON() })
	require.ErrorContains(t, err, "clustered by it")
	for bad, want := range map[string][]string{"no statistics": {"c38"}, "no column": {"q"}, "no order": {"s"}} {
		tx = Begin(s.Location(), s)
		tx.SetClustering([][]string{want})
		_, err = tx.Commit(context.Background())
		require.ErrorContains(t, err, bad)
	}
	tx = Begin(s.Location(), s)
	tx.SetClustering([][]string{{"c0"}})
	s = must(tx.Commit(context.Background()))
	require.Equal(t, [][]string{{"c0"}}, must(s.ClusteringColumns()))
	_, err = parseClustering(`{"clusteringColumns":["plain"]}`)
	require.NoError(t, err)
	for _, bad := range []string{"", "{", `{"clusteringColumns":[7]}`, `{"clusteringColumns":[[]]}`} {
		_, err = parseClustering(bad)
		require.Error(t, err, bad)
	}
}

func TestRulesWithoutSpark(t *testing.T) {
	ctx := context.Background()
	schema := &Schema{Fields: []Field{
		{Name: "x", Type: Integer, Nullable: true, Metadata: map[string]any{metaInvariants: `{"expression":{"expression":"x > 3"}}`}}, {Name: "y", Type: Long, Nullable: true},
	}}
	tx := Begin(memoryTable(), nil)
	tx.SetProtocol(&Protocol{MinReaderVersion: 1, MinWriterVersion: 3})
	tx.SetMetadata(&Metadata{SchemaString: schema.JSON(), Configuration: map[string]string{"delta.constraints.low": "y < 10 OR y IS NULL"}})
	s := must(tx.Commit(ctx))
	good, err := writeJSON(t, s, FileOptions{}, `[{"x":4},{"x":5,"y":9}]`)
	require.NoError(t, err)
	for rows, want := range map[string]string{
		`[{"x":3}]`:        `the invariant of column "x" (x > 3) does not hold for a row with x = 3`,
		`[{}]`:             "x = null",
		`[{"x":4,"y":10}]`: `the CHECK constraint "low" (y < 10 OR y IS NULL) does not hold for a row with y = 10`,
	} {
		_, err := writeJSON(t, s, FileOptions{}, rows)
		var broken *ConstraintError
		require.ErrorAs(t, err, &broken)
		require.ErrorContains(t, err, want)
	}
	// A row that breaks a rule leaves the file as it was.
	w, err := s.NewFileWriter(ctx, FileOptions{})
	require.NoError(t, err)
	for _, rows := range []string{`[{"x":4}]`, `[{"x":1}]`, `[{"x":6}]`} {
		rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.DataArrow(), strings.NewReader(rows))
		require.NoError(t, err)
		_, err = w.WriteRows(rec, []int32{0, 0})
		if rows == `[{"x":1}]` {
			require.ErrorIs(t, err, ErrInvalid)
		} else {
			require.NoError(t, err)
		}
	}
	require.Equal(t, int64(4), w.Rows())
	more, err := w.Close()
	require.NoError(t, err)
	s = addAll(t, s, *good, *more)

	// Rules that came after the rows were written.
	late, err := writeJSON(t, s, FileOptions{}, `[{"x":9}]`)
	require.NoError(t, err)
	s, err = AddConstraint(ctx, s, "Small", "x < 100")
	require.NoError(t, err)
	require.Equal(t, "x < 100", s.Property("delta.constraints.small"))
	tx = Begin(s.Location(), s)
	tx.Add(*late)
	_, err = tx.Commit(ctx)
	var u *UnsupportedFeatureError
	require.ErrorAs(t, err, &u)
	for _, bad := range [][2]string{{"small", "x < 1000"}, {"a b", "x < 1000"}, {"few", "x < 5"}} {
		_, err = AddConstraint(ctx, s, bad[0], bad[1])
		require.ErrorIs(t, err, ErrInvalid, bad)
	}
	_, err = AddConstraint(ctx, s, "odd", "rand() < 2")
	var e *ExpressionError
	require.ErrorAs(t, err, &e)
	require.NotErrorIs(t, err, ErrInvalid)
	_, err = setMetadata(s, func(m *Metadata) { m.Configuration["delta.constraints.quiet"] = "x > 0" })
	require.ErrorIs(t, err, ErrInvalid, "nobody has looked at the rows")
	_, err = setMetadata(s, func(m *Metadata) { delete(m.Configuration, "delta.constraints.small") })
	require.NoError(t, err)
}

// Files that nobody vouches for, as another table's: their rows are held against the
// rules before they come.
func TestRowsOfAnotherTableAreHeld(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	from := create(t, Location{Data: loc.Data, Log: objstore.Sub(loc.Data, "other_log")}, idSchema)
	good, bad := must(writeJSON(t, from, FileOptions{}, `[{"id":1},{"id":2}]`)), must(writeJSON(t, from, FileOptions{}, `[{"id":3},{"id":-4}]`))
	s := must(AddConstraint(ctx, create(t, loc, idSchema), "positive", "id > 0"))
	one := addAll(t, from, *good)
	both := addAll(t, one, *bad)
	fill := func(held *Snapshot) error {
		tx := Begin(loc, s)
		for add := range both.Files() {
			if _, there := held.File(add.Path); there || held == from {
				next := *add
				next.made = nil // as if another process had written it
				tx.Add(next)
			}
		}
		if held != from {
			if err := tx.HoldRows(ctx, held); err != nil {
				return err
			}
		}
		_, err := tx.Commit(ctx)
		return err
	}
	var broken *ConstraintError
	require.ErrorAs(t, fill(both), &broken)
	require.Equal(t, []ColumnText{{"id", "-4"}}, broken.Values)
	var u *UnsupportedFeatureError
	require.ErrorAs(t, fill(from), &u, "nobody has looked")
	require.NoError(t, fill(one))
	require.Equal(t, 1, must(Load(ctx, loc)).NumFiles())

	other := create(t, memoryTable(), &Schema{Fields: []Field{{Name: "id", Type: String, Nullable: true}}})
	require.ErrorIs(t, Begin(loc, s).HoldRows(ctx, other), ErrInvalid)
	require.ErrorIs(t, Begin(memoryTable(), nil).HoldRows(ctx, one), ErrInvalid)
	require.NoError(t, Begin(from.Location(), from).HoldRows(ctx, other), "there is no rule")
}

func TestIdentityColumns(t *testing.T) {
	ctx := context.Background()
	identity := func(explicit bool, mark string) *Schema {
		return &Schema{Fields: []Field{
			{Name: "id", Type: Long, Nullable: true, Metadata: map[string]any{metaIdentityStart: 1, metaIdentityStep: 1, metaIdentityExplicit: explicit, metaIdentityMark: json.Number(mark)}},
			{Name: "v", Type: Long, Nullable: true},
		}}
	}
	s := createWith(t, identity(false, "3"), map[string]string{PropDeletionVectors: "true"}, "identityColumns")
	_, err := writeJSON(t, s, FileOptions{}, `[{"id":1}]`)
	var u *UnsupportedFeatureError
	require.ErrorAs(t, err, &u)
	require.ErrorContains(t, err, "identity")
	s = createWith(t, identity(true, "3"), map[string]string{PropDeletionVectors: "true"}, "identityColumns")
	_, err = writeJSON(t, s, FileOptions{}, `[{"v":1}]`)
	require.ErrorContains(t, err, "identity column")
	a, err := writeJSON(t, s, FileOptions{}, `[{"id":7}]`)
	require.NoError(t, err)
	then := addAll(t, s, *a)
	s, err = setMetadata(then, func(m *Metadata) { m.SchemaString = identity(true, "9").JSON() })
	require.NoError(t, err)
	_, err = setMetadata(s, func(m *Metadata) { m.Name = "other" })
	require.NoError(t, err)
	s, _, err = Restore(ctx, then, RestoreOptions{})
	require.NoError(t, err)
	require.Contains(t, s.Metadata().SchemaString, `"delta.identity.highWaterMark":9`, "ids are not given twice")
	require.Equal(t, "", s.Metadata().Name)
}

func TestTimesInCommitsTurnedOn(t *testing.T) {
	ctx := context.Background()
	s := create(t, memoryTable(), idSchema)
	s = addAll(t, s, fakeAdd("a", 1))
	p, err := s.Protocol().With("inCommitTimestamp")
	require.NoError(t, err)
	m := s.Metadata().Clone()
	m.Configuration[PropInCommitTimestamps] = "true"
	tx := Begin(s.Location(), s)
	tx.SetProtocol(p)
	tx.SetMetadata(m)
	before := must(s.Location().log().Stat(ctx, commitName(1))).Modified
	s = must(tx.Commit(ctx))
	at := *s.CommitInfo().InCommitTimestamp
	require.Greater(t, at, before.UnixMilli())
	require.Equal(t, "2", s.Property(propICTVersion))
	require.Equal(t, strconv.FormatInt(at, 10), s.Property(propICTTime))
	next := addAll(t, s, fakeAdd("b", 1))
	require.Greater(t, *next.CommitInfo().InCommitTimestamp, at)
	loaded := must(LoadAsOf(ctx, s.Location(), time.UnixMilli(at)))
	require.Equal(t, int64(2), loaded.Version())
	off, err := setMetadata(next, func(m *Metadata) { m.Configuration[PropInCommitTimestamps] = "false" })
	require.NoError(t, err)
	require.Nil(t, off.CommitInfo().InCommitTimestamp)
	require.Empty(t, off.Property(propICTVersion))
	on, err := setMetadata(off, func(m *Metadata) { m.Configuration[PropInCommitTimestamps] = "true" })
	require.NoError(t, err)
	require.Equal(t, "5", on.Property(propICTVersion))

	// The clock of the commit before was ahead.
	c := commitClock{turnsOn: true, modified: 5000}
	got, changed := c.stamp(&state{version: 6}, &Metadata{Configuration: map[string]string{PropInCommitTimestamps: "true"}}, 1000)
	require.Equal(t, int64(5001), *got)
	require.Equal(t, "5001", changed.Property(propICTTime))
	require.Equal(t, "7", changed.Property(propICTVersion))
}

func TestIcebergCompatibility(t *testing.T) {
	list := func(e Type) Type { return &Array{Element: e, ContainsNull: true} }
	schema := &Schema{Fields: []Field{
		{Name: "id", Type: Long, Nullable: true},
		{Name: "p", Type: String, Nullable: true},
		{Name: "l", Type: list(list(Long)), Nullable: true},
		{Name: "m", Nullable: true, Type: &Map{Key: String, Value: &Struct{Fields: []Field{{Name: "x", Type: list(Integer), Nullable: true}}}, ValueContainsNull: true}},
	}}
	conf := map[string]string{PropMappingMode: "name", propIcebergV2: "true"}
	make := func(schema *Schema, conf map[string]string, features ...string) (*Snapshot, error) {
		p, err := ChangelogProtocol(ProtocolOptions{ColumnMapping: true}).With(features...)
		require.NoError(t, err)
		m := &Metadata{PartitionColumns: []string{"p"}, Configuration: maps.Clone(conf)}
		require.NoError(t, m.SetSchema(schema))
		tx := Begin(memoryTable(), nil)
		tx.SetProtocol(p)
		tx.SetMetadata(m)
		return tx.Commit(context.Background())
	}
	s, err := make(schema, conf, "icebergCompatV2")
	require.NoError(t, err)
	ids := map[int32]bool{}
	require.NoError(t, walkStructs(s.Schema(), "", func(_ string, st *Struct) error {
		for i := range st.Fields {
			id, ok := columnID(&st.Fields[i])
			require.True(t, ok && !ids[id])
			ids[id] = true
			for _, v := range nestedIDs(&st.Fields[i]) {
				id, ok := idOf(v)
				require.True(t, ok && !ids[id])
				ids[id] = true
			}
		}
		return nil
	}))
	require.Len(t, ids, 5+5)
	require.Equal(t, "10", s.Property(PropMaxColumnID))
	a, err := writeJSON(t, s, FileOptions{PartitionValues: map[string]*string{"p": ptr("q")}}, `[{"id":1,"l":[[1]],"m":[{"key":"k","value":{"x":[1]}}]}]`)
	require.NoError(t, err)
	s = addAll(t, s, *a)
	require.Equal(t, 1, s.NumFiles())
	for name, f := range map[string]func(*Metadata){
		"deletion vectors": func(m *Metadata) { m.Configuration[PropDeletionVectors] = "true" },
		"mapped":           func(m *Metadata) { m.Configuration[PropMappingMode] = "none" },
	} {
		_, err := setMetadata(s, f)
		require.ErrorIs(t, err, ErrInvalid, name)
	}
	tx := Begin(s.Location(), s)
	a.made = nil
	a.Path = path.Join("other", a.Path)
	tx.Add(*a)
	_, err = tx.Commit(context.Background())
	require.ErrorContains(t, err, "icebergCompatV2")
	_, err = make(schema, map[string]string{PropMappingMode: "name", propIcebergV1: "true"}, "icebergCompatV1")
	require.ErrorContains(t, err, `column "l"`)
	_, err = make(schema, map[string]string{PropMappingMode: "name", propIcebergV3: "true"}, "icebergCompatV3")
	var u *UnsupportedFeatureError
	require.ErrorAs(t, err, &u)
	require.True(t, icebergWidens(Integer, Long) && icebergWidens(Float, Double) && icebergWidens(Decimal{5, 2}, Decimal{9, 2}))
	require.False(t, icebergWidens(Integer, Double) || icebergWidens(Decimal{5, 2}, Decimal{9, 3}) || icebergWidens(Date, TimestampNTZ) || icebergWidens(Integer, Decimal{10, 0}))
}

func TestColumnLists(t *testing.T) {
	for text, want := range map[string][][]string{
		"a": {{"a"}}, " a , b.c ": {{"a"}, {"b", "c"}}, "`x.y`.z,`q``r`": {{"x.y", "z"}, {"q`r"}}, "`a b` , c": {{"a b"}, {"c"}},
	} {
		got, err := parseColumnList(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", ",", "a,,b", "a.", "`a", "`a`b", "a.`b", ".a"} {
		_, err := parseColumnList(text)
		require.Error(t, err, text)
	}
}
