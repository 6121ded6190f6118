package tablefmt

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lakeload/lakeload/tablefmt/dv"
	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// scannedSchema has every type that values are compared of.
var scannedSchema = &Schema{Fields: []Field{
	{Name: "p", Type: String, Nullable: true}, // of another type in each table
	{Name: "b", Type: Byte, Nullable: true},
	{Name: "i", Type: Integer, Nullable: true},
	{Name: "n", Type: Long, Nullable: true},
	{Name: "f", Type: Float, Nullable: true},
	{Name: "g", Type: Double, Nullable: true},
	{Name: "d", Type: Decimal{9, 2}, Nullable: true},
	{Name: "big", Type: Decimal{38, 3}, Nullable: true},
	{Name: "s", Type: String, Nullable: true},
	{Name: "x", Type: Binary, Nullable: true},
	{Name: "ok", Type: Boolean, Nullable: true},
	{Name: "day", Type: Date, Nullable: true},
	{Name: "at", Type: Timestamp, Nullable: true},
	{Name: "local", Type: TimestampNTZ, Nullable: true},
	{Name: "st", Type: &Struct{Fields: []Field{
		{Name: "n", Type: Long, Nullable: true}, {Name: "s", Type: String, Nullable: true},
	}}, Nullable: true},
	{Name: "l", Type: &Array{Element: Long, ContainsNull: true}, Nullable: true},
}}

func drawText(t *rapid.T) string {
	stem := rapid.SampledFrom([]string{"", "a", strings.Repeat("a", 30), strings.Repeat("a", 31), strings.Repeat("ä", 31)}).Draw(t, "stem")
	tail := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ä", "\U0001F600", "\uFFFD", "\uFFFF", "\U0010FFFF", "\x7f"}), 0, 4).Draw(t, "tail")
	return stem + strings.Join(tail, "")
}

// drawInto appends a value to a builder. center keeps those of a file together,
// so that files can be told apart.
func drawInto(t *rapid.T, b array.Builder, center int64) {
	if rapid.IntRange(0, 5).Draw(t, "null") == 0 {
		b.AppendNull()
		return
	}
	n := center + rapid.Int64Range(-2, 2).Draw(t, "near")
	float := func() float64 {
		if k := rapid.IntRange(0, 30).Draw(t, "odd"); k < 4 {
			return []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)}[k]
		}
		return float64(n) / 3
	}
	switch b := b.(type) {
	case *array.Int8Builder:
		b.Append(int8(n))
	case *array.Int32Builder:
		b.Append(int32(n))
	case *array.Int64Builder:
		b.Append(n * 1_000_000_007)
	case *array.Float32Builder:
		b.Append(float32(float()))
	case *array.Float64Builder:
		b.Append(float())
	case *array.Decimal128Builder:
		x := decimal128.FromI64(n)
		if b.Type().(*arrow.Decimal128Type).Precision == 38 { // more digits than a double has
			x = x.Mul(decimal128.FromI64(1_000_000_000_000_000_003)).Add(decimal128.FromI64(rapid.Int64Range(-3, 3).Draw(t, "last digits")))
		}
		b.Append(x)
	case *array.StringBuilder:
		b.Append(drawText(t))
	case *array.BinaryBuilder:
		b.AppendString(drawText(t))
	case *array.BooleanBuilder:
		b.Append(n&1 == 1)
	case *array.Date32Builder:
		b.Append(arrow.Date32(n * 100))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(n*1_000_000 + rapid.SampledFrom([]int64{0, 1, 999, 1000, -1, -999}).Draw(t, "micros")))
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			drawInto(t, b.FieldBuilder(i), center)
		}
	case *array.ListBuilder:
		b.Append(true)
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			drawInto(t, b.ValueBuilder(), center)
		}
	default:
		panic(b)
	}
}

