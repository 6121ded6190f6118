package epoch

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/lakeload/lakeload/cdc"
)

// What a caller can ask for by errors.Is.
var (
	// ErrNone says that no epoch is the one asked for, and none was.
	ErrNone = errors.New("no such epoch")
	// ErrExpired says that the epoch asked for is older than the record's
	// oldest.
	ErrExpired = errors.New("the epoch has expired")
)

// Oldest is the oldest epoch that is left; ErrNone before the first.
func (l *Log) Oldest(ctx context.Context) (Epoch, error) {
	for e, err := range l.From(ctx, 0) {
		return e, err
	}
	return Epoch{}, ErrNone
}

// ByNumber gives an epoch by its number. ErrNone or ErrExpired where there is
// none.
func (l *Log) ByNumber(ctx context.Context, number int64) (Epoch, error) {
	if !l.any {
		return Epoch{}, ErrNone
	}
	if number == l.epoch.Number {
		e, _ := l.Last()
		return e, nil
	}
	files := filesOf(l.snap)
	seq, err := l.recordOf(ctx, files, number)
	if err != nil {
		return Epoch{}, err
	}
	return l.at(ctx, files, seq)
}

// recordOf is the record that an epoch stands in.
func (l *Log) recordOf(ctx context.Context, files []file, number int64) (int64, error) {
	if number < 1 || number > l.epoch.Number {
		return 0, ErrNone
	}
	for _, f := range files {
		if f.number.max < number || f.number.min > number {
			continue
		}
		records, err := l.keys(ctx, f)
		if err != nil {
			return 0, err
		}
		for _, r := range records {
			if r.Number == number && !r.idle {
				return r.seq, nil
			}
		}
	}
	return 0, ErrExpired // numbers have no gaps
}

// ByTime gives the last epoch whose running maximum of commit times is not
// after t: the one before the first that holds a later transaction. Positions
// never go back, but commit times may (clocks are set, transactions commit side
// by side), so an epoch further on may look early enough and is not. ErrNone or
// ErrExpired where there is none.
func (l *Log) ByTime(ctx context.Context, t time.Time) (Epoch, error) {
	if !l.any {
		return Epoch{}, ErrNone
	}
	last := l.epoch.Number
	for _, f := range filesOf(l.snap) {
		if f.number.min > last {
			break
		}
		if !f.asOf.IsZero() && !f.asOf.After(t) {
			continue
		}
		records, err := l.keys(ctx, f)
		if err != nil {
			return Epoch{}, err
		}
		last = min(last, lastNotAfter(records, t))
	}
	return l.ByNumber(ctx, last)
}

// lastNotAfter gives the number of the epoch before the first of some that holds
// a transaction later than t; the greatest number where none does.
func lastNotAfter(records []record, t time.Time) int64 {
	for i := range records {
		if !records[i].idle && records[i].asOf().After(t) {
			return records[i].Number - 1
		}
	}
	return math.MaxInt64
}

// ByPosition gives the last epoch that is not after a position. Positions go
// back where the lake was taken over to another source; then those of the new
// one are meant. ErrNone or ErrExpired where there is none.
func (l *Log) ByPosition(ctx context.Context, lsn cdc.LSN) (Epoch, error) {
	if !l.any {
		return Epoch{}, ErrNone
	}
	since, err := l.since(ctx)
	if err != nil {
		return Epoch{}, err
	}
	files := filesOf(l.snap)
	var unkeyed []file
	for _, f := range slices.Backward(files) {
		if f.seq.max < since || f.keyed && (!f.epochs || f.position.min > int64(min(lsn, math.MaxInt64))) {
			continue
		}
		if !f.keyed {
			unkeyed = append(unkeyed, f)
			continue
		}
		records, err := l.keys(ctx, f)
		if err != nil {
			return Epoch{}, err
		}
		if r, ok := lastNotBeyond(records, since, lsn); ok {
			return l.at(ctx, files, r)
		}
	}
	// What has no positions as numbers is older than what has, and in no order.
	found := int64(0)
	for _, f := range unkeyed {
		records, err := l.keys(ctx, f)
		if err != nil {
			return Epoch{}, err
		}
		if r, ok := lastNotBeyond(records, since, lsn); ok {
			found = max(found, r)
		}
	}
	switch {
	case found > 0:
		return l.at(ctx, files, found)
	case since < files[0].seq.min:
		return Epoch{}, ErrExpired
	}
	return Epoch{}, ErrNone
}

// lastNotBeyond gives the last epoch's record that is not after lsn, of those
// from since on.
func lastNotBeyond(records []record, since int64, lsn cdc.LSN) (seq int64, ok bool) {
	for _, r := range slices.Backward(records) {
		if r.seq >= since && !r.idle && r.LSN <= lsn {
			return r.seq, true
		}
	}
	return 0, false
}

func (l *Log) since(ctx context.Context) (int64, error) {
	if l.last.since != 0 {
		return l.last.since, nil
	}
	return l.findSince(ctx)
}

// findSince finds the record from which on positions have not gone back, in a
// record that does not say so itself. It reads all positions.
func (l *Log) findSince(ctx context.Context) (int64, error) {
	type position struct {
		seq int64
		lsn cdc.LSN
	}
	var all []position
	for _, f := range filesOf(l.snap) {
		records, err := l.keys(ctx, f)
		if err != nil {
			return 0, err
		}
		for _, r := range records {
			if !r.idle {
				all = append(all, position{r.seq, r.LSN})
			}
		}
	}
	slices.SortFunc(all, func(a, b position) int { return int(a.seq - b.seq) })
	for i := len(all) - 1; i > 0; i-- {
		if all[i-1].lsn > all[i].lsn {
			return all[i].seq, nil
		}
	}
	return all[0].seq, nil
}
