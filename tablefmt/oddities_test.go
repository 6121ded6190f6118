package tablefmt

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/colfile"
)

// partitionValueText gives a partition value as Arrow prints it.
func partitionValueText(t Type, v string) (string, error) {
	schema, err := (&Schema{Fields: []Field{{Name: "x", Type: t}}}).Arrow()
	if err != nil {
		return "", err
	}
	typ := schema.Field(0).Type
	appendTo, err := partitionAppender(t, &v)
	if err != nil {
		return "", err
	}
	b := array.NewBuilder(memory.DefaultAllocator, typ)
	defer b.Release()
	appendTo(b, 1)
	a := b.NewArray()
	defer a.Release()
	if a.IsNull(0) {
		return "null", nil
	}
	if ts, ok := a.(*array.Timestamp); ok {
		return time.UnixMicro(int64(ts.Value(0))).UTC().Format("2006-01-02T15:04:05.999999Z"), nil
	}
	if d, ok := a.(*array.Date32); ok {
		return d.Value(0).ToTime().Format(time.DateOnly), nil
	}
	return a.ValueStr(0), nil
}

// TestPartitionValueSpellings reads what writers put into the log for a value.
func TestPartitionValueSpellings(t *testing.T) {
	for _, c := range []struct {
		t    Type
		want string
		in   []string
	}{
		{String, "null", []string{""}},
		{Long, "null", []string{""}},
		{Binary, "null", []string{""}},
		{Timestamp, "null", []string{""}},
		{String, " a ", []string{" a "}},
		{String, "null", []string{"null"}},
		{String, nullPartition, []string{nullPartition}},
		{Boolean, "true", []string{"true", "TRUE", "True", "t", "1", "yes", " true"}},
		{Boolean, "false", []string{"false", "FALSE", "fAlSe", "0", "no"}},
		{Long, "-9223372036854775808", []string{"-9223372036854775808"}},
		{Integer, "5", []string{"5", "+5", "005", " 5 "}},
		{Byte, "-128", []string{"-128"}},
		{Double, "NaN", []string{"NaN", "nan"}},
		{Double, "+Inf", []string{"Infinity", "+Infinity", "inf"}},
		{Float, "-Inf", []string{"-Infinity", "-inf"}},
		{Double, "1e+300", []string{"1.0E300", "1e300", "1E+300"}},
		{Double, "-0", []string{"-0.0"}},
		{Float, "1e-45", []string{"1.4E-45"}},
		{Decimal{Precision: 5, Scale: 2}, "-1.5", []string{"-1.5", "-1.50", "-01.500", "-15E-1"}},
		{Decimal{Precision: 38, Scale: 18}, "0", []string{"0E-18", "0"}},
		{Date, "2020-02-29", []string{"2020-02-29", "2020-2-29", "+2020-02-29"}},
		{Date, "-0044-03-15", []string{"-0044-03-15"}},
		{Date, "10000-01-01", []string{"+10000-01-01", "10000-01-01"}},
		{Date, "0000-01-01", []string{"0000-01-01"}},
		{Date, "1582-10-10", []string{"1582-10-10"}},
		{Timestamp, "2021-09-08T11:11:11Z", []string{
			"2021-09-08 11:11:11", "2021-09-08T11:11:11Z", "2021-09-08 11:11:11.0", "2021-09-08T13:11:11+02:00", "2021-09-08 13:11:11.000000+0200",
			"2021-09-08T03:11:11.000-08:00", "2021-09-08T11:11:11", "2021-09-08 11:11:11 UTC", "2021-9-8 11:11:11z", "2021-09-08 16:41:11+5:30",
		}},
		{Timestamp, "2021-09-08T11:11:11.000012Z", []string{"2021-09-08 11:11:11.000012", "2021-09-08T11:11:11.000012Z", "2021-09-08T11:11:11.000012999Z"}},
		{Timestamp, "2021-09-08T00:00:00Z", []string{"2021-09-08", "2021-09-08 00:00"}},
		{Timestamp, "-0001-12-31T23:00:00Z", []string{"0000-01-01T00:00:00+01:00", "-0001-12-31 23:00:00"}},
		{Timestamp, "1969-12-31T23:59:59.999999Z", []string{"1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.9999999"}},
		{TimestampNTZ, "2021-09-08T11:11:11Z", []string{"2021-09-08 11:11:11", "2021-09-08T11:11:11.000000", "2021-09-08T11:11:11+02:00", "2021-09-08T11:11:11Z"}},
	} {
		for _, in := range c.in {
			got, err := partitionValueText(c.t, in)
			require.NoError(t, err)
			require.Equal(t, c.want, got, "%s %q", c.t, in)
		}
	}
	for _, c := range []struct {
		t  Type
		in []string
	}{
		{Boolean, []string{"2", "truth", "null"}},
		{Byte, []string{"128", "1.0", "x", "1_0", "0x1"}},
		{Integer, []string{"2147483648"}},
		{Long, []string{"9223372036854775808"}},
		{Double, []string{"1,5", "1e400", "--1"}},
		{Decimal{Precision: 3, Scale: 1}, []string{"100.0", "1.25", "1e999999999", "1/3", "NaN"}},
		{Date, []string{"2021-02-29", "2020-13-01", "2020-00-01", "2020-01-00", "20-01-01", "2020-01-01T00:00:00", "99999999-01-01", "9999999-01-01", "2020/01/01", "-", "+", "2020"}},
		{Timestamp, []string{"2020-01-01 24:00:00", "2020-01-01 00:60:00", "2020-01-01 00:00:60", "2020-01-01 00:00:00.", "2020-01-01 00:00:00.1234567890", "2020-01-01 00:00:00 Mars", "2020-01-01x", "2020-01-01 ", "1e9", "2020-01-01 00:00:00+1", "999999-01-01 00:00:00", "2020-01-01 00:00:00+19:00"}},
	} {
		for _, in := range c.in {
			got, err := partitionValueText(c.t, in)
			if err == nil && in == "2020-01-01 00:00:00+1" {
				require.Equal(t, "2019-12-31T23:00:00Z", got)
				continue
			}
			if err == nil && in == "2020-01-01 " { // blanks around a value count for nothing
				require.Equal(t, "2020-01-01T00:00:00Z", got)
				continue
			}
			require.Error(t, err, "%s %q gives %s", c.t, in, got)
		}
	}
}

