package tablefmt

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

var errNoTime = errors.New("it is no date or timestamp")

// parseDate reads a date as writers put it into the log: the year of four digits,
// or of up to seven where it has a sign or needs them, as Java writes it.
func parseDate(v string) (time.Time, error) {
	t, rest, ok := cutDate(v)
	if !ok || rest != "" {
		return time.Time{}, errNoTime
	}
	if days := t.Unix() / 86400; days != int64(int32(days)) {
		return time.Time{}, errors.New("days since 1970 do not reach as far")
	}
	return t, nil
}

// parseTimestamp reads every form of the protocol, and the shorter ones of older
// writers: seconds, fraction and time may be missing, and "T" may stand for the
// space. A value without a zone was meant in the zone of the system that wrote
// it, which the log does not tell: it is taken as UTC, as the other readers do.
// With local, a zone is left out of account: the value is of a type that has
// none.
func parseTimestamp(v string, local bool) (time.Time, error) {
	t, rest, ok := cutDate(v)
	if !ok {
		return time.Time{}, errNoTime
	}
	if t.Year() < -290_000 || t.Year() > 290_000 {
		return time.Time{}, errors.New("microseconds since 1970 do not reach as far")
	}
	if rest == "" {
		return t, nil
	}
	if rest[0] != 'T' && rest[0] != ' ' {
		return time.Time{}, errNoTime
	}
	offset, rest, ok := cutClock(rest[1:])
	if !ok {
		return time.Time{}, errNoTime
	}
	zone, ok := parseZone(strings.TrimLeft(rest, " "))
	if !ok {
		return time.Time{}, errNoTime
	}
	if local {
		zone = 0
	}
	return t.Add(offset - zone), nil
}

func cutDate(v string) (t time.Time, rest string, ok bool) {
	negative := strings.HasPrefix(v, "-")
	if negative || strings.HasPrefix(v, "+") {
		v = v[1:]
	}
	year, v, ok1 := cutNumber(v, 4, 7)
	month, v, ok2 := cutNumber(strings.TrimPrefix(v, "-"), 1, 2)
	if !ok1 || !ok2 || !strings.HasPrefix(v, "-") {
		return time.Time{}, "", false
	}
	day, rest, ok := cutNumber(v[1:], 1, 2)
	if negative {
		year = -year
	}
	t = time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return t, rest, ok && int(t.Month()) == month && t.Day() == day
}

// cutClock reads hours and minutes, seconds and a fraction of them.
func cutClock(v string) (d time.Duration, rest string, ok bool) {
	hour, v, ok1 := cutNumber(v, 1, 2)
	if !ok1 || !strings.HasPrefix(v, ":") || hour > 23 {
		return 0, "", false
	}
	minute, v, ok2 := cutNumber(v[1:], 1, 2)
	if !ok2 || minute > 59 {
		return 0, "", false
	}
	d = time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	if !strings.HasPrefix(v, ":") {
		return d, v, true
	}
	second, v, ok3 := cutNumber(v[1:], 1, 2)
	if !ok3 || second > 59 {
		return 0, "", false
	}
	d += time.Duration(second) * time.Second
	if !strings.HasPrefix(v, ".") {
		return d, v, true
	}
	end := 1
	for end < len(v) && v[end] >= '0' && v[end] <= '9' {
		end++
	}
	digits := v[1:end]
	if digits == "" || len(digits) > 9 {
		return 0, "", false
	}
	n, _ := strconv.Atoi(digits + "000000000"[len(digits):])
	return d + time.Duration(n), v[end:], true
}

// parseZone reads what follows a time: nothing, Z, or an offset.
func parseZone(v string) (time.Duration, bool) {
	switch v {
	case "", "Z", "z", "UTC", "GMT":
		return 0, true
	}
	sign := time.Duration(1)
	switch v[0] {
	case '-':
		sign = -1
	case '+':
	default:
		return 0, false
	}
	hours, minutes, colon := strings.Cut(v[1:], ":")
	switch {
	case !colon && len(hours) == 4:
		hours, minutes = hours[:2], hours[2:]
	case !colon:
		minutes = "00"
	}
	hour, rest1, ok1 := cutNumber(hours, 1, 2)
	minute, rest2, ok2 := cutNumber(minutes, 2, 2)
	if !ok1 || !ok2 || rest1 != "" || rest2 != "" || hour > 18 || minute > 59 {
		return 0, false
	}
	return sign * (time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute), true
}

// cutNumber reads between least and most digits.
func cutNumber(v string, least, most int) (n int, rest string, ok bool) {
	i := 0
	for i < len(v) && i <= most && v[i] >= '0' && v[i] <= '9' {
		n = 10*n + int(v[i]-'0')
		i++
	}
	return n, v[i:], i >= least && i <= most
}
