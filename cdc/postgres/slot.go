package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// slotInfo is a slot with what only this package needs to know of it.
type slotInfo struct {
	cdc.SlotState
	plugin, database string
	current          bool // it is of the database that we are connected to
	temporary        bool
	invalid          string // why it was invalidated, where the server tells
}

// readSlot gives ErrNoSlot where there is none.
func readSlot(ctx context.Context, conn *pgconn.PgConn, name string) (*slotInfo, error) {
	version := serverVersionNum(conn.ParameterStatus("server_version"))
	invalid := "NULL"
	switch {
	case version >= 170000:
		invalid = "s.invalidation_reason"
	case version >= 160000:
		invalid = "CASE WHEN s.conflicting THEN 'conflict with recovery' END"
	}
	rows, err := query(ctx, conn, `SELECT s.confirmed_flush_lsn, s.restart_lsn, s.active, s.active_pid, s.wal_status, s.safe_wal_size,
		s.plugin, s.database, s.temporary, s.database = current_database(),
		CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, `+invalid+`
		FROM pg_replication_slots s WHERE s.slot_name = $1`, name)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, cdc.ErrNoSlot
	}
	r := rows[0]
	info := &slotInfo{plugin: r.str(6), database: r.str(7), temporary: r.bool(8), current: r.bool(9), invalid: r.str(11)}
	info.SlotState = cdc.SlotState{
		Name: name, ConfirmedFlush: r.lsn(0), Restart: r.lsn(1), Active: r.bool(2), ActivePID: int32(r.int(3)),
		WALStatus: r.str(4), Current: r.lsn(10),
	}
	if !r.null(5) {
		size := r.int(5)
		info.SafeWALSize = &size
	}
	// A slot that is being made has no position either, but somebody holds it.
	info.Lost = info.WALStatus == "lost" || info.invalid != "" || info.Restart == 0 && !info.Active
	return info, nil
}

// check refuses a slot of our name that is not ours.
func (i *slotInfo) check() error {
	switch {
	case i.plugin == "":
		return refused("checking the replication slot", "slot "+i.Name, "choose another slot name", errors.New("it is a physical slot"))
	case i.plugin != outputPlugin:
		return refused("checking the replication slot", "slot "+i.Name, "choose another slot name", fmt.Errorf("it decodes with %s, not with %s", i.plugin, outputPlugin))
	case !i.current:
		return refused("checking the replication slot", "slot "+i.Name, "choose another slot name", fmt.Errorf("it belongs to the database %s", i.database))
	}
	return nil
}

const outputPlugin = "pgoutput"

// Slot implements [cdc.Source].
func (s *Source) Slot(ctx context.Context) (cdc.SlotState, error) {
	info, err := s.slot(ctx)
	if err != nil {
		return cdc.SlotState{}, failed("looking at the replication slot", "slot "+s.config.Slot, err)
	}
	return info.SlotState, nil
}

func (s *Source) slot(ctx context.Context) (info *slotInfo, err error) {
	err = s.admin.with(ctx, func(conn *pgconn.PgConn) (err error) {
		if info, err = readSlot(ctx, conn, s.config.Slot); err == nil {
			err = info.check()
		}
		return err
	})
	return info, err
}

// DropSlot implements [cdc.Source]. A slot that a session holds is waited for
// as long as ctx allows, but no longer than dropWait; with Config.TakeOver the
// session is ended.
func (s *Source) DropSlot(ctx context.Context) error {
	const op = "dropping the replication slot"
	object := "slot " + s.config.Slot
	info, err := s.slot(ctx)
	if errors.Is(err, cdc.ErrNoSlot) {
		return nil
	}
	if err == nil {
		_, err = s.awaitFree(ctx, info, dropWait)
	}
	if err == nil {
		_, err = s.admin.query(ctx, "SELECT pg_drop_replication_slot($1)", s.config.Slot)
	}
	if errors.Is(err, cdc.ErrNoSlot) || sqlState(err) == codeUndefinedObject {
		return nil
	}
	return failed(op, object, err)
}

// dropWait is how long a slot that is in use is waited for; a server needs a
// moment to notice that a session of ours has ended.
const dropWait = 10 * time.Second

// awaitFree waits until no session holds the slot.
func (s *Source) awaitFree(ctx context.Context, info *slotInfo, wait time.Duration) (*slotInfo, error) {
	deadline := time.Now().Add(wait)
	for ended := false; info.Active; {
		if s.config.TakeOver && !ended {
			s.log.Warn("ending the session that holds the replication slot", "slot", info.Name, "pid", info.ActivePID)
			if _, err := s.admin.query(ctx, "SELECT pg_terminate_backend($1::int)", fmt.Sprint(info.ActivePID)); err != nil {
				return nil, err
			}
			ended = true
		}
		if time.Now().After(deadline) {
			return nil, &cdc.Error{
				Op: "waiting for the replication slot", Object: "slot " + info.Name, Class: cdc.ClassRetry,
				Remedy: fmt.Sprintf("stop the other program that reads the slot; if it is dead and the server has not noticed: SELECT pg_terminate_backend(%d);", info.ActivePID),
				Err:    fmt.Errorf("the slot is in use by the server process %d", info.ActivePID),
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		var err error
		if info, err = s.slot(ctx); err != nil {
			return nil, err
		}
	}
	return info, nil
}

// createSlot makes a slot with an exported snapshot over a walsender, which
// has to stay as it is until the snapshot is imported. The server waits for
// the transactions that are running, however long they take.
func createSlot(ctx context.Context, conn *pgconn.PgConn, name string, temporary bool) (point cdc.LSN, snapshot string, err error) {
	kind, options := "", "EXPORT_SNAPSHOT"
	if temporary {
		kind = " TEMPORARY"
	}
	if serverVersionNum(conn.ParameterStatus("server_version")) >= 150000 {
		options = "(SNAPSHOT 'export')"
	}
	rows, err := simple(ctx, conn, "CREATE_REPLICATION_SLOT "+quoteIdent(name)+kind+" LOGICAL "+outputPlugin+" "+options)
	switch {
	case sqlState(err) == codeDuplicateObject:
		return 0, "", fmt.Errorf("%w: %w", cdc.ErrSlotExists, err)
	case err != nil:
		return 0, "", err
	case len(rows) != 1 || len(rows[0]) < 3 || rows[0].null(2):
		return 0, "", errors.New("the server's answer to CREATE_REPLICATION_SLOT is not one row with a snapshot")
	}
	point, err = cdc.ParseLSN(rows[0].str(1))
	return point, rows[0].str(2), err
}
