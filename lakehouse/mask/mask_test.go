package mask

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
)

const saltText = "0123456789abcdef-salt"

func salt(t testing.TB) *Salt {
	s, err := NewSalt([]byte(saltText + "\r\n"))
	require.NoError(t, err)
	return s
}

// sum is a hash as anybody can make it.
func sum(text string) string {
	h := hmac.New(sha256.New, []byte(saltText))
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))[:32]
}

func TestSaltIsNotShown(t *testing.T) {
	s := salt(t)
	inside := struct {
		P *Salt
		O Policy
	}{s, Policy{Salt: s}}
	j, err := json.Marshal(inside)
	require.NoError(t, err)
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %x %q %s", s, s, s, s, s, s), fmt.Sprintf("%+v %#v", inside, inside.O), string(j)} {
		require.NotContains(t, text, saltText[:8])
		require.NotContains(t, text, hex.EncodeToString([]byte(saltText[:8])))
	}
	require.NotEqual(t, s.Mark(), Throwaway().Mark())
	require.Empty(t, (*Salt)(nil).Mark())
	_, err = NewSalt([]byte("too short\n\n\n\n\n\n\n\n\n\n"))
	require.ErrorContains(t, err, "9 bytes")
}

func TestParse(t *testing.T) {
	for word, want := range map[string]Mask{
		"hash": {Kind: Hash}, "drop": {Kind: Drop}, "null": {Kind: Null}, "truncate(4)": {Kind: Truncate, Length: 4}, "truncate( 12 )": {Kind: Truncate, Length: 12},
	} {
		m, err := Parse(word)
		require.NoError(t, err)
		require.Equal(t, want, m)
	}
	for _, word := range []string{"", "Hash", "truncate", "truncate()", "truncate(0)", "truncate(-1)", "truncate(4", "regex", "md5"} {
		_, err := Parse(word)
		require.Error(t, err, word)
	}
	require.ErrorContains(t, Mask{Kind: Regex, Pattern: "(?=x)"}.Validate(), "RE2")
	require.Error(t, Mask{Kind: Regex}.Validate())
}

// TestTextIsTheServersText: the hash of a value is the hash of what PostgreSQL
// prints.
func TestTextIsTheServersText(t *testing.T) {
	micros := &arrow.TimestampType{Unit: arrow.Microsecond}
	zoned := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	for _, c := range []struct {
		put  func(b array.Builder)
		typ  arrow.DataType
		want string
	}{
		{func(b array.Builder) { b.(*array.StringBuilder).Append("grüße") }, arrow.BinaryTypes.String, "grüße"},
		{func(b array.Builder) { b.(*array.BinaryBuilder).Append([]byte{0, 255}) }, arrow.BinaryTypes.Binary, "\x00\xff"},
		{func(b array.Builder) { b.(*array.BooleanBuilder).Append(true) }, arrow.FixedWidthTypes.Boolean, "t"},
		{func(b array.Builder) { b.(*array.BooleanBuilder).Append(false) }, arrow.FixedWidthTypes.Boolean, "f"},
		{func(b array.Builder) { b.(*array.Int16Builder).Append(-7) }, arrow.PrimitiveTypes.Int16, "-7"},
		{func(b array.Builder) { b.(*array.Int64Builder).Append(math.MinInt64) }, arrow.PrimitiveTypes.Int64, "-9223372036854775808"},
		{func(b array.Builder) { b.(*array.Float64Builder).Append(0.1) }, arrow.PrimitiveTypes.Float64, "0.1"},
		{func(b array.Builder) { b.(*array.Float64Builder).Append(1e15) }, arrow.PrimitiveTypes.Float64, "1e+15"},
		{func(b array.Builder) { b.(*array.Float64Builder).Append(123456789012345) }, arrow.PrimitiveTypes.Float64, "123456789012345"},
		{func(b array.Builder) { b.(*array.Float64Builder).Append(0.00001) }, arrow.PrimitiveTypes.Float64, "1e-05"},
		{func(b array.Builder) { b.(*array.Float64Builder).Append(0.0001) }, arrow.PrimitiveTypes.Float64, "0.0001"},
		{func(b array.Builder) { b.(*array.Float64Builder).Append(math.Copysign(0, -1)) }, arrow.PrimitiveTypes.Float64, "-0"},
		{func(b array.Builder) { b.(*array.Float64Builder).Append(math.NaN()) }, arrow.PrimitiveTypes.Float64, "NaN"},
		{func(b array.Builder) { b.(*array.Float64Builder).Append(math.Inf(-1)) }, arrow.PrimitiveTypes.Float64, "-Infinity"},
		{func(b array.Builder) { b.(*array.Float32Builder).Append(1e6) }, arrow.PrimitiveTypes.Float32, "1e+06"},
		{func(b array.Builder) { b.(*array.Float32Builder).Append(0.1) }, arrow.PrimitiveTypes.Float32, "0.1"},
		{func(b array.Builder) { b.(*array.Date32Builder).Append(-719162) }, arrow.FixedWidthTypes.Date32, "0001-01-01"},
		{func(b array.Builder) { b.(*array.TimestampBuilder).Append(1_500_000) }, micros, "1970-01-01 00:00:01.5"},
		{func(b array.Builder) { b.(*array.TimestampBuilder).Append(-1) }, zoned, "1969-12-31 23:59:59.999999+00"},
		{func(b array.Builder) { b.(*array.Decimal128Builder).Append(decimal128.FromI64(-5)) }, &arrow.Decimal128Type{Precision: 10, Scale: 2}, "-0.05"},
		{func(b array.Builder) { b.(*array.Decimal128Builder).Append(decimal128.FromI64(150)) }, &arrow.Decimal128Type{Precision: 10, Scale: 2}, "1.50"},
		{func(b array.Builder) { b.(*array.Decimal128Builder).Append(decimal128.FromI64(7)) }, &arrow.Decimal128Type{Precision: 20, Scale: 0}, "7"},
	} {
		b := array.NewBuilder(memory.DefaultAllocator, c.typ)
		c.put(b)
		require.True(t, textable(c.typ))
		require.Equal(t, c.want, string(appendText(nil, b.NewArray(), 0)), "%s", c.typ)
	}
	require.False(t, textable(arrow.ListOf(arrow.BinaryTypes.String)))
	require.False(t, textable(arrow.StructOf(arrow.Field{Name: "a", Type: arrow.BinaryTypes.String})))
}