// TestOddLines reads commits as the other readers do.
func TestOddLines(t *testing.T) {
	add := func(rest string) string {
		return `{"add":{"path":"f","partitionValues":{},"size":3,"modificationTime":1,"dataChange":true` + rest + `}}`
	}
	ddl := lines(oldProtocol, idMetadata)
	for name, c := range map[string]struct {
		text string
		want string // "" for a commit that is damaged
	}{
		"CRLF":               {strings.ReplaceAll(ddl+add("")+"\n", "\n", "\r\n"), "f 3"},
		"blank lines":        {"\n\n  \t\n" + ddl + "\n" + add("") + "\n\n", "f 3"},
		"no final newline":   {ddl + add(""), "f 3"},
		"spaces":             {ddl + `  { "add" : { "path" : "f" , "partitionValues" : { } , "size" : 3 , "modificationTime" : 1 , "dataChange" : true } }  `, "f 3"},
		"a very long line":   {ddl + add(`,"tags":{"x":"`+strings.Repeat("y", 5<<20)+`"}`), "f 3"},
		"unknown actions":    {ddl + add("") + "\n" + `{"future":{"path":"g"}}` + "\n{}\nnull\n", "f 3"},
		"unknown fields":     {ddl + add(`,"future":{"a":[1,{"path":"g"}]},"path2":"x"`), "f 3"},
		"another case":       {ddl + add("") + "\n" + strings.Replace(strings.Replace(add(""), `"add"`, `"ADD"`, 1), `"f"`, `"g"`, 1), "f 3"},
		"a field's case":     {ddl + add(`,"Path":"g","SIZE":4,"DeletionVector":{"storageType":"i"}`), "f 3"},
		"folded":             {ddl + add(`,"\u017fize":4`) + "\n" + strings.Replace(strings.Replace(add(""), `"add"`, `"ad\u0064"`, 1), `"f"`, `"g"`, 1), "f 3 g 3"},
		"duplicate fields":   {ddl + add(`,"path":"g","size":5`), "g 5"},
		"duplicate values":   {ddl + add(`,"deletionVector":{"storageType":"i","pathOrInlineDv":"x","sizeInBytes":1,"cardinality":9},"deletionVector":null`), "f 3"},
		"duplicate actions":  {ddl + `{"add":{"path":"g","stats":"{}","size":1},` + add("")[1:], "f 3"},
		"numbers as floats":  {ddl + strings.NewReplacer(`:3`, `:3.0`, `"modificationTime":1`, `"modificationTime":1.7E12`).Replace(add("")), "f 3"},
		"no number":          {ddl + strings.Replace(add(""), `:3`, `:3.5`, 1), ""},
		"too great a number": {ddl + strings.Replace(add(""), `:3`, `:1e30`, 1), ""},
		"a text for one":     {ddl + strings.Replace(add(""), `:3`, `:"3"`, 1), ""},
		"an array":           {ddl + "[1]", ""},
		"two actions":        {ddl + `{"add":{"path":"g"},"remove":{"path":"f"}}`, ""},
		"cut off":            {ddl + add("")[:40], ""},
		"two on a line":      {ddl + add("") + add(""), ""},
		"NUL":                {ddl + add("") + "\x00", ""},
		"UTF-16":             {ddl + "\xff\xfe{\x00", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Load(t.Context(), written(t, c.text))
			if c.want == "" {
				require.ErrorIs(t, err, ErrCorrupt)
				require.ErrorContains(t, err, commitName(0)+" (version 0): line ")
				return
			}
			require.NoError(t, err)
			var got []string
			for _, p := range paths(s) {
				a, _ := s.File(p)
				require.Nil(t, a.DeletionVector)
				require.Empty(t, a.Stats)
				got = append(got, fmt.Sprintf("%s %d", p, a.Size))
			}
			require.Equal(t, c.want, strings.Join(got, " "))
		})
	}
}

