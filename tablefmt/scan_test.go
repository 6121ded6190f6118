package tablefmt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
	"github.com/lakeload/lakeload/tablefmt/predicate"
)

// mayHold asks of a column c whether a condition may hold by statistics.
func mayHold(t *testing.T, typ Type, rows *int64, low, high, nulls, where string) bool {
	t.Helper()
	e, err := predicate.Parse(where)
	require.NoError(t, err, where)
	schema, err := (&Schema{Fields: []Field{{Name: "c", Type: typ, Nullable: true}}}).Arrow()
	require.NoError(t, err)
	f, err := predicate.Bind(e, schema)
	require.NoError(t, err, where)
	raw := func(s string) json.RawMessage {
		if s == "" {
			return nil
		}
		return json.RawMessage(s)
	}
	return f.Outcomes(func(int) predicate.Range { return statsRange(typ, false, rows, raw(low), raw(high), raw(nulls)) }).Possible()
}

// TestWhatStatisticsProve: at the edges of what writers write.
func TestWhatStatisticsProve(t *testing.T) {
	quoted := func(s string) string { return string(must(json.Marshal(s))) }
	a := strings.Repeat("a", 32)
	face := "\U0001F600"
	for _, c := range []struct {
		typ       Type
		low, high string
		where     string
		may       bool
	}{
		{Long, "1", "5", "c = 5", true},
		{Long, "1", "5", "c = 6", false},
		{Long, "1", "5", "c > 5", false},
		{Long, "1", "5", "c > 4.5", true},
		{Long, "1", "5", "c > 5.5", false},
		{Long, "1", "5", "c in (0, 6, 7)", false},
		{Long, "1", "5", "c in (0, 3, 7)", true},
		{Long, "5", "5", "c <> 5", false},
		{Long, "1", "", "c < 1", false},
		{Long, "", "5", "c < 1", true},
		{Long, "5", "1", "c = 9", true}, // they contradict each other
		{Long, "1.0", `"5"`, "c = 9", true},
		{Long, "1", "99999999999999999999", "c = 9", true},
		{Double, "1.5", "2.5", "c < 1.5", false},
		{Double, "1.5", "2.5", "c > 2.5", true}, // NaN
		{Double, "1.5", "2.5", "c = 'NaN'", true},
		{Double, "1.5", "2.5", "c <= 2.5", true},
		{Double, "1.5", "2.5", "not c <= 2.5", true},
		{Double, "1.5", "1.5", "c <> 1.5", true},
		{Double, "-0.0", "0.0", "c = 0", true},
		{Double, `"NaN"`, `"NaN"`, "c = 0", true},
		{Float, "0.1", "0.1", "c = 0.10000000149011612", true},
		{Float, "0.1", "0.1", "c < 0.1000000014", false},
		{Decimal{9, 2}, "1.5", "2.25", "c = 2.25", true},
		{Decimal{9, 2}, "1.5", "2.25", "c > 2.25", false},
		{Decimal{9, 2}, "1E+1", "2e1", "c > 20 or c < 10", false},
		{Decimal{9, 2}, "1", "1e999999999", "c = 7", true},
		{Decimal{9, 2}, "0x1", "0b11", "c = 7", true},
		{Decimal{38, 0}, "1", "12345678901234567000", "c = 12345678901234567890", true}, // as a double rounds it
		{Decimal{38, 0}, "1", "12345678901234567000", "c > 12345678901300000000", false},
		{Boolean, "false", "false", "c = true", true},
		{Binary, `"a"`, `"b"`, "c = 'x'", true},
		{Date, `"2026-01-01"`, `"2026-01-31"`, "c > '2026-01-31'", false},
		{Date, `"2026-01-01"`, `"2026-01-31"`, "c >= '2026-01-31'", true},
		{Date, `"0001-01-03"`, `"0001-01-03"`, "c = '0001-01-01'", true}, // of another calendar
		{Date, `"+10000-01-01"`, `"10000-01-01"`, "c = '2026-01-01'", true},
		{Timestamp, `"2026-01-01T00:00:00.000Z"`, `"2026-01-01T00:00:00.123Z"`, "c = '2026-01-01T00:00:00.123999Z'", true},
		{Timestamp, `"2026-01-01T00:00:00.000Z"`, `"2026-01-01T00:00:00.123Z"`, "c > '2026-01-01T00:00:00.124Z'", false},
		{Timestamp, `"2026-01-01T00:00:00.000Z"`, `"2026-01-01T00:00:00.123Z"`, "c < '2026-01-01T00:00:00Z'", false},
		{Timestamp, `"2026-01-01T00:00:00.000+01:00"`, `"2026-01-01T00:00:00.123+01:00"`, "c > '2025-12-31T23:30:00Z'", false},
		{Timestamp, `"1969-12-31T23:59:59.999Z"`, `"1970-01-01T00:00:00.000Z"`, "c = '1969-12-31T23:59:59.998001Z'", true},
		{Timestamp, `"1880-01-01T00:00:00.000-07:52"`, `"1880-01-01T00:00:00.000-07:52"`, "c = '1880-01-01T07:52:58Z'", true},
		{Timestamp, `"2026-01-01T00:00:00.000"`, `"2026-01-01T00:00:00.123"`, "c > '2027-01-01T00:00:00Z'", true}, // of which zone?
		{TimestampNTZ, `"2026-01-01T00:00:00.000"`, `"2026-01-01T00:00:00.123"`, "c > '2026-01-02'", false},
		{TimestampNTZ, `"2026-01-01"`, `"2026-01-01T00:00:00.123Z"`, "c > '2026-01-02'", false},
		{TimestampNTZ, `"2026-01-01"`, `"2026-01-01T00:00:00.123+01:00"`, "c > '2026-01-02'", true},
		{String, `"b"`, `"d"`, "c = 'a'", false},
		{String, `"b"`, `"d"`, "c = 'd'", true},
		{String, `"b"`, `"d"`, "c = 'da'", false},
		{String, `"b"`, `"d"`, "c like 'e%'", false},
		{String, `"b"`, `"d"`, "c like 'a%'", false},
		{String, `"ba"`, `"bz"`, "c like 'b%'", true},
		{String, `"ba"`, `"bz"`, "c not like 'b%'", false},
		{String, `"ba"`, `"bz"`, "c like 'bab%'", true},
		{String, quoted(a), quoted(a), "c = '" + a + "a'", true}, // cut, and not made greater
		{String, quoted(a), quoted(a), "c like '" + a + "z%'", true},
		{String, quoted(a), quoted(a), "c = 'b'", false},
		{String, quoted(a), quoted(strings.Repeat("ä", 32)), "c = '" + strings.Repeat("ä", 32) + "z'", true},
		{String, quoted(a), quoted(strings.Repeat(face, 32)), "c = '" + strings.Repeat(face, 32) + "z'", true},
		{String, quoted(a), quoted(strings.Repeat("ä", 16)), "c = '" + strings.Repeat("ä", 16) + "z'", true},
		{String, quoted(a), quoted(strings.Repeat("ä", 15)), "c = '" + strings.Repeat("ä", 15) + "z'", false},
		{String, quoted(a), quoted(a + "\x7f"), "c = '" + a + "z'", true},
		{String, quoted(a), quoted(a + "\x7f"), "c = '" + a + "\u0080'", false},
		{String, quoted(a), quoted(a + "\uFFFD"), "c = '" + a + face + "'", true}, // which is greater, in UTF-8
		{String, quoted(a), quoted(a[:31] + "?\uFFFD"), "c = '" + a[:31] + face + "'", true},
		{String, quoted(a), `"` + a[:31] + `\ud83d` + "\uFFFD\"", "c = '" + a[:31] + face + "'", true},
		{String, quoted(a), quoted(a + "\uFFFD"), "c = 'b'", false},
		{String, quoted("\uFFFD"), quoted("\uFFFD"), "c = '\u00ff'", true}, // bytes that were no text
		{String, `7`, `null`, "c = '8'", true},
	} {
		require.Equal(t, c.may, mayHold(t, c.typ, nil, c.low, c.high, "0", c.where), "%s from %s to %s: %s", c.typ, c.low, c.high, c.where)
	}
	for _, c := range []struct {
		rows  int64 // 0: not known
		nulls string
		where string
		may   bool
	}{
		{10, "0", "c is null", false},
		{10, "0", "c is not null", true},
		{10, "10", "c is not null", false},
		{10, "10", "c = 5", false},
		{10, "10", "not c = 5", false},
		{10, "10", "c <=> 5", false},
		{10, "10", "not c <=> 5", true},
		{10, "3", "c is null", true},
		{10, "3", "c is not null", true},
		{0, "0", "c is null", false},
		{0, "10", "c is not null", true},
		{10, "11", "c is not null", true}, // damaged
		{10, "-1", "c is null", true},
		{10, `"0"`, "c is null", true},
		{10, "", "c is null", true},
	} {
		var rows *int64
		if c.rows > 0 {
			rows = &c.rows
		}
		require.Equal(t, c.may, mayHold(t, Long, rows, "", "", c.nulls, c.where), "%s of %d: %s", c.nulls, c.rows, c.where)
	}
	ten := int64(10)
	require.True(t, mayHold(t, Long, &ten, "1", "2", "10", "c = 1"), "bounds of what are all nulls")
	require.True(t, mayHold(t, Long, &ten, "1", "2", "11", "c = 9"), "more nulls than rows")
}

