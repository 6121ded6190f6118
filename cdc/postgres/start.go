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
	info, err := s.slot(ctx)
	if err == nil {
		err = info.gives(from)
	}
	if err == nil && info.Active {
		wait := time.Duration(0)
		if s.config.TakeOver {
			wait = dropWait
		}
		if info, err = s.awaitFree(ctx, info, wait); err == nil {
			err = info.gives(from)
		}
	}
	if err != nil {
		return nil, failed(op, object, noSlot(err))
	}
	stream, err := s.begin(ctx, from)
	if err != nil {
		return nil, failed(op, object, s.explain(ctx, from, err))
	}
	if info, err = s.slot(ctx); err == nil {
		err = info.gives(from)
	}
	if err != nil {
		return nil, failed(op, object, errors.Join(noSlot(err), stream.Close()))
	}
	return stream, nil
}

// gives refuses a slot that cannot give everything after from.
func (i *slotInfo) gives(from cdc.LSN) error {
	const op = "comparing the replication slot with the lake"
	object := "slot " + i.Name
	switch {
	case i.Lost:
		why := i.invalid
		if why == "" {
			why = "it held back more of the write-ahead log than max_slot_wal_keep_size allows"
		}
		return resync(op, object, fmt.Errorf("the server has invalidated the slot: %s", why))
	case i.ConfirmedFlush == 0:
		return refused(op, object, "drop the slot and let a new one be made", errors.New("it was not made completely"))
	case from < i.ConfirmedFlush:
		return resync(op, object, fmt.Errorf("the slot has been acknowledged up to %s, but the lake has only what is before %s: what lies between cannot be had any more", i.ConfirmedFlush, from))
	case i.Current != 0 && from > i.Current:
		return refused(op, object, "the server was restored, or another one has taken its place with less than the lake has: see `lakeload adopt`",
			fmt.Errorf("the lake has everything before %s, but the server's log ends at %s", from, i.Current))
	}
	return nil
}

// noSlot turns a slot that is missing into the loss that it means here: the
// slot was there when the tables were copied.
func noSlot(err error) error {
	if errors.Is(err, cdc.ErrNoSlot) {
		return &cdc.Error{
			Op: "looking for the replication slot", Class: cdc.ClassResync, Err: err,
			Remedy: "somebody has dropped the slot, or the server is another one: changes since then are lost to it; make a new slot and copy the tables again",
		}
	}
	return err
}

// explain looks at the slot again when the server has refused to stream: the
// slot may have been lost meanwhile, and messages are in any language.
func (s *Source) explain(ctx context.Context, from cdc.LSN, err error) error {
	if sqlState(err) == "" || ctx.Err() != nil {
		return err
	}
	info, e := s.slot(ctx)
	if e == nil {
		e = info.gives(from)
	}
	if e = noSlot(e); cdc.NeedsResync(e) {
		var loss *cdc.Error
		errors.As(e, &loss)
		return &cdc.Error{Op: loss.Op, Object: loss.Object, Class: loss.Class, Remedy: loss.Remedy, Err: fmt.Errorf("%w (%w)", loss.Err, err)}
	}
	if e == nil && info.Active {
		return &cdc.Error{
			Op: "taking hold of the replication slot", Class: cdc.ClassRetry, Remedy: "stop the other program that reads the slot",
			Err: fmt.Errorf("the slot is in use by the server process %d: %w", info.ActivePID, err),
		}
	}
	return err
}

// begin starts the stream in the format that suits the tables.
func (s *Source) begin(ctx context.Context, from cdc.LSN) (cdc.Stream, error) {
	cfg := streamConfig{
		connect: func(ctx context.Context) (*pgconn.PgConn, *framing, error) {
			frames := &framing{}
			conn, err := s.connector.connectFramed(ctx, connWalsender, frames)
			return conn, frames, err
		},
		catalog: s.resolver, slot: s.config.Slot, publications: s.config.publications(), from: from,
		originNone: s.config.Origin == OriginNone, spoolDir: s.config.SpoolDir, spoolBytes: s.config.SpoolBytes,
		allocator: s.mem, logger: s.log, needText: func() { s.textOnly.Store(true) },
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
	if err != nil {
		return nil, err
	}
	return startStream(ctx, cfg)
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
