package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// snapshot implements [cdc.Snapshot].
//
// The snapshot that a new slot exports lives only until the slot's connection
// does anything else. So one connection, the keeper, imports it at once, and
// exports it again: from the keeper, readers get it as long as the keeper's
// transaction lasts, also in place of readers that broke, and neither the
// slot nor its connection is needed any more. The keeper holds the tables'
// locks, too. It keeps the server from cleaning up rows, so a snapshot is
// closed when it is not needed.
type snapshot struct {
	source   *Source
	point    cdc.LSN
	exported string // the keeper's name for the snapshot

	guard      *guard
	keeper     *reader
	keeperTurn chan struct{} // holds a token while nobody uses the keeper
	turns      chan struct{} // holds a token for each reader that may be in use

	life context.Context // ends with Close
	end  context.CancelFunc

	mu    sync.Mutex
	idle  []*reader
	plans map[uint32]*tablePlan
}

// CreateSlot implements [cdc.Source]. If anything fails after the server has
// made the slot, it is dropped again; if even that fails, the next call says
// ErrSlotExists.
func (s *Source) CreateSlot(ctx context.Context) (cdc.Snapshot, error) {
	snap, err := s.takeSnapshot(ctx, s.config.Slot, false)
	if err != nil {
		return nil, failed("creating the replication slot", "slot "+s.config.Slot, err)
	}
	return snap, nil
}

// Snapshot implements [cdc.Source]. It takes a slot and a walsender for a
// moment.
func (s *Source) Snapshot(ctx context.Context) (cdc.Snapshot, error) {
	var unique [6]byte
	_, _ = rand.Read(unique[:]) // never fails
	name := s.config.Slot
	name = name[:min(len(name), maxIdentifier-len("_tmp_")-2*len(unique))] + "_tmp_" + hex.EncodeToString(unique[:])
	snap, err := s.takeSnapshot(ctx, name, true)
	if err != nil {
		return nil, failed("taking a snapshot by a temporary replication slot", "slot "+name, err)
	}
	return snap, nil
}

func (s *Source) takeSnapshot(ctx context.Context, slot string, temporary bool) (_ *snapshot, err error) {
	keeper, err := s.connector.openReader(ctx)
	if err != nil {
		return nil, err
	}
	sender, err := s.connector.connect(ctx, connWalsender)
	if err != nil {
		closeConn(keeper.conn)
		return nil, err
	}
	defer func() { closeConn(sender) }()
	defer func() {
		if err != nil {
			closeConn(keeper.conn)
		}
	}()
	point, name, guard, err := s.makeSlot(ctx, sender, slot, temporary)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			guard.close()
		}
	}()
	exported, err := keeper.takeOver(ctx, name)
	if err != nil || temporary {
		// A temporary slot would end with its connection, but some time after
		// we have gone on, and there may be room for one only.
		err = errors.Join(err, dropSlot(ctx, sender, slot))
	}
	if err != nil {
		return nil, err
	}
	snap := &snapshot{
		source: s, point: point, exported: exported, keeper: keeper, guard: guard,
		keeperTurn: make(chan struct{}, 1), turns: make(chan struct{}, s.config.Connections), plans: map[uint32]*tablePlan{},
	}
	snap.keeperTurn <- struct{}{}
	for range s.config.Connections {
		snap.turns <- struct{}{}
	}
	snap.life, snap.end = context.WithCancel(context.Background())
	return snap, nil
}

// takeOver imports a snapshot and exports it under a name of its own.
func (r *reader) takeOver(ctx context.Context, snapshot string) (string, error) {
	if err := r.enter(ctx, snapshot); err != nil {
		err = fmt.Errorf("importing the slot's snapshot: %w", err)
		// Until PostgreSQL 16 it is called an invalid identifier. A standby ends the
		// connection that has made the slot when its replay is held up for too long.
		if code := sqlState(err); code == codeUndefinedObject || code == codeInvalidParameter {
			return "", retryLater("taking over a snapshot", "", "", fmt.Errorf("it is gone with the connection that had exported it: %w", err))
		}
		return "", err
	}
	rows, err := query(ctx, r.conn, "SELECT pg_export_snapshot()")
	if err != nil {
		return "", fmt.Errorf("exporting the snapshot: %w", err)
	}
	return rows[0].str(0), nil
}

// dropSlot drops a slot that has just been made over sender: one that has done
// its work, or the main slot if nobody will learn its consistent point.
func dropSlot(ctx context.Context, sender *pgconn.PgConn, slot string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropWait)
	defer cancel()
	if err := exec(ctx, sender, "DROP_REPLICATION_SLOT "+quoteIdent(slot)); err != nil {
		return fmt.Errorf("dropping the slot again: %w", err)
	}
	return nil
}

// Point implements [cdc.Snapshot].
func (s *snapshot) Point() cdc.LSN { return s.point }

// Read implements [cdc.Snapshot].
func (s *snapshot) Read(ctx context.Context, rel *cdc.Relation, r cdc.Range, emit func(*cdc.Batch) error) error {
	return s.ReadWhere(ctx, rel, r, "", emit)
}

