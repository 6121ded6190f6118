package postgres

import (
	"sync/atomic"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// Stats implements [cdc.Measured].
func (s *Source) Stats() cdc.StreamStats {
	stats := s.stats.read()
	if stats.SpoolLimit = s.config.SpoolBytes; stats.SpoolLimit == 0 {
		stats.SpoolLimit = defaultSpoolBytes
	}
	return stats
}

// streamStats are the figures as the streams of a source write them.
type streamStats struct {
	spool               spoolCounters
	streaming           atomic.Bool
	inProgress, largest atomic.Int64
	failures            atomic.Int64
	lastData            atomic.Int64 // ns since 1970; 0: never
	heartbeat, trip     atomic.Int64 // likewise, and ns
}

func (s *streamStats) read() cdc.StreamStats {
	return cdc.StreamStats{
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
