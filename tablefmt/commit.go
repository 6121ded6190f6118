package tablefmt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lakeload/lakeload/internal/crashpoint"
	"github.com/lakeload/lakeload/tablefmt/objstore"
)

// Bounds of a commit. A commit that loses is tried again at the next version
// without a wait at first, because the winner is known; one whose outcome is
// unknown waits longer each time.
const (
	maxRebases  = 1000
	maxUnknowns = 8
)

// Commit adds the transaction to the log as one version and gives the
// snapshot of that version. It is called once.
//
// If other writers were faster, the transaction follows them where it can
// (its read version moves up), else it fails with a *[ConflictError]. If the
// outcome of the write is unknown, the version is read back: found with our
// commit id, it is ours; found with another, it is a winner like any; not
// found proves nothing, and the same version is tried again. When that does
// not help the error is an *[UnknownCommitError]. After every other error the
// transaction is not in the table. Errors of a bad transaction are ErrInvalid
// or an *[UnsupportedFeatureError].
func (t *Transaction) Commit(ctx context.Context) (*Snapshot, error) {
	if t.done {
		return nil, fmt.Errorf("%s: %w", t.place(), invalidf("the transaction was committed before"))
	}
	t.done = true
	if t.info.TxnID == "" {
		return nil, fmt.Errorf("%s: %w", t.place(), invalidf("the commit has no id"))
	}
	t.nameRowColumns()
	if err := t.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", t.place(), err)
	}
	st, err := t.commit(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.place(), err)
	}
	crashpoint.At(crashpoint.AfterCommit)
	writeChecksum(ctx, t.loc, st, t.before)
	return newSnapshot(t.loc, st, t.base)
}

func (t *Transaction) commit(ctx context.Context) (*state, error) {
	st := noState()
	if t.base != nil {
		st = t.base.st
	}
	rest := t.actions()
	mine := footprintOf(rest, t.base == nil, t.reads)
	if t.reads == ReadsRows && t.base != nil && strings.EqualFold(t.base.Property(PropIsolationLevel), "Serializable") {
		mine.reads = ReadsTable
	}
	if t.where != nil {
		mine.rests = t.rests
	}
	for lost := 0; lost <= maxRebases; lost++ {
		if lost > 3 { // several of us race: step aside for a moment
			if err := sleep(ctx, rand.N(time.Duration(min(lost, 50))*time.Millisecond)); err != nil {
				return nil, err
			}
		}
		clock, err := t.clock(ctx, st)
		if err != nil {
			return nil, err
		}
		next, body, err := t.attempt(st, rest, clock)
		if err != nil {
			return nil, err
		}
		winner, err := t.put(ctx, next.version, body)
		if err != nil {
			return nil, err
		}
		if winner == nil {
			t.before = st.info
			return next, nil
		}
		if reason, detail := conflict(mine, winner.actions); reason != "" {
			return nil, &ConflictError{Version: next.version, Reason: reason, Detail: detail, Winner: infoOf(winner.actions)}
		}
		if st, err = st.next(next.version, winner.actions, winner.size); err != nil {
			return nil, fmt.Errorf("following the commit that won version %d: %w", next.version, err)
		}
	}
	return nil, &ConflictError{Version: st.version, Reason: ConflictTooMany, Detail: fmt.Sprintf("%d times", maxRebases)}
}

// attempt gives the state and the file that the commit makes right after st.
// That the state can be made is the last check before a byte is written.
func (t *Transaction) attempt(st *state, rest []Action, clock commitClock) (*state, []byte, error) {
	info := t.info
	info.Timestamp = time.Now().UnixMilli()
	blind := t.blind()
	info.IsBlindAppend = &blind
	p, m := t.effective(st)
	at, changed := clock.stamp(st, m, info.Timestamp)
	info.InCommitTimestamp = at
	if changed != nil {
		m = changed
		rest = slices.Clone(rest)
		for i := range rest {
			if rest[i].Metadata != nil {
				rest[i].Metadata = changed
			}
		}
	}
	if tracksRows(p, m) {
		info.Tags = map[string]string{tagRowsPreserved: strconv.FormatBool(t.keepsRows())}
	}
	rest, err := t.numberRows(st, rest)
	if err != nil {
		return nil, nil, err
	}
	actions := append([]Action{{CommitInfo: &info}}, rest...)
	body, err := encodeActions(actions)
	if err != nil {
		return nil, nil, err
	}
	next, err := st.next(st.version+1, actions, len(body))
	if err != nil {
		return nil, nil, invalidf("%w", err)
	}
	return next, body, nil
}

// put writes a version. It gives nil and nil if the version is ours, the
// commit that has it if it is not, and an error if the version is not ours or
// nobody knows.
func (t *Transaction) put(ctx context.Context, version int64, body []byte) (winner *rival, err error) {
	log, name := t.loc.log(), commitName(version)
	unknown := false // an earlier attempt may still become the version
	crashpoint.At(crashpoint.BeforeCommit)
	for try := 0; ; try++ {
		err := log.PutIfAbsent(ctx, name, body)
		switch {
		case err == nil:
			return nil, nil
		case errors.Is(err, objstore.ErrExists), errors.Is(err, objstore.ErrUnknownOutcome):
			unknown = unknown || errors.Is(err, objstore.ErrUnknownOutcome)
			// Our own success may be what exists: only its content tells.
			data, getErr := log.Get(ctx, name)
			if getErr == nil {
				return t.judge(version, data)
			}
			err = errors.Join(err, fmt.Errorf("reading it back: %w", getErr))
		case !unknown:
			return nil, fmt.Errorf("writing %s: %w", name, err)
		}
		if try >= maxUnknowns {
			return nil, &UnknownCommitError{Version: version, CommitID: t.info.TxnID, Err: err}
		}
		if waitErr := sleep(ctx, 10*time.Millisecond<<try); waitErr != nil {
			return nil, &UnknownCommitError{Version: version, CommitID: t.info.TxnID, Err: errors.Join(err, waitErr)}
		}
	}
}

// rival is another writer's commit that has the version we wanted.
type rival struct {
	actions []Action
	size    int // of its file
}

// judge says whose a version is by its content.
func (t *Transaction) judge(version int64, data []byte) (*rival, error) {
	actions, err := collectActions(data, version)
	if err != nil {
		return nil, err
	}
	if info := infoOf(actions); info != nil && info.TxnID == t.info.TxnID {
		return nil, nil
	}
	return &rival{actions, len(data)}, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
