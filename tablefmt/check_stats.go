package tablefmt

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// statsDifference says in what a file's statistics are not true of its rows; nil
// where they are, or say nothing. Bounds may be wider than they need to be: what
// counts is that no reader skips a file that has what it looks for. Columns whose
// bounds have no one way to be written and compared (texts of other encodings,
// booleans) are held to their null counts alone.
func statsDifference(said, is *FileStats, schema *Struct) error {
	return walkStats("", schema, said.MinValues, said.MaxValues, said.NullCount, is)
}

func walkStats(at string, schema *Struct, mins, maxes, nulls map[string]json.RawMessage, is *FileStats) error {
	for _, f := range schema.Fields {
		name := at + f.Name
		if st, ok := f.Type.(*Struct); ok {
			lo, hi, n := object(mins[f.Name]), object(maxes[f.Name]), object(nulls[f.Name])
			inner := &FileStats{MinValues: object(is.MinValues[f.Name]), MaxValues: object(is.MaxValues[f.Name]), NullCount: object(is.NullCount[f.Name])}
			if err := walkStats(name+".", st, lo, hi, n, inner); err != nil {
				return err
			}
			continue
		}
		if n, have := nulls[f.Name], is.NullCount[f.Name]; n != nil && have != nil && string(n) != string(have) {
			return fmt.Errorf("column %q is null in %s rows, and the statistics say %s", name, have, n)
		}
		if lo, have := mins[f.Name], is.MinValues[f.Name]; lo != nil && have != nil {
			if order, ok := compareBounds(f.Type, lo, have); ok && order > 0 {
				return fmt.Errorf("column %q has the value %s, and the statistics say that the least is %s", name, have, lo)
			}
		}
		if hi, have := maxes[f.Name], is.MaxValues[f.Name]; hi != nil && have != nil {
			if order, ok := compareBounds(f.Type, hi, have); ok && order < 0 {
				return fmt.Errorf("column %q has the value %s, and the statistics say that the greatest is %s", name, have, hi)
			}
		}
	}
	return nil
}

// object reads a JSON object; nil where it is none.
func object(raw json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

// compareBounds compares two bounds of a type; ok is false where they cannot be.
func compareBounds(t Type, a, b json.RawMessage) (order int, ok bool) {
	if t == String {
		var x, y string
		if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
			return 0, false
		}
		// Of texts that are cut both bounds are: the shorter says no more than its
		// length.
		n := min(len(x), len(y), 32)
		return strings.Compare(x[:n], y[:n]), true
	}
	if t == Date || t == Timestamp || t == TimestampNTZ {
		x, ok1 := momentOf(a)
		y, ok2 := momentOf(b)
		// Milliseconds are all that a bound has, and writers cut either way: where
		// one cuts down and the other up, there is a whole one between them.
		if d := x.Sub(y); d >= -time.Millisecond && d <= time.Millisecond {
			return 0, ok1 && ok2
		}
		return x.Compare(y), ok1 && ok2
	}
	x, ok1 := new(big.Rat).SetString(string(a))
	y, ok2 := new(big.Rat).SetString(string(b))
	if !ok1 || !ok2 {
		return 0, false
	}
	return x.Cmp(y), true
}

func momentOf(raw json.RawMessage) (time.Time, bool) {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
