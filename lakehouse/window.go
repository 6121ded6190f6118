package lakehouse

import "time"

// What the last minutes were like is kept in steps: windowStep long, windowKept
// of them. The one at hand is not full.
const (
	windowStep = 10 * time.Second
	windowKept = 91 // a quarter of an hour, and the one at hand
)

// windowLengths are those that are told.
var windowLengths = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}

// recent is what has happened in the last minutes. It is pure: times are given
// to it, and do not go back.
type recent struct {
	begun time.Time
	steps [windowKept]step // a ring, by the number of steps since begun
}

// step is what has happened in one.
type step struct {
	number                              int64 // since begun; another than is looked for: the step is of the past
	rows, transactions, batches, failed int64
	fresh                               Histogram
}

func newRecent(now time.Time) *recent {
	r := &recent{begun: now}
	for i := range r.steps {
		r.steps[i].number = -1
	}
	return r
}

// at is the step of a time, emptied if it was of an earlier round.
func (r *recent) at(now time.Time) *step {
	n := max(0, int64(now.Sub(r.begun)/windowStep))
	s := &r.steps[n%windowKept]
	if s.number != n {
		*s = step{number: n, fresh: newHistogram(fine)}
	}
	return s
}

// Window is what a length of time up to now was like.
type Window struct {
	// Seconds is how long the window is, and Covered how much of it the engine
	// has been at work; rates are of that.
	Seconds float64 `json:"seconds"`
	Covered float64 `json:"covered_seconds"`
	// What became durable in the lake. Records are row images, as the rows of
	// BatchCommitted.
	Records          int64   `json:"records"`
	Transactions     int64   `json:"transactions"`
	Batches          int64   `json:"batches"`
	RecordsPerSecond float64 `json:"records_per_second"`
	// The freshness of the batches, see BatchCommitted, that half and 99 in a
	// hundred do not exceed; nil where there was none.
	LatencyP50 *float64 `json:"latency_p50_seconds"`
	LatencyP99 *float64 `json:"latency_p99_seconds"`
	// Failures are those that were waited out, see Retrying. The rates are of
	// these and the batches together; nil where there was neither.
	Failures    int64    `json:"failures"`
	ErrorRate   *float64 `json:"error_rate"`
	SuccessRate *float64 `json:"success_rate"`
}

// over is what the last d were like: what began in whole steps, and the one at
// hand.
func (r *recent) over(now time.Time, d time.Duration) Window {
	last := max(0, int64(now.Sub(r.begun)/windowStep))
	first := max(0, last-int64(d/windowStep)+1)
	w := Window{Seconds: d.Seconds()}
	w.Covered = min(d, now.Sub(r.begun.Add(time.Duration(first)*windowStep))).Seconds()
	fresh := newHistogram(fine)
	for n := first; n <= last; n++ {
		s := &r.steps[n%windowKept]
		if s.number != n {
			continue
		}
		w.Records, w.Transactions, w.Batches, w.Failures = w.Records+s.rows, w.Transactions+s.transactions, w.Batches+s.batches, w.Failures+s.failed
		fresh.add(&s.fresh)
	}
	if w.Covered > 0 {
		w.RecordsPerSecond = float64(w.Records) / w.Covered
	}
	if tried := w.Batches + w.Failures; tried > 0 {
		failed := float64(w.Failures) / float64(tried)
		passed := 1 - failed
		w.ErrorRate, w.SuccessRate = &failed, &passed
	}
	quantile := func(q float64) *float64 {
		d, ok := fresh.Quantile(q)
		if !ok {
			return nil
		}
		s := d.Seconds()
		return &s
	}
	w.LatencyP50, w.LatencyP99 = quantile(0.5), quantile(0.99)
	return w
}
