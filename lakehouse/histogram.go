package lakehouse

import (
	"math"
	"slices"
	"time"
)

// Histogram counts lengths of time by their size. It is a value; the zero one
// cannot be observed into.
type Histogram struct {
	// Bounds are the upper bounds of the buckets, inclusive, ascending. Counts
	// has one more, for what is longer than all of them; none includes another.
	Bounds []time.Duration
	Counts []int64
	Sum    time.Duration
}

func newHistogram(bounds []time.Duration) Histogram {
	return Histogram{Bounds: bounds, Counts: make([]int64, len(bounds)+1)}
}

func (h *Histogram) observe(d time.Duration) {
	i, _ := slices.BinarySearch(h.Bounds, d)
	h.Counts[i]++
	if h.Sum += d; h.Sum < 0 {
		h.Sum = math.MaxInt64
	}
}

func (h *Histogram) add(o *Histogram) {
	for i, n := range o.Counts {
		h.Counts[i] += n
	}
	h.Sum += o.Sum
}

func (h *Histogram) clone() Histogram {
	c := *h
	c.Counts = slices.Clone(h.Counts)
	return c
}

// Total is how much was observed.
func (h *Histogram) Total() (n int64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Quantile estimates what a share q of the observations does not exceed, by
// interpolation within a bucket. False where nothing was observed. What is
// longer than all bounds is told as the last one.
func (h *Histogram) Quantile(q float64) (time.Duration, bool) {
	total := h.Total()
	if total == 0 {
		return 0, false
	}
	rank := q * float64(total)
	seen := 0.0
	for i, c := range h.Counts {
		if c == 0 || seen+float64(c) < rank {
			seen += float64(c)
			continue
		}
		if i == len(h.Bounds) {
			break
		}
		from := time.Duration(0)
		if i > 0 {
			from = h.Bounds[i-1]
		}
		return from + time.Duration((rank-seen)/float64(c)*float64(h.Bounds[i]-from)), true
	}
	return h.Bounds[len(h.Bounds)-1], true
}

// coarse are the bounds of what is told to metrics, fine those by which
// quantiles are estimated: each is a quarter more than the one before, from
// one millisecond to about five hours.
var (
	coarse = []time.Duration{
		5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
		500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
		5 * time.Minute, 30 * time.Minute,
	}
	fine = func() (bounds []time.Duration) {
		for b := float64(time.Millisecond); b < float64(5*time.Hour); b *= 1.25 {
			bounds = append(bounds, time.Duration(b))
		}
		return bounds
	}()
)
