package lakehouse

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/tablefmt/objstore"
)

func TestQuantilesAreNearTheTruth(t *testing.T) {
	h := newHistogram(fine)
	_, any := h.Quantile(0.5)
	require.False(t, any, "of nothing there is none")
	for i := range 1000 {
		h.observe(time.Duration(i+1) * 10 * time.Millisecond) // up to 10 s
	}
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99} {
		got, any := h.Quantile(q)
		require.True(t, any)
		require.InEpsilon(t, q*10, got.Seconds(), 0.2, "%v", q)
	}
	require.EqualValues(t, 1000, h.Total())
	h = newHistogram(coarse)
	h.observe(24 * time.Hour)
	h.observe(1<<63 - 1) // the sum stays one
	got, _ := h.Quantile(0.5)
	require.Equal(t, coarse[len(coarse)-1], got, "beyond the bounds")
	require.Positive(t, h.Sum)
}

func TestBoundsAreInclusive(t *testing.T) {
	h := newHistogram([]time.Duration{10, 20})
	for _, d := range []time.Duration{0, 10, 11, 20, 21} {
		h.observe(d)
	}
	require.Equal(t, []int64{2, 2, 1}, h.Counts)
}

// Windows count what happened in them and nothing else, for hours.
func TestWindowsForgetThePast(t *testing.T) {
	begun := time.Unix(1_000_000, 0)
	r := newRecent(begun)
	w := r.over(begun, time.Minute)
	require.Equal(t, Window{Seconds: 60}, w, "nothing was")
	put := func(at time.Duration, rows int64) {
		s := r.at(begun.Add(at))
		s.rows, s.batches, s.transactions = s.rows+rows, s.batches+1, s.transactions+2
		s.fresh.observe(time.Second)
	}
	put(0, 100)
	put(5*time.Second, 50)
	w = r.over(begun.Add(30*time.Second), time.Minute)
	require.Equal(t, 30.0, w.Covered, "it is not so old")
	require.EqualValues(t, 150, w.Records)
	require.EqualValues(t, 4, w.Transactions)
	require.InDelta(t, 5, w.RecordsPerSecond, 1e-9)
	require.InDelta(t, 1, *w.LatencyP50, 0.2)
	require.Zero(t, *w.ErrorRate)
	require.Equal(t, 1.0, *w.SuccessRate)

	w = r.over(begun.Add(90*time.Second), time.Minute)
	require.Zero(t, w.Records)
	require.Nil(t, w.ErrorRate)
	require.Nil(t, w.LatencyP99)
	require.InDelta(t, 50, w.Covered, 10)
	require.EqualValues(t, 150, r.over(begun.Add(90*time.Second), 5*time.Minute).Records)

	// Every second of three hours, with a failure each ten.
	for i := range 3 * 3600 {
		at := time.Duration(i+100) * time.Second
		put(at, 7)
		if i%10 == 0 {
			r.at(begun.Add(at)).failed++
		}
	}
	now := begun.Add((3*3600 + 100 - 1) * time.Second)
	for _, d := range windowLengths {
		w := r.over(now, d)
		require.InDelta(t, 7, w.RecordsPerSecond, 0.2, "%v", d)
		require.InDelta(t, d.Seconds(), w.Covered, 10, "%v", d)
		require.InDelta(t, 1.0/11, *w.ErrorRate, 0.01, "%v", d)
		require.InDelta(t, 10.0/11, *w.SuccessRate, 0.01, "%v", d)
	}
	require.Zero(t, r.over(now.Add(time.Hour), 15*time.Minute).Records, "after an hour of rest")
}

func TestAlertsAreToldOnce(t *testing.T) {
	var a alerts
	warn := InfrastructureAlert{Kind: "x", Severity: AlertWarning, Value: 1}
	require.False(t, a.resolve("x"), "none stands")
	require.True(t, a.raise(warn))
	warn.Value = 2
	require.False(t, a.raise(warn), "it stands as it did")
	require.EqualValues(t, 2, a.list()[0].Value, "and is kept up to date")
	warn.Severity = AlertCritical
	require.True(t, a.raise(warn), "it is worse")
	require.True(t, a.raise(InfrastructureAlert{Kind: "a"}))
	require.Equal(t, "a", a.list()[0].Kind)
	require.True(t, a.resolve("x"))
	require.False(t, a.resolve("x"))
	require.Len(t, a.list(), 1)
}

var errGone = errors.New("gone")

// What is not there, or is there already, and who was told to stop, is no
// failure of the store.
func TestAnswersAreNoFailures(t *testing.T) {
	for err, failed := range map[error]bool{
		objstore.ErrNotFound: false, objstore.ErrExists: false, context.Canceled: false, errGone: true,
		&objstore.Error{Transient: true, Err: context.DeadlineExceeded}: true, &objstore.Error{Err: context.DeadlineExceeded}: false,
	} {
		require.Equal(t, failed, storeFailed(err), "%v", err)
	}
	require.False(t, storeFailed(nil))
}
