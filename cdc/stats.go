package cdc

import "time"

// StreamStats is what a source tells of its stream. Sizes are in bytes.
type StreamStats struct {
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
	// Files is the number of transactions that are on the local disk, OnDisk
	// what they take there, and SpoolLimit what they may; 0: there is no limit.
	Files      int   `json:"spool_files"`
	OnDisk     int64 `json:"spool_disk_bytes"`
	SpoolLimit int64 `json:"spool_limit_bytes"`
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

// Measured is a Source that keeps figures of its streams. Stats tells of the
// present one, or of the last. It may be called by any goroutine at any time,
// and asks nobody.
type Measured interface {
	Stats() StreamStats
}
