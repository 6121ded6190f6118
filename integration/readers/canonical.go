package readers

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The canonical form, which readers.py makes of Arrow and pg.go of PostgreSQL's output:
//
//	NULL                  Null, here; null in JSON
//	boolean               true, false
//	integers              decimal
//	float, double         shortest digits that read back the same; plain from 1e-6 up to below 1e10, else 1.5e-7, 1e+16; 0, -0, NaN, Infinity, -Infinity
//	decimal               plain, with the whole declared scale
//	date                  2006-01-02
//	timestamp_ntz         2006-01-02 15:04:05.000000
//	timestamp             2006-01-02 15:04:05.000000Z, in UTC
//	binary                lower-case hexadecimal
//	text                  as it is
//	list, map, struct     JSON without spaces, keys sorted, leaves as canonical text or null

// Float is the canonical text of a float of 32 or 64 bits.
func Float(v float64, bits int) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	case v == 0:
		return strconv.FormatFloat(v, 'f', -1, bits)
	}
	s := strconv.FormatFloat(v, 'e', -1, bits)
	digits, exp, _ := strings.Cut(s, "e")
	n, err := strconv.Atoi(exp)
	if err != nil {
		panic(fmt.Sprintf("an exponent of strconv is not a number: %q", s))
	}
	if n >= -6 && n < 10 {
		return strconv.FormatFloat(v, 'f', -1, bits)
	}
	return fmt.Sprintf("%se%+d", digits, n)
}

// Map is the canonical text of a map from text to text. A value may be Null.
func Map(m map[string]string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b.WriteByte(',')
		}
		writeJSON(&b, k)
		b.WriteByte(':')
		writeJSON(&b, m[k])
	}
	b.WriteByte('}')
	return b.String()
}

// List is the canonical text of a list. An element may be Null.
func List(elements []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, v := range elements {
		if i > 0 {
			b.WriteByte(',')
		}
		writeJSON(&b, v)
	}
	b.WriteByte(']')
	return b.String()
}

// writeJSON writes text as Python's json does with ensure_ascii=False: only what must be escaped is.
func writeJSON(b *strings.Builder, s string) {
	if s == Null {
		b.WriteString("null")
		return
	}
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < 0x20:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

// Fingerprint is equal for equal multisets of rows: how many, and the sums of the halves of each row's MD5, modulo 2^64. It guards
// against mistakes, not against malice.
type Fingerprint struct {
	Rows int64
	Sum  [2]uint64
}

func (f Fingerprint) String() string {
	return fmt.Sprintf("%d rows %016x%016x", f.Rows, f.Sum[0], f.Sum[1])
}

// Add counts a row in.
func (f *Fingerprint) Add(row []string) {
	// No value holds a NUL, so what follows one tells a separator from a NULL.
	var line []byte
	for i, v := range row {
		if i > 0 {
			line = append(line, 0, ',')
		}
		if v == Null {
			line = append(line, 0, 'N')
		} else {
			line = append(line, v...)
		}
	}
	f.addLine(line)
}

func (f *Fingerprint) addLine(line []byte) {
	sum := md5.Sum(line)
	f.Rows++
	f.Sum[0] += binary.LittleEndian.Uint64(sum[:8])
	f.Sum[1] += binary.LittleEndian.Uint64(sum[8:])
}

// FingerprintOf is the fingerprint of rows that are here.
func FingerprintOf(rows [][]string) Fingerprint {
	var f Fingerprint
	for _, row := range rows {
		f.Add(row)
	}
	return f
}

// differencesMax is how many rows of each kind a message shows.
const differencesMax = 10

// Same fails the test unless got and want hold the same rows, in any order, each as often. It shows the first rows that differ.
func Same(t testing.TB, got, want [][]string) {
	t.Helper()
	if d := Diff(got, want); d != "" {
		t.Fatal(d)
	}
}

// Diff says how two multisets of rows differ; "" if they do not.
func Diff(got, want [][]string) string {
	count := map[string]int{}
	rows := map[string][]string{}
	tally := func(set [][]string, by int) {
		for _, row := range set {
			key := strings.Join(row, "\x00,")
			count[key] += by
			rows[key] = row
		}
	}
	tally(got, 1)
	tally(want, -1)
	var extra, missing []string
	for _, key := range slices.SortedFunc(maps.Keys(count), cmp.Compare[string]) {
		switch n := count[key]; {
		case n > 0:
			extra = append(extra, fmt.Sprintf("%d x %s", n, show(rows[key])))
		case n < 0:
			missing = append(missing, fmt.Sprintf("%d x %s", -n, show(rows[key])))
		}
	}
	if len(extra)+len(missing) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the rows differ: got %d, want %d\n", len(got), len(want))
	for _, part := range []struct {
		name string
		rows []string
	}{{"wanted, not there", missing}, {"there, not wanted", extra}} {
		if len(part.rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s: %d distinct\n", part.name, len(part.rows))
		for _, row := range part.rows[:min(len(part.rows), differencesMax)] {
			b.WriteString("  " + row + "\n")
		}
	}
	return b.String()
}

func show(row []string) string {
	const most = 80 // bytes of a value
	var b strings.Builder
	for i, v := range row {
		if i > 0 {
			b.WriteString(" | ")
		}
		switch {
		case v == Null:
			b.WriteString("NULL")
		case len(v) > most:
			fmt.Fprintf(&b, "%q... (%d bytes, md5 %x)", v[:most], len(v), md5.Sum([]byte(v)))
		default:
			fmt.Fprintf(&b, "%q", v)
		}
	}
	return b.String()
}
