package colfile

import (
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/parquet-go/parquet-go/format"
)

// Spark before version 3, and later ones that are told to, count the days of
// dates and timestamps before 1582-10-15 by the Julian calendar, and say so in
// the footer. The same number is another day in the calendar of everybody else:
// it is turned into the number of the day of that name. A day that is only in
// the Julian calendar, a 29th of February, is the day after the 28th.

// Keys of the footer's metadata.
const (
	keySparkVersion  = "org.apache.spark.version"
	keySparkLegacy   = "org.apache.spark.legacyDateTime"
	keySparkINT96    = "org.apache.spark.legacyINT96"
	keySparkTimeZone = "org.apache.spark.timeZone"
)

const (
	// firstGregorian is 1582-10-15, from which on the calendars agree.
	firstGregorian = -141427
	dayMicros      = 86_400_000_000
	// firstAgreed is 1900-01-01: zones changed their offsets until then, and
	// the two libraries of time that Spark has used do not agree on them.
	firstAgreed = -25567
)

// julian says which values of a file are by the Julian calendar.
type julian struct {
	dates, int96 bool
	utc          bool // the writer's zone, by which it took timestamps apart, was UTC
}

func julianOf(pairs []format.KeyValue) (j julian) {
	has := map[string]string{}
	for _, kv := range pairs {
		if strings.HasPrefix(kv.Key, "org.apache.spark.") {
			has[kv.Key] = kv.Value
		}
	}
	_, legacy := has[keySparkLegacy]
	_, legacy96 := has[keySparkINT96]
	version, known := has[keySparkVersion]
	j.dates = legacy || known && version < "3.0.0"
	j.int96 = legacy96 || known && version < "3.1.0"
	switch has[keySparkTimeZone] {
	case "UTC", "Etc/UTC", "GMT", "Z", "+00:00":
		j.utc = true
	}
	return j
}

// applies tells whether values of a leaf are by the Julian calendar. Local
// timestamps never are.
func (j julian) applies(l *readLeaf) bool {
	t, ok := l.typ.(*arrow.TimestampType)
	switch {
	case l.phys == physInt96:
		return j.int96
	case ok:
		return j.dates && t.TimeZone != ""
	}
	return j.dates && l.typ.ID() == arrow.DATE32
}

// toGregorian turns values of a leaf for which applies holds.
func (j julian) toGregorian(l *readLeaf, vals []byte) ([]byte, error) {
	if l.typ.ID() == arrow.DATE32 {
		return mapNumbers(vals, func(day int32) int32 { return int32(gregorianDay(int64(day))) }), nil
	}
	for _, v := range viewAs[int64](vals) {
		if day := floorDiv(v, dayMicros); !j.utc && day < firstAgreed {
			return nil, unsupportedf("column %q: a timestamp before 1900 by Spark's old calendar in a zone that is not UTC", l.path)
		}
	}
	return mapNumbers(vals, func(v int64) int64 {
		day := floorDiv(v, dayMicros)
		return v + (gregorianDay(day)-day)*dayMicros
	}), nil
}

// gregorianDay is the day since 1970 that has the name, year, month and day of
// the month, that a day has in the Julian calendar, if it is before the change.
func gregorianDay(day int64) int64 {
	if day >= firstGregorian {
		return day
	}
	// Years from March to February, in cycles of four.
	n := day + julianEpoch + 32082
	year := floorDiv(4*n+3, 1461)
	n -= floorDiv(1461*year, 4)
	month := (5*n + 2) / 153
	dom := n - (153*month+2)/5 + 1
	at := time.Date(int(year-4800+month/10), time.Month(month+3-12*(month/10)), int(dom), 0, 0, 0, 0, time.UTC)
	return at.Unix() / 86400
}