func column(name string, id int32, typ arrow.DataType) cdc.Column {
	return cdc.Column{Name: name, ID: id, Type: typ, SourceType: "x", NotNull: true}
}

// people has a column for each mask, the key not the first.
func people() *cdc.Relation {
	text := arrow.BinaryTypes.String
	rel := &cdc.Relation{OID: 1, Schema: "public", Name: "people", Key: []int{2}, Columns: []cdc.Column{
		column("phone", 1, text), column("email", 2, text), column("id", 3, arrow.PrimitiveTypes.Int64), column("born", 4, arrow.FixedWidthTypes.Date32),
		column("note", 5, text), column("zip", 6, text), column("plan", 7, text),
	}}
	value := array.NewStringBuilder(memory.DefaultAllocator)
	value.Append("default@x")
	rel.Columns[1].Missing = cdc.Missing{Kind: cdc.MissingValue, Value: value.NewArray()}
	rel.Columns[3].Missing = cdc.Missing{Kind: cdc.MissingValue, Value: array.MakeArrayOfNull(memory.DefaultAllocator, arrow.FixedWidthTypes.Date32, 1), Exact: "infinity"}
	rel.Columns[4].Missing = rel.Columns[1].Missing
	return rel
}

func peopleMasks() []Column {
	return []Column{
		{Name: "phone", Mask: Mask{Kind: Drop}},
		{Name: "email", Mask: Mask{Kind: Hash}},
		{Name: "id", Mask: Mask{Kind: Hash}},
		{Name: "born", Mask: Mask{Kind: Hash}},
		{Name: "note", Mask: Mask{Kind: Regex, Pattern: `(\w+)@(\w+)`, Replacement: "***@$2"}},
		{Name: "zip", Mask: Mask{Kind: Truncate, Length: 2}},
	}
}

func peopleBatch(t *testing.T, rel *cdc.Relation, mem memory.Allocator) *cdc.Batch {
	b := array.NewRecordBuilder(mem, rel.Arrow())
	defer b.Release()
	text := func(col int, values ...any) {
		for _, v := range values {
			if v == nil {
				b.Field(col).AppendNull()
				continue
			}
			b.Field(col).(*array.StringBuilder).Append(v.(string))
		}
	}
	text(0, "0049", "0050", nil)
	text(1, "a@x", nil, nil)
	b.Field(2).(*array.Int64Builder).AppendValues([]int64{1, 2, 3}, nil)
	b.Field(3).(*array.Date32Builder).Append(0)
	b.Field(3).AppendNull()
	b.Field(3).AppendNull()
	text(4, "write to me@home or you@work", "nothing", nil)
	text(5, "äöü", "1", nil)
	text(6, "free", "paid", nil)
	return &cdc.Batch{
		Relation: rel, Rows: b.NewRecordBatch(), Ops: []cdc.Op{cdc.OpInsert, cdc.OpUpdate, cdc.OpDelete}, Seqs: []int64{0, 1, 2},
		Unchanged: [][]int32{{1}, {1}, nil, nil, nil, nil, {2}},
		Exact:     []cdc.Exact{{Row: 1, Col: 0, Text: "secret"}, {Row: 1, Col: 3, Text: "infinity"}, {Row: 2, Col: 6, Text: "plain"}},
		Faults:    []cdc.Fault{{Row: 1, Column: "born", Reason: "infinity"}, {Row: 2, Column: "plan", Reason: "kept"}, {Row: 2, Reason: "general"}},
	}
}

