package postgres

import (
	"context"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// pressure remembers the transactions for which the spool had no room. Until
// the last of them is over the server is asked to keep such transactions
// itself, as waiting for room could be for ever: the room is taken by those
// that have not ended. It may be used by several goroutines.
type pressure struct {
	mu sync.Mutex
	// xids has them, with a position that lies after their end; 0 while they
	// are not known to have ended.
	xids map[uint32]cdc.LSN
}

// put notes transactions that could not be kept.
func (p *pressure) put(xids []uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.xids == nil {
		p.xids = map[uint32]cdc.LSN{}
	}
	for _, x := range xids {
		p.xids[x] = 0
	}
}

// delivered notes that a transaction has been sent whole.
func (p *pressure) delivered(xid uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.xids, xid)
}

// off reports whether a stream that goes on from a position has to be asked
// for without transactions in progress. A transaction is over when it has been
// delivered, or when the stream begins after its end: one that was rolled back
// is never heard of again.
func (p *pressure) off(ctx context.Context, conn *pgconn.PgConn, from cdc.LSN) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.xids) == 0 {
		return false, nil
	}
	running, now, err := runningXIDs(ctx, conn)
	if err != nil {
		return false, err
	}
	for xid, end := range p.xids {
		if running[xid] {
			continue
		}
		if end == 0 {
			end = now
			p.xids[xid] = end
		}
		if end <= from {
			delete(p.xids, xid)
		}
	}
	return len(p.xids) > 0, nil
}

// runningXIDs are the transactions that have not ended, prepared ones
// included, and a position that all others have ended before.
func runningXIDs(ctx context.Context, conn *pgconn.PgConn) (map[uint32]bool, cdc.LSN, error) {
	// The position is asked for last: whatever is not running has ended by then.
	rows, err := query(ctx, conn, `SELECT x FROM pg_snapshot_xip(pg_current_snapshot()) x`)
	if err != nil {
		return nil, 0, err
	}
	running := make(map[uint32]bool, len(rows))
	for _, r := range rows {
		full, err := strconv.ParseUint(r.str(0), 10, 64) // with its epoch
		if err != nil {
			return nil, 0, err
		}
		running[uint32(full)] = true
	}
	rows, err = query(ctx, conn, "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END")
	if err != nil {
		return nil, 0, err
	}
	return running, rows[0].lsn(0), nil
}
