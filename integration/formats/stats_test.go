package formats_test

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt"
)

const statsColumns = `id INT, l LONG, b BYTE, sh SHORT, f FLOAT, d DOUBLE, dec DECIMAL(10,2), dec0 DECIMAL(18,0), big DECIMAL(38,10), s STRING, t BOOLEAN, day DATE, ntz TIMESTAMP_NTZ, ts TIMESTAMP,
	st STRUCT<x: INT, y: STRING, z: STRUCT<w: DOUBLE, v: ARRAY<INT>>>, ar ARRAY<STRUCT<q: INT>>, m MAP<STRING, INT>, bin BINARY, empty STRING`

// statsRows are sets of rows: each makes a file of its own.
var statsRows = map[string][]string{
	"ordinary": {
		`(1, 10, 1Y, 1S, 0.1F, 1.5D, 1.50, 7, 1.5, 'abc', true, DATE'2024-02-29', TIMESTAMP_NTZ'2024-02-29 01:02:03.456789', TIMESTAMP'2024-02-29 01:02:03.456789Z', struct(5, 'y', struct(0.5D, array(1))), array(struct(1)), map('k', 1), X'00', null)`,
		`(2, -10, -1Y, -1S, 100F, -1.5D, -1.50, -7, -1.5, 'Äbc', false, DATE'1969-12-31', TIMESTAMP_NTZ'1969-12-31 23:59:59.999999', TIMESTAMP'1969-12-31 23:59:59.999001Z', struct(null, null, null), null, null, null, null)`,
		`(3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)`,
	},
	"extreme": {
		`(2147483647, 9223372036854775807, 127Y, 32767S, 3.4028234E38F, 1.7976931348623157E308D, 99999999.99, 999999999999999999, 9999999999999999999999999999.9999999999, '', true, DATE'9999-12-31', TIMESTAMP_NTZ'9999-12-31 23:59:59.999999', TIMESTAMP'9999-12-31 23:59:59.999999Z', struct(1, '', struct(1e-5D, null)), array(), map(), X'', '')`,
		`(-2147483648, -9223372036854775808, -128Y, -32768S, 1.4E-45F, 4.9E-324D, -99999999.99, -999999999999999999, -0.0000000001, 'zzz', false, DATE'0001-01-01', TIMESTAMP_NTZ'0001-01-01 00:00:00', TIMESTAMP'0001-01-01 00:00:00Z', struct(2, 'b', struct(1e7D, null)), null, null, X'ff', '')`,
	},
	"floats":         {`(1, 1, 1Y, 1S, -0.0F, -0.0D, 0, 0, 0, 'a', true, DATE'2000-01-01', null, null, null, null, null, null, null)`, `(2, 1, 1Y, 1S, 0F, 0D, 0.00, 0, 0, 'a', true, DATE'1582-10-04', null, null, null, null, null, null, null)`},
	"exponents":      {`(1, 1, 1Y, 1S, 1e10F, 1e16D, 0.10, 10, 100, 'a', true, DATE'1582-10-15', null, null, null, null, null, null, null)`, `(2, 1, 1Y, 1S, 1e-10F, 1e-7D, 0.01, 1, 0.1, 'a', true, DATE'1500-01-01', null, null, null, null, null, null, null)`},
	"texts":          {`(1, 1, 1Y, 1S, 1, 1, 1, 1, 1, repeat('a', 40), true, null, null, null, null, null, null, null, repeat('日', 33))`, `(2, 1, 1Y, 1S, 1, 1, 1, 1, 1, concat(repeat('a', 32), 'é'), true, null, null, null, null, null, null, null, repeat('日', 32))`},
	"tie":            {`(1, 1, 1Y, 1S, 1, 1, 1, 1, 1, concat(repeat('a', 32), '~'), true, null, null, null, null, null, null, null, concat(repeat('b', 32), chr(127)))`},
	"surrogates":     {`(1, 1, 1Y, 1S, 1, 1, 1, 1, 1, repeat('😀', 33), true, null, null, null, null, null, null, null, concat(repeat('a', 31), '😀', 'b'))`},
	"quotes":         {`(1, 1, 1Y, 1S, 1, 1, 1, 1, 1, 'a"b\\\\c\\n\\t<&>', true, null, null, null, null, null, null, null, concat(chr(0), 'x', chr(31)))`},
	"nulls":          {`(null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)`},
	"not a number":   {`(1, 1, 1Y, 1S, float('NaN'), double('NaN'), 1, 1, 1, 'a', true, null, null, null, null, null, null, null, null)`, `(2, 1, 1Y, 1S, 1, 1, 1, 1, 1, 'a', true, null, null, null, null, null, null, null, null)`},
	"infinite":       {`(1, 1, 1Y, 1S, float('Infinity'), double('-Infinity'), 1, 1, 1, 'a', true, null, null, null, null, null, null, null, null)`, `(2, 1, 1Y, 1S, 1, 1, 1, 1, 1, 'a', true, null, null, null, null, null, null, null, null)`},
	"small instants": {`(1, 1, 1Y, 1S, 1, 1, 1, 1, 1, 'a', true, null, TIMESTAMP_NTZ'2024-01-01 00:00:00.000001', TIMESTAMP'2024-01-01 00:00:00.000999Z', null, null, null, null, null)`},
}