// literalOf gives a value of a column as a literal.
func literalOf(a arrow.Array, i int) predicate.Literal {
	if a.IsNull(i) {
		return predicate.Null()
	}
	switch a := a.(type) {
	case *array.Float32:
		return predicate.Float(float64(a.Value(i)))
	case *array.Float64:
		return predicate.Float(a.Value(i))
	case *array.String:
		return predicate.Text(strings.Clone(a.Value(i)))
	case *array.Binary:
		return predicate.Bytes(a.Value(i))
	case *array.Boolean:
		return predicate.Bool(a.Value(i))
	case *array.Date32:
		return predicate.Text(a.Value(i).ToTime().Format(time.DateOnly))
	case *array.Timestamp:
		at := time.UnixMicro(int64(a.Value(i))).UTC()
		if a.DataType().(*arrow.TimestampType).TimeZone == "" {
			return predicate.Text(at.Format("2006-01-02 15:04:05.000000"))
		}
		return predicate.Instant(at)
	}
	return predicate.Number(a.ValueStr(i))
}

// drawWhere draws a condition with literals out of the rows.
func drawWhere(t *rapid.T, rows []arrow.RecordBatch, depth int) *predicate.Expr {
	if depth > 0 && rapid.Bool().Draw(t, "inner node") {
		e := &predicate.Expr{Op: rapid.SampledFrom([]predicate.Op{predicate.And, predicate.Or, predicate.Not}).Draw(t, "junction")}
		e.Args = append(e.Args, drawWhere(t, rows, depth-1))
		if e.Op != predicate.Not {
			e.Args = append(e.Args, drawWhere(t, rows, depth-1))
		}
		return e
	}
	rec := rapid.SampledFrom(rows).Draw(t, "file")
	at := rapid.IntRange(0, int(rec.NumCols())-1).Draw(t, "column")
	path, a := []string{rec.ColumnName(at)}, rec.Column(at)
	if st, ok := a.(*array.Struct); ok && rapid.IntRange(0, 5).Draw(t, "whole struct") > 0 {
		i := rapid.IntRange(0, st.NumField()-1).Draw(t, "field")
		path, a = append(path, st.DataType().(*arrow.StructType).Field(i).Name), st.Field(i)
	}
	column := predicate.Col(path...)
	ops := []predicate.Op{predicate.IsNull}
	if _, ok := predicate.ValueAt(a, 0); ok {
		ops = []predicate.Op{predicate.IsNull, predicate.Equal, predicate.NotEqual, predicate.Less, predicate.LessEqual, predicate.Greater, predicate.GreaterEqual, predicate.NullSafeEqual, predicate.In}
	}
	if a.DataType().ID() == arrow.STRING {
		ops = append(ops, predicate.StartsWith)
	}
	op := rapid.SampledFrom(ops).Draw(t, "op")
	if op == predicate.IsNull {
		return predicate.Test(column, op)
	}
	one := func() predicate.Literal { return literalOf(a, rapid.IntRange(0, a.Len()-1).Draw(t, "row")) }
	switch op {
	case predicate.In:
		return predicate.Test(column, op, one(), one(), one(), one(), one())
	case predicate.StartsWith:
		l := one()
		l.Text = l.Text[:rapid.IntRange(0, len(l.Text)).Draw(t, "prefix")]
		return predicate.Test(column, op, predicate.Text(strings.ToValidUTF8(l.Text, "")))
	}
	return predicate.Test(column, op, one())
}