// oldCheckpoint writes a checkpoint whose columns are those of a schema.
func oldCheckpoint(t *testing.T, loc Location, name string, schema *arrow.Schema, rows string) {
	t.Helper()
	out, err := loc.log().Create(context.Background(), name)
	require.NoError(t, err)
	defer out.Abort()
	w, err := colfile.NewWriter(out, schema, colfile.WriterOptions{Codec: colfile.Gzip})
	require.NoError(t, err)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(rows))
	require.NoError(t, err)
	defer rec.Release()
	require.NoError(t, w.Write(rec))
	_, err = w.Close()
	require.NoError(t, err)
	require.NoError(t, out.Close())
}

// TestOddCheckpoints reads checkpoints of old and of other writers: without
// fields, with more, required where others are optional, of other widths.
func TestOddCheckpoints(t *testing.T) {
	ctx := context.Background()
	text, long := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64
	required := func(name string, typ arrow.DataType) arrow.Field { return arrow.Field{Name: name, Type: typ} }
	nested := `{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"integer\",\"nullable\":true,\"metadata\":{}},{\"name\":\"p\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]}`
	protocol := `"protocol":{"minReaderVersion":1,"minWriterVersion":2}`
	for name, c := range map[string]struct {
		fields []arrow.Field
		rows   string
	}{
		"least": {
			[]arrow.Field{
				nullable("protocol", arrow.StructOf(nullable("minReaderVersion", arrow.PrimitiveTypes.Int32), nullable("minWriterVersion", arrow.PrimitiveTypes.Int32))),
				nullable("metaData", arrow.StructOf(nullable("id", text), nullable("schemaString", text), nullable("partitionColumns", arrowStrings))),
				nullable("add", arrow.StructOf(nullable("path", text), nullable("partitionValues", arrowMap), nullable("size", long))),
			},
			`[{` + protocol + `},{"metaData":{"id":"x","schemaString":"` + nested + `","partitionColumns":["p"]}},{"add":{"path":"f","partitionValues":[{"key":"p","value":"a"}],"size":3}},{"add":{"path":"g","partitionValues":[{"key":"p","value":null}],"size":4}}]`,
		},
		"required, wider, and more of it": {
			[]arrow.Field{
				nullable("cdc", arrow.StructOf(nullable("path", text))),
				nullable("protocol", arrow.StructOf(required("minReaderVersion", arrow.PrimitiveTypes.Int32), required("minWriterVersion", arrow.PrimitiveTypes.Int32), nullable("more", text))),
				nullable("metaData", arrow.StructOf(required("id", text), nullable("more", long), required("schemaString", text), required("partitionColumns", arrow.ListOfNonNullable(text)))),
				nullable("add", arrow.StructOf(required("path", text), required("partitionValues", arrowMap), required("size", arrow.PrimitiveTypes.Int32), required("dataChange", arrow.FixedWidthTypes.Boolean),
					nullable("stats_parsed", arrow.StructOf(nullable("numRecords", long), nullable("minValues", arrow.StructOf(nullable("id", arrow.PrimitiveTypes.Int32))))),
					nullable("partitionValues_parsed", arrow.StructOf(nullable("p", text))))),
				nullable("future", arrow.ListOf(long)),
			},
			`[{` + protocol + `},{"metaData":{"id":"x","schemaString":"` + nested + `","partitionColumns":["p"]}},
			{"add":{"path":"f","partitionValues":[{"key":"p","value":"a"}],"size":3,"dataChange":false,"stats_parsed":{"numRecords":1,"minValues":{"id":1}},"partitionValues_parsed":{"p":"a"}}},
			{"add":{"path":"g","partitionValues":[],"size":4,"dataChange":false}},{"cdc":{"path":"no"}},{"future":[1]}]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			loc := memoryTable()
			oldCheckpoint(t, loc, checkpointName(7), arrow.NewSchema(c.fields, nil), c.rows)
			s, err := Load(ctx, loc)
			require.NoError(t, err)
			require.Equal(t, int64(7), s.Version())
			require.Equal(t, []string{"f", "g"}, paths(s))
			f, _ := s.File("f")
			require.Equal(t, "a", *f.PartitionValues["p"])
			require.Equal(t, int64(3), f.Size)
			g, _ := s.File("g")
			require.Nil(t, g.PartitionValues["p"])
			require.NoError(t, Checkpoint(ctx, s))
			require.Equal(t, whole(t, s), whole(t, must(Load(ctx, loc))), "written anew by us")
		})
	}
	// Fields of types that they cannot have, and rows that are no actions.
	for name, c := range map[string]struct {
		fields []arrow.Field
		rows   string
	}{
		"a list for add":     {[]arrow.Field{nullable("add", arrow.ListOf(text))}, `[{"add":["x"]}]`},
		"a number path":      {[]arrow.Field{nullable("add", arrow.StructOf(nullable("path", long)))}, `[{"add":{"path":1}}]`},
		"a text size":        {[]arrow.Field{nullable("add", arrow.StructOf(nullable("path", text), nullable("size", text)))}, `[{"add":{"path":"x","size":"1"}}]`},
		"no path":            {[]arrow.Field{nullable("add", arrow.StructOf(nullable("path", text), nullable("size", long)))}, `[{"add":{"size":1}}]`},
		"text for a map":     {[]arrow.Field{nullable("add", arrow.StructOf(nullable("path", text), nullable("partitionValues", text)))}, `[{"add":{"path":"x","partitionValues":"{}"}}]`},
		"nothing at all":     {[]arrow.Field{nullable("x", text)}, `[{"x":"y"}]`},
		"no rows":            {[]arrow.Field{nullable("add", arrow.StructOf(nullable("path", text)))}, `[]`},
		"a path that leaves": {[]arrow.Field{nullable("add", arrow.StructOf(nullable("path", text)))}, `[{"add":{"path":"../x"}}]`},
	} {
		t.Run(name, func(t *testing.T) {
			loc := memoryTable()
			oldCheckpoint(t, loc, checkpointName(7), arrow.NewSchema(c.fields, nil), c.rows)
			_, err := Load(ctx, loc)
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, checkpointName(7)+" (version 7)")
		})
	}
}

// TestCheckpointsThatAreNotWhole begins at an older one, or at the first commit.
func TestCheckpointsThatAreNotWhole(t *testing.T) {
	ctx := context.Background()
	build := func(t *testing.T) (Location, []string) {
		loc := memoryTable()
		s := busyTable(t, loc, 4)
		require.NoError(t, Checkpoint(ctx, s))
		s = keepBusy(t, s, 6)
		require.NoError(t, Checkpoint(ctx, s))
		s = keepBusy(t, s, 2)
		return loc, whole(t, s)
	}
	log := func(name string) string { return "_delta_log/" + name }
	for name, spoil := range map[string]func(t *testing.T, loc Location){
		"zero bytes": func(t *testing.T, loc Location) { require.NoError(t, loc.Data.Put(ctx, log(checkpointName(10)), nil)) },
		"four bytes": func(t *testing.T, loc Location) {
			require.NoError(t, loc.Data.Put(ctx, log(checkpointName(10)), []byte("PAR1")))
		},
		"gone, still named": func(t *testing.T, loc Location) { require.NoError(t, loc.Data.Delete(ctx, log(checkpointName(10)))) },
		"all gone, still named": func(t *testing.T, loc Location) {
			require.NoError(t, loc.Data.Delete(ctx, log(checkpointName(10))))
			require.NoError(t, loc.Data.Delete(ctx, log(checkpointName(4))))
		},
		"no hint": func(t *testing.T, loc Location) { require.NoError(t, loc.Data.Delete(ctx, log(lastCheckpointName))) },
		"stale hint": func(t *testing.T, loc Location) {
			require.NoError(t, loc.Data.Put(ctx, log(lastCheckpointName), []byte(`{"version":4,"size":1}`)))
		},
		"parts, one missing": func(t *testing.T, loc Location) {
			whole := must(loc.Data.Get(ctx, log(checkpointName(10))))
			require.NoError(t, loc.Data.Delete(ctx, log(checkpointName(10))))
			for _, part := range []int{1, 3} {
				require.NoError(t, loc.Data.Put(ctx, log(fmt.Sprintf("%020d.checkpoint.%010d.%010d.parquet", 10, part, 3)), whole))
			}
			require.NoError(t, loc.Data.Put(ctx, log(lastCheckpointName), []byte(`{"version":10,"size":1,"parts":3}`)))
		},
		"parts of two sizes": func(t *testing.T, loc Location) {
			whole := must(loc.Data.Get(ctx, log(checkpointName(10))))
			require.NoError(t, loc.Data.Delete(ctx, log(checkpointName(10))))
			for _, of := range []int{2, 3} {
				require.NoError(t, loc.Data.Put(ctx, log(fmt.Sprintf("%020d.checkpoint.%010d.%010d.parquet", 10, 1, of)), whole))
			}
		},
		"a V2 checkpoint without its sidecar": func(t *testing.T, loc Location) {
			require.NoError(t, loc.Data.Delete(ctx, log(checkpointName(10))))
			top := lines(`{"checkpointMetadata":{"version":10}}`, `{"sidecar":{"path":"gone.parquet","sizeInBytes":1,"modificationTime":1}}`, oldProtocol, idMetadata)
			name := "00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json"
			require.NoError(t, loc.Data.Put(ctx, log(name), []byte(top)))
			require.NoError(t, loc.Data.Put(ctx, log(lastCheckpointName), []byte(`{"version":10,"size":1,"v2Checkpoint":{"path":"`+name+`"}}`)))
		},
		"a V2 checkpoint that is empty": func(t *testing.T, loc Location) {
			require.NoError(t, loc.Data.Delete(ctx, log(checkpointName(10))))
			require.NoError(t, loc.Data.Put(ctx, log("00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json"), nil))
			require.NoError(t, loc.Data.Put(ctx, log("00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a12.parquet"), nil))
		},
		"a sidecar that leads out": func(t *testing.T, loc Location) {
			require.NoError(t, loc.Data.Delete(ctx, log(checkpointName(10))))
			top := lines(`{"sidecar":{"path":"../00000000000000000004.checkpoint.parquet","sizeInBytes":1,"modificationTime":1}}`, oldProtocol, idMetadata)
			require.NoError(t, loc.Data.Put(ctx, log("00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json"), []byte(top)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			loc, want := build(t)
			spoil(t, loc)
			require.Equal(t, want, whole(t, must(Load(ctx, loc))))
		})
	}
	// Where there is nothing to go back to the file is named.
	loc, _ := build(t)
	for v := range int64(10) {
		require.NoError(t, loc.Data.Delete(ctx, log(commitName(v))))
	}
	require.NoError(t, loc.Data.Put(ctx, log(checkpointName(10)), bytes.Repeat([]byte{0}, 9)))
	_, err := Load(ctx, loc)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, checkpointName(10)+" (version 10)")
}