func TestBatchIsMasked(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	rel := people()
	p := newPlan(rel, &Policy{Columns: peopleMasks(), Salt: salt(t)})
	require.Nil(t, p.problem)
	require.Equal(t, []int{1}, p.rel.Key)
	require.Same(t, rel, p.rel.Beneath)
	names := []string{}
	for _, c := range p.rel.Columns {
		names = append(names, c.Name+" "+c.Type.String())
	}
	require.Equal(t, []string{"email utf8", "id utf8", "born utf8", "note utf8", "zip utf8", "plan utf8"}, names)
	require.Equal(t, sum("default@x"), p.rel.Columns[0].Missing.Value.ValueStr(0))
	require.Equal(t, sum("infinity"), p.rel.Columns[2].Missing.Value.ValueStr(0))
	require.Empty(t, p.rel.Columns[2].Missing.Exact)
	require.Equal(t, "***@x", p.rel.Columns[3].Missing.Value.ValueStr(0))

	b := p.batch(peopleBatch(t, rel, mem))
	got := [][]string{}
	for row := range b.Len() {
		var line []string
		for col := range p.cols {
			line = append(line, b.Rows.Column(col).ValueStr(row))
		}
		got = append(got, line)
	}
	const null = array.NullValueStr
	require.Equal(t, [][]string{
		{sum("a@x"), sum("1"), sum("1970-01-01"), "write to ***@home or ***@work", "äö", "free"},
		{null, sum("2"), sum("infinity"), "nothing", "1", "paid"},
		{null, sum("3"), null, null, null, null},
	}, got)
	require.Equal(t, [][]int32{{1}, nil, nil, nil, nil, {2}}, b.Unchanged)
	require.Equal(t, []cdc.Exact{{Row: 2, Col: 5, Text: "plain"}}, b.Exact)
	require.Equal(t, []cdc.Fault{{Row: 2, Column: "plan", Reason: "kept"}, {Row: 2, Reason: "general"}}, b.Faults)
	b.Release()
	mem.AssertSize(t, 0)
}

func TestNothingMaskedIsTheSameBatch(t *testing.T) {
	rel := people()
	require.Nil(t, newPlan(rel, nil))
	require.Nil(t, newPlan(rel, &Policy{}))
	require.Nil(t, newPlan(rel, &Policy{Columns: []Column{{Name: "other", Mask: Mask{Kind: Null}}}}))
}

func TestNullKeepsTheType(t *testing.T) {
	rel := people()
	p := newPlan(rel, &Policy{Columns: []Column{{Name: "born", Mask: Mask{Kind: Null}}, {Name: "email", Mask: Mask{Kind: Null}}}})
	b := p.batch(peopleBatch(t, rel, memory.DefaultAllocator))
	require.Equal(t, arrow.DATE32, b.Rows.Column(3).DataType().ID())
	require.Equal(t, 3, b.Rows.Column(3).NullN())
	require.Nil(t, b.Unchanged[1])
	require.Equal(t, []int32{1}, b.Unchanged[0])
	require.Equal(t, cdc.MissingNull, p.rel.Columns[3].Missing.Kind)
	require.False(t, p.rel.Columns[3].NotNull)
	for _, e := range b.Exact {
		require.NotEqual(t, 3, e.Col)
	}
}

func TestCheckRefuses(t *testing.T) {
	rel := people()
	rel.Columns = append(rel.Columns, column("tags", 8, arrow.ListOf(arrow.BinaryTypes.String)))
	for _, c := range []struct {
		m    Column
		want string
	}{
		{Column{Name: "id", Mask: Mask{Kind: Drop}}, "belongs to the key"},
		{Column{Name: "id", Mask: Mask{Kind: Null}}, "belongs to the key"},
		{Column{Name: "born", Mask: Mask{Kind: Truncate, Length: 4}}, "is for texts"},
		{Column{Name: "born", Mask: Mask{Kind: Regex, Pattern: "x"}}, "is for texts"},
		{Column{Name: "tags", Mask: Mask{Kind: Hash}}, "has no one text"},
		{Column{Name: "email", Mask: Mask{Kind: "md5"}}, "is no mask"},
	} {
		p := Check(rel, []Column{c.m}, true)
		require.NotNil(t, p, "%v", c.m)
		require.Contains(t, p.Error(), c.want)
		require.NotEmpty(t, p.Remedy)
	}
	require.Contains(t, Check(rel, []Column{{Name: "email", Mask: Mask{Kind: Hash}}}, false).Error(), "salt")
	require.Nil(t, Check(rel, peopleMasks(), true))
	// Without a key rows are a multiset, and that of what the masks leave of them
	// follows the source's for any mask.
	rel.Key, rel.Identity = nil, cdc.IdentityFull
	require.Nil(t, Check(rel, []Column{{Name: "id", Mask: Mask{Kind: Drop}}}, true))
}