// asOthersDo makes statistics of rows as other writers make them: less, cut in
// other ways, computed in doubles; or damaged such that they contradict themselves.
func asOthersDo(t *rapid.T, s *Snapshot, a *AddFile, rec arrow.RecordBatch) {
	var st map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(a.Stats), &st))
	lows, highs, nulls := object(st["minValues"]), object(st["maxValues"]), object(st["nullCount"])
	for i, f := range rec.Schema().Fields() {
		name := must2(s.PhysicalName(f.Name))
		low, high := lows[name], highs[name]
		if strs, ok := rec.Column(i).(*array.String); ok && low != nil {
			greatest := ""
			for j := range strs.Len() {
				if strs.IsValid(j) {
					greatest = max(greatest, strs.Value(j))
				}
			}
			switch rapid.IntRange(0, 3).Draw(t, "text") {
			case 0:
				high = must(json.Marshal(greatest))
			case 1: // cut, and not made greater
				high = must(json.Marshal(string([]rune(greatest)[:min(32, len([]rune(greatest)))])))
			case 2: // by old Delta
				if u := utf16.Encode([]rune(greatest)); len(u) > 32 {
					k := 32
					for k < len(u) && u[k] >= 0xFFFD {
						k++
					}
					half := string(utf16.Decode(u[:k]))
					if rapid.Bool().Draw(t, "question mark") && utf16.IsSurrogate(rune(u[31])) && (u[31] < 0xDC00) {
						half = string(utf16.Decode(u[:31])) + "?" + string(utf16.Decode(u[32:k]))
					}
					high = must(json.Marshal(half + "\uFFFD"))
				}
			}
		}
		if times, ok := rec.Column(i).(*array.Timestamp); ok && low != nil && rapid.Bool().Draw(t, "milliseconds") {
			least, most := int64(math.MaxInt64), int64(math.MinInt64)
			for j := range times.Len() {
				if times.IsValid(j) {
					least, most = min(least, int64(times.Value(j))), max(most, int64(times.Value(j)))
				}
			}
			layout := `"2006-01-02T15:04:05.000Z07:00"`
			if f.Type.(*arrow.TimestampType).TimeZone == "" {
				layout = `"2006-01-02T15:04:05.000"`
			}
			low = json.RawMessage(time.UnixMilli(least / 1000).UTC().Format(layout)) // towards 1970
			high = json.RawMessage(time.UnixMilli(floorOf(most, 1000)).UTC().Format(layout))
		}
		if fs, ok := rec.Column(i).(*array.Float64); ok && rapid.Bool().Draw(t, "as if there were no NaN") {
			low, high = nil, nil
			for j, v := range fs.Float64Values() {
				if fs.IsValid(j) && !math.IsNaN(v) && !math.IsInf(v, 0) {
					low, high = json.RawMessage(strconv.FormatFloat(v, 'g', -1, 64)), json.RawMessage(strconv.FormatFloat(v, 'g', -1, 64))
				}
			}
			for j, v := range fs.Float64Values() {
				if fs.IsValid(j) && low != nil && !math.IsNaN(v) {
					l, _ := strconv.ParseFloat(string(low), 64)
					h, _ := strconv.ParseFloat(string(high), 64)
					low, high = json.RawMessage(strconv.FormatFloat(min(l, v), 'g', -1, 64)), json.RawMessage(strconv.FormatFloat(max(h, v), 'g', -1, 64))
				}
			}
			if strings.Contains(string(low)+string(high), "Inf") {
				low, high = nil, nil
			}
		}
		if f.Type.ID() == arrow.DECIMAL128 && low != nil && rapid.Bool().Draw(t, "doubles") {
			for _, bound := range []*json.RawMessage{&low, &high} {
				r, _ := new(big.Rat).SetString(string(*bound))
				x, _ := r.Float64()
				*bound = strconv.AppendFloat(nil, x, 'g', -1, 64)
			}
		}
		switch rapid.IntRange(0, 14).Draw(t, "less") {
		case 0:
			low = nil
		case 1:
			high = nil
		case 2:
			if f.Type.ID() == arrow.INT64 {
				low, high = high, low
			}
		case 3:
			low, high = json.RawMessage(`"nonsense"`), json.RawMessage(`{"a":1}`)
			if f.Type.ID() == arrow.STRING {
				low, high = json.RawMessage(`7`), json.RawMessage(`null`)
			}
		case 4:
			delete(nulls, name)
		case 5:
			if rec.Column(i).DataType().ID() != arrow.STRUCT {
				nulls[name] = json.RawMessage(rapid.SampledFrom([]string{"-1", "1e99", "99999", `"0"`}).Draw(t, "nonsense"))
			}
		}
		lows[name], highs[name] = low, high
	}
	for _, m := range []map[string]json.RawMessage{lows, highs} {
		maps.DeleteFunc(m, func(_ string, v json.RawMessage) bool { return v == nil })
	}
	for key, m := range map[string]map[string]json.RawMessage{"minValues": lows, "maxValues": highs, "nullCount": nulls} {
		if st[key] = must(json.Marshal(m)); rapid.IntRange(0, 9).Draw(t, "absent") == 0 {
			delete(st, key)
		}
	}
	if a.DeletionVector == nil && rapid.IntRange(0, 9).Draw(t, "no number") == 0 {
		delete(st, "numRecords")
	}
	a.Stats = string(must(json.Marshal(st)))
	if rapid.IntRange(0, 9).Draw(t, "no statistics") == 0 {
		a.Stats = rapid.SampledFrom([]string{"", "{}", "{", "null", "[]"}).Draw(t, "nothing")
		if a.DeletionVector != nil {
			a.Stats = fmt.Sprintf(`{"numRecords":%d}`, rec.NumRows())
		}
	}
}

