package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// Stream implements [cdc.Source]. The server begins where the slot was last
// acknowledged, without a word, if that is after what it is asked for; so the
// slot is compared with from before the stream begins, and once more when it
// is ours alone.
func (s *Source) Stream(ctx context.Context, from cdc.LSN) (cdc.Stream, error) {
	const op = "opening the replication stream"
	object := "slot " + s.config.Slot
	// First, so that another timeline is noticed before positions are compared.
	frames := &framing{}
	sender, err := s.connector.connectFramed(ctx, connWalsender, frames)
	if err != nil {
		return nil, failed(op, object, err)
	}
	begun := false
	defer func() {
		if !begun {
			closeConn(sender)
		}
	}()
	info, err := s.slotOf(ctx, serverOf(sender))
	if err == nil {
		err = info.gives(from)
	}
	if err == nil && info.Active {
		if info, err = s.free(ctx, info); err == nil {
			err = info.gives(from)
		}
	}
	if err == nil {
		err = s.keepForStandbys(ctx, sender, info)
	}
	if err != nil {
		return nil, failed(op, object, noSlot(err))
	}
	begun = true
	stream, err := s.begin(ctx, sender, frames, from)
	if err != nil {
		return nil, failed(op, object, s.judge(ctx, from, false, err))
	}
	if info, err = s.slot(ctx); err == nil {
		err = info.gives(from)
	}
	if err != nil {
		return nil, failed(op, object, errors.Join(noSlot(err), stream.Close()))
	}
	s.streamed.Store(true)
	s.mu.Lock()
	s.host = serverOf(sender).Identity
	s.mu.Unlock()
	if serverOf(sender).Standby {
		return s.watchPromotion(stream), nil
	}
	return stream, nil
}

// slotOf reads the slot of the server that a walsender has reached: where
// several hosts are named the catalogue's connection may be another's.
func (s *Source) slotOf(ctx context.Context, want server) (info *slotInfo, err error) {
	for attempt := 0; ; attempt++ {
		same := false
		err = s.admin.with(ctx, func(conn *pgconn.PgConn) (err error) {
			if same = serverOf(conn).Started.Equal(want.Started); !same {
				return nil
			}
			if want.Standby && !s.config.AllowStandby {
				return retryLater("looking at the server", s.connector.address(),
					"connect to the primary, or promote this server; to read a standby, say so (source.standby)", errors.New("it is a standby"))
			}
			if info, err = readSlot(ctx, conn, s.config.Slot); err == nil {
				err = info.check()
			}
			return err
		})
		if err != nil || same {
			return info, err
		}
		if attempt > 0 {
			return nil, retryLater("looking at the server", s.connector.address(), "", errors.New("two connections have reached two servers"))
		}
		if err := s.admin.reset(ctx); err != nil {
			return nil, err
		}
	}
}

// keepForStandbys makes a slot one that standbys keep, if that is asked for
// and it was not made so.
func (s *Source) keepForStandbys(ctx context.Context, sender *pgconn.PgConn, info *slotInfo) error {
	if !s.config.Failover || info.Failover {
		return nil
	}
	if v := serverOf(sender).ServerVersion; v < failoverVersion {
		return refused("making a slot that standbys keep", "slot "+info.Name, "do without failover, or upgrade the server", fmt.Errorf("PostgreSQL %d has no such slots, 17 has", v/10000))
	}
	if err := exec(ctx, sender, "ALTER_REPLICATION_SLOT "+quoteIdent(info.Name)+" (FAILOVER true)"); err != nil {
		return failed("making the slot one that standbys keep", "slot "+info.Name, err)
	}
	return nil
}

// gives refuses a slot that cannot give everything after from.
func (i *slotInfo) gives(from cdc.LSN) error {
	const op = "comparing the replication slot with the lake"
	object := "slot " + i.Name
	switch {
	case i.Lost:
		why, remedy := i.loss()
		return &cdc.Error{Op: op, Object: object, Class: cdc.ClassResync, Remedy: remedy, Err: fmt.Errorf("the server has invalidated the slot: %s", why)}
	case i.ConfirmedFlush == 0:
		return refused(op, object, "drop the slot and let a new one be made", errors.New("it was not made completely"))
	case from < i.ConfirmedFlush:
		return resync(op, object, fmt.Errorf("the slot has been acknowledged up to %s, but the lake has only what is before %s: what lies between cannot be had any more", i.ConfirmedFlush, from))
	case i.Current != 0 && from > i.Current && i.recovering:
		return retryLater(op, object, "", fmt.Errorf("the lake has everything before %s, and the standby has only replayed up to %s", from, i.Current))
	case i.Current != 0 && from > i.Current:
		return refused(op, object, "the server was restored, or another one has taken its place with less than the lake has: `lakeload adopt` takes it over, and has all tables copied again",
			fmt.Errorf("%w: the lake has everything before %s, but the server's log ends at %s", cdc.ErrReset, from, i.Current))
	}
	return nil
}