// TestProblemShowsNothing: a table that cannot be masked is stopped by its
// first row, and none of its rows shows what was to be masked.
func TestProblemShowsNothing(t *testing.T) {
	rel := people()
	p := newPlan(rel, &Policy{Columns: []Column{{Name: "id", Mask: Mask{Kind: Drop}}, {Name: "email", Mask: Mask{Kind: Truncate, Length: 9}}}})
	require.NotNil(t, p.problem)
	b := p.batch(peopleBatch(t, rel, memory.DefaultAllocator))
	require.Equal(t, 0, b.Faults[0].Row)
	require.NotEmpty(t, b.Faults[0].Remedy)
	require.Equal(t, 3, b.Rows.Column(1).NullN())
	require.Len(t, b.Rows.Column(2).ValueStr(0), hashText)
	require.Equal(t, "0049", b.Rows.Column(0).ValueStr(0))
}

func TestMaskStaysWithItsColumn(t *testing.T) {
	rel := people()
	columns, more := Bind([]Column{{Name: "email", Mask: Mask{Kind: Hash}}, {Name: "later", Mask: Mask{Kind: Drop}}}, rel)
	require.True(t, more)
	require.Equal(t, []Column{{Name: "email", Mask: Mask{Kind: Hash}, ID: 2, Found: true}, {Name: "later", Mask: Mask{Kind: Drop}}}, columns)
	_, more = Bind(columns, rel)
	require.False(t, more)

	// It is renamed.
	renamed := people()
	renamed.Columns[1].Name = "mail"
	p := newPlan(renamed, &Policy{Columns: columns, Salt: salt(t)})
	require.Nil(t, p.problem)
	require.True(t, p.hidden["mail"])

	// Another one has its name then: both are masked.
	swapped := people()
	swapped.Columns[1].Name, swapped.Columns[6].Name = "mail", "email"
	both, more := Bind(columns, swapped)
	require.True(t, more)
	require.Equal(t, Column{Name: "email", Mask: Mask{Kind: Hash}, ID: 7, Found: true}, both[2])
	p = newPlan(swapped, &Policy{Columns: both, Salt: salt(t)})
	require.True(t, p.hidden["mail"] && p.hidden["email"])

	// A column comes that a mask is for.
	grown := people()
	grown.Columns = append(grown.Columns, column("later", 9, arrow.BinaryTypes.String))
	columns, _ = Bind(columns, grown)
	grown.Columns[7].Name = "otherwise"
	p = newPlan(grown, &Policy{Columns: columns, Salt: salt(t)})
	require.True(t, p.hidden["otherwise"])

	// The catalogue has gone on, and nobody can tell where it is: nothing that may
	// be it is shown, and the table is stopped.
	for i := range renamed.Columns {
		renamed.Columns[i].ID = 0
	}
	p = newPlan(renamed, &Policy{Columns: columns, Salt: salt(t)})
	require.NotNil(t, p.problem)
	require.True(t, p.problem.Lost)
	b := p.batch(peopleBatch(t, renamed, memory.DefaultAllocator))
	require.True(t, b.Faults[0].Resync)
	for i := range p.cols {
		if !renamed.IsKey(p.cols[i].from) {
			require.Equal(t, 3, b.Rows.Column(i).NullN(), p.rel.Columns[i].Name)
		}
	}

	// It is gone, and everything else is known.
	gone := people()
	gone.Columns = append(gone.Columns[:1:1], gone.Columns[2:]...)
	gone.Key = []int{1}
	require.Nil(t, Check(gone, columns[:1], true))
}

func BenchmarkHash(b *testing.B) {
	rel := &cdc.Relation{Columns: []cdc.Column{column("email", 1, arrow.BinaryTypes.String)}}
	p := newPlan(rel, &Policy{Columns: []Column{{Name: "email", Mask: Mask{Kind: Hash}}}, Salt: salt(b)})
	build := array.NewRecordBuilder(memory.DefaultAllocator, rel.Arrow())
	const rows = 10_000
	for i := range rows {
		build.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("somebody%d@example.org", i))
	}
	rec := build.NewRecordBatch()
	ops := make([]cdc.Op, rows)
	begun := time.Now()
	for b.Loop() {
		rec.Retain()
		p.batch(&cdc.Batch{Relation: rel, Rows: rec, Ops: ops}).Release()
	}
	b.ReportMetric(float64(b.N)*rows/time.Since(begun).Seconds(), "values/s")
}
