package metrics

import (
	"fmt"
	"time"

	"github.com/lakeload/lakeload/lakehouse"
)

// alive is the answer of /healthz. Whoever gets false may start the process
// again.
type alive struct {
	Alive  bool   `json:"alive"`
	Reason string `json:"reason,omitempty"`
}

// ready is the answer of /readyz. False is for a while, mostly: the engine goes
// on by itself.
type ready struct {
	Ready    bool               `json:"ready"`
	Activity lakehouse.Activity `json:"activity"`
	Reason   string             `json:"reason,omitempty"`
	Error    string             `json:"error,omitempty"`
	Since    *time.Time         `json:"since,omitempty"` // when that began to fail
	Times    int                `json:"times,omitempty"` // how often it has
}

// stuck is the time after which a loop that has not turned will not any more.
const stuck = time.Minute

// lives says whether the engine's loops turn. It is pure.
func lives(s *lakehouse.Stats) alive {
	observer, stream := s.At.Sub(s.Loops.Observer), s.At.Sub(s.Loops.Stream)
	const text = "the loop %s has not turned for %s"
	switch {
	case s.Activity == lakehouse.ActivityEnded:
		return alive{Reason: "the engine has ended"}
	case !s.Loops.Observer.IsZero() && observer > stuck:
		return alive{Reason: fmt.Sprintf(text, "that watches over the engine", observer.Round(time.Second))}
	case s.Status.Streaming && stream > stuck:
		return alive{Reason: fmt.Sprintf(text, "of the stream", stream.Round(time.Second))}
	}
	return alive{Alive: true}
}

// works says whether the engine does its work: it streams, or copies what is to
// be copied first. It is pure.
func works(s *lakehouse.Stats) ready {
	r := ready{Activity: s.Activity}
	switch {
	case s.Status.Streaming || s.Activity == lakehouse.ActivityCopying:
		r.Ready = true
	case s.Trouble != nil:
		r.Reason, r.Error, r.Times = s.Trouble.What+" failed and is tried again", s.Trouble.Err, s.Trouble.Times
		since := s.Trouble.Since
		r.Since = &since
	case s.Activity == lakehouse.ActivityEnded:
		r.Reason = "the engine has ended"
	default:
		r.Reason = "source and lake are looked at; nothing is followed yet"
	}
	return r
}
