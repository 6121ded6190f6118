package tablefmt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/tablefmt/dv"
)

func TestPaths(t *testing.T) {
	for in, want := range map[string]string{
		"a.parquet": "a.parquet", "x=1/a.parquet": "x=1/a.parquet", "a%20b": "a b", "%252F": "%2F", "ü": "ü",
		"..a/b..": "..a/b..", "a%3Ab": "a:b", "x/a:b": "x/a:b",
	} {
		got, err := decodePath(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
	}
	for _, in := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "%2e%2e/a", "a%2F..%2Fb", "%2Fa", "%", "%1", "%G0",
		"file:/a", "s3://b/a", "a:b", "a%00b", "a%ffb",
	} {
		_, err := decodePath(in)
		require.Error(t, err, in)
	}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[^/\x00]{1,8}(/[^/\x00]{1,8}){0,3}`).Draw(t, "path")
		for part := range strings.SplitSeq(p, "/") {
			if part == "." || part == ".." {
				t.Skip()
			}
		}
		got, err := decodePath(encodePath(p))
		require.NoError(t, err)
		require.Equal(t, p, got)
	})
	require.Equal(t, "day=__HIVE_DEFAULT_PARTITION__", partitionFolder("day", nil))
	require.Equal(t, "a%20b=x%2Fy%3D", partitionFolder("a b", ptr("x/y=")))
	require.LessOrEqual(t, len(partitionFolder(strings.Repeat("ü", 99), ptr(strings.Repeat("x", 9999)))), 255)
	require.NotEqual(t, partitionFolder("a", ptr(strings.Repeat("x", 300))), partitionFolder("a", ptr(strings.Repeat("x", 301))))
}

func TestLogNames(t *testing.T) {
	v := "00000000000000000012"
	for name, want := range map[string]logKind{
		v + ".json": logCommit, v + ".checkpoint.parquet": logCheckpoint,
		v + ".checkpoint.0000000001.0000000003.parquet":                logPart,
		v + ".checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json":    logNewCheckpoint,
		v + ".checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet": logNewCheckpoint,
		v + ".checkpoint.0000000004.0000000003.parquet":                logOther,
		v + ".checkpoint.0000000000.0000000003.parquet":                logOther,
		v + ".crc": logOther,
		v + ".00000000000000000014.compacted.json":       logCompacted,
		v + ".00000000000000000012.compacted.json":       logOther,
		v + ".0000000000000000014.compacted.json":        logOther,
		v + ".80a083e8-7026-4e79-81be-64bd76c43a11.json": logOther,
		"0000000000000000001x.json":                      logOther,
		"99999999999999999999.json":                      logOther,
		"_last_checkpoint":                               logOther, "": logOther, v: logOther, "." + v + ".json.crc": logOther,
	} {
		f := parseLogName(name)
		require.Equal(t, want, f.kind, name)
		if want != logOther {
			require.Equal(t, int64(12), f.version, name)
		}
	}
	require.Equal(t, logCommit, parseLogName(commitName(7)).kind)
	require.Equal(t, logCheckpoint, parseLogName(checkpointName(7)).kind)
}

func TestPlanSegments(t *testing.T) {
	files := func(names ...string) (out []logFile) {
		for _, n := range names {
			var v, a, b int64
			switch {
			case strings.HasPrefix(n, "c"):
				_, _ = fmt.Sscanf(n, "c%d", &v)
				out = append(out, parseLogName(checkpointName(v)))
			case strings.HasPrefix(n, "p"):
				_, _ = fmt.Sscanf(n, "p%d-%d-%d", &v, &a, &b)
				out = append(out, parseLogName(fmt.Sprintf("%020d.checkpoint.%010d.%010d.parquet", v, a, b)))
			default:
				_, _ = fmt.Sscanf(n, "%d", &v)
				out = append(out, parseLogName(commitName(v)))
			}
		}
		slices.SortFunc(out, func(a, b logFile) int { return strings.Compare(a.name, b.name) })
		return out
	}
	for _, c := range []struct {
		files []logFile
		want  int64
		plans string // base..end of each, or the error
	}{
		{files(), -1, "the log holds no version"},
		{files("0", "1", "2"), -1, "-1..2"},
		{files("0", "1", "2"), 1, "-1..1"},
		{files("0", "1", "2"), 3, "no such version of the table: 3 (the newest is 2)"},
		{files("0", "1", "c1", "2"), -1, "1..2 -1..2"},
		{files("0", "1", "c1", "2"), 0, "-1..0"},
		{files("1", "c1", "2", "3", "c3"), -1, "3..3 1..3"},
		{files("c3"), -1, "3..3"},
		{files("3", "c3", "4"), 2, "no such version of the table: 2 (log cleanup has removed what is before 3)"},
		{files("0", "2"), -1, "the table is damaged: 00000000000000000001.json (version 1): the file is missing from the log"},
		{files("c1", "1", "3"), -1, "the table is damaged: 00000000000000000002.json (version 2): the file is missing from the log"},
		{files("0", "p1-1-2", "1", "2"), -1, "-1..2"},
		{files("p1-1-2", "p1-2-2", "1", "2"), -1, "1..2"},
		{files("p1-1-2", "p1-2-2", "p1-2-3", "p1-1-3", "c1", "1"), -1, "1..1 1..1"},
	} {
		plans, err := planSegments(c.files, c.want)
		got := ""
		for _, p := range plans {
			got += fmt.Sprintf(" %d..%d", p.base, p.end)
		}
		if err != nil {
			got = err.Error()
		}
		require.Equal(t, c.plans, strings.TrimSpace(got))
	}
}

func TestSchemaJSON(t *testing.T) {
	every := &Schema{Fields: []Field{
		{Name: "a", Type: &Array{Element: &Map{Key: String, Value: &Struct{Fields: []Field{{Name: "x", Type: Decimal{38, 18}}}}, ValueContainsNull: true}}, Nullable: true},
		{Name: "m", Type: Long, Metadata: map[string]any{"delta.identity.start": "9007199254740993", "comment": "<ü>"}},
	}}
	for p := range arrowPrimitives {
		every.Fields = append(every.Fields, Field{Name: "p_" + string(p), Type: p, Nullable: true})
	}
	again, err := ParseSchema(every.JSON())
	require.NoError(t, err)
	require.Equal(t, every.JSON(), again.JSON())
	a, err := every.Arrow()
	require.NoError(t, err)
	back, err := SchemaFromArrow(a)
	require.NoError(t, err)
	every.Fields[1].Metadata = nil // Arrow has none
	require.Equal(t, every.JSON(), back.JSON())

	s, err := ParseSchema(`{"type":"struct","fields":[{"name":"i","type":"long","nullable":true,"metadata":{"delta.identity.start":9007199254740993}},{"name":"d","type":"decimal","nullable":true}]}`)
	require.NoError(t, err)
	require.Contains(t, s.JSON(), "9007199254740993", "numbers are kept exactly")
	require.Contains(t, s.JSON(), "decimal(10,0)")
	for _, bad := range []string{
		"", `"`, `"long`, "{}", `"long"`, `{"type":"struct","fields":[{"name":"a"}]}`, `{"type":"struct","fields":[{"name":"a","type":"decimal(39,1)"}]}`,
		`{"type":"struct","fields":[{"name":"a","type":"decimal(3,4)"}]}`, `{"type":"struct","fields":[]} x`,
		`{"type":"struct","fields":[{"name":"a","type":` + strings.Repeat(`{"type":"array","elementType":`, 200) + `"long"` + strings.Repeat("}", 200) + `}]}`,
	} {
		_, err := ParseSchema(bad)
		require.Error(t, err, bad)
	}
	for _, typ := range []arrow.DataType{arrow.PrimitiveTypes.Uint8, arrow.FixedWidthTypes.Timestamp_ns, arrow.FixedWidthTypes.Time32s, arrow.BinaryTypes.LargeString} {
		_, err := TypeFromArrow(typ)
		require.Error(t, err, typ)
	}
	nested := &Schema{Fields: []Field{{Name: "s", Type: &Struct{Fields: []Field{{Name: "a", Type: Long}, {Name: "A", Type: Long}}}}}}
	require.ErrorContains(t, nested.CheckNames(true), `"s.a"`)
	for _, c := range forbiddenInNames {
		s := &Schema{Fields: []Field{{Name: "x" + string(c), Type: Long}}}
		require.Error(t, s.CheckNames(false))
		require.NoError(t, s.CheckNames(true))
	}
}

// TestPartitionValues writes each type's values and reads them back.
func TestPartitionValues(t *testing.T) {
	roundTrip := func(typ Type, add func(b array.Builder)) string {
		at, err := ArrowType(typ)
		require.NoError(t, err)
		b := array.NewBuilder(memory.DefaultAllocator, at)
		add(b)
		want := b.NewArray()
		s, err := FormatPartitionValue(want, 0)
		require.NoError(t, err)
		app, err := partitionAppender(typ, s)
		require.NoError(t, err)
		app(b, 1)
		require.True(t, array.Equal(want, b.NewArray()), "%s %v", typ, s)
		if s == nil {
			return "null"
		}
		return *s
	}
	for _, c := range []struct {
		typ  Type
		text string
		want string
	}{
		{Long, "-5", ""},
		{Integer, "5", ""},
		{Short, "7", ""},
		{Byte, "-128", ""},
		{Boolean, "true", ""},
		{Float, "1.5", ""},
		{Double, "-0.1", ""},
		{Double, "NaN", ""},
		{Double, "Infinity", ""},
		{Double, "1e300", "1e+300"},
		{String, "ü/ x", ""},
		{Binary, "abc", ""},
		{Date, "0001-01-01", ""},
		{Date, "9999-12-31", ""},
		{Timestamp, "2024-02-29 01:02:03", "2024-02-29T01:02:03.000000Z"},
		{Timestamp, "2024-02-29T01:02:03.5+02:00", "2024-02-28T23:02:03.500000Z"},
		{TimestampNTZ, "2024-02-29 01:02:03.123456", ""},
		{Decimal{5, 3}, "-1.5", "-1.500"},
		{Decimal{38, 18}, "0E-18", "0.000000000000000000"},
	} {
		if c.want == "" {
			c.want = c.text
		}
		app, err := partitionAppender(c.typ, &c.text)
		require.NoError(t, err, c.text)
		if c.text == "NaN" { // not equal to itself
			continue
		}
		require.Equal(t, c.want, roundTrip(c.typ, func(b array.Builder) { app(b, 1) }))
	}
	require.Equal(t, "null", roundTrip(String, func(b array.Builder) { b.AppendNull() }))
	for _, c := range []struct {
		typ  Type
		text string
	}{
		{Long, "x"},
		{Byte, "128"},
		{Date, "2024-02-30"},
		{Timestamp, "soon"},
		{Decimal{5, 3}, "1.2345"},
		{Decimal{5, 3}, "100"},
		{Decimal{5, 3}, "1e999999999"},
		{Decimal{5, 3}, "1/3"},
		{Boolean, "maybe"},
		{&Array{Element: Long}, "1"},
		{Void, "x"},
	} {
		_, err := partitionAppender(c.typ, &c.text)
		require.Error(t, err, c.text)
	}
	sb := array.NewStringBuilder(memory.DefaultAllocator)
	sb.Append("")
	_, err := FormatPartitionValue(sb.NewArray(), 0)
	require.ErrorIs(t, err, ErrInvalid, "'' is read as null")
}

func TestProtocols(t *testing.T) {
	none, all := ProtocolOptions{}, ProtocolOptions{TimestampNTZ: true, ChangeDataFeed: true, GeneratedColumns: true, DomainMetadata: true}
	for _, c := range []struct {
		p    *Protocol
		want string
	}{
		{ChangelogProtocol(none), `{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["appendOnly","invariants"]}`},
		{MirrorProtocol(none), `{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["appendOnly","invariants","deletionVectors"]}`},
		{ChangelogProtocol(ProtocolOptions{TimestampNTZ: true}), `{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["timestampNtz"],"writerFeatures":["appendOnly","invariants","timestampNtz"]}`},
		{MirrorProtocol(all), `{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors","timestampNtz"],"writerFeatures":["appendOnly","invariants","deletionVectors","timestampNtz","changeDataFeed","generatedColumns","domainMetadata"]}`},
		{&Protocol{MinReaderVersion: 3, MinWriterVersion: 7}, `{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":[],"writerFeatures":[]}`},
		{&Protocol{MinReaderVersion: 1, MinWriterVersion: 2}, `{"minReaderVersion":1,"minWriterVersion":2}`},
	} {
		got, err := c.p.MarshalJSON()
		require.NoError(t, err)
		require.Equal(t, c.want, string(got))
		require.NoError(t, c.p.validate())
	}
	for _, c := range []struct {
		p    *Protocol
		with []string
		want string
	}{
		{&Protocol{MinReaderVersion: 1, MinWriterVersion: 2}, []string{"columnMapping"}, `{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["columnMapping"],"writerFeatures":["appendOnly","invariants","columnMapping"]}`},
		{&Protocol{MinReaderVersion: 2, MinWriterVersion: 5}, []string{"typeWidening"}, `{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["columnMapping","typeWidening"],"writerFeatures":["appendOnly","invariants","checkConstraints","changeDataFeed","generatedColumns","columnMapping","typeWidening"]}`},
		{&Protocol{MinReaderVersion: 2, MinWriterVersion: 7, WriterFeatures: []string{"columnMapping"}}, []string{"domainMetadata", "columnMapping"}, `{"minReaderVersion":2,"minWriterVersion":7,"writerFeatures":["columnMapping","domainMetadata"]}`},
		{MirrorProtocol(none), []string{"columnMapping"}, `{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors","columnMapping"],"writerFeatures":["appendOnly","invariants","deletionVectors","columnMapping"]}`},
		{MirrorProtocol(none), []string{"deletionVectors"}, `{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["appendOnly","invariants","deletionVectors"]}`},
	} {
		p, err := c.p.With(c.with...)
		require.NoError(t, err)
		require.NoError(t, p.validate())
		require.Equal(t, c.want, string(must(p.MarshalJSON())))
	}
	_, err := MirrorProtocol(none).With("hyperdrive")
	require.ErrorContains(t, err, "hyperdrive")

	legacy := &Protocol{MinReaderVersion: 1, MinWriterVersion: 4}
	require.True(t, legacy.Has("changeDataFeed"))
	require.False(t, legacy.Has("identityColumns"))
	require.False(t, legacy.Has("deletionVectors"))
	require.True(t, (&Protocol{MinReaderVersion: 2, MinWriterVersion: 5}).Has("columnMapping"))
	require.False(t, (&Protocol{MinReaderVersion: 1, MinWriterVersion: 5}).Has("columnMapping"), "readers do not know")
}

func TestWriteSupport(t *testing.T) {
	m := func(conf ...string) *Metadata {
		c := map[string]string{}
		for i := 0; i < len(conf); i += 2 {
			c[conf[i]] = conf[i+1]
		}
		return &Metadata{Configuration: c}
	}
	features := func(f ...string) *Protocol {
		return &Protocol{MinReaderVersion: 1, MinWriterVersion: 7, WriterFeatures: f}
	}
	for _, c := range []struct {
		p    *Protocol
		m    *Metadata
		s    *Schema
		want string
	}{
		{features("appendOnly", "invariants"), m(), idSchema, ""},
		{features("rowTracking", "domainMetadata"), m(PropRowTracking, "true"), idSchema, ""},
		{features("icebergCompatV3"), m(), idSchema, ""},
		{features("icebergCompatV3"), m(propIcebergV3, "True"), idSchema, "icebergCompatV3"},
		{features("hyperdrive"), m(), idSchema, "hyperdrive"},
		{&Protocol{MinReaderVersion: 1, MinWriterVersion: 8}, m(), idSchema, "writer version 8"},
		{&Protocol{MinReaderVersion: 2, MinWriterVersion: 5}, m(), idSchema, ""},
		{&Protocol{MinReaderVersion: 2, MinWriterVersion: 5}, m("delta.columnMapping.mode", "id"), idSchema, ""},
	} {
		err := checkWrite(c.p, c.m, c.s)
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		var u *UnsupportedFeatureError
		require.ErrorAs(t, err, &u)
		require.Contains(t, u.Error(), c.want)
	}
	seen := map[string]bool{}
	for _, f := range Features() {
		require.False(t, seen[f.Name], f.Name)
		seen[f.Name] = true
		require.True(t, f.Reader || f.Read, "%s: what only writers need hinders no reader", f.Name)
	}
}

func TestInvalidTransactions(t *testing.T) {
	ctx := context.Background()
	loc := memoryTable()
	s := create(t, loc, peopleSchema, "day", "kind")
	values := map[string]*string{"day": ptr("2024-01-01"), "kind": nil}
	tx := Begin(loc, s)
	a := fakeAdd("a", 5)
	a.PartitionValues = values
	tx.Add(a)
	s = must(tx.Commit(ctx))
	with := func(v map[string]*string) AddFile { b := fakeAdd("b", 1); b.PartitionValues = v; return b }
	vector := dv.Inline(dv.New(1))
	for want, build := range map[string]func(tx *Transaction){
		"values for 1 partition columns": func(tx *Transaction) { tx.Add(with(map[string]*string{"day": nil})) },
		`no value for partition column`:  func(tx *Transaction) { tx.Add(with(map[string]*string{"day": nil, "x": nil})) },
		"an empty text":                  func(tx *Transaction) { tx.Add(with(map[string]*string{"day": nil, "kind": ptr("")})) },
		"no partition value of type date": func(tx *Transaction) {
			tx.Add(with(map[string]*string{"day": ptr("x"), "kind": nil}))
		},
		"does not stay inside": func(tx *Transaction) { b := with(values); b.Path = "../b"; tx.Add(b) },
		"is not in version 1":  func(tx *Transaction) { tx.Remove(RemoveFile{Path: "nowhere"}) },
		"another deletion vector": func(tx *Transaction) {
			tx.Remove(RemoveFile{Path: "a", DeletionVector: &vector})
		},
		"twice": func(tx *Transaction) { tx.Add(with(values)); tx.Add(with(values)) },
		"the same commit adds it": func(tx *Transaction) {
			f, _ := s.File("a")
			tx.Remove(*f.Remove(1, true))
			tx.Add(*f)
		},
		"does not remove it first": func(tx *Transaction) {
			f, _ := s.File("a")
			tx.Add(must(f.WithVector(vector)))
		},
		"needs statistics": func(tx *Transaction) { b := with(values); b.Stats = ""; b.DeletionVector = &vector; tx.Add(b) },
		"domainMetadata":   func(tx *Transaction) { tx.SetDomain("d", "c") },
		"id cannot change": func(tx *Transaction) { m := s.Metadata().Clone(); m.ID = "x"; tx.SetMetadata(m) },
		"changeDataFeed": func(tx *Transaction) {
			m := s.Metadata().Clone()
			m.Configuration[PropChangeDataFeed] = "true"
			tx.SetMetadata(m)
		},
		"no id": func(tx *Transaction) { tx.SetCommitID("") },
		"append-only": func(tx *Transaction) {
			m := s.Metadata().Clone()
			m.Configuration[PropAppendOnly] = "true"
			tx.SetMetadata(m)
			f, _ := s.File("a")
			tx.Remove(*f.Remove(1, true))
		},
	} {
		tx := Begin(loc, s)
		build(tx)
		_, err := tx.Commit(ctx)
		require.ErrorIs(t, err, ErrInvalid, want)
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, int64(1), must(Load(ctx, loc)).Version(), "nothing was written")
	_, err := Begin(loc, nil).Commit(ctx)
	require.ErrorIs(t, err, ErrInvalid)

	// A feed of changes wants cdc files where rows go and come.
	p := MirrorProtocol(ProtocolOptions{ChangeDataFeed: true})
	m := s.Metadata().Clone()
	m.Configuration[PropChangeDataFeed] = "true"
	tx = Begin(loc, s)
	tx.SetProtocol(p)
	tx.SetMetadata(m)
	s = must(tx.Commit(ctx))
	f, _ := s.File("a")
	tx = Begin(loc, s)
	tx.Remove(*f.Remove(1, true))
	tx.Add(must(f.WithVector(vector)))
	_, err = tx.Commit(ctx)
	require.ErrorContains(t, err, "needs cdc files")
	tx = Begin(loc, s)
	tx.Remove(*f.Remove(1, true))
	tx.Add(must(f.WithVector(vector)))
	tx.AddCDC(CDCFile{Path: "_change_data/x", PartitionValues: values})
	must(tx.Commit(ctx))
	require.Equal(t, 1, must(History(ctx, loc, 1))[0].CDCs)
}

func TestParseInterval(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"interval 1 week": 7 * 24 * time.Hour, "2 DAYS": 48 * time.Hour, "interval 1 hour 30 minutes": 90 * time.Minute, "interval 0 seconds": 0,
	} {
		got, err := ParseInterval(in)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, in := range []string{"", "interval", "1", "week", "1 month", "-1 days", "999999999999 weeks", "2000000 weeks 2000000 weeks", "1 weekss"} {
		_, err := ParseInterval(in)
		require.Error(t, err, in)
	}
}

func TestLoadAsOfFileTimes(t *testing.T) {
	base := time.UnixMilli(1e12)
	commits := []commitFile{{0, base}, {1, base.Add(-time.Hour)}, {2, base.Add(time.Second)}, {3, base.Add(time.Second)}}
	ordered(commits)
	for i, want := range []time.Duration{0, time.Millisecond, time.Second, time.Second + time.Millisecond} {
		require.Equal(t, base.Add(want), commits[i].modified)
	}
}

// The protocol leaves commitInfo's content free: what has another shape than
// ours is passed over, and only there.
func TestCommitInfoOfAnotherShape(t *testing.T) {
	got, err := parseAction([]byte(`{"commitInfo":{"operation":3,"timestamp":1e400,"operationParameters":[],"txnId":"x","operationMetrics":{"a":{"b":1}},"more":[{}]}}`))
	require.NoError(t, err)
	require.Equal(t, CommitInfo{TxnID: "x", OperationMetrics: map[string]any{"a": map[string]any{"b": 1.0}}}, *got.CommitInfo)
	for _, line := range []string{
		`{"commitInfo":{"operation":3},"add":{"path":"x"}}`, `{"add":{"path":3}}`, `{"txn":{"appId":"a","version":"1"}}`,
		`{"add":3,"commitInfo":{}}`, `{"commitInfo":{"operation":3}`,
	} {
		_, err := parseAction([]byte(line))
		require.Error(t, err, line)
	}
}