// loss says why the slot was lost, and what to do so that the next one is not.
func (i *slotInfo) loss() (why, remedy string) {
	switch i.Reason {
	case "idle_timeout":
		return "nobody read it for longer than idle_replication_slot_timeout allows", "raise idle_replication_slot_timeout, or set it to 0; " + remedyAdopt
	case "rows_removed", "conflict":
		return "the primary has removed rows of the catalogue that decoding on this standby needed", "set hot_standby_feedback = on on the standby, and let it follow by a physical slot; " + remedyAdopt
	case "wal_level_insufficient":
		return "the primary's wal_level was lowered", "set wal_level = logical on the primary and restart it; " + remedyAdopt
	case "", "wal_removed":
		return "it held back more of the write-ahead log than max_slot_wal_keep_size allows", "raise max_slot_wal_keep_size; " + remedyAdopt
	}
	return i.Reason, remedyAdopt
}

// noSlot turns a slot that is missing into the loss that it means here: the
// slot was there when the tables were copied.
func noSlot(err error) error {
	if errors.Is(err, cdc.ErrNoSlot) {
		return &cdc.Error{
			Op: "looking for the replication slot", Class: cdc.ClassResync, Err: err,
			Remedy: "find out who has dropped the slot, or whether this is another server: changes since then are lost; " + remedyAdopt,
		}
	}
	return err
}

// begin starts the stream in the format that suits the tables, on a connection
// that it owns from now on.
func (s *Source) begin(ctx context.Context, sender *pgconn.PgConn, frames *framing, from cdc.LSN) (cdc.Stream, error) {
	given := false
	cfg := streamConfig{
		connect: func(context.Context) (*pgconn.PgConn, *framing, error) {
			given = true
			return sender, frames, nil
		},
		catalog: s.resolver, slot: s.config.Slot, publications: s.config.publications(), from: from,
		originNone: s.config.Origin == OriginNone, spoolDir: s.config.SpoolDir, spoolBytes: s.config.SpoolBytes,
		allocator: s.mem, logger: s.log, needText: func() { s.textOnly.Store(true) }, judge: s.judge,
		inspect: (&shapeWatch{shapes: s.resolver.shapes}).look,
		noRoom:  s.pressure.put, committed: s.pressure.delivered, stats: &s.stats, heartbeat: s.newHeartbeat(),
	}
	err := s.admin.with(ctx, func(conn *pgconn.PgConn) error {
		cfg.serverVersion = serverVersionNum(conn.ParameterStatus("server_version"))
		rows, err := query(ctx, conn, "SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'")
		if err != nil {
			return err
		}
		if len(rows) == 1 {
			cfg.senderTimeout = time.Duration(rows[0].int(0)) * time.Millisecond
		}
		sel, err := s.selector.find(ctx, conn)
		if err != nil {
			return err
		}
		off, err := s.pressure.off(ctx, conn, from)
		if err != nil {
			return err
		}
		cfg.streaming = s.config.Streaming == StreamingOn && !off
		infos, err := s.describeTables(ctx, conn, sel.oids())
		cfg.binary = err == nil && !s.textOnly.Load() && allBinary(infos)
		for _, t := range infos {
			s.resolver.remember(t.rel)
		}
		return err
	})
	var stream cdc.Stream
	if err == nil {
		stream, err = startStream(ctx, cfg)
	}
	if err != nil && !given {
		closeConn(sender)
	}
	return stream, err
}

// allBinary tells whether each column of the tables can be read in binary.
func allBinary(infos []*tableInfo) bool {
	for _, t := range infos {
		for _, c := range t.cols {
			if !binaryOK(c) {
				return false
			}
		}
	}
	return true
}
