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
	twoPhase         bool
	recovering       bool // the server is a standby
}

const outputPlugin = "pgoutput"

// readSlot gives ErrNoSlot where there is none.
func readSlot(ctx context.Context, conn *pgconn.PgConn, name string) (*slotInfo, error) {
	version := serverVersionNum(conn.ParameterStatus("server_version"))
	invalid, failover := "NULL", "false, false, NULL"
	switch {
	case version >= 170000:
		invalid, failover = "s.invalidation_reason", "s.failover, s.synced, extract(epoch FROM s.inactive_since)"
	case version >= 160000:
		// On a primary it is true of a slot that lost its log, too.
		invalid = "CASE WHEN s.conflicting AND pg_is_in_recovery() THEN 'conflict' END"
	}
	rows, err := query(ctx, conn, `SELECT s.confirmed_flush_lsn, s.restart_lsn, s.active, s.active_pid, s.wal_status, s.safe_wal_size,
		s.plugin, s.database, s.temporary, s.database = current_database(), s.two_phase, pg_is_in_recovery(),
		CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
		a.application_name, coalesce(host(a.client_addr), ''), extract(epoch FROM a.backend_start), `+invalid+`, `+failover+`
		FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = $1`, name)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, cdc.ErrNoSlot
	}
	r := rows[0]
	info := &slotInfo{plugin: r.str(6), database: r.str(7), temporary: r.bool(8), current: r.bool(9), twoPhase: r.bool(10), recovering: r.bool(11)}
	info.SlotState = cdc.SlotState{
		Name: name, ConfirmedFlush: r.lsn(0), Restart: r.lsn(1), Active: r.bool(2), ActivePID: int32(r.int(3)),
		WALStatus: r.str(4), Current: r.lsn(12), Reason: r.str(16), Failover: r.bool(17), Synced: r.bool(18),
	}
	if !r.null(5) {
		size := r.int(5)
		info.SafeWALSize = &size
	}
	if !r.null(13) && !r.null(15) {
		info.Holder = &cdc.SlotHolder{Application: r.str(13), Address: r.str(14), Since: *r.time(15)}
	}
	info.InactiveSince = r.time(19)
	// A slot that is being made has no position either, but somebody holds it.
	info.Lost = info.WALStatus == "lost" || info.Reason != "" || info.Restart == 0 && !info.Active
	return info, nil
}

// time reads seconds since 1970; nil for NULL.
func (r row) time(i int) *time.Time {
	var seconds float64
	if r.null(i) {
		return nil
	}
	if _, err := fmt.Sscan(r.str(i), &seconds); err != nil {
		return nil
	}
	t := time.UnixMicro(int64(seconds * 1e6)).UTC()
	return &t
}

// check refuses a slot of our name that is not ours.
func (i *slotInfo) check() error {
	var why error
	remedy := "choose another slot name"
	switch {
	case i.plugin == "":
		why = errors.New("it is a physical slot")
	case i.plugin != outputPlugin:
		why = fmt.Errorf("it decodes with %s, not with %s", i.plugin, outputPlugin)
	case !i.current:
		why = fmt.Errorf("it belongs to the database %s", i.database)
	case i.temporary && !i.Synced:
		why = errors.New("it is the temporary slot of another session")
	case i.twoPhase:
		why = errors.New("it was made for two-phase commit, and would give transactions before they are committed")
	case i.Synced && i.recovering:
		why = errors.New("this standby keeps it in step with the primary's, and gives it to nobody until it is promoted")
		remedy = "read from the primary; to decode on the standby itself, choose another slot name"
	default:
		return nil
	}
	return refused("checking the replication slot", "slot "+i.Name, remedy, why)
}

// holder is who reads the slot, for messages.
func (i *slotInfo) holder() string {
	s := fmt.Sprintf("the server process %d", i.ActivePID)
	if h := i.Holder; h != nil {
		from := h.Address
		if from == "" {
			from = "the server's own machine"
		}
		s += fmt.Sprintf(" (%q from %s, since %s)", h.Application, from, h.Since.Format(time.RFC3339))
	}
	return s
}

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

// Claim implements [cdc.Claimer].
func (s *Source) Claim(ctx context.Context) error {
	info, err := s.slot(ctx)
	if err == nil {
		_, err = s.free(ctx, info)
	}
	return failed("claiming the replication slot", "slot "+s.config.Slot, err)
}

// free makes sure that no session holds the slot. Who holds it is ended with
// Config.TakeOver, as long as we have not streamed yet.
func (s *Source) free(ctx context.Context, info *slotInfo) (*slotInfo, error) {
	if s.config.TakeOver && !s.streamed.Load() {
		return s.awaitFree(ctx, info, true, dropWait)
	}
	return s.awaitFree(ctx, info, false, 0)
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
		_, err = s.awaitFree(ctx, info, s.config.TakeOver, dropWait)
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

// awaitFree waits until no session holds the slot, or ends the one that does.
func (s *Source) awaitFree(ctx context.Context, info *slotInfo, end bool, wait time.Duration) (*slotInfo, error) {
	deadline := time.Now().Add(wait)
	for info.Active {
		if end {
			s.log.Warn("ending the session that holds the replication slot, as was asked for", "slot", info.Name, "holder", info.holder())
			if _, err := s.admin.query(ctx, "SELECT pg_terminate_backend($1::int)", fmt.Sprint(info.ActivePID)); err != nil {
				return nil, err
			}
			end = false
		}
		if time.Now().After(deadline) {
			return nil, retryLater("waiting for the replication slot", "slot "+info.Name,
				fmt.Sprintf("stop the other program that reads the slot; if it is dead, the server notices after wal_sender_timeout, or at once by SELECT pg_terminate_backend(%d); (`--take-over` does that once, at the start)", info.ActivePID),
				fmt.Errorf("the slot is in use by %s", info.holder()))
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
func createSlot(ctx context.Context, conn *pgconn.PgConn, name string, temporary, failover bool) (point cdc.LSN, snapshot string, err error) {
	version := serverVersionNum(conn.ParameterStatus("server_version"))
	if failover && version < failoverVersion {
		return 0, "", refused("making a slot that standbys keep", "slot "+name, "do without failover, or upgrade the server", fmt.Errorf("PostgreSQL %d has no such slots, 17 has", version/10000))
	}
	kind, options := "", "EXPORT_SNAPSHOT"
	if temporary {
		kind = " TEMPORARY"
	}
	switch {
	case failover:
		options = "(SNAPSHOT 'export', FAILOVER true)"
	case version >= 150000:
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

// failoverVersion is the first that keeps slots on standbys.
const failoverVersion = 170000