// TestDecimalsAsDoubles: whatever value a bound was, it is not beyond the bound
// that is read of its nearest double.
func TestDecimalsAsDoubles(t *testing.T) {
	for _, digits := range []string{"12345678901234567890123456789012345678", "99999999999999999999999999999999999999", "-10000000000000000000000000000000000001", "9007199254740993", "-123456789012345678"} {
		r, _ := new(big.Rat).SetString(digits)
		x, _ := r.Float64()
		text := strconv.FormatFloat(x, 'g', -1, 64)
		require.True(t, mayHold(t, Decimal{38, 0}, nil, text, text, "0", "c = "+digits), digits)
	}
}

// peopleTable is a table of files of 3000 people for each of some days.
func peopleTable(t *testing.T, days ...string) *Snapshot {
	t.Helper()
	s := create(t, Location{Data: must(objstore.NewLocal(t.TempDir()))}, peopleSchema, "day", "kind")
	tx := Begin(s.Location(), s)
	for i, day := range days {
		tx.Add(*writePeople(t, s, &day, nil, 3000*i, 3000))
	}
	return must(tx.Commit(context.Background()))
}

func parse(t *testing.T, text string) *predicate.Expr {
	t.Helper()
	return must(predicate.Parse(text))
}

// TestScanSkips: what is not read, and told of.
func TestScanSkips(t *testing.T) {
	s := peopleTable(t, "2024-01-01", "2024-01-02", "2024-01-03")
	for _, c := range []struct {
		where string
		want  ScanCounts
	}{
		{"day = '2024-01-02'", ScanCounts{Files: 3, SkippedByPartition: 2, RowGroups: 3, Rows: 3000}},
		{"day = '2024-01-02' and id < 0", ScanCounts{Files: 3, SkippedByPartition: 2, SkippedByStats: 1}},
		{"id = 4000", ScanCounts{Files: 3, SkippedByStats: 2, RowGroups: 3, RowGroupsSkipped: 2, Rows: 1}},
		{"id >= 4000 and id < 5000", ScanCounts{Files: 3, SkippedByStats: 2, RowGroups: 3, RowGroupsSkipped: 2, Rows: 1000}},
		{"kind is not null", ScanCounts{Files: 3, SkippedByPartition: 3}},
		{"kind = 'x' or id = 1", ScanCounts{Files: 3, SkippedByStats: 2, RowGroups: 3, RowGroupsSkipped: 2, Rows: 1}},
		{"day <> '2024-01-02' and name is null", ScanCounts{Files: 3, SkippedByPartition: 1, RowGroups: 6, Rows: 857}},
	} {
		var got ScanCounts
		rows := scanRows(t, s, ScanOptions{Where: parse(t, c.where), Columns: []string{"name"}, Counts: &got})
		require.Len(t, rows, int(got.Rows))
		require.Equal(t, c.want, got, c.where)
	}
	require.Equal(t, []string{`day="2024-01-02" id="4000"`}, scanRows(t, s, ScanOptions{Where: parse(t, "name = 'n4000'"), Columns: []string{"day", "id"}}))
	require.Empty(t, scanRows(t, s, ScanOptions{Where: parse(t, "name = 'n4'"), Keep: func(a *AddFile) bool { return *a.PartitionValues["day"] != "2024-01-01" }}))
	var n int64
	require.NoError(t, s.Scan(context.Background(), ScanOptions{Columns: []string{}, Where: parse(t, "name like 'n1%'")}, func(rec arrow.RecordBatch) error {
		require.Zero(t, rec.NumCols())
		n += rec.NumRows()
		return nil
	}))
	var want int64
	for i := range 9000 {
		if i%7 != 0 && strings.HasPrefix(fmt.Sprint(i), "1") {
			want++
		}
	}
	require.Equal(t, want, n, "rows without columns")
}