func floorOf(a, b int64) int64 { return int64(math.Floor(float64(a) / float64(b))) }

// drawScanned makes a table of a few files, and gives the rows of each with those
// that are deleted.
func drawScanned(t *rapid.T) (s *Snapshot, written []arrow.RecordBatch) {
	ctx := context.Background()
	schema := &Schema{Fields: slices.Clone(scannedSchema.Fields)}
	schema.Fields[0].Type = rapid.SampledFrom([]Type{String, Long, Byte, Float, Double, Decimal{9, 2}, Boolean, Date, Timestamp, TimestampNTZ, Binary}).Draw(t, "partition type")
	mode := rapid.SampledFrom([]MappingMode{MappingNone, MappingName, MappingID}).Draw(t, "mode")
	md := &Metadata{PartitionColumns: []string{"p"}, Configuration: map[string]string{PropDeletionVectors: "true"}}
	if mode != MappingNone {
		md.Configuration[PropMappingMode] = string(mode)
	}
	require.NoError(t, md.SetSchema(schema))
	tx := Begin(memoryTable(), nil)
	tx.SetProtocol(MirrorProtocol(ProtocolOptions{ColumnMapping: mode != MappingNone, TimestampNTZ: true}))
	tx.SetMetadata(md)
	s = must(tx.Commit(ctx))
	tx = Begin(s.Location(), s)
	for range rapid.IntRange(1, 4).Draw(t, "files") {
		center, rows := rapid.Int64Range(-20, 20).Draw(t, "center"), rapid.IntRange(1, 40).Draw(t, "rows")
		b := array.NewBuilder(memory.DefaultAllocator, s.Arrow().Field(0).Type)
		drawInto(t, b, center)
		part := b.NewArray()
		value, err := FormatPartitionValue(part, 0)
		if err != nil {
			value = nil
		}
		w, err := s.NewFileWriter(ctx, FileOptions{
			PartitionValues: map[string]*string{"p": value}, RowGroupRows: rapid.SampledFrom([]int{0, 1, 7}).Draw(t, "group"), StatsColumns: rapid.SampledFrom([]int{0, -1, -2, 5}).Draw(t, "indexed"),
		})
		require.NoError(t, err)
		rb := array.NewRecordBuilder(memory.DefaultAllocator, s.DataArrow())
		for range rows {
			for i := range rb.Fields() {
				drawInto(t, rb.Field(i), center)
			}
		}
		rec := rb.NewRecordBatch()
		_, err = w.Write(rec)
		require.NoError(t, err)
		a, err := w.Close()
		require.NoError(t, err)
		if gone := rapid.SliceOfNDistinct(rapid.Uint64Range(0, uint64(rows-1)), 0, rows-1, rapid.ID).Draw(t, "deleted"); len(gone) > 0 {
			ds, err := WriteDeletionVectors(ctx, s.Location(), []*dv.Bitmap{dv.New(gone...)})
			require.NoError(t, err)
			*a = must(a.WithVector(ds[0]))
		}
		if rapid.Bool().Draw(t, "by others") {
			asOthersDo(t, s, a, rec)
		}
		tx.Add(*a)
		written = append(written, rec)
	}
	return must(tx.Commit(ctx)), written
}

