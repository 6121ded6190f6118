package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lakeload/lakeload/cdc"
)

// judgeWait bounds the look into the slot after a stream has failed.
const judgeWait = 10 * time.Second

// judged says why the stream has ended: what the server says when it ends one
// is often not why.
func (s *stream) judged(err error) error {
	if s.cfg.judge == nil || sqlState(err) == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), judgeWait)
	defer cancel()
	return s.cfg.judge(ctx, cdc.LSN(s.feedback.given.Load()), s.delivered.Load(), err)
}

// judge says what an error of the server in a stream means that had come to
// at; moved says that it had delivered a transaction. The slot may have been
// lost, messages are in any language, and what fails again and again at one
// place is not to be retried for ever.
func (s *Source) judge(ctx context.Context, at cdc.LSN, moved bool, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || ctx.Err() != nil {
		return err
	}
	info, e := s.slot(ctx)
	if e == nil && info.Lost {
		e = info.gives(at)
	}
	if e = noSlot(e); cdc.NeedsResync(e) {
		var loss *cdc.Error
		errors.As(e, &loss)
		return &cdc.Error{Op: loss.Op, Object: loss.Object, Class: loss.Class, Remedy: loss.Remedy, Err: fmt.Errorf("%w (%w)", loss.Err, err)}
	}
	if e == nil && info.Active && pg.Code == codeObjectInUse {
		return retryLater("taking hold of the replication slot", "", "stop the other program that reads the slot", fmt.Errorf("the slot is in use by %s: %w", info.holder(), err))
	}
	if v := judgeServer(pg); v.doubtful {
		return s.trouble.judge(time.Now(), at, moved, v, err)
	}
	return err
}

// trouble counts the failures of streams without a transaction in between.
type trouble struct {
	mu    sync.Mutex
	last  time.Time
	times int
}

const (
	// troubleMost is how often a stream may fail at one place for a reason that
	// may pass, before the operator is asked.
	troubleMost = 5
	// troubleGap is the time after which a failure is another matter.
	troubleGap = time.Hour
)

// judge counts a failure that may pass.
func (t *trouble) judge(now time.Time, at cdc.LSN, moved bool, v verdict, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if moved || now.Sub(t.last) > troubleGap {
		t.times = 0
	}
	t.times++
	t.last = now
	if t.times < troubleMost {
		return retryLater("decoding on the server", "after "+at.String(), v.remedy, err)
	}
	return refused("decoding on the server", "after "+at.String(), v.remedy, fmt.Errorf("it has failed %d times at this place: %w", t.times, err))
}