// ReadWhere implements [cdc.NarrowReader].
func (s *snapshot) ReadWhere(ctx context.Context, rel *cdc.Relation, r cdc.Range, condition string, emit func(*cdc.Batch) error) error {
	const op = "copying a table"
	object := rel.String() + " " + r.ID
	id, err := parseRangeID(r.ID)
	if err != nil {
		return refused(op, object, "", err)
	}
	s.mu.Lock()
	plan := s.plans[rel.OID]
	s.mu.Unlock()
	if plan == nil || plan.leaves[id.leaf] == nil {
		return refused(op, object, "", errors.New("the range was not planned under this snapshot"))
	}
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	select {
	case <-s.turns:
		defer func() { s.turns <- struct{}{} }()
	case <-ctx.Done():
		return failed(op, object, s.closedOr(ctx.Err()))
	}
	var refusal error // what emit said is the caller's own, and passed on as it is
	err = s.readRange(ctx, plan, id, condition, func(b *cdc.Batch) error {
		refusal = emit(b)
		return refusal
	})
	if refusal != nil {
		return refusal
	}
	if err == nil {
		err = s.guard.proof(ctx)
	}
	return failed(op, object, s.closedOr(err))
}

// readRange reads on a connection that holds the table's lock. Where somebody
// waits to alter the table no other connection than the keeper, which has the
// lock already, would get it before the keeper lets go.
func (s *snapshot) readRange(ctx context.Context, plan *tablePlan, id rangeID, condition string, emit func(*cdc.Batch) error) error {
	l := plan.leaves[id.leaf]
	r, err := s.reader(ctx)
	if err != nil {
		return err
	}
	err = r.lock(ctx, l.oid, "ONLY "+l.sql, true)
	if err == nil {
		err = s.copyRange(ctx, r, plan, id, condition, emit)
	}
	if err == nil {
		s.put(r)
		return nil
	}
	closeConn(r.conn) // its transaction has failed; the next Read opens another
	if sqlState(err) != codeLockNotAvailable {
		return err
	}
	return s.withKeeper(ctx, func(k *reader) error {
		return k.try(ctx, func() error { return s.copyRange(ctx, k, plan, id, condition, emit) })
	})
}

func (s *snapshot) copyRange(ctx context.Context, r *reader, plan *tablePlan, id rangeID, condition string, emit func(*cdc.Batch) error) error {
	d := newCopyDecoder(plan.info, s.source.mem, emit)
	if err := r.copyOut(ctx, plan.copySQL(plan.leaves[id.leaf], id, condition), s.source.limited(ctx, d.feed)); err != nil {
		d.discard()
		return err
	}
	err := d.finish()
	d.discard()
	return err
}

// reader gives an idle connection, or opens one.
func (s *snapshot) reader(ctx context.Context) (*reader, error) {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		r := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return r, nil
	}
	s.mu.Unlock()
	r, err := s.source.connector.openReader(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.enter(ctx, s.exported); err != nil {
		broken := r.conn.IsClosed()
		closeConn(r.conn)
		if sqlState(err) != "" && !broken {
			// The server runs and does not know the snapshot: the keeper is gone.
			return nil, s.lost(err)
		}
		return nil, err
	}
	return r, nil
}

func (s *snapshot) put(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, r)
}

// lost says that the snapshot cannot be had any more.
func (s *snapshot) lost(err error) error {
	return &cdc.Error{
		Op: "using the snapshot", Object: "at " + s.point.String(), Class: cdc.ClassRetry,
		Remedy: "the tables that are not copied yet need another snapshot", Err: fmt.Errorf("%w: %w", cdc.ErrSnapshotLost, err),
	}
}

// withKeeper runs f on the keeper, alone.
func (s *snapshot) withKeeper(ctx context.Context, f func(*reader) error) error {
	select {
	case <-s.keeperTurn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.keeperTurn <- struct{}{} }()
	if s.keeper.conn.IsClosed() {
		return s.lost(errors.New("its connection is closed"))
	}
	err := f(s.keeper)
	if err != nil && s.keeper.conn.IsClosed() {
		return s.lost(err)
	}
	return err
}

// whileOpen gives a context that also ends with the snapshot.
func (s *snapshot) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.life, cancel)
	return ctx, func() { stop(); cancel() }
}

var errSnapshotClosed = errors.New("the snapshot was closed")

// closedOr explains an error that Close has caused.
func (s *snapshot) closedOr(err error) error {
	if err != nil && s.life.Err() != nil {
		return fmt.Errorf("%w (%w)", errSnapshotClosed, err)
	}
	return err
}

// Close implements [cdc.Snapshot]. Calls that still run are cancelled and
// waited for.
func (s *snapshot) Close() error {
	s.end()
	for range cap(s.turns) {
		<-s.turns
	}
	<-s.keeperTurn
	defer func() {
		s.keeperTurn <- struct{}{}
		for range cap(s.turns) {
			s.turns <- struct{}{}
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.idle {
		closeConn(r.conn)
	}
	s.idle = nil
	closeConn(s.keeper.conn)
	s.guard.close()
	return nil
}