// shown gives rows as text, floats by their bits.
func shown(rec arrow.RecordBatch) (rows []string) {
	for i := range int(rec.NumRows()) {
		var b strings.Builder
		for _, c := range rec.Columns() {
			if f, ok := c.(*array.Float64); ok && f.IsValid(i) {
				fmt.Fprintf(&b, "%x|", math.Float64bits(f.Value(i)))
				continue
			}
			fmt.Fprintf(&b, "%q|", c.ValueStr(i))
		}
		rows = append(rows, b.String())
	}
	return rows
}

// TestScanAtRandom holds scans with conditions against the rows of the whole
// table, of which the condition is asked one by one: whatever is skipped, nothing
// is missing, and nothing is too much.
func TestScanAtRandom(t *testing.T) {
	var total ScanCounts
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		s, written := drawScanned(t)
		if rapid.Bool().Draw(t, "loaded") {
			s = must(Load(ctx, s.Location()))
		}
		for range 5 {
			where := drawWhere(t, written, 2)
			var columns []string // in another order, and not all
			for _, f := range s.Arrow().Fields() {
				if rapid.Bool().Draw(t, "column") {
					columns = append([]string{f.Name}, columns...)
				}
			}
			if rapid.Bool().Draw(t, "all columns") {
				columns = nil
			}
			filter, err := predicate.Bind(where, s.Arrow())
			require.NoError(t, err)
			want := []string{}
			require.NoError(t, s.Scan(ctx, ScanOptions{}, func(rec arrow.RecordBatch) error {
				truth, err := filter.Eval(rec)
				require.NoError(t, err)
				given := rec
				if columns != nil {
					cols := make([]arrow.Array, len(columns))
					for i, name := range columns {
						cols[i] = rec.Column(rec.Schema().FieldIndices(name)[0])
					}
					schema, err := projectedSchema(s, columns)
					require.NoError(t, err)
					given = array.NewRecordBatch(schema, cols, rec.NumRows())
				}
				for i, row := range shown(given) {
					if truth[i] == predicate.Yes {
						want = append(want, row)
					}
				}
				return nil
			}))
			var counts ScanCounts
			o := ScanOptions{Columns: columns, Where: where, BatchRows: rapid.SampledFrom([]int{0, 3}).Draw(t, "batch"), Files: rapid.IntRange(0, 3).Draw(t, "at a time"), Counts: &counts}
			got := []string{}
			take := func(rec arrow.RecordBatch) error {
				require.NotZero(t, rec.NumRows())
				got = append(got, shown(rec)...)
				return nil
			}
			require.NoError(t, s.Scan(ctx, o, take), "%s", where)
			require.Equal(t, sorted(want), sorted(got), "%s\n%+v", where, counts)
			require.Equal(t, int64(len(got)), counts.Rows)
			require.Equal(t, int64(s.NumFiles()), counts.Files)
			total.SkippedByPartition += counts.SkippedByPartition
			total.SkippedByStats += counts.SkippedByStats
			total.RowGroupsSkipped += counts.RowGroupsSkipped

			o.Limit = rapid.Int64Range(1, 20).Draw(t, "limit")
			all := got
			got = []string{}
			require.NoError(t, s.Scan(ctx, o, take))
			require.Len(t, got, min(int(o.Limit), len(all)))
			for _, row := range got {
				require.Contains(t, all, row)
			}
		}
	})
	require.Positive(t, total.SkippedByPartition)
	require.Positive(t, total.SkippedByStats)
	require.Positive(t, total.RowGroupsSkipped)
}

func projectedSchema(s *Snapshot, columns []string) (*arrow.Schema, error) {
	var fields []arrow.Field
	for _, name := range columns {
		f, ok := s.Arrow().FieldsByName(name)
		if !ok {
			return nil, fmt.Errorf("no column %q", name)
		}
		fields = append(fields, f[0])
	}
	return arrow.NewSchema(fields, nil), nil
}
