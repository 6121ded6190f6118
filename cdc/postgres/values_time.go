package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
)

// PostgreSQL counts from 2000-01-01, Arrow from 1970-01-01.
const (
	epochDays   = 10957
	epochMicros = epochDays * microsPerDay

	microsPerSecond = 1_000_000
	microsPerMinute = 60 * microsPerSecond
	microsPerHour   = 60 * microsPerMinute
	microsPerDay    = 24 * microsPerHour
)

// Dates and timestamps of the years 1 to 9999 are stored as such. Readers of
// Delta tables, Spark first, know no others, so those become exact text.
var (
	minDay = daysFromCivil(1, 1, 1)
	maxDay = daysFromCivil(9999, 12, 31)

	// maxTimestampDays is more than PostgreSQL's timestamps reach from 2000,
	// and a little less than 64 bits of microseconds do.
	maxTimestampDays int64 = 106_751_989

	minMicros = minDay * microsPerDay
	maxMicros = (maxDay+1)*microsPerDay - 1
)

// daysFromCivil counts days from 1970-01-01 in the Gregorian calendar,
// extended to all years; the year before 1 is 0.
func daysFromCivil(y, m, d int64) int64 {
	if m <= 2 {
		y--
	}
	era := floorDiv(y, 400)
	yearOfEra := y - era*400
	dayOfYear := (153*((m+9)%12)+2)/5 + d - 1
	return era*146097 + yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear - 719468
}

// civilFromDays is the inverse of daysFromCivil.
func civilFromDays(days int64) (y, m, d int64) {
	days += 719468
	era := floorDiv(days, 146097)
	doe := days - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = doy - (153*mp+2)/5 + 1
	m = (mp+2)%12 + 1
	y = yoe + era*400
	if m <= 2 {
		y++
	}
	return y, m, d
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// putDate stores a date as PostgreSQL counts it.
func (c *column) putDate(row int, pg int32) error {
	day := int64(pg) + epochDays
	if day < minDay || day > maxDay {
		if c.policy != PolicyClamp {
			return errUnheld
		}
		day = min(max(day, minDay), maxDay)
	}
	native.PutUint32(c.fixed[row*4:], uint32(int32(day)))
	c.setValid(row)
	return nil
}

// putTimestamp stores a timestamp, of either kind, as PostgreSQL counts it.
func (c *column) putTimestamp(row int, pg int64) error {
	micros := pg + epochMicros // wraps for infinity alone
	if micros < minMicros || micros > maxMicros || pg == math.MaxInt64 {
		if c.policy != PolicyClamp {
			return errUnheld
		}
		if micros = maxMicros; pg < 0 {
			micros = minMicros
		}
	}
	native.PutUint64(c.fixed[row*8:], uint64(micros))
	c.setValid(row)
	return nil
}

// appendDate appends a date as DateStyle ISO prints it.
func appendDate(dst []byte, pg int32) []byte {
	switch pg {
	case math.MaxInt32:
		return append(dst, "infinity"...)
	case math.MinInt32:
		return append(dst, "-infinity"...)
	}
	dst, bc := appendCivil(dst, int64(pg)+epochDays)
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}

// appendTimestamp appends a timestamp as DateStyle ISO and TimeZone UTC print it.
func appendTimestamp(dst []byte, pg int64, zone bool) []byte {
	switch pg {
	case math.MaxInt64:
		return append(dst, "infinity"...)
	case math.MinInt64:
		return append(dst, "-infinity"...)
	}
	day := floorDiv(pg, microsPerDay)
	dst, bc := appendCivil(dst, day+epochDays)
	dst = append(dst, ' ')
	dst = appendClock(dst, pg-day*microsPerDay)
	if zone {
		dst = append(dst, "+00"...)
	}
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}

func appendCivil(dst []byte, days int64) (out []byte, bc bool) {
	y, m, d := civilFromDays(days)
	if bc = y <= 0; bc {
		y = 1 - y
	}
	for limit := int64(1000); limit > y && limit > 1; limit /= 10 {
		dst = append(dst, '0')
	}
	dst = strconv.AppendInt(dst, y, 10)
	dst = append(dst, '-')
	dst = appendTwo(dst, m)
	dst = append(dst, '-')
	return appendTwo(dst, d), bc
}

// appendClock appends HH:MM:SS and the fraction without trailing zeros.
func appendClock(dst []byte, micros int64) []byte {
	dst = appendTwo(dst, micros/microsPerHour)
	dst = append(dst, ':')
	dst = appendTwo(dst, micros/microsPerMinute%60)
	dst = append(dst, ':')
	return appendSeconds(dst, micros%microsPerMinute)
}

// appendSeconds appends a minute's microseconds as SS and a fraction.
func appendSeconds(dst []byte, micros int64) []byte {
	dst = appendTwo(dst, micros/microsPerSecond)
	frac := micros % microsPerSecond
	if frac == 0 {
		return dst
	}
	dst = append(dst, '.')
	for unit := int64(microsPerSecond / 10); frac > 0; unit /= 10 {
		dst = append(dst, byte('0'+frac/unit))
		frac %= unit
	}
	return dst
}

func appendTwo(dst []byte, n int64) []byte {
	if n < 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, n, 10)
}

