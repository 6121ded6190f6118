package tablefmt

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/lakeload/lakeload/tablefmt/colfile"
	"github.com/lakeload/lakeload/tablefmt/dv"
)

// FileStats is what an AddFile's statistics say. (Per-file Statistics) The
// values are raw JSON, nested as the columns are; nil maps where there are
// none. [AddFile.ParseStats] gives them under the columns' physical names, as
// the log does, [Snapshot.FileStats] under the schema's.
type FileStats struct {
	// NumRecords is the number of rows in the data file, deleted ones
	// included; nil where it is not known.
	NumRecords *int64                     `json:"numRecords,omitempty"`
	MinValues  map[string]json.RawMessage `json:"minValues,omitempty"`
	MaxValues  map[string]json.RawMessage `json:"maxValues,omitempty"`
	NullCount  map[string]json.RawMessage `json:"nullCount,omitempty"`
	// TightBounds is false if deleted rows may have had the minima and
	// maxima; nil means true.
	TightBounds *bool `json:"tightBounds,omitempty"`
}

// ParseStats reads the file's statistics; empty ones where it has none.
func (a *AddFile) ParseStats() (*FileStats, error) {
	st := new(FileStats)
	if a.Stats == "" {
		return st, nil
	}
	if err := json.Unmarshal([]byte(a.Stats), st); err != nil {
		return new(FileStats), fmt.Errorf("reading the statistics of %s: %w", a.Path, err)
	}
	return st, nil
}

// NumRecords is the physical number of rows of the data file, deleted ones
// included; ok is false where the log does not tell.
func (a *AddFile) NumRecords() (n int64, ok bool) {
	// Nearly all writers begin with it, which saves parsing the rest.
	if rest, found := strings.CutPrefix(a.Stats, `{"numRecords":`); found {
		if end := strings.IndexAny(rest, ",}"); end > 0 {
			if n, err := strconv.ParseInt(rest[:end], 10, 64); err == nil {
				return n, n >= 0
			}
		}
	}
	st, err := a.ParseStats()
	if err != nil || st.NumRecords == nil || *st.NumRecords < 0 {
		return 0, false
	}
	return *st.NumRecords, true
}

// Deleted is the number of rows of the data file that are deleted.
func (a *AddFile) Deleted() int64 {
	if a.DeletionVector == nil {
		return 0
	}
	return a.DeletionVector.Cardinality
}

// WithVector gives the action that adds the same data file with another
// deletion vector: its bounds are no longer tight. The action goes with a
// [AddFile.Remove] of a in the same commit. A file whose number of rows is
// not known is refused, as the protocol wants it beside a vector.
func (a *AddFile) WithVector(d dv.Descriptor) (AddFile, error) {
	if _, ok := a.NumRecords(); !ok {
		return AddFile{}, fmt.Errorf("deleting rows of %s: its statistics do not tell the number of rows", a.Path)
	}
	c := *a
	c.DeletionVector, c.DataChange = &d, true
	if strings.HasSuffix(c.Stats, `"tightBounds":false}`) {
		return c, nil
	}
	if rest, ok := strings.CutSuffix(c.Stats, `"tightBounds":true}`); ok {
		c.Stats = rest + `"tightBounds":false}`
		return c, nil
	}
	st, err := a.ParseStats()
	if err != nil {
		return AddFile{}, err
	}
	st.TightBounds = new(bool)
	b, err := json.Marshal(st)
	if err != nil {
		return AddFile{}, fmt.Errorf("writing the statistics of %s: %w", a.Path, err)
	}
	c.Stats = string(b)
	return c, nil
}

// statsJSON writes a finished file's statistics as Spark does.
func statsJSON(st *colfile.Stats) string {
	b := append(make([]byte, 0, 256), `{"numRecords":`...)
	b = strconv.AppendInt(b, st.Rows, 10)
	b = append(b, `,"minValues":`...)
	b = appendStats(b, st.Columns, 0, func(c *colfile.ColumnStats) []byte { return statsValue(c.Min, c.Type, false) })
	b = append(b, `,"maxValues":`...)
	b = appendStats(b, st.Columns, 0, func(c *colfile.ColumnStats) []byte { return statsValue(c.Max, c.Type, true) })
	b = append(b, `,"nullCount":`...)
	b = appendStats(b, st.Columns, 0, func(c *colfile.ColumnStats) []byte { return strconv.AppendInt(nil, c.NullCount, 10) })
	b = append(b, `,"tightBounds":true}`...)
	return string(b)
}

// appendStats writes one value for each column as an object nested as the
// columns are; a nil value leaves its column out, and an object without
// columns is left out below the top.
func appendStats(b []byte, cols []colfile.ColumnStats, depth int, value func(*colfile.ColumnStats) []byte) []byte {
	b = append(b, '{')
	empty := true
	for i := 0; i < len(cols); {
		name, end := cols[i].Path[depth], i+1
		for end < len(cols) && len(cols[end].Path) > depth && cols[end].Path[depth] == name {
			end++
		}
		var v []byte
		if len(cols[i].Path) == depth+1 {
			v = value(&cols[i])
		} else if v = appendStats(nil, cols[i:end], depth+1, value); len(v) == len("{}") {
			v = nil
		}
		i = end
		if v == nil {
			continue
		}
		if !empty {
			b = append(b, ',')
		}
		empty = false
		b = appendJSON(b, name)
		b = append(b, ':')
		b = append(b, v...)
	}
	return append(b, '}')
}

// statsValue writes a bound; nil for one that is unknown or that JSON readers
// cannot take (infinity, a year not of four digits): a bound left out says
// nothing, a wrong one would hide rows. Instants are cut to milliseconds,
// downwards or (up) upwards.
func statsValue(v any, t arrow.DataType, up bool) []byte {
	switch v := v.(type) {
	case int64:
		return strconv.AppendInt(nil, v, 10)
	case float32:
		return statsFloat(float64(v), 32)
	case float64:
		return statsFloat(v, 64)
	case string:
		return appendJSON(nil, v)
	case decimal128.Num:
		if d, ok := t.(*arrow.Decimal128Type); ok {
			return []byte(v.ToString(d.Scale))
		}
	case arrow.Date32:
		if d := v.ToTime(); d.Year() >= 1 && d.Year() <= 9999 {
			return d.AppendFormat(nil, `"2006-01-02"`)
		}
	case arrow.Timestamp:
		return statsTimestamp(int64(v), t, up)
	}
	return nil
}

func statsFloat(f float64, bits int) []byte {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil
	}
	b := strconv.AppendFloat(nil, f, 'g', -1, bits)
	if !strings.ContainsAny(string(b), ".e") {
		b = append(b, ".0"...) // so that it is seen to be no integer
	}
	return b
}

func statsTimestamp(us int64, t arrow.DataType, up bool) []byte {
	typ, ok := t.(*arrow.TimestampType)
	if !ok || typ.Unit != arrow.Microsecond {
		return nil
	}
	ms := us / 1000
	switch rest := us % 1000; {
	case rest > 0 && up:
		ms++
	case rest < 0 && !up:
		ms--
	}
	at := time.UnixMilli(ms).UTC()
	if at.Year() < 1 || at.Year() > 9999 {
		return nil
	}
	if typ.TimeZone == "" {
		return at.AppendFormat(nil, `"2006-01-02T15:04:05.000"`)
	}
	return at.AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`)
}