// known says where our statistics are others than Spark's: numbers may be written in other ways. On purpose: JSON has no infinity and no NaN,
// and without the one bound we do not tell the other one; a greatest instant that is cut to milliseconds is less than what is in the file, which
// Spark's own reader knows and others do not; of texts beyond the basic plane Spark keeps half as much.
func known(set, place, theirs, ours string) bool {
	a, ok1 := new(big.Rat).SetString(theirs)
	b, ok2 := new(big.Rat).SetString(ours)
	switch {
	case ok1 && ok2 && a.Cmp(b) == 0:
		return true
	case ok1 && ok2 && strings.HasSuffix(place, "d"):
		x, err1 := strconv.ParseFloat(theirs, 64)
		y, err2 := strconv.ParseFloat(ours, 64)
		return err1 == nil && err2 == nil && x == y
	case ok1 && ok2 && strings.HasSuffix(place, "f"):
		x, err1 := strconv.ParseFloat(theirs, 32)
		y, err2 := strconv.ParseFloat(ours, 32)
		return err1 == nil && err2 == nil && x == y
	case strings.Contains(theirs, "Infinity"), set == "not a number" && (strings.HasSuffix(place, "/f") || strings.HasSuffix(place, "/d")):
		return ours == ""
	case set == "extreme" && (place == "/maxValues/ts" || place == "/maxValues/ntz"): // there is no year 10000
		return ours == ""
	case set == "surrogates" && place == "/maxValues/s":
		return len(ours) > len(theirs)
	case place == "/maxValues/ts" || place == "/maxValues/ntz":
		layout := "2006-01-02T15:04:05.000"
		t1, err1 := time.Parse(layout, strings.Trim(theirs, `"Z`))
		t2, err2 := time.Parse(layout, strings.Trim(ours, `"Z`))
		return err1 == nil && err2 == nil && t2.Sub(t1) == time.Millisecond
	}
	return false
}

// TestStatisticsAreSparks writes rows that Spark has written, and compares what both say of their files.
func TestStatisticsAreSparks(t *testing.T) {
	for name, properties := range map[string]string{
		"default": "", "three": ", 'delta.dataSkippingNumIndexedCols' = '3'", "none": ", 'delta.dataSkippingNumIndexedCols' = '0'", "inside": ", 'delta.dataSkippingNumIndexedCols' = '16'",
		"all": ", 'delta.dataSkippingNumIndexedCols' = '-1'", "named": ", 'delta.dataSkippingStatsColumns' = 'st.z.w, day, `s`, st.x'", "struct": ", 'delta.dataSkippingStatsColumns' = 'st,id'",
		"mapped": ", 'delta.columnMapping.mode' = 'name', 'delta.dataSkippingStatsColumns' = 'st.y, l, dec'",
	} {
		if !wanted(name, "mapped") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			path := sparkMade(t, "CREATE TABLE {t} ("+statsColumns+") USING delta TBLPROPERTIES ('delta.enableDeletionVectors' = 'true'"+properties+")")
			for set, rows := range statsRows {
				if name != "default" && set != "ordinary" && set != "extreme" {
					continue
				}
				exec(t, path, "INSERT INTO {t} SELECT /*+ REPARTITION(1) */ * FROM VALUES "+strings.Join(rows, ", "))
				s := load(t, path)
				theirs := newest(t, s)
				w, err := s.NewFileWriter(t.Context(), tablefmt.FileOptions{})
				require.NoError(t, err)
				require.NoError(t, s.ReadFile(t.Context(), theirs, tablefmt.ReadOptions{}, func(rec arrow.RecordBatch, _ int64) error {
					_, err := w.Write(rec)
					return err
				}))
				ours, err := w.Close()
				require.NoError(t, err)
				compareStats(t, set, theirs.Stats, ours.Stats)
			}
		})
	}
}

func newest(t *testing.T, s *tablefmt.Snapshot) *tablefmt.AddFile {
	t.Helper()
	actions, err := tablefmt.ReadCommit(t.Context(), s.Location(), s.Version())
	require.NoError(t, err)
	var found *tablefmt.AddFile
	for _, a := range actions {
		if a.Add != nil {
			require.Nil(t, found, "one file")
			found = a.Add
		}
	}
	require.NotNil(t, found)
	return found
}

func compareStats(t *testing.T, set, theirs, ours string) {
	t.Helper()
	want, got := map[string]string{}, map[string]string{}
	flatten(t, "", json.RawMessage(theirs), want)
	flatten(t, "", json.RawMessage(ours), got)
	for place, value := range want {
		if got[place] != value && !known(set, place, value, got[place]) {
			t.Errorf("%s: %s is %s in Spark's statistics and %q in ours", set, place, value, got[place])
		}
	}
	for place, value := range got {
		if _, ok := want[place]; !ok {
			t.Errorf("%s: %s is %s in our statistics and not in Spark's", set, place, value)
		}
	}
}

// flatten gives the values of an object by their paths, as they are written.
func flatten(t *testing.T, at string, raw json.RawMessage, out map[string]string) {
	t.Helper()
	if len(raw) == 0 || raw[0] != '{' {
		if strings.HasPrefix(string(raw), `"`) {
			var s string
			require.NoError(t, json.Unmarshal(raw, &s))
			raw = json.RawMessage(`"` + s + `"`)
		}
		out[at] = string(raw)
		return
	}
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &fields))
	for name, value := range fields {
		flatten(t, at+"/"+name, value, out)
	}
}
