package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

func isNoSlot(err error) bool { return errors.Is(err, cdc.ErrNoSlot) }

// wal tells how much log the server keeps for a slot.
func (c *checker) wal(ctx context.Context) (err error) {
	c.begun = time.Now()
	if c.walAt, err = c.lsnNow(ctx); err != nil {
		return fmt.Errorf("reading the end of the log: %w", err)
	}
	if keep := c.keepSize(); keep >= 0 {
		c.ok("max_slot_wal_keep_size", bytesText(keep)+"; a slot that holds back more is lost, and the tables have to be copied again")
	} else {
		c.ok("max_slot_wal_keep_size", "no limit; the server's disk fills up if the slot is not read for long")
	}
	if t := c.set["idle_replication_slot_timeout"]; t != "" && t != "0" {
		c.warning("idle_replication_slot_timeout", "", t+" s", "0, or longer than lakeload is ever stopped", c.change("idle_replication_slot_timeout", "0"))
	}
	return nil
}

// keepSize is the limit in bytes; -1 for none.
func (c *checker) keepSize() int64 {
	mb, err := strconv.ParseInt(c.set["max_slot_wal_keep_size"], 10, 64)
	if err != nil || mb < 0 {
		return -1
	}
	return mb << 20
}

// shortKeep is the time below which what the server keeps is worth a warning.
const shortKeep = 2 * time.Hour

// walRate measures how fast the server writes its log, if that is asked for,
// and says how long what it keeps would last.
func (c *checker) walRate(ctx context.Context) error {
	if c.config.WALSample <= 0 {
		return nil
	}
	select {
	case <-time.After(time.Until(c.begun.Add(c.config.WALSample))):
	case <-ctx.Done():
		return ctx.Err()
	}
	now, err := c.lsnNow(ctx)
	if err != nil {
		return fmt.Errorf("measuring the log: %w", err)
	}
	took := time.Since(c.begun)
	rate := float64(now-min(now, c.walAt)) / took.Seconds()
	have := fmt.Sprintf("%s/s just now", bytesText(int64(rate)))
	if average, ok := c.averageRate(ctx); ok {
		have += fmt.Sprintf(", %s/s on average", bytesText(int64(average)))
		rate = max(rate, average)
	}
	keep := c.keepSize()
	if keep < 0 || rate < 1 {
		c.ok("wal_rate", have)
		return nil
	}
	lasts := time.Duration(float64(keep) / rate * float64(time.Second)).Round(time.Minute)
	have += fmt.Sprintf(": what is kept for a slot lasts for %s", lasts)
	if lasts < shortKeep {
		need := int64(rate*(24*time.Hour).Seconds()) >> 20
		c.warning("wal_rate", "", have, "a day, so that an outage does not lose the slot", c.change("max_slot_wal_keep_size", fmt.Sprintf("%dMB", need)))
		return nil
	}
	c.ok("wal_rate", have)
	return nil
}

// averageRate is what the server has counted since its counters were reset.
func (c *checker) averageRate(ctx context.Context) (float64, bool) {
	rows, err := c.query(ctx, "SELECT wal_bytes::bigint, extract(epoch FROM clock_timestamp() - stats_reset)::bigint FROM pg_stat_wal")
	if err != nil || len(rows) != 1 || rows[0].int(1) < 60 {
		return 0, false // it may be hidden from us, or too young to say anything
	}
	return float64(rows[0].int(0)) / float64(rows[0].int(1)), true
}