// textTime, textTimetz and textInterval print what the types' output functions
// do, interval's under IntervalStyle postgres.
func textTime(dst, v []byte) ([]byte, error) {
	if len(v) != 8 {
		return dst, lengthError(len(v), 8)
	}
	micros := int64(binary.BigEndian.Uint64(v))
	if micros < 0 || micros > microsPerDay {
		return dst, errors.New("a time outside the day")
	}
	return appendClock(dst, micros), nil
}

func textTimetz(dst, v []byte) ([]byte, error) {
	if len(v) != 12 {
		return dst, lengthError(len(v), 12)
	}
	dst, err := textTime(dst, v[:8])
	if err != nil {
		return dst, err
	}
	zone := -int64(int32(binary.BigEndian.Uint32(v[8:]))) // sent as seconds west
	sign := byte('+')
	if zone < 0 {
		sign, zone = '-', -zone
	}
	dst = appendTwo(append(dst, sign), zone/3600)
	if zone%3600 != 0 {
		dst = appendTwo(append(dst, ':'), zone/60%60)
	}
	if zone%60 != 0 {
		dst = appendTwo(append(dst, ':'), zone%60)
	}
	return dst, nil
}

func textInterval(dst, v []byte) ([]byte, error) {
	if len(v) != 16 {
		return dst, lengthError(len(v), 16)
	}
	micros := int64(binary.BigEndian.Uint64(v))
	days := int32(binary.BigEndian.Uint32(v[8:]))
	months := int32(binary.BigEndian.Uint32(v[12:]))
	if micros == math.MaxInt64 && days == math.MaxInt32 && months == math.MaxInt32 {
		return append(dst, "infinity"...), nil
	}
	if micros == math.MinInt64 && days == math.MinInt32 && months == math.MinInt32 {
		return append(dst, "-infinity"...), nil
	}
	first, before := true, false
	part := func(n int64, unit string) {
		if n == 0 {
			return
		}
		if !first {
			dst = append(dst, ' ')
		}
		if before && n > 0 {
			dst = append(dst, '+')
		}
		dst = append(strconv.AppendInt(dst, n, 10), unit...)
		if n != 1 {
			dst = append(dst, 's')
		}
		first, before = false, n < 0
	}
	part(int64(months/12), " year")
	part(int64(months%12), " mon")
	part(int64(days), " day")
	if micros == 0 && !first {
		return dst, nil
	}
	if !first {
		dst = append(dst, ' ')
	}
	magnitude := uint64(micros)
	if micros < 0 {
		dst, magnitude = append(dst, '-'), -magnitude
	} else if before {
		dst = append(dst, '+')
	}
	dst = appendTwo(dst, int64(magnitude/microsPerHour))
	dst = append(dst, ':')
	dst = appendTwo(dst, int64(magnitude/microsPerMinute%60))
	dst = append(dst, ':')
	return appendSeconds(dst, int64(magnitude%microsPerMinute)), nil
}

