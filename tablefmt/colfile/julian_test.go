package colfile

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"
)

// TestSparksOldCalendar reads dates and timestamps of the far past as Spark
// does that wrote them, by either calendar. See testdata/calendar/make.py.
func TestSparksOldCalendar(t *testing.T) {
	utc := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	open := func(path string) *File {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		f, err := OpenFile(bytes.NewReader(b), int64(len(b)))
		require.NoError(t, err)
		return f
	}
	texts, err := filepath.Glob("testdata/calendar/*.txt")
	require.NoError(t, err)
	require.Len(t, texts, 6)
	for _, path := range texts {
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		got := columnsAs(t, open(strings.TrimSuffix(path, "txt")+"parquet"), arrow.Field{Name: "d", Type: arrow.FixedWidthTypes.Date32},
			arrow.Field{Name: "t", Type: utc}, arrow.Field{Name: "i", Type: utc})
		for i, line := range strings.Split(strings.TrimSpace(string(want)), "\n") {
			require.Equal(t, line, got[0][i]+","+strings.TrimSuffix(got[1][i], "Z")+","+strings.TrimSuffix(got[2][i], "Z"), path)
		}
	}
	// In another zone than UTC only the dates are certain.
	f := open("testdata/calendar/legacy-la.parquet")
	require.Equal(t, "0001-01-01", columnsAs(t, f, arrow.Field{Name: "d", Type: arrow.FixedWidthTypes.Date32})[0][0])
	err = f.Read(context.Background(), ReadOptions{Columns: []string{"t"}}, func(arrow.RecordBatch, int64) error { return nil })
	require.ErrorIs(t, err, ErrUnsupported)
	require.ErrorContains(t, err, "old calendar")
}

// TestDaysOfTheJulianCalendar: the days before the change, one that the other
// calendar lacks, and those after it.
func TestDaysOfTheJulianCalendar(t *testing.T) {
	for _, c := range [][2]int64{
		{-141428, -141438}, // 1582-10-04, the day before the change
		{-141427, -141427},
		{0, 0},
		{2932896, 2932896},
		{-719164, -719162}, // 0001-01-01
	} {
		require.Equal(t, c[1], gregorianDay(c[0]))
	}
	// The 28th and 29th of February and the 1st of March 1000.
	at := int64(-354227) // 1000-02-28
	require.Equal(t, at, gregorianDay(at+5))
	require.Equal(t, at+1, gregorianDay(at+6))
	require.Equal(t, at+1, gregorianDay(at+7))
}
