package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// SlotReport is what the server tells of the main slot and of who reads it,
// for people and probes.
type SlotReport struct {
	Slot cdc.SlotState `json:"slot"`
	// HeldBytes are those of the log that the slot keeps on the server's disk.
	HeldBytes int64 `json:"held_bytes"`
	// WALRate is how fast the server writes its log, in bytes a second, as was
	// seen in a short look; LastsSeconds how long the slot would live at that
	// rate if nobody read it. Both are nil where there was no look, the second
	// also where the server keeps log without limit.
	WALRate      *float64 `json:"wal_bytes_per_second"`
	LastsSeconds *float64 `json:"lasts_seconds"`
	// Stream is the session that reads the slot, nil where there is none.
	Stream *StreamReport `json:"stream"`
	// Decoding are the server's counters of the slot, nil where it has none.
	Decoding *DecodingReport `json:"decoding"`
	// Reading are the sessions that copy tables; nil where there are none.
	Reading *ReadingReport `json:"reading"`
}

// ReadingReport are the transactions of ours that hold a snapshot. The server
// cannot clean up what has been deleted since the oldest of them.
type ReadingReport struct {
	Sessions int `json:"sessions"`
	// Oldest is when the oldest began, by the server's clock, and Seconds how long
	// ago that is.
	Oldest  time.Time `json:"oldest"`
	Seconds float64   `json:"seconds"`
}

// StreamReport is a stream as the server sees it.
type StreamReport struct {
	State string  `json:"state"`
	Sent  cdc.LSN `json:"sent_lsn"`
	Flush cdc.LSN `json:"flush_lsn"`
	// LastReply is when the reader was last heard of, by the server's clock;
	// SilentSeconds how long ago that was.
	LastReply     *time.Time `json:"last_reply"`
	SilentSeconds *float64   `json:"silent_seconds"`
	WaitEvent     string     `json:"wait_event,omitempty"`
}

// DecodingReport are counters of pg_stat_replication_slots since Since (nil:
// since the slot was made).
type DecodingReport struct {
	SpillTransactions  int64      `json:"spill_transactions"`
	SpillTimes         int64      `json:"spill_times"`
	SpillBytes         int64      `json:"spill_bytes"`
	StreamTransactions int64      `json:"stream_transactions"`
	StreamTimes        int64      `json:"stream_times"`
	StreamBytes        int64      `json:"stream_bytes"`
	TotalTransactions  int64      `json:"total_transactions"`
	TotalBytes         int64      `json:"total_bytes"`
	Since              *time.Time `json:"since"`
}

// Report looks at the main slot, and for sample at how fast the log grows; 0
// does not look. cdc.ErrNoSlot where there is none. A slot that is not ours is
// reported like any other.
func (s *Source) Report(ctx context.Context, sample time.Duration) (*SlotReport, error) {
	rep := &SlotReport{}
	var begun time.Time
	err := s.admin.with(ctx, func(conn *pgconn.PgConn) error {
		info, err := readSlot(ctx, conn, s.config.Slot)
		if err != nil {
			return err
		}
		begun = time.Now()
		rep.Slot = info.SlotState
		if info.Restart != 0 {
			rep.HeldBytes = int64(info.Current - min(info.Current, info.Restart))
		}
		if rep.Decoding, err = readDecoding(ctx, conn, s.config.Slot); err != nil {
			return err
		}
		if rep.Stream, err = readStream(ctx, conn, info.ActivePID); err != nil {
			return err
		}
		rep.Reading, err = s.readReading(ctx, conn, info)
		return err
	})
	if err == nil && sample > 0 {
		err = s.sample(ctx, rep, begun, sample)
	}
	if err != nil {
		return nil, failed("looking at the replication slot", "slot "+s.config.Slot, err)
	}
	return rep, nil
}

