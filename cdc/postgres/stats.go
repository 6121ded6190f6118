package postgres

import (
	"sync/atomic"
	"time"
)

// Stats is what a source tells of its stream. Sizes are in bytes.
type Stats struct {
	// Streaming says that the server sends large transactions while they are in
	// progress. Otherwise it keeps them on its own disk until they commit.
	Streaming bool `json:"streaming"`
	// InProgress is the number of transactions of which something is kept here
	// and which have not ended, or are being delivered.
	InProgress int `json:"in_progress"`
	// Spooled is what is kept of them, as it was sent, and Largest the part of
	// the largest one.
	Spooled int64 `json:"spooled_bytes"`
	Largest int64 `json:"largest_bytes"`
	// SpooledEver is what was kept since the source was opened, and Aborted how
	// much of it was dropped because it was rolled back.
	SpooledEver int64 `json:"spooled_bytes_total"`
	Aborted     int64 `json:"aborted_bytes_total"`
	// Files is the number of transactions that are on the local disk, and OnDisk
	// what they take there.
	Files  int   `json:"spool_files"`
	OnDisk int64 `json:"spool_disk_bytes"`
	// SpoolFailures counts the streams that ended because a spool could not be
	// kept, for want of room.
	SpoolFailures int64 `json:"spool_failures_total"`
	// LastData is when the server last sent something of its log (and not only
	// that it lives); zero before the first.
	LastData time.Time `json:"last_data"`
	// LastHeartbeat is when a heartbeat of ours last came back through the log,
	// and RoundTrip how long it took: what a commit takes to reach us. Zero
	// before the first.
	LastHeartbeat time.Time     `json:"last_heartbeat"`
	RoundTrip     time.Duration `json:"heartbeat_round_trip_ns"`
}

// Stats tells of the present stream, or of the last one. It may be called by
// any goroutine at any time, and asks nobody.
func (s *Source) Stats() Stats { return s.stats.read() }

// streamStats are the figures as the streams of a source write them.
type streamStats struct {
	spool               spoolCounters
	streaming           atomic.Bool
	inProgress, largest atomic.Int64
	failures            atomic.Int64
	lastData            atomic.Int64 // ns since 1970; 0: never
	heartbeat, trip     atomic.Int64 // likewise, and ns
}

func (s *streamStats) read() Stats {
	return Stats{
		Streaming: s.streaming.Load(), InProgress: int(s.inProgress.Load()), Spooled: s.spool.held.Load(), Largest: s.largest.Load(),
		SpooledEver: s.spool.total.Load(), Aborted: s.spool.aborted.Load(), Files: int(s.spool.files.Load()), OnDisk: s.spool.disk.Load(),
		SpoolFailures: s.failures.Load(), LastData: timeOf(s.lastData.Load()), LastHeartbeat: timeOf(s.heartbeat.Load()),
		RoundTrip: time.Duration(s.trip.Load()),
	}
}

func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