// putDateText and putTimestampText are putDate and putTimestamp for the text
// that DateStyle ISO prints.
func (c *column) putDateText(row int, v []byte) error {
	if isInfinity(v) {
		if v[0] == '-' {
			return c.putDate(row, math.MinInt32)
		}
		return c.putDate(row, math.MaxInt32)
	}
	day, rest, err := parseCivil(v)
	if err != nil || len(rest) > 0 {
		return errFormat
	}
	if pg := day - epochDays; pg > math.MinInt32 && pg < math.MaxInt32 {
		return c.putDate(row, int32(pg))
	}
	return errFormat
}

func (c *column) putTimestampText(row int, v []byte) error {
	if isInfinity(v) {
		if v[0] == '-' {
			return c.putTimestamp(row, math.MinInt64)
		}
		return c.putTimestamp(row, math.MaxInt64)
	}
	day, rest, err := parseCivil(v)
	day -= epochDays
	if err != nil || len(rest) < 9 || rest[0] != ' ' || day < -maxTimestampDays || day > maxTimestampDays {
		return errFormat
	}
	clock, rest, err := parseClock(rest[1:])
	if err != nil {
		return err
	}
	var zone int64
	if c.kind == kindTimestamptz {
		if zone, rest, err = parseZone(rest); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return errFormat
	}
	return c.putTimestamp(row, day*microsPerDay+clock-zone*microsPerSecond)
}

func isInfinity(v []byte) bool { return string(v) == "infinity" || string(v) == "-infinity" }

// parseCivil reads YYYY-MM-DD, with a year of 4 to 7 digits, and removes the
// " BC" that stands at the very end.
func parseCivil(v []byte) (day int64, rest []byte, err error) {
	v, bc := bytes.CutSuffix(v, []byte(" BC"))
	dash := bytes.IndexByte(v, '-')
	if dash < 4 || dash > 7 || len(v) < dash+6 || v[dash+3] != '-' {
		return 0, nil, errFormat
	}
	y, ok := digits(v[:dash])
	m, ok1 := digits(v[dash+1 : dash+3])
	d, ok2 := digits(v[dash+4 : dash+6])
	if !ok || !ok1 || !ok2 || y == 0 || m < 1 || m > 12 || d < 1 || d > 31 || y > 6_000_000 {
		return 0, nil, errFormat
	}
	if bc {
		y = 1 - y
	}
	return daysFromCivil(y, m, d), v[dash+6:], nil
}

// parseClock reads HH:MM:SS[.ffffff] into microseconds.
func parseClock(v []byte) (micros int64, rest []byte, err error) {
	if len(v) < 8 || v[2] != ':' || v[5] != ':' {
		return 0, nil, errFormat
	}
	h, ok := digits(v[:2])
	m, ok1 := digits(v[3:5])
	s, ok2 := digits(v[6:8])
	if !ok || !ok1 || !ok2 || h > 24 || m > 59 || s > 60 {
		return 0, nil, errFormat
	}
	micros = (h*3600 + m*60 + s) * microsPerSecond
	v = v[8:]
	if len(v) == 0 || v[0] != '.' {
		return micros, v, nil
	}
	v = v[1:]
	unit, n := int64(microsPerSecond/10), 0
	for ; n < len(v) && v[n]-'0' <= 9; n++ {
		micros += int64(v[n]-'0') * unit
		unit /= 10
	}
	if n == 0 || n > 6 {
		return 0, nil, errFormat
	}
	return micros, v[n:], nil
}

// parseZone reads +HH[:MM[:SS]] into seconds east.
func parseZone(v []byte) (seconds int64, rest []byte, err error) {
	if len(v) == 0 || v[0] != '+' && v[0] != '-' {
		return 0, nil, errFormat
	}
	rest = v[1:]
	for unit := int64(3600); unit > 0; unit /= 60 {
		if unit < 3600 {
			if len(rest) == 0 || rest[0] != ':' {
				break
			}
			rest = rest[1:]
		}
		if len(rest) < 2 {
			return 0, nil, errFormat
		}
		n, ok := digits(rest[:2])
		if !ok {
			return 0, nil, errFormat
		}
		seconds += n * unit
		rest = rest[2:]
	}
	if v[0] == '-' {
		seconds = -seconds
	}
	return seconds, rest, nil
}

// digits reads an unsigned number.
func digits(v []byte) (n int64, ok bool) {
	for _, ch := range v {
		d := ch - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int64(d)
	}
	return n, len(v) > 0
}