// TestScanEnds: by a limit, an error, a context; nothing goes on behind it, which
// TestMain looks for.
func TestScanEnds(t *testing.T) {
	s := peopleTable(t, "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04")
	ctx := context.Background()
	var counts ScanCounts
	require.Len(t, scanRows(t, s, ScanOptions{Limit: 5, Counts: &counts}), 5)
	require.Equal(t, ScanCounts{Files: 1, RowGroups: 3, Rows: 5}, counts)
	require.Len(t, scanRows(t, s, ScanOptions{Limit: 5, Where: parse(t, "id >= 0")}), 5)
	require.Len(t, scanRows(t, s, ScanOptions{Limit: 20_000}), 12_000)
	require.Len(t, scanRows(t, s, ScanOptions{Limit: 12_000}), 12_000)

	enough := errors.New("enough")
	for _, files := range []int{1, 3} {
		calls := 0
		err := s.Scan(ctx, ScanOptions{Files: files}, func(arrow.RecordBatch) error { calls++; return enough })
		require.Equal(t, enough, err)
		require.Equal(t, 1, calls)
		ctx, cancel := context.WithCancelCause(ctx)
		err = s.Scan(ctx, ScanOptions{Files: files}, func(arrow.RecordBatch) error { cancel(enough); return nil })
		require.ErrorIs(t, err, enough)
	}
	for _, o := range []ScanOptions{{Limit: -1}, {BatchRows: -1}, {Files: -1}, {Where: parse(t, "nope = 1")}, {Where: parse(t, "id = 'x'")}} {
		require.ErrorIs(t, s.Scan(ctx, o, func(arrow.RecordBatch) error { return nil }), ErrInvalid)
	}
	var bad *predicate.Error
	require.ErrorAs(t, s.Scan(ctx, ScanOptions{Where: parse(t, "nope = 1")}, nil), &bad)

	// A file that is lost is told of if it is needed, and only then.
	for a := range s.Files() {
		if *a.PartitionValues["day"] == "2024-01-03" {
			require.NoError(t, s.Location().Data.Delete(ctx, must(a.DataPath())))
		}
	}
	require.Len(t, scanRows(t, s, ScanOptions{Where: parse(t, "day < '2024-01-03'")}), 6000)
	for _, files := range []int{1, 4} {
		err := s.Scan(ctx, ScanOptions{Where: parse(t, "name is null"), Files: files}, func(arrow.RecordBatch) error { return nil })
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, "2024-01-03")
	}
}

// TestScanOfWrongPartitionValues: what is no value is not taken for one that does
// not match.
func TestScanOfWrongPartitionValues(t *testing.T) {
	s := peopleTable(t, "2024-01-01")
	log := s.Location().log()
	line := must(log.Get(context.Background(), commitName(1)))
	require.NoError(t, log.Delete(context.Background(), commitName(1)))
	require.NoError(t, log.Put(context.Background(), commitName(1), []byte(strings.ReplaceAll(string(line), `"day":"2024-01-01"`, `"day":"yesterday"`))))
	s = must(Load(context.Background(), s.Location()))
	err := s.Scan(context.Background(), ScanOptions{Where: parse(t, "day = '2025-01-01'")}, func(arrow.RecordBatch) error { return nil })
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "yesterday")
}