// sample measures how fast the log grows.
func (s *Source) sample(ctx context.Context, rep *SlotReport, begun time.Time, sample time.Duration) error {
	select {
	case <-time.After(time.Until(begun.Add(sample))):
	case <-ctx.Done():
		return ctx.Err()
	}
	rows, err := s.admin.query(ctx, "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END")
	if err != nil {
		return err
	}
	now := rows[0].lsn(0)
	rate := float64(now-min(now, rep.Slot.Current)) / time.Since(begun).Seconds()
	rep.WALRate = &rate
	if rep.Slot.SafeWALSize != nil && rate > 0 {
		lasts := max(0, float64(*rep.Slot.SafeWALSize)) / rate
		rep.LastsSeconds = &lasts
	}
	return nil
}

// readReading finds our sessions by their name, which whoever reads the slot has
// too. Of other users' sessions the server shows times to pg_read_all_stats only.
func (s *Source) readReading(ctx context.Context, conn *pgconn.PgConn, info *slotInfo) (*ReadingReport, error) {
	name := applicationName(s.config.Slot)
	if info.Holder != nil {
		name = info.Holder.Application
	}
	rows, err := query(ctx, conn, `SELECT count(*), extract(epoch FROM min(xact_start)), extract(epoch FROM clock_timestamp() - min(xact_start)) FROM pg_stat_activity
		WHERE application_name = $1 AND backend_type = 'client backend' AND backend_xmin IS NOT NULL AND xact_start IS NOT NULL AND pid <> pg_backend_pid()`, name)
	if err != nil {
		return nil, fmt.Errorf("reading the sessions that copy tables: %w", err)
	}
	r := rows[0]
	if r.int(0) == 0 {
		return nil, nil
	}
	rep := &ReadingReport{Sessions: int(r.int(0)), Oldest: *r.time(1)}
	if _, err := fmt.Sscan(r.str(2), &rep.Seconds); err != nil {
		return nil, fmt.Errorf("reading the age of a snapshot: %w", err)
	}
	return rep, nil
}

func readDecoding(ctx context.Context, conn *pgconn.PgConn, slot string) (*DecodingReport, error) {
	rows, err := query(ctx, conn, `SELECT spill_txns, spill_count, spill_bytes, stream_txns, stream_count, stream_bytes, total_txns, total_bytes,
		extract(epoch FROM stats_reset) FROM pg_stat_replication_slots WHERE slot_name = $1`, slot)
	if err != nil {
		return nil, fmt.Errorf("reading the slot's counters: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	r := rows[0]
	return &DecodingReport{
		SpillTransactions: r.int(0), SpillTimes: r.int(1), SpillBytes: r.int(2), StreamTransactions: r.int(3), StreamTimes: r.int(4), StreamBytes: r.int(5),
		TotalTransactions: r.int(6), TotalBytes: r.int(7), Since: r.time(8),
	}, nil
}

func readStream(ctx context.Context, conn *pgconn.PgConn, pid int32) (*StreamReport, error) {
	if pid == 0 {
		return nil, nil
	}
	rows, err := query(ctx, conn, `SELECT coalesce(r.state, ''), r.sent_lsn, r.flush_lsn, extract(epoch FROM r.reply_time), extract(epoch FROM clock_timestamp() - r.reply_time), coalesce(a.wait_event, '')
		FROM pg_stat_replication r LEFT JOIN pg_stat_activity a USING (pid) WHERE r.pid = $1::int`, fmt.Sprint(pid))
	if err != nil {
		return nil, fmt.Errorf("reading the session that reads the slot: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil // it is not a walsender, or it has just ended
	}
	r := rows[0]
	rep := &StreamReport{State: r.str(0), Sent: r.lsn(1), Flush: r.lsn(2), LastReply: r.time(3), WaitEvent: r.str(5)}
	if !r.null(4) {
		var silent float64
		if _, err := fmt.Sscan(r.str(4), &silent); err == nil {
			silent = max(0, silent)
			rep.SilentSeconds = &silent
		}
	}
	return rep, nil
}
